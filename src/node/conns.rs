//! The connections of a node, by slab index.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::auth::{Identities, SaslExchange};
use crate::base::{ConnId, Instant, Now, SessionId, Summary, WallMillis, Xid, Zxid};
use crate::serve::Order;

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing but a connect request may come.
    AwaitConnect,
    /// The session is being made; what comes meanwhile waits here.
    AwaitSession {
        early: VecDeque<Box<[u8]>>,
    },
    Open,
    /// The Kerberos library has its token; what comes meanwhile waits here, as in Java.
    AwaitProof {
        xid: Xid,
        early: VecDeque<Box<[u8]>>,
    },
    /// Its last bytes are on their way; nothing it says counts any more.
    Closing,
}

/// Why a connection is not read at present; it is read again when no reason is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses(u8);

impl Pauses {
    pub const HANDSHAKE: u8 = 1;
    pub const BACKLOG: u8 = 2;
    pub const QUEUE: u8 = 4;
    pub const OUTSTANDING: u8 = 8;
    pub const THROTTLE: u8 = 16;
    pub const PROOF: u8 = 32;

    /// Whether this made the difference between read and not read.
    pub fn set(&mut self, reason: u8) -> bool {
        let before = self.0;
        self.0 |= reason;
        before == 0
    }

    pub fn clear(&mut self, reason: u8) -> bool {
        let before = self.0;
        self.0 &= !reason;
        before != 0 && self.0 == 0
    }

    pub fn is_read(self) -> bool {
        self.0 == 0
    }

    pub fn has(self, reason: u8) -> bool {
        self.0 & reason != 0
    }
}

/// What `cons` tells of a connection.
#[derive(Clone, Debug)]
pub(super) struct ConnStats {
    pub established: WallMillis,
    pub last_heard: Instant,
    pub received: u64,
    pub replies: u64,
    pub last_op: &'static str,
    pub last_cxid: i64,
    pub last_zxid: Zxid,
    pub last_response: Instant,
    pub last_latency_ms: u64,
    pub latency: Summary,
}

impl ConnStats {
    pub fn new(now: Now) -> ConnStats {
        ConnStats {
            established: now.wall,
            last_heard: now.mono,
            received: 0,
            replies: 0,
            last_op: "NA",
            last_cxid: -1,
            last_zxid: Zxid::NONE,
            last_response: Instant(0),
            last_latency_ms: 0,
            latency: Summary::basic(),
        }
    }

    /// `crst`.
    pub fn reset(&mut self) {
        self.received = 0;
        self.replies = 0;
        self.last_op = "NA";
        self.last_cxid = -1;
        self.last_zxid = Zxid::NONE;
        self.last_response = Instant(0);
        self.last_latency_ms = 0;
        self.latency.reset();
    }

    pub fn on_reply(
        &mut self,
        op: &'static str,
        xid: Xid,
        zxid: Zxid,
        latency_ms: u64,
        now: Instant,
    ) {
        if xid.0 >= 0 {
            self.last_cxid = i64::from(xid.0);
        }
        self.last_op = op;
        self.last_zxid = zxid;
        self.last_response = now;
        self.last_latency_ms = latency_ms;
        self.latency.observe(latency_ms);
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub id: ConnId,
    pub peer: SocketAddr,
    pub phase: Phase,
    pub ids: Identities,
    pub sasl: SaslExchange,
    pub session: SessionId,
    pub timeout_ms: i32,
    /// As the client's connect request had it: absent in those of before 3.4.
    pub read_only: Option<bool>,
    pub order: Order,
    pub pauses: Pauses,
    /// Requests that wait because too many are under way.
    pub throttled: usize,
    /// In the ring of connections with work left over.
    pub is_runnable: bool,
    pub stats: ConnStats,
    /// When it last showed that its client lives: it spoke, or took what it was sent.
    pub alive: Instant,
}

impl Conn {
    /// Its session is there, and has been told to its client.
    pub fn is_let_in(&self) -> bool {
        self.session != SessionId::NONE && !self.pauses.has(Pauses::HANDSHAKE)
    }

    /// Its session's client has spoken since then: on a connection that is about to end, too, for
    /// the session may outlive it.
    pub fn is_heard_since(&self, since: Instant) -> bool {
        self.is_let_in() && self.alive >= since
    }
}

/// All connections. An id whose generation has passed finds nothing.
#[derive(Debug, Default)]
pub(super) struct Conns {
    slots: Vec<Option<Box<Conn>>>,
    /// Events that each was sent, side by side: to tell ten thousand of a change must not fetch
    /// all there is to know of them.
    events: Vec<u64>,
    count: usize,
}

impl Conns {
    pub fn insert(&mut self, conn: Conn) {
        let index = conn.id.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
            self.events.resize(index + 1, 0);
        }
        let before = self.slots[index].replace(Box::new(conn));
        assert!(before.is_none(), "a slot is told closed before it is used again");
        self.events[index] = 0;
        self.count += 1;
    }

    /// A connection that is there is sent an event.
    pub fn count_event(&mut self, id: ConnId) {
        self.events[id.index as usize] += 1;
    }

    /// Replies and events that a connection was sent.
    pub fn sent(&self, conn: &Conn) -> u64 {
        conn.stats.replies + self.events[conn.id.index as usize]
    }

    /// `crst`.
    pub fn reset_stats(&mut self) {
        self.slots.iter_mut().flatten().for_each(|conn| conn.stats.reset());
        self.events.fill(0);
    }

    pub fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.slots.get_mut(id.index as usize)?.as_deref_mut()?;
        (conn.id == id).then_some(conn)
    }

    pub fn peek(&self, id: ConnId) -> Option<&Conn> {
        let conn = self.slots.get(id.index as usize)?.as_deref()?;
        (conn.id == id).then_some(conn)
    }

    pub fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.peek(id)?;
        self.count -= 1;
        self.slots[id.index as usize].take()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().filter_map(|slot| slot.as_deref())
    }

    /// The slot after `from` that holds a connection, for listings that go on in a later turn.
    pub fn next_from(&self, from: usize) -> Option<(usize, &Conn)> {
        let rest = self.slots.get(from..)?;
        let at = rest.iter().position(Option::is_some)?;
        rest[at].as_deref().map(|conn| (from + at, conn))
    }
}
