//! Images that cannot be read, between records whose numbers say nothing of what is missing.

use crate::base::Zxid;
use crate::history::Compression;

use super::mem_disk::MemDisk;
use super::member_tests::{Log, put_snapshot, settings, z, zs};
use super::{Dirs, recover};

/// An own snapshot at 2:5 and its log to 2:30, an image of a leader, and what was logged behind it.
fn over_an_image(image: Zxid, behind: &[Zxid]) -> Log {
    let mut log = Log::fresh();
    log.append(&zs(2, 1, 30), false).unwrap();
    put_snapshot(&log.disk, z(2, 5));
    log.install(image).unwrap();
    log.append(behind, false).unwrap();
    log
}

fn spoil(disk: &MemDisk, image: Zxid, change: impl Fn(&mut Vec<u8>)) {
    let path = Dirs::new(&settings()).snapshot(image, Compression::None);
    let mut bytes = disk.content(&path).unwrap();
    change(&mut bytes);
    disk.put(&path, &bytes);
}

fn cut_short(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() - 3);
}

fn is_lost(disk: &MemDisk) -> bool {
    let read = recover(&mut disk.copy(), &settings()).unwrap();
    assert_eq!(read.snapshot_zxid, z(2, 5));
    read.is_lost
}

/// 5:1 may come right behind 2:30; but nobody knows what the image of 5:0 had more than that.
#[test]
fn a_broken_image_of_an_epochs_beginning_is_a_hole_though_the_numbers_go_on() {
    for image in [z(5, 0), z(4, 0), z(2, 40)] {
        let mut log = over_an_image(image, &zs(5, 1, 9));
        assert!(!recover(&mut log.disk.copy(), &settings()).unwrap().is_lost);
        spoil(&log.disk, image, |bytes| bytes[20] ^= 1);
        assert!(is_lost(&log.disk), "{image:x}");
        assert!(!log.truncate(z(5, 7)).unwrap(), "{image:x}");
        assert!(log.truncate(z(2, 20)).unwrap() && !is_lost(&log.disk), "{image:x}");
    }
}

#[test]
fn an_image_that_lost_its_end_is_a_hole_where_the_log_does_not_go_on_without_it() {
    for cut in [cut_short, Vec::clear] {
        for (image, behind) in [(z(2, 40), zs(2, 41, 49)), (z(2, 40), zs(5, 1, 9))] {
            let mut log = over_an_image(image, &behind);
            spoil(&log.disk, image, cut);
            assert!(is_lost(&log.disk), "{image:x}");
            assert!(!log.truncate(behind[4]).unwrap(), "{image:x}");
        }
    }
}

/// Java gives a snapshot its name before it writes it, so one that was never finished lies there
/// after any kill, and the log goes on without it.
#[test]
fn a_snapshot_that_java_did_not_finish_is_no_hole() {
    for cut in [cut_short, Vec::clear] {
        for unfinished in [z(2, 20), z(2, 30), z(5, 0), z(5, 4), z(5, 9), z(5, 12)] {
            let mut log = Log::fresh();
            log.append(&zs(2, 1, 30), false).unwrap();
            log.append(&zs(5, 1, 9), false).unwrap();
            put_snapshot(&log.disk, z(2, 5));
            put_snapshot(&log.disk, unfinished);
            spoil(&log.disk, unfinished, cut);
            assert!(!is_lost(&log.disk), "{unfinished:x}");
            assert!(log.truncate(z(5, 7)).unwrap(), "{unfinished:x}");
        }
    }
}
