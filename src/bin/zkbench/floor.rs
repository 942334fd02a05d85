//! `zkbench floor`: what the machine itself takes, under the same client loop and on the same
//! disk: a bare echo for the reads, a bare append and sync for the writes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use getopts::{Matches, Options};
use rustix::fs::fdatasync;
use zkd::client::Tls;

use super::engine::{Engine, Pace, Until};
use super::figures::{Latencies, Stretch};
use super::json::Json;
use super::options::{self, Stop};
use super::server;
use super::traffic::{Mix, Op, Traffic};

const USAGE: &str = "Usage: zkbench floor [options]

Starts a bare echo server as a process of its own and loads it with the loop of `zkbench load`;
then appends to a file that was written with zeros before, each append followed by fdatasync, one
after the other, or with --rate for as many as have become due, as a server commits in groups.";

/// The file that is appended to, from its front again when it is full.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "echo-pin", "the echo server runs on this processor only", "CPU");
    server::know_tls(&mut o, "the echo server's");
    o.optopt("", "sessions", "(1)", "N");
    o.optopt("", "depth", "(1)", "N");
    o.optopt("", "bytes", "of each echo, its header of 12 not counted (100)", "N");
    o.optopt("", "seconds", "the longest that one part takes (5)", "N");
    o.optopt("", "count", "echoes at most (no limit)", "N");
    o.optopt("", "warmup", "seconds of echoes before, not counted (1)", "N");
    o.optopt("", "dir", "where the file is made (the folder for temporary files)", "FOLDER");
    o.optopt("", "record", "bytes of each append (300)", "N");
    o.optopt("", "syncs", "appends at most (2000)", "N");
    o.optopt(
        "",
        "rate",
        "appends a second, due at fixed times: latency counts from there, and one
                        sync does for all that are due",
        "N",
    );
    o
}

/// The echo server; its input ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Echoes {
    sessions: u64,
    depth: usize,
    bytes: usize,
    until: Until,
    warmup: Duration,
    pin: Option<String>,
    /// How the echo server is spoken to, and the options that it gets for that.
    tls: Option<(Tls, Vec<String>)>,
}

/// Its certificate must be one that it can show for this machine's own address.
fn tls(m: &Matches) -> Result<Option<(Tls, Vec<String>)>, String> {
    if !server::wants_tls(m) {
        return Ok(None);
    }
    let Some(certificate) = m.opt_str("tls-cert") else {
        return Err("TLS: --tls-cert FILE is missing: the echo server's certificate".to_owned());
    };
    let mut words = vec!["--tls-cert".to_owned(), certificate];
    if let Some(key) = m.opt_str("tls-key") {
        words.extend(["--tls-key".to_owned(), key]);
    }
    Ok(Some((server::load(m, &server::trust(m)?)?, words)))
}

impl Echoes {
    fn measure(&self) -> Result<Stretch, String> {
        let me = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let mut command = Command::new(me);
        command.arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(cpu) = &self.pin {
            command.args(["--pin", cpu]);
        }
        if let Some((_, words)) = &self.tls {
            command.args(words);
        }
        let child = command.spawn().map_err(|e| format!("the echo server: {e}"))?;
        let mut server = Server(child);
        let mut line = String::new();
        let out = server.0.stdout.take().ok_or("the echo server says nothing")?;
        BufReader::new(out).read_line(&mut line).map_err(|e| format!("the echo server: {e}"))?;
        let address = options::address(line.trim())?;
        let traffic = Traffic::new("/echo", Mix::only(Op::Echo), 1, self.bytes);
        let mut engine = Engine::new(1, Pace { depth: self.depth, rate: None })?;
        let tls = self.tls.as_ref().map(|(tls, _)| tls);
        engine.add_echo(address, tls, &traffic, self.sessions)?;
        let pids = [server.0.id()];
        if !self.warmup.is_zero() {
            engine.run(0, Until { operations: u64::MAX, time: self.warmup }, &pids)?;
        }
        engine.run(0, self.until, &pids)
    }
}

/// What is appended to the file, and how often.
struct Appends {
    record: usize,
    count: u64,
    longest: Duration,
    rate: Option<f64>,
}

