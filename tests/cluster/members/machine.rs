//! One member's machine: a disk that outlives its processes, and the process that is running: the
//! whole node, its sockets, and the two threads of storage beside it.

use std::cell::RefCell;
use std::rc::Rc;

use zkd::base::{Fatal, Instant, Now, SessionId, WallMillis, Zxid};
use zkd::config::Config;
use zkd::disk::{Chores, LogWriter, Recovered, StorageSettings, kept_ms, recover};
use zkd::node::{Effect, Effects, Event, Handover, Node, Start};
use zkd::proto::{Entry, Txn, TxnHeader};

pub use super::breakage::Breakage;
use super::links::{Came, Links};
use super::plan::Plan;
use super::setup;
use super::threads::Threads;
use super::wires::{CLIENT_PORT, ELECTION_PORT, QUORUM_PORT, Thread, Wires};
use crate::world::disk::{Fault, Files, SimDisk};
use crate::world::network::Happening;

/// How long a turn takes, at least: the next one is no earlier.
const TURN_NS: u64 = 20_000;

/// Between two looks at every node and every watch there are at most so many turns.
const TURNS_UNSEEN: u64 = 256;

/// And between two looks at everything else.
const TURNS_UNCHECKED: u64 = 8;

pub struct Machine {
    pub place: usize,
    pub files: Rc<RefCell<Files>>,
    config: Config,
    settings: StorageSettings,
    seed: u64,
    read_bytes: usize,
    turn_us: u64,
    pub breakage: Breakage,
    node: Option<Box<Node>>,
    links: Links,
    pub threads: Threads,
    effects: Effects,
    /// The wall clock's jumps so far.
    pub jumped_ms: i64,
    pub lives: u64,
    /// Why the process has ended by itself.
    pub fatal: Option<Fatal>,
    /// Where its state was when all of it was looked at, and how many turns ago.
    seen: Zxid,
    unseen: u64,
}

impl Machine {
    pub fn new(plan: &Plan, place: usize) -> Machine {
        let seed = plan.seed ^ (place as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03);
        let files = Rc::new(RefCell::new(Files::new(seed)));
        let settings = setup::settings(plan);
        Machine {
            place,
            threads: Threads::new(&files, plan, place),
            files,
            config: setup::config(plan, place),
            settings,
            seed,
            read_bytes: plan.read_bytes,
            turn_us: plan.turn_us,
            breakage: Breakage::None,
            node: None,
            links: Links::default(),
            effects: Effects::default(),
            jumped_ms: 0,
            lives: 0,
            fatal: None,
            seen: Zxid::ZERO,
            unseen: 0,
        }
    }

    pub fn break_with(&mut self, breakage: Breakage) {
        self.breakage = breakage;
        self.threads.breakage = breakage;
        let files = &mut *self.files.borrow_mut();
        files.ignores_sync = breakage == Breakage::NoSync;
        files.ignores_image_sync = breakage == Breakage::ImageNotSynced;
    }

