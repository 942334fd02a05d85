//! `zkbench connects`: new connections at a fixed rate, each with all its handshakes, a session of
//! its own and that session's end.

use std::time::{Duration, Instant};

use getopts::{Matches, Options};
use mio::{Events, Poll, Token};
use slab::Slab;

use super::accounting::Reading;
use super::compare::{self, Stretches};
use super::engine::Until;
use super::figures::Stretch;
use super::json::Json;
use super::link::MAX_REPLY;
use super::options::{self, Stop};
use super::server::{self, PATIENCE, Server};
use super::ticker::{Slots, Ticker};
use super::visit::Visit;

const USAGE: &str = "Usage: zkbench connects [options]

Opens so many new connections a second, whatever becomes of those before: each connects, makes the
whole handshake of TLS where that is asked for (none is resumed), opens a session, proves its user
where one is named, closes the session and waits for the server to end the connection. Latency
counts from the slot's time until the session is open and its user proved; slots over a second late
are missed. A connection that fails ends the run with status 1. One thread.";

/// More at once is a server that does not keep up: slots wait then, and are missed.
const AT_ONCE: usize = 4096;

const TICK: Token = Token(usize::MAX);

fn known() -> Options {
    let mut o = options::common();
    server::know_servers(&mut o);
    o.optopt("", "rate", "new connections a second (500)", "N");
    o.optopt("", "seconds", "the longest that one stretch takes (10)", "N");
    o.optopt("", "count", "connections of one stretch at most (no limit)", "N");
    o.optopt("", "pairs", "stretches of each server, in turn (1; 5 with --against)", "N");
    o.optopt("", "timeout", "session timeout in seconds (30)", "N");
    o
}

struct Connects {
    targets: Vec<Server>,
    rate: f64,
    until: Until,
    pairs: u32,
    timeout: Duration,
}

/// The connections that are under way.
struct Visits<'a> {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    server: &'a Server,
    all: Slab<Visit>,
    begun: u64,
    origin: Instant,
    /// When any of them went on last.
    heard: u64,
    /// When the last session of the stretch was open.
    last: u64,
    stretch: Stretch,
}

impl Connects {
    fn read(m: &Matches) -> Result<Connects, String> {
        let targets = server::servers(m)?;
        Ok(Connects {
            rate: options::number(m, "rate", 500.0, 0.001, 1_000_000.0)?,
            until: Until {
                operations: options::number(m, "count", u64::MAX, 1, u64::MAX)?,
                time: options::seconds(m, "seconds", 10.0)?,
            },
            pairs: server::pairs(m, "pairs", targets.len())?,
            timeout: options::seconds(m, "timeout", 30.0)?,
            targets,
        })
    }

    fn measure(&self) -> Result<Stretches, String> {
        compare::in_turn(&self.targets, self.pairs, |n| self.stretch(&self.targets[n]))
    }

    fn stretch(&self, server: &Server) -> Result<Stretch, String> {
        let before = Reading::take(&server.pids)?;
        let mut visits = Visits::new(server)?;
        let until_ns = self.until.time.as_nanos().min(u64::MAX as u128) as u64;
        let mut slots = Slots::new(self.rate, 0, until_ns, self.until.operations);
        let ticker = Ticker::start(visits.poll.registry(), TICK, &slots)?;
        loop {
            let now = visits.now();
            slots.look(now);
            while visits.all.len() < AT_ONCE {
                let Some(at) = slots.next(now) else { break };
                visits.begin(at, self.timeout)?;
            }
            if slots.is_over(now) && visits.all.is_empty() {
                break;
            }
            visits.wait()?;
            ticker.clear();
        }
        let mut stretch = visits.stretch;
        stretch.operations = stretch.latencies.count();
        stretch.seconds = visits.last.max(1) as f64 / 1e9;
        (stretch.late, stretch.missed) = (slots.late, slots.missed);
        stretch.used = Reading::take(&server.pids)?.since(before);
        Ok(stretch)
    }

    fn json(&self, stretches: &Stretches) -> Json {
        let mut fields = vec![
            ("command", Json::text("connects")),
            ("rate", Json::Real(self.rate)),
            ("pairs", Json::Whole(self.pairs.into())),
            ("transport", Json::text(self.targets[0].transport())),
        ];
        fields.extend(compare::json(&self.targets, stretches));
        Json::Object(fields)
    }
}

impl<'a> Visits<'a> {
    fn new(server: &'a Server) -> Result<Visits<'a>, String> {
        Ok(Visits {
            poll: Poll::new().map_err(|e| format!("a poll: {e}"))?,
            events: Events::with_capacity(1024),
            scratch: vec![0; 2 * MAX_REPLY],
            server,
            all: Slab::new(),
            begun: 0,
            origin: Instant::now(),
            heard: 0,
            last: 0,
            stretch: Stretch::nothing(),
        })
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn begin(&mut self, at: u64, timeout: Duration) -> Result<(), String> {
        let mut visit = Visit::begin(self.server.of(self.begun), self.begun, at, timeout)?;
        let place = self.all.vacant_entry();
        visit.link.register(self.poll.registry(), Token(place.key()))?;
        place.insert(visit);
        if self.all.len() == 1 {
            self.heard = self.now();
        }
        self.begun += 1;
        Ok(())
    }

    fn wait(&mut self) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(100))) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("waiting: {e}"));
            }
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(index) = event.token();
            // The ticker has no place here; a visit may be over since its event came.
            let Some(visit) = self.all.get_mut(index) else { continue };
            let was_open = visit.is_open();
            let is_over = visit.on_ready(self.server, &mut self.scratch)?;
            let now = self.now();
            if !was_open && self.all[index].is_open() {
                self.stretch.latencies.record(now.saturating_sub(self.all[index].at));
                self.last = now;
            }
            self.heard = now;
            if is_over {
                self.all.remove(index);
            }
        }
        self.events = events;
        if !self.all.is_empty() && self.now() - self.heard > PATIENCE.as_nanos() as u64 {
            let count = self.all.len();
            return Err(format!("{count} connections without a sign for {PATIENCE:?}"));
        }
        Ok(())
    }
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let connects = Connects::read(&m)?;
    let stretches = connects.measure()?;
    if m.opt_present("json") {
        return Ok(format!("{}\n", connects.json(&stretches)));
    }
    let transport = connects.targets[0].transport();
    let head = format!("connects: {}/s, {transport}\n", connects.rate);
    Ok(head + &compare::text(&connects.targets, &stretches, true))
}
