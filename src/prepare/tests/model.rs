//! The rules told naively: a map of whole nodes, copied before every multi, digested from zero.

use std::collections::BTreeMap;

use crate::auth::Providers;
use crate::proto::{Acl, Create, CreateKind, CreateMode, ErrorCode, MultiOp, Perms, Request};
use crate::proto::{Writer, validate_path};

use super::bench::Caller;

#[derive(Clone, Debug)]
pub struct Node {
    data: Vec<u8>,
    acl: Vec<Acl>,
    owner: i64,
    times: [i64; 2],
    zxids: [i64; 3],
    versions: [i32; 3],
}

/// The root is "".
#[derive(Clone)]
pub struct Model {
    pub nodes: BTreeMap<String, Node>,
}

/// What a request came to: paths created and versions reached, or the code.
pub type Outcome = Result<Vec<String>, ErrorCode>;

pub struct Turn<'a> {
    pub caller: &'a Caller,
    pub providers: &'a Providers,
    pub zxid: i64,
    pub time: i64,
}

impl Model {
    pub fn new() -> Model {
        let mut nodes = BTreeMap::new();
        for path in ["", "/zookeeper", "/zookeeper/quota"] {
            nodes.insert(path.to_owned(), Node::new(vec![Acl::open()], 0));
        }
        let config = vec![Acl::new(Perms::READ, "world", "anyone")];
        nodes.insert("/zookeeper/config".to_owned(), Node::new(config, 0));
        Model { nodes }
    }

    pub fn digest(&self) -> u64 {
        let covered = self.nodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
        covered.fold(0u64, |sum, (path, node)| sum.wrapping_add(node.digest(path)))
    }

