//! Clients whose tickets a Kerberos thread looks at: what waits for it, what does not, and what is
//! never handed to it.

use std::net::{IpAddr, Ipv4Addr};

use zkd::auth::{
    GssapiAnswer, KerberosAsk, KerberosSaid, KerberosServer, PrincipalRules, PrincipalSettings,
};
use zkd::base::{ConnId, limits};
use zkd::client::Call;
use zkd::config::Config;

use crate::hand::Hand;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OLD: &str = "Ticket expired";

fn serving(change: impl FnOnce(&mut Config)) -> Hand {
    let mut hand = Hand::new(change);
    let rules = PrincipalRules::new(PrincipalSettings::default()).expect("no rules are sound");
    hand.machine.node_mut().expect("it is up").serve_kerberos(KerberosServer::new(rules));
    hand
}

fn token(hand: &mut Hand, conn: ConnId, xid: i32, token: &[u8]) {
    hand.send(conn, xid, &Call::Sasl { token });
}

fn data(hand: &mut Hand, conn: ConnId, xid: i32) {
    hand.send(conn, xid, &Call::GetData { path: "/", watch: false });
}

fn asked(hand: &mut Hand) -> Vec<KerberosAsk> {
    std::mem::take(&mut hand.machine.asked_of_kerberos)
}

/// The thread answers the oldest token.
fn say(hand: &mut Hand, answer: GssapiAnswer) {
    let asked = hand.machine.asked_of_kerberos.remove(0);
    let KerberosAsk::Token { conn, from, token } = asked else { panic!("{asked:?}") };
    assert_eq!(from, HERE);
    hand.machine.kerberos_said.push(KerberosSaid { conn, from, token_bytes: token.len(), answer });
    hand.machine.turn();
}

fn bob() -> GssapiAnswer {
    GssapiAnswer::Proved { principal: "bob@R".to_owned() }
}

fn failed() -> GssapiAnswer {
    GssapiAnswer::Failed(OLD.to_owned())
}

#[test]
fn what_a_client_says_behind_its_token_waits_for_the_answer_and_others_do_not() {
    let mut hand = serving(|_| ());
    let (bob_conn, other) = (hand.open(18_000), hand.open(18_000));
    let (first, second) = (Call::Sasl { token: b"first" }, Call::Sasl { token: b"second" });
    let read = Call::GetData { path: "/", watch: false };
    for (xid, call) in [(1, &first), (2, &read), (3, &second), (4, &read)] {
        hand.queue(bob_conn, xid, call);
    }
    hand.machine.turn();
    data(&mut hand, other, 1);
    data(&mut hand, bob_conn, 5);
    assert_eq!(hand.answers(other), [(1, 0)]);
    assert_eq!(hand.answers(bob_conn), []);
    assert_eq!(hand.machine.asked_of_kerberos.len(), 1, "one token at a time");
    say(&mut hand, GssapiAnswer::Token(b"go on".to_vec()));
    assert_eq!(hand.answers(bob_conn), [(1, 0), (2, 0)]);
    say(&mut hand, bob());
    hand.settle();
    assert_eq!(hand.answers(bob_conn), [(3, 0), (4, 0), (5, 0)]);
    token(&mut hand, bob_conn, 6, b"third");
    assert_eq!(asked(&mut hand), [], "nobody proves himself twice");
    assert_eq!(hand.answers(bob_conn), [(6, -115)]);
    assert!(!hand.is_open(bob_conn) && hand.is_open(other));
}

#[test]
fn an_answer_to_a_client_that_is_gone_is_dropped() {
    let mut hand = serving(|_| ());
    let conn = hand.open(18_000);
    token(&mut hand, conn, 1, b"first");
    hand.machine.cut(conn);
    hand.machine.turn();
    let later = hand.open(18_000);
    say(&mut hand, bob());
    assert_eq!(asked(&mut hand), [KerberosAsk::Forget { conn }]);
    assert_eq!(hand.answers(later), []);
}

#[test]
fn what_fails_or_has_no_name_here_costs_the_connection() {
    let mut hand = serving(|_| ());
    let nameless = GssapiAnswer::Proved { principal: "a/b/c@R".to_owned() };
    for (answer, said) in
        [(failed(), vec![(1, -115)]), (GssapiAnswer::Broken, vec![]), (nameless, vec![])]
    {
        let conn = hand.open(18_000);
        token(&mut hand, conn, 1, b"first");
        say(&mut hand, answer.clone());
        assert_eq!(hand.answers(conn), said, "{answer:?}");
        assert!(!hand.is_open(conn));
    }
    let mut hand = serving(|config| config.auth.sasl.allow_failed = true);
    let conn = hand.open(18_000);
    token(&mut hand, conn, 1, b"first");
    say(&mut hand, failed());
    token(&mut hand, conn, 2, b"first");
    data(&mut hand, conn, 3);
    assert_eq!(hand.answers(conn), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(asked(&mut hand), []);
}

#[test]
fn tokens_that_are_too_long_or_too_many_are_never_asked_about() {
    let mut hand = serving(|_| ());
    let conn = hand.open(18_000);
    token(&mut hand, conn, 1, &vec![0x60; limits::KERBEROS_TOKEN_BYTES + 1]);
    assert_eq!(asked(&mut hand), []);
    assert_eq!(hand.answers(conn), [(1, -115)]);
    let longest = vec![0x60; limits::KERBEROS_TOKEN_BYTES];
    let cost = longest.len() + limits::KERBEROS_ASK_BYTES;
    let mut conns = Vec::new();
    for _ in 0..limits::KERBEROS_WAITING_BYTES / cost {
        let conn = hand.open(18_000);
        token(&mut hand, conn, 1, &longest);
        assert!(hand.is_open(conn));
        conns.push(conn);
    }
    assert_eq!(hand.machine.asked_of_kerberos.len(), conns.len());
    let late = hand.open(18_000);
    token(&mut hand, late, 1, &longest);
    assert!(!hand.is_open(late), "it comes again");
    say(&mut hand, bob());
    assert_eq!(hand.answers(conns[0]), [(1, 0)]);
    let again = hand.open(18_000);
    token(&mut hand, again, 1, &longest);
    assert!(hand.is_open(again));
}

#[test]
fn a_network_that_fails_too_often_is_not_heard_for_a_while() {
    let mut hand = serving(|_| ());
    for n in 0..limits::KERBEROS_FAILED_TRIES {
        let conn = hand.open(18_000);
        token(&mut hand, conn, 1, b"old");
        // Whoever goes before the answer has failed all the same.
        if n % 2 == 0 {
            hand.machine.cut(conn);
        }
        say(&mut hand, failed());
        asked(&mut hand);
    }
    let conn = hand.open(18_000);
    token(&mut hand, conn, 1, b"good");
    assert_eq!(asked(&mut hand), []);
    assert_eq!(hand.answers(conn), [(1, -115)]);
    hand.machine.wait(1000);
    let conn = hand.open(18_000);
    token(&mut hand, conn, 1, b"good");
    say(&mut hand, bob());
    assert_eq!(hand.answers(conn), [(1, 0)]);
}
