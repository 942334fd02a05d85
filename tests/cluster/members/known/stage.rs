//! A stage for the failures that are known by a number: a script says who starts, what is asked,
//! and at which word or at which step of a disk something goes wrong. In the end everything is
//! healed, and all that the plans' checkers demand must hold.
//!
//! With `ZKD_BREAKAGE` set the members make that mistake, and the script has to fail: the first
//! words of what it says are the checker's name. `scripts/prove-red` goes by them.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zkd::base::Instant;
use zkd::node::NodeMode;
use zkd::peering::PacketKind;

use super::super::breakage::Breakage;
use super::super::cluster::{Cluster, message};
use super::super::plan::Plan;
use super::super::record::Deed;
use super::super::tap::Word;
use super::super::wires::{Stroke, Thread};
use crate::plan::Op;
use crate::world::client::{Violation, path_of};
use crate::world::disk::Fault;

pub type Played = Result<(), Violation>;

/// Longer than anything takes that is waited for here.
const LONG_MS: u64 = 30_000;

const TAIL_LINES: usize = 60;

/// How often writes are asked for once more.
const TRIES: u32 = 4;

pub struct Stage {
    pub cluster: Cluster,
    severed: Vec<(usize, usize)>,
}

/// A point in what the members have done so far.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Plays a script to its end, and all that must hold then; a violation is a failed test.
pub fn play(plan: &Plan, script: impl FnOnce(&mut Stage) -> Played) {
    let mut stage = Stage::new(plan);
    let played = catch_unwind(AssertUnwindSafe(|| {
        script(&mut stage)?;
        stage.come_together()
    }));
    let violation = match played {
        Ok(Ok(())) => return,
        Ok(Err(violation)) => violation,
        Err(panic) => format!("panic: {}", message(panic.as_ref())),
    };
    panic!("violation: {violation}\n{}", stage.cluster.world.record.tail(TAIL_LINES));
}

/// The mistake that this process was asked to make.
pub fn asked_breakage() -> Breakage {
    let Ok(name) = std::env::var("ZKD_BREAKAGE") else { return Breakage::None };
    Breakage::by_name(&name).unwrap_or_else(|| panic!("no breakage is called {name}"))
}

impl Stage {
    fn new(plan: &Plan) -> Stage {
        let mut cluster = Cluster::new(plan);
        cluster.machines.iter_mut().for_each(|machine| machine.break_with(asked_breakage()));
        cluster.world.record.deeds = Some(Vec::new());
        Stage { cluster, severed: Vec::new() }
    }

    /// These processes start, with power.
    pub fn start(&mut self, members: &[usize]) -> Played {
        for member in members {
            self.cluster.gone.remove(member);
            self.cluster.start(*member)?;
        }
        Ok(())
    }

    /// The process is gone and stays so until it is started.
    pub fn kill(&mut self, members: &[usize]) {
        for member in members {
            self.end(*member, Fault::Kill);
        }
    }

    pub fn power_cut(&mut self, members: &[usize]) {
        for member in members {
            self.end(*member, Fault::PowerCut);
        }
    }

    fn end(&mut self, member: usize, fault: Fault) {
        self.cluster.note(format!("script: {fault:?} of {member}"));
        self.cluster.gone.insert(member);
        self.cluster.kill(member, fault);
    }

    /// Something strikes at the n-th changing call of this disk from now on, and the process stays
    /// away where that ends it.
    pub fn strike(&mut self, member: usize, call: u64, fault: Fault) {
        self.cluster.gone.insert(member);
        let files = &mut *self.cluster.machines[member].files.borrow_mut();
        files.fault = Some((files.calls + call, fault));
    }

    /// It does not strike any more.
    pub fn spare(&mut self, member: usize) {
        self.cluster.gone.remove(&member);
        self.cluster.machines[member].files.borrow_mut().fault = None;
    }

    pub fn is_up(&self, member: usize) -> bool {
        self.cluster.machines[member].is_up()
    }

    /// Nothing passes between these two any more.
    pub fn sever(&mut self, a: usize, b: usize) {
        self.cluster.note(format!("script: {a} and {b} are cut off from each other"));
        self.cluster.world.network.block(a, b);
        self.cluster.world.network.block(b, a);
        self.severed.push((a, b));
    }

    /// Everything passes again.
    pub fn join(&mut self) {
        for (a, b) in std::mem::take(&mut self.severed) {
            let world = &mut self.cluster.world;
            world.network.unblock(&mut world.clock, a, b);
            world.network.unblock(&mut world.clock, b, a);
        }
    }

    /// The connections between these two break, and both learn of it at once.
    pub fn break_between(&mut self, a: usize, b: usize) {
        let world = &mut self.cluster.world;
        world.network.break_between(&mut world.clock, (a, b), 0);
    }

    pub fn now(&self) -> Instant {
        self.cluster.now()
    }

