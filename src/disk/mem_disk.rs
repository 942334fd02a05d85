//! A disk in memory that loses, tears and fails, for the tests of this room.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Disk, FileEntry, FileId, OpenMode};

/// A file: as processes see it, and as it would be after a power cut at the worst moment.
#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that the next sync writes. After a sync that failed they count as clean, as they do
    /// in every kernel we know: only writing them again makes them dirty.
    dirty: BTreeSet<usize>,
}

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
    }

    /// All of it is on disk, whatever else may be behind it there.
    fn is_synced(&self) -> bool {
        self.durable.starts_with(&self.live)
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let from = (page * PAGE).min(self.live.len());
            let to = (from + PAGE).min(self.live.len());
            self.durable[from..to].copy_from_slice(&self.live[from..to]);
        }
    }
}

/// A change of a directory that is not synced yet.
#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, usize),
    Gone(PathBuf),
}

#[derive(Clone, Default)]
struct World {
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Change>,
    /// Calls that change something until one fails.
    countdown: Option<(u64, io::ErrorKind)>,
    /// Directories that are not there yet, and those made since whose names are not synced.
    missing_dirs: BTreeSet<PathBuf>,
    unsynced_dirs: BTreeSet<PathBuf>,
    /// Files that got a name which others read before they were synced.
    early_names: Vec<PathBuf>,
}

/// What a power cut leaves of a file that is not synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Old,
    /// The old bytes at the new length.
    Stretched,
    New,
}

impl Left {
    fn of(self, inode: &Inode) -> Inode {
        let mut bytes = if self == Left::New { &inode.live } else { &inode.durable }.clone();
        if self == Left::Stretched {
            bytes.resize(inode.live.len(), 0);
        }
        Inode { live: bytes.clone(), durable: bytes, ..Inode::default() }
    }
}

/// Handles on one world of files; clones share it.
#[derive(Clone, Default)]
pub struct MemDisk {
    world: Rc<RefCell<World>>,
    open: Rc<RefCell<HashMap<FileId, usize>>>,
    clock_ns: u64,
    /// What each look at the clock takes; a microsecond where it is nothing.
    pub clock_step_ns: u64,
}

/// Small steps of chance, the same for the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 17) % n.max(1)
    }
}

const PAGE: usize = 4096;
const SECTOR: usize = 512;

impl MemDisk {
    /// The disk after a power cut: of what was not synced, each page is old, new or torn, each
    /// length old or new, and each directory has some first part of its changes.
    pub fn after_power_cut(&self, chance: &mut Chance) -> MemDisk {
        let world = self.world.borrow();
        let inodes = world.inodes.iter().map(|inode| cut(inode, chance)).collect();
        let mut names = world.durable.clone();
        let kept = chance.below(world.pending.len() as u64 + 1) as usize;
        for change in world.pending.iter().take(kept) {
            change.apply(&mut names);
        }
        let world = World { inodes, live: names.clone(), durable: names, ..World::default() };
        MemDisk { world: Rc::new(RefCell::new(world)), ..MemDisk::default() }
    }

    /// What a power cut at this moment may leave, at its extremes: each first part of the changes
    /// of names, with the un-synced files all old, all new, or one of them unlike the others.
    pub fn images(&self) -> Vec<MemDisk> {
        let world = self.world.borrow();
        let unsure = |i: &usize| world.inodes[*i].live != world.inodes[*i].durable;
        let unsure: Vec<usize> = (0..world.inodes.len()).filter(unsure).collect();
        let mut contents = vec![(Left::Old, None), (Left::Stretched, None), (Left::New, None)];
        for one in &unsure {
            contents.push((Left::Old, Some((*one, Left::New))));
            contents.push((Left::New, Some((*one, Left::Old))));
        }
        if unsure.is_empty() {
            contents.truncate(1);
        }
        let mut images = Vec::new();
        for names in world.names_left() {
            for (most, odd) in &contents {
                let left = |i: usize| odd.filter(|(one, _)| *one == i).map_or(*most, |odd| odd.1);
                let inodes = world.inodes.iter().enumerate().map(|(i, f)| left(i).of(f)).collect();
                let (live, durable) = (names.clone(), names.clone());
                let world = World { inodes, live, durable, ..World::default() };
                images.push(MemDisk { world: Rc::new(RefCell::new(world)), ..MemDisk::default() });
            }
        }
        images
    }

