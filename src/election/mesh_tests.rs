//! The rules of the links, one by one.

use std::collections::BTreeMap;

use crate::base::limits::{ELECTION_GREETINGS, ELECTION_STRANGERS};
use crate::base::{ConnId, Instant, ServerId};
use crate::peering::{HostPort, Initial, InitialForm, Notification, PeerState};

use super::fast_tests::{vote, word};
use super::*;

use CloseReason::*;
use MeshOutput::{Close, Dial, DropDial, Greet, Send};

const TICK_MS: u64 = 2000;

fn at(host: &str) -> HostPort {
    HostPort { host: host.to_owned(), port: 3888 }
}

fn conn(n: u32) -> ConnId {
    ConnId { index: n, generation: 0 }
}

fn said(n: i64) -> Notification {
    word(PeerState::Looking, vote(n, n, n, n))
}

/// Server 3 of five voters, 1 to 5 at hosts "m1" to "m5", and of the observers 6 and 0.
struct Bench {
    mesh: Mesh,
    now: Instant,
    out: Vec<MeshOutput>,
}

fn members() -> BTreeMap<ServerId, PeerSpec> {
    let spec = |id: i64, voter| (ServerId(id), PeerSpec { addresses: vec![at(&host(id))], voter });
    let voters = (1..=5).map(|id| spec(id, true));
    voters.chain([spec(6, false), spec(0, false)]).collect()
}

fn host(id: i64) -> String {
    format!("m{id}")
}

impl Bench {
    fn new() -> Bench {
        Bench::of_form(InitialForm::V1)
    }

    fn of_form(form: InitialForm) -> Bench {
        let own = vec![at("own"), at("other")];
        let settings =
            MeshSettings { me: ServerId(3), own, form, tick_ms: TICK_MS, greeting_ms: 10_000 };
        Bench { mesh: Mesh::new(settings), now: Instant(5), out: Vec::new() }
    }

    /// With its members, all of whom it is dialling by that: dials 1 to 4.
    fn with_members() -> Bench {
        let mut bench = Bench::new();
        bench.adopt(members());
        bench
    }

    /// And with everybody having failed to be there.
    fn lonely() -> Bench {
        let mut bench = Bench::with_members();
        for dial in 1..=4 {
            bench.dialled(dial, Err(DialFailure::Unreached));
        }
        bench
    }

    fn taken(&mut self) -> Vec<MeshOutput> {
        self.mesh.check();
        std::mem::take(&mut self.out)
    }

    fn adopt(&mut self, members: BTreeMap<ServerId, PeerSpec>) -> Vec<MeshOutput> {
        self.mesh.adopt(self.now, members, &mut self.out);
        self.taken()
    }

    fn dialled(&mut self, dial: u64, how: Result<ConnId, DialFailure>) -> Vec<MeshOutput> {
        self.mesh.handle_dialled(self.now, dial, how, &mut self.out);
        self.taken()
    }

    fn accept(&mut self, link: u32) -> Vec<MeshOutput> {
        self.mesh.accepted(self.now, conn(link), &mut self.out);
        self.taken()
    }

    /// A link is accepted and says who it is.
    fn greeted(&mut self, link: u32, server: i64, addresses: &[&str]) -> Vec<MeshOutput> {
        self.accept(link);
        let addresses = addresses.iter().map(|host| at(host)).collect();
        let initial = Initial { server: ServerId(server), addresses };
        self.mesh.handle_initial(self.now, conn(link), &initial, &mut self.out);
        self.taken()
    }

    fn closed(&mut self, link: u32) -> Vec<MeshOutput> {
        self.mesh.handle_closed(self.now, conn(link), &mut self.out);
        self.taken()
    }

    fn tell(&mut self, to: i64, what: Notification) -> Vec<MeshOutput> {
        self.mesh.tell(self.now, ServerId(to), what, &mut self.out);
        self.taken()
    }

    fn backlog(&mut self, link: u32, waits: bool) -> Vec<MeshOutput> {
        self.mesh.handle_backlog(conn(link), waits, &mut self.out);
        self.taken()
    }

