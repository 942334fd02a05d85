use super::cluster::{Cluster, run};
use super::plan::*;
use super::plan::Kind::*;
use super::plan::Form::*;

#[test]
fn scratch() {
    let plan = Plan {
    seed: 10829001035, is_grouped: false, is_early: true,
    has_two_addresses: false, tick_ms: 500,
    init_ticks: 10, sync_ticks: 2,
    longest_pause_ms: 400, open_ms: 0,
    look_up_ms: 0, connect_ms: 5000,
    least_us: 100, spread_us: 0, capacity: 65536,
    accept_queue: 50, give_up_ms: 1500,
    calm_ms: 22596, outside: Outside::Down,
    core: vec![0, 1, 2],
    members: vec![
        MemberPlan { id: 1, kind: Zkd, votes: true, group: 1, weight: 1, zxid: 4294967301, epoch: 1, ahead_ms: 0, start_ms: 0 },
        MemberPlan { id: 8, kind: Zkd, votes: true, group: 1, weight: 1, zxid: 4294967301, epoch: 1, ahead_ms: 0, start_ms: 0 },
        MemberPlan { id: 11, kind: Java(Version2), votes: true, group: 1, weight: 1, zxid: 4294967301, epoch: 1, ahead_ms: 0, start_ms: 0 },
        MemberPlan { id: 12, kind: Zkd, votes: true, group: 1, weight: 1, zxid: 4294967301, epoch: 1, ahead_ms: 0, start_ms: 0 },
    ],
    faults: vec![
        Timed { at_ms: 22595, fault: Fault::Kill { member: 3, ms: 10 } },
    ],
};
    let outcome = run(&plan);
    println!("{}", outcome.tail);
    println!("{:?}", outcome.violation);
    let _ = Cluster::new(&plan);
    let _ = (Java(Version2), Version1, Bytes28, Bytes40, Zkd);
}
