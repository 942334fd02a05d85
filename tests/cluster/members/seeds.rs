//! Many seeds, on all cores: so many, or as many as a time allows. Each seed is a world of its own,
//! so what comes of them does not hang on who runs which; it is put together in their order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cluster::{Outcome, run};
use super::plan::Plan;
use crate::world::client::Violation;

/// A hash stands for so many seeds.
pub const BLOCK: u64 = 1000;

/// How many seeds are to be run.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub first: u64,
    pub at_least: u64,
    /// For so long there are more of them.
    pub time: Duration,
    pub threads: usize,
}

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Sum {
    pub seeds: u64,
    pub counters: BTreeMap<&'static str, u64>,
    /// The least that any plan had.
    pub least: BTreeMap<&'static str, u64>,
    pub served_ms: Vec<u64>,
    /// Of each whole block, the first one's first.
    pub hashes: Vec<u64>,
    /// The first seed that shows something, and what.
    pub failed: Option<(u64, Violation)>,
}

/// What every plan has some of.
const EACH: [&str; 3] = ["operations", "faults", "elections"];

struct Running {
    wanted: Wanted,
    began: Instant,
    next: AtomicU64,
    /// No seed from here on is begun.
    end: AtomicU64,
    done: Mutex<Done>,
}

struct Done {
    /// Those that wait for one before them.
    waiting: BTreeMap<u64, Outcome>,
    next: u64,
    hash: u64,
    sum: Sum,
}

pub fn run_all(wanted: Wanted) -> Sum {
    let running = Running {
        wanted,
        began: Instant::now(),
        next: AtomicU64::new(wanted.first),
        end: AtomicU64::new(u64::MAX),
        done: Mutex::new(Done {
            waiting: BTreeMap::new(),
            next: wanted.first,
            hash: 0,
            sum: Sum::default(),
        }),
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(|| running.work());
        }
    });
    let Done { waiting, sum, .. } = running.done.into_inner().expect("nobody has panicked");
    assert!(waiting.is_empty() || sum.failed.is_some(), "all are in their order");
    sum
}

impl Running {
    fn work(&self) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let is_wanted = seed < self.wanted.first + self.wanted.at_least;
            let has_time = self.began.elapsed() < self.wanted.time;
            if !(is_wanted || has_time) {
                self.end.fetch_min(seed, Ordering::Relaxed);
            }
            if seed >= self.end.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run(&Plan::of_seed(seed));
            if outcome.violation.is_some() {
                self.end.fetch_min(seed + 1, Ordering::Relaxed);
            }
            let done = &mut *self.done.lock().expect("nobody has panicked");
            done.waiting.insert(seed, outcome);
            done.take_in_order(self);
        }
    }
}

impl Done {
    fn take_in_order(&mut self, running: &Running) {
        while let Some(outcome) = self.waiting.remove(&self.next) {
            let seed = self.next;
            self.next += 1;
            if self.sum.failed.is_none() {
                self.take(seed, outcome, running);
            }
        }
    }

    fn take(&mut self, seed: u64, outcome: Outcome, running: &Running) {
        let sum = &mut self.sum;
        if let Some(violation) = outcome.violation {
            sum.failed = Some((seed, violation));
            return;
        }
        sum.seeds += 1;
        sum.served_ms.push(outcome.served_ms);
        for what in EACH {
            let n = outcome.counters.get(what).copied().unwrap_or(0);
            sum.least.entry(what).and_modify(|least| *least = n.min(*least)).or_insert(n);
        }
        for (what, n) in outcome.counters {
            *sum.counters.entry(what).or_default() += n;
        }
        self.hash = mixed(self.hash, [outcome.trace, outcome.files, outcome.served_ms]);
        if sum.seeds % BLOCK == 0 {
            let hash = std::mem::take(&mut self.hash);
            sum.hashes.push(hash);
            let (from, rate) = (seed + 1 - BLOCK, rate(sum.seeds, running.began));
            println!("block of {from} to {seed}: {hash:016x}, {rate:.1} seeds/s");
        }
    }
}

pub fn rate(seeds: u64, began: Instant) -> f64 {
    seeds as f64 / began.elapsed().as_secs_f64().max(0.001)
}

fn mixed(hash: u64, parts: [u64; 3]) -> u64 {
    let mix = |hash: u64, part: &u64| {
        let turned = (hash ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        turned ^ turned >> 29
    };
    parts.iter().fold(hash, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ten(threads: usize) -> Sum {
        run_all(Wanted { first: 11, at_least: 10, time: Duration::ZERO, threads })
    }

    #[test]
    fn what_comes_of_seeds_does_not_hang_on_who_runs_them() {
        let (one, three) = (of_ten(1), of_ten(3));
        assert_eq!((one.seeds, three.seeds), (10, 10));
        assert_eq!(one.served_ms, three.served_ms);
        assert_eq!(one.counters, three.counters);
        assert_eq!((one.failed, three.failed), (None, None));
    }

    #[test]
    fn a_hash_tells_which_seed_came_first() {
        let (one, two) = ([1, 2, 3], [4, 5, 6]);
        let mix = |first, second| mixed(mixed(0, first), second);
        assert_ne!(mix(one, two), mix(two, one));
        assert_ne!(mixed(0, [1, 2, 3]), mixed(0, [2, 1, 3]));
    }
}
