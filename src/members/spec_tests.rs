use super::*;

fn read(text: &str) -> Result<MemberSpec, MembersError> {
    MemberSpec::read(ServerId(1), text, true)
}

fn spec(text: &str) -> MemberSpec {
    read(text).expect(text)
}

#[test]
fn a_line_is_written_in_its_full_form() {
    for (text, written) in [
        ("a:1:2", "a:1:2:participant"),
        ("a:1:2:Observer;2181", "a:1:2:observer;0.0.0.0:2181"),
        ("a:1:2;b:2181", "a:1:2:participant;b:2181"),
        ("b:1:2|a:3:4:observer", "a:3:4|b:1:2:observer"),
        ("a:1:2|a:1:2", "a:1:2:participant"),
        ("[::1]:1:2;[::]:3", "[0:0:0:0:0:0:0:1]:1:2:participant;[0:0:0:0:0:0:0:0]:3"),
        ("[FE80::00aB%eth0]:1:2", "[fe80:0:0:0:0:0:0:ab%eth0]:1:2:participant"),
        ("[::ffff:10.0.0.1]:1:2", "10.0.0.1:1:2:participant"),
        ("A.b:+1:2:participant:", "A.b:1:2:participant"),
    ] {
        assert_eq!(spec(text).to_string(), written);
        assert_eq!(spec(written), spec(text));
    }
}

#[test]
fn what_is_no_address_is_refused_with_its_key() {
    let form = "does not have the form server_config or server_config;client_config";
    for (text, reason) in [
        ("", form),
        (";2181", form),
        (";", form),
        ("|", form),
        (":1:2", form),
        ("a:1:2;:2181", form),
        ("a:1:2;:", form),
        ("[]:1:2", form),
        ("[::1]x1:2", form),
        ("a:1:2;1;2", form),
        ("a:b:2", "Address unresolved: a:b"),
        ("a:1:2;x", "Address unresolved: 0.0.0.0:x"),
        ("a:1:65536", "port out of range:65536"),
        ("a:1:2|b:1:2:participant|c:1:2:observer", "roles: PARTICIPANT vs OBSERVER"),
        ("a:1:2:leader", "Unrecognised peertype: leader"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.reason.contains(reason), "{text}: {error}");
        assert_eq!(error.key.as_deref(), Some("server.1"));
    }
    let one_only = MemberSpec::read(ServerId(5), "a:1:2|b:1:2", false).expect_err("two addresses");
    let disabled = "Multiple address feature is disabled, but multiple addresses were specified \
                    for sid 5";
    assert_eq!(one_only.reason, disabled);
}

#[test]
fn a_spec_is_the_same_whatever_its_order_and_case() {
    let one = spec("a:1:2|B:3:4;c:5");
    assert!(one.is_same_as(&spec("b:3:4|A:1:2;C:5")));
    assert!(!one.is_same_as(&spec("a:1:2|b:3:4")));
    assert!(!one.is_same_as(&spec("a:1:2|b:3:4:observer;c:5")));
    let other_election = spec("a:1:2|b:3:9;c:5");
    assert!(!one.is_same_as(&other_election) && one.has_same_quorum_address(&other_election));
    assert!(!one.has_same_quorum_address(&spec("a:1:2|b:9:4;c:5")));
}

#[test]
fn a_client_address_of_the_static_file_is_compared_and_not_written() {
    let (mut one, two) = (spec("a:1:2"), spec("a:1:2;c:5"));
    one.static_client = Some(HostPort { host: "c".to_owned(), port: 5 });
    assert!(one.is_same_as(&two));
    assert_eq!(one.to_string(), "a:1:2:participant");
}

#[test]
fn both_ports_of_every_address_are_named() {
    let one = spec("a:1:2|[::1]:3:4");
    let quorum: Vec<String> = one.quorum_addresses().map(|a| a.to_string()).collect();
    let election: Vec<String> = one.election_addresses().map(|a| a.to_string()).collect();
    assert_eq!(quorum, ["[0:0:0:0:0:0:0:1]:3", "a:1"]);
    assert_eq!(election, ["[0:0:0:0:0:0:0:1]:4", "a:2"]);
}
