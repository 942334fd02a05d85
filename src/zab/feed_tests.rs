use crate::base::SessionId;
use crate::base::limits::LEARNER_PIECE_BYTES;

use super::super::spoken::{spoken, z};
use super::*;

/// A leader's history and one learner that is fed from it.
struct Bench {
    log: Vec<Zxid>,
    ring: Ring,
    begin: Zxid,
    committed: Zxid,
    feed: Feed,
    heard: Vec<String>,
    bytes: usize,
}

fn recent(zxid: Zxid) -> Recent {
    Recent { zxid, data: Bytes::from(vec![7; (zxid.0 % 90) as usize]) }
}

/// 4.1 to 4.4 and 6.1 to 6.3 were recovered, the epoch is 7.
fn recovered() -> Vec<Zxid> {
    (1..=4).map(|counter| z(4, counter)).chain((1..=3).map(|counter| z(6, counter))).collect()
}

impl Bench {
    fn new(kind: LearnerKind, decision: Decision, log: Vec<Zxid>, ring_from: Zxid) -> Bench {
        let mut ring = Ring::new(ring_from);
        for zxid in log.iter().filter(|zxid| **zxid > ring_from) {
            ring.push(*zxid, &recent(*zxid).data);
        }
        let (begin, committed) = (z(7, 0), *log.last().unwrap());
        let view = View { ring: &ring, begin, committed };
        let text = Some(Bytes::from_static(b"version=0"));
        let feed = Feed::new(kind, decision, &view, text, usize::MAX);
        Bench { log, ring, begin, committed, feed, heard: Vec::new(), bytes: 0 }
    }

    fn follower(after: Zxid) -> Bench {
        let diff = Decision::Diff { zxid: z(6, 3), after };
        Bench::new(LearnerKind::Follower, diff, recovered(), Zxid::ZERO)
    }

    fn observer(after: Zxid) -> Bench {
        let diff = Decision::Diff { zxid: z(6, 3), after };
        Bench::new(LearnerKind::Observer, diff, recovered(), Zxid::ZERO)
    }

    fn propose(&mut self, counter: u32) {
        let entry = recent(z(7, counter));
        self.log.push(entry.zxid);
        assert_eq!(self.ring.push(entry.zxid, &entry.data), Continuity::Next);
    }

    fn commit(&mut self, counter: u32) {
        self.committed = z(7, counter);
    }

    fn pump(&mut self) -> Option<Wish> {
        let Bench { ring, begin, committed, feed, heard, bytes, .. } = self;
        let view = View { ring, begin: *begin, committed: *committed };
        let mut send = |outgoing: Outgoing| {
            heard.push(spoken(&outgoing));
            *bytes += outgoing.bytes();
        };
        let wish = feed.pump(&view, &mut send);
        feed.check(&view);
        wish
    }

    /// Answers with the records of the log that fit.
    fn read_log(&mut self, after: Zxid, most: usize) -> Result<(), Hole> {
        let mut records: Vec<Recent> = Vec::new();
        let mut size = 0;
        for zxid in self.log.iter().filter(|zxid| **zxid > after) {
            if size >= most {
                break;
            }
            records.push(recent(*zxid));
            size += PACKET_BYTES + records.last().unwrap().data.len();
        }
        let is_end = records.last().map(|record| record.zxid) == self.log.last().copied();
        self.take_log(records, is_end)
    }

    fn take_log(&mut self, records: Vec<Recent>, is_end: bool) -> Result<(), Hole> {
        let Bench { ring, begin, committed, feed, heard, .. } = self;
        let view = View { ring, begin: *begin, committed: *committed };
        let mut send = |outgoing: Outgoing| heard.push(spoken(&outgoing));
        feed.on_log(records, is_end, &view, &mut send)
    }

    fn image(&mut self, bytes: usize, is_last: bool) {
        let Bench { feed, heard, .. } = self;
        let mut send = |outgoing: Outgoing| heard.push(spoken(&outgoing));
        feed.on_image_bytes(Bytes::from(vec![1; bytes]), is_last, &mut send);
    }

