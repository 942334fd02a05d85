//! Why a learner's role ends. Whatever the reason, the link goes and an election begins.

use std::fmt;

use crate::base::{ServerId, Zxid};
use crate::history::SnapshotError;
use crate::peering::PacketKind;
use crate::proto::DecodeError;

/// A reason to leave a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnerEnd {
    /// None of the leader's addresses could be reached in time.
    NotReached,
    /// The link is gone.
    LinkLost,
    /// The leader says on the election port that it looks for one itself.
    LeaderLooks,
    /// Nothing came from the leader for too long.
    Silent {
        limit_ms: u64,
    },
    /// This server itself stood still for too long: what it knew of its leader is out of date.
    Stalled {
        ms: u64,
    },
    /// The log disk has been owing an answer for too long.
    DiskHangs {
        ms: u64,
    },
    /// The leader proposes an epoch below one that this server has accepted.
    EpochBehind {
        proposed: i64,
        accepted: i64,
    },
    /// The leader proposes an epoch that nobody can have come to.
    NoEpoch {
        proposed: i64,
    },
    /// A packet names another epoch than the one that was agreed on.
    WrongEpoch {
        zxid: Zxid,
        epoch: i64,
    },
    /// A packet that nobody sends at this point.
    Unexpected {
        kind: PacketKind,
        awaited: &'static str,
    },
    /// A packet that does not hold what its type says.
    BadPacket {
        kind: PacketKind,
        error: DecodeError,
    },
    /// A packet and the txn in it name different zxids.
    ZxidMismatch {
        packet: Zxid,
        txn: Zxid,
    },
    /// A configuration that is none.
    BadConfig {
        zxid: Zxid,
    },
    /// Something is missing between two txns.
    Gap {
        last: Zxid,
        found: Zxid,
        in_sync: bool,
    },
    /// A txn belongs before what is here, and is not there.
    Back {
        last: Zxid,
        found: Zxid,
    },
    /// A COMMIT names another txn than the one that waits.
    CommitMismatch {
        waits: Zxid,
        named: Zxid,
    },
    /// A configuration is to be activated, and there is none that waits.
    NothingToActivate {
        zxid: Zxid,
    },
    /// More is proposed and not committed than any leader has under way.
    TooMuchPending,
    /// This server has no history to which changes could be added.
    NeedsImage,
    /// The leader cuts the history where this server does not hold it.
    CutBetween {
        wanted: Zxid,
        ends: Zxid,
    },
    /// What would stay after the cut could not be rebuilt; nothing was removed.
    CannotCut {
        zxid: Zxid,
    },
    /// The leader's image cannot be read, or does not end as it should.
    BadImage(SnapshotError),
    /// Its nodes make no tree.
    ImageRefused,
    BadSignature,
    /// The image could not be written.
    ImageUnwritten,
    /// A configuration that was activated gives this server another role or leader.
    Reconfigured {
        leader: Option<ServerId>,
    },
}

impl LearnerEnd {
    /// Whether changes would bring the same again: the next sync must begin with an image.
    pub fn wants_image(&self) -> bool {
        use LearnerEnd::*;
        match self {
            Gap { in_sync, .. } => *in_sync,
            CannotCut { .. } | CutBetween { .. } | NeedsImage => true,
            _ => false,
        }
    }
}

impl fmt::Display for LearnerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LearnerEnd::*;
        match self {
            NotReached => f.write_str("the leader cannot be reached"),
            LinkLost => f.write_str("the leader's link is gone"),
            LeaderLooks => f.write_str("the leader looks for a leader itself"),
            Silent { limit_ms } => write!(f, "nothing came from the leader for {limit_ms} ms"),
            Stalled { ms } => write!(f, "this server stood still for {ms} ms"),
            DiskHangs { ms } => write!(f, "the log disk has not answered for {ms} ms"),
            NoEpoch { proposed } => write!(f, "there is no epoch {proposed} to be led in"),
            EpochBehind { proposed, accepted } => {
                write!(f, "the leader's epoch {proposed} is less than accepted epoch {accepted}")
            }
            WrongEpoch { zxid, epoch } => {
                write!(f, "zxid 0x{zxid:x} is not of the leader's epoch {epoch}")
            }
            Unexpected { kind, awaited } => write!(f, "a {kind:?} packet came, not {awaited}"),
            BadPacket { kind, error } => write!(f, "a bad {kind:?} packet ({error:?})"),
            ZxidMismatch { packet, txn } => {
                write!(f, "the packet of 0x{packet:x} holds the txn 0x{txn:x}")
            }
            BadConfig { zxid } => write!(f, "no configuration is in the txn 0x{zxid:x}"),
            Gap { last, found, .. } => {
                write!(f, "0x{found:x} came behind 0x{last:x}: something is missing between them")
            }
            Back { last, found } => write!(f, "0x{found:x} came behind 0x{last:x}, out of order"),
            CommitMismatch { waits, named } => {
                write!(f, "committing zxid 0x{named:x} but next pending txn 0x{waits:x}")
            }
            NothingToActivate { zxid } => {
                write!(f, "0x{zxid:x} is to be activated and no configuration waits")
            }
            TooMuchPending => f.write_str("more is proposed than may wait for its commit"),
            NeedsImage => f.write_str("this server needs all of the leader's state"),
            CutBetween { wanted, ends } => {
                write!(f, "the log was to end at 0x{wanted:x} and would end at 0x{ends:x}")
            }
            CannotCut { zxid } => {
                write!(f, "not able to truncate the log 0x{zxid:x}: the rest could not be rebuilt")
            }
            BadImage(error) => write!(f, "the leader's snapshot is broken: {error}"),
            ImageRefused => f.write_str("the leader's snapshot holds no tree"),
            BadSignature => f.write_str("missing signature behind the leader's snapshot"),
            ImageUnwritten => f.write_str("the leader's snapshot could not be written"),
            Reconfigured { leader: None } => f.write_str("changes proposed in reconfig"),
            Reconfigured { leader: Some(leader) } => {
                write!(f, "changes proposed in reconfig, with leader {}", leader.0)
            }
        }
    }
}
