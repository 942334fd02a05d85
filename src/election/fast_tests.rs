//! The rules of the election, one by one.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::{Instant, ServerId, Zxid};
use crate::members::{Quorums, Verifier};
use crate::peering::{Notification, PeerState, Vote};

use super::*;

use ElectionOutput::{Decided, NewerConfig, Reopened, Restate, Tell, VoterLooks};
use PeerState::{Following, Leading, Looking, Observing};

const CONFIG: &[u8] = b"server.1=a:2888:3888:participant\nversion=10";

pub fn majority(voters: &[i64]) -> Verifier {
    Verifier::Majority { voters: voters.iter().map(|id| ServerId(*id)).collect() }
}

pub fn electorate(current: Verifier, next: Option<Verifier>) -> Electorate {
    let quorums = Quorums { current, next };
    Electorate { quorums, config: Bytes::from_static(CONFIG), version: 0x10 }
}

pub fn vote(leader: i64, zxid: i64, election_epoch: i64, peer_epoch: i64) -> Vote {
    Vote { leader: ServerId(leader), zxid: Zxid(zxid), election_epoch, peer_epoch }
}

pub fn word(state: PeerState, vote: Vote) -> Notification {
    let config = Some(Bytes::from_static(CONFIG));
    Notification { state, vote, version: 2, config, is_kin: false }
}

/// One server and what it has said; its clock moves by hand.
pub(super) struct Bench {
    pub election: Election,
    pub now: Instant,
    pub out: Vec<ElectionOutput>,
    /// Who says so with every word.
    pub kin: BTreeSet<i64>,
}

impl Bench {
    pub fn new(me: i64, electorate: Electorate, observer: bool, standing: Standing) -> Bench {
        let settings = ElectionSettings {
            me: ServerId(me),
            observer,
            min_interval_ms: 200,
            max_interval_ms: 60_000,
        };
        let election = Election::new(settings, electorate, standing);
        let mut bench = Bench { election, now: Instant(7), out: Vec::new(), kin: BTreeSet::new() };
        bench.election.start(bench.now, standing, &mut bench.out);
        bench
    }

    /// A voter of so many, numbered from one, with a last zxid and an epoch.
    pub fn voter(me: i64, of: i64, zxid: i64, peer_epoch: i64) -> Bench {
        let voters: Vec<i64> = (1..=of).collect();
        let standing = Standing { zxid: Zxid(zxid), peer_epoch };
        Bench::new(me, electorate(majority(&voters), None), false, standing)
    }

    pub fn hear(&mut self, from: i64, state: PeerState, vote: Vote) -> Vec<ElectionOutput> {
        let is_kin = self.kin.contains(&from);
        self.hear_word(from, Notification { is_kin, ..word(state, vote) })
    }

    pub fn hear_word(&mut self, from: i64, word: Notification) -> Vec<ElectionOutput> {
        self.out.clear();
        self.election.handle_notification(self.now, ServerId(from), &word, &mut self.out);
        self.election.check();
        std::mem::take(&mut self.out)
    }

