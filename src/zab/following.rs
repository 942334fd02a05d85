//! A follower of an established leader: proposals to the log, ACKs from the disk, commits to the
//! state.

use crate::base::{Instant, Ticket};
use crate::peering::{Packet, PacketKind};

use super::continuity::Continuity;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    ConfigPlace, LearnerOutput, LearnerSettings, LearnerStorage, LearnerTurn,
};
use super::ledger::Ledger;
use super::reading::{activation_of, config_to_activate, entry_of, reconfig_of};
use super::requests::Requests;
use super::watch::Watch;

#[derive(Debug)]
pub(super) struct Following<O> {
    pub epoch: i64,
    pub ledger: Ledger,
    pub watch: Watch,
    pub requests: Requests<O>,
    /// The n-th answer is to the n-th ping since UPTODATE.
    pings: u64,
}

impl<O> Following<O> {
    /// Goes on with what the sync has left.
    pub fn new(
        epoch: i64,
        ledger: Ledger,
        settings: &LearnerSettings,
        now: Instant,
    ) -> Following<O> {
        let limit_ms = settings.sync_limit_ms();
        let watch = Watch::new(now, limit_ms, limit_ms, settings.tick_ms);
        Following { epoch, ledger, watch, requests: Requests::new(), pings: 0 }
    }

    pub fn on_packet(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        self.watch.hear(turn.now);
        let kind = packet.kind;
        match kind {
            PacketKind::Proposal => self.on_proposal(packet, settings, turn),
            PacketKind::Commit => self.ledger.commit(packet.zxid),
            PacketKind::CommitAndActivate => self.on_commit_and_activate(packet, settings, turn),
            PacketKind::Ping => {
                self.pings += 1;
                turn.push(LearnerOutput::AnswerPing { zxid: packet.zxid, number: self.pings });
                Ok(())
            }
            PacketKind::Sync => {
                self.requests.on_sync(self.ledger.progress().committed, turn);
                Ok(())
            }
            PacketKind::Revalidate => self.requests.on_revalidate(packet, turn),
            PacketKind::UpToDate => {
                log::error!("Received an UPTODATE message after Follower started");
                Ok(())
            }
            _ => Err(LearnerEnd::Unexpected { kind, awaited: "what a follower is sent" }),
        }
    }

    fn on_proposal(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let entry = entry_of(packet, packet.body(), self.epoch)?;
        let zxid = entry.header.zxid;
        let config = reconfig_of(&entry, settings.rules)?;
        let last = self.ledger.progress().logged;
        let continuity = self.ledger.judge(zxid);
        match continuity {
            Continuity::Next => {}
            Continuity::Duplicate => log::warn!("0x{zxid:x} was proposed once more"),
            Continuity::Gap => return Err(LearnerEnd::Gap { last, found: zxid, in_sync: false }),
            Continuity::Back => return Err(LearnerEnd::Back { last, found: zxid }),
        }
        // As Java's: whoever has the txn knows whose votes it takes, and so does who has said so.
        if let Some(config) = config {
            self.ledger.flush(turn);
            let place = ConfigPlace::LastSeen;
            let write = |ticket| LearnerStorage::WriteConfig { ticket, config, place };
            self.ledger.command(turn, write);
        }
        if continuity == Continuity::Next {
            self.ledger.take(entry, packet.data.unwrap_or_default())?;
        }
        self.ledger.owe_ack(zxid);
        Ok(())
    }

    fn on_commit_and_activate(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let (zxid, leader) = (packet.zxid, activation_of(packet)?.leader);
        let config = config_to_activate(self.ledger.first_uncommitted(), zxid, settings.rules)?;
        self.ledger.commit(zxid)?;
        let (leader, zxid) = (Some(leader), Some(zxid));
        turn.push(LearnerOutput::Activate { config: config.clone(), leader, zxid });
        self.ledger.flush(turn);
        let place = ConfigPlace::Active;
        let write = |ticket| LearnerStorage::WriteConfig { ticket, config, place };
        self.ledger.command(turn, write);
        Ok(())
    }

    pub fn on_durable(&mut self, ticket: Ticket, turn: &mut LearnerTurn<'_>) {
        self.ledger.on_durable(ticket);
        self.ledger.send_acks(turn);
    }

    /// This turn's records go to the log. What was proposed once more may be durable already.
    pub fn end_turn(&mut self, turn: &mut LearnerTurn<'_>) {
        self.ledger.flush(turn);
        self.ledger.send_acks(turn);
    }
}
