//! DIFF, TRUNC, and what comes behind them.

use crate::base::{Zxid, limits};
use crate::history::EpochFile;
use crate::peering::PacketKind;
use crate::proto::Txn;
use crate::zab::{
    LearnerEnd, LearnerInput, LearnerOutput, LearnerSettings, LearnerStorage, Left, Reads,
    Standing, SyncKind,
};

use super::bench::{Bench, Ended, standing};
use super::disk::{Disk, records};
use super::wire::{Wire, config_text, encoded, reconfig, with_txn};
use super::{follower_settings, observer_settings, z, zs};

/// A learner of a history up to 4:9, in the epoch 5 that its leader has proposed.
pub fn joined(settings: LearnerSettings) -> Bench {
    joined_with(settings, Disk::of(&zs(4, 1, 9)))
}

pub fn joined_with(settings: LearnerSettings, disk: Disk) -> Bench {
    let standing = standing(&disk);
    joined_as(settings, disk, standing)
}

pub fn joined_as(settings: LearnerSettings, disk: Disk, standing: Standing) -> Bench {
    let mut bench = Bench::with_standing(settings, disk, standing);
    bench.feed(&Wire::of_epoch(5).bytes);
    bench.settle();
    bench
}

fn kinds(commands: &[&LearnerStorage]) -> Vec<&'static str> {
    let kind = |command: &&LearnerStorage| match command {
        LearnerStorage::Append { .. } => "append",
        LearnerStorage::WriteEpoch { file: EpochFile::Accepted, .. } => "accepted",
        LearnerStorage::WriteEpoch { file: EpochFile::Current, .. } => "current",
        LearnerStorage::Truncate { .. } => "truncate",
        LearnerStorage::InstallSnapshot { .. } => "install",
        LearnerStorage::CutAbove { .. } => "cut above",
        LearnerStorage::MarkLost { .. } => "mark",
        LearnerStorage::ClearLost { .. } => "clear",
        LearnerStorage::WriteConfig { .. } => "config",
    };
    commands.iter().map(kind).collect()
}

pub fn command_kinds(bench: &Bench) -> Vec<&'static str> {
    kinds(&bench.commands())
}

pub fn ended(bench: &Bench) -> LearnerEnd {
    match &bench.ended {
        Some(Ended::Role(end)) => *end,
        other => panic!("the role ends with a reason, not {other:?}"),
    }
}

#[test]
fn an_empty_diff_needs_no_more_than_the_epoch() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 9)).new_leader(5).bytes);
    assert_eq!(bench.acks(), []);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0)]);
    assert!(!bench.role.is_established());
    assert_eq!(bench.applied, [], "the tail waits for a leader that is established");
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!(bench.acks(), [z(5, 0), z(5, 0)]);
    assert!(bench.role.is_established());
    assert!(bench.asked.contains(&LearnerOutput::Established { epoch: 5 }));
    assert_eq!(command_kinds(&bench), ["accepted", "current"]);
    assert_eq!(bench.state, zs(4, 1, 9));
    assert!(!bench.was_asked(|output| *output == LearnerOutput::WantSnapshot));
}

#[test]
fn txns_then_epoch_then_ack() {
    let mut bench = joined(follower_settings());
    let wire = Wire::new().diff(z(4, 12)).history(&zs(4, 10, 12)).new_leader(5);
    bench.feed(&wire.bytes);
    assert_eq!(command_kinds(&bench)[1..], ["append", "current"]);
    bench.disk_step();
    assert_eq!((bench.acks(), bench.disk().current), (vec![], 4));
    bench.disk_step();
    assert_eq!((bench.acks(), bench.disk().current), (vec![z(5, 0)], 5));
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!(bench.acks(), [z(5, 0), z(5, 0)], "what is committed wants no ACK");
    assert_eq!(bench.state, zs(4, 1, 12));
    assert_eq!(bench.disk().history(), zs(4, 1, 12));
    assert_eq!(bench.disk().rolls, 1);
}

