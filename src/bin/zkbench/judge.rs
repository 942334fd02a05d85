//! Whether a reply is the right one: its place, its code, its content.

use std::fmt;

use zkd::base::Zxid;
use zkd::proto::{DecodeError, Reader, ReplyHeader, Stat};

use super::traffic::{Op, Traffic};

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub xid: i32,
    pub op: Op,
    /// The key, or the node of the session.
    pub number: u64,
    /// When it was sent, or should have been, in nanoseconds of the run.
    pub at: u64,
}

/// What one session has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub zxid: i64,
    pub write: i64,
}

/// What is wrong with a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Unasked {
        xid: i32,
    },
    Order {
        expected: i32,
        got: i32,
    },
    Code {
        err: i32,
    },
    /// The state that a session sees never goes back, and each of its writes has its own place.
    ZxidBack {
        before: i64,
        got: i64,
    },
    Content(&'static str),
    Bytes(DecodeError),
}

impl From<DecodeError> for Wrong {
    fn from(e: DecodeError) -> Wrong {
        Wrong::Bytes(e)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Unasked { xid } => write!(f, "a reply with xid {xid} that nothing waits for"),
            Wrong::Order { expected, got } => {
                write!(f, "a reply with xid {got} where {expected} is due")
            }
            Wrong::Code { err } => write!(f, "error code {err}"),
            Wrong::ZxidBack { before, got } => {
                write!(f, "zxid 0x{got:x} after the session saw 0x{before:x}")
            }
            Wrong::Content(what) => f.write_str(what),
            Wrong::Bytes(e) => write!(f, "a reply that cannot be read: {e:?}"),
        }
    }
}

/// Judges one reply, which is the body of a frame.
pub fn judge(
    traffic: &Traffic,
    session: u64,
    asked: &Asked,
    seen: &mut Seen,
    frame: &[u8],
) -> Result<(), Wrong> {
    if asked.op == Op::Echo {
        return judge_echo(traffic, asked, frame);
    }
    let mut r = Reader::new(frame);
    let header = ReplyHeader::read(&mut r)?;
    if header.xid.0 != asked.xid {
        return Err(Wrong::Order { expected: asked.xid, got: header.xid.0 });
    }
    if header.err != 0 {
        return Err(Wrong::Code { err: header.err });
    }
    let zxid = header.zxid.0;
    if zxid < seen.zxid {
        return Err(Wrong::ZxidBack { before: seen.zxid, got: zxid });
    }
    seen.zxid = zxid;
    if matches!(asked.op, Op::Set | Op::Create | Op::Delete) {
        if zxid <= seen.write {
            return Err(Wrong::ZxidBack { before: seen.write, got: zxid });
        }
        seen.write = zxid;
    }
    judge_body(traffic, session, asked, header.zxid, &mut r)?;
    if r.is_empty() { Ok(()) } else { Err(Wrong::Content("bytes behind the reply")) }
}

fn judge_body(
    traffic: &Traffic,
    session: u64,
    asked: &Asked,
    zxid: Zxid,
    r: &mut Reader<'_>,
) -> Result<(), Wrong> {
    let holds = |stat: &Stat| stat.data_length as usize == traffic.size && stat.mzxid <= zxid;
    match asked.op {
        Op::Get => {
            let data = r.buffer()?.unwrap_or_default();
            let stat = Stat::read(r)?;
            if !traffic.is_value_of(asked.number, data) {
                return Err(Wrong::Content("data that is not this key's"));
            }
            if !holds(&stat) {
                return Err(Wrong::Content("a Stat that does not fit the data"));
            }
        }
        Op::Exists => {
            if !holds(&Stat::read(r)?) {
                return Err(Wrong::Content("a Stat that does not fit the data"));
            }
        }
        Op::Set => {
            let stat = Stat::read(r)?;
            if !holds(&stat) || stat.mzxid != zxid || stat.version < 1 {
                return Err(Wrong::Content("a Stat that does not fit the set"));
            }
        }
        Op::Create => {
            let path = r.string()?.unwrap_or_default();
            if path != traffic.node_path(session, asked.number) {
                return Err(Wrong::Content("another path than was asked to be created"));
            }
        }
        Op::Delete | Op::Echo => {}
    }
    Ok(())
}

