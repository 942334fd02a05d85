//! What a member needs of the configuration, in its machines' terms.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::{Instant, ServerId, Zxid, limits};
use crate::config::{Config, MemberConfig};
use crate::election::{
    Election, ElectionSettings, Electorate, Mesh, MeshSettings, PeerSpec, Standing,
};
use crate::members::Role as Kind;
use crate::peering::{HostPort, InitialForm, PacketBytes};
use crate::zab::{Ensemble, LeaderSettings, LearnerSettings, LogSync, ObserverDelays, Tail};

use super::super::Start;
use super::held::Held;
use super::locals::Locals;
use super::masters::Masters;
use super::measures::Stand;
use super::remembered::Remembered;
use super::{Member, Role, dialable, read_only};

pub(super) struct MemberSettings {
    pub me: ServerId,
    /// How long it looks for a leader before it serves who only reads; nobody without it.
    pub read_only_grace_ms: Option<u64>,
    /// How long a dial on the election port may take.
    pub dial_ms: u64,
    /// How long a packet of the quorum may be.
    pub packet_bytes: PacketBytes,
    pub leader: LeaderSettings,
    pub learner: LearnerSettings,
    /// How long an observer waits before it comes back.
    pub delays: ObserverDelays,
    /// Where followers listen to observers.
    pub observer_port: Option<u16>,
    /// Between two tries of one address of theirs.
    pub master_retry_ms: u64,
    /// What of the history is kept in memory.
    pub ring_bytes: usize,
    /// Whether clients are served by a leader, too.
    pub leader_serves: bool,
}

impl MemberSettings {
    fn of(config: &Config, ensemble: &Ensemble, member: &MemberConfig) -> MemberSettings {
        let me = member.me;
        let keys = &config.ensemble;
        let positive = |n: i32| u64::try_from(n).unwrap_or(0).max(1);
        let tick_ms = positive(config.tick_time_ms).max(2);
        let init_limit_ticks = positive(keys.init_limit_ticks);
        let sync_limit_ticks = positive(keys.sync_limit_ticks);
        let leader = LeaderSettings {
            tick_ms,
            init_limit_ticks,
            sync_limit_ticks,
            max_snap_syncs: keys.leading.snap_syncs as usize,
            max_diff_syncs: keys.leading.diff_syncs as usize,
            force_snap: keys.leading.forces_snapshots,
            log_sync: LogSync::of_factor(keys.snapshot_size_factor),
            max_wait_for_epoch_ms: keys.leading.epoch_wait_ms,
        };
        let learner = LearnerSettings {
            server: me,
            role: ensemble.current.role(me),
            tick_ms,
            init_limit_ticks,
            sync_limit_ticks,
            connect_limit_ticks: u64::try_from(keys.connect_limit_ticks).ok().filter(|n| *n > 0),
            connect_retry_ms: CONNECT_RETRY_MS.max(keys.learning.redial_ms),
            dial_pause_ms: 0,
            config_version: ensemble.current.version,
            rules: member.rules,
            observer_logs: keys.observing.logs,
            hold_back: usize::try_from(keys.commit_log_count).unwrap_or(0),
            item_bytes: limits::txn_bytes(config.limits.jute_maxbuffer),
            pending_bytes: limits::LEARNER_PENDING_BYTES,
        };
        let observing = &keys.observing;
        let delays = ObserverDelays {
            election_ms: observing.election_delay_ms,
            reconnect_ms: observing.reconnect_delay_ms,
        };
        let bound = usize::try_from(observing.master_bytes).unwrap_or(usize::MAX);
        MemberSettings {
            me,
            read_only_grace_ms: read_only::grace_ms(config, tick_ms),
            dial_ms: keys.elections.dial_timeout_ms,
            leader,
            learner,
            delays,
            packet_bytes: PacketBytes::of_jute(
                config.limits.jute_maxbuffer,
                config.limits.jute_extrasize,
            ),
            observer_port: observing.master_port,
            master_retry_ms: keys.learning.redial_ms,
            ring_bytes: observing.master_port.map_or(limits::RING_BYTES, |_| bound),
            leader_serves: keys.leading.serves_clients,
        }
    }
}

/// Between two tries of Java's that count.
const CONNECT_RETRY_MS: u64 = 1000;

