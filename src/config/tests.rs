use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &SystemProperties::default())
}

fn parse_with(text: &str, properties: &SystemProperties) -> Result<Config, ConfigError> {
    let (text, member) = (text.as_bytes(), MemberSources::default());
    Config::parse(&Sources { file: "zoo.cfg", text, dynamic: None, properties, member })
}

fn flags(arguments: &[&str]) -> SystemProperties {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    SystemProperties::from_layers(&arguments, "", "")
}

fn reason(text: &str) -> String {
    parse(&format!("dataDir=/d\n{text}")).expect_err(text).reason
}

fn warnings(text: &str) -> Vec<String> {
    parse(&format!("dataDir=/d\n{text}")).expect(text).warnings
}

#[test]
fn the_sample_that_everybody_copies_reads_without_a_line() {
    let text =
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\nclientPort=2181\n";
    let config = parse(text).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.tick_time_ms, 2000);
    assert_eq!((config.min_session_timeout_ms, config.max_session_timeout_ms), (4000, 40_000));
    assert_eq!(config.clients.port, Some(2181));
    assert_eq!(config.clients.address, None);
    assert_eq!(config.storage.data_log_dir, "/tmp/zookeeper");
}

#[test]
fn nothing_named_is_java_s_default() {
    let config = parse("dataDir=/d").unwrap();
    let mut expected = Config::of_data_dir("/d");
    expected.warnings = config.warnings.clone();
    assert_eq!(config, expected);
    assert!(config.warnings.is_empty());
}

#[test]
fn every_refusal_names_file_line_and_key_in_java_s_words() {
    let error = parse("dataDir=/d\n\n# c\ntickTime=2s\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Error processing zoo.cfg, line 4, tickTime: For input string: \"2s\" (ms wanted)"
    );
    assert_eq!(error.exit_status, 2);
    assert_eq!(parse("clientPort=1").unwrap_err().reason, "dataDir is not set");
    assert_eq!(reason("tickTime=0"), "tickTime is not set");
    assert_eq!(reason("clientPort=65536"), "port out of range:65536");
    assert!(reason("clientPortAddress=h").contains("clientPort is not set"));
    assert!(reason("minSessionTimeout=9\nmaxSessionTimeout=8").contains("must not be larger"));
    assert!(reason("reconfigEnabled=yes").contains("Choose 'true' or 'false.'"));
    assert!(reason("localSessionsEnabled=1").contains("Choose 'true' or 'false.'"));
    assert!(reason("electionAlg=1").contains("Only 3 is supported"));
    assert!(reason("peerType=voter").contains("Unrecognised peertype: voter"));
    assert!(reason("metricsProvider.className=x.Y").contains("class was not found"));
    assert!(reason("quorum.auth.serverRequireSasl=true").contains("enableSasl is disabled"));
    assert!(reason("k=\\u00").contains("Malformed"));
    assert!(reason("enforce.auth.enabled=true").contains("must be  configured"));
}

#[test]
fn what_would_be_less_safe_or_another_role_stops_the_start() {
    for text in [
        "secureClientPort=2182",
        "sslQuorum=true",
        "portUnification=true",
        "client.portUnification=true",
        "secureClientPortAddress=a",
        "admin.forceHttps=true",
        "ssl.quorum.trustStore.password=p",
        "quorum.auth.enableSasl=true",
        "sessionRequireClientSASLAuth=true",
        "enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl",
        "authProvider.x=com.example.Mine",
        "server.1=a:1:2\nserver.2=b:1:2",
        "standaloneEnabled=false\nserver.1=a:1:2",
        "standaloneEnabled=false",
        "server.1=a:1:2:observer",
        "server.1=a:1:2\nserver.2=b:1:2:observer",
        "server.x=a:1:2",
    ] {
        assert_eq!(parse(&format!("dataDir=/d\n{text}")).expect_err(text).exit_status, 2);
    }
    let from_flags = flags(&["zookeeper.client.portUnification=true"]);
    assert!(parse_with("dataDir=/d", &from_flags).is_err());
}

