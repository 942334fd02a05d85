use proptest::prelude::*;

use super::super::feed::{Outgoing, Wish};
use super::super::spoken::{spoken, z};
use super::super::sync::LogSync;
use super::super::{Place, Source};
use super::*;
use crate::base::{SessionId, Ticket};
use crate::members::MemberSpec;
use crate::peering::{
    AckEpoch, Activation, AuthIds, Forwarded, LearnerInfo, Revalidate, Revalidated, Touch,
    write_touches,
};

const ME: ServerId = ServerId(1);
const TICK_MS: u64 = 2000;

/// An observer master of epoch 7 in the tests' hands. Links are named by their server.
struct Bench {
    master: ObserverMaster,
    now: Instant,
    ring: Ring,
    committed: Zxid,
    said: BTreeMap<i64, Vec<String>>,
    sent: BTreeMap<i64, Vec<Outgoing>>,
    closed: Vec<(i64, Parting)>,
    wanted: Vec<(i64, Wish)>,
    asked: Vec<(i64, Zxid)>,
    came: BTreeMap<i64, u32>,
    open: BTreeMap<ConnId, i64>,
}

fn settings() -> LeaderSettings {
    LeaderSettings {
        tick_ms: TICK_MS,
        init_limit_ticks: 10,
        sync_limit_ticks: 5,
        max_snap_syncs: 1,
        max_diff_syncs: 100,
        force_snap: false,
        log_sync: LogSync::UpTo { snapshot_factor: 0.33 },
        max_wait_for_epoch_ms: None,
    }
}

fn ensemble(version: i64) -> Ensemble {
    let member = |id: i64| {
        let text = format!("127.0.0.1:{}:{}:participant", 2880 + id, 3880 + id);
        (ServerId(id), MemberSpec::read(ServerId(id), &text, false).expect("it is sound"))
    };
    let current = Membership::new(version, [1, 2, 3].map(member).into());
    Ensemble { last_seen: current.clone(), current, reconfig_enabled: true }
}

impl Bench {
    /// Its history ends with 6.3, all of which is committed.
    fn new() -> Bench {
        let now = Instant::default().plus_ms(1000);
        let mut ring = Ring::new(z(6, 0));
        for counter in 1..=3 {
            ring.push(z(6, counter), b"recovered");
        }
        Bench {
            master: ObserverMaster::new(ME, settings(), &ensemble(0), 7, now),
            now,
            ring,
            committed: z(6, 3),
            said: BTreeMap::new(),
            sent: BTreeMap::new(),
            closed: Vec::new(),
            wanted: Vec::new(),
            asked: Vec::new(),
            came: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    fn turn<T>(
        &mut self,
        act: impl FnOnce(&mut ObserverMaster, &mut Turn<'_>, &Stock<'_>) -> T,
    ) -> T {
        let stock = Stock { ring: &self.ring, committed: self.committed };
        let (mut out, mut last_ticket) = (Vec::new(), Ticket(0));
        let mut turn = Turn { now: self.now, last_ticket: &mut last_ticket, out: &mut out };
        let value = act(&mut self.master, &mut turn, &stock);
        self.master.check(&stock);
        self.master.flush(&mut turn, &stock);
        self.master.check(&stock);
        self.collect(out);
        value
    }

    fn collect(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { link, outgoing } => {
                    let server = *self.open.get(&link).expect("only open links are sent to");
                    self.said.entry(server).or_default().push(spoken(&outgoing));
                    self.sent.entry(server).or_default().push(outgoing);
                }
                Output::Close { link, why } => {
                    let server = self.open.remove(&link).expect("a link is closed once");
                    self.closed.push((server, why));
                }
                Output::AskLog { link, zxid } => self.asked.push((self.open[&link], zxid)),
                Output::Wanted { link, wish } => self.wanted.push((self.open[&link], wish)),
                other => panic!("an observer master leads nobody: {other:?}"),
            }
        }
    }

    fn input(&mut self, input: Input<'_>) -> Option<String> {
        self.turn(|master, turn, stock| {
            master.handle(turn, input, stock).map(|passed| format!("{passed:?}"))
        })
    }

    fn link(&self, server: i64) -> ConnId {
        let generation = self.came.get(&server).copied().unwrap_or_default();
        ConnId { index: server as u32, generation }
    }

    fn is_open(&self, server: i64) -> bool {
        self.open.contains_key(&self.link(server))
    }

