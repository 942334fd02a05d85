//! Log and snapshot formats over byte slices: records, scan, the recovery verdict, what purge may
//! take, and the storage commands in which the other rooms speak of them.
//!
//! Decides what bytes on a disk mean. Never touches a file.

mod command;
mod compress;
mod epoch;
#[cfg(test)]
mod golden_tests;
mod mark;
mod names;
mod purge;
mod record;
mod snapshot_reader;
#[cfg(test)]
mod snapshot_tests;
mod snapshot_writer;
mod verdict;

pub use command::{Behind, ChoreCommand, EpochFile, LogPlace, StorageCommand, StorageEvent};
pub use compress::{Compression, Compressor, Decompressor, is_valid_ending, is_valid_opening};
pub use epoch::{epoch_file_name, epoch_text, parse_epoch};
pub use mark::SideMark;
pub use names::{log_name, parse_log_name, parse_snapshot_name, snapshot_name};
pub use purge::{LogFile, Purge, SnapshotFile, purge_plan};
pub use record::{
    BadFrame, FRAME_BYTES, FRAME_HEAD_BYTES, Frame, LOG_HEADER, LOG_HEADER_BYTES, append_framed,
    append_record, frame, frame_length, is_log_header, record_zxid,
};
pub use snapshot_reader::{NodeRecord, SnapshotError, SnapshotItem, SnapshotReader};
pub use snapshot_writer::{SnapshotTrailers, SnapshotWriter};
pub use verdict::{SegmentEnd, Verdict, verdict};
