//! The text of the epoch files: one decimal number.

use super::command::EpochFile;

pub fn epoch_file_name(file: EpochFile) -> &'static str {
    match file {
        EpochFile::Accepted => "acceptedEpoch",
        EpochFile::Current => "currentEpoch",
    }
}

pub fn epoch_text(epoch: i64) -> String {
    epoch.to_string()
}

/// The first line's number; `None` where it is none.
pub fn parse_epoch(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_one_decimal_line() {
        assert_eq!(parse_epoch(epoch_text(17).as_bytes()), Some(17));
        assert_eq!(parse_epoch(b"17\nrest"), Some(17));
        assert_eq!(parse_epoch(b"-1"), Some(-1));
        for bad in [&b""[..], b"\n", b"seventeen", b"17 ", b"\xff"] {
            assert_eq!(parse_epoch(bad), None);
        }
    }
}
