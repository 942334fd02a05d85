//! Connections come, shake hands, ask, and go.

use std::net::SocketAddr;

use crate::auth::{AuthFailed, Identities, KerberosAsk, SaslExchange};
use crate::base::{ConnId, Instant, SessionId, Xid, Zxid, limits};
use crate::peering::Touch;
use crate::proto::{CatchUp, ErrorCode, OpCode, Request, RequestHeader, write_reply};
use crate::serve::{self, Count, Cursor, Order, Slot};

use super::conns::{Conn, ConnStats, Pauses, Phase};
use super::seam::{CloseReason, Effect, Effects};
use super::{Life, Node, Origin};

impl Node {
    /// Where clients may come over TLS, who comes without is counted.
    pub(super) fn count_plain(&mut self, peer: SocketAddr, secure: bool) {
        let tls = &self.settings.config.tls;
        if secure || tls.port.is_none() && !tls.port_unification {
            return;
        }
        if peer.ip().is_loopback() {
            self.stats.non_mtls_local_conns.one();
        } else {
            self.stats.non_mtls_remote_conns.one();
        }
    }

    pub(super) fn on_accepted(&mut self, conn: ConnId, peer: SocketAddr, subject: Option<&str>) {
        let mut ids = Identities::of_peer(peer.ip());
        if let Some(subject) = subject {
            // A certificate is read only where the scheme exists, and the first fits.
            let _ = self.providers.certify(subject, &mut ids);
        }
        self.conns.insert(Conn {
            id: conn,
            peer,
            phase: Phase::AwaitConnect,
            ids,
            sasl: SaslExchange::default(),
            session: SessionId::NONE,
            timeout_ms: 0,
            read_only: None,
            order: Order::default(),
            pauses: Pauses::default(),
            throttled: 0,
            is_runnable: false,
            stats: ConnStats::new(self.now),
            alive: self.now.mono,
        });
    }

    pub(super) fn on_closed(&mut self, id: ConnId, reason: CloseReason, out: &mut Effects) {
        let Some(conn) = self.conns.remove(id) else { return };
        if conn.sasl == SaslExchange::InLibrary {
            out.push(Effect::Kerberos(KerberosAsk::Forget { conn: id }));
        }
        if matches!(reason, CloseReason::PeerClosed | CloseReason::SocketError) {
            self.metrics.connection_drop_count.one();
        }
        if let CloseReason::BadLength(length) = reason
            && self.warnings.admits(self.now.mono)
        {
            log::warn!(
                "Len error. A message from {} with advertised length of {length} is either a \
                malformed message or too large to process",
                conn.peer
            );
        }
        self.unprepared_bytes -= conn.order.unprepared_bytes();
        self.request_throttle.release(conn.order.large_bytes());
        if conn.throttled > 0 {
            let is_open = |conn| self.conns.peek(conn).is_some();
            let dropped = self.request_throttle.abandon(conn.throttled, is_open);
            self.metrics.stale_requests_dropped.add(dropped);
        }
        self.outstanding.less(conn.pauses, conn.order.len());
        self.watches.forget(id);
        if self.member.is_some() && conn.is_let_in() {
            let touch = Touch { session: conn.session, timeout_ms: conn.timeout_ms };
            self.note_gone(touch, conn.alive);
        }
        self.let_go(id, conn.session, conn.order.has_writes_under_way());
    }

    /// A connection holds its session no longer. Writes that are under way are done all the same:
    /// whoever comes back with the session must not read what was before them.
    fn let_go(&mut self, id: ConnId, session: SessionId, has_writes_under_way: bool) {
        if self.by_session.get(&session) != Some(&id) {
            return;
        }
        self.by_session.remove(&session);
        // Of a session that has ended there is nobody to come back.
        let is_over = !self.sessions.is_tracked(session)
            && !self.is_local(session)
            && self.state.session_timeout_ms(session).is_none();
        if has_writes_under_way && !is_over {
            // A learner does not know what its leader makes of them: it will ask.
            let learns = self.member.is_some() && !self.leads();
            let last = if learns { Zxid(i64::MAX) } else { self.leading.progress().logged };
            self.left_writes.insert(session, last);
        }
    }

