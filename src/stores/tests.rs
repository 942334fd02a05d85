//! Stores as keytool 17 and openssl 3 write them, around one key, and what is wrong with others.

use proptest::prelude::*;

use super::*;

const PASSWORD: &str = "sesame";

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("golden/", $name)).as_slice()
    };
}

fn key_stores() -> [(Format, &'static [u8]); 7] {
    [
        (Format::Pem, golden!("plain.pem")),
        (Format::Pem, golden!("encrypted.pem")),
        (Format::Pem, golden!("old.pem")),
        (Format::Java, golden!("key.jks")),
        (Format::Java, golden!("keytool.p12")),
        (Format::Java, golden!("legacy.p12")),
        (Format::Java, golden!("openssl.p12")),
    ]
}

fn all_stores() -> Vec<(Format, &'static [u8])> {
    let trust = [golden!("trust.jks"), golden!("trust-keytool.p12"), golden!("trust-openssl.p12")];
    key_stores().into_iter().chain(trust.map(|bytes| (Format::Java, bytes))).collect()
}

/// The number itself: some leave the public half of the key out behind it.
fn secret(pkcs8: &[u8]) -> Option<&[u8]> {
    let at = pkcs8.windows(5).position(|part| part == [2, 1, 1, 4, 32])?;
    pkcs8.get(at + 5..at + 37)
}

fn certificate() -> Vec<u8> {
    let plain = open(Format::Pem, golden!("plain.pem"), "").expect("a sound store");
    plain.trusted[0].clone()
}

#[test]
fn every_kind_of_store_holds_the_same_key_and_certificate() {
    let plain = open(Format::Pem, golden!("plain.pem"), "").expect("a sound store");
    for (n, (format, bytes)) in key_stores().into_iter().enumerate() {
        let contents = open(format, bytes, PASSWORD).unwrap_or_else(|e| panic!("{n}: {e}"));
        assert_eq!(contents.keys.len(), 1, "{n}");
        assert_eq!(contents.keys[0].chain, [certificate()], "{n}");
        match &contents.keys[0].key {
            PrivateKey::Sec1(_) => assert_eq!(n, 2),
            PrivateKey::Pkcs8(der) => {
                let PrivateKey::Pkcs8(expected) = &plain.keys[0].key else { panic!("PKCS8") };
                assert!(secret(der).is_some() && secret(der) == secret(expected), "{n}");
            }
            PrivateKey::Pkcs1(_) => panic!("{n}: an RSA key"),
        }
    }
}

#[test]
fn stores_of_trust_hold_the_certificate_and_no_key() {
    for (format, bytes) in all_stores().into_iter().skip(7) {
        let contents = open(format, bytes, PASSWORD).expect("a sound store");
        assert_eq!((contents.keys.len(), contents.trusted), (0, vec![certificate()]));
    }
    let keys = open(Format::Java, golden!("openssl.p12"), PASSWORD).expect("a sound store");
    assert_eq!(keys.trusted, Vec::<Vec<u8>>::new(), "a key's certificate is trusted by nobody");
}

#[test]
fn another_password_opens_nothing() {
    for (n, (format, bytes)) in all_stores().into_iter().enumerate() {
        if n == 0 || n == 2 {
            continue;
        }
        assert_eq!(open(format, bytes, "Sesame"), Err(StoreError::WrongPassword), "{n}");
    }
}

/// One in 256 makes something of a key that ends as one does.
#[test]
fn no_other_password_opens_an_encrypted_key_by_chance() {
    for n in 0..600 {
        let opened = open(Format::Pem, golden!("encrypted.pem"), &format!("Sesame {n}"));
        assert_eq!(opened, Err(StoreError::WrongPassword), "{n}");
    }
}

#[test]
fn a_certificate_tells_its_subject_and_its_times() {
    let certificate = Certificate::parse(&certificate()).expect("a sound certificate");
    let name = certificate.subject_name().expect("a name");
    assert_eq!(name, "CN=server\\, one,L=b+OU=a,O=Mine,C=DE");
    let years = (certificate.not_after - certificate.not_before) / (365 * 24 * 3600);
    assert_eq!(years, 100);
    assert!(certificate.not_before > 1_700_000_000 && certificate.not_before < 2_000_000_000);
}

#[test]
fn what_rfc_2253_has_no_word_for_is_written_as_it_is_encoded() {
    let set = |oid: &[u8], value: &[u8]| {
        let mut attribute = vec![0x06, oid.len() as u8];
        attribute.extend(oid);
        attribute.extend(value);
        let mut set = vec![0x31, attribute.len() as u8 + 2, 0x30, attribute.len() as u8];
        set.extend(attribute);
        set
    };
    let name = |sets: &[Vec<u8>]| {
        let sets = sets.concat();
        let mut name = vec![0x30, sets.len() as u8];
        name.extend(sets);
        subject_name(&name)
    };
    let mail = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
    let written = name(&[set(&[0x55, 4, 3], b"\x0c\x03 a "), set(&mail, b"\x16\x01b")]);
    assert_eq!(written.as_deref(), Ok("1.2.840.113549.1.9.1=#160162,CN=\\ a\\ "));
    assert_eq!(name(&[]).as_deref(), Ok(""));
    assert_eq!(subject_name(b"\x30\x05\x31"), Err(DnError));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_makes_it_stumble(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for format in [Format::Java, Format::Pem] {
            let _ = open(format, &bytes, PASSWORD);
        }
        let _ = open_revocations(&bytes);
        let _ = Certificate::parse(&bytes).map(|c| c.subject_name());
        let _ = subject_name(&bytes);
    }

    #[test]
    fn a_damaged_store_is_an_error_or_a_store(
        n in 0..10usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        is_cut in any::<bool>(),
    ) {
        let (format, bytes) = all_stores()[n];
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        if is_cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= byte;
        }
        let _ = open(format, &bytes, PASSWORD);
    }
}

#[test]
fn a_certificate_is_taken_apart_whatever_its_version() {
    let (old, new) = (golden!("older/genuine.der"), golden!("older/newer.der"));
    let (old, new) = (Signed::parse(old).expect("sound"), Signed::parse(new).expect("sound"));
    assert_eq!((old.version, new.version), (1, 3));
    assert_eq!((old.key_info, old.subject), (new.key_info, new.subject));
    let authority = Signed::parse(golden!("older/ca.der")).expect("sound");
    assert_eq!((old.issuer, old.limits_names), (authority.subject, false));
    assert!(Signed::parse(golden!("older/limited.der")).expect("sound").limits_names);
    let may_vouch = [old.is_authority, new.is_authority, authority.is_authority];
    assert_eq!(may_vouch, [true, false, true], "too old to say, not said, said");
}

#[test]
fn a_certificate_cut_short_or_lengthened_is_refused() {
    let whole = golden!("older/newer.der");
    for length in 0..whole.len() {
        assert!(Signed::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    assert!(Signed::parse(&[whole, &[0]].concat()).is_err());
}
