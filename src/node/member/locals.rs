//! Sessions that are this server's alone: no txn begins or ends them, and no other server knows of
//! them. They expire here and end with the role. One that wants an ephemeral becomes a session of
//! the whole ensemble first, where the operator allows that.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::base::{ConnId, Instant, ServerId, SessionId, limits};
use crate::config::Config;
use crate::proto::{Create, CreateKind, ErrorCode, MultiOp, OpCode, Request, RequestHeader};
use crate::session::{Owner, Sessions};

use super::super::seam::Effects;
use super::super::{Node, Origin};
use super::Member;

pub(super) struct Locals {
    /// New sessions are such ones.
    is_enabled: bool,
    /// `localSessionsUpgradingEnabled`.
    upgrades: bool,
    /// Whose ids begin with this were given out here.
    me: ServerId,
    pub sessions: Sessions,
    /// Where this server leads.
    ended: Ended,
}

/// Sessions of the whole ensemble that have just ended. A server that has not heard of it may still
/// forward what their clients asked, and they are not to be taken for that server's own.
struct Ended {
    /// How long a server can be linked to its leader and not have heard.
    keep_ms: u64,
    /// In the order they ended in.
    queue: VecDeque<(Instant, SessionId)>,
    ids: HashMap<SessionId, Instant, FixedState>,
}

impl Ended {
    fn new(keep_ms: u64, me: ServerId) -> Ended {
        let ids = HashMap::with_hasher(FixedState::with_seed(me.0 as u64));
        Ended { keep_ms, queue: VecDeque::new(), ids }
    }

    fn add(&mut self, session: SessionId, now: Instant) {
        while let Some(&(at, oldest)) = self.queue.front()
            && (now.ms_since(at) > self.keep_ms || self.queue.len() >= limits::ENDED_SESSIONS)
        {
            self.queue.pop_front();
            // Its id may have ended once more.
            if self.ids.get(&oldest) == Some(&at) {
                self.ids.remove(&oldest);
            }
        }
        self.queue.push_back((now, session));
        self.ids.insert(session, now);
    }

    fn has(&self, session: SessionId, now: Instant) -> bool {
        self.ids.get(&session).is_some_and(|at| now.ms_since(*at) <= self.keep_ms)
    }
}

impl Locals {
    /// `silence_ms`: after it a leader gives up a server that says nothing.
    pub fn new(
        config: &Config,
        me: ServerId,
        tick_ms: u64,
        silence_ms: u64,
        now: Instant,
    ) -> Locals {
        Locals {
            // What it was sent last it has before it answers, and that is within the time.
            ended: Ended::new(2 * silence_ms, me),
            is_enabled: config.ensemble.local_sessions,
            upgrades: config.ensemble.local_session_upgrades,
            me,
            sessions: Sessions::new(tick_ms, me, now),
        }
    }

    pub fn has(&self, session: SessionId) -> bool {
        // Where nobody wanted any, there is mostly none to look for.
        !self.sessions.is_empty() && self.sessions.is_tracked(session)
    }

    /// A session that a leader does not know may be another server's own; but not one that was
    /// this server's, nor one that was everybody's until now.
    fn may_be_elsewhere(&self, session: SessionId, now: Instant) -> bool {
        let was_mine = (session.0 >> 56) & 0xff == self.me.0 & 0xff;
        self.is_enabled && !was_mine && !self.ended.has(session, now)
    }
}

impl Member {
    /// For listings: nothing where there are to be no such sessions.
    pub fn local_sessions(&self) -> Option<&Sessions> {
        self.locals.is_enabled.then_some(&self.locals.sessions)
    }

    fn locals_with(&mut self, session: SessionId) -> Option<&mut Locals> {
        Some(&mut self.locals).filter(|locals| locals.has(session))
    }
}

