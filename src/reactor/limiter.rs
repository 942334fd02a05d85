//! Warnings that outside behaviour can cause are bounded in rate, and say what they left out.

use crate::base::{Instant, limits::WARNINGS_PER_SECOND};

/// One kind of warning: so many a second, the others counted.
#[derive(Debug, Default)]
pub struct Limiter {
    second: u64,
    written: u32,
    left_out: u64,
}

/// A warning that may be written, with how many of its kind were not since the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    pub left_out: u64,
}

impl std::fmt::Display for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.left_out {
            0 => Ok(()),
            n => write!(f, " ({n} more of this kind before)"),
        }
    }
}

impl Limiter {
    pub fn permit(&mut self, now: Instant) -> Option<Permit> {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.written = 0;
        }
        if self.written >= WARNINGS_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(Permit { left_out: std::mem::take(&mut self.left_out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_few_lines_a_second_and_counts_the_rest() {
        let mut limiter = Limiter::default();
        let permitted = (0..100).filter(|_| limiter.permit(Instant(5)).is_some()).count();
        assert_eq!(permitted, WARNINGS_PER_SECOND as usize);
        let next = limiter.permit(Instant(5).plus_ms(1000)).expect("a new second");
        assert_eq!(next.left_out, 100 - u64::from(WARNINGS_PER_SECOND));
        assert_eq!(next.to_string(), " (95 more of this kind before)");
        assert_eq!(limiter.permit(Instant(5).plus_ms(1001)), Some(Permit { left_out: 0 }));
    }
}
