//! The client port: who is let in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::{Fatal, Instant, limits::ACCEPT_REST_MS};
use crate::config::{Clients, Tls};

use super::limiter::Limiter;
use super::links::Links;

/// The listening socket with its limits.
pub struct Door {
    pub listener: TcpListener,
    /// The kernel has not said yet that nobody waits.
    pub is_ready: bool,
    /// Accepting rests until then, since no descriptor was to be had.
    pub rests_until: Option<Instant>,
    /// Given up for a moment where descriptors run out, so that who waits can be turned away.
    reserve: Option<OwnedFd>,
    /// Connections at which the rest of the descriptors is left to the log and the snapshots.
    pub room: u64,
    /// Who was turned away since somebody asked.
    pub refused: u64,
    max_of_address: usize,
    max_in_all: usize,
    keep_alive: bool,
    is_secure: bool,
    refusals: Limiter,
    shortages: Limiter,
}

/// What accepting gave.
pub enum Knock {
    Guest(TcpStream, SocketAddr),
    /// Somebody came and was turned away.
    Refused,
    Nobody,
}

impl Door {
    pub fn open(clients: &Clients) -> Result<Door, Fatal> {
        Door::open_at(
            clients,
            Place {
                port: clients.port.unwrap_or(0),
                name: clients.address.as_deref(),
                port_key: "clientPort",
                name_key: "clientPortAddress",
                is_secure: false,
            },
        )
    }

    /// The door for those who speak TLS and nothing else.
    pub fn open_secure(clients: &Clients, tls: &Tls) -> Result<Door, Fatal> {
        Door::open_at(
            clients,
            Place {
                port: tls.port.unwrap_or(0),
                name: tls.address.as_deref(),
                port_key: "secureClientPort",
                name_key: "secureClientPortAddress",
                is_secure: true,
            },
        )
    }

    fn open_at(clients: &Clients, place: Place<'_>) -> Result<Door, Fatal> {
        let address = address(&place)?;
        let listener = listen(address, clients.listen_backlog).map_err(|e| {
            Fatal::ClientBind(format!(
                "cannot listen for clients on {address}: {e}; is another server running there? \
                 {} and {} choose another place",
                place.port_key, place.name_key
            ))
        })?;
        Ok(Door {
            listener,
            is_ready: false,
            rests_until: None,
            reserve: reserve(),
            room: u64::MAX,
            refused: 0,
            max_of_address: usize::try_from(clients.max_client_cnxns).unwrap_or(0),
            max_in_all: usize::try_from(clients.max_cnxns).unwrap_or(0),
            keep_alive: clients.tcp_keep_alive,
            is_secure: place.is_secure,
            refusals: Limiter::default(),
            shortages: Limiter::default(),
        })
    }

    pub fn accept(&mut self, links: &Links, now: Instant) -> Knock {
        match self.listener.accept() {
            Ok((stream, peer)) => self.judge(stream, canonical(peer), links, now),
            Err(e) => self.handle_failure(&e, now),
        }
    }

    fn judge(&mut self, stream: TcpStream, peer: SocketAddr, links: &Links, now: Instant) -> Knock {
        if links.taken() as u64 >= self.room {
            self.lack("too many open files", now);
            return Knock::Refused;
        }
        if self.max_in_all > 0 && links.alive() >= self.max_in_all {
            let (count, max) = (links.alive(), self.max_in_all);
            self.refuse(now, || format!("Too many connections {count} - max is {max}"));
            return Knock::Refused;
        }
        if self.max_of_address > 0
            && links.count_of(peer.ip(), self.is_secure) >= self.max_of_address
        {
            let (ip, max) = (peer.ip(), self.max_of_address);
            self.refuse(now, || format!("Too many connections from /{ip} - max is {max}"));
            return Knock::Refused;
        }
        // A peer that has reset the connection already fails here; reading it will tell.
        let _ = stream.set_nodelay(true);
        if self.keep_alive {
            let _ = SockRef::from(&stream).set_keepalive(true);
        }
        Knock::Guest(stream, peer)
    }

    fn refuse(&mut self, now: Instant, why: impl FnOnce() -> String) {
        self.refused += 1;
        if let Some(permit) = self.refusals.permit(now) {
            log::warn!("Error accepting new connection: {}{permit}", why());
        }
    }

    fn lack(&mut self, what: &str, now: Instant) {
        self.refused += 1;
        if let Some(permit) = self.shortages.permit(now) {
            log::warn!(
                "Error accepting new connection: {what}; the connection is refused, \
                 raise the limit on open files{permit}"
            );
        }
    }

    fn handle_failure(&mut self, error: &io::Error, now: Instant) -> Knock {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.is_ready = false;
            return Knock::Nobody;
        }
        if !is_shortage(error) {
            // What is wrong with one caller (a reset before it was accepted) is not with the next.
            return Knock::Refused;
        }
        self.lack(&error.to_string(), now);
        let had_reserve = self.reserve.take().is_some();
        let turned_away = had_reserve && self.listener.accept().is_ok();
        self.reserve = reserve();
        if turned_away && self.reserve.is_some() {
            return Knock::Refused;
        }
        self.rests_until = Some(now.plus_ms(ACCEPT_REST_MS));
        Knock::Nobody
    }
}

/// An IPv4 caller on a socket for both families is seen as IPv4, as Java does.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|e| code == Some(e.raw_os_error()))
}

/// Any descriptor will do.
fn reserve() -> Option<OwnedFd> {
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok()
}

/// Where a door is, and which keys say so.
struct Place<'a> {
    port: u16,
    name: Option<&'a str>,
    port_key: &'a str,
    name_key: &'a str,
    is_secure: bool,
}

fn address(place: &Place<'_>) -> Result<SocketAddr, Fatal> {
    let (port, key) = (place.port, place.name_key);
    let Some(name) = place.name else {
        return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    };
    let found = (name, port).to_socket_addrs().map(|mut all| all.next());
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(Fatal::ClientBind(format!("{key} {name} has no address"))),
        Err(e) => Err(Fatal::ClientBind(format!("{key} {name} is not known: {e}"))),
    }
}

pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match listen_at(address, backlog) {
        // A machine without IPv6 has IPv4 addresses only.
        Err(e)
            if address.ip() == any
                && matches!(
                    e.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
                )
                || e.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            listen_at(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()), backlog)
        }
        other => other,
    }
}

fn listen_at(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(if backlog > 0 { backlog } else { DEFAULT_BACKLOG })?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The kernel takes its own limit where that is less. Java's default is 50, and a burst of
/// clients after a restart would wait for its retransmissions.
const DEFAULT_BACKLOG: i32 = 4096;
