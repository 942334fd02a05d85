//! Read-only clients, served from what this server has while nobody leads it.
//!
//! What it has is all that it has logged, as in Java: a client that has seen the last of it would
//! not be served otherwise. Some of that may not be committed; a leader that has it cut makes this
//! server rebuild its state. No other client is served, nothing is written, and whoever is there
//! has to go when a role comes.

use std::collections::VecDeque;

use crate::base::{ConnId, Instant, SessionId, Xid};
use crate::config::Config;
use crate::proto::{ErrorCode, OpCode, RequestHeader, write_reply};
use crate::zab::Tail;

use super::super::conns::{Pauses, Phase};
use super::super::seam::{Effect, Effects};
use super::super::{Life, Node};
use super::Role;

/// What a server that looks for a leader does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOnly {
    /// Nobody is served: the operator does not want it, or what the disk gave back is not what it
    /// once held.
    Never,
    /// Nobody is served before then: most elections are over sooner.
    From(Instant),
    Serving,
}

/// Java waits so long at least.
const GRACE_MS: u64 = 2000;

/// How long a server looks for a leader before it serves read-only clients, where it does.
pub(super) fn grace_ms(config: &Config, tick_ms: u64) -> Option<u64> {
    config.admin.read_only_mode.then(|| tick_ms.max(GRACE_MS))
}

impl ReadOnly {
    /// As an election begins.
    pub fn of(grace_ms: Option<u64>, is_lost: bool, since: Instant) -> ReadOnly {
        match grace_ms {
            Some(grace_ms) if !is_lost => ReadOnly::From(since.plus_ms(grace_ms)),
            _ => ReadOnly::Never,
        }
    }

    pub fn next_timeout(self) -> Option<Instant> {
        match self {
            ReadOnly::From(at) => Some(at),
            ReadOnly::Never | ReadOnly::Serving => None,
        }
    }
}

impl Node {
    pub(in super::super) fn is_read_only(&self) -> bool {
        let role = self.member.as_ref().map(|member| &member.role);
        matches!(role, Some(Role::Looking(ReadOnly::Serving)))
    }

    pub(super) fn run_read_only_timer(&mut self) {
        let now = self.now.mono;
        let Some(member) = self.member.as_deref_mut() else { return };
        let Role::Looking(read_only) = member.role else { return };
        let is_due = read_only.next_timeout().is_some_and(|at| at <= now);
        if !is_due || self.life != Life::Serving {
            return;
        }
        let tail = std::mem::take(&mut member.tail);
        let (logged, replay_until) = (tail.logged(), tail.replay_until());
        member.tail = Tail::new(logged, Vec::new(), replay_until);
        member.role = Role::Looking(ReadOnly::Serving);
        self.apply_tail(tail.into_entries().into(), replay_until);
        log::info!("Read-only server started: nobody leads, the last zxid here is 0x{logged:x}");
    }

    /// A role comes, and who was served until now has to see who serves him then.
    pub(super) fn end_read_only(&mut self, out: &mut Effects) {
        if self.is_read_only() {
            log::info!("Read-only server ends");
            self.part_with_clients(out);
        }
    }

    /// Every connection goes, and every session that is this server's alone.
    pub(super) fn part_with_clients(&mut self, out: &mut Effects) {
        self.watches.clear();
        let clients: Vec<ConnId> = self.conns.iter().map(|conn| conn.id).collect();
        clients.into_iter().for_each(|conn| self.close(conn, false, out));
        if let Some(member) = self.member.as_deref_mut() {
            member.locals.sessions.clear();
        }
    }

    /// A session that begins here would have to be this server's alone. Where there are no such
    /// sessions a reply without a body is all that the client gets instead of an answer to its
    /// connect request, and nothing more happens on the connection, as in Java.
    pub(in super::super) fn refuse_session(&mut self, id: ConnId, out: &mut Effects) {
        let zxid = self.state.last_zxid();
        let Some(conn) = self.conns.find(id) else { return };
        conn.phase = Phase::AwaitSession { early: VecDeque::new() };
        if conn.pauses.set(Pauses::HANDSHAKE) {
            out.push(Effect::Pause { conn: id });
        }
        out.send(id, |out| write_reply(out, Xid(0), zxid, ErrorCode::NotReadOnly, |_| {}));
    }

    /// A session comes back. One of the whole ensemble is not this server's to say anything of.
    /// False where the connection was closed for that.
    pub(in super::super) fn takes_session(
        &mut self,
        id: ConnId,
        session: SessionId,
        out: &mut Effects,
    ) -> bool {
        let is_global = self.state.session_timeout_ms(session).is_some();
        if is_global {
            log::info!("Refusing global session reconnection in RO mode: 0x{session:x}");
            self.close(id, false, out);
        }
        !is_global
    }

    /// Whether a session whose password fits goes on at this server alone. A read-only server
    /// without such sessions takes everyone that it does not know, as in Java.
    pub(in super::super) fn goes_on_here(&mut self, session: SessionId, timeout_ms: i32) -> bool {
        let takes_all = self.is_read_only() && !self.has_local_sessions();
        if takes_all && !self.is_local(session) {
            self.track_local(session, timeout_ms);
        }
        self.touch_local(session, timeout_ms)
    }

    /// What would change anything is refused, whatever it is. False where that is not for here to
    /// say: a session that is this server's alone may end.
    pub(in super::super) fn refuse_write(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        op: OpCode,
        out: &mut Effects,
    ) -> bool {
        if !self.is_read_only() || op == OpCode::CloseSession && self.has_local_sessions() {
            return false;
        }
        let now = self.now.mono;
        let Some(conn) = self.conns.find(id) else { return true };
        self.outstanding.more(conn.pauses, 1);
        conn.order.push_refused(header.xid, header.op, ErrorCode::NotReadOnly, now);
        self.run_ready(id, false, out);
        true
    }
}
