//! The scheme `ip`: addresses and prefixes as Java writes and reads them.

use std::net::IpAddr;

const V6_SEGMENTS: usize = 8;
const V6_SEGMENT_DIGITS: usize = 4;

/// An address as Java's `getHostAddress` writes it: IPv6 without compression.
pub(super) fn text(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.segments().map(|segment| format!("{segment:x}")).join(":"),
    }
}

/// An address with the number of leading bits that count.
pub(super) struct Prefix {
    bytes: Vec<u8>,
    bits: usize,
}

impl Prefix {
    /// `address[/bits]`.
    pub(super) fn parse(expression: &str) -> Option<Prefix> {
        let (address, bits) = match expression.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (expression, None),
        };
        let bytes = address_bytes(address)?;
        let whole = bytes.len() * 8;
        let bits = match bits {
            None => whole,
            Some(bits) => usize::try_from(java_int(bits, 10)?).ok().filter(|n| *n <= whole)?,
        };
        Some(Prefix { bytes, bits })
    }

    pub(super) fn covers(&self, address: &str) -> bool {
        let Some(other) = address_bytes(address) else { return false };
        other.len() == self.bytes.len()
            && self.bytes.iter().zip(&other).enumerate().all(|(i, (a, b))| {
                let counted = self.bits.saturating_sub(i * 8).min(8) as u32;
                (a ^ b).leading_zeros() >= counted
            })
    }
}

fn address_bytes(address: &str) -> Option<Vec<u8>> {
    if address.contains(':') { v6_bytes(address) } else { v4_bytes(address) }
}

fn v4_bytes(address: &str) -> Option<Vec<u8>> {
    let byte = |part: &str| u8::try_from(java_int(part, 10)?).ok();
    let bytes: Vec<u8> = address.split('.').map(byte).collect::<Option<_>>()?;
    (bytes.len() == 4).then_some(bytes)
}

fn v6_bytes(address: &str) -> Option<Vec<u8>> {
    let (head, tail) = match address.split_once("::") {
        None => (v6_segments(address)?, None),
        Some((_, tail)) if tail.contains("::") => return None,
        Some((head, tail)) => (v6_segments(head)?, Some(v6_segments(tail)?)),
    };
    let given = head.len() + tail.as_ref().map_or(0, Vec::len);
    let fits = if tail.is_none() { given == V6_SEGMENTS } else { given < V6_SEGMENTS };
    if !fits {
        return None;
    }
    let gap = std::iter::repeat_n([0, 0], V6_SEGMENTS - given);
    Some(head.into_iter().chain(gap).chain(tail.unwrap_or_default()).flatten().collect())
}

fn v6_segments(text: &str) -> Option<Vec<[u8; 2]>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(':').map(v6_segment).collect()
}

fn v6_segment(text: &str) -> Option<[u8; 2]> {
    if text.len() > V6_SEGMENT_DIGITS {
        return None;
    }
    // A sign is read as Java reads it; of a negative number the low bits stay.
    java_int(text, 16).map(|n| (n as u16).to_be_bytes())
}

/// `Integer.parseInt`: one sign, then digits only.
fn java_int(text: &str, radix: u32) -> Option<i32> {
    i32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(expression: &str, address: &str) -> bool {
        Prefix::parse(expression).is_some_and(|prefix| prefix.covers(address))
    }

    #[test]
    fn a_mapped_address_is_seen_as_the_ipv4_it_carries() {
        assert_eq!(text("::ffff:10.1.2.3".parse().expect("an address")), "10.1.2.3");
        assert_eq!(text("::1".parse().expect("an address")), "0:0:0:0:0:0:0:1");
        assert_eq!(text("fe80::ABCD".parse().expect("an address")), "fe80:0:0:0:0:0:0:abcd");
    }

    #[test]
    fn prefixes_cover_what_shares_their_bits() {
        assert!(covers("10.0.0.0/8", "10.255.1.2"));
        assert!(!covers("10.0.0.0/8", "11.0.0.0"));
        assert!(covers("10.0.0.128/25", "10.0.0.200"));
        assert!(!covers("10.0.0.128/25", "10.0.0.100"));
        assert!(covers("0.0.0.0/0", "255.1.2.3"));
        assert!(covers("127.0.0.1", "127.0.0.1"));
        assert!(covers("2001:db8::/32", "2001:db8:0:0:0:0:0:1"));
        assert!(!covers("2001:db8::/32", "2001:db9:0:0:0:0:0:1"));
        assert!(!covers("0.0.0.0/0", "0:0:0:0:0:0:0:1"));
        assert!(!covers("::/0", "1.2.3.4"));
    }

    #[test]
    fn expressions_are_judged_as_java_judges_them() {
        for good in ["1.2.3.4", "+1.02.3.4", "1.2.3.4/0", "1.2.3.4/32", "::", "::1", "1::", "1::2"]
        {
            assert!(Prefix::parse(good).is_some(), "{good}");
        }
        assert!(Prefix::parse("1:2:3:4:5:6:7:8/128").is_some());
        let bad = [
            "",
            "a",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.-1",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/a",
            "1.2.3.4/-1",
            "1.2.3.4/8/8",
            "localhost",
            ":",
            ":::",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7::8",
            "12345::",
            "g::",
            "::1/129",
            "fe80::1%eth0",
        ];
        for bad in bad {
            assert!(Prefix::parse(bad).is_none(), "{bad}");
        }
    }
}
