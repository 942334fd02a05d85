//! Brakes: how many sessions may be made a moment, how many warnings written.

use crate::base::{Instant, Rng, limits};
use crate::proto::ConnectRequest;

use super::conns::Pauses;
use super::settings::Settings;

/// Lets a bounded number of lines a second through.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    second: u64,
    admitted: u32,
}

impl RateLimit {
    pub fn admits(&mut self, now: Instant) -> bool {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.admitted = 0;
        }
        self.admitted += 1;
        self.admitted <= limits::WARNINGS_PER_SECOND
    }
}

/// Java's BlueThrottle: a token bucket with a probability of dropping that rises while it is
/// empty and falls while it fills.
#[derive(Debug)]
pub(super) struct ConnectThrottle {
    settings: super::settings::ConnectThrottleSettings,
    tokens: i64,
    last_fill: Instant,
    last_freeze: Instant,
    drop_chance: f64,
    rng: Rng,
}

impl ConnectThrottle {
    pub fn new(settings: &Settings, now: Instant, seed: u64) -> ConnectThrottle {
        ConnectThrottle {
            settings: settings.connect_throttle.clone(),
            tokens: settings.connect_throttle.tokens,
            last_fill: now,
            last_freeze: now,
            drop_chance: 0.0,
            rng: Rng::new(seed),
        }
    }

    pub fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    /// Tokens that are missing from a full bucket.
    pub fn deficit(&self) -> u64 {
        u64::try_from(self.settings.tokens.saturating_sub(self.tokens)).unwrap_or(0)
    }

    /// Whether a handshake may go on. Off where no tokens are configured.
    pub fn admits(&mut self, request: &ConnectRequest<'_>, now: Instant) -> bool {
        let s = &self.settings;
        if s.tokens <= 0 {
            return true;
        }
        let cost = match (s.weighted, request.session.0) {
            (false, _) => 1,
            (true, 0) => s.new_weight,
            (true, _) => s.renew_weight,
        };
        let elapsed_ms = now.ms_since(self.last_fill);
        if elapsed_ms > s.fill_ms {
            let refill = elapsed_ms.saturating_mul(s.fill_count) / s.fill_ms.max(1);
            let refill = i64::try_from(refill).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_add(refill).min(s.tokens);
            self.last_fill = now;
        }
        if self.is_dropped(now) || self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    /// The drawn part: off where no freeze time is configured.
    fn is_dropped(&mut self, now: Instant) -> bool {
        let s = &self.settings;
        let Some(freeze_ms) = s.freeze_ms else { return false };
        if now.ms_since(self.last_freeze) > freeze_ms {
            let used = s.tokens - self.tokens;
            if used == s.tokens {
                self.drop_chance = (self.drop_chance + s.drop_increase).min(1.0);
            } else if used as f64 <= (s.tokens as f64 * s.decrease_ratio).round() {
                self.drop_chance = (self.drop_chance - s.drop_decrease).max(0.0);
            }
            self.last_freeze = now;
        }
        let draw = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        draw < self.drop_chance
    }
}

/// Requests that have no answer yet, on the whole server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub total: usize,
    /// Of these, the ones of connections that do not take their replies. They hold nobody back:
    /// one client that does not read must not cost the others their turn.
    pub unread: usize,
}

impl Outstanding {
    pub fn more(&mut self, pauses: Pauses, count: usize) {
        self.total += count;
        if pauses.has(Pauses::BACKLOG) {
            self.unread += count;
        }
    }

    pub fn less(&mut self, pauses: Pauses, count: usize) {
        self.total -= count;
        if pauses.has(Pauses::BACKLOG) {
            self.unread -= count;
        }
    }

    /// What the limit on the whole server is for.
    pub fn in_process(self) -> usize {
        self.total - self.unread
    }
}
