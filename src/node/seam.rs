//! The seam: what a node is told and what it asks for.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::auth::{KerberosAsk, KerberosSaid};
use crate::base::{ConnId, Fatal, limits};
use crate::election::DialFailure;
use crate::history::{ChoreCommand, StorageCommand, StorageEvent};
use crate::peering::HostPort;

use super::Start;

/// Something that happened since the last turn.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Storage(StorageEvent),
    /// The answer to a token.
    Kerberos(KerberosSaid),
    /// A client connected. It is read from now on.
    Accepted {
        conn: ConnId,
        peer: SocketAddr,
        local: SocketAddr,
        secure: bool,
        /// Whom its certificate names, where it has shown one that is trusted (RFC 2253).
        subject: Option<Box<str>>,
    },
    /// One whole frame of a connection, without its length.
    Frame {
        conn: ConnId,
        body: &'a [u8],
    },
    /// The connection is gone; its id will not be named again.
    Closed {
        conn: ConnId,
        reason: CloseReason,
    },
    /// Unsent bytes of a connection: told whenever they pass `CONN_BACKLOG_PAUSE` upwards, and
    /// when they have drained to zero after that.
    Backlog {
        conn: ConnId,
        bytes: usize,
    },
    /// A connection with a backlog has taken some of it: its client lives.
    Taking {
        conn: ConnId,
    },
    Peer(PeerEvent<'a>),
    /// The history was recovered once more, as `Rebuild` asked.
    Rebuilt(&'a Handover<Start>),
    /// Some connection has input left unread: timers that input would stop must wait.
    InputLeft,
    /// An operator asked the process to end.
    Shutdown,
}

/// Which of its ports a peer has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerPort {
    Election,
    Quorum,
    /// Where those who follow feed those who observe.
    Observers,
}

/// What happens on links to peers. They are paused, sent to and closed as clients' are.
#[derive(Clone, Copy, Debug)]
pub enum PeerEvent<'a> {
    /// Somebody has come. The link is read from now on.
    Accepted { link: ConnId, port: PeerPort, from: SocketAddr },
    /// How a dial has ended; the link is read from now on.
    Dialed { dial: u64, outcome: Result<ConnId, DialFailure> },
    /// What a link said next, cut anywhere.
    Bytes { link: ConnId, bytes: &'a [u8] },
    /// The link is gone, though nobody asked for that; its id will not be named again.
    Closed { link: ConnId },
    /// So many bytes that were sent to the link wait to be taken. Told whenever that becomes or
    /// ceases to be none, and when the peer has taken `PEER_TOLD_BYTES` of them.
    Unsent { link: ConnId, bytes: usize },
}

/// Something too large to copy, taken once out of an event. Nobody ever waits for its lock.
pub struct Handover<T>(Mutex<Option<Box<T>>>);

impl<T> Handover<T> {
    pub fn new(thing: T) -> Handover<T> {
        Handover(Mutex::new(Some(Box::new(thing))))
    }

    pub fn take(&self) -> Option<Box<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> fmt::Debug for Handover<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

/// Why a connection ended, for the log line and the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    PeerClosed,
    /// The socket failed.
    SocketError,
    /// A frame longer than allowed, or of negative length.
    BadLength(i32),
    /// It had no session in time, or did not take its last bytes.
    Idle,
    /// Too much had to be held for it: bytes it did not take, or half of a frame.
    Overflow,
    /// The node asked for it.
    Asked,
}

/// Where a configuration says that a server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub election: Vec<HostPort>,
    pub quorum: Vec<HostPort>,
    /// Where it feeds observers, if it votes.
    pub observers: Vec<HostPort>,
    /// None: where clients found it before.
    pub client: Option<HostPort>,
}

/// Something to be done, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Bytes of the turn's arena for a connection.
    Send {
        conn: ConnId,
        range: Range<u32>,
    },
    /// End a connection, once everything sent before has left where `after_flush`.
    Close {
        conn: ConnId,
        after_flush: bool,
    },
    /// The connection has a session: the limit on session-less connections no longer counts it.
    Established {
        conn: ConnId,
    },
    /// Stop, or go on, reading a connection.
    Pause {
        conn: ConnId,
    },
    Resume {
        conn: ConnId,
    },
    /// Stop, or go on, accepting connections and reading from those that are there.
    PauseAll,
    ResumeAll,
    /// Reach for a peer: the addresses in the order of preference, the first that answers counts.
    /// Their names are looked up anew. `Dialed` says how it ended, within the time.
    Dial {
        dial: u64,
        addresses: Vec<HostPort>,
        /// Which of the peer's ports that is.
        port: PeerPort,
        within_ms: u64,
    },
    /// Its outcome is of no interest any more and is not told.
    DropDial {
        dial: u64,
    },
    /// By a new configuration this server is found elsewhere: it listens there from now on, and
    /// no more where it did. Links that have come stay.
    Move(Box<Places>),
    Storage(StorageCommand),
    Chore(ChoreCommand),
    /// A whole state was let go, or all that a learner was brought up with, while nobody is served.
    GiveBackMemory,
    /// For the thread that holds the Kerberos library.
    Kerberos(KerberosAsk),
    /// Everything is durable and answered: end with status 0.
    Finished,
    /// End now, with the reason's status.
    Fatal(Fatal),
}

/// What one turn asks for: an ordered list and the bytes it names.
#[derive(Debug, Default)]
pub struct Effects {
    pub list: Vec<Effect>,
    pub arena: Vec<u8>,
}

impl Effects {
    pub fn clear(&mut self) {
        self.list.clear();
        self.arena.clear();
        self.list.shrink_to(limits::KEPT_ENTRIES);
        self.arena.shrink_to(limits::ARENA_KEPT_BYTES);
    }

    /// Writes bytes for one connection: `write` appends them to the arena.
    pub fn send(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.arena.len();
        write(&mut self.arena);
        self.push_range(conn, from..self.arena.len());
    }

    /// Sends a range that is already in the arena: one encoding for many receivers.
    pub fn push_range(&mut self, conn: ConnId, range: Range<usize>) {
        assert!(range.end <= self.arena.len(), "a range of this turn's arena");
        if range.is_empty() {
            return;
        }
        let range = range.start as u32..range.end as u32;
        // Neighbouring bytes for the same connection are one send.
        if let Some(Effect::Send { conn: last, range: before }) = self.list.last_mut()
            && *last == conn
            && before.end == range.start
        {
            before.end = range.end;
            return;
        }
        self.list.push(Effect::Send { conn, range });
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }
}
