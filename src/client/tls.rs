//! How a server is known, and what is shown to it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};

use crate::stores::{self, Contents, Format, PrivateKey, Signed};

use super::channel::Channel;

/// Where everything about TLS is found. All files are PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates of the authorities that vouch for servers.
    pub authorities: Option<PathBuf>,
    /// Nobody has to vouch, and any name will do: whoever is between may read and write all.
    pub is_insecure: bool,
    /// The client's own certificate, with those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// Its key; where it is not named, the certificate's file holds both.
    pub key: Option<PathBuf>,
    pub version: Option<TlsVersion>,
}

/// The only version to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// What TLS is spoken with, and the name that the server's certificate must have.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// None: the address that was dialled.
    name: Option<ServerName<'static>>,
}

/// What of the settings is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPart {
    Authorities,
    Certificate,
    Key,
    Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    pub part: TlsPart,
    pub reason: String,
}

impl Tls {
    /// Reads the files. Every connection is a whole handshake: none is resumed.
    pub fn load(files: &TlsFiles) -> Result<Tls, TlsFault> {
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &files.authorities {
            None if files.is_insecure => Arc::new(Anybody { provider: provider.clone() }),
            None => return Err(TlsPart::Authorities.fault("nobody is named to vouch for servers")),
            Some(path) => verifier(path, provider.clone())?,
        };
        let versions: &[&SupportedProtocolVersion] = match files.version {
            None => &[&version::TLS12, &version::TLS13],
            Some(TlsVersion::V1_2) => &[&version::TLS12],
            Some(TlsVersion::V1_3) => &[&version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has suites for both versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &files.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let own = certified(certificate, files.key.as_deref())?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        config.resumption = Resumption::disabled();
        Ok(Tls { config: config.into(), name: None })
    }

    /// The same where the server's certificate is for this name, or this address.
    pub fn named(&self, name: &str) -> Result<Tls, TlsFault> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| TlsPart::Name.fault("it is neither a host nor an address"))?;
        Ok(Tls { config: self.config.clone(), name: Some(name) })
    }

    /// Seals a socket that leads to this address.
    pub fn seal<S: io::Read + io::Write>(
        &self,
        socket: S,
        address: IpAddr,
    ) -> Result<Channel<S>, rustls::Error> {
        let name = self.name.clone().unwrap_or(ServerName::IpAddress(address.into()));
        Ok(Channel::sealed(socket, ClientConnection::new(self.config.clone(), name)?))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.name)
    }
}

impl TlsPart {
    fn fault(self, reason: impl Into<String>) -> TlsFault {
        TlsFault { part: self, reason: reason.into() }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TlsFault {}

/// A certificate and its key in PEM, for whichever end of a connection shows it.
pub fn certified(certificate: &Path, key: Option<&Path>) -> Result<CertifiedKey, TlsFault> {
    let chain = read(TlsPart::Certificate, certificate)?.trusted;
    let Some(own) = chain.first() else {
        let reason = format!("{}: there is no certificate in it", certificate.display());
        return Err(TlsPart::Certificate.fault(reason));
    };
    let key_path = key.unwrap_or(certificate);
    let wrong = |reason: &str| TlsPart::Key.fault(format!("{}: {reason}", key_path.display()));
    let entry = read(TlsPart::Key, key_path)?.keys.into_iter().next();
    let der = match entry.ok_or_else(|| wrong("there is no private key in it"))?.key {
        PrivateKey::Pkcs8(der) => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
        PrivateKey::Pkcs1(der) => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
        PrivateKey::Sec1(der) => PrivateKeyDer::from(PrivateSec1KeyDer::from(der)),
    };
    let key = ring::sign::any_supported_type(&der).map_err(|_| {
        wrong(
            "it cannot be used; RSA of 2048 bits and more, EC of P-256 and P-384, and Ed25519 can",
        )
    })?;
    // Not rustls's own comparison, which reads no certificate of an older version.
    let of_certificate = Signed::parse(own)
        .map_err(|e| TlsPart::Certificate.fault(format!("{}: {e}", certificate.display())))?;
    if key.public_key().is_some_and(|of_key| of_key.as_ref() != of_certificate.key_info) {
        return Err(wrong("it is the key of another certificate"));
    }
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    Ok(CertifiedKey::new(chain, key))
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsFault> {
    let fault =
        |reason: String| TlsPart::Authorities.fault(format!("{}: {reason}", path.display()));
    let mut roots = RootCertStore::empty();
    let ders = read(TlsPart::Authorities, path)?.trusted.into_iter().map(CertificateDer::from);
    let (taken, odd) = roots.add_parsable_certificates(ders);
    if taken == 0 {
        let why = if odd > 0 { "no certificate in it is understood" } else { "none is in it" };
        return Err(fault(format!("no authority is named: {why}")));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
    verifier.map_err(|e| fault(e.to_string()))
}

fn read(part: TlsPart, path: &Path) -> Result<Contents, TlsFault> {
    let fault = |reason: String| part.fault(format!("{}: {reason}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
    match stores::open(Format::Pem, &bytes, "") {
        Ok(contents) => Ok(contents),
        Err(stores::StoreError::WrongPassword) => {
            Err(fault("its key is encrypted; write it without a password".to_owned()))
        }
        Err(e) => Err(fault(e.to_string())),
    }
}

/// Takes every certificate; the far side must still own the key of the one that it shows.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
