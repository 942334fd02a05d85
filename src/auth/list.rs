//! What an ACL becomes when it is stored.

use std::collections::BTreeSet;

use crate::base::limits;
use crate::proto::{Acl, ErrorCode, RawAcl};

use super::{Identities, Providers};

/// One raw entry, as a key that sorts the null scheme and the null id first.
type Key<'a> = (i32, Option<&'a str>, Option<&'a str>);

/// Duplicates fall away, `auth` becomes the ids of the connection that prove somebody, and what
/// no provider understands is refused. Java stumbles over nulls in some places and refuses them
/// in others; the answers are the same here.
pub(super) fn fix_up(
    providers: &Providers,
    acl: Option<&[RawAcl<'_>]>,
    ids: &Identities,
) -> Result<Vec<Acl>, ErrorCode> {
    let unique = unique(acl.unwrap_or_default())?;
    if unique.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut fixed = Vec::with_capacity(unique.len());
    let mut expanded_bytes = 0;
    for raw in unique {
        let scheme = raw.scheme.as_deref().ok_or(ErrorCode::InvalidAcl)?;
        if scheme == "auth" {
            expand(providers, raw, ids, &mut fixed, &mut expanded_bytes)?;
            continue;
        }
        if scheme != "world" && !providers.is_known(scheme) {
            return Err(ErrorCode::InvalidAcl);
        }
        let id = raw.id.as_deref().ok_or(ErrorCode::MarshallingError)?;
        if !providers.is_valid(scheme, id) {
            return Err(ErrorCode::InvalidAcl);
        }
        fixed.push(Acl::new(raw.perms, scheme, id));
    }
    Ok(fixed)
}

fn expand(
    providers: &Providers,
    raw: &RawAcl<'_>,
    ids: &Identities,
    fixed: &mut Vec<Acl>,
    expanded_bytes: &mut usize,
) -> Result<(), ErrorCode> {
    let before = fixed.len();
    for identity in ids.iter().filter(|identity| providers.proves(&identity.scheme)) {
        *expanded_bytes += 12 + identity.scheme.len() + identity.id.len();
        if *expanded_bytes > limits::ACL_EXPANDED_BYTES {
            return Err(ErrorCode::InvalidAcl);
        }
        fixed.push(Acl::new(raw.perms, &identity.scheme, &identity.id));
    }
    if fixed.len() == before { Err(ErrorCode::InvalidAcl) } else { Ok(()) }
}

fn unique<'a, 'b>(acl: &'b [RawAcl<'a>]) -> Result<Vec<&'b RawAcl<'a>>, ErrorCode> {
    let mut seen: BTreeSet<Key<'b>> = BTreeSet::new();
    let mut unique = Vec::with_capacity(acl.len());
    for raw in acl {
        let key = (raw.perms.0, raw.scheme.as_deref(), raw.id.as_deref());
        if is_compared_by_null(&seen, key) {
            return Err(ErrorCode::MarshallingError);
        }
        if seen.insert(key) {
            unique.push(raw);
        }
    }
    Ok(unique)
}

/// Java compares an entry's scheme with those of equal permissions before it, then its id with
/// those of equal scheme; a null on the left of such a comparison is an exception.
fn is_compared_by_null(seen: &BTreeSet<Key<'_>>, key: Key<'_>) -> bool {
    let (perms, scheme, id) = key;
    let next = seen.range((perms, scheme, None)..).next();
    match (scheme, id) {
        (None, _) => next.is_some_and(|(p, ..)| *p == perms),
        (Some(_), None) => next.is_some_and(|(p, s, _)| *p == perms && *s == scheme),
        _ => false,
    }
}
