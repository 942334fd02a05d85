//! One leadership, from the election's outcome to its end: learners join, an epoch is agreed on,
//! histories are brought together, and from the quorum of NEWLEADER on there are proposals.
//!
//! It composes the machines beside it and performs nothing itself: what is to be done is a list of
//! outputs, and what comes of it are inputs. What waits in it dies with it.

mod joining;
mod serving;
mod upkeep;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnId, Instant, ServerId, Ticket, Zxid};
use crate::history::StorageCommand;
use crate::members::{Acks, Membership, Quorums, Slots};
use crate::peering::{AuthIds, Forwarded, Packet, PacketKind, Revalidate, Revalidated};
use crate::proto::DecodeError;

pub use upkeep::LearnerView;

use super::acks::AckTable;
use super::discovery::{Ahead, Discovery, Summary};
use super::feed::{LearnerKind, Outgoing, View, Wish};
use super::feeding::{Feeding, Ground};
use super::learner::Learner;
use super::ring::{Recent, Ring};
use super::sync::{LogSync, Probed};

/// What an operator has set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeaderSettings {
    pub tick_ms: u64,
    pub init_limit_ticks: u64,
    pub sync_limit_ticks: u64,
    /// `leader.maxConcurrentSnapSyncs` and `leader.maxConcurrentDiffSyncs`.
    pub max_snap_syncs: usize,
    pub max_diff_syncs: usize,
    /// `forceSnapshotSync`.
    pub force_snap: bool,
    /// `snapshotSizeFactor`.
    pub log_sync: LogSync,
    /// `leader.maxTimeToWaitForEpoch`.
    pub max_wait_for_epoch_ms: Option<u64>,
}

impl LeaderSettings {
    pub(super) fn init_limit_ms(&self) -> u64 {
        self.init_limit_ticks * self.tick_ms
    }

    pub(super) fn sync_limit_ms(&self) -> u64 {
        self.sync_limit_ticks * self.tick_ms
    }
}

/// The configuration that is active and the last one seen, which may be on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensemble {
    pub current: Membership,
    pub last_seen: Membership,
    pub reconfig_enabled: bool,
}

impl Ensemble {
    fn quorums(&self) -> Quorums {
        let is_newer = self.last_seen.version > self.current.version;
        let next = is_newer.then(|| self.last_seen.verifier());
        Quorums { current: self.current.verifier(), next }
    }
}

/// What a server that was elected begins with.
#[derive(Debug)]
pub struct Start {
    pub me: ServerId,
    pub settings: LeaderSettings,
    pub ensemble: Ensemble,
    pub accepted_epoch: i64,
    /// Its current epoch and the end of its history, all of which is on disk.
    pub ours: Summary,
    /// Begun anew where it does not end with that history.
    pub ring: Ring,
}

/// What comes with every input: the time, the number of the last storage command, and the list
/// that takes what is to be done.
pub struct Turn<'t> {
    pub now: Instant,
    pub last_ticket: &'t mut Ticket,
    pub out: &'t mut Vec<Output>,
}

/// What happened. A word about a link that is gone is passed over.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A learner's link is open and takes so many bytes.
    Connected {
        link: ConnId,
        room: usize,
    },
    Packet {
        link: ConnId,
        packet: Packet<'a>,
    },
    Closed {
        link: ConnId,
    },
    /// The link now takes so many bytes.
    Room {
        link: ConnId,
        bytes: usize,
    },
    /// All commands up to `ticket` are on disk, and with them the log up to `log`.
    Durable {
        ticket: Ticket,
        log: Zxid,
    },
    /// Answers to `AskLog` and to each `Wish`; `Missing`: it is not there, or cannot be read.
    Probed {
        link: ConnId,
        probed: Probed,
    },
    Log {
        link: ConnId,
        records: Vec<Recent>,
        is_end: bool,
    },
    Image {
        link: ConnId,
        zxid: Zxid,
    },
    ImageBytes {
        link: ConnId,
        bytes: Bytes,
        is_last: bool,
    },
    Missing {
        link: ConnId,
    },
    /// A voter's notification says that it is looking for a leader.
    Looking {
        server: ServerId,
    },
    /// A learner's sync has come to the front of what it asked for before, the last of which may
    /// be `after` and is perhaps to be proposed only at the end of the turn.
    Sync {
        link: ConnId,
        after: Zxid,
    },
    /// The answer to what was passed up.
    Revalidated {
        link: ConnId,
        revalidated: Revalidated,
    },
    /// Timers, once all input that is here was taken.
    Time,
}

