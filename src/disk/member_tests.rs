//! What a member's roles ask of the log thread, and what the next start makes of it.

use std::path::PathBuf;
use std::sync::mpsc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::base::{ConnId, Fatal, Ticket, Zxid};
use crate::history::{
    ChoreCommand, Compression, EpochFile, StorageCommand, StorageEvent, parse_snapshot_name,
};
use crate::proto::Entry;

use super::edge_tests::snapshot_bytes;
use super::log_recovery::replay_logs;
use super::mem_disk::{Chance, MemDisk};
use super::tests::{TempDir, append, entry};
use super::*;

pub(super) fn settings() -> StorageSettings {
    StorageSettings {
        is_alone: false,
        preallocate_bytes: 8192,
        unsynced_bytes: 64 * 1024,
        hold_back: usize::MAX,
        ..StorageSettings::new("/data")
    }
}

fn dirs() -> Dirs {
    Dirs::new(&settings())
}

pub(super) fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

pub(super) fn zs(epoch: u32, from: u32, to: u32) -> Vec<Zxid> {
    (from..=to).map(|counter| z(epoch, counter)).collect()
}

pub(super) fn put_snapshot(disk: &MemDisk, zxid: Zxid) {
    let path = dirs().snapshot(zxid, Compression::None);
    disk.put(&path, &snapshot_bytes(&settings(), zxid));
}

/// A log thread that is told one thing at a time.
pub(super) struct Log {
    pub disk: MemDisk,
    pub writer: LogWriter<MemDisk>,
    ticket: u64,
}

impl Log {
    /// Over an empty directory that was made ready.
    pub fn fresh() -> Log {
        let disk = MemDisk::default();
        recover(&mut disk.clone(), &settings()).unwrap();
        disk.put(&dirs().snapshots.join("acceptedEpoch"), b"9");
        Log::over(disk, Zxid::ZERO)
    }

    pub fn over(disk: MemDisk, last: Zxid) -> Log {
        let writer = LogWriter::new(disk.clone(), &settings(), last);
        Log { disk, writer, ticket: 0 }
    }

    pub fn next_ticket(&mut self) -> Ticket {
        self.ticket += 1;
        Ticket(self.ticket)
    }

    pub fn execute(&mut self, command: StorageCommand) -> Result<Vec<StorageEvent>, Fatal> {
        let mut events = Vec::new();
        self.writer.execute(&command, &mut events)?;
        Ok(events)
    }

    pub fn append(&mut self, zxids: &[Zxid], roll: bool) -> Result<(), Fatal> {
        if zxids.is_empty() {
            return Ok(());
        }
        let batch: Vec<Entry> = zxids.iter().map(|zxid| entry(*zxid, 100)).collect();
        let ticket = self.next_ticket().0;
        self.execute(append(ticket, &batch, roll))?;
        self.writer.sync().map(|_| ())
    }

    pub fn install(&mut self, zxid: Zxid) -> Result<(), Fatal> {
        let mut chores = Chores::new(self.disk.clone(), &settings());
        let mut events = Vec::new();
        chores.execute(&ChoreCommand::SnapshotBegin { zxid }, &mut events);
        let bytes = Bytes::from(snapshot_bytes(&settings(), zxid));
        chores.execute(&ChoreCommand::SnapshotChunk { bytes }, &mut events);
        chores.execute(&ChoreCommand::SnapshotEnd, &mut events);
        if events.last() != Some(&StorageEvent::SnapshotWritten { zxid }) {
            return Err(Fatal::SyncFailed("no image".into()));
        }
        let ticket = self.next_ticket();
        self.execute(StorageCommand::InstallSnapshot { ticket, zxid }).map(|_| ())
    }

    pub fn cut_above(&mut self, zxid: Zxid, sent: &[Zxid]) -> Result<Zxid, Fatal> {
        let (ticket, sent) = (self.next_ticket(), sent.to_vec());
        let events = self.execute(StorageCommand::CutAbove { ticket, zxid, sent })?;
        let [StorageEvent::CutAt { ticket: told, kept }] = events[..] else { panic!("{events:?}") };
        assert_eq!(told, ticket);
        Ok(kept)
    }

