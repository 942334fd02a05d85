//! What the server does with syncs, seen from outside: one that hangs, and none at all. Needs
//! `strace` and the right to trace a child.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use zkd::client::{Call, NewNode};

use crate::server::{Folder, PATIENCE, Process, Server};

/// The log thread's number. A thread names itself, which may be after the server serves.
fn log_thread(server: &Server) -> String {
    let tasks = format!("/proc/{}/task", server.process.0.id());
    let is_log = |task: &PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "zkd-log")
    };
    let mut found = None;
    await_that("the log thread has its name", || {
        let tasks = fs::read_dir(&tasks).expect("it runs");
        found = tasks.map(|task| task.expect("a task").path()).find(is_log);
        found.is_some()
    });
    let task = found.expect("awaited");
    task.file_name().expect("a number").to_string_lossy().into_owned()
}

pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Lets no sync of the log thread begin, until it is dropped.
pub fn hang_syncs(server: &Server) -> Process {
    let id = log_thread(server);
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"]);
    strace.args(["inject=fdatasync,fsync:delay_enter=600s", "-p", &id]);
    let strace = Process::start(&mut strace);
    await_that("strace holds the thread", || {
        let status = format!("/proc/{}/task/{id}/status", server.process.0.id());
        let status = fs::read_to_string(status).expect("it runs");
        status.contains(&format!("TracerPid:\t{}\n", strace.0.id()))
    });
    strace
}

#[test]
fn a_sync_that_hangs_holds_writes_alone_and_is_told() {
    let server = Server::start("syncLimit=2\n");
    let (mut writer, mut reader) = (server.client(), server.client());
    writer.create(NewNode::persistent("/a", b"before")).expect("created");
    assert!(!server.word("mntr").contains("hanging_sync"), "nothing hangs");
    let held = hang_syncs(&server);
    let set = Call::SetData { path: "/a", data: Some(b"after"), version: -1 };
    let xid = writer.submit(&set).expect("queued");
    writer.flush().expect("sent");
    let line = server.await_log("The log disk has not answered for");
    assert!(line.contains("ERROR") && line.contains("syncLimit"), "{line}");
    let mntr = server.word("mntr");
    let told = mntr.lines().find_map(|line| line.strip_prefix("zk_hanging_sync_ms\t"));
    assert!(told.is_some_and(|ms| ms.parse::<u64>().expect("a number") >= 4000), "{told:?}");
    assert!(server.word("srvr").contains("Mode: standalone"), "the role is kept");
    assert_eq!(server.word("ruok"), "imok");
    for _ in 0..20 {
        let (data, _) = reader.data("/a", false).expect("read");
        assert_eq!(data.as_deref(), Some(&b"before"[..]), "what is not durable is not shown");
    }
    drop(held);
    writer.wait(xid).expect("a reply").answer().expect("it is set");
    server.await_log("The log disk answers again after");
    assert!(!server.word("mntr").contains("hanging_sync"), "it is over");
    assert_eq!(reader.data("/a", false).expect("read").0.as_deref(), Some(&b"after"[..]));
    server.end();
}

/// A server under `strace`, which writes every sync it sees into a file of the folder.
fn traced(lines: &str) -> (Server, Child) {
    let server = Server::start_by(Folder::new(), lines, |_| {});
    let id = log_thread(&server);
    let mut strace = Command::new("strace");
    strace.arg("-qq").arg("-o").arg(server.folder.0.join("syncs"));
    strace.args(["-e", "trace=fdatasync,fsync", "-p", &id]);
    let strace = strace.stdin(Stdio::null()).spawn().expect("strace starts");
    await_that("strace holds the thread", || {
        let status = format!("/proc/{}/task/{id}/status", server.process.0.id());
        let status = fs::read_to_string(status).expect("it runs");
        status.contains(&format!("TracerPid:\t{}\n", strace.id()))
    });
    (server, strace)
}

fn syncs(folder: &Folder) -> usize {
    let text = fs::read_to_string(folder.0.join("syncs")).expect("strace wrote it");
    text.lines().filter(|line| line.contains("sync(")).count()
}

#[test]
fn without_force_sync_only_the_ends_of_log_files_are_synced() {
    for (lines, at_least, at_most) in [("", 50, 1000), ("forceSync=no\n", 0, 4)] {
        let (server, mut strace) = traced(lines);
        let is_told = server.log().contains("forceSync=no");
        assert_eq!(is_told, !lines.is_empty(), "{}", server.log());
        let mut client = server.client();
        for n in 0..50 {
            client.create(NewNode::persistent(&format!("/n{n}"), b"")).expect("created");
        }
        client.close().expect("closed");
        let before = syncs(&server.folder);
        assert!((at_least..=at_most).contains(&before), "{lines:?}: {before} syncs");
        let folder = server.end();
        let _ = strace.wait();
        let at_end = syncs(&folder) - before;
        assert!(at_end >= 1 || lines.is_empty(), "what is left is synced at the end: {at_end}");
    }
}

/// Java leaves numbers out, too: this cannot stop a start, and must not pass in silence.
#[test]
fn a_log_file_that_was_taken_away_is_told_of() {
    let mut folder = Folder::new();
    for n in 0..3 {
        let server = Server::start_by(folder, "", |_| {});
        let mut client = server.client();
        client.create(NewNode::persistent(&format!("/n{n}"), b"")).expect("created");
        client.close().expect("closed");
        folder = server.end();
    }
    let logs = folder.0.join("data/version-2");
    let mut names: Vec<_> = fs::read_dir(&logs)
        .expect("the data directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().contains("/log."))
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "each start begins a file");
    fs::remove_file(&names[1]).expect("removed");
    let server = Server::start_by(folder, "", |_| {});
    let text = server.await_log("if a log file was removed, what it held is missing");
    assert_eq!(text.matches("if a log file was removed").count(), 1, "{text}");
    server.end();
}
