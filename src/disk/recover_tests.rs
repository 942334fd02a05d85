//! Recovery of whole directories: fresh ones, ours, Apache's, and broken ones.

use crate::base::{Fatal, Zxid};
use crate::history::{Compression, SnapshotTrailers, SnapshotWriter};
use crate::proto::{Acl, CreateKind, CreateTxn, DIGEST_VERSION, Entry, Txn, TxnDigest};
use crate::state::{Applied, Mode, State, StateSettings};

use super::mem_disk::MemDisk;
use super::tests::{TempDir, append, entry};
use super::*;

const JAVA_EMPTY: &[u8] = include_bytes!("../history/golden/3.9.5-snapshot.0");
const JAVA_LOG: &[u8] = include_bytes!("../history/golden/3.9.5-log.1");
/// Written with `zookeeper.closeSessionTxn.enabled=false`: a session with /e and /f and one without
/// anything are closed, and another makes /after.
const JAVA_PATHLESS_LOG: &[u8] = include_bytes!("../history/golden/3.9.5-log.pathless");
const JAVA_SNAPSHOT: &[u8] = include_bytes!("../history/golden/3.9.5-snapshot.e");
const OLDER_LOG: &[u8] = include_bytes!("../history/golden/3.8.0-log.1");
const OLDER_SNAPSHOT: &[u8] = include_bytes!("../history/golden/3.6.3-snapshot.e");

fn settings() -> StorageSettings {
    let state = StateSettings { extended_types: true, ..StateSettings::default() };
    StorageSettings { state, preallocate_bytes: 8192, ..StorageSettings::new("/data") }
}

fn dirs() -> Dirs {
    Dirs::new(&settings())
}

fn disk_with(snapshots: &[(i64, &[u8])], logs: &[(i64, &[u8])]) -> MemDisk {
    let disk = MemDisk::default();
    for (zxid, bytes) in snapshots {
        disk.put(&dirs().snapshot(Zxid(*zxid), Compression::None), bytes);
    }
    logs.iter().for_each(|(zxid, bytes)| disk.put(&dirs().log(Zxid(*zxid)), bytes));
    disk
}

fn recovered(disk: &MemDisk) -> Result<Recovered, Fatal> {
    recover(&mut disk.clone(), &settings())
}

/// The digest in the trailer of Apache's snapshot at zxid 0xe.
fn java_digest() -> u64 {
    let at = JAVA_SNAPSHOT.len() - 21 - 13 - 8;
    u64::from_be_bytes(*JAVA_SNAPSHOT[at..].first_chunk().unwrap())
}

#[test]
fn an_empty_directory_gets_a_durable_snapshot_like_javas_before_any_log() {
    let disk = MemDisk::default();
    let first = recovered(&disk).unwrap();
    assert!(first.created && !first.is_lost && first.last_logged == Zxid(0));
    let path = dirs().snapshot(Zxid(0), Compression::None);
    let after = disk.after_power_cut(&mut super::mem_disk::Chance(3));
    let bytes = after.content(&path).unwrap();
    assert_eq!(bytes.len(), JAVA_EMPTY.len());
    assert_eq!(bytes[bytes.len() - 41..bytes.len() - 34], JAVA_EMPTY[JAVA_EMPTY.len() - 41..][..7]);
    let again = recovered(&after).unwrap();
    assert!(!again.created && again.state.node_count() == first.state.node_count());
    assert_eq!(again.state.digest(), first.state.digest());
}

#[test]
fn javas_log_over_javas_empty_snapshot_ends_in_the_digest_that_java_computed() {
    let disk = disk_with(&[(0, JAVA_EMPTY)], &[(1, JAVA_LOG)]);
    let read = recovered(&disk).unwrap();
    assert_eq!((read.last_logged, read.snapshot_zxid), (Zxid(0xe), Zxid(0)));
    assert_eq!(read.state.last_zxid(), Zxid(0xe));
    assert_eq!(read.state.digest(), java_digest());
    assert_eq!(read.mismatches, 0);
    let held = StorageSettings { hold_back: 5, ..settings() };
    let read = recover(&mut disk.clone(), &held).unwrap();
    assert_eq!((read.tail.len(), read.state.last_zxid()), (5, Zxid(9)));
    assert_eq!(read.tail.first().map(|e| e.header.zxid), Some(Zxid(0xa)));
}

