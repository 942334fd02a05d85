//! The only caller of the machine's clocks.

use rustix::time::{ClockId, clock_gettime};

use crate::base::{Instant, Now, WallMillis};

/// Both clocks as values, read once a turn.
#[derive(Debug, Default)]
pub struct Clock {
    last: Instant,
}

impl Clock {
    /// Boot time counts what a suspended machine slept, so sessions see that gap.
    pub fn read(&mut self) -> Now {
        let boot = clock_gettime(ClockId::Boottime);
        let mono = Instant(boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64);
        assert!(mono >= self.last, "the monotonic clock of this machine went backwards");
        self.last = mono;
        let wall = clock_gettime(ClockId::Realtime);
        Now { mono, wall: WallMillis(wall.tv_sec * 1000 + wall.tv_nsec / 1_000_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_show_time_that_passes() {
        let mut clock = Clock::default();
        let first = clock.read();
        let second = clock.read();
        assert!(second.mono >= first.mono && first.mono > Instant(0));
        assert!(first.wall.0 > 1_600_000_000_000, "milliseconds since 1970");
    }

    #[test]
    #[should_panic(expected = "went backwards")]
    fn a_monotonic_clock_that_goes_back_ends_the_process() {
        Clock { last: Instant(u64::MAX) }.read();
    }
}
