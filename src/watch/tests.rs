//! The table against a naive model: Java's two managers, each a map from path to connections to
//! modes, and a tree whose ids are reused as soon as they are free.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::{ConnId, Zxid};
use crate::proto::{Acl, AddWatchMode, EventKind, SetWatches};

use super::holders::{Flags, Holders};
use super::listing::{ConnListing, Listed, PathListing};
use super::table;
use super::{Table, Tree, WatchTable};

fn conn(n: u32) -> ConnId {
    ConnId { index: n, generation: 7 }
}

/// A tree with one zxid for both kinds of change at each path.
struct Stamped(BTreeMap<&'static str, (u32, i64)>);

impl Tree for Stamped {
    fn id_of(&self, path: &str) -> Option<u32> {
        let path = if path.is_empty() { "/" } else { path };
        self.0.get(path).map(|found| found.0)
    }

    fn changed(&self, id: u32) -> (Zxid, Zxid) {
        let found = self.0.values().find(|found| found.0 == id).expect("an id of the tree");
        (Zxid(found.1), Zxid(found.1))
    }

    fn write_path(&self, id: u32, out: &mut String) {
        let found = self.0.iter().find(|(_, found)| found.0 == id).expect("an id of the tree");
        out.push_str(found.0);
    }
}

fn stamped() -> Stamped {
    Stamped(BTreeMap::from([("/", (0, 1)), ("/old", (1, 5)), ("/new", (2, 9))]))
}

type Told = Vec<(u32, EventKind, String)>;

/// A deliverer that keeps what it is given.
fn keep(told: &mut Told) -> impl FnMut(ConnId, EventKind, &str, &Arc<[Acl]>) + '_ {
    |conn, kind, path, _| told.push((conn.index, kind, path.to_owned()))
}

#[test]
fn a_client_that_comes_over_hears_what_it_missed_and_watches_the_rest() {
    let mut w = WatchTable::new(1);
    let tree = stamped();
    let all = || ["/old", "/new", "/gone"].map(Cow::Borrowed).to_vec();
    let set = SetWatches {
        relative_zxid: Zxid(5),
        data: all(),
        exist: all(),
        child: all(),
        persistent: vec!["/p".into()],
        persistent_recursive: vec!["/r".into()],
    };
    let mut told = Vec::new();
    w.set_watches(conn(1), &tree, &set, &mut |kind, path| told.push((kind, path.to_owned())));
    let expected = [
        (EventKind::NodeDataChanged, "/new"),
        (EventKind::NodeDeleted, "/gone"),
        (EventKind::NodeCreated, "/old"),
        (EventKind::NodeCreated, "/new"),
        (EventKind::NodeChildrenChanged, "/new"),
        (EventKind::NodeDeleted, "/gone"),
    ];
    assert_eq!(told, expected.map(|(kind, path)| (kind, path.to_owned())));
    let has: Vec<(&str, i32)> = ["/old", "/new", "/gone", "/p", "/r"]
        .into_iter()
        .flat_map(|path| (1..=5).map(move |kind| (path, kind)))
        .filter(|(path, kind)| w.has(conn(1), &tree, path, *kind))
        .collect();
    let expected = [
        ("/old", 1),
        ("/old", 2),
        ("/old", 3),
        ("/gone", 2),
        ("/gone", 3),
        ("/p", 3),
        ("/p", 4),
        ("/r", 3),
        ("/r", 5),
    ];
    assert_eq!(has, expected);
    let counts = w.counts();
    assert_eq!((counts.connections, counts.paths), (1, 4));
    assert_eq!((counts.data_watches, counts.child_watches), (4, 2));
    assert_eq!(w.watch_count(), 6);
    w.check();
}

