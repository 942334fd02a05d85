//! Names to addresses: a short-lived thread for each look-up, so that nothing waits for a name.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::Waker;

use crate::base::limits::{LOOK_UP_HEAD_START_MS, LOOK_UPS, NAME_ADDRESSES, NAMES_KEPT};

/// Look-ups under way, and what the last ones have found.
pub struct Names {
    resolver: Resolver,
    /// How long a name that is known from before is waited for.
    pub head_start_ms: u64,
    waker: Arc<Waker>,
    to_us: Sender<Found>,
    found: Receiver<Found>,
    under_way: Vec<String>,
    /// Who was looked up last comes last.
    known: VecDeque<(String, Vec<SocketAddr>)>,
}

/// May take as long as it likes; the ports of what it gives do not count.
pub type Resolver = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// What a look-up has come to.
#[derive(Debug)]
pub struct Found {
    pub host: String,
    pub addresses: Result<Vec<SocketAddr>, String>,
}

impl Names {
    pub fn new(waker: Arc<Waker>) -> Names {
        let (to_us, found) = channel();
        let (under_way, known) = (Vec::new(), VecDeque::new());
        let head_start_ms = LOOK_UP_HEAD_START_MS;
        Names { resolver: system, head_start_ms, waker, to_us, found, under_way, known }
    }

    #[cfg(test)]
    pub fn resolve_with(&mut self, resolver: Resolver) {
        self.resolver = resolver;
    }

    /// Begins a look-up, or lets an earlier one of the same name go on. False where there is no
    /// room for it.
    pub fn look_up(&mut self, host: &str) -> bool {
        if self.under_way.iter().any(|name| name == host) {
            return true;
        }
        if self.under_way.len() >= LOOK_UPS {
            return false;
        }
        let (resolver, waker, to_us) = (self.resolver, Arc::clone(&self.waker), self.to_us.clone());
        let name = host.to_owned();
        let look_up = move || {
            let addresses = match resolver(&name).map(in_order) {
                Ok(none) if none.is_empty() => Err("it has no address".to_owned()),
                other => other.map_err(|e| e.to_string()),
            };
            // Both fail only where the loop is gone, and then nobody waits for it.
            let _ = to_us.send(Found { host: name, addresses });
            let _ = waker.wake();
        };
        let begun = thread::Builder::new().name("look-up".to_owned()).spawn(look_up).is_ok();
        if begun {
            self.under_way.push(host.to_owned());
        }
        begun
    }

    /// The next look-up that has ended.
    pub fn take(&mut self) -> Option<Found> {
        if self.under_way.is_empty() {
            return None;
        }
        let found = self.found.try_recv().ok()?;
        self.under_way.retain(|name| *name != found.host);
        if let Ok(addresses) = &found.addresses {
            self.known.retain(|(name, _)| *name != found.host);
            if self.known.len() >= NAMES_KEPT {
                self.known.pop_front();
            }
            self.known.push_back((found.host.clone(), addresses.clone()));
        }
        Some(found)
    }

    /// What the last look-up that succeeded has found.
    pub fn known(&self, host: &str) -> &[SocketAddr] {
        let entry = self.known.iter().find(|(name, _)| name == host);
        entry.map_or(&[], |(_, addresses)| addresses)
    }
}

/// The address that a host is written as, where it is no name.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

fn system(host: &str) -> io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

/// IPv4 first, as Java does: a server of Java's listens at the first address of its name alone.
fn in_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut kept: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if kept.len() < NAME_ADDRESSES && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    struct Bench {
        poll: Poll,
        names: Names,
    }

    impl Bench {
        fn new(resolver: Resolver) -> Bench {
            let poll = Poll::new().expect("a poll");
            let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
            let mut names = Names::new(Arc::new(waker));
            names.resolve_with(resolver);
            Bench { poll, names }
        }

        /// Waits for the loop to be woken by a look-up.
        fn wait(&mut self) -> Found {
            let mut events = Events::with_capacity(1);
            loop {
                if let Some(found) = self.names.take() {
                    return found;
                }
                self.poll.poll(&mut events, Some(Duration::from_secs(20))).expect("polled");
                assert!(!events.is_empty(), "nobody woke the loop");
            }
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn both_families(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(["[::2]:0", "10.0.0.2:0", "[::1]:0", "10.0.0.1:0", "10.0.0.2:0"].map(address).to_vec())
    }

    #[test]
    fn ipv4_comes_first_in_the_resolvers_order_and_nothing_twice() {
        let mut bench = Bench::new(both_families);
        assert!(bench.names.look_up("server"));
        let found = bench.wait();
        let expected = ["10.0.0.2:0", "10.0.0.1:0", "[::2]:0", "[::1]:0"].map(address).to_vec();
        assert_eq!(found.addresses, Ok(expected.clone()));
        assert_eq!(bench.names.known("server"), expected);
        assert!(bench.names.known("other").is_empty());
    }

    fn good_once(host: &str) -> io::Result<Vec<SocketAddr>> {
        static ASKED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        match ASKED.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Ok(vec![address("10.0.0.7:0")]),
            _ => Err(io::Error::other(format!("{host} is gone"))),
        }
    }

    #[test]
    fn a_name_that_is_gone_keeps_the_addresses_it_had() {
        let mut bench = Bench::new(good_once);
        assert!(bench.names.look_up("server"));
        assert!(bench.wait().addresses.is_ok());
        assert!(bench.names.look_up("server"));
        assert_eq!(bench.wait().addresses, Err("server is gone".to_owned()));
        assert_eq!(bench.names.known("server"), [address("10.0.0.7:0")]);
    }

    fn never(_: &str) -> io::Result<Vec<SocketAddr>> {
        loop {
            thread::park();
        }
    }

    #[test]
    fn look_ups_that_hang_are_as_many_as_there_may_be_and_one_a_name() {
        let mut bench = Bench::new(never);
        for n in 0..LOOK_UPS {
            assert!(bench.names.look_up(&format!("server{n}")));
        }
        assert!(bench.names.look_up("server0"), "it is under way");
        assert_eq!(bench.names.under_way.len(), LOOK_UPS);
        assert!(!bench.names.look_up("one.more"));
    }

    fn from_the_name(host: &str) -> io::Result<Vec<SocketAddr>> {
        let n: u32 = host.parse().map_err(io::Error::other)?;
        Ok(vec![SocketAddr::new(IpAddr::from(n.to_be_bytes()), 0)])
    }

    #[test]
    fn of_many_names_the_latest_are_kept() {
        let mut bench = Bench::new(from_the_name);
        let count = NAMES_KEPT as u32 + 1;
        for n in 0..count {
            assert!(bench.names.look_up(&n.to_string()));
            bench.wait();
        }
        assert!(bench.names.known("0").is_empty());
        assert_eq!(bench.names.known("1").len(), 1);
        assert_eq!(bench.names.known.len(), NAMES_KEPT);
    }
}
