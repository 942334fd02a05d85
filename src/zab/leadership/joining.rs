//! Learners on their way in: who they are, the epoch, and how each is brought to our history.

use std::sync::Arc;

use bytes::Bytes;
use log::{info, warn};

use crate::base::{ConnId, ServerId, Ticket, Zxid, limits};
use crate::members::{Acks, MemberSpec, Slots};
use crate::peering::{AckEpoch, LEARNER_PROTOCOL, LeaderInfo, LearnerInfo, Packet, PacketKind};

use super::super::acks::AckTable;
use super::super::discovery::{LAST_EPOCH, Step, Summary};
use super::super::feed::{Feed, LearnerKind, Note, Outgoing};
use super::super::learner::{Known, Learner, Stage};
use super::super::sync::{Decision, Probed, Reason, Verdict, decide};
use super::{
    Ended, Ensemble, LeaderSettings, Leadership, Output, Parting, Passed, Reign, Turn, listed,
};

impl Leadership {
    pub(super) fn on_connected(&mut self, turn: &mut Turn<'_>, link: ConnId, room: usize) {
        if self.learners.len() >= limits::LEARNERS {
            return turn.out.push(Output::Close { link, why: Parting::TooManyLearners });
        }
        let deadline = self.tick + self.settings.init_limit_ticks + self.settings.sync_limit_ticks;
        let earlier = self.learners.insert(link, Learner::new(turn.now, room, deadline));
        assert!(earlier.is_none(), "a link is opened once");
    }

    pub(super) fn on_closed(&mut self, link: ConnId) {
        if let Some(learner) = self.learners.remove(&link) {
            self.forget(&learner);
        }
    }

