//! The snapshot cursor: the image of one moment, taken a slice at a time while txns apply.
//!
//! It goes through the slab in order of ids. A node that is about to change and was not reached
//! yet is written first, with those above it that were not reached: a reader needs parents first.

use crate::base::limits;
use crate::proto::{Acl, Writer};

use super::State;
use super::acls::AclTable;
use super::nodes::{NONE, Nodes, ROOT};

/// Slots looked at for each item that a step may write: reached or vacant ones cost little.
const SLOTS_PER_ITEM: usize = 32;

/// ACLs that take as long as a node. All come first, and what changes waits for the last.
const ACLS_PER_NODE: usize = 8;

pub(super) struct Cursor {
    acls: Walk,
    nodes: Walk,
    /// The beginning, and ACLs that went before they were reached.
    pending_acls: Vec<u8>,
    /// Nodes that changed before they were reached. They wait for the last ACL.
    pending_nodes: Vec<u8>,
    /// More waited than may: the image is given up.
    is_overrun: bool,
    place: Place,
}

/// Where a node is written: the path down to it, kept for the next one below the same.
struct Place {
    path: String,
    /// The node whose path the first bytes of `path` are. Nodes of the image keep theirs until
    /// they are written, and others are not asked for.
    above: u32,
    length: usize,
    /// The node and those above it that are not written yet, lowest first.
    chain: Vec<u32>,
}

/// A walk over the ids of one moment.
struct Walk {
    /// One bit for each id below `end`: written ahead of the walk, or not of this image.
    reached: Vec<u64>,
    at: u32,
    /// Ids from here on were born later.
    end: u32,
}

/// What is left to do in one step.
struct Budget {
    items: usize,
    slots: usize,
    /// The length of the output at which there is no more.
    full: usize,
}

impl State {
    /// Begins an image of the state as it is now. Its zxid and digest are those of this moment.
    pub fn snapshot_begin(&mut self) {
        assert!(self.cursor.is_none(), "one snapshot at a time");
        let mut head = Vec::new();
        head.put_i32(self.sessions.len() as i32);
        for (id, timeout_ms) in &self.sessions {
            head.put_i64(id.0);
            head.put_i32(*timeout_ms);
        }
        head.put_i32(self.acls.len() as i32);
        self.cursor = Some(Cursor {
            acls: Walk::new(self.acls.end()),
            nodes: Walk::new(self.nodes.end()),
            pending_acls: head,
            pending_nodes: Vec::new(),
            is_overrun: false,
            place: Place { path: String::new(), above: NONE, length: 0, chain: Vec::new() },
        });
    }

    pub fn snapshot_is_running(&self) -> bool {
        self.cursor.is_some()
    }

    /// Bytes that wait for the next steps.
    pub fn snapshot_pending_bytes(&self) -> usize {
        self.cursor.as_ref().map_or(0, |c| c.pending_acls.len() + c.pending_nodes.len())
    }

    /// Whether changes brought more than may wait: this image will never be complete.
    pub fn snapshot_is_overrun(&self) -> bool {
        self.cursor.as_ref().is_some_and(|c| c.is_overrun)
    }

    pub fn snapshot_abandon(&mut self) {
        self.cursor = None;
    }

    /// Appends the next bytes of the body to `out`: about `max_nodes` nodes, or ACLs for as long,
    /// fewer where they are large. True once the body is complete and the cursor gone.
    pub fn snapshot_step(&mut self, max_nodes: usize, out: &mut Vec<u8>) -> bool {
        let cursor = self.cursor.as_mut().expect("a snapshot that was begun");
        assert!(!cursor.is_overrun, "what was overrun is given up");
        let full = out.len().saturating_add(limits::SNAPSHOT_BYTES_PER_TURN);
        drain(&mut cursor.pending_acls, out);
        let mut budget = Budget::new(max_nodes.saturating_mul(ACLS_PER_NODE), full);
        while let Some(slot) = cursor.acls.advance(&mut budget) {
            self.acls.write(slot, out);
            budget.spend(1, out.len());
        }
        if !cursor.acls.is_done() {
            return false;
        }
        drain(&mut cursor.pending_nodes, out);
        let mut budget = Budget::new(max_nodes, full);
        while let Some(id) = cursor.nodes.advance(&mut budget) {
            if !self.nodes.is_vacant(id) {
                let written = cursor.write(id, &self.nodes, &self.acls, out);
                budget.spend(written, out.len());
            }
        }
        if !cursor.nodes.is_done() {
            return false;
        }
        out.put_string("/");
        self.cursor = None;
        true
    }

