//! One learner on a bench: bytes of a leader in, and a disk that does what it is told when the
//! test lets it.

use std::collections::VecDeque;

use crate::base::{ConnId, Instant, Ticket, Zxid};
use crate::history::{ChoreCommand, SnapshotItem, SnapshotReader};
use crate::peering::{PacketBytes, Revalidate, Splitter};
use crate::zab::{
    LearnerEnd, LearnerInput, LearnerOutput, LearnerRole, LearnerSettings, LearnerStorage,
    LearnerTurn, Left, Reads, Ready, Standing, Tail, ToLeader,
};

use super::disk::Disk;
use super::wire::entry;

/// What became of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Role(LearnerEnd),
    /// The leader's bytes are no packets.
    Stream,
}

pub struct Bench {
    pub role: LearnerRole<u32>,
    pub now: Instant,
    last_ticket: Ticket,
    splitter: Splitter,
    unread: Vec<u8>,
    out: Vec<LearnerOutput>,
    /// Everything that was asked for, in order.
    pub asked: Vec<LearnerOutput>,
    /// Packets for the leader, each with the commands that were executed by then.
    pub sent: Vec<(ToLeader, usize)>,
    pub queue: VecDeque<LearnerStorage>,
    /// The disk before the first command, and after each.
    pub disks: Vec<Disk>,
    /// What the image of the next SNAP stands for.
    pub image_of: Vec<Zxid>,
    draft: Vec<u8>,
    pub written: Option<Zxid>,
    reloads: bool,
    hold_back: usize,
    /// What the state holds.
    pub state: Vec<Zxid>,
    /// The same, since the role began, and whether by the tolerant rules.
    pub applied: Vec<(Zxid, bool)>,
    pub ready: Vec<Ready<u32>>,
    pub ended: Option<Ended>,
}

/// How many txns of the log recovery leaves to the tail.
const HELD_BACK: usize = 3;

pub fn standing(disk: &Disk) -> Standing {
    let history = disk.history();
    let (_, tail) = split(&history, HELD_BACK);
    Standing {
        accepted_epoch: disk.accepted,
        current_epoch: disk.current,
        on_disk: history.last().copied().unwrap_or_default(),
        can_rebuild: !disk.is_lost,
        wants_image: false,
        tail,
    }
}

/// What recovery makes of a history: the state, and the tail behind it.
fn split(history: &[Zxid], hold_back: usize) -> (Vec<Zxid>, Tail) {
    let epoch = history.last().map_or(0, |last| last.epoch());
    let of_epoch = history.iter().rev().take_while(|zxid| zxid.epoch() == epoch).count();
    let (state, held) = history.split_at(history.len() - of_epoch.min(hold_back));
    let applied = state.last().copied().unwrap_or_default();
    let entries: Vec<_> = held.iter().map(|zxid| entry(*zxid)).collect();
    (state.to_vec(), Tail::new(applied, entries, Zxid::ZERO))
}

impl Bench {
    /// A learner whose link is there; the leader has not said anything yet.
    pub fn linked(settings: LearnerSettings, disk: Disk) -> Bench {
        let standing = standing(&disk);
        Bench::with_standing(settings, disk, standing)
    }

    pub fn with_standing(settings: LearnerSettings, disk: Disk, standing: Standing) -> Bench {
        let mut bench = Bench::dialling(settings, disk, standing);
        bench.handle(LearnerInput::Dialed { address: 0 });
        bench
    }

    pub fn dialling(settings: LearnerSettings, disk: Disk, standing: Standing) -> Bench {
        let (mut last_ticket, mut out) = (Ticket(40), Vec::new());
        let now = Instant(0).plus_ms(1000);
        let (state, _) = split(&disk.history(), HELD_BACK);
        let turn = &mut LearnerTurn { now, last_ticket: &mut last_ticket, out: &mut out };
        let role = LearnerRole::new(settings, standing, 1, turn);
        let mut bench = Bench {
            role,
            now,
            last_ticket,
            splitter: Splitter::new(PacketBytes::default()),
            unread: Vec::new(),
            out,
            asked: Vec::new(),
            sent: Vec::new(),
            queue: VecDeque::new(),
            disks: vec![disk],
            image_of: Vec::new(),
            draft: Vec::new(),
            written: None,
            reloads: false,
            hold_back: HELD_BACK,
            state,
            applied: Vec::new(),
            ready: Vec::new(),
            ended: None,
        };
        bench.end_turn();
        bench
    }

