//! One socket, driven by its owner.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::base::{SessionId, Xid, Zxid};
use crate::proto::{
    ConnectRequest, ConnectResponse, DecodeError, ErrorCode, OpCode, Reader, ReplyHeader,
    RequestHeader, Splitter, begin_frame, end_frame,
};

use super::answer::Answer;
use super::call::Call;
use super::channel::Channel;
use super::error::Error;
use super::tls::Tls;

/// The largest reply taken: a server does not limit what it answers, a client has to.
const MAX_REPLY: usize = 256 * 1024 * 1024;

/// How long a write may block before what has arrived is read: a server whose replies are not
/// taken stops reading.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);

/// A session, as its owner may open it again anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionKey {
    pub id: SessionId,
    pub password: [u8; 16],
}

/// A reply as it came; `answer` takes it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub xid: Xid,
    pub op: i32,
    pub zxid: Zxid,
    pub err: i32,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn answer(&self) -> Result<Answer, Error> {
        if self.err != 0 {
            let code = ErrorCode::from_number(self.err);
            return Err(code.map_or(Error::UnknownCode(self.err), Error::Code));
        }
        match OpCode::from_number(self.op) {
            Some(op) => Ok(Answer::read(op, &self.body)?),
            None => Ok(Answer::Done),
        }
    }
}

/// A notification. `kind` and `state` are the protocol's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub zxid: Zxid,
    pub kind: i32,
    pub state: i32,
    pub path: String,
}

/// What a server sends after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Reply(Reply),
    Event(Event),
    Pong,
}

#[derive(Debug)]
pub struct Connection {
    channel: Channel<TcpStream>,
    input: Splitter,
    output: Vec<u8>,
    pending: VecDeque<(Xid, i32)>,
    last_xid: i32,
    last_zxid: Zxid,
}

impl Connection {
    /// Connects the socket; no byte is sent.
    pub fn dial(address: SocketAddr, patience: Duration) -> Result<Connection, Error> {
        Connection::dial_by(address, None, patience)
    }

