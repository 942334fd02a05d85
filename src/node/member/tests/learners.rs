//! Learners of a leader as far as their links go, written out by hand.

use bytes::Bytes;

use super::*;
use crate::base::limits;
use crate::history::Behind;
use crate::node::{PeerEvent, PeerPort};
use crate::peering::{
    Forwarded, Initial, InitialForm, LEARNER_PROTOCOL, LearnerInfo, Notification, PacketKind,
    PeerState, Vote, write_packet, write_request,
};

const EPOCH: Zxid = Zxid(1 << 32);

fn link(index: u32) -> ConnId {
    ConnId { index, generation: 5 }
}

fn packet(kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_packet(kind, zxid, data, &mut bytes);
    bytes
}

/// One large enough that nobody's greeting is.
fn request() -> Vec<u8> {
    let body = [1; 100_000];
    let request =
        Forwarded { session: SessionId(7), cxid: 1, op: OpCode::Delete.number(), body: &body };
    let mut bytes = Vec::new();
    write_request(&request, None, &mut bytes);
    bytes
}

impl Alone {
    fn leading() -> Alone {
        let mut alone = Alone::new();
        alone.lead();
        alone.settle(&[]);
        alone
    }

    /// Elected with the vote of another.
    fn elected(&mut self, voter: i64) {
        let (from, port) = ("127.0.0.1:9".parse().expect("an address"), PeerPort::Election);
        self.settle(&[Event::Peer(PeerEvent::Accepted { link: link(100), port, from })]);
        let mut said = Vec::new();
        let initial = Initial { server: ServerId(voter), addresses: Vec::new() };
        initial.write(InitialForm::V1, &mut said);
        let vote = Vote { leader: ServerId(1), zxid: Zxid::ZERO, election_epoch: 1, peer_epoch: 0 };
        let (state, config) = (PeerState::Looking, Some(Bytes::from_static(b"version=0")));
        Notification { state, vote, version: 2, config, is_kin: false }.write_frame(&mut said);
        self.says(100, &said);
        self.wait(300);
    }

    fn says(&mut self, index: u32, bytes: &[u8]) {
        self.settle(&[Event::Peer(PeerEvent::Bytes { link: link(index), bytes })]);
    }

    /// A server comes as a learner, and has the epoch now.
    fn greets(&mut self, index: u32, server: i64, kind: PacketKind) {
        let (from, port) = ("127.0.0.1:9".parse().expect("an address"), PeerPort::Quorum);
        self.settle(&[Event::Peer(PeerEvent::Accepted { link: link(index), port, from })]);
        let (server, protocol) = (ServerId(server), LEARNER_PROTOCOL);
        let mut info = Vec::new();
        LearnerInfo { server, protocol, config_version: Some(0) }.write(&mut info);
        self.says(index, &packet(kind, Zxid::ZERO, Some(&info)));
    }

    /// The same, brought up to date.
    fn joins(&mut self, index: u32, server: i64, kind: PacketKind) {
        self.greets(index, server, kind);
        // As far as the leader, be it established or not: nothing is asked of the log.
        let is_established = self.node.mode() == NodeMode::Leader;
        let last = if is_established { EPOCH } else { Zxid::ZERO };
        self.says(index, &packet(PacketKind::AckEpoch, last, Some(&[0; 4])));
        self.says(index, &packet(PacketKind::Ack, EPOCH, None));
        assert!(!self.is_closed(index));
    }

    /// It stood still for too long to lead, and leads again once its snapshot is let go of.
    fn giving_up_a_snapshot() -> Alone {
        let mut alone = Alone::leading();
        alone.gives_up_a_snapshot();
        alone
    }

    fn gives_up_a_snapshot(&mut self) {
        self.node.snapshots.demand();
        self.turn(&[]);
        self.turn(&[]);
        assert!(self.node.snapshots.is_busy());
        self.now.mono = self.now.mono.plus_ms(60_000);
        self.turn(&[]);
        self.turn(&[]);
        assert_eq!(self.node.mode(), NodeMode::Looking);
    }

    fn is_closed(&self, index: u32) -> bool {
        self.closed.contains(&link(index))
    }

    fn held(&mut self) -> &mut crate::node::member::Held {
        &mut self.node.member.as_deref_mut().expect("a member").held
    }
}

/// Whoever has not been brought up to date has nothing large to say, whoever he says that he is.
#[test]
fn a_learner_may_say_much_from_up_to_date_on() {
    let (request, mut alone) = (request(), Alone::leading());
    let most = &request[..request.len() - 1];
    alone.greets(1, 9, PacketKind::ObserverInfo);
    alone.says(1, most);
    assert!(alone.is_closed(1) && alone.held().all() == 0);
    alone.greets(2, 9, PacketKind::FollowerInfo);
    let mut large = packet(PacketKind::AckEpoch, Zxid::ZERO, Some(&[0; 2000]));
    large.truncate(500);
    alone.says(2, &large);
    assert!(alone.is_closed(2), "its length is seen first");
    alone.joins(3, 9, PacketKind::ObserverInfo);
    alone.says(3, most);
    assert_eq!((alone.is_closed(3), alone.held().all()), (false, most.len()));
    alone.says(3, &request[most.len()..]);
    assert_eq!((alone.is_closed(3), alone.held().all()), (false, 0));
}

