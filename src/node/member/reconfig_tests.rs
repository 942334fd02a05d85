//! Configurations as member 1 of three meets them: its leader and the other voters are written out
//! byte by byte.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::base::{ConnId, Instant, Now, ServerId, WallMillis, Zxid};
use crate::config::{Config, MemberConfig};
use crate::history::{StorageCommand, StorageEvent};
use crate::members::{Membership, Rules};
use crate::node::{Effect, Effects, Event, Node, NodeMode, PeerEvent, PeerPort};
use crate::peering::{
    HostPort, Initial, InitialForm, Notification, PacketKind, PeerState, Vote, write_packet,
};

use super::tests::fresh;

const RULES: Rules = Rules { standalone_enabled: false, multi_address: false };
const LEADER: ConnId = ConnId { index: 100, generation: 1 };
const EPOCH: Zxid = Zxid(1 << 32);
const PROPOSED: Zxid = Zxid((1 << 32) + 1);
/// What the leader gives the members' list, which has no version of its own.
const FIRST: &str = "server.1=m1:2888:3888:participant\nserver.2=m2:2888:3888:participant\n\
                     server.3=m3:2888:3888:participant\nversion=100000000";

struct Led {
    node: Node,
    now: Now,
    /// Who was reached for at his quorum port, and the number of the dial.
    dialled: Vec<(u64, String)>,
    files: Vec<(String, Option<Bytes>)>,
    closed: BTreeSet<ConnId>,
    met: BTreeSet<i64>,
}

impl Led {
    /// It looks for a leader.
    fn looking() -> Led {
        let text = FIRST.replace("version=100000000", "version=0");
        let members = Membership::of_text(&text, RULES).expect("sound");
        let mut config = Config::for_tests();
        config.ensemble.init_limit_ticks = 10;
        config.ensemble.sync_limit_ticks = 5;
        config.ensemble.reconfig_enabled = true;
        config.ensemble.member = Some(MemberConfig::for_tests(ServerId(1), members));
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
        let node = Node::new(&config, fresh(), now, 7).expect("a node");
        let (dialled, files) = (Vec::new(), Vec::new());
        let (closed, met) = (BTreeSet::new(), BTreeSet::new());
        let mut led = Led { node, now, dialled, files, closed, met };
        led.turn(&[]);
        led
    }

    /// It has elected 3 with the others, in round 5, and has reached it.
    fn elected() -> Led {
        let mut led = Led::looking();
        led.votes_in(5, 2, PeerState::Looking, 3, "version=0");
        led.votes_in(5, 3, PeerState::Looking, 3, "version=0");
        led.now.mono = led.now.mono.plus_ms(300);
        led.turn(&[]);
        led.comes_to("m3");
        led
    }

    /// 3 leads it, and it has been told of the list's version.
    fn following() -> Led {
        let mut led = Led::looking();
        led.votes(2, PeerState::Following, 3, "version=0");
        led.votes(3, PeerState::Leading, 3, "version=0");
        led.comes_to("m3");
        led.says(PacketKind::LeaderInfo, EPOCH, Some(&0x10000_i32.to_be_bytes()));
        led.says(PacketKind::Diff, Zxid::ZERO, None);
        led.says(PacketKind::NewLeader, EPOCH, Some(FIRST.as_bytes()));
        led.says(PacketKind::UpToDate, Zxid::NONE, None);
        assert_eq!(led.node.mode(), NodeMode::Follower);
        assert_eq!(led.names(), ["next", "100000000", "", "next gone"]);
        led
    }

