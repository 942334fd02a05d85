//! Majority, groups with weights, and both configurations at once while one replaces the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ServerId;

/// What one configuration calls enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verifier {
    /// More than half of the voters.
    Majority { voters: BTreeSet<ServerId> },
    /// More than half of the groups that weigh anything, each by more than half of its weight.
    Groups { members: BTreeMap<ServerId, Member> },
}

/// A server's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub group: i64,
    pub weight: u32,
    /// What a server weighs that does not vote counts in its group's total, as Apache has it.
    pub votes: bool,
}

impl Verifier {
    pub fn is_voter(&self, server: ServerId) -> bool {
        match self {
            Verifier::Majority { voters } => voters.contains(&server),
            Verifier::Groups { members } => members.get(&server).is_some_and(|m| m.votes),
        }
    }

    /// A server of weight 0 can never lead. In a majority everyone weighs the same.
    pub fn weight(&self, server: ServerId) -> u32 {
        match self {
            Verifier::Majority { .. } => 1,
            Verifier::Groups { members } => members.get(&server).map_or(0, |m| m.weight),
        }
    }

    /// Whether these servers are enough; those who do not vote do not count.
    pub fn is_quorum(&self, acked: &BTreeSet<ServerId>) -> bool {
        match self {
            Verifier::Majority { voters } => voters.intersection(acked).count() > voters.len() / 2,
            Verifier::Groups { members } => groups_are_enough(members, acked),
        }
    }
}

fn groups_are_enough(members: &BTreeMap<ServerId, Member>, acked: &BTreeSet<ServerId>) -> bool {
    let mut groups: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for (server, member) in members {
        let (total, said) = groups.entry(member.group).or_default();
        *total += u64::from(member.weight);
        if member.votes && acked.contains(server) {
            *said += u64::from(member.weight);
        }
    }
    groups.retain(|_, (total, _)| *total > 0);
    let satisfied = groups.values().filter(|(total, said)| *said > total / 2).count();
    satisfied > groups.len() / 2
}

/// What a proposal needs: the present configuration, and the next one while it is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorums {
    pub current: Verifier,
    pub next: Option<Verifier>,
}

impl Quorums {
    /// Whether a server votes in either configuration.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.current.is_voter(server) || self.next.as_ref().is_some_and(|n| n.is_voter(server))
    }

    pub fn are_satisfied(&self, acked: &BTreeSet<ServerId>) -> bool {
        self.current.is_quorum(acked) && self.next.as_ref().is_none_or(|next| next.is_quorum(acked))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(ids: &[i64]) -> BTreeSet<ServerId> {
        ids.iter().map(|id| ServerId(*id)).collect()
    }

    #[test]
    fn observers_do_not_count_and_both_configurations_must_agree() {
        let old = Verifier::Majority { voters: set(&[1, 2, 3]) };
        assert!(old.is_quorum(&set(&[1, 3])) && !old.is_quorum(&set(&[1, 8, 9])));
        let next = Some(Verifier::Majority { voters: set(&[3, 4, 5]) });
        let both = Quorums { current: old, next };
        assert!(!both.are_satisfied(&set(&[1, 2, 3])) && !both.are_satisfied(&set(&[3, 4, 5])));
        assert!(both.are_satisfied(&set(&[2, 3, 4])));
    }

    #[test]
    fn nobody_and_nothing_are_never_enough() {
        assert!(!Verifier::Majority { voters: set(&[]) }.is_quorum(&set(&[1])));
        assert!(!Verifier::Groups { members: BTreeMap::new() }.is_quorum(&set(&[1])));
    }

    fn members() -> impl Strategy<Value = BTreeMap<ServerId, Member>> {
        let member = (0i64..4, 0u32..4, prop::bool::weighted(0.8))
            .prop_map(|(group, weight, votes)| Member { group, weight, votes });
        prop::collection::btree_map((0i64..9).prop_map(ServerId), member, 1..9)
    }

    proptest! {
        #[test]
        fn two_quorums_of_one_configuration_always_meet(
            members in members(),
            a in prop::collection::btree_set((0i64..9).prop_map(ServerId), 0..9),
            b in prop::collection::btree_set((0i64..9).prop_map(ServerId), 0..9),
        ) {
            let voting = members.iter().filter(|(_, m)| m.votes);
            let voters = voting.map(|(server, _)| *server).collect();
            for verifier in [Verifier::Groups { members }, Verifier::Majority { voters }] {
                if verifier.is_quorum(&a) && verifier.is_quorum(&b) {
                    prop_assert!(a.intersection(&b).any(|s| verifier.is_voter(*s)));
                }
            }
        }

        #[test]
        fn one_group_of_equal_weights_is_a_majority(
            voters in prop::collection::btree_set((0i64..9).prop_map(ServerId), 1..9),
            acked in prop::collection::btree_set((0i64..9).prop_map(ServerId), 0..9),
        ) {
            let member = Member { group: 1, weight: 1, votes: true };
            let members = voters.iter().map(|s| (*s, member)).collect();
            let groups = Verifier::Groups { members };
            let majority = Verifier::Majority { voters };
            prop_assert_eq!(groups.is_quorum(&acked), majority.is_quorum(&acked));
        }
    }
}
