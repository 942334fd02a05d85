//! The envelope of a snapshot stream: file header, seals, trailers. The body between them is the
//! state's.

use simd_adler32::Adler32;

use crate::base::Zxid;
use crate::proto::{DIGEST_VERSION, Writer};

/// "ZKSN", version 2, database id -1.
pub(super) const SNAPSHOT_HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";

/// What follows the first seal, each with a seal of its own. `None` is left out, as Java does
/// where the feature is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTrailers {
    /// The last applied zxid and the tree's digest there.
    pub digest: Option<(Zxid, u64)>,
    pub last_processed: Option<Zxid>,
}

/// Keeps the running checksum of a stream that is written piece by piece.
pub struct SnapshotWriter {
    adler: Adler32,
}

impl SnapshotWriter {
    /// Adds the file header to `out`.
    pub fn begin(out: &mut Vec<u8>) -> SnapshotWriter {
        let mut writer = SnapshotWriter { adler: Adler32::new() };
        writer.put(&SNAPSHOT_HEADER, out);
        writer
    }

    /// Takes note of the next bytes of the body, which the caller has put into the stream.
    pub fn cover(&mut self, body: &[u8]) {
        self.adler.write(body);
    }

    /// Adds seals and trailers to `out`: the end of the stream.
    pub fn finish(mut self, trailers: &SnapshotTrailers, out: &mut Vec<u8>) {
        self.seal(out);
        if let Some((zxid, digest)) = trailers.digest {
            let mut trailer = Vec::with_capacity(20);
            trailer.put_i64(zxid.0);
            trailer.put_i32(DIGEST_VERSION);
            trailer.put_i64(digest as i64);
            self.put(&trailer, out);
            self.seal(out);
        }
        if let Some(zxid) = trailers.last_processed {
            self.put(&zxid.0.to_be_bytes(), out);
            self.seal(out);
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.adler.write(bytes);
        out.put_slice(bytes);
    }

    /// The checksum of all before it, then "/"; both count toward the next one.
    fn seal(&mut self, out: &mut Vec<u8>) {
        let mut seal = Vec::with_capacity(13);
        seal.put_i64(i64::from(self.adler.finish()));
        seal.put_string("/");
        self.put(&seal, out);
    }
}
