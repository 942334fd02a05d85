//! A seed becomes a plan, a plain printable value: what clients do, and what strikes when.
//!
//! Every part draws from a stream of its own, keyed by seed, part and index, so that leaving one
//! item out of a plan does not change the others.

use std::fmt;
use std::io::ErrorKind;

use zkd::base::Rng;

use crate::world::disk::Fault;

/// One thing a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Create { path: u8, mode: i32 },
    Delete { path: u8, version: i32 },
    Set { path: u8, bytes: u16, version: i32 },
    Get { path: u8, watch: bool },
    Exists { path: u8, watch: bool },
    Children { path: u8, watch: bool },
    SetAcl { path: u8 },
    Multi(Vec<Op>),
    Sync,
    CloseSession,
}

/// What one step of the world is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Client `client` sends these at once (connecting first if it must).
    Burst { client: u8, ops: Vec<Op> },
    /// The log thread takes what is queued; the chore thread does a slice.
    Storage,
    /// Time passes.
    Wait { ms: u32 },
    /// A client's connection breaks; it comes back with its session.
    Cut { client: u8 },
    /// A client dies for good: its session will expire.
    Die { client: u8 },
}

/// Something goes wrong at the n-th changing disk call after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    pub call: u64,
    pub fault: Fault,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub clients: u8,
    pub snap_count: u64,
    pub pre_alloc_kib: u32,
    pub steps: Vec<Step>,
    /// One incarnation each, in order; the last one runs to the end of the steps.
    pub strikes: Vec<Strike>,
    /// What the disk holds, where the plan wants it to fill up.
    pub capacity_kib: Option<u32>,
}

impl Plan {
    pub fn of_seed(seed: u64) -> Plan {
        let mut shape = stream(seed, 0, 0);
        let clients = 2 + shape.below(4) as u8;
        let steps_count = 60 + shape.below(80);
        let steps: Vec<Step> =
            (0..steps_count).map(|i| step(&mut stream(seed, 1, i), clients)).collect();
        let strikes_count = 2 + shape.below(4);
        let strikes = (0..strikes_count).map(|i| strike(&mut stream(seed, 2, i))).collect();
        let snap_count = 4 + shape.below(60);
        // Some plans let one log grow long and big, so that its middle is far from its end.
        let is_long = shape.below(6) == 0;
        Plan {
            seed,
            clients,
            snap_count: if is_long { 1_000_000 } else { snap_count },
            pre_alloc_kib: [4, 8, 16, 64][shape.below(4) as usize],
            steps: if is_long { steps.into_iter().map(grown).collect() } else { steps },
            strikes: if is_long { Vec::new() } else { strikes },
            capacity_kib: None,
        }
    }
}

/// Ready to be pasted into a scenario.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Plan {{")?;
        writeln!(f, "    seed: {}, clients: {},", self.seed, self.clients)?;
        writeln!(f, "    snap_count: {}, pre_alloc_kib: {},", self.snap_count, self.pre_alloc_kib)?;
        writeln!(f, "    capacity_kib: {:?},", self.capacity_kib)?;
        writeln!(f, "    strikes: vec!{:?},", self.strikes)?;
        writeln!(f, "    steps: vec![")?;
        for step in &self.steps {
            writeln!(f, "        {step:?},")?;
        }
        write!(f, "    ],\n}}")
    }
}

/// The same step with big writes to a few nodes.
fn grown(step: Step) -> Step {
    let grow = |op| match op {
        Op::Set { path, .. } => Op::Set { path: path % 4, bytes: 3000, version: -1 },
        Op::Create { path, .. } => Op::Create { path: path % 4, mode: 0 },
        Op::Delete { path, version } => Op::Delete { path: 4 + path % 4, version },
        other => other,
    };
    match step {
        Step::Burst { client, ops } => {
            Step::Burst { client, ops: ops.into_iter().map(grow).collect() }
        }
        other => other,
    }
}

/// The generator of one item of one part.
pub fn stream(seed: u64, part: u64, index: u64) -> Rng {
    let mut rng = Rng::new(seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index << 20));
    rng.next_u64();
    rng
}

fn step(rng: &mut Rng, clients: u8) -> Step {
    let client = rng.below(u64::from(clients)) as u8;
    match rng.below(20) {
        0..=11 => {
            let count = 1 + rng.below(8);
            Step::Burst { client, ops: (0..count).map(|_| op(rng, true)).collect() }
        }
        12..=15 => Step::Storage,
        16 | 17 => Step::Wait { ms: 1 + rng.below(3000) as u32 },
        18 => Step::Cut { client },
        _ => match rng.below(4) {
            0 => Step::Die { client },
            _ => Step::Wait { ms: 1 + rng.below(20) as u32 },
        },
    }
}

pub fn op(rng: &mut Rng, may_nest: bool) -> Op {
    let path = rng.below(24) as u8;
    let version = if rng.below(4) == 0 { rng.below(4) as i32 } else { -1 };
    match rng.below(if may_nest { 20 } else { 12 }) {
        0..=4 => Op::Create { path, mode: rng.below(5) as i32 },
        5..=6 => Op::Delete { path, version },
        7..=11 => Op::Set { path, bytes: [0, 10, 100, 3000][rng.below(4) as usize], version },
        12..=13 => Op::Get { path, watch: rng.below(2) == 0 },
        14 => Op::Exists { path, watch: rng.below(2) == 0 },
        15 => Op::Children { path, watch: version < 0 },
        16 => Op::SetAcl { path },
        17 => Op::Sync,
        18 => Op::Multi((0..1 + rng.below(5)).map(|_| op(rng, false)).collect()),
        _ if rng.below(8) == 0 => Op::CloseSession,
        _ => Op::Get { path, watch: false },
    }
}

fn strike(rng: &mut Rng) -> Strike {
    let call = 1 + rng.below(120);
    let fault = match rng.below(10) {
        0..=5 => Fault::PowerCut,
        6..=8 => Fault::Kill,
        _ => Fault::Error([ErrorKind::Other, ErrorKind::StorageFull][rng.below(2) as usize]),
    };
    Strike { call, fault }
}
