//! From two directories to the state they hold: Java's rules of choosing a snapshot, the log
//! behind it, and everything synced before it is believed.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use log::{info, warn};

use crate::base::{Fatal, Zxid};
use crate::history::{
    Compression, EpochFile, SnapshotItem, SnapshotTrailers, SnapshotWriter, epoch_file_name,
    parse_epoch,
};
use crate::proto::{DIGEST_VERSION, Entry};
use crate::state::{Applied, Mode, NodeStat, State, StateLoader};

use super::dirs::Dirs;
use super::listing::{list_logs, list_snapshots};
use super::log_recovery::replay_logs;
use super::log_writer::{fatal, unsynced};
use super::settings::StorageSettings;
use super::snapshot_file::{looks_valid, read_snapshot};
use super::truncate::remove_if_there;
use super::{Disk, OpenMode, prepare, read_small};

/// What the disk holds.
pub struct Recovered {
    pub state: State,
    /// The last txns of the last epoch, not applied: a leader may still cut them. Ascending.
    pub tail: Vec<Entry>,
    pub last_logged: Zxid,
    /// The snapshot that the state was rebuilt from.
    pub snapshot_zxid: Zxid,
    /// Up to here txns are applied by the tolerant rules: the snapshot was taken while they were
    /// applied. Nothing of the tail may be in an own snapshot before this is passed.
    pub replay_until: Zxid,
    /// From the epoch files; the epoch of the last zxid where there is none.
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// There was no database and a fresh one has been made.
    pub created: bool,
    /// There is no database and its absence is no proof that there never was one: this server
    /// votes for nobody until a leader has told it everything.
    pub is_lost: bool,
    /// Txns that the log has behind the snapshot.
    pub txns_behind: u64,
    /// The logs had no snapshot beneath them: one is due as soon as a role is established.
    pub wants_snapshot: bool,
    /// Txns after which the tree's digest was not the one their writer computed.
    pub mismatches: u64,
}

/// Recovers the history in the directories of `settings`, which stay locked by `disk`.
pub fn recover<D: Disk>(disk: &mut D, settings: &StorageSettings) -> Result<Recovered, Fatal> {
    let dirs = Dirs::new(settings);
    prepare::prepare_dirs(disk, settings, &dirs)?;
    prepare::remove_drafts(disk, &dirs)?;
    let initialize = dirs.log_parent.join("initialize");
    let chosen = choose_snapshot(disk, &dirs, settings)?;
    let trusts_empty = take_initialize(disk, &initialize)? || settings.autocreate_db;
    let Some(chosen) = chosen else {
        let logs = list_logs(disk, &dirs).map_err(|e| fatal("read", &dirs.logs, &e))?;
        return match (logs.is_empty(), trusts_empty) {
            (false, _) => without_snapshot(disk, settings, &dirs),
            (true, true) => fresh(disk, settings, &dirs),
            (true, false) => {
                warn!("Unexpected empty data tree, setting zxid to -1");
                if settings.is_alone { fresh(disk, settings, &dirs) } else { Ok(lost(settings)) }
            }
        };
    };
    behind_snapshot(disk, settings, &dirs, chosen)
}

/// A snapshot that was read to its last seal.
struct Chosen {
    zxid: Zxid,
    state: State,
    trailers: SnapshotTrailers,
}

impl Chosen {
    /// The zxid up to which txns may be in the snapshot in part. Both trailers were written at its
    /// end; where neither says anything, every txn of the log may be.
    fn replay_until(&self) -> Zxid {
        let digest = self.trailers.digest.map(|(zxid, _)| zxid).filter(|zxid| *zxid > Zxid::ZERO);
        match digest.max(self.trailers.last_processed) {
            Some(end) => end.max(self.zxid),
            None => Zxid(i64::MAX),
        }
    }
}

