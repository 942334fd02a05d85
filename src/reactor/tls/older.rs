//! Certificates of X.509's first versions, which have no extensions: Java takes them and many are
//! made by hand so, rustls reads none. Only those of clients, and only where a certificate of the
//! trust store itself signed them: without extensions nobody in between can be told from others.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::stores::{Certificate, Signed};

/// The certificate taken apart, where it is an older one.
pub fn older(der: &[u8]) -> Option<Signed<'_>> {
    Signed::parse(der).ok().filter(|signed| signed.version < 3)
}

pub fn check_time(der: &[u8], now: UnixTime) -> Result<(), Error> {
    let parsed = Certificate::parse(der).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    match () {
        () if now < parsed.not_before => Err(CertificateError::NotValidYet.into()),
        () if now > parsed.not_after => Err(CertificateError::Expired.into()),
        () => Ok(()),
    }
}

/// Whether one of the trusted authorities signed this one.
pub fn check_issuer(
    signed: &Signed<'_>,
    authorities: &[Vec<u8>],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let vouches = |issuer: &Signed<'_>| {
        issuer.subject == signed.issuer
            && !issuer.limits_names
            && algorithms.all.iter().any(|algorithm| {
                algorithm.signature_alg_id().as_ref() == signed.algorithm
                    && algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
                    && algorithm
                        .verify_signature(issuer.key, signed.message, signed.signature)
                        .is_ok()
            })
    };
    let mut issuers = authorities.iter().filter_map(|der| Signed::parse(der).ok());
    match issuers.any(|issuer| vouches(&issuer)) {
        true => Ok(()),
        false => Err(CertificateError::UnknownIssuer.into()),
    }
}

/// Whether the handshake was signed with the certificate's key.
pub fn check_handshake(
    signed: &Signed<'_>,
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    is_tls13: bool,
) -> Result<(), Error> {
    let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
    let fitting = known.map_or(&[][..], |(_, fitting)| fitting);
    // TLS 1.3 ties a scheme to one algorithm, the first, and knows the old padding no more.
    let fitting = match is_tls13 {
        true if OLD_PADDING.contains(&dss.scheme) => &[],
        true => &fitting[..fitting.len().min(1)],
        false => fitting,
    };
    let is_signed = fitting.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == signed.key_algorithm
            && algorithm.verify_signature(signed.key, message, dss.signature()).is_ok()
    });
    match is_signed {
        true => Ok(()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

const OLD_PADDING: [SignatureScheme; 4] = [
    SignatureScheme::RSA_PKCS1_SHA1,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reactor::tls::keys::provider;

    /// Certificates that openssl 3 made: the authority `ca`, what it signed, and what others did.
    macro_rules! golden {
        ($name:literal) => {
            include_bytes!(concat!("../../stores/golden/older/", $name, ".der")).as_slice()
        };
    }

    fn is_vouched_for(der: &[u8]) -> bool {
        let trusted = [golden!("ca").to_vec(), golden!("limited").to_vec()];
        let algorithms = provider().signature_verification_algorithms;
        let signed = Signed::parse(der).expect("a certificate");
        check_issuer(&signed, &trusted, &algorithms).is_ok()
    }

    #[test]
    fn an_older_certificate_is_taken_where_a_trusted_one_signed_it() {
        assert!(older(golden!("genuine")).is_some());
        assert!(is_vouched_for(golden!("genuine")));
        assert!(!is_vouched_for(golden!("forged")), "another authority of the same name");
        assert!(!is_vouched_for(golden!("limiting")), "an authority for some names only");
    }

    #[test]
    fn a_certificate_with_extensions_is_left_to_rustls() {
        assert!(older(golden!("newer")).is_none());
        assert!(older(golden!("ca")).is_none());
        assert!(older(b"no certificate").is_none());
    }

    #[test]
    fn no_byte_of_a_signed_certificate_can_be_changed() {
        let genuine = golden!("genuine");
        for at in 0..genuine.len() {
            let mut changed = genuine.to_vec();
            changed[at] ^= 1;
            assert!(older(&changed).is_none() || !is_vouched_for(&changed), "byte {at}");
        }
    }

    #[test]
    fn an_older_certificate_is_taken_within_its_time() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let Certificate { not_before, not_after, .. } =
            Certificate::parse(golden!("genuine")).expect("a certificate");
        let (from, to) = (not_before.unsigned_abs(), not_after.unsigned_abs());
        assert!(check_time(golden!("genuine"), at(from)).is_ok());
        assert!(check_time(golden!("genuine"), at(to)).is_ok());
        assert!(check_time(golden!("genuine"), at(from - 1)).is_err());
        assert!(check_time(golden!("genuine"), at(to + 1)).is_err());
    }
}
