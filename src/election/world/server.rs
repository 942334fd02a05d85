//! What a simulated machine runs: this room's two machines wired as `node` will wire them, or a
//! Java server as its sources describe it.

use std::collections::BTreeMap;

use crate::base::{ConnId, Instant, ServerId, Zxid};
use crate::peering::{HostPort, Initial, InitialForm, Notification, Vote};

use super::super::*;
use super::java::Java;

#[derive(Clone, Debug)]
pub enum Input {
    /// The machine is up: it knows the members.
    Boot,
    Accepted(ConnId),
    Initial(ConnId, Initial),
    Heard(ConnId, Notification),
    Dialled(u64, Result<ConnId, DialFailure>),
    Closed(ConnId),
    Timeout,
    /// Look for a leader, having this on disk.
    Look(Standing),
    /// The role that was decided can be taken up.
    Confirm,
    StandDown,
    CorrectEpoch(i64),
}

#[derive(Clone, Debug)]
pub enum Action {
    Net(MeshOutput),
    Decided(Outcome),
    Reopened,
    LeaderLooks,
    /// A vote this server has told somebody, or itself.
    Voted(Vote),
}

/// One server's wiring of the two machines.
pub struct Ours {
    mesh: Mesh,
    election: Election,
    members: BTreeMap<ServerId, PeerSpec>,
}

pub enum Server {
    Ours(Box<Ours>),
    Java(Box<Java>),
}

pub fn address(server: ServerId) -> HostPort {
    HostPort { host: format!("m{}", server.0), port: 3888 }
}

impl Ours {
    pub fn new(
        settings: ElectionSettings,
        electorate: Electorate,
        members: BTreeMap<ServerId, PeerSpec>,
    ) -> Ours {
        let mesh = Mesh::new(MeshSettings {
            me: settings.me,
            own: vec![address(settings.me)],
            form: InitialForm::V1,
            tick_ms: 2000,
            greeting_ms: 10_000,
        });
        // Until the machine looks, nobody asks what is on its disk.
        let nothing = Standing { zxid: Zxid::ZERO, peer_epoch: 0 };
        Ours { mesh, election: Election::new(settings, electorate, nothing), members }
    }

    fn take(&mut self, now: Instant, input: Input, actions: &mut Vec<Action>) {
        let (mut votes, mut links) = (Vec::new(), Vec::new());
        match input {
            Input::Boot => self.mesh.adopt(now, self.members.clone(), &mut links),
            Input::Accepted(link) => self.mesh.accepted(now, link, &mut links),
            Input::Initial(link, said) => {
                self.mesh.handle_initial(now, link, &said, &mut links);
            }
            Input::Heard(link, word) => {
                if let Some(from) = self.mesh.heard(now, link) {
                    self.election.handle_notification(now, from, &word, &mut votes);
                }
            }
            Input::Dialled(dial, how) => self.mesh.handle_dialled(now, dial, how, &mut links),
            Input::Closed(link) => self.mesh.handle_closed(now, link, &mut links),
            Input::Timeout => {
                self.mesh.handle_timeout(now, &mut links);
                self.election.handle_timeout(now, &mut votes);
            }
            Input::Look(standing) => self.election.start(now, standing, &mut votes),
            Input::Confirm => {
                self.election.confirm(&mut votes);
                // Nobody is let in here before the leader leads.
                self.election.note_led();
            }
            Input::StandDown => self.election.stand_down(&mut votes),
            Input::CorrectEpoch(epoch) => self.election.correct_epoch(epoch, &mut votes),
        }
        self.settle(now, votes, links, actions);
        self.mesh.check();
        self.election.check();
    }

    /// Hands each machine's words to the other until both are silent.
    fn settle(
        &mut self,
        now: Instant,
        mut votes: Vec<ElectionOutput>,
        mut links: Vec<MeshOutput>,
        actions: &mut Vec<Action>,
    ) {
        while !votes.is_empty() || !links.is_empty() {
            for output in std::mem::take(&mut votes) {
                match output {
                    ElectionOutput::Tell { to, notification } => {
                        self.mesh.tell(now, to, notification, &mut links);
                    }
                    ElectionOutput::Restate(word) => {
                        actions.extend(word.as_ref().map(|word| Action::Voted(word.vote)));
                        self.mesh.restate(word);
                    }
                    ElectionOutput::Decided(outcome) => actions.push(Action::Decided(outcome)),
                    ElectionOutput::Reopened => actions.push(Action::Reopened),
                    ElectionOutput::LeaderLooks => actions.push(Action::LeaderLooks),
                    ElectionOutput::NewerConfig { .. } | ElectionOutput::VoterLooks(_) => {}
                }
            }
            for output in std::mem::take(&mut links) {
                if let MeshOutput::Reach { server, reach } = output {
                    self.election.handle_reach(now, server, reach, &mut votes);
                } else {
                    actions.push(Action::Net(output));
                }
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.mesh.next_timeout(), self.election.next_timeout()].into_iter().flatten().min()
    }
}

impl Server {
    pub fn take(&mut self, now: Instant, input: Input, actions: &mut Vec<Action>) {
        match self {
            Server::Ours(ours) => ours.take(now, input, actions),
            Server::Java(java) => java.take(now, input, actions),
        }
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match self {
            Server::Ours(ours) => ours.next_timeout(),
            Server::Java(java) => java.next_timeout(),
        }
    }

    pub fn settled_vote(&self) -> Vote {
        match self {
            Server::Ours(ours) => ours.election.settled_vote(),
            Server::Java(java) => java.settled_vote(),
        }
    }
}
