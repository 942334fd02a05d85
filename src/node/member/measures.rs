//! What a member counts and shows of itself: Java's metrics by their names, and what it is doing
//! in Java's words.

use std::collections::VecDeque;
use std::fmt;

use crate::base::{BufferSizes, ConnId, Instant, WallMillis, Zxid};
use crate::members::Role as Kind;
use crate::peering::{Packet, PacketKind, PeerState};
use crate::zab::{LearnerKind, LearnerPhase, SyncKind};

use super::super::Node;
use super::{Member, Role};

/// When txns on their way were proposed, by their leader's clock. They may be acknowledged and
/// committed in any order, and are known until both has happened.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    /// Ascending.
    times: VecDeque<(Zxid, i64)>,
    /// How many of the first are acknowledged, and committed.
    acked: usize,
    committed: usize,
}

impl Proposed {
    /// `entry` is that of the log.
    pub fn push(&mut self, zxid: Zxid, entry: &[u8]) {
        if self.times.back().is_none_or(|(last, _)| *last < zxid) {
            self.times.push_back((zxid, time_of(entry)));
        }
    }

    /// Shows how long ago each txn was proposed that is acknowledged by this.
    pub fn on_ack(&mut self, through: Zxid, now: WallMillis, show: impl FnMut(Option<u64>)) {
        self.acked = self.pass(self.acked, through, now, show);
        self.forget();
    }

    /// Shows how long ago each txn was proposed that is committed by this.
    pub fn on_commit(&mut self, through: Zxid, now: WallMillis, show: impl FnMut(Option<u64>)) {
        self.committed = self.pass(self.committed, through, now, show);
        self.forget();
    }

    /// How long ago a txn was proposed.
    pub fn age_ms(&self, zxid: Zxid, now: WallMillis) -> Option<u64> {
        let at = self.times.binary_search_by_key(&zxid, |(zxid, _)| *zxid).ok()?;
        age_ms(self.times[at].1, now)
    }

    /// Shows them from one of them up to a zxid; gives the place behind that.
    fn pass(
        &self,
        from: usize,
        through: Zxid,
        now: WallMillis,
        mut show: impl FnMut(Option<u64>),
    ) -> usize {
        let new = self.times.range(from..).take_while(|(zxid, _)| *zxid <= through);
        from + new.inspect(|(_, time)| show(age_ms(*time, now))).count()
    }

    fn forget(&mut self) {
        let done = self.acked.min(self.committed);
        self.times.drain(..done);
        self.acked -= done;
        self.committed -= done;
    }
}

/// The time in an entry's header, behind a session, a number and a zxid.
fn time_of(entry: &[u8]) -> i64 {
    let bytes = entry.get(20..28).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(i64::MAX, i64::from_be_bytes)
}

/// Nothing where the clocks of two servers contradict each other.
fn age_ms(time: i64, now: WallMillis) -> Option<u64> {
    u64::try_from(now.0.checked_sub(time)?).ok()
}

/// What a member is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    state: PeerState,
    phase: Option<LearnerPhase>,
    sync: Option<SyncKind>,
}

impl Stand {
    pub const LOOKING: Stand = Stand { state: PeerState::Looking, phase: None, sync: None };

    fn is_available(self) -> bool {
        self.phase == Some(LearnerPhase::Broadcast)
    }
}

/// As Java writes it: `following - synchronization - diff`.
impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            PeerState::Looking => "looking",
            PeerState::Following => "following",
            PeerState::Leading => "leading",
            PeerState::Observing => "observing",
        })?;
        f.write_str(match self.phase {
            None => "",
            Some(LearnerPhase::Discovery) => " - discovery",
            Some(LearnerPhase::Synchronization) => " - synchronization",
            Some(LearnerPhase::Broadcast) => " - broadcast",
        })?;
        f.write_str(match self.sync {
            None => "",
            Some(SyncKind::Diff) => " - diff",
            Some(SyncKind::Snap) => " - snap",
            Some(SyncKind::Trunc) => " - trunc",
        })
    }
}

