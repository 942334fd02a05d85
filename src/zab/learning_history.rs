//! The txns of a sync: what a leader sends of its history, before NEWLEADER and behind it.

use bytes::Bytes;

use crate::base::{ServerId, Zxid};
use crate::members::Membership;
use crate::peering::{Packet, PacketKind};
use crate::proto::Entry;

use super::continuity::Continuity;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    ConfigPlace, LearnerOutput, LearnerSettings, LearnerStorage, LearnerTurn,
};
use super::learning::Learning;
use super::reading::{activation_of, config_of, config_to_activate, entry_of, reconfig_of};

impl Learning {
    pub(super) fn on_new_leader(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        log::info!("Learner received NEWLEADER message");
        if packet.zxid != Zxid(self.epoch << 32) {
            return Err(LearnerEnd::WrongEpoch { zxid: packet.zxid, epoch: self.epoch });
        }
        if let Some(text) = packet.data.filter(|text| text.len() > 1) {
            match config_of(text, settings.rules) {
                Some(config) => {
                    self.see_config(config.clone(), turn);
                    self.config = Some(config);
                }
                // As Java, which goes on with the one it has.
                None => log::warn!("NEWLEADER holds a text that is no configuration"),
            }
        }
        self.log_everything(settings, turn);
        Ok(())
    }

    /// A txn, or word of one. `is_behind`: NEWLEADER has come.
    pub(super) fn on_history(
        &mut self,
        packet: &Packet<'_>,
        is_behind: bool,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        // An image's zxid is read before its first byte is written, so whatever lies up to there
        // is in it. Java leaders send the last of that once more.
        let is_imaged = self.image_zxid().is_some_and(|image| packet.zxid <= image);
        let kind = packet.kind;
        match kind {
            PacketKind::Proposal => {
                let entry = entry_of(packet, packet.body(), self.epoch)?;
                if is_imaged {
                    return Ok(());
                }
                let raw = packet.data.unwrap_or_default();
                if settings.is_observer() {
                    return self.on_proposal_to_observer(entry, raw, settings);
                }
                self.on_proposal(entry, raw, is_behind, settings, turn)
            }
            PacketKind::Commit if is_imaged => Ok(()),
            PacketKind::Commit => self.on_commit(packet.zxid),
            PacketKind::CommitAndActivate => {
                let leader = activation_of(packet)?.leader;
                if is_imaged {
                    return Ok(());
                }
                let first = match settings.is_observer() {
                    true => self.proposed.front().map(|(entry, _)| entry),
                    false => self.ledger.first_uncommitted(),
                };
                let config = config_to_activate(first, packet.zxid, settings.rules)?;
                self.on_commit(packet.zxid)?;
                self.activate(config, Some(leader), Some(packet.zxid), turn);
                Ok(())
            }
            PacketKind::Inform => {
                let entry = entry_of(packet, packet.body(), self.epoch)?;
                if is_imaged {
                    return Ok(());
                }
                self.on_inform(entry, packet.data.unwrap_or_default())
            }
            PacketKind::InformAndActivate => {
                let activation = activation_of(packet)?;
                let entry = entry_of(packet, Ok(activation.record), self.epoch)?;
                if is_imaged {
                    return Ok(());
                }
                let config = config_to_activate(Some(&entry), packet.zxid, settings.rules)?;
                self.on_inform(entry, activation.record)?;
                self.activate(config, Some(activation.leader), Some(packet.zxid), turn);
                Ok(())
            }
            _ => Err(LearnerEnd::Unexpected { kind, awaited: "the leader's history" }),
        }
    }

    fn on_proposal(
        &mut self,
        entry: Entry,
        raw: &[u8],
        is_behind: bool,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let zxid = entry.header.zxid;
        let config = reconfig_of(&entry, settings.rules)?;
        let continuity = self.follows(zxid)?;
        if let Some(config) = config {
            self.see_config(config, turn);
        }
        match continuity {
            Continuity::Next => self.ledger.take(entry, raw)?,
            _ => self.ledger.take_again(zxid),
        }
        if is_behind {
            self.ledger.owe_ack(zxid);
        }
        Ok(())
    }

