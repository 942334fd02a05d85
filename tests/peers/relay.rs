//! Stands between the members of a Java ensemble and keeps what they say: every member finds the
//! others at addresses of the relay, by a hosts file of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ensemble::{Ensemble, host_name};

/// Who of the two said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Dialler,
    Acceptor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Election,
    Quorum,
}

/// Bytes of one side, and their place among all that were relayed.
#[derive(Clone, Debug)]
pub struct Piece {
    pub side: Side,
    pub place: u64,
    pub bytes: Vec<u8>,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub port: Port,
    pub dialler: i64,
    pub acceptor: i64,
    pub pieces: Vec<Piece>,
}

impl Conversation {
    /// The place of what was said first.
    pub fn begins(&self) -> u64 {
        self.pieces.first().map_or(u64::MAX, |piece| piece.place)
    }
}

#[derive(Default)]
struct Kept {
    ends: AtomicBool,
    places: AtomicU64,
    conversations: Mutex<Vec<Conversation>>,
}

#[derive(Default)]
pub struct Relay {
    kept: Arc<Kept>,
    threads: Vec<JoinHandle<()>>,
}

/// How long a member may take until its port is open that is said to be.
const REACH: Duration = Duration::from_secs(10);

/// Where one member finds another: nobody else does so there.
fn address(dialler: i64, acceptor: i64) -> Ipv4Addr {
    let part = |id: i64| u8::try_from(id).expect("few members");
    Ipv4Addr::new(127, 0, part(dialler), part(acceptor) + 100)
}

/// What a member is told of the others' names; it is at home itself.
pub fn hosts(ensemble: &Ensemble, of: i64) -> String {
    let line = |id: i64| {
        let at = if id == of { Ipv4Addr::LOCALHOST } else { address(of, id) };
        format!("{at} {}\n", host_name(id))
    };
    ensemble.ids().map(line).collect()
}

impl Relay {
    /// Lets the others reach a member, which listens by now: before, they are refused.
    pub fn open(&mut self, ensemble: &Ensemble, acceptor: i64) {
        let ports = [
            (Port::Election, ensemble.election_port(acceptor)),
            (Port::Quorum, ensemble.quorum_port(acceptor)),
        ];
        for dialler in ensemble.ids().filter(|id| *id != acceptor) {
            for (port, number) in ports {
                let at = SocketAddr::from((address(dialler, acceptor), number));
                let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
                listener.set_nonblocking(true).expect("a listener");
                let place = Conversation { port, dialler, acceptor, pieces: Vec::new() };
                let member = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
                let kept = Arc::clone(&self.kept);
                self.threads.push(thread::spawn(move || kept.accept(&listener, &place, member)));
            }
        }
    }

    /// What is said from now on comes at this place or behind it.
    pub fn place(&self) -> u64 {
        self.kept.places.load(Ordering::Relaxed)
    }

    /// Ends all connections: what was said on them, in the order of their beginning.
    pub fn end(mut self) -> Vec<Conversation> {
        self.stop();
        std::mem::take(&mut self.kept.conversations.lock().expect("no thread has failed"))
    }

    fn stop(&mut self) {
        self.kept.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Kept {
    fn is_ended(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn accept(self: Arc<Kept>, listener: &TcpListener, like: &Conversation, member: SocketAddr) {
        let mut threads = Vec::new();
        while !self.is_ended() {
            match listener.accept() {
                Ok((dialler, _)) => {
                    let (kept, like) = (Arc::clone(&self), like.clone());
                    threads.push(thread::spawn(move || kept.relay(&dialler, like, member)));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(e) => panic!("accepting: {e}"),
            }
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn relay(self: Arc<Kept>, dialler: &TcpStream, like: Conversation, member: SocketAddr) {
        let Some(acceptor) = self.reach(member) else { return };
        let number = {
            let mut conversations = self.conversations.lock().expect("no thread has failed");
            conversations.push(like);
            conversations.len() - 1
        };
        thread::scope(|scope| {
            scope.spawn(|| self.pump(number, Side::Acceptor, &acceptor, dialler));
            self.pump(number, Side::Dialler, dialler, &acceptor);
        });
    }

    /// A leader's port opens a moment after it is looked for: its followers would look again.
    fn reach(&self, member: SocketAddr) -> Option<TcpStream> {
        let began = Instant::now();
        while began.elapsed() < REACH && !self.is_ended() {
            if let Ok(stream) = TcpStream::connect(member) {
                return Some(stream);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Carries what one side says to the other, after it is written down: so an answer always
    /// stands behind what it answers.
    fn pump(&self, number: usize, side: Side, mut from: &TcpStream, mut to: &TcpStream) {
        let pause = Some(Duration::from_millis(100));
        from.set_nonblocking(false).expect("a stream");
        from.set_read_timeout(pause).expect("a timeout");
        let _ = to.set_nodelay(true);
        let mut scratch = vec![0; 64 * 1024];
        while !self.is_ended() {
            let count = match from.read(&mut scratch) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            self.keep(number, side, &scratch[..count]);
            if to.write_all(&scratch[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    fn keep(&self, number: usize, side: Side, bytes: &[u8]) {
        let mut conversations = self.conversations.lock().expect("no thread has failed");
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        let piece = Piece { side, place, bytes: bytes.to_vec() };
        conversations[number].pieces.push(piece);
    }
}
