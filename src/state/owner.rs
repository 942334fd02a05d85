//! What a node's raw owner says about it, and which nodes have outlived their purpose.

use std::collections::BTreeSet;

use crate::base::{SessionId, WallMillis};

use super::{NodeId, State};

/// The kinds of nodes by owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// Persistent.
    Void,
    /// The ephemeral of a session.
    Normal(SessionId),
    /// Goes when its last child went.
    Container,
    /// Goes when unchanged and childless for so many milliseconds.
    Ttl(i64),
}

/// The longest TTL: 40 bits.
pub const TTL_MAX_MS: i64 = (1 << 40) - 1;

const CONTAINER: i64 = i64::MIN;
const EXTENDED: i64 = 0xff << 56;
/// Which extension: 0 is TTL, others do not exist yet.
const FEATURE: i64 = 0xffff << 40;

/// The owner that makes a container.
pub fn container_owner() -> i64 {
    CONTAINER
}

/// The owner that makes a TTL node. Total: bits beyond the longest TTL are cut off.
pub fn ttl_owner(ttl_ms: i64) -> i64 {
    EXTENDED | (ttl_ms & TTL_MAX_MS)
}

/// How far a look for nodes to reap has come. What is born or changes meanwhile may be missed:
/// the next look finds it.
#[derive(Clone, Copy, Debug)]
pub struct ReapLook {
    wall: WallMillis,
    /// How long a container that never had a child may stay; 0 is for ever.
    max_never_used_ms: i64,
    next_container: NodeId,
    next_ttl: NodeId,
}

impl ReapLook {
    pub fn new(wall: WallMillis, max_never_used_ms: i64) -> ReapLook {
        let (next_container, next_ttl) = (NodeId::ROOT, NodeId::ROOT);
        ReapLook { wall, max_never_used_ms, next_container, next_ttl }
    }
}

impl State {
    pub fn kind_of_owner(&self, owner: i64) -> OwnerKind {
        if self.settings.extended_types {
            if self.settings.emulate_353 && owner < 0 && owner != CONTAINER {
                return OwnerKind::Ttl(owner & TTL_MAX_MS);
            }
            if owner & EXTENDED == EXTENDED {
                // An extension that does not exist is nobody's: the node stays.
                let is_ttl = owner & FEATURE == 0;
                return if is_ttl { OwnerKind::Ttl(owner & TTL_MAX_MS) } else { OwnerKind::Void };
            }
        }
        match owner {
            CONTAINER => OwnerKind::Container,
            0 => OwnerKind::Void,
            session => OwnerKind::Normal(SessionId(session)),
        }
    }

    /// Goes on with a look for what may go now: appends the paths among the next `max_nodes`
    /// containers and TTL nodes. True once it went through all of them.
    pub fn reap_step(
        &self,
        look: &mut ReapLook,
        max_nodes: usize,
        found: &mut impl Extend<String>,
    ) -> bool {
        let mut left = max_nodes;
        for (owned, next) in
            [(&self.containers, &mut look.next_container), (&self.ttls, &mut look.next_ttl)]
        {
            for id in owned.range(*next..) {
                if left == 0 {
                    return false;
                }
                left -= 1;
                *next = NodeId(id.0 + 1);
                let may_go = self.may_reap(id.0, look.wall, look.max_never_used_ms);
                found.extend(may_go.then(|| self.nodes.path(id.0)));
            }
        }
        true
    }

    /// Only childless nodes go. A container goes at once if it had a child, else after
    /// `max_never_used_ms`; a TTL of 0 is for ever.
    fn may_reap(&self, id: u32, wall: WallMillis, max_never_used_ms: i64) -> bool {
        if self.nodes.child_count(id) != 0 {
            return false;
        }
        let stat = self.nodes.stat(id);
        let idle_ms = wall.0.saturating_sub(stat.mtime);
        match self.kind_of_owner(stat.owner) {
            OwnerKind::Container if stat.cversion > 0 => true,
            OwnerKind::Container => max_never_used_ms != 0 && idle_ms > max_never_used_ms,
            OwnerKind::Ttl(ttl_ms) => ttl_ms != 0 && idle_ms > ttl_ms,
            _ => false,
        }
    }

    /// Notes what a new node is owned by.
    pub(super) fn index_owner(&mut self, id: u32, owner: i64) {
        match self.kind_of_owner(owner) {
            OwnerKind::Void => {}
            OwnerKind::Container => _ = self.containers.insert(NodeId(id)),
            OwnerKind::Ttl(_) => _ = self.ttls.insert(NodeId(id)),
            OwnerKind::Normal(session) => {
                self.ephemerals.entry(session).or_default().insert(NodeId(id));
                self.ephemeral_count += 1;
            }
        }
    }

    pub(super) fn forget_owner(&mut self, id: u32) {
        match self.kind_of_owner(self.nodes.owner(id)) {
            OwnerKind::Void => {}
            OwnerKind::Container => _ = self.containers.remove(&NodeId(id)),
            OwnerKind::Ttl(_) => _ = self.ttls.remove(&NodeId(id)),
            OwnerKind::Normal(session) => {
                if session == self.closing {
                    return;
                }
                let owned = self.ephemerals.get_mut(&session).expect("an ephemeral's owner");
                assert!(owned.remove(&NodeId(id)), "an ephemeral is in its owner's list");
                if owned.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemeral_count -= 1;
            }
        }
    }

    /// The session closes: its list goes as a whole, and each node may go without a look at it.
    pub(super) fn take_ephemerals(&mut self, session: SessionId) -> BTreeSet<NodeId> {
        self.closing = session;
        let owned = self.ephemerals.remove(&session).unwrap_or_default();
        self.ephemeral_count -= owned.len();
        owned
    }

    /// Whether a node that the session owned is still there; no id is given anew meanwhile.
    pub(super) fn is_ephemeral_of(&self, id: NodeId, session: SessionId) -> bool {
        !self.nodes.is_vacant(id.0) && self.nodes.owner(id.0) == session.0
    }
}
