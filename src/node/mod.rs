//! One server's whole behaviour behind a seam of values: events in, effects out.
//!
//! Decides the order of a turn and wires the rooms to each other. Never reads a clock, a socket or
//! a file: the reactor and the simulator perform what it says.

mod clients;
mod conns;
mod handshakes;
mod look;
mod member;
mod namespaces;
mod request_throttle;
mod sasl;
mod seam;
mod settings;
mod snapshots;
mod storage_wait;
mod throttle;
mod turn;
mod upkeep;
mod view;
mod writes;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::auth::{Identities, Providers};
use crate::base::{
    ConnId, Instant, Now, Rng, ServerMetrics, ServerStats, SessionId, Ticket, Xid, Zxid,
};
use crate::config::Config;
use crate::history::Behind;
use crate::prepare::Prepare;
use crate::proto::{Entry, ErrorCode};
use crate::session::Sessions;
use crate::state::{Applied, Mode, State};
use crate::watch::WatchTable;
use crate::zab::Leading;

use conns::Conns;
pub use look::{ConnLook, ConnsLook, Listed};
use member::Member;
pub use member::Mode as NodeMode;
use request_throttle::RequestThrottle;
use sasl::Mechanism;
pub use seam::{CloseReason, Effect, Effects, Event, Handover, PeerEvent, PeerPort, Places};
use settings::Settings;
use snapshots::Snapshots;
use storage_wait::StorageWait;
use throttle::{ConnectThrottle, Outstanding, RateLimit};
use upkeep::Reaper;
pub use view::View;

/// What a node starts from: what recovery found on the disk.
pub struct Start {
    pub state: State,
    /// Logged and not yet applied, ascending: held back until a leader is established.
    pub tail: Vec<Entry>,
    pub last_logged: Zxid,
    /// Up to here txns are applied by the tolerant rules of a snapshot taken while they were.
    pub replay_until: Zxid,
    /// Whether a snapshot is due at once: there is none beneath the log.
    pub wants_snapshot: bool,
    /// Txns after which the tree was not the one their writer foresaw, among those applied by
    /// recovery.
    pub mismatches: u64,
    /// Txns that the log had behind the snapshot.
    pub behind: Behind,
    /// The epoch files of a member.
    pub accepted_epoch: i64,
    pub current_epoch: i64,
    /// The disk does not give back what it once held.
    pub is_lost: bool,
    /// The snapshot that the state was rebuilt from.
    pub snapshot: Option<Zxid>,
    /// For how long the data directory has been zkd's; `u64::MAX` where nothing in it was ever
    /// another's.
    pub directory_kept_ms: u64,
}

/// Whose a proposal is, and so what its commit leads to.
#[derive(Clone, Debug)]
enum Origin {
    Client {
        conn: ConnId,
        xid: Xid,
        op: i32,
        /// What this server knows against it; a leader may say something vaguer.
        refused: Option<ErrorCode>,
    },
    NewSession {
        session: SessionId,
        conn: ConnId,
    },
    /// A session that was this server's alone becomes one of the whole ensemble.
    Upgrade {
        session: SessionId,
    },
    Expiry {
        session: SessionId,
    },
    Reaper,
    /// A client's sync, which has no txn.
    Sync {
        conn: ConnId,
        xid: Xid,
        body: Box<[u8]>,
    },
    /// A session that came back to this server with writes under way, which a sync passes.
    Returned {
        conn: ConnId,
    },
    /// A client of another server.
    Elsewhere,
}

/// A request of the server's own.
#[derive(Clone, Debug)]
enum ServerRequest {
    CreateSession { session: SessionId, timeout_ms: i32, conn: ConnId },
    CloseSession { session: SessionId },
    Reap { path: String },
}

/// Where the process stands between serving and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    Draining,
    Finished,
}

/// Numbers storage commands.
#[derive(Debug, Default)]
struct Tickets(Ticket);

impl Tickets {
    fn next(&mut self) -> Ticket {
        self.0 = self.0.next();
        self.0
    }
}

/// One server.
pub struct Node {
    settings: Settings,
    now: Now,
    rng: Rng,
    life: Life,

    state: State,
    providers: Providers,
    sasl: Option<Mechanism>,
    /// Bytes of tokens that the Kerberos thread has not answered.
    tokens_waiting_bytes: usize,
    own_ids: Identities,
    prepare: Prepare,
    /// Of a server that leads, itself alone or others.
    leading: Leading<Origin>,
    /// What a server alone has not.
    member: Option<Box<Member>>,
    tickets: Tickets,
    storage_wait: StorageWait,
    watches: WatchTable,
    sessions: Sessions,
    applied: Applied,

    conns: Conns,
    by_session: HashMap<SessionId, ConnId, FixedState>,
    /// Sessions whose connections went with writes under way, and the last zxid these may have.
    left_writes: HashMap<SessionId, Zxid, FixedState>,
    /// Connections that came back with such a session before those were applied.
    returned: BTreeSet<(Zxid, ConnId)>,
    /// Connections with work left over from an earlier turn.
    runnable: VecDeque<ConnId>,
    /// Connections whose next write waits for room in the log.
    starved: VecDeque<ConnId>,
    /// Connections not read because too much is outstanding on the whole server.
    held_back: VecDeque<ConnId>,
    inbox: VecDeque<ServerRequest>,
    unprepared_bytes: usize,
    /// Nodes that this turn's reads went through.
    visits: Cell<usize>,
    /// Requests that waited and were taken up in this turn.
    taken_up: usize,
    /// Of the log file that is written, for its size limit.
    log_bytes: u64,
    outstanding: Outstanding,

