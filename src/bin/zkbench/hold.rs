//! `zkbench hold`: sessions that do nothing, or only watch, for a while; what each costs the
//! server in memory.

use std::io::Write;
use std::time::{Duration, Instant};

use getopts::Options;

use super::accounting::anonymous_bytes;
use super::crowd::Crowd;
use super::json::Json;
use super::options::{self, Stop};
use super::place;
use super::server::{self, Security};
use super::traffic::{Mix, Op, Traffic};

const USAGE: &str = "Usage: zkbench hold [options]

Opens sessions and, where asked, sets one-shot watches, shared out evenly over the sessions, each
session on the same nodes; then keeps them all alive and checks at the end that they are. With
--server-pid it tells what they added to the server's anonymous memory. One thread.
So many descriptors must be allowed, here and there (ulimit -Hn).";

/// Before the second look at the server's memory, for what it does late.
const SETTLE: Duration = Duration::from_secs(1);

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "server", "(127.0.0.1:2181)", "HOST:PORT");
    o.optopt("", "server-pid", "the server's process: its memory is told", "PID");
    o.optopt("", "sessions", "(1000)", "N");
    o.optopt("", "watches", "in all; rounded up to as many on each session (0)", "N");
    o.optopt("", "seconds", "how long (10)", "N");
    o.optopt("", "root", "watched nodes go below this one (/zkbench-hold)", "PATH");
    o.optopt("", "timeout", "session timeout in seconds (30)", "N");
    server::know_security(&mut o);
    o.optflag("", "reuse", "take a root that exists");
    o
}

struct Held {
    sessions: u64,
    watches: u64,
    transport: String,
    open_seconds: f64,
    memory: Option<(u64, u64)>,
}

impl Held {
    /// What each added, in bytes: per watch where there are any.
    fn each(&self) -> Option<f64> {
        let (before, after) = self.memory?;
        let count = if self.watches > 0 { self.watches } else { self.sessions };
        Some((after as f64 - before as f64) / count as f64)
    }

    fn json(&self) -> Json {
        let (before, after) = match self.memory {
            Some((before, after)) => (Json::Whole(before), Json::Whole(after)),
            None => (Json::Null, Json::Null),
        };
        Json::Object(vec![
            ("command", Json::text("hold")),
            ("sessions", Json::Whole(self.sessions)),
            ("watches", Json::Whole(self.watches)),
            ("transport", Json::text(&*self.transport)),
            ("open_seconds", Json::Real(self.open_seconds)),
            ("server_anonymous_before", before),
            ("server_anonymous_after", after),
            ("bytes_each", Json::maybe(self.each())),
        ])
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} sessions and {} watches, {}, held; opened in {:.2} s\n",
            self.sessions, self.watches, self.transport, self.open_seconds
        );
        if let (Some((before, after)), Some(each)) = (self.memory, self.each()) {
            text += &format!(
                "  the server's anonymous memory: {} KiB before, {} KiB after, {each:.1} bytes \
                 each\n",
                before / 1024,
                after / 1024
            );
        }
        text
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let pids = options::pids(&m, "server-pid")?;
    let name = m.opt_str("server").unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let server = Security::read(&m)?.server(&name, pids.clone())?;
    let sessions: u64 = options::number(&m, "sessions", 1000, 1, 100_000)?;
    let watches: u64 = options::number(&m, "watches", 0, 0, 100_000_000)?;
    let seconds = options::seconds(&m, "seconds", 10.0)?;
    let timeout = options::seconds(&m, "timeout", 30.0)?;
    let nodes = watches.div_ceil(sessions);
    let root = options::root(&m, "/zkbench-hold")?;
    if nodes > 9_999_999 {
        return Err(Stop::Wrong("--watches: too many for each session".to_owned()));
    }
    let traffic = Traffic::new(&root, Mix::only(Op::Get), nodes, 0);
    if nodes > 0 {
        place::prepare(&server, &traffic, 0, m.opt_present("reuse"))?;
    }
    let before = memory(&pids)?;
    let began = Instant::now();
    let mut crowd = Crowd::open(&server, sessions, timeout)?;
    if nodes > 0 && watches > 0 {
        crowd.watch(nodes, &|node| traffic.key_path(node), sessions as usize)?;
    }
    let open_seconds = began.elapsed().as_secs_f64();
    hold(&mut crowd, SETTLE)?;
    let after = memory(&pids)?;
    let memory = before.zip(after);
    let (watches, transport) = (nodes * sessions, server.transport());
    let held = Held { sessions, watches, transport, open_seconds, memory };
    if !m.opt_present("json") {
        // Whoever waits for this line may go on while it lasts.
        println!("holding {sessions} sessions and {} watches", held.watches);
        std::io::stdout().flush().map_err(|e| format!("printing: {e}"))?;
    }
    hold(&mut crowd, seconds)?;
    crowd.check()?;
    drop(crowd);
    if nodes > 0 {
        place::remove(&server, &traffic, std::iter::empty())?;
    }
    Ok(if m.opt_present("json") { format!("{}\n", held.json()) } else { held.text() })
}

/// Anonymous bytes of all that are told.
fn memory(pids: &[u32]) -> Result<Option<u64>, String> {
    let each: Vec<u64> = pids.iter().map(|pid| anonymous_bytes(*pid)).collect::<Result<_, _>>()?;
    Ok((!each.is_empty()).then(|| each.iter().sum()))
}

fn hold(crowd: &mut Crowd, time: Duration) -> Result<(), String> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        crowd.wait(left.min(Duration::from_millis(500)), &mut |member, _| {
            Err(format!("session {member}: something it never asked for"))
        })?;
    }
    Ok(())
}
