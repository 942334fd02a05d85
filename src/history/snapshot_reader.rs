//! Reads a snapshot stream piece by piece, as every release from 3.4 on writes it.

use std::borrow::Cow;

use simd_adler32::Adler32;

use crate::base::{SessionId, Zxid};
use crate::proto::{Acl, DecodeError, NodeStat, Reader};

use super::snapshot_writer::{SNAPSHOT_HEADER, SnapshotTrailers};

/// A node as the stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord<'a> {
    /// The root's is empty.
    pub path: Cow<'a, str>,
    pub data: Option<&'a [u8]>,
    pub acl: i64,
    pub stat: NodeStat,
}

/// The next thing of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotItem<'a> {
    Session {
        id: SessionId,
        timeout_ms: i32,
    },
    Acl {
        id: i64,
        list: Vec<Acl>,
    },
    Node(NodeRecord<'a>),
    /// The body is complete; for a file its first seal was right, and these are its trailers.
    End(SnapshotTrailers),
    /// Nothing until more bytes are fed.
    More,
}

/// Why a stream is not a whole snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// It does not begin with the magic number.
    Magic,
    /// It ends too early.
    Short,
    /// A seal does not match the bytes before it.
    Checksum,
    Decode(DecodeError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    SessionCount,
    Sessions(u32),
    AclCount,
    Acls(u32),
    Nodes,
    Trailers,
    Done,
}

enum Step {
    On,
    Session(SessionId, i32),
    Acl(i64, Vec<Acl>),
    Node(std::ops::Range<usize>),
    End(SnapshotTrailers),
}

/// Feed it bytes, take items; it keeps only what no item has used.
pub struct SnapshotReader {
    buffer: Vec<u8>,
    at: usize,
    /// Up to here the buffer's bytes are in the checksum.
    summed: usize,
    adler: Adler32,
    stage: Stage,
    sealed: bool,
    ended: bool,
    sessions: u32,
    acls: u32,
}

/// A digest trailer and a last-zxid trailer, each sealed, in their shortest forms: what tells
/// them apart where only one is there.
const LAST_PROCESSED_BYTES: usize = 8 + SEAL_BYTES;
const SEAL_BYTES: usize = 13;

impl SnapshotReader {
    /// For a snapshot file.
    pub fn file() -> SnapshotReader {
        SnapshotReader {
            buffer: Vec::new(),
            at: 0,
            summed: 0,
            adler: Adler32::new(),
            stage: Stage::Header,
            sealed: true,
            ended: false,
            sessions: 0,
            acls: 0,
        }
    }

    /// For the stream between servers: no header, no seals, the trailers are the caller's.
    pub fn stream() -> SnapshotReader {
        SnapshotReader { stage: Stage::SessionCount, sealed: false, ..SnapshotReader::file() }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.sum_up();
        self.buffer.drain(..self.at);
        (self.at, self.summed) = (0, 0);
        self.buffer.extend_from_slice(bytes);
    }

