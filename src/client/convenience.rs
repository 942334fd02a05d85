//! The operations by name, each there and back.

use crate::proto::{Acl, AddWatchMode, DecodeError, ErrorCode, OpCode, Stat};

use super::answer::{Answer, PartAnswer};
use super::call::{Call, NewNode, Part};
use super::error::Error;
use super::session::Client;

/// Data and its Stat.
pub type DataAndStat = (Option<Vec<u8>>, Stat);

/// The answer was read by its opcode, so another shape cannot come back.
fn odd(op: OpCode) -> Error {
    Error::Decode(DecodeError::Kind(op.number()))
}

impl Client {
    /// Creates a node of any mode; answers its path.
    pub fn create(&mut self, node: NewNode<'_>) -> Result<String, Error> {
        match self.call(&Call::Create(node))? {
            Answer::Path(path) | Answer::Created { path, .. } => Ok(path),
            _ => Err(odd(OpCode::Create)),
        }
    }

    pub fn create2(&mut self, node: NewNode<'_>) -> Result<(String, Stat), Error> {
        match self.call(&Call::Create2(node))? {
            Answer::Created { path, stat } => Ok((path, stat)),
            _ => Err(odd(OpCode::Create2)),
        }
    }

    pub fn delete(&mut self, path: &str, version: i32) -> Result<(), Error> {
        self.call(&Call::Delete { path, version }).map(|_| ())
    }

    /// The node's Stat, or that there is none.
    pub fn exists(&mut self, path: &str, watch: bool) -> Result<Option<Stat>, Error> {
        match self.call(&Call::Exists { path, watch }) {
            Ok(Answer::Stat(stat)) => Ok(Some(stat)),
            Ok(_) => Err(odd(OpCode::Exists)),
            Err(Error::Code(ErrorCode::NoNode)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub fn data(&mut self, path: &str, watch: bool) -> Result<DataAndStat, Error> {
        match self.call(&Call::GetData { path, watch })? {
            Answer::Data { data, stat } => Ok((data, stat)),
            _ => Err(odd(OpCode::GetData)),
        }
    }

    pub fn set_data(&mut self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        match self.call(&Call::SetData { path, data: Some(data), version })? {
            Answer::Stat(stat) => Ok(stat),
            _ => Err(odd(OpCode::SetData)),
        }
    }

    pub fn acl(&mut self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        match self.call(&Call::GetAcl { path })? {
            Answer::Acl { acl, stat } => Ok((acl, stat)),
            _ => Err(odd(OpCode::GetAcl)),
        }
    }

    pub fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Stat, Error> {
        match self.call(&Call::SetAcl { path, acl, version })? {
            Answer::Stat(stat) => Ok(stat),
            _ => Err(odd(OpCode::SetAcl)),
        }
    }

    /// The children's names, in the order the server happened to give them.
    pub fn children(&mut self, path: &str, watch: bool) -> Result<Vec<String>, Error> {
        match self.call(&Call::GetChildren { path, watch })? {
            Answer::Paths(names) => Ok(names),
            _ => Err(odd(OpCode::GetChildren)),
        }
    }

    pub fn descendant_count(&mut self, path: &str) -> Result<i32, Error> {
        match self.call(&Call::GetAllChildrenNumber { path })? {
            Answer::Number(n) => Ok(n),
            _ => Err(odd(OpCode::GetAllChildrenNumber)),
        }
    }

    /// This session's ephemerals whose path starts with `prefix`.
    pub fn ephemerals(&mut self, prefix: &str) -> Result<Vec<String>, Error> {
        match self.call(&Call::GetEphemerals { prefix })? {
            Answer::Paths(paths) => Ok(paths),
            _ => Err(odd(OpCode::GetEphemerals)),
        }
    }

    pub fn sync(&mut self, path: &str) -> Result<(), Error> {
        self.call(&Call::Sync { path }).map(|_| ())
    }

    /// All or nothing. A refused multi answers an error in every part.
    pub fn multi(&mut self, parts: &[Part<'_>]) -> Result<Vec<PartAnswer>, Error> {
        match self.call(&Call::Multi(parts))? {
            Answer::Parts(answers) => Ok(answers),
            _ => Err(odd(OpCode::Multi)),
        }
    }

    pub fn multi_read(&mut self, parts: &[Part<'_>]) -> Result<Vec<PartAnswer>, Error> {
        match self.call(&Call::MultiRead(parts))? {
            Answer::Parts(answers) => Ok(answers),
            _ => Err(odd(OpCode::MultiRead)),
        }
    }

    pub fn add_watch(&mut self, path: &str, mode: AddWatchMode) -> Result<(), Error> {
        self.call(&Call::AddWatch { path, mode }).map(|_| ())
    }

    pub fn remove_watches(&mut self, path: &str, kind: i32) -> Result<(), Error> {
        self.call(&Call::RemoveWatches { path, kind }).map(|_| ())
    }

    /// Scheme and user of every identity of the connection.
    pub fn who_am_i(&mut self) -> Result<Vec<(String, String)>, Error> {
        match self.call(&Call::WhoAmI)? {
            Answer::Users(users) => Ok(users),
            _ => Err(odd(OpCode::WhoAmI)),
        }
    }
}
