//! Reaching for peers: for each dial a race of addresses, begun in the order of preference.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use slab::Slab;

use crate::base::Instant;
use crate::base::limits::{DIAL_ADDRESSES, DIAL_RACE_MS, PEER_DIALS};
use crate::election::DialFailure;
use crate::node::PeerPort;
use crate::peering::HostPort;

use super::names::{Found, Names, literal};

/// The dials under way.
#[derive(Debug)]
pub struct Dials {
    dials: Vec<Dial>,
    tries: Slab<Try>,
    /// Tries that the kernel has spoken of.
    ready: Vec<usize>,
    /// A dial has begun; it may be over already.
    is_begun: bool,
    /// What the tokens of tries are counted from.
    first_token: usize,
}

/// Whom a dial reaches for, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    pub addresses: &'a [HostPort],
    pub port: PeerPort,
    pub within_ms: u64,
}

/// How a dial has ended.
#[derive(Debug)]
pub struct DialEnd {
    pub number: u64,
    pub port: PeerPort,
    /// The socket that has answered, still registered as a try's.
    pub outcome: Result<(TcpStream, SocketAddr), DialFailure>,
}

#[derive(Debug)]
struct Dial {
    number: u64,
    port: PeerPort,
    ends: Instant,
    /// What is not tried yet.
    places: VecDeque<Place>,
    tried: Vec<SocketAddr>,
    /// Tries without an answer.
    open: usize,
    /// When the next is begun beside them.
    next: Instant,
    was_refused: bool,
    /// Something else than a refusal has come of a try.
    has_failed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    At(SocketAddr),
    Named { host: String, port: u16, wait: Wait },
}

/// What a name waits for that is being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// Nothing is known of it but what the look-up will say.
    News,
    /// Then what was known before is tried.
    Until(Instant),
    /// That is being tried. Its news may come or not.
    Nothing,
}

/// One socket on its way to one address.
#[derive(Debug)]
struct Try {
    number: u64,
    stream: TcpStream,
    address: SocketAddr,
}

impl Dials {
    pub fn new(first_token: usize) -> Dials {
        Dials {
            dials: Vec::new(),
            tries: Slab::new(),
            ready: Vec::new(),
            is_begun: false,
            first_token,
        }
    }

    /// Begins to reach for the addresses; `advance` says how it ends.
    pub fn begin(&mut self, number: u64, sought: Sought<'_>, now: Instant, names: &mut Names) {
        assert!(self.dials.iter().all(|dial| dial.number != number), "a dial's number is its own");
        let mut dial = Dial::new(number, &sought, now);
        if self.dials.len() < PEER_DIALS {
            for address in sought.addresses.iter().take(DIAL_ADDRESSES) {
                dial.add(address, now, names);
            }
        }
        self.dials.push(dial);
        self.is_begun = true;
    }

    /// Nobody wants to know how it ends.
    pub fn drop_dial(&mut self, number: u64) {
        self.dials.retain(|dial| dial.number != number);
        self.tries.retain(|_, attempt| attempt.number != number);
    }

    pub fn clear(&mut self) {
        self.dials.clear();
        self.tries.clear();
    }

    pub fn take_readiness(&mut self, at: usize) {
        self.ready.push(at);
    }

    /// A name was looked up.
    pub fn on_found(&mut self, found: &Found, names: &Names) {
        for dial in &mut self.dials {
            dial.on_found(found, names);
        }
    }

    /// Begins the tries whose time has come.
    pub fn reach_out(&mut self, now: Instant, names: &Names, registry: &Registry) {
        let Dials { dials, tries, first_token, .. } = self;
        for dial in dials {
            dial.end_patience(now, names);
            while dial.wants_try(now) {
                let Some(address) = dial.next_address() else { break };
                let token = Token(*first_token + tries.vacant_key());
                match connect(address, token, registry) {
                    Ok(stream) => {
                        tries.insert(Try { number: dial.number, stream, address });
                        dial.open += 1;
                        dial.next = now.plus_ms(DIAL_RACE_MS);
                    }
                    Err(error) => dial.on_failure(&error),
                }
            }
        }
    }

    /// Hears what has become of the tries, and begins more; dials that are over go to `ended`.
    pub fn advance(
        &mut self,
        now: Instant,
        names: &Names,
        registry: &Registry,
        ended: &mut Vec<DialEnd>,
    ) {
        self.is_begun = false;
        for at in std::mem::take(&mut self.ready) {
            ended.extend(self.take_answer(at));
        }
        self.reach_out(now, names, registry);
        let Dials { dials, tries, .. } = self;
        dials.retain(|dial| {
            let Some(failure) = dial.failure(now) else { return true };
            tries.retain(|_, attempt| attempt.number != dial.number);
            ended.push(DialEnd { number: dial.number, port: dial.port, outcome: Err(failure) });
            false
        });
    }

    /// Something may come of it without anything's happening.
    pub fn has_work(&self) -> bool {
        self.is_begun
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.dials.iter().map(Dial::next_due).min()
    }

    /// What the kernel has to say about a try, if it has made up its mind.
    fn take_answer(&mut self, at: usize) -> Option<DialEnd> {
        let attempt = self.tries.get(at)?;
        let outcome = answer(&attempt.stream)?;
        let Try { number, stream, address } = self.tries.remove(at);
        let of_try = |dial: &Dial| dial.number == number;
        let dial = self.dials.iter().position(of_try).expect("a try belongs to a dial");
        if let Err(error) = outcome {
            self.dials[dial].open -= 1;
            self.dials[dial].on_failure(&error);
            return None;
        }
        let port = self.dials[dial].port;
        // Who answers later has come too late.
        self.drop_dial(number);
        Some(DialEnd { number, port, outcome: Ok((stream, address)) })
    }
}

