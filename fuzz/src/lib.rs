//! What each fuzz target does with its bytes: no panic, decoding what was encoded gives the same
//! again, and decoding allocates at most four times its input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use zkd::history::{Frame, SnapshotItem, SnapshotReader, frame};
use zkd::proto::{
    ConnectRequest, Entry, OpCode, Reader, Request, RequestHeader, Splitter, Txn, cut,
};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts what a thread allocates.
pub struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|n| n.set(n.get() + layout.size()));
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: it came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `decode` and holds what it allocates against the size of its input. Records are larger in
/// memory than on the wire by a constant factor; a count in the input must never decide.
fn bounded<T>(input: usize, decode: impl FnOnce() -> T) -> T {
    let before = ALLOCATED.get();
    let result = decode();
    let allocated = ALLOCATED.get() - before;
    assert!(allocated <= 4 * input + SLACK, "{allocated} bytes allocated for {input}");
    result
}

/// First allocations of a vector whose first item then fails to decode.
const SLACK: usize = 256 * 1024;

fn planted(is_there: bool) {
    assert!(!(cfg!(feature = "planted") && is_there), "the planted panic");
}

/// A stream of frames, cut where the first byte says.
pub fn frames(data: &[u8]) {
    let Some((at, stream)) = data.split_first() else { return };
    let mut splitter = Splitter::default();
    let mut parts = Vec::new();
    for piece in stream.chunks(usize::from(*at).max(1)) {
        splitter.push(piece);
        while let Ok(Some(frame)) = splitter.next(4096) {
            parts.push(frame.to_vec());
        }
    }
    let mut rest = stream;
    for part in &parts {
        let (body, taken) = cut(rest, 4096).expect("cut before").expect("whole before");
        assert_eq!(body, part);
        rest = &rest[taken..];
    }
    planted(parts.len() > 2 && parts[2].len() == 3);
}

pub fn connect(data: &[u8]) {
    let Ok(request) = bounded(data.len(), || ConnectRequest::read(data)) else { return };
    let mut out = Vec::new();
    request.write(&mut out);
    assert_eq!(ConnectRequest::read(&out), Ok(request.clone()));
    planted(request.read_only == Some(true) && request.password.is_some_and(|p| p.len() == 16));
}

/// A whole request: header, then the body its type has.
pub fn request(data: &[u8]) {
    let mut r = Reader::new(data);
    let Ok(header) = RequestHeader::read(&mut r) else { return };
    let Some(op) = OpCode::from_number(header.op) else { return };
    let body = r.rest();
    let Ok(request) = bounded(body.len(), || Request::read(op, body)) else { return };
    let again = Request::read(op, body);
    assert_eq!(again, Ok(request.clone()), "decoding is a function of the bytes");
    if let Request::Create(create) = &request {
        let deepest = create.acl.as_ref().and_then(|acl| acl.last()).and_then(|a| a.id.as_ref());
        planted(deepest.is_some_and(|id| id.len() > 3) && create.flags == 3);
    }
}

pub fn multi(data: &[u8]) {
    let writes = bounded(data.len(), || Request::read(OpCode::Multi, data));
    let reads = bounded(data.len(), || Request::read(OpCode::MultiRead, data));
    if let Ok(Request::Multi(ops)) = &writes {
        assert_eq!(reads, Ok(Request::MultiRead(ops.clone())), "what multi takes, multiRead reads");
        planted(ops.len() > 2);
    }
}

/// Records of a log, one after the other; each entry that decodes encodes to the same.
pub fn txn_log(data: &[u8]) {
    let mut rest = data;
    while let Frame::Record { entry, bytes, .. } = frame(rest) {
        one_entry(entry);
        rest = &rest[bytes..];
    }
    one_entry(data);
}

fn one_entry(bytes: &[u8]) {
    let Ok(entry) = bounded(bytes.len(), || Entry::read(bytes)) else { return };
    let mut out = Vec::new();
    Entry::write(&entry.header, &entry.txn, entry.digest, &mut out);
    let again = Entry::read(&out).expect("what was encoded decodes");
    // A close without paths cannot carry a digest: its bytes would be read as paths.
    let is_ambiguous = matches!(entry.txn, Txn::CloseSession { paths: None });
    assert!(is_ambiguous || again == entry, "{entry:?} became {again:?}");
    if let Txn::Multi(parts) = &entry.txn {
        planted(parts.len() > 1 && entry.digest.is_some());
    }
}

/// A snapshot fed in pieces is the snapshot fed whole.
pub fn snapshot(data: &[u8]) {
    let whole = bounded(8 * data.len(), || items(data, usize::MAX));
    let pieces = items(data, 7);
    assert_eq!(whole, pieces);
    planted(whole > 8);
}

fn items(data: &[u8], piece: usize) -> usize {
    let mut reader = SnapshotReader::file();
    let mut pieces = data.chunks(piece.min(data.len().max(1)));
    let mut seen = 0;
    loop {
        match reader.next_item() {
            Err(_) => return seen,
            Ok(SnapshotItem::More) => match pieces.next() {
                Some(bytes) => reader.feed(bytes),
                None => reader.end_input(),
            },
            Ok(SnapshotItem::End(_)) => return seen + 1,
            Ok(_) => seen += 1,
        }
    }
}

/// `zoo.cfg` and system properties.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(config) = zkd::config::Config::parse(&text, &Default::default()) else { return };
    planted(config.clients.max_client_cnxns == 7);
}
