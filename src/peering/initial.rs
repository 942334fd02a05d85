//! The first message of an election link: who dialled, and where he is dialled back.

use std::fmt;
use std::net::Ipv6Addr;

use crate::base::ServerId;
use crate::base::limits::ELECTION_ADDRESS_BYTES;
use crate::proto::{Writer, begin_frame, decode_utf8, end_frame};

use super::foreign::StreamError;

/// A host as it was written, without the brackets of IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl HostPort {
    fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']')?;
                (host, rest.strip_prefix(':')?)
            }
            None => text.split_once(':')?,
        };
        Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// No place to dial: every address of a host, or no host at all.
    fn is_wildcard(&self) -> bool {
        let address = self.host.split('%').next().unwrap_or_default();
        let is_any = |ip: Ipv6Addr| ip.to_canonical().is_unspecified();
        // Java reads `0` and `0.0` as 0.0.0.0 too.
        self.host.bytes().all(|b| matches!(b, b'0' | b'.')) || address.parse().is_ok_and(is_any)
    }
}

/// As in Java, brackets around whatever has a colon.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What a dialler says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initial {
    pub server: ServerId,
    /// Its election addresses. None in the form of before 3.5, which is a bare id, and where all
    /// were wildcards.
    pub addresses: Vec<HostPort>,
}

/// The number in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum InitialForm {
    /// One address. All that a server of 3.5 reads, so it is used wherever one is enough.
    V1 = -65536,
    /// All addresses of a server that has several (`multiAddress.enabled`).
    V2 = -65535,
}

impl InitialForm {
    pub(super) fn from_number(n: i64) -> Option<InitialForm> {
        [InitialForm::V1, InitialForm::V2].into_iter().find(|form| *form as i64 == n)
    }
}

/// What is said by who has no address that fits: receivers skip it and look into their
/// configuration.
const NOWHERE: &str = "0.0.0.0:0";

impl Initial {
    /// The id of old observers, which have none of their own.
    pub const ANONYMOUS: ServerId = ServerId(i64::MAX);

    /// To leave in one write: Java reads the addresses by one read.
    pub fn write(&self, form: InitialForm, out: &mut Vec<u8>) {
        out.put_i64(form as i64);
        out.put_i64(self.server.0);
        let mark = begin_frame(out);
        let most = if form == InitialForm::V1 { 1 } else { self.addresses.len() };
        for address in self.addresses.iter().take(most) {
            let text = address.to_string();
            let said = out.len() - mark - 4;
            let bar = if said > 0 { "|" } else { "" };
            if said + bar.len() + text.len() <= ELECTION_ADDRESS_BYTES {
                // In UTF-8 whatever the locale: peers that differ in theirs would not understand
                // each other.
                out.put_slice(bar.as_bytes());
                out.put_slice(text.as_bytes());
            }
        }
        if out.len() == mark + 4 {
            out.put_slice(NOWHERE.as_bytes());
        }
        end_frame(out, mark);
    }

    /// The addresses of either form. Bytes that are not UTF-8 become U+FFFD as in Java: the host
    /// is unknown then, and the link is good.
    pub(super) fn read_addresses(bytes: &[u8]) -> Result<Vec<HostPort>, StreamError> {
        let text = decode_utf8(bytes);
        let mut found = Vec::new();
        // Java's split drops what is empty at the end.
        for part in text.trim_end_matches('|').split_terminator('|') {
            let address = HostPort::parse(part).ok_or(StreamError::Address)?;
            if !address.is_wildcard() {
                found.push(address);
            }
        }
        Ok(found)
    }
}
