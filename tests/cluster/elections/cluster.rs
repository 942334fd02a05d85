//! Several members in one world: what a plan has go wrong, and whether those who should agree in
//! the end do.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use zkd::base::Instant;
use zkd::peering::PeerState;

use super::check::{Violation, check};
use super::history::History;
use super::member::{Member, Status};
use super::plan::{Fault, Kind, Outside, Plan};
use super::wires::{Names, Wires};
use crate::world::Event;
use crate::world::clock::Clock;
use crate::world::network::{Happening, Ip, Network, NetworkSettings};

/// What a run did and whether it was right.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub counters: BTreeMap<&'static str, u64>,
    pub trace: u64,
    /// How long after the last fault all agreed for good.
    pub agreed_ms: u64,
    /// The end of the history.
    pub tail: String,
}

/// Deliberate mistakes that the checkers must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    None,
    /// Members of Java are taken for such as decide early.
    JavaIsHasty,
    /// The accepted epoch is forgotten by each process that ends.
    EpochForgotten,
    /// A server votes with more than is on its disk.
    VoteAboveDisk,
    /// A server that is not let in again dials nobody.
    NoRedial,
    /// Those who have settled are believed only where they voted as one would oneself.
    StrictVotes,
    /// Who is smaller and no voter is not dialled back.
    NoDialBack,
}

impl Breakage {
    /// The mistake that this process was asked to make.
    pub fn asked() -> Breakage {
        match std::env::var("ZKD_BREAKAGE").as_deref() {
            Ok("StrictVotes") => Breakage::StrictVotes,
            Ok("NoDialBack") => Breakage::NoDialBack,
            _ => Breakage::None,
        }
    }
}

/// What the plan has in store, in the order it was put there.
#[derive(Clone, Copy, Debug)]
enum Stroke {
    Start {
        member: usize,
    },
    Begin {
        fault: usize,
    },
    End {
        fault: usize,
    },
    Calm,
    /// Only that time goes by.
    Nothing,
}

/// The world without its members.
struct World {
    clock: Clock<Event>,
    network: Network,
    names: Names,
    history: History,
    look_up_ms: u64,
    connect_ms: u64,
}

impl World {
    fn wires(&mut self, node: usize) -> Wires<'_> {
        let World { clock, network, names, history, look_up_ms, connect_ms } = self;
        let (look_up_ms, connect_ms) = (*look_up_ms, *connect_ms);
        Wires { node, clock, network, names, history, look_up_ms, connect_ms }
    }
}