/// What operators see of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLook {
    /// Such as `leading - broadcast`.
    pub state: String,
    pub quorum_size: u64,
    /// The text of the active configuration, and what this server is by it.
    pub membership: String,
    pub is_observer: bool,
    /// Where it listens to others for elections and for the quorum, if it is in that.
    pub ports: Option<(u16, u16)>,
    pub leader: Option<LeaderLook>,
}

/// What a leader adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaderLook {
    pub learners: u64,
    pub synced_followers: u64,
    pub synced_non_voting_followers: u64,
    pub synced_observers: u64,
    pub pending_syncs: u64,
    pub uptime_ms: u64,
    pub proposal_sizes: BufferSizes,
    /// With what its epoch begins, which Java shows until there is a txn.
    pub begin: Zxid,
}

impl Member {
    fn stand(&self) -> Stand {
        match &self.role {
            Role::Leading(leader) => Stand {
                state: PeerState::Leading,
                phase: Some(match &leader.leadership {
                    leadership if leadership.is_established() => LearnerPhase::Broadcast,
                    leadership if leadership.is_agreed() => LearnerPhase::Synchronization,
                    _ => LearnerPhase::Discovery,
                }),
                sync: None,
            },
            Role::Learning(learner) => {
                let phase = learner.role.phase();
                let is_syncing = phase == LearnerPhase::Synchronization;
                Stand {
                    state: match self.settings.learner.role {
                        Kind::Observer => PeerState::Observing,
                        Kind::Participant => PeerState::Following,
                    },
                    phase: Some(phase),
                    sync: learner.sync.filter(|_| is_syncing),
                }
            }
            _ => Stand::LOOKING,
        }
    }

    fn look(&self, now: Instant) -> PeerLook {
        let current = &self.ensemble.current;
        PeerLook {
            state: self.stand().to_string(),
            quorum_size: current.voters().count() as u64,
            membership: current.text(),
            is_observer: self.settings.learner.role == Kind::Observer,
            ports: current.members.get(&self.settings.me).and_then(|line| {
                let first = line.addresses.first()?;
                Some((first.election_port, first.quorum_port))
            }),
            leader: match &self.role {
                Role::Leading(leader) => Some(leader.look(now)),
                _ => None,
            },
        }
    }
}

impl super::leader::Leader {
    fn look(&self, now: Instant) -> LeaderLook {
        let mut look = LeaderLook {
            pending_syncs: self.leadership.pending_syncs() as u64,
            uptime_ms: self.since.map_or(0, |since| now.ms_since(since)),
            proposal_sizes: self.sizes,
            begin: self.leadership.epoch().map_or(Zxid::ZERO, |epoch| Zxid::new(epoch, 0)),
            ..LeaderLook::default()
        };
        for learner in self.leadership.learners() {
            look.learners += 1;
            // As Java's: it is forwarded to from the decision on how it is brought up.
            if learner.sent.is_none() {
                continue;
            }
            match learner.kind {
                LearnerKind::Observer => look.synced_observers += 1,
                LearnerKind::Follower => {
                    look.synced_followers += 1;
                    look.synced_non_voting_followers += u64::from(!learner.is_voter);
                }
            }
        }
        look
    }
}

impl Node {
    /// What a server alone has not.
    pub fn peer_look(&self) -> Option<PeerLook> {
        // Whoever serves reads alone is a member of nothing that it could tell of.
        let member = self.member.as_deref().filter(|_| !self.is_read_only())?;
        Some(member.look(self.now.mono))
    }

    /// A txn of this time is applied, wherever it came from.
    pub(in super::super) fn note_applied(&mut self, time: WallMillis) {
        if let Some(ms) = age_ms(time.0, self.now.wall) {
            self.metrics.propagation_latency.observe(ms);
        }
    }

