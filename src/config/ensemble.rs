//! What only an ensemble reads: its limits in ticks, elections, leaders, learners, observers.

use super::read::File;
use super::values::Properties;
use super::{ConfigError, MemberConfig};

/// What only a member uses; read in any case, so that a server that is alone can check and show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// `initLimit`; 0: not set, which no member is.
    pub init_limit_ticks: i32,
    /// `syncLimit`; 0: not set, which no member is.
    pub sync_limit_ticks: i32,
    /// `connectToLearnerMasterLimit`; 0: as long as `initLimit`.
    pub connect_limit_ticks: i32,
    pub standalone_enabled: bool,
    pub reconfig_enabled: bool,
    /// `quorumListenOnAllIPs`.
    pub listens_on_all_ips: bool,
    /// `localSessionsEnabled`.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`.
    pub local_session_upgrades: bool,
    pub multi_address: MultiAddress,
    pub elections: Elections,
    pub leading: Leading,
    pub learning: Learning,
    pub observing: Observing,
    pub commit_log_count: i32,
    /// `snapshotSizeFactor`, at most 1; below 0: nobody is fed from the log on disk.
    pub snapshot_size_factor: f64,
    /// None: this server is alone.
    pub member: Option<MemberConfig>,
}

impl Default for Ensemble {
    fn default() -> Ensemble {
        Ensemble {
            init_limit_ticks: 0,
            sync_limit_ticks: 0,
            connect_limit_ticks: 0,
            standalone_enabled: true,
            reconfig_enabled: false,
            listens_on_all_ips: false,
            local_sessions: false,
            local_session_upgrades: false,
            multi_address: MultiAddress::default(),
            elections: Elections::default(),
            leading: Leading::default(),
            learning: Learning::default(),
            observing: Observing::default(),
            commit_log_count: 500,
            snapshot_size_factor: DEFAULT_SNAPSHOT_SIZE_FACTOR,
            member: None,
        }
    }
}

/// `multiAddress.*`: members that are reached at more than one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiAddress {
    pub enabled: bool,
    /// `multiAddress.reachabilityCheckEnabled`.
    pub checks_reachability: bool,
    /// `multiAddress.reachabilityCheckTimeoutMs`, at least 1.
    pub check_timeout_ms: u64,
}

impl Default for MultiAddress {
    fn default() -> MultiAddress {
        MultiAddress { enabled: false, checks_reachability: true, check_timeout_ms: 1000 }
    }
}

/// The links between members over which a leader is elected, and how often a vote is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elections {
    /// `fastleader.minNotificationInterval`, at least 1.
    pub min_interval_ms: u64,
    /// `fastleader.maxNotificationInterval`, at least `min_interval_ms`.
    pub max_interval_ms: u64,
    /// `cnxTimeout`, at least 1: how long a dial may take.
    pub dial_timeout_ms: u64,
    /// `quorumCnxnTimeoutMs`: how long a link may be silent that has not said who it is; none: as
    /// long as `syncLimit`.
    pub silence_ms: Option<u64>,
    /// `electionPortBindRetry`; none: for ever.
    pub bind_retries: Option<u32>,
    /// `tcpKeepAlive`.
    pub tcp_keep_alive: bool,
}

impl Default for Elections {
    fn default() -> Elections {
        Elections {
            min_interval_ms: 200,
            max_interval_ms: 60_000,
            dial_timeout_ms: 5000,
            silence_ms: None,
            bind_retries: Some(DEFAULT_BIND_RETRIES),
            tcp_keep_alive: false,
        }
    }
}

/// What a member does while it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leading {
    /// `leaderServes`: whether a leader takes clients.
    pub serves_clients: bool,
    /// `leader.maxConcurrentSnapSyncs`, at least 1.
    pub snap_syncs: u32,
    /// `leader.maxConcurrentDiffSyncs`, at least 1.
    pub diff_syncs: u32,
    /// `forceSnapshotSync`: learners always get a snapshot.
    pub forces_snapshots: bool,
    /// `leader.maxTimeToWaitForEpoch`: how long a leader waits whose voter has changed its mind;
    /// none: no less than for others.
    pub epoch_wait_ms: Option<u64>,
}

