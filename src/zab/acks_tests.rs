use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::members::{Quorums, Verifier};

use super::*;

const ME: ServerId = ServerId(1);
const EPOCH: u32 = 7;

fn z(counter: u32) -> Zxid {
    Zxid::new(EPOCH, counter)
}

fn majority(ids: &[i64]) -> Verifier {
    Verifier::Majority { voters: ids.iter().map(|id| ServerId(*id)).collect() }
}

fn slots(current: &[i64], next: Option<&[i64]>) -> Arc<Slots> {
    Arc::new(Slots::new(&Quorums { current: majority(current), next: next.map(majority) }))
}

/// Proposals 1 to `count`, for a majority of three.
fn table(count: u32) -> AckTable {
    let mut table = AckTable::new(ME, EPOCH);
    let needs = slots(&[1, 2, 3], None);
    for counter in 1..=count {
        table.propose(z(counter), &needs);
    }
    table
}

fn commits(table: &mut AckTable) -> Vec<Zxid> {
    let found = std::iter::from_fn(|| table.next_commit()).collect();
    table.check();
    found
}

#[test]
fn commits_come_in_order_and_each_with_its_quorum() {
    let mut table = table(3);
    assert_eq!(table.on_ack(ServerId(2), z(2)), Acked::Counted);
    assert_eq!(table.on_ack(ServerId(3), z(2)), Acked::Counted);
    assert_eq!(commits(&mut table), [], "1 comes first");
    assert_eq!(table.on_ack(ServerId(2), z(1)), Acked::Counted);
    assert_eq!(commits(&mut table), []);
    table.on_own_durable(z(1));
    assert_eq!(commits(&mut table), [z(1), z(2)], "two of three have each");
    assert_eq!((table.outstanding(), table.proposed()), (1, z(3)));
}

#[test]
fn the_leader_is_not_needed_where_others_are_enough() {
    let mut table = table(1);
    table.on_ack(ServerId(2), z(1));
    table.on_ack(ServerId(3), z(1));
    assert_eq!(commits(&mut table), [z(1)]);
    // Its own log comes after it.
    table.on_own_durable(z(1));
    assert_eq!(table.on_ack(ServerId(2), z(1)), Acked::AlreadyCommitted);
    table.check();
}

#[test]
fn acks_of_strangers_and_of_what_is_not_outstanding_are_ignored() {
    let mut table = table(2);
    assert_eq!(table.on_ack(ServerId(9), z(1)), Acked::NoChange);
    assert_eq!(table.on_ack(ServerId(2), z(0)), Acked::EpochBegin);
    assert_eq!(table.on_ack(ServerId(2), z(3)), Acked::Unknown);
    assert_eq!(table.on_ack(ServerId(2), Zxid::new(EPOCH + 1, 1)), Acked::Unknown);
    assert_eq!(table.on_ack(ServerId(2), Zxid::new(EPOCH - 1, 1)), Acked::AlreadyCommitted);
    assert_eq!(table.on_ack(ServerId(2), Zxid(i64::MIN + 1)), Acked::AlreadyCommitted);
    assert_eq!(table.on_ack(ServerId(2), Zxid(i64::MAX)), Acked::Unknown);
    assert_eq!(table.on_ack(ServerId(2), z(1)), Acked::Counted);
    assert_eq!(table.on_ack(ServerId(2), z(1)), Acked::NoChange, "once is enough");
    assert_eq!(commits(&mut table), []);
}

#[test]
fn a_reconfiguration_needs_both_configurations_and_so_does_what_follows() {
    let mut table = AckTable::new(ME, EPOCH);
    table.propose(z(1), &slots(&[1, 2, 3], None));
    table.propose(z(2), &slots(&[1, 2, 3], Some(&[1, 4, 5])));
    table.propose(z(3), &slots(&[1, 2, 3], Some(&[1, 4, 5])));
    table.on_own_durable(z(3));
    for counter in 1..=3 {
        table.on_ack(ServerId(2), z(counter));
    }
    assert_eq!(commits(&mut table), [z(1)]);
    assert_eq!(table.on_ack(ServerId(4), z(3)), Acked::Counted);
    assert_eq!(commits(&mut table), [], "2 is not in the next configuration's hands");
    assert_eq!(table.on_ack(ServerId(5), z(2)), Acked::Counted);
    assert_eq!(commits(&mut table), [z(2), z(3)]);
}

