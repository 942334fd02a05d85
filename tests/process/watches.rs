//! Watches by the thousand: a client that comes over with many of them.

use std::collections::BTreeMap;
use std::time::Instant;

use zkd::base::{SessionId, Zxid};
use zkd::client::{Call, Connection, Message, NewNode, WatchLists};
use zkd::proto::ConnectRequest;

use crate::server::{PATIENCE, Server};

const NODES: usize = 10_000;

fn open(server: &Server) -> Connection {
    let mut connection = Connection::dial(server.address, PATIENCE).expect("accepted");
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 30_000,
        session: SessionId::NONE,
        password: None,
        read_only: Some(false),
    };
    connection.handshake(&request, PATIENCE).expect("a session");
    connection
}

fn path(n: usize) -> String {
    format!("/many/n{n:05}")
}

/// Sends what is queued and takes that many replies; all of them are fine.
fn replies(connection: &mut Connection, count: usize) -> Vec<Message> {
    connection.flush(PATIENCE).expect("sent");
    let (mut all, mut left) = (Vec::new(), count);
    while left > 0 {
        let message = connection.receive(Instant::now() + PATIENCE).expect("an answer");
        if let Message::Reply(reply) = &message {
            assert_eq!(reply.err, 0, "{reply:?}");
            left -= 1;
        }
        all.push(message);
    }
    all
}

/// The zxid of the last of its creates.
fn fill(connection: &mut Connection) -> Zxid {
    connection.queue(&Call::Create(NewNode::persistent("/many", b"")));
    for n in 0..NODES {
        connection.queue(&Call::Create(NewNode::persistent(&path(n), b"")));
    }
    match replies(connection, NODES + 1).pop() {
        Some(Message::Reply(reply)) => reply.zxid,
        other => panic!("a reply comes last, not {other:?}"),
    }
}

#[test]
fn what_a_long_set_watches_catches_up_with_comes_before_its_reply_and_the_next() {
    let server = Server::start("");
    let mut connection = open(&server);
    let data = (0..NODES).map(path).collect();
    let lists = WatchLists { relative_zxid: Zxid(i64::MAX), data, ..WatchLists::default() };
    connection.queue(&Call::SetWatches(&lists));
    connection.queue(&Call::Create(NewNode::persistent("/behind", b"")));
    connection.queue(&Call::Exists { path: "/behind", watch: false });
    let all = replies(&mut connection, 3);
    let events = all.iter().take_while(|m| matches!(m, Message::Event(_))).count();
    assert_eq!((events, all.len()), (NODES, NODES + 3), "none of the nodes is there");
    server.end();
}

#[test]
fn changes_during_a_long_set_watches_are_told_once_each() {
    let server = Server::start("");
    let (mut watcher, mut writer) = (open(&server), open(&server));
    let relative_zxid = fill(&mut writer);
    let data = (0..NODES).map(path).collect();
    let lists = WatchLists { relative_zxid, data, ..WatchLists::default() };
    watcher.queue(&Call::SetWatches(&lists));
    for n in 0..NODES {
        writer.queue(&Call::SetData { path: &path(NODES - 1 - n), data: Some(b"x"), version: -1 });
    }
    watcher.flush(PATIENCE).expect("sent");
    replies(&mut writer, NODES);
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    watcher.queue(&Call::Exists { path: "/many", watch: false });
    for message in replies(&mut watcher, 2) {
        if let Message::Event(event) = message {
            *told.entry(event.path).or_default() += 1;
        }
    }
    assert_eq!(told.len(), NODES);
    assert!(told.values().all(|count| *count == 1), "each watch fires once");
    server.end();
}
