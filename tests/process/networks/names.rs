//! Members that are written as names: ones that nobody knows yet, and ones that move.

use super::history::History;
use super::members::{Ensemble, host_line};
use super::tree::finish;
use super::wires::address;

fn name(id: u8) -> String {
    format!("member-{id}")
}

/// Lines for these members; 3 may have another address.
fn hosts(ids: &[u8], third: u8) -> String {
    let at = |id: u8| if id == 3 { third } else { id };
    ids.iter().map(|id| host_line(&name(*id), address(at(*id)))).collect()
}

fn tell_all(ensemble: &mut Ensemble, ids: &[u8], third: u8) {
    for id in ensemble.ids() {
        ensemble.set_hosts(id, &hosts(ids, third));
    }
}

/// It knows nobody's name either, not even its own.
#[test]
fn a_member_whose_name_nobody_knows_yet_joins_once_it_is_known() {
    let mut ensemble = Ensemble::prepare(3, "electionPortBindRetry=0\n", name);
    ensemble.set_hosts(1, &hosts(&[1, 2], 3));
    ensemble.set_hosts(2, &hosts(&[1, 2], 3));
    ensemble.set_hosts(3, "");
    ensemble.launch_all();
    ensemble.await_serving(&[1, 2]);
    let mut history = History::default();
    history.add(ensemble.settings(&[1, 2]));
    history.advance_all(20);
    assert_eq!(ensemble.mode(3), None, "it finds nobody");
    assert!(ensemble.process(3).is_running(), "and waits:\n{}", ensemble.log(3));
    tell_all(&mut ensemble, &[1, 2, 3], 3);
    ensemble.await_serving(&[3]);
    history.advance_all(20);
    finish(&ensemble, &history.halt());
}

/// The others ask for the name again whenever they dial: they follow it as their leader, too.
#[test]
fn a_member_that_moves_to_another_address_is_found_there() {
    let mut ensemble = Ensemble::prepare(3, "", name);
    tell_all(&mut ensemble, &[1, 2, 3], 3);
    ensemble.launch_all();
    ensemble.await_all();
    let mut history = History::default();
    history.add(ensemble.settings(&[1, 2]));
    history.advance_all(20);
    ensemble.stop(3);
    ensemble.move_to(3, 33);
    tell_all(&mut ensemble, &[1, 2, 3], 33);
    ensemble.launch(3);
    ensemble.await_serving(&[3]);
    // Whoever leads of the two that are left, it needs the other.
    let gone = if ensemble.leader() == 1 { 1 } else { 2 };
    ensemble.kill(gone);
    ensemble.leader_of(&ensemble.others(&[gone]));
    history.advance_all(20);
    ensemble.launch(gone);
    finish(&ensemble, &history.halt());
}