    /// Whether it was done.
    pub fn truncate(&mut self, zxid: Zxid) -> Result<bool, Fatal> {
        let ticket = self.next_ticket();
        let events = self.execute(StorageCommand::Truncate { ticket, zxid })?;
        let refused = [StorageEvent::TruncateRefused { ticket, zxid }];
        assert!(events.is_empty() || events == refused);
        Ok(events.is_empty())
    }

    pub fn write_epoch(&mut self, file: EpochFile, epoch: i64) -> Result<(), Fatal> {
        let ticket = self.next_ticket();
        self.execute(StorageCommand::WriteEpoch { ticket, file, epoch }).map(|_| ())
    }
}

fn found(disk: &MemDisk) -> Recovered {
    recover(&mut disk.copy(), &settings()).unwrap()
}

/// What the next start reads behind the snapshot that it chooses.
pub(super) fn logged(disk: &MemDisk) -> Vec<Zxid> {
    let mut disk = disk.copy();
    let base = recover(&mut disk, &settings()).unwrap().snapshot_zxid;
    let mut zxids = Vec::new();
    replay_logs(&mut disk, &dirs(), 64 * 1024, base, &mut |entry| {
        zxids.push(entry.header.zxid);
        Ok(())
    })
    .unwrap();
    zxids
}

fn names(disk: &MemDisk) -> Vec<String> {
    let is_data = |name: &String| name.starts_with("log.") || name.starts_with("snapshot.");
    disk.names().into_iter().filter(is_data).collect()
}

#[test]
fn what_lies_above_an_image_goes_but_for_what_was_sent_again() {
    let cases = [
        (vec![], zs(4, 1, 5), z(4, 5)),
        (zs(4, 6, 7), zs(4, 1, 7), z(4, 7)),
        (zs(4, 6, 12), zs(4, 1, 9), z(4, 9)),
        (zs(5, 1, 2), zs(4, 1, 5), z(4, 5)),
        ([zs(4, 6, 6), zs(5, 1, 1)].concat(), zs(4, 1, 6), z(4, 6)),
    ];
    for (sent, stays, kept) in cases {
        let mut log = Log::fresh();
        log.append(&zs(4, 1, 4), false).unwrap();
        log.append(&zs(4, 5, 6), true).unwrap();
        log.append(&zs(4, 7, 9), true).unwrap();
        put_snapshot(&log.disk, z(4, 8));
        log.install(z(4, 5)).unwrap();
        assert_eq!(log.cut_above(z(4, 5), &sent).unwrap(), kept);
        let above: Vec<Zxid> = stays.into_iter().filter(|zxid| *zxid > z(4, 5)).collect();
        assert_eq!(logged(&log.disk), above);
        // It goes on with the very zxid that was cut.
        log.append(&[kept.next()], false).unwrap();
        assert_eq!(logged(&log.disk), [above, vec![kept.next()]].concat());
        let read = found(&log.disk);
        assert_eq!((read.snapshot_zxid, read.last_logged), (z(4, 5), kept.next()));
    }
}

#[test]
fn behind_an_image_ahead_of_the_log_there_is_a_hole_that_recovery_passes() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.install(z(4, 30)).unwrap();
    log.append(&zs(4, 31, 33), false).unwrap();
    let expected = ["log.400000001", "log.40000001f", "snapshot.0", "snapshot.40000001e"];
    assert_eq!(names(&log.disk), expected, "a file of its own");
    let read = found(&log.disk);
    assert_eq!((read.snapshot_zxid, logged(&log.disk)), (z(4, 30), zs(4, 31, 33)));
    // What lies before the hole is of no use, in whatever state it is.
    let path = dirs().log(z(4, 1));
    let mut bytes = log.disk.content(&path).unwrap();
    bytes[40] ^= 1;
    log.disk.put(&path, &bytes);
    assert_eq!(logged(&log.disk), zs(4, 31, 33));
}