    pub fn reach(&mut self, server: i64, reach: Reach) -> Vec<ElectionOutput> {
        self.out.clear();
        self.election.handle_reach(self.now, ServerId(server), reach, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// These are kin, and have said it by a word that says nothing else.
    pub fn kin(&mut self, servers: &[i64]) {
        for server in servers {
            self.kin.insert(*server);
            assert!(self.hear(*server, Observing, vote(*server, 0, 0, 0)).is_empty());
        }
    }

    pub fn confirm(&mut self) -> Vec<ElectionOutput> {
        self.out.clear();
        self.election.confirm(&mut self.out);
        self.election.check();
        std::mem::take(&mut self.out)
    }

    /// Lets time pass until the next timer is due, at most so long.
    pub fn wait(&mut self, ms: u64) -> Vec<ElectionOutput> {
        self.out.clear();
        let until = self.now.plus_ms(ms);
        while let Some(due) = self.election.next_timeout().filter(|due| *due <= until) {
            self.now = due;
            self.election.handle_timeout(due, &mut self.out);
        }
        self.now = until;
        self.election.check();
        std::mem::take(&mut self.out)
    }
}

pub(super) fn told(out: &[ElectionOutput], state: PeerState, vote: Vote) -> Vec<i64> {
    let same = |told: &Notification| told.state == state && told.vote == vote;
    out.iter()
        .filter_map(|output| match output {
            Tell { to, notification } if same(notification) => Some(to.0),
            _ => None,
        })
        .collect()
}

fn says_nothing(out: &[ElectionOutput]) -> bool {
    out.iter().all(|output| matches!(output, Restate(_)))
}

pub(super) fn decided(out: &[ElectionOutput]) -> Option<&Outcome> {
    out.iter().find_map(|output| match output {
        Decided(outcome) => Some(outcome),
        _ => None,
    })
}

#[test]
fn a_server_votes_for_itself_and_tells_every_voter_but_itself() {
    let bench = Bench::voter(2, 3, 0x500, 4);
    assert_eq!(told(&bench.out, Looking, vote(2, 0x500, 1, 4)), [1, 3]);
    let Tell { notification, .. } = bench.out.last().expect("it told somebody") else {
        panic!("it ends by telling")
    };
    assert_eq!((notification.version, notification.config.as_deref()), (2, Some(CONFIG)));
    assert!(bench.election.is_looking() && bench.election.round() == 1);
}

#[test]
fn a_better_vote_is_taken_over_by_epoch_then_zxid_then_id_and_told() {
    let cases = [
        (vote(1, 1, 1, 5), true),
        (vote(1, 0x501, 1, 4), true),
        (vote(3, 0x500, 1, 4), true),
        (vote(1, 0x500, 1, 4), false),
        (vote(3, 0x4ff, 1, 4), false),
        (vote(3, 0x600, 1, 3), false),
    ];
    for (heard, is_better) in cases {
        let mut bench = Bench::voter(2, 5, 0x500, 4);
        let out = bench.hear(3, Looking, heard);
        if is_better {
            assert_eq!(told(&out, Looking, heard), [1, 3, 4, 5]);
            assert_eq!(bench.election.proposal(), heard);
        } else {
            assert_eq!(told(&out, Looking, vote(2, 0x500, 1, 4)), [3], "its first vote");
            assert!(says_nothing(&bench.hear(3, Looking, heard)), "and no other is answered");
        }
    }
}

#[test]
fn a_later_round_is_begun_with_the_better_of_its_vote_and_the_own_one() {
    let mut bench = Bench::voter(2, 5, 0x500, 4);
    bench.hear(5, Looking, vote(5, 0x900, 1, 4));
    let out = bench.hear(1, Looking, vote(1, 0x400, 6, 4));
    let own = vote(2, 0x500, 6, 4);
    assert_eq!(told(&out, Looking, own), [1, 3, 4, 5], "what was heard before counts no more");
    let out = bench.hear(3, Looking, vote(3, 0x600, 7, 4));
    assert_eq!(told(&out, Looking, vote(3, 0x600, 7, 4)).len(), 4);
    assert_eq!(bench.election.round(), 7);
}

#[test]
fn who_looks_in_an_older_round_is_called_into_this_one_and_does_not_count() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(3, Looking, vote(1, 1, 8, 1));
    let out = bench.hear(1, Looking, vote(1, 0x999, 3, 9));
    assert_eq!(told(&out, Looking, vote(2, 0x500, 8, 4)), [1]);
    assert_eq!(bench.election.proposal(), vote(2, 0x500, 8, 4));
    assert!(bench.hear(1, Following, vote(1, 1, 3, 1)).is_empty(), "only who looks is answered");
}

#[test]
fn a_quorum_is_final_after_two_hundred_milliseconds_without_a_better_vote() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    assert_eq!(decided(&bench.wait(199)), None);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    let out = bench.wait(1);
    let outcome = decided(&out).expect("a worse word does not make it longer");
    assert_eq!((outcome.role, outcome.vote), (Leading, vote(2, 0x500, 1, 4)));
    assert_eq!(outcome.supporters, [ServerId(1), ServerId(2)].into());
}

