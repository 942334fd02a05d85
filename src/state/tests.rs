//! The state against a naive one: a map from path to node.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::test_image::Image;
use super::*;
use crate::base::{WallMillis, limits};
use crate::proto::{
    CreateKind, CreateTxn, ErrorCode, PathList, Txn, TxnHeader, Writer, parent_and_name,
};

const SETTINGS: StateSettings =
    StateSettings { extended_types: true, emulate_353: false, digest: true, hash_seed: 7 };

#[derive(Clone, Debug, PartialEq)]
struct Plain {
    data: Option<Vec<u8>>,
    acl: Vec<Acl>,
    stat: NodeStat,
}

/// Legal txns only: what a leader makes.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    nodes: BTreeMap<String, Plain>,
    sessions: BTreeMap<SessionId, i32>,
}

fn parent_of(path: &str) -> &str {
    parent_and_name(path).map_or("", |(parent, _)| parent)
}

fn tree_of(state: &State) -> Model {
    let mut nodes = BTreeMap::new();
    let mut open = vec![state.node(NodeId::ROOT)];
    while let Some(node) = open.pop() {
        let (data, acl) = (node.data().map(<[u8]>::to_vec), node.acl().to_vec());
        nodes.insert(node.path(), Plain { data, acl, stat: node.node_stat() });
        open.extend(node.children());
    }
    Model { nodes, sessions: state.sessions().collect() }
}

impl Model {
    fn apply(&mut self, header: &TxnHeader, txn: &Txn) {
        match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
            }
            Txn::CloseSession { .. } => {
                let owner = header.session.0;
                let owned = self.nodes.iter().filter(|(_, node)| node.stat.owner == owner);
                for path in owned.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
                    self.delete(header, &path);
                }
                self.sessions.remove(&header.session);
            }
            Txn::Create(create) => self.create(header, create),
            Txn::Delete { path } => self.delete(header, path),
            Txn::SetData { path, data, version } => {
                let Some(node) = self.nodes.get_mut(path) else { return };
                node.data.clone_from(data);
                node.stat.version = *version;
                (node.stat.mzxid, node.stat.mtime) = (header.zxid, header.time.0);
            }
            Txn::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(path) else { return };
                node.acl.clone_from(acl);
                node.stat.aversion = *version;
            }
            Txn::Multi(parts) if parts.iter().any(|part| matches!(part, Txn::Error { .. })) => {}
            Txn::Multi(parts) => parts.iter().for_each(|part| self.apply(header, part)),
            _ => {}
        }
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn) {
        let zxid = header.zxid;
        let Some(parent) = self.nodes.get_mut(parent_of(&txn.path)) else { return };
        (parent.stat.cversion, parent.stat.pzxid) = (parent.stat.cversion + 1, zxid);
        let owner = match txn.kind {
            CreateKind::Container => i64::MIN,
            CreateKind::Ttl => ttl_owner(txn.ttl),
            _ if txn.ephemeral => header.session.0,
            _ => 0,
        };
        let (ctime, mtime) = (header.time.0, header.time.0);
        let born = NodeStat { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime, mtime, ..stat0() };
        let stat = NodeStat { owner, ..born };
        let node = Plain { data: txn.data.clone(), acl: txn.acl.clone(), stat };
        self.nodes.insert(txn.path.clone(), node);
    }

    fn delete(&mut self, header: &TxnHeader, path: &str) {
        if self.nodes.remove(path).is_some() {
            self.nodes.get_mut(parent_of(path)).expect("a parent").stat.pzxid = header.zxid;
        }
    }

    fn is_legal(&self, txn: &Txn) -> bool {
        match txn {
            Txn::Create(create) => {
                let parent = self.nodes.get(parent_of(&create.path));
                let owner = parent.map(|parent| parent.stat.owner);
                !self.nodes.contains_key(&create.path)
                    && owner.is_some_and(|owner| owner <= 0)
                    && (!create.ephemeral || !self.sessions.is_empty())
            }
            Txn::Delete { path } => {
                self.nodes.contains_key(path) && !self.nodes.keys().any(|p| parent_of(p) == path)
            }
            Txn::SetData { path, .. } | Txn::SetAcl { path, .. } => self.nodes.contains_key(path),
            _ => true,
        }
    }
}

fn stat0() -> NodeStat {
    NodeStat::default()
}

/// Turns wishes into what a leader would make of them, one after the other.
struct Leader {
    model: Model,
    zxid: i64,
}