    /// Where the caller decompresses into: the same as `feed`.
    pub fn feed_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.feed(&[]);
        write(&mut self.buffer)
    }

    /// No more bytes will come.
    pub fn end_input(&mut self) {
        self.ended = true;
    }

    /// The numbers of sessions and ACLs that the stream announced.
    pub fn counts(&self) -> (u32, u32) {
        (self.sessions, self.acls)
    }

    /// What was fed and is not used: behind a stream's end, the bytes that are not its own.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    pub fn next_item(&mut self) -> Result<SnapshotItem<'_>, SnapshotError> {
        loop {
            let Some(step) = self.step()? else {
                return if self.ended { Err(SnapshotError::Short) } else { Ok(SnapshotItem::More) };
            };
            match step {
                Step::On => {}
                Step::Session(id, timeout_ms) => {
                    return Ok(SnapshotItem::Session { id, timeout_ms });
                }
                Step::Acl(id, list) => return Ok(SnapshotItem::Acl { id, list }),
                Step::Node(range) => {
                    let r = &mut Reader::new(&self.buffer[range]);
                    let node = NodeRecord::read(r).map_err(SnapshotError::Decode)?;
                    return Ok(SnapshotItem::Node(node));
                }
                Step::End(trailers) => return Ok(SnapshotItem::End(trailers)),
            }
        }
    }

    /// One thing off the front, once all its bytes are there.
    fn step(&mut self) -> Result<Option<Step>, SnapshotError> {
        match self.stage {
            Stage::Header => {
                let magic = self.take(|r| Ok(r.take(SNAPSHOT_HEADER.len())?[..4].to_vec()))?;
                let Some(magic) = magic else { return Ok(None) };
                if magic != SNAPSHOT_HEADER[..4] {
                    return Err(SnapshotError::Magic);
                }
                self.stage = Stage::SessionCount;
            }
            Stage::SessionCount => {
                let Some(count) = self.count()? else { return Ok(None) };
                self.sessions = count;
                self.stage = Stage::Sessions(count);
            }
            Stage::Sessions(0) => self.stage = Stage::AclCount,
            Stage::Sessions(left) => {
                let session = self.take(|r| Ok((SessionId(r.i64()?), r.i32()?)))?;
                let Some((id, timeout_ms)) = session else { return Ok(None) };
                self.stage = Stage::Sessions(left - 1);
                return Ok(Some(Step::Session(id, timeout_ms)));
            }
            Stage::AclCount => {
                let Some(count) = self.count()? else { return Ok(None) };
                self.acls = count;
                self.stage = Stage::Acls(count);
            }
            Stage::Acls(0) => self.stage = Stage::Nodes,
            Stage::Acls(left) => {
                let acl = self.take(read_acl)?;
                let Some((id, list)) = acl else { return Ok(None) };
                self.stage = Stage::Acls(left - 1);
                return Ok(Some(Step::Acl(id, list)));
            }
            Stage::Nodes => {
                let at = self.at;
                let Some(is_node) = self.take(skip_node)? else { return Ok(None) };
                if is_node {
                    return Ok(Some(Step::Node(at..self.at)));
                }
                self.stage = Stage::Trailers;
            }
            Stage::Trailers => {
                let Some(trailers) = self.trailers()? else { return Ok(None) };
                self.stage = Stage::Done;
                return Ok(Some(Step::End(trailers)));
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(Step::On))
    }

    /// A negative count reads as none, as in Java.
    fn count(&mut self) -> Result<Option<u32>, SnapshotError> {
        Ok(self.take(|r| r.i32())?.map(|n| n.max(0) as u32))
    }

    /// One value off the front, once all its bytes are there.
    fn take<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, SnapshotError> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let r = &mut Reader::new(rest);
        match read(r) {
            Ok(value) => {
                let used = rest.len() - r.rest().len();
                self.at += used;
                Ok(Some(value))
            }
            Err(DecodeError::Short) => Ok(None),
            Err(e) => Err(SnapshotError::Decode(e)),
        }
    }

    /// Brings the checksum up to what has been used: in large pieces, it is faster so.
    fn sum_up(&mut self) {
        if self.sealed {
            self.adler.write(&self.buffer[self.summed..self.at]);
        }
        self.summed = self.at;
    }

    /// A stream has none. A file's are read once all of it is there: what is missing at its end
    /// was switched off or unknown to its writer.
    fn trailers(&mut self) -> Result<Option<SnapshotTrailers>, SnapshotError> {
        if !self.sealed {
            return Ok(Some(SnapshotTrailers::default()));
        }
        if !self.ended {
            return Ok(None);
        }
        self.seal()?;
        let mut trailers = SnapshotTrailers::default();
        if self.rest().len() != LAST_PROCESSED_BYTES {
            let digest = self.take(|r| {
                let zxid = Zxid(r.i64()?);
                let digest = match r.i32()? {
                    2.. => Some(r.i64()? as u64),
                    // The oldest digests are hexadecimal text of another calculation.
                    _ => r.string()?.map(|_| 0).filter(|_| false),
                };
                Ok(digest.map(|digest| (zxid, digest)))
            })?;
            let Some(digest) = digest else { return Ok(Some(trailers)) };
            self.seal()?;
            trailers.digest = digest;
        }
        if let Some(zxid) = self.take(|r| r.i64())? {
            self.seal()?;
            trailers.last_processed = Some(Zxid(zxid));
        }
        Ok(Some(trailers))
    }

    fn seal(&mut self) -> Result<(), SnapshotError> {
        self.sum_up();
        let computed = i64::from(self.adler.finish());
        let seal = self.take(|r| Ok((r.i64()?, r.buffer()?.map(<[u8]>::to_vec))))?;
        let (stored, _slash) = seal.ok_or(SnapshotError::Short)?;
        if stored == computed { Ok(()) } else { Err(SnapshotError::Checksum) }
    }
}

/// ACL id and the persisted stat.
const NODE_FIXED_BYTES: usize = 8 + NodeStat::BYTES;

impl<'a> NodeRecord<'a> {
    fn read(r: &mut Reader<'a>) -> Result<NodeRecord<'a>, DecodeError> {
        Ok(NodeRecord {
            path: r.string()?.ok_or(DecodeError::Null)?,
            data: r.buffer()?,
            acl: r.i64()?,
            stat: NodeStat::read(r)?,
        })
    }
}

fn read_acl(r: &mut Reader<'_>) -> Result<(i64, Vec<Acl>), DecodeError> {
    Ok((r.i64()?, Acl::read_list(r)?))
}

/// Whether a node was passed, or the mark that ends them.
fn skip_node(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let path = r.buffer()?.ok_or(DecodeError::Null)?;
    if path == b"/" {
        return Ok(false);
    }
    r.buffer()?;
    r.take(NODE_FIXED_BYTES)?;
    Ok(true)
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SnapshotError::Magic => f.write_str("it does not begin with a snapshot's magic number"),
            SnapshotError::Short => f.write_str("it ends too early"),
            SnapshotError::Checksum => f.write_str("a checksum does not match"),
            SnapshotError::Decode(e) => write!(f, "a record cannot be decoded ({e:?})"),
        }
    }
}
