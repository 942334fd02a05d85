//! The replicated state: the tree of nodes, the ACL table, sessions and what they own, quotas,
//! the digest.
//!
//! Decides what a committed txn does to all of these (`apply`, total over every txn that can be
//! decoded), answers every question about them, and writes them out as a snapshot while they
//! change. Never decides whether a request is allowed, and never consults clock or configuration
//! beyond the settings it was made with.

mod acls;
mod apply;
mod changes;
mod check;
mod digest;
#[cfg(test)]
mod hostile_tests;
mod loader;
mod nodes;
mod owner;
mod quota;
mod recent;
mod slab;
mod snapshot;
mod table;
#[cfg(test)]
mod test_image;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{SessionId, WallMillis, Zxid};
use crate::proto::{Acl, NodeStat, Perms};

pub use acls::AclList;
pub use changes::{Applied, Change, Changes, PartResult};
pub use digest::{node_digest, node_digest_after};
pub use loader::{LoadFault, StateLoader};
pub use nodes::WARM_NODES;
pub use owner::{OwnerKind, ReapLook, TTL_MAX_MS, container_owner, ttl_owner};
pub use quota::{QuotaExceeded, QuotaLimits, QuotaView};
pub use view::NodeRef;

use acls::AclTable;
use nodes::{Nodes, ROOT};
use quota::Quotas;
use snapshot::Cursor;

/// The digest log keeps a digest of every zxid that this divides, and so many of them.
const DIGEST_LOG_INTERVAL: i64 = 128;
const DIGEST_LOG_ENTRIES: usize = 1024;

/// What the state must know of the configuration: the same on all servers of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// Containers aside, whether owners may be TTLs.
    pub extended_types: bool,
    /// Whether owners may be TTLs as the first release with TTLs wrote them.
    pub emulate_353: bool,
    pub digest: bool,
    pub hash_seed: u64,
}

impl Default for StateSettings {
    fn default() -> StateSettings {
        StateSettings { extended_types: false, emulate_353: false, digest: true, hash_seed: 0 }
    }
}

/// A node while it lives; given to another after its delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(in crate::state) u32);

impl NodeId {
    pub const ROOT: NodeId = NodeId(ROOT);

    /// For tables indexed by node.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The way back from such a table.
    pub fn from_index(index: u32) -> NodeId {
        NodeId(index)
    }
}

/// How faithful the state is to the txns that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each txn meets exactly the state its leader prepared it for.
    Exact,
    /// Over an image taken while txns were applied: it may contain their effects already. The
    /// digest on the way is no ensemble's, so it does not enter the digest log.
    Replay,
}

/// The replicated state at one zxid.
pub struct State {
    settings: StateSettings,
    nodes: Nodes,
    acls: AclTable,
    sessions: BTreeMap<SessionId, i32>,
    ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    ephemeral_count: usize,
    /// Whose list of ephemerals is taken already, while it closes.
    closing: SessionId,
    /// Lists of sessions that closed: see [`State::give_back`].
    buried_sets: Vec<BTreeSet<NodeId>>,
    containers: BTreeSet<NodeId>,
    ttls: BTreeSet<NodeId>,
    quotas: Quotas,
    digest: u64,
    digest_log: VecDeque<(Zxid, u64)>,
    last_zxid: Zxid,
    data_bytes: u64,
    cursor: Option<Cursor>,
}

impl State {
    /// A fresh tree: the root and the server's own nodes.
    pub fn new(settings: &StateSettings) -> State {
        let mut state = State::bare(settings);
        state.add_system_nodes();
        state
    }

    /// For recovery: an image comes piece by piece.
    pub fn loader(settings: &StateSettings) -> StateLoader {
        StateLoader::new(State::bare(settings))
    }

    /// Memory of what was removed waits to be given back.
    pub fn has_buried(&self) -> bool {
        self.nodes.has_buried() || !self.buried_sets.is_empty()
    }

    /// Gives back the memory of as many nodes that were removed, and of one list.
    pub fn give_back(&mut self, max_nodes: usize) {
        self.nodes.give_back(max_nodes);
        self.buried_sets.pop();
    }

