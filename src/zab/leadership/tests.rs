use crate::base::limits::EPOCHS_YIELDED_TO;
use crate::history::EpochFile;
use crate::members::Grouping;
use crate::peering::{LEARNER_PROTOCOL, LearnerInfo};

use super::super::ring::Place;
use super::super::spoken::z;
use super::bench::{Bench, ME, TICK_MS, membership, start};
use super::*;

#[test]
fn nothing_is_told_before_it_is_on_disk() {
    let mut bench = Bench::new(start(&[1, 2, 3]));
    bench.join(2, 6);
    assert_eq!(bench.epoch_files(), [(EpochFile::Accepted, 7)]);
    assert_eq!(bench.said_to(2), [""; 0]);
    bench.write_all();
    assert_eq!(bench.said_to(2), ["LEADERINFO 7.0"]);
    bench.ack_epoch(2, Some(6), z(6, 3));
    assert_eq!(bench.epoch_files(), [(EpochFile::Current, 7)]);
    assert_eq!(bench.said_to(2), ["DIFF 6.3", "NEWLEADER 7.0"], "its sync goes on meanwhile");
    bench.ack(2, z(7, 0));
    assert_eq!(bench.established, None, "this server itself does not follow epoch 7 yet");
    bench.write_all();
    assert_eq!(bench.established, Some(7));
    assert_eq!(bench.said_to(2), ["UPTODATE"]);
}

#[test]
fn there_is_no_leader_before_a_quorum_has_the_history() {
    let mut bench = Bench::new(start(&[1, 2, 3, 4, 5]));
    for server in 2..=5 {
        bench.join(server, 6);
    }
    bench.write_all();
    for server in 2..=5 {
        bench.ack_epoch(server, Some(6), z(6, 1));
    }
    bench.write_all();
    bench.ack(2, z(7, 0));
    assert_eq!(bench.established, None);
    // One that left takes its word along.
    bench.leave(2);
    bench.ack(3, z(7, 0));
    assert_eq!(bench.established, None);
    bench.ack(4, z(7, 0));
    assert_eq!(bench.established, Some(7));
    assert_eq!(bench.said_to(4).last().unwrap(), "UPTODATE");
    assert_eq!(bench.said_to(5).last().unwrap(), "NEWLEADER 7.0");
}

