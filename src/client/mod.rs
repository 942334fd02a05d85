//! The client library: for the shell, the bench, the loader and the tests.
//!
//! A [`Connection`] is one socket, bare or sealed by [`Tls`], that its owner drives: calls go out
//! pipelined, replies and events come back as values in the order of the wire. A [`Client`] is a
//! session on top of it: it dials the servers of a list in turn, opens the session again with its
//! id and password, proves its user and gives its identities again, and sets its watches again
//! from the last zxid it saw. It has no thread: pings leave while its owner waits in one of its
//! calls or in [`Client::rest`]. It decides nothing about retrying: a call that was under way when
//! a connection was lost says so.

mod answer;
mod call;
mod channel;
mod connection;
mod convenience;
mod error;
mod sasl;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod watches;

pub use answer::{Answer, PartAnswer};
pub use call::{Call, NewNode, Part, WatchLists};
pub use channel::Channel;
pub use connection::{Connection, Event, Message, Reply, SessionKey};
pub use error::Error;
pub use sasl::Sasl;
pub use session::{Client, Notice, Settings};
pub use tls::{Tls, TlsFault, TlsFiles, TlsPart, TlsVersion, certified};
pub use watches::WatchBook;
