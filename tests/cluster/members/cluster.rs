//! Machines and clients in one world: what a plan has go wrong, and whether all that should serve
//! in the end do.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use zkd::base::Instant;

use super::agent::Agent;
use super::machine::{Breakage, Machine};
use super::plan::Plan;
use super::record::Record;
use super::setup::host;
use super::wires::{Names, Store, Stroke, Thread, Wires};
use crate::plan::Op;
use crate::world::Event;
use crate::world::client::Violation;
use crate::world::clock::Clock;
use crate::world::disk::Fault as DiskFault;
use crate::world::network::{Happening, Ip, Network, NetworkSettings};

/// What a run did and whether it was right.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub counters: BTreeMap<&'static str, u64>,
    /// Of everything that was said and done, and of every file in the end.
    pub trace: u64,
    pub files: u64,
    /// How long after the last fault everybody was served.
    pub served_ms: u64,
    /// The end of what happened.
    pub tail: String,
}

/// When the world began.
pub const BEGAN: Instant = Instant(1_000_000_000);

/// How long a process that has ended by itself is left alone.
const RESTART_MS: u64 = 150;

/// More turns than this are for nothing.
const MOST_TURNS: u64 = 3_000_000;

/// The node that a member is asked to make in the end.
const FIRST_PROBED: u8 = 100;

/// The world without those who live in it.
pub(super) struct World {
    pub clock: Clock<Event>,
    pub network: Network,
    pub names: Names,
    pub store: Store,
    pub record: Record,
}

impl World {
    pub fn wires(&mut self, node: usize) -> Wires<'_> {
        let World { clock, network, names, store, record } = self;
        Wires { node, clock, network, names, store, record }
    }

    pub fn stroke_at(&mut self, at: Instant, node: Option<usize>, stroke: Stroke) {
        self.store.put(&mut self.clock, at, node, stroke);
    }
}

