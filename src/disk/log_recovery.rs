//! Reads the log behind a snapshot, judges its end, and makes true what it read.

use std::io;
use std::path::Path;

use log::warn;

use crate::base::{Fatal, Zxid};
use crate::history::{LOG_HEADER_BYTES, SegmentEnd, SideMark, Verdict, record_zxid, verdict};
use crate::proto::Entry;

use super::dirs::Dirs;
use super::listing::{list_logs, logs_from};
use super::log_writer::fatal;
use super::segment::{Opening, Place, SegmentReader};
use super::{Disk, OpenMode, read_small};

/// What is done with each txn behind the snapshot, and with its length, in order.
pub type EachEntry<'a> = &'a mut dyn FnMut(Entry, u64) -> Result<(), Fatal>;

/// When the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Before anything is written: what a crash has left is put right.
    AtStart,
    /// While the threads run over it: nothing may be changed, nor has to be.
    Again,
}

/// Reads every txn after `base` and returns the last zxid of the log, if it has one. When it
/// returns, all that was read is on disk, and nothing follows it.
#[cfg(test)]
pub fn replay_logs<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    unsynced_bytes: u64,
    base: Zxid,
    each: &mut dyn FnMut(Entry) -> Result<(), Fatal>,
) -> Result<Option<Zxid>, Fatal> {
    let each = &mut |entry, _| each(entry);
    read_logs(disk, dirs, Manner::AtStart, unsynced_bytes, base, each)
}

/// The same at any time.
pub fn read_logs<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    manner: Manner,
    unsynced_bytes: u64,
    base: Zxid,
    each: EachEntry<'_>,
) -> Result<Option<Zxid>, Fatal> {
    let unread = |e: io::Error| fatal("read the log in", &dirs.logs, &e);
    let mut logs = list_logs(disk, dirs).map_err(unread)?;
    let mark = read_small(disk, &dirs.mark()).map_err(unread)?;
    let mark = mark.and_then(|bytes| SideMark::parse(&bytes));
    if manner == Manner::AtStart {
        trim(disk, dirs, unsynced_bytes, mark, &mut logs)?;
    }
    let mut replay = Replay { disk, dirs, manner, unsynced_bytes, base, mark, last: None, each };
    let logs = behind(logs_from(&logs, base), base);
    for (i, name) in logs.iter().enumerate() {
        replay.segment(*name, logs.get(i + 1).copied())?;
    }
    let last = replay.last;
    if manner == Manner::AtStart {
        disk.sync_dir(&dirs.logs).map_err(unread)?;
    }
    Ok(last)
}

/// Without the first file where the second one goes on behind `base`: behind a snapshot that came
/// from another server, what lies before it is of no use, in whatever state.
fn behind(logs: &[Zxid], base: Zxid) -> &[Zxid] {
    match logs {
        [_, second, ..] if base.0.checked_add(1) == Some(second.0) => &logs[1..],
        _ => logs,
    }
}

/// Removes the newest files as long as they hold no record: they were about to be begun when the
/// machine stopped, and their names must not pass for a history that goes on. A file that the
/// side mark knows to be synced held records, whatever has become of its first one.
fn trim<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    unsynced_bytes: u64,
    mark: Option<SideMark>,
    logs: &mut Vec<Zxid>,
) -> Result<(), Fatal> {
    while let Some(name) = logs.last() {
        let path = dirs.log(*name);
        let unread = |e: io::Error| fatal("read", &path, &e);
        let file = disk.open(&path, OpenMode::Read).map_err(unread)?;
        let mut reader = SegmentReader::new(disk, file).map_err(unread)?;
        let opening = reader.opening(disk).map_err(unread)?;
        let has_record =
            opening == Opening::Header && reader.next_record(disk).map_err(unread)?.is_some();
        let has_synced_beyond =
            !has_record && reader.has_record_beyond(disk, unsynced_bytes).map_err(unread)?;
        let was_synced = synced_end(disk, mark, *name, &mut reader).map_err(unread)?.is_some();
        disk.close(file);
        if has_record || was_synced || opening == Opening::Foreign || has_synced_beyond {
            break;
        }
        warn!("Delete empty tail log file to recover from corruption file: {}", path.display());
        disk.remove(&path).map_err(|e| fatal("remove", &path, &e))?;
        logs.pop();
    }
    Ok(())
}

/// The offset up to which the side mark says that this file was synced.
fn synced_end<D: Disk>(
    disk: &mut D,
    mark: Option<SideMark>,
    name: Zxid,
    reader: &mut SegmentReader,
) -> io::Result<Option<u64>> {
    let Some(mark) = mark.filter(|mark| mark.segment == name) else { return Ok(None) };
    let place = Place { start: mark.start, end: mark.end, checksum: mark.checksum };
    Ok(reader.holds(disk, place)?.then_some(mark.end))
}

struct Replay<'a, D: Disk> {
    disk: &'a mut D,
    dirs: &'a Dirs,
    manner: Manner,
    unsynced_bytes: u64,
    base: Zxid,
    mark: Option<SideMark>,
    last: Option<Zxid>,
    each: EachEntry<'a>,
}

