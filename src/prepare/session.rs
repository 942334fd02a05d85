//! A session ends, and its ephemerals with it.

use std::collections::BTreeSet;

use crate::proto::Txn;

use super::encoded_bytes;
use super::scene::{Scene, parent_of};

/// Never refused: who may close a session is asked before. The list has a settled order, since
/// every server deletes and notifies in that order.
pub(super) fn close(scene: &mut Scene<'_>) -> Txn {
    let paths = owned_paths(scene);
    for path in &paths {
        remove(scene, path);
    }
    let list = Txn::CloseSession { paths: Some(paths) };
    let is_listed =
        scene.settings.close_session_txn && encoded_bytes(&list) <= scene.settings.max_txn_bytes;
    // Without the list, whatever the session owns when it is applied is deleted: the same nodes.
    if is_listed { list } else { Txn::CloseSession { paths: None } }
}

/// What the session owns now, without what is being deleted and with what is being created.
fn owned_paths(scene: &Scene<'_>) -> Vec<String> {
    let session = scene.who.session;
    let state = scene.state;
    let owned = state.ephemerals(session).map(|id| state.node(id).path());
    let mut paths: BTreeSet<String> = owned.collect();
    for (path, record) in scene.overlay.iter() {
        match record {
            Some(record) if record.stat.owner == session.0 && session.0 != 0 => {
                paths.insert(path.to_owned());
            }
            // Gone, or gone and made again by somebody else.
            _ => drop(paths.remove(path)),
        }
    }
    paths.into_iter().collect()
}

/// A node without a parent can only come from a damaged state; its deletion is listed all the
/// same.
fn remove(scene: &mut Scene<'_>, path: &str) {
    let (Ok(node), Ok(parent_path)) = (scene.find(path), parent_of(path)) else { return };
    if let Ok(parent) = scene.find(parent_path) {
        scene.remove(path, &node, parent_path, parent);
    }
}
