//! Readiness: what the poll says, and reading those whose turn it is.

use mio::Token;

use crate::base::Instant;
use crate::node::CloseReason;

use super::intake::Outcome;
use super::signals::SignalInput;
use super::{DOOR, PEERS, Reactor, SECURE_DOOR, SIGNALS, STORES, WAKER};

impl Reactor {
    pub(super) fn take_readiness(&mut self, polled: &mio::Events) {
        for event in polled {
            match event.token() {
                WAKER => {}
                SIGNALS => {
                    let asked = self.signals.as_mut().map(SignalInput::asked);
                    self.heed(asked.unwrap_or_default());
                }
                DOOR | SECURE_DOOR => {
                    let is_secure = event.token() == SECURE_DOOR;
                    let door = if is_secure { &mut self.secure_door } else { &mut self.door };
                    if let Some(door) = door {
                        door.is_ready = true;
                    }
                }
                STORES => {
                    if let Some(renewal) = &mut self.handshakes.renewal {
                        renewal.on_change();
                    }
                }
                Token(token) if token >= PEERS => self.peers.take_readiness(token - PEERS),
                Token(index) => self.take_link_readiness(index as u32, event),
            }
        }
    }

    fn take_link_readiness(&mut self, index: u32, event: &mio::event::Event) {
        let Some(link) = self.links.at(index) else { return };
        if event.is_readable() || event.is_read_closed() {
            link.is_readable = true;
            link.is_half_closed |= event.is_read_closed();
        }
        if event.is_writable() || event.is_write_closed() {
            link.is_writable = true;
            if !link.backlog.is_empty() {
                match link.is_peer() {
                    true => self.peers.flushable.push(index),
                    false if link.joins_flushable() => self.flushable.push(index),
                    false => {}
                }
            }
        }
        if event.is_error() && !link.wants_reading() {
            // Nobody reads it, so nobody would find out.
            self.end(index, CloseReason::SocketError);
            return;
        }
        self.enter_ring(index);
    }

    /// Puts a connection that has input into the ring of those to be read.
    pub(super) fn enter_ring(&mut self, index: u32) {
        if let Some(link) = self.links.at(index)
            && link.wants_reading()
            && !link.is_in_ring
        {
            link.is_in_ring = true;
            let ring = if link.is_peer() { &mut self.peers.ring } else { &mut self.ring };
            ring.push_back(index);
        }
    }

    /// Reads every connection of the ring once, as far as the turn's budget goes.
    pub(super) fn read_ring(&mut self, now: Instant) {
        if self.is_all_paused {
            return;
        }
        for _ in 0..self.ring.len() {
            if self.intake.is_full() {
                return;
            }
            let Some(index) = self.ring.pop_front() else { return };
            let Some(link) = self.links.at(index).filter(|link| !link.is_peer()) else { continue };
            link.is_in_ring = false;
            if !link.wants_reading() {
                continue;
            }
            if link.meeting.is_some() {
                self.greet(index, now);
                continue;
            }
            let is_tls = link.wire.is_tls();
            let held = link.partial.capacity();
            let outcome = self.intake.read(link);
            let holds = link.partial.capacity();
            if outcome == Outcome::Drained {
                link.is_readable = false;
            }
            self.links.partial_bytes = self.links.partial_bytes + holds - held;
            if is_tls {
                self.say_what_tls_says(index, now);
            }
            match outcome {
                Outcome::Drained => {}
                Outcome::More => self.enter_ring(index),
                Outcome::Over(reason) => self.end(index, reason),
            }
        }
    }
}
