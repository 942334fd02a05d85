//! Who was heard when, as one member knows it: what it may say of sessions to its leader, and when
//! it may end one.

use std::collections::{BTreeMap, BTreeSet};

use zkd::base::Instant;

use crate::world::client::Violation;

#[derive(Debug, Default)]
pub struct Lives {
    /// What its clock shows.
    pub now: Option<Instant>,
    /// When it heard a session last, or was told of it by a learner.
    heard: BTreeMap<i64, Instant>,
    /// When it let a session in last: by then it had heard of it.
    greeted: BTreeMap<i64, Instant>,
    /// Heard since it told its leader last, and when that was.
    untold: BTreeSet<i64>,
    told_at: Option<Instant>,
}

impl Lives {
    pub fn on_heard(&mut self, session: i64) {
        self.untold.insert(session);
        self.on_touched(session);
    }

    pub fn on_touched(&mut self, session: i64) {
        self.heard.extend(self.now.map(|now| (session, now)));
    }

    pub fn on_greeted(&mut self, session: i64) {
        self.greeted.extend(self.now.map(|now| (session, now)));
    }

    /// It follows anew: who was heard before does not have to be told.
    pub fn on_new_leader(&mut self) {
        self.untold.clear();
    }

    /// It tells its leader: everybody whom it has heard, and nobody else. `counts`: whether a
    /// session is the ensemble's; `speaks_for_others`: observers behind it have heard some, too.
    pub fn on_told(
        &mut self,
        touches: &[i64],
        counts: impl Fn(i64) -> bool,
        speaks_for_others: bool,
    ) -> Result<(), Violation> {
        let touches: BTreeSet<i64> = touches.iter().copied().collect();
        // What came in the same turn may be told the next time.
        let is_of_now = |session: &i64| self.heard.get(session).copied() == self.now;
        let (rest, due): (BTreeSet<i64>, BTreeSet<i64>) =
            self.untold.iter().copied().partition(is_of_now);
        if let Some(silent) = due.difference(&touches).find(|session| counts(**session)) {
            return Err(format!("sessions: 0x{silent:x} was heard and its leader is not told"));
        }
        let is_recent = |at: Option<&Instant>| at.is_some_and(|at| Some(*at) >= self.told_at);
        let is_known = |session: &i64| {
            is_recent(self.heard.get(session)) || is_recent(self.greeted.get(session))
        };
        let invented = touches.iter().find(|session| !is_known(session));
        if let Some(invented) = invented.filter(|_| !speaks_for_others) {
            return Err(format!("sessions: 0x{invented:x} is told to live and was not heard"));
        }
        (self.untold, self.told_at) = (rest, self.now);
        Ok(())
    }

    /// It ends a session because nobody has heard of it.
    pub fn on_expired(&self, session: i64, timeout_ms: u64) -> Result<(), Violation> {
        let ages = self.heard.get(&session).zip(self.now).map(|(at, now)| now.ms_since(*at));
        match ages.filter(|ms| *ms < timeout_ms) {
            Some(ms) => Err(format!(
                "sessions: 0x{session:x} ends, which was heard {ms} ms ago and has {timeout_ms}"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lives: &mut Lives, ms: u64) {
        lives.now = Some(Instant(0).plus_ms(ms));
    }

    fn heard(sessions: &[(i64, u64)], now_ms: u64) -> Lives {
        let mut lives = Lives::default();
        for (session, ms) in sessions {
            at(&mut lives, *ms);
            lives.on_heard(*session);
        }
        at(&mut lives, now_ms);
        lives
    }

    #[test]
    fn a_session_ends_after_its_timeout_and_no_earlier() {
        let lives = heard(&[(7, 100)], 3100);
        assert_eq!(lives.on_expired(7, 3000), Ok(()));
        assert!(lives.on_expired(7, 3001).is_err_and(|why| why.starts_with("sessions: ")));
        // Of whom nothing was ever heard, nothing is known.
        assert_eq!(lives.on_expired(8, 3000), Ok(()));
    }

    #[test]
    fn a_leader_is_told_of_everybody_and_of_nobody_else() {
        let all = |_| true;
        assert_eq!(heard(&[(7, 1), (8, 2)], 9).on_told(&[7, 8], all, false), Ok(()));
        let silent = heard(&[(7, 1), (8, 2)], 9).on_told(&[7], all, false);
        assert!(silent.is_err_and(|why| why.contains("is not told")));
        let invented = heard(&[(7, 1)], 9).on_told(&[7, 8], all, false);
        assert!(invented.is_err_and(|why| why.contains("was not heard")));
        assert_eq!(heard(&[(7, 1)], 9).on_told(&[7, 8], all, true), Ok(()));
        // A session of one server alone is nobody else's business.
        assert_eq!(heard(&[(7, 1)], 9).on_told(&[], |_| false, false), Ok(()));
    }

    #[test]
    fn who_was_heard_in_the_turn_of_the_answer_may_be_told_by_the_next() {
        let all = |_| true;
        let mut lives = heard(&[(7, 9)], 9);
        assert_eq!(lives.on_told(&[], all, false), Ok(()));
        at(&mut lives, 20);
        assert!(lives.on_told(&[], all, false).is_err());
        assert_eq!(lives.on_told(&[7], all, false), Ok(()));
    }
}
