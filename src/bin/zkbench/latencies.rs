//! `zkbench latencies`: the phases, options and output lines of the public zk-latencies tool, so
//! that its numbers can be set beside those of others; percentiles are added below each line.

use std::time::{Duration, Instant};

use getopts::{Matches, Options};
use zkd::client::Connection;

use super::compare;
use super::figures::{Stretch, ratios};
use super::json::Json;
use super::options::{self, Stop};
use super::phases::{Phase, Test};
use super::server::{self, Security, Server};

const USAGE: &str = "Usage: zkbench latencies [options]

Creates, sets, gets and deletes permanent nodes, creates ephemeral ones, watches and deletes them
and waits for the notifications, on each server in turn. Requests go out all at once, or one by
one with --synchronous. Options and lines are those of zk-latencies, but for the percentiles,
--against, --pairs, TLS and SASL. One thread.";

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "servers", "tested in turn (localhost:2181)", "HOST:PORT,...");
    o.optopt("", "cluster", "tested as one: the first that answers", "HOST:PORT,...");
    o.optopt("", "config", "a zoo.cfg whose servers are such a cluster", "FILE");
    o.optopt("", "against", "a second one, tested in turn with the one before", "HOST:PORT");
    o.optopt("", "pairs", "tests of each, in turn (1; 5 with --against)", "N");
    o.optopt("", "timeout", "session timeout in ms (5000)", "N");
    o.optopt("", "root_znode", "made for the test, removed after it (/zk-latencies)", "PATH");
    o.optopt("", "znode_size", "bytes of each znode (25)", "N");
    o.optopt("", "znode_count", "znodes of each phase (10000)", "N");
    o.optopt("", "watch_multiple", "watches on each znode (1)", "N");
    o.optflag("", "force", "run although root_znode exists; its children are DELETED");
    o.optflag("", "synchronous", "one call after another");
    server::know_security(&mut o);
    o.optflag("v", "verbose", "tell the sessions as well");
    o.optflag("q", "quiet", "only how it ended");
    o
}

/// Who is tested: each name is one server, or several of which the first that answers is taken.
struct Sites {
    names: Vec<String>,
    /// Whether the second is set beside the first.
    is_pair: bool,
    rounds: u32,
    transport: String,
}

/// What each test of a site came to.
type Tests = Vec<Vec<Vec<Phase>>>;

