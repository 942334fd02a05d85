//! Bytes to the far side and back: over a bare socket, or sealed by TLS.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

/// What bytes travel over. The socket may block, time out or do neither: a call that ends early
/// goes on where it stopped when it is made again.
#[derive(Debug)]
pub enum Channel<S> {
    Plain(S),
    Tls(Box<Sealed<S>>),
}

/// A socket and the TLS that is spoken over it.
pub struct Sealed<S> {
    tls: rustls::Connection,
    socket: S,
}

impl<S: Read + Write> Channel<S> {
    /// The handshake goes on with every read and write; nothing is sent yet.
    pub fn sealed(socket: S, tls: impl Into<rustls::Connection>) -> Channel<S> {
        Channel::Tls(Box::new(Sealed { tls: tls.into(), socket }))
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Channel::Tls(_))
    }

    pub fn socket(&self) -> &S {
        match self {
            Channel::Plain(socket) => socket,
            Channel::Tls(sealed) => &sealed.socket,
        }
    }

    pub fn socket_mut(&mut self) -> &mut S {
        match self {
            Channel::Plain(socket) => socket,
            Channel::Tls(sealed) => &mut sealed.socket,
        }
    }

    /// The same channel over another kind of socket.
    pub fn map<T>(self, change: impl FnOnce(S) -> io::Result<T>) -> io::Result<Channel<T>> {
        Ok(match self {
            Channel::Plain(socket) => Channel::Plain(change(socket)?),
            Channel::Tls(sealed) => {
                let Sealed { tls, socket } = *sealed;
                Channel::Tls(Box::new(Sealed { tls, socket: change(socket)? }))
            }
        })
    }

    /// No bytes: the far side has ended the connection.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => socket.read(into),
            Channel::Tls(sealed) => sealed.read(into),
        }
    }

    /// Takes some of the bytes; what TLS has taken and not sent yet leaves with `flush`.
    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => socket.write(from),
            Channel::Tls(sealed) => sealed.write(from),
        }
    }

    /// Sends what TLS still has to send, or says why that must wait.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(_) => Ok(()),
            Channel::Tls(sealed) => sealed.flush(),
        }
    }

    pub fn has_unsent(&self) -> bool {
        match self {
            Channel::Plain(_) => false,
            Channel::Tls(sealed) => sealed.tls.wants_write(),
        }
    }
}

impl<S: Read + Write> Sealed<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        for _ in 0..READS {
            match self.tls.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Many servers end without saying so; frames tell where a message is whole.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return self.ended(),
                other => return other,
            }
            match self.flush() {
                Err(e) if !is_wait(&e) => return Err(e),
                _ => {}
            }
            self.tls.read_tls(&mut self.socket).map_err(|e| self.lost(e))?;
            if let Err(why) = self.tls.process_new_packets() {
                // The far side learns what was wrong with it, if it still listens.
                let _ = self.flush();
                return Err(io::Error::new(ErrorKind::InvalidData, why));
            }
        }
        // Records without content may go on for ever: the caller's deadline comes first.
        Err(ErrorKind::Interrupted.into())
    }

    fn ended(&self) -> io::Result<usize> {
        let is_early = self.tls.is_handshaking();
        if is_early { Err(self.lost(ErrorKind::ConnectionReset.into())) } else { Ok(0) }
    }

    /// What to say of a connection that is gone: within the handshake there may be a reason.
    fn lost(&self, e: io::Error) -> io::Error {
        let is_lost = matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        if !is_lost || !self.tls.is_handshaking() {
            return e;
        }
        let why = "the connection was ended within the handshake; does this port speak TLS?";
        io::Error::new(ErrorKind::InvalidData, rustls::Error::General(why.to_owned()))
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(from)?;
        match self.flush() {
            // Before the handshake is done TLS keeps so much and no more: reading is what helps.
            Ok(()) if taken == 0 && !from.is_empty() => Err(ErrorKind::WouldBlock.into()),
            // What is taken must not be offered again.
            Err(e) if is_wait(&e) && taken > 0 => Ok(taken),
            Err(e) => Err(e),
            Ok(()) => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_wait(&e) => return Err(e),
                Err(e) => return Err(self.last_word().unwrap_or_else(|| self.lost(e))),
            }
        }
        Ok(())
    }

    /// What a far side that takes no more has said before: it may have told why.
    fn last_word(&mut self) -> Option<io::Error> {
        for _ in 0..READS {
            if self.tls.read_tls(&mut self.socket).ok()? == 0 {
                return None;
            }
            if let Err(why) = self.tls.process_new_packets() {
                return Some(io::Error::new(ErrorKind::InvalidData, why));
            }
        }
        None
    }
}

