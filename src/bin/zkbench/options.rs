//! Reading numbers, addresses and processors off the command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use getopts::{Matches, Options};
use rustix::thread::{CpuSet, sched_setaffinity};

/// What all commands that talk to a server know.
pub fn common() -> Options {
    let mut o = Options::new();
    o.optflag("h", "help", "print this");
    o.optflag("", "json", "one JSON object instead of text");
    o.optopt("", "pin", "run on this processor only", "CPU");
    o
}

/// The words of a command; a request for help is given as the text to print.
pub fn parse(o: &Options, usage: &str, words: &[String]) -> Result<Matches, Stop> {
    let m = o.parse(words).map_err(|e| Stop::Wrong(e.to_string()))?;
    if m.opt_present("help") {
        return Err(Stop::Help(o.usage(usage)));
    }
    if let Some(word) = m.free.first() {
        return Err(Stop::Wrong(format!("{word} is no option; see --help")));
    }
    if m.opt_defined("pin") {
        if let Some(cpu) = m.opt_str("pin") {
            pin(&cpu)?;
        }
    }
    Ok(m)
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    Help(String),
    Wrong(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Wrong(why)
    }
}

pub fn number<T: FromStr + PartialOrd>(
    m: &Matches,
    name: &str,
    otherwise: T,
    least: T,
    most: T,
) -> Result<T, String> {
    let Some(text) = m.opt_str(name) else { return Ok(otherwise) };
    let n: T = text.parse().map_err(|_| format!("--{name}: {text} is no number"))?;
    if n < least || n > most {
        return Err(format!("--{name}: {text} is out of range"));
    }
    Ok(n)
}

pub fn seconds(m: &Matches, name: &str, otherwise: f64) -> Result<Duration, String> {
    number(m, name, otherwise, 0.0, 1e6).map(Duration::from_secs_f64)
}

pub fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|e| format!("{text}: {e}"))?;
    found.next().ok_or_else(|| format!("{text} has no address"))
}

/// Process ids, with commas between them.
pub fn pids(m: &Matches, name: &str) -> Result<Vec<u32>, String> {
    let Some(text) = m.opt_str(name) else { return Ok(Vec::new()) };
    let id = |word: &str| word.parse().map_err(|_| format!("--{name}: {word} is no process id"));
    text.split(',').map(id).collect()
}

/// A path below which this program may create and delete.
pub fn root(m: &Matches, otherwise: &str) -> Result<String, String> {
    let root = m.opt_str("root").unwrap_or_else(|| otherwise.to_owned());
    let sound = root.len() > 1 && zkd::proto::validate_path(&root).is_ok();
    // Runs of nines mark the gaps of the prepared requests.
    if !sound || root.contains("999") {
        return Err(format!("--root: {root} is no path for this (nor may 999 be in it)"));
    }
    Ok(root)
}

pub fn directory(m: &Matches, name: &str) -> PathBuf {
    m.opt_str(name).map_or_else(std::env::temp_dir, PathBuf::from)
}

fn pin(cpu: &str) -> Result<(), String> {
    let known = cpu.parse().ok().filter(|cpu| *cpu < CpuSet::MAX_CPU);
    let cpu: usize = known.ok_or_else(|| format!("--pin: {cpu} is no processor"))?;
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|e| format!("--pin: processor {cpu}: {e}"))
}
