//! Who may vote, who may lead, and what is enough.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::ServerId;
use crate::members::{Quorums, Verifier};
use crate::peering::Vote;

/// The configuration an election is held under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    pub quorums: Quorums,
    /// The text of the active configuration, which every notification carries, and its version.
    pub config: Bytes,
    pub version: i64,
}

impl Electorate {
    /// Whether it votes in the present configuration or in the one on its way.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.quorums.current.is_voter(server)
            || self.quorums.next.as_ref().is_some_and(|next| next.is_voter(server))
    }

    /// Whether it may propose itself: only the present configuration counts.
    pub fn is_candidate(&self, server: ServerId) -> bool {
        self.quorums.current.is_voter(server)
    }

    /// Everybody who votes in either configuration.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        let mut voters = voters_of(&self.quorums.current);
        voters.extend(self.quorums.next.iter().flat_map(voters_of));
        voters
    }

    pub fn is_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.quorums.are_satisfied(servers)
    }

    /// Whether a vote beats another: by epoch, then zxid, then id. Who weighs nothing never leads,
    /// whatever it has.
    pub fn is_better(&self, new: &Vote, than: &Vote) -> bool {
        let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid, vote.leader);
        weight(&self.quorums.current, new.leader) != 0 && rank(new) > rank(than)
    }
}

fn voters_of(verifier: &Verifier) -> BTreeSet<ServerId> {
    let named: BTreeSet<ServerId> = match verifier {
        Verifier::Majority { voters } => voters.clone(),
        Verifier::Groups { members } => members.keys().copied().collect(),
    };
    named.into_iter().filter(|server| verifier.is_voter(*server)).collect()
}

/// In a majority everybody weighs one, even a server that only the next configuration has.
fn weight(verifier: &Verifier, server: ServerId) -> u32 {
    match verifier {
        Verifier::Majority { .. } => 1,
        Verifier::Groups { members } => members.get(&server).map_or(0, |member| member.weight),
    }
}
