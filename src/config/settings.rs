//! The groups of settings and Java's defaults.

use std::collections::BTreeSet;
use std::fmt;

use crate::base::limits::JUTE_MAX_BUFFER;

pub const DEFAULT_TICK_TIME_MS: i32 = 3000;

/// The port for clients and what each connection is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// `clientPort`; none: no port for clients.
    pub port: Option<u16>,
    /// `clientPortAddress`, a name or an address; none: every address.
    pub address: Option<String>,
    /// `clientPortListenBacklog`; -1: as the system has it.
    pub listen_backlog: i32,
    /// `maxClientCnxns` of one address; 0: any number.
    pub max_client_cnxns: i32,
    /// `maxCnxns` in all; 0: any number.
    pub max_cnxns: i32,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may live without a session.
    pub sessionless_timeout_ms: i32,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            port: None,
            address: None,
            listen_backlog: -1,
            max_client_cnxns: 60,
            max_cnxns: 0,
            tcp_keep_alive: false,
            sessionless_timeout_ms: 10_000,
        }
    }
}

/// Directories, log and snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    pub data_dir: String,
    pub data_log_dir: String,
    /// `snapCount`: txns between snapshots, at least 2.
    pub snap_count: i32,
    pub pre_alloc_kib: i64,
    /// `txnLogSizeLimitInKb`; none: no limit.
    pub txn_log_size_limit_kib: Option<i64>,
    /// `snapSizeLimitInKb`: log bytes between snapshots; none: no limit.
    pub snap_size_limit_kib: Option<i64>,
    pub force_sync: bool,
    /// `fsync.warningthresholdms`.
    pub fsync_warning_ms: i64,
    pub flush_delay_ms: i64,
    /// `maxWriteQueuePollTime`.
    pub max_write_queue_poll_ms: i64,
    pub max_batch: i32,
    pub snapshot_trust_empty: bool,
    pub snapshot_compression: SnapshotCompression,
    /// `serializeLastProcessedZxid.enabled`.
    pub serialize_last_processed_zxid: bool,
    pub db_autocreate: bool,
    pub datadir_autocreate: bool,
    pub purge: Purge,
}

impl Storage {
    pub fn of_data_dir(data_dir: &str) -> Storage {
        Storage {
            data_dir: data_dir.to_owned(),
            data_log_dir: data_dir.to_owned(),
            snap_count: 100_000,
            pre_alloc_kib: 65_536,
            txn_log_size_limit_kib: None,
            snap_size_limit_kib: Some(4_194_304),
            force_sync: true,
            fsync_warning_ms: 1000,
            flush_delay_ms: 0,
            max_write_queue_poll_ms: 0,
            max_batch: 1000,
            snapshot_trust_empty: false,
            snapshot_compression: SnapshotCompression::None,
            serialize_last_processed_zxid: true,
            db_autocreate: true,
            datadir_autocreate: true,
            purge: Purge::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotCompression {
    #[default]
    None,
    Gz,
    Snappy,
}

/// What becomes of old snapshots and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge {
    /// `autopurge.snapRetainCount`, at least 3.
    pub retain: usize,
    /// `autopurge.purgeInterval` where it is named (0: never); not named: ours.
    pub interval_hours: Option<i32>,
}

impl Default for Purge {
    fn default() -> Purge {
        Purge { retain: 3, interval_hours: None }
    }
}

/// The tree of nodes: which kinds there are and what guards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// `extendedTypesEnabled`: TTL nodes.
    pub extended_types: bool,
    /// `emulate353TTLNodes`.
    pub emulate_353_ttl: bool,
    /// `digest.enabled`: the digest of the tree goes into every txn.
    pub digest_enabled: bool,
    pub enforce_quota: bool,
    /// `closeSessionTxn.enabled`: a closing session's paths go into its txn.
    pub close_session_txn: bool,
    pub containers: Containers,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            extended_types: false,
            emulate_353_ttl: false,
            digest_enabled: true,
            enforce_quota: false,
            close_session_txn: true,
            containers: Containers::default(),
        }
    }
}

/// `znode.container.*`: how empty containers and TTL nodes are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Containers {
    pub check_interval_ms: i32,
    pub max_per_minute: i32,
    /// 0: a container that never had a child is never removed.
    pub max_never_used_ms: i64,
}

impl Default for Containers {
    fn default() -> Containers {
        Containers { check_interval_ms: 60_000, max_per_minute: 10_000, max_never_used_ms: 0 }
    }
}

