//! SNAP: an image that is read, written, named, and goes on.

use crate::base::Zxid;
use crate::history::{ChoreCommand, SnapshotItem};
use crate::peering::PacketKind;
use crate::proto::{Txn, Writer};
use crate::zab::{BadItem, LearnerEnd, LearnerInput, LearnerOutput, LearnerTurn, Left, Reads};
use crate::zab::{LearnerSettings, Standing};

use super::bench::{Bench, standing};
use super::disk::Disk;
use super::sync::{command_kinds, ended, joined, joined_with};
use super::wire::{Wire, image, with_txn};
use super::{follower_settings, observer_settings, z, zs};

/// The leader's history up to an image of 4:30.
fn leader() -> Vec<Zxid> {
    zs(4, 1, 30)
}

/// A learner of 4:9 that is sent an image of 4:30.
fn snapped() -> Bench {
    let mut bench = joined(follower_settings());
    bench.image_of = leader();
    bench
}

fn is_abandon(output: &LearnerOutput) -> bool {
    *output == LearnerOutput::Chore(ChoreCommand::SnapshotAbandon)
}

#[test]
fn an_image_gets_its_name_at_newleader_then_txns_then_epoch_then_ack() {
    let mut bench = snapped();
    bench.feed(&Wire::new().snap(z(4, 30)).history(&zs(4, 31, 32)).proposal(z(5, 1)).bytes);
    assert_eq!(bench.role.reads(), Reads::Nothing, "until the file is written");
    bench.settle();
    assert_eq!(command_kinds(&bench), ["accepted"], "the disk is untouched until NEWLEADER");
    bench.feed(&Wire::new().new_leader(5).proposal(z(5, 2)).bytes);
    assert_eq!(command_kinds(&bench)[1..], ["install", "append", "current", "append"]);
    assert_eq!(bench.acks(), []);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(5, 1), z(5, 2)]);
    bench.feed(&Wire::new().commit(z(5, 1)).up_to_date().bytes);
    let expected: Vec<_> = zs(4, 1, 32).into_iter().chain(zs(5, 1, 1)).collect();
    assert_eq!(bench.state, expected);
    // A Java leader applies while it writes: what came up to NEWLEADER may be in the image.
    let modes = [(z(4, 31), true), (z(4, 32), true), (z(5, 1), false)];
    assert_eq!(bench.applied, modes);
    assert!(bench.was_asked(|output| *output == LearnerOutput::WantSnapshot));
    assert_eq!(bench.disk().history().last(), Some(&z(5, 2)));
}

