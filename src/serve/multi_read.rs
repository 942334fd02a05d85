//! multiRead: several reads in one request, each with its own result.

use crate::auth::Identities;
use crate::proto::{ErrorCode, MultiOp, MultiResult, Perms, Writer, write_multi_header};

use super::read::{ReadContext, readable, write_children};

/// Writes the results. With a write inside, the answer is an error that yet has a body: the end
/// marker alone.
pub(super) fn answer(
    context: ReadContext<'_>,
    ids: &Identities,
    ops: Vec<MultiOp<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let is_read =
        |op: &MultiOp<'_>| matches!(op, MultiOp::GetData { .. } | MultiOp::GetChildren { .. });
    if !ops.iter().all(is_read) {
        MultiResult::write_end(out);
        return Err(ErrorCode::MarshallingError);
    }
    for op in &ops {
        if let Err(code) = answer_one(context, ids, op, out) {
            MultiResult::Error(code).write(out);
        }
    }
    MultiResult::write_end(out);
    Ok(())
}

fn answer_one(
    context: ReadContext<'_>,
    ids: &Identities,
    op: &MultiOp<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let (MultiOp::GetData { path } | MultiOp::GetChildren { path }) = op else {
        return Err(ErrorCode::MarshallingError);
    };
    let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
    let node = readable(context, ids, path, Perms::READ)?;
    if matches!(op, MultiOp::GetChildren { .. }) {
        write_multi_header(out, 8, 0);
        write_children(&node, out);
    } else {
        write_multi_header(out, 4, 0);
        out.put_buffer(node.data());
        node.stat().write(out);
    }
    Ok(())
}
