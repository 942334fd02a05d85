//! Whole members in one world: the nodes, turns and storage of production on several machines,
//! joined by the simulated network, with clients that use any of them. A seed is a plan; a failing
//! plan shrinks to a scenario that can be pasted beside the others.
//!
//! `ZKD_SIM_FIRST` and `ZKD_SIM_SEEDS` choose the block of seeds; `ZKD_SIM_MEMBERS` runs one seed
//! and prints what happened.

mod agent;
mod breakage;
mod cluster;
mod faults;
mod known;
mod links;
mod machine;
mod plan;
mod record;
mod scenario;
mod setup;
mod shrink;
mod tap;
mod threads;
mod twist;
mod wires;

use std::collections::BTreeMap;
use std::process::Command;

use crate::elections::shrink::kind;
use crate::env_number;
use cluster::{Outcome, run, run_broken};
use machine::Breakage;
use plan::Plan;

/// Whether members can make this mistake.
pub fn knows_breakage(name: &str) -> bool {
    Breakage::by_name(name).is_some()
}

/// Runs one seed; a violation is shrunk and told.
fn check_seed(seed: u64) -> Outcome {
    let plan = Plan::of_seed(seed);
    let outcome = run(&plan);
    if let Some(violation) = &outcome.violation {
        let small = shrink::shrink(&plan, shrink::fails_like(violation, Breakage::None));
        let again = run(&small);
        let (shows, tail) = (again.violation, again.tail);
        panic!("seed {seed}: {violation}\nshrunk to\n{small:?}\nwhich shows: {shows:?}\n{tail}");
    }
    outcome
}

#[test]
fn known_seeds_of_members_stay_green() {
    for line in include_str!("seeds.txt").lines() {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(seed) = seed {
            check_seed(seed);
        }
    }
}

/// What a thousand plans have at least of each.
const FLOORS: [(&str, u64); 30] = [
    ("operations", 300_000),
    ("replies", 150_000),
    ("writes acknowledged", 100_000),
    ("reads checked", 20_000),
    ("commits", 100_000),
    ("elections", 2000),
    ("DIFF", 3000),
    ("TRUNC", 20),
    ("SNAP", 200),
    ("sessions re-opened", 2000),
    ("clients moved on", 100),
    ("restarts", 3000),
    ("leaders killed", 2000),
    ("kills", 200),
    ("power cuts", 200),
    ("power cuts by strikes", 50),
    ("kills by strikes", 20),
    ("stopped by errors", 10),
    ("struck during recovery", 5),
    ("pauses", 200),
    ("slow disks", 200),
    ("hanging disks", 200),
    ("partitions", 500),
    ("partitions one way", 200),
    ("clogs", 200),
    ("slow ways", 200),
    ("breaks", 200),
    ("losses", 200),
    ("clock jumps", 200),
    ("input left", 100),
];

#[test]
fn a_block_of_seeds_of_members_loses_nothing_and_does_something() {
    match env_number("ZKD_SIM_MEMBERS") {
        Some(seed) => tell_seed(seed),
        None => check_block(),
    }
}

/// What one seed is and what came of it.
fn tell_seed(seed: u64) {
    let outcome = check_seed(seed);
    println!("{:?}\n{}{:?}", Plan::of_seed(seed), outcome.tail, outcome.counters);
}

fn check_block() {
    let seeds = env_number("ZKD_SIM_SEEDS").unwrap_or(60);
    let first = env_number("ZKD_SIM_FIRST").unwrap_or(1);
    let mut totals: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut served_ms = Vec::new();
    for seed in first..first + seeds {
        let outcome = check_seed(seed);
        served_ms.push(outcome.served_ms);
        for (what, n) in outcome.counters {
            *totals.entry(what).or_default() += n;
        }
    }
    println!("{seeds} plans of members, the first of seed {first}: {totals:?}");
    served_ms.sort_unstable();
    println!(
        "ms to serve all: {:?}, at most {:?}",
        served_ms[served_ms.len() / 2],
        served_ms.last()
    );
    for (what, floor) in FLOORS {
        let n = totals.get(what).copied().unwrap_or(0);
        assert!(n * 1000 >= floor * seeds, "{what}: only {n} in {seeds} plans");
    }
}

/// What one process makes of a seed.
fn traces(seed: u64) -> String {
    let outcome = run(&Plan::of_seed(seed));
    let Outcome { violation, trace, files, served_ms, .. } = outcome;
    format!("seed {seed}: {trace:x} {files:x} {served_ms} {violation:?}")
}

#[test]
fn a_seed_of_members_run_twice_leaves_the_same_trace_and_files() {
    for seed in 1..4 {
        assert_eq!(traces(seed), traces(seed));
        assert_ne!(traces(seed), traces(seed + 100));
    }
}

/// Nothing hangs on where a process has its memory, or on what it was dealt by the system.
#[test]
fn a_seed_of_members_is_the_same_in_another_process() {
    const NAME: &str = "members::a_seed_of_members_is_the_same_in_another_process";
    let mine = format!("{}\n{}", traces(5), traces(6));
    if env_number("ZKD_SIM_TRACES").is_some() {
        return println!("traces {mine}");
    }
    let this = std::env::current_exe().expect("a path of its own");
    let other = Command::new(this)
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env("ZKD_SIM_TRACES", "1")
        .output()
        .expect("another process");
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(said.contains(&mine), "{mine}\nand elsewhere\n{said}");
}

#[test]
fn every_breakage_of_members_is_found() {
    let breakages = [
        (Breakage::NoSync, ""),
        (Breakage::AckBeforeSync, "positions"),
        (Breakage::EpochBeforeTxns, ""),
        (Breakage::AppendLost, ""),
        (Breakage::EpochForgotten, ""),
        (Breakage::VoteAboveDisk, "positions"),
    ];
    for (breakage, checker) in breakages {
        let finds = |seed: &u64| {
            let found = run_broken(&Plan::of_seed(*seed), breakage).violation;
            found.is_some_and(|violation| checker.is_empty() || kind(&violation) == checker)
        };
        let found = (1..=100).find(finds);
        println!("{breakage:?} found among members by seed {found:?}");
        assert!(found.is_some(), "{breakage:?} is not noticed");
    }
}

#[test]
fn a_failing_plan_of_members_becomes_small() {
    // Nothing but a pause is needed.
    let needed = |plan: &Plan| {
        plan.faults.iter().any(|timed| matches!(timed.fault, plan::Fault::Pause { .. }))
    };
    let seed = (1..).find(|seed| needed(&Plan::of_seed(*seed))).expect("there is one");
    let small = shrink::shrink(&Plan::of_seed(seed), needed);
    assert_eq!((small.faults.len(), small.bursts.len()), (1, 0));
    assert!(format!("{small:?}").contains("Fault::Pause { member: "));
}
