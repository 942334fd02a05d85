use proptest::prelude::*;

use super::*;

fn config_of(text: &str) -> Result<Config, ConfigError> {
    let text = format!("dataDir=/d\n{text}");
    let (text, properties) = (text.as_bytes(), &SystemProperties::default());
    let member = MemberSources::default();
    Config::parse(&Sources { file: "zoo.cfg", text, dynamic: None, properties, member })
}

fn ensemble(text: &str) -> Ensemble {
    config_of(text).expect(text).ensemble
}

/// Each with its value as a file has it, and what it does to the defaults.
#[test]
fn every_key_of_an_ensemble_does_what_it_says() {
    type Change = fn(&mut Ensemble);
    let cases: [(&str, Change); 32] = [
        ("initLimit=10", |e| e.init_limit_ticks = 10),
        ("syncLimit=5", |e| e.sync_limit_ticks = 5),
        ("connectToLearnerMasterLimit=7", |e| e.connect_limit_ticks = 7),
        ("connectToLearnerMasterLimit=-7", |e| e.connect_limit_ticks = 0),
        ("reconfigEnabled=TRUE", |e| e.reconfig_enabled = true),
        ("quorumListenOnAllIPs=true", |e| e.listens_on_all_ips = true),
        ("localSessionsEnabled=true", |e| e.local_sessions = true),
        ("localSessionsUpgradingEnabled=true", |e| e.local_session_upgrades = true),
        ("multiAddress.enabled=true", |e| e.multi_address.enabled = true),
        ("multiAddress.reachabilityCheckEnabled=false", |e| {
            e.multi_address.checks_reachability = false;
        }),
        ("multiAddress.reachabilityCheckTimeoutMs=50", |e| e.multi_address.check_timeout_ms = 50),
        ("fastleader.minNotificationInterval=50", |e| e.elections.min_interval_ms = 50),
        ("fastleader.maxNotificationInterval=900", |e| e.elections.max_interval_ms = 900),
        ("fastleader.maxNotificationInterval=9", |e| e.elections.max_interval_ms = 200),
        ("cnxTimeout=0x10", |e| e.elections.dial_timeout_ms = 16),
        ("quorumCnxnTimeoutMs=70", |e| e.elections.silence_ms = Some(70)),
        ("electionPortBindRetry=0", |e| e.elections.bind_retries = None),
        ("electionPortBindRetry=9", |e| e.elections.bind_retries = Some(9)),
        ("tcpKeepAlive=true", |e| e.elections.tcp_keep_alive = true),
        ("leaderServes=no", |e| e.leading.serves_clients = false),
        ("leader.maxConcurrentSnapSyncs=1", |e| e.leading.snap_syncs = 1),
        ("leader.maxConcurrentDiffSyncs=2", |e| e.leading.diff_syncs = 2),
        ("leader.maxTimeToWaitForEpoch=0", |e| e.leading.epoch_wait_ms = Some(0)),
        ("forceSnapshotSync=true", |e| e.leading.forces_snapshots = true),
        ("leaderConnectDelayDuringRetryMs=5", |e| e.learning.redial_ms = 5),
        ("syncEnabled=false", |e| e.observing.logs = false),
        ("observerMasterPort=2191", |e| e.observing.master_port = Some(2191)),
        ("observerMaster.sizeLimit=1000", |e| e.observing.master_bytes = 1000),
        ("observer.reconnectDelayMs=9", |e| e.observing.reconnect_delay_ms = 9),
        ("observer.election.DelayMs=-9", |e| e.observing.election_delay_ms = 0),
        ("commitLogCount=600", |e| e.commit_log_count = 600),
        ("snapshotSizeFactor=-1", |e| e.snapshot_size_factor = -1.0),
    ];
    for (text, change) in cases {
        let mut expected = Ensemble::default();
        change(&mut expected);
        assert_eq!(ensemble(text), expected, "{text}");
    }
}

#[test]
fn of_a_key_and_a_property_for_one_thing_java_s_choice_counts() {
    assert!(!ensemble("observer.syncEnabled=false").observing.logs);
    assert!(ensemble("observer.syncEnabled=true\nsyncEnabled=false").observing.logs);
    let flag = |name: &str| SystemProperties::from_layers(&[name.to_owned()], "", "");
    let enabled = |text: &[u8], properties: &SystemProperties| {
        let member = MemberSources::default();
        let sources = Sources { file: "zoo.cfg", text, dynamic: None, properties, member };
        Config::parse(&sources).expect("sound").ensemble.multi_address.enabled
    };
    let properties = flag("zookeeper.multiAddress.enabled=true");
    assert!(enabled(b"dataDir=/d", &properties));
    assert!(!enabled(b"dataDir=/d\nmultiAddress.enabled=false", &properties));
}

