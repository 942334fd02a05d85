//! What quorum packets carry. What carries a txn carries an entry of the log as it is.

use crate::base::{ServerId, SessionId};
use crate::proto::{DecodeError, Reader, Writer};

/// The version of the protocol in which epochs are agreed on before anything else. There is no
/// later one.
pub const LEARNER_PROTOCOL: i32 = 0x10000;

/// What a learner says of itself first, in FOLLOWERINFO and OBSERVERINFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerInfo {
    pub server: ServerId,
    pub protocol: i32,
    /// Of the configuration that it has activated. Not said by versions before 3.5.
    pub config_version: Option<i64>,
}

impl LearnerInfo {
    /// The protocol of a learner that names none.
    const UNNAMED: i32 = 1;

    /// Each version added a field at the end; what is there of one is not enough to be read.
    pub fn read(data: &[u8]) -> Result<LearnerInfo, DecodeError> {
        let r = &mut Reader::new(data);
        let server = ServerId(r.i64()?);
        let protocol = r.i32().unwrap_or(LearnerInfo::UNNAMED);
        Ok(LearnerInfo { server, protocol, config_version: r.i64().ok() })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.server.0);
        out.put_i32(self.protocol);
        if let Some(version) = self.config_version {
            out.put_i64(version);
        }
    }
}

/// What a leader answers in LEADERINFO, beside the epoch that its zxid proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    pub protocol: i32,
}

impl LeaderInfo {
    pub fn read(data: &[u8]) -> Result<LeaderInfo, DecodeError> {
        Ok(LeaderInfo { protocol: Reader::new(data).i32()? })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.protocol);
    }
}

/// What a learner answers in ACKEPOCH, beside the zxid it has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEpoch {
    /// `None` where it had accepted the proposed epoch before: this is no vote for it.
    pub current_epoch: Option<i64>,
}

impl AckEpoch {
    pub fn read(data: &[u8]) -> Result<AckEpoch, DecodeError> {
        let current_epoch = match Reader::new(data).i32()? {
            -1 => None,
            n if n < 0 => return Err(DecodeError::Value(n)),
            n => Some(i64::from(n)),
        };
        Ok(AckEpoch { current_epoch })
    }

    /// Epochs are the upper half of a zxid and have no more room here.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.current_epoch.map_or(-1, |epoch| epoch as i32));
    }
}

/// A learner asks whether a session lives, whose client has come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revalidate {
    pub session: SessionId,
    pub timeout_ms: i32,
}

impl Revalidate {
    pub fn read(data: &[u8]) -> Result<Revalidate, DecodeError> {
        let r = &mut Reader::new(data);
        Ok(Revalidate { session: SessionId(r.i64()?), timeout_ms: r.i32()? })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.session.0);
        out.put_i32(self.timeout_ms);
    }
}

/// The leader's answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revalidated {
    pub session: SessionId,
    pub is_valid: bool,
}

impl Revalidated {
    pub fn read(data: &[u8]) -> Result<Revalidated, DecodeError> {
        let r = &mut Reader::new(data);
        Ok(Revalidated { session: SessionId(r.i64()?), is_valid: r.bool()? })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.session.0);
        out.put_bool(self.is_valid);
    }
}

/// A session whose client was heard since the last ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub session: SessionId,
    pub timeout_ms: i32,
}

/// The bytes of one touch.
const TOUCH_BYTES: usize = 12;

/// The touches in a learner's answer to a ping.
pub fn read_touches(data: &[u8]) -> Result<impl Iterator<Item = Touch>, DecodeError> {
    if data.len() % TOUCH_BYTES != 0 {
        return Err(DecodeError::Short);
    }
    let mut r = Reader::new(data);
    let touch =
        move || Some(Touch { session: SessionId(r.i64().ok()?), timeout_ms: r.i32().ok()? });
    Ok(std::iter::from_fn(touch))
}

pub fn write_touches(touches: impl IntoIterator<Item = Touch>, out: &mut Vec<u8>) {
    for touch in touches {
        out.put_i64(touch.session.0);
        out.put_i32(touch.timeout_ms);
    }
}

/// COMMITANDACTIVATE and INFORMANDACTIVATE: who leads under the configuration that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation<'a> {
    pub leader: ServerId,
    /// The entry, which an observer has not seen before; empty toward followers.
    pub record: &'a [u8],
}

impl<'a> Activation<'a> {
    pub fn read(data: &'a [u8]) -> Result<Activation<'a>, DecodeError> {
        let r = &mut Reader::new(data);
        Ok(Activation { leader: ServerId(r.i64()?), record: r.rest() })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.leader.0);
        out.put_slice(self.record);
    }
}

/// A client's request as a learner forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    pub session: SessionId,
    pub cxid: i32,
    /// As the client sent it: whether there is such an operation, the leader decides.
    pub op: i32,
    pub body: &'a [u8],
}

impl<'a> Forwarded<'a> {
    pub fn read(data: &'a [u8]) -> Result<Forwarded<'a>, DecodeError> {
        let r = &mut Reader::new(data);
        let (session, cxid, op) = (SessionId(r.i64()?), r.i32()?, r.i32()?);
        Ok(Forwarded { session, cxid, op, body: r.rest() })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i64(self.session.0);
        out.put_i32(self.cxid);
        out.put_i32(self.op);
        out.put_slice(self.body);
    }
}