#[test]
fn a_better_vote_during_the_wait_makes_it_begin_again() {
    let mut bench = Bench::voter(2, 5, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    bench.hear(3, Looking, vote(2, 0x500, 1, 4));
    bench.wait(150);
    let better = vote(4, 0x500, 1, 4);
    assert_eq!(told(&bench.hear(4, Looking, better), Looking, better).len(), 4);
    assert_eq!(decided(&bench.wait(60)), None, "it has no quorum");
    bench.hear(1, Looking, better);
    assert_eq!(decided(&bench.wait(199)), None);
    let out = bench.wait(1);
    assert_eq!(decided(&out).map(|outcome| outcome.role), Some(Following));
}

#[test]
fn a_worse_vote_of_a_later_round_is_set_aside_during_the_wait_and_answered_behind_it() {
    let mut bench = Bench::voter(2, 5, 0x500, 4);
    let better = vote(4, 0x500, 1, 4);
    bench.hear(4, Looking, better);
    bench.hear(1, Looking, better);
    assert!(says_nothing(&bench.hear(3, Looking, vote(3, 1, 8, 1))));
    assert_eq!(bench.election.round(), 1);
    let out = bench.wait(200);
    assert_eq!(told(&out, Following, better), [3]);
}

#[test]
fn a_supporter_that_has_gone_on_to_a_later_round_takes_its_vote_along() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    let out = bench.hear(1, Looking, vote(1, 0x400, 2, 4));
    assert_eq!(told(&out, Looking, vote(2, 0x500, 2, 4)), [1, 3]);
    assert_eq!(decided(&bench.wait(300)), None);
    // The same between the decision and the role.
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    assert!(decided(&bench.wait(200)).is_some());
    let out = bench.hear(1, Looking, vote(1, 0x400, 2, 4));
    assert!(out.contains(&Reopened));
    assert_eq!(told(&out, Looking, vote(2, 0x500, 2, 4)), [1, 3]);
}

#[test]
fn the_vote_is_told_again_after_pauses_that_double_to_the_longest() {
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    let mut pauses = vec![200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200];
    pauses.extend([60_000, 60_000]);
    for pause in pauses {
        assert!(bench.wait(pause - 1).is_empty());
        assert_eq!(told(&bench.wait(1), Looking, vote(1, 0x500, 1, 4)), [2, 3]);
    }
}

#[test]
fn a_late_server_joins_once_a_quorum_names_a_leader_that_says_it_leads() {
    let settled = vote(3, 0x700, 9, 5);
    let mut bench = Bench::voter(1, 5, 0x500, 4);
    for from in [2, 4, 5] {
        assert_eq!(decided(&bench.hear(from, Following, settled)), None, "not by the leader");
    }
    let out = bench.hear(3, Leading, settled);
    let outcome = decided(&out).expect("now it is");
    assert_eq!((outcome.role, outcome.vote, outcome.joined), (Following, settled, true));
    assert_eq!((bench.election.round(), bench.election.state()), (9, Following));
    // And the leader's word alone is no quorum.
    let mut bench = Bench::voter(1, 5, 0x500, 4);
    bench.hear(3, Leading, settled);
    assert_eq!(decided(&bench.hear(2, Following, settled)), None);
    assert!(decided(&bench.hear(4, Following, settled)).is_some());
}

#[test]
fn settled_votes_agree_whatever_zxid_and_round_they_were_made_in() {
    // Members that restarted or joined later tell other zxids and rounds of the same leader
    // (ZK-1732, ZK-1818, ZK-3537).
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Following, vote(3, 0x600, 2, 5));
    let out = bench.hear(3, Leading, vote(3, 0x700, 9, 5));
    assert_eq!(decided(&out).map(|outcome| outcome.vote), Some(vote(3, 0x700, 9, 5)));
}

#[test]
fn settled_votes_of_two_epochs_disagree_unless_one_is_of_an_old_version() {
    let (old, new) = (vote(3, 0x600, 9, 4), vote(3, 0x700, 9, 5));
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Following, old);
    assert_eq!(decided(&bench.hear(3, Leading, new)), None);
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    let (state, version, is_kin) = (Following, 0, false);
    let oldest = Notification { state, vote: old, version, config: None, is_kin };
    bench.hear_word(2, oldest.clone());
    assert!(decided(&bench.hear(3, Leading, new)).is_some());
    // Two old ones are of one mind about epochs again.
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear_word(2, oldest.clone());
    let leading = Notification { state: Leading, vote: new, ..oldest };
    assert_eq!(decided(&bench.hear_word(3, leading)), None);
}

