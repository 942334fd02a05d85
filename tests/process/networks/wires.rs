//! Namespaces, the wires between them, and what happens to the wires.
//!
//! One namespace is the hub: in it are the bridge and the test with its clients and relays. Each
//! member has one more, with an `eth0` whose other end is a port of the bridge. Nobody asks who
//! has which address: every namespace is told the hardware address of every other. A way is cut by
//! telling it a wrong one, so that what is sent is lost on the wire and nobody hears of it.
//!
//! All of it lies in namespaces that carry the test's process id in their names; a test that was
//! killed leaves those behind, and the next one removes them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio, id};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the test itself is, beside members 1, 2, …
pub const HUB: u8 = 254;

/// Relays stand at addresses of the hub: that for member N is N further.
pub const RELAYS: u8 = 100;

const FOLDER: &str = "/run/netns";

/// What the names of namespaces begin with, before the process id.
const PREFIX: &str = "zkd-";

/// Nobody has this hardware address.
const NOWHERE: &str = "02:00:00:00:de:ad";

pub struct Network {
    /// Of the hub's namespace.
    name: String,
    members: u8,
    /// Where this thread was before.
    home: File,
}

impl Network {
    /// Makes the wires and moves this thread to the hub: its clients, and the threads it begins,
    /// are there.
    pub fn new(members: u8) -> Network {
        remove_leftovers();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let home = File::open("/proc/thread-self/ns/net").expect("a thread has a namespace");
        let network = Network { name: format!("{PREFIX}{}-{number}", id()), members, home };
        network.build();
        enter(&File::open(format!("{FOLDER}/{}", network.name)).expect("it was made"));
        network
    }

    fn build(&self) {
        ip(&["netns", "add", &self.name]);
        let mut hub = format!(
            "link set lo up\nlink add br0 address {} type bridge\naddr add {}/24 dev br0\n",
            hardware(HUB),
            address(HUB)
        );
        for member in self.ids() {
            let (of, hardware) = (self.name_of(member), hardware(member));
            ip(&["netns", "add", &of]);
            let _ = write!(
                hub,
                "addr add {}/24 dev br0\n\
                 link add m{member} type veth peer name eth0 address {hardware} netns {of}\n\
                 link set m{member} master br0 up\n",
                address(RELAYS + member)
            );
        }
        batch(&self.name, &format!("{hub}link set br0 up\n"));
        for member in self.ids() {
            let address = address(member);
            let lines =
                format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\n");
            batch(&self.name_of(member), &lines);
        }
        self.heal();
    }

    pub fn ids(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.members
    }

    /// The namespace of a member.
    pub fn name_of(&self, place: u8) -> String {
        if place == HUB { self.name.clone() } else { format!("{}-{place}", self.name) }
    }

    /// What `from` sends to `to` is lost. The other direction is as it was.
    pub fn cut_way(&self, from: u8, to: u8) {
        self.cut_from(from, &[to]);
    }

    fn cut_from(&self, from: u8, to: &[u8]) {
        let others = to.iter().filter(|to| **to != from);
        let lines: String = others.map(|to| neighbour(from, *to, NOWHERE)).collect();
        batch(&self.name_of(from), &lines);
    }

    /// Cuts each of these from each of those, both ways.
    pub fn part(&self, these: &[u8], those: &[u8]) {
        these.iter().for_each(|one| self.cut_from(*one, those));
        those.iter().for_each(|one| self.cut_from(*one, these));
    }

    /// Every way that was cut is open again.
    pub fn heal(&self) {
        for from in self.ids().chain([HUB]) {
            let mut lines = String::new();
            for to in self.ids().chain([HUB]).filter(|to| *to != from) {
                lines += &neighbour(from, to, &hardware(to));
            }
            for relay in self.ids().filter(|_| from != HUB) {
                lines += &neighbour(from, RELAYS + relay, &hardware(HUB));
            }
            batch(&self.name_of(from), &lines);
        }
    }

    /// Pulls a member's cable out, or puts it back.
    pub fn plug(&self, member: u8, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        batch(&self.name, &format!("link set m{member} {state}\n"));
    }

    /// A member's own routing table has no way to another any more: its kernel refuses to send.
    pub fn forbid_way(&self, from: u8, to: u8) {
        batch(&self.name_of(from), &format!("route add blackhole {}/32\n", address(to)));
    }

