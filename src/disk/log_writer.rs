//! What the log thread does: appends, syncs, rolls, truncates, writes epochs, names snapshots.

use std::io;
use std::path::Path;

use bytes::Bytes;
use log::{error, info, warn};

use crate::base::{Fatal, Ticket, Zxid};
use crate::history::{
    Compression, EpochFile, FRAME_BYTES, LOG_HEADER, LOG_HEADER_BYTES, SideMark, StorageCommand,
    StorageEvent, epoch_file_name, epoch_text,
};

use super::dirs::{Dirs, LOST_NAME, SpareMaker};
use super::settings::StorageSettings;
use super::truncate::{Cut, cut_above, remove_if_there, truncate};
use super::{Disk, FileId, OpenMode, replace_small};

/// Executes storage commands in their order over a disk; `sync` makes durable what was executed.
pub struct LogWriter<D: Disk> {
    disk: D,
    dirs: Dirs,
    force_sync: bool,
    sync_warning_ms: u64,
    preallocate_bytes: u64,
    compression: Compression,
    segment: Option<Segment>,
    last: Zxid,
    executed: Ticket,
    wants_spare: bool,
    mark: Mark,
    slow_syncs: u64,
}

/// The log file that is written.
struct Segment {
    file: FileId,
    name: Zxid,
    end: u64,
    allocated: u64,
    is_dirty: bool,
    is_named_durably: bool,
    /// Where the last record lies.
    last_start: u64,
    last_checksum: u32,
}

struct Mark {
    file: Option<FileId>,
    segment: Zxid,
    end: u64,
    at_ns: u64,
}

impl<D: Disk> LogWriter<D> {
    /// Goes on behind `last`, in a new file: whatever older files hold is never written again.
    pub fn new(disk: D, settings: &StorageSettings, last: Zxid) -> LogWriter<D> {
        LogWriter {
            disk,
            dirs: Dirs::new(settings),
            force_sync: settings.force_sync,
            sync_warning_ms: settings.sync_warning_ms,
            preallocate_bytes: settings.preallocate_bytes,
            compression: settings.compression,
            segment: None,
            last,
            executed: Ticket::default(),
            wants_spare: settings.preallocate_bytes > 0,
            mark: Mark { file: None, segment: Zxid::NONE, end: 0, at_ns: 0 },
            slow_syncs: 0,
        }
    }

    /// Does one command. An append is durable after the next `sync`; the others bring their own,
    /// but count as done with that `sync` too.
    pub fn execute(
        &mut self,
        command: &StorageCommand,
        events: &mut Vec<StorageEvent>,
    ) -> Result<(), Fatal> {
        assert!(command.ticket() > self.executed, "tickets rise");
        match command {
            StorageCommand::Append { first, last, bytes, roll, .. } => {
                self.append(*first, *last, bytes, *roll)?;
            }
            StorageCommand::WriteEpoch { file, epoch, .. } => self.write_epoch(*file, *epoch)?,
            StorageCommand::Truncate { ticket, zxid } => {
                if !self.truncate(*zxid)? {
                    events.push(StorageEvent::TruncateRefused { ticket: *ticket, zxid: *zxid });
                }
            }
            StorageCommand::InstallSnapshot { zxid, .. } => self.install_snapshot(*zxid)?,
            StorageCommand::CutAbove { ticket, zxid, sent } => {
                let kept = self.cut_above(*zxid, sent)?;
                events.push(StorageEvent::CutAt { ticket: *ticket, kept });
            }
            StorageCommand::MarkLost { .. } => self.mark_lost()?,
            StorageCommand::ClearLost { .. } => self.clear_lost()?,
            StorageCommand::ReplaceFiles { files, .. } => self.replace_files(files)?,
        }
        self.executed = command.ticket();
        Ok(())
    }

    /// Makes everything executed durable, with one sync for all of it.
    pub fn sync(&mut self) -> Result<StorageEvent, Fatal> {
        let before = self.disk.clock_ns();
        self.sync_segment(self.force_sync)?;
        let took_ns = self.disk.clock_ns().saturating_sub(before);
        self.warn_if_slow(took_ns / 1_000_000);
        self.write_mark(MARK_STEP_BYTES);
        Ok(StorageEvent::Durable { ticket: self.executed, sync_us: took_ns / 1000 })
    }