    /// The same to speak TLS over it, where that is given.
    pub fn dial_by(
        address: SocketAddr,
        tls: Option<&Tls>,
        patience: Duration,
    ) -> Result<Connection, Error> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let channel = match tls {
            None => Channel::Plain(stream),
            Some(tls) => tls.seal(stream, address.ip()).map_err(Error::Tls)?,
        };
        Ok(Connection {
            channel,
            input: Splitter::default(),
            output: Vec::new(),
            pending: VecDeque::new(),
            last_xid: 0,
            last_zxid: Zxid::ZERO,
        })
    }

    /// The handshake. A refusal comes back as a response whose timeout is 0.
    pub fn handshake(
        &mut self,
        request: &ConnectRequest<'_>,
        patience: Duration,
    ) -> Result<ConnectResponse, Error> {
        let mark = begin_frame(&mut self.output);
        request.write(&mut self.output);
        end_frame(&mut self.output, mark);
        let deadline = Instant::now() + patience;
        self.flush_until(deadline)?;
        loop {
            if let Some(frame) = self.input.next(MAX_REPLY)? {
                return Ok(ConnectResponse::read(frame)?);
            }
            self.fill(deadline)?;
        }
    }

    /// Queues a call; `flush` sends what is queued.
    pub fn queue(&mut self, call: &Call<'_>) -> Xid {
        let xid = match call {
            Call::Ping => Xid::PING,
            Call::Auth { .. } => Xid::AUTH,
            Call::SetWatches(_) | Call::SetWatches2(_) => Xid::SET_WATCHES,
            _ => self.next_xid(),
        };
        let op = call.op().number();
        self.queue_frame(xid, op, |out| call.write(out));
        xid
    }

    /// Queues any bytes as the body of any operation under any xid.
    pub fn queue_raw(&mut self, xid: Xid, op: i32, body: &[u8]) {
        self.queue_frame(xid, op, |out| out.extend_from_slice(body));
    }

    fn queue_frame(&mut self, xid: Xid, op: i32, body: impl FnOnce(&mut Vec<u8>)) {
        let mark = begin_frame(&mut self.output);
        RequestHeader { xid, op }.write(&mut self.output);
        body(&mut self.output);
        end_frame(&mut self.output, mark);
        if op != OpCode::Ping.number() {
            self.pending.push_back((xid, op));
        }
    }

    /// Rises by one with each call and never reaches the negative numbers that mean other things.
    fn next_xid(&mut self) -> Xid {
        self.last_xid = self.last_xid.checked_add(1).unwrap_or(1);
        Xid(self.last_xid)
    }

    /// Goes on numbering after `xid`: a session's numbers rise across its connections.
    pub fn number_from(&mut self, xid: Xid) {
        self.last_xid = xid.0.max(0);
    }

    pub fn last_xid(&self) -> Xid {
        Xid(self.last_xid)
    }

    /// The highest zxid seen in a reply.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Calls without their reply yet.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    pub fn has_unsent(&self) -> bool {
        !self.output.is_empty() || self.channel.has_unsent()
    }

    /// What it speaks over, for an owner that goes on by itself: nothing may be under way.
    pub fn into_channel(self) -> Channel<TcpStream> {
        assert!(self.pending.is_empty() && self.output.is_empty(), "calls are under way");
        self.channel
    }

    pub fn flush(&mut self, patience: Duration) -> Result<(), Error> {
        self.flush_until(Instant::now() + patience)
    }

    fn flush_until(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut sent = 0;
        while sent < self.output.len() || self.channel.has_unsent() {
            let step = match &self.output[sent..] {
                [] => self.channel.flush().map(|()| None),
                rest => self.channel.write(rest).map(Some),
            };
            match step {
                Ok(None) => {}
                Ok(Some(0)) => return Err(Error::ConnectionLoss),
                Ok(Some(n)) => sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        self.output.drain(..sent);
                        return Err(Error::Timeout);
                    }
                    match self.fill(Instant::now() + Duration::from_millis(1)) {
                        Ok(()) | Err(Error::Timeout) => {}
                        Err(e) => return Err(e),
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.output.clear();
        Ok(())
    }

    /// The next message, waiting for it at most until `deadline`.
    pub fn receive(&mut self, deadline: Instant) -> Result<Message, Error> {
        loop {
            if let Some(frame) = self.input.next(MAX_REPLY)? {
                let message = parse(frame)?;
                return self.account(message);
            }
            self.fill(deadline)?;
        }
    }

    /// A message that has already arrived.
    pub fn receive_ready(&mut self) -> Result<Option<Message>, Error> {
        match self.input.next(MAX_REPLY)? {
            None => Ok(None),
            Some(frame) => {
                let message = parse(frame)?;
                self.account(message).map(Some)
            }
        }
    }

    /// Checks a reply's place: everything but auth is answered in the order it was asked.
    fn account(&mut self, mut message: Message) -> Result<Message, Error> {
        let Message::Reply(reply) = &mut message else { return Ok(message) };
        let place = match reply.xid {
            Xid::AUTH => self.pending.iter().position(|(xid, _)| *xid == Xid::AUTH),
            _ => self.pending.iter().position(|(xid, _)| *xid != Xid::AUTH),
        };
        let due = place.and_then(|at| self.pending.get(at)).copied();
        match (place, due) {
            (Some(at), Some((xid, op))) if xid == reply.xid => {
                self.pending.remove(at);
                reply.op = op;
            }
            _ => return Err(Error::Order { expected: due.map(|(xid, _)| xid), got: reply.xid }),
        }
        self.last_zxid = self.last_zxid.max(reply.zxid);
        Ok(message)
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            let left = left.max(Duration::from_micros(100));
            self.channel.socket().set_read_timeout(Some(left))?;
            match self.channel.read(&mut chunk) {
                Ok(0) => return Err(Error::ConnectionLoss),
                Ok(n) => {
                    self.input.push(&chunk[..n]);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn parse(frame: &[u8]) -> Result<Message, DecodeError> {
    let r = &mut Reader::new(frame);
    let header = ReplyHeader::read(r)?;
    Ok(match header.xid {
        Xid::PING => Message::Pong,
        Xid::NOTIFICATION => Message::Event(Event {
            zxid: header.zxid,
            kind: r.i32()?,
            state: r.i32()?,
            path: r.string()?.unwrap_or_default().into_owned(),
        }),
        xid => {
            let body = r.rest().to_vec();
            Message::Reply(Reply { xid, op: 0, zxid: header.zxid, err: header.err, body })
        }
    })
}
