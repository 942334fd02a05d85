//! ZooKeeper's known failures on the learner's side, by number. Each lets the disk stop after
//! every command and looks at what it says then.

use crate::base::Zxid;
use crate::peering::PacketKind;
use crate::zab::{LearnerEnd, LearnerStorage, Left, Reads, ToLeader};

use super::bench::{Bench, Ended};
use super::disk::Disk;
use super::steady::established;
use super::sync::{command_kinds, ended, joined, joined_with};
use super::wire::Wire;
use super::{follower_settings, observer_settings, z, zs};

fn common(a: &[Zxid], b: &[Zxid]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Whatever the disk did last before the power went: what it says is a history that was, what
/// this server shares with its leader is never missing, and an epoch or an ACK says no more than
/// is there. `leader` is the leader's history, `synced` how much of it came before NEWLEADER.
pub fn survives(bench: &Bench, leader: &[Zxid], synced: usize, epoch: i64) {
    let before = bench.disks[0].history();
    let shared = common(&before, leader);
    for disk in &bench.disks {
        let history = disk.history();
        let is_known = leader.starts_with(&history) || before.starts_with(&history);
        assert!(is_known, "{history:x?} never was");
        assert!(history.len() >= shared, "{history:x?} has lost what both had");
        assert!(disk.accepted >= disk.current, "no epoch is led unaccepted");
        let is_in_epoch = disk.current == epoch && bench.disks[0].current != epoch;
        assert!(!is_in_epoch || history.starts_with(&leader[..synced]), "the epoch says too much");
        for snapshot in disk.snapshots.keys() {
            assert!(history.contains(snapshot) || *snapshot == Zxid::ZERO, "a snapshot of nothing");
        }
    }
    let mut has_acked_epoch = false;
    for (packet, executed) in &bench.sent {
        let ToLeader::Ack(zxid) = packet else { continue };
        let disk = &bench.disks[*executed];
        if zxid.counter() == 0 {
            assert_eq!((disk.current, i64::from(zxid.epoch())), (epoch, epoch));
            assert!(disk.history().starts_with(&leader[..synced]), "NEWLEADER acknowledged early");
            has_acked_epoch = true;
        } else {
            assert!(has_acked_epoch, "0x{zxid:x} overtook NEWLEADER");
            assert!(disk.history().contains(zxid), "0x{zxid:x} acknowledged early");
        }
    }
}

/// A leader of epoch 5 over 4:1 to 4:12.
fn leader() -> Vec<Zxid> {
    zs(4, 1, 12)
}

fn diff() -> Wire {
    Wire::new().diff(z(4, 12)).history(&zs(4, 10, 12))
}

#[test]
fn zk_4643_the_epoch_is_never_on_the_disk_before_the_txns() {
    let mut bench = joined(follower_settings());
    bench.feed(&diff().new_leader(5).bytes);
    while bench.disk_step() {}
    survives(&bench, &leader(), 12, 5);
    let epochs: Vec<_> = bench.disks.iter().map(|d| (d.history().len(), d.current)).collect();
    assert_eq!(epochs, [(9, 4), (9, 4), (12, 4), (12, 5)]);
}

#[test]
fn zk_4646_and_3911_newleader_is_acknowledged_when_its_txns_are_durable() {
    let mut bench = joined(follower_settings());
    bench.feed(&diff().proposals(&zs(5, 1, 2)).new_leader(5).bytes);
    assert_eq!(bench.acks(), []);
    assert!(bench.disk_step());
    assert_eq!(bench.acks(), [], "the txns are there and the epoch is not");
    assert!(bench.disk_step());
    assert_eq!(bench.acks()[0], z(5, 0));
    let all = [leader(), zs(5, 1, 2)].concat();
    survives(&bench, &all, all.len(), 5);
}

#[test]
fn zk_3023_and_4685_no_proposals_ack_overtakes_that_of_newleader() {
    for later in [0, 3] {
        let mut bench = joined(follower_settings());
        bench.feed(&diff().proposals(&zs(5, 1, 2)).bytes);
        bench.settle();
        bench.feed(&Wire::new().new_leader(5).proposals(&zs(5, 3, 2 + later)).bytes);
        bench.settle();
        let expected = [vec![z(5, 0)], zs(5, 1, 2 + later)].concat();
        assert_eq!(bench.acks(), expected);
        let all = [leader(), zs(5, 1, 2 + later)].concat();
        survives(&bench, &all, 14, 5);
    }
}

#[test]
fn zk_4394_a_commit_behind_newleader_finds_its_proposal() {
    for is_early in [true, false] {
        let mut bench = joined(follower_settings());
        bench.feed(&diff().proposal(z(5, 1)).new_leader(5).bytes);
        if !is_early {
            bench.settle();
        }
        bench.feed(&Wire::new().commit(z(5, 1)).bytes);
        bench.settle();
        bench.feed(&Wire::new().up_to_date().bytes);
        assert_eq!(bench.ended, None);
        assert_eq!(bench.state.last(), Some(&z(5, 1)));
    }
}

#[test]
fn zk_4785_what_was_proposed_in_a_sync_survives_a_bounce() {
    let mut bench = joined(follower_settings());
    bench.feed(&diff().proposals(&zs(5, 1, 3)).new_leader(5).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(5, 1), z(5, 2), z(5, 3)]);
    // The role ends before UPTODATE, and the server with it.
    let (left, disk) = bench.leave();
    assert!(matches!(left, Left::History(_)));
    assert_eq!(disk.history(), [leader(), zs(5, 1, 3)].concat());
}