    /// A turn, with everything that it hands over told durable in the next.
    fn turn(&mut self, events: &[Event<'_>]) {
        let mut out = Effects::default();
        self.node.turn(self.now, events, &mut out);
        self.node.check();
        let mut ticket = None;
        for effect in out.list {
            match effect {
                Effect::Storage(command) => {
                    ticket = Some(command.ticket());
                    if let StorageCommand::ReplaceFiles { files, .. } = command {
                        self.files.extend(files);
                    }
                }
                Effect::Dial { dial, addresses, .. } => {
                    let quorum = addresses.into_iter().find(|at| at.port == 2888);
                    self.dialled.extend(quorum.map(|at| (dial, at.host)));
                }
                Effect::Close { conn, .. } => {
                    self.closed.insert(conn);
                }
                _ => {}
            }
        }
        if let Some(ticket) = ticket {
            let durable = StorageEvent::Durable { ticket, sync_us: 0 };
            self.turn(&[Event::Storage(durable)]);
        }
    }

    /// A voter says on its election link what it does, and whom it wants or has.
    fn votes(&mut self, from: i64, state: PeerState, leader: i64, config: &str) {
        self.votes_in(1, from, state, leader, config);
    }

    /// The same in a round.
    fn votes_in(&mut self, round: i64, from: i64, state: PeerState, leader: i64, config: &str) {
        let link = ConnId { index: u32::try_from(from).expect("small"), generation: 1 };
        let mut said = Vec::new();
        let mut events = Vec::new();
        if self.met.insert(from) {
            let at = "127.0.0.1:9".parse().expect("an address");
            let port = PeerPort::Election;
            events.push(Event::Peer(PeerEvent::Accepted { link, port, from: at }));
            let address = HostPort { host: format!("m{from}"), port: 3888 };
            let initial = Initial { server: ServerId(from), addresses: vec![address] };
            initial.write(InitialForm::V1, &mut said);
        }
        let leader = ServerId(leader);
        let vote = Vote { leader, zxid: Zxid::ZERO, election_epoch: round, peer_epoch: 0 };
        let config = Some(Bytes::copy_from_slice(config.as_bytes()));
        let notification = Notification { state, vote, version: 2, config, is_kin: false };
        notification.write_frame(&mut said);
        events.push(Event::Peer(PeerEvent::Bytes { link, bytes: &said }));
        self.turn(&events);
    }

    /// It has reached for this leader, last, and reaches it.
    fn comes_to(&mut self, host: &str) {
        let (dial, at) = self.dialled.last().cloned().expect("a leader is reached for");
        assert_eq!(at, host);
        self.turn(&[Event::Peer(PeerEvent::Dialed { dial, outcome: Ok(LEADER) })]);
    }

    fn says(&mut self, kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) {
        let mut bytes = Vec::new();
        write_packet(kind, zxid, data, &mut bytes);
        self.turn(&[Event::Peer(PeerEvent::Bytes { link: LEADER, bytes: &bytes })]);
    }

    fn proposes(&mut self, config: &str) {
        let mut entry = Vec::new();
        entry.extend(0x55_i64.to_be_bytes());
        entry.extend(1_i32.to_be_bytes());
        entry.extend(PROPOSED.0.to_be_bytes());
        entry.extend(1_i64.to_be_bytes());
        entry.extend(16_i32.to_be_bytes());
        for text in ["/zookeeper/config", config] {
            entry.extend(i32::try_from(text.len()).expect("short").to_be_bytes());
            entry.extend(text.as_bytes());
        }
        entry.extend((-1_i32).to_be_bytes());
        self.files.clear();
        self.says(PacketKind::Proposal, PROPOSED, Some(&entry));
        assert_eq!(self.names(), ["next"], "what is proposed is kept");
    }

    /// The configuration is committed, and so is who leads by it.
    fn activates(&mut self, config: &str, leader: i64) {
        self.proposes(config);
        self.files.clear();
        self.says(PacketKind::CommitAndActivate, PROPOSED, Some(&leader.to_be_bytes()));
        assert_eq!(self.names(), ["100000001", "", "next gone"]);
        assert_eq!(self.shown(), config);
    }

    /// Which files were written, by the ends of their names.
    fn names(&self) -> Vec<String> {
        let name = |(path, bytes): &(String, Option<Bytes>)| {
            let end = path.strip_prefix("/nonexistent/zoo.cfg").expect("beside the static file");
            let gone = if bytes.is_none() { " gone" } else { "" };
            format!("{}{gone}", end.trim_start_matches(".dynamic."))
        };
        self.files.iter().map(name).collect()
    }

    /// What a client reads.
    fn shown(&self) -> String {
        let state = self.node.state();
        let id = state.find("/zookeeper/config").expect("every tree has it");
        let data = state.node(id).data().unwrap_or_default();
        String::from_utf8(data.to_vec()).expect("a text")
    }

    fn stand(&self) -> String {
        self.node.peer_look().expect("a member").state
    }

    /// How often it has looked for a leader.
    fn elections(&self) -> u64 {
        self.node.metrics().looking_count.0
    }
}

/// `FIRST` as the proposal's version, with these words for those.
fn changed(from: &str, to: &str) -> String {
    FIRST.replace("100000000", "100000001").replace(from, to)
}

#[test]
fn whoever_the_leader_designates_is_followed_without_an_election() {
    let mut led = Led::following();
    led.activates(&changed("server.2=m2", "server.2=moved"), 2);
    assert!(led.closed.contains(&LEADER));
    assert_eq!(led.stand(), "following - discovery");
    led.comes_to("moved");
    assert_eq!(led.elections(), 1, "the first");
}

#[test]
fn a_server_that_is_designated_leads() {
    let mut led = Led::following();
    led.activates(&changed("server.3=m3:2888:3888:participant\n", ""), 1);
    assert_eq!((led.stand().as_str(), led.elections()), ("leading - discovery", 1));
}

#[test]
fn a_server_that_becomes_an_observer_comes_back_to_its_leader_as_one() {
    let mut led = Led::following();
    led.activates(
        &changed("server.1=m1:2888:3888:participant", "server.1=m1:2888:3888:observer"),
        3,
    );
    assert_eq!((led.stand().as_str(), led.elections()), ("observing - discovery", 1));
    led.comes_to("m3");
}

#[test]
fn a_server_that_is_removed_goes_on() {
    let mut led = Led::following();
    led.activates(&changed("server.1=m1:2888:3888:participant\n", ""), 3);
    assert!(!led.closed.contains(&LEADER));
    assert_eq!(led.node.mode(), NodeMode::Follower);
}

/// A designated leader that cannot lead, or names nobody who votes, is no reason to stand still.
#[test]
fn a_leader_that_does_not_vote_is_not_followed() {
    let mut led = Led::following();
    led.activates(&changed("server.2=m2:2888:3888:participant\n", ""), 2);
    assert_eq!((led.stand().as_str(), led.elections()), ("looking", 2));
}

#[test]
fn what_was_proposed_to_this_server_alone_is_forgotten_with_the_next_leader() {
    let mut led = Led::following();
    led.proposes(&changed("server.2=m2", "server.2=moved"));
    led.turn(&[Event::Peer(PeerEvent::Closed { link: LEADER })]);
    assert_eq!(led.elections(), 2);
    led.files.clear();
    led.votes(2, PeerState::Following, 3, FIRST);
    led.votes(3, PeerState::Leading, 3, FIRST);
    led.comes_to("m3");
    led.says(PacketKind::LeaderInfo, Zxid(2 << 32), Some(&0x10000_i32.to_be_bytes()));
    led.says(PacketKind::Diff, Zxid::ZERO, None);
    led.says(PacketKind::NewLeader, Zxid(2 << 32), Some(FIRST.as_bytes()));
    assert_eq!(led.names(), ["next gone"]);
}

#[test]
fn who_looks_for_a_leader_takes_over_a_newer_configuration() {
    let mut led = Led::looking();
    let newer = changed("server.2=m2", "server.2=moved");
    led.votes(3, PeerState::Looking, 3, &newer);
    assert_eq!((led.shown(), led.elections()), (newer.clone(), 2));
    assert_eq!(led.names(), ["100000001", "", "next gone"]);
    // It is found where it is by now.
    led.votes(3, PeerState::Following, 2, &newer);
    led.votes(2, PeerState::Leading, 2, &newer);
    led.comes_to("moved");
}

/// Its door is open again, and it waits for nobody to come through it: it has forgotten its vote.
#[test]
fn a_leader_that_has_started_again_before_it_led_is_not_waited_for() {
    let mut led = Led::elected();
    assert_eq!((led.stand().as_str(), led.elections()), ("following - discovery", 1));
    led.votes_in(1, 2, PeerState::Looking, 2, "version=0");
    assert_eq!(led.elections(), 1, "another may look");
    led.votes_in(1, 3, PeerState::Looking, 3, "version=0");
    assert_eq!((led.stand().as_str(), led.elections()), ("looking", 2));
    assert!(led.closed.contains(&LEADER));
}

/// Once it has shown that it leads, its link tells when that is over.
#[test]
fn a_leader_that_has_told_its_epoch_is_left_with_its_link() {
    let mut led = Led::elected();
    led.says(PacketKind::LeaderInfo, EPOCH, Some(&0x10000_i32.to_be_bytes()));
    led.votes_in(6, 3, PeerState::Looking, 3, "version=0");
    assert_eq!(led.elections(), 1);
}
