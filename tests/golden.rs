//! The bytes that a live Apache sent, read and wrote (`tests/wire/`), against our codecs: what it
//! accepted decodes, what it called malformed does not, and what it wrote to its log we write.
//! The files are recorded by `scripts/record-golden`; what a whole server answers is compared by
//! `scripts/record-golden --check --server zkd`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use zkd::proto::{
    ConnectRequest, ConnectResponse, Entry, ErrorCode, MultiOp, OpCode, Reader, ReplyHeader,
    Request, RequestHeader,
};

/// One line of a transcript: its mark (`>`, `<` or `t`), the connection, and its bytes.
struct Line {
    place: String,
    mark: char,
    conn: String,
    bytes: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let pair = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// `[name=hex]` stands for its hex; what follows ` # ` is a comment.
fn bytes_of(groups: &str) -> Vec<u8> {
    let plain = |group: &str| match group.strip_prefix('[') {
        Some(masked) => masked.trim_end_matches(']').split_once('=').expect("a name").1.to_string(),
        None => group.to_string(),
    };
    groups.split_whitespace().flat_map(|group| hex(&plain(group))).collect()
}

fn line_of(place: String, text: &str) -> Option<Line> {
    let (body, _comment) = text.split_once(" # ")?;
    let mark = body.chars().next()?;
    let rest = body.get(2..)?;
    let (conn, groups) = match mark {
        '>' | '<' => rest.split_once(' ')?,
        't' => ("", rest),
        _ => return None,
    };
    // A megabyte of one byte is shown as `78*1048526`: nothing here needs it.
    let shown = !groups.contains('*');
    shown.then(|| Line { place, mark, conn: conn.to_string(), bytes: bytes_of(groups) })
}

fn transcripts() -> Vec<(String, Vec<Line>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).expect("tests/wire is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "golden") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a readable file");
        let numbered = text.lines().enumerate();
        let lines = numbered.filter_map(|(n, line)| line_of(format!("{name}:{}", n + 1), line));
        found.push((name.clone(), lines.collect()));
    }
    assert!(found.len() >= 40, "the transcripts are there");
    found
}

/// The frame without its length, if the length is right.
fn frame(line: &Line) -> Option<&[u8]> {
    let (head, body) = line.bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(head.try_into().ok()?) as usize;
    (length == body.len()).then_some(body)
}

#[test]
fn every_log_record_of_apache_is_read_and_written_alike() {
    let mut seen = 0;
    for (_, lines) in transcripts() {
        for line in lines.iter().filter(|line| line.mark == 't' && line.bytes.len() > 16) {
            let entry = &line.bytes[12..line.bytes.len() - 1];
            let read = Entry::read(entry).unwrap_or_else(|e| panic!("{}: {e:?}", line.place));
            let mut written = Vec::new();
            Entry::write(&read.header, &read.txn, read.digest, &mut written);
            assert_eq!(written, entry, "{}", line.place);
            let sum = simd_adler32::adler32(&entry);
            assert_eq!(line.bytes[..8], u64::from(sum).to_be_bytes(), "{}", line.place);
            seen += 1;
        }
    }
    assert!(seen > 500, "only {seen} records");
}

#[test]
fn every_handshake_is_read_and_written_alike() {
    let (mut requests, mut responses) = (0, 0);
    for (_, lines) in transcripts() {
        let mut greeted: HashMap<&str, bool> = HashMap::new();
        for line in &lines {
            let Some(body) = frame(line) else { continue };
            let state = greeted.entry(&line.conn).or_insert(false);
            if line.mark == '>' && !*state && body.len() >= 28 {
                let request = ConnectRequest::read(body).expect("a handshake");
                let mut written = Vec::new();
                request.write(&mut written);
                assert!(body.starts_with(&written), "{}", line.place);
                requests += 1;
            } else if line.mark == '<' && !*state {
                let response = ConnectResponse::read(body).expect("its answer");
                let mut written = Vec::new();
                response.write(&mut written);
                assert_eq!(written, body, "{}", line.place);
                *state = true;
                responses += 1;
            }
        }
    }
    assert!(requests > 60 && responses > 60, "only {requests} and {responses}");
}

/// Requests with the error they were answered with, in each file by connection and xid.
fn answered(lines: &[Line]) -> Vec<(&Line, i32)> {
    let mut waiting: HashMap<(&str, i32), &Line> = HashMap::new();
    let mut greeted: HashMap<&str, bool> = HashMap::new();
    let mut pairs = Vec::new();
    for line in lines {
        let Some(body) = frame(line) else { continue };
        let state = greeted.entry(&line.conn).or_insert(false);
        if !*state {
            *state = line.mark == '<';
            continue;
        }
        let xid = i32::from_be_bytes(body[..4].try_into().expect("four bytes"));
        if line.mark == '>' {
            waiting.insert((&line.conn, xid), line);
        } else if let Some(request) = waiting.remove(&(line.conn.as_str(), xid)) {
            let header = ReplyHeader::read(&mut Reader::new(body)).expect("a header");
            pairs.push((request, header.err));
        }
    }
    pairs
}

/// What Apache finds malformed only when it answers: a null path, a type that is none, a write
/// among reads.
fn is_refused_later(request: &Request<'_>) -> bool {
    let is_read =
        |op: &MultiOp<'_>| matches!(op, MultiOp::GetData { .. } | MultiOp::GetChildren { .. });
    match request {
        Request::Multi(ops) => ops.iter().any(is_read),
        Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
            path.is_none() || !(1..=5).contains(kind)
        }
        Request::Exists { path, .. }
        | Request::GetData { path, .. }
        | Request::GetChildren { path, .. }
        | Request::GetChildren2 { path, .. }
        | Request::GetAcl { path }
        | Request::GetAllChildrenNumber { path }
        | Request::GetEphemerals { prefix: path }
        | Request::AddWatch { path, .. } => path.is_none(),
        Request::MultiRead(ops) => !ops.is_empty(),
        _ => false,
    }
}

#[test]
fn requests_decode_where_apache_understood_them_and_only_there() {
    let (mut good, mut malformed) = (0, 0);
    for (_, lines) in transcripts() {
        for (line, err) in answered(&lines) {
            // Refused before anybody looked at the body.
            if err == ErrorCode::SessionClosedRequireSaslAuth.number() {
                continue;
            }
            let body = frame(line).expect("a whole frame");
            let reader = &mut Reader::new(body);
            let header = RequestHeader::read(reader).expect("a header");
            let Some(op) = OpCode::from_number(header.op) else {
                assert_eq!(err, ErrorCode::Unimplemented.number(), "{}", line.place);
                continue;
            };
            let decoded = Request::read(op, reader.rest());
            if err == ErrorCode::MarshallingError.number() {
                let refused = decoded.as_ref().map_or(true, is_refused_later);
                assert!(refused, "{}: {decoded:?}", line.place);
                malformed += 1;
            } else {
                assert!(decoded.is_ok(), "{}: answered {err}, {decoded:?}", line.place);
                good += 1;
            }
        }
    }
    assert!(good > 800 && malformed > 30, "only {good} and {malformed}");
}
