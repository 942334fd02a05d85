//! The creates: plain, ephemeral, sequential, container, TTL.

use crate::proto::{
    Create, CreateKind, CreateMode, CreateTxn, ErrorCode, NodeStat, Perms, Txn, validate_path,
};
use crate::state::{OwnerKind, TTL_MAX_MS, container_owner, ttl_owner};

use super::scene::{Scene, parent_of};

pub(super) fn create(scene: &mut Scene<'_>, request: &Create<'_>) -> Result<Txn, ErrorCode> {
    let mode = checked_mode(scene, request)?;
    let who = scene.who;
    let may_create = if mode.is_ephemeral() { who.ephemeral_ok } else { who.session_ok };
    may_create?;
    // Java trips over a missing path only here.
    let asked = request.path.as_deref().ok_or(ErrorCode::MarshallingError)?;
    let parent_path = parent_of(asked)?;
    let acl = scene.providers.fix_up(request.acl.as_deref(), scene.who.ids)?;
    let parent = scene.find(parent_path)?;
    scene.permit(&parent.acl, Perms::CREATE)?;
    let path = match mode.is_sequential() {
        true => format!("{asked}{:010}", parent.stat.cversion),
        false => asked.to_owned(),
    };
    validate_path(&path).map_err(|_| ErrorCode::BadArguments)?;
    if scene.is_there(&path) {
        return Err(ErrorCode::NodeExists);
    }
    if matches!(scene.state.kind_of_owner(parent.stat.owner), OwnerKind::Normal(_)) {
        return Err(ErrorCode::NoChildrenForEphemerals);
    }
    scene.check_quota(&path, request.data.map_or(0, |data| data.len() as i64), 1)?;

    let parent_cversion = parent.stat.cversion.wrapping_add(1);
    let zxid = scene.zxid;
    scene.restat(parent_path, parent, |parent| {
        parent.children += 1;
        // Only a larger number is taken over when it is applied.
        if parent_cversion > parent.stat.cversion {
            parent.stat.cversion = parent_cversion;
            parent.stat.pzxid = zxid;
        }
    });
    scene.add(&path, request.data, new_stat(scene, mode, request.ttl), &acl);
    Ok(Txn::Create(CreateTxn {
        kind: request.kind,
        path,
        data: request.data.map(<[u8]>::to_vec),
        acl,
        ephemeral: mode.is_ephemeral(),
        parent_cversion,
        ttl: if request.kind == CreateKind::Ttl { request.ttl } else { -1 },
    }))
}

/// The mode, if flags, TTL and operation go together.
fn checked_mode(scene: &Scene<'_>, request: &Create<'_>) -> Result<CreateMode, ErrorCode> {
    let mode = request.mode().ok_or(ErrorCode::BadArguments)?;
    if mode.is_ttl() && !scene.settings.extended_types {
        return Err(ErrorCode::Unimplemented);
    }
    let ttl = if request.kind == CreateKind::Ttl { request.ttl } else { -1 };
    let is_sound = match mode.is_ttl() {
        true => (1..=TTL_MAX_MS).contains(&ttl),
        false => ttl < 0,
    };
    // The operation decides what is applied, the flags what was asked: they must agree.
    let agrees = match request.kind {
        CreateKind::Create | CreateKind::Create2 => !mode.is_ttl() && !mode.is_container(),
        CreateKind::Container => mode.is_container(),
        CreateKind::Ttl => mode.is_ttl(),
    };
    if is_sound && agrees { Ok(mode) } else { Err(ErrorCode::BadArguments) }
}

fn new_stat(scene: &Scene<'_>, mode: CreateMode, ttl: i64) -> NodeStat {
    let owner = match mode {
        CreateMode::Container => container_owner(),
        mode if mode.is_ttl() => ttl_owner(ttl),
        mode if mode.is_ephemeral() => scene.who.session.0,
        _ => 0,
    };
    NodeStat {
        czxid: scene.zxid,
        mzxid: scene.zxid,
        pzxid: scene.zxid,
        ctime: scene.time.0,
        mtime: scene.time.0,
        version: 0,
        cversion: 0,
        aversion: 0,
        owner,
    }
}
