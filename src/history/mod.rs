//! Log and snapshot formats over byte slices: records, scan, the recovery verdict, what purge may
//! take, and the storage commands in which the other rooms speak of them.
//!
//! Decides what bytes on a disk mean. Never touches a file.

mod command;

pub use command::{ChoreCommand, EpochFile, StorageCommand, StorageEvent};
