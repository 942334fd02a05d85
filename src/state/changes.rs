//! What applying a txn did: the answer for the client, the changes for the watches.

use std::sync::Arc;

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

/// Changes in the order they happened: all paths in one buffer, each ACL once where neighbours
/// share it. There may be a hundred thousand when a session closes.
#[derive(Debug, Default)]
pub struct Changes {
    paths: String,
    acls: Vec<AclList>,
    list: Vec<Record>,
}

#[derive(Debug)]
enum Record {
    Created(Birth),
    Deleted(Birth),
    Data { id: NodeId, path: Place, acl: u32 },
    SessionClosed(SessionId),
    SessionCreated(SessionId),
}

/// A node that came or went. The ACLs by their place in the list of them.
#[derive(Debug)]
struct Birth {
    id: NodeId,
    path: Place,
    parent: NodeId,
    acl: u32,
    parent_acl: u32,
}

/// Where a path lies in the buffer, which a txn's limit keeps below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    end: u32,
}

impl Changes {
    pub fn clear(&mut self) {
        self.paths.clear();
        self.acls.clear();
        self.list.clear();
    }

    /// Room for as many changes more with paths of so many bytes in all.
    pub fn reserve(&mut self, changes: usize, path_bytes: usize) {
        self.list.reserve(changes);
        self.paths.reserve(path_bytes);
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
                path: self.path(b.path),
                parent: b.parent,
                acl: &self.acls[b.acl as usize],
                parent_acl: &self.acls[b.parent_acl as usize],
            },
            Record::Deleted(b) => Change::Deleted {
                id: b.id,
                path: self.path(b.path),
                parent: b.parent,
                acl: &self.acls[b.acl as usize],
                parent_acl: &self.acls[b.parent_acl as usize],
            },
            Record::Data { id, path, acl } => Change::DataChanged {
                id: *id,
                path: self.path(*path),
                acl: &self.acls[*acl as usize],
            },
            Record::SessionClosed(id) => Change::SessionClosed(*id),
            Record::SessionCreated(id) => Change::SessionCreated(*id),
        })
    }

    fn path(&self, place: Place) -> &str {
        &self.paths[place.start as usize..place.end as usize]
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
                Record::Data { id, path: self.keep(path), acl: self.keep_acl(acl) }
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
        Birth { id, path, parent, acl: self.keep_acl(acl), parent_acl: self.keep_acl(parent_acl) }
    }

    fn keep(&mut self, path: &str) -> Place {
        let start = self.paths.len();
        self.paths.push_str(path);
        let end = self.paths.len();
        assert!(end <= u32::MAX as usize, "the paths of one txn are below 4 GiB");
        Place { start: start as u32, end: end as u32 }
    }

    /// Its place among the ACLs; one of the last two, a node's and its parent's, most often.
    fn keep_acl(&mut self, acl: &AclList) -> u32 {
        let count = self.acls.len();
        let recent = (count.saturating_sub(2)..count).find(|at| Arc::ptr_eq(&self.acls[*at], acl));
        let at = recent.unwrap_or_else(|| {
            self.acls.push(acl.clone());
            count
        });
        at as u32
    }
}
