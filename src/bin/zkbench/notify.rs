//! `zkbench notify`: many sessions watch the same nodes once, one session sets them, and every
//! watcher must hear of every node once and in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use getopts::Options;
use zkd::client::Call;
use zkd::proto::EventKind;

use super::accounting::Reading;
use super::compare::{self, Stretches};
use super::crowd::{Crowd, Heard};
use super::figures::Stretch;
use super::json::Json;
use super::options::{self, Stop};
use super::place;
use super::server::{self, Server};
use super::traffic::{Mix, Op, Traffic};

const USAGE: &str = "Usage: zkbench notify [options]

Every watcher watches every node, then one session sets each node once: watchers x nodes
notifications, their latency counted from when the set was sent. One thread.";

/// Between two looks at the sessions of the server whose turn it is not.
const LOOK: Duration = Duration::from_secs(1);

struct Notify {
    targets: Vec<Server>,
    watchers: u64,
    depth: u64,
    rounds: u32,
    timeout: Duration,
}

fn known() -> Options {
    let mut o = options::common();
    server::know_servers(&mut o);
    o.optopt("", "watchers", "sessions that watch (100)", "N");
    o.optopt("", "nodes", "nodes that are watched and set (2000)", "N");
    o.optopt("", "depth", "sets under way at most (100)", "N");
    o.optopt("", "rounds", "of each server, in turn (1; 5 with --against)", "N");
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
    fn measure(&self, traffic: &Traffic) -> Result<Stretches, String> {
        let open = |server: &Server| Crowd::open(server, self.watchers + 1, self.timeout);
        let mut crowds = self.targets.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        compare::in_turn(&self.targets, self.rounds, |n| self.round(&mut crowds, n, traffic))
    }

    /// The figures of one server stand by themselves, those of two below their addresses.
    fn json(&self, nodes: u64, stretches: &Stretches) -> Json {
        let mut fields = vec![
            ("command", Json::text("notify")),
            ("watchers", Json::Whole(self.watchers)),
            ("nodes", Json::Whole(nodes)),
            ("rounds", Json::Whole(self.rounds.into())),
            ("transport", Json::text(self.targets[0].transport())),
        ];
        match stretches.as_slice() {
            [alone] => {
                let address = self.targets[0].address.to_string();
                fields.insert(1, ("address", Json::text(address)));
                fields.extend(compare::sum(alone).json());
            }
            _ => fields.extend(compare::json(&self.targets, stretches)),
        }
        Json::Object(fields)
    }

    /// One round of one of the servers; the crowds of the others stay alive meanwhile.
    fn round(
        &self,
        crowds: &mut [Crowd],
        target: usize,
        traffic: &Traffic,
    ) -> Result<Stretch, String> {
        let pids = &self.targets[target].pids;
        // The writer is the last; its own watches, none, are no nodes.
        let writer = self.watchers as usize;
        crowds[target].watch(traffic.keys, &|node| traffic.key_path(node), writer)?;
        let before = Reading::take(pids)?;
        let mut looked = Instant::now();
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
                crowds[target].queue(writer, &call);
                round.sent.push(now);
                round.due.push_back(node);
            }
            crowds[target].flush(writer)?;
            crowds[target].wait(Duration::from_millis(200), &mut |member, heard| {
                round.on_heard(member, &heard)
            })?;
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                let others = crowds.iter_mut().enumerate().filter(|(n, _)| *n != target);
                others.map(|(_, idle)| idle).try_for_each(Crowd::idle)?;
            }
            if now > 120_000_000_000 {
                let heard = round.stretch.latencies.count();
                return Err(format!("{heard} of {all} notifications after two minutes"));
            }
        }
        let mut stretch = round.stretch;
        stretch.operations = all;
        stretch.seconds = round.last.max(1) as f64 / 1e9;
        stretch.used = Reading::take(pids)?.since(before);
        Ok(stretch)
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let targets = server::servers(&m)?;
    let notify = Notify {
        watchers: options::number(&m, "watchers", 100, 1, 10_000)?,
        depth: options::number(&m, "depth", 100, 1, 4096)?,
        rounds: server::pairs(&m, "rounds", targets.len())?,
        timeout: options::seconds(&m, "timeout", 30.0)?,
        targets,
    };
    let nodes = options::number(&m, "nodes", 2000, 1, 1_000_000)?;
    let bytes = options::number(&m, "bytes", 100, 0, 1_000_000)?;
    let root = options::root(&m, "/zkbench-notify")?;
    let traffic = Traffic::new(&root, Mix::only(Op::Set), nodes, bytes);
    for server in &notify.targets {
        place::prepare(server, &traffic, 0, m.opt_present("reuse"))?;
    }
    let outcome = notify.measure(&traffic);
    for server in &notify.targets {
        place::remove(server, &traffic, std::iter::empty())?;
    }
    let stretches = outcome?;
    if m.opt_present("json") {
        return Ok(format!("{}\n", notify.json(nodes, &stretches)));
    }
    Ok(format!(
        "notify: {} watchers x {nodes} nodes x {} rounds, {}\n{}",
        notify.watchers,
        notify.rounds,
        notify.targets[0].transport(),
        compare::text(&notify.targets, &stretches, false)
    ))
}
