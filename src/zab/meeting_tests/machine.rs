//! A server between its roles: its turns, its disk, crashes, elections.

use std::collections::BTreeSet;

use crate::base::{Instant, ServerId, Ticket, Zxid};
use crate::history::EpochFile;
use crate::zab::{Left, Recent, Tail};

use super::disk::{Command, Disk, DiskSaid, entry_of};
use super::net::Event;
use super::{Breakage, Machine, Role, SYNC_LIMIT_TICKS, Said, TICK_MS, World};

impl Machine {
    pub fn is_up(&self) -> bool {
        !matches!(self.role, Role::Down)
    }

    /// May be elected and may elect: its disk gives back what it once held.
    fn may_vote(&self) -> bool {
        self.votes && matches!(self.role, Role::Looking) && !self.disk.is_lost
    }

    /// What it is, once recovered or once a role has left it.
    fn recover(&mut self, hold_back: usize) {
        let (state, tail) = self.disk.recover(hold_back);
        self.state = state;
        self.at = tail.applied();
        self.tail = tail;
    }
}

impl World {
    fn is_running(&self, index: usize) -> bool {
        self.machines[index].is_up() && self.machines[index].stands_until <= self.now
    }

    /// Says something to a role, unless it is over.
    pub fn say(&mut self, to: usize, life: u64, role: u64, said: Said) {
        let machine = &mut self.machines[to];
        if machine.is_up() && machine.life == life {
            machine.inbox.push_back((role, said));
            self.turn(to);
        } else if let Said::Dialed { wire, .. } = said {
            self.close_end(wire, 0);
        }
    }

    pub fn timeout(&self, index: usize) -> Option<Instant> {
        if !self.is_running(index) {
            return None;
        }
        match &self.machines[index].role {
            Role::Learning(learner) => Some(learner.role.next_timeout()),
            Role::Leading(leader) => leader.leadership.next_timeout(),
            _ => None,
        }
    }

    /// Takes what has come, then the timers that are due.
    pub fn turn(&mut self, index: usize) {
        if !self.is_running(index) {
            return;
        }
        let role = std::mem::replace(&mut self.machines[index].role, Role::Looking);
        let role = match role {
            Role::Learning(learner) => self.learner_turn(index, learner),
            Role::Leading(leader) => self.leader_turn(index, leader),
            other => {
                for (_, said) in std::mem::take(&mut self.machines[index].inbox) {
                    self.pass_over(said);
                }
                other
            }
        };
        self.machines[index].role = role;
        self.settle(index);
        self.check(index);
    }

    /// Said to a role that is over, or to none.
    pub fn pass_over(&mut self, said: Said) {
        match said {
            Said::Dialed { wire, .. } => self.close_end(wire, 0),
            Said::Connected(wire) => self.close_end(wire, 1),
            _ => {}
        }
    }

    /// A role is over when everything that it handed to the disk is there.
    fn settle(&mut self, index: usize) {
        let hold_back = self.shape.hold_back;
        let machine = &mut self.machines[index];
        if !machine.queue.is_empty() {
            return;
        }
        let Role::Leaving(left) = &mut machine.role else { return };
        match left.take() {
            Some(Left::History(tail)) => {
                tail.check();
                assert_eq!(tail.applied(), machine.at, "the tail lies behind the state");
                if machine.logs {
                    let entries = tail.entries().iter();
                    let behind: Vec<Recent> = entries.map(super::learner::record_of).collect();
                    let memory = [machine.state.clone(), behind].concat();
                    assert_eq!(memory, machine.disk.history(), "memory is what the disk says");
                    assert_eq!(tail.logged(), machine.disk.last(), "and ends where it does");
                }
                machine.tail = tail;
            }
            Some(Left::Reload) | None => machine.recover(hold_back),
        }
        machine.role = Role::Looking;
    }

