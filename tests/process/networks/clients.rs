//! Clients whose server can be reached, and cannot answer; or the other way round.

use super::history::History;
use super::members::Ensemble;
use super::tree::finish;
use super::wires::HUB;

/// Nobody resets anything: each has to find out by the clock, and to come to another server before
/// its session ends.
#[test]
fn sessions_leave_a_server_that_only_hears_or_only_speaks_and_live_on() {
    let ensemble = Ensemble::start(3, "");
    let leader = ensemble.leader();
    let (deaf, mute) = (ensemble.followers()[0], ensemble.followers()[1]);
    let mut history = History::default();
    history.add(ensemble.brisk_settings(&[deaf, leader]));
    history.add(ensemble.brisk_settings(&[mute, leader]));
    history.advance_all(10);
    ensemble.network.cut_way(HUB, deaf);
    ensemble.network.cut_way(mute, HUB);
    history.advance_all(30);
    assert_eq!(ensemble.leader_of(&[leader]), leader, "among the members nothing has happened");
    ensemble.network.heal();
    let told = history.halt();
    // A client that was with the leader by then has noticed nothing.
    let is_hit = told.iter().any(|told| told.lost > 0 || told.is_open);
    assert!(is_hit, "no answer was lost, so nothing was cut");
    finish(&ensemble, &told);
}

/// The leader as well: its own clients go, its followers stay.
#[test]
fn a_leader_that_clients_cannot_reach_leads_on() {
    let ensemble = Ensemble::start(3, "");
    let leader = ensemble.leader();
    let rest = ensemble.followers();
    let mut history = History::default();
    history.add(ensemble.brisk_settings(&[leader, rest[0]]));
    history.add(ensemble.brisk_settings(&rest));
    history.advance_all(10);
    ensemble.network.cut_way(leader, HUB);
    history.advance_all(30);
    ensemble.network.heal();
    assert_eq!(ensemble.mode(leader).as_deref(), Some("leader"));
    finish(&ensemble, &history.halt());
}
