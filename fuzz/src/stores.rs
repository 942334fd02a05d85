//! Stores of keys and certificates, and the names in certificates.

use zkd::stores::{self, Certificate, Format, PrivateKey, Signed};

use crate::planted;

/// The first byte chooses the format.
pub fn stores(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let format = if choice & 1 == 0 { Format::Java } else { Format::Pem };
    let _ = stores::open_revocations(data);
    let _ = Certificate::parse(data).map(|certificate| certificate.subject_name());
    let _ = Signed::parse(data);
    if let Ok(name) = stores::subject_name(data) {
        planted(name.as_bytes());
    }
    let Ok(contents) = stores::open(format, data, "sesame") else { return };
    for entry in &contents.keys {
        let (PrivateKey::Pkcs8(der) | PrivateKey::Pkcs1(der) | PrivateKey::Sec1(der)) = &entry.key;
        planted(der);
    }
    let chains = contents.keys.iter().flat_map(|entry| &entry.chain);
    for der in contents.trusted.iter().chain(chains).chain(&contents.revocations) {
        planted(der);
    }
}
