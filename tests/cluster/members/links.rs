//! The sockets of one process, as a reactor has them: what is read of them in a turn, what waits to
//! be taken, and what is told of that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use zkd::base::{ConnId, limits};
use zkd::election::DialFailure;
use zkd::node::{CloseReason, Event, PeerEvent, PeerPort};
use zkd::peering::HostPort;
use zkd::proto::{ConnectResponse, Splitter};

use super::breakage::Breakage;
use super::tap::{Tap, Word};
use super::twist::Twist;
use super::whisper::Whisper;
use super::wires::{CLIENT_PORT, ELECTION_PORT, OBSERVERS_PORT, QUORUM_PORT, Wires};
use crate::world::network::{DialError, Read, Socket};

/// Something that came from the network, whole, so that an event can borrow of it.
#[derive(Debug)]
pub enum Came {
    ClientAccepted { conn: ConnId },
    Frame { conn: ConnId, body: Vec<u8> },
    ClientClosed { conn: ConnId, reason: CloseReason },
    Backlog { conn: ConnId, bytes: usize },
    Accepted { link: ConnId, port: PeerPort },
    Dialed { dial: u64, outcome: Result<ConnId, DialFailure> },
    Bytes { link: ConnId, bytes: Vec<u8> },
    Closed { link: ConnId },
    Unsent { link: ConnId, bytes: usize },
    InputLeft,
}

impl Came {
    pub fn event(&self) -> Event<'_> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4242));
        match self {
            Came::ClientAccepted { conn } => {
                let (conn, local) = (*conn, peer);
                Event::Accepted { conn, peer, local, secure: false, subject: None }
            }
            Came::Frame { conn, body } => Event::Frame { conn: *conn, body },
            Came::ClientClosed { conn, reason } => Event::Closed { conn: *conn, reason: *reason },
            Came::Backlog { conn, bytes } => Event::Backlog { conn: *conn, bytes: *bytes },
            Came::Accepted { link, port } => {
                Event::Peer(PeerEvent::Accepted { link: *link, port: *port, from: peer })
            }
            Came::Dialed { dial, outcome } => {
                Event::Peer(PeerEvent::Dialed { dial: *dial, outcome: *outcome })
            }
            Came::Bytes { link, bytes } => Event::Peer(PeerEvent::Bytes { link: *link, bytes }),
            Came::Closed { link } => Event::Peer(PeerEvent::Closed { link: *link }),
            Came::Unsent { link, bytes } => {
                Event::Peer(PeerEvent::Unsent { link: *link, bytes: *bytes })
            }
            Came::InputLeft => Event::InputLeft,
        }
    }
}

#[derive(Debug)]
enum Kind {
    Client(Talk),
    Peer(Tap),
}

/// What is known of a client's line.
#[derive(Debug, Default)]
struct Talk {
    splitter: Splitter,
    /// What the handshake was answered, up to its end, and the session that it names.
    greeting: Splitter,
    session: Option<i64>,
    whisper: Option<Whisper>,
}

impl Talk {
    /// What is said to it: the session that it is let in with, if that is told by this.
    fn greet(&mut self, bytes: &[u8]) -> Option<i64> {
        if self.session.is_some() {
            return None;
        }
        self.greeting.push(bytes);
        let answer = self.greeting.next(1 << 20).expect("members write well");
        let response = answer.map(ConnectResponse::read);
        self.session = response.map(|said| said.expect("members write well").session.0);
        self.session
    }
}

#[derive(Debug)]
struct Line {
    conn: ConnId,
    socket: Socket,
    kind: Kind,
    twist: Option<Twist>,
    /// What is wrong with how its owner hears, and what it takes for heard.
    ears: Option<Twist>,
    foreseen: Vec<u8>,
    unsent: Vec<u8>,
    /// How much of that was told last, and how much was taken since.
    told: usize,
    taken: usize,
    is_paused: bool,
    /// The kernel says when it takes more.
    is_full: bool,
    /// Closed by the process, as soon as everything is taken.
    is_parting: bool,
}

#[derive(Debug)]
struct Dial {
    attempts: Vec<(u64, u16)>,
    has_failed_otherwise: bool,
}

#[derive(Debug, Default)]
pub struct Links {
    lines: Vec<Option<Line>>,
    generations: Vec<u32>,
    by_socket: BTreeMap<Socket, u32>,
    dials: BTreeMap<u64, Dial>,
    /// Lines that may have something to read.
    readable: BTreeSet<u32>,
    /// Closed by the node: clients' connections are told of, with the next turn.
    closed: Vec<ConnId>,
    pub breakage: Breakage,
    /// How many learners have come.
    learners: u32,
}

