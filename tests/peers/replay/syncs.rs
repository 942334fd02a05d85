//! What Java's leaders and learners said to each other, from FOLLOWERINFO to UPTODATE and on,
//! heard by our machines in the place of either: they answer with the same bytes, in the same
//! order.

use std::collections::BTreeMap;

use bytes::Bytes;

use zkd::base::{ServerId, Zxid};
use zkd::members::{Membership, Rules};
use zkd::peering::{AckEpoch, Forwarded, LearnerInfo, Packet, PacketBytes, PacketKind, Splitter};
use zkd::zab::{Recent, SyncKind};

use crate::relay::Side;
use crate::transcript::{self, Line};

use super::SOUND;
use super::leader::Leader;
use super::learner::{Disk, Learner};

/// One story, in this order.
const STORY: [&str; 4] = ["sync-diff", "sync-snap", "sync-behind", "sync-trunc"];

/// The one packet of a line.
struct Said {
    kind: PacketKind,
    zxid: Zxid,
    data: Option<Vec<u8>>,
}

/// None where it is a part of a snapshot.
fn said(line: &Line) -> Option<Said> {
    let bytes = line.bytes();
    if line.groups.starts_with("[snapshot=") || line.comment == "the snapshot's end" {
        return None;
    }
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut input = &bytes[..];
    let packet = splitter.next(&mut input).expect(SOUND).expect("a line is whole");
    assert!(input.is_empty(), "a line is one packet");
    let data = packet.data.map(<[u8]>::to_vec);
    Some(Said { kind: packet.kind, zxid: packet.zxid, data })
}

fn is(line: &Line, kind: PacketKind) -> bool {
    said(line).is_some_and(|said| said.kind == kind)
}

/// Who dials in a part of the story: their earlier links are gone when it begins.
fn diallers(lines: &[Line]) -> Vec<i64> {
    let begins = lines.iter().filter(|line| is(line, PacketKind::FollowerInfo));
    begins.map(|line| line.dialler).collect()
}

/// What a learner has when it dials, as it says itself.
fn disk_of(lines: &[Line], dialler: i64, before: Option<Disk>) -> (LearnerInfo, Disk) {
    let of = |kind| {
        let found = lines.iter().find(|line| line.dialler == dialler && is(line, kind));
        found.and_then(said).expect("each says it")
    };
    let (begin, ack) = (of(PacketKind::FollowerInfo), of(PacketKind::AckEpoch));
    let info = LearnerInfo::read(&begin.data.expect(SOUND)).expect(SOUND);
    let epoch = AckEpoch::read(&ack.data.expect(SOUND)).expect(SOUND);
    let accepted_epoch = i64::from(begin.zxid.epoch());
    // Nothing is said of the epoch by one that has accepted it before.
    let current_epoch = epoch.current_epoch.unwrap_or(accepted_epoch);
    let disk = Disk { accepted_epoch, current_epoch, last: ack.zxid };
    if let Some(before) = before {
        assert_eq!(before, disk, "{dialler} had come to what Java's had");
    }
    assert_eq!(info.server, ServerId(dialler));
    (info, disk)
}

/// A learner's line is what ours has said by then.
fn on_learners_word(learner: &mut Learner, line: &Line) {
    let word = said(line).expect("learners send no snapshots");
    let name = format!("{}-{} {}", line.dialler, line.acceptor, line.comment);
    match word.kind {
        PacketKind::Request => {
            learner.forward(&Forwarded::read(&word.data.expect(SOUND)).expect(SOUND));
        }
        // Which sessions it has heard of is another's business.
        PacketKind::Ping => {
            let pong = learner.pongs.pop_front().expect(&name);
            assert_eq!(pong[..12], line.bytes()[..12], "{name}");
        }
        _ => assert_eq!(learner.said.pop_front(), Some(line.bytes()), "{name}"),
    }
}

