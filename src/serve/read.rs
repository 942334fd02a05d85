//! Reads, answered from the applied state into the turn's arena.

use std::borrow::Cow;
use std::cell::Cell;

use crate::auth::{Identities, Providers};
use crate::base::limits::{SET_WATCHES_PATHS_PER_TURN, TURN_ARENA_BYTES};
use crate::base::{ConnId, SessionId, Xid, Zxid};
use crate::proto::{
    Acl, CatchUp, ErrorCode, OpCode, Perms, ReplyHeader, Request, Stat, Writer, begin_frame,
    end_frame, write_event, write_reply,
};
use crate::state::{NodeRef, State};
use crate::watch::{Table, WatchTable};

use super::count::{Count, descendants};
use super::multi_read;

/// What a read may look at.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    pub state: &'a State,
    pub providers: &'a Providers,
    /// Counts the nodes that are gone through for answers which may be short all the same.
    pub visits: &'a Cell<usize>,
}

/// Who reads.
pub struct Reader<'a> {
    pub conn: ConnId,
    pub session: SessionId,
    pub ids: &'a Identities,
}

type Path<'a> = Option<Cow<'a, str>>;

/// Answers one read: events that setWatches catches up with, then the reply, all into `out`.
/// Returns what the header says and which zxid it carries.
pub fn answer(
    context: ReadContext<'_>,
    watches: &mut WatchTable,
    reader: &Reader<'_>,
    xid: Xid,
    op: OpCode,
    body: &[u8],
    out: &mut Vec<u8>,
) -> ErrorCode {
    let request = Request::read(op, body);
    if let Ok(Request::SetWatches(set)) = &request {
        watches.set_watches(reader.conn, context.state, set, &mut |kind, path| {
            write_event(out, Zxid::NONE, kind, path);
        });
    }
    let mark = begin_frame(out);
    let header_at = out.len();
    let zxid = context.state.last_zxid();
    ReplyHeader { xid, zxid, err: 0 }.write(out);
    let body_at = out.len();
    let result = match request {
        Err(_) => Err(ErrorCode::MarshallingError),
        Ok(request) => Answer { context, reader, out: &mut *out }.of(watches, request),
    };
    let err = match result {
        Ok(()) => ErrorCode::Ok,
        Err(err) => {
            // A multiRead with a write inside answers with an error and yet a body.
            let keep = op == OpCode::MultiRead && out.len() > body_at;
            if !keep {
                out.truncate(body_at);
            }
            out[header_at + 12..header_at + 16].copy_from_slice(&err.number().to_be_bytes());
            err
        }
    };
    end_frame(out, mark);
    err
}

/// Goes on with a setWatches of many paths: events that it catches up with, and behind the last
/// of them the reply. What changes between two slices is told either way: paths behind the cursor
/// are watched already, those before it are looked at later.
pub fn catch_up(
    context: ReadContext<'_>,
    watches: &mut WatchTable,
    reader: &Reader<'_>,
    xid: Xid,
    body: &[u8],
    cursor: &mut CatchUp,
    out: &mut Vec<u8>,
) {
    let set = cursor.next(body, SET_WATCHES_PATHS_PER_TURN);
    context.visits.set(context.visits.get() + SET_WATCHES_PATHS_PER_TURN);
    watches.set_watches(reader.conn, context.state, &set, &mut |kind, path| {
        write_event(out, Zxid::NONE, kind, path);
    });
    if cursor.is_done() {
        write_reply(out, xid, context.state.last_zxid(), ErrorCode::Ok, |_| {});
    }
}

struct Answer<'a> {
    context: ReadContext<'a>,
    reader: &'a Reader<'a>,
    out: &'a mut Vec<u8>,
}

impl<'a> Answer<'a> {
    fn of(mut self, watches: &mut WatchTable, request: Request<'_>) -> Result<(), ErrorCode> {
        match request {
            Request::Ping | Request::SetWatches(_) => Ok(()),
            Request::Exists { path, watch } => self.exists(watches, path, watch),
            Request::GetData { path, watch } => self.data(watches, path, watch),
            Request::GetChildren { path, watch } => self.children(watches, path, watch, false),
            Request::GetChildren2 { path, watch } => self.children(watches, path, watch, true),
            Request::GetAcl { path } => self.acl(path),
            Request::Sync { path } => {
                self.out.put_opt_string(path.as_deref());
                Ok(())
            }
            Request::GetEphemerals { prefix } => self.ephemerals(prefix),
            Request::GetAllChildrenNumber { path } => self.descendants(path),
            Request::WhoAmI => self.who_am_i(),
            Request::MultiRead(ops) => {
                multi_read::answer(self.context, self.reader.ids, ops, self.out)
            }
            Request::AddWatch { path, mode } => {
                // A null path is a good answer and a watch on nothing.
                if let Some(path) = path {
                    watches.add_persistent(self.reader.conn, self.context.state, &path, mode);
                }
                self.out.put_i32(0);
                Ok(())
            }
            Request::CheckWatches { path, kind } => {
                let path = known_kind(path, kind)?;
                found(watches.has(self.reader.conn, self.context.state, &path, kind))
            }
            Request::RemoveWatches { path, kind } => {
                let path = known_kind(path, kind)?;
                found(watches.remove(self.reader.conn, self.context.state, &path, kind))
            }
            // Whoever routes requests sends only reads here.
            other => unreachable!("not a read: {other:?}"),
        }
    }

