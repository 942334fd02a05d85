//! The naive tree: a map from path to node, and what hangs on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::expect::Piece;
use crate::ops::Entry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Ephemeral(i64),
    Container,
    Ttl,
}

/// An ACL; `scrambled` where the server may keep its entries in any order.
#[derive(Clone, Debug)]
pub struct AclOf {
    pub list: Vec<Entry>,
    pub scrambled: bool,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    pub acl: AclOf,
    pub kind: Kind,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub version: i32,
    /// As stored: counts creations only.
    pub cversion: i32,
    pub aversion: i32,
    pub children: BTreeSet<String>,
}

impl Node {
    pub fn new(data: Option<Vec<u8>>, acl: AclOf, kind: Kind, zxid: i64) -> Node {
        Node {
            data,
            acl,
            kind,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            version: 0,
            cversion: 0,
            aversion: 0,
            children: BTreeSet::new(),
        }
    }

    pub fn size(&self) -> i64 {
        self.data.as_ref().map_or(0, |d| d.len() as i64)
    }

    /// The 68 bytes a client sees; the two times are named after their txns.
    pub fn stat(&self, out: &mut Vec<Piece>) {
        let owner = match self.kind {
            Kind::Ephemeral(session) => session,
            _ => 0,
        };
        let children = self.children.len() as i32;
        out.push(Piece::long(self.czxid));
        out.push(Piece::long(self.mzxid));
        out.push(Piece::Time(self.czxid));
        out.push(Piece::Time(self.mzxid));
        out.push(Piece::int(self.version));
        out.push(Piece::int(2 * self.cversion - children));
        out.push(Piece::int(self.aversion));
        out.push(Piece::long(owner));
        out.push(Piece::int(self.size() as i32));
        out.push(Piece::int(children));
        out.push(Piece::long(self.pzxid));
    }
}

pub fn entry(perms: i32, scheme: &str, id: &str) -> Entry {
    Entry { perms, scheme: Some(scheme.to_owned()), id: id.to_owned() }
}

#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    /// Paths with a limits node.
    quotas: BTreeSet<String>,
}

impl Tree {
    /// What a fresh server has.
    pub fn new() -> Tree {
        let mut nodes = BTreeMap::new();
        let mut add = |path: &str, perms: i32, data: Option<Vec<u8>>, children: &[&str]| {
            let acl = AclOf { list: vec![entry(perms, "world", "anyone")], scrambled: false };
            let mut node = Node::new(data, acl, Kind::Plain, 0);
            node.children = children.iter().map(|c| (*c).to_owned()).collect();
            nodes.insert(path.to_owned(), node);
        };
        add("/", 31, Some(Vec::new()), &["zookeeper"]);
        add("/zookeeper", 31, Some(Vec::new()), &["config", "quota"]);
        add("/zookeeper/quota", 31, Some(Vec::new()), &[]);
        add("/zookeeper/config", 1, Some(Vec::new()), &[]);
        nodes.get_mut("/zookeeper/config").expect("just added").aversion = -1;
        Tree { nodes, quotas: BTreeSet::new() }
    }

