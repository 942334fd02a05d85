//! A member that does in elections as Java's servers do, from what is known of them: one queue of
//! what was heard, a wait that nothing but a better vote ends, and a role that is announced at
//! once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zkd::base::{ConnId, Instant, ServerId, Zxid};
use zkd::election::{DialFailure, Electorate, Outcome, Standing};
use zkd::peering::{Initial, Notification, PeerState, Vote};

use super::java_links::JavaLinks;
use super::plan::{Form, Kind, Plan};
use super::voter::{Act, Voter, electorate, role_of};

const SHORTEST_PAUSE_MS: u64 = 200;
const FINALIZE_MS: u64 = 200;

/// A vote as it lies in one of the two sets.
#[derive(Clone, Copy, Debug)]
struct Said {
    vote: Vote,
    state: PeerState,
    version: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// It has a role, or none yet, and takes nothing from its queue.
    No,
    ForVotes {
        until: Instant,
    },
    /// It has a quorum; each worse word begins this wait again.
    Finally {
        until: Instant,
    },
}

pub struct JavaVoter {
    me: ServerId,
    votes: bool,
    form: Form,
    electorate: Electorate,
    longest_pause_ms: u64,
    links: JavaLinks,
    queue: VecDeque<(ServerId, Notification)>,
    state: PeerState,
    round: i64,
    standing: Standing,
    proposal: Vote,
    current: Vote,
    received: BTreeMap<ServerId, Said>,
    outside: BTreeMap<ServerId, Said>,
    waits: Waits,
    pause_ms: u64,
    /// What was last told of it.
    known: (i64, Vote),
}

impl JavaVoter {
    pub fn new(plan: &Plan, place: usize, standing: Standing) -> JavaVoter {
        let member = &plan.members[place];
        let Kind::Java(form) = member.kind else { panic!("a member of Java's kind") };
        let me = ServerId(member.id);
        let vote = Vote {
            leader: me,
            zxid: standing.zxid,
            election_epoch: -1,
            peer_epoch: standing.peer_epoch,
        };
        JavaVoter {
            me,
            votes: member.votes,
            form,
            electorate: electorate(plan),
            longest_pause_ms: plan.longest_pause_ms,
            links: JavaLinks::new(plan, place),
            queue: VecDeque::new(),
            state: PeerState::Looking,
            round: 0,
            standing,
            proposal: vote,
            current: vote,
            received: BTreeMap::new(),
            outside: BTreeMap::new(),
            waits: Waits::No,
            pause_ms: SHORTEST_PAUSE_MS,
            known: (0, vote),
        }
    }

    fn own_vote(&self) -> Vote {
        let (zxid, peer_epoch) = match self.votes {
            true => (self.standing.zxid, self.standing.peer_epoch),
            false => (Zxid(i64::MIN), i64::MIN),
        };
        let leader = if self.votes { self.me } else { ServerId(i64::MIN) };
        Vote { leader, zxid, election_epoch: self.round, peer_epoch }
    }

    fn word(&self, state: PeerState, vote: Vote) -> Vec<u8> {
        let (version, config) = match self.form {
            Form::Bytes28 | Form::Bytes40 => (0, None),
            Form::Version1 => (1, None),
            Form::Version2 => (2, Some(self.electorate.config.clone())),
        };
        let mut body = Vec::new();
        Notification { state, vote, version, config, is_kin: false }.write(&mut body);
        if self.form == Form::Bytes28 {
            body.truncate(28);
        }
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend(body);
        frame
    }

    fn tell_everybody(&mut self, acts: &mut Vec<Act>) {
        let vote = Vote { election_epoch: self.round, ..self.proposal };
        let word = self.word(PeerState::Looking, vote);
        for to in self.electorate.voters() {
            if to == self.me {
                // What it tells itself comes back as everybody's.
                let heard = Notification::read(&word[4..]).expect("its own words");
                self.queue.push_back((to, heard));
            } else {
                self.links.tell(to, word.clone(), acts);
            }
        }
    }

    fn is_better(&self, new: &Vote, than: &Vote) -> bool {
        self.electorate.is_better(new, than)
    }

