//! What follows an election, as far as elections depend on it: a leader finds a quorum of
//! followers over its quorum port, gives them an epoch and what it has, and lives on as long as
//! they answer. A stand-in for what is to come, with the same rules about epochs.

use zkd::base::{Instant, ServerId};

use super::following::Following;
use super::history::Deed;
use super::leading::Leading;
use super::plan::Plan;
use super::wires::Wires;
use crate::world::network::{DialError, Read, Socket};

/// Where a leader listens.
pub const QUORUM_PORT: u16 = 2888;

/// What a member has on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub zxid: i64,
    pub accepted: i64,
    pub current: i64,
}

impl Kept {
    pub fn note(&self, wires: &mut Wires<'_>) {
        wires.note(Deed::Epochs { accepted: self.accepted, current: self.current });
    }
}

/// What a member hears of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The leader can be connected to.
    Opened,
    /// A quorum follows this leader, or this follower has been let in.
    Established {
        epoch: i64,
    },
    Lost,
}

/// What a role needs of its member.
pub struct Office<'o, 'w> {
    pub wires: &'o mut Wires<'w>,
    pub kept: &'o mut Kept,
    pub plan: &'o Plan,
    pub me: ServerId,
}

#[derive(Debug)]
pub enum Role {
    Leading(Leading),
    Following(Following),
}

impl Role {
    pub fn accept(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        if let Role::Leading(leading) = self {
            leading.accept(office, news);
        }
    }

    pub fn on_dialled(
        &mut self,
        office: &mut Office<'_, '_>,
        dial: u64,
        outcome: Result<Socket, DialError>,
        news: &mut Vec<News>,
    ) -> bool {
        match self {
            Role::Leading(_) => false,
            Role::Following(following) => following.on_dialled(office, dial, outcome, news),
        }
    }

    /// Whether the socket is this role's.
    pub fn on_readable(
        &mut self,
        office: &mut Office<'_, '_>,
        socket: Socket,
        news: &mut Vec<News>,
    ) -> bool {
        match self {
            Role::Leading(leading) => leading.on_readable(office, socket, news),
            Role::Following(following) => following.on_readable(office, socket, news),
        }
    }

    pub fn on_writable(&mut self, office: &mut Office<'_, '_>, socket: Socket) -> bool {
        match self {
            Role::Leading(leading) => leading.on_writable(office, socket),
            Role::Following(following) => following.on_writable(office, socket),
        }
    }

    pub fn on_timeout(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        match self {
            Role::Leading(leading) => leading.on_timeout(office, news),
            Role::Following(following) => following.on_timeout(office, news),
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Role::Leading(leading) => leading.next_timeout(),
            Role::Following(following) => following.next_timeout(),
        }
    }

    /// The role ends: its port and its lines are closed.
    pub fn end(self, wires: &mut Wires<'_>) {
        match self {
            Role::Leading(leading) => leading.end(wires),
            Role::Following(following) => following.end(wires),
        }
    }
}

/// What leaders and followers say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Hello {
        id: i64,
        accepted: i64,
    },
    Epoch {
        epoch: i64,
    },
    /// With the current epoch, or -1 where the epoch had been accepted before.
    AckEpoch {
        current: i64,
        zxid: i64,
    },
    NewLeader {
        epoch: i64,
        zxid: i64,
    },
    AckLeader {
        epoch: i64,
    },
    UpToDate,
    Ping,
    Pong,
    Txn {
        zxid: i64,
    },
    Ack {
        zxid: i64,
    },
}

const WORD_BYTES: usize = 17;

impl Word {
    pub fn bytes(self) -> [u8; WORD_BYTES] {
        let (kind, first, second) = match self {
            Word::Hello { id, accepted } => (0, id, accepted),
            Word::Epoch { epoch } => (1, epoch, 0),
            Word::AckEpoch { current, zxid } => (2, current, zxid),
            Word::NewLeader { epoch, zxid } => (3, epoch, zxid),
            Word::AckLeader { epoch } => (4, epoch, 0),
            Word::UpToDate => (5, 0, 0),
            Word::Ping => (6, 0, 0),
            Word::Pong => (7, 0, 0),
            Word::Txn { zxid } => (8, zxid, 0),
            Word::Ack { zxid } => (9, zxid, 0),
        };
        let mut bytes = [0; WORD_BYTES];
        bytes[0] = kind;
        bytes[1..9].copy_from_slice(&first.to_be_bytes());
        bytes[9..].copy_from_slice(&second.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Word {
        let long = |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("a long"));
        let (first, second) = (long(1), long(9));
        match bytes[0] {
            0 => Word::Hello { id: first, accepted: second },
            1 => Word::Epoch { epoch: first },
            2 => Word::AckEpoch { current: first, zxid: second },
            3 => Word::NewLeader { epoch: first, zxid: second },
            4 => Word::AckLeader { epoch: first },
            5 => Word::UpToDate,
            6 => Word::Ping,
            7 => Word::Pong,
            8 => Word::Txn { zxid: first },
            9 => Word::Ack { zxid: first },
            kind => panic!("the simulator's own words are known, not {kind}"),
        }
    }
}

/// What has come over a line and is not a whole word yet.
#[derive(Debug, Default)]
pub struct Words(Vec<u8>);

impl Words {
    /// All that has come since. False when the line is over.
    pub fn take(&mut self, wires: &mut Wires<'_>, socket: Socket, heard: &mut Vec<Word>) -> bool {
        let goes_on = loop {
            match wires.network.read(wires.clock, socket, usize::MAX) {
                Read::Bytes(bytes) => self.0.extend(bytes),
                Read::Nothing => break true,
                Read::Over(_) => break false,
            }
        };
        let whole = self.0.len() / WORD_BYTES * WORD_BYTES;
        heard.extend(self.0[..whole].chunks(WORD_BYTES).map(Word::read));
        self.0.drain(..whole);
        goes_on
    }
}
