//! Slots at a fixed rate, and a timer that a poll wakes up for, finer than its own timeout.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Slots at a rate are looked after so often, within reason.
const FINEST_NS: i64 = 50_000;
const COARSEST_NS: i64 = 100_000_000;

/// A slot later than this is missed, not used.
pub const PATIENCE_NS: u64 = 1_000_000_000;
/// Later than this is late.
const LATE_NS: u64 = 1_000_000;

/// When something is to begin, whatever became of what began before. Times are of one clock.
pub struct Slots {
    first: u64,
    apart_ns: f64,
    until_ns: u64,
    most: u64,
    come: u64,
    due: VecDeque<u64>,
    pub late: u64,
    pub missed: u64,
}

impl Slots {
    /// So many a second from `first` on, until a time or a number is reached.
    pub fn new(rate: f64, first: u64, until_ns: u64, most: u64) -> Slots {
        let (apart_ns, due) = (1e9 / rate, VecDeque::new());
        Slots { first, apart_ns, until_ns, most, come: 0, due, late: 0, missed: 0 }
    }

    /// What has become due by now is.
    pub fn look(&mut self, now: u64) {
        while self.come < self.most {
            let at = self.first + (self.come as f64 * self.apart_ns) as u64;
            if at > now || at >= self.until_ns {
                break;
            }
            self.due.push_back(at);
            self.come += 1;
        }
        while self.due.front().is_some_and(|at| now.saturating_sub(*at) > PATIENCE_NS) {
            self.due.pop_front();
            self.missed += 1;
        }
    }

    /// The longest due of those that are not missed.
    pub fn next(&mut self, now: u64) -> Option<u64> {
        let at = self.due.pop_front()?;
        self.late += u64::from(now.saturating_sub(at) > LATE_NS);
        Some(at)
    }

    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether none is due and none will be.
    pub fn is_over(&self, now: u64) -> bool {
        (now >= self.until_ns || self.come >= self.most) && self.due.is_empty()
    }
}

pub struct Ticker(OwnedFd);

impl Ticker {
    /// Ticks about as often as slots come.
    pub fn start(registry: &Registry, token: Token, slots: &Slots) -> Result<Ticker, String> {
        let told = |e: std::io::Error| format!("a timer: {e}");
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|e| told(e.into()))?;
        let every = (slots.apart_ns as i64).clamp(FINEST_NS, COARSEST_NS);
        let every = Timespec { tv_sec: 0, tv_nsec: every as _ };
        let times = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times).map_err(|e| told(e.into()))?;
        let raw = timer.as_raw_fd();
        registry.register(&mut SourceFd(&raw), token, Interest::READABLE).map_err(told)?;
        Ok(Ticker(timer))
    }

    /// An unread timer would not tell again; that it was read already is no matter.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    pub fn stop(self, registry: &Registry) -> Result<(), String> {
        let gone = registry.deregister(&mut SourceFd(&self.0.as_raw_fd()));
        gone.map_err(|e| format!("a timer: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// How many slots are used where so many find room at each look.
    fn used(slots: &mut Slots, looks: impl Iterator<Item = u64>, room: usize) -> Vec<u64> {
        let mut used = Vec::new();
        for now in looks {
            slots.look(now);
            used.extend((0..room).map_while(|_| slots.next(now)));
        }
        used
    }

    #[test]
    fn slots_come_evenly_until_the_time_or_the_number_is_reached() {
        let mut slots = Slots::new(1000.0, 5 * MS, 15 * MS, 100);
        let all = used(&mut slots, (0..20).map(|n| n * MS), 9);
        assert_eq!(all, (5..15).map(|n| n * MS).collect::<Vec<_>>());
        assert!(slots.is_over(20 * MS) && !Slots::new(1.0, 0, MS, 1).is_over(0));
        let mut slots = Slots::new(1000.0, 0, u64::MAX, 3);
        assert_eq!(used(&mut slots, (0..20).map(|n| n * MS), 9), [0, MS, 2 * MS]);
        assert_eq!((slots.late, slots.missed, slots.is_over(3 * MS)), (0, 0, true));
    }

    #[test]
    fn a_slot_that_waits_is_late_and_missed_after_a_second() {
        let mut slots = Slots::new(1000.0, 0, 10 * MS, 10);
        slots.look(2 * MS);
        assert_eq!((slots.next(2 * MS), slots.late), (Some(0), 1));
        assert_eq!((slots.next(2 * MS), slots.late), (Some(MS), 1));
        slots.look(PATIENCE_NS + 4 * MS + 1);
        assert_eq!((slots.missed, slots.is_due()), (3, true));
        let late = PATIENCE_NS + 4 * MS + 1;
        assert_eq!(std::iter::from_fn(|| slots.next(late)).count(), 5);
        assert!(slots.is_over(late));
    }
}