impl Links {
    /// Whether another turn must follow though nothing happens.
    pub fn has_work(&self) -> bool {
        let ready = |index: &u32| self.at(*index).is_some_and(|line| !line.is_paused);
        let news = |line: &Line| line.news().is_some();
        let foresees = |line: &Line| !line.foreseen.is_empty();
        !self.closed.is_empty()
            || self.lines.iter().flatten().any(foresees)
            || self.readable.iter().any(ready)
            || self.lines.iter().flatten().any(news)
    }

    fn at(&self, index: u32) -> Option<&Line> {
        self.lines.get(index as usize)?.as_ref()
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Line> {
        let line = self.lines.get_mut(conn.index as usize)?.as_mut()?;
        (line.conn == conn && !line.is_parting).then_some(line)
    }

    fn add(&mut self, socket: Socket, kind: Kind) -> ConnId {
        let free = self.lines.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.lines.push(None);
            self.generations.push(0);
            self.lines.len() - 1
        });
        self.generations[index] += 1;
        let conn = ConnId { index: index as u32, generation: self.generations[index] };
        self.by_socket.insert(socket, conn.index);
        self.readable.insert(conn.index);
        let (twist, ears) = match &kind {
            Kind::Peer(tap) => (Twist::of(self.breakage, tap), Twist::of_ears(self.breakage, tap)),
            Kind::Client(_) => (None, None),
        };
        self.lines[index] = Some(Line {
            conn,
            socket,
            kind,
            twist,
            ears,
            foreseen: Vec::new(),
            unsent: Vec::new(),
            told: 0,
            taken: 0,
            is_paused: false,
            is_full: false,
            is_parting: false,
        });
        conn
    }

    fn remove(&mut self, wires: &mut Wires<'_>, index: u32) -> Option<Line> {
        let line = self.lines.get_mut(index as usize)?.take()?;
        self.by_socket.remove(&line.socket);
        self.readable.remove(&index);
        wires.network.close(wires.clock, line.socket);
        Some(line)
    }

    pub fn accept(&mut self, wires: &mut Wires<'_>, port: u16, came: &mut Vec<Came>) {
        if port == QUORUM_PORT {
            self.learners += 1;
            if self.breakage == Breakage::AcceptorDies && self.learners > 2 {
                return;
            }
        }
        // What else came in this turn may have made room.
        came.extend(self.take_closed());
        while let Some(socket) = wires.network.accept(wires.node, port) {
            if port == CLIENT_PORT {
                let whisper = Whisper::of(self.breakage);
                let conn = self.add(socket, Kind::Client(Talk { whisper, ..Talk::default() }));
                came.push(Came::ClientAccepted { conn });
                continue;
            }
            let (tap, port) = match port {
                ELECTION_PORT => (Tap::ElectionAnswers(Tap::answers()), PeerPort::Election),
                OBSERVERS_PORT => (Tap::master(), PeerPort::Observers),
                _ => (Tap::leader(), PeerPort::Quorum),
            };
            let link = self.add(socket, Kind::Peer(tap));
            came.push(Came::Accepted { link, port });
        }
    }

    pub fn dial(&mut self, wires: &mut Wires<'_>, dial: u64, to: &[HostPort], within_ms: u64) {
        assert!(!self.dials.contains_key(&dial), "a dial's number is its own");
        let mut made = Dial { attempts: Vec::new(), has_failed_otherwise: false };
        for HostPort { host, port } in to {
            match wires.names.get(host) {
                Some(ip) => {
                    let number =
                        wires.network.dial(wires.clock, wires.node, (*ip, *port), within_ms);
                    made.attempts.push((number, *port));
                }
                None => made.has_failed_otherwise = true,
            }
        }
        self.dials.insert(dial, made);
    }

    pub fn drop_dial(&mut self, wires: &mut Wires<'_>, dial: u64) {
        for (number, _) in self.dials.remove(&dial).into_iter().flat_map(|dial| dial.attempts) {
            wires.network.drop_dial(wires.clock, number);
        }
    }

    pub fn on_dialled(
        &mut self,
        wires: &mut Wires<'_>,
        number: u64,
        outcome: Result<Socket, DialError>,
        came: &mut Vec<Came>,
    ) {
        let is_this = |(n, _): &(u64, u16)| *n == number;
        let of = self.dials.iter_mut().find(|(_, dial)| dial.attempts.iter().any(is_this));
        let Some((name, dial)) = of else { return };
        let name = *name;
        let at = dial.attempts.iter().position(is_this).expect("it was found by it");
        let (_, port) = dial.attempts.remove(at);
        wires.network.dial_is_known(number);
        let outcome = match outcome {
            Ok(socket) => {
                self.drop_dial(wires, name);
                let tap = match port {
                    ELECTION_PORT => Tap::ElectionGreets(Tap::greets()),
                    QUORUM_PORT | OBSERVERS_PORT => Tap::learner(),
                    other => panic!("nobody dials {other}"),
                };
                Ok(self.add(socket, Kind::Peer(tap)))
            }
            Err(error) => {
                dial.has_failed_otherwise |= error != DialError::Refused;
                if !dial.attempts.is_empty() {
                    return;
                }
                let otherwise = dial.has_failed_otherwise;
                self.dials.remove(&name);
                Err(if otherwise { DialFailure::Unreached } else { DialFailure::Refused })
            }
        };
        came.push(Came::Dialed { dial: name, outcome });
    }

    /// Dials that have failed without being tried: there is no such name.
    pub fn nameless(&mut self, came: &mut Vec<Came>) {
        let failed: Vec<u64> =
            self.dials.iter().filter(|(_, d)| d.attempts.is_empty()).map(|(n, _)| *n).collect();
        for dial in failed {
            self.dials.remove(&dial);
            came.push(Came::Dialed { dial, outcome: Err(DialFailure::Unreached) });
        }
    }

    pub fn on_readable(&mut self, socket: Socket) {
        if let Some(index) = self.by_socket.get(&socket) {
            self.readable.insert(*index);
        }
    }

    pub fn on_writable(&mut self, wires: &mut Wires<'_>, socket: Socket) {
        if let Some(index) = self.by_socket.get(&socket).copied() {
            if let Some(line) = self.lines[index as usize].as_mut() {
                line.is_full = false;
            }
            self.flush(wires, index);
        }
    }

    /// Clients that the node has closed: it hears of it before their places are given to others.
    pub fn take_closed(&mut self) -> Vec<Came> {
        let closed = std::mem::take(&mut self.closed).into_iter();
        closed.map(|conn| Came::ClientClosed { conn, reason: CloseReason::Asked }).collect()
    }

    /// Reads what may be read, at most so much of each line.
    pub fn read(&mut self, wires: &mut Wires<'_>, most: usize, came: &mut Vec<Came>) {
        for line in self.lines.iter_mut().flatten().filter(|line| !line.foreseen.is_empty()) {
            let bytes = std::mem::take(&mut line.foreseen);
            came.push(Came::Bytes { link: line.conn, bytes });
        }
        let mut is_left = false;
        for index in self.readable.clone() {
            is_left |= self.read_line(wires, index, most, came);
        }
        self.tell_news(came);
        if is_left {
            wires.record.count("input left");
            came.push(Came::InputLeft);
        }
    }

    /// Whether something is left.
    fn read_line(
        &mut self,
        wires: &mut Wires<'_>,
        index: u32,
        most: usize,
        came: &mut Vec<Came>,
    ) -> bool {
        let mut size = 0;
        loop {
            let Some(line) = self.lines[index as usize].as_mut() else { return false };
            if line.is_paused && !line.is_parting {
                return false;
            }
            if size >= most {
                return true;
            }
            let conn = line.conn;
            match wires.network.read(wires.clock, line.socket, most - size) {
                Read::Nothing => {
                    self.readable.remove(&index);
                    return false;
                }
                Read::Over(_) => {
                    let line = self.remove(wires, index).expect("it was read");
                    let reason = CloseReason::PeerClosed;
                    match line.kind {
                        Kind::Client(_) => came.push(Came::ClientClosed { conn, reason }),
                        Kind::Peer(_) if line.is_parting => {}
                        Kind::Peer(_) => came.push(Came::Closed { link: conn }),
                    }
                    return false;
                }
                Read::Bytes(_) if line.is_parting => {}
                Read::Bytes(bytes) => {
                    size += bytes.len();
                    line.hear(wires, bytes, came);
                }
            }
        }
    }

    fn tell_news(&mut self, came: &mut Vec<Came>) {
        for line in self.lines.iter_mut().flatten() {
            let Some(news) = line.news() else { continue };
            line.told = line.unsent.len();
            line.taken = 0;
            came.push(news);
        }
    }

    pub fn send(&mut self, wires: &mut Wires<'_>, conn: ConnId, bytes: &[u8]) {
        let Some(line) = self.find(conn) else { return };
        let twisted = if let Some(twist) = &mut line.twist {
            Some(twist.pass(bytes, &wires.record.sessions()))
        } else if let Kind::Client(Talk { whisper: Some(whisper), .. }) = &mut line.kind {
            Some(whisper.pass(bytes))
        } else {
            None
        };
        line.say(wires, twisted.as_deref().unwrap_or(bytes));
    }

    /// What this turn wrote goes to the kernel, as much as it takes.
    pub fn flush_all(&mut self, wires: &mut Wires<'_>) {
        for line in self.lines.iter_mut().flatten() {
            let mut rest = line.twist.as_mut().map(Twist::rest).unwrap_or_default();
            if let Kind::Client(Talk { whisper: Some(whisper), .. }) = &mut line.kind {
                rest = whisper.rest();
            }
            if !rest.is_empty() {
                line.say(wires, &rest);
            }
        }
        for index in 0..self.lines.len() as u32 {
            self.flush(wires, index);
        }
    }

    fn flush(&mut self, wires: &mut Wires<'_>, index: u32) {
        let Some(line) = self.lines[index as usize].as_mut() else { return };
        if !line.unsent.is_empty() && !line.is_full {
            let taken = wires.network.write(wires.clock, line.socket, &line.unsent);
            line.unsent.drain(..taken);
            line.is_full = !line.unsent.is_empty();
            line.taken += taken;
        }
        if line.is_parting && line.unsent.is_empty() {
            self.end(wires, index);
        }
    }

    pub fn close(&mut self, wires: &mut Wires<'_>, conn: ConnId, after_flush: bool) {
        let Some(line) = self.find(conn) else { return };
        if after_flush && !line.unsent.is_empty() {
            line.is_parting = true;
        } else {
            self.end(wires, conn.index);
        }
    }

    fn end(&mut self, wires: &mut Wires<'_>, index: u32) {
        let Some(line) = self.remove(wires, index) else { return };
        if matches!(line.kind, Kind::Client(_)) {
            self.closed.push(line.conn);
        }
    }

    pub fn pause(&mut self, conn: ConnId, is_paused: bool) {
        if let Some(line) = self.find(conn) {
            line.is_paused = is_paused;
        }
    }
}

