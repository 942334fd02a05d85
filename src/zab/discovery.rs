//! How a leader begins: which epoch it will lead, and whether its history is as good as that of
//! those it leads. Each answer is on disk before anybody is told.
//!
//! First the epochs that learners have accepted come in; with a quorum of voters the new epoch is
//! one more than any of them, and its own disk accepts it before LEADERINFO leaves. Then a quorum
//! accepts it (ACKEPOCH) and says where its histories end; then it is this server's current epoch.

use std::collections::BTreeSet;

use crate::base::{ServerId, Ticket, Zxid, limits};
use crate::history::{EpochFile, StorageCommand};
use crate::members::Verifier;

/// Where a history stands: the epoch that its server followed last, and its last zxid. The later
/// one is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Summary {
    pub current_epoch: i64,
    pub last_zxid: Zxid,
}

/// A learner's history is better than that of the server that wants to lead it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub theirs: Summary,
    pub ours: Summary,
}

/// What has become true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// LEADERINFO may leave.
    EpochAccepted,
    /// This server has the epoch as its current one: its own ACK of NEWLEADER.
    EpochCurrent,
}

#[derive(Debug)]
pub struct Discovery {
    me: ServerId,
    voters: Verifier,
    ours: Summary,
    /// Of this server itself.
    accepted: i64,
    stage: Stage,
}

/// Named for what is awaited.
#[derive(Debug)]
enum Stage {
    AwaitEpochs { highest: i64, connected: BTreeSet<ServerId> },
    AwaitAccepted { epoch: u32, ticket: Ticket },
    AwaitAcks { epoch: u32, acked: BTreeSet<ServerId> },
    AwaitCurrent { epoch: u32, ticket: Ticket },
    Done { epoch: u32 },
}

/// The last epoch whose zxids are not negative; nobody can have come close to it.
pub const LAST_EPOCH: i64 = i32::MAX as i64;

impl Discovery {
    pub fn new(me: ServerId, voters: Verifier, ours: Summary, accepted_epoch: i64) -> Discovery {
        assert!(accepted_epoch >= ours.current_epoch, "an epoch is accepted before it is current");
        let connected = BTreeSet::from([me]);
        // A server that was alone counted on across its epoch.
        let highest = accepted_epoch.max(i64::from(ours.last_zxid.epoch()));
        let stage = Stage::AwaitEpochs { highest, connected };
        Discovery { me, voters, ours, accepted: highest, stage }
    }

    /// Nobody has promised that here: each failed election is one epoch. Outdone, a number that
    /// some file was damaged to would leave the ensemble none to go on with.
    pub fn is_far_off(&self, accepted_epoch: i64) -> bool {
        accepted_epoch > self.accepted.saturating_add(limits::EPOCHS_YIELDED_TO)
    }

    /// A learner of any kind has accepted an epoch. Everybody's is outdone; voters are counted.
    pub fn on_info(&mut self, server: ServerId, accepted_epoch: i64) {
        assert!(server != self.me, "nobody else is this server");
        if let Stage::AwaitEpochs { highest, connected } = &mut self.stage {
            *highest = accepted_epoch.max(*highest);
            if self.voters.is_voter(server) {
                connected.insert(server);
            }
        }
    }

    /// Its link is gone. A promise it has made stays made: it will not make it twice.
    pub fn on_left(&mut self, server: ServerId) {
        if let Stage::AwaitEpochs { connected, .. } = &mut self.stage {
            connected.remove(&server);
        }
    }

    /// A learner answered the new epoch with where it stands; one that had accepted it before, or
    /// whose history is not to be trusted, is not counted. Once there is a quorum nobody is asked
    /// whether he is ahead: what he has more was not committed.
    pub fn on_ack_epoch(&mut self, server: ServerId, theirs: Option<Summary>) -> Result<(), Ahead> {
        assert!(server != self.me, "nobody else is this server");
        let Stage::AwaitAcks { acked, .. } = &mut self.stage else { return Ok(()) };
        let Some(theirs) = theirs else { return Ok(()) };
        if theirs > self.ours {
            return Err(Ahead { theirs, ours: self.ours });
        }
        if theirs.last_zxid != Zxid::NONE && self.voters.is_voter(server) {
            acked.insert(server);
        }
        Ok(())
    }

    /// What has to be written for the next step, if that has come: at most once a step.
    pub fn next_command(&mut self, last_ticket: &mut Ticket) -> Option<StorageCommand> {
        match &self.stage {
            Stage::AwaitEpochs { highest, connected } => {
                let epoch = next_epoch(*highest)?;
                if !connected.contains(&self.me) || !self.voters.is_quorum(connected) {
                    return None;
                }
                let ticket = take_ticket(last_ticket);
                self.stage = Stage::AwaitAccepted { epoch, ticket };
                let (file, epoch) = (EpochFile::Accepted, i64::from(epoch));
                Some(StorageCommand::WriteEpoch { ticket, file, epoch })
            }
            Stage::AwaitAcks { epoch, acked } if self.voters.is_quorum(acked) => {
                let (epoch, ticket) = (*epoch, take_ticket(last_ticket));
                self.stage = Stage::AwaitCurrent { epoch, ticket };
                let (file, epoch) = (EpochFile::Current, i64::from(epoch));
                Some(StorageCommand::WriteEpoch { ticket, file, epoch })
            }
            _ => None,
        }
    }

    /// All commands up to `ticket` are on disk.
    pub fn on_durable(&mut self, durable: Ticket) -> Option<Step> {
        match self.stage {
            Stage::AwaitAccepted { epoch, ticket } if ticket <= durable => {
                // This server's own promise.
                let acked = BTreeSet::from([self.me]);
                self.stage = Stage::AwaitAcks { epoch, acked };
                Some(Step::EpochAccepted)
            }
            Stage::AwaitCurrent { epoch, ticket } if ticket <= durable => {
                self.stage = Stage::Done { epoch };
                Some(Step::EpochCurrent)
            }
            _ => None,
        }
    }

    /// The new epoch, once it may be told.
    pub fn epoch(&self) -> Option<u32> {
        match self.stage {
            Stage::AwaitEpochs { .. } | Stage::AwaitAccepted { .. } => None,
            Stage::AwaitAcks { epoch, .. }
            | Stage::AwaitCurrent { epoch, .. }
            | Stage::Done { epoch } => Some(epoch),
        }
    }

    /// Voters may still leave without a loss, and be told so.
    pub fn is_awaiting_epochs(&self) -> bool {
        matches!(self.stage, Stage::AwaitEpochs { .. })
    }

    /// A quorum has accepted the epoch and none of it is ahead: histories may be synchronised.
    pub fn is_agreed(&self) -> bool {
        matches!(self.stage, Stage::AwaitCurrent { .. } | Stage::Done { .. })
    }

    /// Nothing is left to be agreed on, or to be written.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done { .. })
    }

    /// Who has been heard in the step that is under way.
    pub fn heard(&self) -> BTreeSet<ServerId> {
        match &self.stage {
            Stage::AwaitEpochs { connected: heard, .. } | Stage::AwaitAcks { acked: heard, .. } => {
                heard.clone()
            }
            _ => BTreeSet::from([self.me]),
        }
    }
}

pub(super) fn take_ticket(last: &mut Ticket) -> Ticket {
    *last = last.next();
    *last
}

fn next_epoch(highest: i64) -> Option<u32> {
    let next = highest.checked_add(1).filter(|next| *next < LAST_EPOCH)?;
    u32::try_from(next).ok()
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
