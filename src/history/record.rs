//! The framing of log records: checksum, length, entry, end byte.

use crate::base::Zxid;
use crate::proto::{Entry, Reader, Txn, TxnDigest, TxnHeader, Writer};

/// The first bytes of a log file: "ZKLG", version 2, database id 0.
pub const LOG_HEADER: [u8; LOG_HEADER_BYTES] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
pub const LOG_HEADER_BYTES: usize = 16;

/// Checksum and length before an entry.
pub const FRAME_HEAD_BYTES: usize = 12;
/// What framing adds to an entry: its head and the end byte.
pub const FRAME_BYTES: usize = FRAME_HEAD_BYTES + 1;

const END_OF_RECORD: u8 = b'B';
/// A txn header and its type: no entry is shorter.
const MIN_ENTRY_BYTES: usize = 32;

/// What stands at the front of a piece of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole record of `bytes` bytes with its checksum right.
    Record {
        entry: &'a [u8],
        checksum: u32,
        bytes: usize,
    },
    /// The input ends inside the record, which needs so many bytes in all.
    Short {
        wanted: usize,
    },
    /// A length of zero: the padding behind the last record.
    Padding,
    Bad(BadFrame),
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    Length(i32),
    /// Java reads it as the end of the file, before it looks at the checksum.
    EndByte,
    Checksum,
}

/// Adds a whole record to `out`.
pub fn append_record(out: &mut Vec<u8>, header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) {
    let mark = begin(out);
    Entry::write(header, txn, digest, out);
    end(out, mark);
}

/// Adds a record whose entry is encoded already.
pub fn append_framed(out: &mut Vec<u8>, entry: &[u8]) {
    let mark = begin(out);
    out.put_slice(entry);
    end(out, mark);
}

fn begin(out: &mut Vec<u8>) -> usize {
    let mark = out.len();
    out.put_slice(&[0; FRAME_HEAD_BYTES]);
    mark
}

fn end(out: &mut Vec<u8>, mark: usize) {
    let entry = mark + FRAME_HEAD_BYTES;
    let length = out.len() - entry;
    assert!((1..=i32::MAX as usize).contains(&length), "an entry's length fits its field");
    let checksum = u64::from(simd_adler32::adler32(&&out[entry..]));
    out[mark..mark + 8].copy_from_slice(&checksum.to_be_bytes());
    out[mark + 8..entry].copy_from_slice(&(length as u32).to_be_bytes());
    out.put_u8(END_OF_RECORD);
}

/// Looks at the front of `bytes`. The end byte is judged before the checksum, as Java does, so a
/// record torn by its own sequential write is an end.
pub fn frame(bytes: &[u8]) -> Frame<'_> {
    let r = &mut Reader::new(bytes);
    let (Ok(checksum), Ok(length)) = (r.i64(), r.i32()) else {
        return Frame::Short { wanted: FRAME_HEAD_BYTES };
    };
    if length == 0 {
        return Frame::Padding;
    }
    if length < 0 {
        return Frame::Bad(BadFrame::Length(length));
    }
    let whole = FRAME_BYTES + length as usize;
    let (Ok(entry), Ok(last)) = (r.take(length as usize), r.u8()) else {
        return Frame::Short { wanted: whole };
    };
    if last != END_OF_RECORD {
        return Frame::Bad(BadFrame::EndByte);
    }
    let computed = simd_adler32::adler32(&entry);
    if checksum != i64::from(computed) {
        return Frame::Bad(BadFrame::Checksum);
    }
    Frame::Record { entry, checksum: computed, bytes: whole }
}

/// Whether a record could begin with this head and end within `room` bytes of its start: its
/// whole length. What a search behind a hole asks at each offset.
pub fn frame_length(head: &[u8; FRAME_HEAD_BYTES], room: u64) -> Option<usize> {
    let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let whole = FRAME_BYTES + usize::try_from(length).ok()?;
    let possible = head[..4] == [0; 4]
        && length as usize >= MIN_ENTRY_BYTES
        && u64::try_from(whole).is_ok_and(|whole| whole <= room);
    possible.then_some(whole)
}

/// The zxid in an entry.
pub fn record_zxid(entry: &[u8]) -> Option<Zxid> {
    let r = &mut Reader::new(entry);
    r.take(12).ok()?;
    r.i64().ok().map(Zxid)
}

/// Whether these are the first bytes of a log file. Only the magic is looked at, as in Java.
pub fn is_log_header(bytes: &[u8]) -> bool {
    bytes.len() >= LOG_HEADER_BYTES && bytes[..4] == LOG_HEADER[..4]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SessionId, WallMillis};
    use crate::proto::DIGEST_VERSION;

    /// The first record of a log that Apache 3.9.5 wrote.
    const GOLDEN: &str = "00000000d6830ae60000003001000015ee6b0000000000000000000100000001\
                          000001a1fb55d534fffffff600002710000000020000000051c6d66042";

    fn golden() -> Vec<u8> {
        let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn sample() -> Vec<u8> {
        let header = TxnHeader {
            session: SessionId(0x0100_0015_ee6b_0000),
            cxid: 0,
            zxid: Zxid(0x1_0000_0001),
            time: WallMillis(0x1a1_fb55_d534),
        };
        let digest = TxnDigest { version: DIGEST_VERSION, tree: 0x51c6_d660 };
        let mut out = Vec::new();
        append_record(&mut out, &header, &Txn::CreateSession { timeout_ms: 10_000 }, Some(digest));
        out
    }

    #[test]
    fn a_record_is_byte_for_byte_what_java_writes() {
        assert_eq!(sample(), golden());
        let mut framed = Vec::new();
        append_framed(&mut framed, &golden()[12..60]);
        assert_eq!(framed, golden());
    }

    #[test]
    fn a_whole_record_is_read_and_every_cut_of_it_is_short() {
        let record = golden();
        let Frame::Record { entry, bytes, .. } = frame(&record) else { panic!("no record") };
        assert_eq!((entry.len(), bytes), (48, record.len()));
        assert_eq!(record_zxid(entry), Some(Zxid(0x1_0000_0001)));
        for cut in 0..record.len() {
            assert!(matches!(frame(&record[..cut]), Frame::Short { .. }), "{cut}");
        }
    }

    #[test]
    fn a_zeroed_end_is_told_before_a_wrong_checksum() {
        let mut record = golden();
        record[30] ^= 1;
        assert_eq!(frame(&record), Frame::Bad(BadFrame::Checksum));
        *record.last_mut().unwrap() = 0;
        assert_eq!(frame(&record), Frame::Bad(BadFrame::EndByte));
        record[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        assert_eq!(frame(&record), Frame::Bad(BadFrame::Length(-1)));
        record[8..12].copy_from_slice(&[0; 4]);
        assert_eq!(frame(&record), Frame::Padding);
    }
}
