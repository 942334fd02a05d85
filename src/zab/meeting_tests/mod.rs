//! Leaders and learners meet: servers with disks, links of real bytes, an election in its barest
//! form, and whatever may happen to them. One seed is one course of events.
//!
//! After every step the machines check themselves, and what they do is held against one history:
//! what is committed is one sequence, which nobody loses, reorders or applies twice.

mod checks;
mod disk;
mod faults;
mod image;
mod leader;
mod learner;
mod machine;
mod net;
mod seeds;

use std::collections::{BTreeMap, VecDeque};

use crate::base::{Instant, Rng, ServerId, SessionId, Ticket, Zxid};
use crate::members::{MemberSpec, Membership};
use crate::peering::Revalidated;

use super::{LearnerEnd, Left, Recent, Tail, Wish};

use checks::{Canon, Counts};
use disk::{Command, Disk, DiskSaid};
use leader::Leader;
use learner::Learner;
use net::{Event, Net};

/// What one world is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    pub voters: usize,
    /// One that logs what it is informed of, and one that does not.
    pub observers: usize,
    /// The longest a message takes.
    pub delay_us: u64,
    /// The longest a command of the storage queue takes.
    pub disk_us: u64,
    /// What a leader may write to a link that has not taken it.
    pub room: usize,
    pub is_choppy: bool,
    pub ring_bytes: usize,
    pub hold_back: usize,
    pub force_snap: bool,
    /// Images of a leader that has proposed nothing are named for its epoch, as Java's are.
    pub names_epochs: bool,
    /// A leader sends the snapshot that it has, though it is older than its state.
    pub sends_files: bool,
    /// How many milliseconds lie between two things that clients do.
    pub client_ms: u64,
    pub breakage: Option<Breakage>,
}

/// What is broken on purpose, to see that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The disk says that something is durable as soon as it has it.
    DurableAtOnce,
    /// Epochs overtake what the storage queue has before them.
    EpochFirst,
    /// A learner loses a proposal and its commit where nobody can see that.
    LosesLastOfEpoch,
    /// The leader believes that it is alone.
    CommitsAlone,
    /// Cuts are said to be done.
    CutsNothing,
    /// A snapshot never gets its name.
    InstallsNothing,
    /// An image lacks its last txn.
    ImageLacksLast,
    /// The log says of any zxid that it is there.
    ProbeKnowsAll,
    /// Whoever has least is elected.
    ElectsTheWorst,
    /// A sync is answered before what it waits for.
    SyncsEarly,
}

pub const TICK_MS: u64 = 100;
pub const INIT_LIMIT_TICKS: u64 = 10;
pub const SYNC_LIMIT_TICKS: u64 = 5;

/// What a role is told.
#[derive(Clone, Debug)]
pub enum Said {
    Disk(DiskSaid),
    Readable(u32),
    Room(u32),
    Lost(u32),
    /// A learner's dial has come through, or has not.
    Dialed {
        address: usize,
        wire: u32,
    },
    DialFailed {
        address: usize,
    },
    /// A leader's port was dialled.
    Connected(u32),
    ImageProgress(usize),
    ImageWritten(Zxid),
    ImageFailed(Zxid),
    Rebuilt,
    Probe(u32, Zxid),
    Wish(u32, Wish),
    Revalidated(u32, Revalidated),
}

pub enum Role {
    Down,
    /// The role is over; what it handed to the disk is not all there yet.
    Leaving(Option<Left>),
    Looking,
    Learning(Box<Learner>),
    Leading(Box<Leader>),
}

pub struct Machine {
    pub id: ServerId,
    pub votes: bool,
    pub logs: bool,
    pub disk: Disk,
    /// What the disk has not done, and since when it has it.
    pub queue: VecDeque<(Instant, Ticket, Command)>,
    pub last_ticket: Ticket,
    pub life: u64,
    /// The number of the role, of all that there ever were.
    pub number: u64,
    pub role: Role,
    /// What is applied, and up to which zxid that is.
    pub state: Vec<Recent>,
    pub at: Zxid,
    /// Between two roles.
    pub tail: Tail,
    pub wants_image: bool,
    pub inbox: VecDeque<(u64, Said)>,
    pub stands_until: Instant,
    pub disk_stands_until: Instant,
    pub disk_us: u64,
    is_disk_busy: bool,
}

pub struct World {
    pub now: Instant,
    pub machines: Vec<Machine>,
    pub shape: Shape,
    pub net: Net,
    pub rng: Rng,
    pub canon: Canon,
    pub counts: Counts,
    /// Faults are over.
    pub is_healed: bool,
    roles: u64,
    /// Who was elected last.
    pub elected: Option<usize>,
    pub asked: BTreeMap<u32, Asked>,
    asked_ever: u32,
    sessions: i64,
    pub trace: Option<Vec<String>>,
    pub folded: u64,
}

/// Something that a client of a learner waits for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub machine: usize,
    pub role: u64,
    pub what: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Write {
        session: SessionId,
        cxid: i32,
    },
    /// With what the leader had committed when it was asked for.
    Sync {
        committed: Zxid,
    },
    Revalidation {
        session: SessionId,
    },
}

