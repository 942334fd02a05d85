//! Who has acknowledged what, in bits: nothing on a write's way allocates or searches a tree.

use std::collections::BTreeSet;

use crate::base::{ServerId, limits};

use super::{Quorums, Verifier};

/// The servers that have acknowledged one thing, a bit for each voter of each configuration.
/// Means something to the [`Slots`] it was gathered with, and to no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    current: u64,
    next: u64,
}

/// One [`Quorums`] with a bit for every voter; made once for all proposals that need the same.
#[derive(Clone, Debug)]
pub struct Slots {
    current: Slotted,
    next: Option<Slotted>,
}

/// One configuration. A voter's slot is its place among them.
#[derive(Clone, Debug)]
struct Slotted {
    voters: Vec<ServerId>,
    enough: Enough,
}

#[derive(Clone, Debug)]
enum Enough {
    Majority,
    /// Those that weigh anything.
    Groups(Vec<Group>),
}

#[derive(Clone, Debug)]
struct Group {
    /// The weight of all who are in it, whether they vote or not.
    total: u64,
    /// Slot and weight of those who vote.
    voters: Vec<(u32, u64)>,
}

impl Slots {
    pub fn new(quorums: &Quorums) -> Slots {
        Slots {
            current: Slotted::new(&quorums.current),
            next: quorums.next.as_ref().map(Slotted::new),
        }
    }

    /// Counts a server in. False where that changes nothing: it votes in neither configuration, or
    /// has been counted before.
    pub fn add(&self, acks: &mut Acks, server: ServerId) -> bool {
        let before = *acks;
        acks.current |= self.current.bit(server);
        acks.next |= self.next.as_ref().map_or(0, |next| next.bit(server));
        *acks != before
    }

    /// Whether they are enough in the present configuration, and in the next while there is one.
    pub fn are_satisfied(&self, acks: Acks) -> bool {
        self.current.is_quorum(acks.current)
            && self.next.as_ref().is_none_or(|next| next.is_quorum(acks.next))
    }

    pub fn ackers(&self, acks: Acks) -> BTreeSet<ServerId> {
        let of_next = self.next.iter().flat_map(|next| next.named(acks.next));
        self.current.named(acks.current).chain(of_next).collect()
    }
}

impl Slotted {
    fn new(verifier: &Verifier) -> Slotted {
        match verifier {
            Verifier::Majority { voters } => {
                Slotted::of(voters.iter().copied().collect(), Enough::Majority)
            }
            Verifier::Groups { members } => {
                let voting = members.iter().filter(|(_, m)| m.votes);
                let voters: Vec<ServerId> = voting.map(|(server, _)| *server).collect();
                let slot = |server: &ServerId| voters.binary_search(server).ok();
                let numbers: BTreeSet<i64> = members.values().map(|m| m.group).collect();
                let groups = numbers.into_iter().map(|number| {
                    let of_group = members.iter().filter(|(_, m)| m.group == number);
                    let total = of_group.clone().map(|(_, m)| u64::from(m.weight)).sum();
                    let slotted = of_group.filter_map(|(server, m)| {
                        slot(server).map(|slot| (slot as u32, u64::from(m.weight)))
                    });
                    Group { total, voters: slotted.collect() }
                });
                let groups = groups.filter(|group| group.total > 0).collect();
                Slotted::of(voters, Enough::Groups(groups))
            }
        }
    }

    fn of(voters: Vec<ServerId>, enough: Enough) -> Slotted {
        assert!(voters.len() <= limits::VOTERS, "a configuration with more voters is refused");
        Slotted { voters, enough }
    }

    fn bit(&self, server: ServerId) -> u64 {
        self.voters.binary_search(&server).map_or(0, |slot| 1 << slot)
    }

    fn is_quorum(&self, acks: u64) -> bool {
        match &self.enough {
            Enough::Majority => acks.count_ones() as usize > self.voters.len() / 2,
            Enough::Groups(groups) => {
                let satisfied = groups.iter().filter(|group| group.is_satisfied(acks)).count();
                satisfied > groups.len() / 2
            }
        }
    }

    fn named(&self, acks: u64) -> impl Iterator<Item = ServerId> + '_ {
        let slotted = self.voters.iter().enumerate();
        slotted.filter(move |(slot, _)| acks & (1 << slot) != 0).map(|(_, server)| *server)
    }
}

impl Group {
    fn is_satisfied(&self, acks: u64) -> bool {
        let said = self.voters.iter().filter(|(slot, _)| acks & (1 << slot) != 0);
        said.map(|(_, weight)| weight).sum::<u64>() > self.total / 2
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