    /// Gives a learner's link up.
    pub(super) fn part(&mut self, turn: &mut Turn<'_>, link: ConnId, why: Parting) {
        let Some(learner) = self.learners.remove(&link) else { return };
        let sid = learner.server().map_or(0, |server| server.0);
        warn!("******* GOODBYE sid:{sid} ******** ({why:?})");
        turn.out.push(Output::Close { link, why });
        self.forget(&learner);
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
        let learner = self.learners.get_mut(&link)?;
        learner.heard = turn.now;
        let taken = match learner.stage {
            Stage::AwaitInfo => self.on_info(turn, link, &packet).map(|()| None),
            Stage::AwaitAckEpoch(known) => {
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
        let kind = match packet.kind {
            PacketKind::FollowerInfo => LearnerKind::Follower,
            PacketKind::ObserverInfo => LearnerKind::Observer,
            other => return Err(Parting::OutOfTurn(other)),
        };
        let info = match packet.data {
            Some(data) => LearnerInfo::read(data).map_err(Parting::Undecodable)?,
            None => self.number_anonymous(),
        };
        let LearnerInfo { server, protocol, config_version } = info;
        if server == self.me {
            return Err(Parting::OurId);
        }
        let ours = self.ensemble.current.version;
        if let Some(version) = config_version.filter(|version| *version > ours) {
            return Err(Parting::NewerConfiguration(version));
        }
        let accepted = packet.zxid.0 >> 32;
        if !(0..LAST_EPOCH).contains(&accepted) {
            return Err(Parting::Epoch(accepted));
        }
        match self.ensemble.current.members.get(&server) {
            Some(member) => info!("Follower sid: {} : info : {member}", server.0),
            None => info!("Follower sid: {} not in the current config {ours:x}", server.0),
        }
        self.replace(turn, link, server);
        let known = Known { server, kind, protocol, said: packet.zxid };
        self.set_stage(link, Stage::AwaitEpoch(known));
        self.discovery.on_info(server, accepted);
        self.proceed(turn);
        Ok(())
    }

    /// Java's numbering, which nobody looks at.
    fn number_anonymous(&mut self) -> LearnerInfo {
        let server = ServerId(self.next_anonymous);
        self.next_anonymous -= 1;
        LearnerInfo { server, protocol: 1, config_version: None }
    }

    /// A server that comes again has lost its earlier link, whether we have noticed or not.
    fn replace(&mut self, turn: &mut Turn<'_>, link: ConnId, server: ServerId) {
        let earlier = self
            .learners
            .iter()
            .filter(|(other, learner)| **other != link && learner.server() == Some(server));
        for other in earlier.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.part(turn, other, Parting::Replaced);
        }
    }

    fn set_stage(&mut self, link: ConnId, stage: Stage) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.stage = stage;
        }
    }

    /// Takes every step that is possible by now.
    pub(super) fn proceed(&mut self, turn: &mut Turn<'_>) {
        let command = self.discovery.next_command(turn.last_ticket);
        turn.out.extend(command.map(Output::Storage));
        if self.reign.is_none() {
            return;
        }
        for (link, known) in self.those(|stage| match stage {
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
            for (link, ()) in self.those(|stage| match stage {
                Stage::AwaitAgreement { .. } => Some(()),
                _ => None,
            }) {
                self.begin_sync(turn, link, None);
            }
        }
        self.establish_if_supported(turn);
    }

    fn those<T>(&self, wanted: impl Fn(&Stage) -> Option<T>) -> Vec<(ConnId, T)> {
        let found = |(link, learner): (&ConnId, &Learner)| Some((*link, wanted(&learner.stage)?));
        self.learners.iter().filter_map(found).collect()
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
        let mut data = Vec::with_capacity(4);
        LeaderInfo { protocol: LEARNER_PROTOCOL }.write(&mut data);
        let (kind, zxid, data) = (PacketKind::LeaderInfo, reign.begin, Some(Bytes::from(data)));
        let outgoing = Outgoing::Packet { kind, zxid, data };
        turn.out.push(Output::Send { link, outgoing });
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard = turn.now;
            learner.stage = Stage::AwaitAckEpoch(known);
        }
        Ok(())
    }

    fn on_ack_epoch(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        known: Known,
        packet: &Packet<'_>,
    ) -> Result<(), Parting> {
        if packet.kind != PacketKind::AckEpoch {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let said = packet.body().and_then(AckEpoch::read).map_err(Parting::Undecodable)?;
        let last_zxid = packet.zxid;
        let summary = said.current_epoch.map(|current_epoch| Summary { current_epoch, last_zxid });
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
            Ok(()) => self.set_stage(link, Stage::AwaitAgreement { known, peer }),
            // It would be followed by those who follow us: they elect it at once, instead of
            // waiting with us for a quorum that may not come.
            Err(ahead) if self.is_voter(known.server) => {
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
        let Some(learner) = self.learners.get(&link) else { return };
        let (Stage::AwaitAgreement { known, peer } | Stage::AwaitProbe { known, peer }) =
            learner.stage
        else {
            return;
        };
        let verdict = match self.image_next.contains(&known.server) {
            true => Verdict::Decided(Decision::Snap, Reason::Hole),
            false => decide(&self.facts(), peer, probed),
        };
        match verdict {
            Verdict::AskLog => {
                self.set_stage(link, Stage::AwaitProbe { known, peer });
                turn.out.push(Output::AskLog { link, zxid: peer });
            }
            Verdict::Decided(decision, reason) => {
                self.log_sync(known.server, peer, decision, reason);
                self.start_feed(turn, link, known, decision);
            }
        }
    }

    fn log_sync(&self, server: ServerId, peer: Zxid, decision: Decision, reason: Reason) {
        let facts = self.facts();
        info!(
            "Synchronizing with Learner sid: {} maxCommittedLog=0x{:x} minCommittedLog=0x{:x} \
             lastProcessedZxid=0x{:x} peerLastZxid=0x{peer:x}",
            server.0,
            facts.committed,
            facts.ring.after(),
            facts.processed
        );
        let zxid = match decision {
            Decision::Diff { zxid, .. } | Decision::Trunc { zxid } => zxid,
            Decision::Snap => facts.committed,
        };
        let name = decision.name();
        info!("Sending {name} zxid=0x{zxid:x}  for peer sid: {}: {reason}", server.0);
    }

    fn start_feed(&mut self, turn: &mut Turn<'_>, link: ConnId, known: Known, decision: Decision) {
        let by_snap = decision == Decision::Snap;
        let syncing = self.learners.values().filter(|l| l.is_syncing_by_snap() == Some(by_snap));
        let LeaderSettings { max_snap_syncs, max_diff_syncs, .. } = self.settings;
        let most = if by_snap { max_snap_syncs } else { max_diff_syncs };
        // Those who vote are needed.
        if known.kind == LearnerKind::Observer && syncing.count() >= most {
            return self.part(turn, link, Parting::TooManySyncs);
        }
        let (Some(reign), Some(view)) = (&self.reign, self.view()) else { return };
        let text = (known.protocol >= LEARNER_PROTOCOL).then(|| reign.text.clone());
        let room = self.learners.get(&link).map_or(0, |learner| learner.room);
        let feed = Feed::new(known.kind, decision, &view, text, room);
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard = turn.now;
            learner.stage = Stage::AwaitNewLeaderAck { known, feed, is_snap: by_snap };
        }
    }

    /// All that comes before the ACK of NEWLEADER are ACKs: servers of some versions acknowledge
    /// what they were sent before it, too.
    fn on_first_ack(
        &mut self,
        turn: &mut Turn<'_>,
        link: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Parting> {
        let (Some(reign), Some(learner)) = (&mut self.reign, self.learners.get_mut(&link)) else {
            return Ok(());
        };
        if packet.kind != PacketKind::Ack {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        if packet.zxid != reign.begin {
            self.count_ack(turn, link, packet.zxid);
            return Ok(());
        }
        if !learner.feed().is_some_and(Feed::has_new_leader) {
            return Err(Parting::OutOfTurn(packet.kind));
        }
        let Stage::AwaitNewLeaderAck { known, mut feed, .. } =
            std::mem::replace(&mut learner.stage, Stage::AwaitInfo)
        else {
            panic!("only who is brought up is awaited so");
        };
        if reign.is_established {
            welcome(&mut feed, reign.committed(self.ours));
        } else if known.kind == LearnerKind::Follower {
            self.slots.add(&mut reign.supporters, known.server);
        }
        learner.stage = Stage::Synced { known, feed };
        self.image_next.remove(&known.server);
        self.establish_if_supported(turn);
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
        self.phase_due = turn.now.plus_ms(self.init_limit_ms());
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
            turn.out.push(Output::LastSeen(Box::new(last_seen.clone())));
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
        for learner in self.learners.values_mut() {
            if let Stage::Synced { feed, .. } = &mut learner.stage {
                welcome(feed, committed);
            }
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

/// The learner may serve clients once it has been told of what is committed by now.
fn welcome(feed: &mut Feed, committed: Zxid) {
    feed.say(committed, Note::UpToDate).expect("it is the first thing that is said to it");
}

fn without(slots: &Slots, acks: Acks, server: ServerId) -> Acks {
    let mut rest = Acks::default();
    for acker in slots.ackers(acks).into_iter().filter(|acker| *acker != server) {
        slots.add(&mut rest, acker);
    }
    rest
}
