//! `zkbench failover`: writes at a fixed rate by sessions that go to the next server when they lose
//! theirs: when which write was acknowledged, and how long who was away.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use getopts::{Matches, Options};
use mio::{Events, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use zkd::client::Answer;

use super::json::Json;
use super::link::MAX_REPLY;
use super::options::{self, Stop};
use super::place;
use super::server::{self, Security, Server, explained};
use super::ticker::{Slots, Ticker};
use super::traffic::{Mix, Op, Traffic};
use super::wanderer::{News, Wanderer};

const USAGE: &str = "Usage: zkbench failover --server HOST:PORT,... [options]

Sessions are spread over the servers and write at a fixed rate, one after the other. Who loses its
server dials the next one, again and again, and takes its session along. Once all are open it says
`ready` on a line of its own; whoever kills a server does so after that. At the end every node must
have had at least as many writes as were acknowledged. Times are of CLOCK_MONOTONIC, in
nanoseconds. A session that expires, or a reply that must not be, ends the run with status 1.";

/// Writes under way in one session; more slots than that are missed.
const DEPTH: usize = 64;
/// Connections that are opened at once before the run begins.
const OPENING: usize = 200;
/// All must be open in this time.
const OPENING_NS: u64 = 120_000_000_000;
/// Between two looks at who is stuck or has been silent.
const LOOK_NS: u64 = 100_000_000;
const MAX_KEYS: u64 = 1000;
const VALUE_BYTES: usize = 100;
const TICK: Token = Token(usize::MAX);

fn known() -> Options {
    let mut o = options::common();
    o.optopt("", "server", "the members that are dialled (127.0.0.1:2181)", "HOST:PORT,...");
    o.optopt("", "sessions", "(20)", "N");
    o.optopt("", "rate", "writes a second in all; 0: none (500)", "N");
    o.optopt("", "seconds", "how long (10)", "N");
    o.optopt("", "redial", "ms until who has lost its server dials the next one (10)", "N");
    o.optopt("", "timeout", "session timeout in seconds (30)", "N");
    o.optopt("", "root", "everything goes below this node (/zkbench-failover)", "PATH");
    server::know_security(&mut o);
    o.optflag("", "reuse", "take a root that exists");
    o
}

struct Failover {
    servers: Server,
    traffic: Traffic,
    sessions: u64,
    rate: f64,
    time: Duration,
    redial_ns: u64,
    timeout: Duration,
}

/// What came of it.
#[derive(Default)]
struct Told {
    /// When each was sent and acknowledged, in the order of the second.
    writes: Vec<(u64, u64)>,
    /// When a session was lost and was back.
    away: Vec<(u64, u64)>,
    /// Sessions that were not back at the end.
    absent: u64,
    missed: u64,
}

struct Run<'a> {
    plan: &'a Failover,
    poll: Poll,
    scratch: Vec<u8>,
    all: Vec<Wanderer>,
    next: usize,
    next_look: u64,
    acknowledged: Vec<u64>,
    news: Vec<News>,
    told: Told,
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Failover {
    fn read(m: &Matches) -> Result<Failover, String> {
        let name = m.opt_str("server").unwrap_or_else(|| "127.0.0.1:2181".to_owned());
        let servers = Security::read(m)?.server(&name, Vec::new())?;
        if servers.sasl.is_some() {
            return Err("--sasl: sessions that move are not proved here".to_owned());
        }
        let sessions = options::number(m, "sessions", 20, 1, 50_000)?;
        let redial_ms: u64 = options::number(m, "redial", 10, 1, 10_000)?;
        let root = options::root(m, "/zkbench-failover")?;
        Ok(Failover {
            servers,
            traffic: Traffic::new(&root, Mix::only(Op::Set), sessions.min(MAX_KEYS), VALUE_BYTES),
            sessions,
            rate: options::number(m, "rate", 500.0, 0.0, 1_000_000.0)?,
            time: options::seconds(m, "seconds", 10.0)?,
            redial_ns: redial_ms * 1_000_000,
            timeout: options::seconds(m, "timeout", 30.0)?,
        })
    }

    fn measure(&self, reuse: bool) -> Result<Told, String> {
        place::prepare(&self.servers, &self.traffic, 0, reuse)?;
        let mut run = Run {
            plan: self,
            poll: Poll::new().map_err(|e| format!("a poll: {e}"))?,
            scratch: vec![0; 2 * MAX_REPLY],
            all: (0..self.sessions).map(Wanderer::new).collect(),
            next: 0,
            next_look: 0,
            acknowledged: vec![0; self.traffic.keys as usize],
            news: Vec::new(),
            told: Told::default(),
        };
        run.open_all()?;
        println!("ready");
        std::io::stdout().flush().map_err(|e| format!("printing: {e}"))?;
        run.write()?;
        run.told.absent = run.all.iter().filter(|one| !one.is_open()).count() as u64;
        run.all.iter_mut().for_each(Wanderer::leave);
        self.check(&run.acknowledged)?;
        place::remove(self.standing(), &self.traffic, std::iter::empty())?;
        Ok(run.told)
    }

    /// A member that somebody listens at.
    fn standing(&self) -> &Server {
        let stands = |member: &&Server| TcpStream::connect(member.address).is_ok();
        self.servers.members().find(stands).unwrap_or(&self.servers)
    }

    /// What was acknowledged is there: each write has made its node's version higher.
    fn check(&self, acknowledged: &[u64]) -> Result<(), String> {
        let mut client = self.standing().client()?;
        client.sync(&self.traffic.root).map_err(|e| explained(&e))?;
        for (key, acknowledged) in acknowledged.iter().enumerate() {
            let path = self.traffic.key_path(key as u64);
            let call = zkd::client::Call::GetData { path: &path, watch: false };
            let answer = client.call(&call).map_err(|e| explained(&e))?;
            let Answer::Data { stat, .. } = answer else {
                return Err(format!("{path}: an answer to something else"));
            };
            if (stat.version as u64) < *acknowledged {
                let found = stat.version;
                return Err(format!("{path}: {found} writes of {acknowledged} that were answered"));
            }
        }
        Ok(())
    }
}

impl Run<'_> {
    fn open_all(&mut self) -> Result<(), String> {
        let (began, mut opened) = (now(), 0);
        while opened < self.all.len() {
            let batch = opened..(opened + OPENING).min(self.all.len());
            for index in batch.clone() {
                self.dial(index)?;
            }
            while !self.all[batch.clone()].iter().all(Wanderer::is_open) {
                if now() > began + OPENING_NS {
                    return Err("not all sessions could be opened within two minutes".to_owned());
                }
                self.wait(Duration::from_millis(5))?;
                self.redial()?;
            }
            opened = batch.end;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        let first = now();
        let until = first + self.plan.time.as_nanos() as u64;
        // Without writes the ticks are what wakes up those who dial.
        let rate = if self.plan.rate > 0.0 { self.plan.rate } else { 100.0 };
        let most = if self.plan.rate > 0.0 { u64::MAX } else { 0 };
        let mut slots = Slots::new(rate, first, until, most);
        let ticker = Ticker::start(self.poll.registry(), TICK, &slots)?;
        while now() < until {
            let at = now();
            slots.look(at);
            while slots.is_due() {
                let Some(index) = self.next_open() else { break };
                let Some(_) = slots.next(at) else { break };
                self.set(index)?;
            }
            self.wait(Duration::from_millis(5))?;
            self.redial()?;
            ticker.clear();
        }
        self.told.missed = slots.missed;
        ticker.stop(self.poll.registry())
    }

    /// The next session in turn that can take another write.
    fn next_open(&mut self) -> Option<usize> {
        let count = self.all.len();
        let has_room = |n: &usize| self.all[*n].is_open() && self.all[*n].under_way() < DEPTH;
        let index = (0..count).map(|n| (self.next + n) % count).find(has_room)?;
        self.next = index + 1;
        Some(index)
    }

    fn set(&mut self, index: usize) -> Result<(), String> {
        let traffic = &self.plan.traffic;
        let key = index as u64 % traffic.keys;
        let (path, value) = (traffic.key_path(key), traffic.value_of(key));
        self.all[index].set(&path, &value, now());
        self.go_on(index)
    }

    fn dial(&mut self, index: usize) -> Result<(), String> {
        let (plan, at) = (self.plan, now());
        let wanderer = &mut self.all[index];
        if !wanderer.dial(&plan.servers, at, plan.timeout) {
            wanderer.lose(at, plan.redial_ns);
            return Ok(());
        }
        match wanderer.link() {
            Some(link) => link.register(self.poll.registry(), Token(index)),
            None => Ok(()),
        }
    }

    /// Whoever has waited long enough dials; now and then who is stuck gives up, and who was
    /// silent pings.
    fn redial(&mut self) -> Result<(), String> {
        let at = now();
        for index in 0..self.all.len() {
            if self.all[index].is_to_dial(at) {
                self.dial(index)?;
            }
        }
        if at < self.next_look {
            return Ok(());
        }
        self.next_look = at + LOOK_NS;
        for index in 0..self.all.len() {
            if self.all[index].is_stuck(at) {
                self.all[index].lose(at, self.plan.redial_ns);
            }
            if self.all[index].is_open() {
                self.all[index].keep_alive(at);
                self.go_on(index)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self, longest: Duration) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(longest)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("waiting: {e}"));
            }
            _ => {}
        }
        for event in &events {
            if event.token() != TICK {
                self.go_on(event.token().0)?;
            }
        }
        Ok(())
    }

    fn go_on(&mut self, index: usize) -> Result<(), String> {
        let at = now();
        let wanderer = &mut self.all[index];
        if wanderer.on_ready(&mut self.scratch, at, &mut self.news)?.is_none() {
            wanderer.lose(at, self.plan.redial_ns);
        }
        for news in self.news.drain(..) {
            match news {
                News::Acknowledged { sent } => {
                    self.told.writes.push((sent, at));
                    self.acknowledged[index % self.plan.traffic.keys as usize] += 1;
                }
                News::Open { lost: Some(lost) } => self.told.away.push((lost, at)),
                News::Open { lost: None } => {}
            }
        }
        Ok(())
    }
}

