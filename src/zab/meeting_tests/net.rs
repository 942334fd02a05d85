//! The network: ordered streams of bytes that are cut anywhere, take their time, have room for so
//! much, stand still, and break with what is in them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{ConnId, Instant};

use super::faults::Fault;
use super::{Said, World};

/// What happens at some time.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes arrive at an end of a wire.
    Pump {
        wire: u32,
        to: usize,
    },
    /// An end learns that its wire is gone.
    Lost {
        wire: u32,
        end: usize,
    },
    /// A dial arrives where it goes.
    Knock {
        from: usize,
        life: u64,
        role: u64,
        address: usize,
        until: Instant,
    },
    /// Something is said to a role; 0: to whichever there is.
    Tell {
        to: usize,
        life: u64,
        role: u64,
        said: Said,
    },
    DiskStep {
        index: usize,
        life: u64,
    },
    /// A server that stood still goes on.
    Wake {
        index: usize,
    },
    Fault(Fault),
    Elect,
    Clients,
}

/// The learner's end is 0, the leader's 1.
#[derive(Debug)]
pub struct End {
    pub machine: usize,
    pub life: u64,
    pub role: u64,
    pub is_open: bool,
    /// Written here and on its way.
    unsent: VecDeque<u8>,
    /// Has come and is not read.
    pub arrived: VecDeque<u8>,
    /// Bytes are moving towards this end.
    is_pumped: bool,
}

#[derive(Debug)]
pub struct Wire {
    pub ends: [End; 2],
    is_broken: bool,
    stands_until: Instant,
}

#[derive(Default)]
pub struct Net {
    pub events: BTreeMap<(Instant, u64), Event>,
    pushed: u64,
    pub wires: BTreeMap<u32, Wire>,
    made: u32,
    pub cuts: BTreeSet<(usize, usize)>,
}

/// What a receiver's socket holds unread.
const WINDOW: usize = 3000;

impl Net {
    pub fn push(&mut self, at: Instant, event: Event) {
        self.pushed += 1;
        self.events.insert((at, self.pushed), event);
    }

    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains(&(a.min(b), a.max(b)))
    }
}

pub fn link(wire: u32) -> ConnId {
    ConnId { index: wire, generation: 0 }
}

impl World {
    /// How long a message takes.
    pub fn delay_ns(&mut self) -> u64 {
        20_000 + self.rng.below(self.shape.delay_us * 1000)
    }

    pub fn after(&mut self, ns: u64, event: Event) {
        let at = self.now.plus_ns(ns);
        self.net.push(at, event);
    }

    /// Says something to the role that a machine has now, in a moment.
    pub fn tell_soon(&mut self, to: usize, role: u64, said: Said) {
        let (ns, life) = (self.delay_ns(), self.machines[to].life);
        self.after(ns, Event::Tell { to, life, role, said });
    }

    pub fn make_wire(&mut self, from: (usize, u64), to: (usize, u64)) -> u32 {
        let end = |(machine, role): (usize, u64)| End {
            machine,
            life: self.machines[machine].life,
            role,
            is_open: true,
            unsent: VecDeque::new(),
            arrived: VecDeque::new(),
            is_pumped: false,
        };
        let ends = [end(from), end(to)];
        self.net.made += 1;
        let wire = Wire { ends, is_broken: false, stands_until: Instant(0) };
        self.net.wires.insert(self.net.made, wire);
        self.net.made
    }

    /// An end writes; nothing where its wire is gone.
    pub fn write(&mut self, wire: u32, end: usize, bytes: &[u8]) {
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        if at.ends[end].is_open {
            at.ends[end].unsent.extend(bytes);
            self.start_pump(wire, 1 - end);
        }
    }

    /// How many more bytes an end may write.
    pub fn room(&self, wire: u32, end: usize) -> usize {
        let unsent = self.net.wires.get(&wire).map_or(0, |wire| wire.ends[end].unsent.len());
        self.shape.room.saturating_sub(unsent)
    }

    fn start_pump(&mut self, wire: u32, to: usize) {
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        let is_idle = at.ends[1 - to].unsent.is_empty() || at.ends[to].arrived.len() >= WINDOW;
        if !at.is_broken && !is_idle && !std::mem::replace(&mut at.ends[to].is_pumped, true) {
            let ns = self.delay_ns();
            self.after(ns, Event::Pump { wire, to });
        }
    }

