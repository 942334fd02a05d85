//! Syncs word by word, as servers of Java say them.

use zkd::base::Zxid;
use zkd::peering::PacketKind::{Ack, Commit, Diff, NewLeader, Proposal, UpToDate};

use super::puppet::{EPOCH, Say, z};
use super::stage::{Played, Stage, play, set, three};
use Say::{Plain, Propose};

/// A server of ours joins a leader that says this between ACKEPOCH and the ACK of NEWLEADER, and
/// then that; it has to serve afterwards, and to apply all of it.
fn joins(before: &[Say], behind: &[Say], later: &[Say], last: u32) {
    play(&three(), |stage| {
        stage.start(&[0])?;
        stage.settle_puppets(&[2, 1], 0)?;
        let line = &mut stage.welcome(2)?;
        stage.propose_epoch(line)?;
        stage.say(line, before);
        stage.say(line, &[Plain(NewLeader, z(0))]);
        stage.say(line, behind);
        stage.hears(line, Ack)?;
        stage.must("the first ACK is that of NEWLEADER", {
            line.heard.iter().find(|(kind, _)| *kind == Ack) == Some(&(Ack, z(0)))
        })?;
        stage.say(line, &[Plain(UpToDate, Zxid::NONE)]);
        stage.say(line, later);
        stage.comes("all of it is applied", |stage| {
            (1..=last).all(|n| stage.has_node(0, n as u8))
        })?;
        stage.listen_to(line);
        // UPTODATE is acknowledged once more by the epoch.
        let acks = line.heard.iter().filter(|(kind, zxid)| *kind == Ack && zxid.counter() > 0);
        let acks: Vec<u32> = acks.map(|(_, zxid)| zxid.counter()).collect();
        stage.must("each is acknowledged, in order", acks.is_sorted())?;
        stage.must("and it has stayed", stage.cluster.machines[0].lives == 1)?;
        goes_on(stage, last)
    });
}

/// The puppets are gone; who takes their place gets what they had.
fn goes_on(stage: &mut Stage, last: u32) -> Played {
    stage.end_puppets(&[1, 2]);
    stage.start(&[1, 2])?;
    stage.led_by(0)?;
    stage.write(0, &[set(1)])?;
    stage.level(&[0, 1, 2])?;
    stage.must("all has reached the others", stage.has_node(2, last as u8))?;
    let epoch = stage.cluster.machines[2].node().map(|node| node.view().applied.epoch());
    stage.must("in a later epoch", epoch > Some(EPOCH))
}

/// A COMMIT comes behind NEWLEADER for what was proposed before it, and another for what was
/// proposed behind it.
#[test]
fn zk_4394_a_commit_behind_newleader_finds_what_was_proposed_before_it() {
    let before = [Plain(Diff, z(3)), Propose(1), Say::Commit(1), Propose(2)];
    joins(&before, &[Say::Commit(2)], &[Propose(3), Say::Commit(3)], 3);
    let before = [Plain(Diff, z(3)), Propose(1), Say::Commit(1), Propose(2), Propose(3)];
    joins(&before, &[Propose(4), Say::Commit(2)], &[Say::Commit(3), Say::Commit(4)], 4);
}

/// The order in which the three generations of Java say what is outstanding while somebody joins.
#[test]
fn leaders_of_three_generations_of_java_bring_a_server_up() {
    let history = [Plain(Diff, z(2)), Propose(1), Say::Commit(1), Propose(2), Say::Commit(2)];
    let of_3_8 = [&history[..], &[Propose(3), Propose(4)]].concat();
    let commits = [Say::Commit(3), Say::Commit(4)];
    joins(&of_3_8, &commits[..1], &commits[1..], 4);
    joins(&history, &[Propose(3), Propose(4)], &commits, 4);
    joins(&history, &[Propose(3), Say::Commit(3)], &[Propose(4), Say::Commit(4)], 4);
}

/// A follower of Java acknowledges a proposal before NEWLEADER: the leader counts what is on its
/// disk, and leads on.
#[test]
fn zk_4685_a_leader_bears_an_ack_that_overtakes_that_of_newleader() {
    play(&three(), |stage| {
        stage.start(&[1, 2])?;
        stage.led_by(2)?;
        let line = &mut stage.join_as(0, 2)?;
        stage.hears(line, NewLeader)?;
        let begins = line.heard.iter().find(|(kind, _)| *kind == NewLeader).map(|(_, zxid)| *zxid);
        let begins = begins.ok_or("trigger: NEWLEADER was heard")?;
        stage.write(2, &[super::stage::create(0)])?;
        stage.hears(line, Proposal)?;
        let proposed = line.heard.iter().find(|(kind, _)| *kind == Proposal).map(|(_, zxid)| *zxid);
        let proposed = proposed.ok_or("trigger: a proposal was heard")?;
        stage.say(line, &[Plain(Ack, proposed), Plain(Ack, begins)]);
        stage.hears(line, UpToDate)?;
        stage.hears(line, Commit)?;
        stage.must("it leads on", stage.leader() == Some(2))?;
        stage.end_puppets(&[0]);
        stage.start(&[0])?;
        stage.level(&[0, 1, 2])
    });
}

/// A leader of 3.9.3 whose memory has a hole leaves out a txn in the middle: its link is dropped,
/// and nothing behind the hole is kept.
#[test]
fn zk_4925_a_hole_in_what_a_leader_of_java_sends_is_not_taken_over() {
    play(&three(), |stage| {
        stage.start(&[0])?;
        stage.settle_puppets(&[2, 1], 0)?;
        let line = &mut stage.welcome(2)?;
        stage.propose_epoch(line)?;
        let hole = [Plain(Diff, z(4)), Propose(1), Say::Commit(1), Propose(3), Say::Commit(3)];
        stage.say(line, &hole);
        stage.say(line, &[Plain(NewLeader, z(0))]);
        let mark = stage.mark();
        stage.pass(1000)?;
        stage.listen_to(line);
        stage.must("nothing is acknowledged", line.heard.iter().all(|(kind, _)| *kind != Ack))?;
        stage.must("and nothing is kept from behind the hole", {
            stage.hands(mark, 0, "current") == 0 && !stage.has_node(0, 3)
        })?;
        stage.end_puppets(&[1, 2]);
        stage.start(&[1, 2])
    });
}