impl Told {
    /// The longest time without an acknowledgement, and where it began.
    fn longest_gap(&self) -> (u64, u64) {
        let ends = self.writes.iter().map(|(_, at)| *at);
        let gaps = ends.clone().zip(ends.skip(1)).map(|(one, next)| (next - one, one));
        gaps.max().unwrap_or_default()
    }

    fn json(&self, plan: &Failover) -> Json {
        let pair =
            |(one, other): &(u64, u64)| Json::List(vec![Json::Whole(*one), Json::Whole(*other)]);
        Json::Object(vec![
            ("command", Json::text("failover")),
            ("sessions", Json::Whole(plan.sessions)),
            ("rate", Json::Real(plan.rate)),
            ("longest_gap_ns", Json::Whole(self.longest_gap().0)),
            ("missed", Json::Whole(self.missed)),
            ("absent", Json::Whole(self.absent)),
            ("away", Json::List(self.away.iter().map(pair).collect())),
            ("writes", Json::List(self.writes.iter().map(pair).collect())),
        ])
    }

    fn text(&self) -> String {
        let ms = |ns: u64| ns as f64 / 1e6;
        let longest = self.away.iter().map(|(lost, back)| back - lost).max().unwrap_or_default();
        format!(
            "{} writes acknowledged, {} slots missed\nlongest time without one: {:.1} ms\n\
             sessions that lost their server: {}, the longest for {:.1} ms; not back: {}\n",
            self.writes.len(),
            self.missed,
            ms(self.longest_gap().0),
            self.away.len(),
            ms(longest),
            self.absent
        )
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let plan = Failover::read(&m)?;
    let told = plan.measure(m.opt_present("reuse"))?;
    Ok(match m.opt_present("json") {
        true => format!("{}\n", told.json(&plan)),
        false => told.text(),
    })
}
