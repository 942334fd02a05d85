//! Sessions begin: a client's first message, a session of its own or one that comes back, and the
//! answer that opens it.

use std::collections::VecDeque;

use crate::base::{ConnId, SessionId};
use crate::proto::{ConnectRequest, ConnectResponse, begin_frame, end_frame};
use crate::serve::{self, HandshakeContext, Refusal, Verdict};
use crate::session::{self, Owner};

use super::conns::{Pauses, Phase};
use super::member::Wanted;
use super::seam::{Effect, Effects};
use super::{Node, Origin, ServerRequest};

impl Node {
    pub(super) fn on_connect(&mut self, id: ConnId, body: &[u8], out: &mut Effects) {
        let Ok(request) = ConnectRequest::read(body) else {
            return self.close(id, false, out);
        };
        if !self.connect_throttle.admits(&request, self.now.mono) {
            self.metrics.connection_rejected.one();
            return self.close(id, false, out);
        }
        self.metrics.connection_token_deficit.observe(self.connect_throttle.deficit());
        self.metrics.connection_request_count.one();
        let context = HandshakeContext {
            last_zxid: self.state.last_zxid(),
            min_timeout_ms: self.settings.min_session_timeout_ms,
            max_timeout_ms: self.settings.max_session_timeout_ms,
            read_only: self.is_read_only(),
        };
        let Some(conn) = self.conns.find(id) else { return };
        conn.read_only = request.read_only;
        match serve::judge(&request, &context) {
            Verdict::Refuse(refusal) => {
                if let Refusal::Ahead(seen) = refusal
                    && self.warnings.admits(self.now.mono)
                {
                    log::info!(
                        "Refusing session(0x{:x}) request for client {} as it has seen zxid \
                         0x{seen:x} our last zxid is 0x{:x} client must try another server",
                        request.session,
                        conn.peer,
                        context.last_zxid
                    );
                }
                self.close(id, false, out);
            }
            Verdict::Create { .. } if context.read_only && !self.has_local_sessions() => {
                self.refuse_session(id, out);
            }
            Verdict::Create { timeout_ms } => self.create_session(id, timeout_ms, out),
            Verdict::Reopen { session, .. }
                if context.read_only && !self.takes_session(id, session, out) => {}
            Verdict::Reopen { session, timeout_ms, password } => {
                self.reopen_session(id, session, timeout_ms, password, out);
            }
        }
    }

    fn create_session(&mut self, id: ConnId, timeout_ms: i32, out: &mut Effects) {
        let session = self.fresh_session();
        let is_local = self.has_local_sessions();
        let Some(conn) = self.conns.find(id) else { return };
        conn.session = session;
        conn.timeout_ms = timeout_ms;
        if is_local {
            self.by_session.insert(session, id);
            self.track_local(session, timeout_ms);
            return self.establish(id, out);
        }
        self.sessions.track(session, timeout_ms, self.now.mono);
        conn.phase = Phase::AwaitSession { early: VecDeque::new() };
        if conn.pauses.set(Pauses::HANDSHAKE) {
            out.push(Effect::Pause { conn: id });
        }
        self.by_session.insert(session, id);
        self.inbox.push_back(ServerRequest::CreateSession { session, timeout_ms, conn: id });
    }

    fn reopen_session(
        &mut self,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
        password: Option<[u8; 16]>,
        out: &mut Effects,
    ) {
        // The present holder goes before the password is looked at, as in Java.
        if let Some(&holder) = self.by_session.get(&session) {
            self.close(holder, false, out);
        }
        let fits = password.is_some_and(|p| session::check_password(session, &p));
        let (learns, is_local) = (!self.leads(), self.is_local(session));
        let Some(conn) = self.conns.find(id) else { return };
        conn.timeout_ms = timeout_ms;
        if is_local || self.is_read_only() {
            let is_alive = fits && self.goes_on_here(session, timeout_ms);
            return self.settle_session(id, session, is_alive, out);
        }
        let Some(conn) = self.conns.find(id) else { return };
        if fits && learns {
            conn.phase = Phase::AwaitSession { early: VecDeque::new() };
            if conn.pauses.set(Pauses::HANDSHAKE) {
                out.push(Effect::Pause { conn: id });
            }
            return self.ask_leader_of(&Wanted { conn: id, session, timeout_ms }, out);
        }
        let is_alive = fits && self.sessions.touch_for(session, timeout_ms, self.now.mono);
        // Wherever it spoke before, it speaks here now.
        let is_alive = is_alive && self.sessions.set_owner(session, Owner::Here).is_ok();
        self.settle_session(id, session, is_alive, out);
    }

