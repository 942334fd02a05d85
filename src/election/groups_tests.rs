//! Elections over random weights and groups, against what anybody can see from above.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use crate::base::{Instant, Rng, ServerId, Zxid};
use crate::members::{Member, Quorums, Verifier};
use crate::peering::{Notification, PeerState};

use super::fast_tests::{electorate, majority};
use super::*;

/// Servers that hear each other in any order, and lose nothing.
struct Hall {
    elections: BTreeMap<ServerId, Election>,
    decided: BTreeMap<ServerId, Outcome>,
    /// Whose role is taken up.
    settled: BTreeSet<ServerId>,
    words: BTreeMap<(ServerId, ServerId), VecDeque<Notification>>,
    /// Otherwise nobody says so.
    kin: bool,
    rng: Rng,
    now: Instant,
}

type Standings = BTreeMap<ServerId, (i64, i64)>;

impl Hall {
    fn new(verifier: &Verifier, standings: &Standings, kin: bool, seed: u64) -> Hall {
        let mut hall = Hall {
            elections: BTreeMap::new(),
            decided: BTreeMap::new(),
            settled: BTreeSet::new(),
            words: BTreeMap::new(),
            kin,
            rng: Rng::new(seed),
            now: Instant(1),
        };
        for (me, (zxid, peer_epoch)) in standings {
            let settings = ElectionSettings {
                me: *me,
                observer: false,
                min_interval_ms: 200,
                max_interval_ms: 1000,
            };
            let standing = Standing { zxid: Zxid(*zxid), peer_epoch: *peer_epoch };
            let voters = electorate(verifier.clone(), None);
            let mut election = Election::new(settings, voters, standing);
            let mut out = Vec::new();
            election.start(hall.now, standing, &mut out);
            hall.elections.insert(*me, election);
            hall.take(*me, out);
        }
        hall
    }

    fn take(&mut self, me: ServerId, out: Vec<ElectionOutput>) {
        for output in out {
            match output {
                ElectionOutput::Tell { to, notification } => {
                    let is_kin = notification.is_kin && self.kin;
                    let word = Notification { is_kin, ..notification };
                    self.words.entry((me, to)).or_default().push_back(word);
                }
                ElectionOutput::Decided(outcome) => {
                    let settles = outcome.joined && outcome.role != PeerState::Leading;
                    self.decided.insert(me, outcome);
                    if settles {
                        self.settled.insert(me);
                    }
                }
                ElectionOutput::Reopened => {
                    self.decided.remove(&me);
                }
                _ => {}
            }
        }
        self.elections[&me].check();
    }

    fn deliver(&mut self, (from, to): (ServerId, ServerId)) {
        let words = self.words.get_mut(&(from, to)).expect("there is such a pair");
        let word = words.pop_front().expect("only pairs with words are asked for");
        if words.is_empty() {
            self.words.remove(&(from, to));
        }
        let mut out = Vec::new();
        let election = self.elections.get_mut(&to).expect("only members are told");
        election.handle_notification(self.now, from, &word, &mut out);
        self.take(to, out);
    }

    fn confirm(&mut self, server: ServerId) {
        let mut out = Vec::new();
        self.elections.get_mut(&server).expect("a member").confirm(&mut out);
        self.settled.insert(server);
        self.take(server, out);
    }

    /// Words in any order but each link's own; roles are taken up at any moment after they were
    /// decided; time passes when there is nothing else to do.
    fn run(&mut self, turns: u32) {
        for _ in 0..turns {
            let pairs: Vec<(ServerId, ServerId)> = self.words.keys().copied().collect();
            let open = self.decided.keys().filter(|server| !self.settled.contains(server));
            let open: Vec<ServerId> = open.copied().collect();
            let choice = self.rng.below((pairs.len() + open.len()) as u64) as usize;
            if choice < pairs.len() {
                self.deliver(pairs[choice]);
            } else if let Some(server) = open.get(choice - pairs.len()) {
                self.confirm(*server);
            } else if let Some(due) =
                self.elections.values().filter_map(Election::next_timeout).min()
            {
                self.now = due;
                for server in self.elections.keys().copied().collect::<Vec<_>>() {
                    let mut out = Vec::new();
                    let election = self.elections.get_mut(&server).expect("a member");
                    election.handle_timeout(due, &mut out);
                    self.take(server, out);
                }
            } else {
                break;
            }
        }
    }
}

fn member(group: i64, weight: u32) -> Member {
    Member { group, weight, votes: true }
}

