use crate::base::ServerId;
use crate::members::{self, Membership, Role};

use super::*;

const THREE: &str = "server.1=h1:2888:3888\nserver.2=h2:2888:3888\nserver.3=h3:2888:3888\n";
const LIMITS: &str = "initLimit=10\nsyncLimit=5\n";

/// The files of one server.
#[derive(Clone, Copy, Default)]
struct Files<'a> {
    my_id: Option<&'a str>,
    dynamic: Option<&'a str>,
    next: Option<&'a str>,
}

const AS_1: Files<'static> = Files { my_id: Some("1\n"), dynamic: None, next: None };

fn found(text: Option<&str>) -> FileText<'_> {
    text.map_or(FileText::Missing, |text| FileText::Read(text.as_bytes()))
}

fn read(text: &str, files: Files) -> Result<Config, ConfigError> {
    let text = format!("dataDir=/d\n{text}");
    let dynamic = Config::dynamic_config_file(text.as_bytes());
    let dynamic = dynamic.as_deref().zip(files.dynamic.map(str::as_bytes));
    let member = MemberSources {
        static_path: "/etc/zoo.cfg",
        my_id: found(files.my_id),
        next: found(files.next),
    };
    let (text, properties) = (text.as_bytes(), &SystemProperties::default());
    Config::parse(&Sources { file: "zoo.cfg", text, dynamic, properties, member })
}

fn member(text: &str, files: Files) -> MemberConfig {
    read(text, files).expect(text).ensemble.member.expect("a member")
}

#[test]
fn servers_of_the_static_file_make_a_member() {
    let config = read(&format!("{LIMITS}{THREE}clientPort=2181"), AS_1).expect("sound");
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.clients.port, Some(2181));
    let member = config.ensemble.member.expect("a member");
    assert_eq!((member.me, member.role()), (ServerId(1), Role::Participant));
    assert_eq!(member.active.voters().count(), 3);
    assert_eq!((member.active.version, &member.last_seen), (0, &None));
    assert_eq!((member.static_file.as_str(), member.dynamic_file), ("/etc/zoo.cfg", None));
}

#[test]
fn a_dynamic_file_makes_a_member_of_the_version_in_its_name() {
    let text = format!("{LIMITS}reconfigEnabled=true\ndynamicConfigFile=/d/zoo.cfg.dynamic.1f\n");
    let files = Files { dynamic: Some(THREE), ..AS_1 };
    let of = member(&text, files);
    assert_eq!(of.active.version, 0x1f);
    assert_eq!(of.dynamic_file.as_deref(), Some("/d/zoo.cfg.dynamic.1f"));
    assert_eq!(of.files_at_start(), []);
}

/// What stops the start: the files, and Apache's words beside file, line and key.
type Refusals = Vec<(String, Files<'static>, &'static str)>;

fn refuse(cases: Refusals) {
    for (text, files, expected) in cases {
        let error = read(&text, files).expect_err(&text);
        assert!(error.to_string().contains(expected), "{text}\n{error}");
        let late = expected.contains("peer list");
        assert_eq!(error.exit_status, if late { 1 } else { 2 }, "{text}");
    }
}

fn three_with(more: &str) -> String {
    format!("{LIMITS}{THREE}{more}")
}

const TWO: &str = "server.1=a:1:2\nserver.2=b:1:2\n";

#[test]
fn who_lacks_an_id_or_a_limit_is_refused_in_apache_s_words() {
    refuse(vec![
        (three_with(""), Files::default(), "/d/myid: myid file is missing"),
        (
            three_with(""),
            Files { my_id: Some("one"), ..AS_1 },
            "/d/myid, line 1: serverid one is not a number",
        ),
        (three_with(""), Files { my_id: Some(""), ..AS_1 }, "serverid null is not a number"),
        (
            three_with(""),
            Files { my_id: Some("7"), ..AS_1 },
            "/d/myid: My id 7 not in the peer list of zoo.cfg",
        ),
        (format!("syncLimit=1\n{TWO}"), AS_1, "zoo.cfg, initLimit: initLimit is not set"),
        (format!("initLimit=1\n{TWO}"), AS_1, "zoo.cfg, syncLimit: syncLimit is not set"),
        (format!("initLimit=0\nsyncLimit=1\n{TWO}"), AS_1, "line 2, initLimit: initLimit is not"),
        (format!("initLimit=-1\nsyncLimit=1\n{TWO}"), AS_1, "-1 ticks of 3000 ms are out of"),
        (format!("initLimit=1\nsyncLimit=715828\n{TWO}"), AS_1, "715828 ticks of 3000 ms are"),
        (
            format!("{LIMITS}connectToLearnerMasterLimit=9999999\n{TWO}"),
            AS_1,
            "connectToLearnerMasterLimit: 9999999 ticks",
        ),
        ("server.1=a:1:2:observer\n".into(), AS_1, "Observers w/o participants is an invalid"),
        (
            "server.1=a:1:2\nserver.2=b:1:2:observer\n".into(),
            AS_1,
            "Observers w/o quorum is an invalid configuration",
        ),
        (
            "standaloneEnabled=false\n".into(),
            AS_1,
            "standaloneEnabled = false then number of participants should be >0",
        ),
    ]);
}

