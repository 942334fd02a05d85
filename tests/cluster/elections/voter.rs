//! Whoever takes part in elections: a server of zkd, or one that does as Java does.

use std::collections::BTreeMap;

use bytes::Bytes;
use zkd::base::{ConnId, Instant, ServerId, Zxid};
use zkd::election::{
    DialFailure, Election, ElectionOutput, ElectionSettings, Electorate, Mesh, MeshOutput,
    MeshSettings, Outcome, PeerSpec, Reach, Standing,
};
use zkd::members::{Member, Quorums, Verifier};
use zkd::peering::{HostPort, Initial, InitialForm, Notification, PeerState, Vote};

use super::cluster::Breakage;
use super::plan::{MemberPlan, Plan};

/// Where everybody listens for votes.
pub const ELECTION_PORT: u16 = 3888;

/// What a voter wants done, in this order, and what is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Dial {
        call: u64,
        addresses: Vec<HostPort>,
    },
    DropDial {
        call: u64,
    },
    Write {
        link: ConnId,
        bytes: Vec<u8>,
    },
    Close {
        link: ConnId,
        after_flush: bool,
    },
    Heard {
        from: ServerId,
        notification: Notification,
    },
    Refused {
        server: ServerId,
        is_so: bool,
    },
    Round(i64),
    Proposes(Vote),
    Decided(Outcome),
    Reopened,
    /// The leader that was to be followed looks for one itself.
    LeaderLooks,
}

pub trait Voter {
    /// Looks for a leader with this on its disk.
    fn start(&mut self, now: Instant, standing: Standing, acts: &mut Vec<Act>);
    /// The role is lost.
    fn stand_down(&mut self, now: Instant, acts: &mut Vec<Act>);
    /// The role is taken up.
    fn confirm(&mut self, now: Instant, acts: &mut Vec<Act>);
    fn correct_epoch(&mut self, now: Instant, epoch: i64, acts: &mut Vec<Act>);
    fn accepted(&mut self, now: Instant, link: ConnId, acts: &mut Vec<Act>);
    fn dialled(
        &mut self,
        now: Instant,
        call: u64,
        outcome: Result<ConnId, DialFailure>,
        acts: &mut Vec<Act>,
    );
    fn initial(&mut self, now: Instant, link: ConnId, initial: &Initial, acts: &mut Vec<Act>);
    fn message(&mut self, now: Instant, link: ConnId, body: &[u8], acts: &mut Vec<Act>);
    fn closed(&mut self, now: Instant, link: ConnId, acts: &mut Vec<Act>);
    fn backlog(&mut self, now: Instant, link: ConnId, waits: bool, acts: &mut Vec<Act>);
    fn timeout(&mut self, now: Instant, acts: &mut Vec<Act>);
    fn next_timeout(&self) -> Option<Instant>;
    fn round(&self) -> i64;
}

/// Who is in the ensemble, as everybody's configuration has it.
pub fn electorate(plan: &Plan) -> Electorate {
    let voters = || plan.members.iter().filter(|member| member.votes);
    let current = if plan.is_grouped {
        let member = |m: &MemberPlan| Member { group: m.group, weight: m.weight, votes: true };
        Verifier::Groups { members: voters().map(|m| (ServerId(m.id), member(m))).collect() }
    } else {
        Verifier::Majority { voters: voters().map(|m| ServerId(m.id)).collect() }
    };
    let line = |id: i64, role: &str| format!("server.{id}=m{id}:2888:3888:{role}\n");
    let role = |votes: bool| if votes { "participant" } else { "observer" };
    let mut text: String = plan.members.iter().map(|m| line(m.id, role(m.votes))).collect();
    text.push_str("version=0");
    let quorums = Quorums { current, next: None };
    Electorate { quorums, config: Bytes::from(text), version: 0 }
}

/// The election addresses of a member. Where a plan wants two, nobody is at the first.
pub fn addresses(plan: &Plan, id: i64) -> Vec<HostPort> {
    let at = |host: String| HostPort { host, port: ELECTION_PORT };
    let first = plan.has_two_addresses.then(|| at(format!("x{id}")));
    first.into_iter().chain([at(format!("m{id}"))]).collect()
}

