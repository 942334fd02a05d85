//! A node in memory whose storage is durable at once: what a turn costs by itself.

use zkd::base::{ConnId, Instant, Now, SessionId, WallMillis, Xid, Zxid};
use zkd::client::{Call, NewNode};
use zkd::config::Config;
use zkd::history::StorageEvent;
use zkd::node::{Effect, Effects, Event, Node, Start};
use zkd::proto::{ConnectRequest, RequestHeader};
use zkd::state::{State, StateSettings};

/// Nodes that reads and sets choose from.
pub const NODES: usize = 1000;
/// Requests that one turn takes.
pub const DEPTH: usize = 20;

pub struct Rig {
    node: Node,
    out: Effects,
    now: Now,
    last_xid: i32,
    pub conns: Vec<ConnId>,
}

pub fn path(n: usize) -> String {
    format!("/bench/node-{n:07}")
}

impl Rig {
    /// With sessions, and nodes of 100 bytes.
    pub fn new(sessions: u32) -> Rig {
        let mut config = Config::for_tests();
        // No snapshot, and no session that ends: the clock stands still.
        config.storage.snap_count = i32::MAX;
        let start = Start {
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
            snapshot: None,
            directory_kept_ms: u64::MAX,
        };
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1_000_000) };
        let node = Node::new(&config, start, now, 7).expect("sound settings");
        let mut rig = Rig { node, out: Effects::default(), now, last_xid: 0, conns: Vec::new() };
        for index in 0..sessions {
            rig.connect(index);
        }
        let first = rig.conns[0];
        let mut made = vec![rig.frame(&Call::Create(NewNode::persistent("/bench", b"")))];
        let data = [b'x'; 100];
        for n in 0..NODES {
            made.push(rig.frame(&Call::Create(NewNode::persistent(&path(n), &data))));
        }
        for frames in made.chunks(DEPTH) {
            rig.turn(first, frames);
        }
        rig
    }

    fn connect(&mut self, index: u32) {
        let conn = ConnId { index, generation: 1 };
        let peer = "127.0.0.1:9".parse().expect("an address");
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 30_000,
            session: SessionId::NONE,
            password: None,
            read_only: Some(false),
        };
        let mut body = Vec::new();
        request.write(&mut body);
        self.events(&[
            Event::Accepted { conn, peer, local: peer, secure: false, subject: None },
            Event::Frame { conn, body: &body },
        ]);
        self.conns.push(conn);
    }

    /// A request as it comes, without its length.
    pub fn frame(&mut self, call: &Call<'_>) -> Vec<u8> {
        self.last_xid += 1;
        let mut out = Vec::new();
        RequestHeader { xid: Xid(self.last_xid), op: call.op().number() }.write(&mut out);
        call.write(&mut out);
        out
    }

    /// Requests of one connection, up to their answers; gives the bytes sent.
    pub fn turn(&mut self, conn: ConnId, frames: &[Vec<u8>]) -> usize {
        let events: Vec<Event<'_>> =
            frames.iter().map(|body| Event::Frame { conn, body }).collect();
        self.events(&events)
    }

    fn events(&mut self, events: &[Event<'_>]) -> usize {
        self.out.clear();
        self.node.turn(self.now, events, &mut self.out);
        let mut sent = self.out.arena.len();
        loop {
            let ticket = self.out.list.iter().filter_map(|effect| match effect {
                Effect::Storage(command) => Some(command.ticket()),
                _ => None,
            });
            let ticket = ticket.max();
            if ticket.is_none() && !self.node.wants_turn() {
                return sent;
            }
            self.out.clear();
            let durable = |ticket| Event::Storage(StorageEvent::Durable { ticket, sync_us: 0 });
            let events: Vec<Event<'_>> = ticket.map(durable).into_iter().collect();
            self.node.turn(self.now, &events, &mut self.out);
            sent += self.out.arena.len();
        }
    }
}
