//! Carries out what one `Mesh` and one `Election` want, as `node` will: their outputs become bytes
//! on sockets, and what comes becomes their inputs.
//!
//! There is no sync yet. Who leads listens at its quorum port and says nothing there; who follows
//! is connected to it, which stands for being let in, and looks again when that ends.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::{Events, Token, Waker};

use zkd::base::{ConnId, Instant, ServerId};
use zkd::election::{
    DialFailure, Election, ElectionOutput, ElectionSettings, Mesh, MeshOutput, MeshSettings, Reach,
    Standing,
};
use zkd::peering::{
    ElectionReader, Heard, HostPort, Initial, LearnerInfo, Notification, PacketBytes, PacketKind,
    PeerState, Splitter, StreamError,
};

use crate::ensemble::Ensemble;
use crate::sockets::{Came, Door, Reached, Sockets, WAKER};
use crate::voter::{Command, Setup, Shared};

const TICK_MS: u64 = 2000;
/// How long a dial may take on this machine.
const DIAL_MS: u64 = 5000;
/// Between two tries to get in at the leader.
const LEADER_PAUSE_MS: u64 = 50;

/// What a connection is for.
enum Use {
    /// The mesh wants it; the places behind this one are tried next.
    Dial {
        dial: u64,
        others: VecDeque<SocketAddr>,
        until: Instant,
    },
    Election(ElectionReader),
    /// Somebody at our quorum port.
    Learner(Splitter),
    /// Our way into the leader.
    Leader,
}

/// A follower's way into its leader.
struct Leader {
    server: ServerId,
    link: Option<usize>,
    again: Option<Instant>,
    until: Instant,
}

/// What was said on an election link, no longer borrowed from it.
enum Word {
    Initial(Initial),
    Message(Vec<u8>),
}

pub struct Wiring {
    started: std::time::Instant,
    sockets: Sockets,
    uses: BTreeMap<usize, Use>,
    mesh: Mesh,
    election: Election,
    standing: Standing,
    leader: Option<Leader>,
    leaders: BTreeMap<ServerId, SocketAddr>,
    commands: Receiver<Command>,
    shared: Arc<Shared>,
    meant: VecDeque<MeshOutput>,
    told: VecDeque<ElectionOutput>,
    is_ended: bool,
}

