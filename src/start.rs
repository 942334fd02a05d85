//! From a configuration to a running server, and to its exit status.

mod files;
pub mod login;
mod tickets;

use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use zkd::auth::{KerberosAsk, KerberosSaid, KerberosServer, SaslServer};
use zkd::base::{Fatal, WallMillis, limits};
use zkd::config::{Config, MemberConfig, SnapshotCompression};
use zkd::disk::{self, Recovered, StorageSettings, StorageThreads};
use zkd::history::{ChoreCommand, Compression, StorageCommand, StorageEvent};
use zkd::node::{Node, Start};
use zkd::peering::HostPort;
use zkd::reactor::{
    Attended, Drained, Ended, Logging, PeerPorts, Ports, Reactor, Storage, keep_memory_together,
    raise_limit,
};
use zkd::state::StateSettings;

use login::Section;
use tickets::Tickets;

/// Runs the server until it ends: its exit status.
pub fn run(config: &Config) -> u8 {
    keep_memory_together();
    let logging = Logging::install("");
    let ended = serve(config, &logging);
    let status = match ended {
        Ok(()) => 0,
        Err(fatal) => {
            log::error!("{fatal}");
            if matches!(fatal, Fatal::DataDir(_)) {
                log::error!("Unable to access datadir, exiting abnormally");
            }
            u8::try_from(fatal.exit_status()).unwrap_or(1)
        }
    };
    log::info!("Exiting with code {status}");
    logging.write_all();
    status
}

fn serve(config: &Config, logging: &Logging) -> Result<(), Fatal> {
    config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    if !config.storage.force_sync {
        log::warn!(
            "forceSync=no: writes are acknowledged before they are on disk. A power cut may take \
             them, and may leave a log that is damaged where it was written long before"
        );
    }
    let section = login_section(config)?;
    replace_files(config)?;
    let mut reactor = open_reactor(config, logging)?;

    let waker = reactor.waker();
    let wake = move || {
        // It fails only where the loop is gone, and then nobody waits for it.
        let _ = waker.wake();
    };
    let proof = Proof::open(config, section, wake.clone())?;
    let now = reactor.now();
    let seed = seed(now.wall);
    let settings = storage_settings(config, seed);
    let (mut disk, recovered) = disk::open(&settings)?;
    let kept_ms = disk::kept_ms(&mut disk, &settings, recovered.created, now.wall);
    let last = recovered.last_logged;
    let lines = logging.clone();
    let threads = StorageThreads::start_with_errands(disk, &settings, last, wake, move || {
        write_lines(&lines)
    })
    .map_err(|e| Fatal::Unexpected(format!("a thread cannot be started: {e}")))?;
    logging.written_by(threads.nudge());
    threads.nudge()();

    let now = reactor.now();
    let mut node = Node::new(config, start(recovered, kept_ms), now, seed)
        .map_err(Fatal::InvalidInvocation)?;
    let tickets = proof.serve(&mut node);
    let view = node.view();
    log::info!(
        "Serving from zxid 0x{:x}: {} nodes, {} sessions",
        view.applied,
        view.node_count,
        view.sessions
    );
    let ports = Ports {
        plain: reactor.client_address().map(|address| address.port()),
        secure: reactor.secure_address().map(|address| address.port()),
    };
    let mut node = Attended::new(node, ports);
    let storage = Threads { storage: threads, tickets };
    match reactor.run(&mut node, &storage) {
        Ended::Finished => {
            storage.storage.finish();
            Ok(())
        }
        // A thread may hang in what failed: nobody waits for it.
        Ended::Fatal(fatal) => Err(fatal),
    }
}

/// Binds every port there is.
fn open_reactor(config: &Config, logging: &Logging) -> Result<Reactor, Fatal> {
    let mut reactor = Reactor::open(config)?;
    reactor.own_process()?;
    if let Some(threshold_us) = slow_turn_us() {
        reactor.tell_turns_above(threshold_us);
    }
    if let Some(limit) = raise_limit() {
        reactor.bound_open_files(limit);
    }
    announce(config, &reactor);
    logging.write_all();
    if let Some(member) = &config.ensemble.member {
        reactor.listen_to_peers(&peer_ports(config, member))?;
    }
    Ok(reactor)
}