#[test]
fn javas_closing_sessions_without_their_paths_take_what_the_session_owns() {
    let disk = disk_with(&[(0, JAVA_EMPTY)], &[(1, JAVA_PATHLESS_LOG)]);
    let read = recovered(&disk).unwrap();
    assert_eq!((read.last_logged, read.mismatches), (Zxid(8), 0));
    assert_eq!(
        ["/e", "/f", "/after"].map(|path| read.state.find(path).is_some()),
        [false, false, true]
    );
}

#[test]
fn snapshots_of_every_release_are_loaded_and_keep_their_digest() {
    let read = recovered(&disk_with(&[(0xe, JAVA_SNAPSHOT)], &[(1, JAVA_LOG)])).unwrap();
    assert_eq!((read.state.digest(), read.last_logged), (java_digest(), Zxid(0xe)));
    assert_eq!((read.mismatches, read.tail.len(), read.replay_until), (0, 0, Zxid(0xe)));
    let read = recovered(&disk_with(&[(0xe, OLDER_SNAPSHOT)], &[(1, OLDER_LOG)])).unwrap();
    assert_eq!((read.mismatches, read.state.last_zxid()), (0, Zxid(0xe)));
    assert!(read.state.find("/auth").is_some() && read.state.find("/eph").is_none());
}

#[test]
fn a_zxid_that_leaves_no_room_for_another_is_refused() {
    let disk = disk_with(&[(i64::MAX, JAVA_EMPTY)], &[]);
    let Err(Fatal::LogDamaged(text)) = recovered(&disk) else { panic!("not refused") };
    assert!(text.contains("0x7fffffffffffffff"), "{text}");
}

#[test]
fn a_broken_snapshot_gives_way_to_an_older_one() {
    let mut broken = JAVA_SNAPSHOT.to_vec();
    broken[300] ^= 1;
    let cut = &JAVA_SNAPSHOT[..200];
    for bad in [&broken[..], cut, b""] {
        let disk = disk_with(&[(0, JAVA_EMPTY), (0xe, bad)], &[(1, JAVA_LOG)]);
        let read = recovered(&disk).unwrap();
        assert_eq!((read.snapshot_zxid, read.state.digest()), (Zxid(0), java_digest()));
    }
    let alone = disk_with(&[(0xe, &broken)], &[(1, JAVA_LOG)]);
    let Err(Fatal::LogDamaged(text)) = recovered(&alone) else { panic!("nothing to load") };
    assert!(text.starts_with("Not able to find valid snapshots in /data/version-2"), "{text}");
}

#[test]
fn logs_without_a_snapshot_are_refused_unless_the_operator_trusts_them() {
    let disk = disk_with(&[], &[(1, JAVA_LOG)]);
    let Err(Fatal::LogDamaged(text)) = recovered(&disk) else { panic!("not refused") };
    assert!(text.contains("No snapshot found, but there are log entries"), "{text}");
    let trusting = StorageSettings { trust_empty_snapshot: true, ..settings() };
    let read = recover(&mut disk.clone(), &trusting).unwrap();
    assert!(read.wants_snapshot && read.state.digest() == java_digest());
}

#[test]
fn an_empty_directory_of_a_server_that_had_data_is_not_trusted() {
    let careful = StorageSettings { autocreate_db: false, is_alone: false, ..settings() };
    let mut disk = MemDisk::default();
    let read = recover(&mut disk, &careful).unwrap();
    assert!(read.is_lost && !read.created && disk.names().is_empty());
    disk.put(&dirs().log_parent.join("initialize"), b"");
    let read = recover(&mut disk, &careful).unwrap();
    assert!(!read.is_lost && read.created);
    assert!(!disk.names().contains(&"initialize".to_owned()));
}

