//! Command lines, statuses, and what a service manager hears.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;
use zkd::client::NewNode;

use crate::ports::Port;
use crate::server::{Folder, PATIENCE, Process, Server, binary, config, log_file};

/// Runs a command line that must end by itself: status and stderr.
fn refused(arguments: &[&str], change: impl FnOnce(&mut Command)) -> (i32, String) {
    let folder = Folder::new();
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(&folder.0);
    command.stdout(log_file(&folder)).stderr(log_file(&folder));
    change(&mut command);
    let status = Process::start(&mut command).await_end();
    (status, fs::read_to_string(folder.0.join("server.log")).expect("its own log"))
}

#[test]
fn bad_arguments_and_configurations_end_with_java_s_status_and_words() {
    let folder = Folder::new();
    let file = |name, text| folder.file(name, text).display().to_string();
    let no_data = file("no-data.cfg", "clientPort=2181\n");
    let bad_tick = file("tick.cfg", "dataDir=/nonexistent\nclientPort=1\ntickTime=x\n");
    let cases: [(&[&str], &str); 5] = [
        (&["1", "2", "3", "4", "5"], "Invalid arguments, exiting abnormally"),
        (&["port", "data"], "Invalid arguments, exiting abnormally"),
        (&["/nonexistent/zoo.cfg"], "Invalid config, exiting abnormally"),
        (&[&no_data], "Invalid config, exiting abnormally"),
        (&[&bad_tick], "Invalid config, exiting abnormally"),
    ];
    for (arguments, text) in cases {
        let (status, says) = refused(arguments, |_| {});
        assert_eq!(status, 2, "{arguments:?}: {says}");
        assert!(says.contains(text), "{arguments:?}: {says}");
    }
}

#[test]
fn a_data_directory_that_is_none_ends_with_status_three() {
    let folder = Folder::new();
    folder.file("data", "not a directory");
    let config = config(&folder, Port::free().number, "").display().to_string();
    let (status, says) = refused(&[&config], |_| {});
    assert_eq!(status, 3, "{says}");
    assert!(says.contains("Unable to access datadir, exiting abnormally"), "{says}");
}

#[test]
fn a_port_in_use_is_named_and_ends_with_status_one() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("bound").port();
    let folder = Folder::new();
    let config = config(&folder, port, "").display().to_string();
    let (status, says) = refused(&[&config], |_| {});
    assert_eq!(status, 1, "{says}");
    assert!(says.contains(&format!("127.0.0.1:{port}")), "{says}");
    assert!(says.contains("clientPort"), "it says what to do: {says}");
}

#[test]
fn a_data_directory_in_use_is_not_opened_twice() {
    let server = Server::start("");
    let data = server.folder.0.join("data").display().to_string();
    let (status, says) = refused(&[&Port::free().number.to_string(), &data], |_| {});
    assert_eq!(status, 23, "{says}");
    assert!(says.contains(&data), "{says}");
    server.client().create(NewNode::persistent("/fine", b"")).expect("the first is unharmed");
}

#[test]
fn port_and_directory_are_a_server() {
    let folder = Folder::new();
    let port = Port::free();
    let mut command = Command::new(binary());
    command.arg(port.number.to_string()).arg(folder.0.join("data")).arg("500");
    command.stdout(log_file(&folder)).stderr(log_file(&folder));
    let server = Server::of(folder, port, &mut command);
    server.client().create(NewNode::persistent("/a", b"1")).expect("created");
    server.end();
}

/// The next word that the service manager hears, within patience.
fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).expect("a word in time");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn manager(folder: &Folder) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.0.join("notify")).expect("bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

#[test]
fn the_manager_hears_ready_when_data_is_there_and_stopping_before_the_end() {
    let server = Server::start("");
    let mut client = server.client();
    for n in 0..200 {
        client.create(NewNode::persistent(&format!("/n{n}"), &[7; 1000])).expect("created");
    }
    client.close().expect("closed");
    let folder = server.end();
    let socket = manager(&folder);
    let port = Port::free();
    let config = config(&folder, port.number, "");
    let mut command = Command::new(binary());
    command.arg(config).env("NOTIFY_SOCKET", folder.0.join("notify"));
    command.stdout(log_file(&folder)).stderr(log_file(&folder));
    let mut process = Process::start(&mut command);
    assert_eq!(hear(&socket), "READY=1\n");
    // From that word on the first attempt succeeds, and everything is there.
    let address = SocketAddr::from(([127, 0, 0, 1], port.number));
    TcpStream::connect(address).expect("the port is bound");
    let mut settings = zkd::client::Settings::new(vec![address]);
    settings.reopen_patience = std::time::Duration::ZERO;
    let mut client = zkd::client::Client::open(settings).expect("a session at once");
    assert_eq!(client.children("/", false).expect("children").len(), 201);
    process.signal(Signal::TERM);
    assert_eq!(hear(&socket), "STOPPING=1\n");
    assert_eq!(process.await_end(), 0);
}

#[test]
fn the_manager_hears_nothing_of_a_start_that_fails() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let folder = Folder::new();
    let socket = manager(&folder);
    let port = holder.local_addr().expect("bound").port();
    let config = config(&folder, port, "").display().to_string();
    let (status, _) = refused(&[&config], |command| {
        command.env("NOTIFY_SOCKET", folder.0.join("notify"));
    });
    assert_eq!(status, 1);
    socket.set_nonblocking(true).expect("no waiting");
    assert!(socket.recv(&mut [0; 16]).is_err(), "no word");
}

#[test]
fn lines_for_the_journal_begin_with_a_priority() {
    let folder = Folder::new();
    let log = log_file(&folder).metadata().expect("a file");
    let stream = format!("{}:{}", log.dev(), log.ino());
    let server = Server::start_by(folder, "", |command| {
        command.env("JOURNAL_STREAM", stream);
    });
    assert!(server.await_log("binding to port").starts_with("<6>"), "{}", server.log());
    let other = Server::start("");
    assert!(other.await_log("binding to port").contains(" [myid:] - INFO  ["), "{}", other.log());
}