#[test]
fn creating_and_deleting_tell_the_node_first_and_then_its_parent() {
    let (mut w, tree) = (WatchTable::new(1), stamped());
    let acl: Arc<[Acl]> = Arc::new([Acl::open()]);
    w.add_persistent(conn(1), &tree, "/old", AddWatchMode::Persistent);
    w.add_persistent(conn(1), &tree, "/old", AddWatchMode::PersistentRecursive);
    w.add(conn(2), &tree, "/old/x", Table::Data);
    let mut told = Told::new();
    w.on_created(7, "/old/x", 1, [&acl, &acl], &mut keep(&mut told));
    w.on_data_changed(7, "/old/x", &acl, &mut keep(&mut told));
    w.add_persistent(conn(1), &tree, "/new", AddWatchMode::Persistent);
    w.on_deleted(2, "/new", 0, [&acl, &acl], &mut keep(&mut told));
    use EventKind::*;
    let expected = [
        (1, NodeCreated, "/old/x"),
        (2, NodeCreated, "/old/x"),
        (1, NodeChildrenChanged, "/old"),
        (1, NodeDataChanged, "/old/x"),
        (1, NodeDeleted, "/new"),
    ];
    assert_eq!(told, expected.map(|(who, kind, path)| (who, kind, path.to_owned())));
    let mut fired = Vec::new();
    w.take_fired(&mut |kind, told| fired.push((kind, told)));
    let expected = [
        (NodeCreated, 2),
        (NodeChildrenChanged, 1),
        (NodeDataChanged, 1),
        (NodeDeleted, 1),
        (NodeDeleted, 1),
    ];
    assert_eq!(fired, expected);
    w.check();
}

#[test]
fn what_is_watched_under_the_empty_name_is_told_nothing() {
    let (mut w, tree) = (WatchTable::new(1), stamped());
    let acl: Arc<[Acl]> = Arc::new([Acl::open()]);
    w.add(conn(1), &tree, "", Table::Data);
    w.add(conn(1), &tree, "", Table::Child);
    let mut told = Told::new();
    w.on_data_changed(0, "/", &acl, &mut keep(&mut told));
    w.on_created(7, "/x", 0, [&acl, &acl], &mut keep(&mut told));
    assert_eq!(told, []);
    assert!(w.has(conn(1), &tree, "", 3) && !w.has(conn(1), &tree, "/", 3));
}

#[test]
fn a_connection_that_asks_for_too_much_is_named() {
    let (mut w, tree) = (WatchTable::new(1), stamped());
    let path = format!("/{}", "x".repeat(crate::base::limits::WATCH_NAME_BYTES_PER_CONN));
    w.add(conn(1), &tree, &path, Table::Data);
    w.add(conn(2), &tree, "/x", Table::Data);
    assert_eq!(w.take_over_limit(), [conn(1)]);
    assert_eq!(w.take_over_limit(), []);
}

/// Modes as Java numbers them: standard, persistent, recursive.
pub(super) const ONCE: u8 = 1;
pub(super) const PERSISTENT: u8 = 2;
pub(super) const RECURSIVE: u8 = 4;

#[derive(Default)]
pub(super) struct Manager {
    paths: BTreeMap<String, BTreeMap<u32, u8>>,
    /// Connections in Java's second map; they stay in it when their watches fire.
    listed: BTreeSet<u32>,
}

impl Manager {
    pub fn add(&mut self, path: &str, who: u32, mode: u8) {
        *self.paths.entry(path.to_owned()).or_default().entry(who).or_default() |= mode;
        self.listed.insert(who);
    }

    fn modes(&self, path: &str, who: u32) -> u8 {
        self.paths.get(path).and_then(|w| w.get(&who)).copied().unwrap_or(0)
    }

    fn remove(&mut self, path: &str, who: u32, mode: u8) -> bool {
        let had = self.modes(path, who);
        if had & mode == 0 {
            return false;
        }
        let watchers = self.paths.get_mut(path).unwrap();
        if had & !mode == 0 {
            watchers.remove(&who);
            self.paths.retain(|_, w| !w.is_empty());
            if !self.paths.values().any(|w| w.contains_key(&who)) {
                self.listed.remove(&who);
            }
        } else {
            watchers.insert(who, had & !mode);
        }
        true
    }

    pub fn forget(&mut self, who: u32) {
        self.paths.values_mut().for_each(|w| {
            w.remove(&who);
        });
        self.paths.retain(|_, w| !w.is_empty());
        self.listed.remove(&who);
    }

