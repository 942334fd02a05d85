//! Why a peer's stream cannot go on, and what speaks where a peer should.

use std::fmt;

/// Why a stream cannot go on: the link is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The first bytes are another language's.
    Foreign(Foreign),
    /// An election link begins with a negative number that names no protocol.
    Protocol(i64),
    /// The first message of an election link has no addresses, or too many.
    AddressLength(i32),
    /// An address in it is no `host:port`.
    Address,
    /// A message of an election link is empty or too long.
    MessageLength(i32),
    /// A quorum packet of a type that no peer sends.
    Kind(i32),
    /// The data or a string of a quorum packet is longer than Java reads.
    Length(i32),
    /// So many ids, or ids that begin so, are more than a packet may have.
    Ids(i32),
}

/// What speaks, as far as its first four bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Tls,
    Http,
    /// Letters: an operator's word, or anything typed.
    Text,
    /// A client that dialled the wrong port.
    Client,
    /// A learner at the election port.
    Learner,
    /// A peer's election at the quorum port.
    Elector,
    /// A peer that wants to prove itself, or us to: `quorum.auth.enableSasl` is set there.
    Sasl,
}

/// The first four bytes of every method that is in use, and of HTTP/2's preface.
const HTTP: [&[u8; 4]; 10] =
    [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"CONN", b"TRAC", b"PATC", b"PRI "];

impl Foreign {
    /// Judges four bytes that are not what was expected, so that it does not matter how many more
    /// of them came at once.
    pub(super) fn look(head: [u8; 4]) -> Option<Foreign> {
        if HTTP.contains(&&head) {
            return Some(Foreign::Http);
        }
        match head {
            [0x16, 0x03, 0..=4, _] => Some(Foreign::Tls),
            // The half of a magic number.
            [0x5f, 0x24, 0x35, 0x01] => Some(Foreign::Sasl),
            // The length of a handshake: with or without a password, and the read-only byte.
            [0, 0, 0, 28 | 29 | 44 | 45] => Some(Foreign::Client),
            // FOLLOWERINFO and OBSERVERINFO.
            [0, 0, 0, 11 | 16] => Some(Foreign::Learner),
            // The half of a protocol number.
            [0xff, 0xff, 0xff, 0xff] => Some(Foreign::Elector),
            _ if head.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n' | b'\t')) => {
                Some(Foreign::Text)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Foreign::Tls => "a TLS hello",
            Foreign::Http => "an HTTP request",
            Foreign::Text => "text",
            Foreign::Client => "a client's handshake",
            Foreign::Learner => "a learner's first packet, on the election port",
            Foreign::Elector => "an election message, on the quorum port",
            Foreign::Sasl => "SASL between servers",
        })
    }
}

/// In Apache's words where it has some.
impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Foreign(what) => write!(f, "this looks like {what}"),
            StreamError::Protocol(n) => write!(f, "Got unrecognized protocol version {n}"),
            StreamError::AddressLength(n) => write!(f, "Unreasonable buffer length: {n}"),
            StreamError::Address => f.write_str("Badly formed address"),
            StreamError::MessageLength(n) => {
                write!(f, "Received packet with invalid packet: {n}")
            }
            StreamError::Kind(n) => write!(f, "unexpected quorum packet, type: {n}"),
            StreamError::Length(n) => write!(f, "Unreasonable length = {n}"),
            StreamError::Ids(n) => write!(f, "Unreasonable authinfo = {n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_knocks_at_the_wrong_door_is_told_by_its_first_bytes() {
        for (head, what) in [
            (*b"\x16\x03\x01\x02", Foreign::Tls),
            (*b"\x16\x03\x03\x00", Foreign::Tls),
            (*b"GET ", Foreign::Http),
            (*b"PRI ", Foreign::Http),
            (*b"ruok", Foreign::Text),
            (*b"\r\n\r\n", Foreign::Text),
            (*b"\0\0\0\x2d", Foreign::Client),
            (*b"\0\0\0\x0b", Foreign::Learner),
            (*b"\xff\xff\xff\xff", Foreign::Elector),
            (*b"\x5f\x24\x35\x01", Foreign::Sasl),
        ] {
            assert_eq!(Foreign::look(head), Some(what), "{head:x?}");
            assert!(StreamError::Foreign(what).to_string().starts_with("this looks like "));
        }
        for head in [*b"\0\0\0\0", *b"\0\0\0\x63", *b"\x16\x03\x09\x00", *b"abc\0", *b"\x80ABC"] {
            assert_eq!(Foreign::look(head), None, "{head:x?}");
        }
        let magic = (-(0xa0db_cafe_cafe_1234_u64 as i64)).to_be_bytes();
        assert_eq!(magic.first_chunk(), Some(b"\x5f\x24\x35\x01"), "Java's number");
    }
}
