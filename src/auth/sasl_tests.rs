//! What Apache said to the same tokens, and what must hold for any.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use crate::base::{Instant, limits};

use super::digest_md5::{Fault, Response, secret};
use super::{DigestMd5Client, Password, SaslAnswer, SaslExchange, SaslFailure, SaslServer};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NOW: Instant = Instant(5_000_000_000);
const NONCE: &str = "+keCzSXrF240oG3Dz3cr3VpyA2VCgjDMvFOXCymx";

fn server() -> SaslServer {
    let users = [("bob", "bobsecret"), ("müller", "pässwörd"), ("a@b@c", "x")];
    let user = |(name, password): (&str, &str)| (name.to_owned(), Password(password.to_owned()));
    SaslServer::new(&users.map(user).into(), [7; 32])
}

/// One whole try.
fn attempt(server: &mut SaslServer, user: &str, password: &str, now: Instant) -> SaslAnswer {
    let mut exchange = SaslExchange::default();
    let SaslAnswer::Challenge(challenge) = server.answer(&mut exchange, b"", HERE, now) else {
        panic!("a challenge comes first");
    };
    let client = DigestMd5Client::answer(&challenge, user, password, b"abcdef").expect("answered");
    let answer = server.answer(&mut exchange, client.token(), HERE, now);
    if let SaslAnswer::Proved { token, .. } = &answer {
        assert!(client.is_answered_by(token));
    }
    assert_eq!(exchange, SaslExchange::Ended);
    let again = server.answer(&mut exchange, b"", HERE, now);
    assert_eq!(again, SaslAnswer::Failed(SaslFailure::BadToken), "nobody proves himself twice");
    answer
}

/// A response to `NONCE` with what stands in `changed` instead.
fn token(changed: &[(&str, &str)], more: &str) -> Vec<u8> {
    let mut parts = BTreeMap::from([
        ("charset", "utf-8"),
        ("username", "\"bob\""),
        ("realm", "\"zk-sasl-md5\""),
        ("nonce", "\"+keCzSXrF240oG3Dz3cr3VpyA2VCgjDMvFOXCymx\""),
        ("nc", "00000001"),
        ("cnonce", "\"abcdef\""),
        ("digest-uri", "\"zookeeper/zk-sasl-md5\""),
        ("response", "f8b4234b2e8d0771c91be263546bf426"),
        ("qop", "auth"),
    ]);
    for (name, value) in changed {
        match value.is_empty() {
            true => parts.remove(name),
            false => parts.insert(name, value),
        };
    }
    let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}{more}", parts.join(",")).into_bytes()
}

/// Whether Apache would let in who sends this.
fn judge(token: &[u8]) -> Result<bool, Fault> {
    let response = Response::read(token, NONCE)?;
    Ok(response.user == "bob" && response.is_proved_by(&secret("bob", "bobsecret")))
}

#[test]
fn what_apache_took_is_proved_and_answered_with_its_very_bytes() {
    let seen = [
        (
            NONCE,
            "bob",
            "bobsecret",
            "",
            "f8b4234b2e8d0771c91be263546bf426",
            "rspauth=032e14c4c6233e6e50bced0d8b42c378",
        ),
        (
            "+YTHbYMCpr0I7N6wrni9tFjHGUAPIvOGTWpK4YbQ",
            "müller",
            "pässwörd",
            ",authzid=\"other\"",
            "6bbe1adb6db78da725e303e44af06587",
            "rspauth=a1b9b19b38373a214300123bb1f6449f",
        ),
        (
            "uoRURxITZJ6g9xcUCuxMZkW07pr2Y8iu1sRFbA7m",
            "kanji",
            "漢",
            "",
            "6b93ec9f1dcb67fc5971c3c149d39aa6",
            "rspauth=403cfdcde0214bcb060be295807a99be",
        ),
    ];
    for (nonce, user, password, more, proof, answer) in seen {
        let quoted = [format!("\"{user}\""), format!("\"{nonce}\"")];
        let changed = [("username", &*quoted[0]), ("nonce", &*quoted[1]), ("response", proof)];
        let response = Response::read(&token(&changed, more), nonce).expect("a response");
        assert_eq!(response.user, user);
        let secret = secret(user, password);
        assert!(response.is_proved_by(&secret), "{user}");
        assert_eq!(response.counter_proof(&secret), answer.as_bytes());
    }
}

