//! What a server should send, and whether it did.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::wire::{In, Out};

/// Times a server may be away from this test's clock.
const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The time of the txn with this zxid.
    Time(i64),
    /// Items in any order, each of so many fields: a bare int where the flag says so, then
    /// length-prefixed ones.
    AnyOrder {
        ints: usize,
        fields: usize,
        items: Vec<Vec<u8>>,
    },
}

impl Piece {
    pub fn int(v: i32) -> Piece {
        Piece::Bytes(v.to_be_bytes().to_vec())
    }

    pub fn long(v: i64) -> Piece {
        Piece::Bytes(v.to_be_bytes().to_vec())
    }

    pub fn bool(v: bool) -> Piece {
        Piece::Bytes(vec![u8::from(v)])
    }

    pub fn buf(v: Option<&[u8]>) -> Piece {
        let mut out = Out::default();
        out.buf(v);
        Piece::Bytes(out.0)
    }

    pub fn str(v: &str) -> Piece {
        Piece::buf(Some(v.as_bytes()))
    }

    /// Strings of a Java hash set.
    pub fn set(items: Vec<String>) -> Vec<Piece> {
        let coded = |s: &String| {
            let mut out = Out::default();
            out.str(s);
            out.0
        };
        let items: Vec<Vec<u8>> = items.iter().map(coded).collect();
        vec![Piece::int(items.len() as i32), Piece::AnyOrder { ints: 0, fields: 1, items }]
    }
}

/// One frame that is due on a connection.
#[derive(Clone, Debug)]
pub struct Expect {
    pub what: String,
    pub pieces: Vec<Piece>,
    /// Events of one closing session come in any order among themselves.
    pub any_order: bool,
}

/// The times that txns were seen to have.
#[derive(Debug, Default)]
pub struct Times(BTreeMap<i64, i64>);

impl Times {
    fn check(&mut self, zxid: i64, time: i64) -> Result<(), String> {
        if zxid == 0 {
            return if time == 0 { Ok(()) } else { Err(format!("time {time} of no txn")) };
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        if (since.as_millis() as i64 - time).abs() > HOUR_MS {
            return Err(format!("time {time} is no time of today"));
        }
        let known = *self.0.entry(zxid).or_insert(time);
        if known != time {
            return Err(format!("txn {zxid:#x} had time {known}, now {time}"));
        }
        Ok(())
    }
}

impl Expect {
    pub fn check(&self, frame: &[u8], times: &mut Times) -> Result<(), String> {
        let mut left = In(frame);
        let total = frame.len();
        for piece in &self.pieces {
            let at = total - left.0.len();
            self.check_piece(piece, &mut left, times).map_err(|e| {
                let shown = hex(frame);
                format!(
                    "{}: byte {at}: {e}\n    frame {shown}\n    due {:?}",
                    self.what, self.pieces
                )
            })?;
        }
        if left.0.is_empty() {
            return Ok(());
        }
        Err(format!("{}: {} bytes too many: {}", self.what, left.0.len(), hex(frame)))
    }

    fn check_piece(&self, piece: &Piece, left: &mut In, times: &mut Times) -> Result<(), String> {
        match piece {
            Piece::Bytes(due) => {
                let got = left.take(due.len())?;
                if got != due.as_slice() {
                    return Err(format!("{} where {} is due", hex(got), hex(due)));
                }
                Ok(())
            }
            Piece::Time(zxid) => times.check(*zxid, left.long()?),
            Piece::AnyOrder { ints, fields, items } => {
                let mut got = Vec::new();
                for _ in items {
                    let mut item = left.take(4 * ints)?.to_vec();
                    for _ in 0..*fields {
                        item.extend_from_slice(left.field()?);
                    }
                    got.push(item);
                }
                let mut due = items.clone();
                due.sort();
                got.sort();
                if got != due {
                    return Err(format!("set {got:?} where {due:?} is due"));
                }
                Ok(())
            }
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A reply's header as one piece.
pub fn header(xid: i32, zxid: i64, err: i32) -> Piece {
    let mut out = Out::default();
    out.int(xid).long(zxid).int(err);
    Piece::Bytes(out.0)
}
