//! Watches: which connections are told when the replicated state changes.
//!
//! Decides who is told of what and in which order, as Java's two watch managers do. Local to this
//! server and never replicated; never looks at permissions (it hands the node's ACL along) and
//! never writes to a connection.
//!
//! A watch stands at its node's id while the node exists, else at the bare path: creating a node
//! takes the path's watches over, deleting it gives what persists back. So ids may be reused.
//! Watches must be added only when every change applied so far has been fired.

mod check;
mod holders;
mod listing;
mod places;
mod table;
mod watchers;

use std::sync::Arc;

use crate::base::limits::WATCH_SWEEP_PLACES;
use crate::base::{ConnId, Zxid};
use crate::proto::{Acl, AddWatchMode, EventKind, SetWatches, parent_and_name};
use crate::state::{Change, Changes, NodeId, State, WARM_NODES};

use holders::Flags;
pub use listing::{ConnListing, Listed, PathListing};

/// One of the two tables in which a one-shot watch may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Of getData and exists.
    Data,
    /// Of getChildren.
    Child,
}

/// What a table of watches asks of the tree of nodes.
pub trait Tree {
    /// The node of a path; "" is the root, too.
    fn id_of(&self, path: &str) -> Option<u32>;
    /// Last change of its data, last change of its children.
    fn changed(&self, id: u32) -> (Zxid, Zxid);
    fn write_path(&self, id: u32, out: &mut String);
    /// These are asked for next: what costs less for some at once may be done now.
    fn expect<S: AsRef<str>>(&self, _paths: &[S]) {}
}

/// Takes one event for one connection; the ACL decides whether it may see it.
pub type Deliver<'a> = dyn FnMut(ConnId, EventKind, &str, &Arc<[Acl]>) + 'a;

/// Numbers that `wchs` and `mntr` show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections and paths of the data table.
    pub connections: u64,
    pub paths: u64,
    pub data_watches: u64,
    pub child_watches: u64,
}

/// Every watch of this server.
#[derive(Debug)]
pub struct WatchTable {
    table: table::Table,
    hash_seed: u64,
    /// Connections that asked for more watches than they may hold.
    over_limit: Vec<ConnId>,
    /// How many were told of each change, until somebody counts it.
    fired: Vec<(EventKind, u32)>,
}

/// Numbers of told watchers kept for whoever counts them; what is beyond is not counted.
const FIRED_MAX: usize = 4096;

impl WatchTable {
    pub fn new(hash_seed: u64) -> WatchTable {
        let table = table::Table::new(hash_seed);
        WatchTable { table, hash_seed, over_limit: Vec::new(), fired: Vec::new() }
    }

    /// A one-shot watch. Whether the node must exist is the caller's to know.
    pub fn add(&mut self, conn: ConnId, tree: &impl Tree, path: &str, table: Table) {
        let flags = match table {
            Table::Data => Flags::DATA_ONCE,
            Table::Child => Flags::CHILD_ONCE,
        };
        self.add_flags(conn, tree, path, flags);
    }

    pub fn add_persistent(
        &mut self,
        conn: ConnId,
        tree: &impl Tree,
        path: &str,
        mode: AddWatchMode,
    ) {
        let flags = match mode {
            AddWatchMode::Persistent => Flags::PERSISTENT,
            AddWatchMode::PersistentRecursive => Flags::RECURSIVE,
        };
        self.add_flags(conn, tree, path, flags);
    }

    /// Watches what a client watched before it came over: what happened since `relative_zxid` is
    /// told at once (without asking the ACL, as in Java), the rest is watched again.
    pub fn set_watches(
        &mut self,
        conn: ConnId,
        tree: &impl Tree,
        set: &SetWatches<'_>,
        deliver: &mut dyn FnMut(EventKind, &str),
    ) {
        for (n, path) in set.data.iter().enumerate() {
            expect_some(tree, &set.data, n);
            match tree.id_of(path).map(|id| (id, tree.changed(id).0)) {
                None => deliver(EventKind::NodeDeleted, path),
                Some((_, at)) if at > set.relative_zxid => {
                    deliver(EventKind::NodeDataChanged, path);
                }
                Some((id, _)) => self.add_at(conn, Some(id), path, Flags::DATA_ONCE),
            }
        }
        for (n, path) in set.exist.iter().enumerate() {
            expect_some(tree, &set.exist, n);
            match tree.id_of(path) {
                Some(_) => deliver(EventKind::NodeCreated, path),
                None => self.add(conn, tree, path, Table::Data),
            }
        }
        for (n, path) in set.child.iter().enumerate() {
            expect_some(tree, &set.child, n);
            match tree.id_of(path).map(|id| (id, tree.changed(id).1)) {
                None => deliver(EventKind::NodeDeleted, path),
                Some((_, at)) if at > set.relative_zxid => {
                    deliver(EventKind::NodeChildrenChanged, path);
                }
                Some((id, _)) => self.add_at(conn, Some(id), path, Flags::CHILD_ONCE),
            }
        }
        for path in &set.persistent {
            self.add_flags(conn, tree, path, Flags::PERSISTENT);
        }
        for path in &set.persistent_recursive {
            self.add_flags(conn, tree, path, Flags::RECURSIVE);
        }
    }

