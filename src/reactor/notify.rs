//! Words to the service manager over the socket it names, if it names one.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::base::Instant;

/// Never blocks and never fails: a manager that does not listen is not served.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    every_ms: u64,
    due: Instant,
}

impl Notifier {
    pub fn from_env() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Notifier::default() };
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|p| p == u64::from(std::process::id()));
        // Twice as often as asked for, as the manager's own manual advises.
        let every_ms = number("WATCHDOG_USEC").filter(|us| *us > 0 && is_ours);
        let every_ms = every_ms.map(|us| (us / 2000).max(1));
        Notifier::new(name.as_bytes(), every_ms)
    }

    /// `name` is a path, or an abstract name behind an `@`.
    pub fn new(name: &[u8], watchdog_ms: Option<u64>) -> Notifier {
        let address = match name.split_first() {
            Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
            Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
            _ => return Notifier::default(),
        };
        let connect = |address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        match address.and_then(connect) {
            Ok(socket) => {
                let watchdog = watchdog_ms.map(|every_ms| Watchdog { every_ms, due: Instant(0) });
                Notifier { socket: Some(socket), watchdog }
            }
            Err(error) => {
                log::warn!("NOTIFY_SOCKET cannot be reached: {error}");
                Notifier::default()
            }
        }
    }

    pub fn ready(&self) {
        self.send("READY=1\n");
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// Tells the watchdog that turns go on, where it is time.
    pub fn alive(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if now >= watchdog.due {
            watchdog.due = now.plus_ms(watchdog.every_ms);
            self.send("WATCHDOG=1\n");
        }
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|w| w.due)
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> (UnixDatagram, Vec<u8>) {
        let name = format!("zkd-notify-{}-{:?}", std::process::id(), std::thread::current().id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        (socket, [b"@", name.as_bytes()].concat())
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn the_manager_hears_ready_stopping_and_a_steady_heartbeat() {
        let (socket, name) = listener();
        let mut notifier = Notifier::new(&name, Some(50));
        notifier.ready();
        assert_eq!(next(&socket), "READY=1\n");
        let now = Instant(1_000_000_000);
        notifier.alive(now);
        notifier.alive(now.plus_ms(49));
        notifier.alive(now.plus_ms(50));
        notifier.stopping();
        assert_eq!(next(&socket), "WATCHDOG=1\n");
        assert_eq!(next(&socket), "WATCHDOG=1\n");
        assert_eq!(next(&socket), "STOPPING=1\n");
        assert_eq!(notifier.next_due(), Some(now.plus_ms(100)));
    }

    #[test]
    fn a_manager_that_is_not_there_is_nobody() {
        for name in [&b"/nonexistent/socket"[..], b"@zkd-nobody-listens", b"relative", b""] {
            let mut notifier = Notifier::new(name, Some(1));
            notifier.ready();
            notifier.alive(Instant(5));
            assert_eq!(notifier.next_due(), None);
        }
    }
}