impl Line {
    /// Writes, and is overheard.
    fn say(&mut self, wires: &mut Wires<'_>, bytes: &[u8]) {
        let node = wires.node;
        self.unsent.extend_from_slice(bytes);
        let tap = match &mut self.kind {
            Kind::Peer(tap) => tap,
            Kind::Client(talk) => {
                let greeted = talk.greet(bytes);
                return greeted
                    .into_iter()
                    .for_each(|session| wires.record.on_greeted(node, session));
            }
        };
        let to = wires.network.other_end(self.socket);
        let (ears, foreseen) = (&mut self.ears, &mut self.foreseen);
        tap.hear(bytes, &mut |word| {
            if let (Word::Leads { kind, zxid }, Some(ears)) = (&word, &mut *ears) {
                foreseen.extend(ears.foresee(*kind, *zxid));
            }
            wires.record.on_word(node, to, word);
        });
    }

    /// Its owner hears something.
    fn hear(&mut self, wires: &mut Wires<'_>, bytes: Vec<u8>, came: &mut Vec<Came>) {
        let (conn, node) = (self.conn, wires.node);
        match &mut self.kind {
            Kind::Peer(tap) => {
                tap.listen(&bytes, &mut |touches| wires.record.on_touched(node, touches));
                let bytes = match &mut self.ears {
                    Some(ears) => ears.pass(&bytes, &[]),
                    None => bytes,
                };
                if !bytes.is_empty() {
                    came.push(Came::Bytes { link: conn, bytes });
                }
            }
            Kind::Client(talk) => {
                talk.splitter.push(&bytes);
                while let Ok(Some(body)) = talk.splitter.next(1 << 20) {
                    came.push(Came::Frame { conn, body: body.to_vec() });
                    talk.session.iter().for_each(|session| wires.record.on_heard(node, *session));
                }
            }
        }
    }

    /// What its owner should hear of bytes that wait, or have ceased to.
    fn news(&self) -> Option<Came> {
        let (bytes, told) = (self.unsent.len(), self.told);
        if self.is_parting {
            return None;
        }
        match self.kind {
            Kind::Client(_) => {
                let is_large = bytes >= limits::CONN_BACKLOG_PAUSE;
                let is_news = if told == 0 { is_large } else { bytes == 0 };
                is_news.then_some(Came::Backlog { conn: self.conn, bytes })
            }
            Kind::Peer(_) => {
                let turned = (told == 0) != (bytes == 0);
                let is_news = turned || self.taken >= limits::PEER_TOLD_BYTES && told > 0;
                is_news.then_some(Came::Unsent { link: self.conn, bytes })
            }
        }
    }
}