#[test]
fn acks_of_proposals_leave_behind_the_ack_of_newleader() {
    let mut bench = joined(follower_settings());
    let wire = Wire::new().diff(z(4, 10)).history(&zs(4, 10, 10)).proposals(&zs(5, 1, 2));
    bench.feed(&wire.bytes);
    bench.settle();
    assert_eq!(bench.disk().history().last(), Some(&z(5, 2)));
    assert_eq!(bench.acks(), [], "durable, and still nothing is sent");
    // One more is proposed and one of them committed before the epoch is on the disk.
    bench.feed(&Wire::new().new_leader(5).proposal(z(5, 3)).commit(z(5, 1)).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(5, 1), z(5, 2), z(5, 3)]);
    bench.feed(&Wire::new().proposal(z(5, 4)).commit(z(5, 2)).bytes);
    assert_eq!(bench.acks().len(), 4);
    bench.settle();
    assert_eq!(bench.acks()[4..], [z(5, 4)]);
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!(bench.acks()[5..], [z(5, 0)]);
    assert_eq!(bench.state.last(), Some(&z(5, 2)), "what COMMIT named, and no more");
    bench.feed(&Wire::new().commit(z(5, 3)).commit(z(5, 4)).bytes);
    assert_eq!(bench.state.last(), Some(&z(5, 4)));
}

#[test]
fn pings_before_uptodate_are_not_answered() {
    let mut bench = joined(follower_settings());
    let wire = Wire::new().ping(z(5, 0)).diff(z(4, 9)).ping(z(5, 0)).new_leader(5).ping(z(5, 0));
    bench.feed(&wire.bytes);
    bench.settle();
    bench.feed(&Wire::new().ping(z(5, 0)).up_to_date().ping(z(5, 7)).bytes);
    let is_answer = |output: &&LearnerOutput| matches!(output, LearnerOutput::AnswerPing { .. });
    let answers: Vec<_> = bench.asked.iter().filter(is_answer).collect();
    assert_eq!(answers, [&LearnerOutput::AnswerPing { zxid: z(5, 7), number: 1 }]);
}

#[test]
fn the_end_of_a_long_sync_waits_unapplied_and_the_rest_does_not() {
    let settings = LearnerSettings { hold_back: 4, ..follower_settings() };
    let mut bench = joined(settings);
    bench.feed(&Wire::new().diff(z(4, 20)).history(&zs(4, 10, 20)).bytes);
    assert_eq!(bench.state, zs(4, 1, 16));
    // Whoever has txns of a later epoch has all that was committed before it.
    bench.feed(&Wire::new().history(&zs(5, 1, 1)).bytes);
    assert_eq!(bench.state, zs(4, 1, 20));
    let (left, _) = bench.leave();
    let Left::History(tail) = left else { panic!("nothing is lost") };
    assert_eq!((tail.applied(), tail.logged()), (z(4, 20), z(5, 1)));
}

#[test]
fn an_interrupted_diff_leaves_what_was_logged() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 12)).history(&zs(4, 10, 11)).proposal(z(4, 12)).bytes);
    bench.disk_step();
    let (left, disk) = bench.leave();
    assert_eq!((disk.history(), disk.current), (zs(4, 1, 12), 4));
    let Left::History(tail) = left else { panic!("nothing is lost") };
    assert_eq!((tail.applied(), tail.logged()), (z(4, 6), z(4, 12)));
}

#[test]
fn trunc_within_the_tail_only_drops_it() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().trunc(z(4, 7)).history(&zs(4, 8, 8)).bytes);
    bench.settle();
    assert_eq!(command_kinds(&bench), ["accepted"], "what the leader sends again stays");
    bench.feed(&Wire::new().new_leader(5).bytes);
    assert_eq!(bench.role.reads(), Reads::Nothing, "it is not known yet what stays");
    bench.settle();
    bench.feed(&Wire::new().up_to_date().bytes);
    assert!(!bench.was_asked(|output| *output == LearnerOutput::Reload));
    assert_eq!((bench.state.clone(), bench.disk().history()), (zs(4, 1, 8), zs(4, 1, 8)));
    assert_eq!(command_kinds(&bench)[1..], ["cut above", "current"]);
}

#[test]
fn a_trunc_that_was_not_finished_has_cut_nothing() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().trunc(z(4, 7)).history(&zs(5, 1, 2)).bytes);
    let (left, disk) = bench.leave();
    let Left::History(tail) = left else { panic!("nothing is lost") };
    assert_eq!((tail.logged(), disk.history()), (z(4, 9), zs(4, 1, 9)));
    // Asked for and not done, it is the disk that knows.
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().trunc(z(4, 7)).history(&zs(5, 1, 2)).new_leader(5).bytes);
    let (left, disk) = bench.leave();
    assert_eq!((left, disk.history()), (Left::Reload, zs(4, 1, 7)));
}

