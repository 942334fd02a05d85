//! The threads over a disk whose syncs hang until they are let go.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, mpsc};

use crate::base::Zxid;
use crate::history::{ChoreCommand, StorageEvent};

use super::tests::{TempDir, append, entry};
use super::*;

/// Holds syncs while it is shut, and counts those that wait.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self, is_shut: bool) {
        self.state.lock().unwrap().0 = is_shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.0).unwrap());
    }

    fn await_somebody(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.1 == 0).unwrap());
    }
}

/// This machine's disk behind a gate.
struct GatedDisk(RealDisk, Arc<Gate>);

impl Disk for GatedDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        self.0.open(path, mode)
    }
    fn close(&mut self, file: FileId) {
        self.0.close(file);
    }
    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.0.len(file)
    }
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(file, offset, buffer)
    }
    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(file, offset, bytes)
    }
    fn allocate(&mut self, file: FileId, to: u64) -> io::Result<()> {
        self.0.allocate(file, to)
    }
    fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        self.0.set_len(file, bytes)
    }
    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.1.pass();
        self.0.sync(file)
    }
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn list(&mut self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        self.0.list(dir)
    }
    fn dir_exists(&mut self, dir: &Path) -> bool {
        self.0.dir_exists(dir)
    }
    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn lock_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.0.lock_dir(dir)
    }
    fn clock_ns(&mut self) -> u64 {
        self.0.clock_ns()
    }
}

#[test]
fn a_sync_that_hangs_holds_neither_senders_nor_chores() {
    let dir = TempDir::new();
    let settings = StorageSettings { preallocate_bytes: 1 << 16, ..StorageSettings::new(&dir.0) };
    let gate = Arc::new(Gate::default());
    let mut disk = GatedDisk(RealDisk::new(), Arc::clone(&gate));
    disk.create_dir(&Dirs::new(&settings).logs).unwrap();
    let (wake, woken) = mpsc::channel();
    let wake = move || wake.send(()).unwrap_or_default();
    let chore_disk = RealDisk::new();
    let threads =
        StorageThreads::start_over(disk, chore_disk, &settings, Zxid(0), wake, || None).unwrap();
    gate.shut(true);
    threads.send(append(1, &[entry(Zxid(1), 10)], true));
    gate.await_somebody();
    // It hangs; everything else goes on, and nothing is called durable.
    for ticket in 2..=50 {
        threads.send(append(ticket, &[entry(Zxid(ticket as i64), 10)], false));
    }
    let mut events = Vec::new();
    for _ in 0..10 {
        threads.send_chore(ChoreCommand::MeasureDirs);
        woken.recv().unwrap();
        threads.poll_events(&mut events);
    }
    let is_size = |event: &StorageEvent| matches!(event, StorageEvent::DirSizes { .. });
    assert!(events.len() == 10 && events.iter().all(is_size), "{events:?}");
    gate.shut(false);
    let is_last =
        |e: &StorageEvent| matches!(e, StorageEvent::Durable { ticket, .. } if ticket.0 == 50);
    while !events.iter().any(is_last) {
        woken.recv().unwrap();
        threads.poll_events(&mut events);
    }
    threads.finish();
}