fn connect(
    security: &Security,
    names: &str,
    timeout: Duration,
) -> Result<(Server, Connection), String> {
    let mut last = format!("{names}: no server");
    for name in names.split(',') {
        let opened = security.server(name, Vec::new()).and_then(|server| {
            let (connection, _) = server.connect(timeout)?;
            Ok((server, connection))
        });
        match opened {
            Ok(opened) => return Ok(opened),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// The servers that a `zoo.cfg` names, at its client port; without any it is this machine's.
fn cluster(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("--config: {path}: {e}"))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: Vec<_> = pairs.map(|(key, value)| (key.trim(), value.trim())).collect();
    let port = pairs.iter().find(|(key, _)| *key == "clientPort").map(|(_, port)| *port);
    let port = port.ok_or_else(|| format!("--config: {path} names no clientPort"))?;
    let host = |value: &str| {
        let end = value.find(']').map_or(0, |at| at + 1);
        let length = value[end..].find(':').map_or(value.len(), |at| end + at);
        format!("{}:{port}", &value[..length])
    };
    let servers = pairs.iter().filter(|(key, _)| key.starts_with("server."));
    let named: Vec<String> = servers.map(|(_, value)| host(value)).collect();
    Ok(if named.is_empty() { format!("localhost:{port}") } else { named.join(",") })
}

fn names(m: &Matches) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = match (m.opt_str("cluster"), m.opt_str("config")) {
        (Some(all), _) => vec![all],
        (None, Some(path)) => vec![cluster(&path)?],
        (None, None) => {
            let all = m.opt_str("servers").unwrap_or_else(|| "localhost:2181".to_owned());
            all.split(',').map(str::to_owned).collect()
        }
    };
    if let Some(second) = m.opt_str("against") {
        if names.len() != 1 {
            let why = "--against: it is set beside one server of --servers, or a cluster";
            return Err(why.to_owned());
        }
        names.push(second);
    }
    Ok(names)
}

fn prepare(m: &Matches) -> Result<(Sites, Test), String> {
    let timeout: u64 = options::number(m, "timeout", 5000, 1, i32::MAX as u64)?;
    let timeout = Duration::from_millis(timeout);
    let root = m.opt_str("root_znode").unwrap_or_else(|| "/zk-latencies".to_owned());
    if root.len() < 2 || zkd::proto::validate_path(&root).is_err() {
        return Err(format!("--root_znode: {root} is no path for this"));
    }
    let size: usize = options::number(m, "znode_size", 25, 0, 1_000_000)?;
    let (security, names) = (Security::read(m)?, names(m)?);
    let is_pair = m.opt_present("against");
    let rounds = server::pairs(m, "pairs", if is_pair { 2 } else { 1 })?;
    let mut test = Test {
        sessions: Vec::new(),
        timeout,
        root,
        data: vec![b'x'; size],
        count: options::number(m, "znode_count", 10_000, 1, 10_000_000)?,
        multiple: options::number(m, "watch_multiple", 1, 1, 1000)?,
        synchronous: m.opt_present("synchronous"),
        is_silent: m.opt_present("quiet") || m.opt_present("json"),
        events: 0,
        last_ping: Instant::now(),
    };
    let mut transport = String::new();
    for name in &names {
        let (server, connection) = connect(&security, name, timeout)?;
        transport = server.transport();
        test.sessions.push(connection);
    }
    Ok((Sites { names, is_pair, rounds, transport }, test))
}

impl Sites {
    /// Those where the root has to be made: the names of --servers are of one ensemble.
    fn homes(&self) -> std::ops::Range<usize> {
        0..if self.is_pair { 2 } else { 1 }
    }

    fn run(&self, test: &mut Test, force: bool) -> Result<Tests, String> {
        let told = |session: usize, why: String| format!("{}: {why}", self.names[session]);
        for home in self.homes() {
            test.begin(home, force).map_err(|why| told(home, why))?;
        }
        // The public tool spells one of the two so.
        let kind = if test.synchronous { "syncronous" } else { "asynchronous" };
        let mut tests: Tests = self.names.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds {
            for (session, name) in self.names.iter().enumerate() {
                test.say(&format!("Testing latencies on server {name} using {kind} calls"));
                let phases = test.phases(session).map_err(|why| told(session, why))?;
                tests[session].push(phases);
            }
        }
        for home in self.homes() {
            test.end(home).map_err(|why| told(home, why))?;
        }
        Ok(tests)
    }

    /// The figures of each phase of the first with those of the second.
    fn pairs(&self, tests: &Tests) -> Vec<(String, Vec<(Stretch, Stretch)>)> {
        let [first, second] = tests.as_slice() else { return Vec::new() };
        let Some(names) = first.first().filter(|_| self.is_pair) else { return Vec::new() };
        let of = |n: usize| {
            let pair =
                |(a, b): (&Vec<Phase>, &Vec<Phase>)| (a[n].figures.clone(), b[n].figures.clone());
            first.iter().zip(second).map(pair).collect()
        };
        names.iter().enumerate().map(|(n, phase)| (phase.name.clone(), of(n))).collect()
    }

    fn text(&self, tests: &Tests) -> String {
        let phase = |(name, pairs): (String, Vec<_>)| name + "\n" + &compare::ratio_lines(&pairs);
        self.pairs(tests).into_iter().map(phase).collect()
    }

    /// The tests in the order in which they were made, and the ratios of two.
    fn json(&self, tests: &Tests) -> Vec<(&'static str, Json)> {
        let test = |(name, phases): (&String, &Vec<Phase>)| {
            let phases = phases.iter().map(Phase::json).collect();
            let fields = vec![("address", Json::text(name)), ("phases", Json::List(phases))];
            Json::Object(fields)
        };
        let round = |round: usize| {
            self.names.iter().zip(tests.iter().filter_map(move |tests| tests.get(round)))
        };
        let all = (0..self.rounds as usize).flat_map(round).map(test).collect();
        let mut fields = vec![("servers", Json::List(all))];
        if self.is_pair {
            let ratios = |(name, pairs): (String, Vec<_>)| {
                let mut fields = vec![("phase", Json::text(name))];
                fields.extend(ratios(&pairs).iter().map(|r| r.json()));
                Json::Object(fields)
            };
            let all = self.pairs(tests).into_iter().map(ratios).collect();
            fields.push(("ratios", Json::List(all)));
        }
        fields
    }
}

impl Phase {
    fn json(&self) -> Json {
        let latencies = &self.figures.latencies;
        let latencies = if latencies.count() > 0 { latencies.json() } else { Json::Null };
        Json::Object(vec![
            ("phase", Json::text(&*self.name)),
            ("operations", Json::Whole(self.figures.operations)),
            ("ms", Json::Real(self.figures.seconds * 1000.0)),
            ("latency_us", latencies),
        ])
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let (sites, mut test) = prepare(&m)?;
    if m.opt_present("verbose") {
        test.say(&format!("{} sessions, timeout {:?}", test.sessions.len(), test.timeout));
    }
    let tests = sites.run(&mut test, m.opt_present("force"))?;
    test.close()?;
    if !m.opt_present("json") {
        return Ok(sites.text(&tests) + "Latency test complete\n");
    }
    let mut fields = vec![
        ("command", Json::text("latencies")),
        ("znode_count", Json::Whole(test.count)),
        ("znode_size", Json::Whole(test.data.len() as u64)),
        ("synchronous", Json::Whole(test.synchronous.into())),
        ("transport", Json::text(&*sites.transport)),
    ];
    fields.extend(sites.json(&tests));
    Ok(format!("{}\n", Json::Object(fields)))
}
