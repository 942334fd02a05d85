//! Java's strings on the wire: decoded from UTF-8 with replacement, encoded unit by unit.

use std::borrow::Cow;

/// Decodes as `new String(bytes, UTF_8)`: bad sequences become U+FFFD. Differs from the usual
/// substitution in one place: an encoded surrogate is one replacement, not three.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(s) => Cow::Borrowed(s),
        Err(_) => Cow::Owned(decode_lossy(bytes)),
    }
}

/// Goes through the bytes twice, so that it takes no more memory than the string needs: three times
/// theirs where all of them are bad.
fn decode_lossy(bytes: &[u8]) -> String {
    let mut length = 0;
    for_parts(bytes, |part| length += part.len());
    let mut out = String::with_capacity(length);
    for_parts(bytes, |part| out.push_str(part));
    out
}

fn for_parts(mut bytes: &[u8], mut each: impl FnMut(&str)) {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(s) => return each(s),
            Err(e) => {
                let (good, bad) = bytes.split_at(e.valid_up_to());
                each(std::str::from_utf8(good).unwrap_or_default());
                each("\u{fffd}");
                let skip = surrogate_len(bad).or(e.error_len()).unwrap_or(bad.len());
                bytes = bad.get(skip..).unwrap_or_default();
            }
        }
    }
}

/// The length of an encoded surrogate, whole or cut short, at the front.
fn surrogate_len(bad: &[u8]) -> Option<usize> {
    match bad {
        [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => Some(3),
        [0xed, 0xa0..=0xbf, ..] => Some(2),
        _ => None,
    }
}

/// Encodes each UTF-16 unit separately: a character outside the BMP takes 2 × 3 bytes.
pub fn encode(s: &str) -> Cow<'_, [u8]> {
    if is_alike(s.as_bytes()) {
        return Cow::Borrowed(s.as_bytes());
    }
    let mut out = Vec::with_capacity(s.len() + s.len() / 2);
    let mut units = [0u16; 2];
    let mut utf8 = [0u8; 4];
    for c in s.chars() {
        if (c as u32) < 0x1_0000 {
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            continue;
        }
        for &unit in c.encode_utf16(&mut units).iter() {
            out.push(0xe0 | (unit >> 12) as u8);
            out.push(0x80 | ((unit >> 6) & 0x3f) as u8);
            out.push(0x80 | (unit & 0x3f) as u8);
        }
    }
    Cow::Owned(out)
}

/// Whether UTF-8 is encoded as it is: only four-byte sequences start with 0xf0 or above.
pub fn is_alike(utf8: &[u8]) -> bool {
    utf8.is_ascii() || !utf8.iter().any(|b| *b >= 0xf0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bytes_become_replacement_characters_as_in_java() {
        assert_eq!(decode(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(decode(b"\xed\xa0\x80"), "\u{fffd}");
        assert_eq!(decode(b"\xed\xa0"), "\u{fffd}");
        assert_eq!(decode(b"\xed\xa0x"), "\u{fffd}x");
        assert_eq!(decode(b"\xe2\x82"), "\u{fffd}");
        assert_eq!(decode(b"\xf5\x80"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_string_of_bad_bytes_takes_what_it_needs_and_no_more() {
        for count in [1, 5, 29, 317] {
            let string = decode(&vec![0xe0; count]).into_owned();
            assert_eq!((string.len(), string.capacity()), (3 * count, 3 * count));
        }
    }

    #[test]
    fn characters_outside_the_bmp_take_six_bytes() {
        assert_eq!(encode("a\u{1f600}").as_ref(), b"a\xed\xa0\xbd\xed\xb8\x80");
        assert_eq!(encode("é").as_ref(), "é".as_bytes());
    }
}
