//! The election machine: what a server votes for, and when that is final.
//!
//! A round is a number that rises; votes count only within one. Each server first votes for
//! itself, takes over every better vote it hears and tells everybody. When a quorum says the same,
//! the vote waits a little for a better one that may be on its way, and is final. What others say
//! who are settled already is counted apart, so that a late server joins them.
//!
//! The wait is left out where nothing can be on its way: see [`Election::waits_for_nobody`]. What
//! was decided is taken up by [`Election::confirm`]; a better vote before that opens it again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::base::limits::ELECTION_FINALIZE_MS;
use crate::base::{Instant, ServerId, Zxid};
use crate::peering::{Notification, PeerState, Vote};

use super::answers::Answers;
use super::ballots::{Ballot, Ballots};
use super::{Electorate, Reach};

/// What of the configuration concerns the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionSettings {
    pub me: ServerId,
    /// An observer listens and votes for nobody.
    pub observer: bool,
    /// `fastleader.minNotificationInterval`: the first pause before a vote is told again.
    pub min_interval_ms: u64,
    /// `fastleader.maxNotificationInterval`: what the pause doubles up to.
    pub max_interval_ms: u64,
}

/// What this server brings to an election, read when its storage queue has drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last zxid on its disk. [`Zxid::NONE`] where what it holds is not to be trusted: then it
    /// votes for nobody and joins those who are settled.
    pub zxid: Zxid,
    /// `currentEpoch`.
    pub peer_epoch: i64,
}

/// How an election ended for this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `Leading`, `Following` or `Observing`.
    pub role: PeerState,
    pub vote: Vote,
    /// Whose votes made it final; nobody's, where the leader was designated.
    pub supporters: BTreeSet<ServerId>,
    /// The quorum had settled before, or was not asked; otherwise it was found in this round.
    pub joined: bool,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionOutput {
    /// A newer word to the same server takes the place of one that is not sent yet.
    Tell {
        to: ServerId,
        notification: Notification,
    },
    /// What a voter whose link comes up is told from now on; what was queued for it is old.
    Restate(Option<Notification>),
    Decided(Outcome),
    /// A better vote came before the role was taken up: there is no role yet.
    Reopened,
    /// Somebody's active configuration is newer than this server's. Only a looking server asks.
    NewerConfig {
        from: ServerId,
        version: i64,
        text: Bytes,
    },
    /// A voter looks for a leader while this server leads (`leader.maxTimeToWaitForEpoch`).
    VoterLooks(ServerId),
    /// The leader to follow looks for one itself: it will not lead by this vote. The role is to be
    /// given up.
    LeaderLooks,
}

/// What the machine awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The storage queue: the server has no role and does not vote yet.
    Start,
    /// A quorum. The vote is told again at `resend`.
    Quorum { resend: Instant, pause_ms: u64 },
    /// A better vote than the one that has its quorum, until then.
    BetterVote { until: Instant, pause_ms: u64 },
    /// That the role is taken up.
    Confirmation { role: PeerState, pause_ms: u64 },
    /// Nothing: the server has a role.
    Settled { role: PeerState },
}

/// One server's elections, one after the other.
#[derive(Debug)]
pub struct Election {
    pub(super) settings: ElectionSettings,
    pub(super) electorate: Electorate,
    pub(super) standing: Standing,
    /// Java's logical clock.
    pub(super) round: i64,
    /// Whom this server votes for, while it looks.
    pub(super) proposal: Vote,
    /// The last vote that became final.
    pub(super) settled: Vote,
    pub(super) phase: Phase,
    /// Who is followed has shown that it leads: from there on its link tells.
    pub(super) is_led: bool,
    /// Votes of this round.
    pub(super) ballots: Ballots,
    /// Votes of settled servers, whatever their round.
    pub(super) established: Ballots,
    /// Whose vote of another round was set aside while a decision was near; they are told it.
    pub(super) late: BTreeSet<ServerId>,
    /// Who looks in an older round and was called into this one.
    pub(super) behind: BTreeSet<ServerId>,
    /// Voters that looked when they were last heard, while this server did not.
    pub(super) unheard: BTreeSet<ServerId>,
    reach: BTreeMap<ServerId, Reach>,
    pub(super) answers: Answers,
    /// Voters that have said on their last link that they decide as early as this server. The
    /// next link may be another program's under the same id, so it begins without that. Between
    /// the two it counts still: then nobody is there who could take his time.
    pub(super) kin: BTreeSet<ServerId>,
}

