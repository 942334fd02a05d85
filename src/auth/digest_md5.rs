//! DIGEST-MD5 (RFC 2831), the server's side, with the words and the tolerance of Java's.

use md5::{Digest, Md5};

use crate::proto::decode_utf8;

use super::digest;

/// The realm of every ZooKeeper server, which Java takes from the name it gives itself.
pub(super) const REALM: &str = "zk-sasl-md5";
const URI: &str = "zookeeper/zk-sasl-md5";

/// The longest response that Java looks at.
const RESPONSE_BYTES: usize = 4096;

/// Every proof is the first one with its nonce.
const NONCE_COUNT: &str = "00000001";

/// What a password is worth to the server: the hash of user, realm and password.
pub(super) type Secret = [u8; 16];

pub(super) fn secret(user: &str, password: &str) -> Secret {
    let mut hash = Md5::new();
    hash.update(charset_bytes(user));
    hash.update(b":");
    hash.update(REALM);
    hash.update(b":");
    hash.update(charset_bytes(password));
    hash.finalize().into()
}

/// Latin-1 where every character fits into it, else UTF-8: so the RFC wants it hashed.
fn charset_bytes(text: &str) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    latin.unwrap_or_else(|| text.as_bytes().to_vec())
}

pub(super) fn challenge(nonce: &str) -> Vec<u8> {
    format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess").into_bytes()
}

/// Why a response was not even judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is none, or for another server, or for another challenge.
    Refused,
    /// Java stumbles over it and closes without an answer.
    Broken,
}

/// A response that fits the challenge; whether it proves anything is not yet known.
#[derive(Debug)]
pub(super) struct Response {
    pub user: String,
    nonce: String,
    cnonce: Vec<u8>,
    uri: Vec<u8>,
    authzid: Option<Vec<u8>>,
    proof: Vec<u8>,
}

impl Response {
    /// Reads what came for the challenge with this nonce.
    pub fn read(token: &[u8], nonce: &str) -> Result<Response, Fault> {
        if token.len() > RESPONSE_BYTES {
            return Err(Fault::Refused);
        }
        let mut given = Directives::read(token)?;
        let wanted = |found: bool| if found { Ok(()) } else { Err(Fault::Refused) };
        wanted(given.take("charset").is_none_or(|charset| charset == b"utf-8"))?;
        if let Some(size) = given.take("maxbuf") {
            java_int(&size, 10).ok_or(Fault::Broken)?;
        }
        let user = given.take("username").ok_or(Fault::Refused)?;
        wanted(given.take("realm").is_some_and(|realm| realm == REALM.as_bytes()))?;
        wanted(given.take("nonce").is_some_and(|own| own == nonce.as_bytes()))?;
        let cnonce = given.take("cnonce").ok_or(Fault::Refused)?;
        // The RFC calls it `nc`; Java looks for this name, and takes any `nc`.
        if let Some(count) = given.take("nonce-count") {
            wanted(java_int(&count, 16).ok_or(Fault::Broken)? == 1)?;
        }
        wanted(given.take("qop").is_none_or(|qop| qop == b"auth"))?;
        let uri = given.take("digest-uri").ok_or(Fault::Refused)?;
        wanted(uri.eq_ignore_ascii_case(URI.as_bytes()))?;
        Ok(Response {
            user: decode_utf8(&user).into_owned(),
            nonce: nonce.to_owned(),
            cnonce,
            uri,
            authzid: given.take("authzid"),
            proof: given.take("response").ok_or(Fault::Refused)?,
        })
    }

    /// Whether it was made with this secret.
    pub fn is_proved_by(&self, secret: &Secret) -> bool {
        digest::is_same_bytes(self.value(secret, "AUTHENTICATE").as_bytes(), &self.proof)
    }

    /// What proves to the client that the server knows the secret too.
    pub fn counter_proof(&self, secret: &Secret) -> Vec<u8> {
        format!("rspauth={}", self.value(secret, "")).into_bytes()
    }

    fn value(&self, secret: &Secret, method: &str) -> String {
        let given = Given {
            nonce: self.nonce.as_bytes(),
            cnonce: &self.cnonce,
            uri: &self.uri,
            authzid: self.authzid.as_deref(),
        };
        value(secret, &given, method)
    }
}

/// A client's answer to a challenge: for tests and tools of ours.
#[derive(Debug)]
pub struct DigestMd5Client {
    token: Vec<u8>,
    counter_proof: Vec<u8>,
}

