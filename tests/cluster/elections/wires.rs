//! What a member's process has of the world: sockets, names, its clock, and the history that is
//! written down of it.

use std::collections::BTreeMap;

use zkd::base::Instant;
use zkd::peering::HostPort;

use super::history::{Deed, History};
use crate::world::Event;
use crate::world::clock::Clock;
use crate::world::network::{DialError, Ip, Network, Socket};

/// Where a name leads, if anywhere.
pub type Names = BTreeMap<String, Option<Ip>>;

/// One member's hold of the world, for one turn.
pub struct Wires<'w> {
    pub node: usize,
    pub clock: &'w mut Clock<Event>,
    pub network: &'w mut Network,
    pub names: &'w Names,
    pub history: &'w mut History,
    pub look_up_ms: u64,
    pub connect_ms: u64,
}

impl Wires<'_> {
    /// What the member's own clock shows.
    pub fn now(&self) -> Instant {
        self.clock.local(self.node)
    }

    pub fn note(&mut self, deed: Deed) {
        self.history.note(self.clock.now(), self.node, deed);
    }

    pub fn close(&mut self, socket: Socket) {
        self.network.close(self.clock, socket);
    }
}

/// A socket with what its kernel has not taken yet.
#[derive(Debug)]
pub struct Line {
    pub socket: Socket,
    unsent: Vec<u8>,
}

impl Line {
    pub fn new(socket: Socket) -> Line {
        Line { socket, unsent: Vec::new() }
    }

    pub fn send(&mut self, wires: &mut Wires<'_>, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush(wires);
    }

    /// Whether everything is taken.
    pub fn flush(&mut self, wires: &mut Wires<'_>) -> bool {
        if !self.unsent.is_empty() {
            wires.history.mix(&self.unsent);
            let taken = wires.network.write(wires.clock, self.socket, &self.unsent);
            self.unsent.drain(..taken);
        }
        self.is_flushed()
    }

    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}

/// One way to somebody who is called.
#[derive(Debug)]
enum Attempt {
    LookUp { due: Instant, at: HostPort },
    Dial(u64),
}

#[derive(Debug, Default)]
struct Call {
    attempts: Vec<Attempt>,
    has_failed_otherwise: bool,
}

/// Dials under way, each a race of all addresses that somebody has.
#[derive(Debug, Default)]
pub struct Calls(BTreeMap<u64, Call>);

/// Which call is over, and how.
pub type CallOver = (u64, Result<Socket, DialError>);

impl Calls {
    pub fn begin(&mut self, wires: &Wires<'_>, call: u64, addresses: &[HostPort]) {
        let due = wires.now().plus_ms(wires.look_up_ms);
        let attempt = |at: &HostPort| Attempt::LookUp { due, at: at.clone() };
        let attempts = addresses.iter().map(attempt).collect();
        self.0.insert(call, Call { attempts, has_failed_otherwise: false });
    }

    pub fn drop(&mut self, wires: &mut Wires<'_>, call: u64) {
        for attempt in self.0.remove(&call).map(|call| call.attempts).into_iter().flatten() {
            if let Attempt::Dial(dial) = attempt {
                wires.network.drop_dial(wires.clock, dial);
            }
        }
    }

    /// One of the dials is over: what that means for its call.
    pub fn on_dialled(
        &mut self,
        wires: &mut Wires<'_>,
        dial: u64,
        outcome: Result<Socket, DialError>,
    ) -> Option<CallOver> {
        let is_this = |attempt: &Attempt| matches!(attempt, Attempt::Dial(n) if *n == dial);
        let (number, call) =
            self.0.iter_mut().find(|(_, call)| call.attempts.iter().any(is_this))?;
        let number = *number;
        call.attempts.retain(|attempt| !is_this(attempt));
        wires.network.dial_is_known(dial);
        match outcome {
            Ok(socket) => {
                self.drop(wires, number);
                Some((number, Ok(socket)))
            }
            Err(error) => {
                call.has_failed_otherwise |= error != DialError::Refused;
                self.over_if_failed(number)
            }
        }
    }

    /// Names that are looked up by now are dialled. Says which calls are over by that.
    pub fn on_timeout(&mut self, wires: &mut Wires<'_>) -> Vec<CallOver> {
        let now = wires.now();
        for call in self.0.values_mut() {
            for attempt in std::mem::take(&mut call.attempts) {
                match attempt {
                    Attempt::LookUp { due, at } if due <= now => {
                        let Some(ip) = wires.names.get(&at.host).copied().flatten() else {
                            call.has_failed_otherwise = true;
                            continue;
                        };
                        let (place, limit_ms) = ((ip, at.port), wires.connect_ms);
                        let dial = wires.network.dial(wires.clock, wires.node, place, limit_ms);
                        call.attempts.push(Attempt::Dial(dial));
                    }
                    later => call.attempts.push(later),
                }
            }
        }
        let numbers: Vec<u64> = self.0.keys().copied().collect();
        numbers.into_iter().filter_map(|number| self.over_if_failed(number)).collect()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let attempts = self.0.values().flat_map(|call| &call.attempts);
        let look_ups = attempts.filter_map(|attempt| match attempt {
            Attempt::LookUp { due, .. } => Some(*due),
            Attempt::Dial(_) => None,
        });
        look_ups.min()
    }

    fn over_if_failed(&mut self, number: u64) -> Option<CallOver> {
        let call = self.0.get(&number).filter(|call| call.attempts.is_empty())?;
        let otherwise = call.has_failed_otherwise;
        self.0.remove(&number);
        let error = if otherwise { DialError::Unreached } else { DialError::Refused };
        Some((number, Err(error)))
    }
}
