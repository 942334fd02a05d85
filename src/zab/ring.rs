//! Recent proposals in one ring bounded by bytes: what learners are sent from while they keep up.
//! Behind it is the log.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Zxid, limits};

use super::continuity::Continuity;
use super::segments::Segments;

/// A proposal as PROPOSAL and INFORM carry it: header, txn and digest, encoded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    pub zxid: Zxid,
    pub data: Bytes,
}

/// Where a zxid stands in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The last one known that is not above it; none where what is known begins later.
    pub at_or_before: Option<Zxid>,
    /// The first one above it.
    pub after: Option<Zxid>,
}

/// The end of a history without a gap. Not all of it is committed.
#[derive(Clone, Debug)]
pub struct Ring {
    entries: VecDeque<Recent>,
    /// Where the history had come to before the first entry: whoever is there, or later, is sent
    /// everything from here.
    after: Zxid,
    bytes: usize,
    bound: usize,
    segments: Segments,
}

/// What an entry counts besides its data.
const ENTRY_BYTES: usize = 96;

impl Ring {
    /// Holds what comes after `after`.
    pub fn new(after: Zxid) -> Ring {
        Ring::bounded(after, limits::RING_BYTES)
    }

    pub fn bounded(after: Zxid, bound: usize) -> Ring {
        let segments = Segments::new(bound);
        Ring { entries: VecDeque::new(), after, bytes: 0, bound, segments }
    }

    /// Takes the next proposal. One that does not follow the last is said to, and then what is
    /// held is no longer the end of a history without a gap: it begins anew behind this one.
    pub fn push(&mut self, zxid: Zxid, data: &[u8]) -> Continuity {
        let continuity = Continuity::of(self.last(), zxid);
        match continuity {
            Continuity::Next => {
                self.bytes += ENTRY_BYTES + data.len();
                self.entries.push_back(Recent { zxid, data: self.segments.keep(data) });
            }
            Continuity::Duplicate => {}
            Continuity::Gap | Continuity::Back => self.restart(zxid),
        }
        continuity
    }

    /// Lets the oldest go while there is too much. What is not on this server's disk stays: it
    /// could not be read back.
    pub fn shed(&mut self, durable: Zxid) {
        while self.bytes > self.bound
            && let Some(oldest) = self.entries.front()
            && oldest.zxid <= durable
        {
            self.after = oldest.zxid;
            self.bytes -= ENTRY_BYTES + oldest.data.len();
            self.entries.pop_front();
        }
    }

    /// Whether that was done for what is durable.
    pub fn is_shed(&self, durable: Zxid) -> bool {
        let durable = self.entries.iter().take_while(|entry| entry.zxid <= durable);
        let bytes = || durable.map(|entry| ENTRY_BYTES + entry.data.len()).sum::<usize>();
        self.bytes <= self.bound || bytes() <= self.bound
    }

    /// The history now ends with `zxid`.
    pub fn cut(&mut self, zxid: Zxid) {
        while let Some(newest) = self.entries.back()
            && newest.zxid > zxid
        {
            self.bytes -= ENTRY_BYTES + newest.data.len();
            self.entries.pop_back();
        }
        if self.last() != zxid {
            self.restart(zxid);
        }
    }

    /// The history is another one, of which nothing is held: it has come to `after`.
    pub fn restart(&mut self, after: Zxid) {
        self.entries.clear();
        self.bytes = 0;
        self.after = after;
    }

    /// Where the history has come to.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.after, |newest| newest.zxid)
    }

    /// Where it had come to before what is held.
    pub fn after(&self) -> Zxid {
        self.after
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything after `zxid` is held.
    pub fn covers(&self, zxid: Zxid) -> bool {
        zxid >= self.after
    }

    /// What follows `zxid`, which is covered; none at the end.
    pub fn next_after(&self, zxid: Zxid) -> Option<&Recent> {
        assert!(self.covers(zxid), "what was let go is read from the log");
        self.entries.get(self.index_after(zxid))
    }

    pub fn find(&self, zxid: Zxid) -> Option<&Recent> {
        let before = self.index_after(zxid).checked_sub(1)?;
        self.entries.get(before).filter(|entry| entry.zxid == zxid)
    }

    /// Where a zxid stands, if that is within what is held.
    pub fn place(&self, zxid: Zxid) -> Option<Place> {
        if !self.covers(zxid) {
            return None;
        }
        let index = self.index_after(zxid);
        let before = index.checked_sub(1).and_then(|before| self.entries.get(before));
        let at_or_before = Some(before.map_or(self.after, |entry| entry.zxid));
        Some(Place { at_or_before, after: self.entries.get(index).map(|entry| entry.zxid) })
    }

    /// The first entry above `zxid`. Within the last epoch it is counted, not searched.
    fn index_after(&self, zxid: Zxid) -> usize {
        let last = self.last();
        if zxid >= last {
            return self.entries.len();
        }
        if zxid.epoch() == last.epoch() {
            let behind = (last.counter() - zxid.counter()) as usize;
            let guess = self.entries.len().checked_sub(behind);
            if let Some(index) = guess.filter(|index| self.is_index_after(*index, zxid)) {
                return index;
            }
        }
        self.entries.partition_point(|entry| entry.zxid <= zxid)
    }

    fn is_index_after(&self, index: usize, zxid: Zxid) -> bool {
        let before = index.checked_sub(1).and_then(|before| self.entries.get(before));
        before.is_none_or(|entry| entry.zxid <= zxid)
            && self.entries.get(index).is_none_or(|entry| entry.zxid > zxid)
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        let mut before = self.after;
        for entry in &self.entries {
            let continuity = Continuity::of(before, entry.zxid);
            assert_eq!(continuity, Continuity::Next, "no gap before {:x}", entry.zxid);
            before = entry.zxid;
        }
        let sum: usize = self.entries.iter().map(|entry| ENTRY_BYTES + entry.data.len()).sum();
        assert_eq!(sum, self.bytes, "bytes are counted");
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
