//! The ports for peers: where this server is found, and who comes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::base::limits::ACCEPT_REST_MS;
use crate::base::{Fatal, Instant};
use crate::node::{PeerPort, Places};
use crate::peering::HostPort;
use crate::reactor::door::{Knock, canonical, is_shortage, listen};
use crate::reactor::limiter::Limiter;

use super::names::{Found, Names, literal};

/// Where a member listens to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPorts {
    pub election: Vec<HostPort>,
    pub quorum: Vec<HostPort>,
    /// Empty: this server feeds no observers.
    pub observers: Vec<HostPort>,
    /// `quorumListenOnAllIPs`: the ports count, not the hosts.
    pub listen_on_all: bool,
    /// `electionPortBindRetry`: how often it is tried to listen at an address; 0: for ever.
    pub bind_retries: u32,
    pub retry_pause_ms: u64,
    /// `tcpKeepAlive`.
    pub keep_alive: bool,
}

/// The addresses that are listened to, or are to be.
#[derive(Debug)]
pub struct Doors {
    places: Vec<Place>,
    /// A door's token is its place here; one that was closed leaves its place to the next.
    open: Vec<Option<Door>>,
    listens_on_all: bool,
    tries: u32,
    pause_ms: u64,
    /// What its doors' tokens are counted from.
    first_token: usize,
    shortages: Limiter,
}

#[derive(Debug)]
struct Place {
    port: PeerPort,
    address: HostPort,
    failures: u32,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Tried from then on.
    Closed(Instant),
    /// Its name is looked up.
    LookedUp,
    Open,
    GivenUp,
}

#[derive(Debug)]
struct Door {
    port: PeerPort,
    /// Whose door it is among the places.
    address: HostPort,
    listener: TcpListener,
    /// The kernel has not said yet that nobody waits.
    is_ready: bool,
    /// Accepting rests until then, since no descriptor was to be had.
    rests_until: Option<Instant>,
}

impl Doors {
    pub fn new(first_token: usize) -> Doors {
        Doors {
            places: Vec::new(),
            open: Vec::new(),
            listens_on_all: false,
            tries: 0,
            pause_ms: 0,
            first_token,
            shortages: Limiter::default(),
        }
    }

    /// From now on it is tried to listen there.
    pub fn set(&mut self, ports: &PeerPorts, now: Instant) {
        self.close();
        self.tries = ports.bind_retries;
        self.pause_ms = ports.retry_pause_ms;
        self.listens_on_all = ports.listen_on_all;
        let PeerPorts { election, quorum, observers, .. } = ports.clone();
        self.move_to(&Places { election, quorum, observers, client: None }, now);
    }

    /// From now on it is tried to listen to members at these places, and at no others. Where
    /// somebody can come already that goes on.
    pub fn move_to(&mut self, places: &Places, now: Instant) {
        let elections = self.heard_at(&places.election);
        let quorums = self.heard_at(&places.quorum);
        let observers = self.heard_at(&places.observers);
        let is_wanted = |port: PeerPort, address: &HostPort| match port {
            PeerPort::Election => elections.contains(address),
            PeerPort::Quorum => quorums.contains(address),
            PeerPort::Observers => observers.contains(address),
        };
        self.places.retain(|place| is_wanted(place.port, &place.address));
        for door in &mut self.open {
            // Another place may have its port.
            door.take_if(|door| !is_wanted(door.port, &door.address));
        }
        self.place(PeerPort::Election, &places.election, now);
        self.place(PeerPort::Quorum, &places.quorum, now);
        self.place(PeerPort::Observers, &places.observers, now);
    }

    /// Where this server listens, for what its configuration says.
    fn heard_at(&self, addresses: &[HostPort]) -> Vec<HostPort> {
        let everywhere = self.listens_on_all.then(|| Ipv6Addr::UNSPECIFIED.to_string());
        let heard = |at: &HostPort| HostPort {
            host: everywhere.clone().unwrap_or_else(|| at.host.clone()),
            port: at.port,
        };
        addresses.iter().map(heard).collect()
    }

    fn place(&mut self, port: PeerPort, addresses: &[HostPort], now: Instant) {
        for address in self.heard_at(addresses) {
            if !self.places.iter().any(|p| p.port == port && p.address == address) {
                let stand = Stand::Closed(now);
                self.places.push(Place { port, address, failures: 0, stand });
            }
        }
    }

    pub fn close(&mut self) {
        self.places.clear();
        self.open.clear();
    }

