//! What storage is told at its start.

use std::path::PathBuf;

use crate::base::limits;
use crate::history::Compression;
use crate::state::StateSettings;

/// Paths are those of the configuration: `version-2` is below them.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    pub data_dir: PathBuf,
    /// `dataLogDir`, the same as `data_dir` where it is not set.
    pub log_dir: PathBuf,
    /// `zookeeper.datadir.autocreate`
    pub autocreate_dirs: bool,
    /// `zookeeper.db.autocreate`: an empty directory is a fresh database, not a lost one.
    pub autocreate_db: bool,
    /// No other server could bring back what is missing here: an empty directory is a beginning.
    pub is_alone: bool,
    /// `zookeeper.snapshot.trust.empty`: logs without any snapshot are replayed from nothing.
    pub trust_empty_snapshot: bool,
    /// `zookeeper.forceSync`
    pub force_sync: bool,
    /// `fsync.warningthresholdms`
    pub sync_warning_ms: u64,
    /// `zookeeper.preAllocSize`
    pub preallocate_bytes: u64,
    /// `zookeeper.snapshot.compression.method`
    pub compression: Compression,
    /// `zookeeper.serializeLastProcessedZxid.enabled`
    pub trailing_zxid: bool,
    /// What the state that recovery builds is told.
    pub state: StateSettings,
    /// Last txns that recovery leaves unapplied, for a leader to confirm or to cut.
    pub hold_back: usize,
    /// How far behind the end un-synced bytes may lie; smaller in tests.
    pub unsynced_bytes: u64,
}

impl StorageSettings {
    /// Java's defaults, everything in one directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> StorageSettings {
        let data_dir = data_dir.into();
        StorageSettings {
            log_dir: data_dir.clone(),
            data_dir,
            autocreate_dirs: true,
            autocreate_db: true,
            is_alone: true,
            trust_empty_snapshot: false,
            force_sync: true,
            sync_warning_ms: 1000,
            preallocate_bytes: 64 * 1024 * 1024,
            compression: Compression::None,
            trailing_zxid: true,
            state: StateSettings::default(),
            hold_back: 0,
            unsynced_bytes: limits::UNSYNCED_BYTES as u64,
        }
    }
}
