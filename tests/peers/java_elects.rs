//! One Java server and two voters of ours elect, wherever the greatest vote is. What Java did, its
//! log says, and Java itself when it is asked.

use zkd::base::{ServerId, Zxid};
use zkd::peering::{PeerState, Vote};

use crate::alone::await_leader;
use crate::asking;
use crate::ensemble::Ensemble;
use crate::java::{Java, Member, PAST_ZXID};
use crate::voter::{Setup, Voter};

/// Who is there, with what it holds: id, last zxid, epoch.
struct Placing {
    java: i64,
    /// The epoch of a Java server that holds something.
    past: Option<i64>,
    /// In the order they are started; the better vote first, for it and Java are a quorum.
    ours: [(i64, i64, i64); 2],
    leader: i64,
}

impl Placing {
    /// What everybody must vote for in the end.
    fn vote(&self) -> (i64, i64) {
        let mut ours = self.ours.iter();
        match ours.find(|(id, ..)| *id == self.leader) {
            Some((_, zxid, epoch)) => (*zxid, *epoch),
            None => self.past.map_or((0, 0), |epoch| (PAST_ZXID, epoch)),
        }
    }
}

fn elect(placing: &Placing) {
    let ensemble = Ensemble::of(3);
    let member = placing.past.map_or(Member::new(), Member::with_past);
    let mut java = Java::start(&ensemble, placing.java, member);
    // Without it, two of ours would be a quorum.
    java.await_line("New election. My id");
    let start = |(id, zxid, epoch): &(i64, i64, i64)| {
        Voter::start(&ensemble, *id, Setup::holding(*zxid, *epoch))
    };
    let [better, other] = &placing.ours;
    let better = start(better);
    // A busy Java may take so long to its first word that two of ours would settle without it.
    better.await_view("hears Java", |view| {
        view.heard.iter().any(|(from, _)| *from == ServerId(placing.java))
    });
    let voters = vec![better, start(other)];
    await_leader(&voters, placing.leader);

    let (zxid, epoch) = placing.vote();
    let expected = |vote: &Vote| {
        let what = (vote.leader, vote.zxid, vote.peer_epoch);
        what == (ServerId(placing.leader), Zxid(zxid), epoch)
    };
    for voter in &voters {
        let view = voter.view();
        assert!(expected(&view.settled), "voter {}: {view:#?}", voter.id);
        assert_eq!((view.outcomes.len(), view.faults.len(), view.senseless), (1, 0, 0));
    }
    // Java has told everybody, itself included, whom it votes for, and has acted upon it.
    java.await_note("its vote", |note| {
        note.from == placing.java
            && (note.leader, note.zxid, note.peer_epoch) == (placing.leader, zxid, epoch)
    });
    let state = if placing.java == placing.leader {
        java.await_role("LEADING");
        PeerState::Leading
    } else {
        java.await_role("FOLLOWING");
        follows(&mut java, &ensemble, &voters, placing.leader);
        PeerState::Following
    };
    let at = ensemble.election_address(placing.java);
    asking::await_answer(at, "it has our leader", |answer| {
        answer.state == state && expected(&answer.vote)
    });
    // What ours say, Java understands: today's form, and nothing in it is wrong.
    let notes = java.notes();
    assert!(notes.iter().all(|note| note.version == 2 || note.from >= 1000), "{notes:?}");
    assert!(notes.iter().any(|note| note.from == placing.leader), "{notes:?}");
    let log = java.log();
    for fault in ["Something went wrong", "Skipping the processing", "Ignoring notification"] {
        assert!(!log.contains(fault), "{log}");
    }
    voters.into_iter().for_each(Voter::end);
}

/// Java has connected to the leader among ours, and says there who it is.
pub fn follows(java: &mut Java, ensemble: &Ensemble, voters: &[Voter], leader: i64) {
    java.await_line(&format!(
        "Successfully connected to leader, using address: /127.0.0.1:{}",
        ensemble.quorum_port(leader)
    ));
    let leading = voters.iter().find(|voter| voter.id == leader).expect("one of ours leads");
    let id = ServerId(java.id);
    leading.await_view("hears a learner", |view| {
        view.learners.iter().any(|learner| learner.server == id)
    });
}

#[test]
fn java_leads_by_its_id() {
    elect(&Placing { java: 3, past: None, ours: [(2, 0, 0), (1, 0, 0)], leader: 3 });
}

#[test]
fn java_follows_a_greater_id() {
    elect(&Placing { java: 1, past: None, ours: [(3, 0, 0), (2, 0, 0)], leader: 3 });
}

#[test]
fn java_leads_by_its_zxid() {
    let ours = [(3, PAST_ZXID - 1, 0), (2, 0, 0)];
    elect(&Placing { java: 1, past: Some(0), ours, leader: 1 });
}

#[test]
fn java_follows_a_greater_zxid() {
    let ours = [(1, PAST_ZXID + 1, 0), (2, PAST_ZXID, 0)];
    elect(&Placing { java: 3, past: Some(0), ours, leader: 1 });
}

#[test]
fn java_leads_by_its_epoch() {
    let ours = [(3, 0x1_0000_0009, 1), (1, 0, 0)];
    elect(&Placing { java: 2, past: Some(2), ours, leader: 2 });
}

#[test]
fn java_follows_a_greater_epoch() {
    let ours = [(2, 1, 3), (1, 0x1_0000_0000, 1)];
    elect(&Placing { java: 3, past: Some(2), ours, leader: 2 });
}
