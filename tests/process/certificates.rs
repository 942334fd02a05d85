//! Keys and certificates of a test's own, made by openssl.

use std::process::{Command, Stdio};
use std::{fs, path::PathBuf};

use super::server::Folder;

/// An authority and whom it vouches for; everything is PEM, NAME.pem with NAME's key.
pub struct Certificates(pub Folder);

impl Certificates {
    /// `server` for 127.0.0.1 and localhost, `elsewhere` for another host, `client`; and
    /// `stranger`, whom only itself vouches for.
    pub fn new() -> Certificates {
        let made = Certificates(Folder::new());
        made.authority("authority");
        made.authority("stranger");
        made.signed("server", "subjectAltName=IP:127.0.0.1,DNS:localhost");
        made.signed("elsewhere", "subjectAltName=DNS:elsewhere.example");
        made.signed("client", "keyUsage=digitalSignature");
        made.join("stranger");
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// The lines of `zoo.cfg` by which a port speaks TLS.
    pub fn lines(&self, port: u16, name: &str, client_auth: &str) -> String {
        format!(
            "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
             ssl.keyStore.location={}\nssl.trustStore.location={}\nssl.clientAuth={client_auth}\n\
             ssl.enabledProtocols=TLSv1.2,TLSv1.3\n",
            self.path(&format!("{name}.pem")).display(),
            self.path("trust.pem").display()
        )
    }

    fn authority(&self, name: &str) {
        self.key(name);
        self.openssl(&format!(
            "req -x509 -new -key {name}.key -days 3 -subj /CN={name} -out {name}.crt"
        ));
        if name == "authority" {
            fs::copy(self.path("authority.crt"), self.path("trust.pem"))
                .expect("the folder takes it");
        }
    }

    fn signed(&self, name: &str, extension: &str) {
        self.key(name);
        self.0.file(&format!("{name}.ext"), extension);
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA authority.crt -CAkey authority.key -CAcreateserial \
             -days 3 -extfile {name}.ext -out {name}.crt"
        ));
        self.join(name);
    }

    fn join(&self, name: &str) {
        let read =
            |end: &str| fs::read_to_string(self.path(&format!("{name}.{end}"))).expect("made");
        self.0.file(&format!("{name}.pem"), &(read("key") + &read("crt")));
    }

    fn key(&self, name: &str) {
        let line = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out";
        self.openssl(&format!("{line} {name}.key"));
    }

    fn openssl(&self, line: &str) {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace()).current_dir(&self.0.0).stdin(Stdio::null());
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
