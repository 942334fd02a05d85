//! Links that end without a word: nothing is reset, nothing arrives.

use std::fs;
use std::thread;
use std::time::Duration;

use super::history::History;
use super::members::{ELECTION, Ensemble};
use super::tree::finish;
use super::wires::HUB;

/// Both sides find out by their limits; neither has been told.
#[test]
fn a_link_that_falls_silent_is_given_up_by_both_sides() {
    let ensemble = Ensemble::start(3, "");
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.ids()));
    history.advance_all(10);
    let (leader, silent) = (ensemble.leader(), ensemble.followers()[0]);
    let (at_leader, at_silent) = (ensemble.log(leader).len(), ensemble.log(silent).len());
    ensemble.network.part(&[silent], &ensemble.others(&[silent]));
    ensemble.await_silent(silent);
    ensemble.await_log(silent, at_silent, "Leaving the leader");
    ensemble.await_log(leader, at_leader, &format!("GOODBYE sid:{silent} "));
    ensemble.network.heal();
    ensemble.await_serving(&[silent]);
    assert_eq!(ensemble.leader(), leader);
    history.advance_all(10);
    finish(&ensemble, &history.halt());
}

/// Its own kernel refuses at once whatever it tries: it must neither give up nor spin.
#[test]
fn a_member_without_routes_waits_for_them() {
    let mut ensemble = Ensemble::start(3, "");
    let mut history = History::default();
    let lost = ensemble.followers()[0];
    let others = ensemble.others(&[lost]);
    history.add(ensemble.settings(&others));
    history.advance_all(10);
    others.iter().for_each(|id| ensemble.network.forbid_way(lost, *id));
    ensemble.await_silent(lost);
    let before = processor_ticks(&mut ensemble, lost);
    thread::sleep(Duration::from_secs(3));
    let spent = processor_ticks(&mut ensemble, lost) - before;
    // Of a hundred a second.
    assert!(spent < 150, "it spins: {spent} ticks of processor time in three seconds");
    others.iter().for_each(|id| ensemble.network.allow_way(lost, *id));
    ensemble.await_serving(&[lost]);
    history.advance_all(10);
    finish(&ensemble, &history.halt());
}

/// Time spent in user and kernel mode.
fn processor_ticks(ensemble: &mut Ensemble, id: u8) -> u64 {
    let pid = ensemble.process(id).0.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let behind_name = stat.rsplit(')').next().expect("a name in brackets");
    let words = behind_name.split_whitespace().skip(11).take(2);
    words.map(|word| word.parse::<u64>().expect("a number")).sum()
}

/// Established links of a member's namespace with the election port at either end.
fn election_links(ensemble: &mut Ensemble, id: u8, with: u8) -> usize {
    let pid = ensemble.process(id).0.id();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("it runs");
    let far = format!("{with:02X}004D0A:");
    let port = format!(":{ELECTION:04X}");
    let is_one = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(3) == Some(&"01")
            && words[2].starts_with(&far)
            && (words[1].ends_with(&port) || words[2].ends_with(&port))
    };
    table.lines().filter(is_one).count()
}

/// Nothing is said on an election link while all is well, so only the kernel can find out.
#[test]
fn keepalive_ends_an_idle_election_link_that_is_dead_and_it_is_made_again() {
    let mut ensemble =
        Ensemble::prepare(3, "tcpKeepAlive=true\n", |id| super::wires::address(id).to_string());
    for id in ensemble.ids() {
        for (name, value) in
            [("tcp_keepalive_time", 1), ("tcp_keepalive_intvl", 1), ("tcp_keepalive_probes", 2)]
        {
            ensemble.network.set_kernel(id, name, value);
        }
    }
    ensemble.launch_all();
    ensemble.await_all();
    let mut history = History::default();
    history.add(ensemble.settings(&ensemble.ids()));
    history.advance_all(10);
    let (leader, followers) = (ensemble.leader(), ensemble.followers());
    let (one, other) = (followers[0], followers[1]);
    await_links(&mut ensemble, one, other, 1);
    ensemble.network.part(&[one], &[other]);
    await_links(&mut ensemble, one, other, 0);
    await_links(&mut ensemble, other, one, 0);
    assert_eq!(ensemble.leader(), leader, "the two have nothing else to say to each other");
    ensemble.network.heal();
    ensemble.kill(leader);
    // They need each other now.
    ensemble.leader_of(&followers);
    history.advance_all(10);
    ensemble.launch(leader);
    finish(&ensemble, &history.halt());
}

fn await_links(ensemble: &mut Ensemble, id: u8, with: u8, count: usize) {
    let began = std::time::Instant::now();
    while election_links(ensemble, id, with) != count {
        assert!(began.elapsed() < crate::server::PATIENCE, "{id} and {with}: never {count} links");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The whole machine is gone for everybody, clients included, and comes back as it was.
#[test]
fn a_leader_that_falls_silent_for_all_is_replaced_and_follows_when_it_is_back() {
    let ensemble = Ensemble::start(3, "");
    let mut history = History::default();
    history.add(ensemble.brisk_settings(&ensemble.ids()));
    history.add(ensemble.brisk_settings(&[3, 2, 1]));
    history.advance_all(10);
    let (leader, rest) = (ensemble.leader(), ensemble.followers());
    ensemble.network.part(&[leader], &[rest[0], rest[1], HUB]);
    ensemble.leader_of(&rest);
    history.advance_all(20);
    ensemble.network.heal();
    ensemble.await_all();
    assert_eq!(ensemble.mode(leader).as_deref(), Some("follower"));
    history.advance_all(10);
    finish(&ensemble, &history.halt());
}
