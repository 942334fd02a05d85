//! What a node needs of the configuration, in its own terms and units.

use crate::auth::{AuthSettings, SaslSettings};
use crate::base::{Instant, ServerId, limits};
use crate::config::{Config, ConnectionThrottle};
use crate::prepare::PrepareSettings;
use crate::state::StateSettings;

pub(super) struct Settings {
    pub config: Config,
    pub tick_ms: u64,
    /// After which a sync that is not done hangs.
    pub sync_limit_ms: u64,
    pub server_id: ServerId,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub global_outstanding_limit: usize,
    pub auth: AuthSettings,
    /// A failed try by SASL does not cost the connection.
    pub allows_failed_sasl: bool,
    pub prepare: PrepareSettings,
    /// Of a state that takes the place of the one in memory.
    pub state: StateSettings,
    pub digest: bool,
    pub serialize_last_zxid: bool,
    pub snap_count: u64,
    /// 0: no limit.
    pub snap_size_limit_bytes: u64,
    /// 0: no limit.
    pub log_size_limit_bytes: u64,
    pub container_check_interval_ms: u64,
    pub container_max_per_minute: u64,
    pub container_max_never_used_ms: i64,
    pub purge_retain: usize,
    pub purge_interval_ms: u64,
    pub connect_throttle: ConnectThrottleSettings,
}

/// The token bucket of new sessions.
#[derive(Clone, Debug)]
pub(super) struct ConnectThrottleSettings {
    /// 0: no throttle.
    pub tokens: i64,
    pub fill_ms: u64,
    pub fill_count: u64,
    pub freeze_ms: Option<u64>,
    pub drop_increase: f64,
    pub drop_decrease: f64,
    pub decrease_ratio: f64,
    pub weighted: bool,
    /// Of a session that begins.
    pub new_weight: i64,
    pub renew_weight: i64,
}

impl ConnectThrottleSettings {
    fn of(throttle: &ConnectionThrottle, are_local: bool) -> ConnectThrottleSettings {
        let (local, global) = (throttle.local_session_weight, throttle.global_session_weight);
        ConnectThrottleSettings {
            tokens: i64::from(throttle.tokens),
            fill_ms: positive(throttle.fill_time_ms),
            fill_count: positive(throttle.fill_count),
            freeze_ms: u64::try_from(throttle.freeze_time_ms).ok(),
            drop_increase: throttle.drop_increase,
            drop_decrease: throttle.drop_decrease,
            decrease_ratio: throttle.decrease_ratio,
            weighted: throttle.weight_enabled,
            new_weight: i64::from(if are_local { local } else { global }),
            renew_weight: i64::from(throttle.renew_session_weight),
        }
    }
}

impl Settings {
    pub fn of(config: &Config, hash_seed: u64) -> Settings {
        let storage = &config.storage;
        let purge_hours = storage.purge.interval_hours.unwrap_or(DEFAULT_PURGE_HOURS);
        let kib = |limit: Option<i64>| {
            limit.and_then(|kib| u64::try_from(kib).ok()).unwrap_or(0).saturating_mul(1024)
        };
        let auth = &config.auth;
        Settings {
            tick_ms: positive(config.tick_time_ms),
            sync_limit_ms: positive(config.tick_time_ms)
                * match config.ensemble.sync_limit_ticks {
                    ..=0 => DEFAULT_SYNC_LIMIT_TICKS,
                    ticks => positive(ticks),
                },
            // Java's standalone server makes its session ids as server 1.
            server_id: config.ensemble.member.as_ref().map_or(ServerId(1), |member| member.me),
            min_session_timeout_ms: config.min_session_timeout_ms,
            max_session_timeout_ms: config.max_session_timeout_ms,
            global_outstanding_limit: positive(config.limits.global_outstanding_limit) as usize,
            auth: AuthSettings {
                digest_enabled: auth.digest_auth_enabled,
                digest_alg: auth.digest_alg.clone(),
                super_digest: auth.super_digest.as_ref().map(|secret| secret.0.clone()),
                x509: config.tls.x509,
                x509_super_user: config.tls.x509_super_user.clone(),
                skip_acl: auth.skip_acl,
                enforced_schemes: auth.enforce_auth.then(|| auth.enforce_auth_schemes.clone()),
                sasl: SaslSettings {
                    has_provider: auth.sasl.has_provider,
                    super_users: auth.sasl.super_users.clone(),
                    any_user_id: auth.sasl.any_user_id.clone(),
                },
            },
            allows_failed_sasl: auth.sasl.allow_failed,
            prepare: PrepareSettings {
                extended_types: config.tree.extended_types,
                digest: config.tree.digest_enabled,
                enforce_quota: config.tree.enforce_quota,
                close_session_txn: config.tree.close_session_txn,
                // Members follow what others change.
                reconfig_enabled: config.ensemble.reconfig_enabled
                    && config.ensemble.member.is_none(),
                max_txn_bytes: limits::txn_bytes(config.limits.jute_maxbuffer),
                hash_seed,
            },
            state: StateSettings {
                extended_types: config.tree.extended_types,
                emulate_353: config.tree.emulate_353_ttl,
                digest: config.tree.digest_enabled,
                hash_seed: hash_seed.rotate_left(32) ^ 0x5851_f42d_4c95_7f2d,
            },
            digest: config.tree.digest_enabled,
            serialize_last_zxid: storage.serialize_last_processed_zxid,
            snap_count: u64::try_from(storage.snap_count).unwrap_or(2).max(2),
            snap_size_limit_bytes: kib(storage.snap_size_limit_kib),
            log_size_limit_bytes: kib(storage.txn_log_size_limit_kib),
            container_check_interval_ms: positive(config.tree.containers.check_interval_ms),
            container_max_per_minute: positive(config.tree.containers.max_per_minute),
            container_max_never_used_ms: config.tree.containers.max_never_used_ms,
            purge_retain: storage.purge.retain,
            purge_interval_ms: u64::try_from(purge_hours).unwrap_or(0) * HOUR_MS,
            connect_throttle: ConnectThrottleSettings::of(
                &config.limits.connection_throttle,
                config.ensemble.member.is_some() && config.ensemble.local_sessions,
            ),
            config: config.clone(),
        }
    }

    /// When old files are first looked at: at once where an operator asked for it, as in Java;
    /// unasked, after one interval, and on a directory of another's making not on the first day.
    pub fn first_purge(&self, now: Instant, kept_ms: u64) -> Option<Instant> {
        if self.purge_interval_ms == 0 {
            return None;
        }
        let is_named = self.config.storage.purge.interval_hours.is_some();
        let unasked_ms = || self.purge_interval_ms.max((24 * HOUR_MS).saturating_sub(kept_ms));
        Some(now.plus_ms(if is_named { 0 } else { unasked_ms() }))
    }
}

fn positive(n: i32) -> u64 {
    u64::try_from(n).unwrap_or(0).max(1)
}

/// `syncLimit` where nobody said anything: that of the sample configuration.
const DEFAULT_SYNC_LIMIT_TICKS: u64 = 5;

const HOUR_MS: u64 = 3_600_000;

/// How often old files are purged where nobody said anything.
const DEFAULT_PURGE_HOURS: i32 = 1;
