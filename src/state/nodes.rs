//! The nodes: two slabs, one table of ids, children by sibling links.

use std::hash::Hasher;
use std::hint::black_box;
use std::iter;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

use crate::base::Zxid;
use crate::proto::NodeStat;

use super::NodeId;
use super::recent::{Mark, Recent};
use super::slab::Slab;
use super::table::IdTable;

/// No node.
pub(super) const NONE: u32 = u32::MAX;
/// In place of a parent: nobody lives in this slot.
const VACANT: u32 = u32::MAX - 1;
pub(super) const ROOT: u32 = 0;

/// How many looks or removals are made ready at once.
pub const WARM_NODES: usize = 32;

/// Room for so many contents that wait is kept for the next.
const KEPT_BURIED: usize = 4096;

/// Flags beside the name's length, which a frame's limit keeps far below them.
const NULL_DATA: u32 = 1 << 31;
const OUTSIDE_DIGEST: u32 = 1 << 30;
const NAME_BYTES: u32 = OUTSIDE_DIGEST - 1;

/// What every node has. Its size times ten million is most of what a server weighs.
pub(super) struct Node {
    czxid: i64,
    ctime: i64,
    /// The name, then the data.
    content: Box<[u8]>,
    /// The name's length and the flags.
    name: u32,
    parent: u32,
    next: u32,
    previous: u32,
    /// Of the whole path, seeded.
    hash: u32,
    digest: u32,
    acl: u32,
    rare: u32,
}

/// What few nodes have: made when the first of these differs from its default.
#[derive(Clone, Copy, PartialEq)]
struct Rare {
    mzxid: i64,
    mtime: i64,
    pzxid: i64,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    first_child: u32,
    children: u32,
}

pub(super) struct Nodes {
    slab: Slab<Node>,
    rare: Slab<Rare>,
    table: IdTable,
    recent: Recent,
    seed: u64,
    shared_seed: SharedSeed,
    /// Slots that still hold the content of a node that went. To give back the memory of a hundred
    /// thousand takes as long as to remove them, so it waits for other turns.
    buried: Vec<u32>,
}

impl Nodes {
    /// The root alone.
    pub fn new(seed: u64) -> Nodes {
        let mut nodes = Nodes {
            slab: Slab::new(),
            rare: Slab::new(),
            table: IdTable::new(),
            recent: Recent::new(),
            seed,
            shared_seed: SharedSeed::from_u64(seed.rotate_left(32) ^ 0x5a4b_534e),
            buried: Vec::new(),
        };
        let root = Node { parent: NONE, ..Node::blank() };
        assert_eq!(nodes.slab.insert(root), ROOT);
        nodes
    }

    pub fn len(&self) -> usize {
        self.slab.used()
    }

    pub fn reserve(&mut self, nodes: usize) {
        let slab = &self.slab;
        self.table.reserve(nodes, |id| slab.at(id).hash);
    }

    /// All ids are below this.
    pub fn end(&self) -> u32 {
        self.slab.end()
    }

    pub fn is_vacant(&self, id: u32) -> bool {
        self.slab.at(id).parent == VACANT
    }

