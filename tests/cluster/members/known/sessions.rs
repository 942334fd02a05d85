//! Sessions over changes of their leader: who lives stays, who is gone goes everywhere.

use zkd::peering::PacketKind;

use super::stage::{Played, Stage, create, ephemeral, play, set, three};
use crate::members::plan::Plan;
use crate::plan::Op;

/// The node of a session that ended goes within this time, and no other one does.
const GONE_MS: u64 = 12_000;

fn is_gone_everywhere(stage: &mut Stage, path: u8) -> Played {
    let end = stage.now().plus_ms(GONE_MS);
    while (0..3).any(|member| stage.has_node(member, path)) {
        if stage.now() >= end {
            return Err(format!("sessions: node {path} outlives its session"));
        }
        stage.pass(50)?;
    }
    Ok(())
}

/// The whole ensemble restarts while a client is gone: its session ends after its timeout, with its
/// nodes, on all of them.
#[test]
fn zk_1367_an_ephemeral_node_goes_though_everything_restarted() {
    let plan = Plan { session_ms: 2000, ..three() };
    play(&plan, |stage| {
        stage.start(&[0, 1, 2])?;
        stage.led_by(2)?;
        stage.write(0, &[ephemeral(5)])?;
        stage.level(&[0, 1, 2])?;
        stage.client_dies(0);
        stage.power_cut(&[0, 1, 2]);
        stage.start(&[0, 1, 2])?;
        let leader = stage.led()?;
        stage.level(&[0, 1, 2])?;
        stage.has("the node came back with the log", stage.has_node(leader, 5))?;
        is_gone_everywhere(stage, 5)
    });
}

/// Whoever only reads, at a follower, lives on: the leader hears of it with the follower's answers
/// to its pings.
#[test]
fn ch_121361_local_reads_keep_a_session_alive() {
    let plan = Plan { session_ms: 2000, ..three() };
    play(&plan, |stage| {
        stage.start(&[0, 1, 2])?;
        stage.led_by(2)?;
        stage.write(0, &[ephemeral(5)])?;
        let mark = stage.mark();
        for _ in 0..60 {
            stage.ask(0, &[Op::Get { path: 5, watch: false }]);
            stage.pass(100)?;
            if !stage.has_node(2, 5) {
                return Err("sessions: a session ended that was heard all the time".to_owned());
            }
        }
        stage.has("it was pinged", stage.answers(mark, 0, PacketKind::Ping))?;
        stage.has("and asked for nothing more", !stage.answers(mark, 0, PacketKind::Request))
    });
}

/// A leader falls between a follower's request for a session and its commit: the client has its
/// session soon, from whoever leads next.
#[test]
fn ch_114401_a_session_that_is_asked_for_while_the_leader_falls_is_made_by_the_next() {
    for is_forwarded in [false, true] {
        play(&three(), |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(0)])?;
            let mark = stage.mark();
            stage.client_dies(0);
            stage.pass(1)?;
            stage.ask(0, &[create(1)]);
            // Its client dials anew, and its first word goes to the leader.
            stage.until("a session is asked for", |stage| {
                stage.answers(mark, 0, PacketKind::Request)
            })?;
            if is_forwarded {
                stage.until("it is proposed", |stage| {
                    stage.says(mark, (2, 0), PacketKind::Proposal)
                })?;
            }
            stage.kill(&[2]);
            let began = stage.now();
            stage.until("it is answered", |stage| stage.has_node(0, 1))?;
            let ms = stage.now().ms_since(began);
            stage.must("soon", ms < stage.cluster.plan.session_ms * 2)?;
            stage.ask(0, &[set(1)]);
            Ok(())
        });
    }
}