#[test]
fn a_deeper_trunc_rebuilds_the_state_from_the_disk() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().trunc(z(4, 3)).history(&zs(4, 4, 5)).new_leader(5).bytes);
    assert!(!bench.was_asked(|output| *output == LearnerOutput::Reload), "not before it is cut");
    bench.settle();
    assert!(bench.was_asked(|output| *output == LearnerOutput::Reload));
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!((bench.state.clone(), bench.disk().history()), (zs(4, 1, 5), zs(4, 1, 5)));
}

#[test]
fn a_role_that_ends_while_the_log_is_cut_reloads() {
    for steps in 0..2 {
        let mut bench = joined(follower_settings());
        bench.feed(&Wire::new().trunc(z(4, 3)).bytes);
        assert_eq!(bench.role.reads(), Reads::Nothing, "the log may refuse");
        (0..steps).for_each(|_| assert!(bench.disk_step()));
        let (left, disk) = bench.leave();
        assert_eq!((left, disk.history()), (Left::Reload, zs(4, 1, 3)));
    }
}

#[test]
fn a_trunc_to_an_epochs_beginning_keeps_the_txn_before_it() {
    let history: Vec<_> = zs(4, 1, 9).into_iter().chain(zs(5, 1, 2)).collect();
    let mut bench = joined_with(follower_settings(), Disk::of(&history));
    bench.feed(&Wire::new().trunc(z(5, 0)).proposals(&zs(5, 1, 1)).new_leader(5).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(5, 1)]);
    assert_eq!(bench.disk().history().last(), Some(&z(5, 1)));
}

#[test]
fn a_trunc_to_what_is_not_here_cuts_nothing_and_an_image_is_asked_for() {
    let history: Vec<_> = zs(4, 1, 6).into_iter().chain(zs(5, 1, 2)).collect();
    for (disk, wanted, ends) in [
        (Disk::of(&history), z(4, 8), z(4, 6)),
        // Beyond the end of what is here.
        (Disk::of(&zs(4, 1, 9)), z(4, 11), z(4, 9)),
    ] {
        let before = disk.history();
        let mut bench = joined_with(follower_settings(), disk);
        bench.feed(&Wire::new().trunc(wanted).bytes);
        assert_eq!(ended(&bench), LearnerEnd::CutBetween { wanted, ends });
        assert!(ended(&bench).wants_image());
        let (left, disk) = bench.leave();
        assert!(matches!(left, Left::History(_)));
        assert_eq!(disk.history(), before);
    }
}

#[test]
fn a_log_that_cannot_be_cut_is_marked_and_an_image_is_asked_for() {
    let mut disk = Disk::of(&zs(4, 1, 9));
    disk.snapshots.clear();
    disk.snapshots.insert(z(4, 5), zs(4, 1, 5));
    let before = disk.history();
    let mut bench = joined_with(follower_settings(), disk);
    bench.feed(&Wire::new().trunc(z(4, 3)).bytes);
    bench.settle();
    let end = LearnerEnd::CannotCut { zxid: z(4, 3) };
    assert_eq!((ended(&bench), end.wants_image()), (end, true));
    let (left, disk) = bench.leave();
    assert_eq!((left, disk.is_lost, disk.history()), (Left::Reload, true, before));
    // It comes back, says so, and is cured by an image.
    let mut bench = joined_with(follower_settings(), disk);
    bench.image_of = zs(4, 1, 3);
    bench.feed(&Wire::new().snap(z(4, 3)).new_leader(5).bytes);
    bench.settle();
    let expected = ["mark", "install", "cut above", "clear", "current"];
    assert_eq!(command_kinds(&bench), expected, "epoch 5 was accepted before");
    assert!(!bench.disk().is_lost);
    assert_eq!(bench.disk().history(), zs(4, 1, 3));
}

