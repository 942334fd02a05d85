//! One machine: its files, its clock, and the server that runs on it until something strikes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use zkd::auth::{KerberosAsk, KerberosSaid};
use zkd::base::{ConnId, Fatal, Instant, Now, Ticket, WallMillis};
use zkd::config::Config;
use zkd::disk::{Chores, LogWriter, StorageSettings, kept_ms, recover};
use zkd::history::{ChoreCommand, StorageCommand, StorageEvent};
use zkd::node::{CloseReason, Effect, Effects, Event, Node, Start};
use zkd::proto::Splitter;

use super::disk::{Fault, Files, SimDisk};

/// Deliberate mistakes of the harness that checkers must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    None,
    /// Syncs do nothing.
    NoSync,
    /// Directory syncs do nothing.
    NoDirSync,
    /// Appends are told durable before they are written.
    ReplyBeforeDurable,
    /// Snapshots and new logs get their names before they are synced.
    RenameBeforeSync,
    /// What recovery cuts off a torn log stays there, though nobody believes it.
    NoCut,
    /// A torn record at a log's end passes for a whole one: recovery believes it.
    TornTailKept,
    /// Every break of a log passes for a torn tail.
    DamageCut,
}

/// What the server side of a connection has for its client.
#[derive(Debug, Default)]
pub struct Link {
    pub from_client: Vec<u8>,
    pub to_client: Vec<u8>,
    splitter: Splitter,
    pub is_closed: bool,
}

pub struct Machine {
    pub files: Rc<RefCell<Files>>,
    settings: StorageSettings,
    config: Config,
    breakage: Breakage,
    pub now: Now,
    seed: u64,
    node: Option<Node>,
    log: Option<LogWriter<SimDisk>>,
    chores: Option<Chores<SimDisk>>,
    commands: VecDeque<StorageCommand>,
    chore_queue: VecDeque<ChoreCommand>,
    events: Vec<StorageEvent>,
    pub links: Vec<Option<Link>>,
    generations: Vec<u32>,
    accepted: Vec<ConnId>,
    closed: Vec<ConnId>,
    paused: Vec<bool>,
    effects: Effects,
    /// For the Kerberos thread, and what it says.
    pub asked_of_kerberos: Vec<KerberosAsk>,
    pub kerberos_said: Vec<KerberosSaid>,
    /// Records appended since the last look, for the canonical history.
    pub appended: Vec<bytes::Bytes>,
    pub fatal: Option<Fatal>,
    /// A running hash of every effect, to find hidden nondeterminism.
    pub trace: u64,
    pub turns: u64,
}

impl Machine {
    pub fn new(
        seed: u64,
        config: Config,
        settings: StorageSettings,
        breakage: Breakage,
    ) -> Machine {
        let mut settings = settings;
        if breakage == Breakage::DamageCut {
            settings.unsynced_bytes = u64::MAX / 2;
        }
        let mut files = Files::new(seed);
        files.ignores_sync = breakage == Breakage::NoSync;
        files.ignores_dir_sync = breakage == Breakage::NoDirSync;
        files.ignores_draft_sync = breakage == Breakage::RenameBeforeSync;
        files.ignores_cut = breakage == Breakage::NoCut;
        files.hides_marks = breakage == Breakage::DamageCut;
        files.mends_torn_tails = breakage == Breakage::TornTailKept;
        Machine {
            files: Rc::new(RefCell::new(files)),
            settings,
            config,
            breakage,
            now: Now { mono: Instant(1_000_000_000), wall: WallMillis(1_700_000_000_000) },
            seed,
            node: None,
            log: None,
            chores: None,
            commands: VecDeque::new(),
            chore_queue: VecDeque::new(),
            events: Vec::new(),
            links: Vec::new(),
            generations: Vec::new(),
            accepted: Vec::new(),
            closed: Vec::new(),
            paused: Vec::new(),
            effects: Effects::default(),
            asked_of_kerberos: Vec::new(),
            kerberos_said: Vec::new(),
            appended: Vec::new(),
            fatal: None,
            trace: 0,
            turns: 0,
        }
    }

