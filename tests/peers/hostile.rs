//! Whatever else speaks on the election port costs its own link: no member's link goes down, nobody
//! elects again, and what is held is bounded.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use zkd::base::ServerId;
use zkd::base::limits::{ELECTION_GREETINGS, ELECTION_MESSAGE_BYTES, ELECTION_STRANGERS};
use zkd::election::CloseReason;
use zkd::peering::{
    ElectionReader, Foreign, Heard, Initial, Notification, PeerState, StreamError, Vote,
};

use crate::PATIENCE;
use crate::alone::await_leader;
use crate::asking::{self, Stranger, hello};
use crate::ensemble::Ensemble;
use crate::voter::{Setup, View, Voter};

/// Three members that have settled; the second, which is attacked, has a link up to the third and
/// one down to the first.
struct Witness {
    ensemble: Ensemble,
    voters: Vec<Voter>,
    /// How many links each had lost by then: who dials while he is dialled has his replaced.
    lost: Vec<usize>,
}

const VICTIM: usize = 1;
const REST: Duration = Duration::from_millis(500);
const MEMBERS: [i64; 3] = [1, 2, 3];

impl Witness {
    fn start() -> Witness {
        let ensemble = Ensemble::of(3);
        let setup = Setup { greeting_ms: 1000, ..Setup::default() };
        let mut voters: Vec<Voter> =
            [3, 2, 1].into_iter().map(|id| Voter::start(&ensemble, id, setup.clone())).collect();
        voters.reverse();
        await_leader(&voters, 3);
        for voter in &voters {
            let mut others = MEMBERS.to_vec();
            others.retain(|id| *id != voter.id);
            let has_all = |view: &View| others.iter().all(|id| view.is_linked_to(*id));
            voter.await_view("has all links", has_all);
        }
        let lost = rested(&voters);
        Witness { ensemble, voters, lost }
    }

    fn victim(&self) -> &Voter {
        &self.voters[VICTIM]
    }

    fn address(&self) -> SocketAddr {
        self.ensemble.election_address(self.victim().id)
    }

    fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Says it and waits until the victim has ended the link: what it said until then.
    fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.dial();
        let _ = stream.write_all(bytes);
        ended(&mut stream)
    }

    fn await_fault(&self, fault: StreamError) {
        self.victim().await_view("says what it was", |view| view.faults.contains(&fault));
    }

    /// Everything is as it was, and who asks is answered.
    fn check(&self) {
        let answer = asking::ask(self.address()).expect("an answer");
        assert_eq!((answer.state, answer.vote.leader), (PeerState::Following, ServerId(3)));
        for (voter, before) in self.voters.iter().zip(&self.lost) {
            let view = voter.view();
            assert_eq!(view.outcomes.len(), 1, "voter {} elects again: {view:#?}", voter.id);
            assert_ne!(view.state, PeerState::Looking);
            let lost = &view.lost[*before..];
            assert!(lost.iter().all(|lost| !is_member(*lost)), "{view:#?}");
        }
    }

    /// Nothing of it is kept: the members' links, the listeners' guests, and who has asked last.
    fn end(self) {
        self.check();
        let most = 3 + ELECTION_STRANGERS + ELECTION_GREETINGS;
        self.victim().await_view("lets go", |view| view.sockets <= most);
        self.voters.into_iter().for_each(Voter::end);
    }
}

/// Waits until no link is lost any more: how many each has lost.
fn rested(voters: &[Voter]) -> Vec<usize> {
    let lost = || voters.iter().map(|voter| voter.view().lost.len()).collect();
    let mut before: Vec<usize> = lost();
    loop {
        std::thread::sleep(REST);
        let now = lost();
        if now == before {
            return now;
        }
        before = now;
    }
}

fn is_member(server: ServerId) -> bool {
    MEMBERS.contains(&server.0)
}

