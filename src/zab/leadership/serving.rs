//! Proposals out, ACKs in, commits: and what learners ask beside it.

use crate::base::{ConnId, Zxid};
use crate::peering::{Packet, PacketKind, Revalidated};

use super::super::acks::Acked;
use super::super::continuity::Continuity;
use super::super::feed::{LearnerKind, Note};
use super::super::ring::Recent;
use super::{Ended, Leadership, Output, Parting, Passed, Turn};

impl Leadership {
    /// The zxid of the next proposal. There is none where the counter has run out: the next epoch
    /// begins with another election.
    pub fn next_zxid(&mut self, turn: &mut Turn<'_>) -> Option<Zxid> {
        let reign = self.reign.as_ref().filter(|reign| reign.is_established && !self.is_over)?;
        let next = reign.acks.proposed().next();
        if next.counter() == u32::MAX {
            self.end(turn, Ended::CounterExhausted);
            return None;
        }
        Some(next)
    }

    /// Proposes a txn, whose record goes to this server's log at the same time. `data` is the
    /// record's entry.
    pub fn propose(&mut self, zxid: Zxid, data: &[u8]) {
        let reign = self.reign.as_mut().expect("a leader proposes in its own epoch");
        assert!(reign.is_established && !self.is_over, "a leader with a quorum proposes");
        reign.acks.propose(zxid, &self.slots);
        let continuity = self.ring.push(zxid, data);
        assert_eq!(continuity, Continuity::Next, "proposals are gapless");
    }

    /// Sends every learner what there is for it and what its socket takes. The end of a turn.
    pub fn flush(&mut self, turn: &mut Turn<'_>) {
        let Some(reign) = &self.reign else { return };
        let view = reign.view(&self.ring, self.ours);
        self.feeding.flush(turn, &view);
        if self.is_dismissed {
            // They have been told that it is in effect, and look for the one who leads by it.
            self.end(turn, Ended::Dismissed);
        }
    }

    pub(super) fn on_synced_packet<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: Packet<'a>,
    ) -> Result<Option<Passed<'a>>, Parting> {
        let deadline_tick = self.tick + self.settings.sync_limit_ticks;
        if packet.kind == PacketKind::Ack {
            self.feeding.on_ack(link, packet.zxid, deadline_tick);
            self.count_ack(turn, link, packet.zxid);
            return Ok(None);
        }
        self.feeding.on_synced_packet(link, packet, deadline_tick)
    }

    /// Counts an ACK of what the learner was sent; of nothing else can it have something.
    pub(super) fn count_ack(&mut self, turn: &mut Turn<'_>, link: ConnId, zxid: Zxid) {
        let (Some(reign), Some(learner)) = (&mut self.reign, self.feeding.get(link)) else {
            return;
        };
        let (Some(known), Some(feed)) = (learner.known(), learner.feed()) else { return };
        if known.kind == LearnerKind::Observer || zxid > feed.sent() {
            return;
        }
        if reign.acks.on_ack(known.server, zxid) == Acked::Counted {
            self.commit(turn);
        }
    }

    /// Commits what has its quorum by now.
    pub(super) fn commit(&mut self, turn: &mut Turn<'_>) {
        let Some(reign) = &mut self.reign else { return };
        let Some(through) = std::iter::from_fn(|| reign.acks.next_commit()).last() else { return };
        match turn.out.last_mut() {
            Some(Output::Committed { through: before }) => *before = through,
            _ => turn.out.push(Output::Committed { through }),
        }
    }

    /// Answered as soon as all that is proposed by now, or was prepared, is committed, and the
    /// learner knows it.
    pub(super) fn on_sync(&mut self, turn: &mut Turn<'_>, link: ConnId, after: Zxid) {
        let Some(reign) = &self.reign else { return };
        let after = after.max(reign.acks.proposed());
        self.say(turn, link, after, Note::Sync);
    }

    /// Behind all that is committed by now, the session's creation perhaps.
    pub(super) fn on_revalidated(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        revalidated: Revalidated,
    ) {
        let after = self.committed();
        self.say(turn, link, after, Note::Revalidated(revalidated));
    }

    fn say(&mut self, turn: &mut Turn<'_>, link: ConnId, after: Zxid, note: Note) {
        let said = self.feeding.say(link, after, note);
        self.part_unless(turn, link, said);
    }

    pub(super) fn on_log(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        records: Vec<Recent>,
        is_end: bool,
    ) {
        let Some(reign) = &self.reign else { return };
        let view = reign.view(&self.ring, self.ours);
        let sent = self.feeding.on_log(turn, link, (records, is_end), &view);
        self.part_unless(turn, link, sent);
    }

    pub(super) fn on_missing(&mut self, turn: &mut Turn<'_>, link: ConnId) {
        let ground = self.reign.as_ref().map(|reign| reign.ground(&self.ring, self.ours));
        let replaced = self.feeding.on_missing(turn, link, ground.as_ref());
        self.part_unless(turn, link, replaced);
    }
}