    fn connect(&mut self, server: i64, room: usize) {
        *self.came.entry(server).or_default() += 1;
        let link = self.link(server);
        self.open.insert(link, server);
        self.input(Input::Connected { link, room });
    }

    fn packet(&mut self, server: i64, packet: Packet<'_>) -> Option<String> {
        let link = self.link(server);
        self.input(Input::Packet { link, packet })
    }

    fn info(&mut self, server: i64, kind: PacketKind, accepted: u32) {
        let mut data = Vec::new();
        let (protocol, config_version) = (LEARNER_PROTOCOL, Some(0));
        LearnerInfo { server: ServerId(server), protocol, config_version }.write(&mut data);
        self.packet(server, Packet::new(kind, z(accepted, 0), Some(&data)));
    }

    fn ack_epoch(&mut self, server: i64, current_epoch: Option<i64>, zxid: Zxid) {
        let mut data = Vec::new();
        AckEpoch { current_epoch }.write(&mut data);
        self.packet(server, Packet::new(PacketKind::AckEpoch, zxid, Some(&data)));
    }

    fn ack(&mut self, server: i64, zxid: Zxid) {
        self.packet(server, Packet::new(PacketKind::Ack, zxid, None));
    }

    /// From its first word to the decision how it is brought up.
    fn come(&mut self, server: i64, zxid: Zxid) {
        self.connect(server, usize::MAX);
        self.info(server, PacketKind::ObserverInfo, 6);
        self.ack_epoch(server, Some(6), zxid);
    }

    /// One that has all there is, and serves clients.
    fn observed(server: i64) -> Bench {
        let mut bench = Bench::new();
        bench.come(server, z(6, 3));
        bench.ack(server, z(7, 0));
        bench.ack(server, z(7, 0));
        assert!(bench.is_open(server));
        bench.said.clear();
        bench.sent.clear();
        bench
    }

    /// The leader proposes, and the log has it.
    fn log(&mut self, counter: u32) {
        self.ring.push(z(7, counter), b"txn");
    }

    fn commit(&mut self, counter: u32) {
        self.committed = z(7, counter);
        self.turn(|_, _, _| {});
    }

    fn pass_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.master.next_timeout() <= until {
            self.now = self.master.next_timeout();
            self.input(Input::Time);
        }
        self.now = until;
    }

    fn said_to(&mut self, server: i64) -> Vec<String> {
        self.said.remove(&server).unwrap_or_default()
    }
}

#[test]
fn an_observer_is_brought_up_without_waiting_for_anybody() {
    let mut bench = Bench::new();
    bench.connect(9, usize::MAX);
    bench.info(9, PacketKind::ObserverInfo, 6);
    assert_eq!(bench.said_to(9), ["LEADERINFO 7.0"]);
    bench.ack_epoch(9, Some(6), z(6, 1));
    let synced =
        ["DIFF 6.3", "PROPOSAL 6.2", "COMMIT 6.2", "PROPOSAL 6.3", "COMMIT 6.3", "NEWLEADER 7.0"];
    assert_eq!(bench.said_to(9), synced);
    bench.ack(9, z(7, 0));
    assert_eq!(bench.said_to(9), ["UPTODATE"]);
    bench.ack(9, z(7, 0));
    assert!(bench.is_open(9));
    let views: Vec<_> = bench.master.observers(&bench.ring).collect();
    assert_eq!((views.len(), views[0].is_synced), (1, true));
    assert_eq!(views[0].sent, Some((z(6, 3), Source::Ring)));
}

#[test]
fn what_is_committed_is_told_and_nothing_before() {
    let mut bench = Bench::observed(9);
    bench.log(1);
    bench.log(2);
    bench.commit(1);
    assert_eq!(bench.said_to(9), ["INFORM 7.1"]);
    bench.commit(2);
    assert_eq!(bench.said_to(9), ["INFORM 7.2"]);
}

#[test]
fn a_commit_of_what_the_log_was_not_handed_is_told_once_it_was() {
    let mut bench = Bench::observed(9);
    bench.commit(2);
    assert_eq!(bench.said_to(9), [""; 0]);
    bench.log(1);
    bench.turn(|_, _, _| {});
    assert_eq!(bench.said_to(9), ["INFORM 7.1"]);
    bench.log(2);
    bench.turn(|_, _, _| {});
    assert_eq!(bench.said_to(9), ["INFORM 7.2"]);
}

