//! The rules one by one: which code, in which order, and what stays of a refusal.

use crate::auth::Identities;
use crate::proto::{Create, CreateKind, ErrorCode, MultiOp, PathList, RawAcl, Request, Txn};

use super::bench::{Bench, Caller, code, open_acl, raw};
use crate::prepare::eager_refusal;

fn make(path: &str, flags: i32) -> Create<'_> {
    let path = Some(path.into());
    Create { kind: CreateKind::Create, path, data: None, acl: open_acl(), flags, ttl: -1 }
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(make(path, flags))
}

fn ttl(path: &str, flags: i32, ttl: i64) -> Request<'_> {
    Request::Create(Create { kind: CreateKind::Ttl, ttl, ..make(path, flags) })
}

fn container(path: &str) -> Request<'_> {
    Request::Create(Create { kind: CreateKind::Container, ..make(path, 4) })
}

fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete { path: Some(path.into()), version }
}

fn set<'a>(path: &'a str, data: &'static [u8], version: i32) -> Request<'a> {
    Request::SetData { path: Some(path.into()), data: Some(data), version }
}

fn created(txn: &Txn) -> &str {
    match txn {
        Txn::Create(create) => &create.path,
        other => panic!("a create, not {other:?}"),
    }
}

#[test]
fn sequence_numbers_count_what_is_in_flight() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let first = bench.prepare(&me, &create("/s-", 2)).txn;
    let second = bench.prepare(&me, &create("/s-", 2)).txn;
    bench.apply_one();
    let third = bench.prepare(&me, &create("/", 2)).txn;
    let names = [created(&first), created(&second), created(&third)];
    assert_eq!(names, ["/s-0000000000", "/s-0000000001", "/0000000002"]);
    bench.apply_all();
}

#[test]
fn a_failed_multi_gives_its_sequence_number_back() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    bench.prepare(&me, &create("/s-", 2));
    let before = bench.prepare(&me, &create("/x", 0)).digest;
    let ops = vec![
        MultiOp::Create(make("/s-", 2)),
        MultiOp::Delete { path: Some("/missing".into()), version: -1 },
        MultiOp::Create(make("/y", 0)),
    ];
    let failed = bench.prepare(&me, &Request::Multi(ops));
    let Txn::Multi(parts) = &failed.txn else { panic!("a multi, not {:?}", failed.txn) };
    assert_eq!(created(&parts[0]), "/s-0000000002");
    assert_eq!([code(&parts[1]), code(&parts[2])], [-101, -2]);
    assert_eq!(failed.digest, before, "a failed multi carries the digest unchanged");
    let next = bench.prepare(&me, &create("/s-", 2)).txn;
    assert_eq!(created(&next), "/s-0000000002");
    bench.apply_all();
}

#[test]
fn a_multi_that_is_no_multi_is_one_error() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let null_path = MultiOp::SetData { path: None, data: None, version: -1 };
    let null_acl = MultiOp::Create(Create { acl: None, ..make("/b", 0) });
    let null_id = RawAcl { id: None, ..raw(31, "world", "") };
    let null_id = MultiOp::Create(Create { acl: Some(vec![null_id]), ..make("/b", 0) });
    for bad in [null_path, null_acl, null_id] {
        let ops = vec![MultiOp::Create(make("/a", 0)), bad];
        let prepared = bench.prepare(&me, &Request::Multi(ops));
        assert_eq!(prepared.txn, Txn::Error { code: -5 });
        assert_eq!(prepared.digest, None);
    }
    let empty = bench.prepare(&me, &Request::Multi(Vec::new()));
    assert_eq!(empty.txn, Txn::Multi(Vec::new()));
    assert!(empty.digest.is_some());
    bench.apply_all();
    assert!(bench.state.find("/a").is_none());
}

