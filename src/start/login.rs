//! The login file: who may prove by SASL to be somebody, and what stops the start.

use std::collections::BTreeMap;
use std::io;

use zkd::auth::{LoginFile, LoginModule, Password};
use zkd::config::{Config, Sasl};

/// The users of a configuration.
#[derive(Debug, Default, PartialEq)]
pub struct Login {
    /// None: no SASL is spoken.
    pub users: Option<BTreeMap<String, Password>>,
    /// What an operator should read.
    pub warnings: Vec<String>,
}

/// Reads what `java.security.auth.login.config` names; why the server must not start otherwise.
pub fn read(
    config: &Config,
    file: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Login, String> {
    let mut login = Login::default();
    let sasl = &config.auth.sasl;
    kerberos(sasl, &mut login.warnings)?;
    if let Some(named) = &sasl.login_file {
        let path = path(named);
        let refuse = |reason: String| format!("java.security.auth.login.config={path}: {reason}");
        let text = file(path).map_err(|error| refuse(error.to_string()))?;
        let property = |name: &str| match name {
            "user.home" => config.system_properties.get(name).cloned().or_else(|| variable("HOME")),
            name => config.system_properties.get(name).cloned(),
        };
        let parsed = LoginFile::parse(&text, &property).map_err(|e| refuse(e.to_string()))?;
        let name = sasl.section.as_deref().unwrap_or(DEFAULT_SECTION);
        match (parsed.section(name), &sasl.section) {
            (Some(modules), _) => {
                login.users = Some(users(sasl, modules, &mut login.warnings).map_err(refuse)?);
            }
            (None, Some(_)) => {
                return Err(refuse(format!("there is no section {name} (sasl.serverconfig)")));
            }
            // One file may be for clients and servers alike; Java goes on, too.
            (None, None) => login
                .warnings
                .push(format!("{path} has no section {name}: no client can prove itself by SASL")),
        }
    } else if sasl.section.is_some() {
        let text = "sasl.serverconfig does nothing without java.security.auth.login.config";
        login.warnings.push(text.to_owned());
    }
    let auth = &config.auth;
    let is_demanded = auth.enforce_auth && auth.enforce_auth_schemes.iter().any(|s| s == "sasl");
    if is_demanded && login.users.is_none() {
        let text = "clients have to prove themselves by SASL, and no login file says who they \
                    are: set java.security.auth.login.config";
        login.warnings.push(text.to_owned());
    }
    Ok(login)
}

fn users(
    sasl: &Sasl,
    modules: &[LoginModule],
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, Password>, String> {
    for LoginModule { class, line, .. } in modules {
        if class.ends_with("Krb5LoginModule") {
            return Err(format!(
                "line {line}: {class} wants Kerberos, which this build does not have; it will be \
                 in builds with the cargo feature `kerberos`. Until then clients can prove \
                 themselves by DIGEST-MD5: {DIGEST_MODULE} required user_NAME=\"…\";"
            ));
        }
        if class != DIGEST_MODULE {
            let reason = "cannot be loaded here; the module there is";
            return Err(format!("line {line}: the class {class} {reason} {DIGEST_MODULE}"));
        }
    }
    let mut users = LoginFile::users(modules);
    if let (Some(password), Some(own)) = (&sasl.super_password, users.get_mut("super")) {
        *own = Password(password.0.clone());
    }
    if users.is_empty() {
        warnings.push("the login file has no user_NAME: nobody can prove himself".to_owned());
    }
    Ok(users)
}

/// Keys that only Kerberos reads.
fn kerberos(sasl: &Sasl, warnings: &mut Vec<String>) -> Result<(), String> {
    let kerberos = &sasl.kerberos;
    if kerberos.require_config {
        return Err("requireKerberosConfig=true: this build does not have Kerberos".to_owned());
    }
    let given = [
        ("security.auth_to_local", kerberos.rules.is_some()),
        ("kerberos.removeHostFromPrincipal", kerberos.remove_host),
        ("kerberos.removeRealmFromPrincipal", kerberos.remove_realm),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        warnings.push(format!("{key} does nothing here: this build does not have Kerberos"));
    }
    Ok(())
}

/// As Java takes it: `=` in front means that no other file counts, and a URL is one of a file.
fn path(named: &str) -> &str {
    let named = named.strip_prefix('=').unwrap_or(named);
    let Some(path) = named.strip_prefix("file:") else { return named };
    path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path)
}

const DEFAULT_SECTION: &str = "Server";
const DIGEST_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";

#[cfg(test)]
mod tests {
    use super::*;
    use zkd::config::{Sources, SystemProperties};

    const FILE: &str = r#"
        Server {
            org.apache.zookeeper.server.auth.DigestLoginModule required
            user_super="file" user_bob="${pw}";
        };
        Kerberos { com.sun.security.auth.module.Krb5LoginModule required; };
        Other { com.example.Mine required; };
        Client { org.apache.zookeeper.server.auth.DigestLoginModule required username="bob"; };
    "#;

    fn login(keys: &str) -> Result<Login, String> {
        let text = format!("dataDir=/d\npw=hush\n{keys}");
        let arguments = ["pw=hush".to_owned()];
        let properties = SystemProperties::from_layers(&arguments, "", "");
        let sources = Sources {
            file: "zoo.cfg",
            text: text.as_bytes(),
            dynamic: None,
            properties: &properties,
        };
        let config = Config::parse(&sources).expect("a sound configuration");
        let file = |path: &str| match path {
            "/jaas" => Ok(FILE.as_bytes().to_vec()),
            "/torn" => Ok(b"Server {\n  x.Y required user_a=\"hush\"".to_vec()),
            "/client" => Ok(b"Client { x.Y required; };".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        read(&config, &file, &|_| None)
    }

    #[test]
    fn users_come_from_the_server_s_section() {
        assert_eq!(login(""), Ok(Login::default()));
        for named in ["/jaas", "=/jaas", "file:/jaas", "=file:///jaas"] {
            let login = login(&format!("java.security.auth.login.config={named}")).expect(named);
            let users = login.users.expect("users");
            assert_eq!(users["super"], Password("file".to_owned()));
            assert_eq!(users["bob"], Password("hush".to_owned()));
            assert_eq!((users.len(), login.warnings.len()), (2, 0));
        }
        let keys = "java.security.auth.login.config=/jaas\n\
                    SASLAuthenticationProvider.superPassword=key";
        let users = login(keys).expect("sound").users.expect("users");
        assert_eq!(users["super"], Password("key".to_owned()));
    }

    #[test]
    fn what_cannot_be_served_stops_the_start_and_says_why() {
        let cases = [
            ("java.security.auth.login.config=/gone", "/gone: entity not found"),
            ("java.security.auth.login.config=/torn", "/torn: line 2: "),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=None", "no section None"),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=Kerberos", "`kerberos`"),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=Other", "com.example.Mine"),
            ("requireKerberosConfig=true", "Kerberos"),
        ];
        for (keys, words) in cases {
            let reason = login(keys).expect_err(keys);
            assert!(reason.contains(words) && !reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn what_does_nothing_earns_a_line() {
        let cases = [
            ("java.security.auth.login.config=/client", "no section Server"),
            ("sasl.serverconfig=X", "does nothing without"),
            ("kerberos.removeRealmFromPrincipal=true", "removeRealm"),
            ("security.auth_to_local=RULE:[1:$1]", "auth_to_local"),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=Client", "nobody can"),
            (
                "sessionRequireClientSASLAuth=true\nauthProvider.1=\
                 org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                "no login file",
            ),
        ];
        for (keys, words) in cases {
            let warnings = login(keys).expect(keys).warnings;
            assert!(warnings.len() == 1 && warnings[0].contains(words), "{warnings:?}");
        }
    }
}
