use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;
use crate::auth::{Password, SaslAnswer, SaslExchange, SaslServer};
use crate::base::{SessionId, Xid, Zxid};
use crate::proto::{
    AddWatchMode, ConnectRequest, ConnectResponse, CreateMode, ErrorCode, EventKind, OpCode,
    Reader, Request, RequestHeader, Writer, begin_frame, end_frame, write_event, write_reply,
};

/// A server that says what it is told to, on one connection after the other.
fn serve(connections: Vec<fn(&mut TcpStream)>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let worker = thread::spawn(move || {
        for script in connections {
            let (mut stream, _) = listener.accept().expect("a client");
            script(&mut stream);
        }
    });
    (address, worker)
}

fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).expect("a frame's length");
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut body).expect("a frame's body");
    body
}

fn accept(stream: &mut TcpStream, session: i64) {
    let request = frame(stream);
    let request = ConnectRequest::read(&request).expect("a connect request");
    assert_eq!(request.read_only, Some(false));
    let mut out = Vec::new();
    let mark = begin_frame(&mut out);
    let timeout_ms = if session == 0 { 0 } else { request.timeout_ms };
    let password = [session as u8; 16];
    let read_only = Some(false);
    ConnectResponse { timeout_ms, session: SessionId(session), password, read_only }
        .write(&mut out);
    end_frame(&mut out, mark);
    stream.write_all(&out).expect("the client reads");
}

/// Reads a request, checks its opcode, answers `body` under its xid.
fn answer(stream: &mut TcpStream, op: OpCode, err: ErrorCode, body: &[u8]) {
    let request = frame(stream);
    let r = &mut Reader::new(&request);
    let header = RequestHeader::read(r).expect("a header");
    assert_eq!(header.op, op.number());
    Request::read(op, r.rest()).expect("a body that decodes");
    let mut out = Vec::new();
    write_reply(&mut out, header.xid, Zxid(7), err, |out| out.extend_from_slice(body));
    stream.write_all(&out).expect("the client reads");
}

fn client(address: SocketAddr) -> Client {
    let mut settings = Settings::new(vec![address]);
    settings.reopen_patience = Duration::from_secs(2);
    Client::open(settings).expect("a session")
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_string(text);
    out
}

#[test]
fn pipelined_calls_are_answered_by_their_xid() {
    let (address, worker) = serve(vec![|stream| {
        accept(stream, 5);
        answer(stream, OpCode::Create, ErrorCode::Ok, &text("/a"));
        answer(stream, OpCode::Delete, ErrorCode::NoNode, &[]);
    }]);
    let mut client = client(address);
    assert_eq!(client.session(), SessionId(5));
    let first = client.submit(&Call::Create(NewNode::persistent("/a", b"x"))).expect("queued");
    let second = client.submit(&Call::Delete { path: "/b", version: -1 }).expect("queued");
    assert_eq!((first, second), (Xid(1), Xid(2)));
    let late = client.wait(second).expect("answered").answer();
    assert_eq!(late.expect_err("refused").code(), Some(ErrorCode::NoNode));
    let early = client.wait(first).expect("answered").answer().expect("granted");
    assert_eq!(early, Answer::Path("/a".to_owned()));
    assert_eq!(client.last_zxid(), Zxid(7));
    worker.join().expect("the script was followed");
}

#[test]
fn a_reply_out_of_order_is_an_error() {
    let (address, worker) = serve(vec![|stream| {
        accept(stream, 5);
        frame(stream);
        let mut out = Vec::new();
        write_reply(&mut out, Xid(9), Zxid(1), ErrorCode::Ok, |_| {});
        stream.write_all(&out).expect("the client reads");
    }]);
    let refused = client(address).call(&Call::WhoAmI).expect_err("out of order");
    assert!(matches!(refused, Error::Order { expected: Some(Xid(1)), got: Xid(9) }), "{refused}");
    worker.join().expect("the script was followed");
}