pub struct Cluster {
    pub plan: Plan,
    pub(super) world: World,
    pub(super) machines: Vec<Machine>,
    pub(super) agents: Vec<Agent>,
    /// Which machines have power, and which processes are not to be started again.
    pub(super) powered: Vec<bool>,
    pub(super) gone: BTreeSet<usize>,
    pub(super) calm: Option<Instant>,
    turns: u64,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Outcome {
    run_broken(plan, Breakage::None)
}

/// Runs a plan with a mistake in the machines.
pub fn run_broken(plan: &Plan, breakage: Breakage) -> Outcome {
    let mut cluster = Cluster::new(plan);
    cluster.machines.iter_mut().for_each(|machine| machine.break_with(breakage));
    let result = catch_unwind(AssertUnwindSafe(|| cluster.all()));
    let (served_ms, violation) = match result {
        Ok(Ok(served_ms)) => (served_ms, None),
        Ok(Err(violation)) => (0, Some(violation)),
        // A broken invariant of a server's own is a violation like any other.
        Err(panic) => (0, Some(format!("panic: {}", message(panic.as_ref())))),
    };
    let World { network, record, .. } = &mut cluster.world;
    let mut counters = std::mem::take(&mut record.counters);
    counters.extend(std::mem::take(&mut network.counters));
    let mut files = 0u64;
    for machine in &cluster.machines {
        files = files.rotate_left(7) ^ machine.files.borrow().fingerprint();
    }
    Outcome {
        violation,
        counters,
        trace: record.trace,
        files,
        served_ms,
        tail: record.tail(TAIL_LINES),
    }
}

const TAIL_LINES: usize = 120;

pub(super) fn message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Cluster {
    /// The members, none of which has started yet, the plan's clients, and one client more for
    /// each member, which asks it something in the end.
    pub fn new(plan: &Plan) -> Cluster {
        let (members, clients) = (plan.members(), plan.clients);
        let nodes = 2 * members + clients;
        let settings = NetworkSettings {
            least_us: plan.least_us,
            spread_us: plan.spread_us,
            capacity: plan.capacity,
            accept_queue: plan.accept_queue,
            give_up_ms: plan.give_up_ms,
        };
        let mut world = World {
            clock: Clock::new(plan.seed),
            network: Network::new(plan.seed, settings, nodes),
            names: Names::new(),
            store: Store::default(),
            record: Record::new(plan),
        };
        for node in 0..nodes {
            let ahead_ms = plan.ahead_ms.get(node).copied().unwrap_or(0);
            assert_eq!(world.clock.add_node(ahead_ms), node, "nodes are in their order");
            world.network.place(node, node as Ip + 1);
        }
        world.names.extend((0..members).map(|place| (host(place), place as Ip + 1)));
        let agent = |number: usize| Agent::new(plan, number, number.checked_sub(clients));
        Cluster {
            plan: plan.clone(),
            world,
            machines: (0..members).map(|place| Machine::new(plan, place)).collect(),
            agents: (0..clients + members).map(agent).collect(),
            powered: vec![true; members],
            gone: BTreeSet::new(),
            calm: None,
            turns: 0,
        }
    }

    pub fn now(&self) -> Instant {
        self.world.clock.now()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now().ms_since(BEGAN)
    }

    pub(super) fn note(&mut self, text: String) {
        let at_ms = self.now_ms();
        self.world.record.note(at_ms, text);
    }

    fn all(&mut self) -> Result<u64, Violation> {
        self.unfold();
        let calm = self.calm.expect("it was unfolded");
        while self.now() <= calm {
            self.turn()?;
        }
        self.serve_all()?;
        let served_ms = self.now().ms_since(calm);
        self.be_alike()?;
        self.bury()?;
        Ok(served_ms)
    }

    /// Puts everything in store that the plan has.
    fn unfold(&mut self) {
        for (member, ms) in self.plan.start_ms.clone().into_iter().enumerate() {
            self.world.stroke_at(BEGAN.plus_ms(ms), None, Stroke::Start { member });
        }
        for (fault, timed) in self.plan.faults.clone().iter().enumerate() {
            self.world.stroke_at(BEGAN.plus_ms(timed.at_ms), None, Stroke::Begin { fault });
        }
        for (burst, timed) in self.plan.bursts.clone().iter().enumerate() {
            self.world.stroke_at(BEGAN.plus_ms(timed.at_ms), None, Stroke::Burst { burst });
        }
        for client in 0..self.plan.clients {
            self.wake(client);
        }
        let calm = BEGAN.plus_ms(self.plan.calm_ms);
        self.calm = Some(calm);
        self.world.stroke_at(calm.plus_ms(1), None, Stroke::Calm);
    }

    /// A client has a turn now.
    pub(super) fn wake(&mut self, client: usize) {
        let node = self.plan.members() + client;
        self.world.clock.set_alarm(node, Some(Instant(0)));
    }

    /// After the last fault everybody who asks is answered, by each member of the core.
    pub(super) fn serve_all(&mut self) -> Result<(), Violation> {
        let bound = self.now().plus_ms(self.plan.bound_ms());
        for member in self.plan.core.clone() {
            let probe = self.plan.clients + member;
            let path = FIRST_PROBED + member as u8;
            self.agents[probe].ask(&[
                Op::Create { path, mode: 0 },
                Op::Sync,
                Op::Get { path, watch: false },
            ]);
            self.wake(probe);
        }
        loop {
            let waiting = self.agents.iter().position(|agent| !agent.is_idle());
            let Some(waiting) = waiting else { return Ok(()) };
            if self.now() > bound {
                let state = self.agents[waiting].state();
                let members = self.standing();
                return Err(format!("liveness: client {waiting} is {state}\n{members}"));
            }
            self.turn()?;
        }
    }

    /// What each member is, for the tale.
    fn standing(&self) -> String {
        let state = |machine: &Machine| match machine.node() {
            Some(node) => format!("{:?} {:?}\n", node.mode(), node.view().progress),
            None => "down\n".to_owned(),
        };
        self.machines.iter().map(state).collect()
    }

    /// All members of the core come to have the same, and that is what the history says.
    pub(super) fn be_alike(&mut self) -> Result<(), Violation> {
        let bound = self.now().plus_ms(self.plan.bound_ms());
        loop {
            let record = &self.world.record;
            let behind = self.plan.core.iter().find(|member| !record.is_level(**member));
            let Some(behind) = behind.copied() else { break };
            if self.now() > bound {
                return Err(format!("liveness: {behind} does not catch up"));
            }
            self.turn()?;
        }
        for member in self.plan.core.clone() {
            let node = self.machines[member].node().ok_or("liveness: it is not up")?;
            self.world.record.compare(node).map_err(|why| format!("{why} at {member}"))?;
        }
        let (last, acknowledged) =
            (self.world.record.last_committed(), self.world.record.acknowledged);
        assert!(acknowledged <= last, "what was acknowledged is in the history");
        Ok(())
    }

    /// Sessions that nobody has any more come to their end, and their nodes with them.
    fn bury(&mut self) -> Result<(), Violation> {
        let bound = self.now().plus_ms(self.plan.bound_ms());
        let living = |agent: &Agent| agent.client.session;
        loop {
            let living: BTreeSet<i64> = self.agents.iter().map(living).collect();
            let sessions = self.world.record.sessions();
            let Some(dead) = sessions.iter().find(|id| !living.contains(id)) else { return Ok(()) };
            if self.now() > bound {
                return Err(format!("sessions: 0x{dead:x} is nobody's and does not end"));
            }
            self.turn()?;
        }
    }

    pub(super) fn turn(&mut self) -> Result<(), Violation> {
        self.turns += 1;
        if self.turns > MOST_TURNS {
            return Err("liveness: it never comes to an end".to_owned());
        }
        let turn = self.world.clock.next_turn().ok_or("liveness: nobody waits for anything")?;
        let mut happenings: Vec<Happening> = Vec::new();
        let mut done: Vec<(u64, Thread)> = Vec::new();
        for event in turn.events {
            match event {
                Event::Errand(errand) => {
                    self.world.network.handle(&mut self.world.clock, errand);
                }
                Event::Happened(happening) => happenings.push(happening),
                Event::Stroke(number) => match self.world.store.at(number) {
                    Stroke::Done { life, thread } => done.push((life, thread)),
                    stroke => self.on_stroke(stroke)?,
                },
            }
        }
        let Some(node) = turn.node else { return self.world.record.verdict() };
        let members = self.machines.len();
        let mut wires = self.world.wires(node);
        if node < members {
            let seen = self.machines[node].turn(&mut wires, &happenings, &done);
            self.look_after(node)?;
            seen
        } else {
            self.agents[node - members].turn(&mut wires, &happenings)?;
            self.world.record.verdict()
        }
    }

    /// What has struck a machine, or ended its process.
    fn look_after(&mut self, member: usize) -> Result<(), Violation> {
        let struck = self.machines[member].struck();
        let fatal = self.machines[member].fatal.take();
        let fault = match (struck, fatal) {
            (None, None) => return Ok(()),
            (None, Some(fatal)) => return Err(format!("stopped by itself: {member}: {fatal:?}")),
            // An error may have hit what no request waits for: then the server goes on.
            (Some(DiskFault::Error(_)), None) if self.machines[member].is_up() => {
                if !self.machines[member].threads.has_failed {
                    self.machines[member].files.borrow_mut().struck = None;
                    self.world.record.count("errors survived");
                }
                return Ok(());
            }
            (Some(fault), _) => fault,
        };
        self.world.record.count(match fault {
            DiskFault::PowerCut => "power cuts by strikes",
            DiskFault::Kill => "kills by strikes",
            DiskFault::Error(_) => "stopped by errors",
        });
        self.note(format!("member {member} is struck by {fault:?}"));
        self.kill(member, fault);
        self.start_later(member, RESTART_MS);
        Ok(())
    }

    pub(super) fn start_later(&mut self, member: usize, ms: u64) {
        let at = self.now().plus_ms(ms);
        self.world.stroke_at(at, None, Stroke::Start { member });
    }

    fn on_stroke(&mut self, stroke: Stroke) -> Result<(), Violation> {
        match stroke {
            Stroke::Start { member } => self.start(member)?,
            Stroke::Begin { fault } => self.begin(fault),
            Stroke::End { fault } => self.end(fault),
            Stroke::Burst { burst } => {
                let burst = &self.plan.bursts[burst];
                let client = burst.client;
                self.agents[client].ask(&burst.ops);
                self.wake(client);
            }
            Stroke::Calm => self.calm_down(),
            Stroke::Done { .. } => {}
        }
        Ok(())
    }

    /// Starts a process where there is none, with power where that was lost.
    pub fn start(&mut self, member: usize) -> Result<(), Violation> {
        if self.machines[member].is_up() || self.gone.contains(&member) {
            return Ok(());
        }
        if !std::mem::replace(&mut self.powered[member], true) {
            self.world.network.power_on(&mut self.world.clock, member);
        }
        let started = self.machines[member].start(&mut self.world.wires(member));
        if let Err(fatal) = started {
            let Some(fault) = self.machines[member].struck() else {
                return Err(format!("does not start: {member}: {fatal:?}"));
            };
            self.world.record.count("struck during recovery");
            self.note(format!("member {member} is struck by {fault:?} while it recovers"));
            self.kill(member, fault);
            self.start_later(member, RESTART_MS);
            return self.world.record.verdict();
        }
        // An error may have struck what recovery can do without.
        self.machines[member].files.borrow_mut().struck = None;
        if self.machines[member].lives > 1 {
            self.world.record.count("restarts");
        }
        self.note(format!("member {member} starts"));
        self.world.clock.set_alarm(member, Some(Instant(0)));
        self.world.record.verdict()
    }

    pub(super) fn kill(&mut self, member: usize, fault: DiskFault) {
        self.machines[member].stop(fault);
        let World { clock, network, .. } = &mut self.world;
        clock.forget(member);
        if fault == DiskFault::PowerCut {
            network.power_off(clock, member);
            self.powered[member] = false;
        } else if self.powered[member] {
            network.kill(clock, member);
        }
    }
}
