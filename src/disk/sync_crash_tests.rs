//! The storage commands of each kind of sync with a leader, failing at each call in turn, and every
//! extreme of what a power cut leaves there: the directory must start, with a history without a
//! hole, and no epoch before what it says.

use std::io::ErrorKind;

use crate::base::{Fatal, Zxid};
use crate::history::{EpochFile, StorageCommand};

use super::mem_disk::MemDisk;
use super::member_tests::{Log, logged, put_snapshot, settings, z, zs};
use super::recover;

/// A server before a sync, and what its leader has.
struct Story {
    name: &'static str,
    disk: MemDisk,
    own: Vec<Zxid>,
    leaders: Vec<Zxid>,
    sync: fn(&mut Log) -> Result<(), Fatal>,
}

/// A history in two files with an own snapshot in the second one, of epoch 4.
fn before(history: &[Zxid], snapshot: Zxid) -> Log {
    let mut log = Log::fresh();
    let (first, second) = history.split_at(history.len() / 2);
    log.write_epoch(EpochFile::Accepted, 4).unwrap();
    log.append(first, true).unwrap();
    log.append(second, true).unwrap();
    put_snapshot(&log.disk, snapshot);
    log.write_epoch(EpochFile::Current, 4).unwrap();
    log
}

fn finish(log: &mut Log) -> Result<(), Fatal> {
    log.write_epoch(EpochFile::Current, 6)?;
    log.writer.sync().map(|_| ())
}

fn diff(log: &mut Log) -> Result<(), Fatal> {
    log.append(&zs(4, 11, 12), true)?;
    log.append(&zs(6, 1, 1), false)?;
    finish(log)
}

fn snap_ahead(log: &mut Log) -> Result<(), Fatal> {
    log.install(z(4, 30))?;
    log.append(&zs(4, 31, 32), true)?;
    log.append(&zs(6, 1, 1), false)?;
    let ticket = log.next_ticket();
    log.execute(StorageCommand::ClearLost { ticket })?;
    finish(log)
}

fn snap_of_a_new_epoch(log: &mut Log) -> Result<(), Fatal> {
    log.install(z(6, 0))?;
    finish(log)
}

fn snap_below(log: &mut Log) -> Result<(), Fatal> {
    log.install(z(4, 3))?;
    assert_eq!(log.cut_above(z(4, 3), &[zs(4, 4, 6), zs(6, 1, 2)].concat())?, z(4, 6));
    log.append(&zs(6, 1, 2), true)?;
    finish(log)
}

fn snap_far_below(log: &mut Log) -> Result<(), Fatal> {
    log.install(z(3, 20))?;
    assert_eq!(log.cut_above(z(3, 20), &zs(6, 1, 1))?, z(3, 20));
    log.append(&zs(6, 1, 1), true)?;
    finish(log)
}

fn trunc_in_tail(log: &mut Log) -> Result<(), Fatal> {
    assert_eq!(log.cut_above(z(4, 9), &zs(6, 1, 1))?, z(4, 9));
    log.append(&zs(6, 1, 1), true)?;
    finish(log)
}

fn trunc_deep(log: &mut Log) -> Result<(), Fatal> {
    assert!(log.truncate(z(4, 3))?);
    log.append(&zs(6, 1, 1), true)?;
    finish(log)
}