    /// Syncs, and gives back the space made ready behind the last record.
    pub fn close(&mut self) -> Result<(), Fatal> {
        self.sync_segment(true)?;
        self.write_mark(1);
        self.retire();
        Ok(())
    }

    /// Whether a spare log file should be made now; asked once for each.
    pub fn take_spare_request(&mut self) -> bool {
        std::mem::take(&mut self.wants_spare)
    }

    /// Syncs that took longer than the warning threshold.
    pub fn slow_syncs(&self) -> u64 {
        self.slow_syncs
    }

    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    fn append(&mut self, first: Zxid, last: Zxid, bytes: &[u8], roll: bool) -> Result<(), Fatal> {
        assert!(first <= last && first > self.last, "records come in order");
        let (last_start, last_checksum) = last_record(bytes);
        if roll || self.segment.is_none() {
            self.roll(first)?;
        }
        self.reserve(bytes.len() as u64)?;
        let segment = self.segment.as_mut().expect("rolled above where there was none");
        let written = self.disk.write_at(segment.file, segment.end, bytes);
        written.map_err(|e| fatal("write to", &self.dirs.log(segment.name), &e))?;
        segment.last_start = segment.end + last_start;
        segment.last_checksum = last_checksum;
        segment.end += bytes.len() as u64;
        segment.is_dirty = true;
        self.last = last;
        Ok(())
    }

    /// Ends the current file and begins `log.<first>`. The old one is synced before the new one
    /// has its name: recovery relies on it.
    fn roll(&mut self, first: Zxid) -> Result<(), Fatal> {
        self.sync_segment(true)?;
        self.write_mark(1);
        self.retire();
        let path = self.dirs.log(first);
        let allocated = self.begin_segment(&path).map_err(|e| fatal("create", &path, &e))?;
        let opened = self.disk.open(&path, OpenMode::Write);
        let file = opened.map_err(|e| fatal("open", &path, &e))?;
        info!("Creating new log file: {}", path.display());
        self.segment = Some(Segment {
            file,
            name: first,
            end: LOG_HEADER_BYTES as u64,
            allocated,
            is_dirty: true,
            is_named_durably: false,
            last_start: 0,
            last_checksum: 0,
        });
        self.wants_spare = self.preallocate_bytes > 0;
        Ok(())
    }

