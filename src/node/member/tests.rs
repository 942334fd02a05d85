//! One member that is its own quorum, led by hand.

use std::collections::BTreeMap;

use crate::base::{ConnId, Instant, Now, ServerId, WallMillis, Zxid};
use crate::config::{Config, MemberConfig};
use crate::history::StorageEvent;
use crate::members::{MemberSpec, Membership};
use crate::node::{Effect, Effects, Event, Node, NodeMode, Start};
use crate::state::{State, StateSettings};

/// A directory that nothing was written to.
pub(super) fn fresh() -> Start {
    Start {
        state: State::new(&StateSettings::default()),
        tail: Vec::new(),
        last_logged: Zxid::ZERO,
        replay_until: Zxid::ZERO,
        wants_snapshot: false,
        mismatches: 0,
        txns_behind: 0,
        accepted_epoch: 0,
        current_epoch: 0,
        is_lost: false,
        snapshot: Some(Zxid::ZERO),
        directory_kept_ms: u64::MAX,
    }
}

/// A member of an ensemble of one, and its clock.
struct Alone {
    node: Node,
    now: Now,
}

impl Alone {
    fn new() -> Alone {
        let line = MemberSpec::read(ServerId(1), "m1:2888:3888", false).expect("a line");
        let members = Membership::new(0, BTreeMap::from([(ServerId(1), line)]));
        let mut config = Config::for_tests();
        config.ensemble.init_limit_ticks = 10;
        config.ensemble.sync_limit_ticks = 5;
        config.ensemble.member = Some(MemberConfig::for_tests(ServerId(1), members));
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
        let node = Node::new(&config, fresh(), now, 7).expect("a node");
        Alone { node, now }
    }

    /// A turn, with everything that it hands over told durable in the next: what is sent.
    fn turn(&mut self, events: &[Event<'_>]) -> Vec<u8> {
        let mut out = Effects::default();
        self.node.turn(self.now, events, &mut out);
        self.node.check();
        let mut sent = out.arena;
        let commands = out.list.iter().filter_map(|effect| match effect {
            Effect::Storage(command) => Some(command.ticket()),
            _ => None,
        });
        if let Some(ticket) = commands.last() {
            let durable = StorageEvent::Durable { ticket, sync_us: 0 };
            sent.extend(self.turn(&[Event::Storage(durable)]));
        }
        sent
    }

    fn lead(&mut self) {
        for _ in 0..100 {
            if self.node.mode() == NodeMode::Leader {
                return;
            }
            self.now.mono = self.now.mono.plus_ms(10);
            self.turn(&[]);
        }
        panic!("it is all the quorum there is");
    }
}

/// It took the next ping, once, a third of a second and more.
#[test]
fn a_sync_of_an_idle_leaders_client_needs_no_event_to_be_answered() {
    let mut alone = Alone::new();
    alone.lead();
    let conn = ConnId { index: 0, generation: 1 };
    let at = "127.0.0.1:1".parse().expect("an address");
    let accepted = Event::Accepted { conn, peer: at, local: at, secure: false, subject: None };
    let connect = [&[0; 12][..], &30_000_i32.to_be_bytes(), &[0; 8], &[0, 0, 0, 16], &[0; 16]];
    let welcome = alone.turn(&[accepted, Event::Frame { conn, body: &connect.concat() }]);
    assert!(!welcome.is_empty(), "there is a session");
    while alone.node.wants_turn() {
        alone.turn(&[]);
    }
    // Number 5, operation 9, the root.
    let sync = [0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1, b'/'];
    let at_once = alone.turn(&[Event::Frame { conn, body: &sync }]);
    assert!(!at_once.is_empty() || alone.node.wants_turn(), "nobody else brings a turn");
    let answer = if at_once.is_empty() { alone.turn(&[]) } else { at_once };
    assert_eq!(answer[4..8], [0, 0, 0, 5]);
    assert!(!alone.node.wants_turn(), "then it may sleep");
}