#[test]
fn a_truncation_below_a_hole_takes_the_image_and_what_lies_behind_it() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.install(z(4, 30)).unwrap();
    log.append(&zs(4, 31, 40), false).unwrap();
    assert!(!log.truncate(z(4, 20)).unwrap(), "nobody has it");
    assert!(log.truncate(z(4, 35)).unwrap());
    assert_eq!(logged(&log.disk), zs(4, 31, 35));
    assert!(log.truncate(z(4, 7)).unwrap());
    assert_eq!(names(&log.disk), ["log.400000001", "snapshot.0"]);
    assert_eq!(logged(&log.disk), zs(4, 1, 7));
    log.append(&zs(4, 8, 8), false).unwrap();
    assert_eq!(logged(&log.disk), zs(4, 1, 8));
}

#[test]
fn a_truncation_over_an_image_that_is_broken_is_refused() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.install(z(4, 30)).unwrap();
    log.append(&zs(4, 31, 40), false).unwrap();
    let path = dirs().snapshot(z(4, 30), Compression::None);
    let mut bytes = log.disk.content(&path).unwrap();
    bytes[20] ^= 1;
    log.disk.put(&path, &bytes);
    let before = names(&log.disk);
    assert!(!log.truncate(z(4, 35)).unwrap());
    assert_eq!(names(&log.disk), before);
    // The next start says so itself, whatever it still finds.
    let read = found(&log.disk);
    assert!(read.is_lost && read.last_logged == z(4, 40));
    let alone = StorageSettings { is_alone: true, ..settings() };
    assert!(!recover(&mut log.disk.copy(), &alone).unwrap().is_lost);
    assert!(log.truncate(z(4, 7)).unwrap(), "below the hole all is there");
    assert!(!found(&log.disk).is_lost);
}

#[test]
fn an_image_that_broke_before_anything_was_logged_behind_it_is_a_loss() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.install(z(4, 30)).unwrap();
    let path = dirs().snapshot(z(4, 30), Compression::None);
    let whole = log.disk.content(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[20] ^= 1;
    log.disk.put(&path, &bytes);
    let read = found(&log.disk);
    assert!(read.is_lost && read.last_logged == z(4, 9) && read.on_disk == z(4, 30));
    // One that was never whole is what Java leaves when it is killed: nobody relied on it.
    log.disk.put(&path, &whole[..whole.len() - 3]);
    assert!(!found(&log.disk).is_lost);
}

#[test]
fn the_beginning_of_an_epoch_is_cut_to_behind_the_txn_before_it() {
    for (target, ends) in [(z(5, 0), z(4, 9)), (z(6, 0), z(5, 3)), (z(4, 0), Zxid::ZERO)] {
        let mut log = Log::fresh();
        log.append(&zs(4, 1, 9), false).unwrap();
        log.append(&zs(5, 1, 3), true).unwrap();
        log.append(&zs(7, 1, 3), false).unwrap();
        put_snapshot(&log.disk, z(7, 2));
        assert!(log.truncate(target).unwrap());
        assert_eq!(found(&log.disk).last_logged, ends);
        log.append(&zs(8, 1, 1), false).unwrap();
        assert_eq!(found(&log.disk).last_logged, z(8, 1));
    }
}

/// The same txns may come again, to the same place in a file of the same name: then the mark would
/// know them to be synced.
#[test]
fn a_mark_is_gone_before_what_it_speaks_of_is_cut() {
    let mut log = Log::fresh();
    log.disk.clock_step_ns = 600_000_000;
    log.writer = LogWriter::new(log.disk.clone(), &settings(), Zxid::ZERO);
    log.append(&zs(4, 1, 1), true).unwrap();
    let batch: Vec<Entry> = zs(4, 2, 20).iter().map(|at| entry(*at, 1000)).collect();
    let ticket = log.next_ticket().0;
    log.execute(append(ticket, &batch, true)).unwrap();
    log.writer.sync().unwrap();
    assert!(log.disk.content(&dirs().mark()).is_some());
    log.truncate(z(4, 1)).unwrap();
    let ticket = log.next_ticket().0;
    log.execute(append(ticket, &batch, true)).unwrap();
    for seed in 0..1000 {
        let mut disk = log.disk.after_power_cut(&mut Chance(seed));
        let found = recover(&mut disk, &settings());
        let found = found.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(found.last_logged >= z(4, 1));
    }
}

