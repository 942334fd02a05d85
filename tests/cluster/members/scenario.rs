//! Scripted histories of whole members: each names the failure that must not happen.

use super::cluster::run;
use super::plan::{Burst, Fault, Plan, Timed};
use crate::plan::Op;

fn create(path: u8) -> Op {
    Op::Create { path, mode: 0 }
}

fn burst(at_ms: u64, client: usize, ops: Vec<Op>) -> Burst {
    Burst { at_ms, client, ops }
}

fn timed(at_ms: u64, fault: Fault) -> Timed {
    Timed { at_ms, fault }
}

/// Writes all the time, by two clients.
fn busy(voters: usize, calm_ms: u64) -> Plan {
    let ops = |n: u64| {
        let path = (n % 8) as u8;
        vec![create(path), Op::Set { path, bytes: 100, version: -1 }, Op::Get { path, watch: true }]
    };
    let bursts = (1..calm_ms / 50).map(|n| burst(50 * n, n as usize % 2, ops(n))).collect();
    Plan { bursts, calm_ms, ..Plan::calm(voters) }
}

fn green(plan: &Plan) -> super::cluster::Outcome {
    let outcome = run(plan);
    assert_eq!(outcome.violation, None, "{plan:?}\n{}{:?}", outcome.tail, outcome.counters);
    outcome
}

#[test]
fn members_that_nothing_happens_to_serve_everybody() {
    for voters in [3, 5] {
        let outcome = green(&busy(voters, 3000));
        assert_eq!(outcome.counters["elections"], 1, "{:?}", outcome.counters);
        assert!(outcome.counters["writes acknowledged"] > 50, "{:?}", outcome.counters);
    }
}

#[test]
fn an_observer_serves_like_the_others() {
    let mut plan = busy(3, 3000);
    plan.observers = 1;
    plan.core = (0..4).collect();
    plan.ahead_ms = vec![0; 4];
    plan.start_ms = vec![0; 4];
    let outcome = green(&plan);
    assert!(outcome.counters["INFORM"] > 50, "{:?}", outcome.counters);
}

/// Whoever feeds it falls, and the next one takes over; the leader falls, and all begin anew.
#[test]
fn an_observer_behind_followers_serves_whichever_of_them_falls() {
    for fault in [
        |n: u64| timed(2000 * n, Fault::Kill { member: n as usize % 3, ms: 900 }),
        |n: u64| timed(2000 * n, Fault::KillLeader { power: true, ms: 900 }),
    ] {
        let mut plan = busy(3, 13_000);
        plan.observers = 1;
        plan.followers_feed = true;
        plan.core = (0..4).collect();
        plan.ahead_ms = vec![0; 4];
        plan.start_ms = vec![0; 4];
        plan.faults = (1..6).map(fault).collect();
        let outcome = green(&plan);
        let counters = &outcome.counters;
        assert_eq!(counters.get("INFORM"), None, "the leader feeds nobody: {counters:?}");
        assert!(counters["INFORM by a follower"] > 100, "{counters:?}");
        let brought = counters["observers brought up to date by a follower"];
        assert!(brought >= 3, "{counters:?}");
    }
}

/// An observer stands still with requests of clients that go elsewhere meanwhile, to the follower
/// behind which it observes among others. What it hands on when it wakes up comes too late.
#[test]
fn what_an_observer_held_up_has_no_effect_behind_what_its_client_asked_elsewhere() {
    for seed in 1..6 {
        let mut plan = busy(3, 20_000);
        plan.seed = seed;
        plan.observers = 1;
        plan.followers_feed = true;
        plan.core = (0..4).collect();
        plan.ahead_ms = vec![0; 4];
        plan.start_ms = vec![0; 4];
        for n in 1..33 {
            plan.faults.push(timed(600 * n, Fault::Pause { member: 3, ms: 150 }));
            let cut = |client| timed(600 * n + 60, Fault::CutClient { client });
            plan.faults.extend((0..plan.clients).map(cut));
        }
        let outcome = green(&plan);
        assert_eq!(outcome.counters["clients cut"], 64, "{:?}", outcome.counters);
    }
}

/// Leaders fall one after the other, and each comes back.
#[test]
fn leaders_that_are_killed_are_replaced_and_come_back() {
    for power in [false, true] {
        let mut plan = busy(3, 9000);
        let kill = |n: u64| timed(2000 * n, Fault::KillLeader { power, ms: 500 });
        plan.faults = (1..4).map(kill).collect();
        let outcome = green(&plan);
        assert!(outcome.counters["elections"] >= 4, "{:?}", outcome.counters);
    }
}

