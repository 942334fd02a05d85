//! getAllChildrenNumber: how many nodes lie below one, so many a turn. There may be millions.

use std::borrow::Cow;

use crate::auth::Identities;
use crate::base::Xid;
use crate::base::limits::TURN_VISITS;
use crate::proto::{ErrorCode, OpCode, Perms, Request, Writer, write_reply};
use crate::state::NodeId;

use super::read::{ReadContext, Reader, readable};

/// Where somebody has come who counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    counted: usize,
    /// The path of the node that was counted last.
    last: Option<String>,
}

/// Goes on counting, and replies at the end: true. What comes and goes between two turns counts
/// or not, as it lies; every answer is of its node as it is then.
pub fn count(
    context: ReadContext<'_>,
    reader: &Reader<'_>,
    xid: Xid,
    body: &[u8],
    cursor: &mut Count,
    out: &mut Vec<u8>,
) -> bool {
    let counted = match Request::read(OpCode::GetAllChildrenNumber, body) {
        Ok(Request::GetAllChildrenNumber { path }) => {
            descendants(context, reader.ids, path, cursor, TURN_VISITS)
        }
        _ => Err(ErrorCode::MarshallingError),
    };
    let zxid = context.state.last_zxid();
    match counted {
        Ok(None) => return false,
        Ok(Some(count)) => write_reply(out, xid, zxid, ErrorCode::Ok, |out| out.put_i32(count)),
        Err(err) => write_reply(out, xid, zxid, err, |_| {}),
    }
    true
}

/// The number, or nothing where `most` nodes were not all of them.
pub(super) fn descendants(
    context: ReadContext<'_>,
    ids: &Identities,
    path: Option<Cow<'_, str>>,
    cursor: &mut Count,
    most: usize,
) -> Result<Option<i32>, ErrorCode> {
    let path = path.ok_or(ErrorCode::MarshallingError)?;
    let top = readable(context, ids, &path, Perms::READ)?.id();
    let state = context.state;
    let last = cursor.last.take().and_then(|last| state.find(&last));
    if last.is_none() {
        // It begins, or where it had come to there is nothing any more.
        cursor.counted = 0;
    }
    let (counted, last) = state.count_below(top, last, most);
    // The root knows without a walk.
    let walked = if top == NodeId::ROOT { 0 } else { counted };
    context.visits.set(context.visits.get() + walked);
    cursor.counted += counted;
    cursor.last = last.map(|last| state.node(last).path());
    if cursor.last.is_some() {
        return Ok(None);
    }
    // Apache counts the paths that start with "/": under this name the root is one.
    let count = cursor.counted + usize::from(path.is_empty());
    Ok(Some(i32::try_from(count).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::auth::Providers;
    use crate::base::Zxid;
    use crate::proto::NodeStat;
    use crate::state::{State, StateSettings};

    /// Nodes with these paths.
    fn state(paths: &[&str]) -> State {
        let mut loader = State::loader(&StateSettings::default());
        let stat = NodeStat {
            czxid: Zxid(1),
            mzxid: Zxid(1),
            pzxid: Zxid(1),
            ctime: 0,
            mtime: 0,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner: 0,
        };
        paths.iter().for_each(|path| loader.node(path, None, -1, stat).expect("a node"));
        loader.finish(Zxid(1))
    }

    fn go_on(state: &State, path: &str, cursor: &mut Count) -> Result<Option<i32>, ErrorCode> {
        let (providers, visits) = (Providers::new(&Default::default()).unwrap(), Cell::new(0));
        let context = ReadContext { state, providers: &providers, visits: &visits };
        let ids = Identities::of_peer(std::net::Ipv4Addr::LOCALHOST.into());
        let counted = descendants(context, &ids, Some(path.into()), cursor, 2);
        assert!(visits.get() <= 2, "no more than it may");
        counted
    }

    #[test]
    fn it_counts_all_below_a_node_two_by_two() {
        let state = state(&["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/e", "/a/f", "/ab", "/ab/c"]);
        for (path, count, times) in [("/a", 5, 3), ("/a/b", 2, 2), ("/ab", 1, 1), ("/a/f", 0, 1)] {
            let mut cursor = Count::default();
            for _ in 1..times {
                assert_eq!(go_on(&state, path, &mut cursor), Ok(None), "{path}");
            }
            assert_eq!(go_on(&state, path, &mut cursor), Ok(Some(count)), "{path}");
        }
        assert_eq!(go_on(&state, "/", &mut Count::default()), Ok(Some(8 + 3)), "and Apache's own");
        assert_eq!(go_on(&state, "", &mut Count::default()), Ok(Some(9 + 3)));
        assert_eq!(go_on(&state, "/x", &mut Count::default()), Err(ErrorCode::NoNode));
    }

    #[test]
    fn where_it_has_come_to_may_be_gone() {
        let mut cursor = Count::default();
        let before = state(&["/a", "/a/1", "/a/2", "/a/3"]);
        assert_eq!(go_on(&before, "/a", &mut cursor), Ok(None));
        let last = cursor.last.clone().expect("it has come to one");
        let left = ["/a", "/a/1", "/a/2", "/a/3"].into_iter().filter(|path| *path != last);
        let after = state(&left.collect::<Vec<_>>());
        assert_eq!(go_on(&after, "/a", &mut cursor), Ok(None), "it counts from the beginning");
        assert_eq!(go_on(&after, "/a", &mut cursor), Ok(Some(2)));
        let mut cursor = Count::default();
        assert_eq!(go_on(&before, "/a", &mut cursor), Ok(None));
        assert_eq!(go_on(&state(&["/b"]), "/a", &mut cursor), Err(ErrorCode::NoNode));
    }
}
