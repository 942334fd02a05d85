//! The poll loop: the only room with sockets and clocks.
//!
//! Decides who is accepted, how much is read and written in a turn and in which order connections
//! come to it, and performs what the node asks for. Never decides what a byte behind the length of
//! a frame means, never blocks, and reads the clocks once a turn.

mod backlog;
mod clock;
mod deadlines;
mod desk;
mod door;
mod intake;
mod late;
mod limiter;
mod links;
mod logging;
mod memory;
mod moving;
mod notify;
mod open_files;
mod pace;
mod peers;
mod perform;
mod readiness;
mod sends;
mod signals;
mod surroundings;
#[cfg(test)]
mod tests;
mod tls;
mod words;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Interest, Poll, Token, Waker};

use crate::auth::{KerberosAsk, KerberosSaid};
use crate::base::limits::{ACCEPTS_PER_TURN, CLOSE_GRACE_MS, HANDSHAKES_PER_TURN};
use crate::base::{Fatal, Instant, Now};
use crate::config::{Clients, Config};
use crate::history::{ChoreCommand, StorageCommand, StorageEvent};
use crate::node::{CloseReason, Effects, Event, Handover, Start};

use clock::Clock;
use deadlines::Deadlines;
pub use desk::{Asked, Attended, NetNews, Ports};
use door::{Door, Knock};
use intake::Intake;
use late::Late;
pub use limiter::{Limiter, Permit};
use links::{Life, Links};
pub use logging::{Drained, Logging};
pub use memory::keep_memory_together;
use memory::{Need, Upkeep};
use moving::Moving;
use notify::Notifier;
pub use open_files::raise_limit;
use pace::Pace;
pub use peers::PeerPorts;
use peers::Peers;
use sends::Sends;
use signals::SignalInput;
pub use tls::check_stores;
use tls::{Handshakes, Keys, Meeting, Renewal, Wire};
pub use words::{Opening, opening};

/// What the reactor drives: a node, or what stands for one in a test.
pub trait Turn {
    fn turn(&mut self, now: Now, events: &[Event<'_>], out: &mut Effects);
    /// Behind each turn: what operators asked, and what the reactor counted.
    fn attend(&mut self, now: Now, words: &[Asked], news: &NetNews, out: &mut Effects);
    /// When a turn is due though nothing happens.
    fn next_timeout(&mut self) -> Option<Instant>;
    /// Instead: a turn is due now, though nothing happens.
    fn due_at_once(&mut self, now: Instant);
    /// There is work left that needs no event.
    fn wants_turn(&self) -> bool;
}

/// Where storage and chore commands go and what comes back. Whoever starts it gives it
/// [`Reactor::waker`] to call when there are events.
pub trait Storage {
    fn send(&self, command: StorageCommand);
    fn send_chore(&self, command: ChoreCommand);
    /// Moves what happened since the last call to the end of `out`.
    fn poll_events(&self, out: &mut Vec<StorageEvent>);
    /// Of servers that take Kerberos; the others ask nothing.
    fn ask_kerberos(&self, _: KerberosAsk) {}
    fn poll_kerberos(&self, _: &mut Vec<KerberosSaid>) {}
    /// What came of each `Rebuild`, told once.
    fn poll_rebuilt(&self) -> Vec<Start> {
        Vec::new()
    }
}

/// Why the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was durable and answered.
    Finished,
    Fatal(Fatal),
}

/// Sockets and clocks around a node.
pub struct Reactor {
    poll: Poll,
    clock: Clock,
    waker: Arc<Waker>,
    signals: Option<SignalInput>,
    notifier: Notifier,
    door: Option<Door>,
    /// For those who speak TLS and nothing else.
    secure_door: Option<Door>,
    handshakes: Handshakes,
    takes_both: bool,
    links: Links,
    peers: Peers,
    intake: Intake,
    sends: Sends,
    late: Late,
    /// Connections that this turn may yet write to.
    writes_left: usize,
    /// Connections with input the kernel may still hold, in the order of their next turn.
    ring: VecDeque<u32>,
    /// Connections whose socket has room again for a backlog.
    flushable: Vec<u32>,
    sessionless: Deadlines,
    closing: Deadlines,
    is_all_paused: bool,
    is_stopping: bool,
    storage_events: Vec<StorageEvent>,
    kerberos_said: Vec<KerberosSaid>,
    drops: Limiter,
    sessionless_expired: u64,
    ended: Option<Ended>,
    pace: Pace,
    upkeep: Upkeep,
    /// How large turns' arenas are.
    arena_need: Need,
    /// Where clients find this server, and where they are to.
    clients: Clients,
    moving: Moving,
}

impl Reactor {
    /// Binds the ports for clients; who connects from now on waits until `run`.
    pub fn open(config: &Config) -> Result<Reactor, Fatal> {
        let failed = |e: io::Error| Fatal::Unexpected(format!("polling cannot be set up: {e}"));
        let poll = Poll::new().map_err(failed)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(failed)?);
        let renewal = match config.tls.is_used() {
            true => Some(renewal(config, &poll, &waker)?),
            false => None,
        };
        let clients = &config.clients;
        let mut door = clients.port.map(|_| Door::open(clients)).transpose()?;
        let mut secure_door =
            config.tls.port.map(|_| Door::open_secure(clients, &config.tls)).transpose()?;
        for (door, token) in [(&mut door, DOOR), (&mut secure_door, SECURE_DOOR)] {
            if let Some(door) = door {
                let interest = Interest::READABLE;
                poll.registry().register(&mut door.listener, token, interest).map_err(failed)?;
            }
        }
        let detection_ms = u64::try_from(config.tls.detection_timeout_ms).unwrap_or(0);
        let sessionless_ms = u64::try_from(config.clients.sessionless_timeout_ms).unwrap_or(0);
        let peers = Peers::new(Arc::clone(&waker));
        Ok(Reactor {
            poll,
            clock: Clock::default(),
            waker,
            signals: None,
            notifier: Notifier::default(),
            door,
            secure_door,
            handshakes: Handshakes::new(renewal, detection_ms, config.tls.outstanding_handshakes),
            takes_both: config.tls.port_unification,
            links: Links::default(),
            peers,
            intake: Intake::new(config.admin.words.clone(), config.limits.jute_maxbuffer),
            sends: Sends::default(),
            late: Late::default(),
            writes_left: 0,
            ring: VecDeque::new(),
            flushable: Vec::new(),
            sessionless: Deadlines::new(sessionless_ms),
            closing: Deadlines::new(CLOSE_GRACE_MS),
            is_all_paused: false,
            is_stopping: false,
            storage_events: Vec::new(),
            kerberos_said: Vec::new(),
            drops: Limiter::default(),
            sessionless_expired: 0,
            ended: None,
            pace: Pace::default(),
            upkeep: Upkeep::default(),
            arena_need: Need::default(),
            clients: clients.clone(),
            moving: Moving::default(),
        })
    }

