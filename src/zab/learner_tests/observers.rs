//! What a follower asks its leader for on behalf of observers behind it.

use crate::base::{ConnId, SessionId, Zxid, limits};
use crate::peering::{PacketKind, Revalidate, Revalidated};
use crate::zab::{LearnerOutput, Ready, ToLeader};

use super::bench::Bench;
use super::steady::established;
use super::wire::Wire;
use super::{follower_settings, observer_settings, z};

const LINK: ConnId = ConnId { index: 9, generation: 1 };
const ASKED: Revalidate = Revalidate { session: SessionId(7), timeout_ms: 5000 };

fn answers(bench: &Bench) -> Vec<LearnerOutput> {
    let is_answer = |output: &&LearnerOutput| {
        matches!(
            output,
            LearnerOutput::Revalidated { .. }
                | LearnerOutput::ObserverRevalidated { .. }
                | LearnerOutput::ObserverSynced { .. }
        )
    };
    bench.asked.iter().filter(is_answer).cloned().collect()
}

#[test]
fn an_observers_sync_has_its_turn_among_those_of_clients() {
    let mut bench = established(follower_settings());
    bench.ready.clear();
    assert!(bench.role.sync(1) && bench.role.sync_for(LINK) && bench.role.sync(2));
    let wire = Wire::new().sync().proposal(z(5, 1)).commit(z(5, 1)).sync();
    bench.feed(&wire.proposal(z(5, 2)).commit(z(5, 2)).sync().bytes);
    assert_eq!(answers(&bench), [LearnerOutput::ObserverSynced { link: LINK, after: z(5, 1) }]);
    let synced = bench.ready.iter().filter_map(|ready| match ready {
        Ready::Synced(origin) => Some(*origin),
        Ready::Txn(_) => None,
    });
    assert_eq!(synced.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn of_all_who_ask_for_a_session_the_first_is_answered_first() {
    for is_observer_first in [false, true] {
        let mut bench = established(follower_settings());
        if is_observer_first {
            assert!(bench.revalidate_for(LINK, ASKED));
        }
        bench.revalidate(ASKED);
        if !is_observer_first {
            assert!(bench.revalidate_for(LINK, ASKED));
        }
        assert_eq!(bench.packets(), [ToLeader::Revalidate(ASKED); 2]);
        for is_valid in [true, false] {
            let mut data = Vec::new();
            Revalidated { session: SessionId(7), is_valid }.write(&mut data);
            let wire = Wire::new().packet(PacketKind::Revalidate, Zxid::NONE, Some(&data));
            bench.feed(&wire.bytes);
        }
        let own = |is_valid| LearnerOutput::Revalidated { session: SessionId(7), is_valid };
        let theirs = |is_valid| {
            let revalidated = Revalidated { session: SessionId(7), is_valid };
            LearnerOutput::ObserverRevalidated { link: LINK, revalidated }
        };
        let expected = match is_observer_first {
            true => [theirs(true), own(false)],
            false => [own(true), theirs(false)],
        };
        assert_eq!(answers(&bench), expected);
    }
}

#[test]
fn observers_that_ask_for_too_much_do_not_cost_this_servers_clients_theirs() {
    let mut bench = established(follower_settings());
    assert!((0..limits::OBSERVERS_ASKED).all(|_| bench.role.sync_for(LINK)));
    assert!(!bench.role.sync_for(LINK) && !bench.revalidate_for(LINK, ASKED));
    assert_eq!(bench.packets(), []);
    assert!(bench.role.sync(1));
    bench.feed(&Wire::new().sync().bytes);
    assert!(bench.role.sync_for(LINK), "one was answered");
}

#[test]
fn who_observes_itself_or_has_no_leader_yet_asks_for_nobody() {
    let mut bench = established(observer_settings());
    assert!(!bench.role.sync_for(LINK) && !bench.revalidate_for(LINK, ASKED));
}
