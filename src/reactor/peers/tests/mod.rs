//! A reactor over loopback, around a node that says what it hears and does what a test asks.

mod dials;
mod doors;
mod links;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;

use crate::base::{ConnId, Instant, Now};
use crate::config::Config;
use crate::election::DialFailure;
use crate::history::{ChoreCommand, StorageCommand, StorageEvent};
use crate::node::{Effect, Effects, Event, PeerEvent, PeerPort, Places};
use crate::peering::HostPort;
use crate::reactor::{Asked, Ended, NetNews, PeerPorts, Reactor, Storage, Turn};

/// What the node was told, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Accepted { link: ConnId, port: PeerPort },
    Dialed { dial: u64, outcome: Result<ConnId, DialFailure> },
    Bytes { link: ConnId, bytes: Vec<u8> },
    Closed { link: ConnId },
    Unsent { link: ConnId, bytes: usize },
    Client { conn: ConnId },
    Frame { conn: ConnId, body: Vec<u8> },
}

type Order = Box<dyn FnOnce(&mut Effects) + Send>;

/// Carries out one order a turn.
struct Probe {
    told: Sender<Told>,
    orders: Arc<Mutex<VecDeque<Order>>>,
    connections: Arc<AtomicUsize>,
}

impl Turn for Probe {
    fn turn(&mut self, _: Now, events: &[Event<'_>], out: &mut Effects) {
        for event in events {
            let told = match event {
                Event::Peer(event) => of_peer(event),
                Event::Accepted { conn, .. } => Told::Client { conn: *conn },
                Event::Frame { conn, body } => Told::Frame { conn: *conn, body: body.to_vec() },
                _ => continue,
            };
            // A test that is over does not listen any more.
            let _ = self.told.send(told);
        }
        let order = self.orders.lock().expect("orders").pop_front();
        if let Some(order) = order {
            order(out);
        }
    }

    fn attend(&mut self, _: Now, _: &[Asked], news: &NetNews, _: &mut Effects) {
        self.connections.store(news.connections, Ordering::SeqCst);
    }

    // Nothing but what happens wakes it.
    fn next_timeout(&mut self) -> Option<Instant> {
        None
    }

    fn due_at_once(&mut self, _: Instant) {}

    fn wants_turn(&self) -> bool {
        !self.orders.lock().expect("orders").is_empty()
    }
}

fn of_peer(event: &PeerEvent<'_>) -> Told {
    match *event {
        PeerEvent::Accepted { link, port, .. } => Told::Accepted { link, port },
        PeerEvent::Dialed { dial, outcome } => Told::Dialed { dial, outcome },
        PeerEvent::Bytes { link, bytes } => Told::Bytes { link, bytes: bytes.to_vec() },
        PeerEvent::Closed { link } => Told::Closed { link },
        PeerEvent::Unsent { link, bytes } => Told::Unsent { link, bytes },
    }
}

struct NoStorage;

impl Storage for NoStorage {
    fn send(&self, _: StorageCommand) {}
    fn send_chore(&self, _: ChoreCommand) {}
    fn poll_events(&self, _: &mut Vec<StorageEvent>) {}
}

/// A server on a thread of its own.
struct Member {
    clients: SocketAddr,
    election: Option<SocketAddr>,
    quorum: Option<SocketAddr>,
    observers: Option<SocketAddr>,
    told: Receiver<Told>,
    orders: Arc<Mutex<VecDeque<Order>>>,
    connections: Arc<AtomicUsize>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<(Ended, Reactor)>>,
    /// What is left of it: nothing closes because it was dropped.
    _remains: Option<Reactor>,
}

impl Member {
    /// It listens on both ports.
    fn start() -> Member {
        Member::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Reactor)) -> Member {
        let ports = PeerPorts {
            election: vec![place("127.0.0.1", 0)],
            quorum: vec![place("127.0.0.1", 0)],
            observers: vec![place("127.0.0.1", 0)],
            bind_retries: 1,
            ..PeerPorts::default()
        };
        Member::start_at(&ports, change)
    }

    fn start_at(ports: &PeerPorts, change: impl FnOnce(&mut Reactor)) -> Member {
        let mut config = Config::for_tests();
        config.clients.max_client_cnxns = 0;
        config.clients.sessionless_timeout_ms = 0;
        let mut reactor = Reactor::open(&config).expect("a free port");
        change(&mut reactor);
        reactor.listen_to_peers(ports).expect("listened to, or tried again");
        let (tell, told) = channel();
        let orders: Arc<Mutex<VecDeque<Order>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (clients, waker) = (reactor.client_address().expect("a port"), reactor.waker());
        let election = reactor.peer_address(PeerPort::Election);
        let quorum = reactor.peer_address(PeerPort::Quorum);
        let observers = reactor.peer_address(PeerPort::Observers);
        let mut probe = Probe {
            told: tell,
            orders: Arc::clone(&orders),
            connections: Arc::clone(&connections),
        };
        let run = move || (reactor.run(&mut probe, &NoStorage), reactor);
        let thread = Some(thread::spawn(run));
        Member {
            clients,
            election,
            quorum,
            observers,
            told,
            orders,
            connections,
            waker,
            thread,
            _remains: None,
        }
    }