    /// Gives the spare file the name, or makes a file where there is no spare: its length.
    fn begin_segment(&mut self, path: &Path) -> io::Result<u64> {
        match self.disk.rename(&self.dirs.spare(), path) {
            Ok(()) => return Ok(self.preallocate_bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let draft = self.dirs.spare_draft(SpareMaker::Log);
        let file = self.disk.open(&draft, OpenMode::Create)?;
        // As the spare's: no file has a log's name before its header is on disk.
        let header = self.disk.write_at(file, 0, &LOG_HEADER).and_then(|()| self.disk.sync(file));
        self.disk.close(file);
        header?;
        self.disk.rename(&draft, path)?;
        Ok(LOG_HEADER_BYTES as u64)
    }

    /// Room for `more` bytes before they are written: in whole steps, or, where the disk has no
    /// such step left, only for them.
    fn reserve(&mut self, more: u64) -> Result<(), Fatal> {
        let step = self.preallocate_bytes;
        let segment = self.segment.as_mut().expect("a segment to write to");
        let needed = segment.end + more + END_MARGIN_BYTES;
        if step == 0 || needed < segment.allocated {
            return Ok(());
        }
        let whole_steps = needed.next_multiple_of(step);
        let reserved = match self.disk.allocate(segment.file, whole_steps) {
            Ok(()) => Ok(whole_steps),
            Err(e) if is_full(&e) && segment.end + more <= segment.allocated => return Ok(()),
            Err(e) if is_full(&e) => self.disk.allocate(segment.file, needed).map(|()| needed),
            Err(e) => Err(e),
        };
        let path = self.dirs.log(segment.name);
        segment.allocated = reserved.map_err(|e| fatal("reserve space in", &path, &e))?;
        segment.is_dirty = true;
        Ok(())
    }

    fn sync_segment(&mut self, force: bool) -> Result<(), Fatal> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        if !segment.is_dirty || !force {
            return Ok(());
        }
        let path = self.dirs.log(segment.name);
        self.disk.sync(segment.file).map_err(|e| unsynced("sync", &path, &e))?;
        segment.is_dirty = false;
        if !segment.is_named_durably {
            let synced = self.disk.sync_dir(&self.dirs.logs);
            synced.map_err(|e| unsynced("sync the directory of", &path, &e))?;
            segment.is_named_durably = true;
        }
        Ok(())
    }

    /// Lets go of the current file, which is synced. What shortening it may fail at is only space.
    fn retire(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        if segment.allocated > segment.end
            && let Err(e) = self.disk.set_len(segment.file, segment.end)
        {
            warn!("cannot shorten {}: {e}", self.dirs.log(segment.name).display());
        }
        self.disk.close(segment.file);
    }

    fn write_epoch(&mut self, file: EpochFile, epoch: i64) -> Result<(), Fatal> {
        // An epoch on disk says that everything handed over before it is there too.
        self.sync_segment(true)?;
        let name = epoch_file_name(file);
        let written =
            replace_small(&mut self.disk, &self.dirs.snapshots, name, epoch_text(epoch).as_bytes());
        written.map_err(|e| fatal("write", &self.dirs.snapshots.join(name), &e))
    }

    /// Whether it was done: not where nothing could rebuild `zxid` afterwards.
    fn truncate(&mut self, zxid: Zxid) -> Result<bool, Fatal> {
        self.end_segment()?;
        match truncate(&mut self.disk, &self.dirs, zxid)? {
            Cut::Done { last } => self.last = last,
            Cut::Refused => return Ok(false),
        }
        Ok(true)
    }

    fn cut_above(&mut self, zxid: Zxid, sent: &[Zxid]) -> Result<Zxid, Fatal> {
        self.end_segment()?;
        self.last = cut_above(&mut self.disk, &self.dirs, zxid, sent)?;
        Ok(self.last)
    }

    /// Lets go of file and mark, for what they say may be cut. The next append begins a new file.
    fn end_segment(&mut self) -> Result<(), Fatal> {
        self.sync_segment(true)?;
        self.retire();
        if let Some(file) = self.mark.file.take() {
            self.disk.close(file);
        }
        self.mark = Mark { file: None, segment: Zxid::NONE, end: 0, at_ns: 0 };
        Ok(())
    }

    fn install_snapshot(&mut self, zxid: Zxid) -> Result<(), Fatal> {
        // A snapshot must not say more than the log that it lets purge take.
        self.sync_segment(true)?;
        let path = self.dirs.snapshot(zxid, self.compression);
        let renamed = self.disk.rename(&self.dirs.snapshot_draft(zxid), &path);
        renamed.map_err(|e| fatal("give its name to", &path, &e))?;
        let synced = self.disk.sync_dir(&self.dirs.snapshots);
        synced.map_err(|e| unsynced("sync the directory of", &path, &e))?;
        if zxid > self.last {
            // Another server's: what follows it does not follow what is in this file. In a file
            // of its own it stays when purge takes what lies before the hole.
            self.write_mark(1);
            self.retire();
            self.last = zxid;
        }
        Ok(())
    }

    fn mark_lost(&mut self) -> Result<(), Fatal> {
        let (dir, name) = (&self.dirs.snapshots, LOST_NAME);
        let marked = replace_small(&mut self.disk, dir, name, LOST_TEXT.as_bytes());
        marked.map_err(|e| fatal("write", &self.dirs.lost(), &e))
    }

    fn clear_lost(&mut self) -> Result<(), Fatal> {
        // From then on this server says that it has what it was told, so it must.
        self.sync_segment(true)?;
        let removed = remove_if_there(&mut self.disk, &self.dirs.lost())
            .and_then(|()| self.disk.sync_dir(&self.dirs.snapshots));
        removed.map_err(|e| fatal("remove", &self.dirs.lost(), &e))
    }

    /// A failure is no reason to stop: where the configuration lies may be read-only, and Java goes
    /// on too. What comes behind it in the list counts on it and is left alone.
    fn replace_files(&mut self, files: &[(String, Option<Bytes>)]) -> Result<(), Fatal> {
        // They say what is committed: it must be here, too.
        self.sync_segment(true)?;
        for (path, bytes) in files {
            if let Err(e) = self.replace_file(Path::new(path), bytes.as_deref()) {
                error!("cannot write {path}: {e}; it stays as it was");
                break;
            }
        }
        Ok(())
    }

    fn replace_file(&mut self, path: &Path, bytes: Option<&[u8]>) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        match bytes {
            Some(bytes) => replace_small(&mut self.disk, dir, name, bytes),
            None => {
                remove_if_there(&mut self.disk, path)?;
                self.disk.sync_dir(dir)
            }
        }
    }