impl Election {
    pub fn new(settings: ElectionSettings, electorate: Electorate, standing: Standing) -> Election {
        assert!(settings.min_interval_ms > 0, "a pause takes time");
        // Whoever asks before the first election hears of this server itself, observer or not.
        let settled = Vote {
            leader: settings.me,
            zxid: standing.zxid,
            election_epoch: -1,
            peer_epoch: standing.peer_epoch,
        };
        Election {
            settings,
            electorate,
            standing,
            round: 0,
            proposal: settled,
            settled,
            phase: Phase::Start,
            is_led: false,
            ballots: Ballots::default(),
            established: Ballots::default(),
            late: BTreeSet::new(),
            behind: BTreeSet::new(),
            unheard: BTreeSet::new(),
            reach: BTreeMap::new(),
            answers: Answers::default(),
            kin: BTreeSet::new(),
        }
    }

    /// Looks for a leader, in a round of its own until it hears of a later one.
    pub fn start(&mut self, now: Instant, standing: Standing, out: &mut Vec<ElectionOutput>) {
        self.standing = standing;
        // A round is whatever the last peer said it is, so it may be the last there is.
        self.round = self.round.wrapping_add(1);
        self.proposal = self.own_vote();
        self.forget_votes();
        let pause_ms = self.settings.min_interval_ms;
        self.phase = Phase::Quorum { resend: now.plus_ms(pause_ms), pause_ms };
        self.ask_unheard(out);
        self.tell_everybody(out);
        self.count(now, out);
    }

    /// The role is lost, or given up: from here until `start` this server only says it looks.
    pub fn stand_down(&mut self, out: &mut Vec<ElectionOutput>) {
        self.phase = Phase::Start;
        out.push(ElectionOutput::Restate(None));
    }

    /// The last leader has said who leads from now on, with the configuration that was committed
    /// at `zxid`: nobody votes. As in Java such a vote is of no round and, until its leader has
    /// one, of no epoch.
    pub fn designate(&mut self, leader: ServerId, zxid: Zxid, out: &mut Vec<ElectionOutput>) {
        assert_eq!(self.phase, Phase::Start, "one role ends before the next begins");
        let vote = Vote { leader, zxid, election_epoch: -1, peer_epoch: -1 };
        self.forget_votes();
        self.settle_for(vote, BTreeSet::new(), out);
    }

    /// The role that was decided is taken up: who leads can be connected to, so it says that it
    /// leads; who follows has been let in. No vote undoes it any more.
    pub fn confirm(&mut self, out: &mut Vec<ElectionOutput>) {
        let role = match self.phase {
            Phase::Confirmation { role, .. } => role,
            Phase::Settled { .. } => return,
            other => panic!("a role is taken up after it was decided, not in {other:?}"),
        };
        self.phase = Phase::Settled { role };
        if role == PeerState::Leading {
            self.restate(out);
            let word = self.settled_word();
            for to in self.others() {
                out.push(ElectionOutput::Tell { to, notification: word.clone() });
            }
        }
    }

    /// Who is followed has told its epoch: it leads.
    pub fn note_led(&mut self) {
        self.is_led = true;
    }

    /// The epoch this server has come to since: what a late server hears must be what it will
    /// hear from others, some of whom started again in the meantime and know the new one only.
    pub fn correct_epoch(&mut self, peer_epoch: i64, out: &mut Vec<ElectionOutput>) {
        self.settled.peer_epoch = peer_epoch;
        if !self.is_looking() {
            self.restate(out);
        }
    }

