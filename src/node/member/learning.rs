//! A learner's role carried out: what happens goes in, and what it wants done is done.

use crate::base::{ConnId, Instant, ServerId, Ticket, Zxid, limits};
use crate::election::DialFailure;
use crate::history::{ChoreCommand, SnapshotItem, StorageCommand};
use crate::peering::{HostPort, Splitter, Touch};
use crate::state::{State, StateLoader};
use crate::zab::{
    BadItem, LearnerEnd, LearnerInput, LearnerOutput, LearnerRole, LearnerSettings, LearnerStorage,
    LearnerTurn, Reads, Standing, SyncKind, Tail, ToLeader, write_ping_answer,
};

use super::super::seam::{Effect, Effects, PeerPort};
use super::super::{Node, Origin};
use super::learner::Learner;
use super::links::DialFor;
use super::masters::Choice;
use super::{Kind, Role, Use, dialable};

/// Whom a learner learns from, and how patiently it dials.
#[derive(Default)]
struct Master {
    addresses: Vec<HostPort>,
    dial_pause_ms: u64,
    connect_retry_ms: u64,
}

impl Node {
    pub(super) fn begin_learning(&mut self, leader: ServerId, out: &mut Effects) {
        let now = self.now.mono;
        let master = self.choose_master(leader);
        let Some(member) = self.member.as_deref_mut() else { return };
        let tail = std::mem::take(&mut member.tail);
        let last = tail.logged();
        member.remembered.go_on(last);
        let standing = Standing {
            accepted_epoch: member.accepted_epoch,
            current_epoch: member.current_epoch,
            on_disk: member.on_disk.max(tail.logged()),
            can_rebuild: !member.is_lost,
            wants_image: member.wants_image,
            tail: tail.clone(),
        };
        // Kept until the role has something of its own to leave.
        member.tail = tail;
        let Master { addresses, dial_pause_ms, connect_retry_ms } = master;
        let settings =
            LearnerSettings { dial_pause_ms, connect_retry_ms, ..member.settings.learner.clone() };
        let mut outputs = Vec::new();
        let turn = &mut LearnerTurn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let role = LearnerRole::new(settings, standing, addresses.len(), turn);
        member.role = Role::Learning(Box::new(Learner {
            role,
            addresses,
            link: None,
            splitter: None,
            held: Vec::new(),
            is_paused: false,
            unsent: 0,
            loader: None,
            finished: None,
            ready: None,
            has_more: false,
            told_touches: now,
            gone: Vec::new(),
            revalidating: Default::default(),
            observers: None,
            reconfigured: None,
            sync: None,
            sync_since: now,
            proposed: Default::default(),
        }));
        self.carry_out_learning(outputs, out);
    }

    /// Whom this server learns from: the leader that was elected or, where it observes and is told
    /// of a port for that, one of those who follow.
    fn choose_master(&mut self, leader: ServerId) -> Master {
        let Some(member) = self.member.as_deref_mut() else { return Master::default() };
        let observes = member.settings.learner.role == Kind::Observer;
        let current = &member.ensemble.current;
        let delays = member.settings.delays;
        if let Some(masters) = member.masters.as_mut().filter(|_| observes)
            && let Some(choice) = masters.choose(current, &mut self.rng)
        {
            let Choice { server, addresses, begins_anew } = choice;
            let wait_ms = if begins_anew { delays.reconnect_ms } else { 0 };
            let dial_pause_ms = self.rng.below(wait_ms);
            log::info!("Observing new leader sid={}, {dial_pause_ms} ms from now", server.0);
            let connect_retry_ms = member.settings.master_retry_ms;
            return Master { addresses, dial_pause_ms, connect_retry_ms };
        }
        let line = current.members.get(&leader);
        let line = line.or_else(|| member.ensemble.last_seen.members.get(&leader));
        let addresses =
            line.iter().flat_map(|line| line.quorum_addresses()).map(dialable).collect();
        let wait_ms = if observes { delays.reconnect_ms } else { 0 };
        let dial_pause_ms = self.rng.below(wait_ms);
        let connect_retry_ms = member.settings.learner.connect_retry_ms;
        Master { addresses, dial_pause_ms, connect_retry_ms }
    }

