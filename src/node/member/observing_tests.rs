//! An observer by hand: whom it dials and when, by the clock and by chance.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::limits;
use crate::base::{ConnId, Instant, Now, ServerId, SessionId, WallMillis, Zxid};
use crate::config::{Config, MemberConfig};
use crate::election::DialFailure;
use crate::history::{ChoreCommand, StorageEvent};
use crate::members::{MemberSpec, Membership};
use crate::node::{Effect, Effects, Event, Handover, Node, PeerEvent, PeerPort};
use crate::peering::{ElectionReader, Heard, HostPort, Initial, InitialForm, Notification};
use crate::peering::{LEARNER_PROTOCOL, LeaderInfo, PacketKind, write_packet};
use crate::peering::{PeerState, Vote};
use crate::proto::{Entry, OpCode, Txn, TxnHeader, Writer};

use super::tests::fresh;

const ME: i64 = 1;
const LEADER: i64 = 4;

/// Server 1, which observes; 2, 3 and 4 vote.
struct Observer {
    node: Node,
    now: Now,
    members: Membership,
    /// What it says to the leader on the election port.
    reader: ElectionReader,
    links: u32,
    dials: Vec<(u64, Vec<HostPort>)>,
    /// The last state that it has told of itself.
    told: Option<PeerState>,
    /// What its client has been sent.
    answers: Vec<u8>,
    /// The end of its history, as it told the last leader.
    ends: Option<Zxid>,
    /// How often its history was to be recovered once more.
    rebuilds: u32,
    /// How often memory was given back.
    given_back: u32,
    closed: Vec<ConnId>,
    /// Where it was to feed observers from then on.
    doors: Vec<HostPort>,
}

const CLIENT: ConnId = ConnId { index: 900, generation: 1 };

fn line(id: i64) -> (ServerId, MemberSpec) {
    let role = if id == ME { "observer" } else { "participant" };
    let text = format!("m{id}:2888:3888:{role}");
    (ServerId(id), MemberSpec::read(ServerId(id), &text, false).expect("a line"))
}

fn link_of(id: i64) -> ConnId {
    ConnId { index: id as u32, generation: 1 }
}

/// What an ACKEPOCH says of its sender's history.
fn end_told(sent: &[u8]) -> Option<Zxid> {
    let is_told = *sent.first_chunk()? == PacketKind::AckEpoch.number().to_be_bytes();
    let zxid = sent.get(4..)?.first_chunk()?;
    is_told.then(|| Zxid(i64::from_be_bytes(*zxid)))
}

/// The packet of a write of `/`.
fn inform(session: SessionId, cxid: i32, zxid: Zxid) -> Vec<u8> {
    let header = TxnHeader { session, cxid, zxid, time: WallMillis(9) };
    let txn = Txn::SetData { path: "/".to_owned(), data: Some(b"x".to_vec()), version: 1 };
    let (mut entry, mut packet) = (Vec::new(), Vec::new());
    Entry::write(&header, &txn, None, &mut entry);
    write_packet(PacketKind::Inform, zxid, Some(&entry), &mut packet);
    packet
}

impl Observer {
    fn new(seed: u64, change: impl FnOnce(&mut Config)) -> Observer {
        let members = Membership::new(0, (1..=4).map(line).collect());
        let mut config = Config::for_tests();
        config.ensemble.init_limit_ticks = 10;
        config.ensemble.sync_limit_ticks = 5;
        config.ensemble.member = Some(MemberConfig::for_tests(ServerId(ME), members.clone()));
        change(&mut config);
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
        let node = Node::new(&config, fresh(), now, seed).expect("a node");
        // Who is dialled says nothing but messages.
        let (reader, dials) = (ElectionReader::dialed(), Vec::new());
        let mut observer = Observer {
            node,
            now,
            members,
            reader,
            links: 10,
            dials,
            told: None,
            answers: Vec::new(),
            ends: None,
            rebuilds: 0,
            given_back: 0,
            closed: Vec::new(),
            doors: Vec::new(),
        };
        observer.turn(&[]);
        for id in 2..=LEADER {
            observer.meet(id);
        }
        observer
    }

