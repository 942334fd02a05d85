//! What the server sends: reply headers, stats, events.

use crate::base::{Xid, Zxid};

use super::code::ErrorCode;
use super::jute::{DecodeError, Reader, Writer};

/// Before every reply and event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    pub xid: Xid,
    pub zxid: Zxid,
    pub err: i32,
}

impl ReplyHeader {
    pub fn read(r: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: Xid(r.i32()?), zxid: Zxid(r.i64()?), err: r.i32()? })
    }

    pub fn write(&self, out: &mut impl Writer) {
        out.put_i32(self.xid.0);
        out.put_i64(self.zxid.0);
        out.put_i32(self.err);
    }
}

/// A node's statistics as clients see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// Twice the stored number less the children: rises by one on create and on delete.
    pub cversion: i32,
    pub aversion: i32,
    /// 0 for containers and TTL nodes.
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: Zxid,
}

impl Stat {
    pub const BYTES: usize = 68;

    /// In one piece: it is in nearly every reply.
    pub fn write(&self, out: &mut impl Writer) {
        let mut bytes = [0; Stat::BYTES];
        let times = [self.czxid.0, self.mzxid.0, self.ctime, self.mtime];
        put_longs(&mut bytes[..32], times);
        put_ints(&mut bytes[32..44], [self.version, self.cversion, self.aversion]);
        put_longs(&mut bytes[44..52], [self.ephemeral_owner]);
        put_ints(&mut bytes[52..60], [self.data_length, self.num_children]);
        put_longs(&mut bytes[60..], [self.pzxid.0]);
        out.put_slice(&bytes);
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: Zxid(r.i64()?),
            mzxid: Zxid(r.i64()?),
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            data_length: r.i32()?,
            num_children: r.i32()?,
            pzxid: Zxid(r.i64()?),
        })
    }
}

fn put_longs<const N: usize>(bytes: &mut [u8], values: [i64; N]) {
    for (place, value) in bytes.chunks_exact_mut(8).zip(values) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn put_ints<const N: usize>(bytes: &mut [u8], values: [i32; N]) {
    for (place, value) in bytes.chunks_exact_mut(4).zip(values) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// What happened to a watched node. 5 to 7 exist on the client's side only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum EventKind {
    None = -1,
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
    DataWatchRemoved = 5,
    ChildWatchRemoved = 6,
    PersistentWatchRemoved = 7,
}

/// The state an event names; a server only ever says `SyncConnected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum KeeperState {
    SyncConnected = 3,
}

/// Starts a frame at the end of `out`; `end_frame` with the mark fills in the length.
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    let mark = out.len();
    out.extend_from_slice(&[0; 4]);
    mark
}

/// Ends the frame that began at `mark`.
pub fn end_frame(out: &mut [u8], mark: usize) {
    let length = (out.len() - mark - 4) as u32;
    out[mark..mark + 4].copy_from_slice(&length.to_be_bytes());
}

/// A whole reply frame whose body `body` writes.
pub fn write_reply(
    out: &mut Vec<u8>,
    xid: Xid,
    zxid: Zxid,
    err: ErrorCode,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let mark = begin_frame(out);
    ReplyHeader { xid, zxid, err: err.number() }.write(out);
    body(out);
    end_frame(out, mark);
}

/// A whole event frame.
pub fn write_event(out: &mut Vec<u8>, zxid: Zxid, kind: EventKind, path: &str) {
    write_reply(out, Xid::NOTIFICATION, zxid, ErrorCode::Ok, |out| {
        out.put_i32(kind as i32);
        out.put_i32(KeeperState::SyncConnected as i32);
        out.put_string(path);
    });
}
