//! TCP between nodes, not packets: dials, accept queues, and per connection a stream of bytes in
//! each direction that is late, cut anywhere, held up, or broken.
//!
//! A kernel goes on when its process is paused or killed; only a power cut ends it. Whoever breaks
//! a connection, both ends learn of it at their own times, if at all. Everything is drawn from a
//! stream of its own, keyed by the seed, the two nodes and how often they have dialled.

mod conn;
mod faults;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use zkd::base::{Instant, Rng};

use super::Event;
use super::clock::Clock;
use crate::plan::stream;

pub use conn::Over;
use conn::{Conn, End, Piece, Pipe};
pub use faults::Division;

/// Where a node can be dialled, as names are resolved to.
pub type Ip = u8;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket {
    conn: u64,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The machine is there and nobody listens.
    Refused,
    /// No answer in time.
    Unreached,
}

/// What a node's kernel tells its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Somebody waits at this port.
    Acceptable {
        port: u16,
    },
    Dialled {
        dial: u64,
        outcome: Result<Socket, DialError>,
    },
    /// Bytes have come, or the end has.
    Readable {
        socket: Socket,
    },
    /// There is room again where there was none.
    Writable {
        socket: Socket,
    },
}

/// What the network has to look after at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Syn {
        dial: u64,
        attempt: u32,
    },
    Refusal {
        dial: u64,
    },
    DialTimeout {
        dial: u64,
    },
    Pump {
        conn: u64,
        from: usize,
    },
    Room {
        conn: u64,
        from: usize,
    },
    /// A reset reaches an end: of the other one's making, or out of nowhere.
    Reset {
        conn: u64,
        at: usize,
        travels: bool,
    },
    GiveUp {
        conn: u64,
        from: usize,
        since: Instant,
    },
    Unclog {
        from: usize,
        to: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(Vec<u8>),
    Nothing,
    Over(Over),
}

/// How the network is, apart from its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// A piece takes so long, and up to so much longer.
    pub least_us: u64,
    pub spread_us: u64,
    /// Bytes that a direction takes before its reader has read any.
    pub capacity: usize,
    /// Connections that wait to be accepted; more are not answered.
    pub accept_queue: usize,
    /// After so long without a way through, a kernel that has something to send gives up.
    pub give_up_ms: u64,
}

#[derive(Debug, Default)]
struct Host {
    is_up: bool,
    listeners: BTreeMap<u16, VecDeque<Socket>>,
}

/// The way from one node to another.
#[derive(Debug, Default)]
struct Path {
    blocks: u32,
    clogged_until: Option<Instant>,
    slow_us: u64,
}

#[derive(Debug)]
struct Dial {
    node: usize,
    to: Ip,
    port: u16,
    rng: Rng,
    /// What keys the streams of the connection that comes of it.
    index: u64,
    /// The handshake is done and the process does not know yet.
    made: Option<Socket>,
}

#[derive(Debug)]
pub struct Network {
    seed: u64,
    settings: NetworkSettings,
    hosts: Vec<Host>,
    places: BTreeMap<Ip, usize>,
    paths: BTreeMap<(usize, usize), Path>,
    conns: BTreeMap<u64, Conn>,
    dials: BTreeMap<u64, Dial>,
    number: u64,
    /// How often each node has dialled each place.
    dialled: BTreeMap<(usize, Ip), u64>,
    /// What has happened, by kind.
    pub counters: BTreeMap<&'static str, u64>,
}

/// The first pause before a lost opening packet is sent again, as kernels have it.
const SYN_AGAIN_MS: u64 = 1000;

/// The pieces of one write come within this time.
const PIECES_NS: u64 = 1_000_000;

/// The parts of the seed that are the network's.
const PART_DIAL: u64 = 100;
const PART_PIPE: u64 = 101;

