//! A file's entries and the system properties to a [`Config`], in Java's order of checks.

use std::collections::BTreeMap;

use super::keys::{self, Place};
use super::properties::{self, Entry};
use super::settings::{
    ConnectionThrottle, Containers, DEFAULT_TICK_TIME_MS, Limits, RequestThrottle, Sasl, Secret,
    SnapshotCompression, Words,
};
use super::values::Properties;
use super::{Config, ConfigError, Sources, SystemProperties};
use super::{ensemble, judge, member, tls};

/// The class that `authProvider.N` names for the scheme `sasl`.
pub const SASL_PROVIDER: &str = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider";

/// What a file says, each key once: the last of several wins.
pub struct File<'a> {
    pub name: &'a str,
    entries: BTreeMap<String, (String, usize)>,
    /// The keys by the lines that they first stand in.
    order: Vec<String>,
}

impl<'a> File<'a> {
    pub fn read(
        name: &'a str,
        text: &[u8],
        warnings: &mut Vec<String>,
    ) -> Result<File<'a>, ConfigError> {
        let mut file = File::empty(name);
        let entries = properties::parse(text).map_err(|malformed| {
            let mut error = file.fault("", "Malformed \\uxxxx encoding.");
            (error.line, error.key) = (Some(malformed.line), None);
            error
        })?;
        for Entry { key, value, line } in entries {
            let (key, value) = (java_trim(&key).to_owned(), java_trim(&value).to_owned());
            match file.entries.insert(key.clone(), (value, line)) {
                None => file.order.push(key),
                Some((_, before)) => warnings.push(format!(
                    "{name}: {key} of line {before} is said again in line {line}, which counts"
                )),
            }
        }
        Ok(file)
    }

    fn empty(name: &'a str) -> File<'a> {
        File { name, entries: BTreeMap::new(), order: Vec::new() }
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|(value, _)| value.as_str())
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, (value, _))| (key.as_str(), value.as_str()))
    }

    /// As the file has them, from its first line to its last.
    pub fn in_order(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order.iter().map(|key| (key.as_str(), self.entries[key].0.as_str()))
    }

    pub fn fault(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.name.to_owned(),
            line: self.entries.get(key).map(|(_, line)| *line),
            key: (!key.is_empty()).then(|| key.to_owned()),
            reason: reason.into(),
            exit_status: 2,
        }
    }

    /// As `Integer.parseInt`: decimal or nothing.
    pub fn int(&self, key: &str, default: i32) -> Result<i32, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(default) };
        text.parse().map_err(|_| {
            let unit = keys::find(key).map(|k| k.unit).filter(|unit| !unit.is_empty());
            let wanted = unit.map(|unit| format!(" ({unit} wanted)")).unwrap_or_default();
            self.fault(key, format!("For input string: \"{text}\"{wanted}"))
        })
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => {
                let text = format!("Invalid option {text} for {key}. Choose 'true' or 'false.'");
                Err(self.fault(key, text))
            }
        }
    }
}

/// Java trims everything up to the blank.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ')
}

pub fn config(sources: &Sources) -> Result<Config, ConfigError> {
    let mut config = Config::of_data_dir("");
    let file = File::read(sources.file, sources.text, &mut config.warnings)?;
    config.system_properties = sources.properties.pairs().clone();
    for (key, value) in file.pairs() {
        if is_property(key) {
            // Java knows no bare names in zoo.cfg; they are too easily meant to be there.
            if keys::find(key).is_some_and(|k| k.place == Place::Bare) {
                config.system_properties.insert(key.to_owned(), value.to_owned());
            } else {
                config.system_properties.insert(format!("zookeeper.{key}"), value.to_owned());
            }
        }
    }
    file_keys(&mut config, &file)?;
    apply_properties(&mut config).map_err(|(key, reason)| file.fault(key, reason))?;
    multi_address(&mut config, &file)?;
    member::read(&mut config, &file, sources)?;
    judge::keys(&mut config, &file, sources.properties)?;
    Ok(config)
}

