//! The watches a session believes it has, so that another server can be told.

use std::collections::BTreeSet;

use crate::base::Zxid;
use crate::proto::{AddWatchMode, OpCode};

use super::call::WatchLists;

/// Bytes of paths in one setWatches2: well under the smallest frame limit in use.
const BATCH_BYTES: usize = 128 * 1024;

/// Which list of a batch a table's paths go to.
type ListOf = fn(&mut WatchLists) -> &mut Vec<String>;

#[derive(Clone, Debug, Default)]
pub struct WatchBook {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

impl WatchBook {
    /// A read that asked for a watch was answered.
    pub fn on_read(&mut self, op: OpCode, path: &str, found: bool) {
        let table = match (op, found) {
            (OpCode::GetData | OpCode::Exists, true) => &mut self.data,
            (OpCode::Exists, false) => &mut self.exist,
            (OpCode::GetChildren | OpCode::GetChildren2, true) => &mut self.child,
            _ => return,
        };
        table.insert(path.to_owned());
    }

    pub fn on_added(&mut self, path: &str, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => self.persistent.insert(path.to_owned()),
            AddWatchMode::PersistentRecursive => self.recursive.insert(path.to_owned()),
        };
    }

    /// An event uses up the one-shot watches it answers.
    pub fn on_event(&mut self, kind: i32, path: &str) {
        let (data, child) = match kind {
            1 | 3 => (true, false),
            2 => (true, true),
            4 => (false, true),
            _ => return,
        };
        if data {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if child {
            self.child.remove(path);
        }
    }

    /// A removal was granted: 1 children, 2 data, 3 any, 4 persistent, 5 recursive.
    pub fn on_removed(&mut self, path: &str, kind: i32) {
        let tables: [(&mut BTreeSet<String>, [i32; 2]); 5] = [
            (&mut self.child, [1, 3]),
            (&mut self.data, [2, 3]),
            (&mut self.exist, [2, 3]),
            (&mut self.persistent, [4, 3]),
            (&mut self.recursive, [5, 3]),
        ];
        for (table, kinds) in tables {
            if kinds.contains(&kind) {
                table.remove(path);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        let one_shot = self.data.len() + self.exist.len() + self.child.len();
        one_shot + self.persistent.len() + self.recursive.len()
    }

    /// Everything, in batches that fit a frame.
    pub fn batches(&self, relative_zxid: Zxid) -> Vec<WatchLists> {
        let tables: [(&BTreeSet<String>, ListOf); 5] = [
            (&self.data, |l| &mut l.data),
            (&self.exist, |l| &mut l.exist),
            (&self.child, |l| &mut l.child),
            (&self.persistent, |l| &mut l.persistent),
            (&self.recursive, |l| &mut l.recursive),
        ];
        let (mut batches, mut bytes) = (Vec::<WatchLists>::new(), BATCH_BYTES);
        for (table, list) in tables {
            for path in table {
                if bytes >= BATCH_BYTES {
                    batches.push(WatchLists { relative_zxid, ..WatchLists::default() });
                    bytes = 0;
                }
                bytes += path.len() + 4;
                let batch = batches.last_mut().expect("one was pushed before the first path");
                list(batch).push(path.clone());
            }
        }
        batches
    }
}