impl Network {
    pub fn new(seed: u64, settings: NetworkSettings, nodes: usize) -> Network {
        Network {
            seed,
            settings,
            hosts: (0..nodes).map(|_| Host { is_up: true, ..Host::default() }).collect(),
            places: BTreeMap::new(),
            paths: BTreeMap::new(),
            conns: BTreeMap::new(),
            dials: BTreeMap::new(),
            number: 0,
            dialled: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// From now on this is where the node is; streams to where it was lead nowhere.
    pub fn place(&mut self, node: usize, at: Ip) {
        if self.places.get(&at) == Some(&node) {
            return;
        }
        self.places.retain(|_, there| *there != node);
        self.places.insert(at, node);
        for conn in self.conns.values_mut().filter(|conn| conn.ends.iter().any(|e| e.node == node))
        {
            conn.is_dead = true;
        }
    }

    pub fn listen(&mut self, node: usize, port: u16) {
        self.hosts[node].listeners.entry(port).or_default();
    }

    /// Who waits to be accepted is sent away.
    pub fn stop_listening(&mut self, clock: &mut Clock<Event>, node: usize, port: u16) {
        for socket in self.hosts[node].listeners.remove(&port).unwrap_or_default() {
            self.shut(clock, socket, Over::Reset);
        }
    }

    /// The connection that a dial has made, before its process knows of it.
    pub fn dialled_to(&self, dial: u64) -> Option<Socket> {
        self.dials.get(&dial)?.made
    }

    /// Which node has the other end.
    pub fn other_end(&self, socket: Socket) -> Option<usize> {
        self.conns.get(&socket.conn).map(|conn| conn.ends[1 - socket.end].node)
    }

    pub fn accept(&mut self, node: usize, port: u16) -> Option<Socket> {
        self.hosts[node].listeners.get_mut(&port)?.pop_front()
    }

    /// Begins to connect. How it ends, comes as a happening with this number.
    pub fn dial(
        &mut self,
        clock: &mut Clock<Event>,
        node: usize,
        (to, port): (Ip, u16),
        timeout_ms: u64,
    ) -> u64 {
        self.number += 1;
        let number = self.number;
        let before = self.dialled.entry((node, to)).or_default();
        *before += 1;
        let index = (node as u64) << 32 | u64::from(to) << 24 | *before;
        let rng = stream(self.seed, PART_DIAL, index);
        self.dials.insert(number, Dial { node, to, port, rng, index, made: None });
        let timeout = clock.now().plus_ms(timeout_ms);
        clock.at(timeout, None, Event::Errand(Errand::DialTimeout { dial: number }));
        let there = self.places.get(&to).copied();
        let due = self.dial_due(clock.now(), number, there.map(|there| (node, there)));
        clock.at(due, None, Event::Errand(Errand::Syn { dial: number, attempt: 0 }));
        number
    }

    /// Nobody is interested in it any more.
    pub fn drop_dial(&mut self, clock: &mut Clock<Event>, dial: u64) {
        if let Some(socket) = self.dials.remove(&dial).and_then(|dial| dial.made) {
            self.close(clock, socket);
        }
    }

    /// How much of it the kernel has taken. Where it was not all, the node hears when there is
    /// room again.
    pub fn write(&mut self, clock: &mut Clock<Event>, socket: Socket, bytes: &[u8]) -> usize {
        let now = clock.now();
        let Some(conn) = self.conns.get(&socket.conn) else { return 0 };
        if !conn.ends[socket.end].is_open || conn.pipes[1 - socket.end].over == Some(Over::Reset) {
            return 0;
        }
        let way = conn.way(socket.end);
        let capacity = self.settings.capacity;
        let slow_us = self.slow_us(way);
        let is_unread = !conn.ends[1 - socket.end].is_open || conn.pipes[socket.end].over.is_some();
        let conn = self.conns.get_mut(&socket.conn).expect("it was there");
        let pipe = &mut conn.pipes[socket.end];
        let taken = bytes.len().min(capacity.saturating_sub(pipe.outstanding));
        pipe.outstanding += taken;
        pipe.wants_room = taken < bytes.len();
        if pipe.wants_room {
            *self.counters.entry("writers held up").or_default() += 1;
        }
        let mut due = delay(&self.settings, &mut pipe.rng, now, slow_us);
        let pieces = pipe.cut(&bytes[..taken]);
        let gap_ns = PIECES_NS / pieces.len().max(1) as u64;
        for piece in pieces {
            pipe.send(due, Piece::Bytes(piece));
            due = due.plus_ns(pipe.rng.below(gap_ns));
        }
        self.arm(clock, socket);
        if taken == 0 && is_unread {
            self.ask_for_room(clock, socket);
        }
        taken
    }

    pub fn read(&mut self, clock: &mut Clock<Event>, socket: Socket, most: usize) -> Read {
        let Socket { conn: id, end } = socket;
        let now = clock.now();
        let Some(conn) = self.conns.get_mut(&id) else { return Read::Over(Over::Reset) };
        assert!(conn.ends[end].is_open, "who has closed does not read");
        let pipe = &mut conn.pipes[1 - end];
        let size = most.min(pipe.arrived.len());
        if size == 0 {
            return pipe.over.filter(|_| pipe.arrived.is_empty()).map_or(Read::Nothing, Read::Over);
        }
        let bytes = pipe.arrived.drain(..size).collect();
        pipe.read += size;
        let due = delay(&self.settings, &mut pipe.rng, now, 0);
        clock.at(due, None, Event::Errand(Errand::Room { conn: id, from: 1 - end }));
        Read::Bytes(bytes)
    }

    /// The process is done with it. What it has written still goes, unless it leaves something
    /// unread: then the other end hears of a break.
    pub fn close(&mut self, clock: &mut Clock<Event>, socket: Socket) {
        let Some(conn) = self.conns.get(&socket.conn) else { return };
        let unread = !conn.pipes[1 - socket.end].arrived.is_empty();
        self.shut(clock, socket, if unread { Over::Reset } else { Over::End });
    }

    /// Does what was to be done now.
    pub fn handle(&mut self, clock: &mut Clock<Event>, errand: Errand) {
        match errand {
            Errand::Syn { dial, attempt } => self.on_syn(clock, dial, attempt),
            Errand::Refusal { dial } => self.fail_dial(clock, dial, DialError::Refused),
            Errand::DialTimeout { dial } => {
                if self.dials.get(&dial).is_some_and(|dial| dial.made.is_none()) {
                    self.fail_dial(clock, dial, DialError::Unreached);
                }
            }
            Errand::Pump { conn, from } => self.on_pump(clock, Socket { conn, end: from }),
            Errand::Room { conn, from } => self.on_room(clock, Socket { conn, end: from }),
            Errand::Reset { conn, at, travels } => {
                self.on_reset(clock, Socket { conn, end: at }, travels);
            }
            Errand::GiveUp { conn, from, since } => {
                let pipe = self.conns.get(&conn).map(|conn| &conn.pipes[from]);
                let is_so = |pipe: &Pipe| [pipe.stalled, pipe.room_stalled].contains(&Some(since));
                if pipe.is_some_and(is_so) {
                    self.count("streams given up");
                    self.on_reset(clock, Socket { conn, end: from }, false);
                }
            }
            // Nothing was lost on this way, so nothing has to be tried again.
            Errand::Unclog { from, to } => self.reopened(clock, from, to, 0),
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    /// An opening packet arrives where it was sent to.
    fn on_syn(&mut self, clock: &mut Clock<Event>, number: u64, attempt: u32) {
        let now = clock.now();
        let Some(dial) = self.dials.get(&number) else { return };
        let (node, port) = (dial.node, dial.port);
        let there = self.places.get(&dial.to).copied();
        let open = there.filter(|to| self.is_open(now, node, *to) && self.is_open(now, *to, node));
        let Some(to) = open else { return self.send_syn_again(clock, number, attempt) };
        let back = self.dial_due(now, number, Some((to, node)));
        let most = self.settings.accept_queue;
        let Some(queue) = self.hosts[to].listeners.get_mut(&port) else {
            return clock.at(back, None, Event::Errand(Errand::Refusal { dial: number }));
        };
        if queue.len() >= most {
            self.count("accept queues full");
            return self.send_syn_again(clock, number, attempt);
        }
        self.number += 1;
        let conn = self.number;
        queue.push_back(Socket { conn, end: 1 });
        let socket = Socket { conn, end: 0 };
        let dial = self.dials.get_mut(&number).expect("it was there");
        dial.made = Some(socket);
        let index = dial.index;
        let pipe = |end: u64| Pipe::new(stream(self.seed, PART_PIPE + end, index), now);
        let end = |node| End { node, is_open: true, reset_stalled: false };
        let (ends, pipes) = ([end(node), end(to)], [pipe(0), pipe(1)]);
        self.conns.insert(conn, Conn { ends, pipes, is_dead: false });
        // The dialler knows first: the other hears of it by the answer to its answer.
        let outcome = Happening::Dialled { dial: number, outcome: Ok(socket) };
        clock.at(back, Some(node), Event::Happened(outcome));
        let third = self.dial_due(back, number, Some((node, to)));
        clock.at(third, Some(to), Event::Happened(Happening::Acceptable { port }));
        self.count("connections made");
    }

    fn send_syn_again(&mut self, clock: &mut Clock<Event>, number: u64, attempt: u32) {
        self.count("opening packets lost");
        let again = clock.now().plus_ms(SYN_AGAIN_MS << attempt.min(6));
        let syn = Errand::Syn { dial: number, attempt: attempt + 1 };
        clock.at(again, None, Event::Errand(syn));
    }

    fn fail_dial(&mut self, clock: &mut Clock<Event>, number: u64, error: DialError) {
        let Some(dial) = self.dials.remove(&number) else { return };
        self.count(match error {
            DialError::Refused => "dials refused",
            DialError::Unreached => "dials unanswered",
        });
        let outcome = Happening::Dialled { dial: number, outcome: Err(error) };
        clock.at(clock.now(), Some(dial.node), Event::Happened(outcome));
    }

    /// The process has heard how its dial ended.
    pub fn dial_is_known(&mut self, dial: u64) {
        self.dials.remove(&dial);
    }

    fn dial_due(&mut self, now: Instant, number: u64, way: Option<(usize, usize)>) -> Instant {
        let slow_us = way.map_or(0, |way| self.slow_us(way));
        let dial = self.dials.get_mut(&number).expect("a dial under way");
        delay(&self.settings, &mut dial.rng, now, slow_us)
    }

    /// Sees to it that the front of a stream is looked at when it arrives.
    fn arm(&mut self, clock: &mut Clock<Event>, socket: Socket) {
        let Socket { conn: id, end } = socket;
        let pipe = &mut self.conns.get_mut(&id).expect("it was there").pipes[end];
        let Some((due, _)) = pipe.in_flight.front() else { return };
        if pipe.pump.is_none() && pipe.stalled.is_none() {
            pipe.pump = Some(*due);
            clock.at(*due, None, Event::Errand(Errand::Pump { conn: id, from: end }));
        }
    }

    fn on_pump(&mut self, clock: &mut Clock<Event>, socket: Socket) {
        let Socket { conn: id, end } = socket;
        let now = clock.now();
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = conn.way(end);
        let passes = !conn.is_dead && self.is_open(now, from, to);
        let conn = self.conns.get_mut(&id).expect("it was there");
        let pipe = &mut conn.pipes[end];
        if pipe.pump.is_none_or(|pump| pump > now) {
            return;
        }
        pipe.pump = None;
        if !passes {
            if pipe.stalled.is_none() && !pipe.in_flight.is_empty() {
                pipe.stalled = Some(now);
                let give_up = Errand::GiveUp { conn: id, from: end, since: now };
                let at = now.plus_ms(self.settings.give_up_ms);
                clock.at(at, None, Event::Errand(give_up));
            }
            return;
        }
        pipe.stalled = None;
        let mut is_news = false;
        let mut is_unwanted = false;
        while pipe.in_flight.front().is_some_and(|(due, _)| *due <= now) {
            let (_, piece) = pipe.in_flight.pop_front().expect("it is in front");
            let reader = conn.ends[1 - end].is_open && pipe.over.is_none();
            match piece {
                Piece::Bytes(bytes) if reader => pipe.arrived.extend(bytes),
                Piece::Over(Over::End) if reader => pipe.over = Some(Over::End),
                Piece::Over(Over::Reset) if reader => pipe.reset(),
                Piece::Bytes(_) => is_unwanted = true,
                Piece::Over(_) => {}
            }
            is_news |= reader;
        }
        if is_news {
            let readable = Happening::Readable { socket: Socket { conn: id, end: 1 - end } };
            clock.at(now, Some(to), Event::Happened(readable));
        }
        if is_unwanted {
            self.send_reset(clock, socket);
        }
        self.arm(clock, socket);
        self.bury(id);
    }

    /// The writer's kernel hears that there is room.
    fn on_room(&mut self, clock: &mut Clock<Event>, socket: Socket) {
        let Socket { conn: id, end } = socket;
        let now = clock.now();
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = conn.way(end);
        let passes = !conn.is_dead && self.is_open(now, to, from);
        let conn = self.conns.get_mut(&id).expect("it was there");
        let pipe = &mut conn.pipes[end];
        if !passes {
            // For the writer's kernel it is as if nothing had arrived.
            if pipe.room_stalled.is_none() {
                pipe.room_stalled = Some(now);
                let give_up = Errand::GiveUp { conn: id, from: end, since: now };
                let at = now.plus_ms(self.settings.give_up_ms);
                clock.at(at, None, Event::Errand(give_up));
            }
            return;
        }
        pipe.room_stalled = None;
        pipe.outstanding -= std::mem::take(&mut pipe.read);
        if std::mem::take(&mut pipe.wants_room) && conn.ends[end].is_open {
            clock.at(now, Some(from), Event::Happened(Happening::Writable { socket }));
        }
    }

    /// Who waits for room asks for it from time to time, and finds out that nobody is there.
    pub(super) fn ask_for_room(&mut self, clock: &mut Clock<Event>, writer: Socket) {
        let Some(conn) = self.conns.get_mut(&writer.conn) else { return };
        let pipe = &mut conn.pipes[writer.end];
        if conn.ends[writer.end].is_open && pipe.wants_room && pipe.in_flight.is_empty() {
            pipe.send(clock.now(), Piece::Bytes(Vec::new()));
            self.arm(clock, writer);
        }
    }

    /// What was sent has found nobody: its sender is told.
    fn send_reset(&mut self, clock: &mut Clock<Event>, to: Socket) {
        let Socket { conn, end } = to;
        let settings = &self.settings;
        let pipe = &mut self.conns.get_mut(&conn).expect("it was there").pipes[1 - end];
        let due = delay(settings, &mut pipe.rng, clock.now(), 0);
        clock.at(due, None, Event::Errand(Errand::Reset { conn, at: end, travels: true }));
    }

    fn on_reset(&mut self, clock: &mut Clock<Event>, socket: Socket, travels: bool) {
        let Socket { conn: id, end } = socket;
        let now = clock.now();
        let Some(conn) = self.conns.get(&id) else { return };
        let (node, other) = conn.way(end);
        let passes = !travels || (!conn.is_dead && self.is_open(now, other, node));
        let conn = self.conns.get_mut(&id).expect("it was there");
        conn.ends[end].reset_stalled = !passes && conn.ends[end].is_open;
        if passes {
            conn.pipes[end].in_flight.clear();
            let into = &mut conn.pipes[1 - end];
            if conn.ends[end].is_open && into.over != Some(Over::Reset) {
                into.reset();
                clock.at(now, Some(node), Event::Happened(Happening::Readable { socket }));
            }
            self.ask_for_room(clock, Socket { conn: id, end: 1 - end });
        }
        self.bury(id);
    }

    /// An end is the process's no more.
    fn shut(&mut self, clock: &mut Clock<Event>, socket: Socket, how: Over) {
        let Socket { conn: id, end } = socket;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !std::mem::replace(&mut conn.ends[end].is_open, false) {
            return;
        }
        let is_broken = conn.pipes[1 - end].over == Some(Over::Reset);
        conn.pipes[1 - end].arrived.clear();
        if !is_broken {
            let pipe = &mut conn.pipes[end];
            let due = delay(&self.settings, &mut pipe.rng, clock.now(), 0);
            pipe.send(due, Piece::Over(how));
            self.arm(clock, socket);
        }
        self.bury(id);
    }

    fn bury(&mut self, conn: u64) {
        if self.conns.get(&conn).is_some_and(Conn::is_over) {
            self.conns.remove(&conn);
        }
    }

    fn slow_us(&self, way: (usize, usize)) -> u64 {
        self.paths.get(&way).map_or(0, |path| path.slow_us)
    }
}

fn delay(settings: &NetworkSettings, rng: &mut Rng, now: Instant, slow_us: u64) -> Instant {
    let us = settings.least_us + slow_us + rng.below(settings.spread_us + 1);
    now.plus_ns(us * 1000 + rng.below(1000))
}
