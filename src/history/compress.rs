//! The forms a snapshot file may have: plain, gzip, or snappy in the framing of snappy-java.

use std::io::Write;

use flate2::write::{GzDecoder, GzEncoder};

/// By the file's extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
}

impl Compression {
    /// The value of `zookeeper.snapshot.compression.method`; anything unknown is none, as Java.
    pub fn from_setting(value: &str) -> Compression {
        match value {
            "gz" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            _ => Compression::None,
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// Whether a file of this form may be a whole snapshot, by its first bytes. Java's own test.
pub fn is_valid_opening(compression: Compression, first: &[u8]) -> bool {
    match compression {
        Compression::None => true,
        Compression::Gzip => first.starts_with(&[0x1f, 0x8b]),
        Compression::Snappy => first.starts_with(&SNAPPY_MAGIC),
    }
}

/// Whether a file of this form may be a whole snapshot, by its length and last five bytes: those
/// of a plain one are the end of a seal.
pub fn is_valid_ending(compression: Compression, length: u64, last: &[u8]) -> bool {
    compression != Compression::None || (length >= 10 && last.ends_with(&[0, 0, 0, 1, b'/']))
}

/// Compresses a stream chunk by chunk.
pub enum Compressor {
    Plain,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Snappy(SnappyWriter),
}

impl Compressor {
    pub fn new(compression: Compression) -> Compressor {
        match compression {
            Compression::None => Compressor::Plain,
            Compression::Gzip => {
                let level = flate2::Compression::default();
                Compressor::Gzip(Box::new(GzEncoder::new(Vec::new(), level)))
            }
            Compression::Snappy => Compressor::Snappy(SnappyWriter::default()),
        }
    }

    /// Adds what `bytes` become to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Compressor::Plain => out.extend_from_slice(bytes),
            Compressor::Gzip(gz) => {
                gz.write_all(bytes).expect("a Vec takes every write");
                out.append(gz.get_mut());
            }
            Compressor::Snappy(snappy) => snappy.push(bytes, out),
        }
    }

    pub fn finish(self, out: &mut Vec<u8>) {
        match self {
            Compressor::Plain => {}
            Compressor::Gzip(gz) => {
                out.append(&mut gz.finish().expect("a Vec takes every write"));
            }
            Compressor::Snappy(snappy) => snappy.finish(out),
        }
    }
}

/// Inflates a stream chunk by chunk.
pub enum Decompressor {
    Plain,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Snappy(SnappyReader),
}

impl Decompressor {
    pub fn new(compression: Compression) -> Decompressor {
        match compression {
            Compression::None => Decompressor::Plain,
            Compression::Gzip => Decompressor::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Compression::Snappy => Decompressor::Snappy(SnappyReader::default()),
        }
    }

    /// Adds what `bytes` hold to `out`; an error where they are not of this form.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Decompressor::Plain => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Decompressor::Gzip(gz) => {
                // Small steps, so that a bomb of zeros grows no more than one step at a time.
                for piece in bytes.chunks(GZIP_STEP_BYTES) {
                    gz.write_all(piece).map_err(|_| "not a gzip stream")?;
                    out.append(gz.get_mut());
                }
                Ok(())
            }
            Decompressor::Snappy(snappy) => snappy.push(bytes, out),
        }
    }

    /// No more input: adds the rest; an error where the stream is cut short.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Decompressor::Plain => Ok(()),
            Decompressor::Gzip(gz) => {
                out.append(&mut gz.finish().map_err(|_| "the gzip stream is cut short")?);
                Ok(())
            }
            Decompressor::Snappy(snappy) => snappy.finish(),
        }
    }
}

/// snappy-java's stream: a header, then blocks of at most 32 KiB of input, each behind its
/// compressed length.
#[derive(Default)]
pub struct SnappyWriter {
    begun: bool,
    pending: Vec<u8>,
}

impl SnappyWriter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() - self.pending.len() % SNAPPY_BLOCK_BYTES;
        self.pending[..whole].chunks(SNAPPY_BLOCK_BYTES).for_each(|block| write_block(block, out));
        self.pending.drain(..whole);
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.begin(out);
        if !self.pending.is_empty() {
            write_block(&self.pending, out);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&SNAPPY_HEADER);
        }
    }
}

fn write_block(block: &[u8], out: &mut Vec<u8>) {
    let packed = snap::raw::Encoder::new().compress_vec(block).expect("a block is far below 4 GiB");
    out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
    out.extend_from_slice(&packed);
}

#[derive(Default)]
pub struct SnappyReader {
    begun: bool,
    pending: Vec<u8>,
}