    fn wait(&mut self, ms: u64) -> Vec<MeshOutput> {
        let until = self.now.plus_ms(ms);
        while let Some(due) = self.mesh.next_timeout().filter(|due| *due <= until) {
            self.now = due;
            self.mesh.handle_timeout(due, &mut self.out);
        }
        self.now = until;
        self.taken()
    }
}

fn closes(link: u32, reason: CloseReason) -> MeshOutput {
    Close { link: conn(link), reason, after_flush: false }
}

/// Who is dialled, by which number, and where.
fn dials(out: &[MeshOutput]) -> Vec<(i64, u64, Vec<String>)> {
    out.iter()
        .filter_map(|output| match output {
            Dial { dial, server, addresses } => {
                Some((server.0, *dial, addresses.iter().map(|at| at.host.clone()).collect()))
            }
            _ => None,
        })
        .collect()
}

fn dialled_servers(out: &[MeshOutput]) -> Vec<i64> {
    dials(out).into_iter().map(|(server, ..)| server).collect()
}

#[test]
fn every_voter_is_dialled_at_its_own_address_and_observers_are_not() {
    let mut bench = Bench::new();
    let out = bench.adopt(members());
    let expected = [1, 2, 4, 5].into_iter().zip(1..);
    let expected: Vec<_> = expected.map(|(id, dial)| (id, dial, vec![host(id)])).collect();
    assert_eq!(dials(&out), expected);
}

#[test]
fn the_greater_keeps_what_it_has_dialled_and_says_who_it_is_first() {
    for (form, in_form) in [(InitialForm::V1, "V1"), (InitialForm::V2, "V2")] {
        let mut bench = Bench::of_form(form);
        bench.adopt(members());
        bench.tell(1, said(7));
        let out = bench.dialled(1, Ok(conn(9)));
        let initial = Initial { server: ServerId(3), addresses: vec![at("own"), at("other")] };
        assert_eq!(out[0], Greet { link: conn(9), initial, form }, "{in_form}");
        assert_eq!(out.last(), Some(&Send { link: conn(9), notification: said(7) }));
        assert_eq!(bench.mesh.heard(bench.now, conn(9)), Some(ServerId(1)));
        assert_eq!(bench.mesh.reach(ServerId(1)), Reach::Linked);
    }
}

#[test]
fn the_smaller_says_that_it_is_there_and_is_left() {
    let mut bench = Bench::with_members();
    let out = bench.dialled(3, Ok(conn(9)));
    assert!(matches!(out[0], Greet { .. }));
    let reason = ToBeDialledBack;
    assert_eq!(out[1..], [Close { link: conn(9), reason, after_flush: true }]);
    assert_eq!(bench.mesh.reach(ServerId(4)), Reach::Unknown);
    assert_eq!(bench.mesh.heard(bench.now, conn(9)), None);
}

#[test]
fn what_a_greater_one_has_dialled_stays() {
    let mut bench = Bench::with_members();
    bench.tell(5, said(7));
    let out = bench.greeted(9, 5, &["m5"]);
    let reach = MeshOutput::Reach { server: ServerId(5), reach: Reach::Linked };
    let sent = Send { link: conn(9), notification: said(7) };
    assert_eq!(out, [DropDial { dial: 4 }, reach, sent]);
    let out = bench.dialled(4, Ok(conn(10)));
    assert_eq!(out, [closes(10, Unwanted)], "the dial had succeeded in the meantime");
}

#[test]
fn who_is_smaller_is_dialled_back_where_it_says_and_else_where_it_is_configured() {
    let mut bench = Bench::lonely();
    let out = bench.greeted(9, 2, &["moved", "twice"]);
    assert_eq!(out[0], closes(9, DialledBySmaller));
    let places = vec!["moved".to_owned(), "twice".to_owned(), "m2".to_owned()];
    assert_eq!(dials(&out), [(2, 5, places)]);
    bench.dialled(5, Err(DialFailure::Unreached));
    assert!(dials(&bench.wait(40)).contains(&(2, 7, vec![host(2)])), "it was told once");
    let out = bench.greeted(10, 1, &[]);
    assert!(dials(&out).is_empty() && out == [closes(10, DialledBySmaller)], "it is being dialled");
}