    /// Another disk with the same files, all that is not synced included, on which no call fails.
    pub fn copy(&self) -> MemDisk {
        let world = World { countdown: None, ..self.world.borrow().clone() };
        MemDisk { world: Rc::new(RefCell::new(world)), ..MemDisk::default() }
    }

    /// Files that had a name which others read while they were not synced.
    pub fn early_names(&self) -> Vec<PathBuf> {
        self.world.borrow().early_names.clone()
    }

    pub fn without_dirs(dirs: &[&str]) -> MemDisk {
        let disk = MemDisk::default();
        disk.world.borrow_mut().missing_dirs = dirs.iter().map(PathBuf::from).collect();
        disk
    }

    /// Directories that a power cut would take away again.
    pub fn unsynced_dirs(&self) -> BTreeSet<PathBuf> {
        self.world.borrow().unsynced_dirs.clone()
    }

    /// The disk after the process was killed: everything written is there.
    pub fn after_kill(&self) -> MemDisk {
        MemDisk { world: Rc::clone(&self.world), ..MemDisk::default() }
    }

    pub fn fail_after(&self, calls: u64, kind: io::ErrorKind) {
        self.world.borrow_mut().countdown = Some((calls, kind));
    }

    pub fn names(&self) -> Vec<String> {
        let world = self.world.borrow();
        world.live.keys().filter_map(|p| Some(p.file_name()?.to_str()?.to_owned())).collect()
    }

    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world.borrow();
        Some(world.inodes[*world.live.get(path)?].live.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut world = self.world.borrow_mut();
        let at = world.inodes.len();
        world.inodes.push(Inode {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            ..Inode::default()
        });
        world.live.insert(path.to_owned(), at);
        world.durable.insert(path.to_owned(), at);
    }