    pub fn run(&mut self, turn: &Turn<'_>, request: &Request<'_>) -> Outcome {
        match request {
            Request::Create(create) => self.create(turn, create),
            Request::Delete { path, version } => self.delete(turn, path.as_deref(), *version),
            Request::SetData { path, data, version } => {
                self.set_data(turn, path.as_deref(), data.unwrap_or_default(), *version)
            }
            Request::SetAcl { path, acl, version } => {
                let path = self.valid(turn, path.as_deref())?;
                let acl = turn.providers.fix_up(acl.as_deref(), &turn.caller.ids)?;
                let node = self.node(&path)?;
                permit(turn, node, Perms::ADMIN)?;
                let next = next_version(node.versions[2], *version)?;
                node.versions[2] = next;
                node.acl = acl;
                Ok(vec![next.to_string()])
            }
            Request::CloseSession => Ok(self.close(turn)),
            Request::Multi(ops) => self.multi(turn, ops),
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    fn multi(&mut self, turn: &Turn<'_>, ops: &[MultiOp<'_>]) -> Outcome {
        let mut copy = self.clone();
        let mut all = Vec::new();
        for op in ops {
            let outcome = match op {
                MultiOp::Create(create) => copy.create(turn, create),
                MultiOp::Delete { path, version } => copy.delete(turn, path.as_deref(), *version),
                MultiOp::SetData { path, data, version } => {
                    copy.set_data(turn, path.as_deref(), data.unwrap_or_default(), *version)
                }
                MultiOp::Check { path, version } => copy.check(turn, path.as_deref(), *version),
                _ => Err(ErrorCode::MarshallingError),
            };
            all.extend(outcome?);
        }
        *self = copy;
        Ok(all)
    }

    fn create(&mut self, turn: &Turn<'_>, create: &Create<'_>) -> Outcome {
        let mode = create.mode().ok_or(ErrorCode::BadArguments)?;
        let asks_ttl = create.kind == CreateKind::Ttl;
        let asks_container = create.kind == CreateKind::Container;
        let is_ttl_sound = !asks_ttl || (create.ttl > 0 && create.ttl < 1 << 40);
        let agrees = asks_ttl == mode.is_ttl() && asks_container == mode.is_container();
        if !agrees || !is_ttl_sound {
            return Err(ErrorCode::BadArguments);
        }
        turn.caller.session_ok?;
        let asked = create.path.as_deref().ok_or(ErrorCode::MarshallingError)?;
        if !asked.contains('/') || asked.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let parent_path = parent(asked);
        let acl = turn.providers.fix_up(create.acl.as_deref(), &turn.caller.ids)?;
        let above = self.node(&parent_path)?.clone();
        permit(turn, &above, Perms::CREATE)?;
        let mut path = asked.to_owned();
        if mode.is_sequential() {
            path += &format!("{:010}", above.versions[1]);
        }
        validate_path(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.node(&path).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if above.owner > 0 {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let owner = match mode {
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => turn.caller.session.0,
            CreateMode::Container => i64::MIN,
            CreateMode::Ttl | CreateMode::TtlSequential => create.ttl - (1 << 56),
            _ => 0,
        };
        let mut node = Node::new(acl, owner);
        node.data = create.data.unwrap_or_default().to_vec();
        node.zxids = [turn.zxid; 3];
        node.times = [turn.time; 2];
        let above = self.node(&parent_path)?;
        above.versions[1] += 1;
        above.zxids[2] = turn.zxid;
        self.nodes.insert(path.clone(), node);
        Ok(vec![path])
    }

    fn delete(&mut self, turn: &Turn<'_>, path: Option<&str>, version: i32) -> Outcome {
        turn.caller.session_ok?;
        let path = path.ok_or(ErrorCode::MarshallingError)?.to_owned();
        let is_system =
            ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path.as_str());
        if !path.contains('/') || path.contains('\0') || is_system {
            return Err(ErrorCode::BadArguments);
        }
        let above = self.node(&parent(&path))?.clone();
        permit(turn, &above, Perms::DELETE)?;
        next_version(self.node(&path)?.versions[0], version)?;
        let below = format!("{path}/");
        if self.nodes.keys().any(|other| other.starts_with(&below)) {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(turn, &path);
        Ok(Vec::new())
    }

    fn set_data(
        &mut self,
        turn: &Turn<'_>,
        path: Option<&str>,
        data: &[u8],
        version: i32,
    ) -> Outcome {
        let path = self.valid(turn, path)?;
        let node = self.node(&path)?;
        permit(turn, node, Perms::WRITE)?;
        let next = next_version(node.versions[0], version)?;
        node.versions[0] = next;
        node.zxids[1] = turn.zxid;
        node.times[1] = turn.time;
        node.data = data.to_vec();
        Ok(vec![next.to_string()])
    }

    fn check(&mut self, turn: &Turn<'_>, path: Option<&str>, version: i32) -> Outcome {
        let path = self.valid(turn, path)?;
        let node = self.node(&path)?;
        permit(turn, node, Perms::READ)?;
        next_version(node.versions[0], version).map(|next| vec![next.to_string()])
    }

    fn close(&mut self, turn: &Turn<'_>) -> Vec<String> {
        let owner = turn.caller.session.0;
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == owner && owner != 0);
        let mut paths: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        paths.iter().for_each(|path| self.remove(turn, path));
        paths.sort();
        paths
    }

    fn remove(&mut self, turn: &Turn<'_>, path: &str) {
        self.nodes.remove(path);
        self.node(&parent(path)).expect("a parent").zxids[2] = turn.zxid;
    }

    fn valid(&self, turn: &Turn<'_>, path: Option<&str>) -> Result<String, ErrorCode> {
        turn.caller.session_ok?;
        let path = path.ok_or(ErrorCode::BadArguments)?;
        validate_path(path).map_err(|_| ErrorCode::BadArguments)?;
        Ok(path.to_owned())
    }

    fn node(&mut self, path: &str) -> Result<&mut Node, ErrorCode> {
        self.nodes.get_mut(if path == "/" { "" } else { path }).ok_or(ErrorCode::NoNode)
    }
}

impl Node {
    fn new(acl: Vec<Acl>, owner: i64) -> Node {
        let (times, zxids, versions) = ([0; 2], [0; 3], [0; 3]);
        Node { data: Vec::new(), acl, owner, times, zxids, versions }
    }

    fn digest(&self, path: &str) -> u64 {
        let mut bytes = path.as_bytes().to_vec();
        bytes.extend_from_slice(&self.data);
        self.zxids.iter().chain(&self.times).for_each(|n| bytes.put_i64(*n));
        self.versions.iter().for_each(|n| bytes.put_i32(*n));
        bytes.put_i64(self.owner);
        u64::from(crc32fast::hash(&bytes))
    }
}

fn parent(path: &str) -> String {
    path[..path.rfind('/').expect("a slash")].to_owned()
}

fn permit(turn: &Turn<'_>, node: &Node, wanted: Perms) -> Result<(), ErrorCode> {
    let is_permitted = turn.providers.permits(&node.acl, wanted, &turn.caller.ids);
    if is_permitted { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BadVersion);
    }
    Ok(current + 1)
}
