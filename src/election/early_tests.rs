//! Decisions that wait for nobody, one by one.

use crate::peering::{PeerState, Vote};

use super::fast_tests::{Bench, decided, told, vote};
use super::*;

use ElectionOutput::{LeaderLooks, Reopened};
use PeerState::{Following, Leading, Looking};

#[test]
fn the_wait_is_left_out_when_every_voter_has_voted_and_is_kin() {
    let own = vote(3, 0x500, 1, 4);
    let mut bench = Bench::voter(3, 3, 0x500, 4);
    bench.kin(&[1, 2]);
    assert_eq!(decided(&bench.hear(2, Looking, own)), None, "one may have a better vote");
    // One that was made before it heard of a better one will do as well.
    assert!(decided(&bench.hear(1, Looking, vote(1, 0x400, 1, 4))).is_some());
}

#[test]
fn a_java_voter_is_waited_for_whatever_it_says() {
    let own = vote(3, 0x500, 1, 4);
    let mut bench = Bench::voter(3, 3, 0x500, 4);
    bench.kin(&[2]);
    bench.hear(2, Looking, own);
    assert_eq!(decided(&bench.hear(1, Looking, own)), None);
    assert_eq!(decided(&bench.reach(1, Reach::Refused)), None);
    assert!(decided(&bench.wait(200)).is_some());
    // One that has settled takes no time any more.
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.kin(&[2]);
    assert_eq!(decided(&bench.hear(2, Looking, vote(2, 0x500, 1, 4))), None);
    assert!(decided(&bench.hear(3, Following, vote(2, 0x500, 1, 4))).is_some());
}

#[test]
fn a_voter_that_is_down_is_not_waited_for_once_nobody_listens_there() {
    let own = vote(2, 0x500, 1, 4);
    let cases = [(Reach::Unknown, false), (Reach::Linked, false), (Reach::Refused, true)];
    for (reach, is_final) in cases {
        let mut bench = Bench::voter(2, 3, 0x500, 4);
        bench.reach(3, Reach::Linked);
        bench.kin(&[1, 3]);
        assert_eq!(decided(&bench.hear(1, Looking, own)), None);
        let out = bench.reach(3, reach);
        assert_eq!(decided(&out).is_some(), is_final, "{reach:?}");
        assert!(is_final || decided(&bench.wait(200)).is_some());
    }
}

#[test]
fn whoever_has_an_id_now_says_itself_whether_it_is_kin() {
    let own = vote(3, 0x500, 1, 4);
    let began = || {
        let mut bench = Bench::voter(3, 3, 0x500, 4);
        bench.reach(1, Reach::Linked);
        bench.kin(&[1, 2]);
        bench
    };
    // Another program has started under the id, and votes.
    let mut bench = began();
    bench.reach(1, Reach::Refused);
    bench.reach(1, Reach::Unknown);
    bench.reach(1, Reach::Linked);
    bench.kin.remove(&1);
    bench.hear(1, Looking, own);
    assert_eq!(decided(&bench.hear(2, Looking, own)), None);
    assert!(decided(&bench.wait(200)).is_some());
    // It has not spoken yet: what was voted under its id is not enough.
    let mut bench = began();
    bench.hear(1, Looking, vote(1, 0x400, 1, 4));
    bench.reach(1, Reach::Linked);
    assert_eq!(decided(&bench.hear(2, Looking, own)), None);
    assert!(decided(&bench.hear(1, Looking, own)).is_some(), "it was kin again");
    // A word that does not say so takes it back, on the same link too.
    let mut bench = began();
    bench.kin.remove(&1);
    bench.hear(1, Looking, own);
    assert_eq!(decided(&bench.hear(2, Looking, own)), None);
    // As long as nobody has come in its place, what it has said counts.
    let mut bench = began();
    bench.hear(1, Looking, own);
    bench.reach(1, Reach::Unknown);
    assert!(decided(&bench.hear(2, Looking, own)).is_some());
}

