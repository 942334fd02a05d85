//! `ssl.*`: what the port for TLS clients is to be, checked as far as text alone can be.

use super::settings::Secret;
use super::values::Properties;

/// TLS for clients, by Java's keys and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `secureClientPort`; none: no port that speaks TLS alone.
    pub port: Option<u16>,
    /// `secureClientPortAddress`, a name or an address; none: every address.
    pub address: Option<String>,
    /// `client.portUnification`: `clientPort` takes TLS and plain clients.
    pub port_unification: bool,
    /// `client.certReload`: the stores are read again when their files change.
    pub cert_reload: bool,
    pub key_store: Store,
    pub trust_store: Store,
    /// `ssl.protocol` and `ssl.enabledProtocols`; never empty, the newest first.
    pub protocols: Vec<TlsProtocol>,
    /// `ssl.ciphersuites`, the first preferred; never empty.
    pub suites: Vec<TlsSuite>,
    pub client_auth: ClientAuth,
    /// `ssl.hostnameVerification` and `ssl.clientHostnameVerification`: a client's certificate
    /// must name its address.
    pub verifies_client_address: bool,
    /// `ssl.crl`: certificates of clients are looked up in revocation lists.
    pub crl: bool,
    /// `ssl.crl.location`, a name of ours: a file of revocation lists.
    pub crl_location: Option<String>,
    /// `ssl.handshakeDetectionTimeoutMillis`.
    pub detection_timeout_ms: i32,
    /// `netty.server.outstandingHandshake.limit`; none: any number.
    pub outstanding_handshakes: Option<u32>,
    /// The scheme `x509` exists: TLS is used, or an `authProvider` names it.
    pub x509: bool,
    /// `X509AuthenticationProvider.superUser`: the subject that may do everything.
    pub x509_super_user: Option<String>,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            port: None,
            address: None,
            port_unification: false,
            cert_reload: false,
            key_store: Store::default(),
            trust_store: Store::default(),
            protocols: vec![TlsProtocol::V1_3],
            suites: DEFAULT_SUITES.to_vec(),
            client_auth: ClientAuth::Need,
            verifies_client_address: false,
            crl: false,
            crl_location: None,
            detection_timeout_ms: DEFAULT_DETECTION_TIMEOUT_MS,
            outstanding_handshakes: None,
            x509: false,
            x509_super_user: None,
        }
    }
}

impl Tls {
    /// Some port takes TLS.
    pub fn is_used(&self) -> bool {
        self.port.is_some() || self.port_unification
    }
}

/// One store of keys or certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// `….location`; none: there is no such store.
    pub location: Option<String>,
    /// `….type`, or what the name of the file ends in.
    pub kind: StoreKind,
    /// `….password`; empty: not encrypted.
    pub password: Secret,
    /// `….passwordPath`: a file that holds the password, stronger than the value itself.
    pub password_path: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    #[default]
    Jks,
    Pem,
    Pkcs12,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    Want,
    #[default]
    Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsProtocol {
    V1_2,
    V1_3,
}

/// A cipher suite that can be had, by Java's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSuite {
    Aes256GcmSha384,
    Aes128GcmSha256,
    ChaCha20Poly1305Sha256,
    EcdheEcdsaAes128GcmSha256,
    EcdheRsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheRsaAes256GcmSha384,
    EcdheEcdsaChaCha20Poly1305Sha256,
    EcdheRsaChaCha20Poly1305Sha256,
}

impl TlsSuite {
    pub fn protocol(self) -> TlsProtocol {
        use TlsSuite::{Aes128GcmSha256, Aes256GcmSha384, ChaCha20Poly1305Sha256};
        match self {
            Aes256GcmSha384 | Aes128GcmSha256 | ChaCha20Poly1305Sha256 => TlsProtocol::V1_3,
            _ => TlsProtocol::V1_2,
        }
    }

    fn named(name: &str) -> Option<TlsSuite> {
        SUITES.iter().find(|(suite_name, _)| *suite_name == name).map(|(_, suite)| *suite)
    }
}