    fn turn(&mut self, events: &[Event<'_>]) {
        let mut out = Effects::default();
        self.node.turn(self.now, events, &mut out);
        self.node.check();
        let mut ticket = None;
        for effect in &out.list {
            match effect {
                Effect::Storage(command) => ticket = Some(command.ticket()),
                Effect::Move(places) => self.doors.clone_from(&places.observers),
                Effect::Dial { dial, addresses, .. } if addresses[0].port != 3888 => {
                    self.dials.push((*dial, addresses.clone()));
                }
                Effect::Send { conn, range } if *conn == link_of(LEADER) => {
                    self.listen(&out.arena[range.start as usize..range.end as usize]);
                }
                Effect::Send { conn, range } => {
                    let sent = &out.arena[range.start as usize..range.end as usize];
                    match *conn {
                        CLIENT => self.answers.extend_from_slice(sent),
                        _ => self.ends = end_told(sent).or(self.ends),
                    }
                }
                Effect::Chore(ChoreCommand::Rebuild) => self.rebuilds += 1,
                Effect::GiveBackMemory => self.given_back += 1,
                Effect::Close { conn, .. } => self.closed.push(*conn),
                _ => {}
            }
        }
        if let Some(ticket) = ticket {
            self.turn(&[Event::Storage(StorageEvent::Durable { ticket, sync_us: 0 })]);
        }
    }

    fn listen(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while let Ok(Some(heard)) = self.reader.next(&mut input) {
            if let Heard::Message(body) = heard {
                self.told = Notification::read(body).ok().map(|said| said.state);
            }
        }
    }

    /// A voter comes to the election port, as greater ids do, and says that 4 leads.
    fn meet(&mut self, id: i64) {
        let from = "127.0.0.1:1".parse().expect("an address");
        let (link, port) = (link_of(id), PeerPort::Election);
        self.turn(&[Event::Peer(PeerEvent::Accepted { link, port, from })]);
        let mut bytes = Vec::new();
        let initial = Initial { server: ServerId(id), addresses: Vec::new() };
        initial.write(InitialForm::V1, &mut bytes);
        self.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &bytes })]);
        self.say(id);
    }

    fn say(&mut self, id: i64) {
        let state = if id == LEADER { PeerState::Leading } else { PeerState::Following };
        let (zxid, election_epoch) = (Zxid::ZERO, 1);
        let vote = Vote { leader: ServerId(LEADER), zxid, election_epoch, peer_epoch: 0 };
        let config = Some(Bytes::from(self.members.text()));
        let said = Notification { state, vote, version: 2, config, is_kin: false };
        let mut bytes = Vec::new();
        said.write_frame(&mut bytes);
        self.turn(&[Event::Peer(PeerEvent::Bytes { link: link_of(id), bytes: &bytes })]);
    }

    fn vote(&mut self) {
        (2..=LEADER).for_each(|id| self.say(id));
    }

    /// Until something is so: how many milliseconds that took.
    fn wait(&mut self, is_so: impl Fn(&Observer) -> bool) -> u64 {
        for ms in 0..60_000 {
            if is_so(self) {
                return ms;
            }
            self.now.mono = self.now.mono.plus_ms(1);
            self.turn(&[]);
        }
        panic!("it never comes");
    }

    /// The leader, whose history ends there, too, brings it up.
    fn follow(&mut self, epoch: u32, last: Zxid) -> ConnId {
        let link = self.reach(epoch);
        self.hear(link, PacketKind::Diff, last, None);
        self.hear(link, PacketKind::NewLeader, Zxid::new(epoch, 0), None);
        self.hear(link, PacketKind::UpToDate, Zxid::NONE, None);
        link
    }

    /// It reaches the leader, and is told of the epoch.
    fn reach(&mut self, epoch: u32) -> ConnId {
        self.wait(|observer| !observer.dials.is_empty());
        let (dial, _) = self.dials.pop().expect("it dials");
        self.links += 1;
        let link = ConnId { index: self.links, generation: 1 };
        self.turn(&[Event::Peer(PeerEvent::Dialed { dial, outcome: Ok(link) })]);
        let mut info = Vec::new();
        LeaderInfo { protocol: LEARNER_PROTOCOL }.write(&mut info);
        self.hear(link, PacketKind::LeaderInfo, Zxid::new(epoch, 0), Some(&info));
        link
    }

    fn hear(&mut self, link: ConnId, kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) {
        let mut bytes = Vec::new();
        write_packet(kind, zxid, data, &mut bytes);
        self.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &bytes })]);
    }

    /// A txn of nobody here: where the history ends then.
    fn inform(&mut self, link: ConnId, zxid: Zxid) {
        let inform = inform(SessionId(5), 1, zxid);
        self.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &inform })]);
        assert_eq!(self.node.state().last_zxid(), zxid);
    }

    /// Its leader goes, and the voters have elected one again.
    fn part(&mut self, link: ConnId) {
        self.turn(&[Event::Peer(PeerEvent::Closed { link })]);
        self.wait(|observer| observer.told == Some(PeerState::Looking));
        self.vote();
    }

    /// A client of this server alone: its session.
    fn client(&mut self) -> SessionId {
        self.ask_in();
        // Behind the length, the version and the timeout.
        let session = self.answers.get(12..).and_then(|rest| rest.first_chunk());
        SessionId(i64::from_be_bytes(*session.expect("it is let in")))
    }

    /// A client asks for a session.
    fn ask_in(&mut self) {
        let conn = CLIENT;
        let mut body = Vec::new();
        body.put_i32(0);
        body.put_i64(0);
        body.put_i32(4000);
        body.put_i64(0);
        body.put_buffer(Some(&[0; 16]));
        body.put_bool(false);
        let at = "127.0.0.1:1".parse().expect("an address");
        let accepted = Event::Accepted { conn, peer: at, local: at, secure: false, subject: None };
        self.turn(&[accepted, Event::Frame { conn, body: &body }]);
    }

    /// Time passes under a leader that goes on.
    fn pass(&mut self, link: ConnId, ms: u64) {
        for _ in 0..ms / 100 {
            self.now.mono = self.now.mono.plus_ms(100);
            self.hear(link, PacketKind::Ping, Zxid::NONE, None);
        }
    }

    /// The dial that is under way comes through, and the link breaks at once.
    fn lose(&mut self) {
        self.told = None;
        let (dial, _) = self.dials.pop().expect("it dials");
        self.links += 1;
        let link = ConnId { index: self.links, generation: 1 };
        self.turn(&[Event::Peer(PeerEvent::Dialed { dial, outcome: Ok(link) })]);
        self.turn(&[Event::Peer(PeerEvent::Closed { link })]);
    }
}