    /// Sends all there is, reading the log where it must be.
    fn run(&mut self) {
        while let Some(wish) = self.pump() {
            match wish {
                Wish::Log { after, bytes } => self.read_log(after, bytes).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What was sent since the last look.
    fn said(&mut self) -> Vec<String> {
        self.run();
        std::mem::take(&mut self.heard)
    }
}

#[test]
fn a_packet_is_as_long_as_it_says() {
    for outgoing in [
        Outgoing::packet(PacketKind::Commit, z(1, 2)),
        Outgoing::Packet {
            kind: PacketKind::Proposal,
            zxid: z(1, 2),
            data: Some(vec![1; 9].into()),
        },
        Outgoing::Image(Bytes::from_static(IMAGE_END)),
    ] {
        let mut out = Vec::new();
        outgoing.write(&mut out);
        assert_eq!(out.len(), outgoing.bytes());
    }
}

#[test]
fn before_newleader_all_that_was_recovered_counts_as_committed() {
    let mut bench = Bench::follower(z(4, 4));
    assert_eq!(
        bench.said(),
        [
            "DIFF 6.3",
            "PROPOSAL 6.1",
            "COMMIT 6.1",
            "PROPOSAL 6.2",
            "COMMIT 6.2",
            "PROPOSAL 6.3",
            "COMMIT 6.3",
            "NEWLEADER 7.0"
        ]
    );
    let mut observer = Bench::observer(z(6, 2));
    assert_eq!(observer.said(), ["DIFF 6.3", "PROPOSAL 6.3", "COMMIT 6.3", "NEWLEADER 7.0"]);
}

#[test]
fn an_equal_learner_is_sent_newleader_at_once() {
    let mut bench = Bench::follower(z(6, 3));
    assert_eq!(bench.said(), ["DIFF 6.3", "NEWLEADER 7.0"]);
    let diff = Decision::Diff { zxid: z(7, 0), after: z(7, 0) };
    let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), Zxid::ZERO);
    assert_eq!(bench.said(), ["DIFF 7.0", "NEWLEADER 7.0"]);
    bench.propose(1);
    bench.commit(1);
    assert_eq!(bench.said(), ["PROPOSAL 7.1", "COMMIT 7.1"]);
}

/// Servers of 3.8.5 and 3.9.2 end themselves by a COMMIT between NEWLEADER and UPTODATE for a
/// proposal that came before NEWLEADER.
#[test]
fn zk_4394_nothing_outstanding_comes_before_newleader() {
    let diff = Decision::Diff { zxid: z(7, 1), after: z(6, 3) };
    let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), Zxid::ZERO);
    bench.propose(1);
    bench.commit(1);
    bench.propose(2);
    let view = View { ring: &bench.ring, begin: bench.begin, committed: bench.committed };
    bench.feed = Feed::new(LearnerKind::Follower, diff, &view, Some(Bytes::new()), usize::MAX);
    let said = ["DIFF 7.1", "PROPOSAL 7.1", "COMMIT 7.1", "NEWLEADER 7.0", "PROPOSAL 7.2"];
    assert_eq!(bench.said(), said);
    bench.commit(2);
    assert_eq!(bench.said(), ["COMMIT 7.2"]);
}

#[test]
fn the_oldest_learners_are_sent_newleader_first_of_all() {
    let diff = Decision::Diff { zxid: z(6, 3), after: z(6, 2) };
    let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), Zxid::ZERO);
    let view = View { ring: &bench.ring, begin: bench.begin, committed: bench.committed };
    bench.feed = Feed::new(LearnerKind::Follower, diff, &view, None, usize::MAX);
    assert!(!bench.feed.has_new_leader());
    bench.feed.ping();
    let said = ["NEWLEADER 7.0", "DIFF 6.3", "PROPOSAL 6.3", "COMMIT 6.3", "PING 7.0"];
    assert_eq!(bench.said(), said);
    assert!(bench.feed.has_new_leader());
    let view = View { ring: &bench.ring, begin: bench.begin, committed: bench.committed };
    bench.feed = Feed::new(LearnerKind::Observer, Decision::Snap, &view, None, usize::MAX);
    assert_eq!(bench.pump(), Some(Wish::Image));
    assert_eq!(bench.heard, ["NEWLEADER 7.0"]);
}