#[test]
fn the_largest_that_does_not_vote_goes_where_all_hold_too_much() {
    let (request, mut alone) = (request(), Alone::among(3, |_, _| {}));
    alone.held().most = 150_000;
    alone.elected(2);
    alone.joins(1, 2, PacketKind::FollowerInfo);
    assert_eq!(alone.node.mode(), NodeMode::Leader);
    for (index, server) in [(2, 7), (3, 8), (4, 9)] {
        alone.joins(index, server, PacketKind::ObserverInfo);
    }
    for (index, bytes) in [(1, 90_000), (2, 20_000), (3, 30_000), (4, 10_000)] {
        alone.says(index, &request[..bytes]);
    }
    assert_eq!((alone.held().all(), alone.closed.len()), (150_000, 0));
    alone.says(4, &request[10_000..20_000]);
    assert_eq!((alone.held().all(), alone.is_closed(3)), (130_000, true));
    alone.says(2, &request[20_000..]);
    assert_eq!((alone.held().all(), alone.closed.len()), (110_000, 1), "what is whole goes on");
    alone.settle(&[Event::Peer(PeerEvent::Closed { link: link(4) })]);
    assert_eq!(alone.held().all(), 90_000);
    alone.held().most = 1000;
    alone.says(1, &request[90_000..99_000]);
    assert_eq!((alone.held().all(), alone.is_closed(1)), (99_000, false), "it votes");
}

#[test]
fn the_oldest_of_those_who_came_early_makes_room_at_its_port() {
    let mut alone = Alone::among(3, |_, _| {});
    alone.settle(&[]);
    let from = "127.0.0.1:9".parse().expect("an address");
    let mut comes = |index, port| {
        alone.now.mono = alone.now.mono.plus_ms(1);
        alone.turn(&[Event::Peer(PeerEvent::Accepted { link: link(index), port, from })]);
        alone.closed.clone()
    };
    let most = crate::base::limits::QUORUM_EARLY_LINKS as u32;
    assert_eq!(comes(1000, PeerPort::Observers), []);
    for index in (1..=most).rev() {
        assert_eq!(comes(index, PeerPort::Quorum), [], "there is room");
    }
    assert_eq!(comes(0, PeerPort::Quorum), [link(most)], "whoever came first");
    assert_eq!(comes(most + 1, PeerPort::Quorum), [link(most), link(most - 1)]);
}

/// The chore thread may take its time to let go of it, and says when it has.
#[test]
fn a_snapshot_that_was_given_up_is_waited_for_asleep() {
    let mut alone = Alone::giving_up_a_snapshot();
    assert!(alone.node.snapshots.is_busy() && !alone.node.wants_turn(), "nothing else brings it");
    alone.turn(&[Event::Storage(StorageEvent::SnapshotAbandoned)]);
    alone.lead();
}

/// Its place among the links says nothing of when it came.
#[test]
fn of_a_server_that_came_early_twice_the_last_link_stands() {
    let mut alone = Alone::giving_up_a_snapshot();
    for index in [5, 2] {
        alone.now.mono = alone.now.mono.plus_ms(1);
        alone.greets(index, 9, PacketKind::ObserverInfo);
    }
    assert_eq!(alone.closed, []);
    alone.turn(&[Event::Storage(StorageEvent::SnapshotAbandoned)]);
    alone.lead();
    assert_eq!(alone.closed, [link(5)]);
}

/// Its time to make do with an older one is when the disk gives no better: not when a role ends.
#[test]
fn a_role_that_ends_makes_no_snapshot_fresher() {
    let mut alone = Alone::leading();
    let behind = Behind { txns: 1, bytes: limits::IMAGE_BEHIND_BYTES + 1 };
    alone.node.snapshots.restart(Some(Zxid::ZERO), behind);
    alone.gives_up_a_snapshot();
    assert_eq!(alone.node.snapshots.fresh(limits::IMAGE_BEHIND_BYTES), None);
}

#[test]
fn a_snapshot_that_cannot_be_read_is_not_sent_again() {
    let mut alone = Alone::leading();
    alone.node.snapshots.restart(Some(Zxid(7)), Behind::default());
    let member = alone.node.member.as_deref_mut().expect("a member");
    member.images.insert(link(0), Zxid(7));
    let reason = "a bad block".to_owned();
    alone.turn(&[Event::Storage(StorageEvent::ReadFailed { reader: link(0), reason })]);
    assert_eq!(alone.node.snapshots.last, None);
}

/// Its own disk is through with all of them long before a quorum is.
#[test]
fn a_client_that_waited_for_a_quorum_goes_on_with_its_ack() {
    let mut alone = Alone::among(3, |_, _| {});
    alone.elected(2);
    alone.joins(2, 2, PacketKind::FollowerInfo);
    assert_eq!(alone.node.mode(), NodeMode::Leader);
    // It takes what it is sent and acknowledges it, one after the other.
    let acks = |alone: &mut Alone| {
        for n in EPOCH.counter() + 1..=alone.node.leading.progress().logged.counter() {
            let unsent = PeerEvent::Unsent { link: link(2), bytes: 0 };
            alone.settle(&[Event::Peer(unsent)]);
            alone.says(2, &packet(PacketKind::Ack, Zxid::new(EPOCH.epoch(), n), None));
        }
    };
    alone.connect(conn(0), 0, false);
    acks(&mut alone);
    let data = vec![1; 1_000_000];
    for xid in 1..=40 {
        let mut body = path("/");
        body.pop();
        body.put_buffer(Some(&data));
        body.put_i32(-1);
        alone.ask(conn(0), xid, OpCode::SetData, &body);
    }
    assert!(!alone.node.starved.is_empty(), "there is too much without a quorum");
    acks(&mut alone);
    assert!(alone.node.starved.is_empty(), "nothing else happens");
    acks(&mut alone);
    assert_eq!(alone.node.leading.progress().applied.counter(), 41);
}
