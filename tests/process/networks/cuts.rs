//! Members cut off whole: a leader, a follower, a minority, everybody.

use std::time::{Duration, Instant};

use zkd::client::{Call, Client, Error, NewNode};

use super::history::History;
use super::members::Ensemble;
use super::tree::finish;
use super::wires::HUB;

/// Its clients still reach it: they must be told nothing that the others do not know.
#[test]
fn a_leader_cut_from_the_others_serves_nobody_and_they_elect() {
    let ensemble = Ensemble::start(3, "");
    let (old, rest) = (ensemble.leader(), ensemble.followers());
    let mut history = History::default();
    // One that begins at the leader and may go elsewhere, one that never meets it.
    history.add(ensemble.settings(&[old, rest[0], rest[1]]));
    history.add(ensemble.settings(&rest));
    history.advance_all(20);
    let mut pinned = Client::open(ensemble.settings(&[old])).expect("a session");
    pinned.create(NewNode::persistent("/pinned", b"")).expect("created");
    ensemble.network.part(&[old], &rest);
    let cut = Instant::now();
    // Nobody else can have it: an answer would be a lie.
    let sets = (0..20).map(|n: i32| {
        let data = n.to_string();
        pinned.submit(&Call::SetData { path: "/pinned", data: Some(data.as_bytes()), version: -1 })
    });
    let sets: Vec<_> = sets.collect::<Result<_, _>>().expect("queued");
    for xid in sets {
        let answer = pinned.wait(xid);
        assert!(matches!(answer, Err(Error::ConnectionLoss)), "{answer:?}");
    }
    println!("the old leader let go after {:?}", cut.elapsed());
    ensemble.await_silent(old);
    let new = ensemble.leader_of(&rest);
    history.advance_all(20);
    assert_ne!(new, old);
    assert!(ensemble.word(old, "srvr").contains("not currently serving"), "it is still alone");
    ensemble.network.heal();
    ensemble.await_serving(&[old]);
    assert_eq!(ensemble.mode(old).as_deref(), Some("follower"), "{new} leads on");
    let data = pinned.data("/pinned", false).expect("its session lives").0;
    assert_eq!(data.as_deref(), Some(&b""[..]), "what only the old leader had is gone");
    history.advance_all(20);
    finish(&ensemble, &history.halt());
}

#[test]
fn a_follower_without_its_cable_is_missed_by_nobody_and_catches_up() {
    let ensemble = Ensemble::start(3, "");
    let (leader, lost) = (ensemble.leader(), ensemble.followers()[0]);
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.others(&[lost])));
    history.add(ensemble.brisk_settings(&[lost, leader]));
    history.advance_all(20);
    let mark = ensemble.log(lost).len();
    ensemble.network.plug(lost, false);
    // Both, the second after it has noticed.
    history.advance_all(50);
    ensemble.await_log(lost, mark, "Leaving the leader");
    assert_eq!(ensemble.leader(), leader, "the others go on as they were");
    ensemble.network.plug(lost, true);
    ensemble.await_serving(&[lost]);
    history.advance_all(20);
    assert_eq!(ensemble.leader(), leader, "who comes back takes nothing over");
    finish(&ensemble, &history.halt());
}

/// The leader and one more cannot go on, three can. Then nobody can, then all.
#[test]
fn of_five_the_three_together_go_on_and_all_come_back_from_being_alone() {
    let ensemble = Ensemble::start(5, "");
    let leader = ensemble.leader();
    let followers = ensemble.followers();
    let (minority, majority) = ([leader, followers[0]], &followers[1..]);
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.ids()));
    history.add(ensemble.settings(majority));
    history.add(ensemble.settings(&minority));
    history.advance_all(20);
    ensemble.network.part(&minority, majority);
    minority.iter().for_each(|id| ensemble.await_silent(*id));
    ensemble.leader_of(majority);
    let before = history.acknowledged(2);
    history.advance(&[0, 1], 30);
    assert_eq!(history.acknowledged(2), before, "two of five acknowledge nothing");
    ensemble.network.part(&ensemble.ids(), &ensemble.ids());
    ensemble.ids().iter().for_each(|id| ensemble.await_silent(*id));
    let before: Vec<u64> = (0..3).map(|at| history.acknowledged(at)).collect();
    std::thread::sleep(Duration::from_secs(1));
    let after: Vec<u64> = (0..3).map(|at| history.acknowledged(at)).collect();
    assert_eq!(after, before, "nobody alone acknowledges anything");
    ensemble.network.heal();
    ensemble.await_all();
    history.advance_all(20);
    finish(&ensemble, &history.halt());
}

/// Cut from clients too, so that a session has only its timeout to learn of it.
#[test]
fn members_that_take_turns_being_away_lose_nothing() {
    let ensemble = Ensemble::start(3, "");
    let mut history = History::default();
    history.add(ensemble.brisk_settings(&ensemble.ids()));
    history.add(ensemble.brisk_settings(&[3, 2, 1]));
    for _ in 0..2 {
        history.advance_all(20);
        let away = ensemble.leader();
        let rest = ensemble.others(&[away]);
        ensemble.network.part(&[away], &ensemble.others(&[away]));
        ensemble.network.part(&[away], &[HUB]);
        ensemble.leader_of(&rest);
        history.advance_all(20);
        ensemble.network.heal();
        ensemble.await_all();
    }
    finish(&ensemble, &history.halt());
}