#[test]
fn zk_962_what_is_proposed_and_committed_meanwhile_comes_in_its_order() {
    let mut bench = Bench::follower(z(6, 1));
    // The learner takes its time, while the leader has a quorum without it.
    bench.feed.set_room(1);
    bench.pump();
    bench.propose(1);
    bench.propose(2);
    bench.commit(1);
    bench.feed.set_room(1);
    bench.pump();
    bench.feed.set_room(usize::MAX);
    assert_eq!(
        bench.said(),
        [
            "DIFF 6.3",
            "PROPOSAL 6.2",
            "COMMIT 6.2",
            "PROPOSAL 6.3",
            "COMMIT 6.3",
            "NEWLEADER 7.0",
            "PROPOSAL 7.1",
            "COMMIT 7.1",
            "PROPOSAL 7.2"
        ]
    );
}

/// A learner that was cut has lost what it had been sent, and is sent it again.
#[test]
fn zk_1154_a_learner_that_is_cut_is_fed_from_there() {
    let trunc = Decision::Trunc { zxid: z(6, 3) };
    let mut bench = Bench::new(LearnerKind::Follower, trunc, recovered(), Zxid::ZERO);
    bench.propose(1);
    assert_eq!(bench.said(), ["TRUNC 6.3", "NEWLEADER 7.0", "PROPOSAL 7.1"]);
    bench.commit(1);
    assert_eq!(bench.said(), ["COMMIT 7.1"]);
}

#[test]
fn an_observer_learns_of_what_is_committed_and_of_nothing_else() {
    let mut bench = Bench::observer(z(6, 3));
    bench.propose(1);
    bench.propose(2);
    assert_eq!(bench.said(), ["DIFF 6.3", "NEWLEADER 7.0"]);
    bench.commit(1);
    assert_eq!(bench.said(), ["INFORM 7.1"]);
    bench.commit(2);
    assert_eq!(bench.said(), ["INFORM 7.2"]);
}

#[test]
fn commits_come_before_new_proposals() {
    let mut bench = Bench::follower(z(6, 3));
    bench.propose(1);
    bench.said();
    bench.propose(2);
    bench.commit(1);
    assert_eq!(bench.said(), ["COMMIT 7.1", "PROPOSAL 7.2"]);
}

#[test]
fn a_learner_is_up_to_date_once_it_was_told_what_was_committed_by_then() {
    let mut bench = Bench::follower(z(6, 3));
    bench.propose(1);
    bench.commit(1);
    bench.feed.set_room(1);
    bench.pump();
    bench.feed.say(z(7, 1), Note::UpToDate).unwrap();
    assert!(!bench.feed.is_up_to_date());
    bench.feed.set_room(usize::MAX);
    let said = ["DIFF 6.3", "NEWLEADER 7.0", "PROPOSAL 7.1", "COMMIT 7.1", "UPTODATE"];
    assert_eq!(bench.said(), said);
    assert!(bench.feed.is_up_to_date());
}

#[test]
fn a_sync_is_answered_behind_the_last_proposal_and_does_not_hold_up_a_session() {
    let mut bench = Bench::follower(z(6, 3));
    bench.propose(1);
    bench.propose(2);
    bench.said();
    bench.feed.say(z(7, 2), Note::Sync).unwrap();
    let revalidated = Revalidated { session: SessionId(5), is_valid: true };
    bench.feed.say(z(6, 3), Note::Revalidated(revalidated)).unwrap();
    assert_eq!(bench.said(), ["REVALIDATE"]);
    bench.commit(1);
    assert_eq!(bench.said(), ["COMMIT 7.1"]);
    bench.commit(2);
    assert_eq!(bench.said(), ["COMMIT 7.2", "SYNC"]);
    // With nothing outstanding it is answered at once.
    bench.feed.say(z(7, 2), Note::Sync).unwrap();
    assert_eq!(bench.said(), ["SYNC"]);
}

