//! The login file: who may prove by SASL to be somebody, and what stops the start.

use std::collections::BTreeMap;
use std::io;

use zkd::auth::{LoginFile, LoginModule, Password, PrincipalRules, PrincipalSettings};
use zkd::config::{Config, Sasl};

/// The users of a configuration.
#[derive(Debug, Default, PartialEq)]
pub struct Login {
    /// None: no SASL is spoken.
    pub section: Option<Section>,
    /// What an operator should read.
    pub warnings: Vec<String>,
}

/// What the server's section of the login file says.
#[derive(Debug, PartialEq)]
pub enum Section {
    /// DIGEST-MD5, for these.
    Users(BTreeMap<String, Password>),
    /// GSSAPI, by the keys of this principal.
    Kerberos(Service),
}

#[derive(Debug, PartialEq)]
pub struct Service {
    pub principal: String,
    /// None: the system's default one.
    pub keytab: Option<String>,
}

/// Reads what `java.security.auth.login.config` names; why the server must not start otherwise.
pub fn read(
    config: &Config,
    file: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Login, String> {
    read_as(config, file, variable, cfg!(feature = "kerberos"))
}

/// `has_kerberos`: whether this build does.
fn read_as(
    config: &Config,
    file: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    variable: &dyn Fn(&str) -> Option<String>,
    has_kerberos: bool,
) -> Result<Login, String> {
    let mut login = Login::default();
    let sasl = &config.auth.sasl;
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
                let section = section(sasl, modules, has_kerberos, &mut login.warnings);
                login.section = Some(section.map_err(refuse)?);
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
    if let Some(Section::Kerberos(Service { keytab: Some(keytab), .. })) = &login.section {
        file(keytab).map_err(|error| format!("the keytab {keytab}: {error}"))?;
    }
    let is_kerberos = matches!(login.section, Some(Section::Kerberos(_)));
    kerberos_keys(sasl, is_kerberos, has_kerberos, &mut login.warnings)?;
    let auth = &config.auth;
    let is_demanded = auth.enforce_auth && auth.enforce_auth_schemes.iter().any(|s| s == "sasl");
    if is_demanded && login.section.is_none() {
        let text = "clients have to prove themselves by SASL, and no login file says who they \
                    are: set java.security.auth.login.config";
        login.warnings.push(text.to_owned());
    }
    Ok(login)
}

fn section(
    sasl: &Sasl,
    modules: &[LoginModule],
    has_kerberos: bool,
    warnings: &mut Vec<String>,
) -> Result<Section, String> {
    let is_kerberos = |module: &&LoginModule| module.class == KERBEROS_MODULE;
    for LoginModule { class, line, .. } in modules.iter().filter(|module| !is_kerberos(module)) {
        if class != DIGEST_MODULE {
            let reason = "cannot be loaded here; the modules there are";
            let known = format!("{DIGEST_MODULE} and {KERBEROS_MODULE}");
            return Err(format!("line {line}: the class {class} {reason} {known}"));
        }
    }
    let mut users = LoginFile::users(modules);
    if let Some(module) = modules.iter().find(is_kerberos) {
        if !has_kerberos {
            return Err(format!(
                "line {}: {KERBEROS_MODULE} wants Kerberos, which this build leaves out. Take one \
                 with it: cargo build --release --features kerberos (Debian: with libkrb5-dev). Or \
                 let clients prove themselves by DIGEST-MD5: {DIGEST_MODULE} required \
                 user_NAME=\"…\";",
                module.line
            ));
        }
        if !users.is_empty() {
            warnings.push("beside Kerberos nobody proves himself by a user_NAME".to_owned());
        }
        let service = service(module, warnings);
        return service.map(Section::Kerberos).map_err(|e| format!("line {}: {e}", module.line));
    }
    if let (Some(password), Some(own)) = (&sasl.super_password, users.get_mut("super")) {
        *own = Password(password.0.clone());
    }
    if users.is_empty() {
        warnings.push("the login file has no user_NAME: nobody can prove himself".to_owned());
    }
    Ok(Section::Users(users))
}

/// Whose keys they are, and where. What else Java's module knows is for clients and for servers
/// that log in themselves; ours only opens what clients bring.
fn service(module: &LoginModule, warnings: &mut Vec<String>) -> Result<Service, String> {
    let option = |name: &str| module.options.get(name).map(|value| value.0.as_str());
    let is_on = |name: &str| option(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if !is_on("useKeyTab") {
        return Err("useKeyTab=true is missing: a server has its keys from a keytab".to_owned());
    }
    if !is_on("storeKey") {
        let text = "storeKey=true is missing: zkd takes tickets all the same, a Java server none";
        warnings.push(text.to_owned());
    }
    let principal = option("principal").ok_or("principal=\"zookeeper/HOST@REALM\" is missing")?;
    let (name, realm) = principal.split_once('@').unwrap_or((principal, "default"));
    let has_parts = name.split_once('/').is_some_and(|(service, host)| {
        !service.is_empty() && !host.is_empty() && !host.contains('/')
    });
    if !has_parts || realm.is_empty() || realm.contains(['/', '@']) || principal.contains('\0') {
        let name = principal.escape_debug();
        return Err(format!("the principal {name} has not the form zookeeper/HOST@REALM"));
    }
    let keytab = option("keyTab").map(|name| name.strip_prefix("FILE:").unwrap_or(name));
    Ok(Service { principal: principal.to_owned(), keytab: keytab.map(str::to_owned) })
}

/// Keys that only Kerberos reads.
fn kerberos_keys(
    sasl: &Sasl,
    is_kerberos: bool,
    has_kerberos: bool,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let kerberos = &sasl.kerberos;
    if kerberos.require_config && !has_kerberos {
        return Err(
            "requireKerberosConfig=true: this build leaves Kerberos out; take one with it: cargo \
             build --release --features kerberos"
                .to_owned(),
        );
    }
    if is_kerberos {
        return principal_rules(sasl, "").map(|_| ());
    }
    let given = [
        ("java.security.krb5.conf", kerberos.config_file.is_some() && !kerberos.require_config),
        ("security.auth_to_local", kerberos.rules.is_some()),
        ("kerberos.removeHostFromPrincipal", kerberos.remove_host),
        ("kerberos.removeRealmFromPrincipal", kerberos.remove_realm),
    ];
    for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
        warnings.push(format!("{key} does nothing here: the login file does not ask for Kerberos"));
    }
    Ok(())
}

/// How principals are named, by the keys of a configuration.
pub fn principal_rules(sasl: &Sasl, default_realm: &str) -> Result<PrincipalRules, String> {
    PrincipalRules::new(PrincipalSettings {
        rules: sasl.kerberos.rules.as_deref(),
        default_realm,
        removes_host: sasl.kerberos.remove_host,
        removes_realm: sasl.kerberos.remove_realm,
    })
}

/// As Java takes it: `=` in front means that no other file counts, and a URL is one of a file.
fn path(named: &str) -> &str {
    let named = named.strip_prefix('=').unwrap_or(named);
    let Some(path) = named.strip_prefix("file:") else { return named };
    path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path)
}

