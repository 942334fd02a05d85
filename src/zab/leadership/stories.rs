//! A leader and two followers through random stories: links break, followers crash, sockets are
//! full. Whatever is committed must lie on the disks of a majority at that very moment, and once
//! all is quiet everybody has the leader's history.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::continuity::Continuity;
use super::super::ring::Place;
use super::super::spoken::z;
use super::bench::{Bench, start};
use super::*;

/// When a follower acknowledges proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// As soon as they are on its disk, before the ACK of NEWLEADER too.
    AtOnce,
    /// From UPTODATE on.
    FromUpToDate,
}

struct Follower {
    server: i64,
    dialect: Dialect,
    /// On its disk.
    log: Vec<Zxid>,
    /// Proposed to it and not on its disk.
    pending: VecDeque<Zxid>,
    /// On its disk and not acknowledged over this link.
    unsaid: VecDeque<Zxid>,
    /// What it knows to be committed since it came.
    told: Zxid,
    inbox: VecDeque<Outgoing>,
    accepted: u32,
    is_up_to_date: bool,
    has_new_leader: bool,
}

impl Follower {
    fn new(server: i64, dialect: Dialect) -> Follower {
        Follower {
            server,
            dialect,
            log: vec![z(6, 1), z(6, 2), z(6, 3)],
            pending: VecDeque::new(),
            unsaid: VecDeque::new(),
            told: z(6, 3),
            inbox: VecDeque::new(),
            accepted: 7,
            is_up_to_date: true,
            has_new_leader: true,
        }
    }

    fn last(&self) -> Zxid {
        self.log.last().copied().unwrap_or(Zxid::ZERO)
    }

    /// Its link is gone, and what was on its way.
    fn lose_link(&mut self) {
        self.inbox.clear();
        self.pending.clear();
        self.unsaid.clear();
        (self.is_up_to_date, self.has_new_leader) = (false, false);
    }

    fn write(&mut self) {
        if let Some(zxid) = self.pending.pop_front() {
            self.log.push(zxid);
            self.unsaid.push_back(zxid);
        }
    }

    fn acks(&mut self) -> Option<Zxid> {
        let may_speak = self.is_up_to_date || self.dialect == Dialect::AtOnce;
        if may_speak { self.unsaid.pop_front() } else { None }
    }
}

struct Story {
    bench: Bench,
    followers: Vec<Follower>,
    history: Vec<Zxid>,
    durable: Zxid,
    checked: Zxid,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Propose,
    OwnDisk,
    Deliver(usize),
    Write(usize),
    Ack(usize),
    Break(usize),
    Rejoin(usize),
    Room(usize, usize),
    HalfTick,
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0usize..2;
    prop_oneof![
        6 => Just(Op::Propose),
        4 => Just(Op::OwnDisk),
        20 => who().prop_map(Op::Deliver),
        10 => who().prop_map(Op::Write),
        10 => who().prop_map(Op::Ack),
        2 => who().prop_map(Op::Break),
        3 => who().prop_map(Op::Rejoin),
        2 => (who(), 0usize..200).prop_map(|(who, room)| Op::Room(who, room)),
        1 => Just(Op::HalfTick),
    ]
}

impl Story {
    fn new(dialects: [Dialect; 2], ring_bytes: usize) -> Story {
        let mut start = start(&[1, 2, 3]);
        start.ring = Ring::bounded(Zxid::ZERO, ring_bytes);
        let bench = Bench::leading_of(start);
        let followers = vec![Follower::new(2, dialects[0]), Follower::new(3, dialects[1])];
        let history = vec![z(6, 1), z(6, 2), z(6, 3)];
        Story { bench, followers, history, durable: z(6, 3), checked: z(6, 3) }
    }

    fn tell(&mut self, op: Op) {
        match op {
            Op::Propose => {
                let zxid = self.bench.propose();
                self.history.push(zxid);
            }
            Op::OwnDisk => {
                let next = self.history.iter().find(|zxid| **zxid > self.durable);
                self.durable = next.copied().unwrap_or(self.durable);
                self.bench.log_written(self.durable);
            }
            Op::Deliver(who) => self.deliver(who),
            Op::Write(who) => self.followers[who].write(),
            Op::Ack(who) => {
                let server = self.followers[who].server;
                if let Some(zxid) = self.followers[who].acks() {
                    self.bench.ack(server, zxid);
                }
            }
            Op::Break(who) => {
                let server = self.followers[who].server;
                if self.bench.is_open(server) {
                    self.bench.leave(server);
                }
                self.bench.sent.remove(&server);
                self.followers[who].lose_link();
            }
            Op::Rejoin(who) => {
                let (server, accepted) = (self.followers[who].server, self.followers[who].accepted);
                if !self.bench.is_open(server) {
                    self.bench.sent.remove(&server);
                    self.followers[who].lose_link();
                    self.bench.join(server, accepted);
                }
            }
            Op::Room(who, bytes) => {
                let link = self.bench.link(self.followers[who].server);
                self.bench.input(Input::Room { link, bytes });
            }
            Op::HalfTick => {
                self.bench.now = self.bench.leadership.next_timeout().expect("it goes on");
                self.bench.input(Input::Time);
            }
        }
        self.serve();
        self.check_commits();
    }

