//! Reads the log onward for somebody who follows, piece by piece: each record is read once.

use std::io;

use bytes::Bytes;

use crate::base::{Zxid, limits};
use crate::history::{LOG_HEADER_BYTES, record_zxid};

use super::dirs::Dirs;
use super::listing::{list_logs, logs_from};
use super::log_index::LogIndex;
use super::segment::{Opening, SegmentReader};
use super::{Disk, FileId, OpenMode};

/// Where somebody is in the log.
pub struct LogCursor {
    segment: Zxid,
    file: FileId,
    /// Where the next record begins.
    at: u64,
    /// The last one that was passed.
    after: Zxid,
}

/// What is asked for, and what was found of it.
pub struct LogAsk {
    after: Zxid,
    bytes: usize,
    records: Vec<(Zxid, Bytes)>,
    taken: usize,
}

/// Entries, ascending.
#[derive(Debug, PartialEq, Eq)]
pub struct LogPiece {
    pub records: Vec<(Zxid, Bytes)>,
    /// The log has no more.
    pub is_end: bool,
}

enum Stop {
    FileEnds,
    Filled,
    SliceEnds,
}

impl LogAsk {
    pub fn new(after: Zxid, bytes: usize) -> LogAsk {
        let bytes = bytes.min(limits::CHORE_SLICE_BYTES);
        LogAsk { after, bytes, records: Vec::new(), taken: 0 }
    }

    /// Reads a slice on: the answer once it is complete.
    pub fn go_on<D: Disk>(
        &mut self,
        disk: &mut D,
        dirs: &Dirs,
        index: &LogIndex,
        place: &mut Option<LogCursor>,
    ) -> io::Result<Option<LogPiece>> {
        // Before anything is read: behind a file that has a successor nothing is written.
        let logs = list_logs(disk, dirs)?;
        let mut budget = limits::CHORE_SLICE_BYTES as u64;
        let found = self.find(disk, dirs, index, &logs, place.take())?;
        let Some(mut cursor) = found else { return Ok(Some(self.answer(true))) };
        loop {
            let stop = match self.read(disk, &mut cursor, &mut budget) {
                Ok(stop) => stop,
                Err(e) => {
                    cursor.close(disk);
                    return Err(e);
                }
            };
            let next = logs.iter().find(|first| **first > cursor.segment);
            let answer = match (stop, next) {
                (Stop::Filled, _) => Some(self.answer(false)),
                (Stop::SliceEnds, _) => None,
                (Stop::FileEnds, None) => Some(self.answer(true)),
                (Stop::FileEnds, Some(next)) => {
                    let after = cursor.after;
                    cursor.close(disk);
                    cursor = LogCursor::open(disk, dirs, index, *next, after)?;
                    continue;
                }
            };
            *place = Some(cursor);
            return Ok(answer);
        }
    }

    fn answer(&mut self, is_end: bool) -> LogPiece {
        LogPiece { records: std::mem::take(&mut self.records), is_end }
    }

    /// The place to go on from: where the reader is, if what is asked for lies ahead of it.
    fn find<D: Disk>(
        &self,
        disk: &mut D,
        dirs: &Dirs,
        index: &LogIndex,
        logs: &[Zxid],
        known: Option<LogCursor>,
    ) -> io::Result<Option<LogCursor>> {
        let first = logs_from(logs, self.after).first();
        if let Some(cursor) = known {
            // While it goes on it is ahead of what was asked for.
            let goes_on = !self.records.is_empty() || cursor.after == self.after;
            let is_ahead = cursor.after < self.after && first == Some(&cursor.segment);
            if goes_on || is_ahead {
                let after = cursor.after.max(self.after);
                return Ok(Some(LogCursor { after, ..cursor }));
            }
            cursor.close(disk);
        }
        first.map(|first| LogCursor::open(disk, dirs, index, *first, self.after)).transpose()
    }

    fn read<D: Disk>(
        &mut self,
        disk: &mut D,
        cursor: &mut LogCursor,
        budget: &mut u64,
    ) -> io::Result<Stop> {
        let window = self.bytes.max(WINDOW_BYTES);
        let mut reader = SegmentReader::reading_from(disk, cursor.file, cursor.at, window)?;
        while let Some((entry, place)) = reader.next_record(disk)? {
            let Some(zxid) = record_zxid(entry) else { break };
            cursor.at = place.end;
            // Java's own histories hold txns twice.
            if zxid > cursor.after {
                cursor.after = zxid;
                self.taken += entry.len();
                self.records.push((zxid, Bytes::copy_from_slice(entry)));
                if self.taken >= self.bytes {
                    return Ok(Stop::Filled);
                }
            }
            *budget = budget.saturating_sub(place.end - place.start);
            if *budget == 0 {
                return Ok(Stop::SliceEnds);
            }
        }
        Ok(Stop::FileEnds)
    }
}

impl LogCursor {
    fn open<D: Disk>(
        disk: &mut D,
        dirs: &Dirs,
        index: &LogIndex,
        segment: Zxid,
        after: Zxid,
    ) -> io::Result<LogCursor> {
        let file = disk.open(&dirs.log(segment), OpenMode::Read)?;
        let mut start = || {
            let opening = SegmentReader::new(disk, file)?.opening(disk)?;
            match opening {
                Opening::Header => index.start(disk, file, segment, after),
                // It was about to be begun.
                Opening::Missing => Ok(LOG_HEADER_BYTES as u64),
                Opening::Foreign => Err(io::ErrorKind::InvalidData.into()),
            }
        };
        match start() {
            Ok(at) => Ok(LogCursor { segment, file, at, after }),
            Err(e) => {
                disk.close(file);
                Err(e)
            }
        }
    }

    pub fn close<D: Disk>(self, disk: &mut D) {
        disk.close(self.file);
    }
}

const WINDOW_BYTES: usize = 64 * 1024;
