//! Reading the log and snapshots for others, against naive models and Apache's own files.

use bytes::Bytes;
use proptest::prelude::*;

use crate::base::{ConnId, Zxid, limits};
use crate::history::{
    ChoreCommand, Compression, LOG_HEADER, LOG_HEADER_BYTES, LogPlace, SnapshotItem,
    SnapshotReader, StorageEvent, append_framed, append_record,
};
use crate::proto::Entry;
use crate::zab::Continuity;

use super::edge_tests::snapshot_bytes;
use super::mem_disk::MemDisk;
use super::member_tests::{Log, put_snapshot, settings, z, zs};
use super::tests::entry;
use super::*;

const JAVA_LOG: &[u8] = include_bytes!("../history/golden/3.9.5-log.1");
const JAVA_SNAPSHOTS: [(Compression, &[u8]); 4] = [
    (Compression::None, include_bytes!("../history/golden/3.6.3-snapshot.e")),
    (Compression::None, include_bytes!("../history/golden/3.9.5-snapshot.e")),
    (Compression::Gzip, include_bytes!("../history/golden/3.9.5-snapshot.e.gz")),
    (Compression::Snappy, include_bytes!("../history/golden/3.9.5-snapshot.e.snappy")),
];

fn dirs() -> Dirs {
    Dirs::new(&settings())
}

