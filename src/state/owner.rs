//! What a node's raw owner says about it, and which nodes have outlived their purpose.

use crate::base::{SessionId, WallMillis};

use super::nodes::Nodes;
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

    /// Containers and TTL nodes that may go now, at most `limit`, containers first. A container
    /// that never had a child goes after `max_never_used_ms`, or never if that is 0.
    pub fn reap_candidates(
        &self,
        wall: WallMillis,
        max_never_used_ms: i64,
        limit: usize,
    ) -> Vec<String> {
        let nodes = &self.nodes;
        let is_due = |id: &NodeId, age_ms| is_due(nodes, id.0, wall, age_ms);
        let containers = self.containers.iter().filter(|id| {
            if nodes.stat(id.0).cversion > 0 {
                return nodes.child_count(id.0) == 0;
            }
            max_never_used_ms != 0 && is_due(id, max_never_used_ms)
        });
        let ttls = self.ttls.iter().filter(|id| match self.kind_of_owner(nodes.owner(id.0)) {
            OwnerKind::Ttl(ttl) => is_due(id, ttl),
            _ => false,
        });
        containers.chain(ttls).take(limit).map(|id| nodes.path(id.0)).collect()
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
                let owned = self.ephemerals.get_mut(&session).expect("an ephemeral's owner");
                assert!(owned.remove(&NodeId(id)), "an ephemeral is in its owner's list");
                if owned.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemeral_count -= 1;
            }
        }
    }
}

/// Childless, and unchanged for longer than `age_ms`.
fn is_due(nodes: &Nodes, id: u32, wall: WallMillis, age_ms: i64) -> bool {
    let idle_ms = wall.0.saturating_sub(nodes.stat(id).mtime);
    nodes.child_count(id) == 0 && idle_ms > age_ms
}
