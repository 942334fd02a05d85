//! Writers whose every acknowledged write can be held against what a later server shows.
//!
//! Each writer has a subtree of its own and pipelines deeply, so after a crash the subtree must be
//! exactly what some prefix of its operations makes, and that prefix holds all it was told of.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zkd::client::{Call, Client, Error, NewNode, Part, SessionKey, Settings};
use zkd::proto::CreateMode;

/// What the n-th operation of a writer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Create,
    Sequential,
    Set,
    Multi,
    Ephemeral,
    DeleteEarlier,
}

impl Op {
    fn of(n: usize) -> Op {
        match n % 7 {
            0 | 4 => Op::Create,
            1 => Op::Sequential,
            2 => Op::Set,
            3 => Op::Multi,
            5 => Op::Ephemeral,
            _ => Op::DeleteEarlier,
        }
    }
}

/// What a prefix of operations makes of a writer's subtree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tree {
    names: BTreeSet<String>,
    sequential: BTreeSet<String>,
    value: Option<usize>,
}

impl Tree {
    fn after(count: usize) -> Tree {
        let mut tree = Tree::default();
        (0..count).for_each(|n| tree.step(n));
        tree
    }

    fn step(&mut self, n: usize) {
        match Op::of(n) {
            Op::Create => _ = self.names.insert(format!("n{n}")),
            Op::Ephemeral => _ = self.names.insert(format!("e{n}")),
            Op::Sequential => {
                let sequence = self.sequential.len();
                self.sequential.insert(format!("s{sequence:010}"));
            }
            Op::Set => self.value = Some(n),
            Op::Multi => {
                self.names.insert(format!("a{n}"));
                self.names.insert(format!("b{n}"));
            }
            Op::DeleteEarlier => _ = self.names.remove(&format!("n{}", n - 2)),
        }
    }

    /// The number of operations between `from` and `to` that make this tree, the largest of them.
    fn count_between(&self, from: usize, to: usize) -> Option<usize> {
        let mut tree = Tree::after(from);
        let mut fits = None;
        for count in from..=to {
            if tree == *self {
                fits = Some(count);
            }
            tree.step(count);
        }
        fits
    }
}

pub struct Writer {
    root: String,
    key: SessionKey,
    /// Operations that are known to be there.
    done: usize,
    pub acknowledged: u64,
}

const DEPTH: usize = 20;

/// Sessions outlive every crash of a test: what is ephemeral must be there after it.
pub const SESSION: Duration = Duration::from_secs(40);

impl Writer {
    /// Makes the writer's subtree.
    pub fn new(settings: Settings, index: usize) -> Writer {
        let root = format!("/w{index}");
        let mut client = Client::open(settings).expect("a session");
        for path in [root.clone(), format!("{root}/q"), format!("{root}/v")] {
            client.create(NewNode::persistent(&path, b"-")).expect("the writer's own nodes");
        }
        Writer { root, key: client.leave(), done: 0, acknowledged: 0 }
    }

    /// Writes until the connection breaks or the time is over; returns how many operations were
    /// sent and how many acknowledged before `is_over`, both counted from the writer's first.
    pub fn run(
        &self,
        settings: Settings,
        until: Instant,
        is_over: &AtomicBool,
    ) -> Result<(usize, usize), String> {
        let (mut sent, mut acknowledged) = (self.done, self.done);
        let Ok(mut client) = Client::resume(settings, self.key) else { return Ok((sent, sent)) };
        let mut waiting = std::collections::VecDeque::new();
        while Instant::now() < until {
            while waiting.len() < DEPTH {
                match self.submit(&mut client, sent) {
                    Ok(xid) => waiting.push_back(xid),
                    Err(_) => return Ok((sent, acknowledged)),
                }
                sent += 1;
            }
            let Some(xid) = waiting.pop_front() else { break };
            let answer = client.wait(xid).and_then(|reply| reply.answer());
            match answer {
                Ok(_) => acknowledged += usize::from(!is_over.load(Ordering::SeqCst)),
                Err(Error::Code(code)) => {
                    return Err(format!("{} operation {acknowledged}: {code:?}", self.root));
                }
                Err(_) => return Ok((sent, acknowledged)),
            }
        }
        while let Some(xid) = waiting.pop_front() {
            if client.wait(xid).and_then(|reply| reply.answer()).is_err() {
                break;
            }
            acknowledged += 1;
        }
        client.leave();
        Ok((sent, acknowledged))
    }

    fn submit(&self, client: &mut Client, n: usize) -> Result<zkd::base::Xid, Error> {
        let root = &self.root;
        let name = |letter: char| format!("{root}/{letter}{n}");
        let xid = match Op::of(n) {
            Op::Create => client.submit(&Call::Create(NewNode::persistent(&name('n'), b"x"))),
            Op::Ephemeral => client.submit(&Call::Create(NewNode::ephemeral(&name('e'), b"x"))),
            Op::Sequential => {
                let path = format!("{root}/q/s");
                let node = NewNode::new(&path, b"x", CreateMode::PersistentSequential);
                client.submit(&Call::Create(node))
            }
            Op::Set => {
                let (path, data) = (format!("{root}/v"), n.to_string());
                let data = Some(data.as_bytes());
                client.submit(&Call::SetData { path: &path, data, version: -1 })
            }
            Op::Multi => {
                let (a, b) = (name('a'), name('b'));
                client.submit(&Call::Multi(&[
                    Part::Create(NewNode::persistent(&a, b"x")),
                    Part::Create(NewNode::persistent(&b, b"x")),
                ]))
            }
            Op::DeleteEarlier => {
                let path = format!("{root}/n{}", n - 2);
                client.submit(&Call::Delete { path: &path, version: -1 })
            }
        }?;
        client.flush()?;
        Ok(xid)
    }

    /// Holds the subtree against every prefix that may be there, and goes on from the one that is.
    pub fn verify(
        &mut self,
        settings: Settings,
        (sent, acknowledged): (usize, usize),
    ) -> Result<(), String> {
        let mut client = Client::resume(settings, self.key)
            .map_err(|e| format!("{}: its session is gone: {e}", self.root))?;
        let found = self.look(&mut client).map_err(|e| format!("{}: {e}", self.root))?;
        let Some(count) = found.count_between(acknowledged, sent) else {
            let wanted = Tree::after(acknowledged);
            let lost: Vec<&String> = wanted.names.difference(&found.names).collect();
            return Err(format!(
                "{}: no prefix of {sent} operations with {acknowledged} acknowledged makes what is \
                 there; missing {lost:?}, value {:?} of {:?}, {} sequential of {}",
                self.root,
                found.value,
                wanted.value,
                found.sequential.len(),
                wanted.sequential.len()
            ));
        };
        self.acknowledged += (acknowledged - self.done) as u64;
        self.done = count;
        client.leave();
        Ok(())
    }

    fn look(&self, client: &mut Client) -> Result<Tree, Error> {
        let root = &self.root;
        let mut names: BTreeSet<String> = client.children(root, false)?.into_iter().collect();
        names.remove("q");
        names.remove("v");
        let sequential = client.children(&format!("{root}/q"), false)?.into_iter().collect();
        let (data, _) = client.data(&format!("{root}/v"), false)?;
        let text = String::from_utf8(data.unwrap_or_default()).unwrap_or_default();
        Ok(Tree { names, sequential, value: text.parse().ok() })
    }
}
