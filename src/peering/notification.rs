//! Notifications: what a server votes for, in the three forms that versions of Java send.

use bytes::Bytes;

use crate::base::{ServerId, Zxid};
use crate::proto::{DecodeError, Reader, Writer, begin_frame, end_frame};

/// What the sender is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum PeerState {
    Looking = 0,
    Following = 1,
    Leading = 2,
    Observing = 3,
}

impl PeerState {
    pub fn from_number(n: i32) -> Option<PeerState> {
        use PeerState::*;
        [Looking, Following, Leading, Observing].get(usize::try_from(n).ok()?).copied()
    }

    pub fn number(self) -> i32 {
        self as i32
    }
}

/// Whom the sender wants, or has, as its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    pub leader: ServerId,
    pub zxid: Zxid,
    /// The sender's round.
    pub election_epoch: i64,
    /// The epoch of the proposed leader.
    pub peer_epoch: i64,
}

/// One message of an election link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    pub state: PeerState,
    pub vote: Vote,
    /// 0 in the forms of before 3.4.6, which do not say, or whose readers do not look.
    pub version: i32,
    /// The text of the sender's configuration, from version 2 on.
    pub config: Option<Bytes>,
    /// The sender says that it is a server of zkd: it decides as soon as no better vote can be on
    /// its way, which a server of Java never does. Said with every word, so that it is true of
    /// whoever has the id now.
    pub is_kin: bool,
}

/// Neither the leader's epoch nor a version.
const OLDEST_BYTES: usize = 28;
/// Both, and no configuration. Its version is 1 and read by nobody.
const OLD_BYTES: usize = 40;
/// What kin say behind the configuration. Java reads as many bytes as the configuration is long and
/// looks at none behind, in every version that has one; before that, at nothing behind the version.
/// No server of Java sends anything there, and none passes on what another has said.
const KIN: &[u8] = b"zkd\x01";

impl Notification {
    /// What servers of today send.
    pub const VERSION: i32 = 2;

    /// Reads the body of a frame. Java goes by its length: 28 and 40 bytes are the old forms, any
    /// other has a version, and a configuration where that is above 1.
    pub fn read(body: &[u8]) -> Result<Notification, DecodeError> {
        let r = &mut Reader::new(body);
        let state = r.i32()?;
        let (leader, zxid, election_epoch) = (ServerId(r.i64()?), Zxid(r.i64()?), r.i64()?);
        let peer_epoch = if body.len() == OLDEST_BYTES { zxid.0 >> 32 } else { r.i64()? };
        let is_old = matches!(body.len(), OLDEST_BYTES | OLD_BYTES);
        let version = if is_old { 0 } else { r.i32()? };
        let config = match version {
            ..=1 => None,
            _ => Some(Bytes::copy_from_slice(r.buffer()?.ok_or(DecodeError::Null)?)),
        };
        let is_kin = config.is_some() && r.rest().starts_with(KIN);
        let state = PeerState::from_number(state).ok_or(DecodeError::Value(state))?;
        let vote = Vote { leader, zxid, election_epoch, peer_epoch };
        Ok(Notification { state, vote, version, config, is_kin })
    }

    /// Writes the body of a frame. Version 0 is the form of 40 bytes; version 1 needs a length of
    /// its own to be read as such.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert_eq!(self.config.is_some(), self.version > 1, "the version says what comes with it");
        assert!(self.config.is_some() || !self.is_kin, "kin have a configuration to say it behind");
        out.put_i32(self.state.number());
        out.put_i64(self.vote.leader.0);
        out.put_i64(self.vote.zxid.0);
        out.put_i64(self.vote.election_epoch);
        out.put_i64(self.vote.peer_epoch);
        if self.version == 0 {
            return out.put_i32(1);
        }
        out.put_i32(self.version);
        out.put_buffer(Some(self.config.as_deref().unwrap_or_default()));
        if self.is_kin {
            out.put_slice(KIN);
        }
    }

    /// Writes it with the length in front, as it goes over a link.
    pub fn write_frame(&self, out: &mut Vec<u8>) {
        let mark = begin_frame(out);
        self.write(out);
        end_frame(out, mark);
    }
}
