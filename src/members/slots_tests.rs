use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Member;
use super::*;

fn majority(ids: impl IntoIterator<Item = i64>) -> Verifier {
    Verifier::Majority { voters: ids.into_iter().map(ServerId).collect() }
}

#[test]
fn nobody_counts_twice_and_strangers_not_at_all() {
    let slots = Slots::new(&Quorums { current: majority([1, 2, 3]), next: None });
    let mut acks = Acks::default();
    assert!(!slots.add(&mut acks, ServerId(4)) && acks == Acks::default());
    assert!(slots.add(&mut acks, ServerId(3)) && !slots.add(&mut acks, ServerId(3)));
    assert!(!slots.are_satisfied(acks));
    assert!(slots.add(&mut acks, ServerId(1)) && slots.are_satisfied(acks));
    assert_eq!(slots.ackers(acks), [1, 3].map(ServerId).into());
}

#[test]
fn two_configurations_of_the_largest_size_need_not_share_a_server() {
    let most = limits::VOTERS as i64;
    let (old, new) = (majority(0..most), majority(1000..1000 + most));
    let slots = Slots::new(&Quorums { current: old, next: Some(new) });
    let mut acks = Acks::default();
    for n in 0..=most / 2 {
        assert!(!slots.are_satisfied(acks));
        assert!(slots.add(&mut acks, ServerId(most - 1 - n)));
        assert!(slots.add(&mut acks, ServerId(1000 + n)));
    }
    assert!(slots.are_satisfied(acks));
    assert_eq!(slots.ackers(acks).len(), 2 * (most as usize / 2 + 1));
}

#[test]
#[should_panic(expected = "a configuration with more voters is refused")]
fn more_voters_than_bits_are_our_own_fault() {
    let too_many = majority(0..=limits::VOTERS as i64);
    Slots::new(&Quorums { current: too_many, next: None });
}

fn verifier() -> impl Strategy<Value = Verifier> {
    let id = || (0i64..12).prop_map(ServerId);
    let member = (0i64..4, 0u32..4, prop::bool::weighted(0.8))
        .prop_map(|(group, weight, votes)| Member { group, weight, votes });
    let members: BoxedStrategy<BTreeMap<ServerId, Member>> =
        prop::collection::btree_map(id(), member, 0..10).boxed();
    prop_oneof![
        prop::collection::btree_set(id(), 0..10).prop_map(|voters| Verifier::Majority { voters }),
        members.prop_map(|members| Verifier::Groups { members }),
    ]
}

proptest! {
    #[test]
    fn bits_say_what_the_sets_say(
        current in verifier(),
        next in prop::option::of(verifier()),
        acked in prop::collection::vec((0i64..12).prop_map(ServerId), 0..16),
    ) {
        let quorums = Quorums { current, next };
        let slots = Slots::new(&quorums);
        let (mut acks, mut set) = (Acks::default(), BTreeSet::new());
        for server in acked {
            let news = quorums.is_voter(server) && !set.contains(&server);
            prop_assert_eq!(slots.add(&mut acks, server), news);
            set.insert(server);
            prop_assert_eq!(slots.are_satisfied(acks), quorums.are_satisfied(&set));
        }
        set.retain(|server| quorums.is_voter(*server));
        prop_assert_eq!(slots.ackers(acks), set);
    }
}
