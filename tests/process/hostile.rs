//! The worst clients: each costs its own connection and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use zkd::client::{Client, NewNode};

use crate::server::{PATIENCE, Server, read_all};

/// What a server may hold whatever a handful of connections does, in KiB.
const MEMORY_KIB: u64 = 128 * 1024;

/// A session that was there before and must not notice anything, and what it wrote.
struct Witness {
    server: Server,
    client: Client,
}

impl Witness {
    fn start(lines: &str) -> Witness {
        let server = Server::start(lines);
        let mut client = server.client();
        for n in 0..10 {
            client.create(NewNode::persistent(&format!("/n{n}"), b"kept")).expect("created");
        }
        Witness { server, client }
    }

    /// Everything is as it was, the process included.
    fn check(&mut self) {
        for n in 0..10 {
            let path = format!("/n{n}");
            let data = self.client.data(&path, false);
            let data = data.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.server.log()));
            assert_eq!(data.0.as_deref(), Some(&b"kept"[..]));
        }
        assert_eq!(self.client.children("/", false).expect("children").len(), 11);
        self.client.set_data("/n0", b"kept", -1).expect("written");
        let memory = self.server.process.memory_kib("RssAnon:");
        assert!(memory < MEMORY_KIB, "{memory} KiB");
        self.server.client().close().expect("others get in");
    }

    fn end(mut self) {
        self.check();
        self.client.close().expect("closed");
        self.server.end();
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

/// The handshake of a new session.
pub fn hello() -> Vec<u8> {
    let mut body = vec![0; 12];
    body.extend(30_000u32.to_be_bytes());
    body.extend([0; 8]);
    body.extend(frame(&[0; 16]));
    body.push(0);
    frame(&body)
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&xid.to_be_bytes()[..], &op.to_be_bytes(), body].concat())
}

