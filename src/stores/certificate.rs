//! What a certificate says: whose it is, who vouches for it, and until when.

use std::fmt::Write;

use super::StoreError;
use super::der::{self, Element, Reader};

/// The parts of an X.509 certificate that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's name, encoded.
    pub subject: Vec<u8>,
    pub issuer: Vec<u8>,
    /// Hexadecimal, as others print it.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

impl Certificate {
    pub fn parse(bytes: &[u8]) -> Result<Certificate, StoreError> {
        let mut signed = Reader::new(bytes).enter(der::SEQUENCE)?.enter(der::SEQUENCE)?;
        signed.take_if(der::inner(0));
        let serial = signed.take(der::INTEGER)?;
        signed.take(der::SEQUENCE)?;
        let issuer = signed.next()?;
        let mut validity = signed.enter(der::SEQUENCE)?;
        let (not_before, not_after) = (seconds(validity.next()?)?, seconds(validity.next()?)?);
        let subject = signed.next()?;
        if subject.tag != der::SEQUENCE || serial.len() > SERIAL {
            return Err(StoreError::Damaged("a certificate without a sound name and number"));
        }
        Ok(Certificate {
            subject: subject.whole.to_vec(),
            issuer: issuer.whole.to_vec(),
            serial: hex(serial),
            not_before,
            not_after,
        })
    }

    /// The subject as Java prints it.
    pub fn subject_name(&self) -> Result<String, DnError> {
        subject_name(&self.subject)
    }
}

/// A certificate and those that vouch for it, one for the next, as far as they are there.
pub fn chain_of(leaf: &[u8], all: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut chain = vec![leaf.to_vec()];
    let Ok(mut last) = Certificate::parse(leaf) else { return chain };
    let parsed: Vec<(&[u8], Certificate)> =
        all.iter().filter_map(|der| Some((*der, Certificate::parse(der).ok()?))).collect();
    while chain.len() < CHAIN && last.issuer != last.subject {
        let next = parsed.iter().find(|(der, certificate)| {
            certificate.subject == last.issuer && !chain.iter().any(|c| c == der)
        });
        let Some((der, certificate)) = next else { break };
        chain.push(der.to_vec());
        last = certificate.clone();
    }
    chain
}

/// A name that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnError;

/// An encoded name as Java's `X500Principal.getName()`: RFC 2253, the last part first.
pub fn subject_name(name: &[u8]) -> Result<String, DnError> {
    let mut parts = Reader::new(name).enter(der::SEQUENCE).map_err(|_| DnError)?;
    let mut levels: Vec<String> = Vec::new();
    while !parts.is_empty() {
        if levels.len() >= LEVELS {
            return Err(DnError);
        }
        let mut set = parts.enter(der::SET).map_err(|_| DnError)?;
        let mut level = String::new();
        while !set.is_empty() {
            let mut attribute = set.enter(der::SEQUENCE).map_err(|_| DnError)?;
            let kind = attribute.take(der::OID).map_err(|_| DnError)?;
            let value = attribute.next().map_err(|_| DnError)?;
            if !level.is_empty() {
                level.push('+');
            }
            write_attribute(&mut level, kind, &value);
        }
        levels.push(level);
    }
    levels.reverse();
    Ok(levels.join(","))
}

fn write_attribute(out: &mut String, kind: &[u8], value: &Element<'_>) {
    let keyword = KEYWORDS.iter().find(|(oid, _)| *oid == kind).map(|(_, keyword)| *keyword);
    match keyword {
        Some(keyword) => out.push_str(keyword),
        None => out.push_str(&der::dotted(kind)),
    }
    out.push('=');
    match text(value).filter(|_| keyword.is_some()) {
        Some(text) => write_escaped(out, &text),
        None => {
            out.push('#');
            out.push_str(&hex(value.whole));
        }
    }
}

fn write_escaped(out: &mut String, text: &str) {
    let is_blank = |c: char| c == ' ' || c == '\r';
    let lead = text.len() - text.trim_start_matches(is_blank).len();
    let trail = text.trim_end_matches(is_blank).len();
    for (at, c) in text.char_indices() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0' => out.push_str("\\00"),
            _ => {
                if at < lead || at >= trail {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
}

/// The text of a string, none where it is something else. What its alphabet lacks becomes U+FFFD.
fn text(value: &Element<'_>) -> Option<String> {
    let bytes = value.content;
    let ascii = |b: &u8| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER };
    match value.tag {
        0x0c => Some(String::from_utf8_lossy(bytes).into_owned()),
        0x13 | 0x16 | 0x1b => Some(bytes.iter().map(ascii).collect()),
        0x14 => Some(bytes.iter().map(|b| char::from(*b)).collect()),
        0x1e => {
            let pairs = bytes.chunks_exact(2);
            let rest = pairs.remainder();
            let units = pairs.map(|pair| pair.iter().fold(0, |unit, b| unit << 8 | u16::from(*b)));
            let mut text: String = char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            if !rest.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            Some(text)
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// `UTCTime` or `GeneralizedTime`, in seconds since 1970.
fn seconds(time: Element<'_>) -> Result<i64, StoreError> {
    let no_time = StoreError::Damaged("a certificate whose time cannot be read");
    let digits = time.content.strip_suffix(b"Z").ok_or(no_time.clone())?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(no_time);
    }
    let number = |part: &[u8]| part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let (year, rest) = match (time.tag, digits.len()) {
        (0x17, 12) => {
            let (year, rest) = digits.split_at(2);
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (0x18, 14) => {
            let (year, rest) = digits.split_at(4);
            (number(year), rest)
        }
        _ => return Err(no_time),
    };
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| rest.get(at..at + 2).map_or(0, number));
    Ok(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the odd day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

const SERIAL: usize = 64;
const CHAIN: usize = 64;
const LEVELS: usize = 256;

/// What RFC 2253 has words for.
const KEYWORDS: [(&[u8], &str); 9] = [
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
];
