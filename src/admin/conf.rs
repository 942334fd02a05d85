//! Settings and surroundings, as `conf` and `envi` list them.

use std::io::Write;

use super::report::DirReport;

/// What `conf` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    pub client_port: i32,
    /// -1 where there is none.
    pub secure_client_port: i32,
    /// With `version-2`.
    pub data_dir: String,
    pub data_log_dir: String,
    pub tick_time_ms: i64,
    pub max_client_cnxns: i64,
    pub min_session_timeout_ms: i64,
    pub max_session_timeout_ms: i64,
    pub client_port_listen_backlog: i64,
    /// 0 for a standalone server.
    pub server_id: i64,
    pub quorum: Option<QuorumConf>,
}

/// What a member of an ensemble adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumConf {
    pub init_limit: i64,
    pub sync_limit: i64,
    pub election_alg: i64,
    pub election_port: i32,
    pub quorum_port: i32,
    pub is_observer: bool,
    /// The configuration's text, whose last line has no end.
    pub membership: String,
}

/// What `envi` shows; the process looks it up once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    pub host_name: String,
    pub os_arch: String,
    pub os_version: String,
    pub user_name: String,
    pub user_home: String,
    pub user_dir: String,
    pub tmp_dir: String,
    pub memory_free_mb: u64,
    pub memory_max_mb: u64,
    pub memory_total_mb: u64,
}

pub(super) fn write_conf(conf: &Conf, dirs: &DirReport, out: &mut Vec<u8>) {
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(out, "{key}={value}");
    };
    line("clientPort", &conf.client_port);
    line("secureClientPort", &conf.secure_client_port);
    line("dataDir", &conf.data_dir);
    line("dataDirSize", &dirs.data_bytes);
    line("dataLogDir", &conf.data_log_dir);
    line("dataLogSize", &dirs.log_bytes);
    line("tickTime", &conf.tick_time_ms);
    line("maxClientCnxns", &conf.max_client_cnxns);
    line("minSessionTimeout", &conf.min_session_timeout_ms);
    line("maxSessionTimeout", &conf.max_session_timeout_ms);
    line("clientPortListenBacklog", &conf.client_port_listen_backlog);
    line("serverId", &conf.server_id);
    let Some(quorum) = &conf.quorum else { return };
    line("initLimit", &quorum.init_limit);
    line("syncLimit", &quorum.sync_limit);
    line("electionAlg", &quorum.election_alg);
    line("electionPort", &quorum.election_port);
    line("quorumPort", &quorum.quorum_port);
    line("peerType", &i32::from(quorum.is_observer));
    let _ = write!(out, "membership: \n{}", quorum.membership);
}

/// The `java.*` keys stay, with the text that Java has for a property that is not set.
pub(super) fn write_envi(version: &str, env: &Environment, out: &mut Vec<u8>) {
    const NONE: &str = "<NA>";
    out.extend_from_slice(b"Environment:\n");
    let mut line = |key: &str, value: &str| {
        let value = if value.is_empty() { NONE } else { value };
        let _ = writeln!(out, "{key}={value}");
    };
    line("zookeeper.version", version);
    line("host.name", &env.host_name);
    line("java.version", NONE);
    line("java.vendor", NONE);
    line("java.home", NONE);
    line("java.class.path", NONE);
    line("java.library.path", NONE);
    line("java.io.tmpdir", &env.tmp_dir);
    line("java.compiler", NONE);
    line("os.name", "Linux");
    line("os.arch", &env.os_arch);
    line("os.version", &env.os_version);
    line("user.name", &env.user_name);
    line("user.home", &env.user_home);
    line("user.dir", &env.user_dir);
    line("os.memory.free", &format!("{}MB", env.memory_free_mb));
    line("os.memory.max", &format!("{}MB", env.memory_max_mb));
    line("os.memory.total", &format!("{}MB", env.memory_total_mb));
}
