//! Sessions that write through everything, and what they were told.
//!
//! Each counts a node upward by expected versions, makes sequential nodes with a token in each,
//! and reads its node back. A write whose answer was lost has happened once or not at all;
//! anything else is a finding, and so is a zxid that goes back within a session.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use zkd::base::Zxid;
use zkd::client::{Answer, Call, Client, Error, NewNode, Settings};
use zkd::proto::ErrorCode;

use crate::server::PATIENCE;

use super::tree::Tree;

const TOKENS: &str = "/tokens";

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(10);

/// What one session was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub name: String,
    pub session: i64,
    /// Its node's data and version, as acknowledged last.
    pub number: i64,
    pub version: i32,
    /// A write of the next number was under way at the end, and nobody knows of it.
    pub is_open: bool,
    pub tokens: BTreeMap<String, String>,
    /// Tokens whose answer was lost.
    pub perhaps: BTreeSet<String>,
    /// Answers that were lost.
    pub lost: u64,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// Nobody needs the session any more.
    is_over: AtomicBool,
    told: Mutex<Option<Told>>,
    acknowledged: AtomicU64,
    finding: Mutex<Option<String>>,
}

struct Writer {
    client: Client,
    told: Told,
    made: u64,
    zxid: Zxid,
    shared: Arc<Shared>,
}

/// Why a session goes no further in what it was doing.
enum Stop {
    /// The answer was lost.
    Lost,
    Finding(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::ConnectionLoss | Error::Timeout | Error::NoServer(_) | Error::Io(_) => {
                Stop::Lost
            }
            other => Stop::Finding(format!("{other:?}")),
        }
    }
}

impl Told {
    fn key(&self) -> String {
        format!("/{}", self.name)
    }

    fn ephemeral(&self) -> String {
        format!("/{}-lives", self.name)
    }
}

impl Writer {
    /// Its own nodes are there when this returns.
    fn begin(name: String, settings: Settings, shared: Arc<Shared>) -> Writer {
        let client = Client::open(settings).expect("a session");
        let told = Told { name, session: client.session().0, ..Told::default() };
        let mut writer = Writer { client, told, made: 0, zxid: Zxid::ZERO, shared };
        let (key, ephemeral) = (writer.told.key(), writer.told.ephemeral());
        let nodes = [
            NewNode::persistent(TOKENS, b""),
            NewNode::persistent(&key, b"0"),
            NewNode::ephemeral(&ephemeral, b""),
        ];
        for node in nodes {
            let made = loop {
                match writer.client.create(node) {
                    Err(Error::ConnectionLoss) => {}
                    made => break made,
                }
            };
            let is_there = matches!(made, Err(Error::Code(ErrorCode::NodeExists)));
            assert!(made.is_ok() || is_there, "{made:?}");
        }
        writer
    }

    /// Writes until it shall not, and then keeps its session until it is over.
    fn run(mut self) {
        self.write();
        *lock(&self.shared.told) = Some(self.told);
        while !self.shared.is_over.load(Ordering::Relaxed) {
            // A session that cannot be kept is found missing by the judge.
            if self.client.rest(Duration::from_millis(50)).is_err() {
                thread::sleep(PAUSE);
            }
        }
    }