    /// It is not read, so that its pings are not heard: that it reads tells as much.
    pub(super) fn on_taking(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.find(id)
            && matches!(conn.phase, Phase::Open)
        {
            conn.alive = self.now.mono;
            let (session, timeout_ms) = (conn.session, conn.timeout_ms);
            let _ = self.touch_session(session, timeout_ms);
        }
    }

    pub(super) fn on_backlog(&mut self, id: ConnId, bytes: usize, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        if bytes > limits::CONN_BACKLOG_CLOSE {
            log::warn!("Closing {}: it does not read, {bytes} bytes wait for it", conn.peer);
            self.close(id, false, out);
        } else if bytes >= limits::CONN_BACKLOG_PAUSE {
            let waiting = conn.order.len();
            self.outstanding.less(conn.pauses, waiting);
            if conn.pauses.set(Pauses::BACKLOG) {
                out.push(Effect::Pause { conn: id });
            }
            self.outstanding.more(conn.pauses, waiting);
        } else {
            let waiting = conn.order.len();
            self.outstanding.less(conn.pauses, waiting);
            if conn.pauses.clear(Pauses::BACKLOG) {
                out.push(Effect::Resume { conn: id });
            }
            self.outstanding.more(conn.pauses, waiting);
            self.make_runnable(id);
        }
    }

    /// Ends a connection. Its table entry goes when the reactor says that it is closed.
    pub(super) fn close(&mut self, id: ConnId, after_flush: bool, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        let was_closing = matches!(conn.phase, Phase::Closing);
        conn.phase = Phase::Closing;
        if !was_closing || !after_flush {
            out.push(Effect::Close { conn: id, after_flush });
        }
        let (session, has_writes) = (conn.session, conn.order.has_writes_under_way());
        self.watches.forget(id);
        self.let_go(id, session, has_writes);
    }

    pub(super) fn on_frame(&mut self, id: ConnId, body: &[u8], out: &mut Effects) {
        if !matches!(self.life, Life::Serving) {
            return;
        }
        self.metrics.bytes_received_count.add(4 + body.len() as u64);
        let serves = self.serves_clients();
        let Some(conn) = self.conns.find(id) else { return };
        conn.stats.received += 1;
        conn.stats.last_heard = self.now.mono;
        conn.alive = self.now.mono;
        self.stats.packets_received.one();
        match &mut conn.phase {
            Phase::AwaitConnect if !serves => self.close(id, false, out),
            Phase::AwaitConnect => self.on_connect(id, body, out),
            Phase::AwaitSession { early } | Phase::AwaitProof { early, .. } => {
                if early.len() < limits::CONN_QUEUED_REQUESTS {
                    early.push_back(body.into());
                } else {
                    if self.odd_requests.admits(self.now.mono) {
                        log::warn!(
                            "Closing {}: more than {} requests behind one that has to be first",
                            conn.peer,
                            limits::CONN_QUEUED_REQUESTS
                        );
                    }
                    self.close(id, false, out);
                }
            }
            Phase::Open => self.on_request(id, body, out),
            Phase::Closing => {}
        }
    }

    /// A sign of life of a session. False where there is none of that name any more.
    fn touch_session(&mut self, session: SessionId, timeout_ms: i32) -> bool {
        self.sessions.touch_for(session, timeout_ms, self.now.mono)
            || self.touch_local(session, timeout_ms)
    }

