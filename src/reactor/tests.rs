//! The loop over real sockets, around a node that echoes frames.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::base::ConnId;
use crate::node::Effect;

use super::*;

/// Answers every frame with itself; some first bytes ask for more.
struct Echo {
    told: Sender<String>,
    stop: Receiver<()>,
    clock: Instant,
    known: Vec<ConnId>,
}

impl Echo {
    fn on_frame(&mut self, conn: ConnId, body: &[u8], out: &mut Effects) {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        out.send(conn, |arena| arena.extend_from_slice(&frame));
        match body.first() {
            Some(b'Q') => {
                out.push(Effect::Close { conn, after_flush: true });
                out.send(conn, |arena| arena.extend_from_slice(b"behind the end"));
            }
            Some(b'K') => out.push(Effect::Close { conn, after_flush: false }),
            Some(b'P') => out.push(Effect::Pause { conn }),
            Some(b'A') => {
                for conn in &self.known {
                    out.send(*conn, |arena| arena.extend_from_slice(&frame));
                }
            }
            Some(b'E') => out.push(Effect::Established { conn }),
            Some(b'B') => {
                for _ in 0..64 {
                    out.send(conn, |arena| arena.resize(arena.len() + 256 * 1024, b'b'));
                }
            }
            _ => {}
        }
    }

    fn tell(&self, text: String) {
        // A test that is over does not listen any more.
        let _ = self.told.send(text);
    }
}

impl Turn for Echo {
    fn turn(&mut self, now: Now, events: &[Event<'_>], out: &mut Effects) {
        self.clock = now.mono;
        for event in events {
            match event {
                Event::Accepted { conn, peer, .. } => {
                    self.known.push(*conn);
                    self.tell(format!("accepted {}", peer.ip()));
                }
                Event::Frame { conn, body } => self.on_frame(*conn, body, out),
                Event::Closed { reason, .. } => self.tell(format!("closed {reason:?}")),
                Event::Backlog { bytes, .. } => self.tell(format!("backlog {}", *bytes > 0)),
                _ => {}
            }
        }
        if self.stop.try_recv().is_ok() {
            out.push(Effect::Finished);
        }
    }

    fn attend(&mut self, _: Now, words: &[Asked], _: &NetNews, out: &mut Effects) {
        for Asked { conn, word, argument } in words {
            let text = format!("{} {argument:?}", String::from_utf8_lossy(word));
            out.send(*conn, |arena| arena.extend_from_slice(text.as_bytes()));
            out.push(Effect::Close { conn: *conn, after_flush: true });
        }
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        Some(self.clock.plus_ms(20))
    }

    fn due_at_once(&mut self, now: Instant) {
        self.clock = now;
    }

    fn wants_turn(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct NoStorage(Mutex<Vec<StorageEvent>>);

impl Storage for NoStorage {
    fn send(&self, _: StorageCommand) {}
    fn send_chore(&self, _: ChoreCommand) {}
    fn poll_events(&self, out: &mut Vec<StorageEvent>) {
        out.append(&mut self.0.lock().unwrap());
    }
}

struct Server {
    address: SocketAddr,
    told: Receiver<String>,
    stop: Sender<()>,
    thread: Option<JoinHandle<Ended>>,
}

impl Server {
    fn start(change: impl FnOnce(&mut Config)) -> Server {
        let mut config = Config::for_tests();
        config.clients.max_client_cnxns = 0;
        change(&mut config);
        let mut reactor = Reactor::open(&config).expect("a free port");
        let address = reactor.client_address().expect("a port");
        let (tell, told) = channel();
        let (stop, stopped) = channel();
        let clock = reactor.now().mono;
        let thread = thread::spawn(move || {
            let mut echo = Echo { told: tell, stop: stopped, clock, known: Vec::new() };
            reactor.run(&mut echo, &NoStorage::default())
        });
        Server { address, told, stop, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// Waits for what the node was told; other news before it is passed over.
    fn expect(&self, text: &str) {
        while self.told.recv_timeout(Duration::from_secs(20)).expect(text) != text {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ended::Finished))), "{ended:?}");
        }
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("a length");
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut body).expect("a body");
    body
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset ends it as well as an end does.
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn a_pipeline_cut_at_any_byte_is_answered_in_order() {
    let server = Server::start(|_| {});
    let bodies: [&[u8]; 4] = [b"\0one", b"", b"\0three and more", b"x"];
    let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
    for cut in 0..=bytes.len() {
        let mut stream = server.connect();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&bytes[..cut]).unwrap();
        thread::sleep(Duration::from_millis(1));
        stream.write_all(&bytes[cut..]).unwrap();
        for body in bodies {
            assert_eq!(read_frame(&mut stream), body, "cut at {cut}");
        }
    }
}

#[test]
fn a_long_frame_that_comes_in_pieces_is_one_frame_and_its_neighbours_stay_whole() {
    let server = Server::start(|_| {});
    let mut stream = server.connect();
    let long: Vec<u8> = (0..900_000u32).map(|i| i as u8).collect();
    let bytes = [frame(b"\0before"), frame(&long), frame(b"\0behind")].concat();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        for piece in bytes.chunks(70_001) {
            writer.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(read_frame(&mut stream), b"\0before");
    assert_eq!(read_frame(&mut stream), long);
    assert_eq!(read_frame(&mut stream), b"\0behind");
    writing.join().unwrap();
}

#[test]
fn a_length_that_is_too_long_or_negative_costs_that_connection_alone() {
    let server = Server::start(|config| config.limits.jute_maxbuffer = 1000);
    let mut other = server.connect();
    for length in [1001, i32::MAX, -1, i32::MIN] {
        let mut stream = server.connect();
        stream.write_all(&frame(b"\0fine")).unwrap();
        assert_eq!(read_frame(&mut stream), b"\0fine");
        stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(read_all(&mut stream), b"");
        server.expect(&format!("closed BadLength({length})"));
    }
    other.write_all(&frame(b"\0still here")).unwrap();
    assert_eq!(read_frame(&mut other), b"\0still here");
}

#[test]
fn a_word_is_answered_and_closed_even_with_a_line_behind_it() {
    let server = Server::start(|_| {});
    for input in [&b"ruok"[..], b"ruok\r\n", b"ruok and much that nobody reads"] {
        let mut stream = server.connect();
        stream.write_all(input).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut stream), b"ruok None");
    }
    let mut stream = server.connect();
    stream.write_all(b"\0\0\0\x04ruok").unwrap();
    assert_eq!(read_frame(&mut stream), b"ruok", "a word within a frame is no word");
}

