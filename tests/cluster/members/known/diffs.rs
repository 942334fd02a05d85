//! Learners that are brought up from the log, and what befalls them half way.

use zkd::peering::PacketKind;

use super::stage::{Played, Stage, create, play, set, three};
use crate::members::record::Deed;
use crate::members::tap::Word;
use crate::world::disk::Fault;

/// More than the changing calls of a disk while a learner is brought up.
const CALLS: u64 = 20;

/// The third leads; the first has nothing of what the others have committed, and now the third
/// brings it up, the second being away.
fn behind(stage: &mut Stage) -> Played {
    stage.start(&[0, 1, 2])?;
    stage.led_by(2)?;
    stage.write(2, &[create(0)])?;
    stage.level(&[0, 1, 2])?;
    stage.power_cut(&[0]);
    stage.write(2, &[create(1), create(2), set(1)])?;
    stage.level(&[1, 2])?;
    stage.kill(&[1, 2]);
    stage.start(&[0, 2])
}

/// The third has logged what nobody else has, and leads again: that counts as committed now.
fn ahead(stage: &mut Stage) -> Played {
    stage.start(&[0, 1, 2])?;
    stage.led_by(2)?;
    stage.write(2, &[create(0)])?;
    stage.level(&[0, 1, 2])?;
    stage.write_alone(2, &[create(1), create(2)])?;
    stage.kill(&[2, 1, 0]);
    stage.join();
    Ok(())
}

/// A follower whose disk has the new epoch and not the txns that it was sent before it would win
/// the next election with a short log.
#[test]
fn zk_4643_no_epoch_is_on_disk_before_the_txns_it_begins_with() {
    let mut struck = 0;
    for call in 1..CALLS {
        play(&three(), |stage| {
            behind(stage)?;
            let mark = stage.mark();
            stage.until("NEWLEADER is on its way", |stage| {
                stage.says(mark, (2, 0), PacketKind::NewLeader)
            })?;
            stage.strike(0, call, Fault::PowerCut);
            stage.until("power is cut, or it was spared", |stage| {
                !stage.is_up(0) || stage.says(mark, (2, 0), PacketKind::UpToDate)
            })?;
            struck += u64::from(!stage.is_up(0));
            stage.power_cut(&[0]);
            stage.kill(&[2]);
            stage.start(&[0, 1])?;
            let leader = stage.led()?;
            stage.write(leader, &[create(3)])
        });
    }
    assert!(struck > 8, "power fails in the middle of it: {struck}");
}

/// A quorum that acknowledged NEWLEADER has on disk what the leader serves from then on.
#[test]
fn zk_4646_what_a_leader_begins_with_survives_its_quorum() {
    for others in [[0, 1], [1, 0]] {
        play(&three(), |stage| {
            ahead(stage)?;
            let mark = stage.mark();
            stage.start(&[2, others[0], others[1]])?;
            stage.until("the leader serves", |stage| {
                others.iter().any(|other| stage.says(mark, (2, *other), PacketKind::UpToDate))
            })?;
            stage.must("what it had counts", stage.has_node(2, 2))?;
            stage.power_cut(&[0, 1, 2]);
            stage.start(&[0, 1])?;
            let leader = stage.led()?;
            stage.must("what was committed is there", stage.has_node(leader, 2))?;
            stage.write(leader, &[create(3)])
        });
    }
}

/// The same, power failing before anybody is told that he is up to date.
#[test]
fn zk_3911_what_was_proposed_in_a_sync_is_on_disk_before_newleader_is_acknowledged() {
    play(&three(), |stage| {
        ahead(stage)?;
        stage.start(&[2, 0])?;
        let mark = stage.mark();
        stage.until("NEWLEADER is acknowledged", |stage| stage.has_joined(mark, 0))?;
        stage.has("nobody is up to date", !stage.says(mark, (2, 0), PacketKind::UpToDate))?;
        stage.power_cut(&[0, 2]);
        stage.start(&[0, 1])?;
        stage.led_by(0)?;
        stage.must("it has kept what it was sent", stage.has_node(0, 2))?;
        stage.write(0, &[create(3)])
    });
}

