//! What a run has shown, in order: what the checkers judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zkd::base::{Instant, ServerId};
use zkd::peering::{PeerState, Vote};

use crate::env_number;

/// What one member does, or what is seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The process starts, with nothing but what is on its disk.
    Born,
    Died,
    /// It looks for a leader with this on its disk.
    Looks {
        zxid: i64,
        epoch: i64,
    },
    /// It has come to this round while it looks.
    Round(i64),
    /// It has heard a voter.
    Heard {
        from: ServerId,
        state: PeerState,
        vote: Vote,
    },
    /// It knows that nobody listens there, or no longer.
    Refused {
        server: ServerId,
        is_so: bool,
    },
    /// Its own vote is another.
    Proposes(Vote),
    Decided {
        vote: Vote,
        role: PeerState,
        supporters: BTreeSet<ServerId>,
        joined: bool,
    },
    /// A better vote came before the role was taken up.
    Reopened,
    /// It has taken up its role: it can be connected to, or has been let in.
    Settled {
        role: PeerState,
        leader: ServerId,
        round: i64,
    },
    /// It has no role any more.
    Left,
    /// Its epochs, whenever one of them was written.
    Epochs {
        accepted: i64,
        current: i64,
    },
    /// A quorum follows it in this epoch; what it had when it was elected.
    Established {
        epoch: i64,
        zxid: i64,
        epoch_before: i64,
    },
    /// A quorum has it on disk.
    Committed {
        zxid: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Instant,
    /// By its place in the plan.
    pub member: usize,
    pub deed: Deed,
}

#[derive(Debug, Default)]
pub struct History {
    pub entries: Vec<Entry>,
    pub counters: BTreeMap<&'static str, u64>,
    /// A running hash of everything that was said and decided.
    pub trace: u64,
}

impl History {
    pub fn note(&mut self, at: Instant, member: usize, deed: Deed) {
        self.mix(&at.0.to_be_bytes());
        self.mix(format!("{member} {deed:?}").as_bytes());
        self.entries.push(Entry { at, member, deed });
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    pub fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The end of it, one line each: without what was only heard or tried, unless that is asked
    /// for.
    pub fn tail(&self) -> String {
        let (lines, is_all_told) = match env_number("ZKD_SIM_HEARD") {
            Some(lines) => (usize::try_from(lines).unwrap_or(usize::MAX), true),
            None => (80, false),
        };
        let is_deed = |deed: &Deed| !matches!(deed, Deed::Heard { .. } | Deed::Refused { .. });
        let told: Vec<&Entry> =
            self.entries.iter().filter(|entry| is_all_told || is_deed(&entry.deed)).collect();
        let from = told.len().saturating_sub(lines);
        told[from..].iter().map(|entry| format!("{entry}\n")).collect()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.at.0 / 1000 - 1_000_000;
        write!(f, "{:>6}.{:03} member {} {:?}", us / 1000, us % 1000, self.member, self.deed)
    }
}