    fn warn_if_slow(&mut self, took_ms: u64) {
        if took_ms <= self.sync_warning_ms {
            return;
        }
        self.slow_syncs += 1;
        let bytes = self.segment.as_ref().map_or(0, |s| s.end);
        warn!(
            "fsync-ing the write ahead log in log-thread took {took_ms}ms which will adversely \
             effect operation latency. File size is {bytes} bytes. See the ZooKeeper \
             troubleshooting guide"
        );
    }

    /// Notes now and then how far the file is synced. Nothing depends on its success.
    fn write_mark(&mut self, step_bytes: u64) {
        let Some(segment) = &self.segment else { return };
        let now = self.disk.clock_ns();
        let is_near = self.mark.segment == segment.name
            && segment.end - self.mark.end < step_bytes
            && (now.saturating_sub(self.mark.at_ns) < MARK_STEP_NS || segment.end == self.mark.end);
        if segment.is_dirty || segment.last_start == 0 || is_near {
            return;
        }
        let mark = SideMark {
            segment: segment.name,
            start: segment.last_start,
            end: segment.end,
            checksum: segment.last_checksum,
        };
        (self.mark.segment, self.mark.end, self.mark.at_ns) = (mark.segment, mark.end, now);
        if let Err(e) = self.put_mark(&mark) {
            warn!("cannot write {}: {e}", self.dirs.mark().display());
        }
    }

    fn put_mark(&mut self, mark: &SideMark) -> io::Result<()> {
        let file = match self.mark.file {
            Some(file) => file,
            None => self.disk.open(&self.dirs.mark(), OpenMode::Create)?,
        };
        self.mark.file = Some(file);
        self.disk.write_at(file, 0, mark.text().as_bytes())
    }
}

/// Where in `bytes`, whole records, the last one starts, and its checksum.
fn last_record(bytes: &[u8]) -> (u64, u32) {
    let mut at = 0;
    loop {
        let head = bytes[at..].first_chunk::<12>().expect("whole records were handed over");
        let word = |i: usize| u32::from_be_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let next = at + FRAME_BYTES + word(8) as usize;
        assert!(next <= bytes.len() && bytes[next - 1] == b'B', "whole records were handed over");
        if next == bytes.len() {
            return (at as u64, word(4));
        }
        at = next;
    }
}

/// A sync that did not succeed, for whatever reason: the kernel counts the lost pages as clean,
/// so nothing is retried.
pub(super) fn unsynced(what: &str, path: &Path, error: &io::Error) -> Fatal {
    Fatal::SyncFailed(format!("cannot {what} {}: {error}", path.display()))
}

/// A write that did not succeed: nothing behind it may be believed, and nothing is retried.
pub(super) fn fatal(what: &str, path: &Path, error: &io::Error) -> Fatal {
    let text = format!("cannot {what} {}: {error}", path.display());
    if is_full(error) { Fatal::DiskFull(text) } else { Fatal::SyncFailed(text) }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What an operator finds who looks for the reason.
const LOST_TEXT: &str = "This server could not give back what it once held. It votes for nobody \
                         until a leader has sent it everything.\n";

/// Java extends a log file when less than this is left, and so do we.
const END_MARGIN_BYTES: u64 = 4096;
/// How much is synced between two side marks, and how much time passes.
const MARK_STEP_BYTES: u64 = 1024 * 1024;
const MARK_STEP_NS: u64 = 1_000_000_000;
