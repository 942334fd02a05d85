//! A node's stat as it is kept: Java's `StatPersisted`.

use crate::base::Zxid;

use super::{DecodeError, Reader, Writer};

/// What is kept of a node besides path, data and ACL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStat {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    /// The stored number: the creates below this node. Clients see another, see `NodeRef::stat`.
    pub cversion: i32,
    pub aversion: i32,
    /// A session, or what kind of node this is: see `OwnerKind`.
    pub owner: i64,
}

impl NodeStat {
    /// As it is written.
    pub const BYTES: usize = 60;

    pub fn read(r: &mut Reader<'_>) -> Result<NodeStat, DecodeError> {
        let (czxid, mzxid) = (Zxid(r.i64()?), Zxid(r.i64()?));
        let (ctime, mtime) = (r.i64()?, r.i64()?);
        let (version, cversion, aversion) = (r.i32()?, r.i32()?, r.i32()?);
        let (owner, pzxid) = (r.i64()?, Zxid(r.i64()?));
        Ok(NodeStat { czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner })
    }

    /// The pzxid comes last, unlike in the digest.
    pub fn write(&self, out: &mut Vec<u8>) {
        let longs = [self.czxid.0, self.mzxid.0, self.ctime, self.mtime];
        longs.into_iter().for_each(|long| out.put_i64(long));
        let ints = [self.version, self.cversion, self.aversion];
        ints.into_iter().for_each(|int| out.put_i32(int));
        [self.owner, self.pzxid.0].into_iter().for_each(|long| out.put_i64(long));
    }
}
