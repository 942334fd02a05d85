//! What each txn does.

use std::sync::Arc;

use crate::base::{SessionId, Zxid};
use crate::proto::{
    Acl, CreateKind, CreateTxn, ErrorCode, NodeStat, PathList, Stat, Txn, TxnHeader,
    parent_and_name,
};

use super::nodes::{NONE, WARM_NODES};
use super::{
    Applied, Change, Changes, DIGEST_LOG_ENTRIES, DIGEST_LOG_INTERVAL, Mode, NodeId, PartResult,
    State, container_owner, node_digest, node_digest_after, ttl_owner,
};

type Outcome = Result<Stat, ErrorCode>;

/// What a txn gives back of what those before it removed: without this recovery would keep it all.
const BURIED_PER_TXN: usize = 64;

impl State {
    /// Applies one committed txn. `last_zxid` rises once all of it is in. A txn that failed at
    /// its leader changes nothing else.
    pub fn apply(&mut self, header: &TxnHeader, txn: &Txn, mode: Mode, out: &mut Applied) {
        out.clear();
        self.give_back(BURIED_PER_TXN);
        match txn {
            Txn::Multi(parts) => self.apply_multi(header, parts, out),
            txn => match self.apply_one(header, txn, &mut out.changes) {
                Ok(stat) => out.stat = stat,
                Err(code) => out.err = code,
            },
        }
        self.last_zxid = self.last_zxid.max(header.zxid);
        if mode == Mode::Exact && header.zxid.0 % DIGEST_LOG_INTERVAL == 0 {
            if self.digest_log.len() == DIGEST_LOG_ENTRIES {
                self.digest_log.pop_front();
            }
            self.digest_log.push_back((header.zxid, self.digest));
        }
    }

    /// Deletes the ephemerals of sessions that do not exist, as of the last txn.
    pub fn kill_orphan_ephemerals(&mut self, changes: &mut Changes) {
        for session in self.orphans() {
            self.delete_with_ephemerals(session, self.last_zxid, None, changes);
        }
    }

