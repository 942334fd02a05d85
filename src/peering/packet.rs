//! Quorum packets: what leaders and learners say to each other.

use crate::base::Zxid;
use crate::proto::{DecodeError, Writer, begin_frame, end_frame};

use super::auth_ids::{AuthId, AuthIds};
use super::bodies::Forwarded;

/// Types by their number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum PacketKind {
    Request = 1,
    Proposal = 2,
    Ack = 3,
    Commit = 4,
    Ping = 5,
    Revalidate = 6,
    Sync = 7,
    Inform = 8,
    CommitAndActivate = 9,
    NewLeader = 10,
    FollowerInfo = 11,
    UpToDate = 12,
    Diff = 13,
    Trunc = 14,
    Snap = 15,
    ObserverInfo = 16,
    LeaderInfo = 17,
    AckEpoch = 18,
    InformAndActivate = 19,
}

impl PacketKind {
    /// Ascending, without a gap.
    pub const ALL: [PacketKind; 19] = {
        use PacketKind::*;
        [
            Request,
            Proposal,
            Ack,
            Commit,
            Ping,
            Revalidate,
            Sync,
            Inform,
            CommitAndActivate,
            NewLeader,
            FollowerInfo,
            UpToDate,
            Diff,
            Trunc,
            Snap,
            ObserverInfo,
            LeaderInfo,
            AckEpoch,
            InformAndActivate,
        ]
    };

    pub fn from_number(n: i32) -> Option<PacketKind> {
        PacketKind::ALL.get(usize::try_from(n).ok()?.checked_sub(1)?).copied()
    }

    pub fn number(self) -> i32 {
        self as i32
    }
}

/// One packet, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub kind: PacketKind,
    pub zxid: Zxid,
    /// Null and empty are different things.
    pub data: Option<&'a [u8]>,
    /// Null in all but requests.
    pub ids: AuthIds<'a>,
}

impl<'a> Packet<'a> {
    pub fn new(kind: PacketKind, zxid: Zxid, data: Option<&'a [u8]>) -> Packet<'a> {
        Packet { kind, zxid, data, ids: AuthIds::NULL }
    }

    /// The data of a packet that must have some.
    pub fn body(&self) -> Result<&'a [u8], DecodeError> {
        self.data.ok_or(DecodeError::Null)
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        write_head(self.kind, self.zxid, out);
        out.put_buffer(self.data);
        self.ids.write(out);
    }
}

fn write_head(kind: PacketKind, zxid: Zxid, out: &mut Vec<u8>) {
    out.put_i32(kind.number());
    out.put_i64(zxid.0);
}

/// A packet without ids.
pub fn write_packet(kind: PacketKind, zxid: Zxid, data: Option<&[u8]>, out: &mut Vec<u8>) {
    Packet::new(kind, zxid, data).write(out);
}

/// A packet without ids whose data `body` writes.
pub fn write_packet_with(
    kind: PacketKind,
    zxid: Zxid,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    write_head(kind, zxid, out);
    let mark = begin_frame(out);
    body(out);
    end_frame(out, mark);
    AuthIds::NULL.write(out);
}

/// A client's request on its way to the leader, with what the client has proved; `None` where
/// there is no client yet, as in createSession.
pub fn write_request(request: &Forwarded<'_>, ids: Option<&[AuthId<'_>]>, out: &mut Vec<u8>) {
    write_head(PacketKind::Request, Zxid::NONE, out);
    let mark = begin_frame(out);
    request.write(out);
    end_frame(out, mark);
    AuthId::write_list(ids, out);
}
