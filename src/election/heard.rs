//! What a notification changes, by what the machine awaits.

use crate::base::{Instant, ServerId, Zxid};
use crate::peering::{Notification, PeerState, Vote};

use super::ballots::{Ballot, Ballots};
use super::fast::{Election, ElectionOutput, Phase};

impl Election {
    /// A server has spoken. Who it is, its link has said, and what it is, each of its words: who
    /// does not say that it is kin is waited for.
    pub fn handle_notification(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        if from == self.settings.me {
            return;
        }
        self.look_at_config(from, heard, out);
        if !self.electorate.is_voter(from) {
            let word = self.word_for_others();
            return self.answer_with(now, from, heard, word, out);
        }
        if heard.is_kin {
            self.kin.insert(from);
        } else {
            self.kin.remove(&from);
        }
        let counts = matches!(self.phase, Phase::Quorum { .. } | Phase::BetterVote { .. });
        if heard.state == PeerState::Looking && !counts {
            self.unheard.insert(from);
        } else {
            self.unheard.remove(&from);
        }
        match self.phase {
            Phase::Start => {}
            Phase::Quorum { .. } | Phase::BetterVote { .. } => {
                self.call_into_round(now, from, heard, out);
                self.on_word(now, from, heard, out);
            }
            Phase::Confirmation { role: PeerState::Leading, pause_ms } => {
                self.on_word_before_leading(now, from, heard, pause_ms, out);
            }
            Phase::Confirmation { role, pause_ms } => {
                self.on_word_before_role(now, from, heard, (role, pause_ms), out);
            }
            Phase::Settled { .. } if self.leader_looks(from, heard) => {
                out.push(ElectionOutput::LeaderLooks);
            }
            Phase::Settled { .. } => self.answer(now, from, heard, out),
        }
    }

    /// A looking server acts upon a newer configuration than its own; the others have a leader
    /// who tells them.
    fn look_at_config(&self, from: ServerId, heard: &Notification, out: &mut Vec<ElectionOutput>) {
        let Some(text) = heard.config.as_ref().filter(|_| heard.version > 1) else { return };
        if let Some(version) = version_of(text)
            && version > self.electorate.version
            && self.is_looking()
        {
            out.push(ElectionOutput::NewerConfig { from, version, text: text.clone() });
        }
    }

    /// Who looks in an older round hears of this one, and votes in it. The round of a server that
    /// does not vote is nobody's business: it would only be answered.
    fn call_into_round(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        if heard.state == PeerState::Looking && heard.vote.election_epoch < self.round {
            self.behind.insert(from);
            if self.electorate.is_voter(self.settings.me) {
                let word = self.proposal_word();
                self.answer_with(now, from, heard, word, out);
            }
        } else {
            self.behind.remove(&from);
        }
    }

    /// Where a looking voter stands to this round: behind it, in it, or gone on from it.
    fn note_round(&mut self, from: ServerId, vote: &Vote) {
        if vote.election_epoch < self.round {
            self.behind.insert(from);
        } else {
            self.behind.remove(&from);
        }
        if vote.election_epoch > self.round {
            self.ballots.remove(from);
        }
    }

    fn on_word(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        if !self.electorate.is_voter(heard.vote.leader) {
            return;
        }
        match heard.state {
            PeerState::Looking => self.on_looking(now, from, heard.vote, out),
            PeerState::Following | PeerState::Leading => self.on_settled(now, from, heard, out),
            PeerState::Observing => {}
        }
    }

