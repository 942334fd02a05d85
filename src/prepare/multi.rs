//! Many operations, one txn: all of them or none.

use crate::proto::{Create, CreateKind, ErrorCode, MultiOp, Txn};

use super::scene::Scene;
use super::{change, create, encoded_bytes};

/// Each operation sees those before it. At the first that is refused all is undone; the txn then
/// says which one it was. What is not even an operation refuses the request as a whole.
pub(super) fn multi(scene: &mut Scene<'_>, ops: &[MultiOp<'_>]) -> Result<Txn, ErrorCode> {
    // Java digests the tree once it has looked at an operation, and only then stumbles.
    if matches!(ops.first(), Some(MultiOp::GetChildren { .. } | MultiOp::GetData { .. })) {
        return Ok(Txn::Error { code: ErrorCode::MarshallingError.number() });
    }
    if !ops.iter().all(is_whole) {
        return Err(ErrorCode::MarshallingError);
    }
    let mut parts = Vec::with_capacity(ops.len());
    let mut bytes = 0;
    let mut has_failed = false;
    for op in ops {
        if has_failed {
            parts.push(Txn::Error { code: ErrorCode::RuntimeInconsistency.number() });
            continue;
        }
        match prepare_part(scene, op) {
            Ok(part) => {
                bytes += encoded_bytes(&part);
                // Looked at on the way, not at the end: a small request may become a large txn.
                if bytes > scene.settings.max_txn_bytes {
                    return Err(ErrorCode::MarshallingError);
                }
                parts.push(part);
            }
            Err(ErrorCode::MarshallingError) => return Err(ErrorCode::MarshallingError),
            Err(code) => {
                scene.overlay.roll_back();
                parts.push(Txn::Error { code: code.number() });
                has_failed = true;
            }
        }
    }
    Ok(Txn::Multi(parts))
}

fn prepare_part(scene: &mut Scene<'_>, op: &MultiOp<'_>) -> Result<Txn, ErrorCode> {
    match op {
        MultiOp::Create(request) => create::create(scene, request),
        MultiOp::Delete { path, version } => change::delete(scene, path.as_deref(), *version),
        MultiOp::SetData { path, data, version } => {
            change::set_data(scene, path.as_deref(), *data, *version)
        }
        MultiOp::Check { path, version } => change::check(scene, path.as_deref(), *version),
        MultiOp::GetChildren { .. } | MultiOp::GetData { .. } => Err(ErrorCode::MarshallingError),
    }
}

/// A null path, and the null ACL of any create but a TTL one, end a multi before it begins.
fn is_whole(op: &MultiOp<'_>) -> bool {
    match op {
        MultiOp::Create(Create { kind, path, acl, .. }) => {
            path.is_some() && (acl.is_some() || *kind == CreateKind::Ttl)
        }
        MultiOp::Delete { path, .. }
        | MultiOp::SetData { path, .. }
        | MultiOp::Check { path, .. } => path.is_some(),
        MultiOp::GetChildren { .. } | MultiOp::GetData { .. } => false,
    }
}
