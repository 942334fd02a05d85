//! A session ends, and its ephemerals with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::proto::{PathList, Txn};
use crate::state::NodeId;

use super::encoded_bytes;
use super::scene::{Scene, parent_of};

/// Never refused: who may close a session is asked before. Every server deletes and notifies in
/// the order of the list.
pub(super) fn close(scene: &mut Scene<'_>) -> Txn {
    let mut paths = take_settled(scene);
    take_in_flight(scene, &mut paths);
    let list = Txn::CloseSession { paths: Some(Arc::new(paths)) };
    let is_listed =
        scene.settings.close_session_txn && encoded_bytes(&list) <= scene.settings.max_txn_bytes;
    // Without the list, whatever the session owns when it is applied is deleted: the same nodes.
    if is_listed { list } else { Txn::CloseSession { paths: None } }
}

/// Takes away what the session owns in the state and nothing in flight touches: one word of the
/// overlay for all of them, and one change of each parent, since there may be a hundred thousand.
fn take_settled(scene: &mut Scene<'_>) -> PathList {
    let (session, state) = (scene.who.session, scene.state);
    if scene.overlay.closes(session) {
        return PathList::default();
    }
    let (mut paths, mut digests) = (PathList::default(), 0u64);
    let mut parents: BTreeMap<NodeId, usize> = BTreeMap::new();
    // Most lie beside the one before.
    let (mut parent, mut count, mut folder) = (NodeId::ROOT, 0, String::new());
    for node in state.ephemerals(session).map(|id| state.node(id)) {
        let above = node.parent().expect("the root is nobody's ephemeral");
        if above != parent {
            *parents.entry(parent).or_default() += count;
            (parent, count) = (above, 0);
            folder = match parent {
                NodeId::ROOT => String::new(),
                _ => state.node(parent).path(),
            };
        }
        paths.push_parts(&folder, "/", node.name());
        if paths.last().is_some_and(|path| scene.overlay.find(path).is_some()) {
            paths.pop();
            continue;
        }
        count += 1;
        digests = digests.wrapping_add(u64::from(node.digest()));
    }
    *parents.entry(parent).or_default() += count;
    for (parent, count) in parents.into_iter().filter(|(_, count)| *count > 0) {
        let path = state.node(parent).path();
        let record = scene.find(&path).expect("a node that is there has a parent");
        scene.lose_children(&path, record, count);
    }
    if !paths.is_empty() {
        scene.overlay.close(session, digests);
    }
    paths
}

/// Takes away what the session owns among the changes in flight, in the order of paths.
fn take_in_flight(scene: &mut Scene<'_>, taken: &mut PathList) {
    let session = scene.who.session;
    let owned = scene
        .overlay
        .iter()
        .filter(|(_, record)| record.is_some_and(|r| r.stat.owner == session.0 && session.0 != 0));
    let paths: BTreeSet<String> = owned.map(|(path, _)| path.to_owned()).collect();
    for path in &paths {
        remove(scene, path);
        taken.push(path);
    }
}

/// A node without a parent can only come from a damaged state; its deletion is listed all the
/// same.
fn remove(scene: &mut Scene<'_>, path: &str) {
    let (Ok(node), Ok(parent_path)) = (scene.find(path), parent_of(path)) else { return };
    if let Ok(parent) = scene.find(parent_path) {
        scene.remove(path, &node, parent_path, parent);
    }
}