#[test]
fn a_gap_ends_the_link_and_the_next_sync_is_an_image() {
    for wire in [
        Wire::new().diff(z(4, 12)).proposal(z(4, 11)),
        Wire::new().diff(z(4, 12)).history(&zs(4, 10, 10)).proposal(z(4, 12)),
        Wire::new().diff(z(4, 12)).inform(z(4, 11)),
        Wire::new().diff(z(5, 3)).proposal(z(5, 2)),
    ] {
        for settings in [follower_settings(), observer_settings()] {
            let mut bench = joined(settings);
            bench.feed(&wire.bytes);
            let LearnerEnd::Gap { in_sync: true, .. } = ended(&bench) else { panic!("a gap") };
            assert!(ended(&bench).wants_image());
            bench.leave();
        }
    }
}

#[test]
fn what_goes_back_ends_the_link_and_what_is_known_does_not() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 12)).proposal(z(3, 12)).bytes);
    assert_eq!(ended(&bench), LearnerEnd::Back { last: z(4, 9), found: z(3, 12) });
    // The tail's last txns come again: they are logged once and acknowledged to this leader.
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 7)).proposals(&zs(4, 8, 10)).new_leader(5).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(4, 8), z(4, 9), z(4, 10)]);
    assert_eq!(bench.disk().history(), zs(4, 1, 10));
    bench.feed(&Wire::new().up_to_date().bytes);
    assert_eq!(bench.state, zs(4, 1, 7), "and not committed by being there");
    bench.feed(&Wire::new().commits(&zs(4, 8, 10)).bytes);
    assert_eq!(bench.state, zs(4, 1, 10));
}

#[test]
fn nothing_of_a_later_epoch_than_the_leaders_is_taken() {
    let wrong = |zxid| LearnerEnd::WrongEpoch { zxid, epoch: 5 };
    let cases = [
        (Wire::new().diff(z(6, 1)), wrong(z(6, 1))),
        (Wire::new().snap(z(6, 1)), wrong(z(6, 1))),
        (Wire::new().diff(z(4, 9)).proposal(z(6, 1)), wrong(z(6, 1))),
        (Wire::new().diff(z(4, 9)).new_leader(6), wrong(z(6, 0))),
        (Wire::new().diff(z(4, 9)).new_leader(4), wrong(z(4, 0))),
        (Wire::new().diff(z(4, 9)).packet(PacketKind::NewLeader, z(5, 1), None), wrong(z(5, 1))),
    ];
    for (wire, end) in cases {
        let mut bench = joined(follower_settings());
        bench.feed(&wire.bytes);
        assert_eq!(ended(&bench), end);
    }
}

#[test]
fn packets_out_of_place_or_shape_end_the_link() {
    let bytes = encoded(&super::wire::entry(z(4, 10)));
    let proposal = |zxid, data| Wire::new().diff(z(4, 9)).packet(PacketKind::Proposal, zxid, data);
    let mut bench = joined(follower_settings());
    bench.feed(&proposal(z(4, 11), Some(&bytes)).bytes);
    assert_eq!(ended(&bench), LearnerEnd::ZxidMismatch { packet: z(4, 11), txn: z(4, 10) });
    for data in [None, Some(&bytes[..20])] {
        let mut bench = joined(follower_settings());
        bench.feed(&proposal(z(4, 10), data).bytes);
        assert!(matches!(ended(&bench), LearnerEnd::BadPacket { .. }));
    }
    let synced = Wire::new().diff(z(4, 9));
    for wire in [
        Wire::new().new_leader(5),
        synced.clone().diff(z(4, 9)),
        synced.clone().snap(z(4, 9)),
        synced.clone().up_to_date(),
        synced.clone().sync(),
        synced.clone().new_leader(5).up_to_date(),
        synced.new_leader(5).new_leader(5),
    ] {
        let mut bench = joined(follower_settings());
        bench.feed(&wire.bytes);
        assert!(matches!(ended(&bench), LearnerEnd::Unexpected { .. }), "{:?}", bench.ended);
    }
}