impl World {
    pub fn new(seed: u64, shape: Shape) -> World {
        let mut world = World {
            now: Instant(1),
            machines: Vec::new(),
            net: Net::default(),
            rng: Rng::new(seed),
            canon: Canon::default(),
            counts: Counts::default(),
            is_healed: false,
            roles: 0,
            elected: None,
            asked: BTreeMap::new(),
            asked_ever: 0,
            sessions: 0,
            trace: None,
            folded: 0xcbf2_9ce4_8422_2325,
            shape,
        };
        for index in 0..world.shape.voters + world.shape.observers {
            let votes = index < world.shape.voters;
            world.machines.push(Machine {
                id: ServerId(index as i64 + 1),
                votes,
                logs: votes || index == world.shape.voters,
                disk: Disk::new(),
                queue: VecDeque::new(),
                last_ticket: Ticket(0),
                life: 0,
                number: 0,
                role: Role::Down,
                state: Vec::new(),
                at: Zxid::ZERO,
                tail: Tail::default(),
                wants_image: false,
                inbox: VecDeque::new(),
                stands_until: Instant(0),
                disk_stands_until: Instant(0),
                disk_us: world.shape.disk_us,
                is_disk_busy: false,
            });
            world.restart(index);
        }
        world.after(1, Event::Elect);
        world.after(2, Event::Clients);
        world
    }

    pub fn membership(&self) -> Membership {
        let member = |index: usize| {
            let kind = if self.machines[index].votes { "participant" } else { "observer" };
            let id = self.machines[index].id;
            let text = format!("127.0.0.1:{}:{}:{kind}", 2880 + id.0, 3880 + id.0);
            (id, MemberSpec::read(id, &text, false).expect("it is sound"))
        };
        Membership::new(0, (0..self.machines.len()).map(member).collect())
    }

    pub fn voters(&self) -> impl Iterator<Item = &Machine> + '_ {
        self.machines.iter().filter(|machine| machine.votes)
    }

    pub fn majority(&self) -> usize {
        self.shape.voters / 2 + 1
    }

    /// A new role's number.
    pub fn next_role(&mut self) -> u64 {
        self.roles += 1;
        self.roles
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let text: String = text().chars().take(200).collect();
            let line = format!("{:>10.3} {text}", self.now.0 as f64 / 1e6);
            for byte in line.bytes() {
                self.folded = (self.folded ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
            trace.push(line);
        }
    }

    pub fn run_until(&mut self, until: Instant) {
        loop {
            let event = self.net.events.first_key_value().map(|((at, _), _)| *at);
            let timer = (0..self.machines.len()).filter_map(|m| Some((self.timeout(m)?, m))).min();
            let due = event.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(due) = due.filter(|due| *due <= until) else { break };
            self.now = self.now.max(due);
            // What has come is taken before a timer fires.
            if event == Some(due) {
                let (_, event) = self.net.events.pop_first().expect("it was looked at");
                self.on_event(event);
            } else if let Some((_, machine)) = timer {
                self.turn(machine);
            }
        }
        self.now = self.now.max(until);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Pump { wire, to } => self.pump(wire, to),
            Event::Lost { wire, end } => self.on_lost(wire, end),
            Event::Knock { from, life, role, address, until } => {
                self.on_knock((from, life, role), address, until);
            }
            Event::Tell { to, life, role, said } => self.say(to, life, role, said),
            Event::DiskStep { index, life } => self.disk_step(index, life),
            Event::Wake { index } => self.turn(index),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Elect => {
                self.elect();
                let ns = 5_000_000 + self.rng.below(20_000_000);
                self.after(ns, Event::Elect);
            }
            Event::Clients => {
                self.serve_clients();
                let ns = 1 + self.rng.below(2 * self.shape.client_ms * 1_000_000);
                self.after(ns, Event::Clients);
            }
        }
    }

    /// Somebody leads, all others follow, and all have come to the same.
    pub fn is_whole(&self) -> bool {
        let mut leaders = self.machines.iter().filter(|machine| match &machine.role {
            Role::Leading(leader) => leader.leadership.is_established(),
            _ => false,
        });
        let (Some(leader), None) = (leaders.next(), leaders.next()) else { return false };
        let end = leader.disk.last_record();
        let is_done = |machine: &Machine| match &machine.role {
            Role::Learning(learner) => learner.role.is_established(),
            Role::Leading(_) => true,
            _ => false,
        };
        let is_same = |machine: &Machine| {
            let has_logged = !machine.logs || machine.disk.last_record() == end;
            machine.state == leader.state && machine.queue.is_empty() && has_logged
        };
        self.machines.iter().all(|machine| is_done(machine) && is_same(machine))
            && self.canon.txns == leader.state
            && self.asked.is_empty()
    }

    /// Runs until all is whole, for at most so long.
    pub fn run_until_whole(&mut self, ms: u64) -> bool {
        let until = self.now.plus_ms(ms);
        while !self.is_whole() {
            if self.now >= until {
                return false;
            }
            self.run_until(self.now.plus_ms(10));
        }
        true
    }

    /// What ended a learner's role says that two of ours did not understand each other.
    pub fn is_honest(end: &LearnerEnd) -> bool {
        use LearnerEnd::*;
        matches!(
            end,
            NotReached
                | LinkLost
                | Silent { .. }
                | Stalled { .. }
                | DiskHangs { .. }
                | EpochBehind { .. }
                | ImageUnwritten
                | CannotCut { .. }
        )
    }
}
