//! The naive tree: what the canonical history makes of a server, written to be read.
//!
//! It knows txns only. Every read and every recovered state is held against it at the same zxid.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zkd::proto::{Acl, CreateKind, Entry, EventKind, Txn, TxnHeader};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelNode {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<Acl>,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// As stored; clients see twice this less the children.
    pub cversion: i32,
    pub aversion: i32,
    pub owner: i64,
    pub children: BTreeSet<String>,
}

impl ModelNode {
    fn new(data: Option<Vec<u8>>, acl: Vec<Acl>, header: &TxnHeader, owner: i64) -> ModelNode {
        ModelNode {
            data,
            acl,
            czxid: header.zxid.0,
            mzxid: header.zxid.0,
            pzxid: header.zxid.0,
            ctime: header.time.0,
            mtime: header.time.0,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner,
            children: BTreeSet::new(),
        }
    }

    pub fn client_cversion(&self) -> i32 {
        self.cversion.wrapping_mul(2).wrapping_sub(self.children.len() as i32)
    }
}

/// Everything replicated, at one zxid. Cheap to clone: nodes are shared.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub zxid: i64,
    pub nodes: BTreeMap<String, Rc<ModelNode>>,
    pub sessions: BTreeMap<i64, i32>,
    /// What its last txn has changed, as watches tell of it.
    pub changes: Vec<(String, EventKind)>,
}

impl Model {
    /// The tree of an empty directory, told by the server's own view of its built-in nodes.
    pub fn fresh(built_in: impl IntoIterator<Item = (String, ModelNode)>) -> Model {
        let nodes = built_in.into_iter().map(|(path, node)| (path, Rc::new(node))).collect();
        Model { nodes, ..Model::default() }
    }

    pub fn apply(&mut self, entry: &Entry) {
        let zxid = entry.header.zxid;
        // An epoch begins with its first txn.
        let is_first = zxid.counter() == 1 && i64::from(zxid.epoch()) > self.zxid >> 32;
        assert!(is_first || zxid.0 == self.zxid + 1, "the canonical history has no gap");
        self.zxid = zxid.0;
        self.changes.clear();
        self.apply_txn(&entry.header, &entry.txn);
    }

    fn apply_txn(&mut self, header: &TxnHeader, txn: &Txn) {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session.0, *timeout_ms);
            }
            Txn::CloseSession { paths } => {
                let owned = |node: &ModelNode| node.owner == header.session.0;
                let mine: BTreeSet<String> = self
                    .nodes
                    .iter()
                    .filter(|(_, node)| owned(node))
                    .map(|(path, _)| path.clone())
                    .collect();
                if let Some(paths) = paths {
                    let listed: BTreeSet<String> = paths.iter().map(str::to_owned).collect();
                    assert_eq!(listed, mine, "a session's close lists exactly its ephemerals");
                }
                mine.iter().for_each(|path| self.delete(path, header));
                self.sessions.remove(&header.session.0);
            }
            Txn::Create(create) => {
                let owner = match create.kind {
                    CreateKind::Container => i64::MIN,
                    CreateKind::Ttl => (0xff00_0000_0000_0000u64 as i64) | create.ttl,
                    _ if create.ephemeral => header.session.0,
                    _ => 0,
                };
                let node = ModelNode::new(create.data.clone(), create.acl.clone(), header, owner);
                let (parent, name) = split(&create.path);
                let parent = self.node_mut(&parent);
                assert!(parent.children.insert(name), "{} was there already", create.path);
                assert!(create.parent_cversion > parent.cversion);
                parent.cversion = create.parent_cversion;
                parent.pzxid = header.zxid.0;
                self.nodes.insert(create.path.clone(), Rc::new(node));
                self.note(&create.path, EventKind::NodeCreated);
            }
            Txn::Delete { path } | Txn::DeleteContainer { path } => self.delete(path, header),
            Txn::SetData { path, data, version } => {
                let node = self.node_mut(path);
                assert_eq!(*version, node.version.wrapping_add(1));
                node.data.clone_from(data);
                node.version = *version;
                node.mzxid = header.zxid.0;
                node.mtime = header.time.0;
                self.note(path, EventKind::NodeDataChanged);
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.node_mut(path);
                node.acl.clone_from(acl);
                node.aversion = *version;
            }
            Txn::Multi(parts) => {
                if !parts.iter().any(|part| matches!(part, Txn::Error { .. })) {
                    parts.iter().for_each(|part| self.apply_txn(header, part));
                }
            }
            Txn::Check { .. } | Txn::Error { .. } => {}
            Txn::Reconfig { .. } => panic!("a lone server reconfigures nothing"),
        }
    }

    fn delete(&mut self, path: &str, header: &TxnHeader) {
        let gone = self.nodes.remove(path).expect("only what is there is deleted");
        assert!(gone.children.is_empty(), "{path} still has children");
        let (parent, name) = split(path);
        let parent = self.node_mut(&parent);
        assert!(parent.children.remove(&name));
        parent.pzxid = parent.pzxid.max(header.zxid.0);
        self.note(path, EventKind::NodeDeleted);
    }

    fn note(&mut self, path: &str, kind: EventKind) {
        self.changes.push((path.to_owned(), kind));
        if kind != EventKind::NodeDataChanged {
            self.changes.push((split(path).0, EventKind::NodeChildrenChanged));
        }
    }

    fn node_mut(&mut self, path: &str) -> &mut ModelNode {
        let node = self.nodes.get_mut(path);
        Rc::make_mut(node.unwrap_or_else(|| panic!("{path} is not there")))
    }
}

fn split(path: &str) -> (String, String) {
    let (parent, name) = zkd::proto::parent_and_name(path).expect("a path below the root");
    (parent.to_owned(), name.to_owned())
}