/// What a packet asks of others than this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed<'a> {
    /// A client's request. A sync, too: it comes back as `Input::Sync` in its order.
    Request {
        link: ConnId,
        request: Forwarded<'a>,
        ids: AuthIds<'a>,
    },
    Revalidate {
        link: ConnId,
        revalidate: Revalidate,
    },
    /// Sessions that were heard of, whole ones: `peering::read_touches` reads them.
    Touched {
        link: ConnId,
        touches: &'a [u8],
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send {
        link: ConnId,
        outgoing: Outgoing,
    },
    /// The link is given up; nothing more is said about it.
    Close {
        link: ConnId,
        why: Parting,
    },
    Storage(StorageCommand),
    /// Where does this zxid stand in the log?
    AskLog {
        link: ConnId,
        zxid: Zxid,
    },
    Wanted {
        link: ConnId,
        wish: Wish,
    },
    /// The last seen configuration is another one from now on. What is written of it has this
    /// ticket: commands that are numbered later may be handed over at once.
    LastSeen {
        config: Box<Membership>,
        ticket: Ticket,
    },
    /// A quorum follows: what was recovered is committed, and clients may be served.
    Established {
        epoch: u32,
    },
    /// Proposals up to this one are committed.
    Committed {
        through: Zxid,
    },
    /// The role is over; all its links were closed before.
    Ended(Ended),
}

/// Why a learner's link is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    Undecodable(DecodeError),
    OutOfTurn(PacketKind),
    /// It says that it is this server.
    OurId,
    /// It has activated a later configuration than we have.
    NewerConfiguration(i64),
    /// No server accepts such an epoch.
    Epoch(i64),
    /// It cannot be elected and has more than we have.
    Ahead(Ahead),
    /// The same server has come over another link.
    Replaced,
    TooManyLearners,
    TooManySyncs,
    TooManyNotes,
    Silent,
    AckOverdue,
    /// What it misses has a hole after this zxid; it is sent an image when it comes back.
    Hole(Zxid),
    /// What it was to be sent cannot be read.
    Missing,
    RoleEnded,
}

/// Why a leadership is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    NoQuorumForEpoch,
    NoQuorumAcceptedEpoch,
    NoQuorumFollowed {
        synced: BTreeSet<ServerId>,
    },
    QuorumLost {
        synced: BTreeSet<ServerId>,
    },
    /// A voter that may lead has a better history: let it.
    VoterAhead {
        server: ServerId,
        ahead: Ahead,
    },
    /// A voter has accepted a later epoch than ours, and cannot follow in this one.
    VoterPromised {
        server: ServerId,
        accepted: i64,
        epoch: i64,
    },
    /// A voter looks for a leader again, and was waited for long enough.
    VoterChangedMind {
        server: ServerId,
    },
    CounterExhausted,
    /// By the configuration that is active now this server does not vote, or is led to elsewhere.
    Dismissed,
    /// This server did nothing for so long that it cannot know whether it still leads.
    Stalled {
        ms: u64,
    },
    /// Its log disk has been owing an answer for so long that others had better lead.
    DiskHangs {
        ms: u64,
    },
}

/// What there is once the epoch is on disk.
#[derive(Debug)]
struct Reign {
    begin: Zxid,
    /// What NEWLEADER carries: the last seen configuration.
    text: Bytes,
    /// Who has acknowledged NEWLEADER, this server included.
    supporters: Acks,
    is_established: bool,
    acks: AckTable,
}

#[derive(Debug)]
pub struct Leadership {
    me: ServerId,
    settings: LeaderSettings,
    ensemble: Ensemble,
    quorums: Quorums,
    slots: Arc<Slots>,
    ours: Summary,
    ring: Ring,
    discovery: Discovery,
    reign: Option<Reign>,
    feeding: Feeding,
    is_over: bool,
    /// The configuration that this quorum has brought into effect has another leader.
    is_dismissed: bool,
    began: Instant,
    now: Instant,
    tick: u64,
    is_half_tick: bool,
    half_due: Instant,
    phase_due: Instant,
}