/// A connection with a session.
fn session(server: &Server) -> TcpStream {
    let mut stream = server.dial();
    stream.write_all(&hello()).expect("sent");
    let mut response = [0; 41];
    stream.read_exact(&mut response).expect("a session");
    stream
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_bytes_cost_one_connection() {
    let mut witness = Witness::start("");
    let mut dice = Dice(0x5eed);
    for round in 0..300 {
        let count = (dice.next() % 2000) as usize;
        let mut stream =
            if round % 2 == 0 { witness.server.dial() } else { session(&witness.server) };
        let _ = stream.write_all(&dice.bytes(count));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_all(&mut stream);
    }
    witness.check();
    witness.end();
}

#[test]
fn random_bodies_of_every_operation_cost_one_connection() {
    let mut witness = Witness::start("");
    let mut dice = Dice(0xbad);
    for op in (-12..=25).chain(99..=110) {
        let mut stream = session(&witness.server);
        for xid in 1..=8 {
            let count = (dice.next() % 60) as usize;
            let body = dice.bytes(count);
            // A body that happens to be a legal write is still a legal write.
            if stream.write_all(&request(xid, op, &body)).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_all(&mut stream);
    }
    witness.check();
    witness.end();
}

#[test]
fn a_thousand_senseless_requests_are_not_a_thousand_lines() {
    let witness = Witness::start("");
    let mut logged = 0;
    for n in 0..1000 {
        let mut stream = session(&witness.server);
        let senseless = if n % 2 == 0 { frame(&[1]) } else { request(1, 777, &[]) };
        stream.write_all(&senseless).expect("sent");
        read_all(&mut stream);
        logged += 1;
    }
    let log = witness.server.log();
    let lines = log.matches("without a header").count() + log.matches("unknown type").count();
    assert!(lines > 0 && lines < logged / 2, "{lines} lines");
    witness.end();
}

#[test]
fn lengths_and_counts_that_lie_cost_one_connection() {
    let mut witness = Witness::start("");
    for length in [-1, i32::MIN, i32::MAX, 0x10_0000, 0] {
        for with_session in [false, true] {
            let mut stream =
                if with_session { session(&witness.server) } else { witness.server.dial() };
            stream.write_all(&length.to_be_bytes()).expect("sent");
            let _ = stream.write_all(&[7; 100]);
            read_all(&mut stream);
        }
    }
    let path = frame(b"/evil");
    for count in [-2, i32::MIN, i32::MAX, 0x7fff_fff0] {
        let count = count.to_be_bytes();
        let bodies = [
            // create: data of that length, then an ACL of that many entries.
            (1, [&path[..], &count].concat()),
            (1, [&path[..], &frame(b"x"), &count].concat()),
            // setWatches with such a list, a path of that length, a multi that is cut off.
            (101, [&[0; 8][..], &count].concat()),
            (4, count.to_vec()),
            (14, [&1i32.to_be_bytes()[..], &[0], &count].concat()),
        ];
        for (op, body) in bodies {
            let mut stream = session(&witness.server);
            stream.write_all(&request(1, op, &body)).expect("sent");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            read_all(&mut stream);
        }
    }
    witness.check();
    let lines = witness.server.log().matches("Len error").count();
    assert!((1..=40).contains(&lines), "{lines} lines");
    witness.end();
}

#[test]
fn no_credential_is_not_an_empty_one() {
    let witness = Witness::start("");
    for (credential, err) in [(&[0xff; 4][..], -115), (&[0; 4], 0)] {
        let mut stream = session(&witness.server);
        let body = [&[0; 4][..], &frame(b"digest"), credential].concat();
        stream.write_all(&request(-4, 100, &body)).expect("sent");
        let mut reply = [0; 20];
        stream.read_exact(&mut reply).expect("an answer");
        assert_eq!(i32::from_be_bytes([reply[16], reply[17], reply[18], reply[19]]), err);
        assert_eq!(reply[4..16], [&[0xff, 0xff, 0xff, 0xfc][..], &[0; 8]].concat());
        if err != 0 {
            assert_eq!(read_all(&mut stream), b"");
        }
    }
    witness.end();
}

#[test]
fn half_frames_that_are_held_open_cost_what_was_sent() {
    let mut witness = Witness::start("");
    let mut held = Vec::new();
    for n in 0..200 {
        let mut stream = session(&witness.server);
        // A legal length, and a little or a part of what it promises.
        stream.write_all(&0xf_fff0u32.to_be_bytes()).expect("sent");
        stream.write_all(&vec![0; if n % 20 == 0 { 500_000 } else { 10 }]).expect("sent");
        held.push(stream);
    }
    witness.check();
    drop(held);
    witness.end();
}

#[test]
fn a_client_that_never_reads_costs_a_bounded_backlog() {
    let mut witness = Witness::start("");
    witness.client.create(NewNode::persistent("/n0/big", &[1; 900_000])).expect("created");
    let mut deaf = session(&witness.server);
    deaf.set_nonblocking(true).expect("a mode");
    let read = request(1, 4, &[&frame(b"/n0/big")[..], &[0]].concat());
    // As much as it takes, within bounds: some 9 GB of replies.
    let (mut sent, began) = (0, Instant::now());
    while sent < 10_000 && began.elapsed() < Duration::from_secs(3) {
        match deaf.write(&read) {
            Ok(_) => sent += 1,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(_) => break,
        }
    }
    assert!(sent > 100, "{sent}");
    witness.check();
    drop(deaf);
    witness.end();
}

#[test]
fn an_operator_that_never_reads_costs_a_bounded_backlog() {
    let mut witness = Witness::start("");
    for n in 0..20_000 {
        let path = format!("/missing-{n}-{}", "x".repeat(400));
        witness.client.exists(&path, true).expect("asked");
    }
    let mut deaf: Vec<TcpStream> = (0..8).map(|_| witness.server.dial()).collect();
    deaf.iter_mut().for_each(|stream| stream.write_all(b"wchp").expect("sent"));
    let whole = witness.server.word("wchp");
    assert_eq!(whole.lines().filter(|line| line.starts_with("/missing-")).count(), 20_000);
    witness.check();
    drop(deaf);
    witness.end();
}

#[test]
fn a_hundred_thousand_connects_and_drops_leave_a_server_that_answers() {
    let mut witness = Witness::start("");
    let (mut made, began) = (0u32, Instant::now());
    while made < 100_000 && began.elapsed() < PATIENCE {
        let mut stream = witness.server.dial();
        match made % 5 {
            0 => _ = stream.write_all(&made.to_be_bytes()[..made as usize / 5 % 4]),
            1 => _ = stream.write_all(&hello()),
            2 => _ = stream.write_all(b"ruok"),
            _ => {}
        }
        // A reset: who comes and goes so often runs out of ports otherwise.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
        made += 1;
        if made.is_multiple_of(20_000) {
            witness.client.data("/n0", false).expect("read");
        }
    }
    println!("{made} connections in {:?}", began.elapsed());
    assert!(made > 5_000, "{made}");
    witness.check();
    // Where this takes longer than their timeout, the sessions end, each with its line.
    let log = witness.server.log();
    let lines = log.lines().filter(|line| !line.contains("Expiring session")).count();
    assert!(lines < 2000, "a line for each is no log: {lines}");
    witness.end();
}

#[test]
fn thousands_of_requests_behind_a_connect_request_cost_at_most_one_connection() {
    let witness = Witness::start("");
    let mut stream = witness.server.dial();
    let pings: Vec<u8> = (0..20_000).flat_map(|_| request(-2, 11, &[])).collect();
    // It may be closed before all of it is sent: too much waits for the session. Where that is
    // there soon enough, all are answered.
    let _ = stream.write_all(&[hello(), pings].concat());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let answer = read_all(&mut stream);
    assert!(answer.is_empty() || answer.len() >= 41, "half a handshake: {answer:?}");
    witness.end();
}
