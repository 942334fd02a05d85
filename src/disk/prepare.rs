//! Before anything is read: the directories exist, are ours alone and hold what they should.

use std::io;
use std::path::Path;

use crate::base::Fatal;

use super::dirs::{
    Dirs, SNAPSHOT_DRAFT_PREFIX, SPARE_DRAFT_OF_CHORES, SPARE_DRAFT_OF_LOG, SPARE_NAME,
};
use super::log_writer::{fatal, unsynced};
use super::settings::StorageSettings;
use super::{Disk, OpenMode};

/// Creates and locks the directories, and refuses those that somebody has mixed up.
pub fn prepare_dirs<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    dirs: &Dirs,
) -> Result<(), Fatal> {
    ensure_dir(disk, &dirs.logs, "data", settings.autocreate_dirs)?;
    ensure_dir(disk, &dirs.snapshots, "snap", settings.autocreate_dirs)?;
    lock(disk, &dirs.snapshots)?;
    if !dirs.are_separate() {
        return Ok(());
    }
    lock(disk, &dirs.logs)?;
    let misplaced = [
        (&dirs.logs, "snapshot.", "Log directory has snapshot files"),
        (&dirs.snapshots, "log.", "Snapshot directory has log files"),
    ];
    for (dir, prefix, words) in misplaced {
        let files = disk.list(dir).map_err(|e| fatal("read", dir, &e))?;
        if let Some(file) = files.iter().find(|f| f.name.starts_with(prefix)) {
            return Err(Fatal::DataDir(format!(
                "{words}. Check if dataLogDir and dataDir configuration is correct. ({})",
                dir.join(&file.name).display()
            )));
        }
    }
    Ok(())
}

fn ensure_dir<D: Disk>(
    disk: &mut D,
    dir: &Path,
    which: &str,
    autocreate: bool,
) -> Result<(), Fatal> {
    let shown = dir.display();
    if !disk.dir_exists(dir) {
        if !autocreate {
            return Err(Fatal::DataDir(format!(
                "Missing {which} directory {shown}, automatic data directory creation is \
                 disabled (zookeeper.datadir.autocreate is false). Please create this directory \
                 manually."
            )));
        }
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !disk.dir_exists(dir);
        let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
        disk.create_dir(dir).map_err(|e| {
            Fatal::DataDir(format!("Unable to create {which} directory {shown}: {e}"))
        })?;
        // The directories themselves must outlive a crash that what is in them outlives.
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            disk.sync_dir(parent).map_err(|e| unsynced("sync", parent, &e))?;
        }
    }
    let probe = dir.join(PROBE_NAME);
    let written = disk.open(&probe, OpenMode::Create).map(|file| disk.close(file));
    written
        .and_then(|()| disk.remove(&probe))
        .map_err(|e| Fatal::DataDir(format!("Cannot write to {which} directory {shown}: {e}")))
}

fn lock<D: Disk>(disk: &mut D, dir: &Path) -> Result<(), Fatal> {
    disk.lock_dir(dir).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Fatal::Locked(format!(
            "{} is used by another running server: stop it, or give this one its own directory",
            dir.display()
        )),
        _ => Fatal::DataDir(format!("cannot lock {}: {e}", dir.display())),
    })
}

/// Removes what an earlier run of ours left half made. Nothing of it was ever counted on.
pub fn remove_drafts<D: Disk>(disk: &mut D, dirs: &Dirs) -> Result<(), Fatal> {
    let spares = [SPARE_NAME, SPARE_DRAFT_OF_LOG, SPARE_DRAFT_OF_CHORES];
    for dir in [&dirs.snapshots, &dirs.logs] {
        for file in disk.list(dir).map_err(|e| fatal("read", dir, &e))? {
            let is_draft = spares.contains(&file.name.as_str())
                || file.name.starts_with(SNAPSHOT_DRAFT_PREFIX);
            if is_draft {
                let path = dir.join(&file.name);
                disk.remove(&path).map_err(|e| fatal("remove", &path, &e))?;
            }
        }
    }
    Ok(())
}

const PROBE_NAME: &str = ".zkd-probe";
