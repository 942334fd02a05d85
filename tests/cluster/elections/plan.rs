//! A seed becomes a plan of elections, a plain printable value: who takes part, how the network
//! is, and what goes wrong when.

use std::collections::BTreeSet;
use std::fmt;

use zkd::base::Rng;

use crate::plan::stream;
use crate::world::network::Division;

/// How a server of Java writes its notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Before 3.4: without the leader's epoch, which receivers take from the zxid.
    Bytes28,
    /// 3.4.6 and later of that line: the version is there, and from 3.5 on no receiver reads it.
    Bytes40,
    /// With a version and no configuration.
    Version1,
    Version2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Zkd,
    Java(Form),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPlan {
    pub id: i64,
    pub kind: Kind,
    pub votes: bool,
    /// Of a voter, where there are groups.
    pub group: i64,
    pub weight: u32,
    /// What is on its disk before it first starts. A zxid of -1 is not to be trusted.
    pub zxid: i64,
    pub epoch: i64,
    /// By how much its clock is ahead, and when it starts.
    pub ahead_ms: u64,
    pub start_ms: u64,
}

/// What goes wrong. Members are named by their place in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill {
        member: usize,
        ms: u64,
    },
    PowerCut {
        member: usize,
        ms: u64,
    },
    Pause {
        member: usize,
        ms: u64,
    },
    /// Nothing passes from one side to all others, and perhaps nothing back.
    Partition {
        side: Vec<usize>,
        both_ways: bool,
        ms: u64,
    },
    Clog {
        from: usize,
        to: usize,
        ms: u64,
    },
    Slow {
        from: usize,
        to: usize,
        us: u64,
        ms: u64,
    },
    /// Connections break; each end learns of it within so many milliseconds.
    Break {
        a: usize,
        b: usize,
        within_ms: u64,
    },
    /// Connections are forgotten on the way, and `a` may learn of it.
    Lose {
        a: usize,
        b: usize,
        told: bool,
    },
    /// Takes what has come a few bytes at a time.
    Dawdle {
        member: usize,
        ms: u64,
    },
    /// Nobody can look up its name.
    Nameless {
        member: usize,
        ms: u64,
    },
    /// It gets another address at once, and its name so much later. Where it was, somebody else
    /// refuses all dials, or nobody answers.
    Move {
        member: usize,
        ms: u64,
        refused: bool,
    },
    /// Whoever is established logs so many txns.
    Txns {
        count: u32,
    },
}

