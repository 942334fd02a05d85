//! A file system in memory that loses what was not synced, tears it, fills up and fails.
//!
//! Each file has a live image (what the process sees) and a durable one. A power cut decides for
//! every page written since the last sync whether the old bytes, the new ones, or a mixture at a
//! 512-byte boundary are there; for the length likewise; and keeps a prefix of the directory's
//! changes since its last sync. A killed process loses nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use zkd::base::Rng;
use zkd::disk::{Disk, FileEntry, FileId, OpenMode};
use zkd::history::{Frame, LOG_HEADER_BYTES, frame};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Power fails in the middle of it; every later call fails.
    PowerCut,
    /// The process is killed in the middle of it.
    Kill,
    /// This one call fails.
    Error(io::ErrorKind),
}

#[derive(Clone, Debug)]
enum DirOp {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// The files of one machine.
#[derive(Debug)]
pub struct Files {
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: BTreeMap<PathBuf, Vec<DirOp>>,
    dirs: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    rng: Rng,
    /// Calls that change something, so far.
    pub calls: u64,
    /// The call at which something goes wrong.
    pub fault: Option<(u64, Fault)>,
    /// What happened, once it did.
    pub struck: Option<Fault>,
    /// Syncs believe themselves done and are not: the breakage "no sync".
    pub ignores_sync: bool,
    pub ignores_dir_sync: bool,
    /// Files that do not have their final name yet are not synced: the breakage "rename before
    /// sync".
    pub ignores_draft_sync: bool,
    /// Snapshots are not synced.
    pub ignores_image_sync: bool,
    /// Nothing is ever cut off a file.
    pub ignores_cut: bool,
    /// After a power cut the torn record at the newest log's end has a checksum that fits.
    pub mends_torn_tails: bool,
    /// What is known to be synced is forgotten.
    pub hides_marks: bool,
    pub clock_ns: u64,
    pub sync_ns: u64,
    pub syncs: u64,
    /// Bytes all files together may have.
    pub capacity: u64,
}

impl Files {
    pub fn new(seed: u64) -> Files {
        Files {
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: BTreeMap::new(),
            dirs: BTreeSet::new(),
            locked: BTreeSet::new(),
            rng: Rng::new(seed),
            calls: 0,
            fault: None,
            struck: None,
            ignores_sync: false,
            ignores_dir_sync: false,
            ignores_draft_sync: false,
            ignores_image_sync: false,
            ignores_cut: false,
            mends_torn_tails: false,
            hides_marks: false,
            clock_ns: 0,
            sync_ns: 100_000,
            syncs: 0,
            capacity: u64::MAX,
        }
    }

    /// The machine starts again after what struck it: a power cut settles what is on the platter.
    pub fn restart(&mut self, fault: Fault) {
        if fault == Fault::PowerCut {
            self.lose_power();
            if self.mends_torn_tails {
                self.mend_torn_tail();
            }
        }
        self.locked.clear();
        self.fault = None;
        self.struck = None;
    }

    fn lose_power(&mut self) {
        for ops in std::mem::take(&mut self.pending).into_values() {
            let keep = self.rng.below(ops.len() as u64 + 1) as usize;
            for op in ops.into_iter().take(keep) {
                apply(&mut self.durable, op);
            }
        }
        self.live = self.durable.clone();
        for inode in &mut self.inodes {
            settle(inode, &mut self.rng);
        }
    }

    /// Makes the torn record at the newest log's end pass for a whole one.
    fn mend_torn_tail(&mut self) -> Option<()> {
        let path = self.logs().pop()?;
        let inode = self.live[&path];
        let bytes = &mut self.inodes[inode].live;
        let mut at = LOG_HEADER_BYTES;
        while let Frame::Record { bytes: whole, .. } = frame(bytes.get(at..)?) {
            at += whole;
        }
        let head: [u8; 12] = *bytes.get(at..)?.first_chunk()?;
        let length = u32::from_be_bytes(*head[8..].first_chunk()?) as usize;
        let end = at + head.len() + length;
        if length == 0 || end >= bytes.len() {
            return None;
        }
        let checksum = simd_adler32::adler32(&&bytes[at + head.len()..end]);
        bytes[at..at + 8].copy_from_slice(&u64::from(checksum).to_be_bytes());
        bytes[end] = b'B';
        self.inodes[inode].durable = self.inodes[inode].live.clone();
        Some(())
    }

    /// Whether a breakage leaves this file's sync out.
    fn ignores_sync_of(&self, inode: usize) -> bool {
        let name = self.live.iter().find(|(_, i)| **i == inode).map(|(path, _)| path);
        let name = name.and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy();
        let is_draft = name.starts_with('.') || name.ends_with(".tmp");
        self.ignores_sync
            || self.ignores_draft_sync && is_draft
            || self.ignores_image_sync && name.contains("snapshot")
    }

