//! One life of a server, failing at each call in turn, and every extreme of what a power cut may
//! leave there: each sync, each order of a sync and a name, is needed by one of these.

use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;

use crate::base::{Fatal, Ticket, Zxid};
use crate::history::{
    ChoreCommand, Compression, EpochFile, SnapshotTrailers, SnapshotWriter, StorageCommand,
    StorageEvent, epoch_file_name,
};
use crate::proto::Entry;
use crate::state::State;

use super::log_recovery::replay_logs;
use super::mem_disk::MemDisk;
use super::tests::{append, entry};
use super::*;

fn settings() -> StorageSettings {
    StorageSettings {
        preallocate_bytes: 8192,
        unsynced_bytes: 64 * 1024,
        // Everything behind the snapshot comes back as it was written.
        hold_back: usize::MAX,
        ..StorageSettings::new("/data")
    }
}

/// The two directories apart: a sync of one says nothing of the other.
fn separate() -> StorageSettings {
    StorageSettings { log_dir: "/log".into(), ..settings() }
}

pub(super) fn snapshot_bytes(settings: &StorageSettings, zxid: Zxid) -> Vec<u8> {
    let mut state = State::new(&settings.state);
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut bytes);
    let body = bytes.len();
    state.snapshot_begin();
    while !state.snapshot_step(usize::MAX, &mut bytes) {}
    writer.cover(&bytes[body..]);
    let trailers = SnapshotTrailers { digest: None, last_processed: Some(zxid) };
    writer.finish(&trailers, &mut bytes);
    bytes
}

/// What a life has written and what it was told.
#[derive(Default)]
struct Told {
    history: Vec<Entry>,
    durable: Zxid,
    /// An epoch that was written, and the zxid handed over before it.
    epoch: Option<(i64, Zxid)>,
    is_epoch_durable: bool,
    /// The snapshot that counts as done.
    snapshot: Zxid,
}

struct Life<'a> {
    writer: LogWriter<MemDisk>,
    chores: Chores<MemDisk>,
    settings: &'a StorageSettings,
    ticket: u64,
    told: &'a mut Told,
}

impl Life<'_> {
    fn last(&self) -> Zxid {
        self.told.history.last().map_or(Zxid(0), |e| e.header.zxid)
    }

    fn execute(&mut self, command: &StorageCommand) -> Result<Vec<StorageEvent>, Fatal> {
        let mut events = Vec::new();
        self.writer.execute(command, &mut events)?;
        Ok(events)
    }

    fn next_ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(self.ticket)
    }

    fn append(&mut self, count: i64, bytes: usize, roll: bool) -> Result<(), Fatal> {
        let from = self.last().0 + 1;
        let batch: Vec<Entry> = (from..from + count).map(|z| entry(Zxid(z), bytes)).collect();
        self.told.history.extend(batch.iter().cloned());
        let ticket = self.next_ticket().0;
        self.execute(&append(ticket, &batch, roll)).map(|_| ())
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        let event = self.writer.sync()?;
        assert!(matches!(event, StorageEvent::Durable { ticket, .. } if ticket.0 == self.ticket));
        self.told.durable = self.last();
        self.told.is_epoch_durable = self.told.epoch.is_some();
        Ok(())
    }

    fn write_epoch(&mut self, epoch: i64) -> Result<(), Fatal> {
        self.told.epoch = Some((epoch, self.last()));
        let (ticket, file) = (self.next_ticket(), EpochFile::Current);
        self.execute(&StorageCommand::WriteEpoch { ticket, file, epoch }).map(|_| ())
    }

    /// A snapshot that says all there is, synced or not.
    fn snapshot(&mut self) -> Result<(), Fatal> {
        let zxid = self.last();
        let mut events = Vec::new();
        self.chores.execute(&ChoreCommand::SnapshotBegin { zxid }, &mut events);
        for chunk in snapshot_bytes(self.settings, zxid).chunks(100) {
            let bytes = Bytes::copy_from_slice(chunk);
            self.chores.execute(&ChoreCommand::SnapshotChunk { bytes }, &mut events);
        }
        self.chores.execute(&ChoreCommand::SnapshotEnd, &mut events);
        if events.last() != Some(&StorageEvent::SnapshotWritten { zxid }) {
            return Err(Fatal::SyncFailed("no snapshot".into()));
        }
        let ticket = self.next_ticket();
        self.execute(&StorageCommand::InstallSnapshot { ticket, zxid })?;
        self.told.snapshot = zxid;
        Ok(())
    }
}