#[test]
fn a_trace_mask_may_come_in_pieces() {
    let server = Server::start(|config| config.admin.words = crate::config::Words::All);
    let mut stream = server.connect();
    for piece in [&b"st"[..], b"mk123", b"45678"] {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let expected = format!("stmk {:?}", Some(*b"12345678"));
    assert_eq!(read_all(&mut stream), expected.into_bytes());
}

#[test]
fn what_was_sent_before_a_close_arrives_and_nothing_behind_it() {
    let server = Server::start(|_| {});
    let mut stream = server.connect();
    let bytes = [frame(b"Big"), frame(b"Quit"), frame(b"\0never")].concat();
    stream.write_all(&bytes).unwrap();
    let all = read_all(&mut stream);
    let mut expected = frame(b"Big");
    expected.resize(expected.len() + 64 * 256 * 1024, b'b');
    expected.extend(frame(b"Quit"));
    assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    server.expect("closed Asked");
}

#[test]
fn what_more_receive_than_a_turn_writes_to_arrives_in_order_and_before_any_reply() {
    let server = Server::start(|_| {});
    let mut streams: Vec<TcpStream> = (0..500).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&frame(b"hello")).expect("sent");
        assert_eq!(read_frame(stream), b"hello");
    }
    let (all, others) = streams.split_first_mut().expect("500");
    let told: Vec<Vec<u8>> = (0..20u8).map(|n| vec![b'A', n]).collect();
    for body in &told {
        all.write_all(&frame(body)).expect("sent");
    }
    for stream in others {
        for body in &told[..10] {
            assert_eq!(read_frame(stream), *body);
        }
        // What it asks for while it is told comes somewhere between, and whole.
        stream.write_all(&frame(b"Q")).expect("sent");
        let rest: Vec<u8> = told[10..].iter().flat_map(|body| frame(body)).collect();
        let mut seen = read_all(stream);
        assert!(seen.ends_with(&frame(b"Q")), "the last word is the last");
        seen.truncate(seen.len() - frame(b"Q").len());
        assert!(rest.starts_with(&seen), "{seen:?}");
    }
}