    fn on_looking(
        &mut self,
        now: Instant,
        from: ServerId,
        vote: Vote,
        out: &mut Vec<ElectionOutput>,
    ) {
        // Whatever it followed, it does so no more.
        self.established.remove(from);
        if !self.electorate.is_voter(self.settings.me) {
            return self.ask_again_soon(now);
        }
        if self.is_untrusted() || vote.zxid == Zxid::NONE || vote.election_epoch < self.round {
            return;
        }
        let is_better = self.electorate.is_better(&vote, &self.proposal);
        if vote.election_epoch > self.round {
            if matches!(self.phase, Phase::BetterVote { .. }) && !is_better {
                self.ballots.remove(from);
                if self.electorate.is_quorum(&self.supporters()) {
                    // It would change nothing but the round, and leave those who are about to
                    // settle in this one without their quorum. It joins them when they have.
                    self.late.insert(from);
                    return;
                }
            }
            self.enter_round(now, vote, out);
        } else if is_better {
            self.proposal = vote;
            self.reconsider(now);
            self.tell_everybody(out);
        } else if self.is_first_vote(from) {
            // Whatever it was told before it looked, it has not counted, and without this it would
            // have to wait for it to be told again.
            let notification = self.proposal_word();
            out.push(ElectionOutput::Tell { to: from, notification });
        }
        self.ballots.insert(from, Ballot::looking(vote));
        self.count(now, out);
    }

    /// What a looking voter tells who does not vote is whom it followed last, not whom it votes
    /// for. But it is there and electing, so it will soon have something to tell.
    fn ask_again_soon(&mut self, now: Instant) {
        if let Phase::Quorum { resend, .. } = self.phase {
            let pause_ms = self.settings.min_interval_ms;
            let resend = resend.min(now.plus_ms(pause_ms));
            self.phase = Phase::Quorum { resend, pause_ms };
        }
    }

    fn is_first_vote(&self, from: ServerId) -> bool {
        self.ballots.of(from).is_none_or(|had| had.state != PeerState::Looking)
    }

    /// Goes on to a later round: with its vote, if that is better than this server's own, whatever
    /// was heard before.
    fn enter_round(&mut self, now: Instant, vote: Vote, out: &mut Vec<ElectionOutput>) {
        assert!(vote.election_epoch > self.round, "rounds rise during an election");
        self.round = vote.election_epoch;
        self.ballots.clear();
        self.late.clear();
        self.behind.clear();
        let own = self.own_vote();
        self.proposal = if self.electorate.is_better(&vote, &own) { vote } else { own };
        self.reconsider(now);
        self.tell_everybody(out);
    }

    /// The proposal is another: it has no quorum yet.
    fn reconsider(&mut self, now: Instant) {
        if let Phase::BetterVote { pause_ms, .. } = self.phase {
            self.look_on(now, pause_ms);
        }
    }

    /// A settled server's vote counts in its round, and apart from all rounds. Either way its
    /// leader must have said itself that it leads.
    fn on_settled(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        let (vote, state) = (heard.vote, heard.state);
        let ballot = Ballot { vote, state, version: heard.version };
        if vote.election_epoch == self.round {
            self.ballots.insert(from, Ballot { version: 0, ..ballot });
            let supporters = self.ballots.supporters(&ballot);
            if self.electorate.is_quorum(&supporters) && self.leads(&self.ballots, &vote) {
                return self.join(vote, supporters, out);
            }
        }
        self.established.insert(from, ballot);
        let supporters = self.established.supporters(&ballot);
        if self.electorate.is_quorum(&supporters) && self.leads(&self.established, &vote) {
            return self.join(vote, supporters, out);
        }
        self.count(now, out);
    }

    /// Whether the leader of a vote is known to lead: by its own word, or, if that is this server,
    /// by the round.
    fn leads(&self, ballots: &Ballots, vote: &Vote) -> bool {
        if vote.leader == self.settings.me {
            vote.election_epoch == self.round
        } else {
            ballots.says_it_leads(vote.leader)
        }
    }

    /// This server is to lead and has not said so. A better vote opens the election again; one of
    /// an older round will come again in this one, and is waited for like any other.
    fn on_word_before_leading(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        pause_ms: u64,
        out: &mut Vec<ElectionOutput>,
    ) {
        self.call_into_round(now, from, heard, out);
        let vote = heard.vote;
        if heard.state != PeerState::Looking || !self.electorate.is_voter(vote.leader) {
            return;
        }
        // Who speaks of a later round has left the one that it voted in.
        let has_left = vote.election_epoch > self.round && self.ballots.remove(from);
        let is_lost = has_left && !self.electorate.is_quorum(&self.supporters());
        if is_lost || self.is_better_than_settled(&vote) {
            self.reopen(now, pause_ms, out);
            self.on_word(now, from, heard, out);
            self.count(now, out);
        } else if vote.election_epoch == self.round {
            self.ballots.insert(from, Ballot::looking(vote));
        }
    }

