//! Scripted histories: each names the failure that must not happen.

use crate::plan::{Op, Plan, Step, Strike};
use crate::simulation::run;
use crate::world::disk::Fault;
use crate::world::machine::Breakage;

fn plan(steps: Vec<Step>, strikes: Vec<Strike>) -> Plan {
    Plan {
        seed: 7,
        clients: 2,
        snap_count: 1000,
        pre_alloc_kib: 16,
        steps,
        strikes,
        capacity_kib: None,
    }
}

/// The mistake that this process was asked to make.
fn asked() -> Breakage {
    match std::env::var("ZKD_BREAKAGE").as_deref() {
        Ok("RenameBeforeSync") => Breakage::RenameBeforeSync,
        _ => Breakage::None,
    }
}

fn create(path: u8) -> Op {
    Op::Create { path, mode: 0 }
}

/// The thin slice: a client creates, sets and gets; the tree is the model's.
#[test]
fn a_client_creates_sets_and_gets_durably() {
    let steps = vec![
        Step::Burst {
            client: 0,
            ops: vec![create(0), Op::Set { path: 0, bytes: 100, version: -1 }],
        },
        Step::Storage,
        Step::Burst { client: 0, ops: vec![Op::Get { path: 0, watch: true }] },
        Step::Burst { client: 1, ops: vec![Op::Set { path: 0, bytes: 10, version: 1 }] },
        Step::Storage,
    ];
    let outcome = run(&plan(steps, vec![]), asked());
    assert_eq!(outcome.violation, None);
    assert!(outcome.counters["events"] >= 1, "the watcher was told: {:?}", outcome.counters);
}

/// Power fails at every call of a short history in turn: nothing acknowledged is lost.
#[test]
fn power_may_fail_at_every_disk_call() {
    for call in 1..160 {
        let burst =
            |client, path| Step::Burst { client, ops: vec![create(path), create(path + 8)] };
        let mut steps = Vec::new();
        for path in 0..16 {
            steps.push(burst(path % 2, path));
            steps.push(Step::Storage);
        }
        let strikes = vec![Strike { call, fault: Fault::PowerCut }];
        let outcome = run(&plan(steps, strikes), asked());
        if let Some(violation) = outcome.violation {
            panic!("violation: {violation}, power being cut at call {call}");
        }
    }
}

/// A failed write or sync is never retried: the server stops and says why.
#[test]
fn an_error_of_the_log_disk_stops_the_server() {
    let mut stopped = 0;
    for call in 1..40 {
        let steps = (0..6)
            .flat_map(|path| [Step::Burst { client: 0, ops: vec![create(path)] }, Step::Storage])
            .collect();
        let fault = Fault::Error(std::io::ErrorKind::Other);
        let outcome = run(&plan(steps, vec![Strike { call, fault }]), asked());
        assert_eq!(outcome.violation, None, "error at call {call}");
        stopped += outcome.counters.get("stopped by errors").copied().unwrap_or(0);
    }
    assert!(stopped > 5, "errors of the log stop the server: {stopped}");
}

/// An ephemeral deleted and made again by another, in flight, is not deleted by its first owner's
/// close.
#[test]
fn a_close_spares_a_node_that_another_made_again() {
    let steps = vec![
        Step::Burst { client: 0, ops: vec![Op::Create { path: 7, mode: 1 }] },
        Step::Burst { client: 1, ops: vec![Op::Get { path: 0, watch: false }] },
        Step::Storage,
        Step::Burst { client: 1, ops: vec![Op::Delete { path: 7, version: -1 }, create(7)] },
        Step::Burst { client: 0, ops: vec![Op::CloseSession] },
        Step::Storage,
    ];
    assert_eq!(run(&plan(steps, vec![]), asked()).violation, None);
}
