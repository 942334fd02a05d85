//! The server under measure and the connections that make it work.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zkd::base::{SessionId, Zxid};
use zkd::client::{Call, Connection, Message, NewNode};
use zkd::proto::{ConnectRequest, CreateMode};

use crate::ports::Port;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Rig {
    folder: PathBuf,
    address: SocketAddr,
    server: Child,
    _port: Port,
    /// Connections whose session the next scene needs.
    kept: Vec<Connection>,
    pub many: Vec<Connection>,
}

impl Rig {
    pub fn start() -> Rig {
        let base = std::env::var_os("ZKD_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = base.join(format!("zkd-turns-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the run");
        let port = Port::free();
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let text = format!(
            "tickTime=2000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             maxClientCnxns=0\n4lw.commands.whitelist=*\njute.maxbuffer=8000000\n\
             snapCount=100000\nmaxSessionTimeout=200000\n",
            folder.join("data").display(),
            address.port()
        );
        let config = folder.join("zoo.cfg");
        fs::write(&config, text).expect("the folder takes a file");
        let log = fs::File::create(folder.join("log")).expect("the folder takes a file");
        let binary = std::env::var_os("ZKD_BIN").expect("ZKD_BIN names the server");
        let server = Command::new(binary)
            .arg(config)
            .env("ZKD_SLOW_TURN_US", "200")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let (kept, many) = (Vec::new(), Vec::new());
        let rig = Rig { folder, address, server, _port: port, kept, many };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        rig
    }

    pub fn dial(&self) -> Connection {
        Connection::dial(self.address, PATIENCE).expect("the server accepts")
    }

    pub fn connect(&self, timeout_ms: i32) -> Connection {
        open(self.dial(), timeout_ms)
    }

    pub fn keep(&mut self, connection: Connection) {
        self.kept.push(connection);
    }

    /// Ends the sessions kept: left behind, they would expire in the midst of a later scene.
    pub fn close_kept(&mut self) {
        self.kept.drain(..).for_each(|mut connection| close(&mut connection));
    }

    /// The answer to a four-letter word.
    pub fn word(&self, word: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the server accepts");
        stream.write_all(word.as_bytes()).expect("the word is sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer in text");
        text
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("the server's log")
    }

    pub fn snapshots(&self) -> usize {
        self.log().matches("Snapshot taken in").count()
    }

    /// The longest turn, CPU and wall microseconds, while `work` is done.
    pub fn longest(&mut self, work: impl FnOnce(&mut Rig)) -> (u64, u64) {
        std::thread::sleep(Duration::from_millis(300));
        let before = self.log().len();
        work(self);
        std::thread::sleep(Duration::from_millis(500));
        let log = self.log();
        let turns = log[before..].lines().filter_map(turn_of);
        turns.max().unwrap_or((0, 0))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// CPU and wall microseconds of a line that tells of a turn.
fn turn_of(line: &str) -> Option<(u64, u64)> {
    let (_, rest) = line.split_once("A turn took ")?;
    let (cpu, rest) = rest.split_once(" us of CPU (")?;
    let (wall, _) = rest.split_once(" us")?;
    Some((cpu.parse().ok()?, wall.parse().ok()?))
}

/// The handshake on a dialled connection.
pub fn open(mut connection: Connection, timeout_ms: i32) -> Connection {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms,
        session: SessionId::NONE,
        password: None,
        read_only: Some(false),
    };
    let response = connection.handshake(&request, PATIENCE).expect("a session");
    assert!(response.timeout_ms > 0, "the session was not refused");
    connection
}

/// Sends what is queued and takes that many replies.
pub fn answers(connection: &mut Connection, count: usize) {
    connection.flush(PATIENCE).expect("sent");
    let mut seen = 0;
    while seen < count {
        let message = connection.receive(Instant::now() + PATIENCE).expect("an answer");
        if let Message::Reply(reply) = message {
            assert_eq!(reply.err, 0, "{reply:?}");
            seen += 1;
        }
    }
}

/// Ends the session.
pub fn close(connection: &mut Connection) {
    connection.queue(&Call::CloseSession);
    answers(connection, 1);
}

/// Takes one notification.
pub fn event(connection: &mut Connection) {
    let message = connection.receive(Instant::now() + PATIENCE).expect("an event");
    assert!(matches!(message, Message::Event(_)), "{message:?}");
}

/// A folder with `count` nodes of 100 bytes.
pub fn fill(connection: &mut Connection, folder: &str, count: usize, mode: CreateMode) {
    connection.queue(&Call::Create(NewNode::persistent(folder, b"")));
    answers(connection, 1);
    let data = [b'x'; 100];
    for first in (0..count).step_by(1000) {
        for n in first..first + 1000 {
            let path = format!("{folder}/n{n:07}");
            connection.queue(&Call::Create(NewNode::new(&path, &data, mode)));
        }
        answers(connection, 1000);
    }
}