#[test]
fn more_than_may_be_torn_goes_to_the_log_piece_by_piece() {
    let mut bench = joined(follower_settings());
    let large = |zxid| {
        let data = Some(vec![1; 1_500_000]);
        with_txn(zxid, Txn::SetData { path: "/a".to_owned(), data, version: 1 })
    };
    let mut wire = Wire::new().diff(z(4, 18));
    for zxid in zs(4, 10, 18) {
        wire = wire.entry(PacketKind::Proposal, &large(zxid)).commit(zxid);
    }
    bench.feed(&wire.new_leader(5).bytes);
    assert_eq!(command_kinds(&bench)[1..], ["append"]);
    assert_eq!(bench.role.reads(), Reads::Nothing, "the epoch waits for the last of them");
    bench.settle();
    let expected = ["append", "append", "append", "append", "append", "current"];
    assert_eq!(command_kinds(&bench)[1..], expected, "two at a time have room");
    for command in bench.commands() {
        if let LearnerStorage::Append { bytes, .. } = command {
            assert!(bytes.len() <= limits::UNSYNCED_BYTES);
            assert!(!records(bytes).is_empty());
        }
    }
    assert_eq!(bench.acks(), [z(5, 0)]);
    assert_eq!(bench.disk().history(), zs(4, 1, 18));
}

#[test]
fn configurations_are_seen_when_proposed_and_active_when_committed() {
    let zxid = z(4, 10);
    let wire = Wire::new().diff(zxid).entry(PacketKind::Proposal, &reconfig(zxid)).activate(
        PacketKind::CommitAndActivate,
        &reconfig(zxid),
        3,
    );
    let mut bench = joined(follower_settings());
    bench.feed(&wire.bytes);
    bench.settle();
    assert_eq!((bench.disk().last_seen, bench.disk().active), (Some(zxid.0), Some(zxid.0)));
    let activations = |bench: &Bench| {
        let found = bench.asked.iter().filter_map(|output| match output {
            LearnerOutput::Activate { config, leader, zxid } => {
                Some((config.version, leader.map(|leader| leader.0), *zxid))
            }
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(activations(&bench), [(zxid.0, Some(3), Some(zxid))]);
    let text = config_text(z(5, 0).0);
    let new_leader =
        Wire::new().packet(PacketKind::NewLeader, z(5, 0), Some(text.as_bytes())).bytes;
    bench.feed(&new_leader);
    bench.settle();
    assert_eq!(bench.disk().last_seen, Some(z(5, 0).0));
    bench.feed(&Wire::new().up_to_date().bytes);
    bench.settle();
    assert_eq!(activations(&bench)[1..], [(z(5, 0).0, None, None)]);
    assert_eq!(bench.disk().active, Some(z(5, 0).0));
    bench.handle(LearnerInput::Reconfigured { leader: None });
    assert_eq!(ended(&bench), LearnerEnd::Reconfigured { leader: None });
    assert_eq!(bench.leave().1.history().last(), Some(&zxid));
}

#[test]
fn a_configuration_that_is_none_ends_the_sync_but_not_in_newleader() {
    let data = Some(b"server.1=nonsense".to_vec());
    let path = "/zookeeper/config".to_owned();
    let bad = with_txn(z(4, 10), Txn::Reconfig { path, data, version: -1 });
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 10)).entry(PacketKind::Proposal, &bad).bytes);
    assert_eq!(ended(&bench), LearnerEnd::BadConfig { zxid: z(4, 10) });
    let mut bench = joined(follower_settings());
    let text = Some(&b"server.1=nonsense"[..]);
    let wire = Wire::new().diff(z(4, 9)).packet(PacketKind::NewLeader, z(5, 0), text);
    bench.feed(&wire.bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().bytes);
    assert!(bench.role.is_established());
    // Nothing waits that could be activated.
    for entry in [reconfig(z(4, 11)), super::wire::entry(z(4, 10))] {
        let mut bench = joined(follower_settings());
        let wire = Wire::new().diff(z(4, 10)).proposal(z(4, 10));
        bench.feed(&wire.activate(PacketKind::CommitAndActivate, &entry, 3).bytes);
        let zxid = entry.header.zxid;
        assert_eq!(ended(&bench), LearnerEnd::NothingToActivate { zxid });
    }
}

#[test]
fn an_old_leader_names_its_epoch_first_and_ends_the_sync_with_uptodate() {
    let mut bench = Bench::linked(follower_settings(), Disk::of(&zs(4, 1, 9)));
    let wire = Wire::new().new_leader(5).diff(z(4, 10)).history(&zs(4, 10, 10)).proposal(z(5, 1));
    bench.feed(&wire.up_to_date().commit(z(5, 1)).bytes);
    assert_eq!(bench.role.reads(), Reads::Nothing, "what comes now is for a follower");
    assert_eq!(bench.packets().len(), 1);
    bench.settle();
    assert_eq!(command_kinds(&bench), ["accepted", "append", "current"]);
    assert_eq!(bench.acks(), [z(5, 0), z(5, 1)]);
    assert!(bench.role.is_established());
    assert_eq!(bench.state.last(), Some(&z(5, 1)));
}

