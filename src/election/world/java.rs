//! A Java server's election as its sources describe it, written from them and not from this
//! room's machines: one queue of what was heard, its own words among it; votes looked at one at a
//! time; a last word sent again on every new link; links made only when there is something to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{ConnId, Instant, ServerId, Zxid};
use crate::peering::{Initial, InitialForm, Notification, PeerState, Vote};

use super::super::*;
use super::server::{Action, Input, address};

const FINALIZE_MS: u64 = 200;

/// How two votes compare is part of what is heard: state and version go with them.
#[derive(Clone, Copy, Debug)]
struct Held {
    vote: Vote,
    state: PeerState,
    version: i32,
}

impl Held {
    fn equals(&self, other: &Held) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote;
        }
        let same = self.vote.leader == other.vote.leader;
        if (self.version > 0) ^ (other.version > 0) {
            return same;
        }
        same && self.vote.peer_epoch == other.vote.peer_epoch
    }
}

#[derive(Clone, Copy, Debug)]
enum Poll {
    Idle,
    Main { until: Instant },
    Finalize { until: Instant },
}

pub struct Java {
    me: ServerId,
    voters: BTreeSet<ServerId>,
    members: BTreeSet<ServerId>,
    config: bytes::Bytes,
    max_ms: u64,
    // The connection manager.
    senders: BTreeMap<ServerId, ConnId>,
    links: BTreeMap<ConnId, ServerId>,
    queues: BTreeMap<ServerId, Option<Notification>>,
    last: BTreeMap<ServerId, Notification>,
    dialling: BTreeMap<u64, ServerId>,
    dials: u64,
    // The election.
    state: PeerState,
    round: i64,
    own: Standing,
    proposal: Vote,
    current: Vote,
    received: VecDeque<(ServerId, Notification)>,
    recvset: BTreeMap<ServerId, Held>,
    outofelection: BTreeMap<ServerId, Held>,
    poll: Poll,
    pause_ms: u64,
}

impl Java {
    pub fn new(
        settings: ElectionSettings,
        electorate: &Electorate,
        members: BTreeSet<ServerId>,
    ) -> Java {
        let vote =
            Vote { leader: settings.me, zxid: Zxid::ZERO, election_epoch: -1, peer_epoch: -1 };
        Java {
            me: settings.me,
            voters: electorate.voters(),
            members,
            config: electorate.config.clone(),
            max_ms: settings.max_interval_ms,
            senders: BTreeMap::new(),
            links: BTreeMap::new(),
            queues: BTreeMap::new(),
            last: BTreeMap::new(),
            dialling: BTreeMap::new(),
            dials: 0,
            state: PeerState::Looking,
            round: 0,
            own: Standing { zxid: Zxid::ZERO, peer_epoch: 0 },
            proposal: vote,
            current: vote,
            received: VecDeque::new(),
            recvset: BTreeMap::new(),
            outofelection: BTreeMap::new(),
            poll: Poll::Idle,
            pause_ms: FINALIZE_MS,
        }
    }

    pub fn take(&mut self, now: Instant, input: Input, out: &mut Vec<Action>) {
        match input {
            // A role that was decided is taken up at once; the accepted link waits for its word.
            Input::Boot | Input::Confirm | Input::Accepted(_) => {}
            Input::Initial(link, initial) => self.on_initial(link, &initial, out),
            Input::Heard(link, word) => {
                if let Some(from) = self.links.get(&link).copied() {
                    self.on_message(from, word, out);
                }
            }
            Input::Dialled(dial, how) => self.on_dialled(dial, how, out),
            Input::Closed(link) => {
                if let Some(server) = self.links.remove(&link)
                    && self.senders.get(&server) == Some(&link)
                {
                    self.senders.remove(&server);
                }
            }
            Input::Timeout => self.on_timeout(now, out),
            Input::Look(standing) => {
                self.own = standing;
                self.pause_ms = FINALIZE_MS;
                self.round += 1;
                self.recvset.clear();
                self.outofelection.clear();
                self.proposal = self.initial_vote();
                self.send_notifications(out);
                self.poll = Poll::Main { until: now.plus_ms(self.pause_ms) };
            }
            Input::StandDown => self.state = PeerState::Looking,
            Input::CorrectEpoch(epoch) => {
                self.current.peer_epoch = epoch;
                out.push(Action::Voted(self.current));
            }
        }
        self.pump(now, out);
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match self.poll {
            Poll::Idle => None,
            Poll::Main { until } | Poll::Finalize { until } => Some(until),
        }
    }

    pub fn settled_vote(&self) -> Vote {
        self.current
    }