impl SnappyReader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(used) = self.step(at, out)? {
            at += used;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Takes the header or block at `at`: its length, or `None` until more has come.
    fn step(&mut self, at: usize, out: &mut Vec<u8>) -> Result<Option<usize>, &'static str> {
        let rest = self.pending.get(at..).unwrap_or_default();
        let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
        // A stream may begin anew in the middle, where one was appended to another.
        if !self.begun || *length == SNAPPY_MAGIC[..4] {
            if rest.len() < SNAPPY_HEADER.len() {
                return Ok(None);
            }
            if !rest.starts_with(&SNAPPY_MAGIC) {
                return Err("not a snappy stream");
            }
            self.begun = true;
            return Ok(Some(SNAPPY_HEADER.len()));
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > SNAPPY_MAX_BLOCK_BYTES {
            return Err("a snappy block is longer than any writer makes it");
        }
        let Some(packed) = rest.get(4..4 + length) else { return Ok(None) };
        let size = snap::raw::decompress_len(packed).map_err(|_| "a snappy block is broken")?;
        // Its own word for its size is believed only as far as its bytes could fill it.
        if size > SNAPPY_MAX_BLOCK_BYTES.min(packed.len().saturating_mul(SNAPPY_MAX_RATIO)) {
            return Err("a snappy block is longer than any writer makes it");
        }
        let block = snap::raw::Decoder::new().decompress_vec(packed);
        out.extend_from_slice(&block.map_err(|_| "a snappy block is broken")?);
        Ok(Some(4 + length))
    }

    fn finish(self) -> Result<(), &'static str> {
        match self.begun && self.pending.is_empty() {
            true => Ok(()),
            false => Err("the snappy stream is cut short"),
        }
    }
}

const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The magic, version 1, compatible with version 1.
const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// snappy-java can be told to make larger blocks; ZooKeeper never does.
const SNAPPY_MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;
/// Its densest element copies 64 bytes and takes three.
const SNAPPY_MAX_RATIO: usize = 22;
const GZIP_STEP_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(form: Compression, data: &[u8], step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut c = Compressor::new(form);
        data.chunks(step).for_each(|chunk| c.push(chunk, &mut out));
        c.finish(&mut out);
        out
    }

    fn unpack(form: Compression, packed: &[u8], step: usize) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::new();
        let mut d = Decompressor::new(form);
        for chunk in packed.chunks(step) {
            d.push(chunk, &mut out)?;
        }
        d.finish(&mut out)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back_however_it_is_cut(
            seed in prop::collection::vec(any::<u8>(), 0..300),
            times in 0usize..300,
            write in 1usize..70_000,
            read in 1usize..9_000,
        ) {
            let data = seed.repeat(times);
            for form in [Compression::None, Compression::Gzip, Compression::Snappy] {
                let packed = pack(form, &data, write);
                prop_assert!(is_valid_opening(form, &packed));
                prop_assert_eq!(unpack(form, &packed, read).unwrap(), data.clone());
            }
        }

        #[test]
        fn a_stream_cut_short_or_of_other_bytes_is_an_error(
            junk in prop::collection::vec(any::<u8>(), 1..200),
            cut in 1usize..15,
        ) {
            for form in [Compression::Gzip, Compression::Snappy] {
                let packed = pack(form, b"some data that is packed", 100);
                let cut = cut.min(packed.len() - 1);
                prop_assert!(unpack(form, &packed[..packed.len() - cut], 7).is_err());
                let _ = unpack(form, &junk, 3);
            }
        }
    }

    #[test]
    fn a_block_that_claims_more_than_its_bytes_could_hold_is_refused_before_it_is_believed() {
        // A literal of one byte that says it is 32 MiB.
        let block = [0x80, 0x80, 0x80, 0x10, 0x00, b'x'];
        let mut packed = SNAPPY_HEADER.to_vec();
        packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
        packed.extend_from_slice(&block);
        let refused = Err("a snappy block is longer than any writer makes it");
        assert_eq!(unpack(Compression::Snappy, &packed, 100), refused);
    }

    #[test]
    fn a_block_as_dense_as_can_be_is_taken() {
        let data = vec![7; 32 * 1024];
        let packed = pack(Compression::Snappy, &data, data.len());
        assert!(packed.len() * 20 < data.len(), "dense: {}", packed.len());
        assert_eq!(unpack(Compression::Snappy, &packed, 100).as_ref(), Ok(&data));
    }

    #[test]
    fn the_snappy_header_is_the_one_snappy_java_writes() {
        let packed = pack(Compression::Snappy, b"x", 1);
        assert_eq!(packed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
        assert_eq!(packed[16..20], [0, 0, 0, 3]);
    }
}