    /// "" and "/" are the root.
    pub fn find(&self, path: &str) -> Option<u32> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        let path = path.strip_prefix('/')?.as_bytes();
        let mark = Mark::of(path);
        let guess = self.recent.guess(mark);
        if guess.is_some_and(|id| !self.is_vacant(id) && self.is_at(id, path)) {
            return guess;
        }
        let hash = self.hash_of_path(path);
        let is_it = |id| self.slab.at(id).hash == hash && self.is_at(id, path);
        let found = self.table.find(hash, is_it)?;
        self.recent.note(mark, found);
        Some(found)
    }

    /// Ahead of looks for some paths: brings the memory that they read nearer. Reads that wait for
    /// nothing of each other wait for memory together.
    pub fn warm_paths<'a>(&self, paths: impl Iterator<Item = &'a [u8]>) {
        let (mut expected, mut count) = ([(Mark::default(), Ok(NONE)); WARM_NODES], 0);
        for (path, expected) in paths.zip(&mut expected) {
            let path = path.strip_prefix(b"/").unwrap_or(path);
            let mark = Mark::of(path);
            *expected = (mark, self.recent.guess(mark).ok_or_else(|| self.hash_of_path(path)));
            count += 1;
        }
        for (mark, guess) in &expected[..count] {
            let id = guess.or_else(|hash| {
                let found = self.table.find(hash, |id| self.slab.at(id).hash == hash).ok_or(())?;
                self.recent.note(*mark, found);
                Ok::<u32, ()>(found)
            });
            if let Ok(id) = id {
                let node = self.slab.at(id);
                let rare = (node.rare != NONE).then(|| self.rare.at(node.rare).mzxid);
                black_box((node.content.first(), rare));
            }
        }
    }

    pub fn child(&self, parent: u32, name: &str) -> Option<u32> {
        let hash = self.hash(self.slab.at(parent).hash, name.as_bytes());
        self.table.find(hash, |id| self.slab.at(id).hash == hash && self.is_child(id, parent, name))
    }

    /// Ahead of the removal of some nodes: brings the memory that it reads nearer. Reads that wait
    /// for nothing of each other wait for memory together.
    pub fn warm(&self, ids: &[NodeId]) {
        for node in ids.iter().map(|id| self.slab.at(id.0)) {
            black_box((node.content.first(), self.rare_of(node).owner));
            black_box(self.table.find(node.hash, |_| false));
        }
    }

    /// Ahead of a walk through the names of this node and those behind it.
    pub fn warm_siblings(&self, first: u32) {
        let behind = |id: &u32| Some(self.slab.at(*id).next).filter(|id| *id != NONE);
        for id in iter::successors(Some(first), behind).take(WARM_NODES) {
            black_box(self.slab.at(id).content.first());
        }
    }

    pub fn is_child(&self, id: u32, parent: u32, name: &str) -> bool {
        self.slab.at(id).is_child(parent, name)
    }

    /// A new first child, unless there is one of this name.
    pub fn insert(
        &mut self,
        parent: u32,
        name: &str,
        data: Option<&[u8]>,
        acl: u32,
    ) -> Result<u32, u32> {
        assert!(!name.is_empty() && name.len() < NAME_BYTES as usize, "a name's length");
        let outside = self.is_outside_digest(parent) || self.is_system_node(parent);
        let hash = self.hash(self.slab.at(parent).hash, name.as_bytes());
        let next = self.first_child(parent);
        let slab = &self.slab;
        let is_it = |id| slab.at(id).hash == hash && slab.at(id).is_child(parent, name);
        let vacancy = self.table.vacancy(hash, is_it, |id| slab.at(id).hash)?;
        let node = Node {
            content: content(name.as_bytes(), data),
            name: name.len() as u32
                | if data.is_none() { NULL_DATA } else { 0 }
                | if outside { OUTSIDE_DIGEST } else { 0 },
            parent,
            next,
            hash,
            acl,
            ..Node::blank()
        };
        let id = self.slab.insert(node);
        vacancy.insert(id);
        if next != NONE {
            self.slab.at_mut(next).previous = id;
        }
        let rare = self.rare_mut(parent);
        rare.first_child = id;
        rare.children += 1;
        Ok(id)
    }

    /// The node must have no children.
    pub fn remove(&mut self, id: u32) {
        assert!(id != ROOT, "the root stays");
        assert_eq!(self.child_count(id), 0, "only a leaf can go");
        let Node { parent, next, previous, hash, rare, .. } = *self.slab.at(id);
        if next != NONE {
            self.slab.at_mut(next).previous = previous;
        }
        if previous != NONE {
            self.slab.at_mut(previous).next = next;
        }
        let of_parent = self.rare_mut(parent);
        of_parent.children -= 1;
        if previous == NONE {
            of_parent.first_child = next;
        }
        if rare != NONE {
            self.rare.release(rare, Rare::of(0, 0));
        }
        self.table.remove(hash, id);
        let content = std::mem::take(&mut self.slab.at_mut(id).content);
        self.slab.release(id, Node { content, ..Node::blank() });
        self.buried.push(id);
    }

    pub fn has_buried(&self) -> bool {
        !self.buried.is_empty()
    }

    /// So many will be removed.
    pub fn reserve_removals(&mut self, count: usize) {
        self.slab.reserve_free(count);
        self.buried.reserve(count);
    }

    /// Gives back the memory of so many nodes that went.
    pub fn give_back(&mut self, max: usize) {
        for id in self.buried.drain(self.buried.len().saturating_sub(max)..) {
            let node = self.slab.at_mut(id);
            // Somebody may live there by now, in whose way the content was.
            if node.parent == VACANT {
                node.content = Box::default();
            }
        }
        if self.buried.is_empty() && self.buried.capacity() > KEPT_BURIED {
            self.buried = Vec::new();
        }
    }

    pub fn stat(&self, id: u32) -> NodeStat {
        let node = self.slab.at(id);
        let rare = self.rare_of(node);
        NodeStat {
            czxid: Zxid(node.czxid),
            mzxid: Zxid(rare.mzxid),
            pzxid: Zxid(rare.pzxid),
            ctime: node.ctime,
            mtime: rare.mtime,
            version: rare.version,
            cversion: rare.cversion,
            aversion: rare.aversion,
            owner: rare.owner,
        }
    }

    pub fn set_stat(&mut self, id: u32, stat: &NodeStat) {
        let rare = Rare {
            mzxid: stat.mzxid.0,
            mtime: stat.mtime,
            pzxid: stat.pzxid.0,
            owner: stat.owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            first_child: self.first_child(id),
            children: self.child_count(id) as u32,
        };
        let node = self.slab.at_mut(id);
        (node.czxid, node.ctime) = (stat.czxid.0, stat.ctime);
        if node.rare != NONE || rare != Rare::of(node.czxid, node.ctime) {
            *self.rare_mut(id) = rare;
        }
    }

    pub fn pzxid(&self, id: u32) -> Zxid {
        Zxid(self.rare_of(self.slab.at(id)).pzxid)
    }

    pub fn owner(&self, id: u32) -> i64 {
        self.rare_of(self.slab.at(id)).owner
    }

    pub fn name(&self, id: u32) -> &str {
        std::str::from_utf8(self.slab.at(id).name_bytes()).expect("names come from strings")
    }

    pub fn name_bytes(&self, id: u32) -> &[u8] {
        self.slab.at(id).name_bytes()
    }

    pub fn data(&self, id: u32) -> Option<&[u8]> {
        let node = self.slab.at(id);
        let data = &node.content[(node.name & NAME_BYTES) as usize..];
        if node.name & NULL_DATA != 0 { None } else { Some(data) }
    }

    pub fn data_bytes(&self, id: u32) -> usize {
        self.data(id).map_or(0, <[u8]>::len)
    }

    pub fn set_data(&mut self, id: u32, data: Option<&[u8]>) {
        let node = self.slab.at_mut(id);
        node.content = content(node.name_bytes(), data);
        node.name &= !NULL_DATA;
        node.name |= if data.is_none() { NULL_DATA } else { 0 };
    }

    pub fn parent(&self, id: u32) -> u32 {
        self.slab.at(id).parent
    }

    pub fn next_sibling(&self, id: u32) -> u32 {
        self.slab.at(id).next
    }

    pub fn first_child(&self, id: u32) -> u32 {
        self.rare_of(self.slab.at(id)).first_child
    }

    pub fn child_count(&self, id: u32) -> usize {
        self.rare_of(self.slab.at(id)).children as usize
    }

    pub fn acl(&self, id: u32) -> u32 {
        self.slab.at(id).acl
    }

    pub fn set_acl(&mut self, id: u32, acl: u32) {
        self.slab.at_mut(id).acl = acl;
    }

    pub fn digest(&self, id: u32) -> u32 {
        self.slab.at(id).digest
    }

    pub fn set_digest(&mut self, id: u32, digest: u32) {
        self.slab.at_mut(id).digest = digest;
    }

    /// Whether the path begins with "/zookeeper/".
    pub fn is_outside_digest(&self, id: u32) -> bool {
        self.slab.at(id).name & OUTSIDE_DIGEST != 0
    }

    /// Appends the path; the root's is "/".
    pub fn write_path(&self, id: u32, out: &mut String) {
        if id == ROOT {
            out.push('/');
            return;
        }
        let mut chain = Vec::with_capacity(16);
        let mut at = id;
        while at != ROOT {
            chain.push(at);
            at = self.parent(at);
        }
        for id in chain.into_iter().rev() {
            out.push('/');
            out.push_str(self.name(id));
        }
    }

    pub fn path(&self, id: u32) -> String {
        let mut path = String::new();
        self.write_path(id, &mut path);
        path
    }

    /// The node after this one in a walk over all below `top`, parents first.
    pub fn next_below(&self, top: u32, id: u32) -> Option<u32> {
        let first = self.first_child(id);
        if first != NONE {
            return Some(first);
        }
        let mut at = id;
        while at != top {
            let next = self.next_sibling(at);
            if next != NONE {
                return Some(next);
            }
            at = self.parent(at);
        }
        None
    }

    /// Asserts that links, table and slabs agree.
    pub fn check(&self) {
        let mut living = 0;
        let mut with_rare = 0;
        for id in (0..self.end()).filter(|id| !self.is_vacant(*id)) {
            living += 1;
            with_rare += usize::from(self.slab.at(id).rare != NONE);
            self.check_children(id);
            if id != ROOT {
                let path = self.path(id);
                assert_eq!(self.find(&path), Some(id), "{path} is found under its path");
                assert_eq!(self.child(self.parent(id), self.name(id)), Some(id), "{path}");
            }
        }
        assert_eq!(living, self.slab.used(), "nodes in use");
        assert_eq!(living - 1, self.table.len(), "nodes in the table");
        assert_eq!(with_rare, self.rare.used(), "rare halves in use");
    }

    fn check_children(&self, id: u32) {
        let (mut count, mut previous, mut at) = (0, NONE, self.first_child(id));
        while at != NONE {
            let child = self.slab.at(at);
            assert_eq!((child.parent, child.previous), (id, previous), "links of node {at}");
            (count, previous, at) = (count + 1, at, child.next);
        }
        assert_eq!(count, self.child_count(id), "children of node {id}");
    }

    /// Whether the node is "/zookeeper" itself.
    fn is_system_node(&self, id: u32) -> bool {
        let node = self.slab.at(id);
        node.parent == ROOT && node.name_bytes() == b"zookeeper"
    }

    /// Whether this is the node's path, given without its first slash.
    fn is_at(&self, id: u32, path: &[u8]) -> bool {
        let mut at = id;
        for name in path.rsplit(|byte| *byte == b'/') {
            let node = self.slab.at(at);
            if at == ROOT || node.name_bytes() != name {
                return false;
            }
            at = node.parent;
        }
        at == ROOT
    }

    /// Of a path without its first slash.
    fn hash_of_path(&self, path: &[u8]) -> u32 {
        let names = path.split(|byte| *byte == b'/');
        names.fold(self.slab.at(ROOT).hash, |hash, name| self.hash(hash, name))
    }

    fn hash(&self, parent: u32, name: &[u8]) -> u32 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared_seed);
        hasher.write_u32(parent);
        hasher.write(name);
        let hash = hasher.finish();
        (hash ^ (hash >> 32)) as u32
    }

    fn rare_of(&self, node: &Node) -> Rare {
        match node.rare {
            NONE => Rare::of(node.czxid, node.ctime),
            rare => *self.rare.at(rare),
        }
    }

    fn rare_mut(&mut self, id: u32) -> &mut Rare {
        let node = self.slab.at_mut(id);
        if node.rare == NONE {
            node.rare = self.rare.insert(Rare::of(node.czxid, node.ctime));
        }
        self.rare.at_mut(node.rare)
    }
}

impl Node {
    fn blank() -> Node {
        Node {
            czxid: 0,
            ctime: 0,
            content: Box::default(),
            name: 0,
            parent: VACANT,
            next: NONE,
            previous: NONE,
            hash: 0,
            digest: 0,
            acl: super::acls::OPEN,
            rare: NONE,
        }
    }

    fn is_child(&self, parent: u32, name: &str) -> bool {
        self.parent == parent && self.name_bytes() == name.as_bytes()
    }

    fn name_bytes(&self) -> &[u8] {
        &self.content[..(self.name & NAME_BYTES) as usize]
    }
}

impl Rare {
    /// What a node without a rare half has.
    fn of(czxid: i64, ctime: i64) -> Rare {
        Rare {
            mzxid: czxid,
            mtime: ctime,
            pzxid: czxid,
            owner: 0,
            version: 0,
            cversion: 0,
            aversion: 0,
            first_child: NONE,
            children: 0,
        }
    }
}

fn content(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    [name, data.unwrap_or_default()].concat().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_node_stays_small() {
        assert!(size_of::<super::Node>() <= 72);
        assert!(size_of::<super::Rare>() <= 56);
    }
}