#[test]
fn a_lone_voter_leads_by_its_own_disk() {
    let mut bench = Bench::new(start(&[1]));
    bench.write_all();
    assert_eq!(bench.established, Some(7));
    assert_eq!((bench.propose(), bench.propose()), (z(7, 1), z(7, 2)));
    bench.log_written(z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
    bench.pass_ms(10 * TICK_MS);
    assert_eq!(bench.ended, None);
}

#[test]
fn a_write_is_committed_with_a_quorum_and_told_to_whom_it_was_proposed() {
    let mut bench = Bench::leading();
    bench.observe(9, 7);
    bench.ack_epoch(9, None, z(6, 3));
    bench.ack(9, z(7, 0));
    assert_eq!(bench.said_to(9), ["LEADERINFO 7.0", "DIFF 6.3", "NEWLEADER 7.0", "UPTODATE"]);
    bench.propose();
    assert_eq!(bench.said_to(2), ["PROPOSAL 7.1"]);
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO);
    bench.ack(9, z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO, "an observer does not count");
    bench.log_written(z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
    assert_eq!(bench.said_to(2), ["COMMIT 7.1"]);
    assert_eq!(bench.said_to(3), ["PROPOSAL 7.1", "COMMIT 7.1"]);
    assert_eq!(bench.said_to(9), ["INFORM 7.1"]);
}

#[test]
fn a_learner_that_comes_late_is_brought_up_and_told_what_is_outstanding() {
    let mut bench = Bench::leading();
    bench.leave(3);
    bench.propose();
    bench.propose();
    bench.ack(2, z(7, 1));
    bench.log_written(z(7, 2));
    assert_eq!(bench.committed, z(7, 1));
    bench.said_to(3);
    bench.come_late(3, z(6, 2));
    assert_eq!(
        bench.said_to(3),
        [
            "LEADERINFO 7.0",
            "DIFF 7.1",
            "PROPOSAL 6.3",
            "COMMIT 6.3",
            "PROPOSAL 7.1",
            "COMMIT 7.1",
            "NEWLEADER 7.0",
            "PROPOSAL 7.2"
        ]
    );
    bench.ack(3, z(7, 0));
    assert_eq!(bench.said_to(3), ["UPTODATE"]);
    bench.ack(3, z(7, 2));
    assert_eq!(bench.committed, z(7, 2));
    assert_eq!(bench.said_to(3), ["COMMIT 7.2"]);
}

/// Java keeps the ACKs of a learner that comes back and is told to cut them off.
#[test]
fn the_acks_of_a_learner_that_is_cut_do_not_survive_it() {
    let mut bench = Bench::leading();
    bench.propose();
    bench.ack(2, z(7, 1));
    bench.leave(2);
    bench.said_to(2);
    bench.come_late(2, z(7, 1));
    assert_eq!(bench.said_to(2), ["LEADERINFO 7.0", "TRUNC 6.3", "NEWLEADER 7.0", "PROPOSAL 7.1"]);
    bench.log_written(z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO, "nobody but this server has it for certain");
    bench.ack(2, z(7, 0));
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
}

/// The server with the highest zxid was away at the election, and has what was never committed.
#[test]
fn zk_1154_whoever_comes_with_more_is_cut_or_sent_an_image() {
    let mut bench = Bench::leading();
    bench.leave(3);
    bench.said_to(3);
    bench.come_late(3, z(6, 9));
    assert_eq!(bench.said_to(3), ["LEADERINFO 7.0", "TRUNC 6.3", "NEWLEADER 7.0"]);
    bench.leave(3);
    bench.propose();
    bench.ack(2, z(7, 1));
    bench.log_written(z(7, 1));
    // Now its epoch has gone on without it.
    bench.said_to(3);
    bench.come_late(3, z(6, 9));
    assert_eq!(bench.wanted, [(3, Wish::Image)]);
    bench.input(Input::Image { link: bench.link(3), zxid: z(7, 1) });
    assert_eq!(bench.said_to(3), ["LEADERINFO 7.0", "SNAP 7.1"]);
}

/// The ACK of a proposal overtakes that of NEWLEADER, where a server logs both on its own time.
#[test]
fn zk_4685_an_ack_of_a_proposal_before_that_of_newleader_counts_and_harms_nothing() {
    let mut bench = Bench::leading();
    bench.leave(3);
    bench.leave(2);
    bench.come_late(2, z(6, 3));
    bench.propose();
    bench.log_written(z(7, 1));
    bench.said_to(2);
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
    bench.ack(2, z(7, 0));
    assert_eq!(bench.said_to(2), ["COMMIT 7.1", "UPTODATE"]);
    // After UPTODATE it acknowledges the epoch once more.
    bench.ack(2, z(7, 0));
    assert!(bench.is_open(2));
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let mut bench = Bench::leading();
    bench.input(Input::Room { link: bench.link(2), bytes: 0 });
    bench.propose();
    bench.log_written(z(7, 1));
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO);
    bench.input(Input::Room { link: bench.link(2), bytes: 9999 });
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
}

#[test]
fn a_voter_that_is_ahead_ends_the_leadership_and_an_observer_only_its_link() {
    let mut bench = Bench::new(start(&[1, 2, 3, 4, 5]));
    bench.join(2, 6);
    bench.join(3, 6);
    bench.observe(9, 6);
    bench.write_all();
    bench.ack_epoch(9, Some(6), z(6, 4));
    let ours = Summary { current_epoch: 6, last_zxid: z(6, 3) };
    let theirs = Summary { current_epoch: 6, last_zxid: z(6, 4) };
    let ahead = Ahead { theirs, ours };
    assert_eq!(bench.closed, [(9, Parting::Ahead(ahead))]);
    assert_eq!(bench.ended, None);
    bench.ack_epoch(2, Some(6), z(6, 4));
    assert_eq!(bench.ended, Some(Ended::VoterAhead { server: ServerId(2), ahead }));
    assert_eq!(bench.closed[1..], [(2, Parting::RoleEnded), (3, Parting::RoleEnded)]);
}

