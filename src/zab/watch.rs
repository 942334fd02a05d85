//! Whether a learner still hears its leader, and whether it still lives itself.

use crate::base::Instant;

use super::learner_end::LearnerEnd;

#[derive(Debug)]
pub(super) struct Watch {
    heard: Instant,
    looked: Instant,
    silence_ms: u64,
    stall_ms: u64,
    tick_ms: u64,
}

impl Watch {
    pub fn new(now: Instant, silence_ms: u64, stall_ms: u64, tick_ms: u64) -> Watch {
        Watch { heard: now, looked: now, silence_ms, stall_ms, tick_ms }
    }

    /// The leader may be silent for so long from now on.
    pub fn set_silence(&mut self, now: Instant, silence_ms: u64) {
        self.silence_ms = silence_ms;
        self.heard = now;
    }

    /// Something came from the leader, or it is not its fault that nothing did.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Asked with every input: it is never later than a tick, unless this server stood still.
    pub fn look(&mut self, now: Instant) -> Result<(), LearnerEnd> {
        let ms = now.ms_since(self.looked);
        self.looked = now;
        if ms >= self.stall_ms.max(self.tick_ms + 1) {
            return Err(LearnerEnd::Stalled { ms });
        }
        Ok(())
    }

    pub fn on_time(&self, now: Instant) -> Result<(), LearnerEnd> {
        if now.ms_since(self.heard) >= self.silence_ms {
            return Err(LearnerEnd::Silent { limit_ms: self.silence_ms });
        }
        Ok(())
    }

    pub fn next_timeout(&self) -> Instant {
        self.heard.plus_ms(self.silence_ms).min(self.looked.plus_ms(self.tick_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(0).plus_ms(ms)
    }

    #[test]
    fn silence_is_counted_from_the_last_word() {
        let mut watch = Watch::new(at(0), 500, 500, 100);
        watch.hear(at(300));
        assert_eq!(watch.on_time(at(799)), Ok(()));
        assert_eq!(watch.on_time(at(800)), Err(LearnerEnd::Silent { limit_ms: 500 }));
        watch.set_silence(at(800), 1000);
        assert_eq!(watch.on_time(at(1799)), Ok(()));
    }

    #[test]
    fn a_server_that_stood_still_knows_by_the_next_input() {
        let mut watch = Watch::new(at(0), 5000, 500, 100);
        assert_eq!(watch.next_timeout(), at(100));
        assert_eq!(watch.look(at(100)), Ok(()));
        assert_eq!(watch.look(at(599)), Ok(()));
        assert_eq!(watch.look(at(1099)), Err(LearnerEnd::Stalled { ms: 500 }));
    }
}