/// What Apache's test of a follower's run with a DIFF has found now and then: the log was looked at
/// when NEWLEADER was acknowledged, and the txns were not there.
#[test]
fn zk_3023_the_log_holds_a_diff_when_newleader_is_acknowledged() {
    for slow_us in [0, 2000, 40_000] {
        let mut plan = three();
        plan.sync_us += slow_us;
        play(&plan, |stage| {
            behind(stage)?;
            let mark = stage.mark();
            stage.until("NEWLEADER is acknowledged", |stage| stage.has_joined(mark, 0))?;
            let appends = stage.synced(mark, 0, "append");
            stage.must("its txns were synced before", appends > 0)?;
            stage.must("and its epoch", stage.synced(mark, 0, "current") == 1)?;
            stage.power_cut(&[0, 2]);
            stage.start(&[0])?;
            stage.start(&[1])?;
            let leader = stage.led()?;
            stage.must("nothing is lost", stage.has_node(leader, 2))
        });
    }
}

/// ACKs of proposals that a learner was sent in its sync leave behind that of NEWLEADER: Java's
/// leaders of some releases end where they do not.
#[test]
fn zk_4685_no_ack_of_a_proposal_overtakes_that_of_newleader() {
    play(&three(), |stage| {
        stage.start(&[1, 2])?;
        stage.led_by(2)?;
        stage.write(2, &[create(0)])?;
        // What is proposed while it joins is acknowledged right behind the epoch.
        for n in 1..6 {
            let mark = stage.mark();
            stage.start(&[0])?;
            stage.until("it is sent NEWLEADER", |stage| {
                stage.says(mark, (2, 0), PacketKind::NewLeader)
            })?;
            stage.ask(2, &[create(n), set(n), set(n)]);
            stage.until("it acknowledges proposals", |stage| {
                let acks = stage.since(mark).filter(|(member, deed)| {
                    let kind = match deed {
                        Deed::Says { word: Word::Learns { kind, .. }, .. } => Some(*kind),
                        _ => None,
                    };
                    *member == 0 && kind == Some(PacketKind::Ack)
                });
                acks.count() > 2
            })?;
            stage.level(&[0, 1, 2])?;
            stage.kill(&[0]);
        }
        Ok(())
    });
}

/// A follower bounces in the middle of a DIFF: what it was sent is in its log or it does not say
/// that it has it.
#[test]
fn zk_4785_a_follower_that_bounces_in_a_diff_has_what_it_says() {
    for bytes in [60, 100, 200] {
        let mut plan = three();
        plan.read_bytes = bytes;
        play(&plan, |stage| {
            ahead(stage)?;
            stage.start(&[2, 0])?;
            let mark = stage.mark();
            stage.until("it has handed something over to its log", |stage| {
                stage.hands(mark, 0, "append") > 0
            })?;
            stage.has("the leader is not heard yet", !stage.has_joined(mark, 0))?;
            stage.break_between(0, 2);
            stage.kill(&[2]);
            stage.start(&[1])?;
            stage.led_by(0)?;
            stage.write(0, &[create(3)])?;
            stage.power_cut(&[0, 1]);
            stage.start(&[0, 1])?;
            let leader = stage.led()?;
            stage.must("all that was committed is there", stage.has_node(leader, 3))
        });
    }
}