    /// To be called before anything that the image shows of a node changes.
    pub(super) fn before_change(&mut self, id: u32) {
        let Some(cursor) = &mut self.cursor else { return };
        if !cursor.is_overrun && !cursor.nodes.is_reached(id) {
            let mut pending = std::mem::take(&mut cursor.pending_nodes);
            cursor.write(id, &self.nodes, &self.acls, &mut pending);
            cursor.pending_nodes = pending;
            cursor.bound();
        }
    }

    /// A node was born after the image's moment.
    pub(super) fn after_birth(&mut self, id: u32) {
        if let Some(cursor) = &mut self.cursor {
            cursor.nodes.skip(id);
        }
    }

    /// The slot of an ACL for one more node.
    pub(super) fn hold_acl(&mut self, list: &[Acl]) -> u32 {
        let slot = self.acls.hold(list);
        if let Some(cursor) = &mut self.cursor {
            if self.acls.nodes(slot) == 1 {
                // Born after the image's moment.
                cursor.acls.skip(slot);
            }
        }
        slot
    }

    /// One node less has this ACL.
    pub(super) fn release_acl(&mut self, slot: u32) {
        if let Some(cursor) = &mut self.cursor {
            if self.acls.nodes(slot) == 1 && !cursor.acls.is_reached(slot) {
                self.acls.write(slot, &mut cursor.pending_acls);
                cursor.acls.skip(slot);
                cursor.bound();
            }
        }
        self.acls.release(slot);
    }
}

impl Walk {
    fn new(end: u32) -> Walk {
        Walk { reached: vec![0; end.div_ceil(64) as usize], at: 0, end }
    }

    /// The next id that was not reached, while the budget lasts.
    fn advance(&mut self, budget: &mut Budget) -> Option<u32> {
        while !self.is_done() && budget.items > 0 && budget.slots > 0 {
            let id = self.at;
            let is_reached = self.is_reached(id);
            self.at += 1;
            budget.slots -= 1;
            if !is_reached {
                return Some(id);
            }
        }
        None
    }

    fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// Written by now, or not of this image.
    fn skip(&mut self, id: u32) {
        if id < self.end {
            self.reached[id as usize / 64] |= 1 << (id % 64);
        }
    }

    fn is_reached(&self, id: u32) -> bool {
        let is_ahead = (self.at..self.end).contains(&id);
        !is_ahead || self.reached[id as usize / 64] & (1 << (id % 64)) != 0
    }
}

impl Budget {
    fn new(items: usize, full: usize) -> Budget {
        Budget { items, slots: items.saturating_mul(SLOTS_PER_ITEM), full }
    }

    fn spend(&mut self, items: usize, length: usize) {
        self.items = if length < self.full { self.items.saturating_sub(items) } else { 0 };
    }
}

impl Cursor {
    /// One turn may change far more than the image may hold back.
    fn bound(&mut self) {
        let waiting = self.pending_acls.len() + self.pending_nodes.len();
        if waiting > limits::SNAPSHOT_QUEUE_BYTES {
            self.is_overrun = true;
            self.pending_acls = Vec::new();
            self.pending_nodes = Vec::new();
        }
    }

    /// Writes a node after those above it that are not written yet; tells how many.
    fn write(&mut self, id: u32, nodes: &Nodes, acls: &AclTable, out: &mut Vec<u8>) -> usize {
        let place = &mut self.place;
        place.chain.clear();
        place.chain.push(id);
        let mut above = nodes.parent(id);
        while above != NONE && !self.nodes.is_reached(above) {
            place.chain.push(above);
            above = nodes.parent(above);
        }
        place.begin_below(above, nodes);
        for id in place.chain.iter().rev() {
            if *id != ROOT {
                place.path.push('/');
                place.path.push_str(nodes.name(*id));
            }
            self.nodes.skip(*id);
            write_node(*id, &place.path, nodes, acls, out);
        }
        place.chain.len()
    }
}

impl Place {
    /// Leaves the path of the node `above` alone; the root's is "".
    fn begin_below(&mut self, above: u32, nodes: &Nodes) {
        if above == self.above {
            return self.path.truncate(self.length);
        }
        self.path.clear();
        if above != NONE && above != ROOT {
            nodes.write_path(above, &mut self.path);
        }
        self.above = above;
        self.length = self.path.len();
    }
}

/// Moves all bytes, without a copy where they are the first.
fn drain(pending: &mut Vec<u8>, out: &mut Vec<u8>) {
    if out.is_empty() {
        std::mem::swap(pending, out);
    } else {
        out.append(pending);
    }
}

/// The root's path is "" here.
fn write_node(id: u32, path: &str, nodes: &Nodes, acls: &AclTable, out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_buffer(nodes.data(id));
    out.put_i64(acls.id(nodes.acl(id)));
    nodes.stat(id).write(out);
}
