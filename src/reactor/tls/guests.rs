//! Which certificates of clients are taken.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use crate::config::ClientAuth;
use crate::stores::{Contents, Signed};

use super::keys::provider;
use super::older;

/// Certificates that the trust store vouches for, or that lie in it themselves.
#[derive(Debug)]
pub struct Guests {
    /// None: there is no trust store, so no certificate is trusted.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    trusted: Vec<Vec<u8>>,
    /// Those of the trusted that may vouch for others: whose certificate is trusted may come in,
    /// and not bring others in under any name.
    authorities: Vec<Vec<u8>>,
    /// The names of all of them, from which clients choose what they show.
    hints: Vec<DistinguishedName>,
    is_mandatory: bool,
    /// Lists of revoked certificates are looked at: a certificate in the store is too.
    has_lists: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Guests {
    pub fn new(
        trust: Option<Contents>,
        revocations: Vec<Vec<u8>>,
        client_auth: ClientAuth,
    ) -> Result<Guests, String> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let trusted = trust.map(|contents| contents.trusted).unwrap_or_default();
        let mut roots = RootCertStore::empty();
        let parsed = trusted.iter().filter_map(|der| Some((der, Signed::parse(der).ok()?)));
        let (mut authorities, mut hints) = (Vec::new(), Vec::new());
        for (der, signed) in parsed {
            hints.push(DistinguishedName::from(signed.subject.to_vec()));
            authorities.extend(signed.is_authority.then(|| der.clone()));
        }
        let ders = authorities.iter().map(|der| CertificateDer::from(der.clone()));
        let (_, odd) = roots.add_parsable_certificates(ders);
        if odd > 0 {
            log::warn!("{odd} authorities of the trust store are of a form that is not understood");
        }
        let has_lists = !revocations.is_empty();
        let chains = match roots.is_empty() {
            true => None,
            false => {
                let lists = revocations.into_iter().map(CertificateRevocationListDer::from);
                let builder =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider.into());
                let verifier = builder.with_crls(lists).build();
                Some(verifier.map_err(|e| e.to_string())?)
            }
        };
        let is_mandatory = client_auth == ClientAuth::Need;
        Ok(Guests { chains, trusted, authorities, hints, is_mandatory, has_lists, algorithms })
    }

    /// A certificate of the store itself needs nobody to vouch for it, whatever else it may be
    /// for: such are made by hand, as authorities more often than not.
    fn knows(&self, certificate: &[u8], now: UnixTime) -> Option<Result<(), Error>> {
        if self.has_lists || !self.trusted.iter().any(|der| der == certificate) {
            return None;
        }
        Some(older::check_time(certificate, now))
    }

    /// Lists of revoked certificates cannot be asked about one that rustls does not read.
    fn check_older(&self, certificate: &[u8], now: UnixTime) -> Option<Result<(), Error>> {
        let signed = older::older(certificate).filter(|_| !self.has_lists)?;
        let time = older::check_time(certificate, now);
        Some(time.and_then(|()| older::check_issuer(&signed, &self.authorities, &self.algorithms)))
    }
}

impl ClientCertVerifier for Guests {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(known) = self.knows(end_entity, now) {
            return known.map(|()| ClientCertVerified::assertion());
        }
        if let Some(checked) = self.check_older(end_entity, now) {
            return checked.map(|()| ClientCertVerified::assertion());
        }
        match &self.chains {
            Some(chains) => chains.verify_client_cert(end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Some(signed) = older::older(cert) {
            return older::check_handshake(&signed, message, dss, &self.algorithms, false)
                .map(|()| HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Some(signed) = older::older(cert) {
            return older::check_handshake(&signed, message, dss, &self.algorithms, true)
                .map(|()| HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
