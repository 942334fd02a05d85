//! What a disk gives back: log records, snapshots, marks; and what the state does with them.

use std::mem::size_of;

use zkd::base::Zxid;
use zkd::history::{
    Compression, Decompressor, FRAME_HEAD_BYTES, Frame, SideMark, SnapshotItem, SnapshotReader,
    SnapshotTrailers, SnapshotWriter, append_framed, epoch_text, frame, frame_length,
    is_log_header, is_valid_ending, is_valid_opening, log_name, parse_epoch, parse_log_name,
    parse_snapshot_name, record_zxid, snapshot_name,
};
use zkd::proto::{Acl, CreateTxn, Entry, Txn};
use zkd::state::{Applied, Mode, State, StateLoader, StateSettings};

use crate::allocation::{REPAIRED_BYTES, bounded, fixed_cost, held};
use crate::encode::is_beyond_basic;
use crate::planted;

/// Records of a log, one after the other. An odd first byte gives each its right checksum first,
/// or mutations would end at it.
pub fn txn_log(data: &[u8]) {
    let Some((is_repaired, data)) = data.split_first() else { return };
    let mut log = data.to_vec();
    if is_repaired & 1 == 1 {
        repair(&mut log);
    }
    let mut rest = log.as_slice();
    let _ = is_log_header(rest);
    while let Frame::Record { entry, bytes, .. } = frame(rest) {
        let mut framed = Vec::new();
        append_framed(&mut framed, entry);
        assert_eq!(framed, rest[..bytes], "a record is framed as it was");
        let head = rest.first_chunk::<FRAME_HEAD_BYTES>().expect("a whole record");
        if entry.len() >= 32 {
            assert_eq!(frame_length(head, bytes as u64), Some(bytes), "a search finds it");
        }
        if let Some(entry) = read_entry(entry) {
            plant(&entry.txn);
        }
        rest = &rest[bytes..];
    }
    let _ = read_entry(data);
}

/// Puts the right checksum and end byte into every record that is long enough.
fn repair(log: &mut [u8]) {
    let mut at = 0;
    while let Some(head) = log.get(at..at + FRAME_HEAD_BYTES) {
        let length = u32::from_be_bytes(head[8..].try_into().expect("four bytes")) as usize;
        let (from, to) = (at + FRAME_HEAD_BYTES, at + FRAME_HEAD_BYTES + length);
        if length == 0 || to >= log.len() {
            return;
        }
        let mut framed = Vec::new();
        append_framed(&mut framed, &log[from..to]);
        log[at..=to].copy_from_slice(&framed);
        at = to + 1;
    }
}

fn read_entry(bytes: &[u8]) -> Option<Entry> {
    let entry = bounded(bytes.len(), items(bytes.len()), || Entry::read(bytes)).ok()?;
    assert_eq!(record_zxid(bytes), Some(entry.header.zxid));
    let again = come_back(&entry);
    assert!(again == entry || is_beyond_basic(bytes), "{entry:?} became {again:?}");
    assert_eq!(come_back(&again), again, "decoded, encoded, decoded");
    Some(entry)
}

fn come_back(entry: &Entry) -> Entry {
    let mut out = Vec::new();
    Entry::write(&entry.header, &entry.txn, entry.digest, &mut out);
    Entry::read(&out).expect("what was encoded decodes")
}

/// What the shortest items of lists cost above four times their bytes: a part of a multi takes
/// eight bytes of a log, an ACL entry twelve, a path four.
fn items(bytes: usize) -> usize {
    let entries = fixed_cost(bytes, size_of::<Acl>() + 2 * REPAIRED_BYTES, 12);
    let paths = fixed_cost(bytes, size_of::<String>() + REPAIRED_BYTES, 4);
    let parts = fixed_cost(bytes, size_of::<Txn>(), 8);
    parts + entries.max(paths)
}