#[test]
fn a_voter_called_into_the_round_is_waited_for() {
    let own = vote(3, 0x500, 2, 4);
    let mut bench = Bench::voter(3, 3, 0x500, 4);
    bench.kin(&[1, 2]);
    bench.hear(1, Looking, vote(1, 1, 2, 4));
    // It has voted in this round and started again since, in its first.
    bench.hear(1, Looking, vote(1, 0x900, 1, 4));
    assert_eq!(decided(&bench.hear(2, Looking, own)), None);
    bench.hear(1, Looking, vote(1, 0x900, 2, 4));
    assert_eq!(bench.election.proposal(), vote(1, 0x900, 2, 4));
    // Unless it is down again.
    let mut bench = Bench::voter(3, 3, 0x500, 4);
    bench.kin(&[1, 2]);
    bench.hear(2, Looking, vote(1, 1, 2, 4));
    bench.hear(1, Looking, vote(1, 0x900, 1, 4));
    assert_eq!(decided(&bench.hear(2, Looking, own)), None);
    assert!(decided(&bench.reach(1, Reach::Refused)).is_some());
}

#[test]
fn a_better_vote_before_the_role_is_taken_up_opens_the_election_again() {
    let better = vote(3, 0x600, 1, 4);
    for me in [2, 1] {
        let mut bench = Bench::voter(me, 3, 0x500, 4);
        let (other, agreed) = (3 - me, vote(2, 0x500, 1, 4));
        bench.kin(&[1, 2, 3]);
        bench.reach(3, Reach::Refused);
        let role = if me == 2 { Leading } else { Following };
        let out = bench.hear(other, Looking, agreed);
        assert_eq!(decided(&out).map(|outcome| outcome.role), Some(role));
        let out = bench.hear(3, Looking, better);
        assert_eq!(out[0], Reopened);
        assert_eq!(told(&out, Looking, better), [other, 3]);
        assert_eq!(decided(&out).map(|outcome| outcome.role), Some(Following));
    }
}

#[test]
fn nothing_opens_it_again_once_the_role_is_taken_up_or_the_leader_leads() {
    let better = vote(3, 0x600, 1, 4);
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    bench.wait(200);
    bench.confirm();
    let out = bench.hear(3, Looking, better);
    assert_eq!(told(&out, Leading, vote(2, 0x500, 1, 4)), [3]);
    assert!(!out.contains(&Reopened));
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Looking, vote(2, 0x500, 1, 4));
    bench.wait(200);
    bench.hear(2, Leading, vote(2, 0x500, 1, 4));
    let out = bench.hear(3, Looking, better);
    assert_eq!(told(&out, Following, vote(2, 0x500, 1, 4)), [3]);
}

#[test]
fn a_better_vote_of_an_older_round_is_waited_for_before_leading() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.kin(&[1, 3]);
    bench.hear(1, Looking, vote(1, 1, 5, 1));
    bench.reach(3, Reach::Refused);
    assert!(decided(&bench.hear(1, Looking, vote(2, 0x500, 5, 4))).is_some());
    bench.reach(3, Reach::Linked);
    let out = bench.hear(3, Looking, vote(3, 0x600, 1, 4));
    assert_eq!((&out[1], decided(&out)), (&Reopened, None));
    assert_eq!(told(&out, Looking, vote(2, 0x500, 5, 4)), [3]);
    // It comes in this round, or else it was not worth waiting for.
    assert_eq!(decided(&bench.wait(199)), None);
    assert!(decided(&bench.wait(1)).is_some());
    bench.hear(3, Looking, vote(3, 0x600, 5, 4));
    assert_eq!(bench.election.proposal(), vote(3, 0x600, 5, 4));
}

