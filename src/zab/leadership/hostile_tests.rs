//! Whatever is said over a link costs that link at most: the leader leads on, and takes whoever
//! comes then.

use proptest::prelude::*;

use crate::peering::LEARNER_PROTOCOL;

use super::super::spoken::z;
use super::bench::{Bench, start};
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Connect { who: i64, room: usize },
    Packet { who: i64, kind: PacketKind, zxid: Zxid, data: Option<Vec<u8>> },
    Leave { who: i64 },
    Room { who: i64, bytes: usize },
    Sync { who: i64 },
    Missing { who: i64 },
    Looking { who: i64 },
    Propose,
    Time,
}

/// Servers that nobody knows; none says that it is one of those who follow.
fn who() -> impl Strategy<Value = i64> {
    10i64..14
}

fn zxid() -> impl Strategy<Value = Zxid> {
    prop_oneof![
        4 => (5u32..9, 0u32..6).prop_map(|(epoch, counter)| z(epoch, counter)),
        1 => any::<i64>().prop_map(Zxid),
    ]
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    let info = (who(), prop_oneof![Just(LEARNER_PROTOCOL), Just(1)]).prop_map(|(who, protocol)| {
        let mut data = Vec::new();
        let (server, config_version) = (ServerId(who), Some(0));
        crate::peering::LearnerInfo { server, protocol, config_version }.write(&mut data);
        data
    });
    let number = prop_oneof![Just(-1i32), 0i32..9].prop_map(|n| n.to_be_bytes().to_vec());
    let garbage = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        1 => Just(None),
        4 => info.prop_map(Some),
        4 => number.prop_map(Some),
        1 => garbage.prop_map(Some),
    ]
}

fn kind() -> impl Strategy<Value = PacketKind> {
    use PacketKind::*;
    prop_oneof![
        3 => prop::sample::select(vec![FollowerInfo, ObserverInfo]),
        3 => Just(AckEpoch),
        3 => Just(Ack),
        2 => prop::sample::select(PacketKind::ALL.to_vec()),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let room = || prop_oneof![0usize..100, Just(usize::MAX)];
    let packet = (who(), kind(), zxid(), data()).prop_map(|(who, kind, zxid, data)| Act::Packet {
        who,
        kind,
        zxid,
        data,
    });
    prop_oneof![
        3 => (who(), room()).prop_map(|(who, room)| Act::Connect { who, room }),
        20 => packet,
        1 => who().prop_map(|who| Act::Leave { who }),
        2 => (who(), room()).prop_map(|(who, bytes)| Act::Room { who, bytes }),
        1 => who().prop_map(|who| Act::Sync { who }),
        1 => who().prop_map(|who| Act::Missing { who }),
        1 => who().prop_map(|who| Act::Looking { who }),
        2 => Just(Act::Propose),
        1 => Just(Act::Time),
    ]
}

fn perform(bench: &mut Bench, act: Act) {
    match act {
        Act::Connect { who, room } if !bench.is_open(who) => {
            bench.connect(who, room);
        }
        Act::Connect { .. } => {}
        Act::Packet { who, kind, zxid, data } => {
            bench.packet(who, kind, zxid, data.as_deref());
        }
        Act::Leave { who } if bench.is_open(who) => bench.leave(who),
        Act::Leave { .. } => {}
        Act::Room { who, bytes } => {
            bench.input(Input::Room { link: bench.link(who), bytes });
        }
        Act::Sync { who } => {
            bench.input(Input::Sync { link: bench.link(who), after: Zxid::ZERO });
        }
        Act::Missing { who } => {
            bench.input(Input::Missing { link: bench.link(who) });
        }
        Act::Looking { who } => {
            bench.input(Input::Looking { server: ServerId(who) });
        }
        Act::Propose if bench.established.is_some() => {
            bench.propose();
        }
        Act::Propose => {}
        Act::Time => {
            bench.input(Input::Time);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn zk_4203_whatever_a_link_says_the_leader_leads_on(
        acts in prop::collection::vec(act(), 0..120),
        later in prop::collection::vec(act(), 0..60),
    ) {
        let mut bench = Bench::new(start(&[1, 2, 3]));
        for act in acts {
            perform(&mut bench, act);
        }
        // Those who follow take no notice of it.
        let epochs = |bench: &Bench| bench.leadership.epoch().map(|epoch| z(epoch, 0));
        bench.join(2, 6);
        bench.write_all();
        bench.ack_epoch(2, Some(6), z(6, 3));
        bench.write_all();
        let begin = epochs(&bench).expect("a quorum is there");
        bench.ack(2, begin);
        prop_assert!(bench.established.is_some());
        for act in later {
            perform(&mut bench, act);
        }
        let zxid = bench.propose();
        for counter in 1..=zxid.counter() {
            bench.ack(2, z(zxid.epoch(), counter));
        }
        bench.log_written(zxid);
        prop_assert_eq!(bench.committed, zxid);
        prop_assert!(bench.is_open(2));
        prop_assert_eq!(bench.ended, None);
        prop_assert!(bench.leadership.feeding.len() <= 5);
    }
}
