//! Listings over a real state.

use super::*;
use crate::base::{ConnId, Instant, Now, ServerId, SessionId, WallMillis, Zxid};
use crate::proto::{Acl, CreateKind, CreateTxn, Txn, TxnHeader};
use crate::session::Sessions;
use crate::state::{Applied, Mode as Applying, State, StateSettings};
use crate::watch::{Table, WatchTable};

fn state() -> State {
    let mut state = State::new(&StateSettings::default());
    let create = |path: &str, data: &[u8], ephemeral| {
        Txn::Create(CreateTxn {
            kind: CreateKind::Create,
            path: path.to_owned(),
            data: Some(data.to_vec()),
            acl: vec![Acl::open()],
            ephemeral,
            parent_cversion: -1,
            ttl: 0,
        })
    };
    let txns = [
        create("/app", b"data", false),
        create("/app/e", b"", true),
        create("/zookeeper/quota/app", b"", false),
        create(
            "/zookeeper/quota/app/zookeeper_limits",
            b"count=5,bytes=-1=;byteHardLimit=9",
            false,
        ),
        create("/zookeeper/quota/app/zookeeper_stats", b"count=0,bytes=0", false),
        create("/zookeeper/quota/app/sub", b"", false),
        create("/zookeeper/quota/app/sub/zookeeper_limits", b"count=2,bytes=7", false),
        create("/zookeeper/quota/app/sub/zookeeper_stats", b"count=0,bytes=0", false),
    ];
    for (i, txn) in txns.iter().enumerate() {
        let zxid = Zxid(i as i64 + 1);
        let header = TxnHeader { session: SessionId(7), cxid: 0, zxid, time: WallMillis(0) };
        state.apply(&header, txn, Applying::Exact, &mut Applied::default());
    }
    state
}

#[test]
fn quotas_are_summed_by_the_first_part_of_their_path() {
    let gauges = quota_gauges(&state());
    let expected = QuotaGauges {
        namespace: "app".to_owned(),
        count_limit: Some(7),
        bytes_limit: Some(16),
        count_usage: Some(2),
        bytes_usage: Some(4),
    };
    assert_eq!(gauges, [expected]);
}

#[test]
fn listings_walk_through_the_real_parts() {
    let state = state();
    let mut sessions = Sessions::new(1000, ServerId(1), Instant(0));
    sessions.track(SessionId(7), 4000, Instant(0));
    let mut watches = WatchTable::new(1);
    let conn = ConnId { index: 3, generation: 0 };
    watches.add(conn, &state, "/app", Table::Data);
    watches.add(conn, &state, "/none", Table::Data);
    let report = state_report(&state, &watches);
    assert_eq!((report.node_count, report.ephemerals_count), (13, 1));
    assert_eq!((report.watches.connections, report.watches.paths), (1, 2));
    let mut parts = Parts {
        state: &state,
        sessions: &sessions,
        locals: None,
        learns: false,
        watches: &mut watches,
        now: Instant(0),
        next_connection: &|_| None,
        session_of: &|conn| SessionId(i64::from(conn.index) + 4),
    };
    let mut text = |mut listing: Listing| {
        let mut out = Vec::new();
        while !listing.next_chunk(&mut parts, Now::default(), &mut out, 1) {}
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(Listing::watches_by_path()), "/app\n\t0x7\n/none\n\t0x7\n\n");
    assert_eq!(text(Listing::watches_by_connection()), "0x7\n\t/app\n\t/none\n\n");
    let expected = "SessionTracker dump:\nSession Sets (1)/(1):\n\
                    1 expire at Thu Jan 01 00:00:05 UTC 1970:\n\t0x7\n\
                    ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x7:\n\t/app/e\n\
                    Connections dump:\nConnections Sets (0)/(0):\n";
    assert_eq!(text(Listing::dump()), expected);
}
