//! Tickets of clients, by the system's own Kerberos library.
//!
//! Decides which exchanges are kept and in which order their tokens are looked at. Never decides
//! what a principal may do or how it is named, and never holds up the reactor: the library reads
//! its keytab and writes its cache of replays at every ticket, so a thread of its own holds it.

mod gss;

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::auth::{GssapiAnswer, GssapiExchange, KerberosAsk, KerberosSaid};
use crate::base::{ConnId, limits};

use gss::{Acceptor, Context};

/// The thread, as the reactor sees it. It ends with this.
pub struct Kerberos {
    asks: Sender<KerberosAsk>,
    said: Receiver<KerberosSaid>,
    /// Of the system's configuration; empty where it names none.
    pub default_realm: String,
}

impl Kerberos {
    /// Opens the keys of `principal` and starts to take tokens for it. `wake` is called when there
    /// is something to poll for. The error is why there are no such keys.
    pub fn start(
        principal: &str,
        keytab: Option<&str>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Kerberos, String> {
        let (asks, asked) = channel();
        let (say, said) = channel();
        let (ready, opened) = channel();
        let (principal, keytab) = (principal.to_owned(), keytab.map(str::to_owned));
        let work = move || {
            let acceptor = match Acceptor::open(&principal, keytab.as_deref()) {
                Ok(acceptor) => acceptor,
                Err(reason) => {
                    let _ = ready.send(Err(reason));
                    return;
                }
            };
            let _ = ready.send(Ok(gss::default_realm().unwrap_or_default()));
            let mut desk = Desk { acceptor, exchanges: Exchanges::default() };
            for ask in asked {
                if let Some(answer) = desk.take(ask) {
                    // Nobody listens where the server has ended.
                    let _ = say.send(answer);
                    wake();
                }
            }
        };
        let named = thread::Builder::new().name("zkd-kerberos".to_owned());
        named.spawn(work).map_err(|error| format!("a thread cannot be started: {error}"))?;
        let default_realm = opened.recv().map_err(|_| "its thread has ended".to_owned())??;
        Ok(Kerberos { asks, said, default_realm })
    }

    pub fn ask(&self, ask: KerberosAsk) {
        // The thread lives as long as this does.
        let _ = self.asks.send(ask);
    }

    /// Moves what was said since the last call to the end of `out`.
    pub fn poll(&self, out: &mut Vec<KerberosSaid>) {
        out.extend(self.said.try_iter());
    }
}

/// The realm that a principal without one is in; none where the configuration names none.
pub fn default_realm() -> Option<String> {
    gss::default_realm()
}

/// Takes this `krb5.conf` instead of the system's, unless the environment names another
/// (`KRB5_CONFIG`). Has to be asked for while the process has one thread.
pub fn use_configuration(path: &str) -> Result<(), String> {
    if std::env::var_os("KRB5_CONFIG").is_some() {
        return Ok(());
    }
    gss::set_variable("KRB5_CONFIG", path)
}

struct Desk {
    acceptor: Acceptor,
    exchanges: Exchanges<GssapiExchange<Context>>,
}

impl Desk {
    fn take(&mut self, ask: KerberosAsk) -> Option<KerberosSaid> {
        let (conn, from, token) = match ask {
            KerberosAsk::Token { conn, from, token } => (conn, from, token),
            KerberosAsk::Forget { conn } => {
                self.exchanges.take(conn);
                return None;
            }
        };
        let exchange = self.exchanges.take(conn);
        let mut exchange = exchange.unwrap_or_else(|| GssapiExchange::new(self.acceptor.context()));
        let answer = match exchange.answer(&token) {
            GssapiAnswer::Failed(reason) => GssapiAnswer::Failed(shown(&reason)),
            answer => answer,
        };
        if !exchange.is_over() {
            self.exchanges.keep(conn, exchange);
        }
        Some(KerberosSaid { conn, from, token_bytes: token.len(), answer })
    }
}

/// What is begun, the oldest known.
struct Exchanges<E> {
    by_conn: HashMap<ConnId, (u64, E)>,
    by_age: BTreeMap<u64, ConnId>,
    kept: u64,
}

impl<E> Default for Exchanges<E> {
    fn default() -> Exchanges<E> {
        Exchanges { by_conn: HashMap::new(), by_age: BTreeMap::new(), kept: 0 }
    }
}

impl<E> Exchanges<E> {
    fn take(&mut self, conn: ConnId) -> Option<E> {
        let (age, exchange) = self.by_conn.remove(&conn)?;
        self.by_age.remove(&age);
        Some(exchange)
    }

    fn keep(&mut self, conn: ConnId, exchange: E) {
        if self.by_conn.len() >= limits::KERBEROS_EXCHANGES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_conn.remove(&oldest);
        }
        self.kept += 1;
        self.by_age.insert(self.kept, conn);
        self.by_conn.insert(conn, (self.kept, exchange));
    }
}

/// The library repeats what clients sent: a log line must not be made of it.
fn shown(reason: &str) -> String {
    reason.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

const SHOWN_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32, generation: u32) -> ConnId {
        ConnId { index, generation }
    }

    #[test]
    fn the_oldest_exchange_goes_for_a_new_one() {
        let mut exchanges = Exchanges::default();
        let most = limits::KERBEROS_EXCHANGES as u32;
        for index in 0..most {
            exchanges.keep(conn(index, 0), index);
        }
        // One that goes on is young again.
        assert_eq!(exchanges.take(conn(0, 0)), Some(0));
        exchanges.keep(conn(0, 0), 0);
        exchanges.keep(conn(7, 1), most);
        assert_eq!(exchanges.take(conn(1, 0)), None);
        assert_eq!(exchanges.take(conn(0, 0)), Some(0));
        assert_eq!(exchanges.take(conn(7, 0)), Some(7), "another connection's");
        assert_eq!(exchanges.take(conn(7, 1)), Some(most));
        assert_eq!(exchanges.by_age.len(), exchanges.by_conn.len());
    }

    #[test]
    fn keys_that_are_not_there_are_told_at_the_start() {
        let started = Kerberos::start("zookeeper/localhost@NOWHERE", Some("/gone/keytab"), || {});
        let reason = started.err().expect("there is no such keytab");
        assert!(reason.contains("/gone/keytab"), "{reason}");
        assert!(Kerberos::start("zoo\0keeper", None, || {}).is_err());
    }

    #[test]
    fn what_a_client_sent_makes_no_line_of_the_log() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(9999)).len(), SHOWN_CHARS);
    }
}