impl Wiring {
    pub fn new(
        ensemble: &Ensemble,
        id: i64,
        setup: Setup,
        commands: Receiver<Command>,
        shared: Arc<Shared>,
    ) -> (Wiring, Waker) {
        let (mut sockets, waker) = Sockets::new();
        for at in ensemble.election_listeners(id) {
            sockets.listen(Door::Election, at);
        }
        for at in ensemble.quorum_listeners(id) {
            sockets.listen(Door::Quorum, at);
        }
        let me = ServerId(id);
        let mesh = Mesh::new(MeshSettings {
            me,
            own: ensemble.own_addresses(id),
            form: setup.form,
            tick_ms: TICK_MS,
            greeting_ms: setup.greeting_ms,
        });
        let settings =
            ElectionSettings { me, observer: false, min_interval_ms: 200, max_interval_ms: 60_000 };
        let election = Election::new(settings, ensemble.electorate(), setup.standing);
        let leader_of = |id| (ServerId(id), ensemble.quorum_listeners(id)[0]);
        let mut wiring = Wiring {
            started: std::time::Instant::now(),
            sockets,
            uses: BTreeMap::new(),
            mesh,
            election,
            standing: setup.standing,
            leader: None,
            leaders: ensemble.ids().map(leader_of).collect(),
            commands,
            shared,
            meant: VecDeque::new(),
            told: VecDeque::new(),
            is_ended: false,
        };
        let now = wiring.now();
        wiring.with_mesh(|mesh, out| mesh.adopt(now, ensemble.peers(), out));
        wiring.with_election(|election, out| election.start(now, setup.standing, out));
        wiring.carry_out(now);
        (wiring, waker)
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(64);
        while !self.is_ended {
            let wait = self.next_timeout().map(|at| Duration::from_nanos(at.ns_since(self.now())));
            match self.sockets.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => panic!("polling: {e}"),
            }
            self.turn(&events);
        }
    }

    fn turn(&mut self, events: &Events) {
        let now = self.now();
        for event in events {
            self.on_ready(now, event.token());
        }
        self.on_time(now);
        self.mesh.check();
        self.election.check();
        let (election, sockets) = (&self.election, self.sockets.count());
        self.shared.note(|view| {
            view.state = election.state();
            view.round = election.round();
            view.settled = election.settled_vote();
            view.proposal = election.proposal();
            view.sockets = sockets;
        });
    }

    fn now(&self) -> Instant {
        let nanos = self.started.elapsed().as_nanos();
        Instant(u64::try_from(nanos).expect("tests are shorter"))
    }

    fn next_timeout(&self) -> Option<Instant> {
        let dials = self.uses.values().filter_map(|used| match used {
            Use::Dial { until, .. } => Some(*until),
            _ => None,
        });
        let leader = self.leader.as_ref().and_then(|leader| leader.again);
        let machines = [self.mesh.next_timeout(), self.election.next_timeout(), leader];
        dials.chain(machines.into_iter().flatten()).min()
    }

    fn on_time(&mut self, now: Instant) {
        let is_late = |used: &Use| matches!(used, Use::Dial { until, .. } if *until <= now);
        let late: Vec<usize> =
            self.uses.iter().filter(|(_, used)| is_late(used)).map(|(n, _)| *n).collect();
        for number in late {
            self.on_dial_failed(now, number, ErrorKind::TimedOut);
        }
        if self.leader.as_ref().is_some_and(|leader| leader.again.is_some_and(|at| at <= now)) {
            self.dial_leader(now);
        }
        if self.mesh.next_timeout().is_some_and(|at| at <= now) {
            self.with_mesh(|mesh, out| mesh.handle_timeout(now, out));
            self.carry_out(now);
        }
        if self.election.next_timeout().is_some_and(|at| at <= now) {
            self.with_election(|election, out| election.handle_timeout(now, out));
            self.carry_out(now);
        }
    }

    fn on_ready(&mut self, now: Instant, token: Token) {
        if token == WAKER {
            while let Ok(command) = self.commands.try_recv() {
                self.on_command(now, command);
            }
        } else if let Some((door, arrivals)) = self.sockets.arrivals(token) {
            for number in arrivals {
                self.on_arrival(now, door, number);
                self.on_socket(now, number);
            }
        } else {
            self.on_socket(now, token.0);
        }
        self.carry_out(now);
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::LookAgain => self.look_again(now),
            Command::CorrectEpoch(epoch) => {
                self.with_election(|election, out| election.correct_epoch(epoch, out));
            }
            Command::End => self.is_ended = true,
        }
    }

    fn on_arrival(&mut self, now: Instant, door: Door, number: usize) {
        match door {
            Door::Election => {
                self.uses.insert(number, Use::Election(ElectionReader::accepted()));
                self.with_mesh(|mesh, out| mesh.accepted(now, conn(number), out));
            }
            Door::Quorum => {
                let splitter = Splitter::new(PacketBytes::GREETING);
                self.uses.insert(number, Use::Learner(splitter));
            }
        }
        self.carry_out(now);
    }

    fn on_socket(&mut self, now: Instant, number: usize) {
        match (self.uses.get(&number), self.sockets.reached(number)) {
            // Nobody wants it any more; what it still has to say, it says.
            (None, _) => drop(self.sockets.flush(number)),
            (_, Reached::NotYet) => return,
            (Some(Use::Dial { .. }), Reached::Failed(kind)) => {
                return self.on_dial_failed(now, number, kind);
            }
            (Some(Use::Dial { dial, .. }), Reached::Yes) => {
                let dial = *dial;
                self.uses.insert(number, Use::Election(ElectionReader::dialed()));
                self.with_mesh(|mesh, out| {
                    mesh.handle_dialled(now, dial, Ok(conn(number)), out);
                });
                self.carry_out(now);
            }
            (Some(Use::Leader), Reached::Failed(_)) => return self.on_leader_unreached(now),
            (Some(Use::Leader), Reached::Yes) => self.on_leader_reached(now),
            (Some(_), _) => {}
        }
        if !self.sockets.flush(number) && self.sockets.is_open(number) {
            self.with_mesh(|mesh, out| mesh.handle_backlog(conn(number), false, out));
        }
        let came = self.sockets.read(number);
        self.on_bytes(now, number, came);
    }

    fn on_bytes(&mut self, now: Instant, number: usize, came: Came) {
        let mut fault = None;
        match self.uses.get_mut(&number) {
            Some(Use::Election(reader)) => {
                let (words, failed) = words(reader, &came.bytes);
                fault = failed;
                for word in words {
                    self.on_word(now, number, word);
                    self.carry_out(now);
                }
            }
            Some(Use::Learner(splitter)) => {
                let (learners, failed) = learners(splitter, &came.bytes);
                fault = failed;
                self.shared.note(|view| view.learners.extend(learners));
            }
            _ => {}
        }
        if let Some(fault) = fault {
            self.shared.note(|view| view.faults.push(fault));
        }
        if came.ended || fault.is_some() {
            self.on_ended(now, number);
        }
    }

    /// The connection is good for nothing any more.
    fn on_ended(&mut self, now: Instant, number: usize) {
        self.sockets.close(number);
        match self.uses.remove(&number) {
            Some(Use::Election(_)) => {
                self.with_mesh(|mesh, out| mesh.handle_closed(now, conn(number), out));
            }
            Some(Use::Leader) => self.look_again(now),
            _ => {}
        }
        self.carry_out(now);
    }

    fn on_word(&mut self, now: Instant, number: usize, word: Word) {
        if !self.sockets.is_open(number) {
            return;
        }
        match word {
            Word::Initial(initial) => {
                self.with_mesh(|mesh, out| mesh.handle_initial(now, conn(number), &initial, out));
                self.shared.note(|view| view.initials.push(initial));
            }
            Word::Message(body) => {
                let Some(from) = self.mesh.heard(now, conn(number)) else { return };
                match Notification::read(&body) {
                    Ok(heard) => {
                        self.with_election(|election, out| {
                            election.handle_notification(now, from, &heard, out);
                        });
                        self.shared.note(|view| view.heard.push((from, heard)));
                    }
                    // As Java: the message is passed over, the link stays.
                    Err(_) => self.shared.note(|view| view.senseless += 1),
                }
            }
        }
    }

    fn with_mesh(&mut self, input: impl FnOnce(&mut Mesh, &mut Vec<MeshOutput>)) {
        let mut out = Vec::new();
        input(&mut self.mesh, &mut out);
        self.meant.extend(out);
    }

    fn with_election(&mut self, input: impl FnOnce(&mut Election, &mut Vec<ElectionOutput>)) {
        let mut out = Vec::new();
        input(&mut self.election, &mut out);
        self.told.extend(out);
    }

    /// Both machines' outputs, each in its order, until neither wants anything.
    fn carry_out(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.meant.pop_front() {
                self.on_meant(now, output);
            } else if let Some(output) = self.told.pop_front() {
                self.on_told(now, output);
            } else {
                return;
            }
        }
    }

    fn on_meant(&mut self, now: Instant, output: MeshOutput) {
        match output {
            MeshOutput::Dial { dial, addresses, .. } => {
                let places = addresses.iter().filter_map(place).collect();
                self.dial(now, dial, places, DialFailure::Unreached);
            }
            MeshOutput::DropDial { dial: dropped } => {
                let is_it = |used: &Use| matches!(used, Use::Dial { dial, .. } if *dial == dropped);
                let number = self.uses.iter().find(|(_, used)| is_it(used)).map(|(n, _)| *n);
                if let Some(number) = number {
                    self.uses.remove(&number);
                    self.sockets.close(number);
                }
            }
            MeshOutput::Greet { link, initial, form } => {
                let mut bytes = Vec::new();
                initial.write(form, &mut bytes);
                self.sockets.send(number_of(link), &bytes);
            }
            MeshOutput::Send { link, notification } => {
                let mut bytes = Vec::new();
                notification.write_frame(&mut bytes);
                if self.sockets.send(number_of(link), &bytes) {
                    self.with_mesh(|mesh, out| mesh.handle_backlog(link, true, out));
                }
            }
            MeshOutput::Close { link, reason, after_flush } => {
                let number = number_of(link);
                self.shared.note(|view| view.closed.push(reason));
                self.uses.remove(&number);
                if after_flush {
                    self.sockets.close_when_sent(number);
                } else {
                    self.sockets.close(number);
                }
            }
            MeshOutput::Reach { server, reach } => {
                self.shared.note(|view| {
                    if reach == Reach::Linked {
                        view.linked.insert(server);
                    } else if view.linked.remove(&server) {
                        view.lost.push(server);
                    }
                });
                self.with_election(|election, out| election.handle_reach(now, server, reach, out));
            }
        }
    }

    fn on_told(&mut self, now: Instant, output: ElectionOutput) {
        match output {
            ElectionOutput::Tell { to, notification } => {
                self.with_mesh(|mesh, out| mesh.tell(now, to, notification, out));
            }
            ElectionOutput::Restate(word) => self.mesh.restate(word),
            ElectionOutput::Decided(outcome) => {
                match outcome.role {
                    // Its quorum port is open, and has been from the start.
                    PeerState::Leading => {
                        self.with_election(|election, out| election.confirm(out));
                    }
                    _ => self.seek(now, outcome.vote.leader),
                }
                self.shared.note(|view| view.outcomes.push(outcome));
            }
            ElectionOutput::Reopened => {
                self.leave_leader();
                self.shared.note(|view| view.reopened += 1);
            }
            ElectionOutput::NewerConfig { .. }
            | ElectionOutput::VoterLooks(_)
            | ElectionOutput::LeaderLooks => {}
        }
    }

    /// Dials the first of these places; none is left where all have failed.
    fn dial(
        &mut self,
        now: Instant,
        dial: u64,
        mut places: VecDeque<SocketAddr>,
        mut failure: DialFailure,
    ) {
        while let Some(place) = places.pop_front() {
            match self.sockets.dial(place) {
                Ok(number) => {
                    let until = now.plus_ms(DIAL_MS);
                    self.uses.insert(number, Use::Dial { dial, others: places, until });
                    return;
                }
                Err(e) => failure = failure_of(e.kind()),
            }
        }
        self.with_mesh(|mesh, out| mesh.handle_dialled(now, dial, Err(failure), out));
    }

    fn on_dial_failed(&mut self, now: Instant, number: usize, kind: ErrorKind) {
        self.sockets.close(number);
        let Some(Use::Dial { dial, others, .. }) = self.uses.remove(&number) else { return };
        self.dial(now, dial, others, failure_of(kind));
        self.carry_out(now);
    }

    /// Looks for a way into the leader.
    fn seek(&mut self, now: Instant, server: ServerId) {
        self.leave_leader();
        let until = now.plus_ms(DIAL_MS);
        self.leader = Some(Leader { server, link: None, again: Some(now), until });
    }

    fn dial_leader(&mut self, now: Instant) {
        let leader = self.leader.as_mut().expect("there is one to dial");
        leader.again = None;
        let place = self.leaders[&leader.server];
        match self.sockets.dial(place) {
            Ok(number) => {
                leader.link = Some(number);
                self.uses.insert(number, Use::Leader);
            }
            Err(_) => self.on_leader_unreached(now),
        }
    }

    /// It says that it leads as soon as it does, and Java does so before its port is open.
    fn on_leader_unreached(&mut self, now: Instant) {
        let leader = self.leader.as_mut().expect("it was dialled");
        if let Some(number) = leader.link.take() {
            self.uses.remove(&number);
            self.sockets.close(number);
        }
        if now < leader.until {
            leader.again = Some(now.plus_ms(LEADER_PAUSE_MS));
        } else {
            self.look_again(now);
        }
    }

    fn on_leader_reached(&mut self, now: Instant) {
        let server = self.leader.as_ref().expect("it was dialled").server;
        self.with_election(|election, out| election.confirm(out));
        self.shared.note(|view| view.let_in_by = Some(server));
        self.carry_out(now);
    }

    fn leave_leader(&mut self) {
        if let Some(number) = self.leader.take().and_then(|leader| leader.link) {
            self.uses.remove(&number);
            self.sockets.close(number);
        }
        self.shared.note(|view| view.let_in_by = None);
    }

    fn look_again(&mut self, now: Instant) {
        self.leave_leader();
        // Who leads no more lets go of those who follow.
        let is_learner = |used: &Use| matches!(used, Use::Learner(_));
        let learners: Vec<usize> =
            self.uses.iter().filter(|(_, used)| is_learner(used)).map(|(n, _)| *n).collect();
        for number in learners {
            self.uses.remove(&number);
            self.sockets.close(number);
        }
        let standing = self.standing;
        self.with_election(|election, out| election.stand_down(out));
        self.with_election(|election, out| election.start(now, standing, out));
    }
}