#[test]
fn what_is_off_or_harmless_does_not_stop_it() {
    for text in [
        "sslQuorum=false",
        "quorum.auth.enableSasl=false",
        "reconfigEnabled=true",
        "authProvider.1=org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
        "jute.maxbuffer.extrasize=2048",
        "standaloneEnabled=true",
    ] {
        assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(warnings("server.1=a:1:2").len(), 1);
    assert_eq!(warnings("server.1=a:1:2;2181\ngroup.1=1").len(), 1);
}

#[test]
fn a_dynamic_file_is_judged_as_if_it_were_the_static_one() {
    let properties = SystemProperties::default();
    let text = "dataDir=/d\ndynamicConfigFile=/d/zoo.cfg.dynamic\n";
    assert_eq!(Config::dynamic_config_file(text.as_bytes()).as_deref(), Some("/d/zoo.cfg.dynamic"));
    let parse = |text: &str, dynamic: Option<&str>| {
        let dynamic = dynamic.map(|d| ("/d/zoo.cfg.dynamic", d.as_bytes()));
        let (text, properties) = (text.as_bytes(), &properties);
        let member = MemberSources::default();
        Config::parse(&Sources { file: "zoo.cfg", text, dynamic, properties, member })
    };
    assert!(parse(text, Some("server.1=a:1:2:participant;2181")).is_ok());
    assert!(parse(text, Some("server.1=a:1:2\nserver.2=b:1:2\n")).is_err());
    let error = parse(text, Some("server.1=a:1:2\nversion=3")).unwrap_err();
    assert_eq!((error.line, error.file.as_str()), (Some(2), "/d/zoo.cfg.dynamic"));
    assert!(parse(text, Some("tickTime=3")).unwrap_err().reason.contains("Unrecognised"));
    assert!(parse(text, None).unwrap_err().reason.contains("cannot be read"));
    assert!(parse(&format!("{text}server.1=a:1:2"), Some("")).is_err());
}

#[test]
fn an_unknown_key_is_a_system_property_and_names_its_neighbour() {
    let config = parse("dataDir=/d\nsnapcout=5\nsnapCount=7\nrequestThrottleLimit=1").unwrap();
    assert_eq!(config.storage.snap_count, 7);
    assert_eq!(config.system_properties["zookeeper.snapcout"], "5");
    assert_eq!(config.system_properties["zookeeper.snapCount"], "7");
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].contains("request_throttle_max_requests"));
    assert!(config.warnings[1].contains("did you mean snapCount?"));
    assert!(warnings("zookeeper.snapCount=5")[0].contains("it is written snapCount"));
}

#[test]
fn zoo_cfg_is_stronger_than_flags_and_bare_names_work_in_both() {
    let properties = flags(&["zookeeper.snapCount=5", "jute.maxbuffer=2000"]);
    let config = parse_with("dataDir=/d", &properties).unwrap();
    assert_eq!((config.storage.snap_count, config.limits.jute_maxbuffer), (5, 2000));
    assert_eq!(config.limits.jute_extrasize, 2000);
    let config = parse_with("dataDir=/d\nsnapCount=6\njute.maxbuffer=3000", &properties).unwrap();
    assert_eq!((config.storage.snap_count, config.limits.jute_maxbuffer), (6, 3000));
    let config = parse("dataDir=/d\nreadonlymode.enabled=true\nznode.container.maxPerMinute=9");
    let config = config.unwrap();
    assert!(config.admin.read_only_mode && config.admin.words.permits("isro"));
    assert_eq!(config.tree.containers.max_per_minute, 9);
}

#[test]
fn words_are_permitted_as_the_list_says() {
    let words = |text: &str| parse(&format!("dataDir=/d\n{text}")).unwrap().admin.words;
    assert!(words("").permits("srvr") && !words("").permits("ruok"));
    let some = words("4lw.commands.whitelist= ruok , mntr,");
    assert!(some.permits("ruok") && some.permits("mntr") && some.permits("srvr"));
    assert!(!some.permits("stat"));
    assert!(words("4lw.commands.whitelist=stat, *").permits("wchp"));
}

#[test]
fn what_does_nothing_gets_one_line_and_its_default_none() {
    assert_eq!(warnings("maxResponseCacheSize=400"), Vec::<String>::new());
    assert_eq!(warnings("maxResponseCacheSize=0").len(), 1);
    assert_eq!(warnings("quorumListenOnAllIPs=true").len(), 1);
    assert_eq!(warnings("metricsProvider.httpPort=7000").len(), 1);
    assert_eq!(warnings("dataDir=/e").len(), 1, "said twice");
    assert_eq!(warnings("dataLogDir=logs").len(), 1, "relative");
    let properties = SystemProperties::from_layers(&[], "-Xmx1g -Djava.net.x=1", "-Dlog4j=2");
    assert_eq!(parse_with("dataDir=/d", &properties).unwrap().warnings.len(), 2);
}

