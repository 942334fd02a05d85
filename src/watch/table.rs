//! The exact table: who watches what, and who is told when something happens there. Knows places
//! by number only; what is a node and what a bare name is decided by the room's door, `mod.rs`.

use crate::base::ConnId;
use crate::base::limits::{WATCH_NAME_BYTES_PER_CONN, WATCHES_PER_CONN};

use super::holders::{Crowds, Flags, Holders, Slot};
use super::places::{NamePlaces, NodePlaces, ancestors};
use super::watchers::{Side, Watchers};

/// One place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(u32),
    Name(u32),
}

/// A connection holds as many watches as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimit;

#[derive(Debug)]
pub(super) struct Table {
    pub nodes: NodePlaces,
    pub names: NamePlaces,
    /// Paths of recursive watches, whether their node exists or not: found from any descendant.
    pub recursive: NamePlaces,
    pub crowds: Crowds,
    pub watchers: Watchers,
    /// Places with somebody in the data table.
    pub data_places: u64,
    retired: Vec<Slot>,
    told: Vec<Slot>,
    told_too: Vec<Slot>,
}

impl Table {
    pub fn new(seed: u64) -> Table {
        Table {
            nodes: NodePlaces::default(),
            names: NamePlaces::new(seed),
            recursive: NamePlaces::new(seed.rotate_left(17)),
            crowds: Crowds::new(seed),
            watchers: Watchers::default(),
            data_places: 0,
            retired: Vec::new(),
            told: Vec::new(),
            told_too: Vec::new(),
        }
    }

    /// Adds flags of `conn` at a node (`Ok`) or at a name without one.
    pub fn add(
        &mut self,
        conn: ConnId,
        node: Option<u32>,
        path: &str,
        flags: Flags,
    ) -> Result<(), WatchLimit> {
        let slot = self.watchers.slot_or_add(conn).ok_or(WatchLimit)?;
        let place = match node {
            Some(id) => Place::Node(id),
            None => match self.names.find(path) {
                Some(name) => Place::Name(name),
                None => {
                    self.room_for(slot, path.len())?;
                    Place::Name(self.names.find_or_add(path))
                }
            },
        };
        let before = self.crowds.flags(self.holders(place), slot);
        let after = before.with(flags);
        if before == after {
            return Ok(());
        }
        if before.is_none() {
            let bytes = if node.is_some() { 0 } else { path.len() };
            self.room_for(slot, bytes)?;
        }
        self.change(place, slot, after);
        if flags.any(Flags::RECURSIVE) && !before.any(Flags::RECURSIVE) {
            self.add_recursive(slot, path);
        }
        Ok(())
    }

    pub fn flags(&self, conn: ConnId, node: Option<u32>, path: &str) -> Flags {
        let Some(slot) = self.watchers.slot(conn) else { return Flags::NONE };
        match self.place(node, path) {
            Some(place) => self.crowds.flags(self.holders(place), slot),
            None => Flags::NONE,
        }
    }

    /// Takes flags away at the connection's own wish. False if it had none of them.
    pub fn remove(&mut self, conn: ConnId, node: Option<u32>, path: &str, flags: Flags) -> bool {
        let Some(slot) = self.watchers.slot(conn) else { return false };
        let Some(place) = self.place(node, path) else { return false };
        let before = self.crowds.flags(self.holders(place), slot);
        if !before.any(flags) {
            return false;
        }
        let after = before.without(flags);
        self.change(place, slot, after);
        if before.and(flags).any(Flags::RECURSIVE) {
            self.drop_recursive(slot, path);
        }
        if before.any(Flags::DATA) && !after.any(Flags::DATA) {
            self.watchers.unlist_if_idle(slot);
        }
        true
    }

    /// A connection is gone. Nothing is delivered to it from here on; its places are cleared by
    /// `sweep`, since they may be millions.
    pub fn forget(&mut self, conn: ConnId) {
        if let Some(slot) = self.watchers.retire(conn) {
            self.retired.push(slot);
        }
    }

