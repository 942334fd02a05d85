//! Makes a failing plan small while the same checker fails.

use crate::plan::{Plan, Step};
use crate::simulation::run;
use crate::world::machine::Breakage;

/// The kind of a violation: its words up to the first colon.
fn kind(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

/// A smaller plan that still fails in the same way.
pub fn shrink(plan: &Plan, violation: &str, breakage: Breakage) -> Plan {
    let wanted = kind(violation).to_owned();
    let mut budget = 300u32;
    let mut fails = |candidate: &Plan| {
        if budget == 0 {
            return false;
        }
        budget -= 1;
        run(candidate, breakage).violation.is_some_and(|v| kind(&v) == wanted)
    };
    let mut best = plan.clone();
    let mut chunk = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + chunk).min(best.steps.len()));
            if fails(&candidate) { best = candidate } else { at += chunk }
        }
        if chunk == 1 {
            break;
        }
        chunk = chunk.div_ceil(2);
    }
    for at in (0..best.strikes.len()).rev() {
        let mut candidate = best.clone();
        candidate.strikes.remove(at);
        if fails(&candidate) {
            best = candidate;
        }
    }
    for at in 0..best.steps.len() {
        while let Step::Burst { client, ops } = &best.steps[at]
            && ops.len() > 1
        {
            let mut candidate = best.clone();
            let half = ops[..ops.len() / 2].to_vec();
            candidate.steps[at] = Step::Burst { client: *client, ops: half };
            if !fails(&candidate) {
                break;
            }
            best = candidate;
        }
    }
    best
}
