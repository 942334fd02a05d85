//! What is held of learners' packets that are not whole: each link's share, and the sum of all.

use std::collections::BTreeMap;

use crate::base::{ConnId, limits};
use crate::peering::PacketBytes;

const WHOLE_PACKETS: usize = 4;

#[derive(Debug)]
pub(super) struct Held {
    /// Those that hold anything.
    by_link: BTreeMap<ConnId, usize>,
    all: usize,
    /// What all of them may hold.
    pub most: usize,
}

impl Held {
    /// Several whole packets at least must have room, however long they may be.
    pub fn of(packet: PacketBytes) -> Held {
        Held::new(limits::LEARNERS_HELD_BYTES.max(packet.data.saturating_mul(WHOLE_PACKETS)))
    }

    fn new(most: usize) -> Held {
        Held { by_link: BTreeMap::new(), all: 0, most }
    }

    pub fn set(&mut self, link: ConnId, bytes: usize) {
        self.forget(link);
        if bytes > 0 {
            self.by_link.insert(link, bytes);
            self.all += bytes;
        }
    }

    /// The link is a learner's no more.
    pub fn forget(&mut self, link: ConnId) {
        self.all -= self.by_link.remove(&link).unwrap_or_default();
    }

    pub fn all(&self) -> usize {
        self.all
    }

    /// Who holds most of those who may be asked to go.
    pub fn largest(&self, may_go: impl Fn(ConnId) -> bool) -> Option<(ConnId, usize)> {
        let those = self.by_link.iter().filter(|(link, _)| may_go(**link));
        those.map(|(link, bytes)| (*link, *bytes)).max_by_key(|(_, bytes)| *bytes)
    }

    pub fn links(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.by_link.keys().copied()
    }

    /// What must hold between any two turns.
    pub fn check(&self) {
        assert_eq!(self.all, self.by_link.values().sum::<usize>(), "the sum is of its parts");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_follows_what_each_link_holds() {
        let link = |index| ConnId { index, generation: 1 };
        let mut held = Held::new(0);
        for (index, bytes) in [(1, 10), (2, 30), (3, 20), (2, 5), (4, 1), (4, 0)] {
            held.set(link(index), bytes);
            held.check();
        }
        assert_eq!(held.all(), 35);
        assert_eq!(held.largest(|_| true), Some((link(3), 20)));
        assert_eq!(held.largest(|of| of != link(3)), Some((link(1), 10)));
        held.forget(link(3));
        held.forget(link(9));
        held.check();
        assert_eq!((held.all(), held.links().count()), (15, 2));
        assert_eq!(held.largest(|_| false), None);
    }
}