    /// Tells the role what happened and does what it wants. False where that was its end.
    pub(super) fn tell_learner(&mut self, input: LearnerInput<'_>, out: &mut Effects) -> bool {
        self.with_learner(out, |role, turn| role.handle(input, turn)).is_some()
    }

    pub(super) fn with_learner<R>(
        &mut self,
        out: &mut Effects,
        act: impl FnOnce(&mut LearnerRole<Origin>, &mut LearnerTurn<'_>) -> Result<R, LearnerEnd>,
    ) -> Option<R> {
        let now = self.now.mono;
        let learner = self.member.as_deref_mut()?.learner()?;
        let mut outputs = Vec::new();
        let turn = &mut LearnerTurn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let result = act(&mut learner.role, turn);
        self.carry_out_learning(outputs, out);
        match result {
            Ok(result) => Some(result),
            Err(why) => {
                self.leave_leader(&why, out);
                None
            }
        }
    }

    pub(super) fn carry_out_learning(&mut self, outputs: Vec<LearnerOutput>, out: &mut Effects) {
        for output in outputs {
            self.on_learner_output(output, out);
        }
    }

    fn on_learner_output(&mut self, output: LearnerOutput, out: &mut Effects) {
        match output {
            LearnerOutput::Dial { address, within_ms } => self.dial_leader(address, within_ms, out),
            LearnerOutput::HangUp { address } => self.drop_leader_dial(address, out),
            LearnerOutput::Send(packet) => {
                if let ToLeader::Ack(zxid) = packet {
                    self.note_ack(zxid);
                }
                if let ToLeader::AckEpoch { .. } = packet {
                    self.with_election(|election, _, _| election.note_led());
                }
                self.send_to_leader(&packet, out);
            }
            LearnerOutput::AnswerPing { zxid, .. } => self.answer_leader_ping(zxid, out),
            LearnerOutput::Storage(command) => self.hand_over_learned(command, out),
            LearnerOutput::Chore(command) => {
                let gives_up = command == ChoreCommand::SnapshotAbandon;
                if let Some(member) = self.member.as_deref_mut() {
                    member.gave_up_image |= gives_up;
                }
                out.push(Effect::Chore(command));
            }
            LearnerOutput::SyncBegan { kind, .. } => self.begin_sync_of(kind),
            LearnerOutput::BeginImage { .. } => self.begin_image(),
            LearnerOutput::FinishImage { zxid } => self.finish_image(zxid),
            LearnerOutput::Reload => self.ask_to_rebuild(out),
            LearnerOutput::Activate { config, leader, zxid } => {
                self.activate(*config, leader, out);
                self.show_observers(zxid.zip(leader));
            }
            LearnerOutput::Established { epoch } => {
                self.establish_learner(epoch, out);
                self.begin_observer_master(epoch);
                self.take_early_links(out);
            }
            LearnerOutput::WantSnapshot => self.snapshots.demand(),
            LearnerOutput::Revalidated { session, is_valid } => {
                self.on_revalidated(session, is_valid, out);
            }
            LearnerOutput::ObserverSynced { link, after } => {
                self.on_observer_synced(link, after, out);
            }
            LearnerOutput::ObserverRevalidated { link, revalidated } => {
                self.on_observer_revalidated(link, revalidated, out);
            }
        }
    }

    fn dial_leader(&mut self, address: usize, within_ms: u64, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let Some(place) = member.learner().map(|learner| learner.addresses[address].clone()) else {
            return;
        };
        let dial = member.next_dial(DialFor::Leader(address));
        let (addresses, port) = (vec![place], PeerPort::Quorum);
        out.push(Effect::Dial { dial, addresses, port, within_ms });
    }

    /// The dial of this address, or the link that came of it.
    fn drop_leader_dial(&mut self, address: usize, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let wanted = DialFor::Leader(address);
        let dial = member.dials.iter().find(|(_, what)| **what == wanted).map(|(dial, _)| *dial);
        if let Some(dial) = dial {
            member.dials.remove(&dial);
            out.push(Effect::DropDial { dial });
        }
    }

    pub(super) fn on_leader_dialed(
        &mut self,
        address: usize,
        outcome: Result<ConnId, DialFailure>,
        out: &mut Effects,
    ) {
        let Ok(link) = outcome else {
            self.tell_learner(LearnerInput::DialFailed { address }, out);
            return;
        };
        let Some(member) = self.member.as_deref_mut() else { return };
        let packet_bytes = member.settings.packet_bytes;
        let Some(learner) = member.learner().filter(|learner| learner.link.is_none()) else {
            return out.push(Effect::Close { conn: link, after_flush: false });
        };
        learner.link = Some(link);
        learner.splitter = Some(Box::new(Splitter::new(packet_bytes)));
        let place = &learner.addresses[address];
        log::info!("Successfully connected to leader, using address: {place}");
        member.uses.insert(link, Use::Leader);
        self.with_election(|election, _, out| election.confirm(out));
        self.tell_learner(LearnerInput::Dialed { address }, out);
    }

    pub(super) fn on_leader_lost(&mut self, link: ConnId, out: &mut Effects) {
        let learner = self.member.as_deref_mut().and_then(|member| member.learner());
        if learner.is_some_and(|learner| learner.link == Some(link)) {
            self.tell_learner(LearnerInput::LinkLost, out);
        }
    }

    pub(super) fn on_leader_bytes(&mut self, link: ConnId, bytes: &[u8], out: &mut Effects) {
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        if learner.held.is_empty() {
            self.take_from_leader(link, bytes, out);
        } else {
            learner.held.extend_from_slice(bytes);
        }
    }

    /// What was left of the link's bytes, once the role takes more.
    pub(super) fn read_leader_on(&mut self, out: &mut Effects) {
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        let Some(link) = learner.link.filter(|_| learner.is_paused) else { return };
        if learner.role.reads() == Reads::Nothing {
            return;
        }
        learner.is_paused = false;
        let held = std::mem::take(&mut learner.held);
        out.push(Effect::Resume { conn: link });
        self.take_from_leader(link, &held, out);
    }

    /// Gives the role as much of these bytes as it takes; the rest is kept, and the link is not
    /// read before that is gone.
    fn take_from_leader(&mut self, link: ConnId, bytes: &[u8], out: &mut Effects) {
        let mut input = bytes;
        loop {
            let Some(learner) = self.member.as_deref_mut().and_then(|m| m.learner()) else {
                return;
            };
            if learner.link != Some(link) {
                return;
            }
            match learner.role.reads() {
                Reads::Nothing => {
                    learner.held.extend_from_slice(input);
                    if !std::mem::replace(&mut learner.is_paused, true) {
                        out.push(Effect::Pause { conn: link });
                    }
                    return;
                }
                Reads::Image => {
                    if input.is_empty() {
                        return;
                    }
                    let Some(used) = self.take_image(input, out) else { return };
                    input = &input[used..];
                }
                Reads::Packets => {
                    if !self.take_packet(&mut input, out) {
                        return;
                    }
                }
            }
        }
    }

    /// One packet; false where there is none yet, or the role is over.
    fn take_packet(&mut self, input: &mut &[u8], out: &mut Effects) -> bool {
        let Some(learner) = self.member.as_deref_mut().and_then(|m| m.learner()) else {
            return false;
        };
        let Some(mut splitter) = learner.splitter.take() else { return false };
        let goes_on = match splitter.next(input) {
            Ok(Some(packet)) => {
                self.note_from_leader(&packet);
                self.tell_learner(LearnerInput::Packet(packet), out)
            }
            Ok(None) => false,
            Err(fault) => {
                log::warn!("The leader's stream is not understood: {fault}");
                self.tell_learner(LearnerInput::LinkLost, out);
                return false;
            }
        };
        if let Some(learner) = self.member.as_deref_mut().and_then(|m| m.learner()) {
            learner.splitter = Some(splitter);
        }
        goes_on
    }

    fn take_image(&mut self, input: &[u8], out: &mut Effects) -> Option<usize> {
        let learner = self.member.as_deref_mut()?.learner()?;
        let mut loader = learner.loader.take();
        let used = self.with_learner(out, |role, turn| {
            let sink = &mut |item: SnapshotItem<'_>| match &mut loader {
                Some(loader) => load(loader, item),
                None => Err(BadItem),
            };
            role.handle_image(input, sink, turn)
        })?;
        // The end of the image has taken it, if it has come.
        let learner = self.member.as_deref_mut()?.learner()?;
        if let Some(zxid) = learner.finished.take() {
            self.state = loader
                .map_or_else(|| State::new(&self.settings.state), |loader| loader.finish(zxid));
            self.show_members();
        } else {
            learner.loader = loader;
        }
        Some(used)
    }

