//! The sessions, a thread each, and what they came to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use zkd::base::{Xid, Zxid};
use zkd::client::{Answer, Call, Client, Error, NewNode, Part, PartAnswer, Settings};
use zkd::proto::{CreateMode, ErrorCode};

use crate::oracle::Notes;
use crate::plan::{Plan, Write};

pub struct Load {
    pub plan: Plan,
    pub servers: Vec<SocketAddr>,
    pub depth: usize,
    pub seconds: Duration,
    pub count: u64,
    pub reads: u32,
    pub timeout: Duration,
    pub crash: bool,
}

/// What one session did.
#[derive(Default)]
struct Tally {
    writes: u64,
    reads: u64,
    lost: bool,
    /// Of every reply, in microseconds.
    latencies: Vec<u32>,
}

/// A call under way.
struct Asked {
    xid: Xid,
    what: What,
    at: Instant,
}

enum What {
    Write(u64, Write),
    /// The counter may not be read below this number of raises.
    Read(u64),
}

struct Session<'a> {
    load: &'a Load,
    number: u32,
    client: Client,
    under_way: VecDeque<Asked>,
    raises: u64,
    raises_acknowledged: u64,
    last_zxid: Zxid,
    acknowledged: Vec<(u64, i64)>,
    tally: Tally,
}

pub fn run(load: &Load, file: &str) -> Result<String, String> {
    let notes = Notes::begin(file, &load.plan)?;
    let mut first = open(load)?;
    make(&mut first, &load.plan.root)?;
    first.close().map_err(|e| format!("closing: {e}"))?;
    let start = Instant::now();
    let tallies: Vec<Result<Tally, String>> = thread::scope(|scope| {
        let notes = &notes;
        let start_one = |n| scope.spawn(move || session(load, n, start + load.seconds, notes));
        let workers: Vec<_> = (0..load.plan.sessions).map(start_one).collect();
        let ended = |w: thread::ScopedJoinHandle<'_, Result<Tally, String>>| {
            w.join().unwrap_or_else(|_| Err("a session's thread failed".to_owned()))
        };
        workers.into_iter().map(ended).collect()
    });
    let tallies = tallies.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(summary(&tallies, start.elapsed()))
}

fn summary(tallies: &[Tally], took: Duration) -> String {
    let writes: u64 = tallies.iter().map(|t| t.writes).sum();
    let reads: u64 = tallies.iter().map(|t| t.reads).sum();
    let lost = tallies.iter().filter(|t| t.lost).count();
    let mut latencies: Vec<u32> = tallies.iter().flat_map(|t| t.latencies.clone()).collect();
    latencies.sort_unstable();
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1);
        latencies.get((last as f64 * share) as usize).copied().unwrap_or(0)
    };
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    let rate = (writes + reads) as f64 / took.as_secs_f64();
    format!(
        "{} sessions, {writes} writes and {reads} reads acknowledged in {:.1} s ({rate:.0}/s), \
         {lost} sessions lost; reply after p50 {p50} us, p99 {p99} us, at most {most} us",
        tallies.len(),
        took.as_secs_f64()
    )
}

fn open(load: &Load) -> Result<Client, String> {
    let mut settings = Settings::new(load.servers.clone());
    settings.session_timeout = load.timeout;
    Client::open(settings).map_err(|e| format!("opening a session: {e}"))
}

/// The path with everything above it; what is there stays.
fn make(client: &mut Client, path: &str) -> Result<(), String> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for end in ends.chain([path.len()]) {
        match client.create(NewNode::persistent(&path[..end], b"")) {
            Ok(_) => {}
            Err(e) if e.code() == Some(ErrorCode::NodeExists) => {}
            Err(e) => return Err(format!("creating {}: {e}", &path[..end])),
        }
    }
    Ok(())
}

fn session(load: &Load, number: u32, end: Instant, notes: &Notes) -> Result<Tally, String> {
    let mut session = match begin(load, number) {
        Ok(session) => session,
        Err(_) if load.crash => return Ok(Tally { lost: true, ..Tally::default() }),
        Err(why) => return Err(why),
    };
    let outcome = session.go(end, notes);
    notes.add(number, &session.acknowledged)?;
    let mut tally = session.tally;
    match outcome {
        Ok(()) => {}
        Err(Stop::Lost) if load.crash => tally.lost = true,
        Err(Stop::Lost) => return Err(format!("session {number}: connection lost")),
        Err(Stop::Wrong(why)) => return Err(format!("session {number}: {why}")),
    }
    Ok(tally)
}

fn begin(load: &Load, number: u32) -> Result<Session<'_>, String> {
    let mut client = open(load)?;
    let plan = &load.plan;
    for path in [plan.home(number), plan.counter(number), plan.tally(number)] {
        let made = client.create(NewNode::persistent(&path, b"0:"));
        made.map_err(|e| format!("creating {path}: {e}; a root is used once"))?;
    }
    Ok(Session {
        load,
        number,
        last_zxid: client.last_zxid(),
        client,
        under_way: VecDeque::new(),
        raises: 0,
        raises_acknowledged: 0,
        acknowledged: Vec::new(),
        tally: Tally::default(),
    })
}