    /// Tells of the changes of one txn, in their order.
    pub fn fire(&mut self, changes: &Changes, deliver: &mut Deliver<'_>) {
        for change in changes.iter() {
            match change {
                Change::Created { id, path, parent, acl, parent_acl } => {
                    let (id, parent) = (id.index() as u32, parent.index() as u32);
                    self.on_created(id, path, parent, [acl, parent_acl], deliver);
                }
                Change::Deleted { id, path, parent, acl, parent_acl } => {
                    let (id, parent) = (id.index() as u32, parent.index() as u32);
                    self.on_deleted(id, path, parent, [acl, parent_acl], deliver);
                }
                Change::DataChanged { id, path, acl } => {
                    self.on_data_changed(id.index() as u32, path, acl, deliver);
                }
                Change::SessionClosed(_) | Change::SessionCreated(_) => {}
            }
        }
    }

    /// A node appeared: its path's data watchers hear of it, then its parent's child watchers.
    fn on_created(
        &mut self,
        id: u32,
        path: &str,
        parent: u32,
        [acl, parent_acl]: [&Arc<[Acl]>; 2],
        deliver: &mut Deliver<'_>,
    ) {
        let kind = EventKind::NodeCreated;
        let told = self.table.created(id, path, &mut |conn| deliver(conn, kind, path, acl));
        self.count(kind, told);
        self.on_children_changed(parent, path, parent_acl, deliver);
    }

    /// A node went: data watchers, then child watchers who have not heard of it, then its
    /// parent's child watchers.
    fn on_deleted(
        &mut self,
        id: u32,
        path: &str,
        parent: u32,
        [acl, parent_acl]: [&Arc<[Acl]>; 2],
        deliver: &mut Deliver<'_>,
    ) {
        let kind = EventKind::NodeDeleted;
        let told = self.table.deleted(id, path, &mut |conn| deliver(conn, kind, path, acl));
        self.count(kind, told.0);
        self.count(kind, told.1);
        self.on_children_changed(parent, path, parent_acl, deliver);
    }

    fn on_data_changed(
        &mut self,
        id: u32,
        path: &str,
        acl: &Arc<[Acl]>,
        deliver: &mut Deliver<'_>,
    ) {
        let kind = EventKind::NodeDataChanged;
        let told = self.table.data_changed(id, path, &mut |conn| deliver(conn, kind, path, acl));
        self.count(kind, told);
    }

    /// Whether the connection has a watch of this kind: 1 children, 2 data, 3 any, 4 persistent,
    /// 5 recursive, as checkWatches numbers them.
    pub fn has(&self, conn: ConnId, tree: &impl Tree, path: &str, kind: i32) -> bool {
        self.table.flags(conn, place_of(tree, path), path).any(flags_of_kind(kind))
    }

    /// Takes the watches of this kind back. False if there are none.
    pub fn remove(&mut self, conn: ConnId, tree: &impl Tree, path: &str, kind: i32) -> bool {
        self.table.remove(conn, place_of(tree, path), path, flags_of_kind(kind))
    }

