//! A zkd process of the test's own: started, awaited, signalled and ended by its pid.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use zkd::client::{Client, Settings};

use crate::ports::Port;

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let base = std::env::var_os("ZKD_TMP").map_or_else(std::env::temp_dir, PathBuf::from);
        Folder::under(&base)
    }

    pub fn under(base: &Path) -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("zkd-process-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the test's folder takes a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn binary() -> PathBuf {
    std::env::var_os("ZKD_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_zkd")), PathBuf::from)
}

/// A child that does not outlive its owner.
pub struct Process(pub Child);

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).spawn().expect("zkd starts"))
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child of ours").is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id() as i32).expect("a pid");
        kill_process(pid, signal).expect("a process of ours");
    }

    /// Waits for it to end by itself: its status, or the signal that ended it, negative.
    pub fn await_end(&mut self) -> i32 {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().expect("a child of ours") {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the process goes on where it must end");
    }

    /// A figure of `/proc/<pid>/status`, in KiB.
    pub fn memory_kib(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a known key");
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with its folder, configuration and log.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
    pub folder: Folder,
    _port: Port,
}

impl Server {
    /// Starts with more lines of `zoo.cfg` and waits until it serves.
    pub fn start(lines: &str) -> Server {
        Server::start_by(Folder::new(), lines, |_| {})
    }

    /// Starts on a folder that may have been served before.
    pub fn start_by(folder: Folder, lines: &str, change: impl FnOnce(&mut Command)) -> Server {
        let port = Port::free();
        let config = config(&folder, port.number, lines);
        let mut command = Command::new(binary());
        command.arg(config).stdout(log_file(&folder)).stderr(log_file(&folder));
        change(&mut command);
        Server::of(folder, port, &mut command)
    }

    /// Starts a command line that serves `port`.
    pub fn of(folder: Folder, port: Port, command: &mut Command) -> Server {
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let mut server = Server { process: Process::start(command), address, folder, _port: port };
        server.await_serving();
        server
    }

    fn await_serving(&mut self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let is_serving = TcpStream::connect(self.address).is_ok()
                && self.word("srvr").contains("Mode: standalone");
            if is_serving {
                return;
            }
            assert!(self.process.is_running(), "zkd ended:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        panic!("zkd does not serve:\n{}", self.log());
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(vec![self.address]);
        settings.answer_patience = PATIENCE;
        settings
    }

    pub fn client(&self) -> Client {
        Client::open(self.settings()).expect("a session")
    }

    /// A bare connection.
    pub fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    pub fn word(&self, word: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return String::new() };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.write_all(word.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        String::from_utf8_lossy(&read_all(&mut stream)).into_owned()
    }

    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.0.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log says so.
    pub fn await_log(&self, text: &str) -> String {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the log never says {text:?}:\n{}", self.log());
    }

    /// Ends it in order and gives its folder back.
    pub fn end(mut self) -> Folder {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.await_end(), 0, "{}", self.log());
        std::mem::replace(&mut self.folder, Folder(PathBuf::from("/nonexistent")))
    }
}

pub fn config(folder: &Folder, port: u16, lines: &str) -> PathBuf {
    let data = folder.0.join("data");
    let text = format!(
        "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
         preAllocSize=64\n4lw.commands.whitelist=*\nadmin.enableServer=false\n{lines}",
        data.display()
    );
    let named = if lines.contains("maxClientCnxns") { "" } else { "\nmaxClientCnxns=0\n" };
    folder.file("zoo.cfg", &format!("{text}{named}"))
}

pub fn log_file(folder: &Folder) -> File {
    let path: &Path = &folder.0.join("server.log");
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.expect("the test's folder takes a log")
}

/// Everything until the end; a reset ends it as well.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}