    /// Watches of gone connections are left to be cleared away.
    has_watches_to_sweep: bool,
    snapshots: Snapshots,
    reaper: Reaper,
    purge_due: Option<Instant>,
    last_due: Option<Instant>,
    connect_throttle: ConnectThrottle,
    request_throttle: RequestThrottle,
    warnings: RateLimit,
    /// Of requests that make no sense.
    odd_requests: RateLimit,

    metrics: ServerMetrics,
    /// Digests that our own prepare foresaw wrongly.
    unforeseen_digests: u64,
    stats: ServerStats,
    started: Instant,
    dir_sizes: Option<(u64, u64)>,
}

impl Node {
    /// A server alone is a leader with one voter, established at once, so that what recovery held
    /// back is committed now and ephemerals without a session go. A member looks for a leader.
    pub fn new(config: &Config, start: Start, now: Now, rng_seed: u64) -> Result<Node, String> {
        let mut start = start;
        let member = Member::open(config, &mut start, now.mono);
        let is_alone = member.is_none();
        let mut rng = Rng::new(rng_seed);
        let settings = Settings::of(config, rng.next_u64());
        let providers = Providers::new(&settings.auth)?;
        let applied_zxid = start.state.last_zxid();
        let mut node = Node {
            now,
            life: Life::Serving,
            providers,
            sasl: None,
            tokens_waiting_bytes: 0,
            own_ids: Identities::none(),
            prepare: Prepare::new(settings.prepare.clone()),
            leading: Leading::new(start.last_logged, start.last_logged.max(applied_zxid)),
            member,
            tickets: Tickets::default(),
            storage_wait: StorageWait::new(settings.sync_limit_ms),
            watches: WatchTable::new(rng.next_u64()),
            sessions: Sessions::new(settings.tick_ms, settings.server_id, now.mono),
            applied: Applied::default(),
            conns: Conns::default(),
            by_session: HashMap::with_hasher(FixedState::with_seed(rng.next_u64())),
            left_writes: HashMap::with_hasher(FixedState::with_seed(rng.next_u64())),
            returned: BTreeSet::new(),
            runnable: VecDeque::new(),
            starved: VecDeque::new(),
            has_watches_to_sweep: false,
            held_back: VecDeque::new(),
            inbox: VecDeque::new(),
            unprepared_bytes: 0,
            visits: Cell::new(0),
            taken_up: 0,
            log_bytes: 0,
            outstanding: Outstanding::default(),
            snapshots: Snapshots::new(&settings, &mut rng, start.behind),
            reaper: Reaper::new(&settings, now.mono),
            purge_due: settings.first_purge(now.mono, start.directory_kept_ms),
            last_due: None,
            connect_throttle: ConnectThrottle::new(&settings, now.mono, rng.next_u64()),
            request_throttle: RequestThrottle::default(),
            warnings: RateLimit::default(),
            odd_requests: RateLimit::default(),
            metrics: ServerMetrics::default(),
            unforeseen_digests: 0,
            stats: ServerStats::default(),
            started: now.mono,
            dir_sizes: None,
            rng,
            settings,
            state: start.state,
        };
        node.metrics.digest_mismatches_count.add(start.mismatches);
        if is_alone {
            node.establish_role(start.tail, start.replay_until);
        }
        node.show_members();
        node.snapshots.last = start.snapshot.filter(|_| !start.wants_snapshot);
        if start.wants_snapshot {
            node.snapshots.demand();
        }
        Ok(node)
    }

    /// Commits the recovered tail, tracks every session with a full timeout, and closes those
    /// whose ephemerals outlived them.
    fn establish_role(&mut self, tail: Vec<Entry>, replay_until: Zxid) {
        self.apply_tail(tail, replay_until);
        for (session, timeout_ms) in self.state.sessions() {
            self.sessions.track(session, timeout_ms, self.now.mono);
        }
        for session in self.state.orphans() {
            log::info!("Closing session 0x{session:x}: its ephemeral nodes outlived it");
            self.inbox.push_back(ServerRequest::CloseSession { session });
        }
    }

    /// Puts what was logged and held back into the state, before any client is served.
    fn apply_tail(&mut self, tail: Vec<Entry>, replay_until: Zxid) {
        for entry in tail {
            self.applied.clear();
            let is_replay = entry.header.zxid <= replay_until;
            let mode = if is_replay { Mode::Replay } else { Mode::Exact };
            self.state.apply(&entry.header, &entry.txn, mode, &mut self.applied);
            if !is_replay {
                self.compare_digest(entry.header.zxid, entry.digest);
            }
        }
        self.applied.clear();
    }
}

/// The operation's name in `cons`, as Java's.
fn op_name(op: i32) -> &'static str {
    match op {
        1 | 15 | 19 | 21 => "CREA",
        2 | 20 => "DELE",
        3 => "EXIS",
        4 => "GETD",
        5 => "SETD",
        6 => "GETA",
        7 => "SETA",
        8 | 12 => "GETC",
        9 => "SYNC",
        11 => "PING",
        13 => "CHEC",
        14 => "MULT",
        16 => "RECO",
        17 => "CHKW",
        18 => "REMW",
        22 => "MLTR",
        101 => "SETW",
        103 => "GETE",
        104 => "GETACN",
        105 => "STW2",
        106 => "ADDW",
        107 => "HOMI",
        -10 => "SESS",
        -11 => "CLOS",
        _ => "NA",
    }
}
