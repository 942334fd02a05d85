//! One member that nobody answers, led by hand.

mod learners;
mod locals;
mod read_only;
mod reads;

use std::collections::BTreeMap;

use crate::base::{ConnId, Instant, Now, ServerId, SessionId, WallMillis, Zxid};
use crate::config::{Config, MemberConfig};
use crate::history::{StorageCommand, StorageEvent};
use crate::members::{MemberSpec, Membership};
use crate::node::{CloseReason, Effect, Effects, Event, Node, NodeMode, Start};
use crate::proto::{Acl, OpCode, Writer};
use crate::session::password;
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
        behind: Default::default(),
        accepted_epoch: 0,
        current_epoch: 0,
        is_lost: false,
        snapshot: Some(Zxid::ZERO),
        directory_kept_ms: u64::MAX,
    }
}

/// A member and its clock; of an ensemble of one unless a test wants more.
struct Alone {
    node: Node,
    now: Now,
    /// Connections that it has closed.
    closed: Vec<ConnId>,
    /// Txns that it has logged.
    logged: i64,
}

impl Alone {
    fn new() -> Alone {
        Alone::among(1, |_, _| {})
    }

    fn among(members: i64, change: impl FnOnce(&mut Config, &mut Start)) -> Alone {
        let line = |n| {
            let spec = MemberSpec::read(ServerId(n), &format!("m{n}:2888:3888"), false);
            (ServerId(n), spec.expect("a line"))
        };
        let members = Membership::new(0, BTreeMap::from_iter((1..=members).map(line)));
        let mut config = Config::for_tests();
        config.tick_time_ms = 1000;
        (config.min_session_timeout_ms, config.max_session_timeout_ms) = (2000, 40_000);
        config.ensemble.init_limit_ticks = 10;
        config.ensemble.sync_limit_ticks = 5;
        config.ensemble.member = Some(MemberConfig::for_tests(ServerId(1), members));
        let mut start = fresh();
        change(&mut config, &mut start);
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
        let node = Node::new(&config, start, now, 7).expect("a node");
        Alone { node, now, closed: Vec::new(), logged: 0 }
    }

    /// A turn, with everything that it hands over told durable in the next: what is sent.
    fn turn(&mut self, events: &[Event<'_>]) -> Vec<u8> {
        let mut out = Effects::default();
        self.node.turn(self.now, events, &mut out);
        self.node.check();
        let mut sent = out.arena;
        for effect in &out.list {
            match effect {
                Effect::Close { conn, .. } => self.closed.push(*conn),
                Effect::Storage(StorageCommand::Append { first, last, .. }) => {
                    self.logged += last.0 - first.0 + 1;
                }
                _ => {}
            }
        }
        let commands = out.list.iter().filter_map(|effect| match effect {
            Effect::Storage(command) => Some(command.ticket()),
            _ => None,
        });
        let tickets: Vec<_> = commands.collect();
        assert!(tickets.is_sorted_by(|a, b| a < b), "the log thread takes them in order");
        if let Some(ticket) = tickets.last().copied() {
            let durable = StorageEvent::Durable { ticket, sync_us: 0 };
            sent.extend(self.turn(&[Event::Storage(durable)]));
        }
        sent
    }

    /// Turns until there is nothing left to do: what is sent.
    fn settle(&mut self, events: &[Event<'_>]) -> Vec<u8> {
        let mut sent = self.turn(events);
        while self.node.wants_turn() {
            sent.extend(self.turn(&[]));
        }
        sent
    }

    /// Time passes, a little at a time.
    fn wait(&mut self, ms: u64) -> Vec<u8> {
        let mut sent = Vec::new();
        for _ in 0..ms / 10 {
            self.now.mono = self.now.mono.plus_ms(10);
            sent.extend(self.settle(&[]));
        }
        sent
    }

    /// A client comes, for a new session or with one that it has: what it is told.
    fn connect(&mut self, conn: ConnId, session: i64, read_only: bool) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i32(0);
        body.put_i64(0);
        body.put_i32(4000);
        body.put_i64(session);
        body.put_buffer(Some(&password(SessionId(session))));
        body.put_bool(read_only);
        let at = "127.0.0.1:1".parse().expect("an address");
        let accepted = Event::Accepted { conn, peer: at, local: at, secure: false, subject: None };
        self.settle(&[accepted, Event::Frame { conn, body: &body }])
    }

    /// The frame that answers a request.
    fn ask(&mut self, conn: ConnId, xid: i32, op: OpCode, body: &[u8]) -> Vec<u8> {
        let frame = [&xid.to_be_bytes(), &op.number().to_be_bytes(), body].concat();
        self.settle(&[Event::Frame { conn, body: &frame }])
    }

    /// The connection is gone.
    fn lose(&mut self, conn: ConnId) {
        self.settle(&[Event::Closed { conn, reason: CloseReason::PeerClosed }]);
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

/// A connection like any other.
fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

/// The session that an answer to a connect request names, its timeout, and whether it is to read
/// only.
fn welcome(frame: &[u8]) -> (i64, i32, bool) {
    assert_eq!(frame.len(), 4 + 37, "{frame:?}");
    let session = frame[12..20].try_into().expect("eight bytes");
    let timeout_ms = frame[8..12].try_into().expect("four bytes");
    (i64::from_be_bytes(session), i32::from_be_bytes(timeout_ms), frame[40] == 1)
}

/// Number and error of the only reply in these bytes.
fn reply(bytes: &[u8]) -> (i32, i32) {
    let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(int(0) as usize, bytes.len() - 4, "one frame: {bytes:?}");
    (int(4), int(16))
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_string(path);
    body.put_buffer(None);
    Acl::write_list(&[Acl::open()], &mut body);
    body.put_i32(flags);
    body
}

fn path(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_string(path);
    body.put_bool(false);
    body
}

/// It took the next ping, once, a third of a second and more.
#[test]
fn one_that_is_a_quorum_writes_its_configuration_and_its_epoch_in_order() {
    let mut alone = Alone::among(1, |config, _| config.ensemble.reconfig_enabled = true);
    alone.lead();
}

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
