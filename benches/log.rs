//! What one durable append costs, written through the map and by calls: the figures behind the
//! choice in `disk::RealDisk`.
//!
//! `cargo bench --bench log [-- DIRECTORY]`; the directory should be on the disk in question.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use zkd::base::{SessionId, Ticket, WallMillis, Zxid};
use zkd::disk::{Disk, LogWriter, RealDisk, StorageSettings};
use zkd::history::{StorageCommand, append_record};
use zkd::proto::{Txn, TxnHeader};

const APPENDS: usize = 3000;

fn main() {
    let named = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let dir = named.map_or_else(std::env::temp_dir, PathBuf::from);
    for round in 0..2 {
        for (name, maps) in [("mapped", true), ("written", false)] {
            for size in [100, 1000, 20_000] {
                let path = dir.join(format!("zkd-bench-log-{}-{name}-{size}", std::process::id()));
                let times = run(&path, maps, size);
                let _ = std::fs::remove_dir_all(&path);
                let us = |q: f64| times[((times.len() - 1) as f64 * q) as usize] / 1000;
                println!(
                    "round {round} {name:8} {size:6} B: p50 {:5} p90 {:5} p99 {:6} max {:7} us",
                    us(0.5),
                    us(0.9),
                    us(0.99),
                    us(1.0)
                );
            }
        }
    }
}

fn run(path: &Path, maps: bool, size: usize) -> Vec<u128> {
    let settings = StorageSettings::new(path);
    let mut disk = RealDisk::with_maps(maps);
    disk.create_dir(&path.join("version-2")).expect("a directory to write to");
    let mut writer = LogWriter::new(disk, &settings, Zxid(0));
    let mut times = Vec::with_capacity(APPENDS);
    for n in 1..=APPENDS as i64 {
        let zxid = Zxid(n);
        let header = TxnHeader { session: SessionId(1), cxid: 1, zxid, time: WallMillis(n) };
        let txn = Txn::SetData { path: "/bench".into(), data: Some(vec![7; size]), version: 1 };
        let mut out = Vec::new();
        append_record(&mut out, &header, &txn, None);
        let ticket = Ticket(n as u64);
        let bytes = Bytes::from(out);
        let command =
            StorageCommand::Append { ticket, first: zxid, last: zxid, bytes, roll: false };
        let from = Instant::now();
        writer.execute(&command, &mut Vec::new()).expect("an append");
        writer.sync().expect("a sync");
        times.push(from.elapsed().as_nanos());
    }
    times.sort_unstable();
    times
}