fn judge_echo(traffic: &Traffic, asked: &Asked, frame: &[u8]) -> Result<(), Wrong> {
    let xid = Reader::new(frame).i32()?;
    if xid != asked.xid {
        return Err(Wrong::Order { expected: asked.xid, got: xid });
    }
    if frame.len() != traffic.size + 8 {
        return Err(Wrong::Content("another length than was sent"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use zkd::base::Xid;
    use zkd::proto::{ErrorCode, Writer, write_reply};

    use super::super::traffic::Mix;
    use super::*;

    fn traffic() -> Traffic {
        Traffic::new("/r", Mix::only(Op::Get), 10, 20)
    }

    fn asked(op: Op) -> Asked {
        Asked { xid: 5, op, number: 3, at: 0 }
    }

    fn reply(xid: i32, zxid: i64, err: ErrorCode, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write_reply(&mut out, Xid(xid), Zxid(zxid), err, body);
        out.split_off(4)
    }

    fn stat(mzxid: i64, length: i32) -> Stat {
        Stat { mzxid: Zxid(mzxid), version: 1, data_length: length, ..Stat::default() }
    }

    fn judged(op: Op, seen: &mut Seen, frame: &[u8]) -> Result<(), Wrong> {
        judge(&traffic(), 2, &asked(op), seen, frame)
    }

    #[test]
    fn right_replies_pass() {
        let data = traffic().value_of(3);
        let get = reply(5, 9, ErrorCode::Ok, |out| {
            out.put_buffer(Some(&data));
            stat(9, 20).write(out);
        });
        let set = reply(5, 10, ErrorCode::Ok, |out| stat(10, 20).write(out));
        let made = traffic().node_path(2, 3);
        let create = reply(5, 11, ErrorCode::Ok, |out| out.put_string(&made));
        let delete = reply(5, 12, ErrorCode::Ok, |_| {});
        let seen = &mut Seen::default();
        for (op, frame) in
            [(Op::Get, get), (Op::Set, set), (Op::Create, create), (Op::Delete, delete)]
        {
            assert_eq!(judged(op, seen, &frame), Ok(()), "{op:?}");
        }
        assert_eq!((seen.zxid, seen.write), (12, 12));
    }

    #[test]
    fn another_place_or_code_is_noticed() {
        let set = |xid, err| reply(xid, 10, err, |out| stat(10, 20).write(out));
        let seen = &mut Seen::default();
        let late = judged(Op::Set, seen, &set(6, ErrorCode::Ok));
        assert_eq!(late, Err(Wrong::Order { expected: 5, got: 6 }));
        let refused = judged(Op::Set, seen, &set(5, ErrorCode::NoNode));
        assert_eq!(refused, Err(Wrong::Code { err: -101 }));
        assert_eq!(judged(Op::Set, seen, &[0; 10]), Err(Wrong::Bytes(DecodeError::Short)));
    }

    #[test]
    fn another_content_is_noticed() {
        let seen = &mut Seen::default();
        let other = traffic().value_of(4);
        for (data, length) in [(&other[..], 20), (&other[..5], 20), (&[][..], 0)] {
            let frame = reply(5, 9, ErrorCode::Ok, |out| {
                out.put_buffer(Some(data));
                stat(9, length).write(out);
            });
            assert!(matches!(judged(Op::Get, seen, &frame), Err(Wrong::Content(_))));
        }
        for wrong in [stat(9, 20), stat(10, 21), Stat { version: 0, ..stat(10, 20) }] {
            let frame = reply(5, 10, ErrorCode::Ok, |out| wrong.write(out));
            let judged = judged(Op::Set, &mut Seen::default(), &frame);
            assert!(matches!(judged, Err(Wrong::Content(_))), "{wrong:?}");
        }
        let create = reply(5, 11, ErrorCode::Ok, |out| out.put_string("/r/other"));
        assert!(matches!(judged(Op::Create, seen, &create), Err(Wrong::Content(_))));
        let delete = reply(5, 12, ErrorCode::Ok, |out| out.put_i32(1));
        assert!(matches!(judged(Op::Delete, seen, &delete), Err(Wrong::Content(_))));
    }

    #[test]
    fn a_state_that_goes_back_and_a_write_without_its_own_place_are_noticed() {
        let seen = &mut Seen { zxid: 10, write: 10 };
        let delete = reply(5, 10, ErrorCode::Ok, |_| {});
        assert_eq!(judged(Op::Delete, seen, &delete), Err(Wrong::ZxidBack { before: 10, got: 10 }));
        let exists = reply(5, 9, ErrorCode::Ok, |out| stat(9, 20).write(out));
        assert_eq!(judged(Op::Exists, seen, &exists), Err(Wrong::ZxidBack { before: 10, got: 9 }));
    }

    #[test]
    fn a_reply_cut_short_is_noticed() {
        let whole = reply(5, 10, ErrorCode::Ok, |out| stat(10, 20).write(out));
        for length in 0..whole.len() {
            assert!(judged(Op::Set, &mut Seen::default(), &whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn an_echo_is_judged_by_its_number_and_length() {
        let mut out = Vec::new();
        traffic().append(&mut out, 5, Op::Echo, 0, 0);
        assert_eq!(judged(Op::Echo, &mut Seen::default(), &out[4..]), Ok(()));
        assert!(judged(Op::Echo, &mut Seen::default(), &out[4..out.len() - 1]).is_err());
    }
}
