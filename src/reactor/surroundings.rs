//! What `conf`, `envi` and `mntr` tell of the process and its machine.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::admin::{Conf, Environment, NetReport, QuorumConf};
use crate::base::Now;
use crate::config::{Config, Ensemble, MemberConfig};
use crate::members::Role;

use super::{NetNews, Ports};

/// The settings as `conf` shows them.
pub fn conf(config: &Config, ports: Ports) -> Conf {
    let clients = &config.clients;
    Conf {
        client_port: ports.plain.map_or(-1, i32::from),
        secure_client_port: ports.secure.map_or(-1, i32::from),
        data_dir: version_dir(&config.storage.data_dir),
        data_log_dir: version_dir(&config.storage.data_log_dir),
        tick_time_ms: i64::from(config.tick_time_ms),
        max_client_cnxns: i64::from(clients.max_client_cnxns),
        min_session_timeout_ms: i64::from(config.min_session_timeout_ms),
        max_session_timeout_ms: i64::from(config.max_session_timeout_ms),
        client_port_listen_backlog: i64::from(clients.listen_backlog),
        server_id: config.ensemble.member.as_ref().map_or(0, |member| member.me.0),
        quorum: config.ensemble.member.as_ref().map(|member| quorum(&config.ensemble, member)),
    }
}

fn quorum(ensemble: &Ensemble, member: &MemberConfig) -> QuorumConf {
    let line = member.active.members.get(&member.me);
    let first = line.and_then(|line| line.addresses.first());
    QuorumConf {
        init_limit: i64::from(ensemble.init_limit_ticks),
        sync_limit: i64::from(ensemble.sync_limit_ticks),
        election_alg: 3,
        election_port: first.map_or(-1, |first| i32::from(first.election_port)),
        quorum_port: first.map_or(-1, |first| i32::from(first.quorum_port)),
        is_observer: member.role() == Role::Observer,
        membership: member.active.text(),
    }
}

fn version_dir(dir: &str) -> String {
    let dir = Path::new(dir).join("version-2");
    std::path::absolute(&dir).unwrap_or(dir).display().to_string()
}

/// The machine as `envi` shows it, looked up once.
pub fn environment() -> Environment {
    let name = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let mib = |count: u64| count.saturating_mul(u64::from(memory.mem_unit)) >> 20;
    let (total, free) = (mib(memory.totalram), mib(memory.freeram));
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let dir = std::env::current_dir().map(|dir| dir.display().to_string());
    Environment {
        host_name: name.nodename().to_string_lossy().into_owned(),
        os_arch: match std::env::consts::ARCH {
            "x86_64" => "amd64".to_owned(),
            arch => arch.to_owned(),
        },
        os_version: name.release().to_string_lossy().into_owned(),
        user_name: variable("USER"),
        user_home: variable("HOME"),
        user_dir: dir.unwrap_or_default(),
        tmp_dir: "/tmp".to_owned(),
        memory_free_mb: free,
        memory_max_mb: total,
        memory_total_mb: total,
    }
}

/// What the sockets are worth in numbers.
pub fn net_report(news: &NetNews, now: Now) -> NetReport {
    let connections = news.connections;
    let limit = getrlimit(Resource::Nofile).current;
    NetReport {
        connections: connections as u64,
        open_files: open_files(connections),
        max_files: limit.map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
        outstanding_tls_handshakes: news.handshakes as u64,
        certificate_days_left: news
            .certificate_not_after
            .map(|end| end.saturating_sub(now.wall.0 / 1000).div_euclid(SECONDS_OF_A_DAY)),
        ..NetReport::default()
    }
}

/// Linux tells it as the size of that directory since 6.2; reading the directory would take long
/// where there are many.
fn open_files(connections: usize) -> i64 {
    let told = std::fs::metadata("/proc/self/fd").map_or(0, |meta| meta.len());
    i64::try_from(told.max(connections as u64)).unwrap_or(i64::MAX)
}

const SECONDS_OF_A_DAY: i64 = 86_400;