impl DigestMd5Client {
    /// None where it is no challenge of a ZooKeeper server. `cnonce` has to be fresh, and plain.
    pub fn answer(
        challenge: &[u8],
        user: &str,
        password: &str,
        cnonce: &[u8],
    ) -> Option<DigestMd5Client> {
        let mut given = Directives::read(challenge).ok()?;
        given.take("realm").filter(|realm| realm == REALM.as_bytes())?;
        let nonce = given.take("nonce")?;
        let told = Given { nonce: &nonce, cnonce, uri: URI.as_bytes(), authzid: None };
        let secret = secret(user, password);
        let mut token = b"charset=utf-8,username=".to_vec();
        let quoted = [
            (user.as_bytes(), &b",realm="[..]),
            (REALM.as_bytes(), b",nonce="),
            (&nonce, b",nc=00000001,cnonce="),
            (cnonce, b",digest-uri="),
            (URI.as_bytes(), b",qop=auth,response="),
        ];
        for (value, next) in quoted {
            put_quoted(&mut token, value);
            token.extend_from_slice(next);
        }
        token.extend_from_slice(value(&secret, &told, "AUTHENTICATE").as_bytes());
        let counter_proof = format!("rspauth={}", value(&secret, &told, "")).into_bytes();
        Some(DigestMd5Client { token, counter_proof })
    }

    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Whether the server knows the password as well.
    pub fn is_answered_by(&self, token: &[u8]) -> bool {
        digest::is_same_bytes(&self.counter_proof, token)
    }
}

fn put_quoted(token: &mut Vec<u8>, value: &[u8]) {
    token.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            token.push(b'\\');
        }
        token.push(*byte);
    }
    token.push(b'"');
}

/// What both sides have told each other.
pub(super) struct Given<'a> {
    pub nonce: &'a [u8],
    pub cnonce: &'a [u8],
    pub uri: &'a [u8],
    pub authzid: Option<&'a [u8]>,
}

/// `response-value` of the RFC for the quality of protection `auth`.
pub(super) fn value(secret: &Secret, given: &Given<'_>, method: &str) -> String {
    let mut a1 = Md5::new();
    a1.update(secret);
    for part in [Some(given.nonce), Some(given.cnonce), given.authzid].into_iter().flatten() {
        a1.update(b":");
        a1.update(part);
    }
    let mut a2 = Md5::new();
    a2.update(method);
    a2.update(b":");
    a2.update(given.uri);
    let mut value = Md5::new();
    value.update(hex(&a1.finalize()));
    for part in [given.nonce, NONCE_COUNT.as_bytes(), given.cnonce, b"auth"] {
        value.update(b":");
        value.update(part);
    }
    value.update(b":");
    value.update(hex(&a2.finalize()));
    hex(&value.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn java_int(text: &[u8], radix: u32) -> Option<i32> {
    i32::from_str_radix(std::str::from_utf8(text).ok()?, radix).ok()
}

/// The names that count; whatever else a client says is passed over.
const NAMES: [&str; 13] = [
    "username",
    "realm",
    "nonce",
    "cnonce",
    "nonce-count",
    "qop",
    "digest-uri",
    "response",
    "maxbuf",
    "charset",
    "cipher",
    "authzid",
    "auth-param",
];

/// `name=value` pairs, each of the known names at most once.
#[derive(Debug, Default)]
struct Directives {
    values: [Option<Vec<u8>>; NAMES.len()],
}

impl Directives {
    fn read(token: &[u8]) -> Result<Directives, Fault> {
        let mut directives = Directives::default();
        let mut rest = skip_blanks(token);
        while let Some((&first, after)) = rest.split_first() {
            if first == b',' {
                rest = skip_blanks(after);
                continue;
            }
            let (name, value, after) = directive(rest)?;
            directives.put(name, value)?;
            rest = after;
        }
        Ok(directives)
    }

    fn put(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), Fault> {
        let known = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let Some(at) = known else { return Ok(()) };
        match self.values[at].replace(value) {
            None => Ok(()),
            Some(_) => Err(Fault::Refused),
        }
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = NAMES.iter().position(|known| *known == name).expect("one of the names");
        self.values[at].take()
    }
}

type Directive<'a> = (&'a [u8], Vec<u8>, &'a [u8]);

/// One `name=value` at the front: name, value, and what follows its separator.
fn directive(text: &[u8]) -> Result<Directive<'_>, Fault> {
    let end = text.iter().position(|b| is_blank(*b) || matches!(b, b'=' | b','));
    // A name at the very end stands for itself, as in Java.
    let Some(end) = end else { return Ok((text, Vec::new(), &[])) };
    let (name, rest) = text.split_at(end);
    let Some((b'=', rest)) = skip_blanks(rest).split_first() else { return Err(Fault::Refused) };
    let rest = skip_blanks(rest);
    match rest.split_first() {
        _ if name.is_empty() => Err(Fault::Refused),
        None => Err(Fault::Refused),
        Some((b'"', quoted)) => {
            let (value, rest) = unquoted(quoted)?;
            match rest.split_first() {
                Some((b, rest)) if is_separator(*b) => Ok((name, value, skip_blanks(rest))),
                Some(_) => Err(Fault::Refused),
                None => Ok((name, value, rest)),
            }
        }
        Some(_) => {
            let end = rest.iter().position(|b| is_separator(*b)).unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            let rest = rest.split_first().map_or(rest, |(_, rest)| skip_blanks(rest));
            Ok((name, value.to_vec(), rest))
        }
    }
}

/// What stands before the closing quote, and what after it.
fn unquoted(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Fault> {
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((value, after)),
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [b'\\'] | [] => return Err(Fault::Refused),
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| is_blank(**b)).count();
    text.get(blanks..).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_separator(byte: u8) -> bool {
    byte == b',' || is_blank(byte)
}
