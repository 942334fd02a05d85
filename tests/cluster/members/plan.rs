//! A seed becomes a plan of an ensemble, a plain printable value: who takes part, what clients ask
//! when, and what goes wrong when.

use std::fmt;
use std::io::ErrorKind;

use zkd::base::Rng;

use crate::plan::{Op, stream};
use crate::world::disk::Fault as DiskFault;
use crate::world::network::Division;

/// What a client sends at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    pub at_ms: u64,
    pub client: usize,
    pub ops: Vec<Op>,
}

/// What goes wrong. Members are named by their place, and so are clients.
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
    /// Something strikes at the n-th changing disk call from then on.
    Strike {
        member: usize,
        call: u64,
        fault: DiskFault,
        ms: u64,
    },
    /// The whole process stands still; its kernel does not.
    Pause {
        member: usize,
        ms: u64,
    },
    /// Every sync takes so much longer.
    SlowDisk {
        member: usize,
        us: u64,
        ms: u64,
    },
    /// No sync comes back before this is over.
    HangingDisk {
        member: usize,
        ms: u64,
    },
    /// Nothing passes from one side to the other members, and perhaps nothing back.
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
    /// The wall clock jumps.
    Jump {
        member: usize,
        ms: i64,
    },
    /// Whoever leads is killed.
    KillLeader {
        power: bool,
        ms: u64,
    },
    /// A client's connection breaks; it comes back with its session.
    CutClient {
        client: usize,
    },
    /// A client goes without a word: its session will expire.
    ClientDies {
        client: usize,
    },
}