    /// Counts a change, which may be the one that fails.
    fn change(&self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        match &mut world.countdown {
            Some((0, kind)) => Err(io::Error::from(*kind)),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn with<T>(&self, file: FileId, act: impl FnOnce(&mut Inode) -> T) -> T {
        let at = self.open.borrow()[&file];
        act(&mut self.world.borrow_mut().inodes[at])
    }
}

impl World {
    /// The names after each first part of the changes, and after those of one directory alone.
    fn names_left(&self) -> Vec<BTreeMap<PathBuf, usize>> {
        let mut left = vec![self.durable.clone()];
        for kept in 1..=self.pending.len() {
            let mut names = self.durable.clone();
            self.pending.iter().take(kept).for_each(|change| change.apply(&mut names));
            left.push(names);
        }
        for dir in self.pending.iter().filter_map(Change::dir).collect::<BTreeSet<&Path>>() {
            let mut names = self.durable.clone();
            let here = self.pending.iter().filter(|change| change.dir() == Some(dir));
            here.for_each(|change| change.apply(&mut names));
            left.push(names);
        }
        left
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Change::Put(path, inode) => {
                names.retain(|_, at| at != inode);
                names.insert(path.clone(), *inode);
            }
            Change::Gone(path) => {
                names.remove(path);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Change::Put(path, _) | Change::Gone(path) => path.parent(),
        }
    }
}

fn cut(inode: &Inode, chance: &mut Chance) -> Inode {
    let length = if chance.below(2) == 0 { inode.live.len() } else { inode.durable.len() };
    let mut bytes = inode.durable.clone();
    bytes.resize(length, 0);
    let mut at = 0;
    while at < length.min(inode.live.len()) {
        let end = (at + PAGE).min(length).min(inode.live.len());
        match chance.below(4) {
            0 => {}
            1 => {
                // Each sector of the page on its own.
                for sector in (at..end).step_by(SECTOR) {
                    let sector_end = (sector + SECTOR).min(end);
                    if chance.below(2) == 0 {
                        bytes[sector..sector_end].copy_from_slice(&inode.live[sector..sector_end]);
                    }
                }
            }
            _ => bytes[at..end].copy_from_slice(&inode.live[at..end]),
        }
        at = end;
    }
    Inode { live: bytes.clone(), durable: bytes, ..Inode::default() }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        if mode == OpenMode::Create {
            self.change()?;
        }
        let mut world = self.world.borrow_mut();
        let there = world.live.get(path).copied();
        let at = match (there, mode) {
            (Some(at), OpenMode::Create) => {
                world.inodes[at].live.clear();
                at
            }
            (Some(at), _) => at,
            (None, OpenMode::Create) => {
                let at = world.inodes.len();
                world.inodes.push(Inode::default());
                world.live.insert(path.to_owned(), at);
                world.pending.push(Change::Put(path.to_owned(), at));
                at
            }
            (None, _) => return Err(not_found()),
        };
        let mut open = self.open.borrow_mut();
        let id = FileId(open.len() as u64 + 1);
        open.insert(id, at);
        Ok(id)
    }

    fn close(&mut self, _file: FileId) {}

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.with(file, |inode| inode.live.len() as u64))
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(file, |inode| {
            let from = (offset as usize).min(inode.live.len());
            let read = buffer.len().min(inode.live.len() - from);
            buffer[..read].copy_from_slice(&inode.live[from..from + read]);
            Ok(read)
        })
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        self.with(file, |inode| {
            let end = offset as usize + bytes.len();
            let length = inode.live.len().max(end);
            inode.live.resize(length, 0);
            inode.live[offset as usize..end].copy_from_slice(bytes);
            inode.touch(offset as usize, end);
            Ok(())
        })
    }

    fn allocate(&mut self, file: FileId, to: u64) -> io::Result<()> {
        self.change()?;
        self.with(file, |inode| {
            let length = inode.live.len().max(to as usize);
            inode.live.resize(length, 0);
            Ok(())
        })
    }

    fn set_len(&mut self, file: FileId, bytes: u64) -> io::Result<()> {
        self.change()?;
        self.with(file, |inode| {
            inode.live.resize(bytes as usize, 0);
            Ok(())
        })
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        let changed = self.change();
        self.with(file, |inode| match &changed {
            Ok(()) => inode.sync(),
            Err(_) => inode.dirty.clear(),
        });
        changed
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.change()?;
        let mut world = self.world.borrow_mut();
        let (done, rest): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut world.pending).into_iter().partition(|c| c.dir() == Some(dir));
        world.pending = rest;
        done.iter().for_each(|change| change.apply(&mut world.durable));
        world.unsynced_dirs.retain(|made| made.parent() != Some(dir));
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let at = world.live.remove(from).ok_or_else(not_found)?;
        world.live.insert(to.to_owned(), at);
        let is_hidden = to.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_log = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log."))
        };
        let mut logs = world.live.iter().filter(|(path, _)| is_log(path));
        // Of a log also those before it.
        let is_early = !world.inodes[at].is_synced()
            || is_log(to) && logs.any(|(_, log)| !world.inodes[*log].is_synced());
        if !is_hidden && is_early {
            world.early_names.push(to.to_owned());
        }
        world.pending.push(Change::Put(to.to_owned(), at));
        drop(world);
        self.change()
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.live.remove(path).ok_or_else(not_found)?;
        world.pending.push(Change::Gone(path.to_owned()));
        drop(world);
        self.change()
    }

    fn list(&mut self, dir: &Path) -> io::Result<Vec<FileEntry>> {
        let world = self.world.borrow();
        let files = world.live.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, at): (&PathBuf, &usize)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(FileEntry { name, bytes: world.inodes[*at].live.len() as u64 })
        };
        Ok(files.filter_map(entry).collect())
    }

    fn dir_exists(&mut self, dir: &Path) -> bool {
        !self.world.borrow().missing_dirs.contains(dir)
    }

    fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        for made in dir.ancestors() {
            if world.missing_dirs.remove(made) {
                world.unsynced_dirs.insert(made.to_owned());
            }
        }
        Ok(())
    }

    fn lock_dir(&mut self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn clock_ns(&mut self) -> u64 {
        self.clock_ns += self.clock_step_ns.max(1_000);
        self.clock_ns
    }
}