#[test]
fn a_learner_that_asks_for_too_much_is_told_so() {
    let mut bench = Bench::follower(z(6, 3));
    bench.said();
    for _ in 0..limits::LEARNER_NOTES {
        bench.feed.say(z(7, 9), Note::Sync).unwrap();
    }
    assert_eq!(bench.feed.say(z(7, 9), Note::Sync), Err(TooMany));
}

#[test]
fn pings_are_counted_from_uptodate_on_and_one_at_most_waits() {
    let mut bench = Bench::follower(z(6, 3));
    bench.feed.ping();
    assert_eq!(bench.said(), ["DIFF 6.3", "NEWLEADER 7.0", "PING 7.0"]);
    assert_eq!(bench.feed.pings(), 0, "it does not answer this one");
    bench.feed.say(z(6, 3), Note::UpToDate).unwrap();
    bench.propose(1);
    assert_eq!(bench.said(), ["UPTODATE", "PROPOSAL 7.1"]);
    bench.feed.set_room(0);
    bench.feed.ping();
    bench.feed.ping();
    assert_eq!(bench.said(), [""; 0]);
    bench.feed.set_room(1000);
    assert_eq!(bench.said(), ["PING 7.1"]);
    assert_eq!(bench.feed.pings(), 1);
}

#[test]
fn a_full_socket_keeps_the_position_where_it_is() {
    let mut bench = Bench::follower(z(6, 3));
    bench.said();
    bench.feed.set_room(0);
    for counter in 1..=1000 {
        bench.propose(counter);
    }
    assert_eq!(bench.said(), [""; 0]);
    assert_eq!(bench.feed.sent(), z(6, 3));
    bench.feed.set_room(1);
    assert_eq!(bench.said(), ["PROPOSAL 7.1"], "one packet is as long as it is");
}

#[test]
fn what_the_ring_has_not_comes_from_the_log() {
    let diff = Decision::Diff { zxid: z(6, 3), after: z(4, 1) };
    let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), z(4, 4));
    bench.feed.set_room(PACKET_BYTES + 1);
    let wish = bench.pump();
    assert_eq!(wish, Some(Wish::Log { after: z(4, 1), bytes: 1 }));
    assert_eq!(bench.feed.source(&bench.ring), Source::Log);
    assert_eq!(bench.pump(), None, "it is asked once");
    bench.take_log(vec![recent(z(4, 2)), recent(z(4, 3))], false).unwrap();
    bench.feed.set_room(usize::MAX);
    assert_eq!(
        bench.said(),
        [
            "DIFF 6.3",
            "PROPOSAL 4.2",
            "COMMIT 4.2",
            "PROPOSAL 4.3",
            "COMMIT 4.3",
            "PROPOSAL 4.4",
            "COMMIT 4.4",
            "PROPOSAL 6.1",
            "COMMIT 6.1",
            "PROPOSAL 6.2",
            "COMMIT 6.2",
            "PROPOSAL 6.3",
            "COMMIT 6.3",
            "NEWLEADER 7.0"
        ]
    );
    assert_eq!(bench.feed.source(&bench.ring), Source::Ring);
}

#[test]
fn zk_4925_a_hole_in_the_log_is_not_sent_across() {
    let from = |after| {
        let diff = Decision::Diff { zxid: z(6, 3), after };
        let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), z(4, 4));
        assert!(matches!(bench.pump(), Some(Wish::Log { .. })));
        bench
    };
    let mut bench = from(z(4, 1));
    let records = vec![recent(z(4, 2)), recent(z(4, 4))];
    assert_eq!(bench.take_log(records, false), Err(Hole { after: z(4, 2) }));
    assert_eq!(bench.heard, ["DIFF 6.3", "PROPOSAL 4.2", "COMMIT 4.2"]);
    // The log ends before the ring begins.
    let mut bench = from(z(4, 1));
    assert_eq!(bench.take_log(vec![recent(z(4, 2))], true), Err(Hole { after: z(4, 2) }));
    // It has nothing more and does not say so.
    let mut bench = from(z(4, 1));
    assert_eq!(bench.take_log(Vec::new(), false), Err(Hole { after: z(4, 1) }));
    // A later epoch does not begin with its second txn.
    let mut bench = from(z(4, 3));
    let records = vec![recent(z(4, 4)), recent(z(6, 2))];
    assert_eq!(bench.take_log(records, false), Err(Hole { after: z(4, 4) }));
}