#[test]
fn a_lost_connection_reopens_the_session_with_identities_and_watches() {
    let (address, worker) = serve(vec![
        |stream| {
            accept(stream, 5);
            answer(stream, OpCode::Auth, ErrorCode::Ok, &[]);
            answer(stream, OpCode::Exists, ErrorCode::NoNode, &[]);
            answer(stream, OpCode::AddWatch, ErrorCode::Ok, &[0; 4]);
            frame(stream);
        },
        |stream| {
            accept(stream, 5);
            answer(stream, OpCode::Auth, ErrorCode::Ok, &[]);
            let request = frame(stream);
            let body = &request[8..];
            let Ok(Request::SetWatches(lists)) = Request::read(OpCode::SetWatches2, body) else {
                panic!("watches are set again");
            };
            assert_eq!(lists.relative_zxid, Zxid(7));
            assert_eq!(lists.exist, ["/gone"]);
            assert_eq!(lists.persistent_recursive, ["/all"]);
            let mut out = Vec::new();
            write_event(&mut out, Zxid::NONE, EventKind::NodeCreated, "/gone");
            write_reply(&mut out, Xid::SET_WATCHES, Zxid(8), ErrorCode::Ok, |_| {});
            stream.write_all(&out).expect("the client reads");
            answer(stream, OpCode::Sync, ErrorCode::Ok, &text("/"));
        },
    ]);
    let mut client = client(address);
    client.authenticate("digest", b"me:secret").expect("known");
    assert_eq!(client.exists("/gone", true).expect("answered"), None);
    client.add_watch("/all", AddWatchMode::PersistentRecursive).expect("answered");
    let lost = client.sync("/").expect_err("the server hangs up");
    assert!(matches!(lost, Error::ConnectionLoss), "{lost}");
    client.sync("/").expect("the session is open again");
    let mut notices = Vec::new();
    while let Ok(Some(notice)) = client.next_notice(Duration::ZERO) {
        notices.push(notice);
    }
    assert!(
        matches!(&notices[..], [
        Notice::Disconnected,
        Notice::Watch(event),
        Notice::Reconnected,
    ] if event.path == "/gone"),
        "{notices:?}"
    );
    assert_eq!(client.watches().len(), 1, "the one-shot watch is used up");
    worker.join().expect("the script was followed");
}

#[test]
fn a_refused_session_is_expired_for_good() {
    let (address, worker) = serve(vec![|stream| accept(stream, 5), |stream| accept(stream, 0)]);
    let mut client = client(address);
    client.disconnect();
    for _ in 0..2 {
        let refused = client.sync("/").expect_err("expired");
        assert!(matches!(refused, Error::SessionExpired), "{refused}");
    }
    worker.join().expect("the script was followed");
}