pub struct Cluster {
    pub plan: Plan,
    world: World,
    members: Vec<Member>,
    strokes: Vec<Stroke>,
    /// Where each member is, and which machines have power.
    places: Vec<Ip>,
    powered: Vec<bool>,
    moves: Ip,
    /// Since when those who should agree do.
    agreed: Option<Instant>,
    calm: Option<Instant>,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Outcome {
    run_broken(plan, Breakage::None)
}

/// Runs a plan with a mistake in the members.
pub fn run_broken(plan: &Plan, breakage: Breakage) -> Outcome {
    let mut cluster = Cluster::new(plan);
    cluster.members.iter_mut().for_each(|member| member.breakage = breakage);
    let result = catch_unwind(AssertUnwindSafe(|| {
        cluster.unfold();
        cluster.run_to_agreement()
    }));
    let (agreed_ms, violation) = match result {
        Ok(Ok(agreed_ms)) => (agreed_ms, cluster.judge().err()),
        // What is wrong in the history comes before that nothing came of it.
        Ok(Err(violation)) => (0, Some(cluster.judge().err().unwrap_or(violation))),
        Err(panic) => (0, Some(format!("panic: {}", message(panic.as_ref())))),
    };
    let History { counters, trace, .. } = &mut cluster.world.history;
    let mut counters = std::mem::take(counters);
    counters.extend(std::mem::take(&mut cluster.world.network.counters));
    let trace = *trace;
    Outcome { violation, counters, trace, agreed_ms, tail: cluster.world.history.tail() }
}

fn message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Cluster {
    /// The members, none of which has started yet.
    pub fn new(plan: &Plan) -> Cluster {
        let nodes = plan.members.len();
        let settings = NetworkSettings {
            least_us: plan.least_us,
            spread_us: plan.spread_us,
            capacity: plan.capacity,
            accept_queue: plan.accept_queue,
            give_up_ms: plan.give_up_ms,
        };
        let mut world = World {
            clock: Clock::new(plan.seed),
            // One more: somebody who is where a member was before it moved.
            network: Network::new(plan.seed, settings, nodes + 1),
            names: Names::new(),
            history: History::default(),
            look_up_ms: plan.look_up_ms,
            connect_ms: plan.connect_ms,
        };
        let mut places = Vec::new();
        for (node, member) in plan.members.iter().enumerate() {
            let at = node as Ip + 1;
            assert_eq!(world.clock.add_node(member.ahead_ms), node, "nodes are members");
            world.network.place(node, at);
            world.names.insert(format!("m{}", member.id), Some(at));
            world.names.insert(format!("x{}", member.id), Some(200 + at));
            places.push(at);
        }
        world.clock.add_node(0);
        Cluster {
            members: (0..nodes).map(|place| Member::new(plan, place)).collect(),
            powered: vec![true; nodes],
            plan: plan.clone(),
            world,
            strokes: Vec::new(),
            places,
            moves: 0,
            agreed: None,
            calm: None,
        }
    }

    pub fn now(&self) -> Instant {
        self.world.clock.now()
    }

    pub fn history(&self) -> &History {
        &self.world.history
    }

    pub fn network(&mut self) -> &mut Network {
        &mut self.world.network
    }

    /// All that can be judged by what was written down.
    pub fn judge(&self) -> Result<(), Violation> {
        check(&self.plan, &self.world.history.entries)
    }

    pub fn start(&mut self, member: usize) {
        if !self.members[member].is_alive() && self.powered[member] {
            if self.members[member].lives() > 0 {
                self.world.history.count("restarts");
            }
            self.members[member].start(&self.plan, &mut self.world.wires(member));
            self.world.clock.set_alarm(member, Some(Instant(0)));
        }
    }

    pub fn status(&self, member: usize) -> Option<Status> {
        self.members[member].status()
    }

    /// The last zxid on a member's disk.
    pub fn zxid(&self, member: usize) -> i64 {
        self.members[member].kept.zxid
    }

    /// Lets so much time go by.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now().plus_ms(ms);
        self.stroke_at(end, Stroke::Nothing);
        while self.now() < end {
            self.turn();
        }
    }

    /// Lets time go by until these agree, at most so long. Says how long it took.
    pub fn agree(&mut self, core: &[usize], within_ms: u64) -> Result<u64, Violation> {
        let began = self.now();
        let end = began.plus_ms(within_ms);
        loop {
            let state = self.agreement(core);
            if state.is_ok() {
                return Ok(self.now().ms_since(began));
            }
            if self.world.clock.next_at().is_none_or(|next| next > end) {
                return state.map(|()| within_ms);
            }
            self.turn();
        }
    }

    /// Something goes wrong, now.
    pub fn strike(&mut self, fault: Fault) {
        let index = self.plan.faults.len();
        let at_ms = self.now().ms_since(Instant(1_000_000_000));
        self.plan.faults.push(super::plan::Timed { at_ms, fault });
        self.begin(index);
    }

    /// Puts everything in store that the plan has.
    fn unfold(&mut self) {
        for (member, planned) in self.plan.members.clone().iter().enumerate() {
            self.stroke_in(planned.start_ms, Stroke::Start { member });
        }
        for (fault, timed) in self.plan.faults.clone().iter().enumerate() {
            self.stroke_in(timed.at_ms, Stroke::Begin { fault });
        }
        self.calm = Some(self.now().plus_ms(self.plan.calm_ms));
        self.stroke_in(self.plan.calm_ms + 1, Stroke::Calm);
    }

    fn stroke_in(&mut self, ms: u64, stroke: Stroke) {
        self.stroke_at(self.now().plus_ms(ms), stroke);
    }

    fn stroke_at(&mut self, at: Instant, stroke: Stroke) {
        self.strokes.push(stroke);
        self.world.clock.at(at, None, Event::Stroke(self.strokes.len() - 1));
    }

