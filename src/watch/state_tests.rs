//! The table beside a real state, whose ids are reused, and Java's managers beside both: what
//! each txn's changes tell, and that every watch stands where its path is.

use proptest::prelude::*;

use crate::base::{ConnId, SessionId, WallMillis, Zxid};
use crate::proto::{Acl, AddWatchMode, CreateKind, CreateTxn, EventKind, Txn, TxnHeader};
use crate::state::{Applied, Change, Mode, State, StateSettings};

use super::tests::{Manager, ONCE, PERSISTENT, RECURSIVE};
use super::{Table, Tree, WatchTable};

const PATHS: [&str; 7] = ["/a", "/a/b", "/a/b/c", "/a/d", "/ab", "/e", "/zookeeper/x"];

#[derive(Clone, Debug)]
enum Step {
    Watch(u32, usize, u8),
    Txn(Vec<(usize, bool)>),
    Forget(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    let change = (path.clone(), any::<bool>());
    prop_oneof![
        3 => (0u32..4, path, 0u8..4).prop_map(|(who, path, kind)| Step::Watch(who, path, kind)),
        4 => prop::collection::vec(change, 1..6).prop_map(Step::Txn),
        1 => (0u32..4).prop_map(Step::Forget),
    ]
}

struct World {
    state: State,
    watches: WatchTable,
    data: Manager,
    child: Manager,
    zxid: i64,
    generations: [u32; 4],
}

type Told = Vec<(u32, EventKind, String)>;

impl World {
    fn new() -> World {
        World {
            state: State::new(&StateSettings::default()),
            watches: WatchTable::new(1),
            data: Manager::default(),
            child: Manager::default(),
            zxid: 0,
            generations: [0; 4],
        }
    }

    fn conn(&self, who: u32) -> ConnId {
        ConnId { index: who, generation: self.generations[who as usize] }
    }

    fn watch(&mut self, who: u32, path: &str, kind: u8) {
        let conn = self.conn(who);
        match kind {
            0 => {
                self.watches.add(conn, &self.state, path, Table::Data);
                self.data.add(path, who, ONCE);
            }
            1 if self.state.find(path).is_some() => {
                self.watches.add(conn, &self.state, path, Table::Child);
                self.child.add(path, who, ONCE);
            }
            1 => {}
            2 => {
                self.watches.add_persistent(conn, &self.state, path, AddWatchMode::Persistent);
                self.data.add(path, who, PERSISTENT);
                self.child.add(path, who, PERSISTENT);
            }
            _ => {
                let mode = AddWatchMode::PersistentRecursive;
                self.watches.add_persistent(conn, &self.state, path, mode);
                self.data.add(path, who, RECURSIVE);
            }
        }
    }

    /// Creates what is missing, deletes or sets what is there; as one multi.
    fn txn(&mut self, changes: &[(usize, bool)]) {
        let mut there: Vec<&str> =
            PATHS.into_iter().filter(|path| self.state.find(path).is_some()).collect();
        let mut parts = Vec::new();
        for (path, set) in changes {
            let path = PATHS[*path];
            let below = format!("{path}/");
            let parent = &path[..path.rfind('/').unwrap()];
            let has_parent = parent.is_empty() || parent == "/zookeeper" || there.contains(&parent);
            if there.contains(&path) {
                if *set {
                    let (data, version) = (Some(vec![1]), 1);
                    parts.push(Txn::SetData { path: path.to_owned(), data, version });
                } else if !there.iter().any(|p| p.starts_with(&below)) {
                    there.retain(|p| *p != path);
                    parts.push(Txn::Delete { path: path.to_owned() });
                }
            } else if has_parent {
                there.push(path);
                parts.push(Txn::Create(CreateTxn {
                    kind: CreateKind::Create,
                    path: path.to_owned(),
                    data: None,
                    acl: vec![Acl::open()],
                    ephemeral: false,
                    parent_cversion: -1,
                    ttl: 0,
                }));
            }
        }
        self.apply(&Txn::Multi(parts));
    }

    fn apply(&mut self, txn: &Txn) {
        self.zxid += 1;
        let header = TxnHeader {
            session: SessionId(1),
            cxid: 0,
            zxid: Zxid(self.zxid),
            time: WallMillis(0),
        };
        let mut applied = Applied::default();
        self.state.apply(&header, txn, Mode::Exact, &mut applied);
        let mut told = Told::new();
        self.watches.fire(&applied.changes, &mut |conn, kind, path, acl| {
            assert_eq!(acl[0], Acl::open());
            told.push((conn.index, kind, path.to_owned()));
        });
        let mut expected = Told::new();
        for change in applied.changes.iter() {
            self.expect(&change, &mut expected);
        }
        // Connections that hear of the same thing may do so in any order.
        for list in [&mut told, &mut expected] {
            list.chunk_by_mut(|a, b| (a.1, &a.2) == (b.1, &b.2)).for_each(<[_]>::sort_unstable);
        }
        assert_eq!(told, expected);
    }

    /// What Java's tree asks of its two managers for one change.
    fn expect(&mut self, change: &Change<'_>, told: &mut Told) {
        let mut tell = |who: Vec<u32>, kind, path: &str| {
            told.extend(who.into_iter().map(|who| (who, kind, path.to_owned())));
        };
        let path = match change {
            Change::Created { path, .. } => {
                let data = self.data.trigger(path);
                tell(data.into_iter().collect(), EventKind::NodeCreated, path);
                path
            }
            Change::Deleted { path, .. } => {
                let data = self.data.trigger(path);
                let child = self.child.trigger(path);
                let rest = child.difference(&data).copied().collect();
                tell(data.into_iter().collect(), EventKind::NodeDeleted, path);
                tell(rest, EventKind::NodeDeleted, path);
                path
            }
            Change::DataChanged { path, .. } => {
                let data = self.data.trigger(path);
                tell(data.into_iter().collect(), EventKind::NodeDataChanged, path);
                return;
            }
            Change::SessionClosed(_) | Change::SessionCreated(_) => return,
        };
        let parent = &path[..path.rfind('/').unwrap().max(1)];
        let child = self.child.trigger(parent);
        tell(child.into_iter().collect(), EventKind::NodeChildrenChanged, parent);
    }

    fn forget(&mut self, who: u32) {
        self.watches.forget(self.conn(who));
        self.generations[who as usize] += 1;
        self.data.forget(who);
        self.child.forget(who);
    }

    /// Every watch stands where its path says.
    fn check(&self) {
        self.watches.check();
        let table = &self.watches.table;
        let mut from = 0;
        while let Some((id, _)) = table.nodes.next_from(from) {
            let mut path = String::new();
            self.state.write_path(id, &mut path);
            assert_eq!(self.state.id_of(&path), Some(id));
            from = id + 1;
        }
        let mut from = 0;
        while let Some((name, _)) = table.names.next_from(from) {
            assert_eq!(self.state.id_of(table.names.text(name)), None);
            from = name + 1;
        }
        assert_eq!(self.watches.watch_count() as usize, self.data.total() + self.child.total());
    }
}

proptest! {
    #[test]
    fn changes_of_a_real_state_tell_what_java_tells(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut w = World::new();
        for step in steps {
            match step {
                Step::Watch(who, path, kind) => w.watch(who, PATHS[path], kind),
                Step::Txn(changes) => w.txn(&changes),
                Step::Forget(who) => w.forget(who),
            }
            w.check();
        }
    }
}
