//! From the dial to the sync.

use crate::base::{ServerId, Ticket, Zxid};
use crate::history::EpochFile;
use crate::peering::{AckEpoch, LearnerInfo, PacketKind, Touch};
use crate::zab::{
    LearnerEnd, LearnerInput, LearnerOutput, LearnerStorage, Standing, ToLeader, write_ping_answer,
};

use super::bench::{Bench, Ended, standing};
use super::disk::Disk;
use super::wire::Wire;
use super::{follower_settings, observer_settings, z, zs};

/// Epoch 4 was accepted and led, and 4:9 is the last txn.
fn disk() -> Disk {
    Disk::of(&zs(4, 1, 9))
}

fn info() -> LearnerInfo {
    LearnerInfo { server: ServerId(1), protocol: 0x10000, config_version: Some(0) }
}

fn ack_epoch(logged: Zxid, current_epoch: Option<i64>) -> ToLeader {
    ToLeader::AckEpoch { logged, epoch: AckEpoch { current_epoch } }
}

#[test]
fn a_learner_says_first_who_it_is_and_which_epoch_it_has_accepted() {
    let bench = Bench::linked(follower_settings(), disk());
    assert_eq!(bench.packets(), [ToLeader::FollowerInfo { accepted_epoch: 4, info: info() }]);
    let bench = Bench::linked(observer_settings(), disk());
    assert_eq!(bench.packets(), [ToLeader::ObserverInfo { accepted_epoch: 4, info: info() }]);
}

#[test]
fn an_epoch_is_on_the_disk_before_the_leader_hears_that_it_is_accepted() {
    let mut bench = Bench::linked(follower_settings(), disk());
    bench.feed(&Wire::of_epoch(5).bytes);
    let write =
        LearnerStorage::WriteEpoch { ticket: Ticket(41), file: EpochFile::Accepted, epoch: 5 };
    assert_eq!(bench.queue, [write]);
    assert_eq!(bench.packets().len(), 1);
    bench.disk_step();
    assert_eq!(bench.packets()[1..], [ack_epoch(z(4, 9), Some(4))]);
    assert_eq!((bench.disk().accepted, bench.disk().current), (5, 4));
}

#[test]
fn an_epoch_that_was_accepted_before_is_no_second_vote() {
    let mut bench = Bench::linked(follower_settings(), Disk { accepted: 5, ..disk() });
    bench.feed(&Wire::of_epoch(5).bytes);
    assert_eq!(bench.packets()[1..], [ack_epoch(z(4, 9), None)]);
    assert_eq!(bench.commands(), [] as [&LearnerStorage; 0]);
}

#[test]
fn an_epoch_below_the_accepted_one_is_refused() {
    let behind = LearnerEnd::EpochBehind { proposed: 5, accepted: 6 };
    for wire in [Wire::of_epoch(5), Wire::new().new_leader(5)] {
        let mut bench = Bench::linked(follower_settings(), Disk { accepted: 6, ..disk() });
        bench.feed(&wire.bytes);
        assert_eq!(bench.ended, Some(Ended::Role(behind)));
        assert_eq!(bench.commands(), [] as [&LearnerStorage; 0]);
    }
}

#[test]
fn an_epoch_that_no_leader_could_outdo_is_refused() {
    for epoch in [i32::MAX as u32, u32::MAX] {
        for wire in [Wire::of_epoch(epoch), Wire::new().new_leader(epoch)] {
            let mut bench = Bench::linked(follower_settings(), disk());
            bench.feed(&wire.bytes);
            let no_epoch = LearnerEnd::NoEpoch { proposed: i64::from(epoch) };
            assert_eq!(bench.ended, Some(Ended::Role(no_epoch)));
            assert_eq!(bench.commands(), [] as [&LearnerStorage; 0]);
        }
    }
}

#[test]
fn an_observer_is_bound_by_what_it_has_followed_only() {
    let mut bench = Bench::linked(observer_settings(), Disk { accepted: 6, ..disk() });
    bench.feed(&Wire::of_epoch(5).bytes);
    assert_eq!(bench.packets()[1..], [ack_epoch(z(4, 9), None)]);
    assert_eq!(bench.commands(), [] as [&LearnerStorage; 0], "what it has accepted stays");
    let followed = Disk { accepted: 6, current: 6, ..disk() };
    let mut bench = Bench::linked(observer_settings(), followed);
    bench.feed(&Wire::of_epoch(5).bytes);
    let behind = LearnerEnd::EpochBehind { proposed: 5, accepted: 6 };
    assert_eq!(bench.ended, Some(Ended::Role(behind)));
}

#[test]
fn whoever_says_something_else_first_is_no_leader() {
    for kind in PacketKind::ALL {
        if matches!(kind, PacketKind::LeaderInfo | PacketKind::NewLeader) {
            continue;
        }
        let mut bench = Bench::linked(follower_settings(), disk());
        bench.feed(&Wire::new().packet(kind, z(5, 0), Some(&[0; 8])).bytes);
        let unexpected = LearnerEnd::Unexpected { kind, awaited: "LEADERINFO" };
        assert_eq!(bench.ended, Some(Ended::Role(unexpected)));
    }
    let mut bench = Bench::linked(follower_settings(), disk());
    bench.feed(&Wire::new().packet(PacketKind::LeaderInfo, z(5, 0), None).bytes);
    assert!(matches!(bench.ended, Some(Ended::Role(LearnerEnd::BadPacket { .. }))));
}