    pub fn trigger(&mut self, path: &str) -> BTreeSet<u32> {
        let mut told = BTreeSet::new();
        let mut at = path.to_owned();
        loop {
            let own = at == path;
            if let Some(watchers) = self.paths.get_mut(&at) {
                for (who, modes) in watchers.iter_mut() {
                    if own || *modes & RECURSIVE != 0 {
                        told.insert(*who);
                    }
                    if own {
                        *modes &= !ONCE;
                    }
                }
                watchers.retain(|_, modes| *modes != 0);
            }
            if at == "/" {
                break;
            }
            at.truncate(at.rfind('/').unwrap());
            if at.is_empty() {
                at.push('/');
            }
        }
        self.paths.retain(|_, w| !w.is_empty());
        told
    }

    pub fn total(&self) -> usize {
        self.paths.values().map(|w| w.len()).sum()
    }
}

const CONNS: u32 = 5;
const PATHS: [&str; 9] = ["/", "/a", "/a/b", "/a/b/c", "/a/d", "/ab", "/e", "", "odd"];

/// A tree that gives the lowest free id to a new node.
struct World {
    tree: BTreeMap<&'static str, u32>,
    table: table::Table,
    data: Manager,
    child: Manager,
}

#[derive(Clone, Debug)]
enum Step {
    Add(u32, usize, u8),
    Remove(u32, usize, u8),
    Forget(u32),
    Sweep(usize),
    Toggle(usize),
    Set(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CONNS;
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (who.clone(), path.clone(), 0u8..4).prop_map(|(w, p, k)| Step::Add(w, p, k)),
        2 => (who.clone(), path.clone(), 1u8..6).prop_map(|(w, p, k)| Step::Remove(w, p, k)),
        1 => who.prop_map(Step::Forget),
        1 => (1usize..4).prop_map(Step::Sweep),
        4 => path.clone().prop_map(Step::Toggle),
        2 => path.prop_map(Step::Set),
    ]
}

impl World {
    fn new() -> World {
        World {
            tree: BTreeMap::from([("/", 0)]),
            table: table::Table::new(1),
            data: Manager::default(),
            child: Manager::default(),
        }
    }

    fn node(&self, path: &str) -> Option<u32> {
        self.tree.get(path).copied()
    }

    fn add(&mut self, who: u32, path: &str, kind: u8) {
        let flags = match kind {
            0 => Flags::DATA_ONCE,
            1 => Flags::CHILD_ONCE,
            2 => Flags::PERSISTENT,
            _ => Flags::RECURSIVE,
        };
        self.table.add(conn(who), self.node(path), path, flags).unwrap();
        match kind {
            0 => self.data.add(path, who, ONCE),
            1 => self.child.add(path, who, ONCE),
            2 => {
                self.data.add(path, who, PERSISTENT);
                self.child.add(path, who, PERSISTENT);
            }
            _ => self.data.add(path, who, RECURSIVE),
        }
    }

    fn remove(&mut self, who: u32, path: &str, kind: u8) {
        let any = ONCE | PERSISTENT | RECURSIVE;
        let flags = super::flags_of_kind(i32::from(kind));
        let (had, gone) = match kind {
            1 => (self.child.modes(path, who) & ONCE != 0, self.child.remove(path, who, ONCE)),
            2 => (self.data.modes(path, who) & ONCE != 0, self.data.remove(path, who, ONCE)),
            5 => {
                let had = self.data.modes(path, who) & RECURSIVE != 0;
                (had, self.data.remove(path, who, RECURSIVE))
            }
            kind => {
                let mode = if kind == 3 { any } else { PERSISTENT };
                let had = self.data.modes(path, who) & mode != 0
                    || (kind == 3 && self.child.modes(path, who) & mode != 0);
                let child = self.child.remove(path, who, mode);
                (had, self.data.remove(path, who, mode) | child)
            }
        };
        let node = self.node(path);
        assert_eq!(self.table.flags(conn(who), node, path).any(flags), had, "has {kind}");
        assert_eq!(self.table.remove(conn(who), node, path, flags), gone, "removes {kind}");
    }

