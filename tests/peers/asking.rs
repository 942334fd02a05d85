//! Asks a server of either kind how it stands, over its election port, as a server does that
//! nobody knows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zkd::base::{ServerId, Zxid};
use zkd::peering::{
    ElectionReader, Heard, HostPort, Initial, InitialForm, Notification, PeerState, Vote,
};

use crate::PATIENCE;

/// Somebody of a greater id than any member's: who is asked keeps the link.
pub struct Stranger {
    pub stream: TcpStream,
    reader: ElectionReader,
    pub id: ServerId,
}

impl Stranger {
    /// Connects and says who it is.
    pub fn dial(at: SocketAddr) -> std::io::Result<Stranger> {
        static NEXT: AtomicI64 = AtomicI64::new(1000);
        let id = ServerId(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&hello(id, "0.0.0.0", 0))?;
        Ok(Stranger { stream, reader: ElectionReader::dialed(), id })
    }

    /// Looks for a leader, aloud, in the form of before 3.4.6.
    pub fn ask(&mut self) -> std::io::Result<()> {
        let vote = Vote { leader: self.id, zxid: Zxid(0), election_epoch: 1, peer_epoch: 0 };
        let (state, config) = (PeerState::Looking, None);
        let word = Notification { state, vote, version: 0, config, is_kin: false };
        let mut bytes = Vec::new();
        word.write_frame(&mut bytes);
        self.stream.write_all(&bytes)
    }

    /// What it is told next; nothing where the link ends.
    pub fn hear(&mut self) -> Option<Notification> {
        let mut byte = [0];
        loop {
            // Byte by byte, so that nothing is read that is not used.
            if !matches!(self.stream.read(&mut byte), Ok(1)) {
                return None;
            }
            if let Ok(Some(Heard::Message(body))) = self.reader.next(&mut &byte[..]) {
                return Some(Notification::read(body).expect("a notification"));
            }
        }
    }
}

/// The first message of a server's link.
pub fn hello(id: ServerId, host: &str, port: u16) -> Vec<u8> {
    let address = HostPort { host: host.to_owned(), port };
    let mut bytes = Vec::new();
    Initial { server: id, addresses: vec![address] }.write(InitialForm::V1, &mut bytes);
    bytes
}

/// What a server says of itself, if it can be asked.
pub fn ask(at: SocketAddr) -> Option<Notification> {
    let mut stranger = Stranger::dial(at).ok()?;
    stranger.ask().ok()?;
    stranger.hear()
}

/// Asks until the server stands as expected.
pub fn await_answer(
    at: SocketAddr,
    what: &str,
    is_there: impl Fn(&Notification) -> bool,
) -> Notification {
    let began = Instant::now();
    loop {
        let answer = ask(at);
        if let Some(answer) = answer.as_ref().filter(|answer| is_there(answer)) {
            return answer.clone();
        }
        assert!(began.elapsed() < PATIENCE, "{at} never says that {what}, but {answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
