//! Reaching a leader: all its addresses at once, each a few times. The first that answers is the
//! link.

use crate::base::Instant;

use super::learner_end::LearnerEnd;
use super::learner_seam::{LearnerOutput, LearnerSettings, LearnerTurn};

/// One address.
#[derive(Clone, Copy, Debug)]
struct Dial {
    stage: Stage,
    /// Tries that count, and when the last of them began.
    counted: u32,
    counted_at: Option<Instant>,
    /// How long the next try waits.
    backoff_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitAnswer,
    AwaitRetry(Instant),
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Dialling {
    retry_ms: u64,
    deadline: Instant,
    dials: Vec<Dial>,
}

impl Dialling {
    pub fn new(addresses: usize, settings: &LearnerSettings, turn: &mut LearnerTurn<'_>) -> Self {
        let retry_ms = settings.connect_retry_ms;
        let backoff_ms = FIRST_RETRY_MS.min(retry_ms);
        let begins = turn.now.plus_ms(settings.dial_pause_ms);
        let stage = Stage::AwaitRetry(begins);
        let dial = Dial { stage, counted: 0, counted_at: None, backoff_ms };
        let deadline = begins.plus_ms(settings.connect_limit_ms());
        let mut dialling = Dialling { retry_ms, deadline, dials: vec![dial; addresses] };
        dialling.dial_due(turn);
        dialling
    }

    fn dial_due(&mut self, turn: &mut LearnerTurn<'_>) {
        for address in 0..self.dials.len() {
            if let Stage::AwaitRetry(at) = self.dials[address].stage
                && at <= turn.now
            {
                self.dial(address, turn);
            }
        }
    }

    fn dial(&mut self, address: usize, turn: &mut LearnerTurn<'_>) {
        let within_ms = self.deadline.ms_since(turn.now);
        let dial = &mut self.dials[address];
        dial.stage = Stage::AwaitAnswer;
        // Tries in quick succession reach a port that is about to open. Java makes none, so they
        // are not what this server gives up by either.
        if dial.counted_at.is_none_or(|at| turn.now >= at.plus_ms(self.retry_ms)) {
            dial.counted += 1;
            dial.counted_at = Some(turn.now);
        }
        turn.push(LearnerOutput::Dial { address, within_ms });
    }

    /// The link is there: whatever else is under way is given up.
    pub fn on_dialed(&mut self, address: usize, turn: &mut LearnerTurn<'_>) {
        if let Some(dial) = self.dials.get_mut(address) {
            dial.stage = Stage::GivenUp;
        }
        self.give_up(turn);
    }

    pub fn give_up(&mut self, turn: &mut LearnerTurn<'_>) {
        for (address, dial) in self.dials.iter_mut().enumerate() {
            if dial.stage == Stage::AwaitAnswer {
                turn.push(LearnerOutput::HangUp { address });
            }
            dial.stage = Stage::GivenUp;
        }
    }

    pub fn on_failed(
        &mut self,
        address: usize,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let left_ms = self.deadline.ms_since(turn.now);
        if let Some(dial) = self.dials.get_mut(address)
            && dial.stage == Stage::AwaitAnswer
        {
            dial.stage = if left_ms <= self.retry_ms || dial.counted >= TRIES {
                Stage::GivenUp
            } else {
                Stage::AwaitRetry(turn.now.plus_ms(dial.backoff_ms))
            };
            dial.backoff_ms = (dial.backoff_ms * 2).min(self.retry_ms);
        }
        self.is_hopeful()
    }

    pub fn on_time(&mut self, turn: &mut LearnerTurn<'_>) -> Result<(), LearnerEnd> {
        if turn.now >= self.deadline {
            self.give_up(turn);
            return Err(LearnerEnd::NotReached);
        }
        self.dial_due(turn);
        self.is_hopeful()
    }

    fn is_hopeful(&self) -> Result<(), LearnerEnd> {
        let is_over = self.dials.iter().all(|dial| dial.stage == Stage::GivenUp);
        if is_over { Err(LearnerEnd::NotReached) } else { Ok(()) }
    }

