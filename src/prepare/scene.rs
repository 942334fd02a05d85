//! What one operation sees and may do: state and overlay as one, the checks, the new stats.

use crate::auth::Providers;
use crate::base::{WallMillis, Zxid};
use crate::proto::{Acl, ErrorCode, NodeStat, Perms};
use crate::state::{NodeRef, OwnerKind, State, node_digest, node_digest_after};

use super::overlay::{Overlay, Record};
use super::{PrepareSettings, Requester};

/// Nodes below are not covered by the digest.
const UNCOVERED: &str = "/zookeeper/";

/// What nobody may delete.
const SYSTEM_PATHS: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// One operation's view.
pub(super) struct Scene<'a> {
    pub settings: &'a PrepareSettings,
    pub overlay: &'a mut Overlay,
    pub state: &'a State,
    pub providers: &'a Providers,
    pub who: &'a Requester<'a>,
    pub zxid: Zxid,
    pub time: WallMillis,
}

impl Scene<'_> {
    /// The node as it will be when all in flight is applied.
    pub(super) fn find(&self, path: &str) -> Result<Record, ErrorCode> {
        let path = key(path);
        match self.overlay.find(path) {
            Some(Some(record)) => return Ok(record.clone()),
            Some(None) => return Err(ErrorCode::NoNode),
            None => {}
        }
        let node = self.settled(path).ok_or(ErrorCode::NoNode)?;
        Ok(Record {
            stat: node.node_stat(),
            children: node.child_count(),
            acl: node.acl().clone(),
            data_bytes: node.data().map_or(0, <[u8]>::len),
            digest: if is_covered(path) { node.digest() } else { 0 },
        })
    }

    pub(super) fn is_there(&self, path: &str) -> bool {
        match self.overlay.find(key(path)) {
            Some(record) => record.is_some(),
            None => self.settled(path).is_some(),
        }
    }

    /// The node of a path that no change in flight names, unless it goes with its session.
    fn settled(&self, path: &str) -> Option<NodeRef<'_>> {
        let node = self.state.node_at(path)?;
        let goes = self.overlay.is_closing()
            && matches!(node.kind(), OwnerKind::Normal(owner) if self.overlay.closes(owner));
        (!goes).then_some(node)
    }

    pub(super) fn permit(&self, acl: &[Acl], wanted: Perms) -> Result<(), ErrorCode> {
        let is_permitted = self.providers.permits(acl, wanted, self.who.ids);
        if is_permitted { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// Refuses what a quota's hard limit forbids, where the operator wants that.
    pub(super) fn check_quota(&self, path: &str, bytes: i64, count: i64) -> Result<(), ErrorCode> {
        if !self.settings.enforce_quota {
            return Ok(());
        }
        match self.state.check_quota(path, bytes, count) {
            Err(exceeded) if exceeded.is_hard => Err(ErrorCode::QuotaExceeded),
            // A soft limit is for the operator's eyes.
            _ => Ok(()),
        }
    }

    /// A new node.
    pub(super) fn add(&mut self, path: &str, data: Option<&[u8]>, stat: NodeStat, acl: &[Acl]) {
        let digest = self.digest_of(path, data, &stat);
        let data_bytes = data.map_or(0, <[u8]>::len);
        let record = Record { stat, children: 0, acl: acl.into(), data_bytes, digest };
        self.overlay.put(key(path), 0, Some(record));
    }

    /// The node with new data and the stat that goes with it.
    pub(super) fn put_data(
        &mut self,
        path: &str,
        before: Record,
        data: Option<&[u8]>,
        stat: NodeStat,
    ) {
        let digest = self.digest_of(path, data, &stat);
        let data_bytes = data.map_or(0, <[u8]>::len);
        let old = before.digest;
        self.overlay.put(key(path), old, Some(Record { stat, data_bytes, digest, ..before }));
    }

    /// The node with the same data and `change` done to its record; its digest follows.
    pub(super) fn restat(&mut self, path: &str, before: Record, change: impl FnOnce(&mut Record)) {
        let mut record = before.clone();
        change(&mut record);
        if self.settings.digest && is_covered(path) {
            record.digest = node_digest_after(before.digest, &before.stat, &record.stat);
        }
        self.overlay.put(key(path), before.digest, Some(record));
    }

    /// The node gone, and its parent knowing of it.
    pub(super) fn remove(&mut self, path: &str, node: &Record, parent_path: &str, parent: Record) {
        self.lose_children(parent_path, parent, 1);
        self.overlay.put(key(path), node.digest, None);
    }

    /// The node with so many children less.
    pub(super) fn lose_children(&mut self, path: &str, before: Record, count: usize) {
        let zxid = self.zxid;
        self.restat(path, before, |record| {
            record.children = record.children.saturating_sub(count);
            record.stat.pzxid = record.stat.pzxid.max(zxid);
        });
    }

    fn digest_of(&self, path: &str, data: Option<&[u8]>, stat: &NodeStat) -> u32 {
        if self.settings.digest && is_covered(path) {
            // The root is digested under the empty name.
            node_digest(if path == "/" { "" } else { path }, data, stat)
        } else {
            0
        }
    }
}

/// The parent's path as Java cuts it ("" for the root): there is a slash and no NUL.
pub(super) fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    let slash = path.rfind('/').ok_or(ErrorCode::BadArguments)?;
    if path.contains('\0') { Err(ErrorCode::BadArguments) } else { Ok(&path[..slash]) }
}

/// The parent's path of what may be deleted.
pub(super) fn parent_of_deletable(path: &str) -> Result<&str, ErrorCode> {
    if SYSTEM_PATHS.contains(&path) { Err(ErrorCode::BadArguments) } else { parent_of(path) }
}

fn key(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

fn is_covered(path: &str) -> bool {
    !path.starts_with(UNCOVERED)
}