    /// Whether the session lives is known.
    pub(super) fn settle_session(
        &mut self,
        id: ConnId,
        session: SessionId,
        is_alive: bool,
        out: &mut Effects,
    ) {
        let (learns, now) = (!self.leads(), self.now.mono);
        let (is_read_only, is_local) = (self.is_read_only(), self.is_local(session));
        let Some(conn) = self.conns.find(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        if !is_alive {
            log::info!("Invalid session 0x{session:x} for client {}, probably expired", conn.peer);
            let read_only = conn.read_only.map(|_| is_read_only);
            send_connect_response(out, id, &ConnectResponse::refusal(read_only));
            return self.close(id, true, out);
        }
        conn.session = session;
        let timeout_ms = conn.timeout_ms;
        self.metrics.connection_revalidate_count.one();
        if let Some(&zxid) = self.left_writes.get(&session)
            && zxid > self.state.last_zxid()
        {
            conn.order.push_earlier(now);
            self.outstanding.more(conn.pauses, 1);
            if learns {
                self.left_writes.remove(&session);
                self.begin_sync(Origin::Returned { conn: id }, &[], out);
            } else {
                self.returned.insert((zxid, id));
            }
        }
        if learns && !is_local {
            self.sessions.track(session, timeout_ms, now);
        }
        // Another client may have come with it meanwhile.
        if let Some(&holder) = self.by_session.get(&session)
            && holder != id
        {
            self.close(holder, false, out);
        }
        self.by_session.insert(session, id);
        self.establish(id, out);
    }

    /// An id that no session has, here or anywhere.
    fn fresh_session(&mut self) -> SessionId {
        loop {
            let session = self.sessions.next_id();
            if self.state.session_timeout_ms(session).is_none() {
                return session;
            }
        }
    }

    /// What is applied now was all that some of those who came back had to wait for.
    pub(super) fn receive_returned(&mut self, out: &mut Effects) {
        while let Some(&(zxid, id)) = self.returned.first()
            && zxid <= self.state.last_zxid()
        {
            self.returned.pop_first();
            self.receive(id, out);
        }
    }

    /// What its session sent over an earlier connection is done.
    pub(super) fn receive(&mut self, id: ConnId, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        conn.order.pass_earlier();
        self.outstanding.less(conn.pauses, 1);
        self.run_ready(id, false, out);
    }

    /// The session is there: tell the client, take what it said meanwhile.
    pub(super) fn establish(&mut self, id: ConnId, out: &mut Effects) {
        let is_read_only = self.is_read_only();
        let Some(conn) = self.conns.find(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        let response = ConnectResponse {
            timeout_ms: conn.timeout_ms,
            session: conn.session,
            password: session::password(conn.session),
            read_only: conn.read_only.map(|_| is_read_only),
        };
        log::debug!(
            "Established session 0x{:x} with negotiated timeout {} for client {}",
            conn.session,
            conn.timeout_ms,
            conn.peer
        );
        let phase = std::mem::replace(&mut conn.phase, Phase::Open);
        let resumes = conn.pauses.clear(Pauses::HANDSHAKE);
        send_connect_response(out, id, &response);
        out.push(Effect::Established { conn: id });
        if resumes {
            out.push(Effect::Resume { conn: id });
        }
        if let Phase::AwaitSession { early } = phase {
            for frame in early {
                self.on_frame(id, &frame, out);
            }
        }
    }
}

fn send_connect_response(out: &mut Effects, id: ConnId, response: &ConnectResponse) {
    out.send(id, |out| {
        let mark = begin_frame(out);
        response.write(out);
        end_frame(out, mark);
    });
}