    /// From its next start on this member is told something else.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
    }

    pub fn node(&self) -> Option<&Node> {
        self.node.as_deref()
    }

    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// What has struck the disk, and so the process.
    pub fn struck(&self) -> Option<Fault> {
        self.files.borrow().struck
    }

    fn now(&self, wires: &Wires<'_>) -> Now {
        let mono = wires.now();
        let wall = 1_700_000_000_000 + (mono.0 / 1_000_000) as i64 + self.jumped_ms;
        Now { mono, wall: WallMillis(wall) }
    }

    /// Recovers from the files and starts the server.
    pub fn start(&mut self, wires: &mut Wires<'_>) -> Result<(), Fatal> {
        assert!(self.node.is_none(), "one process at a time");
        self.lives += 1;
        self.fatal = None;
        let now = self.now(wires);
        self.files.borrow_mut().clock_ns = now.mono.0;
        let mut disk = SimDisk::new(&self.files);
        let epoch = setup::epoch_on_disk(&mut disk);
        let recovered = recover(&mut disk, &self.settings)?;
        let is_newer = epoch.is_some_and(|epoch| i64::from(recovered.last_logged.epoch()) > epoch);
        if is_newer && self.breakage == Breakage::RefusesNewerTxns {
            return Err(Fatal::Unexpected("the log is ahead of the current epoch".to_owned()));
        }
        let kept_ms = kept_ms(&mut disk, &self.settings, recovered.created, now.wall);
        wires.record.on_recovered(self.place, &recovered);
        let last = recovered.last_logged;
        let log = LogWriter::new(disk, &self.settings, last);
        let chores = Chores::new(SimDisk::new(&self.files), &self.settings);
        self.threads.start(self.lives, log, chores);
        self.links.breakage = self.breakage;
        let mut start = start_of(recovered, kept_ms);
        if self.breakage == Breakage::VoteAboveDisk && start.last_logged.counter() > 0 {
            let zxid = start.last_logged.next();
            let (session, time) = (SessionId::NONE, WallMillis(0));
            let header = TxnHeader { session, cxid: 0, zxid, time };
            start.tail.push(Entry { header, txn: Txn::Error { code: -1 }, digest: None });
            start.last_logged = zxid;
        }
        let node = Node::new(&self.config, start, now, self.seed ^ self.lives);
        self.node = Some(Box::new(node.expect("a good configuration")));
        let observers = self.config.ensemble.observing.master_port;
        for port in [CLIENT_PORT, QUORUM_PORT, ELECTION_PORT].into_iter().chain(observers) {
            wires.network.listen(self.place, port);
        }
        Ok(())
    }

    /// The process is gone; what becomes of its sockets is its kernel's business.
    pub fn stop(&mut self, fault: Fault) {
        self.node = None;
        self.links = Links::default();
        self.threads.stop();
        self.files.borrow_mut().restart(fault);
    }

    /// One turn, on all that has happened.
    pub fn turn(
        &mut self,
        wires: &mut Wires<'_>,
        happenings: &[Happening],
        done: &[(u64, Thread)],
    ) -> Result<(), String> {
        let Some(mut node) = self.node.take() else { return Ok(()) };
        let now = self.now(wires);
        self.files.borrow_mut().clock_ns = now.mono.0;
        for (life, thread) in done.iter().filter(|(life, _)| *life == self.lives) {
            self.threads.done(wires, *life, *thread);
        }
        if self.struck().is_some_and(|fault| !matches!(fault, Fault::Error(_))) {
            self.node = Some(node);
            return Ok(());
        }
        wires.record.on_clock(self.place, now.mono);
        let came = self.take_in(wires, happenings);
        let storage = std::mem::take(&mut self.threads.events);
        let rebuilt = std::mem::take(&mut self.threads.rebuilt).into_iter().map(|rebuilt| {
            wires.record.on_recovered(self.place, &rebuilt);
            Handover::new(start_of(rebuilt, u64::MAX))
        });
        let rebuilt: Vec<_> = rebuilt.collect();
        let mut events: Vec<Event<'_>> = storage.into_iter().map(Event::Storage).collect();
        events.extend(rebuilt.iter().map(Event::Rebuilt));
        events.extend(came.iter().map(Came::event));
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        node.turn(now, &events, &mut effects);
        self.check(&node);
        wires.record.count("turns");
        drop(events);
        let has_ended = self.perform(wires, &effects);
        self.effects = effects;
        let seen = wires.record.on_turn(self.place, &node);
        if !has_ended {
            let due = self.next_due(wires, &mut node);
            wires.clock.set_alarm(self.place, due);
            if self.turn_us > 0 {
                // It is at its work for so long; what comes meanwhile comes with the next turn.
                let until = wires.clock.now().plus_ns(self.turn_us * 1000);
                wires.clock.pause(self.place, until);
            }
            self.node = Some(node);
        }
        seen
    }

    /// All that must hold between two turns; where nothing has moved, but now and then the whole.
    fn check(&mut self, node: &Node) {
        self.unseen += 1;
        let applied = node.view().applied;
        if applied != self.seen || self.unseen >= TURNS_UNSEEN {
            node.check();
            (self.seen, self.unseen) = (applied, 0);
        } else if self.unseen % TURNS_UNCHECKED == 0 {
            node.check_turn();
        }
    }

    fn take_in(&mut self, wires: &mut Wires<'_>, happenings: &[Happening]) -> Vec<Came> {
        let mut came = self.links.take_closed();
        for happening in happenings {
            match *happening {
                Happening::Acceptable { port } => self.links.accept(wires, port, &mut came),
                Happening::Dialled { dial, outcome } => {
                    self.links.on_dialled(wires, dial, outcome, &mut came);
                }
                Happening::Readable { socket } => self.links.on_readable(socket),
                Happening::Writable { socket } => self.links.on_writable(wires, socket),
            }
        }
        self.links.nameless(&mut came);
        self.links.read(wires, self.read_bytes, &mut came);
        came
    }

    /// Does what the node wants, in its order. Whether that was to end.
    fn perform(&mut self, wires: &mut Wires<'_>, effects: &Effects) -> bool {
        let now = wires.now();
        let mut has_ended = false;
        for effect in &effects.list {
            wires.record.mix_effect(effect, &effects.arena);
            match effect {
                Effect::Send { conn, range } => {
                    let bytes = &effects.arena[range.start as usize..range.end as usize];
                    self.links.send(wires, *conn, bytes);
                }
                Effect::Close { conn, after_flush } => {
                    self.links.close(wires, *conn, *after_flush);
                }
                Effect::Pause { conn } => self.links.pause(*conn, true),
                Effect::Resume { conn } => self.links.pause(*conn, false),
                Effect::Dial { dial, addresses, within_ms, .. } => {
                    self.links.dial(wires, *dial, addresses, *within_ms);
                }
                Effect::DropDial { dial } => self.links.drop_dial(wires, *dial),
                Effect::Storage(command) => {
                    wires.record.on_command(self.place, command);
                    self.threads.push(command.clone());
                }
                Effect::Chore(command) => self.threads.push_chore(command.clone()),
                Effect::Fatal(fatal) => {
                    self.fatal = Some(fatal.clone());
                    has_ended = true;
                }
                Effect::Finished => has_ended = true,
                Effect::Kerberos(_) => panic!("nobody here has a ticket"),
                Effect::Move(_) => panic!("the members stay where they are"),
                Effect::Established { .. } | Effect::PauseAll | Effect::ResumeAll => {}
                Effect::GiveBackMemory => {}
            }
        }
        self.links.flush_all(wires);
        if !has_ended {
            self.threads.go_on(wires, self.lives, now);
        }
        has_ended
    }

    /// When there is a turn though nothing happens.
    fn next_due(&self, wires: &Wires<'_>, node: &mut Node) -> Option<Instant> {
        let soon = wires.now().plus_ns(TURN_NS);
        if self.links.has_work() || self.threads.has_news() || node.wants_turn() {
            node.due_at_once(wires.now());
            return Some(soon);
        }
        node.next_timeout().map(|due| due.max(soon))
    }
}

fn start_of(recovered: Recovered, directory_kept_ms: u64) -> Start {
    Start {
        state: recovered.state,
        tail: recovered.tail,
        last_logged: recovered.last_logged,
        replay_until: recovered.replay_until,
        snapshot: Some(recovered.snapshot_zxid),
        wants_snapshot: recovered.wants_snapshot,
        mismatches: recovered.mismatches,
        behind: recovered.behind,
        accepted_epoch: recovered.accepted_epoch,
        current_epoch: recovered.current_epoch,
        is_lost: recovered.is_lost,
        directory_kept_ms,
    }
}
