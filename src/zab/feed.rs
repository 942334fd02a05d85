//! What one learner is sent, and when. A learner is a position in the history: what it misses, what
//! is outstanding and what is proposed from now on are the same act, sent from there as its socket
//! has room. Nothing queues: a full socket only keeps the position where it is.
//!
//! The order on the wire: DIFF, TRUNC or SNAP with its image; PROPOSAL and COMMIT of each txn up to
//! what was committed when the sync was decided; NEWLEADER; what came since, and UPTODATE among it.
//! Nothing outstanding comes before NEWLEADER, since servers of 3.8.5 and 3.9.2 end themselves by a
//! COMMIT behind it for a PROPOSAL before it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{ServerId, Zxid, limits};
use crate::peering::{Activation, PacketKind, Revalidated, write_packet};

use super::continuity::Continuity;
use super::ring::{Recent, Ring};
use super::sync::Decision;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnerKind {
    /// Is sent proposals and commits, whether it votes or not.
    Follower,
    /// Learns of what is committed.
    Observer,
}

/// Something for a learner's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    Packet {
        kind: PacketKind,
        zxid: Zxid,
        data: Option<Bytes>,
    },
    /// Bytes of an image's stream, as they are.
    Image(Bytes),
}

/// Type, zxid, length of the data, and the ids that are never there.
const PACKET_BYTES: usize = 20;

impl Outgoing {
    pub fn packet(kind: PacketKind, zxid: Zxid) -> Outgoing {
        Outgoing::Packet { kind, zxid, data: None }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Outgoing::Packet { kind, zxid, data } => {
                write_packet(*kind, *zxid, data.as_deref(), out);
            }
            Outgoing::Image(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The txn that an observer is informed of by it.
    pub(super) fn informs_of(&self) -> Option<Zxid> {
        match self {
            Outgoing::Packet { kind: PacketKind::Inform, zxid, .. } => Some(*zxid),
            _ => None,
        }
    }

    /// That txn holds a configuration, under which `leader` leads from now on.
    pub(super) fn activate(&mut self, leader: ServerId) {
        if let Outgoing::Packet { kind, data, .. } = self {
            *kind = PacketKind::InformAndActivate;
            let record = data.take().unwrap_or_default();
            let mut both = Vec::with_capacity(8 + record.len());
            Activation { leader, record: &record }.write(&mut both);
            *data = Some(Bytes::from(both));
        }
    }

    /// How long it is on the wire.
    pub fn bytes(&self) -> usize {
        match self {
            Outgoing::Packet { data, .. } => PACKET_BYTES + data.as_ref().map_or(0, Bytes::len),
            Outgoing::Image(bytes) => bytes.len(),
        }
    }
}

/// Takes what is to be sent.
pub type Sink<'a> = &'a mut dyn FnMut(Outgoing);

/// The history as learners see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub ring: &'a Ring,
    /// Where the leader's epoch begins.
    pub begin: Zxid,
    /// The last txn that counts as committed.
    pub committed: Zxid,
}

impl View<'_> {
    pub fn proposed(&self) -> Zxid {
        self.ring.last().max(self.begin)
    }
}

/// What a feed cannot go on without. It is asked for once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Records of the log after this one: at least one of them, and about so many bytes.
    Log { after: Zxid, bytes: usize },
    /// An image that may be sent.
    Image,
    /// Bytes of its stream.
    ImageBytes { offset: u64, bytes: usize },
}

/// What the log holds does not lead to where the ring begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    pub after: Zxid,
}

/// What is said to one learner alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    UpToDate,
    Sync,
    Revalidated(Revalidated),
}

/// More waits for a learner than any honest one asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The image is made, or found.
    AwaitImage {
        asked: bool,
    },
    FromImage {
        offset: u64,
        asked: bool,
    },
    /// Up to what was committed when the sync was decided.
    Catching {
        target: Zxid,
    },
    /// All that comes before NEWLEADER has left, and NEWLEADER.
    Live,
}

