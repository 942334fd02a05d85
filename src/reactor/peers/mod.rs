//! Links to peers: the ports they come to, the dials that reach for them, and what passes.
//!
//! They are links as clients' are, in the same table, and none of what bounds clients holds for
//! them: peers are read, told of and written to first, and the node says how much may wait.

mod dials;
mod doors;
mod intake;
mod names;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Token, Waker};
use rustix::net::sockopt;
use socket2::SockRef;

use crate::base::limits::{
    ELECTION_UNACKNOWLEDGED_MS, PEER_ACCEPTS_PER_TURN, PEER_PORT_LINKS, PEER_TOLD_BYTES,
    PEERS_BACKLOG_BYTES,
};
use crate::base::{Fatal, Instant};
use crate::election::DialFailure;
use crate::node::{CloseReason, PeerEvent, PeerPort, Places};

use super::door::Knock;
use super::intake::Outcome;
use super::limiter::Limiter;
use super::links::{Far, Input, Life, Link};
use super::open_files::kept_for_peers;
use super::perform::part;
use super::sends::{Sent, flush};
use super::{Ended, PEERS, Reactor};

pub use dials::Sought;
use dials::{DialEnd, Dials};
use doors::Doors;
pub use doors::PeerPorts;
use intake::PeerIntake;
use names::Names;
pub use names::{Found, literal};

/// What the reactor has for peers beside their links.
pub struct Peers {
    /// Somebody may come, or was dialled: a server without peers has nothing to look after.
    is_used: bool,
    doors: Doors,
    dials: Dials,
    names: Names,
    pub intake: PeerIntake,
    /// Links with input the kernel may still hold, in the order of their next turn.
    pub ring: VecDeque<u32>,
    /// Links whose socket has room again for a backlog.
    pub flushable: Vec<u32>,
    keep_alive: bool,
    /// Connections of all kinds at which the rest of the descriptors is left to the log.
    pub room: u64,
    /// Links that may have come to each port.
    port_links: usize,
    /// Bytes that all of them may leave untaken.
    unsent_bytes: usize,
    refusals: Limiter,
    overflows: Limiter,
}

impl Peers {
    pub fn new(waker: Arc<Waker>) -> Peers {
        Peers {
            is_used: false,
            doors: Doors::new(PEERS + FIRST_DOOR),
            dials: Dials::new(PEERS),
            names: Names::new(waker),
            intake: PeerIntake::default(),
            ring: VecDeque::new(),
            flushable: Vec::new(),
            keep_alive: false,
            room: u64::MAX,
            port_links: PEER_PORT_LINKS,
            unsent_bytes: PEERS_BACKLOG_BYTES,
            refusals: Limiter::default(),
            overflows: Limiter::default(),
        }
    }

    /// `token` is counted from `PEERS`.
    pub fn take_readiness(&mut self, token: usize) {
        match token.checked_sub(FIRST_DOOR) {
            Some(door) => self.doors.take_readiness(door),
            None => self.dials.take_readiness(token),
        }
    }

    /// There is something to do though nothing happens.
    pub fn has_work(&self) -> bool {
        let has_links_to_serve = !self.ring.is_empty() || !self.flushable.is_empty();
        let has_news = self.intake.has_news() || self.dials.has_work();
        has_links_to_serve || has_news || self.doors.has_knock()
    }

    pub fn next_due(&self) -> Option<Instant> {
        [self.doors.next_due(), self.dials.next_due()].into_iter().flatten().min()
    }

    pub fn close_doors(&mut self) {
        self.doors.close();
    }

    /// A configuration says where peers find this server from now on.
    pub fn move_doors(&mut self, places: &Places, now: Instant) {
        self.doors.move_to(places, now);
    }

    /// Begins a look-up; false where there is no room for it.
    pub fn look_up(&mut self, host: &str) -> bool {
        self.names.look_up(host)
    }

    fn set_options(&self, stream: &TcpStream, port: PeerPort) {
        // A peer that has reset the link already fails here; reading it will tell.
        let _ = stream.set_nodelay(true);
        // Not where a learner may leave its leader's bytes untaken: the kernel gives up such a link
        // in the same time, and roles have their own limits.
        if port == PeerPort::Election {
            let _ = sockopt::set_tcp_user_timeout(stream, ELECTION_UNACKNOWLEDGED_MS);
        }
        if self.keep_alive {
            let _ = SockRef::from(stream).set_keepalive(true);
        }
    }
}

impl Reactor {
    /// Listens on a member's ports. What cannot be listened to now is tried again while it runs;
    /// an error, now or as the end of `run`, where a port is given up.
    pub fn listen_to_peers(&mut self, ports: &PeerPorts) -> Result<(), Fatal> {
        let now = self.clock.read().mono;
        let peers = &mut self.peers;
        peers.is_used = true;
        peers.keep_alive = ports.keep_alive;
        peers.doors.set(ports, now);
        peers.doors.open_due(now, &mut peers.names, self.poll.registry())?;
        self.keep_room_for_peers();
        Ok(())
    }