impl Member {
    /// Nothing where the configuration is one of a server alone. The history's tail is held back
    /// until a leader has said what of it counts.
    pub fn open(config: &Config, start: &mut Start, now: Instant) -> Option<Box<Member>> {
        let placed = config.ensemble.member.as_ref()?;
        let me = placed.me;
        let ensemble = Ensemble {
            current: placed.active.clone(),
            last_seen: placed.last_seen.clone().unwrap_or_else(|| placed.active.clone()),
            reconfig_enabled: config.ensemble.reconfig_enabled,
        };
        let settings = MemberSettings::of(config, &ensemble, placed);
        let keys = &config.ensemble;
        let sync_limit_ms = settings.leader.tick_ms * settings.leader.sync_limit_ticks;
        let mut mesh = Mesh::new(MeshSettings {
            me,
            own: own_addresses(&ensemble, me),
            form: if keys.multi_address.enabled { InitialForm::V2 } else { InitialForm::V1 },
            tick_ms: settings.leader.tick_ms,
            greeting_ms: keys.elections.silence_ms.unwrap_or(sync_limit_ms),
        });
        let mut meant = Vec::new();
        mesh.adopt(now, peers(&ensemble), &mut meant);
        let applied = start.state.last_zxid();
        let tail = Tail::new(applied, std::mem::take(&mut start.tail), replay_until(start));
        let zxid = if start.is_lost { Zxid::NONE } else { tail.logged() };
        let standing = Standing { zxid, peer_epoch: start.current_epoch };
        let locals = Locals::new(config, me, settings.leader.tick_ms, sync_limit_ms, now);
        let voting = ElectionSettings {
            me,
            observer: settings.learner.role == Kind::Observer,
            min_interval_ms: keys.elections.min_interval_ms,
            max_interval_ms: keys.elections.max_interval_ms,
        };
        let election = Election::new(voting, electorate(&ensemble), standing);
        let held = Held::of(settings.packet_bytes);
        let remembered = Remembered::bounded(settings.ring_bytes);
        Some(Box::new(Member {
            masters: settings.observer_port.map(Masters::new),
            settings,
            written_version: ensemble.current.version,
            designated: None,
            placed: placed.clone(),
            ensemble,
            mesh,
            election,
            meant: meant.into(),
            told: Default::default(),
            uses: BTreeMap::new(),
            held,
            dials: BTreeMap::new(),
            images: BTreeMap::new(),
            last_dial: 0,
            role: Role::Settling { rebuilds: false },
            accepted_epoch: start.accepted_epoch.max(start.current_epoch),
            current_epoch: start.current_epoch,
            promised_elsewhere: 0,
            on_disk: on_disk(start),
            is_lost: start.is_lost,
            is_unkept: false,
            wants_image: false,
            tail,
            remembered,
            gave_up_image: false,
            rests_until: None,
            looking_since: now,
            told_stand: Stand::LOOKING,
            unavailable_since: now,
            locals,
            rebuilding: 0,
        }))
    }
}

/// Up to where txns may be in the recovered state in part. Where nothing lies behind an image that
/// was taken while txns were applied, those that come before NEWLEADER may be, too.
pub(super) fn replay_until(start: &Start) -> Zxid {
    let is_open = start.replay_until >= start.last_logged;
    if is_open { Zxid(i64::MAX) } else { start.replay_until }
}

/// What an image has to remove from the disk lies up to here. What is damaged may hold anything.
pub(super) fn on_disk(start: &Start) -> Zxid {
    if start.is_lost { Zxid(i64::MAX) } else { start.last_logged }
}

/// Where this server is reached for elections, as the configuration writes it.
pub(super) fn own_addresses(ensemble: &Ensemble, me: ServerId) -> Vec<HostPort> {
    let line = ensemble.current.members.get(&me);
    line.iter().flat_map(|line| line.election_addresses()).map(dialable).collect()
}

pub(super) fn electorate(ensemble: &Ensemble) -> Electorate {
    Electorate {
        quorums: ensemble.current.quorums(Some(&ensemble.last_seen)),
        config: Bytes::from(ensemble.current.text()),
        version: ensemble.current.version,
    }
}

pub(super) fn peers(ensemble: &Ensemble) -> BTreeMap<ServerId, PeerSpec> {
    let both = ensemble.last_seen.members.iter().chain(&ensemble.current.members);
    both.map(|(server, line)| {
        let addresses = line.election_addresses().map(dialable).collect();
        let voter = ensemble.current.is_voter(*server) || ensemble.last_seen.is_voter(*server);
        (*server, PeerSpec { addresses, voter })
    })
    .collect()
}