#[derive(Clone, Debug)]
struct Wish {
    what: u8,
    path: String,
    data: Option<Vec<u8>>,
    who: i64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let name = prop_oneof![Just("/a"), Just("/b"), Just("/ä")];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.concat());
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
    (0..12_u8, path, data, 1..4_i64).prop_map(|(what, path, data, who)| Wish {
        what,
        path,
        data,
        who,
    })
}

impl Leader {
    fn new() -> Leader {
        Leader { model: tree_of(&State::new(&SETTINGS)), zxid: 0x1_0000_0000 }
    }

    fn txn(&mut self, wish: &Wish) -> (TxnHeader, Txn) {
        self.zxid += 1;
        let header = TxnHeader {
            session: SessionId(wish.who),
            cxid: 1,
            zxid: Zxid(self.zxid),
            time: WallMillis(self.zxid * 3),
        };
        let txn = self.body(wish);
        let txn = if self.model.is_legal(&txn) { txn } else { Txn::Error { code: -101 } };
        self.model.apply(&header, &txn);
        (header, txn)
    }

    fn body(&self, wish: &Wish) -> Txn {
        let Wish { path, data, .. } = wish.clone();
        let stat = self.model.nodes.get(&path).map_or(stat0(), |node| node.stat);
        let acl = vec![Acl::new(Perms(wish.who as i32), "world", "anyone")];
        match wish.what {
            0 => Txn::CreateSession { timeout_ms: 4000 },
            1 => Txn::CloseSession {
                paths: Some(self.owned_by(wish.who).iter().collect::<PathList>().into()),
            },
            2 | 3 => Txn::Delete { path },
            4 | 5 => Txn::SetData { path, data, version: stat.version + 1 },
            6 => Txn::SetAcl { path, acl, version: stat.aversion + 1 },
            7 => Txn::Multi(vec![self.create(wish, acl), Txn::Error { code: -2 }]),
            8 if self.model.is_legal(&self.create(wish, acl.clone())) => Txn::Multi(vec![
                self.create(wish, acl),
                Txn::SetData { path: path.clone(), data, version: 1 },
                Txn::Delete { path },
            ]),
            _ => self.create(wish, acl),
        }
    }

    fn create(&self, wish: &Wish, acl: Vec<Acl>) -> Txn {
        let parent = self.model.nodes.get(parent_of(&wish.path));
        let kind = match wish.what {
            9 => CreateKind::Container,
            10 => CreateKind::Ttl,
            what if what % 2 == 0 => CreateKind::Create2,
            _ => CreateKind::Create,
        };
        let ephemeral = wish.who == 3 && wish.what > 8;
        Txn::Create(CreateTxn {
            kind,
            path: wish.path.clone(),
            data: wish.data.clone(),
            acl,
            ephemeral: ephemeral && kind != CreateKind::Ttl && kind != CreateKind::Container,
            parent_cversion: parent.map_or(0, |parent| parent.stat.cversion + 1),
            ttl: 1000,
        })
    }

    fn owned_by(&self, owner: i64) -> Vec<String> {
        let owned = self.model.nodes.iter().filter(|(_, node)| node.stat.owner == owner);
        owned.map(|(path, _)| path.clone()).collect()
    }
}

