//! Members that are played word by word as servers of Java say them: nobody runs on their machines,
//! and the script writes and reads on their lines itself.

use zkd::base::{SessionId, WallMillis, Zxid};
use zkd::peering::{
    AckEpoch, Initial, InitialForm, LEARNER_PROTOCOL, LeaderInfo, LearnerInfo, Notification,
    Packet, PacketBytes, PacketKind, PeerState, Splitter, Vote, write_packet,
};
use zkd::proto::{Acl, CreateKind, CreateTxn, Entry, Txn, TxnHeader};

use super::stage::{Played, Stage};
use crate::members::setup::server_id;
use crate::members::tap::Tap;
use crate::members::twist::Twist;
use crate::members::wires::{ELECTION_PORT, QUORUM_PORT};
use crate::world::client::path_of;
use crate::world::network::{Ip, Read, Socket};

/// A line of a puppet's to a server of ours.
pub struct Line {
    socket: Socket,
    splitter: Splitter,
    twist: Option<Twist>,
    /// What has come, in its order.
    pub heard: Vec<(PacketKind, Zxid)>,
}

/// The epoch that puppets lead in.
pub const EPOCH: u32 = 1;

pub fn z(counter: u32) -> Zxid {
    Zxid::new(EPOCH, counter)
}

/// A txn that makes the node of this number.
fn entry(counter: u32) -> Vec<u8> {
    let header = TxnHeader {
        session: SessionId(0x7007),
        cxid: counter as i32,
        zxid: z(counter),
        time: WallMillis(1),
    };
    let txn = Txn::Create(CreateTxn {
        kind: CreateKind::Create,
        path: path_of(counter as u8),
        data: Some(b"new".to_vec()),
        acl: vec![Acl::open()],
        ephemeral: false,
        parent_cversion: counter as i32,
        ttl: 0,
    });
    let mut out = Vec::new();
    Entry::write(&header, &txn, None, &mut out);
    out
}

/// What a puppet says next on its line.
#[derive(Clone, Copy, Debug)]
pub enum Say {
    Plain(PacketKind, Zxid),
    /// PROPOSAL, with the txn that makes the node of this number.
    Propose(u32),
    Commit(u32),
}

impl Stage {
    /// Puppets at these places have agreed on the first of them long ago, and say so to a server of
    /// ours that looks for a leader.
    pub fn settle_puppets(&mut self, places: &[usize], learner: usize) -> Played {
        let leader = server_id(places[0]);
        for place in places {
            self.listen(*place, QUORUM_PORT);
            let socket = self.dial_from(*place, learner, ELECTION_PORT)?;
            let mut bytes = Vec::new();
            let server = server_id(*place);
            Initial { server, addresses: Vec::new() }.write(InitialForm::V1, &mut bytes);
            let state = if server == leader { PeerState::Leading } else { PeerState::Following };
            let vote = Vote {
                leader,
                zxid: Zxid::ZERO,
                election_epoch: 1,
                peer_epoch: i64::from(EPOCH) - 1,
            };
            Notification { state, vote, version: 1, config: None, is_kin: false }
                .write_frame(&mut bytes);
            self.put(socket, &bytes);
        }
        Ok(())
    }

    /// A server of ours has come to a puppet's quorum port.
    pub fn welcome(&mut self, place: usize) -> Result<Line, String> {
        for _ in 0..3000 {
            let world = &mut self.cluster.world;
            if let Some(socket) = world.network.accept(place, QUORUM_PORT) {
                let twist = Twist::of(super::stage::asked_breakage(), &Tap::leader());
                let splitter = Splitter::new(PacketBytes::default());
                return Ok(Line { socket, splitter, twist, heard: Vec::new() });
            }
            self.pass(10)?;
        }
        Err("trigger: nobody comes to the puppet".to_owned())
    }

