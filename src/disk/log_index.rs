//! Which zxids the log files hold and where: read once, kept, and brought up to date whenever it
//! is asked. The log thread writes meanwhile, so nothing is believed that is not there any more,
//! and a record that is not whole yet is the end.

use std::collections::BTreeMap;
use std::io;

use crate::base::{Zxid, limits};
use crate::history::{FRAME_BYTES, LOG_HEADER_BYTES, LogPlace, record_zxid};
use crate::zab::Continuity;

use super::dirs::Dirs;
use super::listing::{list_logs, list_snapshots, logs_from};
use super::segment::{Opening, Place, SegmentReader};
use super::snapshot_file::looks_valid;
use super::stretch::Stretch;
use super::{Disk, FileId, OpenMode};

#[derive(Default)]
pub struct LogIndex {
    files: BTreeMap<Zxid, Scanned>,
}

/// What was read of a file.
#[derive(Default)]
struct Scanned {
    stretch: Stretch,
    /// The last record that was read.
    last: Option<Place>,
    /// Where a record begins, every now and then.
    steps: Vec<(Zxid, u64)>,
}

impl Scanned {
    fn end(&self) -> u64 {
        self.last.map_or(LOG_HEADER_BYTES as u64, |last| last.end)
    }
}

impl LogIndex {
    /// Where `zxid` stands; nothing where a slice was read and there is more to read.
    pub fn probe<D: Disk>(
        &mut self,
        disk: &mut D,
        dirs: &Dirs,
        zxid: Zxid,
    ) -> io::Result<Option<LogPlace>> {
        let logs = list_logs(disk, dirs)?;
        self.files.retain(|name, _| logs.contains(name));
        let snapshots = snapshot_zxids(disk, dirs)?;
        let snapshot_bytes = latest_snapshot_bytes(disk, dirs)?;
        let mut place =
            LogPlace { at_or_before: None, after: None, bytes_behind: 0, snapshot_bytes };
        let leads_on = |first: Zxid| {
            let is_next = |at: &Zxid| *at <= zxid && Continuity::of(*at, first) == Continuity::Next;
            snapshots.iter().any(is_next)
        };
        if logs.first().is_some_and(|first| zxid < *first && !leads_on(*first)) {
            return Ok(Some(place));
        }
        let mut stretch = Stretch::default();
        let mut budget = limits::CHORE_SLICE_BYTES as u64;
        for (i, name) in logs_from(&logs, zxid).iter().enumerate() {
            if !self.catch_up(disk, dirs, *name, &mut budget)? {
                return Ok(None);
            }
            let Some(scanned) = self.files.get(name) else { continue };
            stretch.join(&scanned.stretch);
            place.bytes_behind += if i > 0 { scanned.end() } else { 0 };
            if place.bytes_behind > snapshot_bytes.max(limits::PROBED_LOG_BYTES) {
                return Ok(Some(place));
            }
        }
        snapshots.iter().for_each(|at| stretch.see_snapshot(*at));
        place.at_or_before = stretch.at_or_before(zxid);
        place.after = stretch.after(zxid);
        Ok(Some(place))
    }

    /// Where in the file `name` to begin looking for what comes after `zxid`.
    pub fn start<D: Disk>(
        &self,
        disk: &mut D,
        file: FileId,
        name: Zxid,
        zxid: Zxid,
    ) -> io::Result<u64> {
        let header = LOG_HEADER_BYTES as u64;
        let Some(scanned) = self.files.get(&name) else { return Ok(header) };
        let before = scanned.steps.partition_point(|(at, _)| *at <= zxid);
        let Some((at, offset)) = before.checked_sub(1).and_then(|i| scanned.steps.get(i)) else {
            return Ok(header);
        };
        let mut reader = SegmentReader::reading_from(disk, file, *offset, STEP_WINDOW_BYTES)?;
        let there = reader.next_record(disk)?.and_then(|(entry, _)| record_zxid(entry));
        Ok(if there == Some(*at) { *offset } else { header })
    }

    /// Reads what a file has that is not known yet; false where the budget ended before the file.
    fn catch_up<D: Disk>(
        &mut self,
        disk: &mut D,
        dirs: &Dirs,
        name: Zxid,
        budget: &mut u64,
    ) -> io::Result<bool> {
        let file = match disk.open(&dirs.log(name), OpenMode::Read) {
            Ok(file) => file,
            // Purge has come between.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.files.remove(&name);
                return Ok(true);
            }
            Err(e) => return Err(e),
        };
        let is_over = scan(disk, file, self.files.entry(name).or_default(), budget);
        disk.close(file);
        is_over
    }
}

fn scan<D: Disk>(
    disk: &mut D,
    file: FileId,
    scanned: &mut Scanned,
    budget: &mut u64,
) -> io::Result<bool> {
    let mut front = SegmentReader::new(disk, file)?;
    // It was cut since, or is another one under the same name.
    let is_known = match scanned.last {
        Some(last) => front.holds(disk, last)?,
        None => true,
    };
    if !is_known {
        *scanned = Scanned::default();
    }
    if front.opening(disk)? != Opening::Header {
        return Ok(true);
    }
    let from = scanned.end();
    let window = (*budget as usize).max(FRAME_BYTES);
    let mut reader = SegmentReader::reading_from(disk, file, from, window)?;
    while let Some((entry, place)) = reader.next_record(disk)? {
        let Some(zxid) = record_zxid(entry) else { break };
        scanned.stretch.push(zxid);
        let is_far = |(_, offset): &(Zxid, u64)| place.start - offset >= STEP_BYTES;
        if scanned.steps.last().is_none_or(is_far) {
            scanned.steps.push((zxid, place.start));
        }
        scanned.last = Some(place);
        *budget = budget.saturating_sub(place.end - place.start);
        if *budget == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ascending, of every file that is named as a snapshot: also a broken one says that there was a
/// history up to it.
fn snapshot_zxids<D: Disk>(disk: &mut D, dirs: &Dirs) -> io::Result<Vec<Zxid>> {
    let snapshots = list_snapshots(disk, dirs)?;
    Ok(snapshots.iter().rev().map(|(zxid, _, _)| *zxid).collect())
}

fn latest_snapshot_bytes<D: Disk>(disk: &mut D, dirs: &Dirs) -> io::Result<u64> {
    for (_, form, name) in list_snapshots(disk, dirs)? {
        let path = dirs.snapshots.join(name);
        if looks_valid(disk, &path, form)? {
            let file = disk.open(&path, OpenMode::Read)?;
            let bytes = disk.len(file);
            disk.close(file);
            return bytes;
        }
    }
    Ok(0)
}

/// A search in a file begins at most so far before what it is for.
const STEP_BYTES: u64 = 1024 * 1024;
/// Most records are shorter.
const STEP_WINDOW_BYTES: usize = 4096;
