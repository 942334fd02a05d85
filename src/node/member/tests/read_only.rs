//! A member of two that looks for a leader in vain.

use super::*;
use crate::proto::{CreateKind, CreateTxn, Entry, Txn, TxnHeader};

/// It has logged one txn that nobody has called committed.
fn looks(local_sessions: bool, is_lost: bool) -> Alone {
    Alone::among(2, |config, start| {
        config.admin.read_only_mode = true;
        config.ensemble.local_sessions = local_sessions;
        start.is_lost = is_lost;
        let create = CreateTxn {
            kind: CreateKind::Create,
            path: "/logged".to_owned(),
            data: None,
            acl: vec![Acl::open()],
            ephemeral: false,
            parent_cversion: 1,
            ttl: -1,
        };
        let (session, zxid) = (SessionId(5), Zxid::new(1, 1));
        let header = TxnHeader { session, cxid: 1, zxid, time: WallMillis(1) };
        start.last_logged = zxid;
        start.tail = vec![Entry { header, txn: Txn::Create(create), digest: None }];
    })
}

fn serves(local_sessions: bool) -> Alone {
    let mut alone = looks(local_sessions, false);
    alone.wait(2100);
    assert_eq!(alone.node.mode(), NodeMode::ReadOnly);
    alone
}

#[test]
fn nobody_is_served_before_an_election_had_its_time() {
    let mut alone = looks(true, false);
    assert!(alone.connect(conn(0), 0, true).is_empty());
    alone.wait(1900);
    assert_eq!(alone.node.mode(), NodeMode::Looking);
    assert_eq!(alone.closed, [conn(0)]);
    assert!(alone.node.state().find("/logged").is_none(), "a leader may say otherwise");
    alone.wait(200);
    assert_eq!(alone.node.mode(), NodeMode::ReadOnly);
    assert!(alone.node.state().find("/logged").is_some(), "all that is logged, as in Java");
}

#[test]
fn what_the_disk_does_not_give_back_is_shown_to_nobody() {
    let mut alone = looks(true, true);
    alone.wait(5000);
    assert_eq!(alone.node.mode(), NodeMode::Looking);
}

#[test]
fn who_only_reads_is_served_and_everything_else_refused() {
    let mut alone = serves(true);
    let (session, _, read_only) = welcome(&alone.connect(conn(0), 0, true));
    assert!(session != 0 && read_only);
    assert_eq!(reply(&alone.ask(conn(0), 1, OpCode::GetData, &path("/logged"))), (1, 0));
    for (xid, op) in [
        (2, OpCode::Create),
        (3, OpCode::SetData),
        (4, OpCode::Delete),
        (5, OpCode::Multi),
        (6, OpCode::Sync),
        (7, OpCode::SetAcl),
        (8, OpCode::Reconfig),
    ] {
        assert_eq!(reply(&alone.ask(conn(0), xid, op, &[])), (xid, -119), "{op:?}");
    }
    assert_eq!(reply(&alone.ask(conn(0), 9, OpCode::CloseSession, &[])), (9, 0));
    assert_eq!((&alone.closed[..], alone.node.local_session_count()), (&[conn(0)][..], 0));
    assert!(alone.connect(conn(1), 0, false).is_empty());
    assert_eq!(alone.closed, [conn(0), conn(1)], "who would write has to go elsewhere");
    assert_eq!(alone.logged, 0);
}

#[test]
fn without_local_sessions_none_can_begin() {
    let mut alone = serves(false);
    assert_eq!(reply(&alone.connect(conn(0), 0, true)), (0, -119));
    assert!(alone.closed.is_empty(), "it may wait as long as anybody without a session");
    // Nobody here knows that it is not a session of the other member's.
    let (session, _, read_only) = welcome(&alone.connect(conn(1), 77, true));
    assert_eq!((session, read_only), (77, true));
    assert_eq!(reply(&alone.ask(conn(1), 1, OpCode::Exists, &path("/logged"))), (1, 0));
    assert_eq!(reply(&alone.ask(conn(1), 2, OpCode::CloseSession, &[])), (2, -119));
}

#[test]
fn a_session_that_falls_silent_expires_here() {
    let mut alone = serves(true);
    let (session, ..) = welcome(&alone.connect(conn(0), 0, true));
    alone.wait(7000);
    assert_eq!(alone.closed, [conn(0)]);
    assert_eq!(welcome(&alone.connect(conn(1), session, true)), (0, 0, true));
}
