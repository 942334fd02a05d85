//! The transcripts of what Java says to Java, against our readers, writers and machines.

mod leader;
mod learner;
mod syncs;

use std::collections::BTreeMap;

use bytes::Bytes;

use zkd::base::{Instant, ServerId, Zxid};
use zkd::election::{Election, ElectionOutput, ElectionSettings, Electorate, Outcome, Standing};
use zkd::history::{SnapshotItem, SnapshotReader};
use zkd::members::{Membership, Rules};
use zkd::peering::{
    AckEpoch, ElectionReader, Forwarded, Heard, InitialForm, LEARNER_PROTOCOL, LeaderInfo,
    LearnerInfo, Notification, PacketBytes, PacketKind, PeerState, Splitter, read_touches,
    write_touches,
};
use zkd::proto::{Entry, Txn};

use crate::relay::Side;
use crate::speech::SIGNATURE;
use crate::transcript::{self, Line};

const SOUND: &str = "Java's bytes are sound";

/// How streams are cut: byte by byte, at odd places, not at all.
const PIECES: [usize; 3] = [1, 37, usize::MAX];

/// What one side said on each link to another, message by message.
fn streams(lines: &[Line]) -> BTreeMap<(i64, i64, Side), Vec<Vec<u8>>> {
    let mut streams: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for line in lines {
        let stream = streams.entry((line.dialler, line.acceptor, line.side)).or_default();
        stream.push(line.bytes());
    }
    streams
}

/// Reads a stream and gives its messages as we would write them.
fn rewritten(side: Side, stream: &[u8], most: usize) -> Vec<Vec<u8>> {
    let mut reader = match side {
        Side::Dialler => ElectionReader::accepted(),
        Side::Acceptor => ElectionReader::dialed(),
    };
    let mut messages = Vec::new();
    for mut piece in stream.chunks(most.min(stream.len())) {
        while let Some(heard) = reader.next(&mut piece).expect(SOUND) {
            let mut written = Vec::new();
            match heard {
                Heard::Initial(initial) => initial.write(InitialForm::V1, &mut written),
                Heard::Message(body) => {
                    let said = Notification::read(body).expect(SOUND);
                    said.write_frame(&mut written);
                }
            }
            messages.push(written);
        }
    }
    assert_eq!(reader.held(), 0, "nothing is left");
    messages
}

/// A link that took another's place begins with a first message again.
fn links(messages: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut links: Vec<Vec<Vec<u8>>> = Vec::new();
    for message in messages {
        match links.last_mut() {
            Some(link) if !is_first(message) => link.push(message.clone()),
            _ => links.push(vec![message.clone()]),
        }
    }
    links
}

fn is_first(message: &[u8]) -> bool {
    message.starts_with(&[0xff; 4])
}

#[test]
fn javas_election_messages_are_read_and_written_alike() {
    let mut seen = 0;
    for name in ["election", "late"] {
        for ((dialler, acceptor, side), messages) in streams(&transcript::read(name)) {
            for link in links(&messages) {
                for most in PIECES {
                    let read = rewritten(side, &link.concat(), most);
                    assert_eq!(read, link, "{name} {dialler}-{acceptor} {side:?}");
                }
                seen += link.len();
            }
        }
    }
    assert!(seen >= 10, "only {seen} messages");
}

/// Reads one side of a quorum link, the snapshot in it included.
struct Quorum {
    splitter: Splitter,
    snapshot: Option<SnapshotReader>,
    is_whole: bool,
    kinds: Vec<PacketKind>,
    /// As we would write them; a snapshot's place is empty.
    packets: Vec<Vec<u8>>,
    nodes: Vec<(String, Option<Vec<u8>>)>,
    sessions: usize,
}

impl Quorum {
    fn read(stream: &[u8], most: usize) -> Quorum {
        let mut quorum = Quorum {
            splitter: Splitter::new(PacketBytes::default()),
            snapshot: None,
            is_whole: false,
            kinds: Vec::new(),
            packets: Vec::new(),
            nodes: Vec::new(),
            sessions: 0,
        };
        for piece in stream.chunks(most.min(stream.len())) {
            let mut rest = piece.to_vec();
            while !rest.is_empty() {
                rest = match quorum.snapshot.take() {
                    Some(snapshot) => quorum.on_snapshot(snapshot, &rest),
                    None => quorum.on_packets(&rest),
                };
            }
        }
        assert_eq!(quorum.splitter.held(), 0, "nothing is left");
        quorum
    }

    /// Gives what does not belong to the packets.
    fn on_packets(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = bytes;
        while let Some(packet) = self.splitter.next(&mut input).expect(SOUND) {
            let mut written = Vec::new();
            packet.write(&mut written);
            self.packets.push(written);
            self.kinds.push(packet.kind);
            if let Some(data) = packet.data {
                assert_eq!(body_again(packet.kind, packet.zxid, data), data, "{:?}", packet.kind);
            }
            if packet.kind == PacketKind::Snap {
                self.snapshot = Some(SnapshotReader::stream());
                return input.to_vec();
            }
        }
        Vec::new()
    }

