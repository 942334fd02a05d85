//! One connection that never blocks once its session is open.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use zkd::base::{SessionId, Zxid};
use zkd::proto::{ConnectRequest, ConnectResponse, OpCode, begin_frame, cut, end_frame};

/// The largest reply taken.
pub const MAX_REPLY: usize = 2 * 1024 * 1024;

/// How long dialling and the handshake may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What bytes travel over.
enum Transport {
    Tcp(TcpStream),
}

impl Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(into),
        }
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.write(from),
        }
    }
}

pub struct Link {
    transport: Transport,
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

impl Link {
    /// Connects without a handshake.
    pub fn dial(address: SocketAddr) -> Result<Link, String> {
        Ok(Link::of(connect(address)?))
    }

    /// Opens a session; gives the timeout agreed on as well.
    pub fn open(address: SocketAddr, timeout: Duration) -> Result<(Link, Duration), String> {
        let mut stream = connect(address)?;
        let response = handshake(&mut stream, timeout)
            .map_err(|e| format!("{address}: the handshake: {e}"))?;
        if response.timeout_ms <= 0 {
            return Err(format!("{address}: the session was refused"));
        }
        Ok((Link::of(stream), Duration::from_millis(response.timeout_ms as u64)))
    }

    fn of(stream: std::net::TcpStream) -> Link {
        let transport = Transport::Tcp(TcpStream::from_std(stream));
        Link { transport, rest: Vec::new(), output: Vec::new() }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> Result<(), String> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let Transport::Tcp(stream) = &mut self.transport;
        // From here on nothing waits.
        let done = registry.register(stream, token, interest);
        done.map_err(|e| format!("registering a connection: {e}"))
    }

    /// Where requests are queued.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Asks for the session's end, without waiting for it: one left behind would expire during
    /// the next measurement.
    pub fn leave(&mut self) {
        let op = OpCode::CloseSession.number();
        self.output.extend_from_slice(&8i32.to_be_bytes());
        self.output.extend_from_slice(&i32::MAX.to_be_bytes());
        self.output.extend_from_slice(&op.to_be_bytes());
        // A connection that is gone has no session to end here.
        let _ = self.flush();
    }

    /// Sends what the kernel takes; the rest goes when it is writable again.
    pub fn flush(&mut self) -> Result<(), String> {
        let mut sent = 0;
        while sent < self.output.len() {
            match self.transport.write(&self.output[sent..]) {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(format!("sending: {e}")),
            }
        }
        self.output.drain(..sent);
        Ok(())
    }

    /// Reads once into the scratch, behind what was left over.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<Got, String> {
        let kept = self.rest.len();
        scratch[..kept].copy_from_slice(&self.rest);
        loop {
            match self.transport.read(&mut scratch[kept..]) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(n) => {
                    let bytes = kept + n;
                    return Ok(Got { bytes, drained: bytes < scratch.len() });
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Ok(Got { bytes: kept, drained: true });
                }
                Err(e) => return Err(format!("receiving: {e}")),
            }
        }
    }

    /// Keeps what is not a whole frame yet.
    pub fn keep(&mut self, rest: &[u8]) {
        self.rest.clear();
        self.rest.extend_from_slice(rest);
    }
}

fn connect(address: SocketAddr) -> Result<std::net::TcpStream, String> {
    let dialled = std::net::TcpStream::connect_timeout(&address, PATIENCE);
    let stream = dialled.map_err(|e| format!("{address}: {e}"))?;
    let prepared = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
    prepared.map_err(|e| format!("{address}: {e}"))?;
    Ok(stream)
}

/// The one exchange that waits: nothing is measured yet.
fn handshake(
    stream: &mut std::net::TcpStream,
    timeout: Duration,
) -> Result<ConnectResponse, String> {
    let told = |e: io::Error| e.to_string();
    stream.set_nonblocking(false).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    let mut frame = Vec::new();
    let mark = begin_frame(&mut frame);
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: timeout.as_millis().min(i32::MAX as u128) as i32,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
    };
    request.write(&mut frame);
    end_frame(&mut frame, mark);
    stream.write_all(&frame).map_err(told)?;
    let (mut answer, mut have) = ([0; 256], 0);
    loop {
        let cut = cut(&answer[..have], answer.len() - 4);
        if let Some((body, _)) = cut.map_err(|e| format!("{e:?}"))? {
            stream.set_nonblocking(true).map_err(told)?;
            return ConnectResponse::read(body).map_err(|e| format!("{e:?}"));
        }
        match stream.read(&mut answer[have..]).map_err(told)? {
            0 => return Err("the server closed the connection".to_owned()),
            n => have += n,
        }
    }
}
