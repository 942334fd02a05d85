//! Reads a snapshot file as the image that a learner is sent: inflated, from its first session to
//! the mark behind its last node. The seal behind that is checked before the end is told, for
//! nothing else tells a learner that what it was sent is not what was written.

use bytes::Bytes;
use simd_adler32::Adler32;

use crate::base::{Zxid, limits};
use crate::history::{Compression, Decompressor, SnapshotItem, SnapshotReader};

use super::dirs::Dirs;
use super::listing::list_snapshots;
use super::{Disk, FileId, OpenMode};

/// Where somebody is in an image.
pub struct ImageCursor {
    zxid: Zxid,
    file: FileId,
    /// Of the file, and of the image what was given out.
    read: u64,
    given: u64,
    /// Until the file has ended.
    decompressor: Option<Decompressor>,
    chunk_bytes: usize,
    /// What is left of the file's header.
    header: usize,
    parser: SnapshotReader,
    adler: Adler32,
    /// Of the image, read and not given out.
    ready: Vec<u8>,
    /// What lies behind the image, once that has ended.
    behind: Option<Vec<u8>>,
    is_sealed: bool,
}

/// Bytes of an image; `is_last`: it ends with them.
#[derive(Debug, PartialEq, Eq)]
pub struct ImagePiece {
    pub bytes: Bytes,
    pub is_last: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ImageAsk {
    pub zxid: Zxid,
    pub offset: u64,
    pub bytes: usize,
}

impl ImageAsk {
    /// Reads a slice on: the answer once it is complete.
    pub fn go_on<D: Disk>(
        &self,
        disk: &mut D,
        dirs: &Dirs,
        place: &mut Option<ImageCursor>,
    ) -> Result<Option<ImagePiece>, String> {
        let mut cursor = match place.take() {
            Some(cursor) if cursor.zxid == self.zxid && cursor.given <= self.offset => cursor,
            other => {
                if let Some(other) = other {
                    other.close(disk);
                }
                ImageCursor::open(disk, dirs, self.zxid)?
            }
        };
        match cursor.go_on(disk, self) {
            Ok(piece) => {
                *place = Some(cursor);
                Ok(piece)
            }
            Err(reason) => {
                cursor.close(disk);
                Err(reason)
            }
        }
    }
}

impl ImageCursor {
    fn open<D: Disk>(disk: &mut D, dirs: &Dirs, zxid: Zxid) -> Result<ImageCursor, String> {
        let snapshots = list_snapshots(disk, dirs).map_err(|e| e.to_string())?;
        let found = snapshots.into_iter().find(|(at, _, _)| *at == zxid);
        let Some((_, form, name)) = found else {
            return Err(format!("there is no snapshot of zxid 0x{zxid:x}"));
        };
        let path = dirs.snapshots.join(name);
        let file = disk.open(&path, OpenMode::Read).map_err(|e| e.to_string())?;
        // A small piece of a compressed file may become a large one of the image.
        let chunk_bytes = if form == Compression::None { CHUNK_BYTES } else { PACKED_BYTES };
        Ok(ImageCursor {
            zxid,
            file,
            read: 0,
            given: 0,
            decompressor: Some(Decompressor::new(form)),
            chunk_bytes,
            header: HEADER_BYTES,
            parser: SnapshotReader::stream(),
            adler: Adler32::new(),
            ready: Vec::new(),
            behind: None,
            is_sealed: false,
        })
    }

    pub fn close<D: Disk>(self, disk: &mut D) {
        disk.close(self.file);
    }

    fn go_on<D: Disk>(
        &mut self,
        disk: &mut D,
        ask: &ImageAsk,
    ) -> Result<Option<ImagePiece>, String> {
        let wanted = ask.bytes.clamp(1, limits::CHORE_SLICE_BYTES);
        let mut budget = limits::CHORE_SLICE_BYTES;
        loop {
            self.pass(ask.offset);
            let is_there = self.given == ask.offset;
            if is_there && (self.ready.len() >= wanted || self.is_sealed) {
                break;
            }
            if self.is_sealed {
                return Err("the image has no more than was read of it".to_owned());
            }
            if budget == 0 {
                return Ok(None);
            }
            budget = budget.saturating_sub(self.read_on(disk)?);
        }
        let count = wanted.min(self.ready.len());
        let bytes: Vec<u8> = self.ready.drain(..count).collect();
        self.given += count as u64;
        let is_last = self.is_sealed && self.ready.is_empty();
        Ok(Some(ImagePiece { bytes: Bytes::from(bytes), is_last }))
    }

    /// Drops what lies before `offset`: somebody has it already.
    fn pass(&mut self, offset: u64) {
        let ahead = offset.saturating_sub(self.given);
        let count = usize::try_from(ahead).map_or(self.ready.len(), |n| n.min(self.ready.len()));
        self.ready.drain(..count);
        self.given += count as u64;
    }

    /// Takes the next piece of the file: how many bytes came of it.
    fn read_on<D: Disk>(&mut self, disk: &mut D) -> Result<usize, String> {
        let mut chunk = vec![0; self.chunk_bytes];
        let read = disk.read_at(self.file, self.read, &mut chunk).map_err(|e| e.to_string())?;
        self.read += read as u64;
        let mut plain = Vec::new();
        match (&mut self.decompressor, read) {
            (Some(_), 0) => {
                let rest = self.decompressor.take().map(|rest| rest.finish(&mut plain));
                rest.transpose()?;
            }
            (Some(decompressor), _) => {
                let packed = chunk.get(..read).unwrap_or_default();
                decompressor.push(packed, &mut plain)?;
            }
            (None, _) => return Err("it ends too early".to_owned()),
        }
        self.take(&plain)?;
        Ok(plain.len().max(1))
    }

    fn take(&mut self, plain: &[u8]) -> Result<(), String> {
        let (header, plain) = plain.split_at(self.header.min(plain.len()));
        self.header -= header.len();
        self.adler.write(header);
        if let Some(behind) = &mut self.behind {
            behind.extend_from_slice(plain);
        } else {
            let count = self.parse(plain)?;
            let (body, behind) = plain.split_at(count);
            self.adler.write(body);
            self.ready.extend_from_slice(body);
            if self.behind.is_some() {
                self.behind = Some(behind.to_vec());
            }
        }
        self.check_seal()
    }

    /// How many of these bytes belong to the image.
    fn parse(&mut self, plain: &[u8]) -> Result<usize, String> {
        self.parser.feed(plain);
        loop {
            match self.parser.next_item().map_err(|e| e.to_string())? {
                SnapshotItem::More => break,
                SnapshotItem::End(_) => {
                    // All that was fed before had its end open, so the rest is of these bytes.
                    self.behind = Some(Vec::new());
                    return Ok(plain.len() - self.parser.rest().len());
                }
                _ => {}
            }
        }
        if self.parser.rest().len() > limits::IMAGE_ITEM_BYTES {
            return Err("a record of it has no end".to_owned());
        }
        Ok(plain.len())
    }

    fn check_seal(&mut self) -> Result<(), String> {
        let Some(behind) = &self.behind else { return Ok(()) };
        let Some(seal) = behind.first_chunk::<8>() else { return Ok(()) };
        if i64::from_be_bytes(*seal) != i64::from(self.adler.finish()) {
            return Err("a checksum does not match".to_owned());
        }
        self.is_sealed = true;
        Ok(())
    }
}

/// Magic, version and database id.
const HEADER_BYTES: usize = 16;
const CHUNK_BYTES: usize = 256 * 1024;
const PACKED_BYTES: usize = 16 * 1024;
