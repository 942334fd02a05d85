//! The ACL rules, each in the situation that shows it.

use crate::base::limits;
use crate::proto::{Acl, ErrorCode, Perms, RawAcl};

use super::{AuthFailed, AuthSettings, Identities, Identity, Providers, SaslSettings};

const SUPER_TEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

fn providers(change: impl FnOnce(&mut AuthSettings)) -> Providers {
    let mut settings = AuthSettings::default();
    change(&mut settings);
    Providers::new(&settings).expect("sound settings")
}

fn local() -> Identities {
    Identities::of_peer("127.0.0.1".parse().expect("an address"))
}

fn with(providers: &Providers, credentials: &[&str]) -> Identities {
    let mut ids = local();
    for credential in credentials {
        providers.authenticate("digest", credential.as_bytes(), &mut ids).expect("a digest");
    }
    ids
}

fn raw<'a>(perms: i32, scheme: Option<&'a str>, id: Option<&'a str>) -> RawAcl<'a> {
    RawAcl { perms: Perms(perms), scheme: scheme.map(Into::into), id: id.map(Into::into) }
}

fn fix(list: &[RawAcl<'_>]) -> Result<Vec<Acl>, ErrorCode> {
    providers(|_| {}).fix_up(Some(list), &local())
}

#[test]
fn digest_credentials_add_up_and_repeat_harmlessly() {
    let p = providers(|_| {});
    let ids = with(&p, &["a:1", "b:2", "a:1"]);
    let names = p.user_names(&ids);
    let shown: Vec<(&str, &str)> = names.iter().map(|(s, u)| (s.as_str(), u.as_str())).collect();
    assert_eq!(shown, [("ip", "127.0.0.1"), ("digest", "a"), ("digest", "b")]);
}

#[test]
fn unknown_schemes_and_disabled_digest_fail() {
    let mut ids = local();
    for scheme in ["", "world", "auth", "sasl", "x509", "super", "Digest"] {
        assert_eq!(providers(|_| {}).authenticate(scheme, b"a:b", &mut ids), Err(AuthFailed));
    }
    let without = providers(|s| s.digest_enabled = false);
    assert_eq!(without.authenticate("digest", b"a:b", &mut ids), Err(AuthFailed));
    assert_eq!(without.authenticate("ip", b"whatever", &mut ids), Ok(()));
    assert_eq!(ids, local());
}

#[test]
fn identities_of_one_connection_are_bounded() {
    let p = providers(|_| {});
    let mut ids = local();
    for n in 1..limits::AUTH_IDS_PER_CONN {
        assert_eq!(p.authenticate("digest", format!("u{n}:p").as_bytes(), &mut ids), Ok(()));
    }
    assert_eq!(p.authenticate("digest", b"one:more", &mut ids), Err(AuthFailed));
    assert_eq!(ids.iter().count(), limits::AUTH_IDS_PER_CONN);
}

#[test]
fn the_super_digest_makes_super_and_may_do_all() {
    let p = providers(|s| s.super_digest = Some(SUPER_TEST.to_owned()));
    let nobody = [Acl::new(Perms(0), "digest", "x:y")];
    let ids = with(&p, &["super:test"]);
    assert!(p.is_super(&ids) && p.can_admin(&nobody, &ids));
    let names: Vec<String> = p.user_names(&ids).into_iter().map(|(s, u)| s + "=" + &u).collect();
    assert_eq!(names, ["ip=127.0.0.1", "super=", "digest=super"]);
    let other = with(&p, &["super:tset"]);
    assert!(!p.is_super(&other) && !p.can_admin(&nobody, &other));
    assert!(!providers(|_| {}).is_super(&with(&providers(|_| {}), &["super:test"])));
}

#[test]
fn any_entry_with_a_wanted_bit_and_the_right_id_permits() {
    let p = providers(|_| {});
    let ids = with(&p, &["a:1"]);
    let mine = ids.iter().last().expect("the digest").id.clone();
    let list = [
        Acl::new(Perms::READ, "world", "anyone"),
        Acl::new(Perms::WRITE, "digest", &mine),
        Acl::new(Perms::CREATE, "digest", "a:other"),
        Acl::new(Perms::DELETE, "ip", "127.0.0.0/8"),
        Acl::new(Perms::ADMIN, "sasl", "a"),
    ];
    assert!(p.permits(&list, Perms::READ, &Identities::none()));
    assert!(p.permits(&list, Perms::WRITE, &ids));
    assert!(!p.permits(&list, Perms::WRITE, &local()));
    assert!(!p.permits(&list, Perms::CREATE, &ids));
    assert!(p.permits(&list, Perms::DELETE, &ids));
    assert!(!p.permits(&list, Perms::ADMIN, &ids));
    assert!(p.permits(&list, Perms::ADMIN.with(Perms::READ), &ids));
    assert!(p.permits(&[], Perms::ADMIN, &Identities::none()));
    assert!(providers(|s| s.skip_acl = true).permits(&list, Perms::ADMIN, &local()));
}

#[test]
fn a_prefix_is_not_an_identity_of_another_scheme() {
    let p = providers(|_| {});
    let list = [Acl::new(Perms::ALL, "ip", "10.0.0.0/8")];
    let vouched = Identities::vouched([Identity::new("digest", "10.0.0.1")]);
    assert!(!p.permits(&list, Perms::READ, &vouched));
    assert!(p.permits(&list, Perms::READ, &Identities::vouched([Identity::new("ip", "10.9.8.7")])));
}

#[test]
fn fix_up_drops_duplicates_and_keeps_the_order() {
    let list = [
        raw(1, Some("world"), Some("anyone")),
        raw(99, Some("digest"), Some("a:b")),
        raw(1, Some("world"), Some("anyone")),
        raw(0, Some("ip"), Some("1.2.3.4/8")),
    ];
    let fixed = fix(&list).expect("a sound list");
    let shown: Vec<(i32, &str)> = fixed.iter().map(|a| (a.perms.0, a.id.as_str())).collect();
    assert_eq!(shown, [(1, "anyone"), (99, "a:b"), (0, "1.2.3.4/8")]);
}

#[test]
fn fix_up_refuses_what_no_provider_understands() {
    assert_eq!(providers(|_| {}).fix_up(None, &local()), Err(ErrorCode::InvalidAcl));
    assert_eq!(fix(&[]), Err(ErrorCode::InvalidAcl));
    let bad = [
        ("world", "someone"),
        ("digest", "a"),
        ("ip", "host"),
        ("sasl", "a"),
        ("super", ""),
        ("auth", ""),
        ("", ""),
    ];
    for (scheme, id) in bad {
        let code = fix(&[raw(31, Some(scheme), Some(id))]);
        assert_eq!(code, Err(ErrorCode::InvalidAcl), "{scheme}:{id}");
    }
}

#[test]
fn nulls_in_an_acl_are_answered_as_java_answers_them() {
    use ErrorCode::{InvalidAcl, MarshallingError};
    let cases = [
        (vec![raw(1, None, Some("a"))], InvalidAcl),
        (vec![raw(1, None, None), raw(1, None, None)], MarshallingError),
        (vec![raw(1, Some("world"), None)], MarshallingError),
        (vec![raw(1, Some("digest"), None)], MarshallingError),
        (vec![raw(1, Some("ip"), None)], MarshallingError),
        (vec![raw(1, Some("sasl"), None)], InvalidAcl),
        (vec![raw(1, Some("auth"), None)], InvalidAcl),
        (vec![raw(1, Some("world"), Some("anyone")), raw(1, None, None)], MarshallingError),
        (vec![raw(1, Some("world"), Some("anyone")), raw(2, None, None)], InvalidAcl),
        (vec![raw(1, Some("sasl"), Some("a")), raw(1, Some("sasl"), None)], MarshallingError),
        (vec![raw(1, Some("sasl"), None), raw(1, Some("sasl"), Some("a"))], InvalidAcl),
    ];
    for (list, code) in cases {
        assert_eq!(fix(&list), Err(code), "{list:?}");
    }
}

#[test]
fn auth_becomes_the_proved_ids_of_the_connection() {
    let p = providers(|s| s.super_digest = Some(SUPER_TEST.to_owned()));
    let ids = with(&p, &["super:test", "b:2"]);
    let fixed = p.fix_up(Some(&[raw(5, Some("auth"), None)]), &ids).expect("proved ids");
    assert!(fixed.iter().all(|a| a.scheme == "digest" && a.perms == Perms(5)));
    let users: Vec<&str> = fixed.iter().filter_map(|a| a.id.split(':').next()).collect();
    assert_eq!(users, ["super", "b"]);
}

#[test]
fn an_expansion_beyond_any_frame_is_refused() {
    let p = providers(|_| {});
    let ids = with(&p, &[&format!("{}:p", "u".repeat(1000))]);
    let list: Vec<RawAcl<'_>> = (0..2000).map(|n| raw(n, Some("auth"), None)).collect();
    assert_eq!(p.fix_up(Some(&list), &ids), Err(ErrorCode::InvalidAcl));
    assert_eq!(p.fix_up(Some(&list[..100]), &ids).map(|l| l.len()), Ok(100));
}

#[test]
fn enforcement_needs_an_available_scheme_and_then_a_proof() {
    let new = |schemes: &[&str]| {
        let list = schemes.iter().map(ToString::to_string).collect();
        Providers::new(&AuthSettings { enforced_schemes: Some(list), ..AuthSettings::default() })
    };
    assert!(new(&[]).is_err() && new(&["digest", "sasl"]).is_err());
    let p = new(&["digest"]).expect("a known scheme");
    assert!(!p.admits(&local()) && p.admits(&with(&p, &["a:b"])));
    assert!(providers(|_| {}).admits(&Identities::none()));
    let unknown = AuthSettings { digest_alg: "MD2".to_owned(), ..AuthSettings::default() };
    assert!(Providers::new(&unknown).is_err_and(|fault| fault.contains("MD2")));
}

#[test]
fn hashes_are_masked_and_other_schemes_are_not() {
    let list = [Acl::new(Perms::ALL, "digest", "u:h"), Acl::new(Perms::READ, "ip", "::1/8")];
    let shown = providers(|_| {}).masked(&list);
    assert_eq!(shown, [Acl::new(Perms::ALL, "digest", "u:x"), list[1].clone()]);
}

fn sasl(change: impl FnOnce(&mut SaslSettings)) -> Providers {
    providers(|settings| {
        settings.sasl.has_provider = true;
        change(&mut settings.sasl);
    })
}

#[test]
fn a_sasl_user_matches_its_own_entries_and_super_every_one() {
    let p = sasl(|s| s.any_user_id = Some("any".to_owned()));
    let user = |name: &str| {
        let mut ids = local();
        p.add_sasl(name, &mut ids).expect("room");
        ids
    };
    let list = |id: &str| [Acl::new(Perms::READ, "sasl", id)];
    assert!(p.permits(&list("bob"), Perms::READ, &user("bob")));
    assert!(!p.permits(&list("bob"), Perms::READ, &user("eve")));
    assert!(p.permits(&list("bob"), Perms::READ, &user("super")), "the name, no super user");
    assert!(!p.permits(&[Acl::new(Perms::READ, "ip", "1.2.3.4")], Perms::READ, &user("super")));
    assert!(p.permits(&list("any"), Perms::READ, &user("eve")));
    assert!(!p.permits(&list("any"), Perms::READ, &local()));
    assert!(!providers(|_| {}).permits(&list("bob"), Perms::READ, &user("bob")), "no provider");
    let names: Vec<String> = p.user_names(&user("bob")).into_iter().map(|(_, u)| u).collect();
    assert_eq!(names, ["127.0.0.1", "bob"]);
}

#[test]
fn sasl_super_users_may_do_all() {
    let p = sasl(|s| s.super_users = vec!["adam".to_owned()]);
    let nobody = [Acl::new(Perms(0), "digest", "x:y")];
    for (name, may) in [("adam", true), ("super", false)] {
        let mut ids = local();
        p.add_sasl(name, &mut ids).expect("room");
        assert_eq!((p.is_super(&ids), p.can_admin(&nobody, &ids)), (may, may), "{name}");
    }
}

#[test]
fn ids_of_sasl_in_an_acl_are_names_of_principals() {
    let p = sasl(|_| {});
    let fix = |id| p.fix_up(Some(&[raw(31, Some("sasl"), id)]), &local());
    for good in ["", "bob", "a/b", "a/b/c", "a@R", "a/b@R", "@", "a/@", "/b@R"] {
        assert!(fix(Some(good)).is_ok(), "{good}");
    }
    for bad in ["a@b@c", "a/b/c@R", "a@R/x", "@@"] {
        assert_eq!(fix(Some(bad)), Err(ErrorCode::InvalidAcl), "{bad}");
    }
    assert_eq!(fix(None), Err(ErrorCode::MarshallingError));
    let mut ids = local();
    p.add_sasl("bob", &mut ids).expect("room");
    let fixed = p.fix_up(Some(&[raw(5, Some("auth"), None)]), &ids);
    assert_eq!(fixed, Ok(vec![Acl::new(Perms(5), "sasl", "bob")]));
}

#[test]
fn sasl_can_be_demanded_where_it_has_a_provider() {
    let demanded = Some(vec!["sasl".to_owned()]);
    let p = providers(|s| {
        s.sasl.has_provider = true;
        s.enforced_schemes.clone_from(&demanded);
    });
    assert!(p.requires_sasl() && !p.admits(&local()));
    let mut ids = local();
    p.add_sasl("bob", &mut ids).expect("room");
    assert!(p.admits(&ids));
    assert!(!providers(|s| s.enforced_schemes = Some(vec!["ip".to_owned()])).requires_sasl());
}

#[test]
fn a_certificate_proves_its_subject_where_the_scheme_exists() {
    let settings = AuthSettings {
        x509: true,
        x509_super_user: Some("CN=root".to_owned()),
        ..AuthSettings::default()
    };
    let providers = Providers::new(&settings).expect("settings");
    let acl = [Acl::new(Perms::READ, "x509", "CN=a,O=b")];
    let mut ids = Identities::of_peer("127.0.0.1".parse().expect("address"));
    assert!(providers.authenticate("x509", b"", &mut ids).is_err());
    providers.certify("CN=a,O=b", &mut ids).expect("the scheme is there");
    assert!(providers.authenticate("x509", b"CN=other", &mut ids).is_ok());
    assert!(providers.permits(&acl, Perms::READ, &ids) && !ids.is_super());
    assert!(!providers.permits(&[Acl::new(Perms::READ, "x509", "CN=c")], Perms::READ, &ids));
    assert!(providers.user_names(&ids).contains(&("x509".to_owned(), "CN=a,O=b".to_owned())));
    let mut root = Identities::none();
    providers.certify("CN=root", &mut root).expect("the scheme is there");
    assert!(root.is_super() && providers.permits(&acl, Perms::READ, &root));

    let without = Providers::new(&AuthSettings::default()).expect("settings");
    assert!(without.certify("CN=a", &mut Identities::none()).is_err());
    assert!(!without.permits(&acl, Perms::READ, &ids));
}
