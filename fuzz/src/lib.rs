//! What each fuzz target does with its bytes. No target panics; what a record encodes to decodes
//! to the same record; decoding holds at most four times its input, with what a single item of a
//! list costs stated beside the target. `scripts/fuzz` builds and runs them.

mod allocation;
mod encode;
mod peers;
mod proof;
mod storage;
mod stores;
mod text;
mod wire;

use std::sync::OnceLock;

pub use peers::{election, quorum};
pub use proof::{jaas, sasl};
pub use storage::{apply, packed, snapshot, txn_log};
pub use stores::stores;
pub use text::config;
pub use wire::{connect, frames, multi, request, words};

/// The planted panic waits behind this word in the deepest field of a target's records. The word
/// is in the dictionary of such a run: what it shows is that mutation comes as deep as that and
/// puts there what it likes, within a record that still decodes.
const DEEP: &[u8; 4] = b"deep";

/// Panics over the planted word when `ZKD_FUZZ_PLANTED` is set.
fn planted(field: &[u8]) {
    static IS_PLANTED: OnceLock<bool> = OnceLock::new();
    if field.windows(DEEP.len()).any(|word| word == DEEP) {
        let is_set = || std::env::var_os("ZKD_FUZZ_PLANTED").is_some();
        assert!(!*IS_PLANTED.get_or_init(is_set), "the planted panic");
    }
}
