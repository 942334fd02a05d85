//! A server in a learner's role: what it is told, and what it asks for.

use bytes::Bytes;

use crate::base::Zxid;
use crate::history::ChoreCommand;
use crate::members::{Role as Part, Rules};
use crate::peering::{PacketBytes, Revalidate, Splitter, Touch};
use crate::proto::Entry;
use crate::zab::{
    LearnerEnd, LearnerInput, LearnerOutput, LearnerRole, LearnerSettings, LearnerTurn, Reads,
    Ready, Recent, Standing, ToLeader, write_ping_answer,
};

use super::disk::{Command, DiskSaid};
use super::net::Event;
use super::{Breakage, INIT_LIMIT_TICKS, Role, SYNC_LIMIT_TICKS, Said, TICK_MS, World, image};

pub struct Learner {
    pub number: u64,
    /// The place of the server that it follows.
    pub leader: usize,
    pub role: LearnerRole<u32>,
    pub wire: Option<u32>,
    splitter: Splitter,
    /// The state that an image makes, and its file.
    image: Vec<Recent>,
    draft: Vec<u8>,
}

pub fn record_of(entry: &Entry) -> Recent {
    let mut data = Vec::new();
    Entry::write(&entry.header, &entry.txn, entry.digest, &mut data);
    Recent { zxid: entry.header.zxid, data: Bytes::from(data) }
}

impl World {
    fn learner_settings(&self, index: usize) -> LearnerSettings {
        let machine = &self.machines[index];
        LearnerSettings {
            server: machine.id,
            role: if machine.votes { Part::Participant } else { Part::Observer },
            tick_ms: TICK_MS,
            init_limit_ticks: INIT_LIMIT_TICKS,
            sync_limit_ticks: SYNC_LIMIT_TICKS,
            connect_limit_ticks: None,
            connect_retry_ms: 100,
            dial_pause_ms: 0,
            config_version: 0,
            rules: Rules::default(),
            observer_logs: machine.logs,
            hold_back: self.shape.hold_back,
            item_bytes: 4096,
            pending_bytes: 1024 * 1024,
        }
    }

    /// Begins to follow a server that was elected.
    pub fn follow(&mut self, index: usize, leader: usize) {
        let number = self.next_role();
        let settings = self.learner_settings(index);
        let now = self.now;
        let machine = &mut self.machines[index];
        assert!(matches!(machine.role, Role::Looking), "one role at a time");
        let standing = Standing {
            accepted_epoch: machine.disk.accepted,
            current_epoch: machine.disk.current,
            on_disk: machine.disk.last(),
            can_rebuild: !machine.disk.is_lost,
            wants_image: machine.wants_image,
            tail: std::mem::take(&mut machine.tail),
        };
        machine.number = number;
        let mut out = Vec::new();
        let mut turn = LearnerTurn { now, last_ticket: &mut machine.last_ticket, out: &mut out };
        let role = LearnerRole::new(settings, standing, 1, &mut turn);
        let splitter = Splitter::new(PacketBytes::default());
        let (image, draft) = (Vec::new(), Vec::new());
        let mut learner =
            Box::new(Learner { number, leader, role, wire: None, splitter, image, draft });
        self.perform_learner(index, &mut learner, out);
        self.note(|| format!("{} follows {}", index + 1, leader + 1));
        self.machines[index].role = Role::Learning(learner);
    }

    pub fn learner_turn(&mut self, index: usize, mut learner: Box<Learner>) -> Role {
        match self.try_learner_turn(index, &mut learner) {
            Ok(()) => Role::Learning(learner),
            Err(end) => self.leave(index, *learner, end),
        }
    }

    fn try_learner_turn(&mut self, index: usize, l: &mut Learner) -> Result<(), LearnerEnd> {
        while let Some((role, said)) = self.machines[index].inbox.pop_front() {
            if role != 0 && role != l.number {
                self.pass_over(said);
                continue;
            }
            self.tell_learner(index, l, said)?;
            self.read_learner(index, l)?;
        }
        if self.now >= l.role.next_timeout() {
            self.learner_input(index, l, LearnerInput::Time)?;
        }
        // Whatever a turn hands over makes room for more.
        loop {
            let is_reading = l.role.reads();
            self.with_learner(index, l, |role, turn| role.end_turn(turn));
            self.take_ready(index, l);
            if l.role.reads() == is_reading {
                return Ok(());
            }
            self.read_learner(index, l)?;
        }
    }

