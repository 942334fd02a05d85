//! The table of connections: slab index = poll token = connection id.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use slab::Slab;

use crate::base::limits::CLOSES_PER_TURN;
use crate::base::{ConnId, Instant};
use crate::node::PeerPort;

use super::backlog::{Backlog, Pool};
use super::sends::Chain;
use super::tls::{Meeting, Wire};

/// What a connection's input is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing was recognised yet: a four-letter word or a frame.
    Fresh,
    Frames,
    /// A peer's bytes, which the node cuts.
    Raw,
    /// Nothing it sends counts any more.
    Deaf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Open,
    /// Closes as soon as its last bytes have left.
    Flushing,
    /// Told closed; its slot is freed when its socket is closed, at the end of a turn.
    Dead,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    Client,
    /// A peer, or whoever else has come to a port for peers.
    Came(PeerPort),
    /// A peer that was dialled.
    Dialled,
}

pub struct Link {
    pub id: ConnId,
    pub far: Far,
    pub stream: TcpStream,
    pub peer: IpAddr,
    /// It came through the door for TLS.
    pub is_secure_door: bool,
    pub wire: Wire,
    /// Who it is, until the node knows.
    pub meeting: Option<Box<Meeting>>,
    pub input: Input,
    pub life: Life,
    /// The kernel has not said yet that there is nothing to read, or no room to write.
    pub is_readable: bool,
    pub is_writable: bool,
    /// The peer has ended its side: what is left to read ends with an end.
    pub is_half_closed: bool,
    pub is_paused: bool,
    pub is_in_ring: bool,
    pub is_established: bool,
    /// The node knows of a backlog and waits for its end.
    pub is_backlog_told: bool,
    /// Bytes that a peer has taken since the node was told how many wait.
    pub taken: u32,
    /// The first part of a frame.
    pub partial: Vec<u8>,
    pub backlog: Backlog,
    pub last_sent: Instant,
    /// Up to when the node knows that its client takes what it is sent.
    pub last_told: Instant,
    /// First and last of this turn's ranges, as `Sends` links them.
    pub sends: Chain,
    /// What waits for it because turns before had written to enough others, as `Late` links it.
    pub late: Chain,
    pub is_dirty: bool,
    /// It is among those whose backlog is offered to the kernel next.
    pub is_flushable: bool,
}

impl Link {
    fn new(stream: TcpStream, peer: IpAddr, now: Instant) -> Link {
        Link {
            id: ConnId::default(),
            far: Far::Client,
            stream,
            peer,
            is_secure_door: false,
            wire: Wire::Plain,
            meeting: None,
            input: Input::Fresh,
            life: Life::Open,
            is_readable: false,
            is_writable: true,
            is_half_closed: false,
            is_paused: false,
            is_in_ring: false,
            is_established: false,
            is_backlog_told: false,
            taken: 0,
            partial: Vec::new(),
            backlog: Backlog::default(),
            last_sent: now,
            last_told: now,
            sends: None,
            late: None,
            is_dirty: false,
            is_flushable: false,
        }
    }

    pub fn is_peer(&self) -> bool {
        self.far != Far::Client
    }

    /// Once, however often there is something for it before its turn comes.
    pub fn joins_flushable(&mut self) -> bool {
        !std::mem::replace(&mut self.is_flushable, true)
    }

    pub fn wants_reading(&self) -> bool {
        self.life == Life::Open && self.input != Input::Deaf && self.is_readable && !self.is_paused
    }
}

#[derive(Default)]
pub struct Links {
    slab: Slab<Link>,
    next_generation: u32,
    by_address: HashMap<(IpAddr, bool), usize>,
    /// Clients first to last, of which a turn closes so many.
    dead: VecDeque<u32>,
    /// They wait for nobody: other members go by their ends.
    dead_peers: Vec<u32>,
    alive: usize,
    peers: usize,
    /// Peers that have come, by their port.
    came: [usize; 3],
    /// What clients leave to peers, so that who is to serve them finds room.
    pub kept_for_peers: usize,
    /// Capacity of every half-received frame.
    pub partial_bytes: usize,
    pub pool: Pool,
    /// What backlogs of peers are made of, so that neither kind is closed for what the other holds.
    pub peer_pool: Pool,
}

impl Links {
    pub fn insert(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        is_secure_door: bool,
        now: Instant,
    ) -> ConnId {
        *self.by_address.entry((peer.ip(), is_secure_door)).or_default() += 1;
        self.alive += 1;
        let mut link = Link::new(stream, peer.ip(), now);
        link.is_secure_door = is_secure_door;
        self.place(link)
    }

    pub fn insert_peer(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        far: Far,
        now: Instant,
    ) -> ConnId {
        assert!(far != Far::Client, "clients are counted otherwise");
        self.peers += 1;
        if let Far::Came(port) = far {
            self.came[port as usize] += 1;
        }
        let mut link = Link::new(stream, peer.ip(), now);
        link.far = far;
        link.input = Input::Raw;
        self.place(link)
    }

