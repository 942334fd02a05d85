//! What a leader writes on its link, packet by packet.

use crate::base::{ServerId, SessionId, WallMillis, Zxid};
use crate::peering::{Activation, LEARNER_PROTOCOL, LeaderInfo, PacketKind, write_packet};
use crate::proto::{Entry, Txn, TxnHeader, Writer};

/// A leader's bytes, in the order it sends them.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    pub bytes: Vec<u8>,
}

/// A txn that no other zxid has.
pub fn entry(zxid: Zxid) -> Entry {
    let path = format!("/{zxid:x}");
    with_txn(zxid, Txn::SetData { path, data: Some(vec![7; 20]), version: 1 })
}

pub fn with_txn(zxid: Zxid, txn: Txn) -> Entry {
    let (session, cxid) = (SessionId(zxid.0 << 8), zxid.counter() as i32);
    let header = TxnHeader { session, cxid, zxid, time: WallMillis(9) };
    Entry { header, txn, digest: None }
}

pub fn encoded(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    Entry::write(&entry.header, &entry.txn, entry.digest, &mut out);
    out
}

/// Three servers, of whom `leader` may be the third or not.
pub fn config_text(version: i64) -> String {
    let line = |id: i64| format!("server.{id}=host{id}:2888:3888:participant;0.0.0.0:2181");
    format!("{}\n{}\n{}\nversion={version:x}", line(1), line(2), line(3))
}

pub fn reconfig(zxid: Zxid) -> Entry {
    let data = Some(config_text(zxid.0).into_bytes());
    with_txn(zxid, Txn::Reconfig { path: "/zookeeper/config".to_owned(), data, version: -1 })
}

/// An image of one session, which is named after the zxid, and the root.
pub fn image(zxid: Zxid) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_i32(1);
    out.put_i64(zxid.0);
    out.put_i32(5000);
    out.put_i32(0);
    out.put_string("");
    out.put_buffer(Some(b"root"));
    out.put_slice(&[0; 68]);
    out.put_string("/");
    out
}

impl Wire {
    pub fn new() -> Wire {
        Wire::default()
    }

    /// What a leader of today says first.
    pub fn of_epoch(epoch: u32) -> Wire {
        Wire::new().leader_info(epoch)
    }

    pub fn packet(mut self, kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) -> Wire {
        write_packet(kind, zxid, data, &mut self.bytes);
        self
    }

    pub fn leader_info(self, epoch: u32) -> Wire {
        let mut data = Vec::new();
        LeaderInfo { protocol: LEARNER_PROTOCOL }.write(&mut data);
        self.packet(PacketKind::LeaderInfo, Zxid::new(epoch, 0), Some(&data))
    }

    pub fn diff(self, zxid: Zxid) -> Wire {
        self.packet(PacketKind::Diff, zxid, None)
    }

    pub fn trunc(self, zxid: Zxid) -> Wire {
        self.packet(PacketKind::Trunc, zxid, None)
    }

    pub fn snap(mut self, zxid: Zxid) -> Wire {
        self = self.packet(PacketKind::Snap, zxid, None);
        self.bytes.extend(image(zxid));
        self.bytes.put_string("BenWasHere");
        self
    }

    pub fn entry(self, kind: PacketKind, entry: &Entry) -> Wire {
        self.packet(kind, entry.header.zxid, Some(&encoded(entry)))
    }

    pub fn proposal(self, zxid: Zxid) -> Wire {
        self.entry(PacketKind::Proposal, &entry(zxid))
    }

    pub fn commit(self, zxid: Zxid) -> Wire {
        self.packet(PacketKind::Commit, zxid, None)
    }

    pub fn inform(self, zxid: Zxid) -> Wire {
        self.entry(PacketKind::Inform, &entry(zxid))
    }

    /// Of what the leader's history holds: each proposed and committed.
    pub fn history(self, zxids: &[Zxid]) -> Wire {
        zxids.iter().fold(self, |wire, zxid| wire.proposal(*zxid).commit(*zxid))
    }

    pub fn proposals(self, zxids: &[Zxid]) -> Wire {
        zxids.iter().fold(self, |wire, zxid| wire.proposal(*zxid))
    }

    pub fn commits(self, zxids: &[Zxid]) -> Wire {
        zxids.iter().fold(self, |wire, zxid| wire.commit(*zxid))
    }

    pub fn informs(self, zxids: &[Zxid]) -> Wire {
        zxids.iter().fold(self, |wire, zxid| wire.inform(*zxid))
    }

    pub fn activate(self, kind: PacketKind, entry: &Entry, leader: i64) -> Wire {
        let bytes = encoded(entry);
        let is_inform = kind == PacketKind::InformAndActivate;
        let record = if is_inform { &bytes[..] } else { &[] };
        let mut data = Vec::new();
        Activation { leader: ServerId(leader), record }.write(&mut data);
        self.packet(kind, entry.header.zxid, Some(&data))
    }

    pub fn new_leader(self, epoch: u32) -> Wire {
        self.packet(PacketKind::NewLeader, Zxid::new(epoch, 0), None)
    }

    pub fn up_to_date(self) -> Wire {
        self.packet(PacketKind::UpToDate, Zxid::NONE, None)
    }

    pub fn ping(self, zxid: Zxid) -> Wire {
        self.packet(PacketKind::Ping, zxid, None)
    }

    pub fn sync(self) -> Wire {
        self.packet(PacketKind::Sync, Zxid::ZERO, None)
    }
}
