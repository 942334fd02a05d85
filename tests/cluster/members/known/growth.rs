//! Ensembles that fall as a whole, come back, and grow.

use zkd::base::ServerId;
use zkd::config::MemberConfig;

use super::stage::{Stage, create, play, set};
use crate::members::plan::Plan;
use crate::members::setup::{membership, server_id};

/// Of this member on: whom it takes for the ensemble.
fn knows(stage: &mut Stage, member: usize, places: &[usize]) {
    let list = membership(&stage.cluster.plan, places);
    let id: ServerId = server_id(member);
    stage.cluster.machines[member]
        .configure(|config| config.ensemble.member = Some(MemberConfig::for_tests(id, list)));
}

/// All fall, two come back, and one that was never there is added: it gets everything.
#[test]
fn zk_1319_who_is_added_behind_a_restart_gets_all_there_was() {
    for power in [false, true] {
        play(&Plan { clients: 1, ..Plan::calm(3) }, |stage| {
            stage.start(&[0, 1])?;
            stage.led_by(1)?;
            stage.write(1, &[create(0), create(1), set(0)])?;
            stage.level(&[0, 1])?;
            if power {
                stage.power_cut(&[0, 1])
            } else {
                stage.kill(&[0, 1])
            }
            stage.start(&[0, 1])?;
            stage.led_by(1)?;
            stage.start(&[2])?;
            stage.level(&[0, 1, 2])?;
            stage.must("it has all", stage.has_node(2, 0) && stage.has_node(2, 1))?;
            // It is needed, with all it has.
            stage.kill(&[1]);
            let leader = stage.led()?;
            stage.write(leader, &[create(2)])
        });
    }
}

/// Three become five, one restart after the other, each with a file that differs from that of the
/// others for a while, and those who are new last of all: whoever leads commits.
#[test]
fn zk_3829_a_leader_commits_while_the_list_of_members_rolls() {
    play(&Plan { clients: 1, ..Plan::calm(5) }, |stage| {
        let (few, all) = ([0, 1, 2], [0, 1, 2, 3, 4]);
        // Most of which list, is not what the plan says.
        stage.cluster.world.record.voters = 0;
        few.iter().for_each(|member| knows(stage, *member, &few));
        stage.start(&few)?;
        stage.led_by(2)?;
        stage.write(2, &[create(0)])?;
        stage.level(&few)?;
        for member in few {
            stage.kill(&[member]);
            knows(stage, member, &all);
            stage.start(&[member])?;
            // Who leads may have lost its quorum, and does not know yet.
            stage.pass(2 * stage.cluster.plan.sync_ms())?;
            let leader = stage.led()?;
            stage.write(leader, &[create(1 + member as u8)])?;
        }
        stage.start(&[3, 4])?;
        stage.level(&all)?;
        // Five are five: two may fall.
        let leader = stage.led()?;
        let others: Vec<usize> = all.into_iter().filter(|member| *member != leader).collect();
        stage.kill(&others[..2]);
        stage.write(leader, &[create(5)])
    });
}
