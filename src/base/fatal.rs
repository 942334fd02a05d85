//! Why the process ends, and with which exit status.

use std::fmt;

/// A reason to stop. Java's statuses where Java has one, our own from 20 up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// Anything unexpected (Java: UNEXPECTED_ERROR).
    Unexpected(String),
    /// Arguments or configuration.
    InvalidInvocation(String),
    /// The data directories cannot be used.
    DataDir(String),
    /// A snapshot could not be written.
    Snapshot(String),
    /// A COMMIT named another txn than the one that waits.
    CommitMismatch(String),
    /// A peer's packet made no sense, or a truncation failed.
    BadPacket(String),
    /// The election port could not be bound.
    ElectionBind(String),
    /// No space left for the log.
    DiskFull(String),
    /// A write or a sync of the log failed; nothing after it may be believed.
    SyncFailed(String),
    /// A log or snapshot is damaged where it must be whole.
    LogDamaged(String),
    /// Another process holds the data directory.
    Locked(String),
    /// The client port could not be bound.
    ClientBind(String),
}

impl Fatal {
    /// The exit status, an interface that supervisors read.
    pub fn exit_status(&self) -> i32 {
        match self {
            Fatal::Unexpected(_) => 1,
            Fatal::InvalidInvocation(_) => 2,
            Fatal::DataDir(_) => 3,
            Fatal::Snapshot(_) => 10,
            Fatal::CommitMismatch(_) => 12,
            Fatal::BadPacket(_) => 13,
            Fatal::ElectionBind(_) => 14,
            Fatal::DiskFull(_) => 20,
            Fatal::SyncFailed(_) => 21,
            Fatal::LogDamaged(_) => 22,
            Fatal::Locked(_) => 23,
            // Java ends with 1 where a client port is taken.
            Fatal::ClientBind(_) => 1,
        }
    }

    pub fn reason(&self) -> &str {
        match self {
            Fatal::Unexpected(s)
            | Fatal::InvalidInvocation(s)
            | Fatal::DataDir(s)
            | Fatal::Snapshot(s)
            | Fatal::CommitMismatch(s)
            | Fatal::BadPacket(s)
            | Fatal::ElectionBind(s)
            | Fatal::DiskFull(s)
            | Fatal::SyncFailed(s)
            | Fatal::LogDamaged(s)
            | Fatal::Locked(s)
            | Fatal::ClientBind(s) => s,
        }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Fatal {}