    /// Recovers from the files and starts the server.
    pub fn start(&mut self) -> Result<(), Fatal> {
        let mut disk = SimDisk::new(&self.files);
        let recovered = recover(&mut disk, &self.settings)?;
        self.fatal = None;
        let last = recovered.last_logged;
        let wall = self.now.wall;
        let kept_ms = kept_ms(&mut disk, &self.settings, recovered.created, wall);
        let start = Start {
            state: recovered.state,
            tail: recovered.tail,
            last_logged: recovered.last_logged,
            replay_until: recovered.replay_until,
            wants_snapshot: recovered.wants_snapshot,
            mismatches: recovered.mismatches,
            behind: recovered.behind,
            accepted_epoch: recovered.accepted_epoch,
            current_epoch: recovered.current_epoch,
            is_lost: recovered.is_lost,
            snapshot: Some(recovered.snapshot_zxid),
            directory_kept_ms: kept_ms,
        };
        self.log = Some(LogWriter::new(SimDisk::new(&self.files), &self.settings, last));
        self.chores = Some(Chores::new(SimDisk::new(&self.files), &self.settings));
        let node = Node::new(&self.config, start, self.now, self.seed).expect("a good config");
        self.node = Some(node);
        Ok(())
    }

    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub fn node_mut(&mut self) -> Option<&mut Node> {
        self.node.as_mut()
    }

    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// The process is gone: connections break, queues vanish, files stay as the fault leaves them.
    pub fn stop(&mut self, fault: Fault) {
        self.node = None;
        self.log = None;
        self.chores = None;
        self.commands.clear();
        self.chore_queue.clear();
        self.events.clear();
        self.accepted.clear();
        self.closed.clear();
        self.links.iter_mut().for_each(|link| *link = None);
        self.files.borrow_mut().restart(fault);
    }