#[test]
fn every_call_is_read_by_the_server_as_it_was_meant() {
    let lists = WatchLists { data: vec!["/d".to_owned()], ..WatchLists::default() };
    let parts = [
        Part::Create2(NewNode::sequential("/s", b"")),
        Part::Create(NewNode::with_ttl("/t", b"", 9)),
        Part::Delete { path: "/a", version: 3 },
        Part::SetData { path: "/a", data: None, version: -1 },
        Part::Check { path: "/a", version: 0 },
    ];
    let reads = [Part::GetData { path: "/a" }, Part::GetChildren { path: "/" }];
    let (path, watch) = ("/p", true);
    let calls = [
        Call::Create(NewNode::ephemeral(path, b"x")),
        Call::Create2(NewNode::container(path, b"x")),
        Call::Create2(NewNode::new(path, b"x", CreateMode::EphemeralSequential)),
        Call::Create(NewNode::with_ttl(path, b"x", 5)),
        Call::Delete { path, version: 1 },
        Call::Exists { path, watch },
        Call::GetData { path, watch },
        Call::SetData { path, data: Some(b""), version: 1 },
        Call::GetAcl { path },
        Call::SetAcl { path, acl: &[crate::proto::Acl::open()], version: 1 },
        Call::GetChildren { path, watch },
        Call::GetChildren2 { path, watch },
        Call::Sync { path },
        Call::Ping,
        Call::Multi(&parts),
        Call::MultiRead(&reads),
        Call::Reconfig { joining: "a", leaving: "", members: "", config_id: -1 },
        Call::CheckWatches { path, kind: 1 },
        Call::RemoveWatches { path, kind: 5 },
        Call::DeleteContainer { path },
        Call::Auth { scheme: "digest", auth: b"a:b" },
        Call::SetWatches(&lists),
        Call::SetWatches2(&lists),
        Call::Sasl { token: b"t" },
        Call::GetEphemerals { prefix: path },
        Call::GetAllChildrenNumber { path },
        Call::AddWatch { path, mode: AddWatchMode::PersistentRecursive },
        Call::WhoAmI,
        Call::CloseSession,
    ];
    for call in calls {
        let mut body = Vec::new();
        call.write(&mut body);
        let read = Request::read(call.op(), &body);
        assert!(read.is_ok(), "{call:?}: {read:?}");
        if !body.is_empty() {
            let short = Request::read(call.op(), &body[..body.len() - 1]);
            assert!(short.is_err(), "{call:?} writes more than is read");
        }
    }
}

/// Lets a client prove itself on this connection.
fn prove(stream: &mut TcpStream, password: &str) {
    let users = [("bob".to_owned(), Password(password.to_owned()))];
    let mut server = SaslServer::new(&users.into(), [3; 32]);
    let mut exchange = SaslExchange::default();
    for _ in 0..2 {
        let body = frame(stream);
        let header = RequestHeader::read(&mut Reader::new(&body)).expect("a header");
        assert_eq!(header.op, OpCode::Sasl.number());
        let Ok(Request::Sasl { token: Some(token) }) = Request::read(OpCode::Sasl, &body[8..])
        else {
            panic!("a token");
        };
        let from = "127.0.0.1".parse().expect("an address");
        let token = match server.answer(&mut exchange, token, from, crate::base::Instant(0)) {
            SaslAnswer::Challenge(token) | SaslAnswer::Proved { token, .. } => token,
            other => panic!("{other:?}"),
        };
        let mut out = Vec::new();
        write_reply(&mut out, header.xid, Zxid::ZERO, ErrorCode::Ok, |out| {
            out.put_buffer(Some(&token));
        });
        stream.write_all(&out).expect("written");
    }
}

#[test]
fn a_session_proves_itself_on_each_of_its_connections() {
    let (address, server) = serve(vec![
        |stream| {
            accept(stream, 7);
            prove(stream, "secret");
            let _ = stream.read(&mut [0; 1]);
        },
        |stream| {
            accept(stream, 7);
            prove(stream, "secret");
            let _ = frame(stream);
        },
    ]);
    let mut client = Client::open(Settings::new(vec![address])).expect("opened");
    client.prove("bob", "secret").expect("proved");
    client.disconnect();
    client.submit(&Call::Ping).expect("opened again");
    client.flush().expect("flushed");
    server.join().expect("the server saw what it wanted");
}

#[test]
fn a_server_that_does_not_speak_sasl_leaves_a_client_unproved() {
    let (address, server) = serve(vec![|stream| {
        accept(stream, 7);
        let body = frame(stream);
        let header = RequestHeader::read(&mut Reader::new(&body)).expect("a header");
        let mut out = Vec::new();
        write_reply(&mut out, header.xid, Zxid::ZERO, ErrorCode::Ok, |out| out.put_i32(-1));
        stream.write_all(&out).expect("written");
    }]);
    let mut client = Client::open(Settings::new(vec![address])).expect("opened");
    assert!(matches!(client.prove("bob", "secret"), Err(Error::Unproved)));
    server.join().expect("the server saw what it wanted");
}