impl Default for Leading {
    fn default() -> Leading {
        Leading {
            serves_clients: true,
            snap_syncs: 10,
            diff_syncs: 100,
            forces_snapshots: false,
            epoch_wait_ms: None,
        }
    }
}

/// What a member does that follows or observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    /// `leaderConnectDelayDuringRetryMs`: between two dials to one address.
    pub redial_ms: u64,
}

impl Default for Learning {
    fn default() -> Learning {
        Learning { redial_ms: 100 }
    }
}

/// What observers do, and what followers do for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observing {
    /// `syncEnabled`, or the property `observer.syncEnabled`, which is stronger: whether an
    /// observer keeps a log and snapshots.
    pub logs: bool,
    /// `observerMasterPort`; none: followers feed no observers, and observers go to the leader.
    pub master_port: Option<u16>,
    /// `observerMaster.sizeLimit`: how much a follower keeps for them.
    pub master_bytes: u64,
    /// `observer.reconnectDelayMs`: the most that is waited, by chance, before a dial.
    pub reconnect_delay_ms: u64,
    /// `observer.election.DelayMs`: the most that is waited, by chance, before an election.
    pub election_delay_ms: u64,
}

impl Default for Observing {
    fn default() -> Observing {
        Observing {
            logs: true,
            master_port: None,
            master_bytes: 32 * 1024 * 1024,
            reconnect_delay_ms: 0,
            election_delay_ms: 200,
        }
    }
}

const DEFAULT_BIND_RETRIES: u32 = 3;
const DEFAULT_SNAPSHOT_SIZE_FACTOR: f64 = 0.33;

/// What stands in `zoo.cfg` and nowhere else.
pub fn file_keys(ensemble: &mut Ensemble, file: &File) -> Result<(), ConfigError> {
    ensemble.init_limit_ticks = file.int("initLimit", 0)?;
    ensemble.sync_limit_ticks = file.int("syncLimit", 0)?;
    // Java takes every number that is not above 0 for none.
    ensemble.connect_limit_ticks = file.int("connectToLearnerMasterLimit", 0)?.max(0);
    ensemble.standalone_enabled = file.flag("standaloneEnabled", true)?;
    ensemble.reconfig_enabled = file.flag("reconfigEnabled", false)?;
    ensemble.listens_on_all_ips = file.flag("quorumListenOnAllIPs", false)?;
    ensemble.local_sessions = file.flag("localSessionsEnabled", false)?;
    ensemble.local_session_upgrades = file.flag("localSessionsUpgradingEnabled", false)?;
    ensemble.observing.logs = file.flag("syncEnabled", true)?;
    let port = file.int("observerMasterPort", 0)?;
    ensemble.observing.master_port = match u16::try_from(port) {
        Ok(port) => (port > 0).then_some(port),
        Err(_) if port < 0 => None,
        Err(_) => {
            return Err(file.fault("observerMasterPort", format!("port out of range:{port}")));
        }
    };
    let algorithm = file.int("electionAlg", 3)?;
    if algorithm != 3 {
        let reason = format!("Invalid electionAlg value. Only 3 is supported. ({algorithm})");
        return Err(file.fault("electionAlg", reason));
    }
    Ok(())
}

/// `multiAddress.*`, which Java reads as properties before it reads them in `zoo.cfg`.
pub fn multi_address(
    of: &mut MultiAddress,
    file: &File,
    from: &mut Properties,
) -> Result<(), ConfigError> {
    let enabled = from.flag("multiAddress.enabled", false);
    let checks = from.flag("multiAddress.reachabilityCheckEnabled", true);
    let timeout_ms = from.positive(CHECK_TIMEOUT, 1000);
    of.enabled = file.flag("multiAddress.enabled", enabled)?;
    of.checks_reachability = file.flag("multiAddress.reachabilityCheckEnabled", checks)?;
    let timeout_ms = file.int(CHECK_TIMEOUT, timeout_ms)?;
    of.check_timeout_ms = match u64::try_from(timeout_ms) {
        Ok(timeout_ms) if timeout_ms > 0 => timeout_ms,
        _ => return Err(file.fault(CHECK_TIMEOUT, format!("{timeout_ms} ms is out of range"))),
    };
    Ok(())
}

