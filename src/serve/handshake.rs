//! The connect request judged: in which order what is looked at, and what it leads to.

use crate::base::{SessionId, Zxid};
use crate::proto::ConnectRequest;

/// What the judge needs to know of the server.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeContext {
    pub last_zxid: Zxid,
    pub min_timeout_ms: i32,
    pub max_timeout_ms: i32,
    /// The server itself serves read-only.
    pub read_only: bool,
}

/// What a connect request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Close without a word: the client must go elsewhere.
    Refuse(Refusal),
    Create {
        timeout_ms: i32,
    },
    /// Whether the password fits is looked at after the present holder has lost its connection.
    Reopen {
        session: SessionId,
        timeout_ms: i32,
        password: Option<[u8; 16]>,
    },
}

/// Why a handshake is refused without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A client that must write reached a server that cannot.
    ReadOnlyServer,
    /// The client has seen a state this server has not.
    Ahead(Zxid),
}

pub fn judge(request: &ConnectRequest<'_>, context: &HandshakeContext) -> Verdict {
    if context.read_only && request.read_only != Some(true) {
        return Verdict::Refuse(Refusal::ReadOnlyServer);
    }
    if request.last_zxid_seen > context.last_zxid {
        return Verdict::Refuse(Refusal::Ahead(request.last_zxid_seen));
    }
    // The order of Java's two ifs: the minimum first.
    let timeout_ms = request.timeout_ms.max(context.min_timeout_ms).min(context.max_timeout_ms);
    if request.session == SessionId::NONE {
        return Verdict::Create { timeout_ms };
    }
    let password = request.password.and_then(|p| <[u8; 16]>::try_from(p).ok());
    Verdict::Reopen { session: request.session, timeout_ms, password }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(timeout_ms: i32) -> ConnectRequest<'static> {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(5),
            timeout_ms,
            session: SessionId::NONE,
            password: None,
            read_only: None,
        }
    }

    const CONTEXT: HandshakeContext = HandshakeContext {
        last_zxid: Zxid(5),
        min_timeout_ms: 4000,
        max_timeout_ms: 40000,
        read_only: false,
    };

    #[test]
    fn timeouts_are_clamped_to_what_the_server_allows() {
        for (asked, given) in [(-1, 4000), (0, 4000), (5000, 5000), (99999, 40000)] {
            let verdict = judge(&request(asked), &CONTEXT);
            assert_eq!(verdict, Verdict::Create { timeout_ms: given });
        }
    }

    #[test]
    fn a_client_ahead_of_the_server_is_sent_away() {
        let behind = HandshakeContext { last_zxid: Zxid(4), ..CONTEXT };
        assert_eq!(judge(&request(0), &behind), Verdict::Refuse(Refusal::Ahead(Zxid(5))));
    }
}