#[test]
fn java_without_a_database_of_its_own_is_let_in() {
    let mut bench = Bench::leading();
    bench.connect(3, usize::MAX);
    let mut data = Vec::new();
    let config_version = Some(0);
    LearnerInfo { server: ServerId(3), protocol: LEARNER_PROTOCOL, config_version }
        .write(&mut data);
    // It has accepted epoch −1.
    bench.packet(3, PacketKind::FollowerInfo, Zxid(-1 << 32), Some(&data));
    assert_eq!(bench.said_to(3), ["LEADERINFO 7.0"]);
    let parted: Vec<_> = bench.closed.iter().map(|(_, why)| *why).collect();
    assert_eq!(parted, [Parting::Replaced]);
}

#[test]
fn a_voter_that_promised_a_later_epoch_ends_the_leadership() {
    let mut bench = Bench::leading();
    bench.observe(9, 8);
    bench.join(3, 7 + EPOCHS_YIELDED_TO as u32 + 1);
    assert_eq!(bench.ended, None);
    let far_off = Parting::Epoch(7 + EPOCHS_YIELDED_TO + 1);
    assert_eq!(bench.closed, [(3, Parting::Replaced), (3, far_off)]);
    assert_eq!(bench.said_to(9), ["LEADERINFO 7.0"], "it sees for itself");
    bench.join(3, 7);
    assert_eq!(bench.ended, None, "it has accepted ours");
    bench.join(3, 8);
    let why = Ended::VoterPromised { server: ServerId(3), accepted: 8, epoch: 7 };
    assert_eq!(bench.ended, Some(why));
}

#[test]
fn nobody_takes_the_ensemble_to_the_end_of_its_epochs() {
    let mut bench = Bench::new(start(&[1, 2, 3]));
    let last = 6 + EPOCHS_YIELDED_TO as u32;
    bench.observe(9, last + 1);
    bench.join(2, last + 1);
    let far_off = Parting::Epoch(i64::from(last) + 1);
    assert_eq!(bench.closed, [(9, far_off), (2, far_off)]);
    bench.join(2, last);
    bench.write_all();
    assert_eq!(bench.said_to(2), [format!("LEADERINFO {}.0", last + 1)]);
}

/// Five voters in one group, of which the last two weigh nothing.
fn weighed() -> Start {
    let mut start = start(&[1, 2, 3, 4, 5]);
    let servers = (1..=5).map(ServerId);
    let grouping = Grouping {
        groups: servers.clone().map(|server| (server, 1)).collect(),
        weights: servers.map(|server| (server, u32::from(server.0 <= 3))).collect(),
    };
    start.ensemble.current.grouping = Some(grouping);
    start.ensemble.last_seen = start.ensemble.current.clone();
    start
}

#[test]
fn a_voter_that_weighs_nothing_ends_no_leadership() {
    let mut bench = Bench::new(weighed());
    bench.join(2, 6);
    bench.join(4, 6);
    bench.write_all();
    bench.ack_epoch(4, Some(6), z(6, 4));
    let ours = Summary { current_epoch: 6, last_zxid: z(6, 3) };
    let theirs = Summary { current_epoch: 6, last_zxid: z(6, 4) };
    assert_eq!(bench.closed, [(4, Parting::Ahead(Ahead { theirs, ours }))]);
    assert_eq!(bench.ended, None, "it would be elected by nobody");
    bench.ack_epoch(2, Some(6), z(6, 3));
    bench.write_all();
    bench.ack(2, z(7, 0));
    assert_eq!(bench.established, Some(7));
    bench.join(5, 8);
    assert_eq!((bench.ended.clone(), bench.said_to(5)), (None, vec!["LEADERINFO 7.0".to_owned()]));
    bench.join(3, 8);
    let why = Ended::VoterPromised { server: ServerId(3), accepted: 8, epoch: 7 };
    assert_eq!(bench.ended, Some(why));
}