fn stories() -> Vec<Story> {
    let own = zs(4, 1, 10);
    let usual = || before(&zs(4, 1, 10), z(4, 8)).disk;
    let story = |name, disk, own: &[Zxid], leaders: Vec<Zxid>, sync| {
        let own = own.to_vec();
        Story { name, disk, own, leaders, sync }
    };
    // Purge has taken what lies before its snapshot.
    let purged = || {
        let mut disk = usual();
        let dirs = super::Dirs::new(&settings());
        super::Disk::remove(&mut disk, &dirs.log(z(4, 1))).unwrap();
        let first = dirs.snapshot(Zxid::ZERO, crate::history::Compression::None);
        super::Disk::remove(&mut disk, &first).unwrap();
        super::Disk::sync_dir(&mut disk, &dirs.snapshots).unwrap();
        disk
    };
    // An earlier image has left a hole.
    let mut holed = before(&zs(4, 1, 9), z(4, 2));
    holed.install(z(4, 30)).unwrap();
    holed.append(&zs(4, 31, 40), true).unwrap();
    let of_new = |old: Vec<Zxid>, new: u32| [old, zs(6, 1, new)].concat();
    let own_image = || of_new(zs(4, 1, 32), 1);
    vec![
        story("diff", usual(), &own, of_new(zs(4, 1, 12), 1), diff),
        story("snap ahead", usual(), &own, own_image(), snap_ahead),
        story("snap of a new epoch", usual(), &own, own_image(), snap_of_a_new_epoch),
        story("snap below", usual(), &own, of_new(zs(4, 1, 6), 2), snap_below),
        story("snap below, purged", purged(), &own, of_new(zs(4, 1, 6), 2), snap_below_purged),
        story("snap far below", usual(), &own, of_new(zs(3, 1, 20), 1), snap_far_below),
        story("snap far below, purged", purged(), &own, of_new(zs(3, 1, 20), 1), snap_far_below),
        story("trunc in the tail", usual(), &own, of_new(zs(4, 1, 9), 1), trunc_in_tail),
        story("trunc", usual(), &own, of_new(zs(4, 1, 3), 1), trunc_deep),
        story("trunc below a hole", holed.disk, &zs(4, 1, 40), of_new(zs(4, 1, 3), 1), trunc_deep),
    ]
}

fn snap_below_purged(log: &mut Log) -> Result<(), Fatal> {
    log.install(z(4, 3))?;
    assert_eq!(log.cut_above(z(4, 3), &[zs(4, 4, 6), zs(6, 1, 2)].concat())?, z(4, 3));
    log.append(&[zs(4, 4, 6), zs(6, 1, 2)].concat(), true)?;
    finish(log)
}

/// What is found must be a beginning of one of the histories, from a snapshot of it on.
fn check(story: &Story, disk: &MemDisk, is_done: bool, when: &str) -> (Zxid, Zxid) {
    let found = recover(&mut disk.clone(), &settings());
    let found = found.unwrap_or_else(|e| panic!("{when}: {e}"));
    let (base, tail) = (found.snapshot_zxid, logged(disk));
    let is_of = |history: &Vec<Zxid>| {
        let behind: Vec<Zxid> = history.iter().copied().filter(|at| *at > base).collect();
        // An image of an epoch's beginning has no txn of that zxid.
        let has_base = base == Zxid::ZERO || base.counter() == 0 || history.contains(&base);
        has_base && behind.starts_with(&tail)
    };
    assert!(is_of(&story.own) || is_of(&story.leaders), "{when}: {tail:?} behind {base:?}");
    assert!(!found.is_lost, "{when}");
    assert!(found.accepted_epoch >= found.current_epoch, "{when}");
    let last = *story.leaders.last().unwrap();
    let has_all = found.last_logged >= last || base == z(6, 0);
    assert!(found.current_epoch < 6 || found.last_logged.epoch() == 6, "{when}: epoch first");
    assert!(!is_done || (has_all && found.current_epoch == 6), "{when}: done");
    (found.last_logged, base)
}

#[test]
fn a_sync_cut_short_anywhere_leaves_a_directory_that_starts() {
    for story in stories() {
        let mut is_done = false;
        for calls in 0.. {
            let disk = story.disk.copy();
            let last = recover(&mut disk.clone(), &settings()).unwrap().last_logged;
            let mut log = Log::over(disk, last);
            log.write_epoch(EpochFile::Accepted, 6).unwrap();
            log.disk.fail_after(calls, ErrorKind::Other);
            is_done = (story.sync)(&mut log).is_ok();
            for (n, image) in log.disk.images().into_iter().enumerate() {
                let when = format!("{}, call {calls}, image {n}", story.name);
                let believed = check(&story, &image, is_done, &when);
                let again = check(&story, &image.after_kill(), is_done, &when);
                assert_eq!(again, believed, "{when}: what was believed stays");
            }
            let killed = log.disk.copy();
            let when = format!("{}, call {calls}, killed", story.name);
            check(&story, &killed, is_done, &when);
            if is_done {
                break;
            }
        }
        assert!(is_done, "{}", story.name);
    }
}
