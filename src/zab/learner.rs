//! One learner as its leader sees it: what is awaited from it, from where it is sent, and whether
//! it is still alive.

use crate::base::{Instant, ServerId, Zxid};

use super::feed::{Feed, LearnerKind};

/// Named for what is awaited.
#[derive(Debug)]
pub(super) enum Stage {
    /// FOLLOWERINFO or OBSERVERINFO.
    AwaitInfo,
    /// The new epoch is not known yet, or not on disk.
    AwaitEpoch(Known),
    AwaitAckEpoch(Known),
    /// A quorum has not accepted the epoch yet. The learner's history ends with `peer`.
    AwaitAgreement {
        known: Known,
        peer: Zxid,
    },
    /// The log is asked where it stands.
    AwaitProbe {
        known: Known,
        peer: Zxid,
    },
    /// ACK of NEWLEADER; until then it only takes.
    AwaitNewLeaderAck {
        known: Known,
        feed: Feed,
        is_snap: bool,
    },
    /// It has the history, and is up to date as soon as the leader is established.
    Synced {
        known: Known,
        feed: Feed,
    },
}

/// What a learner has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub server: ServerId,
    pub kind: LearnerKind,
    pub protocol: i32,
    /// What FOLLOWERINFO named: to learners without LEADERINFO their last zxid.
    pub said: Zxid,
}

#[derive(Debug)]
pub(super) struct Learner {
    pub stage: Stage,
    /// Its socket takes so many bytes; the feed knows it from when there is one.
    pub room: usize,
    /// When it last said something, or took something of what it is brought up by.
    pub heard: Instant,
    /// The tick up to which it counts as synchronised.
    pub deadline_tick: u64,
    pub watch: AckWatch,
    /// Pings answered since UPTODATE: the n-th answer is to the n-th ping.
    pub answered: u64,
}

/// How long a learner may say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is waiting for us.
    Endless,
    InitLimit,
    SyncLimit,
}

impl Learner {
    pub fn new(now: Instant, room: usize, deadline_tick: u64) -> Learner {
        let watch = AckWatch::default();
        Learner { stage: Stage::AwaitInfo, room, heard: now, deadline_tick, watch, answered: 0 }
    }

    pub fn known(&self) -> Option<&Known> {
        match &self.stage {
            Stage::AwaitInfo => None,
            Stage::AwaitEpoch(known)
            | Stage::AwaitAckEpoch(known)
            | Stage::AwaitAgreement { known, .. }
            | Stage::AwaitProbe { known, .. }
            | Stage::AwaitNewLeaderAck { known, .. }
            | Stage::Synced { known, .. } => Some(known),
        }
    }

    pub fn server(&self) -> Option<ServerId> {
        self.known().map(|known| known.server)
    }

    pub fn feed(&self) -> Option<&Feed> {
        match &self.stage {
            Stage::AwaitNewLeaderAck { feed, .. } | Stage::Synced { feed, .. } => Some(feed),
            _ => None,
        }
    }

    pub fn feed_mut(&mut self) -> Option<&mut Feed> {
        match &mut self.stage {
            Stage::AwaitNewLeaderAck { feed, .. } | Stage::Synced { feed, .. } => Some(feed),
            _ => None,
        }
    }

    pub fn is_synced(&self) -> bool {
        matches!(self.stage, Stage::Synced { .. })
    }

    /// Between the decision and the ACK of NEWLEADER: whether by an image.
    pub fn is_syncing_by_snap(&self) -> Option<bool> {
        match self.stage {
            Stage::AwaitNewLeaderAck { is_snap, .. } => Some(is_snap),
            _ => None,
        }
    }

    pub fn patience(&self) -> Patience {
        match &self.stage {
            Stage::AwaitInfo | Stage::AwaitAckEpoch(_) | Stage::AwaitNewLeaderAck { .. } => {
                Patience::InitLimit
            }
            Stage::AwaitEpoch(_) | Stage::AwaitAgreement { .. } | Stage::AwaitProbe { .. } => {
                Patience::Endless
            }
            Stage::Synced { feed, .. } if feed.is_up_to_date() => Patience::SyncLimit,
            // Before UPTODATE it answers no pings; no leader waits longer than that for a quorum.
            Stage::Synced { .. } => Patience::InitLimit,
        }
    }
}

/// Since when an ACK is outstanding. As in Java only two proposals are looked at: when the first
/// is acknowledged, the last one sent by then takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AckWatch {
    first: Option<(Zxid, Instant)>,
    last: Option<(Zxid, Instant)>,
}

impl AckWatch {
    pub fn on_sent(&mut self, zxid: Zxid, now: Instant) {
        match self.first {
            None => self.first = Some((zxid, now)),
            Some(_) => self.last = Some((zxid, now)),
        }
    }

    pub fn on_ack(&mut self, zxid: Zxid) {
        let is = |watched: Option<(Zxid, Instant)>| watched.is_some_and(|(of, _)| of == zxid);
        if is(self.first) {
            self.first = self.last.take();
        } else if is(self.last) {
            self.last = None;
        }
    }

    pub fn waits_ms(&self, now: Instant) -> u64 {
        self.first.map_or(0, |(_, since)| now.ms_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ack_that_is_awaited_is_followed_by_the_latest() {
        let at = |ms| Instant::default().plus_ms(ms);
        let mut watch = AckWatch::default();
        assert_eq!(watch.waits_ms(at(9)), 0);
        for (zxid, ms) in [(1, 10), (2, 20), (3, 30)] {
            watch.on_sent(Zxid(zxid), at(ms));
        }
        assert_eq!(watch.waits_ms(at(40)), 30);
        watch.on_ack(Zxid(2));
        assert_eq!(watch.waits_ms(at(40)), 30, "nobody looked at the second");
        watch.on_ack(Zxid(1));
        assert_eq!(watch.waits_ms(at(40)), 10);
        watch.on_ack(Zxid(3));
        assert_eq!(watch.waits_ms(at(40)), 0);
    }
}