    fn on_initial(&mut self, link: ConnId, initial: &Initial, out: &mut Vec<Action>) {
        let server = initial.server;
        if server < self.me {
            if let Some(old) = self.senders.remove(&server) {
                self.finish(old, out);
            }
            close(link, false, out);
            self.connect_one(server, out);
        } else if server > self.me {
            self.start_workers(server, link, out);
        }
    }

    fn on_dialled(&mut self, dial: u64, how: Result<ConnId, DialFailure>, out: &mut Vec<Action>) {
        let Some(server) = self.dialling.remove(&dial) else { return };
        let Ok(link) = how else { return };
        let initial = Initial { server: self.me, addresses: vec![address(self.me)] };
        out.push(Action::Net(MeshOutput::Greet { link, initial, form: InitialForm::V1 }));
        if server > self.me {
            close(link, true, out);
        } else {
            self.start_workers(server, link, out);
        }
    }

    fn start_workers(&mut self, server: ServerId, link: ConnId, out: &mut Vec<Action>) {
        if let Some(old) = self.senders.insert(server, link) {
            self.finish(old, out);
        }
        self.links.insert(link, server);
        let queued = self.queues.entry(server).or_default().take();
        let word = queued.or_else(|| self.last.get(&server).cloned());
        if let Some(word) = word {
            self.send(server, link, word, out);
        }
    }

    fn finish(&mut self, link: ConnId, out: &mut Vec<Action>) {
        self.links.remove(&link);
        close(link, false, out);
    }

    fn send(&mut self, to: ServerId, link: ConnId, word: Notification, out: &mut Vec<Action>) {
        self.last.insert(to, word.clone());
        out.push(Action::Net(MeshOutput::Send { link, notification: word }));
    }

    fn connect_one(&mut self, server: ServerId, out: &mut Vec<Action>) {
        let is_dialling = self.dialling.values().any(|dialled| *dialled == server);
        if self.senders.contains_key(&server) || is_dialling || !self.members.contains(&server) {
            return;
        }
        self.dials += 1;
        self.dialling.insert(self.dials, server);
        let addresses = vec![address(server)];
        out.push(Action::Net(MeshOutput::Dial { dial: self.dials, server, addresses }));
    }

    fn queue_word(&mut self, to: ServerId, word: Notification, out: &mut Vec<Action>) {
        if to == self.me {
            return self.on_message(to, word, out);
        }
        match self.senders.get(&to).copied() {
            Some(link) => {
                self.queues.insert(to, None);
                self.send(to, link, word, out);
            }
            None => {
                self.queues.insert(to, Some(word));
                self.connect_one(to, out);
            }
        }
    }

    fn word(&self, state: PeerState, vote: Vote) -> Notification {
        let config = Some(self.config.clone());
        Notification { state, vote, version: 2, config, is_kin: false }
    }

    fn send_notifications(&mut self, out: &mut Vec<Action>) {
        let vote = Vote { election_epoch: self.round, ..self.proposal };
        out.push(Action::Voted(vote));
        for server in self.voters.clone() {
            self.queue_word(server, self.word(PeerState::Looking, vote), out);
        }
    }

    /// The thread that receives.
    fn on_message(&mut self, from: ServerId, word: Notification, out: &mut Vec<Action>) {
        if !self.voters.contains(&from) {
            let vote = Vote { election_epoch: self.round, ..self.current };
            return self.queue_word(from, self.word(self.state, vote), out);
        }
        let is_looking = word.state == PeerState::Looking;
        if self.state == PeerState::Looking {
            let is_behind = word.vote.election_epoch < self.round;
            self.received.push_back((from, word));
            if is_looking && is_behind {
                let vote = Vote { election_epoch: self.round, ..self.proposal };
                self.queue_word(from, self.word(PeerState::Looking, vote), out);
            }
        } else if is_looking {
            self.queue_word(from, self.word(self.state, self.current), out);
        }
    }

    fn initial_vote(&self) -> Vote {
        let Standing { zxid, peer_epoch } = self.own;
        Vote { leader: self.me, zxid, election_epoch: self.round, peer_epoch }
    }

    fn beats(new: &Vote, old: &Vote) -> bool {
        (new.peer_epoch, new.zxid, new.leader) > (old.peer_epoch, old.zxid, old.leader)
    }

