//! Whole members in one world: the nodes, turns and storage of production on several machines,
//! joined by the simulated network, with clients that use any of them. A seed is a plan; a failing
//! plan shrinks to a scenario that can be pasted beside the others.
//!
//! `ZKD_SIM_SECONDS` bounds the fresh seeds. With `ZKD_SIM_FIRST` they are those from there on,
//! `ZKD_SIM_SEEDS` of them and no more: so `scripts/simulate` runs them. `ZKD_SIM_MEMBERS` runs one
//! seed and prints what happened.

mod agent;
mod bad;
mod breakage;
mod cluster;
mod faults;
mod known;
mod links;
mod lives;
mod machine;
mod plan;
mod promises;
mod record;
mod scenario;
mod seeds;
mod setup;
mod shrink;
mod tap;
mod threads;
mod twist;
mod whisper;
mod wires;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::elections::shrink::kind;
use crate::env_number;
use cluster::{Outcome, run, run_broken};
use machine::Breakage;
use plan::Plan;
use seeds::{BLOCK, Sum, Wanted};

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
const FLOORS: [(&str, u64); 34] = [
    ("faults", 5000),
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
    ("sessions expired", 100),
    ("events", 2000),
    ("watches set again", 200),
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
fn any_seeds_of_members_lose_nothing_and_do_something() {
    match env_number("ZKD_SIM_MEMBERS") {
        Some(seed) => tell_seed(seed),
        None => check_seeds(wanted()),
    }
}

/// What one seed is and what came of it.
fn tell_seed(seed: u64) {
    let outcome = check_seed(seed);
    println!("{:?}\n{}{:?}", Plan::of_seed(seed), outcome.tail, outcome.counters);
}

/// Those that were asked for, by all cores; else fresh ones, beside the other tests.
fn wanted() -> Wanted {
    let at_least = env_number("ZKD_SIM_SEEDS");
    match env_number("ZKD_SIM_FIRST") {
        Some(first) => Wanted {
            first,
            at_least: at_least.unwrap_or(BLOCK),
            time: Duration::ZERO,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        },
        None => Wanted {
            first: u64::from(std::process::id()) * 1_000_000,
            at_least: at_least.unwrap_or(40),
            time: Duration::from_secs(env_number("ZKD_SIM_SECONDS").unwrap_or(20)),
            threads: 1,
        },
    }
}

fn check_seeds(wanted: Wanted) {
    let began = Instant::now();
    let sum = seeds::run_all(wanted);
    let Sum { seeds, counters, least, mut served_ms, failed, .. } = sum;
    println!("{seeds} plans of members from {}: {counters:#?}", wanted.first);
    println!("{:.1} plans of members a second", seeds::rate(seeds, began));
    if let Some((seed, violation)) = failed {
        println!("seed {seed}: {violation}");
        check_seed(seed);
        panic!("seed {seed} has shown that once only: {violation}");
    }
    served_ms.sort_unstable();
    let (median, last) = (served_ms.get(served_ms.len() / 2), served_ms.last());
    println!(
        "ms to serve all: median {median:?}, at most {last:?}; the least of a plan: {least:?}"
    );
    assert!(least["operations"] >= 300 && least["faults"] >= 3, "a plan has at least: {least:?}");
    for (what, floor) in FLOORS {
        let n = counters.get(what).copied().unwrap_or(0);
        // What is rare is not in each handful of them.
        let is_enough = n * 1000 >= floor * seeds || floor * seeds < 10_000;
        assert!(is_enough, "{what}: only {n} in {seeds} plans");
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

/// Each mistake, the checkers that may notice it first, and a seed not far before one that shows
/// it. `scripts/records simulation` looks for it from the first seed on, and says which it is.
const FOUND: [(Breakage, &[&str], u64); 18] = [
    (Breakage::NoSync, &[], 1),
    (Breakage::AckBeforeSync, &["positions"], 1),
    (Breakage::EpochBeforeTxns, &[], 155),
    (Breakage::AppendLost, &[], 1),
    (Breakage::EpochForgotten, &[], 1),
    (Breakage::VoteAboveDisk, &["positions"], 1),
    (Breakage::ReplyBeforeCommit, &["positions"], 1),
    (Breakage::AckForeseen, &["positions"], 1),
    (Breakage::ContinuitySkipped, &["proposals"], 1),
    (Breakage::ExpiresEarly, &["sessions"], 1),
    (Breakage::TouchesLost, &["sessions"], 1),
    (Breakage::TouchesInvented, &["sessions"], 1),
    (Breakage::ImageAboveCommitted, &["positions"], 1),
    (Breakage::WatchLost, &["watch"], 1),
    (Breakage::WatchesForgotten, &["watch"], 1),
    (Breakage::EventTwice, &["watch"], 1),
    (Breakage::EventLate, &["watch"], 1),
    (Breakage::AnswersOvertake, &["order"], 1),
];

/// So many seeds find each.
const MOST_SEEDS: u64 = 2000;

#[test]
fn every_breakage_of_members_is_found() {
    if let Ok(name) = std::env::var("ZKD_SIM_BROKEN") {
        return tell_broken(&name);
    }
    let is_record = env_number("ZKD_SIM_BREAKAGES").is_some();
    let mut missed = Vec::new();
    for (breakage, checkers, near) in FOUND {
        let finds = |seed: &u64| {
            let found = run_broken(&Plan::of_seed(*seed), breakage).violation;
            let checker = found.as_deref().map(kind);
            checker.is_some_and(|checker| checkers.is_empty() || checkers.contains(&checker))
        };
        let first = if is_record { 1 } else { near };
        let found = (first..=MOST_SEEDS).find(finds);
        println!("{breakage:?} found among members by seed {found:?}");
        if found.is_none() {
            missed.push(breakage);
        }
    }
    assert!(missed.is_empty(), "{missed:?}: not noticed");
}

/// What the first seeds say of one mistake.
fn tell_broken(name: &str) {
    let breakage = Breakage::by_name(name).expect("a breakage's name");
    for seed in 1..=env_number("ZKD_SIM_SEEDS").unwrap_or(10) {
        let violation = run_broken(&Plan::of_seed(seed), breakage).violation;
        println!("{breakage:?} {seed}: {violation:?}");
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