#[test]
fn operations_that_their_flags_contradict_are_refused() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    for flags in [-1, 4, 5, 6, 7] {
        assert_eq!(bench.run(&me, &create("/a", flags)), -8, "{flags}");
    }
    for flags in [0, 1, 2, 3, 5, 6, 9] {
        let odd = Create { kind: CreateKind::Container, ..make("/a", flags) };
        assert_eq!(bench.run(&me, &Request::Create(odd)), -8, "{flags}");
    }
    for (flags, ms) in [(0, -1), (0, 5), (4, -1), (5, 0), (5, -1), (6, 1 << 40)] {
        assert_eq!(bench.run(&me, &ttl("/a", flags, ms)), -8, "{flags} {ms}");
    }
    assert_eq!(bench.run(&me, &ttl("/a", 5, (1 << 40) - 1)), 0);
    assert_eq!(bench.run(&me, &container("/c")), 0);
    let mut plain = Bench::new(|s| s.extended_types = false);
    assert_eq!(plain.run(&me, &ttl("/a", 5, 0)), -6);
    assert_eq!(plain.run(&me, &container("/c")), 0);
}

#[test]
fn null_paths_are_answered_as_java_answers_them() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let create = Request::Create(Create { path: None, ..make("", 0) });
    assert_eq!(bench.run(&me, &create), -5);
    assert_eq!(bench.run(&me, &Request::Delete { path: None, version: -1 }), -5);
    assert_eq!(bench.run(&me, &Request::SetData { path: None, data: None, version: -1 }), -8);
    assert_eq!(bench.run(&me, &Request::SetAcl { path: None, acl: None, version: -1 }), -8);
    let gone = Caller { session_ok: Err(ErrorCode::SessionExpired), ..Caller::new(1) };
    assert_eq!(bench.run(&gone, &Request::Delete { path: None, version: -1 }), -112);
}

#[test]
fn the_session_is_asked_in_its_place() {
    let mut bench = Bench::new(|_| {});
    let gone = Caller { session_ok: Err(ErrorCode::SessionMoved), ..Caller::new(1) };
    assert_eq!(bench.run(&gone, &create("/a", 9)), -8, "flags come first");
    assert_eq!(bench.run(&gone, &create("no slash", 0)), -118);
    assert_eq!(bench.run(&gone, &delete("/", -1)), -118);
    assert_eq!(bench.run(&gone, &set("", b"", -1)), -118);
    let ops = vec![MultiOp::Check { path: Some("/".into()), version: -1 }];
    assert_eq!(bench.run(&gone, &Request::Multi(ops)), -118);
    assert_eq!(bench.run(&gone, &Request::CloseSession), 0, "closing needs no check");
}

#[test]
fn a_session_that_may_own_no_node_does_everything_else() {
    let mut bench = Bench::new(|_| {});
    let refused = Err(ErrorCode::EphemeralOnLocalSession);
    let local = Caller { ephemeral_ok: refused, ..Caller::new(1) };
    assert_eq!(bench.run(&local, &create("/a", 9)), -8, "flags come first");
    assert_eq!(bench.run(&local, &create("no slash", 1)), -120, "and paths after it");
    assert_eq!(bench.run(&local, &create("/a", 3)), -120);
    assert_eq!(bench.run(&local, &create("/a", 2)), 0);
    assert_eq!(bench.run(&local, &set("/a0000000000", b"", -1)), 0);
    let op = |path: &'static str, flags| MultiOp::Create(make(path, flags));
    assert_eq!(bench.run(&local, &Request::Multi(vec![op("/b", 0), op("/c", 1)])), -120);
    assert_eq!(bench.run(&local, &Request::Multi(vec![op("/b", 0), op("/c", 0)])), 0);
}

#[test]
fn roots_and_system_nodes_are_guarded() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    assert_eq!(bench.run(&me, &create("/", 0)), -110);
    assert_eq!(bench.run(&me, &create("/a/", 0)), -101);
    assert_eq!(bench.run(&me, &create("/a", 0)), 0);
    assert_eq!(bench.run(&me, &create("/a/", 0)), -8);
    assert_eq!(bench.run(&me, &create("/a/", 2)), 0);
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "", "a", "/a\0"] {
        assert_eq!(bench.run(&me, &delete(path, -1)), -8, "{path:?}");
    }
    assert_eq!(bench.run(&me, &delete("/a", 5)), -103, "the version before the children");
    assert_eq!(bench.run(&me, &delete("/a", 0)), -111);
}