    /// One error among the parts makes errors of all: those before it did nothing wrong, those
    /// after it were not tried.
    fn apply_multi(&mut self, header: &TxnHeader, parts: &[Txn], out: &mut Applied) {
        let has_failed = parts.iter().any(|part| matches!(part, Txn::Error { .. }));
        let mut is_past_failure = false;
        for part in parts {
            let result = match part {
                Txn::Error { code } => {
                    is_past_failure = true;
                    Err(error_code(*code))
                }
                _ if is_past_failure => Err(ErrorCode::RuntimeInconsistency),
                _ if has_failed => Ok(Stat::default()),
                part if is_allowed_in_multi(part) => self.apply_one(header, part, &mut out.changes),
                // No leader writes these here; a Java server leaves off at this point, too.
                _ => return,
            };
            let err = result.err().unwrap_or(ErrorCode::Ok);
            out.parts.push(PartResult { err, stat: result.unwrap_or_default() });
        }
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: &Txn, changes: &mut Changes) -> Outcome {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
                changes.push(Change::SessionCreated(header.session));
                Ok(Stat::default())
            }
            Txn::CloseSession { paths } => {
                self.close_session(header, paths.as_ref(), changes);
                Ok(Stat::default())
            }
            Txn::Create(create) => self.create(header, create, changes),
            Txn::Delete { path } | Txn::DeleteContainer { path } => {
                self.delete(path, header.zxid, changes)
            }
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                self.set_data(header, path, data.as_deref(), *version, changes)
            }
            Txn::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Txn::Error { code } => Err(error_code(*code)),
            Txn::Check { .. } | Txn::Multi(_) => Ok(Stat::default()),
        }
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn, changes: &mut Changes) -> Outcome {
        let owner = match txn.kind {
            CreateKind::Create | CreateKind::Create2 if txn.ephemeral => header.session.0,
            CreateKind::Create | CreateKind::Create2 => 0,
            CreateKind::Container => container_owner(),
            CreateKind::Ttl => ttl_owner(txn.ttl),
        };
        let (parent_path, name) = place(&txn.path).ok_or(match txn.path.as_str() {
            "" | "/" => ErrorCode::NodeExists,
            _ => ErrorCode::BadArguments,
        })?;
        let parent = self.nodes.find(parent_path).ok_or(ErrorCode::NoNode)?;
        if let Some(existing) = self.nodes.child(parent, name) {
            self.meet_existing(existing, parent, header, txn);
            return Err(ErrorCode::NodeExists);
        }
        self.raise_cversion(parent, txn.parent_cversion, header.zxid);
        let acl = self.hold_acl(&txn.acl);
        let stat = NodeStat {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time.0,
            mtime: header.time.0,
            owner,
            ..NodeStat::default()
        };
        let added = self.add_node(parent, name, &txn.path, txn.data.as_deref(), acl, &stat);
        let id = added.expect("no node of this name was found");
        let client_stat = self.client_stat(id);
        self.quota_on_create(id, parent_path, name, &txn.path);
        changes.push(Change::Created {
            id: NodeId(id),
            path: &txn.path,
            parent: NodeId(parent),
            acl: self.acls.list(acl),
            parent_acl: self.acls.list(self.nodes.acl(parent)),
        });
        Ok(client_stat)
    }

    /// An image contained the node already. Its ACL may be one whose id the image's table lacks,
    /// so the txn's replaces it; a parent that was written before the node is brought up to date.
    fn meet_existing(&mut self, id: u32, parent: u32, header: &TxnHeader, txn: &CreateTxn) {
        self.replace_acl(id, &txn.acl);
        if txn.kind == CreateKind::Create {
            self.raise_cversion(parent, txn.parent_cversion, header.zxid);
        }
    }

    /// Only ever rises, so that a txn applied twice has the effect of once. -1, in the oldest
    /// logs, is one more than now.
    fn raise_cversion(&mut self, parent: u32, cversion: i32, zxid: Zxid) {
        let current = self.nodes.stat(parent).cversion;
        let cversion = if cversion == -1 { current.wrapping_add(1) } else { cversion };
        if cversion > current {
            self.change_stat(parent, |stat| (stat.cversion, stat.pzxid) = (cversion, zxid));
        }
    }

    /// The parent's pzxid rises even if the child is not there: an image may lack the child and
    /// hold the parent as it was before.
    fn delete(&mut self, path: &str, zxid: Zxid, changes: &mut Changes) -> Outcome {
        let (parent_path, name) = place(path).ok_or(ErrorCode::NoNode)?;
        let parent = self.nodes.find(parent_path).ok_or(ErrorCode::NoNode)?;
        self.lose_child(parent, zxid);
        let id = self.nodes.child(parent, name).ok_or(ErrorCode::NoNode)?;
        self.remove(id, path, changes);
        Ok(Stat::default())
    }

    /// The parent's half of a delete, done whether the child is there or not.
    fn lose_child(&mut self, parent: u32, zxid: Zxid) {
        if zxid > self.nodes.pzxid(parent) {
            self.change_stat(parent, |stat| stat.pzxid = zxid);
        }
    }

    fn remove(&mut self, id: u32, path: &str, changes: &mut Changes) {
        if self.nodes.first_child(id) == NONE {
            self.remove_leaf(id, path, None, changes);
        } else {
            self.remove_subtree(id, path, changes);
        }
    }

    /// Children are those of a later node of this name that an image held; their own txns follow
    /// and bring them again. Each goes before its parent.
    fn remove_subtree(&mut self, top: u32, path: &str, changes: &mut Changes) {
        let (mut at, mut path) = (top, path.to_owned());
        loop {
            while self.nodes.first_child(at) != NONE {
                at = self.nodes.first_child(at);
                path.push('/');
                path.push_str(self.nodes.name(at));
            }
            let parent = self.nodes.parent(at);
            self.remove_leaf(at, &path, None, changes);
            if at == top {
                return;
            }
            path.truncate(path.rfind('/').expect("a path below the top"));
            at = parent;
        }
    }

    /// `listed`: which of the paths it is that the txn lists, where it is one.
    fn remove_leaf(&mut self, id: u32, path: &str, listed: Option<usize>, changes: &mut Changes) {
        self.before_change(id);
        let (above, acl) = (self.nodes.parent(id), self.nodes.acl(id));
        let (node, parent) = (NodeId(id), NodeId(above));
        let (own, parent_acl) = (self.acls.list(acl), self.acls.list(self.nodes.acl(above)));
        match listed {
            Some(n) => changes.push_listed(n, node, parent, own, parent_acl),
            None => changes.push(Change::Deleted { id: node, path, parent, acl: own, parent_acl }),
        }
        self.release_acl(acl);
        self.forget_owner(id);
        let data_bytes = self.nodes.data_bytes(id);
        self.data_bytes -= utf16_units(path) + data_bytes as u64;
        self.digest = self.digest.wrapping_sub(u64::from(self.nodes.digest(id)));
        self.nodes.remove(id);
        self.quota_on_delete(path, data_bytes);
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Changes,
    ) -> Outcome {
        let id = self.nodes.find(path).ok_or(ErrorCode::NoNode)?;
        let before = self.nodes.data_bytes(id) as i64;
        self.before_change(id);
        let mut stat = self.nodes.stat(id);
        (stat.mzxid, stat.mtime, stat.version) = (header.zxid, header.time.0, version);
        self.nodes.set_stat(id, &stat);
        self.put_data(id, data);
        self.set_digest(id, path, data, &stat);
        let client_stat = self.client_stat(id);
        let after = data.map_or(0, <[u8]>::len) as i64;
        self.add_to_quota(path, after - before, 0);
        let acl = self.acls.list(self.nodes.acl(id));
        changes.push(Change::DataChanged { id: NodeId(id), path, acl });
        Ok(client_stat)
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Outcome {
        let id = self.nodes.find(path).ok_or(ErrorCode::NoNode)?;
        self.replace_acl(id, acl);
        self.change_stat(id, |stat| stat.aversion = version);
        Ok(self.client_stat(id))
    }

    /// First the nodes the txn lists, whoever owns them: with them the txn replays the same over
    /// an image where a later session has the name. Then what else the session owns.
    fn close_session(
        &mut self,
        header: &TxnHeader,
        paths: Option<&Arc<PathList>>,
        changes: &mut Changes,
    ) {
        self.delete_with_ephemerals(header.session, header.zxid, paths, changes);
        self.sessions.remove(&header.session);
        changes.push(Change::SessionClosed(header.session));
    }

    fn delete_with_ephemerals(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        listed: Option<&Arc<PathList>>,
        changes: &mut Changes,
    ) {
        let set = self.take_ephemerals(session);
        let owned: Vec<NodeId> = set.iter().copied().collect();
        self.buried_sets.push(set);
        let met = listed.map_or(0, |listed| {
            changes.share(listed);
            self.nodes.reserve_removals(owned.len());
            self.delete_all(listed, true, &owned, zxid, changes)
        });
        if met < owned.len() {
            let rest = owned.into_iter().filter(|id| self.is_ephemeral_of(*id, session));
            // By path: one may go with another.
            let rest: PathList = rest.map(|id| self.nodes.path(id.0)).collect();
            self.delete_all(&rest, false, &[], zxid, changes);
        }
        self.closing = SessionId::NONE;
    }

    /// What is not there is passed over. Neighbours share a look for their parent: the delete of
    /// a child leaves it where it is. `guesses` are nodes likely to be the ones meant, in the same
    /// order: as long as they are, none is looked for, and memory is read in the order it lies.
    /// How many of them were.
    fn delete_all(
        &mut self,
        paths: &PathList,
        is_shared: bool,
        guesses: &[NodeId],
        zxid: Zxid,
        changes: &mut Changes,
    ) -> usize {
        let (mut last, mut met): (Option<(&str, u32)>, _) = (None, 0);
        for (n, path) in paths.iter().enumerate() {
            if n % WARM_NODES == 0 && n < guesses.len() {
                self.nodes.warm(&guesses[n..guesses.len().min(n + WARM_NODES)]);
            }
            let Some((parent_path, name)) = place(path) else { continue };
            let parent = match last {
                Some((known, id)) if known == parent_path => id,
                _ => match self.nodes.find(parent_path) {
                    Some(id) => id,
                    None => continue,
                },
            };
            last = Some((parent_path, parent));
            self.lose_child(parent, zxid);
            let guess =
                guesses.get(n).map(|id| id.0).filter(|id| self.nodes.is_child(*id, parent, name));
            if let Some(id) = guess.or_else(|| self.nodes.child(parent, name)) {
                match is_shared && self.nodes.first_child(id) == NONE {
                    true => self.remove_leaf(id, path, Some(n), changes),
                    false => self.remove(id, path, changes),
                }
                met += usize::from(guess.is_some());
            }
        }
        met
    }

    fn replace_acl(&mut self, id: u32, acl: &[Acl]) {
        self.before_change(id);
        let old = self.nodes.acl(id);
        let new = self.hold_acl(acl);
        self.nodes.set_acl(id, new);
        self.release_acl(old);
    }

    fn change_stat(&mut self, id: u32, change: impl FnOnce(&mut NodeStat)) {
        self.before_change(id);
        let old = self.nodes.stat(id);
        let mut new = old;
        change(&mut new);
        self.nodes.set_stat(id, &new);
        if self.settings.digest && !self.nodes.is_outside_digest(id) {
            let digest = node_digest_after(self.nodes.digest(id), &old, &new);
            self.replace_digest(id, digest);
        }
    }

    /// Replaces the data and nothing else, as quotas do with their statistics.
    pub(super) fn put_data(&mut self, id: u32, data: Option<&[u8]>) {
        self.before_change(id);
        self.data_bytes -= self.nodes.data_bytes(id) as u64;
        self.nodes.set_data(id, data);
        self.data_bytes += self.nodes.data_bytes(id) as u64;
    }

    /// Adds a node whose parent is there and whose ACL's slot is already held for it, unless there
    /// is one of this name.
    pub(super) fn add_node(
        &mut self,
        parent: u32,
        name: &str,
        path: &str,
        data: Option<&[u8]>,
        acl: u32,
        stat: &NodeStat,
    ) -> Result<u32, u32> {
        let id = self.nodes.insert(parent, name, data, acl)?;
        self.after_birth(id);
        self.nodes.set_stat(id, stat);
        self.set_digest(id, path, data, stat);
        self.index_owner(id, stat.owner);
        self.data_bytes += utf16_units(path) + self.nodes.data_bytes(id) as u64;
        Ok(id)
    }

    /// The same by path, for the server's own nodes.
    pub(super) fn put_node(&mut self, path: &str, data: Option<&[u8]>, acl: u32, stat: &NodeStat) {
        let (parent_path, name) = parent_and_name(path).expect("a path below the root");
        let parent = self.nodes.find(parent_path).expect("parents come first");
        self.add_node(parent, name, path, data, acl, stat).expect("the server's own nodes are new");
    }

    /// Computes a node's digest from all of it.
    pub(super) fn renew_digest(&mut self, id: u32, path: &str) {
        if self.settings.digest && !self.nodes.is_outside_digest(id) {
            let digest = node_digest(path, self.nodes.data(id), &self.nodes.stat(id));
            self.replace_digest(id, digest);
        }
    }

    /// The same where its data and stat are at hand.
    fn set_digest(&mut self, id: u32, path: &str, data: Option<&[u8]>, stat: &NodeStat) {
        if self.settings.digest && !self.nodes.is_outside_digest(id) {
            self.replace_digest(id, node_digest(path, data, stat));
        }
    }

    fn replace_digest(&mut self, id: u32, digest: u32) {
        let old = u64::from(self.nodes.digest(id));
        self.digest = self.digest.wrapping_sub(old).wrapping_add(u64::from(digest));
        self.nodes.set_digest(id, digest);
    }
}

/// The parent's path and the name, of a path that can be a node's: "//a" is not another "/a".
pub(super) fn place(path: &str) -> Option<(&str, &str)> {
    let is_rooted = path.starts_with('/') && !path.starts_with("//");
    parent_and_name(path).filter(|(_, name)| is_rooted && !name.is_empty())
}

pub(super) fn utf16_units(path: &str) -> u64 {
    if path.is_ascii() {
        return path.len() as u64;
    }
    path.chars().map(|c| c.len_utf16() as u64).sum()
}

fn is_allowed_in_multi(part: &Txn) -> bool {
    use Txn::*;
    matches!(
        part,
        Create(_) | Delete { .. } | DeleteContainer { .. } | SetData { .. } | Check { .. }
    )
}

fn error_code(number: i32) -> ErrorCode {
    ErrorCode::from_number(number).unwrap_or(ErrorCode::SystemError)
}