#[test]
fn zk_4712_nothing_of_an_old_role_reaches_the_next_leader() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposals(&zs(5, 1, 3)).bytes);
    let (left, disk) = bench.leave();
    let Left::History(tail) = left else { panic!("all of it is logged") };
    assert_eq!(tail.logged(), z(5, 3));
    // The next leader has none of it. Completions of the old role's commands arrive meanwhile.
    let mut bench = joined_with(follower_settings(), disk);
    bench.feed(&Wire::new().trunc(z(4, 9)).new_leader(5).bytes);
    bench.handle(crate::zab::LearnerInput::Durable(crate::base::Ticket(3)));
    assert_eq!(bench.acks(), []);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0)]);
    assert_eq!(bench.disk().history(), zs(4, 1, 9));
    survives(&bench, &zs(4, 1, 9), 9, 5);
}

#[test]
fn zk_4925_a_hole_in_what_the_leader_sends_is_not_taken_over() {
    for settings in [follower_settings(), observer_settings()] {
        let hole = Wire::new().diff(z(4, 30)).history(&zs(4, 10, 12)).history(&zs(4, 20, 30));
        let mut bench = joined(settings);
        bench.feed(&hole.new_leader(5).bytes);
        bench.settle();
        assert!(matches!(ended(&bench), LearnerEnd::Gap { .. }));
        assert!(ended(&bench).wants_image(), "the same would come again");
        assert_eq!(bench.acks(), []);
        assert_eq!(bench.leave().1.current, 4);
    }
}

#[test]
fn zk_4882_memory_is_never_ahead_of_what_the_log_was_handed() {
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposals(&zs(5, 1, 9)).commits(&zs(5, 1, 9)).bytes);
    // The log thread has them, or the process ends: `leave` compares memory and disk.
    let (left, disk) = bench.leave();
    assert!(matches!(left, Left::History(tail) if tail.applied() == z(5, 9)));
    assert_eq!(disk.history().last(), Some(&z(5, 9)));
}

