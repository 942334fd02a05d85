//! Disks that hang, power that is cut of a server alone, and ports that are told nonsense.

use zkd::node::NodeMode;
use zkd::peering::{PacketKind, PeerState};

use super::stage::{Stage, create, play, set, three};
use crate::members::plan::Plan;
use crate::members::record::Deed;
use crate::members::tap::Word;
use crate::members::wires::QUORUM_PORT;

/// Whoever comes to the quorum port with nonsense loses his link and nothing else: the next learner
/// is let in like any other.
#[test]
fn zk_4203_a_leader_lets_learners_in_whatever_was_said_at_its_port() {
    let nonsense: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 80], &[0; 3], b"\x16\x03\x01\x02\0"];
    play(&Plan { clients: 1, ..Plan::calm(5) }, |stage| {
        stage.start(&[2, 3, 4])?;
        stage.led_by(4)?;
        for bytes in nonsense {
            stage.intrude(4, QUORUM_PORT, bytes)?;
        }
        stage.must("it leads on", stage.mode(4) == Some(NodeMode::Leader))?;
        for member in [0, 1] {
            stage.start(&[member])?;
            stage.level(&[member])?;
        }
        stage.kill(&[3, 2]);
        stage.write(4, &[create(0)])
    });
}

/// The leader's disk hangs, and so does what it acknowledges itself: the others go on without it,
/// and it says nothing that its disk does not say.
#[test]
fn a_leader_whose_disk_hangs_gives_its_place_up() {
    play(&three(), |stage| {
        stage.start(&[0, 1, 2])?;
        stage.led_by(2)?;
        stage.write(2, &[create(0)])?;
        let ms = 4 * stage.cluster.plan.sync_ms();
        stage.cluster.machines[2].threads.hangs_until = stage.now().plus_ms(ms);
        stage.ask(2, &[create(1)]);
        stage.until("another leads", |stage| stage.mode(1) == Some(NodeMode::Leader))?;
        stage.has("while the disk hangs", {
            stage.cluster.machines[2].threads.hangs_until > stage.now()
        })?;
        stage.write(1, &[create(2)])?;
        stage.level(&[0, 1, 2])?;
        stage.must("it was never restarted", stage.cluster.machines[2].lives == 1)
    });
}

/// A vote says what is on the disk: while a sync is in flight nothing is voted.
#[test]
fn no_vote_is_cast_while_a_sync_is_in_flight() {
    play(&three(), |stage| {
        stage.start(&[0, 1, 2])?;
        stage.led_by(2)?;
        stage.write(2, &[create(0)])?;
        stage.level(&[0, 1, 2])?;
        let hangs_until = stage.now().plus_ms(600);
        let mark = stage.mark();
        stage.cluster.machines[0].threads.hangs_until = hangs_until;
        stage.ask(2, &[create(1), set(1)]);
        stage.until("its disk has something to do", |stage| stage.hands(mark, 0, "append") > 0)?;
        stage.kill(&[2]);
        let votes = |stage: &Stage, of: usize| {
            let looks = |(member, deed): &&(usize, Deed)| match deed {
                Deed::Says { word: Word::Votes(said), .. } => {
                    *member == of && said.state == PeerState::Looking
                }
                _ => false,
            };
            stage.since(mark).filter(looks).count()
        };
        stage.until("the other votes", |stage| votes(stage, 1) > 0)?;
        while stage.now() < hangs_until {
            stage.must("it does not vote yet", votes(stage, 0) == 0)?;
            stage.pass(10)?;
        }
        stage.until("it votes", |stage| votes(stage, 0) > 0)?;
        let leader = stage.led()?;
        stage.write(leader, &[create(2)])
    });
}

/// An ensemble of one: its own disk is its quorum, however often its power fails.
#[test]
fn an_ensemble_of_one_that_loses_its_power_loses_nothing_else() {
    for call in 1..16 {
        play(&Plan { clients: 1, ..Plan::calm(1) }, |stage| {
            stage.start(&[0])?;
            stage.led_by(0)?;
            stage.write(0, &[create(0)])?;
            stage.strike(0, call, crate::world::disk::Fault::PowerCut);
            stage.ask(0, &[create(1), set(1), create(2)]);
            stage.pass(500)?;
            stage.spare(0);
            stage.power_cut(&[0]);
            stage.start(&[0])?;
            stage.led_by(0)?;
            stage.must("what was acknowledged is there", stage.has_node(0, 0))?;
            stage.write(0, &[create(3)])
        });
    }
}

/// A script that does not bring about what it is about fails, however well the members do.
#[test]
fn a_script_whose_trigger_does_not_come_fails() {
    let played = std::panic::catch_unwind(|| {
        play(&three(), |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            let mark = stage.mark();
            stage.has("a cut is told", stage.says(mark, (2, 0), PacketKind::Trunc))
        });
    });
    let panic = played.expect_err("nobody was told to cut anything");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(text.starts_with("violation: trigger: a cut is told"), "{text}");
}
