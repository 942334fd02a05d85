use proptest::prelude::*;

use super::*;

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

const LOG: LogSync = LogSync::UpTo { snapshot_factor: 0.33 };

/// A leader's history, of which the ring holds what comes after `ring_from`.
fn ring(history: &[Zxid], ring_from: Zxid) -> Ring {
    let mut ring = Ring::new(ring_from);
    for zxid in history.iter().filter(|zxid| **zxid > ring_from) {
        ring.push(*zxid, &[]);
    }
    ring
}

/// 4.1 to 4.9, 6.1 to 6.3; in the ring from 4.6 on; all committed.
fn history() -> Vec<Zxid> {
    (1..=9).map(|counter| z(4, counter)).chain((1..=3).map(|counter| z(6, counter))).collect()
}

fn asked(peer: Zxid, probed: Option<Probed>) -> Verdict {
    let ring = ring(&history(), z(4, 5));
    let max = z(6, 3);
    let facts = Facts { force_snap: false, processed: max, committed: max, ring: &ring, log: LOG };
    decide(&facts, peer, probed.as_ref())
}

fn probed(at_or_before: Option<Zxid>, after: Option<Zxid>) -> Option<Probed> {
    let place = Place { at_or_before, after };
    Some(Probed { place, bytes_behind: 0, snapshot_bytes: 1000 })
}

fn diff(zxid: Zxid, after: Zxid, reason: Reason) -> Verdict {
    Verdict::Decided(Decision::Diff { zxid, after }, reason)
}

fn snap(reason: Reason) -> Verdict {
    Verdict::Decided(Decision::Snap, reason)
}

#[test]
fn rule_1_a_forced_snapshot_comes_before_all() {
    let ring = ring(&history(), z(4, 5));
    let max = z(6, 3);
    let facts = Facts { force_snap: true, processed: max, committed: max, ring: &ring, log: LOG };
    assert_eq!(decide(&facts, max, None), snap(Reason::Forced));
}

#[test]
fn rule_2_an_equal_learner_is_sent_an_empty_diff_of_its_own_zxid() {
    assert_eq!(asked(z(6, 3), None), diff(z(6, 3), z(6, 3), Reason::Equal));
    // Established and without a commit of its own, the leader is at the beginning of its epoch.
    let ring = ring(&history(), z(4, 5));
    let facts =
        Facts { force_snap: false, processed: z(7, 0), committed: z(6, 3), ring: &ring, log: LOG };
    assert_eq!(decide(&facts, z(7, 0), None), diff(z(7, 0), z(7, 0), Reason::Equal));
    assert_eq!(decide(&facts, z(6, 3), None), diff(z(6, 3), z(6, 3), Reason::InRing));
    // An empty leader and an empty learner.
    let empty = Ring::new(Zxid::ZERO);
    let (processed, committed) = (Zxid::ZERO, Zxid::ZERO);
    let facts = Facts { force_snap: false, processed, committed, ring: &empty, log: LOG };
    assert_eq!(decide(&facts, Zxid::ZERO, None), diff(Zxid::ZERO, Zxid::ZERO, Reason::Equal));
}

#[test]
fn rule_3_a_learner_that_has_more_is_cut_to_the_last_committed() {
    let trunc = Verdict::Decided(Decision::Trunc { zxid: z(6, 3) }, Reason::Ahead);
    assert_eq!(asked(z(6, 4), None), trunc);
    assert_eq!(asked(z(9, 1), None), trunc);
}

/// Java sends TRUNC to the beginning of an epoch, where nobody has a record: its learners keep the
/// first one behind it.
#[test]
fn nobody_is_cut_to_the_beginning_of_an_epoch() {
    for max in [z(6, 0), Zxid::ZERO] {
        let ring = Ring::new(max);
        let (processed, committed) = (max, max);
        let facts = Facts { force_snap: false, processed, committed, ring: &ring, log: LOG };
        assert_eq!(decide(&facts, z(6, 4), None), snap(Reason::Unknown));
    }
}

#[test]
fn rule_4_what_is_in_memory_is_sent_from_there() {
    for peer in [z(4, 5), z(4, 6), z(4, 9), z(6, 1)] {
        assert_eq!(asked(peer, None), diff(z(6, 3), peer, Reason::InRing), "{peer:x}");
    }
}

#[test]
fn rule_4_a_learner_at_an_epochs_beginning_has_all_before_it() {
    for peer in [z(5, 0), z(6, 0)] {
        assert_eq!(asked(peer, None), diff(z(6, 3), peer, Reason::InRing), "{peer:x}");
    }
}