#[test]
fn what_java_has_twice_is_cut_in_both_files() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 10), false).unwrap();
    let mut other = Log::over(MemDisk::default(), z(4, 7));
    other.append(&zs(4, 8, 12), false).unwrap();
    let again = other.disk.content(&dirs().log(z(4, 8))).unwrap();
    log.disk.put(&dirs().log(z(4, 8)), &again);
    let mut log = Log::over(log.disk, z(4, 12));
    assert!(log.truncate(z(4, 9)).unwrap());
    assert_eq!(logged(&log.disk), zs(4, 1, 9));
}

#[test]
fn a_disk_that_is_marked_says_so_until_it_is_cleared() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.write_epoch(EpochFile::Accepted, 4).unwrap();
    let ticket = log.next_ticket();
    log.execute(StorageCommand::MarkLost { ticket }).unwrap();
    for image in log.disk.images() {
        let read = found(&image);
        assert!(read.is_lost);
        assert_eq!((logged(&image), read.on_disk), (zs(4, 1, 9), z(4, 9)), "what there is");
    }
    // Not even damage keeps it from starting now.
    let damaged = log.disk.copy();
    let path = dirs().snapshot(Zxid::ZERO, Compression::None);
    let mut bytes = damaged.content(&path).unwrap();
    bytes[20] ^= 1;
    damaged.put(&path, &bytes);
    let read = found(&damaged);
    assert!(read.is_lost && read.last_logged == Zxid::ZERO && read.on_disk == z(4, 1));
    assert_eq!(read.accepted_epoch, 4, "what it promised");
    let ticket = log.next_ticket();
    log.execute(StorageCommand::ClearLost { ticket }).unwrap();
    for image in log.disk.images() {
        assert!(!found(&image).is_lost);
    }
    let ticket = log.next_ticket();
    log.execute(StorageCommand::ClearLost { ticket }).unwrap();
}

#[test]
fn a_loss_is_cleared_behind_what_was_handed_over_before() {
    let mut log = Log::fresh();
    let ticket = log.next_ticket();
    log.execute(StorageCommand::MarkLost { ticket }).unwrap();
    let batch: Vec<Entry> = zs(4, 1, 3).iter().map(|zxid| entry(*zxid, 100)).collect();
    let ticket = log.next_ticket().0;
    log.execute(append(ticket, &batch, false)).unwrap();
    let ticket = log.next_ticket();
    log.execute(StorageCommand::ClearLost { ticket }).unwrap();
    for image in log.disk.images() {
        assert_eq!(logged(&image), zs(4, 1, 3));
    }
}

#[test]
fn an_epoch_without_a_history_is_a_loss_unless_the_operator_begins_anew() {
    let disk = MemDisk::default();
    disk.put(&dirs().snapshots.join("acceptedEpoch"), b"5");
    disk.put(&dirs().snapshots.join("currentEpoch"), b"5");
    let read = found(&disk);
    assert!(read.is_lost && !read.created);
    assert_eq!((read.accepted_epoch, read.current_epoch), (5, 5));
    disk.put(&dirs().log_parent.join("initialize"), b"");
    assert!(!found(&disk).is_lost);
}