/// Properties around a configuration that no file says.
pub fn without_file(
    mut config: Config,
    properties: &SystemProperties,
) -> Result<Config, ConfigError> {
    let file = File::empty("the command line");
    config.system_properties = properties.pairs().clone();
    apply_properties(&mut config).map_err(|(key, reason)| file.fault(key, reason))?;
    judge::keys(&mut config, &file, properties)?;
    Ok(config)
}

/// Whether Java makes a system property of this key of `zoo.cfg`.
fn is_property(key: &str) -> bool {
    let file_key = keys::find(key).is_some_and(|k| k.place == Place::File);
    let of_file = ["server.", "group", "weight", "metricsProvider."];
    !file_key && !of_file.iter().any(|prefix| key.starts_with(prefix))
}

fn file_keys(config: &mut Config, file: &File) -> Result<(), ConfigError> {
    let data_dir = file.text("dataDir").ok_or_else(|| file.fault("", "dataDir is not set"))?;
    if data_dir.is_empty() {
        return Err(file.fault("dataDir", "dataDir is not set"));
    }
    config.storage.data_dir = data_dir.to_owned();
    config.storage.data_log_dir = file.text("dataLogDir").unwrap_or(data_dir).to_owned();
    for key in ["dataDir", "dataLogDir"] {
        let relative = |path: &&str| !path.starts_with('/') && !path.starts_with("./");
        if let Some(path) = file.text(key).filter(relative) {
            config.warnings.push(format!(
                "{path} is relative. Prepend ./ to indicate that you're sure! ({key})"
            ));
        }
    }
    client_keys(config, file)?;
    session_keys(config, file)?;
    let purge = &mut config.storage.purge;
    let retain = file.int("autopurge.snapRetainCount", 3)?;
    if retain < 3 {
        config
            .warnings
            .push(format!("Invalid autopurge.snapRetainCount: {retain}. Defaulting to 3"));
    }
    purge.retain = usize::try_from(retain.max(3)).unwrap_or(3);
    if file.text("autopurge.purgeInterval").is_some() {
        purge.interval_hours = Some(file.int("autopurge.purgeInterval", 0)?);
    }
    ensemble::file_keys(&mut config.ensemble, file)
}

fn multi_address(config: &mut Config, file: &File) -> Result<(), ConfigError> {
    let Config { ensemble, system_properties: pairs, warnings, .. } = config;
    ensemble::multi_address(&mut ensemble.multi_address, file, &mut Properties { pairs, warnings })
}

fn client_keys(config: &mut Config, file: &File) -> Result<(), ConfigError> {
    let clients = &mut config.clients;
    clients.listen_backlog = file.int("clientPortListenBacklog", -1)?;
    clients.max_client_cnxns = file.int("maxClientCnxns", clients.max_client_cnxns)?;
    clients.address = file.text("clientPortAddress").map(str::to_owned);
    if file.text("clientPort").is_some() {
        clients.port = Some(port(file, "clientPort")?);
    } else if clients.address.is_some() {
        let reason = "clientPortAddress is set but clientPort is not set";
        return Err(file.fault("clientPortAddress", reason));
    }
    let tls = &mut config.tls;
    tls.address = file.text("secureClientPortAddress").map(str::to_owned);
    if file.text("secureClientPort").is_some() {
        tls.port = Some(port(file, "secureClientPort")?);
    } else if tls.address.is_some() {
        let reason = "secureClientPortAddress is set but secureClientPort is not set";
        return Err(file.fault("secureClientPortAddress", reason));
    }
    Ok(())
}

fn port(file: &File, key: &str) -> Result<u16, ConfigError> {
    let number = file.int(key, 0)?;
    u16::try_from(number).map_err(|_| file.fault(key, format!("port out of range:{number}")))
}