    /// A puppet joins a server of ours that leads.
    pub fn join_as(&mut self, place: usize, leader: usize) -> Result<Line, String> {
        let socket = self.dial_from(place, leader, QUORUM_PORT)?;
        let mut data = Vec::new();
        let server = server_id(place);
        LearnerInfo { server, protocol: LEARNER_PROTOCOL, config_version: Some(0) }
            .write(&mut data);
        let mut bytes = Vec::new();
        write_packet(PacketKind::FollowerInfo, Zxid::ZERO, Some(&data), &mut bytes);
        self.put(socket, &bytes);
        let splitter = Splitter::new(PacketBytes::default());
        let mut line = Line { socket, splitter, twist: None, heard: Vec::new() };
        self.hears(&mut line, PacketKind::LeaderInfo)?;
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        AckEpoch { current_epoch: Some(0) }.write(&mut data);
        // It has all that the leader has.
        let node = self.cluster.machines[leader].node().ok_or("trigger: the leader is up")?;
        let last = node.view().progress.logged;
        write_packet(PacketKind::AckEpoch, last, Some(&data), &mut bytes);
        self.put(line.socket, &bytes);
        Ok(line)
    }

    /// Goes on until a puppet has heard this.
    pub fn hears(&mut self, line: &mut Line, wanted: PacketKind) -> Played {
        for _ in 0..3000 {
            self.listen_to(line);
            if line.heard.iter().any(|(kind, _)| *kind == wanted) {
                return Ok(());
            }
            self.pass(2)?;
        }
        Err(format!("liveness: a puppet hears no {wanted:?} but {:?}", line.heard))
    }

    pub fn listen_to(&mut self, line: &mut Line) {
        let world = &mut self.cluster.world;
        while let Read::Bytes(bytes) = world.network.read(&mut world.clock, line.socket, usize::MAX)
        {
            let mut input = &bytes[..];
            while let Some(packet) = line.splitter.next(&mut input).expect("members write well") {
                line.heard.push((packet.kind, packet.zxid));
            }
        }
    }

    /// LEADERINFO, which proposes the epoch.
    pub fn propose_epoch(&mut self, line: &mut Line) -> Played {
        self.hears(line, PacketKind::FollowerInfo)?;
        let (mut data, mut bytes) = (Vec::new(), Vec::new());
        LeaderInfo { protocol: LEARNER_PROTOCOL }.write(&mut data);
        write_packet(PacketKind::LeaderInfo, z(0), Some(&data), &mut bytes);
        self.put(line.socket, &bytes);
        self.hears(line, PacketKind::AckEpoch)
    }

    pub fn say(&mut self, line: &mut Line, words: &[Say]) {
        for word in words {
            let mut bytes = Vec::new();
            match word {
                Say::Plain(kind, zxid) => Packet::new(*kind, *zxid, None).write(&mut bytes),
                Say::Commit(n) => {
                    Packet::new(PacketKind::Commit, z(*n), None).write(&mut bytes);
                }
                Say::Propose(n) => {
                    let entry = entry(*n);
                    write_packet(PacketKind::Proposal, z(*n), Some(&entry), &mut bytes);
                }
            }
            if let Some(twist) = &mut line.twist {
                bytes = twist.pass(&bytes, &[]);
            }
            self.put(line.socket, &bytes);
        }
    }

    fn listen(&mut self, place: usize, port: u16) {
        self.cluster.world.network.listen(place, port);
    }

    /// The machines of puppets are empty again, and those who live there may start.
    pub fn end_puppets(&mut self, places: &[usize]) {
        let world = &mut self.cluster.world;
        places.iter().for_each(|place| world.network.kill(&mut world.clock, *place));
    }

    fn put(&mut self, socket: Socket, bytes: &[u8]) {
        let world = &mut self.cluster.world;
        let taken = world.network.write(&mut world.clock, socket, bytes);
        assert!(taken == bytes.len() || taken == 0, "there is room, or nobody reads");
    }

    /// A line from a node on which nobody runs.
    pub fn dial_from(&mut self, node: usize, to: usize, port: u16) -> Result<Socket, String> {
        let at = (to as Ip + 1, port);
        let world = &mut self.cluster.world;
        let dial = world.network.dial(&mut world.clock, node, at, 10_000);
        self.until("a puppet is let in", |stage| {
            stage.cluster.world.network.dialled_to(dial).is_some()
        })?;
        let socket = self.cluster.world.network.dialled_to(dial).expect("it was waited for");
        self.cluster.world.network.dial_is_known(dial);
        Ok(socket)
    }
}
