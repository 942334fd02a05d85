//! What goes wrong between nodes: ways that are closed, clogged or slow, connections that break or
//! are lost without a word, processes that are killed and machines that lose their power.

use zkd::base::Instant;

use super::conn::Conn;
use super::{Errand, Event, Network, Socket};
use crate::world::clock::Clock;

/// The longest pause between two tries of a kernel to get something through.
const LONGEST_RETRY_MS: u64 = 30_000;

impl Network {
    /// Nothing passes from one node to another. What is closed twice is opened twice.
    pub fn block(&mut self, from: usize, to: usize) {
        self.paths.entry((from, to)).or_default().blocks += 1;
    }

    pub fn unblock(&mut self, clock: &mut Clock<Event>, from: usize, to: usize) {
        let path = self.paths.entry((from, to)).or_default();
        path.blocks = path.blocks.checked_sub(1).expect("what is opened was closed");
        self.reopened(clock, from, to, LONGEST_RETRY_MS);
    }

    /// What is on this way arrives then, all at once.
    pub fn clog(&mut self, clock: &mut Clock<Event>, (from, to): (usize, usize), until: Instant) {
        let path = self.paths.entry((from, to)).or_default();
        path.clogged_until = Some(path.clogged_until.map_or(until, |already| already.max(until)));
        clock.at(until, None, Event::Errand(Errand::Unclog { from, to }));
    }

    /// Everything on this way takes so much longer from now on.
    pub fn slow_down(&mut self, (from, to): (usize, usize), slow_us: u64) {
        self.paths.entry((from, to)).or_default().slow_us = slow_us;
    }

    /// Something between two nodes breaks their connections. Each end learns of it within so many
    /// milliseconds, by itself. Says how many there were.
    pub fn break_between(
        &mut self,
        clock: &mut Clock<Event>,
        (a, b): (usize, usize),
        within_ms: u64,
    ) -> usize {
        let broken = self.alive_between(a, b);
        for conn in &broken {
            for at in 0..2 {
                self.tell_broken(clock, Socket { conn: *conn, end: at }, within_ms);
            }
        }
        broken.len()
    }

    /// The connections between two nodes are forgotten on the way. One end may learn of it; the
    /// other goes on believing in them.
    pub fn lose_between(
        &mut self,
        clock: &mut Clock<Event>,
        (a, b): (usize, usize),
        told: Option<usize>,
    ) -> usize {
        let lost = self.alive_between(a, b);
        for conn in &lost {
            let ends = self.conns[conn].ends;
            self.conns.get_mut(conn).expect("it was there").is_dead = true;
            if let Some(at) = (0..2).find(|at| Some(ends[*at].node) == told) {
                self.tell_broken(clock, Socket { conn: *conn, end: at }, 0);
            }
        }
        lost.len()
    }

    /// The process is gone. Its kernel closes what it had.
    pub fn kill(&mut self, clock: &mut Clock<Event>, node: usize) {
        self.dials.retain(|_, dial| dial.node != node);
        let ports: Vec<u16> = self.hosts[node].listeners.keys().copied().collect();
        for port in ports {
            self.stop_listening(clock, node, port);
        }
        for socket in self.sockets_of(node) {
            self.close(clock, socket);
        }
    }

    /// The machine is gone, without a word to anybody. Who waits for room there asks for it from
    /// time to time, and finds out.
    pub fn power_off(&mut self, clock: &mut Clock<Event>, node: usize) {
        self.dials.retain(|_, dial| dial.node != node);
        self.hosts[node].listeners.clear();
        self.hosts[node].is_up = false;
        for socket in self.sockets_of(node) {
            let conn = self.conns.get_mut(&socket.conn).expect("it was there");
            conn.ends[socket.end].is_open = false;
            conn.pipes[socket.end].in_flight.clear();
            let writer = Socket { end: 1 - socket.end, ..socket };
            conn.pipes[writer.end].arrived.clear();
            self.ask_for_room(clock, writer);
        }
        self.conns.retain(|_, conn| !conn.is_over());
    }