    /// The root has two names.
    fn key(path: &str) -> &str {
        if path.is_empty() { "/" } else { path }
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(Tree::key(path))
    }

    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(Tree::key(path))
    }

    pub fn paths(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.nodes.keys()
    }

    pub fn descendants(&self, path: &str) -> i32 {
        let count = match path {
            "/" => self.nodes.len() - 1,
            // The root's other name counts the root itself.
            "" => self.nodes.len(),
            _ => {
                let prefix = format!("{path}/");
                self.nodes.keys().filter(|p| p.starts_with(&prefix)).count()
            }
        };
        count as i32
    }

    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let own = |(_, node): &(&String, &Node)| node.kind == Kind::Ephemeral(session);
        self.nodes.iter().filter(own).map(|(path, _)| path.clone()).collect()
    }

    pub fn insert(&mut self, path: &str, node: Node) {
        let (parent, name) = split(path);
        let (zxid, size) = (node.czxid, node.size());
        let above = self.get_mut(parent).expect("the parent was checked");
        above.cversion += 1;
        above.pzxid = zxid;
        above.children.insert(name.to_owned());
        self.nodes.insert(path.to_owned(), node);
        if let Some(quota) = parent.strip_prefix("/zookeeper/quota") {
            if name == "zookeeper_limits" {
                self.quotas.insert(quota.to_owned());
            }
            if name == "zookeeper_stats" {
                self.count_usage(quota);
            }
        }
        self.use_quota(path, size, 1);
    }

    pub fn remove(&mut self, path: &str, zxid: i64) -> Node {
        let (parent, name) = split(path);
        let node = self.nodes.remove(path).expect("the node was checked");
        let above = self.get_mut(parent).expect("a node has a parent");
        above.pzxid = above.pzxid.max(zxid);
        above.children.remove(name);
        if name == "zookeeper_limits" {
            if let Some(quota) = parent.strip_prefix("/zookeeper/quota") {
                self.quotas.remove(quota);
            }
        }
        self.use_quota(path, -node.size(), -1);
        node
    }

    pub fn set(&mut self, path: &str, data: Option<Vec<u8>>, zxid: i64) {
        let node = self.get_mut(path).expect("the node was checked");
        let before = node.size();
        node.data = data;
        node.version += 1;
        node.mzxid = zxid;
        let grown = node.size() - before;
        self.use_quota(path, grown, 0);
    }

    /// The nearest path above or at `path` that has a limit.
    fn limited(&self, path: &str) -> Option<String> {
        let mut at = path;
        loop {
            if self.quotas.contains(at) {
                return Some(at.to_owned());
            }
            match at.rfind('/') {
                None | Some(0) => return None,
                Some(cut) => at = &at[..cut],
            }
        }
    }

    fn use_quota(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(quota) = self.limited(path) else { return };
        let stats = format!("/zookeeper/quota{quota}/zookeeper_stats");
        let Some(node) = self.nodes.get_mut(&stats) else { return };
        let mut usage = Usage::read(node.data.as_deref().unwrap_or_default());
        usage.add("count", count);
        usage.add("bytes", bytes);
        node.data = Some(usage.text().into_bytes());
    }

    /// A new stats node starts with what is there.
    fn count_usage(&mut self, quota: &str) {
        let below = format!("{quota}/");
        let inside = |p: &&String| p.as_str() == quota || p.starts_with(&below);
        let paths: Vec<String> = self.nodes.keys().filter(inside).cloned().collect();
        let found = self.nodes.contains_key(quota);
        let counted: Vec<&Node> = paths.iter().filter(|_| found).map(|p| &self.nodes[p]).collect();
        let mut usage = Usage::default();
        usage.0.insert("count".to_owned(), counted.len() as i64);
        usage.0.insert("bytes".to_owned(), counted.iter().map(|n| n.size()).sum());
        let stats = format!("/zookeeper/quota{quota}/zookeeper_stats");
        let node = self.nodes.get_mut(&stats).expect("it was just created");
        node.data = Some(usage.text().into_bytes());
    }

    /// Whether a hard limit forbids the growth.
    pub fn is_over(&self, path: &str, bytes: i64, count: i64) -> bool {
        let Some(quota) = self.limited(path) else { return false };
        let at = |name: &str| {
            let node = self.nodes.get(&format!("/zookeeper/quota{quota}/{name}"))?;
            Some(Usage::read(node.data.as_deref().unwrap_or_default()))
        };
        let (Some(limits), Some(usage)) = (at("zookeeper_limits"), at("zookeeper_stats")) else {
            return false;
        };
        let over = |hard: &str, what: &str, more: i64| {
            let limit = limits.value(hard);
            more != 0 && limit > -1 && usage.value(what) + more > limit
        };
        over("countHardLimit", "count", count) || over("byteHardLimit", "bytes", bytes)
    }

    /// Limits are looked at in what is applied, not in what is under way: while there are any,
    /// each operation waits for the one before it.
    pub fn has_limits(&self) -> bool {
        !self.quotas.is_empty()
    }
}

pub fn split(path: &str) -> (&str, &str) {
    let cut = path.rfind('/').expect("paths of nodes have a slash");
    (&path[..cut], &path[cut + 1..])
}

/// The text of limits and stats nodes.
#[derive(Clone, Debug, Default)]
struct Usage(BTreeMap<String, i64>);

impl Usage {
    fn read(text: &[u8]) -> Usage {
        let text = String::from_utf8_lossy(text).into_owned();
        let mut usage = Usage::default();
        for pair in text.split([',', ';']).filter(|p| !p.is_empty()) {
            let mut words = pair.split('=');
            let (name, value) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            usage.0.insert(name.to_owned(), value.parse().unwrap_or(-1));
        }
        usage
    }

    fn value(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn add(&mut self, name: &str, more: i64) {
        let sum = self.value(name) + more;
        self.0.insert(name.to_owned(), sum);
    }

    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.value("count"), self.value("bytes"));
        let others: Vec<_> =
            self.0.iter().filter(|(k, _)| *k != "count" && *k != "bytes").collect();
        if !others.is_empty() {
            text.push('=');
        }
        for (name, value) in others {
            text.push_str(&format!(";{name}={value}"));
        }
        text
    }
}