/// Where other members find this one. The node sends away who has come to the wrong server.
fn peer_ports(config: &Config, member: &MemberConfig) -> PeerPorts {
    let keys = &config.ensemble;
    let line = member.active.members.get(&member.me);
    let place = |at: zkd::members::HostPort| HostPort { host: at.host, port: at.port };
    PeerPorts {
        election: line.iter().flat_map(|line| line.election_addresses()).map(place).collect(),
        quorum: line.iter().flat_map(|line| line.quorum_addresses()).map(place).collect(),
        observers: observer_ports(config, member),
        listen_on_all: keys.listens_on_all_ips,
        bind_retries: keys.elections.bind_retries.unwrap_or(0),
        retry_pause_ms: BIND_RETRY_MS,
        keep_alive: keys.elections.tcp_keep_alive,
    }
}

/// Where observers find it, beside its quorum port: only who votes follows, and feeds others.
fn observer_ports(config: &Config, member: &MemberConfig) -> Vec<HostPort> {
    let votes = member.role() == zkd::members::Role::Participant;
    let Some(port) = config.ensemble.observing.master_port.filter(|_| votes) else {
        return Vec::new();
    };
    let line = member.active.members.get(&member.me);
    let hosts = line.iter().flat_map(|line| line.quorum_addresses());
    hosts.map(|at| HostPort { host: at.host, port }).collect()
}

/// What Java sleeps between two tries to listen.
const BIND_RETRY_MS: u64 = 1000;

/// What becomes of a member's files before it serves.
fn replace_files(config: &Config) -> Result<(), Fatal> {
    let Some(member) = &config.ensemble.member else { return Ok(()) };
    files::replace(member.files_at_start())
        .map_err(|error| Fatal::InvalidInvocation(format!("Error processing {error}")))
}

/// What the login file has for this server, where one is named.
fn login_section(config: &Config) -> Result<Option<Section>, Fatal> {
    let login = login::read(config, &|path| std::fs::read(path), &|name| std::env::var(name).ok())
        .map_err(Fatal::InvalidInvocation)?;
    login.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    tickets::configure(config).map_err(Fatal::InvalidInvocation)?;
    Ok(login.section)
}

/// How clients may prove by SASL who they are.
enum Proof {
    None,
    Passwords(SaslServer),
    Kerberos(Tickets, KerberosServer),
}

impl Proof {
    fn open(
        config: &Config,
        section: Option<Section>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Proof, Fatal> {
        let users = match section {
            None => return Ok(Proof::None),
            Some(Section::Kerberos(service)) => {
                let (tickets, server) = Tickets::start(config, &service, wake)?;
                return Ok(Proof::Kerberos(tickets, server));
            }
            Some(Section::Users(users)) => users,
        };
        let mut seed = [0; 32];
        // Interrupted only by a signal, and never short of as little as this.
        rustix::io::retry_on_intr(|| getrandom(&mut seed, GetRandomFlags::empty()))
            .ok()
            .filter(|filled| *filled == 32)
            .ok_or_else(|| Fatal::Unexpected("the system has no random numbers".to_owned()))?;
        log::info!("Clients may prove themselves by SASL (DIGEST-MD5): {} users", users.len());
        Ok(Proof::Passwords(SaslServer::new(&users, seed)))
    }

    /// What the node asks while it serves, where it asks anybody.
    fn serve(self, node: &mut Node) -> Option<Tickets> {
        match self {
            Proof::None => None,
            Proof::Passwords(server) => {
                node.serve_sasl(server);
                None
            }
            Proof::Kerberos(tickets, server) => {
                node.serve_kerberos(server);
                Some(tickets)
            }
        }
    }
}

/// `ZKD_SLOW_TURN_US`: which turns an operator wants to hear of.
fn slow_turn_us() -> Option<u64> {
    std::env::var("ZKD_SLOW_TURN_US").ok()?.parse().ok()
}

/// The line that says where clients find it and where the data lies.
fn announce(config: &Config, reactor: &Reactor) {
    let data = absolute(&config.storage.data_dir);
    let logs = absolute(&config.storage.data_log_dir);
    let place = match reactor.client_address() {
        Some(address) => format!("binding to port {address}"),
        None => "no port for plain clients".to_owned(),
    };
    let place = match reactor.secure_address() {
        Some(address) => format!("{place}, TLS on {address}"),
        None => place,
    };
    let text = format!("zkd {}: {place}, data in {data}", zkd::base::ANNOUNCED_VERSION);
    let text = if logs == data { text } else { format!("{text}, log in {logs}") };
    log::info!("{text}");
}

fn absolute(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |p| p.display().to_string())
}