#[test]
fn an_observer_that_lost_its_leader_rests_by_chance_before_it_looks_for_one() {
    let rest = |seed: u64, most_ms: u64| {
        let mut observer =
            Observer::new(seed, |config| config.ensemble.observing.election_delay_ms = most_ms);
        observer.wait(|observer| !observer.dials.is_empty());
        observer.lose();
        observer.wait(|observer| observer.told == Some(PeerState::Looking))
    };
    let rests: BTreeSet<u64> = (0..20).map(|seed| rest(seed, 400)).collect();
    assert!(rests.len() > 10, "{rests:?}");
    assert!(rests.iter().all(|ms| *ms <= 400) && rests.iter().any(|ms| *ms > 200), "{rests:?}");
    assert!((0..5).all(|seed| rest(seed, 0) <= 1), "it is the operator's to say");
    assert_eq!(rest(3, 400), rest(3, 400), "by the server's own chance");
}

#[test]
fn an_observer_waits_by_chance_before_it_dials_where_it_is_told_to() {
    let wait = |seed: u64, most_ms: u64| {
        let mut observer =
            Observer::new(seed, |config| config.ensemble.observing.reconnect_delay_ms = most_ms);
        let waited_ms = observer.wait(|observer| !observer.dials.is_empty());
        let (_, addresses) = &observer.dials[0];
        assert_eq!(addresses[..], [HostPort { host: "m4".to_owned(), port: 2888 }]);
        waited_ms
    };
    let waits: BTreeSet<u64> = (0..20).map(|seed| wait(seed, 300)).collect();
    assert!(waits.len() > 10 && waits.iter().all(|ms| *ms <= 300), "{waits:?}");
    assert!((0..5).all(|seed| wait(seed, 0) == 0));
}

