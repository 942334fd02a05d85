//! Many sessions that do little: each watches nodes, hears of them, and stays alive.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use zkd::base::Xid;
use zkd::client::Call;
use zkd::proto::{Reader, ReplyHeader, cut};

use super::link::{Link, MAX_REPLY, Opened, put};
use super::server::Server;

/// Requests of one member under way at once.
const AT_ONCE: u64 = 200;

/// Nothing at all from any of them for so long is a failure.
const SILENCE: Duration = Duration::from_secs(60);

struct Member {
    link: Link,
    last_xid: i32,
    /// Replies still due, pongs not counted.
    due: u64,
    timeout: Duration,
    last_sent: Instant,
    pongs_due: u64,
}

pub struct Crowd {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    members: Vec<Member>,
    last_heard: Instant,
}

/// What a member got.
pub enum Heard<'a> {
    Reply,
    Event { kind: i32, path: &'a [u8] },
}

impl Crowd {
    pub fn open(server: &Server, count: u64, timeout: Duration) -> Result<Crowd, String> {
        let poll = Poll::new().map_err(|e| format!("a poll: {e}"))?;
        let mut crowd = Crowd {
            poll,
            events: Events::with_capacity(1024),
            scratch: vec![0; 2 * MAX_REPLY],
            members: Vec::new(),
            last_heard: Instant::now(),
        };
        let mut looked = Instant::now();
        for n in 0..count {
            let Opened { mut link, timeout, last_xid } = Link::open(server.of(n), timeout)
                .map_err(|why| format!("session {n} of {count}: {why}"))?;
            link.register(crowd.poll.registry(), Token(crowd.members.len()))?;
            crowd.members.push(Member {
                link,
                last_xid,
                due: 0,
                timeout,
                last_sent: Instant::now(),
                pongs_due: 0,
            });
            if looked.elapsed() > Duration::from_secs(1) {
                looked = Instant::now();
                crowd.wait(Duration::ZERO, &mut |_, _| Ok(()))?;
            }
        }
        Ok(crowd)
    }

    pub fn due(&self) -> u64 {
        self.members.iter().map(|m| m.due).sum()
    }

    /// Queues a call of one member; `flush` sends it.
    pub fn queue(&mut self, member: usize, call: &Call<'_>) {
        let m = &mut self.members[member];
        m.last_xid += 1;
        m.due += 1;
        m.last_sent = Instant::now();
        let xid = Xid(m.last_xid);
        put(&mut m.link, xid, call);
    }

    pub fn flush(&mut self, member: usize) -> Result<(), String> {
        self.members[member].link.flush().map_err(|why| format!("session {member}: {why}"))
    }

    /// The first `watchers` members each watch that many nodes, one-shot.
    pub fn watch(
        &mut self,
        nodes: u64,
        path: &dyn Fn(u64) -> String,
        watchers: usize,
    ) -> Result<(), String> {
        let mut asked = vec![0; watchers];
        loop {
            let mut open = false;
            for (member, asked) in asked.iter_mut().enumerate() {
                while *asked < nodes && self.members[member].due < AT_ONCE {
                    self.queue(member, &Call::Exists { path: &path(*asked), watch: true });
                    *asked += 1;
                }
                open |= *asked < nodes;
                self.flush(member)?;
            }
            if !open && self.due() == 0 {
                return Ok(());
            }
            self.wait(Duration::from_millis(200), &mut |member, heard| match heard {
                Heard::Reply => Ok(()),
                Heard::Event { .. } => Err(format!("session {member}: an event too early")),
            })?;
        }
    }

    /// Waits once, and hands over what every member got. A reply that is out of order or an error
    /// ends it.
    pub fn wait(
        &mut self,
        longest: Duration,
        on_heard: &mut dyn FnMut(usize, Heard<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(longest)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("waiting: {e}"));
            }
            _ => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(member) = event.token();
            let m = &mut self.members[member];
            let told = |why: String| format!("session {member}: {why}");
            m.link.flush().map_err(told)?;
            if !event.is_readable() {
                continue;
            }
            self.last_heard = Instant::now();
            loop {
                let got = m.link.read(&mut self.scratch).map_err(told)?;
                let rest = take(member, m, &self.scratch[..got.bytes], on_heard).map_err(told)?;
                m.link.keep(&self.scratch[rest..got.bytes]);
                if got.drained {
                    break;
                }
            }
        }
        self.events = events;
        if self.due() > 0 && self.last_heard.elapsed() > SILENCE {
            return Err(format!("no reply for {SILENCE:?}"));
        }
        self.keep_alive(3)
    }

    /// Keeps everybody alive while another is measured.
    pub fn idle(&mut self) -> Result<(), String> {
        self.wait(Duration::ZERO, &mut |member, _| {
            Err(format!("session {member}: something it never asked for"))
        })
    }

    /// Pings every member that was silent for so large a part of its timeout.
    fn keep_alive(&mut self, part: u32) -> Result<(), String> {
        for (member, m) in self.members.iter_mut().enumerate() {
            if m.last_sent.elapsed() < m.timeout / part {
                continue;
            }
            m.last_sent = Instant::now();
            m.pongs_due += 1;
            put(&mut m.link, Xid::PING, &Call::Ping);
            m.link.flush().map_err(|why| format!("session {member}: {why}"))?;
        }
        Ok(())
    }

    /// Whether every member still has its session: each pings and is answered.
    pub fn check(&mut self) -> Result<(), String> {
        self.keep_alive(u32::MAX)?;
        let began = Instant::now();
        while self.members.iter().any(|m| m.pongs_due > 0) {
            if began.elapsed() > SILENCE {
                return Err(format!("a ping without an answer for {SILENCE:?}"));
            }
            self.wait(Duration::from_millis(100), &mut |_, _| Ok(()))?;
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(|m| m.link.leave());
    }
}

/// Takes the whole frames; gives where the rest begins.
fn take(
    member: usize,
    m: &mut Member,
    bytes: &[u8],
    on_heard: &mut dyn FnMut(usize, Heard<'_>) -> Result<(), String>,
) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let cut = cut(&bytes[at..], MAX_REPLY).map_err(|e| format!("a frame: {e:?}"))?;
        let Some((frame, taken)) = cut else { return Ok(at) };
        at += taken;
        let mut r = Reader::new(frame);
        let told = |e| format!("a reply that cannot be read: {e:?}");
        let header = ReplyHeader::read(&mut r).map_err(told)?;
        match header.xid {
            Xid::PING => m.pongs_due = m.pongs_due.saturating_sub(1),
            Xid::NOTIFICATION => {
                let (kind, _state) = (r.i32().map_err(told)?, r.i32().map_err(told)?);
                let path = r.buffer().map_err(told)?.unwrap_or_default();
                on_heard(member, Heard::Event { kind, path })?;
            }
            Xid(xid) => {
                let expected = m.last_xid - m.due as i32 + 1;
                if m.due == 0 || xid != expected || header.err != 0 {
                    let err = header.err;
                    return Err(format!("reply {xid} with code {err} where {expected} is due"));
                }
                m.due -= 1;
                on_heard(member, Heard::Reply)?;
            }
        }
    }
}