#[test]
fn a_dial_to_another_place_than_it_says_is_given_up() {
    let mut bench = Bench::with_members();
    assert_eq!(bench.greeted(9, 2, &["m2"]), [closes(9, DialledBySmaller)]);
    let out = bench.greeted(10, 2, &["moved"]);
    assert_eq!(out[1], DropDial { dial: 2 });
    assert_eq!(dials(&out), [(2, 5, vec!["moved".to_owned(), host(2)])]);
}

#[test]
fn who_dials_though_it_is_smaller_has_lost_the_link_it_had() {
    let mut bench = Bench::with_members();
    bench.dialled(2, Ok(conn(9)));
    let out = bench.greeted(10, 2, &["m2"]);
    assert_eq!(out[..2], [closes(10, DialledBySmaller), closes(9, Replaced)]);
    assert_eq!(dialled_servers(&out), [2]);
}

#[test]
fn a_newer_link_takes_the_place_of_the_older() {
    let mut bench = Bench::with_members();
    bench.greeted(9, 5, &["m5"]);
    assert_eq!(bench.greeted(10, 5, &["m5"])[0], closes(9, Replaced));
    assert_eq!(bench.mesh.heard(bench.now, conn(9)), None);
    assert_eq!(bench.mesh.heard(bench.now, conn(10)), Some(ServerId(5)));
    assert!(bench.closed(9).is_empty(), "what comes of the older is nobody's");
}

#[test]
fn a_server_of_the_same_id_is_shown_the_door() {
    let mut bench = Bench::with_members();
    assert_eq!(bench.greeted(9, 3, &["m3"]), [closes(9, OwnId)]);
}

#[test]
fn the_nameless_are_smaller_than_any_and_none_is_another() {
    let mut bench = Bench::with_members();
    for (link, id) in [(9, i64::MAX), (10, -5), (11, i64::MIN)] {
        assert_eq!(bench.greeted(link, id, &[]), [closes(link, DialledBySmaller)]);
    }
    let first = bench.greeted(12, i64::MAX, &["o"]);
    let second = bench.greeted(13, i64::MAX, &["o"]);
    assert_eq!(dialled_servers(&first), [-4]);
    assert_eq!(dialled_servers(&second), [-5]);
}

#[test]
fn a_greater_stranger_keeps_its_link_and_a_smaller_one_is_dialled_once() {
    let mut bench = Bench::with_members();
    let out = bench.greeted(9, 77, &["new"]);
    assert_eq!(out, [MeshOutput::Reach { server: ServerId(77), reach: Reach::Linked }]);
    assert_eq!(bench.tell(77, said(1)), [Send { link: conn(9), notification: said(1) }]);
    bench.closed(9);
    assert!(bench.tell(77, said(1)).is_empty(), "nobody knows where it is");
    let mut few = members();
    few.remove(&ServerId(2));
    bench.adopt(few);
    let out = bench.greeted(10, 2, &["new"]);
    assert_eq!(dials(&out), [(2, 5, vec!["new".to_owned()])]);
    bench.dialled(5, Err(DialFailure::Refused));
    assert!(!dialled_servers(&bench.wait(5000)).contains(&2));
}

#[test]
fn of_too_many_strangers_the_longest_silent_goes_and_no_member_does() {
    let mut bench = Bench::with_members();
    bench.greeted(1, 5, &["m5"]);
    let most = ELECTION_STRANGERS as u32;
    for n in 0..most {
        bench.wait(1);
        bench.greeted(100 + n, 1000 + i64::from(n), &["x"]);
    }
    bench.wait(1);
    assert_eq!(bench.mesh.heard(bench.now, conn(100)), Some(ServerId(1000)));
    // Nameless ones count like the others, and are not taken for the oldest.
    for n in 0..2 {
        let out = bench.greeted(500 + n, i64::MAX, &["x"]);
        assert!(out.contains(&closes(101 + n, Crowded)));
        assert_eq!(dialled_servers(&out).len(), 1);
    }
    assert_eq!(bench.mesh.heard(bench.now, conn(100)), Some(ServerId(1000)));
    assert_eq!(bench.mesh.reach(ServerId(5)), Reach::Linked);
}

