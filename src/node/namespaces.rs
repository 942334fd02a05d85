//! Bytes read and written by the first part of their path, as `mntr` shows them.

use crate::base::ServerMetrics;
use crate::proto::{DecodeError, MultiOp, OpCode, Reader, Request, Stat};
use crate::state::{Change, Changes, State};

/// Counts what a txn changed.
pub(super) fn count_writes(metrics: &mut ServerMetrics, state: &State, changes: &Changes) {
    // A closing session's ephemerals mostly share their first part.
    let mut last = None;
    // What one part of a multi made another may have removed.
    let is_only = changes.len() == 1;
    for change in changes.iter() {
        let (path, node) = match change {
            Change::Created { path, id, .. } | Change::DataChanged { path, id, .. } => {
                (path, if is_only { Some(id) } else { state.find(path) })
            }
            Change::Deleted { path, .. } => (path, None),
            _ => continue,
        };
        let name = namespace(path.as_bytes()).and_then(|name| std::str::from_utf8(name).ok());
        let Some(name) = name else { continue };
        if last.as_ref().is_none_or(|(known, _)| *known != name) {
            last = metrics.write_per_namespace.at(name).map(|summary| (name, summary));
        }
        let Some((_, summary)) = &mut last else { continue };
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
        OpCode::MultiRead => return count_multi_read(metrics, body, reply),
        _ => return,
    };
    let path = body.split_first_chunk::<4>();
    if let Some(path) = path.and_then(|(n, rest)| rest.get(..u32::from_be_bytes(*n) as usize)) {
        observe_read(metrics, path, content);
    }
}

/// Each read inside counts as if it had come alone; one that failed does not.
fn count_multi_read(metrics: &mut ServerMetrics, body: &[u8], reply: &[u8]) {
    let Ok(Request::MultiRead(ops)) = Request::read(OpCode::MultiRead, body) else { return };
    let results = &mut Reader::new(reply.get(REPLY_HEAD..).unwrap_or_default());
    for op in &ops {
        let Ok(content) = read_content(results) else { return };
        if let MultiOp::GetData { path } | MultiOp::GetChildren { path } = op
            && let (Some(path), Some(content)) = (path, content)
        {
            observe_read(metrics, path.as_bytes(), content);
        }
    }
}

/// The bytes of data or names in the next result; `None` where it is an error.
fn read_content(results: &mut Reader<'_>) -> Result<Option<usize>, DecodeError> {
    let (kind, _, _) = (results.i32()?, results.bool()?, results.i32()?);
    match OpCode::from_number(kind) {
        Some(OpCode::GetData) => {
            let data = results.buffer()?.map_or(0, <[u8]>::len);
            Stat::read(results)?;
            Ok(Some(data))
        }
        Some(OpCode::GetChildren) => {
            let names = results.strings()?.unwrap_or_default();
            Ok(Some(names.iter().map(|name| name.len()).sum()))
        }
        _ => results.i32().map(|_| None),
    }
}

fn observe_read(metrics: &mut ServerMetrics, path: &[u8], content: usize) {
    let name = namespace(path).and_then(|name| std::str::from_utf8(name).ok());
    if let Some(summary) = name.and_then(|name| metrics.read_per_namespace.at(name)) {
        summary.observe((path.len() + content + STAT) as u64);
    }
}

/// The first part of a path; the root has none.
fn namespace(path: &[u8]) -> Option<&[u8]> {
    let rest = path.strip_prefix(b"/")?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

/// A reply's length and header.
const REPLY_HEAD: usize = 20;
/// A stat, which Java counts with every read.
const STAT: usize = 68;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_read_of_a_multi_read_counts() {
        use crate::proto::{ErrorCode, MultiResult, Writer, write_multi_header};
        let (mut body, mut reply) = (Vec::new(), vec![0; REPLY_HEAD]);
        for (kind, path) in [(4, "/a/b"), (8, "/a"), (4, "/none"), (4, "/c")] {
            write_multi_header(&mut body, kind, -1);
            body.put_string(path);
            body.put_bool(false);
        }
        MultiResult::write_end(&mut body);
        write_multi_header(&mut reply, 4, 0);
        reply.put_buffer(Some(&[7; 10]));
        reply.extend([0; STAT]);
        write_multi_header(&mut reply, 8, 0);
        reply.put_i32(2);
        reply.put_string("b");
        reply.put_string("cde");
        MultiResult::Error(ErrorCode::NoNode).write(&mut reply);
        write_multi_header(&mut reply, 4, 0);
        reply.put_buffer(None);
        reply.extend([0; STAT]);
        MultiResult::write_end(&mut reply);
        let mut metrics = ServerMetrics::default();
        count_read(&mut metrics, OpCode::MultiRead, &body, &reply);
        let all: Vec<_> = metrics.read_per_namespace.iter().collect();
        assert_eq!(all.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((all[0].1.count(), all[0].1.sum()), (2, (14 + 6 + 2 * STAT) as u64));
        assert_eq!((all[1].1.count(), all[1].1.sum()), (1, (2 + STAT) as u64));
    }

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
