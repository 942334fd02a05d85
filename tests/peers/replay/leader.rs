//! Our leader's machine in the place of one of Java's: it hears what learners of Java's said, and
//! has a disk that does everything at once.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use zkd::base::{ConnId, Instant, ServerId, Ticket, Zxid};
use zkd::history::StorageCommand;
use zkd::members::Membership;
use zkd::peering::Packet;
use zkd::zab::{
    Ensemble, Input, LeaderSettings, Leadership, LogSync, Output, Passed, Recent, Ring, Start,
    Summary, Turn, Wish,
};

/// No time passes.
const NOW: Instant = Instant(1_000_000_000);

pub struct Leader {
    pub me: i64,
    leadership: Leadership,
    last_ticket: Ticket,
    out: Vec<Output>,
    links: BTreeMap<i64, ConnId>,
    came: u32,
    /// What each was told and has not been told by Java's yet.
    said: BTreeMap<i64, Vec<u8>>,
    pub log: Vec<Recent>,
    /// What whoever wants an image is sent.
    image: Bytes,
    pub established: Option<u32>,
    /// Of clients, by way of those who follow.
    pub requests: usize,
}

const SETTINGS: LeaderSettings = LeaderSettings {
    tick_ms: 2000,
    init_limit_ticks: 30,
    sync_limit_ticks: 15,
    max_snap_syncs: 10,
    max_diff_syncs: 100,
    force_snap: false,
    log_sync: LogSync::UpTo { snapshot_factor: 0.33 },
    max_wait_for_epoch_ms: None,
};

impl Leader {
    /// One that has been elected with this history, all of the epoch that it has followed last.
    pub fn begin(me: i64, membership: Membership, log: Vec<Recent>, image: Bytes) -> Leader {
        let last_zxid = log.last().map_or(Zxid::ZERO, |last| last.zxid);
        let epoch = i64::from(last_zxid.epoch());
        let mut ring = Ring::new(Zxid::new(last_zxid.epoch(), 0));
        for record in &log {
            ring.push(record.zxid, &record.data);
        }
        let start = Start {
            me: ServerId(me),
            settings: SETTINGS,
            ensemble: Ensemble {
                last_seen: membership.clone(),
                current: membership,
                reconfig_enabled: false,
            },
            accepted_epoch: epoch,
            ours: Summary { current_epoch: epoch, last_zxid },
            ring,
        };
        let (mut last_ticket, mut out) = (Ticket(0), Vec::new());
        let mut turn = Turn { now: NOW, last_ticket: &mut last_ticket, out: &mut out };
        let leadership = Leadership::begin(start, &mut turn);
        let mut leader = Leader {
            me,
            leadership,
            last_ticket,
            out,
            links: BTreeMap::new(),
            came: 0,
            said: BTreeMap::new(),
            log,
            image,
            established: None,
            requests: 0,
        };
        leader.settle();
        leader
    }

    pub fn connect(&mut self, learner: i64) {
        self.came += 1;
        let link = ConnId { index: learner as u32, generation: self.came };
        assert!(self.links.insert(learner, link).is_none(), "{learner} has one link");
        self.tell(Input::Connected { link, room: usize::MAX });
        self.settle();
    }

    pub fn close(&mut self, learner: i64) {
        if let Some(link) = self.links.remove(&learner) {
            self.assert_quiet();
            self.tell(Input::Closed { link });
            self.settle();
        }
    }

    pub fn hear(&mut self, learner: i64, packet: Packet<'_>) {
        let link = self.links[&learner];
        self.tell(Input::Packet { link, packet });
        self.settle();
    }

    /// Somebody has written something, and this is what becomes of it.
    pub fn propose(&mut self, zxid: Zxid, data: Bytes) {
        let Leader { leadership, last_ticket, out, .. } = self;
        let mut turn = Turn { now: NOW, last_ticket, out };
        assert_eq!(leadership.next_zxid(&mut turn), Some(zxid));
        leadership.propose(zxid, &data);
        leadership.flush(&mut turn);
        self.log.push(Recent { zxid, data });
        self.last_ticket = self.last_ticket.next();
        self.tell(Input::Durable { ticket: self.last_ticket, log: zxid });
        self.settle();
    }

    pub fn proposed(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    /// Java's has said this to a learner: so has ours, as the next.
    pub fn expect_said(&mut self, learner: i64, bytes: &[u8], what: &str) {
        let said = self.said.entry(learner).or_default();
        let next = &said[..said.len().min(bytes.len())];
        assert_eq!(next, bytes, "{what} of {} to {learner}", self.me);
        said.drain(..bytes.len());
    }

    /// Nobody was told more than by Java's.
    pub fn assert_quiet(&self) {
        for (learner, more) in &self.said {
            assert!(more.is_empty(), "{} to {learner}: {more:x?}", self.me);
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        let Leader { leadership, last_ticket, out, .. } = self;
        let mut turn = Turn { now: NOW, last_ticket, out };
        let passed = leadership.handle(&mut turn, input);
        self.requests += usize::from(matches!(passed, Some(Passed::Request { .. })));
        self.leadership.check();
    }

    /// What is asked for is done, in order, and so is what comes of it.
    fn settle(&mut self) {
        let mut pending = VecDeque::new();
        loop {
            let Leader { leadership, last_ticket, out, .. } = self;
            leadership.flush(&mut Turn { now: NOW, last_ticket, out });
            pending.extend(self.out.drain(..));
            let Some(output) = pending.pop_front() else { return };
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { link, outgoing } => {
                let learner = i64::from(link.index);
                outgoing.write(self.said.entry(learner).or_default());
            }
            Output::Storage(command) => {
                assert!(matches!(command, StorageCommand::WriteEpoch { .. }), "{command:?}");
                let log = self.proposed();
                self.tell(Input::Durable { ticket: command.ticket(), log });
            }
            Output::Wanted { link, wish: Wish::Image } => {
                let zxid = self.leadership.committed();
                self.tell(Input::Image { link, zxid });
            }
            Output::Wanted { link, wish: Wish::ImageBytes { offset, .. } } => {
                let bytes = self.image.slice(offset as usize..);
                self.tell(Input::ImageBytes { link, bytes, is_last: true });
            }
            Output::Established { epoch } => self.established = Some(epoch),
            Output::Committed { .. } | Output::LastSeen { .. } => {}
            Output::AskLog { .. } | Output::Wanted { .. } => {
                panic!("all is in memory: {output:?}")
            }
            Output::Close { .. } | Output::Ended(_) => {
                panic!("Java's learners are as they should be: {output:?}")
            }
        }
    }
}
