//! What befalls a world: faults in their time, and what its clients want.

use crate::base::{Instant, Rng, SessionId, Zxid};
use crate::peering::{Forwarded, Revalidate, write_request};

use super::disk::Command;
use super::leader::SYNC_OP;
use super::net::Event;
use super::{Role, Wanted, World};

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Crash(usize),
    Restart(usize),
    /// A server gets nothing and does nothing, then gets everything at once.
    Stand {
        index: usize,
        ms: u64,
    },
    DiskStands {
        index: usize,
        ms: u64,
    },
    DiskIsSlow {
        index: usize,
        us: u64,
    },
    /// The next cut is refused.
    Refuse(usize),
    /// An own snapshot, and perhaps what it makes superfluous goes.
    Snapshot {
        index: usize,
        purges: bool,
    },
    Cut {
        a: usize,
        b: usize,
    },
    Heal {
        a: usize,
        b: usize,
    },
    /// One of a server's links breaks.
    Break(usize),
    WireStands {
        index: usize,
        ms: u64,
    },
    /// The leader that was elected last crashes, right now.
    CrashLeader {
        down_ms: u64,
    },
    /// From now on nothing goes wrong.
    End,
}

/// Kinds of faults, each switched on by its bit.
const KINDS: u64 = 10;

impl World {
    /// Faults until then, of some kinds.
    pub fn plan(&mut self, rng: &mut Rng, until_ms: u64) {
        let count = self.machines.len() as u64;
        let kinds = rng.next_u64();
        let gap = [60, 150, 400, 1000][rng.below(4) as usize];
        let mut at = 200 + rng.below(600);
        while at < until_ms {
            let index = rng.below(count) as usize;
            let kind = rng.below(KINDS);
            let ms = [5, 60, 400, 2500][rng.below(4) as usize];
            let ms = 1 + rng.below(ms);
            let other = ((index as u64 + 1 + rng.below(count - 1)) % count) as usize;
            if kinds >> kind & 1 == 1 || kind == 0 {
                self.plan_one(rng, kind, at, (index, other), ms.min(until_ms - at));
            }
            at += 1 + rng.below(2 * gap);
        }
        self.net.push(Instant(1).plus_ms(until_ms), Event::Fault(Fault::End));
    }

    fn plan_one(
        &mut self,
        rng: &mut Rng,
        kind: u64,
        at: u64,
        (index, other): (usize, usize),
        ms: u64,
    ) {
        let mut push = |ms: u64, fault: Fault| {
            self.net.push(Instant(1).plus_ms(ms), Event::Fault(fault));
        };
        match kind {
            0 => push(at, Fault::Break(index)),
            1 => {
                push(at, Fault::Crash(index));
                push(at + ms, Fault::Restart(index));
            }
            2 => push(at, Fault::CrashLeader { down_ms: ms }),
            3 => {
                push(at, Fault::Cut { a: index, b: other });
                push(at + ms, Fault::Heal { a: index, b: other });
            }
            4 => {
                for b in (0..self.shape.voters + self.shape.observers).filter(|b| *b != index) {
                    push(at, Fault::Cut { a: index, b });
                    push(at + ms, Fault::Heal { a: index, b });
                }
            }
            5 => push(at, Fault::Stand { index, ms }),
            6 => push(at, Fault::DiskStands { index, ms }),
            7 => push(at, Fault::DiskIsSlow { index, us: [300, 20_000][rng.below(2) as usize] }),
            8 if rng.below(6) == 0 => push(at, Fault::Refuse(index)),
            8 => push(at, Fault::Snapshot { index, purges: rng.below(2) == 0 }),
            _ => push(at, Fault::WireStands { index, ms }),
        }
    }

    pub fn on_fault(&mut self, fault: Fault) {
        self.note(|| format!("{fault:?}"));
        match fault {
            Fault::Crash(index) => self.crash(index),
            Fault::Restart(index) => self.restart(index),
            Fault::CrashLeader { down_ms } => {
                let Some(index) = self.elected else { return };
                self.crash(index);
                let at = self.now.plus_ms(down_ms);
                self.net.push(at, Event::Fault(Fault::Restart(index)));
            }
            Fault::Stand { index, ms } => {
                let until = self.now.plus_ms(ms);
                self.machines[index].stands_until = until;
                self.net.push(until, Event::Wake { index });
            }
            Fault::DiskStands { index, ms } => {
                self.machines[index].disk_stands_until = self.now.plus_ms(ms);
            }
            Fault::DiskIsSlow { index, us } => self.machines[index].disk_us = us,
            Fault::Refuse(index) => self.machines[index].disk.refuses = true,
            Fault::Snapshot { index, purges } => self.take_snapshot(index, purges),
            Fault::Cut { a, b } => {
                self.net.cuts.insert((a.min(b), a.max(b)));
            }
            Fault::Heal { a, b } => {
                self.net.cuts.remove(&(a.min(b), a.max(b)));
            }
            Fault::Break(index) => {
                let wires = self.wires_of(index);
                if !wires.is_empty() {
                    let wire = wires[self.rng.below(wires.len() as u64) as usize];
                    self.break_wire(wire);
                }
            }
            Fault::WireStands { index, ms } => {
                let until = self.now.plus_ms(ms);
                for wire in self.wires_of(index) {
                    self.stand(wire, until);
                }
            }
            Fault::End => self.heal(),
        }
    }