/// Where what is sent next comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Image,
    Log,
    Ring,
}

#[derive(Debug)]
pub struct Feed {
    kind: LearnerKind,
    stage: Stage,
    /// What is committed already is sent before NEWLEADER.
    target: Zxid,
    /// The last txn that it has or was sent.
    sent: Zxid,
    /// The last one that it knows to be committed.
    told: Zxid,
    /// NEWLEADER of the oldest learners, which expect it first of all.
    greeting: Option<Outgoing>,
    opening: Option<Outgoing>,
    new_leader: Option<Outgoing>,
    is_reading: bool,
    is_ping_due: bool,
    /// Pings since UPTODATE: those are answered.
    pings: Option<u64>,
    /// Each leaves once the learner was told of everything up to its zxid.
    notes: VecDeque<(Zxid, Note)>,
    room: usize,
}

impl Feed {
    /// Syncs of its clients that it is not answered yet.
    pub fn pending_syncs(&self) -> usize {
        self.notes.iter().filter(|(_, note)| *note == Note::Sync).count()
    }

    /// A learner for which something was decided. `text` is that of the configuration; the oldest
    /// learners, which do not know LEADERINFO, are not sent any.
    pub fn new(
        kind: LearnerKind,
        decision: Decision,
        view: &View<'_>,
        text: Option<Bytes>,
        room: usize,
    ) -> Feed {
        let target = view.committed;
        let (stage, at, opening) = match decision {
            Decision::Diff { zxid, after } => {
                (Stage::Catching { target }, after, Some((PacketKind::Diff, zxid)))
            }
            Decision::Trunc { zxid } => {
                (Stage::Catching { target }, zxid, Some((PacketKind::Trunc, zxid)))
            }
            Decision::Snap => (Stage::AwaitImage { asked: false }, Zxid::ZERO, None),
        };
        let is_oldest = text.is_none();
        let new_leader =
            Outgoing::Packet { kind: PacketKind::NewLeader, zxid: view.begin, data: text };
        let (greeting, new_leader) =
            if is_oldest { (Some(new_leader), None) } else { (None, Some(new_leader)) };
        Feed {
            kind,
            stage,
            target,
            sent: at,
            told: at,
            greeting,
            opening: opening.map(|(kind, zxid)| Outgoing::packet(kind, zxid)),
            new_leader,
            is_reading: false,
            is_ping_due: false,
            pings: None,
            notes: VecDeque::new(),
            room,
        }
    }

    /// How many bytes its socket takes from now on.
    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    pub fn room(&self) -> usize {
        self.room
    }

    /// Sends what there is room for; the last of it may be longer than that. Says what is missing
    /// to go on.
    pub fn pump(&mut self, view: &View<'_>, send: Sink<'_>) -> Option<Wish> {
        while self.room > 0 {
            match self.greeting.take().or_else(|| self.opening.take()) {
                Some(outgoing) => self.emit(outgoing, send),
                None => match self.step(view)? {
                    Step::Send(outgoing) => self.emit(outgoing, send),
                    Step::Ask(wish) => return Some(wish),
                },
            }
        }
        None
    }

    /// The image that was asked for is of this zxid.
    pub fn on_image(&mut self, zxid: Zxid) {
        assert!(matches!(self.stage, Stage::AwaitImage { asked: true }), "it was asked for");
        self.stage = Stage::FromImage { offset: 0, asked: false };
        self.opening = Some(Outgoing::packet(PacketKind::Snap, zxid));
        (self.sent, self.told) = (zxid, zxid);
    }

    /// The bytes of the image that were asked for; `is_last`: it ends with them.
    pub fn on_image_bytes(&mut self, bytes: Bytes, is_last: bool, send: Sink<'_>) {
        let Stage::FromImage { offset, asked: true } = self.stage else {
            panic!("bytes of an image were not asked for in {:?}", self.stage);
        };
        let offset = offset + bytes.len() as u64;
        self.stage = Stage::FromImage { offset, asked: false };
        self.emit(Outgoing::Image(bytes), send);
        if is_last {
            self.emit(Outgoing::Image(Bytes::from_static(IMAGE_END)), send);
            self.stage = Stage::Catching { target: self.target };
        }
    }