    /// Takes from the queue what is there, one by one, until it has to wait or has decided.
    fn look(&mut self, now: Instant, acts: &mut Vec<Act>) {
        loop {
            self.tell_what_changed(acts);
            match self.waits {
                Waits::No => return,
                Waits::ForVotes { .. } => {
                    let Some((from, heard)) = self.queue.pop_front() else { return };
                    self.waits = Waits::ForVotes { until: now.plus_ms(self.pause_ms) };
                    self.on_word(now, from, &heard, acts);
                }
                Waits::Finally { .. } => {
                    let Some((from, heard)) = self.queue.pop_front() else { return };
                    self.waits = Waits::Finally { until: now.plus_ms(FINALIZE_MS) };
                    if self.is_better(&heard.vote, &self.proposal) {
                        self.queue.push_back((from, heard));
                        self.waits = Waits::ForVotes { until: now.plus_ms(self.pause_ms) };
                    }
                }
            }
        }
    }

    fn on_word(&mut self, now: Instant, from: ServerId, heard: &Notification, acts: &mut Vec<Act>) {
        let is_voter = |server| self.electorate.is_voter(server);
        if !is_voter(from) || !is_voter(heard.vote.leader) {
            return;
        }
        match heard.state {
            PeerState::Looking => self.on_looking(now, from, heard.vote, acts),
            PeerState::Observing => {}
            PeerState::Following | PeerState::Leading => self.on_settled(from, heard, acts),
        }
    }

    fn on_looking(&mut self, now: Instant, from: ServerId, vote: Vote, acts: &mut Vec<Act>) {
        let untrusted = self.votes && self.standing.zxid == Zxid::NONE;
        if untrusted || vote.zxid == Zxid::NONE || vote.election_epoch < self.round {
            return;
        }
        if vote.election_epoch > self.round {
            self.round = vote.election_epoch;
            self.received.clear();
            let own = self.own_vote();
            self.proposal = if self.is_better(&vote, &own) { vote } else { own };
            self.tell_everybody(acts);
        } else if self.is_better(&vote, &self.proposal) {
            self.proposal = vote;
            self.tell_everybody(acts);
        }
        self.received.insert(from, Said { vote, state: PeerState::Looking, version: 0 });
        let wanted = Vote { election_epoch: self.round, ..self.proposal };
        let wanted = Said { vote: wanted, state: PeerState::Looking, version: 0 };
        if self.electorate.is_quorum(&agreeing(&self.received, &wanted)) {
            self.waits = Waits::Finally { until: now.plus_ms(FINALIZE_MS) };
        }
    }

    fn on_settled(&mut self, from: ServerId, heard: &Notification, acts: &mut Vec<Act>) {
        let (vote, state, version) = (heard.vote, heard.state, heard.version);
        let said = Said { vote, state, version };
        if vote.election_epoch == self.round {
            self.received.insert(from, Said { version: 0, ..said });
            let supporters = agreeing(&self.received, &said);
            if self.electorate.is_quorum(&supporters) && self.leads(&self.received, &vote) {
                return self.decide(vote, supporters, true, acts);
            }
        }
        self.outside.insert(from, said);
        let supporters = agreeing(&self.outside, &said);
        if self.electorate.is_quorum(&supporters) && self.leads(&self.outside, &vote) {
            self.round = vote.election_epoch;
            self.decide(vote, supporters, true, acts);
        }
    }

    fn leads(&self, said: &BTreeMap<ServerId, Said>, vote: &Vote) -> bool {
        if vote.leader == self.me {
            return vote.election_epoch == self.round;
        }
        said.get(&vote.leader).is_some_and(|said| said.state == PeerState::Leading)
    }

    fn decide(
        &mut self,
        vote: Vote,
        supporters: BTreeSet<ServerId>,
        joined: bool,
        acts: &mut Vec<Act>,
    ) {
        let role = role_of(vote.leader.0, self.me.0, self.votes);
        (self.state, self.current, self.waits) = (role, vote, Waits::No);
        self.queue.clear();
        acts.push(Act::Decided(Outcome { role, vote, supporters, joined }));
    }

    fn tell_what_changed(&mut self, acts: &mut Vec<Act>) {
        let proposal = Vote { election_epoch: self.round, ..self.proposal };
        let known = std::mem::replace(&mut self.known, (self.round, proposal));
        if self.waits == Waits::No {
            return;
        }
        if known.0 != self.round {
            acts.push(Act::Round(self.round));
        }
        if known.1 != proposal {
            acts.push(Act::Proposes(proposal));
        }
    }

    /// What is done with a word as it arrives, whatever the server is doing.
    fn on_arrival(&mut self, from: ServerId, heard: Notification, acts: &mut Vec<Act>) {
        let looks = heard.state == PeerState::Looking;
        if !self.electorate.is_voter(from) {
            let vote = Vote { election_epoch: self.round, ..self.current };
            let word = self.word(self.state, vote);
            return self.links.tell(from, word, acts);
        }
        if self.state != PeerState::Looking {
            if looks {
                let word = self.word(self.state, self.current);
                self.links.tell(from, word, acts);
            }
            return;
        }
        let is_behind = looks && heard.vote.election_epoch < self.round;
        self.queue.push_back((from, heard));
        if is_behind {
            let vote = Vote { election_epoch: self.round, ..self.proposal };
            let word = self.word(PeerState::Looking, vote);
            self.links.tell(from, word, acts);
        }
    }
}

