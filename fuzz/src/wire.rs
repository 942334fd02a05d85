//! What a client sends: frames, four-letter words, the handshake, requests.

use std::mem::size_of;

use zkd::config::Words;
use zkd::proto::{
    ConnectRequest, ConnectResponse, Create, MultiOp, OpCode, RawAcl, Reader, ReplyHeader, Request,
    RequestHeader, Splitter, cut,
};
use zkd::reactor::{Opening, opening};

use crate::allocation::{REPAIRED_BYTES, bounded, fixed_cost};
use crate::{encode, planted};

const MAX_FRAME: usize = 4096;

/// A stream of frames fed in pieces as long as its first byte says: the same frames as when it
/// is cut in one piece, and they frame to the same bytes.
pub fn frames(data: &[u8]) {
    let Some((at, stream)) = data.split_first() else { return };
    let mut splitter = Splitter::default();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut over = None;
    for piece in stream.chunks(usize::from(*at).max(1)) {
        bounded(stream.len(), 0, || splitter.push(piece));
        while over.is_none() {
            match splitter.next(MAX_FRAME) {
                Ok(Some(frame)) => parts.push(frame.to_vec()),
                Ok(None) => break,
                Err(e) => over = Some(e),
            }
        }
    }
    let mut rest = stream;
    let mut again = Vec::new();
    for part in &parts {
        let (body, taken) = cut(rest, MAX_FRAME).expect("cut before").expect("whole before");
        assert_eq!(body, part);
        again.extend_from_slice(&(part.len() as u32).to_be_bytes());
        again.extend_from_slice(part);
        rest = &rest[taken..];
    }
    assert!(stream.starts_with(&again), "frames are put together as they came");
    assert_eq!(cut(rest, MAX_FRAME).err(), over, "both ways end alike");
    if let [_, _, third, ..] = parts.as_slice() {
        planted(third);
    }
}

/// The first bytes of a connection. A verdict stays what it is when more bytes come.
pub fn words(data: &[u8]) {
    let Some((permitted, data)) = data.split_first() else { return };
    let permitted = if permitted & 1 == 0 { Words::All } else { Words::default() };
    let verdict = bounded(data.len(), 0, || opening(data, &permitted));
    for end in 0..data.len().min(32) {
        let earlier = opening(&data[..end], &permitted);
        assert!(earlier == Opening::Unclear || earlier == verdict, "{earlier:?}, then {verdict:?}");
    }
    if let Opening::Word { word, argument } = verdict {
        let argument = argument.unwrap_or_default();
        let again = [&word[..], &argument].concat();
        assert_eq!(opening(&again, &permitted), verdict, "a word is read as it is written");
        assert!(data.starts_with(&word));
        planted(&argument[4..]);
    }
}

/// The handshake, and a server's answer to it.
pub fn connect(data: &[u8]) {
    if let Ok(response) = bounded(data.len(), 0, || ConnectResponse::read(data)) {
        let mut out = Vec::new();
        response.write(&mut out);
        assert_eq!(ConnectResponse::read(&out), Ok(response));
    }
    let Ok(request) = bounded(data.len(), 0, || ConnectRequest::read(data)) else { return };
    let mut out = Vec::new();
    request.write(&mut out);
    assert_eq!(ConnectRequest::read(&out), Ok(request.clone()));
    if request.read_only == Some(true) {
        planted(request.password.unwrap_or_default().split_at_checked(12).unwrap_or_default().1);
    }
}

/// A whole request: header, then the body its type has.
pub fn request(data: &[u8]) {
    let r = &mut Reader::new(data);
    let _ = ReplyHeader::read(&mut r.clone());
    let Ok(header) = RequestHeader::read(r) else { return };
    let Some(op) = OpCode::from_number(header.op) else { return };
    if let Some(request) = read(op, r.rest()) {
        if let Request::Create(create) = &request {
            plant(create);
        }
        if let Request::SetWatches(watches) = &request {
            planted(watches.persistent_recursive.last().map(|p| p.as_bytes()).unwrap_or_default());
        }
    }
}

pub fn multi(data: &[u8]) {
    let reads = read(OpCode::MultiRead, data);
    let Some(Request::Multi(ops)) = read(OpCode::Multi, data) else { return };
    assert_eq!(reads, Some(Request::MultiRead(ops.clone())), "what multi takes, multiRead reads");
    for op in &ops {
        if let MultiOp::Create(create) = op {
            plant(create);
        }
    }
}

/// The last field of an entry of the list within.
fn plant(create: &Create<'_>) {
    let ids = create.acl.iter().flatten().filter_map(|acl| acl.id.as_ref());
    ids.for_each(|id| planted(id.as_bytes()));
}

/// Reads a body within its bound, and once more from what it encodes to.
fn read(op: OpCode, body: &[u8]) -> Option<Request<'_>> {
    let request = bounded(body.len(), items(op, body.len()), || Request::read(op, body)).ok()?;
    let encoded = encode::body(&request);
    let op = match &request {
        Request::SetWatches(_) => OpCode::SetWatches2,
        _ => op,
    };
    let again = Request::read(op, &encoded).expect("what was encoded decodes");
    assert!(again == request || encode::is_beyond_basic(body), "{request:?} became {again:?}");
    let encoded = encode::body(&again);
    assert_eq!(Request::read(op, &encoded), Ok(again), "decoded, encoded, decoded");
    Some(request)
}

/// What the shortest items of lists cost above four times their bytes. A path of a list takes four
/// bytes on the wire, an ACL entry twelve, an operation of a multi fourteen. Lists whose length is
/// announced are reserved for what has come; operations are counted as they come, so their list
/// doubles.
fn items(op: OpCode, body: usize) -> usize {
    let paths = fixed_cost(body, size_of::<String>() + REPAIRED_BYTES, 4);
    let entries = fixed_cost(body, size_of::<RawAcl<'_>>() + 2 * REPAIRED_BYTES, 12);
    let ops = fixed_cost(body, 2 * size_of::<MultiOp<'_>>() + REPAIRED_BYTES, 14);
    match op {
        OpCode::SetWatches | OpCode::SetWatches2 => paths,
        OpCode::Multi | OpCode::MultiRead => ops + entries,
        _ => entries,
    }
}