    /// The records of the log that were asked for; `is_end`: it has no more. They are sent at
    /// once: so many bytes had room when they were asked for.
    pub fn on_log(
        &mut self,
        records: impl IntoIterator<Item = Recent>,
        is_end: bool,
        view: &View<'_>,
        send: Sink<'_>,
    ) -> Result<(), Hole> {
        assert!(self.is_reading, "the log was asked for");
        self.is_reading = false;
        let before = self.sent;
        for record in records {
            while let Some(outgoing) = self.owed(view) {
                self.emit(outgoing, send);
            }
            match Continuity::of(self.sent, record.zxid) {
                // A Java server may have logged a txn twice.
                Continuity::Duplicate | Continuity::Back => {}
                Continuity::Gap => return Err(Hole { after: self.sent }),
                Continuity::Next if self.may_send(record.zxid, view) => {
                    let outgoing = self.advance(&record);
                    self.emit(outgoing, send);
                }
                Continuity::Next => break,
            }
        }
        let wants_more = self.kind == LearnerKind::Follower || self.sent < view.committed;
        let is_stuck = (is_end || self.sent == before) && wants_more;
        match is_stuck && !view.ring.covers(self.sent) {
            true => Err(Hole { after: self.sent }),
            false => Ok(()),
        }
    }

    /// A sign of life is due; at most one waits.
    pub fn ping(&mut self) {
        self.is_ping_due = true;
    }

    /// Says something once it was told of everything up to `after`.
    pub fn say(&mut self, after: Zxid, note: Note) -> Result<(), TooMany> {
        if self.notes.len() >= limits::LEARNER_NOTES {
            return Err(TooMany);
        }
        let later = self.notes.iter().rev().take_while(|(waits_for, _)| *waits_for > after);
        self.notes.insert(self.notes.len() - later.count(), (after, note));
        Ok(())
    }

    /// The last txn that it has or was sent.
    pub fn sent(&self) -> Zxid {
        self.sent
    }

    /// NEWLEADER has left: it may be acknowledged.
    pub fn has_new_leader(&self) -> bool {
        self.greeting.is_none() && self.new_leader.is_none()
    }

    /// How many pings it has to answer, all told.
    pub fn pings(&self) -> u64 {
        self.pings.unwrap_or_default()
    }

    pub fn is_up_to_date(&self) -> bool {
        self.pings.is_some()
    }

    pub fn source(&self, ring: &Ring) -> Source {
        match self.stage {
            Stage::AwaitImage { .. } | Stage::FromImage { .. } => Source::Image,
            Stage::Catching { .. } | Stage::Live if ring.covers(self.sent) => Source::Ring,
            Stage::Catching { .. } | Stage::Live => Source::Log,
        }
    }

    fn emit(&mut self, outgoing: Outgoing, send: Sink<'_>) {
        self.room = self.room.saturating_sub(outgoing.bytes());
        send(outgoing);
    }

    fn step(&mut self, view: &View<'_>) -> Option<Step> {
        let most = self.room.min(limits::LEARNER_PIECE_BYTES);
        match &mut self.stage {
            Stage::AwaitImage { asked } => {
                (!std::mem::replace(asked, true)).then_some(Step::Ask(Wish::Image))
            }
            Stage::FromImage { offset, asked } => {
                let wish = Wish::ImageBytes { offset: *offset, bytes: most };
                (!std::mem::replace(asked, true)).then_some(Step::Ask(wish))
            }
            Stage::Catching { .. } | Stage::Live => match self.owed(view) {
                Some(outgoing) => Some(Step::Send(outgoing)),
                None => self.next_txn(view, most),
            },
        }
    }

