//! What no leader writes and no server images, and what must hold all the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::test_image::Image;
use super::*;
use crate::base::{WallMillis, limits};
use crate::proto::{CreateKind, CreateTxn, ErrorCode, PathList, Txn, TxnHeader};

fn settings() -> impl Strategy<Value = StateSettings> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(extended_types, emulate_353, digest)| StateSettings {
            extended_types,
            emulate_353,
            digest,
            hash_seed: 1,
        },
    )
}

/// Every shape of path: of nodes that are there, and of none that ever could be.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        12 => Just("/a"),
        6 => Just("/b"),
        8 => Just("/zookeeper"),
        5 => Just("/quota"),
        2 => Just("/config"),
        4 => Just("/zookeeper_limits"),
        4 => Just("/zookeeper_stats"),
        1 => Just("/"),
        1 => Just("//a"),
        1 => Just("a"),
        1 => Just("/\0"),
        1 => Just("/é"),
        1 => Just("/.."),
    ];
    let any = prop::collection::vec(name, 0..4).prop_map(|names| names.concat());
    let of_quota = prop_oneof![
        Just("/zookeeper/quota/a"),
        Just("/zookeeper/quota/a/zookeeper_limits"),
        Just("/zookeeper/quota/a/zookeeper_stats"),
        Just("/zookeeper/quota/a/b/zookeeper_limits"),
    ];
    prop_oneof![6 => any, 1 => of_quota.prop_map(str::to_owned)]
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        Just(Some(b"count=1,bytes=2=;byteHardLimit=9;x=y".to_vec())),
        Just(Some(b"count=9223372036854775807,bytes".to_vec())),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Some),
    ]
}

fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let one = (0..4_i32).prop_map(|perms| Acl::new(Perms(perms), "world", "anyone"));
    prop::collection::vec(one, 0..3)
}

fn number() -> impl Strategy<Value = i32> {
    prop_oneof![Just(-1), Just(i32::MAX), Just(i32::MIN), 0..9]
}

/// Sessions, and what is none: the marks of containers and TTL nodes among them.
fn session() -> impl Strategy<Value = i64> {
    let odd = prop::sample::select(vec![0, -1, i64::MIN, i64::MIN + 5, 0xff << 56, i64::MAX]);
    prop_oneof![4 => 1..3_i64, 1 => odd]
}

