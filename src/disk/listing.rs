//! What the two directories hold.

use std::io;

use crate::base::Zxid;
use crate::history::{Compression, parse_log_name, parse_snapshot_name};

use super::Disk;
use super::dirs::Dirs;

/// The log files by the zxid in their names, oldest first.
pub fn list_logs<D: Disk>(disk: &mut D, dirs: &Dirs) -> io::Result<Vec<Zxid>> {
    let files = disk.list(&dirs.logs)?;
    let mut logs: Vec<Zxid> = files.iter().filter_map(|f| parse_log_name(&f.name)).collect();
    logs.sort();
    Ok(logs)
}

/// The snapshot files, newest first.
pub fn list_snapshots<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
) -> io::Result<Vec<(Zxid, Compression, String)>> {
    let named = |f: super::FileEntry| {
        let (zxid, form) = parse_snapshot_name(&f.name)?;
        Some((zxid, form, f.name))
    };
    let mut snapshots: Vec<_> = disk.list(&dirs.snapshots)?.into_iter().filter_map(named).collect();
    snapshots.sort_by_key(|(zxid, _, _)| std::cmp::Reverse(*zxid));
    Ok(snapshots)
}

/// From the newest log file named at or below `zxid` on: those that may hold anything after it.
pub fn logs_from(logs: &[Zxid], zxid: Zxid) -> &[Zxid] {
    let start = logs.partition_point(|first| *first <= zxid).saturating_sub(1);
    logs.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_contains_the_zxid_is_the_first_to_be_read() {
        let logs = [Zxid(1), Zxid(5), Zxid(9)];
        assert_eq!(logs_from(&logs, Zxid(0)), logs);
        assert_eq!(logs_from(&logs, Zxid(5)), [Zxid(5), Zxid(9)]);
        assert_eq!(logs_from(&logs, Zxid(8)), [Zxid(5), Zxid(9)]);
        assert_eq!(logs_from(&logs, Zxid(70)), [Zxid(9)]);
        assert_eq!(logs_from(&[], Zxid(3)), []);
    }
}
