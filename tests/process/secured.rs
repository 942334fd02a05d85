//! `zkbench` and the client library over TLS and proved by SASL, against a server that asks for
//! it; and what is said where one of the two does not take the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;

use zkd::client::{Client, Notice, Sasl, Settings, Tls, TlsFiles, TlsVersion};

use super::bench::{assert_latencies, assert_nothing_left, json, text, zkbench};
use super::certificates::Certificates;
use super::ports::Port;
use super::server::{Folder, PATIENCE, Server};

const LOGIN: &str = "Server {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    user_bob=\"bob's secret\";
};
";

/// A server with a second port, which speaks TLS.
struct Secured {
    server: Server,
    port: Port,
    certificates: Certificates,
}

impl Secured {
    fn start(name: &str, client_auth: &str, more: &str) -> Secured {
        let (certificates, port) = (Certificates::new(), Port::free());
        let lines = certificates.lines(port.number, name, client_auth) + more;
        Secured { server: Server::start(&lines), port, certificates }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    fn path(&self, name: &str) -> String {
        self.certificates.path(name).display().to_string()
    }

    /// The options by which a client is taken.
    fn options(&self) -> String {
        let (trust, client) = (self.path("trust.pem"), self.path("client.pem"));
        format!("--tls-ca {trust} --tls-cert {client}")
    }
}

/// Without a user who is proved nothing is served.
const REQUIRED: &str = "sessionRequireClientSASLAuth=true\n";

/// The lines of `zoo.cfg` by which SASL is spoken, and the file with bob's password.
fn login(folder: &Folder) -> (String, String) {
    let file = folder.file("login.conf", LOGIN);
    let lines = format!(
        "java.security.auth.login.config={}\n\
         authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n",
        file.display()
    );
    let password = folder.file("password", "bob's secret\n");
    (lines, format!("--sasl bob --sasl-password-file {}", password.display()))
}

/// How each command is asked for little; `--servers` is said by one of them only.
fn commands(address: SocketAddr) -> [String; 5] {
    [
        format!("latencies --servers {address} --znode_count 300"),
        format!("load --server {address} --op get=50,set=50 --count 2000 --warmup 0 --keys 10"),
        format!("notify --server {address} --watchers 5 --nodes 100"),
        format!("hold --server {address} --sessions 10 --watches 100 --seconds 0.1"),
        format!("connects --server {address} --rate 300 --count 60 --seconds 60"),
    ]
}

fn transport(told: &serde_json::Value) -> &str {
    let told = if told["command"] == "load" { &told["load"] } else { told };
    told["transport"].as_str().expect("it is told")
}

#[test]
fn every_command_speaks_either_version_of_tls() {
    let secured = Secured::start("server", "need", "");
    for version in ["1.2", "1.3"] {
        for line in commands(secured.address()) {
            let told = json(&format!("{line} {} --tls-version {version}", secured.options()));
            assert_eq!(transport(&told), "tls", "{line}");
        }
    }
    assert_nothing_left(&secured.server);
}

#[test]
fn every_command_proves_its_user() {
    let folder = Folder::new();
    let (lines, options) = login(&folder);
    let lines = lines + REQUIRED;
    let server = Server::start(&lines);
    for line in commands(server.address) {
        let told = json(&format!("{line} {options}"));
        assert_eq!(transport(&told), "tcp+sasl", "{line}");
    }
    let secured = Secured::start("server", "none", &lines);
    let trust = secured.path("trust.pem");
    for line in commands(secured.address()) {
        let told = json(&format!("{line} {options} --tls-ca {trust}"));
        assert_eq!(transport(&told), "tls+sasl", "{line}");
    }
}

#[test]
fn two_servers_are_measured_in_turn_over_tls() {
    let secured = Secured::start("server", "need", "");
    let against = format!("--against {0} {1}", secured.address(), secured.options());
    let line = format!("connects --server {} --rate 300 --count 50", secured.address());
    let told = json(&format!("{line} --seconds 60 --pairs 2 {against}"));
    assert!(told["ratios"]["p99"]["median"].is_number(), "{told}");
}

#[test]
fn a_large_value_goes_both_ways_over_tls() {
    let secured = Secured::start("server", "need", "");
    let line = format!("load --server {} --op get=50,set=50", secured.address());
    let told = json(&format!(
        "{line} --bytes 600000 --keys 3 --sessions 2 --depth 8 --count 200 --warmup 0 {}",
        secured.options()
    ));
    assert_eq!(told["targets"][0]["operations"], 200);
    assert_latencies(&told["targets"][0]["latency_us"]);
    assert_nothing_left(&secured.server);
}

#[test]
fn floor_echoes_over_tls() {
    let made = Certificates::new();
    let folder = Folder::new();
    let line = format!(
        "floor --sessions 3 --depth 4 --count 2000 --syncs 5 --warmup 0 --dir {} --tls-ca {} \
         --tls-cert {}",
        folder.0.display(),
        made.path("trust.pem").display(),
        made.path("server.pem").display()
    );
    let told = json(&line);
    assert_eq!(told["echo"]["operations"], 2000);
    assert_eq!(told["echo"]["transport"], "tls");
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_certificate_that_is_not_taken_is_named_as_the_cause() {
    let secured = Secured::start("elsewhere", "need", "");
    let path = |name: &str| secured.path(name);
    let (trust, client) = (path("trust.pem"), path("client.pem"));
    let (stranger, foreign) = (path("stranger.crt"), path("stranger.pem"));
    let named = format!("--tls-ca {trust} --tls-name elsewhere.example");
    for (options, word) in [
        (format!("--tls-ca {trust} --tls-cert {client}"), "--tls-name NAME"),
        (format!("--tls-ca {stranger} --tls-cert {client}"), "nobody in --tls-ca FILE"),
        (named.clone(), "--tls-cert FILE"),
        (format!("{named} --tls-cert {foreign}"), "--tls-cert FILE"),
        (format!("{named} --tls-cert {client} --tls-key {foreign}"), "the key of another"),
        (format!("{named} --tls-cert {trust}"), "no private key"),
        (format!("--tls-ca {}", path("server.key")), "no authority is named"),
        (String::new(), "speaks TLS; --tls-ca FILE"),
    ] {
        for command in commands(secured.address()) {
            let why = complaint(&zkbench(&format!("{command} {options}")));
            assert!(why.contains(word), "{command} {options}: {why}");
        }
    }
    // And where everything is right it goes through.
    for line in commands(secured.address()) {
        text(&format!("{line} {named} --tls-cert {client}"));
        text(&format!("{line} --tls-insecure --tls-cert {client}"));
    }
    // The others try again for a while: a server that starts ends connections too.
    let [first, .., last] = commands(secured.server.address);
    for line in [first, last] {
        let why = complaint(&zkbench(&format!("{line} {named}")));
        assert!(why.contains("speak TLS"), "{line}: {why}");
    }
}

#[test]
fn a_user_who_is_not_taken_is_named_as_the_cause() {
    let folder = Folder::new();
    let (lines, _) = login(&folder);
    let strict = Server::start(&(lines.clone() + REQUIRED));
    let (lax, open) = (Server::start(&lines), Server::start(""));
    let wrong = folder.file("wrong", "no secret\n").display().to_string();
    for command in commands(strict.address).into_iter().chain(commands(lax.address)) {
        for user in ["bob", "eve"] {
            let options = format!("--sasl {user} --sasl-password-file {wrong}");
            let why = complaint(&zkbench(&format!("{command} {options}")));
            assert!(why.contains("no such user as --sasl USER"), "{command}: {why}");
            assert!(!why.contains("no secret"), "no password is told: {why}");
        }
    }
    let line = format!("load --server {} --warmup 0", strict.address);
    assert!(complaint(&zkbench(&line)).contains("--sasl USER"));
    for command in commands(open.address) {
        let options = format!("--sasl bob --sasl-password-file {wrong}");
        let why = complaint(&zkbench(&format!("{command} {options}")));
        assert!(why.contains("does not prove itself by SASL"), "{command}: {why}");
    }
}

#[test]
fn a_client_of_the_library_comes_back_over_tls_with_its_user_proved() {
    let folder = Folder::new();
    let (lines, _) = login(&folder);
    let lines = lines + REQUIRED;
    let secured = Secured::start("server", "need", &lines);
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let files = TlsFiles {
            authorities: Some(secured.certificates.path("trust.pem")),
            certificate: Some(secured.certificates.path("client.pem")),
            version: Some(version),
            ..TlsFiles::default()
        };
        let mut settings = Settings::new(vec![secured.address()]);
        settings.answer_patience = PATIENCE;
        settings.tls = Some(Tls::load(&files).expect("sound files"));
        settings.sasl = Some(Sasl::new("bob", "bob's secret"));
        let mut client = Client::open(settings).expect("a session");
        let session = client.session();
        assert!(client.exists("/", true).expect("answered").is_some());
        client.disconnect();
        assert!(client.exists("/zookeeper", false).expect("answered again").is_some());
        assert_eq!(client.session(), session);
        let notices = [client.next_notice(PATIENCE), client.next_notice(PATIENCE)];
        let notices = notices.map(|notice| notice.expect("no failure"));
        assert_eq!(notices, [Some(Notice::Disconnected), Some(Notice::Reconnected)]);
        client.close().expect("in order");
    }
}
