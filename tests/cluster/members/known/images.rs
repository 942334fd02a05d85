//! Learners that are sent an image, and what befalls them half way.

use zkd::peering::PacketKind;

use super::stage::{Played, Stage, create, ephemeral, play, set, three};
use crate::members::plan::Plan;
use crate::plan::Op;
use crate::world::disk::Fault;

/// Servers that send everybody an image.
fn images(plan: &Plan, script: impl FnOnce(&mut Stage) -> Played) {
    play(plan, |stage| {
        for machine in &mut stage.cluster.machines {
            machine.configure(|config| config.ensemble.leading.forces_snapshots = true);
        }
        script(stage)
    });
}

/// The third leads two, the first is away and will be sent an image.
fn away(stage: &mut Stage) -> Played {
    stage.start(&[0, 1, 2])?;
    stage.led_by(2)?;
    stage.write(2, &[create(0)])?;
    stage.level(&[0, 1, 2])?;
    stage.kill(&[0]);
    stage.write(2, &[create(1), create(2), set(1), create(3), set(2)])?;
    stage.level(&[1, 2])
}

/// NEWLEADER comes behind everything that the image has not: who has acknowledged it has that, too.
#[test]
fn zk_3104_newleader_comes_behind_all_that_follows_an_image() {
    let mut plan = three();
    plan.snap_count = 3;
    images(&plan, |stage| {
        away(stage)?;
        // Its latest snapshot is behind its log.
        stage.write(2, &[create(4), set(4)])?;
        stage.kill(&[1, 2]);
        let mark = stage.mark();
        stage.start(&[0, 2])?;
        stage.until("NEWLEADER is acknowledged", |stage| stage.has_joined(mark, 0))?;
        stage.has("behind an image", stage.says(mark, (2, 0), PacketKind::Snap))?;
        stage.has("and what it has not", stage.says(mark, (2, 0), PacketKind::Proposal))?;
        stage.power_cut(&[0]);
        stage.kill(&[2]);
        stage.start(&[0, 1])?;
        let leader = stage.led()?;
        stage.must("all of it is there", stage.has_node(leader, 4))?;
        stage.level(&[0, 1])
    });
}

/// Power fails at any call while an image comes in, or behind what follows it: the disk says what
/// it said before, or the image and all that came with it.
fn cut_short(calls: std::ops::Range<u64>, least: u64, goes_on: fn(&mut Stage) -> Played) {
    let mut struck = 0;
    for call in calls {
        let mut plan = three();
        // What of a page is lost is drawn anew.
        plan.seed += call;
        images(&plan, |stage| {
            away(stage)?;
            let mark = stage.mark();
            stage.start(&[0])?;
            stage.until("an image is on its way", |stage| {
                stage.says(mark, (2, 0), PacketKind::Snap)
            })?;
            stage.strike(0, call, Fault::PowerCut);
            stage.until("power is cut, or it was spared", |stage| {
                !stage.is_up(0) || stage.says(mark, (2, 0), PacketKind::UpToDate)
            })?;
            let was_spared = stage.is_up(0);
            struck += u64::from(!was_spared);
            stage.spare(0);
            if was_spared {
                stage.write(2, &[create(4), set(3)])?;
                stage.level(&[0, 1, 2])?;
            }
            stage.power_cut(&[0]);
            goes_on(stage)
        });
    }
    assert!(struck > least, "power fails in the middle of it: {struck}");
}

/// It goes on with a DIFF.
#[test]
fn zk_3642_an_image_that_was_cut_short_is_followed_by_a_diff() {
    cut_short(1..24, 10, |stage| {
        stage.kill(&[2]);
        stage.cluster.machines[2].configure(|config| {
            config.ensemble.leading.forces_snapshots = false;
        });
        stage.start(&[1, 2])?;
        stage.led_by(2)?;
        stage.start(&[0])?;
        stage.level(&[0, 1, 2])
    });
}

/// It goes on with an election in which it is needed.
#[test]
fn zk_2872_an_image_that_was_cut_short_is_followed_by_an_election() {
    cut_short(1..24, 10, |stage| {
        stage.kill(&[2]);
        stage.start(&[0])?;
        let leader = stage.led()?;
        stage.must("what was committed is there", stage.has_node(leader, 3))?;
        stage.write(leader, &[create(5)])?;
        stage.level(&[0, 1])
    });
}

/// An image under load, and what it must be exactly that it is named for.
fn under_load(asked: fn(u64) -> Vec<Op>) {
    for turn in 0..3 {
        let mut plan = three();
        plan.snap_count = 4;
        plan.seed += turn;
        images(&plan, |stage| {
            stage.start(&[1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(0), create(1), create(2)])?;
            for n in 0..6 {
                stage.ask(2, &asked(n));
                stage.pass(1)?;
            }
            let mark = stage.mark();
            stage.start(&[0])?;
            stage.write_until(2, asked, |stage| stage.says(mark, (2, 0), PacketKind::UpToDate))?;
            stage.until("it was sent an image", |stage| {
                stage.says(mark, (2, 0), PacketKind::Snap)
            })?;
            stage.has("among writes", stage.says(mark, (2, 0), PacketKind::Proposal))?;
            stage.level(&[0, 1, 2])
        });
    }
}

/// All of a multi is in the image, or none of it.
#[test]
fn zk_3127_an_image_holds_no_half_of_a_multi() {
    under_load(|n| {
        let path = (n % 3) as u8;
        vec![Op::Multi(vec![
            create(8 + path),
            set(path),
            Op::Delete { path: 8 + path, version: -1 },
        ])]
    });
}

/// Sessions and their nodes are in the image as of one txn.
#[test]
fn zk_3144_an_image_has_the_sessions_that_its_nodes_belong_to() {
    under_load(|n| {
        let path = 3 + (n % 4) as u8;
        if n % 3 == 2 { vec![Op::CloseSession] } else { vec![ephemeral(path), set(0)] }
    });
}