    fn tell_learner(&mut self, m: usize, l: &mut Learner, said: Said) -> Result<(), LearnerEnd> {
        let input = match said {
            Said::Disk(DiskSaid::Durable(ticket)) => LearnerInput::Durable(ticket),
            Said::Disk(DiskSaid::CutRefused(ticket)) => LearnerInput::CutRefused(ticket),
            Said::Disk(DiskSaid::CutAt(ticket, kept)) => LearnerInput::CutAt { ticket, kept },
            Said::Dialed { address, wire } => {
                l.wire = Some(wire);
                LearnerInput::Dialed { address }
            }
            Said::DialFailed { address } => LearnerInput::DialFailed { address },
            Said::Lost(wire) if l.wire == Some(wire) => LearnerInput::LinkLost,
            Said::ImageProgress(bytes) => LearnerInput::ImageProgress { bytes },
            Said::ImageWritten(zxid) => {
                let history = image::read_file(&l.draft).into();
                self.machines[m].disk.draft = Some((zxid, history));
                LearnerInput::ImageWritten { zxid }
            }
            Said::ImageFailed(zxid) => LearnerInput::ImageFailed { zxid },
            Said::Rebuilt => {
                let hold_back = self.shape.hold_back;
                let machine = &mut self.machines[m];
                let (state, tail) = machine.disk.recover(hold_back);
                machine.state = state;
                machine.at = tail.applied();
                LearnerInput::Reloaded(tail)
            }
            Said::Readable(_) | Said::Room(_) | Said::Lost(_) | Said::Connected(_) => {
                return Ok(());
            }
            Said::Probe(..) | Said::Wish(..) | Said::Revalidated(..) => return Ok(()),
        };
        self.learner_input(m, l, input)
    }

    /// Calls the role, then does what it asks for.
    fn with_learner<T>(
        &mut self,
        index: usize,
        l: &mut Learner,
        act: impl FnOnce(&mut LearnerRole<u32>, &mut LearnerTurn<'_>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let last_ticket = &mut self.machines[index].last_ticket;
        let mut turn = LearnerTurn { now: self.now, last_ticket, out: &mut out };
        let value = act(&mut l.role, &mut turn);
        self.perform_learner(index, l, out);
        value
    }

    fn learner_input(
        &mut self,
        index: usize,
        l: &mut Learner,
        input: LearnerInput<'_>,
    ) -> Result<(), LearnerEnd> {
        self.with_learner(index, l, |role, turn| role.handle(input, turn))?;
        l.role.check();
        Ok(())
    }

    /// Takes from the link what the role takes.
    fn read_learner(&mut self, index: usize, l: &mut Learner) -> Result<(), LearnerEnd> {
        let Some(wire) = l.wire else { return Ok(()) };
        if l.role.reads() == Reads::Nothing {
            return Ok(());
        }
        let bytes = self.take_arrived(wire, 0);
        let mut input = &bytes[..];
        while !input.is_empty() {
            let mut out = Vec::new();
            let last_ticket = &mut self.machines[index].last_ticket;
            let turn = &mut LearnerTurn { now: self.now, last_ticket, out: &mut out };
            let Learner { role, splitter, image, .. } = l;
            let done = match role.reads() {
                Reads::Nothing => break,
                Reads::Packets => match splitter.next(&mut input).expect("a leader's packets") {
                    Some(packet) => role.handle(LearnerInput::Packet(packet), turn),
                    None => break,
                },
                Reads::Image => {
                    let mut sink = |item: crate::history::SnapshotItem<'_>| {
                        image::take(&item, image);
                        Ok(())
                    };
                    let used = role.handle_image(input, &mut sink, turn);
                    used.map(|used| input = &input[used..])
                }
            };
            self.perform_learner(index, l, out);
            done?;
            l.role.check();
        }
        self.put_back(wire, 0, input);
        Ok(())
    }

    fn perform_learner(&mut self, m: usize, l: &mut Learner, out: Vec<LearnerOutput>) {
        for output in out {
            if !matches!(output, LearnerOutput::Storage(_)) {
                self.note(|| format!("{} {output:?}", m + 1));
            }
            match output {
                LearnerOutput::Dial { address, within_ms } => {
                    let (life, role) = (self.machines[m].life, l.number);
                    let (ns, until) = (self.delay_ns(), self.now.plus_ms(within_ms));
                    self.after(ns, Event::Knock { from: m, life, role, address, until });
                }
                LearnerOutput::HangUp { .. } => {
                    if let Some(wire) = l.wire.take() {
                        self.close_end(wire, 0);
                    }
                }
                LearnerOutput::Send(packet) => self.send(m, l, packet),
                LearnerOutput::AnswerPing { zxid, .. } => {
                    let session = crate::base::SessionId(m as i64);
                    let count = self.rng.below(3) as usize;
                    let touches = std::iter::repeat_n(Touch { session, timeout_ms: 9 }, count);
                    let mut bytes = Vec::new();
                    write_ping_answer(zxid, touches, &mut bytes);
                    self.write(l.wire.expect("a link"), 0, &bytes);
                }
                LearnerOutput::Storage(command) => {
                    let (ticket, command) = Command::of_learner(command);
                    self.queue(m, ticket, command);
                }
                LearnerOutput::Chore(chore) => self.do_chore(m, l, chore),
                LearnerOutput::SyncBegan { kind, .. } => self.counts.sync_began(kind),
                LearnerOutput::BeginImage { .. } => {
                    l.image.clear();
                    self.machines[m].state.clear();
                    self.machines[m].at = Zxid::ZERO;
                }
                LearnerOutput::FinishImage { zxid } => {
                    self.machines[m].state = std::mem::take(&mut l.image);
                    self.machines[m].at = zxid;
                }
                LearnerOutput::Reload => {
                    self.counts.reloads += 1;
                    self.tell_soon(m, l.number, Said::Rebuilt);
                }
                LearnerOutput::Established { epoch } => {
                    self.machines[m].wants_image = false;
                    self.on_learner_established(m, epoch);
                }
                LearnerOutput::Revalidated { session, is_valid } => {
                    assert!(is_valid, "every session lives here");
                    self.on_revalidated(m, l.number, session);
                }
                LearnerOutput::Activate { .. } | LearnerOutput::WantSnapshot => {}
                LearnerOutput::ObserverSynced { .. }
                | LearnerOutput::ObserverRevalidated { .. } => {
                    panic!("nobody observes behind a follower here")
                }
            }
        }
    }

