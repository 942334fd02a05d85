use super::settings::Secret;
use super::*;

const STORES: &str = "ssl.keyStore.location=/k.p12\nssl.trustStore.location=/t.pem";

fn parse(text: &str) -> Result<Config, ConfigError> {
    let properties = SystemProperties::default();
    let text = format!("dataDir=/d\nclientPort=1\n{text}");
    let text = text.as_bytes();
    let member = MemberSources::default();
    let properties = &properties;
    Config::parse(&Sources { file: "zoo.cfg", text, dynamic: None, properties, member })
}

/// With a secure port and stores, and what else is said.
fn secure(text: &str) -> Result<Config, ConfigError> {
    parse(&format!("secureClientPort=2\n{STORES}\n{text}"))
}

fn refusal(text: &str) -> (String, String) {
    let error = secure(text).expect_err(text);
    (error.key.unwrap_or_default(), error.reason)
}

#[test]
fn a_secure_port_with_stores_has_java_s_defaults() {
    let config = secure("").unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let tls = config.tls;
    assert!(tls.is_used() && tls.x509);
    assert_eq!((tls.port, tls.address), (Some(2), None));
    assert_eq!(tls.protocols, [TlsProtocol::V1_3]);
    assert_eq!(tls.suites.len(), 7);
    assert_eq!(tls.client_auth, ClientAuth::Need);
    assert_eq!((tls.key_store.kind, tls.trust_store.kind), (StoreKind::Pkcs12, StoreKind::Pem));
    assert!(!tls.crl && !tls.verifies_client_address && !tls.cert_reload);
    assert_eq!((tls.detection_timeout_ms, tls.outstanding_handshakes), (5000, None));
}

#[test]
fn every_key_is_taken() {
    let tls = secure(
        "ssl.keyStore.type=jks\nssl.keyStore.password=p\nssl.keyStore.passwordPath=/p\n\
         ssl.trustStore.type=PKCS12\nssl.enabledProtocols=TLSv1.2, TLSv1.3\nssl.protocol=TLSv1.1\n\
         ssl.clientAuth=Want\nssl.clientHostnameVerification=true\nssl.crl=true\n\
         ssl.crl.location=/c\nssl.handshakeDetectionTimeoutMillis=7\nssl.authProvider=x509\n\
         netty.server.outstandingHandshake.limit=9\nclient.certReload=true\n\
         secureClientPortAddress=::1\nX509AuthenticationProvider.superUser=CN=a,O=b\n\
         authProvider.1=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    );
    let config = tls.unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let tls = config.tls;
    assert_eq!(tls.key_store.kind, StoreKind::Jks);
    assert_eq!(tls.key_store.password, Secret("p".to_owned()));
    assert_eq!(tls.key_store.password_path.as_deref(), Some("/p"));
    assert_eq!(tls.trust_store.kind, StoreKind::Pkcs12);
    assert_eq!(tls.protocols, [TlsProtocol::V1_3, TlsProtocol::V1_2]);
    assert_eq!(tls.client_auth, ClientAuth::Want);
    assert!(tls.verifies_client_address && tls.crl && tls.cert_reload);
    assert_eq!(tls.crl_location.as_deref(), Some("/c"));
    assert_eq!((tls.detection_timeout_ms, tls.outstanding_handshakes), (7, Some(9)));
    assert_eq!(tls.address.as_deref(), Some("::1"));
    assert_eq!(tls.x509_super_user.as_deref(), Some("CN=a,O=b"));
}

#[test]
fn what_cannot_be_had_is_left_out_with_a_line_while_something_is_left() {
    let text = "ssl.enabledProtocols=TLSv1.1,TLSv1.2\n\
                ssl.ciphersuites=TLS_RSA_WITH_AES_128_CBC_SHA,\
                TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    let config = secure(text).unwrap();
    assert_eq!(config.tls.protocols, [TlsProtocol::V1_2]);
    assert_eq!(config.tls.suites, [TlsSuite::EcdheRsaAes256GcmSha384]);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn what_leaves_nothing_or_too_little_stops_the_start() {
    for (text, key) in [
        ("ssl.enabledProtocols=TLSv1.1", "ssl.enabledProtocols"),
        ("ssl.protocol=TLS", "ssl.protocol"),
        ("ssl.ciphersuites=TLS_RSA_WITH_AES_128_CBC_SHA", "ssl.ciphersuites"),
        ("ssl.ciphersuites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ssl.ciphersuites"),
        ("ssl.clientAuth=maybe", "ssl.clientAuth"),
        ("ssl.ocsp=true", "ssl.ocsp"),
        ("ssl.context.supplier.class=a.B", "ssl.context.supplier.class"),
        ("ssl.authProvider=mine", "ssl.authProvider"),
        ("ssl.sslProvider=NSS", "ssl.sslProvider"),
        ("ssl.keyStore.type=DKS", "ssl.keyStore.type"),
        ("ssl.keyStore.location=/k.bcfks", "ssl.keyStore.location"),
        ("ssl.keyStore.location=/k", "ssl.keyStore.location"),
        ("ssl.trustStore.location=", "ssl.trustStore.location"),
        ("ssl.keyStore.location=", "ssl.keyStore.location"),
    ] {
        assert_eq!(refusal(text).0, key, "{text}");
    }
    assert!(secure("ssl.trustStore.location=\nssl.clientAuth=none").is_ok());
    assert!(secure("ssl.trustStore.location=\nssl.clientAuth=want").is_ok());
}

#[test]
fn keys_of_tls_without_a_port_for_it_earn_one_line() {
    let config = parse(&format!("{STORES}\nssl.ocsp=true")).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(!config.tls.is_used() && !config.tls.x509);
    let unified = parse(&format!("{STORES}\nclient.portUnification=true")).unwrap();
    assert!(unified.tls.is_used() && unified.warnings.is_empty());
}

#[test]
fn no_password_is_listed() {
    let listing = secure("ssl.keyStore.password=sesame").unwrap().listing();
    assert!(listing.contains("key_store") && !listing.contains("sesame"), "{listing}");
}
