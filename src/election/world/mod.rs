//! A small world: machines with disks, a network of ordered streams that are slow, break and
//! refuse, crashes and restarts, and what comes after an election in its barest form. One seed is
//! one course of events.

mod after;
mod java;
mod net;
mod server;
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Instant, Rng, ServerId, Zxid};
use crate::peering::{PeerState, Vote};

use super::fast_tests::{electorate, majority};
use super::*;

use after::Role;
use java::Java;
use net::{Event, Net};
use server::{Action, Input, Ours, Server};

/// What one world is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    pub voters: usize,
    /// Which of them are Java's, by a bit each.
    pub java: u32,
    /// One more server, which does not vote.
    pub observer: bool,
    /// The longest a message takes.
    pub delay_us: u64,
    pub max_interval_ms: u64,
}

/// What survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub zxid: Zxid,
    pub current: i64,
    pub accepted: i64,
}

pub struct Machine {
    pub id: ServerId,
    pub disk: Disk,
    pub up: bool,
    /// Rises with every crash, so that what was meant for an earlier life is not taken.
    pub life: u64,
    pub role: Role,
    server: Server,
    votes: bool,
}

pub struct World {
    pub now: Instant,
    pub machines: Vec<Machine>,
    shape: Shape,
    net: Net,
    rng: Rng,
    /// Every vote that anybody has told, by who told it.
    voted: BTreeSet<(ServerId, i64, i64, i64, i64)>,
    /// Who established which epoch, and the newest zxid that a quorum has.
    epochs: BTreeMap<i64, ServerId>,
    pub committed: Zxid,
    /// How often a server has decided, and opened its decision again.
    pub decisions: u64,
    pub reopened: u64,
    /// When the last leader was established, and what happened until then, folded.
    pub established_at: Instant,
    pub trace: u64,
    pub tracing: bool,
}

impl World {
    pub fn new(seed: u64, shape: Shape) -> World {
        let mut world = World {
            now: Instant(1),
            machines: Vec::new(),
            net: Net::default(),
            rng: Rng::new(seed),
            voted: BTreeSet::new(),
            epochs: BTreeMap::new(),
            committed: Zxid::ZERO,
            decisions: 0,
            reopened: 0,
            established_at: Instant(0),
            trace: 0xcbf2_9ce4_8422_2325,
            tracing: false,
            shape,
        };
        let count = world.shape.voters + usize::from(world.shape.observer);
        for index in 0..count {
            let machine = Machine {
                id: ServerId(index as i64 + 1),
                disk: Disk { zxid: Zxid::ZERO, current: 0, accepted: 0 },
                up: false,
                life: 0,
                role: Role::Down,
                server: world.fresh(index),
                votes: index < world.shape.voters,
            };
            world.machines.push(machine);
        }
        for index in 0..count {
            let ms = world.rng.below(300);
            world.net.push(world.now.plus_ms(ms), Event::Restart { index });
        }
        world
    }

    fn is_java(&self, index: usize) -> bool {
        index < self.shape.voters && self.shape.java >> index & 1 == 1
    }

    /// A server that has just been started.
    fn fresh(&self, index: usize) -> Server {
        let voters: Vec<i64> = (1..=self.shape.voters as i64).collect();
        let electorate = electorate(majority(&voters), None);
        let settings = ElectionSettings {
            me: ServerId(index as i64 + 1),
            observer: index >= self.shape.voters,
            min_interval_ms: 200,
            max_interval_ms: self.shape.max_interval_ms,
        };
        let count = self.shape.voters + usize::from(self.shape.observer);
        let spec = |at: usize| {
            let id = ServerId(at as i64 + 1);
            let addresses = vec![server::address(id)];
            (id, PeerSpec { addresses, voter: at < self.shape.voters })
        };
        let members: BTreeMap<ServerId, PeerSpec> = (0..count).map(spec).collect();
        if self.is_java(index) {
            let ids = members.keys().copied().collect();
            return Server::Java(Box::new(Java::new(settings, &electorate, ids)));
        }
        Server::Ours(Box::new(Ours::new(settings, electorate, members)))
    }

    pub fn run_until(&mut self, until: Instant) {
        while let Some((at, event)) = self.net.pop_until(until) {
            assert!(at >= self.now, "time does not run backwards");
            self.now = at;
            if self.tracing {
                self.fold(&event);
            }
            self.on_event(event);
        }
        self.now = until;
    }