#[test]
fn zk_4837_no_snapshot_above_a_cut_stays() {
    let mut disk = Disk::of(&zs(4, 1, 9));
    disk.snapshots.insert(z(4, 7), zs(4, 1, 7));
    let mut bench = joined_with(follower_settings(), disk.clone());
    bench.feed(&Wire::new().trunc(z(4, 3)).history(&zs(5, 1, 1)).new_leader(5).bytes);
    bench.settle();
    survives(&bench, &[zs(4, 1, 3), zs(5, 1, 1)].concat(), 4, 5);
    assert!(!bench.disk().snapshots.contains_key(&z(4, 7)));
    // The same under an image that lies below it.
    let mut bench = joined_with(follower_settings(), disk);
    bench.image_of = zs(4, 1, 5);
    bench.feed(&Wire::new().snap(z(4, 5)).new_leader(5).bytes);
    bench.settle();
    survives(&bench, &zs(4, 1, 5), 5, 5);
    let named: Vec<_> = bench.disk().snapshots.keys().copied().collect();
    assert_eq!(named, [Zxid::ZERO, z(4, 5)]);
}

#[test]
fn zk_2845_what_an_old_leader_logged_alone_is_cut_before_it_returns() {
    // It led epoch 4, logged 4:10 and 4:11 that nobody else has, and joins without a restart:
    // its tail says what its log holds.
    let mut bench = joined_with(follower_settings(), Disk::of(&zs(4, 1, 11)));
    bench.feed(&Wire::new().trunc(z(4, 9)).history(&zs(5, 1, 1)).new_leader(5).bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().bytes);
    let all = [zs(4, 1, 9), zs(5, 1, 1)].concat();
    assert_eq!((bench.state.clone(), bench.disk().history()), (all.clone(), all.clone()));
    for disk in &bench.disks {
        let history = disk.history();
        assert!(zs(4, 1, 11).starts_with(&history) || all.starts_with(&history));
    }
}

#[test]
fn zk_2355_a_proposal_that_was_read_in_part_is_not_passed_over() {
    let last = Wire::new().proposal(z(5, 2)).bytes;
    for cut in 0..last.len() {
        let mut bench = established(follower_settings());
        bench.feed(&Wire::new().proposal(z(5, 1)).commit(z(5, 1)).bytes);
        bench.feed(&last[..cut]);
        bench.handle(crate::zab::LearnerInput::LinkLost);
        let (_, disk) = bench.leave();
        assert_eq!(disk.history().last(), Some(&z(5, 1)));
    }
    // A leader that leaves it out after all is not believed.
    let mut bench = established(follower_settings());
    bench.feed(&Wire::new().proposal(z(5, 1)).proposal(z(5, 3)).bytes);
    assert!(matches!(ended(&bench), LearnerEnd::Gap { .. }));
}

#[test]
fn zk_1653_txns_of_an_epoch_above_the_current_one_are_a_history_like_another() {
    // Power went between the txns and the epoch.
    let mut bench = joined(follower_settings());
    let sent = [zs(4, 10, 12), zs(5, 1, 2)].concat();
    bench.feed(&Wire::new().diff(z(5, 2)).history(&sent).new_leader(5).bytes);
    assert!(bench.disk_step());
    let disk = bench.disk().clone();
    assert_eq!((disk.current, disk.accepted), (4, 5));
    assert_eq!(disk.history().last(), Some(&z(5, 2)));
    // It comes back as what it was, with more logged, and joins the same leader.
    let mut bench = Bench::linked(follower_settings(), disk);
    bench.feed(&Wire::of_epoch(6).bytes);
    bench.settle();
    let ToLeader::AckEpoch { logged, epoch } = bench.packets()[1] else { panic!("ACKEPOCH") };
    assert_eq!((logged, epoch.current_epoch), (z(5, 2), Some(4)));
    bench.feed(&Wire::new().diff(z(5, 2)).new_leader(6).bytes);
    bench.settle();
    assert_eq!(bench.disk().current, 6);
}

#[test]
fn zk_3104_an_image_is_believed_only_with_all_that_came_behind_it() {
    let mut bench = joined(follower_settings());
    bench.image_of = zs(4, 1, 30);
    // The image is of 4:30, and what was applied while it was written follows.
    let wire = Wire::new().snap(z(4, 30)).history(&zs(4, 29, 40)).new_leader(5);
    bench.feed(&wire.bytes);
    bench.settle();
    survives(&bench, &zs(4, 1, 40), 40, 5);
    let lengths: Vec<_> = bench.disks.iter().map(|d| (d.history().len(), d.current)).collect();
    assert_eq!(lengths, [(9, 4), (9, 4), (30, 4), (40, 4), (40, 5)]);
}

