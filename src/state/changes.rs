//! What applying a txn did: the answer for the client, the changes for the watches.

use std::sync::Arc;

use crate::base::SessionId;
use crate::proto::{ErrorCode, PathList, Stat};

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
    /// Paths that the txn itself lists are not copied.
    listed: Option<Arc<PathList>>,
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

/// Where a path lies in the buffer, which a txn's limit keeps below 4 GiB; or which of those that
/// the txn lists it is, where the end is [`LISTED`].
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    end: u32,
}

const LISTED: u32 = u32::MAX;

impl Changes {
    pub fn clear(&mut self) {
        self.paths.clear();
        self.acls.clear();
        self.list.clear();
        self.listed = None;
    }

    /// Room for a change of each of these paths, which need no copy.
    pub fn share(&mut self, listed: &Arc<PathList>) {
        assert!(self.listed.is_none(), "one txn lists paths once");
        self.list.reserve(listed.len());
        self.listed = Some(Arc::clone(listed));
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
        if place.end == LISTED {
            let listed = self.listed.as_deref().expect("shared before");
            return listed.at(place.start as usize);
        }
        &self.paths[place.start as usize..place.end as usize]
    }

    /// Adds a change as if it had just happened.
    pub fn push(&mut self, change: Change<'_>) {
        let record = match change {
            Change::Created { id, path, parent, acl, parent_acl } => {
                let path = self.keep(path);
                Record::Created(self.birth(id, path, parent, acl, parent_acl))
            }
            Change::Deleted { id, path, parent, acl, parent_acl } => {
                let path = self.keep(path);
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

    /// Adds that the `n`th of the shared paths was deleted.
    pub fn push_listed(
        &mut self,
        n: usize,
        id: NodeId,
        parent: NodeId,
        acl: &AclList,
        parent_acl: &AclList,
    ) {
        let path = Place { start: n as u32, end: LISTED };
        let record = Record::Deleted(self.birth(id, path, parent, acl, parent_acl));
        self.list.push(record);
    }

    fn birth(
        &mut self,
        id: NodeId,
        path: Place,
        parent: NodeId,
        acl: &AclList,
        parent_acl: &AclList,
    ) -> Birth {
        Birth { id, path, parent, acl: self.keep_acl(acl), parent_acl: self.keep_acl(parent_acl) }
    }

    fn keep(&mut self, path: &str) -> Place {
        let start = self.paths.len();
        self.paths.push_str(path);
        let end = self.paths.len();
        assert!(end < LISTED as usize, "the paths of one txn are below 4 GiB");
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