fn session_keys(config: &mut Config, file: &File) -> Result<(), ConfigError> {
    let tick_ms = file.int("tickTime", DEFAULT_TICK_TIME_MS)?;
    if tick_ms == 0 {
        return Err(file.fault("tickTime", "tickTime is not set"));
    }
    // Java takes these and expires sessions at once or never.
    if !(1..=i32::MAX / 20).contains(&tick_ms) {
        return Err(file.fault("tickTime", format!("{tick_ms} ms is out of range")));
    }
    let or_ticks = |value: i32, ticks: i32| if value == -1 { tick_ms * ticks } else { value };
    config.tick_time_ms = tick_ms;
    config.min_session_timeout_ms = or_ticks(file.int("minSessionTimeout", -1)?, 2);
    config.max_session_timeout_ms = or_ticks(file.int("maxSessionTimeout", -1)?, 20);
    if config.min_session_timeout_ms > config.max_session_timeout_ms {
        let reason = "minSessionTimeout must not be larger than maxSessionTimeout";
        return Err(file.fault("minSessionTimeout", reason));
    }
    Ok(())
}

/// A key and why its value cannot be served.
type Refusal = (&'static str, String);

fn apply_properties(config: &mut Config) -> Result<(), Refusal> {
    let pairs = std::mem::take(&mut config.system_properties);
    let mut warnings = std::mem::take(&mut config.warnings);
    let mut from = Properties { pairs: &pairs, warnings: &mut warnings };
    storage(config, &mut from);
    tree(config, &mut from);
    ensemble::properties(&mut config.ensemble, &mut from);
    config.limits = limits(&mut from);
    let result = tls::properties(&mut config.tls, &mut from).and_then(|()| auth(config, &mut from));
    operators(config, &mut from);
    config.clients.max_cnxns = from.int("maxCnxns", 0);
    config.clients.tcp_keep_alive = from.flag("clientTcpKeepAlive", false);
    config.clients.sessionless_timeout_ms = from.int("nio.sessionlessCnxnTimeout", 10_000);
    (config.system_properties, config.warnings) = (pairs, warnings);
    result
}

fn storage(config: &mut Config, from: &mut Properties) {
    let positive = |value: i64| (value > 0).then_some(value);
    let storage = &mut config.storage;
    storage.snap_count = from.at_least("snapCount", 100_000, 2);
    storage.pre_alloc_kib = from.long("preAllocSize", 65_536);
    storage.txn_log_size_limit_kib = positive(from.long("txnLogSizeLimitInKb", -1));
    storage.snap_size_limit_kib = positive(from.long("snapSizeLimitInKb", 4_194_304));
    storage.force_sync = !from.is_word("forceSync", "no", "yes");
    if !storage.force_sync {
        from.warnings.push(
            "forceSync=no: an acknowledged write may be lost when the machine stops".to_owned(),
        );
    }
    storage.fsync_warning_ms = from.long("fsync.warningthresholdms", 1000);
    storage.flush_delay_ms = from.long("flushDelay", 0).max(0);
    let poll_ms = storage.flush_delay_ms / 3;
    storage.max_write_queue_poll_ms = from.long("maxWriteQueuePollTime", poll_ms).max(0);
    storage.max_batch = from.int("maxBatchSize", 1000);
    storage.snapshot_trust_empty = from.flag("snapshot.trust.empty", false);
    storage.snapshot_compression = compression(from);
    storage.serialize_last_processed_zxid = from.flag("serializeLastProcessedZxid.enabled", true);
    storage.datadir_autocreate = from.flag("datadir.autocreate", true);
    storage.db_autocreate = from.flag("db.autocreate", true);
}

fn compression(from: &mut Properties) -> SnapshotCompression {
    let name = from.text("snapshot.compression.method").unwrap_or("").to_ascii_lowercase();
    match name.as_str() {
        "" => SnapshotCompression::None,
        "gz" => SnapshotCompression::Gz,
        "snappy" => SnapshotCompression::Snappy,
        _ => {
            from.warnings.push(format!(
                "snapshot.compression.method: '{name}' is neither gz nor snappy; none is used"
            ));
            SnapshotCompression::None
        }
    }
}

fn tree(config: &mut Config, from: &mut Properties) {
    let tree = &mut config.tree;
    tree.extended_types = from.flag("extendedTypesEnabled", false);
    tree.emulate_353_ttl = from.flag("emulate353TTLNodes", false);
    tree.digest_enabled = from.flag("digest.enabled", true);
    tree.enforce_quota = from.flag("enforceQuota", false);
    tree.close_session_txn = from.flag("closeSessionTxn.enabled", true);
    tree.containers = Containers {
        check_interval_ms: from.at_least("znode.container.checkIntervalMs", 60_000, 1),
        max_per_minute: from.at_least("znode.container.maxPerMinute", 10_000, 1),
        max_never_used_ms: from.long("znode.container.maxNeverUsedIntervalMs", 0),
    };
}

fn limits(from: &mut Properties) -> Limits {
    let frame = from.at_least("jute.maxbuffer", 0xf_ffff, 1);
    let extra = from.int("jute.maxbuffer.extrasize", frame).max(1024);
    let threshold = from.int("largeRequestThreshold", -1);
    Limits {
        jute_maxbuffer: usize::try_from(frame).unwrap_or(0),
        jute_extrasize: usize::try_from(extra).unwrap_or(0),
        global_outstanding_limit: from.int("globalOutstandingLimit", 1000),
        large_request_threshold: (threshold > 0).then_some(threshold),
        large_request_max_bytes: from.int("largeRequestMaxBytes", 100 * 1024 * 1024),
        request_throttle: RequestThrottle {
            max_requests: from.int("request_throttle_max_requests", 0),
            stall_ms: from.int("request_throttle_stall_time", 100),
            drop_stale: from.flag("request_throttle_drop_stale", true),
            stale_latency_check: from.flag("request_stale_latency_check", false),
            stale_connection_check: from.flag("request_stale_connection_check", true),
            op_wait_ms: from.int("throttled_op_wait_time", 0),
        },
        connection_throttle: connection_throttle(from),
    }
}

fn connection_throttle(from: &mut Properties) -> ConnectionThrottle {
    let mut int =
        |name: &str, default: i32| from.int(&format!("connection_throttle_{name}"), default);
    let mut throttle = ConnectionThrottle {
        tokens: int("tokens", 0),
        fill_time_ms: int("fill_time", 1),
        fill_count: int("fill_count", 1),
        freeze_time_ms: int("freeze_time", -1),
        global_session_weight: int("global_session_weight", 3),
        local_session_weight: int("local_session_weight", 1),
        renew_session_weight: int("renew_session_weight", 2),
        ..ConnectionThrottle::default()
    };
    throttle.drop_increase = from.float("connection_throttle_drop_increase", 0.02);
    throttle.drop_decrease = from.float("connection_throttle_drop_decrease", 0.002);
    throttle.decrease_ratio = from.float("connection_throttle_decrease_ratio", 0.0);
    throttle.weight_enabled = from.flag("connection_throttle_weight_enabled", false);
    throttle
}

fn auth(config: &mut Config, from: &mut Properties) -> Result<(), Refusal> {
    let words = |text: Option<&str>| -> Vec<String> {
        text.map(|t| t.split(',').map(|w| w.trim().to_owned()).collect()).unwrap_or_default()
    };
    let auth = &mut config.auth;
    auth.skip_acl = from.is_word("skipACL", "yes", "no");
    let digest = "DigestAuthenticationProvider";
    auth.digest_auth_enabled = from.flag(&format!("{digest}.enabled"), true);
    let super_digest = from.text(&format!("{digest}.superDigest")).filter(|t| !t.is_empty());
    auth.super_digest = super_digest.map(|text| Secret(text.to_owned()));
    if let Some(name) = from.text(&format!("{digest}.digestAlg")) {
        auth.digest_alg = name.to_owned();
    }
    auth.eager_acl = from.flag("enableEagerACLCheck", false);
    auth.enforce_auth = from.flag("enforce.auth.enabled", false);
    auth.enforce_auth_schemes = words(from.text("enforce.auth.schemes"));
    auth.sasl = sasl(from);
    // The older key, and the stronger one.
    if from.flag("sessionRequireClientSASLAuth", false) {
        auth.enforce_auth = true;
        auth.enforce_auth_schemes = vec!["sasl".to_owned()];
    }
    if !auth.enforce_auth {
        return Ok(());
    }
    if auth.enforce_auth_schemes.is_empty() {
        let reason = "zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must \
                      be  configured.";
        return Err(("enforce.auth.schemes", reason.to_owned()));
    }
    let known = |scheme: &&String| match scheme.as_str() {
        "ip" => true,
        "digest" => auth.digest_auth_enabled,
        "sasl" => auth.sasl.has_provider,
        "x509" => config.tls.x509,
        _ => false,
    };
    match auth.enforce_auth_schemes.iter().find(|scheme| !known(scheme)) {
        Some(scheme) => {
            let mut reason = format!("Authentication scheme {scheme} is not available.");
            if scheme == "sasl" {
                reason.push_str(" It needs authProvider.1=");
                reason.push_str(SASL_PROVIDER);
            }
            Err(("enforce.auth.schemes", reason))
        }
        None => Ok(()),
    }
}

fn sasl(from: &mut Properties) -> Sasl {
    let members = |family: &str| -> Vec<String> {
        let is_member = |key: &str| {
            let key = key.strip_prefix("zookeeper.").and_then(|key| key.strip_prefix(family));
            key.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let pairs = from.pairs.iter().filter(|(key, value)| is_member(key) && !value.is_empty());
        pairs.map(|(_, value)| value.clone()).collect()
    };
    let given = |name: &str| from.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut sasl = Sasl {
        has_provider: members("authProvider").iter().any(|class| class == SASL_PROVIDER),
        login_file: given("java.security.auth.login.config"),
        section: given("sasl.serverconfig"),
        super_password: given("SASLAuthenticationProvider.superPassword").map(Secret),
        super_users: members("superUser"),
        any_user_id: given("letAnySaslUserDoX"),
        ..Sasl::default()
    };
    sasl.kerberos.config_file = given("java.security.krb5.conf");
    sasl.kerberos.rules = given("security.auth_to_local").filter(|rules| rules != "DEFAULT");
    sasl.allow_failed = from.flag("allowSaslFailedClients", false);
    sasl.kerberos.require_config = from.flag("requireKerberosConfig", false);
    sasl.kerberos.remove_host = from.flag("kerberos.removeHostFromPrincipal", false);
    sasl.kerberos.remove_realm = from.flag("kerberos.removeRealmFromPrincipal", false);
    sasl
}

fn operators(config: &mut Config, from: &mut Properties) {
    let admin = &mut config.admin;
    admin.read_only_mode = from.flag("readonlymode.enabled", false);
    let listed = from.text("4lw.commands.whitelist").unwrap_or("");
    let mut words: Vec<&str> = listed.split(',').map(str::trim).collect();
    if words.contains(&"*") {
        admin.words = Words::All;
        return;
    }
    words.extend(["srvr"].into_iter().chain(admin.read_only_mode.then_some("isro")));
    let words = words.into_iter().filter(|w| !w.is_empty()).map(str::to_owned);
    admin.words = Words::Only(words.collect());
}

/// `PORT DATADIR [tickTime] [maxCnxns]`, as ZooKeeperServerMain takes them.
pub fn arguments(words: &[String]) -> Result<Config, String> {
    let [port, data_dir, rest @ ..] = words else {
        return Err(format!("Invalid number of arguments:[{}]", words.join(", ")));
    };
    if rest.len() > 2 {
        return Err(format!("Invalid number of arguments:[{}]", words.join(", ")));
    }
    let number = |text: &String| text.parse::<i32>().map_err(|_| not_a_number(text));
    let port = number(port)?;
    let mut config = Config::of_data_dir(data_dir);
    config.clients.port =
        Some(u16::try_from(port).map_err(|_| format!("port out of range:{port}"))?);
    // Unlike a file that does not name it: there the default is 60.
    config.clients.max_client_cnxns = rest.get(1).map(number).transpose()?.unwrap_or(0);
    if let Some(text) = rest.first() {
        let tick_ms = number(text)?;
        if !(1..=i32::MAX / 20).contains(&tick_ms) {
            return Err(format!("tickTime: {tick_ms} ms is out of range"));
        }
        config.tick_time_ms = tick_ms;
        config.min_session_timeout_ms = tick_ms * 2;
        config.max_session_timeout_ms = tick_ms * 20;
    }
    Ok(config)
}

fn not_a_number(text: &str) -> String {
    format!("For input string: \"{text}\"")
}
