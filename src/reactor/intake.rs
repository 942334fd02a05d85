//! Reading: bytes of many connections into one scratch, frames cut where they lie.

use std::io;

use crate::base::ConnId;
use crate::base::limits::{
    CONN_INPUT_BYTES, READ_COST_BYTES, REQUEST_COST_BYTES, TURN_INPUT_BYTES,
};
use crate::config::Words;
use crate::node::{CloseReason, Event};
use crate::proto::{FrameError, cut};

use super::desk::Asked;
use super::links::{Input, Link};
use super::words::{Opening, opening};

/// What happened since the last turn, in order; frames by their place, since the scratch is
/// still being written to.
#[derive(Debug)]
enum Happened {
    Told(Event<'static>),
    Frame { conn: ConnId, place: Place },
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Scratch {
        from: u32,
        to: u32,
    },
    /// A frame that outgrew the scratch, put together over several turns.
    Whole(u32),
}

/// The input of one turn.
pub struct Intake {
    scratch: Vec<u8>,
    used: usize,
    /// Bytes read this turn, wherever they went, and what reads and requests count besides.
    taken: usize,
    whole: Vec<Vec<u8>>,
    happened: Vec<Happened>,
    asked: Vec<Asked>,
    words: Words,
    frame_limit: usize,
}

/// How reading one connection ended for this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There may be more: it is its turn again after the others.
    More,
    /// The kernel has no more.
    Drained,
    Over(CloseReason),
}

impl Intake {
    pub fn new(words: Words, frame_limit: usize) -> Intake {
        Intake {
            scratch: vec![0; TURN_INPUT_BYTES],
            used: 0,
            taken: 0,
            whole: Vec::new(),
            happened: Vec::new(),
            asked: Vec::new(),
            words,
            frame_limit,
        }
    }

    pub fn tell(&mut self, event: Event<'static>) {
        self.happened.push(Happened::Told(event));
    }

    /// Something waits to be told to the node.
    pub fn has_news(&self) -> bool {
        !self.happened.is_empty() || !self.asked.is_empty()
    }

    /// The four-letter words of this turn.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// The budget of the turn is used up.
    pub fn is_full(&self) -> bool {
        self.taken >= TURN_INPUT_BYTES || self.scratch.len() - self.used < SMALL_PARTIAL_BYTES * 2
    }

    /// Moves what happened into `events`, which borrow it.
    pub fn events<'a>(&'a self, events: &mut Vec<Event<'a>>) {
        for happened in &self.happened {
            events.push(match happened {
                Happened::Told(event) => event.clone(),
                Happened::Frame { conn, place } => {
                    let body = match *place {
                        Place::Scratch { from, to } => &self.scratch[from as usize..to as usize],
                        Place::Whole(n) => &self.whole[n as usize][4..],
                    };
                    Event::Frame { conn: *conn, body }
                }
            });
        }
    }

    /// The turn has seen it all.
    pub fn clear(&mut self) {
        self.used = 0;
        self.taken = 0;
        self.whole.clear();
        self.happened.clear();
        self.asked.clear();
    }

    /// One read of one connection and the frames it completes.
    pub fn read(&mut self, link: &mut Link) -> Outcome {
        let prefix = if link.partial.len() <= SMALL_PARTIAL_BYTES { link.partial.len() } else { 0 };
        let from = self.used;
        let room = self.scratch.len() - from - prefix;
        let wanted = room.min(CONN_INPUT_BYTES).min(TURN_INPUT_BYTES.saturating_sub(self.taken));
        let (head, rest) = self.scratch[from..].split_at_mut(prefix);
        head.copy_from_slice(&link.partial[..prefix]);
        let count = match link.wire.read(&mut link.stream, &mut rest[..wanted]) {
            Ok(0) => return Outcome::Over(CloseReason::PeerClosed),
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Outcome::Drained,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Outcome::More,
            Err(_) => return Outcome::Over(CloseReason::SocketError),
        };
        self.taken += count.max(READ_COST_BYTES);
        let end = from + prefix + count;
        let taken = if prefix == link.partial.len() {
            link.partial.clear();
            self.take(link, from, end)
        } else {
            self.complete(link, from, end)
        };
        match taken {
            Err(FrameError::Length(length)) => Outcome::Over(CloseReason::BadLength(length)),
            Ok(()) if link.input == Input::Deaf => Outcome::Drained,
            Ok(()) if count < wanted && !link.is_half_closed && link.wire.is_drained() => {
                Outcome::Drained
            }
            Ok(()) => Outcome::More,
        }
    }

    /// The scratch `from..end` goes on with a long frame that is put together in `partial`.
    fn complete(&mut self, link: &mut Link, from: usize, end: usize) -> Result<(), FrameError> {
        let head = link.partial.first_chunk::<4>().expect("longer than a small one");
        let length = 4 + i32::from_be_bytes(*head) as usize;
        assert!(length <= 4 + self.frame_limit, "its length was judged when it came");
        let missing = length - link.partial.len();
        let now = missing.min(end - from);
        link.partial.extend_from_slice(&self.scratch[from..from + now]);
        if now < missing {
            return Ok(());
        }
        self.whole.push(std::mem::take(&mut link.partial));
        let place = Place::Whole(self.whole.len() as u32 - 1);
        self.happened.push(Happened::Frame { conn: link.id, place });
        self.take(link, from + now, end)
    }

    /// Cuts what lies in the scratch at `from..end`; a rest becomes the partial frame.
    fn take(&mut self, link: &mut Link, from: usize, end: usize) -> Result<(), FrameError> {
        let mut at = from;
        if link.input == Input::Fresh {
            match opening(&self.scratch[at..end], &self.words) {
                Opening::Unclear => {
                    link.partial.extend_from_slice(&self.scratch[at..end]);
                    return Ok(());
                }
                Opening::Word { word, argument } => {
                    link.input = Input::Deaf;
                    self.asked.push(Asked { conn: link.id, word, argument });
                    return Ok(());
                }
                Opening::Frames => link.input = Input::Frames,
            }
        }
        while let Some((body, count)) = cut(&self.scratch[at..end], self.frame_limit)? {
            let body_from = at + count - body.len();
            at += count;
            let place = Place::Scratch { from: body_from as u32, to: at as u32 };
            self.happened.push(Happened::Frame { conn: link.id, place });
            self.taken += REQUEST_COST_BYTES;
        }
        // What no frame lies in is free for the next connection.
        self.used = if at == from { from } else { at };
        link.partial.extend_from_slice(&self.scratch[at..end]);
        if link.partial.is_empty() && link.partial.capacity() > 0 {
            link.partial = Vec::new();
        }
        Ok(())
    }
}

/// Partial frames up to here are copied before what is read next, so that most frames lie in the
/// scratch; longer ones grow in their own buffer, or a slow one would be copied again and again.
const SMALL_PARTIAL_BYTES: usize = 4096;
