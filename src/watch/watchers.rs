//! The connections that watch: for each a superset of the places where it stands, so that it can
//! be forgotten without a second exact copy of the table.

use slab::Slab;

use crate::base::ConnId;

use super::holders::{Flags, MAX_SLOTS, Slot};

/// Ids of places, some of them stale or twice there; compacted when less than half is live.
#[derive(Debug, Default)]
pub(super) struct Superset {
    ids: Vec<u32>,
    live: u32,
    sorted: bool,
}

impl Superset {
    pub fn live(&self) -> usize {
        self.live as usize
    }

    /// Notes a new place. `holds` says whether the connection stands at one.
    pub fn push(&mut self, id: u32, holds: impl FnMut(u32) -> bool) {
        if self.live == 0 {
            self.ids.clear();
        } else if self.ids.len() >= 2 * self.live() + 16 {
            self.compact(holds);
        }
        if self.ids.len() == self.ids.capacity() {
            // A quarter more rather than twice: this list is most of what a watch costs.
            self.ids.reserve_exact(4 + self.ids.len() / 4);
        }
        self.ids.push(id);
        self.live += 1;
        self.sorted = false;
    }

    /// A place was left; its id stays behind.
    pub fn leave(&mut self) {
        self.live -= 1;
        if self.live == 0 && self.ids.capacity() > 16 {
            self.ids = Vec::new();
        }
    }

    /// Drops what is stale or double, and sorts.
    pub fn compact(&mut self, mut holds: impl FnMut(u32) -> bool) {
        if !self.sorted || self.ids.len() != self.live() {
            self.ids.sort_unstable();
            self.ids.dedup();
            self.ids.retain(|id| holds(*id));
            assert_eq!(self.ids.len(), self.live(), "a superset covers every live place");
            self.sorted = true;
        }
    }

    /// The first id after a compaction that is at least `from`.
    pub fn next_from(&self, from: u32) -> Option<u32> {
        let at = self.ids.partition_point(|id| *id < from);
        self.ids.get(at).copied()
    }

    fn pop(&mut self) -> Option<u32> {
        self.ids.pop()
    }

    pub fn covers(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.ids.capacity() * 4
    }
}

#[derive(Debug)]
pub(super) struct Watcher {
    pub conn: ConnId,
    /// Places at existing nodes, and at names without one.
    pub nodes: Superset,
    pub names: Superset,
    /// Paths of its recursive watches, by number in their own table.
    pub recursive: Vec<u32>,
    /// Places where it stands in the data and in the child table.
    pub data: u32,
    pub child: u32,
    /// Bytes of the names it keeps alive.
    pub name_bytes: usize,
    /// Java goes on counting a connection whose data watches all fired.
    pub listed: bool,
    /// Forgotten; its places are cleared away little by little.
    pub gone: bool,
}

/// Data and child watches, one for each connection and path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub data: u64,
    pub child: u64,
    /// Connections that Java's `wchs` counts.
    pub listed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Watchers {
    slots: Slab<Watcher>,
    /// Slot + 1 by connection index.
    by_index: Vec<u32>,
    pub totals: Totals,
}

/// What kind of place, as far as the connection's side minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Node,
    Name { bytes: usize },
}

impl Watchers {
    pub fn slot(&self, conn: ConnId) -> Option<Slot> {
        let slot = self.by_index.get(conn.index as usize)?.checked_sub(1)?;
        (self.slots[slot as usize].conn == conn).then_some(slot)
    }

    /// The slot of a connection that begins to watch. `None` where no more fit.
    pub fn slot_or_add(&mut self, conn: ConnId) -> Option<Slot> {
        if let Some(slot) = self.slot(conn) {
            return Some(slot);
        }
        if self.slots.vacant_key() >= MAX_SLOTS as usize {
            return None;
        }
        let index = conn.index as usize;
        if index >= self.by_index.len() {
            self.by_index.resize(index + 1, 0);
        }
        assert_eq!(self.by_index[index], 0, "the slot's earlier connection was forgotten");
        let slot = self.slots.insert(Watcher {
            conn,
            nodes: Superset::default(),
            names: Superset::default(),
            recursive: Vec::new(),
            data: 0,
            child: 0,
            name_bytes: 0,
            listed: false,
            gone: false,
        }) as Slot;
        self.by_index[index] = slot + 1;
        Some(slot)
    }

    /// Takes a connection out of every count and look-up. Its places remain to be cleared.
    pub fn retire(&mut self, conn: ConnId) -> Option<Slot> {
        let slot = self.slot(conn)?;
        self.by_index[conn.index as usize] = 0;
        let watcher = &mut self.slots[slot as usize];
        watcher.gone = true;
        self.totals.data -= u64::from(watcher.data);
        self.totals.child -= u64::from(watcher.child);
        self.totals.listed -= u64::from(watcher.listed);
        Some(slot)
    }

    /// The next place of a retired connection to clear: `Ok` a node, `Err` a name.
    pub fn next_place(&mut self, slot: Slot) -> Option<Result<u32, u32>> {
        let watcher = &mut self.slots[slot as usize];
        assert!(watcher.gone, "only a retired connection is cleared away");
        watcher.nodes.pop().map(Ok).or_else(|| watcher.names.pop().map(Err))
    }

    pub fn remove(&mut self, slot: Slot) {
        self.slots.remove(slot as usize);
    }

    pub fn watcher(&self, slot: Slot) -> &Watcher {
        &self.slots[slot as usize]
    }

    pub fn watcher_mut(&mut self, slot: Slot) -> &mut Watcher {
        &mut self.slots[slot as usize]
    }

    pub fn next_from(&self, from: u32) -> Option<Slot> {
        let mut numbers = from as usize..self.slots.capacity();
        numbers.find(|n| self.slots.get(*n).is_some_and(|w| !w.gone)).map(|n| n as Slot)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Watcher)> {
        self.slots.iter().map(|(slot, w)| (slot as Slot, w))
    }

    /// Books that a connection's flags at one place changed. A new place is noted by the caller.
    pub fn book(&mut self, slot: Slot, side: Side, before: Flags, after: Flags) {
        let watcher = &mut self.slots[slot as usize];
        let counted = !watcher.gone;
        let change = |count: &mut u32, total: &mut u64, table: Flags| {
            let (was, is) = (before.any(table), after.any(table));
            if was == is {
                return;
            }
            *count = if is { *count + 1 } else { *count - 1 };
            if counted {
                *total = if is { *total + 1 } else { *total - 1 };
            }
        };
        change(&mut watcher.data, &mut self.totals.data, Flags::DATA);
        change(&mut watcher.child, &mut self.totals.child, Flags::CHILD);
        if after.any(Flags::DATA) && !watcher.listed && counted {
            watcher.listed = true;
            self.totals.listed += 1;
        }
        if after.is_none() && !before.is_none() {
            match side {
                Side::Node => watcher.nodes.leave(),
                Side::Name { bytes } => {
                    watcher.names.leave();
                    watcher.name_bytes -= bytes;
                }
            }
        }
    }

    /// A connection took its last data watch back itself: Java counts it no more.
    pub fn unlist_if_idle(&mut self, slot: Slot) {
        let watcher = &mut self.slots[slot as usize];
        if watcher.listed && watcher.data == 0 {
            watcher.listed = false;
            self.totals.listed -= 1;
        }
    }
}
