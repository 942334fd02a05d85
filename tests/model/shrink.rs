//! Makes a failing sequence small: drops steps, then operations, as long as it still fails.

use std::time::{Duration, Instant};

use crate::generate::Step;

/// A failure that is not small by then is shown as it is.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn least(
    mut steps: Vec<Step>,
    again: impl Fn(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let start = Instant::now();
    let mut why = String::new();
    let mut attempt = |steps: &[Step]| {
        let failed = start.elapsed() < PATIENCE && !steps.is_empty();
        let found = if failed { again(steps) } else { None };
        found.map(|w| why = w).is_some()
    };
    steps = halved(steps, &mut attempt);
    for at in 0..steps.len() {
        let Step::Burst(slot, ops) = steps[at].clone() else { continue };
        let with = |ops: &[_]| {
            let mut changed = steps.clone();
            changed[at] = Step::Burst(slot, ops.to_vec());
            changed
        };
        let kept = halved(ops, &mut |ops| attempt(&with(ops)));
        steps[at] = Step::Burst(slot, kept);
    }
    (steps, why)
}

/// Drops ever smaller ranges.
fn halved<T: Clone>(mut all: Vec<T>, attempt: &mut impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut size = all.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < all.len() {
            let fewer = [&all[..from], &all[(from + size).min(all.len())..]].concat();
            if attempt(&fewer) {
                all = fewer;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    all
}
