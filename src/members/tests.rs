use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::{ServerId, limits};

/// What Apache made of each case; `golden/Texts.java` says how it was recorded.
const GOLDEN: &str = include_str!("golden/texts.txt");

fn id(id: i64) -> ServerId {
    ServerId(id)
}

fn read(text: &str) -> Membership {
    Membership::of_text(text, Rules::default()).expect(text)
}

fn refused(text: &str) -> String {
    Membership::of_text(text, Rules::default()).expect_err(text).reason
}

fn three() -> Membership {
    read("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer;2181\nversion=10")
}

/// One recorded case: its settings and its lines by their marks.
struct Case<'a> {
    settings: &'a str,
    lines: Vec<(char, &'a str)>,
}

impl<'a> Case<'a> {
    fn all() -> Vec<Case<'a>> {
        let mut cases: Vec<Case> = Vec::new();
        for line in GOLDEN.lines() {
            let (mark, rest) = line.split_at(1);
            match mark {
                "#" => cases.push(Case { settings: rest, lines: Vec::new() }),
                _ => {
                    let mark = mark.chars().next().expect("a mark");
                    cases.last_mut().expect("a case").lines.push((mark, rest));
                }
            }
        }
        cases
    }

    fn of(&self, mark: char) -> Vec<&'a str> {
        self.lines.iter().filter(|(m, _)| *m == mark).map(|(_, line)| *line).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.of('>').into_iter().map(|line| line.split_once('=').expect("a pair"))
    }

    fn read(&self) -> Result<Membership, MembersError> {
        let rules = Rules {
            standalone_enabled: self.settings.contains("standalone"),
            multi_address: self.settings.contains("multi"),
        };
        if self.settings.starts_with('s') {
            return Membership::of_static_file(self.pairs(), rules);
        }
        Membership::of_text(&self.of('>').join("\n"), rules)
    }
}

#[test]
fn every_text_and_every_refusal_is_as_apaches() {
    let (mut texts, mut refusals) = (0, 0);
    let about_members = |c: &Case| c.settings.starts_with(['d', 's']);
    for case in Case::all().into_iter().filter(about_members) {
        let lines = case.of('>').join("\n");
        let text = case.of('<').join("\n");
        match (case.read(), case.of('!').first()) {
            (Ok(membership), None) => {
                assert_eq!(membership.text(), text, "{lines}");
                assert_eq!(membership.dynamic_file_text(), case.of('~').join("\n"), "{lines}");
                texts += 1;
            }
            (Err(error), Some(reason)) => {
                assert_eq!(error.reason, *reason, "{lines}");
                refusals += 1;
            }
            (ours, apaches) => panic!("{ours:?} is not {apaches:?}, of\n{lines}"),
        }
    }
    assert!(texts > 150 && refusals > 30, "{texts} texts, {refusals} refusals");
}

#[test]
fn every_recorded_quorum_is_one_in_both_forms() {
    let (mut enough, mut too_few) = (0, 0);
    for case in Case::all().iter().filter(|c| !c.of('=').is_empty()) {
        let membership = case.read().expect("Apache has read it");
        let quorums = Quorums { current: membership.verifier(), next: None };
        let slots = Slots::new(&quorums);
        for line in case.of('=') {
            let (ids, verdict) = line.rsplit_once(' ').expect("a verdict");
            let ids = ids.split(',').filter(|id| !id.is_empty());
            let acked: BTreeSet<ServerId> = ids.map(|n| id(n.parse().expect("an id"))).collect();
            let mut acks = Acks::default();
            acked.iter().for_each(|server| assert!(slots.add(&mut acks, *server)));
            let wanted = verdict == "true";
            assert_eq!(quorums.are_satisfied(&acked), wanted, "{line}\n{}", membership.text());
            assert_eq!(slots.are_satisfied(acks), wanted, "{line}\n{}", membership.text());
            *(if wanted { &mut enough } else { &mut too_few }) += 1;
        }
    }
    assert!(enough > 100 && too_few > 100, "{enough} quorums, {too_few} others");
}

