//! Requests as clients send them, borrowed from their frame.

use std::borrow::Cow;

use crate::base::{Xid, Zxid};

use super::acl::RawAcl;
use super::jute::{DecodeError, Reader, Writer};
use super::multi::{self, MultiOp};

/// Operations by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum OpCode {
    Create = 1,
    Delete = 2,
    Exists = 3,
    GetData = 4,
    SetData = 5,
    GetAcl = 6,
    SetAcl = 7,
    GetChildren = 8,
    Sync = 9,
    Ping = 11,
    GetChildren2 = 12,
    Check = 13,
    Multi = 14,
    Create2 = 15,
    Reconfig = 16,
    CheckWatches = 17,
    RemoveWatches = 18,
    CreateContainer = 19,
    DeleteContainer = 20,
    CreateTtl = 21,
    MultiRead = 22,
    Auth = 100,
    SetWatches = 101,
    Sasl = 102,
    GetEphemerals = 103,
    GetAllChildrenNumber = 104,
    SetWatches2 = 105,
    AddWatch = 106,
    WhoAmI = 107,
    CreateSession = -10,
    CloseSession = -11,
}

impl OpCode {
    pub const ALL: [OpCode; 31] = {
        use OpCode::*;
        [
            Create,
            Delete,
            Exists,
            GetData,
            SetData,
            GetAcl,
            SetAcl,
            GetChildren,
            Sync,
            Ping,
            GetChildren2,
            Check,
            Multi,
            Create2,
            Reconfig,
            CheckWatches,
            RemoveWatches,
            CreateContainer,
            DeleteContainer,
            CreateTtl,
            MultiRead,
            Auth,
            SetWatches,
            Sasl,
            GetEphemerals,
            GetAllChildrenNumber,
            SetWatches2,
            AddWatch,
            WhoAmI,
            CreateSession,
            CloseSession,
        ]
    };

    pub fn from_number(n: i32) -> Option<OpCode> {
        OpCode::ALL.into_iter().find(|op| *op as i32 == n)
    }

    pub fn number(self) -> i32 {
        self as i32
    }

    /// Goes through the log: answered when its txn is applied.
    pub fn is_write(self) -> bool {
        use OpCode::*;
        matches!(
            self,
            Create
                | Delete
                | SetData
                | SetAcl
                | Multi
                | Create2
                | Reconfig
                | CreateContainer
                | DeleteContainer
                | CreateTtl
                | CreateSession
                | CloseSession
        )
    }
}

/// In front of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub xid: Xid,
    pub op: i32,
}

impl RequestHeader {
    pub fn read(r: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: Xid(r.i32()?), op: r.i32()? })
    }

    pub fn write(&self, out: &mut impl Writer) {
        out.put_i32(self.xid.0);
        out.put_i32(self.op);
    }
}

/// The four opcodes that create, which are also four types of txn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CreateKind {
    Create = 1,
    Create2 = 15,
    Container = 19,
    Ttl = 21,
}

/// What the flags of a create ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum CreateMode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
    Container = 4,
    Ttl = 5,
    TtlSequential = 6,
}

impl CreateMode {
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        use CreateMode::*;
        [
            Persistent,
            Ephemeral,
            PersistentSequential,
            EphemeralSequential,
            Container,
            Ttl,
            TtlSequential,
        ]
        .get(usize::try_from(flags).ok()?)
        .copied()
    }

    pub fn is_sequential(self) -> bool {
        use CreateMode::*;
        matches!(self, PersistentSequential | EphemeralSequential | TtlSequential)
    }

    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::Ttl | CreateMode::TtlSequential)
    }

    pub fn is_container(self) -> bool {
        self == CreateMode::Container
    }
}

/// A create of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    pub kind: CreateKind,
    pub path: Option<Cow<'a, str>>,
    pub data: Option<&'a [u8]>,
    /// `None` is the null vector.
    pub acl: Option<Vec<RawAcl<'a>>>,
    pub flags: i32,
    /// -1 in every kind but `Ttl`.
    pub ttl: i64,
}