#[test]
fn an_observer_that_has_seen_more_of_the_epoch_waits_for_it_and_gives_up_nothing() {
    let mut bench = Bench::new();
    bench.log(1);
    bench.log(2);
    bench.connect(9, usize::MAX);
    bench.info(9, PacketKind::ObserverInfo, 7);
    bench.ack_epoch(9, None, z(7, 2));
    assert_eq!(bench.said_to(9), ["LEADERINFO 7.0"]);
    bench.commit(1);
    assert_eq!(bench.said_to(9), [""; 0]);
    bench.commit(2);
    assert_eq!(bench.said_to(9), ["DIFF 7.2", "NEWLEADER 7.0"]);
}

#[test]
fn what_an_observer_says_it_has_seen_and_nobody_commits_is_not_waited_for_long() {
    let mut bench = Bench::new();
    bench.come(9, z(7, 5));
    bench.pass_ms(settings().init_limit_ms() - TICK_MS);
    assert!(bench.is_open(9));
    bench.pass_ms(TICK_MS);
    assert!(matches!(bench.closed[..], [(9, Parting::Ahead(_))]), "{:?}", bench.closed);
}

#[test]
fn an_end_of_an_earlier_epoch_that_was_never_committed_is_cut_off() {
    let mut bench = Bench::new();
    bench.come(9, z(6, 5));
    assert_eq!(bench.said_to(9)[1..], ["TRUNC 6.3", "NEWLEADER 7.0"]);
}

#[test]
fn an_empty_observer_gets_an_image_and_what_lies_behind_it() {
    let mut bench = Bench::new();
    bench.come(9, Zxid::ZERO);
    assert_eq!(bench.wanted, [(9, Wish::Image)]);
    let link = bench.link(9);
    bench.input(Input::Image { link, zxid: z(6, 2) });
    assert!(matches!(bench.wanted[..], [_, (9, Wish::ImageBytes { offset: 0, .. })]));
    bench.input(Input::ImageBytes { link, bytes: Bytes::from_static(b"image"), is_last: true });
    let said = bench.said_to(9);
    assert_eq!(said[1..4], ["SNAP 6.2", "image of 5", "image of 14"]);
    assert_eq!(said[4..], ["PROPOSAL 6.3", "COMMIT 6.3", "NEWLEADER 7.0"]);
}

#[test]
fn more_observers_at_once_than_may_be_sent_images_are_sent_away() {
    let mut bench = Bench::new();
    bench.come(8, Zxid::ZERO);
    bench.come(9, Zxid::ZERO);
    assert_eq!(bench.closed, [(9, Parting::TooManySyncs)]);
}

#[test]
fn an_observer_that_was_away_for_long_is_fed_from_the_log() {
    let mut bench = Bench::new();
    bench.ring.restart(z(6, 3));
    bench.come(9, z(6, 1));
    assert_eq!(bench.asked, [(9, z(6, 1))]);
    let link = bench.link(9);
    let place = Place { at_or_before: Some(z(6, 1)), after: Some(z(6, 2)) };
    let probed = Probed { place, bytes_behind: 0, snapshot_bytes: 0 };
    bench.input(Input::Probed { link, probed });
    assert!(matches!(bench.wanted[..], [(9, Wish::Log { .. })]), "{:?}", bench.wanted);
    let record = |counter| Recent { zxid: z(6, counter), data: Bytes::from_static(b"logged") };
    let records = vec![record(2), record(3)];
    bench.input(Input::Log { link, records, is_end: true });
    assert_eq!(bench.said_to(9).last().map(String::as_str), Some("NEWLEADER 7.0"));
}

#[test]
fn a_configuration_is_informed_of_with_the_leader_under_it() {
    let mut bench = Bench::observed(9);
    bench.log(1);
    bench.master.activate(z(7, 1), ServerId(3));
    bench.commit(1);
    assert_eq!(bench.said_to(9), ["INFORMANDACTIVATE 7.1"]);
    let Some(Outgoing::Packet { data: Some(data), .. }) = bench.sent[&9].last() else {
        panic!("it carries both")
    };
    let expected = Activation { leader: ServerId(3), record: b"txn" };
    assert_eq!(Activation::read(data), Ok(expected));
    bench.log(2);
    bench.commit(2);
    assert_eq!(bench.said_to(9), ["INFORM 7.2"]);
    assert!(bench.master.activations.is_empty(), "everybody knows of it");
}

#[test]
fn new_observers_hear_of_the_last_configuration_by_newleader() {
    let mut bench = Bench::new();
    let later = ensemble(0x7_0000_0001);
    bench.master.adopt(&later);
    bench.come(9, z(6, 3));
    let text = bench.sent[&9].iter().find_map(|outgoing| match outgoing {
        Outgoing::Packet { kind: PacketKind::NewLeader, data, .. } => data.clone(),
        _ => None,
    });
    assert_eq!(text, Some(Bytes::from(later.last_seen.text())));
}