    /// Clears up to `budget` places of connections that are gone. True if some remain.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while let Some(slot) = self.retired.last().copied() {
            while let Some(found) = self.watchers.next_place(slot) {
                let place = found.map_or_else(Place::Name, Place::Node);
                if !self.crowds.flags(self.holders(place), slot).is_none() {
                    self.change(place, slot, Flags::NONE);
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return true;
                }
            }
            let recursive = std::mem::take(&mut self.watchers.watcher_mut(slot).recursive);
            for path in recursive {
                self.put_recursive(path, slot, Flags::NONE);
            }
            self.watchers.remove(slot);
            self.retired.pop();
        }
        false
    }

    /// A node appeared: who watched its path is told, and watches it from now on.
    pub fn created(&mut self, id: u32, path: &str, tell: &mut dyn FnMut(ConnId)) -> usize {
        let place = self.names.find(path).map(Place::Name);
        let told = self.trigger_data(place, path, tell);
        // Telling may have taken the last holder of that name away.
        if let Some(name) = self.names.find(path) {
            self.relocate(Place::Name(name), Place::Node(id), path.len());
        }
        told
    }

    /// A node went: data watchers are told, then child watchers who were not. What persists
    /// watches the bare path from now on. Gives the numbers in both tables.
    pub fn deleted(&mut self, id: u32, path: &str, tell: &mut dyn FnMut(ConnId)) -> (usize, usize) {
        if self.is_unwatched(id) && self.recursive.is_empty() {
            return (0, 0);
        }
        let place = Some(Place::Node(id));
        let data = self.trigger_data(place, path, tell);
        let mut told_too = std::mem::take(&mut self.told_too);
        self.take(place, Flags::CHILD, &mut told_too);
        let child = told_too.len();
        told_too.retain(|slot| self.told.binary_search(slot).is_err());
        self.tell(&told_too, tell);
        self.told_too = told_too;
        if !self.nodes.holders(id).is_nobody() {
            let name = self.names.find_or_add(path);
            self.relocate(Place::Node(id), Place::Name(name), path.len());
        }
        (data, child)
    }

    /// Nobody stands at the node itself.
    pub fn is_unwatched(&self, id: u32) -> bool {
        self.nodes.holders(id).is_nobody()
    }

    pub fn data_changed(&mut self, id: u32, path: &str, tell: &mut dyn FnMut(ConnId)) -> usize {
        self.trigger_data(Some(Place::Node(id)), path, tell)
    }

    pub fn children_changed(&mut self, parent: u32, tell: &mut dyn FnMut(ConnId)) -> usize {
        let mut told = std::mem::take(&mut self.told);
        self.take(Some(Place::Node(parent)), Flags::CHILD, &mut told);
        self.tell(&told, tell);
        self.told = told;
        self.told.len()
    }

    /// Data watchers of the place and recursive ones above it, each told once.
    fn trigger_data(
        &mut self,
        place: Option<Place>,
        path: &str,
        tell: &mut dyn FnMut(ConnId),
    ) -> usize {
        let mut told = std::mem::take(&mut self.told);
        self.take(place, Flags::DATA, &mut told);
        if !self.recursive.is_empty() {
            for above in ancestors(path).skip(1) {
                let Some(name) = self.recursive.find(above) else { continue };
                self.crowds.for_each(self.recursive.holders(name), |slot, _| told.push(slot));
            }
            told.sort_unstable();
            told.dedup();
            let watchers = &self.watchers;
            told.retain(|slot| !watchers.watcher(*slot).gone);
        }
        self.tell(&told, tell);
        self.told = told;
        self.told.len()
    }

    /// Fills `told` with who stands in `table` at the place, ascending, and takes the one-shot
    /// watches away.
    fn take(&mut self, place: Option<Place>, table: Flags, told: &mut Vec<Slot>) {
        told.clear();
        let Some(place) = place else { return };
        let mut holders = self.holders(place);
        if holders.is_nobody() {
            return;
        }
        let side = self.side(place);
        let (had, watchers) = (self.crowds.has_data(holders), &mut self.watchers);
        let mut changed = false;
        self.crowds.take_once(&mut holders, table, |slot, before, after| {
            if !watchers.watcher(slot).gone {
                told.push(slot);
            }
            if before != after {
                changed = true;
                watchers.book(slot, side, before, after);
            }
        });
        told.sort_unstable();
        if changed {
            self.store(place, holders, had);
        }
    }

    fn tell(&self, told: &[Slot], tell: &mut dyn FnMut(ConnId)) {
        told.iter().for_each(|slot| tell(self.watchers.watcher(*slot).conn));
    }

    /// Moves all who watch from one place to another, where nobody stands.
    fn relocate(&mut self, from: Place, to: Place, name_bytes: usize) {
        let holders = self.holders(from);
        assert!(self.holders(to).is_nobody(), "a path's watches stand in one place");
        let mut slots = std::mem::take(&mut self.told_too);
        slots.clear();
        self.crowds.for_each(holders, |slot, _| slots.push(slot));
        slots.iter().for_each(|slot| self.note(to, *slot));
        self.put_holders(to, holders);
        self.put_holders(from, Holders::NOBODY);
        for slot in &slots {
            let watcher = self.watchers.watcher_mut(*slot);
            match to {
                Place::Node(_) => {
                    watcher.names.leave();
                    watcher.name_bytes -= name_bytes;
                }
                Place::Name(_) => {
                    watcher.nodes.leave();
                    watcher.name_bytes += name_bytes;
                }
            }
        }
        self.told_too = slots;
    }

    /// The one place where a connection's flags are set.
    fn change(&mut self, place: Place, slot: Slot, after: Flags) {
        let mut holders = self.holders(place);
        let had = self.crowds.has_data(holders);
        let before = self.crowds.flags(holders, slot);
        let side = self.side(place);
        if before.is_none() && !after.is_none() {
            self.note(place, slot);
            if let Side::Name { bytes } = side {
                self.watchers.watcher_mut(slot).name_bytes += bytes;
            }
        }
        self.crowds.put(&mut holders, slot, after);
        self.watchers.book(slot, side, before, after);
        self.store(place, holders, had);
    }

    /// Sorts a connection's side and frees it of stale ids.
    pub fn compact(&mut self, slot: Slot) {
        let (nodes, names, crowds) = (&self.nodes, &self.names, &self.crowds);
        let watcher = self.watchers.watcher_mut(slot);
        let stands = |holders| !crowds.flags(holders, slot).is_none();
        watcher.nodes.compact(|id| stands(nodes.holders(id)));
        watcher.names.compact(|name| stands(names.holders(name)));
    }

    /// Notes a new place on the connection's side, before it stands there: an id that was
    /// reused may still lie among the stale ones.
    fn note(&mut self, place: Place, slot: Slot) {
        let (nodes, names, crowds) = (&self.nodes, &self.names, &self.crowds);
        let watcher = self.watchers.watcher_mut(slot);
        let stands = |holders| !crowds.flags(holders, slot).is_none();
        match place {
            Place::Node(id) => watcher.nodes.push(id, |id| stands(nodes.holders(id))),
            Place::Name(name) => watcher.names.push(name, |name| stands(names.holders(name))),
        }
    }

    fn store(&mut self, place: Place, holders: Holders, had_data: bool) {
        let has_data = self.crowds.has_data(holders);
        self.data_places += u64::from(has_data);
        self.data_places -= u64::from(had_data);
        self.put_holders(place, holders);
    }

    fn put_holders(&mut self, place: Place, holders: Holders) {
        match place {
            Place::Node(id) => self.nodes.set(id, holders),
            Place::Name(name) => self.names.set(name, holders),
        }
    }

    fn holders(&self, place: Place) -> Holders {
        match place {
            Place::Node(id) => self.nodes.holders(id),
            Place::Name(name) => self.names.holders(name),
        }
    }

    fn place(&self, node: Option<u32>, path: &str) -> Option<Place> {
        match node {
            Some(id) => Some(Place::Node(id)),
            None => self.names.find(path).map(Place::Name),
        }
    }

    fn side(&self, place: Place) -> Side {
        match place {
            Place::Node(_) => Side::Node,
            Place::Name(name) => Side::Name { bytes: self.names.text(name).len() },
        }
    }

    fn room_for(&self, slot: Slot, name_bytes: usize) -> Result<(), WatchLimit> {
        let watcher = self.watchers.watcher(slot);
        let places = watcher.nodes.live() + watcher.names.live();
        let bytes = watcher.name_bytes + name_bytes;
        if places >= WATCHES_PER_CONN || bytes > WATCH_NAME_BYTES_PER_CONN {
            return Err(WatchLimit);
        }
        Ok(())
    }

    fn add_recursive(&mut self, slot: Slot, path: &str) {
        let name = self.recursive.find_or_add(path);
        self.watchers.watcher_mut(slot).recursive.push(name);
        self.put_recursive(name, slot, Flags::RECURSIVE);
    }

    fn drop_recursive(&mut self, slot: Slot, path: &str) {
        let name = self.recursive.find(path).expect("a recursive watch has its name");
        self.watchers.watcher_mut(slot).recursive.retain(|n| *n != name);
        self.put_recursive(name, slot, Flags::NONE);
    }

    fn put_recursive(&mut self, name: u32, slot: Slot, flags: Flags) {
        let mut holders = self.recursive.holders(name);
        self.crowds.put(&mut holders, slot, flags);
        self.recursive.set(name, holders);
    }
}