fn create() -> impl Strategy<Value = Txn> {
    let kinds = [CreateKind::Create, CreateKind::Create2, CreateKind::Container, CreateKind::Ttl];
    let kind = prop::sample::select(kinds.to_vec());
    let ttl = prop::sample::select(vec![0, 1, -1, i64::MAX, TTL_MAX_MS]);
    (kind, path(), data(), acl(), any::<bool>(), number(), ttl).prop_map(
        |(kind, path, data, acl, ephemeral, parent_cversion, ttl)| {
            Txn::Create(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
        },
    )
}

fn txn() -> impl Strategy<Value = Txn> {
    let paths = prop::option::of(prop::collection::vec(path(), 0..4));
    let leaf = prop_oneof![
        1 => number().prop_map(|timeout_ms| Txn::CreateSession { timeout_ms }),
        1 => paths.prop_map(|paths: Option<Vec<String>>| {
            Txn::CloseSession { paths: paths.map(PathList::from_iter).map(Into::into) }
        }),
        12 => create(),
        3 => path().prop_map(|path| Txn::Delete { path }),
        1 => path().prop_map(|path| Txn::DeleteContainer { path }),
        3 => (path(), data(), number())
            .prop_map(|(path, data, version)| Txn::SetData { path, data, version }),
        1 => (path(), data(), number())
            .prop_map(|(path, data, version)| Txn::Reconfig { path, data, version }),
        2 => (path(), acl(), number())
            .prop_map(|(path, acl, version)| Txn::SetAcl { path, acl, version }),
        1 => (path(), number()).prop_map(|(path, version)| Txn::Check { path, version }),
        1 => number().prop_map(|code| Txn::Error { code }),
    ];
    leaf.prop_recursive(2, 8, 4, |part| prop::collection::vec(part, 0..4).prop_map(Txn::Multi))
}

#[derive(Clone, Debug)]
enum Step {
    Txn { txn: Txn, session: i64, zxid: i64, is_replay: bool },
    KillOrphans,
    Snapshot { nodes: usize },
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    let zxid = prop_oneof![20 => 0..300_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let txn = (txn(), session(), zxid, any::<bool>());
    prop_oneof![
        16 => txn.prop_map(|(txn, session, zxid, is_replay)| {
            Step::Txn { txn, session, zxid, is_replay }
        }),
        1 => Just(Step::KillOrphans),
        6 => (0..4_usize).prop_map(|nodes| Step::Snapshot { nodes }),
        1 => Just(Step::Abandon),
    ]
}

type Tree = BTreeMap<String, (Option<Vec<u8>>, Vec<Acl>, NodeStat)>;

/// All nodes by path, the root's as an image has it.
fn nodes_of(state: &State) -> Tree {
    let (mut nodes, mut open) = (Tree::new(), vec![state.node(NodeId::ROOT)]);
    while let Some(node) = open.pop() {
        let path = if node.id() == NodeId::ROOT { String::new() } else { node.path() };
        let data = node.data().map(<[u8]>::to_vec);
        nodes.insert(path, (data, node.acl().to_vec(), node.node_stat()));
        open.extend(node.children());
    }
    nodes
}

/// What an image says, letter by letter: parents first, no node twice, every ACL in the table.
fn nodes_in(body: &[u8]) -> (Tree, BTreeMap<SessionId, i32>) {
    let image = Image::read(body);
    let mut acls = BTreeMap::from([(-1, vec![Acl::open()])]);
    for (id, list) in image.acls {
        assert_eq!(acls.insert(id, list), None, "an ACL comes once");
    }
    let mut nodes = Tree::new();
    for node in image.nodes {
        let parent = node.path.rfind('/').map(|slash| &node.path[..slash]);
        assert!(parent.is_none_or(|parent| nodes.contains_key(parent)), "{}", node.path);
        let value = (node.data, acls[&node.acl_id].clone(), node.stat);
        assert_eq!(nodes.insert(node.path, value), None, "a node comes once");
    }
    (nodes, image.sessions.into_iter().collect())
}

/// The paths there must be after the changes, given those before.
fn follow(paths: &mut BTreeSet<String>, changes: &Changes) {
    for change in changes.iter() {
        match change {
            Change::Created { path, .. } => assert!(paths.insert(path.to_owned()), "{path}"),
            Change::Deleted { path, .. } => {
                assert!(paths.remove(path), "{path}");
                let below = format!("{path}/");
                assert!(!paths.iter().any(|other| other.starts_with(&below)), "{path}");
            }
            _ => {}
        }
    }
}

/// A state, the image that is being taken of it, and what that must say.
struct Rig {
    state: State,
    out: Applied,
    paths: BTreeSet<String>,
    body: Vec<u8>,
    expected: (Tree, BTreeMap<SessionId, i32>),
}

impl Rig {
    fn new(settings: &StateSettings) -> Rig {
        let state = State::new(settings);
        let paths = nodes_of(&state).into_keys().collect();
        let expected = (Tree::new(), BTreeMap::new());
        Rig { state, out: Applied::default(), paths, body: Vec::new(), expected }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Txn { txn, session, zxid, is_replay } => {
                let (session, zxid) = (SessionId(*session), Zxid(*zxid));
                let time = WallMillis(zxid.0.wrapping_mul(3));
                let header = TxnHeader { session, cxid: 1, zxid, time };
                let mode = if *is_replay { Mode::Replay } else { Mode::Exact };
                self.state.apply(&header, txn, mode, &mut self.out);
                follow(&mut self.paths, &self.out.changes);
            }
            Step::KillOrphans => {
                let mut changes = Changes::default();
                self.state.kill_orphan_ephemerals(&mut changes);
                follow(&mut self.paths, &changes);
                assert!(self.state.orphans().is_empty());
            }
            Step::Snapshot { nodes } => self.snapshot(*nodes),
            Step::Abandon => {
                self.state.snapshot_abandon();
                self.body.clear();
            }
        }
        self.state.check();
    }

    fn snapshot(&mut self, nodes: usize) {
        if !self.state.snapshot_is_running() {
            self.expected = (nodes_of(&self.state), self.state.sessions().collect());
            self.state.snapshot_begin();
        } else if self.state.snapshot_step(nodes, &mut self.body) {
            assert_eq!(nodes_in(&self.body), self.expected);
            self.body.clear();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_txn_breaks_the_state_or_an_image_being_taken(
        settings in settings(),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut rig = Rig::new(&settings);
        for step in &steps {
            rig.take(step);
            let paths: BTreeSet<String> = nodes_of(&rig.state).into_keys().collect();
            prop_assert_eq!(&rig.paths, &paths);
        }
        while rig.state.snapshot_is_running() {
            rig.snapshot(1);
        }
    }

    #[test]
    fn an_image_in_any_disorder_loads_or_is_refused_and_never_breaks(
        settings in settings(),
        acls in prop::collection::vec((-2..6_i64, acl()), 0..4),
        last_acl in prop::sample::select(vec![i64::MAX, i64::MIN, 7]),
        nodes in prop::collection::vec((path(), data(), -2..8_i64, session(), number()), 0..20),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut loader = State::loader(&settings);
        acls.into_iter().for_each(|(id, list)| loader.acl(id, list));
        loader.acl(last_acl, vec![Acl::new(Perms(16), "world", "anyone")]);
        for (path, data, acl_id, owner, number) in nodes {
            let stat = NodeStat { owner, cversion: number, version: number, ..stat_at(3) };
            let acl_id = if acl_id == 7 { last_acl } else { acl_id };
            _ = loader.node(&path, data.as_deref(), acl_id, stat);
        }
        let state = loader.finish(Zxid(4));
        state.check();
        let paths = nodes_of(&state).into_keys().collect();
        let mut rig = Rig { state, paths, ..Rig::new(&settings) };
        steps.iter().for_each(|step| rig.take(step));
    }
}

fn stat_at(zxid: i64) -> NodeStat {
    let zxid = Zxid(zxid);
    NodeStat { czxid: zxid, mzxid: zxid, pzxid: zxid, ..NodeStat::default() }
}

#[test]
fn a_node_that_comes_twice_is_the_second_and_keeps_an_acl_that_nobody_else_has() {
    let mut loader = State::loader(&StateSettings::default());
    let own = vec![Acl::new(Perms(3), "ip", "10.0.0.1")];
    loader.acl(5, own.clone());
    loader.node("", None, -1, stat_at(0)).expect("the root");
    loader.node("/a", Some(b"first"), -1, stat_at(1)).expect("a node in its place");
    for data in [b"second", b"third!"] {
        loader.node("/a", Some(data), 5, stat_at(2)).expect("the same once more");
    }
    let state = loader.finish(Zxid(2));
    let node = state.node(state.find("/a").expect("it is there"));
    assert_eq!((node.data(), &node.acl()[..]), (Some(&b"third!"[..]), &own[..]));
    assert_eq!(state.missing_acls(), 0, "its ACL was in the table all the time");
    assert_eq!(state.node(NodeId::ROOT).children().count(), 2, "it and /zookeeper");
}

#[test]
fn a_node_before_its_parent_is_refused_by_name() {
    let mut loader = State::loader(&StateSettings::default());
    let mut put = |path: &str| loader.node(path, None, -1, stat_at(1));
    assert_eq!(put("/a/b"), Err(LoadFault::NoParent("/a/b".into())));
    assert_eq!(put("/a"), Ok(()));
    assert_eq!(put("/a/b"), Ok(()));
    for path in ["/", "a", "//", "//a", "/a/"] {
        assert_eq!(put(path), Err(LoadFault::NoPath(path.into())), "{path}");
    }
    assert_eq!(put("/a//b"), Err(LoadFault::NoParent("/a//b".into())));
}

/// A chain as deep as a path may be long does not make the delete of its top a square of work,
/// nor recursion.
#[test]
fn a_deep_subtree_goes_leaf_by_leaf() {
    let mut loader = State::loader(&StateSettings::default());
    let mut path = String::new();
    for _ in 0..2000 {
        path.push_str("/a");
        loader.node(&path, None, -1, stat_at(1)).expect("a node in its place");
    }
    let mut state = loader.finish(Zxid(1));
    let header = TxnHeader { session: SessionId(1), cxid: 1, zxid: Zxid(2), time: WallMillis(2) };
    let mut out = Applied::default();
    state.apply(&header, &Txn::Delete { path: "/a".into() }, Mode::Replay, &mut out);
    assert_eq!((out.err, out.changes.len()), (ErrorCode::Ok, 2000));
    let first = out.changes.iter().next().expect("a change");
    assert!(matches!(first, Change::Deleted { path: deepest, .. } if deepest == path));
    assert_eq!(state.node_count(), 5);
    state.check();
}

/// Containers and TTL nodes, some of them due, looked at a few at a time.
#[test]
fn a_look_for_nodes_to_reap_goes_on_where_it_was() {
    let settings = StateSettings { extended_types: true, ..StateSettings::default() };
    let mut loader = State::loader(&settings);
    let mut put = |path: &str, owner: i64, cversion: i32, mtime: i64| {
        let stat = NodeStat { owner, cversion, mtime, ..stat_at(1) };
        loader.node(path, None, -1, stat).expect("a node in its place");
    };
    put("/plain", 0, 1, 0);
    put("/was_used", container_owner(), 1, 900);
    put("/is_used", container_owner(), 1, 0);
    put("/is_used/a", 0, 0, 0);
    put("/never_used", container_owner(), 0, 899);
    put("/not_yet_used", container_owner(), 0, 900);
    put("/old", ttl_owner(50), 0, 949);
    put("/young", ttl_owner(50), 0, 950);
    put("/for_ever", ttl_owner(0), 0, 0);
    put("/kept", ttl_owner(50), 1, 0);
    put("/kept/a", 0, 0, 0);
    let state = loader.finish(Zxid(1));
    for max_nodes in [1, 2, 100] {
        let mut look = ReapLook::new(WallMillis(1000), 100);
        let (mut found, mut steps) = (Vec::new(), 1);
        while !state.reap_step(&mut look, max_nodes, &mut found) {
            steps += 1;
        }
        found.sort();
        assert_eq!(found, ["/never_used", "/old", "/was_used"]);
        assert_eq!(steps, 8_usize.div_ceil(max_nodes));
    }
    let mut found = Vec::new();
    assert!(state.reap_step(&mut ReapLook::new(WallMillis(1000), 0), 8, &mut found));
    found.sort();
    assert_eq!(found, ["/old", "/was_used"]);
}

/// An ACL that goes while the table is being written goes into it; one that comes does not.
#[test]
fn acls_that_change_while_their_table_is_written_do_not_show() {
    let mut rig = Rig::new(&StateSettings::default());
    let acl_of = |perms: i32| vec![Acl::new(Perms(perms), "world", "anyone")];
    let set = |path: &str, perms: i32| Step::Txn {
        txn: Txn::SetAcl { path: path.into(), acl: acl_of(perms), version: 1 },
        session: 1,
        zxid: 9,
        is_replay: false,
    };
    let paths = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
    for (perms, path) in paths.iter().enumerate() {
        rig.take(&set(path, perms as i32));
    }
    for moved in 0..paths.len() {
        rig.take(&Step::Snapshot { nodes: 0 });
        rig.take(&Step::Snapshot { nodes: moved });
        for (i, path) in paths.iter().enumerate() {
            rig.take(&set(path, 8 + (i + moved) as i32));
            rig.take(&Step::Snapshot { nodes: 1 });
        }
        while rig.state.snapshot_is_running() {
            rig.take(&Step::Snapshot { nodes: 1 });
        }
    }
}

/// One step of a large tree of large nodes is no large step.
#[test]
fn a_step_stops_at_its_bytes() {
    let mut loader = State::loader(&StateSettings::default());
    let data = vec![7; limits::SNAPSHOT_BYTES_PER_TURN / 2];
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        loader.node(path, Some(&data), -1, stat_at(1)).expect("a node in its place");
    }
    let mut state = loader.finish(Zxid(1));
    state.snapshot_begin();
    let mut steps = 1;
    while !state.snapshot_step(usize::MAX, &mut Vec::new()) {
        steps += 1;
    }
    assert_eq!(steps, 3);
}