fn replay_to_learners(held: u32) -> Vec<(i64, Learner)> {
    let mut learners: BTreeMap<i64, Learner> = BTreeMap::new();
    let mut ended = Vec::new();
    for part in STORY {
        let lines = transcript::read(part);
        for dialler in diallers(&lines) {
            let before = learners.remove(&dialler);
            let (info, disk) = disk_of(&lines, dialler, before.as_ref().map(|it| it.disk));
            ended.extend(before.map(|before| (dialler, before)));
            learners.insert(dialler, Learner::begin(&info, disk, held));
        }
        for line in &lines {
            let learner = learners.get_mut(&line.dialler).expect("it has dialled");
            match line.side {
                Side::Dialler => on_learners_word(learner, line),
                Side::Acceptor => learner.hear(&line.bytes()),
            }
        }
        for (id, learner) in &learners {
            assert!(learner.said.is_empty(), "{id} says more: {:x?}", learner.said);
        }
    }
    ended.extend(learners);
    ended
}

#[test]
fn our_learner_answers_javas_leader_as_javas_learner_did() {
    use SyncKind::{Diff, Snap, Trunc};
    // What recovery has applied of a log, and what it has left, decides how it is cut.
    for (held, reloads) in [(0, 1), (3, 0)] {
        let learners = replay_to_learners(held);
        let syncs: Vec<_> = learners.iter().map(|(id, it)| (*id, it.sync)).collect();
        let expected = [(3, Snap), (1, Diff), (1, Diff), (2, Trunc), (3, Diff)];
        assert_eq!(syncs, expected.map(|(id, kind)| (id, Some(kind))));
        let [snapped, asking, _, cut, behind] = &learners[..] else { panic!("five") };
        assert!(snapped.1.nodes > 3, "the root, /zookeeper and what was written");
        assert_eq!(asking.1.answered, 3, "a session and two nodes");
        assert_eq!((cut.1.reloads, cut.1.disk.last), (reloads, asking.1.disk.last));
        assert_eq!(behind.1.applied.last(), Some(&asking.1.disk.last));
    }
}

/// What a leader of Java's was when it began.
fn leader_of(lines: &[Line], me: i64, log: Vec<Recent>, image: &Bytes) -> Leader {
    let line = lines.iter().find(|line| line.acceptor == me && is(line, PacketKind::NewLeader));
    let config = line.and_then(said).and_then(|said| said.data).expect("it says its configuration");
    let text = std::str::from_utf8(&config).expect("text");
    let membership = Membership::of_text(text, Rules::default()).expect(SOUND);
    Leader::begin(me, membership, log, image.clone())
}

fn on_leaders_word(leader: &mut Leader, line: &Line) {
    let word = said(line);
    let is_new = |kind, zxid| kind == PacketKind::Proposal && zxid > leader.proposed();
    match &word {
        Some(Said { kind: PacketKind::Ping, .. }) => return,
        Some(Said { kind, zxid, data: Some(data) }) if is_new(*kind, *zxid) => {
            leader.propose(*zxid, Bytes::copy_from_slice(data));
        }
        _ => {}
    }
    leader.expect_said(line.dialler, &line.bytes(), &line.comment);
}

#[test]
fn our_leader_answers_javas_learners_as_javas_leader_did() {
    let parts: Vec<Vec<Line>> = STORY.into_iter().map(transcript::read).collect();
    let snapshot = parts.iter().flatten().find(|line| line.groups.starts_with("[snapshot="));
    let image = Bytes::from(snapshot.expect("one is sent").bytes());
    let mut leader = leader_of(&parts[0], parts[0][0].acceptor, Vec::new(), &image);
    let mut epochs = Vec::new();
    for lines in &parts {
        if lines[0].acceptor != leader.me {
            leader.assert_quiet();
            epochs.push((leader.me, leader.established, leader.requests));
            leader = leader_of(lines, lines[0].acceptor, leader.log, &image);
        }
        diallers(lines).into_iter().for_each(|dialler| leader.close(dialler));
        for line in lines {
            match (line.side, said(line)) {
                (Side::Acceptor, _) => on_leaders_word(&mut leader, line),
                (Side::Dialler, None) => panic!("learners send no snapshots"),
                (Side::Dialler, Some(word)) => {
                    if word.kind == PacketKind::FollowerInfo {
                        leader.connect(line.dialler);
                    }
                    let data = word.data.as_deref();
                    leader.hear(line.dialler, Packet::new(word.kind, word.zxid, data));
                }
            }
        }
    }
    leader.assert_quiet();
    epochs.push((leader.me, leader.established, leader.requests));
    assert_eq!(epochs, [(2, Some(1), 3), (3, Some(2), 0)]);
}