    fn on_snapshot(&mut self, mut snapshot: SnapshotReader, bytes: &[u8]) -> Vec<u8> {
        snapshot.feed(bytes);
        loop {
            match snapshot.next_item().expect(SOUND) {
                SnapshotItem::Session { .. } => self.sessions += 1,
                SnapshotItem::Node(node) => {
                    let data = node.data.map(<[u8]>::to_vec);
                    self.nodes.push((node.path.into_owned(), data));
                }
                SnapshotItem::Acl { .. } => {}
                SnapshotItem::End(_) => self.is_whole = true,
                SnapshotItem::More => break,
            }
        }
        match snapshot.rest().split_at_checked(SIGNATURE.len()) {
            Some((signature, behind)) if self.is_whole => {
                assert_eq!(signature, SIGNATURE);
                behind.to_vec()
            }
            _ => {
                self.snapshot = Some(snapshot);
                Vec::new()
            }
        }
    }

    /// The order of everything but pings.
    fn course(&self) -> Vec<PacketKind> {
        self.kinds.iter().copied().filter(|kind| *kind != PacketKind::Ping).collect()
    }
}

/// What a packet carries, read for what it is and written again.
fn body_again(kind: PacketKind, zxid: Zxid, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        PacketKind::FollowerInfo => {
            let info = LearnerInfo::read(data).expect(SOUND);
            assert_eq!((info.protocol, info.config_version), (LEARNER_PROTOCOL, Some(0)));
            info.write(&mut out);
        }
        PacketKind::LeaderInfo => LeaderInfo::read(data).expect(SOUND).write(&mut out),
        PacketKind::AckEpoch => AckEpoch::read(data).expect(SOUND).write(&mut out),
        PacketKind::NewLeader => {
            let text = std::str::from_utf8(data).expect("text");
            out = Membership::of_text(text, Rules::default()).expect(SOUND).text().into();
        }
        PacketKind::Proposal => {
            let Entry { header, txn, digest } = Entry::read(data).expect(SOUND);
            assert_eq!(header.zxid, zxid);
            assert!(matches!(txn, Txn::CreateSession { .. } | Txn::Create(_)), "{txn:?}");
            Entry::write(&header, &txn, digest, &mut out);
        }
        PacketKind::Request => Forwarded::read(data).expect(SOUND).write(&mut out),
        PacketKind::Ping => write_touches(read_touches(data).expect(SOUND), &mut out),
        _ => panic!("{kind:?} carries nothing here"),
    }
    out
}

#[test]
fn javas_packets_are_read_and_written_alike() {
    use PacketKind::*;
    for (name, leader_begins) in [
        ("sync-diff", vec![LeaderInfo, Diff, NewLeader, UpToDate, Proposal, Commit]),
        ("sync-snap", vec![LeaderInfo, Snap, NewLeader, UpToDate]),
    ] {
        let mut sides = 0;
        for ((_, _, side), messages) in streams(&transcript::read(name)) {
            let is_packet = |message: &&Vec<u8>| message.len() >= 20;
            let begins = match side {
                Side::Dialler => vec![FollowerInfo, AckEpoch, Ack, Ack],
                Side::Acceptor => leader_begins.clone(),
            };
            for most in PIECES {
                let quorum = Quorum::read(&messages.concat(), most);
                assert!(quorum.course().starts_with(&begins), "{name}: {:?}", quorum.kinds);
                let mut recorded = messages.iter().filter(is_packet);
                let mut packets = quorum.packets.iter();
                // The snapshot and its end are lines of their own.
                assert!(packets.all(|packet| recorded.any(|message| message == packet)), "{name}");
                if quorum.kinds.contains(&Snap) {
                    assert!(quorum.is_whole && quorum.sessions == 1);
                    let written = ("/x".to_owned(), Some(b"hi".to_vec()));
                    assert!(quorum.nodes.contains(&written), "{:?}", quorum.nodes);
                }
            }
            sides += 1;
        }
        assert_eq!(sides, 2, "{name}");
    }
}

/// One of our machines in a member's place.
struct Member {
    election: Election,
    now: Instant,
    said: BTreeMap<i64, Vec<Notification>>,
    outcomes: Vec<Outcome>,
}

