//! Following and observing.

use crate::base::{Instant, Rng, ServerId, SessionId, Zxid, limits};
use crate::peering::{PacketKind, Revalidate, Revalidated};
use crate::zab::{
    LearnerEnd, LearnerOutput, LearnerSettings, LearnerStorage, Left, ObserverDelays, Reads, Ready,
    ToLeader,
};

use super::bench::Bench;
use super::sync::{command_kinds, ended, joined};
use super::wire::{Wire, entry, reconfig};
use super::{follower_settings, observer_settings, z, zs};

/// A learner of an established leader, whose last txn is 4:9 in epoch 5.
pub fn established(settings: LearnerSettings) -> Bench {
    let mut bench = joined(settings);
    bench.feed(&Wire::new().diff(z(4, 9)).new_leader(5).bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().bytes);
    assert!(bench.role.is_established());
    bench.sent.clear();
    bench.asked.clear();
    bench.applied.clear();
    bench
}

fn applied(bench: &Bench) -> Vec<Zxid> {
    bench.applied.iter().map(|(zxid, _)| *zxid).collect()
}

#[test]
fn follower_acks_only_after_sync_one_by_one() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposals(&zs(5, 1, 3)).bytes);
    bench.feed(&Wire::new().proposals(&zs(5, 4, 4)).bytes);
    assert_eq!(command_kinds(&bench), ["append", "append"], "one a turn");
    assert_eq!(bench.acks(), []);
    bench.disk_step();
    assert_eq!(bench.acks(), zs(5, 1, 3));
    bench.disk_step();
    assert_eq!(bench.acks(), zs(5, 1, 4));
    assert_eq!(applied(&bench), []);
}

#[test]
fn a_commit_is_applied_without_waiting_for_the_own_disk() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposals(&zs(5, 1, 2)).commit(z(5, 1)).bytes);
    assert_eq!((applied(&bench), bench.acks()), (zs(5, 1, 1), vec![]));
    bench.settle();
    assert_eq!(bench.acks(), zs(5, 1, 2));
    let progress = bench.role.progress().expect("it follows");
    assert_eq!((progress.logged, progress.durable), (z(5, 2), z(5, 2)));
    assert_eq!((progress.committed, progress.applied), (z(5, 1), z(5, 1)));
}

#[test]
fn a_commit_of_another_txn_ends_the_role_and_one_of_none_is_only_said() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().commit(z(5, 1)).bytes);
    assert_eq!(bench.ended, None);
    bench.feed(&Wire::new().proposals(&zs(5, 1, 2)).commit(z(5, 2)).bytes);
    let end = LearnerEnd::CommitMismatch { waits: z(5, 1), named: z(5, 2) };
    assert_eq!(ended(&bench), end);
}

#[test]
fn a_proposal_with_a_hole_ends_the_link_and_nothing_is_stored() {
    for (wire, last) in [
        (Wire::new().proposal(z(5, 2)), z(4, 9)),
        (Wire::new().proposal(z(4, 11)), z(4, 9)),
        (Wire::new().proposals(&zs(5, 1, 1)).proposal(z(5, 3)), z(5, 1)),
    ] {
        let mut bench = established(follower_settings());
        bench.feed(&wire.bytes);
        let LearnerEnd::Gap { last: ours, in_sync, .. } = ended(&bench) else { panic!("a gap") };
        assert_eq!((ours, in_sync, ended(&bench).wants_image()), (last, false, false));
        assert_eq!(command_kinds(&bench), [] as [&str; 0]);
        let (left, disk) = bench.leave();
        assert!(matches!(left, Left::History(_)));
        assert_eq!(disk.history(), zs(4, 1, 9));
    }
}

#[test]
fn what_is_proposed_twice_is_logged_once_and_acknowledged_twice() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposals(&[z(5, 1), z(5, 2), z(5, 1), z(5, 2)]).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 1), z(5, 2), z(5, 1), z(5, 2)]);
    bench.feed(&Wire::new().commits(&zs(5, 1, 2)).proposal(z(5, 2)).commit(z(5, 2)).bytes);
    assert_eq!(bench.acks()[4..], [z(5, 2)], "it is durable by now");
    bench.feed(&Wire::new().proposal(z(5, 3)).commit(z(5, 2)).bytes);
    assert_eq!((bench.ended.clone(), applied(&bench)), (None, zs(5, 1, 2)));
    assert_eq!(bench.disk().history(), [zs(4, 1, 9), zs(5, 1, 2)].concat());
    bench.feed(&Wire::new().proposal(z(5, 1)).bytes);
    assert_eq!(ended(&bench), LearnerEnd::Back { last: z(5, 3), found: z(5, 1) });
}

