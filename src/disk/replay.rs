//! Rebuilds a state from a snapshot's and the txns behind it, and compares digests on the way.

use std::collections::VecDeque;

use log::{info, warn};

use crate::base::Zxid;
use crate::proto::{DIGEST_VERSION, Entry};
use crate::state::{Applied, Mode, State};

use super::settings::StorageSettings;

/// Applies what is read, but holds the end of the last epoch back.
pub struct Replay {
    state: State,
    held: VecDeque<Entry>,
    hold_back: usize,
    replay_until: Zxid,
    snapshot_digest: Option<(Zxid, u64)>,
    /// The snapshot's digest was not the tree's; the next txn's tells what that means.
    doubt: Option<Mismatch>,
    compares: bool,
    mismatches: u64,
    applied: Applied,
}

/// What came of it.
pub struct Rebuilt {
    pub state: State,
    /// What is held back, ascending.
    pub tail: Vec<Entry>,
    pub mismatches: u64,
}

#[derive(Clone, Copy)]
struct Mismatch {
    zxid: Zxid,
    expected: u64,
    actual: u64,
}

impl Replay {
    pub fn new(
        state: State,
        settings: &StorageSettings,
        replay_until: Zxid,
        snapshot_digest: Option<(Zxid, u64)>,
    ) -> Replay {
        Replay {
            state,
            held: VecDeque::new(),
            hold_back: settings.hold_back,
            replay_until,
            snapshot_digest: snapshot_digest.filter(|(zxid, _)| *zxid > Zxid::ZERO),
            doubt: None,
            compares: settings.state.digest,
            mismatches: 0,
            applied: Applied::default(),
        }
    }

    pub fn take(&mut self, entry: Entry) {
        let epoch = entry.header.zxid.epoch();
        self.held.push_back(entry);
        while let Some(first) = self.held.front()
            && (self.held.len() > self.hold_back || first.header.zxid.epoch() != epoch)
            && let Some(entry) = self.held.pop_front()
        {
            self.apply(&entry);
        }
    }

    pub fn finish(mut self) -> Rebuilt {
        if self.held.is_empty() {
            self.settle(); // otherwise the digests of what is held back tell
        }
        Rebuilt { state: self.state, tail: self.held.into(), mismatches: self.mismatches }
    }

    fn apply(&mut self, entry: &Entry) {
        let zxid = entry.header.zxid;
        let mode = if zxid <= self.replay_until { Mode::Replay } else { Mode::Exact };
        self.state.apply(&entry.header, &entry.txn, mode, &mut self.applied);
        if let Some(digest) = entry.digest.filter(|digest| digest.version == DIGEST_VERSION) {
            self.compare(zxid, digest.tree, mode);
        }
        self.compare_snapshot();
    }

    fn compare(&mut self, zxid: Zxid, expected: u64, mode: Mode) {
        let actual = self.state.digest();
        if !self.compares {
            return;
        }
        if expected == actual {
            if let Some(doubt) = self.doubt.take() {
                info!(
                    "The snapshot held a part of what followed its digest's txn 0x{:x}; at txn \
                     0x{zxid:x} the digests agree",
                    doubt.zxid
                );
            }
        } else if mode == Mode::Exact {
            self.settle();
            self.report(Mismatch { zxid, expected, actual });
        }
    }

    /// The snapshot's own digest should hold once its last txn has been applied. Java asks for
    /// that txn's zxid when its walk is done, and applies the next one meanwhile: the snapshot may
    /// hold a part of this. It is no fault where the tree has that txn's digest afterwards.
    pub fn compare_snapshot(&mut self) {
        if let Some((zxid, expected)) = self.snapshot_digest
            && self.compares
            && zxid == self.state.last_zxid()
        {
            self.snapshot_digest = None;
            let actual = self.state.digest();
            self.doubt = (expected != actual).then_some(Mismatch { zxid, expected, actual });
        }
    }

    /// Nothing explains a difference that is still in doubt.
    fn settle(&mut self) {
        if let Some(doubt) = self.doubt.take() {
            self.report(doubt);
        }
    }

    /// Never fatal, as in Java; one line and a count, for one difference makes all after it differ.
    fn report(&mut self, mismatch: Mismatch) {
        self.mismatches += 1;
        if self.mismatches == 1 {
            let Mismatch { zxid, expected, actual } = mismatch;
            warn!(
                "First digest mismatch on txn: 0x{zxid:x}, expected digest is {expected:x}, \
                 actual digest is {actual:x}"
            );
        }
    }
}