    pub fn connect(&mut self) -> ConnId {
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.links.push(None);
            self.generations.push(0);
            self.paused.push(false);
            self.links.len() - 1
        });
        self.generations[index] += 1;
        self.links[index] = Some(Link::default());
        self.paused[index] = false;
        let conn = ConnId { index: index as u32, generation: self.generations[index] };
        self.accepted.push(conn);
        conn
    }

    pub fn link(&mut self, conn: ConnId) -> Option<&mut Link> {
        let index = conn.index as usize;
        if self.generations.get(index) != Some(&conn.generation) {
            return None;
        }
        self.links[index].as_mut()
    }

    /// The client's end breaks.
    pub fn cut(&mut self, conn: ConnId) {
        if self.link(conn).is_some() {
            self.links[conn.index as usize] = None;
            self.closed.push(conn);
        }
    }

    pub fn advance(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall = WallMillis(self.now.wall.0 + ms as i64);
        self.files.borrow_mut().clock_ns += ms * 1_000_000;
    }

    /// When the node wants a turn though nothing happens.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.node.as_mut()?.next_timeout()
    }

    /// Time passes up to a timer that is due, if one is before `ms` have gone by.
    pub fn wait(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        loop {
            let due = self.node.as_mut().and_then(|node| node.next_timeout());
            let Some(due) = due.filter(|due| *due < end) else { break };
            self.advance(due.ms_since(self.now.mono) + 1);
            self.turn();
            if !self.is_up() || self.now.mono >= end {
                return;
            }
        }
        self.advance(end.ms_since(self.now.mono));
        self.turn();
    }

    /// One turn of the node, on everything that has arrived.
    pub fn turn(&mut self) {
        let Some(mut node) = self.node.take() else { return };
        self.turns += 1;
        let frames = self.take_frames();
        let mut events: Vec<Event<'_>> = self.events.drain(..).map(Event::Storage).collect();
        events.extend(self.kerberos_said.drain(..).map(Event::Kerberos));
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4242));
        for conn in self.closed.drain(..) {
            events.push(Event::Closed { conn, reason: CloseReason::PeerClosed });
        }
        for conn in self.accepted.drain(..) {
            events.push(Event::Accepted { conn, peer, local: peer, secure: false, subject: None });
        }
        for (conn, body) in &frames {
            events.push(Event::Frame { conn: *conn, body });
        }
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        node.turn(self.now, &events, &mut effects);
        node.check();
        self.node = Some(node);
        self.perform(&effects);
        self.effects = effects;
    }

    fn take_frames(&mut self) -> Vec<(ConnId, Vec<u8>)> {
        let mut frames = Vec::new();
        for index in 0..self.links.len() {
            let conn = ConnId { index: index as u32, generation: self.generations[index] };
            let is_paused = self.paused[index];
            let Some(link) = &mut self.links[index] else { continue };
            link.splitter.push(&std::mem::take(&mut link.from_client));
            while !is_paused && let Ok(Some(body)) = link.splitter.next(1 << 20) {
                frames.push((conn, body.to_vec()));
            }
        }
        frames
    }

    fn perform(&mut self, effects: &Effects) {
        let mut early = Vec::new();
        for effect in &effects.list {
            self.note(effect, &effects.arena);
            match effect {
                Effect::Send { conn, range } => {
                    let bytes = &effects.arena[range.start as usize..range.end as usize];
                    if let Some(link) = self.link(*conn) {
                        link.to_client.extend_from_slice(bytes);
                    }
                }
                Effect::Close { conn, .. } => {
                    if let Some(link) = self.link(*conn) {
                        link.is_closed = true;
                        self.closed.push(*conn);
                    }
                }
                Effect::Pause { conn } => self.paused[conn.index as usize] = true,
                Effect::Resume { conn } => self.paused[conn.index as usize] = false,
                Effect::Storage(command) => {
                    if let StorageCommand::Append { bytes, .. } = command {
                        self.appended.push(bytes.clone());
                    }
                    early.push(command.ticket());
                    self.commands.push_back(command.clone());
                }
                Effect::Chore(command) => self.chore_queue.push_back(command.clone()),
                Effect::Kerberos(ask) => self.asked_of_kerberos.push(ask.clone()),
                Effect::Fatal(fatal) => self.fatal = Some(fatal.clone()),
                Effect::Dial { .. } | Effect::DropDial { .. } | Effect::Move(_) => {
                    panic!("it is alone")
                }
                Effect::Established { .. }
                | Effect::PauseAll
                | Effect::ResumeAll
                | Effect::GiveBackMemory
                | Effect::Finished => {}
            }
        }
        if self.breakage == Breakage::ReplyBeforeDurable {
            let told = |ticket: Ticket| StorageEvent::Durable { ticket, sync_us: 0 };
            self.events.extend(early.into_iter().map(told));
        }
        if self.fatal.is_some() {
            self.node = None;
        }
    }

    fn note(&mut self, effect: &Effect, arena: &[u8]) {
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        mix(format!("{effect:?}").as_bytes());
        if let Effect::Send { range, .. } = effect {
            mix(&arena[range.start as usize..range.end as usize]);
        }
    }

    /// The log thread does what is queued with one sync; the chore thread does a slice.
    pub fn storage(&mut self) {
        if let Err(fatal) = self.run_log() {
            self.events.push(StorageEvent::Failed(fatal));
        }
        if let Some(chores) = &mut self.chores {
            if self.log.as_mut().is_some_and(LogWriter::take_spare_request) {
                chores.make_spare();
            }
            for _ in 0..4 {
                match self.chore_queue.pop_front() {
                    Some(command) => chores.execute(&command, &mut self.events),
                    None => chores.go_on(&mut self.events),
                }
            }
        }
    }

    fn run_log(&mut self) -> Result<(), Fatal> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if self.commands.is_empty() {
            return Ok(());
        }
        for command in self.commands.drain(..) {
            log.execute(&command, &mut self.events)?;
        }
        let event = log.sync()?;
        if self.breakage != Breakage::ReplyBeforeDurable {
            self.events.push(event);
        }
        Ok(())
    }
}