    /// Turns one byte over in a log, in the newest only where more than `bound` bytes follow: what
    /// is nearer to the end may pass for a tail that a power cut tore.
    pub fn damage_log(&mut self, draw: u64, bound: usize) -> Option<PathBuf> {
        let logs = self.logs();
        let at = draw as usize % logs.len().max(1);
        let path = logs.get(at)?.clone();
        let inode = self.live[&path];
        let bytes = &mut self.inodes[inode].live;
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        let end = if at + 1 == logs.len() { end.checked_sub(bound)? } else { end };
        let room = end.checked_sub(16).filter(|room| *room > 0)?;
        bytes[16 + (draw >> 8) as usize % room] ^= 0x20;
        self.inodes[inode].durable = self.inodes[inode].live.clone();
        Some(path)
    }

    /// The log files, oldest first.
    fn logs(&self) -> Vec<PathBuf> {
        let is_log = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log."))
        };
        let mut logs: Vec<PathBuf> = self.live.keys().filter(is_log).cloned().collect();
        // Hexadecimal without padding: the longer name is the later one.
        logs.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        logs
    }

    /// Every log's bytes, by name.
    pub fn log_bytes(&self) -> impl Iterator<Item = (PathBuf, &[u8])> {
        self.logs().into_iter().map(|path| {
            let inode = self.live[&path];
            (path, self.inodes[inode].live.as_slice())
        })
    }

    fn used(&self) -> u64 {
        let unique: BTreeSet<usize> = self.live.values().copied().collect();
        unique.iter().map(|i| self.inodes[*i].live.len() as u64).sum()
    }

    fn log_dir_op(&mut self, path: &Path, op: DirOp) {
        let dir = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        apply(&mut self.live, op.clone());
        self.pending.entry(dir).or_default().push(op);
    }

    /// Counts a changing call. `Some(error)`: it goes wrong, and whether its effect took place
    /// before that is drawn.
    fn strike(&mut self) -> (Option<io::Error>, bool) {
        if self.struck.is_some_and(|f| !matches!(f, Fault::Error(_))) {
            return (Some(io::Error::other("the machine is down")), false);
        }
        self.calls += 1;
        match self.fault {
            Some((at, fault)) if at == self.calls => {
                self.struck = Some(fault);
                let error = match fault {
                    Fault::Error(kind) => io::Error::from(kind),
                    _ => io::Error::other("the machine goes down"),
                };
                let took_place = !matches!(fault, Fault::Error(_)) && self.rng.below(2) == 0;
                (Some(error), took_place)
            }
            _ => (None, true),
        }
    }

    /// Writes what is there into a folder of the real machine.
    pub fn copy_to(&self, folder: &Path) -> io::Result<()> {
        for (path, inode) in &self.live {
            let to = folder.join(path.strip_prefix("/").unwrap_or(path));
            std::fs::create_dir_all(to.parent().unwrap_or(folder))?;
            std::fs::write(to, &self.inodes[*inode].live)?;
        }
        Ok(())
    }

