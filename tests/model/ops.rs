//! What a random client may do, and its bytes.

use crate::wire::Out;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const GET_ACL: i32 = 6;
pub const SET_ACL: i32 = 7;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const GET_CHILDREN2: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const CREATE2: i32 = 15;
pub const RECONFIG: i32 = 16;
pub const CHECK_WATCHES: i32 = 17;
pub const REMOVE_WATCHES: i32 = 18;
pub const CREATE_CONTAINER: i32 = 19;
pub const DELETE_CONTAINER: i32 = 20;
pub const CREATE_TTL: i32 = 21;
pub const MULTI_READ: i32 = 22;
pub const AUTH: i32 = 100;
pub const SET_WATCHES: i32 = 101;
pub const SASL: i32 = 102;
pub const GET_EPHEMERALS: i32 = 103;
pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
pub const SET_WATCHES2: i32 = 105;
pub const ADD_WATCH: i32 = 106;
pub const WHO_AM_I: i32 = 107;
pub const CLOSE_SESSION: i32 = -11;

/// One ACL entry as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub perms: i32,
    pub scheme: Option<String>,
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    pub op: i32,
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub acl: Option<Vec<Entry>>,
    pub flags: i32,
    pub ttl: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// How far behind the present the client says it is; `i64::MAX` for "saw nothing".
    pub behind: i64,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub recursive: Vec<String>,
}

/// One operation of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Create(NewNode),
    Delete(String, i32),
    SetData(String, Option<Vec<u8>>, i32),
    Check(String, i32),
    GetChildren(String),
    GetData(String),
    /// An opcode that has no place inside.
    Alien(i32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Create(NewNode),
    Delete(String, i32),
    /// exists, getData, getChildren, getChildren2.
    Read(i32, String, bool),
    SetData(String, Option<Vec<u8>>, i32),
    GetAcl(String),
    SetAcl(String, Option<Vec<Entry>>, i32),
    Sync(String),
    Ping,
    Multi(Vec<Part>),
    MultiRead(Vec<Part>),
    Reconfig,
    /// checkWatches, removeWatches.
    Watches(i32, String, i32),
    DeleteContainer(String),
    Auth(String, String),
    Sasl,
    SetWatches(Lists),
    SetWatches2(Lists),
    GetEphemerals(Option<String>),
    GetAllChildrenNumber(String),
    AddWatch(String, i32),
    WhoAmI,
    CloseSession,
    /// A read whose body ends too early.
    Short(i32),
    /// A read whose path is null.
    NullPath(i32),
    Unknown(i32),
}

impl Op {
    pub fn code(&self) -> i32 {
        match self {
            Op::Create(node) => node.op,
            Op::Delete(..) => DELETE,
            Op::Read(op, ..) | Op::Watches(op, ..) => *op,
            Op::Short(op) | Op::NullPath(op) | Op::Unknown(op) => *op,
            Op::SetData(..) => SET_DATA,
            Op::GetAcl(_) => GET_ACL,
            Op::SetAcl(..) => SET_ACL,
            Op::Sync(_) => SYNC,
            Op::Ping => PING,
            Op::Multi(_) => MULTI,
            Op::MultiRead(_) => MULTI_READ,
            Op::Reconfig => RECONFIG,
            Op::DeleteContainer(_) => DELETE_CONTAINER,
            Op::Auth(..) => AUTH,
            Op::Sasl => SASL,
            Op::SetWatches(_) => SET_WATCHES,
            Op::SetWatches2(_) => SET_WATCHES2,
            Op::GetEphemerals(_) => GET_EPHEMERALS,
            Op::GetAllChildrenNumber(_) => GET_ALL_CHILDREN_NUMBER,
            Op::AddWatch(..) => ADD_WATCH,
            Op::WhoAmI => WHO_AM_I,
            Op::CloseSession => CLOSE_SESSION,
        }
    }

    pub fn xid(&self, next: &mut i32) -> i32 {
        match self {
            Op::Ping => -2,
            Op::Auth(..) => -4,
            Op::SetWatches(_) | Op::SetWatches2(_) => -8,
            _ => {
                *next += 1;
                *next
            }
        }
    }

