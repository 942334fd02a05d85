//! The session handshake.

use crate::base::{SessionId, Zxid};

use super::jute::{DecodeError, Reader, Writer};

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    pub protocol_version: i32,
    pub last_zxid_seen: Zxid,
    pub timeout_ms: i32,
    pub session: SessionId,
    pub password: Option<&'a [u8]>,
    /// Absent in requests of clients before 3.4; the response then has no such byte either.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    pub fn read(frame: &'a [u8]) -> Result<ConnectRequest<'a>, DecodeError> {
        let mut r = Reader::new(frame);
        Ok(ConnectRequest {
            protocol_version: r.i32()?,
            last_zxid_seen: Zxid(r.i64()?),
            timeout_ms: r.i32()?,
            session: SessionId(r.i64()?),
            password: r.buffer()?,
            read_only: if r.is_empty() { None } else { Some(r.bool()?) },
        })
    }

    pub fn write(&self, out: &mut impl Writer) {
        out.put_i32(self.protocol_version);
        out.put_i64(self.last_zxid_seen.0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.0);
        out.put_buffer(self.password);
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

/// The answer to it. A refusal has timeout 0, session 0 and sixteen zero bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    pub timeout_ms: i32,
    pub session: SessionId,
    pub password: [u8; 16],
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    pub fn refusal(read_only: Option<bool>) -> ConnectResponse {
        let session = SessionId::NONE;
        ConnectResponse { timeout_ms: 0, session, password: [0; 16], read_only }
    }

    pub fn write(&self, out: &mut impl Writer) {
        out.put_i32(0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.0);
        out.put_buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    pub fn read(frame: &[u8]) -> Result<ConnectResponse, DecodeError> {
        let mut r = Reader::new(frame);
        let _protocol_version = r.i32()?;
        let timeout_ms = r.i32()?;
        let session = SessionId(r.i64()?);
        let bytes = r.buffer()?.ok_or(DecodeError::Null)?;
        let password = bytes.try_into().map_err(|_| DecodeError::Length(bytes.len() as i32))?;
        let read_only = if r.is_empty() { None } else { Some(r.bool()?) };
        Ok(ConnectResponse { timeout_ms, session, password, read_only })
    }
}
