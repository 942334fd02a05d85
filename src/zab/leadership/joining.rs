//! Learners on their way in: who they are, the epoch, and how each is brought to our history.

use std::sync::Arc;

use bytes::Bytes;
use log::info;

use crate::base::limits::EPOCHS_YIELDED_TO;
use crate::base::{ConnId, ServerId, Ticket, Zxid};
use crate::members::{Acks, MemberSpec, Slots};
use crate::peering::{LEARNER_PROTOCOL, Packet};

use super::super::acks::AckTable;
use super::super::discovery::{Step, Summary, take_ticket};
use super::super::feed::LearnerKind;
use super::super::feeding::{FirstAck, read_ack_epoch};
use super::super::learner::{Known, Learner, Stage};
use super::super::sync::Probed;
use super::{Ended, Ensemble, Leadership, Output, Parting, Passed, Reign, Turn, listed};

impl Leadership {
    pub(super) fn on_connected(&mut self, turn: &mut Turn<'_>, link: ConnId, room: usize) {
        let deadline = self.tick + self.settings.init_limit_ticks + self.settings.sync_limit_ticks;
        self.feeding.connect(turn, link, Learner::new(turn.now, room, deadline));
    }

    pub(super) fn on_closed(&mut self, link: ConnId) {
        if let Some(learner) = self.feeding.remove(link) {
            self.forget(&learner);
        }
    }

    /// Gives a learner's link up.
    pub(super) fn part(&mut self, turn: &mut Turn<'_>, link: ConnId, why: Parting) {
        if let Some(learner) = self.feeding.part(turn, link, why) {
            self.forget(&learner);
        }
    }

    /// The same where something was in vain.
    pub(super) fn part_unless(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        done: Result<(), Parting>,
    ) {
        if let Err(why) = done {
            self.part(turn, link, why);
        }
    }

    /// What a learner has said goes with it, but for its promise not to follow an earlier epoch.
    fn forget(&mut self, learner: &Learner) {
        let Some(server) = learner.server() else { return };
        self.discovery.on_left(server);
        let Some(reign) = &mut self.reign else { return };
        reign.acks.withdraw(server);
        if !reign.is_established {
            reign.supporters = without(&self.slots, reign.supporters, server);
        }
    }

