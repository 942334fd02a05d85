//! Random requests, several in flight, against the model; and requests out of noise.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::proto::{Create, CreateKind, MultiOp, OpCode, RawAcl, Request, Txn};

use super::bench::{Bench, Caller, code, open_acl, raw};
use super::model::{Model, Outcome, Turn};

const PATHS: [&str; 16] = [
    "/",
    "/a",
    "/b",
    "/a/a",
    "/a/b",
    "/b/c",
    "/a/a/a",
    "/a/a/b",
    "/e",
    "/e/x",
    "/a/",
    "",
    "x",
    "/zookeeper",
    "/zookeeper/quota/q",
    "/a//b",
];

const DATA: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"one"), Some(b"another")];

fn acl() -> impl Strategy<Value = Option<Vec<RawAcl<'static>>>> {
    prop_oneof![
        12 => Just(open_acl()),
        2 => Just(Some(vec![raw(31, "auth", "")])),
        1 => Just(Some(vec![raw(1, "world", "anyone"), raw(30, "auth", "")])),
        1 => Just(Some(vec![raw(15, "ip", "127.0.0.0/8")])),
        1 => Just(Some(vec![raw(31, "sasl", "x")])),
        1 => Just(Some(Vec::new())),
    ]
}

/// Kind and flags that agree, mostly.
fn kind_and_flags() -> impl Strategy<Value = (CreateKind, i32)> {
    use CreateKind::{Container, Create, Create2, Ttl};
    prop_oneof![
        6 => Just((Create, 0)),
        4 => Just((Create2, 1)),
        4 => Just((Create, 2)),
        2 => Just((Create2, 3)),
        1 => Just((Container, 4)),
        1 => Just((Ttl, 5)),
        1 => Just((Ttl, 6)),
        1 => (prop::sample::select(vec![Create, Create2, Container, Ttl]), -1..9),
    ]
}

fn path() -> impl Strategy<Value = Option<std::borrow::Cow<'static, str>>> {
    prop::sample::select(PATHS.to_vec()).prop_map(|p| Some(p.into()))
}

fn data() -> impl Strategy<Value = Option<&'static [u8]>> {
    prop::sample::select(DATA.to_vec())
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![6 => Just(-1), 2 => Just(0), 2 => Just(1), 1 => -3..4]
}

fn create() -> impl Strategy<Value = Create<'static>> {
    let ttl = prop_oneof![8 => Just(1000i64), 1 => Just(0), 1 => Just(1 << 40), 1 => Just(-1)];
    (kind_and_flags(), path(), data(), acl(), ttl).prop_map(
        |((kind, flags), path, data, acl, ttl)| {
            let ttl = if kind == CreateKind::Ttl { ttl } else { -1 };
            Create { kind, path, data, acl, flags, ttl }
        },
    )
}

fn part() -> impl Strategy<Value = MultiOp<'static>> {
    prop_oneof![
        5 => create().prop_map(MultiOp::Create),
        2 => (path(), version()).prop_map(|(path, version)| MultiOp::Delete { path, version }),
        2 => (path(), data(), version())
            .prop_map(|(path, data, version)| MultiOp::SetData { path, data, version }),
        1 => (path(), version()).prop_map(|(path, version)| MultiOp::Check { path, version }),
    ]
}

fn request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        12 => create().prop_map(Request::Create),
        5 => (path(), version()).prop_map(|(path, version)| Request::Delete { path, version }),
        4 => (path(), data(), version())
            .prop_map(|(path, data, version)| Request::SetData { path, data, version }),
        2 => (path(), acl(), version())
            .prop_map(|(path, acl, version)| Request::SetAcl { path, acl, version }),
        6 => vec(part(), 0..5).prop_map(Request::Multi),
        2 => Just(Request::CloseSession),
    ]
}

