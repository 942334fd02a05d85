//! Bytes read and written by the first part of their path, as `mntr` shows them.

use crate::base::ServerMetrics;
use crate::proto::OpCode;
use crate::state::{Change, Changes, State};

/// Counts what a txn changed.
pub(super) fn count_writes(metrics: &mut ServerMetrics, state: &State, changes: &Changes) {
    for change in changes.iter() {
        let (path, has_data) = match change {
            Change::Created { path, .. } | Change::DataChanged { path, .. } => (path, true),
            Change::Deleted { path, .. } => (path, false),
            _ => continue,
        };
        let Some(summary) = namespace(path).and_then(|n| metrics.write_per_namespace.at(n)) else {
            continue;
        };
        let node = if has_data { state.find(path) } else { None };
        let data = node.and_then(|id| state.node(id).data().map(<[u8]>::len));
        summary.observe((path.len() + data.unwrap_or(0)) as u64);
    }
}

/// Counts a read that was answered: `body` is its request, `reply` the whole frame.
pub(super) fn count_read(metrics: &mut ServerMetrics, op: OpCode, body: &[u8], reply: &[u8]) {
    let content = match op {
        OpCode::Exists => 0,
        OpCode::GetData => reply.len().saturating_sub(REPLY_HEAD + 4 + STAT),
        OpCode::GetChildren | OpCode::GetChildren2 => {
            let stat = if op == OpCode::GetChildren2 { STAT } else { 0 };
            let count = reply.get(REPLY_HEAD..).and_then(|rest| rest.first_chunk::<4>());
            let count = count.map_or(0, |n| u32::from_be_bytes(*n) as usize);
            reply.len().saturating_sub(REPLY_HEAD + 4 + stat + 4 * count)
        }
        _ => return,
    };
    let path = body.split_first_chunk::<4>().and_then(|(length, rest)| {
        let path = rest.get(..u32::from_be_bytes(*length) as usize)?;
        std::str::from_utf8(path).ok()
    });
    let Some(path) = path else { return };
    if let Some(summary) = namespace(path).and_then(|n| metrics.read_per_namespace.at(n)) {
        summary.observe((path.len() + content + STAT) as u64);
    }
}

/// The first part of a path; the root has none.
fn namespace(path: &str) -> Option<&str> {
    path.split('/').nth(1).filter(|name| !name.is_empty())
}

/// A reply's length and header.
const REPLY_HEAD: usize = 20;
/// A stat, which Java counts with every read.
const STAT: usize = 68;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_count_path_content_and_stat_under_their_first_part() {
        let mut metrics = ServerMetrics::default();
        let body = b"\0\0\0\x04/a/b\0";
        count_read(&mut metrics, OpCode::Exists, body, &[0; 20 + 68]);
        count_read(&mut metrics, OpCode::GetData, body, &[0; 20 + 4 + 10 + 68]);
        let mut children = vec![0; 20 + 4 + 2 * 4 + 5];
        children[23] = 2;
        count_read(&mut metrics, OpCode::GetChildren, body, &children);
        count_read(&mut metrics, OpCode::Exists, b"\0\0\0\x01/\0", &[0; 20 + 68]);
        let all: Vec<_> = metrics.read_per_namespace.iter().collect();
        assert_eq!(all.len(), 1, "the root is under no name");
        assert_eq!((all[0].0, all[0].1.count()), ("a", 3));
        assert_eq!((all[0].1.min(), all[0].1.max()), (4 + 68, 4 + 10 + 68));
    }
}
