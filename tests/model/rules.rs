//! The rules of the writes, each check in its order.

use crate::expect::Piece;
use crate::ops::{
    CHECK, CREATE, CREATE_CONTAINER, CREATE_TTL, CREATE2, DELETE, Entry, NewNode, Part, SET_DATA,
};
use crate::tree::{AclOf, Kind, Node, Tree, split};

pub const MARSHALLING: i32 = -5;
pub const BAD_ARGUMENTS: i32 = -8;
pub const NO_NODE: i32 = -101;
pub const NO_AUTH: i32 = -102;
pub const BAD_VERSION: i32 = -103;
pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
pub const NODE_EXISTS: i32 = -110;
pub const NOT_EMPTY: i32 = -111;
pub const INVALID_ACL: i32 = -114;
pub const QUOTA_EXCEEDED: i32 = -125;

pub const READ: i32 = 1;
pub const WRITE: i32 = 2;
pub const MAKE: i32 = 4;
pub const REMOVE: i32 = 8;
pub const ADMIN: i32 = 16;

const TTL_MAX: i64 = 0xff_ffff_ffff;

/// Who asks: its session and its identities.
#[derive(Clone, Debug)]
pub struct Who {
    pub session: i64,
    pub ids: Vec<(String, String)>,
}

impl Who {
    pub fn can(&self, acl: &AclOf, wanted: i32) -> bool {
        if self.ids.iter().any(|(scheme, _)| scheme == "super") {
            return true;
        }
        acl.list.iter().any(|e| {
            let scheme = e.scheme.as_deref().unwrap_or("");
            let meant = match scheme {
                "world" => true,
                "ip" => e.id == "127.0.0.1" || e.id == "127.0.0.0/8",
                _ => self.ids.iter().any(|(s, id)| s == scheme && *id == e.id),
            };
            e.perms & wanted != 0 && meant
        })
    }

    pub fn fix_up(&self, acl: Option<&[Entry]>) -> Result<AclOf, i32> {
        let mut unique: Vec<Entry> = Vec::new();
        for entry in acl.unwrap_or_default() {
            if !unique.contains(entry) {
                unique.push(entry.clone());
            }
        }
        if unique.is_empty() {
            return Err(INVALID_ACL);
        }
        let (mut list, mut scrambled) = (Vec::new(), false);
        for entry in unique {
            match entry.scheme.as_deref() {
                Some("world") if entry.id == "anyone" => list.push(entry),
                Some("auth") => {
                    let own: Vec<_> = self.ids.iter().filter(|(s, _)| s == "digest").collect();
                    if own.is_empty() {
                        return Err(INVALID_ACL);
                    }
                    scrambled |= own.len() > 1;
                    for (scheme, id) in own {
                        let scheme = Some(scheme.clone());
                        list.push(Entry { perms: entry.perms, scheme, id: id.clone() });
                    }
                }
                Some("digest") if entry.id.split(':').count() == 2 => list.push(entry),
                Some("ip") if entry.id.split('.').count() == 4 => list.push(entry),
                _ => return Err(INVALID_ACL),
            }
        }
        Ok(AclOf { list, scrambled })
    }
}

/// What happened, for the watches.
#[derive(Clone, Debug)]
pub enum Change {
    Created { path: String, acl: AclOf, above: AclOf },
    Deleted { path: String, acl: AclOf, above: AclOf },
    Set { path: String, acl: AclOf },
}

/// What a write answers.
pub enum Done {
    Path(String),
    Created(String, Vec<Piece>),
    Stat(Vec<Piece>),
    Nothing,
}

/// One request's work on a copy of the tree.
pub struct Work<'a> {
    pub tree: Tree,
    /// As it was before the request: what quotas look at.
    pub base: &'a Tree,
    pub who: &'a Who,
    pub zxid: i64,
    pub changes: Vec<Change>,
}

