//! What members promise by what they say, held against what they have: positions, epochs, votes,
//! and whom they have heard.

use std::collections::BTreeSet;

use zkd::base::Instant;
use zkd::peering::{Notification, PacketKind, PeerState};
use zkd::proto::{Entry, Txn};

use super::record::{Deed, Record};
use super::setup::server_id;
use super::tap::Word;

impl Record {
    /// Something is said from one member to another.
    pub fn on_word(&mut self, member: usize, to: Option<usize>, word: Word) {
        self.note_deed(member, || Deed::Says { to, word: word.clone() });
        match word {
            Word::Leads { kind, zxid } => self.on_leader_word(member, kind, zxid.0),
            Word::Feeds { kind, .. } => self.on_master_word(kind),
            Word::Learns { kind, zxid } => self.on_learner_word(member, kind, zxid.0),
            Word::Touches(touches) => self.on_told(member, &touches),
            Word::Votes(notification) => self.on_vote(member, &notification),
        }
    }

    fn on_learner_word(&mut self, member: usize, kind: PacketKind, zxid: i64) {
        match kind {
            PacketKind::FollowerInfo | PacketKind::ObserverInfo => {
                self.members[member].has_joined = false;
                self.members[member].lives.on_new_leader();
            }
            PacketKind::AckEpoch => {
                let synced = self.members[member].synced;
                if zxid > synced {
                    self.find(format!(
                        "positions: {member} says that it has 0x{zxid:x}; its disk has 0x{synced:x}"
                    ));
                }
            }
            PacketKind::Ack => self.on_ack(member, zxid),
            _ => {}
        }
    }

    fn on_leader_word(&mut self, member: usize, kind: PacketKind, zxid: i64) {
        let epoch = (zxid >> 32) as u32;
        match kind {
            PacketKind::Diff => self.count("DIFF"),
            PacketKind::Trunc => self.count("TRUNC"),
            PacketKind::Snap => self.count("SNAP"),
            PacketKind::Proposal => self.count("proposals"),
            PacketKind::Inform => self.count("INFORM"),
            PacketKind::NewLeader => {
                let synced = self.members[member].synced;
                self.beginnings.entry(epoch).or_insert(synced);
                let first = *self.leaders.entry(epoch).or_insert(member);
                if first != member {
                    self.find(format!("leaders: epoch {epoch} of {first} and of {member}"));
                }
            }
            PacketKind::UpToDate => {
                self.count("learners brought up to date");
                self.on_established(member);
            }
            _ => {}
        }
    }

    fn on_master_word(&mut self, kind: PacketKind) {
        match kind {
            PacketKind::Diff => self.count("DIFF by a follower"),
            PacketKind::Trunc => self.count("TRUNC by a follower"),
            PacketKind::Snap => self.count("SNAP by a follower"),
            PacketKind::Inform => self.count("INFORM by a follower"),
            PacketKind::UpToDate => self.count("observers brought up to date by a follower"),
            _ => {}
        }
    }

    /// Whoever serves in an epoch has most of the voters in it, on their disks.
    fn on_established(&mut self, member: usize) {
        let epoch = self.leader_epoch(member);
        if !self.established.insert(epoch) {
            return;
        }
        self.count("elections");
        let voters = &self.members[..self.voters];
        let there = voters.iter().filter(|kept| kept.current >= i64::from(epoch)).count();
        if 2 * there <= self.voters && self.voters > 0 {
            self.find(format!("positions: {member} serves in {epoch}, which {there} have on disk"));
        }
    }

    fn leader_epoch(&self, member: usize) -> u32 {
        let epochs = self.leaders.iter().rev();
        epochs.filter(|(_, leader)| **leader == member).map(|(epoch, _)| *epoch).next().unwrap_or(0)
    }

    /// What is acknowledged is on disk, and what came before it too: with an epoch, all that its
    /// leader began with.
    fn on_ack(&mut self, member: usize, zxid: i64) {
        let kept = &mut self.members[member];
        let (synced, current) = (kept.synced, kept.current);
        let is_of_epoch = zxid as u32 == 0;
        let has_joined = kept.has_joined;
        kept.has_joined |= is_of_epoch;
        if !is_of_epoch && !has_joined {
            self.find(format!("order: {member} acknowledges 0x{zxid:x} before its leader's epoch"));
        }
        let begins = self.beginnings.get(&((zxid >> 32) as u32)).copied().unwrap_or(0);
        if is_of_epoch && synced < begins {
            self.find(format!(
                "positions: {member} acknowledges 0x{zxid:x}, which began with 0x{begins:x}; its \
                 disk has 0x{synced:x}"
            ));
        }
        if is_of_epoch && current < zxid >> 32 || !is_of_epoch && synced < zxid {
            self.find(format!(
                "positions: {member} acknowledges 0x{zxid:x}; its disk has 0x{synced:x} and the \
                 epoch {current}"
            ));
        }
    }

