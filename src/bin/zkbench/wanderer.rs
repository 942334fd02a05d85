//! One session that goes to the next server whenever it loses its own, as clients do.

use std::collections::VecDeque;

use zkd::base::{SessionId, Xid, Zxid};
use zkd::client::Call;
use zkd::proto::{ConnectResponse, Reader, ReplyHeader, begin_frame, cut, end_frame};

use super::link::{Came, Link, MAX_REPLY, put};
use super::server::{Server, connect_request};

/// A server that takes a connection and says nothing is left after so long.
const PATIENCE_NS: u64 = 1_000_000_000;

enum State {
    /// Dials when the time has come.
    Away {
        redial: u64,
    },
    Opening {
        link: Link,
        begun: u64,
    },
    Open(Link),
}

/// A write under way.
struct Asked {
    xid: i32,
    sent: u64,
}

pub struct Wanderer {
    number: u64,
    state: State,
    /// How many servers it has dialled.
    dials: u64,
    session: SessionId,
    password: [u8; 16],
    timeout_ns: u64,
    last_zxid: Zxid,
    last_xid: i32,
    under_way: VecDeque<Asked>,
    last_sent: u64,
    /// Since when it has no server, where it had one before.
    lost: Option<u64>,
}

/// What became of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A write was acknowledged.
    Acknowledged { sent: u64 },
    /// It is open, for the first time or again after that moment.
    Open { lost: Option<u64> },
}

impl Wanderer {
    pub fn new(number: u64) -> Wanderer {
        Wanderer {
            number,
            state: State::Away { redial: 0 },
            dials: 0,
            session: SessionId::NONE,
            password: [0; 16],
            timeout_ns: 0,
            last_zxid: Zxid::ZERO,
            last_xid: 0,
            under_way: VecDeque::new(),
            last_sent: 0,
            lost: None,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Dials the next server; false where that cannot even begin.
    pub fn dial(&mut self, servers: &Server, now: u64, timeout: std::time::Duration) -> bool {
        let server = servers.of(self.number + self.dials);
        self.dials += 1;
        let Ok(mut link) = Link::begin(server) else { return false };
        let out = link.output();
        let mark = begin_frame(out);
        let mut request = connect_request(timeout);
        request.session = self.session;
        request.password = Some(&self.password);
        request.last_zxid_seen = self.last_zxid;
        request.write(out);
        end_frame(out, mark);
        self.state = State::Opening { link, begun: now };
        true
    }

    pub fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Away { .. } => None,
            State::Opening { link, .. } | State::Open(link) => Some(link),
        }
    }

    pub fn is_to_dial(&self, now: u64) -> bool {
        matches!(self.state, State::Away { redial } if redial <= now)
    }

    /// Whether the server that was dialled has had its time.
    pub fn is_stuck(&self, now: u64) -> bool {
        matches!(self.state, State::Opening { begun, .. } if now > begun + PATIENCE_NS)
    }

    /// Leaves its server; what was under way is of unknown outcome.
    pub fn lose(&mut self, now: u64, redial_ns: u64) {
        if self.is_open() {
            self.lost = Some(now);
        }
        self.under_way.clear();
        self.state = State::Away { redial: now + redial_ns };
    }

    pub fn set(&mut self, path: &str, data: &[u8], now: u64) {
        let State::Open(link) = &mut self.state else { return };
        self.last_xid = self.last_xid.checked_add(1).unwrap_or(1);
        put(link, Xid(self.last_xid), &Call::SetData { path, data: Some(data), version: -1 });
        self.under_way.push_back(Asked { xid: self.last_xid, sent: now });
        self.last_sent = now;
    }

    /// Says that it lives, where it has said nothing for a third of its timeout.
    pub fn keep_alive(&mut self, now: u64) {
        let State::Open(link) = &mut self.state else { return };
        if now.saturating_sub(self.last_sent) > self.timeout_ns / 3 {
            self.last_sent = now;
            put(link, Xid::PING, &Call::Ping);
        }
    }

    pub fn leave(&mut self) {
        if let State::Open(link) = &mut self.state {
            link.leave();
        }
    }

    /// Sends and takes what there is. None: the connection is over. A reply that must not be is
    /// an error.
    pub fn on_ready(
        &mut self,
        scratch: &mut [u8],
        now: u64,
        news: &mut Vec<News>,
    ) -> Result<Option<()>, String> {
        loop {
            let Some(link) = self.link() else { return Ok(Some(())) };
            if link.flush().is_err() {
                return Ok(None);
            }
            let bytes = match link.look(scratch) {
                Err(_) | Ok(Came::End) => return Ok(None),
                Ok(Came::Nothing(_)) => return Ok(Some(())),
                Ok(Came::Bytes(bytes)) => bytes,
            };
            let taken = self.take(&scratch[..bytes], now, news)?;
            if let Some(link) = self.link() {
                link.keep(&scratch[taken..bytes]);
            }
        }
    }

    fn take(&mut self, bytes: &[u8], now: u64, news: &mut Vec<News>) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let cut = cut(&bytes[at..], MAX_REPLY);
            let cut = cut.map_err(|e| format!("session {}: a frame: {e:?}", self.number))?;
            let Some((frame, taken)) = cut else { return Ok(at) };
            at += taken;
            let told = self.on_frame(frame, now);
            news.extend(told.map_err(|why| format!("session {}: {why}", self.number))?);
        }
    }

    fn on_frame(&mut self, frame: &[u8], now: u64) -> Result<Option<News>, String> {
        let unread = |e| format!("a reply that cannot be read: {e:?}");
        match std::mem::replace(&mut self.state, State::Away { redial: 0 }) {
            State::Opening { link, .. } => {
                let response = ConnectResponse::read(frame).map_err(unread)?;
                if response.timeout_ms <= 0 {
                    return Err("it has expired".to_owned());
                }
                self.session = response.session;
                self.password = response.password;
                self.timeout_ns = response.timeout_ms as u64 * 1_000_000;
                self.last_sent = now;
                self.state = State::Open(link);
                return Ok(Some(News::Open { lost: self.lost.take() }));
            }
            state => self.state = state,
        }
        let header = ReplyHeader::read(&mut Reader::new(frame)).map_err(unread)?;
        if header.xid == Xid::PING {
            return Ok(None);
        }
        let asked = self.under_way.pop_front().ok_or("an answer to nothing")?;
        if header.xid.0 != asked.xid || header.err != 0 {
            let (xid, err) = (header.xid.0, header.err);
            return Err(format!("reply {xid} with code {err} where {} is due", asked.xid));
        }
        if header.zxid < self.last_zxid {
            return Err(format!("zxid 0x{:x} after 0x{:x}", header.zxid, self.last_zxid));
        }
        self.last_zxid = header.zxid;
        Ok(Some(News::Acknowledged { sent: asked.sent }))
    }
}
