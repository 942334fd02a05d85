//! From two directories to the state they hold: Java's rules of choosing a snapshot, the log
//! behind it, and everything synced before it is believed.

use std::io;
use std::path::Path;

use log::{info, warn};

use crate::base::{Fatal, Zxid};
use crate::history::{
    Behind, Compression, SnapshotItem, SnapshotTrailers, SnapshotWriter, parse_log_name,
    parse_snapshot_name,
};
use crate::proto::Entry;
use crate::state::{State, StateLoader};

use super::dirs::Dirs;
use super::epochs::EpochFiles;
use super::listing::{list_logs, list_snapshots};
use super::log_recovery::{Manner, read_logs};
use super::log_writer::{fatal, unsynced};
use super::replay::Replay;
use super::settings::StorageSettings;
use super::snapshot_file::{looks_valid, read_snapshot, sync_file};
use super::truncate::remove_if_there;
use super::unreadable::Unreadable;
use super::{Disk, OpenMode, prepare, read_small};

/// What the disk holds.
pub struct Recovered {
    pub state: State,
    /// The last txns of the last epoch, not applied: a leader may still cut them. Ascending.
    pub tail: Vec<Entry>,
    pub last_logged: Zxid,
    /// The snapshot that the state was rebuilt from.
    pub snapshot_zxid: Zxid,
    /// The highest zxid of any record or snapshot that lies there, of use or not.
    pub on_disk: Zxid,
    /// Up to here txns are applied by the tolerant rules: the snapshot was taken while they were
    /// applied. Nothing of the tail may be in an own snapshot before this is passed.
    pub replay_until: Zxid,
    /// From the epoch files; the epoch of the last zxid where there is none.
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// There was no database and a fresh one has been made.
    pub created: bool,
    /// This disk does not give back what it once held: it was marked so, or there is no database
    /// and its absence is no proof that there never was one, or what led to the end of the log is
    /// gone. This server votes for nobody until a leader has told it everything.
    pub is_lost: bool,
    pub behind: Behind,
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
    load(disk, settings, &dirs, Manner::AtStart)
}

/// The same once more, while the threads run over the directories: nothing is handed over to the
/// log thread, so what it left there is whole and on disk, and is only read.
pub fn recover_again<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
) -> Result<Recovered, Fatal> {
    load(disk, settings, &Dirs::new(settings), Manner::Again)
}

fn load<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
    manner: Manner,
) -> Result<Recovered, Fatal> {
    let mark = read_small(disk, &dirs.lost()).map_err(|e| fatal("read", &dirs.lost(), &e))?;
    let is_marked = mark.is_some();
    let files = EpochFiles::read(disk, dirs)?;
    let had_history = !settings.is_alone && (is_marked || files.tell_of_history());
    let mut recovered = match history(disk, settings, dirs, manner, had_history) {
        Err(Fatal::LogDamaged(reason)) if is_marked => {
            warn!("{reason}");
            lost(settings)
        }
        found => found?,
    };
    recovered.is_lost |= is_marked;
    let epochs = files.judge(settings, recovered.last_logged)?;
    if manner == Manner::AtStart && !settings.is_alone && !recovered.is_lost {
        files.complete(disk, dirs, epochs)?;
    }
    let named = highest_named(disk, dirs).map_err(|e| fatal("read", &dirs.snapshots, &e))?;
    recovered.on_disk = named.max(recovered.last_logged);
    (recovered.accepted_epoch, recovered.current_epoch) = (epochs.accepted, epochs.current);
    Ok(recovered)
}

/// `had_history`: there was one here, so an empty directory is no beginning.
fn history<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
    manner: Manner,
    had_history: bool,
) -> Result<Recovered, Fatal> {
    let chosen = choose_snapshot(disk, dirs, settings)?;
    let initialize = dirs.log_parent.join("initialize");
    let is_told = manner == Manner::AtStart && take_initialize(disk, &initialize)?;
    if let Some(chosen) = chosen {
        return behind_snapshot(disk, settings, dirs, manner, chosen);
    }
    let logs = list_logs(disk, dirs).map_err(|e| fatal("read", &dirs.logs, &e))?;
    if !logs.is_empty() {
        return without_snapshot(disk, settings, dirs, manner);
    }
    if is_told || settings.autocreate_db && !had_history {
        return fresh(disk, settings, dirs);
    }
    warn!("Unexpected empty data tree, setting zxid to -1");
    if settings.is_alone { fresh(disk, settings, dirs) } else { Ok(lost(settings)) }
}

