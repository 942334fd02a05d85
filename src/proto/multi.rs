//! multi and multiRead: many operations in one request, many results in one reply.

use std::borrow::Cow;

use super::code::ErrorCode;
use super::jute::{DecodeError, Reader, Writer};
use super::reply::Stat;
use super::request::{Create, CreateKind, CreateMode};

/// One operation inside. A create's `kind` is already the one its flags make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp<'a> {
    Create(Create<'a>),
    Delete { path: Option<Cow<'a, str>>, version: i32 },
    SetData { path: Option<Cow<'a, str>>, data: Option<&'a [u8]>, version: i32 },
    Check { path: Option<Cow<'a, str>>, version: i32 },
    GetChildren { path: Option<Cow<'a, str>> },
    GetData { path: Option<Cow<'a, str>> },
}

/// One result, to be written into the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult<'a> {
    Create { path: &'a str },
    Create2 { path: &'a str, stat: Stat },
    Delete,
    SetData { stat: Stat },
    Check,
    Error(ErrorCode),
}

impl MultiResult<'_> {
    pub fn write(&self, out: &mut impl Writer) {
        match self {
            MultiResult::Create { path } => {
                write_header(out, 1, 0);
                out.put_string(path);
            }
            MultiResult::Create2 { path, stat } => {
                write_header(out, 15, 0);
                out.put_string(path);
                stat.write(out);
            }
            MultiResult::Delete => write_header(out, 2, 0),
            MultiResult::SetData { stat } => {
                write_header(out, 5, 0);
                stat.write(out);
            }
            MultiResult::Check => write_header(out, 13, 0),
            MultiResult::Error(code) => {
                write_header(out, -1, code.number());
                out.put_i32(code.number());
            }
        }
    }

    /// After the last result.
    pub fn write_end(out: &mut impl Writer) {
        out.put_i32(-1);
        out.put_bool(true);
        out.put_i32(-1);
    }
}

/// In front of each result. multiRead's results write theirs with it too.
pub fn write_header(out: &mut impl Writer, kind: i32, err: i32) {
    out.put_i32(kind);
    out.put_bool(false);
    out.put_i32(err);
}

fn is_read(op: &MultiOp<'_>) -> bool {
    matches!(op, MultiOp::GetChildren { .. } | MultiOp::GetData { .. })
}

/// The operations of a multi or a multiRead: all write and check, or all read. Which of the two
/// belongs where is for the one who answers to say.
pub fn read_ops<'a>(r: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
    let mut ops: Vec<MultiOp<'a>> = Vec::new();
    loop {
        let (kind, done, _err) = (r.i32()?, r.bool()?, r.i32()?);
        if done {
            return Ok(ops);
        }
        let op = read_op(kind, r)?;
        if ops.first().is_some_and(|first| is_read(first) != is_read(&op)) {
            return Err(DecodeError::Kind(kind));
        }
        ops.push(op);
    }
}

fn read_op<'a>(kind: i32, r: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    Ok(match kind {
        1 => read_create(CreateKind::Create, r)?,
        15 => read_create(CreateKind::Create2, r)?,
        19 => read_create(CreateKind::Container, r)?,
        21 => read_create(CreateKind::Ttl, r)?,
        2 => MultiOp::Delete { path: r.string()?, version: r.i32()? },
        5 => MultiOp::SetData { path: r.string()?, data: r.buffer()?, version: r.i32()? },
        13 => MultiOp::Check { path: r.string()?, version: r.i32()? },
        8 => {
            let path = r.string()?;
            r.bool()?;
            MultiOp::GetChildren { path }
        }
        4 => {
            let path = r.string()?;
            r.bool()?;
            MultiOp::GetData { path }
        }
        other => return Err(DecodeError::Kind(other)),
    })
}

/// The flags decide which create it is: the container flag makes a container, the TTL flags
/// under type 21 a TTL node; otherwise the type is kept, and 21 becomes 1.
fn read_create<'a>(kind: CreateKind, r: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
    let mut create = Create::read(kind, r)?;
    match (kind, create.mode()) {
        (_, Some(CreateMode::Container)) => create.kind = CreateKind::Container,
        (CreateKind::Ttl, Some(mode)) if mode.is_ttl() => {}
        (CreateKind::Ttl, Some(_)) => create.kind = CreateKind::Create,
        // An unknown flag here is that operation's own error.
        (CreateKind::Ttl, None) => {}
        (_, None) => return Err(DecodeError::Value(create.flags)),
        (_, Some(mode)) if mode.is_ttl() => return Err(DecodeError::Value(create.flags)),
        (_, Some(_)) => {}
    }
    if create.kind != CreateKind::Ttl {
        create.ttl = -1;
    }
    Ok(MultiOp::Create(create))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_that_its_flags_make_a_plain_one_has_no_time_to_live() {
        for (flags, kind) in [(0, CreateKind::Create), (4, CreateKind::Container)] {
            let mut bytes: Vec<u8> = Vec::new();
            write_header(&mut bytes, 21, -1);
            bytes.put_string("/plain");
            bytes.put_buffer(None);
            bytes.put_i32(0);
            bytes.put_i32(flags);
            bytes.put_i64(5000);
            MultiResult::write_end(&mut bytes);
            let ops = read_ops(&mut Reader::new(&bytes)).unwrap();
            let [MultiOp::Create(create)] = ops.as_slice() else { panic!("{ops:?}") };
            assert_eq!((create.kind, create.ttl), (kind, -1));
        }
    }
}
