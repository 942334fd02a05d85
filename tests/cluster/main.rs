//! The deterministic simulator: the real node and the real storage code on a machine whose disk
//! loses, tears and fails, in simulated time. A seed is a plan; a failing plan shrinks to a
//! scenario that can be pasted here.
//!
//! `ZKD_SIM_SECONDS` bounds the fresh seeds (20 s without it): whole members have all of it, one
//! server and elections a fifth each, beside them. `ZKD_SIM_SEEDS` says how many there are at
//! least; `ZKD_SIM_SEED` runs one seed.

mod by_hand;
mod elections;
mod hand;
mod members;
mod model;
mod plan;
mod register;
mod scenario;
mod shrink;
mod simulation;
mod situations;
mod tickets;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plan::Plan;
use simulation::run;
use world::machine::Breakage;

/// Runs one seed; a violation is shrunk and told.
fn check_seed(seed: u64, totals: &mut BTreeMap<&'static str, u64>) {
    let plan = Plan::of_seed(seed);
    let outcome = run(&plan, Breakage::None);
    if let Some(violation) = outcome.violation {
        let small = shrink::shrink(&plan, &violation, Breakage::None);
        let again = run(&small, Breakage::None).violation;
        panic!("seed {seed}: {violation}\nshrunk to\n{small:?}\nwhich shows: {again:?}");
    }
    for (what, n) in outcome.counters {
        *totals.entry(what).or_default() += n;
    }
}

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn known_seeds_stay_green() {
    let mut totals = BTreeMap::new();
    for line in include_str!("seeds.txt").lines() {
        let seed = line.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some(seed) = seed {
            check_seed(seed, &mut totals);
        }
    }
}

#[test]
fn fresh_seeds_lose_nothing_and_do_something() {
    if let Some(seed) = env_number("ZKD_SIM_SEED") {
        return check_seed(seed, &mut BTreeMap::new());
    }
    let limit = Duration::from_secs(env_number("ZKD_SIM_SECONDS").unwrap_or(20) / 5);
    let began = Instant::now();
    let first = std::process::id() as u64 * 1_000_000 + env_number("ZKD_SIM_FIRST").unwrap_or(0);
    let mut totals = BTreeMap::new();
    let mut seeds = 0;
    let wanted = env_number("ZKD_SIM_SEEDS").unwrap_or(40);
    while began.elapsed() < limit || seeds < wanted {
        check_seed(first + seeds, &mut totals);
        seeds += 1;
    }
    println!("{seeds} seeds from {first}: {totals:#?}");
    let of = |what| totals.get(what).copied().unwrap_or(0);
    assert!(of("operations") >= 200 * seeds, "a plan has at least 200 operations on average");
    let crashes = of("power cuts") + of("kills") + of("stopped by errors");
    assert!(crashes + of("struck during recovery") >= 2 * seeds, "two crashes a plan on average");
    for what in ["writes acknowledged", "reads checked", "events", "sessions re-opened"] {
        assert!(of(what) >= seeds, "{what}: only {} in {seeds} seeds", of(what));
    }
}

#[test]
fn a_seed_run_twice_leaves_the_same_trace_and_files() {
    for seed in 1..6 {
        let plan = Plan::of_seed(seed);
        let (one, two) = (run(&plan, Breakage::None), run(&plan, Breakage::None));
        assert_eq!((one.trace, one.files), (two.trace, two.files), "seed {seed}");
    }
}

#[test]
fn every_breakage_is_found_within_500_seeds() {
    let breakages = [
        Breakage::NoSync,
        Breakage::NoDirSync,
        Breakage::ReplyBeforeDurable,
        Breakage::RenameBeforeSync,
        Breakage::NoCut,
        Breakage::TornTailKept,
        Breakage::DamageCut,
    ];
    for breakage in breakages {
        let found = (1..=500).find(|seed| run(&Plan::of_seed(*seed), breakage).violation.is_some());
        println!("{breakage:?} found by seed {found:?}");
        assert!(found.is_some(), "{breakage:?} is not noticed");
    }
}
