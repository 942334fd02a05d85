//! multiRead: several reads in one request, each with its own result.

use crate::auth::Identities;
use crate::base::limits::MULTI_READ_BYTES;
use crate::proto::{ErrorCode, MultiOp, MultiResult, Perms, Writer, write_multi_header};

use super::read::{ReadContext, readable, write_children};

/// Writes the results. With a write inside, the answer is an error that yet has a body: the end
/// marker alone. An answer beyond all bounds is an error without one.
pub(super) fn answer(
    context: ReadContext<'_>,
    ids: &Identities,
    ops: Vec<MultiOp<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let is_read =
        |op: &MultiOp<'_>| matches!(op, MultiOp::GetData { .. } | MultiOp::GetChildren { .. });
    if !ops.iter().all(is_read) {
        MultiResult::write_end(out);
        return Err(ErrorCode::MarshallingError);
    }
    let start = out.len();
    for op in &ops {
        if out.len() - start > MULTI_READ_BYTES {
            out.truncate(start);
            return Err(ErrorCode::MarshallingError);
        }
        if let Err(code) = answer_one(context, ids, op, out) {
            MultiResult::Error(code).write(out);
        }
    }
    MultiResult::write_end(out);
    Ok(())
}

fn answer_one(
    context: ReadContext<'_>,
    ids: &Identities,
    op: &MultiOp<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ErrorCode> {
    let (MultiOp::GetData { path } | MultiOp::GetChildren { path }) = op else {
        return Err(ErrorCode::MarshallingError);
    };
    let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
    let node = readable(context, ids, path, Perms::READ)?;
    if matches!(op, MultiOp::GetChildren { .. }) {
        write_multi_header(out, 8, 0);
        write_children(&node, out);
    } else {
        write_multi_header(out, 4, 0);
        out.put_buffer(node.data());
        node.stat().write(out);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::auth::Providers;
    use crate::base::Zxid;
    use crate::proto::NodeStat;
    use crate::state::{State, StateSettings};

    const LARGE: usize = 1_000_000;

    fn read_often(times: usize) -> (Result<(), ErrorCode>, usize) {
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
        loader.node("/large", Some(&vec![7; LARGE]), -1, stat).unwrap();
        let (state, providers) = (loader.finish(Zxid(1)), Providers::new(&Default::default()));
        let (providers, visits) = (providers.unwrap(), Cell::new(0));
        let context = ReadContext { state: &state, providers: &providers, visits: &visits };
        let ids = Identities::of_peer(std::net::Ipv4Addr::LOCALHOST.into());
        let ops = (0..times).map(|_| MultiOp::GetData { path: Some("/large".into()) }).collect();
        let mut out = vec![1, 2, 3];
        let said = answer(context, &ids, ops, &mut out);
        (said, out.len() - 3)
    }

    #[test]
    fn a_large_node_read_too_often_is_an_error_and_not_the_servers_memory() {
        let (said, bytes) = read_often(60);
        assert!(said.is_ok() && bytes > 60 * LARGE, "{bytes}");
        assert_eq!(read_often(300), (Err(ErrorCode::MarshallingError), 0));
    }
}