#[test]
fn the_oldest_learners_know_neither_leaderinfo_nor_the_configuration() {
    let mut bench = Bench::new(start(&[1, 2, 3]));
    bench.connect(2, usize::MAX);
    bench.info(2, PacketKind::FollowerInfo, 6, LEARNER_PROTOCOL - 1);
    bench.write_all();
    // Its word that it is at 6.0 was its promise, too.
    assert!(bench.epoch_files().is_empty());
    assert_eq!(bench.said_to(2)[..3], ["NEWLEADER 7.0", "DIFF 6.3", "PROPOSAL 6.1"]);
    let begin = Outgoing::packet(PacketKind::NewLeader, z(7, 0));
    assert_eq!(bench.sent[&2][0], begin, "without the text");
    bench.ack(2, z(7, 0));
    assert_eq!(bench.established, Some(7));
    // One that says nothing at all is numbered.
    bench.connect(8, usize::MAX);
    bench.packet(8, PacketKind::ObserverInfo, z(6, 3), None);
    assert_eq!(bench.said_to(8), ["NEWLEADER 7.0", "DIFF 6.3"]);
    let servers: Vec<i64> = bench.leadership.learners().map(|learner| learner.server.0).collect();
    assert_eq!(servers, [2, -1]);
}

#[test]
fn who_says_something_impossible_of_himself_is_sent_away() {
    let mut bench = Bench::leading();
    bench.connect(21, usize::MAX);
    bench.packet(21, PacketKind::Request, Zxid::NONE, Some(&[0; 20]));
    bench.connect(22, usize::MAX);
    bench.packet(22, PacketKind::FollowerInfo, z(6, 0), Some(&[0; 3]));
    bench.connect(23, usize::MAX);
    let mut ours = Vec::new();
    let (server, protocol, config_version) = (ME, LEARNER_PROTOCOL, Some(0));
    crate::peering::LearnerInfo { server, protocol, config_version }.write(&mut ours);
    bench.packet(23, PacketKind::FollowerInfo, z(6, 0), Some(&ours));
    bench.connect(24, usize::MAX);
    bench.packet(24, PacketKind::FollowerInfo, Zxid(i64::MIN), Some(&[0; 20]));
    bench.connect(25, usize::MAX);
    bench.packet(25, PacketKind::FollowerInfo, Zxid(i64::MAX), Some(&[0; 20]));
    bench.connect(26, usize::MAX);
    let mut newer = [0; 20];
    newer[19] = 1;
    bench.packet(26, PacketKind::FollowerInfo, z(6, 0), Some(&newer));
    assert_eq!(
        bench.closed,
        [
            (21, Parting::OutOfTurn(PacketKind::Request)),
            (22, Parting::Undecodable(DecodeError::Short)),
            (23, Parting::OurId),
            (24, Parting::Epoch(i64::from(i32::MIN))),
            (25, Parting::Epoch(i64::from(i32::MAX))),
            (26, Parting::NewerConfiguration(1))
        ]
    );
    assert!(bench.is_open(2) && bench.is_open(3));
}

#[test]
fn a_server_that_comes_again_has_lost_its_earlier_link() {
    let mut bench = Bench::leading();
    bench.propose();
    bench.ack(2, z(7, 1));
    let earlier = bench.link(2);
    bench.connect(2, usize::MAX);
    assert_eq!(bench.closed, []);
    bench.info(2, PacketKind::FollowerInfo, 7, LEARNER_PROTOCOL);
    assert_eq!(bench.closed, [(2, Parting::Replaced)]);
    // A late word over the earlier link says nothing.
    let packet = Packet::new(PacketKind::Ack, z(7, 1), None);
    bench.input(Input::Packet { link: earlier, packet });
    bench.log_written(z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO);
}

