//! Clients that prove by SASL who they are.

use std::collections::VecDeque;

use crate::auth::{
    GssapiAnswer, KerberosAsk, KerberosSaid, KerberosServer, SaslAnswer, SaslExchange, SaslServer,
};
use crate::base::{ConnId, Xid, Zxid, limits};
use crate::proto::{ErrorCode, OpCode, Request, Writer, write_reply};

use super::Node;
use super::conns::{Pauses, Phase};
use super::seam::{Effect, Effects};

/// The one mechanism of a server, by its login file.
pub(super) enum Mechanism {
    Digest(SaslServer),
    /// A thread of its own holds the library, which reads and writes files.
    Kerberos(KerberosServer),
}

impl Node {
    /// From now on clients may prove themselves to be one of its users.
    pub fn serve_sasl(&mut self, sasl: SaslServer) {
        self.sasl = Some(Mechanism::Digest(sasl));
    }

    /// From now on clients may prove themselves by Kerberos: [`Effect::Kerberos`] has their
    /// tokens, and each is answered by an [`Event::Kerberos`](super::Event::Kerberos).
    pub fn serve_kerberos(&mut self, kerberos: KerberosServer) {
        self.sasl = Some(Mechanism::Kerberos(kerberos));
    }

    /// Answered at once, whatever else the session has under way, as `auth` is.
    pub(super) fn on_sasl(&mut self, id: ConnId, xid: Xid, body: &[u8], out: &mut Effects) {
        // Java stumbles over a token that is null, and closes.
        let Ok(Request::Sasl { token: Some(token) }) = Request::read(OpCode::Sasl, body) else {
            return self.close(id, false, out);
        };
        let Some(conn) = self.conns.find(id) else { return };
        let sasl = match &mut self.sasl {
            // Without a login file Java answers with a null token, and goes on.
            None => return send_token(out, id, xid, ErrorCode::Ok, None),
            Some(Mechanism::Kerberos(_)) => return self.ask_kerberos(id, xid, token, out),
            Some(Mechanism::Digest(sasl)) => sasl,
        };
        let from = conn.peer.ip();
        match sasl.answer(&mut conn.sasl, token, from, self.now.mono) {
            SaslAnswer::Challenge(token) => {
                send_token(out, id, xid, ErrorCode::Ok, Some(&token));
            }
            SaslAnswer::Proved { user, token } => self.prove(id, xid, &user, Some(&token), out),
            SaslAnswer::Failed(failure) => self.fail_sasl(id, xid, failure.reason(), out),
            SaslAnswer::Broken => self.close(id, false, out),
        }
    }

    /// Hands the token over; until it is answered nothing else of the connection is looked at.
    fn ask_kerberos(&mut self, id: ConnId, xid: Xid, token: &[u8], out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        let from = conn.peer.ip();
        if let Some(Mechanism::Kerberos(kerberos)) = &mut self.sasl
            && !kerberos.admit(from, self.now.mono)
        {
            return self.fail_sasl(id, xid, "too many failed from there", out);
        }
        if conn.sasl == SaslExchange::Ended {
            return self.fail_sasl(id, xid, "its exchange is over", out);
        }
        if token.len() > limits::KERBEROS_TOKEN_BYTES {
            let reason = "its token is longer than any of Kerberos";
            return self.fail_sasl(id, xid, reason, out);
        }
        let bytes = token.len() + limits::KERBEROS_ASK_BYTES;
        if self.tokens_waiting_bytes + bytes > limits::KERBEROS_WAITING_BYTES {
            if self.warnings.admits(self.now.mono) {
                log::warn!("Closing {}: too many tokens wait for Kerberos", conn.peer);
            }
            return self.close(id, false, out);
        }
        self.tokens_waiting_bytes += bytes;
        conn.sasl = SaslExchange::InLibrary;
        conn.phase = Phase::AwaitProof { xid, early: VecDeque::new() };
        if conn.pauses.set(Pauses::PROOF) {
            out.push(Effect::Pause { conn: id });
        }
        out.push(Effect::Kerberos(KerberosAsk::Token { conn: id, from, token: token.to_vec() }));
    }