#[test]
fn what_apache_passes_over_does_no_harm() {
    let good: [(&[(&str, &str)], &str); 19] = [
        (&[], ""),
        (&[("nc", "00000002")], ""),
        (&[("nc", "zz")], ""),
        (&[("nc", "")], ""),
        (&[("charset", "")], ""),
        (&[("qop", "")], ""),
        (&[("qop", "\"auth\"")], ""),
        (&[("username", "\"b\\ob\"")], ""),
        (&[("username", "")], ",USERNAME=bob"),
        (&[], ",nonce-count=1"),
        (&[], ",maxbuf=-1"),
        (&[], ",cipher=rc4"),
        (&[], ",foo=bar,foo=baz"),
        (&[], ", ,,"),
        (&[], ",foo"),
        (&[], ",foo =  bar"),
        (&[], ",foo=,bar=x"),
        (&[], " foo=bar\tx=y\r\nz=a"),
        (&[], ",foo=\"a,b=\\\"c\" "),
    ];
    for (changed, more) in good {
        assert_eq!(judge(&token(changed, more)), Ok(true), "{changed:?} {more}");
    }
    assert_eq!(judge(&token(&[], ",authzid=\"\"")), Ok(false), "it counts in the proof");
}

#[test]
fn what_apache_refuses_is_refused_and_what_it_stumbles_over_is_broken() {
    let refused: [(&[(&str, &str)], &str); 25] = [
        (&[("username", "")], ""),
        (&[("realm", "")], ""),
        (&[("realm", "ZK-SASL-MD5")], ""),
        (&[], ",realm=\"zk-sasl-md5\""),
        (&[("nonce", "")], ""),
        (&[("nonce", "\"abc\"")], ""),
        (&[("cnonce", "")], ""),
        (&[], ",cnonce=q"),
        (&[("qop", "AUTH")], ""),
        (&[("qop", "auth-int")], ""),
        (&[("qop", "auth-conf")], ""),
        (&[("digest-uri", "")], ""),
        (&[("digest-uri", "\"zookeeper/localhost\"")], ""),
        (&[("response", "")], ""),
        (&[("charset", "UTF-8")], ""),
        (&[], ",nonce-count=2"),
        (&[], ",auth-param=a,auth-param=b"),
        (&[], ",foo="),
        (&[], ",=x"),
        (&[], ",foo=\"a\"b"),
        (&[], ",foo=\"a"),
        (&[], ",foo=\"a\\"),
        (&[], ",foo x= bar"),
        (&[], ",foo,bar=x"),
        (&[], ",foo "),
    ];
    for (changed, more) in refused {
        assert_eq!(judge(&token(changed, more)), Err(Fault::Refused), "{changed:?} {more}");
    }
    for more in [",maxbuf=x", ",nonce-count=zz", ",nonce-count=\"\""] {
        assert_eq!(judge(&token(&[], more)), Err(Fault::Broken), "{more}");
    }
    let long = token(&[], &format!(",x={}", "y".repeat(4096)));
    assert_eq!(judge(&long), Err(Fault::Refused));
    assert_eq!(judge(b""), Err(Fault::Refused));
}

