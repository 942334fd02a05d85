//! The servers under test, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::model::{SUPER, digest_id};
use crate::ports::Port;
use crate::wire::Link;

const START_PATIENCE: Duration = Duration::from_secs(60);
/// An Apache that is asked at the wrong moment of its start leaves the question open.
const ASK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Apache,
    Zkd,
    /// Somebody else's server, fresh and without sessions.
    At(u16),
}

pub struct Server {
    child: Option<Child>,
    folder: PathBuf,
    pub port: u16,
    _held: Port,
}

/// What both are told. The reaper rests: what it removes when is for other tests.
fn settings() -> Vec<(&'static str, String)> {
    let credential = digest_id(SUPER);
    vec![
        ("zookeeper.DigestAuthenticationProvider.superDigest", credential),
        ("zookeeper.extendedTypesEnabled", "true".to_owned()),
        ("zookeeper.enforceQuota", "true".to_owned()),
        ("znode.container.checkIntervalMs", "100000000".to_owned()),
    ]
}

impl Server {
    pub fn start(target: Target) -> Server {
        // A name that no other run uses at the same time.
        let held = Port::free();
        let port = held.number;
        let name = format!("zkd-model-{}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let child = match target {
            Target::At(port) => return Server { child: None, folder, port, _held: held },
            Target::Apache => apache(&folder, port),
            Target::Zkd => zkd(&folder, port),
        };
        let mut server = Server { child: Some(child), folder, port, _held: held };
        server.await_serving(target);
        server
    }

    fn await_serving(&mut self, target: Target) {
        let start = Instant::now();
        while !is_serving(target, self.port) {
            let child = self.child.as_mut().expect("started here");
            let ended = child.try_wait().expect("our own child");
            assert!(ended.is_none(), "the server ended: {ended:?}\n{}", self.log());
            assert!(start.elapsed() < START_PATIENCE, "no server in time\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what the server said.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join("server.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is nothing to kill.
            let killed = child.kill();
            let ended = child.wait();
            assert!(killed.is_ok() || ended.is_ok(), "our own child");
        }
        if std::fs::remove_dir_all(&self.folder).is_err() {
            eprintln!("{} stays behind", self.folder.display());
        }
    }
}

/// Apache listens before it serves, zkd serves when it listens.
fn is_serving(target: Target, port: u16) -> bool {
    let Ok(mut link) = Link::dial(port) else { return false };
    target == Target::Zkd
        || link.wait_at_most(ASK_AGAIN).is_ok()
            && link.words("srvr").is_ok_and(|answer| answer.contains("Mode: "))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn log_file(folder: &Path) -> Stdio {
    let log = std::fs::File::create(folder.join("server.log")).expect("a log file");
    Stdio::from(log)
}

fn apache(folder: &Path, port: u16) -> Child {
    let mut command = Command::new(root().join("scripts/apache"));
    command.args(["run", "3.9.5", "--die-with-parent", "--log", "-", "--dir"]).arg(folder);
    command.args(["--port", &port.to_string(), "forceSync=no"]);
    command.arg("-Dzookeeper.forceSync=no");
    for (key, value) in settings() {
        command.arg(format!("-D{key}={value}"));
    }
    command.stdin(Stdio::null()).stdout(log_file(folder)).stderr(Stdio::null());
    command.spawn().expect("scripts/apache runs")
}

fn zkd(folder: &Path, port: u16) -> Child {
    let data = folder.display();
    let mut cfg = format!("dataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\n");
    cfg.push_str("tickTime=2000\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n");
    cfg.push_str("admin.enableServer=false\n");
    for (key, value) in settings() {
        cfg.push_str(&format!("{}={value}\n", key.strip_prefix("zookeeper.").unwrap_or(key)));
    }
    let path = folder.join("zoo.cfg");
    std::fs::write(&path, cfg).expect("zoo.cfg");
    let built = std::env::var("ZKD_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_zkd").to_owned());
    let mut command = Command::new(built);
    command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(folder));
    command.spawn().expect("zkd runs")
}
