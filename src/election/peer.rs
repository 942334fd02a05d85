//! One other server on the election port, as the mesh sees it.

use crate::base::limits::{ELECTION_DIAL_BACK_MS, ELECTION_REDIAL_MS};
use crate::base::{ConnId, Instant};
use crate::peering::{HostPort, Notification};

/// A member as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its election addresses, which are looked up at every dial.
    pub addresses: Vec<HostPort>,
    /// Links to voters are kept up; others are dialled when there is something to say.
    pub voter: bool,
}

/// How a server can be reached on the election port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Unknown,
    Linked,
    /// There is no link, and at the last dial nobody listened.
    Refused,
}

/// Why a server is not dialled before a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It could not be reached.
    Failed,
    /// It is greater and knows that it is wanted.
    DialBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub conn: ConnId,
    pub since: Instant,
    /// Bytes wait to be taken: what comes now is queued.
    pub blocked: bool,
}

/// A dial under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dial {
    pub number: u64,
    /// Only asks whether somebody listens.
    pub knocks: bool,
    pub addresses: Vec<HostPort>,
}

#[derive(Debug)]
pub(super) struct Peer {
    /// Unnamed by the configuration where there is none.
    pub spec: Option<PeerSpec>,
    /// The addresses its initial message gave: used once, before those of the configuration.
    pub given: Vec<HostPort>,
    pub link: Option<Link>,
    pub dial: Option<Dial>,
    /// What it is to be told; only the newest counts.
    pub queued: Option<Notification>,
    pub reach: Reach,
    /// When it was last heard.
    pub heard: Instant,
    /// When it is dialled again.
    pub again: Option<Instant>,
    /// Not before, whatever there is to say.
    rests_until: Instant,
    pause_ms: u64,
    /// How often it is still asked whether it lives, unless it shows that it does.
    knocks: u8,
}

impl Peer {
    pub fn new(now: Instant) -> Peer {
        Peer {
            spec: None,
            given: Vec::new(),
            link: None,
            dial: None,
            queued: None,
            reach: Reach::Unknown,
            heard: now,
            again: None,
            rests_until: now,
            pause_ms: ELECTION_REDIAL_MS,
            knocks: 0,
        }
    }

    pub fn is_stranger(&self) -> bool {
        self.spec.is_none()
    }

    pub fn is_voter(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.voter)
    }

    /// Whether a link should be made of this server's own accord.
    pub fn is_wanted(&self) -> bool {
        let reason = self.is_voter() || self.queued.is_some();
        self.link.is_none() && self.dial.is_none() && reason && !self.addresses().is_empty()
    }

    /// Where to dial it, in the order of preference.
    pub fn addresses(&self) -> Vec<HostPort> {
        let mut addresses = self.given.clone();
        for address in self.spec.iter().flat_map(|spec| &spec.addresses) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    /// Sets when it is dialled again; each pause is twice the one before, up to a tick.
    pub fn rest(&mut self, now: Instant, pause: Pause, tick_ms: u64) {
        let least = match pause {
            Pause::Failed => ELECTION_REDIAL_MS,
            Pause::DialBack => ELECTION_DIAL_BACK_MS,
        };
        let pause_ms = self.pause_ms.max(least);
        self.rests_until = now.plus_ms(least);
        self.again = Some(now.plus_ms(pause_ms));
        self.pause_ms = pause_ms.saturating_mul(2).min(tick_ms.max(least));
    }

    /// Its link is gone, and it dials if it lives. Whether it does is asked more than once: the
    /// port of a server that dies is open a little longer than its links.
    pub fn doubt(&mut self) {
        self.knocks = KNOCKS;
    }

    /// Somebody was there. Asked again soon, until that is certain enough.
    pub fn knocked(&mut self, now: Instant, tick_ms: u64) {
        self.knocks = self.knocks.saturating_sub(1);
        if self.knocks > 0 {
            self.rests_until = now.plus_ms(ELECTION_DIAL_BACK_MS);
            self.again = Some(now.plus_ms(ELECTION_REDIAL_MS));
        } else {
            self.rest(now, Pause::DialBack, tick_ms);
        }
    }

    pub fn is_doubted(&self) -> bool {
        self.knocks > 0
    }

    pub fn believe(&mut self) {
        self.knocks = 0;
    }

    /// Who does not vote asks when it wants to know something: it is not sought for an answer.
    pub fn leave_be_unless_voter(&mut self) {
        if !self.is_voter() {
            self.again = None;
        }
    }

    /// There is something to say: not later than the shortest pause allows.
    pub fn hasten(&mut self, now: Instant) {
        let soon = self.rests_until.max(now);
        self.again = Some(self.again.map_or(soon, |again| again.min(soon)));
    }

    /// It has shown itself: the next pauses are short again.
    pub fn refresh(&mut self, now: Instant) {
        self.pause_ms = ELECTION_REDIAL_MS;
        self.rests_until = now;
    }
}

/// How often a server whose link is gone is asked whether it lives.
const KNOCKS: u8 = 3;
