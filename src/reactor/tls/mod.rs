//! TLS on the links: what a link speaks, its handshake, and the keys it is spoken with.

mod greet;
mod guests;
mod keys;
mod older;
mod renewal;
mod session;

pub use greet::Meeting;
pub use keys::Keys;
pub use renewal::Renewal;
pub use session::{Session, Step, Wire};

use crate::base::Instant;
use crate::base::limits::HANDSHAKES_AT_ONCE;
use crate::config::Tls;

use super::deadlines::Deadlines;

/// Handshakes under way, and what became of those before.
#[derive(Debug)]
pub struct Handshakes {
    /// None: no port takes TLS.
    pub renewal: Option<Renewal>,
    /// Connections that are not the node's yet.
    pub under_way: usize,
    most: usize,
    /// Steps left in this turn.
    pub steps: usize,
    /// Since somebody asked: those that failed, and those for which there was no room.
    pub failed: u64,
    pub exceeded: u64,
    /// When connections that have not said what they speak, or not finished, are looked at again.
    pub detections: Deadlines,
    pub ends: Deadlines,
}

impl Handshakes {
    pub fn new(renewal: Option<Renewal>, detection_ms: u64, limit: Option<u32>) -> Handshakes {
        let limit = limit.map_or(HANDSHAKES_AT_ONCE, |limit| limit as usize);
        Handshakes {
            renewal,
            under_way: 0,
            most: limit.min(HANDSHAKES_AT_ONCE),
            steps: 0,
            failed: 0,
            exceeded: 0,
            detections: Deadlines::new(detection_ms),
            ends: Deadlines::new(HANDSHAKE_MS),
        }
    }

    pub fn has_room(&self) -> bool {
        self.under_way < self.most
    }

    pub fn next_due(&self) -> Option<Instant> {
        [self.detections.next(), self.ends.next()].into_iter().flatten().min()
    }
}

/// Reads the stores as the start would: why it would not go on.
pub fn check_stores(tls: &Tls) -> Result<(), String> {
    if tls.is_used() {
        Keys::load(tls)?;
    }
    Ok(())
}

/// How long a handshake may take, as in Java.
const HANDSHAKE_MS: u64 = 10_000;
