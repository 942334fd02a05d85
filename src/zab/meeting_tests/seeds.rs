//! Worlds by their seeds: nothing goes wrong while things break, and all come to one history when
//! nothing breaks any more.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::base::{Instant, Rng};

use super::checks::Counts;
use super::{Breakage, Shape, World};

const SAFETY_MS: u64 = 6000;
const LIVENESS_MS: u64 = 12_000;
const SEEDS: u64 = 120;

fn shape(rng: &mut Rng, breakage: Option<Breakage>) -> Shape {
    let pick = |rng: &mut Rng, values: [u64; 3]| values[rng.below(3) as usize];
    Shape {
        voters: if rng.below(3) == 0 { 5 } else { 3 },
        observers: rng.below(3) as usize,
        delay_us: pick(rng, [300, 3000, 15_000]),
        disk_us: pick(rng, [200, 2000, 10_000]),
        room: pick(rng, [300, 3000, 100_000]) as usize,
        is_choppy: rng.below(2) == 0,
        ring_bytes: pick(rng, [0, 3000, 100_000]) as usize,
        hold_back: pick(rng, [0, 4, 500]) as usize,
        force_snap: rng.below(8) == 0,
        names_epochs: rng.below(2) == 0,
        sends_files: rng.below(2) == 0,
        client_ms: pick(rng, [5, 20, 60]),
        breakage,
    }
}

/// One world, from its seed to its end.
fn live(seed: u64, breakage: Option<Breakage>, world: &mut Option<World>, is_traced: bool) {
    let mut rng = Rng::new(seed ^ 0x3ee7);
    let shape = shape(&mut rng, breakage);
    let world = world.insert(World::new(seed, shape));
    world.trace = is_traced.then(Vec::new);
    world.plan(&mut rng, SAFETY_MS);
    world.run_until(Instant(1).plus_ms(SAFETY_MS));
    world.shape.client_ms = 1_000_000;
    let is_whole = world.run_until_whole(LIVENESS_MS);
    assert!(is_whole, "they do not come together");
    // And they go on.
    world.shape.client_ms = 20;
    world.run_until(world.now.plus_ms(1500));
    world.shape.client_ms = 1_000_000;
    assert!(world.run_until_whole(LIVENESS_MS), "they do not stay together");
}

fn run(seed: u64, breakage: Option<Breakage>) -> World {
    let mut world = None;
    live(seed, breakage, &mut world, false);
    world.expect("it has lived")
}

/// The same, and where it fails its last steps are told.
fn run_or_tell(seed: u64) -> World {
    match catch_unwind(|| run(seed, None)) {
        Ok(world) => world,
        Err(panic) => {
            let mut world = None;
            let again = AssertUnwindSafe(|| live(seed, None, &mut world, true));
            let _ = catch_unwind(again);
            let world = world.expect("it was made");
            let trace = world.trace.unwrap_or_default();
            let from = trace.len().saturating_sub(150);
            eprintln!("seed {seed}, {:?}:\n{}", world.shape, trace[from..].join("\n"));
            resume_unwind(panic)
        }
    }
}

#[test]
fn leaders_and_learners_are_safe_and_come_together() {
    let mut counts = Counts::default();
    for seed in 0..SEEDS {
        let world = run_or_tell(seed);
        counts.add(&world.counts);
    }
    // The worlds did something.
    let Counts { elections, crashes, diffs, truncs, snaps, probes, log_reads, .. } = counts;
    assert!(elections > 250 && crashes > 200, "{elections} elections, {crashes} crashes");
    assert!(diffs > 800 && truncs > 10 && snaps > 250, "{diffs} {truncs} {snaps}");
    assert!(probes > 100 && log_reads > 1000, "{probes} probes, {log_reads} reads of the log");
    assert!(counts.writes > 10_000 && counts.syncs > 5000 && counts.reloads > 0);
    for reason in ["AckOverdue", "DiskHangs", "QuorumLost", "Replaced", "Silent", "Stalled"] {
        assert!(counts.reasons.contains_key(reason), "{reason} in {:?}", counts.reasons);
    }
}

/// How many worlds it takes to see that something is broken.
fn found_after(breakage: Breakage) -> Option<u64> {
    (0..60).find(|seed| catch_unwind(|| run(*seed, Some(breakage))).is_err())
}

#[test]
fn whatever_is_broken_shows() {
    use Breakage::*;
    let all = [
        DurableAtOnce,
        EpochFirst,
        LosesLastOfEpoch,
        CommitsAlone,
        CutsNothing,
        InstallsNothing,
        ImageLacksLast,
        ProbeKnowsAll,
        ElectsTheWorst,
        SyncsEarly,
    ];
    let found: Vec<_> = all.iter().map(|breakage| (breakage, found_after(*breakage))).collect();
    eprintln!("{found:?}");
    let hidden: Vec<_> = found.iter().filter(|(_, after)| after.is_none()).collect();
    assert!(hidden.is_empty(), "nobody sees {hidden:?}");
}
