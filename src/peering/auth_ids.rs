//! The ids behind a forwarded request: who its client has proved to be.

use std::borrow::Cow;

use crate::proto::{DecodeError, Reader, Writer};

/// One id, nulls and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthId<'a> {
    pub scheme: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
}

impl<'a> AuthId<'a> {
    pub fn new(scheme: &'a str, id: &'a str) -> AuthId<'a> {
        AuthId { scheme: Some(Cow::Borrowed(scheme)), id: Some(Cow::Borrowed(id)) }
    }

    fn read(r: &mut Reader<'a>) -> Result<AuthId<'a>, DecodeError> {
        Ok(AuthId { scheme: r.string()?, id: r.string()? })
    }

    /// A vector of ids; `None` is the null vector.
    pub(super) fn write_list(ids: Option<&[AuthId<'_>]>, out: &mut Vec<u8>) {
        let Some(ids) = ids else { return out.put_i32(-1) };
        out.put_i32(ids.len() as i32);
        for id in ids {
            out.put_opt_string(id.scheme.as_deref());
            out.put_opt_string(id.id.as_deref());
        }
    }
}

/// The ids of one packet, left as they came: nearly no packet has any, and whoever asks for them
/// asks once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthIds<'a> {
    /// The vector, its count included.
    encoded: &'a [u8],
}

impl<'a> AuthIds<'a> {
    /// The null vector, which all packets but requests have.
    pub const NULL: AuthIds<'static> = AuthIds { encoded: &[0xff; 4] };

    /// A vector that somebody has looked through.
    pub(super) fn looked_through(encoded: &'a [u8]) -> AuthIds<'a> {
        AuthIds { encoded }
    }

    pub fn is_null(self) -> bool {
        self.count().is_none()
    }

    pub fn iter(self) -> impl Iterator<Item = AuthId<'a>> {
        let mut r = Reader::new(self.encoded);
        let count = r.count().ok().flatten().unwrap_or_default();
        (0..count).map_while(move |_| AuthId::read(&mut r).ok())
    }

    fn count(self) -> Option<usize> {
        Reader::new(self.encoded).count().ok().flatten()
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_slice(self.encoded);
    }
}
