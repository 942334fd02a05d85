//! One member: a disk that outlives its processes, and the process that is running, which has its
//! links, its voter and, once it has one, its role.

use std::collections::{BTreeMap, BTreeSet};

use zkd::base::{ConnId, Instant, Rng, ServerId};
use zkd::election::{DialFailure, Outcome};
use zkd::peering::{ElectionReader, Heard, HostPort, PeerState};

use super::cluster::Breakage;
use super::following::Following;
use super::history::Deed;
use super::java::JavaVoter;
use super::leading::Leading;
use super::plan::{Form, Kind, Plan};
use super::role::{Kept, News, Office, QUORUM_PORT, Role};
use super::voter::{Act, ELECTION_PORT, Voter, ZkdVoter, addresses, standing};
use super::wires::{CallOver, Calls, Line, Wires};
use crate::plan::stream;
use crate::world::network::{DialError, Happening, Read, Socket};

/// How much somebody takes at once who dawdles, and how long he rests.
const DAWDLE_BYTES: usize = 7;
const DAWDLE_MS: u64 = 5;

/// The longest time between a role that is lost and the next election: the disk has to catch up.
const DRAIN_MS: u64 = 20;

const PART_DRAIN: u64 = 110;

struct Link {
    line: Line,
    reader: ElectionReader,
}

/// What a process knows and takes with it.
struct Life {
    voter: Box<dyn Voter>,
    links: BTreeMap<ConnId, Link>,
    sockets: BTreeMap<Socket, ConnId>,
    calls: Calls,
    /// Closed as soon as what was written is taken.
    parting: Vec<Line>,
    role: Option<Role>,
    outcome: Option<Outcome>,
    /// Taken up: it can be connected to, or has been let in.
    is_settled: bool,
    /// It looks for a leader from then on.
    starts: Option<Instant>,
    /// Sockets with something left to read.
    unread: BTreeSet<Socket>,
    reads_on: Option<Instant>,
}

pub struct Member {
    place: usize,
    me: ServerId,
    pub kept: Kept,
    life: Option<Life>,
    lives: u64,
    linked: u32,
    /// Until then it takes what has come a few bytes at a time.
    pub dawdles_until: Instant,
    drain: Rng,
    pub breakage: Breakage,
}

/// Where a member stands, for those who ask whether all agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub role: PeerState,
    pub leader: ServerId,
    pub is_settled: bool,
    pub is_established: bool,
}

impl Member {
    pub fn new(plan: &Plan, place: usize) -> Member {
        let member = &plan.members[place];
        Member {
            place,
            me: ServerId(member.id),
            kept: Kept { zxid: member.zxid, accepted: member.epoch, current: member.epoch },
            life: None,
            lives: 0,
            linked: 0,
            dawdles_until: Instant(0),
            drain: stream(plan.seed, PART_DRAIN, place as u64),
            breakage: Breakage::asked(),
        }
    }

    pub fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// The process starts.
    pub fn start(&mut self, plan: &Plan, wires: &mut Wires<'_>) {
        assert!(self.life.is_none(), "one process at a time");
        let now = wires.now();
        let own = standing(self.kept.zxid, self.epoch_to_tell(plan));
        let voter: Box<dyn Voter> = match plan.members[self.place].kind {
            Kind::Zkd => Box::new(ZkdVoter::new(plan, self.place, now, own, self.breakage)),
            Kind::Java(_) => Box::new(JavaVoter::new(plan, self.place, own)),
        };
        wires.network.listen(self.place, ELECTION_PORT);
        wires.note(Deed::Born);
        self.kept.note(wires);
        self.lives += 1;
        self.life = Some(Life {
            voter,
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            calls: Calls::default(),
            parting: Vec::new(),
            role: None,
            outcome: None,
            is_settled: false,
            starts: Some(now),
            unread: BTreeSet::new(),
            reads_on: None,
        });
    }

    /// The process is gone; what becomes of its sockets is its kernel's business.
    pub fn die(&mut self, wires: &mut Wires<'_>) {
        self.life = None;
        if self.breakage == Breakage::EpochForgotten {
            self.kept.accepted = self.kept.current;
        }
        wires.note(Deed::Died);
    }

    pub fn status(&self) -> Option<Status> {
        let life = self.life.as_ref()?;
        let outcome = life.outcome.as_ref()?;
        let is_established = match &life.role {
            Some(Role::Leading(leading)) => leading.is_established(),
            _ => false,
        };
        let (role, leader) = (outcome.role, outcome.vote.leader);
        Some(Status { role, leader, is_settled: life.is_settled, is_established })
    }