#[test]
fn a_closing_session_takes_what_it_is_still_creating() {
    let (mut bench, me, you) = (Bench::new(|_| {}), Caller::new(1), Caller::new(2));
    assert_eq!(bench.run(&me, &create("/p", 0)), 0);
    assert_eq!(bench.run(&me, &create("/p/old", 1)), 0);
    assert_eq!(bench.run(&me, &create("/p/gone", 1)), 0);
    bench.prepare(&me, &create("/p/new", 1));
    bench.prepare(&you, &create("/p/yours", 1));
    bench.prepare(&me, &delete("/p/gone", -1));
    let close = bench.prepare(&me, &Request::CloseSession);
    let listed = PathList::from_iter(["/p/old", "/p/new"]);
    assert_eq!(close.txn, Txn::CloseSession { paths: Some(listed.into()) });
    assert_eq!(code(&bench.prepare(&you, &set("/p/old", b"x", -1)).txn), -101);
    for path in ["/p/new", "/p/old"] {
        assert_eq!(code(&bench.prepare(&you, &create(path, 1)).txn), 0);
    }
    let again = bench.prepare(&me, &Request::CloseSession).txn;
    assert_eq!(
        again,
        Txn::CloseSession { paths: Some(PathList::default().into()) },
        "nothing is left"
    );
    bench.prepare(&you, &delete("/p/new", -1));
    bench.prepare(&you, &delete("/p/old", -1));
    bench.prepare(&you, &delete("/p/yours", -1));
    assert_eq!(code(&bench.prepare(&you, &delete("/p", -1)).txn), 0);
    bench.apply_all();
    assert!(bench.state.find("/p").is_none());
}

#[test]
fn a_list_no_peer_could_read_is_left_out() {
    let (mut bench, me) = (Bench::new(|s| s.max_txn_bytes = 100), Caller::new(1));
    for n in 0..20 {
        assert_eq!(bench.run(&me, &create(&format!("/e{n}"), 1)), 0);
    }
    let close = bench.prepare(&me, &Request::CloseSession);
    assert_eq!((close.txn, close.digest), (Txn::CloseSession { paths: None }, None));
    let after = bench.prepare(&me, &create("/after", 0)).digest;
    bench.apply_all();
    assert_eq!(after.map(|digest| digest.tree), Some(bench.state.digest()));
    assert!(bench.state.find("/e7").is_none());
}

#[test]
fn a_txn_beyond_what_peers_read_is_refused_without_a_trace() {
    let (mut bench, me) = (Bench::new(|s| s.max_txn_bytes = 300), Caller::new(1));
    assert_eq!(bench.run(&me, &set("/", &[7; 400], -1)), -5);
    let names: Vec<String> = (0..20).map(|n| format!("/m{n}")).collect();
    let ops = names.iter().map(|name| MultiOp::Create(make(name, 0))).collect();
    assert_eq!(bench.run(&me, &Request::Multi(ops)), -5);
    let next = bench.prepare(&me, &create("/s", 2)).txn;
    assert_eq!(created(&next), "/s0000000000");
}

#[test]
fn only_the_server_itself_deletes_containers() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let reap = |path: &'static str| Request::DeleteContainer { path: Some(path.into()) };
    assert_eq!(bench.run(&me, &container("/c")), 0);
    assert_eq!(bench.run(&me, &create("/e", 1)), 0);
    assert_eq!(bench.run(&me, &create("/c/x", 1)), 0);
    assert_eq!(bench.run(&me, &reap("/c")), -102);
    let server = Caller::server();
    assert_eq!(bench.run(&server, &reap("/c")), -111);
    assert_eq!(bench.run(&server, &reap("/e")), -103);
    assert_eq!(bench.run(&server, &reap("/none")), -101);
    assert_eq!(bench.run(&server, &reap("/zookeeper")), -8);
    assert_eq!(bench.run(&me, &delete("/c/x", -1)), 0);
    assert_eq!(bench.run(&server, &reap("/c")), 0);
}

#[test]
fn a_new_acl_holds_for_what_is_prepared_after_it() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let read_only = Some(vec![raw(1, "world", "anyone")]);
    let acl = Request::SetAcl { path: Some("/a".into()), acl: read_only, version: 0 };
    bench.prepare(&me, &create("/a", 0));
    assert_eq!(code(&bench.prepare(&me, &acl).txn), 0);
    assert_eq!(code(&bench.prepare(&me, &set("/a", b"x", -1)).txn), -102);
    assert_eq!(code(&bench.prepare(&me, &create("/a/b", 0)).txn), -102);
    assert_eq!(code(&bench.prepare(&me, &delete("/a", -1)).txn), 0);
    bench.apply_all();
}

