//! One node, read.

use crate::proto::{NodeStat, Stat};

use super::nodes::{NONE, WARM_NODES};
use super::{AclList, NodeId, OwnerKind, State};

/// A living node of a state.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    state: &'a State,
    id: NodeId,
}

impl<'a> NodeRef<'a> {
    pub(super) fn new(state: &'a State, id: NodeId) -> NodeRef<'a> {
        assert!(!state.nodes.is_vacant(id.0), "a node's id is used while the node lives");
        NodeRef { state, id }
    }

    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The last part of the path; the root's is empty.
    pub fn name(&self) -> &'a str {
        self.state.nodes.name(self.id.0)
    }

    /// The same as UTF-8, for those who only copy it.
    pub fn name_bytes(&self) -> &'a [u8] {
        self.state.nodes.name_bytes(self.id.0)
    }

    pub fn parent(&self) -> Option<NodeId> {
        Some(self.state.nodes.parent(self.id.0)).filter(|id| *id != NONE).map(NodeId)
    }

    pub fn path(&self) -> String {
        self.state.nodes.path(self.id.0)
    }

    /// Appends the path.
    pub fn write_path(&self, out: &mut String) {
        self.state.nodes.write_path(self.id.0, out);
    }

    pub fn data(&self) -> Option<&'a [u8]> {
        self.state.nodes.data(self.id.0)
    }

    /// As stored.
    pub fn node_stat(&self) -> NodeStat {
        self.state.nodes.stat(self.id.0)
    }

    pub fn kind(&self) -> OwnerKind {
        self.state.kind_of_owner(self.state.nodes.owner(self.id.0))
    }

    pub fn is_ephemeral(&self) -> bool {
        matches!(self.kind(), OwnerKind::Normal(_))
    }

    /// As clients see it.
    pub fn stat(&self) -> Stat {
        self.state.client_stat(self.id.0)
    }

    pub fn acl(&self) -> &'a AclList {
        self.state.acls.list(self.state.nodes.acl(self.id.0))
    }

    pub fn child_count(&self) -> usize {
        self.state.nodes.child_count(self.id.0)
    }

    pub fn child(&self, name: &str) -> Option<NodeRef<'a>> {
        let id = self.state.nodes.child(self.id.0, name)?;
        Some(NodeRef { state: self.state, id: NodeId(id) })
    }

    /// The newest first.
    pub fn children(&self) -> Children<'a> {
        Children { state: self.state, next: self.state.nodes.first_child(self.id.0), warm: 0 }
    }

    /// 0 below "/zookeeper", which the tree's digest leaves out, and where digests are off.
    pub fn digest(&self) -> u32 {
        self.state.nodes.digest(self.id.0)
    }
}

/// The children of a node.
pub struct Children<'a> {
    state: &'a State,
    next: u32,
    /// How many of the next lie near.
    warm: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = NodeRef<'a>;

    fn next(&mut self) -> Option<NodeRef<'a>> {
        if self.next == NONE {
            return None;
        }
        if self.warm == 0 {
            self.warm = WARM_NODES;
            self.state.nodes.warm_siblings(self.next);
        }
        self.warm -= 1;
        let id = self.next;
        self.next = self.state.nodes.next_sibling(id);
        Some(NodeRef { state: self.state, id: NodeId(id) })
    }
}

impl State {
    pub(super) fn client_stat(&self, id: u32) -> Stat {
        let stat = self.nodes.stat(id);
        let children = self.nodes.child_count(id) as i32;
        let owner = match self.kind_of_owner(stat.owner) {
            OwnerKind::Normal(session) => session.0,
            _ => 0,
        };
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: stat.aversion,
            ephemeral_owner: owner,
            data_length: self.nodes.data_bytes(id) as i32,
            num_children: children,
            pzxid: stat.pzxid,
        }
    }
}