/// The last field of an entry of a list, within a part of a multi too.
fn plant(txn: &Txn) {
    match txn {
        Txn::Multi(parts) => parts.iter().for_each(plant),
        Txn::Create(CreateTxn { acl, .. }) | Txn::SetAcl { acl, .. } => {
            acl.iter().for_each(|acl| planted(acl.id.as_bytes()));
        }
        _ => {}
    }
}

/// Txns of a log applied to a state: whatever decodes is applied, and the state stays sound. The
/// first byte says how faithful they are.
pub fn apply(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mode = if mode & 1 == 0 { Mode::Replay } else { Mode::Exact };
    let mut log = data.to_vec();
    repair(&mut log);
    let settings = StateSettings { extended_types: true, ..StateSettings::default() };
    let mut state = State::new(&settings);
    let mut applied = Applied::default();
    let mut rest = log.as_slice();
    while let Frame::Record { entry, bytes, .. } = frame(rest) {
        rest = &rest[bytes..];
        let Ok(entry) = Entry::read(entry) else { continue };
        if entry.header.zxid <= state.last_zxid() {
            continue;
        }
        state.apply(&entry.header, &entry.txn, mode, &mut applied);
        applied.clear();
        if let Txn::Create(CreateTxn { path, .. }) | Txn::SetAcl { path, .. } = &entry.txn
            && state.node_at(path).is_some()
        {
            plant(&entry.txn);
        }
    }
    state.check();
    image_comes_back(state, &settings);
}

/// The image of a state loads to a state with the same image.
fn image_comes_back(mut state: State, settings: &StateSettings) {
    let (zxid, digest) = (state.last_zxid(), state.digest());
    let file = image(&mut state);
    let mut loader = State::loader(settings);
    read_items(&file, usize::MAX, |item| add(&mut loader, item)).expect("our own image loads");
    let mut again = loader.finish(zxid);
    again.check();
    assert_eq!(again.digest(), digest, "an image carries the digest's nodes");
    assert_eq!(again.node_count(), state.node_count());
    assert!(image(&mut again).len() == file.len(), "the image of the image");
}

fn image(state: &mut State) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = SnapshotWriter::begin(&mut file);
    let mut body = Vec::new();
    state.snapshot_begin();
    while !state.snapshot_step(100, &mut body) {}
    writer.cover(&body);
    file.extend_from_slice(&body);
    let digest = Some((state.last_zxid(), state.digest()));
    writer.finish(&SnapshotTrailers { digest, last_processed: Some(state.last_zxid()) }, &mut file);
    file
}

/// A snapshot fed in pieces is the snapshot fed whole, and what loads of it is a sound state. An
/// odd first byte gives the bytes a right envelope first, or mutations would end at its seals.
pub fn snapshot(data: &[u8]) {
    let Some((is_sealed, data)) = data.split_first() else { return };
    let mut file = Vec::new();
    if is_sealed & 1 == 1 {
        let body = data.get(FILE_HEADER_BYTES..).unwrap_or_default();
        let mut writer = SnapshotWriter::begin(&mut file);
        writer.cover(body);
        file.extend_from_slice(body);
        writer.finish(&SnapshotTrailers::default(), &mut file);
    } else {
        file.extend_from_slice(data);
    }
    let mut seen = Vec::new();
    let settings = StateSettings::default();
    let mut loader = State::loader(&settings);
    let mut is_loaded = true;
    let whole = read_items(&file, usize::MAX, |item| {
        seen.push(format!("{item:?}"));
        if let SnapshotItem::Node(node) = &item
            && node.path.len() > 3
        {
            planted(&node.stat.pzxid.0.to_be_bytes()[4..]);
        }
        is_loaded = is_loaded && add(&mut loader, item).is_ok();
        Ok(())
    });
    if whole.is_ok() && is_loaded {
        loader.finish(Zxid(1)).check();
    }
    let mut pieces = Vec::new();
    let result = read_items(&file, 7, |item| {
        pieces.push(format!("{item:?}"));
        Ok(())
    });
    assert_eq!(result, whole);
    assert!(pieces == seen, "piece by piece it says the same");
    let (_, held) = held(|| read_items(&file, 100, |_| Ok(())));
    let bound = 4 * file.len() + items(file.len()) + 512;
    assert!(held <= bound, "{held} bytes held for {}, {bound} at most", file.len());
}

