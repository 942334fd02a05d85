//! The members of one test's ensemble: zkd processes, each in its namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use zkd::client::Settings;

use crate::server::{Folder, PATIENCE, Process, binary};

use super::wires::{Network, address, has_ended};

const CLIENTS: u16 = 2181;
pub const QUORUM: u16 = 2888;
pub const ELECTION: u16 = 3888;

/// Ticks of half a second; who is silent for four seconds is gone. Less than that a busy machine
/// may be late at any time.
const SETTINGS: &str = "tickTime=500\ninitLimit=20\nsyncLimit=8\nmaxSessionTimeout=60000\n\
     maxClientCnxns=0\npreAllocSize=64\nadmin.enableServer=false\n4lw.commands.whitelist=*\n";

/// Where members have their data: the disk is not what is tried here, and one that others keep busy
/// for seconds costs a member its place.
const MEMORY: &str = "/dev/shm";

/// How long a member has to answer four letters, over whatever line.
const WORD_PATIENCE: Duration = Duration::from_secs(4);

pub struct Ensemble {
    members: Vec<Member>,
    folder: Folder,
    pub network: Network,
}

struct Member {
    id: u8,
    /// The last part of its address.
    place: u8,
    /// More lines for its `zoo.cfg`.
    lines: String,
    /// What it finds as `/etc/hosts`.
    hosts: Option<PathBuf>,
    process: Option<Process>,
}

impl Ensemble {
    /// So many members that find each other at their own addresses, all serving.
    pub fn start(members: u8, lines: &str) -> Ensemble {
        let mut ensemble = Ensemble::prepare(members, lines, |id| address(id).to_string());
        ensemble.launch_all();
        ensemble.await_all();
        ensemble
    }

    /// Nothing runs yet. `host` is where a member is found, as everybody's `zoo.cfg` says it.
    pub fn prepare(members: u8, lines: &str, host: impl Fn(u8) -> String) -> Ensemble {
        let network = Network::new(members);
        let servers: String = network
            .ids()
            .map(|id| format!("server.{id}={}:{QUORUM}:{ELECTION}\n", host(id)))
            .collect();
        let lines = format!("{SETTINGS}{servers}{lines}");
        let member =
            |id| Member { id, place: id, lines: lines.clone(), hosts: None, process: None };
        let members = network.ids().map(member).collect();
        Ensemble { members, folder: folder(), network }
    }

    pub fn ids(&self) -> Vec<u8> {
        self.network.ids().collect()
    }

    /// All but these.
    pub fn others(&self, but: &[u8]) -> Vec<u8> {
        self.network.ids().filter(|id| !but.contains(id)).collect()
    }

    fn member(&mut self, id: u8) -> &mut Member {
        self.members.iter_mut().find(|member| member.id == id).expect("a member of ours")
    }

