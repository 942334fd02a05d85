//! The turn table: the longest turn of the server's reactor thread, in CPU time, for each of the
//! heaviest things a client may ask for, in three runs. `cargo bench --bench turns`; `ZKD_BIN`
//! names the server, `ZKD_SCENE` a part of the only scene's name; the last line is one JSON object.

#[path = "../../tests/rig/ports.rs"]
mod ports;
mod rig;

use std::thread;
use std::time::Duration;

use rig::Rig;
use zkd::base::Zxid;
use zkd::client::{Call, Connection, NewNode, Part, WatchLists};
use zkd::proto::CreateMode;

/// None may be longer, but for what the protocol makes one step.
const LIMIT_US: u64 = 5_000;

/// Each run begins with a new server. The table tells the least: what the work itself takes comes
/// in every run, and what a shared machine takes away for some milliseconds counts as CPU too.
const RUNS: usize = 3;

fn main() {
    let only = std::env::var("ZKD_SCENE").unwrap_or_default();
    let mut runs: Vec<Vec<(u64, u64)>> = vec![Vec::new(); SCENES.len()];
    for _ in 0..RUNS {
        let mut rig = Rig::start();
        for (scene, found) in SCENES.iter().zip(&mut runs) {
            if scene.name.contains(&only) {
                let (cpu, wall) = (scene.measure)(&mut rig);
                println!("{}: longest turn {cpu} us of CPU, {wall} us of wall time", scene.name);
                found.push((cpu, wall));
            }
        }
    }
    let (mut rows, mut slow) = (Vec::new(), Vec::new());
    for (Scene { name, is_atomic, .. }, found) in SCENES.iter().zip(&mut runs) {
        found.sort_unstable();
        let Some((cpu, wall)) = found.first() else { continue };
        let all: Vec<String> = found.iter().map(|(cpu, _)| cpu.to_string()).collect();
        rows.push(format!(
            "\"{name}\": {{\"cpu_us\": {cpu}, \"wall_us\": {wall}, \"atomic\": {is_atomic}, \
             \"runs_cpu_us\": [{}]}}",
            all.join(", ")
        ));
        if *cpu > LIMIT_US && !is_atomic {
            slow.push(*name);
        }
    }
    let result = match slow.is_empty() {
        true => "passed".to_owned(),
        false => format!("above {} ms: {}", LIMIT_US / 1000, slow.join(", ")),
    };
    println!("{{\"turns\": {{{}}}, \"result\": \"{result}\"}}", rows.join(", "));
}

struct Scene {
    name: &'static str,
    measure: fn(&mut Rig) -> (u64, u64),
    /// One step by protocol: nobody may see half of it.
    is_atomic: bool,
}

const fn scene(name: &'static str, measure: fn(&mut Rig) -> (u64, u64)) -> Scene {
    Scene { name, measure, is_atomic: false }
}

const fn atomic(name: &'static str, measure: fn(&mut Rig) -> (u64, u64)) -> Scene {
    Scene { name, measure, is_atomic: true }
}

const SCENES: &[Scene] = &[
    atomic("a multi of 5,000 creates", multi),
    atomic("getChildren of 100,000", children),
    atomic("a session with 100,000 ephemerals closes", close_session),
    scene("setWatches with 100,000 paths", set_watches),
    scene("a set fires 10,000 watchers", watchers),
    scene("wchp with 100,000 entries", wchp),
    scene("dump with 100,000 ephemerals", dump),
    scene("10,000 connects at once", connects),
    scene("cons with 10,000 connections", cons),
    scene("10,000 sessions expire in one bucket", expiry),
    scene("a snapshot of 1,000,000 nodes under load", snapshot),
];

fn multi(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    let paths: Vec<String> = (0..5000).map(|n| format!("/multi{n:05}")).collect();
    let parts: Vec<Part<'_>> =
        paths.iter().map(|path| Part::Create(NewNode::persistent(path, b"x"))).collect();
    rig.longest(|_| {
        connection.queue(&Call::Multi(&parts));
        rig::answers(&mut connection, 1);
    })
}