    /// The zxid of the last txn applied.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The tree's digest; 0 where digests are switched off.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The digests at every 128th zxid, the newest 1024, oldest first.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digest_log.iter().copied()
    }

    /// The node at a path; "" and "/" are the root.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        self.nodes.find(path).map(NodeId)
    }

    /// Makes looks for these paths, up to `WARM_NODES`, wait less.
    pub fn warm<'a>(&self, paths: impl Iterator<Item = &'a [u8]>) {
        self.nodes.warm_paths(paths);
    }

    pub fn node(&self, id: NodeId) -> NodeRef<'_> {
        NodeRef::new(self, id)
    }

    /// The node at a path.
    pub fn node_at(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|id| self.node(id))
    }

    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    pub fn session_timeout_ms(&self, id: SessionId) -> Option<i32> {
        self.sessions.get(&id).copied()
    }

    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The ephemerals of a session.
    pub fn ephemerals(&self, owner: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.get(&owner).into_iter().flatten().copied()
    }

    /// Those whose ids are at least `from`, ascending.
    pub fn ephemerals_from(&self, owner: SessionId, from: NodeId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.get(&owner).into_iter().flat_map(move |owned| owned.range(from..)).copied()
    }

    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// Java's number, which counts the root twice: 5 on a fresh tree.
    pub fn node_count(&self) -> usize {
        self.nodes.len() + 1
    }

    pub fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// The lengths of all paths and data. A path counts in UTF-16 units, as in Java.
    pub fn approximate_data_size(&self) -> u64 {
        // The root's other name.
        self.data_bytes + 1
    }

    /// Counts the nodes below one, at most so many, behind one of them where somebody has come to:
    /// how many, and the last of them where they may not be all.
    pub fn count_below(
        &self,
        top: NodeId,
        behind: Option<NodeId>,
        most: usize,
    ) -> (usize, Option<NodeId>) {
        if top == NodeId::ROOT {
            return (self.nodes.len() - 1, None);
        }
        let mut count = 0;
        let mut at = behind.unwrap_or(top).0;
        while let Some(next) = self.nodes.next_below(top.0, at) {
            (count, at) = (count + 1, next);
            if count == most {
                return (count, Some(NodeId(at)));
            }
        }
        (count, None)
    }

    /// How many ids of ACLs the image's nodes used and its table lacked, and no txn since has
    /// brought: what is still unreadable.
    pub fn missing_acls(&self) -> usize {
        self.acls.missing()
    }

    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// Sessions that own ephemerals and do not exist.
    pub fn orphans(&self) -> Vec<SessionId> {
        let is_orphan = |id: &SessionId| !self.sessions.contains_key(id);
        self.sessions_with_ephemerals().filter(is_orphan).collect()
    }

    /// What /zookeeper/config says, from this server's own knowledge and not by a txn. As in Java,
    /// the node's times are not the same everywhere, and no digest covers it.
    pub fn set_config(&mut self, text: &[u8], version: Zxid, time: WallMillis) {
        let Some(id) = self.nodes.find("/zookeeper/config") else { return };
        self.put_data(id, Some(text));
        let mut stat = self.nodes.stat(id);
        (stat.mzxid, stat.mtime, stat.version) = (version, time.0, -1);
        self.nodes.set_stat(id, &stat);
    }

    /// The root alone, as a new image begins.
    fn bare(settings: &StateSettings) -> State {
        let mut state = State {
            settings: *settings,
            nodes: Nodes::new(settings.hash_seed),
            acls: AclTable::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            buried_sets: Vec::new(),
            ephemeral_count: 0,
            closing: SessionId::NONE,
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: Quotas::default(),
            digest: 0,
            digest_log: VecDeque::new(),
            last_zxid: Zxid::ZERO,
            data_bytes: 0,
            cursor: None,
        };
        state.acls.hold_slot(acls::OPEN);
        state.nodes.set_data(ROOT, Some(b""));
        state.renew_digest(ROOT, "");
        state
    }

    /// The server's own nodes, where an image of an older release lacks them.
    fn add_system_nodes(&mut self) {
        for path in ["/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            if self.nodes.find(path).is_some() {
                continue;
            }
            let is_config = path.ends_with("config");
            let readable = [Acl::new(Perms::READ, "world", "anyone")];
            let acl = match is_config {
                true => self.acls.hold(&readable),
                false => self.acls.hold_slot(acls::OPEN),
            };
            let aversion = if is_config { -1 } else { 0 };
            let stat = NodeStat { aversion, ..NodeStat::default() };
            self.put_node(path, Some(b""), acl, &stat);
        }
    }
}
