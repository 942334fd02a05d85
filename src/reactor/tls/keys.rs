//! From the files that the configuration names to what TLS is spoken with.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};
use sha2::{Digest, Sha256};

use crate::config::{ClientAuth, Store, StoreKind, Tls, TlsProtocol, TlsSuite};
use crate::stores::{self, Certificate, Contents, Format, KeyEntry, PrivateKey, Signed};

use super::guests::Guests;

/// What TLS is spoken with, until the files change.
#[derive(Debug)]
pub struct Keys {
    pub config: Arc<ServerConfig>,
    /// Of the server's own certificate.
    pub serial: String,
    /// When the first of its chain is no longer valid, in seconds since 1970.
    pub not_after: i64,
    /// Of all files together, to see whether anything has changed.
    pub digest: [u8; 32],
}

impl Keys {
    /// Reads every file that is named. It may take long: files lie anywhere, and passwords are
    /// stretched.
    pub fn load(tls: &Tls) -> Result<Keys, String> {
        let mut files = Files::default();
        let own = files.store("ssl.keyStore", &tls.key_store)?.unwrap_or_default();
        let trust = match tls.client_auth {
            ClientAuth::None => None,
            _ => files.store("ssl.trustStore", &tls.trust_store)?,
        };
        if trust.as_ref().is_some_and(|contents| contents.trusted.is_empty()) {
            return Err(fault(
                "ssl.trustStore.location",
                &tls.trust_store,
                "there is no trusted certificate in it",
            ));
        }
        let lists = files.revocations(tls, trust.as_ref())?;
        let named = |reason: String| fault("ssl.keyStore.location", &tls.key_store, &reason);
        let (certified, first) = certified(own.keys).map_err(named)?;
        let provider = CryptoProvider { cipher_suites: suites(tls), ..provider() };
        let builder = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&versions(tls))
            .map_err(|e| format!("ssl.enabledProtocols and ssl.ciphersuites: {e}"))?;
        let guests = match tls.client_auth {
            ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
            auth => Arc::new(
                Guests::new(trust, lists, auth)
                    .map_err(|e| fault("ssl.trustStore.location", &tls.trust_store, &e))?,
            ),
        };
        let mut config = builder
            .with_client_cert_verifier(guests)
            .with_cert_resolver(Arc::new(Resolver { certified }));
        // As Java: the server's order counts.
        config.ignore_client_order = true;
        Ok(Keys {
            config: Arc::new(config),
            serial: first.serial,
            not_after: first.not_after,
            digest: files.digest.finalize().into(),
        })
    }
}

pub fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Reads files and remembers what they held.
#[derive(Default)]
struct Files {
    digest: Sha256,
}

