//! Makes a failing plan of elections small while the same checker fails.

use super::cluster::run;
use super::plan::{Fault, Kind, Plan, Timed};

/// The kind of a violation: its words up to the first colon.
pub fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// So many candidates are tried.
const TRIES: u32 = 400;

/// A smaller plan that still fails in the same way.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut tries = TRIES;
    let mut try_it = |best: &mut Plan, candidate: Plan| {
        if tries == 0 || candidate == *best || candidate.members.is_empty() {
            return false;
        }
        tries -= 1;
        let is_better = fails(&candidate);
        if is_better {
            *best = candidate;
        }
        is_better
    };
    fewer_faults(&mut best, &mut try_it);
    fewer_members(&mut best, &mut try_it);
    simpler(&mut best, &mut try_it);
    fewer_faults(&mut best, &mut try_it);
    best
}

/// Whether a plan fails by the same checker.
pub fn fails_like(violation: &str) -> impl FnMut(&Plan) -> bool {
    let wanted = kind(violation).to_owned();
    move |plan: &Plan| has_quorum(plan) && run(plan).violation.is_some_and(|v| kind(&v) == wanted)
}

/// Whether those who are to agree can.
fn has_quorum(plan: &Plan) -> bool {
    let core = plan.core.iter().copied().filter(|at| plan.members[*at].is_whole());
    plan.is_enough(&core.collect())
}

type TryIt<'t> = &'t mut dyn FnMut(&mut Plan, Plan) -> bool;

/// Leaves faults out, in chunks that get smaller.
fn fewer_faults(best: &mut Plan, try_it: TryIt<'_>) {
    let mut chunk = best.faults.len().max(1);
    loop {
        let mut at = 0;
        while at < best.faults.len() {
            let mut candidate = best.clone();
            candidate.faults.drain(at..(at + chunk).min(best.faults.len()));
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

fn fewer_members(best: &mut Plan, try_it: TryIt<'_>) {
    for place in (0..best.members.len()).rev() {
        if let Some(candidate) = without(best, place) {
            try_it(best, candidate);
        }
    }
}

/// The plan without one member and without what concerns it, if there is one then.
pub fn without(plan: &Plan, place: usize) -> Option<Plan> {
    let mut smaller = plan.clone();
    smaller.members.remove(place);
    smaller.core = renumbered(&plan.core, place);
    smaller.faults = plan.faults.iter().filter_map(|timed| fault_without(timed, place)).collect();
    has_quorum(&smaller).then_some(smaller)
}

fn renumbered(places: &[usize], gone: usize) -> Vec<usize> {
    let others = places.iter().filter(|place| **place != gone);
    others.map(|place| place - usize::from(*place > gone)).collect()
}

fn fault_without(timed: &Timed, gone: usize) -> Option<Timed> {
    let mut timed = timed.clone();
    let concerned: Vec<&mut usize> = match &mut timed.fault {
        Fault::Kill { member, .. }
        | Fault::PowerCut { member, .. }
        | Fault::Pause { member, .. }
        | Fault::Dawdle { member, .. }
        | Fault::Nameless { member, .. }
        | Fault::Move { member, .. } => vec![member],
        Fault::Clog { from, to, .. } | Fault::Slow { from, to, .. } => vec![from, to],
        Fault::Break { a, b, .. } | Fault::Lose { a, b, .. } => vec![a, b],
        Fault::Txns { .. } => Vec::new(),
        Fault::Partition { side, .. } => {
            *side = renumbered(side, gone);
            if side.is_empty() {
                return None;
            }
            Vec::new()
        }
    };
    for place in concerned {
        if *place == gone {
            return None;
        }
        *place -= usize::from(*place > gone);
    }
    Some(timed)
}

/// Puts plain values in the place of odd ones, one after the other.
fn simpler(best: &mut Plan, try_it: TryIt<'_>) {
    let changes: [fn(&mut Plan); 12] = [
        |plan| plan.has_two_addresses = false,
        |plan| plan.is_grouped = false,
        |plan| plan.spread_us = 0,
        |plan| plan.least_us = 100,
        |plan| plan.capacity = 1 << 16,
        |plan| plan.accept_queue = 50,
        |plan| plan.look_up_ms = 0,
        |plan| plan.open_ms = 0,
        |plan| plan.members.iter_mut().for_each(|member| member.ahead_ms = 0),
        |plan| plan.members.iter_mut().for_each(|member| member.start_ms = 0),
        |plan| plan.core = (0..plan.members.len()).collect(),
        |plan| plan.members.iter_mut().for_each(|m| (m.zxid, m.epoch) = (0x1_0000_0005, 1)),
    ];
    for change in changes {
        let mut candidate = best.clone();
        change(&mut candidate);
        try_it(best, candidate);
    }
    for place in 0..best.members.len() {
        let mut candidate = best.clone();
        candidate.members[place].kind = Kind::Zkd;
        try_it(best, candidate);
    }
    let last_ms = best.faults.iter().map(|timed| timed.at_ms).max().unwrap_or(0);
    let mut candidate = best.clone();
    candidate.calm_ms = last_ms + 1;
    try_it(best, candidate);
}