    fn on_request(&mut self, id: ConnId, body: &[u8], out: &mut Effects) {
        if !self.admits_size(body.len()) {
            return self.close(id, false, out);
        }
        let Some(conn) = self.conns.find(id) else { return };
        let Ok(header) = RequestHeader::read(&mut crate::proto::Reader::new(body)) else {
            if self.odd_requests.admits(self.now.mono) {
                log::warn!("Closing {}: a request without a header", conn.peer);
            }
            return self.close(id, false, out);
        };
        let op = OpCode::from_number(header.op);
        match op {
            Some(OpCode::Auth) => return self.on_auth(id, header.xid, &body[8..], out),
            Some(OpCode::Sasl) => return self.on_sasl(id, header.xid, &body[8..], out),
            _ => {}
        }
        if !self.providers.admits(&conn.ids) {
            let code = ErrorCode::SessionClosedRequireSaslAuth;
            out.send(id, |out| write_reply(out, header.xid, Zxid::ZERO, code, |_| {}));
            return self.close(id, true, out);
        }
        let session = conn.session;
        let timeout_ms = conn.timeout_ms;
        // A request of a session that is gone is dropped without a word.
        if !self.touch_session(session, timeout_ms) {
            return;
        }
        match op {
            None | Some(OpCode::Check | OpCode::CreateSession | OpCode::Auth | OpCode::Sasl) => {
                if self.odd_requests.admits(self.now.mono) {
                    log::warn!("Received packet at server of unknown type {}", header.op);
                }
                let code = ErrorCode::Unimplemented;
                out.send(id, |out| write_reply(out, header.xid, Zxid::NONE, code, |_| {}));
                self.close(id, true, out);
            }
            Some(op) => {
                if !self.throttle(id, body, out) {
                    self.run_request(id, header, op, body, out);
                }
            }
        }
    }

    /// A request whose turn it is.
    pub(super) fn run_request(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        op: OpCode,
        body: &[u8],
        out: &mut Effects,
    ) {
        let Some(conn) = self.conns.find(id) else { return };
        let queued_before = conn.order.queued();
        match op {
            OpCode::Ping => self.on_ping(id, body, out),
            OpCode::Sync if self.member.is_some() => self.on_sync(id, header, body, out),
            op if op.is_write() => self.on_write(id, header, op, body, out),
            op => self.on_read(id, header.xid, op, body, out),
        }
        self.note_size(id, body.len(), queued_before);
        self.bound_queue(id, out);
    }

    /// Answered at once while a sync is under way, so that a slow disk does not cost sessions;
    /// but behind a write that has waited too long, so that the client can move away.
    fn on_ping(&mut self, id: ConnId, body: &[u8], out: &mut Effects) {
        let now = self.now.mono;
        let Some(conn) = self.conns.find(id) else { return };
        let patience_ms = u64::try_from(conn.timeout_ms).unwrap_or(0) / 3;
        if conn.order.oldest().is_some_and(|since| now.ms_since(since) > patience_ms) {
            conn.order.push_read(body, now);
            self.outstanding.more(conn.pauses, 1);
            return;
        }
        let zxid = self.state.last_zxid();
        out.send(id, |out| write_reply(out, Xid::PING, zxid, ErrorCode::Ok, |_| {}));
        conn.stats.on_reply("PING", Xid::PING, zxid, 0, now);
        conn.stats.replies += 1;
        self.stats.packets_sent.one();
    }

    fn on_read(&mut self, id: ConnId, xid: Xid, op: OpCode, body: &[u8], out: &mut Effects) {
        let has_room = self.has_turn_room(out);
        let Some(conn) = self.conns.find(id) else { return };
        let may_answer = has_room
            && conn.order.is_idle()
            && !conn.pauses.has(Pauses::BACKLOG)
            && !may_take_turns(op, body);
        if may_answer {
            self.answer_read(id, xid, op, &body[8..], self.now.mono, out);
            return;
        }
        conn.order.push_read(body, self.now.mono);
        self.outstanding.more(conn.pauses, 1);
        if conn.order.is_ready() {
            self.make_runnable(id);
        }
    }