const DEFAULT_SECTION: &str = "Server";
const DIGEST_MODULE: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";
const KERBEROS_MODULE: &str = "com.sun.security.auth.module.Krb5LoginModule";

#[cfg(test)]
mod tests {
    use super::*;
    use zkd::config::{MemberSources, Sources, SystemProperties};

    const FILE: &str = r#"
        Server {
            org.apache.zookeeper.server.auth.DigestLoginModule required
            user_super="file" user_bob="${pw}";
        };
        Kerberos {
            com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true
            keyTab="/keys" principal="zookeeper/localhost@R";
        };
        Bare { com.sun.security.auth.module.Krb5LoginModule required; };
        NoName { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };
        OnePart {
            com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true principal="z@R";
        };
        NoKeys {
            com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true
            keyTab="FILE:/gone" principal="zookeeper/localhost";
        };
        Mixed {
            com.sun.security.auth.module.Krb5LoginModule required useKeyTab=TRUE
            principal="zookeeper/localhost";
            org.apache.zookeeper.server.auth.DigestLoginModule required user_a="hush";
        };
        Other { com.example.Mine required; };
        Client { org.apache.zookeeper.server.auth.DigestLoginModule required username="bob"; };
    "#;

    fn login(keys: &str) -> Result<Login, String> {
        login_of_build(false, keys)
    }