#[test]
fn secrets_are_in_no_listing() {
    let text = "dataDir=/d\nDigestAuthenticationProvider.superDigest=super:geheim\n";
    let config = parse(text).unwrap();
    assert_eq!(config.auth.super_digest.as_ref().map(|s| s.0.as_str()), Some("super:geheim"));
    let listing = config.listing();
    assert!(listing.contains("superDigest=***") && !listing.contains("geheim"), "{listing}");
    assert!(!format!("{:?}", config.auth).contains("geheim"));
}

#[test]
fn arguments_are_read_as_java_reads_them() {
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    let config = Config::of_arguments(&words("2181 /d")).unwrap();
    assert_eq!((config.clients.port, config.clients.max_client_cnxns), (Some(2181), 0));
    assert_eq!(config.tick_time_ms, 3000);
    let config = Config::of_arguments(&words("2181 /d 500 7")).unwrap();
    assert_eq!((config.tick_time_ms, config.clients.max_client_cnxns), (500, 7));
    assert_eq!(config.max_session_timeout_ms, 10_000);
    for bad in ["x /d", "70000 /d", "2181", "2181 /d x", "2181 /d 1 2 3", "2181 /d 0"] {
        assert!(Config::of_arguments(&words(bad)).is_err(), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(
        text in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
    ) {
        let properties = SystemProperties::default();
        let properties = &properties;
        let my_id = FileText::Read(b"1");
        let member = MemberSources { my_id, ..MemberSources::default() };
        let dynamic = Some(("d", text.as_slice()));
        let sources = Sources { file: "f", text: &text, dynamic, properties, member };
        let _ = Config::parse(&sources).map(|config| config.listing());
    }

    #[test]
    fn no_value_of_any_key_breaks_the_reader(
        at in proptest::prelude::any::<proptest::sample::Index>(),
        value in "(-?[0-9]{1,12}|true|[a-z:;,.]{0,12})",
    ) {
        let key = at.get(keys::KEYS).name;
        let _ = parse(&format!("dataDir=/d\n{key}={value}\n")).map(|config| config.listing());
    }
}

#[test]
fn sasl_keys_come_from_the_file_and_from_flags() {
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    let text = format!(
        "dataDir=/d\n{provider}\nsuperUser=a\nsuperUser.2=b\nsuperUserX=c\n\
         sasl.serverconfig=Mine\nletAnySaslUserDoX=any\nallowSaslFailedClients=true\n\
         SASLAuthenticationProvider.superPassword=hush\nenforce.auth.enabled=true\n\
         enforce.auth.schemes=ip, sasl\n"
    );
    let given = flags(&["java.security.auth.login.config=/jaas", "superUser.9=nobody"]);
    let config = parse_with(&text, &given).expect("sound");
    let sasl = &config.auth.sasl;
    assert!(sasl.has_provider && sasl.allow_failed);
    assert_eq!(sasl.login_file.as_deref(), Some("/jaas"));
    assert_eq!(sasl.section.as_deref(), Some("Mine"));
    assert_eq!(sasl.super_users, ["a", "b"]);
    assert_eq!(sasl.any_user_id.as_deref(), Some("any"));
    assert_eq!(config.auth.enforce_auth_schemes, ["ip", "sasl"]);
    assert_eq!(sasl.super_password, Some(Secret("hush".to_owned())));
    assert!(!config.listing().contains("hush"), "{}", config.listing());
    let required = format!("dataDir=/d\n{provider}\nsessionRequireClientSASLAuth=true\n");
    let config = parse(&format!("{required}enforce.auth.schemes=ip")).expect("sound");
    assert!(config.auth.enforce_auth && config.auth.enforce_auth_schemes == ["sasl"]);
}

#[test]
fn values_of_names_that_nobody_knows_are_not_listed() {
    let given = flags(&["pw=hush", "zookeeper.snapCount=77"]);
    let listing = parse_with("dataDir=/d\nssl.keyStore.pasword=hush\n", &given).expect("sound");
    let listing = listing.listing();
    assert!(!listing.contains("hush") && listing.contains("-Dpw=***"), "{listing}");
    assert!(listing.contains("-Dzookeeper.snapCount=77"), "{listing}");
}
