//! A real Apache ZooKeeper as a member: prepared, started, read in its log, ended by its id.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;
use crate::ensemble::Ensemble;

/// As `scripts/apache` calls them.
pub const V3_9: &str = "3.9.5";
pub const V3_9_4: &str = "3.9.4";
pub const V3_8: &str = "3.8.0";

/// The last zxid of a server with a past.
pub const PAST_ZXID: i64 = 0xe;

/// What one of them is before it is started for the first time.
#[derive(Clone, Debug)]
pub struct Member {
    pub version: &'static str,
    /// The epoch that it has come to, with `PAST_ZXID` in a snapshot; otherwise it holds nothing.
    pub past: Option<i64>,
    /// More properties, as `-Dname=value`.
    pub properties: Vec<String>,
}

impl Member {
    pub fn new() -> Member {
        Member::of(V3_9)
    }

    pub fn of(version: &'static str) -> Member {
        Member { version, past: None, properties: Vec::new() }
    }

    pub fn with_past(epoch: i64) -> Member {
        Member { past: Some(epoch), ..Member::new() }
    }

    fn snapshot(&self) -> &'static [u8] {
        match self.version {
            V3_8 => include_bytes!("../../src/history/golden/3.8.0-snapshot.e"),
            _ => include_bytes!("../../src/history/golden/3.9.5-snapshot.e"),
        }
    }
}

/// A notification as a server has noted that it came; its own come too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub from: i64,
    pub state: String,
    pub leader: i64,
    pub zxid: i64,
    pub round: i64,
    pub peer_epoch: i64,
    /// Of the message's form.
    pub version: i64,
}

impl Note {
    fn of(line: &str) -> Option<Note> {
        let (_, said) = line.split_once("Notification: my state:")?;
        let value = |name: &str| {
            let mut fields = said.split([';', ',']).map(str::trim);
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(':'))
        };
        let hex = |name: &str| {
            let digits = value(name)?.strip_prefix("0x")?;
            Some(u64::from_str_radix(digits, 16).ok()? as i64)
        };
        Some(Note {
            from: value("n.sid")?.parse().ok()?,
            state: value("n.state")?.to_owned(),
            leader: value("n.leader")?.parse().ok()?,
            zxid: hex("n.zxid")?,
            round: hex("n.round")?,
            peer_epoch: hex("n.peerEpoch")?,
            version: hex("message format version")?,
        })
    }
}

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::var_os("ZKD_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("zkd-peers-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for a file");
        fs::write(&path, bytes).expect("the test's folder takes a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One of them, running or not. Whichever thread has started it must outlive it.
pub struct Java {
    pub id: i64,
    member: Member,
    folder: Folder,
    child: Option<Child>,
    runs: u32,
}

impl Java {
    pub fn start(ensemble: &Ensemble, id: i64, mut member: Member) -> Java {
        let folder = Folder::new();
        let data = folder.0.join("data");
        let keys = format!(
            "tickTime=2000\ninitLimit=30\nsyncLimit=15\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nmaxClientCnxns=0\n",
            data.display(),
            ensemble.client_port(id)
        );
        folder.file("zoo.cfg", keys + &ensemble.server_lines());
        folder.file("data/myid", format!("{id}\n"));
        if ensemble.multi_address {
            // The key in zoo.cfg decides the form of first messages only.
            member.properties.push("-Dzookeeper.multiAddress.enabled=true".to_owned());
        }
        if let Some(epoch) = member.past {
            folder.file(&format!("data/version-2/snapshot.{PAST_ZXID:x}"), member.snapshot());
            folder.file("data/version-2/currentEpoch", epoch.to_string());
            folder.file("data/version-2/acceptedEpoch", epoch.to_string());
        }
        let mut java = Java { id, member, folder, child: None, runs: 0 };
        java.start_again();
        java
    }

    /// On what it has left. Its log begins anew.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it was ended before");
        self.runs += 1;
        let mut command = Command::new(root().join("scripts/apache"));
        command.args(["run", self.member.version, "--die-with-parent", "--dir"]);
        command.arg(&self.folder.0).arg("--cfg").arg(self.folder.0.join("zoo.cfg"));
        command.arg("--log").arg(self.log_path());
        command.arg("-Dzookeeper.preAllocSize=64").args(&self.member.properties);
        command.env("JAVA_FLAGS", "-Xmx64m -Xss512k").stdin(Stdio::null());
        self.child = Some(command.spawn().expect("scripts/apache runs"));
    }

    /// It stands still, for good.
    pub fn pause(&self) {
        let child = self.child.as_ref().expect("it was started");
        kill_process(Pid::from_child(child), Signal::STOP).expect("a child of ours");
    }

    /// Like a crash.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child of ours");
            child.wait().expect("a child of ours");
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.0.join(format!("server-{}.log", self.runs))
    }

    /// What it has said since it was started last.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// How many lines end so.
    pub fn count(&self, ending: &str) -> usize {
        self.log().lines().filter(|line| line.trim_end().ends_with(ending)).count()
    }

    /// Waits for a line with this in it.
    pub fn await_line(&mut self, text: &str) -> String {
        self.await_log(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until it has taken up this role: FOLLOWING or LEADING, after an election.
    pub fn await_role(&mut self, role: &str) {
        let ending = format!(" {role}");
        self.await_log(role, |line| line.trim_end().ends_with(&ending).then_some(()));
    }

    /// Waits until it has noted such a notification.
    pub fn await_note(&mut self, what: &str, is_it: impl Fn(&Note) -> bool) -> Note {
        self.await_log(what, |line| Note::of(line).filter(|note| is_it(note)))
    }

    pub fn notes(&self) -> Vec<Note> {
        self.log().lines().filter_map(Note::of).collect()
    }

    /// Waits until its log files have these bytes.
    pub fn await_logged(&self, bytes: &[u8]) {
        let began = Instant::now();
        let holds = |path: PathBuf| {
            let log = fs::read(path).unwrap_or_default();
            log.windows(bytes.len()).any(|window| window == bytes)
        };
        while !self.txn_logs().any(holds) {
            assert!(began.elapsed() < PATIENCE, "Java {} never logs {bytes:x?}", self.id);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn txn_logs(&self) -> impl Iterator<Item = PathBuf> {
        let files = fs::read_dir(self.folder.0.join("data/version-2")).into_iter().flatten();
        let paths = files.flatten().map(|file| file.path());
        paths
            .filter(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"log")))
    }

    fn await_log<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let log = self.log();
            // A line that is being written is looked at when it is whole.
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            if let Some(found) = whole.lines().find_map(&find) {
                return found;
            }
            let child = self.child.as_mut().expect("it was started");
            let status = child.try_wait().expect("a child of ours");
            let is_late = began.elapsed() > PATIENCE;
            if status.is_some() || is_late {
                panic!("Java {}, {status:?}, never says {what:?}:\n{log}", self.id);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
