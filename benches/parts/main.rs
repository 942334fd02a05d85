//! The parts that a request passes, each by itself: `cargo bench --bench parts [NAME]`.

mod rig;

use std::hint::black_box;
use std::path::PathBuf;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zkd::base::{ConnId, SessionId, Ticket, WallMillis, Xid, Zxid};
use zkd::client::{Call, NewNode};
use zkd::disk::{Disk, LogWriter, RealDisk, StorageSettings};
use zkd::history::{StorageCommand, append_record};
use zkd::proto::{
    Acl, CreateKind, CreateTxn, ErrorCode, OpCode, Request, Stat, Txn, TxnHeader, Writer,
    write_reply,
};
use zkd::state::{Applied, Mode, State, StateSettings};
use zkd::watch::{Table, WatchTable};

use rig::{DEPTH, NODES, Rig, path};

fn header(zxid: i64) -> TxnHeader {
    let zxid = Zxid(zxid);
    TxnHeader { session: SessionId(1), cxid: 1, zxid, time: WallMillis(1_000_000) }
}

fn set(n: usize, version: i32) -> Txn {
    Txn::SetData { path: path(n % NODES), data: Some(vec![b'y'; 100]), version }
}

/// A state with the nodes of the rig.
fn state() -> State {
    let mut state = State::new(&StateSettings::default());
    let mut applied = Applied::default();
    let names = std::iter::once("/bench".to_owned()).chain((0..NODES).map(path));
    for (n, path) in names.enumerate() {
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Create,
            path,
            data: Some(vec![b'x'; 100]),
            acl: vec![Acl::open()],
            ephemeral: false,
            parent_cversion: n as i32,
            ttl: -1,
        });
        state.apply(&header(n as i64 + 1), &txn, Mode::Exact, &mut applied);
        assert_eq!(applied.err, ErrorCode::Ok);
    }
    state
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec");
    let data = [b'x'; 100];
    let mut body = Vec::new();
    Call::SetData { path: &path(5), data: Some(&data), version: -1 }.write(&mut body);
    group.bench_function("read a set", |b| {
        b.iter(|| Request::read(OpCode::SetData, black_box(&body)).is_ok())
    });
    let mut body = Vec::new();
    Call::Create(NewNode::persistent(&path(5), &data)).write(&mut body);
    group.bench_function("read a create", |b| {
        b.iter(|| Request::read(OpCode::Create, black_box(&body)).is_ok())
    });
    let mut out = Vec::new();
    group.bench_function("write the reply to a get", |b| {
        b.iter(|| {
            out.clear();
            write_reply(&mut out, Xid(1), Zxid(1), ErrorCode::Ok, |out| {
                out.put_buffer(Some(black_box(&data)));
                Stat::default().write(out);
            });
            out.len()
        })
    });
    group.finish();
}

fn apply(c: &mut Criterion) {
    let mut state = state();
    let mut applied = Applied::default();
    let (mut n, mut zxid) = (0, 10_000);
    let mut versions = vec![0; NODES];
    c.bench_function("apply a set", |b| {
        b.iter(|| {
            n = (n + 1) % NODES;
            zxid += 1;
            versions[n] += 1;
            state.apply(&header(zxid), &set(n, versions[n]), Mode::Exact, &mut applied);
            applied.err
        })
    });
}

fn watch_fire(c: &mut Criterion) {
    const WATCHERS: u32 = 100;
    let mut state = state();
    let mut applied = Applied::default();
    state.apply(&header(10_001), &set(5, 1), Mode::Exact, &mut applied);
    let mut watches = WatchTable::new(7);
    let path = path(5);
    let mut group = c.benchmark_group("watch_fire");
    group.throughput(Throughput::Elements(WATCHERS.into()));
    group.bench_function("set and fire 100 one-shot watches", |b| {
        b.iter(|| {
            for index in 0..WATCHERS {
                let conn = ConnId { index, generation: 1 };
                watches.add(conn, &state, &path, Table::Data);
            }
            let mut told = 0;
            watches.fire(&applied.changes, &mut |_, _, _, _| told += 1);
            // Counted by whoever counts, or it would fill up.
            watches.take_fired(&mut |_, _| {});
            assert_eq!(told, WATCHERS);
        })
    });
    group.finish();
}

fn log_append(c: &mut Criterion) {
    let base = std::env::var_os("ZKD_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("zkd-bench-parts-{}", std::process::id()));
    let mut disk = RealDisk::with_maps(true);
    disk.create_dir(&dir.join("version-2")).expect("a directory to write to");
    let mut writer = LogWriter::new(disk, &StorageSettings::new(&dir), Zxid::ZERO);
    let mut n = 0;
    let mut group = c.benchmark_group("log_append");
    group.sample_size(20);
    group.bench_function("20 sets and a sync", |b| {
        b.iter(|| {
            let first = n + 1;
            let mut bytes = Vec::new();
            for _ in 0..DEPTH {
                n += 1;
                append_record(&mut bytes, &header(n), &set(n as usize, 1), None);
            }
            let command = StorageCommand::Append {
                ticket: Ticket(n as u64),
                first: Zxid(first),
                last: Zxid(n),
                bytes: Bytes::from(bytes),
                roll: false,
            };
            writer.execute(&command, &mut Vec::new()).expect("an append");
            writer.sync().expect("a sync");
        })
    });
    group.finish();
    drop(writer);
    std::fs::remove_dir_all(&dir).expect("the bench's own folder");
}

fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    group.throughput(Throughput::Elements(DEPTH as u64));
    let mut rig = Rig::new(1);
    let conn = rig.conns[0];
    let get = |rig: &mut Rig, n| rig.frame(&Call::GetData { path: &path(n), watch: false });
    let gets: Vec<Vec<u8>> = (0..DEPTH).map(|n| get(&mut rig, n)).collect();
    group.bench_function("20 gets", |b| b.iter(|| rig.turn(conn, &gets)));
    let data = Some(&[b'y'; 100][..]);
    let sets: Vec<Vec<u8>> = (0..DEPTH)
        .map(|n| rig.frame(&Call::SetData { path: &path(n), data, version: -1 }))
        .collect();
    group.bench_function("20 sets", |b| b.iter(|| rig.turn(conn, &sets)));
    group.finish();
}

criterion_group!(parts, codec, apply, watch_fire, log_append, turn);
criterion_main!(parts);