/// Rolls with and without a spare, over a synced file and over one that is not; an epoch and a
/// snapshot behind records that are not synced; a truncation that is refused; an orderly end.
fn live(disk: &MemDisk, settings: &StorageSettings, told: &mut Told) -> Result<(), Fatal> {
    recover(&mut disk.clone(), settings)?;
    let writer = LogWriter::new(disk.clone(), settings, Zxid(0));
    let chores = Chores::new(disk.clone(), settings);
    let mut life = Life { writer, chores, settings, ticket: 0, told };
    life.append(2, 100, false)?;
    life.sync()?;
    life.chores.make_spare();
    life.append(2, 100, false)?;
    life.append(1, 100, true)?;
    life.sync()?;
    life.append(1, 100, true)?;
    life.append(3, 5000, false)?;
    life.append(1, 100, true)?;
    life.append(1, 100, true)?;
    life.sync()?;
    life.append(1, 100, false)?;
    life.write_epoch(1)?;
    life.append(1, 100, false)?;
    life.sync()?;
    life.append(1, 100, false)?;
    life.snapshot()?;
    life.sync()?;
    life.append(1, 100, false)?;
    let (ticket, zxid) = (life.next_ticket(), Zxid(9999));
    let refused = life.execute(&StorageCommand::Truncate { ticket, zxid })?;
    assert_eq!(refused, [StorageEvent::TruncateRefused { ticket, zxid }]);
    life.sync()?;
    life.append(2, 100, false)?;
    life.writer.close()?;
    life.told.durable = life.last();
    Ok(())
}

/// What is found there must be what was told, and from then on stay.
fn check(disk: &MemDisk, settings: &StorageSettings, told: &Told, when: &str) -> Zxid {
    let found = recover(&mut disk.clone(), settings).unwrap_or_else(|e| panic!("{when}: {e}"));
    let last = found.last_logged;
    assert!(last >= told.durable, "{when}: {last:?} of {:?}", told.durable);
    assert!(found.snapshot_zxid >= told.snapshot, "{when}: the snapshot is gone");
    let from = found.snapshot_zxid.0 as usize;
    assert!(found.tail == told.history[from..last.0 as usize], "{when}: another history");
    if let Some((epoch, handed_over)) = told.epoch {
        assert!(found.current_epoch >= epoch || !told.is_epoch_durable, "{when}: no epoch");
        let says_more = found.current_epoch >= epoch && last < handed_over;
        assert!(!says_more, "{when}: an epoch before what was handed over before it");
    }
    let dirs = Dirs::new(settings);
    let logged = replay_logs(&mut disk.copy(), &dirs, 64 * 1024, Zxid(0), &mut |_| Ok(()));
    let logged = logged.unwrap_or_else(|e| panic!("{when}: {e}")).unwrap_or(Zxid(0));
    assert!(logged >= found.snapshot_zxid, "{when}: the snapshot says more than the log");
    last
}

#[test]
fn at_every_call_the_worst_cut_keeps_what_was_told() {
    for settings in [settings(), separate()] {
        let mut is_over = false;
        for calls in 0.. {
            let disk = MemDisk::default();
            disk.fail_after(calls, ErrorKind::Other);
            let mut told = Told::default();
            is_over = live(&disk, &settings, &mut told).is_ok();
            assert_eq!(disk.early_names(), Vec::<PathBuf>::new(), "call {calls}");
            for (n, image) in disk.images().into_iter().enumerate() {
                check(&image, &settings, &told, &format!("call {calls}, image {n}"));
            }
            // The process alone goes: what the next one believes outlives a cut behind that.
            let killed = disk.copy();
            let believed = check(&killed, &settings, &told, &format!("call {calls}, killed"));
            for (n, image) in killed.images().into_iter().enumerate() {
                let when = format!("call {calls}, killed, image {n}");
                let last = check(&image, &settings, &told, &when);
                assert_eq!(last, believed, "{when}: what was believed stays");
            }
            if is_over {
                break;
            }
        }
        assert!(is_over);
    }
}

/// What another server wrote and nobody synced is believed only once it is on disk.
#[test]
fn what_recovery_believes_outlives_a_power_cut() {
    for settings in [settings(), separate()] {
        let dirs = Dirs::new(&settings);
        // Two log files of another server.
        let other = MemDisk::default();
        let mut told = Told { durable: Zxid(0), ..Told::default() };
        recover(&mut other.clone(), &settings).unwrap();
        let writer = LogWriter::new(other.clone(), &settings, Zxid(0));
        let chores = Chores::new(other.clone(), &settings);
        let mut life = Life { writer, chores, settings: &settings, ticket: 0, told: &mut told };
        life.append(4, 3000, false).unwrap();
        life.append(4, 3000, true).unwrap();
        life.writer.close().unwrap();
        let mut disk = MemDisk::default();
        let mut write = |path: &Path, bytes: &[u8]| {
            let file = disk.open(path, OpenMode::Create).unwrap();
            disk.write_at(file, 0, bytes).unwrap();
        };
        let zxid = Zxid(2);
        write(&dirs.snapshot(zxid, Compression::None), &snapshot_bytes(&settings, zxid));
        for first in [Zxid(1), Zxid(5)] {
            write(&dirs.log(first), &other.content(&dirs.log(first)).unwrap());
        }
        write(&dirs.snapshots.join(epoch_file_name(EpochFile::Accepted)), b"7");
        write(&dirs.snapshots.join(epoch_file_name(EpochFile::Current)), b"6");
        let read = recover(&mut disk.clone(), &settings).unwrap();
        assert_eq!((read.last_logged, read.snapshot_zxid, read.tail.len()), (Zxid(8), zxid, 6));
        for (n, image) in disk.images().into_iter().enumerate() {
            let again = recover(&mut image.clone(), &settings);
            let again = again.unwrap_or_else(|e| panic!("image {n}: {e}"));
            assert_eq!((again.last_logged, again.snapshot_zxid), (Zxid(8), zxid), "image {n}");
            assert!(again.tail == read.tail, "image {n}");
            assert_eq!((again.accepted_epoch, again.current_epoch), (7, 6), "image {n}");
        }
    }
}

