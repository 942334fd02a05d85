//! Stands between the members: each finds every other at an address of the hub, and no other way.
//!
//! What it does to the bytes: holds each piece back for a while, passes the first of a connection
//! one by one, and cuts a connection after any number of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::members::{ELECTION, QUORUM};
use super::wires::{RELAYS, address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Election,
    Quorum,
}

/// Who of the two has said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Dialler,
    Acceptor,
}

/// The first connection that fits ends after so many bytes of one side, which still arrive.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub port: Port,
    pub side: Side,
    /// One of the two ends is this member; 0: any.
    pub member: u8,
    pub after: usize,
}

/// What is done to the bytes of every connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Before a piece is passed on.
    pub delay: Duration,
    /// So many of the first bytes of each side go one by one.
    pub singly: usize,
}

#[derive(Default)]
struct Rules {
    manner: Manner,
    cut: Option<Cut>,
    is_over: bool,
    links: Vec<Link>,
}

/// A connection that is open.
struct Link {
    number: u64,
    port: Port,
    ends: [u8; 2],
    sockets: [TcpStream; 2],
}

type Shared = Arc<Mutex<Rules>>;

pub struct Relay {
    rules: Shared,
    threads: Vec<JoinHandle<()>>,
}

/// Where the others find a member.
pub fn place(member: u8) -> u8 {
    RELAYS + member
}

impl Relay {
    /// For these members, both of their ports; this thread must be in the hub.
    pub fn open(members: &[u8], manner: Manner) -> Relay {
        let rules = Shared::new(Mutex::new(Rules { manner, ..Rules::default() }));
        let mut threads = Vec::new();
        for member in members {
            for (port, number) in [(Port::Election, ELECTION), (Port::Quorum, QUORUM)] {
                let at = SocketAddr::from((address(place(*member)), number));
                let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
                listener.set_nonblocking(true).expect("a listener");
                let to = SocketAddr::from((address(*member), number));
                let (rules, member) = (Arc::clone(&rules), *member);
                threads.push(thread::spawn(move || accept(&listener, port, member, to, &rules)));
            }
        }
        Relay { rules, threads }
    }

    /// Until `is_cut` says so the cut is still to come.
    pub fn arm(&self, cut: Cut) {
        lock(&self.rules).cut = Some(cut);
    }

    pub fn is_cut(&self) -> bool {
        lock(&self.rules).cut.is_none()
    }

    /// Ends the connections of a port with this member at one end; 0: all of the port's.
    pub fn sever(&self, port: Port, member: u8) {
        for link in &lock(&self.rules).links {
            if link.port == port && (member == 0 || link.ends.contains(&member)) {
                link.sockets.iter().for_each(shut);
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.rules).is_over = true;
        self.sever(Port::Election, 0);
        self.sever(Port::Quorum, 0);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What a thread leaves that has failed is whole: it holds it between two values only.
fn lock(rules: &Shared) -> MutexGuard<'_, Rules> {
    rules.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn shut(socket: &TcpStream) {
    // It may be shut already.
    let _ = socket.shutdown(Shutdown::Both);
}

fn accept(listener: &TcpListener, port: Port, member: u8, to: SocketAddr, rules: &Shared) {
    let mut threads = Vec::new();
    let mut number = 0;
    while !lock(rules).is_over {
        let Ok((dialler, from)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let IpAddr::V4(from) = from.ip() else { continue };
        // Nobody listens there at the moment: the dialler is not let in either.
        let Ok(acceptor) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else {
            continue;
        };
        let ends = [from.octets()[3], member];
        number += 1;
        for (source, sink, side) in
            [(&dialler, &acceptor, Side::Dialler), (&acceptor, &dialler, Side::Acceptor)]
        {
            source.set_nonblocking(false).expect("a socket");
            source.set_nodelay(true).expect("a socket");
            let pour = Pour {
                source: source.try_clone().expect("a descriptor"),
                sink: sink.try_clone().expect("a descriptor"),
                rules: Arc::clone(rules),
                port,
                ends,
                side,
                passed: 0,
                number,
            };
            threads.push(thread::spawn(move || pour.run()));
        }
        let link = Link { number, port, ends, sockets: [dialler, acceptor] };
        lock(rules).links.push(link);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// One direction of one connection.
struct Pour {
    source: TcpStream,
    sink: TcpStream,
    rules: Shared,
    port: Port,
    ends: [u8; 2],
    side: Side,
    passed: usize,
    number: u64,
}

impl Pour {
    fn run(mut self) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = match self.source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let (kept, manner) = self.judge(count);
            if !manner.delay.is_zero() {
                thread::sleep(manner.delay);
            }
            if self.pass(&buffer[..kept], manner).is_err() || kept < count {
                break;
            }
        }
        // Closing is passed on as well, in whichever direction it came.
        shut(&self.source);
        shut(&self.sink);
        let Pour { number, port, ends, .. } = self;
        let is_this = |link: &Link| (link.number, link.port, link.ends) == (number, port, ends);
        lock(&self.rules).links.retain(|link| !is_this(link));
    }

    /// How many of so many more bytes pass: fewer where the cut is this one.
    fn judge(&mut self, count: usize) -> (usize, Manner) {
        let mut rules = lock(&self.rules);
        let manner = rules.manner;
        let fits = |cut: &Cut| {
            let is_end = cut.member == 0 || self.ends.contains(&cut.member);
            let is_here = cut.after >= self.passed && cut.after < self.passed + count;
            is_end && is_here && cut.port == self.port && cut.side == self.side
        };
        match rules.cut.filter(fits) {
            Some(cut) => {
                rules.cut = None;
                (cut.after - self.passed, manner)
            }
            None => (count, manner),
        }
    }

    fn pass(&mut self, bytes: &[u8], manner: Manner) -> std::io::Result<()> {
        let singly = manner.singly.saturating_sub(self.passed).min(bytes.len());
        for byte in &bytes[..singly] {
            self.sink.write_all(std::slice::from_ref(byte))?;
            thread::yield_now();
        }
        self.sink.write_all(&bytes[singly..])?;
        self.passed += bytes.len();
        Ok(())
    }
}