impl Fault {
    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kills",
            Fault::PowerCut { .. } => "power cuts",
            Fault::Pause { .. } => "pauses",
            Fault::Partition { both_ways: true, .. } => "partitions",
            Fault::Partition { both_ways: false, .. } => "partitions one way",
            Fault::Clog { .. } => "clogs",
            Fault::Slow { .. } => "slow ways",
            Fault::Break { .. } => "breaks",
            Fault::Lose { .. } => "losses",
            Fault::Dawdle { .. } => "slow readers",
            Fault::Nameless { .. } => "names lost",
            Fault::Move { .. } => "moves",
            Fault::Txns { .. } => "rounds of txns",
        }
    }

    pub fn lasts_ms(&self) -> u64 {
        match self {
            Fault::Kill { ms, .. } | Fault::PowerCut { ms, .. } | Fault::Pause { ms, .. } => *ms,
            Fault::Partition { ms, .. } | Fault::Clog { ms, .. } | Fault::Slow { ms, .. } => *ms,
            Fault::Dawdle { ms, .. } | Fault::Nameless { ms, .. } | Fault::Move { ms, .. } => *ms,
            Fault::Break { .. } | Fault::Lose { .. } | Fault::Txns { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    pub at_ms: u64,
    pub fault: Fault,
}

/// What becomes of those who are not in the core once nothing goes wrong any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    Down,
    CutOff,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub members: Vec<MemberPlan>,
    /// Groups and weights count; otherwise a majority does.
    pub is_grouped: bool,
    /// Members of zkd say of themselves that they decide early.
    pub is_early: bool,
    /// Members of zkd have a second address, where nobody is.
    pub has_two_addresses: bool,
    pub tick_ms: u64,
    pub init_ticks: u64,
    pub sync_ticks: u64,
    pub longest_pause_ms: u64,
    /// From the decision to lead until the quorum port is open.
    pub open_ms: u64,
    pub look_up_ms: u64,
    pub connect_ms: u64,
    pub least_us: u64,
    pub spread_us: u64,
    pub capacity: usize,
    pub accept_queue: usize,
    pub give_up_ms: u64,
    pub faults: Vec<Timed>,
    /// From here on nothing goes wrong among the core, which has to agree.
    pub calm_ms: u64,
    pub core: Vec<usize>,
    pub outside: Outside,
}

/// The parts of the seed that are the plan's.
const PART_SHAPE: u64 = 20;
const PART_MEMBER: u64 = 21;
const PART_FAULT: u64 = 22;
const PART_PARTITION: u64 = 23;
const PART_CORE: u64 = 24;
const PART_BLOW: u64 = 25;

impl MemberPlan {
    pub fn voter(id: i64, kind: Kind) -> MemberPlan {
        MemberPlan {
            id,
            kind,
            votes: true,
            group: 1,
            weight: 1,
            zxid: 0x1_0000_0005,
            epoch: 1,
            ahead_ms: 0,
            start_ms: 0,
        }
    }

    /// Whether its votes count with everybody: it says all of them, and has something to vote for.
    pub fn is_whole(&self) -> bool {
        self.votes && self.zxid != -1 && self.kind != Kind::Java(Form::Bytes28)
    }
}

impl Plan {
    /// Voters of zkd, numbered from one, and nothing that goes wrong.
    pub fn calm(voters: i64) -> Plan {
        let members: Vec<MemberPlan> =
            (1..=voters).map(|id| MemberPlan::voter(id, Kind::Zkd)).collect();
        Plan {
            seed: 7,
            core: (0..members.len()).collect(),
            members,
            is_grouped: false,
            is_early: true,
            has_two_addresses: false,
            tick_ms: 200,
            init_ticks: 10,
            sync_ticks: 5,
            longest_pause_ms: 60_000,
            open_ms: 2,
            look_up_ms: 1,
            connect_ms: 5000,
            least_us: 50,
            spread_us: 100,
            capacity: 1 << 16,
            accept_queue: 50,
            give_up_ms: 20_000,
            faults: Vec::new(),
            calm_ms: 100,
            outside: Outside::Down,
        }
    }

    pub fn of_seed(seed: u64) -> Plan {
        let rng = &mut stream(seed, PART_SHAPE, 0);
        let voters = pick(rng, &[1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6, 7, 7]);
        let observers = pick(rng, &[0, 0, 0, 0, 0, 1, 1, 2]);
        let shape = Shape::draw(rng);
        let mut members = Vec::new();
        for at in 0..voters + observers {
            let before = members.last().map_or(0, |member: &MemberPlan| member.id);
            let mut member = shape.member(&mut stream(seed, PART_MEMBER, at), before);
            member.votes = at < voters;
            members.push(member);
        }
        // Whatever they weigh: somebody must be able to lead.
        members[0].weight = members[0].weight.max(1);
        let mut plan = Plan { seed, members, ..shape.plan(rng) };
        plan.make_whole();
        plan.calm_ms = 6000 + rng.below(20_000);
        plan.faults = faults(seed, rng, plan.members.len(), plan.calm_ms);
        plan.choose_core();
        plan
    }

    /// Whether these members, by their places, are enough to decide.
    pub fn is_enough(&self, places: &BTreeSet<usize>) -> bool {
        let voters = || self.members.iter().enumerate().filter(|(_, member)| member.votes);
        if !self.is_grouped {
            let there = voters().filter(|(at, _)| places.contains(at)).count();
            return 2 * there > voters().count();
        }
        let groups: BTreeSet<i64> = voters().map(|(_, member)| member.group).collect();
        let (mut counted, mut satisfied) = (0, 0);
        for group in groups {
            let weigh = |there: bool| -> u32 {
                let of_group = voters().filter(|(_, member)| member.group == group);
                let present = of_group.filter(|(at, _)| !there || places.contains(at));
                present.map(|(_, member)| member.weight).sum()
            };
            counted += u32::from(weigh(false) > 0);
            satisfied += u32::from(2 * weigh(true) > weigh(false));
        }
        2 * satisfied > counted
    }

    pub fn place_of(&self, id: i64) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    /// What a role waits for at its beginning, and later.
    pub fn init_ms(&self) -> u64 {
        self.init_ticks * self.tick_ms
    }

    pub fn sync_ms(&self) -> u64 {
        self.sync_ticks * self.tick_ms
    }

    /// How long those of the core may take to agree: what kernels may take to try again what a
    /// partition held up, or to give it up, and some elections with all their limits.
    pub fn bound_ms(&self) -> u64 {
        let kernels_ms = 6000 + self.give_up_ms + 2 * self.connect_ms;
        let election_ms = self.longest_pause_ms + self.init_ms() + self.sync_ms();
        kernels_ms + 3 * election_ms
    }

    fn wholes(&self, places: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        places.into_iter().filter(|at| self.members[*at].is_whole()).collect()
    }

    /// Those whose votes do not count with everybody must not be needed.
    fn make_whole(&mut self) {
        let mut at = 0;
        while !self.is_enough(&self.wholes(0..self.members.len())) {
            let member = &mut self.members[at];
            member.zxid = member.zxid.max(0);
            if member.kind == Kind::Java(Form::Bytes28) {
                member.kind = Kind::Java(Form::Version2);
            }
            at += 1;
        }
        // Where the oldest lead, those of 3.4 come to an epoch that the oldest do not tell, and for
        // servers from 3.5 on both are too old to know better: they agree with none of them for
        // ever. Nobody has three such generations in one ensemble.
        if self.members.iter().any(|member| member.kind == Kind::Java(Form::Bytes28)) {
            for member in &mut self.members {
                if member.kind == Kind::Java(Form::Bytes40) {
                    member.kind = Kind::Java(Form::Version1);
                }
            }
        }
    }

    /// Some who are enough, and who will have to agree.
    fn choose_core(&mut self) {
        let rng = &mut stream(self.seed, PART_CORE, 0);
        self.outside = if rng.below(2) == 0 { Outside::Down } else { Outside::CutOff };
        self.core = (0..self.members.len()).collect();
        for _ in 0..rng.below(5) {
            let mut smaller = self.core.clone();
            smaller.remove(rng.below(smaller.len() as u64) as usize);
            if self.is_enough(&self.wholes(smaller.iter().copied())) {
                self.core = smaller;
            }
        }
    }
}

/// What the members of one plan have in common.
struct Shape {
    are_mixed: bool,
    is_early: bool,
    groups: u64,
    is_fresh: bool,
    are_late: bool,
    epoch: i64,
}

impl Shape {
    fn draw(rng: &mut Rng) -> Shape {
        Shape {
            are_mixed: rng.below(2) == 0,
            is_early: rng.below(4) > 0,
            groups: pick(rng, &[0, 0, 0, 0, 1, 3]),
            is_fresh: rng.below(4) == 0,
            are_late: rng.below(3) == 0,
            epoch: 1 + rng.below(4) as i64,
        }
    }

    fn member(&self, rng: &mut Rng, before: i64) -> MemberPlan {
        let id = before + 1 + pick(rng, &[0, 0, 0, 1, 5]) as i64;
        let mut member = MemberPlan::voter(id, Kind::Zkd);
        if self.are_mixed && rng.below(2) == 0 {
            let form = match rng.below(12) {
                0 => Form::Bytes28,
                1 => Form::Bytes40,
                2 => Form::Version1,
                _ => Form::Version2,
            };
            member.kind = Kind::Java(form);
        }
        if self.groups > 0 {
            member.group = 1 + rng.below(self.groups) as i64;
            member.weight = rng.below(4) as u32;
        }
        let epoch = self.epoch - rng.below(2) as i64;
        let txns_of = (epoch - rng.below(2) as i64).max(0);
        (member.epoch, member.zxid) = match (self.is_fresh, rng.below(24)) {
            (true, _) => (0, 0),
            (false, 0) => (epoch, -1),
            (false, _) => (epoch, (txns_of << 32) + rng.below(9) as i64),
        };
        member.ahead_ms = rng.below(100_000);
        member.start_ms = rng.below(if self.are_late { 3000 } else { 30 });
        member
    }

    fn plan(&self, rng: &mut Rng) -> Plan {
        let spread_us = pick(rng, &[0, 200, 2000, 40_000]);
        // A limit that the network alone uses up would be nobody's fault.
        let ticks: &[u64] = if spread_us > 2000 { &[500, 1000] } else { &[100, 200, 500] };
        Plan {
            is_grouped: self.groups > 0,
            is_early: self.is_early,
            has_two_addresses: rng.below(6) == 0,
            tick_ms: pick(rng, ticks),
            init_ticks: pick(rng, &[5, 10]),
            sync_ticks: pick(rng, &[2, 5]),
            longest_pause_ms: pick(rng, &[400, 3200, 60_000]),
            open_ms: pick(rng, &[0, 1, 20, 150]),
            look_up_ms: pick(rng, &[0, 1, 40]),
            connect_ms: pick(rng, &[1500, 5000]),
            least_us: pick(rng, &[20, 100, 3000]),
            spread_us,
            capacity: pick(rng, &[100, 300, 1 << 16]) as usize,
            accept_queue: pick(rng, &[5, 5, 50]) as usize,
            give_up_ms: pick(rng, &[1500, 6000]),
            ..Plan::calm(1)
        }
    }
}

/// Which kinds of faults a plan has: some of them, so that each also shows by itself.
const KINDS: u64 = 11;

fn faults(seed: u64, rng: &mut Rng, members: usize, calm_ms: u64) -> Vec<Timed> {
    let mut kinds: Vec<u64> = (0..KINDS).filter(|_| rng.below(5) < 2).collect();
    if kinds.is_empty() {
        kinds.push(rng.below(KINDS));
    }
    let mut faults = Vec::new();
    for index in 0..2 + rng.below(16) {
        let rng = &mut stream(seed, PART_FAULT, index);
        let at_ms = 100 + rng.below(calm_ms - 100);
        let kind = kinds[rng.below(kinds.len() as u64) as usize];
        if let Some(fault) = fault(rng, kind, members) {
            faults.push(Timed { at_ms, fault });
        }
    }
    if members > 1 && rng.below(2) == 0 {
        faults.extend(partitions(seed, members, calm_ms));
    }
    if rng.below(3) == 0 {
        faults.extend((0..members).filter_map(|member| last_blow(seed, member, calm_ms)));
    }
    faults.sort_by_key(|timed| timed.at_ms);
    faults
}

/// Right before the end many fall at once, so that they have to agree anew.
fn last_blow(seed: u64, member: usize, calm_ms: u64) -> Option<Timed> {
    let rng = &mut stream(seed, PART_BLOW, member as u64);
    let at_ms = calm_ms - 1 - rng.below(60);
    let ms = 1 + rng.below(60);
    let fault = match rng.below(4) {
        0 | 1 => Fault::Kill { member, ms },
        2 => Fault::PowerCut { member, ms },
        _ => return None,
    };
    Some(Timed { at_ms, fault })
}

/// One after the other: each stands for some time, and so does the peace between two.
fn partitions(seed: u64, members: usize, calm_ms: u64) -> Vec<Timed> {
    let rng = &mut stream(seed, PART_PARTITION, 0);
    let (least_ms, least_peace_ms) = (pick(rng, &[50, 500, 2000]), pick(rng, &[50, 500, 2000]));
    let mut partitions = Vec::new();
    let mut at_ms = rng.below(3000);
    for index in 1.. {
        let rng = &mut stream(seed, PART_PARTITION, index);
        let ms = least_ms + rng.below(2 * least_ms);
        if at_ms + ms > calm_ms || index > 8 {
            break;
        }
        let division = match rng.below(3) {
            0 => Division::UniformSize,
            1 => Division::UniformPartition,
            _ => Division::IsolateOne,
        };
        let side = division.side(rng, members);
        let fault = Fault::Partition { side, both_ways: rng.below(3) > 0, ms };
        partitions.push(Timed { at_ms, fault });
        at_ms += ms + least_peace_ms + rng.below(2 * least_peace_ms);
    }
    partitions
}

fn fault(rng: &mut Rng, kind: u64, members: usize) -> Option<Fault> {
    let member = rng.below(members as u64) as usize;
    let other = (member + 1 + rng.below(members as u64 - 1) as usize) % members;
    let longest = pick(rng, &[20, 200, 1000, 5000]);
    let ms = 1 + rng.below(longest);
    let between = (members > 1).then_some((member, other));
    Some(match kind {
        0 => Fault::Kill { member, ms },
        1 => Fault::PowerCut { member, ms },
        2 => Fault::Pause { member, ms },
        3 => Fault::Dawdle { member, ms },
        4 => Fault::Nameless { member, ms },
        5 => Fault::Move { member, ms, refused: rng.below(2) == 0 },
        6 => Fault::Txns { count: 1 + rng.below(3) as u32 },
        7 => between.map(|(from, to)| Fault::Clog { from, to, ms })?,
        8 => {
            let us = rng.below(60_000);
            between.map(|(from, to)| Fault::Slow { from, to, us, ms })?
        }
        9 => between.map(|(a, b)| Fault::Break { a, b, within_ms: ms.min(500) })?,
        _ => {
            let told = rng.below(2) == 0;
            between.map(|(a, b)| Fault::Lose { a, b, told })?
        }
    })
}

fn pick(rng: &mut Rng, of: &[u64]) -> u64 {
    of[rng.below(of.len() as u64) as usize]
}

/// Ready to be pasted into a scenario.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, is_grouped, is_early, has_two_addresses, .. } = self;
        let Plan { tick_ms, init_ticks, sync_ticks, longest_pause_ms, .. } = self;
        let Plan { open_ms, look_up_ms, connect_ms, least_us, spread_us, .. } = self;
        let Plan { capacity, accept_queue, give_up_ms, calm_ms, outside, .. } = self;
        writeln!(f, "Plan {{")?;
        writeln!(f, "    seed: {seed}, is_grouped: {is_grouped}, is_early: {is_early},")?;
        writeln!(f, "    has_two_addresses: {has_two_addresses}, tick_ms: {tick_ms},")?;
        writeln!(f, "    init_ticks: {init_ticks}, sync_ticks: {sync_ticks},")?;
        writeln!(f, "    longest_pause_ms: {longest_pause_ms}, open_ms: {open_ms},")?;
        writeln!(f, "    look_up_ms: {look_up_ms}, connect_ms: {connect_ms},")?;
        writeln!(f, "    least_us: {least_us}, spread_us: {spread_us}, capacity: {capacity},")?;
        writeln!(f, "    accept_queue: {accept_queue}, give_up_ms: {give_up_ms},")?;
        writeln!(f, "    calm_ms: {calm_ms}, outside: Outside::{outside:?},")?;
        writeln!(f, "    core: vec!{:?},", self.core)?;
        writeln!(f, "    members: vec![")?;
        for member in &self.members {
            writeln!(f, "        {member:?},")?;
        }
        writeln!(f, "    ],\n    faults: vec![")?;
        for Timed { at_ms, fault } in &self.faults {
            let fault = format!("{fault:?}").replace('[', "vec![");
            writeln!(f, "        Timed {{ at_ms: {at_ms}, fault: Fault::{fault} }},")?;
        }
        write!(f, "    ],\n}}")
    }
}
