//! Ways that are open in one direction only.

use super::history::History;
use super::members::Ensemble;
use super::tree::finish;

/// Cuts these ways, demands that writes go on, and that all serve once the ways are open again.
fn through(ensemble: &Ensemble, history: &History, ways: &[(u8, u8)]) {
    for (from, to) in ways {
        ensemble.network.cut_way(*from, *to);
    }
    // More than fits into what was under way, so that whoever must let go has let go.
    history.advance_all(60);
    ensemble.network.heal();
    ensemble.await_all();
    history.advance_all(10);
}

fn writing(ensemble: &Ensemble) -> History {
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.ids()));
    history.add(ensemble.settings(&[3, 2, 1]));
    history.advance_all(10);
    history
}

#[test]
fn a_follower_that_hears_or_is_heard_by_nobody_hinders_nobody() {
    let ensemble = Ensemble::start(3, "");
    let history = writing(&ensemble);
    let leader = ensemble.leader();
    let (deaf, other) = (ensemble.followers()[0], ensemble.followers()[1]);
    through(&ensemble, &history, &[(leader, deaf)]);
    assert_eq!(ensemble.leader(), leader, "it had a majority all the time");
    through(&ensemble, &history, &[(deaf, leader)]);
    assert_eq!(ensemble.leader(), leader, "it had a majority all the time");
    through(&ensemble, &history, &[(deaf, leader), (deaf, other)]);
    through(&ensemble, &history, &[(leader, deaf), (other, deaf)]);
    through(&ensemble, &history, &[(deaf, other)]);
    finish(&ensemble, &history.halt());
}

/// One of the two others leads then, though the old leader may still hear or be heard.
#[test]
fn a_leader_that_hears_nobody_or_is_heard_by_nobody_gives_way() {
    let ensemble = Ensemble::start(3, "");
    let history = writing(&ensemble);
    for is_mute in [true, false] {
        let leader = ensemble.leader();
        let rest = ensemble.followers();
        let ways = rest.iter().map(|id| if is_mute { (leader, *id) } else { (*id, leader) });
        ways.for_each(|(from, to)| ensemble.network.cut_way(from, to));
        ensemble.await_silent(leader);
        let heir = ensemble.leader_of(&rest);
        println!("mute: {is_mute}: {leader}, then {heir}");
        history.advance_all(20);
        ensemble.network.heal();
        ensemble.await_all();
        history.advance_all(10);
    }
    finish(&ensemble, &history.halt());
}

/// Each hears the next and is heard by the one before alone: no two can talk, so nobody leads.
#[test]
fn a_ring_of_one_way_streets_serves_nobody_and_recovers() {
    let ensemble = Ensemble::start(3, "");
    let history = writing(&ensemble);
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        ensemble.network.cut_way(from, to);
    }
    ensemble.ids().iter().for_each(|id| ensemble.await_silent(*id));
    ensemble.network.heal();
    ensemble.await_all();
    history.advance_all(20);
    finish(&ensemble, &history.halt());
}