#[test]
fn observer_masters_have_their_turns_and_a_pause_once_all_had_theirs() {
    let mut observer = Observer::new(5, |config| {
        config.ensemble.observing.master_port = Some(2191);
        config.ensemble.observing.election_delay_ms = 0;
        config.ensemble.observing.reconnect_delay_ms = 50_000;
    });
    let mut hosts = Vec::new();
    for _ in 0..3 {
        let waited_ms = observer.wait(|observer| !observer.dials.is_empty());
        assert!(waited_ms <= 1, "there is no pause before those who were not asked yet");
        let (_, addresses) = observer.dials[0].clone();
        assert!(addresses.iter().all(|at| at.port == 2191), "{addresses:?}");
        hosts.push(addresses[0].host.clone());
        observer.lose();
        observer.wait(|observer| observer.told == Some(PeerState::Looking));
        observer.vote();
    }
    let first = hosts[0].clone();
    hosts.sort();
    assert_eq!(hosts, ["m2", "m3", "m4"]);
    assert!(observer.wait(|observer| !observer.dials.is_empty()) > 100);
    assert_eq!(observer.dials[0].1[0].host, first);
}

#[test]
fn a_master_that_nobody_is_at_is_given_up_within_half_a_second() {
    let mut observer = Observer::new(6, |config| {
        config.ensemble.observing.master_port = Some(2191);
        config.ensemble.observing.election_delay_ms = 0;
    });
    observer.wait(|observer| !observer.dials.is_empty());
    observer.told = None;
    let from = observer.now.mono;
    while observer.told != Some(PeerState::Looking) {
        observer.wait(|observer| {
            !observer.dials.is_empty() || observer.told == Some(PeerState::Looking)
        });
        for (dial, _) in std::mem::take(&mut observer.dials) {
            let outcome = Err(DialFailure::Refused);
            observer.turn(&[Event::Peer(PeerEvent::Dialed { dial, outcome })]);
        }
    }
    let took_ms = observer.now.mono.ms_since(from);
    assert!((400..500).contains(&took_ms), "as Java's five tries: {took_ms} ms");
}

#[test]
fn a_txn_that_waits_for_reads_before_it_is_not_lost_with_the_role() {
    let mut observer = Observer::new(8, |config| {
        config.ensemble.observing.election_delay_ms = 0;
        config.ensemble.local_sessions = true;
    });
    let link = observer.follow(1, Zxid::ZERO);
    let (session, conn) = (observer.client(), CLIENT);
    // More watches than one turn sets, and behind them a write.
    let mut watches = [-8, OpCode::SetWatches.number()].map(i32::to_be_bytes).concat();
    watches.put_i64(0);
    watches.put_i32(20_000);
    (0..20_000).for_each(|n| watches.put_string(&format!("/{n}")));
    watches.put_i32(0);
    watches.put_i32(0);
    let mut write = [7, OpCode::SetData.number()].map(i32::to_be_bytes).concat();
    write.put_string("/");
    write.put_buffer(Some(b"x"));
    write.put_i32(-1);
    let last = Zxid::new(1, 1);
    let inform = inform(session, 7, last);
    observer.turn(&[Event::Frame { conn, body: &watches }, Event::Frame { conn, body: &write }]);
    observer.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &inform })]);
    assert_eq!(observer.node.state().last_zxid(), Zxid::ZERO, "the watches come first");
    observer.part(link);
    // The leader has no more than this server has logged.
    observer.follow(2, last);
    assert_eq!(observer.node.state().last_zxid(), last);
}