    fn heal(&mut self) {
        self.is_healed = true;
        // Who is slow only takes longer.
        self.shape.delay_us = self.shape.delay_us.min(1000);
        self.shape.room = self.shape.room.max(20_000);
        self.net.cuts.clear();
        self.net.events.retain(|_, event| !matches!(event, Event::Fault(_)));
        let disk_us = self.shape.disk_us;
        for index in 0..self.machines.len() {
            let machine = &mut self.machines[index];
            machine.disk.refuses = false;
            machine.disk_us = disk_us;
            machine.disk_stands_until = Instant(0);
            machine.stands_until = Instant(0);
            self.restart(index);
            self.turn(index);
        }
    }

    /// A server's own snapshot is of what is committed, so there is none before a role is sure.
    fn take_snapshot(&mut self, index: usize, purges: bool) {
        let machine = &mut self.machines[index];
        let is_sure = match &machine.role {
            Role::Learning(learner) => learner.role.is_established(),
            Role::Leading(leader) => leader.leadership.is_established(),
            _ => false,
        };
        let is_there = machine.disk.snapshots.contains_key(&machine.at);
        if is_sure && machine.logs && !is_there {
            machine.last_ticket = machine.last_ticket.next();
            let ticket = machine.last_ticket;
            let history = machine.state.clone().into();
            let own = Command::Own { zxid: machine.at, history, purges };
            self.queue(index, ticket, own);
        }
    }

    /// Clients want something somewhere.
    pub fn serve_clients(&mut self) {
        let index = self.rng.below(self.machines.len() as u64) as usize;
        if self.machines[index].stands_until > self.now {
            return;
        }
        for _ in 0..1 + self.rng.below(3) {
            self.serve_client(index);
        }
    }

    fn serve_client(&mut self, index: usize) {
        match std::mem::replace(&mut self.machines[index].role, Role::Looking) {
            Role::Leading(mut leader) => {
                if leader.leadership.is_established() {
                    self.propose(index, &mut leader, SessionId(index as i64), 0);
                }
                self.machines[index].role = Role::Leading(leader);
                self.turn(index);
            }
            Role::Learning(learner) if learner.role.is_established() => {
                self.machines[index].role = Role::Learning(learner);
                self.ask_leader(index);
            }
            other => self.machines[index].role = other,
        }
    }

    fn ask_leader(&mut self, index: usize) {
        let kind = self.rng.below(5);
        self.sessions += 1;
        let session = SessionId(100 + (self.sessions % 7) * 10 + index as i64);
        let cxid = self.sessions as i32;
        let number = self.machines[index].number;
        let what = match kind {
            0..3 => Wanted::Write { session, cxid },
            3 => Wanted::Sync { committed: self.committed_by_leader_of(index) },
            _ => Wanted::Revalidation { session: SessionId(100_000 + self.sessions) },
        };
        let origin = self.ask(index, number, what);
        let Role::Learning(mut learner) =
            std::mem::replace(&mut self.machines[index].role, Role::Looking)
        else {
            panic!("a learner asks")
        };
        let request = |op| Forwarded { session, cxid, op, body: b"body" };
        let mut bytes = Vec::new();
        let is_taken = match what {
            Wanted::Write { .. } => {
                write_request(&request(1), None, &mut bytes);
                learner.role.forward(session, cxid, origin)
            }
            Wanted::Sync { .. } => {
                write_request(&request(SYNC_OP), None, &mut bytes);
                learner.role.sync(origin)
            }
            Wanted::Revalidation { session } => {
                let asked = Revalidate { session, timeout_ms: 9 };
                self.revalidate(index, &mut learner, asked)
            }
        };
        assert!(is_taken, "an established learner forwards");
        if let Some(wire) = learner.wire {
            self.write(wire, 0, &bytes);
        }
        self.machines[index].role = Role::Learning(learner);
    }

    fn committed_by_leader_of(&self, index: usize) -> Zxid {
        let Role::Learning(learner) = &self.machines[index].role else { return Zxid::ZERO };
        let Some(wire) = learner.wire.and_then(|wire| self.net.wires.get(&wire)) else {
            return Zxid::ZERO;
        };
        let leader = &self.machines[learner.leader];
        match &leader.role {
            Role::Leading(of) if of.number == wire.ends[1].role => leader.at,
            _ => Zxid::ZERO,
        }
    }
}
