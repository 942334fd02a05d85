//! A zkd process of the test's own: started, awaited, killed by its pid.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zkd::client::{Client, Settings};

use crate::ports::Port;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let base = std::env::var_os("ZKD_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = base.join(format!("zkd-crash-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a system tool that the test cannot do without.
pub fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is needed here: {e}"));
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {says}");
}

pub fn binary() -> PathBuf {
    std::env::var_os("ZKD_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_zkd")), PathBuf::from)
}

/// What the server's `zoo.cfg` says beyond port and directory.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub tick_ms: u32,
    pub snap_count: u32,
    pub pre_alloc_kib: u32,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { tick_ms: 2000, snap_count: 150, pre_alloc_kib: 64 }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub log: PathBuf,
    child: Child,
    _port: Port,
}

impl Server {
    /// Starts on `data`, with `wrapper` in front of it; does not wait for it.
    pub fn start(folder: &Path, data: &Path, shape: Shape, wrapper: &[&str]) -> Server {
        let port = Port::free();
        let config = folder.join("zoo.cfg");
        let text = format!(
            "tickTime={}\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
             snapCount={}\npreAllocSize={}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\nautopurge.purgeInterval=1\n",
            shape.tick_ms,
            data.display(),
            port.number,
            shape.snap_count,
            shape.pre_alloc_kib
        );
        fs::write(&config, text).expect("the test's folder takes a file");
        let log = folder.join("server.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.expect("the test's folder takes a log");
        let mut line: Vec<std::ffi::OsString> = wrapper.iter().map(Into::into).collect();
        line.push(binary().into());
        line.push(config.into());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        // A group of its own: a wrapper and what it wraps are ended together.
        let child = command.process_group(0).spawn().expect("zkd starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        Server { address, log, child, _port: port }
    }

    pub fn settings(&self, timeout: Duration) -> Settings {
        let mut settings = Settings::new(vec![self.address]);
        settings.session_timeout = timeout;
        settings.reopen_patience = Duration::from_secs(10);
        settings
    }

    /// Waits until it serves; tells its log if it does not.
    pub fn await_serving(&mut self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                panic!("zkd ended with {status:?} instead of serving:\n{}", self.log_tail());
            }
            let mut settings = self.settings(Duration::from_secs(5));
            settings.reopen_patience = Duration::from_millis(200);
            if let Ok(client) = Client::open(settings) {
                let _ = client.close();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("zkd does not serve:\n{}", self.log_tail());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let group = format!("-{}", self.pid());
        tool("kill", &["-s", name, "--", &group]);
    }

    /// Stops it, and waits until every thread stands: one inside a call only after that call.
    pub fn stop_all_threads(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        let state = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().unwrap_or_default().to_owned()
        };
        let began = Instant::now();
        loop {
            let tasks = fs::read_dir(&tasks).expect("a child of ours");
            let states: Vec<String> = tasks.flatten().map(state).collect();
            if states.iter().all(|state| state.starts_with('T')) {
                return;
            }
            let is_late = began.elapsed() > PATIENCE;
            assert!(!is_late, "every thread stops: {states:?}\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal("KILL");
        }
        let _ = self.child.wait();
    }

    /// Waits for it to end by itself: its exit status.
    pub fn await_end(&mut self) -> i32 {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("zkd goes on where it must stop:\n{}", self.log_tail());
    }

    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// What the last start was doing when it ended, by its own words.
    pub fn phase(&self) -> &'static str {
        let text = self.log_text();
        let since = text.rfind("Serving from zxid").map(|at| &text[at..]);
        match since {
            None => "recovery",
            Some(text) => {
                let begun = text.matches("Snapshotting: 0x").count();
                let taken = text.matches("Snapshot taken").count();
                if begun > taken { "snapshot under way" } else { "serving" }
            }
        }
    }

    /// Forgets what was logged, before the next start.
    pub fn clear_log(&self) {
        let _ = fs::write(&self.log, "");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