const CHECK_TIMEOUT: &str = "multiAddress.reachabilityCheckTimeoutMs";

/// What Java reads as system properties.
pub fn properties(ensemble: &mut Ensemble, from: &mut Properties) {
    ensemble.commit_log_count = from.at_least("commitLogCount", 500, 500);
    let factor = from.float("snapshotSizeFactor", DEFAULT_SNAPSHOT_SIZE_FACTOR);
    ensemble.snapshot_size_factor = factor;
    if factor > 1.0 {
        ensemble.snapshot_size_factor = DEFAULT_SNAPSHOT_SIZE_FACTOR;
        from.warnings.push(format!(
            "snapshotSizeFactor: {factor} is above 1; {DEFAULT_SNAPSHOT_SIZE_FACTOR} is used"
        ));
    }
    elections(&mut ensemble.elections, from);
    let leading = &mut ensemble.leading;
    leading.serves_clients = !from.is_word("leaderServes", "no", "yes");
    leading.snap_syncs = from.positive("leader.maxConcurrentSnapSyncs", 10).unsigned_abs();
    leading.diff_syncs = from.positive("leader.maxConcurrentDiffSyncs", 100).unsigned_abs();
    leading.forces_snapshots = from.flag("forceSnapshotSync", false);
    leading.epoch_wait_ms = u64::try_from(from.int("leader.maxTimeToWaitForEpoch", -1)).ok();
    let delay = |value: i64| u64::try_from(value).unwrap_or(0);
    ensemble.learning.redial_ms =
        delay(i64::from(from.at_least("leaderConnectDelayDuringRetryMs", 100, 0)));
    let observing = &mut ensemble.observing;
    if from.text("observer.syncEnabled").is_some() {
        observing.logs = from.flag("observer.syncEnabled", true);
    }
    let bytes = from.at_least("observerMaster.sizeLimit", 32 * 1024 * 1024, 0);
    observing.master_bytes = delay(i64::from(bytes));
    observing.reconnect_delay_ms = delay(from.long("observer.reconnectDelayMs", 0));
    observing.election_delay_ms = delay(from.long("observer.election.DelayMs", 200));
}

fn elections(of: &mut Elections, from: &mut Properties) {
    let ms = |value: i32| u64::from(value.unsigned_abs());
    of.min_interval_ms = ms(from.positive("fastleader.minNotificationInterval", 200));
    of.max_interval_ms = ms(from.positive("fastleader.maxNotificationInterval", 60_000));
    if of.max_interval_ms < of.min_interval_ms {
        from.warnings.push(format!(
            "fastleader.maxNotificationInterval: {} is too small; {} is used",
            of.max_interval_ms, of.min_interval_ms
        ));
        of.max_interval_ms = of.min_interval_ms;
    }
    of.dial_timeout_ms = ms(from.positive("cnxTimeout", 5000));
    let silence_ms = from.int("quorumCnxnTimeoutMs", -1);
    of.silence_ms = (silence_ms > 0).then(|| ms(silence_ms));
    let retries = from.int("electionPortBindRetry", 3);
    of.bind_retries = match u32::try_from(retries) {
        Ok(retries) => (retries > 0).then_some(retries),
        Err(_) => {
            from.warnings.push(format!(
                "electionPortBindRetry: {retries} is too small; {DEFAULT_BIND_RETRIES} is used"
            ));
            Some(DEFAULT_BIND_RETRIES)
        }
    };
    of.tcp_keep_alive = from.flag("tcpKeepAlive", false);
}