impl<D: Disk> Replay<'_, D> {
    fn segment(&mut self, name: Zxid, next: Option<Zxid>) -> Result<(), Fatal> {
        let path = self.dirs.log(name);
        let unread = |e: io::Error| fatal("read", &path, &e);
        let may_mend = self.manner == Manner::AtStart;
        let mode = if next.is_none() && may_mend { OpenMode::Write } else { OpenMode::Read };
        let file = self.disk.open(&path, mode).map_err(unread)?;
        let mut reader = SegmentReader::new(self.disk, file).map_err(unread)?;
        let opening = reader.opening(self.disk).map_err(unread)?;
        if opening == Opening::Foreign {
            return Err(self.damaged(name, 0, "does not begin as a log file does"));
        }
        let synced = synced_end(self.disk, self.mark, name, &mut reader).map_err(unread)?;
        let last = match opening {
            Opening::Header => self.records(name, &mut reader)?,
            Opening::Missing | Opening::Foreign => None,
        };
        let clean = reader.is_clean_end(self.disk).map_err(unread)?;
        let found = SegmentEnd {
            end: reader.position(),
            last,
            clean,
            is_javas_end: reader.is_javas_end(),
            has_synced_beyond: !clean
                && reader.has_record_beyond(self.disk, self.unsynced_bytes).map_err(unread)?,
            synced,
            next,
        };
        let judged = match opening {
            Opening::Missing => Verdict::Damage,
            _ => verdict(&found),
        };
        match judged {
            // Beside the log thread nothing can be torn.
            Verdict::Torn if !may_mend => {
                return Err(self.damaged(name, found.end, "is damaged"));
            }
            Verdict::Damage => return Err(self.damaged(name, found.end, "is damaged")),
            Verdict::PassedOver => warn!(
                "{} ends in a torn record at offset {}; the next file goes on from there",
                path.display(),
                found.end
            ),
            Verdict::Torn => {
                warn!("{} ends in a torn record: cut at offset {}", path.display(), found.end)
            }
            Verdict::Whole => {}
        }
        let kept = match next {
            _ if !may_mend => Ok(()),
            Some(_) => self.disk.sync(file),
            None => self.settle(&mut reader, &found),
        };
        self.disk.close(file);
        kept.map_err(|e| fatal("make durable", &path, &e))
    }

    /// Gives the txns of a file on: the zxid of its last record.
    fn records(&mut self, name: Zxid, reader: &mut SegmentReader) -> Result<Option<Zxid>, Fatal> {
        let path = self.dirs.log(name);
        let mut last = None;
        while let Some((bytes, place)) =
            reader.next_record(self.disk).map_err(|e| fatal("read", &path, &e))?
        {
            let Some(zxid) = record_zxid(bytes) else {
                return Err(self.damaged(name, place.start, "holds a record without a header"));
            };
            last = Some(zxid);
            let before = self.last;
            self.last = before.max(Some(zxid));
            if zxid <= self.base {
                continue;
            }
            // Java's own histories hold txns twice, after an interrupted sync with a leader.
            if before.is_some_and(|before| zxid <= before) {
                warn!("{}: zxid 0x{zxid:x} is there again, passed over", path.display());
                continue;
            }
            let entry = Entry::read(bytes).map_err(|e| {
                let what = format!("holds a record that cannot be read ({e:?})");
                self.damaged(name, place.start, &what)
            })?;
            self.look_for_gap(before, zxid, &path);
            (self.each)(entry, bytes.len() as u64)?;
        }
        Ok(last)
    }

    /// Within an epoch each txn's zxid follows the one before. Java leaves a number out where a
    /// request broke off halfway, so this stops nobody; but it may be a file that was taken away.
    fn look_for_gap(&self, before: Option<Zxid>, zxid: Zxid, path: &Path) {
        let known = before.unwrap_or_default().max(self.base);
        if known.epoch() == zxid.epoch() && zxid.0 > known.0 + 1 {
            warn!(
                "{} goes on with zxid 0x{zxid:x}, and no file here has those behind 0x{known:x}: \
                 if a log file was removed, what it held is missing",
                path.display()
            );
        }
    }

    /// Makes the last file true: what may never have reached the disk is written again (after a
    /// failed sync the kernel shows pages that the disk does not have), and nothing follows it.
    fn settle(&mut self, reader: &mut SegmentReader, found: &SegmentEnd) -> io::Result<()> {
        let header = LOG_HEADER_BYTES as u64;
        let bound = found.end.saturating_sub(self.unsynced_bytes).max(header);
        let mut at = bound.max(found.synced.unwrap_or(header));
        let mut window = vec![0; REWRITE_BYTES];
        while at < found.end {
            let room = (found.end - at).min(REWRITE_BYTES as u64) as usize;
            let slice = &mut window[..room];
            if self.disk.read_at(reader.file, at, slice)? < room {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.disk.write_at(reader.file, at, slice)?;
            at += room as u64;
        }
        if reader.bytes > found.end {
            self.disk.set_len(reader.file, found.end)?;
        }
        self.disk.sync(reader.file)
    }

    fn damaged(&self, name: Zxid, offset: u64, what: &str) -> Fatal {
        let whole = self.last.map_or_else(
            || "nothing of the log before it".to_owned(),
            |last| format!("everything up to zxid 0x{last:x}"),
        );
        Fatal::LogDamaged(format!(
            "{} {what} at offset {offset}, where it was whole once; {whole} is readable. Restore \
             the file, or let this server take its data from the others after moving its \
             directory away",
            self.dirs.log(name).display()
        ))
    }
}

const REWRITE_BYTES: usize = 1024 * 1024;
