use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TICK: u64 = 100;

fn at(ms: u64) -> Instant {
    Instant(0).plus_ms(ms)
}

fn sessions() -> Sessions {
    Sessions::new(TICK, ServerId(1), at(0))
}

fn expired_at(s: &mut Sessions, ms: u64) -> Vec<i64> {
    let mut out = Vec::new();
    s.expired(at(ms), usize::MAX, &mut out);
    let mut ids: Vec<i64> = out.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_session_expires_after_its_timeout_and_within_one_tick_more() {
    let mut s = sessions();
    for start in [0, 1, 50, 99] {
        s.track(SessionId(start as i64 + 1), 200, at(start));
    }
    assert_eq!(s.next_expiry(), Some(at(300)));
    assert_eq!(expired_at(&mut s, 299), []);
    assert_eq!(expired_at(&mut s, 300), [1, 2, 51, 100]);
    assert_eq!(s.next_expiry(), None);
}

#[test]
fn a_sign_of_life_spares_and_a_closing_session_gives_none() {
    let mut s = sessions();
    s.track(SessionId(1), 200, at(0));
    s.track(SessionId(2), 200, at(0));
    s.set_closing(SessionId(2));
    assert!(s.touch(SessionId(1), at(250)));
    assert!(!s.touch(SessionId(2), at(250)));
    assert!(!s.touch(SessionId(3), at(250)));
    assert_eq!(expired_at(&mut s, 450), [2]);
    assert_eq!(expired_at(&mut s, 500), [1]);
}

#[test]
fn a_large_bucket_comes_in_portions_and_the_late_alive_are_spared() {
    let mut s = sessions();
    (1..=10).for_each(|id| {
        s.track(SessionId(id), 100, at(0));
    });
    let mut out = Vec::new();
    s.expired(at(200), 4, &mut out);
    assert_eq!(out.len(), 4);
    assert_eq!(s.next_expiry(), Some(at(200)));
    assert!(s.touch(SessionId(10), at(210)));
    s.expired(at(210), 100, &mut out);
    assert_eq!(out.len(), 9);
    assert!(!out.contains(&SessionId(10)));
    s.check_invariants();
}

#[test]
fn a_forgiven_stall_moves_every_deadline() {
    let mut s = sessions();
    s.track(SessionId(1), 200, at(0));
    s.forgive(1_000 * 1_000_000);
    assert_eq!(s.next_expiry(), Some(at(1300)));
    assert_eq!(expired_at(&mut s, 1299), []);
    assert_eq!(expired_at(&mut s, 1300), [1]);
}

#[test]
fn the_first_to_speak_owns_and_others_have_moved() {
    let mut s = sessions();
    let learner = Owner::Learner(ConnId { index: 3, generation: 1 });
    let id = SessionId(1);
    assert_eq!(s.check(id, Owner::Here), Err(ErrorCode::SessionExpired));
    assert_eq!(s.set_owner(id, Owner::Here), Err(ErrorCode::SessionExpired));
    s.track(id, 100, at(0));
    assert_eq!(s.check(id, learner), Ok(()));
    assert_eq!(s.check(id, Owner::Here), Err(ErrorCode::SessionMoved));
    assert_eq!(s.set_owner(id, Owner::Here), Ok(()));
    assert_eq!(s.check(id, Owner::Here), Ok(()));
    s.set_closing(id);
    assert_eq!(s.check(id, Owner::Here), Err(ErrorCode::SessionExpired));
    assert_eq!(s.set_owner(id, learner), Err(ErrorCode::SessionExpired));
}

#[test]
fn an_id_still_held_from_an_earlier_boot_is_passed_over() {
    let mut s = sessions();
    let first = first_id(ServerId(1), at(0));
    s.track(first, 100, at(0));
    assert_eq!(s.next_id(), SessionId(first.0 + 1));
    assert_eq!(s.next_id(), SessionId(first.0 + 2));
}

#[test]
fn the_listing_keeps_an_emptied_bucket_until_its_time() {
    let mut s = sessions();
    s.track(SessionId(1), 200, at(0));
    s.track(SessionId(2), 200, at(150));
    s.forget(SessionId(1));
    let listing = |s: &Sessions, ms| -> Vec<(i64, Vec<i64>)> {
        let each = |(d, ids): (i64, _)| (d, Iterator::map(ids, |id: SessionId| id.0).collect());
        s.expiry_listing(at(ms)).map(each).collect()
    };
    assert_eq!(listing(&s, 150), [(150, vec![]), (250, vec![2])]);
    assert_eq!(listing(&s, 300), [(100, vec![2])]);
}

#[derive(Clone, Debug)]
enum Step {
    Track(i64, i32),
    Touch(i64),
    Closing(i64),
    Forget(i64),
    Pass(u64),
    Forgive(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1i64..8;
    prop_oneof![
        1 => (id.clone(), 0i32..700).prop_map(|(id, t)| Step::Track(id, t)),
        4 => id.clone().prop_map(Step::Touch),
        1 => id.clone().prop_map(Step::Closing),
        1 => id.prop_map(Step::Forget),
        4 => (0u64..350).prop_map(Step::Pass),
        1 => (1u64..300).prop_map(Step::Forgive),
    ]
}

/// Java's rules said plainly: each session has a deadline rounded up to the tick, and goes when
/// that time has come.
#[derive(Default)]
struct Model {
    by_id: BTreeMap<i64, ModelSession>,
    now_ms: u64,
    forgiven_ms: u64,
}

struct ModelSession {
    timeout_ms: i32,
    closing: bool,
    reported: bool,
    deadline: u64,
}

impl Model {
    fn deadline(&self, timeout_ms: i32) -> u64 {
        ((self.now_ms - self.forgiven_ms + timeout_ms as u64) / TICK + 1) * TICK
    }

    fn track(&mut self, id: i64, timeout_ms: i32) -> bool {
        let deadline = self.deadline(timeout_ms);
        let new = !self.by_id.contains_key(&id);
        let fresh = ModelSession { timeout_ms, closing: false, reported: false, deadline };
        let s = self.by_id.entry(id).or_insert(fresh);
        (s.deadline, s.reported) = (deadline, false);
        new
    }

    fn touch(&mut self, id: i64) -> bool {
        let Some(timeout_ms) = self.by_id.get(&id).map(|s| s.timeout_ms) else { return false };
        let deadline = self.deadline(timeout_ms);
        let s = self.by_id.get_mut(&id).unwrap();
        if !s.closing {
            s.deadline = deadline;
        }
        !s.closing
    }

    fn expired(&mut self) -> Vec<i64> {
        let clock = self.now_ms - self.forgiven_ms;
        let due = |s: &ModelSession| !s.reported && s.deadline <= clock;
        let gone: Vec<i64> = self.by_id.iter().filter(|(_, s)| due(s)).map(|(id, _)| *id).collect();
        for id in &gone {
            let s = self.by_id.get_mut(id).unwrap();
            (s.closing, s.reported) = (true, true);
        }
        gone
    }
}

proptest! {
    #[test]
    fn sessions_expire_as_in_the_naive_model(steps in prop::collection::vec(step(), 1..120)) {
        let mut s = sessions();
        let mut model = Model::default();
        for step in steps {
            let now = at(model.now_ms);
            match step {
                Step::Track(id, timeout_ms) => {
                    let new = s.track(SessionId(id), timeout_ms, now);
                    prop_assert_eq!(new, model.track(id, timeout_ms));
                }
                Step::Touch(id) => {
                    prop_assert_eq!(s.touch(SessionId(id), now), model.touch(id));
                }
                Step::Closing(id) => {
                    s.set_closing(SessionId(id));
                    if let Some(m) = model.by_id.get_mut(&id) {
                        m.closing = true;
                    }
                }
                Step::Forget(id) => {
                    s.forget(SessionId(id));
                    model.by_id.remove(&id);
                }
                Step::Pass(ms) => {
                    model.now_ms += ms;
                    prop_assert_eq!(expired_at(&mut s, model.now_ms), model.expired());
                }
                Step::Forgive(ms) => {
                    // A stall passes and is then forgiven: no client aged by it.
                    model.now_ms += ms;
                    model.forgiven_ms += ms;
                    s.forgive(ms * 1_000_000);
                }
            }
            s.check_invariants();
            prop_assert_eq!(s.len(), model.by_id.len());
            let waiting = model.by_id.values().filter(|m| !m.reported);
            let next = waiting.map(|m| m.deadline + model.forgiven_ms).min();
            prop_assert_eq!(s.next_expiry(), next.map(at));
        }
    }
}