fn load(body: &[u8], zxid: Zxid) -> State {
    let image = Image::read(body);
    let mut loader = State::loader(&SETTINGS);
    image.sessions.into_iter().for_each(|(id, timeout_ms)| loader.session(id, timeout_ms));
    image.acls.into_iter().for_each(|(id, list)| loader.acl(id, list));
    for node in image.nodes {
        let placed = loader.node(&node.path, node.data.as_deref(), node.acl_id, node.stat);
        placed.expect("a node in its place");
    }
    loader.finish(zxid)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_txn_has_the_effect_it_has_on_a_plain_map(
        wishes in prop::collection::vec(wish(), 1..120),
    ) {
        let (mut leader, mut state) = (Leader::new(), State::new(&SETTINGS));
        let mut out = Applied::default();
        for wish in &wishes {
            let before = leader.model.nodes.len() as isize;
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut out);
            state.check();
            prop_assert_eq!(&tree_of(&state), &leader.model);
            let born = out.changes.iter().map(|change| match change {
                Change::Created { .. } => 1,
                Change::Deleted { .. } => -1,
                _ => 0,
            });
            prop_assert_eq!(before + born.sum::<isize>(), leader.model.nodes.len() as isize);
            prop_assert_eq!(state.last_zxid(), header.zxid);
        }
    }

    #[test]
    fn a_path_is_found_where_it_is_now(wishes in prop::collection::vec(wish(), 1..120)) {
        let (mut leader, mut state) = (Leader::new(), State::new(&SETTINGS));
        let mut known = std::collections::BTreeSet::new();
        for wish in &wishes {
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut Applied::default());
            known.extend(leader.model.nodes.keys().cloned());
            state.warm(known.iter().take(WARM_NODES).map(String::as_bytes));
            // Those that were deleted, too; some have left their place to others.
            for path in &known {
                let found = state.node_at(path).map(|node| node.path());
                let there = leader.model.nodes.contains_key(path).then(|| path.clone());
                prop_assert_eq!(found, there);
            }
        }
    }

    #[test]
    fn an_image_taken_among_txns_is_that_of_its_beginning(
        before in prop::collection::vec(wish(), 1..60),
        during in prop::collection::vec((wish(), 0..4_usize), 1..60),
    ) {
        let (mut leader, mut state) = (Leader::new(), State::new(&SETTINGS));
        let mut out = Applied::default();
        for wish in &before {
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut out);
        }
        let (expected, zxid, digest) = (tree_of(&state), state.last_zxid(), state.digest());
        state.snapshot_begin();
        let (mut body, mut done) = (Vec::new(), false);
        for (wish, nodes) in &during {
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut out);
            done = done || state.snapshot_step(*nodes, &mut body);
        }
        while !done {
            done = state.snapshot_step(2, &mut body);
        }
        let loaded = load(&body, zxid);
        loaded.check();
        prop_assert_eq!(tree_of(&loaded), expected);
        prop_assert_eq!((loaded.digest(), loaded.last_zxid()), (digest, zxid));
    }

    #[test]
    fn replaying_txns_that_are_in_already_changes_nothing(
        wishes in prop::collection::vec(wish(), 1..80),
        from in 0..80_usize,
    ) {
        let (mut leader, mut state) = (Leader::new(), State::new(&SETTINGS));
        let txns: Vec<_> = wishes.iter().map(|wish| leader.txn(wish)).collect();
        let mut out = Applied::default();
        for (header, txn) in &txns {
            state.apply(header, txn, Mode::Replay, &mut out);
        }
        for (header, txn) in txns.iter().skip(from) {
            state.apply(header, txn, Mode::Replay, &mut out);
            state.check();
        }
        prop_assert_eq!(tree_of(&state), leader.model);
    }

    #[test]
    fn an_image_walked_while_txns_apply_is_mended_by_their_replay(
        before in prop::collection::vec(wish(), 1..60),
        during in prop::collection::vec((wish(), 0..3_usize), 1..60),
    ) {
        let (mut leader, mut state) = (Leader::new(), State::new(&SETTINGS));
        let mut out = Applied::default();
        for wish in &before {
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut out);
        }
        let (mut walk, mut txns) = (FuzzyWalk::new(&state), Vec::new());
        for (wish, nodes) in &during {
            let (header, txn) = leader.txn(wish);
            state.apply(&header, &txn, Mode::Exact, &mut out);
            (0..*nodes).for_each(|_| walk.step(&state));
            txns.push((header, txn));
        }
        while !walk.open.is_empty() {
            walk.step(&state);
        }
        let mut mended = walk.loader.finish(Zxid(0));
        mended.check();
        for (header, txn) in &txns {
            mended.apply(header, txn, Mode::Replay, &mut out);
            mended.check();
        }
        prop_assert_eq!(tree_of(&mended), tree_of(&state));
        prop_assert_eq!((mended.digest(), mended.missing_acls()), (state.digest(), 0));
    }
}

/// Apache's way to an image: sessions and ACLs as they were, then each node as it is when the
/// walk comes by, its children as they were when it came by their parent.
struct FuzzyWalk {
    loader: StateLoader,
    open: Vec<String>,
}

impl FuzzyWalk {
    fn new(state: &State) -> FuzzyWalk {
        let mut loader = State::loader(&SETTINGS);
        state.sessions().for_each(|(id, timeout_ms)| loader.session(id, timeout_ms));
        let mut acls = Vec::new();
        acls.put_i32(0);
        acls.put_i32(state.acls.len() as i32);
        (0..state.acls.end()).for_each(|slot| state.acls.write(slot, &mut acls));
        acls.put_string("/");
        Image::read(&acls).acls.into_iter().for_each(|(id, list)| loader.acl(id, list));
        FuzzyWalk { loader, open: vec!["/".to_owned()] }
    }

