//! Time: pings, ticks, limits, and whether there is still a quorum.

use std::collections::BTreeSet;

use crate::base::{ConnId, Instant, ServerId, Zxid};

use super::super::feed::{Feed, LearnerKind, Source};
use super::super::learner::Learner;
use super::{Ended, Leadership, Turn};

/// What operators see of a learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerView {
    pub server: ServerId,
    pub kind: LearnerKind,
    pub is_voter: bool,
    /// It has acknowledged NEWLEADER and was heard of in time.
    pub is_synced: bool,
    /// The last txn that it has or was sent, and where the next comes from.
    pub sent: Option<(Zxid, Source)>,
    /// Pings since UPTODATE and how many of them it has answered.
    pub pings: (u64, u64),
    /// While it is brought up: whether by an image.
    pub is_by_snap: Option<bool>,
}

impl Leadership {
    /// When `Input::Time` is due though nothing may happen.
    pub fn next_timeout(&self) -> Option<Instant> {
        let phase = (!self.is_established()).then_some(self.phase_due);
        let next = phase.into_iter().fold(self.half_due, Instant::min);
        (!self.is_over).then_some(next)
    }

    pub fn learners(&self) -> impl Iterator<Item = LearnerView> + '_ {
        self.feeding.views(&self.ring, self.tick, move |server| self.is_voter(server))
    }

    /// Who is at the other end, once it has said so.
    pub fn server_of(&self, link: ConnId) -> Option<ServerId> {
        self.feeding.get(link)?.server()
    }

    /// Learners' syncs that are not answered yet.
    pub fn pending_syncs(&self) -> usize {
        self.feeding.iter().filter_map(Learner::feed).map(Feed::pending_syncs).sum()
    }

    /// A server that did nothing for that long is not followed any more, whatever lies in its
    /// sockets: others may have elected a leader by now.
    pub(super) fn notice_stall(&mut self, turn: &mut Turn<'_>) {
        assert!(turn.now >= self.now, "time goes forward");
        let ms = turn.now.ms_since(self.now);
        self.now = turn.now;
        if ms >= self.settings.sync_limit_ms() {
            self.end(turn, Ended::Stalled { ms });
        }
    }

    pub(super) fn on_looking(&mut self, turn: &mut Turn<'_>, server: ServerId) {
        let waited_ms = turn.now.ms_since(self.began);
        let is_too_long = self.settings.max_wait_for_epoch_ms.is_some_and(|most| waited_ms > most);
        if is_too_long && self.discovery.is_awaiting_epochs() && self.is_voter(server) {
            self.end(turn, Ended::VoterChangedMind { server });
        }
    }

    /// A tick is counted from here on, and its first half ends later.
    pub(super) fn begin_ticks(&mut self, now: Instant) {
        self.tick = 0;
        self.is_half_tick = false;
        self.half_due = now.plus_ms(self.settings.tick_ms / 2);
    }

    pub(super) fn on_time(&mut self, turn: &mut Turn<'_>) {
        if !self.is_established() && turn.now >= self.phase_due {
            let why = self.phase_failure();
            return self.end(turn, why);
        }
        if turn.now >= self.half_due {
            self.half_due = turn.now.plus_ms(self.settings.tick_ms / 2);
            self.on_half_tick(turn);
        }
    }

    fn phase_failure(&self) -> Ended {
        match &self.reign {
            None => Ended::NoQuorumForEpoch,
            Some(_) if !self.discovery.is_agreed() => Ended::NoQuorumAcceptedEpoch,
            Some(reign) => Ended::NoQuorumFollowed { synced: self.slots.ackers(reign.supporters) },
        }
    }

    fn on_half_tick(&mut self, turn: &mut Turn<'_>) {
        if self.is_established() {
            if self.is_half_tick {
                self.tick += 1;
                let synced = self.synced();
                if !self.quorums.are_satisfied(&synced) {
                    return self.end(turn, Ended::QuorumLost { synced });
                }
            }
            self.is_half_tick = !self.is_half_tick;
        }
        for (link, why) in self.feeding.late(turn.now) {
            self.part(turn, link, why);
        }
        self.feeding.ping();
    }

    /// This server and those heard of in time. One that is on its way in counts, as in Apache: it
    /// has until the end of its init limit.
    fn synced(&self) -> BTreeSet<ServerId> {
        let in_time = self.feeding.iter().filter(|l| self.tick <= l.deadline_tick);
        in_time.filter_map(Learner::server).chain([self.me]).collect()
    }
}