#[test]
fn in_its_own_round_settled_votes_agree_by_the_leader_alone() {
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Following, vote(3, 0x600, 1, 4));
    assert!(decided(&bench.hear(3, Leading, vote(3, 0x700, 1, 5))).is_some());
    // The vote of who still looks must be the same in everything.
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Looking, vote(3, 0x600, 1, 4));
    assert_eq!(decided(&bench.hear(3, Leading, vote(3, 0x600, 1, 5))), None);
    assert!(decided(&bench.hear(3, Leading, vote(3, 0x600, 1, 4))).is_some());
}

#[test]
fn who_is_named_leader_by_others_leads_only_in_their_round() {
    let named = vote(1, 0x500, 9, 4);
    let mut bench = Bench::voter(1, 3, 0x500, 4);
    bench.hear(2, Following, named);
    assert_eq!(decided(&bench.hear(3, Following, named)), None, "it was in another life");
    bench.hear(2, Looking, vote(2, 1, 9, 1));
    let out = bench.hear(2, Following, named);
    let outcome = decided(&out).expect("it has come to their round");
    assert_eq!(outcome.role, Leading);
    assert!(bench.election.is_looking(), "until it can be connected to");
    assert_eq!(told(&bench.confirm(), Leading, named), [2, 3]);
}

#[test]
fn what_a_server_said_as_a_follower_is_void_once_it_looks() {
    let settled = vote(5, 0x700, 9, 5);
    let mut bench = Bench::voter(1, 5, 0x500, 4);
    bench.hear(5, Leading, settled);
    bench.hear(4, Following, settled);
    bench.hear(4, Looking, vote(4, 0x700, 1, 5));
    assert_eq!(decided(&bench.hear(3, Following, settled)), None);
}

#[test]
fn a_server_whose_data_is_not_trusted_votes_for_nobody_and_joins() {
    let standing = Standing { zxid: Zxid::NONE, peer_epoch: 0 };
    let mut bench = Bench::new(1, electorate(majority(&[1, 2, 3]), None), false, standing);
    for from in [2, 3] {
        assert!(says_nothing(&bench.hear(from, Looking, vote(3, 0x500, 1, 4))));
    }
    assert_eq!(decided(&bench.wait(1000)), None);
    bench.hear(2, Following, vote(3, 0x500, 2, 4));
    assert!(decided(&bench.hear(3, Leading, vote(3, 0x500, 2, 4))).is_some());
    // Nor does anybody count such a vote.
    let mut bench = Bench::voter(2, 3, 0, 0);
    assert!(says_nothing(&bench.hear(1, Looking, vote(3, -1, 1, 7))));
}

#[test]
fn an_observer_names_nobody_and_joins_those_who_have_settled() {
    let standing = Standing { zxid: Zxid(0x900), peer_epoch: 9 };
    let voters = electorate(majority(&[1, 2, 3]), None);
    let mut bench = Bench::new(7, voters, true, standing);
    let nobody = vote(i64::MIN, i64::MIN, 1, i64::MIN);
    assert_eq!(told(&bench.out, Looking, nobody), [1, 2, 3]);
    // A looking voter tells it the leader it had, which may be dead.
    let had = vote(3, 0x500, 4, 2);
    for _ in 0..5 {
        for from in [1, 2, 3] {
            assert!(bench.hear(from, Looking, had).is_empty());
        }
        assert_eq!(told(&bench.wait(200), Looking, nobody), [1, 2, 3], "it asks again soon");
    }
    bench.hear(1, Following, had);
    let out = bench.hear(3, Leading, had);
    assert_eq!(decided(&out).map(|outcome| outcome.role), Some(Observing));
    assert!(out.contains(&Restate(None)), "settled, it has nothing to say unasked");
}

#[test]
fn who_does_not_vote_hears_the_last_settled_vote_with_the_present_round() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(3, Looking, vote(3, 0x600, 5, 4));
    let out = bench.hear(9, Looking, vote(9, 0x999, 7, 9));
    assert_eq!(out.len(), 1, "and does not count");
    assert_eq!(told(&out, Looking, vote(2, 0x500, 5, 4)), [9], "itself, before any election");
    bench.wait(200);
    bench.confirm();
    bench.election.stand_down(&mut bench.out);
    let standing = Standing { zxid: Zxid(0x800), peer_epoch: 6 };
    bench.election.start(bench.now, standing, &mut bench.out);
    let out = bench.hear(9, Observing, vote(9, 0x999, 7, 9));
    assert_eq!(told(&out, Looking, vote(3, 0x600, 6, 4)), [9]);
}