    pub fn disk(&self) -> &Disk {
        self.disks.last().expect("there is one at the beginning")
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.handle(LearnerInput::Time);
    }

    pub fn handle(&mut self, input: LearnerInput<'_>) {
        if self.ended.is_none() {
            let turn = &mut LearnerTurn {
                now: self.now,
                last_ticket: &mut self.last_ticket,
                out: &mut self.out,
            };
            if let Err(end) = self.role.handle(input, turn) {
                self.ended = Some(Ended::Role(end));
            }
        }
        self.absorb();
        self.read();
    }

    pub fn revalidate(&mut self, asked: Revalidate) {
        let turn = &mut LearnerTurn {
            now: self.now,
            last_ticket: &mut self.last_ticket,
            out: &mut self.out,
        };
        assert!(self.role.revalidate(asked, turn));
        self.absorb();
    }

    pub fn revalidate_for(&mut self, link: ConnId, asked: Revalidate) -> bool {
        let turn = &mut LearnerTurn {
            now: self.now,
            last_ticket: &mut self.last_ticket,
            out: &mut self.out,
        };
        let is_taken = self.role.revalidate_for(link, asked, turn);
        self.absorb();
        is_taken
    }

    /// The leader's bytes, in one turn.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        self.read();
        self.end_turn();
    }

    /// Takes from the link what the role takes.
    fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        while self.ended.is_none() && !input.is_empty() {
            let turn = &mut LearnerTurn {
                now: self.now,
                last_ticket: &mut self.last_ticket,
                out: &mut self.out,
            };
            let done = match self.role.reads() {
                Reads::Nothing => break,
                Reads::Packets => match self.splitter.next(&mut input) {
                    Ok(Some(packet)) => self.role.handle(LearnerInput::Packet(packet), turn),
                    Ok(None) => break,
                    Err(_) => {
                        self.ended = Some(Ended::Stream);
                        break;
                    }
                },
                Reads::Image => {
                    let mut sink = |_: SnapshotItem<'_>| Ok(());
                    let used = self.role.handle_image(input, &mut sink, turn);
                    used.map(|used| input = &input[used..])
                }
            };
            if let Err(end) = done {
                self.ended = Some(Ended::Role(end));
            }
            self.role.check();
            self.absorb();
        }
        self.unread = input.to_vec();
    }

    pub fn end_turn(&mut self) {
        if self.ended.is_none() {
            let turn = &mut LearnerTurn {
                now: self.now,
                last_ticket: &mut self.last_ticket,
                out: &mut self.out,
            };
            self.role.end_turn(turn);
            self.role.check();
            while let Some(ready) = self.role.next_ready() {
                if let Ready::Txn(txn) = &ready {
                    let zxid = txn.entry.header.zxid;
                    assert!(self.state.last().is_none_or(|last| *last < zxid), "applied once");
                    self.state.push(zxid);
                    self.applied.push((zxid, txn.is_replay));
                }
                self.ready.push(ready);
            }
        }
        self.absorb();
    }

    fn absorb(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match &output {
                LearnerOutput::Storage(command) => self.queue.push_back(command.clone()),
                LearnerOutput::Send(packet) => {
                    self.sent.push((*packet, self.disks.len() - 1));
                }
                LearnerOutput::Chore(chore) => self.absorb_chore(chore),
                LearnerOutput::BeginImage { .. } => self.state.clear(),
                LearnerOutput::FinishImage { zxid } => {
                    self.state.clone_from(&self.image_of);
                    self.written = Some(*zxid);
                }
                LearnerOutput::Reload => self.reloads = true,
                _ => {}
            }
            self.asked.push(output);
        }
    }

    fn absorb_chore(&mut self, chore: &ChoreCommand) {
        match chore {
            ChoreCommand::SnapshotBegin { .. } => self.draft.clear(),
            ChoreCommand::SnapshotChunk { bytes } => self.draft.extend_from_slice(bytes),
            _ => {}
        }
    }

    /// The disk does its next command and says so.
    pub fn disk_step(&mut self) -> bool {
        let Some(command) = self.queue.pop_front() else { return false };
        let mut disk = self.disk().clone();
        if let LearnerStorage::InstallSnapshot { zxid, .. } = command {
            disk.draft = Some((zxid, self.image_of.clone()));
        }
        let said = disk.execute(&command);
        self.disks.push(disk);
        if let Some(said) = said {
            self.handle(said);
        }
        self.handle(LearnerInput::Durable(command.ticket()));
        self.end_turn();
        true
    }

    /// The chore thread is done with the image, which is a snapshot file by now.
    pub fn chore_step(&mut self) -> bool {
        let Some(zxid) = self.written.take() else { return false };
        let mut reader = SnapshotReader::file();
        reader.feed(&self.draft);
        reader.end_input();
        let mut sessions = Vec::new();
        loop {
            match reader.next_item().expect("a whole file") {
                SnapshotItem::Session { id, .. } => sessions.push(Zxid(id.0)),
                SnapshotItem::End(trailers) => {
                    assert_eq!(trailers, crate::history::SnapshotTrailers::default());
                    break;
                }
                SnapshotItem::More => panic!("the file ends"),
                _ => {}
            }
        }
        assert_eq!(sessions, [zxid], "the leader's image");
        self.handle(LearnerInput::ImageWritten { zxid });
        self.end_turn();
        true
    }

    fn reload_step(&mut self) -> bool {
        if !std::mem::take(&mut self.reloads) {
            return false;
        }
        let (state, tail) = split(&self.disk().history(), self.hold_back);
        self.state = state;
        self.handle(LearnerInput::Reloaded(tail));
        self.end_turn();
        true
    }

    /// Lets everything happen that is under way.
    pub fn settle(&mut self) {
        while self.disk_step() || self.chore_step() || self.reload_step() {}
    }

    pub fn packets(&self) -> Vec<ToLeader> {
        self.sent.iter().map(|(packet, _)| *packet).collect()
    }

    pub fn acks(&self) -> Vec<Zxid> {
        let acks = self.sent.iter().filter_map(|(packet, _)| match packet {
            ToLeader::Ack(zxid) => Some(*zxid),
            _ => None,
        });
        acks.collect()
    }

    pub fn commands(&self) -> Vec<&LearnerStorage> {
        let commands = self.asked.iter().filter_map(|output| match output {
            LearnerOutput::Storage(command) => Some(command),
            _ => None,
        });
        commands.collect()
    }

    pub fn was_asked(&self, wanted: impl Fn(&LearnerOutput) -> bool) -> bool {
        self.asked.iter().any(wanted)
    }

    /// The role ends. What is left in memory is what the disk says once its queue is done.
    pub fn leave(mut self) -> (Left, Disk) {
        let role = self.role;
        let turn = &mut LearnerTurn {
            now: self.now,
            last_ticket: &mut self.last_ticket,
            out: &mut self.out,
        };
        let left = role.leave(turn);
        let mut disk = self.disks.pop().expect("there is one at the beginning");
        for command in self.queue.drain(..) {
            if let LearnerStorage::InstallSnapshot { zxid, .. } = command {
                disk.draft = Some((zxid, self.image_of.clone()));
            }
            disk.execute(&command);
        }
        if let Left::History(tail) = &left {
            tail.check();
            let entries = tail.entries().iter().map(|entry| entry.header.zxid);
            let memory: Vec<Zxid> = self.state.iter().copied().chain(entries).collect();
            assert_eq!(memory, disk.history(), "what is left is what the disk says");
        }
        (left, disk)
    }
}