    /// This server is to follow, and has not been let in. A better vote opens the election again,
    /// unless the leader has said in the meantime that it leads.
    fn on_word_before_role(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        (role, pause_ms): (PeerState, u64),
        out: &mut Vec<ElectionOutput>,
    ) {
        let leader_leads = heard.state == PeerState::Leading && heard.vote.leader == from;
        if leader_leads && from == self.settled.leader {
            self.phase = Phase::Settled { role };
            return;
        }
        let vote = heard.vote;
        let leader_looks = self.leader_looks(from, heard);
        if heard.state == PeerState::Looking {
            // It looks in another round than the one it voted in: if this opens again, its vote of
            // then is nobody's.
            self.note_round(from, &vote);
        }
        let is_open = heard.state == PeerState::Looking
            && self.electorate.is_voter(vote.leader)
            && vote.election_epoch >= self.round;
        if is_open && self.is_better_than_settled(&vote) {
            self.reopen(now, pause_ms, out);
            self.on_word(now, from, heard, out);
        } else if leader_looks {
            out.push(ElectionOutput::LeaderLooks);
        } else {
            self.answer(now, from, heard, out);
        }
    }

    /// Whether who is to be followed says that it looks for a leader, and cannot have said so
    /// before it was elected: it has started again, or gone on. Its door may be open though it will
    /// not lead, and who waits there would keep it from ever being elected.
    ///
    /// Words of one server come in their order, and its rounds rise while it lives. So a later
    /// round than the vote's is news. An earlier one is where it has voted in this round already;
    /// where others have brought its vote it may be on its way since before that. Behind its own
    /// word that it leads any is. Within a round its vote only improves: one that is better than
    /// that for itself comes behind it. A designated leader was elected in no round.
    fn leader_looks(&self, from: ServerId, heard: &Notification) -> bool {
        let is_leaders = from == self.settled.leader && heard.state == PeerState::Looking;
        let is_followed = self.state() == PeerState::Following && !self.is_led;
        let (elected, round) = (self.settled.election_epoch, heard.vote.election_epoch);
        if !is_leaders || !is_followed || elected < 0 {
            return false;
        }
        let led = |ballots: &Ballots| ballots.says_it_leads(from);
        let has_voted = self.round == elected && self.ballots.of(from).is_some();
        led(&self.ballots)
            || led(&self.established)
            || round > elected
            || (round < elected && has_voted)
            || (round == elected && self.electorate.is_better(&heard.vote, &self.settled))
    }

    fn is_better_than_settled(&self, vote: &Vote) -> bool {
        let counts = !self.is_untrusted() && vote.zxid != Zxid::NONE;
        counts && self.electorate.is_better(vote, &self.settled)
    }

    fn reopen(&mut self, now: Instant, pause_ms: u64, out: &mut Vec<ElectionOutput>) {
        self.proposal = self.settled;
        self.look_on(now, pause_ms);
        out.push(ElectionOutput::Reopened);
        out.push(ElectionOutput::Restate(Some(self.proposal_word())));
    }

    /// A settled server tells who looks what it has settled for.
    fn answer(
        &mut self,
        now: Instant,
        from: ServerId,
        heard: &Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        if heard.state != PeerState::Looking {
            return;
        }
        if self.state() == PeerState::Leading {
            out.push(ElectionOutput::VoterLooks(from));
        }
        let word = self.settled_word();
        self.answer_with(now, from, heard, word, out);
    }

    fn answer_with(
        &mut self,
        now: Instant,
        to: ServerId,
        heard: &Notification,
        notification: Notification,
        out: &mut Vec<ElectionOutput>,
    ) {
        let pause_ms = self.settings.min_interval_ms;
        if self.answers.are_due(now, to, (heard, &notification), pause_ms) {
            out.push(ElectionOutput::Tell { to, notification });
        }
    }
}

/// The version that the text of a configuration names, hexadecimal as Java writes it.
fn version_of(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let mut named = text.lines().filter_map(|line| line.trim().strip_prefix("version="));
    i64::from_str_radix(named.next_back()?, 16).ok()
}
