//! Snapshots, truncation and purge over the disk in memory.

use std::io::ErrorKind;

use bytes::Bytes;
use proptest::prelude::*;

use crate::base::{Ticket, Zxid};
use crate::history::{
    ChoreCommand, Compression, SnapshotTrailers, SnapshotWriter, StorageCommand, StorageEvent,
    log_name, snapshot_name,
};
use crate::proto::{Entry, Writer};

use super::log_recovery::replay_logs;
use super::mem_disk::{Chance, MemDisk};
use super::tests::{append, entry};
use super::*;

fn settings() -> StorageSettings {
    StorageSettings { preallocate_bytes: 8192, ..StorageSettings::new("/data") }
}

fn dirs() -> Dirs {
    Dirs::new(&settings())
}

/// The stream of a tree without nodes.
fn stream() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut out);
    let mut body = Vec::new();
    body.put_i32(0);
    body.put_i32(0);
    body.put_string("/");
    writer.cover(&body);
    out.put_slice(&body);
    writer.finish(&SnapshotTrailers::default(), &mut out);
    out
}

fn put_snapshot(disk: &MemDisk, zxid: i64) {
    disk.put(&dirs().snapshot(Zxid(zxid), Compression::None), &stream());
}

fn names(disk: &MemDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| !name.starts_with('.'));
    names
}

/// Logs of ten txns each, the first from 1 on.
fn with_logs(files: i64) -> (MemDisk, LogWriter<MemDisk>, u64) {
    let disk = MemDisk::default();
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
    let mut ticket = 0;
    for file in 0..files {
        let batch: Vec<Entry> = (1..=10).map(|i| entry(Zxid(file * 10 + i), 100)).collect();
        ticket += 1;
        writer.execute(&append(ticket, &batch, true), &mut Vec::new()).unwrap();
        writer.sync().unwrap();
    }
    (disk, writer, ticket)
}

fn replayed(disk: &mut MemDisk) -> Vec<i64> {
    let mut zxids = Vec::new();
    replay_logs(disk, &dirs(), 1 << 20, Zxid(0), &mut |entry| {
        zxids.push(entry.header.zxid.0);
        Ok(())
    })
    .unwrap();
    zxids
}

#[test]
fn a_truncation_takes_snapshots_and_records_behind_it_and_the_log_goes_on() {
    let (mut disk, mut writer, ticket) = with_logs(3);
    [0, 12, 25].iter().for_each(|z| put_snapshot(&disk, *z));
    let mut events = Vec::new();
    let cut = StorageCommand::Truncate { ticket: Ticket(ticket + 1), zxid: Zxid(14) };
    writer.execute(&cut, &mut events).unwrap();
    assert_eq!(events, []);
    assert_eq!(names(&disk), ["log.1", "log.b", "snapshot.0", "snapshot.c"]);
    // The same zxids again, with other content.
    writer.execute(&append(ticket + 2, &[entry(Zxid(15), 7)], false), &mut events).unwrap();
    writer.sync().unwrap();
    assert_eq!(replayed(&mut disk), (1..=15).collect::<Vec<i64>>());
}

#[test]
fn a_truncation_that_nothing_could_rebuild_is_refused_and_removes_nothing() {
    // No snapshot below; one that is broken; a zxid that no record has.
    for (snapshots, broken, zxid) in
        [(vec![20], None, 14), (vec![], Some(5), 14), (vec![0], None, 99)]
    {
        let (disk, mut writer, ticket) = with_logs(3);
        snapshots.iter().for_each(|z| put_snapshot(&disk, *z));
        if let Some(z) = broken {
            let mut bytes = stream();
            bytes[20] ^= 1;
            disk.put(&dirs().snapshot(Zxid(z), Compression::None), &bytes);
        }
        let before = names(&disk);
        let mut events = Vec::new();
        let ticket = Ticket(ticket + 1);
        let cut = StorageCommand::Truncate { ticket, zxid: Zxid(zxid) };
        writer.execute(&cut, &mut events).unwrap();
        assert_eq!(events, [StorageEvent::TruncateRefused { ticket, zxid: Zxid(zxid) }]);
        assert_eq!(names(&disk), before);
    }
}

proptest! {
    #[test]
    fn a_truncation_cut_short_leaves_a_history_without_a_gap(
        calls in 0u64..12,
        zxid in 1i64..30,
        seed in any::<u64>(),
    ) {
        let (disk, mut writer, ticket) = with_logs(3);
        [0, 12, 25].iter().for_each(|z| put_snapshot(&disk, *z));
        disk.fail_after(calls, ErrorKind::Other);
        let cut = StorageCommand::Truncate { ticket: Ticket(ticket + 1), zxid: Zxid(zxid) };
        let done = writer.execute(&cut, &mut Vec::new()).is_ok();
        let mut left = disk.after_power_cut(&mut Chance(seed));
        let zxids = replayed(&mut left);
        prop_assert_eq!(&zxids, &(1..=zxids.len() as i64).collect::<Vec<_>>());
        prop_assert!(zxids.len() as i64 >= zxid, "nothing below the cut is taken");
        let beyond = left.names().iter().any(|n| *n == snapshot_name(Zxid(25), Compression::None));
        // Nothing of the log stays above the cut when the first snapshot goes.
        prop_assert!(beyond || zxids.len() as i64 == zxid);
        prop_assert!(!done || (zxids.len() as i64 == zxid && beyond == (zxid >= 25)));
    }
}