fn members() -> impl Strategy<Value = BTreeMap<ServerId, Member>> {
    let member = (0i64..3, 0u32..4).prop_map(|(group, weight)| member(group, weight));
    prop::collection::btree_map((1i64..9).prop_map(ServerId), member, 1..7)
}

fn standings_of(servers: &BTreeSet<ServerId>, seed: u64) -> Standings {
    let mut rng = Rng::new(seed);
    let mut standing = || (rng.below(4) as i64, rng.below(3) as i64);
    servers.iter().map(|server| (*server, standing())).collect()
}

/// The naive rule: the newest of those who weigh anything.
fn newest(standings: &Standings, weighs: impl Fn(ServerId) -> bool) -> Option<ServerId> {
    let able = standings.iter().filter(|(server, _)| weighs(**server));
    able.max_by_key(|(server, (zxid, epoch))| (*epoch, *zxid, **server)).map(|(server, _)| *server)
}

/// Everybody ends with one leader, who had a quorum.
fn judge(hall: &Hall, quorums: &Quorums, leader: ServerId) -> Result<(), TestCaseError> {
    for (server, election) in &hall.elections {
        prop_assert!(hall.settled.contains(server), "{server:?} has not settled");
        prop_assert_eq!(election.settled_vote().leader, leader);
        prop_assert_eq!(*server == leader, election.state() == PeerState::Leading);
        let outcome = &hall.decided[server];
        prop_assert!(quorums.are_satisfied(&outcome.supporters));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_newest_that_weighs_anything_leads_all(
        members in members(),
        seed in any::<u64>(),
        kin in any::<bool>(),
    ) {
        let servers: BTreeSet<ServerId> = members.keys().copied().collect();
        let verifier = Verifier::Groups { members: members.clone() };
        let quorums = Quorums { current: verifier.clone(), next: None };
        let standings = standings_of(&servers, seed);
        let mut hall = Hall::new(&verifier, &standings, kin, seed);
        hall.run(5000);
        match newest(&standings, |server| members[&server].weight > 0) {
            Some(leader) => judge(&hall, &quorums, leader)?,
            // Nobody can be enough for anything.
            None => prop_assert!(hall.decided.is_empty()),
        }
    }

    #[test]
    fn in_a_majority_the_newest_leads_all(
        servers in prop::collection::btree_set((1i64..9).prop_map(ServerId), 1..8),
        seed in any::<u64>(),
        kin in any::<bool>(),
    ) {
        let ids: Vec<i64> = servers.iter().map(|server| server.0).collect();
        let verifier = majority(&ids);
        let quorums = Quorums { current: verifier.clone(), next: None };
        let standings = standings_of(&servers, seed);
        let mut hall = Hall::new(&verifier, &standings, kin, seed);
        hall.run(5000);
        let leader = newest(&standings, |_| true).expect("somebody");
        judge(&hall, &quorums, leader)?;
    }
}

#[test]
fn who_weighs_nothing_never_leads_whatever_it_has() {
    let weights = [(1, 1), (2, 1), (3, 0), (4, 1), (5, 1)];
    let members = weights.into_iter().map(|(id, weight)| (ServerId(id), member(1, weight)));
    let members: BTreeMap<ServerId, Member> = members.collect();
    let verifier = Verifier::Groups { members };
    let standings: Standings =
        (1..=5).map(|id| (ServerId(id), if id == 3 { (9, 9) } else { (1, 1) })).collect();
    let mut hall = Hall::new(&verifier, &standings, true, 1);
    hall.run(5000);
    assert!(hall.elections.values().all(|election| election.settled_vote().leader == ServerId(5)));
    assert_eq!(hall.elections[&ServerId(3)].state(), PeerState::Following);
}

#[test]
fn a_quorum_needs_most_of_the_groups() {
    let members = (1..=9).map(|id| (ServerId(id), member((id - 1) / 3, 1)));
    let members: BTreeMap<ServerId, Member> = members.collect();
    let verifier = Verifier::Groups { members };
    let standings: Standings = (1..=9).map(|id| (ServerId(id), (1, 1))).collect();
    for (up, is_enough) in [(vec![1, 2, 4, 5], true), (vec![1, 2, 3, 4, 7], false)] {
        let mut up_standings = standings.clone();
        up_standings.retain(|id, _| up.contains(&id.0));
        let up = up_standings;
        let mut hall = Hall::new(&verifier, &up, false, 3);
        hall.words.retain(|(_, to), _| up.contains_key(to));
        for _ in 0..2000 {
            hall.run(1);
            hall.words.retain(|(_, to), _| up.contains_key(to));
        }
        assert_eq!(hall.settled.len() == up.len(), is_enough, "{:?}", hall.decided);
    }
}