fn children(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    rig::fill(&mut connection, "/children", 100_000, CreateMode::Persistent);
    rig.longest(|_| {
        connection.queue(&Call::GetChildren { path: "/children", watch: false });
        rig::answers(&mut connection, 1);
    })
}

fn close_session(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    rig::fill(&mut connection, "/ephemerals", 100_000, CreateMode::Ephemeral);
    rig.longest(|_| {
        connection.queue(&Call::CloseSession);
        rig::answers(&mut connection, 1);
    })
}

fn set_watches(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    let data = (0..100_000).map(|n| format!("/children/n{n:07}")).collect();
    let lists = WatchLists { relative_zxid: Zxid(i64::MAX), data, ..WatchLists::default() };
    let row = rig.longest(|_| {
        connection.queue(&Call::SetWatches(&lists));
        rig::answers(&mut connection, 1);
    });
    rig.keep(connection);
    row
}

fn watchers(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    connection.queue(&Call::Create(NewNode::persistent("/watched", b"x")));
    rig::answers(&mut connection, 1);
    let mut watchers: Vec<Connection> = (0..10_000).map(|_| rig.connect(200_000)).collect();
    for watcher in &mut watchers {
        watcher.queue(&Call::GetData { path: "/watched", watch: true });
        rig::answers(watcher, 1);
    }
    let row = rig.longest(|_| {
        connection.queue(&Call::SetData { path: "/watched", data: Some(b"y"), version: -1 });
        rig::answers(&mut connection, 1);
        watchers.iter_mut().for_each(rig::event);
    });
    watchers.iter_mut().for_each(rig::close);
    row
}

fn wchp(rig: &mut Rig) -> (u64, u64) {
    let row = rig.longest(|rig| assert!(rig.word("wchp").len() > 100_000, "every watch is listed"));
    rig.close_kept();
    row
}

fn dump(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    rig::fill(&mut connection, "/dumped", 100_000, CreateMode::Ephemeral);
    let row = rig.longest(|rig| {
        assert!(rig.word("dump").len() > 1_000_000, "every ephemeral is listed");
    });
    rig::close(&mut connection);
    row
}

fn connects(rig: &mut Rig) -> (u64, u64) {
    rig.longest(|rig| {
        let shared: &Rig = rig;
        let crowd = || {
            let dialled: Vec<Connection> = (0..1250).map(|_| shared.dial()).collect();
            dialled.into_iter().map(|connection| rig::open(connection, 20_000)).collect()
        };
        rig.many = thread::scope(|scope| {
            let crowds: Vec<_> = (0..8).map(|_| scope.spawn(crowd)).collect();
            let opened = |crowd: thread::ScopedJoinHandle<'_, Vec<Connection>>| {
                crowd.join().expect("all are served")
            };
            crowds.into_iter().flat_map(opened).collect()
        });
    })
}

fn cons(rig: &mut Rig) -> (u64, u64) {
    rig.longest(|rig| assert!(rig.word("cons").len() > 1_000_000, "every connection is listed"))
}

fn expiry(rig: &mut Rig) -> (u64, u64) {
    rig.many.clear();
    rig.longest(|_| thread::sleep(Duration::from_secs(28)))
}

fn snapshot(rig: &mut Rig) -> (u64, u64) {
    let mut connection = rig.connect(200_000);
    for folder in 0..10 {
        rig::fill(&mut connection, &format!("/many{folder}"), 100_000, CreateMode::Persistent);
    }
    let before = rig.snapshots();
    rig.longest(|rig| {
        let mut written = 0u32;
        while rig.snapshots() < before + 2 && written < 400_000 {
            for n in 0..1000 {
                let path = format!("/many{}/n{:07}", n % 10, (written + n) % 100_000);
                connection.queue(&Call::SetData { path: &path, data: Some(b"y"), version: -1 });
            }
            rig::answers(&mut connection, 1000);
            written += 1000;
        }
        assert!(rig.snapshots() > before, "a snapshot was taken meanwhile");
    })
}