#[test]
fn zk_1669_the_counters_end_is_the_leaderships_end() {
    let mut bench = Bench::leading();
    // Nobody waits for four thousand million of them.
    let last = z(7, u32::MAX - 2);
    let mut acks = AckTable::new(ME, 7);
    acks.skip_to(last);
    bench.leadership.reign.as_mut().unwrap().acks = acks;
    bench.leadership.ring.restart(last);
    assert_eq!(bench.propose(), z(7, u32::MAX - 1));
    assert_eq!(bench.ended, None);
    assert_eq!(bench.try_to_propose(), None);
    assert_eq!(bench.ended, Some(Ended::CounterExhausted));
}

#[test]
fn requests_and_questions_are_passed_up() {
    let mut bench = Bench::leading();
    let request = [&5i64.to_be_bytes()[..], &9i32.to_be_bytes(), &1i32.to_be_bytes(), b"body"];
    let passed = bench.packet(2, PacketKind::Request, Zxid::NONE, Some(&request.concat()));
    assert!(passed.unwrap().contains("session: SessionId(5), cxid: 9, op: 1"));
    let question = [&5i64.to_be_bytes()[..], &4000i32.to_be_bytes()].concat();
    let passed = bench.packet(2, PacketKind::Revalidate, Zxid::NONE, Some(&question));
    assert!(passed.unwrap().contains("timeout_ms: 4000"));
    let revalidated = Revalidated { session: crate::base::SessionId(5), is_valid: true };
    bench.input(Input::Revalidated { link: bench.link(2), revalidated });
    assert_eq!(bench.said_to(2), ["REVALIDATE"]);
    let passed = bench.packet(2, PacketKind::Ping, z(7, 0), Some(&question));
    assert!(passed.unwrap().starts_with("Touched"));
    bench.packet(2, PacketKind::Ping, z(7, 0), Some(&question[..11]));
    assert_eq!(bench.closed, [(2, Parting::Undecodable(DecodeError::Short))]);
    bench.packet(3, PacketKind::Request, Zxid::NONE, None);
    assert_eq!(bench.closed[1..], [(3, Parting::Undecodable(DecodeError::Null))]);
}

#[test]
fn a_sync_is_answered_once_all_that_was_proposed_before_it_is_committed() {
    let mut bench = Bench::leading();
    bench.input(Input::Sync { link: bench.link(2), after: Zxid::ZERO });
    assert_eq!(bench.said_to(2), ["SYNC"], "nothing is outstanding");
    bench.propose();
    bench.propose();
    bench.input(Input::Sync { link: bench.link(2), after: Zxid::ZERO });
    bench.propose();
    bench.log_written(z(7, 3));
    bench.ack(3, z(7, 1));
    assert_eq!(bench.said_to(2), ["PROPOSAL 7.1", "PROPOSAL 7.2", "PROPOSAL 7.3", "COMMIT 7.1"]);
    bench.ack(3, z(7, 2));
    assert_eq!(bench.said_to(2), ["COMMIT 7.2", "SYNC"]);
}

#[test]
fn observers_beyond_the_limit_are_sent_away_and_followers_never() {
    let mut start = start(&[1, 2, 3]);
    start.settings.max_diff_syncs = 2;
    start.settings.max_snap_syncs = 1;
    let mut bench = Bench::leading_of(start);
    for server in 11..=13 {
        bench.observe(server, 7);
        bench.ack_epoch(server, None, z(6, 2));
    }
    assert_eq!(bench.closed, [(13, Parting::TooManySyncs)]);
    for server in 14..=15 {
        bench.observe(server, 7);
        bench.ack_epoch(server, None, Zxid::ZERO);
    }
    assert_eq!(bench.closed[1..], [(15, Parting::TooManySyncs)]);
    bench.leave(3);
    bench.come_late(3, Zxid::ZERO);
    assert!(bench.is_open(3));
    // Who is through makes room.
    bench.ack(11, z(7, 0));
    bench.observe(16, 7);
    bench.ack_epoch(16, None, z(6, 2));
    assert!(bench.is_open(16));
}

