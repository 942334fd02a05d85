//! The names of log and snapshot files: a prefix, a zxid in hexadecimal, perhaps an extension.

use crate::base::Zxid;

use super::compress::Compression;

pub fn log_name(first: Zxid) -> String {
    format!("log.{first:x}")
}

/// The zxid that a log file is named by; `None` for any other file.
pub fn parse_log_name(name: &str) -> Option<Zxid> {
    parse_hex(name.strip_prefix("log.")?)
}

pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{zxid:x}{}", compression.extension())
}

/// The zxid and form of a snapshot file; `None` for any other file.
pub fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (hex, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((hex, "gz")) => (hex, Compression::Gzip),
        Some((hex, "snappy")) => (hex, Compression::Snappy),
        Some(_) => return None,
    };
    Some((parse_hex(hex)?, compression))
}

fn parse_hex(hex: &str) -> Option<Zxid> {
    let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    // Above i64::MAX is no zxid that a server gave out.
    if digits { i64::from_str_radix(hex, 16).ok().map(Zxid) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_ours() {
        let z = Zxid(0x1_0000_00ab);
        assert_eq!(log_name(z), "log.1000000ab");
        assert_eq!(parse_log_name("log.1000000ab"), Some(z));
        for form in [Compression::None, Compression::Gzip, Compression::Snappy] {
            assert_eq!(parse_snapshot_name(&snapshot_name(z, form)), Some((z, form)));
        }
        for other in ["log.", "log.+5", "log.xyz", "log.5.tmp", "log.ffffffffffffffff", "log"] {
            assert_eq!(parse_log_name(other), None, "{other}");
        }
        for other in ["snapshot.5.tmp", "snapshot.", "snapshot", "snapshot.5.gz.tmp", ".zkd-next"] {
            assert_eq!(parse_snapshot_name(other), None, "{other}");
        }
    }
}
