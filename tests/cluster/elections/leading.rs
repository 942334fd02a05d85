//! A leader: it waits for a quorum of followers, gives them an epoch that none of them has
//! accepted yet and what it has itself, and steps down when they do not answer any more.

use std::collections::{BTreeMap, BTreeSet};

use zkd::base::{Instant, ServerId};

use super::history::Deed;
use super::plan::{Kind, Plan};
use super::role::{News, Office, QUORUM_PORT, Word, Words};
use super::wires::{Line, Wires};
use crate::world::network::Socket;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody can connect yet.
    Closed,
    /// Until a quorum has said which epochs it has accepted.
    Discovery,
    /// Until a quorum has accepted this one.
    Accepting,
    /// Until a quorum has what the leader has.
    Syncing,
    Established,
}

#[derive(Debug)]
struct Learner {
    line: Line,
    words: Words,
    id: Option<ServerId>,
    accepted: i64,
    /// It has accepted the epoch, and had not before.
    counts: bool,
    has_accepted: bool,
    /// What it is known to have, once it has what the leader had.
    has: Option<i64>,
    /// What it was given to have.
    given: i64,
    heard: Instant,
}

#[derive(Debug)]
pub struct Leading {
    stage: Stage,
    learners: BTreeMap<Socket, Learner>,
    epoch: i64,
    /// What this server had when it was elected.
    elected_with: (i64, i64),
    committed: i64,
    /// When the stage must be over, or the port opens, or the next look at the followers is due.
    until: Instant,
    ping: Option<Instant>,
}

impl Leading {
    pub fn new(office: &Office<'_, '_>) -> Leading {
        Leading {
            stage: Stage::Closed,
            learners: BTreeMap::new(),
            epoch: office.kept.accepted,
            elected_with: (office.kept.current, office.kept.zxid),
            committed: office.kept.zxid,
            until: office.wires.now().plus_ms(office.plan.open_ms),
            ping: None,
        }
    }

    pub fn is_established(&self) -> bool {
        self.stage == Stage::Established
    }

    pub fn accept(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        let node = office.wires.node;
        while let Some(socket) = office.wires.network.accept(node, QUORUM_PORT) {
            let learner = Learner {
                line: Line::new(socket),
                words: Words::default(),
                id: None,
                accepted: -1,
                counts: false,
                has_accepted: false,
                has: None,
                given: -1,
                heard: office.wires.now(),
            };
            self.learners.insert(socket, learner);
            self.on_readable(office, socket, news);
        }
    }

    pub fn on_readable(
        &mut self,
        office: &mut Office<'_, '_>,
        socket: Socket,
        news: &mut Vec<News>,
    ) -> bool {
        let Some(learner) = self.learners.get_mut(&socket) else { return false };
        let mut heard = Vec::new();
        let goes_on = learner.words.take(office.wires, socket, &mut heard);
        for word in heard {
            self.on_word(office, socket, word, news);
        }
        if !goes_on {
            self.drop_learner(office.wires, socket);
        }
        true
    }

    pub fn on_writable(&mut self, office: &mut Office<'_, '_>, socket: Socket) -> bool {
        self.learners.get_mut(&socket).is_some_and(|learner| {
            learner.line.flush(office.wires);
            true
        })
    }

    pub fn on_timeout(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        let now = office.wires.now();
        let half_tick_ms = office.plan.tick_ms / 2;
        if self.ping.is_some_and(|ping| ping <= now) {
            self.ping = Some(now.plus_ms(half_tick_ms));
            for learner in self.learners.values_mut().filter(|learner| learner.has.is_some()) {
                learner.line.send(office.wires, &Word::Ping.bytes());
            }
        }
        if self.until > now {
            return;
        }
        match self.stage {
            Stage::Closed => {
                let node = office.wires.node;
                office.wires.network.listen(node, QUORUM_PORT);
                self.go_on(office, Stage::Discovery);
                news.push(News::Opened);
                self.advance(office, news);
            }
            Stage::Discovery | Stage::Accepting | Stage::Syncing => news.push(News::Lost),
            Stage::Established => {
                let since = |learner: &Learner| now.ms_since(learner.heard);
                let sync_ms = office.plan.sync_ms();
                let here = |l: &Learner| l.has.is_some() && since(l) <= sync_ms;
                if self.are_enough(office, here) {
                    self.until = now.plus_ms(office.plan.tick_ms);
                } else {
                    news.push(News::Lost);
                }
                self.drop_silent(office);
            }
        }
    }

