//! Lists of access control entries, each kept once, under the ids that snapshots write.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::proto::{Acl, Perms, Writer};

/// A list as it is shared by all nodes that have it.
pub type AclList = Arc<[Acl]>;

/// The slot of world:anyone with every permission, as only the built-in nodes have it. A client's
/// own open list gets an id like any other.
pub(super) const OPEN: u32 = 0;
const OPEN_ID: i64 = -1;

struct Entry {
    id: i64,
    list: AclList,
    nodes: u32,
    /// Made up for an id that a snapshot's nodes use and its table lacks.
    is_missing: bool,
}

/// Nodes hold 4-byte slots; snapshots hold ids, which rise and are never used again.
pub(super) struct AclTable {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_list: BTreeMap<AclList, u32>,
    by_id: BTreeMap<i64, u32>,
    last_id: i64,
}

impl AclTable {
    pub fn new() -> AclTable {
        let list: AclList = Arc::new([Acl::open()]);
        let open = Entry { id: OPEN_ID, list, nodes: 0, is_missing: false };
        AclTable {
            slots: vec![Some(open)],
            free: Vec::new(),
            by_list: BTreeMap::new(),
            by_id: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// The slot of a list, for one more node.
    pub fn hold(&mut self, list: &[Acl]) -> u32 {
        let slot = match self.by_list.get(list) {
            Some(slot) => *slot,
            None => {
                let id = self.fresh_id();
                self.insert(id, list.into(), false)
            }
        };
        self.hold_slot(slot)
    }

    pub fn hold_slot(&mut self, slot: u32) -> u32 {
        self.entry_mut(slot).nodes += 1;
        slot
    }

    /// One node less has this list.
    pub fn release(&mut self, slot: u32) {
        let entry = self.entry_mut(slot);
        assert!(entry.nodes > 0, "an ACL is released once for each node that held it");
        entry.nodes -= 1;
        if entry.nodes == 0 && slot != OPEN {
            self.remove(slot);
        }
    }

    pub fn list(&self, slot: u32) -> &AclList {
        &self.entry(slot).list
    }

    pub fn id(&self, slot: u32) -> i64 {
        self.entry(slot).id
    }

    /// An entry of a snapshot's table; no node holds it yet.
    pub fn load(&mut self, id: i64, list: Vec<Acl>) {
        if id != OPEN_ID && !self.by_id.contains_key(&id) {
            self.insert(id, list.into(), false);
        }
    }

    /// The slot of an id in a snapshot's node, for one more node. An id that the table lacks
    /// (it was written before the node's ACL came to be) gets a list that permits nothing: the
    /// txn that brought it follows in the log and replaces it.
    pub fn hold_id(&mut self, id: i64) -> u32 {
        let slot = match self.by_id.get(&id) {
            _ if id == OPEN_ID => OPEN,
            Some(slot) => *slot,
            None => self.insert(id, [Acl::new(Perms(0), "world", "anyone")].into(), true),
        };
        self.hold_slot(slot)
    }

    /// Ids still made up: after the log is replayed there should be none.
    pub fn missing(&self) -> usize {
        self.slots.iter().flatten().filter(|entry| entry.is_missing).count()
    }

    pub fn drop_unused(&mut self) {
        for slot in 1..self.slots.len() as u32 {
            if self.slots[slot as usize].as_ref().is_some_and(|entry| entry.nodes == 0) {
                self.remove(slot);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All slots are below this.
    pub fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// How many nodes have a slot's list.
    pub fn nodes(&self, slot: u32) -> u32 {
        self.entry(slot).nodes
    }

    /// Writes a slot as an image's table has it, if there is anything to write.
    pub fn write(&self, slot: u32, out: &mut Vec<u8>) {
        let entry = self.slots[slot as usize].as_ref().filter(|_| slot != OPEN);
        if let Some(entry) = entry {
            out.put_i64(entry.id);
            Acl::write_list(&entry.list, out);
        }
    }

    /// Asserts that the three indexes agree and that `held` nodes hold each slot.
    pub fn check(&self, held: &BTreeMap<u32, u32>) {
        for (slot, entry) in self.slots.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let slot = slot as u32;
            assert_eq!(entry.nodes, held.get(&slot).copied().unwrap_or(0), "nodes of ACL {slot}");
            assert!(slot == OPEN || self.by_id.get(&entry.id) == Some(&slot), "id of ACL {slot}");
            assert!(slot == OPEN || entry.nodes > 0, "ACL {slot} is held by no node");
            assert!(entry.id <= self.last_id, "an ACL id above the last one");
        }
        assert_eq!(self.by_id.len() + 1 + self.free.len(), self.slots.len());
        for (list, slot) in &self.by_list {
            assert_eq!(self.list(*slot), list, "an ACL list under another's name");
        }
    }

    /// Above all others; an image whose ids leave no room there has some below.
    fn fresh_id(&self) -> i64 {
        let above = self.last_id.checked_add(1);
        above.or_else(|| (1..).find(|id| !self.by_id.contains_key(id))).expect("an id is free")
    }

    fn insert(&mut self, id: i64, list: AclList, is_missing: bool) -> u32 {
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        if !is_missing {
            self.by_list.insert(list.clone(), slot);
        }
        self.by_id.insert(id, slot);
        self.last_id = self.last_id.max(id);
        self.slots[slot as usize] = Some(Entry { id, list, nodes: 0, is_missing });
        slot
    }

    fn remove(&mut self, slot: u32) {
        let entry = self.slots[slot as usize].take().expect("a slot in use");
        self.by_id.remove(&entry.id);
        if self.by_list.get(&entry.list) == Some(&slot) {
            self.by_list.remove(&entry.list);
        }
        self.free.push(slot);
    }

    fn entry(&self, slot: u32) -> &Entry {
        self.slots[slot as usize].as_ref().expect("a node's ACL slot is in use")
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        self.slots[slot as usize].as_mut().expect("a node's ACL slot is in use")
    }
}