    /// The machine is back, and knows of no connection.
    pub fn power_on(&mut self, clock: &mut Clock<Event>, node: usize) {
        self.hosts[node].is_up = true;
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            self.reopened(clock, other, node, LONGEST_RETRY_MS);
            self.reopened(clock, node, other, LONGEST_RETRY_MS);
        }
    }

    /// Connections that both ends believe in, between two nodes.
    pub fn alive_between(&self, a: usize, b: usize) -> Vec<u64> {
        let alive = |conn: &Conn| {
            conn.is_between(a, b) && !conn.is_dead && conn.ends.iter().all(|end| end.is_open)
        };
        self.conns.iter().filter(|(_, conn)| alive(conn)).map(|(id, _)| *id).collect()
    }

    /// Whether anything passes from one node to another.
    pub(super) fn is_open(&self, now: Instant, from: usize, to: usize) -> bool {
        let are_up = self.hosts[from].is_up && self.hosts[to].is_up;
        let path = self.paths.get(&(from, to));
        are_up
            && path.is_none_or(|path| {
                path.blocks == 0 && path.clogged_until.is_none_or(|until| until <= now)
            })
    }

    /// What could not pass is tried again. Kernels try less and less often, so it may take as
    /// long again as it was held up, up to a bound.
    pub(super) fn reopened(
        &mut self,
        clock: &mut Clock<Event>,
        from: usize,
        to: usize,
        longest_ms: u64,
    ) {
        let now = clock.now();
        if !self.is_open(now, from, to) {
            return;
        }
        for (id, conn) in &mut self.conns {
            for end in 0..2 {
                if conn.is_dead || conn.way(end) != (from, to) {
                    continue;
                }
                let pipe = &mut conn.pipes[end];
                if let Some(since) = pipe.stalled {
                    let most_ms = now.ms_since(since).min(longest_ms);
                    let at = now.plus_ns(pipe.rng.below(most_ms * 1_000_000 + 1));
                    pipe.pump = Some(at);
                    clock.at(at, None, Event::Errand(Errand::Pump { conn: *id, from: end }));
                }
                // What the other direction's writer waits for travels on this one.
                if conn.pipes[1 - end].room_stalled.take().is_some() {
                    let room = Errand::Room { conn: *id, from: 1 - end };
                    clock.at(now, None, Event::Errand(room));
                }
                if std::mem::take(&mut conn.ends[1 - end].reset_stalled) {
                    let reset = Errand::Reset { conn: *id, at: 1 - end, travels: true };
                    clock.at(now, None, Event::Errand(reset));
                }
            }
        }
    }

    fn tell_broken(&mut self, clock: &mut Clock<Event>, at: Socket, within_ms: u64) {
        let conn = self.conns.get_mut(&at.conn).expect("it was there");
        conn.is_dead = true;
        let late_ns = conn.pipes[at.end].rng.below(within_ms * 1_000_000 + 1);
        let reset = Errand::Reset { conn: at.conn, at: at.end, travels: false };
        clock.at(clock.now().plus_ns(late_ns), None, Event::Errand(reset));
    }

    fn sockets_of(&self, node: usize) -> Vec<Socket> {
        let mut sockets = Vec::new();
        for (id, conn) in &self.conns {
            let open = (0..2).filter(|end| conn.ends[*end].node == node && conn.ends[*end].is_open);
            sockets.extend(open.map(|end| Socket { conn: *id, end }));
        }
        sockets
    }
}

/// How a partition chooses its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Any size is as likely as any other, then any nodes.
    UniformSize,
    /// Any division is as likely as any other.
    UniformPartition,
    IsolateOne,
}

impl Division {
    /// One side of `nodes` nodes; the other side is not empty either. Needs two.
    pub fn side(self, rng: &mut zkd::base::Rng, nodes: usize) -> Vec<usize> {
        assert!(nodes > 1, "one node cannot be divided");
        let size = match self {
            Division::UniformPartition => loop {
                let side: Vec<usize> = (0..nodes).filter(|_| rng.below(2) == 0).collect();
                if !side.is_empty() && side.len() < nodes {
                    return side;
                }
            },
            Division::UniformSize => 1 + rng.below(nodes as u64 - 1) as usize,
            Division::IsolateOne => 1,
        };
        let mut all: Vec<usize> = (0..nodes).collect();
        for at in 0..size {
            all.swap(at, at + rng.below((nodes - at) as u64) as usize);
        }
        all.truncate(size);
        all.sort_unstable();
        all
    }
}
