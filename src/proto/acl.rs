//! Access control entries.

use std::borrow::Cow;

use super::jute::{DecodeError, Reader, Writer};

/// Permission bits. Not validated on the wire: 0 and more than 31 are stored as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Perms(pub i32);

impl Perms {
    pub const READ: Perms = Perms(1);
    pub const WRITE: Perms = Perms(2);
    pub const CREATE: Perms = Perms(4);
    pub const DELETE: Perms = Perms(8);
    pub const ADMIN: Perms = Perms(16);
    pub const ALL: Perms = Perms(31);

    pub fn intersects(self, other: Perms) -> bool {
        self.0 & other.0 != 0
    }

    pub fn with(self, other: Perms) -> Perms {
        Perms(self.0 | other.0)
    }
}

/// One entry as stored: fixed up, no nulls.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    pub perms: Perms,
    pub scheme: String,
    pub id: String,
}

impl Acl {
    pub fn new(perms: Perms, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    /// `world:anyone` with every permission.
    pub fn open() -> Acl {
        Acl::new(Perms::ALL, "world", "anyone")
    }

    pub fn is_anyone(&self) -> bool {
        self.scheme == "world" && self.id == "anyone"
    }

    pub fn read(r: &mut Reader<'_>) -> Result<Acl, DecodeError> {
        let perms = Perms(r.i32()?);
        let scheme = r.string()?.unwrap_or_default().into_owned();
        let id = r.string()?.unwrap_or_default().into_owned();
        Ok(Acl { perms, scheme, id })
    }

    pub fn read_list(r: &mut Reader<'_>) -> Result<Vec<Acl>, DecodeError> {
        Ok(r.vector(12, Acl::read)?.unwrap_or_default())
    }

    pub fn write(&self, out: &mut impl Writer) {
        out.put_i32(self.perms.0);
        out.put_string(&self.scheme);
        out.put_string(&self.id);
    }

    pub fn write_list(list: &[Acl], out: &mut impl Writer) {
        out.put_i32(list.len() as i32);
        list.iter().for_each(|acl| acl.write(out));
    }
}

/// One entry as a client sent it, nulls and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAcl<'a> {
    pub perms: Perms,
    pub scheme: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
}

impl<'a> RawAcl<'a> {
    pub fn read(r: &mut Reader<'a>) -> Result<RawAcl<'a>, DecodeError> {
        Ok(RawAcl { perms: Perms(r.i32()?), scheme: r.string()?, id: r.string()? })
    }

    /// A vector of entries; `None` is the null vector.
    pub fn read_list(r: &mut Reader<'a>) -> Result<Option<Vec<RawAcl<'a>>>, DecodeError> {
        r.vector(12, RawAcl::read)
    }
}
