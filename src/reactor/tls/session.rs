//! One link's TLS: bytes of the socket to bytes of the client and back.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use crate::reactor::backlog::{Backlog, Pool};

/// What a link speaks.
#[derive(Debug, Default)]
pub enum Wire {
    #[default]
    Plain,
    /// Its first byte will tell.
    Unclear,
    Tls(Box<Session>),
}

impl Wire {
    /// Reads what the client has said. A plain link reads its socket and nothing else.
    pub fn read(&mut self, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain | Wire::Unclear => stream.read(into),
            Wire::Tls(session) => session.read(stream, into),
        }
    }

    /// Whether a read that was not filled has left nothing to read.
    pub fn is_drained(&self) -> bool {
        match self {
            Wire::Plain | Wire::Unclear => true,
            Wire::Tls(session) => session.is_drained,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Wire::Tls(_))
    }
}

pub struct Session {
    tls: ServerConnection,
    is_closing: bool,
    /// The last read of the socket took all there was.
    is_drained: bool,
}

/// Where a handshake stands after a step.
#[derive(Debug)]
pub enum Step {
    /// The kernel has no more.
    Waits,
    Goes,
    Done,
    /// The client went away.
    Gone,
    Failed(String),
}

impl Session {
    pub fn new(config: Arc<ServerConfig>) -> Result<Session, rustls::Error> {
        let mut tls = ServerConnection::new(config)?;
        // What is sealed goes to the link's backlog at once, which has a bound of its own.
        tls.set_buffer_limit(None);
        Ok(Session { tls, is_closing: false, is_drained: false })
    }

    /// Reads once, and goes on with the handshake as far as that leads.
    pub fn step(&mut self, stream: &mut TcpStream) -> Step {
        match self.tls.read_tls(stream) {
            Ok(0) => return Step::Gone,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Step::Waits,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Step::Goes,
            Err(_) => return Step::Gone,
        }
        match self.tls.process_new_packets() {
            Err(error) => Step::Failed(error.to_string()),
            Ok(_) if self.tls.is_handshaking() => Step::Goes,
            Ok(_) => Step::Done,
        }
    }

    /// The client's own certificate, where it has shown one.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.tls.peer_certificates()?.first().map(AsRef::as_ref)
    }

    fn read(&mut self, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        for _ in 0..READS {
            match self.tls.reader().read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Many clients end without saying so.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            let mut tap = Tap { stream, is_drained: false };
            let count = self.tls.read_tls(&mut tap)?;
            self.is_drained = tap.is_drained;
            if count == 0 {
                return Ok(0);
            }
            let garbled = |_| io::Error::from(io::ErrorKind::InvalidData);
            self.tls.process_new_packets().map_err(garbled)?;
        }
        // Records without content may go on for ever: the others come first.
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Encrypts pieces, in order, into the backlog.
    pub fn seal(&mut self, pieces: &[IoSlice<'_>], backlog: &mut Backlog, pool: &mut Pool) {
        let mut pieces = pieces.to_vec();
        let mut rest = &mut pieces[..];
        while rest.iter().any(|piece| !piece.is_empty()) {
            let taken = self.tls.writer().write_vectored(rest).expect("a buffer without a limit");
            IoSlice::advance_slices(&mut rest, taken);
        }
        self.drain(backlog, pool);
    }

    /// Moves what TLS itself wants to say into the backlog.
    pub fn drain(&mut self, backlog: &mut Backlog, pool: &mut Pool) {
        let mut sink = Sink { backlog, pool };
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sink).expect("a backlog takes everything");
        }
    }

    /// The last word of an orderly end, said once.
    pub fn close(&mut self, backlog: &mut Backlog, pool: &mut Pool) {
        if !self.is_closing {
            self.is_closing = true;
            self.tls.send_close_notify();
            self.drain(backlog, pool);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.tls.protocol_version())
    }
}

/// Sees whether the socket had less than was asked for.
struct Tap<'a> {
    stream: &'a mut TcpStream,
    is_drained: bool,
}

impl Read for Tap<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(into)?;
        self.is_drained = count < into.len();
        Ok(count)
    }
}

struct Sink<'a> {
    backlog: &'a mut Backlog,
    pool: &'a mut Pool,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.backlog.push(bytes, self.pool);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads of a socket that may give the client's bytes in one go.
const READS: usize = 32;
