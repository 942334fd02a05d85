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
    /// Paths that the txn itself lists are not copied, and of each of their nodes only the id is
    /// kept: fresh memory is what takes longest of all this.
    listed: Option<Arc<PathList>>,
    ids: Vec<NodeId>,
}

#[derive(Debug)]
enum Record {
    Created(Birth),
    Deleted(Birth),
    DeletedListed(Run),
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

/// Nodes that went one after the other, siblings under the same ACL, their paths in a row in the
/// txn's list.
#[derive(Debug)]
struct Run {
    first_path: u32,
    first_id: u32,
    count: u32,
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

impl Record {
    /// How many changes it is.
    fn count(&self) -> usize {
        match self {
            Record::DeletedListed(run) => run.count as usize,
            _ => 1,
        }
    }
}

impl Changes {
    pub fn clear(&mut self) {
        self.paths.clear();
        self.acls.clear();
        self.list.clear();
        self.listed = None;
        self.ids.clear();
    }

    /// Room for a change of each of these paths, which need no copy.
    pub fn share(&mut self, listed: &Arc<PathList>) {
        assert!(self.listed.is_none(), "one txn lists paths once");
        self.ids.reserve(listed.len());
        self.listed = Some(Arc::clone(listed));
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.iter().map(Record::count).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.list
            .iter()
            .flat_map(move |record| (0..record.count()).map(move |n| self.change(record, n)))
    }

    /// The `n`th change of a record.
    fn change<'a>(&'a self, record: &Record, n: usize) -> Change<'a> {
        match record {
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
            Record::DeletedListed(run) => Change::Deleted {
                id: self.ids[run.first_id as usize + n],
                path: self.listed.as_deref().expect("shared").at(run.first_path as usize + n),
                parent: run.parent,
                acl: &self.acls[run.acl as usize],
                parent_acl: &self.acls[run.parent_acl as usize],
            },
            Record::Data { id, path, acl } => Change::DataChanged {
                id: *id,
                path: self.path(*path),
                acl: &self.acls[*acl as usize],
            },
            Record::SessionClosed(id) => Change::SessionClosed(*id),
            Record::SessionCreated(id) => Change::SessionCreated(*id),
        }
    }

    fn path(&self, place: Place) -> &str {
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
        let (acl, parent_acl) = (self.keep_acl(acl), self.keep_acl(parent_acl));
        let first_id = self.ids.len() as u32;
        self.ids.push(id);
        if let Some(Record::DeletedListed(run)) = self.list.last_mut()
            && (run.parent, run.acl, run.parent_acl) == (parent, acl, parent_acl)
            && run.first_path + run.count == n as u32
        {
            run.count += 1;
            return;
        }
        let (first_path, count) = (n as u32, 1);
        let run = Run { first_path, first_id, count, parent, acl, parent_acl };
        self.list.push(Record::DeletedListed(run));
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