#[test]
fn a_client_that_never_reads_is_told_as_a_backlog_and_holds_nobody_up() {
    let server = Server::start(|_| {});
    let mut deaf = server.connect();
    deaf.write_all(&frame(b"Big")).unwrap();
    server.expect("backlog true");
    let mut other = server.connect();
    other.write_all(&frame(b"\0fine")).unwrap();
    assert_eq!(read_frame(&mut other), b"\0fine");
    let mut all = vec![0; 7 + 64 * 256 * 1024];
    deaf.read_exact(&mut all).unwrap();
    server.expect("backlog false");
}

#[test]
fn a_client_that_never_reads_is_closed_at_the_limit() {
    let server = Server::start(|_| {});
    let mut deaf = server.connect();
    for _ in 0..8 {
        deaf.write_all(&frame(b"Big")).unwrap();
    }
    server.expect("closed Overflow");
}

#[test]
fn without_a_session_a_connection_ends_in_time_and_with_one_it_stays() {
    let server = Server::start(|config| {
        config.clients.sessionless_timeout_ms = 500;
        config.admin.words = crate::config::Words::All;
    });
    let mut stays = server.connect();
    stays.write_all(&frame(b"Established")).unwrap();
    assert_eq!(read_frame(&mut stays), b"Established");
    // A piece of a length, and a trace mask that does not come whole.
    for piece in [&[0, 0][..], b"stmk1234567"] {
        let mut drips = server.connect();
        drips.write_all(piece).unwrap();
        assert_eq!(read_all(&mut drips), b"");
        server.expect("closed Idle");
    }
    stays.write_all(&frame(b"\0again")).unwrap();
    assert_eq!(read_frame(&mut stays), b"\0again");
}

#[test]
fn one_address_gets_its_number_of_connections_and_no_more() {
    let server = Server::start(|config| config.clients.max_client_cnxns = 3);
    let held: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    for _ in 0..3 {
        server.expect("accepted 127.0.0.1");
    }
    assert_eq!(read_all(&mut server.connect()), b"");
    drop(held);
    for _ in 0..3 {
        server.expect("closed PeerClosed");
    }
    let mut stream = server.connect();
    stream.write_all(&frame(b"\0room")).unwrap();
    assert_eq!(read_frame(&mut stream), b"\0room");
}

#[test]
fn ten_thousand_connects_and_drops_leave_a_server_that_answers() {
    let server = Server::start(|_| {});
    for n in 0..10_000u32 {
        let mut stream = server.connect();
        match n % 4 {
            0 => stream.write_all(&n.to_be_bytes()[..(n as usize / 4) % 4]).unwrap(),
            1 => stream.write_all(&frame(b"Quit")).unwrap(),
            2 => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            _ => {}
        }
    }
    let mut stream = server.connect();
    stream.write_all(&frame(b"\0still here")).unwrap();
    assert_eq!(read_frame(&mut stream), b"\0still here");
}

#[test]
fn a_paused_connection_is_not_read() {
    let server = Server::start(|_| {});
    let mut stream = server.connect();
    stream.write_all(&frame(b"Pause")).unwrap();
    assert_eq!(read_frame(&mut stream), b"Pause");
    stream.write_all(&frame(b"\0unread")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
}

#[test]
fn a_port_in_use_is_named_in_the_reason() {
    let server = Server::start(|_| {});
    let mut config = Config::for_tests();
    config.clients.port = Some(server.address.port());
    let Err(fatal) = Reactor::open(&config) else { panic!("the port is taken") };
    assert_eq!(fatal.exit_status(), 1);
    assert!(fatal.reason().contains(&server.address.to_string()), "{fatal}");
}
