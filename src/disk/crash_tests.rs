//! Power cuts, kills and failing calls at every point of the log's life.

use std::io::ErrorKind;

use proptest::prelude::*;

use crate::base::{Fatal, Zxid};
use crate::history::{StorageEvent, log_name};
use crate::proto::Entry;

use super::log_recovery::replay_logs;
use super::mem_disk::{Chance, MemDisk};
use super::segment::{Place, SegmentReader};
use super::tests::{append, entry};
use super::*;

const BOUND: u64 = 64 * 1024;

fn settings() -> StorageSettings {
    StorageSettings {
        preallocate_bytes: 32 * 1024,
        unsynced_bytes: BOUND,
        ..StorageSettings::new("/data")
    }
}

fn replay(disk: &mut MemDisk) -> Result<(Option<Zxid>, Vec<Entry>), Fatal> {
    let mut entries = Vec::new();
    let dirs = Dirs::new(&settings());
    prepare::remove_drafts(disk, &dirs)?;
    let last = replay_logs(disk, &dirs, BOUND, Zxid(0), &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok((last, entries))
}

/// One life of a server: appends and syncs by chance until its steps are over or a call fails.
/// Returns the zxid up to which it has told that everything is durable.
fn live(
    disk: &MemDisk,
    chance: &mut Chance,
    last: Zxid,
    steps: u64,
    history: &mut Vec<Entry>,
) -> Zxid {
    let mut writer = LogWriter::new(disk.clone(), &settings(), last);
    let mut chores = Chores::new(disk.clone(), &settings());
    let (mut next, mut durable, mut ticket, mut unsynced) = (last.0 + 1, last, 0, 0);
    for _ in 0..steps {
        if chance.below(3) == 0 && writer.take_spare_request() {
            chores.make_spare();
        }
        let size = if chance.below(8) == 0 { 20_000 } else { 300 };
        let batch: Vec<Entry> =
            (0..=chance.below(4)).map(|i| entry(Zxid(next + i as i64), size)).collect();
        let bytes = batch.len() as u64 * (size as u64 + 100);
        let mut done = Ok(());
        if unsynced + bytes <= BOUND {
            unsynced += bytes;
            ticket += 1;
            next += batch.len() as i64;
            let command = append(ticket, &batch, chance.below(10) == 0);
            history.extend(batch);
            done = writer.execute(&command, &mut Vec::new());
        }
        if done.is_ok() && (unsynced + 80_000 > BOUND || chance.below(3) == 0) {
            done = writer.sync().map(|event| {
                assert!(matches!(event, StorageEvent::Durable { ticket: t, .. } if t.0 == ticket));
                (durable, unsynced) = (Zxid(next - 1), 0);
            });
        }
        if done.is_err() {
            break;
        }
    }
    durable
}

/// What came back must be what was written, from the start, with all that was said to be durable.
fn check(
    recovered: &[Entry],
    history: &[Entry],
    durable: Zxid,
    seed: u64,
) -> Result<(), TestCaseError> {
    prop_assert!(recovered.len() <= history.len(), "seed {seed}");
    prop_assert!(recovered == &history[..recovered.len()], "seed {seed}: not a prefix");
    let last = recovered.last().map_or(Zxid(0), |e| e.header.zxid);
    prop_assert!(last >= durable, "seed {seed}: {last:?} of {durable:?} came back");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_power_cuts_everything_durable_comes_back_and_nothing_else(seed in any::<u64>()) {
        let chance = &mut Chance(seed);
        let mut disk = MemDisk::default();
        let (mut history, mut durable) = (Vec::new(), Zxid(0));
        for _life in 0..4 {
            let steps = chance.below(30);
            durable = live(&disk, chance, durable.max(last_of(&history)), steps, &mut history);
            disk = disk.after_power_cut(chance);
            // A second cut in the middle of recovery changes nothing.
            if chance.below(2) == 0 {
                disk.fail_after(chance.below(6), ErrorKind::Other);
                let _ = replay(&mut disk.clone());
                disk = disk.after_power_cut(chance);
            }
            let (_, recovered) = replay(&mut disk).unwrap();
            check(&recovered, &history, durable, seed)?;
            let (_, again) = replay(&mut disk.after_power_cut(chance)).unwrap();
            prop_assert_eq!(&again, &recovered, "what was believed stays");
            history = recovered;
        }
    }

    #[test]
    fn after_a_failed_call_nothing_later_is_called_durable(
        seed in any::<u64>(),
        calls in 0u64..120,
        full in any::<bool>(),
    ) {
        let chance = &mut Chance(seed);
        let disk = MemDisk::default();
        let kind = if full { ErrorKind::StorageFull } else { ErrorKind::Other };
        disk.fail_after(calls, kind);
        let mut history = Vec::new();
        let durable = live(&disk, chance, Zxid(0), 60, &mut history);
        let cut = disk.after_power_cut(chance);
        let (_, recovered) = replay(&mut cut.clone()).unwrap();
        check(&recovered, &history, durable, seed)?;
        // The process ends, the machine goes on; a new one believes what it reads only once it
        // is true.
        let mut killed = unfailing(&disk);
        let (_, recovered) = replay(&mut killed).unwrap();
        check(&recovered, &history, durable, seed)?;
        let (_, again) = replay(&mut killed.after_power_cut(chance)).unwrap();
        prop_assert_eq!(again, recovered, "what was believed stays");
    }
}

fn unfailing(disk: &MemDisk) -> MemDisk {
    disk.fail_after(u64::MAX, ErrorKind::Other);
    disk.after_kill()
}

fn last_of(history: &[Entry]) -> Zxid {
    history.last().map_or(Zxid(0), |e| e.header.zxid)
}

/// A log of `count` txns of about 1 KiB, closed in good order.
fn closed_log(count: i64) -> (MemDisk, Vec<Entry>) {
    let disk = MemDisk::default();
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(0));
    let entries: Vec<Entry> = (1..=count).map(|z| entry(Zxid(z), 1000)).collect();
    for (i, one) in entries.iter().enumerate() {
        let command = append(i as u64 + 1, std::slice::from_ref(one), false);
        writer.execute(&command, &mut Vec::new()).unwrap();
        writer.sync().unwrap();
    }
    writer.close().unwrap();
    (disk, entries)
}