    /// Hands a command to the storage queue.
    pub fn queue(&mut self, index: usize, ticket: Ticket, command: Command) {
        let broken = self.shape.breakage;
        let now = self.now;
        self.note(|| format!("{} hands over {command:?}", index + 1));
        let machine = &mut self.machines[index];
        if broken == Some(Breakage::DurableAtOnce) {
            let life = machine.life;
            let said = Said::Disk(DiskSaid::Durable(ticket));
            self.net.push(now, Event::Tell { to: index, life, role: 0, said });
        }
        let machine = &mut self.machines[index];
        let is_current = matches!(command, Command::Epoch { file: EpochFile::Current, .. });
        if broken == Some(Breakage::EpochFirst) && is_current {
            machine.queue.push_front((now, ticket, command));
        } else {
            machine.queue.push_back((now, ticket, command));
        }
        self.start_disk(index);
    }

    fn start_disk(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        if machine.queue.is_empty() || std::mem::replace(&mut machine.is_disk_busy, true) {
            return;
        }
        let (life, us) = (machine.life, machine.disk_us);
        let starts = machine.disk_stands_until.max(self.now);
        let at = starts.plus_ns(1000 + self.rng.below(us * 1000));
        self.net.push(at, Event::DiskStep { index, life });
    }

    /// The disk has done one command or several.
    pub fn disk_step(&mut self, index: usize, life: u64) {
        if self.machines[index].life != life || !self.machines[index].is_up() {
            return;
        }
        self.machines[index].is_disk_busy = false;
        if self.machines[index].disk_stands_until > self.now {
            return self.start_disk(index);
        }
        let queued = self.machines[index].queue.len() as u64;
        let count = if self.rng.below(2) == 0 { queued } else { 1 + self.rng.below(queued) };
        let mut said = Vec::new();
        let mut durable = Ticket(0);
        for _ in 0..count {
            let Some((_, ticket, command)) = self.machines[index].queue.pop_front() else { break };
            self.note(|| format!("{} disk {command:?}", index + 1));
            said.extend(self.machines[index].disk.execute(ticket, command, self.shape.breakage));
            durable = durable.max(ticket);
            self.check_disk(index);
        }
        said.push(DiskSaid::Durable(durable));
        let inbox = &mut self.machines[index].inbox;
        inbox.extend(said.into_iter().map(|said| (0, Said::Disk(said))));
        self.start_disk(index);
        self.turn(index);
    }

    pub fn crash(&mut self, index: usize) {
        if !self.machines[index].is_up() {
            return;
        }
        self.note(|| format!("{} crashes", index + 1));
        self.counts.crashes += 1;
        for wire in self.wires_of(index) {
            self.break_wire(wire);
        }
        let broken = self.shape.breakage;
        let number = self.machines[index].number;
        self.asked.retain(|_, asked| asked.role != number);
        let machine = &mut self.machines[index];
        machine.role = Role::Down;
        machine.life += 1;
        machine.number = 0;
        machine.is_disk_busy = false;
        machine.wants_image = false;
        machine.inbox.clear();
        let queue = std::mem::take(&mut machine.queue);
        let queue = queue.into_iter().map(|(_, ticket, command)| (ticket, command));
        machine.disk.crash(queue, &mut self.rng, broken);
        self.check_disk(index);
    }

    pub fn restart(&mut self, index: usize) {
        let hold_back = self.shape.hold_back;
        let machine = &mut self.machines[index];
        if machine.is_up() {
            return;
        }
        machine.recover(hold_back);
        machine.role = Role::Looking;
        machine.stands_until = Instant(0);
        self.note(|| format!("{} starts", index + 1));
    }

