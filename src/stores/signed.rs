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
    /// It may vouch for others: it says so, or is too old to say anything.
    pub is_authority: bool,
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
        let constraints = extension(parts, BASIC_CONSTRAINTS)?;
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
            is_authority: version < 3
                || constraints.is_some_and(|content| content.starts_with(YES)),
        })
    }
}

/// The content of an extension, whose value is a sequence; `parts` are behind the public key.
fn extension<'a>(mut parts: Reader<'a>, name: &[u8]) -> Result<Option<&'a [u8]>, StoreError> {
    parts.take_if(der::bare(1));
    parts.take_if(der::bare(2));
    let Some(list) = parts.take_if(der::inner(3)) else { return Ok(None) };
    let mut list = Reader::new(list).enter(der::SEQUENCE)?;
    while !list.is_empty() {
        let mut one = list.enter(der::SEQUENCE)?;
        let is_it = one.take(der::OID)? == name;
        one.take_if(der::BOOLEAN);
        let value = one.take(der::OCTETS)?;
        if is_it {
            return Reader::new(value).take(der::SEQUENCE).map(Some);
        }
    }
    Ok(None)
}

/// A string of bits that are whole bytes.
fn bits<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], StoreError> {
    let content = reader.take(BITS)?;
    content.strip_prefix(&[0]).ok_or(StoreError::Damaged("bits that are no bytes"))
}

const BITS: u8 = 0x03;
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// "It is an authority", the first of the basic constraints.
const YES: &[u8] = &[der::BOOLEAN, 1, 0xff];
/// The encoded name of the extension; found elsewhere by chance it only makes us stricter.
const NAME_CONSTRAINTS: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x1e];