    /// A vote for oneself promises what is on disk, unless it is what others still vote for in that
    /// round: what an earlier life had told them. It may have been cut since to what a leader with
    /// a quorum had, so nothing committed is beyond that; and they would wait for ever for it.
    fn on_vote(&mut self, member: usize, said: &Notification) {
        let vote = said.vote;
        if said.state != PeerState::Looking {
            return;
        }
        let promise = (vote.leader.0, vote.zxid.0, vote.peer_epoch, vote.election_epoch);
        if vote.leader != server_id(member) {
            self.seconded.insert(promise);
            return;
        }
        self.count("votes for oneself");
        let kept = &self.members[member];
        let is_above = vote.zxid.0 > kept.synced || vote.peer_epoch > kept.current;
        if is_above && !self.seconded.contains(&promise) {
            let (synced, current) = (kept.synced, kept.current);
            self.find(format!(
                "positions: {member} votes with {vote:?}; its disk has 0x{synced:x} and the epoch \
                 {current}"
            ));
        }
    }

    /// Whoever proposes first the end of a session that did not ask for it has waited for it.
    pub(super) fn check_end(&mut self, member: usize, entry: &Entry) {
        let (session, zxid) = (entry.header.session.0, entry.header.zxid.0);
        let is_expiry = entry.header.cxid == 0 && matches!(entry.txn, Txn::CloseSession { .. });
        if !is_expiry || self.proposals.contains_key(&zxid) || self.is_closing(session, zxid) {
            return;
        }
        let timeout = self.last_model().and_then(|model| model.sessions.get(&session)).copied();
        let Some(timeout_ms) = timeout else { return };
        self.count("sessions expired");
        let ended = self.members[member].lives.on_expired(session, timeout_ms as u64);
        ended.unwrap_or_else(|why| self.find(format!("{why}, by {member}")));
    }

    /// Whether whoever leads in this epoch has proposed the end of the session that its client
    /// asked for. Until that is committed the session is closing: what else its client says is
    /// dropped and gives it no more time, and when its time is over it is ended once more, as in
    /// Apache, for nothing. An earlier leader's proposal may have been lost, and the session is
    /// alive then: it counts only in its own epoch.
    fn is_closing(&self, session: i64, zxid: i64) -> bool {
        let of_epoch = self.proposals.range(zxid >> 32 << 32..zxid).rev();
        let mut of_session = of_epoch.filter(|(_, entry)| entry.header.session.0 == session);
        let is_asked_for = of_session.find_map(|(_, entry)| match entry.txn {
            Txn::CloseSession { .. } => Some(entry.header.cxid != 0),
            Txn::CreateSession { .. } => Some(false),
            _ => None,
        });
        is_asked_for == Some(true)
    }

    /// A member's turn begins.
    pub fn on_clock(&mut self, member: usize, now: Instant) {
        self.members[member].lives.now = Some(now);
    }

    pub fn on_heard(&mut self, member: usize, session: i64) {
        self.members[member].lives.on_heard(session);
    }

    pub fn on_greeted(&mut self, member: usize, session: i64) {
        self.members[member].lives.on_greeted(session);
    }

    /// A learner's answer has come to whom it follows.
    pub fn on_touched(&mut self, member: usize, touches: Vec<i64>) {
        let lives = &mut self.members[member].lives;
        touches.into_iter().for_each(|session| lives.on_touched(session));
    }

    fn on_told(&mut self, member: usize, touches: &[i64]) {
        let known = self.last_model().map(|model| &model.sessions);
        let known: BTreeSet<i64> = known.into_iter().flatten().map(|(id, _)| *id).collect();
        let lives = &mut self.members[member].lives;
        let told = lives.on_told(touches, |id| known.contains(&id), self.followers_feed);
        told.unwrap_or_else(|why| self.find(format!("{why}, by {member}")));
    }
}
