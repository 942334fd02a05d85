//! The disk of this machine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::window::Window;
use super::{Disk, FileEntry, FileId, OpenMode};

pub struct RealDisk {
    files: HashMap<FileId, OpenFile>,
    /// Directories that were synced.
    dirs: HashMap<PathBuf, File>,
    next: u64,
    locks: Vec<File>,
    origin: Instant,
    maps: bool,
}

struct OpenFile {
    file: File,
    /// Writes below this go through the window: the space is there, so a store cannot fault.
    allocated: u64,
    window: Option<Window>,
}

impl RealDisk {
    pub fn new() -> RealDisk {
        RealDisk::with_maps(true)
    }

    /// Whether allocated files are written through a map or by calls.
    pub fn with_maps(maps: bool) -> RealDisk {
        let (files, dirs, locks) = (HashMap::new(), HashMap::new(), Vec::new());
        RealDisk { files, dirs, next: 0, locks, origin: Instant::now(), maps }
    }

    fn file(&self, file: FileId) -> &File {
        &self.files.get(&file).expect("a file that is open").file
    }

    fn open_file(&mut self, file: FileId) -> &mut OpenFile {
        self.files.get_mut(&file).expect("a file that is open")
    }
}

impl Default for RealDisk {
    fn default() -> RealDisk {
        RealDisk::new()
    }
}

impl Disk for RealDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(true),
        };
        let file = options.open(path)?;
        self.next += 1;
        let id = FileId(self.next);
        self.files.insert(id, OpenFile { file, allocated: 0, window: None });
        Ok(id)
    }

    fn close(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.file(file).metadata()?.len())
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(file);
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let open = self.open_file(file);
        if offset + bytes.len() as u64 > open.allocated {
            return open.file.write_all_at(bytes, offset);
        }
        Window::store(&mut open.window, &open.file, open.allocated, offset, bytes)
    }

    fn allocate(&mut self, file: FileId, to: u64) -> io::Result<()> {
        let maps = self.maps;
        let open = self.open_file(file);
        match rustix::fs::fallocate(&open.file, FallocateFlags::empty(), 0, to) {
            Ok(()) => {
                open.allocated = if maps { to } else { 0 };
                Ok(())
            }
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                // The length alone, as Java does, and no map: a store into a hole may fault.
                log::info!("this file system reserves no space: log files are sparse");
                open.file.set_len(to)
            }
            Err(e) => Err(e.into()),
        }
    }

    fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        let open = self.open_file(file);
        // Nobody may shrink a mapped file.
        open.window = None;
        open.allocated = open.allocated.min(bytes);
        open.file.set_len(bytes)
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.file(file).sync_data()
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        // Kept open: a process out of descriptors could not open it where it matters.
        let file = match self.dirs.entry(dir.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(File::open(dir)?),
        };
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // A file may vanish between the listing and the look at it.
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            if metadata.is_file() {
                entries.push(FileEntry { name, bytes: metadata.len() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn dir_exists(&mut self, dir: &Path) -> bool {
        dir.is_dir()
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn lock_dir(&mut self, dir: &Path) -> io::Result<()> {
        let file = File::open(dir)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        self.locks.push(file);
        Ok(())
    }

    fn clock_ns(&mut self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}