fn choose_snapshot<D: Disk>(
    disk: &mut D,
    dirs: &Dirs,
    settings: &StorageSettings,
) -> Result<Option<Chosen>, Fatal> {
    let unread = |e: io::Error| fatal("read", &dirs.snapshots, &e);
    let mut tried = 0;
    for (zxid, form, name) in list_snapshots(disk, dirs).map_err(unread)? {
        let path = dirs.snapshots.join(&name);
        if !looks_valid(disk, &path, form).map_err(unread)? {
            info!("Invalid snapshot {}", path.display());
            continue;
        }
        if tried == SNAPSHOTS_TRIED {
            break;
        }
        tried += 1;
        info!("Reading snapshot {}", path.display());
        match load(disk, &path, zxid, form, settings) {
            Ok((state, trailers)) => {
                let synced = sync_file(disk, &path).and_then(|()| disk.sync_dir(&dirs.snapshots));
                synced.map_err(|e| unsynced("sync", &path, &e))?;
                return Ok(Some(Chosen { zxid, state, trailers }));
            }
            Err(reason) => warn!("problem reading snap file {}: {reason}", path.display()),
        }
    }
    if tried > 0 {
        let text = format!("Not able to find valid snapshots in {}", dirs.snapshots.display());
        return Err(Fatal::LogDamaged(text));
    }
    Ok(None)
}

fn load<D: Disk>(
    disk: &mut D,
    path: &Path,
    zxid: Zxid,
    form: Compression,
    settings: &StorageSettings,
) -> Result<(State, SnapshotTrailers), String> {
    let mut loader = State::loader(&settings.state);
    loader.expect_image_of(file_bytes(disk, path).unwrap_or(0));
    let trailers = read_snapshot(disk, path, form, &mut |item| add(&mut loader, item))?;
    Ok((loader.finish(zxid), trailers))
}

fn file_bytes<D: Disk>(disk: &mut D, path: &Path) -> io::Result<u64> {
    let file = disk.open(path, OpenMode::Read)?;
    let bytes = disk.len(file);
    disk.close(file);
    bytes
}

fn add(loader: &mut StateLoader, item: SnapshotItem<'_>) -> Result<(), String> {
    match item {
        SnapshotItem::Session { id, timeout_ms } => loader.session(id, timeout_ms),
        SnapshotItem::Acl { id, list } => loader.acl(id, list),
        SnapshotItem::Node(node) => {
            let stat = NodeStat {
                czxid: node.czxid,
                mzxid: node.mzxid,
                pzxid: node.pzxid,
                ctime: node.ctime,
                mtime: node.mtime,
                version: node.version,
                cversion: node.cversion,
                aversion: node.aversion,
                owner: node.owner,
            };
            return loader.node(&node.path, node.data, node.acl, stat).map_err(|e| e.to_string());
        }
        SnapshotItem::End(_) | SnapshotItem::More => {}
    }
    Ok(())
}

/// The usual case: a snapshot and what the log has behind it.
fn behind_snapshot<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
    chosen: Chosen,
) -> Result<Recovered, Fatal> {
    let (snapshot_zxid, replay_until) = (chosen.zxid, chosen.replay_until());
    let digest = chosen.trailers.digest;
    let mut replay = Replay::new(chosen.state, settings, replay_until, digest);
    replay.compare_snapshot();
    let mut txns_behind = 0;
    let last = replay_logs(disk, dirs, settings.unsynced_bytes, snapshot_zxid, &mut |entry| {
        txns_behind += 1;
        replay.take(entry);
        Ok(())
    })?;
    if replay.held.is_empty() {
        replay.settle(); // otherwise the digests of what is held back tell
    }
    let last_logged = last.map_or(snapshot_zxid, |last| last.max(snapshot_zxid));
    if let Some((zxid, _)) = digest.filter(|(zxid, _)| *zxid > last_logged) {
        warn!(
            "Highest txn zxid 0x{last_logged:x} is not covering the snapshot digest zxid \
             0x{zxid:x}, which might lead to inconsistent state"
        );
    }
    if last_logged > LAST_ZXID {
        return Err(Fatal::LogDamaged(format!(
            "{} holds zxid 0x{last_logged:x}, behind which no history can go on; a file's name or \
             a record is wrong",
            dirs.logs.display()
        )));
    }
    let (accepted_epoch, current_epoch) = epochs(disk, dirs, last_logged)?;
    Ok(Recovered {
        state: replay.state,
        tail: replay.held.into(),
        mismatches: replay.mismatches,
        last_logged,
        snapshot_zxid,
        replay_until: replay_until.min(last_logged),
        accepted_epoch,
        current_epoch,
        created: false,
        is_lost: false,
        txns_behind,
        wants_snapshot: false,
    })
}