impl Leadership {
    pub fn begin(start: Start, turn: &mut Turn<'_>) -> Leadership {
        let Start { me, settings, ensemble, accepted_epoch, ours, mut ring } = start;
        assert!(settings.tick_ms >= 2, "there are two pings a tick");
        assert!(settings.init_limit_ticks > 0 && settings.sync_limit_ticks > 0, "limits are set");
        if ring.last() != ours.last_zxid {
            ring.restart(ours.last_zxid);
        }
        let quorums = ensemble.quorums();
        let discovery = Discovery::new(me, quorums.current.clone(), ours, accepted_epoch);
        let mut leadership = Leadership {
            me,
            settings,
            slots: Arc::new(Slots::new(&quorums)),
            quorums,
            ensemble,
            ours,
            ring,
            discovery,
            reign: None,
            feeding: Feeding::new(me, settings),
            is_over: false,
            is_dismissed: false,
            began: turn.now,
            now: turn.now,
            tick: 0,
            is_half_tick: false,
            half_due: turn.now.plus_ms(settings.tick_ms / 2),
            phase_due: turn.now.plus_ms(settings.init_limit_ms()),
        };
        leadership.proceed(turn);
        leadership
    }

    /// Takes what happened; what a packet asks of others comes back. Learners are sent nothing
    /// before the turn's `flush`, but what they wait for alone.
    pub fn handle<'a>(&mut self, turn: &mut Turn<'_>, input: Input<'a>) -> Option<Passed<'a>> {
        self.notice_stall(turn);
        if self.is_over {
            // Whoever comes now was never among those whose links were closed.
            if let Input::Connected { link, .. } = input {
                turn.out.push(Output::Close { link, why: Parting::RoleEnded });
            }
            return None;
        }
        match input {
            Input::Packet { link, packet } => return self.on_packet(turn, link, packet),
            Input::Connected { link, room } => self.on_connected(turn, link, room),
            Input::Closed { link } => self.on_closed(link),
            Input::Room { link, bytes } => self.feeding.set_room(link, bytes),
            Input::Durable { ticket, log } => self.on_durable(turn, ticket, log),
            Input::Probed { link, probed } => self.begin_sync(turn, link, Some(&probed)),
            Input::Log { link, records, is_end } => self.on_log(turn, link, records, is_end),
            Input::Image { link, zxid } => self.feeding.on_image(link, zxid),
            Input::ImageBytes { link, bytes, is_last } => {
                self.feeding.on_image_bytes(turn, link, bytes, is_last);
            }
            Input::Missing { link } => self.on_missing(turn, link),
            Input::Looking { server } => self.on_looking(turn, server),
            Input::Sync { link, after } => self.on_sync(turn, link, after),
            Input::Revalidated { link, revalidated } => {
                self.on_revalidated(turn, link, revalidated);
            }
            Input::Time => self.on_time(turn),
        }
        None
    }

    /// Gives the role up, and with it every link.
    pub fn end(&mut self, turn: &mut Turn<'_>, why: Ended) {
        if self.is_over {
            return;
        }
        log::info!("Shutdown called. For the reason {why}");
        self.is_over = true;
        self.feeding.part_with_all(turn);
        turn.out.push(Output::Ended(why));
    }

    /// What outlives the role: the end of the history.
    pub fn into_ring(self) -> Ring {
        self.ring
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn is_established(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.is_established)
    }

    /// A quorum has accepted the epoch, and is brought to one history.
    pub fn is_agreed(&self) -> bool {
        self.reign.is_some() && self.discovery.is_agreed()
    }

    /// The epoch, once it may be told.
    pub fn epoch(&self) -> Option<u32> {
        self.discovery.epoch()
    }

    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// The last txn that counts as committed toward learners: all of what was recovered does.
    pub fn committed(&self) -> Zxid {
        self.reign.as_ref().map_or(self.ours.last_zxid, |reign| reign.committed(self.ours))
    }

    /// Whether a learner was told that it is up to date.
    pub fn is_up_to_date(&self, link: ConnId) -> bool {
        self.feeding.is_up_to_date(link)
    }

