//! How the process ends, and what does not end it.

use std::fs;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use zkd::base::SessionId;
use zkd::base::Zxid;
use zkd::client::{Call, Client, Connection, Message, NewNode, SessionKey};
use zkd::proto::ConnectRequest;

use crate::disk::{await_that, hang_syncs};
use crate::ports::Port;
use crate::server::{Folder, PATIENCE, Server, binary, config};

fn connection(server: &Server) -> Connection {
    let mut connection = Connection::dial(server.address, PATIENCE).expect("connected");
    let request = ConnectRequest {
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 30_000,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
        protocol_version: 0,
    };
    connection.handshake(&request, PATIENCE).expect("a session");
    connection
}

#[test]
fn what_is_in_flight_is_finished_and_kept() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start("");
        let mut connection = connection(&server);
        for n in 0..2000 {
            connection.queue(&Call::Create(NewNode::persistent(&format!("/n{n}"), &[7; 500])));
        }
        connection.flush(PATIENCE).expect("sent");
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        while let Ok(Message::Reply(reply)) = connection.receive(deadline) {
            assert!(reply.answer().is_ok(), "every answer is a success");
            if answered == 0 {
                server.process.signal(signal);
            }
            answered += 1;
        }
        assert_eq!(server.process.await_end(), 0, "{}", server.log());
        let folder = std::mem::replace(&mut server.folder, Folder("/nonexistent".into()));
        let again = Server::start_by(folder, "", |_| {});
        let kept = again.client().children("/", false).expect("children").len() - 1;
        assert!(kept >= answered, "{kept} kept of {answered} answered");
        assert!(answered > 0);
    }
}

#[test]
fn a_second_signal_ends_it_on_the_spot() {
    let mut server = Server::start("");
    let mut client = server.client();
    // The first signal's end waits for a write, and the write for a disk that never answers.
    let held = hang_syncs(&server);
    client.submit(&Call::Create(NewNode::persistent("/a", b""))).expect("queued");
    client.flush().expect("sent");
    await_that("the write waits", || server.word("mntr").contains("outstanding_requests\t1\n"));
    server.process.signal(Signal::TERM);
    server.await_log("Shutting down");
    assert!(server.process.is_running(), "the write is in flight: {}", server.log());
    server.process.signal(Signal::INT);
    // Its end is told only when the thread that is held is let go.
    let status = format!("/proc/{}/status", server.process.0.id());
    await_that("it has ended", || {
        fs::read_to_string(&status).is_ok_and(|status| status.contains("State:\tZ"))
    });
    drop(held);
    assert_eq!(server.process.await_end(), 128 + 2, "{}", server.log());
}

#[test]
fn a_hangup_and_a_broken_pipe_change_nothing() {
    let server = Server::start("");
    let mut client = server.client();
    for _ in 0..3 {
        server.process.signal(Signal::HUP);
        server.process.signal(Signal::PIPE);
        client.create(NewNode::sequential("/s", b"")).expect("created");
    }
    server.await_log("SIGHUP changes nothing");
    server.end();
}

#[test]
fn closed_stdout_and_stderr_change_nothing() {
    let folder = Folder::new();
    let port = Port::free();
    let config = config(&folder, port.number, "");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$1\" >&- 2>&-"]).arg(binary()).arg(config);
    let server = Server::of(folder, port, &mut command);
    let mut client = server.client();
    client.create(NewNode::persistent("/a", b"kept")).expect("created");
    client.close().expect("closed");
    let folder = server.end();
    // No line of the log went into a file of the data.
    let again = Server::start_by(folder, "", |_| {});
    assert_eq!(again.client().data("/a", false).expect("read").0.as_deref(), Some(&b"kept"[..]));
}

/// Makes the server write a line: a session that nobody knows.
fn make_a_line(server: &Server, n: i64) {
    let key = SessionKey { id: SessionId(0x7777_0000 + n), password: [1; 16] };
    let mut settings = server.settings();
    settings.reopen_patience = std::time::Duration::ZERO;
    assert!(Client::resume(settings, key).is_err());
}

#[test]
fn a_reader_of_the_log_that_goes_away_changes_nothing() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let server = Server::start_by(Folder::new(), "", |command| {
        command.stdout(Stdio::null()).stderr(writer);
    });
    drop(reader);
    for n in 0..50 {
        make_a_line(&server, n);
    }
    server.client().create(NewNode::persistent("/a", b"")).expect("created");
    server.end();
}

#[test]
fn a_reader_of_the_log_that_stops_reading_holds_nobody_up() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let server = Server::start_by(Folder::new(), "", |command| {
        command.stdout(Stdio::null()).stderr(writer);
    });
    let mut client = server.client();
    // A pipe takes 64 KiB, and each line is longer than 100 bytes.
    for n in 0..1500 {
        make_a_line(&server, n);
    }
    for n in 0..20 {
        client.create(NewNode::persistent(&format!("/n{n}"), b"")).expect("created");
    }
    client.close().expect("closed");
    server.end();
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("what the pipe took");
    assert!(text.contains("binding to port"), "it was that pipe");
    assert!(text.len() <= 65_536, "and it was full");
}
