//! The one loop that loads a server: sessions without a thread of their own, each with its
//! requests under way, in a closed loop or at a fixed rate.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use zkd::base::Rng;
use zkd::client::Tls;
use zkd::proto::{OpCode, cut};

use super::accounting::Reading;
use super::figures::Stretch;
use super::judge::{Asked, Seen, Wrong, judge};
use super::link::{Link, MAX_REPLY, Opened};
use super::server::Server;
use super::ticker::{Slots, Ticker};
use super::traffic::{Op, Traffic};

/// Room for one read and a frame left over from the one before.
const SCRATCH: usize = 2 * MAX_REPLY;

/// A server that answers nothing for so long has failed the run.
const SILENCE: Duration = Duration::from_secs(60);

/// Between two looks at who is idle or gets no answer.
const LOOK_NS: u64 = 200_000_000;

const TICK: Token = Token(usize::MAX);

/// Whose requests.
pub struct Session {
    link: Link,
    /// Its number among the sessions of its target.
    number: u64,
    target: usize,
    last_xid: i32,
    under_way: VecDeque<Asked>,
    seen: Seen,
    /// Nodes it created: the next one's number, and the oldest that is not deleted.
    next_node: u64,
    oldest_node: u64,
    /// None for the echo server.
    timeout: Option<Duration>,
    last_sent: u64,
}

impl Session {
    /// Nodes that it created and did not delete.
    pub fn nodes(&self) -> std::ops::Range<u64> {
        self.oldest_node..self.next_node
    }
}

/// How long a stretch lasts: whatever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    pub operations: u64,
    pub time: Duration,
}

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub depth: usize,
    /// Operations a second, whatever the replies do.
    pub rate: Option<f64>,
}

pub struct Engine<'a> {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    pub sessions: Vec<Session>,
    targets: Vec<&'a Traffic>,
    rng: Rng,
    origin: Instant,
    pace: Pace,
    /// When idle and silent sessions are looked for next.
    next_look: u64,
}

/// One stretch under way.
struct Course {
    target: usize,
    to_send: u64,
    until_ns: u64,
    stretch: Stretch,
    first: u64,
    last: u64,
    next_session: usize,
}