    fn step(&mut self, state: &State) {
        let Some(node) = self.open.pop().and_then(|path| state.node_at(&path)) else { return };
        let path = if node.id() == NodeId::ROOT { String::new() } else { node.path() };
        let acl_id = state.acls.id(state.nodes.acl(node.id().0));
        let placed = self.loader.node(&path, node.data(), acl_id, node.node_stat());
        placed.expect("a node in its place");
        self.open.extend(node.children().map(|child| child.path()));
    }
}

#[test]
fn a_fresh_tree_is_apaches() {
    let state = State::new(&StateSettings::default());
    state.check();
    assert_eq!(state.digest(), 0x51c6_d660);
    assert_eq!(state.node_count(), 5);
    assert_eq!(state.approximate_data_size(), 44);
    let root = state.node_at("/").expect("the root").stat();
    assert_eq!((root.cversion, root.num_children), (-1, 1));
    let system = state.node_at("/zookeeper").expect("a system node").stat();
    assert_eq!((system.cversion, system.num_children), (-2, 2));
    assert_eq!(state.node_at("/zookeeper/config").expect("a system node").stat().aversion, -1);
}

fn apply(state: &mut State, zxid: i64, txn: Txn) -> ErrorCode {
    let (session, time) = (SessionId(9), WallMillis(zxid));
    let header = TxnHeader { session, cxid: 1, zxid: Zxid(zxid), time };
    let mut out = Applied::default();
    state.apply(&header, &txn, Mode::Exact, &mut out);
    state.check();
    out.err
}

fn put(state: &mut State, zxid: i64, path: &str, data: &str) -> ErrorCode {
    let (path, data, acl) = (path.to_owned(), Some(data.into()), vec![Acl::open()]);
    let (kind, ephemeral, parent_cversion, ttl) = (CreateKind::Create, false, -1, -1);
    apply(
        state,
        zxid,
        Txn::Create(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl }),
    )
}

#[test]
fn usage_under_a_quota_follows_every_change_in_place() {
    let mut state = State::new(&SETTINGS);
    let limits = "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3";
    put(&mut state, 1, "/q", "ab");
    put(&mut state, 2, "/zookeeper/quota/q", "");
    put(&mut state, 3, "/zookeeper/quota/q/zookeeper_limits", limits);
    put(&mut state, 4, "/zookeeper/quota/q/zookeeper_stats", limits);
    put(&mut state, 5, "/q/a", "xyz");
    apply(&mut state, 6, Txn::SetData { path: "/q".into(), data: None, version: 1 });
    let stats = state.node_at("/zookeeper/quota/q/zookeeper_stats").expect("statistics");
    assert_eq!(stats.data(), Some(&b"count=2,bytes=3"[..]));
    assert_eq!(stats.stat().mzxid, Zxid(4));
    assert!(state.check_quota("/q/b", 7, 1).is_ok());
    let bytes = state.check_quota("/q/b", 8, 1).expect_err("too many bytes");
    assert!(bytes.is_hard && bytes.is_bytes);
    assert!(state.check_quota("/qq", 8, 9).is_ok());
    apply(&mut state, 7, Txn::Delete { path: "/zookeeper/quota/q/zookeeper_limits".into() });
    assert_eq!(state.quota("/q/a"), None);
}

#[test]
fn an_image_shows_the_usage_as_it_was_at_its_beginning() {
    let mut state = State::new(&SETTINGS);
    put(&mut state, 1, "/q", "ab");
    put(&mut state, 2, "/zookeeper/quota/q", "");
    put(&mut state, 3, "/zookeeper/quota/q/zookeeper_limits", "count=9,bytes=9");
    put(&mut state, 4, "/zookeeper/quota/q/zookeeper_stats", "");
    state.snapshot_begin();
    put(&mut state, 5, "/q/a", "xyz");
    let mut body = Vec::new();
    while !state.snapshot_step(1, &mut body) {}
    let nodes = Image::read(&body).nodes;
    let stats = nodes.iter().find(|node| node.path.ends_with("zookeeper_stats"));
    assert_eq!(stats.expect("statistics").data.as_deref(), Some(&b"count=1,bytes=2"[..]));
    assert!(nodes.iter().all(|node| node.path != "/q/a"));
}

#[test]
fn the_memory_of_what_a_closing_session_had_is_given_back_in_pieces() {
    let mut state = State::new(&SETTINGS);
    for n in 0..1000i64 {
        let (path, acl) = (format!("/n{n}"), vec![Acl::open()]);
        let (kind, parent_cversion, ttl) = (CreateKind::Create, -1, -1);
        let data = Some(b"x".as_slice().into());
        let ephemeral = true;
        let txn = CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl };
        apply(&mut state, n + 1, Txn::Create(txn));
    }
    apply(&mut state, 1001, Txn::CloseSession { paths: None });
    let mut steps = 0;
    while state.has_buried() {
        state.give_back(100);
        steps += 1;
    }
    assert_eq!(steps, 10);
}