#[test]
fn a_server_that_cannot_rebuild_its_history_says_zero_and_does_not_vote() {
    let cases = [
        (true, z(4, 9), false, ack_epoch(z(4, 9), Some(4))),
        (true, z(4, 9), true, ack_epoch(Zxid::ZERO, None)),
        (false, z(4, 9), false, ack_epoch(Zxid::ZERO, None)),
        (false, Zxid::ZERO, false, ack_epoch(Zxid::NONE, None)),
    ];
    for (can_rebuild, on_disk, wants_image, expected) in cases {
        let disk = disk();
        let standing = Standing { can_rebuild, on_disk, wants_image, ..standing(&disk) };
        let mut bench = Bench::with_standing(follower_settings(), disk, standing);
        bench.feed(&Wire::of_epoch(5).bytes);
        bench.settle();
        assert_eq!(bench.packets()[1..], [expected]);
        // Changes to what it does not have are of no use to it.
        for wire in [Wire::new().diff(z(4, 9)), Wire::new().trunc(z(4, 8))] {
            if wants_image || !can_rebuild {
                bench.ended = None;
                bench.feed(&wire.bytes);
                assert_eq!(bench.ended, Some(Ended::Role(LearnerEnd::NeedsImage)));
                assert!(LearnerEnd::NeedsImage.wants_image());
            }
        }
    }
}

#[test]
fn what_the_leader_sends_early_waits_for_the_disk() {
    let mut bench = Bench::linked(follower_settings(), disk());
    bench.feed(&Wire::of_epoch(5).diff(z(4, 9)).new_leader(5).bytes);
    assert!(!bench.was_asked(|output| matches!(output, LearnerOutput::SyncBegan { .. })));
    bench.disk_step();
    assert!(bench.was_asked(|output| matches!(output, LearnerOutput::SyncBegan { .. })));
}

#[test]
fn a_leader_that_says_nothing_is_left_after_init_limit() {
    let mut bench = Bench::linked(follower_settings(), disk());
    for _ in 0..9 {
        bench.pass_ms(2000);
    }
    assert_eq!(bench.ended, None);
    assert_eq!(bench.role.next_timeout(), bench.now.plus_ms(2000));
    bench.pass_ms(2000);
    assert_eq!(bench.ended, Some(Ended::Role(LearnerEnd::Silent { limit_ms: 20_000 })));
}

#[test]
fn a_disk_that_hangs_while_it_writes_the_epoch_ends_the_role() {
    let mut bench = Bench::linked(follower_settings(), disk());
    bench.feed(&Wire::of_epoch(5).bytes);
    for _ in 0..10 {
        bench.pass_ms(2000);
    }
    assert_eq!(bench.ended, Some(Ended::Role(LearnerEnd::DiskHangs { ms: 20_000 })));
}

#[test]
fn a_second_link_is_hung_up_and_a_lost_one_ends_the_role() {
    let mut bench = Bench::linked(follower_settings(), disk());
    bench.handle(LearnerInput::Dialed { address: 1 });
    assert!(bench.asked.contains(&LearnerOutput::HangUp { address: 1 }));
    bench.handle(LearnerInput::DialFailed { address: 2 });
    assert_eq!(bench.ended, None);
    bench.handle(LearnerInput::LinkLost);
    assert_eq!(bench.ended, Some(Ended::Role(LearnerEnd::LinkLost)));
    bench.leave();
}

#[test]
fn a_leader_that_is_nowhere_is_not_reached() {
    let disk = disk();
    let standing = standing(&disk);
    let mut bench = Bench::dialling(follower_settings(), disk, standing);
    let dial = LearnerOutput::Dial { address: 0, within_ms: 20_000 };
    assert_eq!(bench.asked, [dial]);
    for _ in 0..10 {
        bench.pass_ms(2000);
    }
    assert_eq!(bench.ended, Some(Ended::Role(LearnerEnd::NotReached)));
}

#[test]
fn what_leaves_is_byte_for_byte_what_a_java_follower_wrote() {
    let hex = |packet: &ToLeader| {
        let mut out = Vec::new();
        packet.write(&mut out);
        out.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let greeting = ToLeader::FollowerInfo { accepted_epoch: 0, info: info() };
    let expected = "0000000b000000000000000000000014\
                    0000000000000001000100000000000000000000ffffffff";
    assert_eq!(hex(&greeting), expected);
    let expected = "0000001200000000000000000000000400000000ffffffff";
    assert_eq!(hex(&ack_epoch(Zxid::ZERO, Some(0))), expected);
    let expected = "000000030000000100000000ffffffffffffffff";
    assert_eq!(hex(&ToLeader::Ack(z(1, 0))), expected);
    let session = crate::base::SessionId(0x0100_0019_9ca3_0000);
    let mut out = Vec::new();
    write_ping_answer(z(1, 1), [Touch { session, timeout_ms: 10_000 }], &mut out);
    write_ping_answer(z(1, 0), [], &mut out);
    let out: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "0000000500000001000000010000000c010000199ca3000000002710ffffffff\
                    00000005000000010000000000000000ffffffff";
    assert_eq!(out, expected);
}
