//! The ordered storage queue, the chores beside it, and what comes back.

use bytes::Bytes;

use crate::base::{Fatal, Ticket, Zxid};

/// The epoch files of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EpochFile {
    Accepted,
    Current,
}

/// Work of the log thread, done strictly in this order. Each ends with whatever file and
/// directory syncs make it true; `Durable(ticket)` says that this and all before it are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageCommand {
    /// Whole log records, framed and checksummed, of ascending zxids `first..=last`. With `roll`
    /// the current log file ends before them and they begin a new one named `log.<first>`.
    Append {
        ticket: Ticket,
        first: Zxid,
        last: Zxid,
        bytes: Bytes,
        roll: bool,
    },
    WriteEpoch {
        ticket: Ticket,
        file: EpochFile,
        epoch: i64,
    },
    /// Removes snapshots above `zxid`, then cuts the log after it. Where what would stay cannot
    /// rebuild `zxid`, nothing is removed and `TruncateRefused` says so.
    Truncate {
        ticket: Ticket,
        zxid: Zxid,
    },
    /// Gives the finished snapshot of `zxid` its name.
    InstallSnapshot {
        ticket: Ticket,
        zxid: Zxid,
    },
}

impl StorageCommand {
    pub fn ticket(&self) -> Ticket {
        match self {
            StorageCommand::Append { ticket, .. }
            | StorageCommand::WriteEpoch { ticket, .. }
            | StorageCommand::Truncate { ticket, .. }
            | StorageCommand::InstallSnapshot { ticket, .. } => *ticket,
        }
    }
}

/// Work of the chore thread: paced, and no request waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoreCommand {
    /// Opens the temporary file of the snapshot of `zxid` (one at a time).
    SnapshotBegin { zxid: Zxid },
    /// The next bytes of its uncompressed stream, from the file header to the last seal.
    SnapshotChunk { bytes: Bytes },
    /// No more bytes: sync, then report `SnapshotWritten`.
    SnapshotEnd,
    /// Gives the file up and removes it.
    SnapshotAbandon,
    /// Removes what `retain` valid snapshots make superfluous.
    Purge { retain: usize },
    /// Measures both directories, for `dirs`, `conf` and `mntr`.
    MeasureDirs,
}

/// What storage says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageEvent {
    /// Every command up to and including this ticket is on disk. `sync_us`: the sync's own time.
    Durable {
        ticket: Ticket,
        sync_us: u64,
    },
    /// Comes before the `Durable` of its ticket.
    TruncateRefused {
        ticket: Ticket,
        zxid: Zxid,
    },
    /// A write or a sync failed. Nothing later will become durable.
    Failed(Fatal),
    /// Snapshot bytes that left the queue since the last word.
    SnapshotProgress {
        bytes: usize,
    },
    /// The snapshot lies complete and synced under its temporary name.
    SnapshotWritten {
        zxid: Zxid,
    },
    SnapshotFailed {
        zxid: Zxid,
        reason: String,
    },
    Purged {
        files: usize,
    },
    DirSizes {
        data: u64,
        log: u64,
    },
}
