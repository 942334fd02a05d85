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
        // What was kept from an earlier read tells nothing of what the kernel has got since.
        self.is_drained = false;
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::Path;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
    use rustls::{Error, StreamOwned};

    use crate::config::{ClientAuth, Store, StoreKind, Tls};
    use crate::reactor::tls::keys::{Keys, provider};

    use super::*;

    type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

    /// The client takes whoever answers.
    #[derive(Debug)]
    struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    }

    fn server() -> Arc<ServerConfig> {
        let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/golden/server.pem");
        let location = Some(store.display().to_string());
        let key_store = Store { location, kind: StoreKind::Pem, ..Store::default() };
        let tls = Tls { key_store, client_auth: ClientAuth::None, ..Tls::default() };
        Keys::load(&tls).expect("a key and its certificate").config
    }

    fn client() -> ClientConnection {
        let config = ClientConfig::builder_with_provider(provider().into())
            .with_safe_default_protocol_versions()
            .expect("those of the provider")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(config.into(), name).expect("a name that may be")
    }

    /// A client and a session that have shaken hands, and the session's socket.
    fn pair() -> (Client, Session, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let to = listener.local_addr().expect("its address");
        let socket = std::net::TcpStream::connect(to).expect("it listens");
        let (from, _) = listener.accept().expect("it has come");
        from.set_nonblocking(true).expect("as a link's socket");
        socket.set_nonblocking(true).expect("so that one thread plays both");
        let mut stream = TcpStream::from_std(from);
        let mut client = StreamOwned::new(client(), socket);
        let mut session = Session::new(server()).expect("sound settings");
        let (mut backlog, mut pool) = (Backlog::default(), Pool::default());
        loop {
            // What cannot go on yet goes on the next time round.
            let _ = client.read(&mut [0]);
            let _ = client.flush();
            let step = session.step(&mut stream);
            session.drain(&mut backlog, &mut pool);
            let mut places = [IoSlice::new(&[]); 8];
            let count = backlog.slices(&mut places);
            for place in &places[..count] {
                stream.write_all(place).expect("a few bytes");
            }
            backlog.clear(&mut pool);
            match step {
                Step::Done => return (client, session, stream),
                Step::Waits | Step::Goes => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// So many bytes of the client lie in the kernel.
    fn await_bytes(stream: &TcpStream, count: usize) {
        let mut seen = vec![0; count];
        while stream.peek(&mut seen).unwrap_or(0) < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_an_earlier_read_left_does_not_hide_what_came_since() {
        let (mut client, mut session, mut stream) = pair();
        let mut say = |bytes: &[u8]| {
            assert_eq!(client.write(bytes).expect("room"), bytes.len());
            client.flush().expect("sent");
        };
        say(&[1; 16_384]);
        say(&[2; 100]);
        await_bytes(&stream, 16_484);
        let mut into = [0; 20_000];
        // The turn had no room for more.
        assert_eq!(session.read(&mut stream, &mut into[..1000]).expect("bytes"), 1000);
        while !session.is_drained {
            let count = session.read(&mut stream, &mut into[..1000]).expect("bytes");
            assert_eq!(count, 1000, "there is more of it");
        }
        say(&[3; 100]);
        await_bytes(&stream, 100);
        let mut heard = 0;
        loop {
            let count = session.read(&mut stream, &mut into).expect("bytes");
            heard += usize::from(into[..count].contains(&3));
            if count < into.len() && session.is_drained {
                break;
            }
        }
        assert_eq!(heard, 1, "it says that there is nothing more, and there is");
    }
}
