//! The phases of `zkbench latencies`: sessions that take their turns, one call after another or
//! all at once, each answer checked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use zkd::base::Xid;
use zkd::client::{Answer, Call, Connection, Message, NewNode};
use zkd::proto::{CreateMode, ErrorCode, EventKind};

use super::accounting::Reading;
use super::figures::{Latencies, Stretch};

pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq)]
enum What {
    Create(CreateMode),
    Set,
    Get,
    Delete,
    Watch,
}

/// What one phase came to.
pub struct Phase {
    pub name: String,
    pub figures: Stretch,
}

pub struct Test {
    pub sessions: Vec<Connection>,
    pub timeout: Duration,
    pub root: String,
    pub data: Vec<u8>,
    pub count: u64,
    /// Watches on each node.
    pub multiple: u64,
    pub synchronous: bool,
    pub is_silent: bool,
    pub events: u64,
    pub last_ping: Instant,
}

impl Test {
    /// A line, at once: a run takes a while.
    pub fn say(&self, line: &str) {
        if !self.is_silent {
            println!("{line}");
        }
    }

    fn child(&self, n: u64) -> String {
        format!("{}/session_{n}", self.root)
    }

    /// One call whose answer matters by itself.
    fn call(
        &mut self,
        session: usize,
        call: &Call<'_>,
    ) -> Result<Result<Answer, ErrorCode>, String> {
        let xid = self.sessions[session].queue(call);
        self.sessions[session].flush(PATIENCE).map_err(|e| e.to_string())?;
        let reply = self.reply(session, xid)?;
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

    fn phase(&mut self, session: usize, what: What, label: &str) -> Result<Phase, String> {
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
        Ok(self.report(label, total, began.elapsed(), latencies))
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
    fn report(&self, label: &str, count: u64, took: Duration, latencies: Latencies) -> Phase {
        let ms = took.as_secs_f64() * 1000.0;
        let whole = ms as u64;
        let line = if whole == 0 {
            format!("{label} in {whole:6} ms (included in prior)")
        } else {
            let (per, rate) = (ms / count as f64, count as f64 / (ms / 1000.0));
            format!("{label} in {whole:6} ms ({per:.6} ms/op {rate:.6}/sec)")
        };
        self.say(&line);
        if latencies.count() > 0 {
            self.say(&format!("        {}", latencies.line()));
        }
        let words = label.split_whitespace().filter(|word| word.parse::<u64>().is_err());
        let name = words.collect::<Vec<_>>().join(" ");
        let used = Reading::default();
        let seconds = took.as_secs_f64();
        let figures = Stretch { operations: count, seconds, latencies, used, ..Stretch::nothing() };
        Phase { name, figures }
    }

    /// All phases, by one of the sessions.
    pub fn phases(&mut self, session: usize) -> Result<Vec<Phase>, String> {
        let (count, watches) = (self.count, self.count * self.multiple);
        self.events = 0;
        let permanent = |word: &str| format!("{word:7} {count:7} permanent znodes ");
        let ephemeral = |word: &str| format!("{word:7} {count:7} ephemeral znodes ");
        let plain = |word: &str, n: u64| format!("{word:7} {n:7}           znodes ");
        let plan = [
            (What::Create(CreateMode::Persistent), permanent("created")),
            (What::Set, plain("set", count)),
            (What::Get, plain("get", count)),
            (What::Delete, permanent("deleted")),
            (What::Create(CreateMode::Ephemeral), ephemeral("created")),
            (What::Watch, plain("watched", watches)),
            (What::Delete, ephemeral("deleted")),
        ];
        let mut phases = Vec::new();
        for (what, label) in plan {
            phases.push(self.phase(session, what, &label)?);
        }
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
        phases.push(self.report(&label, watches, began.elapsed(), Latencies::new()));
        Ok(phases)
    }

    /// The root must be new, or may be emptied.
    pub fn begin(&mut self, session: usize, force: bool) -> Result<(), String> {
        let root = self.root.clone();
        let made =
            self.call(session, &Call::Create(NewNode::persistent(&root, b"made by zkbench")))?;
        match made {
            Ok(_) => return Ok(()),
            Err(ErrorCode::NodeExists) if force => {}
            Err(ErrorCode::NodeExists) => return Err(format!("Node {root} already exists!")),
            Err(code) => return Err(format!("{root}: {code:?}")),
        }
        let children = self.call(session, &Call::GetChildren { path: &root, watch: false })?;
        let Ok(Answer::Paths(names)) = children else { return Err(format!("{root}: no children")) };
        for name in names {
            let path = format!("{root}/{name}");
            let gone = self.call(session, &Call::Delete { path: &path, version: -1 })?;
            gone.map_err(|code| format!("{path}: {code:?}"))?;
        }
        Ok(())
    }

    /// Removes the root again.
    pub fn end(&mut self, session: usize) -> Result<(), String> {
        let root = self.root.clone();
        let gone = self.call(session, &Call::Delete { path: &root, version: -1 })?;
        gone.map_err(|code| format!("{root}: {code:?}")).map(drop)
    }

    pub fn close(&mut self) -> Result<(), String> {
        for session in &mut self.sessions {
            session.queue(&Call::CloseSession);
            session.flush(PATIENCE).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