#[test]
fn lists_that_make_no_ensemble_are_refused_in_apache_s_words() {
    refuse(vec![
        (three_with("server.x=a:1:2"), AS_1, "server.x: For input string: \"x\""),
        (
            three_with("server.4=a:1"),
            AS_1,
            "line 7, server.4: a:1 does not have the form server_config",
        ),
        (three_with("server.4=a:1:1"), AS_1, "Client and election port must be different! Please"),
        (three_with("server.4=a:1:2:voter"), AS_1, "Unrecognised peertype: voter"),
        (
            three_with("server.4=a:1:2|b:1:2"),
            AS_1,
            "Multiple address feature is disabled, but multiple",
        ),
        (three_with("group.1=1:2"), AS_1, "Server 3is not in a group"),
        (three_with("group.1=1:2:3\ngroup.2=3"), AS_1, "Server 3is in multiple groups"),
        (three_with("peerType=voter"), AS_1, "line 7, peerType: Unrecognised peertype: voter"),
        (
            three_with("clientPort=1\nserver.1=h1:2888:3888;2"),
            AS_1,
            "client address for this server (id = 1) in static config file is",
        ),
    ]);
}

#[test]
fn keys_and_files_that_do_not_go_together_are_refused_in_apache_s_words() {
    refuse(vec![
        (three_with("cnxTimeout=soon"), AS_1, "cnxTimeout: For input string: \"soon\""),
        (
            three_with("leader.maxConcurrentSnapSyncs=0"),
            AS_1,
            "maxConcurrentSyncs must be positive, was",
        ),
        (three_with("sslQuorum=true"), AS_1, "sslQuorum: TLS is not built yet"),
        (
            three_with("quorum.auth.enableSasl=true"),
            AS_1,
            "quorum.auth.enableSasl: SASL between servers",
        ),
        (three_with("oraclePath=/o"), AS_1, "oraclePath: an oracle"),
        (
            three_with("dynamicConfigFile=/d/f.1"),
            Files { dynamic: Some(TWO), ..AS_1 },
            "parameter: server.1 must be in a separate dynamic config file",
        ),
        (
            "dynamicConfigFile=/d/f.1".into(),
            Files { dynamic: Some("server.1=a:1:2\nversion=1"), ..AS_1 },
            "/d/f.1, line 2, version: dynamic file shouldn't have version inside",
        ),
        (
            "dynamicConfigFile=/d/f.1".into(),
            Files { dynamic: Some("server.1=a:1:2\nsyncLimit=1"), ..AS_1 },
            "/d/f.1, line 2, syncLimit: Unrecognised parameter: syncLimit",
        ),
        (
            "dynamicConfigFile=/d/f.1".into(),
            AS_1,
            "line 2, dynamicConfigFile: /d/f.1 cannot be read",
        ),
        (
            format!("{LIMITS}dynamicConfigFile=/d/f.1"),
            Files { dynamic: Some(TWO), next: Some("server.1=a:1"), ..AS_1 },
            "zoo.cfg.dynamic.next, line 1, server.1: a:1 does not have the form",
        ),
    ]);
}

