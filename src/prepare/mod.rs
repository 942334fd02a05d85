//! A request, the state and what is still in flight become one txn.
//!
//! Decides whether a write may happen and what exactly it will do; everything later only carries
//! that out. A refusal is a txn too, so that every attempt takes one zxid. Never changes the
//! state, never waits, never answers anybody. Operations that are prepared before earlier ones
//! are applied see those through the overlay.

mod change;
mod create;
mod eager;
mod multi;
mod overlay;
mod scene;
mod session;
#[cfg(test)]
mod tests;

use crate::auth::{Identities, Providers};
use crate::base::{SessionId, WallMillis, Zxid, limits};
use crate::proto::{CreateKind, DIGEST_VERSION, ErrorCode, Request, Txn, TxnDigest};
use crate::state::State;

use overlay::Overlay;
use scene::Scene;

pub use eager::eager_refusal;

/// What the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareSettings {
    /// TTL nodes may be created.
    pub extended_types: bool,
    /// Every txn carries the tree's digest after it.
    pub digest: bool,
    /// Hard limits of quotas refuse.
    pub enforce_quota: bool,
    /// A closing session's txn lists what it deletes.
    pub close_session_txn: bool,
    pub reconfig_enabled: bool,
    /// Encoded bytes of one txn; `limits::TXN_BYTES` unless `jute.maxbuffer` is another.
    pub max_txn_bytes: usize,
    pub hash_seed: u64,
}

impl Default for PrepareSettings {
    fn default() -> PrepareSettings {
        PrepareSettings {
            extended_types: false,
            digest: true,
            enforce_quota: false,
            close_session_txn: true,
            reconfig_enabled: false,
            max_txn_bytes: limits::TXN_BYTES,
            hash_seed: 0,
        }
    }
}

/// Whose request it is.
pub struct Requester<'a> {
    pub session: SessionId,
    pub cxid: i32,
    pub ids: &'a Identities,
    /// What the session check says; each operation asks in its own place.
    pub session_ok: Result<(), ErrorCode>,
    /// The same where a node is to be the session's own.
    pub ephemeral_ok: Result<(), ErrorCode>,
    /// The server itself asks, not a client.
    pub from_server: bool,
}

/// Exactly one txn; a refusal is one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub txn: Txn,
    pub digest: Option<TxnDigest>,
}

/// The overlay of what is prepared and not applied yet, and the rules.
pub struct Prepare {
    settings: PrepareSettings,
    overlay: Overlay,
}

impl Prepare {
    pub fn new(settings: PrepareSettings) -> Prepare {
        let overlay = Overlay::new(settings.hash_seed);
        Prepare { settings, overlay }
    }

    /// Turns a request into the txn that `zxid` will name. `zxid` must be above all before it.
    pub fn prepare(
        &mut self,
        state: &State,
        providers: &Providers,
        who: &Requester<'_>,
        zxid: Zxid,
        time: WallMillis,
        request: &Request<'_>,
    ) -> Prepared {
        self.overlay.begin(zxid, state.digest());
        let (settings, overlay) = (&self.settings, &mut self.overlay);
        let mut scene = Scene { settings, overlay, state, providers, who, zxid, time };
        let outcome = prepare_one(&mut scene, request).and_then(|txn| {
            let fits = encoded_bytes(&txn) <= settings.max_txn_bytes;
            if fits { Ok(txn) } else { Err(ErrorCode::MarshallingError) }
        });
        match outcome {
            Ok(txn) => {
                let digest = self.digest_after(&txn);
                Prepared { txn, digest }
            }
            Err(code) => {
                self.overlay.roll_back();
                Prepared { txn: Txn::Error { code: code.number() }, digest: None }
            }
        }
    }

    /// All txns up to `zxid` are in the state now: what the overlay says of them is dropped.
    pub fn applied(&mut self, zxid: Zxid) {
        self.overlay.applied(zxid);
    }

    /// Nothing is in flight any more.
    pub fn clear(&mut self) {
        self.overlay.clear();
    }

    fn digest_after(&self, txn: &Txn) -> Option<TxnDigest> {
        // A reader that expects the list would take the digest for it.
        let is_pathless = matches!(txn, Txn::CloseSession { paths: None });
        let is_wanted = self.settings.digest && !is_pathless;
        is_wanted.then(|| TxnDigest { version: DIGEST_VERSION, tree: self.overlay.tree_digest() })
    }
}

fn prepare_one(scene: &mut Scene<'_>, request: &Request<'_>) -> Result<Txn, ErrorCode> {
    match request {
        Request::Create(request) => create::create(scene, request),
        Request::Delete { path, version } => change::delete(scene, path.as_deref(), *version),
        Request::DeleteContainer { path } => change::delete_container(scene, path.as_deref()),
        Request::SetData { path, data, version } => {
            change::set_data(scene, path.as_deref(), *data, *version)
        }
        Request::SetAcl { path, acl, version } => {
            change::set_acl(scene, path.as_deref(), acl.as_deref(), *version)
        }
        Request::Multi(ops) => multi::multi(scene, ops),
        Request::BadMulti => Err(ErrorCode::MarshallingError),
        Request::CreateSession { timeout_ms } => Ok(Txn::CreateSession { timeout_ms: *timeout_ms }),
        Request::CloseSession => Ok(session::close(scene)),
        Request::Reconfig { .. } => reconfig(scene),
        // Nothing else writes.
        _ => Err(ErrorCode::Unimplemented),
    }
}

/// A server alone has no members to change: what Apache's standalone server answers.
fn reconfig(scene: &Scene<'_>) -> Result<Txn, ErrorCode> {
    if !scene.settings.reconfig_enabled {
        return Err(ErrorCode::ReconfigDisabled);
    }
    scene.who.session_ok?;
    Err(ErrorCode::Unimplemented)
}

/// At least as many bytes as the txn takes when it is written; close to it.
fn encoded_bytes(txn: &Txn) -> usize {
    let text = |s: &str| 4 + s.len();
    let acl_bytes = |acl: &[crate::proto::Acl]| {
        4 + acl.iter().map(|a| 4 + text(&a.scheme) + text(&a.id)).sum::<usize>()
    };
    let data_bytes = |data: &Option<Vec<u8>>| 4 + data.as_ref().map_or(0, Vec::len);
    match txn {
        Txn::CreateSession { .. } | Txn::Error { .. } => 4,
        Txn::CloseSession { paths } => paths.as_ref().map_or(0, |paths| paths.encoded_bytes()),
        Txn::Create(create) => {
            let ttl = if create.kind == CreateKind::Ttl { 8 } else { 1 };
            text(&create.path) + data_bytes(&create.data) + acl_bytes(&create.acl) + 4 + ttl
        }
        Txn::Delete { path } | Txn::DeleteContainer { path } => text(path),
        Txn::SetData { path, data, .. } | Txn::Reconfig { path, data, .. } => {
            text(path) + data_bytes(data) + 4
        }
        Txn::SetAcl { path, acl, .. } => text(path) + acl_bytes(acl) + 4,
        Txn::Check { path, .. } => text(path) + 4,
        Txn::Multi(parts) => 4 + parts.iter().map(|part| 8 + encoded_bytes(part)).sum::<usize>(),
    }
}