/// How much may be asked at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub jute_maxbuffer: usize,
    /// `jute.maxbuffer.extrasize`: what a txn may be longer than a request.
    pub jute_extrasize: usize,
    pub global_outstanding_limit: i32,
    /// `largeRequestThreshold`; none: no request is large.
    pub large_request_threshold: Option<i32>,
    /// `largeRequestMaxBytes` of large requests at once.
    pub large_request_max_bytes: i32,
    pub request_throttle: RequestThrottle,
    pub connection_throttle: ConnectionThrottle,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            jute_maxbuffer: JUTE_MAX_BUFFER,
            jute_extrasize: JUTE_MAX_BUFFER,
            global_outstanding_limit: 1000,
            large_request_threshold: None,
            large_request_max_bytes: 100 * 1024 * 1024,
            request_throttle: RequestThrottle::default(),
            connection_throttle: ConnectionThrottle::default(),
        }
    }
}

/// `request_throttle_*` and `request_stale_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestThrottle {
    /// Requests in flight after which more wait; 0: no throttle.
    pub max_requests: i32,
    pub stall_ms: i32,
    pub drop_stale: bool,
    pub stale_latency_check: bool,
    pub stale_connection_check: bool,
    /// `throttled_op_wait_time`: waited longer, answered as throttled; 0: never.
    pub op_wait_ms: i32,
}

impl Default for RequestThrottle {
    fn default() -> RequestThrottle {
        RequestThrottle {
            max_requests: 0,
            stall_ms: 100,
            drop_stale: true,
            stale_latency_check: false,
            stale_connection_check: true,
            op_wait_ms: 0,
        }
    }
}

/// `connection_throttle_*`: the token bucket of new sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnectionThrottle {
    /// Tokens of the bucket; 0: no throttle.
    pub tokens: i32,
    pub fill_time_ms: i32,
    pub fill_count: i32,
    /// How long a probability of dropping stays; -1: nothing is dropped by chance.
    pub freeze_time_ms: i32,
    pub drop_increase: f64,
    pub drop_decrease: f64,
    pub decrease_ratio: f64,
    pub weight_enabled: bool,
    pub global_session_weight: i32,
    pub local_session_weight: i32,
    pub renew_session_weight: i32,
}

impl Default for ConnectionThrottle {
    fn default() -> ConnectionThrottle {
        ConnectionThrottle {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: -1,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weight_enabled: false,
            global_session_weight: 3,
            local_session_weight: 1,
            renew_session_weight: 2,
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled`: the scheme `digest`.
    pub digest_auth_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`, by Java's name.
    pub digest_alg: String,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<Secret>,
    /// `enforce.auth.enabled`.
    pub enforce_auth: bool,
    pub enforce_auth_schemes: Vec<String>,
    /// `enableEagerACLCheck`.
    pub eager_acl: bool,
    pub sasl: Sasl,
}

/// How clients prove by SASL who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sasl {
    /// An `authProvider.N` names its class: the scheme `sasl` may stand in ACLs.
    pub has_provider: bool,
    /// `java.security.auth.login.config`: the file with the users, as it is written.
    pub login_file: Option<String>,
    /// `sasl.serverconfig`: the section of the file; none: the default one.
    pub section: Option<String>,
    /// `SASLAuthenticationProvider.superPassword`: stands in for that of the user `super`.
    pub super_password: Option<Secret>,
    /// `superUser` and `superUser.N`: who may do everything.
    pub super_users: Vec<String>,
    /// `letAnySaslUserDoX`: the id in an ACL that stands for every SASL user.
    pub any_user_id: Option<String>,
    /// `allowSaslFailedClients`: a failed try does not cost the connection.
    pub allow_failed: bool,
    pub kerberos: Kerberos,
}

/// What of Kerberos an operator may have chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kerberos {
    /// `java.security.krb5.conf`: what stands in for the system's `krb5.conf`.
    pub config_file: Option<String>,
    /// `requireKerberosConfig`.
    pub require_config: bool,
    /// `security.auth_to_local`, where it is not `DEFAULT`.
    pub rules: Option<String>,
    /// `kerberos.removeHostFromPrincipal`.
    pub remove_host: bool,
    /// `kerberos.removeRealmFromPrincipal`.
    pub remove_realm: bool,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            skip_acl: false,
            digest_auth_enabled: true,
            digest_alg: "SHA1".to_owned(),
            super_digest: None,
            enforce_auth: false,
            enforce_auth_schemes: Vec::new(),
            eager_acl: false,
            sasl: Sasl::default(),
        }
    }
}

/// A value that no log line, listing or error may show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What operators see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// `4lw.commands.whitelist`.
    pub words: Words,
    /// `readonlymode.enabled`: `isro` is always answered then.
    pub read_only_mode: bool,
}

/// Which four-letter words are answered; `srvr` always is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    All,
    Only(BTreeSet<String>),
}

impl Default for Words {
    fn default() -> Words {
        Words::Only(BTreeSet::from(["srvr".to_owned()]))
    }
}

impl Words {
    pub fn permits(&self, word: &str) -> bool {
        match self {
            Words::All => true,
            Words::Only(words) => word == "srvr" || words.contains(word),
        }
    }
}
