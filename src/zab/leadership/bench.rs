//! A leadership in the tests' hands: links are named by their server, what leaves is told in words.

use std::collections::BTreeMap;

use crate::history::EpochFile;
use crate::members::MemberSpec;
use crate::peering::{AckEpoch, LEARNER_PROTOCOL, LearnerInfo};

use super::super::spoken::{spoken, z};
use super::*;

pub const ME: ServerId = ServerId(1);
pub const TICK_MS: u64 = 2000;

pub struct Bench {
    pub leadership: Leadership,
    pub now: Instant,
    /// What was said to a server since the last look.
    pub said: BTreeMap<i64, Vec<String>>,
    pub sent: BTreeMap<i64, Vec<Outgoing>>,
    pub closed: Vec<(i64, Parting)>,
    pub wanted: Vec<(i64, Wish)>,
    pub asked: Vec<(i64, Zxid)>,
    pub unwritten: Vec<StorageCommand>,
    pub committed: Zxid,
    pub established: Option<u32>,
    pub last_seen: Option<Membership>,
    pub ended: Option<Ended>,
    last_ticket: Ticket,
    /// How often each server has come.
    came: BTreeMap<i64, u32>,
    open: BTreeMap<ConnId, i64>,
}

pub fn settings() -> LeaderSettings {
    LeaderSettings {
        tick_ms: TICK_MS,
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        max_snap_syncs: 10,
        max_diff_syncs: 100,
        force_snap: false,
        log_sync: LogSync::UpTo { snapshot_factor: 0.33 },
        max_wait_for_epoch_ms: None,
    }
}

pub fn membership(version: i64, voters: &[i64]) -> Membership {
    let member = |id: &i64| {
        let text = format!("127.0.0.1:{}:{}:participant", 2880 + id, 3880 + id);
        (ServerId(*id), MemberSpec::read(ServerId(*id), &text, false).expect("it is sound"))
    };
    Membership::new(version, voters.iter().map(member).collect())
}

/// A leader of epoch 7 to be: accepted 6, current 6, whose history ends with 6.3.
pub fn start(voters: &[i64]) -> Start {
    let current = membership(0, voters);
    let ours = Summary { current_epoch: 6, last_zxid: z(6, 3) };
    let ensemble = Ensemble { last_seen: current.clone(), current, reconfig_enabled: false };
    let mut ring = Ring::new(z(6, 0));
    for counter in 1..=3 {
        ring.push(z(6, counter), b"recovered");
    }
    Start { me: ME, settings: settings(), ensemble, accepted_epoch: 6, ours, ring }
}

impl Bench {
    pub fn new(start: Start) -> Bench {
        let now = Instant::default().plus_ms(1000);
        let (mut out, mut last_ticket) = (Vec::new(), Ticket(0));
        let mut turn = Turn { now, last_ticket: &mut last_ticket, out: &mut out };
        let leadership = Leadership::begin(start, &mut turn);
        let mut bench = Bench {
            leadership,
            now,
            said: BTreeMap::new(),
            sent: BTreeMap::new(),
            closed: Vec::new(),
            wanted: Vec::new(),
            asked: Vec::new(),
            unwritten: Vec::new(),
            committed: Zxid::ZERO,
            established: None,
            last_seen: None,
            ended: None,
            last_ticket,
            came: BTreeMap::new(),
            open: BTreeMap::new(),
        };
        bench.collect(out);
        bench
    }

    /// Three voters, of which the first leads and the others follow; epoch 7.
    pub fn leading() -> Bench {
        Bench::leading_of(start(&[1, 2, 3]))
    }

    /// The first voters lead and follow, as many as are enough.
    pub fn leading_of(start: Start) -> Bench {
        let voters: Vec<i64> = start.ensemble.current.voters().map(|server| server.0).collect();
        let mut bench = Bench::new(start);
        for server in &voters[1..] {
            bench.join(*server, 6);
        }
        bench.write_all();
        for server in &voters[1..] {
            bench.ack_epoch(*server, Some(6), z(6, 3));
        }
        bench.write_all();
        for server in &voters[1..] {
            bench.ack(*server, z(7, 0));
        }
        assert_eq!(bench.established, Some(7));
        bench.said.clear();
        bench.sent.clear();
        bench
    }

