//! The threads and recovery over this machine's own file system.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use bytes::Bytes;

use crate::base::{SessionId, Ticket, WallMillis, Zxid};
use crate::history::{EpochFile, StorageCommand, StorageEvent, append_record};
use crate::proto::{Entry, Txn, TxnHeader};

use super::log_recovery::replay_logs;
use super::*;

/// A directory of its own for each test, gone at its end.
pub(super) struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zkd-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn entry(zxid: Zxid, size: usize) -> Entry {
    let header = TxnHeader { session: SessionId(7), cxid: 3, zxid, time: WallMillis(99) };
    let path = format!("/{:x}", zxid.0);
    let data = Some(vec![zxid.0 as u8 | 1; size]);
    Entry { header, txn: Txn::SetData { path, data, version: 1 }, digest: None }
}

pub(super) fn append(ticket: u64, entries: &[Entry], roll: bool) -> StorageCommand {
    let mut out = Vec::new();
    entries.iter().for_each(|e| append_record(&mut out, &e.header, &e.txn, e.digest));
    StorageCommand::Append {
        ticket: Ticket(ticket),
        first: entries.first().unwrap().header.zxid,
        last: entries.last().unwrap().header.zxid,
        bytes: Bytes::from(out),
        roll,
    }
}

#[test]
fn what_the_threads_made_durable_is_read_back() {
    let dir = TempDir::new();
    let settings = StorageSettings { preallocate_bytes: 1 << 16, ..StorageSettings::new(&dir.0) };
    let dirs = Dirs::new(&settings);
    let mut disk = RealDisk::new();
    disk.create_dir(&dirs.logs).unwrap();
    let (wake, woken) = mpsc::channel();
    let wake = move || wake.send(()).unwrap_or_default();
    let threads = StorageThreads::start(disk, &settings, Zxid(0), wake).unwrap();
    let entries: Vec<Entry> = (1..=400).map(|z| entry(Zxid(z), 500)).collect();
    let mut ticket = 0;
    for (i, batch) in entries.chunks(7).enumerate() {
        ticket += 1;
        threads.send(append(ticket, batch, i % 20 == 0));
    }
    let (file, epoch) = (EpochFile::Current, 5);
    threads.send(StorageCommand::WriteEpoch { ticket: Ticket(ticket + 1), file, epoch });
    let mut events = Vec::new();
    while !events.iter().any(
        |e| matches!(e, StorageEvent::Durable { ticket: durable, .. } if durable.0 == ticket + 1),
    ) {
        woken.recv().unwrap();
        threads.poll_events(&mut events);
    }
    threads.finish();

    let mut disk = RealDisk::new();
    let mut read = Vec::new();
    let last = replay_logs(&mut disk, &dirs, 1 << 22, Zxid(0), &mut |entry| {
        read.push(entry);
        Ok(())
    });
    assert_eq!(last, Ok(Some(Zxid(400))));
    assert_eq!(read, entries);
    assert_eq!(std::fs::read(dirs.snapshots.join("currentEpoch")).unwrap(), b"5");
    let logs: Vec<String> = disk.list(&dirs.logs).unwrap().into_iter().map(|f| f.name).collect();
    assert!(logs.contains(&"log.1".to_owned()) && logs.contains(&"log.8d".to_owned()), "{logs:?}");
}
