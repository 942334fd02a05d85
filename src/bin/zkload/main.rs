//! `zkload`: writes what can be checked, and checks it.
//!
//! `run` drives sessions, each with calls under way, and notes every acknowledged write in an
//! oracle file. `verify` reads such files and asks a server, later and perhaps after a crash,
//! whether every acknowledged write is there, and whether what was not acknowledged is there as a
//! prefix of what its session asked for: nothing lost, nothing out of order, nothing twice.

mod oracle;
mod plan;
mod run;
mod verify;

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use getopts::{Matches, Options};

use plan::Plan;
use run::Load;

const USAGE: &str = "zkload run|verify --servers HOST:PORT[,...] --oracle FILE [options]";

/// More would measure this program.
const MAX_SESSIONS: u32 = 1024;
const MAX_DEPTH: usize = 4096;

fn options() -> Options {
    let mut o = Options::new();
    o.optopt("", "servers", "addresses, tried in turn", "LIST");
    o.optmulti("", "oracle", "what was acknowledged; verify takes several", "FILE");
    o.optopt("", "root", "everything goes below it (/load)", "PATH");
    o.optopt("", "sessions", "(8)", "N");
    o.optopt("", "depth", "calls under way in each session (20)", "N");
    o.optopt("", "seconds", "the longest a run takes (10)", "N");
    o.optopt("", "count", "writes of each session (1000000)", "N");
    o.optopt("", "bytes", "data of a node (100)", "N");
    o.optopt("", "reads", "reads for each 100 writes (10)", "N");
    o.optopt("", "seed", "the mix depends on it alone (1)", "N");
    o.optopt("", "timeout", "session timeout in ms (30000)", "N");
    o.optflag("", "crash", "run: a lost connection ends a session without being a failure");
    o
}

fn number<T: std::str::FromStr>(m: &Matches, name: &str, otherwise: T) -> Result<T, String> {
    match m.opt_str(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| format!("--{name}: {text} is no number")),
    }
}

fn servers(m: &Matches) -> Result<Vec<SocketAddr>, String> {
    let list = m.opt_str("servers").ok_or("--servers is missing")?;
    let mut found = Vec::new();
    for name in list.split(',') {
        let addresses = name.to_socket_addrs().map_err(|e| format!("{name}: {e}"))?;
        found.extend(addresses);
    }
    Ok(found)
}

fn load(m: &Matches) -> Result<Load, String> {
    let plan = Plan {
        root: m.opt_str("root").unwrap_or_else(|| "/load".to_owned()),
        sessions: number(m, "sessions", 8)?,
        seed: number(m, "seed", 1)?,
        bytes: number(m, "bytes", 100)?,
    };
    if plan.sessions == 0 || plan.sessions > MAX_SESSIONS {
        return Err(format!("--sessions: 1 to {MAX_SESSIONS}"));
    }
    let depth = number(m, "depth", 20)?;
    if depth == 0 || depth > MAX_DEPTH {
        return Err(format!("--depth: 1 to {MAX_DEPTH}"));
    }
    Ok(Load {
        plan,
        servers: servers(m)?,
        depth,
        seconds: Duration::from_secs(number(m, "seconds", 10)?),
        count: number(m, "count", 1_000_000)?,
        reads: number(m, "reads", 10)?,
        timeout: Duration::from_millis(number(m, "timeout", 30_000)?),
        crash: m.opt_present("crash"),
    })
}

fn act() -> Result<String, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let m = options().parse(&words).map_err(|e| e.to_string())?;
    let files = m.opt_strs("oracle");
    match m.free.first().map(String::as_str) {
        Some("run") => {
            let [file] = files.as_slice() else { return Err("run takes one --oracle".to_owned()) };
            run::run(&load(&m)?, file)
        }
        Some("verify") if !files.is_empty() => verify::verify(&servers(&m)?, &files),
        _ => Err(options().usage(USAGE)),
    }
}

fn main() -> ExitCode {
    match act() {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("zkload: {why}");
            ExitCode::FAILURE
        }
    }
}
