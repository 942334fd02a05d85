//! One connection that never blocks once its session is open.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use zkd::base::Xid;
use zkd::client::{Call, Channel, Tls};
use zkd::proto::{RequestHeader, begin_frame, end_frame};

use super::server::{PATIENCE, Server, explained};

/// The largest reply taken.
pub const MAX_REPLY: usize = 2 * 1024 * 1024;

pub struct Link {
    channel: Channel<TcpStream>,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    output: Vec<u8>,
}

/// What one read brought.
pub struct Got {
    /// Bytes at the front of the scratch, what was left over before included.
    pub bytes: usize,
    /// Nothing more was there.
    pub drained: bool,
}

/// What one look at the connection brought.
pub enum Came {
    /// So many bytes are at the front of the scratch, what was left over before included.
    Bytes(usize),
    /// What was left over is there, and nothing else yet.
    Nothing(usize),
    End,
}

/// A link whose session is open.
pub struct Opened {
    pub link: Link,
    /// As agreed on.
    pub timeout: Duration,
    /// Numbers of requests go on after this one.
    pub last_xid: i32,
}

impl Link {
    /// Connects without a session.
    pub fn dial(address: SocketAddr, tls: Option<&Tls>) -> Result<Link, String> {
        let told = |e: io::Error| format!("{address}: {e}");
        let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE).map_err(told)?;
        let prepared = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
        prepared.map_err(told)?;
        Link::over(TcpStream::from_std(stream), address, tls)
    }

    /// Begins to connect; what is queued leaves when that is done.
    pub fn begin(server: &Server) -> Result<Link, String> {
        let stream = TcpStream::connect(server.address);
        let stream = stream.and_then(|s| s.set_nodelay(true).map(|()| s));
        let stream = stream.map_err(|e| format!("{}: {e}", server.address))?;
        Link::over(stream, server.address, server.tls.as_ref())
    }

    fn over(stream: TcpStream, address: SocketAddr, tls: Option<&Tls>) -> Result<Link, String> {
        let channel = match tls {
            None => Ok(Channel::Plain(stream)),
            Some(tls) => tls.seal(stream, address.ip()),
        };
        Ok(Link::of(channel.map_err(|e| format!("{address}: TLS: {e}"))?))
    }

    /// Opens a session, and waits for that: nothing is measured yet.
    pub fn open(server: &Server, timeout: Duration) -> Result<Opened, String> {
        let (connection, timeout) = server.connect(timeout)?;
        let last_xid = connection.last_xid().0;
        let channel = connection.into_channel().map(|stream| {
            stream.set_nonblocking(true)?;
            Ok(TcpStream::from_std(stream))
        });
        let channel = channel.map_err(|e| format!("{}: {e}", server.address))?;
        Ok(Opened { link: Link::of(channel), timeout, last_xid })
    }

    fn of(channel: Channel<TcpStream>) -> Link {
        Link { channel, rest: Vec::new(), output: Vec::new() }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> Result<(), String> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        // From here on nothing waits.
        let done = registry.register(self.channel.socket_mut(), token, interest);
        done.map_err(|e| format!("registering a connection: {e}"))
    }

    /// Where requests are queued.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Asks for the session's end, without waiting for it: one left behind would expire during
    /// the next measurement.
    pub fn leave(&mut self) {
        put(self, Xid(i32::MAX), &Call::CloseSession);
        // A connection that is gone has no session to end here.
        let _ = self.flush();
    }

    /// Sends what the kernel takes; the rest goes when it is writable again.
    pub fn flush(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.output.len() || self.channel.has_unsent() {
            let step = match &self.output[sent..] {
                [] => self.channel.flush().map(|()| None),
                rest => self.channel.write(rest).map(Some),
            };
            match step {
                Ok(None) => {}
                Ok(Some(0)) => return Err("the connection was closed".to_owned()),
                Ok(Some(n)) => sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(format!("sending: {}", explained(&e.into()))),
            }
        }
        self.output.drain(..sent);
        Ok(())
    }

    /// Reads once into the scratch, behind what was left over.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Got, String> {
        match self.look(scratch)? {
            Came::End => Err("the server closed the connection".to_owned()),
            Came::Nothing(bytes) => Ok(Got { bytes, drained: true }),
            Came::Bytes(bytes) => {
                // A short read of a bare socket has emptied it; of TLS it was one record.
                let drained = bytes < scratch.len() && !self.channel.is_tls();
                Ok(Got { bytes, drained })
            }
        }
    }

    /// The same where the end of the connection is no surprise.
    pub fn look(&mut self, scratch: &mut [u8]) -> Result<Came, String> {
        let kept = self.rest.len();
        scratch[..kept].copy_from_slice(&self.rest);
        loop {
            match self.channel.read(&mut scratch[kept..]) {
                Ok(0) => return Ok(Came::End),
                Ok(n) => return Ok(Came::Bytes(kept + n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Came::Nothing(kept)),
                Err(e) => return Err(format!("receiving: {}", explained(&e.into()))),
            }
        }
    }

    /// Keeps what is not a whole frame yet.
    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }
}

/// Queues a call.
pub fn put(link: &mut Link, xid: Xid, call: &Call<'_>) {
    let out = link.output();
    let mark = begin_frame(out);
    RequestHeader { xid, op: call.op().number() }.write(out);
    call.write(out);
    end_frame(out, mark);
}