    /// Those who look for a leader and hear each other have one of them, or join one who leads.
    pub fn elect(&mut self) {
        let looking: Vec<usize> = (0..self.machines.len())
            .filter(|m| self.is_running(*m) && matches!(self.machines[*m].role, Role::Looking))
            .collect();
        if looking.is_empty() {
            return;
        }
        let one = looking[self.rng.below(looking.len() as u64) as usize];
        let hears = |world: &World, other: &usize| !world.net.is_cut(one, *other);
        let mut voters: Vec<usize> = looking
            .iter()
            .copied()
            .filter(|m| hears(self, m) && self.machines[*m].may_vote())
            .collect();
        // Some votes come too late to be counted.
        while voters.len() > self.majority() && self.rng.below(2) == 0 {
            voters.remove(self.rng.below(voters.len() as u64) as usize);
        }
        if voters.len() >= self.majority() {
            return self.decide(&voters);
        }
        // Those who do not vote have heard of somebody whom a quorum elected.
        let mut leading = (0..self.machines.len()).filter(|m| {
            let is_leading = matches!(self.machines[*m].role, Role::Leading(_));
            is_leading && !self.net.is_cut(one, *m)
        });
        let (first, second) = (leading.next(), leading.next());
        let latest =
            self.elected.filter(|latest| Some(*latest) == first || Some(*latest) == second);
        let leader = if self.rng.below(8) == 0 { second.or(first) } else { latest.or(first) };
        if let Some(leader) = leader {
            self.follow(one, leader);
        }
    }

    fn decide(&mut self, voters: &[usize]) {
        let standing = |m: &usize| {
            let machine = &self.machines[*m];
            (machine.disk.current, machine.tail.logged(), machine.id)
        };
        let best = match self.shape.breakage {
            Some(Breakage::ElectsTheWorst) => voters.iter().min_by_key(|m| standing(m)),
            _ => voters.iter().max_by_key(|m| standing(m)),
        };
        let Some(leader) = best.copied() else { return };
        self.counts.elections += 1;
        self.elected = Some(leader);
        let text = standing_text(&self.machines[leader]);
        self.note(|| format!("{voters:?} elect {leader} at {text}"));
        self.lead(leader);
        for voter in voters.iter().filter(|voter| **voter != leader) {
            if self.rng.below(10) != 0 {
                self.follow(*voter, leader);
            }
        }
    }

    /// A dial arrives.
    pub fn on_knock(
        &mut self,
        (from, life, role): (usize, u64, u64),
        address: usize,
        until: Instant,
    ) {
        let machine = &self.machines[from];
        if !machine.is_up() || machine.life != life || machine.number != role {
            return;
        }
        let Role::Learning(learner) = &machine.role else { return };
        let to = learner.leader;
        if self.net.is_cut(from, to) || !self.machines[to].is_up() && self.rng.below(2) == 0 {
            let again = self.now.plus_ms(40);
            if again >= until {
                return self.tell_soon(from, role, Said::DialFailed { address });
            }
            return self.net.push(again, Event::Knock { from, life, role, address, until });
        }
        let number = match self.machines[to].role {
            Role::Leading(_) => self.machines[to].number,
            _ => return self.tell_soon(from, role, Said::DialFailed { address }),
        };
        let wire = self.make_wire((from, role), (to, number));
        let life = self.machines[to].life;
        self.say(to, life, number, Said::Connected(wire));
        self.tell_soon(from, role, Said::Dialed { address, wire });
    }

    /// The oldest command that a disk has not done has waited for too long.
    pub fn disk_hangs_ms(&self, index: usize) -> Option<u64> {
        let (since, ..) = self.machines[index].queue.front()?;
        let ms = self.now.ms_since(*since);
        (ms >= SYNC_LIMIT_TICKS * TICK_MS).then_some(ms)
    }

    /// Whose disks say yes, of those who vote.
    pub fn voters_with(&self, says: impl Fn(&Disk) -> bool) -> BTreeSet<ServerId> {
        self.voters().filter(|machine| says(&machine.disk)).map(|machine| machine.id).collect()
    }

    /// A committed txn on its way to the state.
    pub fn apply(&mut self, index: usize, record: Recent) {
        let machine = &mut self.machines[index];
        assert!(machine.at < record.zxid, "{:x} was applied by then", record.zxid);
        machine.at = record.zxid;
        machine.state.push(record);
    }
}

fn standing_text(machine: &Machine) -> String {
    format!("{} {:x}", machine.disk.current, machine.tail.logged())
}

/// The tail of a leadership that is over.
pub fn tail_of<'a>(at: Zxid, records: impl Iterator<Item = &'a Recent>) -> Tail {
    let entries: Vec<_> = records.map(entry_of).collect();
    Tail::new(at, entries, Zxid::ZERO)
}