    fn write(&mut self) {
        while !self.ends() {
            for step in [Writer::count, Writer::append, Writer::read] {
                match step(self) {
                    Ok(()) | Err(Stop::Lost) => {}
                    Err(Stop::Finding(what)) => {
                        let what = format!("{}: {what}", self.told.name);
                        lock(&self.shared.finding).get_or_insert(what);
                        return;
                    }
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn ends(&self) -> bool {
        self.shared.ends.load(Ordering::Relaxed)
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<Answer, Stop> {
        let xid = self.client.submit(call)?;
        let reply = self.client.wait(xid)?;
        if reply.zxid < self.zxid {
            let what = format!("{call:?} is answered at {:?} after {:?}", reply.zxid, self.zxid);
            return Err(Stop::Finding(what));
        }
        self.zxid = reply.zxid;
        Ok(reply.answer()?)
    }

    fn count(&mut self) -> Result<(), Stop> {
        let (key, next) = (self.told.key(), (self.told.number + 1).to_string());
        let version = self.told.version;
        let call = Call::SetData { path: &key, data: Some(next.as_bytes()), version };
        match self.ask(&call) {
            Ok(Answer::Stat(stat)) if stat.version == version + 1 => {
                self.told.number += 1;
                self.told.version += 1;
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(other) => Err(Stop::Finding(format!("{key} at {version}: {other:?}"))),
            Err(Stop::Lost) => self.resolve(),
            Err(finding) => Err(finding),
        }
    }

    /// Whether the write that nobody answered has happened: what was proposed comes before the
    /// answer to sync.
    fn resolve(&mut self) -> Result<(), Stop> {
        self.told.lost += 1;
        self.told.is_open = true;
        let key = self.told.key();
        while !self.ends() {
            let found = self
                .ask(&Call::Sync { path: &key })
                .and_then(|_| self.ask(&Call::GetData { path: &key, watch: false }));
            let (number, version) = match found {
                Ok(answer) => value(&answer)?,
                Err(Stop::Lost) => continue,
                Err(finding) => return Err(finding),
            };
            let (last, at) = (self.told.number, self.told.version);
            if (number, version) != (last, at) && (number, version) != (last + 1, at + 1) {
                let what = format!("{key} is {number} at {version}; {last} at {at} was the last");
                return Err(Stop::Finding(what));
            }
            (self.told.number, self.told.version) = (number, version);
            self.told.is_open = false;
            return Ok(());
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), Stop> {
        self.made += 1;
        let token = format!("{}:{}", self.told.name, self.made);
        let path = format!("{TOKENS}/n-");
        match self.ask(&Call::Create(NewNode::sequential(&path, token.as_bytes()))) {
            Ok(Answer::Path(path)) => {
                self.told.tokens.insert(token, path);
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(other) => Err(Stop::Finding(format!("create: {other:?}"))),
            Err(Stop::Lost) => {
                self.told.lost += 1;
                self.told.perhaps.insert(token);
                Ok(())
            }
            Err(finding) => Err(finding),
        }
    }

    /// A session sees what it was told, wherever it is by now.
    fn read(&mut self) -> Result<(), Stop> {
        if self.told.is_open {
            return Ok(());
        }
        let key = self.told.key();
        let answer = self.ask(&Call::GetData { path: &key, watch: false })?;
        let told = (self.told.number, self.told.version);
        match value(&answer)? {
            found if found == told => Ok(()),
            found => Err(Stop::Finding(format!("{key} reads {found:?} after {told:?}"))),
        }
    }
}

fn value(answer: &Answer) -> Result<(i64, i32), Stop> {
    let Answer::Data { data: Some(data), stat } = answer else {
        return Err(Stop::Finding(format!("getData: {answer:?}")));
    };
    let number = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Stop::Finding(format!("data {data:?}")))?;
    Ok((number, stat.version))
}

/// Several such sessions.
#[derive(Default)]
pub struct History {
    writers: Vec<Arc<Shared>>,
}

impl History {
    /// One more session over these servers.
    pub fn add(&mut self, settings: Settings) {
        let shared = Arc::new(Shared::default());
        let name = format!("w{}", self.writers.len() + 1);
        let writer = Writer::begin(name, settings, Arc::clone(&shared));
        self.writers.push(shared);
        thread::spawn(move || writer.run());
    }

    fn sound(&self) {
        for shared in &self.writers {
            let finding = lock(&shared.finding);
            assert!(finding.is_none(), "{}", finding.as_deref().unwrap_or_default());
        }
    }

    /// Until each of these (by their place) has so many acknowledgements more.
    pub fn advance(&self, writers: &[usize], more: u64) {
        let count = |at: &usize| self.writers[*at].acknowledged.load(Ordering::Relaxed);
        let wanted: Vec<u64> = writers.iter().map(|at| count(at) + more).collect();
        let began = Instant::now();
        while writers.iter().zip(&wanted).any(|(at, wanted)| count(at) < *wanted) {
            self.sound();
            let counts: Vec<u64> = writers.iter().map(count).collect();
            assert!(began.elapsed() < PATIENCE, "they come no further: {counts:?} of {wanted:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn advance_all(&self, more: u64) {
        self.advance(&(0..self.writers.len()).collect::<Vec<_>>(), more);
    }

    pub fn acknowledged(&self, writer: usize) -> u64 {
        self.writers[writer].acknowledged.load(Ordering::Relaxed)
    }

    /// No more writes: what they were told. Their sessions live as long as this.
    pub fn halt(self) -> Halted {
        self.end();
        let began = Instant::now();
        let told = |shared: &Arc<Shared>| loop {
            if let Some(told) = lock(&shared.told).take() {
                return told;
            }
            assert!(began.elapsed() < 2 * PATIENCE, "a writer does not come to its end");
            thread::sleep(Duration::from_millis(5));
        };
        let told = self.writers.iter().map(told).collect();
        self.sound();
        Halted { told, _sessions: self }
    }

    fn end(&self) {
        self.writers.iter().for_each(|shared| shared.ends.store(true, Ordering::Relaxed));
    }
}

/// A test that fails lets nobody write on.
impl Drop for History {
    fn drop(&mut self) {
        self.end();
        for shared in &self.writers {
            shared.is_over.store(true, Ordering::Relaxed);
        }
    }
}

/// What the sessions were told, which are still there.
pub struct Halted {
    told: Vec<Told>,
    _sessions: History,
}

impl Deref for Halted {
    type Target = [Told];

    fn deref(&self) -> &[Told] {
        &self.told
    }
}

/// A writer that has failed has left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Everything acknowledged is in this tree, once, where it was said to be; nothing that nobody
/// wrote; every session's ephemeral. The first thing that is not so.
pub fn judge(tree: &Tree, all: &[Told]) -> Result<(), String> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, node) in tree.range(format!("{TOKENS}/")..format!("{TOKENS}0")) {
        found.entry(String::from_utf8_lossy(&node.data).into_owned()).or_default().push(path);
    }
    if let Some((token, paths)) = found.iter().find(|(_, paths)| paths.len() > 1) {
        return Err(format!("{token} was written once and is in {paths:?}"));
    }
    for told in all {
        for (token, path) in &told.tokens {
            if found.get(token).is_none_or(|paths| paths[0] != path) {
                return Err(format!("{token} was acknowledged as {path} and is not there"));
            }
        }
        let Some(node) = tree.get(&told.key()) else {
            return Err(format!("{} is gone", told.key()));
        };
        let number = String::from_utf8_lossy(&node.data).parse().unwrap_or(-1);
        let (is, was) = ((number, node.stat.version), (told.number, told.version));
        let is_next = told.is_open && is == (was.0 + 1, was.1 + 1);
        if is != was && !is_next {
            return Err(format!("{} is {is:?} where {was:?} was acknowledged", told.key()));
        }
        let owner = tree.get(&told.ephemeral()).map(|node| node.stat.ephemeral_owner);
        if owner != Some(told.session) {
            return Err(format!("{}: {owner:?}, not 0x{:x}", told.ephemeral(), told.session));
        }
    }
    let is_known = |token: &&String| {
        all.iter().any(|told| told.tokens.contains_key(*token) || told.perhaps.contains(*token))
    };
    match found.keys().find(|token| !is_known(token)) {
        Some(token) => Err(format!("nobody wrote {token}")),
        None => Ok(()),
    }
}