#[test]
fn the_log_is_asked_and_read_where_the_ring_has_too_little() {
    let mut start = start(&[1, 2, 3]);
    start.ring = Ring::new(Zxid::ZERO);
    let mut bench = Bench::leading_of(start);
    bench.leave(3);
    bench.come_late(3, z(6, 1));
    assert_eq!(bench.asked, [(3, z(6, 1))]);
    let place = Place { at_or_before: Some(z(6, 1)), after: Some(z(6, 2)) };
    let probed = Probed { place, bytes_behind: 0, snapshot_bytes: 0 };
    bench.said_to(3);
    let link = bench.link(3);
    bench.input(Input::Probed { link, probed });
    assert_eq!(bench.said_to(3), ["DIFF 6.3"]);
    assert!(matches!(bench.wanted[..], [(3, Wish::Log { after, .. })] if after == z(6, 1)));
    let record = |counter| Recent { zxid: z(6, counter), data: Bytes::from_static(b"old") };
    bench.input(Input::Log { link, records: vec![record(2), record(3)], is_end: true });
    let said = ["PROPOSAL 6.2", "COMMIT 6.2", "PROPOSAL 6.3", "COMMIT 6.3", "NEWLEADER 7.0"];
    assert_eq!(bench.said_to(3), said);
    bench.ack(3, z(7, 0));
    assert_eq!(bench.said_to(3), ["UPTODATE"]);
}

#[test]
fn zk_4925_a_learner_behind_a_hole_is_sent_an_image_when_it_comes_back() {
    let mut start = start(&[1, 2, 3]);
    start.ring = Ring::new(Zxid::ZERO);
    let mut bench = Bench::leading_of(start);
    bench.leave(3);
    bench.come_late(3, z(6, 1));
    let place = Place { at_or_before: Some(z(6, 1)), after: Some(z(6, 2)) };
    let probed = Probed { place, bytes_behind: 0, snapshot_bytes: 0 };
    bench.input(Input::Probed { link: bench.link(3), probed });
    let records = vec![Recent { zxid: z(6, 3), data: Bytes::new() }];
    bench.input(Input::Log { link: bench.link(3), records, is_end: true });
    assert_eq!(bench.closed, [(3, Parting::Hole(z(6, 1)))]);
    bench.wanted.clear();
    bench.come_late(3, z(6, 1));
    assert_eq!(bench.wanted, [(3, Wish::Image)]);
    // An image that cannot be had costs the link, too.
    bench.input(Input::Missing { link: bench.link(3) });
    assert_eq!(bench.closed[1..], [(3, Parting::Missing)]);
}

#[test]
fn a_log_that_cannot_be_asked_costs_an_image_and_not_the_link() {
    let mut start = start(&[1, 2, 3]);
    start.ring = Ring::new(Zxid::ZERO);
    let mut bench = Bench::leading_of(start);
    bench.leave(3);
    bench.come_late(3, z(6, 1));
    bench.input(Input::Missing { link: bench.link(3) });
    assert_eq!((bench.wanted.as_slice(), bench.closed.len()), (&[(3, Wish::Image)][..], 0));
}

