//! Deadlines in buckets of one tick, as Java's expiry queue keeps them: a session is in exactly
//! one bucket, a sign of life within the same tick changes nothing, and a bucket whose last
//! session left it stays until its time.

use slab::Slab;
use std::collections::BTreeMap;

use super::Session;

const NOBODY: u32 = u32::MAX;

/// A session's place in its bucket's list.
#[derive(Debug)]
pub(super) struct Links {
    deadline: u64,
    before: u32,
    after: u32,
    linked: bool,
}

impl Default for Links {
    fn default() -> Links {
        Links { deadline: 0, before: NOBODY, after: NOBODY, linked: false }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    first: u32,
    last: u32,
}

#[derive(Debug)]
pub(super) struct Buckets {
    tick_ms: u64,
    by_deadline: BTreeMap<u64, Bucket>,
    /// The earliest bucket that may still come.
    next_ms: u64,
}

impl Buckets {
    pub fn new(tick_ms: u64, now_ms: u64) -> Buckets {
        assert!(tick_ms > 0, "a tick takes time");
        let mut buckets = Buckets { tick_ms, by_deadline: BTreeMap::new(), next_ms: 0 };
        buckets.next_ms = buckets.round_up(now_ms);
        buckets
    }

    /// The first tick after `ms`.
    pub fn round_up(&self, ms: u64) -> u64 {
        (ms / self.tick_ms + 1) * self.tick_ms
    }

    /// Moves a session to the bucket of `deadline`.
    pub fn place(&mut self, slots: &mut Slab<Session>, slot: u32, deadline: u64) {
        // Buckets before `next_ms` are over and will not be looked at again.
        let deadline = deadline.max(self.next_ms);
        let links = &slots[slot as usize].links;
        if links.linked && links.deadline == deadline {
            return;
        }
        self.unlink(slots, slot);
        let bucket =
            self.by_deadline.entry(deadline).or_insert(Bucket { first: NOBODY, last: NOBODY });
        let before = bucket.last;
        bucket.last = slot;
        if before == NOBODY {
            bucket.first = slot;
        } else {
            slots[before as usize].links.after = slot;
        }
        slots[slot as usize].links = Links { deadline, before, after: NOBODY, linked: true };
    }

    /// Takes a session out of its bucket, if it is in one.
    pub fn unlink(&mut self, slots: &mut Slab<Session>, slot: u32) {
        let links = &mut slots[slot as usize].links;
        if !links.linked {
            return;
        }
        links.linked = false;
        let (deadline, before, after) = (links.deadline, links.before, links.after);
        let bucket = self.by_deadline.get_mut(&deadline).expect("a linked session has a bucket");
        if before == NOBODY {
            bucket.first = after;
        } else {
            slots[before as usize].links.after = after;
        }
        if after == NOBODY {
            bucket.last = before;
        } else {
            slots[after as usize].links.before = before;
        }
    }

    /// Nobody is in any of them.
    pub fn clear(&mut self) {
        assert!(self.first_deadline().is_none(), "sessions leave before their buckets do");
        self.by_deadline.clear();
    }

    /// The next session of a bucket that is over.
    pub fn pop_due(&mut self, slots: &mut Slab<Session>, now_ms: u64) -> Option<u32> {
        while let Some(entry) = self.by_deadline.first_entry()
            && *entry.key() <= now_ms
        {
            let slot = entry.get().first;
            if slot != NOBODY {
                self.unlink(slots, slot);
                return Some(slot);
            }
            let deadline = entry.remove_entry().0;
            self.next_ms = self.next_ms.max(deadline + self.tick_ms);
        }
        // Nothing due is left; what comes next lies after now.
        self.next_ms = self.next_ms.max(self.round_up(now_ms));
        None
    }

    pub fn first_deadline(&self) -> Option<u64> {
        self.by_deadline.iter().find(|(_, b)| b.first != NOBODY).map(|(d, _)| *d)
    }

    /// Deadline and first member of each bucket that Java would still list.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let listed = move |(d, b): &(&u64, &Bucket)| **d > now_ms || b.first != NOBODY;
        self.by_deadline.iter().filter(listed).map(|(d, b)| (*d, b.first))
    }

    /// The slots of the bucket that begins with `first`.
    pub fn members<'a>(
        &self,
        slots: &'a Slab<Session>,
        first: u32,
    ) -> impl Iterator<Item = usize> + 'a {
        let some = |slot: u32| (slot != NOBODY).then_some(slot as usize);
        std::iter::successors(some(first), move |slot| some(slots[*slot].links.after))
    }

    pub fn check_invariants(&self, slots: &Slab<Session>) {
        let mut linked = 0;
        for (deadline, bucket) in &self.by_deadline {
            assert_eq!(deadline % self.tick_ms, 0, "buckets lie a tick apart");
            let mut last = NOBODY;
            for slot in self.members(slots, bucket.first) {
                let links = &slots[slot].links;
                assert!(links.linked && links.deadline == *deadline, "a member knows its bucket");
                assert_eq!(links.before, last, "the list reads the same from both ends");
                last = slot as u32;
                linked += 1;
            }
            assert_eq!(bucket.last, last, "a bucket knows its last member");
        }
        let expected = slots.iter().filter(|(_, s)| s.links.linked).count();
        assert_eq!(linked, expected, "every linked session is in a bucket");
    }
}