impl Fault {
    /// What it is counted as.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kills",
            Fault::PowerCut { .. } => "power cuts",
            Fault::Strike { .. } => "strikes",
            Fault::Pause { .. } => "pauses",
            Fault::SlowDisk { .. } => "slow disks",
            Fault::HangingDisk { .. } => "hanging disks",
            Fault::Partition { both_ways: true, .. } => "partitions",
            Fault::Partition { .. } => "partitions one way",
            Fault::Clog { .. } => "clogs",
            Fault::Slow { .. } => "slow ways",
            Fault::Break { .. } => "breaks",
            Fault::Lose { .. } => "losses",
            Fault::Jump { .. } => "clock jumps",
            Fault::KillLeader { .. } => "leaders killed",
            Fault::CutClient { .. } => "clients cut",
            Fault::ClientDies { .. } => "clients died",
        }
    }

    /// How long it lasts.
    pub fn lasts_ms(&self) -> u64 {
        match self {
            Fault::Kill { ms, .. }
            | Fault::PowerCut { ms, .. }
            | Fault::Pause { ms, .. }
            | Fault::SlowDisk { ms, .. }
            | Fault::HangingDisk { ms, .. }
            | Fault::Partition { ms, .. }
            | Fault::Clog { ms, .. }
            | Fault::Slow { ms, .. }
            | Fault::KillLeader { ms, .. } => *ms,
            Fault::Strike { .. }
            | Fault::Break { .. }
            | Fault::Lose { .. }
            | Fault::Jump { .. }
            | Fault::CutClient { .. }
            | Fault::ClientDies { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    pub at_ms: u64,
    pub fault: Fault,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub voters: usize,
    pub observers: usize,
    /// Whether observers are fed by those who follow.
    pub followers_feed: bool,
    pub clients: usize,
    pub tick_ms: u64,
    pub init_ticks: u64,
    pub sync_ticks: u64,
    pub session_ms: u64,
    pub snap_count: u64,
    /// Txns that recovery holds back, and the reach of `commitLogCount`.
    pub hold_back: usize,
    pub pre_alloc_kib: u64,
    /// What a sync takes, and up to so much more.
    pub sync_us: u64,
    pub least_us: u64,
    pub spread_us: u64,
    pub capacity: usize,
    pub accept_queue: usize,
    pub give_up_ms: u64,
    /// What a process reads at most from one connection in one turn.
    pub read_bytes: usize,
    /// How long a turn keeps a process busy.
    pub turn_us: u64,
    /// Sessions are their servers' alone up to their first ephemeral.
    pub local_sessions: bool,
    /// Members without a leader serve who only reads.
    pub read_only: bool,
    /// By how much the members' clocks are apart, and when each starts.
    pub ahead_ms: Vec<u64>,
    pub start_ms: Vec<u64>,
    pub bursts: Vec<Burst>,
    pub faults: Vec<Timed>,
    /// From here on nothing goes wrong among the core, all of which has to serve.
    pub calm_ms: u64,
    pub core: Vec<usize>,
}

/// The parts of the seed that are the plan's.
const PART_SHAPE: u64 = 40;
const PART_BURST: u64 = 41;
const PART_FAULT: u64 = 42;
const PART_PARTITION: u64 = 43;
const PART_CORE: u64 = 44;
const PART_BLOW: u64 = 45;
const PART_LEADER: u64 = 46;
const PART_SESSIONS: u64 = 47;

impl Plan {
    /// Voters, some clients that ask for nothing, and nothing that goes wrong.
    pub fn calm(voters: usize) -> Plan {
        Plan {
            seed: 7,
            voters,
            observers: 0,
            followers_feed: false,
            clients: 2,
            tick_ms: 200,
            init_ticks: 10,
            sync_ticks: 5,
            session_ms: 4000,
            snap_count: 1000,
            hold_back: 500,
            pre_alloc_kib: 64,
            sync_us: 300,
            least_us: 50,
            spread_us: 100,
            capacity: 1 << 16,
            accept_queue: 50,
            give_up_ms: 20_000,
            read_bytes: 1 << 16,
            turn_us: 0,
            local_sessions: false,
            read_only: false,
            ahead_ms: vec![0; voters],
            start_ms: vec![0; voters],
            bursts: Vec::new(),
            faults: Vec::new(),
            calm_ms: 1000,
            core: (0..voters).collect(),
        }
    }

    pub fn of_seed(seed: u64) -> Plan {
        let rng = &mut stream(seed, PART_SHAPE, 0);
        let voters = pick(rng, &[3, 3, 3, 5]) as usize;
        let mut plan = shape(seed, rng, voters);
        let kinds = &mut stream(seed, PART_SESSIONS, 0);
        plan.local_sessions = kinds.below(4) == 0;
        plan.read_only = kinds.below(3) == 0;
        plan.turn_us = pick(kinds, &[20, 100, 100, 500]);
        plan.calm_ms = 12_000 + rng.below(14_000);
        plan.bursts = bursts(&plan, rng);
        plan.faults = faults(&plan, rng);
        plan.core = core(&plan);
        plan
    }

    pub fn members(&self) -> usize {
        self.voters + self.observers
    }

    /// What a role waits for at its beginning, and later.
    pub fn init_ms(&self) -> u64 {
        self.init_ticks * self.tick_ms
    }

    pub fn sync_ms(&self) -> u64 {
        self.sync_ticks * self.tick_ms
    }

    /// How long the core may take to serve everybody: what kernels may take to try again what a
    /// partition held up, or to give it up, and some elections with all their limits.
    pub fn bound_ms(&self) -> u64 {
        let kernels_ms = 6000 + self.give_up_ms + 2 * CONNECT_MS;
        let election_ms = 2000 + self.init_ms() + self.sync_ms();
        kernels_ms + 4 * election_ms + 3 * self.session_ms
    }
}

/// How long a client waits for a connection.
pub const CONNECT_MS: u64 = 1000;

fn shape(seed: u64, rng: &mut Rng, voters: usize) -> Plan {
    let observers = usize::from(rng.below(4) == 0);
    let members = voters + observers;
    let spread_us = pick(rng, &[0, 200, 2000, 20_000]);
    // A limit that the network alone uses up would be nobody's fault.
    let ticks: &[u64] = if spread_us > 2000 { &[500] } else { &[100, 200, 500] };
    let are_late = rng.below(3) == 0;
    let snap_count = pick(rng, &[6, 20, 60, 1000]);
    Plan {
        observers,
        followers_feed: observers > 0 && seed % 2 == 0,
        clients: 2 + rng.below(4) as usize,
        tick_ms: pick(rng, ticks),
        init_ticks: pick(rng, &[5, 10]),
        sync_ticks: pick(rng, &[3, 5]),
        session_ms: pick(rng, &[3000, 6000]),
        snap_count,
        // More than are ever outstanding here: what lies further back a member that comes back
        // takes for committed, as Java does, and the checkers know only what somebody has applied.
        hold_back: pick(rng, &[300, 500]) as usize,
        pre_alloc_kib: pick(rng, &[4, 16, 64]),
        sync_us: pick(rng, &[100, 1000, 8000]),
        least_us: pick(rng, &[20, 100, 1000]),
        spread_us,
        capacity: pick(rng, &[600, 4096, 1 << 16, 1 << 16]) as usize,
        accept_queue: pick(rng, &[5, 50]) as usize,
        give_up_ms: pick(rng, &[1500, 6000]),
        read_bytes: pick(rng, &[300, 4096, 1 << 16]) as usize,
        ahead_ms: (0..members).map(|_| rng.below(100_000)).collect(),
        start_ms: (0..members).map(|_| rng.below(if are_late { 3000 } else { 30 })).collect(),
        seed,
        ..Plan::calm(voters)
    }
}

/// At least three hundred requests, and pauses in which one client alone may be heard.
fn bursts(plan: &Plan, rng: &mut Rng) -> Vec<Burst> {
    let mut bursts = Vec::new();
    let mut ops = 0;
    let lasts_ms = plan.calm_ms - 1000;
    let wanted = 300 + rng.below(200) as usize;
    for index in 0.. {
        if ops >= wanted {
            break;
        }
        let rng = &mut stream(plan.seed, PART_BURST, index);
        let at_ms = 200 + rng.below(lasts_ms);
        let client = rng.below(plan.clients as u64) as usize;
        let count = 1 + rng.below(8);
        let burst: Vec<Op> = (0..count).map(|_| crate::plan::op(rng, true)).collect();
        ops += burst.len();
        bursts.push(Burst { at_ms, client, ops: burst });
    }
    bursts.sort_by_key(|burst| burst.at_ms);
    bursts
}

/// Which kinds of faults a plan has: some of them, so that each also shows by itself.
const KINDS: u64 = 14;

fn faults(plan: &Plan, rng: &mut Rng) -> Vec<Timed> {
    let members = plan.members();
    let mut kinds: Vec<u64> = (0..KINDS).filter(|_| rng.below(5) < 2).collect();
    if kinds.is_empty() {
        kinds.push(rng.below(KINDS));
    }
    let mut faults = Vec::new();
    for index in 0..3 + rng.below(14) {
        let rng = &mut stream(plan.seed, PART_FAULT, index);
        let at_ms = 1000 + rng.below(plan.calm_ms - 1000);
        let kind = kinds[rng.below(kinds.len() as u64) as usize];
        faults.push(Timed { at_ms, fault: fault(rng, kind, plan) });
    }
    // Leaders fall, so that there are elections.
    for index in 0..2 + rng.below(3) {
        let rng = &mut stream(plan.seed, PART_LEADER, index);
        let at_ms = 2000 + rng.below(plan.calm_ms - 2000);
        let (power, ms) = (rng.below(2) == 0, 1 + rng.below(3000));
        faults.push(Timed { at_ms, fault: Fault::KillLeader { power, ms } });
    }
    if rng.below(2) == 0 {
        faults.extend(partitions(plan));
    }
    if rng.below(3) == 0 {
        faults.extend((0..members).filter_map(|member| last_blow(plan, member)));
    }
    faults.sort_by_key(|timed| timed.at_ms);
    faults
}

/// Right before the end many fall at once.
fn last_blow(plan: &Plan, member: usize) -> Option<Timed> {
    let rng = &mut stream(plan.seed, PART_BLOW, member as u64);
    let at_ms = plan.calm_ms - 1 - rng.below(60);
    let ms = 1 + rng.below(60);
    let fault = match rng.below(4) {
        0 => Fault::Kill { member, ms },
        1 | 2 => Fault::PowerCut { member, ms },
        _ => return None,
    };
    Some(Timed { at_ms, fault })
}

/// One after the other: each stands for some time, and so does the peace between two.
fn partitions(plan: &Plan) -> Vec<Timed> {
    let rng = &mut stream(plan.seed, PART_PARTITION, 0);
    let (least_ms, least_peace_ms) = (pick(rng, &[200, 1000, 3000]), pick(rng, &[500, 2000]));
    let mut partitions = Vec::new();
    let mut at_ms = 1000 + rng.below(3000);
    for index in 1..=8 {
        let rng = &mut stream(plan.seed, PART_PARTITION, index);
        let ms = least_ms + rng.below(2 * least_ms);
        if at_ms + ms > plan.calm_ms {
            break;
        }
        let fault = partition(rng, plan.members(), ms);
        partitions.push(Timed { at_ms, fault });
        at_ms += ms + least_peace_ms + rng.below(2 * least_peace_ms);
    }
    partitions
}

fn partition(rng: &mut Rng, members: usize, ms: u64) -> Fault {
    let division = match rng.below(3) {
        0 => Division::UniformSize,
        1 => Division::UniformPartition,
        _ => Division::IsolateOne,
    };
    let side = division.side(rng, members);
    Fault::Partition { side, both_ways: rng.below(3) > 0, ms }
}

fn fault(rng: &mut Rng, kind: u64, plan: &Plan) -> Fault {
    let members = plan.members();
    let member = rng.below(members as u64) as usize;
    let other = (member + 1 + rng.below(members as u64 - 1) as usize) % members;
    let (a, b, from, to) = (member, other, member, other);
    let client = rng.below(plan.clients as u64) as usize;
    let longest = pick(rng, &[20, 200, 1000, 5000]);
    let ms = 1 + rng.below(longest);
    match kind {
        0 => Fault::Kill { member, ms },
        1 => Fault::PowerCut { member, ms },
        2 | 3 => Fault::Strike { member, call: 1 + rng.below(60), fault: strike(rng), ms },
        4 => Fault::Pause { member, ms },
        5 => Fault::SlowDisk { member, us: rng.below(60_000), ms },
        6 => Fault::HangingDisk { member, ms },
        7 => partition(rng, members, ms),
        8 => Fault::Clog { from, to, ms },
        9 => Fault::Slow { from, to, us: rng.below(60_000), ms },
        10 => Fault::Break { a, b, within_ms: ms.min(500) },
        11 => Fault::Lose { a, b, told: rng.below(2) == 0 },
        12 => Fault::Jump { member, ms: rng.below(7_200_000) as i64 - 3_600_000 },
        _ if rng.below(4) == 0 => Fault::ClientDies { client },
        _ => Fault::CutClient { client },
    }
}

fn strike(rng: &mut Rng) -> DiskFault {
    match rng.below(10) {
        0..=5 => DiskFault::PowerCut,
        6..=8 => DiskFault::Kill,
        _ => DiskFault::Error([ErrorKind::Other, ErrorKind::StorageFull][rng.below(2) as usize]),
    }
}

/// Some members, most of the voters among them, all of whom have to serve in the end.
fn core(plan: &Plan) -> Vec<usize> {
    let rng = &mut stream(plan.seed, PART_CORE, 0);
    let mut core: Vec<usize> = (0..plan.members()).collect();
    if rng.below(3) == 0 {
        core.remove(rng.below(plan.members() as u64) as usize);
    }
    core
}

fn pick(rng: &mut Rng, of: &[u64]) -> u64 {
    of[rng.below(of.len() as u64) as usize]
}

/// Ready to be pasted into a scenario.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, voters, observers, clients, tick_ms, init_ticks, sync_ticks, .. } = self;
        let Plan { session_ms, snap_count, hold_back, pre_alloc_kib, sync_us, .. } = self;
        let Plan { least_us, spread_us, capacity, accept_queue, give_up_ms, .. } = self;
        let Plan { turn_us, .. } = self;
        let Plan { read_bytes, calm_ms, followers_feed, local_sessions, read_only, .. } = self;
        writeln!(f, "Plan {{")?;
        writeln!(f, "    seed: {seed}, voters: {voters}, observers: {observers},")?;
        writeln!(f, "    followers_feed: {followers_feed},")?;
        writeln!(f, "    clients: {clients}, tick_ms: {tick_ms}, init_ticks: {init_ticks},")?;
        writeln!(f, "    sync_ticks: {sync_ticks}, session_ms: {session_ms},")?;
        writeln!(f, "    snap_count: {snap_count}, hold_back: {hold_back},")?;
        writeln!(f, "    pre_alloc_kib: {pre_alloc_kib}, sync_us: {sync_us},")?;
        writeln!(f, "    least_us: {least_us}, spread_us: {spread_us}, capacity: {capacity},")?;
        writeln!(f, "    accept_queue: {accept_queue}, give_up_ms: {give_up_ms},")?;
        writeln!(f, "    read_bytes: {read_bytes}, turn_us: {turn_us}, calm_ms: {calm_ms},")?;
        writeln!(f, "    local_sessions: {local_sessions}, read_only: {read_only},")?;
        writeln!(f, "    ahead_ms: vec!{:?},", self.ahead_ms)?;
        writeln!(f, "    start_ms: vec!{:?},", self.start_ms)?;
        writeln!(f, "    core: vec!{:?},", self.core)?;
        writeln!(f, "    bursts: vec![")?;
        for Burst { at_ms, client, ops } in &self.bursts {
            let ops: Vec<String> = ops.iter().map(op_text).collect();
            let ops = ops.join(", ");
            writeln!(f, "        Burst {{ at_ms: {at_ms}, client: {client}, ops: vec![{ops}] }},")?;
        }
        writeln!(f, "    ],\n    faults: vec![")?;
        for Timed { at_ms, fault } in &self.faults {
            let fault = format!("{fault:?}").replace('[', "vec![");
            let fault = fault.replace("fault: ", "fault: DiskFault::");
            writeln!(f, "        Timed {{ at_ms: {at_ms}, fault: Fault::{fault} }},")?;
        }
        write!(f, "    ],\n}}")
    }
}

fn op_text(op: &Op) -> String {
    match op {
        Op::Multi(ops) => {
            let ops: Vec<String> = ops.iter().map(op_text).collect();
            format!("Op::Multi(vec![{}])", ops.join(", "))
        }
        op => format!("Op::{op:?}"),
    }
}