    /// Takes the process's signals and speaks to the service manager: for the one reactor of a
    /// server process.
    pub fn own_process(&mut self) -> Result<(), Fatal> {
        self.signals = Some(SignalInput::register(self.poll.registry(), SIGNALS)?);
        self.notifier = Notifier::from_env();
        Ok(())
    }

    /// So many descriptors are all there will ever be.
    pub fn bound_open_files(&mut self, limit: u64) {
        for door in [&mut self.door, &mut self.secure_door].into_iter().flatten() {
            door.room = open_files::room_for_connections(limit);
        }
        self.peers.room = open_files::room_for_connections(limit);
        self.keep_room_for_peers();
    }

    /// Where clients find it, if there is a port for them.
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.door.as_ref()?.listener.local_addr().ok()
    }

    /// Where those find it who speak TLS alone.
    pub fn secure_address(&self) -> Option<SocketAddr> {
        self.secure_door.as_ref()?.listener.local_addr().ok()
    }

    /// Wakes the loop from another thread.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Logs every turn that costs its thread this much CPU or more.
    pub fn tell_turns_above(&mut self, threshold_us: u64) {
        self.pace.tell_above(threshold_us);
    }

    pub fn now(&mut self) -> Now {
        self.clock.read()
    }

    /// Turns until the node or the operator ends it.
    pub fn run(&mut self, node: &mut impl Turn, storage: &impl Storage) -> Ended {
        let mut polled = mio::Events::with_capacity(POLLED_EVENTS);
        let mut effects = Effects::default();
        let mut spare: Vec<Event<'static>> = Vec::new();
        self.notifier.ready();
        loop {
            let timeout = self.timeout(node);
            if let Err(error) = self.poll.poll(&mut polled, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Ended::Fatal(Fatal::Unexpected(format!("polling failed: {error}")));
            }
            self.pace.begin();
            let now = self.clock.read();
            self.notifier.alive(now.mono);
            self.take_readiness(&polled);
            self.renew_keys();
            self.attend_peers(now.mono);
            self.accept(false, now.mono);
            self.accept(true, now.mono);
            self.flush_backlogs(now.mono);
            self.write_late(now.mono);
            self.read_ring(now.mono);
            self.end_overdue(now.mono);
            self.end_slow_handshakes(now.mono);
            self.bound_partials(now.mono);
            let input_left = !self.ring.is_empty() || !self.peers.ring.is_empty();
            if input_left || polled.iter().count() >= POLLED_EVENTS {
                self.intake.tell(Event::InputLeft);
            }
            storage.poll_events(&mut self.storage_events);
            storage.poll_kerberos(&mut self.kerberos_said);

            let rebuilt = storage.poll_rebuilt().into_iter().map(Handover::new);
            let rebuilt: Vec<_> = rebuilt.collect();

            let mut events = recycle(spare);
            events.extend(self.storage_events.drain(..).map(Event::Storage));
            events.extend(rebuilt.iter().map(Event::Rebuilt));
            self.peers.intake.events(&mut events);
            events.extend(self.kerberos_said.drain(..).map(Event::Kerberos));
            self.intake.events(&mut events);
            let count = events.len();
            node.turn(now, &events, &mut effects);
            spare = recycle(events);
            let news = self.net_news();
            node.attend(now, self.intake.asked(), &news, &mut effects);
            self.intake.clear();
            self.peers.intake.clear();

            self.perform(&mut effects, storage, now.mono);
            self.links.bury();
            self.keep_what_is_needed(&mut effects.arena, now.mono);
            effects.clear();
            self.pace.end(count);
            if let Some(ended) = self.ended.take() {
                self.flush_at_end(&ended);
                return ended;
            }
        }
    }

    /// Of the room of buffers, as what they hold comes and goes.
    fn keep_what_is_needed(&mut self, arena: &mut Vec<u8>, now: Instant) {
        self.arena_need.note(arena.len());
        if self.upkeep.is_due(now) {
            arena.shrink_to(self.arena_need.take());
            self.late.keep_what_is_needed();
            self.links.pool.keep_what_is_needed();
            self.links.peer_pool.keep_what_is_needed();
        }
    }

    /// How long the poll may wait.
    fn timeout(&mut self, node: &mut impl Turn) -> Option<Duration> {
        if self.has_work() || node.wants_turn() {
            node.due_at_once(self.clock.read().mono);
            return Some(Duration::ZERO);
        }
        let rest = self.doors().filter_map(|door| door.rests_until).min();
        let due = [
            node.next_timeout(),
            self.sessionless.next(),
            self.closing.next(),
            self.notifier.next_due(),
            rest,
            self.handshakes.next_due(),
            self.peers.next_due(),
        ];
        let due = due.into_iter().flatten().min()?;
        Some(Duration::from_nanos(due.ns_since(self.clock.read().mono)))
    }

    fn net_news(&mut self) -> NetNews {
        let doors = [&mut self.door, &mut self.secure_door];
        let refused = doors.into_iter().flatten().map(|door| std::mem::take(&mut door.refused));
        let refused = refused.sum();
        let tls = &mut self.handshakes;
        let sessionless_expired = std::mem::take(&mut self.sessionless_expired);
        NetNews {
            connections: self.links.alive(),
            refused,
            sessionless_expired,
            handshakes: tls.under_way,
            handshakes_failed: std::mem::take(&mut tls.failed),
            handshakes_exceeded: std::mem::take(&mut tls.exceeded),
            certificate_not_after: tls.renewal.as_ref().map(|renewal| renewal.keys.not_after),
        }
    }

    fn has_work(&self) -> bool {
        let somebody_knocks =
            self.doors().any(|d| d.is_ready && d.rests_until.is_none()) && !self.is_all_paused;
        let may_read = !self.ring.is_empty() && !self.is_all_paused;
        let may_write = !self.flushable.is_empty() || !self.late.is_empty();
        let has_news = self.intake.has_news() || self.peers.has_work();
        somebody_knocks || may_read || may_write || has_news || self.links.has_dead()
    }

    /// An operator asked for the end: nobody new, and the node finishes what is in flight.
    fn stop(&mut self) {
        if !self.is_stopping {
            self.is_stopping = true;
            self.notifier.stopping();
            self.door = None;
            self.secure_door = None;
            self.peers.close_doors();
            self.intake.tell(Event::Shutdown);
        }
    }

    fn doors(&self) -> impl Iterator<Item = &Door> {
        [&self.door, &self.secure_door].into_iter().flatten()
    }

    fn heed(&mut self, asked: signals::Asked) {
        if asked.to_end {
            self.stop();
        }
        match &mut self.handshakes.renewal {
            _ if !asked.to_renew => {}
            Some(renewal) => renewal.begin(),
            None => log::info!("SIGHUP changes nothing; the configuration is read at start"),
        }
    }

    fn renew_keys(&mut self) {
        self.handshakes.steps = HANDSHAKES_PER_TURN;
        if let Some(renewal) = &mut self.handshakes.renewal {
            renewal.take_arrival();
        }
    }

    fn accept(&mut self, is_secure: bool, now: Instant) {
        let door = if is_secure { &mut self.secure_door } else { &mut self.door };
        let Some(door) = door else { return };
        let has_meeting = is_secure || self.takes_both;
        if door.rests_until.is_some_and(|until| until <= now) {
            door.rests_until = None;
        }
        let mut met = Vec::new();
        for _ in 0..ACCEPTS_PER_TURN {
            let may_open = door.is_ready && door.rests_until.is_none() && !self.is_all_paused;
            if !may_open {
                break;
            }
            let Knock::Guest(mut stream, peer) = door.accept(&self.links, now) else { continue };
            let token = Token(self.links.next_index());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let Ok(local) = stream.local_addr() else { continue };
            if self.poll.registry().register(&mut stream, token, interest).is_err() {
                continue;
            }
            if has_meeting && !self.handshakes.has_room() {
                self.handshakes.exceeded += 1;
                continue;
            }
            let conn = self.links.insert(stream, peer, is_secure, now);
            if self.sessionless.delay_ms() > 0 {
                self.sessionless.add(conn, now);
            }
            if !has_meeting {
                let (secure, subject) = (false, None);
                self.intake.tell(Event::Accepted { conn, peer, local, secure, subject });
                continue;
            }
            let link = self.links.find(conn).expect("inserted just now");
            link.meeting = Some(Box::new(Meeting { peer, local }));
            link.wire = Wire::Unclear;
            self.handshakes.under_way += 1;
            met.push(conn);
        }

        for conn in met {
            match is_secure {
                true => self.begin_tls(conn.index, now),
                false => self.handshakes.detections.add(conn, now),
            }
        }
    }

    /// Ends a connection and lets the node know.
    fn end(&mut self, index: u32, reason: CloseReason) {
        let Some(link) = self.links.at(index) else { return };
        if link.is_peer() {
            return self.end_peer(index, reason);
        }
        let conn = link.id;
        let is_met = link.meeting.take().is_none();
        self.links.kill(index);
        match is_met {
            true => self.intake.tell(Event::Closed { conn, reason }),
            // The node has never heard of it.
            false => self.handshakes.under_way -= 1,
        }
    }

    /// Connections that got no session in time, or that do not take their last bytes.
    fn end_overdue(&mut self, now: Instant) {
        while let Some(conn) = self.sessionless.pop_due(now) {
            if let Some(link) = self.links.find(conn)
                && !link.is_established
                && link.life == Life::Open
                && link.input != links::Input::Deaf
            {
                let peer = link.peer;
                if let Some(permit) = self.drops.permit(now) {
                    log::warn!("Closing connection from /{peer}: no session in time{permit}");
                }
                self.sessionless_expired += 1;
                self.end(conn.index, CloseReason::Idle);
            }
        }
        while let Some(conn) = self.closing.pop_due(now) {
            let Some(link) = self.links.find(conn) else { continue };
            if now.ms_since(link.last_sent) >= CLOSE_GRACE_MS {
                self.end(conn.index, CloseReason::Idle);
            } else {
                self.closing.add(conn, now);
            }
        }
    }
}

/// The keys that TLS is spoken with; what is wrong with their files stops the start.
fn renewal(config: &Config, poll: &Poll, waker: &Arc<Waker>) -> Result<Renewal, Fatal> {
    let keys = Keys::load(&config.tls).map_err(Fatal::InvalidInvocation)?;
    log::info!("TLS for clients with the certificate {}", keys.serial);
    let mut renewal = Renewal::new(config.tls.clone(), keys, Arc::clone(waker));
    renewal.watch(poll.registry(), STORES);
    Ok(renewal)
}

/// The same allocation for events that borrow another turn.
fn recycle<'b>(mut events: Vec<Event<'_>>) -> Vec<Event<'b>> {
    events.clear();
    events.into_iter().map(|_| unreachable!("it was cleared")).collect()
}

const WAKER: Token = Token(usize::MAX);
const DOOR: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);
const SECURE_DOOR: Token = Token(usize::MAX - 3);
const STORES: Token = Token(usize::MAX - 4);

/// From here on up to those: what belongs to peers and is no link. Links have their indices.
const PEERS: usize = 1 << 30;

/// Readiness taken in one call; the rest comes with the next.
const POLLED_EVENTS: usize = 1024;