    /// Sees to it that there is something to happen then.
    fn alarm(&mut self, at: Instant) {
        let nothing = Stroke::Done { life: 0, thread: Thread::Log };
        self.cluster.world.stroke_at(at, None, nothing);
    }

    pub fn pass(&mut self, ms: u64) -> Played {
        let end = self.now().plus_ms(ms);
        self.alarm(end);
        while self.now() < end {
            self.cluster.turn()?;
        }
        Ok(())
    }

    /// Runs turn by turn until it is so. Where it does not come to that, the script is wrong, or
    /// what it is about cannot happen.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Stage) -> bool) -> Played {
        if self.runs_until(is_so)? {
            self.cluster.note(format!("script: {what}"));
            return Ok(());
        }
        Err(format!("trigger: {what} within {LONG_MS} ms"))
    }

    /// The same for what must come of what was brought about.
    pub fn comes(&mut self, what: &str, is_so: impl Fn(&Stage) -> bool) -> Played {
        if self.runs_until(is_so)? { Ok(()) } else { Err(format!("liveness: {what}")) }
    }

    fn runs_until(&mut self, is_so: impl Fn(&Stage) -> bool) -> Result<bool, Violation> {
        let end = self.now().plus_ms(LONG_MS);
        self.alarm(end);
        while !is_so(self) {
            if self.now() >= end {
                return Ok(false);
            }
            self.cluster.turn()?;
        }
        Ok(true)
    }

    /// It is asked, by a client that knows no other server.
    pub fn ask(&mut self, member: usize, ops: &[Op]) {
        let client = self.cluster.plan.clients + member;
        self.cluster.agents[client].ask(ops);
        self.cluster.wake(client);
    }

    /// Writes that it acknowledges before this goes on. What was under way on a connection that
    /// broke is asked again.
    pub fn write(&mut self, member: usize, ops: &[Op]) -> Played {
        let client = self.cluster.plan.clients + member;
        for _ in 0..TRIES {
            let wanted = self.count("writes acknowledged") + ops.len() as u64;
            self.ask(member, ops);
            self.comes("what was written is acknowledged", |stage| {
                stage.cluster.agents[client].is_idle()
            })?;
            if self.count("writes acknowledged") >= wanted {
                return Ok(());
            }
        }
        Err("liveness: writes are lost again and again".to_owned())
    }

    /// It is asked all the time until it is so, and a while longer.
    pub fn write_until(
        &mut self,
        member: usize,
        ops: impl Fn(u64) -> Vec<Op>,
        is_so: impl Fn(&Stage) -> bool,
    ) -> Played {
        let mut more = 20;
        for n in 0..LONG_MS {
            more -= u64::from(is_so(self));
            if more == 0 {
                return Ok(());
            }
            self.ask(member, &ops(n));
            self.pass(1)?;
        }
        Err("liveness: it does not come to an end among writes".to_owned())
    }

    /// The client that knows this member alone dies without a word: its session will expire.
    pub fn client_dies(&mut self, member: usize) {
        let client = self.cluster.plan.clients + member;
        let node = self.cluster.plan.members() + client;
        let mut wires = self.cluster.world.wires(node);
        self.cluster.agents[client].die(&mut wires);
        let soon = wires.now().plus_ms(LONG_MS);
        wires.clock.set_alarm(node, Some(soon));
    }

    /// Somebody from outside dials a port of this member, says something, and goes once the other
    /// end has closed the line, or has said nothing for long.
    pub fn intrude(&mut self, member: usize, port: u16, bytes: &[u8]) -> Played {
        let socket = self.dial_from(self.cluster.plan.members(), member, port)?;
        let world = &mut self.cluster.world;
        world.network.write(&mut world.clock, socket, bytes);
        self.pass(200)?;
        let world = &mut self.cluster.world;
        world.network.close(&mut world.clock, socket);
        self.pass(50)
    }

    pub fn count(&self, what: &str) -> u64 {
        self.cluster.world.record.counters.get(what).copied().unwrap_or(0)
    }

    /// What the script was meant to bring about.
    pub fn has(&self, what: &str, is_so: bool) -> Played {
        if is_so { Ok(()) } else { Err(format!("trigger: {what}")) }
    }

    /// What must come of it.
    pub fn must(&self, what: &str, is_so: bool) -> Played {
        if is_so { Ok(()) } else { Err(format!("outcome: {what}")) }
    }

    pub fn mode(&self, member: usize) -> Option<NodeMode> {
        Some(self.cluster.machines[member].node()?.mode())
    }

    pub fn leader(&self) -> Option<usize> {
        (0..self.cluster.machines.len()).find(|member| self.mode(*member) == Some(NodeMode::Leader))
    }

    pub fn led_by(&mut self, leader: usize) -> Played {
        self.comes(&format!("{leader} leads"), |stage| stage.leader() == Some(leader))
    }

    /// Somebody leads.
    pub fn led(&mut self) -> Result<usize, Violation> {
        self.comes("somebody leads", |stage| stage.leader().is_some())?;
        Ok(self.leader().expect("it was waited for"))
    }

    /// Everybody of these has all that is committed.
    pub fn level(&mut self, members: &[usize]) -> Played {
        self.comes("all have the same", |stage| {
            members.iter().all(|member| {
                let mode = stage.mode(*member);
                mode.is_some_and(|mode| mode != NodeMode::Looking)
                    && stage.cluster.world.record.is_level(*member)
            })
        })
    }

    pub fn has_node(&self, member: usize, path: u8) -> bool {
        let node = self.cluster.machines[member].node();
        node.is_some_and(|node| node.state().find(&path_of(path)).is_some())
    }

    pub fn mark(&self) -> Mark {
        Mark(self.deeds().len())
    }

    fn deeds(&self) -> &[(usize, Deed)] {
        self.cluster.world.record.deeds.as_deref().unwrap_or_default()
    }

    pub fn since(&self, mark: Mark) -> impl Iterator<Item = &(usize, Deed)> {
        self.deeds()[mark.0..].iter()
    }

    /// Whether a leader has said something of this kind to a learner since then.
    pub fn says(&self, mark: Mark, (from, to): (usize, usize), wanted: PacketKind) -> bool {
        self.since(mark).any(|(member, deed)| {
            let Deed::Says { to: whom, word: Word::Leads { kind, .. } } = deed else {
                return false;
            };
            (*member, *whom, *kind) == (from, Some(to), wanted)
        })
    }

    /// Whether a learner has said something of this kind to its leader since then.
    pub fn answers(&self, mark: Mark, from: usize, wanted: PacketKind) -> bool {
        self.since(mark).any(|(member, deed)| {
            let Deed::Says { word: Word::Learns { kind, .. }, .. } = deed else { return false };
            (*member, *kind) == (from, wanted)
        })
    }

    /// Whether it has acknowledged NEWLEADER since then.
    pub fn has_joined(&self, mark: Mark, from: usize) -> bool {
        self.since(mark).any(|(member, deed)| match deed {
            Deed::Says { word: Word::Learns { kind: PacketKind::Ack, zxid }, .. } => {
                *member == from && zxid.counter() == 0
            }
            _ => false,
        })
    }

    /// How often it has handed this over to its log thread since then.
    pub fn hands(&self, mark: Mark, from: usize, wanted: &str) -> usize {
        let is_it = |(member, deed): &&(usize, Deed)| {
            *member == from && matches!(deed, Deed::Hands { what, .. } if *what == wanted)
        };
        self.since(mark).filter(is_it).count()
    }

    /// How often it has had this on its disk since then.
    pub fn synced(&self, mark: Mark, from: usize, wanted: &str) -> usize {
        let is_it = |(member, deed): &&(usize, Deed)| {
            *member == from && matches!(deed, Deed::Synced { what, .. } if *what == wanted)
        };
        self.since(mark).filter(is_it).count()
    }

    /// A leader goes on alone for a while: so many txns are on its disk and nowhere else.
    pub fn write_alone(&mut self, leader: usize, ops: &[Op]) -> Played {
        for other in (0..self.cluster.machines.len()).filter(|other| *other != leader) {
            self.sever(leader, other);
        }
        let mark = self.mark();
        self.ask(leader, ops);
        self.until("the leader has on its disk what nobody else has", |stage| {
            stage.synced(mark, leader, "append") > 0
        })
    }

    /// Nothing goes wrong any more: all come back, serve, and have the same.
    fn come_together(&mut self) -> Played {
        self.cluster.note("script: the end".to_owned());
        self.join();
        let all: Vec<usize> = (0..self.cluster.machines.len()).collect();
        all.iter().for_each(|member| self.spare(*member));
        self.start(&self.cluster.plan.core.clone())?;
        self.cluster.serve_all()?;
        self.cluster.be_alike()?;
        // What they have in memory is what their disks say.
        let core: BTreeSet<usize> = self.cluster.plan.core.iter().copied().collect();
        core.iter().for_each(|member| self.power_cut(&[*member]));
        self.start(&self.cluster.plan.core.clone())?;
        self.cluster.serve_all()?;
        self.cluster.be_alike()
    }
}

pub fn create(path: u8) -> Op {
    Op::Create { path, mode: 0 }
}

pub fn ephemeral(path: u8) -> Op {
    Op::Create { path, mode: 1 }
}

pub fn set(path: u8) -> Op {
    Op::Set { path, bytes: 100, version: -1 }
}

/// Three voters, and clients that ask nothing.
pub fn three() -> Plan {
    Plan { clients: 1, ..Plan::calm(3) }
}