    fn on_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self.poll {
            Poll::Main { until } if now >= until => {
                if self.queues.values().any(Option::is_none) {
                    self.send_notifications(out);
                } else {
                    for server in self.queues.keys().copied().collect::<Vec<_>>() {
                        self.connect_one(server, out);
                    }
                }
                self.pause_ms = (self.pause_ms * 2).min(self.max_ms);
                self.poll = Poll::Main { until: now.plus_ms(self.pause_ms) };
            }
            Poll::Finalize { until } if now >= until => {
                let supporters = self.supporters(&self.recvset, &self.proposed());
                let vote = Vote { election_epoch: self.round, ..self.proposal };
                self.leave(vote, supporters, false, out);
            }
            _ => {}
        }
    }

    /// The thread that looks for a leader, until it has to wait.
    fn pump(&mut self, now: Instant, out: &mut Vec<Action>) {
        loop {
            match self.poll {
                Poll::Idle => return,
                Poll::Main { .. } => {
                    let Some((from, word)) = self.received.pop_front() else { return };
                    self.poll = Poll::Main { until: now.plus_ms(self.pause_ms) };
                    self.look_at(now, from, &word, out);
                }
                Poll::Finalize { .. } => {
                    let Some((from, word)) = self.received.pop_front() else { return };
                    self.poll = Poll::Finalize { until: now.plus_ms(FINALIZE_MS) };
                    if Java::beats(&word.vote, &self.proposal) {
                        self.received.push_back((from, word));
                        self.poll = Poll::Main { until: now.plus_ms(self.pause_ms) };
                    }
                }
            }
        }
    }

    fn look_at(&mut self, now: Instant, from: ServerId, n: &Notification, out: &mut Vec<Action>) {
        if !self.voters.contains(&from) || !self.voters.contains(&n.vote.leader) {
            return;
        }
        match n.state {
            PeerState::Looking => self.on_looking(now, from, n, out),
            PeerState::Following | PeerState::Leading => self.on_settled(from, n, out),
            PeerState::Observing => {}
        }
    }

    fn on_looking(
        &mut self,
        now: Instant,
        from: ServerId,
        n: &Notification,
        out: &mut Vec<Action>,
    ) {
        let vote = n.vote;
        if vote.election_epoch > self.round {
            self.round = vote.election_epoch;
            self.recvset.clear();
            let own = self.initial_vote();
            self.proposal = if Java::beats(&vote, &own) { vote } else { own };
            self.send_notifications(out);
        } else if vote.election_epoch < self.round {
            return;
        } else if Java::beats(&vote, &self.proposal) {
            self.proposal = vote;
            self.send_notifications(out);
        }
        self.recvset.insert(from, Held { vote, state: PeerState::Looking, version: 0 });
        if self.is_quorum(&self.supporters(&self.recvset, &self.proposed())) {
            self.poll = Poll::Finalize { until: now.plus_ms(FINALIZE_MS) };
        }
    }

    fn on_settled(&mut self, from: ServerId, n: &Notification, out: &mut Vec<Action>) {
        let held = Held { vote: n.vote, state: n.state, version: n.version };
        if n.vote.election_epoch == self.round {
            self.recvset.insert(from, Held { version: 0, ..held });
            let supporters = self.supporters(&self.recvset, &held);
            if self.is_quorum(&supporters) && self.check_leader(&self.recvset, &n.vote) {
                return self.leave(n.vote, supporters, true, out);
            }
        }
        self.outofelection.insert(from, held);
        let supporters = self.supporters(&self.outofelection, &held);
        if self.is_quorum(&supporters) && self.check_leader(&self.outofelection, &n.vote) {
            self.round = n.vote.election_epoch;
            self.leave(n.vote, supporters, true, out);
        }
    }

    fn proposed(&self) -> Held {
        let vote = Vote { election_epoch: self.round, ..self.proposal };
        Held { vote, state: PeerState::Looking, version: 0 }
    }

    fn supporters(&self, votes: &BTreeMap<ServerId, Held>, of: &Held) -> BTreeSet<ServerId> {
        votes.iter().filter(|(_, held)| of.equals(held)).map(|(server, _)| *server).collect()
    }

    fn is_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        servers.len() > self.voters.len() / 2
    }

    fn check_leader(&self, votes: &BTreeMap<ServerId, Held>, vote: &Vote) -> bool {
        if vote.leader == self.me {
            return self.round == vote.election_epoch;
        }
        votes.get(&vote.leader).is_some_and(|held| held.state == PeerState::Leading)
    }

    fn leave(
        &mut self,
        vote: Vote,
        supporters: BTreeSet<ServerId>,
        joined: bool,
        out: &mut Vec<Action>,
    ) {
        let leads = vote.leader == self.me;
        let role = if leads { PeerState::Leading } else { PeerState::Following };
        self.state = role;
        self.current = vote;
        self.received.clear();
        self.poll = Poll::Idle;
        out.push(Action::Voted(vote));
        out.push(Action::Decided(Outcome { role, vote, supporters, joined }));
    }
}

fn close(link: ConnId, after_flush: bool, out: &mut Vec<Action>) {
    let reason = CloseReason::Unwanted;
    out.push(Action::Net(MeshOutput::Close { link, reason, after_flush }));
}