/// At every call of a truncation the worst cut leaves a history without a gap, that ends at the
/// cut or behind it, be it with a snapshot whose log is gone.
#[test]
fn a_truncation_is_in_order_at_every_call() {
    for settings in [settings(), separate()] {
        let dirs = Dirs::new(&settings);
        for zxid in [3, 12, 14, 20, 25] {
            for calls in 0.. {
                let disk = MemDisk::default();
                recover(&mut disk.clone(), &settings).unwrap();
                let mut writer = LogWriter::new(disk.clone(), &settings, Zxid(0));
                for file in 0..3 {
                    let batch: Vec<Entry> =
                        (1..=10).map(|i| entry(Zxid(file * 10 + i), 100)).collect();
                    writer.execute(&append(file as u64 + 1, &batch, true), &mut vec![]).unwrap();
                    writer.sync().unwrap();
                }
                for at in [0, 12, 25].map(Zxid) {
                    let bytes = snapshot_bytes(&settings, at);
                    disk.put(&dirs.snapshot(at, Compression::None), &bytes);
                }
                disk.fail_after(calls, ErrorKind::Other);
                let cut = StorageCommand::Truncate { ticket: Ticket(4), zxid: Zxid(zxid) };
                let is_done = writer.execute(&cut, &mut vec![]).is_ok();
                for (n, image) in disk.images().into_iter().enumerate() {
                    let when = format!("to {zxid}, call {calls}, image {n}");
                    let mut zxids = Vec::new();
                    replay_logs(&mut image.copy(), &dirs, 64 * 1024, Zxid(0), &mut |entry| {
                        zxids.push(entry.header.zxid.0);
                        Ok(())
                    })
                    .unwrap_or_else(|e| panic!("{when}: {e}"));
                    let last = zxids.len() as i64;
                    assert_eq!(zxids, (1..=last).collect::<Vec<i64>>(), "{when}");
                    assert!(last >= zxid && (!is_done || last == zxid), "{when}: {last}");
                    let found = recover(&mut image.clone(), &settings);
                    let found = found.unwrap_or_else(|e| panic!("{when}: {e}"));
                    let base = found.snapshot_zxid.0;
                    assert_eq!(found.last_logged.0, last.max(base), "{when}");
                    assert!(!is_done || base <= zxid, "{when}: a snapshot behind the cut");
                    let tail: Vec<i64> = found.tail.iter().map(|e| e.header.zxid.0).collect();
                    assert_eq!(tail, (base + 1..=last).collect::<Vec<i64>>(), "{when}");
                }
                if is_done {
                    break;
                }
            }
        }
    }
}

/// A file that holds nothing up to the cut goes whole, for good.
#[test]
fn a_truncation_leaves_no_log_without_a_record() {
    let (settings, dirs) = (settings(), Dirs::new(&settings()));
    let other = MemDisk::default();
    let mut writer = LogWriter::new(other.clone(), &settings, Zxid(7));
    writer.execute(&append(1, &[entry(Zxid(8), 9)], false), &mut vec![]).unwrap();
    writer.close().unwrap();
    let disk = MemDisk::default();
    // Its name says less than it holds.
    disk.put(&dirs.log(Zxid(5)), &other.content(&dirs.log(Zxid(8))).unwrap());
    let bytes = snapshot_bytes(&settings, Zxid(6));
    disk.put(&dirs.snapshot(Zxid(6), Compression::None), &bytes);
    let mut writer = LogWriter::new(disk.clone(), &settings, Zxid(8));
    let cut = StorageCommand::Truncate { ticket: Ticket(1), zxid: Zxid(6) };
    writer.execute(&cut, &mut vec![]).unwrap();
    for image in disk.images() {
        assert_eq!(recover(&mut image.clone(), &settings).unwrap().last_logged, Zxid(6));
    }
}

#[test]
fn directories_that_recovery_makes_outlive_a_power_cut() {
    let disk = MemDisk::without_dirs(&["/data/version-2", "/data"]);
    recover(&mut disk.clone(), &settings()).unwrap();
    assert!(disk.unsynced_dirs().is_empty(), "{:?}", disk.unsynced_dirs());
}