impl Dial {
    fn new(number: u64, sought: &Sought<'_>, now: Instant) -> Dial {
        Dial {
            number,
            port: sought.port,
            ends: now.plus_ms(sought.within_ms),
            places: VecDeque::new(),
            tried: Vec::new(),
            open: 0,
            next: now,
            was_refused: false,
            has_failed: false,
        }
    }

    fn add(&mut self, address: &HostPort, now: Instant, names: &mut Names) {
        let HostPort { host, port } = address;
        let end = self.places.len();
        if let Some(ip) = literal(host) {
            self.insert(end, &[SocketAddr::new(ip, *port)], *port);
        } else if names.look_up(host) {
            let wait = match names.known(host).is_empty() {
                true => Wait::News,
                false => Wait::Until(now.plus_ms(names.head_start_ms)),
            };
            self.places.push_back(Place::Named { host: host.clone(), port: *port, wait });
        } else {
            self.insert(end, names.known(host), *port);
        }
    }

    /// Puts addresses into the order of preference, those that are new.
    fn insert(&mut self, at: usize, addresses: &[SocketAddr], port: u16) {
        let mut at = at;
        for address in addresses {
            let mut address = *address;
            address.set_port(port);
            let place = Place::At(address);
            if !self.tried.contains(&address) && !self.places.contains(&place) {
                self.places.insert(at, place);
                at += 1;
            }
        }
    }

    /// The addresses take their name's place.
    fn on_found(&mut self, found: &Found, names: &Names) {
        let is_meant = |place: &Place| match place {
            Place::Named { host, .. } => *host == found.host,
            Place::At(_) => false,
        };
        while let Some(at) = self.places.iter().position(is_meant) {
            let Some(Place::Named { port, .. }) = self.places.remove(at) else { return };
            let addresses = match &found.addresses {
                Ok(addresses) => addresses,
                Err(_) => names.known(&found.host),
            };
            self.insert(at, addresses, port);
        }
    }

    /// A name that takes long is tried where it was before.
    fn end_patience(&mut self, now: Instant, names: &Names) {
        let mut at = 0;
        while at < self.places.len() {
            if let Place::Named { host, port, wait } = &mut self.places[at]
                && matches!(wait, Wait::Until(due) if *due <= now)
            {
                *wait = Wait::Nothing;
                let (known, port) = (names.known(host), *port);
                self.insert(at, known, port);
            }
            at += 1;
        }
    }

    fn wants_try(&self, now: Instant) -> bool {
        self.open == 0 || self.next <= now
    }

    fn next_address(&mut self) -> Option<SocketAddr> {
        let is_address = |place: &Place| matches!(place, Place::At(_));
        let at = self.places.iter().position(is_address)?;
        let Some(Place::At(address)) = self.places.remove(at) else { return None };
        self.tried.push(address);
        Some(address)
    }

    fn on_failure(&mut self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => self.was_refused = true,
            // There is no way to it from here, such as for IPv6 where there is none.
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {}
            _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {}
            _ => self.has_failed = true,
        }
    }

    /// How it has failed, where it has: nothing is left to be tried, or no time.
    fn failure(&self, now: Instant) -> Option<DialFailure> {
        if self.ends <= now {
            return Some(DialFailure::Unreached);
        }
        let waits = |place: &Place| match place {
            Place::At(_) => true,
            Place::Named { wait, .. } => *wait != Wait::Nothing,
        };
        if self.open > 0 || self.places.iter().any(waits) {
            return None;
        }
        let is_refused = self.was_refused && !self.has_failed;
        Some(if is_refused { DialFailure::Refused } else { DialFailure::Unreached })
    }

    fn next_due(&self) -> Instant {
        let dues = self.places.iter().filter_map(|place| match place {
            Place::At(_) => Some(self.next),
            Place::Named { wait: Wait::Until(due), .. } => Some(*due),
            Place::Named { .. } => None,
        });
        dues.min().map_or(self.ends, |due| due.min(self.ends))
    }
}

fn connect(address: SocketAddr, token: Token, registry: &Registry) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether a socket has reached the other end; none where that is still to be seen.
pub(super) fn answer(stream: &TcpStream) -> Option<io::Result<()>> {
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Some(Err(error)),
    }
    match stream.peer_addr() {
        // A socket that reaches for a port of its own machine where nobody listens may be given
        // that port, and finds itself.
        Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => {
            Some(Err(io::ErrorKind::ConnectionRefused.into()))
        }
        Ok(_) => Some(Ok(())),
        Err(e) if e.kind() == io::ErrorKind::NotConnected => None,
        Err(error) => Some(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_was_refused_where_nothing_else_came_of_any_address_there_is_a_way_to() {
        let os = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let refused = Errno::CONNREFUSED;
        let cases: [(&[Errno], DialFailure); 7] = [
            (&[], DialFailure::Unreached),
            (&[refused, refused], DialFailure::Refused),
            (&[Errno::NETUNREACH, refused], DialFailure::Refused),
            (&[refused, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT], DialFailure::Refused),
            (&[Errno::NETUNREACH, Errno::ADDRNOTAVAIL], DialFailure::Unreached),
            (&[refused, Errno::HOSTUNREACH], DialFailure::Unreached),
            (&[Errno::CONNRESET, refused], DialFailure::Unreached),
        ];
        for (errors, failure) in cases {
            let sought = Sought { addresses: &[], port: PeerPort::Election, within_ms: 1000 };
            let mut dial = Dial::new(1, &sought, Instant(5));
            errors.iter().for_each(|errno| dial.on_failure(&os(*errno)));
            assert_eq!(dial.failure(Instant(5)), Some(failure), "{errors:?}");
        }
    }
}
