//! Every operation as a typed call, and its bytes.

use crate::base::Zxid;
use crate::proto::{Acl, AddWatchMode, CreateMode, OpCode, Writer};

/// A node to be created. Which opcode carries it follows from its mode.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    /// `None`: open to anyone.
    pub acl: Option<&'a [Acl]>,
    pub mode: CreateMode,
    /// Looked at in the TTL modes only.
    pub ttl_ms: i64,
}

impl<'a> NewNode<'a> {
    pub fn new(path: &'a str, data: &'a [u8], mode: CreateMode) -> NewNode<'a> {
        NewNode { path, data: Some(data), acl: None, mode, ttl_ms: -1 }
    }

    pub fn persistent(path: &'a str, data: &'a [u8]) -> NewNode<'a> {
        NewNode::new(path, data, CreateMode::Persistent)
    }

    pub fn ephemeral(path: &'a str, data: &'a [u8]) -> NewNode<'a> {
        NewNode::new(path, data, CreateMode::Ephemeral)
    }

    pub fn sequential(path: &'a str, data: &'a [u8]) -> NewNode<'a> {
        NewNode::new(path, data, CreateMode::PersistentSequential)
    }

    pub fn container(path: &'a str, data: &'a [u8]) -> NewNode<'a> {
        NewNode::new(path, data, CreateMode::Container)
    }

    pub fn with_ttl(path: &'a str, data: &'a [u8], ttl_ms: i64) -> NewNode<'a> {
        NewNode { ttl_ms, ..NewNode::new(path, data, CreateMode::Ttl) }
    }

    pub fn with_acl(self, acl: &'a [Acl]) -> NewNode<'a> {
        NewNode { acl: Some(acl), ..self }
    }

    fn op(&self, plain: OpCode) -> OpCode {
        match self.mode {
            mode if mode.is_container() => OpCode::CreateContainer,
            mode if mode.is_ttl() => OpCode::CreateTtl,
            _ => plain,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_string(self.path);
        out.put_buffer(self.data);
        match self.acl {
            Some(acl) => Acl::write_list(acl, out),
            None => Acl::write_list(&[Acl::open()], out),
        }
        out.put_i32(self.mode as i32);
        if self.mode.is_ttl() {
            out.put_i64(self.ttl_ms);
        }
    }
}

/// One operation inside a multi or multiRead.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Create(NewNode<'a>),
    Create2(NewNode<'a>),
    Delete { path: &'a str, version: i32 },
    SetData { path: &'a str, data: Option<&'a [u8]>, version: i32 },
    Check { path: &'a str, version: i32 },
    GetChildren { path: &'a str },
    GetData { path: &'a str },
}

impl Part<'_> {
    fn op(&self) -> OpCode {
        match self {
            Part::Create(node) => node.op(OpCode::Create),
            Part::Create2(node) => node.op(OpCode::Create2),
            Part::Delete { .. } => OpCode::Delete,
            Part::SetData { .. } => OpCode::SetData,
            Part::Check { .. } => OpCode::Check,
            Part::GetChildren { .. } => OpCode::GetChildren,
            Part::GetData { .. } => OpCode::GetData,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Part::Create(node) | Part::Create2(node) => node.write(out),
            Part::Delete { path, version } | Part::Check { path, version } => {
                write_versioned(out, path, version);
            }
            Part::SetData { path, data, version } => {
                out.put_string(path);
                out.put_buffer(data);
                out.put_i32(version);
            }
            Part::GetChildren { path } | Part::GetData { path } => {
                out.put_string(path);
                out.put_bool(false);
            }
        }
    }
}

/// What setWatches2 asks for.
#[derive(Clone, Debug, Default)]
pub struct WatchLists {
    pub relative_zxid: Zxid,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub recursive: Vec<String>,
}

/// A request. `CheckWatches` and `RemoveWatches` take 1 children, 2 data, 3 any, 4 persistent,
/// 5 persistent and recursive.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    Create(NewNode<'a>),
    Create2(NewNode<'a>),
    Delete { path: &'a str, version: i32 },
    Exists { path: &'a str, watch: bool },
    GetData { path: &'a str, watch: bool },
    SetData { path: &'a str, data: Option<&'a [u8]>, version: i32 },
    GetAcl { path: &'a str },
    SetAcl { path: &'a str, acl: &'a [Acl], version: i32 },
    GetChildren { path: &'a str, watch: bool },
    GetChildren2 { path: &'a str, watch: bool },
    Sync { path: &'a str },
    Ping,
    Multi(&'a [Part<'a>]),
    MultiRead(&'a [Part<'a>]),
    Reconfig { joining: &'a str, leaving: &'a str, members: &'a str, config_id: i64 },
    CheckWatches { path: &'a str, kind: i32 },
    RemoveWatches { path: &'a str, kind: i32 },
    DeleteContainer { path: &'a str },
    Auth { scheme: &'a str, auth: &'a [u8] },
    SetWatches(&'a WatchLists),
    SetWatches2(&'a WatchLists),
    Sasl { token: &'a [u8] },
    GetEphemerals { prefix: &'a str },
    GetAllChildrenNumber { path: &'a str },
    AddWatch { path: &'a str, mode: AddWatchMode },
    WhoAmI,
    CloseSession,
}

impl Call<'_> {
    pub fn op(&self) -> OpCode {
        match self {
            Call::Create(node) => node.op(OpCode::Create),
            Call::Create2(node) => node.op(OpCode::Create2),
            Call::Delete { .. } => OpCode::Delete,
            Call::Exists { .. } => OpCode::Exists,
            Call::GetData { .. } => OpCode::GetData,
            Call::SetData { .. } => OpCode::SetData,
            Call::GetAcl { .. } => OpCode::GetAcl,
            Call::SetAcl { .. } => OpCode::SetAcl,
            Call::GetChildren { .. } => OpCode::GetChildren,
            Call::GetChildren2 { .. } => OpCode::GetChildren2,
            Call::Sync { .. } => OpCode::Sync,
            Call::Ping => OpCode::Ping,
            Call::Multi(_) => OpCode::Multi,
            Call::MultiRead(_) => OpCode::MultiRead,
            Call::Reconfig { .. } => OpCode::Reconfig,
            Call::CheckWatches { .. } => OpCode::CheckWatches,
            Call::RemoveWatches { .. } => OpCode::RemoveWatches,
            Call::DeleteContainer { .. } => OpCode::DeleteContainer,
            Call::Auth { .. } => OpCode::Auth,
            Call::SetWatches(_) => OpCode::SetWatches,
            Call::SetWatches2(_) => OpCode::SetWatches2,
            Call::Sasl { .. } => OpCode::Sasl,
            Call::GetEphemerals { .. } => OpCode::GetEphemerals,
            Call::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Call::AddWatch { .. } => OpCode::AddWatch,
            Call::WhoAmI => OpCode::WhoAmI,
            Call::CloseSession => OpCode::CloseSession,
        }
    }

    /// The body, without the request header.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Call::Create(node) | Call::Create2(node) => node.write(out),
            Call::Delete { path, version } => write_versioned(out, path, version),
            Call::Exists { path, watch }
            | Call::GetData { path, watch }
            | Call::GetChildren { path, watch }
            | Call::GetChildren2 { path, watch } => {
                out.put_string(path);
                out.put_bool(watch);
            }
            Call::SetData { path, data, version } => {
                Part::SetData { path, data, version }.write(out)
            }
            Call::SetAcl { path, acl, version } => {
                out.put_string(path);
                Acl::write_list(acl, out);
                out.put_i32(version);
            }
            Call::GetAcl { path } | Call::Sync { path } => out.put_string(path),
            Call::DeleteContainer { path } | Call::GetAllChildrenNumber { path } => {
                out.put_string(path);
            }
            Call::GetEphemerals { prefix } => out.put_string(prefix),
            Call::Multi(parts) | Call::MultiRead(parts) => write_parts(out, parts),
            Call::Reconfig { joining, leaving, members, config_id } => {
                // Absent is null here: an empty string would be an empty list.
                for text in [joining, leaving, members] {
                    out.put_opt_string(Some(text).filter(|t| !t.is_empty()));
                }
                out.put_i64(config_id);
            }
            Call::CheckWatches { path, kind } | Call::RemoveWatches { path, kind } => {
                write_versioned(out, path, kind);
            }
            Call::Auth { scheme, auth } => {
                out.put_i32(0);
                out.put_string(scheme);
                out.put_buffer(Some(auth));
            }
            Call::SetWatches(lists) => write_watches(out, lists, false),
            Call::SetWatches2(lists) => write_watches(out, lists, true),
            Call::Sasl { token } => out.put_buffer(Some(token)),
            Call::AddWatch { path, mode } => {
                let recursive = mode == AddWatchMode::PersistentRecursive;
                write_versioned(out, path, i32::from(recursive));
            }
            Call::Ping | Call::WhoAmI | Call::CloseSession => {}
        }
    }
}

fn write_versioned(out: &mut Vec<u8>, path: &str, number: i32) {
    out.put_string(path);
    out.put_i32(number);
}

fn write_parts(out: &mut Vec<u8>, parts: &[Part<'_>]) {
    for part in parts {
        out.put_i32(part.op().number());
        out.put_bool(false);
        out.put_i32(-1);
        part.write(out);
    }
    out.put_i32(-1);
    out.put_bool(true);
    out.put_i32(-1);
}

fn write_watches(out: &mut Vec<u8>, lists: &WatchLists, two: bool) {
    out.put_i64(lists.relative_zxid.0);
    let first = [&lists.data, &lists.exist, &lists.child];
    let second = [&lists.persistent, &lists.recursive];
    let second = second.into_iter().filter(|_| two);
    for list in first.into_iter().chain(second) {
        out.put_i32(list.len() as i32);
        list.iter().for_each(|path| out.put_string(path));
    }
}