#[test]
fn every_ping_has_one_answer_and_the_answers_are_counted() {
    for settings in [follower_settings(), observer_settings()] {
        let mut bench = established(settings);
        bench.feed(&Wire::new().ping(z(5, 0)).ping(z(5, 0)).bytes);
        bench.feed(&Wire::new().ping(z(5, 3)).bytes);
        let answer = |zxid, number| LearnerOutput::AnswerPing { zxid, number };
        assert_eq!(bench.asked, [answer(z(5, 0), 1), answer(z(5, 0), 2), answer(z(5, 3), 3)]);
    }
}

#[test]
fn a_txn_goes_back_to_whom_it_came_from() {
    for settings in [follower_settings(), observer_settings()] {
        let is_observer = settings.is_observer();
        let mut bench = established(settings);
        let session = |zxid: Zxid| SessionId(zxid.0 << 8);
        let cxid = |zxid: Zxid| zxid.counter() as i32;
        for (zxid, origin) in [(z(5, 2), 20), (z(5, 4), 40)] {
            assert!(bench.role.forward(session(zxid), cxid(zxid), origin));
        }
        // The session has moved here while this one was under way elsewhere.
        assert!(bench.role.forward(session(z(5, 3)), 99, 30));
        let wire = match is_observer {
            true => Wire::new().informs(&zs(5, 1, 4)),
            false => Wire::new().proposals(&zs(5, 1, 4)).commits(&zs(5, 1, 4)),
        };
        bench.feed(&wire.bytes);
        let origins = bench.ready.iter().filter_map(|ready| match ready {
            Ready::Txn(txn) if txn.entry.header.zxid.epoch() == 5 => Some(txn.origin),
            _ => None,
        });
        assert_eq!(origins.collect::<Vec<_>>(), [None, Some(20), None, Some(40)]);
        bench.role.check();
    }
}

#[test]
fn syncs_are_answered_in_order_behind_what_was_committed_before() {
    for settings in [follower_settings(), observer_settings()] {
        let is_observer = settings.is_observer();
        let mut bench = established(settings);
        bench.ready.clear();
        bench.feed(&Wire::new().sync().bytes);
        assert_eq!((bench.ended.clone(), bench.ready.len()), (None, 0), "nobody asked");
        [1, 2, 3].into_iter().for_each(|origin| assert!(bench.role.sync(origin)));
        let committed = |wire: Wire, zxid| match is_observer {
            true => wire.inform(zxid),
            false => wire.proposal(zxid).commit(zxid),
        };
        let wire = committed(Wire::new().sync(), z(5, 1)).sync();
        bench.feed(&committed(wire, z(5, 2)).bytes);
        let seen = bench.ready.iter().map(|ready| match ready {
            Ready::Txn(txn) => i64::from(txn.entry.header.zxid.counter()) * 100,
            Ready::Synced(origin) => i64::from(*origin),
        });
        assert_eq!(seen.collect::<Vec<_>>(), [1, 100, 2, 200]);
        bench.feed(&Wire::new().sync().bytes);
        assert_eq!(bench.ready.last(), Some(&Ready::Synced(3)));
    }
}

#[test]
fn a_session_that_comes_here_is_asked_for_and_the_answer_given_once() {
    let mut bench = established(follower_settings());
    let asked = Revalidate { session: SessionId(7), timeout_ms: 5000 };
    bench.revalidate(asked);
    assert_eq!(bench.packets(), [ToLeader::Revalidate(asked)]);
    let mut data = Vec::new();
    Revalidated { session: SessionId(7), is_valid: true }.write(&mut data);
    let answer = Wire::new().packet(PacketKind::Revalidate, Zxid::NONE, Some(&data)).bytes;
    bench.feed(&[answer.clone(), answer].concat());
    let said = LearnerOutput::Revalidated { session: SessionId(7), is_valid: true };
    assert_eq!(bench.asked[1..], [said]);
    bench.feed(&Wire::new().packet(PacketKind::Revalidate, Zxid::NONE, None).bytes);
    assert!(matches!(ended(&bench), LearnerEnd::BadPacket { .. }));
}

#[test]
fn nothing_is_forwarded_before_the_leader_is_established() {
    let mut bench = joined(follower_settings());
    assert!(!bench.role.forward(SessionId(1), 1, 1) && !bench.role.sync(1));
}