impl<'a> Create<'a> {
    pub fn read(kind: CreateKind, r: &mut Reader<'a>) -> Result<Create<'a>, DecodeError> {
        Ok(Create {
            kind,
            path: r.string()?,
            data: r.buffer()?,
            acl: RawAcl::read_list(r)?,
            flags: r.i32()?,
            ttl: if kind == CreateKind::Ttl { r.i64()? } else { -1 },
        })
    }

    pub fn mode(&self) -> Option<CreateMode> {
        CreateMode::from_flags(self.flags)
    }
}

/// What setWatches and setWatches2 ask to be watched again. A null vector is a decode error,
/// which answers as Java's does.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SetWatches<'a> {
    pub relative_zxid: Zxid,
    pub data: Vec<Cow<'a, str>>,
    pub exist: Vec<Cow<'a, str>>,
    pub child: Vec<Cow<'a, str>>,
    pub persistent: Vec<Cow<'a, str>>,
    pub persistent_recursive: Vec<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddWatchMode {
    Persistent,
    PersistentRecursive,
}

/// A decoded request. Paths are `None` where the client sent null; which error that is depends
/// on the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    Create(Create<'a>),
    Delete {
        path: Option<Cow<'a, str>>,
        version: i32,
    },
    Exists {
        path: Option<Cow<'a, str>>,
        watch: bool,
    },
    GetData {
        path: Option<Cow<'a, str>>,
        watch: bool,
    },
    SetData {
        path: Option<Cow<'a, str>>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    GetAcl {
        path: Option<Cow<'a, str>>,
    },
    SetAcl {
        path: Option<Cow<'a, str>>,
        acl: Option<Vec<RawAcl<'a>>>,
        version: i32,
    },
    GetChildren {
        path: Option<Cow<'a, str>>,
        watch: bool,
    },
    GetChildren2 {
        path: Option<Cow<'a, str>>,
        watch: bool,
    },
    Sync {
        path: Option<Cow<'a, str>>,
    },
    Ping,
    Check {
        path: Option<Cow<'a, str>>,
        version: i32,
    },
    Multi(Vec<MultiOp<'a>>),
    /// A multi that could not be decoded: refused, yet with a zxid of its own. Never read.
    BadMulti,
    MultiRead(Vec<MultiOp<'a>>),
    Reconfig {
        joining: Option<Cow<'a, str>>,
        leaving: Option<Cow<'a, str>>,
        members: Option<Cow<'a, str>>,
        config_id: i64,
    },
    /// `kind` 1..=5 is checked by whoever answers.
    CheckWatches {
        path: Option<Cow<'a, str>>,
        kind: i32,
    },
    RemoveWatches {
        path: Option<Cow<'a, str>>,
        kind: i32,
    },
    DeleteContainer {
        path: Option<Cow<'a, str>>,
    },
    Auth {
        kind: i32,
        scheme: Option<Cow<'a, str>>,
        auth: Option<&'a [u8]>,
    },
    SetWatches(SetWatches<'a>),
    Sasl {
        token: Option<&'a [u8]>,
    },
    GetEphemerals {
        prefix: Option<Cow<'a, str>>,
    },
    GetAllChildrenNumber {
        path: Option<Cow<'a, str>>,
    },
    AddWatch {
        path: Option<Cow<'a, str>>,
        mode: AddWatchMode,
    },
    WhoAmI,
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession,
}

impl<'a> Request<'a> {
    /// Decodes the body of a request. Bytes after it are ignored, as everywhere in the protocol.
    pub fn read(op: OpCode, body: &'a [u8]) -> Result<Request<'a>, DecodeError> {
        let r = &mut Reader::new(body);
        match op {
            OpCode::Create => Create::read(CreateKind::Create, r).map(Request::Create),
            OpCode::Create2 => Create::read(CreateKind::Create2, r).map(Request::Create),
            OpCode::CreateContainer => Create::read(CreateKind::Container, r).map(Request::Create),
            OpCode::CreateTtl => Create::read(CreateKind::Ttl, r).map(Request::Create),
            OpCode::Multi => multi::read_ops(r).map(Request::Multi),
            OpCode::MultiRead => multi::read_ops(r).map(Request::MultiRead),
            OpCode::SetWatches => read_set_watches(r, false).map(Request::SetWatches),
            OpCode::SetWatches2 => read_set_watches(r, true).map(Request::SetWatches),
            OpCode::Ping => Ok(Request::Ping),
            OpCode::WhoAmI => Ok(Request::WhoAmI),
            OpCode::CloseSession => Ok(Request::CloseSession),
            OpCode::CreateSession => Ok(Request::CreateSession { timeout_ms: r.i32()? }),
            OpCode::Reconfig => Ok(Request::Reconfig {
                joining: r.string()?,
                leaving: r.string()?,
                members: r.string()?,
                config_id: r.i64()?,
            }),
            OpCode::Auth => {
                Ok(Request::Auth { kind: r.i32()?, scheme: r.string()?, auth: r.buffer()? })
            }
            OpCode::Sasl => Ok(Request::Sasl { token: r.buffer()? }),
            _ => read_by_path(op, r),
        }
    }
}

/// The operations whose body starts with a path.
fn read_by_path<'a>(op: OpCode, r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let path = r.string()?;
    Ok(match op {
        OpCode::Delete => Request::Delete { path, version: r.i32()? },
        OpCode::Exists => Request::Exists { path, watch: r.bool()? },
        OpCode::GetData => Request::GetData { path, watch: r.bool()? },
        OpCode::SetData => Request::SetData { path, data: r.buffer()?, version: r.i32()? },
        OpCode::GetAcl => Request::GetAcl { path },
        OpCode::SetAcl => Request::SetAcl { path, acl: RawAcl::read_list(r)?, version: r.i32()? },
        OpCode::GetChildren => Request::GetChildren { path, watch: r.bool()? },
        OpCode::GetChildren2 => Request::GetChildren2 { path, watch: r.bool()? },
        OpCode::Sync => Request::Sync { path },
        OpCode::Check => Request::Check { path, version: r.i32()? },
        OpCode::CheckWatches => Request::CheckWatches { path, kind: r.i32()? },
        OpCode::RemoveWatches => Request::RemoveWatches { path, kind: r.i32()? },
        OpCode::DeleteContainer => Request::DeleteContainer { path },
        OpCode::GetEphemerals => Request::GetEphemerals { prefix: path },
        OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path },
        OpCode::AddWatch => {
            let mode = match r.i32()? {
                0 => AddWatchMode::Persistent,
                1 => AddWatchMode::PersistentRecursive,
                n => return Err(DecodeError::Value(n)),
            };
            Request::AddWatch { path, mode }
        }
        _ => unreachable!("{op:?} is decoded before this"),
    })
}

fn read_set_watches<'a>(r: &mut Reader<'a>, two: bool) -> Result<SetWatches<'a>, DecodeError> {
    let list = |r: &mut Reader<'a>| r.strings()?.ok_or(DecodeError::Null);
    Ok(SetWatches {
        relative_zxid: Zxid(r.i64()?),
        data: list(r)?,
        exist: list(r)?,
        child: list(r)?,
        persistent: if two { list(r)? } else { Vec::new() },
        persistent_recursive: if two { list(r)? } else { Vec::new() },
    })
}
/// The path at the beginning of a request that has one there and asks for its node. `frame` is
/// anything that a client sent.
pub fn leading_path(frame: &[u8]) -> Option<&[u8]> {
    let (op, rest) = frame.get(4..)?.split_first_chunk::<4>()?;
    let has_path = matches!(
        OpCode::from_number(i32::from_be_bytes(*op))?,
        OpCode::Exists
            | OpCode::GetData
            | OpCode::SetData
            | OpCode::GetAcl
            | OpCode::SetAcl
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::Delete
    );
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize).filter(|_| has_path)
}
