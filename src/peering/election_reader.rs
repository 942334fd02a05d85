//! Cuts the stream of an election link into its first message and the messages behind it.

use crate::base::ServerId;
use crate::base::limits::{ELECTION_ADDRESS_BYTES, ELECTION_MESSAGE_BYTES};

use super::foreign::{Foreign, StreamError};
use super::hold::Hold;
use super::initial::{Initial, InitialForm};

/// What was heard on an election link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard<'h> {
    Initial(Initial),
    /// The body of a frame: a notification.
    Message(&'h [u8]),
}

/// Which field ends the bytes that are waited for.
#[derive(Clone, Copy, Debug)]
enum Await {
    /// Half of the first number, by which foreign bytes are told.
    Opening,
    /// A protocol number, or in the form of before 3.5 the id.
    Protocol,
    /// Id and length of the addresses.
    Server,
    Addresses(ServerId),
    Length,
    Message,
}

const OPENING_BYTES: usize = 4;
const PROTOCOL_BYTES: usize = 8;
/// Protocol number, id, the length of the addresses.
const SERVER_BYTES: usize = 20;
const LENGTH_BYTES: usize = 4;
/// The longest of what is waited for.
const MOST_BYTES: usize = LENGTH_BYTES + ELECTION_MESSAGE_BYTES;

enum Step {
    Next(Await, usize),
    Initial(Initial),
    Message,
}

/// One link's stream. After an error it is not to be asked again: nothing behind is understood.
#[derive(Debug)]
pub struct ElectionReader {
    awaits: Await,
    wanted: usize,
    hold: Hold,
}

impl ElectionReader {
    /// The peer has dialled, and says who it is.
    pub fn accepted() -> ElectionReader {
        let (awaits, wanted) = (Await::Opening, OPENING_BYTES);
        ElectionReader { awaits, wanted, hold: Hold::default() }
    }

    /// We have dialled, and the peer says nothing but messages.
    pub fn dialed() -> ElectionReader {
        let (awaits, wanted) = (Await::Length, LENGTH_BYTES);
        ElectionReader { awaits, wanted, hold: Hold::default() }
    }

    /// What is heard next; `input` is what came last, and what is used is taken from its front.
    /// `None` when all of it is taken and more must come.
    pub fn next<'h, 'i: 'h>(
        &'h mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Heard<'h>>, StreamError> {
        self.hold.forget();
        let initial = loop {
            let front = self.hold.front(input, self.wanted, MOST_BYTES);
            let Some(seen) = front else { return Ok(None) };
            match self.awaits.on_field(seen)? {
                Step::Next(awaits, wanted) => {
                    self.awaits = awaits;
                    self.wanted = wanted;
                }
                Step::Initial(initial) => break Some(initial),
                Step::Message => break None,
            }
        };
        let bytes = self.hold.take(input, self.wanted);
        self.awaits = Await::Length;
        self.wanted = LENGTH_BYTES;
        Ok(Some(match initial {
            Some(initial) => Heard::Initial(initial),
            None => Heard::Message(&bytes[LENGTH_BYTES..]),
        }))
    }

    /// Bytes of a message that is not whole.
    pub fn held(&self) -> usize {
        self.hold.held()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.hold.capacity()
    }
}

impl Await {
    /// `seen` is the message up to the field that was waited for. Looks at that field only.
    fn on_field(self, seen: &[u8]) -> Result<Step, StreamError> {
        let field: [u8; 4] = *seen.last_chunk().expect("no field is shorter than a number");
        let number = i32::from_be_bytes(field);
        match self {
            // Those who know a protocol begin so; an id of before 3.5 is no such number either.
            Await::Opening if number == -1 => Ok(Step::Next(Await::Protocol, PROTOCOL_BYTES)),
            Await::Opening => match Foreign::look(field) {
                Some(what) => Err(StreamError::Foreign(what)),
                None => Ok(Step::Next(Await::Protocol, PROTOCOL_BYTES)),
            },
            Await::Protocol => match last_long(seen) {
                id @ 0.. => {
                    Ok(Step::Initial(Initial { server: ServerId(id), addresses: Vec::new() }))
                }
                n if InitialForm::from_number(n).is_some() => {
                    Ok(Step::Next(Await::Server, SERVER_BYTES))
                }
                n => Err(StreamError::Protocol(n)),
            },
            Await::Server => {
                let server = ServerId(last_long(&seen[..SERVER_BYTES - LENGTH_BYTES]));
                let bytes = length(number, ELECTION_ADDRESS_BYTES)
                    .ok_or(StreamError::AddressLength(number))?;
                Ok(Step::Next(Await::Addresses(server), SERVER_BYTES + bytes))
            }
            Await::Addresses(server) => {
                let addresses = Initial::read_addresses(&seen[SERVER_BYTES..])?;
                Ok(Step::Initial(Initial { server, addresses }))
            }
            Await::Length => match (length(number, ELECTION_MESSAGE_BYTES), Foreign::look(field)) {
                (Some(bytes), _) => Ok(Step::Next(Await::Message, LENGTH_BYTES + bytes)),
                (None, Some(what)) => Err(StreamError::Foreign(what)),
                (None, None) => Err(StreamError::MessageLength(number)),
            },
            Await::Message => Ok(Step::Message),
        }
    }
}

/// A length that must be at least one.
fn length(number: i32, most: usize) -> Option<usize> {
    usize::try_from(number).ok().filter(|bytes| (1..=most).contains(bytes))
}

fn last_long(seen: &[u8]) -> i64 {
    i64::from_be_bytes(*seen.last_chunk().expect("a long is there"))
}