#[test]
fn what_observers_ask_for_is_passed_up_and_answered_in_its_turn() {
    let mut bench = Bench::observed(9);
    let mut data = Vec::new();
    let request = Forwarded { session: SessionId(5), cxid: 2, op: 9, body: b"/" };
    request.write(&mut data);
    let link = bench.link(9);
    let passed = bench.packet(9, Packet::new(PacketKind::Request, Zxid::NONE, Some(&data)));
    let ids = AuthIds::NULL;
    assert_eq!(passed, Some(format!("{:?}", Passed::Request { link, request, ids })));
    data.clear();
    let revalidate = Revalidate { session: SessionId(5), timeout_ms: 4000 };
    revalidate.write(&mut data);
    let passed = bench.packet(9, Packet::new(PacketKind::Revalidate, Zxid::NONE, Some(&data)));
    assert_eq!(passed, Some(format!("{:?}", Passed::Revalidate { link, revalidate })));
    data.clear();
    write_touches([Touch { session: SessionId(5), timeout_ms: 4000 }], &mut data);
    let passed = bench.packet(9, Packet::new(PacketKind::Ping, z(7, 0), Some(&data)));
    assert_eq!(passed, Some(format!("{:?}", Passed::Touched { link, touches: &data })));
    // The leader answers when 7.1 is committed, which the log has later.
    bench.committed = z(7, 1);
    bench.input(Input::Sync { link, after: z(7, 1) });
    let revalidated = Revalidated { session: SessionId(5), is_valid: true };
    bench.input(Input::Revalidated { link, revalidated });
    assert_eq!(bench.said_to(9), [""; 0]);
    bench.log(1);
    bench.turn(|_, _, _| {});
    assert_eq!(bench.said_to(9), ["INFORM 7.1", "SYNC", "REVALIDATE"]);
}

#[test]
fn observers_are_pinged_twice_a_tick_and_the_silent_ones_parted_with() {
    let mut bench = Bench::observed(9);
    bench.come(8, z(6, 3));
    bench.ack(8, z(7, 0));
    bench.said.clear();
    bench.pass_ms(TICK_MS);
    assert_eq!(bench.said_to(9), ["PING 7.0", "PING 7.0"]);
    for _ in 0..5 {
        bench.pass_ms(TICK_MS);
        bench.packet(9, Packet::new(PacketKind::Ping, z(7, 0), Some(&[])));
    }
    assert_eq!(bench.closed, [(8, Parting::Silent)]);
    assert!(bench.is_open(9));
}

#[test]
fn an_observer_that_takes_nothing_costs_a_position_and_then_its_place() {
    let mut bench = Bench::observed(9);
    bench.input(Input::Room { link: bench.link(9), bytes: 0 });
    for counter in 1..=50 {
        bench.log(counter);
        bench.commit(counter);
    }
    assert_eq!(bench.said_to(9), [""; 0]);
    bench.pass_ms(settings().sync_limit_ms() + TICK_MS);
    assert_eq!(bench.closed, [(9, Parting::Silent)]);
    assert_eq!(bench.said_to(9), [""; 0]);
}

#[test]
fn who_votes_is_sent_away_and_so_is_who_has_followed_a_later_epoch() {
    let mut bench = Bench::new();
    bench.connect(2, usize::MAX);
    bench.info(2, PacketKind::FollowerInfo, 6);
    bench.connect(3, usize::MAX);
    bench.info(3, PacketKind::ObserverInfo, 8);
    assert_eq!(bench.closed.len(), 1, "it has only accepted one, and nobody counts on it");
    bench.connect(4, usize::MAX);
    bench.info(4, PacketKind::ObserverInfo, 7);
    bench.ack_epoch(4, Some(8), z(6, 3));
    bench.come(5, z(8, 1));
    bench.connect(1, usize::MAX);
    bench.info(1, PacketKind::ObserverInfo, 6);
    let whys: Vec<Parting> = bench.closed.iter().map(|(_, why)| *why).collect();
    let [out_of_turn, current, zxid, ours] = whys[..] else { panic!("{whys:?}") };
    assert_eq!(out_of_turn, Parting::OutOfTurn(PacketKind::FollowerInfo));
    assert!(matches!((current, zxid), (Parting::Ahead(_), Parting::Ahead(_))));
    assert_eq!(ours, Parting::OurId);
}

