//! Snapshots that cannot be read, and whether txns are missing with them.

use crate::base::Zxid;
use crate::zab::Continuity;

/// Those above the snapshot that a history begins with.
#[derive(Debug, Default)]
pub struct Unreadable {
    /// They end as a snapshot does: they were whole once, and history may have gone on from them.
    pub broken: Vec<Zxid>,
    /// They do not. Java leaves such a one when it is killed, for it writes to the final name; but
    /// a file may also have lost its end later.
    pub cut_short: Vec<Zxid>,
}

impl Unreadable {
    /// Whether one of them may have led from one record of the log to the next: what is missing
    /// then is what it had. Numbers that are left out are no hole for themselves.
    pub fn may_bridge(&self, before: Zxid, zxid: Zxid) -> bool {
        let lies_there = |at: &Zxid| before < *at && *at < zxid;
        // No record has an epoch's beginning, so these numbers say nothing: what came before an
        // image of it need not lead up to it (as in `stretch`), unless it was never finished.
        let goes_on = Continuity::of(before, zxid) == Continuity::Next;
        let is_passed = |at: &Zxid| goes_on && at.counter() == 0;
        self.broken.iter().any(lies_there)
            || self.cut_short.iter().any(|at| lies_there(at) && !is_passed(at))
    }

    /// Whether one of them held what the log has not. What was never finished nobody relied on.
    pub fn reaches_beyond(&self, last: Zxid) -> bool {
        self.broken.iter().any(|at| *at > last)
    }
}