/// What a reader makes of these bytes, and why it cannot go on.
fn words(reader: &mut ElectionReader, bytes: &[u8]) -> (Vec<Word>, Option<StreamError>) {
    let mut words = Vec::new();
    let mut input = bytes;
    loop {
        match reader.next(&mut input) {
            Ok(Some(Heard::Initial(initial))) => words.push(Word::Initial(initial)),
            Ok(Some(Heard::Message(body))) => words.push(Word::Message(body.to_vec())),
            Ok(None) => return (words, None),
            Err(fault) => return (words, Some(fault)),
        }
    }
}

/// Who says who it is at the quorum port.
fn learners(splitter: &mut Splitter, bytes: &[u8]) -> (Vec<LearnerInfo>, Option<StreamError>) {
    let mut learners = Vec::new();
    let mut input = bytes;
    loop {
        match splitter.next(&mut input) {
            Ok(Some(packet)) if packet.kind == PacketKind::FollowerInfo => {
                let info = packet.body().and_then(LearnerInfo::read);
                learners.push(info.expect("a follower says who it is"));
            }
            Ok(Some(_)) => {}
            Ok(None) => return (learners, None),
            Err(fault) => return (learners, Some(fault)),
        }
    }
}

fn place(address: &HostPort) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.host.parse::<IpAddr>().ok()?, address.port))
}

fn failure_of(kind: ErrorKind) -> DialFailure {
    if kind == ErrorKind::ConnectionRefused { DialFailure::Refused } else { DialFailure::Unreached }
}

fn conn(number: usize) -> ConnId {
    ConnId { index: u32::try_from(number).expect("tests are short"), generation: 0 }
}

fn number_of(link: ConnId) -> usize {
    usize::try_from(link.index).expect("a small number")
}
