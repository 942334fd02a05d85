//! How long turns take: the figure on which every other latency of the server rests.

use rustix::time::{ClockId, clock_gettime};

/// Tells of turns that cost the reactor thread more CPU than an operator wants to see.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// `None`: nobody asked, and nothing is measured.
    threshold_us: Option<u64>,
    begun: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    cpu_us: u64,
    wall_us: u64,
}

impl Reading {
    fn now() -> Reading {
        Reading { cpu_us: us(ClockId::ThreadCPUTime), wall_us: us(ClockId::Monotonic) }
    }
}

fn us(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

impl Pace {
    pub fn tell_above(&mut self, threshold_us: u64) {
        self.threshold_us = Some(threshold_us);
    }

    /// The poll has returned.
    pub fn begin(&mut self) {
        if self.threshold_us.is_some() {
            self.begun = Some(Reading::now());
        }
    }

    /// The turn is over; `events` is what it had to do.
    pub fn end(&mut self, events: usize) {
        let (Some(threshold_us), Some(begun)) = (self.threshold_us, self.begun.take()) else {
            return;
        };
        let ended = Reading::now();
        let cpu_us = ended.cpu_us - begun.cpu_us;
        if cpu_us >= threshold_us {
            let wall_us = ended.wall_us - begun.wall_us;
            log::info!(
                "A turn took {cpu_us} us of CPU ({wall_us} us of wall time), {events} events"
            );
        }
    }
}