    /// `srst`.
    pub(in super::super) fn reset_proposal_sizes(&mut self) {
        if let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) {
            leader.sizes = BufferSizes::default();
        }
    }

    /// Says what this server has come to do, and counts for how long it served nobody.
    pub(super) fn tell_stand(&mut self) {
        let Node { member, metrics, now, .. } = self;
        let Some(member) = member.as_deref_mut() else { return };
        let stand = member.stand();
        let before = std::mem::replace(&mut member.told_stand, stand);
        if stand == before {
            return;
        }
        if stand.state != before.state && stand.phase.is_some() {
            log::info!("Peer state changed: {}", Stand { phase: None, sync: None, ..stand });
        }
        log::info!("Peer state changed: {stand}");
        if stand.is_available() && !before.is_available() {
            let ms = now.mono.ms_since(member.unavailable_since);
            metrics.unavailable_time.observe(ms);
            if stand.state == PeerState::Leading {
                metrics.leader_unavailable_time.observe(ms);
            }
        } else if before.is_available() {
            member.unavailable_since = now.mono;
        }
    }

    /// What a leader says to one who is up to date, as Java counts it.
    pub(super) fn note_from_leader(&mut self, packet: &Packet<'_>) {
        let Node { member, metrics, now, .. } = self;
        let Some(learner) = member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        if !learner.role.is_established() {
            return;
        }
        let (entry, wall) = (packet.data.unwrap_or_default(), now.wall);
        match packet.kind {
            PacketKind::Proposal => {
                metrics.learner_proposal_received_count.one();
                age_ms(time_of(entry), wall).iter().for_each(|ms| {
                    metrics.proposal_latency.observe(*ms);
                });
                learner.proposed.push(packet.zxid, entry);
            }
            PacketKind::Commit | PacketKind::CommitAndActivate => {
                if packet.kind == PacketKind::Commit {
                    metrics.learner_commit_received_count.one();
                }
                learner.proposed.on_commit(packet.zxid, wall, |ms| {
                    metrics.request_commit_queued.one();
                    ms.iter().for_each(|ms| metrics.commit_propagation_latency.observe(*ms));
                });
            }
            PacketKind::Inform => {
                metrics.learner_commit_received_count.one();
                metrics.request_commit_queued.one();
                age_ms(time_of(entry), wall).iter().for_each(|ms| {
                    metrics.commit_propagation_latency.observe(*ms);
                });
            }
            _ => {}
        }
    }

    /// A follower acknowledges what it has on its disk.
    pub(super) fn note_ack(&mut self, zxid: Zxid) {
        let Node { member, metrics, now, .. } = self;
        if let Some(learner) = member.as_deref_mut().and_then(|member| member.learner()) {
            learner.proposed.on_ack(zxid, now.wall, |ms| {
                ms.iter().for_each(|ms| metrics.proposal_ack_creation_latency.observe(*ms));
            });
        }
    }

    /// A leader has on its own disk what it proposed.
    pub(super) fn note_own_ack(&mut self, zxid: Zxid) {
        let Node { member, metrics, now, .. } = self;
        if let Some(leader) = member.as_deref_mut().and_then(|member| member.leader()) {
            leader.proposed.on_ack(zxid, now.wall, |ms| {
                ms.iter().for_each(|ms| metrics.proposal_ack_creation_latency.observe(*ms));
            });
        }
    }

    /// A leader proposes.
    pub(super) fn note_proposal(&mut self, zxid: Zxid, entry: &[u8]) {
        self.metrics.proposal_count.one();
        if let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) {
            leader.sizes.observe(entry.len());
            leader.proposed.push(zxid, entry);
        }
    }

    /// A quorum has what this leader proposed.
    pub(super) fn note_commit(&mut self, through: Zxid) {
        let Node { member, metrics, now, .. } = self;
        if let Some(leader) = member.as_deref_mut().and_then(|member| member.leader()) {
            leader.proposed.on_commit(through, now.wall, |ms| {
                metrics.commit_count.one();
                metrics.request_commit_queued.one();
                ms.iter().for_each(|ms| metrics.quorum_ack_latency.observe(*ms));
            });
        }
    }

    /// What a learner says to its leader.
    pub(super) fn note_from_learner(&mut self, link: ConnId, packet: &Packet<'_>) {
        let Node { member, metrics, now, .. } = self;
        let Some(leader) = member.as_deref_mut().and_then(|member| member.leader()) else {
            return;
        };
        match packet.kind {
            PacketKind::Revalidate => metrics.revalidate_count.one(),
            PacketKind::Ack if packet.zxid.0 % ACKS_PER_LATENCY == 0 => {
                let age_ms = leader.proposed.age_ms(packet.zxid, now.wall);
                let server = leader.leadership.server_of(link);
                if let (Some(ms), Some(server)) = (age_ms, server)
                    && let Some(summary) = metrics.ack_latency.at(&server.0.to_string())
                {
                    summary.observe(ms);
                }
            }
            _ => {}
        }
    }

    /// What a leader tells a learner first says how it is brought up.
    pub(super) fn note_to_learner(&mut self, kind: PacketKind) {
        match kind {
            PacketKind::Diff | PacketKind::Trunc => self.metrics.diff_count.one(),
            PacketKind::Snap => self.metrics.snap_count.one(),
            _ => {}
        }
    }

    /// How many learners are brought up at the same time, whenever that changes.
    pub(super) fn note_syncs(&mut self) {
        let Node { member, metrics, .. } = self;
        let Some(leader) = member.as_deref_mut().and_then(|member| member.leader()) else {
            return;
        };
        let mut syncs = (0, 0);
        for by_snap in leader.leadership.learners().filter_map(|learner| learner.is_by_snap) {
            *(if by_snap { &mut syncs.0 } else { &mut syncs.1 }) += 1;
        }
        let (snaps, diffs) = std::mem::replace(&mut leader.syncs_told, syncs);
        if syncs.0 != snaps {
            metrics.inflight_snap_count.observe(syncs.0);
        }
        if syncs.1 != diffs {
            metrics.inflight_diff_count.observe(syncs.1);
        }
    }
}