impl Files {
    fn read(&mut self, key: &str, path: &str) -> Result<Vec<u8>, String> {
        let bytes =
            std::fs::read(path).map_err(|e| format!("{key}: {path} cannot be read: {e}"))?;
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn store(&mut self, keys: &str, store: &Store) -> Result<Option<Contents>, String> {
        let Some(path) = &store.location else { return Ok(None) };
        let password = match &store.password_path {
            None => store.password.0.clone(),
            Some(path) => {
                let bytes = self.read(&format!("{keys}.passwordPath"), path)?;
                String::from_utf8_lossy(&bytes).trim().to_owned()
            }
        };
        let key = format!("{keys}.location");
        let bytes = self.read(&key, path)?;
        let format = match store.kind {
            StoreKind::Jks | StoreKind::Pkcs12 => Format::Java,
            StoreKind::Pem => Format::Pem,
        };
        let contents = stores::open(format, &bytes, &password);
        contents.map(Some).map_err(|e| fault(&key, store, &e.to_string()))
    }

    fn revocations(&mut self, tls: &Tls, trust: Option<&Contents>) -> Result<Vec<Vec<u8>>, String> {
        if !tls.crl || tls.client_auth == ClientAuth::None {
            return Ok(Vec::new());
        }
        let mut lists = trust.map(|contents| contents.revocations.clone()).unwrap_or_default();
        if let Some(path) = &tls.crl_location {
            let bytes = self.read("ssl.crl.location", path)?;
            let more = stores::open_revocations(&bytes);
            lists.extend(more.map_err(|e| format!("ssl.crl.location: {path}: {e}"))?);
        }
        match lists.is_empty() {
            true => Err("ssl.crl: there is no list of revoked certificates; name a file of them \
                         in ssl.crl.location (none is fetched from elsewhere)"
                .to_owned()),
            false => Ok(lists),
        }
    }
}

fn fault(key: &str, store: &Store, reason: &str) -> String {
    format!("{key}: {}: {reason}", store.location.as_deref().unwrap_or("not named"))
}

fn certified(entries: Vec<KeyEntry>) -> Result<(Vec<Arc<CertifiedKey>>, Certificate), String> {
    let mut certified = Vec::new();
    let mut first: Option<Certificate> = None;
    for KeyEntry { key, chain } in entries {
        let Some(own) = chain.first() else {
            return Err("there is no certificate for the key in it".to_owned());
        };
        let own = Certificate::parse(own).map_err(|e| e.to_string())?;
        let not_after = chain.iter().filter_map(|der| Certificate::parse(der).ok());
        let not_after = not_after.map(|c| c.not_after).min().unwrap_or(own.not_after);
        first.get_or_insert(Certificate { not_after, ..own });
        let key = match key {
            PrivateKey::Pkcs8(der) => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
            PrivateKey::Pkcs1(der) => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
            PrivateKey::Sec1(der) => PrivateKeyDer::from(PrivateSec1KeyDer::from(der)),
        };
        let key = ring::sign::any_supported_type(&key).map_err(|_| {
            "its key cannot be used; RSA of 2048 bits and more, EC of P-256 and P-384, and \
             Ed25519 can"
                .to_owned()
        })?;
        // Not rustls's own comparison, which reads no certificate of an older version.
        let of_certificate = Signed::parse(&chain[0]).map_err(|e| e.to_string())?.key_info;
        if key.public_key().is_some_and(|of_key| of_key.as_ref() != of_certificate) {
            return Err("its certificate is another key's".to_owned());
        }
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        certified.push(Arc::new(CertifiedKey::new(chain, key)));
    }
    let first = first.ok_or("there is no private key in it")?;
    Ok((certified, first))
}

/// Several keys are of several kinds: the first that the client can check is shown.
#[derive(Debug)]
struct Resolver {
    certified: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fitting = self.certified.iter().find(|c| c.key.choose_scheme(schemes).is_some());
        fitting.cloned()
    }
}

fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    let version = |protocol: &TlsProtocol| match protocol {
        TlsProtocol::V1_2 => &version::TLS12,
        TlsProtocol::V1_3 => &version::TLS13,
    };
    tls.protocols.iter().map(version).collect()
}

fn suites(tls: &Tls) -> Vec<SupportedCipherSuite> {
    use ring::cipher_suite as suite;
    let of = |name: &TlsSuite| match name {
        TlsSuite::Aes256GcmSha384 => suite::TLS13_AES_256_GCM_SHA384,
        TlsSuite::Aes128GcmSha256 => suite::TLS13_AES_128_GCM_SHA256,
        TlsSuite::ChaCha20Poly1305Sha256 => suite::TLS13_CHACHA20_POLY1305_SHA256,
        TlsSuite::EcdheEcdsaAes128GcmSha256 => suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TlsSuite::EcdheRsaAes128GcmSha256 => suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TlsSuite::EcdheEcdsaAes256GcmSha384 => suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TlsSuite::EcdheRsaAes256GcmSha384 => suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsSuite::EcdheEcdsaChaCha20Poly1305Sha256 => {
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        TlsSuite::EcdheRsaChaCha20Poly1305Sha256 => {
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    };
    tls.suites.iter().map(of).collect()
}