#[test]
fn an_observer_keeps_what_is_committed_and_nothing_else() {
    let mut bench = joined(observer_settings());
    let wire = Wire::new().diff(z(4, 11)).history(&zs(4, 10, 10)).inform(z(4, 11));
    // Leaders before 3.5 propose to observers, too.
    bench.feed(&wire.proposals(&zs(5, 1, 2)).new_leader(5).bytes);
    bench.settle();
    assert_eq!(bench.disk().history(), zs(4, 1, 11));
    bench.feed(&Wire::new().commit(z(5, 1)).up_to_date().inform(z(5, 2)).bytes);
    bench.settle();
    assert_eq!(bench.acks(), [z(5, 0), z(5, 0)], "it has no say in proposals");
    let expected: Vec<_> = zs(4, 1, 11).into_iter().chain(zs(5, 1, 2)).collect();
    assert_eq!((bench.state.clone(), bench.disk().history()), (expected.clone(), expected));
}

#[test]
fn an_observer_that_keeps_nothing_hands_nothing_to_the_log() {
    let settings = LearnerSettings { observer_logs: false, ..observer_settings() };
    let mut bench = joined(settings);
    bench.feed(&Wire::new().diff(z(4, 11)).history(&zs(4, 10, 11)).new_leader(5).bytes);
    bench.settle();
    bench.feed(&Wire::new().up_to_date().informs(&zs(5, 1, 3)).bytes);
    bench.settle();
    assert_eq!(command_kinds(&bench), ["accepted", "current"]);
    assert_eq!(bench.state.last(), Some(&z(5, 3)));
    assert_eq!(bench.disk().history(), zs(4, 1, 9));
    assert_eq!(bench.role.progress().map(|p| p.applied), Some(z(5, 3)));
}

#[test]
fn a_server_that_waits_for_its_own_disk_does_not_blame_the_leader() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 10)).history(&zs(4, 10, 10)).new_leader(5).bytes);
    for _ in 0..9 {
        bench.pass_ms(2000);
    }
    assert_eq!(bench.ended, None);
    bench.pass_ms(2000);
    assert_eq!(ended(&bench), LearnerEnd::DiskHangs { ms: 20_000 });
}

#[test]
fn behind_newleader_the_leader_must_speak_within_sync_limit() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 9)).new_leader(5).bytes);
    bench.settle();
    for _ in 0..4 {
        bench.pass_ms(2000);
    }
    bench.feed(&Wire::new().ping(z(5, 0)).bytes);
    for _ in 0..4 {
        bench.pass_ms(2000);
    }
    assert_eq!(bench.ended, None);
    bench.pass_ms(2000);
    assert_eq!(ended(&bench), LearnerEnd::Silent { limit_ms: 10_000 });
}

#[test]
fn each_sync_is_told_of_by_its_name() {
    for (wire, kind) in [
        (Wire::new().diff(z(4, 8)), SyncKind::Diff),
        (Wire::new().trunc(z(4, 8)), SyncKind::Trunc),
        (Wire::new().snap(z(4, 8)), SyncKind::Snap),
    ] {
        let mut bench = joined(follower_settings());
        bench.feed(&wire.bytes);
        assert!(bench.asked.contains(&LearnerOutput::SyncBegan { kind, zxid: z(4, 8) }));
    }
}

#[test]
fn a_commit_must_name_what_waits() {
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 11)).proposals(&zs(4, 10, 11)).commit(z(4, 11)).bytes);
    let end = LearnerEnd::CommitMismatch { waits: z(4, 10), named: z(4, 11) };
    assert_eq!(ended(&bench), end);
    let mut bench = joined(follower_settings());
    bench.feed(&Wire::new().diff(z(4, 9)).commit(z(4, 9)).commit(Zxid::ZERO).bytes);
    assert_eq!(bench.ended, None, "nothing waits: it is only said");
}
