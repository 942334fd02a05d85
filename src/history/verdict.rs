//! What the end of a log file means: its end, the trace of a power cut, or damage.
//!
//! Un-synced bytes are bounded, and pages reach a disk in any order, so after a power cut valid
//! records may follow a hole, but only within that bound. Anything else that is broken was once
//! whole and synced, perhaps acknowledged, and must not be cut off silently.

use crate::base::Zxid;

/// What was found where the records of a log file stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Behind the last record of the unbroken run.
    pub end: u64,
    /// Its zxid; `None` where the file holds no record.
    pub last: Option<Zxid>,
    /// Nothing but zeros, or nothing at all, follows.
    pub clean: bool,
    /// Java reads on in the next file when it comes to such bytes.
    pub is_javas_end: bool,
    /// A whole record ends further behind the break than un-synced bytes can lie.
    pub has_synced_beyond: bool,
    /// The offset of this file up to which it is known to have been synced.
    pub synced: Option<u64>,
    /// The zxid in the next log file's name.
    pub next: Option<Zxid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    /// The last file's tail was being written when the machine stopped: cut it.
    Torn,
    /// A tail that a Java server dropped before it went on in the next file.
    PassedOver,
    /// Records are missing that were whole once.
    Damage,
}

pub fn verdict(found: &SegmentEnd) -> Verdict {
    if found.synced.is_some_and(|synced| found.end < synced) {
        return Verdict::Damage;
    }
    if found.clean {
        return Verdict::Whole;
    }
    let Some(next) = found.next else {
        return if found.has_synced_beyond { Verdict::Damage } else { Verdict::Torn };
    };
    // We sync a file before its successor gets its name, Java does not: only a server that
    // dropped the tail gives its zxids to the next file.
    let Some(last) = found.last else { return Verdict::Damage };
    if last.0.checked_add(1) == Some(next.0) {
        return Verdict::PassedOver;
    }
    // A later epoch's name tells nothing of what the one before it had: the break itself must be
    // such as a crash of Java leaves, and Java starts again over.
    let may_be_torn = found.synced.is_none() && found.is_javas_end && !found.has_synced_beyond;
    let is_passed = next.epoch() > last.epoch() && may_be_torn;
    if is_passed { Verdict::PassedOver } else { Verdict::Damage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> SegmentEnd {
        SegmentEnd {
            end: 5000,
            last: Some(Zxid::new(3, 40)),
            clean: false,
            is_javas_end: true,
            has_synced_beyond: false,
            synced: None,
            next: None,
        }
    }

    fn judged(change: impl FnOnce(&mut SegmentEnd)) -> Verdict {
        let mut end = broken();
        change(&mut end);
        verdict(&end)
    }

    #[test]
    fn the_last_files_tail_is_torn_when_all_that_is_valid_ends_within_the_bound() {
        assert_eq!(judged(|_| ()), Verdict::Torn);
        assert_eq!(judged(|e| e.is_javas_end = false), Verdict::Torn);
        assert_eq!(judged(|e| e.has_synced_beyond = true), Verdict::Damage);
        assert_eq!(judged(|e| e.clean = true), Verdict::Whole);
    }

    #[test]
    fn a_hole_below_what_was_synced_is_damage() {
        assert_eq!(judged(|e| e.synced = Some(5000)), Verdict::Torn);
        assert_eq!(judged(|e| e.synced = Some(5001)), Verdict::Damage);
        let clean_but_short = |e: &mut SegmentEnd| {
            e.clean = true;
            e.synced = Some(5001);
        };
        assert_eq!(judged(clean_but_short), Verdict::Damage);
    }

    #[test]
    fn a_break_that_the_next_file_goes_on_past_is_damage() {
        assert_eq!(judged(|e| e.next = Some(Zxid::new(3, 42))), Verdict::Damage);
        assert_eq!(judged(|e| e.next = Some(Zxid::new(3, 41))), Verdict::PassedOver);
        let whatever_lies_there = |e: &mut SegmentEnd| {
            e.next = Some(Zxid::new(3, 41));
            (e.has_synced_beyond, e.is_javas_end) = (true, false);
        };
        assert_eq!(judged(whatever_lies_there), Verdict::PassedOver);
    }

    #[test]
    fn before_a_later_epoch_only_what_a_crash_of_java_leaves_is_passed_over() {
        let judged = |change: fn(&mut SegmentEnd)| {
            judged(|e| {
                e.next = Some(Zxid::new(4, 1));
                change(e);
            })
        };
        assert_eq!(judged(|_| ()), Verdict::PassedOver);
        assert_eq!(judged(|e| e.synced = Some(100)), Verdict::Damage);
        assert_eq!(judged(|e| e.has_synced_beyond = true), Verdict::Damage);
        assert_eq!(judged(|e| e.is_javas_end = false), Verdict::Damage);
    }
}