#[test]
fn while_a_configuration_is_on_its_way_both_must_agree() {
    let mut start = start(&[1, 2, 3]);
    start.ensemble.last_seen = membership(9, &[1, 4, 5]);
    let mut bench = Bench::new(start);
    for server in 2..=5 {
        bench.join(server, 6);
    }
    bench.write_all();
    for server in 2..=5 {
        bench.ack_epoch(server, Some(6), z(6, 3));
    }
    bench.write_all();
    bench.ack(2, z(7, 0));
    bench.ack(3, z(7, 0));
    assert_eq!(bench.established, None);
    bench.ack(5, z(7, 0));
    assert_eq!(bench.established, Some(7));
    bench.propose();
    bench.log_written(z(7, 1));
    bench.ack(2, z(7, 1));
    assert_eq!(bench.committed, Zxid::ZERO);
    bench.ack(5, z(7, 1));
    assert_eq!(bench.committed, z(7, 1));
}

/// Java's leader stays and commits nothing more; this one lets its learners go at once.
#[test]
fn a_leader_that_is_not_in_what_its_quorum_brings_into_effect_ends_when_they_know() {
    let mut start = start(&[1, 2, 3]);
    start.ensemble.reconfig_enabled = true;
    start.ensemble.last_seen = membership(9, &[2, 3]);
    let mut bench = Bench::new(start);
    for server in 2..=3 {
        bench.join(server, 6);
    }
    bench.write_all();
    for server in 2..=3 {
        bench.ack_epoch(server, Some(6), z(6, 3));
    }
    bench.write_all();
    bench.ack(2, z(7, 0));
    assert_eq!((bench.established, bench.ended.as_ref()), (None, None));
    bench.ack(3, z(7, 0));
    assert_eq!((bench.established, bench.ended.as_ref()), (Some(7), Some(&Ended::Dismissed)));
    assert!(bench.said[&2].iter().any(|word| word.contains("UPTODATE")), "{:?}", bench.said);
}

#[test]
fn a_configuration_without_a_version_gets_that_of_the_epoch_where_it_may_change() {
    let mut start = start(&[1]);
    start.ensemble.reconfig_enabled = true;
    let mut bench = Bench::new(start);
    bench.write_all();
    assert_eq!(bench.established, Some(7));
    assert_eq!(bench.last_seen.as_ref().map(|seen| seen.version), Some(z(7, 0).0));
    assert_eq!(bench.leadership.ensemble().current.version, z(7, 0).0);
    let mut fixed = Bench::new(super::bench::start(&[1]));
    fixed.write_all();
    assert_eq!((fixed.last_seen, fixed.leadership.ensemble().current.version), (None, 0));
}

/// What Apache 3.9.5 and its follower said to each other in a fresh ensemble; leader 3, epoch 1.
#[test]
fn a_fresh_ensemble_begins_byte_for_byte_as_apaches() {
    let mut start = start(&[1, 2, 3]);
    start.me = ServerId(3);
    start.accepted_epoch = 0;
    start.ours = Summary { current_epoch: 0, last_zxid: Zxid::ZERO };
    let mut bench = Bench::new(start);
    bench.join(1, 0);
    bench.write_all();
    bench.ack_epoch(1, Some(0), Zxid::ZERO);
    bench.write_all();
    bench.ack(1, z(1, 0));
    bench.pass_ms(TICK_MS / 2);
    bench.propose();
    bench.log_written(z(1, 1));
    bench.ack(1, z(1, 1));
    bench.input(Input::Sync { link: bench.link(1), after: Zxid::ZERO });
    let mut bytes = Vec::new();
    let text = bench.leadership.ensemble().last_seen.text();
    for outgoing in &bench.sent[&1] {
        outgoing.write(&mut bytes);
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let text_hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "00000011000000010000000000000004 00010000ffffffff",
        "0000000d0000000000000000ffffffffffffffff",
        &format!("0000000a0000000100000000{:08x}{text_hex}ffffffff", text.len()),
        "0000000cffffffffffffffffffffffffffffffff",
        "000000050000000100000000ffffffffffffffff",
        "00000002000000010000000100000003 74786effffffff",
        "000000040000000100000001ffffffffffffffff",
        "000000070000000000000000ffffffffffffffff",
    ];
    assert_eq!(hex, expected.concat().replace(' ', ""));
}