    /// Who says nothing for too long is sent away, so that it looks for a leader.
    fn drop_silent(&mut self, office: &mut Office<'_, '_>) {
        let now = office.wires.now();
        let plan = office.plan;
        let silent = self.learners.iter().filter(|(_, learner)| {
            let limit_ms = if learner.has.is_some() { plan.sync_ms() } else { plan.init_ms() };
            now.ms_since(learner.heard) > limit_ms
        });
        let silent: Vec<Socket> = silent.map(|(socket, _)| *socket).collect();
        silent.into_iter().for_each(|socket| self.drop_learner(office.wires, socket));
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.ping.into_iter().chain([self.until]).min()
    }

    /// Logs so many txns more.
    pub fn log(&mut self, office: &mut Office<'_, '_>, count: u32) {
        for _ in 0..count {
            office.kept.zxid = office.kept.zxid.max(self.epoch << 32) + 1;
            let zxid = office.kept.zxid;
            for learner in self.learners.values_mut().filter(|learner| learner.given >= 0) {
                learner.line.send(office.wires, &Word::Txn { zxid }.bytes());
            }
        }
        self.commit(office);
    }

    pub fn end(self, wires: &mut Wires<'_>) {
        let node = wires.node;
        wires.network.stop_listening(wires.clock, node, QUORUM_PORT);
        for socket in self.learners.keys() {
            wires.close(*socket);
        }
    }

    fn drop_learner(&mut self, wires: &mut Wires<'_>, socket: Socket) {
        if self.learners.remove(&socket).is_some() {
            wires.close(socket);
        }
    }

    fn on_word(
        &mut self,
        office: &mut Office<'_, '_>,
        socket: Socket,
        word: Word,
        news: &mut Vec<News>,
    ) {
        let now = office.wires.now();
        let Some(learner) = self.learners.get_mut(&socket) else { return };
        learner.heard = now;
        match word {
            Word::Hello { id, accepted } => {
                (learner.id, learner.accepted) = (Some(ServerId(id)), accepted);
                let may_lead = |place: usize| office.plan.members[place].votes;
                let is_zkd = |place: usize| office.plan.members[place].kind == Kind::Zkd;
                if !matches!(self.stage, Stage::Closed | Stage::Discovery)
                    && accepted > self.epoch
                    && office.plan.place_of(id).is_some_and(may_lead)
                    && office.plan.place_of(office.me.0).is_some_and(is_zkd)
                {
                    // It can follow in a later epoch alone. A leader of Java's kind goes on.
                    office.wires.history.count("leaders that yielded");
                    return news.push(News::Lost);
                }
                if !matches!(self.stage, Stage::Closed | Stage::Discovery) {
                    let epoch = self.epoch;
                    learner.line.send(office.wires, &Word::Epoch { epoch }.bytes());
                }
            }
            Word::AckEpoch { current, zxid } => {
                let is_ahead = current != -1 && (current, zxid) > self.elected_with;
                if is_ahead && self.stage == Stage::Accepting {
                    office.wires.history.count("followers ahead of their leader");
                    return self.drop_learner(office.wires, socket);
                }
                learner.has_accepted = true;
                learner.counts = current != -1;
                if matches!(self.stage, Stage::Syncing | Stage::Established) {
                    self.sync(office, socket);
                }
            }
            Word::AckLeader { .. } => {
                learner.has = Some(learner.given);
                if self.stage == Stage::Established {
                    learner.line.send(office.wires, &Word::UpToDate.bytes());
                }
            }
            Word::Ack { zxid } => learner.has = Some(zxid),
            Word::Pong => {}
            other => panic!("a follower does not say {other:?}"),
        }
        self.advance(office, news);
        self.commit(office);
    }