/// A server of zkd: the machine and the mesh, joined as the node joins them.
pub struct ZkdVoter {
    mesh: Mesh,
    election: Election,
    meshed: Vec<MeshOutput>,
    elected: Vec<ElectionOutput>,
    /// What was last known of it.
    known: (i64, Vote),
    /// Whether it says that it decides early.
    says_kin: bool,
    /// What it has on its disk since it looks.
    zxid: Zxid,
    breakage: Breakage,
}

impl ZkdVoter {
    /// `breakage` is a mistake that is made on purpose.
    pub fn new(
        plan: &Plan,
        place: usize,
        now: Instant,
        standing: Standing,
        breakage: Breakage,
    ) -> ZkdVoter {
        let member = &plan.members[place];
        let me = ServerId(member.id);
        let form = if plan.has_two_addresses { InitialForm::V2 } else { InitialForm::V1 };
        let mesh = Mesh::new(MeshSettings {
            me,
            own: addresses(plan, member.id),
            form,
            tick_ms: plan.tick_ms,
            greeting_ms: plan.sync_ms(),
        });
        let settings = ElectionSettings {
            me,
            observer: !member.votes,
            min_interval_ms: 200,
            max_interval_ms: plan.longest_pause_ms,
        };
        let zxid = standing.zxid;
        let election = Election::new(settings, electorate(plan), standing);
        let known = (election.round(), election.proposal());
        let (meshed, elected) = (Vec::new(), Vec::new());
        let says_kin = plan.is_early;
        let mut voter =
            ZkdVoter { mesh, election, meshed, elected, known, says_kin, zxid, breakage };
        let spec = |m: &MemberPlan| {
            let spec = PeerSpec { addresses: addresses(plan, m.id), voter: m.votes };
            (ServerId(m.id), spec)
        };
        let members: BTreeMap<ServerId, PeerSpec> = plan.members.iter().map(spec).collect();
        voter.mesh.adopt(now, members, &mut voter.meshed);
        voter
    }

    /// Carries to each of the two what the other has said, until both are quiet.
    fn settle(&mut self, now: Instant, acts: &mut Vec<Act>) {
        let decided = |output: &ElectionOutput| match output {
            ElectionOutput::Decided(outcome) => outcome.joined,
            _ => false,
        };
        let proposal = self.election.proposal();
        let proposal = Vote { election_epoch: self.election.round(), ..proposal };
        let known = std::mem::replace(&mut self.known, (self.election.round(), proposal));
        // Who joins takes over a round that it has never voted in.
        if !self.elected.iter().any(decided) {
            if known.0 != self.known.0 {
                acts.push(Act::Round(self.known.0));
            }
            if known.1 != self.known.1 {
                acts.push(Act::Proposes(self.known.1));
            }
        }
        while !self.elected.is_empty() || !self.meshed.is_empty() {
            for output in std::mem::take(&mut self.elected) {
                self.on_elected(now, output, acts);
            }
            for output in std::mem::take(&mut self.meshed) {
                self.on_meshed(now, output, acts);
            }
        }
        self.mesh.check();
        self.election.check();
    }

    fn on_elected(&mut self, now: Instant, output: ElectionOutput, acts: &mut Vec<Act>) {
        match output {
            ElectionOutput::Tell { to, notification } => {
                self.mesh.tell(now, to, notification, &mut self.meshed);
            }
            ElectionOutput::Restate(word) => self.mesh.restate(word),
            ElectionOutput::Decided(outcome) => acts.push(Act::Decided(outcome)),
            ElectionOutput::Reopened => acts.push(Act::Reopened),
            ElectionOutput::LeaderLooks => acts.push(Act::LeaderLooks),
            ElectionOutput::NewerConfig { .. } => panic!("there is one configuration"),
            ElectionOutput::VoterLooks(_) => {}
        }
    }

    fn on_meshed(&mut self, now: Instant, output: MeshOutput, acts: &mut Vec<Act>) {
        match output {
            MeshOutput::Dial { dial, addresses, .. } => {
                acts.push(Act::Dial { call: dial, addresses });
            }
            MeshOutput::DropDial { dial } => acts.push(Act::DropDial { call: dial }),
            MeshOutput::Greet { link, initial, form } => {
                let mut bytes = Vec::new();
                initial.write(form, &mut bytes);
                acts.push(Act::Write { link, bytes });
            }
            MeshOutput::Send { link, mut notification } => {
                let mut bytes = Vec::new();
                notification.is_kin &= self.says_kin;
                notification.write_frame(&mut bytes);
                acts.push(Act::Write { link, bytes });
            }
            MeshOutput::Close { link, after_flush, .. } => {
                acts.push(Act::Close { link, after_flush });
            }
            MeshOutput::Reach { server, reach } => {
                acts.push(Act::Refused { server, is_so: reach == Reach::Refused });
                self.election.handle_reach(now, server, reach, &mut self.elected);
            }
        }
    }
}