impl Member {
    fn start(id: i64, config: &Bytes) -> Member {
        let text = std::str::from_utf8(config).expect("text");
        let membership = Membership::of_text(text, Rules::default()).expect("sound");
        let electorate = Electorate {
            quorums: membership.quorums(None),
            config: config.clone(),
            version: membership.version,
        };
        let settings = ElectionSettings {
            me: ServerId(id),
            observer: false,
            min_interval_ms: 200,
            max_interval_ms: 60_000,
        };
        let standing = Standing { zxid: Zxid(0), peer_epoch: 0 };
        let election = Election::new(settings, electorate, standing);
        let (said, outcomes) = (BTreeMap::new(), Vec::new());
        let mut member = Member { election, now: Instant(1), said, outcomes };
        member.input(|election, now, out| election.start(now, standing, out));
        member
    }

    fn input(&mut self, input: impl FnOnce(&mut Election, Instant, &mut Vec<ElectionOutput>)) {
        let mut out = Vec::new();
        input(&mut self.election, self.now, &mut out);
        for output in out {
            match output {
                ElectionOutput::Tell { to, notification } => {
                    self.said.entry(to.0).or_default().push(notification);
                }
                ElectionOutput::Decided(outcome) => self.outcomes.push(outcome),
                _ => {}
            }
        }
        self.election.check();
    }

    fn hear(&mut self, from: i64, said: &Notification) {
        self.input(|election, now, out| {
            election.handle_notification(now, ServerId(from), said, out);
        });
    }

    /// Nobody speaks any more.
    fn settle(&mut self) -> &Outcome {
        for _ in 0..10 {
            let Some(next) = self.election.next_timeout().filter(|_| self.outcomes.is_empty())
            else {
                break;
            };
            self.now = next;
            self.input(|election, now, out| election.handle_timeout(now, out));
        }
        self.outcomes.first().expect("it decides")
    }

    /// The role is taken up, and the sync has brought an epoch.
    fn take_role(&mut self, epoch: i64) {
        self.input(|election, _, out| election.confirm(out));
        self.input(|election, _, out| election.correct_epoch(epoch, out));
    }
}

/// The notifications of a transcript, with who said them to whom.
fn notifications(name: &str) -> Vec<(i64, i64, Notification)> {
    let lines = transcript::read(name);
    let said = lines.iter().filter(|line| !is_first(&line.bytes()));
    let read = |line: &Line| Notification::read(&line.bytes()[4..]).expect("Java's are sound");
    said.map(|line| (line.speaker(), line.listener(), read(line))).collect()
}

/// Java said nothing that ours would not have said, in this order, and in the end both say the
/// same. Ours may say more: what a link's queue would have dropped, and that it leads.
fn assert_speaks_like_java(ours: &Member, to: i64, java: &[Notification]) {
    // Java never says that it is kin.
    let as_java = |word: &Notification| Notification { is_kin: false, ..word.clone() };
    let said: Vec<Notification> = ours.said[&to].iter().map(as_java).collect();
    let mut rest = said.iter();
    for word in java {
        assert!(rest.any(|ours| ours == word), "to {to}: {word:?} is not next in {said:#?}");
    }
    assert_eq!(said.last(), java.last(), "to {to}");
}

/// What a member told another, without repetitions.
fn told(words: &[(i64, i64, Notification)], from: i64, to: i64) -> Vec<Notification> {
    let said = words.iter().filter(|(speaker, listener, _)| (*speaker, *listener) == (from, to));
    let mut said: Vec<Notification> = said.map(|(_, _, word)| word.clone()).collect();
    said.dedup();
    said
}

#[test]
fn our_machine_in_a_members_place_says_and_decides_what_java_did() {
    let election = notifications("election");
    let config = election[0].2.config.clone().expect("today's form");
    let mut members: BTreeMap<i64, Member> =
        [1, 2].map(|id| (id, Member::start(id, &config))).into();
    for (from, to, word) in &election {
        members.get_mut(to).expect("two members").hear(*from, word);
    }
    for (id, role) in [(1, PeerState::Following), (2, PeerState::Leading)] {
        let member = members.get_mut(&id).expect("two members");
        let outcome = member.settle();
        assert_eq!((outcome.role, outcome.vote.leader), (role, ServerId(2)));
        assert!(!outcome.joined);
        let other = 3 - id;
        assert_speaks_like_java(member, other, &told(&election, id, other));
        member.take_role(1);
    }

    let late = notifications("late");
    members.insert(3, Member::start(3, &config));
    for (from, to, word) in &late {
        members.get_mut(to).expect("three members").hear(*from, word);
    }
    let outcome = members[&3].outcomes.first().expect("it joins as soon as it has heard both");
    assert_eq!((outcome.role, outcome.vote.leader), (PeerState::Following, ServerId(2)));
    assert!(outcome.joined);
    assert_eq!(outcome.vote.peer_epoch, 1);
    for (from, to) in [(1, 3), (2, 3), (3, 1), (3, 2)] {
        assert_speaks_like_java(&members[&from], to, &told(&late, from, to));
    }
}
