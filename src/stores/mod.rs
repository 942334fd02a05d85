//! Stores of keys and certificates over bytes: JKS, PKCS12 and PEM.
//!
//! Decides what a store holds and whether its password fits, and how the name in a certificate is
//! written. Never opens a file, never judges whether a certificate is to be trusted.

mod certificate;
mod der;
mod jks;
mod pbe;
mod pem;
mod pkcs12;
mod signed;
#[cfg(test)]
mod tests;

use std::fmt;

pub use certificate::{Certificate, DnError, subject_name};
pub use signed::Signed;

/// How a store is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Either of Java's own, as Java itself does not insist: the first bytes decide.
    Java,
    Pem,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub keys: Vec<KeyEntry>,
    /// Certificates that others are measured by, in DER.
    pub trusted: Vec<Vec<u8>>,
    /// Lists of revoked certificates, in DER.
    pub revocations: Vec<Vec<u8>>,
}

/// A private key and the certificates that speak for it, its own first.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyEntry {
    pub key: PrivateKey,
    pub chain: Vec<Vec<u8>>,
}

/// DER by what wraps it.
#[derive(Clone, PartialEq, Eq)]
pub enum PrivateKey {
    Pkcs8(Vec<u8>),
    Pkcs1(Vec<u8>),
    Sec1(Vec<u8>),
}

/// No log line may show a key.
impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEntry(*** with {} certificates)", self.chain.len())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It is not written as such stores are.
    Damaged(&'static str),
    /// Its checksum is not that of this password, or its key does not open with it.
    WrongPassword,
    /// It is sound, but encrypted or signed in a way that is not there here.
    Unknown(String),
    /// More of something than any store of a server has.
    TooMuch(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Damaged(what) => write!(f, "it is damaged or no such store: {what}"),
            StoreError::WrongPassword => {
                f.write_str("the password does not fit, or the store was tampered with")
            }
            StoreError::Unknown(what) => write!(f, "{what} is not known here"),
            StoreError::TooMuch(what) => write!(f, "too large: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Reads a whole store.
pub fn open(format: Format, bytes: &[u8], password: &str) -> Result<Contents, StoreError> {
    if bytes.len() > STORE_BYTES {
        return Err(StoreError::TooMuch("a store of more than 16 MiB"));
    }
    match format {
        Format::Pem => pem::open(bytes, password),
        Format::Java if bytes.starts_with(&jks::MAGIC) => jks::open(bytes, password),
        Format::Java => pkcs12::open(bytes, password),
    }
}

/// Lists of revoked certificates: PEM, or one in DER.
pub fn open_revocations(bytes: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    if bytes.len() > STORE_BYTES {
        return Err(StoreError::TooMuch("a list of more than 16 MiB"));
    }
    if bytes.first() == Some(&der::SEQUENCE) {
        return Ok(vec![bytes.to_vec()]);
    }
    let lists = pem::open(bytes, "")?.revocations;
    match lists.is_empty() {
        true => Err(StoreError::Damaged("there is no list of revoked certificates in it")),
        false => Ok(lists),
    }
}

/// Every authority of the world fits in two hundredths of this.
const STORE_BYTES: usize = 16 * 1024 * 1024;

/// Entries of one store; the world's authorities are less than 200.
const ENTRIES: usize = 4096;
