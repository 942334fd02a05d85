//! Proposals out, ACKs in, commits: and what learners ask beside it.

use bytes::Bytes;

use crate::base::{ConnId, Instant, Zxid};
use crate::peering::{Forwarded, Packet, PacketKind, Revalidate, Revalidated, read_touches};

use super::super::acks::Acked;
use super::super::continuity::Continuity;
use super::super::feed::{LearnerKind, Note, Outgoing, View};
use super::super::learner::{AckWatch, Learner, Stage};
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
    pub fn propose(&mut self, zxid: Zxid, data: Bytes) {
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
        for (link, learner) in &mut self.learners {
            pump(*link, learner, &view, turn);
        }
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
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(None) };
        let Stage::Synced { feed, .. } = &learner.stage else { return Ok(None) };
        let (is_up_to_date, pings) = (feed.is_up_to_date(), feed.pings());
        if packet.kind == PacketKind::Ack {
            if is_up_to_date {
                learner.deadline_tick = deadline_tick;
            }
            learner.watch.on_ack(packet.zxid);
            self.count_ack(turn, link, packet.zxid);
            return Ok(None);
        }
        // It serves nobody before it was told that it is up to date.
        if !is_up_to_date {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        learner.deadline_tick = deadline_tick;
        let undecodable = Parting::Undecodable;
        match packet.kind {
            PacketKind::Ping => {
                let touches = packet.data.unwrap_or_default();
                read_touches(touches).map(drop).map_err(undecodable)?;
                learner.answered = pings.min(learner.answered + 1);
                let is_any = !touches.is_empty();
                Ok(is_any.then_some(Passed::Touched { link, touches }))
            }
            PacketKind::Revalidate => {
                let revalidate = packet.body().and_then(Revalidate::read).map_err(undecodable)?;
                Ok(Some(Passed::Revalidate { link, revalidate }))
            }
            PacketKind::Request => {
                let request = packet.body().and_then(Forwarded::read).map_err(undecodable)?;
                Ok(Some(Passed::Request { link, request, ids: packet.ids }))
            }
            other => Err(Parting::OutOfTurn(other)),
        }
    }

    /// Counts an ACK of what the learner was sent; of nothing else can it have something.
    pub(super) fn count_ack(&mut self, turn: &mut Turn<'_>, link: ConnId, zxid: Zxid) {
        let (Some(reign), Some(learner)) = (&mut self.reign, self.learners.get(&link)) else {
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
        let feed = self.learners.get_mut(&link).and_then(Learner::feed_mut);
        if feed.is_some_and(|feed| feed.say(after, note).is_err()) {
            self.part(turn, link, Parting::TooManyNotes);
        }
    }

    pub(super) fn on_room(&mut self, link: ConnId, bytes: usize) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.room = bytes;
            if let Some(feed) = learner.feed_mut() {
                feed.set_room(bytes);
            }
        }
    }

    pub(super) fn on_log(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        records: Vec<Recent>,
        is_end: bool,
    ) {
        let (Some(reign), Some(learner)) = (&self.reign, self.learners.get_mut(&link)) else {
            return;
        };
        let view = reign.view(&self.ring, self.ours);
        let is_synced = learner.is_synced();
        let Learner { stage, watch, heard, .. } = learner;
        if !is_synced {
            *heard = turn.now;
        }
        let (Stage::AwaitNewLeaderAck { feed, known, .. } | Stage::Synced { feed, known }) = stage
        else {
            return;
        };
        let server = known.server;
        let watch = is_synced.then_some(watch);
        let sent =
            feed.on_log(records, is_end, &view, &mut sending(link, watch, turn.now, turn.out));
        if let Err(hole) = sent {
            self.image_next.insert(server);
            self.part(turn, link, Parting::Hole(hole.after));
        }
    }

    pub(super) fn on_image(&mut self, link: ConnId, zxid: Zxid) {
        if let Some(feed) = self.learners.get_mut(&link).and_then(Learner::feed_mut) {
            feed.on_image(zxid);
        }
    }

    pub(super) fn on_image_bytes(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        bytes: Bytes,
        is_last: bool,
    ) {
        let Some(learner) = self.learners.get_mut(&link) else { return };
        learner.heard = turn.now;
        if let Some(feed) = learner.feed_mut() {
            let mut send = |outgoing| turn.out.push(Output::Send { link, outgoing });
            feed.on_image_bytes(bytes, is_last, &mut send);
        }
    }

    /// What a learner was to be sent is not there: an image takes the place of the log.
    pub(super) fn on_missing(&mut self, turn: &mut Turn<'_>, link: ConnId) {
        let Some(learner) = self.learners.get(&link) else { return };
        if learner.is_syncing_by_snap() != Some(true) {
            self.image_next.extend(learner.server());
        }
        match learner.stage {
            // It has not been told yet how it is brought up.
            Stage::AwaitProbe { .. } => self.begin_sync(turn, link, None),
            _ => self.part(turn, link, Parting::Missing),
        }
    }
}

/// Notes when proposals leave, of learners that are to acknowledge them in time.
fn sending<'a>(
    link: ConnId,
    mut watch: Option<&'a mut AckWatch>,
    now: Instant,
    out: &'a mut Vec<Output>,
) -> impl FnMut(Outgoing) + 'a {
    move |outgoing| {
        if let (Some(watch), Outgoing::Packet { kind: PacketKind::Proposal, zxid, .. }) =
            (&mut watch, &outgoing)
        {
            watch.on_sent(*zxid, now);
        }
        out.push(Output::Send { link, outgoing });
    }
}

fn pump(link: ConnId, learner: &mut Learner, view: &View<'_>, turn: &mut Turn<'_>) {
    let is_synced = learner.is_synced();
    let Learner { stage, watch, heard, .. } = learner;
    let (Stage::AwaitNewLeaderAck { feed, .. } | Stage::Synced { feed, .. }) = stage else {
        return;
    };
    let (was_up_to_date, room) = (feed.is_up_to_date(), feed.room());
    let watch = is_synced.then_some(watch);
    let wish = feed.pump(view, &mut sending(link, watch, turn.now, turn.out));
    // What a learner takes while it is brought up is a sign of its life; what it says is one from
    // UPTODATE on.
    let is_taking = !is_synced && feed.room() < room;
    if is_taking || feed.is_up_to_date() != was_up_to_date {
        *heard = turn.now;
    }
    turn.out.extend(wish.map(|wish| Output::Wanted { link, wish }));
}
