//! A certificate as somebody who checks signatures takes it apart, of whatever version.

use super::StoreError;
use super::der::{self, Reader};

/// The parts of an X.509 certificate that vouching is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// 1 where it says nothing.
    pub version: u32,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    /// The subject's public key: all of it as it is encoded, the content of its algorithm, its
    /// bits.
    pub key_info: &'a [u8],
    pub key_algorithm: &'a [u8],
    pub key: &'a [u8],
    /// What the issuer has signed, how, and its signature.
    pub message: &'a [u8],
    pub algorithm: &'a [u8],
    pub signature: &'a [u8],
    pub limits_names: bool,
}

impl Signed<'_> {
    pub fn parse(bytes: &[u8]) -> Result<Signed<'_>, StoreError> {
        let mut outer = Reader::new(bytes);
        let mut whole = outer.enter(der::SEQUENCE)?;
        let message = whole.next()?;
        let algorithm = whole.take(der::SEQUENCE)?;
        let signature = bits(&mut whole)?;
        if message.tag != der::SEQUENCE || !whole.is_empty() || !outer.is_empty() {
            return Err(StoreError::Damaged("a certificate of other parts"));
        }
        let mut parts = Reader::new(message.content);
        let version = match parts.take_if(der::inner(0)) {
            Some(version) => 1 + Reader::new(version).count(2)?,
            None => 1,
        };
        parts.take(der::INTEGER)?;
        if parts.take(der::SEQUENCE)? != algorithm {
            return Err(StoreError::Damaged("a certificate that names two ways to sign"));
        }
        let issuer = parts.next()?.whole;
        parts.take(der::SEQUENCE)?;
        let subject = parts.next()?.whole;
        let key_info = parts.next()?;
        let mut info = Reader::new(key_info.whole).enter(der::SEQUENCE)?;
        let key_algorithm = info.take(der::SEQUENCE)?;
        let key = bits(&mut info)?;
        Ok(Signed {
            version,
            issuer,
            subject,
            key_info: key_info.whole,
            key_algorithm,
            key,
            message: message.whole,
            algorithm,
            signature,
            limits_names: message.content.windows(5).any(|bytes| bytes == NAME_CONSTRAINTS),
        })
    }
}

/// A string of bits that are whole bytes.
fn bits<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], StoreError> {
    let content = reader.take(BITS)?;
    content.strip_prefix(&[0]).ok_or(StoreError::Damaged("bits that are no bytes"))
}

const BITS: u8 = 0x03;
/// The encoded name of the extension; found elsewhere by chance it only makes us stricter.
const NAME_CONSTRAINTS: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x1e];