    /// One turn: what has come first, then what is due.
    pub fn turn(&mut self, plan: &Plan, wires: &mut Wires<'_>, happenings: &[Happening]) {
        let Some(mut life) = self.life.take() else { return };
        for happening in happenings {
            self.on_happening(plan, wires, &mut life, *happening);
        }
        self.on_timeout(plan, wires, &mut life);
        let due = life.next_timeout();
        wires.clock.set_alarm(self.place, due);
        self.life = Some(life);
    }

    /// Logs so many txns, if it leads and is established.
    pub fn log(&mut self, plan: &Plan, wires: &mut Wires<'_>, count: u32) -> bool {
        let Some(mut life) = self.life.take() else { return false };
        let mut logs = false;
        if let Some(Role::Leading(leading)) = &mut life.role
            && leading.is_established()
        {
            leading.log(&mut self.office(plan, wires), count);
            logs = true;
        }
        self.life = Some(life);
        logs
    }

    pub fn hides_its_epoch(&self, plan: &Plan) -> bool {
        self.epoch_to_tell(plan) != self.kept.current
    }

    fn office<'o, 'w>(&'o mut self, plan: &'o Plan, wires: &'o mut Wires<'w>) -> Office<'o, 'w> {
        Office { wires, kept: &mut self.kept, plan, me: self.me }
    }

    /// The oldest know no epoch but that of the last txn.
    fn epoch_to_tell(&self, plan: &Plan) -> i64 {
        match plan.members[self.place].kind {
            Kind::Java(Form::Bytes28) => self.kept.zxid >> 32,
            _ => self.kept.current,
        }
    }

    fn on_happening(
        &mut self,
        plan: &Plan,
        wires: &mut Wires<'_>,
        life: &mut Life,
        happening: Happening,
    ) {
        let mut news = Vec::new();
        match happening {
            Happening::Acceptable { port: ELECTION_PORT } => {
                while let Some(socket) = wires.network.accept(self.place, ELECTION_PORT) {
                    let link = self.add_link(life, socket, ElectionReader::accepted());
                    let mut acts = Vec::new();
                    life.voter.accepted(wires.now(), link, &mut acts);
                    self.perform(plan, wires, life, acts);
                    self.read(plan, wires, life, socket);
                }
            }
            Happening::Acceptable { port } => {
                assert_eq!(port, QUORUM_PORT, "there are two ports");
                if let Some(role) = &mut life.role {
                    role.accept(&mut self.office(plan, wires), &mut news);
                }
            }
            Happening::Dialled { dial, outcome } => {
                if let Some(over) = life.calls.on_dialled(wires, dial, outcome) {
                    self.on_called(plan, wires, life, over);
                } else if let Some(role) = &mut life.role {
                    role.on_dialled(&mut self.office(plan, wires), dial, outcome, &mut news);
                }
            }
            Happening::Readable { socket } => {
                if life.sockets.contains_key(&socket) {
                    self.read(plan, wires, life, socket);
                } else if let Some(role) = &mut life.role {
                    role.on_readable(&mut self.office(plan, wires), socket, &mut news);
                }
            }
            Happening::Writable { socket } => self.on_writable(plan, wires, life, socket),
        }
        self.on_news(plan, wires, life, news);
    }

    fn on_timeout(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life) {
        let now = wires.now();
        if life.reads_on.take_if(|at| *at <= now).is_some() {
            for socket in std::mem::take(&mut life.unread) {
                self.read(plan, wires, life, socket);
            }
        }
        for over in life.calls.on_timeout(wires) {
            self.on_called(plan, wires, life, over);
        }
        let mut acts = Vec::new();
        if life.starts.take_if(|at| *at <= now).is_some() {
            let (zxid, epoch) = (self.kept.zxid, self.epoch_to_tell(plan));
            wires.note(Deed::Looks { zxid, epoch });
            let more = i64::from(self.breakage == Breakage::VoteAboveDisk && zxid > 0);
            life.voter.start(now, standing(zxid + more, epoch), &mut acts);
            self.perform(plan, wires, life, std::mem::take(&mut acts));
        }
        life.voter.timeout(now, &mut acts);
        self.perform(plan, wires, life, acts);
        if let Some(role) = &mut life.role {
            let mut news = Vec::new();
            role.on_timeout(&mut self.office(plan, wires), &mut news);
            self.on_news(plan, wires, life, news);
        }
    }