#[test]
fn what_java_does_not_take_is_not_taken() {
    let reason = |text: &str| config_of(text).expect_err(text).to_string();
    let java = "For input string: \"x\"";
    for key in ["initLimit", "syncLimit", "connectToLearnerMasterLimit", "observerMasterPort"] {
        let said = reason(&format!("{key}=x"));
        assert!(said.contains(java) && said.contains(&format!("line 2, {key}")), "{said}");
    }
    assert!(reason("multiAddress.reachabilityCheckTimeoutMs=x").contains(java));
    assert!(reason("multiAddress.reachabilityCheckTimeoutMs=0").contains("out of range"));
    assert!(reason("observerMasterPort=65536").contains("port out of range:65536"));
    assert!(reason("electionAlg=0").contains("Invalid electionAlg value. Only 3 is supported."));
    assert!(reason("oraclePath=/run/oracle").contains("oraclePath: an oracle"));
    for key in ["quorumListenOnAllIPs", "localSessionsUpgradingEnabled", "multiAddress.enabled"] {
        let said = reason(&format!("{key}=yes"));
        assert!(said.contains("Invalid option yes for"), "{said}");
        assert!(said.contains("Choose 'true' or 'false.'"), "{said}");
    }
}

#[test]
fn values_that_java_would_stumble_over_are_the_defaults_with_a_line() {
    for text in [
        "cnxTimeout=0",
        "cnxTimeout=soon",
        "fastleader.minNotificationInterval=0",
        "fastleader.maxNotificationInterval=-1",
        "electionPortBindRetry=-1",
        "leader.maxConcurrentSnapSyncs=0",
        "leader.maxConcurrentDiffSyncs=-3",
        "snapshotSizeFactor=1.5",
        "snapshotSizeFactor=third",
        "tcpKeepAlive=on",
    ] {
        let config = config_of(text).expect(text);
        assert_eq!(config.ensemble, Ensemble::default(), "{text}");
        let (key, _) = text.split_once('=').expect("a key");
        assert!(config.warnings.iter().any(|w| w.starts_with(&format!("{key}: "))), "{text}");
    }
}

proptest! {
    /// Whatever a number says, what is made of it is within its bounds.
    #[test]
    fn no_number_leaves_its_bounds(value in prop_oneof![any::<i64>(), -3i64..3, any::<i32>().prop_map(i64::from)]) {
        const NAMES: [&str; 12] = [
            "fastleader.minNotificationInterval", "fastleader.maxNotificationInterval",
            "cnxTimeout", "quorumCnxnTimeoutMs", "electionPortBindRetry", "commitLogCount",
            "leader.maxConcurrentSnapSyncs", "leader.maxConcurrentDiffSyncs",
            "leaderConnectDelayDuringRetryMs", "observerMaster.sizeLimit",
            "observer.reconnectDelayMs", "observer.election.DelayMs",
        ];
        let lines: Vec<String> = NAMES.iter().map(|name| format!("{name}={value}")).collect();
        let ensemble = ensemble(&lines.join("\n"));
        let elections = ensemble.elections;
        prop_assert!(elections.min_interval_ms >= 1);
        prop_assert!(elections.max_interval_ms >= elections.min_interval_ms);
        prop_assert!(elections.dial_timeout_ms >= 1 && elections.silence_ms != Some(0));
        prop_assert!(elections.bind_retries != Some(0));
        prop_assert!(ensemble.leading.snap_syncs >= 1 && ensemble.leading.diff_syncs >= 1);
        prop_assert!(ensemble.commit_log_count >= 500);
        for ms in [elections.min_interval_ms, elections.max_interval_ms, elections.dial_timeout_ms] {
            prop_assert!(ms <= i32::MAX as u64);
        }
        let in_range = i32::try_from(value).is_ok();
        if in_range && value > 0 {
            prop_assert_eq!(elections.dial_timeout_ms, value as u64);
            prop_assert_eq!(u64::from(ensemble.leading.diff_syncs), value as u64);
        }
        prop_assert_eq!(ensemble.observing.reconnect_delay_ms, value.max(0) as u64);
    }

    #[test]
    fn a_port_is_none_or_within_its_range(value in prop_oneof![any::<i32>(), -3i32..70_000]) {
        let read = config_of(&format!("observerMasterPort={value}"));
        match u16::try_from(value) {
            Ok(port) if port > 0 => {
                prop_assert_eq!(read.unwrap().ensemble.observing.master_port, Some(port));
            }
            _ if value <= 0 => prop_assert_eq!(read.unwrap().ensemble.observing.master_port, None),
            _ => prop_assert!(read.is_err()),
        }
    }
}
