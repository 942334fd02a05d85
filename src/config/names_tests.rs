//! Every key that Apache ZooKeeper 3.9 documents or reads is known by its name.

use super::keys;

/// Written down from 3.9's own names, not from the table under test.
const NAMES: &str = "
dataDir dataLogDir clientPort clientPortAddress secureClientPort secureClientPortAddress
clientPortListenBacklog tickTime initLimit syncLimit connectToLearnerMasterLimit minSessionTimeout
maxSessionTimeout maxClientCnxns localSessionsEnabled localSessionsUpgradingEnabled electionAlg
quorumListenOnAllIPs peerType syncEnabled dynamicConfigFile server.1 group.1 weight.1
autopurge.snapRetainCount autopurge.purgeInterval standaloneEnabled reconfigEnabled sslQuorum
portUnification sslQuorumReloadCertFiles observerMasterPort multiAddress.enabled
multiAddress.reachabilityCheckEnabled multiAddress.reachabilityCheckTimeoutMs
quorum.auth.enableSasl quorum.auth.learnerRequireSasl quorum.auth.serverRequireSasl
quorum.auth.learner.saslLoginContext quorum.auth.server.saslLoginContext
quorum.auth.kerberos.servicePrincipal quorum.cnxn.threads.size jvm.pause.monitor
jvm.pause.sleep.time.ms jvm.pause.warn-threshold.ms jvm.pause.info-threshold.ms
metricsProvider.className metricsProvider.httpPort oraclePath globalOutstandingLimit preAllocSize
snapCount snapSizeLimitInKb txnLogSizeLimitInKb commitLogCount snapshotSizeFactor forceSync
fsync.warningthresholdms flushDelay maxWriteQueuePollTime maxBatchSize maxCnxns enforceQuota skipACL
digest.enabled serializeLastProcessedZxid.enabled closeSessionTxn.enabled extendedTypesEnabled
emulate353TTLNodes enableEagerACLCheck snapshot.trust.empty snapshot.compression.method
datadir.autocreate db.autocreate serverCnxnFactory nio.numSelectorThreads nio.numWorkerThreads
nio.sessionlessCnxnTimeout nio.directBufferBytes nio.shutdownTimeout
netty.advancedFlowControl.enabled netty.server.outstandingHandshake.limit
netty.server.earlyDropSecureConnectionHandshakes commitProcessor.numWorkerThreads
commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize commitProcessor.shutdownTimeout
leaderServes leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs
leader.maxTimeToWaitForEpoch leader.ackLoggingFrequency forceSnapshotSync
fastleader.minNotificationInterval fastleader.maxNotificationInterval cnxTimeout
quorumCnxnTimeoutMs electionPortBindRetry leaderConnectDelayDuringRetryMs learner.asyncSending
learner.closeSocketAsync leader.closeSocketAsync observer.reconnectDelayMs
observer.election.DelayMs observer.syncEnabled observerMaster.sizeLimit
follower.skipLearnerRequestToNextProcessor forward_learner_requests_to_commit_processor_disabled
tcpKeepAlive clientTcpKeepAlive request_throttle_max_requests request_throttle_stall_time
request_throttle_drop_stale request_stale_latency_check request_stale_connection_check
request_throttler.shutdownTimeout throttled_op_wait_time largeRequestThreshold largeRequestMaxBytes
connection_throttle_tokens connection_throttle_fill_time connection_throttle_fill_count
connection_throttle_freeze_time connection_throttle_drop_increase connection_throttle_drop_decrease
connection_throttle_decrease_ratio connection_throttle_weight_enabled
connection_throttle_global_session_weight connection_throttle_local_session_weight
connection_throttle_renew_session_weight maxResponseCacheSize maxGetChildrenResponseCacheSize
watchManagerName watcherCleanThreadsNum watcherCleanThreshold watcherCleanIntervalInSeconds
maxInProcessingDeadWatchers bitHashCacheSize 4lw.commands.whitelist admin.enableServer
admin.serverAddress admin.serverPort admin.commandURL admin.idleTimeout admin.httpVersion
admin.portUnification admin.forceHttps admin.needClientAuth admin.snapshot.enabled
admin.restore.enabled admin.rateLimiterIntervalInMS audit.enable audit.impl.class
DigestAuthenticationProvider.enabled DigestAuthenticationProvider.superDigest
DigestAuthenticationProvider.digestAlg X509AuthenticationProvider.superUser superUser superUser.1
letAnySaslUserDoX ensembleAuthName authProvider.1 IPAuthenticationProvider.usexforwardedfor
sessionRequireClientSASLAuth enforce.auth.enabled enforce.auth.schemes allowSaslFailedClients
SASLAuthenticationProvider.superPassword sasl.serverconfig requireKerberosConfig
security.auth_to_local kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal
kerberos.canonicalizeHostNames fips-mode client.portUnification client.certReload
pathStats.enabled pathStats.sampleRate pathStats.slotCapacity pathStats.slotDuration
pathStats.maxDepth pathStats.topPathMax pathStats.initialDelay pathStats.delay
messageTracker.Enabled messageTracker.BufferSize intBufferStartingSizeBytes jute.maxbuffer
jute.maxbuffer.extrasize readonlymode.enabled znode.container.checkIntervalMs
znode.container.maxPerMinute znode.container.maxNeverUsedIntervalMs leader.nodelay follower.nodelay
java.security.auth.login.config java.security.krb5.conf ssl.keyStore.location
ssl.keyStore.password
ssl.keyStore.passwordPath ssl.keyStore.type ssl.trustStore.location ssl.trustStore.password
ssl.trustStore.passwordPath ssl.trustStore.type ssl.protocol ssl.enabledProtocols ssl.ciphersuites
ssl.context.supplier.class ssl.hostnameVerification ssl.clientHostnameVerification
ssl.allowReverseDnsLookup ssl.crl ssl.ocsp ssl.clientAuth ssl.handshakeDetectionTimeoutMillis
ssl.authProvider ssl.sslProvider ssl.crl.location ssl.quorum.keyStore.location ssl.quorum.clientAuth
ssl.quorum.hostnameVerification";

#[test]
fn every_name_of_the_server_is_known() {
    let known = |name: &&str| keys::find(name).is_some() || keys::family(name).is_some();
    let unknown: Vec<&str> = NAMES.split_whitespace().filter(|name| !known(name)).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn no_name_is_there_twice_and_no_trap_is_a_name() {
    for (i, key) in keys::KEYS.iter().enumerate() {
        assert!(keys::KEYS[..i].iter().all(|other| other.name != key.name), "{}", key.name);
        assert!(NAMES.split_whitespace().any(|n| n == key.name), "{} is written down", key.name);
    }
    assert!(keys::TRAPS.iter().all(|(trap, _)| keys::find(trap).is_none()));
}

#[test]
fn every_key_is_in_the_sample_with_its_default() {
    let sample = include_str!("../../conf/zoo.cfg");
    for key in keys::KEYS {
        assert!(sample.contains(&format!("\n#{}={}", key.name, key.default)), "{}", key.name);
    }
}
