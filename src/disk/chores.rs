//! What the chore thread does: snapshot files, the spare log file, purge, measuring, and reading
//! for those who follow.

use std::io;

use log::info;

use crate::base::{ConnId, Zxid, limits};
use crate::history::{
    ChoreCommand, Compression, Compressor, LOG_HEADER, LogFile, SnapshotFile, StorageEvent,
    parse_log_name, parse_snapshot_name, purge_plan,
};

use super::dirs::{Dirs, SpareMaker};
use super::image_cursor::ImageAsk;
use super::log_cursor::LogAsk;
use super::readers::{Ask, Readers};
use super::recover::{Recovered, recover_again};
use super::settings::StorageSettings;
use super::snapshot_file::looks_valid;
use super::{Disk, FileId, OpenMode};

/// Executes chores in slices over a disk.
pub struct Chores<D: Disk> {
    disk: D,
    dirs: Dirs,
    settings: StorageSettings,
    draft: Option<Draft>,
    /// Written and synced, and perhaps without a name.
    finished: Option<Zxid>,
    readers: Readers,
    rebuilt: Option<Box<Recovered>>,
}

/// The snapshot that is being written.
struct Draft {
    zxid: Zxid,
    file: FileId,
    compressor: Compressor,
    written: u64,
    synced: u64,
}

impl<D: Disk> Chores<D> {
    pub fn new(disk: D, settings: &StorageSettings) -> Chores<D> {
        Chores {
            disk,
            dirs: Dirs::new(settings),
            settings: settings.clone(),
            draft: None,
            finished: None,
            readers: Readers::default(),
            rebuilt: None,
        }
    }

    pub fn execute(&mut self, command: &ChoreCommand, events: &mut Vec<StorageEvent>) {
        match command {
            ChoreCommand::SnapshotBegin { zxid } => self.begin_snapshot(*zxid, events),
            ChoreCommand::SnapshotChunk { bytes } => self.write_chunk(bytes, events),
            ChoreCommand::SnapshotEnd => self.end_snapshot(events),
            ChoreCommand::SnapshotAbandon => self.give_up(events),
            ChoreCommand::Purge { retain } => {
                let files = self.purge(*retain).unwrap_or_else(|e| {
                    log::warn!("purge stopped: {e}");
                    0
                });
                events.push(StorageEvent::Purged { files });
            }
            ChoreCommand::MeasureDirs => {
                let mut bytes = |dir| {
                    let files = self.disk.list(dir).unwrap_or_default();
                    files.iter().map(|f| f.bytes).sum()
                };
                let (data, log) = (bytes(&self.dirs.snapshots), bytes(&self.dirs.logs));
                events.push(StorageEvent::DirSizes { data, log });
            }
            ChoreCommand::ProbeLog { reader, zxid } => {
                self.ask(*reader, Ask::Probe(*zxid), events);
            }
            ChoreCommand::ReadLog { reader, after, bytes } => {
                self.ask(*reader, Ask::Log(LogAsk::new(*after, *bytes)), events);
            }
            ChoreCommand::ReadSnapshot { reader, zxid, offset, bytes } => {
                let ask = ImageAsk { zxid: *zxid, offset: *offset, bytes: *bytes };
                self.ask(*reader, Ask::Image(ask), events);
            }
            ChoreCommand::CloseReader { reader } => self.readers.close(&mut self.disk, *reader),
            ChoreCommand::Rebuild => match recover_again(&mut self.disk, &self.settings) {
                Ok(recovered) => self.rebuilt = Some(Box::new(recovered)),
                Err(fatal) => events.push(StorageEvent::Failed(fatal)),
            },
        }
    }

    /// Somebody's answer is not complete: `go_on` is to be called when nothing else is to be done,
    /// and between the commands.
    pub fn is_busy(&self) -> bool {
        self.readers.is_busy()
    }

    /// A slice of what was asked for.
    pub fn go_on(&mut self, events: &mut Vec<StorageEvent>) {
        self.readers.go_on(&mut self.disk, &self.dirs, events);
    }

    /// What `Rebuild` has found, once.
    pub fn take_rebuilt(&mut self) -> Option<Recovered> {
        self.rebuilt.take().map(|recovered| *recovered)
    }

    /// Makes the log file that the next roll will only have to rename. Java's patterns do not
    /// match its name, so neither a Java server nor its purge touches it.
    pub fn make_spare(&mut self) {
        if let Err(e) = self.try_spare() {
            // The log thread makes its file itself then, and reports what really fails.
            log::warn!("cannot prepare {}: {e}", self.dirs.spare().display());
        }
    }

    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    fn ask(&mut self, reader: ConnId, ask: Ask, events: &mut Vec<StorageEvent>) {
        self.readers.ask(&mut self.disk, reader, ask, events);
        self.go_on(events);
    }

