//! PEM: blocks of base64 between lines that say what they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::der::{self, Reader};
use super::pbe::Rounds;
use super::{Contents, ENTRIES, KeyEntry, PrivateKey, StoreError, pbe};

/// A key and certificates in any order: the certificates are its chain, and trusted where the
/// store is asked for those.
pub fn open(bytes: &[u8], password: &str) -> Result<Contents, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| StoreError::Damaged("it is no text"))?;
    let mut contents = Contents::default();
    let mut keys = Vec::new();
    let mut rounds = Rounds::of_a_store();
    let mut rest = text;
    while let Some(block) = next_block(&mut rest)? {
        if keys.len() + contents.trusted.len() + contents.revocations.len() >= ENTRIES {
            return Err(StoreError::TooMuch("the number of entries"));
        }
        match block.label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                contents.trusted.push(block.decoded()?);
            }
            "X509 CRL" => contents.revocations.push(block.decoded()?),
            "PRIVATE KEY" => keys.push(PrivateKey::Pkcs8(block.decoded()?)),
            "RSA PRIVATE KEY" => keys.push(PrivateKey::Pkcs1(block.decoded()?)),
            "EC PRIVATE KEY" => keys.push(PrivateKey::Sec1(block.decoded()?)),
            "ENCRYPTED PRIVATE KEY" => {
                keys.push(open_key(&block.decoded()?, password, &mut rounds)?);
            }
            _ => {}
        }
    }
    for key in keys {
        contents.keys.push(KeyEntry { key, chain: contents.trusted.clone() });
    }
    Ok(contents)
}

fn open_key(wrapped: &[u8], password: &str, rounds: &mut Rounds) -> Result<PrivateKey, StoreError> {
    let mut info = Reader::new(wrapped).enter(der::SEQUENCE)?;
    let mut algorithm = info.enter(der::SEQUENCE)?;
    let sealed = info.take(der::OCTETS)?;
    let key = pbe::decrypt(&mut algorithm, sealed, password, rounds)?;
    // What another password makes of it has a right end once in 256 times, and no right beginning.
    let begins = Reader::new(&key).enter(der::SEQUENCE).and_then(|mut key| key.count(1));
    begins.map_err(|_| StoreError::WrongPassword)?;
    Ok(PrivateKey::Pkcs8(key))
}

struct Block<'a> {
    label: &'a str,
    body: &'a str,
}

impl Block<'_> {
    fn decoded(&self) -> Result<Vec<u8>, StoreError> {
        if self.body.contains(':') {
            let what = "a key encrypted in openssl's old way (write it as PKCS8)";
            return Err(StoreError::Unknown(what.to_owned()));
        }
        let text: String = self.body.chars().filter(|c| !c.is_whitespace()).collect();
        STANDARD.decode(text).map_err(|_| StoreError::Damaged("a block is no base64"))
    }
}

/// The next block and what follows it; lines around blocks say nothing.
fn next_block<'a>(rest: &mut &'a str) -> Result<Option<Block<'a>>, StoreError> {
    let Some((_, behind)) = rest.split_once("-----BEGIN ") else { return Ok(None) };
    let open_ended = StoreError::Damaged("a block does not end");
    let (label, behind) = behind.split_once("-----").ok_or(open_ended.clone())?;
    let (body, behind) = behind.split_once("-----END ").ok_or(open_ended.clone())?;
    let (end, behind) = behind.split_once("-----").ok_or(open_ended)?;
    if end != label {
        return Err(StoreError::Damaged("a block ends as another kind"));
    }
    *rest = behind;
    Ok(Some(Block { label, body }))
}