#[test]
fn rule_4_a_learner_that_went_on_in_an_earlier_epoch_is_sent_an_image() {
    assert_eq!(asked(z(4, 12), None), snap(Reason::OtherEpoch));
    assert_eq!(asked(z(5, 2), None), snap(Reason::OtherEpoch));
}

/// Java sends TRUNC to the record before, and so takes away what may have been committed.
#[test]
fn a_zxid_that_should_be_ours_and_is_not_costs_an_image_instead_of_a_txn() {
    let mut ring = Ring::new(z(4, 2));
    ring.push(z(4, 3), &[]);
    let max = z(4, 3);
    let facts = Facts { force_snap: false, processed: max, committed: max, ring: &ring, log: LOG };
    // The log has 4.0 and then 4.2: it has lost 4.1.
    let hole = probed(Some(z(3, 9)), Some(z(4, 2)));
    assert_eq!(decide(&facts, z(4, 1), hole.as_ref()), snap(Reason::Unknown));
}

#[test]
fn what_does_not_go_on_behind_the_learner_is_not_sent() {
    assert_eq!(asked(z(4, 2), probed(Some(z(4, 2)), Some(z(4, 4)))), snap(Reason::Hole));
    assert_eq!(asked(z(4, 0), probed(Some(z(3, 1)), Some(z(4, 2)))), snap(Reason::Hole));
    assert_eq!(asked(z(4, 2), probed(Some(z(4, 2)), None)), snap(Reason::Hole));
}

#[test]
fn rule_5_what_the_log_holds_is_sent_from_there() {
    assert_eq!(asked(z(4, 2), None), Verdict::AskLog);
    let known = probed(Some(z(4, 2)), Some(z(4, 3)));
    assert_eq!(asked(z(4, 2), known), diff(z(6, 3), z(4, 2), Reason::InLog));
    let begins_epoch = probed(Some(z(3, 7)), Some(z(4, 1)));
    assert_eq!(asked(z(4, 0), begins_epoch), diff(z(6, 3), z(4, 0), Reason::InLog));
    let gone = probed(None, Some(z(4, 3)));
    assert_eq!(asked(z(4, 2), gone), snap(Reason::TooOld));
    let went_on = probed(Some(z(3, 7)), Some(z(4, 1)));
    assert_eq!(asked(z(3, 9), went_on), snap(Reason::OtherEpoch));
}

#[test]
fn rule_5_more_log_than_a_share_of_the_snapshot_is_not_read() {
    let with = |bytes_behind, snapshot_bytes| {
        let place = Place { at_or_before: Some(z(4, 2)), after: Some(z(4, 3)) };
        Some(Probed { place, bytes_behind, snapshot_bytes })
    };
    assert_eq!(asked(z(4, 2), with(330, 1000)), diff(z(6, 3), z(4, 2), Reason::InLog));
    assert_eq!(asked(z(4, 2), with(331, 1000)), snap(Reason::TooMuchLog));
    // A product of zero bounds nothing.
    assert_eq!(asked(z(4, 2), with(u64::MAX, 0)), diff(z(6, 3), z(4, 2), Reason::InLog));
    assert_eq!(asked(z(4, 2), with(u64::MAX, 3)), diff(z(6, 3), z(4, 2), Reason::InLog));
    assert_eq!(LogSync::of_factor(-1.0), LogSync::Off);
    assert_eq!(LogSync::of_factor(f64::NAN), LogSync::Off);
    let off = Facts {
        force_snap: false,
        processed: z(6, 3),
        committed: z(6, 3),
        ring: &ring(&history(), z(4, 5)),
        log: LogSync::Off,
    };
    assert_eq!(decide(&off, z(4, 2), None), snap(Reason::TooOld));
}

#[test]
fn rule_6_whoever_asks_for_an_image_gets_one() {
    assert_eq!(asked(Zxid::ZERO, None), snap(Reason::TooOld));
    // Even where all that ever was is in memory.
    let ring = ring(&history(), Zxid::ZERO);
    let max = z(6, 3);
    let facts = Facts { force_snap: false, processed: max, committed: max, ring: &ring, log: LOG };
    assert_eq!(decide(&facts, Zxid::ZERO, None), snap(Reason::TooOld));
    assert_eq!(asked(Zxid::NONE, None), snap(Reason::TooOld));
    assert_eq!(asked(Zxid(i64::MIN), None), snap(Reason::TooOld));
    assert_eq!(asked(z(8, 0), None), snap(Reason::OtherEpoch));
}