#[test]
fn the_same_keys_leave_a_static_file_as_with_apache() {
    for (settings, erase) in [("e", true), ("k", false)] {
        let cases = Case::all();
        let case = cases.iter().find(|c| c.settings == settings).expect("recorded");
        let text = static_file_text(case.pairs(), "/tmp", erase);
        let mut lines: Vec<String> =
            String::from_utf8(text).expect("ascii").lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, case.of('<'));
    }
}

#[test]
fn what_stays_in_a_static_file_reads_back_as_it_was() {
    let pairs = [("a b", " x\\y\n"), ("#k:=", "=\u{e9}\u{2603}"), ("server.1", "gone")];
    let text = static_file_text(pairs, "/d/zoo.cfg.dynamic.0", false);
    let mut wanted = b"a\\ b=\\ x\\\\y\\n\n\\#k\\:\\==\xe9\\u2603\n".to_vec();
    wanted.extend(b"dynamicConfigFile=/d/zoo.cfg.dynamic.0\n");
    assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&wanted));
    assert_eq!(text, wanted);
}

#[test]
fn a_dynamic_file_has_its_version_in_its_name() {
    let pairs = || [("server.1", "a:1:2"), ("server.2", "b:1:2"), ("group.1", "1:2")];
    let read = |name: &str| Membership::of_dynamic_file(name, pairs(), Rules::default());
    assert_eq!(read("/etc/zoo.cfg.dynamic.1f").expect("a version").version, 0x1f);
    assert_eq!(read("/etc/zoo.cfg.dynamic").expect("none is 0").version, 0);
    assert_eq!(read("members").expect("none is 0").version, 0);
    assert!(read("zoo.cfg.dynamic.-1").is_err());
    let inside = pairs().into_iter().chain([("version", "3")]);
    let error = Membership::of_dynamic_file("d", inside, Rules::default()).expect_err("inside");
    assert_eq!(error.to_string(), "dynamic file shouldn't have version inside");
    assert_eq!(dynamic_file_name("zoo.cfg", 0x1_0000_0000), "zoo.cfg.dynamic.100000000");
    assert_eq!(next_file_name("zoo.cfg"), "zoo.cfg.dynamic.next");
}

#[test]
fn a_next_file_is_read_back_whatever_it_says() {
    let membership = read("server.2=b:1:2\nserver.10=c:1:2\nweight.2=3\ngroup.1=10:2\nversion=a");
    let text = membership.next_file_text();
    assert_eq!(
        text,
        "group.1=2:10\nserver.10=c:1:2:participant\nserver.2=b:1:2:participant\nversion=a\n\
         weight.10=1\nweight.2=3"
    );
    let pairs = || text.lines().map(|line| line.split_once('=').expect("a pair"));
    let again = Membership::of_next_file(pairs(), Rules::default()).expect("our own text");
    assert_eq!((again.version, again.text()), (10, membership.text()));
    let alone = [("server.1", "a:1:2:observer"), ("other", "x")];
    assert!(Membership::of_next_file(alone, Rules::default()).is_ok());
}

