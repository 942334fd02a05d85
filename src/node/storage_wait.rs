//! How long the log's oldest command has been waiting to be durable. A sync that hangs ends
//! nothing: reads go on, writes wait, and it is said once that they do and once that it is over.

use std::collections::VecDeque;

use crate::base::{Instant, Ticket};

#[derive(Debug)]
pub(super) struct StorageWait {
    limit_ms: u64,
    /// Commands that are not known durable, oldest first; bounded as the un-synced bytes are.
    handed_over: VecDeque<(Ticket, Instant)>,
    /// When what was told of was handed over.
    told_of: Option<Instant>,
}

impl StorageWait {
    pub fn new(limit_ms: u64) -> StorageWait {
        StorageWait { limit_ms, handed_over: VecDeque::new(), told_of: None }
    }

    pub fn on_command(&mut self, ticket: Ticket, now: Instant) {
        self.handed_over.push_back((ticket, now));
    }

    pub fn on_durable(&mut self, ticket: Ticket, now: Instant) {
        while self.handed_over.front().is_some_and(|(waiting, _)| *waiting <= ticket) {
            self.handed_over.pop_front();
        }
        if self.is_over_limit(now) {
            return;
        }
        if let Some(since) = self.told_of.take() {
            log::warn!("The log disk answers again after {} ms: writes go on", now.ms_since(since));
        }
    }

    /// Tells of a command that has been waiting for too long.
    pub fn look(&mut self, now: Instant) {
        if self.told_of.is_some() || !self.is_over_limit(now) {
            return;
        }
        self.told_of = self.oldest();
        log::error!(
            "The log disk has not answered for {} ms (syncLimit times tickTime is {} ms): writes \
             wait for it, reads and pings are answered",
            self.age_ms(now),
            self.limit_ms
        );
    }

    /// When `look` has something to say next.
    pub fn next_due(&self) -> Option<Instant> {
        let since = self.oldest().filter(|_| self.told_of.is_none())?;
        Some(since.plus_ms(self.limit_ms))
    }

    /// How long the oldest command has been waiting, while that is too long.
    pub fn hanging_ms(&self, now: Instant) -> Option<u64> {
        self.told_of.map(|_| self.age_ms(now))
    }

    /// Everything that was handed over is durable.
    pub fn is_idle(&self) -> bool {
        self.handed_over.is_empty()
    }

    fn oldest(&self) -> Option<Instant> {
        self.handed_over.front().map(|(_, since)| *since)
    }

    fn age_ms(&self, now: Instant) -> u64 {
        self.oldest().map_or(0, |since| now.ms_since(since))
    }

    fn is_over_limit(&self, now: Instant) -> bool {
        self.oldest().is_some_and(|since| now >= since.plus_ms(self.limit_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(0).plus_ms(ms)
    }

    #[test]
    fn a_hang_is_told_once_and_lasts_until_nothing_old_waits() {
        let mut wait = StorageWait::new(100);
        assert_eq!(wait.next_due(), None);
        wait.on_command(Ticket(1), at(0));
        wait.on_command(Ticket(2), at(50));
        wait.look(at(99));
        assert_eq!((wait.hanging_ms(at(99)), wait.next_due()), (None, Some(at(100))));
        wait.look(at(100));
        assert_eq!((wait.hanging_ms(at(130)), wait.next_due()), (Some(130), None));
        // What is the oldest now is not too old yet.
        wait.on_durable(Ticket(1), at(140));
        assert_eq!((wait.hanging_ms(at(140)), wait.next_due()), (None, Some(at(150))));
        wait.look(at(200));
        wait.on_command(Ticket(3), at(210));
        wait.on_durable(Ticket(1), at(220));
        assert_eq!(wait.hanging_ms(at(220)), Some(170), "it goes on");
        wait.on_durable(Ticket(3), at(230));
        assert_eq!((wait.hanging_ms(at(230)), wait.next_due()), (None, None));
    }
}