#[test]
fn what_the_image_holds_is_neither_logged_nor_applied_again() {
    let mut bench = snapped();
    let wire = Wire::new().snap(z(4, 30)).history(&zs(4, 28, 31)).new_leader(5);
    bench.feed(&wire.bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!((bench.ended.clone(), bench.state.clone()), (None, zs(4, 1, 31)));
    assert_eq!(bench.disk().log, [zs(4, 1, 9), zs(4, 31, 31)].concat());
    for (settings, wire) in [
        (observer_settings(), Wire::new().history(&zs(4, 28, 31))),
        (observer_settings(), Wire::new().informs(&zs(4, 29, 31))),
        (follower_settings(), Wire::new().informs(&zs(4, 30, 31))),
    ] {
        let mut bench = joined(settings);
        bench.image_of = leader();
        bench.feed(&[Wire::new().snap(z(4, 30)).bytes, wire.new_leader(5).bytes].concat());
        bench.settle();
        bench.feed(&Wire::new().up_to_date().bytes);
        assert_eq!((bench.ended.clone(), bench.state.clone()), (None, zs(4, 1, 31)));
    }
}

#[test]
fn what_lies_above_an_image_goes_but_for_what_the_leader_sends_again() {
    let sent = [
        (vec![], zs(4, 1, 5)),
        (zs(4, 6, 7), zs(4, 1, 7)),
        (zs(4, 6, 9), zs(4, 1, 9)),
        (zs(4, 6, 12), zs(4, 1, 12)),
        (zs(5, 1, 2), [zs(4, 1, 5), zs(5, 1, 2)].concat()),
    ];
    for (sent, expected) in sent {
        let mut bench = joined(follower_settings());
        bench.image_of = zs(4, 1, 5);
        let last = *sent.last().unwrap_or(&z(4, 5));
        let wire = Wire::new().snap(z(4, 5)).history(&sent).proposal(last.next()).new_leader(5);
        bench.feed(&wire.bytes);
        bench.settle();
        bench.feed(&Wire::new().up_to_date().bytes);
        assert_eq!(bench.state, expected);
        assert_eq!(bench.disk().history(), [expected, vec![last.next()]].concat());
        assert_eq!(bench.acks()[1], last.next());
        // What was sent and is here needs no image below it.
        let is_shared = sent.is_empty() || sent.contains(&z(4, 6));
        let first = if is_shared { "cut above" } else { "install" };
        assert_eq!(command_kinds(&bench)[1], first);
    }
}

#[test]
fn an_image_older_than_the_disk_takes_nothing_off_it_that_was_acknowledged() {
    // Its own snapshot is later than the image, and the log behind that is all that it has.
    let mut disk = Disk::of(&zs(4, 1, 9));
    disk.snapshots.insert(z(4, 7), zs(4, 1, 7));
    disk.log = zs(4, 8, 9);
    let mut bench = joined_with(follower_settings(), disk);
    bench.image_of = zs(4, 1, 3);
    let wire = Wire::new().snap(z(4, 3)).history(&zs(4, 4, 10)).new_leader(5);
    bench.feed(&wire.bytes);
    bench.settle();
    for disk in &bench.disks {
        assert!(disk.history().starts_with(&zs(4, 1, 9)), "{:?}", disk.history());
    }
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!((bench.ended.clone(), bench.state.clone()), (None, zs(4, 1, 10)));
    assert_eq!(bench.disk().history(), zs(4, 1, 10));
    assert!(bench.was_asked(is_abandon), "nobody needs the file");
    assert!(bench.was_asked(|output| *output == LearnerOutput::WantSnapshot), "but its state");
}

#[test]
fn an_image_below_the_disk_waits_for_the_cut_before_it_is_believed() {
    let mut bench = joined(follower_settings());
    bench.image_of = zs(4, 1, 5);
    bench.feed(&Wire::new().snap(z(4, 5)).history(&zs(4, 6, 7)).new_leader(5).bytes);
    bench.chore_step();
    assert_eq!(bench.role.reads(), Reads::Nothing);
    assert_eq!(command_kinds(&bench)[1..], ["cut above"]);
    let (left, disk) = bench.leave();
    assert_eq!(left, Left::Reload);
    assert_eq!(disk.history(), zs(4, 1, 7), "what both have stays");
}

#[test]
fn an_interrupted_image_leaves_the_disk_untouched() {
    let whole = Wire::new().snap(z(4, 30)).bytes;
    for cut in 0..whole.len() {
        let mut bench = snapped();
        let before = bench.disk().clone();
        bench.feed(&whole[..cut]);
        let has_begun = bench.was_asked(|o| matches!(o, LearnerOutput::BeginImage { .. }));
        let (left, disk) = bench.leave();
        assert_eq!(disk, before);
        assert_eq!(left == Left::Reload, has_begun, "{cut}");
    }
    // Complete, written, and not named.
    let mut bench = snapped();
    let before = bench.disk().clone();
    bench.feed(&[whole, Wire::new().history(&zs(4, 31, 40)).bytes].concat());
    bench.settle();
    assert_eq!(bench.ended, None);
    assert_eq!(bench.leave(), (Left::Reload, before));
}

#[test]
fn an_image_that_has_its_name_is_rebuilt_from_the_disk_until_the_log_has_what_came_behind() {
    let mut bench = joined(LearnerSettings { hold_back: 3, ..follower_settings() });
    bench.image_of = leader();
    let mut wire = Wire::new().snap(z(4, 30));
    for zxid in zs(4, 31, 230) {
        let data = Some(vec![1; 100_000]);
        let txn = Txn::SetData { path: "/a".to_owned(), data, version: 1 };
        wire = wire.entry(PacketKind::Proposal, &with_txn(zxid, txn)).commit(zxid);
    }
    bench.feed(&wire.bytes);
    bench.settle();
    assert!(bench.applied.len() > 10, "over the image, which has no name yet");
    bench.feed(&Wire::new().new_leader(5).bytes);
    assert_eq!(command_kinds(&bench)[1..], ["install", "append"], "there is no room for all");
    assert_eq!(bench.leave().0, Left::Reload, "the state is ahead of the log");
}

#[test]
fn a_history_that_is_known_to_be_broken_is_not_kept_for_what_it_shares() {
    let kept = |wants_image| {
        let disk = Disk::of(&zs(4, 1, 40));
        let standing = Standing { wants_image, ..standing(&disk) };
        let mut bench = Bench::with_standing(follower_settings(), disk, standing);
        bench.image_of = leader();
        bench.feed(&Wire::of_epoch(5).bytes);
        bench.settle();
        bench.feed(&Wire::new().snap(z(4, 30)).history(&zs(4, 31, 41)).new_leader(5).bytes);
        bench.settle();
        bench.was_asked(is_abandon)
    };
    assert!(kept(false) && !kept(true));
}

#[test]
fn a_broken_image_ends_the_link_and_its_file_goes() {
    let mut unsigned = Wire::new().snap(z(4, 30)).bytes;
    *unsigned.last_mut().expect("a signature") ^= 1;
    let mut negative = Wire::new().snap(z(4, 30)).bytes;
    // The root's path has a length below -1.
    let at = negative.len() - 14 - 5 - 68 - 8 - 4;
    negative[at..at + 4].copy_from_slice(&(-7i32).to_be_bytes());
    for (bytes, is_signature) in [(unsigned, true), (negative, false)] {
        let mut bench = snapped();
        bench.feed(&bytes);
        match ended(&bench) {
            LearnerEnd::BadSignature => assert!(is_signature),
            LearnerEnd::BadImage(_) => assert!(!is_signature),
            other => panic!("{other}"),
        }
        assert!(!bench.was_asked(is_abandon));
        let (mut out, mut last_ticket) = (Vec::new(), crate::base::Ticket(99));
        let turn =
            &mut LearnerTurn { now: bench.now, last_ticket: &mut last_ticket, out: &mut out };
        assert_eq!(bench.role.leave(turn), Left::Reload);
        assert!(out.iter().any(is_abandon));
    }
}

#[test]
fn an_image_of_one_endless_item_is_refused() {
    let mut bench = snapped();
    let mut bytes = Wire::new().snap(z(4, 30)).bytes;
    bytes.truncate(bytes.len() - 14 - 5 - 68 - 8 - 4);
    bytes.put_i32(i32::MAX);
    bytes.extend(vec![b'a'; follower_settings().item_bytes]);
    bench.feed(&bytes);
    assert_eq!(ended(&bench), LearnerEnd::ImageRefused);
}

#[test]
fn an_image_that_makes_no_tree_or_finds_no_room_ends_the_role() {
    let mut bench = snapped();
    bench.feed(&Wire::new().snap(z(4, 30)).bytes[..20]);
    let mut refuse = |_: SnapshotItem<'_>| Err(BadItem);
    let (mut out, mut last_ticket) = (Vec::new(), crate::base::Ticket(99));
    let turn = &mut LearnerTurn { now: bench.now, last_ticket: &mut last_ticket, out: &mut out };
    let taken = bench.role.handle_image(&image(z(4, 30)), &mut refuse, turn);
    assert_eq!(taken, Err(LearnerEnd::ImageRefused));

    let mut bench = snapped();
    bench.feed(&Wire::new().snap(z(4, 30)).bytes);
    bench.handle(LearnerInput::ImageFailed { zxid: z(4, 29) });
    assert_eq!(bench.ended, None, "another one");
    bench.handle(LearnerInput::ImageFailed { zxid: z(4, 30) });
    assert_eq!(ended(&bench), LearnerEnd::ImageUnwritten);
}

#[test]
fn an_image_is_read_no_faster_than_it_is_written() {
    let mut bench = snapped();
    let mut bytes = Wire::new().packet(crate::peering::PacketKind::Snap, z(4, 30), None).bytes;
    bytes.put_i32(i32::MAX);
    bench.feed(&bytes);
    // Sessions for ever.
    let piece = vec![0; 12 * 100_000];
    for _ in 0..6 {
        assert_eq!(bench.role.reads(), Reads::Image);
        bench.feed(&piece);
    }
    for _ in 0..2 {
        bench.feed(&piece);
    }
    assert_eq!(bench.role.reads(), Reads::Nothing);
    bench.pass_ms(9_999);
    bench.pass_ms(9_999);
    bench.pass_ms(9_999);
    assert_eq!(bench.ended, None, "the leader is not to blame");
    bench.handle(LearnerInput::ImageProgress { bytes: 4_000_000 });
    assert_eq!(bench.role.reads(), Reads::Image);
}

#[test]
fn an_empty_server_is_given_everything() {
    let mut bench = joined_with(follower_settings(), Disk { is_lost: true, ..Disk::default() });
    bench.image_of = leader();
    bench.feed(&Wire::new().snap(z(4, 30)).new_leader(5).bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().proposal(z(5, 1)).commit(z(5, 1)).bytes);
    bench.settle();
    assert_eq!(command_kinds(&bench), ["accepted", "install", "clear", "current", "append"]);
    assert_eq!(bench.disk().history(), [leader(), zs(5, 1, 1)].concat());
    assert!(!bench.disk().is_lost);
    assert_eq!(bench.acks(), [z(5, 0), z(5, 0), z(5, 1)]);
}