    /// After the last fault, those of the core agree within the bound, and go on doing so.
    fn run_to_agreement(&mut self) -> Result<u64, Violation> {
        let calm = self.calm.expect("the plan was unfolded");
        while self.now() <= calm {
            self.turn();
        }
        let core = self.plan.core.clone();
        let bound = calm.plus_ms(self.plan.bound_ms());
        let stays_ms = 2 * (self.plan.init_ms() + self.plan.sync_ms());
        loop {
            let now = self.now();
            match (self.agreement(&core), self.agreed) {
                (Ok(()), None) => self.agreed = Some(now),
                (Ok(()), Some(since)) if now.ms_since(since) >= stays_ms => {
                    return Ok(since.ms_since(calm));
                }
                (Ok(()), Some(_)) => {}
                (Err(_), _) if now > bound && self.do_the_oldest_mislead() => {
                    self.world.history.count("misled by the oldest");
                    return Ok(now.ms_since(calm));
                }
                (Err(_), _) if now > bound && self.does_java_hold_off() => {
                    self.world.history.count("held off by a leader of Java's");
                    return Ok(now.ms_since(calm));
                }
                (Err(why), _) if now > bound => return Err(why),
                (Err(_), Some(_)) => {
                    self.agreed = None;
                    self.world.history.count("agreements broken");
                }
                (Err(_), None) => {}
            }
            self.turn();
        }
    }

    /// A server of the oldest kind has come to a later epoch than its last txn is of. It cannot say
    /// so: the others may go on choosing a leader that it does not accept.
    fn do_the_oldest_mislead(&self) -> bool {
        self.members.iter().any(|member| member.hides_its_epoch(&self.plan))
    }

    /// Somebody has accepted a later epoch than that of a Java leader whom a quorum follows: it
    /// cannot follow, and the leader does not make room.
    fn does_java_hold_off(&self) -> bool {
        let leads = |place: &usize| {
            let status = self.members[*place].status();
            status.is_some_and(|status| status.is_established && status.role == PeerState::Leading)
        };
        let is_java = |place: &usize| self.plan.members[*place].kind != Kind::Zkd;
        let leader = (0..self.members.len()).find(|place| is_java(place) && leads(place));
        let epoch = leader.map(|place| self.members[place].kept.current);
        epoch.is_some_and(|epoch| self.members.iter().any(|member| member.kept.accepted > epoch))
    }

    /// One leader, whom all of these follow who vote and observe all others.
    fn agreement(&self, core: &[usize]) -> Result<(), Violation> {
        let mut leader = None;
        for place in core {
            let member = &self.plan.members[*place];
            let status =
                self.members[*place].status().filter(|_| !self.world.clock.is_paused(*place));
            let Some(status) = status else {
                return Err(format!("liveness: {place} has no role"));
            };
            let first = *leader.get_or_insert(status.leader);
            let wanted = super::voter::role_of(first.0, member.id, member.votes);
            let is_in = match status.role {
                PeerState::Leading => status.is_established,
                _ => status.is_settled,
            };
            if first != status.leader || status.role != wanted || !is_in {
                return Err(format!("liveness: {place} is {status:?}, should follow {first:?}"));
            }
        }
        let place = leader.and_then(|leader| self.plan.place_of(leader.0));
        match place.filter(|place| core.contains(place)) {
            Some(_) => Ok(()),
            None => Err(format!("liveness: {leader:?} is followed and not there")),
        }
    }

    fn turn(&mut self) {
        let turn = self.world.clock.next_turn().expect("somebody always waits for something");
        let mut happenings: Vec<Happening> = Vec::new();
        for event in turn.events {
            match event {
                Event::Errand(errand) => {
                    self.world.network.handle(&mut self.world.clock, errand);
                }
                Event::Happened(happening) => happenings.push(happening),
                Event::Stroke(index) => self.on_stroke(self.strokes[index]),
            }
        }
        if let Some(node) = turn.node.filter(|node| *node < self.members.len()) {
            let mut wires = self.world.wires(node);
            self.members[node].turn(&self.plan, &mut wires, &happenings);
        }
    }

    fn on_stroke(&mut self, stroke: Stroke) {
        match stroke {
            Stroke::Start { member } => self.start(member),
            Stroke::Begin { fault } => self.begin(fault),
            Stroke::End { fault } => {
                let fault = self.plan.faults[fault].fault.clone();
                self.end(&fault);
            }
            Stroke::Calm => self.calm_down(),
            Stroke::Nothing => {}
        }
    }