fn write_snapshot(chores: &mut Chores<MemDisk>, zxid: Zxid) -> Vec<StorageEvent> {
    let mut events = Vec::new();
    chores.execute(&ChoreCommand::SnapshotBegin { zxid }, &mut events);
    for chunk in stream().chunks(9) {
        let bytes = Bytes::copy_from_slice(chunk);
        chores.execute(&ChoreCommand::SnapshotChunk { bytes }, &mut events);
    }
    chores.execute(&ChoreCommand::SnapshotEnd, &mut events);
    events
}

#[test]
fn a_snapshot_has_its_name_only_once_it_is_whole_and_synced() {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let settings = StorageSettings { compression, ..settings() };
        let disk = MemDisk::default();
        let mut chores = Chores::new(disk.clone(), &settings);
        let mut writer = LogWriter::new(disk.clone(), &settings, Zxid(0));
        let zxid = Zxid(0x1f);
        let events = write_snapshot(&mut chores, zxid);
        assert_eq!(events.last(), Some(&StorageEvent::SnapshotWritten { zxid }));
        assert_eq!(names(&disk), [""; 0]);
        let install = StorageCommand::InstallSnapshot { ticket: Ticket(1), zxid };
        writer.execute(&install, &mut Vec::new()).unwrap();
        let mut after = disk.after_power_cut(&mut Chance(1));
        assert_eq!(names(&after), [snapshot_name(zxid, compression)]);
        let path = dirs().snapshot(zxid, compression);
        assert!(snapshot_file::is_whole(&mut after, &path, compression));
        assert!(snapshot_file::looks_valid(&mut after, &path, compression).unwrap());
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_fails_alone_and_leaves_nothing() {
    for calls in 0..5 {
        let disk = MemDisk::default();
        let mut chores = Chores::new(disk.clone(), &settings());
        disk.fail_after(calls, ErrorKind::StorageFull);
        let events = write_snapshot(&mut chores, Zxid(9));
        let failed = |e: &&StorageEvent| matches!(e, StorageEvent::SnapshotFailed { .. });
        assert_eq!(events.iter().filter(failed).count(), 1, "{calls}");
        disk.fail_after(u64::MAX, ErrorKind::Other);
        let events = write_snapshot(&mut chores, Zxid(10));
        assert_eq!(events.last(), Some(&StorageEvent::SnapshotWritten { zxid: Zxid(10) }));
    }
}

#[test]
fn purge_keeps_what_the_retained_snapshots_need() {
    let (mut disk, _, _) = with_logs(5);
    [0, 5, 23, 31, 41].iter().for_each(|z| put_snapshot(&disk, *z));
    disk.put(&dirs().snapshot(Zxid(50), Compression::None), b"half a snapshot");
    let mut events = Vec::new();
    let mut chores = Chores::new(disk.clone(), &settings());
    chores.execute(&ChoreCommand::Purge { retain: 3 }, &mut events);
    assert_eq!(events, [StorageEvent::Purged { files: 4 }]);
    let kept = ["log.15", "log.1f", "log.29", "snapshot.17", "snapshot.1f", "snapshot.29"];
    assert_eq!(names(&disk), [&kept[..], &["snapshot.32"]].concat());
    // 21 to 30 are in the file named 21 (hexadecimal 15).
    let mut zxids = replayed(&mut disk);
    zxids.retain(|z| *z > 23);
    assert_eq!(zxids, (24..=50).collect::<Vec<i64>>());
}

#[test]
fn a_roll_takes_the_spare_file_and_a_missing_spare_is_no_fault() {
    let disk = MemDisk::default();
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
    let mut chores = Chores::new(disk.clone(), &settings());
    assert!(writer.take_spare_request() && !writer.take_spare_request());
    chores.make_spare();
    chores.make_spare();
    assert_eq!(disk.names(), [".zkd-next"]);
    writer.execute(&append(1, &[entry(Zxid(1), 10)], false), &mut Vec::new()).unwrap();
    assert_eq!(disk.names(), [log_name(Zxid(1))]);
    writer.execute(&append(2, &[entry(Zxid(2), 10)], true), &mut Vec::new()).unwrap();
    writer.sync().unwrap();
    assert_eq!(names(&disk), [log_name(Zxid(1)), log_name(Zxid(2))]);
    assert!(writer.take_spare_request());
}