    pub fn next_timeout(&self) -> Instant {
        let retries = self.dials.iter().filter_map(|dial| match dial.stage {
            Stage::AwaitRetry(at) => Some(at),
            Stage::AwaitAnswer | Stage::GivenUp => None,
        });
        retries.fold(self.deadline, Instant::min)
    }
}

/// Java's tries of one address.
const TRIES: u32 = 5;

/// A leader opens its port within milliseconds of its election.
const FIRST_RETRY_MS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::super::learner_tests::{at, follower_settings};
    use super::*;
    use crate::base::Ticket;

    /// What dialling asks for in one input.
    fn asked(now: Instant, input: impl FnOnce(&mut LearnerTurn<'_>)) -> Vec<LearnerOutput> {
        let (mut out, mut last_ticket) = (Vec::new(), Ticket(0));
        input(&mut LearnerTurn { now, last_ticket: &mut last_ticket, out: &mut out });
        out
    }

    fn begin(addresses: usize) -> (Dialling, Vec<LearnerOutput>) {
        let mut dialling = None;
        let out = asked(at(0), |turn| {
            dialling = Some(Dialling::new(addresses, &follower_settings(), turn));
        });
        (dialling.expect("begun"), out)
    }

    fn dial(address: usize, within_ms: u64) -> LearnerOutput {
        LearnerOutput::Dial { address, within_ms }
    }

    #[test]
    fn all_addresses_are_dialled_at_once_and_the_first_answer_wins() {
        let (mut dialling, out) = begin(3);
        assert_eq!(out, [dial(0, 20_000), dial(1, 20_000), dial(2, 20_000)]);
        asked(at(1), |turn| assert_eq!(dialling.on_failed(0, turn), Ok(())));
        let out = asked(at(2), |turn| dialling.on_dialed(1, turn));
        assert_eq!(out, [LearnerOutput::HangUp { address: 2 }]);
    }

    #[test]
    fn a_port_that_is_not_open_yet_is_tried_soon_and_for_as_long_as_java_does() {
        let (mut dialling, _) = begin(1);
        let (mut tried_at, mut now) = (Vec::new(), at(0));
        let ended = loop {
            let mut ended = Ok(());
            asked(now, |turn| ended = dialling.on_failed(0, turn));
            if ended.is_err() {
                break ended;
            }
            now = dialling.next_timeout();
            let out = asked(now, |turn| assert_eq!(dialling.on_time(turn), Ok(())));
            assert_eq!(out, [dial(0, at(20_000).ms_since(now))]);
            tried_at.push(now.as_ms());
        };
        assert_eq!(ended, Err(LearnerEnd::NotReached));
        assert_eq!(tried_at, [5, 15, 35, 75, 155, 255, 355, 455]);
    }

    #[test]
    fn who_is_to_wait_dials_later_and_has_as_long_from_then_on() {
        let settings = LearnerSettings { dial_pause_ms: 70, ..follower_settings() };
        let mut dialling = None;
        let out = asked(at(0), |turn| dialling = Some(Dialling::new(2, &settings, turn)));
        let mut dialling = dialling.expect("begun");
        assert_eq!((out, dialling.next_timeout()), (vec![], at(70)));
        let out = asked(at(69), |turn| assert_eq!(dialling.on_time(turn), Ok(())));
        assert_eq!(out, []);
        let out = asked(at(70), |turn| assert_eq!(dialling.on_time(turn), Ok(())));
        assert_eq!(out, [dial(0, 20_000), dial(1, 20_000)]);
    }

    #[test]
    fn an_address_that_says_nothing_is_given_up_with_the_whole() {
        let (mut dialling, _) = begin(2);
        asked(at(19_950), |turn| assert_eq!(dialling.on_failed(0, turn), Ok(())));
        assert_eq!(dialling.next_timeout(), at(20_000));
        let out = asked(at(20_000), |turn| {
            assert_eq!(dialling.on_time(turn), Err(LearnerEnd::NotReached));
        });
        assert_eq!(out, [LearnerOutput::HangUp { address: 1 }]);
    }

    #[test]
    fn a_leader_without_addresses_is_not_reached() {
        let (mut dialling, out) = begin(0);
        assert_eq!(out, []);
        asked(at(0), |turn| assert_eq!(dialling.on_time(turn), Err(LearnerEnd::NotReached)));
    }
}