    /// The connection is gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.table.forget(conn);
        self.sweep();
    }

    /// Nobody watches anything any more. What a state's nodes were is nothing to the next one's,
    /// so no watch may outlive it.
    pub fn clear(&mut self) {
        self.table = table::Table::new(self.hash_seed);
    }

    /// Clears away what gone connections left. True if some remains for the next turn.
    pub fn sweep(&mut self) -> bool {
        self.table.sweep(WATCH_SWEEP_PLACES)
    }

    /// Connections to be closed: they hold fewer watches than they believe.
    pub fn take_over_limit(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.over_limit)
    }

    /// What was fired since the last call, for the summaries of watches by kind of event.
    pub fn take_fired(&mut self, count: &mut dyn FnMut(EventKind, u32)) {
        self.fired.drain(..).for_each(|(kind, told)| count(kind, told));
    }

    pub fn counts(&self) -> Counts {
        let totals = self.table.watchers.totals;
        Counts {
            connections: totals.listed,
            paths: self.table.data_places,
            data_watches: totals.data,
            child_watches: totals.child,
        }
    }

    /// Both tables' watches, as `zk_watch_count` counts them.
    pub fn watch_count(&self) -> u64 {
        let totals = self.table.watchers.totals;
        totals.data + totals.child
    }

    /// Visits about `max` lines more of the paths and who watches them. True at the end.
    pub fn list_paths(
        &self,
        listing: &mut PathListing,
        tree: &impl Tree,
        max: usize,
        visit: &mut dyn FnMut(Listed<'_>),
    ) -> bool {
        listing.step(&self.table, &|id, out| tree.write_path(id, out), max, visit)
    }

    /// Visits at most `max` lines more of the connections and what they watch. True at the end.
    pub fn list_connections(
        &mut self,
        listing: &mut ConnListing,
        tree: &impl Tree,
        max: usize,
        visit: &mut dyn FnMut(Listed<'_>),
    ) -> bool {
        listing.step(&mut self.table, &|id, out| tree.write_path(id, out), max, visit)
    }

    /// What must hold between calls. Walks everything.
    pub fn check(&self) {
        self.table.check();
    }

    fn add_flags(&mut self, conn: ConnId, tree: &impl Tree, path: &str, flags: Flags) {
        self.add_at(conn, place_of(tree, path), path, flags);
    }

    fn add_at(&mut self, conn: ConnId, node: Option<u32>, path: &str, flags: Flags) {
        // See `place_of`.
        let node = if path.is_empty() { None } else { node };
        let added = self.table.add(conn, node, path, flags);
        if added.is_err() && self.over_limit.last() != Some(&conn) {
            self.over_limit.push(conn);
        }
    }

    fn on_children_changed(
        &mut self,
        parent: u32,
        child: &str,
        acl: &Arc<[Acl]>,
        deliver: &mut Deliver<'_>,
    ) {
        if self.table.is_unwatched(parent) {
            return;
        }
        let Some((path, _)) = parent_and_name(child) else { return };
        let kind = EventKind::NodeChildrenChanged;
        let told = self.table.children_changed(parent, &mut |conn| deliver(conn, kind, path, acl));
        self.count(kind, told);
    }

    fn count(&mut self, kind: EventKind, told: usize) {
        if told > 0 && self.fired.len() < FIRED_MAX {
            self.fired.push((kind, told as u32));
        }
    }
}

impl Tree for State {
    fn id_of(&self, path: &str) -> Option<u32> {
        self.find(path).map(|id| id.index() as u32)
    }

    fn changed(&self, id: u32) -> (Zxid, Zxid) {
        let stat = self.node(NodeId::from_index(id)).node_stat();
        (stat.mzxid, stat.pzxid)
    }

    fn write_path(&self, id: u32, out: &mut String) {
        self.node(NodeId::from_index(id)).write_path(out);
    }

    fn expect<S: AsRef<str>>(&self, paths: &[S]) {
        self.warm(paths.iter().map(|path| path.as_ref().as_bytes()));
    }
}

/// Announces the next few paths of a list once each.
fn expect_some<S: AsRef<str>>(tree: &impl Tree, list: &[S], at: usize) {
    if at % WARM_NODES == 0 {
        tree.expect(&list[at..list.len().min(at + WARM_NODES)]);
    }
}

/// Where a path's watches stand. The empty path finds the root, but what is watched under that
/// name is told nothing: changes never name it.
fn place_of(tree: &impl Tree, path: &str) -> Option<u32> {
    if path.is_empty() { None } else { tree.id_of(path) }
}

/// What checkWatches and removeWatches mean by 1 to 5.
fn flags_of_kind(kind: i32) -> Flags {
    match kind {
        1 => Flags::CHILD_ONCE,
        2 => Flags::DATA_ONCE,
        3 => Flags::ALL,
        4 => Flags::PERSISTENT,
        5 => Flags::RECURSIVE,
        _ => Flags::NONE,
    }
}

#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