#[test]
fn votes_for_who_does_not_vote_and_words_of_observers_change_nothing() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    assert!(bench.hear(3, Looking, vote(9, 0x600, 5, 9)).is_empty());
    assert!(bench.hear(3, Observing, vote(3, 0x600, 5, 9)).is_empty());
    assert_eq!(bench.election.round(), 1);
}

#[test]
fn a_settled_server_answers_who_looks_and_nobody_else() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    bench.wait(200);
    assert_eq!(told(&bench.confirm(), Leading, vote(2, 0x500, 1, 4)), [1, 3]);
    assert!(bench.hear(3, Following, vote(2, 0x500, 1, 4)).is_empty());
    let better = vote(3, 0x999, 8, 9);
    let out = bench.hear(3, Looking, better);
    assert_eq!(out[0], VoterLooks(ServerId(3)));
    assert_eq!(told(&out, Leading, vote(2, 0x500, 1, 4)), [3]);
    // What it has come to since is what others will say who restarted meanwhile (ZK-1732).
    bench.election.correct_epoch(5, &mut bench.out);
    let now_says = vote(2, 0x500, 1, 5);
    let said = Notification { is_kin: true, ..word(Leading, now_says) };
    assert_eq!(bench.out, [Restate(Some(said))]);
    assert_eq!(told(&bench.hear(3, Looking, better), Leading, now_says), [3]);
}

#[test]
fn both_configurations_are_told_and_must_agree_while_one_replaces_the_other() {
    let next = Some(majority(&[3, 4, 5]));
    let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
    let mut bench = Bench::new(3, electorate(majority(&[1, 2, 3]), next), false, standing);
    let own = vote(3, 0x500, 1, 4);
    assert_eq!(told(&bench.out, Looking, own), [1, 2, 4, 5]);
    bench.hear(1, Looking, own);
    bench.hear(2, Looking, own);
    assert_eq!(decided(&bench.wait(300)), None);
    bench.hear(5, Looking, own);
    assert!(decided(&bench.wait(200)).is_some());
}

#[test]
fn only_the_present_configuration_makes_a_candidate() {
    let next = Some(majority(&[3, 4, 5]));
    let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
    let bench = Bench::new(4, electorate(majority(&[1, 2, 3]), next), false, standing);
    assert_eq!(bench.election.proposal(), vote(i64::MIN, 0x500, 1, 4));
}

#[test]
fn a_looking_server_reports_a_newer_configuration() {
    let with = |text: &'static [u8], version| Notification {
        state: Looking,
        vote: vote(1, 1, 1, 1),
        version,
        config: Some(Bytes::from_static(text)),
        is_kin: false,
    };
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    let text = b"server.9=b:1:2:participant\nversion=1f";
    let out = bench.hear_word(9, with(text, 2));
    let text = Bytes::from_static(text);
    assert_eq!(out[0], NewerConfig { from: ServerId(9), version: 0x1f, text });
    for text in [&b"version=10"[..], b"version=f", b"version=zz", b"", b"version=1f\xff", b"\xff"] {
        let out = bench.hear_word(1, with(text, 2));
        assert!(!out.iter().any(|output| matches!(output, NewerConfig { .. })), "{text:?}");
    }
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    bench.wait(200);
    bench.confirm();
    let out = bench.hear_word(9, with(b"version=1f", 2));
    assert!(!out.iter().any(|output| matches!(output, NewerConfig { .. })), "it has a leader");
}

