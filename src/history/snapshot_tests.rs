//! Both halves of the snapshot format against each other and against Java's bytes.

use proptest::prelude::*;

use crate::base::Zxid;
use crate::proto::{Acl, Perms, Writer};

use super::*;

/// An owned copy of what a stream holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Vec<Acl>)>,
    nodes: Vec<(Vec<u8>, Option<Vec<u8>>, i64)>,
    trailers: SnapshotTrailers,
}

impl Content {
    fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i32(self.sessions.len() as i32);
        for (id, timeout) in &self.sessions {
            out.put_i64(*id);
            out.put_i32(*timeout);
        }
        out.put_i32(self.acls.len() as i32);
        for (id, list) in &self.acls {
            out.put_i64(*id);
            Acl::write_list(list, &mut out);
        }
        for (path, data, number) in &self.nodes {
            out.put_buffer(Some(path));
            out.put_buffer(data.as_deref());
            (0..5).for_each(|i| out.put_i64(number + i));
            (5..8).for_each(|i| out.put_i32(*number as i32 + i));
            (8..10).for_each(|i| out.put_i64(number + i));
        }
        out.put_string("/");
        out
    }

    fn file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = SnapshotWriter::begin(&mut out);
        let body = self.body();
        for piece in body.chunks(7) {
            writer.cover(piece);
            out.extend_from_slice(piece);
        }
        writer.finish(&self.trailers, &mut out);
        out
    }
}

fn read(
    mut reader: SnapshotReader,
    bytes: &[u8],
    step: usize,
) -> Result<(Content, usize), SnapshotError> {
    let mut content = Content::default();
    let mut chunks = bytes.chunks(step);
    let mut intact = true;
    loop {
        match reader.next_item()? {
            SnapshotItem::Session { id, timeout_ms } => content.sessions.push((id.0, timeout_ms)),
            SnapshotItem::Acl { id, list } => content.acls.push((id, list)),
            SnapshotItem::Node(n) => {
                let stat = n.stat;
                let longs =
                    [stat.czxid.0, stat.mzxid.0, stat.ctime, stat.mtime].into_iter().zip(1..);
                let ints = [stat.version, stat.cversion, stat.aversion].into_iter().zip(5..);
                intact &= longs.into_iter().all(|(v, i)| v == n.acl.wrapping_add(i))
                    && ints.into_iter().all(|(v, i)| v == (n.acl as i32).wrapping_add(i))
                    && (stat.owner, stat.pzxid.0) == (n.acl.wrapping_add(8), n.acl.wrapping_add(9));
                content.nodes.push((n.path.as_bytes().to_vec(), n.data.map(<[u8]>::to_vec), n.acl));
            }
            SnapshotItem::End(trailers) => {
                content.trailers = trailers;
                assert!(intact, "every field in its place");
                return Ok((content, reader.rest().len()));
            }
            SnapshotItem::More => match chunks.next() {
                Some(chunk) => reader.feed(chunk),
                None => reader.end_input(),
            },
        }
    }
}

fn contents() -> impl Strategy<Value = Content> {
    let acl = (any::<i32>(), "[a-z]{0,5}", "[a-z:]{0,9}")
        .prop_map(|(p, scheme, id)| Acl::new(Perms(p), &scheme, &id));
    let path = "(/[a-zé]{1,5}){0,4}".prop_map(String::into_bytes);
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let digest = prop::option::of((any::<i64>().prop_map(Zxid), any::<u64>()));
    let last = prop::option::of(any::<i64>().prop_map(Zxid));
    (
        prop::collection::vec((any::<i64>(), any::<i32>()), 0..5),
        prop::collection::vec((any::<i64>(), prop::collection::vec(acl, 0..3)), 0..4),
        prop::collection::vec((path, data, 0i64..1_000_000), 0..8),
        (digest, last)
            .prop_map(|(digest, last_processed)| SnapshotTrailers { digest, last_processed }),
    )
        .prop_map(|(sessions, acls, nodes, trailers)| Content {
            sessions,
            acls,
            nodes,
            trailers,
        })
}

proptest! {
    #[test]
    fn what_was_written_is_read_back_however_it_is_cut(content in contents(), step in 1usize..90) {
        let (file, rest) = read(SnapshotReader::file(), &content.file(), step).unwrap();
        prop_assert_eq!((&file, rest), (&content, 0));
        let mut body = content.body();
        body.extend_from_slice(b"behind");
        let (stream, _) = read(SnapshotReader::stream(), &body, step).unwrap();
        prop_assert_eq!(stream.nodes, content.nodes);
        let (_, rest) = read(SnapshotReader::stream(), &body, body.len()).unwrap();
        prop_assert_eq!(rest, 6);
    }

    #[test]
    fn a_changed_or_lost_byte_is_told(content in contents(), at in any::<prop::sample::Index>()) {
        let file = content.file();
        let at = at.index(file.len());
        // The rest of the header, and the slash of a seal, are not looked at, as in Java.
        let mut changed = file.clone();
        changed[at] ^= 0x40;
        if let Ok((read, _)) = read(SnapshotReader::file(), &changed, 64) {
            let trailers = file.len() - content.body().len() - 16;
            prop_assert!(at + trailers >= file.len(), "byte {at} of {}", file.len());
            prop_assert_eq!(&read.nodes, &content.nodes);
        }
        let body_end = 16 + content.body().len() + 13;
        if at < body_end {
            prop_assert!(read(SnapshotReader::file(), &file[..at], 64).is_err());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        step in 1usize..50,
    ) {
        let _ = read_any(SnapshotReader::file(), &bytes, step);
        let _ = read_any(SnapshotReader::stream(), &bytes, step);
        let mut headed = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec();
        headed.extend_from_slice(&bytes);
        let _ = read_any(SnapshotReader::file(), &headed, step);
    }
}

fn read_any(mut reader: SnapshotReader, bytes: &[u8], step: usize) -> Result<(), SnapshotError> {
    let mut chunks = bytes.chunks(step);
    loop {
        match reader.next_item()? {
            SnapshotItem::End(_) => return Ok(()),
            SnapshotItem::More => match chunks.next() {
                Some(chunk) => reader.feed(chunk),
                None => reader.end_input(),
            },
            _ => {}
        }
    }
}