#[test]
fn a_server_alone_refuses_reconfiguration_as_apache_does() {
    let ask = Request::Reconfig { joining: None, leaving: None, members: None, config_id: -1 };
    let me = Caller::new(1);
    assert_eq!(Bench::new(|_| {}).run(&me, &ask), -123);
    assert_eq!(Bench::new(|s| s.reconfig_enabled = true).run(&me, &ask), -6);
    assert_eq!(Bench::new(|_| {}).run(&me, &Request::Ping), -6);
}

#[test]
fn without_digests_no_txn_carries_one() {
    let (mut bench, me) = (Bench::new(|s| s.digest = false), Caller::new(1));
    assert_eq!(bench.prepare(&me, &create("/a", 0)).digest, None);
    assert_eq!(bench.prepare(&me, &set("/a", b"x", 0)).digest, None);
    assert_eq!(bench.prepare(&me, &Request::Multi(Vec::new())).digest, None);
    bench.apply_all();
}

#[test]
fn the_eager_check_refuses_by_acl_only() {
    let (mut bench, me) = (Bench::new(|_| {}), Caller::new(1));
    let closed = Create { acl: Some(vec![raw(1, "world", "anyone")]), ..make("/closed", 0) };
    assert_eq!(bench.run(&me, &Request::Create(closed)), 0);
    let eager = |request: &Request<'_>| {
        eager_refusal(&bench.state, &bench.providers, &Identities::none(), request)
    };
    let no_auth = Some(ErrorCode::NoAuth);
    assert_eq!(eager(&create("/closed/x", 0)), no_auth);
    assert_eq!(eager(&delete("/closed/x", -1)), no_auth);
    assert_eq!(eager(&set("/closed", b"", -1)), no_auth);
    assert_eq!(eager(&create("/open", 0)), None);
    assert_eq!(eager(&create("/none/x", 0)), None);
    assert_eq!(eager(&create("no slash", 0)), None);
    assert_eq!(eager(&delete("/", -1)), None);
    let bad = Request::Create(Create { acl: Some(Vec::new()), ..make("/open", 0) });
    assert_eq!(eager(&bad), Some(ErrorCode::InvalidAcl));
    assert_eq!(eager(&Request::Ping), None);
}

fn limited(bench: &mut Bench, limits: &'static [u8]) {
    let me = Caller::new(1);
    for path in ["/q", "/zookeeper/quota/q"] {
        assert_eq!(bench.run(&me, &create(path, 0)), 0);
    }
    for (name, data) in [("limits", limits), ("stats", b"count=0,bytes=0")] {
        let path = format!("/zookeeper/quota/q/zookeeper_{name}");
        let node = Create { data: Some(data), ..make(&path, 0) };
        assert_eq!(bench.run(&me, &Request::Create(node)), 0);
    }
}

#[test]
fn hard_quotas_refuse_and_soft_ones_do_not() {
    let me = Caller::new(1);
    let hard = b"count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=2";
    let mut bench = Bench::new(|s| s.enforce_quota = true);
    limited(&mut bench, hard);
    assert_eq!(bench.run(&me, &create("/q/a", 0)), 0);
    assert_eq!(bench.run(&me, &create("/q/b", 0)), -125);
    assert_eq!(bench.run(&me, &set("/q/a", b"abcd", 9)), -125, "the quota before the version");
    assert_eq!(bench.run(&me, &set("/q/a", b"abc", -1)), 0);
    assert_eq!(bench.run(&me, &set("/q/a", b"xyz", -1)), 0, "what does not grow fits");
    assert_eq!(bench.run(&me, &create("/elsewhere", 0)), 0);
    let mut lax = Bench::new(|_| {});
    limited(&mut lax, hard);
    let mut soft = Bench::new(|s| s.enforce_quota = true);
    limited(&mut soft, b"count=1,bytes=1");
    for bench in [&mut lax, &mut soft] {
        assert_eq!(bench.run(&me, &create("/q/a", 0)), 0);
        assert_eq!(bench.run(&me, &create("/q/b", 0)), 0);
        assert_eq!(bench.run(&me, &set("/q/a", b"abcdef", -1)), 0);
    }
}
