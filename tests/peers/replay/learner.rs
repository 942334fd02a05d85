//! Our learner's machine in the place of one of Java's: it hears what Java's leader said, and has
//! a disk that does everything at once.

use std::collections::VecDeque;

use zkd::base::{Instant, SessionId, Ticket, WallMillis, Zxid};
use zkd::history::{EpochFile, SnapshotItem};
use zkd::members::{Role, Rules};
use zkd::peering::{Forwarded, LearnerInfo, PacketBytes, Splitter};
use zkd::proto::{Entry, Txn, TxnHeader};
use zkd::zab::{
    LearnerInput, LearnerOutput, LearnerRole, LearnerSettings, LearnerStorage, LearnerTurn, Reads,
    Ready, Standing, SyncKind, Tail, write_ping_answer,
};

use super::SOUND;

const STAYS: &str = "Java's leader gives no reason to leave it";
/// No time passes.
const NOW: Instant = Instant(1_000_000_000);

/// What a restart would find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    pub last: Zxid,
}

pub struct Learner {
    role: LearnerRole<(SessionId, i32)>,
    pub disk: Disk,
    /// How many txns of the log a restart leaves to the tail.
    held: u32,
    last_ticket: Ticket,
    splitter: Splitter,
    unread: Vec<u8>,
    out: Vec<LearnerOutput>,
    /// What it has said and Java's has not yet: packet by packet, answers to pings apart.
    pub said: VecDeque<Vec<u8>>,
    pub pongs: VecDeque<Vec<u8>>,
    pub sync: Option<SyncKind>,
    pub reloads: usize,
    /// Of the image.
    pub nodes: usize,
    pub applied: Vec<Zxid>,
    /// Requests that came back as txns.
    pub answered: usize,
}

/// The end of a history of one epoch, with txns that are like no others.
fn tail(last: Zxid, held: u32) -> Tail {
    let held = held.min(last.counter());
    let applied = Zxid::new(last.epoch(), last.counter() - held);
    let entry = |counter| {
        let zxid = Zxid::new(last.epoch(), counter);
        let header = TxnHeader { session: SessionId(7), cxid: 1, zxid, time: WallMillis(9) };
        let txn = Txn::SetData { path: "/before".to_owned(), data: None, version: 1 };
        Entry { header, txn, digest: None }
    };
    let entries: Vec<Entry> = (applied.counter() + 1..=last.counter()).map(entry).collect();
    Tail::new(applied, entries, Zxid::ZERO)
}

fn settings(info: &LearnerInfo) -> LearnerSettings {
    LearnerSettings {
        server: info.server,
        role: Role::Participant,
        tick_ms: 2000,
        init_limit_ticks: 30,
        sync_limit_ticks: 15,
        connect_limit_ticks: None,
        connect_retry_ms: 100,
        dial_pause_ms: 0,
        config_version: 0,
        rules: Rules::default(),
        observer_logs: true,
        hold_back: 500,
        item_bytes: 4096,
        pending_bytes: 1 << 20,
    }
}

impl Learner {
    /// It has dialled, and come through.
    pub fn begin(info: &LearnerInfo, disk: Disk, held: u32) -> Learner {
        let standing = Standing {
            accepted_epoch: disk.accepted_epoch,
            current_epoch: disk.current_epoch,
            on_disk: disk.last,
            can_rebuild: true,
            wants_image: false,
            tail: tail(disk.last, held),
        };
        let (mut last_ticket, mut out) = (Ticket(0), Vec::new());
        let turn = &mut LearnerTurn { now: NOW, last_ticket: &mut last_ticket, out: &mut out };
        let role = LearnerRole::new(settings(info), standing, 1, turn);
        let mut learner = Learner {
            role,
            disk,
            held,
            last_ticket,
            splitter: Splitter::new(PacketBytes::default()),
            unread: Vec::new(),
            out,
            said: VecDeque::new(),
            pongs: VecDeque::new(),
            sync: None,
            reloads: 0,
            nodes: 0,
            applied: Vec::new(),
            answered: 0,
        };
        learner.tell(LearnerInput::Dialed { address: 0 });
        learner.end_turn();
        learner
    }

    /// One of its clients has asked for something.
    pub fn forward(&mut self, asked: &Forwarded<'_>) {
        let (session, cxid) = (asked.session, asked.cxid);
        assert!(self.role.forward(session, cxid, (session, cxid)), "it follows by now");
    }