enum Stop {
    Lost,
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        match e {
            Error::ConnectionLoss | Error::Io(_) | Error::NoServer(_) => Stop::Lost,
            other => Stop::Wrong(other.to_string()),
        }
    }
}

impl Session<'_> {
    fn go(&mut self, end: Instant, notes: &Notes) -> Result<(), Stop> {
        let mut n = 0;
        let mut owed = 0;
        while n < self.load.count && Instant::now() < end {
            while self.under_way.len() < self.load.depth && n < self.load.count {
                n += 1;
                self.ask_write(n)?;
                owed += self.load.reads;
                while owed >= 100 {
                    owed -= 100;
                    self.ask_read()?;
                }
            }
            self.client.flush()?;
            // Half, so that what is sent next goes out together.
            self.settle(self.load.depth / 2)?;
            notes.add(self.number, &self.acknowledged).map_err(Stop::Wrong)?;
            self.acknowledged.clear();
        }
        self.settle(0)
    }

    fn ask_write(&mut self, n: u64) -> Result<(), Stop> {
        let plan = &self.load.plan;
        let write = plan.write(self.number, n);
        let path = format!("{}/{}", plan.home(self.number), plan.trace(n));
        let (counter, tally) = (plan.counter(self.number), plan.tally(self.number));
        let ephemeral = format!("{path}e");
        let data = plan.data(n);
        let xid = match write {
            Write::Create => self.client.submit(&Call::Create2(NewNode::persistent(&path, &data))),
            Write::Sequential => {
                let mode = CreateMode::PersistentSequential;
                self.client.submit(&Call::Create(NewNode::new(&path, &data, mode)))
            }
            Write::Ephemeral => self.client.submit(&Call::Multi(&[
                Part::Create(NewNode::ephemeral(&ephemeral, b"")),
                Part::Create(NewNode::persistent(&path, &data)),
            ])),
            Write::Pair => self.client.submit(&Call::Multi(&[
                Part::Create(NewNode::persistent(&path, &data)),
                Part::SetData { path: &tally, data: Some(&data), version: -1 },
            ])),
            Write::Raise => {
                let version = self.raises as i32;
                self.raises += 1;
                let call = Call::SetData { path: &counter, data: Some(&data), version };
                self.client.submit(&call)
            }
        }?;
        let asked = Asked { xid, what: What::Write(n, write), at: Instant::now() };
        self.under_way.push_back(asked);
        Ok(())
    }

    fn ask_read(&mut self) -> Result<(), Stop> {
        let path = self.load.plan.counter(self.number);
        let xid = self.client.submit(&Call::GetData { path: &path, watch: false })?;
        // A session sees its own writes, in order.
        let what = What::Read(self.raises);
        self.under_way.push_back(Asked { xid, what, at: Instant::now() });
        Ok(())
    }

    fn settle(&mut self, left: usize) -> Result<(), Stop> {
        while self.under_way.len() > left {
            let Some(asked) = self.under_way.pop_front() else { break };
            let reply = self.client.wait(asked.xid)?;
            self.tally.latencies.push(asked.at.elapsed().as_micros().min(u32::MAX.into()) as u32);
            if reply.zxid < self.last_zxid {
                return Err(Stop::Wrong(format!("zxid went back at {:?}", asked.xid)));
            }
            self.last_zxid = reply.zxid;
            let answer = reply.answer()?;
            match asked.what {
                What::Write(n, write) => {
                    self.judge(n, write, &answer)?;
                    self.tally.writes += 1;
                    self.acknowledged.push((n, reply.zxid.0));
                }
                What::Read(raises) => {
                    self.tally.reads += 1;
                    let Answer::Data { stat, .. } = answer else { return Err(odd(&answer)) };
                    if stat.version as u64 != raises {
                        let found = stat.version;
                        let why = format!("read version {found} of the counter, not {raises}");
                        return Err(Stop::Wrong(why));
                    }
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, n: u64, write: Write, answer: &Answer) -> Result<(), Stop> {
        let trace = self.load.plan.trace(n);
        let right = match (write, answer) {
            (Write::Create, Answer::Created { path, .. }) => path.ends_with(&trace),
            (Write::Sequential, Answer::Path(path)) => path.contains(&trace),
            (Write::Ephemeral | Write::Pair, Answer::Parts(parts)) => {
                parts.len() == 2 && !parts.iter().any(|p| matches!(p, PartAnswer::Error(_)))
            }
            (Write::Raise, Answer::Stat(stat)) => {
                self.raises_acknowledged += 1;
                stat.version as u64 == self.raises_acknowledged
            }
            _ => false,
        };
        if right { Ok(()) } else { Err(odd(answer)) }
    }
}

fn odd(answer: &Answer) -> Stop {
    Stop::Wrong(format!("an odd answer: {answer:?}"))
}
