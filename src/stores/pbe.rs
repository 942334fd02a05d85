//! What a password opens: the ciphers and sums of PKCS5 and PKCS12.

use cbc::cipher::{BlockDecryptMut, KeyIvInit, block_padding::Pkcs7};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::StoreError;
use super::der::{self, Reader};

/// How many rounds of derivation one store may ask for, all its parts together.
pub struct Rounds {
    left: u32,
}

impl Rounds {
    /// Some seconds: a hundred parts with as many as keytool has, a few with what is advised now.
    pub fn of_a_store() -> Rounds {
        Rounds { left: 5_000_000 }
    }

    /// Takes a count from what is left; the count.
    pub fn spend(&mut self, count: u32) -> Result<u32, StoreError> {
        let left = self.left.checked_sub(count);
        self.left = left.ok_or(StoreError::TooMuch("the rounds of its derivations"))?;
        Ok(count)
    }
}

/// Deciphers what an `AlgorithmIdentifier` describes.
pub fn decrypt(
    algorithm: &mut Reader<'_>,
    sealed: &[u8],
    password: &str,
    budget: &mut Rounds,
) -> Result<Vec<u8>, StoreError> {
    let oid = algorithm.take(der::OID)?;
    match oid {
        PBES2 => pbes2(algorithm, sealed, password, budget),
        SHA1_3DES | SHA1_2DES | SHA1_RC2_128 | SHA1_RC2_40 => {
            let mut parameters = algorithm.enter(der::SEQUENCE)?;
            let salt = parameters.take(der::OCTETS)?;
            let rounds = budget.spend(parameters.count(ROUNDS)?)?;
            of_pkcs12(oid, salt, rounds, sealed, password)
        }
        _ => Err(StoreError::Unknown(format!("the cipher {}", der::dotted(oid)))),
    }
}

fn of_pkcs12(
    oid: &[u8],
    salt: &[u8],
    rounds: u32,
    sealed: &[u8],
    password: &str,
) -> Result<Vec<u8>, StoreError> {
    let secret = bmp(password);
    let derive = |id, length| derive(Hash::Sha1, id, &secret, salt, rounds, length);
    let iv = derive(2, 8)?;
    match oid {
        SHA1_3DES => cbc_open::<des::TdesEde3>(&derive(1, 24)?, &iv, sealed),
        SHA1_2DES => cbc_open::<des::TdesEde2>(&derive(1, 16)?, &iv, sealed),
        SHA1_RC2_128 => rc2_open(&derive(1, 16)?, &iv, sealed),
        _ => rc2_open(&derive(1, 5)?, &iv, sealed),
    }
}

fn pbes2(
    algorithm: &mut Reader<'_>,
    sealed: &[u8],
    password: &str,
    budget: &mut Rounds,
) -> Result<Vec<u8>, StoreError> {
    let mut parameters = algorithm.enter(der::SEQUENCE)?;
    let mut derivation = parameters.enter(der::SEQUENCE)?;
    let mut cipher = parameters.enter(der::SEQUENCE)?;
    let function = derivation.take(der::OID)?;
    if function != PBKDF2 {
        return Err(StoreError::Unknown(format!("the derivation {}", der::dotted(function))));
    }
    let mut derivation = derivation.enter(der::SEQUENCE)?;
    let salt = derivation.take(der::OCTETS)?;
    let rounds = budget.spend(derivation.count(ROUNDS)?)?;
    derivation.take_if(der::INTEGER);
    let hash = match derivation.take_if(der::SEQUENCE) {
        None => Hash::Sha1,
        Some(prf) => {
            let oid = Reader::new(prf).take(der::OID)?;
            Hash::of_hmac(oid)
                .ok_or_else(|| StoreError::Unknown(format!("the digest {}", der::dotted(oid))))?
        }
    };
    let oid = cipher.take(der::OID)?;
    let iv = cipher.take(der::OCTETS)?;
    let key = |length| pbkdf2(hash, password.as_bytes(), salt, rounds, length);
    match oid {
        AES_128 => cbc_open::<aes::Aes128>(&key(16), iv, sealed),
        AES_192 => cbc_open::<aes::Aes192>(&key(24), iv, sealed),
        AES_256 => cbc_open::<aes::Aes256>(&key(32), iv, sealed),
        DES3 => cbc_open::<des::TdesEde3>(&key(24), iv, sealed),
        _ => Err(StoreError::Unknown(format!("the cipher {}", der::dotted(oid)))),
    }
}

/// The sum of a PKCS12 store: HMAC with a key of its own.
pub fn store_sum(
    digest_oid: &[u8],
    password: &str,
    salt: &[u8],
    rounds: u32,
    data: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let hash = Hash::of_digest(digest_oid)
        .ok_or_else(|| StoreError::Unknown(format!("the checksum {}", der::dotted(digest_oid))))?;
    let key = derive(hash, 3, &bmp(password), salt, rounds, hash.length())?;
    Ok(hash.hmac(&key, data))
}