    pub(super) fn on_packet<'a>(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: Packet<'a>,
    ) -> Option<Passed<'a>> {
        let taken = match self.feeding.hear(link, turn.now)? {
            Stage::AwaitInfo => self.on_info(turn, link, &packet).map(|()| None),
            Stage::AwaitAckEpoch(known) => {
                let known = *known;
                self.on_ack_epoch(turn, link, known, &packet).map(|()| None)
            }
            Stage::AwaitNewLeaderAck { .. } => {
                self.on_first_ack(turn, link, &packet).map(|()| None)
            }
            Stage::Synced { .. } => self.on_synced_packet(turn, link, packet),
            Stage::AwaitEpoch(_) | Stage::AwaitAgreement { .. } | Stage::AwaitProbe { .. } => {
                Err(Parting::OutOfTurn(packet.kind))
            }
        };
        match taken {
            Ok(passed) => passed,
            Err(why) => {
                self.part(turn, link, why);
                None
            }
        }
    }

    fn on_info(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Parting> {
        let (known, accepted) = self.feeding.read_info(packet, &self.ensemble.current)?;
        for earlier in self.feeding.earlier_links(link, known.server) {
            self.part(turn, earlier, Parting::Replaced);
        }
        if known.protocol >= LEARNER_PROTOCOL {
            self.yield_to_promise(turn, known.server, accepted)?;
            if self.is_over {
                return Ok(());
            }
        }
        if self.reign.is_none() && self.discovery.is_far_off(accepted) {
            return Err(Parting::Epoch(accepted));
        }
        self.feeding.set_stage(link, Stage::AwaitEpoch(known));
        self.discovery.on_info(known.server, accepted.max(0));
        self.proceed(turn);
        Ok(())
    }

    /// A voter has accepted a later epoch, of a leader that no quorum followed. It may not break
    /// that promise, and would stay outside for as long as this leadership lasts: the next one
    /// outdoes it. From far off such a claim costs the link. Who does not vote sees for itself, and
    /// so does who weighs nothing: no quorum needs it, and those who do not count shall not end
    /// what serves the others.
    fn yield_to_promise(
        &mut self,
        turn: &mut Turn<'_>,
        server: ServerId,
        accepted: i64,
    ) -> Result<(), Parting> {
        let Some(reign) = &self.reign else { return Ok(()) };
        let epoch = i64::from(reign.begin.epoch());
        if accepted <= epoch || !self.may_lead(server) {
            return Ok(());
        }
        if accepted > epoch + EPOCHS_YIELDED_TO {
            return Err(Parting::Epoch(accepted));
        }
        self.end(turn, Ended::VoterPromised { server, accepted, epoch });
        Ok(())
    }

    /// Takes every step that is possible by now.
    pub(super) fn proceed(&mut self, turn: &mut Turn<'_>) {
        let command = self.discovery.next_command(turn.last_ticket);
        turn.out.extend(command.map(Output::Storage));
        if self.reign.is_none() {
            return;
        }
        for (link, known) in self.feeding.those(|stage| match stage {
            Stage::AwaitEpoch(known) => Some(*known),
            _ => None,
        }) {
            if let Err(why) = self.offer_epoch(turn, link, known) {
                self.part(turn, link, why);
            }
            if self.is_over {
                return;
            }
        }
        // The oldest learners count as having accepted it by that.
        let command = self.discovery.next_command(turn.last_ticket);
        turn.out.extend(command.map(Output::Storage));
        if self.discovery.is_agreed() {
            for (link, ()) in self.feeding.those(|stage| match stage {
                Stage::AwaitAgreement { .. } => Some(()),
                _ => None,
            }) {
                self.begin_sync(turn, link, None);
            }
        }
        self.establish_if_supported(turn);
    }

    fn offer_epoch(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
    ) -> Result<(), Parting> {
        let Some(reign) = &self.reign else { return Ok(()) };
        if known.protocol < LEARNER_PROTOCOL {
            // It does not know of LEADERINFO, and has named its last zxid at once.
            let current_epoch = i64::from(known.said.epoch());
            let summary = Summary { current_epoch, last_zxid: known.said };
            return self.on_summary(turn, link, known, Some(summary), known.said);
        }
        let begin = reign.begin;
        self.feeding.offer_epoch(turn, link, known, begin);
        Ok(())
    }

    fn on_ack_epoch(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        packet: &Packet<'_>,
    ) -> Result<(), Parting> {
        let (summary, last_zxid) = read_ack_epoch(packet)?;
        self.on_summary(turn, link, known, summary, last_zxid)?;
        if !self.is_over {
            self.proceed(turn);
        }
        Ok(())
    }

    fn on_summary(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        summary: Option<Summary>,
        peer: Zxid,
    ) -> Result<(), Parting> {
        match self.discovery.on_ack_epoch(known.server, summary) {
            Ok(()) => self.feeding.set_stage(link, Stage::AwaitAgreement { known, peer }),
            // It would be followed by those who follow us: they elect it at once, instead of
            // waiting with us for a quorum that may not come. Nobody elects who weighs nothing: it
            // would end every leadership that it comes to in time.
            Err(ahead) if self.may_lead(known.server) => {
                self.end(turn, Ended::VoterAhead { server: known.server, ahead });
            }
            Err(ahead) => return Err(Parting::Ahead(ahead)),
        }
        Ok(())
    }

    /// Decides how a learner is brought to our history, as soon as the log has said what it must.
    pub(super) fn begin_sync(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        probed: Option<&Probed>,
    ) {
        let Some(reign) = &self.reign else { return };
        let ground = reign.ground(&self.ring, self.ours);
        let begun = self.feeding.begin_sync(turn, link, probed, &ground);
        self.part_unless(turn, link, begun);
    }

    fn on_first_ack(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Parting> {
        let Some(reign) = &mut self.reign else { return Ok(()) };
        match self.feeding.on_first_ack(link, packet, reign.begin)? {
            FirstAck::Other(zxid) => self.count_ack(turn, link, zxid),
            FirstAck::NewLeader(known) => {
                if reign.is_established {
                    self.feeding.welcome(link, reign.committed(self.ours));
                } else if known.kind == LearnerKind::Follower {
                    self.slots.add(&mut reign.supporters, known.server);
                }
                self.establish_if_supported(turn);
            }
        }
        Ok(())
    }

    /// All commands up to `ticket` are on disk, and the log up to `log`.
    pub(super) fn on_durable(&mut self, turn: &mut Turn<'_>, ticket: Ticket, log: Zxid) {
        if let Some(reign) = &mut self.reign {
            reign.acks.on_own_durable(log);
            self.ring.shed(log);
            self.commit(turn);
        }
        let Some(step) = self.discovery.on_durable(ticket) else { return };
        match step {
            Step::EpochAccepted => self.begin_reign(turn),
            Step::EpochCurrent => {
                if let Some(reign) = &mut self.reign {
                    self.slots.add(&mut reign.supporters, self.me);
                }
            }
        }
        self.phase_due = turn.now.plus_ms(self.settings.init_limit_ms());
        self.proceed(turn);
    }

    fn begin_reign(&mut self, turn: &mut Turn<'_>) {
        let epoch = self.discovery.epoch().expect("the epoch was accepted just now");
        let begin = Zxid::new(epoch, 0);
        let Ensemble { current, last_seen, reconfig_enabled } = &mut self.ensemble;
        // A configuration that nobody gave a version is one from now on, so that it wins over
        // those of servers that only see a part of it.
        if *reconfig_enabled && current.version == 0 && last_seen.version == 0 {
            *last_seen = current.clone();
            last_seen.version = begin.0;
            let (config, ticket) = (Box::new(last_seen.clone()), take_ticket(turn.last_ticket));
            turn.out.push(Output::LastSeen { config, ticket });
            self.set_quorums();
        }
        self.reign = Some(Reign {
            begin,
            text: Bytes::from(self.ensemble.last_seen.text()),
            supporters: Acks::default(),
            is_established: false,
            acks: AckTable::new(self.me, epoch),
        });
    }

    fn set_quorums(&mut self) {
        self.quorums = self.ensemble.quorums();
        self.slots = Arc::new(Slots::new(&self.quorums));
    }

    fn establish_if_supported(&mut self, turn: &mut Turn<'_>) {
        let Some(reign) = &mut self.reign else { return };
        let is_supported = self.slots.are_satisfied(reign.supporters);
        if reign.is_established || !self.discovery.is_done() || !is_supported {
            return;
        }
        info!(
            "Have quorum of supporters, sids: [[{}]]; starting up and setting last processed \
             zxid: 0x{:x}",
            listed(&self.slots.ackers(reign.supporters)),
            reign.begin
        );
        reign.is_established = true;
        turn.out.push(Output::Established { epoch: reign.begin.epoch() });
        let committed = reign.committed(self.ours);
        for (link, ()) in self.feeding.those(|stage| match stage {
            Stage::Synced { .. } => Some(()),
            _ => None,
        }) {
            self.feeding.welcome(link, committed);
        }
        if self.ensemble.reconfig_enabled {
            let before = self.ensemble.current.members.get(&self.me).cloned();
            self.ensemble.current = self.ensemble.last_seen.clone();
            self.set_quorums();
            self.is_dismissed = !self.is_led_to(before.as_ref());
        }
        self.begin_ticks(turn.now);
    }

    /// Whether this server leads by the configuration that is active, as the one that it was
    /// `before`.
    fn is_led_to(&self, before: Option<&MemberSpec>) -> bool {
        let current = &self.ensemble.current;
        let now = current.members.get(&self.me).filter(|_| current.is_voter(self.me));
        match (before, now) {
            (Some(before), Some(now)) => now.has_same_quorum_address(before),
            _ => false,
        }
    }
}

fn without(slots: &Slots, acks: Acks, server: ServerId) -> Acks {
    let mut rest = Acks::default();
    for acker in slots.ackers(acks).into_iter().filter(|acker| *acker != server) {
        slots.add(&mut rest, acker);
    }
    rest
}