    /// What comes before the next txn.
    fn owed(&mut self, view: &View<'_>) -> Option<Outgoing> {
        if let Stage::Catching { target } = self.stage
            && self.told >= target
        {
            self.stage = Stage::Live;
            if let Some(new_leader) = self.new_leader.take() {
                return Some(new_leader);
            }
        }
        let is_live = self.stage == Stage::Live;
        if is_live && std::mem::take(&mut self.is_ping_due) {
            self.pings = self.pings.map(|pings| pings + 1);
            return Some(Outgoing::packet(PacketKind::Ping, view.proposed()));
        }
        let is_due = |(after, _): &(Zxid, Note)| *after <= self.told.max(view.begin);
        if is_live && self.notes.front().is_some_and(is_due) {
            let (_, note) = self.notes.pop_front()?;
            return Some(self.write_note(note));
        }
        if self.told < self.sent.min(view.committed) {
            // Of earlier epochs all is committed, and each was sent alone; in this one the zxids
            // are our own and without a gap.
            let in_epoch = self.sent > view.begin;
            self.told = if in_epoch { self.told.max(view.begin).next() } else { self.sent };
            return Some(Outgoing::packet(PacketKind::Commit, self.told));
        }
        None
    }

    fn next_txn(&mut self, view: &View<'_>, most: usize) -> Option<Step> {
        if self.kind == LearnerKind::Observer && self.sent >= view.committed {
            return None;
        }
        if !view.ring.covers(self.sent) {
            let wish = Wish::Log { after: self.sent, bytes: most };
            return (!std::mem::replace(&mut self.is_reading, true)).then_some(Step::Ask(wish));
        }
        let next = view.ring.next_after(self.sent)?;
        self.may_send(next.zxid, view).then(|| Step::Send(self.advance(next)))
    }

    fn may_send(&self, zxid: Zxid, view: &View<'_>) -> bool {
        match self.kind {
            LearnerKind::Follower => zxid <= view.ring.last(),
            LearnerKind::Observer => zxid <= view.committed,
        }
    }

    fn advance(&mut self, txn: &Recent) -> Outgoing {
        assert!(txn.zxid > self.sent, "a position only advances");
        self.sent = txn.zxid;
        let is_informed = self.kind == LearnerKind::Observer && self.stage == Stage::Live;
        if is_informed {
            self.told = txn.zxid;
        }
        let kind = if is_informed { PacketKind::Inform } else { PacketKind::Proposal };
        Outgoing::Packet { kind, zxid: txn.zxid, data: Some(txn.data.clone()) }
    }

    fn write_note(&mut self, note: Note) -> Outgoing {
        match note {
            Note::UpToDate => {
                self.pings = Some(0);
                Outgoing::packet(PacketKind::UpToDate, Zxid::NONE)
            }
            Note::Sync => Outgoing::packet(PacketKind::Sync, Zxid::ZERO),
            Note::Revalidated(revalidated) => {
                let mut data = Vec::with_capacity(9);
                revalidated.write(&mut data);
                let data = Some(Bytes::from(data));
                Outgoing::Packet { kind: PacketKind::Revalidate, zxid: Zxid::NONE, data }
            }
        }
    }

    /// What must hold between any two inputs.
    pub fn check(&self, view: &View<'_>) {
        if !matches!(self.stage, Stage::AwaitImage { .. }) {
            assert!(self.told <= self.sent, "a commit comes behind its proposal");
            assert!(self.sent <= view.proposed(), "what is sent was proposed");
        }
        assert!(self.pings.is_none() || self.stage == Stage::Live, "NEWLEADER before UPTODATE");
        assert!(self.new_leader.is_none() || self.stage != Stage::Live, "NEWLEADER leaves once");
    }
}

enum Step {
    Send(Outgoing),
    Ask(Wish),
}

/// What ends the stream of an image, as jute writes a string.
const IMAGE_END: &[u8] = b"\0\0\0\x0aBenWasHere";

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