/// Java keeps the ACKs of a follower that was told to cut its log afterwards.
#[test]
fn a_learner_that_leaves_takes_its_acks_along() {
    let mut table = table(2);
    table.on_ack(ServerId(2), z(1));
    table.on_ack(ServerId(2), z(2));
    table.withdraw(ServerId(2));
    table.on_own_durable(z(2));
    assert_eq!(commits(&mut table), []);
    assert_eq!(table.on_ack(ServerId(2), z(1)), Acked::Counted, "it has it again");
    assert_eq!(commits(&mut table), [z(1)]);
}

#[test]
fn a_lone_voter_commits_by_its_own_disk() {
    let mut table = AckTable::new(ME, EPOCH);
    let needs = slots(&[1], None);
    table.propose(z(1), &needs);
    table.propose(z(2), &needs);
    table.on_own_durable(z(1));
    assert_eq!(commits(&mut table), [z(1)]);
}

/// Each proposal with the whole set of those who have it.
struct Naive {
    committed: u32,
    all: Vec<(Quorums, BTreeSet<ServerId>)>,
}

impl Naive {
    fn commits(&mut self) -> Vec<Zxid> {
        let mut found = Vec::new();
        while let Some((quorums, acks)) = self.all.get(self.committed as usize)
            && quorums.are_satisfied(acks)
        {
            self.committed += 1;
            found.push(z(self.committed));
        }
        found
    }
}

#[derive(Clone, Debug)]
enum Op {
    Propose,
    Ack { server: i64, counter: u32 },
    OwnDurable { counter: u32 },
    Withdraw { server: i64 },
    Reconfigure { current: Vec<i64>, next: Option<Vec<i64>> },
}

fn op() -> impl Strategy<Value = Op> {
    let voters = || prop::collection::btree_set(1i64..7, 1..6);
    let reconfigure = (voters(), prop::option::of(voters())).prop_map(|(current, next)| {
        let list = |set: BTreeSet<i64>| set.into_iter().collect();
        Op::Reconfigure { current: list(current), next: next.map(list) }
    });
    prop_oneof![
        6 => Just(Op::Propose),
        12 => (2i64..8, 0u32..30).prop_map(|(server, counter)| Op::Ack { server, counter }),
        4 => (0u32..30).prop_map(|counter| Op::OwnDurable { counter }),
        1 => (2i64..8).prop_map(|server| Op::Withdraw { server }),
        1 => reconfigure,
    ]
}

proptest! {
    #[test]
    fn the_table_commits_what_a_naive_one_commits(ops in prop::collection::vec(op(), 1..120)) {
        let mut table = AckTable::new(ME, EPOCH);
        let mut naive = Naive { committed: 0, all: Vec::new() };
        let mut quorums = Quorums { current: majority(&[1, 2, 3]), next: None };
        for op in ops {
            let proposed = naive.all.len() as u32;
            match op {
                Op::Propose => {
                    table.propose(z(proposed + 1), &Arc::new(Slots::new(&quorums)));
                    naive.all.push((quorums.clone(), BTreeSet::new()));
                }
                Op::Ack { server, counter } => {
                    table.on_ack(ServerId(server), z(counter));
                    if counter > naive.committed && counter <= proposed {
                        naive.all[counter as usize - 1].1.insert(ServerId(server));
                    }
                }
                Op::OwnDurable { counter } => {
                    let counter = counter.min(proposed);
                    table.on_own_durable(z(counter));
                    for (_, acks) in &mut naive.all[..counter as usize] {
                        acks.insert(ME);
                    }
                }
                Op::Withdraw { server } => {
                    table.withdraw(ServerId(server));
                    for (_, acks) in &mut naive.all {
                        acks.remove(&ServerId(server));
                    }
                }
                Op::Reconfigure { current, next } => {
                    let next = next.as_deref().map(majority);
                    quorums = Quorums { current: majority(&current), next };
                }
            }
            prop_assert_eq!(commits(&mut table), naive.commits());
        }
    }
}
