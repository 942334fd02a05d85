//! A client somewhere in the network: it reaches for any member, keeps its session, pings, and goes
//! elsewhere when nobody answers.

use std::collections::VecDeque;

use zkd::base::{ConnId, Instant, Rng};

use super::plan::{CONNECT_MS, Plan};
use super::setup::host;
use super::wires::{CLIENT_PORT, Wires};
use crate::plan::{Op, stream};
use crate::world::client::{Client, Violation};
use crate::world::network::{Happening, Read, Socket};

const PART_AGENT: u64 = 130;

/// Requests that wait for their answers at once.
const OUTSTANDING: usize = 64;

#[derive(Debug)]
struct Line {
    socket: Socket,
    unsent: Vec<u8>,
    heard: Instant,
    pinged: Instant,
    is_spoken_to: bool,
}

pub struct Agent {
    pub client: Client,
    rng: Rng,
    members: usize,
    /// The only member that it talks to.
    home: Option<usize>,
    at: usize,
    line: Option<Line>,
    dial: Option<u64>,
    todo: VecDeque<Op>,
    again: Instant,
    timeout_ms: u64,
}

impl Agent {
    pub fn new(plan: &Plan, number: usize, home: Option<usize>) -> Agent {
        let mut rng = stream(plan.seed, PART_AGENT, number as u64);
        let somewhere = rng.below(plan.members() as u64) as usize;
        Agent {
            client: Client::with_timeout(plan.session_ms as i32),
            members: plan.members(),
            home,
            at: home.unwrap_or(somewhere),
            rng,
            line: None,
            dial: None,
            todo: VecDeque::new(),
            again: Instant(0),
            timeout_ms: plan.session_ms,
        }
    }

    pub fn ask(&mut self, ops: &[Op]) {
        self.todo.extend(ops.iter().cloned());
    }

    /// Nothing is left to ask and nothing to be answered.
    pub fn is_idle(&self) -> bool {
        self.todo.is_empty() && self.client.outstanding.is_empty()
    }

    /// What it still waits for, for the tale.
    pub fn state(&self) -> String {
        let (todo, line) = (self.todo.len(), self.line.is_some());
        let first = self.client.outstanding.front();
        let at = self.at;
        format!(
            "at {at}, connected {line}, established {}, {todo} to ask, waits for {first:?}",
            self.client.is_established()
        )
    }

    /// The connection breaks under it.
    pub fn cut(&mut self, wires: &mut Wires<'_>) {
        self.hang_up(wires);
    }

    /// It goes without a word, and somebody else comes in its place.
    pub fn die(&mut self, wires: &mut Wires<'_>) {
        self.hang_up(wires);
        self.client = Client::with_timeout(self.timeout_ms as i32);
    }

    fn hang_up(&mut self, wires: &mut Wires<'_>) {
        if let Some(line) = self.line.take() {
            wires.network.close(wires.clock, line.socket);
        }
        if let Some(dial) = self.dial.take() {
            wires.network.drop_dial(wires.clock, dial);
        }
        self.client.on_disconnected();
        self.client.outstanding.clear();
        self.again = wires.now().plus_ms(5 + self.rng.below(100));
        if self.home.is_none() {
            self.at = (self.at + 1 + self.rng.below(2) as usize) % self.members;
        }
    }

    pub fn turn(
        &mut self,
        wires: &mut Wires<'_>,
        happenings: &[Happening],
    ) -> Result<(), Violation> {
        for happening in happenings {
            match *happening {
                Happening::Dialled { dial, outcome } if self.dial == Some(dial) => {
                    self.dial = None;
                    wires.network.dial_is_known(dial);
                    match outcome {
                        Ok(socket) => self.begin(wires, socket),
                        Err(_) => self.hang_up(wires),
                    }
                }
                Happening::Readable { socket } if self.has(socket) => self.read(wires)?,
                Happening::Writable { socket } if self.has(socket) => self.flush(wires),
                _ => {}
            }
        }
        self.go_on(wires);
        let due = self.next_due();
        wires.clock.set_alarm(wires.node, due);
        Ok(())
    }

    fn has(&self, socket: Socket) -> bool {
        self.line.as_ref().is_some_and(|line| line.socket == socket)
    }

    fn begin(&mut self, wires: &mut Wires<'_>, socket: Socket) {
        let now = wires.now();
        let mut hello = Vec::new();
        self.client.on_connected(ConnId::default(), &mut hello);
        self.line =
            Some(Line { socket, unsent: hello, heard: now, pinged: now, is_spoken_to: false });
        self.flush(wires);
    }

    fn read(&mut self, wires: &mut Wires<'_>) -> Result<(), Violation> {
        while let Some(line) = &mut self.line {
            match wires.network.read(wires.clock, line.socket, usize::MAX) {
                Read::Nothing => return Ok(()),
                Read::Over(_) => self.hang_up(wires),
                Read::Bytes(bytes) => {
                    line.heard = wires.clock.local(wires.node);
                    line.is_spoken_to = true;
                    wires.record.mix(&bytes);
                    self.client.receive(&bytes, &mut *wires.record)?;
                    // It was refused, or has said farewell: a new session comes of a new line.
                    if self.client.is_over() {
                        self.hang_up(wires);
                    }
                }
            }
        }
        Ok(())
    }

    /// Says what there is to be said, and gives up whom nothing is heard of.
    fn go_on(&mut self, wires: &mut Wires<'_>) {
        let now = wires.now();
        let Some(line) = &mut self.line else {
            if self.dial.is_none() && now >= self.again {
                let ip = wires.names[&host(self.at)];
                let to = (ip, CLIENT_PORT);
                self.dial = Some(wires.network.dial(wires.clock, wires.node, to, CONNECT_MS));
            }
            return;
        };
        if now.ms_since(line.heard) >= self.timeout_ms * 2 / 3 {
            wires.record.count("clients moved on");
            return self.hang_up(wires);
        }
        if !self.client.is_established() {
            return;
        }
        let had = line.unsent.len();
        self.client.catch_up(&mut line.unsent);
        while self.client.outstanding.len() < OUTSTANDING
            && let Some(op) = self.todo.pop_front()
        {
            wires.record.count("operations");
            self.client.send(&op, &mut line.unsent);
        }
        if now.ms_since(line.pinged) >= self.timeout_ms / 3 {
            line.pinged = now;
            self.client.ping(&mut line.unsent);
        }
        if line.unsent.len() > had {
            self.flush(wires);
        }
    }

    fn flush(&mut self, wires: &mut Wires<'_>) {
        if let Some(line) = &mut self.line
            && !line.unsent.is_empty()
        {
            let taken = wires.network.write(wires.clock, line.socket, &line.unsent);
            line.unsent.drain(..taken);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let Some(line) = &self.line else {
            return self.dial.is_none().then_some(self.again);
        };
        let silent = line.heard.plus_ms(self.timeout_ms * 2 / 3);
        let ping = line.pinged.plus_ms(self.timeout_ms / 3);
        Some(if self.client.is_established() { silent.min(ping) } else { silent })
    }
}
