//! A server that is measured: where it is, and how its connections are sealed and proved.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options};
use rustls::AlertDescription as Alert;
use zkd::base::{SessionId, Zxid};
use zkd::client::{
    Client, Connection, Error, Sasl, Settings, Tls, TlsFault, TlsFiles, TlsPart, TlsVersion,
};
use zkd::proto::{ConnectRequest, ErrorCode};

use super::options;

/// Where the password is looked for when no file is named.
const PASSWORD_VARIABLE: &str = "ZKBENCH_SASL_PASSWORD";

/// How long dialling and the handshakes may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A password is no longer than this.
const PASSWORD_BYTES: usize = 4096;

#[derive(Clone, Debug)]
pub struct Server {
    pub address: SocketAddr,
    /// Whose CPU and memory are told: those of all its members, where it is an ensemble.
    pub pids: Vec<u32>,
    /// The ensemble's other members.
    others: Vec<Server>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    is_insecure: bool,
}

/// `whose` certificate is shown.
pub fn know_tls(o: &mut Options, whose: &str) {
    o.optopt("", "tls-ca", "TLS: who vouches for the server, in PEM", "FILE");
    o.optopt("", "tls-cert", &format!("{whose} certificate, and those above it, in PEM"), "FILE");
    o.optopt("", "tls-key", "its key in PEM (the file of --tls-cert)", "FILE");
    o.optopt("", "tls-name", "the name in the server's certificate (the host dialled)", "NAME");
    o.optopt("", "tls-version", "1.2 or 1.3, and no other", "VERSION");
    o.optflag("", "tls-insecure", "TLS with whoever answers: nobody vouches for the server");
}

pub fn know_security(o: &mut Options) {
    know_tls(o, "the client's");
    o.optopt("", "sasl", "prove to be this user by DIGEST-MD5", "USER");
    let place = format!("its first line is the user's password (${PASSWORD_VARIABLE})");
    o.optopt("", "sasl-password-file", &place, "FILE");
}

/// The options of a server and of a second one.
pub fn know_servers(o: &mut Options) {
    o.optopt(
        "",
        "server",
        "the server, or an ensemble over which
                        the sessions are spread (127.0.0.1:2181)",
        "HOST:PORT,...",
    );
    o.optopt("", "server-pid", "the server's process, or the members': CPU is told", "PID,...");
    o.optopt("", "against", "a second one, measured in turn with the first", "HOST:PORT,...");
    o.optopt("", "against-pid", "the second server's process, or its members'", "PID,...");
    know_security(o);
}

/// How connections are secured: the same for each server of a run.
pub struct Security {
    tls: Option<Tls>,
    is_named: bool,
    sasl: Option<Sasl>,
    is_insecure: bool,
}

impl Security {
    pub fn read(m: &Matches) -> Result<Security, String> {
        let files =
            TlsFiles { certificate: path(m, "tls-cert"), key: path(m, "tls-key"), ..trust(m)? };
        let is_insecure = files.is_insecure;
        let sasl = match m.opt_str("sasl") {
            Some(user) => Some(Sasl::new(&user, &password(m)?)),
            None if m.opt_present("sasl-password-file") => {
                return Err("--sasl-password-file: whose? --sasl USER is missing".to_owned());
            }
            None => None,
        };
        let tls = if wants_tls(m) { Some(load(m, &files)?) } else { None };
        Ok(Security { tls, is_named: m.opt_present("tls-name"), sasl, is_insecure })
    }

    /// The server at HOST:PORT, or the ensemble at several.
    pub fn server(&self, names: &str, pids: Vec<u32>) -> Result<Server, String> {
        let mut each = names.split(',');
        let mut first = self.member(each.next().unwrap_or_default())?;
        first.others = each.map(|name| self.member(name)).collect::<Result<_, _>>()?;
        first.pids = pids;
        Ok(first)
    }

    fn member(&self, name: &str) -> Result<Server, String> {
        let address = options::address(name)?;
        let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let tls = match &self.tls {
            Some(tls) if !self.is_named && !is_address => {
                Some(tls.named(host).map_err(|e| format!("{name}: {e}"))?)
            }
            tls => tls.clone(),
        };
        let (sasl, is_insecure) = (self.sasl.clone(), self.is_insecure);
        let (pids, others) = (Vec::new(), Vec::new());
        Ok(Server { address, pids, others, tls, sasl, is_insecure })
    }
}

/// The server, and the second one where it is named.
pub fn servers(m: &Matches) -> Result<Vec<Server>, String> {
    let security = Security::read(m)?;
    let name = m.opt_str("server").unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let mut servers = vec![security.server(&name, options::pids(m, "server-pid")?)?];
    if let Some(other) = m.opt_str("against") {
        servers.push(security.server(&other, options::pids(m, "against-pid")?)?);
    }
    Ok(servers)
}

/// How often each of the servers is measured, by this option.
pub fn pairs(m: &Matches, name: &str, servers: usize) -> Result<u32, String> {
    options::number(m, name, if servers > 1 { 5 } else { 1 }, 1, 1000)
}

fn path(m: &Matches, name: &str) -> Option<PathBuf> {
    m.opt_str(name).map(PathBuf::from)
}

pub fn wants_tls(m: &Matches) -> bool {
    let names = ["tls-ca", "tls-cert", "tls-key", "tls-name", "tls-version", "tls-insecure"];
    names.iter().any(|name| m.opt_present(name))
}