fn damage(disk: &MemDisk, name: Zxid, offset: usize) {
    let path = Dirs::new(&settings()).log(name);
    let mut bytes = disk.content(&path).unwrap();
    bytes[offset] ^= 0x20;
    disk.put(&path, &bytes);
}

#[test]
fn a_hole_below_the_side_mark_is_damage() {
    let (disk, _) = closed_log(30);
    damage(&disk, Zxid(1), 20_000);
    let Err(Fatal::LogDamaged(text)) = replay(&mut disk.clone()) else { panic!("not told") };
    assert!(text.contains("/data/version-2/log.1") && text.contains("zxid 0x"), "{text}");
}

#[test]
fn without_a_mark_a_hole_is_a_torn_tail_only_within_the_bound() {
    for (count, torn) in [(30, true), (200, false)] {
        let (mut disk, entries) = closed_log(count);
        disk.remove(&Dirs::new(&settings()).mark()).unwrap();
        damage(&disk, Zxid(1), 20_000);
        match replay(&mut disk) {
            Ok((last, kept)) => {
                assert!(torn && kept == entries[..kept.len()] && !kept.is_empty());
                let length = disk.content(&Dirs::new(&settings()).log(Zxid(1))).unwrap().len();
                assert!(length <= 20_000, "the tail is cut: {length}");
                assert_eq!(last, Some(last_of(&kept)));
            }
            Err(e) => assert!(!torn && matches!(e, Fatal::LogDamaged(_)), "{e}"),
        }
    }
}

#[test]
fn a_break_that_a_later_file_goes_on_past_is_damage() {
    let (mut disk, _) = closed_log(30);
    let dirs = Dirs::new(&settings());
    disk.remove(&dirs.mark()).unwrap();
    damage(&disk, Zxid(1), 20_000);
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(30));
    writer.execute(&append(1, &[entry(Zxid(31), 10)], false), &mut Vec::new()).unwrap();
    writer.close().unwrap();
    disk.remove(&dirs.mark()).unwrap();
    assert!(matches!(replay(&mut disk), Err(Fatal::LogDamaged(_))));
}

/// Where the records of log.1 lie.
fn places(disk: &MemDisk) -> Vec<Place> {
    let mut disk = disk.clone();
    let file = disk.open(&Dirs::new(&settings()).log(Zxid(1)), OpenMode::Read).unwrap();
    let mut reader = SegmentReader::new(&mut disk, file).unwrap();
    let mut places = Vec::new();
    while let Some((_, place)) = reader.next_record(&mut disk).unwrap() {
        places.push(place);
    }
    places
}

/// A file of so many txns that `change` has been made to, and one of a later epoch behind it: how
/// many of them are read.
fn before_a_later_epoch(count: i64, change: impl Fn(&mut Vec<u8>, &[Place])) -> Option<usize> {
    let (disk, entries) = closed_log(count);
    let dirs = Dirs::new(&settings());
    let mut bytes = disk.content(&dirs.log(Zxid(1))).unwrap();
    change(&mut bytes, &places(&disk));
    let disk = MemDisk::default();
    disk.put(&dirs.log(Zxid(1)), &bytes);
    let mut writer = LogWriter::new(disk.clone(), &settings(), Zxid(count));
    let later = entry(Zxid::new(5, 1), 10);
    writer.execute(&append(1, std::slice::from_ref(&later), false), &mut Vec::new()).unwrap();
    writer.close().unwrap();
    match replay(&mut disk.clone()) {
        Ok((_, mut read)) => {
            assert_eq!(read.pop(), Some(later));
            assert_eq!(read, entries[..read.len()]);
            Some(read.len())
        }
        Err(e) => {
            assert!(matches!(e, Fatal::LogDamaged(_)), "{e}");
            None
        }
    }
}

