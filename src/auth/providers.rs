//! The schemes this server knows, and the two questions they answer.

use std::fmt;

use crate::proto::{Acl, ErrorCode, Perms, RawAcl, decode_utf8};

use super::digest::{self, Algorithm};
use super::{Identities, Identity, ip, list, sasl, x509};

/// What the operator chose.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// The scheme `digest` exists.
    pub digest_enabled: bool,
    /// By Java's name.
    pub digest_alg: String,
    /// `user:base64hash` of who may do everything.
    pub super_digest: Option<String>,
    /// The scheme `x509` exists.
    pub x509: bool,
    /// The subject of a certificate whose owner may do everything.
    pub x509_super_user: Option<String>,
    /// No ACL is ever looked at.
    pub skip_acl: bool,
    /// Connections must have proved one of these schemes before they may ask for anything.
    pub enforced_schemes: Option<Vec<String>>,
    pub sasl: SaslSettings,
}

/// What the operator chose for those who prove themselves by SASL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaslSettings {
    /// The scheme `sasl` exists in ACLs.
    pub has_provider: bool,
    /// Who may do everything.
    pub super_users: Vec<String>,
    /// The id in an ACL that stands for all of them.
    pub any_user_id: Option<String>,
}

/// No log line may show the super user's digest.
impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("digest_enabled", &self.digest_enabled)
            .field("digest_alg", &self.digest_alg)
            .field("super_digest", &self.super_digest.as_ref().map(|_| "***"))
            .field("x509", &self.x509)
            .field("x509_super_user", &self.x509_super_user)
            .field("skip_acl", &self.skip_acl)
            .field("enforced_schemes", &self.enforced_schemes)
            .field("sasl", &self.sasl)
            .finish()
    }
}

impl Default for AuthSettings {
    fn default() -> AuthSettings {
        AuthSettings {
            digest_enabled: true,
            digest_alg: "SHA1".to_owned(),
            super_digest: None,
            x509: false,
            x509_super_user: None,
            skip_acl: false,
            enforced_schemes: None,
            sasl: SaslSettings::default(),
        }
    }
}

/// The credential is worth nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthFailed;

/// The schemes this server knows.
pub struct Providers {
    digest: Option<Algorithm>,
    super_digest: Option<String>,
    x509: bool,
    x509_super_user: Option<String>,
    skip_acl: bool,
    enforced_schemes: Option<Vec<String>>,
    sasl: SaslSettings,
}

impl Providers {
    pub fn new(settings: &AuthSettings) -> Result<Providers, String> {
        let digest = match settings.digest_enabled {
            false => None,
            true => Some(Algorithm::named(&settings.digest_alg).ok_or_else(|| {
                format!(
                    "DigestAuthenticationProvider.digestAlg={}: no such algorithm here; \
                     use one of MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA3-256, …",
                    settings.digest_alg
                )
            })?),
        };
        let providers = Providers {
            digest,
            super_digest: settings.super_digest.clone(),
            x509: settings.x509,
            x509_super_user: settings.x509_super_user.clone(),
            skip_acl: settings.skip_acl,
            enforced_schemes: settings.enforced_schemes.clone(),
            sasl: settings.sasl.clone(),
        };
        providers.check_enforced()?;
        Ok(providers)
    }

    fn check_enforced(&self) -> Result<(), String> {
        let Some(schemes) = &self.enforced_schemes else { return Ok(()) };
        if schemes.is_empty() {
            let fault = "enforce.auth.enabled is true: enforce.auth.schemes must name a scheme";
            return Err(fault.to_owned());
        }
        match schemes.iter().find(|scheme| !self.is_known(scheme)) {
            Some(scheme) => {
                Err(format!("enforce.auth.schemes: the scheme {scheme:?} is not available"))
            }
            None => Ok(()),
        }
    }

    /// Adds what a credential proves to the identities of its connection.
    pub fn authenticate(
        &self,
        scheme: &str,
        auth: &[u8],
        ids: &mut Identities,
    ) -> Result<(), AuthFailed> {
        match (scheme, self.digest) {
            ("ip", _) => {
                let again = ids.address().map(|address| Identity::new("ip", address));
                again.map_or(Ok(()), |identity| add(ids, identity))
            }
            ("digest", Some(algorithm)) => {
                let id = algorithm.id_of(&decode_utf8(auth));
                let is_super =
                    self.super_digest.as_deref().is_some_and(|s| digest::is_same(s, &id));
                if is_super {
                    add(ids, Identity::new("super", ""))?;
                }
                add(ids, Identity::new("digest", &id))
            }
            // The certificate was seen when the connection was made, or never will be.
            ("x509", _) if self.x509 && ids.iter().any(|identity| identity.scheme == "x509") => {
                Ok(())
            }
            _ => Err(AuthFailed),
        }
    }

    /// Adds a user who has proved by SASL who it is.
    pub fn add_sasl(&self, user: &str, ids: &mut Identities) -> Result<(), AuthFailed> {
        add(ids, Identity::new("sasl", user))?;
        if self.sasl.super_users.iter().any(|name| name == user) {
            add(ids, Identity::new("super", ""))?;
        }
        Ok(())
    }

