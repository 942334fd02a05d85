//! Transactions as the log and the quorum carry them.

use std::sync::Arc;

use crate::base::{SessionId, WallMillis, Zxid};

use super::acl::Acl;
use super::jute::{DecodeError, Reader, Writer};
use super::paths::PathList;
use super::request::CreateKind;

/// The version of the digest this server computes and compares.
pub const DIGEST_VERSION: i32 = 2;

/// Types of txn in the header.
pub mod kind {
    pub const CREATE_SESSION: i32 = -10;
    pub const CLOSE_SESSION: i32 = -11;
    pub const ERROR: i32 = -1;
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const SET_DATA: i32 = 5;
    pub const SET_ACL: i32 = 7;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
}

/// Whose txn it is, which, and when. Its type is the txn's own (`Txn::kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnHeader {
    pub session: SessionId,
    pub cxid: i32,
    pub zxid: Zxid,
    pub time: WallMillis,
}

/// A node comes to be. The path is final, the ACL fixed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTxn {
    pub kind: CreateKind,
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub acl: Vec<Acl>,
    /// Meaningful in `Create` and `Create2` only; the owner is the header's session.
    pub ephemeral: bool,
    /// The parent's stored cversion after this; -1 in logs of the oldest form: current + 1.
    pub parent_cversion: i32,
    /// Meaningful in `Ttl` only.
    pub ttl: i64,
}

/// One txn: everything that decides is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn {
    CreateSession {
        timeout_ms: i32,
    },
    /// The ephemerals to delete; `None` in logs of before 3.6, and where an Apache is told to leave
    /// them out: whatever the session owns.
    CloseSession {
        paths: Option<Arc<PathList>>,
    },
    Create(CreateTxn),
    Delete {
        path: String,
    },
    DeleteContainer {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    Reconfig {
        path: String,
        data: Option<Vec<u8>>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    /// Inside a multi only.
    Check {
        path: String,
        version: i32,
    },
    Error {
        code: i32,
    },
    Multi(Vec<SubTxn>),
}

/// A part of a multi. In a failed multi the parts from the failing one on are errors; those
/// before it keep their type and are turned into errors when it is applied.
pub type SubTxn = Txn;

/// The tree's digest after a txn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    pub version: i32,
    pub tree: u64,
}

/// One record of the log: header, txn, and the digest where its writer computed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub header: TxnHeader,
    pub txn: Txn,
    pub digest: Option<TxnDigest>,
}

impl Txn {
    pub fn kind(&self) -> i32 {
        match self {
            Txn::CreateSession { .. } => kind::CREATE_SESSION,
            Txn::CloseSession { .. } => kind::CLOSE_SESSION,
            Txn::Create(create) => create.kind as i32,
            Txn::Delete { .. } => kind::DELETE,
            Txn::DeleteContainer { .. } => kind::DELETE_CONTAINER,
            Txn::SetData { .. } => kind::SET_DATA,
            Txn::Reconfig { .. } => kind::RECONFIG,
            Txn::SetAcl { .. } => kind::SET_ACL,
            Txn::Check { .. } => kind::CHECK,
            Txn::Error { .. } => kind::ERROR,
            Txn::Multi(_) => kind::MULTI,
        }
    }

    /// Writes the record without header or digest.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Txn::CreateSession { timeout_ms } => out.put_i32(*timeout_ms),
            Txn::CloseSession { paths: None } => {}
            Txn::CloseSession { paths: Some(paths) } => paths.write(out),
            Txn::Create(create) => create.write(out),
            Txn::Delete { path } | Txn::DeleteContainer { path } => out.put_string(path),
            Txn::SetData { path, data, version } | Txn::Reconfig { path, data, version } => {
                out.put_string(path);
                out.put_buffer(data.as_deref());
                out.put_i32(*version);
            }
            Txn::SetAcl { path, acl, version } => {
                out.put_string(path);
                Acl::write_list(acl, out);
                out.put_i32(*version);
            }
            Txn::Check { path, version } => {
                out.put_string(path);
                out.put_i32(*version);
            }
            Txn::Error { code } => out.put_i32(*code),
            Txn::Multi(parts) => write_parts(parts, out),
        }
    }

    /// Reads a record of the type that its header (or its place in a multi) names.
    pub fn read(kind: i32, r: &mut Reader<'_>) -> Result<Txn, DecodeError> {
        Ok(match kind {
            kind::CREATE_SESSION => Txn::CreateSession { timeout_ms: r.i32()? },
            kind::CLOSE_SESSION if is_pathless(r.rest()) => Txn::CloseSession { paths: None },
            kind::CLOSE_SESSION => Txn::CloseSession { paths: Some(Arc::new(PathList::read(r)?)) },
            kind::CREATE => Txn::Create(CreateTxn::read(CreateKind::Create, r)?),
            kind::CREATE2 => Txn::Create(CreateTxn::read(CreateKind::Create2, r)?),
            kind::CREATE_CONTAINER => Txn::Create(CreateTxn::read(CreateKind::Container, r)?),
            kind::CREATE_TTL => Txn::Create(CreateTxn::read(CreateKind::Ttl, r)?),
            kind::DELETE => Txn::Delete { path: read_path(r)? },
            kind::DELETE_CONTAINER => Txn::DeleteContainer { path: read_path(r)? },
            kind::SET_DATA => {
                let (path, data, version) = read_set(r)?;
                Txn::SetData { path, data, version }
            }
            kind::RECONFIG => {
                let (path, data, version) = read_set(r)?;
                Txn::Reconfig { path, data, version }
            }
            kind::SET_ACL => {
                Txn::SetAcl { path: read_path(r)?, acl: Acl::read_list(r)?, version: r.i32()? }
            }
            kind::CHECK => Txn::Check { path: read_path(r)?, version: r.i32()? },
            kind::ERROR => Txn::Error { code: r.i32()? },
            kind::MULTI => Txn::Multi(read_parts(r)?),
            other => return Err(DecodeError::Kind(other)),
        })
    }
}

