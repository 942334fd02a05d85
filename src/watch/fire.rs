//! The replicated state as the tree that is watched, and its changes as what fires.

use crate::base::Zxid;
use crate::state::{Change, Changes, NodeId, State};

use super::{Deliver, Tree, WatchTable};

impl Tree for State {
    fn id_of(&self, path: &str) -> Option<u32> {
        self.find(path).map(number)
    }

    fn changed(&self, id: u32) -> (Zxid, Zxid) {
        let stat = self.node(NodeId::from_number(id)).node_stat();
        (stat.mzxid, stat.pzxid)
    }

    fn write_path(&self, id: u32, out: &mut String) {
        self.node(NodeId::from_number(id)).write_path(out);
    }
}

impl WatchTable {
    /// Tells of what a txn changed, in the order it changed.
    pub fn fire(&mut self, changes: &Changes, deliver: &mut Deliver<'_>) {
        for change in changes.iter() {
            match change {
                Change::Created { id, path, parent, acl, parent_acl } => {
                    let acls = [acl, parent_acl];
                    self.on_created(number(id), path, number(parent), acls, deliver);
                }
                Change::Deleted { id, path, parent, acl, parent_acl } => {
                    let acls = [acl, parent_acl];
                    self.on_deleted(number(id), path, number(parent), acls, deliver);
                }
                Change::DataChanged { id, path, acl } => {
                    self.on_data_changed(number(id), path, acl, deliver);
                }
                Change::SessionClosed(_) | Change::SessionCreated(_) => {}
            }
        }
    }
}

fn number(id: NodeId) -> u32 {
    u32::try_from(id.index()).expect("node ids are four bytes")
}