    pub fn pump(&mut self, wire: u32, to: usize) {
        let most = match self.rng.below(4) {
            0 if self.shape.is_choppy => 1 + self.rng.below(30) as usize,
            _ => 1 + self.rng.below(2000) as usize,
        };
        let Some(at) = self.net.wires.get(&wire).filter(|wire| !wire.is_broken) else { return };
        let is_cut = self.net.is_cut(at.ends[0].machine, at.ends[1].machine);
        if is_cut || at.stands_until > self.now {
            return self.after(7_000_000, Event::Pump { wire, to });
        }
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        let [learner, leader] = &mut at.ends;
        let (from, into) = if to == 0 { (leader, learner) } else { (learner, leader) };
        into.is_pumped = false;
        let count = most.min(from.unsent.len()).min(WINDOW.saturating_sub(into.arrived.len()));
        into.arrived.extend(from.unsent.drain(..count));
        let (role, life, index) = (into.role, into.life, into.machine);
        let (back, back_life, back_index) = (from.role, from.life, from.machine);
        self.say(index, life, role, Said::Readable(wire));
        if to == 0 {
            self.say(back_index, back_life, back, Said::Room(wire));
        }
        self.start_pump(wire, to);
    }

    /// What has come to an end and is not read.
    pub fn take_arrived(&mut self, wire: u32, end: usize) -> Vec<u8> {
        let Some(at) = self.net.wires.get_mut(&wire) else { return Vec::new() };
        if !at.ends[end].is_open {
            return Vec::new();
        }
        at.ends[end].arrived.drain(..).collect()
    }

    /// What was not read after all stays in the socket.
    pub fn put_back(&mut self, wire: u32, end: usize, rest: &[u8]) {
        if let Some(at) = self.net.wires.get_mut(&wire) {
            let later =
                std::mem::replace(&mut at.ends[end].arrived, rest.iter().copied().collect());
            at.ends[end].arrived.extend(later);
        }
        self.start_pump(wire, end);
    }

    /// The wire breaks: each end learns of it when it does, if ever.
    pub fn break_wire(&mut self, wire: u32) {
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        at.is_broken = true;
        for end in [0, 1] {
            let ms = match self.rng.below(6) {
                0 => 700,
                1 => 60,
                _ => 3,
            };
            let ns = 1 + self.rng.below(ms * 1_000_000);
            self.after(ns, Event::Lost { wire, end });
        }
    }

    /// An end gives its wire up.
    pub fn close_end(&mut self, wire: u32, end: usize) {
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        at.ends[end].is_open = false;
        let is_over = at.ends.iter().all(|end| !end.is_open);
        if is_over {
            self.net.wires.remove(&wire);
            return;
        }
        // What is on its way may still arrive before the end does.
        let is_orderly = self.rng.below(2) == 0;
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        at.is_broken |= !is_orderly;
        let ns = self.delay_ns() * (1 + self.rng.below(20));
        self.after(ns, Event::Lost { wire, end: 1 - end });
    }

    pub fn on_lost(&mut self, wire: u32, end: usize) {
        let Some(at) = self.net.wires.get(&wire) else { return };
        let [a, b] = [at.ends[0].machine, at.ends[1].machine];
        if self.net.is_cut(a, b) {
            // Nobody is told across a cut; whoever waits has its own limits.
            return self.after(50_000_000, Event::Lost { wire, end });
        }
        let Some(at) = self.net.wires.get_mut(&wire) else { return };
        at.is_broken = true;
        if std::mem::replace(&mut at.ends[end].is_open, false) {
            let End { machine, life, role, .. } = at.ends[end];
            self.say(machine, life, role, Said::Lost(wire));
        }
        let is_over = self.net.wires.get(&wire).is_some_and(|w| w.ends.iter().all(|e| !e.is_open));
        if is_over {
            self.net.wires.remove(&wire);
        }
    }

    pub fn stand(&mut self, wire: u32, until: Instant) {
        if let Some(at) = self.net.wires.get_mut(&wire) {
            at.stands_until = until;
        }
    }

    pub fn wires_of(&self, machine: usize) -> Vec<u32> {
        let is_of = |wire: &Wire| wire.ends.iter().any(|end| end.machine == machine);
        self.net.wires.iter().filter(|(_, wire)| is_of(wire)).map(|(id, _)| *id).collect()
    }
}
