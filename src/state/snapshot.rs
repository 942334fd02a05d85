//! The snapshot cursor: the image of one moment, taken a slice at a time while txns apply.
//!
//! It goes through the slab in order of ids. A node that is about to change and was not reached
//! yet is written first, with those above it that were not reached: a reader needs parents first.

use crate::proto::Writer;

use super::State;
use super::acls::AclTable;
use super::nodes::{NONE, Nodes, ROOT};

/// Slots looked at for each node that a step may write: reached or vacant ones cost little.
const SLOTS_PER_NODE: usize = 32;

pub(super) struct Cursor {
    /// One bit for each id below `end`: written, or not of this image.
    reached: Vec<u64>,
    at: u32,
    /// Ids from here on were born later.
    end: u32,
    /// What changes made us write, and the beginning.
    pending: Vec<u8>,
}

impl State {
    /// Begins an image of the state as it is now. Its zxid and digest are those of this moment.
    pub fn snapshot_begin(&mut self) {
        assert!(self.cursor.is_none(), "one snapshot at a time");
        let end = self.nodes.end();
        let mut pending = Vec::new();
        pending.put_i32(self.sessions.len() as i32);
        for (id, timeout_ms) in &self.sessions {
            pending.put_i64(id.0);
            pending.put_i32(*timeout_ms);
        }
        self.acls.write(&mut pending);
        let reached = vec![0; end.div_ceil(64) as usize];
        self.cursor = Some(Cursor { reached, at: 0, end, pending });
    }

    pub fn snapshot_is_running(&self) -> bool {
        self.cursor.is_some()
    }

    /// Bytes that wait for the next step.
    pub fn snapshot_pending_bytes(&self) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.pending.len())
    }

    pub fn snapshot_abandon(&mut self) {
        self.cursor = None;
    }

    /// Appends the next bytes of the body to `out`, with about `max_nodes` nodes. True once the
    /// body is complete and the cursor gone.
    pub fn snapshot_step(&mut self, max_nodes: usize, out: &mut Vec<u8>) -> bool {
        let cursor = self.cursor.as_mut().expect("a snapshot that was begun");
        if out.is_empty() {
            std::mem::swap(out, &mut cursor.pending);
        } else {
            out.append(&mut cursor.pending);
        }
        let mut written = 0;
        let mut slots = max_nodes.saturating_mul(SLOTS_PER_NODE);
        while cursor.at < cursor.end {
            if written >= max_nodes || slots == 0 {
                return false;
            }
            let id = cursor.at;
            (cursor.at, slots) = (id + 1, slots - 1);
            if !cursor.is_reached(id) && !self.nodes.is_vacant(id) {
                written += cursor.write(id, &self.nodes, &self.acls, out);
            }
        }
        out.put_string("/");
        self.cursor = None;
        true
    }

    /// Asserts that what the cursor went past is written.
    pub(super) fn check_cursor(&self) {
        let Some(cursor) = &self.cursor else { return };
        assert!(cursor.at <= cursor.end && cursor.end <= self.nodes.end(), "the cursor's range");
        let mut passed = (0..cursor.at).filter(|id| !self.nodes.is_vacant(*id));
        assert!(passed.all(|id| cursor.is_reached(id)), "a node behind the cursor is written");
    }

    /// To be called before anything that the image shows of a node changes.
    pub(super) fn before_change(&mut self, id: u32) {
        let Some(cursor) = &mut self.cursor else { return };
        if !cursor.is_reached(id) {
            let mut pending = std::mem::take(&mut cursor.pending);
            cursor.write(id, &self.nodes, &self.acls, &mut pending);
            cursor.pending = pending;
        }
    }
}

impl Cursor {
    /// A node born after the image's moment.
    pub fn skip(&mut self, id: u32) {
        if id < self.end {
            self.reached[id as usize / 64] |= 1 << (id % 64);
        }
    }

    fn is_reached(&self, id: u32) -> bool {
        id >= self.end || self.reached[id as usize / 64] & (1 << (id % 64)) != 0
    }

    /// Writes a node after those above it that are not written yet; tells how many.
    fn write(&mut self, id: u32, nodes: &Nodes, acls: &AclTable, out: &mut Vec<u8>) -> usize {
        let mut chain = vec![id];
        let mut above = nodes.parent(id);
        while above != NONE && !self.is_reached(above) {
            chain.push(above);
            above = nodes.parent(above);
        }
        let mut path = String::new();
        if above != NONE && above != ROOT {
            nodes.write_path(above, &mut path);
        }
        for id in chain.iter().rev() {
            if *id != ROOT {
                path.push('/');
                path.push_str(nodes.name(*id));
            }
            self.skip(*id);
            write_node(*id, &path, nodes, acls, out);
        }
        chain.len()
    }
}

/// The root's path is "" here. pzxid comes last, unlike in the digest.
fn write_node(id: u32, path: &str, nodes: &Nodes, acls: &AclTable, out: &mut Vec<u8>) {
    let stat = nodes.stat(id);
    out.put_string(path);
    out.put_buffer(nodes.data(id));
    out.put_i64(acls.id(nodes.acl(id)));
    out.put_i64(stat.czxid.0);
    out.put_i64(stat.mzxid.0);
    out.put_i64(stat.ctime);
    out.put_i64(stat.mtime);
    out.put_i32(stat.version);
    out.put_i32(stat.cversion);
    out.put_i32(stat.aversion);
    out.put_i64(stat.owner);
    out.put_i64(stat.pzxid.0);
}