/// Who was brought up itself brings up the next one, and leaves nothing out of what it was sent.
#[test]
fn zk_4925_who_was_behind_itself_feeds_no_hole_to_the_next() {
    play(&three(), |stage| {
        stage.start(&[0, 1, 2])?;
        stage.led_by(2)?;
        stage.write(2, &[create(0)])?;
        stage.level(&[0, 1, 2])?;
        stage.kill(&[0]);
        stage.write(2, &[create(1), create(2)])?;
        stage.level(&[1, 2])?;
        stage.kill(&[1]);
        stage.start(&[0])?;
        stage.level(&[0, 2])?;
        stage.write(2, &[create(3), set(3)])?;
        stage.level(&[0, 2])?;
        stage.kill(&[2]);
        // The first has all of it by two syncs and what was proposed, the second lacks some.
        let mark = stage.mark();
        stage.start(&[1])?;
        stage.led_by(0)?;
        stage.level(&[0, 1])?;
        stage.has("it is fed", stage.says(mark, (0, 1), PacketKind::Diff))?;
        stage.must("without a hole", (0..4).all(|n| stage.has_node(1, n)))
    });
}

/// Whoever joins while others write gets every txn once and in order, those before the sync, in the
/// middle of it and behind it.
#[test]
fn zk_962_who_joins_among_writes_is_coherent() {
    for turn in 0..4 {
        let mut plan = three();
        plan.seed += turn;
        play(&plan, |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(0), create(1)])?;
            stage.level(&[0, 1, 2])?;
            stage.kill(&[0]);
            stage.write(2, &[set(0), set(1)])?;
            let mark = stage.mark();
            stage.start(&[0])?;
            let ops = |n: u64| vec![set(n as u8 % 2), create(2 + n as u8 % 6)];
            stage.write_until(2, ops, |stage| stage.says(mark, (2, 0), PacketKind::UpToDate))?;
            stage.has("it is brought up among them", {
                stage.says(mark, (2, 0), PacketKind::Diff)
                    && stage.says(mark, (2, 0), PacketKind::Commit)
            })?;
            stage.level(&[0, 1, 2])
        });
    }
}

/// A proposal that was read in part only is not passed over: its follower comes back, says how far
/// it has come, and gets the whole of it. There it was the end of a session with an ephemeral node.
#[test]
fn zk_2355_a_proposal_that_was_read_in_part_comes_again() {
    for turns in 1..7 {
        let mut plan = three();
        plan.read_bytes = 8;
        plan.session_ms = 1000;
        play(&plan, |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            stage.write(1, &[super::stage::ephemeral(5)])?;
            stage.level(&[0, 1, 2])?;
            let mark = stage.mark();
            stage.client_dies(1);
            stage.until("the session's end is proposed", |stage| {
                stage.says(mark, (2, 0), PacketKind::Proposal)
            })?;
            let ms = stage.cluster.plan.least_us * turns / 100;
            stage.pass(ms)?;
            stage.break_between(0, 2);
            stage.level(&[0, 1, 2])?;
            stage.until("the node is gone everywhere", |stage| {
                (0..3).all(|member| !stage.has_node(member, 5))
            })
        });
    }
}

/// Power fails between the txns of an epoch and the file that says so: that is a history like
/// another, and the server starts.
#[test]
fn zk_1653_a_server_starts_whose_log_is_ahead_of_its_current_epoch() {
    let mut struck = 0;
    for call in 1..CALLS {
        play(&three(), |stage| {
            stage.start(&[0, 1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(0)])?;
            stage.level(&[0, 1, 2])?;
            stage.kill(&[0, 1, 2]);
            // The next epoch has txns, which the first is sent before it is told of the epoch.
            stage.start(&[1, 2])?;
            stage.led_by(2)?;
            stage.write(2, &[create(1), create(2)])?;
            let mark = stage.mark();
            stage.start(&[0])?;
            stage.until("NEWLEADER is on its way", |stage| {
                stage.says(mark, (2, 0), PacketKind::NewLeader)
            })?;
            stage.strike(0, call, Fault::PowerCut);
            stage.until("power is cut, or it was spared", |stage| {
                !stage.is_up(0) || stage.says(mark, (2, 0), PacketKind::UpToDate)
            })?;
            struck += u64::from(!stage.is_up(0));
            stage.spare(0);
            stage.start(&[0])?;
            stage.level(&[0, 1, 2])
        });
    }
    assert!(struck > 8, "power fails in the middle of it: {struck}");
}
