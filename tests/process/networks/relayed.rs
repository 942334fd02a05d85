//! Election and quorum links through a relay: late, in single bytes, and cut after any number.

use std::time::Duration;

use super::history::History;
use super::members::Ensemble;
use super::relay::{Cut, Manner, Port, Relay, Side, place};
use super::tree::finish;
use super::wires::address;

/// Members that reach each other through the relay alone.
fn start(manner: Manner) -> (Ensemble, Relay) {
    let lines = "quorumListenOnAllIPs=true\n";
    let mut ensemble = Ensemble::prepare(3, lines, |id| address(place(id)).to_string());
    let ids = ensemble.ids();
    ensemble.network.part(&ids, &ids);
    let relay = Relay::open(&ids, manner);
    ensemble.launch_all();
    ensemble.await_all();
    (ensemble, relay)
}

fn writing(ensemble: &Ensemble) -> History {
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.ids()));
    history.add(ensemble.settings(&[3, 2, 1]));
    history.advance_all(10);
    history
}

#[test]
fn links_that_are_late_and_drip_elect_and_serve() {
    let manner = Manner { delay: Duration::from_millis(15), singly: 100 };
    let (mut ensemble, relay) = start(manner);
    let history = writing(&ensemble);
    let leader = ensemble.leader();
    ensemble.kill(leader);
    ensemble.leader_of(&ensemble.others(&[leader]));
    history.advance_all(10);
    ensemble.launch(leader);
    ensemble.await_serving(&[leader]);
    history.advance_all(10);
    finish(&ensemble, &history.halt());
    drop(relay);
}

/// Bytes that end within each part of what a leader and a learner say to each other: greetings,
/// the sync, proposals. The learner is back each time.
#[test]
fn a_quorum_link_that_ends_after_any_byte_is_made_again() {
    let (ensemble, relay) = start(Manner::default());
    let history = writing(&ensemble);
    let acceptor = [0, 1, 23, 24, 44, 60, 150, 400, 5000].map(|after| (Side::Acceptor, after));
    let dialler = [0, 3, 39, 40, 63, 65, 85, 200].map(|after| (Side::Dialler, after));
    for (side, after) in acceptor.into_iter().chain(dialler) {
        let follower = ensemble.followers()[0];
        relay.arm(Cut { port: Port::Quorum, side, member: follower, after });
        relay.sever(Port::Quorum, follower);
        ensemble.await_that(&format!("cut at {after} of {side:?}"), || relay.is_cut());
        ensemble.await_all();
        history.advance_all(3);
    }
    finish(&ensemble, &history.halt());
}

/// All links end, and the first one that is made for the new election does not last. The others
/// make do without it, or make it again.
#[test]
fn an_election_link_that_ends_after_any_byte_is_made_again() {
    let (ensemble, relay) = start(Manner::default());
    let history = writing(&ensemble);
    let dialler = [0, 1, 8, 16, 20, 38, 39, 42, 60, 150].map(|after| (Side::Dialler, after));
    let acceptor = [0, 1, 4, 44, 200].map(|after| (Side::Acceptor, after));
    for (side, after) in dialler.into_iter().chain(acceptor) {
        relay.arm(Cut { port: Port::Election, side, member: 0, after });
        relay.sever(Port::Election, 0);
        relay.sever(Port::Quorum, 0);
        ensemble.await_that(&format!("cut at {after} of {side:?}"), || relay.is_cut());
        ensemble.await_all();
        history.advance_all(3);
    }
    finish(&ensemble, &history.halt());
}