    /// Another configuration is active, or on its way. An election that is under way is void by
    /// that and has to be started again.
    pub fn adopt(&mut self, electorate: Electorate, observer: bool) {
        self.electorate = electorate;
        self.settings.observer = observer;
        self.answers.clear();
        self.forget_votes();
        if !matches!(self.phase, Phase::Settled { .. }) {
            self.phase = Phase::Start;
        }
        let voters = self.electorate.voters();
        self.reach.retain(|server, _| voters.contains(server));
        self.unheard.retain(|server| voters.contains(server));
        self.kin.retain(|server| voters.contains(server));
    }

    /// How the mesh stands to a server. Of a new link it must be told before what is heard on it.
    pub fn handle_reach(
        &mut self,
        now: Instant,
        server: ServerId,
        reach: Reach,
        out: &mut Vec<ElectionOutput>,
    ) {
        self.answers.forget(server);
        if reach == Reach::Linked {
            self.kin.remove(&server);
        } else {
            // It says it again where a link begins.
            self.unheard.remove(&server);
        }
        if self.electorate.is_voter(server) {
            self.reach.insert(server, reach);
            self.count(now, out);
        }
    }

    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<ElectionOutput>) {
        match self.phase {
            Phase::Quorum { resend, pause_ms } if now >= resend => {
                let longer = pause_ms.saturating_mul(2);
                let pause_ms = longer.min(self.settings.max_interval_ms).max(1);
                self.phase = Phase::Quorum { resend: now.plus_ms(pause_ms), pause_ms };
                self.tell_everybody(out);
            }
            Phase::BetterVote { until, .. } if now >= until => self.decide(out),
            _ => return,
        }
        assert!(self.next_timeout().is_none_or(|next| next > now), "a timer fires once");
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Quorum { resend, .. } => Some(resend),
            Phase::BetterVote { until, .. } => Some(until),
            Phase::Start | Phase::Confirmation { .. } | Phase::Settled { .. } => None,
        }
    }

    /// What this server says it does. Who is to lead and cannot be connected to yet still looks.
    pub fn state(&self) -> PeerState {
        match self.phase {
            Phase::Start | Phase::Quorum { .. } | Phase::BetterVote { .. } => PeerState::Looking,
            Phase::Confirmation { role: PeerState::Leading, .. } => PeerState::Looking,
            Phase::Confirmation { role, .. } | Phase::Settled { role } => role,
        }
    }

    pub fn is_looking(&self) -> bool {
        self.state() == PeerState::Looking
    }

    pub fn round(&self) -> i64 {
        self.round
    }

    /// The last vote that became final.
    pub fn settled_vote(&self) -> Vote {
        self.settled
    }

    /// Whom this server votes for while it looks.
    pub fn proposal(&self) -> Vote {
        self.proposal
    }

    pub fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        let voters = self.electorate.voters();
        let is_voter = |server: ServerId| voters.contains(&server);
        assert!(self.ballots.servers().all(is_voter), "only voters' votes are kept");
        assert!(self.established.servers().all(is_voter), "only voters' votes are kept");
        assert!(self.ballots.of(self.settings.me).is_none(), "nobody hears of himself");
        match self.phase {
            Phase::BetterVote { .. } => {
                let has_quorum = self.electorate.is_quorum(&self.supporters());
                assert!(has_quorum, "what is nearly final has a quorum");
            }
            Phase::Confirmation { role, .. } | Phase::Settled { role } => {
                let leads = self.settled.leader == self.settings.me;
                assert_eq!(leads, role == PeerState::Leading, "who leads voted for himself");
            }
            Phase::Start | Phase::Quorum { .. } => {}
        }
    }

    fn forget_votes(&mut self) {
        self.ballots.clear();
        self.established.clear();
        self.late.clear();
        self.behind.clear();
    }

    /// What this server votes for before it has heard of anybody. Who does not vote names nobody.
    pub(super) fn own_vote(&self) -> Vote {
        let me = self.settings.me;
        let nobody = ServerId(i64::MIN);
        let leader = if self.electorate.is_candidate(me) { me } else { nobody };
        let (zxid, peer_epoch) = if self.settings.observer {
            (Zxid(i64::MIN), i64::MIN)
        } else {
            (self.standing.zxid, self.standing.peer_epoch)
        };
        Vote { leader, zxid, election_epoch: self.round, peer_epoch }
    }

    /// What this server holds is not to be trusted, so it has no opinion of what others hold.
    pub(super) fn is_untrusted(&self) -> bool {
        !self.settings.observer && self.standing.zxid == Zxid::NONE
    }

    /// Who votes for this server's proposal in this round, itself included if it may vote.
    pub(super) fn supporters(&self) -> BTreeSet<ServerId> {
        let mut supporters = self.ballots.supporters(&Ballot::looking(self.proposal));
        let me = self.settings.me;
        let votes = self.electorate.is_voter(me) && self.electorate.is_voter(self.proposal.leader);
        if votes && !self.is_untrusted() {
            supporters.insert(me);
        }
        supporters
    }

    /// Looks whether the proposal has its quorum, and whether it is final by that.
    pub(super) fn count(&mut self, now: Instant, out: &mut Vec<ElectionOutput>) {
        let has_quorum = || self.electorate.is_quorum(&self.supporters());
        match self.phase {
            Phase::Quorum { pause_ms, .. } if has_quorum() => {
                let until = now.plus_ms(ELECTION_FINALIZE_MS);
                self.phase = Phase::BetterVote { until, pause_ms };
            }
            Phase::BetterVote { pause_ms, .. } if !has_quorum() => self.look_on(now, pause_ms),
            _ => {}
        }
        if matches!(self.phase, Phase::BetterVote { .. }) && self.waits_for_nobody() {
            self.decide(out);
        }
    }

    /// Awaits a quorum again, with the pause it had come to.
    pub(super) fn look_on(&mut self, now: Instant, pause_ms: u64) {
        self.phase = Phase::Quorum { resend: now.plus_ms(pause_ms), pause_ms };
    }

    /// Whether no better vote can be on its way: every other voter has voted in this round, or is
    /// down and nobody listens where it was. Those who are not settled must have said that they
    /// decide as early as this server: it would only find the doors of a Java server closed, which
    /// takes its time in any case and is given it.
    fn waits_for_nobody(&self) -> bool {
        let others = self.others();
        others.iter().all(|other| {
            // Who has started again since has forgotten its vote, and its role.
            let ballot = self.ballots.of(*other).filter(|_| !self.behind.contains(other));
            let settled = ballot.is_some_and(|ballot| ballot.state != PeerState::Looking);
            let refused = self.reach.get(other) == Some(&Reach::Refused);
            settled || (self.kin.contains(other) && (ballot.is_some() || refused))
        })
    }

    /// The proposal is final.
    fn decide(&mut self, out: &mut Vec<ElectionOutput>) {
        let supporters = self.supporters();
        assert!(self.electorate.is_quorum(&supporters), "a quorum decides");
        let Phase::BetterVote { pause_ms, .. } = self.phase else {
            panic!("a vote is final after it had its quorum, not in {:?}", self.phase);
        };
        self.settled = self.proposal;
        self.is_led = false;
        let role = self.role_under(self.proposal.leader);
        self.phase = Phase::Confirmation { role, pause_ms };
        self.announce(Outcome { role, vote: self.settled, supporters, joined: false }, out);
    }

    /// Joins a leader that others have.
    pub(super) fn join(
        &mut self,
        vote: Vote,
        supporters: BTreeSet<ServerId>,
        out: &mut Vec<ElectionOutput>,
    ) {
        assert!(self.electorate.is_quorum(&supporters), "a quorum has settled");
        self.round = vote.election_epoch;
        self.settle_for(vote, supporters, out);
    }

    fn settle_for(
        &mut self,
        vote: Vote,
        supporters: BTreeSet<ServerId>,
        out: &mut Vec<ElectionOutput>,
    ) {
        let pause_ms = self.settings.min_interval_ms;
        self.settled = vote;
        self.is_led = false;
        self.proposal = vote;
        let role = self.role_under(vote.leader);
        // Who finds himself elected still has to open his door; who follows has a leader that says
        // it leads, which no vote undoes.
        self.phase = match role {
            PeerState::Leading => Phase::Confirmation { role, pause_ms },
            _ => Phase::Settled { role },
        };
        self.announce(Outcome { role, vote, supporters, joined: true }, out);
    }

    fn announce(&mut self, outcome: Outcome, out: &mut Vec<ElectionOutput>) {
        let leads = outcome.role == PeerState::Leading;
        out.push(ElectionOutput::Decided(outcome));
        if leads {
            // It says so to everybody when it is confirmed.
            return;
        }
        self.restate(out);
        let word = self.settled_word();
        for to in std::mem::take(&mut self.late) {
            out.push(ElectionOutput::Tell { to, notification: word.clone() });
        }
    }

    fn role_under(&self, leader: ServerId) -> PeerState {
        match (leader == self.settings.me, self.settings.observer) {
            (true, _) => PeerState::Leading,
            (false, false) => PeerState::Following,
            (false, true) => PeerState::Observing,
        }
    }

    /// What the voters' links begin with from now on. A settled server that does not vote has
    /// nothing to say unasked: it would only be answered.
    fn restate(&self, out: &mut Vec<ElectionOutput>) {
        let speaks = self.electorate.is_voter(self.settings.me);
        out.push(ElectionOutput::Restate(speaks.then(|| self.settled_word())));
    }

    /// Asks for the votes that were told while nobody counted them. A Java server does not tell its
    /// vote again for being told a worse one of its own round, but it answers whoever is behind.
    /// What it had told is not taken for its vote: who has found a leader since does not say so.
    fn ask_unheard(&mut self, out: &mut Vec<ElectionOutput>) {
        let behind = Vote { election_epoch: i64::MIN, ..self.proposal };
        let word = self.word(PeerState::Looking, behind);
        for to in std::mem::take(&mut self.unheard) {
            // Kin answer the first vote they hear of in a round.
            if !self.kin.contains(&to) {
                out.push(ElectionOutput::Tell { to, notification: word.clone() });
            }
        }
    }

    /// Tells all voters whom this server votes for.
    pub(super) fn tell_everybody(&self, out: &mut Vec<ElectionOutput>) {
        let word = self.proposal_word();
        out.push(ElectionOutput::Restate(Some(word.clone())));
        for to in self.others() {
            out.push(ElectionOutput::Tell { to, notification: word.clone() });
        }
    }

    pub(super) fn proposal_word(&self) -> Notification {
        self.word(PeerState::Looking, Vote { election_epoch: self.round, ..self.proposal })
    }

    /// What a settled server tells who looks.
    pub(super) fn settled_word(&self) -> Notification {
        self.word(self.state(), self.settled)
    }

    /// What somebody hears who does not vote: the last final vote, even while this server looks,
    /// with the round it is in.
    pub(super) fn word_for_others(&self) -> Notification {
        self.word(self.state(), Vote { election_epoch: self.round, ..self.settled })
    }

    fn word(&self, state: PeerState, vote: Vote) -> Notification {
        let config = Some(self.electorate.config.clone());
        Notification { state, vote, version: Notification::VERSION, config, is_kin: true }
    }

    fn others(&self) -> BTreeSet<ServerId> {
        let mut voters = self.electorate.voters();
        voters.remove(&self.settings.me);
        voters
    }
}
