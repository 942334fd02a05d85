//! The scheme `digest`: `user:base64(hash(user:password))`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

/// What hashes a credential, by the names of Java's `MessageDigest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Algorithm {
    hash: fn(&[u8]) -> Vec<u8>,
}

impl Algorithm {
    /// Case does not count, as in Java.
    pub(super) fn named(name: &str) -> Option<Algorithm> {
        let hash: fn(&[u8]) -> Vec<u8> = match name.to_ascii_uppercase().as_str() {
            "MD5" => hash::<Md5>,
            "SHA" | "SHA1" | "SHA-1" => hash::<Sha1>,
            "SHA-224" => hash::<Sha224>,
            "SHA-256" => hash::<Sha256>,
            "SHA-384" => hash::<Sha384>,
            "SHA-512" => hash::<Sha512>,
            "SHA-512/224" => hash::<Sha512_224>,
            "SHA-512/256" => hash::<Sha512_256>,
            "SHA3-224" => hash::<Sha3_224>,
            "SHA3-256" => hash::<Sha3_256>,
            "SHA3-384" => hash::<Sha3_384>,
            "SHA3-512" => hash::<Sha3_512>,
            _ => return None,
        };
        Some(Algorithm { hash })
    }

    /// The id a credential is worth. All of it is hashed; the user ends at the first colon.
    pub(super) fn id_of(self, credential: &str) -> String {
        let user = credential.split(':').next().unwrap_or_default();
        format!("{user}:{}", STANDARD.encode((self.hash)(credential.as_bytes())))
    }
}

fn hash<D: Digest>(bytes: &[u8]) -> Vec<u8> {
    D::digest(bytes).to_vec()
}

/// Whether an ACL may name this id: two parts as Java splits them, empty ones at the end not
/// counted.
pub(super) fn is_valid(id: &str) -> bool {
    let kept = id.trim_end_matches(':');
    // Without any colon the whole is one part.
    kept.bytes().filter(|b| *b == b':').count() == 1
}

pub(super) fn user_name(id: &str) -> &str {
    id.split(':').next().unwrap_or_default()
}

/// Equality whose time tells only the length.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    is_same_bytes(a.as_bytes(), b.as_bytes())
}

/// The same of bytes.
pub(super) fn is_same_bytes(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

/// What those without ADMIN see of an id: everything from a colon to the end of its line hidden.
pub(super) fn masked(id: &str) -> String {
    let mut shown = String::with_capacity(id.len());
    let mut is_hidden = false;
    for c in id.chars() {
        if matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            is_hidden = false;
        }
        if !is_hidden && c == ':' {
            shown.push_str(":x");
            is_hidden = true;
        } else if !is_hidden {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_hashes_the_whole_credential() {
        let id = |name: &str| Algorithm::named(name).expect("a known name").id_of("super:test");
        assert_eq!(id("SHA1"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(id("sha-1"), id("SHA"));
        assert_eq!(id("SHA-256"), "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig=");
        let names = ["MD5", "SHA-224", "SHA-384", "SHA-512", "SHA-512/224", "SHA-512/256"];
        let sha3 = ["SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"];
        let all: std::collections::BTreeSet<String> =
            names.into_iter().chain(sha3).map(id).collect();
        assert_eq!(all.len(), 10);
        assert!(Algorithm::named("SHA256").is_none());
        assert!(Algorithm::named("").is_none());
    }

    #[test]
    fn a_credential_without_a_password_is_a_user_too() {
        let sha1 = Algorithm::named("SHA1").expect("a known name");
        assert_eq!(sha1.id_of("foo"), "foo:C+7Hteo/D9vJXQ3UfzxbwnXaijM=");
        assert!(sha1.id_of("a:b:c").starts_with("a:"));
    }

    #[test]
    fn ids_in_an_acl_have_two_parts() {
        for good in ["a:b", ":b", "a:b:", "a:b::"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "a:", ":", "::", "a:b:c", "a::b"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn hashes_are_hidden_line_by_line() {
        assert_eq!(masked("u:hash"), "u:x");
        assert_eq!(masked("u"), "u");
        assert_eq!(masked("u:a:b\nc:d"), "u:x\nc:x");
        assert!(is_same("ab", "ab") && !is_same("ab", "ac") && !is_same("ab", "abc"));
    }
}