/// A leader and a learner whose histories parted somewhere.
#[derive(Clone, Debug)]
struct Case {
    leader: Vec<Zxid>,
    /// How many of them are committed; more is outstanding.
    committed: usize,
    /// The ring begins behind so many of them, the log with so many let go.
    ring_from: usize,
    log_from: usize,
    learner: Vec<Zxid>,
    /// It shows the beginning of its last epoch, as after a SNAP that brought it there.
    at_epoch_begin: bool,
    small_snapshot: bool,
}

/// Epochs with so many txns each, one after the other with gaps between their numbers.
fn case() -> impl Strategy<Value = Case> {
    let epochs = prop::collection::vec((1u32..3, 1u32..6), 1..5);
    let shares = prop::collection::vec(0usize..1000, 5);
    (epochs, shares, 0u32..4, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
        |(epochs, shares, more, other_epoch, at_epoch_begin)| {
            let (mut leader, mut epoch) = (Vec::new(), 0);
            for (step, count) in epochs {
                epoch += step;
                leader.extend((1..=count).map(|counter| z(epoch, counter)));
            }
            let part = |share: usize, of: usize| share % (of + 1);
            // Outstanding is what the leader itself proposed: of its last epoch.
            let own = leader.iter().filter(|zxid| zxid.epoch() == epoch).count();
            let committed = leader.len() - part(shares[0], own - 1);
            let ring_from = part(shares[1], leader.len());
            let log_from = part(shares[2], ring_from);
            let common = part(shares[3], leader.len());
            let mut learner = leader[..common].to_vec();
            diverge(&leader, &mut learner, more, other_epoch);
            let small_snapshot = shares[4] % 4 == 0;
            Case { leader, committed, ring_from, log_from, learner, at_epoch_begin, small_snapshot }
        },
    )
}

/// What a learner can have that the leader has not: txns behind the end of an epoch, of that one
/// or of one that ended before the leader's next began.
fn diverge(leader: &[Zxid], learner: &mut Vec<Zxid>, more: u32, other_epoch: bool) {
    let Some(last) = learner.last().copied() else { return };
    let next = leader.get(learner.len()).copied();
    if next.is_some_and(|next| next.epoch() == last.epoch()) {
        return;
    }
    let epoch = if other_epoch { last.epoch() + 1 } else { last.epoch() };
    if other_epoch && next.is_some_and(|next| next.epoch() <= epoch) {
        return;
    }
    let from = if other_epoch { 1 } else { last.counter() + 1 };
    learner.extend((from..from + more).map(|counter| z(epoch, counter)));
}

fn at(history: &[Zxid], count: usize) -> Zxid {
    count.checked_sub(1).map_or(Zxid::ZERO, |index| history[index])
}

impl Case {
    fn peer(&self) -> Zxid {
        at(&self.learner, self.learner.len())
    }

    fn probe(&self, peer: Zxid) -> Probed {
        let log = &self.leader[self.log_from..];
        let at_or_before = log.iter().copied().filter(|zxid| *zxid <= peer).max();
        let after = log.iter().copied().filter(|zxid| *zxid > peer).min();
        let bytes_behind = log.iter().filter(|zxid| **zxid > peer).count() as u64 * 100;
        let snapshot_bytes = if self.small_snapshot { 1000 } else { 0 };
        Probed { place: Place { at_or_before, after }, bytes_behind, snapshot_bytes }
    }

    fn decide(&self, peer: Zxid) -> Decision {
        let ring = ring(&self.leader, at(&self.leader, self.ring_from));
        let committed = at(&self.leader, self.committed);
        let facts =
            Facts { force_snap: false, processed: committed, committed, ring: &ring, log: LOG };
        let verdict = match decide(&facts, peer, None) {
            Verdict::AskLog => decide(&facts, peer, Some(&self.probe(peer))),
            decided => decided,
        };
        let Verdict::Decided(decision, _) = verdict else { panic!("the log was asked") };
        decision
    }