    fn begin(&mut self, index: usize) {
        let fault = self.plan.faults[index].fault.clone();
        self.world.history.count(fault.name());
        let now = self.now();
        let end = now.plus_ms(fault.lasts_ms());
        let end = self.calm.map_or(end, |calm| end.min(calm));
        let World { clock, network, names, .. } = &mut self.world;
        match &fault {
            Fault::Kill { member, .. } => self.kill(*member, false),
            Fault::PowerCut { member, .. } => self.kill(*member, true),
            Fault::Pause { member, .. } => clock.pause(*member, end),
            Fault::Partition { side, both_ways, .. } => {
                for (from, to) in ways(side, *both_ways, self.members.len()) {
                    network.block(from, to);
                }
            }
            Fault::Clog { from, to, .. } => network.clog(clock, (*from, *to), end),
            Fault::Slow { from, to, us, .. } => network.slow_down((*from, *to), *us),
            Fault::Break { a, b, within_ms } => {
                network.break_between(clock, (*a, *b), *within_ms);
            }
            Fault::Lose { a, b, told } => {
                network.lose_between(clock, (*a, *b), told.then_some(*a));
            }
            Fault::Dawdle { member, .. } => self.members[*member].dawdles_until = end,
            Fault::Nameless { member, .. } => {
                names.insert(format!("m{}", self.plan.members[*member].id), None);
            }
            Fault::Move { member, refused, .. } => {
                self.moves += 1;
                let (old, new) = (self.places[*member], 100 + self.moves);
                self.places[*member] = new;
                network.place(*member, new);
                if *refused {
                    network.place(self.members.len(), old);
                }
            }
            Fault::Txns { count } => {
                for place in 0..self.members.len() {
                    let mut wires = self.world.wires(place);
                    if self.members[place].log(&self.plan, &mut wires, *count) {
                        self.world.history.count("txns logged");
                    }
                }
            }
        }
        self.stroke_at(end, Stroke::End { fault: index });
    }

    fn end(&mut self, fault: &Fault) {
        let World { clock, network, names, .. } = &mut self.world;
        match fault {
            Fault::Kill { member, .. } => self.start(*member),
            Fault::PowerCut { member, .. } => self.power_up(*member),
            Fault::Partition { side, both_ways, .. } => {
                for (from, to) in ways(side, *both_ways, self.members.len()) {
                    network.unblock(clock, from, to);
                }
            }
            Fault::Slow { from, to, .. } => network.slow_down((*from, *to), 0),
            Fault::Nameless { member, .. } | Fault::Move { member, .. } => {
                let at = self.places[*member];
                names.insert(format!("m{}", self.plan.members[*member].id), Some(at));
            }
            _ => {}
        }
    }

    fn kill(&mut self, member: usize, power: bool) {
        if self.members[member].is_alive() {
            self.members[member].die(&mut self.world.wires(member));
        }
        let World { clock, network, .. } = &mut self.world;
        clock.forget(member);
        if power {
            network.power_off(clock, member);
            self.powered[member] = false;
        } else if self.powered[member] {
            network.kill(clock, member);
        }
    }

    fn power_up(&mut self, member: usize) {
        if !std::mem::replace(&mut self.powered[member], true) {
            self.world.network.power_on(&mut self.world.clock, member);
        }
        self.start(member);
    }

    /// From here on nothing goes wrong among the core. All others are gone, or out of reach.
    fn calm_down(&mut self) {
        let core: BTreeSet<usize> = self.plan.core.iter().copied().collect();
        for place in 0..self.members.len() {
            if core.contains(&place) {
                self.power_up(place);
            } else if self.plan.outside == Outside::Down {
                self.kill(place, false);
            } else {
                for inside in &core {
                    self.world.network.block(place, *inside);
                    self.world.network.block(*inside, place);
                }
            }
        }
    }
}

/// Which ways a partition closes.
fn ways(side: &[usize], both_ways: bool, nodes: usize) -> Vec<(usize, usize)> {
    let others = (0..nodes).filter(|node| !side.contains(node));
    let mut ways = Vec::new();
    for other in others {
        for one in side {
            ways.push((*one, other));
            if both_ways {
                ways.push((other, *one));
            }
        }
    }
    ways
}
