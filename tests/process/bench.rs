//! `zkbench` against a server: each command for a bounded number of operations, what it prints,
//! what it leaves behind, and that it notices a reply that was changed on its way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use super::server::{Folder, Server};

pub fn zkbench(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkbench"));
    command.args(line.split_whitespace()).output().expect("zkbench runs")
}

pub fn text(line: &str) -> String {
    let output = zkbench(line);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

pub fn json(line: &str) -> Value {
    let text = text(&format!("{line} --json"));
    assert_eq!(text.lines().count(), 1, "one object and nothing else: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The percentiles are there and rise.
pub fn assert_latencies(latencies: &Value) {
    let names = ["min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let told: Vec<f64> = names.iter().map(|name| latencies[name].as_f64().expect(name)).collect();
    assert!(told.is_sorted() && told[0] > 0.0, "{latencies}");
}

fn assert_ratio(ratio: &Value) {
    let told = ["least", "median", "most"].map(|name| ratio[name].as_f64().expect(name));
    assert!(told.is_sorted() && told[0] > 0.0, "{ratio}");
}

pub fn assert_nothing_left(server: &Server) {
    let mut names = server.client().children("/", false).expect("the root's children");
    names.retain(|name| name != "zookeeper");
    assert!(names.is_empty(), "{names:?} is left");
}

#[test]
fn load_counts_every_operation_and_leaves_nothing() {
    let server = Server::start("");
    let told = json(&format!(
        "load --server {} --server-pid {} --op get=40,set=20,exists=20,create=10,delete=10 \
         --count 3000 --seconds 60 --sessions 5 --depth 7 --keys 50 --warmup 0",
        server.address,
        server.process.0.id()
    ));
    assert_eq!((&told["command"], &told["load"]["transport"]), (&"load".into(), &"tcp".into()));
    let target = &told["targets"][0];
    assert_eq!(target["address"], server.address.to_string());
    assert_eq!(target["operations"], 3000);
    assert_eq!(target["stretches"].as_array().expect("a list").len(), 1);
    assert!(target["per_second"].as_f64().expect("a rate") > 0.0);
    assert!(target["server_cpu_per_100k"].is_number(), "{target}");
    assert_latencies(&target["latency_us"]);
    assert!(told.get("ratios").is_none(), "one target has no ratio");
    assert_nothing_left(&server);
}

#[test]
fn load_at_a_rate_sends_or_misses_every_slot() {
    let server = Server::start("");
    let line = format!("load --server {} --op set --rate 2000 --count 600", server.address);
    let told = json(&format!("{line} --seconds 60 --sessions 3 --keys 10 --warmup 0"));
    let target = &told["targets"][0];
    let count = |name: &str| target[name].as_u64().expect(name);
    assert_eq!(count("operations") + count("missed"), 600);
    assert!(target["seconds"].as_f64().expect("a time") > 0.25, "the slots are spread out");
    assert_nothing_left(&server);
}

#[test]
fn load_of_two_servers_in_turn_gives_a_ratio_for_each_figure() {
    let (one, two) = (Server::start(""), Server::start(""));
    let line = format!("load --server {} --against {} --count 500", one.address, two.address);
    let told = json(&format!("{line} --pairs 3 --sessions 2 --keys 10 --warmup 0.05"));
    let targets = told["targets"].as_array().expect("a list");
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(target["operations"], 1500);
        assert_eq!(target["stretches"].as_array().expect("a list").len(), 3);
    }
    for figure in ["per_second", "p50", "p99.99", "max"] {
        assert_ratio(&told["ratios"][figure]);
    }
    assert_nothing_left(&one);
    assert_nothing_left(&two);
}

#[test]
fn load_refuses_a_root_that_exists_unless_told() {
    let server = Server::start("");
    let line = format!("load --server {} --count 100 --keys 10 --warmup 0", server.address);
    text(&format!("{line} --keep"));
    let refused = zkbench(&line);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--reuse"));
    text(&format!("{line} --reuse"));
    assert_nothing_left(&server);
}

#[test]
fn floor_measures_the_echo_and_the_disk() {
    let dir = super::server::Folder::new();
    let line = format!(
        "floor --sessions 3 --depth 4 --count 2000 --syncs 5 --warmup 0 --dir {}",
        dir.0.display()
    );
    let told = json(&line);
    assert_eq!(told["echo"]["operations"], 2000);
    assert!(told["echo"]["server_cpu_seconds"].is_number());
    assert_latencies(&told["echo"]["latency_us"]);
    assert_eq!(told["sync"]["operations"], 5);
    assert_latencies(&told["sync"]["latency_us"]);
    let left = std::fs::read_dir(&dir.0).expect("the folder").count();
    assert_eq!(left, 0, "its file is removed");
}

#[test]
fn latencies_prints_the_lines_of_the_public_tool() {
    let server = Server::start("");
    for (flag, kind) in [("", "asynchronous"), ("--synchronous", "syncronous")] {
        // Two addresses of what is one ensemble.
        let names = format!("{0},{0}", server.address);
        let line = format!("latencies --servers {names} --znode_count 40 --watch_multiple 2");
        let text = text(&format!("{line} --znode_size 10 {flag}"));
        let all: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(all.len(), 2 * 9 + 1, "{text}");
        for half in all[..18].chunks(9) {
            let first =
                format!("Testing latencies on server {} using {kind} calls", server.address);
            assert_eq!(half[0], first);
            let heads = [
                "created      40 permanent znodes  in ",
                "set          40           znodes  in ",
                "get          40           znodes  in ",
                "deleted      40 permanent znodes  in ",
                "created      40 ephemeral znodes  in ",
                "watched      80           znodes  in ",
                "deleted      40 ephemeral znodes  in ",
                "notif        80           watches in ",
            ];
            for (line, head) in half[1..].iter().zip(heads) {
                let sound = line.ends_with("/sec)") || line.ends_with("ms (included in prior)");
                assert!(line.starts_with(head) && sound, "{line}");
            }
        }
        assert_eq!(all.last(), Some(&"Latency test complete"));
    }
    let told = json(&format!("latencies --cluster {} --znode_count 20", server.address));
    let phases = told["servers"][0]["phases"].as_array().expect("a list").clone();
    assert_eq!(phases.len(), 8);
    phases[..7].iter().for_each(|phase| assert_latencies(&phase["latency_us"]));
    assert_nothing_left(&server);
}

#[test]
fn latencies_finds_its_cluster_in_a_zoo_cfg() {
    let (server, folder) = (Server::start(""), Folder::new());
    let port = server.address.port();
    for servers in ["", "server.1=127.0.0.1:2888:3888\nserver.2=[::1]:2889:3889;2181\n"] {
        let file = folder.file("zoo.cfg", &format!("#clientPort=1\nclientPort={port}\n{servers}"));
        let line = format!("latencies --config {} --znode_count 5", file.display());
        let told = text(&line);
        let named = match servers {
            "" => format!("localhost:{port}"),
            _ => format!("127.0.0.1:{port},[::1]:{port}"),
        };
        assert!(told.starts_with(&format!("Testing latencies on server {named} using")), "{told}");
    }
    assert_nothing_left(&server);
}

#[test]
fn latencies_of_two_servers_in_turn_gives_ratios_for_each_phase() {
    let (one, two) = (Server::start(""), Server::start(""));
    let line = format!("latencies --servers {} --against {}", one.address, two.address);
    let told = json(&format!("{line} --znode_count 30 --pairs 2"));
    let tests = told["servers"].as_array().expect("a list");
    let addresses: Vec<&str> = tests.iter().filter_map(|test| test["address"].as_str()).collect();
    let (one_name, two_name) = (one.address.to_string(), two.address.to_string());
    assert_eq!(addresses, [&one_name, &two_name, &one_name, &two_name]);
    let phases = told["ratios"].as_array().expect("a list");
    assert_eq!(phases.len(), 8);
    for phase in phases {
        assert_ratio(&phase["per_second"]);
        let has_latencies = phase["phase"] != "notif watches";
        assert_eq!(phase["p99"].is_object(), has_latencies, "{phase}");
    }
    let printed = text(&format!("{line} --znode_count 30 --pairs 1"));
    assert_eq!(printed.matches("Testing latencies on server").count(), 2);
    assert_eq!(printed.matches("per_second: first over second").count(), 8);
    assert_nothing_left(&one);
    assert_nothing_left(&two);
}

#[test]
fn latencies_empties_a_root_only_where_forced() {
    let server = Server::start("");
    let mut client = server.client();
    for path in ["/zk-latencies", "/zk-latencies/session_1"] {
        client.create(zkd::client::NewNode::persistent(path, b"")).expect("made");
    }
    let line = format!("latencies --servers {} --znode_count 5 -q", server.address);
    let refused = zkbench(&line);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(why.contains("Node /zk-latencies already exists!"), "{why}");
    assert_eq!(text(&format!("{line} --force")), "Latency test complete\n");
    assert_nothing_left(&server);
}

#[test]
fn notify_hears_every_set_at_every_watcher() {
    let server = Server::start("");
    let line = format!("notify --server {} --watchers 7 --nodes 300 --rounds 2", server.address);
    let told = json(&line);
    assert_eq!(told["operations"], 7 * 300 * 2);
    assert_latencies(&told["latency_us"]);
    assert_nothing_left(&server);
}

#[test]
fn notify_of_two_servers_in_turn_gives_a_ratio_for_each_figure() {
    let (one, two) = (Server::start(""), Server::start(""));
    let line = format!("notify --server {} --against {}", one.address, two.address);
    let told = json(&format!("{line} --watchers 5 --nodes 100 --rounds 2"));
    let targets = told["targets"].as_array().expect("a list");
    assert_eq!(targets.len(), 2);
    for target in targets {
        assert_eq!(target["operations"], 5 * 100 * 2);
        assert_latencies(&target["latency_us"]);
    }
    ["per_second", "p50", "p99", "max"].iter().for_each(|name| assert_ratio(&told["ratios"][name]));
    assert_nothing_left(&one);
    assert_nothing_left(&two);
}

#[test]
fn connects_opens_and_closes_a_session_in_every_slot() {
    let (one, two) = (Server::start(""), Server::start(""));
    let line = format!("connects --rate 400 --count 100 --server {}", one.address);
    let told = json(&format!("{line} --seconds 60 --server-pid {}", one.process.0.id()));
    assert_eq!((&told["command"], &told["transport"]), (&"connects".into(), &"tcp".into()));
    let target = &told["targets"][0];
    let count = |name: &str| target[name].as_u64().expect(name);
    assert_eq!(count("operations") + count("missed"), 100);
    assert!(target["seconds"].as_f64().expect("a time") > 0.2, "the slots are spread out");
    assert!(target["server_cpu_seconds"].is_number(), "{target}");
    assert_latencies(&target["latency_us"]);
    let told = json(&format!("{line} --seconds 60 --against {} --pairs 2", two.address));
    ["per_second", "p99"].iter().for_each(|name| assert_ratio(&told["ratios"][name]));
    for server in [&one, &two] {
        assert!(server.word("cons").lines().count() < 3, "every connection was ended");
        assert!(server.word("mntr").contains("zk_global_sessions\t0\n"), "no session is left");
    }
}

#[test]
fn hold_keeps_sessions_and_watches_and_tells_their_memory() {
    let server = Server::start("");
    let told = json(&format!(
        "hold --server {} --server-pid {} --sessions 20 --watches 1001 --seconds 0.2",
        server.address,
        server.process.0.id()
    ));
    assert_eq!((&told["sessions"], &told["watches"]), (&20.into(), &1020.into()));
    assert!(told["bytes_each"].is_number(), "{told}");
    assert_nothing_left(&server);
}

/// Passes everything on, and once changes a letter of a value in a reply.
fn changing_proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let server = TcpStream::connect(to).expect("the server accepts");
            let up = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
            thread::spawn(move || pass(up.0, up.1, false));
            thread::spawn(move || pass(server, client, true));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, change: bool) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(n) = from.read(&mut chunk) {
        let whole = b"hijklmnop";
        if change && let Some(at) = chunk[..n].windows(whole.len()).position(|w| w == whole) {
            chunk[at] = b'H';
        }
        if n == 0 || to.write_all(&chunk[..n]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Both);
            break;
        }
    }
}

