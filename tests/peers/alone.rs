//! Voters of ours among themselves, over real sockets.

use zkd::base::ServerId;
use zkd::peering::{InitialForm, PeerState};

use crate::asking;
use crate::ensemble::Ensemble;
use crate::voter::{Command, Setup, Voter};

/// Starts them in this order; each holds a last zxid and an epoch.
fn start(ensemble: &Ensemble, voters: &[(i64, i64, i64)]) -> Vec<Voter> {
    let setup = |zxid, epoch| Setup::holding(zxid, epoch);
    voters
        .iter()
        .map(|(id, zxid, epoch)| Voter::start(ensemble, *id, setup(*zxid, *epoch)))
        .collect()
}

/// Waits until all agree on whom they have.
pub fn await_leader(voters: &[Voter], leader: i64) {
    for voter in voters {
        if voter.id == leader {
            voter.await_view("leads", |view| view.leads());
        } else {
            voter.await_view("follows", |view| {
                view.follows(leader) && view.let_in_by == Some(ServerId(leader))
            });
        }
    }
}

#[test]
fn three_voters_elect_the_greatest_id() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let ensemble = Ensemble::of(3);
        let voters = start(&ensemble, &order.map(|id| (id, 0, 0)));
        // Two may have settled before the third came: then it joins them.
        let leader =
            voters[0].await_view("settles", |view| view.let_in_by.is_some() || view.leads());
        let leader = leader.settled.leader.0;
        assert!(leader == 3 || leader == order[0].max(order[1]), "{order:?} elect {leader}");
        await_leader(&voters, leader);
        voters.into_iter().for_each(Voter::end);
    }
}

#[test]
fn the_last_zxid_counts_before_the_id() {
    let ensemble = Ensemble::of(3);
    let voters = start(&ensemble, &[(1, 0x1_0000_0007, 1), (2, 0x1_0000_0006, 1), (3, 0, 1)]);
    await_leader(&voters, 1);
    for voter in &voters {
        let vote = voter.view().outcome().vote;
        assert_eq!((vote.zxid.0, vote.peer_epoch), (0x1_0000_0007, 1));
    }
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn the_epoch_counts_before_the_last_zxid() {
    let ensemble = Ensemble::of(3);
    let voters = start(&ensemble, &[(1, 0x1_0000_0001, 2), (3, 0x1_0000_0009, 1), (2, 0, 0)]);
    await_leader(&voters, 1);
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn two_that_are_left_elect_again_and_who_comes_back_joins_them() {
    let ensemble = Ensemble::of(3);
    let mut voters = start(&ensemble, &[(3, 0, 0), (2, 0, 0), (1, 0, 0)]);
    await_leader(&voters, 3);
    voters.remove(0).end();
    await_leader(&voters, 2);
    let settled = voters[0].view().settled;
    // It is greater than who leads, and changes nothing.
    voters.push(Voter::start(&ensemble, 3, Setup::default()));
    await_leader(&voters, 2);
    let late = voters[2].view();
    assert!(late.outcome().joined, "{late:#?}");
    assert_eq!(late.outcome().vote, settled);
    assert_eq!(voters[0].view().settled, settled);
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn a_leader_that_gives_up_is_elected_again_in_a_later_round() {
    let ensemble = Ensemble::of(3);
    let voters = start(&ensemble, &[(3, 0, 0), (2, 0, 0), (1, 0, 0)]);
    await_leader(&voters, 3);
    let round = voters[0].view().settled.election_epoch;
    voters[0].tell(Command::LookAgain);
    for voter in &voters {
        voter.await_view("settles again", |view| {
            let again = view.settled.election_epoch > round;
            again && view.settled.leader == ServerId(3) && view.state != PeerState::Looking
        });
    }
    voters.into_iter().for_each(Voter::end);
}

/// Each says with every word that it decides as soon as nothing can be on its way.
#[test]
fn five_that_hear_what_the_others_are_agree() {
    let ensemble = Ensemble::of(5);
    let start = |id| Voter::start(&ensemble, id, Setup::default());
    let voters: Vec<Voter> = [5, 1, 4, 2, 3].into_iter().map(start).collect();
    let first = voters[0].await_view("settles", |view| view.let_in_by.is_some() || view.leads());
    await_leader(&voters, first.settled.leader.0);
    for voter in &voters {
        let heard = voter.view().heard;
        assert!(!heard.is_empty() && heard.iter().all(|(_, word)| word.is_kin), "{heard:?}");
    }
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn all_addresses_are_said_and_the_form_may_differ() {
    let ensemble = Ensemble::at_two_addresses(3);
    let form = |id| if id == 2 { InitialForm::V1 } else { InitialForm::V2 };
    let start = |id| Voter::start(&ensemble, id, Setup { form: form(id), ..Setup::default() });
    let voters: Vec<Voter> = [3, 2, 1].into_iter().map(start).collect();
    await_leader(&voters, 3);
    let said = |from: i64, addresses: usize| {
        voters[2].await_view("is dialled", |view| {
            let is_it = |said: &zkd::peering::Initial| {
                said.server == ServerId(from) && said.addresses.len() == addresses
            };
            view.initials.iter().any(is_it)
        });
    };
    said(3, 2);
    said(2, 1);
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn a_stranger_is_told_who_leads() {
    let ensemble = Ensemble::of(3);
    let voters = start(&ensemble, &[(3, 0, 0), (2, 0, 0), (1, 0, 0)]);
    await_leader(&voters, 3);
    for (id, state) in [(1, PeerState::Following), (3, PeerState::Leading)] {
        let answer = asking::ask(ensemble.election_address(id)).expect("an answer");
        assert_eq!((answer.state, answer.vote.leader), (state, ServerId(3)));
        let config = answer.config.expect("today's form has a configuration");
        assert_eq!(config, ensemble.membership.text());
    }
    voters.into_iter().for_each(Voter::end);
}