#[test]
fn what_apache_leaves_to_chance_is_refused() {
    for (text, reason) in [
        ("server.1=a:1:2\nserver.01=b:1:2", "server 1 is named by two keys"),
        ("server.1=a:1:2\ngroup.1=1\ngroup.+1=2", "group 1 is named by two keys"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=2\nweight.01=1", "weight 1 is named by two keys"),
        ("server.1=a:1:2\ngroup.1=1\ngroup.2=:", "group 2 has no members"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=-1", "weights are from 0 to 4294967295, not -1"),
        (
            "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.1=1:2:3",
            "Server 3 of group 1 has neither vote nor weight",
        ),
        ("server.1=a\\:1:2", "a backslash, which no server writes"),
    ] {
        assert_eq!(refused(text), reason, "{text}");
    }
}

#[test]
fn a_configuration_has_at_most_so_many_voters() {
    let lines = |voters: usize| {
        let line = |n: usize| format!("server.{n}=a:1:2");
        (0..voters).map(line).collect::<Vec<String>>().join("\n") + "\nserver.999=a:1:2:observer"
    };
    let largest = read(&lines(limits::VOTERS));
    Slots::new(&Quorums { current: largest.verifier(), next: None });
    let too_many = lines(limits::VOTERS + 1);
    assert_eq!(refused(&too_many), "65 servers vote; 64 are the most");
    let pairs = too_many.lines().map(|line| line.split_once('=').expect("a pair"));
    assert!(Membership::of_next_file(pairs, Rules::default()).is_err());
}

#[test]
fn who_votes_and_what_one_weighs() {
    let membership = three();
    let all: Vec<i64> = membership.voters().map(|v| v.0).collect();
    assert_eq!(all, [1, 2]);
    assert_eq!(membership.observers().collect::<Vec<_>>(), [id(3)]);
    assert!(
        membership.is_voter(id(1)) && !membership.is_voter(id(3)) && !membership.is_voter(id(4))
    );
    assert_eq!(
        (membership.role(id(3)), membership.role(id(4))),
        (Role::Observer, Role::Participant)
    );
    assert_eq!((membership.weight(id(1)), membership.weight(id(9))), (1, 1));
    let grouped = read("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2:7\nweight.2=0\nweight.7=5");
    let weights = [1, 2, 7, 8].map(|n| (grouped.weight(id(n)), grouped.verifier().weight(id(n))));
    assert_eq!(weights, [(1, 1), (0, 0), (5, 5), (0, 0)]);
    assert!(!grouped.verifier().is_voter(id(7)));
}

#[test]
fn a_newer_configuration_must_agree_too_and_no_other() {
    let (one, mut other) = (three(), read("server.2=b:1:2\nserver.5=e:1:2\nversion=11"));
    let alone = Quorums { current: one.verifier(), next: None };
    assert_eq!(one.quorums(None), alone);
    let both = one.quorums(Some(&other));
    assert_eq!(both.next, Some(other.verifier()));
    let votes = [1, 2, 3, 5].map(|n| both.is_voter(id(n)));
    assert_eq!(votes, [true, true, false, true]);
    other.version = one.version;
    assert_eq!(one.quorums(Some(&other)), alone);
}

#[test]
fn servers_are_an_ensemble_or_one_alone() {
    let one = read("server.1=a:1:2");
    assert!(!one.is_distributed(true) && one.is_distributed(false));
    assert!(read("version=1").warning(true).is_none() && !read("version=1").is_distributed(true));
    let only_one = "Invalid configuration, only one server specified (ignoring)";
    assert_eq!(one.warning(true), Some(only_one));
    let no_failure = "No server failure will be tolerated. You need at least 3 servers.";
    assert_eq!(one.warning(false), Some(no_failure));
    assert_eq!((three().warning(true), three().is_distributed(true)), (Some(no_failure), true));
    let of = |voters: i64| {
        let spec = three().members[&id(1)].clone();
        Membership::new(0, (0..voters).map(|n| (id(n), spec.clone())).collect()).warning(true)
    };
    assert_eq!(of(4), Some("Non-optimal configuration, consider an odd number of servers."));
    assert_eq!((of(3), of(5)), (None, None));
}

#[test]
fn a_server_starts_as_what_the_list_says() {
    assert!(three().holds(id(3)).is_ok());
    let error = three().holds(id(4)).expect_err("not there");
    assert_eq!(error.to_string(), "My id 4 not in the peer list");
    assert_eq!(three().peer_type_warning(id(1), Role::Participant), None);
    assert_eq!(
        three().peer_type_warning(id(3), Role::Participant).as_deref(),
        Some(
            "Peer type from servers list (OBSERVER) doesn't match peerType (PARTICIPANT). \
             Defaulting to servers list."
        )
    );
}

#[test]
fn a_client_address_is_the_lines_or_the_static_files_and_never_two() {
    let at = |host: &str, port| Some(HostPort { host: host.to_owned(), port });
    let mut membership = three();
    let text = membership.text();
    assert_eq!(membership.settle_client_address(id(1), at("10.0.0.1", 9)), Ok(at("10.0.0.1", 9)));
    assert_eq!(membership.members[&id(1)].client_address(), at("10.0.0.1", 9).as_ref());
    assert_eq!(membership.text(), text, "it is not the ensemble's business");
    assert!(!membership.erases_client_port(id(1)) && membership.erases_client_port(id(3)));
    let of_line = at("0.0.0.0", 2181);
    for agreeing in [None, of_line.clone(), at("::", 2181), at("a", 2181)] {
        assert_eq!(membership.settle_client_address(id(3), agreeing), Ok(of_line.clone()));
    }
    for other in [at("0.0.0.0", 2182), at("10.0.0.1", 2181)] {
        assert!(membership.settle_client_address(id(3), other).is_err());
    }
    let error = membership.settle_client_address(id(3), at("0.0.0.0", 1)).expect_err("another");
    assert_eq!(
        error.to_string(),
        "client address for this server (id = 3) in static config file is 0.0.0.0:1 is different \
         from client address found in dynamic file: 0.0.0.0:2181"
    );
    assert_eq!(membership.settle_client_address(id(9), None), Ok(None));
}

#[test]
fn configurations_are_equal_by_version_or_by_members() {
    let one = three();
    let changed = |change: &dyn Fn(&mut Membership)| {
        let mut other = three();
        other.version = 11;
        change(&mut other);
        other
    };
    assert!(one.is_same_as(&changed(&|_: &mut Membership| {})));
    let renamed = changed(&|m: &mut Membership| {
        m.members.get_mut(&id(1)).expect("there").addresses[0].host.push('A')
    });
    let mut same_version = renamed.clone();
    assert!(!one.is_same_as(&renamed) && !renamed.is_same_as(&one));
    same_version.version = one.version;
    assert!(one.is_same_as(&same_version), "a version stands for one configuration");
    let to_observer =
        |m: &mut Membership| m.members.get_mut(&id(1)).expect("there").role = Role::Observer;
    let changes: [&dyn Fn(&mut Membership); 4] = [
        &to_observer,
        &|m: &mut Membership| drop(m.members.remove(&id(3))),
        &|m: &mut Membership| m.members.get_mut(&id(3)).expect("there").client = None,
        &|m: &mut Membership| m.grouping = Some(Grouping::default()),
    ];
    for change in changes {
        assert!(!one.is_same_as(&changed(change)) && !changed(change).is_same_as(&one));
    }
    let mut grouped = three();
    grouped.grouping = Some(Grouping::default());
    assert!(!one.is_same_as(&grouped), "a majority is no hierarchy, whatever the version");
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9.-]{0,12}", "10\\.0\\.[1-9]\\.[1-9]", "fe80:0:0:0:0:0:[1-9a-f]{1,4}:1"]
}

fn address() -> impl Strategy<Value = Address> {
    (host(), any::<u16>(), 1u16..).prop_map(|(host, quorum_port, apart)| {
        let election_port = quorum_port.wrapping_add(apart);
        Address { host, quorum_port, election_port }
    })
}

fn spec() -> impl Strategy<Value = MemberSpec> {
    let client = prop::option::of((host(), any::<u16>()));
    let addresses = prop::collection::vec(address(), 1..4);
    (addresses, prop::bool::weighted(0.7), client).prop_map(|(mut addresses, votes, client)| {
        addresses.sort_by(|a, b| a.host.cmp(&b.host));
        addresses.dedup_by(|a, b| a.host == b.host);
        MemberSpec {
            addresses,
            role: if votes { Role::Participant } else { Role::Observer },
            client: client.map(|(host, port)| HostPort { host, port }),
            static_client: None,
        }
    })
}

/// Configurations of any kind of ids; those below 12 share no bucket of any table.
fn membership(ids: std::ops::Range<i64>) -> impl Strategy<Value = Membership> {
    let members = prop::collection::btree_map(ids.prop_map(ServerId), spec(), 2..12);
    let grouping = prop::collection::vec((0i64..4, 0u32..4), 12);
    (members, prop::option::of(grouping), 0..i64::MAX).prop_map(|(mut members, groups, version)| {
        // Two who vote, so that it is a configuration at all.
        members.values_mut().take(2).for_each(|m| m.role = Role::Participant);
        let mut membership = Membership::new(version, members);
        membership.grouping = groups.map(|groups| {
            let ids = || membership.members.keys().copied();
            Grouping {
                groups: ids().zip(&groups).map(|(id, (group, _))| (id, *group)).collect(),
                weights: ids().zip(&groups).map(|(id, (_, weight))| (id, *weight)).collect(),
            }
        });
        membership
    })
}

fn acked(ids: std::ops::Range<i64>) -> impl Strategy<Value = BTreeSet<ServerId>> {
    prop::collection::btree_set(ids.prop_map(ServerId), 0..12)
}

fn reread(text: &str) -> Membership {
    let rules = Rules { multi_address: true, ..Rules::default() };
    Membership::of_text(text, rules).expect(text)
}

proptest! {
    #[test]
    fn a_text_read_and_written_is_the_same_text(membership in membership(0..12)) {
        let text = membership.text();
        prop_assert_eq!(reread(&text).text(), text);
    }

    #[test]
    fn whatever_the_ids_nothing_is_lost_on_the_way(membership in membership(i64::MIN..i64::MAX)) {
        let again = reread(&membership.text());
        prop_assert_eq!(&again.members, &membership.members);
        prop_assert_eq!(&again.grouping, &membership.grouping);
        prop_assert_eq!(again.version, membership.version);
        prop_assert!(again.is_same_as(&membership) && membership.is_same_as(&again));
        let lines = |m: &Membership| -> BTreeSet<String> {
            m.text().lines().filter(|l| !l.starts_with("group")).map(str::to_owned).collect()
        };
        prop_assert_eq!(lines(&again), lines(&membership));
    }

    #[test]
    fn no_text_whatsoever_is_a_panic(text in "(server|group|weight|version)\\.[0-9]=[ -~]{0,20}\n\\PC{0,60}") {
        let _ = Membership::of_text(&text, Rules { standalone_enabled: true, multi_address: true });
    }

    #[test]
    fn two_quorums_of_one_configuration_always_meet(
        membership in membership(0..12), a in acked(0..12), b in acked(0..12),
    ) {
        let verifier = membership.verifier();
        if verifier.is_quorum(&a) && verifier.is_quorum(&b) {
            prop_assert!(a.intersection(&b).any(|s| membership.is_voter(*s)));
        }
    }

    #[test]
    fn two_quorums_of_neighbouring_configurations_meet_in_the_joint_one(
        old in membership(0..12), new in membership(0..12), a in acked(0..12), b in acked(0..12),
    ) {
        let joint = Quorums { current: old.verifier(), next: Some(new.verifier()) };
        if joint.are_satisfied(&a) && old.verifier().is_quorum(&b) {
            prop_assert!(a.intersection(&b).any(|s| old.is_voter(*s)));
        }
    }

    #[test]
    fn a_majority_is_what_counting_says(membership in membership(0..12), acked in acked(0..12)) {
        let membership = Membership { grouping: None, ..membership };
        let voters: BTreeMap<ServerId, bool> =
            membership.voters().map(|v| (v, acked.contains(&v))).collect();
        let said = voters.values().filter(|said| **said).count();
        prop_assert_eq!(membership.verifier().is_quorum(&acked), 2 * said > voters.len());
    }
}
