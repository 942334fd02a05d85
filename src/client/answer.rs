//! Replies taken apart.

use crate::proto::{Acl, DecodeError, OpCode, Reader, Stat};

/// What an operation answered when it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing but success.
    Done,
    /// create, sync.
    Path(String),
    /// create2, and every create of a container or a TTL node.
    Created {
        path: String,
        stat: Stat,
    },
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData, reconfig.
    Data {
        data: Option<Vec<u8>>,
        stat: Stat,
    },
    Acl {
        acl: Vec<Acl>,
        stat: Stat,
    },
    /// getChildren, getEphemerals.
    Paths(Vec<String>),
    Children {
        names: Vec<String>,
        stat: Stat,
    },
    Parts(Vec<PartAnswer>),
    Number(i32),
    /// whoAmI: scheme and user.
    Users(Vec<(String, String)>),
    Token(Option<Vec<u8>>),
}

/// What one operation of a multi or multiRead answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartAnswer {
    Path(String),
    Created { path: String, stat: Stat },
    Deleted,
    Stat(Stat),
    Checked,
    Children(Vec<String>),
    Data { data: Option<Vec<u8>>, stat: Stat },
    Error(i32),
}

impl Answer {
    /// Reads the body of a successful reply to `op`.
    pub fn read(op: OpCode, body: &[u8]) -> Result<Answer, DecodeError> {
        let r = &mut Reader::new(body);
        Ok(match op {
            OpCode::Create | OpCode::Sync => Answer::Path(text(r)?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Answer::Created { path: text(r)?, stat: Stat::read(r)? }
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Answer::Stat(Stat::read(r)?),
            OpCode::GetData | OpCode::Reconfig => {
                Answer::Data { data: bytes(r)?, stat: Stat::read(r)? }
            }
            OpCode::GetAcl => Answer::Acl { acl: Acl::read_list(r)?, stat: Stat::read(r)? },
            OpCode::GetChildren | OpCode::GetEphemerals => Answer::Paths(texts(r)?),
            OpCode::GetChildren2 => Answer::Children { names: texts(r)?, stat: Stat::read(r)? },
            OpCode::Multi | OpCode::MultiRead => Answer::Parts(parts(r)?),
            OpCode::GetAllChildrenNumber => Answer::Number(r.i32()?),
            OpCode::WhoAmI => {
                let users = r.vector(8, |r| Ok((text(r)?, text(r)?)))?;
                Answer::Users(users.unwrap_or_default())
            }
            OpCode::Sasl => Answer::Token(bytes(r)?),
            _ => Answer::Done,
        })
    }
}

fn text(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(r.string()?.ok_or(DecodeError::Null)?.into_owned())
}

fn texts(r: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(r.vector(4, text)?.unwrap_or_default())
}

fn bytes(r: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    Ok(r.buffer()?.map(<[u8]>::to_vec))
}

fn parts(r: &mut Reader<'_>) -> Result<Vec<PartAnswer>, DecodeError> {
    let mut parts = Vec::new();
    loop {
        let (kind, done, _err) = (r.i32()?, r.bool()?, r.i32()?);
        if done {
            return Ok(parts);
        }
        parts.push(match kind {
            -1 => PartAnswer::Error(r.i32()?),
            1 => PartAnswer::Path(text(r)?),
            2 => PartAnswer::Deleted,
            4 => PartAnswer::Data { data: bytes(r)?, stat: Stat::read(r)? },
            5 => PartAnswer::Stat(Stat::read(r)?),
            8 => PartAnswer::Children(texts(r)?),
            13 => PartAnswer::Checked,
            15 => PartAnswer::Created { path: text(r)?, stat: Stat::read(r)? },
            other => return Err(DecodeError::Kind(other)),
        });
    }
}
