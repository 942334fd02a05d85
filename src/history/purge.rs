//! What purge may take: nothing that the newest valid snapshots need to be rebuilt from.

use crate::base::Zxid;

/// A snapshot file and whether it looks complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    pub zxid: Zxid,
    pub name: String,
    pub valid: bool,
}

/// A log file, by the zxid in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub first: Zxid,
    pub name: String,
}

/// The names to remove, from the log directory and the snapshot directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purge {
    pub logs: Vec<String>,
    pub snapshots: Vec<String>,
}

/// Keeps the newest `retain` valid snapshots, every snapshot not older than the oldest of them,
/// the log file that contains that one's zxid and every later one. Fewer valid snapshots than
/// that: takes nothing, for an invalid one is no ground to remove anything.
pub fn purge_plan(snapshots: &[SnapshotFile], logs: &[LogFile], retain: usize) -> Purge {
    let mut valid: Vec<Zxid> = snapshots.iter().filter(|s| s.valid).map(|s| s.zxid).collect();
    valid.sort();
    valid.dedup();
    let retain = retain.max(1);
    let Some(oldest) = valid.len().checked_sub(retain).and_then(|i| valid.get(i).copied()) else {
        return Purge::default();
    };
    let contains = logs.iter().map(|l| l.first).filter(|first| *first <= oldest).max();
    let older = |l: &&LogFile| contains.is_some_and(|kept| l.first < kept);
    let mut doomed_logs: Vec<&LogFile> = logs.iter().filter(older).collect();
    let mut doomed: Vec<&SnapshotFile> = snapshots.iter().filter(|s| s.zxid < oldest).collect();
    // Oldest first: interrupted at any point, what stays is a gapless end of the history.
    doomed_logs.sort_by_key(|l| l.first);
    doomed.sort_by_key(|s| s.zxid);
    Purge {
        logs: doomed_logs.into_iter().map(|l| l.name.clone()).collect(),
        snapshots: doomed.into_iter().map(|s| s.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn snapshot(zxid: i64, valid: bool) -> SnapshotFile {
        SnapshotFile { zxid: Zxid(zxid), name: format!("snapshot.{zxid:x}"), valid }
    }

    fn log(first: i64) -> LogFile {
        LogFile { first: Zxid(first), name: format!("log.{first:x}") }
    }

    #[test]
    fn invalid_snapshots_do_not_count_toward_those_kept() {
        let snapshots = [snapshot(1, true), snapshot(5, true), snapshot(9, false)];
        let logs = [log(1), log(4), log(6)];
        assert_eq!(purge_plan(&snapshots, &logs, 3), Purge::default());
        let plan = purge_plan(&snapshots, &logs, 1);
        assert_eq!(plan.snapshots, ["snapshot.1"]);
        assert_eq!(plan.logs, ["log.1"], "log.4 contains 5");
    }

    proptest! {
        #[test]
        fn every_kept_valid_snapshot_can_be_brought_up_to_the_end(
            zxids in prop::collection::btree_map(0i64..40, any::<bool>(), 0..10),
            firsts in prop::collection::btree_set(0i64..40, 0..10),
            retain in 1usize..5,
        ) {
            let snapshots: Vec<_> = zxids.iter().map(|(z, v)| snapshot(*z, *v)).collect();
            let logs: Vec<_> = firsts.iter().map(|z| log(*z)).collect();
            let plan = purge_plan(&snapshots, &logs, retain);
            let kept: Vec<_> =
                snapshots.iter().filter(|s| !plan.snapshots.contains(&s.name)).collect();
            let valid = |s: &&&SnapshotFile| s.valid;
            let before = snapshots.iter().filter(|s| s.valid).count();
            prop_assert!(kept.iter().filter(valid).count() >= before.min(retain));
            for s in kept.iter().filter(valid) {
                // Each log file that may hold a txn after it: the last one named at or below
                // it, and all above.
                let start = firsts.iter().filter(|f| **f <= s.zxid.0).max().copied();
                for l in logs.iter().filter(|l| l.first.0 >= start.unwrap_or(0)) {
                    prop_assert!(!plan.logs.contains(&l.name), "{:?} needs {}", s, l.name);
                }
            }
        }
    }
}