    fn try_spare(&mut self) -> io::Result<()> {
        match self.disk.open(&self.dirs.spare(), OpenMode::Read) {
            Ok(file) => {
                self.disk.close(file);
                return Ok(());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let draft = self.dirs.spare_draft(SpareMaker::Chores);
        let file = self.disk.open(&draft, OpenMode::Create)?;
        let made = self.disk.allocate(file, self.settings.preallocate_bytes);
        let made = made.and_then(|()| self.disk.write_at(file, 0, &LOG_HEADER));
        let made = made.and_then(|()| self.disk.sync(file));
        self.disk.close(file);
        if let Err(e) = made {
            let _ = self.disk.remove(&draft);
            return Err(e);
        }
        self.disk.rename(&draft, &self.dirs.spare())
    }

    fn begin_snapshot(&mut self, zxid: Zxid, events: &mut Vec<StorageEvent>) {
        assert!(self.draft.is_none(), "one snapshot at a time");
        self.finished = None;
        match self.disk.open(&self.dirs.snapshot_draft(zxid), OpenMode::Create) {
            Ok(file) => {
                let compressor = Compressor::new(self.settings.compression);
                self.draft = Some(Draft { zxid, file, compressor, written: 0, synced: 0 });
            }
            Err(e) => events.push(StorageEvent::SnapshotFailed { zxid, reason: e.to_string() }),
        }
    }

    /// Chunks of a snapshot that has failed are dropped; their bytes left the queue all the same.
    fn write_chunk(&mut self, bytes: &[u8], events: &mut Vec<StorageEvent>) {
        if let Some(draft) = &mut self.draft {
            let mut packed = Vec::new();
            draft.compressor.push(bytes, &mut packed);
            if let Err(e) = self.write_packed(&packed) {
                self.fail(&e, events);
            }
        }
        events.push(StorageEvent::SnapshotProgress { bytes: bytes.len() });
    }

    fn write_packed(&mut self, packed: &[u8]) -> io::Result<()> {
        let Some(draft) = &mut self.draft else { return Ok(()) };
        for slice in packed.chunks(limits::CHORE_SLICE_BYTES) {
            self.disk.write_at(draft.file, draft.written, slice)?;
            draft.written += slice.len() as u64;
            // Synced as it grows: one sync of everything at the end would hold up the log's.
            if draft.written - draft.synced >= SNAPSHOT_SYNC_BYTES {
                self.disk.sync(draft.file)?;
                draft.synced = draft.written;
            }
        }
        Ok(())
    }

    fn end_snapshot(&mut self, events: &mut Vec<StorageEvent>) {
        let Some(draft) = &mut self.draft else { return };
        let zxid = draft.zxid;
        let plain = Compressor::new(Compression::None);
        let mut packed = Vec::new();
        std::mem::replace(&mut draft.compressor, plain).finish(&mut packed);
        let file = draft.file;
        match self.write_packed(&packed).and_then(|()| self.disk.sync(file)) {
            Ok(()) => {
                self.disk.close(file);
                self.draft = None;
                self.finished = Some(zxid);
                events.push(StorageEvent::SnapshotWritten { zxid });
            }
            Err(e) => self.fail(&e, events),
        }
    }

    fn fail(&mut self, error: &io::Error, events: &mut Vec<StorageEvent>) {
        let Some(zxid) = self.draft.as_ref().map(|draft| draft.zxid) else { return };
        self.abandon();
        events.push(StorageEvent::SnapshotFailed { zxid, reason: error.to_string() });
    }

    fn give_up(&mut self, events: &mut Vec<StorageEvent>) {
        self.abandon();
        if let Some(zxid) = self.finished.take() {
            // Nobody has given it its name, or it is not there any more.
            let _ = self.disk.remove(&self.dirs.snapshot_draft(zxid));
        }
        events.push(StorageEvent::SnapshotAbandoned);
    }

    fn abandon(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.disk.close(draft.file);
            let _ = self.disk.remove(&self.dirs.snapshot_draft(draft.zxid));
        }
    }

    fn purge(&mut self, retain: usize) -> io::Result<usize> {
        let mut snapshots = Vec::new();
        for file in self.disk.list(&self.dirs.snapshots)? {
            let Some((zxid, form)) = parse_snapshot_name(&file.name) else { continue };
            let path = self.dirs.snapshots.join(&file.name);
            let valid = looks_valid(&mut self.disk, &path, form)?;
            snapshots.push(SnapshotFile { zxid, name: file.name, valid });
        }
        let mut logs = Vec::new();
        for file in self.disk.list(&self.dirs.logs)? {
            let Some(first) = parse_log_name(&file.name) else { continue };
            logs.push(LogFile { first, name: file.name });
        }
        let plan = purge_plan(&snapshots, &logs, retain);
        let logs = plan.logs.iter().map(|name| self.dirs.logs.join(name));
        let snapshots = plan.snapshots.iter().map(|name| self.dirs.snapshots.join(name));
        let mut files = 0;
        for path in logs.chain(snapshots) {
            info!("Removing file: {}", path.display());
            self.disk.remove(&path)?;
            files += 1;
        }
        Ok(files)
    }
}

/// How much of a snapshot may be written between two syncs of it.
const SNAPSHOT_SYNC_BYTES: u64 = 8 * 1024 * 1024;
