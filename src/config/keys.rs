//! Every key there is: how it is spelt, its default and unit, and what becomes of it here.

use Effect::{Always, Ensemble, Java, Later, Oracle, Sasl, Tls, Used};
use Kind::{Bool, Float, Int, List, Text, YesNo};
use Place::{Bare, File, Property};

/// Where Java looks for it. All of them may be written in `zoo.cfg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A key of `zoo.cfg` alone.
    File,
    /// The system property `zookeeper.` + name, and so `name` in `zoo.cfg`.
    Property,
    /// A system property of exactly this name.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    /// `true` or `false`.
    Bool,
    /// `yes` or `no`.
    YesNo,
    Text,
    /// Words with commas between.
    List,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Used,
    /// Used by a member; means nothing to a server that is alone.
    Ensemble,
    /// What it asks for is so here whatever it says.
    Always,
    /// Tunes a part of the Java server that zkd does not have.
    Java,
    /// Not built yet; nothing is less safe for it.
    Later,
    /// TLS between servers and for operators: the start stops unless its value says off.
    Tls,
    /// SASL between servers: likewise.
    Sasl,
    /// A server outside that would decide instead of a majority: the start stops.
    Oracle,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub place: Place,
    pub kind: Kind,
    /// As it would be written; empty: there is none.
    pub default: &'static str,
    pub unit: &'static str,
    pub effect: Effect,
}

const fn key(
    place: Place,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    effect: Effect,
) -> Key {
    Key { name, place, kind, default, unit, effect }
}

/// Keys that stand for many: the part before the number or the name.
pub const FAMILIES: [(&str, Effect); 7] = [
    ("server.", Used),
    ("group.", Used),
    ("weight.", Used),
    ("authProvider.", Used),
    ("metricsProvider.", Later),
    ("superUser.", Used),
    ("ssl.quorum.", Tls),
];

/// Names that documents use and no server reads, with those that it does.
pub const TRAPS: [(&str, &str); 16] = [
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
    ("maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs"),
    ("maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs"),
    ("requireClientAuthScheme", "enforce.auth.enabled and enforce.auth.schemes"),
];

pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub fn family(name: &str) -> Option<Effect> {
    let of = |(prefix, effect): &(&str, Effect)| {
        let member = name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        member.then_some(*effect)
    };
    FAMILIES.iter().find_map(of)
}

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    // Keys of zoo.cfg.
    key(File, "dataDir", Text, "", "path", Used),
    key(File, "dataLogDir", Text, "", "path", Used),
    key(File, "clientPort", Int, "", "port", Used),
    key(File, "clientPortAddress", Text, "", "name or address", Used),
    key(File, "clientPortListenBacklog", Int, "-1", "connections", Used),
    key(File, "tickTime", Int, "3000", "ms", Used),
    key(File, "initLimit", Int, "", "ticks", Used),
    key(File, "syncLimit", Int, "", "ticks", Used),
    key(File, "minSessionTimeout", Int, "-1", "ms", Used),
    key(File, "maxSessionTimeout", Int, "-1", "ms", Used),
    key(File, "maxClientCnxns", Int, "60", "connections", Used),
    key(File, "autopurge.snapRetainCount", Int, "3", "snapshots", Used),
    key(File, "autopurge.purgeInterval", Int, "", "hours", Used),
    key(File, "standaloneEnabled", Bool, "true", "", Used),
    key(File, "reconfigEnabled", Bool, "false", "", Used),
    key(File, "dynamicConfigFile", Text, "", "path", Used),
    key(File, "electionAlg", Int, "3", "", Used),
    key(File, "connectToLearnerMasterLimit", Int, "0", "ticks", Ensemble),
    key(File, "localSessionsEnabled", Bool, "false", "", Ensemble),
    key(File, "localSessionsUpgradingEnabled", Bool, "false", "", Ensemble),
    key(File, "quorumListenOnAllIPs", Bool, "false", "", Ensemble),
    key(File, "peerType", Text, "participant", "", Ensemble),
    key(File, "syncEnabled", Bool, "true", "", Ensemble),
    key(File, "observerMasterPort", Int, "0", "port", Ensemble),
    key(File, "multiAddress.enabled", Bool, "false", "", Ensemble),
    key(File, "multiAddress.reachabilityCheckEnabled", Bool, "true", "", Ensemble),
    key(File, "multiAddress.reachabilityCheckTimeoutMs", Int, "1000", "ms", Ensemble),
    key(File, "quorum.cnxn.threads.size", Int, "20", "threads", Java),
    key(File, "oraclePath", Text, "", "path", Oracle),
    key(File, "jvm.pause.monitor", Bool, "false", "", Java),
    key(File, "jvm.pause.sleep.time.ms", Int, "500", "ms", Java),
    key(File, "jvm.pause.warn-threshold.ms", Int, "10000", "ms", Java),
    key(File, "jvm.pause.info-threshold.ms", Int, "1000", "ms", Java),
    key(File, "metricsProvider.className", Text,
        "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", "class", Later),
    key(File, "secureClientPort", Int, "", "port", Used),
    key(File, "secureClientPortAddress", Text, "", "name or address", Used),
    key(File, "sslQuorum", Bool, "false", "", Tls),
    key(File, "portUnification", Bool, "false", "", Tls),
    key(File, "sslQuorumReloadCertFiles", Bool, "false", "", Tls),
    key(File, "quorum.auth.enableSasl", Bool, "false", "", Sasl),
    key(File, "quorum.auth.learnerRequireSasl", Bool, "false", "", Sasl),
    key(File, "quorum.auth.serverRequireSasl", Bool, "false", "", Sasl),
    key(File, "quorum.auth.learner.saslLoginContext", Text, "QuorumLearner", "", Sasl),
    key(File, "quorum.auth.server.saslLoginContext", Text, "QuorumServer", "", Sasl),
    key(File, "quorum.auth.kerberos.servicePrincipal", Text, "zkquorum/localhost", "", Sasl),
    // Storage.
    key(Property, "snapCount", Int, "100000", "txns", Used),
    key(Property, "preAllocSize", Int, "65536", "KiB", Used),
    key(Property, "snapSizeLimitInKb", Int, "4194304", "KiB", Used),
    key(Property, "txnLogSizeLimitInKb", Int, "-1", "KiB", Used),
    key(Property, "forceSync", YesNo, "yes", "", Used),
    key(Property, "fsync.warningthresholdms", Int, "1000", "ms", Used),
    key(Property, "flushDelay", Int, "0", "ms", Used),
    key(Property, "maxWriteQueuePollTime", Int, "", "ms", Used),
    key(Property, "maxBatchSize", Int, "1000", "requests", Used),
    key(Property, "snapshot.trust.empty", Bool, "false", "", Used),
    key(Property, "snapshot.compression.method", Text, "", "gz or snappy", Used),
    key(Property, "serializeLastProcessedZxid.enabled", Bool, "true", "", Used),
    key(Property, "datadir.autocreate", Bool, "true", "", Used),
    key(Property, "db.autocreate", Bool, "true", "", Used),
    key(Property, "commitLogCount", Int, "500", "txns", Used),
    key(Property, "snapshotSizeFactor", Float, "0.33", "", Used),
    key(Property, "intBufferStartingSizeBytes", Int, "1024", "bytes", Java),
    // The tree.
    key(Property, "extendedTypesEnabled", Bool, "false", "", Used),
    key(Property, "emulate353TTLNodes", Bool, "false", "", Used),
    key(Property, "digest.enabled", Bool, "true", "", Used),
    key(Property, "enforceQuota", Bool, "false", "", Used),
    key(Property, "closeSessionTxn.enabled", Bool, "true", "", Used),
    key(Bare, "znode.container.checkIntervalMs", Int, "60000", "ms", Used),
    key(Bare, "znode.container.maxPerMinute", Int, "10000", "nodes a minute", Used),
    key(Bare, "znode.container.maxNeverUsedIntervalMs", Int, "0", "ms", Used),
    // Limits and throttles.
    key(Bare, "jute.maxbuffer", Int, "1048575", "bytes", Used),
    key(Property, "jute.maxbuffer.extrasize", Int, "1048575", "bytes", Used),
    key(Property, "globalOutstandingLimit", Int, "1000", "requests", Used),
    key(Property, "maxCnxns", Int, "0", "connections", Used),
    key(Property, "clientTcpKeepAlive", Bool, "false", "", Used),
    key(Property, "nio.sessionlessCnxnTimeout", Int, "10000", "ms", Used),
    key(Property, "largeRequestThreshold", Int, "-1", "bytes", Used),
    key(Property, "largeRequestMaxBytes", Int, "104857600", "bytes", Used),
    key(Property, "request_throttle_max_requests", Int, "0", "requests", Used),
    key(Property, "request_throttle_stall_time", Int, "100", "ms", Used),
    key(Property, "request_throttle_drop_stale", Bool, "true", "", Used),
    key(Property, "request_stale_latency_check", Bool, "false", "", Used),
    key(Property, "request_stale_connection_check", Bool, "true", "", Used),
    key(Property, "throttled_op_wait_time", Int, "0", "ms", Used),
    key(Property, "connection_throttle_tokens", Int, "0", "tokens", Used),
    key(Property, "connection_throttle_fill_time", Int, "1", "ms", Used),
    key(Property, "connection_throttle_fill_count", Int, "1", "tokens", Used),
    key(Property, "connection_throttle_freeze_time", Int, "-1", "ms", Used),
    key(Property, "connection_throttle_drop_increase", Float, "0.02", "", Used),
    key(Property, "connection_throttle_drop_decrease", Float, "0.002", "", Used),
    key(Property, "connection_throttle_decrease_ratio", Float, "0", "", Used),
    key(Property, "connection_throttle_weight_enabled", Bool, "false", "", Used),
    key(Property, "connection_throttle_global_session_weight", Int, "3", "tokens", Used),
    key(Property, "connection_throttle_local_session_weight", Int, "1", "tokens", Used),
    key(Property, "connection_throttle_renew_session_weight", Int, "2", "tokens", Used),
    // Who may do what.
    key(Property, "skipACL", YesNo, "no", "", Used),
    key(Property, "DigestAuthenticationProvider.enabled", Bool, "true", "", Used),
    key(Property, "DigestAuthenticationProvider.superDigest", Text, "", "user:hash", Used),
    key(Property, "DigestAuthenticationProvider.digestAlg", Text, "SHA1", "", Used),
    key(Property, "enforce.auth.enabled", Bool, "false", "", Used),
    key(Property, "enforce.auth.schemes", List, "", "schemes", Used),
    key(Property, "enableEagerACLCheck", Bool, "false", "", Used),
    key(Property, "ensembleAuthName", List, "", "names", Later),
    key(Property, "IPAuthenticationProvider.usexforwardedfor", Bool, "false", "", Later),
    key(Property, "X509AuthenticationProvider.superUser", Text, "", "name", Used),
    key(Property, "client.portUnification", Bool, "false", "", Used),
    key(Property, "client.certReload", Bool, "false", "", Used),
    key(Property, "netty.server.outstandingHandshake.limit", Int, "-1", "handshakes", Used),
    key(Property, "ssl.keyStore.location", Text, "", "path", Used),
    key(Property, "ssl.keyStore.password", Text, "", "password", Used),
    key(Property, "ssl.keyStore.passwordPath", Text, "", "path", Used),
    key(Property, "ssl.keyStore.type", Text, "", "JKS, PEM or PKCS12", Used),
    key(Property, "ssl.trustStore.location", Text, "", "path", Used),
    key(Property, "ssl.trustStore.password", Text, "", "password", Used),
    key(Property, "ssl.trustStore.passwordPath", Text, "", "path", Used),
    key(Property, "ssl.trustStore.type", Text, "", "JKS, PEM or PKCS12", Used),
    key(Property, "ssl.protocol", Text, "TLSv1.3", "protocol", Used),
    key(Property, "ssl.enabledProtocols", List, "", "protocols", Used),
    key(Property, "ssl.ciphersuites", List, "", "suites", Used),
    key(Property, "ssl.clientAuth", Text, "need", "none, want or need", Used),
    key(Property, "ssl.hostnameVerification", Bool, "true", "", Used),
    key(Property, "ssl.clientHostnameVerification", Bool, "false", "", Used),
    key(Property, "ssl.allowReverseDnsLookup", Bool, "false", "", Used),
    key(Property, "ssl.crl", Bool, "false", "", Used),
    key(Property, "ssl.crl.location", Text, "", "path", Used),
    key(Property, "ssl.ocsp", Bool, "false", "", Used),
    key(Property, "ssl.handshakeDetectionTimeoutMillis", Int, "5000", "ms", Used),
    key(Property, "ssl.authProvider", Text, "x509", "scheme", Used),
    key(Property, "ssl.sslProvider", Text, "JDK", "JDK or OPENSSL", Used),
    key(Property, "ssl.context.supplier.class", Text, "", "class", Used),
    key(Property, "fips-mode", Bool, "true", "", Later),
    key(Bare, "java.security.auth.login.config", Text, "", "path", Used),
    key(Bare, "java.security.krb5.conf", Text, "", "path", Used),
    key(Property, "sessionRequireClientSASLAuth", Bool, "false", "", Used),
    key(Property, "allowSaslFailedClients", Bool, "false", "", Used),
    key(Property, "SASLAuthenticationProvider.superPassword", Text, "", "password", Used),
    key(Property, "sasl.serverconfig", Text, "Server", "", Used),
    key(Property, "requireKerberosConfig", Bool, "false", "", Used),
    key(Property, "security.auth_to_local", Text, "DEFAULT", "", Used),
    key(Property, "superUser", Text, "", "name", Used),
    key(Property, "letAnySaslUserDoX", Text, "", "", Used),
    key(Property, "kerberos.removeHostFromPrincipal", Bool, "false", "", Used),
    key(Property, "kerberos.removeRealmFromPrincipal", Bool, "false", "", Used),
    key(Property, "kerberos.canonicalizeHostNames", Bool, "false", "", Later),
    // What operators see.
    key(Property, "4lw.commands.whitelist", List, "srvr", "words", Used),
    key(Bare, "readonlymode.enabled", Bool, "false", "", Used),
    key(Property, "admin.enableServer", Bool, "true", "", Later),
    key(Property, "admin.serverAddress", Text, "0.0.0.0", "address", Later),
    key(Property, "admin.serverPort", Int, "8080", "port", Later),
    key(Property, "admin.commandURL", Text, "/commands", "", Later),
    key(Property, "admin.idleTimeout", Int, "30000", "ms", Later),
    key(Property, "admin.httpVersion", Int, "11", "", Later),
    key(Property, "admin.portUnification", Bool, "false", "", Tls),
    key(Property, "admin.forceHttps", Bool, "false", "", Tls),
    key(Property, "admin.needClientAuth", Bool, "false", "", Tls),
    key(Property, "admin.snapshot.enabled", Bool, "true", "", Later),
    key(Property, "admin.restore.enabled", Bool, "true", "", Later),
    key(Property, "admin.rateLimiterIntervalInMS", Int, "300000", "ms", Later),
    key(Property, "audit.enable", Bool, "false", "", Later),
    key(Property, "audit.impl.class", Text,
        "org.apache.zookeeper.audit.Slf4jAuditLogger", "class", Later),
    key(Property, "pathStats.enabled", Bool, "false", "", Later),
    key(Property, "pathStats.sampleRate", Float, "0.1", "", Later),
    key(Property, "pathStats.slotCapacity", Int, "60", "slots", Later),
    key(Property, "pathStats.slotDuration", Int, "15", "s", Later),
    key(Property, "pathStats.maxDepth", Int, "6", "levels", Later),
    key(Property, "pathStats.topPathMax", Int, "20", "paths", Later),
    key(Property, "pathStats.initialDelay", Int, "5", "s", Later),
    key(Property, "pathStats.delay", Int, "5", "s", Later),
    // What only an ensemble reads.
    key(Property, "observer.syncEnabled", Bool, "true", "", Ensemble),
    key(Property, "leaderServes", YesNo, "yes", "", Ensemble),
    key(Property, "leader.maxConcurrentSnapSyncs", Int, "10", "learners", Ensemble),
    key(Property, "leader.maxConcurrentDiffSyncs", Int, "100", "learners", Ensemble),
    key(Property, "leader.maxTimeToWaitForEpoch", Int, "-1", "ms", Ensemble),
    key(Property, "leader.ackLoggingFrequency", Int, "1000", "acks", Java),
    key(Property, "forceSnapshotSync", Bool, "false", "", Ensemble),
    key(Property, "fastleader.minNotificationInterval", Int, "200", "ms", Ensemble),
    key(Property, "fastleader.maxNotificationInterval", Int, "60000", "ms", Ensemble),
    key(Property, "cnxTimeout", Int, "5000", "ms", Ensemble),
    key(Property, "quorumCnxnTimeoutMs", Int, "-1", "ms", Ensemble),
    key(Property, "electionPortBindRetry", Int, "3", "times", Ensemble),
    key(Property, "leaderConnectDelayDuringRetryMs", Int, "100", "ms", Ensemble),
    key(Property, "learner.asyncSending", Bool, "false", "", Always),
    key(Property, "learner.closeSocketAsync", Bool, "false", "", Always),
    key(Property, "leader.closeSocketAsync", Bool, "false", "", Always),
    key(Property, "observer.reconnectDelayMs", Int, "0", "ms", Ensemble),
    key(Property, "observer.election.DelayMs", Int, "200", "ms", Ensemble),
    key(Property, "observerMaster.sizeLimit", Int, "33554432", "bytes", Ensemble),
    key(Property, "follower.skipLearnerRequestToNextProcessor", Bool, "false", "", Java),
    key(Property, "forward_learner_requests_to_commit_processor_disabled", Bool, "false", "",
        Java),
    key(Property, "tcpKeepAlive", Bool, "false", "", Ensemble),
    key(Property, "messageTracker.Enabled", Bool, "false", "", Later),
    key(Property, "messageTracker.BufferSize", Int, "10", "packets", Later),
    key(Bare, "leader.nodelay", Bool, "true", "", Always),
    key(Bare, "follower.nodelay", Bool, "true", "", Always),
    // What tunes Java's insides.
    key(Property, "serverCnxnFactory", Text,
        "org.apache.zookeeper.server.NIOServerCnxnFactory", "class", Java),
    key(Property, "nio.numSelectorThreads", Int, "", "threads", Java),
    key(Property, "nio.numWorkerThreads", Int, "", "threads", Java),
    key(Property, "nio.directBufferBytes", Int, "65536", "bytes", Java),
    key(Property, "nio.shutdownTimeout", Int, "5000", "ms", Java),
    key(Property, "netty.advancedFlowControl.enabled", Bool, "false", "", Java),
    key(Property, "netty.server.earlyDropSecureConnectionHandshakes", Bool, "false", "", Java),
    key(Property, "commitProcessor.numWorkerThreads", Int, "", "threads", Java),
    key(Property, "commitProcessor.maxReadBatchSize", Int, "-1", "requests", Java),
    key(Property, "commitProcessor.maxCommitBatchSize", Int, "1", "requests", Java),
    key(Property, "commitProcessor.shutdownTimeout", Int, "5000", "ms", Java),
    key(Property, "request_throttler.shutdownTimeout", Int, "10000", "ms", Java),
    key(Property, "maxResponseCacheSize", Int, "400", "replies", Java),
    key(Property, "maxGetChildrenResponseCacheSize", Int, "400", "replies", Java),
    key(Property, "watchManagerName", Text,
        "org.apache.zookeeper.server.watch.WatchManager", "class", Java),
    key(Property, "watcherCleanThreadsNum", Int, "2", "threads", Java),
    key(Property, "watcherCleanThreshold", Int, "1000", "watchers", Java),
    key(Property, "watcherCleanIntervalInSeconds", Int, "600", "s", Java),
    key(Property, "maxInProcessingDeadWatchers", Int, "-1", "watchers", Java),
    key(Property, "bitHashCacheSize", Int, "10", "entries", Java),
];
