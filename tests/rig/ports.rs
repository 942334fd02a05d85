//! Ports for the servers of tests, the same way as `scripts/lib/ports.py`: from below the range
//! that outgoing connections take theirs from, each held by a name in the abstract namespace of
//! unix sockets. It is there for everybody who asks on this machine, and goes with its holder.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

/// Nobody else's while this lives.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _hold: UnixDatagram,
}

impl Port {
    pub fn free() -> Port {
        // Asked in turn: a port that was just given back rests.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (first, count) = range();
        for _ in 0..count {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let place = std::process::id().wrapping_mul(61).wrapping_add(step) % count;
            let number = u16::try_from(first + place).expect("within the range");
            if let Some(port) = Port::hold(number) {
                return port;
            }
        }
        panic!("{count} ports from {first} on are all in use");
    }

    fn hold(number: u16) -> Option<Port> {
        let name = SocketAddr::from_abstract_name(format!("zkd-test-port-{number}"));
        let hold = UnixDatagram::bind_addr(&name.expect("a short name")).ok()?;
        // Somebody who asks nobody may have it all the same. It is looked up, not tried: a process
        // that another thread starts just then would keep a socket of ours open until it runs.
        (!is_in_use(number)).then_some(Port { number, _hold: hold })
    }
}

fn is_in_use(number: u16) -> bool {
    let local = format!(":{number:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|l| l.split_whitespace().nth(1).is_some_and(|a| a.ends_with(&local)))
    })
}

/// The first of the ports to choose from and how many there are.
fn range() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse);
    let (Some(Ok(low)), Some(Ok(high))) = (words.next(), words.next()) else { return PREFERRED };
    match (low, high) {
        (22_000.., _) => (20_000, u32::min(low, 32_000) - 20_000),
        (_, ..=63_000) => (high + 1, 65_535 - high),
        _ => PREFERRED,
    }
}

const PREFERRED: (u32, u32) = (20_000, 12_000);
