//! Voters of ours in ensembles that Java servers leave and join, in both forms of first messages,
//! and of both versions.

use zkd::base::ServerId;
use zkd::peering::{Initial, InitialForm, PeerState};

use crate::alone::await_leader;
use crate::asking;
use crate::ensemble::Ensemble;
use crate::java::{Java, Member, V3_8, V3_9, V3_9_4};
use crate::java_elects::follows;
use crate::voter::{Command, Setup, Voter};

#[test]
fn java_finds_the_ensemble_it_has_left() {
    let ensemble = Ensemble::of(3);
    let start = |id| Voter::start(&ensemble, id, Setup::default());
    let voters: Vec<Voter> = [3, 1].into_iter().map(start).collect();
    await_leader(&voters, 3);
    // The round becomes one that a server which starts has not come to.
    for _ in 0..2 {
        let round = voters[0].view().settled.election_epoch;
        voters[0].tell(Command::LookAgain);
        for voter in &voters {
            voter.await_view("settles again", |view| view.settled.election_epoch > round);
        }
        await_leader(&voters, 3);
    }
    voters.iter().for_each(|voter| voter.tell(Command::CorrectEpoch(1)));
    let before: Vec<usize> = voters.iter().map(|voter| voter.view().outcomes.len()).collect();
    let settled =
        voters[0].await_view("has its epoch", |view| view.settled.peer_epoch == 1).settled;
    assert!(settled.election_epoch >= 3, "{settled:?}");

    let mut java = Java::start(&ensemble, 2, Member::new());
    for run in 0..2 {
        if run > 0 {
            java.kill();
            voters[0].await_view("misses it", |view| !view.is_linked_to(2));
            java.start_again();
        }
        java.await_role("FOLLOWING");
        follows(&mut java, &ensemble, &voters, 3);
        let heard = java.await_note("the leader", |note| note.state == "LEADING");
        assert_eq!((heard.from, heard.leader, heard.peer_epoch), (3, 3, 1));
        let at = ensemble.election_address(2);
        asking::await_answer(at, "it has our leader", |answer| {
            let vote = answer.vote;
            let who = (answer.state, vote.leader, vote.peer_epoch);
            who == (PeerState::Following, ServerId(3), 1)
        });
    }
    let after: Vec<usize> = voters.iter().map(|voter| voter.view().outcomes.len()).collect();
    assert_eq!(before, after, "who comes back elects nobody");
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn a_late_voter_joins_java_servers_and_elects_with_who_is_left() {
    let ensemble = Ensemble::of(3);
    let mut follower = Java::start(&ensemble, 1, Member::new());
    let mut leader = Java::start(&ensemble, 2, Member::new());
    leader.await_line("Have quorum of supporters");
    follower.await_line("Peer state changed: following - broadcast");
    // It has the greatest id, which nobody asks for any more.
    let voters = [Voter::start(&ensemble, 3, Setup::default())];
    await_leader(&voters, 2);
    let view = voters[0].view();
    assert!(view.outcome().joined, "{view:#?}");
    assert_eq!(view.outcome().vote.peer_epoch, 1);
    let roles = |java: &Java| (java.count(" LEADING"), java.count(" FOLLOWING"));
    assert_eq!((roles(&leader), roles(&follower)), ((1, 0), (0, 1)), "nobody was disturbed");

    // Of those who are left, Java has come to the later epoch.
    leader.kill();
    follower.await_role("LEADING");
    await_leader(&voters, 1);
    let vote = voters[0].view().outcome().vote;
    assert_eq!((vote.leader, vote.peer_epoch), (ServerId(1), 1));
    let own = follower.await_note("its second vote", |note| {
        note.from == 1 && note.leader == 1 && note.peer_epoch == 1
    });
    assert_eq!(own.state, "LOOKING");
    voters.into_iter().for_each(Voter::end);
}

/// Java says all its addresses, and reads both forms; it is the greater of the first of ours, which
/// it dials therefore where that says to be.
fn elect_at_two_addresses(first: InitialForm, third: InitialForm) {
    let ensemble = Ensemble::at_two_addresses(3);
    let mut java = Java::start(&ensemble, 2, Member::new());
    java.await_line("New election. My id");
    let start = |(id, form)| Voter::start(&ensemble, id, Setup { form, ..Setup::default() });
    let voters: Vec<Voter> = [(3, third), (1, first)].into_iter().map(start).collect();
    await_leader(&voters, 3);
    java.await_role("FOLLOWING");
    voters[1].await_view("is dialled by Java", |view| {
        let is_java = |said: &&Initial| said.server == ServerId(2);
        view.initials.iter().find(is_java).is_some_and(|said| said.addresses.len() == 2)
    });
    voters[0].await_view("has both links", |view| view.is_linked_to(1) && view.is_linked_to(2));
    voters[1].await_view("has both links", |view| view.is_linked_to(2) && view.is_linked_to(3));
    assert!(!java.log().contains("Initial message parsing error"), "{}", java.log());
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn java_of_several_addresses_reads_one_address() {
    elect_at_two_addresses(InitialForm::V1, InitialForm::V2);
}

#[test]
fn java_of_several_addresses_reads_them_all() {
    elect_at_two_addresses(InitialForm::V2, InitialForm::V1);
}

#[test]
fn both_versions_follow_one_of_ours_and_are_joined_by_it() {
    let ensemble = Ensemble::of(3);
    let mut old = Java::start(&ensemble, 1, Member::of(V3_8));
    old.await_line("New election. My id");
    let voters = [Voter::start(&ensemble, 3, Setup::default())];
    await_leader(&voters, 3);
    let mut new = Java::start(&ensemble, 2, Member::of(V3_9));
    for java in [&mut old, &mut new] {
        java.await_role("FOLLOWING");
        follows(java, &ensemble, &voters, 3);
    }
    voters.into_iter().for_each(Voter::end);
    // Without it the two settle, and when it is back it joins them.
    new.await_role("LEADING");
    old.await_line("Peer state changed: following - broadcast");
    let voters = [Voter::start(&ensemble, 3, Setup::default())];
    await_leader(&voters, 2);
    let view = voters[0].view();
    assert!(view.outcome().joined, "{view:#?}");
    for id in [1, 2] {
        let from = |said: &(ServerId, zkd::peering::Notification)| said.0 == ServerId(id);
        let told = view.heard.iter().rev().find(|said| from(said)).expect("both have answered");
        assert_eq!((told.1.vote.leader, told.1.version), (ServerId(2), 2));
        let config = told.1.config.as_deref().expect("today's form has a configuration");
        assert_eq!(config, ensemble.membership.text().as_bytes(), "ours and Java's are one text");
    }
    voters.into_iter().for_each(Voter::end);
}

#[test]
fn the_older_version_leads_the_newer_and_one_of_ours() {
    let ensemble = Ensemble::of(3);
    let mut old = Java::start(&ensemble, 3, Member::of(V3_8));
    old.await_line("New election. My id");
    let voters = [Voter::start(&ensemble, 2, Setup::default())];
    await_leader(&voters, 3);
    old.await_role("LEADING");
    let mut new = Java::start(&ensemble, 1, Member::of(V3_9));
    new.await_role("FOLLOWING");
    old.await_line("Have quorum of supporters");
    let outcomes = voters[0].view().outcomes.len();
    assert_eq!(outcomes, 1, "nobody was disturbed");
    voters.into_iter().for_each(Voter::end);
}

/// Ours say with every word that they decide early, where Java does not look. Java never says so.
#[test]
fn every_version_leaves_alone_what_kin_say() {
    for version in [V3_8, V3_9_4, V3_9] {
        let ensemble = Ensemble::of(3);
        let mut java = Java::start(&ensemble, 1, Member::of(version));
        java.await_line("New election. My id");
        let start = |id| Voter::start(&ensemble, id, Setup::holding(id, 0));
        let voters: Vec<Voter> = [3, 2].into_iter().map(start).collect();
        await_leader(&voters, 3);
        java.await_role("FOLLOWING");
        follows(&mut java, &ensemble, &voters, 3);
        for from in [2, 3] {
            let note = java.await_note("what ours say", |note| note.from == from);
            let said = (note.leader, note.zxid, note.peer_epoch, note.version);
            assert!([(2, 2, 0, 2), (3, 3, 0, 2)].contains(&said), "{version}: {note:?}");
        }
        let log = java.log();
        for fault in ["Something went wrong", "Skipping the processing", "Invalid configLength"] {
            assert!(!log.contains(fault), "{version}: {log}");
        }
        for voter in &voters {
            let heard = voter.view().heard;
            let is_right = |(from, word): &(ServerId, zkd::peering::Notification)| {
                word.is_kin == (*from != ServerId(1)) && word.version == 2
            };
            let has_heard = |id| heard.iter().any(|(from, _)| *from == ServerId(id));
            assert!(has_heard(1) && has_heard(5 - voter.id), "{version}: {heard:?}");
            assert!(heard.iter().all(is_right), "{version}: {heard:?}");
        }
        voters.into_iter().for_each(Voter::end);
    }
}