    /// Goes on as far as those who are there allow.
    fn advance(&mut self, office: &mut Office<'_, '_>, news: &mut Vec<News>) {
        if self.stage == Stage::Discovery && self.are_enough(office, |l| l.id.is_some()) {
            let accepted = self.voters(office.plan).map(|learner| learner.accepted).max();
            self.epoch = accepted.unwrap_or(-1).max(office.kept.accepted) + 1;
            office.kept.accepted = self.epoch;
            office.kept.note(office.wires);
            let epoch = Word::Epoch { epoch: self.epoch }.bytes();
            for learner in self.learners.values_mut().filter(|learner| learner.id.is_some()) {
                learner.line.send(office.wires, &epoch);
            }
            self.go_on(office, Stage::Accepting);
        }
        if self.stage == Stage::Accepting && self.are_enough(office, |l| l.counts) {
            office.kept.current = self.epoch;
            office.kept.note(office.wires);
            self.go_on(office, Stage::Syncing);
            let ready = self.learners.iter().filter(|(_, learner)| learner.has_accepted);
            let ready: Vec<Socket> = ready.map(|(socket, _)| *socket).collect();
            ready.into_iter().for_each(|socket| self.sync(office, socket));
        }
        if self.stage == Stage::Syncing && self.are_enough(office, |l| l.has.is_some()) {
            let (epoch_before, zxid) = self.elected_with;
            office.wires.note(Deed::Established { epoch: self.epoch, zxid, epoch_before });
            for learner in self.learners.values_mut().filter(|learner| learner.has.is_some()) {
                learner.line.send(office.wires, &Word::UpToDate.bytes());
            }
            self.go_on(office, Stage::Established);
            self.ping = Some(office.wires.now());
            news.push(News::Established { epoch: self.epoch });
        }
    }

    fn go_on(&mut self, office: &Office<'_, '_>, stage: Stage) {
        self.stage = stage;
        let plan = office.plan;
        let limit_ms = if stage == Stage::Established { plan.tick_ms } else { plan.init_ms() };
        self.until = office.wires.now().plus_ms(limit_ms);
    }

    /// Gives a follower what this server has.
    fn sync(&mut self, office: &mut Office<'_, '_>, socket: Socket) {
        let learner = self.learners.get_mut(&socket).expect("it has just spoken");
        learner.given = office.kept.zxid;
        let word = Word::NewLeader { epoch: self.epoch, zxid: learner.given };
        learner.line.send(office.wires, &word.bytes());
    }

    fn commit(&mut self, office: &mut Office<'_, '_>) {
        if self.stage != Stage::Established {
            return;
        }
        let has = self.voters(office.plan).filter_map(|learner| learner.has);
        let mut points: BTreeSet<i64> = has.collect();
        points.insert(office.kept.zxid);
        for zxid in points.into_iter().rev().take_while(|zxid| *zxid > self.committed) {
            if self.are_enough(office, |l| l.has.is_some_and(|has| has >= zxid)) {
                self.committed = zxid;
                return office.wires.note(Deed::Committed { zxid });
            }
        }
    }

    fn voters<'l>(&'l self, plan: &'l Plan) -> impl Iterator<Item = &'l Learner> {
        self.learners.values().filter(|learner| {
            let place = learner.id.and_then(|id| plan.place_of(id.0));
            place.is_some_and(|place| plan.members[place].votes)
        })
    }

    /// Whether these followers are enough, with this server itself.
    fn are_enough(&self, office: &Office<'_, '_>, which: impl Fn(&Learner) -> bool) -> bool {
        let ids = self.voters(office.plan).filter(|learner| which(learner)).filter_map(|l| l.id);
        let ids = ids.chain([office.me]);
        office.plan.is_enough(&ids.filter_map(|id| office.plan.place_of(id.0)).collect())
    }
}
