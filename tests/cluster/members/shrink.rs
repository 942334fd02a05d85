//! Makes a failing plan of an ensemble small while the same checker fails.

use super::cluster::{Outcome, run_broken};
use super::machine::Breakage;
use super::plan::Plan;
use crate::elections::shrink::kind;

/// So many candidates are tried.
const TRIES: u32 = 250;

/// Whether a plan fails by the same checker.
pub fn fails_like(violation: &str, breakage: Breakage) -> impl FnMut(&Plan) -> bool {
    let wanted = kind(violation).to_owned();
    move |plan: &Plan| {
        let Outcome { violation, .. } = run_broken(plan, breakage);
        violation.is_some_and(|violation| kind(&violation) == wanted)
    }
}

/// A smaller plan that still fails in the same way.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut tries = TRIES;
    let mut try_it = |best: &mut Plan, candidate: Plan| {
        if tries == 0 || candidate == *best {
            return false;
        }
        tries -= 1;
        let is_better = fails(&candidate);
        if is_better {
            *best = candidate;
        }
        is_better
    };
    fewer(&mut best, |plan| &mut plan.faults, &mut try_it);
    fewer(&mut best, |plan| &mut plan.bursts, &mut try_it);
    simpler(&mut best, &mut try_it);
    shorter_bursts(&mut best, &mut try_it);
    fewer(&mut best, |plan| &mut plan.faults, &mut try_it);
    best
}

type TryIt<'t> = &'t mut dyn FnMut(&mut Plan, Plan) -> bool;

/// Leaves items out, in chunks that get smaller.
fn fewer<T>(best: &mut Plan, items: fn(&mut Plan) -> &mut Vec<T>, try_it: TryIt<'_>) {
    let mut chunk = items(best).len().max(1);
    loop {
        let mut at = 0;
        while at < items(best).len() {
            let mut candidate = best.clone();
            let all = items(&mut candidate);
            all.drain(at..(at + chunk).min(all.len()));
            if !try_it(best, candidate) {
                at += chunk;
            }
        }
        if chunk == 1 {
            return;
        }
        chunk = chunk.div_ceil(2);
    }
}

fn shorter_bursts(best: &mut Plan, try_it: TryIt<'_>) {
    for at in 0..best.bursts.len() {
        while best.bursts[at].ops.len() > 1 {
            let mut candidate = best.clone();
            let half = best.bursts[at].ops.len() / 2;
            candidate.bursts[at].ops.truncate(half);
            if !try_it(best, candidate) {
                break;
            }
        }
    }
}

/// Puts plain values in the place of odd ones, one after the other.
fn simpler(best: &mut Plan, try_it: TryIt<'_>) {
    let changes: [fn(&mut Plan); 13] = [
        |plan| plan.spread_us = 0,
        |plan| plan.least_us = 100,
        |plan| plan.capacity = 1 << 16,
        |plan| plan.read_bytes = 1 << 16,
        |plan| plan.turn_us = 0,
        |plan| plan.accept_queue = 50,
        |plan| plan.sync_us = 300,
        |plan| plan.snap_count = 1000,
        |plan| plan.hold_back = 500,
        |plan| plan.pre_alloc_kib = 64,
        |plan| plan.ahead_ms.iter_mut().for_each(|ms| *ms = 0),
        |plan| plan.start_ms.iter_mut().for_each(|ms| *ms = 0),
        |plan| plan.core = (0..plan.members()).collect(),
    ];
    for change in changes {
        let mut candidate = best.clone();
        change(&mut candidate);
        try_it(best, candidate);
    }
    let faults = best.faults.iter().map(|timed| timed.at_ms);
    let last_ms = faults.chain(best.bursts.iter().map(|burst| burst.at_ms)).max().unwrap_or(0);
    let mut candidate = best.clone();
    candidate.calm_ms = last_ms + 1;
    try_it(best, candidate);
}
