//! The last vote of each server, and which of them say the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ServerId;
use crate::peering::{PeerState, Vote};

/// A vote with what decides how it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ballot {
    pub vote: Vote,
    pub state: PeerState,
    /// Of the notification that brought it; 0 where the vote counts in its own round, as Java
    /// counts it there.
    pub version: i32,
}

impl Ballot {
    pub fn looking(vote: Vote) -> Ballot {
        Ballot { vote, state: PeerState::Looking, version: 0 }
    }

    /// Whether both say the same. While one of them is still looking, everything must be equal.
    /// Settled servers may differ in zxid and round, which nobody corrects after the election, so
    /// leader and epoch decide; and where one of them is too old to correct its epoch, the leader
    /// alone does.
    pub fn agrees_with(&self, other: &Ballot) -> bool {
        let looking = |ballot: &Ballot| ballot.state == PeerState::Looking;
        if looking(self) || looking(other) {
            return self.vote == other.vote;
        }
        let same_epoch = self.vote.peer_epoch == other.vote.peer_epoch;
        let one_is_old = (self.version > 0) != (other.version > 0);
        self.vote.leader == other.vote.leader && (one_is_old || same_epoch)
    }
}

/// One ballot a voter: the newest.
#[derive(Clone, Debug, Default)]
pub(super) struct Ballots(BTreeMap<ServerId, Ballot>);

impl Ballots {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn insert(&mut self, from: ServerId, ballot: Ballot) {
        self.0.insert(from, ballot);
    }

    /// Whether there was one.
    pub fn remove(&mut self, server: ServerId) -> bool {
        self.0.remove(&server).is_some()
    }

    pub fn of(&self, server: ServerId) -> Option<&Ballot> {
        self.0.get(&server)
    }

    pub fn servers(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.0.keys().copied()
    }

    /// Who says the same as this ballot.
    pub fn supporters(&self, of: &Ballot) -> BTreeSet<ServerId> {
        let agreeing = self.0.iter().filter(|(_, ballot)| of.agrees_with(ballot));
        agreeing.map(|(server, _)| *server).collect()
    }

    /// Whether this server itself says that it leads. Without its own word a leader that is gone
    /// would be elected over and over.
    pub fn says_it_leads(&self, server: ServerId) -> bool {
        self.of(server).is_some_and(|ballot| ballot.state == PeerState::Leading)
    }
}