    /// The leader has said how it brings this server up.
    fn begin_sync_of(&mut self, kind: SyncKind) {
        let now = self.now.mono;
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) {
            (learner.sync, learner.sync_since) = (Some(kind), now);
        }
        self.show_members();
    }

    fn begin_image(&mut self) {
        let loader = State::loader(&self.settings.state);
        self.state = State::new(&self.settings.state);
        self.prepare.clear();
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) {
            learner.loader = Some(loader);
        }
    }

    fn finish_image(&mut self, zxid: Zxid) {
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) {
            learner.finished = Some(zxid);
        }
    }

    pub(super) fn reloaded(&mut self, tail: Tail, out: &mut Effects) {
        self.tell_learner(LearnerInput::Reloaded(tail), out);
    }

    fn establish_learner(&mut self, epoch: i64, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        let took_ms = self.now.mono.ms_since(member.looking_since);
        log::info!("Following in epoch 0x{epoch:x}, {took_ms} ms after the election began");
        member.wants_image = false;
        member.tail = Tail::default();
        let is_observer = member.settings.learner.role == Kind::Observer;
        if let Some(learner) = member.learner() {
            let sync_ms = self.now.mono.ms_since(learner.sync_since);
            match is_observer {
                true => self.metrics.observer_sync_time.observe(sync_ms),
                false => self.metrics.follower_sync_time.observe(sync_ms),
            }
        }
        self.sessions.clear();
        self.with_election(|election, _, out| election.correct_epoch(epoch, out));
        // What it was sent came faster than it ever does again. Beside a large tree that is little,
        // and would take long.
        if self.state.node_count() <= limits::GIVE_BACK_NODES {
            out.push(Effect::GiveBackMemory);
        }
    }

    pub(super) fn run_learner_timer(&mut self, out: &mut Effects) {
        let now = self.now.mono;
        let learner = self.member.as_deref_mut().and_then(|member| member.learner());
        if learner.is_some_and(|learner| learner.role.next_timeout() <= now) {
            self.tell_learner(LearnerInput::Time, out);
        }
        self.run_observer_timer(out);
        self.read_leader_on(out);
    }

    pub(super) fn learner_durable(&mut self, ticket: Ticket, out: &mut Effects) {
        self.tell_learner(LearnerInput::Durable(ticket), out);
        self.read_leader_on(out);
    }

    /// What is on the disk is read back from there: without this a learner grows with each write.
    fn shed_remembered(&mut self) {
        let Some(member) = self.member.as_deref_mut() else { return };
        if let (Role::Learning(learner), Some(ring)) = (&member.role, member.remembered.ring_mut())
            && let Some(progress) = learner.role.progress()
        {
            ring.shed(progress.durable);
        }
    }

    /// The end of a turn: what was learned goes to the log, and what is there is not remembered
    /// for long.
    pub(in super::super) fn flush_learned(&mut self, out: &mut Effects) {
        self.with_learner(out, |role, turn| {
            role.end_turn(turn);
            Ok(())
        });
        self.shed_remembered();
        self.flush_observers(out);
        let learner = self.member.as_deref_mut().and_then(|member| member.learner());
        if let Some(leader) = learner.and_then(|learner| learner.reconfigured.take()) {
            self.tell_learner(LearnerInput::Reconfigured { leader }, out);
        }
    }

    /// The next append begins a new log file.
    fn roll_learned(&mut self) {
        if let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) {
            learner.role.roll();
        }
    }

    fn send_to_leader(&mut self, packet: &ToLeader, out: &mut Effects) {
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        let Some(link) = learner.link else { return };
        let from = out.arena.len();
        out.send(link, |out| packet.write(out));
        learner.unsent += out.arena.len() - from;
    }

    /// Who was heard of since the last ping: his connection tells, so that a request costs nothing
    /// for it.
    fn answer_leader_ping(&mut self, zxid: Zxid, out: &mut Effects) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let Role::Learning(learner) = &mut member.role else { return };
        let Some(link) = learner.link else { return };
        let locals = &member.locals;
        let since: Instant = std::mem::replace(&mut learner.told_touches, now);
        let gone = std::mem::take(&mut learner.gone);
        let behind = learner.observers.as_mut().map(|observers| observers.take_touches());
        let alive = self.conns.iter().filter(|conn| conn.is_heard_since(since));
        // The leader would only wonder who they are.
        let alive = alive.filter(|conn| !locals.has(conn.session));
        let touch = |conn: &super::super::conns::Conn| Touch {
            session: conn.session,
            timeout_ms: conn.timeout_ms,
        };
        let here = gone.into_iter().chain(alive.map(touch));
        let touches = here.chain(behind.into_iter().flatten()).take(limits::QUORUM_TOUCHES);
        let from = out.arena.len();
        out.send(link, |out| write_ping_answer(zxid, touches, out));
        learner.unsent += out.arena.len() - from;
    }

    fn hand_over_learned(&mut self, command: LearnerStorage, out: &mut Effects) {
        let command = match command {
            LearnerStorage::Append { ticket, first, last, bytes, roll, txns } => {
                if self.is_log_full(txns, bytes.len() as u64) {
                    self.roll_learned();
                }
                StorageCommand::Append { ticket, first, last, bytes, roll }
            }
            LearnerStorage::WriteEpoch { ticket, file, epoch } => {
                StorageCommand::WriteEpoch { ticket, file, epoch }
            }
            LearnerStorage::Truncate { ticket, zxid } => StorageCommand::Truncate { ticket, zxid },
            LearnerStorage::InstallSnapshot { ticket, zxid } => {
                StorageCommand::InstallSnapshot { ticket, zxid }
            }
            LearnerStorage::CutAbove { ticket, zxid, sent } => {
                StorageCommand::CutAbove { ticket, zxid, sent }
            }
            LearnerStorage::MarkLost { ticket } => StorageCommand::MarkLost { ticket },
            LearnerStorage::ClearLost { ticket } => StorageCommand::ClearLost { ticket },
            LearnerStorage::WriteConfig { ticket, config, place } => {
                let files = self.files_of(&config, place);
                StorageCommand::ReplaceFiles { ticket, files }
            }
        };
        self.hand_over(command, out);
    }
}

/// One piece of an image goes to the state that will be.
fn load(loader: &mut StateLoader, item: SnapshotItem<'_>) -> Result<(), BadItem> {
    match item {
        SnapshotItem::Session { id, timeout_ms } => loader.session(id, timeout_ms),
        SnapshotItem::Acl { id, list } => loader.acl(id, list),
        SnapshotItem::Node(node) => {
            return loader.node(&node.path, node.data, node.acl, node.stat).map_err(|_| BadItem);
        }
        SnapshotItem::End(_) | SnapshotItem::More => {}
    }
    Ok(())
}