    /// An observer has no say, so what is only proposed to it may still go: it waits here.
    fn on_proposal_to_observer(
        &mut self,
        entry: Entry,
        raw: &[u8],
        settings: &LearnerSettings,
    ) -> Result<(), LearnerEnd> {
        let zxid = entry.header.zxid;
        let before = self.proposed.back().map(|(entry, _)| entry.header.zxid);
        let last = before.unwrap_or(self.ledger.progress().logged);
        match Continuity::of(last, zxid) {
            Continuity::Next => {
                self.proposed_bytes += raw.len();
                if self.proposed_bytes > settings.pending_bytes {
                    return Err(LearnerEnd::TooMuchPending);
                }
                self.proposed.push_back((entry, Bytes::copy_from_slice(raw)));
            }
            Continuity::Duplicate => log::warn!("0x{zxid:x} was proposed once more"),
            Continuity::Gap => return Err(LearnerEnd::Gap { last, found: zxid, in_sync: true }),
            Continuity::Back => return Err(LearnerEnd::Back { last, found: zxid }),
        }
        Ok(())
    }

    fn on_commit(&mut self, zxid: Zxid) -> Result<(), LearnerEnd> {
        let Some((entry, _)) = self.proposed.front() else { return self.ledger.commit(zxid) };
        let waits = entry.header.zxid;
        if zxid != waits {
            return Err(LearnerEnd::CommitMismatch { waits, named: zxid });
        }
        self.commit_proposed()
    }

    fn commit_proposed(&mut self) -> Result<(), LearnerEnd> {
        let Some((entry, raw)) = self.proposed.pop_front() else { return Ok(()) };
        let zxid = entry.header.zxid;
        self.proposed_bytes -= raw.len();
        self.ledger.take(entry, &raw)?;
        self.ledger.commit(zxid)
    }

    /// Proposed and committed at once.
    fn on_inform(&mut self, entry: Entry, raw: &[u8]) -> Result<(), LearnerEnd> {
        let zxid = entry.header.zxid;
        if !self.proposed.is_empty() {
            return self.on_commit(zxid);
        }
        if self.follows(zxid)? == Continuity::Next {
            self.ledger.take(entry, raw)?;
        } else if zxid <= self.ledger.progress().committed {
            return Ok(());
        }
        self.ledger.commit(zxid)
    }

    /// Whether a txn is the next one or known; whatever else it is ends the link.
    fn follows(&self, zxid: Zxid) -> Result<Continuity, LearnerEnd> {
        let last = self.ledger.progress().logged;
        match self.ledger.judge(zxid) {
            Continuity::Gap => Err(LearnerEnd::Gap { last, found: zxid, in_sync: true }),
            Continuity::Back => Err(LearnerEnd::Back { last, found: zxid }),
            Continuity::Duplicate => {
                log::warn!("0x{zxid:x} came once more");
                Ok(Continuity::Duplicate)
            }
            Continuity::Next => Ok(Continuity::Next),
        }
    }

    /// Before its txn is logged, as Java's: whoever has the txn knows whose votes it takes.
    fn see_config(&mut self, config: Box<Membership>, turn: &mut LearnerTurn<'_>) {
        self.write_config(config, ConfigPlace::LastSeen, turn);
    }

    pub(super) fn activate(
        &mut self,
        config: Box<Membership>,
        leader: Option<ServerId>,
        zxid: Option<Zxid>,
        turn: &mut LearnerTurn<'_>,
    ) {
        turn.push(LearnerOutput::Activate { config: config.clone(), leader, zxid });
        self.write_config(config, ConfigPlace::Active, turn);
    }

    fn write_config(
        &mut self,
        config: Box<Membership>,
        place: ConfigPlace,
        turn: &mut LearnerTurn<'_>,
    ) {
        self.ledger.flush(turn);
        let write = |ticket| LearnerStorage::WriteConfig { ticket, config, place };
        self.ledger.command(turn, write);
    }
}