    /// Where peers find it: the first address that is listened at.
    pub fn peer_address(&self, port: PeerPort) -> Option<SocketAddr> {
        self.peers.doors.addresses(port).next()
    }

    pub(super) fn keep_room_for_peers(&mut self) {
        if self.peers.is_used {
            self.links.kept_for_peers = kept_for_peers(self.peers.room);
        }
    }

    /// Everything of peers that comes before the node's turn.
    pub(super) fn attend_peers(&mut self, now: Instant) {
        if !self.peers.is_used {
            return;
        }
        if let Err(fatal) = self.open_doors(now) {
            self.ended.get_or_insert(Ended::Fatal(fatal));
        }
        self.accept_peers(now);
        self.advance_dials(now);
        self.flush_peers(now);
        self.read_peers();
    }

    /// Reaches for a peer.
    pub(super) fn dial(&mut self, number: u64, sought: Sought<'_>, now: Instant) {
        let Peers { is_used, dials, names, .. } = &mut self.peers;
        *is_used = true;
        dials.begin(number, sought, now, names);
        dials.reach_out(now, names, self.poll.registry());
    }

    pub(super) fn drop_dial(&mut self, number: u64) {
        self.peers.dials.drop_dial(number);
    }

    fn open_doors(&mut self, now: Instant) -> Result<(), Fatal> {
        let Peers { doors, dials, names, .. } = &mut self.peers;
        while let Some(found) = names.take() {
            dials.on_found(&found, names);
            doors.on_found(&found, now, self.poll.registry())?;
            self.moving.on_found(&found);
        }
        doors.open_due(now, names, self.poll.registry())?;
        self.move_clients();
        Ok(())
    }

    fn accept_peers(&mut self, now: Instant) {
        for at in 0..self.peers.doors.len() {
            for _ in 0..PEER_ACCEPTS_PER_TURN {
                match self.peers.doors.accept(at, now) {
                    (port, Knock::Guest(stream, from)) => {
                        self.admit_peer(stream, from, port, now);
                    }
                    (_, Knock::Refused) => {}
                    (_, Knock::Nobody) => break,
                }
            }
        }
    }

    fn admit_peer(&mut self, stream: TcpStream, from: SocketAddr, port: PeerPort, now: Instant) {
        let links = self.links.alive() + self.links.peers();
        if links as u64 >= self.peers.room || self.links.came_to(port) >= self.peers.port_links {
            if let Some(permit) = self.peers.refusals.permit(now) {
                let count = self.links.came_to(port);
                log::warn!(
                    "Refusing a peer's connection from /{from}: there are {count} on the same \
                     port and {links} in all{permit}"
                );
            }
            return;
        }
        let mut stream = stream;
        let token = Token(self.links.next_index());
        if self.poll.registry().register(&mut stream, token, LINK).is_ok() {
            self.peers.set_options(&stream, port);
            let link = self.links.insert_peer(stream, from, Far::Came(port), now);
            self.peers.intake.tell(PeerEvent::Accepted { link, port, from });
        }
    }

    fn advance_dials(&mut self, now: Instant) {
        let mut ended = Vec::new();
        let Peers { dials, names, .. } = &mut self.peers;
        dials.advance(now, names, self.poll.registry(), &mut ended);
        for DialEnd { number, port, outcome } in ended {
            let outcome = outcome.and_then(|(mut stream, address)| {
                let token = Token(self.links.next_index());
                let registry = self.poll.registry();
                let moved = registry.reregister(&mut stream, token, LINK);
                moved.map_err(|_| DialFailure::Unreached)?;
                self.peers.set_options(&stream, port);
                Ok(self.links.insert_peer(stream, address, Far::Dialled, now))
            });
            self.peers.intake.tell(PeerEvent::Dialed { dial: number, outcome });
        }
    }

    /// Reads every peer of the ring once, as far as the turn's budget goes.
    fn read_peers(&mut self) {
        for _ in 0..self.peers.ring.len() {
            if self.peers.intake.is_full() {
                return;
            }
            let Some(index) = self.peers.ring.pop_front() else { return };
            let Some(link) = self.links.at(index).filter(|link| link.is_peer()) else { continue };
            link.is_in_ring = false;
            if !link.wants_reading() {
                continue;
            }
            match self.peers.intake.read(link) {
                Outcome::Drained => link.is_readable = false,
                Outcome::More => self.enter_ring(index),
                Outcome::Over(reason) => self.end(index, reason),
            }
        }
    }