    fn login_of_build(has_kerberos: bool, keys: &str) -> Result<Login, String> {
        let text = format!("dataDir=/d\npw=hush\n{keys}");
        let arguments = ["pw=hush".to_owned()];
        let properties = SystemProperties::from_layers(&arguments, "", "");
        let sources = Sources {
            file: "zoo.cfg",
            text: text.as_bytes(),
            dynamic: None,
            properties: &properties,
            member: MemberSources::default(),
        };
        let config = Config::parse(&sources).expect("a sound configuration");
        let file = |path: &str| match path {
            "/jaas" => Ok(FILE.as_bytes().to_vec()),
            "/torn" => Ok(b"Server {\n  x.Y required user_a=\"hush\"".to_vec()),
            "/keys" => Ok(Vec::new()),
            "/client" => Ok(b"Client { x.Y required; };".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        read_as(&config, &file, &|_| None, has_kerberos)
    }

    #[test]
    fn users_come_from_the_server_s_section() {
        assert_eq!(login(""), Ok(Login::default()));
        for named in ["/jaas", "=/jaas", "file:/jaas", "=file:///jaas"] {
            let login = login(&format!("java.security.auth.login.config={named}")).expect(named);
            let Some(Section::Users(users)) = login.section else { panic!("{named}: no users") };
            assert_eq!(users["super"], Password("file".to_owned()));
            assert_eq!(users["bob"], Password("hush".to_owned()));
            assert_eq!((users.len(), login.warnings.len()), (2, 0));
        }
        let keys = "java.security.auth.login.config=/jaas\n\
                    SASLAuthenticationProvider.superPassword=key";
        let Some(Section::Users(users)) = login(keys).expect("sound").section else { panic!() };
        assert_eq!(users["super"], Password("key".to_owned()));
    }

    #[test]
    fn what_cannot_be_served_stops_the_start_and_says_why() {
        let cases = [
            ("java.security.auth.login.config=/gone", "/gone: entity not found"),
            ("java.security.auth.login.config=/torn", "/torn: line 2: "),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=None", "no section None"),
            (
                "java.security.auth.login.config=/jaas\nsasl.serverconfig=Kerberos",
                "cargo build --release --features kerberos",
            ),
            ("java.security.auth.login.config=/jaas\nsasl.serverconfig=Other", "com.example.Mine"),
            ("requireKerberosConfig=true", "Kerberos"),
        ];
        for (keys, words) in cases {
            let reason = login(keys).expect_err(keys);
            assert!(reason.contains(words) && !reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn builds_with_kerberos_take_the_keys_of_a_principal() {
        let read = |section: &str, keys: &str| {
            let file = "java.security.auth.login.config=/jaas";
            login_of_build(true, &format!("{file}\nsasl.serverconfig={section}\n{keys}"))
        };
        let service = |principal: &str, keytab: Option<&str>| {
            let (principal, keytab) = (principal.to_owned(), keytab.map(str::to_owned));
            Some(Section::Kerberos(Service { principal, keytab }))
        };
        let login = read("Kerberos", "security.auth_to_local=RULE:[1:$1]").expect("sound");
        assert_eq!(login.section, service("zookeeper/localhost@R", Some("/keys")));
        assert_eq!(login.warnings, Vec::<String>::new());
        let login = read("Mixed", "").expect("sound");
        assert_eq!(login.section, service("zookeeper/localhost", None));
        assert_eq!(login.warnings.len(), 2, "{:?}", login.warnings);
        let cases = [
            ("Bare", "", "useKeyTab"),
            ("NoName", "", "principal"),
            ("OnePart", "", "z@R"),
            ("NoKeys", "", "/gone: entity not found"),
            ("Kerberos", "security.auth_to_local=RULE:[1:$2]", "auth_to_local"),
            ("Other", "", "com.example.Mine"),
        ];
        for (section, keys, words) in cases {
            let reason = read(section, keys).expect_err(section);
            assert!(reason.contains(words) && !reason.contains("hush"), "{reason}");
        }
        assert_eq!(login_of_build(true, "requireKerberosConfig=true"), Ok(Login::default()));
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