    /// Tries what it is time to try. An error: nobody will ever find this server.
    pub fn open_due(
        &mut self,
        now: Instant,
        names: &mut Names,
        registry: &Registry,
    ) -> Result<(), Fatal> {
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            if !matches!(place.stand, Stand::Closed(due) if due <= now) {
                continue;
            }
            let HostPort { host, port } = &place.address;
            if let Some(ip) = literal(host) {
                let address = SocketAddr::new(ip, *port);
                self.open_at(at, &[address], now, registry)?;
            } else if names.look_up(host) {
                place.stand = Stand::LookedUp;
            } else {
                self.on_failure(at, "its name cannot be looked up now", now)?;
            }
        }
        Ok(())
    }

    /// A name was looked up.
    pub fn on_found(
        &mut self,
        found: &Found,
        now: Instant,
        registry: &Registry,
    ) -> Result<(), Fatal> {
        for at in 0..self.places.len() {
            let place = &self.places[at];
            if place.stand != Stand::LookedUp || place.address.host != found.host {
                continue;
            }
            match &found.addresses {
                Ok(addresses) => {
                    let mut addresses = addresses.clone();
                    addresses.iter_mut().for_each(|a| a.set_port(place.address.port));
                    self.open_at(at, &addresses, now, registry)?;
                }
                Err(error) => self.on_failure(at, &format!("its name: {error}"), now)?,
            }
        }
        Ok(())
    }

    /// Listens at every address of a place that can be listened at.
    fn open_at(
        &mut self,
        at: usize,
        addresses: &[SocketAddr],
        now: Instant,
        registry: &Registry,
    ) -> Result<(), Fatal> {
        let (port, mut errors) = (self.places[at].port, Vec::new());
        let mut is_open = false;
        for address in addresses {
            let free = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
            let token = Token(self.first_token + free);
            let listener = listen(any_family(*address), 0).and_then(|mut listener| {
                registry.register(&mut listener, token, Interest::READABLE)?;
                Ok(listener)
            });
            match listener {
                Ok(listener) => {
                    log::info!("Listening to peers at {address} ({})", name(port));
                    let place = self.places[at].address.clone();
                    let door = Door::new(port, place, listener);
                    match self.open.get_mut(free) {
                        Some(place) => *place = Some(door),
                        None => self.open.push(Some(door)),
                    }
                    is_open = true;
                }
                Err(error) => errors.push(format!("{address}: {error}")),
            }
        }
        if is_open {
            self.places[at].stand = Stand::Open;
            return Ok(());
        }
        self.on_failure(at, &errors.join(", "), now)
    }

    /// As in Java, whose tries count for each address, and who goes on as long as one is open.
    fn on_failure(&mut self, at: usize, why: &str, now: Instant) -> Result<(), Fatal> {
        let tries = self.tries;
        let place = &mut self.places[at];
        place.failures = place.failures.saturating_add(1);
        let (port, address, failures) = (place.port, &place.address, place.failures);
        log::error!("Exception while listening to peers at {address} ({}): {why}", name(port));
        // Without it a server only feeds nobody; Java's would not even follow.
        if tries == 0 || failures < tries || port == PeerPort::Observers {
            place.stand = Stand::Closed(now.plus_ms(self.pause_ms));
            return Ok(());
        }
        let text = format!(
            "cannot listen to peers at {address} ({}) after {failures} tries: {why}; \
             zookeeper.electionPortBindRetry says how many there are",
            name(port)
        );
        place.stand = Stand::GivenUp;
        if self.places.iter().any(|p| p.port == port && p.stand != Stand::GivenUp) {
            log::error!("{text}");
            return Ok(());
        }
        Err(Fatal::ElectionBind(text))
    }

    pub fn take_readiness(&mut self, at: usize) {
        if let Some(Some(door)) = self.open.get_mut(at) {
            door.is_ready = true;
        }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// The next who waits at a door, and at which port.
    pub fn accept(&mut self, at: usize, now: Instant) -> (PeerPort, Knock) {
        match &mut self.open[at] {
            Some(door) => (door.port, door.accept(&mut self.shortages, now)),
            None => (PeerPort::Election, Knock::Nobody),
        }
    }

    pub fn has_knock(&self) -> bool {
        self.open.iter().flatten().any(Door::is_knocked_at)
    }

    pub fn next_due(&self) -> Option<Instant> {
        let tries = self.places.iter().filter_map(|place| match place.stand {
            Stand::Closed(due) => Some(due),
            _ => None,
        });
        tries.chain(self.open.iter().flatten().filter_map(|door| door.rests_until)).min()
    }

    /// Where a port is open.
    pub fn addresses(&self, port: PeerPort) -> impl Iterator<Item = SocketAddr> {
        let open = self.open.iter().flatten().filter(move |door| door.port == port);
        open.filter_map(|door| door.listener.local_addr().ok())
    }
}

impl Door {
    fn new(port: PeerPort, address: HostPort, listener: TcpListener) -> Door {
        Door { port, address, listener, is_ready: false, rests_until: None }
    }

    fn is_knocked_at(&self) -> bool {
        self.is_ready && self.rests_until.is_none()
    }

    fn accept(&mut self, shortages: &mut Limiter, now: Instant) -> Knock {
        if self.rests_until.is_some_and(|until| until <= now) {
            self.rests_until = None;
        }
        if !self.is_knocked_at() {
            return Knock::Nobody;
        }
        match self.listener.accept() {
            Ok((stream, from)) => Knock::Guest(stream, canonical(from)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                self.is_ready = false;
                Knock::Nobody
            }
            Err(e) if is_shortage(&e) => {
                self.rests_until = Some(now.plus_ms(ACCEPT_REST_MS));
                if let Some(permit) = shortages.permit(now) {
                    log::warn!(
                        "Error accepting a peer: {e}; raise the limit on open files{permit}"
                    );
                }
                Knock::Nobody
            }
            // What is wrong with one caller (a reset before it was accepted) is not with the next.
            Err(_) => Knock::Refused,
        }
    }
}

/// All addresses of one family are those of both, as in Java.
fn any_family(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port()),
        false => address,
    }
}

fn name(port: PeerPort) -> &'static str {
    match port {
        PeerPort::Election => "election port",
        PeerPort::Quorum => "quorum port",
        PeerPort::Observers => "observer master port",
    }
}
