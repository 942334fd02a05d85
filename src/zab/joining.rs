//! From a leader's addresses to the epoch it has proposed: FOLLOWERINFO or OBSERVERINFO,
//! LEADERINFO, ACKEPOCH. The epoch is on the disk before the leader hears that it was accepted.

use crate::base::{Instant, Ticket, Zxid};
use crate::history::EpochFile;
use crate::peering::{AckEpoch, LEARNER_PROTOCOL, LeaderInfo, LearnerInfo, Packet, PacketKind};

use super::dialling::Dialling;
use super::discovery::LAST_EPOCH;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    LearnerOutput, LearnerSettings, LearnerStorage, LearnerTurn, Standing, ToLeader,
};

/// How a leader speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaderForm {
    /// The epoch is agreed on before the sync, whose end is NEWLEADER.
    Current,
    /// Before 3.4: NEWLEADER comes first of all, and the sync ends with UPTODATE.
    Old,
}

/// What there is to wait for.
#[derive(Debug)]
enum Stage {
    AwaitLink(Dialling),
    AwaitLeaderInfo,
    /// The new epoch is on its way to the disk.
    AwaitAccepted {
        ticket: Ticket,
        epoch: i64,
        since: Instant,
    },
    Joined {
        epoch: i64,
        form: LeaderForm,
    },
}

#[derive(Debug)]
pub(super) struct Joining {
    stage: Stage,
    standing: Standing,
}

impl Joining {
    pub fn new(
        settings: &LearnerSettings,
        standing: Standing,
        addresses: usize,
        turn: &mut LearnerTurn<'_>,
    ) -> Joining {
        let dialling = Dialling::new(addresses, settings, turn);
        Joining { stage: Stage::AwaitLink(dialling), standing }
    }

    /// The epoch that was agreed on, once it was.
    pub fn joined(&self) -> Option<(i64, LeaderForm)> {
        match self.stage {
            Stage::Joined { epoch, form } => Some((epoch, form)),
            _ => None,
        }
    }

    pub fn into_standing(self) -> Standing {
        self.standing
    }

    pub fn reads_packets(&self) -> bool {
        matches!(self.stage, Stage::AwaitLeaderInfo)
    }

    pub fn on_dialed(
        &mut self,
        address: usize,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) {
        let Stage::AwaitLink(dialling) = &mut self.stage else {
            return turn.push(LearnerOutput::HangUp { address });
        };
        dialling.on_dialed(address, turn);
        let info = LearnerInfo {
            server: settings.server,
            protocol: LEARNER_PROTOCOL,
            config_version: Some(settings.config_version),
        };
        let accepted_epoch = self.standing.accepted_epoch;
        turn.send(if settings.is_observer() {
            ToLeader::ObserverInfo { accepted_epoch, info }
        } else {
            ToLeader::FollowerInfo { accepted_epoch, info }
        });
        self.stage = Stage::AwaitLeaderInfo;
    }

    pub fn on_dial_failed(
        &mut self,
        address: usize,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        match &mut self.stage {
            Stage::AwaitLink(dialling) => dialling.on_failed(address, turn),
            _ => Ok(()),
        }
    }

    pub fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        assert!(self.reads_packets(), "nothing is read before it is asked for");
        let epoch = i64::from(packet.zxid.epoch());
        let kind = packet.kind;
        let accepted = self.standing.accepted_epoch;
        if !matches!(kind, PacketKind::LeaderInfo | PacketKind::NewLeader) {
            return Err(LearnerEnd::Unexpected { kind, awaited: "LEADERINFO" });
        }
        // No leader could outdo it.
        if epoch >= LAST_EPOCH {
            return Err(LearnerEnd::NoEpoch { proposed: epoch });
        }
        // Nobody counts on what an observer has accepted, so only what it has followed binds it.
        let bound = if settings.is_observer() { self.standing.current_epoch } else { accepted };
        if epoch < bound {
            return Err(LearnerEnd::EpochBehind { proposed: epoch, accepted: bound });
        }
        if kind == PacketKind::NewLeader {
            // What follows in the storage queue is behind the epoch, so there is no need to wait.
            if epoch > accepted {
                self.accept(epoch, turn);
            }
            self.stage = Stage::Joined { epoch, form: LeaderForm::Old };
            return Ok(());
        }
        let read = packet.body().and_then(LeaderInfo::read);
        read.map_err(|error| LearnerEnd::BadPacket { kind, error })?;
        if epoch <= accepted {
            self.ack_epoch(epoch, None, turn);
        } else {
            let ticket = self.accept(epoch, turn);
            self.stage = Stage::AwaitAccepted { ticket, epoch, since: turn.now };
        }
        Ok(())
    }

    fn accept(&mut self, epoch: i64, turn: &mut LearnerTurn<'_>) -> Ticket {
        let ticket = turn.next_ticket();
        let write = LearnerStorage::WriteEpoch { ticket, file: EpochFile::Accepted, epoch };
        turn.push(LearnerOutput::Storage(write));
        self.standing.accepted_epoch = epoch;
        ticket
    }

    pub fn on_durable(&mut self, ticket: Ticket, turn: &mut LearnerTurn<'_>) {
        if let Stage::AwaitAccepted { ticket: wanted, epoch, .. } = self.stage
            && wanted <= ticket
        {
            self.ack_epoch(epoch, Some(self.standing.current_epoch), turn);
        }
    }

    /// With `current_epoch` this counts as a vote for the new epoch. A server whose disk has lost
    /// what it promised has none.
    fn ack_epoch(&mut self, epoch: i64, current_epoch: Option<i64>, turn: &mut LearnerTurn<'_>) {
        let standing = &self.standing;
        let logged = match standing.can_rebuild {
            true if standing.wants_image => Zxid::ZERO,
            true => standing.tail.logged(),
            // As Java's empty database that nothing is known of; to an ensemble that is as empty,
            // 0 would be the same history as its own.
            false if standing.on_disk <= Zxid::ZERO => Zxid::NONE,
            false => Zxid::ZERO,
        };
        let is_whole = standing.can_rebuild && !standing.wants_image;
        let epoch_ack = AckEpoch { current_epoch: current_epoch.filter(|_| is_whole) };
        turn.send(ToLeader::AckEpoch { logged, epoch: epoch_ack });
        self.stage = Stage::Joined { epoch, form: LeaderForm::Current };
    }

    pub fn on_time(
        &mut self,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        match &mut self.stage {
            Stage::AwaitLink(dialling) => dialling.on_time(turn),
            Stage::AwaitAccepted { since, .. } => {
                let ms = turn.now.ms_since(*since);
                let hangs = ms >= settings.init_limit_ms();
                if hangs { Err(LearnerEnd::DiskHangs { ms }) } else { Ok(()) }
            }
            Stage::AwaitLeaderInfo | Stage::Joined { .. } => Ok(()),
        }
    }

    pub fn next_timeout(&self, settings: &LearnerSettings) -> Option<Instant> {
        match &self.stage {
            Stage::AwaitLink(dialling) => Some(dialling.next_timeout()),
            Stage::AwaitAccepted { since, .. } => Some(since.plus_ms(settings.init_limit_ms())),
            Stage::AwaitLeaderInfo | Stage::Joined { .. } => None,
        }
    }

    /// Gives up what is under way.
    pub fn leave(mut self, turn: &mut LearnerTurn<'_>) -> Standing {
        if let Stage::AwaitLink(dialling) = &mut self.stage {
            dialling.give_up(turn);
        }
        self.standing
    }
}
