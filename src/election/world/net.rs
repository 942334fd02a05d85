//! The network: ordered streams that take their time, break with what is in them, and are refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{ConnId, Instant};
use crate::peering::{Initial, Notification};

use super::*;

#[derive(Clone, Debug)]
pub enum Parcel {
    Accepted,
    Initial(Initial),
    Word(Notification),
    Closed,
}

#[derive(Clone, Debug)]
pub enum Event {
    Deliver { wire: u32, end: usize, what: Parcel },
    /// A dial arrives where it goes.
    Knock { from: usize, life: u64, dial: u64, to: usize },
    Outcome { to: usize, life: u64, dial: u64, how: Result<ConnId, DialFailure> },
    Wake { to: usize, life: u64 },
    Step { to: usize, life: u64, again: bool },
    Restart { index: usize },
    Crash { index: usize },
    Cut { a: usize, b: usize },
    Heal { a: usize, b: usize },
}

/// One end of a stream.
#[derive(Clone, Copy, Debug)]
pub struct End {
    machine: usize,
    life: u64,
    open: bool,
    /// When the last parcel arrives here: none overtakes it.
    last: Instant,
}

#[derive(Clone, Copy, Debug)]
pub struct Wire {
    ends: [End; 2],
    /// What is in it is lost, and so is what comes.
    broken: bool,
}

#[derive(Default)]
pub struct Net {
    events: BTreeMap<(Instant, u64), Event>,
    pushed: u64,
    wires: BTreeMap<u32, Wire>,
    made: u32,
    cuts: BTreeSet<(usize, usize)>,
}

impl Net {
    pub fn push(&mut self, at: Instant, event: Event) {
        self.pushed += 1;
        self.events.insert((at, self.pushed), event);
    }

    pub fn pop_until(&mut self, until: Instant) -> Option<(Instant, Event)> {
        let first = self.events.first_entry().filter(|first| first.key().0 <= until)?;
        let ((at, _), event) = first.remove_entry();
        Some((at, event))
    }

    pub fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains(&(a.min(b), a.max(b)))
    }

    pub fn heal(&mut self, a: usize, b: usize) {
        self.cuts.remove(&(a.min(b), a.max(b)));
    }

    pub fn links_of(&self, machine: usize) -> Vec<ConnId> {
        let mut found = Vec::new();
        for (wire, Wire { ends, .. }) in &self.wires {
            for (end, at) in ends.iter().enumerate() {
                if at.machine == machine && at.open {
                    found.push(link(*wire, end));
                }
            }
        }
        found
    }
}

pub fn link(wire: u32, end: usize) -> ConnId {
    ConnId { index: wire, generation: end as u32 }
}

impl World {
    fn delay(&mut self) -> u64 {
        20_000 + self.rng.below(self.shape.delay_us * 1000)
    }

    /// Does what a machine's mesh asks for.
    pub fn perform(&mut self, index: usize, output: MeshOutput) {
        match output {
            MeshOutput::Dial { dial, server, .. } => {
                let (to, life) = (server.0 as usize - 1, self.machines[index].life);
                let at = self.now.plus_ns(self.delay());
                self.net.push(at, Event::Knock { from: index, life, dial, to });
            }
            // It may succeed all the same, which nobody can prevent.
            MeshOutput::DropDial { .. } => {}
            MeshOutput::Greet { link, initial, .. } => {
                self.send(link, Parcel::Initial(initial));
            }
            MeshOutput::Send { link, notification } => {
                self.send(link, Parcel::Word(notification));
            }
            MeshOutput::Close { link, .. } => self.close_end(link),
            MeshOutput::Reach { .. } => panic!("reach is told to the election"),
        }
    }

    pub fn on_knock(&mut self, from: usize, life: u64, dial: u64, to: usize) {
        let back = self.now.plus_ns(self.delay());
        if self.net.is_cut(from, to) {
            let at = self.now.plus_ms(500 + self.rng.below(4500));
            let how = Err(DialFailure::Unreached);
            return self.net.push(at, Event::Outcome { to: from, life, dial, how });
        }
        if !self.machines[to].up {
            let how = Err(DialFailure::Refused);
            return self.net.push(back, Event::Outcome { to: from, life, dial, how });
        }
        let (now, to_life) = (self.now, self.machines[to].life);
        let end = |machine, life, last| End { machine, life, open: true, last };
        self.net.made += 1;
        let wire = self.net.made;
        let ends = [end(from, life, back), end(to, to_life, now)];
        self.net.wires.insert(wire, Wire { ends, broken: false });
        self.net.push(now, Event::Deliver { wire, end: 1, what: Parcel::Accepted });
        let how = Ok(link(wire, 0));
        self.net.push(back, Event::Outcome { to: from, life, dial, how });
    }

    fn send(&mut self, from: ConnId, what: Parcel) {
        let (delay, now) = (self.delay(), self.now);
        let Some(wire) = self.net.wires.get_mut(&from.index) else { return };
        if !wire.ends[from.generation as usize].open || wire.broken {
            return;
        }
        let end = 1 - from.generation as usize;
        let at = now.plus_ns(delay).max(wire.ends[end].last.plus_ns(1));
        wire.ends[end].last = at;
        self.net.push(at, Event::Deliver { wire: from.index, end, what });
    }

    /// A machine closes its end; the other learns of it behind what is under way.
    pub fn close_end(&mut self, at: ConnId) {
        self.send(at, Parcel::Closed);
        if let Some(wire) = self.net.wires.get_mut(&at.index) {
            wire.ends[at.generation as usize].open = false;
        }
        self.drop_if_closed(at.index);
    }

    fn drop_if_closed(&mut self, wire: u32) {
        if self.net.wires.get(&wire).is_some_and(|wire| wire.ends.iter().all(|end| !end.open)) {
            self.net.wires.remove(&wire);
        }
    }

    pub fn deliver(&mut self, wire: u32, end: usize, what: Parcel) {
        let Some(found) = self.net.wires.get_mut(&wire) else { return };
        let closes = matches!(what, Parcel::Closed);
        if !found.ends[end].open || (found.broken && !closes) {
            return;
        }
        found.ends[end].open &= !closes;
        let (to, life) = (found.ends[end].machine, found.ends[end].life);
        self.drop_if_closed(wire);
        if !self.is_alive(to, life) {
            return;
        }
        let at = link(wire, end);
        let input = match what {
            Parcel::Accepted => Input::Accepted(at),
            Parcel::Initial(initial) => Input::Initial(at, initial),
            Parcel::Word(word) => Input::Heard(at, word),
            Parcel::Closed => Input::Closed(at),
        };
        self.give(to, input);
    }

    /// Nothing passes between two machines any more. Each learns of it in its own time.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.net.cuts.insert((a.min(b), a.max(b)));
        let between = |wire: &Wire| {
            let [x, y] = wire.ends.map(|end| end.machine);
            (x, y) == (a, b) || (x, y) == (b, a)
        };
        let broken: Vec<u32> =
            self.net.wires.iter().filter(|(_, wire)| between(wire)).map(|(n, _)| *n).collect();
        for wire in broken {
            let found = self.net.wires.get_mut(&wire).expect("it was found");
            found.broken = true;
            for (end, last) in found.ends.map(|end| end.last).into_iter().enumerate() {
                let at = self.now.plus_ms(self.rng.below(3000)).max(last.plus_ns(1));
                self.net.push(at, Event::Deliver { wire, end, what: Parcel::Closed });
            }
        }
    }
}
