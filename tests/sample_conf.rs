//! The sample `conf/zoo.cfg` names every key, and each of its lines can be taken as it stands.

use zkd::config::{
    Config, ConfigError, Ensemble, FileText, MemberSources, Sources, SystemProperties,
};

const SAMPLE: &str = include_str!("../conf/zoo.cfg");

/// The members of an ensemble as the dynamic file has them.
const TWO: &str = "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.1:2889:3889";

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_beside(text, "server.1=127.0.0.1:2888:3888", MemberSources::default())
}

fn parse_member(text: &str) -> Result<Config, ConfigError> {
    let my_id = FileText::Read(b"1");
    let member = MemberSources { my_id, ..MemberSources::default() };
    parse_beside(text, TWO, member)
}

fn parse_beside(text: &str, dynamic: &str, member: MemberSources) -> Result<Config, ConfigError> {
    let properties = &SystemProperties::default();
    let (text, dynamic) = (text.as_bytes(), Some(("zoo.cfg.dynamic", dynamic.as_bytes())));
    Config::parse(&Sources { file: "zoo.cfg", text, dynamic, properties, member })
}

/// Every commented key with what its comment says of it.
fn keys() -> Vec<(String, String)> {
    let mut said = String::new();
    let mut keys = Vec::new();
    for line in SAMPLE.lines() {
        match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                keys.push((key.to_owned(), said.clone()));
            }
            Some(comment) => said.push_str(comment),
            None => said.clear(),
        }
    }
    keys
}

#[test]
fn the_sample_as_it_stands_reads_without_a_line() {
    let config = parse(SAMPLE).expect("the sample");
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.clients.port, Some(2181));
}

#[test]
fn every_key_uncommented_alone_does_what_its_comment_says() {
    let keys = keys();
    assert!(keys.len() > 190, "{} keys", keys.len());
    for (key, said) in keys {
        let name = key.split('=').next().expect("a name");
        let without: Vec<&str> =
            SAMPLE.lines().filter(|l| !l.starts_with(&format!("{name}="))).collect();
        match parse(&format!("{}\n{key}\n", without.join("\n"))) {
            Err(error) => assert!(said.contains("stops the start"), "{key}: {error}"),
            Ok(config) if said.contains("does nothing") => {
                assert!(config.warnings.len() <= 1, "{key}: {:?}", config.warnings);
            }
            Ok(config) => {
                let lines: Vec<&String> = config.warnings.iter().collect();
                let alone = said.contains("One server alone") || name == "dynamicConfigFile";
                assert!(lines.is_empty() || (alone && lines.len() == 1), "{key}: {lines:?}");
            }
        }
    }
}

#[test]
fn what_an_ensemble_reads_earns_a_member_no_line() {
    let limits = "initLimit=10\nsyncLimit=5";
    let pointer = format!("{SAMPLE}\n{limits}\ndynamicConfigFile=zoo.cfg.dynamic\n");
    let plain = parse_member(&pointer).expect("a member");
    let member = plain.ensemble.member.as_ref().expect("one of two");
    assert_eq!((member.me.0, member.active.voters().count()), (1, 2));
    assert_eq!(plain.warnings.len(), 1, "two are few: {:?}", plain.warnings);
    let of_members: Vec<_> =
        keys().into_iter().filter(|(_, said)| said.contains("For members")).collect();
    assert!(of_members.len() > 25, "{}", of_members.len());
    for (key, _) in of_members {
        let name = key.split('=').next().expect("a name");
        let other = if key.ends_with("=true") { "false" } else { "true" };
        let other = if key.ends_with("=yes") { "no" } else { other };
        let is_word = ["=true", "=false", "=yes"].iter().any(|end| key.ends_with(end));
        let line = if is_word { format!("{name}={other}") } else { key.clone() };
        let config = parse_member(&format!("{pointer}{line}\n")).expect(&line);
        assert_eq!(config.warnings, plain.warnings, "{line}");
        let without = |of: &Config| Ensemble { member: None, ..of.ensemble.clone() };
        assert_eq!(without(&config) != without(&plain), is_word, "{line}");
    }
}

#[test]
fn values_without_an_example_are_the_defaults() {
    let plain = parse(SAMPLE).expect("the sample");
    for (key, said) in keys().into_iter().filter(|(_, said)| !said.contains("e.g.")) {
        let Ok(mut config) = parse(&format!("{SAMPLE}\n{key}\n")) else {
            panic!("{key} ({said}) is refused though it is the default");
        };
        config.system_properties.clear();
        // It is the default, and of no use without another key.
        if said.contains("does nothing alone") {
            config.warnings.clear();
        }
        assert_eq!(config, plain, "{key}");
    }
}