    fn node(&self, path: &str, wanted: Perms) -> Result<NodeRef<'a>, ErrorCode> {
        readable(self.context, self.reader.ids, path, wanted)
    }

    fn exists(
        &mut self,
        watches: &mut WatchTable,
        path: Path<'_>,
        watch: bool,
    ) -> Result<(), ErrorCode> {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.node(&path, Perms::READ);
        if watch && !matches!(node, Err(ErrorCode::NoAuth)) {
            watches.add(self.reader.conn, self.context.state, &path, Table::Data);
        }
        node?.stat().write(self.out);
        Ok(())
    }

    fn data(
        &mut self,
        watches: &mut WatchTable,
        path: Path<'_>,
        watch: bool,
    ) -> Result<(), ErrorCode> {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        let node = self.node(&path, Perms::READ)?;
        if watch {
            watches.add(self.reader.conn, self.context.state, &path, Table::Data);
        }
        self.out.put_buffer(node.data());
        node.stat().write(self.out);
        Ok(())
    }

    fn children(
        &mut self,
        watches: &mut WatchTable,
        path: Path<'_>,
        watch: bool,
        with_stat: bool,
    ) -> Result<(), ErrorCode> {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        let node = self.node(&path, Perms::READ)?;
        if watch {
            watches.add(self.reader.conn, self.context.state, &path, Table::Child);
        }
        write_children(&node, self.out);
        if with_stat {
            node.stat().write(self.out);
        }
        Ok(())
    }

    fn acl(&mut self, path: Path<'_>) -> Result<(), ErrorCode> {
        let path = path.ok_or(ErrorCode::MarshallingError)?;
        let node = self.node(&path, Perms::READ.with(Perms::ADMIN))?;
        let acl = node.acl();
        let ids = self.reader.ids;
        if self.context.providers.permits(acl, Perms::ADMIN, ids) {
            Acl::write_list(acl, self.out);
        } else {
            Acl::write_list(&self.context.providers.masked(acl), self.out);
        }
        let stat: Stat = node.stat();
        stat.write(self.out);
        Ok(())
    }

    fn ephemerals(&mut self, prefix: Path<'_>) -> Result<(), ErrorCode> {
        let prefix = prefix.as_deref().map(str::trim).unwrap_or("");
        let all = prefix.is_empty() || prefix == "/";
        let at = self.out.len();
        self.out.put_i32(0);
        let mut count = 0;
        for id in self.context.state.ephemerals(self.reader.session) {
            self.visit(1);
            let path = self.context.state.node(id).path();
            if all || path.starts_with(prefix) {
                self.out.put_string(&path);
                count += 1;
            }
        }
        self.out[at..at + 4].copy_from_slice(&i32::to_be_bytes(count));
        Ok(())
    }

    fn visit(&self, nodes: usize) {
        self.context.visits.set(self.context.visits.get() + nodes);
    }

    fn descendants(&mut self, path: Path<'_>) -> Result<(), ErrorCode> {
        let (context, ids) = (self.context, self.reader.ids);
        let count = descendants(context, ids, path, &mut Count::default(), usize::MAX)?;
        self.out.put_i32(count.expect("that many nodes there cannot be"));
        Ok(())
    }

    fn who_am_i(&mut self) -> Result<(), ErrorCode> {
        let names = self.context.providers.user_names(self.reader.ids);
        self.out.put_i32(names.len() as i32);
        for (scheme, user) in names {
            self.out.put_string(&scheme);
            self.out.put_string(&user);
        }
        Ok(())
    }
}

/// The node of a path, if it is there and `ids` may do any of what is `wanted`.
pub(super) fn readable<'a>(
    context: ReadContext<'a>,
    ids: &Identities,
    path: &str,
    wanted: Perms,
) -> Result<NodeRef<'a>, ErrorCode> {
    let id = context.state.find(path).ok_or(ErrorCode::NoNode)?;
    let node = context.state.node(id);
    if context.providers.permits(node.acl(), wanted, ids) {
        Ok(node)
    } else {
        Err(ErrorCode::NoAuth)
    }
}

pub(super) fn write_children(node: &NodeRef<'_>, out: &mut Vec<u8>) {
    out.put_i32(i32::try_from(node.child_count()).unwrap_or(i32::MAX));
    let mut children = node.children();
    let Some(first) = children.next() else { return };
    // Names of one folder are mostly of one length. To grow a hundred thousand of them little by
    // little takes as long as to write them.
    let likely_bytes = node.child_count().saturating_mul(4 + first.name_bytes().len());
    out.reserve(likely_bytes.min(TURN_ARENA_BYTES));
    out.put_utf8(first.name_bytes());
    for child in children {
        out.put_utf8(child.name_bytes());
    }
}

fn known_kind(path: Path<'_>, kind: i32) -> Result<Cow<'_, str>, ErrorCode> {
    if !(1..=5).contains(&kind) {
        return Err(ErrorCode::MarshallingError);
    }
    path.ok_or(ErrorCode::MarshallingError)
}

fn found(is_there: bool) -> Result<(), ErrorCode> {
    if is_there { Ok(()) } else { Err(ErrorCode::NoWatcher) }
}