#[test]
fn warnings_are_apache_s_too() {
    let two = format!("{LIMITS}server.1=a:1:2\nserver.2=b:1:2\n");
    let four = format!("{LIMITS}{THREE}server.4=h4:2888:3888\n");
    let observer = format!("{LIMITS}{THREE}server.4=h4:1:2:observer\n");
    let as_4 = Files { my_id: Some("4"), ..AS_1 };
    let cases = [
        (two.clone(), AS_1, "No server failure will be tolerated. You need at least 3 servers."),
        (four, AS_1, "Non-optimal configuration, consider an odd number of servers."),
        (
            format!("{observer}peerType=observer"),
            AS_1,
            "Peer type from servers list (PARTICIPANT) \
            doesn't match peerType (OBSERVER). Defaulting to servers list.",
        ),
        (
            observer.clone(),
            as_4,
            "Peer type from servers list (OBSERVER) doesn't match peerType \
            (PARTICIPANT). Defaulting to servers list.",
        ),
        (
            "server.1=a:1:2".to_owned(),
            AS_1,
            "zoo.cfg: Invalid configuration, only one server \
            specified (ignoring); it is started standalone",
        ),
        (
            format!("standaloneEnabled=false\n{LIMITS}server.1=a:1:2"),
            AS_1,
            "No server failure will \
            be tolerated. You need at least 3 servers.",
        ),
    ];
    for (text, files, expected) in cases {
        assert_eq!(read(&text, files).expect(&text).warnings, [expected], "{text}");
    }
    let observes = read(&format!("{observer}peerType=observer"), as_4).expect("sound");
    assert_eq!(observes.warnings, Vec::<String>::new());
    assert_eq!(observes.ensemble.member.expect("a member").role(), Role::Observer);
}

#[test]
fn keys_of_an_ensemble_earn_no_line_in_a_member() {
    let keys = "leaderServes=no\nquorumListenOnAllIPs=true\nforceSnapshotSync=true\n\
        learner.asyncSending=true\nleader.nodelay=true\n";
    let text = format!("{LIMITS}{THREE}{keys}");
    assert_eq!(read(&text, AS_1).expect("sound").warnings, Vec::<String>::new());
    assert_eq!(read(keys, AS_1).expect("alone").warnings.len(), 3);
    let off = format!("{LIMITS}{THREE}leader.nodelay=false\nquorum.auth.server.saslLoginContext=X");
    assert_eq!(read(&off, AS_1).expect("sound").warnings.len(), 2);
}

#[test]
fn who_is_alone_needs_no_id_but_may_not_have_a_wrong_one() {
    let member = |text: &str, files| read(text, files).expect(text).ensemble.member;
    for text in ["", "server.1=a:1:2", "server.7=a:1:2"] {
        assert_eq!(member(text, Files::default()), None);
        assert_eq!(member(text, AS_1), None);
        let wrong = Files { my_id: Some("x"), ..AS_1 };
        assert!(read(text, wrong).expect_err(text).reason.contains("is not a number"));
    }
    assert!(member(&format!("standaloneEnabled=false\n{LIMITS}server.1=a:1:2"), AS_1).is_some());
}

#[test]
fn clients_come_to_the_port_that_the_own_line_names() {
    let clients = |text: &str, files| {
        let clients = read(text, files).expect(text).clients;
        (clients.port, clients.address)
    };
    let line = |client: &str| format!("{LIMITS}{THREE}server.1=h1:2888:3888;{client}\n");
    assert_eq!(clients(&line("2181"), AS_1), (Some(2181), None));
    assert_eq!(clients(&line("h1:2181"), AS_1), (Some(2181), Some("h1".to_owned())));
    assert_eq!(clients(&line("2181"), Files { my_id: Some("2"), ..AS_1 }), (None, None));
    let both = format!("{}clientPort=2181\nclientPortAddress=10.0.0.1", line("10.0.0.1:2181"));
    assert_eq!(clients(&both, AS_1), (Some(2181), Some("10.0.0.1".to_owned())));
    // One server alone is asked for its line as well, where it knows which it is.
    assert_eq!(clients("server.1=a:1:2;2181", AS_1).0, Some(2181));
    assert_eq!(clients("server.1=a:1:2;2181", Files::default()).0, None);
}

#[test]
fn what_was_proposed_counts_while_it_is_newer_and_reconfigurations_are_on() {
    let next = "server.1=h1:2888:3888\nserver.2=h2:2888:3888\nversion=20";
    let file = |version: &str, reconfig: bool| {
        format!(
            "{LIMITS}reconfigEnabled={reconfig}\ndynamicConfigFile=/d/zoo.cfg.dynamic.{version}"
        )
    };
    let files = Files { dynamic: Some(THREE), next: Some(next), ..AS_1 };
    let gone = [("/etc/zoo.cfg.dynamic.next".to_owned(), None)];
    let newer = member(&file("1f", true), files);
    assert_eq!(newer.last_seen.as_ref().map(|seen| seen.version), Some(0x20));
    assert_eq!(newer.files_at_start(), []);
    assert!(newer.active.quorums(newer.last_seen.as_ref()).next.is_some());
    for (version, reconfig) in [("20", true), ("21", true), ("1f", false)] {
        let of = member(&file(version, reconfig), files);
        assert_eq!((&of.last_seen, of.files_at_start()), (&None, gone.as_slice()), "{version}");
    }
    // A static file knows of no proposal.
    let of = member(&format!("{LIMITS}{THREE}"), Files { next: Some("?"), ..AS_1 });
    assert_eq!((&of.last_seen, of.files_at_start()), (&None, gone.as_slice()));
}

