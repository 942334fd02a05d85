//! Requests between servers: what this one forwards for its clients, what it prepares for those of
//! others, syncs, and sessions that move.

use crate::base::{ConnId, Instant, SessionId, limits};
use crate::peering::{
    AuthId, AuthIds, Forwarded, Revalidate, Revalidated, Touch, read_touches, write_request,
};
use crate::prepare::Requester;
use crate::proto::{OpCode, Request};
use crate::session::Owner;
use crate::zab::{self, Ready};

use super::super::seam::Effects;
use super::super::{Node, Origin};
use super::Role;
use super::leader::Asked;
use super::leading::is_flooded;

/// A session that a client has come with, whose life the leader knows of.
pub(in super::super) struct Wanted {
    pub conn: ConnId,
    pub session: SessionId,
    pub timeout_ms: i32,
}

impl Node {
    /// A learner's client wants something of the leader.
    pub(super) fn on_forwarded(
        &mut self,
        link: ConnId,
        request: &Forwarded<'_>,
        ids: AuthIds<'_>,
        out: &mut Effects,
    ) {
        let has_room = self.has_log_room();
        let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) else {
            return;
        };
        let asked = Asked::of(link, request, ids);
        if has_room && leader.asked.is_empty() {
            return self.take_up(asked, out);
        }
        if is_flooded(leader, asked.body.len()) {
            log::warn!("A learner forwards more than can wait here: its link is closed");
            return self.turn_away(link, out);
        }
        leader.asked_bytes += asked.body.len();
        leader.asked.push_back(asked);
    }

    /// Learners' requests that waited for room in the log, a bounded number of them.
    pub(in super::super) fn run_asked(&mut self, out: &mut Effects) {
        for _ in 0..limits::TAKEN_UP_PER_TURN {
            let has_room = self.has_log_room();
            let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) else {
                return;
            };
            if !has_room {
                // What makes room is an event; until then the server must be able to sleep.
                leader.has_more = false;
                return;
            }
            let Some(asked) = leader.asked.pop_front() else {
                leader.has_more = false;
                return;
            };
            leader.asked_bytes -= asked.body.len();
            leader.has_more = !leader.asked.is_empty();
            self.take_up(asked, out);
        }
    }

    fn take_up(&mut self, asked: Asked, out: &mut Effects) {
        let now = self.now.mono;
        let link = asked.link;
        match OpCode::from_number(asked.op) {
            Some(OpCode::Sync) => {
                let after = self.leading.progress().logged;
                self.tell_leader(zab::Input::Sync { link, after }, out);
            }
            Some(op) if op.is_write() => {
                // Its server waits for an answer whatever it has let through.
                let request = Request::read(op, &asked.body).unwrap_or(Request::BadMulti);
                if let Request::CreateSession { timeout_ms } = request {
                    self.sessions.track(asked.session, timeout_ms, now);
                    let _ = self.sessions.set_owner(asked.session, Owner::Learner(link));
                }
                self.propose_forwarded(&asked, &request);
            }
            _ => log::warn!("A learner forwards a request of type {}: ignored", asked.op),
        }
    }

    fn propose_forwarded(&mut self, asked: &Asked, request: &Request<'_>) {
        let owner = Owner::Learner(asked.link);
        let (session_ok, ephemeral_ok) = self.judge_forwarded(asked.session, owner);
        let who = Requester {
            session: asked.session,
            cxid: asked.cxid,
            ids: &asked.ids,
            session_ok,
            ephemeral_ok,
            from_server: matches!(request, Request::CreateSession { .. }),
        };
        self.propose_as(&who, Origin::Elsewhere, request);
    }

    /// A session has come to a client of a learner.
    pub(super) fn revalidate(&mut self, link: ConnId, asked: Revalidate, out: &mut Effects) {
        let Revalidate { session, timeout_ms } = asked;
        let is_alive = self.sessions.touch_for(session, timeout_ms, self.now.mono);
        let is_valid = is_alive && self.sessions.set_owner(session, Owner::Learner(link)).is_ok();
        if is_valid {
            // It speaks through that server from now on.
            self.part_with_holder(session, out);
        }
        let revalidated = Revalidated { session, is_valid };
        self.tell_leader(zab::Input::Revalidated { link, revalidated }, out);
    }

    pub(super) fn part_with_holder(&mut self, session: SessionId, out: &mut Effects) {
        if let Some(&holder) = self.by_session.get(&session) {
            self.close(holder, false, out);
        }
    }

    /// Sessions whose clients a learner has heard.
    pub(super) fn touch(&mut self, touches: &[u8]) {
        let Ok(touches) = read_touches(touches) else { return };
        for Touch { session, timeout_ms } in touches {
            self.sessions.touch_for(session, timeout_ms, self.now.mono);
        }
    }

    /// A client's write goes to the leader as it came.
    pub(in super::super) fn forward(
        &mut self,
        origin: Origin,
        op: OpCode,
        body: &[u8],
        out: &mut Effects,
    ) {
        let (session, cxid, conn) = match &origin {
            Origin::Client { conn, xid, .. } | Origin::Sync { conn, xid, .. } => {
                let session = self.conns.peek(*conn).map_or(SessionId::NONE, |c| c.session);
                (session, xid.0, Some(*conn))
            }
            Origin::NewSession { session, .. } | Origin::Upgrade { session } => (*session, 0, None),
            Origin::Expiry { .. }
            | Origin::Reaper
            | Origin::Elsewhere
            | Origin::Returned { .. } => (SessionId::NONE, 0, None),
        };
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        let Some(link) = learner.link else { return };
        let is_taken = match op {
            OpCode::Sync => learner.role.sync(origin),
            _ => learner.role.forward(session, cxid, origin),
        };
        if !is_taken {
            return;
        }
        let ids: Option<Vec<AuthId<'_>>> = conn
            .and_then(|conn| self.conns.peek(conn))
            .map(|conn| conn.ids.iter().map(|id| AuthId::new(&id.scheme, &id.id)).collect());
        let request = Forwarded { session, cxid, op: op.number(), body };
        let from = out.arena.len();
        out.send(link, |out| write_request(&request, ids.as_deref(), out));
        learner.unsent += out.arena.len() - from;
    }

    /// A sync: answered when all that was committed before it is applied here.
    pub(in super::super) fn begin_sync(&mut self, origin: Origin, body: &[u8], out: &mut Effects) {
        let logged = self.leading.progress().logged;
        let Some(member) = self.member.as_deref_mut() else { return };
        match &mut member.role {
            Role::Leading(leader) => {
                leader.syncs.push_back((logged, origin));
                // Where nothing is under way, nothing else would bring the turn that answers it.
                leader.has_more = true;
            }
            Role::Learning(_) => self.forward(origin, OpCode::Sync, body, out),
            _ => {}
        }
    }

    /// The next sync of a leader's own clients whose turn has come.
    pub(in super::super) fn next_own_sync(&mut self) -> Option<Origin> {
        let applied = self.leading.progress().applied;
        let leader = self.member.as_deref_mut()?.leader()?;
        let is_due = leader.is_sync_due(applied);
        if is_due { leader.syncs.pop_front().map(|(_, origin)| origin) } else { None }
    }

    /// A sync that the turn's last txn has made due is answered in the next.
    pub(in super::super) fn want_turn_for_syncs(&mut self) {
        let applied = self.leading.progress().applied;
        if let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) {
            leader.has_more |= leader.is_sync_due(applied);
        }
    }

    pub(in super::super) fn put_back_own_sync(&mut self, origin: Origin) {
        let applied = self.leading.progress().applied;
        if let Some(leader) = self.member.as_deref_mut().and_then(|member| member.leader()) {
            leader.syncs.push_front((applied, origin));
        }
    }

    /// What a learner may apply next. It keeps its place until it is taken.
    pub(in super::super) fn next_learned(&mut self) -> Option<&Ready<Origin>> {
        let learner = self.member.as_deref_mut()?.learner()?;
        if learner.ready.is_none() {
            learner.ready = learner.role.next_ready();
        }
        learner.has_more = learner.ready.is_some();
        learner.ready.as_ref()
    }

    pub(in super::super) fn take_learned(&mut self) -> Option<Ready<Origin>> {
        self.member.as_deref_mut()?.learner()?.ready.take()
    }

    /// Asks the leader whether a session lives. The last client to come with it counts.
    pub(in super::super) fn ask_leader_of(&mut self, wanted: &Wanted, out: &mut Effects) {
        let &Wanted { conn, session, timeout_ms } = wanted;
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        if let Some(earlier) = learner.revalidating.insert(session, conn) {
            self.close(earlier, false, out);
        }
        self.with_learner(out, |role, turn| {
            role.revalidate(Revalidate { session, timeout_ms }, turn);
            Ok(())
        });
    }

    pub(super) fn on_revalidated(&mut self, session: SessionId, is_valid: bool, out: &mut Effects) {
        let learner = self.member.as_deref_mut().and_then(|member| member.learner());
        let conn = learner.and_then(|learner| learner.revalidating.remove(&session));
        if let Some(conn) = conn {
            if is_valid {
                self.note_here(session);
            }
            self.settle_session(conn, session, is_valid, out);
        }
    }

    /// A client has gone: if it was heard since the last ping, that counts for the next one all the
    /// same. That it has gone is no sign of life, nor does a session live that it had only asked
    /// for: it may never be made.
    pub(in super::super) fn note_gone(&mut self, touch: Touch, heard: Instant) {
        if self.is_local(touch.session) {
            return;
        }
        let Some(learner) = self.member.as_deref_mut().and_then(|member| member.learner()) else {
            return;
        };
        if heard >= learner.told_touches && learner.gone.len() < limits::QUORUM_TOUCHES {
            learner.gone.push(touch);
        }
    }
}