/// The same would be sent again; where the next does not come as far, it may need this history.
#[test]
fn an_image_is_asked_for_after_a_bad_sync_until_a_leader_goes_before_his() {
    let at_once = |config: &mut Config| config.ensemble.observing.election_delay_ms = 0;
    let mut observer = Observer::new(9, at_once);
    let link = observer.follow(1, Zxid::ZERO);
    let last = Zxid::new(1, 1);
    observer.inform(link, last);
    observer.part(link);
    let mut link = observer.reach(2);
    assert_eq!(observer.ends, Some(last));
    // A gap.
    observer.hear(link, PacketKind::Diff, Zxid::new(2, 9), None);
    let bytes = inform(SessionId(5), 1, Zxid::new(2, 5));
    observer.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &bytes })]);
    for (epoch, ends) in [(3, Zxid::ZERO), (4, last)] {
        observer.part(link);
        link = observer.reach(epoch);
        assert_eq!(observer.ends, Some(ends), "in epoch {epoch}");
    }
}

#[test]
fn who_observed_without_a_log_reads_what_it_has_before_it_votes() {
    for (logs, rebuilds) in [(false, 1), (true, 0)] {
        let mut observer = Observer::new(10, |config| {
            config.ensemble.observing.election_delay_ms = 0;
            config.ensemble.observing.logs = logs;
            config.ensemble.reconfig_enabled = true;
            config.ensemble.observing.master_port = Some(2999);
        });
        let link = observer.follow(1, Zxid::ZERO);
        observer.inform(link, Zxid::new(1, 1));
        let voters = (1..=LEADER).map(|id| {
            let text = format!("m{id}:2888:3888:participant");
            (ServerId(id), MemberSpec::read(ServerId(id), &text, false).expect("a line"))
        });
        observer.members = Membership::new(Zxid::new(1, 2).0, voters.collect());
        observer.part(link);
        observer.wait(|observer| observer.told.is_some());
        assert_eq!(observer.rebuilds, rebuilds, "logs: {logs}");
        let door = HostPort { host: "m1".to_owned(), port: 2999 };
        assert_eq!(observer.doors, [door], "it feeds observers from now on");
        assert_eq!(observer.given_back, 1, "of what it was brought up with");
        if rebuilds > 0 {
            observer.turn(&[Event::Rebuilt(&Handover::new(fresh()))]);
        }
        assert_eq!(observer.given_back, 1 + rebuilds, "of the state that it had");
    }
}

/// Its session may go on elsewhere, and its leader then never says that it ends.
#[test]
fn a_client_that_is_silent_goes_and_one_that_its_leader_keeps_waiting_stays() {
    let mut observer = Observer::new(11, |config| config.ensemble.observing.election_delay_ms = 0);
    let link = observer.follow(1, Zxid::ZERO);
    observer.ask_in();
    observer.pass(link, 20_000);
    assert_eq!(observer.closed, [], "it waits for its session");
    let session = *observer.node.by_session.keys().next().expect("its session");
    let zxid = Zxid::new(1, 1);
    let header = TxnHeader { session, cxid: 0, zxid, time: WallMillis(9) };
    let (mut entry, mut packet) = (Vec::new(), Vec::new());
    Entry::write(&header, &Txn::CreateSession { timeout_ms: 6000 }, None, &mut entry);
    write_packet(PacketKind::Inform, zxid, Some(&entry), &mut packet);
    observer.turn(&[Event::Peer(PeerEvent::Bytes { link, bytes: &packet })]);
    let ping = [-2, OpCode::Ping.number()].map(i32::to_be_bytes).concat();
    for _ in 0..5 {
        observer.pass(link, 3000);
        observer.turn(&[Event::Frame { conn: CLIENT, body: &ping }]);
    }
    assert_eq!(observer.closed, [], "it is heard");
    observer.pass(link, 5000);
    assert_eq!(observer.closed, []);
    observer.pass(link, 5000);
    assert_eq!(observer.closed, [CLIENT]);
    assert!(observer.node.by_session.is_empty());
    assert_eq!(observer.node.state().session_timeout_ms(session), Some(6000), "it lives on");
}

