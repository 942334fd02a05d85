//! `zkbench echo`: the barest server there can be on the same poll loop, which gives back what it
//! gets. What a real server takes more than this is its own.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::options::{self, Stop};

const USAGE: &str = "Usage: zkbench echo [options]

Gives back every byte it gets. Prints its address, and ends when its standard input ends.";

const LISTENER: Token = Token(0);
const INPUT: Token = Token(1);
const FIRST: usize = 2;

struct Echo {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Echo {
    /// False when the connection is over.
    fn on_ready(&mut self, scratch: &mut [u8]) -> std::io::Result<bool> {
        loop {
            if !self.flush()? {
                return Ok(true);
            }
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    self.send(&scratch[..n])?;
                    if n < scratch.len() {
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
        let sent = match self.stream.write(bytes) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(e) => return Err(e),
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// True when nothing is left to be sent.
    fn flush(&mut self) -> std::io::Result<bool> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let mut o = options::common();
    o.optopt("", "port", "on 127.0.0.1 (a free one)", "N");
    let m = options::parse(&o, USAGE, words)?;
    let port: u16 = options::number(&m, "port", 0, 0, u16::MAX)?;
    serve(port).map_err(|e| Stop::Wrong(format!("echo: {e}")))?;
    Ok(String::new())
}

fn serve(port: u16) -> std::io::Result<()> {
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
                LISTENER => accept(&listener, &poll, &mut echoes, &mut next)?,
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
) -> std::io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(*next), interest)?;
                echoes.insert(*next, Echo { stream, unsent: Vec::new() });
                *next += 1;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}
