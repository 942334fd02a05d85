//! One narrow line.

use zkd::client::{Call, Client, NewNode};

use super::history::History;
use super::members::Ensemble;
use super::tree::finish;

const KBITS: u32 = 2000;
const WRITES: usize = 400;
const BYTES: usize = 10_000;

/// 4 MB take the narrow line 16 seconds; the others have them at once. Nobody is to be given up
/// for being slow, so the limits are wide.
#[test]
fn a_follower_behind_a_narrow_line_holds_nobody_up_and_catches_up() {
    let ensemble = Ensemble::start(3, "initLimit=60\nsyncLimit=60\n");
    let leader = ensemble.leader();
    let (slow, other) = (ensemble.followers()[0], ensemble.followers()[1]);
    let mut history = History::default();
    history.add(ensemble.settings(&[leader, other]));
    history.add(ensemble.settings(&[other, leader]));
    history.advance_all(10);
    let mark = ensemble.log(slow).len();
    let mut loader = Client::open(ensemble.settings(&[leader])).expect("a session");
    loader.create(NewNode::persistent("/wide", b"")).expect("created");
    ensemble.network.narrow(slow, KBITS);
    let data = vec![b'x'; BYTES];
    let sets = (0..WRITES)
        .map(|_| loader.submit(&Call::SetData { path: "/wide", data: Some(&data), version: -1 }));
    let sets: Vec<_> = sets.collect::<Result<_, _>>().expect("queued");
    for xid in sets {
        loader.wait(xid).expect("a reply").answer().expect("it is set");
    }
    let wanted = ensemble.zxid(leader).expect("it serves");
    let behind = ensemble.zxid(slow);
    assert!(behind.is_none_or(|zxid| zxid < wanted), "the line is not narrow: {behind:x?}");
    history.advance_all(20);
    ensemble.await_that("the slow one has caught up", || {
        ensemble.zxid(slow).is_some_and(|zxid| zxid >= wanted)
    });
    ensemble.network.widen(slow);
    let log = ensemble.log(slow);
    assert!(!log[mark..].contains("Leaving the leader"), "it was given up:\n{}", &log[mark..]);
    finish(&ensemble, &history.halt());
}

/// A whole image has to pass, since this one has never been here.
#[test]
fn a_member_that_joins_over_a_narrow_line_gets_everything() {
    let mut ensemble =
        Ensemble::prepare(3, "initLimit=60\nsyncLimit=60\nforceSnapshotSync=true\n", |id| {
            super::wires::address(id).to_string()
        });
    ensemble.launch(1);
    ensemble.launch(2);
    ensemble.await_serving(&[1, 2]);
    let mut history = History::default();
    history.add(ensemble.settings(&[1, 2]));
    let mut loader = Client::open(ensemble.settings(&[1, 2])).expect("a session");
    let data = vec![b'x'; BYTES];
    for n in 0..WRITES / 4 {
        loader.create(NewNode::persistent(&format!("/wide-{n}"), &data)).expect("created");
    }
    let leader = ensemble.leader_of(&[1, 2]);
    let mark = ensemble.log(leader).len();
    ensemble.network.narrow(3, KBITS);
    ensemble.launch(3);
    history.advance_all(50);
    ensemble.await_serving(&[3]);
    ensemble.await_log(leader, mark, "Sending SNAP");
    ensemble.network.widen(3);
    assert_eq!(ensemble.leader(), leader, "nobody had to wait for it");
    finish(&ensemble, &history.halt());
}