#[test]
fn epoch_files_are_read_and_default_to_the_last_zxids_epoch() {
    let disk = disk_with(&[(0, JAVA_EMPTY)], &[]);
    let batch = [entry(Zxid::new(4, 1), 10)];
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
    writer.execute(&append(1, &batch, false), &mut Vec::new()).unwrap();
    writer.close().unwrap();
    let read = recovered(&disk).unwrap();
    assert_eq!((read.accepted_epoch, read.current_epoch), (4, 4));
    disk.put(&dirs().snapshots.join("acceptedEpoch"), b"7");
    assert_eq!(recovered(&disk).unwrap().accepted_epoch, 7);
    disk.put(&dirs().snapshots.join("currentEpoch"), b"");
    assert!(matches!(recovered(&disk), Err(Fatal::DataDir(_))));
}

#[test]
fn our_snapshot_with_a_log_behind_it_is_exact_and_its_digest_holds() {
    let java = recovered(&disk_with(&[(0, JAVA_EMPTY)], &[(1, JAVA_LOG)])).unwrap();
    let bytes = image(java.state);
    let read = recovered(&disk_with(&[(0xe, &bytes)], &[(1, JAVA_LOG)])).unwrap();
    assert_eq!((read.state.digest(), read.mismatches), (java_digest(), 0));
    assert_eq!(read.replay_until, Zxid(0xe), "nothing behind it is replayed");
    assert_eq!(bytes.len(), JAVA_SNAPSHOT.len());
    assert_eq!(DIGEST_VERSION, 2);
}

#[test]
fn a_snapshot_of_another_digest_is_loaded_and_the_difference_counted() {
    let java = recovered(&disk_with(&[(0, JAVA_EMPTY)], &[(1, JAVA_LOG)])).unwrap();
    let digest = java.state.digest() ^ 1;
    let end = Zxid(0xe);
    let bytes = image_saying(java.state, Some((end, digest)), Some(end));
    let read = recovered(&disk_with(&[(0xe, &bytes)], &[(1, JAVA_LOG)])).unwrap();
    assert_eq!((read.last_logged, read.mismatches), (end, 1));
}

/// Three records in `log.1`, closed in order or left by a kill some time after each was synced,
/// with one byte of the first one's turned.
fn marked_log_with_a_broken_beginning(turned: usize, is_closed: bool) -> MemDisk {
    let mut disk = disk_with(&[(0, JAVA_EMPTY)], &[]);
    disk.clock_step_ns = 600_000_000;
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
    for zxid in 1..=3 {
        let batch = [entry(Zxid(zxid), 10)];
        writer.execute(&append(zxid as u64, &batch, false), &mut Vec::new()).unwrap();
        writer.sync().unwrap();
    }
    if is_closed {
        writer.close().unwrap();
    }
    let path = dirs().log(Zxid(1));
    let mut bytes = disk.content(&path).unwrap();
    bytes[turned] ^= 1;
    disk.put(&path, &bytes);
    disk
}

#[test]
fn a_synced_log_whose_first_record_is_damaged_is_refused_and_not_removed() {
    let all = [16 + 12 + 3, 16 + 5, 16 + 11].map(|turned| [(turned, true), (turned, false)]);
    for (turned, is_closed) in all.into_iter().flatten() {
        let disk = marked_log_with_a_broken_beginning(turned, is_closed);
        let before = disk.content(&dirs().log(Zxid(1)));
        assert!(matches!(recovered(&disk), Err(Fatal::LogDamaged(_))), "byte {turned}");
        assert_eq!(disk.content(&dirs().log(Zxid(1))), before, "byte {turned}");
    }
}

fn image(state: State) -> Vec<u8> {
    let (zxid, digest) = (state.last_zxid(), state.digest());
    image_saying(state, Some((zxid, digest)), Some(zxid))
}

fn image_saying(
    mut state: State,
    digest: Option<(Zxid, u64)>,
    last_processed: Option<Zxid>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut bytes);
    let body = bytes.len();
    state.snapshot_begin();
    while !state.snapshot_step(3, &mut bytes) {}
    writer.cover(&bytes[body..]);
    writer.finish(&SnapshotTrailers { digest, last_processed }, &mut bytes);
    bytes
}

