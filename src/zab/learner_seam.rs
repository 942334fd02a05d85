//! What a learner is told and what it asks for.

use bytes::Bytes;

use crate::base::{ConnId, Instant, ServerId, SessionId, Ticket, Zxid};
use crate::history::{ChoreCommand, EpochFile};
use crate::members::{Membership, Role, Rules};
use crate::peering::{
    AckEpoch, LearnerInfo, Packet, PacketKind, Revalidate, Revalidated, Touch, write_packet,
    write_packet_with, write_touches,
};
use crate::proto::Entry;

use super::tail::Tail;

/// What a learner goes by.
#[derive(Clone, Debug)]
pub struct LearnerSettings {
    pub server: ServerId,
    pub role: Role,
    pub tick_ms: u64,
    pub init_limit_ticks: u64,
    pub sync_limit_ticks: u64,
    /// How long a dial may take, where that is not `init_limit_ticks`.
    pub connect_limit_ticks: Option<u64>,
    /// Between two tries of one address.
    pub connect_retry_ms: u64,
    /// How long it waits before the first of them.
    pub dial_pause_ms: u64,
    /// Of the configuration that this server has activated.
    pub config_version: i64,
    pub rules: Rules,
    /// Whether an observer keeps what it is informed of.
    pub observer_logs: bool,
    /// Txns of the last epoch that are not applied before a leader is established.
    pub hold_back: usize,
    /// What one record of an image may hold.
    pub item_bytes: usize,
    /// What may wait for its commit: `limits::LEARNER_PENDING_BYTES`.
    pub pending_bytes: usize,
}

impl LearnerSettings {
    pub fn init_limit_ms(&self) -> u64 {
        self.tick_ms * self.init_limit_ticks
    }

    pub fn sync_limit_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit_ticks
    }

    pub fn connect_limit_ms(&self) -> u64 {
        self.tick_ms * self.connect_limit_ticks.unwrap_or(self.init_limit_ticks)
    }

    pub fn is_observer(&self) -> bool {
        self.role == Role::Observer
    }

    pub fn is_logging(&self) -> bool {
        !self.is_observer() || self.observer_logs
    }
}

/// What this server has, as its disk says once everything handed over is there.
#[derive(Clone, Debug)]
pub struct Standing {
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// The highest zxid of any record or snapshot that lies on the disk, of use or not.
    pub on_disk: Zxid,
    /// False where the disk could not give back what it once held: this server votes for nobody
    /// until it has an image of a leader.
    pub can_rebuild: bool,
    /// Where changes would bring the same break again: an image is asked for.
    pub wants_image: bool,
    pub tail: Tail,
}

/// Something that happened.
#[derive(Debug)]
pub enum LearnerInput<'a> {
    /// A dial came through. The link is read from now on, as `reads` says.
    Dialed {
        address: usize,
    },
    DialFailed {
        address: usize,
    },
    /// The leader's link is gone.
    LinkLost,
    Packet(Packet<'a>),
    /// Every storage command up to this one is on disk.
    Durable(Ticket),
    /// The log could not be cut. Comes before the `Durable` of its ticket.
    CutRefused(Ticket),
    /// `CutAbove` has left the log's end here. Comes before the `Durable` of its ticket.
    CutAt {
        ticket: Ticket,
        kept: Zxid,
    },
    /// What the chore thread says of the image's file: of this role's, for an earlier one may have
    /// had an image of the same zxid.
    ImageProgress {
        bytes: usize,
    },
    ImageWritten {
        zxid: Zxid,
    },
    ImageFailed {
        zxid: Zxid,
    },
    /// The state was rebuilt from the disk, as `Reload` asked; this is what lies behind it.
    Reloaded(Tail),
    /// A configuration that was to be activated gives this server another role or leader.
    Reconfigured {
        leader: Option<ServerId>,
    },
    /// A timer may be due.
    Time,
}

/// What comes with every input: the time, the number of the last storage command, and the list
/// that takes what is asked for.
pub struct LearnerTurn<'a> {
    pub now: Instant,
    pub last_ticket: &'a mut Ticket,
    pub out: &'a mut Vec<LearnerOutput>,
}

impl LearnerTurn<'_> {
    pub(super) fn push(&mut self, output: LearnerOutput) {
        self.out.push(output);
    }

    pub(super) fn send(&mut self, packet: ToLeader) {
        self.push(LearnerOutput::Send(packet));
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        *self.last_ticket = self.last_ticket.next();
        *self.last_ticket
    }
}

/// How the leader brings a learner to its own history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    Diff,
    Trunc,
    Snap,
}

/// Something to be done, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnerOutput {
    /// Reach for one of the leader's addresses, by its place in the list.
    Dial {
        address: usize,
        within_ms: u64,
    },
    /// Give up a dial, or close a link that another one came before.
    HangUp {
        address: usize,
    },
    Send(ToLeader),
    /// Answer the leader's ping with the sessions heard of since the last: `write_ping_answer`.
    /// `number` counts from the first that is answered.
    AnswerPing {
        zxid: Zxid,
        number: u64,
    },
    Storage(LearnerStorage),
    Chore(ChoreCommand),
    /// The leader has decided. What /zookeeper/config says is this server's own configuration
    /// from now on, as in Java.
    SyncBegan {
        kind: SyncKind,
        zxid: Zxid,
    },
    /// The state goes; an image of `zxid` comes, item by item.
    BeginImage {
        zxid: Zxid,
    },
    /// It is complete.
    FinishImage {
        zxid: Zxid,
    },
    /// Rebuild the state from the disk, then say `Reloaded`.
    Reload,
    /// A configuration is committed: its file follows in the storage queue. Where it gives this
    /// server another role or leader, say `Reconfigured`.
    Activate {
        config: Box<Membership>,
        leader: Option<ServerId>,
        zxid: Option<Zxid>,
    },
    /// The leader is established: clients may be served, and the vote is of this epoch.
    Established {
        epoch: i64,
    },
    /// The snapshot beneath the log was taken while txns were applied: an own one should follow.
    WantSnapshot,
    /// The leader's word on a session whose client has come here.
    Revalidated {
        session: SessionId,
        is_valid: bool,
    },
    /// The leader has answered an observer's sync, when this was committed.
    ObserverSynced {
        link: ConnId,
        after: Zxid,
    },
    /// Its word on a session whose client has come to an observer.
    ObserverRevalidated {
        link: ConnId,
        revalidated: Revalidated,
    },
}

