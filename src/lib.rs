//! zkd: a coordination server that speaks Apache ZooKeeper's three languages.
//!
//! # The rooms
//!
//! A room uses only rooms of a lower rank; rooms of equal rank do not know each other and meet in
//! `node`. A pure room (P) has values in and values out: no socket, file, thread, clock or OS
//! randomness, so the simulator and the real server run the same code. `tests/tidy.rs` holds the
//! house to this.
//!
//! | rank | room | what it decides |
//! |---|---|---|
//! | 0 P | [`base`] | vocabulary: ids, time, limits, fatal reasons, counters |
//! | 1 P | [`proto`] | bytes to records and back: jute, frames, requests, replies, txns |
//! | 1 P | [`members`] | who is in the ensemble and what is enough |
//! | 2 P | [`config`] | `zoo.cfg` text to a checked configuration |
//! | 2 P | [`state`] | the replicated state; `apply(txn)`; the snapshot cursor |
//! | 2 P | [`auth`] | credential to identities; the ACL check |
//! | 2 P | [`history`] | log and snapshot formats over bytes; the recovery verdict |
//! | 2 P | [`stores`] | JKS, PKCS12 and PEM to keys and certificates; names of subjects |
//! | 2 P | [`peering`] | what peers say to each other: notifications, quorum packets |
//! | 3 P | [`watch`] | changes to notifications |
//! | 3 P | [`prepare`] | request + state + what is in flight to one txn or an error |
//! | 4 P | [`election`] | votes and rounds: who leads; which link of two servers stays |
//! | 4 P | `zab` | propose, durable, commit: positions and their order |
//! | 4 P | [`session`] | who is alive: expiry buckets, passwords, ownership |
//! | 4 P | `serve` | the order of one session's requests; reads and replies |
//! | 5 P | [`node`] | the seam: events in, effects out; the turn |
//! | 6 P | [`admin`] | four-letter words and metrics, rendered |
//! | 7 | [`disk`] | log thread and chore thread; the only room with files |
//! | 7 | `reactor` | poll, links, signals; the only room with sockets and clocks |
//! | 7 | `kerberos` | tokens to a Kerberos library and back, on a thread (feature `kerberos`) |
//! | 7 | [`client`] | the client library for tools and tests |
//!
//! # The path of a write
//!
//! `reactor` cuts a frame off a connection's bytes → `proto` decodes it → `serve` queues it behind
//! the session's earlier requests → `zab` lends `prepare` the next zxid and wall time → `prepare`
//! turns it into exactly one txn (success, error or multi) → the txn's record joins this turn's
//! `Append` → the log thread makes it durable → `Durable(ticket)` comes back as an event → `zab`
//! commits → `state` applies → `watch` turns changes into notifications → `serve` answers, and the
//! reads that waited behind it run. A standalone server is a leader with one voter and no ports:
//! there is no shorter path.

pub mod admin;
pub mod auth;
pub mod base;
pub mod client;
pub mod config;
pub mod disk;
pub mod election;
pub mod history;
#[cfg(feature = "kerberos")]
pub mod kerberos;
pub mod members;
pub mod node;
pub mod peering;
pub mod prepare;
pub mod proto;
pub mod reactor;
pub mod serve;
pub mod session;
pub mod state;
pub mod stores;
pub mod watch;
pub mod zab;