#[test]
fn a_changed_reply_ends_the_run() {
    let server = Server::start("");
    let proxy = changing_proxy(server.address);
    let line = format!("load --server {proxy} --count 1000 --sessions 2 --keys 10 --warmup 0");
    let output = zkbench(&line);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains("data that is not this key's"), "{why}");
    // Sets are answered without a value: nothing is changed and nothing is wrong.
    text(&format!("{line} --op set --root /other"));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_a_reason() {
    for (line, word) in [
        ("", "a command is missing"),
        ("loat", "no command"),
        ("load --sessions 0", "--sessions"),
        ("load --op got", "--op"),
        ("load --root zk", "--root"),
        ("load --pin 99999", "--pin"),
        ("hold more", "more"),
        ("load --server 127.0.0.1:1 --warmup 0", "127.0.0.1:1"),
        ("connects --server 127.0.0.1:1 --count 1", "Connection refused"),
        ("latencies --servers a:1,b:1 --against c:1", "--against"),
        ("load --tls-cert /nowhere", "--tls-ca FILE is missing"),
        ("load --tls-ca /nowhere", "--tls-ca: /nowhere: No such file"),
        ("notify --tls-insecure --tls-key /nowhere", "--tls-cert FILE"),
        ("hold --tls-insecure --tls-version 1.1", "--tls-version: 1.1"),
        ("latencies --sasl bob", "--sasl-password-file FILE"),
        ("connects --sasl-password-file /nowhere", "--sasl USER"),
        ("load --sasl bob --sasl-password-file /nowhere", "/nowhere: No such file"),
        ("echo --tls-key /nowhere", "--tls-cert is missing"),
    ] {
        let output = zkbench(line);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(why.contains(word), "{line}: {why}");
    }
    for command in ["latencies", "load", "notify", "hold", "connects", "floor", "echo"] {
        let help = text(&format!("{command} --help"));
        assert!(help.starts_with(&format!("Usage: zkbench {command}")), "{help}");
        assert!(text("--help").contains(command));
    }
}