/// A single turn may take away gigabytes that an image under way has not reached.
#[test]
fn an_image_holds_no_more_back_than_it_may() {
    let mut loader = State::loader(&SETTINGS);
    loader.node("", Some(b""), -1, stat0()).expect("the root");
    let data = vec![7; limits::SNAPSHOT_QUEUE_BYTES / 2];
    for path in ["/a", "/b", "/c", "/d"] {
        loader.node(path, Some(&data), -1, stat0()).expect("a node");
    }
    let mut state = loader.finish(Zxid(1));
    state.snapshot_begin();
    let delete = |state: &mut State, zxid, path: &str| {
        assert_eq!(apply(state, zxid, Txn::Delete { path: path.into() }), ErrorCode::Ok);
    };
    delete(&mut state, 2, "/a");
    assert!(!state.snapshot_is_overrun() && state.snapshot_pending_bytes() > data.len());
    delete(&mut state, 3, "/b");
    delete(&mut state, 4, "/c");
    assert!(state.snapshot_is_overrun());
    assert_eq!(state.snapshot_pending_bytes(), 0);
    state.snapshot_abandon();
    assert!(!state.snapshot_is_overrun());
}

/// What a replay meets when the image holds the effects of later txns already.
#[test]
fn a_txn_that_is_in_already_raises_what_it_raised_and_lowers_nothing() {
    let mut state = State::new(&SETTINGS);
    let create = |path: &str, kind, parent_cversion| {
        let (path, data, acl) = (path.to_owned(), None, vec![Acl::open()]);
        let (ephemeral, ttl) = (false, -1);
        Txn::Create(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
    };
    let raised = |state: &State| {
        let stat = state.node_at("/p").expect("the parent").node_stat();
        (stat.cversion, stat.pzxid.0)
    };
    put(&mut state, 10, "/p", "");
    apply(&mut state, 20, create("/p/a", CreateKind::Create, 7));
    assert_eq!(raised(&state), (7, 20));
    apply(&mut state, 19, create("/p/b", CreateKind::Create, 6));
    assert_eq!(raised(&state), (7, 20));
    apply(&mut state, 18, Txn::Delete { path: "/p/b".into() });
    assert_eq!(raised(&state), (7, 20));
    assert_eq!(apply(&mut state, 21, Txn::Delete { path: "/p/b".into() }), ErrorCode::NoNode);
    assert_eq!(raised(&state), (7, 21));
    for kind in [CreateKind::Create2, CreateKind::Container, CreateKind::Ttl] {
        assert_eq!(apply(&mut state, 30, create("/p/a", kind, 9)), ErrorCode::NodeExists);
        assert_eq!(raised(&state), (7, 21));
    }
    assert_eq!(apply(&mut state, 31, create("/p/a", CreateKind::Create, 8)), ErrorCode::NodeExists);
    assert_eq!(raised(&state), (8, 31));
    assert_eq!(apply(&mut state, 32, create("/p/a", CreateKind::Create, 8)), ErrorCode::NodeExists);
    assert_eq!(raised(&state), (8, 31));
}

#[test]
fn an_acl_that_an_image_lacks_permits_nothing_until_its_txn_is_replayed() {
    let mut loader = State::loader(&SETTINGS);
    loader.node("", Some(b""), -1, stat0()).expect("the root");
    loader.node("/a", Some(b""), 5, stat0()).expect("a node");
    let mut state = loader.finish(Zxid(1));
    assert_eq!(state.missing_acls(), 1);
    assert_eq!(state.node_at("/a").expect("a node").acl()[0].perms, Perms(0));
    assert_eq!(put(&mut state, 2, "/a", ""), ErrorCode::NodeExists);
    assert_eq!(state.missing_acls(), 0);
    assert_eq!(state.node_at("/a").expect("a node").acl()[..], [Acl::open()]);
}

#[test]
fn nonsense_is_refused_and_nothing_breaks() {
    let mut state = State::new(&SETTINGS);
    for path in ["", "/", "a", "a/b", "//", "//a", "/a/", "/none/a", "/\0"] {
        put(&mut state, 1, path, "");
        apply(&mut state, 2, Txn::Delete { path: path.into() });
        apply(&mut state, 3, Txn::SetData { path: path.into(), data: None, version: 0 });
    }
    assert_eq!(state.node_count(), 5);
}