#[test]
fn a_hole_in_a_closed_file_is_damage_though_a_later_epoch_follows() {
    let turned = |bytes: &mut Vec<u8>, place: &Place| bytes[place.start as usize + 200] ^= 0x20;
    let no_end = |bytes: &mut Vec<u8>, place: &Place| bytes[place.end as usize - 1] = 0;
    // Java does not start over a wrong checksum, so it has not gone on behind one.
    assert_eq!(before_a_later_epoch(200, |bytes, at| turned(bytes, &at[9])), None);
    assert_eq!(before_a_later_epoch(30, |bytes, at| turned(bytes, &at[9])), None);
    assert_eq!(before_a_later_epoch(30, |bytes, at| turned(bytes, &at[29])), None);
    // It takes other breaks for the end, but what was synced far behind them was once read.
    assert_eq!(before_a_later_epoch(200, |bytes, at| no_end(bytes, &at[9])), None);
    let page = |bytes: &mut Vec<u8>, _: &[Place]| bytes[8192..12288].fill(0);
    assert_eq!(before_a_later_epoch(200, page), None);
}

#[test]
fn what_a_crash_of_java_leaves_before_a_later_epoch_is_passed_over() {
    let no_end = |bytes: &mut Vec<u8>, at: &[Place]| bytes[at[29].end as usize - 1] = 0;
    assert_eq!(before_a_later_epoch(30, no_end), Some(29));
    let half = |bytes: &mut Vec<u8>, at: &[Place]| bytes.truncate(at[29].start as usize + 300);
    assert_eq!(before_a_later_epoch(30, half), Some(29));
    let padded = |bytes: &mut Vec<u8>, at: &[Place]| bytes[at[29].start as usize + 300..].fill(0);
    assert_eq!(before_a_later_epoch(30, padded), Some(29));
    // Pages reach a disk in any order: within the bound, records may follow a hole.
    let page = |bytes: &mut Vec<u8>, _: &[Place]| bytes[8192..12288].fill(0);
    assert_eq!(before_a_later_epoch(30, page), Some(7));
}

/// What a client has put into a txn may look like the heads of a hundred thousand long records.
#[test]
fn no_value_makes_a_torn_tail_pass_for_damage() {
    let (disk, entries) = closed_log(3);
    let dirs = Dirs::new(&settings());
    let mut bytes = disk.content(&dirs.log(Zxid(1))).unwrap();
    let (torn, value) = (bytes.len(), 1 << 20);
    bytes.extend_from_slice(&[0, 0, 0, 0, 1, 2, 3, 4, 0, 0x10, 0, 32]);
    for left in (1..=value / 16).rev().map(|heads| heads * 16) {
        // Two heads lie in each other; each of their records would end at the last byte.
        let (outer, inner) = (left + 1 - 13, left + 1 - 13 - 4);
        let words = [0u32, 0, outer as u32, inner as u32];
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
    }
    bytes.extend_from_slice(b"B\0");
    let disk = MemDisk::default();
    disk.put(&dirs.log(Zxid(1)), &bytes);
    let mut read = Vec::new();
    let bound = 2 << 20;
    let last = replay_logs(&mut disk.clone(), &dirs, bound, Zxid(0), &mut |entry| {
        read.push(entry);
        Ok(())
    });
    assert_eq!((last, read), (Ok(Some(Zxid(3))), entries));
    assert_eq!(disk.content(&dirs.log(Zxid(1))).unwrap().len(), torn);
}

#[test]
fn a_tail_that_java_dropped_before_it_went_on_is_passed_over() {
    let (disk, entries) = closed_log(30);
    let dirs = Dirs::new(&settings());
    let mut bytes = disk.content(&dirs.log(Zxid(1))).unwrap();
    // The last record's end byte never reached the disk; Java gave 30 away again.
    *bytes.last_mut().unwrap() = 0;
    let other = MemDisk::default();
    other.put(&dirs.log(Zxid(1)), &bytes);
    let mut writer = LogWriter::new(other.clone(), &settings(), Zxid(29));
    let again = entry(Zxid(30), 10);
    writer.execute(&append(1, std::slice::from_ref(&again), false), &mut Vec::new()).unwrap();
    writer.close().unwrap();
    let (last, read) = replay(&mut other.clone()).unwrap();
    assert_eq!(last, Some(Zxid(30)));
    assert_eq!(read, [&entries[..29], &[again]].concat());
}

#[test]
fn empty_and_headerless_tail_files_are_removed() {
    let (mut disk, entries) = closed_log(3);
    let dirs = Dirs::new(&settings());
    for content in [&b""[..], b"ZKLG\0\0", &[0; 4096], b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0"] {
        disk.put(&dirs.log(Zxid(4)), content);
        assert_eq!(replay(&mut disk).unwrap(), (Some(Zxid(3)), entries.clone()));
        assert!(!disk.names().contains(&log_name(Zxid(4))));
    }
    disk.put(&dirs.log(Zxid(4)), b"something else entirely");
    assert!(matches!(replay(&mut disk), Err(Fatal::LogDamaged(_))));
}
