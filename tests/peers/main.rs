//! Voters of zkd over real sockets: among themselves, beside real Java servers, and among those
//! who mean no good. What Java says to Java is recorded here too, and replayed.
//!
//! No server runs here but Java's: each voter is a thread of the test's own that carries out what
//! one `Mesh` and one `Election` want (`voter`, `wiring`, `sockets`).

mod alone;
mod asking;
mod beside_java;
mod ensemble;
mod hostile;
mod java;
mod java_elects;
#[path = "../rig/ports.rs"]
mod ports;
mod recording;
mod relay;
mod replay;
mod sockets;
mod speech;
mod transcript;
mod voter;
mod wiring;

use std::time::Duration;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);
