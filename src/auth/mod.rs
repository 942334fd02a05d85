//! Who a connection is, and what an access control list lets it do.
//!
//! Decides which identities a credential is worth, what an ACL becomes when it is stored, and
//! whether identities may do what they ask. Never holds a connection, never reads a node, never
//! answers anybody.

mod digest;
mod digest_md5;
mod gssapi;
mod identity;
mod ip;
mod jaas;
mod list;
mod principal;
mod providers;
mod sasl;
mod tries;
mod x509;

#[cfg(test)]
mod jaas_tests;
#[cfg(test)]
mod sasl_tests;
#[cfg(test)]
mod tests;

pub use digest_md5::DigestMd5Client;
pub use gssapi::{
    Accepted, GssapiAnswer, GssapiExchange, KerberosAsk, KerberosSaid, KerberosServer,
    SecurityContext,
};
pub use identity::{Identities, Identity};
pub use jaas::{LoginFile, LoginFileError, LoginModule, Password};
pub use principal::{PrincipalRules, PrincipalSettings};
pub use providers::{AuthFailed, AuthSettings, Providers, SaslSettings, permits_anyone};
pub use sasl::{SaslAnswer, SaslExchange, SaslFailure, SaslServer};
