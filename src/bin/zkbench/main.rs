//! `zkbench`: measures a ZooKeeper server, this one or any other, and what the machine below it
//! could do at best.

mod accounting;
mod compare;
mod connects;
mod crowd;
mod echo;
mod engine;
mod failover;
mod figures;
mod floor;
mod hold;
mod json;
mod judge;
mod latencies;
mod link;
mod load;
mod notify;
mod options;
mod phases;
mod place;
mod server;
mod ticker;
mod traffic;
mod visit;
mod wanderer;

use std::io::Write;
use std::process::ExitCode;

use options::Stop;
use rustix::process::{Resource, getrlimit, setrlimit};

const USAGE: &str = "Usage: zkbench COMMAND [options]; zkbench COMMAND --help tells them

  latencies   create, set, get, delete, watch and notify, as the public zk-latencies tool does
  load        a closed loop or a fixed rate, every reply checked; one server, or two in turn
  notify      how fast one-shot watches fire
  hold        idle sessions, or watches, held for a while
  failover    writes by sessions that move on when they lose their server
  connects    new connections at a fixed rate, each with a session that is opened and closed
  floor       the same client loop against a bare echo server; a bare append and fdatasync
  echo        that echo server

Everything is one thread. Connections are bare TCP; TLS with --tls-ca FILE, proved by SASL with
--sasl USER; one command can do both. Status 1: something failed or a reply was wrong.
";

type Command = fn(&[String]) -> Result<String, Stop>;

const COMMANDS: [(&str, Command); 8] = [
    ("latencies", latencies::run),
    ("load", load::run),
    ("notify", notify::run),
    ("hold", hold::run),
    ("failover", failover::run),
    ("connects", connects::run),
    ("floor", floor::run),
    ("echo", echo::run),
];

/// Sessions are descriptors: as many as the hard limit allows.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised, the session that finds no descriptor says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn main() -> ExitCode {
    raise_open_files();
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let (text, ok) = match act(&words) {
        Ok(text) | Err(Stop::Help(text)) => (text, true),
        Err(Stop::Wrong(why)) => {
            eprintln!("zkbench: {why}");
            (String::new(), false)
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) if ok => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn act(words: &[String]) -> Result<String, Stop> {
    let Some((name, rest)) = words.split_first() else {
        return Err(Stop::Wrong(format!("a command is missing\n{USAGE}")));
    };
    if matches!(name.as_str(), "-h" | "--help" | "help") {
        return Err(Stop::Help(USAGE.to_owned()));
    }
    match COMMANDS.iter().find(|(known, _)| known == name) {
        Some((_, command)) => command(rest),
        None => Err(Stop::Wrong(format!("{name} is no command\n{USAGE}"))),
    }
}
