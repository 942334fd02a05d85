//! The end of a history that is known to be without a gap, told by its zxids.
//!
//! The rule by which it is known: each txn's zxid follows the one before (`Continuity`), and a
//! snapshot whose zxid no record has begins what is known anew. Such a snapshot came from another
//! server, or from a log that purge has taken: what lies before it in the log need not lead up to
//! it, even where the numbers would allow that (4:9 and an image of 5:0). The files themselves
//! say all of this, so it is the same after a restart; and since the log begins a new file behind
//! such a snapshot, purge takes what lies before the hole when it takes the snapshot.

use std::collections::VecDeque;

use crate::base::Zxid;
use crate::zab::Continuity;

/// Numbers without one left out, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: Zxid,
    last: Zxid,
}

/// Runs of txns, each behind the one before without a gap between them: one an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    runs: VecDeque<Run>,
    /// There was something before it that does not lead up to it.
    is_severed: bool,
}

impl Stretch {
    /// The next record of a log.
    pub fn push(&mut self, zxid: Zxid) {
        self.add(Run { first: zxid, last: zxid });
    }

    /// What comes behind it in the next file.
    pub fn join(&mut self, next: &Stretch) {
        if next.is_severed {
            self.sever();
        }
        next.runs.iter().for_each(|run| self.add(*run));
    }

    /// There is a snapshot of this zxid. They are named in ascending order, behind the records.
    pub fn see_snapshot(&mut self, zxid: Zxid) {
        let is_record = |run: &Run| run.first <= zxid && zxid <= run.last;
        if self.runs.iter().any(is_record) {
            return;
        }
        let leads_on = |first| Continuity::of(zxid, first) == Continuity::Next;
        match self.first() {
            Some(first) if zxid < first && !leads_on(first) => {}
            Some(first) if zxid < first => self.begin_with(zxid),
            _ => {
                self.runs.retain(|run| run.first > zxid);
                self.is_severed = true;
                self.begin_with(zxid);
            }
        }
    }

    /// The last of it that is not above `zxid`.
    pub fn at_or_before(&self, zxid: Zxid) -> Option<Zxid> {
        let run = self.runs.iter().rev().find(|run| run.first <= zxid)?;
        Some(run.last.min(zxid))
    }

    /// The first of it above `zxid`.
    pub fn after(&self, zxid: Zxid) -> Option<Zxid> {
        let run = self.runs.iter().find(|run| run.last > zxid)?;
        Some(if run.first > zxid { run.first } else { Zxid(zxid.0 + 1) })
    }

    fn first(&self) -> Option<Zxid> {
        self.runs.front().map(|run| run.first)
    }

    fn begin_with(&mut self, zxid: Zxid) {
        self.runs.push_front(Run { first: zxid, last: zxid });
    }

    fn sever(&mut self) {
        self.runs.clear();
        self.is_severed = true;
    }

    fn add(&mut self, run: Run) {
        let Some(last) = self.runs.back_mut() else {
            self.runs.push_back(run);
            return;
        };
        // Java's own histories hold txns twice.
        if run.last <= last.last {
            return;
        }
        let first = if run.first <= last.last { Zxid(last.last.0 + 1) } else { run.first };
        if first.0 == last.last.0 + 1 {
            last.last = run.last;
            return;
        }
        if Continuity::of(last.last, first) != Continuity::Next {
            self.sever();
        }
        self.runs.push_back(Run { first, last: run.last });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    fn of(records: &[Zxid]) -> Stretch {
        let mut stretch = Stretch::default();
        records.iter().for_each(|zxid| stretch.push(*zxid));
        stretch
    }

    fn place(stretch: &Stretch, zxid: Zxid) -> (Option<Zxid>, Option<Zxid>) {
        (stretch.at_or_before(zxid), stretch.after(zxid))
    }

    #[test]
    fn a_zxid_stands_between_what_is_there() {
        let stretch = of(&[z(4, 7), z(4, 8), z(6, 1), z(6, 2)]);
        assert_eq!(place(&stretch, z(4, 6)), (None, Some(z(4, 7))));
        assert_eq!(place(&stretch, z(4, 7)), (Some(z(4, 7)), Some(z(4, 8))));
        assert_eq!(place(&stretch, z(4, 9)), (Some(z(4, 8)), Some(z(6, 1))));
        assert_eq!(place(&stretch, z(6, 0)), (Some(z(4, 8)), Some(z(6, 1))));
        assert_eq!(place(&stretch, z(7, 0)), (Some(z(6, 2)), None));
    }

    #[test]
    fn what_lies_before_numbers_left_out_is_not_known() {
        let stretch = of(&[z(4, 7), z(4, 9), z(4, 10)]);
        assert_eq!(place(&stretch, z(4, 8)), (None, Some(z(4, 9))));
        let stretch = of(&[z(4, 7), z(5, 2)]);
        assert_eq!(place(&stretch, z(4, 7)), (None, Some(z(5, 2))));
    }

    #[test]
    fn what_is_there_twice_counts_once() {
        let mut stretch = of(&[z(4, 1), z(4, 2), z(4, 3), z(4, 2), z(4, 3), z(4, 4)]);
        assert_eq!(stretch, of(&[z(4, 1), z(4, 2), z(4, 3), z(4, 4)]));
        stretch.join(&of(&[z(4, 3), z(4, 4), z(4, 5)]));
        assert_eq!(place(&stretch, z(4, 4)), (Some(z(4, 4)), Some(z(4, 5))));
    }

    #[test]
    fn a_gap_within_a_later_file_severs_what_came_before_it() {
        let mut stretch = of(&[z(4, 1), z(4, 2)]);
        stretch.join(&of(&[z(4, 3), z(4, 5)]));
        assert_eq!(place(&stretch, z(4, 3)), (None, Some(z(4, 5))));
    }

    #[test]
    fn a_snapshot_that_no_record_leads_up_to_begins_what_is_known() {
        // Its numbers alone would pass: 5:1 follows 4:9.
        let log = of(&[z(4, 8), z(4, 9), z(5, 1), z(5, 2)]);
        let mut own = log.clone();
        own.see_snapshot(z(4, 8));
        assert_eq!(own, log);
        let mut image = log.clone();
        image.see_snapshot(z(4, 8));
        image.see_snapshot(z(5, 0));
        assert_eq!(place(&image, z(4, 9)), (None, Some(z(5, 0))));
        assert_eq!(place(&image, z(5, 0)), (Some(z(5, 0)), Some(z(5, 1))));
        let mut above = log;
        above.see_snapshot(z(5, 30));
        assert_eq!(place(&above, z(5, 2)), (None, Some(z(5, 30))));
        assert_eq!(place(&above, z(5, 30)), (Some(z(5, 30)), None));
    }

    #[test]
    fn a_snapshot_right_before_what_is_known_is_a_part_of_it() {
        let mut stretch = of(&[z(4, 2), z(5, 31), z(5, 32)]);
        stretch.see_snapshot(z(4, 0));
        stretch.see_snapshot(z(5, 30));
        assert_eq!(place(&stretch, z(5, 30)), (Some(z(5, 30)), Some(z(5, 31))));
        assert_eq!(place(&stretch, z(4, 2)), (None, Some(z(5, 30))));
    }
}
