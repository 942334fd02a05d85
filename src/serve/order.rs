//! The order of one connection's requests: replies leave in the order requests came, a read waits
//! for the writes before it, a write does not wait for reads.

use std::collections::VecDeque;

use crate::base::{Instant, Xid};
use crate::proto::{CatchUp, ErrorCode};

use super::Count;

/// A request that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Its txn is under way, or waits to be prepared.
    Write { xid: Xid, op: i32, received: Instant },
    /// Evaluated when it reaches the front. The whole frame, header included.
    Read { frame: Box<[u8]>, received: Instant },
    /// Writes that its session sent over an earlier connection are under way.
    Earlier { received: Instant },
    /// A read that takes more than a turn: goes on from where it came to. The whole frame.
    Begun { frame: Box<[u8]>, cursor: Cursor, received: Instant },
    /// Already decided; told when it reaches the front.
    Refused { xid: Xid, op: i32, err: ErrorCode, received: Instant },
}

impl Slot {
    pub fn received(&self) -> Instant {
        match self {
            Slot::Write { received, .. }
            | Slot::Read { received, .. }
            | Slot::Earlier { received }
            | Slot::Begun { received, .. }
            | Slot::Refused { received, .. } => *received,
        }
    }
}

/// Where a read has come to that takes more than a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In a setWatches of many paths.
    CatchUp(CatchUp),
    /// Among the nodes below one.
    Count(Count),
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub struct Order {
    slots: VecDeque<Slot>,
    /// Frames of the last writes among the slots, which wait for `prepare`.
    unprepared: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Slots that have left since the beginning.
    answered: u64,
    /// Which slots are large, by their number since the beginning, and how large.
    large: VecDeque<(u64, usize)>,
}

impl Order {
    /// Nothing waits: a read may be answered from where it lies.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Slots that were ever queued.
    pub fn queued(&self) -> u64 {
        self.answered + self.slots.len() as u64
    }

    /// Marks what was queued last as large: false where nothing was since `queued_before`, or it
    /// has left already.
    pub fn mark_large(&mut self, queued_before: u64, bytes: usize) -> bool {
        let waits = self.queued() > queued_before && !self.slots.is_empty();
        if waits {
            self.large.push_back((self.queued(), bytes));
        }
        waits
    }

    /// Bytes of the large slots.
    pub fn large_bytes(&self) -> usize {
        self.large.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of large slots that have left, told once.
    pub fn take_released(&mut self) -> usize {
        let mut released = 0;
        while let Some((number, bytes)) = self.large.front().copied()
            && number <= self.answered
        {
            released += bytes;
            self.large.pop_front();
        }
        released
    }

    /// Bytes of frames held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the writes that wait for `prepare`.
    pub fn unprepared_bytes(&self) -> usize {
        self.unprepared.iter().map(|frame| frame.len()).sum()
    }

    /// Writes wait for `prepare`: later ones must queue behind them.
    pub fn has_unprepared(&self) -> bool {
        !self.unprepared.is_empty()
    }

    /// A write that goes to `prepare` at once.
    pub fn push_write(&mut self, xid: Xid, op: i32, received: Instant) {
        assert!(self.unprepared.is_empty(), "writes are prepared in order");
        self.slots.push_back(Slot::Write { xid, op, received });
    }

    /// A write that waits for `prepare`; returns the bytes now held for it.
    pub fn push_unprepared(&mut self, xid: Xid, op: i32, frame: &[u8], received: Instant) -> usize {
        self.slots.push_back(Slot::Write { xid, op, received });
        self.unprepared.push_back(frame.into());
        self.bytes += frame.len();
        frame.len()
    }

    /// The first write that waits for `prepare`, to be prepared now.
    pub fn take_unprepared(&mut self) -> Option<Box<[u8]>> {
        let frame = self.unprepared.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// The write that was taken last needs no commit after all.
    pub fn take_as_read(&mut self, frame: Box<[u8]>) {
        let is_write = |slot: &&mut Slot| matches!(slot, Slot::Write { .. });
        let slot = self.slots.iter_mut().rev().filter(is_write).nth(self.unprepared.len());
        let slot = slot.expect("a write that was taken has its slot");
        self.bytes += frame.len();
        *slot = Slot::Read { frame, received: slot.received() };
    }

    pub fn push_read(&mut self, frame: &[u8], received: Instant) {
        self.bytes += frame.len();
        self.slots.push_back(Slot::Read { frame: frame.into(), received });
    }

    pub fn push_refused(&mut self, xid: Xid, op: i32, err: ErrorCode, received: Instant) {
        self.slots.push_back(Slot::Refused { xid, op, err, received });
    }

    /// Whether this write, or what takes its turn like one, is the front.
    pub fn awaits(&self, xid: Xid) -> bool {
        matches!(self.slots.front(), Some(Slot::Write { xid: front, .. }) if *front == xid)
    }

    /// The write at the front is decided: its slot leaves.
    pub fn complete_write(&mut self, xid: Xid) -> Instant {
        self.answered += 1;
        match self.slots.pop_front() {
            Some(Slot::Write { xid: front, received, .. }) => {
                assert_eq!(front, xid, "writes complete in the order they came");
                received
            }
            other => panic!("a write completes at the front, found {other:?}"),
        }
    }

    /// The front, if it needs nothing but an answer.
    pub fn next_ready(&mut self) -> Option<Slot> {
        match self.slots.front()? {
            Slot::Write { .. } | Slot::Earlier { .. } => return None,
            Slot::Read { frame, .. } | Slot::Begun { frame, .. } => self.bytes -= frame.len(),
            Slot::Refused { .. } => {}
        }
        self.answered += 1;
        self.slots.pop_front()
    }

    /// Before anything else: what came over an earlier connection comes first.
    pub fn push_earlier(&mut self, received: Instant) {
        assert!(self.slots.is_empty(), "nothing was asked yet");
        self.slots.push_back(Slot::Earlier { received });
    }

    pub fn pass_earlier(&mut self) {
        let front = self.slots.pop_front();
        assert!(matches!(front, Some(Slot::Earlier { .. })), "nothing passes it, not {front:?}");
        self.answered += 1;
    }

    /// Some of its writes are prepared and not answered.
    pub fn has_writes_under_way(&self) -> bool {
        let writes = self.slots.iter().filter(|slot| matches!(slot, Slot::Write { .. })).count();
        writes > self.unprepared.len()
    }

    /// The front that was taken is not done: it stays the front.
    pub fn put_back(&mut self, frame: Box<[u8]>, cursor: Cursor, received: Instant) {
        self.answered -= 1;
        self.bytes += frame.len();
        self.slots.push_front(Slot::Begun { frame, cursor, received });
    }

    /// The front could be answered now.
    pub fn is_ready(&self) -> bool {
        let waits = |front: &Slot| matches!(front, Slot::Write { .. } | Slot::Earlier { .. });
        self.slots.front().is_some_and(|front| !waits(front))
    }

    /// When the oldest request came, for the ping rule.
    pub fn oldest(&self) -> Option<Instant> {
        self.slots.front().map(Slot::received)
    }
}
