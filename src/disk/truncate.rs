//! Takes back the end of a history: first what would bring it back, then the records themselves.

use crate::base::{Fatal, Zxid};
use crate::history::{LOG_HEADER_BYTES, log_name, record_zxid};

use super::dirs::Dirs;
use super::listing::{list_logs, list_snapshots, logs_from};
use super::log_writer::fatal;
use super::segment::{Opening, SegmentReader};
use super::snapshot_file::is_whole;
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

/// Where a log file is to end.
struct CutPoint {
    segment: Zxid,
    at: u64,
}

/// Ends the history after `zxid`. At each point of it a crash leaves a history that ends there or
/// later, without a gap.
pub fn truncate<D: Disk>(disk: &mut D, dirs: &Dirs, zxid: Zxid) -> Result<Cut, Fatal> {
    let io = |e: std::io::Error| fatal("truncate the log in", &dirs.logs, &e);
    let snapshots = list_snapshots(disk, dirs).map_err(io)?;
    let base = snapshots
        .iter()
        .find(|(at, form, name)| *at <= zxid && is_whole(disk, &dirs.snapshots.join(name), *form));
    let Some((base, _, _)) = base else { return Ok(Cut::Refused) };
    let logs = list_logs(disk, dirs).map_err(io)?;
    let Some(point) = cut_point(disk, dirs, &logs, zxid, *base == zxid).map_err(io)? else {
        return Ok(Cut::Refused);
    };
    // A mark above the cut would call the new end damage.
    remove_if_there(disk, &dirs.mark()).map_err(io)?;
    disk.sync_dir(&dirs.logs).map_err(io)?;
    for (_, _, name) in snapshots.iter().filter(|(at, _, _)| *at > zxid) {
        disk.remove(&dirs.snapshots.join(name)).map_err(io)?;
    }
    disk.sync_dir(&dirs.snapshots).map_err(io)?;
    let doomed = logs.iter().rev().filter(|first| **first > point.segment);
    for first in doomed {
        disk.remove(&dirs.logs.join(log_name(*first))).map_err(io)?;
    }
    disk.sync_dir(&dirs.logs).map_err(io)?;
    cut(disk, dirs, &point).map_err(io)?;
    Ok(Cut::Done { last: zxid })
}

/// Behind the record of `zxid`. `is_base`: a snapshot says all of it, a record is not needed.
fn cut_point<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    logs: &[Zxid],
    zxid: Zxid,
    is_base: bool,
) -> std::io::Result<Option<CutPoint>> {
    let Some(name) = logs_from(logs, zxid).first().copied() else {
        return Ok(is_base.then_some(CutPoint { segment: Zxid::NONE, at: 0 }));
    };
    if name > zxid {
        return Ok(is_base.then_some(CutPoint { segment: Zxid::NONE, at: 0 }));
    }
    let file = disk.open(&dirs.log(name), OpenMode::Read)?;
    let mut reader = SegmentReader::new(disk, file)?;
    let mut at = LOG_HEADER_BYTES as u64;
    let mut found = is_base;
    if reader.opening(disk)? == Opening::Header {
        while let Some((entry, place)) = reader.next_record(disk)? {
            match record_zxid(entry) {
                Some(here) if here <= zxid => {
                    found |= here == zxid;
                    at = place.end;
                }
                _ => break,
            }
        }
    }
    disk.close(file);
    Ok(found.then_some(CutPoint { segment: name, at }))
}

fn cut<D: Disk>(disk: &mut D, dirs: &Dirs, point: &CutPoint) -> std::io::Result<()> {
    if point.segment == Zxid::NONE {
        return Ok(());
    }
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

pub fn remove_if_there<D: Disk>(disk: &mut D, path: &std::path::Path) -> std::io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
