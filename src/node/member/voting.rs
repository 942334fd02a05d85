//! Elections: the mesh of links and the votes on it, and the role that comes of them.

use crate::base::{Instant, Zxid};
use crate::election::{Election, ElectionOutput, Mesh, MeshOutput, Outcome, Standing};
use crate::peering::PeerState;
use crate::zab::{self, LearnerEnd};

use super::super::Node;
use super::super::seam::{Effect, Effects, PeerPort};
use super::Role;
use super::links::DialFor;

impl Node {
    pub(super) fn with_mesh(
        &mut self,
        input: impl FnOnce(&mut Mesh, Instant, &mut Vec<MeshOutput>),
    ) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let mut out = Vec::new();
        input(&mut member.mesh, now, &mut out);
        member.meant.extend(out);
    }

    pub(super) fn with_election(
        &mut self,
        input: impl FnOnce(&mut Election, Instant, &mut Vec<ElectionOutput>),
    ) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let mut out = Vec::new();
        input(&mut member.election, now, &mut out);
        member.told.extend(out);
    }

    /// Does what mesh and election want, each in its order, until neither wants anything.
    pub(in super::super) fn carry_out(&mut self, out: &mut Effects) {
        loop {
            let Some(member) = self.member.as_deref_mut() else { return };
            if let Some(output) = member.meant.pop_front() {
                self.on_meant(output, out);
            } else if let Some(output) = member.told.pop_front() {
                self.on_told(output, out);
            } else {
                return;
            }
        }
    }

    fn on_meant(&mut self, output: MeshOutput, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match output {
            MeshOutput::Dial { dial, addresses, .. } => {
                let within_ms = member.settings.dial_ms;
                let dial = member.next_dial(DialFor::Mesh(dial));
                out.push(Effect::Dial { dial, addresses, port: PeerPort::Election, within_ms });
            }
            MeshOutput::DropDial { dial } => {
                let dropped = DialFor::Mesh(dial);
                let number = member.dials.iter().find(|(_, what)| **what == dropped);
                if let Some(dial) = number.map(|(number, _)| *number) {
                    member.dials.remove(&dial);
                    out.push(Effect::DropDial { dial });
                }
            }
            MeshOutput::Greet { link, initial, form } => {
                out.send(link, |out| initial.write(form, out));
            }
            MeshOutput::Send { link, notification } => {
                out.send(link, |out| notification.write_frame(out));
            }
            MeshOutput::Close { link, reason, after_flush } => {
                log::debug!("A link to the election port is closed: {reason:?}");
                member.drop_use(link);
                out.push(Effect::Close { conn: link, after_flush });
            }
            MeshOutput::Reach { server, reach } => {
                self.with_election(|election, now, out| {
                    election.handle_reach(now, server, reach, out);
                });
            }
        }
    }

    fn on_told(&mut self, output: ElectionOutput, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match output {
            ElectionOutput::Tell { to, notification } => {
                self.with_mesh(|mesh, now, out| mesh.tell(now, to, notification, out));
            }
            ElectionOutput::Restate(word) => member.mesh.restate(word),
            ElectionOutput::Decided(outcome) => self.take_role(outcome, out),
            ElectionOutput::Reopened => self.give_role_back(out),
            ElectionOutput::VoterLooks(server) => {
                self.tell_leader(zab::Input::Looking { server }, out);
            }
            ElectionOutput::LeaderLooks => {
                self.with_learner::<()>(out, |_, _| Err(LearnerEnd::LeaderLooks));
            }
            ElectionOutput::NewerConfig { text, .. } => self.on_newer_config(&text, out),
        }
    }

    /// Votes, for itself at first.
    pub(super) fn look_for_leader(&mut self) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        if member.lacks_log() {
            member.role = Role::Settling { rebuilds: true };
            return self.with_election(|election, _, out| election.stand_down(out));
        }
        let zxid = if member.is_lost { Zxid::NONE } else { member.tail.logged() };
        let standing = Standing { zxid, peer_epoch: member.current_epoch };
        log::info!(
            "LOOKING. New election. My id = {}, proposed zxid=0x{zxid:x}",
            member.settings.me.0
        );
        member.looking_since = now;
        member.begin_looking();
        self.metrics.looking_count.one();
        self.with_election(|election, now, out| election.start(now, standing, out));
    }

    fn take_role(&mut self, outcome: Outcome, out: &mut Effects) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        assert!(matches!(member.role, Role::Looking(_)), "an election begins without a role");
        let took_ms = now.ms_since(member.looking_since);
        self.metrics.election_time.observe(took_ms);
        let (role, leader) = (outcome.role, outcome.vote.leader);
        let name = match role {
            PeerState::Leading => "LEADING",
            PeerState::Observing => "OBSERVING",
            PeerState::Following | PeerState::Looking => "FOLLOWING",
        };
        log::info!(
            "{name} - LEADER ELECTION TOOK - {took_ms} MS (leader {}, zxid 0x{:x}, round 0x{:x})",
            leader.0,
            outcome.vote.zxid,
            outcome.vote.election_epoch
        );
        self.end_read_only(out);
        // A role goes on from the state and the tail behind it: both must meet.
        self.member.iter().for_each(|member| self.check_applied(member.tail.applied()));
        if role == PeerState::Leading {
            self.begin_leading(out);
            // Its port is open, and who has come there already is taken up.
            self.with_election(|election, _, out| election.confirm(out));
        } else {
            self.begin_learning(leader, out);
        }
        self.take_early_links(out);
    }

    /// A better vote has come before the role was taken up: the election goes on.
    fn give_role_back(&mut self, out: &mut Effects) {
        let Some(member) = self.member.as_deref_mut() else { return };
        match member.role {
            Role::Learning(_) => self.leave_unjoined(out),
            Role::Looking(_) => {}
            _ => unreachable!("who leads has said so at once"),
        }
    }
}