    /// Runs until the members have an established leader, for at most so long; how long it took.
    pub fn run_until_whole(&mut self, ms: u64) -> Option<u64> {
        let (start, until) = (self.now, self.now.plus_ms(ms));
        while !self.is_whole() {
            if self.now >= until {
                return None;
            }
            let step = self.now.plus_ms(1);
            self.run_until(step);
        }
        Some(self.now.ms_since(start))
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Deliver { wire, end, what } => self.deliver(wire, end, what),
            Event::Knock { from, life, dial, to } => self.on_knock(from, life, dial, to),
            Event::Outcome { to, life, dial, how } => {
                if self.is_alive(to, life) {
                    self.give(to, Input::Dialled(dial, how));
                } else if let Ok(link) = how {
                    self.close_end(link);
                }
            }
            Event::Wake { to, life } => {
                let due = self.machines[to].server.next_timeout();
                if self.is_alive(to, life) && due.is_some_and(|due| due <= self.now) {
                    self.give(to, Input::Timeout);
                }
            }
            Event::Step { to, life, again } => {
                if self.is_alive(to, life) {
                    self.step(to);
                    if again {
                        self.net.push(self.now.plus_ms(10), Event::Step { to, life, again });
                    }
                }
            }
            Event::Restart { index } => self.restart(index),
            Event::Crash { index } => self.crash(index),
            Event::Cut { a, b } => self.cut(a, b),
            Event::Heal { a, b } => self.net.heal(a, b),
        }
    }

    fn is_alive(&self, index: usize, life: u64) -> bool {
        self.machines[index].up && self.machines[index].life == life
    }

    pub fn restart(&mut self, index: usize) {
        if self.machines[index].up {
            return;
        }
        self.machines[index].server = self.fresh(index);
        let machine = &mut self.machines[index];
        machine.up = true;
        machine.role = Role::Gap { until: self.now };
        let life = machine.life;
        self.give(index, Input::Boot);
        self.net.push(self.now, Event::Step { to: index, life, again: true });
    }

    pub fn crash(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        if !machine.up {
            return;
        }
        machine.up = false;
        machine.life += 1;
        machine.role = Role::Down;
        for link in self.net.links_of(index) {
            self.close_end(link);
        }
    }

    /// Hands an input to a machine and does what it asks for.
    fn give(&mut self, index: usize, input: Input) {
        let mut actions = Vec::new();
        let now = self.now;
        self.machines[index].server.take(now, input, &mut actions);
        for action in actions {
            match action {
                Action::Net(output) => self.perform(index, output),
                Action::Voted(vote) => {
                    let id = self.machines[index].id;
                    self.voted.insert(key(id, &vote));
                }
                Action::Decided(outcome) => self.on_decided(index, &outcome),
                Action::Reopened => {
                    self.reopened += 1;
                    let role = &self.machines[index].role;
                    let is_open = matches!(role, Role::Opening { .. } | Role::Joining { .. });
                    assert!(is_open, "{role:?} was opened again");
                    self.machines[index].role = Role::Looking;
                }
                Action::LeaderLooks => {
                    let role = &self.machines[index].role;
                    assert!(matches!(role, Role::Joining { .. }), "{role:?} had its leader");
                    self.stand_down(index);
                }
            }
        }
        if let Some(due) = self.machines[index].server.next_timeout() {
            let life = self.machines[index].life;
            self.net.push(due.max(now), Event::Wake { to: index, life });
        }
    }

    /// A decision has a quorum, and everybody in it has said so.
    fn on_decided(&mut self, index: usize, outcome: &Outcome) {
        self.decisions += 1;
        let voters = self.machines.iter().filter(|machine| machine.votes).count();
        let supporters = &outcome.supporters;
        assert!(supporters.len() * 2 > voters, "{outcome:?} without a quorum");
        for supporter in supporters {
            assert!(self.machines[supporter.0 as usize - 1].votes, "{supporter:?} does not vote");
            let told = self.voted.contains(&key(*supporter, &outcome.vote));
            assert!(outcome.joined || told, "{supporter:?} never told {outcome:?}");
        }
        let me = self.machines[index].id;
        assert_eq!(outcome.role == PeerState::Leading, outcome.vote.leader == me);
        self.machines[index].role = match outcome.role {
            PeerState::Leading => {
                Role::Opening { until: self.now.plus_ns(self.rng.below(3_000_000)) }
            }
            _ => {
                let since = self.now;
                Role::Joining { leader: outcome.vote.leader, since, next: since }
            }
        };
        let life = self.machines[index].life;
        self.net.push(self.now.plus_ms(3), Event::Step { to: index, life, again: false });
    }

    fn fold(&mut self, event: &Event) {
        let text = format!("{:?} {event:?}", self.now);
        for byte in text.bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

fn key(server: ServerId, vote: &Vote) -> (ServerId, i64, i64, i64, i64) {
    (server, vote.leader.0, vote.zxid.0, vote.election_epoch, vote.peer_epoch)
}