    pub fn revalidate(&mut self, index: usize, l: &mut Learner, asked: Revalidate) -> bool {
        self.with_learner(index, l, |role, turn| role.revalidate(asked, turn))
    }

    fn send(&mut self, m: usize, l: &mut Learner, packet: ToLeader) {
        if let ToLeader::Ack(zxid) = packet {
            self.check_ack(m, zxid);
        }
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        self.write(l.wire.expect("nothing is said without a link"), 0, &bytes);
    }

    fn do_chore(&mut self, m: usize, l: &mut Learner, chore: ChoreCommand) {
        match chore {
            ChoreCommand::SnapshotBegin { .. } | ChoreCommand::SnapshotAbandon => l.draft.clear(),
            ChoreCommand::SnapshotChunk { bytes } => {
                l.draft.extend_from_slice(&bytes);
                self.tell_soon(m, l.number, Said::ImageProgress(bytes.len()));
            }
            ChoreCommand::SnapshotEnd => {
                // `FinishImage` comes behind it and names the zxid.
                let (ns, life) = (3_000_000 + self.delay_ns(), self.machines[m].life);
                let zxid = l.role.progress().expect("it learns").logged;
                let fails = !self.is_healed && self.rng.below(30) == 0;
                let said = if fails { Said::ImageFailed(zxid) } else { Said::ImageWritten(zxid) };
                self.after(ns, Event::Tell { to: m, life, role: l.number, said });
            }
            other => panic!("a learner has no such chore: {other:?}"),
        }
    }

    /// Applies what may be applied, and answers what may be answered.
    fn take_ready(&mut self, index: usize, l: &mut Learner) {
        let is_established = l.role.is_established();
        while let Some(ready) = l.role.next_ready() {
            match ready {
                Ready::Txn(txn) => {
                    if let Some(origin) = txn.origin {
                        self.on_written(index, l.number, origin, &txn.entry);
                    }
                    self.apply(index, record_of(&txn.entry));
                    if is_established {
                        self.check_applied(index);
                    }
                }
                Ready::Synced(origin) => self.on_synced(index, l.number, origin),
            }
            l.role.check();
        }
        if let Some(progress) = l.role.progress()
            && progress.applied >= Zxid::ZERO
            && l.role.is_established()
        {
            assert_eq!(progress.applied, self.machines[index].at, "the state is where it says");
        }
    }

    /// The role ends: what is left of it goes on in the disk.
    fn leave(&mut self, index: usize, learner: Learner, end: LearnerEnd) -> Role {
        self.note(|| format!("{} leaves: {end}", index + 1));
        self.counts.on_end(&end);
        let is_expected = World::is_honest(&end) || self.may_end_so(index, &end);
        assert!(is_expected, "server {} left a leader of ours: {end:?}", index + 1);
        let Learner { number, role, wire, .. } = learner;
        let mut out = Vec::new();
        let last_ticket = &mut self.machines[index].last_ticket;
        let mut turn = LearnerTurn { now: self.now, last_ticket, out: &mut out };
        let left = role.leave(&mut turn);
        for output in out {
            let is_given_up = matches!(
                output,
                LearnerOutput::HangUp { .. } | LearnerOutput::Chore(ChoreCommand::SnapshotAbandon)
            );
            assert!(is_given_up, "a role that ends asks for nothing more: {output:?}");
        }
        if let Some(wire) = wire {
            self.close_end(wire, 0);
        }
        self.asked.retain(|_, asked| asked.role != number);
        let machine = &mut self.machines[index];
        machine.wants_image |= end.wants_image();
        machine.number = 0;
        Role::Leaving(Some(left))
    }

    /// An observer that keeps nothing cannot go back; others can, unless their disk says no.
    fn may_end_so(&self, index: usize, end: &LearnerEnd) -> bool {
        let is_broken = self.shape.breakage == Some(Breakage::ProbeKnowsAll);
        matches!(end, LearnerEnd::CutBetween { .. }) && (!self.machines[index].logs || is_broken)
    }
}
