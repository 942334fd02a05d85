//! One connection: a stream of bytes in each direction, from a kernel's buffer to another's.

use std::collections::VecDeque;

use zkd::base::{Instant, Rng};

/// How a stream ends for who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Everything was said.
    End,
    /// It broke; what had not been read may be lost.
    Reset,
}

/// What travels in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    Over(Over),
}

/// One direction, named for the end that writes it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub rng: Rng,
    /// On its way, with the time of arrival. None overtakes another.
    pub in_flight: VecDeque<(Instant, Piece)>,
    pub latest: Instant,
    /// When the front is looked at.
    pub pump: Option<Instant>,
    /// Since when nothing gets through.
    pub stalled: Option<Instant>,
    /// Bytes taken from the writer that the reader is not known to have read.
    pub outstanding: usize,
    pub wants_room: bool,
    /// Read, and the writer's kernel does not know yet.
    pub read: usize,
    /// Since when that does not get back to it.
    pub room_stalled: Option<Instant>,
    /// In the reader's kernel.
    pub arrived: VecDeque<u8>,
    pub over: Option<Over>,
}

/// One of the two ends, as its kernel has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub node: usize,
    /// The application has it, or will have it when it accepts.
    pub is_open: bool,
    /// A reset is on its way here and does not get through.
    pub reset_stalled: bool,
}

#[derive(Debug)]
pub(super) struct Conn {
    /// Who dialled, and who was dialled.
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
    /// Nothing passes any more and nobody is told.
    pub is_dead: bool,
}

impl Pipe {
    pub fn new(rng: Rng, now: Instant) -> Pipe {
        Pipe {
            rng,
            in_flight: VecDeque::new(),
            latest: now,
            pump: None,
            stalled: None,
            outstanding: 0,
            wants_room: false,
            read: 0,
            room_stalled: None,
            arrived: VecDeque::new(),
            over: None,
        }
    }

    /// Cuts what was written wherever it pleases: often nowhere, sometimes at every byte.
    pub fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let most = match self.rng.below(16) {
            0..=7 => bytes.len(),
            8..=13 => 1 + bytes.len() / 2,
            14 => 7,
            _ => 1,
        };
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let least = if most == bytes.len() { most } else { 1 };
            let size = least + self.rng.below((most - least + 1) as u64) as usize;
            let (piece, later) = rest.split_at(size.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = later;
        }
        pieces
    }

    /// Puts a piece on its way, behind those before it.
    pub fn send(&mut self, due: Instant, piece: Piece) {
        self.latest = self.latest.max(due);
        self.in_flight.push_back((self.latest, piece));
    }

    /// It broke for who reads it: some of what lies there unread is lost, from the end.
    pub fn reset(&mut self) {
        let kept = self.rng.below(self.arrived.len() as u64 + 1) as usize;
        self.arrived.truncate(kept);
        self.over = Some(Over::Reset);
    }
}

impl Conn {
    /// Between which nodes it is, written from one end.
    pub fn way(&self, from: usize) -> (usize, usize) {
        (self.ends[from].node, self.ends[1 - from].node)
    }

    pub fn is_between(&self, a: usize, b: usize) -> bool {
        self.way(0) == (a, b) || self.way(1) == (a, b)
    }

    /// Nobody has it and nothing of it is on its way.
    pub fn is_over(&self) -> bool {
        let quiet = |pipe: &Pipe| pipe.in_flight.is_empty();
        let gone = self.ends.iter().all(|end| !end.is_open && !end.reset_stalled);
        gone && (self.is_dead || self.pipes.iter().all(quiet))
    }
}
