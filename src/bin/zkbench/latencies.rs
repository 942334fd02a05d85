//! `zkbench latencies`: the phases, options and output lines of the public zk-latencies tool, so
//! that its numbers can be set beside those of others; percentiles are added below each line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use getopts::{Matches, Options};
use zkd::base::{SessionId, Xid, Zxid};
use zkd::client::{Answer, Call, Connection, Message, NewNode};
use zkd::proto::{ConnectRequest, CreateMode, ErrorCode, EventKind};

use super::figures::Latencies;
use super::json::Json;
use super::options::{self, Stop};

const USAGE: &str = "Usage: zkbench latencies [options]

Creates, sets, gets and deletes permanent nodes, creates ephemeral ones, watches and deletes them
and waits for the notifications, on each server in turn. Requests go out all at once, or one by
one with --synchronous. Options and lines are those of zk-latencies. One thread; TCP only.";

const PATIENCE: Duration = Duration::from_secs(60);

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "servers", "tested in turn (localhost:2181)", "HOST:PORT,...");
    o.optopt("", "cluster", "tested as one: the first that answers", "HOST:PORT,...");
    o.optopt("", "timeout", "session timeout in ms (5000)", "N");
    o.optopt("", "root_znode", "made for the test, removed after it (/zk-latencies)", "PATH");
    o.optopt("", "znode_size", "bytes of each znode (25)", "N");
    o.optopt("", "znode_count", "znodes of each phase (10000)", "N");
    o.optopt("", "watch_multiple", "watches on each znode (1)", "N");
    o.optflag("", "force", "run although root_znode exists; its children are DELETED");
    o.optflag("", "synchronous", "one call after another");
    o.optflag("v", "verbose", "tell the sessions as well");
    o.optflag("q", "quiet", "only how it ended");
    o
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Create(CreateMode),
    Set,
    Get,
    Delete,
    Watch,
}

struct Test {
    names: Vec<String>,
    sessions: Vec<Connection>,
    timeout: Duration,
    root: String,
    data: Vec<u8>,
    count: u64,
    multiple: u64,
    synchronous: bool,
    quiet: bool,
    as_json: bool,
    events: u64,
    last_ping: Instant,
    phases: Vec<Json>,
}