    /// Something the leader said.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            self.read();
            self.end_turn();
            if self.unread.is_empty() {
                return;
            }
            assert_ne!(self.role.reads(), Reads::Nothing, "all that it waited for is done");
        }
    }

    fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let mut input = &unread[..];
        while !input.is_empty() {
            let Learner { role, splitter, last_ticket, out, nodes, .. } = self;
            let turn = &mut LearnerTurn { now: NOW, last_ticket, out };
            match role.reads() {
                Reads::Nothing => break,
                Reads::Packets => match splitter.next(&mut input).expect(SOUND) {
                    Some(packet) => role.handle(LearnerInput::Packet(packet), turn).expect(STAYS),
                    None => break,
                },
                Reads::Image => {
                    let mut sink = |item: SnapshotItem<'_>| {
                        *nodes += usize::from(matches!(item, SnapshotItem::Node(_)));
                        Ok(())
                    };
                    let used = role.handle_image(input, &mut sink, turn).expect(STAYS);
                    input = &input[used..];
                }
            }
            self.role.check();
            self.settle();
        }
        self.unread = input.to_vec();
    }

    fn tell(&mut self, input: LearnerInput<'_>) {
        let Learner { role, last_ticket, out, .. } = self;
        role.handle(input, &mut LearnerTurn { now: NOW, last_ticket, out }).expect(STAYS);
        role.check();
    }

    /// What is asked for is done, in order, and so is what comes of it.
    fn settle(&mut self) {
        let mut pending = VecDeque::new();
        loop {
            pending.extend(self.out.drain(..));
            let Some(output) = pending.pop_front() else { return };
            for input in self.perform(output) {
                self.tell(input);
            }
        }
    }

    fn end_turn(&mut self) {
        loop {
            let Learner { role, last_ticket, out, .. } = self;
            role.end_turn(&mut LearnerTurn { now: NOW, last_ticket, out });
            while let Some(ready) = self.role.next_ready() {
                let Ready::Txn(txn) = ready else { panic!("nobody has asked for a sync") };
                let header = &txn.entry.header;
                assert!(self.applied.last().is_none_or(|last| *last < header.zxid));
                if let Some(origin) = txn.origin {
                    assert_eq!(origin, (header.session, header.cxid));
                    self.answered += 1;
                }
                self.applied.push(header.zxid);
            }
            if self.out.is_empty() {
                return;
            }
            self.settle();
        }
    }

    fn perform(&mut self, output: LearnerOutput) -> Vec<LearnerInput<'static>> {
        match output {
            LearnerOutput::Send(packet) => {
                let mut bytes = Vec::new();
                packet.write(&mut bytes);
                self.said.push_back(bytes);
            }
            LearnerOutput::AnswerPing { zxid, .. } => {
                let mut bytes = Vec::new();
                write_ping_answer(zxid, [], &mut bytes);
                self.pongs.push_back(bytes);
            }
            LearnerOutput::Storage(command) => return self.write(&command),
            LearnerOutput::SyncBegan { kind, .. } => self.sync = Some(kind),
            LearnerOutput::FinishImage { zxid } => {
                return vec![LearnerInput::ImageWritten { zxid }];
            }
            LearnerOutput::Reload => {
                self.reloads += 1;
                return vec![LearnerInput::Reloaded(tail(self.disk.last, self.held))];
            }
            LearnerOutput::HangUp { .. } => panic!("{STAYS}"),
            _ => {}
        }
        Vec::new()
    }

    fn write(&mut self, command: &LearnerStorage) -> Vec<LearnerInput<'static>> {
        let mut said = Vec::new();
        match command {
            LearnerStorage::Append { first, last, .. } => {
                assert!(*first > self.disk.last, "records come in order");
                self.disk.last = *last;
            }
            LearnerStorage::WriteEpoch { file: EpochFile::Accepted, epoch, .. } => {
                self.disk.accepted_epoch = *epoch;
            }
            LearnerStorage::WriteEpoch { file: EpochFile::Current, epoch, .. } => {
                self.disk.current_epoch = *epoch;
            }
            LearnerStorage::Truncate { zxid, .. }
            | LearnerStorage::InstallSnapshot { zxid, .. } => {
                self.disk.last = *zxid;
            }
            LearnerStorage::CutAbove { ticket, zxid, sent } => {
                // Nothing of what is cut here was sent again.
                assert!(sent.iter().all(|sent| *sent > self.disk.last));
                self.disk.last = self.disk.last.min(*zxid);
                said.push(LearnerInput::CutAt { ticket: *ticket, kept: self.disk.last });
            }
            _ => {}
        }
        said.push(LearnerInput::Durable(command.ticket()));
        said
    }
}
