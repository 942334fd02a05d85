//! The state from an image, piece by piece.

use std::fmt;

use crate::base::{SessionId, Zxid};
use crate::proto::{Acl, NodeStat};

use super::State;
use super::apply::place;
use super::nodes::ROOT;

/// Takes an image's sessions, ACLs and nodes, parents before children.
pub struct StateLoader {
    state: State,
    /// Siblings tend to come together.
    last_parent: (String, u32),
}

/// A node with a short path and a hundred bytes of data, in an image.
const NODE_BYTES: u64 = 192;
/// Room for these costs under 200 MiB, and an image that large is one of 3 GiB.
const MOST_EXPECTED: u64 = 1 << 24;

/// Why a node of an image cannot be in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// Its parent did not come before it.
    NoParent(String),
    /// What should be its path is none.
    NoPath(String),
}

impl StateLoader {
    pub(super) fn new(state: State) -> StateLoader {
        StateLoader { state, last_parent: ("/".to_owned(), ROOT) }
    }

    /// Makes room for about as many nodes as an image of this size holds: a guess that is wrong
    /// costs a little time or a little memory.
    pub fn expect_image_of(&mut self, bytes: u64) {
        let nodes = (bytes / NODE_BYTES).min(MOST_EXPECTED);
        self.state.nodes.reserve(nodes as usize);
    }

    pub fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.state.sessions.insert(id, timeout_ms);
    }

    /// An entry of the ACL table; all of them come before the nodes.
    pub fn acl(&mut self, id: i64, list: Vec<Acl>) {
        self.state.acls.load(id, list);
    }

    /// The root's path is "". An ACL id that is not in the table is noted, see
    /// `State::missing_acls`.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl_id: i64,
        stat: NodeStat,
    ) -> Result<(), LoadFault> {
        if path.is_empty() {
            self.replace(ROOT, path, data, acl_id, stat);
            return Ok(());
        }
        let (parent_path, name) = place(path).ok_or_else(|| LoadFault::NoPath(path.to_owned()))?;
        if self.last_parent.0 != parent_path {
            let parent = self.state.nodes.find(parent_path);
            let parent = parent.ok_or_else(|| LoadFault::NoParent(path.to_owned()))?;
            self.last_parent.0.clear();
            self.last_parent.0.push_str(parent_path);
            self.last_parent.1 = parent;
        }
        let parent = self.last_parent.1;
        let acl = self.state.acls.hold_id(acl_id);
        if let Err(id) = self.state.add_node(parent, name, path, data, acl, &stat) {
            self.replace(id, path, data, acl_id, stat);
            // Not before it is held again: nobody else may hold it.
            self.state.acls.release(acl);
        }
        Ok(())
    }

    /// The state, applied up to `zxid`. Usage under quotas is counted anew, as in Java.
    pub fn finish(mut self, zxid: Zxid) -> State {
        self.state.add_system_nodes();
        self.state.acls.drop_unused();
        self.state.set_up_quotas();
        self.state.last_zxid = zxid;
        self.state
    }

    fn replace(&mut self, id: u32, path: &str, data: Option<&[u8]>, acl_id: i64, stat: NodeStat) {
        let state = &mut self.state;
        if id != ROOT {
            state.forget_owner(id);
        }
        let old = state.nodes.acl(id);
        let acl = state.acls.hold_id(acl_id);
        state.acls.release(old);
        state.nodes.set_acl(id, acl);
        state.put_data(id, data);
        state.nodes.set_stat(id, &stat);
        state.renew_digest(id, path);
        if id != ROOT {
            state.index_owner(id, stat.owner);
        }
    }
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadFault::NoParent(path) => write!(f, "the parent of {path:?} does not precede it"),
            LoadFault::NoPath(path) => write!(f, "{path:?} is not a node's path"),
        }
    }
}