    fn order(&self, order: impl FnOnce(&mut Effects) + Send + 'static) {
        self.orders.lock().expect("orders").push_back(Box::new(order));
        self.waker.wake().expect("woken");
    }

    fn push(&self, effect: Effect) {
        self.order(|out| out.push(effect));
    }

    fn send(&self, link: ConnId, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.order(move |out| out.send(link, |arena| arena.extend_from_slice(&bytes)));
    }

    fn dial(&self, dial: u64, addresses: &[HostPort], within_ms: u64) {
        let addresses = addresses.to_vec();
        self.push(Effect::Dial { dial, addresses, port: PeerPort::Election, within_ms });
    }

    fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("something is told")
    }

    /// Waits for what is meant; other news before it is passed over.
    fn expect<T>(&self, meant: impl Fn(Told) -> Option<T>) -> T {
        loop {
            if let Some(found) = meant(self.next()) {
                return found;
            }
        }
    }

    fn dialed(&self, number: u64) -> Result<ConnId, DialFailure> {
        self.expect(|told| match told {
            Told::Dialed { dial, outcome } if dial == number => Some(outcome),
            _ => None,
        })
    }

    /// A peer that has come to a port, and its link.
    fn meet(&self, port: PeerPort) -> (TcpStream, ConnId) {
        let address = match port {
            PeerPort::Election => self.election,
            PeerPort::Quorum => self.quorum,
            PeerPort::Observers => self.observers,
        };
        let stream = connect(address.expect("an open port"));
        let link = self.expect(|told| match told {
            Told::Accepted { link, port: at } if at == port => Some(link),
            _ => None,
        });
        (stream, link)
    }

    /// A client whose first frame was heard.
    fn client(&self) -> (TcpStream, ConnId) {
        let mut stream = connect(self.clients);
        stream.write_all(b"\0\0\0\x01c").expect("sent");
        let conn = self.expect(|told| match told {
            Told::Frame { conn, .. } => Some(conn),
            _ => None,
        });
        (stream, conn)
    }

    /// What a link says, until so much of it was heard.
    fn hear(&self, from: ConnId, count: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.extend(self.expect(|told| match told {
                Told::Bytes { link, bytes } if link == from => Some(bytes),
                _ => None,
            }));
        }
        heard
    }

    /// What was told until now: the last of it is a word of this peer's.
    fn told_until(&self, stream: &mut TcpStream, from: ConnId) -> Vec<Told> {
        stream.write_all(b"!").expect("sent");
        let mut all = Vec::new();
        loop {
            match self.next() {
                Told::Bytes { link, bytes } if link == from && bytes == b"!" => return all,
                told => all.push(told),
            }
        }
    }

    /// Holds the node in its turn until what is given is dropped.
    fn hold(&self) -> Sender<()> {
        let (release, released) = channel::<()>();
        let (enter, entered) = channel();
        self.order(move |_| {
            enter.send(()).expect("somebody waits");
            let _ = released.recv();
        });
        entered.recv_timeout(PATIENCE).expect("a turn");
        release
    }

    /// What was ordered before is done.
    fn settle(&self) {
        drop(self.hold());
    }

    fn join(&mut self) -> Ended {
        let thread = self.thread.take().expect("joined once");
        let from = std::time::Instant::now();
        while !thread.is_finished() {
            assert!(from.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(1));
        }
        let (ended, reactor) = thread.join().expect("no panic");
        self._remains = Some(reactor);
        ended
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.push(Effect::Finished);
            assert_eq!(self.join(), Ended::Finished);
        }
    }
}

fn place(host: &str, port: u16) -> HostPort {
    HostPort { host: host.to_owned(), port }
}

fn place_of(address: SocketAddr) -> HostPort {
    place(&address.ip().to_string(), address.port())
}

/// A port where nobody listens, for now.
fn free_port(host: &str) -> (u16, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (address.port(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("an option");
    let from = std::time::Instant::now();
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(e) => assert!(from.elapsed() < PATIENCE, "nobody comes: {e}"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    stream.set_nonblocking(false).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end, and no reset");
    all
}

/// Bytes of which no two neighbours are alike wherever they are cut.
fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

const PATIENCE: Duration = Duration::from_secs(20);