fn connect(addresses: &str, timeout: Duration) -> Result<Connection, String> {
    let mut last = format!("{addresses}: no server");
    for name in addresses.split(',') {
        match open(name, timeout) {
            Ok(connection) => return Ok(connection),
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn open(name: &str, timeout: Duration) -> Result<Connection, String> {
    let told = |e: zkd::client::Error| format!("{name}: {e}");
    let address = options::address(name)?;
    let mut connection = Connection::dial(address, Duration::from_secs(5)).map_err(told)?;
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: timeout.as_millis() as i32,
        session: SessionId::NONE,
        password: None,
        read_only: Some(false),
    };
    let response = connection.handshake(&request, PATIENCE).map_err(told)?;
    if response.timeout_ms <= 0 {
        return Err(format!("{name}: the session was refused"));
    }
    Ok(connection)
}

impl Test {
    fn read(m: &Matches) -> Result<Test, String> {
        let timeout: u64 = options::number(m, "timeout", 5000, 1, i32::MAX as u64)?;
        let timeout = Duration::from_millis(timeout);
        let names: Vec<String> = match m.opt_str("cluster") {
            Some(all) => vec![all],
            None => {
                let all = m.opt_str("servers").unwrap_or_else(|| "localhost:2181".to_owned());
                all.split(',').map(str::to_owned).collect()
            }
        };
        let root = m.opt_str("root_znode").unwrap_or_else(|| "/zk-latencies".to_owned());
        if root.len() < 2 || zkd::proto::validate_path(&root).is_err() {
            return Err(format!("--root_znode: {root} is no path for this"));
        }
        let size: usize = options::number(m, "znode_size", 25, 0, 1_000_000)?;
        let sessions = names.iter().map(|name| connect(name, timeout)).collect::<Result<_, _>>()?;
        Ok(Test {
            names,
            sessions,
            timeout,
            root,
            data: vec![b'x'; size],
            count: options::number(m, "znode_count", 10_000, 1, 10_000_000)?,
            multiple: options::number(m, "watch_multiple", 1, 1, 1000)?,
            synchronous: m.opt_present("synchronous"),
            quiet: m.opt_present("quiet"),
            as_json: m.opt_present("json"),
            events: 0,
            last_ping: Instant::now(),
            phases: Vec::new(),
        })
    }

    /// A line, at once: a run takes a while.
    fn say(&mut self, line: &str) {
        if !self.quiet && !self.as_json {
            println!("{line}");
        }
    }

    fn child(&self, n: u64) -> String {
        format!("{}/session_{n}", self.root)
    }

    /// One call whose answer matters by itself.
    fn call(&mut self, call: &Call<'_>) -> Result<Result<Answer, ErrorCode>, String> {
        let xid = self.sessions[0].queue(call);
        self.sessions[0].flush(PATIENCE).map_err(|e| e.to_string())?;
        let reply = self.reply(0, xid)?;
        match reply.answer() {
            Ok(answer) => Ok(Ok(answer)),
            Err(e) => e.code().map(Err).ok_or_else(|| e.to_string()),
        }
    }

    /// The next reply, which must be to `xid`; events on the way are counted.
    fn reply(&mut self, session: usize, xid: Xid) -> Result<zkd::client::Reply, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.sessions[session].receive(deadline).map_err(|e| e.to_string())? {
                Message::Reply(reply) if reply.xid == xid => return Ok(reply),
                Message::Reply(reply) => {
                    return Err(format!("reply {:?} where {xid:?} is due", reply.xid));
                }
                Message::Event(event) => self.on_event(event.kind)?,
                Message::Pong => {}
            }
        }
    }

    fn on_event(&mut self, kind: i32) -> Result<(), String> {
        if kind != EventKind::NodeDeleted as i32 {
            return Err(format!("an event of kind {kind}"));
        }
        self.events += 1;
        Ok(())
    }

    /// The sessions that wait for their turn stay alive; so does this one.
    fn ping(&mut self) -> Result<(), String> {
        if self.last_ping.elapsed() < self.timeout / 4 {
            return Ok(());
        }
        self.last_ping = Instant::now();
        for session in &mut self.sessions {
            session.queue(&Call::Ping);
            session.flush(PATIENCE).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn queue(&mut self, session: usize, what: What, path: &str) -> Xid {
        let data = Some(&self.data[..]);
        let call = match what {
            What::Create(mode) => Call::Create(NewNode::new(path, &self.data, mode)),
            What::Set => Call::SetData { path, data, version: -1 },
            What::Get => Call::GetData { path, watch: false },
            What::Delete => Call::Delete { path, version: -1 },
            What::Watch => Call::Exists { path, watch: true },
        };
        self.sessions[session].queue(&call)
    }

    fn check(&self, what: What, path: &str, answer: &Answer) -> Result<(), String> {
        let length = self.data.len();
        let right = match (what, answer) {
            (What::Create(_), Answer::Path(made)) => made == path,
            (What::Get, Answer::Data { data, .. }) => {
                data.as_deref().unwrap_or_default() == &self.data[..]
            }
            (What::Set | What::Watch, Answer::Stat(stat)) => stat.data_length as usize == length,
            (What::Delete, Answer::Done) => true,
            _ => false,
        };
        if right { Ok(()) } else { Err(format!("{path}: a wrong answer: {answer:?}")) }
    }

    fn phase(&mut self, session: usize, what: What, label: &str) -> Result<(), String> {
        let times = if what == What::Watch { self.multiple } else { 1 };
        let total = self.count * times;
        let mut latencies = Latencies::new();
        let mut under_way = VecDeque::new();
        let began = Instant::now();
        for n in 0..total {
            let path = self.child(n % self.count);
            let xid = self.queue(session, what, &path);
            under_way.push_back((xid, path, Instant::now()));
            if self.synchronous {
                self.sessions[session].flush(PATIENCE).map_err(|e| e.to_string())?;
                self.answers(session, what, &mut under_way, &mut latencies)?;
            }
        }
        self.sessions[session].flush(PATIENCE).map_err(|e| e.to_string())?;
        self.answers(session, what, &mut under_way, &mut latencies)?;
        self.report(label, total, began.elapsed(), Some(&latencies));
        Ok(())
    }

    fn answers(
        &mut self,
        session: usize,
        what: What,
        under_way: &mut VecDeque<(Xid, String, Instant)>,
        latencies: &mut Latencies,
    ) -> Result<(), String> {
        while let Some((xid, path, at)) = under_way.pop_front() {
            let reply = self.reply(session, xid)?;
            latencies.record(at.elapsed().as_nanos() as u64);
            let answer = reply.answer().map_err(|e| format!("{path}: {e}"))?;
            self.check(what, &path, &answer)?;
            self.ping()?;
        }
        Ok(())
    }

    /// One line as zk-latencies prints it.
    fn report(&mut self, label: &str, count: u64, took: Duration, each: Option<&Latencies>) {
        let ms = took.as_secs_f64() * 1000.0;
        let whole = ms as u64;
        let line = if whole == 0 {
            format!("{label} in {whole:6} ms (included in prior)")
        } else {
            let (per, rate) = (ms / count as f64, count as f64 / (ms / 1000.0));
            format!("{label} in {whole:6} ms ({per:.6} ms/op {rate:.6}/sec)")
        };
        self.say(&line);
        if let Some(each) = each {
            self.say(&format!("        {}", each.line()));
        }
        let phase = label.split_whitespace().collect::<Vec<_>>();
        let name: Vec<&str> =
            phase.into_iter().filter(|word| word.parse::<u64>().is_err()).collect();
        self.phases.push(Json::Object(vec![
            ("phase", Json::text(name.join(" "))),
            ("operations", Json::Whole(count)),
            ("ms", Json::Real(ms)),
            ("latency_us", each.map_or(Json::Null, Latencies::json)),
        ]));
    }

    fn server(&mut self, session: usize) -> Result<(), String> {
        let (count, watches) = (self.count, self.count * self.multiple);
        self.events = 0;
        let create = What::Create;
        let permanent = |word: &str| format!("{word:7} {count:7} permanent znodes ");
        let ephemeral = |word: &str| format!("{word:7} {count:7} ephemeral znodes ");
        let plain = |word: &str, n: u64| format!("{word:7} {n:7}           znodes ");
        self.phase(session, create(CreateMode::Persistent), &permanent("created"))?;
        self.phase(session, What::Set, &plain("set", count))?;
        self.phase(session, What::Get, &plain("get", count))?;
        self.phase(session, What::Delete, &permanent("deleted"))?;
        self.phase(session, create(CreateMode::Ephemeral), &ephemeral("created"))?;
        self.phase(session, What::Watch, &plain("watched", watches))?;
        self.phase(session, What::Delete, &ephemeral("deleted"))?;
        let began = Instant::now();
        // A session is told once of a node, however often it watches it.
        while self.events < count {
            let message = self.sessions[session].receive(began + PATIENCE);
            match message.map_err(|e| format!("{} of {count} events: {e}", self.events))? {
                Message::Event(event) => self.on_event(event.kind)?,
                Message::Pong => {}
                Message::Reply(reply) => return Err(format!("nobody asked {:?}", reply.xid)),
            }
        }
        let label = format!("notif   {watches:7}           watches");
        self.report(&label, watches, began.elapsed(), None);
        Ok(())
    }

    /// The root must be new, or may be emptied.
    fn begin(&mut self, force: bool) -> Result<(), String> {
        let root = self.root.clone();
        let made = self.call(&Call::Create(NewNode::persistent(&root, b"made by zkbench")))?;
        match made {
            Ok(_) => return Ok(()),
            Err(ErrorCode::NodeExists) if force => {}
            Err(ErrorCode::NodeExists) => return Err(format!("Node {root} already exists!")),
            Err(code) => return Err(format!("{root}: {code:?}")),
        }
        let children = self.call(&Call::GetChildren { path: &root, watch: false })?;
        let Ok(Answer::Paths(names)) = children else { return Err(format!("{root}: no children")) };
        for name in names {
            let path = format!("{root}/{name}");
            let gone = self.call(&Call::Delete { path: &path, version: -1 })?;
            gone.map_err(|code| format!("{path}: {code:?}"))?;
        }
        Ok(())
    }

    fn run(&mut self, force: bool) -> Result<String, String> {
        self.begin(force)?;
        // The public tool spells one of the two so.
        let kind = if self.synchronous { "syncronous" } else { "asynchronous" };
        let mut servers = Vec::new();
        for session in 0..self.sessions.len() {
            let name = self.names[session].clone();
            self.say(&format!("Testing latencies on server {name} using {kind} calls"));
            self.server(session).map_err(|why| format!("{name}: {why}"))?;
            let phases = std::mem::take(&mut self.phases);
            servers.push(Json::Object(vec![
                ("address", Json::text(name)),
                ("phases", Json::List(phases)),
            ]));
        }
        let root = self.root.clone();
        let gone = self.call(&Call::Delete { path: &root, version: -1 })?;
        gone.map_err(|code| format!("{root}: {code:?}"))?;
        if self.as_json {
            let synchronous = Json::Whole(self.synchronous.into());
            return Ok(format!(
                "{}\n",
                Json::Object(vec![
                    ("command", Json::text("latencies")),
                    ("znode_count", Json::Whole(self.count)),
                    ("znode_size", Json::Whole(self.data.len() as u64)),
                    ("synchronous", synchronous),
                    ("transport", Json::text("tcp")),
                    ("servers", Json::List(servers)),
                ])
            ));
        }
        Ok("Latency test complete\n".to_owned())
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let mut test = Test::read(&m)?;
    if m.opt_present("verbose") {
        let line = format!("{} sessions, timeout {:?}", test.sessions.len(), test.timeout);
        test.say(&line);
    }
    let text = test.run(m.opt_present("force"))?;
    for session in &mut test.sessions {
        session.queue(&Call::CloseSession);
        session.flush(PATIENCE).map_err(|e| e.to_string())?;
    }
    Ok(text)
}
