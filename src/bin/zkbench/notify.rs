//! `zkbench notify`: many sessions watch the same nodes once, one session sets them, and every
//! watcher must hear of every node once and in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use getopts::Options;
use zkd::client::Call;
use zkd::proto::EventKind;

use super::accounting::Reading;
use super::crowd::{Crowd, Heard};
use super::figures::Stretch;
use super::json::Json;
use super::options::{self, Stop};
use super::place;
use super::traffic::{Mix, Op, Traffic};

const USAGE: &str = "Usage: zkbench notify [options]

Every watcher watches every node, then one session sets each node once: watchers x nodes
notifications, their latency counted from when the set was sent. One thread; TCP only.";

struct Notify {
    server: SocketAddr,
    pid: Option<u32>,
    watchers: u64,
    depth: u64,
    rounds: u32,
    timeout: Duration,
}

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "server", "(127.0.0.1:2181)", "HOST:PORT");
    o.optopt("", "server-pid", "the server's process: its CPU is told", "PID");
    o.optopt("", "watchers", "sessions that watch (100)", "N");
    o.optopt("", "nodes", "nodes that are watched and set (2000)", "N");
    o.optopt("", "depth", "sets under way at most (100)", "N");
    o.optopt("", "rounds", "(1)", "N");
    o.optopt("", "bytes", "of each value (100)", "N");
    o.optopt("", "root", "everything goes below this node (/zkbench-notify)", "PATH");
    o.optopt("", "timeout", "session timeout in seconds (30)", "N");
    o.optflag("", "reuse", "take a root that exists");
    o
}

/// One round: who heard how much, and when each set was sent.
struct Round<'a> {
    traffic: &'a Traffic,
    writer: usize,
    origin: Instant,
    sent: Vec<u64>,
    heard: Vec<u64>,
    due: VecDeque<u64>,
    stretch: Stretch,
    last: u64,
}

impl Round<'_> {
    fn on_heard(&mut self, member: usize, heard: &Heard<'_>) -> Result<(), String> {
        let Heard::Event { kind, path } = heard else {
            self.due.pop_front();
            return Ok(());
        };
        let node = self.heard.get(member).copied().filter(|_| member != self.writer);
        let node = node.ok_or("an event for a session that watches nothing")?;
        if *kind != EventKind::NodeDataChanged as i32 {
            return Err(format!("an event of kind {kind}"));
        }
        if node >= self.traffic.keys || *path != self.traffic.key_path(node).as_bytes() {
            let path = String::from_utf8_lossy(path);
            return Err(format!("an event for {path} where node {node} was next"));
        }
        self.heard[member] += 1;
        self.last = self.origin.elapsed().as_nanos() as u64;
        let sent = self.sent.get(node as usize).copied().ok_or("an event before its set")?;
        self.stretch.latencies.record(self.last - sent);
        Ok(())
    }
}

impl Notify {
    fn measure(&self, traffic: &Traffic) -> Result<Vec<Stretch>, String> {
        let mut crowd = Crowd::open(self.server, self.watchers + 1, self.timeout)?;
        (0..self.rounds).map(|_| self.round(&mut crowd, traffic)).collect()
    }

    fn round(&self, crowd: &mut Crowd, traffic: &Traffic) -> Result<Stretch, String> {
        // The writer is the last; its own watches, none, are no nodes.
        let writer = self.watchers as usize;
        crowd.watch(traffic.keys, &|node| traffic.key_path(node), writer)?;
        let before = Reading::take(self.pid)?;
        let mut round = Round {
            traffic,
            writer,
            origin: Instant::now(),
            sent: Vec::new(),
            heard: vec![0; writer],
            due: VecDeque::new(),
            stretch: Stretch::nothing(),
            last: 0,
        };
        let all = self.watchers * traffic.keys;
        while round.stretch.latencies.count() < all || !round.due.is_empty() {
            let now = round.origin.elapsed().as_nanos() as u64;
            while (round.due.len() as u64) < self.depth && (round.sent.len() as u64) < traffic.keys
            {
                let node = round.sent.len() as u64;
                let (path, value) = (traffic.key_path(node), traffic.value_of(node));
                let call = Call::SetData { path: &path, data: Some(&value), version: -1 };
                crowd.queue(writer, &call);
                round.sent.push(now);
                round.due.push_back(node);
            }
            crowd.flush(writer)?;
            crowd.wait(Duration::from_millis(200), &mut |member, heard| {
                round.on_heard(member, &heard)
            })?;
            if now > 120_000_000_000 {
                let heard = round.stretch.latencies.count();
                return Err(format!("{heard} of {all} notifications after two minutes"));
            }
        }
        let mut stretch = round.stretch;
        stretch.operations = all;
        stretch.seconds = round.last.max(1) as f64 / 1e9;
        stretch.used = Reading::take(self.pid)?.since(before);
        Ok(stretch)
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let notify = Notify {
        server: options::server(&m)?,
        pid: options::pid(&m, "server-pid")?,
        watchers: options::number(&m, "watchers", 100, 1, 10_000)?,
        depth: options::number(&m, "depth", 100, 1, 4096)?,
        rounds: options::number(&m, "rounds", 1, 1, 1000)?,
        timeout: options::seconds(&m, "timeout", 30.0)?,
    };
    let nodes = options::number(&m, "nodes", 2000, 1, 1_000_000)?;
    let bytes = options::number(&m, "bytes", 100, 0, 1_000_000)?;
    let root = options::root(&m, "/zkbench-notify")?;
    let traffic = Traffic::new(&root, Mix::only(Op::Set), nodes, bytes);
    place::prepare(notify.server, &traffic, 0, m.opt_present("reuse"))?;
    let outcome = notify.measure(&traffic);
    place::remove(notify.server, &traffic, std::iter::empty())?;
    let rounds = outcome?;
    let all = rounds.iter().fold(Stretch::nothing(), Stretch::plus);
    if m.opt_present("json") {
        let mut fields = vec![
            ("command", Json::text("notify")),
            ("address", Json::text(notify.server.to_string())),
            ("watchers", Json::Whole(notify.watchers)),
            ("nodes", Json::Whole(nodes)),
            ("rounds", Json::Whole(notify.rounds.into())),
            ("transport", Json::text("tcp")),
        ];
        fields.extend(all.json());
        return Ok(format!("{}\n", Json::Object(fields)));
    }
    Ok(format!(
        "notify: {} watchers x {nodes} nodes x {} rounds, tcp\n{}\n{}",
        notify.watchers,
        notify.rounds,
        notify.server,
        all.lines(false)
    ))
}
