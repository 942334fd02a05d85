//! Takes back the end of a history: first the records, then the snapshots that say more.
//!
//! The records go first. A snapshot that another server sent has a hole in the log beneath it:
//! were it removed while the records behind it are there, these would pass for what comes behind
//! the hole's other side. While they go, the history ends where the newest snapshot does, and
//! when that goes, where the next one and its log do.

use std::io;
use std::path::Path;

use crate::base::{Fatal, Zxid};
use crate::history::{Compression, LOG_HEADER_BYTES, log_name, record_zxid};

use super::dirs::Dirs;
use super::listing::{list_logs, list_snapshots, logs_from};
use super::log_writer::fatal;
use super::segment::{Opening, SegmentReader};
use super::snapshot_file::{is_whole, looks_valid};
use super::unreadable::Unreadable;
use super::{Disk, OpenMode};

/// What came of a truncation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Done {
        last: Zxid,
    },
    /// What would stay could not rebuild the zxid; nothing was removed.
    Refused,
}

/// Where a history is to end.
struct End {
    /// The last record that stays, or what came before it.
    last: Zxid,
    /// The first record that goes; none where all stay.
    cut: Option<CutPoint>,
}

struct CutPoint {
    segment: Zxid,
    at: u64,
}

/// Whether a record stays, after the last one that does.
type Keeps<'a> = &'a mut dyn FnMut(Zxid, Zxid) -> bool;

/// Ends the history after `zxid`. At each point of it a crash leaves a history that ends there or
/// later, without a gap. Nobody has a record of an epoch's beginning: where that is named, the
/// history ends with what comes before it.
pub fn truncate<D: Disk>(disk: &mut D, dirs: &Dirs, zxid: Zxid) -> Result<Cut, Fatal> {
    let io = |e: io::Error| fatal("truncate the log in", &dirs.logs, &e);
    let snapshots = list_snapshots(disk, dirs).map_err(io)?;
    let (base, unreadable) = find_base(disk, dirs, &snapshots, zxid);
    let Some(base) = base else { return Ok(Cut::Refused) };
    let logs = list_logs(disk, dirs).map_err(io)?;
    let mut is_led_up_to = true;
    let end = find_end(disk, dirs, &logs, base, &mut |last, at| {
        let stays = at <= zxid;
        is_led_up_to &= !(stays && unreadable.may_bridge(last, at));
        stays
    })
    .map_err(io)?;
    let is_there = end.last == zxid || zxid.counter() == 0;
    if !is_there || !is_led_up_to || unreadable.reaches_beyond(end.last) {
        return Ok(Cut::Refused);
    }
    cut_log(disk, dirs, &logs, end.cut.as_ref()).map_err(io)?;
    remove_snapshots(disk, dirs, &snapshots, zxid).map_err(io)?;
    Ok(Cut::Done { last: end.last })
}

/// The newest snapshot up to `zxid` that can be read, and those behind it that cannot.
fn find_base<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    snapshots: &[(Zxid, Compression, String)],
    zxid: Zxid,
) -> (Option<Zxid>, Unreadable) {
    let mut unreadable = Unreadable::default();
    for (at, form, name) in snapshots.iter().filter(|(at, _, _)| *at <= zxid) {
        let path = dirs.snapshots.join(name);
        if looks_valid(disk, &path, *form).is_ok_and(|is_valid| !is_valid) {
            unreadable.cut_short.push(*at);
        } else if is_whole(disk, &path, *form) {
            return (Some(*at), unreadable);
        } else {
            unreadable.broken.push(*at);
        }
    }
    (None, unreadable)
}

/// Removes what lies above `zxid`, a snapshot's or the log's, but for the records that are the
/// next of `sent`: where the log ends then. At each point of it a crash leaves a history that
/// ends with the snapshot of `zxid` and those records, or one that was there before, without a
/// gap.
pub fn cut_above<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    zxid: Zxid,
    sent: &[Zxid],
) -> Result<Zxid, Fatal> {
    let io = |e: io::Error| fatal("cut the log in", &dirs.logs, &e);
    let snapshots = list_snapshots(disk, dirs).map_err(io)?;
    let logs = list_logs(disk, dirs).map_err(io)?;
    let mut sent = sent.iter();
    let end = find_end(disk, dirs, &logs, zxid, &mut |_, at| sent.next() == Some(&at));
    let end = end.map_err(io)?;
    cut_log(disk, dirs, &logs, end.cut.as_ref()).map_err(io)?;
    remove_snapshots(disk, dirs, &snapshots, zxid).map_err(io)?;
    Ok(end.last)
}

/// Goes through the records behind `from` up to the first one that does not stay.
fn find_end<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    logs: &[Zxid],
    from: Zxid,
    keeps: Keeps<'_>,
) -> io::Result<End> {
    let mut last = from;
    for segment in logs_from(logs, from) {
        let file = disk.open(&dirs.log(*segment), OpenMode::Read)?;
        let mut reader = SegmentReader::new(disk, file)?;
        let at = first_to_go(disk, &mut reader, &mut last, keeps);
        disk.close(file);
        if let Some(at) = at? {
            return Ok(End { last, cut: Some(CutPoint { segment: *segment, at }) });
        }
    }
    Ok(End { last, cut: None })
}

/// Where in a file the first record begins that does not stay.
fn first_to_go<D: Disk>(
    disk: &mut D,
    reader: &mut SegmentReader,
    last: &mut Zxid,
    keeps: Keeps<'_>,
) -> io::Result<Option<u64>> {
    if reader.opening(disk)? != Opening::Header {
        return Ok(None);
    }
    while let Some((entry, place)) = reader.next_record(disk)? {
        match record_zxid(entry) {
            // Java's own histories hold txns twice.
            Some(zxid) if zxid <= *last => {}
            Some(zxid) if keeps(*last, zxid) => *last = zxid,
            _ => return Ok(Some(place.start)),
        }
    }
    Ok(None)
}

fn cut_log<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    logs: &[Zxid],
    point: Option<&CutPoint>,
) -> io::Result<()> {
    // A mark above the cut would call the new end damage.
    remove_if_there(disk, &dirs.mark())?;
    disk.sync_dir(&dirs.logs)?;
    let Some(point) = point else { return Ok(()) };
    for first in logs.iter().rev().filter(|first| **first > point.segment) {
        disk.remove(&dirs.logs.join(log_name(*first)))?;
    }
    disk.sync_dir(&dirs.logs)?;
    let path = dirs.log(point.segment);
    // A log file without a record is never left behind.
    if point.at == LOG_HEADER_BYTES as u64 {
        disk.remove(&path)?;
        return disk.sync_dir(&dirs.logs);
    }
    let file = disk.open(&path, OpenMode::Write)?;
    let cut = disk.set_len(file, point.at).and_then(|()| disk.sync(file));
    disk.close(file);
    cut
}

/// Those above `zxid`, the newest first: each that is left has the log that it had.
fn remove_snapshots<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    snapshots: &[(Zxid, Compression, String)],
    zxid: Zxid,
) -> io::Result<()> {
    for (_, _, name) in snapshots.iter().filter(|(at, _, _)| *at > zxid) {
        disk.remove(&dirs.snapshots.join(name))?;
    }
    disk.sync_dir(&dirs.snapshots)
}

pub fn remove_if_there<D: Disk>(disk: &mut D, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