fn reader(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

/// A chore thread that answers at once.
struct Chore {
    chores: Chores<MemDisk>,
    slices: usize,
}

impl Chore {
    fn over(disk: &MemDisk) -> Chore {
        Chore { chores: Chores::new(disk.clone(), &settings()), slices: 0 }
    }

    fn ask(&mut self, command: &ChoreCommand) -> StorageEvent {
        let mut events = Vec::new();
        self.chores.execute(command, &mut events);
        self.slices = 1;
        while self.chores.is_busy() {
            self.chores.go_on(&mut events);
            self.slices += 1;
        }
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn probe(&mut self, zxid: Zxid) -> LogPlace {
        match self.ask(&ChoreCommand::ProbeLog { reader: reader(1), zxid }) {
            StorageEvent::LogProbed { place, .. } => place,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, after: Zxid, bytes: usize) -> (Vec<(Zxid, Bytes)>, bool) {
        match self.ask(&ChoreCommand::ReadLog { reader: reader(1), after, bytes }) {
            StorageEvent::LogRead { records, is_end, .. } => (records, is_end),
            other => panic!("{other:?}"),
        }
    }

    /// From there to the end, piece by piece.
    fn read_all(&mut self, mut after: Zxid, bytes: usize) -> Vec<(Zxid, Bytes)> {
        let mut all = Vec::new();
        loop {
            let (records, is_end) = self.read(after, bytes);
            assert!(is_end || !records.is_empty());
            after = records.last().map_or(after, |(zxid, _)| *zxid);
            all.extend(records);
            if is_end {
                return all;
            }
        }
    }

    fn image(&mut self, zxid: Zxid, bytes: usize) -> Result<Vec<u8>, String> {
        let mut image = Vec::new();
        loop {
            let (reader, offset) = (reader(2), image.len() as u64);
            let ask = ChoreCommand::ReadSnapshot { reader, zxid, offset, bytes };
            match self.ask(&ask) {
                StorageEvent::SnapshotRead { bytes: piece, is_last, .. } => {
                    assert!(piece.len() <= bytes && (is_last || piece.len() == bytes));
                    image.extend_from_slice(&piece);
                    if is_last {
                        return Ok(image);
                    }
                }
                StorageEvent::ReadFailed { reason, .. } => return Err(reason),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn encoded(zxid: Zxid, size: usize) -> Bytes {
    let mut framed = Vec::new();
    let entry = entry(zxid, size);
    append_record(&mut framed, &entry.header, &entry.txn, entry.digest);
    Bytes::copy_from_slice(&framed[12..framed.len() - 1])
}

/// A log file as Java leaves it, zeros at its end.
fn put_log(disk: &MemDisk, records: &[(Zxid, usize)]) {
    let mut bytes = LOG_HEADER.to_vec();
    records.iter().for_each(|(zxid, size)| append_framed(&mut bytes, &encoded(*zxid, *size)));
    bytes.resize(bytes.len() + 700, 0);
    disk.put(&dirs().log(records[0].0), &bytes);
}

#[test]
fn javas_log_is_read_record_by_record() {
    let disk = MemDisk::default();
    disk.put(&dirs().log(Zxid(1)), JAVA_LOG);
    let mut chore = Chore::over(&disk);
    for bytes in [1, 300, 100_000] {
        let records = chore.read_all(Zxid::ZERO, bytes);
        let mut framed = LOG_HEADER.to_vec();
        for (zxid, record) in &records {
            assert_eq!(Entry::read(record).unwrap().header.zxid, *zxid);
            append_framed(&mut framed, record);
        }
        assert_eq!(records.len(), 14);
        assert_eq!(framed, JAVA_LOG[..framed.len()]);
        assert!(
            framed.len() > LOG_HEADER_BYTES && JAVA_LOG[framed.len()..].iter().all(|b| *b == 0)
        );
    }
    assert_eq!(chore.read_all(Zxid(9), 100_000).len(), 5);
    let place = chore.probe(Zxid(9));
    assert_eq!((place.at_or_before, place.after), (Some(Zxid(9)), Some(Zxid(10))));
}

#[test]
fn an_image_is_what_lies_between_header_and_seal_in_every_form() {
    for (form, file) in JAVA_SNAPSHOTS {
        let disk = MemDisk::default();
        disk.put(&dirs().snapshot(Zxid(0xe), form), file);
        for bytes in [1, 7, 100, 1 << 20] {
            let image = Chore::over(&disk).image(Zxid(0xe), bytes).unwrap();
            let mut stream = SnapshotReader::stream();
            stream.feed(&image);
            let mut nodes = 0;
            while let item = stream.next_item().unwrap()
                && !matches!(item, SnapshotItem::End(_))
            {
                assert!(item != SnapshotItem::More);
                nodes += usize::from(matches!(item, SnapshotItem::Node(_)));
            }
            assert!(stream.rest().is_empty() && nodes > 5, "{form:?}");
            if form == Compression::None {
                assert_eq!(image, file[16..16 + image.len()]);
            }
        }
    }
}

#[test]
fn a_damaged_image_is_never_told_to_be_whole() {
    let (_, file) = JAVA_SNAPSHOTS[1];
    let body = Chore::over(&with_image(file)).image(Zxid(0xe), 1 << 20).unwrap().len();
    for at in (0..16 + body + 8).step_by(3) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x10;
        assert!(Chore::over(&with_image(&damaged)).image(Zxid(0xe), 50).is_err(), "byte {at}");
        assert!(Chore::over(&with_image(&file[..at])).image(Zxid(0xe), 50).is_err(), "cut {at}");
    }
    let missing = Chore::over(&with_image(file)).image(Zxid(0xf), 50);
    assert_eq!(missing, Err("there is no snapshot of zxid 0xf".to_owned()));
}

fn with_image(file: &[u8]) -> MemDisk {
    let disk = MemDisk::default();
    disk.put(&dirs().snapshot(Zxid(0xe), Compression::None), file);
    disk
}

#[test]
fn what_is_opened_stays_readable_and_a_place_that_is_lost_is_found_again() {
    let mut disk = with_image(JAVA_SNAPSHOTS[1].1);
    let whole = Chore::over(&disk).image(Zxid(0xe), 1 << 20).unwrap();
    let mut chore = Chore::over(&disk);
    let ask = |offset: usize| ChoreCommand::ReadSnapshot {
        reader: reader(5),
        zxid: Zxid(0xe),
        offset: offset as u64,
        bytes: 100,
    };
    let mut piece = |offset: usize| match chore.ask(&ask(offset)) {
        StorageEvent::SnapshotRead { bytes, .. } => Ok(bytes),
        StorageEvent::ReadFailed { reason, .. } => Err(reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(piece(0).unwrap(), whole[..100]);
    assert_eq!(piece(300).unwrap(), whole[300..400], "what lies between is passed");
    assert_eq!(piece(200).unwrap(), whole[200..300], "and gone back for");
    disk.remove(&dirs().snapshot(Zxid(0xe), Compression::None)).unwrap();
    assert_eq!(piece(300).unwrap(), whole[300..400]);
    assert!(piece(0).is_err());

    let mut log = Log::fresh();
    log.append(&zs(4, 1, 50), false).unwrap();
    log.append(&zs(4, 51, 60), true).unwrap();
    let mut chore = Chore::over(&log.disk);
    let (first, _) = chore.read(Zxid::ZERO, 1000);
    log.disk.remove(&dirs().log(z(4, 1))).unwrap();
    let rest = chore.read_all(first[first.len() - 1].0, 1000);
    assert_eq!(first.len() + rest.len(), 60);
}

#[test]
fn a_log_is_read_while_it_is_written() {
    let mut log = Log::fresh();
    let mut chore = Chore::over(&log.disk);
    let (mut after, mut counter) = (Zxid::ZERO, 0);
    for step in 0..60 {
        log.append(&zs(4, counter + 1, counter + step % 7), step % 10 == 0).unwrap();
        counter += step % 7;
        let records = chore.read_all(after, 350);
        let zxids: Vec<Zxid> = records.iter().map(|(zxid, _)| *zxid).collect();
        assert_eq!(zxids, zs(4, after.counter() + 1, counter), "step {step}");
        after = zxids.last().copied().unwrap_or(after);
        if counter > 0 {
            assert_eq!(chore.probe(after).at_or_before, Some(after));
        }
    }
}

/// A record that is not whole yet is where the log ends.
#[test]
fn what_is_being_written_is_not_read() {
    let disk = MemDisk::default();
    put_log(&disk, &[(z(4, 1), 100), (z(4, 2), 100)]);
    let whole = disk.content(&dirs().log(z(4, 1))).unwrap();
    let second = LOG_HEADER_BYTES + (whole.len() - 700 - LOG_HEADER_BYTES) / 2;
    for at in second..whole.len() - 700 {
        let mut partly = whole[..at].to_vec();
        partly.resize(whole.len(), 0);
        disk.put(&dirs().log(z(4, 1)), &partly);
        let mut chore = Chore::over(&disk);
        let (records, is_end) = chore.read(Zxid::ZERO, 10_000);
        assert!(records.len() == 1 && is_end, "{at}");
        assert_eq!(chore.probe(z(4, 1)).after, None, "{at}");
        let mut writer = disk.clone();
        let file = writer.open(&dirs().log(z(4, 1)), OpenMode::Write).unwrap();
        writer.write_at(file, 0, &whole).unwrap();
        let (records, is_end) = chore.read(z(4, 1), 10_000);
        assert!(records.len() == 1 && is_end, "{at}");
        assert_eq!(chore.probe(z(4, 1)).after, Some(z(4, 2)), "{at}");
    }
}

#[test]
fn a_cut_that_the_log_thread_makes_is_seen() {
    let mut log = Log::fresh();
    log.append(&zs(4, 1, 20), false).unwrap();
    let mut chore = Chore::over(&log.disk);
    assert_eq!(chore.probe(z(4, 15)).after, Some(z(4, 16)));
    log.truncate(z(4, 10)).unwrap();
    assert_eq!(chore.probe(z(4, 15)).at_or_before, Some(z(4, 10)));
    log.append(&zs(5, 1, 3), false).unwrap();
    assert_eq!(chore.probe(z(4, 15)).after, Some(z(5, 1)));
    log.truncate(z(4, 10)).unwrap();
    log.append(&zs(6, 1, 3), false).unwrap();
    assert_eq!(chore.probe(z(4, 15)).after, Some(z(6, 1)));
}

#[test]
fn much_log_is_read_in_slices_once() {
    let disk = MemDisk::default();
    for file in 0..4 {
        let records = (1..=40).map(|i| (z(4, file * 40 + i), 100_000));
        put_log(&disk, &records.collect::<Vec<_>>());
    }
    put_snapshot(&disk, Zxid::ZERO);
    let mut chore = Chore::over(&disk);
    let place = chore.probe(z(4, 2));
    assert!(chore.slices >= 15, "{}", chore.slices);
    assert_eq!(place.after, Some(z(4, 3)));
    let each = 100_000..100_300;
    assert!(each.contains(&(place.bytes_behind / 120)), "{place:?}");
    chore.probe(z(4, 2));
    assert_eq!(chore.slices, 1, "it is known by then");
    let (records, _) = chore.read(z(4, 159), 1);
    assert_eq!((records[0].0, chore.slices), (z(4, 160), 1), "and so is the way there");
    let mut unknowing = Chore::over(&disk);
    unknowing.read(z(4, 159), 1);
    assert!(unknowing.slices > 2);
}

#[test]
fn those_who_read_take_turns_and_are_bounded() {
    let disk = MemDisk::default();
    let records: Vec<_> = (1..=60).map(|i| (z(4, i), 100_000)).collect();
    put_log(&disk, &records);
    put_snapshot(&disk, Zxid::ZERO);
    let mut chores = Chores::new(disk.clone(), &settings());
    let mut events = Vec::new();
    let ask = |index| ChoreCommand::ReadLog { reader: reader(index), after: z(4, 59), bytes: 1 };
    chores.execute(&ask(1), &mut events);
    chores.execute(&ask(2), &mut events);
    chores.execute(&ChoreCommand::CloseReader { reader: reader(1) }, &mut events);
    while chores.is_busy() {
        chores.go_on(&mut events);
    }
    assert!(matches!(events[..], [StorageEvent::LogRead { reader: r, .. }] if r == reader(2)));
    let zxid = Zxid::ZERO;
    let image =
        |index| ChoreCommand::ReadSnapshot { reader: reader(index), zxid, offset: 0, bytes: 1 };
    let mut answers = Vec::new();
    for index in 0..limits::READERS as u32 + 1 {
        let mut chore = Chore { chores, slices: 0 };
        answers.push(chore.ask(&image(100 + index)));
        chores = chore.chores;
    }
    let failed = |event: &&StorageEvent| matches!(event, StorageEvent::ReadFailed { .. });
    assert_eq!(answers.iter().filter(failed).count(), 1, "who only reads the log has made room");
    assert!(failed(&answers.last().unwrap()));
}

/// The whole history at once: all records, and the snapshots that no record has.
fn naive_known(records: &[Zxid], snapshots: &[Zxid]) -> Vec<Zxid> {
    let mut points: Vec<(Zxid, bool)> = Vec::new();
    for zxid in records {
        if points.last().is_none_or(|(last, _)| last < zxid) {
            points.push((*zxid, true));
        }
    }
    let zxids: Vec<Zxid> = points.iter().map(|(zxid, _)| *zxid).collect();
    points.extend(snapshots.iter().filter(|at| !zxids.contains(at)).map(|at| (*at, false)));
    points.sort();
    let mut known: Vec<Zxid> = Vec::new();
    for (zxid, is_record) in points {
        let follows = known
            .last()
            .is_some_and(|last| is_record && Continuity::of(*last, zxid) == Continuity::Next);
        if !follows {
            known.clear();
        }
        known.push(zxid);
    }
    known
}

/// Files of a history with epochs that begin, numbers that are left out and txns that are there
/// twice, and snapshots anywhere.
fn files() -> impl Strategy<Value = Vec<Vec<Zxid>>> {
    let step = prop_oneof![20 => Just(0), 2 => Just(1), 1 => Just(2), 1 => Just(3), 3 => Just(4)];
    prop::collection::vec(step, 1..40).prop_map(|steps| {
        let (mut at, mut files) = (z(3, 5), vec![vec![z(3, 5)]]);
        for step in steps {
            match step {
                1 => at = z(at.epoch() + 1, 1),
                2 => at = Zxid(at.0 + 3),
                // The new file has the last one's end once more.
                3 => {
                    let last = files.last().unwrap();
                    let again =
                        last[last.len().saturating_sub(2).max(1).min(last.len() - 1)..].to_vec();
                    if again[0] > last[0] {
                        files.push(again);
                    }
                    continue;
                }
                4 => {
                    at = at.next();
                    files.push(vec![at]);
                    continue;
                }
                _ => at = at.next(),
            }
            files.last_mut().unwrap().push(at);
        }
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_probe_tells_what_a_look_at_everything_tells(
        files in files(),
        snapshots in prop::collection::btree_set((3u32..6, 0u32..25), 0..3),
        asked in prop::collection::vec((2u32..7, 0u32..40), 1..8),
    ) {
        let disk = MemDisk::default();
        for file in &files {
            put_log(&disk, &file.iter().map(|zxid| (*zxid, 30)).collect::<Vec<_>>());
        }
        let snapshots: Vec<Zxid> = snapshots.into_iter().map(|(e, c)| z(e, c)).collect();
        snapshots.iter().for_each(|at| put_snapshot(&disk, *at));
        let known = naive_known(&files.concat(), &snapshots);
        let mut chore = Chore::over(&disk);
        for (epoch, counter) in asked {
            let zxid = z(epoch, counter);
            let place = chore.probe(zxid);
            let at_or_before = known.iter().copied().filter(|at| *at <= zxid).max();
            prop_assert_eq!(place.at_or_before, at_or_before, "{:?}", zxid);
            if at_or_before.is_some() {
                let after = known.iter().copied().filter(|at| *at > zxid).min();
                prop_assert_eq!(place.after, after);
            }
        }
    }

    #[test]
    fn what_is_read_is_what_lies_behind(
        files in files(),
        after in (2u32..7, 0u32..30),
        bytes in 1usize..2000,
        is_probed in any::<bool>(),
    ) {
        let disk = MemDisk::default();
        for file in &files {
            put_log(&disk, &file.iter().map(|zxid| (*zxid, 30)).collect::<Vec<_>>());
        }
        let after = z(after.0, after.1);
        let mut expected: Vec<Zxid> = files.concat();
        expected.retain(|zxid| *zxid > after);
        expected.sort();
        expected.dedup();
        let mut chore = Chore::over(&disk);
        if is_probed {
            chore.probe(after);
        }
        let records = chore.read_all(after, bytes);
        prop_assert!(records.iter().all(|(zxid, record)| *record == encoded(*zxid, 30)));
        let zxids: Vec<Zxid> = records.into_iter().map(|(zxid, _)| zxid).collect();
        prop_assert_eq!(zxids, expected);
    }

    #[test]
    fn an_image_of_ours_is_the_body_of_the_file(bytes in 1usize..400, packed in any::<bool>()) {
        let form = if packed { Compression::Gzip } else { Compression::None };
        let file = snapshot_bytes(&settings(), z(4, 3));
        let mut packed = Vec::new();
        let mut compressor = crate::history::Compressor::new(form);
        compressor.push(&file, &mut packed);
        compressor.finish(&mut packed);
        let disk = MemDisk::default();
        disk.put(&dirs().snapshot(z(4, 3), form), &packed);
        let image = Chore::over(&disk).image(z(4, 3), bytes).unwrap();
        prop_assert_eq!(&image[..], &file[16..16 + image.len()]);
        prop_assert!(image.ends_with(b"\0\0\0\x01/") && file.len() - image.len() < 100);
    }
}
