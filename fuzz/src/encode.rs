//! Requests back to bytes: the server only reads them.

use zkd::proto::{AddWatchMode, Create, CreateKind, MultiOp, RawAcl, Request, SetWatches, Writer};

/// Whether a string in these bytes may hold a character outside the basic plane. Java writes the
/// halves of its surrogate pair one by one and reads each as U+FFFD, and so do we: such a record
/// comes back changed the first time, and unchanged from then on.
pub fn is_beyond_basic(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte >= 0xf0)
}

/// The body that decodes to this request.
pub fn body(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::Create(create) => put_create(create, &mut out),
        Request::SetData { path, data, version } => {
            out.put_opt_string(path.as_deref());
            out.put_buffer(*data);
            out.put_i32(*version);
        }
        Request::SetAcl { path, acl, version } => {
            out.put_opt_string(path.as_deref());
            put_acl(acl.as_deref(), &mut out);
            out.put_i32(*version);
        }
        Request::Multi(ops) | Request::MultiRead(ops) => put_ops(ops, &mut out),
        Request::Reconfig { joining, leaving, members, config_id } => {
            for text in [joining, leaving, members] {
                out.put_opt_string(text.as_deref());
            }
            out.put_i64(*config_id);
        }
        Request::Auth { kind, scheme, auth } => {
            out.put_i32(*kind);
            out.put_opt_string(scheme.as_deref());
            out.put_buffer(*auth);
        }
        Request::Sasl { token } => out.put_buffer(*token),
        Request::SetWatches(watches) => put_watches(watches, &mut out),
        Request::CreateSession { timeout_ms } => out.put_i32(*timeout_ms),
        Request::Ping | Request::WhoAmI | Request::CloseSession => {}
        other => put_by_path(other, &mut out),
    }
    out
}

fn put_by_path(request: &Request<'_>, out: &mut Vec<u8>) {
    match request {
        Request::Delete { path, version: n }
        | Request::Check { path, version: n }
        | Request::CheckWatches { path, kind: n }
        | Request::RemoveWatches { path, kind: n } => {
            out.put_opt_string(path.as_deref());
            out.put_i32(*n);
        }
        Request::Exists { path, watch }
        | Request::GetData { path, watch }
        | Request::GetChildren { path, watch }
        | Request::GetChildren2 { path, watch } => {
            out.put_opt_string(path.as_deref());
            out.put_bool(*watch);
        }
        Request::GetAcl { path }
        | Request::Sync { path }
        | Request::DeleteContainer { path }
        | Request::GetAllChildrenNumber { path }
        | Request::GetEphemerals { prefix: path } => out.put_opt_string(path.as_deref()),
        Request::AddWatch { path, mode } => {
            out.put_opt_string(path.as_deref());
            out.put_i32(match mode {
                AddWatchMode::Persistent => 0,
                AddWatchMode::PersistentRecursive => 1,
            });
        }
        other => panic!("{other:?} is encoded before this"),
    }
}

fn put_create(create: &Create<'_>, out: &mut Vec<u8>) {
    out.put_opt_string(create.path.as_deref());
    out.put_buffer(create.data);
    put_acl(create.acl.as_deref(), out);
    out.put_i32(create.flags);
    if create.kind == CreateKind::Ttl {
        out.put_i64(create.ttl);
    }
}

fn put_acl(list: Option<&[RawAcl<'_>]>, out: &mut Vec<u8>) {
    let Some(list) = list else { return out.put_i32(-1) };
    out.put_i32(list.len() as i32);
    for acl in list {
        out.put_i32(acl.perms.0);
        out.put_opt_string(acl.scheme.as_deref());
        out.put_opt_string(acl.id.as_deref());
    }
}

fn put_watches(watches: &SetWatches<'_>, out: &mut Vec<u8>) {
    out.put_i64(watches.relative_zxid.0);
    let lists = [
        &watches.data,
        &watches.exist,
        &watches.child,
        &watches.persistent,
        &watches.persistent_recursive,
    ];
    for list in lists {
        out.put_i32(list.len() as i32);
        list.iter().for_each(|path| out.put_string(path));
    }
}

fn put_ops(ops: &[MultiOp<'_>], out: &mut Vec<u8>) {
    for op in ops {
        out.put_i32(kind(op));
        out.put_bool(false);
        out.put_i32(-1);
        match op {
            MultiOp::Create(create) => put_create(create, out),
            MultiOp::Delete { path, version } | MultiOp::Check { path, version } => {
                out.put_opt_string(path.as_deref());
                out.put_i32(*version);
            }
            MultiOp::SetData { path, data, version } => {
                out.put_opt_string(path.as_deref());
                out.put_buffer(*data);
                out.put_i32(*version);
            }
            MultiOp::GetChildren { path } | MultiOp::GetData { path } => {
                out.put_opt_string(path.as_deref());
                out.put_bool(false);
            }
        }
    }
    out.put_i32(-1);
    out.put_bool(true);
    out.put_i32(-1);
}

/// A container's own type carries no time to live, so a container that came as type 21 goes back
/// as type 19.
fn kind(op: &MultiOp<'_>) -> i32 {
    match op {
        MultiOp::Create(create) => create.kind as i32,
        MultiOp::Delete { .. } => 2,
        MultiOp::SetData { .. } => 5,
        MultiOp::Check { .. } => 13,
        MultiOp::GetChildren { .. } => 8,
        MultiOp::GetData { .. } => 4,
    }
}