fn create(path: &str, parent_cversion: i32) -> Txn {
    let (path, kind) = (path.to_owned(), CreateKind::Create);
    Txn::Create(CreateTxn {
        path,
        data: None,
        acl: vec![Acl::open()],
        kind,
        ephemeral: false,
        parent_cversion,
        ttl: 0,
    })
}

/// The txn as zxid `zxid` with the digest of the tree behind it.
fn applied(state: &mut State, zxid: i64, txn: Txn) -> Entry {
    let header = entry(Zxid(zxid), 0).header;
    state.apply(&header, &txn, Mode::Exact, &mut Applied::default());
    let digest = Some(TxnDigest { version: DIGEST_VERSION, tree: state.digest() });
    Entry { header, txn, digest }
}

/// Java's trailer names txn 1 while its walk met the first half of txn 2 already.
#[test]
fn a_snapshot_that_holds_a_part_of_the_txn_behind_its_digest_is_no_mismatch() {
    let fresh = || State::new(&settings().state);
    let mut whole = fresh();
    let first = applied(&mut whole, 1, create("/a", 1));
    let digest = Some((Zxid(1), whole.digest()));
    let data = Txn::SetData { path: "/a".into(), data: Some(b"x".to_vec()), version: 1 };
    let parts = vec![create("/b", 2), data];
    let entries = [
        first.clone(),
        applied(&mut whole, 2, Txn::Multi(parts)),
        applied(&mut whole, 3, create("/c", 3)),
    ];
    let mut half = fresh();
    applied(&mut half, 1, first.txn.clone());
    applied(&mut half, 2, create("/b", 2));
    let fuzzy = image_saying(half, digest, None);
    let mut other = fresh();
    applied(&mut other, 1, create("/other", 1));
    let wrong = image_saying(other, digest, None);
    let read = |image: &[u8], count: usize, hold_back: usize| {
        let disk = disk_with(&[(1, image)], &[]);
        let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
        writer.execute(&append(1, &entries[..count], false), &mut Vec::new()).unwrap();
        writer.close().unwrap();
        recover(&mut disk.clone(), &StorageSettings { hold_back, ..settings() }).unwrap()
    };
    let good = read(&fuzzy, 3, 0);
    assert_eq!((good.mismatches, good.state.digest()), (0, whole.digest()));
    assert_eq!(read(&fuzzy, 3, 2).mismatches, 0, "what is held back will tell");
    assert_eq!(read(&fuzzy, 1, 0).mismatches, 1, "no txn explains it");
    assert_eq!(read(&wrong, 3, 0).mismatches, 3, "the next txn does not make it good");
}

#[test]
fn a_directory_that_another_server_uses_is_refused_by_name() {
    let dir = TempDir::new();
    let settings = StorageSettings::new(&dir.0);
    let mut first = RealDisk::new();
    recover(&mut first, &settings).unwrap();
    let Err(Fatal::Locked(text)) = recover(&mut RealDisk::new(), &settings) else {
        panic!("not refused")
    };
    assert!(text.contains(&dir.0.join("version-2").display().to_string()), "{text}");
    drop(first);
    recover(&mut RealDisk::new(), &settings).unwrap();
}

#[test]
fn swapped_and_missing_directories_are_refused() {
    let dir = TempDir::new();
    let separate =
        StorageSettings { log_dir: dir.0.join("log"), ..StorageSettings::new(dir.0.join("data")) };
    let manual = StorageSettings { autocreate_dirs: false, ..separate.clone() };
    let refused = |s: &StorageSettings| match recover(&mut RealDisk::new(), s) {
        Err(Fatal::DataDir(text)) => text,
        _ => panic!("not refused"),
    };
    assert!(refused(&manual).starts_with("Missing data directory"));
    assert!(recover(&mut RealDisk::new(), &separate).unwrap().created);
    let dirs = Dirs::new(&separate);
    std::fs::write(dirs.snapshots.join("log.1"), b"").unwrap();
    assert!(refused(&separate).starts_with("Snapshot directory has log files"));
    std::fs::write(dirs.logs.join("snapshot.1"), b"").unwrap();
    assert!(refused(&separate).starts_with("Log directory has snapshot files"));
}
