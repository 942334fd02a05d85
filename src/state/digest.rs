//! The tree's digest, version 2: the wrapping sum of each node's CRC-32.

use crc32fast::Hasher;

use crate::proto::NodeStat;

/// Most nodes are shorter.
const SHORT_BYTES: usize = 320;
const STAT_BYTES: usize = 60;

/// The digest of one node. The root's path is empty here. Null and empty data are the same.
pub fn node_digest(path: &str, data: Option<&[u8]>, stat: &NodeStat) -> u32 {
    let path = if path == "/" { b"" } else { path.as_bytes() };
    let (data, stat) = (data.unwrap_or_default(), stat_bytes(stat));
    let mut crc = Hasher::new();
    let length = path.len() + data.len() + STAT_BYTES;
    if length <= SHORT_BYTES {
        // In one piece: each update of a few bytes goes over them one by one.
        let mut all = [0; SHORT_BYTES];
        let (head, rest) = all.split_at_mut(path.len());
        head.copy_from_slice(path);
        rest[..data.len()].copy_from_slice(data);
        rest[data.len()..][..STAT_BYTES].copy_from_slice(&stat);
        crc.update(&all[..length]);
    } else {
        crc.update(path);
        crc.update(data);
        crc.update(&stat);
    }
    crc.finalize()
}

/// The digest after a change of the stat alone. CRC is linear: two inputs of one length differ
/// in their sums by what their difference alone contributes, and leading zeros contribute
/// nothing. So neither path nor data is needed.
pub fn node_digest_after(old: u32, old_stat: &NodeStat, new_stat: &NodeStat) -> u32 {
    let mut difference = stat_bytes(new_stat);
    for (byte, old_byte) in difference.iter_mut().zip(stat_bytes(old_stat)) {
        *byte ^= old_byte;
    }
    // A register that begins at zero, and no final inversion: the linear part.
    let mut crc = Hasher::new_with_initial(u32::MAX);
    crc.update(&difference);
    old ^ !crc.finalize()
}

/// pzxid comes third here, unlike on disk; cversion is the stored one.
fn stat_bytes(stat: &NodeStat) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    let longs = [stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.ctime, stat.mtime];
    for (place, value) in bytes.chunks_exact_mut(8).zip(longs) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (place, value) in bytes[40..52].chunks_exact_mut(4).zip(ints) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&stat.owner.to_be_bytes());
    bytes
}
