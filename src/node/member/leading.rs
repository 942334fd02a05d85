//! A leadership carried out: what happens goes in, and what it wants done is done.

use bytes::Bytes;

use crate::base::{ConnId, Ticket, Zxid, limits};
use crate::history::{LogPlace, StorageCommand};
use crate::peering::{Packet, Splitter};
use crate::zab::{
    self, ConfigPlace, Ended, Leadership, Leading, Output, Passed, Place, Probed, Recent, Start,
    Summary, Tail,
};

use super::super::seam::Effects;
use super::super::{Node, Origin};
use super::leader::Leader;
use super::{Role, Use, entries, entry_of};

impl Node {
    pub(super) fn begin_leading(&mut self, out: &mut Effects) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let last_zxid = member.tail.logged();
        let ring = member.remembered.take(last_zxid);
        let start = Start {
            me: member.settings.me,
            settings: member.settings.leader,
            ensemble: member.ensemble.clone(),
            accepted_epoch: member.accepted_epoch.max(member.promised_elsewhere),
            ours: Summary { current_epoch: member.current_epoch, last_zxid },
            ring,
        };
        let mut outputs = Vec::new();
        let turn = &mut zab::Turn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let leadership = Leadership::begin(start, turn);
        member.role = Role::Leading(Box::new(Leader::new(leadership)));
        self.carry_out_leading(outputs, out);
    }

    /// Tells the leadership what happened, does what it wants, and hands on what it has passed.
    pub(super) fn tell_leader(&mut self, input: zab::Input<'_>, out: &mut Effects) {
        let passed = self.with_leader(out, |leadership, turn| leadership.handle(turn, input));
        if let Some(passed) = passed.flatten() {
            self.on_passed(passed, out);
        }
        self.end_leading_if_over(out);
    }

    pub(super) fn with_leader<R>(
        &mut self,
        out: &mut Effects,
        act: impl FnOnce(&mut Leadership, &mut zab::Turn<'_>) -> R,
    ) -> Option<R> {
        let now = self.now.mono;
        let leader = self.member.as_deref_mut()?.leader()?;
        let mut outputs = Vec::new();
        let turn = &mut zab::Turn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let result = act(&mut leader.leadership, turn);
        self.carry_out_leading(outputs, out);
        Some(result)
    }

    fn carry_out_leading(&mut self, outputs: Vec<Output>, out: &mut Effects) {
        for output in outputs {
            self.on_leader_output(output, out);
        }
    }

    fn on_leader_output(&mut self, output: Output, out: &mut Effects) {
        match output {
            Output::Storage(command) => self.hand_over(command, out),
            Output::LastSeen { config, ticket } => {
                let files = self.files_of(&config, ConfigPlace::LastSeen);
                if !files.is_empty() {
                    self.hand_over(StorageCommand::ReplaceFiles { ticket, files }, out);
                }
            }
            Output::Established { epoch } => self.establish_leader(epoch, out),
            Output::Committed { through } => {
                self.leading.commit(through);
                self.note_commit(through);
                self.feed_starved();
            }
            Output::Ended(why) => {
                if let Ended::VoterChangedMind { .. } = why {
                    self.metrics.quit_leading_due_to_disloyal_voter.one();
                }
                let Some(member) = self.member.as_deref_mut() else { return };
                if let Ended::VoterPromised { accepted, .. } = why {
                    member.promised_elsewhere = member.promised_elsewhere.max(accepted);
                }
                if let Some(leader) = member.leader() {
                    leader.ended = Some(why);
                }
            }
            fed => self.on_feeding_output(fed, out),
        }
    }

    /// A quorum follows: what was recovered is committed, and from here on there are proposals.
    fn establish_leader(&mut self, epoch: u32, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let took_ms = self.now.mono.ms_since(member.looking_since);
        log::info!(
            "Have quorum of supporters; starting up and setting last processed zxid: \
             0x{:x} ({took_ms} ms since the election began)",
            Zxid::new(epoch, 0)
        );
        let tail = std::mem::take(&mut member.tail);
        let replay_until = tail.replay_until();
        self.leading = Leading::of_ensemble(Zxid::new(epoch, 0));
        self.prepare.clear();
        self.establish_role(tail.into_entries().into(), replay_until);
        self.show_members();
        if let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) {
            leader.since = Some(self.now.mono);
        }
        if let Some(member) = self.member.as_deref() {
            // A quorum has taken it over with NEWLEADER.
            let config = member.ensemble.last_seen.clone();
            self.activate(config.clone(), None, out);
            self.keep_config(&config, ConfigPlace::Active, out);
        }
        self.with_election(|election, _, out| election.correct_epoch(i64::from(epoch), out));
    }

    pub(super) fn end_leading_if_over(&mut self, out: &mut Effects) {
        let leader = self.member.as_deref_mut().and_then(|member| member.leader());
        if leader.is_some_and(|leader| leader.ended.is_some()) {
            self.leave_leadership(out);
        }
    }

    /// What was proposed and not committed stays in the log: the next leader says what of it.
    fn leave_leadership(&mut self, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let role = std::mem::replace(&mut member.role, Role::Settling { rebuilds: false });
        let Role::Leading(leader) = role else { return };
        if leader.leadership.is_established() {
            let idle = Leading::new(Zxid::ZERO, Zxid::ZERO);
            let leading: Leading<Origin> = std::mem::replace(&mut self.leading, idle);
            let entries: Vec<_> = leading.into_logged().map(entry_of).collect();
            member.tail = Tail::new(self.state.last_zxid(), entries, Zxid::ZERO);
        }
        member.remembered.give_back(leader.leadership.into_ring());
        self.leave_role(false, out);
    }

    pub(super) fn run_leader_timer(&mut self, out: &mut Effects) {
        let now = self.now.mono;
        let leader = self.member.as_deref_mut().and_then(|member| member.leader());
        let due = leader.and_then(|leader| leader.leadership.next_timeout());
        if due.is_some_and(|at| at <= now) {
            self.tell_leader(zab::Input::Time, out);
        }
        if let Some(ms) = self.storage_wait.hanging_ms(now) {
            self.with_leader(out, |leadership, turn| {
                leadership.end(turn, Ended::DiskHangs { ms });
            });
            self.end_leading_if_over(out);
        }
    }

    /// Everything up to `ticket` is on disk.
    pub(super) fn leader_durable(&mut self, ticket: Ticket, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let Role::Leading(leader) = &member.role else { return };
        let is_established = leader.leadership.is_established();
        let log =
            if is_established { self.leading.progress().durable } else { member.tail.logged() };
        if is_established {
            self.note_own_ack(log);
        }
        self.tell_leader(zab::Input::Durable { ticket, log }, out);
    }

    pub(super) fn on_learner_bytes(
        &mut self,
        link: ConnId,
        mut splitter: Box<Splitter>,
        bytes: &[u8],
        out: &mut Effects,
    ) {
        if self.is_up_to_date(link)
            && let Some(member) = self.member.as_deref()
        {
            splitter.widen(member.settings.packet_bytes);
        }
        let mut input = bytes;
        loop {
            match splitter.next(&mut input) {
                Ok(Some(packet)) => self.on_learner_packet(link, packet, out),
                Ok(None) => break,
                Err(fault) => {
                    log::warn!("Closing a learner's link: {fault}");
                    return self.turn_away(link, out);
                }
            }
            let Some(member) = self.member.as_deref_mut() else { return };
            if !matches!(member.uses.get(&link), Some(Use::Learner(_))) {
                return;
            }
        }
        let Some(member) = self.member.as_deref_mut() else { return };
        if let Some(Use::Learner(lent)) = member.uses.get_mut(&link) {
            member.held.set(link, splitter.held());
            *lent = Some(splitter);
            self.bound_held(out);
        }
    }

    fn on_learner_packet(&mut self, link: ConnId, packet: Packet<'_>, out: &mut Effects) {
        self.note_from_learner(link, &packet);
        self.tell_feeder(zab::Input::Packet { link, packet }, out);
    }

    fn on_passed(&mut self, passed: Passed<'_>, out: &mut Effects) {
        match passed {
            Passed::Request { link, request, ids } => self.on_forwarded(link, &request, ids, out),
            Passed::Revalidate { link, revalidate } => self.revalidate(link, revalidate, out),
            Passed::Touched { touches, .. } => self.touch(touches),
        }
    }

    /// What the log says of where a learner stands.
    pub(super) fn on_log_probed(&mut self, link: ConnId, place: LogPlace, out: &mut Effects) {
        let LogPlace { at_or_before, after, bytes_behind, snapshot_bytes } = place;
        let place = Place { at_or_before, after };
        let probed = Probed { place, bytes_behind, snapshot_bytes };
        self.tell_feeder(zab::Input::Probed { link, probed }, out);
    }

    pub(super) fn on_log_read(
        &mut self,
        link: ConnId,
        records: &[(Zxid, Bytes)],
        is_end: bool,
        out: &mut Effects,
    ) {
        let recent = |(zxid, data): &(Zxid, Bytes)| Recent { zxid: *zxid, data: data.clone() };
        let records = records.iter().map(recent).collect();
        self.tell_feeder(zab::Input::Log { link, records, is_end }, out);
    }

    /// Hands the turn's proposals to the learners: what the log was given, cut into its entries.
    pub(in super::super) fn propose_to_learners(&mut self, append: &StorageCommand) {
        let StorageCommand::Append { first, bytes, .. } = append else { return };
        for (zxid, entry) in (first.0..).map(Zxid).zip(entries(bytes)) {
            self.note_proposal(zxid, entry);
            let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) else {
                return;
            };
            leader.leadership.propose(zxid, entry);
        }
    }

    /// The end of a turn: what is new leaves for the learners.
    pub(in super::super) fn flush_learners(&mut self, out: &mut Effects) {
        let is_at_end = has_no_zxid(&self.leading);
        self.with_leader(out, |leadership, turn| {
            leadership.flush(turn);
            if is_at_end && leadership.is_established() {
                // The next epoch begins with another election.
                leadership.end(turn, Ended::CounterExhausted);
            }
        });
        self.note_syncs();
        self.end_leading_if_over(out);
        self.tell_stand();
    }
}

/// The counter of this epoch has run out, but for the two that a write takes where it makes its
/// session one of the ensemble.
pub(super) fn has_no_zxid<O>(leading: &Leading<O>) -> bool {
    leading.next_zxid().counter() >= u32::MAX - 1
}

/// A learner's request is refused where so much waits already.
pub(super) fn is_flooded(leader: &Leader, bytes: usize) -> bool {
    leader.asked_bytes + bytes > limits::LEADER_FORWARDED_BYTES
}