#[test]
fn a_static_file_is_kept_before_a_reconfiguration_may_rewrite_it() {
    let text = format!("{LIMITS}{THREE}reconfigEnabled=true\n# why\n");
    let of = member(&text, AS_1);
    let kept = format!("dataDir=/d\n{text}").into_bytes();
    assert_eq!(of.files_at_start(), [("/etc/zoo.cfg.bak".to_owned(), Some(kept))]);
    assert_eq!(member(&format!("{LIMITS}{THREE}"), AS_1).files_at_start(), []);
}

fn text_of(file: &Replacement) -> (&str, Option<&str>) {
    let text = file.1.as_deref().map(|text| std::str::from_utf8(text).expect("ASCII"));
    (file.0.as_str(), text)
}

#[test]
fn an_activated_configuration_moves_out_of_the_static_file() {
    let text = format!("{LIMITS}clientPort=2181\n{THREE}reconfigEnabled=true\npeerType=observer\n");
    let mut of = member(&text, AS_1);
    let words = of.active.text().replace("version=0", "version=100000000");
    let active = of.read_text(&words).expect("our own words");
    let files = of.files_of_active(&active);
    let lines = THREE.trim_end().replace(":3888", ":3888:participant");
    let [dynamic, fixed] = files.as_slice() else { panic!("{files:?}") };
    let path = "/etc/zoo.cfg.dynamic.100000000";
    assert_eq!(text_of(dynamic), (path, Some(lines.as_str())));
    let expected = format!(
        "dataDir=/d\n{LIMITS}clientPort=2181\nreconfigEnabled=true\ndynamicConfigFile={path}\n"
    );
    assert_eq!(text_of(fixed), ("/etc/zoo.cfg", Some(expected.as_str())));
    let gone = of.files_without_last_seen();
    assert_eq!(gone.iter().map(text_of).collect::<Vec<_>>(), [("/etc/zoo.cfg.dynamic.next", None)]);

    // What was written reads back as the same member.
    let again = Files { dynamic: Some(&lines), ..AS_1 };
    let after = member(expected.strip_prefix("dataDir=/d\n").expect("its first line"), again);
    assert_eq!(after.active.text(), active.text());
    let proposed = of.files_of_last_seen(&active);
    let [proposed] = proposed.as_slice() else { panic!("{proposed:?}") };
    let expected = format!("{lines}\nversion=100000000");
    assert_eq!(text_of(proposed), ("/etc/zoo.cfg.dynamic.next", Some(expected.as_str())));
}

#[test]
fn client_ports_leave_the_static_file_for_the_own_line_alone() {
    let mut of = member(&format!("{LIMITS}clientPort=2181\n{THREE}"), AS_1);
    let mut fixed = |text: &str| {
        let active = of.read_text(text).expect("sound");
        let files = of.files_of_active(&active);
        String::from_utf8(files[1].1.clone().expect("a text")).expect("ASCII")
    };
    let other = "server.1=h1:1:2\nserver.2=h2:1:2;2181\nversion=5";
    assert!(fixed(other).contains("clientPort=2181"));
    let own = "server.1=h1:1:2;2181\nserver.2=h2:1:2\nversion=6";
    assert!(!fixed(own).contains("clientPort"));
    // As with Java, which reads the file that it has written.
    assert!(!fixed(other).contains("clientPort"));
}

#[test]
fn a_listing_shows_the_members_and_no_password() {
    let text = format!("{LIMITS}{THREE}reconfigEnabled=true\nssl.keyStore.password=geheim\n");
    let config = read(&text, AS_1).expect("sound");
    let listing = config.listing();
    for line in ["\"server.3=h3:2888:3888:participant\"", "\"version=0\"", "zoo.cfg.bak"] {
        assert!(listing.contains(line), "{line}: {listing}");
    }
    assert!(!listing.contains("geheim"), "{listing}");
    assert!(!format!("{:?}", config.ensemble).contains("geheim"));
}

#[test]
fn a_member_for_tests_is_one_of_the_list() {
    let active = Membership::of_text(&format!("{THREE}version=1"), members::Rules::default());
    let of = MemberConfig::for_tests(ServerId(2), active.expect("sound"));
    assert_eq!((of.role(), of.files_at_start()), (Role::Participant, [].as_slice()));
}