#[test]
fn files_are_replaced_whole_and_in_order() {
    let mut log = Log::fresh();
    let path = |name: &str| PathBuf::from("/etc/zk").join(name);
    let file = |name: &str, bytes: Option<&'static str>| {
        (path(name).display().to_string(), bytes.map(|text| Bytes::from_static(text.as_bytes())))
    };
    log.disk.put(&path("zoo.cfg"), b"old");
    log.disk.put(&path("next"), b"next");
    let files = vec![
        file("zoo.cfg.dynamic.5", Some("members")),
        file("zoo.cfg", Some("new")),
        file("next", None),
        file("was never there", None),
    ];
    for calls in 0.. {
        let mut log = Log::over(log.disk.copy(), Zxid::ZERO);
        log.disk.fail_after(calls, std::io::ErrorKind::Other);
        let (ticket, files) = (log.next_ticket(), files.clone());
        log.execute(StorageCommand::ReplaceFiles { ticket, files }).unwrap();
        let mut is_done = false;
        for image in log.disk.images() {
            let content = |name: &str| image.content(&path(name));
            let text = content("zoo.cfg").expect("one of them is there");
            assert!(text == b"old" || text == b"new");
            let has_members = content("zoo.cfg.dynamic.5") == Some(b"members".to_vec());
            assert!(has_members || text == b"old", "what it names is there");
            assert!(content("next").is_some() || text == b"new");
            is_done = content("next").is_none();
        }
        if is_done && log.disk.images().len() == 1 {
            break;
        }
    }
    let (ticket, files) = (log.next_ticket(), vec![file("..", Some("no name"))]);
    log.execute(StorageCommand::ReplaceFiles { ticket, files }).unwrap();
}

#[test]
fn a_history_is_recovered_once_more_beside_the_threads() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 9), false).unwrap();
    log.append(&zs(5, 1, 3), true).unwrap();
    let mut chores = Chores::new(log.disk.clone(), &settings());
    chores.make_spare();
    let before = log.disk.names();
    let contents = |disk: &MemDisk| {
        let paths = disk.names().into_iter().map(|name| dirs().logs.join(name));
        paths.map(|path| disk.content(&path)).collect::<Vec<_>>()
    };
    let bytes = contents(&log.disk);
    let mut events = Vec::new();
    chores.execute(&ChoreCommand::Rebuild, &mut events);
    let rebuilt = chores.take_rebuilt().unwrap();
    let tail: Vec<Zxid> = rebuilt.tail.iter().map(|entry| entry.header.zxid).collect();
    assert_eq!((tail, rebuilt.behind.txns), (zs(5, 1, 3), 12));
    assert!(chores.take_rebuilt().is_none() && events.is_empty());
    assert_eq!((log.disk.names(), contents(&log.disk)), (before, bytes), "nothing is touched");
    // The writer goes on in its file.
    log.append(&zs(5, 4, 4), false).unwrap();
    log.truncate(z(4, 5)).unwrap();
    chores.execute(&ChoreCommand::Rebuild, &mut events);
    assert_eq!(chores.take_rebuilt().unwrap().last_logged, z(4, 5));
    let path = dirs().snapshot(Zxid::ZERO, Compression::None);
    let mut bytes = log.disk.content(&path).unwrap();
    bytes[20] ^= 1;
    log.disk.put(&path, &bytes);
    chores.execute(&ChoreCommand::Rebuild, &mut events);
    assert!(matches!(events[..], [StorageEvent::Failed(Fatal::LogDamaged(_))]), "{events:?}");
}

#[test]
fn the_threads_hand_a_rebuilt_history_over() {
    let dir = TempDir::new();
    let settings = StorageSettings { hold_back: 100, ..StorageSettings::new(&dir.0) };
    let mut disk = RealDisk::new();
    recover(&mut disk, &settings).unwrap();
    let (wake, woken) = mpsc::channel();
    let wake = move || wake.send(()).unwrap_or_default();
    let threads = StorageThreads::start(disk, &settings, Zxid::ZERO, wake).unwrap();
    let batch: Vec<Entry> = zs(1, 1, 50).iter().map(|zxid| entry(*zxid, 500)).collect();
    threads.send(append(1, &batch, false));
    let mut events = Vec::new();
    while events.is_empty() {
        woken.recv().unwrap();
        threads.poll_events(&mut events);
    }
    // Neither is lost where both are done before anybody asks.
    threads.send_chore(ChoreCommand::Rebuild);
    threads.send_chore(ChoreCommand::Rebuild);
    woken.recv().unwrap();
    woken.recv().unwrap();
    let rebuilt = threads.poll_rebuilt();
    assert_eq!(rebuilt.len(), 2);
    assert!(rebuilt.iter().all(|rebuilt| rebuilt.tail == batch));
    assert!(threads.poll_rebuilt().is_empty());
    threads.finish();
}