    /// Runs what waits at the front of a connection's queue and needs no commit.
    ///
    /// `even_unread`: though the client does not take its replies; they join its backlog.
    pub(super) fn run_ready(&mut self, id: ConnId, even_unread: bool, out: &mut Effects) {
        while self.has_turn_room(out) {
            let Some(conn) = self.conns.find(id) else { return };
            let is_stuck = conn.pauses.has(Pauses::BACKLOG) && !even_unread;
            if is_stuck || matches!(conn.phase, Phase::Closing) {
                return;
            }
            let Some(slot) = conn.order.next_ready() else { break };
            self.request_throttle.release(conn.order.take_released());
            self.outstanding.less(conn.pauses, 1);
            match slot {
                Slot::Write { .. } | Slot::Earlier { .. } => unreachable!("none is ever ready"),
                Slot::Refused { xid, op, err, received } => {
                    self.reply(id, xid, op, err, received, out, |_| {});
                }
                Slot::Read { frame, received } => {
                    if !self.run_read(id, frame, received, out) {
                        break;
                    }
                }
                Slot::Begun { frame, cursor, received } => {
                    if !self.run_begun(id, frame, cursor, received, out) {
                        break;
                    }
                }
            }
        }
        let Some(conn) = self.conns.find(id) else { return };
        if conn.order.is_ready() {
            self.make_runnable(id);
        }
        self.unbound_queue(id, out);
    }

    /// False where it is not done: it goes on in a later turn.
    fn run_read(
        &mut self,
        id: ConnId,
        frame: Box<[u8]>,
        received: Instant,
        out: &mut Effects,
    ) -> bool {
        let header = RequestHeader::read(&mut crate::proto::Reader::new(&frame));
        let (Ok(header), Some(body)) = (header, frame.get(8..)) else { return true };
        let Some(op) = OpCode::from_number(header.op) else { return true };
        // Any other's end is a write.
        if op == OpCode::CloseSession {
            self.close_local_session(id, header, received, out);
            return true;
        }
        if may_take_turns(op, &frame)
            && let Some(cursor) = begin(op, body)
        {
            return self.run_begun(id, frame, cursor, received, out);
        }
        let xid = if op == OpCode::Ping { Xid::PING } else { header.xid };
        self.answer_read(id, xid, op, body, received, out);
        true
    }

    fn run_begun(
        &mut self,
        id: ConnId,
        frame: Box<[u8]>,
        mut cursor: Cursor,
        received: Instant,
        out: &mut Effects,
    ) -> bool {
        let header = RequestHeader::read(&mut crate::proto::Reader::new(&frame));
        let header = header.expect("it was read before");
        let Some(conn) = self.conns.find(id) else { return true };
        let reader = serve::Reader { conn: id, session: conn.session, ids: &conn.ids };
        let (state, providers, visits) = (&self.state, &self.providers, &self.visits);
        let context = serve::ReadContext { state, providers, visits };
        let (watches, body, xid) = (&mut self.watches, &frame[8..], header.xid);
        let mut is_done = false;
        out.send(id, |out| {
            is_done = match &mut cursor {
                Cursor::CatchUp(at) => {
                    serve::catch_up(context, watches, &reader, xid, body, at, out);
                    at.is_done()
                }
                Cursor::Count(at) => serve::count(context, &reader, xid, body, at, out),
            };
        });
        if is_done {
            self.count_reply(id, header.xid, header.op, received);
            return true;
        }
        self.outstanding.more(conn.pauses, 1);
        conn.order.put_back(frame, cursor, received);
        false
    }