    fn toggle(&mut self, path: &'static str) {
        let Some(slash) = path.rfind('/').filter(|_| path.len() > 1) else { return };
        let parent = if slash == 0 { "/" } else { &path[..slash] };
        let Some(parent_id) = self.node(parent) else { return };
        let mut told = Vec::new();
        if let Some(id) = self.node(path) {
            let below = format!("{path}/");
            if self.tree.keys().any(|p| p.starts_with(&below)) {
                return;
            }
            self.tree.remove(path);
            let counts = self.table.deleted(id, path, &mut |c| told.push(c.index));
            let data = self.data.trigger(path);
            let child = self.child.trigger(path);
            assert_eq!(counts, (data.len(), child.len()));
            let rest = child.difference(&data).copied();
            let expected: Vec<u32> = data.iter().copied().chain(rest).collect();
            self.same(told, expected, data.len());
        } else {
            let id = (0..).find(|id| !self.tree.values().any(|v| v == id)).unwrap();
            self.tree.insert(path, id);
            let count = self.table.created(id, path, &mut |c| told.push(c.index));
            let data = self.data.trigger(path);
            assert_eq!(count, data.len());
            self.same(told, data.into_iter().collect(), count);
        }
        let mut told = Vec::new();
        let count = self.table.children_changed(parent_id, &mut |c| told.push(c.index));
        let child = self.child.trigger(parent);
        assert_eq!(count, child.len());
        self.same(told, child.into_iter().collect(), count);
    }

    fn set(&mut self, path: &str) {
        let Some(id) = self.node(path) else { return };
        let mut told = Vec::new();
        let count = self.table.data_changed(id, path, &mut |c| told.push(c.index));
        let data = self.data.trigger(path);
        self.same(told, data.into_iter().collect(), count);
    }

    /// The first `first` are told in any order, then the rest in any order; nobody twice.
    fn same(&self, mut told: Vec<u32>, mut expected: Vec<u32>, first: usize) {
        for list in [&mut told, &mut expected] {
            let first = first.min(list.len());
            list[..first].sort_unstable();
            list[first..].sort_unstable();
        }
        assert_eq!(told, expected);
    }

    fn compare(&self) {
        self.table.check();
        let totals = self.table.watchers.totals;
        assert_eq!(totals.data, self.data.total() as u64);
        assert_eq!(totals.child, self.child.total() as u64);
        assert_eq!(totals.listed, self.data.listed.len() as u64);
        for path in PATHS {
            for who in 0..CONNS {
                let flags = self.table.flags(conn(who), self.node(path), path).0;
                let expected = self.data.modes(path, who) | self.child.modes(path, who) << 3;
                assert_eq!(flags, expected, "{path:?} {who}");
            }
        }
    }
}

/// Both listings in portions of `max` lines, as (path, connection) pairs.
fn listings(w: &mut World, max: usize) -> [Vec<(String, u32)>; 2] {
    let tree = w.tree.clone();
    let path_of = move |id: u32, out: &mut String| {
        out.push_str(tree.iter().find(|(_, v)| **v == id).expect("a node of that id").0);
    };
    let (mut by_path, mut by_conn) = (Vec::new(), Vec::new());
    let mut at = String::new();
    let mut listing = PathListing::default();
    while !listing.step(&w.table, &path_of, max, &mut |line| match line {
        Listed::Path(path) => at = path.to_owned(),
        Listed::Conn(c) => by_path.push((at.clone(), c.index)),
    }) {}
    let mut at = 0;
    let mut listing = ConnListing::default();
    while !listing.step(&mut w.table, &path_of, max, &mut |line| match line {
        Listed::Path(path) => by_conn.push((path.to_owned(), at)),
        Listed::Conn(c) => at = c.index,
    }) {}
    by_path.sort_unstable();
    by_conn.sort_unstable();
    [by_path, by_conn]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_table_tells_whom_the_naive_model_tells(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut w = World::new();
        for step in steps {
            match step {
                Step::Add(who, path, kind) => w.add(who, PATHS[path], kind),
                Step::Remove(who, path, kind) => w.remove(who, PATHS[path], kind),
                Step::Forget(who) => {
                    w.table.forget(conn(who));
                    w.data.forget(who);
                    w.child.forget(who);
                }
                Step::Sweep(budget) => {
                    w.table.sweep(budget);
                }
                Step::Toggle(path) => w.toggle(PATHS[path]),
                Step::Set(path) => w.set(PATHS[path]),
            }
            w.compare();
        }
        while w.table.sweep(2) {}
        prop_assert_eq!(w.table.data_places, w.data.paths.len() as u64);
        w.compare();
        let mut expected = Vec::new();
        for (path, watchers) in &w.data.paths {
            expected.extend(watchers.keys().map(|who| (path.clone(), *who)));
        }
        for max in [1, 3, 1000] {
            let [by_path, by_conn] = listings(&mut w, max);
            prop_assert_eq!(&by_path, &expected);
            prop_assert_eq!(&by_conn, &expected);
        }
    }
}