#[test]
fn zk_3642_and_2872_an_unfinished_image_leaves_memory_to_the_disk() {
    for is_written in [false, true] {
        let mut bench = joined(follower_settings());
        bench.image_of = zs(4, 1, 30);
        bench.feed(&Wire::new().snap(z(4, 30)).history(&zs(4, 31, 33)).bytes);
        if is_written {
            bench.settle();
        }
        let (left, disk) = bench.leave();
        assert_eq!((left, disk.history()), (Left::Reload, zs(4, 1, 9)));
    }
}

#[test]
fn zk_3701_a_log_that_was_not_cut_is_not_followed() {
    let mut disk = Disk::of(&zs(4, 1, 9));
    disk.snapshots = [(z(4, 6), zs(4, 1, 6))].into();
    let mut bench = joined_with(follower_settings(), disk);
    bench.feed(&Wire::new().trunc(z(4, 5)).history(&zs(5, 1, 1)).new_leader(5).bytes);
    assert_eq!(bench.role.reads(), Reads::Nothing);
    bench.settle();
    assert_eq!(ended(&bench), LearnerEnd::CannotCut { zxid: z(4, 5) });
    assert_eq!(bench.acks(), []);
    let (_, disk) = bench.leave();
    assert_eq!((disk.history(), disk.current, disk.is_lost), (zs(4, 1, 9), 4, true));
}

#[test]
fn zk_1489_what_follows_a_cut_is_appended_behind_it() {
    for cut in [z(4, 8), z(4, 2)] {
        let mut bench = joined(follower_settings());
        let sent = zs(5, 1, 3);
        bench.feed(&Wire::new().trunc(cut).history(&sent).new_leader(5).bytes);
        bench.settle();
        let append = bench.commands().into_iter().find_map(|command| match command {
            LearnerStorage::Append { first, roll, .. } => Some((*first, *roll)),
            _ => None,
        });
        assert_eq!(append, Some((z(5, 1), true)), "in a file of its own");
        let all = [zs(4, 1, cut.counter()), sent].concat();
        assert_eq!(bench.disk().history(), all);
        survives(&bench, &all, all.len(), 5);
    }
}

#[test]
fn zk_1154_a_cut_and_what_follows_it_are_one_sync() {
    // The absent server has the highest zxid, of an epoch that went on without it.
    let mut bench = joined_with(follower_settings(), Disk::of(&zs(4, 1, 11)));
    let sent = [zs(4, 10, 10), zs(5, 1, 4)].concat();
    bench.feed(&Wire::new().trunc(z(4, 9)).history(&sent).new_leader(5).bytes);
    bench.settle();
    let all = [zs(4, 1, 9), sent].concat();
    assert_eq!(bench.disk().history(), all);
    // 4:10 may have been acknowledged and committed by that: it is not gone for a moment.
    survives(&bench, &all, all.len(), 5);
}

#[test]
fn zk_962_commits_between_the_txns_of_a_diff_keep_their_order() {
    let mut bench = joined(follower_settings());
    let wire = diff().proposals(&zs(5, 1, 2)).commit(z(5, 1)).proposal(z(5, 3)).commit(z(5, 2));
    bench.feed(&wire.new_leader(5).commit(z(5, 3)).proposal(z(5, 4)).bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().commit(z(5, 4)).bytes);
    let all = [leader(), zs(5, 1, 4)].concat();
    assert_eq!((bench.ended.clone(), bench.state.clone()), (None, all.clone()));
    survives(&bench, &all, 15, 5);
}