    fn on_auth(&mut self, id: ConnId, xid: Xid, body: &[u8], out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        let Ok(Request::Auth { scheme, auth, .. }) = Request::read(OpCode::Auth, body) else {
            return self.close(id, false, out);
        };
        let scheme = scheme.unwrap_or_default();
        // No credential is not an empty one: that would be somebody's name.
        let result = match auth {
            None if scheme == "digest" => Err(AuthFailed),
            _ => self.providers.authenticate(&scheme, auth.unwrap_or_default(), &mut conn.ids),
        };
        let code = match result {
            Ok(()) => {
                log::info!(
                    "Session 0x{:x}: auth success for scheme {scheme} and address {}",
                    conn.session,
                    conn.peer
                );
                ErrorCode::Ok
            }
            Err(_) => {
                if self.warnings.admits(self.now.mono) {
                    log::warn!("Authentication failed for scheme: {scheme} from {}", conn.peer);
                }
                self.stats.auth_failed.one();
                ErrorCode::AuthFailed
            }
        };
        out.send(id, |out| write_reply(out, xid, Zxid::ZERO, code, |_| {}));
        if code != ErrorCode::Ok {
            self.close(id, true, out);
        }
    }

    /// A client with too much waiting is not read until it is less.
    fn bound_queue(&mut self, id: ConnId, out: &mut Effects) {
        let over_global = self.outstanding.in_process() > self.settings.global_outstanding_limit;
        let is_log_far_behind = self.unprepared_bytes > limits::UNPREPARED_BYTES;
        let Some(conn) = self.conns.find(id) else { return };
        let over = conn.order.len() >= limits::CONN_QUEUED_REQUESTS
            || conn.order.bytes() >= limits::CONN_QUEUED_BYTES
            || is_log_far_behind && conn.order.has_unprepared();
        if over && conn.pauses.set(Pauses::QUEUE) {
            out.push(Effect::Pause { conn: id });
        }
        if over_global && !conn.order.is_empty() && !conn.pauses.has(Pauses::OUTSTANDING) {
            self.held_back.push_back(id);
            if conn.pauses.set(Pauses::OUTSTANDING) {
                out.push(Effect::Pause { conn: id });
            }
        }
    }

    fn unbound_queue(&mut self, id: ConnId, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        let under = conn.order.len() < limits::CONN_QUEUED_REQUESTS / 2
            && conn.order.bytes() < limits::CONN_QUEUED_BYTES / 2;
        if under && conn.pauses.clear(Pauses::QUEUE) {
            out.push(Effect::Resume { conn: id });
        }
    }

    /// Reads again who waited for others' requests: those were answered, or went with their
    /// connections.
    pub(super) fn release_held_back(&mut self, out: &mut Effects) {
        while self.outstanding.in_process() <= self.settings.global_outstanding_limit {
            let Some(held) = self.held_back.pop_front() else { return };
            if let Some(conn) = self.conns.find(held)
                && conn.pauses.clear(Pauses::OUTSTANDING)
            {
                out.push(Effect::Resume { conn: held });
            }
        }
    }

    pub(super) fn make_runnable(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.find(id)
            && !conn.is_runnable
        {
            conn.is_runnable = true;
            self.runnable.push_back(id);
        }
    }

    /// Whom a request of a client belongs to when it comes back.
    pub(super) fn origin_of(id: ConnId, header: RequestHeader) -> Origin {
        Origin::Client { conn: id, xid: header.xid, op: header.op, refused: None }
    }
}

/// Whether it may take more than a turn.
fn may_take_turns(op: OpCode, frame: &[u8]) -> bool {
    match op {
        OpCode::SetWatches | OpCode::SetWatches2 => frame.len() > limits::SET_WATCHES_AT_ONCE_BYTES,
        OpCode::GetAllChildrenNumber => true,
        _ => false,
    }
}

/// Nothing where it is malformed, which takes no time to answer.
fn begin(op: OpCode, body: &[u8]) -> Option<Cursor> {
    match op {
        OpCode::GetAllChildrenNumber => Some(Cursor::Count(Count::default())),
        _ => CatchUp::begin(op, body).ok().map(Cursor::CatchUp),
    }
}
