//! Clients that prove by SASL who they are.

use crate::auth::{SaslAnswer, SaslFailure, SaslServer};
use crate::base::{ConnId, Xid, Zxid};
use crate::proto::{ErrorCode, OpCode, Request, Writer, write_reply};

use super::Node;
use super::seam::Effects;

impl Node {
    /// From now on clients may prove themselves to be one of its users.
    pub fn serve_sasl(&mut self, sasl: SaslServer) {
        self.sasl = Some(sasl);
    }

    /// Answered at once, whatever else the session has under way, as `auth` is.
    pub(super) fn on_sasl(&mut self, id: ConnId, xid: Xid, body: &[u8], out: &mut Effects) {
        // Java stumbles over a token that is null, and closes.
        let Ok(Request::Sasl { token: Some(token) }) = Request::read(OpCode::Sasl, body) else {
            return self.close(id, false, out);
        };
        let Some(conn) = self.conns.find(id) else { return };
        let Some(sasl) = &mut self.sasl else {
            // Without a login file Java answers with a null token, and goes on.
            return send_token(out, id, xid, ErrorCode::Ok, None);
        };
        let from = conn.peer.ip();
        match sasl.answer(&mut conn.sasl, token, from, self.now.mono) {
            SaslAnswer::Challenge(token) => {
                send_token(out, id, xid, ErrorCode::Ok, Some(&token));
            }
            SaslAnswer::Proved { user, token } => {
                if self.providers.add_sasl(&user, &mut conn.ids).is_err() {
                    return self.fail_sasl(id, xid, SaslFailure::BadToken, out);
                }
                log::info!(
                    "Session 0x{:x}: adding SASL authorization for authorizationID: {}",
                    conn.session,
                    user.escape_debug()
                );
                send_token(out, id, xid, ErrorCode::Ok, Some(&token));
            }
            SaslAnswer::Failed(failure) => self.fail_sasl(id, xid, failure, out),
            SaslAnswer::Broken => self.close(id, false, out),
        }
    }

    fn fail_sasl(&mut self, id: ConnId, xid: Xid, failure: SaslFailure, out: &mut Effects) {
        self.stats.auth_failed.one();
        let Some(conn) = self.conns.find(id) else { return };
        if self.warnings.admits(self.now.mono) {
            log::warn!("Client {} failed to SASL authenticate: {}", conn.peer, failure.reason());
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
