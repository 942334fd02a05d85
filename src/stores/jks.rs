//! Java's first kind of store: big-endian records with a keyed SHA-1 behind them.

use sha1::{Digest, Sha1};

use super::der::{self, Reader};
use super::{Contents, ENTRIES, KeyEntry, PrivateKey, StoreError};

pub const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

pub fn open(bytes: &[u8], password: &str) -> Result<Contents, StoreError> {
    let (data, sum) = bytes.split_last_chunk::<DIGEST>().ok_or(CUT_SHORT)?;
    let password = utf16(password);
    // Java takes a store without looking at its sum where no password is given.
    if !password.is_empty() {
        let mut hash = Sha1::new();
        hash.update(&password);
        hash.update(b"Mighty Aphrodite");
        hash.update(data);
        if hash.finalize().as_slice() != sum {
            return Err(StoreError::WrongPassword);
        }
    }
    let mut input = Input { rest: data };
    input.take(4)?;
    let version = input.u32()?;
    if !matches!(version, 1 | 2) {
        return Err(StoreError::Unknown(format!("version {version} of such a store")));
    }
    let count = input.u32()? as usize;
    if count > ENTRIES {
        return Err(StoreError::TooMuch("the number of entries"));
    }
    let mut contents = Contents::default();
    for _ in 0..count {
        let tag = input.u32()?;
        let alias_bytes = input.u16()?;
        input.take(usize::from(alias_bytes))?;
        input.take(8)?;
        match tag {
            1 => contents.keys.push(key_entry(&mut input, version, &password)?),
            2 => contents.trusted.push(certificate(&mut input, version)?),
            _ => return Err(StoreError::Damaged("an entry of no known kind")),
        }
    }
    Ok(contents)
}

fn key_entry(input: &mut Input<'_>, version: u32, password: &[u8]) -> Result<KeyEntry, StoreError> {
    let wrapped = input.block()?;
    let key = PrivateKey::Pkcs8(unwrap(wrapped, password)?);
    let count = input.u32()? as usize;
    if count > CHAIN {
        return Err(StoreError::TooMuch("a chain of certificates"));
    }
    let chain: Result<_, _> = (0..count).map(|_| certificate(input, version)).collect();
    Ok(KeyEntry { key, chain: chain? })
}

fn certificate(input: &mut Input<'_>, version: u32) -> Result<Vec<u8>, StoreError> {
    if version == 2 {
        let kind_bytes = input.u16()?;
        input.take(usize::from(kind_bytes))?;
    }
    input.block().map(<[u8]>::to_vec)
}

/// Opens a key: salt, the key under a stream of digests, a digest of the key.
fn unwrap(wrapped: &[u8], password: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut info = Reader::new(wrapped).enter(der::SEQUENCE)?;
    let algorithm = info.enter(der::SEQUENCE)?.take(der::OID)?;
    if algorithm != PROTECTOR {
        return Err(StoreError::Unknown(format!("the cipher {}", der::dotted(algorithm))));
    }
    let sealed = info.take(der::OCTETS)?;
    let (salt, rest) = sealed.split_first_chunk::<DIGEST>().ok_or(CUT_SHORT)?;
    let (body, check) = rest.split_last_chunk::<DIGEST>().ok_or(CUT_SHORT)?;
    let mut block = *salt;
    let mut key = Vec::with_capacity(body.len());
    for part in body.chunks(DIGEST) {
        block = digest(password, &block);
        key.extend(part.iter().zip(&block).map(|(sealed, stream)| sealed ^ stream));
    }
    match digest(password, &key) == *check {
        true => Ok(key),
        false => Err(StoreError::WrongPassword),
    }
}

fn digest(password: &[u8], bytes: &[u8]) -> [u8; DIGEST] {
    let mut hash = Sha1::new();
    hash.update(password);
    hash.update(bytes);
    hash.finalize().into()
}

/// Java's characters, the high byte first.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    fn u16(&mut self) -> Result<u16, StoreError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*head))
    }

    /// Bytes behind their length.
    fn block(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.u32()?;
        self.take(length as usize)
    }
}

const DIGEST: usize = 20;
const CUT_SHORT: StoreError = StoreError::Damaged("it is cut short");

/// Certificates of one key.
const CHAIN: usize = 64;

/// 1.3.6.1.4.1.42.2.17.1.1
const PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];