#[test]
fn a_txn_that_java_logged_twice_is_sent_once() {
    let diff = Decision::Diff { zxid: z(6, 3), after: z(4, 1) };
    let mut bench = Bench::new(LearnerKind::Follower, diff, recovered(), z(4, 4));
    bench.pump();
    let records = [z(4, 2), z(4, 2), z(4, 1), z(4, 3)].map(recent).to_vec();
    bench.take_log(records, false).unwrap();
    bench.run();
    let proposed = bench.heard.iter().filter(|said| said.starts_with("PROPOSAL")).count();
    assert_eq!(proposed, 6);
}

#[test]
fn a_live_learner_that_fell_behind_the_ring_goes_on_from_the_log() {
    let mut bench = Bench::follower(z(6, 3));
    bench.said();
    bench.feed.set_room(0);
    bench.ring = Ring::bounded(z(6, 3), 500);
    for counter in 1..=40 {
        bench.propose(counter);
        bench.ring.shed(z(7, counter));
    }
    bench.commit(30);
    bench.feed.set_room(usize::MAX);
    let wish = bench.pump();
    assert!(matches!(wish, Some(Wish::Log { after, .. }) if after == z(6, 3)), "{wish:?}");
    bench.read_log(z(6, 3), 500).unwrap();
    let said = bench.said();
    assert_eq!(said[..3], ["PROPOSAL 7.1", "COMMIT 7.1", "PROPOSAL 7.2"]);
    assert_eq!(said[59..61], ["COMMIT 7.30", "PROPOSAL 7.31"]);
    assert_eq!(said.len(), 70);
}

/// The image is of one zxid, and what leaves behind it goes on from there: NEWLEADER comes after.
#[test]
fn zk_3104_newleader_comes_after_the_image_and_what_the_image_has_not() {
    let mut bench = Bench::new(LearnerKind::Follower, Decision::Snap, recovered(), z(4, 4));
    assert_eq!(bench.pump(), Some(Wish::Image));
    assert_eq!(bench.pump(), None, "it is asked once");
    bench.feed.on_image(z(6, 1));
    assert_eq!(bench.pump(), Some(Wish::ImageBytes { offset: 0, bytes: LEARNER_PIECE_BYTES }));
    bench.image(1000, false);
    bench.propose(1);
    assert_eq!(bench.pump(), Some(Wish::ImageBytes { offset: 1000, bytes: LEARNER_PIECE_BYTES }));
    bench.image(10, true);
    assert_eq!(
        bench.said(),
        [
            "SNAP 6.1",
            "image of 1000",
            "image of 10",
            "image of 14",
            "PROPOSAL 6.2",
            "COMMIT 6.2",
            "PROPOSAL 6.3",
            "COMMIT 6.3",
            "NEWLEADER 7.0",
            "PROPOSAL 7.1"
        ]
    );
}

#[test]
fn an_image_that_is_later_than_the_decision_is_followed_by_newleader() {
    let mut bench = Bench::new(LearnerKind::Observer, Decision::Snap, recovered(), z(4, 4));
    assert_eq!(bench.pump(), Some(Wish::Image));
    bench.propose(1);
    bench.propose(2);
    bench.commit(1);
    bench.feed.on_image(z(7, 1));
    bench.pump();
    bench.image(10, true);
    bench.commit(2);
    let said = ["SNAP 7.1", "image of 10", "image of 14", "NEWLEADER 7.0", "INFORM 7.2"];
    assert_eq!(bench.said(), said);
}

#[path = "feed_props.rs"]
mod props;