#[test]
fn users_prove_themselves_with_their_own_passwords_only() {
    let mut server = server();
    let proved = attempt(&mut server, "bob", "bobsecret", NOW);
    assert!(matches!(&proved, SaslAnswer::Proved { user, .. } if user == "bob"), "{proved:?}");
    let proved = attempt(&mut server, "müller", "pässwörd", NOW);
    assert!(matches!(&proved, SaslAnswer::Proved { user, .. } if user == "müller"), "{proved:?}");
    let cases = [
        ("bob", "pässwörd", SaslAnswer::Failed(SaslFailure::WrongPassword)),
        ("bob", "", SaslAnswer::Failed(SaslFailure::WrongPassword)),
        ("eve", "bobsecret", SaslAnswer::Failed(SaslFailure::UnknownUser)),
        ("", "", SaslAnswer::Failed(SaslFailure::UnknownUser)),
        ("a@b@c", "x", SaslAnswer::Broken),
    ];
    for (user, password, answer) in cases {
        assert_eq!(attempt(&mut server, user, password, NOW), answer, "{user}");
    }
}

#[test]
fn no_challenge_comes_twice_and_no_answer_serves_another() {
    let mut server = server();
    let mut nonces = std::collections::BTreeSet::new();
    let mut challenge = |exchange: &mut SaslExchange| {
        let SaslAnswer::Challenge(challenge) = server.answer(exchange, b"early", HERE, NOW) else {
            panic!("what comes first is passed over");
        };
        assert!(nonces.insert(challenge.clone()));
        challenge
    };
    let (mut one, mut other) = (SaslExchange::default(), SaslExchange::default());
    let challenged = challenge(&mut one);
    challenge(&mut other);
    let length = r#"realm="zk-sasl-md5",nonce="",charset=utf-8,algorithm=md5-sess"#.len() + 40;
    assert_eq!(challenged.len(), length);
    let client = DigestMd5Client::answer(&challenged, "bob", "bobsecret", b"c").expect("answered");
    let replayed = server.answer(&mut other, client.token(), HERE, NOW);
    assert_eq!(replayed, SaslAnswer::Failed(SaslFailure::BadToken));
}

#[test]
fn wrong_passwords_run_out_and_the_right_one_with_them() {
    let mut server = server();
    for _ in 0..limits::SASL_FAILED_TRIES {
        let failed = attempt(&mut server, "bob", "guess", NOW);
        assert_eq!(failed, SaslAnswer::Failed(SaslFailure::WrongPassword));
    }
    let late = attempt(&mut server, "bob", "bobsecret", NOW);
    assert_eq!(late, SaslAnswer::Failed(SaslFailure::TooManyTries));
    let other = attempt(&mut server, "müller", "pässwörd", NOW);
    assert!(matches!(other, SaslAnswer::Proved { .. }));
    let later = attempt(&mut server, "bob", "bobsecret", NOW.plus_ms(1000));
    assert!(matches!(later, SaslAnswer::Proved { .. }), "{later:?}");
}

proptest! {
    #[test]
    fn no_token_breaks_the_server(tokens in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
        let (mut server, mut exchange) = (server(), SaslExchange::default());
        for token in &tokens {
            let answer = server.answer(&mut exchange, token, HERE, NOW);
            let is_proved = matches!(answer, SaslAnswer::Proved { .. });
            prop_assert!(!is_proved);
        }
    }

    #[test]
    fn a_client_s_answer_is_taken_whatever_its_user_and_password(
        user in "[^@]{0,12}",
        password in any::<String>(),
    ) {
        let users = BTreeMap::from([(user.clone(), Password(password.clone()))]);
        let mut server = SaslServer::new(&users, [9; 32]);
        let answer = attempt(&mut server, &user, &password, NOW);
        let is_proved = matches!(&answer, SaslAnswer::Proved { user: who, .. } if *who == user);
        prop_assert!(is_proved, "{answer:?}");
    }

    #[test]
    fn a_response_with_one_byte_changed_proves_nothing_else(at in 0usize..200, to in any::<u8>()) {
        let mut token = token(&[], "");
        let at = at % token.len();
        token[at] = to;
        if let Ok(response) = Response::read(&token, NONCE) {
            let is_proved = response.is_proved_by(&secret("bob", "bobsecret"));
            prop_assert!(!is_proved || response.user == "bob");
        }
    }
}