/// Latencies of append and sync.
fn syncs(dir: &Path, appends: &Appends) -> Result<Latencies, String> {
    let path = dir.join(format!("zkbench-floor-{}", std::process::id()));
    let told = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(told)?;
    let outcome = appends.measure(&file).map_err(told);
    std::fs::remove_file(&path).map_err(told)?;
    outcome
}

impl Appends {
    fn measure(&self, file: &File) -> std::io::Result<Latencies> {
        let zeros = vec![0; 1024 * 1024];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let (mut latencies, mut at) = (Latencies::new(), 0);
        let began = Instant::now();
        let now = || began.elapsed().as_nanos() as u64;
        while latencies.count() < self.count && began.elapsed() < self.longest {
            let due = self.due(latencies.count(), now());
            let bytes = vec![b'r'; due.len() * self.record];
            if at + bytes.len() as u64 > FILE_BYTES {
                at = 0;
            }
            file.write_all_at(&bytes, at)?;
            fdatasync(file)?;
            at += bytes.len() as u64;
            let end = now();
            due.iter().for_each(|due| latencies.record(end - due));
        }
        Ok(latencies)
    }

    /// When those were due that are written next: never none, and no more than fit.
    fn due(&self, done: u64, now: u64) -> Vec<u64> {
        let Some(rate) = self.rate else { return vec![now] };
        let at = |n: u64| (n as f64 * 1e9 / rate) as u64;
        let first = at(done);
        std::thread::sleep(Duration::from_nanos(first.saturating_sub(now)));
        let most = (FILE_BYTES / 2) as usize / self.record;
        let due = (done..).map(at).take_while(|due| *due <= now.max(first));
        due.take(most.max(1)).collect()
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let longest = options::seconds(&m, "seconds", 5.0)?;
    let echoes = Echoes {
        sessions: options::number(&m, "sessions", 1, 1, 20_000)?,
        depth: options::number(&m, "depth", 1, 1, 4096)?,
        bytes: options::number(&m, "bytes", 100, 0, 1_000_000)?,
        until: Until {
            operations: options::number(&m, "count", u64::MAX, 1, u64::MAX)?,
            time: longest,
        },
        warmup: options::seconds(&m, "warmup", 1.0)?,
        pin: m.opt_str("echo-pin"),
        tls: tls(&m)?,
    };
    let record: usize = options::number(&m, "record", 300, 1, 1_000_000)?;
    let count = options::number(&m, "syncs", 2000, 1, 10_000_000)?;
    let dir = options::directory(&m, "dir");
    let echo = echoes.measure()?;
    let rate: f64 = options::number(&m, "rate", 0.0, 0.001, 10_000_000.0)?;
    let rate = (rate > 0.0).then_some(rate);
    let sync = syncs(&dir, &Appends { record, count, longest, rate })?;
    let transport = if echoes.tls.is_some() { "tls" } else { "tcp" };
    if m.opt_present("json") {
        let mut fields = vec![
            ("sessions", Json::Whole(echoes.sessions)),
            ("depth", Json::Whole(echoes.depth as u64)),
            ("bytes", Json::Whole(echoes.bytes as u64)),
            ("transport", Json::text(transport)),
        ];
        fields.extend(echo.json());
        let sync = Json::Object(vec![
            ("directory", Json::text(dir.display().to_string())),
            ("record", Json::Whole(record as u64)),
            ("operations", Json::Whole(sync.count())),
            ("latency_us", sync.json()),
        ]);
        let command = ("command", Json::text("floor"));
        let all = vec![command, ("echo", Json::Object(fields)), ("sync", sync)];
        return Ok(format!("{}\n", Json::Object(all)));
    }
    Ok(format!(
        "echo: {} sessions, {} deep, {} bytes, {transport}\n{}append of {record} bytes and \
         fdatasync in {}: {} times\n  latency {}\n",
        echoes.sessions,
        echoes.depth,
        echoes.bytes,
        echo.lines(false),
        dir.display(),
        sync.count(),
        sync.line()
    ))
}