    /// What the leader wishes for: its log, and images of what is committed.
    fn serve(&mut self) {
        loop {
            for (server, zxid) in std::mem::take(&mut self.bench.asked) {
                let found = |wanted: fn(&Zxid, &Zxid) -> bool| {
                    self.history.iter().copied().filter(move |known| wanted(known, &zxid))
                };
                let at_or_before = found(|known, zxid| known <= zxid).max();
                let after = found(|known, zxid| known > zxid).min();
                let place = Place { at_or_before, after };
                let probed = Probed { place, bytes_behind: 0, snapshot_bytes: 0 };
                let link = self.bench.link(server);
                self.bench.input(Input::Probed { link, probed });
            }
            let wanted = std::mem::take(&mut self.bench.wanted);
            if wanted.is_empty() {
                return;
            }
            for (server, wish) in wanted {
                let link = self.bench.link(server);
                self.bench.input(match wish {
                    Wish::Log { after, .. } => {
                        let rest = self.history.iter().filter(|zxid| **zxid > after);
                        let record =
                            |zxid: &Zxid| Recent { zxid: *zxid, data: Bytes::from_static(b"old") };
                        let records: Vec<Recent> = rest.take(2).map(record).collect();
                        let is_end = records.last().map(|r| r.zxid) == self.history.last().copied();
                        Input::Log { link, records, is_end }
                    }
                    Wish::Image => Input::Image { link, zxid: self.bench.leadership.committed() },
                    Wish::ImageBytes { .. } => {
                        let bytes = Bytes::from_static(b"all");
                        Input::ImageBytes { link, bytes, is_last: true }
                    }
                });
            }
        }
    }

    fn deliver(&mut self, who: usize) {
        let follower = &mut self.followers[who];
        let server = follower.server;
        follower.inbox.extend(self.bench.sent.remove(&server).unwrap_or_default());
        let Some(Outgoing::Packet { kind, zxid, .. }) = follower.inbox.pop_front() else { return };
        match kind {
            PacketKind::LeaderInfo => {
                let last = follower.last();
                self.bench.ack_epoch(server, None, last);
            }
            // All that it has counts as committed now.
            PacketKind::Diff => follower.told = follower.last(),
            PacketKind::Trunc => {
                assert!(follower.log.contains(&zxid), "{zxid:x} is where it can be cut");
                follower.log.retain(|kept| *kept <= zxid);
                follower.told = zxid;
            }
            PacketKind::Snap => {
                let image = self.history.iter().copied().filter(|known| *known <= zxid);
                follower.log = image.collect();
                follower.told = zxid;
            }
            PacketKind::Proposal => {
                let before = follower.pending.back().copied().unwrap_or(follower.last());
                let continuity = Continuity::of(before, zxid);
                assert_eq!(continuity, Continuity::Next, "{zxid:x} behind {before:x}");
                follower.pending.push_back(zxid);
            }
            PacketKind::Commit => {
                assert!(zxid > follower.told, "commits go on");
                let has = follower.log.contains(&zxid) || follower.pending.contains(&zxid);
                assert!(has, "{zxid:x} was proposed before");
                follower.told = zxid;
            }
            PacketKind::NewLeader => {
                while !follower.pending.is_empty() {
                    follower.write();
                }
                follower.has_new_leader = true;
                self.bench.ack(server, z(7, 0));
            }
            PacketKind::UpToDate => follower.is_up_to_date = true,
            PacketKind::Ping if follower.is_up_to_date => {
                self.bench.packet(server, PacketKind::Ping, zxid, Some(&[]));
            }
            PacketKind::Ping => assert!(follower.has_new_leader, "no ping before NEWLEADER"),
            other => panic!("{other:?}"),
        }
    }

    fn check_commits(&mut self) {
        let committed = self.bench.committed;
        let new = self.history.iter().filter(|z| **z > self.checked && **z <= committed);
        for zxid in new {
            let own = usize::from(*zxid <= self.durable);
            let theirs = self.followers.iter().filter(|f| f.log.contains(zxid)).count();
            assert!(own + theirs >= 2, "{zxid:x} is committed and on {} disks", own + theirs);
        }
        self.checked = self.checked.max(committed);
    }

    /// Everybody comes, and everything arrives.
    fn settle(&mut self) {
        for who in [0, 1] {
            self.tell(Op::Rejoin(who));
            self.tell(Op::Room(who, usize::MAX));
        }
        self.tell(Op::Propose);
        for _ in 0..3 * self.history.len() + 60 {
            self.tell(Op::OwnDisk);
            for who in [0, 1] {
                self.tell(Op::Room(who, usize::MAX));
                for op in [Op::Deliver(who), Op::Deliver(who), Op::Write(who), Op::Ack(who)] {
                    self.tell(op);
                }
            }
        }
    }
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::AtOnce), Just(Dialect::FromUpToDate)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_committed_is_on_a_majority_and_all_come_to_the_same(
        dialects in [dialect(), dialect()],
        ring_bytes in 0usize..2000,
        ops in prop::collection::vec(op(), 0..250),
    ) {
        let mut story = Story::new(dialects, ring_bytes);
        for op in ops {
            story.tell(op);
            if story.bench.ended.is_some() {
                return Ok(());
            }
        }
        story.settle();
        let last = story.history.last().copied();
        prop_assert_eq!(Some(story.bench.committed), last);
        for follower in &story.followers {
            prop_assert_eq!(&follower.log, &story.history);
            prop_assert_eq!(Some(follower.told), last);
        }
    }
}