fn callers() -> [Caller; 4] {
    let mut gone = Caller::new(3);
    gone.session_ok = Err(crate::proto::ErrorCode::SessionExpired);
    [Caller::new(1), Caller::new(1).proving("a:1"), Caller::new(2).proving("b:2"), gone]
}

/// The outcome that a txn states, in the model's words.
fn stated(txn: &Txn) -> Outcome {
    let number = code(txn);
    if number != 0 {
        return Err(crate::proto::ErrorCode::from_number(number).expect("a known code"));
    }
    Ok(match txn {
        Txn::Create(create) => vec![create.path.clone()],
        Txn::SetData { version, .. } | Txn::SetAcl { version, .. } | Txn::Check { version, .. } => {
            vec![version.to_string()]
        }
        Txn::CloseSession { paths } => {
            let listed: BTreeSet<&str> = paths.as_ref().expect("a list").iter().collect();
            listed.into_iter().map(str::to_owned).collect()
        }
        Txn::Multi(parts) => parts.iter().flat_map(|p| stated(p).expect("no error")).collect(),
        _ => Vec::new(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pipelined_writes_come_out_as_one_after_the_other(
        steps in vec((0usize..8, 0usize..9, request()), 1..120)
    ) {
        let mut bench = Bench::new(|_| {});
        let mut model = Model::new();
        let callers = callers();
        for (who, depth, request) in &steps {
            // The one without a session comes seldom.
            let caller = &callers[if *who == 7 { 3 } else { who % 3 }];
            let prepared = bench.prepare(caller, request);
            let (zxid, time) = (bench.zxid.0, bench.time().0);
            let turn = Turn { caller, providers: &bench.providers, zxid, time };
            let outcome = model.run(&turn, request);
            prop_assert_eq!(stated(&prepared.txn), outcome, "{:?}", request);
            if let Some(digest) = prepared.digest {
                prop_assert_eq!(digest.tree, model.digest(), "{:?}", request);
            }
            while bench.in_flight.len() > *depth {
                bench.apply_one();
            }
        }
        bench.apply_all();
        prop_assert_eq!(bench.state.digest(), model.digest());
        for path in model.nodes.keys() {
            prop_assert!(bench.state.find(path).is_some(), "{} is there", path);
        }
    }

    #[test]
    fn nothing_decoded_out_of_noise_panics(
        op in prop::sample::select(OpCode::ALL.to_vec()),
        frames in vec(vec(prop_oneof![3 => Just(0u8), 1 => Just(0xffu8), 2 => 0u8..32,
            2 => Just(b'/'), 2 => any::<u8>()], 0..80), 1..8),
        from_server: bool,
    ) {
        let mut bench = Bench::new(|_| {});
        let caller = Caller { from_server, ..Caller::new(1).proving("a:1") };
        for frame in &frames {
            if let Ok(request) = Request::read(op, frame) {
                bench.prepare(&caller, &request);
            }
        }
        bench.apply_all();
    }

    #[test]
    fn a_sound_request_with_bytes_turned_never_panics(
        request in create(),
        turned in vec((0usize..200, any::<u8>()), 0..4),
    ) {
        use crate::proto::Writer;
        let mut frame = Vec::new();
        frame.put_opt_string(request.path.as_deref());
        frame.put_buffer(request.data);
        let acl = request.acl.unwrap_or_default();
        frame.put_i32(acl.len() as i32);
        for entry in &acl {
            frame.put_i32(entry.perms.0);
            frame.put_opt_string(entry.scheme.as_deref());
            frame.put_opt_string(entry.id.as_deref());
        }
        frame.put_i32(request.flags);
        frame.put_i64(request.ttl);
        for (at, byte) in turned {
            let length = frame.len();
            frame[at % length] = byte;
        }
        let mut bench = Bench::new(|_| {});
        for op in [OpCode::Create, OpCode::CreateContainer, OpCode::CreateTtl] {
            if let Ok(request) = Request::read(op, &frame) {
                bench.prepare(&Caller::new(1), &request);
            }
        }
        bench.apply_all();
    }
}