/// A key and why its value cannot be served.
type Refusal = (&'static str, String);

/// Everything but the port, which only `zoo.cfg` names.
pub fn properties(tls: &mut Tls, from: &mut Properties) -> Result<(), Refusal> {
    tls.port_unification = from.flag("client.portUnification", false);
    tls.cert_reload = from.flag("client.certReload", false);
    tls.x509_super_user = named(from, "X509AuthenticationProvider.superUser");
    let is_provider = |(key, class): (&String, &String)| {
        key.starts_with("zookeeper.authProvider.") && class == X509_PROVIDER
    };
    tls.x509 = tls.is_used() || from.pairs.iter().any(is_provider);
    if !tls.is_used() {
        if let Some(key) = SAID_IN_VAIN.iter().find(|key| named(from, key).is_some()) {
            from.warnings.push(format!(
                "{key} does nothing here: neither secureClientPort nor client.portUnification \
                 is set"
            ));
        }
        return Ok(());
    }
    refuse_what_is_not_there(from)?;
    tls.key_store = store(from, &KEY_STORE)?;
    tls.trust_store = store(from, &TRUST_STORE)?;
    tls.client_auth = client_auth(from)?;
    tls.protocols = protocols(from)?;
    tls.suites = suites(from, &tls.protocols)?;
    tls.crl = from.flag("ssl.crl", false);
    tls.crl_location = named(from, "ssl.crl.location");
    tls.verifies_client_address = verifies_client_address(from);
    let limit = from.int("netty.server.outstandingHandshake.limit", -1);
    tls.outstanding_handshakes = u32::try_from(limit).ok().filter(|limit| *limit > 0);
    let timeout_ms = from.int("ssl.handshakeDetectionTimeoutMillis", DEFAULT_DETECTION_TIMEOUT_MS);
    tls.detection_timeout_ms =
        if timeout_ms < 1 { DEFAULT_DETECTION_TIMEOUT_MS } else { timeout_ms };
    together(tls)
}

/// What goes only together.
fn together(tls: &Tls) -> Result<(), Refusal> {
    if tls.key_store.location.is_none() {
        let reason = "Keystore is required for SSL server: name the file of the server's key and \
                      certificates";
        return Err(("ssl.keyStore.location", reason.to_owned()));
    }
    if tls.client_auth == ClientAuth::Need && tls.trust_store.location.is_none() {
        let reason = "clients must show certificates (ssl.clientAuth is need), and without a \
                      trust store none would do; name one, or set ssl.clientAuth=none";
        return Err(("ssl.trustStore.location", reason.to_owned()));
    }
    Ok(())
}

fn refuse_what_is_not_there(from: &mut Properties) -> Result<(), Refusal> {
    if from.flag("ssl.ocsp", false) {
        let reason = "certificates cannot be looked up by OCSP here, and without it revoked ones \
                      would pass; use ssl.crl, or remove the key";
        return Err(("ssl.ocsp", reason.to_owned()));
    }
    if let Some(class) = named(from, "ssl.context.supplier.class") {
        let reason = format!("the class {class} cannot be loaded here; name stores instead");
        return Err(("ssl.context.supplier.class", reason));
    }
    if let Some(scheme) = named(from, "ssl.authProvider").filter(|scheme| scheme != "x509") {
        let reason = format!(
            "No auth provider configured for the SSL authentication scheme '{scheme}'; there is \
             x509"
        );
        return Err(("ssl.authProvider", reason));
    }
    match from.text("ssl.sslProvider") {
        None | Some("" | "JDK" | "OPENSSL" | "OPENSSL_REFCNT") => Ok(()),
        Some(other) => Err(("ssl.sslProvider", format!("{other} is neither JDK nor OPENSSL"))),
    }
}

/// The names of one store's keys.
struct StoreKeys {
    location: &'static str,
    kind: &'static str,
    password: &'static str,
    password_path: &'static str,
}

fn store(from: &Properties, keys: &StoreKeys) -> Result<Store, Refusal> {
    let Some(location) = named(from, keys.location) else { return Ok(Store::default()) };
    let kind = match named(from, keys.kind) {
        Some(kind) => match kind.to_ascii_uppercase().as_str() {
            "JKS" => StoreKind::Jks,
            "PEM" => StoreKind::Pem,
            "PKCS12" => StoreKind::Pkcs12,
            "BCFKS" => return Err((keys.kind, NO_BCFKS.to_owned())),
            _ => return Err((keys.kind, format!("{kind} is none of JKS, PEM and PKCS12"))),
        },
        None => match location.rsplit_once('.').map(|(_, extension)| extension) {
            Some("jks") => StoreKind::Jks,
            Some("pem") => StoreKind::Pem,
            Some("p12") => StoreKind::Pkcs12,
            Some("bcfks") => return Err((keys.location, NO_BCFKS.to_owned())),
            _ => {
                let reason = format!(
                    "Unable to auto-detect store file type from file name: {location}; set {}",
                    keys.kind
                );
                return Err((keys.location, reason));
            }
        },
    };
    Ok(Store {
        location: Some(location),
        kind,
        password: Secret(from.text(keys.password).unwrap_or("").to_owned()),
        password_path: named(from, keys.password_path),
    })
}

fn client_auth(from: &Properties) -> Result<ClientAuth, Refusal> {
    match from.text("ssl.clientAuth").unwrap_or("").to_ascii_uppercase().as_str() {
        "" | "NEED" => Ok(ClientAuth::Need),
        "WANT" => Ok(ClientAuth::Want),
        "NONE" => Ok(ClientAuth::None),
        other => Err(("ssl.clientAuth", format!("{other} is none of none, want and need"))),
    }
}

fn protocols(from: &mut Properties) -> Result<Vec<TlsProtocol>, Refusal> {
    let enabled = named(from, "ssl.enabledProtocols");
    let key = if enabled.is_some() { "ssl.enabledProtocols" } else { "ssl.protocol" };
    let text = enabled.or_else(|| named(from, "ssl.protocol"));
    let text = text.unwrap_or_else(|| "TLSv1.3".to_owned());
    let (mut found, mut dropped) = (Vec::new(), Vec::new());
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "TLSv1.3" => found.push(TlsProtocol::V1_3),
            "TLSv1.2" => found.push(TlsProtocol::V1_2),
            "TLSv1.1" | "TLSv1" | "SSLv3" | "SSLv2Hello" => dropped.push(word),
            _ => return Err((key, format!("{word} is none of TLSv1.3 and TLSv1.2"))),
        }
    }
    if found.is_empty() {
        let reason = format!("{text}: there are TLSv1.3 and TLSv1.2 here; name one of them");
        return Err((key, reason));
    }
    tell_dropped(from, key, &dropped);
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    Ok(found)
}

