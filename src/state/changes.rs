//! What applying a txn did: the answer for the client, the changes for the watches.

use std::ops::Range;

use crate::base::SessionId;
use crate::proto::{ErrorCode, Stat};

use super::{AclList, NodeId};

/// One part of a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartResult {
    pub err: ErrorCode,
    pub stat: Stat,
}

/// The outcome of one txn. Reused from txn to txn.
#[derive(Debug)]
pub struct Applied {
    /// What the client gets. Ok for a multi, whose parts speak for themselves.
    pub err: ErrorCode,
    /// Of the node that was created or set.
    pub stat: Stat,
    /// A multi's results, in order.
    pub parts: Vec<PartResult>,
    pub changes: Changes,
}

impl Default for Applied {
    fn default() -> Applied {
        let (err, stat) = (ErrorCode::Ok, Stat::default());
        Applied { err, stat, parts: Vec::new(), changes: Changes::default() }
    }
}

impl Applied {
    pub fn clear(&mut self) {
        self.err = ErrorCode::Ok;
        self.stat = Stat::default();
        self.parts.clear();
        self.changes.clear();
    }
}

/// One change. A created or deleted node implies that its parent's children changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'a> {
    Created {
        id: NodeId,
        path: &'a str,
        parent: NodeId,
        acl: &'a AclList,
        parent_acl: &'a AclList,
    },
    /// The id may already belong to a node created later in the same list.
    Deleted {
        id: NodeId,
        path: &'a str,
        parent: NodeId,
        acl: &'a AclList,
        parent_acl: &'a AclList,
    },
    DataChanged {
        id: NodeId,
        path: &'a str,
        acl: &'a AclList,
    },
    SessionClosed(SessionId),
    SessionCreated(SessionId),
}

/// Changes in the order they happened; all paths in one buffer.
#[derive(Debug, Default)]
pub struct Changes {
    paths: String,
    list: Vec<Record>,
}

#[derive(Debug)]
enum Record {
    Created(Birth),
    Deleted(Birth),
    Data { id: NodeId, path: Range<usize>, acl: AclList },
    SessionClosed(SessionId),
    SessionCreated(SessionId),
}

/// A node that came or went.
#[derive(Debug)]
struct Birth {
    id: NodeId,
    path: Range<usize>,
    parent: NodeId,
    acl: AclList,
    parent_acl: AclList,
}

impl Changes {
    pub fn clear(&mut self) {
        self.paths.clear();
        self.list.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.list.iter().map(|record| match record {
            Record::Created(b) => Change::Created {
                id: b.id,
                path: &self.paths[b.path.clone()],
                parent: b.parent,
                acl: &b.acl,
                parent_acl: &b.parent_acl,
            },
            Record::Deleted(b) => Change::Deleted {
                id: b.id,
                path: &self.paths[b.path.clone()],
                parent: b.parent,
                acl: &b.acl,
                parent_acl: &b.parent_acl,
            },
            Record::Data { id, path, acl } => {
                Change::DataChanged { id: *id, path: &self.paths[path.clone()], acl }
            }
            Record::SessionClosed(id) => Change::SessionClosed(*id),
            Record::SessionCreated(id) => Change::SessionCreated(*id),
        })
    }

    /// Adds a change as if it had just happened.
    pub fn push(&mut self, change: Change<'_>) {
        let record = match change {
            Change::Created { id, path, parent, acl, parent_acl } => {
                Record::Created(self.birth(id, path, parent, acl, parent_acl))
            }
            Change::Deleted { id, path, parent, acl, parent_acl } => {
                Record::Deleted(self.birth(id, path, parent, acl, parent_acl))
            }
            Change::DataChanged { id, path, acl } => {
                Record::Data { id, path: self.keep(path), acl: acl.clone() }
            }
            Change::SessionClosed(id) => Record::SessionClosed(id),
            Change::SessionCreated(id) => Record::SessionCreated(id),
        };
        self.list.push(record);
    }

    fn birth(
        &mut self,
        id: NodeId,
        path: &str,
        parent: NodeId,
        acl: &AclList,
        parent_acl: &AclList,
    ) -> Birth {
        let path = self.keep(path);
        Birth { id, path, parent, acl: acl.clone(), parent_acl: parent_acl.clone() }
    }

    fn keep(&mut self, path: &str) -> Range<usize> {
        let start = self.paths.len();
        self.paths.push_str(path);
        start..self.paths.len()
    }
}
