//! What the other rooms tell about themselves when somebody asks.

use crate::base::{BufferSizes, ServerMetrics, ServerStats, Zxid};

use super::conf::{Conf, Environment};

/// The role, by the name that `Mode:` and `zk_server_state` give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Standalone,
    Leader,
    Follower,
    Observer,
    ReadOnly,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// Everything that the short words show.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// False while there is no role: most words then say so.
    pub serving: bool,
    pub mode: Mode,
    pub version: &'a str,
    pub stats: &'a ServerStats,
    pub metrics: &'a ServerMetrics,
    pub node: NodeReport,
    pub net: NetReport,
    pub dirs: DirReport,
    pub conf: &'a Conf,
    pub environment: &'a Environment,
    /// `gtmk`: nothing is traced here, but the mask is kept.
    pub trace_mask: i64,
}

/// The state and what is going on in it.
#[derive(Clone, Debug, Default)]
pub struct NodeReport {
    pub last_zxid: Zxid,
    pub outstanding_requests: u64,
    pub uptime_ms: u64,
    pub node_count: u64,
    pub ephemerals_count: u64,
    pub approximate_data_size: u64,
    pub watches: WatchSummary,
    pub global_sessions: u64,
    pub local_sessions: u64,
    /// By namespace, ascending.
    pub quotas: Vec<QuotaGauges>,
    /// The newest digests, oldest first: zxid and tree digest.
    pub digests: Vec<(Zxid, u64)>,
    pub peer: Option<PeerReport>,
    /// How long the log disk has not answered, while that is longer than it may.
    pub hanging_sync_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    pub connections: u64,
    pub paths: u64,
    /// Pairs of connection and path in the data table, all that `wchs` speaks of.
    pub data_watches: u64,
    pub child_watches: u64,
}

/// Limits and usage of the quotas below one top-level path; `None` where no node says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaGauges {
    /// Without its slash.
    pub namespace: String,
    pub count_limit: Option<i64>,
    pub bytes_limit: Option<i64>,
    pub count_usage: Option<i64>,
    pub bytes_usage: Option<i64>,
}

/// What a member of an ensemble adds.
#[derive(Clone, Debug, Default)]
pub struct PeerReport {
    /// Such as `leading - broadcast`.
    pub state: String,
    pub quorum_size: u64,
    /// Only a leader's.
    pub leader: Option<LeaderReport>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LeaderReport {
    pub learners: u64,
    pub synced_followers: u64,
    pub synced_non_voting_followers: u64,
    pub synced_observers: u64,
    pub pending_syncs: u64,
    pub uptime_ms: u64,
    pub proposal_sizes: BufferSizes,
}

/// What only the room with the sockets knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetReport {
    pub connections: u64,
    pub open_files: i64,
    pub max_files: i64,
    pub outstanding_tls_handshakes: u64,
    /// Whole days until the first of the server's certificates ends; negative behind that.
    pub certificate_days_left: Option<i64>,
    pub connection_drop_probability: f64,
}

/// Bytes of both directories, as the chore thread measured them last.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirReport {
    pub data_bytes: u64,
    pub log_bytes: u64,
}