#[test]
fn a_proposal_that_an_observer_acknowledges_is_none_of_its_business() {
    let mut bench = Bench::observed(9);
    bench.log(1);
    bench.commit(1);
    bench.ack(9, z(7, 1));
    assert_eq!(bench.closed, [(9, Parting::OutOfTurn(PacketKind::Ack))]);
}

#[test]
fn a_server_that_comes_again_has_lost_its_link_and_the_end_closes_all() {
    let mut bench = Bench::observed(9);
    let earlier = bench.link(9);
    bench.come(9, z(6, 3));
    assert_eq!(bench.closed, [(9, Parting::Replaced)]);
    assert!(bench.is_open(9) && earlier != bench.link(9));
    bench.turn(|master, turn, _| master.end(turn));
    assert_eq!(bench.closed[1..], [(9, Parting::RoleEnded)]);
}

#[derive(Clone, Debug)]
enum Act {
    Connect { who: i64 },
    Say { who: i64, kind: PacketKind, zxid: Zxid, data: Option<Vec<u8>> },
    Info { who: i64, accepted: u32 },
    AckEpoch { who: i64, current: Option<i64>, zxid: Zxid },
    Ack { who: i64, zxid: Zxid },
    Leave { who: i64 },
    Missing { who: i64 },
    Commit,
    Time,
}

fn zxid() -> impl Strategy<Value = Zxid> {
    prop_oneof![
        (5u32..9, 0u32..6).prop_map(|(epoch, counter)| z(epoch, counter)),
        any::<i64>().prop_map(Zxid),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let who = 8i64..12;
    let kind = prop::sample::select(PacketKind::ALL.to_vec());
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let current = prop::option::of(0i64..9);
    prop_oneof![
        who.clone().prop_map(|who| Act::Connect { who }),
        (who.clone(), kind, zxid(), data).prop_map(|(who, kind, zxid, data)| Act::Say {
            who,
            kind,
            zxid,
            data
        }),
        (who.clone(), 5u32..8).prop_map(|(who, accepted)| Act::Info { who, accepted }),
        (who.clone(), current, zxid()).prop_map(|(who, current, zxid)| Act::AckEpoch {
            who,
            current,
            zxid
        }),
        (who.clone(), zxid()).prop_map(|(who, zxid)| Act::Ack { who, zxid }),
        who.clone().prop_map(|who| Act::Leave { who }),
        who.prop_map(|who| Act::Missing { who }),
        Just(Act::Commit),
        Just(Act::Time),
    ]
}

fn perform(bench: &mut Bench, act: Act) {
    match act {
        Act::Connect { who } if !bench.is_open(who) => bench.connect(who, 4000),
        Act::Connect { .. } => {}
        Act::Say { who, kind, zxid, data } => {
            bench.packet(who, Packet::new(kind, zxid, data.as_deref()));
        }
        Act::Info { who, accepted } => bench.info(who, PacketKind::ObserverInfo, accepted),
        Act::AckEpoch { who, current, zxid } => bench.ack_epoch(who, current, zxid),
        Act::Ack { who, zxid } => bench.ack(who, zxid),
        Act::Leave { who } if bench.is_open(who) => {
            let link = bench.link(who);
            bench.open.remove(&link);
            bench.input(Input::Closed { link });
        }
        Act::Leave { .. } => {}
        Act::Missing { who } => {
            bench.input(Input::Missing { link: bench.link(who) });
        }
        Act::Commit => {
            let next = bench.committed.counter().max(bench.ring.last().counter()) + 1;
            let next = if bench.committed.epoch() == 7 { next } else { 1 };
            bench.log(next);
            bench.commit(next);
        }
        Act::Time => bench.pass_ms(TICK_MS / 2),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_links_say_an_honest_observer_is_fed(
        acts in prop::collection::vec(act(), 0..150),
    ) {
        let mut bench = Bench::new();
        for act in acts {
            perform(&mut bench, act);
        }
        bench.said.clear();
        bench.come(20, z(6, 3));
        bench.ack(20, z(7, 0));
        prop_assert!(bench.is_open(20), "{:?}", bench.closed);
        let said = bench.said_to(20);
        prop_assert_eq!(said.last().map(String::as_str), Some("UPTODATE"));
        perform(&mut bench, Act::Commit);
        let informed = format!("INFORM 7.{}", bench.committed.counter());
        prop_assert_eq!(bench.said_to(20), [informed]);
    }
}
