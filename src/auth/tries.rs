//! How often passwords were tried in vain, so that nobody can try them all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::base::{Instant, limits};

/// Failed tries by network and user. Each pair has some at once and then some a second; a proof
/// with the right password counts for as little as any other while they are used up.
#[derive(Debug)]
pub(super) struct Tries {
    at_once: u32,
    a_second: u32,
    failed: BTreeMap<(IpAddr, String), Failed>,
    last_sweep: Instant,
}

#[derive(Debug)]
struct Failed {
    count: u32,
    /// Up to when those in the past have been forgiven.
    since: Instant,
}

impl Failed {
    /// Forgives so many a second.
    fn settle(&mut self, a_second: u32, now: Instant) {
        let seconds = now.ms_since(self.since) / 1000;
        let forgiven = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(a_second);
        self.count = self.count.saturating_sub(forgiven);
        self.since = self.since.plus_ms(seconds * 1000);
    }
}

impl Tries {
    pub fn new(at_once: u32, a_second: u32) -> Tries {
        Tries { at_once, a_second, failed: BTreeMap::new(), last_sweep: Instant::default() }
    }

    pub fn admit(&mut self, from: IpAddr, user: &str, now: Instant) -> bool {
        let Some(failed) = self.failed.get_mut(&(network(from), user.to_owned())) else {
            return true;
        };
        failed.settle(self.a_second, now);
        failed.count < self.at_once
    }

    pub fn note_failure(&mut self, from: IpAddr, user: &str, now: Instant) {
        let key = (network(from), user.to_owned());
        if !self.failed.contains_key(&key) && !self.has_room(now) {
            return;
        }
        let failed = self.failed.entry(key).or_insert(Failed { count: 0, since: now });
        failed.settle(self.a_second, now);
        failed.count += 1;
    }

    /// Forgets whom nothing is held against, once a second where the table is full. Where it
    /// stays full, ten thousand networks try at once, and one more makes no difference.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.failed.len() < limits::SASL_TRIED_PAIRS {
            return true;
        }
        if now.ms_since(self.last_sweep) >= 1000 {
            self.last_sweep = now;
            self.failed.retain(|_, failed| {
                failed.settle(self.a_second, now);
                failed.count > 0
            });
        }
        self.failed.len() < limits::SASL_TRIED_PAIRS
    }
}

/// An IPv6 host has a whole /64 to come from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_user_s_tries_from_one_network_run_out_and_come_back() {
        let (near, far) = (address("2001:db8::1"), address("10.0.0.1"));
        let mut tries = Tries::new(limits::SASL_FAILED_TRIES, 1);
        let now = Instant(5_000_000_000);
        for _ in 0..limits::SASL_FAILED_TRIES {
            assert!(tries.admit(near, "bob", now));
            tries.note_failure(near, "bob", now);
        }
        assert!(!tries.admit(near, "bob", now));
        assert!(!tries.admit(address("2001:db8::ffff:2"), "bob", now), "the same network");
        assert!(tries.admit(near, "eve", now) && tries.admit(far, "bob", now));
        assert!(!tries.admit(near, "bob", now.plus_ms(999)));
        assert!(tries.admit(near, "bob", now.plus_ms(1000)));
        tries.note_failure(near, "bob", now.plus_ms(1000));
        assert!(!tries.admit(near, "bob", now.plus_ms(1999)));
        assert!(tries.admit(near, "bob", now.plus_ms(2000)));
    }

    #[test]
    fn so_many_come_back_a_second_as_are_allowed() {
        let near = address("10.0.0.1");
        let mut tries = Tries::new(5, 3);
        let now = Instant(5_000_000_000);
        (0..5).for_each(|_| tries.note_failure(near, "", now));
        assert!(!tries.admit(near, "", now.plus_ms(999)));
        for _ in 0..3 {
            assert!(tries.admit(near, "", now.plus_ms(1000)));
            tries.note_failure(near, "", now.plus_ms(1000));
        }
        assert!(!tries.admit(near, "", now.plus_ms(1000)));
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_for_what_is_forgiven() {
        let mut tries = Tries::new(limits::SASL_FAILED_TRIES, 1);
        let now = Instant(5_000_000_000);
        for n in 0..limits::SASL_TRIED_PAIRS + 10 {
            tries.note_failure(address("10.0.0.1"), &format!("u{n}"), now);
        }
        assert_eq!(tries.failed.len(), limits::SASL_TRIED_PAIRS);
        tries.note_failure(address("10.0.0.1"), "late", now.plus_ms(1500));
        assert_eq!(tries.failed.len(), 1);
    }
}