pub fn is_valid_path(path: &str) -> bool {
    let bad = |c: char| {
        let n = c as u32;
        matches!(n, 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
    };
    if path == "/" {
        return true;
    }
    path.strip_prefix('/').is_some_and(|rest| {
        !path.chars().any(bad) && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    })
}

fn parent_of(path: &str) -> Result<&str, i32> {
    if !path.contains('/') || path.contains('\0') {
        return Err(BAD_ARGUMENTS);
    }
    Ok(split(path).0)
}

fn deletable_parent(path: &str) -> Result<&str, i32> {
    let special = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
    if special.contains(&path) { Err(BAD_ARGUMENTS) } else { parent_of(path) }
}

fn version_is(expected: i32, found: i32) -> Result<(), i32> {
    if expected == -1 || expected == found { Ok(()) } else { Err(BAD_VERSION) }
}

impl Work<'_> {
    fn node(&self, path: &str) -> Result<&Node, i32> {
        self.tree.get(path).ok_or(NO_NODE)
    }

    fn allow(&self, acl: &AclOf, wanted: i32) -> Result<(), i32> {
        if self.who.can(acl, wanted) { Ok(()) } else { Err(NO_AUTH) }
    }

    pub fn create(&mut self, new: &NewNode) -> Result<Done, i32> {
        let (ttl_mode, container) = (matches!(new.flags, 5 | 6), new.flags == 4);
        let ttl = if new.op == CREATE_TTL { new.ttl } else { -1 };
        if !(0..=6).contains(&new.flags) {
            return Err(BAD_ARGUMENTS);
        }
        if if ttl_mode { ttl <= 0 || ttl > TTL_MAX } else { ttl >= 0 } {
            return Err(BAD_ARGUMENTS);
        }
        let parent = parent_of(&new.path)?;
        let acl = self.who.fix_up(new.acl.as_deref())?;
        let above = self.node(parent)?;
        let above_acl = above.acl.clone();
        self.allow(&above_acl, MAKE)?;
        let mut path = new.path.clone();
        if matches!(new.flags, 2 | 3 | 6) {
            path.push_str(&format!("{:010}", above.cversion));
        }
        if !is_valid_path(&path) {
            return Err(BAD_ARGUMENTS);
        }
        if self.tree.get(&path).is_some() {
            return Err(NODE_EXISTS);
        }
        if matches!(above.kind, Kind::Ephemeral(_)) {
            return Err(NO_CHILDREN_FOR_EPHEMERALS);
        }
        let size = new.data.as_ref().map_or(0, |d| d.len() as i64);
        if self.base.is_over(&path, size, 1) {
            return Err(QUOTA_EXCEEDED);
        }
        let kind = match new.flags {
            1 | 3 => Kind::Ephemeral(self.who.session),
            _ if container => Kind::Container,
            _ if ttl_mode => Kind::Ttl,
            _ => Kind::Plain,
        };
        let node = Node::new(new.data.clone(), acl.clone(), kind, self.zxid);
        let mut stat = Vec::new();
        node.stat(&mut stat);
        self.tree.insert(&path, node);
        self.changes.push(Change::Created { path: path.clone(), acl, above: above_acl });
        Ok(if new.op == CREATE { Done::Path(path) } else { Done::Created(path, stat) })
    }

    pub fn delete(&mut self, path: &str, version: i32) -> Result<Done, i32> {
        let parent = deletable_parent(path)?;
        self.allow(&self.node(parent)?.acl, REMOVE)?;
        let node = self.node(path)?;
        version_is(version, node.version)?;
        if !node.children.is_empty() {
            return Err(NOT_EMPTY);
        }
        self.remove(path);
        Ok(Done::Nothing)
    }

    pub fn delete_container(&mut self, path: &str) -> Result<Done, i32> {
        deletable_parent(path)?;
        let node = self.node(path)?;
        if !node.children.is_empty() {
            return Err(NOT_EMPTY);
        }
        if matches!(node.kind, Kind::Ephemeral(_)) {
            return Err(BAD_VERSION);
        }
        self.remove(path);
        Ok(Done::Nothing)
    }

    pub fn remove(&mut self, path: &str) {
        let node = self.tree.remove(path, self.zxid);
        let above = self.tree.get(split(path).0).expect("a node had a parent").acl.clone();
        self.changes.push(Change::Deleted { path: path.to_owned(), acl: node.acl, above });
    }

    pub fn set(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Done, i32> {
        if !is_valid_path(path) {
            return Err(BAD_ARGUMENTS);
        }
        let node = self.node(path)?;
        self.allow(&node.acl, WRITE)?;
        let grown = data.map_or(0, |d| d.len() as i64) - node.size();
        if self.base.is_over(path, grown, 0) {
            return Err(QUOTA_EXCEEDED);
        }
        version_is(version, node.version)?;
        let acl = node.acl.clone();
        self.tree.set(path, data.map(<[u8]>::to_vec), self.zxid);
        self.changes.push(Change::Set { path: path.to_owned(), acl });
        Ok(Done::Stat(self.stat(path)))
    }

    pub fn set_acl(&mut self, path: &str, acl: Option<&[Entry]>, v: i32) -> Result<Done, i32> {
        if !is_valid_path(path) {
            return Err(BAD_ARGUMENTS);
        }
        let acl = self.who.fix_up(acl)?;
        let node = self.node(path)?;
        self.allow(&node.acl, ADMIN)?;
        version_is(v, node.aversion)?;
        let node = self.tree.get_mut(path).expect("just found");
        node.acl = acl;
        node.aversion += 1;
        Ok(Done::Stat(self.stat(path)))
    }

    pub fn check(&mut self, path: &str, version: i32) -> Result<Done, i32> {
        if !is_valid_path(path) {
            return Err(BAD_ARGUMENTS);
        }
        let node = self.node(path)?;
        self.allow(&node.acl, READ)?;
        version_is(version, node.version)?;
        Ok(Done::Nothing)
    }

    fn stat(&self, path: &str) -> Vec<Piece> {
        let mut stat = Vec::new();
        self.tree.get(path).expect("just written").stat(&mut stat);
        stat
    }

    pub fn part(&mut self, part: &Part) -> Result<(i32, Done), i32> {
        Ok(match part {
            Part::Create(new) => {
                let mut new = new.clone();
                // The flags decide: a container is one, and 21 without a TTL is a plain create.
                new.op = match (new.op, new.flags) {
                    (_, 4) => CREATE_CONTAINER,
                    (CREATE_TTL, 5 | 6) => CREATE_TTL,
                    (CREATE_TTL, _) => CREATE,
                    (op, _) => op,
                };
                let kind = if new.op == CREATE { CREATE } else { CREATE2 };
                (kind, self.create(&new)?)
            }
            Part::Delete(path, version) => (DELETE, self.delete(path, *version)?),
            Part::SetData(path, data, version) => {
                (SET_DATA, self.set(path, data.as_deref(), *version)?)
            }
            Part::Check(path, version) => (CHECK, self.check(path, *version)?),
            _ => return Err(MARSHALLING),
        })
    }
}

/// Whether a multi cannot be decoded, or holds what no multi may.
pub fn is_garbled(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Alien(_) => true,
        Part::Create(new) if new.op == CREATE_TTL => false,
        Part::Create(new) => !(0..=4).contains(&new.flags),
        _ => false,
    }) || is_mixed(parts)
}

pub fn is_mixed(parts: &[Part]) -> bool {
    parts.iter().any(Part::is_read) && !parts.iter().all(Part::is_read)
}
