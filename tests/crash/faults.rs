//! Disks that fail, fill up or belong to somebody else; a process that is stopped for a while.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use zkd::client::{Client, Error, NewNode};

use crate::load::{SESSION, Writer};
use crate::server::{Folder, PATIENCE, Server, Shape, tool};

/// Writes until the server ends by itself: its status, and what the writer was told.
fn write_until_end(server: &mut Server, writer: &Writer) -> (i32, (usize, usize)) {
    let settings = server.settings(SESSION);
    let until = Instant::now() + PATIENCE;
    let counts = std::thread::scope(|scope| {
        scope
            .spawn(|| writer.run(settings, until, &AtomicBool::new(false)))
            .join()
            .expect("a writer")
    });
    (server.await_end(), counts.expect("no error code"))
}

fn writer_of(folder: &Path, data: &Path, shape: Shape) -> Writer {
    let mut server = Server::start(folder, data, shape, &[]);
    server.await_serving();
    let writer = Writer::new(server.settings(SESSION), 0);
    server.kill();
    writer
}

fn verify_after(folder: &Path, data: &Path, writer: &mut Writer, counts: (usize, usize)) {
    let mut server = Server::start(folder, data, Shape::default(), &[]);
    server.await_serving();
    let settings = server.settings(SESSION);
    writer.verify(settings, counts).unwrap_or_else(|e| panic!("{e}\n{}", server.log_tail()));
}

#[test]
fn a_failing_sync_ends_the_server_and_nothing_acknowledged_is_lost() {
    let folder = Folder::new("eio");
    let data = folder.0.join("data");
    let mut writer = writer_of(&folder.0, &data, Shape::default());
    let inject = "inject=fdatasync,fsync:error=EIO:when=40+";
    let strace =
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject];
    let mut server = Server::start(&folder.0, &data, Shape::default(), &strace);
    server.await_serving();
    let (status, counts) = write_until_end(&mut server, &writer);
    assert_eq!(status, 21, "{}", server.log_tail());
    assert!(counts.1 > 0, "something was acknowledged before");
    drop(server);
    verify_after(&folder.0, &data, &mut writer, counts);
}

/// A file system in a file of its own.
struct Volume {
    mount: PathBuf,
}

impl Volume {
    fn new(folder: &Path, name: &str, arguments: &[&str]) -> Volume {
        let mount = folder.join(name);
        std::fs::create_dir_all(&mount).expect("a mount point");
        let at = mount.display().to_string();
        let mut line = arguments.to_vec();
        line.push(&at);
        tool("mount", &line);
        Volume { mount }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).status();
    }
}

#[test]
fn a_full_disk_ends_the_server_with_its_own_status_and_room_brings_it_back() {
    let folder = Folder::new("full");
    let volume = Volume::new(&folder.0, "small", &["-t", "tmpfs", "-o", "size=1M", "tmpfs"]);
    let data = volume.mount.join("data");
    let shape = Shape { snap_count: 1_000_000, ..Shape::default() };
    let mut writer = writer_of(&folder.0, &data, shape);
    let mut server = Server::start(&folder.0, &data, shape, &[]);
    server.await_serving();
    let (status, counts) = write_until_end(&mut server, &writer);
    assert_eq!(status, 20, "{}", server.log_tail());
    assert!(server.log_text().contains("small"), "the message names the path");
    drop(server);
    tool("mount", &["-o", "remount,size=64M", &volume.mount.display().to_string()]);
    verify_after(&folder.0, &data, &mut writer, counts);
}

/// The loop driver takes a write that its host took in part for a whole one. Requests of a page
/// are taken whole or not at all.
fn one_page_a_request(mount: &Path) {
    let output = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(mount).output();
    let source = String::from_utf8(output.expect("findmnt is there").stdout).expect("a path");
    let name = source.trim().trim_start_matches("/dev/");
    let knob = format!("/sys/block/{name}/queue/max_sectors_kb");
    std::fs::write(&knob, "4").unwrap_or_else(|e| panic!("{knob}: {e}"));
}

#[test]
fn a_disk_that_really_fails_ends_the_server_and_keeps_what_was_acknowledged() {
    let folder = Folder::new("sparse");
    let host = Volume::new(&folder.0, "host", &["-t", "tmpfs", "-o", "size=20M", "tmpfs"]);
    let image = host.mount.join("image").display().to_string();
    tool("truncate", &["-s", "200M", &image]);
    // A small journal leaves the host's room to the data, which is what must run out.
    let lean = ["-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=1", &image];
    tool("mkfs.ext4", &lean);
    let inner = Volume::new(&folder.0, "inner", &["-o", "loop", &image]);
    one_page_a_request(&inner.mount);
    let data = inner.mount.join("data");
    let shape = Shape { snap_count: 1_000_000, pre_alloc_kib: 4096, ..Shape::default() };
    let mut writer = writer_of(&folder.0, &data, shape);
    let mut server = Server::start(&folder.0, &data, shape, &[]);
    server.await_serving();
    let (status, counts) = write_until_end(&mut server, &writer);
    assert_eq!(status, 21, "{}", server.log_tail());
    drop(server);
    tool("mount", &["-o", "remount,size=300M", &host.mount.display().to_string()]);
    tool("umount", &[&inner.mount.display().to_string()]);
    tool("mount", &["-o", "loop", &image, &inner.mount.display().to_string()]);
    verify_after(&folder.0, &data, &mut writer, counts);
}

#[test]
fn a_second_server_on_a_directory_is_refused() {
    let folder = Folder::new("second");
    let other = Folder::new("second-other");
    let data = folder.0.join("data");
    let mut first = Server::start(&folder.0, &data, Shape::default(), &[]);
    first.await_serving();
    let mut second = Server::start(&other.0, &data, Shape::default(), &[]);
    assert_eq!(second.await_end(), 23, "{}", second.log_tail());
    assert!(second.log_text().contains("version-2"), "it names the directory");
    let client = Client::open(first.settings(SESSION)).expect("the first one goes on");
    client.close().expect("and answers");
}

#[test]
fn a_stopped_server_expires_nobody_who_lives_and_the_dead_one_timeout_later() {
    let folder = Folder::new("stopped");
    let data = folder.0.join("data");
    let shape = Shape { tick_ms: 500, ..Shape::default() };
    let mut server = Server::start(&folder.0, &data, shape, &[]);
    server.await_serving();
    let timeout = Duration::from_secs(4);
    let mut living = Client::open(server.settings(timeout)).expect("a session");
    let mut dead = Client::open(server.settings(timeout)).expect("another");
    living.create(NewNode::ephemeral("/living", b"")).expect("created");
    dead.create(NewNode::ephemeral("/dead", b"")).expect("created");
    let _ = dead.leave();
    server.signal("STOP");
    std::thread::sleep(timeout * 3);
    server.signal("CONT");
    // The one that died is still given its time: it could not have been heard.
    // Like any client it has given its connection up meanwhile; its session must still be there.
    let is_there = |living: &mut Client, path: &str| loop {
        match living.exists(path, false) {
            Ok(stat) => return stat.is_some(),
            Err(Error::ConnectionLoss) => {}
            Err(e) => panic!("{e}"),
        }
    };
    let session = living.session();
    assert!(is_there(&mut living, "/dead"), "the dead one has one timeout more");
    let began = Instant::now();
    while is_there(&mut living, "/dead") {
        assert!(began.elapsed() < PATIENCE, "the dead session never expires");
        living.rest(Duration::from_millis(100)).expect("the session lives");
    }
    assert!(is_there(&mut living, "/living"), "its ephemeral is still there");
    assert_eq!(living.session(), session, "and so is its session");
}
