//! When connections are looked at again: one queue for each constant delay, so it is in order.

use std::collections::VecDeque;

use crate::base::{ConnId, Instant};

#[derive(Debug)]
pub struct Deadlines {
    delay_ms: u64,
    queue: VecDeque<(Instant, ConnId)>,
}

impl Deadlines {
    pub fn new(delay_ms: u64) -> Deadlines {
        Deadlines { delay_ms, queue: VecDeque::new() }
    }

    pub fn add(&mut self, conn: ConnId, now: Instant) {
        self.queue.push_back((now.plus_ms(self.delay_ms), conn));
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// The next connection whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_front().map(|(_, conn)| conn)
    }

    pub fn delay_ms(&self) -> u64 {
        self.delay_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_due_in_the_order_they_came_and_not_before() {
        let conn = |index| ConnId { index, generation: 1 };
        let mut deadlines = Deadlines::new(10);
        deadlines.add(conn(7), Instant(0));
        deadlines.add(conn(3), Instant(0).plus_ms(5));
        assert_eq!(deadlines.pop_due(Instant(0).plus_ms(9)), None);
        assert_eq!(deadlines.next(), Some(Instant(0).plus_ms(10)));
        assert_eq!(deadlines.pop_due(Instant(0).plus_ms(20)), Some(conn(7)));
        assert_eq!(deadlines.pop_due(Instant(0).plus_ms(20)), Some(conn(3)));
        assert_eq!(deadlines.next(), None);
    }
}
