//! What a client watches, as far as it was told, and what it must hear of that: each change once,
//! before any answer that shows it, wherever its session has gone meanwhile.

use std::collections::BTreeMap;

use zkd::base::Xid;
use zkd::proto::{EventKind, RequestHeader, Writer, begin_frame, end_frame};

use super::client::{Oracle, Violation};

/// What a watch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Data,
    Child,
}

/// What happened to each path, and when, as watches tell of it.
#[derive(Clone, Debug, Default)]
pub struct Changes(BTreeMap<String, Vec<(i64, EventKind)>>);

impl Changes {
    pub fn add(&mut self, zxid: i64, changes: &[(String, EventKind)]) {
        for (path, kind) in changes {
            self.0.entry(path.clone()).or_default().push((zxid, *kind));
        }
    }

    /// What lies behind this has never been.
    pub fn cut(&mut self, last: i64) {
        self.0.values_mut().for_each(|changes| changes.retain(|(zxid, _)| *zxid <= last));
    }

    fn first(&self, path: &str, table: Table, after: i64) -> Option<i64> {
        let changes = self.0.get(path)?;
        let from = changes.partition_point(|(zxid, _)| *zxid <= after);
        changes[from..].iter().find(|(_, kind)| tables(*kind).contains(&table)).map(|(at, _)| *at)
    }

    fn has(&self, path: &str, kind: EventKind, zxid: i64) -> bool {
        self.0.get(path).is_some_and(|changes| changes.contains(&(zxid, kind)))
    }
}

/// Whose watches an event uses up.
fn tables(kind: EventKind) -> &'static [Table] {
    match kind {
        EventKind::NodeDeleted => &[Table::Data, Table::Child],
        EventKind::NodeChildrenChanged => &[Table::Child],
        _ => &[Table::Data],
    }
}

fn kind_of(number: i32) -> Result<EventKind, Violation> {
    use EventKind::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    let kinds = [NodeCreated, NodeDeleted, NodeDataChanged, NodeChildrenChanged];
    let kind = kinds.into_iter().find(|kind| *kind as i32 == number);
    kind.ok_or_else(|| format!("watch: an event of the kind {number}"))
}

/// A one-shot watch: the zxid at which it was told to be set, and whether the node was there.
#[derive(Clone, Copy, Debug)]
struct Watch {
    since: i64,
    was_there: bool,
}

#[derive(Debug, Default)]
pub struct Watches {
    set: BTreeMap<(String, Table), Watch>,
    /// They were asked for anew, with all that has happened since that zxid.
    awaited: Option<i64>,
}

impl Watches {
    pub fn note(&mut self, path: &str, table: Table, since: i64, was_there: bool) {
        self.set.entry((path.to_owned(), table)).or_insert(Watch { since, was_there });
    }

    pub fn clear(&mut self) {
        self.set.clear();
        self.awaited = None;
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// They are not set again yet.
    pub fn are_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    pub fn on_disconnected(&mut self) {
        self.awaited = None;
    }

    /// Asks a server that knows nothing of them to set them again.
    pub fn ask_again(&mut self, last_zxid: i64, out: &mut Vec<u8>) {
        self.awaited = Some(last_zxid);
        let paths = |table: Table, was_there: bool| {
            let is_so = move |watch: &Watch| table == Table::Child || watch.was_there == was_there;
            let of = self.set.iter().filter(move |((_, of), watch)| *of == table && is_so(watch));
            of.map(|((path, _), _)| path.as_str()).collect::<Vec<&str>>()
        };
        let lists =
            [paths(Table::Data, true), paths(Table::Data, false), paths(Table::Child, true)];
        let mark = begin_frame(out);
        RequestHeader { xid: Xid::SET_WATCHES, op: 101 }.write(out);
        out.put_i64(last_zxid);
        for list in lists {
            out.put_i32(list.len() as i32);
            list.iter().for_each(|path| out.put_string(path));
        }
        end_frame(out, mark);
    }

    /// They are set again: whatever had changed was told before.
    pub fn on_set_again(&mut self, zxid: i64, oracle: &dyn Oracle) -> Result<(), Violation> {
        let Some(known) = self.awaited.take() else {
            return Err("order: watches are set again that nobody asked for".to_owned());
        };
        let model =
            oracle.model_at(zxid).ok_or(format!("history: 0x{zxid:x} was never proposed"))?;
        for ((path, table), watch) in &mut self.set {
            let node = model.nodes.get(path);
            let is_quiet = match (table, watch.was_there) {
                (Table::Data, true) => node.is_some_and(|node| node.mzxid <= known),
                (Table::Data, false) => node.is_none(),
                (Table::Child, _) => node.is_some_and(|node| node.pzxid <= known),
            };
            if !is_quiet {
                return Err(format!(
                    "watch: {path} changed between 0x{known:x} and 0x{zxid:x}, while its client \
                     was away, and no event told of it"
                ));
            }
            watch.since = zxid;
        }
        Ok(())
    }

    /// Whatever has changed up to this zxid was told before.
    pub fn check(&self, zxid: i64, oracle: &dyn Oracle) -> Result<(), Violation> {
        for ((path, table), watch) in &self.set {
            let changed = oracle.changes().first(path, *table, watch.since);
            if changed.is_some_and(|at| at <= zxid) {
                let at = changed.unwrap_or_default();
                return Err(format!(
                    "watch: {path} changed at 0x{at:x}, its watch is of 0x{:x}, and an answer of \
                     0x{zxid:x} came before any event",
                    watch.since
                ));
            }
        }
        Ok(())
    }

    pub fn on_event(
        &mut self,
        (kind, path): (i32, &str),
        zxid: i64,
        oracle: &dyn Oracle,
    ) -> Result<(), Violation> {
        let kind = kind_of(kind)?;
        // What happened while it was away has no zxid.
        let is_late = self.awaited.is_some() && zxid == -1;
        if !is_late && !oracle.changes().has(path, kind, zxid) {
            return Err(format!("watch: {kind:?} of {path} at 0x{zxid:x}, which did not happen"));
        }
        let mut was_watched = false;
        for table in tables(kind) {
            // Each table is gone through by itself then, and tells by itself of a node that is gone.
            if is_late && was_watched {
                break;
            }
            let Some(watch) = self.set.remove(&(path.to_owned(), *table)) else { continue };
            was_watched = true;
            if !is_late && zxid <= watch.since {
                return Err(format!("watch: an event for {path} from before its watch was set"));
            }
        }
        if !was_watched {
            return Err(format!("watch: an event for {path}, which is not watched"));
        }
        Ok(())
    }
}
