//! What a turn may not write any more, since it has written to enough connections: it leaves in
//! the next turns, in the order in which it came.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::Instant;
use crate::base::limits::LATE_BYTES;

use super::backlog::Pool;
use super::links::Link;
use super::memory::Need;
use super::sends::{Segment, Sends, Sent};

/// Kept as a turn's bytes are, in one arena with a chain of ranges for each connection: ten
/// thousand that wait for the same notification take no memory each.
#[derive(Debug, Default)]
pub struct Late {
    arena: Vec<u8>,
    need: Need,
    sends: Sends,
    waiting: VecDeque<u32>,
    /// What was copied last: the turn's range and ours.
    copied: Option<[Range<u32>; 2]>,
}

impl Late {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The ranges that come from now on are of another arena.
    pub fn begin(&mut self) {
        self.copied = None;
    }

    /// Puts a turn's chain for a connection behind what already waits for it. False, and nothing
    /// is done, where that would be too much.
    pub fn take(&mut self, link: &mut Link, sends: &Sends, arena: &[u8]) -> bool {
        let bytes: usize = sends.ranges(link.sends).map(|range| range.len()).sum();
        let segments = self.sends.segments() + sends.ranges(link.sends).count();
        if self.arena.len() + bytes + segments * size_of::<Segment>() > LATE_BYTES {
            return false;
        }
        if link.late.is_none() {
            self.waiting.push_back(link.id.index);
        }
        for range in sends.ranges(link.sends.take()) {
            let ours = self.copy(range, arena);
            self.sends.chain_on(&mut link.late, ours);
        }
        true
    }

    fn copy(&mut self, range: Range<u32>, arena: &[u8]) -> Range<u32> {
        match &self.copied {
            Some([theirs, ours]) if *theirs == range => ours.clone(),
            _ => {
                let from = self.arena.len() as u32;
                self.arena.extend_from_slice(&arena[range.start as usize..range.end as usize]);
                let ours = from..self.arena.len() as u32;
                self.copied = Some([range, ours.clone()]);
                ours
            }
        }
    }

    /// The connection whose turn it is.
    pub fn next(&mut self) -> Option<u32> {
        let next = self.waiting.pop_front();
        if next.is_none() && self.sends.segments() > 0 {
            self.need.note(self.arena.len());
            self.arena.clear();
            self.sends.clear();
        }
        next
    }

    /// Lets go of the room that nothing took lately.
    pub fn keep_what_is_needed(&mut self) {
        self.arena.shrink_to(self.need.take());
    }

    /// Offers what waits for a connection to the kernel; the rest goes to its backlog.
    pub fn write(&self, link: &mut Link, pool: &mut Pool, now: Instant) -> Sent {
        let late = link.late.take();
        self.sends.write(link, late, pool, &self.arena, now)
    }

    /// Puts what waits for a connection into its backlog.
    pub fn keep(&self, link: &mut Link, pool: &mut Pool) {
        if let Some((first, _)) = link.late.take() {
            self.sends.keep(link, pool, &self.arena, first, 0);
        }
    }
}