    /// What Apache's rules choose, told as they are there: the log up to the smallest committed
    /// one in memory, then those in memory.
    fn java(&self, peer: Zxid) -> Decision {
        let max = at(&self.leader, self.committed);
        let in_memory: Vec<Zxid> =
            self.leader[..self.committed].iter().skip(self.ring_from).copied().collect();
        let min = in_memory.first().copied().unwrap_or(max);
        if peer == max {
            return Decision::Diff { zxid: peer, after: peer };
        }
        if peer > max && peer.counter() != 0 {
            return Decision::Trunc { zxid: max };
        }
        let mut op = None;
        if min <= peer && peer <= max {
            java_queue(&in_memory, peer, max, &mut op);
        } else if peer < min {
            let probed = self.probe(peer);
            let share = (probed.snapshot_bytes as f64 * 0.33) as u64;
            if probed.place.at_or_before.is_some() && (share == 0 || probed.bytes_behind <= share) {
                let log: Vec<Zxid> =
                    self.leader[self.log_from..].iter().copied().filter(|z| *z <= min).collect();
                java_queue(&log, peer, max, &mut op);
            }
        }
        op.unwrap_or(Decision::Snap)
    }
}

fn java_queue(records: &[Zxid], peer: Zxid, max: Zxid, op: &mut Option<Decision>) {
    let mut before = Zxid::NONE;
    for zxid in records {
        if *zxid < peer {
            before = *zxid;
            continue;
        }
        let diff = Decision::Diff { zxid: max, after: peer };
        if *zxid == peer || peer.counter() == 0 {
            *op = Some(diff);
        } else if zxid.epoch() == peer.epoch() {
            *op = Some(Decision::Trunc { zxid: before });
        }
        return;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whoever_follows_the_decision_comes_to_the_leaders_history(case in case()) {
        let committed = &case.leader[..case.committed];
        match case.decide(case.peer()) {
            // It is sent what comes after where it is.
            Decision::Diff { after, .. } => {
                prop_assert_eq!(after, case.peer());
                let rest = committed.iter().filter(|zxid| **zxid > after);
                let whole: Vec<Zxid> = case.learner.iter().chain(rest).copied().collect();
                prop_assert_eq!(&whole[..], committed);
            }
            // What stays must be there, and all of what was committed.
            Decision::Trunc { zxid } => {
                prop_assert!(case.learner.contains(&zxid));
                let stays: Vec<Zxid> =
                    case.learner.iter().copied().filter(|kept| *kept <= zxid).collect();
                prop_assert_eq!(&stays[..], committed);
                prop_assert!(zxid.counter() != 0);
            }
            Decision::Snap => {}
        }
    }

    #[test]
    fn a_learner_at_the_beginning_of_an_epoch_misses_nothing(case in case()) {
        // It was brought to the beginning of an epoch that was established: all before it is ours.
        let begin = z(at(&case.leader, case.leader.len()).epoch(), 0);
        let known = case.leader.iter().filter(|zxid| **zxid < begin);
        let committed = &case.leader[..case.committed];
        if let Decision::Diff { after, .. } = case.decide(begin) {
            let rest = committed.iter().filter(|zxid| **zxid > after);
            let whole: Vec<Zxid> = known.chain(rest).copied().collect();
            prop_assert_eq!(&whole[..], committed);
        }
    }

    #[test]
    fn it_is_what_apache_decides(case in case()) {
        let peer = if case.at_epoch_begin { z(case.peer().epoch(), 0) } else { case.peer() };
        let (ours, java) = (case.decide(peer), case.java(peer));
        // The zxid before what is in memory is known here, and there only from the log.
        let before_ring = at(&case.leader, case.ring_from);
        let is_placed = peer == before_ring || (peer.counter() == 0 && peer > before_ring);
        match (ours, java) {
            (Decision::Diff { .. }, Decision::Snap) if is_placed && peer > Zxid::ZERO => {}
            _ => prop_assert_eq!(ours, java),
        }
    }

    /// With a hole in the leader's history nobody is sent across it as if there were none.
    #[test]
    fn a_hole_right_behind_the_learner_is_never_sent_across(case in case(), share in 0usize..1000) {
        let mut case = case;
        let peer = case.peer();
        let index = share % case.leader.len();
        let lost = case.leader[index];
        // What is in the ring has no holes: it begins anew behind one.
        if index >= case.ring_from {
            case.ring_from = index + 1;
        }
        case.leader.remove(index);
        case.ring_from -= 1;
        case.log_from = case.log_from.min(case.ring_from);
        case.committed = case.committed.min(case.leader.len()).max(case.ring_from);
        if case.leader.is_empty() {
            return Ok(());
        }
        if let Decision::Diff { after, .. } = case.decide(peer) {
            let max = at(&case.leader, case.committed);
            let next = case.leader.iter().copied().find(|zxid| *zxid > after);
            let crosses = after < lost && next.is_some_and(|next| next > lost && next <= max);
            let begins = next.is_some_and(|next| next.counter() == 1);
            prop_assert!(!crosses || begins, "{:x} is lost behind {:x}", lost, after);
        }
    }
}
