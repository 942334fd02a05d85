//! The lists of a setWatches, a few paths at a time: there may be a hundred thousand.

use crate::base::Zxid;

use super::jute::{DecodeError, Reader};
use super::request::{OpCode, SetWatches};

/// Where somebody has come who goes through a setWatches. It belongs to one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    relative_zxid: Zxid,
    lists: usize,
    /// Lists begun, paths left in the last of them, bytes of the body behind us.
    begun: usize,
    left: usize,
    at: usize,
}

impl CatchUp {
    /// Looks through the whole body first: one that is malformed has no effect.
    pub fn begin(op: OpCode, body: &[u8]) -> Result<CatchUp, DecodeError> {
        let lists = if op == OpCode::SetWatches2 { 5 } else { 3 };
        let mut r = Reader::new(body);
        let relative_zxid = Zxid(r.i64()?);
        let at = body.len() - r.rest().len();
        for _ in 0..lists {
            for _ in 0..count(&mut r)? {
                r.buffer()?.ok_or(DecodeError::Null)?;
            }
        }
        Ok(CatchUp { relative_zxid, lists, begun: 0, left: 0, at })
    }

    /// The next few paths, in the lists they stand in.
    pub fn next<'a>(&mut self, body: &'a [u8], most: usize) -> SetWatches<'a> {
        let (relative_zxid, mut taken) = (self.relative_zxid, 0);
        let mut set = SetWatches { relative_zxid, ..SetWatches::default() };
        let mut r = Reader::new(&body[self.at..]);
        while taken < most && !self.is_done() {
            if self.left == 0 {
                self.left = count(&mut r).expect(LOOKED_THROUGH);
                self.begun += 1;
                continue;
            }
            let path = r.string().ok().flatten().expect(LOOKED_THROUGH);
            let lists = [
                &mut set.data,
                &mut set.exist,
                &mut set.child,
                &mut set.persistent,
                &mut set.persistent_recursive,
            ];
            lists.into_iter().nth(self.begun - 1).expect("one of its lists").push(path);
            self.left -= 1;
            taken += 1;
        }
        self.at = body.len() - r.rest().len();
        set
    }

    pub fn is_done(&self) -> bool {
        self.begun == self.lists && self.left == 0
    }
}

fn count(r: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let count = r.count()?.ok_or(DecodeError::Null)?;
    if count > r.rest().len() / 4 { Err(DecodeError::Short) } else { Ok(count) }
}

const LOOKED_THROUGH: &str = "the body was looked through";

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::proto::{Request, Writer};

    fn body(lists: &[Vec<String>]) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(7);
        for list in lists {
            body.put_i32(list.len() as i32);
            list.iter().for_each(|path| body.put_string(path));
        }
        body
    }

    proptest! {
        #[test]
        fn some_at_a_time_are_all_of_them(
            lists in vec(vec("(/[a-zé]{0,3}){0,3}", 0..6), 5), most in 1usize..8, two: bool
        ) {
            let lists = &lists[..if two { 5 } else { 3 }];
            let op = if two { OpCode::SetWatches2 } else { OpCode::SetWatches };
            let body = body(lists);
            let mut cursor = CatchUp::begin(op, &body).expect("sound");
            let mut all = SetWatches { relative_zxid: Zxid(7), ..SetWatches::default() };
            while !cursor.is_done() {
                let some = cursor.next(&body, most);
                prop_assert_eq!(some.relative_zxid, Zxid(7));
                all.data.extend(some.data);
                all.exist.extend(some.exist);
                all.child.extend(some.child);
                all.persistent.extend(some.persistent);
                all.persistent_recursive.extend(some.persistent_recursive);
            }
            prop_assert_eq!(Request::read(op, &body), Ok(Request::SetWatches(all)));
        }

        #[test]
        fn what_cannot_be_read_whole_is_not_begun(
            bytes in vec(any::<u8>(), 0..60), cut in 0usize..60, two: bool
        ) {
            let op = if two { OpCode::SetWatches2 } else { OpCode::SetWatches };
            let mut sound = body(&vec![vec!["/a".to_owned()]; 5]);
            sound.truncate(cut);
            for bytes in [bytes, sound] {
                let whole = Request::read(op, &bytes);
                prop_assert_eq!(CatchUp::begin(op, &bytes).is_ok(), whole.is_ok());
            }
        }
    }
}