#[test]
fn the_threads_read_for_others_while_they_write() {
    let dir = TempDir::new();
    let settings = StorageSettings { preallocate_bytes: 1 << 16, ..StorageSettings::new(&dir.0) };
    let mut disk = RealDisk::new();
    recover(&mut disk, &settings).unwrap();
    let (wake, woken) = mpsc::channel();
    let wake = move || wake.send(()).unwrap_or_default();
    let threads = StorageThreads::start(disk, &settings, Zxid::ZERO, wake).unwrap();
    let (reader, bytes) = (ConnId { index: 1, generation: 1 }, 20_000);
    let ask = |after| threads.send_chore(ChoreCommand::ReadLog { reader, after, bytes });
    let (mut read, mut sent) = (Vec::new(), 0);
    ask(Zxid::ZERO);
    while read.len() < 2000 {
        if sent < 400 {
            sent += 1;
            let batch: Vec<Entry> =
                zs(1, sent * 5 - 4, sent * 5).iter().map(|at| entry(*at, 300)).collect();
            threads.send(append(u64::from(sent), &batch, sent % 90 == 0));
        }
        woken.recv().unwrap();
        let mut events = Vec::new();
        threads.poll_events(&mut events);
        for event in events {
            if let StorageEvent::LogRead { records, .. } = event {
                read.extend(records.into_iter().map(|(_, bytes)| Entry::read(&bytes).unwrap()));
                ask(read.last().map_or(Zxid::ZERO, |entry: &Entry| entry.header.zxid));
            }
        }
    }
    let expected: Vec<Entry> = zs(1, 1, 2000).iter().map(|at| entry(*at, 300)).collect();
    assert!(read == expected);
    threads.finish();
}

/// What the learner's own tests take the disk for.
fn naive_cut(log: &[Zxid], zxid: Zxid, sent: &[Zxid]) -> (Vec<Zxid>, Zxid) {
    let (below, above): (Vec<Zxid>, Vec<Zxid>) = log.iter().partition(|at| **at <= zxid);
    let both = above.into_iter().zip(sent.iter().copied());
    let shared: Vec<Zxid> = both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let kept = shared.last().copied().unwrap_or(zxid);
    (below.into_iter().chain(shared).collect(), kept)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_cut_leaves_what_the_learner_expects(
        files in prop::collection::vec(1u32..5, 1..6),
        snapshots in prop::collection::btree_set(1u32..25, 0..4),
        image in 1u32..25,
        shared in 0u32..25,
        more in 0u32..3,
    ) {
        let mut log = Log::fresh();
        let mut next = 1;
        for count in files {
            log.append(&zs(4, next, next + count - 1), true).unwrap();
            next += count;
        }
        let history = zs(4, 1, next - 1);
        snapshots.iter().filter(|at| **at < next).for_each(|at| put_snapshot(&log.disk, z(4, *at)));
        let image = image.min(next - 1);
        let mut sent = zs(4, image + 1, shared.max(image));
        sent.extend(zs(6, 1, more));
        log.install(z(4, image)).unwrap();
        let (stays, kept) = naive_cut(&history, z(4, image), &sent);
        prop_assert_eq!(log.cut_above(z(4, image), &sent).unwrap(), kept);
        let read = found(&log.disk);
        let above: Vec<Zxid> = stays.into_iter().filter(|at| *at > z(4, image)).collect();
        prop_assert_eq!((logged(&log.disk), read.snapshot_zxid), (above.clone(), z(4, image)));
        let left = log.disk.names();
        let mut left = left.iter().filter_map(|name| Some(parse_snapshot_name(name)?.0));
        prop_assert!(left.all(|at| at <= z(4, image)));
        let rest: Vec<Zxid> = sent.into_iter().filter(|at| *at > kept).collect();
        log.append(&rest, false).unwrap();
        let whole = [above, rest].concat();
        prop_assert_eq!(logged(&log.disk), whole);
    }
}
