//! The limit on open files, which every connection takes one of.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::limits::PEER_FILES;

/// How many connections leave enough of so many descriptors for the files of the server: its log
/// must be able to roll, whoever connects.
pub fn room_for_connections(limit: u64) -> u64 {
    limit - OWN_FILES.min(limit / 4)
}

/// How many of them clients leave to peers.
pub fn kept_for_peers(room: u64) -> usize {
    PEER_FILES.min(usize::try_from(room / 8).unwrap_or(PEER_FILES))
}

const OWN_FILES: u64 = 64;

/// Raises the soft limit to the hard one; the limit that holds afterwards, if there is one.
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}