impl CreateTxn {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_buffer(self.data.as_deref());
        Acl::write_list(&self.acl, out);
        if matches!(self.kind, CreateKind::Create | CreateKind::Create2) {
            out.put_bool(self.ephemeral);
        }
        out.put_i32(self.parent_cversion);
        if self.kind == CreateKind::Ttl {
            out.put_i64(self.ttl);
        }
    }

    fn read(kind: CreateKind, r: &mut Reader<'_>) -> Result<CreateTxn, DecodeError> {
        let path = read_path(r)?;
        let data = r.buffer()?.map(<[u8]>::to_vec);
        let acl = Acl::read_list(r)?;
        let plain = matches!(kind, CreateKind::Create | CreateKind::Create2);
        let ephemeral = plain && r.bool()?;
        // The oldest logs lack the parent's cversion, in the plain create only.
        let oldest = kind == CreateKind::Create && r.rest().len() < 4;
        let parent_cversion = if oldest { -1 } else { r.i32()? };
        let ttl = if kind == CreateKind::Ttl { r.i64()? } else { -1 };
        Ok(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
    }
}

impl Entry {
    pub fn write(header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>, out: &mut Vec<u8>) {
        out.put_i64(header.session.0);
        out.put_i32(header.cxid);
        out.put_i64(header.zxid.0);
        out.put_i64(header.time.0);
        out.put_i32(txn.kind());
        txn.write(out);
        if let Some(digest) = digest {
            out.put_i32(digest.version);
            out.put_i64(digest.tree as i64);
        }
    }

    /// Reads a record; an absent digest is legal, bytes after it are ignored.
    pub fn read(bytes: &[u8]) -> Result<Entry, DecodeError> {
        let r = &mut Reader::new(bytes);
        let session = SessionId(r.i64()?);
        let cxid = r.i32()?;
        let zxid = Zxid(r.i64()?);
        let time = WallMillis(r.i64()?);
        let kind = r.i32()?;
        let txn = Txn::read(kind, r)?;
        let digest = match r.rest().len() {
            0..DIGEST_BYTES => None,
            _ => Some(TxnDigest { version: r.i32()?, tree: r.i64()? as u64 }),
        };
        Ok(Entry { header: TxnHeader { session, cxid, zxid, time }, txn, digest })
    }
}

/// Whether what stands behind the header of a closeSession is no list: nothing, or a digest alone,
/// as Apache writes it with `zookeeper.closeSessionTxn.enabled=false`. A list of so many bytes as a
/// digest has names one path of four bytes: two cannot be in it, for no path is empty. So the first
/// number, a count or the digest's version, tells them apart: Apache has none before version 2.
fn is_pathless(rest: &[u8]) -> bool {
    let version = || rest.first_chunk().copied().map(i32::from_be_bytes);
    rest.is_empty() || rest.len() == DIGEST_BYTES && version() >= Some(DIGEST_VERSION)
}

/// A digest's version and the tree's sum.
const DIGEST_BYTES: usize = 12;

fn read_path(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(r.string()?.ok_or(DecodeError::Null)?.into_owned())
}

fn read_set(r: &mut Reader<'_>) -> Result<(String, Option<Vec<u8>>, i32), DecodeError> {
    Ok((read_path(r)?, r.buffer()?.map(<[u8]>::to_vec), r.i32()?))
}

fn write_parts(parts: &[SubTxn], out: &mut Vec<u8>) {
    out.put_i32(parts.len() as i32);
    for part in parts {
        out.put_i32(part.kind());
        let mark = out.len();
        out.put_i32(0);
        part.write(out);
        let length = (out.len() - mark - 4) as u32;
        out[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn read_parts(r: &mut Reader<'_>) -> Result<Vec<SubTxn>, DecodeError> {
    let part = |r: &mut Reader<'_>| {
        let kind = r.i32()?;
        let body = r.buffer()?.ok_or(DecodeError::Null)?;
        if kind == kind::MULTI {
            return Err(DecodeError::Kind(kind));
        }
        Txn::read(kind, &mut Reader::new(body))
    };
    Ok(r.vector(8, part)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_kept(paths: Option<&[&str]>, digest: Option<TxnDigest>) -> bool {
        let (session, zxid, time) = (SessionId(5), Zxid(9), WallMillis(1));
        let header = TxnHeader { session, cxid: 2, zxid, time };
        let paths = paths.map(|paths| Arc::new(paths.iter().collect()));
        let entry = Entry { header, txn: Txn::CloseSession { paths }, digest };
        let mut bytes = Vec::new();
        Entry::write(&entry.header, &entry.txn, entry.digest, &mut bytes);
        Entry::read(&bytes) == Ok(entry)
    }

    #[test]
    fn a_closing_session_with_and_without_its_paths_and_digest_is_told_apart() {
        let digest = |tree| Some(TxnDigest { version: DIGEST_VERSION, tree });
        // The first has the high word of a path of four bytes.
        for digest in [None, digest(4 << 32 | 0x2f61_6263), digest(0), digest(u64::MAX)] {
            assert!(is_kept(None, digest), "{digest:?}");
            for paths in [&[][..], &["/abc"], &["/a", "/b"], &["/a"], &["/a", "/b", "/c"]] {
                assert!(is_kept(Some(paths), digest), "{paths:?} {digest:?}");
            }
        }
    }
}