fn suites(from: &mut Properties, protocols: &[TlsProtocol]) -> Result<Vec<TlsSuite>, Refusal> {
    let key = "ssl.ciphersuites";
    let Some(text) = named(from, key) else { return Ok(DEFAULT_SUITES.to_vec()) };
    let (mut found, mut dropped) = (Vec::new(), Vec::new());
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match TlsSuite::named(word) {
            Some(suite) if found.contains(&suite) => {}
            Some(suite) => found.push(suite),
            None => dropped.push(word),
        }
    }
    if !found.iter().any(|suite| protocols.contains(&suite.protocol())) {
        let names: Vec<&str> = SUITES
            .iter()
            .filter(|(_, suite)| protocols.contains(&suite.protocol()))
            .map(|(name, _)| *name)
            .collect();
        let reason = format!("none of these can be used; there are {}", names.join(", "));
        return Err((key, reason));
    }
    tell_dropped(from, key, &dropped);
    Ok(found)
}

fn tell_dropped(from: &mut Properties, key: &str, dropped: &[&str]) {
    if !dropped.is_empty() {
        let line = format!("{key}: not there here and left out: {}", dropped.join(", "));
        from.warnings.push(line);
    }
}

fn verifies_client_address(from: &mut Properties) -> bool {
    let verifies = from.flag("ssl.hostnameVerification", true)
        && from.flag("ssl.clientHostnameVerification", false);
    if from.flag("ssl.allowReverseDnsLookup", false) && verifies {
        from.warnings.push(
            "ssl.allowReverseDnsLookup does nothing here: a client's certificate must name its \
             address, and no name is looked up"
                .to_owned(),
        );
    }
    verifies
}

/// A value that is there and says something.
fn named(from: &Properties, key: &str) -> Option<String> {
    from.text(key).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

const KEY_STORE: StoreKeys = StoreKeys {
    location: "ssl.keyStore.location",
    kind: "ssl.keyStore.type",
    password: "ssl.keyStore.password",
    password_path: "ssl.keyStore.passwordPath",
};

const TRUST_STORE: StoreKeys = StoreKeys {
    location: "ssl.trustStore.location",
    kind: "ssl.trustStore.type",
    password: "ssl.trustStore.password",
    password_path: "ssl.trustStore.passwordPath",
};

/// Whoever says one of these means to have TLS.
const SAID_IN_VAIN: [&str; 3] =
    ["ssl.keyStore.location", "ssl.trustStore.location", "ssl.clientAuth"];

const X509_PROVIDER: &str = "org.apache.zookeeper.server.auth.X509AuthenticationProvider";

const NO_BCFKS: &str = "stores of Bouncy Castle's FIPS kind cannot be read here; use PKCS12 or PEM";

const DEFAULT_DETECTION_TIMEOUT_MS: i32 = 5000;

/// Java's own order: AES-128 first with TLS 1.2, AES-256 first with 1.3.
const DEFAULT_SUITES: [TlsSuite; 7] = [
    TlsSuite::EcdheEcdsaAes128GcmSha256,
    TlsSuite::EcdheRsaAes128GcmSha256,
    TlsSuite::EcdheEcdsaAes256GcmSha384,
    TlsSuite::EcdheRsaAes256GcmSha384,
    TlsSuite::Aes256GcmSha384,
    TlsSuite::Aes128GcmSha256,
    TlsSuite::ChaCha20Poly1305Sha256,
];

const SUITES: [(&str, TlsSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", TlsSuite::Aes256GcmSha384),
    ("TLS_AES_128_GCM_SHA256", TlsSuite::Aes128GcmSha256),
    ("TLS_CHACHA20_POLY1305_SHA256", TlsSuite::ChaCha20Poly1305Sha256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", TlsSuite::EcdheEcdsaAes128GcmSha256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TlsSuite::EcdheRsaAes128GcmSha256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", TlsSuite::EcdheEcdsaAes256GcmSha384),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", TlsSuite::EcdheRsaAes256GcmSha384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", TlsSuite::EcdheEcdsaChaCha20Poly1305Sha256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", TlsSuite::EcdheRsaChaCha20Poly1305Sha256),
];