#[test]
fn a_leader_that_is_silent_for_sync_limit_is_left() {
    for settings in [follower_settings(), observer_settings()] {
        let mut bench = established(settings);
        for _ in 0..4 {
            bench.pass_ms(2000);
        }
        bench.feed(&Wire::new().ping(z(5, 0)).bytes);
        (0..4).for_each(|_| bench.pass_ms(2000));
        assert_eq!(bench.ended, None);
        assert_eq!(bench.role.next_timeout(), bench.now.plus_ms(2000));
        bench.pass_ms(2000);
        assert_eq!(ended(&bench), LearnerEnd::Silent { limit_ms: 10_000 });
    }
}

#[test]
fn a_server_that_stood_still_leaves_whatever_waits_in_its_socket() {
    let mut bench = established(follower_settings());
    bench.pass_ms(9_999);
    assert_eq!(bench.ended, None);
    bench.feed(&Wire::new().ping(z(5, 0)).bytes);
    bench.now = bench.now.plus_ms(10_000);
    bench.feed(&Wire::new().ping(z(5, 0)).bytes);
    assert_eq!(ended(&bench), LearnerEnd::Stalled { ms: 10_000 });
}

#[test]
fn a_disk_that_hangs_for_sync_limit_costs_the_role() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposal(z(5, 1)).bytes);
    for _ in 0..4 {
        bench.pass_ms(2000);
        bench.feed(&Wire::new().ping(z(5, 1)).bytes);
    }
    assert_eq!(bench.ended, None);
    bench.pass_ms(2000);
    assert_eq!(ended(&bench), LearnerEnd::DiskHangs { ms: 10_000 });
}

#[test]
fn a_leader_is_read_no_faster_than_the_log_takes_it() {
    let pending_bytes = limits::LEARNER_PENDING_BYTES;
    let mut bench = established(LearnerSettings { pending_bytes, ..follower_settings() });
    let mut counter = 0;
    let mut wire = Wire::new();
    while bench.role.reads() == Reads::Packets {
        counter += 1;
        wire = wire.entry(PacketKind::Proposal, &large(z(5, counter)));
        bench.feed(&wire.bytes);
        wire.bytes.clear();
        assert!(counter < 100, "there is an end to it");
    }
    assert!(counter > 40, "and it comes late");
    bench.settle();
    assert_eq!(bench.acks(), zs(5, 1, counter));
    assert_eq!(bench.role.reads(), Reads::Packets);
}

#[test]
fn a_leader_that_only_proposes_is_left() {
    let settings = LearnerSettings { pending_bytes: 1000, ..follower_settings() };
    let mut bench = established(settings);
    bench.feed(&Wire::new().proposals(&zs(5, 1, 8)).commits(&zs(5, 1, 8)).bytes);
    bench.settle();
    bench.feed(&Wire::new().proposals(&zs(5, 9, 16)).bytes);
    bench.settle();
    assert_eq!(bench.ended, None, "what is committed does not count");
    bench.feed(&Wire::new().proposals(&zs(5, 17, 24)).bytes);
    assert_eq!(ended(&bench), LearnerEnd::TooMuchPending);
    // In a sync the same goes for an observer, and for what waits behind an image.
    let zxids = zs(4, 10, 40);
    for (settings, wire) in [
        (observer_settings(), Wire::new().diff(z(4, 40)).proposals(&zxids)),
        (follower_settings(), Wire::new().trunc(z(4, 8)).history(&zs(4, 9, 40))),
    ] {
        let mut bench = joined(LearnerSettings { pending_bytes: 1000, ..settings });
        bench.feed(&wire.bytes);
        assert_eq!(ended(&bench), LearnerEnd::TooMuchPending);
    }
}

fn large(zxid: Zxid) -> crate::proto::Entry {
    let data = Some(vec![1; 1_500_000]);
    let txn = crate::proto::Txn::SetData { path: "/a".to_owned(), data, version: 1 };
    super::wire::with_txn(zxid, txn)
}

#[test]
fn what_was_not_handed_to_the_log_does_not_stay() {
    let mut bench = established(follower_settings());
    let mut wire = Wire::new();
    for counter in 1..=5 {
        wire = wire.entry(PacketKind::Proposal, &large(z(5, counter)));
    }
    bench.feed(&wire.commits(&zs(5, 1, 3)).bytes);
    assert_eq!(applied(&bench), zs(5, 1, 2), "the log has room for two");
    let (left, disk) = bench.leave();
    assert_eq!(disk.history(), [zs(4, 1, 9), zs(5, 1, 2)].concat());
    assert!(matches!(left, Left::History(tail) if tail.logged() == z(5, 2)));
}

