//! What a process has of the world for one turn, and what the world has in store.

use std::collections::BTreeMap;

use zkd::base::Instant;

use super::record::Record;
use crate::world::Event;
use crate::world::clock::Clock;
use crate::world::network::{Ip, Network};

pub const CLIENT_PORT: u16 = 2181;
pub const QUORUM_PORT: u16 = 2888;
pub const ELECTION_PORT: u16 = 3888;
pub const OBSERVERS_PORT: u16 = 2191;

/// Where a name leads.
pub type Names = BTreeMap<String, Ip>;

/// One of the threads beside the reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    Log,
    Chores,
}

/// What is in store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    Start {
        member: usize,
    },
    Begin {
        fault: usize,
    },
    End {
        fault: usize,
    },
    /// A thread of this life of its process has come to the end of what it was at.
    Done {
        life: u64,
        thread: Thread,
    },
    /// A client has something to ask.
    Burst {
        burst: usize,
    },
    /// Nothing goes wrong from now on.
    Calm,
}

/// Everything that was ever put in store; the clock knows it by its number.
#[derive(Debug, Default)]
pub struct Store(Vec<Stroke>);

impl Store {
    pub fn put(
        &mut self,
        clock: &mut Clock<Event>,
        at: Instant,
        node: Option<usize>,
        stroke: Stroke,
    ) {
        self.0.push(stroke);
        clock.at(at, node, Event::Stroke(self.0.len() - 1));
    }

    pub fn at(&self, number: usize) -> Stroke {
        self.0[number]
    }
}

/// One process's hold of the world.
pub struct Wires<'w> {
    pub node: usize,
    pub clock: &'w mut Clock<Event>,
    pub network: &'w mut Network,
    pub names: &'w Names,
    pub store: &'w mut Store,
    pub record: &'w mut Record,
}

impl Wires<'_> {
    /// What the process's own clock shows.
    pub fn now(&self) -> Instant {
        self.clock.local(self.node)
    }

    /// A thread of this process will be through with something after so long.
    pub fn busy(&mut self, life: u64, thread: Thread, ns: u64) {
        let at = self.clock.now().plus_ns(ns);
        self.store.put(self.clock, at, Some(self.node), Stroke::Done { life, thread });
    }
}