pub const ROUNDS: u32 = 10_000_000;

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The same expression over the type behind each name.
macro_rules! with_hash {
    ($hash:expr, $kind:ident => $body:expr) => {
        match $hash {
            Hash::Sha1 => {
                type $kind = Sha1;
                $body
            }
            Hash::Sha224 => {
                type $kind = Sha224;
                $body
            }
            Hash::Sha256 => {
                type $kind = Sha256;
                $body
            }
            Hash::Sha384 => {
                type $kind = Sha384;
                $body
            }
            Hash::Sha512 => {
                type $kind = Sha512;
                $body
            }
        }
    };
}

impl Hash {
    fn of_digest(oid: &[u8]) -> Option<Hash> {
        match oid {
            [0x2b, 0x0e, 0x03, 0x02, 0x1a] => Some(Hash::Sha1),
            [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last] => match last {
                1 => Some(Hash::Sha256),
                2 => Some(Hash::Sha384),
                3 => Some(Hash::Sha512),
                4 => Some(Hash::Sha224),
                _ => None,
            },
            _ => None,
        }
    }

    fn of_hmac(oid: &[u8]) -> Option<Hash> {
        let [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, last] = oid else { return None };
        match last {
            7 => Some(Hash::Sha1),
            8 => Some(Hash::Sha224),
            9 => Some(Hash::Sha256),
            10 => Some(Hash::Sha384),
            11 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Bytes of a digest.
    fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha224 => 28,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// Bytes that it takes at a time.
    fn block(self) -> usize {
        match self {
            Hash::Sha384 | Hash::Sha512 => 128,
            _ => 64,
        }
    }

    fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        with_hash!(self, D => {
            let mut hash = D::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().to_vec()
        })
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        with_hash!(self, D => {
            let mut mac = Hmac::<D>::new_from_slice(key).expect("a key of any length");
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        })
    }
}

fn pbkdf2(hash: Hash, password: &[u8], salt: &[u8], rounds: u32, length: usize) -> Vec<u8> {
    let mut key = vec![0; length];
    with_hash!(hash, D => pbkdf2::pbkdf2_hmac::<D>(password, salt, rounds.max(1), &mut key));
    key
}

/// The derivation of PKCS12, its appendix B.
fn derive(
    hash: Hash,
    id: u8,
    secret: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Result<Vec<u8>, StoreError> {
    if salt.len() > SALT {
        return Err(StoreError::TooMuch("a salt"));
    }
    let block = hash.block();
    let fill = |bytes: &[u8]| -> Vec<u8> {
        let full = bytes.len().div_ceil(block) * block;
        bytes.iter().copied().cycle().take(full).collect()
    };
    let diversifier = vec![id; block];
    let mut input = fill(salt);
    input.extend(fill(secret));
    let mut key = Vec::with_capacity(length + hash.length());
    while key.len() < length {
        let mut digest = hash.digest(&[&diversifier, &input]);
        for _ in 1..rounds {
            digest = hash.digest(&[&digest]);
        }
        for part in input.chunks_mut(block) {
            add_with_one(part, &digest);
        }
        key.extend_from_slice(&digest);
    }
    key.truncate(length);
    Ok(key)
}

/// `part + digest (repeated) + 1`, as one number of the block's length.
fn add_with_one(part: &mut [u8], digest: &[u8]) {
    let mut carry = 1u16;
    for (at, byte) in part.iter_mut().enumerate().rev() {
        let added = digest.get(at % digest.len()).copied().unwrap_or(0);
        carry += u16::from(*byte) + u16::from(added);
        *byte = carry as u8;
        carry >>= 8;
    }
}

/// A password as PKCS12 has it: two bytes a character, a zero behind.
fn bmp(password: &str) -> Vec<u8> {
    password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

fn cbc_open<C>(key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError>
where
    C: cbc::cipher::BlockCipher + cbc::cipher::BlockDecryptMut + cbc::cipher::KeyInit,
    cbc::Decryptor<C>: KeyIvInit + BlockDecryptMut,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv)
        .map_err(|_| StoreError::Damaged("a key or vector of another length"))?;
    let padded = cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed);
    padded.map_err(|_| StoreError::WrongPassword)
}

/// RC2 with as many effective bits as its key has.
fn rc2_open(key: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    use cbc::cipher::InnerIvInit;
    let cipher = rc2::Rc2::new_with_eff_key_len(key, key.len() * 8);
    let cipher = cbc::Decryptor::inner_iv_slice_init(cipher, iv)
        .map_err(|_| StoreError::Damaged("a vector of another length"))?;
    let padded = cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed);
    padded.map_err(|_| StoreError::WrongPassword)
}

const SALT: usize = 1024;

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const SHA1_3DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];
const SHA1_2DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x04];
const SHA1_RC2_128: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x05];
const SHA1_RC2_40: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06];
const AES_128: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_192: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16];
const AES_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const DES3: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