#[test]
fn a_crowd_becomes_a_hash_and_falls_back_to_one() {
    let mut t = table::Table::new(3);
    for who in (0..10_000).rev() {
        t.add(conn(who), Some(5), "/x", Flags::DATA_ONCE).unwrap();
    }
    t.check();
    assert_eq!(t.watchers.totals.data, 10_000);
    for who in 1..10_000 {
        assert!(t.remove(conn(who), Some(5), "/x", Flags::DATA_ONCE));
    }
    t.check();
    assert_eq!(t.crowds.len(), 0);
    let mut told = Vec::new();
    assert_eq!(t.data_changed(5, "/x", &mut |c| told.push(c.index)), 1);
    assert_eq!((told, t.nodes.holders(5)), (vec![0], Holders::NOBODY));
}

#[test]
fn a_hashed_crowd_is_told_in_order_and_once() {
    let mut t = table::Table::new(3);
    for who in 0..5_000 {
        t.add(conn(who), Some(5), "/x", Flags::DATA_ONCE.with(Flags::CHILD_ONCE)).unwrap();
    }
    t.add(conn(17), Some(5), "/x", Flags::PERSISTENT).unwrap();
    let mut told = Vec::new();
    assert_eq!(t.deleted(5, "/x", &mut |c| told.push(c.index)), (5_000, 5_000));
    assert!(told.is_sorted() && told.len() == 5_000);
    t.check();
    assert_eq!(t.flags(conn(17), None, "/x"), Flags::PERSISTENT);
    assert_eq!(t.flags(conn(18), None, "/x"), Flags::NONE);
}

#[test]
fn watches_that_fire_and_come_again_leave_no_heap_behind() {
    let mut t = table::Table::new(3);
    for round in 0..10_000u32 {
        let id = round % 7;
        t.add(conn(1), Some(id), "", Flags::DATA_ONCE).unwrap();
        t.add(conn(1), Some(100), "", Flags::DATA_ONCE).unwrap();
        t.data_changed(id, "/x", &mut |_| {});
    }
    t.check();
    let slot = t.watchers.slot(conn(1)).unwrap();
    assert!(t.watchers.watcher(slot).nodes.bytes() < 400);
}

#[test]
fn names_count_against_a_connection_and_are_given_back() {
    use crate::base::limits::WATCH_NAME_BYTES_PER_CONN;
    let mut t = table::Table::new(3);
    let name = |n: usize| format!("/{}{n:08}", "x".repeat((1 << 20) - 8));
    let room = WATCH_NAME_BYTES_PER_CONN / (1 << 20);
    for n in 0..room {
        // One byte longer than the round number each.
        let added = t.add(conn(1), None, &name(n), Flags::DATA_ONCE);
        assert_eq!(added.is_ok(), n + 1 < room, "{n}");
    }
    t.add(conn(1), None, &name(0), Flags::CHILD_ONCE).expect("the same place costs nothing");
    t.remove(conn(1), None, &name(0), Flags::ALL);
    t.add(conn(1), None, &name(room), Flags::DATA_ONCE).expect("there is room again");
    t.forget(conn(1));
    t.add(conn(1), None, &name(0), Flags::DATA_ONCE).expect("a new connection begins at zero");
    t.check();
}

#[test]
fn a_million_one_shot_watches_cost_at_most_sixteen_bytes_each() {
    const NODES: u32 = 1_000_000;
    let mut t = table::Table::new(3);
    for id in 0..NODES {
        t.add(conn(id % 100), Some(id), "", Flags::DATA_ONCE).unwrap();
    }
    let sides: usize = t.watchers.iter().map(|(_, w)| w.nodes.bytes()).sum();
    // The table's side: four bytes of holders, and its page's share.
    let table = NODES as usize * 4 + NODES as usize / 64 * 16;
    assert!((sides + table) / NODES as usize <= 12, "{}", sides + table);
}