/// Log lines, written by the chore thread: when it wants to go on.
fn write_lines(logging: &Logging) -> Option<Duration> {
    match logging.write_some() {
        Drained::Empty => None,
        Drained::More => Some(Duration::ZERO),
        Drained::Blocked => Some(BLOCKED_LOG_RETRY),
    }
}

fn storage_settings(config: &Config, seed: u64) -> StorageSettings {
    let storage = &config.storage;
    let mut settings = StorageSettings::new(&storage.data_dir);
    settings.log_dir = (&storage.data_log_dir).into();
    settings.autocreate_dirs = storage.datadir_autocreate;
    settings.autocreate_db = storage.db_autocreate;
    settings.trust_empty_snapshot = storage.snapshot_trust_empty;
    settings.is_alone = config.ensemble.member.is_none();
    if !settings.is_alone {
        // Nobody has said yet that the end of a member's history is committed.
        settings.hold_back = usize::try_from(config.ensemble.commit_log_count).unwrap_or(0);
    }
    settings.force_sync = storage.force_sync;
    settings.sync_warning_ms = u64::try_from(storage.fsync_warning_ms).unwrap_or(0);
    let preallocate_kib = u64::try_from(storage.pre_alloc_kib).unwrap_or(0);
    settings.preallocate_bytes = preallocate_kib.saturating_mul(1024);
    settings.compression = match storage.snapshot_compression {
        SnapshotCompression::None => Compression::None,
        SnapshotCompression::Gz => Compression::Gzip,
        SnapshotCompression::Snappy => Compression::Snappy,
    };
    // What is handed over before a sync is bounded, and may end in one txn more than that.
    let unsynced = limits::UNSYNCED_BYTES + limits::txn_bytes(config.limits.jute_maxbuffer);
    settings.unsynced_bytes = unsynced as u64;
    settings.state = StateSettings {
        extended_types: config.tree.extended_types,
        emulate_353: config.tree.emulate_353_ttl,
        digest: config.tree.digest_enabled,
        // Not the node's own seed: one must not tell of the other.
        hash_seed: seed.rotate_left(32) ^ 0x5851_f42d_4c95_7f2d,
    };
    settings
}

fn start(recovered: Recovered, directory_kept_ms: u64) -> Start {
    Start {
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
        directory_kept_ms,
    }
}

/// Chance for the node, which has none of its own.
fn seed(wall: WallMillis) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // The standard tables are seeded by the operating system.
    RandomState::new().hash_one(wall.0)
}

struct Threads {
    storage: StorageThreads,
    tickets: Option<Tickets>,
}

impl Storage for Threads {
    fn send(&self, command: StorageCommand) {
        self.storage.send(command);
    }

    fn send_chore(&self, command: ChoreCommand) {
        self.storage.send_chore(command);
    }

    fn poll_events(&self, out: &mut Vec<StorageEvent>) {
        self.storage.poll_events(out);
    }

    fn poll_rebuilt(&self) -> Vec<Start> {
        let rebuilt = self.storage.poll_rebuilt().into_iter();
        // Nothing is purged by it that was not before.
        rebuilt.map(|recovered| start(recovered, u64::MAX)).collect()
    }

    fn ask_kerberos(&self, ask: KerberosAsk) {
        // Only nodes that serve Kerberos ask.
        self.tickets.iter().for_each(|tickets| tickets.ask(ask.clone()));
    }

    fn poll_kerberos(&self, out: &mut Vec<KerberosSaid>) {
        self.tickets.iter().for_each(|tickets| tickets.poll(out));
    }
}

/// How soon a log that nobody took is offered again.
const BLOCKED_LOG_RETRY: Duration = Duration::from_millis(100);