/// Commands of the one ordered queue, each durable with its ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnerStorage {
    /// Whole log records. With `roll` they begin a new file.
    Append {
        ticket: Ticket,
        first: Zxid,
        last: Zxid,
        bytes: Bytes,
        roll: bool,
        txns: u64,
    },
    WriteEpoch {
        ticket: Ticket,
        file: EpochFile,
        epoch: i64,
    },
    /// Removes snapshots above `zxid`, then cuts the log after it; nothing where what would stay
    /// cannot rebuild `zxid`.
    Truncate {
        ticket: Ticket,
        zxid: Zxid,
    },
    /// Gives the finished snapshot of `zxid` its name.
    InstallSnapshot {
        ticket: Ticket,
        zxid: Zxid,
    },
    /// Removes what lies above the snapshot of `zxid`: other snapshots, and log records from the
    /// first one on that is not the next of `sent`. Those before it this server may have
    /// acknowledged, so they are never gone, not even for a moment.
    CutAbove {
        ticket: Ticket,
        zxid: Zxid,
        sent: Vec<Zxid>,
    },
    /// This disk does not give back what it once held, and that is to be known after a restart.
    MarkLost {
        ticket: Ticket,
    },
    ClearLost {
        ticket: Ticket,
    },
    WriteConfig {
        ticket: Ticket,
        config: Box<Membership>,
        place: ConfigPlace,
    },
}

/// Which file a configuration goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigPlace {
    /// The last one seen: proposed, perhaps never committed.
    LastSeen,
    Active,
}

impl LearnerStorage {
    pub fn ticket(&self) -> Ticket {
        match self {
            LearnerStorage::Append { ticket, .. }
            | LearnerStorage::WriteEpoch { ticket, .. }
            | LearnerStorage::Truncate { ticket, .. }
            | LearnerStorage::InstallSnapshot { ticket, .. }
            | LearnerStorage::CutAbove { ticket, .. }
            | LearnerStorage::MarkLost { ticket }
            | LearnerStorage::ClearLost { ticket }
            | LearnerStorage::WriteConfig { ticket, .. } => *ticket,
        }
    }
}

/// A packet for the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToLeader {
    FollowerInfo { accepted_epoch: i64, info: LearnerInfo },
    ObserverInfo { accepted_epoch: i64, info: LearnerInfo },
    AckEpoch { logged: Zxid, epoch: AckEpoch },
    Ack(Zxid),
    Revalidate(Revalidate),
}

impl ToLeader {
    pub fn write(&self, out: &mut Vec<u8>) {
        let greeting = |kind, epoch: i64, info: &LearnerInfo, out: &mut Vec<u8>| {
            write_packet_with(kind, Zxid(epoch << 32), out, |out| info.write(out));
        };
        match self {
            ToLeader::FollowerInfo { accepted_epoch, info } => {
                greeting(PacketKind::FollowerInfo, *accepted_epoch, info, out);
            }
            ToLeader::ObserverInfo { accepted_epoch, info } => {
                greeting(PacketKind::ObserverInfo, *accepted_epoch, info, out);
            }
            ToLeader::AckEpoch { logged, epoch } => {
                write_packet_with(PacketKind::AckEpoch, *logged, out, |out| epoch.write(out));
            }
            ToLeader::Ack(zxid) => write_packet(PacketKind::Ack, *zxid, None, out),
            ToLeader::Revalidate(asked) => {
                let write = |out: &mut Vec<u8>| asked.write(out);
                write_packet_with(PacketKind::Revalidate, Zxid::NONE, out, write);
            }
        }
    }
}

/// The answer to a ping: its zxid, and the sessions whose clients were heard since the last one.
pub fn write_ping_answer(zxid: Zxid, touches: impl IntoIterator<Item = Touch>, out: &mut Vec<u8>) {
    write_packet_with(PacketKind::Ping, zxid, out, |out| write_touches(touches, out));
}

/// What a learner takes from its link now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing before something else has happened; what the link has stays there.
    Nothing,
    Packets,
    /// The bytes of an image, up to and with the signature behind it.
    Image,
}

/// Something whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready<O> {
    Txn(Committed<O>),
    /// A sync: what was committed when the leader answered it is applied.
    Synced(O),
}

/// A committed txn to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<O> {
    pub entry: Entry,
    /// By the tolerant rules, and without comparing its digest.
    pub is_replay: bool,
    /// Whose request it was, if it came from here.
    pub origin: Option<O>,
}

/// What stays when a role ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The state, and behind it what the log has.
    History(Tail),
    /// The state is none: it must be rebuilt from the disk.
    Reload,
}