impl Voter for ZkdVoter {
    fn start(&mut self, now: Instant, standing: Standing, acts: &mut Vec<Act>) {
        self.zxid = standing.zxid;
        self.election.start(now, standing, &mut self.elected);
        self.settle(now, acts);
    }

    fn stand_down(&mut self, now: Instant, acts: &mut Vec<Act>) {
        self.election.stand_down(&mut self.elected);
        self.settle(now, acts);
    }

    fn confirm(&mut self, now: Instant, acts: &mut Vec<Act>) {
        self.election.confirm(&mut self.elected);
        self.election.note_led();
        self.settle(now, acts);
    }

    fn correct_epoch(&mut self, now: Instant, epoch: i64, acts: &mut Vec<Act>) {
        self.election.correct_epoch(epoch, &mut self.elected);
        self.settle(now, acts);
    }

    fn accepted(&mut self, now: Instant, link: ConnId, acts: &mut Vec<Act>) {
        self.mesh.accepted(now, link, &mut self.meshed);
        self.settle(now, acts);
    }

    fn dialled(
        &mut self,
        now: Instant,
        call: u64,
        outcome: Result<ConnId, DialFailure>,
        acts: &mut Vec<Act>,
    ) {
        self.mesh.handle_dialled(now, call, outcome, &mut self.meshed);
        self.settle(now, acts);
    }

    fn initial(&mut self, now: Instant, link: ConnId, initial: &Initial, acts: &mut Vec<Act>) {
        self.mesh.handle_initial(now, link, initial, &mut self.meshed);
        self.settle(now, acts);
    }

    fn message(&mut self, now: Instant, link: ConnId, body: &[u8], acts: &mut Vec<Act>) {
        let mut notification = Notification::read(body).expect("everybody here writes well");
        notification.is_kin |= self.breakage == Breakage::JavaIsHasty;
        let Vote { zxid, election_epoch, .. } = notification.vote;
        let is_other = (zxid, election_epoch) != (self.zxid, self.round());
        let is_settled = notification.state != PeerState::Looking;
        if self.breakage == Breakage::StrictVotes && is_settled && is_other {
            return self.settle(now, acts);
        }
        if let Some(from) = self.mesh.heard(now, link) {
            acts.push(Act::Heard { from, notification: notification.clone() });
            self.election.handle_notification(now, from, &notification, &mut self.elected);
        }
        self.settle(now, acts);
    }

    fn closed(&mut self, now: Instant, link: ConnId, acts: &mut Vec<Act>) {
        self.mesh.handle_closed(now, link, &mut self.meshed);
        self.settle(now, acts);
    }

    fn backlog(&mut self, now: Instant, link: ConnId, waits: bool, acts: &mut Vec<Act>) {
        self.mesh.handle_backlog(link, waits, &mut self.meshed);
        self.settle(now, acts);
    }

    fn timeout(&mut self, now: Instant, acts: &mut Vec<Act>) {
        if self.mesh.next_timeout().is_some_and(|due| due <= now) {
            self.mesh.handle_timeout(now, &mut self.meshed);
            self.settle(now, acts);
        }
        if self.election.next_timeout().is_some_and(|due| due <= now) {
            self.election.handle_timeout(now, &mut self.elected);
            self.settle(now, acts);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timers = [self.mesh.next_timeout(), self.election.next_timeout()];
        timers.into_iter().flatten().min()
    }

    fn round(&self) -> i64 {
        self.election.round()
    }
}

/// What a member of any kind brings to an election.
pub fn standing(zxid: i64, epoch: i64) -> Standing {
    Standing { zxid: Zxid(zxid), peer_epoch: epoch }
}

/// What a server does that was decided to have this role.
pub fn role_of(leader: i64, me: i64, votes: bool) -> PeerState {
    match (leader == me, votes) {
        (true, _) => PeerState::Leading,
        (false, true) => PeerState::Following,
        (false, false) => PeerState::Observing,
    }
}