    pub fn allow_way(&self, from: u8, to: u8) {
        batch(&self.name_of(from), &format!("route del blackhole {}/32\n", address(to)));
    }

    /// What is sent to a member comes at no more than so many kbit/s. What waits is half a second's
    /// worth; the rest is dropped, as a narrow line does.
    pub fn narrow(&self, member: u8, kbits: u32) {
        let (device, rate) = (format!("m{member}"), format!("{kbits}kbit"));
        let limit = (kbits * 1000 / 8 / 2).to_string();
        let words = ["-n", &self.name, "qdisc", "replace", "dev", &device, "root", "tbf"];
        run(Command::new("tc")
            .args(words)
            .args(["rate", &rate, "burst", "32kb"])
            .args(["limit", limit.as_str()]));
    }

    pub fn widen(&self, member: u8) {
        let device = format!("m{member}");
        run(Command::new("tc").args(["-n", &self.name, "qdisc", "del", "dev", &device, "root"]));
    }

    /// A member has another address from now on, under which the others will reach it.
    pub fn move_to(&self, member: u8, place: u8) {
        let (old, new) = (address(member), address(place));
        let lines = format!("addr del {old}/24 dev eth0\naddr add {new}/24 dev eth0\n");
        batch(&self.name_of(member), &lines);
        for from in self.ids().chain([HUB]).filter(|from| *from != member) {
            batch(&self.name_of(from), &neighbour(from, place, &hardware(member)));
        }
    }

    /// A command that runs where the member is, and ends with the thread that starts it.
    pub fn command(&self, member: u8) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={FOLDER}/{}", self.name_of(member)));
        command.args(["setpriv", "--pdeathsig", "KILL"]);
        command
    }

    /// Sets a variable of `net.ipv4` for the member's namespace alone.
    pub fn set_kernel(&self, member: u8, name: &str, value: u32) {
        let line = format!("echo {value} > /proc/sys/net/ipv4/{name}");
        run(self.command(member).args(["sh", "-c", &line]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        enter(&self.home);
        for member in self.ids() {
            remove(&self.name_of(member));
        }
        remove(&self.name);
    }
}

pub fn address(place: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, place))
}

fn hardware(place: u8) -> String {
    format!("02:00:00:00:00:{place:02x}")
}

/// The line that tells `from` at which hardware address `to` is.
fn neighbour(from: u8, to: u8, hardware: &str) -> String {
    let device = if from == HUB { "br0" } else { "eth0" };
    format!("neigh replace {} lladdr {hardware} dev {device} nud permanent\n", address(to))
}

fn enter(namespace: &File) {
    let moved = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
    moved.unwrap_or_else(|e| panic!("this thread cannot go to a network namespace: {e}"));
}

fn ip(words: &[&str]) {
    run(Command::new("ip").args(words));
}

/// Lines for `ip` in one namespace.
fn batch(namespace: &str, lines: &str) {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{NEEDS}; {command:?}: {e}"));
    let mut input = child.stdin.take().expect("piped");
    // One that has ended already says why on its own.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    let answer = child.wait_with_output().expect("a child of ours");
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{NEEDS}; ip -n {namespace}:\n{lines}{said}");
}

fn run(command: &mut Command) {
    let answer = command.stdin(Stdio::null()).output();
    let answer = answer.unwrap_or_else(|e| panic!("{NEEDS}; {command:?}: {e}"));
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{NEEDS}; {command:?}: {said}");
}

const NEEDS: &str = "networks of a test's own need root and the tools of iproute2 and util-linux";

/// What a test that was killed has left behind.
fn remove_leftovers() {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    // There is no folder where there never was a namespace.
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(has_ended) {
            remove(&name);
        }
    }
}

/// Whether this is the number of a process that is gone, waited for or not.
pub fn has_ended(pid: &str) -> bool {
    if pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Ends what runs in a namespace and removes it. It may be gone already.
fn remove(name: &str) {
    let answer = Command::new("ip").args(["netns", "pids", name]).output();
    let pids = answer.map(|answer| answer.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&pids).split_whitespace() {
        let pid = pid.parse::<u32>().ok().filter(|pid| *pid != id());
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid as i32)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}