    fn on_called(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life, over: CallOver) {
        let (call, outcome) = over;
        let link = outcome.map(|socket| self.add_link(life, socket, ElectionReader::dialed()));
        let result = link.map_err(|error| match error {
            DialError::Refused => DialFailure::Refused,
            DialError::Unreached => DialFailure::Unreached,
        });
        let mut acts = Vec::new();
        life.voter.dialled(wires.now(), call, result, &mut acts);
        self.perform(plan, wires, life, acts);
        // What came before the process knew of its connection is not told of again: its end, where
        // the other had not accepted it and is gone.
        if let Ok(socket) = outcome {
            self.read(plan, wires, life, socket);
        }
    }

    fn add_link(&mut self, life: &mut Life, socket: Socket, reader: ElectionReader) -> ConnId {
        self.linked += 1;
        let link = ConnId { index: self.linked, generation: 1 };
        life.links.insert(link, Link { line: Line::new(socket), reader });
        life.sockets.insert(socket, link);
        link
    }

    /// Reads what is there, or as much of it as this member takes at once.
    fn read(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life, socket: Socket) {
        let now = wires.now();
        let dawdles = self.dawdles_until > wires.clock.now();
        while let Some(link) = life.sockets.get(&socket).copied() {
            let most = if dawdles { DAWDLE_BYTES } else { usize::MAX };
            match wires.network.read(wires.clock, socket, most) {
                Read::Nothing => return,
                Read::Over(_) => {
                    life.links.remove(&link);
                    life.sockets.remove(&socket);
                    wires.close(socket);
                    let mut acts = Vec::new();
                    life.voter.closed(now, link, &mut acts);
                    self.perform(plan, wires, life, acts);
                }
                Read::Bytes(bytes) => self.on_bytes(plan, wires, life, link, &bytes),
            }
            if dawdles {
                life.unread.insert(socket);
                life.reads_on = Some(now.plus_ms(DAWDLE_MS));
                wires.history.count("half reads");
                return;
            }
        }
    }

    /// Cuts what has come into messages. A link that is closed meanwhile says nothing more.
    fn on_bytes(
        &mut self,
        plan: &Plan,
        wires: &mut Wires<'_>,
        life: &mut Life,
        link: ConnId,
        bytes: &[u8],
    ) {
        let now = wires.now();
        let mut input = bytes;
        while let Some(Link { reader, .. }) = life.links.get_mut(&link) {
            let mut acts = Vec::new();
            match reader.next(&mut input).expect("everybody here writes well") {
                None => return,
                Some(Heard::Initial(initial)) => {
                    life.voter.initial(now, link, &initial, &mut acts);
                }
                Some(Heard::Message(body)) => life.voter.message(now, link, body, &mut acts),
            }
            self.perform(plan, wires, life, acts);
        }
    }

    fn on_writable(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life, socket: Socket) {
        if let Some(link) = life.sockets.get(&socket).copied() {
            let line = &mut life.links.get_mut(&link).expect("a socket has its link").line;
            if line.flush(wires) {
                let mut acts = Vec::new();
                life.voter.backlog(wires.now(), link, false, &mut acts);
                self.perform(plan, wires, life, acts);
            }
        } else if let Some(at) = life.parting.iter().position(|line| line.socket == socket) {
            if life.parting[at].flush(wires) {
                wires.close(life.parting.remove(at).socket);
            }
        } else if let Some(role) = &mut life.role {
            role.on_writable(&mut self.office(plan, wires), socket);
        }
    }