    pub fn launch_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.launch(id));
    }

    /// Starts a member's process, over whatever it has on disk.
    pub fn launch(&mut self, id: u8) {
        let folder = self.folder_of(id);
        let data = folder.join("data");
        fs::create_dir_all(&data).expect("the test's folder takes a folder");
        fs::write(data.join("myid"), format!("{id}\n")).expect("and files");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path(id));
        let log = log.expect("and a log");
        let mut command = self.network.command(id);
        let member = self.member(id);
        assert!(member.process.is_none(), "member {id} runs already");
        let text = format!("dataDir={}\nclientPort={CLIENTS}\n{}", data.display(), member.lines);
        let config = folder.join("zoo.cfg");
        fs::write(&config, text).expect("and a configuration");
        if let Some(hosts) = &member.hosts {
            let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
            command.args(["unshare", "-m", "sh", "-c", script, "sh"]).arg(hosts);
        }
        command.arg(binary()).arg(config).env_remove("ZKD_LOG");
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        member.process = Some(Process::start(&mut command));
    }

    /// `kill -9`.
    pub fn kill(&mut self, id: u8) {
        self.member(id).process.take();
    }

    /// An orderly end.
    pub fn stop(&mut self, id: u8) {
        let mut process = self.member(id).process.take().expect("it runs");
        process.signal(Signal::TERM);
        assert_eq!(process.await_end(), 0, "{}", self.log(id));
    }

    pub fn process(&mut self, id: u8) -> &mut Process {
        self.member(id).process.as_mut().expect("it runs")
    }

    /// The names a member knows, as lines of `/etc/hosts`, from its next start on or, where it had
    /// some before, at once.
    pub fn set_hosts(&mut self, id: u8, lines: &str) {
        let path = self.folder_of(id).join("hosts");
        fs::create_dir_all(self.folder_of(id)).expect("the test's folder takes a folder");
        // In place: the file is mounted.
        fs::write(&path, lines).expect("and files");
        self.member(id).hosts = Some(path);
    }

    /// It has another address from now on.
    pub fn move_to(&mut self, id: u8, place: u8) {
        self.network.move_to(id, place);
        self.member(id).place = place;
    }

    fn folder_of(&self, id: u8) -> PathBuf {
        self.folder.0.join(id.to_string())
    }

    fn log_path(&self, id: u8) -> PathBuf {
        self.folder_of(id).join("server.log")
    }

    /// Everything it has said, over all of its starts.
    pub fn log(&self, id: u8) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path(id)).unwrap_or_default()).into_owned()
    }

    fn logs(&self) -> String {
        let end = |id: u8| {
            let log = self.log(id);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(25)..].join("\n");
            format!("--- member {id}:\n{tail}\n")
        };
        self.ids().into_iter().map(end).collect()
    }

    // --- what they say ---

    pub fn client_address(&self, id: u8) -> SocketAddr {
        let member = self.members.iter().find(|member| member.id == id);
        SocketAddr::from((address(member.expect("a member of ours").place), CLIENTS))
    }

    /// For a session over these members, in this order.
    pub fn settings(&self, ids: &[u8]) -> Settings {
        let mut settings = Settings::new(ids.iter().map(|id| self.client_address(*id)).collect());
        settings.session_timeout = Duration::from_secs(30);
        settings.connect_patience = Duration::from_secs(2);
        settings.reopen_patience = PATIENCE;
        settings.answer_patience = PATIENCE;
        settings
    }

    /// The same for a session that finds out within seconds that its server is silent.
    pub fn brisk_settings(&self, ids: &[u8]) -> Settings {
        let mut settings = self.settings(ids);
        settings.session_timeout = Duration::from_secs(12);
        settings
    }

    /// The answer to four letters; empty where nobody answers.
    pub fn word(&self, id: u8, word: &str) -> String {
        word_at(self.client_address(id), word).unwrap_or_default()
    }

    /// leader or follower; nothing where it does not serve.
    pub fn mode(&self, id: u8) -> Option<String> {
        let said = self.word(id, "srvr");
        said.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// The last zxid that it has applied.
    pub fn zxid(&self, id: u8) -> Option<u64> {
        let said = self.word(id, "srvr");
        let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
        u64::from_str_radix(zxid, 16).ok()
    }

    // --- waiting ---

    pub fn await_that(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "never: {what}\n{}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn await_serving(&self, ids: &[u8]) {
        for id in ids {
            self.await_that(&format!("{id} serves"), || self.mode(*id).is_some());
        }
    }

    pub fn await_all(&self) {
        self.await_serving(&self.ids());
    }

    pub fn await_silent(&self, id: u8) {
        self.await_that(&format!("{id} serves nobody"), || {
            self.word(id, "srvr").contains("not currently serving")
        });
    }

    /// Who of these leads.
    pub fn leader_of(&self, ids: &[u8]) -> u8 {
        let mut leader = None;
        self.await_that(&format!("one of {ids:?} leads"), || {
            leader = ids.iter().copied().find(|id| self.mode(*id).as_deref() == Some("leader"));
            leader.is_some()
        });
        leader.expect("awaited")
    }

    pub fn leader(&self) -> u8 {
        self.leader_of(&self.ids())
    }

    pub fn followers(&self) -> Vec<u8> {
        self.others(&[self.leader()])
    }

    /// Until the log of a member says so, behind the first `since` bytes.
    pub fn await_log(&self, id: u8, since: usize, text: &str) {
        self.await_that(&format!("{id} says {text:?}"), || {
            self.log(id).get(since..).is_some_and(|log| log.contains(text))
        });
    }
}

/// Members end before their namespaces do.
impl Drop for Ensemble {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.members.clear();
    }
}

/// In memory. What a test that was killed has left there goes first.
fn folder() -> Folder {
    for entry in fs::read_dir(MEMORY).expect("a file system in memory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("zkd-process-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(has_ended) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Folder::under(Path::new(MEMORY))
}

fn word_at(at: SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&at, WORD_PATIENCE).ok()?;
    stream.set_read_timeout(Some(WORD_PATIENCE)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// A line of `/etc/hosts`.
pub fn host_line(name: &str, at: IpAddr) -> String {
    format!("{at} {name}\n")
}