    /// A number that differs where any file or name does.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (path, inode) in &self.live {
            mix(path.to_string_lossy().as_bytes());
            mix(&self.inodes[*inode].live);
        }
        hash
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, op: DirOp) {
    match op {
        DirOp::Link(path, inode) => {
            names.insert(path, inode);
        }
        DirOp::Unlink(path) => {
            names.remove(&path);
        }
        DirOp::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

/// Decides what of a file's un-synced pages and length survived.
fn settle(inode: &mut Inode, rng: &mut Rng) {
    let (old, new) = (inode.durable.len(), inode.live.len());
    let len = match rng.below(3) {
        0 => old,
        1 => new,
        _ if old <= new => old + rng.below((new - old) as u64 + 1) as usize,
        _ => old,
    };
    let mut image = inode.durable.clone();
    image.resize(len, 0);
    for page in &inode.dirty {
        let from = page * PAGE;
        let to = (from + PAGE).min(new).min(len);
        if from >= to {
            continue;
        }
        let until = match rng.below(3) {
            0 => from,
            1 => to,
            _ => (from + SECTOR * rng.below((PAGE / SECTOR) as u64) as usize).min(to),
        };
        image[from..until].copy_from_slice(&inode.live[from..until]);
    }
    inode.dirty.clear();
    inode.live = image.clone();
    inode.durable = image;
}

/// One process's view of the machine's files.
#[derive(Clone, Debug)]
pub struct SimDisk {
    files: Rc<RefCell<Files>>,
    open: BTreeMap<FileId, usize>,
    next: u64,
}

impl SimDisk {
    pub fn new(files: &Rc<RefCell<Files>>) -> SimDisk {
        SimDisk { files: files.clone(), open: BTreeMap::new(), next: 0 }
    }

    fn inode(&self, file: FileId) -> io::Result<usize> {
        self.open.get(&file).copied().ok_or_else(|| io::Error::other("not an open file"))
    }

    fn change<T>(&mut self, effect: impl FnOnce(&mut Files) -> io::Result<T>) -> io::Result<T> {
        let mut files = self.files.borrow_mut();
        match files.strike() {
            (None, _) => effect(&mut files),
            (Some(error), took_place) => {
                if took_place {
                    let _ = effect(&mut files);
                }
                Err(error)
            }
        }
    }
}

impl Disk for SimDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        let is_hidden = mode == OpenMode::Read
            && self.files.borrow().hides_marks
            && path.ends_with(".zkd-synced");
        let known = self.files.borrow().live.get(path).copied().filter(|_| !is_hidden);
        let inode = match (known, mode) {
            (None, OpenMode::Read | OpenMode::Write) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (Some(inode), OpenMode::Read | OpenMode::Write) => inode,
            (Some(inode), OpenMode::Create) => self.change(|files| {
                let file = &mut files.inodes[inode];
                file.dirty.extend(0..file.live.len().div_ceil(PAGE));
                file.live.clear();
                Ok(inode)
            })?,
            (None, OpenMode::Create) => self.change(|files| {
                files.inodes.push(Inode::default());
                let inode = files.inodes.len() - 1;
                files.log_dir_op(path, DirOp::Link(path.to_path_buf(), inode));
                Ok(inode)
            })?,
        };
        self.next += 1;
        let id = FileId(self.next);
        self.open.insert(id, inode);
        Ok(id)
    }

    fn close(&mut self, file: FileId) {
        self.open.remove(&file);
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        let inode = self.inode(file)?;
        Ok(self.files.borrow().inodes[inode].live.len() as u64)
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let inode = self.inode(file)?;
        let files = self.files.borrow();
        let bytes = &files.inodes[inode].live;
        let from = (offset as usize).min(bytes.len());
        let n = buffer.len().min(bytes.len() - from);
        buffer[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let inode = self.inode(file)?;
        self.change(|files| {
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            let grows = to.saturating_sub(files.inodes[inode].live.len()) as u64;
            if grows > 0 && files.used() + grows > files.capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = &mut files.inodes[inode];
            if file.live.len() < to {
                file.live.resize(to, 0);
            }
            file.live[from..to].copy_from_slice(bytes);
            file.dirty.extend(from / PAGE..to.div_ceil(PAGE));
            Ok(())
        })
    }

    fn allocate(&mut self, file: FileId, to: u64) -> io::Result<()> {
        let inode = self.inode(file)?;
        self.change(|files| {
            let len = files.inodes[inode].live.len() as u64;
            if to > len && files.used() + (to - len) > files.capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = &mut files.inodes[inode];
            let new = file.live.len().max(to as usize);
            file.live.resize(new, 0);
            Ok(())
        })
    }

    fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        let inode = self.inode(file)?;
        self.change(|files| {
            let ignores_cut = files.ignores_cut;
            let file = &mut files.inodes[inode];
            if ignores_cut && (bytes as usize) < file.live.len() {
                return Ok(());
            }
            let first = (bytes as usize).min(file.live.len()) / PAGE;
            file.dirty.extend(first..file.live.len().div_ceil(PAGE));
            file.live.resize(bytes as usize, 0);
            Ok(())
        })
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        let inode = self.inode(file)?;
        self.change(|files| {
            files.syncs += 1;
            files.clock_ns += files.sync_ns;
            if files.ignores_sync_of(inode) {
                return Ok(());
            }
            let file = &mut files.inodes[inode];
            file.durable.clone_from(&file.live);
            file.dirty.clear();
            Ok(())
        })
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.change(|files| {
            if files.ignores_dir_sync {
                return Ok(());
            }
            for op in files.pending.remove(dir).unwrap_or_default() {
                apply(&mut files.durable, op);
            }
            Ok(())
        })
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|files| {
            if !files.live.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            files.log_dir_op(to, DirOp::Rename(from.to_path_buf(), to.to_path_buf()));
            Ok(())
        })
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.change(|files| {
            if !files.live.contains_key(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            files.log_dir_op(path, DirOp::Unlink(path.to_path_buf()));
            Ok(())
        })
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let files = self.files.borrow();
        if !files.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let here = files.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, inode): (&PathBuf, &usize)| FileEntry {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: files.inodes[*inode].live.len() as u64,
        };
        Ok(here.map(entry).collect())
    }

    fn dir_exists(&mut self, dir: &Path) -> bool {
        self.files.borrow().dirs.contains(dir)
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        // Directories are durable at once: what may be lost in them is simulated, they are not.
        self.change(|files| {
            files.dirs.extend(dir.ancestors().map(Path::to_path_buf));
            Ok(())
        })
    }

    fn lock_dir(&mut self, dir: &Path) -> io::Result<()> {
        let is_free = self.files.borrow_mut().locked.insert(dir.to_path_buf());
        if is_free { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn clock_ns(&mut self) -> u64 {
        self.files.borrow().clock_ns
    }
}
