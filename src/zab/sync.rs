//! How a learner is brought to the leader's history: by what it misses (DIFF), by giving up its
//! end first (TRUNC), or by the whole image (SNAP). A pure decision, after the log was asked where
//! it has to be.
//!
//! The rules come in Apache's order and choose what Apache chooses, but where that would lose a
//! txn: then it is SNAP. A learner that cannot rebuild what it was told to be asks for one by
//! saying that it has nothing (zxid 0), for which there is no place in any log.

use std::fmt;

use crate::base::Zxid;

use super::continuity::Continuity;
use super::ring::{Place, Ring};

/// What the leader knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `forceSnapshotSync`.
    pub force_snap: bool,
    /// What Apache calls the last processed zxid: the beginning of the new epoch once the leader
    /// is established, and from its first commit on the last committed.
    pub processed: Zxid,
    /// The last txn that counts as committed toward learners. All the leader has recovered does.
    pub committed: Zxid,
    pub ring: &'a Ring,
    pub log: LogSync,
}

/// How much of the log may be read for one learner: `snapshotSizeFactor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogSync {
    Off,
    /// Times the size of the latest snapshot; a product of zero bounds nothing.
    UpTo {
        snapshot_factor: f64,
    },
}

impl LogSync {
    /// A negative factor turns it off. One that is no number does so, too.
    pub fn of_factor(factor: f64) -> LogSync {
        if factor >= 0.0 { LogSync::UpTo { snapshot_factor: factor } } else { LogSync::Off }
    }

    fn permits(self, probed: &Probed) -> bool {
        let LogSync::UpTo { snapshot_factor } = self else { return false };
        // A cast of a float ends at the largest number.
        let most = (probed.snapshot_bytes as f64 * snapshot_factor) as u64;
        most == 0 || probed.bytes_behind <= most
    }
}

/// What the log says of a zxid. It speaks for a history without a gap only: what lies before a
/// snapshot that came from another server is not known to lead up to it, and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    pub place: Place,
    /// Sizes of the log files behind the one that it stands in.
    pub bytes_behind: u64,
    /// Size of the latest snapshot.
    pub snapshot_bytes: u64,
}

/// What the learner is told to do, and from where it is sent what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `zxid` is what the packet says, `after` where the learner is.
    Diff {
        zxid: Zxid,
        after: Zxid,
    },
    Trunc {
        zxid: Zxid,
    },
    Snap,
}

/// Why, for the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Forced,
    Equal,
    Ahead,
    InRing,
    InLog,
    /// What it misses is not kept any more, or not looked for.
    TooOld,
    /// Sending the image costs less.
    TooMuchLog,
    /// It has a txn of an epoch in which we have others, or none.
    OtherEpoch,
    /// It has a txn that we should have: one of us has a hole, and nobody can tell who.
    Unknown,
    /// What we have does not go on where it stands.
    Hole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Decided(Decision, Reason),
    /// The log has to be asked where this zxid stands.
    AskLog,
}

/// Decides for a learner whose history ends with `peer`. `probed` is what the log said of it.
pub fn decide(facts: &Facts<'_>, peer: Zxid, probed: Option<&Probed>) -> Verdict {
    assert!(facts.processed >= facts.committed, "what is committed is processed here");
    let snap = |reason| Verdict::Decided(Decision::Snap, reason);
    let max = facts.committed;
    let begins_epoch = peer.counter() == 0;
    if facts.force_snap {
        return snap(Reason::Forced);
    }
    if peer == facts.processed {
        let diff = Decision::Diff { zxid: peer, after: peer };
        return Verdict::Decided(diff, Reason::Equal);
    }
    if peer > max && !begins_epoch {
        // Nobody has a record of an epoch's beginning. A Java learner would keep the one behind
        // it, one of ours could not cut there.
        return match max.counter() {
            0 => snap(Reason::Unknown),
            _ => Verdict::Decided(Decision::Trunc { zxid: max }, Reason::Ahead),
        };
    }
    if peer > max {
        return snap(Reason::OtherEpoch);
    }
    // It has nothing, or asks for an image: no record is there for zero or less.
    if peer <= Zxid::ZERO {
        return snap(Reason::TooOld);
    }
    if let Some(place) = facts.ring.place(peer) {
        let (decision, reason) = by_place(place, peer, max, Reason::InRing);
        return Verdict::Decided(decision, reason);
    }
    if facts.log == LogSync::Off {
        return snap(Reason::TooOld);
    }
    let Some(probed) = probed else { return Verdict::AskLog };
    if !facts.log.permits(probed) {
        return snap(Reason::TooMuchLog);
    }
    // The ring goes on where the log ends, so something must come after it there.
    if probed.place.at_or_before.is_some() && probed.place.after.is_none() {
        return snap(Reason::Hole);
    }
    let (decision, reason) = by_place(probed.place, peer, max, Reason::InLog);
    Verdict::Decided(decision, reason)
}

fn by_place(place: Place, peer: Zxid, max: Zxid, found: Reason) -> (Decision, Reason) {
    let Some(at_or_before) = place.at_or_before else {
        return (Decision::Snap, Reason::TooOld);
    };
    // A learner at the beginning of an epoch has all that was before it, though no record of it.
    if at_or_before == peer || peer.counter() == 0 {
        let goes_on = |after| Continuity::of(peer, after) == Continuity::Next;
        return match place.after.is_none_or(goes_on) {
            true => (Decision::Diff { zxid: max, after: peer }, found),
            false => (Decision::Snap, Reason::Hole),
        };
    }
    // Java sends TRUNC to the record before where ours goes on in the same epoch. But then a
    // record is missing here that the learner has, and it may have been committed.
    let same_epoch = place.after.is_some_and(|after| after.epoch() == peer.epoch());
    (Decision::Snap, if same_epoch { Reason::Unknown } else { Reason::OtherEpoch })
}

impl Decision {
    /// What Apache calls it.
    pub fn name(self) -> &'static str {
        match self {
            Decision::Diff { .. } => "DIFF",
            Decision::Trunc { .. } => "TRUNC",
            Decision::Snap => "SNAP",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Forced => "snapshots are forced",
            Reason::Equal => "it is where we are",
            Reason::Ahead => "it has more than was committed",
            Reason::InRing => "what it misses is in memory",
            Reason::InLog => "what it misses is in the log",
            Reason::TooOld => "what it misses is not kept",
            Reason::TooMuchLog => "what it misses is more than a snapshot",
            Reason::OtherEpoch => "its last txn is of an epoch that went on without it",
            Reason::Unknown => "its last txn is unknown here",
            Reason::Hole => "what it misses has a hole",
        })
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