const FILE_HEADER_BYTES: usize = 16;

fn read_items(
    file: &[u8],
    piece: usize,
    mut on_item: impl FnMut(SnapshotItem<'_>) -> Result<(), String>,
) -> Result<SnapshotTrailers, String> {
    let mut reader = SnapshotReader::file();
    let mut pieces = file.chunks(piece.min(file.len().max(1)));
    loop {
        match reader.next_item() {
            Err(e) => return Err(e.to_string()),
            Ok(SnapshotItem::More) => match pieces.next() {
                Some(bytes) => reader.feed(bytes),
                None => reader.end_input(),
            },
            Ok(SnapshotItem::End(trailers)) => return Ok(trailers),
            Ok(item) => on_item(item)?,
        }
    }
}

fn add(loader: &mut StateLoader, item: SnapshotItem<'_>) -> Result<(), String> {
    match item {
        SnapshotItem::Session { id, timeout_ms } => loader.session(id, timeout_ms),
        SnapshotItem::Acl { id, list } => loader.acl(id, list),
        SnapshotItem::Node(node) => {
            return loader
                .node(&node.path, node.data, node.acl, node.stat)
                .map_err(|e| e.to_string());
        }
        SnapshotItem::End(_) | SnapshotItem::More => {}
    }
    Ok(())
}

/// The small files and the compressed ones. The first byte says which.
pub fn packed(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let form = match which % 4 {
        0 => return small_files(data),
        1 => Compression::None,
        2 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let _ = is_valid_opening(form, data);
    let _ = is_valid_ending(form, data.len() as u64, data);
    let whole = unpacked(form, data, usize::MAX);
    let pieces = unpacked(form, data, 5);
    assert_eq!(whole.is_ok(), pieces.is_ok());
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert!(whole == pieces, "piece by piece it says the same");
    }
}

/// What compression gives is judged by what comes out: no block holds more than its own bytes
/// can make, and a stream inflates in steps.
fn unpacked(form: Compression, data: &[u8], piece: usize) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    let mut unpack = Decompressor::new(form);
    let (result, held) = held(|| {
        for bytes in data.chunks(piece.min(data.len().max(1))) {
            unpack.push(bytes, &mut out)?;
        }
        if form != Compression::None {
            planted(out.get(20..).unwrap_or_default());
        }
        unpack.finish(&mut out)
    });
    let ratio = match form {
        Compression::None => 1,
        Compression::Gzip => 1032,
        Compression::Snappy => 22,
    };
    let bound = 4 * data.len() * ratio + INFLATE_STATE_BYTES;
    assert!(held <= bound, "{held} bytes held for {}, {bound} at most", data.len());
    result.map(|()| out)
}

/// What an inflater or a block decoder has before its first byte.
const INFLATE_STATE_BYTES: usize = 256 * 1024;

fn small_files(data: &[u8]) {
    if let Some(mark) = SideMark::parse(data) {
        assert_eq!(SideMark::parse(mark.text().as_bytes()), Some(mark));
    }
    if let Some(epoch) = parse_epoch(data) {
        assert_eq!(parse_epoch(epoch_text(epoch).as_bytes()), Some(epoch));
    }
    let Ok(name) = std::str::from_utf8(data) else { return };
    if let Some(zxid) = parse_log_name(name) {
        assert_eq!(parse_log_name(&log_name(zxid)), Some(zxid));
    }
    if let Some((zxid, form)) = parse_snapshot_name(name) {
        assert_eq!(parse_snapshot_name(&snapshot_name(zxid, form)), Some((zxid, form)));
    }
}
