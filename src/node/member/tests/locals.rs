//! Sessions of a leader that are its alone.

use super::*;
use crate::base::limits;
use crate::proto::{Create, CreateKind as Kind, ErrorCode, MultiOp, Request};
use crate::session::Owner;

fn leads(upgrades: bool) -> Alone {
    let mut alone = Alone::among(1, |config, _| {
        config.ensemble.local_sessions = true;
        config.ensemble.local_session_upgrades = upgrades;
    });
    alone.lead();
    alone.settle(&[]);
    alone.logged = 0;
    alone
}

fn locals(alone: &Alone) -> usize {
    alone.node.local_session_count()
}

#[test]
fn a_session_begins_and_ends_without_a_txn() {
    let mut alone = leads(false);
    let (session, timeout_ms, read_only) = welcome(&alone.connect(conn(0), 0, false));
    assert!(session != 0 && timeout_ms == 4000 && !read_only);
    assert_eq!((locals(&alone), alone.node.view().sessions), (1, 0));
    assert_eq!(reply(&alone.ask(conn(0), 1, OpCode::GetData, &path("/"))), (1, 0));
    assert_eq!(alone.logged, 0);
    assert_eq!(reply(&alone.ask(conn(0), 2, OpCode::Create, &create("/a", 0))), (2, 0));
    assert_eq!(alone.logged, 1, "what it writes is a txn like any other's");
    assert_eq!(reply(&alone.ask(conn(0), 3, OpCode::CloseSession, &[])), (3, 0));
    assert_eq!((alone.logged, locals(&alone)), (1, 0));
    assert_eq!(alone.closed, [conn(0)]);
}

#[test]
fn a_session_comes_back_to_its_server_until_it_has_expired() {
    let mut alone = leads(false);
    let (session, ..) = welcome(&alone.connect(conn(0), 0, false));
    alone.lose(conn(0));
    alone.wait(3000);
    assert_eq!(welcome(&alone.connect(conn(1), session, false)).0, session);
    alone.wait(3000);
    assert_eq!(locals(&alone), 1, "that was a sign of life");
    alone.wait(4000);
    assert_eq!((locals(&alone), &alone.closed[..]), (0, &[conn(1)][..]));
    assert_eq!(welcome(&alone.connect(conn(2), session, false)), (0, 0, false));
    assert_eq!(alone.logged, 0);
}

#[test]
fn where_sessions_are_not_upgraded_an_ephemeral_is_refused() {
    let mut alone = leads(false);
    alone.connect(conn(0), 0, false);
    assert_eq!(reply(&alone.ask(conn(0), 1, OpCode::Create, &create("/e", 1))), (1, -120));
    assert_eq!(reply(&alone.ask(conn(0), 2, OpCode::Create2, &create("/e", 3))), (2, -120));
    assert_eq!((locals(&alone), alone.node.view().sessions), (1, 0));
    assert_eq!(alone.node.state().ephemeral_count(), 0);
}

#[test]
fn an_ephemeral_makes_a_session_one_of_the_whole_ensemble() {
    let mut alone = leads(true);
    let (session, ..) = welcome(&alone.connect(conn(0), 0, false));
    assert_eq!(reply(&alone.ask(conn(0), 1, OpCode::Create, &create("/a", 0))), (1, 0));
    assert_eq!((alone.logged, locals(&alone)), (1, 1));
    assert_eq!(reply(&alone.ask(conn(0), 2, OpCode::Create, &create("/e", 1))), (2, 0));
    assert_eq!(alone.logged, 3, "the session comes first");
    assert_eq!((locals(&alone), alone.node.view().sessions), (0, 1));
    let id = alone.node.state().find("/e").expect("it is there");
    assert_eq!(alone.node.state().node(id).stat().ephemeral_owner, session);
    assert_eq!(reply(&alone.ask(conn(0), 3, OpCode::Create, &create("/f", 1))), (3, 0));
    assert_eq!(alone.logged, 4, "once");
    assert_eq!(reply(&alone.ask(conn(0), 4, OpCode::CloseSession, &[])), (4, 0));
    assert_eq!((alone.logged, alone.node.view().sessions), (5, 0));
    assert_eq!(alone.node.state().ephemeral_count(), 0);
}

#[test]
fn an_end_that_is_asked_for_behind_an_ephemeral_is_a_txn() {
    let mut alone = leads(true);
    alone.connect(conn(0), 0, false);
    let request = |xid: i32, op: OpCode, body: &[u8]| {
        [&xid.to_be_bytes(), &op.number().to_be_bytes(), body].concat()
    };
    let create = request(1, OpCode::Create, &create("/e", 1));
    let close = request(2, OpCode::CloseSession, &[]);
    let frame = |body| Event::Frame { conn: conn(0), body };
    alone.settle(&[frame(&create), frame(&close)]);
    assert_eq!((alone.logged, alone.node.state().ephemeral_count()), (3, 0));
}

#[test]
fn only_a_create_of_an_ephemeral_upgrades() {
    let make = |kind, flags| {
        let path = Some("/a".into());
        Create { kind, path, data: None, acl: None, flags, ttl: -1 }
    };
    let wants = |request| super::super::locals::wants_ephemeral(&request);
    for (kind, flags, wanted) in [
        (Kind::Create, 1, true),
        (Kind::Create2, 3, true),
        (Kind::Create, 0, false),
        (Kind::Create2, 2, false),
        (Kind::Container, 4, false),
        (Kind::Container, 1, false),
        (Kind::Ttl, 1, false),
        (Kind::Create, 99, false),
    ] {
        assert_eq!(wants(Request::Create(make(kind, flags))), wanted, "{kind:?} {flags}");
        let ops =
            vec![MultiOp::Check { path: None, version: 0 }, MultiOp::Create(make(kind, flags))];
        assert_eq!(wants(Request::Multi(ops)), wanted, "{kind:?} {flags}");
    }
    assert!(!wants(Request::BadMulti) && !wants(Request::CloseSession));
}

/// It may be that server's own; but where it was everybody's, the server has not heard of its end.
#[test]
fn who_forwards_for_a_session_that_has_just_ended_is_refused() {
    let mut alone = leads(true);
    let theirs = SessionId(9 << 56 | 7);
    let judge = |alone: &mut Alone| alone.node.judge_forwarded(theirs, Owner::Learner(conn(9))).0;
    assert_eq!(judge(&mut alone), Ok(()));
    alone.node.note_ended(theirs);
    assert_eq!(judge(&mut alone), Err(ErrorCode::SessionExpired));
    for n in 0..limits::ENDED_SESSIONS as i64 {
        alone.node.note_ended(SessionId(8 << 56 | n));
    }
    assert_eq!(judge(&mut alone), Ok(()), "it made room");
    alone.node.note_ended(theirs);
    alone.now.mono = alone.now.mono.plus_ms(3_600_000);
    alone.turn(&[]);
    assert_eq!(judge(&mut alone), Ok(()), "no server is silent for so long");
}

/// Nobody comes back with it.
#[test]
fn what_a_session_left_under_way_is_forgotten_with_it() {
    let mut alone = leads(true);
    let (session, ..) = welcome(&alone.connect(conn(0), 0, false));
    alone.ask(conn(0), 1, OpCode::Create, &create("/e", 1));
    alone.node.left_writes.insert(SessionId(session), Zxid(i64::MAX));
    alone.ask(conn(0), 2, OpCode::CloseSession, &[]);
    assert!(alone.node.left_writes.is_empty());
}
