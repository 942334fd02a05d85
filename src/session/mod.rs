//! Who is alive: session ids and passwords, expiry in buckets of one tick, closing marks, owners.
//!
//! Decides when a session has been silent for too long and who may speak for it. Never closes
//! one: the caller turns what has expired into a closeSession transaction.

mod expiry;
mod identity;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::BuildHasher;

use crate::base::{ConnId, Instant, ServerId, SessionId};
use crate::proto::ErrorCode;

use expiry::{Buckets, Links};
pub use identity::{PASSWORD_BYTES, check_password, first_id, password};

/// Through whom a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// Any client connection of this server: a session that comes back over another connection
    /// of the same server has not moved.
    Here,
    /// The link of a learner.
    Learner(ConnId),
}

/// What is known of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    pub timeout_ms: i32,
    pub closing: bool,
    pub owner: Option<Owner>,
}

#[derive(Debug)]
struct Session {
    id: SessionId,
    timeout_ms: i32,
    closing: bool,
    owner: Option<Owner>,
    links: Links,
}

/// Every session this server tracks, with its deadline.
#[derive(Debug)]
pub struct Sessions {
    slots: Slab<Session>,
    /// Slots by session id.
    table: HashTable<u32>,
    hasher: FixedState,
    buckets: Buckets,
    next_id: i64,
    /// Time that did not count against clients: the sessions' own clock runs this much late.
    forgiven_ns: u64,
}

impl Sessions {
    pub fn new(tick_ms: u64, server_id: ServerId, now: Instant) -> Sessions {
        let first = first_id(server_id, now);
        Sessions {
            slots: Slab::new(),
            table: HashTable::new(),
            // Ids come from this house's own servers, so no client can choose them to collide.
            hasher: FixedState::with_seed(first.0 as u64),
            buckets: Buckets::new(tick_ms, now.as_ms()),
            next_id: first.0,
            forgiven_ns: 0,
        }
    }

