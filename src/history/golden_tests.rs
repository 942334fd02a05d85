//! Files that Apache ZooKeeper wrote, read here and written again byte for byte.
//!
//! All were made by the same session of commands: creates of each kind, an ACL set, a delete, a
//! session closed, then a restart, which takes the snapshot.

use crate::base::Zxid;
use crate::proto::{Acl, Entry, PathList, Txn, Writer};

use super::*;

const LOGS: [(&str, &[u8]); 2] = [
    ("3.8.0", include_bytes!("golden/3.8.0-log.1")),
    ("3.9.5", include_bytes!("golden/3.9.5-log.1")),
];

const SNAPSHOTS: [(&str, Compression, &[u8]); 5] = [
    ("3.6.3", Compression::None, include_bytes!("golden/3.6.3-snapshot.e")),
    ("3.8.0", Compression::None, include_bytes!("golden/3.8.0-snapshot.e")),
    ("3.9.5", Compression::None, include_bytes!("golden/3.9.5-snapshot.e")),
    ("3.9.5 gz", Compression::Gzip, include_bytes!("golden/3.9.5-snapshot.e.gz")),
    ("3.9.5 snappy", Compression::Snappy, include_bytes!("golden/3.9.5-snapshot.e.snappy")),
];

#[test]
fn every_record_of_javas_logs_is_read_and_written_the_same() {
    for (version, log) in LOGS {
        assert!(is_log_header(log) && log[..LOG_HEADER_BYTES] == LOG_HEADER, "{version}");
        let mut at = LOG_HEADER_BYTES;
        let mut kinds = Vec::new();
        while let Frame::Record { entry, bytes, .. } = frame(&log[at..]) {
            let read = Entry::read(entry).unwrap();
            let mut again = Vec::new();
            append_record(&mut again, &read.header, &read.txn, read.digest);
            assert_eq!(again, log[at..at + bytes], "{version} {read:?}");
            kinds.push(read.txn.kind());
            at += bytes;
        }
        assert_eq!(frame(&log[at..]), Frame::Padding, "{version}");
        assert_eq!(kinds, [-10, 1, 1, 1, 1, 19, 21, 5, 7, 1, 2, 1, 5, -11], "{version}");
    }
}

#[test]
fn a_java_log_says_what_was_done() {
    let mut at = LOG_HEADER_BYTES;
    let mut last = None;
    while let Frame::Record { entry, bytes, .. } = frame(&LOGS[1].1[at..]) {
        last = Some(Entry::read(entry).unwrap());
        at += bytes;
    }
    let last = last.unwrap();
    assert_eq!(last.header.zxid, Zxid(0xe));
    assert_eq!(last.txn, Txn::CloseSession { paths: Some(PathList::from_iter(["/eph"]).into()) });
}

#[test]
fn javas_snapshots_are_read_in_every_form() {
    for (version, form, file) in SNAPSHOTS {
        assert!(is_valid_opening(form, file), "{version}");
        assert!(is_valid_ending(form, file.len() as u64, &file[file.len() - 5..]), "{version}");
        let mut plain = Vec::new();
        let mut decompressor = Decompressor::new(form);
        file.chunks(100).for_each(|chunk| decompressor.push(chunk, &mut plain).unwrap());
        decompressor.finish(&mut plain).unwrap();
        let (paths, trailers) = rewritten(version, &plain);
        let expected = [
            "",
            "/a",
            "/a/seq-0000000001",
            "/acl",
            "/auth",
            "/cont",
            "/ttl",
            "/zookeeper",
            "/zookeeper/config",
            "/zookeeper/quota",
        ];
        assert_eq!(paths, expected, "{version}");
        let digest = trailers.digest.map(|(zxid, _)| zxid);
        assert_eq!(digest, Some(Zxid(0xe)), "{version}");
        let last = version.starts_with("3.9").then_some(Zxid(0xe));
        assert_eq!(trailers.last_processed, last, "{version}");
    }
}

#[test]
fn an_empty_trees_snapshot_ends_as_javas_does() {
    let file = include_bytes!("golden/3.9.5-snapshot.0");
    let (paths, trailers) = rewritten("3.9.5 empty", file);
    assert_eq!(paths.len(), 4);
    let untouched = SnapshotTrailers { digest: Some((Zxid(0), 0)), last_processed: Some(Zxid(0)) };
    assert_eq!(trailers, untouched);
}

/// Reads a plain snapshot, writes it again and compares: its sorted paths and its trailers.
fn rewritten(version: &str, plain: &[u8]) -> (Vec<String>, SnapshotTrailers) {
    let mut reader = SnapshotReader::file();
    reader.feed(plain);
    reader.end_input();
    let (mut sessions, mut acls, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut session_count, mut acl_count) = (0, 0);
    let mut paths = Vec::new();
    let trailers = loop {
        match reader.next_item().unwrap() {
            SnapshotItem::Session { id, timeout_ms } => {
                session_count += 1;
                sessions.put_i64(id.0);
                sessions.put_i32(timeout_ms);
            }
            SnapshotItem::Acl { id, list } => {
                acl_count += 1;
                acls.put_i64(id);
                Acl::write_list(&list, &mut acls);
            }
            SnapshotItem::Node(node) => {
                nodes.put_string(&node.path);
                nodes.put_buffer(node.data);
                nodes.put_i64(node.acl);
                node.stat.write(&mut nodes);
                paths.push(node.path.into_owned());
            }
            SnapshotItem::End(trailers) => break trailers,
            SnapshotItem::More => panic!("all of it was fed"),
        }
    };
    let mut out = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut out);
    let mut body = Vec::new();
    body.put_i32(session_count);
    body.put_slice(&sessions);
    body.put_i32(acl_count);
    body.put_slice(&acls);
    body.put_slice(&nodes);
    body.put_string("/");
    writer.cover(&body);
    out.put_slice(&body);
    writer.finish(&trailers, &mut out);
    assert_eq!(out, plain, "{version}");
    paths.sort();
    (paths, trailers)
}