/// Who is trusted. That nobody is checked is said each time.
pub fn trust(m: &Matches) -> Result<TlsFiles, String> {
    let version = match m.opt_str("tls-version").as_deref() {
        None => None,
        Some("1.2") => Some(TlsVersion::V1_2),
        Some("1.3") => Some(TlsVersion::V1_3),
        Some(other) => return Err(format!("--tls-version: {other} is neither 1.2 nor 1.3")),
    };
    let authorities = path(m, "tls-ca");
    let is_insecure = m.opt_present("tls-insecure");
    match (wants_tls(m), &authorities, is_insecure) {
        (true, None, false) => Err("TLS: --tls-ca FILE is missing: who vouches for the server? \
                                    (--tls-insecure asks nobody)"
            .to_owned()),
        (_, Some(_), true) => Err("--tls-insecure: --tls-ca would not be looked at".to_owned()),
        _ => {
            if is_insecure {
                eprintln!("zkbench: --tls-insecure: nobody vouches for the server");
            }
            Ok(TlsFiles { authorities, is_insecure, version, ..TlsFiles::default() })
        }
    }
}

pub fn load(m: &Matches, files: &TlsFiles) -> Result<Tls, String> {
    if files.key.is_some() && files.certificate.is_none() {
        return Err("--tls-key: its certificate is missing: --tls-cert FILE".to_owned());
    }
    let tls = Tls::load(files).map_err(fault)?;
    match m.opt_str("tls-name") {
        Some(name) => tls.named(&name).map_err(|e| format!("--tls-name: {name}: {e}")),
        None => Ok(tls),
    }
}

/// A fault by the option that named it.
pub fn fault(fault: TlsFault) -> String {
    let option = match fault.part {
        TlsPart::Authorities => "--tls-ca",
        TlsPart::Certificate => "--tls-cert",
        TlsPart::Key => "--tls-key",
        TlsPart::Name => "--tls-name",
    };
    format!("{option}: {fault}")
}

fn password(m: &Matches) -> Result<String, String> {
    let Some(path) = m.opt_str("sasl-password-file") else {
        return std::env::var(PASSWORD_VARIABLE).map_err(|_| {
            format!(
                "--sasl: its password is missing: --sasl-password-file FILE, or \
                 {PASSWORD_VARIABLE} in the environment"
            )
        });
    };
    let told = |why: String| format!("--sasl-password-file: {path}: {why}");
    let text = std::fs::read_to_string(&path).map_err(|e| told(e.to_string()))?;
    let line = text.lines().next().unwrap_or_default();
    match line.len() {
        0 => Err(told("its first line is empty".to_owned())),
        1..=PASSWORD_BYTES => Ok(line.to_owned()),
        _ => Err(told("its first line is too long for a password".to_owned())),
    }
}

impl Server {
    /// Where a session or connection of this number goes: each member in turn.
    pub fn of(&self, number: u64) -> &Server {
        match number as usize % (1 + self.others.len()) {
            0 => self,
            n => &self.others[n - 1],
        }
    }

    /// Itself and the ensemble's others.
    pub fn members(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(self).chain(&self.others)
    }

    /// What bytes travel over.
    pub fn transport(&self) -> String {
        let base = match &self.tls {
            None => "tcp",
            Some(_) if self.is_insecure => "tls-insecure",
            Some(_) => "tls",
        };
        format!("{base}{}", if self.sasl.is_some() { "+sasl" } else { "" })
    }

    /// Opens a session and proves its user; gives the timeout agreed on as well.
    pub fn connect(&self, timeout: Duration) -> Result<(Connection, Duration), String> {
        let told = |e: Error| format!("{}: the handshake: {}", self.address, explained(&e));
        let dialled = Connection::dial_by(self.address, self.tls.as_ref(), PATIENCE);
        let mut connection = dialled.map_err(|e| format!("{}: {e}", self.address))?;
        let response = connection.handshake(&connect_request(timeout), PATIENCE).map_err(told)?;
        if response.timeout_ms <= 0 {
            return Err(format!("{}: the session was refused", self.address));
        }
        if let Some(sasl) = &self.sasl {
            connection.prove(sasl, PATIENCE).map_err(told)?;
        }
        Ok((connection, Duration::from_millis(response.timeout_ms as u64)))
    }

    /// A session for whatever comes before and after a run.
    pub fn client(&self) -> Result<Client, String> {
        let mut settings = Settings::new(vec![self.address]);
        settings.answer_patience = Duration::from_secs(120);
        settings.tls = self.tls.clone();
        settings.sasl = self.sasl.clone();
        let told = |e: Error| format!("{}: opening a session: {}", self.address, explained(&e));
        Client::open(settings).map_err(told)
    }
}

/// A new session is asked for.
pub fn connect_request(timeout: Duration) -> ConnectRequest<'static> {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: timeout.as_millis().min(i32::MAX as u128) as i32,
        session: SessionId::NONE,
        password: Some(&[0; 16]),
        read_only: Some(false),
    }
}

/// An error, and the option that may be at fault.
pub fn explained(error: &Error) -> String {
    use ErrorCode::{AuthFailed, SessionClosedRequireSaslAuth};
    use rustls::CertificateError::{
        BadSignature, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    use rustls::Error::{AlertReceived, InvalidCertificate};
    let option = match error {
        Error::Tls(InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            "--tls-name NAME tells which name its certificate must have"
        }
        Error::Tls(InvalidCertificate(UnknownIssuer | BadSignature)) => {
            "nobody in --tls-ca FILE vouches for this server"
        }
        Error::Tls(AlertReceived(alert)) if is_about_certificate(*alert) => {
            "the server does not take what --tls-cert FILE and --tls-key FILE show it, or misses \
             them"
        }
        Error::Unproved | Error::Code(AuthFailed | SessionClosedRequireSaslAuth) => {
            "the server knows no such user as --sasl USER with that password of \
             --sasl-password-file FILE"
        }
        error if error.is_of_tls() => "--tls-ca FILE does as well",
        _ => return error.to_string(),
    };
    format!("{error}; {option}")
}

fn is_about_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::HandshakeFailure
    )
}