/// Logs alone: somebody's snapshots are gone, unless the operator says that there never were any.
fn without_snapshot<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
) -> Result<Recovered, Fatal> {
    let words = "No snapshot found, but there are log entries. ";
    if !settings.trust_empty_snapshot {
        return Err(Fatal::LogDamaged(format!(
            "{words}Something is broken! ({}; zookeeper.snapshot.trust.empty=true replays them \
             from nothing)",
            dirs.logs.display()
        )));
    }
    warn!("{words}This should only be allowed during upgrading.");
    let state = State::new(&settings.state);
    let chosen = Chosen { zxid: Zxid::ZERO, state, trailers: SnapshotTrailers::default() };
    let trailers = SnapshotTrailers { last_processed: Some(Zxid::ZERO), ..chosen.trailers };
    let recovered = behind_snapshot(disk, settings, dirs, Chosen { trailers, ..chosen })?;
    Ok(Recovered { wants_snapshot: true, ..recovered })
}

/// An empty directory: its first snapshot is durable before any log is, for a log without a
/// snapshot is refused, by Java as by us.
fn fresh<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
) -> Result<Recovered, Fatal> {
    let mut state = State::new(&settings.state);
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut bytes);
    let body = bytes.len();
    state.snapshot_begin();
    while !state.snapshot_step(usize::MAX, &mut bytes) {}
    writer.cover(&bytes[body..]);
    // Java's numbers for a tree that no txn has touched.
    let digest = settings.state.digest.then_some((Zxid::ZERO, 0));
    let last_processed = settings.trailing_zxid.then_some(Zxid::ZERO);
    writer.finish(&SnapshotTrailers { digest, last_processed }, &mut bytes);
    let path = dirs.snapshot(Zxid::ZERO, Compression::None);
    write_durably(disk, dirs, &path, &bytes).map_err(|e| fatal("write", &path, &e))?;
    info!("Snapshotting: 0x0 to {}", path.display());
    Ok(Recovered { created: true, is_lost: false, ..lost_with(state) })
}

fn lost(settings: &StorageSettings) -> Recovered {
    lost_with(State::new(&settings.state))
}

fn lost_with(state: State) -> Recovered {
    Recovered {
        state,
        tail: Vec::new(),
        mismatches: 0,
        last_logged: Zxid::ZERO,
        snapshot_zxid: Zxid::ZERO,
        replay_until: Zxid::ZERO,
        accepted_epoch: 0,
        current_epoch: 0,
        created: false,
        is_lost: true,
        txns_behind: 0,
        wants_snapshot: false,
    }
}

/// Applies what is read, but holds the end of the last epoch back.
struct Replay {
    state: State,
    held: VecDeque<Entry>,
    hold_back: usize,
    replay_until: Zxid,
    snapshot_digest: Option<(Zxid, u64)>,
    /// The snapshot's digest was not the tree's; the next txn's tells what that means.
    doubt: Option<Mismatch>,
    compares: bool,
    mismatches: u64,
    applied: Applied,
}

#[derive(Clone, Copy)]
struct Mismatch {
    zxid: Zxid,
    expected: u64,
    actual: u64,
}

impl Replay {
    fn new(
        state: State,
        settings: &StorageSettings,
        replay_until: Zxid,
        snapshot_digest: Option<(Zxid, u64)>,
    ) -> Replay {
        Replay {
            state,
            held: VecDeque::new(),
            hold_back: settings.hold_back,
            replay_until,
            snapshot_digest: snapshot_digest.filter(|(zxid, _)| *zxid > Zxid::ZERO),
            doubt: None,
            compares: settings.state.digest,
            mismatches: 0,
            applied: Applied::default(),
        }
    }