    fn place(&mut self, mut link: Link) -> ConnId {
        self.next_generation = self.next_generation.wrapping_add(1);
        let entry = self.slab.vacant_entry();
        let id = ConnId { index: entry.key() as u32, generation: self.next_generation };
        link.id = id;
        entry.insert(link);
        id
    }

    /// Connections of one address through one of the doors.
    pub fn count_of(&self, address: IpAddr, is_secure_door: bool) -> usize {
        self.by_address.get(&(address, is_secure_door)).copied().unwrap_or(0)
    }

    /// Connections of clients that are not told closed.
    pub fn alive(&self) -> usize {
        self.alive
    }

    /// Links to peers that are there.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// Those of them that have come to a port.
    pub fn came_to(&self, port: PeerPort) -> usize {
        self.came[port as usize]
    }

    /// Descriptors that no other client may have.
    pub fn taken(&self) -> usize {
        self.alive + self.dead.len() + self.peers.max(self.kept_for_peers)
    }

    /// Memory of all backlogs.
    pub fn unsent_bytes(&self) -> usize {
        self.pool.used_bytes + self.peer_pool.used_bytes
    }

    /// What becomes the next id's index, for the poll token.
    pub fn next_index(&self) -> usize {
        self.slab.vacant_key()
    }

    /// The connection in a slot, if it is not told closed.
    pub fn at(&mut self, index: u32) -> Option<&mut Link> {
        self.slab.get_mut(index as usize).filter(|link| link.life != Life::Dead)
    }

    /// A client's connection and the pool its backlog is made of.
    pub fn at_with_pool(&mut self, index: u32) -> Option<(&mut Link, &mut Pool)> {
        let link = self.slab.get_mut(index as usize)?;
        (link.life != Life::Dead && !link.is_peer()).then_some((link, &mut self.pool))
    }

    /// A peer's link and the pool its backlog is made of.
    pub fn peer_with_pool(&mut self, index: u32) -> Option<(&mut Link, &mut Pool)> {
        let link = self.slab.get_mut(index as usize)?;
        (link.life != Life::Dead && link.is_peer()).then_some((link, &mut self.peer_pool))
    }

    /// The slots of peers' links.
    pub fn peer_indices(&self) -> Vec<u32> {
        let living = self.slab.iter().filter(|(_, link)| link.life != Life::Dead);
        living.filter(|(_, link)| link.is_peer()).map(|(index, _)| index as u32).collect()
    }

    /// The connection of an id, if it is still that one.
    pub fn find(&mut self, id: ConnId) -> Option<&mut Link> {
        self.at(id.index).filter(|link| link.id == id)
    }

    /// Counts a connection out. Its slot stays taken until `bury`, so that nothing of this turn
    /// can mean another connection.
    pub fn kill(&mut self, index: u32) {
        let link = self.slab.get_mut(index as usize).expect("a connection in its slot");
        assert!(link.life != Life::Dead, "a connection ends once");
        link.life = Life::Dead;
        self.partial_bytes -= link.partial.capacity();
        link.partial = Vec::new();
        if let Far::Came(port) = link.far {
            self.came[port as usize] -= 1;
        }
        if link.is_peer() {
            link.backlog.clear(&mut self.peer_pool);
            self.peers -= 1;
            self.dead_peers.push(index);
        } else {
            link.backlog.clear(&mut self.pool);
            self.alive -= 1;
            let place = (link.peer, link.is_secure_door);
            let count = self.by_address.get_mut(&place).expect("counted at its accept");
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&place);
            }
            self.dead.push_back(index);
        }
    }

    /// Closes sockets of what was killed, as many as a turn may, and frees their slots.
    pub fn bury(&mut self) {
        let clients = self.dead.len().min(CLOSES_PER_TURN);
        for index in self.dead_peers.drain(..).chain(self.dead.drain(..clients)) {
            drop(self.slab.remove(index as usize));
        }
    }

    /// Whether sockets wait to be closed.
    pub fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// Who holds most of what `bytes_of` counts.
    pub fn largest(&self, bytes_of: impl Fn(&Link) -> usize) -> Option<u32> {
        let living = self.slab.iter().filter(|(_, link)| link.life != Life::Dead);
        let largest = living.max_by_key(|(_, link)| bytes_of(link))?;
        Some(largest.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};

    use super::*;

    #[test]
    fn a_crowd_that_ends_is_closed_in_turns_and_peers_before_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        let dial = || {
            let stream = StdStream::connect(address).expect("connected");
            listener.accept().expect("accepted");
            TcpStream::from_std(stream)
        };
        let mut links = Links::default();
        let crowd = CLOSES_PER_TURN * 2 + 10;
        for _ in 0..crowd {
            links.insert(dial(), address, false, Instant(0));
        }
        let peer = links.insert_peer(dial(), address, Far::Dialled, Instant(0));
        for index in 0..=peer.index {
            links.kill(index);
        }
        assert_eq!((links.alive(), links.taken()), (0, crowd), "descriptors that are still open");
        let mut left = Vec::new();
        while links.has_dead() {
            links.bury();
            left.push((links.taken(), links.slab.contains(peer.index as usize)));
        }
        assert_eq!(left, [(crowd - CLOSES_PER_TURN, false), (10, false), (0, false)]);
    }
}