impl<S: fmt::Debug> fmt::Debug for Sealed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({:?}, {:?})", self.tls.protocol_version(), self.socket)
    }
}

/// The socket would take or give more later.
fn is_wait(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Reads of a socket that may give the caller's bytes in one go.
const READS: usize = 32;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;
    use std::rc::Rc;
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::sign::SingleCertAndKey;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::base::Rng;
    use crate::client::{Tls, TlsFiles, TlsVersion, certified};

    type Wire = Rc<RefCell<VecDeque<u8>>>;

    /// A socket that gives and takes a few bytes, or none yet.
    struct End {
        from: Wire,
        to: Wire,
        whims: Rng,
    }

    impl End {
        fn some(&mut self, most: usize) -> io::Result<usize> {
            if most == 0 || self.whims.below(4) == 0 {
                let kinds = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
                return Err(kinds[self.whims.below(3) as usize].into());
            }
            Ok(most.min(1 + self.whims.below(3000) as usize))
        }
    }

    impl Read for End {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let there = self.from.borrow().len();
            let n = self.some(into.len().min(there))?;
            let mut from = self.from.borrow_mut();
            into.iter_mut().zip(from.drain(..n)).for_each(|(to, byte)| *to = byte);
            Ok(n)
        }
    }

    impl Write for End {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            let room = 20_000usize.saturating_sub(self.to.borrow().len());
            let n = self.some(from.len().min(room))?;
            self.to.borrow_mut().extend(&from[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pair(version: TlsVersion, seed: u64) -> (Channel<End>, Channel<End>) {
        let (there, back) = (Wire::default(), Wire::default());
        let end = |from: &Wire, to: &Wire, seed| {
            let (from, to) = (from.clone(), to.clone());
            End { from, to, whims: Rng::new(seed) }
        };
        let files = TlsFiles { is_insecure: true, version: Some(version), ..TlsFiles::default() };
        let client = Tls::load(&files).expect("nothing to be read");
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client = client.seal(end(&back, &there, seed), address).expect("a name that may be");
        let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/golden/server.pem");
        let own = certified(&store, None).expect("a key and its certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("those of ring")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        let server = ServerConnection::new(Arc::new(config)).expect("sound settings");
        (client, Channel::sealed(end(&there, &back, seed + 1000), server))
    }

    /// Whatever was done; nothing where the socket was not in the mood.
    fn done(outcome: io::Result<usize>) -> usize {
        match outcome {
            Ok(n) => n,
            Err(e) if is_wait(&e) || e.kind() == ErrorKind::Interrupted => 0,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn what_is_said_comes_back_whole_however_the_socket_dawdles() {
        for seed in 0..40 {
            let version = if seed % 2 == 0 { TlsVersion::V1_2 } else { TlsVersion::V1_3 };
            let (mut client, mut server) = pair(version, seed);
            let said: Vec<u8> =
                (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let (mut sent, mut echo, mut heard) = (0, Vec::new(), Vec::new());
            let mut scratch = [0; 5000];
            while heard.len() < said.len() {
                let end = said.len().min(sent + 70_000);
                sent += done(client.write(&said[sent..end]));
                done(client.flush().map(|()| 0));
                let n = done(server.read(&mut scratch));
                echo.extend_from_slice(&scratch[..n]);
                let n = done(server.write(&echo));
                echo.drain(..n);
                done(server.flush().map(|()| 0));
                let n = done(client.read(&mut scratch));
                heard.extend_from_slice(&scratch[..n]);
            }
            assert!(heard == said, "seed {seed}");
            assert!(client.is_tls() && !client.has_unsent());
        }
    }
}
