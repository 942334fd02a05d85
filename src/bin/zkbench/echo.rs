//! `zkbench echo`: the barest server there can be on the same poll loop, which gives back what it
//! gets. What a real server takes more than this is its own.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, ServerConnection};
use zkd::client::{Channel, certified};

use super::options::{self, Stop};
use super::server;

const USAGE: &str = "Usage: zkbench echo [options]

Gives back every byte it gets. Prints its address, and ends when its standard input ends.";

const LISTENER: Token = Token(0);
const INPUT: Token = Token(1);
const FIRST: usize = 2;

struct Echo {
    channel: Channel<TcpStream>,
    unsent: Vec<u8>,
}

impl Echo {
    /// False when the connection is over.
    fn on_ready(&mut self, scratch: &mut [u8]) -> std::io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(true);
            }
            match self.channel.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.send(&scratch[..n])?;
                    // Of TLS a short read was one record, and more may be there.
                    if n < scratch.len() && !self.channel.is_tls() {
                        return Ok(true);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        self.flush().map(drop)
    }

    /// True when nothing is left to be sent.
    fn flush(&mut self) -> std::io::Result<bool> {
        let mut sent = 0;
        let outcome = loop {
            let step = match &self.unsent[sent..] {
                [] => self.channel.flush().map(|()| 0),
                rest => self.channel.write(rest),
            };
            match step {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break Ok(false),
                Err(e) => break Err(e),
            }
            if sent == self.unsent.len() && !self.channel.has_unsent() {
                break Ok(true);
            }
        };
        self.unsent.drain(..sent);
        outcome
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let mut o = options::common();
    o.optopt("", "port", "on 127.0.0.1 (a free one)", "N");
    o.optopt("", "tls-cert", "speaks TLS: its certificate, and those above it, in PEM", "FILE");
    o.optopt("", "tls-key", "its key in PEM (the file of --tls-cert)", "FILE");
    let m = options::parse(&o, USAGE, words)?;
    let port: u16 = options::number(&m, "port", 0, 0, u16::MAX)?;
    let (certificate, key) = (m.opt_str("tls-cert"), m.opt_str("tls-key"));
    let tls = match certificate.map(PathBuf::from) {
        Some(certificate) => Some(keys(&certificate, key.map(PathBuf::from).as_deref())?),
        None if key.is_some() => {
            return Err(Stop::Wrong("--tls-key: --tls-cert is missing".to_owned()));
        }
        None => None,
    };
    serve(port, tls).map_err(|e| Stop::Wrong(format!("echo: {e}")))?;
    Ok(String::new())
}

fn keys(certificate: &Path, key: Option<&Path>) -> Result<Arc<ServerConfig>, String> {
    let own = certified(certificate, key).map_err(server::fault)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    Ok(Arc::new(config))
}

fn serve(port: u16, tls: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let input = std::io::stdin().as_raw_fd();
    // Files cannot be polled; then it runs until it is ended.
    let _ = poll.registry().register(&mut SourceFd(&input), INPUT, Interest::READABLE);
    println!("{}", listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; 64 * 1024];
    let mut echoes: BTreeMap<usize, Echo> = BTreeMap::new();
    let mut next = FIRST;
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        for event in &events {
            match event.token() {
                INPUT => {
                    if matches!(std::io::stdin().read(&mut scratch[..64]), Ok(0) | Err(_)) {
                        return Ok(());
                    }
                }
                LISTENER => accept(&listener, &poll, &mut echoes, &mut next, tls.as_ref())?,
                Token(at) => {
                    let Some(echo) = echoes.get_mut(&at) else { continue };
                    if !echo.on_ready(&mut scratch).unwrap_or(false) {
                        echoes.remove(&at);
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    echoes: &mut BTreeMap<usize, Echo>,
    next: &mut usize,
    tls: Option<&Arc<ServerConfig>>,
) -> std::io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(*next), interest)?;
                let channel = match tls {
                    None => Channel::Plain(stream),
                    Some(config) => {
                        let tls = ServerConnection::new(config.clone());
                        Channel::sealed(stream, tls.map_err(std::io::Error::other)?)
                    }
                };
                echoes.insert(*next, Echo { channel, unsent: Vec::new() });
                *next += 1;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