impl<'a> Engine<'a> {
    pub fn new(seed: u64, pace: Pace) -> Result<Engine<'a>, String> {
        Ok(Engine {
            poll: Poll::new().map_err(|e| format!("a poll: {e}"))?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH],
            sessions: Vec::new(),
            targets: Vec::new(),
            rng: Rng::new(seed),
            origin: Instant::now(),
            pace,
            next_look: 0,
        })
    }

    /// Adds a target with its sessions.
    pub fn add(
        &mut self,
        server: &Server,
        traffic: &'a Traffic,
        sessions: u64,
        timeout: Duration,
    ) -> Result<(), String> {
        self.add_links(traffic, sessions, |number| {
            let opened = Link::open(server.of(number), timeout)?;
            let Opened { link, timeout, last_xid } = opened;
            Ok((link, Some(timeout), last_xid))
        })
    }

    /// Adds an echo server, which knows no sessions.
    pub fn add_echo(
        &mut self,
        address: SocketAddr,
        tls: Option<&Tls>,
        traffic: &'a Traffic,
        links: u64,
    ) -> Result<(), String> {
        self.add_links(traffic, links, |_| Ok((Link::dial(address, tls)?, None, 0)))
    }

    fn add_links(
        &mut self,
        traffic: &'a Traffic,
        count: u64,
        open: impl Fn(u64) -> Result<(Link, Option<Duration>, i32), String>,
    ) -> Result<(), String> {
        let target = self.targets.len();
        self.targets.push(traffic);
        for number in 0..count {
            let (mut link, timeout, last_xid) = open(number)?;
            link.register(self.poll.registry(), Token(self.sessions.len()))?;
            self.sessions.push(Session {
                link,
                number,
                target,
                last_xid,
                under_way: VecDeque::new(),
                seen: Seen::default(),
                next_node: 0,
                oldest_node: 0,
                timeout,
                last_sent: self.now(),
            });
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Loads one target for a stretch and waits for its last reply; the others' sessions are
    /// kept alive meanwhile.
    pub fn run(&mut self, target: usize, until: Until, servers: &[u32]) -> Result<Stretch, String> {
        let before = Reading::take(servers)?;
        let first = self.now();
        let mut course = Course {
            target,
            to_send: until.operations,
            until_ns: first.saturating_add(until.time.as_nanos().min(u64::MAX as u128) as u64),
            stretch: Stretch::nothing(),
            first,
            last: first,
            next_session: 0,
        };
        match self.pace.rate {
            None => self.fill_all(&mut course)?,
            Some(rate) => {
                let slots = Slots::new(rate, first, course.until_ns, course.to_send);
                return self.run_at(slots, course, before, servers);
            }
        }
        while self.under_way(target) > 0 {
            self.wait(Duration::from_millis(500), &mut course)?;
        }
        Self::finish(course, before, servers)
    }

    fn finish(mut course: Course, before: Reading, servers: &[u32]) -> Result<Stretch, String> {
        course.stretch.operations = course.stretch.latencies.count();
        course.stretch.seconds = (course.last - course.first).max(1) as f64 / 1e9;
        course.stretch.used = Reading::take(servers)?.since(before);
        Ok(course.stretch)
    }

    fn under_way(&self, target: usize) -> usize {
        self.sessions.iter().filter(|s| s.target == target).map(|s| s.under_way.len()).sum()
    }

    fn fill_all(&mut self, course: &mut Course) -> Result<(), String> {
        let now = self.now();
        for index in 0..self.sessions.len() {
            if self.sessions[index].target == course.target {
                self.fill(index, now, course);
                self.sessions[index].link.flush()?;
            }
        }
        Ok(())
    }

    /// Closed loop: as many requests as the depth allows.
    fn fill(&mut self, index: usize, now: u64, course: &mut Course) {
        if now >= course.until_ns {
            course.to_send = 0;
        }
        while course.to_send > 0 && self.sessions[index].under_way.len() < self.pace.depth {
            course.to_send -= 1;
            self.ask(index, now, now);
        }
    }

    /// Queues one request.
    fn ask(&mut self, index: usize, at: u64, now: u64) {
        let session = &mut self.sessions[index];
        let traffic = self.targets[session.target];
        let mut op = traffic.mix.pick(&mut self.rng);
        if op == Op::Delete && session.nodes().is_empty() {
            op = Op::Create;
        }
        let number = match op {
            Op::Create => {
                session.next_node += 1;
                session.next_node - 1
            }
            Op::Delete => {
                session.oldest_node += 1;
                session.oldest_node - 1
            }
            Op::Get | Op::Set | Op::Exists => self.rng.below(traffic.keys),
            Op::Echo => 0,
        };
        session.last_xid = session.last_xid.checked_add(1).unwrap_or(1);
        let xid = session.last_xid;
        traffic.append(session.link.output(), xid, op, session.number, number);
        session.under_way.push_back(Asked { xid, op, number, at });
        session.last_sent = now;
    }

    /// Waits for what comes, judges it, and asks again.
    fn wait(&mut self, longest: Duration, course: &mut Course) -> Result<(), String> {
        if let Err(e) = self.poll.poll(&mut self.events, Some(longest)) {
            if e.kind() != std::io::ErrorKind::Interrupted {
                return Err(format!("waiting: {e}"));
            }
            return Ok(());
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut outcome = Ok(());
        for event in &events {
            let Token(index) = event.token();
            if event.token() == TICK || outcome.is_err() {
                continue;
            }
            if event.is_readable() {
                outcome = self.take(index, course);
            }
            if outcome.is_ok() {
                outcome = self.sessions[index].link.flush();
            }
        }
        self.events = events;
        outcome?;
        let now = self.now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK_NS;
        self.keep_alive()?;
        self.check_silence()
    }

    /// Reads all that a session got.
    fn take(&mut self, index: usize, course: &mut Course) -> Result<(), String> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = loop {
            let got = match self.sessions[index].link.read(&mut scratch) {
                Ok(got) => got,
                Err(why) => break Err(why),
            };
            let now = self.now();
            if let Err(why) = self.replies(index, &scratch[..got.bytes], now, course) {
                break Err(why);
            }
            if self.sessions[index].target == course.target && self.pace.rate.is_none() {
                self.fill(index, now, course);
            }
            if got.drained {
                break Ok(());
            }
        };
        self.scratch = scratch;
        outcome.map_err(|why| format!("session {}: {why}", self.sessions[index].number))
    }

    fn replies(
        &mut self,
        index: usize,
        bytes: &[u8],
        now: u64,
        course: &mut Course,
    ) -> Result<(), String> {
        let session = &mut self.sessions[index];
        let traffic = self.targets[session.target];
        let mut at = 0;
        loop {
            let cut = cut(&bytes[at..], MAX_REPLY).map_err(|e| format!("a frame: {e:?}"))?;
            let Some((frame, taken)) = cut else { break };
            at += taken;
            if traffic_free(frame) {
                continue;
            }
            let asked = session.under_way.pop_front().ok_or_else(|| unasked(frame).to_string())?;
            judge(traffic, session.number, &asked, &mut session.seen, frame)
                .map_err(|wrong| format!("{:?} {}: {wrong}", asked.op, asked.number))?;
            course.stretch.latencies.record(now.saturating_sub(asked.at));
            course.last = now;
        }
        session.link.keep(&bytes[at..]);
        Ok(())
    }

    /// Pings whoever has said nothing for a third of its timeout.
    fn keep_alive(&mut self) -> Result<(), String> {
        let now = self.now();
        for session in &mut self.sessions {
            let Some(timeout) = session.timeout else { continue };
            if now.saturating_sub(session.last_sent) < timeout.as_nanos() as u64 / 3 {
                continue;
            }
            let out = session.link.output();
            out.extend_from_slice(&8i32.to_be_bytes());
            out.extend_from_slice(&(-2i32).to_be_bytes());
            out.extend_from_slice(&OpCode::Ping.number().to_be_bytes());
            session.last_sent = now;
            session.link.flush()?;
        }
        Ok(())
    }

    fn check_silence(&self) -> Result<(), String> {
        let now = self.now();
        let silent = |s: &&Session| {
            s.under_way
                .front()
                .is_some_and(|a| now.saturating_sub(a.at) > SILENCE.as_nanos() as u64)
        };
        match self.sessions.iter().find(silent) {
            None => Ok(()),
            Some(s) => Err(format!("session {}: no reply for {SILENCE:?}", s.number)),
        }
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.sessions.iter_mut().filter(|s| s.timeout.is_some()).for_each(|s| s.link.leave());
    }
}

/// Pongs answer no request of the run.
fn traffic_free(frame: &[u8]) -> bool {
    frame.starts_with(&(-2i32).to_be_bytes())
}

fn unasked(frame: &[u8]) -> Wrong {
    let xid = frame.first_chunk::<4>().map_or(0, |xid| i32::from_be_bytes(*xid));
    Wrong::Unasked { xid }
}

impl Engine<'_> {
    /// Open loop: the latency of a request counts from its slot's time on.
    fn run_at(
        &mut self,
        mut slots: Slots,
        mut course: Course,
        before: Reading,
        servers: &[u32],
    ) -> Result<Stretch, String> {
        let ticker = Ticker::start(self.poll.registry(), TICK, &slots)?;
        loop {
            let now = self.now();
            self.send_due(now, &mut slots, &mut course)?;
            if slots.is_over(now) && self.under_way(course.target) == 0 {
                break;
            }
            self.wait(Duration::from_millis(100), &mut course)?;
            ticker.clear();
        }
        ticker.stop(self.poll.registry())?;
        (course.stretch.late, course.stretch.missed) = (slots.late, slots.missed);
        Self::finish(course, before, servers)
    }

    /// Sends every due slot that finds a session with room.
    fn send_due(&mut self, now: u64, slots: &mut Slots, course: &mut Course) -> Result<(), String> {
        slots.look(now);
        let count = self.sessions.len();
        let mut touched = Vec::new();
        while slots.is_due() {
            let has_room = |index: &usize| {
                let session = &self.sessions[*index];
                session.target == course.target && session.under_way.len() < self.pace.depth
            };
            let turn = (0..count).map(|n| (course.next_session + n) % count).find(has_room);
            let Some(index) = turn else { break };
            let Some(at) = slots.next(now) else { break };
            course.next_session = index + 1;
            self.ask(index, at, now);
            touched.push(index);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|index| self.sessions[index].link.flush())
    }
}