#[test]
fn the_next_append_begins_a_file_where_it_is_told_to() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposal(z(5, 1)).bytes);
    bench.feed(&Wire::new().proposal(z(5, 2)).bytes);
    bench.role.roll();
    bench.feed(&Wire::new().proposal(z(5, 3)).bytes);
    let rolls = bench.commands().into_iter().map(|command| match command {
        LearnerStorage::Append { roll, .. } => *roll,
        other => panic!("only appends, not {other:?}"),
    });
    assert_eq!(rolls.collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_configuration_is_seen_then_activated_with_its_leader() {
    let mut bench = established(follower_settings());
    let change = reconfig(z(5, 1));
    bench.feed(&Wire::new().entry(PacketKind::Proposal, &change).bytes);
    // Who was told of its ACK may have counted its vote by the new one.
    assert_eq!(command_kinds(&bench), ["config", "append"]);
    let commit = Wire::new().activate(PacketKind::CommitAndActivate, &change, 3);
    bench.feed(&commit.bytes);
    bench.settle();
    assert_eq!((bench.disk().last_seen, bench.disk().active), (Some(z(5, 1).0), Some(z(5, 1).0)));
    let is_activation = |output: &LearnerOutput| match output {
        LearnerOutput::Activate { leader, zxid, .. } => {
            (*leader, *zxid) == (Some(ServerId(3)), Some(z(5, 1)))
        }
        _ => false,
    };
    assert!(bench.was_asked(is_activation));
    assert_eq!(applied(&bench), [z(5, 1)]);
    for wire in [
        commit,
        Wire::new().proposal(z(5, 2)).activate(PacketKind::CommitAndActivate, &entry(z(5, 2)), 3),
    ] {
        let mut bench = established(follower_settings());
        bench.feed(&Wire::new().proposal(z(5, 1)).commit(z(5, 1)).bytes);
        bench.feed(&wire.bytes);
        assert!(matches!(ended(&bench), LearnerEnd::NothingToActivate { .. }));
    }
    let mut bench = established(observer_settings());
    bench.feed(&Wire::new().activate(PacketKind::InformAndActivate, &change, 3).bytes);
    bench.settle();
    assert_eq!((applied(&bench), bench.disk().active), (zs(5, 1, 1), Some(z(5, 1).0)));
    assert!(bench.was_asked(is_activation));
}

#[test]
fn an_observer_applies_and_logs_what_it_is_informed_of() {
    let mut bench = established(observer_settings());
    bench.feed(&Wire::new().proposal(z(5, 1)).commit(z(5, 1)).informs(&zs(5, 1, 3)).bytes);
    assert_eq!(applied(&bench), zs(5, 1, 3));
    bench.settle();
    assert_eq!(bench.acks(), []);
    assert_eq!(bench.disk().history(), [zs(4, 1, 9), zs(5, 1, 3)].concat());
    bench.feed(&Wire::new().inform(z(5, 3)).bytes);
    assert_eq!((bench.ended.clone(), applied(&bench)), (None, zs(5, 1, 3)));
    bench.feed(&Wire::new().inform(z(5, 5)).bytes);
    let gap = LearnerEnd::Gap { last: z(5, 3), found: z(5, 5), in_sync: false };
    assert_eq!(ended(&bench), gap);
}

#[test]
fn packets_of_a_sync_end_an_established_link_but_for_uptodate() {
    for settings in [follower_settings(), observer_settings()] {
        let is_observer = settings.is_observer();
        for kind in PacketKind::ALL {
            use PacketKind::*;
            let both = [Ping, Sync, Revalidate, UpToDate, Commit, Proposal];
            let informs = [Inform, InformAndActivate];
            let is_known = both.contains(&kind)
                || is_observer && informs.contains(&kind)
                || !is_observer && kind == CommitAndActivate;
            let mut bench = established(settings.clone());
            bench.feed(&Wire::new().packet(kind, z(5, 1), None).bytes);
            let is_unexpected = matches!(
                bench.ended,
                Some(super::bench::Ended::Role(LearnerEnd::Unexpected { .. }))
            );
            assert_eq!(is_unexpected, !is_known, "{kind:?}");
        }
        let mut bench = established(settings);
        bench.feed(&Wire::new().up_to_date().bytes);
        assert_eq!((bench.ended, bench.sent.len()), (None, 0));
    }
}

#[test]
fn observers_wait_each_a_time_of_its_own() {
    let delays = ObserverDelays { election_ms: 200, reconnect_ms: 0 };
    let mut rng = Rng::new(5);
    let begin = Instant(0).plus_ms(1000);
    let waits: Vec<u64> =
        (0..50).map(|_| delays.election_at(begin, &mut rng).ms_since(begin)).collect();
    assert!(waits.iter().all(|ms| *ms < 200) && waits.iter().any(|ms| *ms > 100));
    assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    assert_eq!(delays.dial_at(begin, &mut rng), begin);
}
