//! Elections over the simulated network: members of zkd, each a mesh and an election machine behind
//! the readers of the peers' language, and members that do as Java does. A seed is a plan; a
//! failing plan shrinks to a scenario that can be pasted beside the others.
//!
//! A fifth of `ZKD_SIM_SECONDS` bounds the fresh seeds; `ZKD_SIM_FIRST` and `ZKD_SIM_SEEDS` choose
//! a block of them instead. `ZKD_SIM_ELECTION` runs one seed and prints what happened, with
//! `ZKD_SIM_HEARD` that many lines of it and what was heard among them.

mod check;
mod cluster;
mod following;
mod history;
mod java;
mod java_links;
mod leading;
mod member;
mod plan;
mod role;
mod scenario;
pub mod shrink;
mod voter;
mod wires;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::env_number;
use cluster::{Breakage, Outcome, run, run_broken};
use plan::{Kind, Plan};

/// Runs one seed; a violation is shrunk and told.
fn check_seed(seed: u64) -> Outcome {
    let plan = Plan::of_seed(seed);
    let outcome = run(&plan);
    if let Some(violation) = &outcome.violation {
        let small = shrink::shrink(&plan, shrink::fails_like(violation));
        let again = run(&small);
        let (shows, tail) = (again.violation, again.tail);
        panic!("seed {seed}: {violation}\nshrunk to\n{small:?}\nwhich shows: {shows:?}\n{tail}");
    }
    outcome
}

#[test]
fn known_seeds_of_elections_stay_green() {
    for line in include_str!("seeds.txt").lines() {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(seed) = seed {
            check_seed(seed);
        }
    }
}

/// What a thousand plans have at least of each.
const FLOORS: [(&str, u64); 26] = [
    ("elections", 5000),
    ("ensembles joined", 500),
    ("elections opened again", 20),
    ("roles established", 5000),
    ("restarts", 1000),
    ("votes of older rounds", 500),
    ("connections made", 10_000),
    ("dials refused", 1000),
    ("dials unanswered", 100),
    ("opening packets lost", 300),
    ("accept queues full", 20),
    ("writers held up", 1000),
    ("half reads", 500),
    ("streams given up", 100),
    ("kills", 200),
    ("power cuts", 200),
    ("pauses", 200),
    ("partitions", 500),
    ("partitions one way", 200),
    ("clogs", 200),
    ("slow ways", 200),
    ("breaks", 200),
    ("losses", 200),
    ("slow readers", 200),
    ("names lost", 200),
    ("moves", 200),
];

#[test]
fn any_seeds_of_elections_agree_and_do_something() {
    if let Some(seed) = env_number("ZKD_SIM_ELECTION") {
        let outcome = check_seed(seed);
        println!("{:?}\n{}{:?}", Plan::of_seed(seed), outcome.tail, outcome.counters);
        assert_eq!(outcome.violation, None);
    }
    let (asked, wanted) = (env_number("ZKD_SIM_FIRST"), env_number("ZKD_SIM_SEEDS"));
    let first = asked.unwrap_or(u64::from(std::process::id()) * 1_000_000);
    let time = if asked.is_some() { 0 } else { env_number("ZKD_SIM_SECONDS").unwrap_or(20) / 5 };
    let (began, time) = (Instant::now(), Duration::from_secs(time));
    let mut totals: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut agreed_ms, mut failed, mut alone, mut seeds) = (Vec::new(), Vec::new(), 0, 0);
    while seeds < wanted.unwrap_or(200) || began.elapsed() < time {
        let seed = first + 1 + seeds;
        seeds += 1;
        let plan = Plan::of_seed(seed);
        let outcome = run(&plan);
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            failed.push(seed);
            continue;
        }
        agreed_ms.push(outcome.agreed_ms);
        alone += u64::from(plan.members.iter().all(|member| member.kind == Kind::Zkd));
        for (what, n) in outcome.counters {
            *totals.entry(what).or_default() += n;
        }
    }
    println!("{seeds} plans of elections, {alone} without Java, from seed {first}: {totals:?}");
    agreed_ms.sort_unstable();
    let at = |part: usize| agreed_ms.get(agreed_ms.len() * part / 1000).or(agreed_ms.last());
    println!("ms to agree: median {:?}, 99.9 % {:?}", at(500), at(999));
    if let Some(seed) = failed.first() {
        println!("{failed:?} have failed");
        check_seed(*seed);
    }
    for (what, floor) in FLOORS {
        let n = totals.get(what).copied().unwrap_or(0);
        // What is rare is not in each handful of them.
        let is_enough = n * 1000 >= floor * seeds || floor * seeds < 10_000;
        assert!(is_enough, "{what}: only {n} in {seeds} plans");
    }
}

#[test]
fn a_seed_of_elections_run_twice_leaves_the_same_trace() {
    for seed in 1..20 {
        let plan = Plan::of_seed(seed);
        let (one, two) = (run(&plan), run(&plan));
        assert_eq!((one.trace, one.agreed_ms), (two.trace, two.agreed_ms), "seed {seed}");
        assert_ne!(one.trace, run(&Plan::of_seed(seed + 100)).trace);
    }
}

#[test]
fn every_breakage_of_elections_is_found_within_500_seeds() {
    let breakages = [
        (Breakage::JavaIsHasty, "early"),
        (Breakage::EpochForgotten, "disk"),
        (Breakage::VoteAboveDisk, "best"),
        (Breakage::NoRedial, "liveness"),
    ];
    for (breakage, checker) in breakages {
        let finds = |seed: &u64| {
            let found = run_broken(&Plan::of_seed(*seed), breakage).violation;
            found.is_some_and(|violation| shrink::kind(&violation) == checker)
        };
        let found = (1..=500).find(finds);
        println!("{breakage:?} found in elections by seed {found:?}");
        assert!(found.is_some(), "{breakage:?} is not noticed");
    }
}

#[test]
fn a_failing_plan_becomes_small_and_fails_still() {
    // Any election at all is the failure, and a pause what it needs.
    let needed = |plan: &Plan| {
        let pauses = |timed: &plan::Timed| matches!(timed.fault, plan::Fault::Pause { .. });
        plan.faults.iter().any(pauses) && plan.members.len() > 1
    };
    let seed = (1..).find(|seed| needed(&Plan::of_seed(*seed))).expect("there is one");
    let small = shrink::shrink(&Plan::of_seed(seed), needed);
    assert_eq!((small.faults.len(), small.members.len()), (1, 2));
    assert!(small.members.iter().all(|member| member.kind == Kind::Zkd));
    assert!(format!("{small:?}").contains("Fault::Pause { member: "));
}
