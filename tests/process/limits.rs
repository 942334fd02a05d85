//! How many connections, for how long, with how many descriptors.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use zkd::client::{Client, NewNode};

use crate::hostile::hello;
use crate::ports::Port;
use crate::server::{Folder, PATIENCE, Server, binary, config, log_file, read_all};

/// Whether a connection is still open a moment later.
fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a mode");
    let open = matches!(stream.read(&mut [0; 1]),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a mode");
    open
}

/// Waits until a new session can be opened.
fn await_session(server: &Server) -> Client {
    let began = Instant::now();
    loop {
        let mut settings = server.settings();
        settings.reopen_patience = Duration::from_millis(100);
        match Client::open(settings) {
            Ok(client) => return client,
            Err(e) => assert!(began.elapsed() < PATIENCE, "no session: {e}\n{}", server.log()),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_address_gets_its_number_of_connections() {
    let server = Server::start("maxClientCnxns=3\n");
    let mut held = Vec::new();
    // The connections of the start are on their way out.
    let began = Instant::now();
    while held.len() < 3 {
        let mut stream = server.dial();
        // A session, for a connection may look open before the server has turned it away.
        if stream.write_all(&hello()).is_ok() && stream.read_exact(&mut [0; 41]).is_ok() {
            held.push(stream);
        }
        assert!(began.elapsed() < PATIENCE);
    }
    for _ in 0..50 {
        assert_eq!(read_all(&mut server.dial()), b"");
    }
    let line = server.await_log("Too many connections from /127.0.0.1 - max is 3");
    assert!(line.contains("WARN"), "{line}");
    let lines = server.log().matches("Too many connections").count();
    assert!(lines < 20, "fifty refusals are not fifty lines: {lines}");
    assert!(held.iter_mut().all(is_open), "who is in stays in");
    drop(held);
    await_session(&server);
    let count = server.word("mntr");
    let refused = count.lines().find_map(|line| line.strip_prefix("zk_connection_rejected\t"));
    assert!(refused.is_some_and(|n| n.parse::<u32>().expect("a number") >= 50), "{refused:?}");
}

#[test]
fn all_together_get_their_number_of_connections() {
    let server = Server::start("maxCnxns=2\n");
    let held = await_session(&server);
    let began = Instant::now();
    loop {
        let (mut first, mut second) = (server.dial(), server.dial());
        thread::sleep(Duration::from_millis(5));
        if is_open(&mut first) && !is_open(&mut second) {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    server.await_log("Too many connections 2 - max is 2");
    held.close().expect("closed");
}

#[test]
fn without_a_session_a_connection_ends_however_it_drips() {
    let server = Server::start("nio.sessionlessCnxnTimeout=400\n");
    let mut client = server.client();
    let mut silent = server.dial();
    assert_eq!(read_all(&mut silent), b"");
    // A byte now and then, of a handshake that never ends.
    let mut drips = server.dial();
    let frame = [&44u32.to_be_bytes()[..], &[0; 40]].concat();
    let began = Instant::now();
    for byte in frame.iter().cycle().take(2000) {
        if drips.write_all(&[*byte]).is_err() || !is_open(&mut drips) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!is_open(&mut drips), "it is closed after {:?}", began.elapsed());
    client.create(NewNode::persistent("/a", b"")).expect("a session stays");
    server.await_log("no session in time");
}

#[test]
fn without_descriptors_who_is_there_is_served_and_others_come_later() {
    let folder = Folder::new();
    let port = Port::free();
    let config = config(&folder, port.number, "snapCount=4\ntxnLogSizeLimitInKb=1\n");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$1\""]).arg(binary()).arg(config);
    command.stdout(log_file(&folder)).stderr(log_file(&folder));
    let server = Server::of(folder, port, &mut command);
    let mut client = server.client();
    let held: Vec<TcpStream> = (0..200).map(|_| server.dial()).collect();
    let line = server.await_log("Error accepting new connection");
    assert!(line.contains("open files"), "it says what to do: {line}");
    let files = |kind: &str| server.log().matches(kind).count();
    let (logs, snapshots) = (files("Creating new log file"), files("Snapshot taken"));
    for n in 0..20 {
        client.create(NewNode::persistent(&format!("/n{n}"), b"")).expect("created");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(files("Creating new log file") > logs, "the log rolls, whoever connects");
    assert!(files("Snapshot taken") > snapshots, "{}", server.log());
    let lines = server.log().matches("Error accepting").count();
    assert!(lines < 60, "hundreds of refusals are not hundreds of lines: {lines}");
    drop(held);
    let mut other = await_session(&server);
    assert_eq!(other.children("/", false).expect("children").len(), 21);
    server.end();
}
