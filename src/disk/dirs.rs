//! Where things lie.

use std::path::PathBuf;

use crate::base::Zxid;
use crate::history::{Compression, log_name, snapshot_name};

use super::settings::StorageSettings;

/// The two `version-2` directories, which may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    pub snapshots: PathBuf,
    pub logs: PathBuf,
    /// `initialize` lies here, beside the log directory.
    pub log_parent: PathBuf,
}

impl Dirs {
    pub fn new(settings: &StorageSettings) -> Dirs {
        Dirs {
            snapshots: settings.data_dir.join("version-2"),
            logs: settings.log_dir.join("version-2"),
            log_parent: settings.log_dir.clone(),
        }
    }

    pub fn are_separate(&self) -> bool {
        self.snapshots != self.logs
    }

    pub fn log(&self, first: Zxid) -> PathBuf {
        self.logs.join(log_name(first))
    }

    pub fn snapshot(&self, zxid: Zxid, compression: Compression) -> PathBuf {
        self.snapshots.join(snapshot_name(zxid, compression))
    }

    /// A snapshot before it is whole. Neither Java nor its purge takes it for one.
    pub fn snapshot_draft(&self, zxid: Zxid) -> PathBuf {
        self.snapshots.join(format!("{SNAPSHOT_DRAFT_PREFIX}{zxid:x}"))
    }

    /// The log file made ahead, and the same while it is being made.
    pub fn spare(&self) -> PathBuf {
        self.logs.join(SPARE_NAME)
    }

    pub fn spare_draft(&self, maker: SpareMaker) -> PathBuf {
        self.logs.join(match maker {
            SpareMaker::Log => SPARE_DRAFT_OF_LOG,
            SpareMaker::Chores => SPARE_DRAFT_OF_CHORES,
        })
    }

    pub fn mark(&self) -> PathBuf {
        self.logs.join(MARK_NAME)
    }

    /// While it is there, this disk does not give back what it once held.
    pub fn lost(&self) -> PathBuf {
        self.snapshots.join(LOST_NAME)
    }
}

/// Which thread makes a log file: each has its own draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpareMaker {
    Log,
    Chores,
}

pub const SPARE_NAME: &str = ".zkd-next";
pub const SPARE_DRAFT_OF_LOG: &str = ".zkd-next-log";
pub const SPARE_DRAFT_OF_CHORES: &str = ".zkd-next-chores";
pub const SNAPSHOT_DRAFT_PREFIX: &str = ".zkd-snapshot.";
pub const MARK_NAME: &str = ".zkd-synced";
pub const LOST_NAME: &str = ".zkd-lost";
pub const SINCE_NAME: &str = ".zkd-since";
/// What `zkServer.sh` writes, in the data directory itself.
pub const JAVA_PID_FILE: &str = "zookeeper_server.pid";