    fn turn<T>(&mut self, act: impl FnOnce(&mut Leadership, &mut Turn<'_>) -> T) -> T {
        let Bench { leadership, now, last_ticket, .. } = self;
        let mut out = Vec::new();
        let mut turn = Turn { now: *now, last_ticket, out: &mut out };
        let value = act(leadership, &mut turn);
        leadership.check();
        leadership.flush(&mut turn);
        leadership.check();
        self.collect(out);
        value
    }

    fn collect(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { link, outgoing } => {
                    let server = *self.open.get(&link).expect("only open links are sent to");
                    self.said.entry(server).or_default().push(spoken(&outgoing));
                    self.sent.entry(server).or_default().push(outgoing);
                }
                Output::Close { link, why } => {
                    let server = self.open.remove(&link).expect("a link is closed once");
                    self.closed.push((server, why));
                }
                Output::Storage(command) => self.unwritten.push(command),
                Output::AskLog { link, zxid } => self.asked.push((self.open[&link], zxid)),
                Output::Wanted { link, wish } => self.wanted.push((self.open[&link], wish)),
                Output::LastSeen { config, .. } => self.last_seen = Some(*config),
                Output::Established { epoch } => self.established = Some(epoch),
                Output::Committed { through } => {
                    assert!(through > self.committed, "commits go on");
                    self.committed = through;
                }
                Output::Ended(why) => self.ended = Some(why),
            }
        }
    }

    /// Hands an input in; what is passed up is told as it prints.
    pub fn input(&mut self, input: Input<'_>) -> Option<String> {
        self.turn(|leadership, turn| {
            leadership.handle(turn, input).map(|passed| format!("{passed:?}"))
        })
    }

    pub fn link(&self, server: i64) -> ConnId {
        let generation = self.came.get(&server).copied().unwrap_or_default();
        ConnId { index: server as u32, generation }
    }

    pub fn is_open(&self, server: i64) -> bool {
        self.open.contains_key(&self.link(server))
    }

    pub fn connect(&mut self, server: i64, room: usize) -> ConnId {
        *self.came.entry(server).or_default() += 1;
        let link = self.link(server);
        self.open.insert(link, server);
        self.input(Input::Connected { link, room });
        link
    }

    pub fn packet(
        &mut self,
        server: i64,
        kind: PacketKind,
        zxid: Zxid,
        data: Option<&[u8]>,
    ) -> Option<String> {
        let link = self.link(server);
        self.input(Input::Packet { link, packet: Packet::new(kind, zxid, data) })
    }

    pub fn info(&mut self, server: i64, kind: PacketKind, accepted: u32, protocol: i32) {
        let mut data = Vec::new();
        let config_version = Some(0);
        LearnerInfo { server: ServerId(server), protocol, config_version }.write(&mut data);
        self.packet(server, kind, z(accepted, 0), Some(&data));
    }

    pub fn join(&mut self, server: i64, accepted: u32) {
        self.connect(server, usize::MAX);
        self.info(server, PacketKind::FollowerInfo, accepted, LEARNER_PROTOCOL);
    }

    pub fn observe(&mut self, server: i64, accepted: u32) {
        self.connect(server, usize::MAX);
        self.info(server, PacketKind::ObserverInfo, accepted, LEARNER_PROTOCOL);
    }

    pub fn ack_epoch(&mut self, server: i64, current_epoch: Option<i64>, zxid: Zxid) {
        let mut data = Vec::new();
        AckEpoch { current_epoch }.write(&mut data);
        self.packet(server, PacketKind::AckEpoch, zxid, Some(&data));
    }

    pub fn ack(&mut self, server: i64, zxid: Zxid) {
        self.packet(server, PacketKind::Ack, zxid, None);
    }

    /// A learner that comes late, from its first word to the decision how it is brought up.
    pub fn come_late(&mut self, server: i64, zxid: Zxid) {
        self.join(server, 7);
        self.ack_epoch(server, None, zxid);
    }

    pub fn leave(&mut self, server: i64) {
        let link = self.link(server);
        self.open.remove(&link);
        self.input(Input::Closed { link });
    }

    /// All that was handed to the disk is on it, the log too; so is what comes of that.
    pub fn write_all(&mut self) {
        while let Some(command) = self.unwritten.pop() {
            self.unwritten.clear();
            let log = self.leadership.ring.last();
            self.input(Input::Durable { ticket: command.ticket(), log });
        }
    }

    /// The log is on disk up to this.
    pub fn log_written(&mut self, log: Zxid) {
        let ticket = Ticket(0);
        self.input(Input::Durable { ticket, log });
    }

    pub fn epoch_files(&self) -> Vec<(EpochFile, i64)> {
        let file = |command: &StorageCommand| match command {
            StorageCommand::WriteEpoch { file, epoch, .. } => (*file, *epoch),
            other => panic!("{other:?}"),
        };
        self.unwritten.iter().map(file).collect()
    }

    pub fn propose(&mut self) -> Zxid {
        self.turn(|leadership, turn| {
            let zxid = leadership.next_zxid(turn).expect("there is a next");
            leadership.propose(zxid, b"txn");
            zxid
        })
    }

    pub fn try_to_propose(&mut self) -> Option<Zxid> {
        self.turn(Leadership::next_zxid)
    }

    /// Time goes on, as far as the next timer and no further, again and again.
    pub fn pass_ms(&mut self, ms: u64) {
        self.pass_with(ms, |_| {});
    }

    /// The same; `each` is called before each timer.
    pub fn pass_with(&mut self, ms: u64, mut each: impl FnMut(&mut Bench)) {
        let until = self.now.plus_ms(ms);
        while let Some(due) = self.leadership.next_timeout().filter(|due| *due <= until) {
            self.now = due;
            each(self);
            self.input(Input::Time);
        }
        self.now = until;
    }

    /// What a server was told since the last look.
    pub fn said_to(&mut self, server: i64) -> Vec<String> {
        self.said.remove(&server).unwrap_or_default()
    }
}
