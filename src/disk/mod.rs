//! The only room with files: log thread and chore thread, and recovery before them.
//!
//! Decides how bytes become durable: which file, in which order, with which syncs. Never decides
//! what is written, nor what bytes mean (that is `history`). All of it works over [`Disk`], so the
//! simulator runs the same code over a disk that loses, tears and fails.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod chore_tests;
mod chores;
#[cfg(test)]
mod crash_tests;
mod dirs;
#[cfg(test)]
mod edge_tests;
mod epochs;
mod fault;
#[cfg(test)]
mod hanging_tests;
#[cfg(test)]
mod hole_tests;
mod image_cursor;
mod java;
mod listing;
mod log_cursor;
mod log_index;
mod log_recovery;
mod log_writer;
#[cfg(test)]
mod mem_disk;
#[cfg(test)]
mod member_tests;
mod prepare;
mod readers;
#[cfg(test)]
mod reading_tests;
mod real;
mod recover;
#[cfg(test)]
mod recover_tests;
mod replay;
mod segment;
mod settings;
mod since;
mod snapshot_file;
mod stretch;
#[cfg(test)]
mod sync_crash_tests;
#[cfg(test)]
mod tests;
mod threads;
mod truncate;
mod unreadable;
mod window;

pub use chores::Chores;
pub use dirs::Dirs;
pub use java::open;
pub use log_writer::LogWriter;
pub use real::RealDisk;
pub use recover::{Recovered, recover};
pub use settings::StorageSettings;
pub use since::kept_ms;
pub use threads::StorageThreads;

/// An open file of one [`Disk`]; never reused by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Read,
    /// It must exist; read and written in place.
    Write,
    /// Read and written; emptied if it exists.
    Create,
}

/// A regular file in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    pub name: String,
    pub bytes: u64,
}

/// The file system as storage uses it: synchronous, each call done when it returns. The threads
/// have one each over the same files, so a `FileId` means something to its own disk only.
pub trait Disk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId>;
    fn close(&mut self, file: FileId);
    fn len(&mut self, file: FileId) -> io::Result<u64>;
    /// Reads until `buffer` is full or the file ends: how much.
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of it. Where the range was allocated it cannot lack space.
    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reserves space up to `to`, which becomes the length; what was not written reads as zeros.
    fn allocate(&mut self, file: FileId, to: u64) -> io::Result<()>;
    fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()>;
    /// Everything written to the file before is on disk, and its length.
    fn sync(&mut self, file: FileId) -> io::Result<()>;
    /// Every create, rename and remove in the directory before is on disk.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// The regular files of a directory, by name.
    fn list(&mut self, dir: &Path) -> io::Result<Vec<FileEntry>>;
    fn dir_exists(&mut self, dir: &Path) -> bool;
    /// Creates a directory and those above it.
    fn create_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// Locks a directory until the disk is dropped; `WouldBlock` where another process has it.
    fn lock_dir(&mut self, dir: &Path) -> io::Result<()>;
    /// Nanoseconds of a clock that only goes forward, to measure what a sync takes.
    fn clock_ns(&mut self) -> u64;
}

/// A small file at once; `None` where there is none.
fn read_small<D: Disk>(disk: &mut D, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = vec![0; SMALL_FILE_BYTES];
    let read = disk.read_at(file, 0, &mut bytes);
    disk.close(file);
    bytes.truncate(read?);
    Ok(Some(bytes))
}

/// Writes a small file so that after a crash it is the old one or the new one.
fn replace_small<D: Disk>(disk: &mut D, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary: PathBuf = dir.join(format!("{name}.tmp"));
    let file = disk.open(&temporary, OpenMode::Create)?;
    let written = disk.write_at(file, 0, bytes).and_then(|()| disk.sync(file));
    disk.close(file);
    written?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// Epoch files, side marks and the like are a few dozen bytes.
const SMALL_FILE_BYTES: usize = 512;
