//! Replies to writes, built from the txn and from what applying it did.

use crate::proto::{CreateKind, ErrorCode, MultiResult, Txn, Writer};
use crate::state::Applied;

/// What the header of a write's reply says, and whether the connection ends after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteReply {
    pub err: ErrorCode,
    pub closes: bool,
    /// Its session speaks through another server by now: the connection ends without a reply, lest
    /// the client believe that its session is here.
    pub is_moved: bool,
}

/// Decides the header's error code; `write_reply_body` writes what follows it.
impl WriteReply {
    /// `refused`: why it had to fail, where that is known better than the txn says.
    pub fn of(txn: &Txn, applied: &Applied, refused: Option<ErrorCode>) -> WriteReply {
        let closes = matches!(txn, Txn::CloseSession { .. });
        let is_moved = match txn {
            Txn::Multi(parts) => parts.iter().any(is_moved),
            txn => is_moved(txn),
        };
        let err = match txn {
            Txn::Error { code } => {
                let said = || ErrorCode::from_number(*code).unwrap_or(ErrorCode::SystemError);
                refused.unwrap_or_else(said)
            }
            // A failed multi says so in its parts only.
            Txn::Multi(_) => ErrorCode::Ok,
            _ => applied.err,
        };
        WriteReply { err, closes, is_moved }
    }
}

fn is_moved(txn: &Txn) -> bool {
    matches!(txn, Txn::Error { code } if *code == ErrorCode::SessionMoved.number())
}

/// Writes the body of the reply to a write that succeeded (or to any multi).
pub fn write_reply_body(txn: &Txn, applied: &Applied, out: &mut Vec<u8>) {
    match txn {
        Txn::Create(create) => {
            out.put_string(&create.path);
            if create.kind != CreateKind::Create {
                applied.stat.write(out);
            }
        }
        Txn::SetData { .. } | Txn::SetAcl { .. } => applied.stat.write(out),
        Txn::Reconfig { data, .. } => {
            out.put_buffer(data.as_deref());
            applied.stat.write(out);
        }
        Txn::Multi(parts) => write_multi(parts, applied, out),
        Txn::Delete { .. }
        | Txn::DeleteContainer { .. }
        | Txn::Check { .. }
        | Txn::CreateSession { .. }
        | Txn::CloseSession { .. }
        | Txn::Error { .. } => {}
    }
}

fn write_multi(parts: &[Txn], applied: &Applied, out: &mut Vec<u8>) {
    assert_eq!(parts.len(), applied.parts.len(), "one result for each part");
    let failed = parts.iter().any(|part| matches!(part, Txn::Error { .. }));
    for (part, result) in parts.iter().zip(&applied.parts) {
        let answer = match part {
            Txn::Error { code } => {
                let code = ErrorCode::from_number(*code).unwrap_or(ErrorCode::SystemError);
                MultiResult::Error(code)
            }
            // What came before the failing part answers with the error "ok".
            _ if failed => MultiResult::Error(ErrorCode::Ok),
            _ if result.err != ErrorCode::Ok => MultiResult::Error(result.err),
            Txn::Create(create) if create.kind == CreateKind::Create => {
                MultiResult::Create { path: &create.path }
            }
            Txn::Create(create) => MultiResult::Create2 { path: &create.path, stat: result.stat },
            Txn::SetData { .. } => MultiResult::SetData { stat: result.stat },
            Txn::Check { .. } => MultiResult::Check,
            _ => MultiResult::Delete,
        };
        answer.write(out);
    }
    MultiResult::write_end(out);
}
