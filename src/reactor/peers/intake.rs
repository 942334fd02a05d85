//! What peers have said: bytes of many links in one scratch, told where they lie.

use std::io;

use crate::base::ConnId;
use crate::base::limits::{PEER_INPUT_BYTES, PEERS_INPUT_BYTES};
use crate::node::{CloseReason, Event, PeerEvent};

use crate::reactor::intake::Outcome;
use crate::reactor::links::Link;

/// What happened since the last turn, in order; bytes by their place, since the scratch is still
/// being written to.
#[derive(Debug)]
enum Happened {
    Told(PeerEvent<'static>),
    Bytes { link: ConnId, from: usize, to: usize },
}

/// The input of one turn.
#[derive(Debug, Default)]
pub struct PeerIntake {
    /// Empty until a peer is read.
    scratch: Vec<u8>,
    used: usize,
    happened: Vec<Happened>,
}

impl PeerIntake {
    pub fn tell(&mut self, event: PeerEvent<'static>) {
        self.happened.push(Happened::Told(event));
    }

    /// Something waits to be told to the node.
    pub fn has_news(&self) -> bool {
        !self.happened.is_empty()
    }

    /// The budget of the turn is used up.
    pub fn is_full(&self) -> bool {
        PEERS_INPUT_BYTES - self.used < SMALLEST_READ_BYTES
    }

    /// Moves what happened into `events`, which borrow it.
    pub fn events<'a>(&'a self, events: &mut Vec<Event<'a>>) {
        for happened in &self.happened {
            events.push(Event::Peer(match *happened {
                Happened::Told(event) => event,
                Happened::Bytes { link, from, to } => {
                    PeerEvent::Bytes { link, bytes: &self.scratch[from..to] }
                }
            }));
        }
    }

    /// The turn has seen it all.
    pub fn clear(&mut self) {
        self.used = 0;
        self.happened.clear();
    }

    /// One read of one link.
    pub fn read(&mut self, link: &mut Link) -> Outcome {
        if self.scratch.is_empty() {
            self.scratch = vec![0; PEERS_INPUT_BYTES];
        }
        let from = self.used;
        let wanted = PEER_INPUT_BYTES.min(self.scratch.len() - from);
        let into = &mut self.scratch[from..from + wanted];
        let count = match link.wire.read(&mut link.stream, into) {
            Ok(0) => return Outcome::Over(CloseReason::PeerClosed),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Outcome::Drained,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Outcome::More,
            Err(_) => return Outcome::Over(CloseReason::SocketError),
        };
        self.used += count;
        self.happened.push(Happened::Bytes { link: link.id, from, to: self.used });
        if count < wanted && !link.is_half_closed && link.wire.is_drained() {
            Outcome::Drained
        } else {
            Outcome::More
        }
    }
}

/// What is less than this is left of the turn for nobody.
const SMALLEST_READ_BYTES: usize = 16 * 1024;