#[test]
fn who_says_nothing_is_closed_in_time_and_makes_room_for_others() {
    let mut bench = Bench::lonely();
    for n in 0..ELECTION_GREETINGS as u32 {
        bench.wait(1);
        assert!(bench.accept(n).is_empty());
    }
    assert_eq!(bench.accept(900), [closes(0, Crowded)]);
    let out = bench.wait(10_000);
    let silent = out.iter().filter(|output| matches!(output, Close { reason: Silent, .. }));
    assert_eq!(silent.count(), ELECTION_GREETINGS);
    assert!(bench.greeted(1, 5, &[]).len() > 1, "its slot is free");
}

#[test]
fn who_cannot_be_reached_is_dialled_again_after_pauses_that_double_to_a_tick() {
    let mut bench = Bench::lonely();
    let mut dial = 5;
    for pause in [20, 40, 80, 160, 320, 640, 1280, 2000, 2000, 2000] {
        assert!(bench.wait(pause - 1).is_empty(), "after {pause} ms");
        assert_eq!(dialled_servers(&bench.wait(1)), [1, 2, 4, 5]);
        for _ in 0..4 {
            bench.dialled(dial, Err(DialFailure::Unreached));
            dial += 1;
        }
    }
    // What there is to say does not wait for so long.
    bench.wait(20);
    assert_eq!(dialled_servers(&bench.tell(4, said(1))), [4]);
    bench.dialled(dial, Err(DialFailure::Unreached));
    assert!(bench.tell(4, said(2)).is_empty(), "but nobody is dialled without a pause");
    assert_eq!(dialled_servers(&bench.wait(20)), [4]);
}

#[test]
fn a_greater_one_has_time_to_dial_back() {
    let mut bench = Bench::lonely();
    bench.wait(20);
    bench.dialled(8, Ok(conn(9)));
    assert!(bench.tell(5, said(1)).is_empty());
    assert!(!dialled_servers(&bench.wait(199)).contains(&5));
    assert!(dialled_servers(&bench.wait(1)).contains(&5));
}

#[test]
fn a_lost_link_is_made_again_at_once_by_the_greater() {
    let mut bench = Bench::with_members();
    bench.dialled(2, Ok(conn(9)));
    bench.wait(1000);
    assert_eq!(dialled_servers(&bench.closed(9)), [2]);
}

#[test]
fn of_a_lost_greater_one_only_its_life_is_asked() {
    let mut bench = Bench::with_members();
    bench.greeted(9, 5, &["m5"]);
    bench.wait(1000);
    let out = bench.closed(9);
    let (server, dial, _) = dials(&out)[0];
    assert_eq!(server, 5);
    // It lives, so it is dialling: a word would make it give that up. Or it is about to die.
    assert_eq!(bench.dialled(dial, Ok(conn(10))), [closes(10, Knocked)]);
    for link in [11, 12] {
        let (_, dial, _) = dials(&bench.wait(20))[0].clone();
        assert_eq!(bench.dialled(dial, Ok(conn(link))), [closes(link, Knocked)]);
    }
    assert!(dials(&bench.wait(199)).is_empty());
    let out = bench.wait(1);
    let (server, dial, _) = dials(&out).pop().expect("it has not dialled");
    assert_eq!(server, 5);
    assert!(matches!(bench.dialled(dial, Ok(conn(13)))[0], Greet { .. }));
}

#[test]
fn nobody_listening_is_told_until_the_next_dial() {
    let mut bench = Bench::with_members();
    bench.greeted(9, 5, &["m5"]);
    bench.wait(1000);
    let (_, dial, _) = dials(&bench.closed(9))[0].clone();
    assert_eq!(bench.mesh.reach(ServerId(5)), Reach::Unknown);
    let out = bench.dialled(dial, Err(DialFailure::Refused));
    assert_eq!(out, [MeshOutput::Reach { server: ServerId(5), reach: Reach::Refused }]);
    let out = bench.wait(20);
    assert_eq!(out[0], MeshOutput::Reach { server: ServerId(5), reach: Reach::Unknown });
    let (_, dial, _) = dials(&out)[0];
    assert!(bench.dialled(dial, Err(DialFailure::Unreached)).is_empty());
    assert_eq!(bench.mesh.reach(ServerId(5)), Reach::Unknown);
}