    /// Whether it is a voter's link.
    pub fn is_voters(&self, link: ConnId) -> bool {
        let known = self.feeding.get(link).and_then(Learner::known);
        known.is_some_and(|known| {
            known.kind == LearnerKind::Follower && self.quorums.is_voter(known.server)
        })
    }

    fn is_voter(&self, server: ServerId) -> bool {
        self.quorums.current.is_voter(server)
    }

    /// Whether it can be elected: who weighs nothing never is.
    fn may_lead(&self, server: ServerId) -> bool {
        self.is_voter(server) && self.quorums.current.weight(server) > 0
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        self.ring.check();
        assert!(!self.is_over || self.feeding.len() == 0, "a role that is over has no links");
        let Some(reign) = &self.reign else { return };
        reign.acks.check();
        assert!(reign.begin > self.ours.last_zxid, "the epoch is a new one");
        assert_eq!(self.ring.last().max(reign.begin), reign.acks.proposed(), "all in the ring");
        let nothing_yet = reign.acks.proposed() == reign.begin;
        assert!(reign.is_established || nothing_yet, "no proposal before there is a quorum");
        self.feeding.check(&reign.view(&self.ring, self.ours));
        for feed in self.feeding.iter().filter_map(|learner| learner.feed()) {
            let is_told = feed.is_up_to_date();
            assert!(!is_told || reign.is_established, "no UPTODATE before there is a quorum");
        }
    }
}

impl Reign {
    fn committed(&self, ours: Summary) -> Zxid {
        let committed = self.acks.committed();
        if committed > self.begin { committed } else { ours.last_zxid }
    }

    fn view<'a>(&self, ring: &'a Ring, ours: Summary) -> View<'a> {
        View { ring, begin: self.begin, committed: self.committed(ours) }
    }

    fn ground<'a>(&'a self, ring: &'a Ring, ours: Summary) -> Ground<'a> {
        let view = self.view(ring, ours);
        // Apache's leader steps to the beginning of its epoch when it is established.
        let processed = match self.is_established {
            true => self.begin.max(view.committed),
            false => view.committed,
        };
        Ground { view, processed, text: &self.text }
    }
}

/// Ids as Apache lists them.
fn listed(servers: &BTreeSet<ServerId>) -> String {
    let ids: Vec<String> = servers.iter().map(|server| server.0.to_string()).collect();
    ids.join(", ")
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::NoQuorumForEpoch => f.write_str("Timeout while waiting for epoch from quorum"),
            Ended::NoQuorumAcceptedEpoch => {
                f.write_str("Timeout while waiting for epoch to be acked by quorum")
            }
            Ended::NoQuorumFollowed { synced } => write!(
                f,
                "Waiting for a quorum of followers, only synced with sids: [ [{}] ]",
                listed(synced)
            ),
            Ended::QuorumLost { synced } => write!(
                f,
                "Not sufficient followers synced, only synced with sids: [ [{}] ]",
                listed(synced)
            ),
            Ended::VoterAhead { server, ahead } => write!(
                f,
                "Follower is ahead of the leader, leader summary: {} (current epoch), {} (last \
                 zxid); sid {} is at {} (current epoch), {} (last zxid)",
                ahead.ours.current_epoch,
                ahead.ours.last_zxid.0,
                server.0,
                ahead.theirs.current_epoch,
                ahead.theirs.last_zxid.0
            ),
            Ended::VoterPromised { server, accepted, epoch } => write!(
                f,
                "sid {} has accepted epoch {accepted} and cannot follow in epoch {epoch}",
                server.0
            ),
            Ended::VoterChangedMind { server } => {
                write!(f, "Quit leading due to voter changed mind: sid {}", server.0)
            }
            Ended::CounterExhausted => f.write_str(
                "zxid lower 32 bits have rolled over, forcing re-election, and therefore new \
                 epoch start",
            ),
            Ended::Dismissed => f.write_str("this leader is not the designated leader"),
            Ended::Stalled { ms } => write!(f, "this server was held up for {ms} ms"),
            Ended::DiskHangs { ms } => {
                write!(f, "the log disk has not answered for {ms} ms")
            }
        }
    }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