    /// A fresh id. Ids restart with the monotonic clock, so one that a session of an earlier boot
    /// still holds is passed over.
    pub fn next_id(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if id != SessionId::NONE && self.slot(id).is_none() {
                return id;
            }
        }
    }

    /// Begins to watch over a session, or gives a known one a fresh deadline. True if it is new.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, now: Instant) -> bool {
        let known = self.slot(id);
        let slot = known.unwrap_or_else(|| self.insert(id, timeout_ms));
        let deadline = self.deadline(timeout_ms, now);
        self.buckets.place(&mut self.slots, slot, deadline);
        known.is_none()
    }

    /// A sign of life with the session's own timeout. False if it is unknown or closing.
    pub fn touch(&mut self, id: SessionId, now: Instant) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        let timeout_ms = self.slots[slot as usize].timeout_ms;
        self.touch_slot(slot, timeout_ms, now)
    }

    /// A sign of life with the timeout that its server negotiated.
    pub fn touch_for(&mut self, id: SessionId, timeout_ms: i32, now: Instant) -> bool {
        match self.slot(id) {
            Some(slot) => self.touch_slot(slot, timeout_ms, now),
            None => false,
        }
    }

    /// From now on the session's requests are refused: its end is on its way.
    pub fn set_closing(&mut self, id: SessionId) {
        if let Some(slot) = self.slot(id) {
            self.slots[slot as usize].closing = true;
        }
    }

    /// The session is closed.
    pub fn forget(&mut self, id: SessionId) {
        let hash = self.hasher.hash_one(id.0);
        let slots = &self.slots;
        if let Ok(entry) = self.table.find_entry(hash, |s| slots[*s as usize].id == id) {
            let (slot, _) = entry.remove();
            self.buckets.unlink(&mut self.slots, slot);
            self.slots.remove(slot as usize);
        }
    }

    /// Nobody is watched over any more; ids go on where they are.
    pub fn clear(&mut self) {
        let ids: Vec<SessionId> = self.ids().collect();
        ids.into_iter().for_each(|id| self.forget(id));
        self.buckets.clear();
    }

    /// Whether `owner` may speak for the session; the first to ask becomes its owner.
    pub fn check(&mut self, id: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        let slot = self.slot(id).ok_or(ErrorCode::SessionExpired)?;
        let session = &mut self.slots[slot as usize];
        if session.closing {
            return Err(ErrorCode::SessionExpired);
        }
        match session.owner {
            None => session.owner = Some(owner),
            Some(other) if other != owner => return Err(ErrorCode::SessionMoved),
            Some(_) => {}
        }
        Ok(())
    }

    /// The session was established anew through `owner`.
    pub fn set_owner(&mut self, id: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        let slot = self.slot(id).ok_or(ErrorCode::SessionExpired)?;
        let session = &mut self.slots[slot as usize];
        if session.closing {
            return Err(ErrorCode::SessionExpired);
        }
        session.owner = Some(owner);
        Ok(())
    }

    /// Appends at most `max` sessions whose bucket is over and marks them closing. The rest of
    /// the bucket comes with the next calls; who is heard of before that is spared.
    pub fn expired(&mut self, now: Instant, max: usize, out: &mut Vec<SessionId>) {
        let now_ms = self.clock_ms(now);
        for _ in 0..max {
            let Some(slot) = self.buckets.pop_due(&mut self.slots, now_ms) else { break };
            let session = &mut self.slots[slot as usize];
            session.closing = true;
            out.push(session.id);
        }
    }

    /// When `expired` has something to say next.
    pub fn next_expiry(&self) -> Option<Instant> {
        let ms = self.buckets.first_deadline()?;
        Some(Instant(0).plus_ms(ms).plus_ns(self.forgiven_ns))
    }

    /// A stall of ours does not count against clients: every deadline moves by its length.
    pub fn forgive(&mut self, stall_ns: u64) {
        self.forgiven_ns = self.forgiven_ns.saturating_add(stall_ns);
    }

    pub fn view(&self, id: SessionId) -> Option<SessionView> {
        let s = &self.slots[self.slot(id)? as usize];
        Some(SessionView { timeout_ms: s.timeout_ms, closing: s.closing, owner: s.owner })
    }

    pub fn owner(&self, id: SessionId) -> Option<Owner> {
        self.view(id)?.owner
    }

    pub fn is_tracked(&self, id: SessionId) -> bool {
        self.slot(id).is_some()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.slots.iter().map(|(_, s)| s.id)
    }

    /// The buckets for `dump`, ascending: milliseconds from `now` until each is over (negative
    /// if it is due) and its sessions. Emptied buckets stay until their time, as in Java.
    pub fn expiry_listing(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (i64, impl Iterator<Item = SessionId> + '_)> + '_ {
        let now_ms = self.clock_ms(now);
        self.buckets.iter(now_ms).map(move |(deadline, first)| {
            let members = self.buckets.members(&self.slots, first);
            (deadline as i64 - now_ms as i64, members.map(|slot| self.slots[slot].id))
        })
    }

    /// What must hold between calls.
    pub fn check_invariants(&self) {
        assert_eq!(self.table.len(), self.slots.len(), "one table entry a session");
        self.buckets.check_invariants(&self.slots);
    }

    fn insert(&mut self, id: SessionId, timeout_ms: i32) -> u32 {
        let slot = self.slots.insert(Session {
            id,
            timeout_ms,
            closing: false,
            owner: None,
            links: Links::default(),
        }) as u32;
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.table.insert_unique(hasher.hash_one(id.0), slot, |s| {
            hasher.hash_one(slots[*s as usize].id.0)
        });
        slot
    }

    fn touch_slot(&mut self, slot: u32, timeout_ms: i32, now: Instant) -> bool {
        if self.slots[slot as usize].closing {
            return false;
        }
        let deadline = self.deadline(timeout_ms, now);
        self.buckets.place(&mut self.slots, slot, deadline);
        true
    }

    fn slot(&self, id: SessionId) -> Option<u32> {
        let hash = self.hasher.hash_one(id.0);
        self.table.find(hash, |s| self.slots[*s as usize].id == id).copied()
    }

    /// The sessions' own clock, which stands still during forgiven stalls.
    fn clock_ms(&self, now: Instant) -> u64 {
        now.0.saturating_sub(self.forgiven_ns) / 1_000_000
    }

    fn deadline(&self, timeout_ms: i32, now: Instant) -> u64 {
        self.buckets.round_up(self.clock_ms(now) + timeout_ms.max(0) as u64)
    }
}

#[cfg(test)]
mod tests;