#[test]
fn a_link_that_does_not_last_is_not_made_again_at_once() {
    let mut bench = Bench::with_members();
    bench.dialled(2, Ok(conn(9)));
    bench.wait(5);
    assert!(dials(&bench.closed(9)).is_empty());
    assert!(dialled_servers(&bench.wait(20)).contains(&2));
    bench.greeted(10, 5, &["m5"]);
    bench.wait(5);
    assert!(dials(&bench.closed(10)).is_empty());
    assert!(!dialled_servers(&bench.wait(199)).contains(&5));
    assert!(dialled_servers(&bench.wait(1)).contains(&5));
}

#[test]
fn only_the_newest_word_waits_for_a_link_that_takes_nothing() {
    let mut bench = Bench::with_members();
    bench.greeted(9, 5, &["m5"]);
    assert_eq!(bench.tell(5, said(1)), [Send { link: conn(9), notification: said(1) }]);
    assert!(bench.backlog(9, true).is_empty());
    for n in 2..5 {
        assert!(bench.tell(5, said(n)).is_empty());
    }
    assert_eq!(bench.backlog(9, false), [Send { link: conn(9), notification: said(4) }]);
    assert!(bench.backlog(9, false).is_empty());
}

#[test]
fn a_voters_link_begins_with_the_newest_word_and_never_with_an_old_one() {
    let mut bench = Bench::with_members();
    for server in [1, 2, 4, 5, 6] {
        bench.tell(server, said(1));
    }
    bench.mesh.restate(Some(said(2)));
    let first = |out: &[MeshOutput]| match out.last() {
        Some(Send { notification, .. }) => Some(notification.vote.leader.0),
        _ => None,
    };
    assert_eq!(first(&bench.greeted(9, 5, &["m5"])), Some(2));
    assert_eq!(first(&bench.greeted(10, 5, &["m5"])), Some(2), "the last one may be lost");
    assert_eq!(first(&bench.greeted(11, 6, &["m6"])), Some(1), "an answer stays what it is");
    assert_eq!(first(&bench.greeted(12, 6, &["m6"])), None);
    bench.mesh.restate(None);
    assert_eq!(first(&bench.greeted(13, 4, &["m4"])), None, "there is nothing to say");
}

#[test]
fn addresses_may_change_while_the_link_stays() {
    let mut bench = Bench::with_members();
    bench.dialled(1, Ok(conn(9)));
    bench.dialled(2, Err(DialFailure::Unreached));
    let mut moved = members();
    for spec in moved.values_mut() {
        spec.addresses = vec![at("new")];
    }
    let out = bench.adopt(moved.clone());
    let new = || vec!["new".to_owned()];
    assert_eq!(dials(&out), [(2, 5, new()), (4, 6, new()), (5, 7, new())]);
    assert!(out.contains(&DropDial { dial: 3 }) && out.contains(&DropDial { dial: 4 }));
    assert_eq!(bench.mesh.heard(bench.now, conn(9)), Some(ServerId(1)));
    assert!(bench.adopt(moved).is_empty(), "what is no news changes nothing");
}

#[test]
fn an_observer_is_dialled_for_an_answer_and_not_sought() {
    for (observer, dial) in [(0, 5), (6, 5)] {
        let mut bench = Bench::with_members();
        assert_eq!(dialled_servers(&bench.tell(observer, said(1))), [observer]);
        bench.dialled(dial, Err(DialFailure::Unreached));
        assert!(!dialled_servers(&bench.wait(5000)).contains(&observer));
    }
    let mut bench = Bench::with_members();
    assert_eq!(dials(&bench.greeted(9, 0, &[])), [(0, 5, vec![host(0)])], "it wants a link");
}

#[test]
fn who_is_no_member_any_more_may_speak_as_long_as_it_has_a_link() {
    let mut bench = Bench::with_members();
    bench.dialled(1, Ok(conn(9)));
    let few = members().into_iter().filter(|(server, _)| server.0 > 2).collect();
    assert_eq!(bench.adopt(few), [DropDial { dial: 2 }]);
    assert_eq!(bench.tell(1, said(1)), [Send { link: conn(9), notification: said(1) }]);
    assert!(dials(&bench.closed(9)).is_empty());
    assert!(bench.tell(1, said(1)).is_empty());
    assert_eq!(bench.adopt(members()).len(), 2, "both are dialled when they are back");
}