#[test]
fn zk_2865_a_configuration_proposed_in_a_sync_is_on_the_disk_before_the_ack() {
    let zxid = z(4, 10);
    let mut bench = joined(follower_settings());
    let change = super::wire::reconfig(zxid);
    let wire = Wire::new().diff(zxid).entry(PacketKind::Proposal, &change).new_leader(5);
    bench.feed(&wire.bytes);
    assert_eq!(command_kinds(&bench)[1..], ["config", "append", "current"]);
    bench.settle();
    let (_, executed) = bench.sent[2];
    assert_eq!(bench.disks[executed].last_seen, Some(zxid.0));
    bench.feed(&Wire::new().activate(PacketKind::CommitAndActivate, &change, 3).bytes);
    bench.feed(&Wire::new().up_to_date().bytes);
    bench.settle();
    assert_eq!(bench.disk().active, Some(zxid.0));
}

/// As leaders of three generations write one and the same sync.
#[test]
fn leaders_of_all_generations_are_understood() {
    let history = zs(4, 10, 12);
    let outstanding = zs(5, 1, 2);
    let old = Wire::new().new_leader(5).diff(z(4, 12)).history(&history).up_to_date();
    let of_3_8 = Wire::of_epoch(5).diff(z(4, 12)).history(&history).proposals(&outstanding);
    let of_3_9 = Wire::of_epoch(5).diff(z(4, 12)).history(&history);
    let cases = [
        (old.bytes, Wire::new().bytes, Wire::new().proposals(&outstanding).bytes),
        (
            of_3_8.new_leader(5).bytes,
            Wire::new().commit(z(5, 1)).up_to_date().bytes,
            Wire::new().commit(z(5, 2)).bytes,
        ),
        (
            of_3_9.new_leader(5).proposals(&outstanding).bytes,
            Wire::new().up_to_date().bytes,
            Wire::new().commits(&outstanding).bytes,
        ),
    ];
    for (begin, middle, end) in cases {
        let mut bench = Bench::linked(follower_settings(), Disk::of(&zs(4, 1, 9)));
        for bytes in [begin, middle, end] {
            bench.feed(&bytes);
            bench.settle();
        }
        assert!(bench.role.is_established(), "{:?}", bench.ended);
        let all = [leader(), outstanding.clone()].concat();
        assert_eq!(bench.disk().history(), all);
        survives(&bench, &all, 12, 5);
    }
}

#[test]
fn every_crash_of_every_sync_leaves_a_history_that_was() {
    let old = [zs(4, 1, 9), zs(4, 1, 14), zs(4, 1, 2)];
    let wires = |learner: &[Zxid]| {
        let last = *learner.last().unwrap_or(&Zxid::ZERO);
        let history = leader();
        let behind: Vec<_> = history.iter().copied().filter(|zxid| *zxid > last).collect();
        let snap = |at: u32| {
            let above = zs(4, at + 1, 12);
            (Wire::new().snap(z(4, at)).history(&above), zs(4, 1, at))
        };
        let first = match last > z(4, 12) {
            true => Wire::new().trunc(z(4, 12)),
            false => Wire::new().diff(z(4, 12)).history(&behind),
        };
        [(first, vec![]), snap(12), snap(8), snap(1)]
    };
    for learner in &old {
        for (wire, image_of) in wires(learner) {
            let mut bench = joined_with(follower_settings(), Disk::of(learner));
            bench.image_of = image_of;
            bench.feed(&wire.clone().new_leader(5).proposals(&zs(5, 1, 2)).bytes);
            bench.settle();
            bench.feed(&Wire::new().commit(z(5, 1)).up_to_date().bytes);
            bench.settle();
            let all = [leader(), zs(5, 1, 2)].concat();
            assert_eq!((bench.ended.clone(), bench.disk().history()), (None, all.clone()));
            survives(&bench, &all, 12, 5);
        }
    }
}

#[test]
fn bytes_that_are_no_packets_cost_the_link() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[0xff; 64], &[0, 0, 0, 99, 0, 0]] {
        let mut bench = Bench::linked(follower_settings(), Disk::of(&zs(4, 1, 9)));
        bench.feed(bytes);
        assert_eq!(bench.ended, Some(Ended::Stream));
        assert!(bench.queue.is_empty());
    }
}