    /// Backlogs whose sockets have room again, all of them: there are few, and others wait for
    /// what they say.
    pub(super) fn flush_peers(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.peers.flushable) {
            let Some((link, pool)) = self.links.peer_with_pool(index) else { continue };
            let before = link.backlog.bytes();
            let sent = flush(link, pool, now);
            link.count_taken(before - link.backlog.bytes());
            self.conclude_peer(index, sent);
        }
    }

    /// The turn's bytes for peers, whatever clients have still to get.
    pub(super) fn write_peers(&mut self, arena: &[u8], now: Instant) {
        let dirty = self.sends.take_dirty_peers();
        for index in &dirty {
            let Some((link, pool)) = self.links.peer_with_pool(*index) else { continue };
            link.is_dirty = false;
            let chain = link.sends.take();
            let offered: usize = self.sends.ranges(chain).map(|range| range.len()).sum();
            let before = link.backlog.bytes() + offered;
            let sent = self.sends.write(link, chain, pool, arena, now);
            link.count_taken(before - link.backlog.bytes());
            self.conclude_peer(*index, sent);
        }
        self.sends.give_back_peers(dirty);
        self.bound_peers(now);
    }

    fn conclude_peer(&mut self, index: u32, sent: Sent) {
        let Some(link) = self.links.at(index) else { return };
        match sent {
            Sent::Fine => {
                if let Some(news) = unsent_news(link) {
                    self.peers.intake.tell(news);
                }
            }
            Sent::Flushed => {
                part(link);
                self.end(index, CloseReason::Asked);
            }
            Sent::Over(reason) => self.end(index, reason),
        }
    }

    fn bound_peers(&mut self, now: Instant) {
        while self.links.peer_pool.used_bytes > self.peers.unsent_bytes {
            let of_peer = |link: &Link| if link.is_peer() { link.backlog.bytes() } else { 0 };
            let Some(index) = self.links.largest(of_peer) else { return };
            let Some(from) = self.links.at(index).map(|link| link.peer) else { return };
            if let Some(permit) = self.peers.overflows.permit(now) {
                log::warn!(
                    "Closing a peer's link to /{from}, the largest: all that peers have not taken \
                     passed its limit{permit}"
                );
            }
            self.end(index, CloseReason::Overflow);
        }
    }

    /// Ends a link, and lets the node know where it has not asked for that.
    pub(super) fn end_peer(&mut self, index: u32, reason: CloseReason) {
        let Some(link) = self.links.at(index) else { return };
        let (link, life) = (link.id, link.life);
        self.links.kill(index);
        if life == Life::Open && reason != CloseReason::Asked {
            self.peers.intake.tell(PeerEvent::Closed { link });
        }
    }

    /// At an orderly end: links close at once, so that nobody waits for this server; those with a
    /// backlog as soon as that has left.
    pub(super) fn leave_peers(&mut self) {
        self.peers.doors.close();
        self.peers.dials.clear();
        for index in self.links.peer_indices() {
            let Some(link) = self.links.at(index) else { continue };
            link.life = Life::Flushing;
            link.input = Input::Deaf;
            if link.backlog.is_empty() {
                part(link);
                self.end(index, CloseReason::Asked);
            }
        }
        self.links.bury();
    }
}

impl Link {
    fn count_taken(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

/// What the node should hear of bytes that wait: that there are some, that there are none, that
/// the peer has taken so many that there is more room than the node knows.
fn unsent_news(link: &mut Link) -> Option<PeerEvent<'static>> {
    let bytes = link.backlog.bytes();
    let is_other = link.is_backlog_told != (bytes > 0);
    let makes_room = link.taken as usize >= PEER_TOLD_BYTES;
    if link.life != Life::Open || !(is_other || makes_room) {
        return None;
    }
    link.is_backlog_told = bytes > 0;
    link.taken = 0;
    Some(PeerEvent::Unsent { link: link.id, bytes })
}

const LINK: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Tokens of doors begin behind those of dials.
const FIRST_DOOR: usize = 1 << 29;

#[cfg(test)]
mod option_tests {
    use std::net::TcpListener;

    use super::*;

    /// A learner may take its time with its leader's bytes.
    #[test]
    fn only_links_between_voters_are_given_up_where_nothing_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peers = Peers::new(Arc::new(
            Waker::new(mio::Poll::new().expect("a poll").registry(), Token(0)).expect("a waker"),
        ));
        let timeout_ms = |port| {
            let address = listener.local_addr().expect("its address");
            let stream = TcpStream::connect(address).expect("connecting");
            peers.set_options(&stream, port);
            sockopt::tcp_user_timeout(&stream).expect("an option")
        };
        assert_eq!(timeout_ms(PeerPort::Election), ELECTION_UNACKNOWLEDGED_MS);
        assert_eq!(timeout_ms(PeerPort::Quorum), 0);
        assert_eq!(timeout_ms(PeerPort::Observers), 0);
    }
}
