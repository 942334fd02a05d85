//! The end of a learner's role: what stays of the history, and what the next role is told.

use crate::zab::{LearnerEnd, LearnerTurn, Left, Ready};

use super::super::Node;
use super::super::seam::{Effect, Effects};
use super::Role;
use super::learner::Learner;
use super::links::DialFor;

impl Node {
    /// The role ends by the leader, the link, the disk or itself.
    pub(super) fn leave_leader(&mut self, why: &LearnerEnd, out: &mut Effects) {
        log::warn!("Leaving the leader: {why}");
        let wants_image = why.wants_image();
        let learner = self.member.as_deref_mut().and_then(|member| member.learner());
        let observed = learner.as_ref().is_some_and(|learner| learner.role.is_observer());
        let is_logging = learner.as_ref().is_none_or(|learner| learner.role.is_logging());
        let was_synced = learner.is_some_and(|learner| learner.sync.is_some());
        let Some(left) = self.end_learning(out) else { return };
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        if observed {
            member.rests_until = Some(member.settings.delays.election_at(now, &mut self.rng));
        }
        // Who asks for an image is not counted for the new epoch. Where no leader came as far as a
        // sync, the next one may need just this server's word.
        member.wants_image = wants_image || member.wants_image && was_synced;
        member.is_unkept |= !is_logging;
        let rebuilds = match left {
            Left::History(tail) => {
                member.tail = tail;
                false
            }
            Left::Reload => true,
        };
        if let LearnerEnd::Reconfigured { leader } = why {
            member.designated = *leader;
        }
        self.leave_role(rebuilds, out);
    }

    /// The election has found better before the leader was reached.
    pub(super) fn leave_unjoined(&mut self, out: &mut Effects) {
        let left = self.end_learning(out);
        let Some(member) = self.member.as_deref_mut() else { return };
        if let Some(Left::History(tail)) = left {
            member.tail = tail;
        }
        member.begin_looking();
    }

    fn end_learning(&mut self, out: &mut Effects) -> Option<Left> {
        self.end_observer_master(out);
        let (now, applied) = (self.now.mono, self.state.last_zxid());
        let member = self.member.as_deref_mut()?;
        let role = std::mem::replace(&mut member.role, Role::Settling { rebuilds: false });
        let Role::Learning(learner) = role else {
            member.role = role;
            return None;
        };
        let mut outputs = Vec::new();
        let turn = &mut LearnerTurn { now, last_ticket: &mut self.tickets.0, out: &mut outputs };
        let Learner { role, link, ready, .. } = *learner;
        let mut left = role.leave(turn);
        if let (Left::History(tail), Some(Ready::Txn(next))) = (&mut left, ready) {
            // It waited for reads that came before it.
            tail.take_back(next.entry, applied);
        }
        if let Some(link) = link {
            member.drop_use(link);
            out.push(Effect::Close { conn: link, after_flush: false });
        }
        let is_leader = |what: &DialFor| matches!(what, DialFor::Leader(_));
        let dials: Vec<u64> =
            member.dials.iter().filter(|(_, what)| is_leader(what)).map(|(n, _)| *n).collect();
        for dial in dials {
            member.dials.remove(&dial);
            out.push(Effect::DropDial { dial });
        }
        self.carry_out_learning(outputs, out);
        Some(left)
    }
}
