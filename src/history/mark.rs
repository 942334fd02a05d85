//! The side mark: how far a log file is known to be synced.
//!
//! It is written lazily and never waited for, so it may be old, torn or missing; what it says is
//! true whenever it is whole and the record it names is there. A hole below it is damage, not the
//! trace of a power cut.

use crate::base::Zxid;

/// A record that is known to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideMark {
    /// The log file, by the zxid in its name.
    pub segment: Zxid,
    /// Where the record begins and ends, and its checksum.
    pub start: u64,
    pub end: u64,
    pub checksum: u32,
}

impl SideMark {
    /// The file's content: one line that ends in the checksum of what precedes it.
    pub fn text(&self) -> String {
        let SideMark { segment, start, end, checksum } = self;
        let fields = format!("{segment:x} {start} {end} {checksum:08x}");
        format!("{fields} {:08x}\n", simd_adler32::adler32(&fields.as_bytes()))
    }

    pub fn parse(bytes: &[u8]) -> Option<SideMark> {
        let line = std::str::from_utf8(bytes).ok()?.lines().next()?;
        let (fields, sum) = line.rsplit_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != simd_adler32::adler32(&fields.as_bytes()) {
            return None;
        }
        let mut fields = fields.split(' ');
        let segment = Zxid(i64::from_str_radix(fields.next()?, 16).ok()?);
        let start = fields.next()?.parse().ok()?;
        let end = fields.next()?.parse().ok()?;
        let checksum = u32::from_str_radix(fields.next()?, 16).ok()?;
        (start < end).then_some(SideMark { segment, start, end, checksum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_torn_one_is_ignored() {
        let mark = SideMark { segment: Zxid(0xab), start: 16, end: 99, checksum: 7 };
        let text = mark.text();
        assert_eq!(SideMark::parse(text.as_bytes()), Some(mark));
        for cut in 0..text.len() - 1 {
            assert_eq!(SideMark::parse(&text.as_bytes()[..cut]), None, "{cut}");
        }
        for i in 0..text.len() - 1 {
            let mut torn = text.clone().into_bytes();
            torn[i] = 0;
            assert_eq!(SideMark::parse(&torn), None, "{i}");
        }
    }
}