    fn take(&mut self, entry: Entry) {
        let epoch = entry.header.zxid.epoch();
        self.held.push_back(entry);
        while let Some(first) = self.held.front()
            && (self.held.len() > self.hold_back || first.header.zxid.epoch() != epoch)
            && let Some(entry) = self.held.pop_front()
        {
            self.apply(&entry);
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let zxid = entry.header.zxid;
        let mode = if zxid <= self.replay_until { Mode::Replay } else { Mode::Exact };
        self.state.apply(&entry.header, &entry.txn, mode, &mut self.applied);
        if let Some(digest) = entry.digest.filter(|digest| digest.version == DIGEST_VERSION) {
            self.compare(zxid, digest.tree, mode);
        }
        self.compare_snapshot();
    }

    fn compare(&mut self, zxid: Zxid, expected: u64, mode: Mode) {
        let actual = self.state.digest();
        if !self.compares {
            return;
        }
        if expected == actual {
            if let Some(doubt) = self.doubt.take() {
                info!(
                    "The snapshot held a part of what followed its digest's txn 0x{:x}; at txn \
                     0x{zxid:x} the digests agree",
                    doubt.zxid
                );
            }
        } else if mode == Mode::Exact {
            self.settle();
            self.report(Mismatch { zxid, expected, actual });
        }
    }

    /// The snapshot's own digest should hold once its last txn has been applied. Java asks for
    /// that txn's zxid when its walk is done, and applies the next one meanwhile: the snapshot may
    /// hold a part of this. It is no fault where the tree has that txn's digest afterwards.
    fn compare_snapshot(&mut self) {
        if let Some((zxid, expected)) = self.snapshot_digest
            && self.compares
            && zxid == self.state.last_zxid()
        {
            self.snapshot_digest = None;
            let actual = self.state.digest();
            self.doubt = (expected != actual).then_some(Mismatch { zxid, expected, actual });
        }
    }

    /// Nothing explains a difference that is still in doubt.
    fn settle(&mut self) {
        if let Some(doubt) = self.doubt.take() {
            self.report(doubt);
        }
    }

    /// Never fatal, as in Java; one line and a count, for one difference makes all after it differ.
    fn report(&mut self, mismatch: Mismatch) {
        self.mismatches += 1;
        if self.mismatches == 1 {
            let Mismatch { zxid, expected, actual } = mismatch;
            warn!(
                "First digest mismatch on txn: 0x{zxid:x}, expected digest is {expected:x}, \
                 actual digest is {actual:x}"
            );
        }
    }
}

/// The epoch files, synced before they are believed.
fn epochs<D: Disk>(disk: &mut D, dirs: &Dirs, last: Zxid) -> Result<(i64, i64), Fatal> {
    let mut read = |which: EpochFile| {
        let path = dirs.snapshots.join(epoch_file_name(which));
        let bytes = read_small(disk, &path).map_err(|e| fatal("read", &path, &e))?;
        let Some(bytes) = bytes else { return Ok(i64::from(last.epoch())) };
        sync_file(disk, &path).map_err(|e| unsynced("sync", &path, &e))?;
        let text = format!("{} does not hold a number", path.display());
        parse_epoch(&bytes).ok_or(Fatal::DataDir(text))
    };
    Ok((read(EpochFile::Accepted)?, read(EpochFile::Current)?))
}

/// Whether the operator's one-shot marker was there; it is gone now.
fn take_initialize<D: Disk>(disk: &mut D, path: &Path) -> Result<bool, Fatal> {
    let unread = |e: io::Error| fatal("remove", path, &e);
    let there = read_small(disk, path).map_err(unread)?.is_some();
    if there {
        info!("Initialize file found, an empty database will not block voting participation");
        remove_if_there(disk, path).map_err(unread)?;
    }
    Ok(there)
}

fn sync_file<D: Disk>(disk: &mut D, path: &Path) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Read)?;
    let synced = disk.sync(file);
    disk.close(file);
    synced
}

fn write_durably<D: Disk>(disk: &mut D, dirs: &Dirs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = dirs.snapshot_draft(Zxid::ZERO);
    let file = disk.open(&draft, OpenMode::Create)?;
    let written = disk.write_at(file, 0, bytes).and_then(|()| disk.sync(file));
    disk.close(file);
    written?;
    disk.rename(&draft, path)?;
    disk.sync_dir(&dirs.snapshots)
}

/// Java looks at no more snapshots than this.
const SNAPSHOTS_TRIED: usize = 100;

/// Far beyond what any ensemble reaches, and far enough below the end for a life of writes.
const LAST_ZXID: Zxid = Zxid(i64::MAX - (1 << 48));