/// What still comes until the other end is gone; a reset ends it as well.
fn ended(stream: &mut TcpStream) -> Vec<u8> {
    let (mut came, began) = (Vec::new(), Instant::now());
    let _ = stream.read_to_end(&mut came);
    assert!(began.elapsed() < PATIENCE, "the link stays");
    came
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn other_languages_are_told_by_name() {
    let witness = Witness::start();
    let tls = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    let client = [&[0, 0, 0, 45][..], &[0; 45]].concat();
    let learner = [&[0, 0, 0, 11][..], &[0; 8], &[0, 0, 0, 20], &[0; 24]].concat();
    for (bytes, what) in [
        (b"GET /commands HTTP/1.1\r\nHost: member\r\n\r\n".to_vec(), Foreign::Http),
        (b"ruok".to_vec(), Foreign::Text),
        (tls, Foreign::Tls),
        (client, Foreign::Client),
        (learner, Foreign::Learner),
    ] {
        assert_eq!(witness.say(&bytes), b"", "{what}");
        witness.await_fault(StreamError::Foreign(what));
    }
    witness.end();
}

#[test]
fn noise_costs_its_link() {
    let witness = Witness::start();
    let mut dice = Dice(0x5eed);
    for round in 0..200 {
        let count = dice.next() % 3000;
        let noise = dice.bytes(count);
        let begin = if round % 2 == 0 {
            Vec::new()
        } else {
            // Behind a first message that is in order, of somebody whom the victim keeps.
            hello(ServerId(5000 + round), "0.0.0.0", 0)
        };
        let mut stream = witness.dial();
        let _ = stream.write_all(&[begin, noise].concat());
        let _ = stream.shutdown(Shutdown::Write);
        ended(&mut stream);
    }
    witness.end();
}

#[test]
fn lengths_that_lie_cost_their_link() {
    let witness = Witness::start();
    let first = |protocol: i64, length: i32| {
        let numbers = [protocol.to_be_bytes(), 77i64.to_be_bytes()].concat();
        [&numbers[..], &length.to_be_bytes(), &[b'a'; 100]].concat()
    };
    for protocol in [-65537, -3, i64::MIN] {
        assert_eq!(witness.say(&first(protocol, 14)), b"");
        witness.await_fault(StreamError::Protocol(protocol));
    }
    for length in [0, -1, i32::MIN, i32::MAX, 2049] {
        assert_eq!(witness.say(&first(-65536, length)), b"");
        witness.await_fault(StreamError::AddressLength(length));
    }
    assert_eq!(witness.say(&first(-65536, 100)), b"", "no address");
    witness.await_fault(StreamError::Address);
    let most = i32::try_from(ELECTION_MESSAGE_BYTES).expect("a small number");
    for length in [0, -2, i32::MIN, i32::MAX, most + 1] {
        let hello = hello(ServerId(78), "0.0.0.0", 0);
        let bytes = [&hello[..], &length.to_be_bytes(), &[7; 100]].concat();
        assert_eq!(witness.say(&bytes), b"");
        witness.await_fault(StreamError::MessageLength(length));
    }
    witness.end();
}

/// As Java, which passes over such a message: an older or a later version may mean something by it.
#[test]
fn messages_without_sense_are_passed_over() {
    let witness = Witness::start();
    let mut stranger = Stranger::dial(witness.address()).expect("connected");
    let vote =
        Vote { leader: ServerId(3), zxid: zkd::base::Zxid(0), election_epoch: 9, peer_epoch: 0 };
    let mut sound = Vec::new();
    let config = Some(bytes::Bytes::from_static(b"version=0"));
    Notification { state: PeerState::Looking, vote, version: 2, config, is_kin: false }
        .write(&mut sound);
    let mut state = sound.clone();
    state[3] = 9;
    let mut config = sound.clone();
    config[40..44].copy_from_slice(&i32::MAX.to_be_bytes());
    let cut = |end: usize| sound[..end].to_vec();
    let bodies = [vec![1, 2, 3], cut(27), cut(36), cut(44), state, config, vec![0xff; 4000]];
    for body in &bodies {
        let length = (body.len() as u32).to_be_bytes();
        stranger.stream.write_all(&[&length[..], body].concat()).expect("the link stays");
    }
    witness.victim().await_view("passes over them", |view| view.senseless == bodies.len());
    stranger.ask().expect("the link stays");
    let answer = stranger.hear().expect("an answer");
    assert_eq!(answer.vote.leader, ServerId(3));
    // The greatest length there may be.
    let length = (ELECTION_MESSAGE_BYTES as u32).to_be_bytes();
    let longest = [&length[..], &[0xff; ELECTION_MESSAGE_BYTES]].concat();
    stranger.stream.write_all(&longest).expect("the link stays");
    witness.victim().await_view("passes over it", |view| view.senseless > bodies.len());
    witness.end();
}

#[test]
fn who_says_nothing_or_half_of_it_is_let_go() {
    let witness = Witness::start();
    let mut silent: Vec<TcpStream> = (0..2 * ELECTION_GREETINGS).map(|_| witness.dial()).collect();
    let half = &hello(ServerId(900), "127.0.0.1", 1)[..15];
    for stream in silent.iter_mut().step_by(2) {
        // Some have made room already.
        let _ = stream.write_all(half);
    }
    witness.check();
    for stream in &mut silent {
        assert_eq!(ended(stream), b"");
    }
    let closed = witness.victim().view().closed;
    for reason in [CloseReason::Crowded, CloseReason::Silent] {
        assert!(closed.contains(&reason), "{reason:?}");
    }
    witness.end();
}

#[test]
fn strangers_are_answered_and_bounded() {
    let witness = Witness::start();
    let dial = |_| Stranger::dial(witness.address()).expect("connected");
    let mut strangers: Vec<Stranger> = (0..ELECTION_STRANGERS + 30).map(dial).collect();
    for stranger in &mut strangers {
        let _ = stranger.ask();
    }
    let answered = strangers.iter_mut().filter_map(Stranger::hear).count();
    assert!(answered >= ELECTION_STRANGERS, "{answered} were answered");
    // Nobody's id: each of those who have none gets one of its own.
    let nameless = hello(Initial::ANONYMOUS, "0.0.0.0", 0);
    for _ in 0..ELECTION_STRANGERS {
        let mut stream = witness.dial();
        let _ = stream.write_all(&nameless);
        let _ = stream.shutdown(Shutdown::Write);
        ended(&mut stream);
    }
    assert!(witness.victim().view().closed.contains(&CloseReason::Crowded));
    drop(strangers);
    witness.end();
}

#[test]
fn its_own_id_is_nobody() {
    let witness = Witness::start();
    let (own, at) = (ServerId(witness.victim().id), witness.address());
    assert_eq!(witness.say(&hello(own, "127.0.0.1", at.port())), b"");
    witness.victim().await_view("knows itself", |view| view.closed.contains(&CloseReason::OwnId));
    witness.end();
}

/// A smaller id is dialled back where it says, whoever it is; what is there may be anything.
#[test]
fn who_is_smaller_is_dialled_back_where_it_says() {
    let witness = Witness::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its own").port();
    assert_eq!(witness.say(&hello(ServerId(0), "127.0.0.1", port)), b"");
    let (mut stream, _) = listener.accept().expect("dialled back");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut first = [0; 64];
    let count = stream.read(&mut first).expect("a first message");
    let mut reader = ElectionReader::accepted();
    match reader.next(&mut &first[..count]) {
        Ok(Some(Heard::Initial(said))) => {
            assert_eq!(said.server, ServerId(witness.victim().id));
        }
        other => panic!("no first message: {other:?}"),
    }
    // What it says then is nothing that anybody understands.
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("sent");
    ended(&mut stream);
    witness.await_fault(StreamError::Foreign(Foreign::Text));

    // Nobody is there; the victim itself is there; a port that never says anything is there.
    drop(stream);
    drop(listener);
    assert_eq!(witness.say(&hello(ServerId(0), "127.0.0.1", port)), b"");
    assert_eq!(witness.say(&hello(ServerId(0), "127.0.0.1", witness.address().port())), b"");
    assert_eq!(witness.say(&hello(ServerId(0), "no-such-host.invalid", 1)), b"");
    assert_eq!(witness.say(&hello(ServerId(0), "0.0.0.0", 0)), b"");
    let quorum = witness.ensemble.quorum_port(1);
    assert_eq!(witness.say(&hello(ServerId(0), "127.0.0.1", quorum)), b"");
    witness.end();
}

/// Nobody can tell an impostor from a member that has started again. It takes the member's link,
/// which comes back, and what it says of votes changes nothing for who has settled.
#[test]
fn an_impostor_takes_a_link_until_the_member_is_back() {
    let witness = Witness::start();
    let member = ServerId(3);
    let mut impostor = witness.dial();
    impostor.write_all(&hello(member, "127.0.0.1", 1)).expect("sent");
    let vote = Vote {
        leader: member,
        zxid: zkd::base::Zxid(i64::MAX),
        election_epoch: i64::MAX,
        peer_epoch: i64::MAX,
    };
    let mut replayed = Vec::new();
    Notification { state: PeerState::Looking, vote, version: 0, config: None, is_kin: false }
        .write_frame(&mut replayed);
    let _ = impostor.write_all(&replayed.repeat(50));
    let back = |view: &View| {
        let lost = view.lost.iter().filter(|lost| **lost == member).count();
        lost >= 2 && view.is_linked_to(3)
    };
    // Once to the impostor, and once from it.
    let view = witness.victim().await_view("has its member back", back);
    assert!(!view.closed.is_empty());
    ended(&mut impostor);
    for voter in &witness.voters {
        assert_eq!(voter.view().outcomes.len(), 1, "voter {}", voter.id);
    }
    let settled = witness.victim().view().settled;
    assert_eq!((settled.leader, settled.zxid.0), (member, 0));
    witness.voters.into_iter().for_each(Voter::end);
}

/// A voter that looks for a leader counts only what members say.
#[test]
fn who_looks_is_not_led_astray() {
    let ensemble = Ensemble::of(3);
    let voter = Voter::start(&ensemble, 1, Setup::default());
    let mut strangers = Vec::new();
    for state in [PeerState::Leading, PeerState::Following, PeerState::Looking] {
        let mut stranger = Stranger::dial(ensemble.election_address(1)).expect("connected");
        for leader in [stranger.id, ServerId(2), ServerId(1)] {
            let zxid = zkd::base::Zxid(i64::MAX);
            let vote = Vote { leader, zxid, election_epoch: 7, peer_epoch: 7 };
            let word = Notification { state, vote, version: 0, config: None, is_kin: false };
            let mut bytes = Vec::new();
            word.write_frame(&mut bytes);
            stranger.stream.write_all(&bytes).expect("sent");
        }
        let answer = stranger.hear().expect("an answer");
        assert_eq!(answer.state, PeerState::Looking);
        strangers.push(stranger);
    }
    std::thread::sleep(Duration::from_millis(300));
    let view = voter.view();
    assert_eq!((view.state, view.outcomes.len()), (PeerState::Looking, 0));
    assert_eq!((view.round, view.proposal.leader), (1, ServerId(1)));
    let others = [2, 3].map(|id| Voter::start(&ensemble, id, Setup::default()));
    let mut voters = vec![voter];
    voters.extend(others);
    let leader = voters[0].await_view("settles", |view| view.let_in_by.is_some());
    await_leader(&voters, leader.settled.leader.0);
    voters.into_iter().for_each(Voter::end);
}
