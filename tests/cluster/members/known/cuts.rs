//! Logs that have more than was committed, and what comes of cutting that off.

use std::io::ErrorKind;

use zkd::peering::PacketKind;

use super::stage::{Mark, Played, Stage, create, play, set, three};
use crate::world::disk::Fault;

/// The third has led, and has logged alone what the other two, the second leading, go on without.
/// Nothing is written before it is back: across the txns of two epochs nobody is told to cut.
fn parted(stage: &mut Stage, dies: bool) -> Result<Mark, String> {
    stage.start(&[0, 1, 2])?;
    stage.led_by(2)?;
    stage.write(2, &[create(0), create(1)])?;
    stage.level(&[0, 1, 2])?;
    stage.write_alone(2, &[create(2), set(1)])?;
    if dies {
        stage.kill(&[2]);
    }
    stage.until("the others go on", |stage| stage.mode(1) == Some(zkd::node::NodeMode::Leader))?;
    let mark = stage.mark();
    stage.join();
    if dies {
        stage.start(&[2])?;
    }
    Ok(mark)
}

fn is_cut(stage: &mut Stage, mark: Mark) -> Played {
    stage.until("it is told to cut", |stage| stage.says(mark, (1, 2), PacketKind::Trunc))?;
    stage.level(&[0, 1, 2])?;
    stage.write(1, &[create(3), set(3)])?;
    stage.level(&[0, 1, 2])?;
    stage.must("what was never committed is gone", !stage.has_node(2, 2))?;
    stage.must("and the rest is there", stage.has_node(2, 3) && stage.has_node(2, 1))
}

/// The server with the highest zxid was not there when the others elected a leader.
#[test]
fn zk_1154_who_was_away_with_the_highest_zxid_gives_up_what_it_has_more() {
    play(&three(), |stage| {
        let mark = parted(stage, true)?;
        is_cut(stage, mark)?;
        stage.power_cut(&[2]);
        stage.start(&[2])?;
        stage.level(&[0, 1, 2])?;
        stage.must("it does not come back with it", !stage.has_node(2, 2))
    });
}

/// What is cut is what is too much, and nothing before it.
#[test]
fn zk_1156_a_cut_takes_no_more_than_it_must() {
    play(&three(), |stage| {
        let mark = parted(stage, true)?;
        is_cut(stage, mark)?;
        stage.power_cut(&[2]);
        stage.start(&[2])?;
        stage.level(&[0, 1, 2])?;
        stage.must("it has all of the rest", stage.has_node(2, 1))
    });
}

/// A leader that has lost its quorum keeps its memory and joins the next one; what it has logged
/// alone does not come back with a later restart.
#[test]
fn zk_2845_an_old_leader_that_did_not_restart_gives_up_what_it_logged_alone() {
    play(&three(), |stage| {
        let mark = parted(stage, false)?;
        is_cut(stage, mark)?;
        stage.has("it has not restarted", stage.cluster.machines[2].lives == 1)?;
        stage.power_cut(&[2]);
        stage.start(&[2])?;
        stage.level(&[0, 1, 2])?;
        stage.must("nothing is replayed", !stage.has_node(2, 2))
    });
}

/// What follows a cut is written behind what stayed.
#[test]
fn zk_1489_the_log_goes_on_where_it_was_cut() {
    play(&three(), |stage| {
        let mark = parted(stage, false)?;
        is_cut(stage, mark)?;
        stage.write(2, &[create(4), set(4)])?;
        stage.level(&[0, 1, 2])?;
        stage.power_cut(&[2]);
        stage.start(&[2])?;
        stage.level(&[0, 1, 2])?;
        // It is needed, with all it has.
        stage.kill(&[1]);
        let leader = stage.led()?;
        stage.must("all is there", stage.has_node(leader, 4))
    });
}

/// A log that cannot be cut is not gone on with: at whichever call the full disk fails, the server
/// ends, and comes back without what it should have cut.
#[test]
fn zk_3701_a_log_that_could_not_be_cut_is_not_followed() {
    let mut failed = 0;
    for call in 1..12 {
        play(&three(), |stage| {
            let mark = parted(stage, true)?;
            stage
                .until("it is told to cut", |stage| stage.says(mark, (1, 2), PacketKind::Trunc))?;
            stage.strike(2, call, Fault::Error(ErrorKind::StorageFull));
            stage.until("its disk is full, or it was spared", |stage| {
                !stage.is_up(2) || stage.says(mark, (1, 2), PacketKind::UpToDate)
            })?;
            failed += u64::from(!stage.is_up(2));
            stage.spare(2);
            stage.power_cut(&[2]);
            stage.start(&[2])?;
            stage.level(&[0, 1, 2])?;
            stage.must("what was never committed is gone", !stage.has_node(2, 2))
        });
    }
    assert!(failed > 4, "the disk fails in the middle of it: {failed}");
}

/// A log thread that has work left when its role ends does it before the next role begins, and
/// nothing of it comes later.
#[test]
fn zk_4712_nothing_that_an_old_role_has_logged_comes_behind_a_later_cut() {
    for us in [0, 30_000, 120_000] {
        let mut plan = three();
        plan.sync_us += us;
        play(&plan, |stage| {
            let mark = parted(stage, false)?;
            is_cut(stage, mark)?;
            stage.write(1, &[create(4)])?;
            stage.level(&[0, 1, 2])?;
            stage.power_cut(&[2]);
            stage.start(&[2])?;
            stage.level(&[0, 1, 2])?;
            stage.must("nothing is replayed", !stage.has_node(2, 2))
        });
    }
}

/// A disk fails once: what the others commit then has a hole in this log, if it goes on. It ends
/// instead, and reads what it has before it takes anything more.
#[test]
fn zk_4882_a_disk_that_failed_once_leaves_no_hole_in_its_log() {
    let mut failed = 0;
    for call in 1..5 {
        play(&three(), |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(0), create(1)])?;
            stage.level(&[0, 1, 2])?;
            stage.strike(0, call, Fault::Error(ErrorKind::Other));
            stage.write(2, &[create(2)])?;
            stage.write(2, &[create(3)])?;
            stage.pass(50)?;
            failed += u64::from(!stage.is_up(0));
            stage.spare(0);
            stage.start(&[0])?;
            stage.level(&[0, 1, 2])?;
            stage.write(2, &[create(4)])?;
            stage.level(&[0, 1, 2])?;
            stage.power_cut(&[0]);
            stage.start(&[0])?;
            stage.level(&[0, 1, 2])?;
            stage.must("its log has no hole", (0..5).all(|n| stage.has_node(0, n)))
        });
    }
    assert!(failed > 1, "the disk fails in the middle of it: {failed}");
}
