//! Operations on a node that is there: delete, setData, setACL, check.

use crate::proto::{ErrorCode, Perms, RawAcl, Txn, validate_path};
use crate::state::{AclList, OwnerKind};

use super::scene::{Scene, parent_of_deletable};

pub(super) fn delete(
    scene: &mut Scene<'_>,
    path: Option<&str>,
    version: i32,
) -> Result<Txn, ErrorCode> {
    scene.who.session_ok?;
    let path = path.ok_or(ErrorCode::MarshallingError)?;
    let parent_path = parent_of_deletable(path)?;
    let parent = scene.find(parent_path)?;
    scene.permit(&parent.acl, Perms::DELETE)?;
    let node = scene.find(path)?;
    next_version(node.stat.version, version)?;
    if node.children > 0 {
        return Err(ErrorCode::NotEmpty);
    }
    scene.remove(path, &node, parent_path, parent);
    Ok(Txn::Delete { path: path.to_owned() })
}

/// Asks for no permission, so only the server itself may ask.
pub(super) fn delete_container(
    scene: &mut Scene<'_>,
    path: Option<&str>,
) -> Result<Txn, ErrorCode> {
    if !scene.who.from_server {
        return Err(ErrorCode::NoAuth);
    }
    let path = path.ok_or(ErrorCode::MarshallingError)?;
    let parent_path = parent_of_deletable(path)?;
    let node = scene.find(path)?;
    if node.children > 0 {
        return Err(ErrorCode::NotEmpty);
    }
    if matches!(scene.state.kind_of_owner(node.stat.owner), OwnerKind::Normal(_)) {
        return Err(ErrorCode::BadVersion);
    }
    let parent = scene.find(parent_path)?;
    scene.remove(path, &node, parent_path, parent);
    Ok(Txn::DeleteContainer { path: path.to_owned() })
}

pub(super) fn set_data(
    scene: &mut Scene<'_>,
    path: Option<&str>,
    data: Option<&[u8]>,
    version: i32,
) -> Result<Txn, ErrorCode> {
    let path = valid(scene, path)?;
    let node = scene.find(path)?;
    scene.permit(&node.acl, Perms::WRITE)?;
    let growth = data.map_or(0, |d| d.len() as i64) - node.data_bytes as i64;
    scene.check_quota(path, growth, 0)?;
    let version = next_version(node.stat.version, version)?;
    let mut stat = node.stat;
    stat.version = version;
    stat.mtime = scene.time.0;
    stat.mzxid = scene.zxid;
    scene.put_data(path, node, data, stat);
    Ok(Txn::SetData { path: path.to_owned(), data: data.map(<[u8]>::to_vec), version })
}

pub(super) fn set_acl(
    scene: &mut Scene<'_>,
    path: Option<&str>,
    acl: Option<&[RawAcl<'_>]>,
    version: i32,
) -> Result<Txn, ErrorCode> {
    let path = valid(scene, path)?;
    let acl = scene.providers.fix_up(acl, scene.who.ids)?;
    let node = scene.find(path)?;
    scene.permit(&node.acl, Perms::ADMIN)?;
    let version = next_version(node.stat.aversion, version)?;
    let list: AclList = acl.as_slice().into();
    scene.restat(path, node, |node| {
        node.stat.aversion = version;
        // Later operations in flight are judged by the new list.
        node.acl = list;
    });
    Ok(Txn::SetAcl { path: path.to_owned(), acl, version })
}

/// Changes nothing; fails a multi whose node is not as expected.
pub(super) fn check(
    scene: &mut Scene<'_>,
    path: Option<&str>,
    version: i32,
) -> Result<Txn, ErrorCode> {
    let path = valid(scene, path)?;
    let node = scene.find(path)?;
    scene.permit(&node.acl, Perms::READ)?;
    let version = next_version(node.stat.version, version)?;
    Ok(Txn::Check { path: path.to_owned(), version })
}

/// A live session and a path; a missing path is an invalid one here.
fn valid<'p>(scene: &Scene<'_>, path: Option<&'p str>) -> Result<&'p str, ErrorCode> {
    scene.who.session_ok?;
    path.filter(|path| validate_path(path).is_ok()).ok_or(ErrorCode::BadArguments)
}

/// -1 expects nothing.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}
