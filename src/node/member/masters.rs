//! The observer masters that an observer may be fed by: which one is next.

use crate::base::{Rng, ServerId};
use crate::members::Membership;
use crate::peering::HostPort;

use super::dialable;

/// Voters in an order of chance, one after the other, as in Java. Whoever lost one, or could not
/// reach it, goes on with the next after an election.
#[derive(Debug)]
pub(super) struct Masters {
    /// All of them listen at the port that this server is told for its own.
    port: u16,
    order: Vec<(ServerId, Vec<HostPort>)>,
    next: usize,
    /// Of the configuration that the order was drawn for.
    version: Option<i64>,
}

/// Where an observer goes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub server: ServerId,
    pub addresses: Vec<HostPort>,
    /// All had their turn before.
    pub begins_anew: bool,
}

impl Masters {
    pub fn new(port: u16) -> Masters {
        Masters { port, order: Vec::new(), next: 0, version: None }
    }

    /// None where nobody votes.
    pub fn choose(&mut self, members: &Membership, rng: &mut Rng) -> Option<Choice> {
        if self.version != Some(members.version) {
            self.version = Some(members.version);
            self.order = shuffled(self.list(members), rng);
        }
        let begins_anew = self.next >= self.order.len();
        if begins_anew {
            self.next = 0;
        }
        let (server, addresses) = self.order.get(self.next)?.clone();
        self.next += 1;
        Some(Choice { server, addresses, begins_anew })
    }

    fn list(&self, members: &Membership) -> Vec<(ServerId, Vec<HostPort>)> {
        let voters =
            members.voters().filter_map(|server| Some((server, members.members.get(&server)?)));
        let place = |at| HostPort { port: self.port, ..dialable(at) };
        voters
            .map(|(server, line)| (server, line.quorum_addresses().map(place).collect()))
            .collect()
    }
}

fn shuffled<T>(mut things: Vec<T>, rng: &mut Rng) -> Vec<T> {
    for end in (1..things.len()).rev() {
        things.swap(end, rng.below(end as u64 + 1) as usize);
    }
    things
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::MemberSpec;

    fn members(version: i64, voters: &[i64]) -> Membership {
        let line = |id: &i64, role| {
            let text = format!("m{id}:2888:3888:{role}");
            (ServerId(*id), MemberSpec::read(ServerId(*id), &text, false).expect("a line"))
        };
        let observer = line(&9, "observer");
        let voters = voters.iter().map(|id| line(id, "participant"));
        Membership::new(version, voters.chain([observer]).collect())
    }

    fn ids(masters: &mut Masters, members: &Membership, rng: &mut Rng, count: usize) -> Vec<i64> {
        let mut next = || masters.choose(members, rng).expect("there are voters").server.0;
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn each_voter_has_its_turn_before_one_comes_again_and_then_that_is_said() {
        let (mut masters, mut rng) = (Masters::new(2191), Rng::new(1));
        let members = members(0, &[1, 2, 3]);
        let first = ids(&mut masters, &members, &mut rng, 3);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 3]);
        let again = masters.choose(&members, &mut rng).expect("a voter");
        assert_eq!((again.server.0, again.begins_anew), (first[0], true));
        let next = masters.choose(&members, &mut rng).expect("a voter");
        let address = HostPort { host: format!("m{}", first[1]), port: 2191 };
        let expected = Choice { server: next.server, addresses: vec![address], begins_anew: false };
        assert_eq!(next, expected);
    }

    #[test]
    fn the_order_is_drawn_by_the_servers_own_chance_and_anew_with_the_members() {
        let orders: std::collections::BTreeSet<Vec<i64>> = (0..64)
            .map(|seed| ids(&mut Masters::new(1), &members(0, &[1, 2, 3]), &mut Rng::new(seed), 3))
            .collect();
        assert_eq!(orders.len(), 6, "every order comes up");
        let (mut masters, mut rng) = (Masters::new(1), Rng::new(1));
        ids(&mut masters, &members(0, &[1, 2, 3]), &mut rng, 1);
        let later = ids(&mut masters, &members(5, &[4, 5, 6]), &mut rng, 3);
        assert!(later.iter().all(|id| (4..=6).contains(id)), "{later:?}");
        assert_eq!(masters.choose(&members(6, &[]), &mut rng), None);
    }
}
