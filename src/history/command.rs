//! The ordered storage queue, the chores beside it, and what comes back.

use bytes::Bytes;

use crate::base::{ConnId, Fatal, Ticket, Zxid};

/// The epoch files of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EpochFile {
    Accepted,
    Current,
}

/// What the log has behind a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    pub txns: u64,
    pub bytes: u64,
}

impl Behind {
    pub fn count(&mut self, txns: u64, bytes: u64) {
        self.txns += txns;
        self.bytes += bytes;
    }
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
    /// Removes what lies above the snapshot of `zxid`: other snapshots, and log records from the
    /// first one on that is not the next of `sent`. `CutAt` says where the log ends then.
    CutAbove {
        ticket: Ticket,
        zxid: Zxid,
        sent: Vec<Zxid>,
    },
    /// This disk does not give back what it once held: recovery says so until it is cleared.
    MarkLost {
        ticket: Ticket,
    },
    ClearLost {
        ticket: Ticket,
    },
    /// Files beside the data, by their paths: each is replaced whole, or removed where there are
    /// no bytes, in this order.
    ReplaceFiles {
        ticket: Ticket,
        files: Vec<(String, Option<Bytes>)>,
    },
}

impl StorageCommand {
    pub fn ticket(&self) -> Ticket {
        match self {
            StorageCommand::Append { ticket, .. }
            | StorageCommand::WriteEpoch { ticket, .. }
            | StorageCommand::Truncate { ticket, .. }
            | StorageCommand::InstallSnapshot { ticket, .. }
            | StorageCommand::CutAbove { ticket, .. }
            | StorageCommand::MarkLost { ticket }
            | StorageCommand::ClearLost { ticket }
            | StorageCommand::ReplaceFiles { ticket, .. } => *ticket,
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
    /// Gives the file up and removes it, finished or not. `SnapshotAbandoned` says that it is done.
    SnapshotAbandon,
    /// Removes what `retain` valid snapshots make superfluous.
    Purge { retain: usize },
    /// Measures both directories, for `dirs`, `conf` and `mntr`.
    MeasureDirs,
    /// Where does `zxid` stand in the log? For `reader`, who asks one thing at a time.
    ProbeLog { reader: ConnId, zxid: Zxid },
    /// Records of the log after `after`: one at least, and about so many bytes.
    ReadLog { reader: ConnId, after: Zxid, bytes: usize },
    /// Bytes of the installed snapshot of `zxid`, as a learner is sent them: from its first session
    /// to its last node. What is opened for it stays readable, whatever becomes of the file.
    ReadSnapshot { reader: ConnId, zxid: Zxid, offset: u64, bytes: usize },
    /// Nothing is read for it any more.
    CloseReader { reader: ConnId },
    /// Recovers the history once more; what comes of it is handed over whole.
    Rebuild,
}

/// What the log says of a zxid. It speaks for a history without a gap only: what lies before a
/// snapshot that came from another server is not known to lead up to it, and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The last zxid known that is not above it; none where what is known begins later.
    pub at_or_before: Option<Zxid>,
    /// The first one above it.
    pub after: Option<Zxid>,
    /// Sizes of the log files behind the one that it stands in.
    pub bytes_behind: u64,
    /// Size of the latest snapshot.
    pub snapshot_bytes: u64,
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
    /// `CutAbove` has left the log's end here. Comes before the `Durable` of its ticket.
    CutAt {
        ticket: Ticket,
        kept: Zxid,
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
    /// Nothing is left of what was written, and nothing more is said of it.
    SnapshotAbandoned,
    Purged {
        files: usize,
    },
    DirSizes {
        data: u64,
        log: u64,
    },
    LogProbed {
        reader: ConnId,
        place: LogPlace,
    },
    /// Entries as PROPOSAL carries them, ascending. `is_end`: the log has no more.
    LogRead {
        reader: ConnId,
        records: Vec<(Zxid, Bytes)>,
        is_end: bool,
    },
    SnapshotRead {
        reader: ConnId,
        bytes: Bytes,
        is_last: bool,
    },
    /// What was asked for is not there, or cannot be read.
    ReadFailed {
        reader: ConnId,
        reason: String,
    },
}