    /// Answered past the pipeline, or ends the connection: it must have its burst for itself.
    pub fn stands_alone(&self) -> bool {
        matches!(self, Op::Auth(..) | Op::Sasl | Op::Unknown(_) | Op::CloseSession)
    }

    /// `relative` is the zxid that setWatches names.
    pub fn body(&self, relative: i64) -> Vec<u8> {
        let mut out = Out::default();
        let o = &mut out;
        match self {
            Op::Create(node) => put_node(o, node),
            Op::Delete(path, n) | Op::Watches(_, path, n) | Op::AddWatch(path, n) => {
                o.str(path).int(*n);
            }
            Op::Read(_, path, watch) => {
                o.str(path).bool(*watch);
            }
            Op::SetData(path, data, version) => {
                o.str(path).buf(data.as_deref()).int(*version);
            }
            Op::SetAcl(path, acl, version) => {
                put_acl(o.str(path), acl.as_deref());
                o.int(*version);
            }
            Op::GetAcl(path) | Op::Sync(path) => {
                o.str(path);
            }
            Op::DeleteContainer(path) | Op::GetAllChildrenNumber(path) => {
                o.str(path);
            }
            Op::Multi(parts) | Op::MultiRead(parts) => put_parts(o, parts),
            Op::Reconfig => {
                o.int(-1).str("3").int(-1).long(-1);
            }
            Op::Auth(scheme, auth) => {
                o.int(0).str(scheme).str(auth);
            }
            Op::Sasl => {
                o.str("token");
            }
            Op::SetWatches(lists) => put_lists(o, lists, relative, false),
            Op::SetWatches2(lists) => put_lists(o, lists, relative, true),
            Op::GetEphemerals(prefix) => {
                o.buf(prefix.as_ref().map(|p| p.as_bytes()));
            }
            Op::Short(_) => {
                o.int(9);
            }
            Op::NullPath(_) => {
                o.int(-1).int(0).int(0);
            }
            Op::Ping | Op::WhoAmI | Op::CloseSession | Op::Unknown(_) => {}
        }
        out.0
    }
}

pub fn put_acl(out: &mut Out, acl: Option<&[Entry]>) {
    let Some(acl) = acl else {
        out.int(-1);
        return;
    };
    out.int(acl.len() as i32);
    for entry in acl {
        out.int(entry.perms);
        out.buf(entry.scheme.as_ref().map(|s| s.as_bytes()));
        out.str(&entry.id);
    }
}

fn put_node(out: &mut Out, node: &NewNode) {
    put_acl(out.str(&node.path).buf(node.data.as_deref()), node.acl.as_deref());
    out.int(node.flags);
    if node.op == CREATE_TTL {
        out.long(node.ttl);
    }
}

fn put_parts(out: &mut Out, parts: &[Part]) {
    for part in parts {
        out.int(part.code()).bool(false).int(-1);
        match part {
            Part::Create(node) => put_node(out, node),
            Part::Delete(path, n) | Part::Check(path, n) => {
                out.str(path).int(*n);
            }
            Part::SetData(path, data, n) => {
                out.str(path).buf(data.as_deref()).int(*n);
            }
            Part::GetChildren(path) | Part::GetData(path) => {
                out.str(path).bool(false);
            }
            Part::Alien(_) => {
                out.str("/a");
            }
        }
    }
    out.int(-1).bool(true).int(-1);
}

impl Part {
    pub fn code(&self) -> i32 {
        match self {
            Part::Create(node) => node.op,
            Part::Delete(..) => DELETE,
            Part::SetData(..) => SET_DATA,
            Part::Check(..) => CHECK,
            Part::GetChildren(_) => GET_CHILDREN,
            Part::GetData(_) => GET_DATA,
            Part::Alien(op) => *op,
        }
    }

    pub fn is_read(&self) -> bool {
        matches!(self, Part::GetChildren(_) | Part::GetData(_))
    }
}

fn put_lists(out: &mut Out, lists: &Lists, relative: i64, two: bool) {
    out.long(relative).strs(&lists.data).strs(&lists.exist).strs(&lists.child);
    if two {
        out.strs(&lists.persistent).strs(&lists.recursive);
    }
}
