//! DER as far as keys and certificates need it: definite lengths, tags of one byte.

use super::StoreError;

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// The context's own tag `n`, with elements in it.
pub const fn inner(n: u8) -> u8 {
    0xa0 | n
}

/// The context's own tag `n`, with bytes in it.
pub const fn bare(n: u8) -> u8 {
    0x80 | n
}

/// One element: its tag, what is in it, and the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

/// Reads elements one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn next(&mut self) -> Result<Element<'a>, StoreError> {
        let (element, rest) = split(self.rest).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(element)
    }

    /// The content of the next element, which must have this tag.
    pub fn take(&mut self, tag: u8) -> Result<&'a [u8], StoreError> {
        match self.next()? {
            element if element.tag == tag => Ok(element.content),
            _ => Err(StoreError::Damaged("another kind of element was expected")),
        }
    }

    /// The next element's content where it has this tag; else nothing is read.
    pub fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (element, rest) = split(self.rest)?;
        if element.tag != tag {
            return None;
        }
        self.rest = rest;
        Some(element.content)
    }

    /// A reader within the next element, which must have this tag.
    pub fn enter(&mut self, tag: u8) -> Result<Reader<'a>, StoreError> {
        self.take(tag).map(Reader::new)
    }

    /// A count that is no negative number and no more than `most`.
    pub fn count(&mut self, most: u32) -> Result<u32, StoreError> {
        number(self.take(INTEGER)?, most)
    }
}

pub fn number(content: &[u8], most: u32) -> Result<u32, StoreError> {
    let mut value = 0u64;
    if content.is_empty() || content.len() > 5 {
        return Err(StoreError::TooMuch("a count"));
    }
    for byte in content {
        value = value << 8 | u64::from(*byte);
    }
    match u32::try_from(value) {
        Ok(value) if value <= most && content[0] < 0x80 => Ok(value),
        _ => Err(StoreError::TooMuch("a count")),
    }
}

fn split(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let digits = usize::from(first & 0x7f);
        if digits == 0 || digits > 4 || tag & 0x1f == 0x1f {
            return None;
        }
        let (head, behind) = rest.split_at_checked(digits)?;
        rest = behind;
        head.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
    };
    let (content, behind) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - behind.len())?;
    Some((Element { tag, content, whole }, behind))
}

/// An object identifier as it is written with dots.
pub fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut value = 0u64;
    for byte in oid {
        value = value.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        if arcs.is_empty() {
            let root = (value / 40).min(2);
            arcs.push(root);
            value -= root * 40;
        }
        arcs.push(value);
        value = 0;
    }
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}

const CUT_SHORT: StoreError = StoreError::Damaged("an element is cut short");