/// What names of files say, whatever is in them.
fn highest_named<D: Disk>(disk: &mut D, dirs: &Dirs) -> io::Result<Zxid> {
    let snapshots = disk.list(&dirs.snapshots)?;
    let snapshots = snapshots.iter().filter_map(|file| Some(parse_snapshot_name(&file.name)?.0));
    let logs = disk.list(&dirs.logs)?;
    let logs = logs.iter().filter_map(|file| parse_log_name(&file.name));
    Ok(snapshots.chain(logs).max().unwrap_or_default())
}

/// A snapshot that was read to its last seal.
struct Chosen {
    zxid: Zxid,
    state: State,
    trailers: SnapshotTrailers,
    /// Later ones.
    unreadable: Unreadable,
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
    let mut unreadable = Unreadable::default();
    for (zxid, form, name) in list_snapshots(disk, dirs).map_err(unread)? {
        let path = dirs.snapshots.join(&name);
        if !looks_valid(disk, &path, form).map_err(unread)? {
            info!("Invalid snapshot {}", path.display());
            unreadable.cut_short.push(zxid);
            continue;
        }
        if unreadable.broken.len() == SNAPSHOTS_TRIED {
            break;
        }
        info!("Reading snapshot {}", path.display());
        match load_snapshot(disk, &path, zxid, form, settings) {
            Ok((state, trailers)) => {
                let synced = sync_file(disk, &path).and_then(|()| disk.sync_dir(&dirs.snapshots));
                synced.map_err(|e| unsynced("sync", &path, &e))?;
                return Ok(Some(Chosen { zxid, state, trailers, unreadable }));
            }
            Err(reason) => {
                warn!("problem reading snap file {}: {reason}", path.display());
                unreadable.broken.push(zxid);
            }
        }
    }
    if !unreadable.broken.is_empty() {
        let text = format!("Not able to find valid snapshots in {}", dirs.snapshots.display());
        return Err(Fatal::LogDamaged(text));
    }
    Ok(None)
}

fn load_snapshot<D: Disk>(
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
            return loader
                .node(&node.path, node.data, node.acl, node.stat)
                .map_err(|e| e.to_string());
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
    manner: Manner,
    chosen: Chosen,
) -> Result<Recovered, Fatal> {
    let (snapshot_zxid, replay_until) = (chosen.zxid, chosen.replay_until());
    let (digest, unreadable) = (chosen.trailers.digest, chosen.unreadable);
    let mut replay = Replay::new(chosen.state, settings, replay_until, digest);
    replay.compare_snapshot();
    let (mut behind, mut before, mut is_lost) = (Behind::default(), snapshot_zxid, false);
    let unsynced = settings.unsynced_bytes;
    let last =
        read_logs(disk, dirs, manner, unsynced, snapshot_zxid, &mut |entry: Entry, bytes| {
            let zxid = entry.header.zxid;
            behind.count(1, bytes);
            is_lost |= unreadable.may_bridge(before, zxid);
            before = zxid;
            replay.take(entry);
            Ok(())
        })?;
    let last_logged = last.map_or(snapshot_zxid, |last| last.max(snapshot_zxid));
    is_lost |= unreadable.reaches_beyond(last_logged);
    if is_lost {
        warn!(
            "What the log has does not lead to all that a snapshot held which cannot be read: \
             txns are missing"
        );
    }
    let rebuilt = replay.finish();
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
    Ok(Recovered {
        tail: rebuilt.tail,
        mismatches: rebuilt.mismatches,
        last_logged,
        snapshot_zxid,
        replay_until: replay_until.min(last_logged),
        // Alone, nobody could bring back what is missing.
        is_lost: is_lost && !settings.is_alone,
        behind,
        ..lost_with(rebuilt.state)
    })
}

/// Logs alone: somebody's snapshots are gone, unless the operator says that there never were any.
fn without_snapshot<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
    manner: Manner,
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
    let trailers = SnapshotTrailers { digest: None, last_processed: Some(Zxid::ZERO) };
    let unreadable = Unreadable::default();
    let chosen = Chosen { zxid: Zxid::ZERO, state, trailers, unreadable };
    let recovered = behind_snapshot(disk, settings, dirs, manner, chosen)?;
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
        on_disk: Zxid::ZERO,
        snapshot_zxid: Zxid::ZERO,
        replay_until: Zxid::ZERO,
        accepted_epoch: 0,
        current_epoch: 0,
        created: false,
        is_lost: true,
        behind: Default::default(),
        wants_snapshot: false,
    }
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