    /// Does what the voter wants, in its order.
    fn perform(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Dial { call, .. } if self.breakage == Breakage::NoRedial && call > 20 => {}
                Act::Dial { addresses, .. }
                    if self.breakage == Breakage::NoDialBack
                        && is_of_observer(plan, &addresses) => {}
                Act::Dial { call, addresses } => life.calls.begin(wires, call, &addresses),
                Act::DropDial { call } => life.calls.drop(wires, call),
                Act::Write { link, bytes } => self.write(plan, wires, life, link, &bytes),
                Act::Close { link, after_flush } => close(wires, life, link, after_flush),
                Act::Heard { from, notification } => {
                    let (state, vote) = (notification.state, notification.vote);
                    if state == PeerState::Looking && vote.election_epoch < life.voter.round() {
                        wires.history.count("votes of older rounds");
                    }
                    wires.note(Deed::Heard { from, state, vote });
                }
                Act::Refused { server, is_so } => wires.note(Deed::Refused { server, is_so }),
                Act::Round(round) => wires.note(Deed::Round(round)),
                Act::Proposes(vote) => wires.note(Deed::Proposes(vote)),
                Act::Decided(outcome) => self.on_decided(plan, wires, life, outcome),
                Act::Reopened => {
                    wires.note(Deed::Reopened);
                    wires.history.count("elections opened again");
                    life.leave(wires);
                }
                Act::LeaderLooks => {
                    wires.history.count("leaders that looked again");
                    self.lose(plan, wires, life);
                }
            }
        }
    }

    fn write(
        &mut self,
        plan: &Plan,
        wires: &mut Wires<'_>,
        life: &mut Life,
        link: ConnId,
        bytes: &[u8],
    ) {
        // What was to be said may have closed it.
        let Some(Link { line, .. }) = life.links.get_mut(&link) else { return };
        let was_flushed = line.is_flushed();
        line.send(wires, bytes);
        if was_flushed && !line.is_flushed() {
            let mut acts = Vec::new();
            life.voter.backlog(wires.now(), link, true, &mut acts);
            self.perform(plan, wires, life, acts);
        }
    }

    fn on_decided(
        &mut self,
        plan: &Plan,
        wires: &mut Wires<'_>,
        life: &mut Life,
        outcome: Outcome,
    ) {
        let Outcome { role, vote, supporters, joined } = outcome.clone();
        wires.note(Deed::Decided { vote, role, supporters, joined });
        wires.history.count(if joined { "ensembles joined" } else { "elections" });
        life.leave(wires);
        let office = self.office(plan, wires);
        life.role = Some(match role {
            PeerState::Leading => Role::Leading(Leading::new(&office)),
            _ => Role::Following(Following::new(&office, vote.leader)),
        });
        life.outcome = Some(outcome);
    }

    fn on_news(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life, news: Vec<News>) {
        for news in news {
            // What comes behind the end of a role is not about the next one.
            let Some(outcome) = life.outcome.clone().filter(|_| life.role.is_some()) else {
                return;
            };
            let now = wires.now();
            let mut acts = Vec::new();
            match news {
                News::Opened => self.settle(wires, life, &outcome, &mut acts),
                News::Established { epoch } => {
                    if outcome.role != PeerState::Leading {
                        self.settle(wires, life, &outcome, &mut acts);
                    }
                    life.voter.correct_epoch(now, epoch, &mut acts);
                    wires.history.count("roles established");
                }
                News::Lost => self.lose(plan, wires, life),
            }
            self.perform(plan, wires, life, acts);
        }
    }

    /// The role is over, and the next election begins when the disk is done with it.
    fn lose(&mut self, plan: &Plan, wires: &mut Wires<'_>, life: &mut Life) {
        wires.history.count("roles lost");
        life.leave(wires);
        let mut acts = Vec::new();
        life.voter.stand_down(wires.now(), &mut acts);
        let late_ns = self.drain.below(DRAIN_MS * 1_000_000);
        life.starts = Some(wires.now().plus_ns(late_ns));
        self.perform(plan, wires, life, acts);
    }

    fn settle(
        &mut self,
        wires: &mut Wires<'_>,
        life: &mut Life,
        outcome: &Outcome,
        acts: &mut Vec<Act>,
    ) {
        life.is_settled = true;
        let (role, leader) = (outcome.role, outcome.vote.leader);
        wires.note(Deed::Settled { role, leader, round: outcome.vote.election_epoch });
        life.voter.confirm(wires.now(), acts);
    }
}

impl Life {
    fn next_timeout(&self) -> Option<Instant> {
        let role = self.role.as_ref().and_then(Role::next_timeout);
        let timers = [self.starts, self.reads_on, self.calls.next_timeout(), role];
        timers.into_iter().chain([self.voter.next_timeout()]).flatten().min()
    }

    /// Whatever role there is, it ends.
    fn leave(&mut self, wires: &mut Wires<'_>) {
        if let Some(role) = self.role.take() {
            role.end(wires);
            wires.note(Deed::Left);
        }
        self.outcome = None;
        self.is_settled = false;
    }
}

fn close(wires: &mut Wires<'_>, life: &mut Life, link: ConnId, after_flush: bool) {
    let Some(Link { line, .. }) = life.links.remove(&link) else { return };
    life.sockets.remove(&line.socket);
    if after_flush && !line.is_flushed() {
        life.parting.push(line);
    } else {
        wires.close(line.socket);
    }
}

/// Whether these are the addresses of a member that does not vote.
fn is_of_observer(plan: &Plan, at: &[HostPort]) -> bool {
    let mut observers = plan.members.iter().filter(|member| !member.votes);
    observers.any(|member| addresses(plan, member.id) == at)
}