/// Whoever asks hears what Java's designated servers say: no round, and no epoch before there is
/// one.
#[test]
fn a_designated_leader_is_followed_without_a_vote() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    for (leader, role) in [(3, Following), (2, Leading)] {
        bench.election.stand_down(&mut Vec::new());
        let mut out = Vec::new();
        bench.election.designate(ServerId(leader), Zxid(0x501), &mut out);
        let outcome = decided(&out).map(|outcome| (outcome.role, outcome.vote));
        assert_eq!(outcome, Some((role, vote(leader, 0x501, -1, -1))));
        bench.confirm();
        bench.election.correct_epoch(5, &mut out);
        let answer = bench.hear(1, Looking, vote(1, 0x600, 9, 4));
        assert_eq!(told(&answer, role, vote(leader, 0x501, -1, 5)), [1]);
    }
    // A role that ends goes back to votes, in a round behind all others.
    let round = bench.election.round();
    bench.election.stand_down(&mut Vec::new());
    let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
    bench.election.start(bench.now, standing, &mut Vec::new());
    assert_eq!((bench.election.round(), bench.election.state()), (round + 1, Looking));
}

#[test]
fn a_lone_voter_leads_at_once() {
    let mut bench = Bench::voter(1, 1, 0x500, 4);
    assert_eq!(decided(&bench.out).map(|outcome| outcome.role), Some(Leading));
    assert_eq!(told(&bench.confirm(), Leading, vote(1, 0x500, 1, 4)), [0i64; 0]);
    assert_eq!(bench.election.state(), Leading);
}

#[test]
fn the_last_round_there_is_harms_nobody() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(3, Looking, vote(3, 0x600, i64::MAX, 4));
    assert_eq!(bench.election.round(), i64::MAX);
    let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
    bench.election.start(bench.now, standing, &mut bench.out);
    bench.hear(3, Looking, vote(3, 0x600, i64::MAX, 4));
    assert_eq!(decided(&bench.wait(200)).map(|outcome| outcome.role), Some(Following));
}

#[test]
fn without_a_role_a_server_says_nothing_to_voters_until_it_starts() {
    let mut bench = Bench::voter(2, 3, 0x500, 4);
    bench.hear(1, Looking, vote(2, 0x500, 1, 4));
    bench.wait(200);
    bench.confirm();
    bench.out.clear();
    bench.election.stand_down(&mut bench.out);
    assert_eq!(bench.out, [Restate(None)]);
    assert!(bench.hear(1, Looking, vote(1, 1, 9, 9)).is_empty());
    assert_eq!(bench.election.next_timeout(), None);
    let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
    bench.out.clear();
    bench.election.start(bench.now, standing, &mut bench.out);
    assert_eq!(bench.election.round(), 2, "what it heard meanwhile may not be so any more");
    assert_eq!(told(&bench.out, Looking, vote(2, 0x500, 2, 4)), [1, 3]);
}

#[test]
fn who_voted_while_nobody_counted_is_asked_for_it() {
    let asks = |bench: &mut Bench| {
        let standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };
        bench.out.clear();
        bench.election.start(bench.now, standing, &mut bench.out);
        told(&bench.out, Looking, vote(2, 0x500, i64::MIN, 4))
    };
    let settled = |hears: &dyn Fn(&mut Bench)| {
        let mut bench = Bench::voter(2, 5, 0x500, 4);
        [1, 3, 4, 5].iter().for_each(|server| drop(bench.reach(*server, Reach::Linked)));
        bench.kin(&[5]);
        bench.hear(1, Looking, vote(2, 0x500, 1, 4));
        bench.hear(3, Looking, vote(2, 0x500, 1, 4));
        bench.wait(200);
        bench.confirm();
        hears(&mut bench);
        bench.election.stand_down(&mut bench.out);
        asks(&mut bench)
    };
    assert_eq!(settled(&|_| ()), [0i64; 0], "these votes were counted");
    let looks = |bench: &mut Bench, from| drop(bench.hear(from, Looking, vote(from, 1, 2, 4)));
    assert_eq!(settled(&|bench| [1, 4].iter().for_each(|from| looks(bench, *from))), [1, 4]);
    // Kin answer the first vote in any case; who has settled since has nothing to say, and who has
    // a new link says it there.
    assert_eq!(settled(&|bench| looks(bench, 5)), [0i64; 0]);
    let settles = |bench: &mut Bench| {
        looks(bench, 1);
        drop(bench.hear(1, Following, vote(2, 0x500, 1, 4)));
    };
    assert_eq!(settled(&settles), [0i64; 0]);
    let is_lost = |bench: &mut Bench| {
        looks(bench, 1);
        drop(bench.reach(1, Reach::Unknown));
    };
    assert_eq!(settled(&is_lost), [0i64; 0]);
}