    /// Whether nobody may ask for anything without SASL, so that failing it ends a connection.
    pub fn requires_sasl(&self) -> bool {
        let schemes = self.enforced_schemes.as_ref();
        schemes.is_some_and(|wanted| wanted.iter().any(|scheme| scheme == "sasl"))
    }

    /// Adds what a verified certificate proves: its subject is somebody.
    pub fn certify(&self, subject: &str, ids: &mut Identities) -> Result<(), AuthFailed> {
        if !self.x509 {
            return Err(AuthFailed);
        }
        if self.x509_super_user.as_deref() == Some(subject) {
            add(ids, Identity::new("super", subject))?;
        }
        add(ids, Identity::new("x509", subject))
    }

    /// What is stored of an ACL that a client sent, or why not.
    pub fn fix_up(
        &self,
        acl: Option<&[RawAcl<'_>]>,
        ids: &Identities,
    ) -> Result<Vec<Acl>, ErrorCode> {
        list::fix_up(self, acl, ids)
    }

    /// Whether the list lets these identities do any of what is wanted.
    pub fn permits(&self, acl: &[Acl], wanted: Perms, ids: &Identities) -> bool {
        permits_anyone(acl, wanted)
            || self.skip_acl
            || ids.is_super()
            || acl.iter().any(|a| self.grants(a, wanted, ids))
    }

    fn grants(&self, acl: &Acl, wanted: Perms, ids: &Identities) -> bool {
        if !acl.perms.intersects(wanted) {
            return false;
        }
        if acl.is_anyone() {
            return true;
        }
        let mut same_scheme = ids.iter().filter(|identity| identity.scheme == acl.scheme);
        match acl.scheme.as_str() {
            "digest" if self.digest.is_some() => {
                same_scheme.any(|identity| digest::is_same(&identity.id, &acl.id))
            }
            "x509" if self.x509 => same_scheme.any(|identity| {
                identity.id == acl.id || self.x509_super_user.as_deref() == Some(&identity.id)
            }),
            "ip" => ip::Prefix::parse(&acl.id)
                .is_some_and(|prefix| same_scheme.any(|identity| prefix.covers(&identity.id))),
            "sasl" if self.sasl.has_provider => {
                let is_any = self.sasl.any_user_id.as_ref() == Some(&acl.id);
                same_scheme.any(|user| is_any || user.id == "super" || user.id == acl.id)
            }
            _ => false,
        }
    }

    pub fn is_super(&self, ids: &Identities) -> bool {
        ids.is_super()
    }

    pub fn can_admin(&self, acl: &[Acl], ids: &Identities) -> bool {
        self.permits(acl, Perms::ADMIN, ids)
    }

    /// The list as those see it who may not administer the node: hashes hidden.
    pub fn masked(&self, acl: &[Acl]) -> Vec<Acl> {
        let mask = |a: &Acl| match a.scheme.as_str() {
            "digest" => Acl::new(a.perms, &a.scheme, &digest::masked(&a.id)),
            _ => a.clone(),
        };
        acl.iter().map(mask).collect()
    }

    /// Scheme and user of every identity; the user is empty where no provider can tell.
    pub fn user_names(&self, ids: &Identities) -> Vec<(String, String)> {
        let name = |identity: &Identity| match identity.scheme.as_str() {
            "digest" if self.digest.is_some() => digest::user_name(&identity.id).to_owned(),
            "ip" => identity.id.clone(),
            "sasl" if self.sasl.has_provider => identity.id.clone(),
            "x509" if self.x509 => identity.id.clone(),
            _ => String::new(),
        };
        ids.iter().map(|identity| (identity.scheme.clone(), name(identity))).collect()
    }

    /// Whether a connection has proved what the operator demands of all.
    pub fn admits(&self, ids: &Identities) -> bool {
        self.enforced_schemes
            .as_ref()
            .is_none_or(|wanted| ids.iter().any(|identity| wanted.contains(&identity.scheme)))
    }

    /// There is a provider of this scheme.
    pub(super) fn is_known(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest.is_some(),
            "sasl" => self.sasl.has_provider,
            "x509" => self.x509,
            _ => false,
        }
    }

    /// Whether an ACL may name this id.
    pub(super) fn is_valid(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            "world" => id == "anyone",
            "ip" => ip::Prefix::parse(id).is_some(),
            "digest" => self.digest.is_some() && digest::is_valid(id),
            "sasl" => self.sasl.has_provider && sasl::is_principal(id),
            "x509" => self.x509 && x509::is_valid(id),
            _ => false,
        }
    }

    /// Whether identities of this scheme are somebody, so that `auth` stands for them.
    pub(super) fn proves(&self, scheme: &str) -> bool {
        matches!(scheme, "digest" | "sasl" | "x509") && self.is_known(scheme)
    }
}

/// Whether the list lets everybody, as nearly every list does with its first entry.
pub fn permits_anyone(acl: &[Acl], wanted: Perms) -> bool {
    acl.first().is_none_or(|first| first.perms.intersects(wanted) && first.is_anyone())
}

fn add(ids: &mut Identities, identity: Identity) -> Result<(), AuthFailed> {
    if ids.add(identity) { Ok(()) } else { Err(AuthFailed) }
}
