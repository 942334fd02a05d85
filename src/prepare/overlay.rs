//! What is prepared and not applied yet: the latest word about every path it touches.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;

use crate::base::{SessionId, Zxid};
use crate::proto::NodeStat;
use crate::state::AclList;

/// A node as it will be.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub stat: NodeStat,
    pub children: usize,
    pub acl: AclList,
    pub data_bytes: usize,
    /// 0 where the tree's digest leaves the node out.
    pub digest: u32,
}

/// The latest change of a path; no record: it will be gone.
struct Change {
    zxid: Zxid,
    record: Option<Record>,
}

/// Paths to their latest changes, in the order they were made, with the way back out of the txn
/// being prepared.
pub(super) struct Overlay {
    changes: HashMap<Arc<str>, Change, FixedState>,
    /// Every change, oldest first; a path that changes again stands here again.
    order: VecDeque<(Zxid, Arc<str>)>,
    /// Sessions that take their ephemerals in the state with them, but for the paths that are
    /// among the changes; and the order in which they do.
    closings: BTreeSet<SessionId>,
    closing_order: VecDeque<(Zxid, SessionId)>,
    tree_digest: u64,
    zxid: Zxid,
    /// What the txn being prepared displaced, and the digest before it.
    displaced: Vec<(Arc<str>, Option<Change>)>,
    digest_before: u64,
}

impl Overlay {
    pub(super) fn new(hash_seed: u64) -> Overlay {
        Overlay {
            changes: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            order: VecDeque::new(),
            closings: BTreeSet::new(),
            closing_order: VecDeque::new(),
            tree_digest: 0,
            zxid: Zxid::ZERO,
            displaced: Vec::new(),
            digest_before: 0,
        }
    }

    /// A txn begins. With nothing in flight the state's digest is the one to go on from.
    pub(super) fn begin(&mut self, zxid: Zxid, applied_digest: u64) {
        if let Some((last, _)) = self.order.back() {
            assert!(*last < zxid, "zxids rise from one preparation to the next");
        } else {
            self.tree_digest = applied_digest;
        }
        self.zxid = zxid;
        self.displaced.clear();
        self.digest_before = self.tree_digest;
    }

    /// `None`: nothing in flight touches the path; `Some(None)`: it will be gone.
    pub(super) fn find(&self, path: &str) -> Option<Option<&Record>> {
        self.changes.get(path).map(|change| change.record.as_ref())
    }

    /// What the path will be after the txn being prepared, whose digest was `old_digest` before.
    pub(super) fn put(&mut self, path: &str, old_digest: u32, record: Option<Record>) {
        let new_digest = record.as_ref().map_or(0, |r| r.digest);
        self.tree_digest = self
            .tree_digest
            .wrapping_sub(u64::from(old_digest))
            .wrapping_add(u64::from(new_digest));
        let change = Change { zxid: self.zxid, record };
        let (path, before) = match self.changes.entry_ref(path) {
            EntryRef::Occupied(mut known) => {
                let before = known.insert(change);
                (Arc::clone(known.key()), Some(before))
            }
            EntryRef::Vacant(place) => {
                let known = place.insert_entry(change);
                (Arc::clone(known.key()), None)
            }
        };
        // A second change by one txn replaces its first; the order holds one entry of both.
        if before.as_ref().is_none_or(|b| b.zxid != self.zxid) {
            self.order.push_back((self.zxid, Arc::clone(&path)));
            self.displaced.push((path, before));
        }
    }

    /// The session goes with what it owns in the state and no change names; `digests` is the sum
    /// over those nodes.
    pub(super) fn close(&mut self, session: SessionId, digests: u64) {
        self.tree_digest = self.tree_digest.wrapping_sub(digests);
        assert!(self.closings.insert(session), "a session takes its nodes with it once");
        self.closing_order.push_back((self.zxid, session));
    }

    pub(super) fn closes(&self, session: SessionId) -> bool {
        self.closings.contains(&session)
    }

    /// Whether any session is.
    pub(super) fn is_closing(&self) -> bool {
        !self.closings.is_empty()
    }

    /// The txn being prepared will not be: all is as before it began.
    pub(super) fn roll_back(&mut self) {
        while let Some((path, before)) = self.displaced.pop() {
            let undone = self.order.pop_back();
            assert!(undone.is_some_and(|(zxid, _)| zxid == self.zxid), "only its own is undone");
            match before {
                Some(change) => drop(self.changes.insert(path, change)),
                None => drop(self.changes.remove(&path)),
            }
        }
        while self.closing_order.back().is_some_and(|(closed, _)| *closed == self.zxid) {
            let Some((_, session)) = self.closing_order.pop_back() else { return };
            self.closings.remove(&session);
        }
        self.tree_digest = self.digest_before;
    }

    pub(super) fn applied(&mut self, zxid: Zxid) {
        // What was displaced may be older than what is applied: there is no way back any more.
        self.displaced.clear();
        while self.order.front().is_some_and(|(changed, _)| *changed <= zxid) {
            let Some((changed, path)) = self.order.pop_front() else { return };
            if let EntryRef::Occupied(change) = self.changes.entry_ref(&*path)
                && change.get().zxid == changed
            {
                change.remove();
            }
        }
        while self.closing_order.front().is_some_and(|(closed, _)| *closed <= zxid) {
            let Some((_, session)) = self.closing_order.pop_front() else { return };
            self.closings.remove(&session);
        }
        assert!(!self.order.is_empty() || self.changes.is_empty(), "each change has its entry");
    }

    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.order.clear();
        self.closings.clear();
        self.closing_order.clear();
        self.displaced.clear();
    }

    pub(super) fn tree_digest(&self) -> u64 {
        self.tree_digest
    }

    /// Every path in flight with what it will be, oldest change first; a path may come twice.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&Record>)> {
        self.order.iter().filter_map(|(_, path)| Some((path.as_ref(), self.find(path)?)))
    }
}