/// Everybody at once, at any time.
#[test]
fn a_power_cut_of_all_loses_nothing() {
    for after_ms in 0..12 {
        let mut plan = busy(3, 4000);
        let at_ms = 1000 + 37 * after_ms;
        let cut = |member| timed(at_ms, Fault::PowerCut { member, ms: 100 + 20 * member as u64 });
        plan.faults = (0..3).map(cut).collect();
        green(&plan);
    }
}

/// A leader that is cut off goes on for a while with what nobody else has.
#[test]
fn a_leader_that_is_cut_off_gives_up_what_nobody_else_has() {
    for member in 0..3 {
        let mut plan = busy(3, 8000);
        let fault = Fault::Partition { side: vec![member], both_ways: true, ms: 4000 };
        plan.faults = vec![timed(1500, fault)];
        green(&plan);
    }
}

/// One was away for so long that only an image brings it back, or the log does.
#[test]
fn who_was_away_for_long_is_brought_back() {
    for snap_count in [6, 1000] {
        for member in 0..3 {
            let mut plan = busy(3, 8000);
            plan.snap_count = snap_count;
            plan.faults = vec![timed(1000, Fault::Kill { member, ms: 6000 })];
            green(&plan);
        }
    }
}

#[test]
fn a_member_that_stood_still_comes_back() {
    for member in 0..3 {
        for ms in [300, 1500, 5000] {
            let mut plan = busy(3, 8000);
            plan.faults = vec![timed(1500, Fault::Pause { member, ms })];
            green(&plan);
        }
    }
}

#[test]
fn a_disk_that_hangs_costs_one_server_its_place_only() {
    for member in 0..3 {
        let mut plan = busy(3, 9000);
        plan.faults = vec![timed(1500, Fault::HangingDisk { member, ms: 5000 })];
        green(&plan);
    }
}

/// Sessions that are their servers' alone until they want an ephemeral; those that are not yet are
/// lost with their servers, and nothing else is.
#[test]
fn sessions_of_one_server_alone_become_the_ensembles() {
    let ephemeral = |n: u64| Op::Create { path: (n % 8) as u8, mode: 1 };
    let mut plan = busy(3, 9000);
    plan.local_sessions = true;
    plan.clients = 4;
    for n in 1..40 {
        let client = 2 + n as usize % 2;
        let farewell = if n % 4 == 0 { vec![Op::CloseSession] } else { Vec::new() };
        let ops = [vec![create(8), ephemeral(n)], farewell].concat();
        plan.bursts.push(burst(200 * n, client, ops));
    }
    plan.bursts.sort_by_key(|burst| burst.at_ms);
    let kill = |n: u64| timed(2500 * n, Fault::KillLeader { power: false, ms: 500 });
    plan.faults = (1..4).map(kill).collect();
    let outcome = green(&plan);
    assert!(outcome.counters["farewells"] > 3, "{:?}", outcome.counters);
    assert!(outcome.counters["sessions refused"] > 0, "{:?}", outcome.counters);
    assert!(outcome.counters["sessions re-opened"] > 0, "{:?}", outcome.counters);
}

/// A member that was cut off has shown what nobody else has: it is rebuilt without that.
#[test]
fn what_a_read_only_member_has_shown_is_cut() {
    for member in 0..3 {
        let mut plan = busy(3, 10_000);
        plan.read_only = true;
        let fault = Fault::Partition { side: vec![member], both_ways: true, ms: 6000 };
        plan.faults = vec![timed(1500, fault)];
        let outcome = green(&plan);
        assert!(outcome.counters["turns of read-only members"] > 0, "{:?}", outcome.counters);
    }
}

/// That a client goes is no sign of life: who follows tells its leader only of whom it has heard.
#[test]
fn a_client_that_goes_is_not_told_to_live() {
    let mut plan = busy(3, 6000);
    plan.clients = 4;
    let cut = |n: u64| timed(1000 + 333 * n, Fault::CutClient { client: 2 + n as usize % 2 });
    plan.faults = (0..12).map(cut).collect();
    let outcome = green(&plan);
    assert!(outcome.counters["clients cut"] >= 12, "{:?}", outcome.counters);
}

/// Whoever asks for a session and has gone before it is made has none that could live.
#[test]
fn a_session_that_was_not_made_yet_is_not_told_to_live() {
    let mut plan = busy(3, 8000);
    for n in 0..12 {
        // Those behind the others know one member each.
        let (member, at_ms) = (n as usize % 3, 1500 + 500 * n);
        let client = plan.clients + member;
        // It comes back while its member sleeps, and has gone when that wakes up.
        plan.faults.push(timed(at_ms, Fault::ClientDies { client }));
        plan.faults.push(timed(at_ms + 140, Fault::Pause { member, ms: 60 }));
        plan.faults.push(timed(at_ms + 170, Fault::ClientDies { client }));
    }
    let outcome = green(&plan);
    assert_eq!(outcome.counters["clients died"], 24, "{:?}", outcome.counters);
}
