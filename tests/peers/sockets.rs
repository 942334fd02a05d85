//! The sockets of one voter: none of them ever blocks, and each has a number that is not used
//! again.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Token, Waker};

/// Wakes the voter for a command.
pub const WAKER: Token = Token(0);
/// Listeners have the numbers from here up to `FIRST`.
const DOORS: usize = 1;
const FIRST: usize = 16;

/// Which port somebody has come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Election,
    Quorum,
}

/// How a connection stands that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    NotYet,
    Failed(ErrorKind),
}

/// What has come since the last look.
pub struct Came {
    pub bytes: Vec<u8>,
    pub ended: bool,
}

struct Socket {
    stream: TcpStream,
    unsent: Vec<u8>,
    connected: bool,
    ends_when_sent: bool,
}

pub struct Sockets {
    pub poll: Poll,
    doors: Vec<(Door, TcpListener)>,
    open: BTreeMap<usize, Socket>,
    next: usize,
}

impl Sockets {
    pub fn new() -> (Sockets, Waker) {
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), WAKER).expect("a waker");
        (Sockets { poll, doors: Vec::new(), open: BTreeMap::new(), next: FIRST }, waker)
    }

    pub fn listen(&mut self, door: Door, at: SocketAddr) {
        let mut listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
        let token = Token(DOORS + self.doors.len());
        assert!(token.0 < FIRST, "few listeners");
        self.poll.registry().register(&mut listener, token, Interest::READABLE).expect("polled");
        self.doors.push((door, listener));
    }

    /// Whether the token is a listener's, and then who has come.
    pub fn arrivals(&mut self, token: Token) -> Option<(Door, Vec<usize>)> {
        let (door, listener) = self.doors.get(token.0.checked_sub(DOORS)?)?;
        let door = *door;
        let mut streams = Vec::new();
        loop {
            match listener.accept() {
                Ok((stream, _)) => streams.push(stream),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // Who has come is gone already.
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => {}
                Err(e) => panic!("accepting: {e}"),
            }
        }
        let numbers = streams.into_iter().map(|stream| self.hold(stream, true)).collect();
        Some((door, numbers))
    }

    pub fn dial(&mut self, at: SocketAddr) -> io::Result<usize> {
        let stream = TcpStream::connect(at)?;
        Ok(self.hold(stream, false))
    }

    fn hold(&mut self, mut stream: TcpStream, connected: bool) -> usize {
        // Some systems refuse this of a stream whose other end is gone.
        let _ = stream.set_nodelay(true);
        let number = self.next;
        self.next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest).expect("polled");
        let socket = Socket { stream, unsent: Vec::new(), connected, ends_when_sent: false };
        self.open.insert(number, socket);
        number
    }

    pub fn is_open(&self, number: usize) -> bool {
        self.open.contains_key(&number)
    }

    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// How a dial stands.
    pub fn reached(&mut self, number: usize) -> Reached {
        let Some(socket) = self.open.get_mut(&number) else { return Reached::NotYet };
        if socket.connected {
            return Reached::Yes;
        }
        if let Ok(Some(error)) = socket.stream.take_error() {
            return Reached::Failed(error.kind());
        }
        match socket.stream.peer_addr() {
            Ok(_) => {
                socket.connected = true;
                Reached::Yes
            }
            Err(e) if e.kind() == ErrorKind::NotConnected => Reached::NotYet,
            Err(e) => Reached::Failed(e.kind()),
        }
    }

    /// Sends, now or as soon as it is taken; says whether bytes wait. A broken stream shows when it
    /// is read.
    pub fn send(&mut self, number: usize, bytes: &[u8]) -> bool {
        let Some(socket) = self.open.get_mut(&number) else { return false };
        socket.unsent.extend_from_slice(bytes);
        self.flush(number)
    }

    /// Sends what waits; says whether some of it still does.
    pub fn flush(&mut self, number: usize) -> bool {
        let Some(socket) = self.open.get_mut(&number) else { return false };
        while socket.connected && !socket.unsent.is_empty() {
            match socket.stream.write(&socket.unsent) {
                Ok(taken) => drop(socket.unsent.drain(..taken)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => socket.unsent.clear(),
            }
        }
        if socket.connected && socket.ends_when_sent {
            self.close(number);
        }
        false
    }

    pub fn read(&mut self, number: usize) -> Came {
        let mut came = Came { bytes: Vec::new(), ended: false };
        let Some(socket) = self.open.get_mut(&number) else { return came };
        let mut scratch = [0; 16 * 1024];
        loop {
            match socket.stream.read(&mut scratch) {
                Ok(0) => came.ended = true,
                Ok(count) => {
                    came.bytes.extend_from_slice(&scratch[..count]);
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => came.ended = true,
            }
            return came;
        }
    }

    pub fn close(&mut self, number: usize) {
        self.open.remove(&number);
    }

    pub fn close_when_sent(&mut self, number: usize) {
        if let Some(socket) = self.open.get_mut(&number) {
            socket.ends_when_sent = true;
            self.flush(number);
        }
    }
}