/// `zookeeper.leader.ackLoggingFrequency`: of so many ACKs one is looked at.
const ACKS_PER_LATENCY: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: i64) -> Vec<u8> {
        let mut entry = vec![0; 20];
        entry.extend(time.to_be_bytes());
        entry
    }

    const NOW: WallMillis = WallMillis(50);

    fn committed(proposed: &mut Proposed, zxid: i64) -> Vec<Option<u64>> {
        let mut shown = Vec::new();
        proposed.on_commit(Zxid(zxid), NOW, |ms| shown.push(ms));
        shown
    }

    #[test]
    fn txns_are_known_until_they_are_both_acknowledged_and_committed() {
        let mut proposed = Proposed::default();
        for (zxid, time) in [(1, 10), (2, 20), (3, 90)] {
            proposed.push(Zxid(zxid), &entry(time));
        }
        assert_eq!(committed(&mut proposed, 2), [Some(40), Some(30)]);
        assert_eq!(committed(&mut proposed, 2), [], "once");
        assert_eq!(proposed.age_ms(Zxid(1), NOW), Some(40), "its ACK is awaited");
        let mut acked = Vec::new();
        proposed.on_ack(Zxid(9), NOW, |ms| acked.push(ms));
        assert_eq!(acked, [Some(40), Some(30), None], "a clock that is behind says nothing");
        assert_eq!((proposed.age_ms(Zxid(1), NOW), proposed.times.len()), (None, 1));
        assert_eq!(committed(&mut proposed, 3), [None]);
        assert!(proposed.times.is_empty());
        proposed.push(Zxid(4), b"short");
        assert_eq!(committed(&mut proposed, 4), [None]);
    }

    #[test]
    fn a_stand_is_told_in_javas_words() {
        let stand = Stand {
            state: PeerState::Following,
            phase: Some(LearnerPhase::Synchronization),
            sync: Some(SyncKind::Diff),
        };
        assert_eq!(stand.to_string(), "following - synchronization - diff");
        assert_eq!(Stand::LOOKING.to_string(), "looking");
    }
}