fn agreeing(said: &BTreeMap<ServerId, Said>, with: &Said) -> BTreeSet<ServerId> {
    let agrees = |said: &Said| {
        if said.state == PeerState::Looking || with.state == PeerState::Looking {
            return said.vote == with.vote;
        }
        let one_is_old = (said.version > 0) != (with.version > 0);
        let same_epoch = said.vote.peer_epoch == with.vote.peer_epoch;
        said.vote.leader == with.vote.leader && (one_is_old || same_epoch)
    };
    said.iter().filter(|(_, said)| agrees(said)).map(|(server, _)| *server).collect()
}

impl Voter for JavaVoter {
    fn start(&mut self, now: Instant, standing: Standing, acts: &mut Vec<Act>) {
        self.standing = standing;
        self.state = PeerState::Looking;
        self.round += 1;
        self.received.clear();
        self.outside.clear();
        self.proposal = self.own_vote();
        self.pause_ms = SHORTEST_PAUSE_MS;
        self.waits = Waits::ForVotes { until: now.plus_ms(self.pause_ms) };
        self.tell_everybody(acts);
        self.look(now, acts);
    }

    fn stand_down(&mut self, _: Instant, _: &mut Vec<Act>) {
        self.state = PeerState::Looking;
        self.waits = Waits::No;
    }

    /// It has said so since it decided.
    fn confirm(&mut self, _: Instant, _: &mut Vec<Act>) {}

    fn correct_epoch(&mut self, _: Instant, epoch: i64, _: &mut Vec<Act>) {
        self.current.peer_epoch = epoch;
    }

    fn accepted(&mut self, _: Instant, _: ConnId, _: &mut Vec<Act>) {}

    fn dialled(
        &mut self,
        _: Instant,
        call: u64,
        outcome: Result<ConnId, DialFailure>,
        acts: &mut Vec<Act>,
    ) {
        self.links.dialled(call, outcome, acts);
    }

    fn initial(&mut self, _: Instant, link: ConnId, initial: &Initial, acts: &mut Vec<Act>) {
        self.links.initial(link, initial, acts);
    }

    fn message(&mut self, now: Instant, link: ConnId, body: &[u8], acts: &mut Vec<Act>) {
        let Some(from) = self.links.owner(link) else { return };
        // Who is too old for the epoch does not look behind the round.
        let body = if self.form == Form::Bytes28 { &body[..28] } else { body };
        let mut heard = Notification::read(body).expect("everybody here writes well");
        if self.form == Form::Bytes40 && body.len() == 40 {
            // Those that wrote that form have read it so, and knew what they had written.
            heard.version = 1;
        }
        if self.electorate.is_voter(from) {
            acts.push(Act::Heard { from, notification: heard.clone() });
        }
        self.on_arrival(from, heard, acts);
        self.look(now, acts);
    }

    fn closed(&mut self, _: Instant, link: ConnId, _: &mut Vec<Act>) {
        self.links.closed(link);
    }

    fn backlog(&mut self, _: Instant, link: ConnId, waits: bool, acts: &mut Vec<Act>) {
        self.links.backlog(link, waits, acts);
    }

    fn timeout(&mut self, now: Instant, acts: &mut Vec<Act>) {
        match self.waits {
            Waits::ForVotes { until } if until <= now => {
                if self.links.have_delivered() {
                    self.tell_everybody(acts);
                } else {
                    self.links.connect_all(acts);
                }
                self.pause_ms = (2 * self.pause_ms).min(self.longest_pause_ms);
                self.waits = Waits::ForVotes { until: now.plus_ms(self.pause_ms) };
                self.look(now, acts);
            }
            Waits::Finally { until } if until <= now => {
                let vote = Vote { election_epoch: self.round, ..self.proposal };
                let wanted = Said { vote, state: PeerState::Looking, version: 0 };
                let supporters = agreeing(&self.received, &wanted);
                self.decide(vote, supporters, false, acts);
            }
            _ => {}
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self.waits {
            Waits::No => None,
            Waits::ForVotes { until } | Waits::Finally { until } => Some(until),
        }
    }

    fn round(&self) -> i64 {
        self.round
    }
}