    pub(super) fn on_kerberos(&mut self, said: &KerberosSaid, out: &mut Effects) {
        let bytes = said.token_bytes + limits::KERBEROS_ASK_BYTES;
        assert!(bytes <= self.tokens_waiting_bytes, "every token is answered once");
        self.tokens_waiting_bytes -= bytes;
        if matches!(said.answer, GssapiAnswer::Failed(_) | GssapiAnswer::Broken)
            && let Some(Mechanism::Kerberos(kerberos)) = &mut self.sasl
        {
            kerberos.note_failure(said.from, self.now.mono);
        }
        let id = said.conn;
        let Some(conn) = self.conns.find(id) else { return };
        let (xid, early) = match &mut conn.phase {
            Phase::AwaitProof { xid, early } => (*xid, std::mem::take(early)),
            // It was closed meanwhile.
            _ => return,
        };
        conn.phase = Phase::Open;
        if conn.pauses.clear(Pauses::PROOF) {
            out.push(Effect::Resume { conn: id });
        }
        if !matches!(said.answer, GssapiAnswer::Token(_)) {
            conn.sasl = SaslExchange::Ended;
        }
        match &said.answer {
            GssapiAnswer::Token(token) => send_token(out, id, xid, ErrorCode::Ok, Some(token)),
            GssapiAnswer::Proved { principal } => self.admit(id, xid, principal, out),
            GssapiAnswer::Failed(reason) => self.fail_sasl(id, xid, reason, out),
            GssapiAnswer::Broken => self.close(id, false, out),
        }
        for frame in early {
            self.on_frame(id, &frame, out);
        }
    }

    /// A client whose ticket is good: which name it has here.
    fn admit(&mut self, id: ConnId, xid: Xid, principal: &str, out: &mut Effects) {
        let user = match &self.sasl {
            Some(Mechanism::Kerberos(kerberos)) => kerberos.user(principal),
            _ => None,
        };
        match user {
            Some(user) => self.prove(id, xid, &user, None, out),
            None => {
                if self.warnings.admits(self.now.mono) {
                    let name = principal.escape_debug();
                    log::warn!("A client is {name}, which is no name here; it is closed");
                }
                self.close(id, false, out);
            }
        }
    }

    fn prove(&mut self, id: ConnId, xid: Xid, user: &str, token: Option<&[u8]>, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        if self.providers.add_sasl(user, &mut conn.ids).is_err() {
            return self.fail_sasl(id, xid, "it is too many already", out);
        }
        log::info!(
            "Session 0x{:x}: adding SASL authorization for authorizationID: {}",
            conn.session,
            user.escape_debug()
        );
        send_token(out, id, xid, ErrorCode::Ok, token);
    }

    fn fail_sasl(&mut self, id: ConnId, xid: Xid, reason: &str, out: &mut Effects) {
        self.stats.auth_failed.one();
        let Some(conn) = self.conns.find(id) else { return };
        if self.warnings.admits(self.now.mono) {
            log::warn!("Client {} failed to SASL authenticate: {reason}", conn.peer);
        }
        let is_required = self.providers.requires_sasl();
        if self.settings.allows_failed_sasl && !is_required {
            return send_token(out, id, xid, ErrorCode::Ok, None);
        }
        let code = match is_required {
            true => ErrorCode::SessionClosedRequireSaslAuth,
            false => ErrorCode::AuthFailed,
        };
        send_token(out, id, xid, code, None);
        self.close(id, true, out);
    }
}

fn send_token(out: &mut Effects, id: ConnId, xid: Xid, code: ErrorCode, token: Option<&[u8]>) {
    out.send(id, |out| write_reply(out, xid, Zxid::ZERO, code, |out| out.put_buffer(token)));
}
