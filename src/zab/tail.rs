//! The end of a history that nobody has said is committed: logged, decoded, not applied. It goes
//! from role to role until a leader is established.

use std::collections::VecDeque;

use crate::base::Zxid;
use crate::proto::Entry;

/// What the log holds beyond the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    applied: Zxid,
    /// Ascending. Legal histories have gaps, so nothing is said of neighbours.
    entries: VecDeque<Entry>,
    /// Up to here txns are applied by the tolerant rules: an image holds a part of them.
    replay_until: Zxid,
}

/// What cutting a history meant for its tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailCut {
    /// These lay above and are no part of it any more.
    Within(VecDeque<Entry>),
    /// The state holds what is to go: it must be rebuilt from the disk.
    Deeper,
}

impl Tail {
    /// `applied`: what the state holds; `entries` are what the log has behind it.
    pub fn new(applied: Zxid, entries: impl Into<VecDeque<Entry>>, replay_until: Zxid) -> Tail {
        let tail = Tail { applied, entries: entries.into(), replay_until };
        tail.check();
        tail
    }

    /// The last zxid of the state.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// The last zxid of the log.
    pub fn logged(&self) -> Zxid {
        self.entries.back().map_or(self.applied, |entry| entry.header.zxid)
    }

    pub fn replay_until(&self) -> Zxid {
        self.replay_until
    }

    pub fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    /// Where the state ends, and what lies behind it.
    pub(super) fn zxids(&self) -> Vec<Zxid> {
        let entries = self.entries.iter().map(|entry| entry.header.zxid);
        std::iter::once(self.applied).chain(entries).collect()
    }

    /// Somebody has said that all of it is committed, or takes it over otherwise.
    pub fn into_entries(self) -> VecDeque<Entry> {
        self.entries
    }

    /// Drops what lies above `zxid`.
    pub fn cut(&mut self, zxid: Zxid) -> TailCut {
        if zxid < self.applied {
            return TailCut::Deeper;
        }
        let stays = self.entries.partition_point(|entry| entry.header.zxid <= zxid);
        TailCut::Within(self.entries.split_off(stays))
    }

    /// What was cut is a part of it after all.
    pub fn put_back(&mut self, dropped: VecDeque<Entry>) {
        self.entries.extend(dropped);
        self.check();
    }

    /// The first of it was to be applied next, and the state ends with `applied` still.
    pub fn take_back(&mut self, first: Entry, applied: Zxid) {
        self.applied = applied;
        self.entries.push_front(first);
        self.check();
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        let zxids = || self.entries.iter().map(|entry| entry.header.zxid);
        assert!(zxids().all(|zxid| zxid > self.applied), "the tail lies behind the state");
        assert!(zxids().zip(zxids().skip(1)).all(|(a, b)| a < b), "the tail ascends");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SessionId, WallMillis};
    use crate::proto::{Txn, TxnHeader};

    fn entry(zxid: Zxid) -> Entry {
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time: WallMillis(1) };
        Entry { header, txn: Txn::Error { code: -1 }, digest: None }
    }

    fn tail() -> Tail {
        let zxids = [Zxid::new(4, 8), Zxid::new(4, 9), Zxid::new(5, 1)];
        Tail::new(Zxid::new(4, 7), zxids.map(entry), Zxid::ZERO)
    }

    fn cut(tail: &mut Tail, zxid: Zxid) -> Option<VecDeque<Entry>> {
        match tail.cut(zxid) {
            TailCut::Within(dropped) => Some(dropped),
            TailCut::Deeper => None,
        }
    }

    #[test]
    fn a_cut_within_the_tail_only_drops_it() {
        let mut tail = tail();
        assert_eq!(cut(&mut tail, Zxid::new(5, 1)).map(|dropped| dropped.len()), Some(0));
        assert_eq!(cut(&mut tail, Zxid::new(4, 8)).map(|dropped| dropped.len()), Some(2));
        assert_eq!(tail.logged(), Zxid::new(4, 8));
        assert_eq!(cut(&mut tail, Zxid::new(4, 7)).map(|dropped| dropped.len()), Some(1));
        assert_eq!((tail.logged(), tail.entries().len()), (Zxid::new(4, 7), 0));
    }

    #[test]
    fn a_cut_to_an_epochs_beginning_ends_with_the_last_txn_before_it() {
        let mut cut_off = tail();
        let dropped = cut(&mut cut_off, Zxid::new(5, 0)).expect("within");
        assert_eq!(cut_off.logged(), Zxid::new(4, 9));
        cut_off.put_back(dropped);
        assert_eq!(cut_off, tail());
    }

    #[test]
    fn what_was_to_be_applied_next_is_a_part_of_it_again() {
        let mut whole = tail();
        let mut entries = whole.into_entries();
        let first = entries.pop_front().expect("there are three");
        whole = Tail::new(first.header.zxid, entries, Zxid::ZERO);
        whole.take_back(first, Zxid::new(4, 7));
        assert_eq!(whole, tail());
    }

    #[test]
    fn a_cut_below_the_state_asks_for_it_to_be_rebuilt() {
        assert_eq!(tail().cut(Zxid::new(4, 6)), TailCut::Deeper);
    }

    #[test]
    fn a_history_without_a_tail_ends_where_its_state_does() {
        let tail = Tail::new(Zxid::new(5, 0), Vec::new(), Zxid::ZERO);
        assert_eq!((tail.logged(), tail.applied()), (Zxid::new(5, 0), Zxid::new(5, 0)));
    }
}
