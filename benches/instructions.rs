//! One kind of operation, a given number of times, in memory and from one seed: what
//! `scripts/instructions` counts the instructions of. All requests are made beforehand, whatever
//! the number, so that the difference of two runs is what the operations themselves take.
//!
//! `instructions get|set|create|watch_fire COUNT`

#[path = "parts/rig.rs"]
mod rig;

use rig::{DEPTH, NODES, Rig, path};
use zkd::client::{Call, NewNode};

/// The most that may be asked for.
const MOST: usize = 2000;
/// Connections that a set tells.
const WATCHERS: u32 = 100;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with('-')).collect();
    let name = words.first().map_or("get", String::as_str);
    let count: usize = words.get(1).and_then(|n| n.parse().ok()).unwrap_or(MOST);
    assert!(count <= MOST, "at most {MOST}");
    let sent = match name {
        "get" => plain(count, |rig, n| {
            rig.frame(&Call::GetData { path: &path(n % NODES), watch: false })
        }),
        "set" => plain(count, |rig, n| {
            let data = Some(&[b'y'; 100][..]);
            rig.frame(&Call::SetData { path: &path(n % NODES), data, version: -1 })
        }),
        "create" => plain(count, |rig, n| {
            rig.frame(&Call::Create(NewNode::persistent(&path(NODES + n), &[b'z'; 100])))
        }),
        "watch_fire" => watch_fire(count),
        other => panic!("{other} is none of get, set, create, watch_fire"),
    };
    println!("{name} {count}: {sent} bytes sent");
}

fn plain(count: usize, make: impl Fn(&mut Rig, usize) -> Vec<u8>) -> usize {
    let mut rig = Rig::new(1);
    let frames: Vec<Vec<u8>> = (0..MOST).map(|n| make(&mut rig, n)).collect();
    let conn = rig.conns[0];
    frames[..count].chunks(DEPTH).map(|frames| rig.turn(conn, frames)).sum()
}

/// `count` notifications: each set tells every watcher of its node.
fn watch_fire(count: usize) -> usize {
    let mut rig = Rig::new(WATCHERS + 1);
    let sets = MOST / WATCHERS as usize;
    for at in 1..=WATCHERS as usize {
        let frames: Vec<Vec<u8>> =
            (0..sets).map(|n| rig.frame(&Call::GetData { path: &path(n), watch: true })).collect();
        rig.turn(rig.conns[at], &frames);
    }
    let data = Some(&[b'y'; 100][..]);
    let frames: Vec<Vec<u8>> = (0..sets)
        .map(|n| rig.frame(&Call::SetData { path: &path(n), data, version: -1 }))
        .collect();
    let conn = rig.conns[0];
    frames[..count / WATCHERS as usize].chunks(1).map(|frames| rig.turn(conn, frames)).sum()
}