#[test]
fn who_has_started_again_before_the_role_was_taken_up_is_waited_for() {
    let (agreed, better) = (vote(2, 0x500, 4, 4), vote(5, 0x600, 4, 4));
    let mut bench = Bench::voter(1, 5, 0x500, 4);
    bench.kin(&[2, 3, 4, 5]);
    bench.reach(5, Reach::Refused);
    bench.hear(2, Looking, agreed);
    bench.hear(3, Looking, agreed);
    let out = bench.hear(4, Looking, agreed);
    assert_eq!(decided(&out).map(|outcome| outcome.role), Some(Following));
    // It has forgotten its vote, and hears of the leader to be.
    let out = bench.hear(3, Looking, vote(3, 0x500, 1, 4));
    assert_eq!(told(&out, Following, agreed), [3]);
    let out = bench.hear(5, Looking, better);
    assert_eq!((&out[0], decided(&out)), (&Reopened, None));
    assert_eq!(decided(&bench.hear(2, Looking, better)), None, "it may have a better one");
    assert!(decided(&bench.hear(3, Looking, better)).is_some());
}

#[test]
fn who_was_settled_and_looks_again_is_waited_for() {
    let agreed = vote(2, 0x500, 1, 4);
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.kin(&[2]);
    bench.hear(3, Following, agreed);
    bench.hear(3, Looking, vote(3, 0x500, 0, 4));
    assert_eq!(decided(&bench.hear(2, Looking, agreed)), None);
    assert!(decided(&bench.wait(200)).is_some());
}

/// Server 1 of three follows 2, by the votes of this round that it has heard.
fn follows(heard: &[i64]) -> Bench {
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    for from in heard {
        bench.hear(*from, Looking, vote(2, 0x500, 6, 4));
    }
    assert_eq!(decided(&bench.wait(200)).map(|outcome| outcome.role), Some(Following));
    bench
}

#[test]
fn a_leader_that_looks_again_before_it_leads_is_lost() {
    for round in [1, 7] {
        for is_connected in [false, true] {
            let mut bench = follows(&[2]);
            if is_connected {
                bench.confirm();
            }
            let worse = vote(2, 0x400, round, 4);
            assert!(!bench.hear(3, Looking, worse).contains(&LeaderLooks), "it is not the leader");
            assert_eq!(bench.hear(2, Looking, worse), [LeaderLooks], "{round} {is_connected}");
            bench.election.stand_down(&mut bench.out);
            bench.election.start(bench.now, bench.election.standing, &mut bench.out);
            assert_eq!(bench.election.round(), 7);
        }
    }
}

/// It waits for its own round to end, and has heard of somebody better meanwhile.
#[test]
fn a_leader_that_votes_for_a_better_one_in_its_own_round_is_lost() {
    for heard in [2, 3] {
        let mut bench = follows(&[heard]);
        bench.confirm();
        assert!(!bench.hear(2, Looking, vote(2, 0x500, 6, 4)).contains(&LeaderLooks));
        assert_eq!(bench.hear(2, Looking, vote(3, 0x501, 6, 4)), [LeaderLooks], "{heard}");
    }
}

#[test]
fn what_the_leader_has_said_before_it_was_elected_is_nothing_new() {
    let is_lost = |bench: &mut Bench, round| {
        bench.hear(2, Looking, vote(2, 0x500, round, 4)).contains(&LeaderLooks)
    };
    // Its vote has come through another, and what it said itself may still be on its way.
    let mut bench = follows(&[3]);
    bench.confirm();
    assert!(!is_lost(&mut bench, 1) && is_lost(&mut bench, 7));
    // It looks until it can be connected to.
    let mut bench = follows(&[2]);
    bench.confirm();
    assert!(!is_lost(&mut bench, 6));
    // From its epoch on its link tells.
    bench.election.note_led();
    assert!(!is_lost(&mut bench, 1) && !is_lost(&mut bench, 7));
}

#[test]
fn a_leader_that_was_joined_by_its_word_is_lost_by_its_word() {
    let had = vote(3, 0x500, 1, 4);
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Following, Vote { election_epoch: 9, ..had });
    assert!(decided(&bench.hear(3, Leading, had)).is_some());
    assert_eq!(bench.hear(3, Looking, vote(3, 0x500, 1, 4)), [LeaderLooks]);
    // The same in the next election, once it has said that it leads.
    bench.election.stand_down(&mut bench.out);
    let out = bench.hear(3, Looking, vote(3, 0x500, 1, 4));
    assert!(!out.contains(&LeaderLooks), "nobody is followed");
}
