use super::super::spoken::z;
use super::bench::{Bench, ME, TICK_MS, settings, start};
use super::*;

#[test]
fn pings_leave_twice_a_tick_and_before_uptodate_too() {
    let mut bench = Bench::new(start(&[1, 2, 3, 4, 5]));
    for server in 2..=4 {
        bench.join(server, 6);
    }
    bench.write_all();
    for server in 2..=4 {
        bench.ack_epoch(server, Some(6), z(6, 3));
    }
    bench.ack(2, z(7, 0));
    bench.said.clear();
    bench.pass_ms(2 * TICK_MS);
    assert_eq!(bench.said_to(2), ["PING 7.0"; 4], "its read timeout is the sync limit now");
    assert_eq!(bench.said_to(3), [""; 0], "this one would not know what to do with it");
    bench.write_all();
    bench.ack(3, z(7, 0));
    assert_eq!(bench.established, Some(7));
    bench.propose();
    bench.said.clear();
    bench.pass_ms(TICK_MS);
    assert_eq!(bench.said_to(2), ["PING 7.1"; 2]);
    bench.packet(2, PacketKind::Ping, z(7, 1), Some(&[]));
    let two = bench.leadership.learners().find(|learner| learner.server.0 == 2).unwrap();
    assert_eq!(two.pings, (2, 1));
}

/// Everybody answers pings but those named.
fn answer(bench: &mut Bench, silent: &[i64]) {
    for server in [2, 3, 4, 5] {
        let is_pinged = bench.said_to(server).iter().any(|said| said.starts_with("PING"));
        if is_pinged && !silent.contains(&server) {
            bench.packet(server, PacketKind::Ping, z(7, 0), Some(&[]));
        }
    }
}

#[test]
fn a_leader_without_a_quorum_in_time_gives_up_at_a_tick() {
    let mut bench = Bench::leading();
    bench.pass_with(60 * TICK_MS, |bench| answer(bench, &[3]));
    assert_eq!(bench.ended, None, "two of three are enough");
    assert_eq!(bench.closed, [(3, Parting::Silent)]);
    bench.pass_with(4 * TICK_MS, |bench| answer(bench, &[2, 3]));
    assert_eq!((&bench.ended, bench.closed.len()), (&None, 1));
    bench.pass_with(3 * TICK_MS, |bench| answer(bench, &[2, 3]));
    let synced = BTreeSet::from([ME]);
    assert_eq!(bench.ended, Some(Ended::QuorumLost { synced }));
    assert_eq!(bench.closed[1].0, 2);
    assert!(bench.leadership.next_timeout().is_none());
}

#[test]
fn a_leader_whose_followers_are_gone_gives_up_at_the_next_tick() {
    let mut bench = Bench::leading();
    bench.leave(2);
    bench.leave(3);
    bench.pass_ms(TICK_MS - 1);
    assert_eq!(bench.ended, None);
    bench.pass_ms(TICK_MS);
    assert!(matches!(bench.ended, Some(Ended::QuorumLost { .. })));
}

#[test]
fn a_learner_on_its_way_in_counts_until_its_limits_are_over() {
    let mut bench = Bench::leading();
    bench.leave(2);
    bench.leave(3);
    bench.join(2, 7);
    bench.pass_ms(9 * TICK_MS);
    assert_eq!(bench.ended, None);
    // It says nothing more.
    bench.pass_ms(3 * TICK_MS);
    assert!(matches!(bench.ended, Some(Ended::QuorumLost { .. })));
    assert_eq!(bench.closed, [(2, Parting::Silent)]);
}

#[test]
fn each_step_to_the_leadership_has_the_init_limit() {
    let init_ms = settings().init_limit_ticks * TICK_MS;
    let mut first = Bench::new(start(&[1, 2, 3]));
    first.pass_ms(init_ms - 1);
    assert_eq!(first.ended, None);
    first.pass_ms(1);
    assert_eq!(first.ended, Some(Ended::NoQuorumForEpoch));

    let mut second = Bench::new(start(&[1, 2, 3]));
    second.pass_ms(init_ms - 1);
    second.join(2, 6);
    second.write_all();
    second.pass_ms(init_ms - 1);
    assert_eq!(second.ended, None);
    second.pass_ms(1);
    assert_eq!(second.ended, Some(Ended::NoQuorumAcceptedEpoch));

    let mut third = Bench::new(start(&[1, 2, 3]));
    third.join(2, 6);
    third.write_all();
    third.pass_ms(init_ms - 1);
    third.ack_epoch(2, Some(6), z(6, 3));
    third.write_all();
    third.pass_ms(init_ms - 1);
    assert_eq!(third.ended, None);
    third.pass_ms(1);
    let synced = BTreeSet::from([ME]);
    assert_eq!(third.ended, Some(Ended::NoQuorumFollowed { synced }));
}