impl Node {
    /// Whether new sessions are this server's alone.
    pub(in super::super) fn has_local_sessions(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.locals.is_enabled)
    }

    pub(in super::super) fn is_local(&self, session: SessionId) -> bool {
        self.member.as_ref().is_some_and(|member| member.locals.has(session))
    }

    /// Whether it is such a session that speaks over this connection.
    pub(in super::super) fn has_local_session(&self, id: ConnId) -> bool {
        self.conns.peek(id).is_some_and(|conn| self.is_local(conn.session))
    }

    pub(in super::super) fn track_local(&mut self, session: SessionId, timeout_ms: i32) {
        let now = self.now.mono;
        if let Some(member) = self.member.as_deref_mut() {
            member.locals.sessions.track(session, timeout_ms, now);
        }
    }

    /// A sign of life. False where there is no such session.
    pub(in super::super) fn touch_local(&mut self, session: SessionId, timeout_ms: i32) -> bool {
        let now = self.now.mono;
        let locals = self.member.as_deref_mut().and_then(|member| member.locals_with(session));
        locals.is_some_and(|locals| locals.sessions.touch_for(session, timeout_ms, now))
    }

    pub(in super::super) fn forget_local(&mut self, session: SessionId) {
        if let Some(member) = self.member.as_deref_mut() {
            member.locals.sessions.forget(session);
        }
        self.left_writes.remove(&session);
    }

    /// A session of the whole ensemble is over.
    pub(in super::super) fn note_ended(&mut self, session: SessionId) {
        let now = self.now.mono;
        if self.leads()
            && let Some(member) = self.member.as_deref_mut()
            && member.locals.is_enabled
        {
            member.locals.ended.add(session, now);
        }
    }

    /// What is said of a client of this server that leads: whether its session may write, and
    /// whether it may own a node. `refused` is what was found out about that before.
    pub(in super::super) fn judge_own(
        &mut self,
        session: SessionId,
        refused: Option<ErrorCode>,
    ) -> (Result<(), ErrorCode>, Result<(), ErrorCode>) {
        let locals = self.member.as_deref_mut().and_then(|member| member.locals_with(session));
        if let Some(locals) = locals {
            let local = locals.sessions.check(session, Owner::Here);
            return (local, Err(refused.unwrap_or(ErrorCode::SessionExpired)));
        }
        let known = self.sessions.check(session, Owner::Here);
        (known, known)
    }

    /// The same of a learner's client.
    pub(super) fn judge_forwarded(
        &mut self,
        session: SessionId,
        owner: Owner,
    ) -> (Result<(), ErrorCode>, Result<(), ErrorCode>) {
        let (known, now) = (self.sessions.check(session, owner), self.now.mono);
        let may_be_elsewhere = |member: &Member| member.locals.may_be_elsewhere(session, now);
        if !self.sessions.is_tracked(session)
            && self.member.as_deref().is_some_and(may_be_elsewhere)
        {
            return (Ok(()), known);
        }
        (known, known)
    }

    /// Before a client's write leaves: a local session that wants an ephemeral becomes one of the
    /// whole ensemble, or the write says what is in its way.
    pub(in super::super) fn prepare_session(
        &mut self,
        origin: &mut Origin,
        request: Option<&Request<'_>>,
        out: &mut Effects,
    ) {
        let now = self.now.mono;
        let Origin::Client { conn, refused, .. } = origin else { return };
        let Some(session) = self.conns.peek(*conn).map(|conn| conn.session) else { return };
        let locals = self.member.as_deref_mut().and_then(|member| member.locals_with(session));
        let Some(locals) = locals.filter(|_| request.is_some_and(wants_ephemeral)) else { return };
        let known = locals.sessions.view(session).filter(|view| !view.closing);
        let Some(timeout_ms) = known.map(|view| view.timeout_ms) else { return };
        if !locals.upgrades {
            *refused = Some(ErrorCode::EphemeralOnLocalSession);
            return;
        }
        log::info!("Upgrading session 0x{session:x}");
        locals.sessions.forget(session);
        self.sessions.track(session, timeout_ms, now);
        let (op, body) = (OpCode::CreateSession, timeout_ms.to_be_bytes());
        let request = Request::CreateSession { timeout_ms };
        self.submit(Origin::Upgrade { session }, op, &body, Ok(request), out);
    }

    /// Nobody else has to hear that such a session ends: it ends like a read, when all that its
    /// client asked before is answered.
    pub(in super::super) fn close_local_session(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        received: Instant,
        out: &mut Effects,
    ) {
        let Some(session) = self.conns.peek(id).map(|conn| conn.session) else { return };
        self.forget_local(session);
        self.reply(id, header.xid, header.op, ErrorCode::Ok, received, out, |_| {});
        self.close(id, true, out);
    }

    /// Sessions of this server that fell silent; `patience_ms` as for all others.
    pub(in super::super) fn expire_locals(&mut self, patience_ms: u64, out: &mut Effects) {
        let until = Instant(self.now.mono.0.saturating_sub(patience_ms * 1_000_000));
        let Some(member) = self.member.as_deref_mut() else { return };
        let sessions = &mut member.locals.sessions;
        let mut expired = Vec::new();
        sessions.expired(until, limits::EXPIRIES_PER_TURN, &mut expired);
        let timeout = |session| sessions.view(session).map_or(0, |view| view.timeout_ms);
        let expired: Vec<_> = expired.into_iter().map(|id| (id, timeout(id))).collect();
        for (session, timeout_ms) in expired {
            log::info!("Expiring session 0x{session:x}, timeout of {timeout_ms}ms exceeded");
            self.metrics.stale_sessions_expired.one();
            if let Some(&holder) = self.by_session.get(&session) {
                self.close(holder, true, out);
            }
            self.forget_local(session);
        }
    }

    pub(in super::super) fn next_local_expiry(&self) -> Option<Instant> {
        self.member.as_ref()?.locals.sessions.next_expiry()
    }

    /// A stall of ours does not count against these clients either.
    pub(in super::super) fn forgive_locals(&mut self, stall_ns: u64) {
        if let Some(member) = self.member.as_deref_mut() {
            member.locals.sessions.forgive(stall_ns);
        }
    }
}

/// Containers and nodes with a time to live are nobody's, whatever their flags say.
pub(super) fn wants_ephemeral(request: &Request<'_>) -> bool {
    let is_ephemeral = |create: &Create<'_>| {
        matches!(create.kind, CreateKind::Create | CreateKind::Create2)
            && create.mode().is_some_and(|mode| mode.is_ephemeral())
    };
    match request {
        Request::Create(create) => is_ephemeral(create),
        Request::Multi(ops) => {
            ops.iter().any(|op| matches!(op, MultiOp::Create(create) if is_ephemeral(create)))
        }
        _ => false,
    }
}
