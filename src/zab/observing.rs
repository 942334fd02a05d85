//! An observer of an established leader: what it is informed of is committed, so it goes to the
//! state at once and to the log beside it.

use crate::base::{Instant, Rng, Ticket};
use crate::peering::{Packet, PacketKind};
use crate::proto::Entry;

use super::continuity::Continuity;
use super::learner_end::LearnerEnd;
use super::learner_seam::{
    ConfigPlace, LearnerOutput, LearnerSettings, LearnerStorage, LearnerTurn,
};
use super::ledger::Ledger;
use super::reading::{activation_of, config_to_activate, entry_of};
use super::requests::Requests;
use super::watch::Watch;

#[derive(Debug)]
pub(super) struct Observing<O> {
    pub epoch: i64,
    pub ledger: Ledger,
    pub watch: Watch,
    pub requests: Requests<O>,
    /// The n-th answer is to the n-th ping since UPTODATE.
    pings: u64,
}

impl<O> Observing<O> {
    /// Goes on with what the sync has left.
    pub fn new(
        epoch: i64,
        ledger: Ledger,
        settings: &LearnerSettings,
        now: Instant,
    ) -> Observing<O> {
        let limit_ms = settings.sync_limit_ms();
        let watch = Watch::new(now, limit_ms, limit_ms, settings.tick_ms);
        Observing { epoch, ledger, watch, requests: Requests::new(), pings: 0 }
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
            PacketKind::Inform => {
                let entry = entry_of(packet, packet.body(), self.epoch)?;
                self.on_inform(entry, packet.data.unwrap_or_default())
            }
            PacketKind::InformAndActivate => self.on_inform_and_activate(packet, settings, turn),
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
            PacketKind::Proposal | PacketKind::Commit => {
                log::warn!("Ignoring {kind:?} of 0x{:x}", packet.zxid);
                Ok(())
            }
            PacketKind::UpToDate => {
                log::error!("Received an UPTODATE message after Observer started");
                Ok(())
            }
            _ => Err(LearnerEnd::Unexpected { kind, awaited: "what an observer is sent" }),
        }
    }

    fn on_inform(&mut self, entry: Entry, raw: &[u8]) -> Result<(), LearnerEnd> {
        let zxid = entry.header.zxid;
        let last = self.ledger.progress().logged;
        match self.ledger.judge(zxid) {
            Continuity::Next => {
                self.ledger.take(entry, raw)?;
                self.ledger.commit(zxid)
            }
            Continuity::Duplicate => {
                log::warn!("0x{zxid:x} came once more");
                Ok(())
            }
            Continuity::Gap => Err(LearnerEnd::Gap { last, found: zxid, in_sync: false }),
            Continuity::Back => Err(LearnerEnd::Back { last, found: zxid }),
        }
    }

    fn on_inform_and_activate(
        &mut self,
        packet: &Packet<'_>,
        settings: &LearnerSettings,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let activation = activation_of(packet)?;
        let entry = entry_of(packet, Ok(activation.record), self.epoch)?;
        let zxid = entry.header.zxid;
        let config = config_to_activate(Some(&entry), zxid, settings.rules)?;
        self.on_inform(entry, activation.record)?;
        let (leader, zxid) = (Some(activation.leader), Some(zxid));
        turn.push(LearnerOutput::Activate { config: config.clone(), leader, zxid });
        self.ledger.flush(turn);
        let place = ConfigPlace::Active;
        let write = |ticket| LearnerStorage::WriteConfig { ticket, config, place };
        self.ledger.command(turn, write);
        Ok(())
    }

    pub fn on_durable(&mut self, ticket: Ticket) {
        self.ledger.on_durable(ticket);
    }

    pub fn end_turn(&mut self, turn: &mut LearnerTurn<'_>) {
        self.ledger.flush(turn);
    }
}

/// How long an observer waits, so that not all of them come at once to whoever leads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObserverDelays {
    /// `zookeeper.observer.election.DelayMs`: after its leader is gone, before the election.
    pub election_ms: u64,
    /// `zookeeper.observer.reconnectDelayMs`: before it dials a leader; before it begins anew with
    /// the first of its observer masters.
    pub reconnect_ms: u64,
}

impl ObserverDelays {
    /// When the election begins.
    pub fn election_at(&self, now: Instant, rng: &mut Rng) -> Instant {
        now.plus_ms(rng.below(self.election_ms))
    }

    /// When the next dial begins.
    pub fn dial_at(&self, now: Instant, rng: &mut Rng) -> Instant {
        now.plus_ms(rng.below(self.reconnect_ms))
    }
}