/// A node of the next state may stand where one that was watched stood in this.
#[test]
fn no_watch_outlives_the_role_it_was_set_in() {
    let mut observer = Observer::new(12, |config| {
        config.ensemble.observing.election_delay_ms = 0;
        config.ensemble.local_sessions = true;
    });
    let link = observer.follow(1, Zxid::ZERO);
    observer.client();
    // More than are swept in that turn.
    let count = 3 * limits::WATCH_SWEEP_PLACES;
    let mut watches = [-8, OpCode::SetWatches.number()].map(i32::to_be_bytes).concat();
    watches.put_i64(0);
    watches.put_i32(0);
    watches.put_i32(count as i32);
    (0..count).for_each(|n| watches.put_string(&format!("/{n}")));
    watches.put_i32(0);
    observer.turn(&[Event::Frame { conn: CLIENT, body: &watches }]);
    while observer.node.wants_turn() {
        observer.turn(&[]);
    }
    assert_eq!(observer.node.watches.counts().data_watches, count as u64);
    observer.turn(&[Event::Peer(PeerEvent::Closed { link })]);
    assert_eq!(observer.node.watches.counts(), Default::default());
}

/// It is not read, since it does not take what it is sent as fast as that comes.
#[test]
fn a_client_that_only_takes_is_told_to_the_leader() {
    let mut observer = Observer::new(13, |config| {
        config.ensemble.observing.election_delay_ms = 0;
        config.ensemble.local_sessions = true;
    });
    let link = observer.follow(1, Zxid::ZERO);
    observer.client();
    let bytes = limits::CONN_BACKLOG_PAUSE;
    observer.turn(&[Event::Backlog { conn: CLIENT, bytes }]);
    observer.pass(link, 1000);
    let is_told = |observer: &Observer| {
        let client = observer.node.conns.peek(CLIENT).expect("it is open");
        client.is_heard_since(observer.now.mono)
    };
    assert!(!is_told(&observer));
    observer.turn(&[Event::Taking { conn: CLIENT }]);
    assert!(is_told(&observer));
}

/// Nobody comes back with its session.
#[test]
fn what_was_asked_behind_the_end_of_a_session_leaves_nothing() {
    let mut observer = Observer::new(14, |config| config.ensemble.observing.election_delay_ms = 0);
    let link = observer.follow(1, Zxid::ZERO);
    observer.ask_in();
    let session = *observer.node.by_session.keys().next().expect("its session");
    let hear = |observer: &mut Observer, cxid, counter, txn: Txn| {
        let zxid = Zxid::new(1, counter);
        let header = TxnHeader { session, cxid, zxid, time: WallMillis(9) };
        let mut entry = Vec::new();
        Entry::write(&header, &txn, None, &mut entry);
        observer.hear(link, PacketKind::Inform, zxid, Some(&entry));
    };
    hear(&mut observer, 0, 1, Txn::CreateSession { timeout_ms: 6000 });
    let mut delete = [2, OpCode::Delete.number()].map(i32::to_be_bytes).concat();
    delete.put_string("/x");
    delete.put_i32(-1);
    let close = [1, OpCode::CloseSession.number()].map(i32::to_be_bytes).concat();
    let asked = [&close, &delete].map(|body| Event::Frame { conn: CLIENT, body });
    observer.turn(&asked);
    hear(&mut observer, 1, 2, Txn::CloseSession { paths: None });
    observer.turn(&[]);
    assert_eq!(observer.closed, [CLIENT]);
    assert!(observer.node.left_writes.is_empty());
}