/// There is room for what is proposed meanwhile, be it taken or not.
#[test]
fn an_ack_of_newleader_has_the_init_limit_whatever_there_is_to_send() {
    let mut bench = Bench::leading();
    bench.leave(3);
    bench.join(3, 7);
    bench.ack_epoch(3, Some(7), z(7, 0));
    for ticks in 0..settings().init_limit_ticks {
        assert_eq!(bench.closed, [], "after {ticks} ticks");
        let proposed = bench.propose();
        bench.ack(2, proposed);
        bench.pass_with(TICK_MS, |bench| answer(bench, &[3]));
    }
    assert_eq!(bench.closed, [(3, Parting::Silent)]);
}

/// It has acknowledged all, but there was never room to tell it so.
#[test]
fn who_is_brought_up_and_takes_nothing_is_given_up() {
    let mut bench = Bench::leading();
    bench.leave(3);
    bench.join(3, 7);
    bench.ack_epoch(3, Some(7), z(7, 0));
    let link = bench.link(3);
    bench.input(Input::Room { link, bytes: 0 });
    bench.ack(3, z(7, 0));
    bench.pass_with(12 * TICK_MS, |bench| answer(bench, &[3]));
    assert_eq!(bench.closed, [(3, Parting::Silent)]);
}

#[test]
fn a_server_that_was_held_up_for_the_sync_limit_leads_no_more() {
    let mut bench = Bench::leading();
    bench.now = bench.now.plus_ms(5 * TICK_MS - 1);
    bench.input(Input::Time);
    assert_eq!(bench.ended, None);
    bench.now = bench.now.plus_ms(5 * TICK_MS);
    // What lies in its sockets does not help.
    bench.ack(2, z(7, 0));
    assert_eq!(bench.ended, Some(Ended::Stalled { ms: 5 * TICK_MS }));
    assert_eq!(bench.try_to_propose(), None);
}

#[test]
fn a_learner_that_answers_pings_and_acknowledges_nothing_is_given_up() {
    let mut bench = Bench::leading();
    bench.propose();
    bench.pass_with(4 * TICK_MS, |bench| answer(bench, &[]));
    assert_eq!(bench.closed, []);
    bench.ack(2, z(7, 1));
    bench.pass_with(2 * TICK_MS, |bench| answer(bench, &[]));
    assert_eq!(bench.closed, [(3, Parting::AckOverdue)]);
}

#[test]
fn a_voter_that_looks_again_is_waited_for_no_longer_than_an_operator_says() {
    let mut patient = Bench::new(start(&[1, 2, 3]));
    patient.pass_ms(5000);
    patient.input(Input::Looking { server: ServerId(2) });
    assert_eq!(patient.ended, None);
    let mut start = start(&[1, 2, 3]);
    start.settings.max_wait_for_epoch_ms = Some(3000);
    let mut bench = Bench::new(start);
    bench.pass_ms(3000);
    bench.input(Input::Looking { server: ServerId(2) });
    assert_eq!(bench.ended, None);
    bench.pass_ms(1);
    bench.input(Input::Looking { server: ServerId(9) });
    assert_eq!(bench.ended, None, "a stranger's mind is its own");
    bench.input(Input::Looking { server: ServerId(2) });
    assert_eq!(bench.ended, Some(Ended::VoterChangedMind { server: ServerId(2) }));
}

#[test]
fn who_comes_to_a_leader_that_stood_still_is_turned_away() {
    let mut bench = Bench::leading();
    bench.now = bench.now.plus_ms(20 * TICK_MS);
    bench.connect(2, usize::MAX);
    assert!(matches!(bench.ended, Some(Ended::Stalled { .. })));
    bench.connect(3, usize::MAX);
    let turned_away = bench.closed.iter().filter(|(_, why)| *why == Parting::RoleEnded);
    assert_eq!(turned_away.count(), 4, "two that followed, and two that came");
}
