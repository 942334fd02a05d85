//! Reads one log file with positional reads: its records, and what lies behind them.

use std::io;

use crate::history::{
    BadFrame, FRAME_BYTES, FRAME_HEAD_BYTES, Frame, LOG_HEADER_BYTES, frame, frame_length,
    is_log_header,
};

use super::{Disk, FileId};

/// Where a record lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub start: u64,
    pub end: u64,
    pub checksum: u32,
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Header,
    /// Shorter than a header, or zeros in its place.
    Missing,
    Foreign,
}

/// A log file that is being read from its front.
pub struct SegmentReader {
    pub file: FileId,
    pub bytes: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
    at: u64,
    /// What ended the unbroken run, if it was neither padding nor the end of the file.
    bad: Option<BadFrame>,
}

impl SegmentReader {
    pub fn new<D: Disk>(disk: &mut D, file: FileId) -> io::Result<SegmentReader> {
        SegmentReader::reading_from(disk, file, LOG_HEADER_BYTES as u64, WINDOW_BYTES)
    }

    /// Goes on where a record begins, reading so many bytes at once.
    pub fn reading_from<D: Disk>(
        disk: &mut D,
        file: FileId,
        at: u64,
        window_bytes: usize,
    ) -> io::Result<SegmentReader> {
        let bytes = disk.len(file)?;
        let (window, window_at) = (Vec::new(), at);
        Ok(SegmentReader { file, bytes, window, window_at, window_bytes, at, bad: None })
    }

    pub fn opening<D: Disk>(&mut self, disk: &mut D) -> io::Result<Opening> {
        let mut header = [0; LOG_HEADER_BYTES];
        let read = disk.read_at(self.file, 0, &mut header)?;
        let header = &header[..read];
        Ok(match is_log_header(header) {
            true => Opening::Header,
            false if header.len() < LOG_HEADER_BYTES || header.iter().all(|b| *b == 0) => {
                Opening::Missing
            }
            false => Opening::Foreign,
        })
    }

    /// Behind the last record that was read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Whether Java takes the end of the unbroken run for the end of the file. At a length or a
    /// checksum that cannot be right it refuses to start.
    pub fn is_javas_end(&self) -> bool {
        matches!(self.bad, None | Some(BadFrame::EndByte))
    }

    /// The next record of the unbroken run; `None` at its end.
    pub fn next_record<D: Disk>(&mut self, disk: &mut D) -> io::Result<Option<(&[u8], Place)>> {
        let mut wanted = FRAME_HEAD_BYTES;
        loop {
            if self.at + wanted as u64 > self.bytes {
                return Ok(None);
            }
            let from = (self.at - self.window_at) as usize;
            if self.window.len() < from + wanted {
                self.fill(disk, wanted)?;
                continue;
            }
            let (length, checksum) = match frame(&self.window[from..]) {
                Frame::Short { wanted: more } if more > wanted => {
                    wanted = more;
                    continue;
                }
                Frame::Record { entry, checksum, .. } => (entry.len(), checksum),
                Frame::Bad(bad) => {
                    self.bad = Some(bad);
                    return Ok(None);
                }
                Frame::Short { .. } | Frame::Padding => return Ok(None),
            };
            let start = self.at;
            self.at += (FRAME_BYTES + length) as u64;
            let entry = &self.window[from + FRAME_HEAD_BYTES..][..length];
            return Ok(Some((entry, Place { start, end: self.at, checksum })));
        }
    }

    fn fill<D: Disk>(&mut self, disk: &mut D, wanted: usize) -> io::Result<()> {
        let room = (self.bytes - self.at).min(wanted.max(self.window_bytes) as u64) as usize;
        self.window.resize(room, 0);
        self.window_at = self.at;
        let read = disk.read_at(self.file, self.at, &mut self.window)?;
        self.window.truncate(read);
        // A file that shrank under us ends where it ends now.
        if read < room {
            self.bytes = self.at + read as u64;
        }
        Ok(())
    }

    /// Whether only zeros follow the unbroken run.
    pub fn is_clean_end<D: Disk>(&mut self, disk: &mut D) -> io::Result<bool> {
        let mut at = self.at;
        let mut window = vec![0; WINDOW_BYTES];
        while at < self.bytes {
            let read = disk.read_at(self.file, at, &mut window)?;
            if read == 0 {
                break;
            }
            if !is_zero(&window[..read]) {
                return Ok(false);
            }
            at += read as u64;
        }
        Ok(true)
    }

    /// Whether a whole record ends further behind the unbroken run than `bound`: one was there
    /// that is known to have been synced, so all before it was. What ends within the bound is not
    /// looked into, whatever a client has put there.
    pub fn has_record_beyond<D: Disk>(&mut self, disk: &mut D, bound: u64) -> io::Result<bool> {
        let bound = self.at.saturating_add(bound);
        let mut budget = SEARCH_BYTES;
        let mut at = self.at;
        let mut window = vec![0; WINDOW_BYTES];
        while at + (FRAME_HEAD_BYTES as u64) < self.bytes {
            let read = disk.read_at(self.file, at, &mut window)?;
            let Some(last) = read.checked_sub(FRAME_HEAD_BYTES) else { break };
            let mut from = 0;
            while from <= last {
                let head = window[from..].first_chunk::<FRAME_HEAD_BYTES>();
                let room = self.bytes - at - from as u64;
                if let Some(whole) = head.and_then(|head| frame_length(head, room)) {
                    let start = at + from as u64;
                    let end = start + whole as u64;
                    if end > bound && self.ends_there(disk, end)? {
                        let Some(left) = budget.checked_sub(whole) else {
                            // It cannot be told in reasonable time what this is; a torn tail
                            // has nothing but zeros there.
                            return Ok(true);
                        };
                        budget = left;
                        if self.is_record(disk, start, whole)? {
                            return Ok(true);
                        }
                    }
                }
                let zeros = window.get(from..from + ZERO_STEP).is_some_and(is_zero);
                from += if zeros { ZERO_STEP - FRAME_HEAD_BYTES } else { 1 };
            }
            at += last as u64 + 1;
        }
        Ok(false)
    }

    /// Whether a record may end at `end`.
    fn ends_there<D: Disk>(&mut self, disk: &mut D, end: u64) -> io::Result<bool> {
        let mut last = [0];
        disk.read_at(self.file, end - 1, &mut last)?;
        Ok(last == *b"B")
    }

    fn is_record<D: Disk>(&mut self, disk: &mut D, at: u64, whole: usize) -> io::Result<bool> {
        let mut bytes = vec![0; whole];
        let read = disk.read_at(self.file, at, &mut bytes)?;
        Ok(matches!(frame(&bytes[..read]), Frame::Record { .. }))
    }

    /// Whether a record with this checksum lies exactly there.
    pub fn holds<D: Disk>(&mut self, disk: &mut D, place: Place) -> io::Result<bool> {
        let length = place.end.saturating_sub(place.start);
        if place.end > self.bytes || length > self.bytes {
            return Ok(false);
        }
        let mut bytes = vec![0; length as usize];
        let read = disk.read_at(self.file, place.start, &mut bytes)?;
        let there = frame(&bytes[..read]);
        Ok(matches!(there, Frame::Record { checksum, bytes, .. }
            if checksum == place.checksum && bytes as u64 == length))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

const WINDOW_BYTES: usize = 1024 * 1024;
/// A stretch of zeros that is passed at once in a search.
const ZERO_STEP: usize = 4096;
/// Bytes a search may checksum: clients choose what lies in a log, and could make every offset
/// look like a long record.
const SEARCH_BYTES: usize = 1024 * 1024 * 1024;
