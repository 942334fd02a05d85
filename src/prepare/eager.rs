//! The ACL check before a write is even queued, for operators who ask for it.
//!
//! Apache makes it where a request enters a member of an ensemble; a standalone server never does,
//! whatever `enableEagerACLCheck` says: its refusals are txns and carry their zxid.

use crate::auth::{Identities, Providers};
use crate::proto::{CreateKind, ErrorCode, Perms, RawAcl, Request};
use crate::state::State;

use super::scene::parent_of_deletable;

/// The code to answer at once, with zxid 0; `None` where the write goes its way. Looks at what
/// is applied only. What is wrong in any other way is for `prepare` to find.
pub fn eager_refusal(
    state: &State,
    providers: &Providers,
    ids: &Identities,
    request: &Request<'_>,
) -> Option<ErrorCode> {
    let (path, wanted, acl) = match request {
        Request::Create(create)
            if matches!(create.kind, CreateKind::Create | CreateKind::Create2) =>
        {
            (parent(create.path.as_deref())?, Perms::CREATE, Some(create.acl.as_deref()))
        }
        Request::Delete { path, .. } => (parent(path.as_deref())?, Perms::DELETE, None),
        Request::SetData { path, .. } => (path.as_deref()?, Perms::WRITE, None),
        Request::SetAcl { path, acl, .. } => (path.as_deref()?, Perms::ADMIN, Some(acl.as_deref())),
        _ => return None,
    };
    if let Some(acl) = acl
        && is_malformed(providers, acl, ids)
    {
        return Some(ErrorCode::InvalidAcl);
    }
    let node = state.node(state.find(path)?);
    let is_permitted = providers.permits(node.acl(), wanted, ids);
    if is_permitted { None } else { Some(ErrorCode::NoAuth) }
}

fn is_malformed(providers: &Providers, acl: Option<&[RawAcl<'_>]>, ids: &Identities) -> bool {
    matches!(providers.fix_up(acl, ids), Err(ErrorCode::InvalidAcl))
}

fn parent(path: Option<&str>) -> Option<&str> {
    parent_of_deletable(path?).ok()
}
