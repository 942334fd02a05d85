//! The whole naive server: what each connection is due, frame by frame.

use std::collections::BTreeMap;

use base64::Engine;
use sha1::{Digest, Sha1};

use crate::expect::{Expect, Piece, header};
use crate::ops::*;
use crate::rules::*;
use crate::tree::{AclOf, Tree};
use crate::watches::{Mode, Table, Watches};

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const CHANGED: i32 = 3;
const CHILDREN: i32 = 4;

#[derive(Clone, Debug)]
pub struct Conn {
    pub who: Who,
    pub due: Vec<Expect>,
    /// The server hangs up after the last frame that is due.
    pub ends: bool,
    /// The session is over with it; otherwise it waits to be opened again.
    pub closed: bool,
}

/// How a server differs where it is right to differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Only the server itself may delete containers: a client that tries is refused.
    pub guards_reaper: bool,
    /// A ping is answered while a write before it waits for the disk.
    pub pings_overtake: bool,
}

#[derive(Debug)]
pub struct Model {
    pub zxid: i64,
    pub tree: Tree,
    pub conns: BTreeMap<usize, Conn>,
    watches: Watches,
    pub manners: Manners,
    pub seen: Seen,
}

type Answer = (i32, Vec<Piece>);

/// Opcode and error code, how often.
pub type Seen = BTreeMap<(i32, i32), u64>;

/// Rows of the table that are no opcode: what a part of a multi or multiRead answered, and any
/// opcode that no server knows.
pub const IN_MULTI: i32 = 10_014;
pub const IN_MULTI_READ: i32 = 10_022;
pub const UNKNOWN: i32 = 10_099;

impl Model {
    pub fn new(zxid: i64, manners: Manners) -> Model {
        let (conns, seen) = (BTreeMap::new(), BTreeMap::new());
        Model { zxid, tree: Tree::new(), conns, watches: Watches::default(), manners, seen }
    }

    /// A new session costs a txn; an opened one none.
    pub fn connect(&mut self, slot: usize, session: i64) {
        let ids = vec![("ip".to_owned(), "127.0.0.1".to_owned())];
        let conn = Conn { who: Who { session, ids }, due: Vec::new(), ends: false, closed: false };
        self.conns.insert(slot, conn);
    }

    pub fn disconnect(&mut self, slot: usize) {
        self.watches.forget(slot);
        self.conns.remove(&slot);
    }

    pub fn relative(&self, op: &Op) -> i64 {
        match op {
            Op::SetWatches(lists) | Op::SetWatches2(lists) => (self.zxid - lists.behind).max(0),
            _ => 0,
        }
    }

    /// What `op` does, and what it makes due.
    pub fn run(&mut self, slot: usize, xid: i32, op: &Op) {
        let who = self.conns[&slot].who.clone();
        let (err, body) = match op {
            Op::Auth(scheme, auth) => self.authenticate(slot, scheme, auth),
            Op::Sasl => (0, vec![Piece::buf(None)]),
            Op::Unknown(_) => (-6, Vec::new()),
            _ if is_write(op) => self.write(&who, op),
            _ => self.read(slot, &who, op),
        };
        let zxid = match op {
            Op::Auth(..) | Op::Sasl => 0,
            Op::Unknown(_) => -1,
            _ => self.zxid,
        };
        if matches!(op, Op::Unknown(_) | Op::CloseSession) || err == -115 {
            let conn = self.conns.get_mut(&slot).expect("connected");
            conn.ends = true;
            conn.closed = matches!(op, Op::CloseSession);
            self.watches.forget(slot);
        }
        self.note(op, err);
        let mut pieces = vec![header(xid, zxid, err)];
        pieces.extend(body);
        self.due(slot, format!("reply to {op:?}"), pieces, false);
    }

    fn note(&mut self, op: &Op, err: i32) {
        let code = match op {
            Op::Unknown(code) if *code != CHECK => UNKNOWN,
            _ => op.code(),
        };
        *self.seen.entry((code, err)).or_default() += 1;
    }

    fn due(&mut self, slot: usize, what: String, pieces: Vec<Piece>, any_order: bool) {
        let conn = self.conns.get_mut(&slot).expect("connected");
        conn.due.push(Expect { what, pieces, any_order });
    }

    fn authenticate(&mut self, slot: usize, scheme: &str, auth: &str) -> Answer {
        let ids = &mut self.conns.get_mut(&slot).expect("connected").who.ids;
        let mut add = |scheme: &str, id: String| {
            let id = (scheme.to_owned(), id);
            if !ids.contains(&id) {
                ids.push(id);
            }
        };
        match scheme {
            "digest" => {
                let id = digest_id(auth);
                if auth == SUPER {
                    add("super", String::new());
                }
                add("digest", id);
                (0, Vec::new())
            }
            "ip" => (0, Vec::new()),
            _ => (-115, Vec::new()),
        }
    }

    fn write(&mut self, who: &Who, op: &Op) -> Answer {
        self.zxid += 1;
        let tree = self.tree.clone();
        let base = &self.tree;
        let mut work = Work { tree, base, who, zxid: self.zxid, changes: Vec::new() };
        let guarded = self.manners.guards_reaper;
        let result = match op {
            Op::Create(new) => work.create(new),
            Op::Delete(path, version) => work.delete(path, *version),
            Op::SetData(path, data, version) => work.set(path, data.as_deref(), *version),
            Op::SetAcl(path, acl, version) => work.set_acl(path, acl.as_deref(), *version),
            Op::DeleteContainer(_) if guarded => Err(NO_AUTH),
            Op::DeleteContainer(path) => work.delete_container(path),
            Op::Reconfig => Err(-123),
            Op::Multi(parts) => {
                let (err, body, changes, tree) = multi(work, parts, &mut self.seen);
                if let Some(tree) = tree {
                    self.tree = tree;
                }
                self.fire(&changes, false);
                return (err, body);
            }
            Op::CloseSession => {
                for path in work.tree.ephemerals(who.session) {
                    work.remove(&path);
                }
                Ok(Done::Nothing)
            }
            _ => unreachable!("{op:?} is no write"),
        };
        let (tree, changes) = (work.tree, work.changes);
        match result {
            Err(code) => (code, Vec::new()),
            Ok(done) => {
                self.tree = tree;
                self.fire(&changes, matches!(op, Op::CloseSession));
                (0, body_of(done))
            }
        }
    }

    fn fire(&mut self, changes: &[Change], any_order: bool) {
        for change in changes {
            match change {
                Change::Created { path, acl, above } => {
                    let heard = self.watches.trigger(Table::Data, path);
                    self.notify(heard, CREATED, path, acl, any_order);
                    self.children_changed(path, above, any_order);
                }
                Change::Set { path, acl } => {
                    let heard = self.watches.trigger(Table::Data, path);
                    self.notify(heard, CHANGED, path, acl, any_order);
                }
                Change::Deleted { path, acl, above } => {
                    let heard = self.watches.trigger(Table::Data, path);
                    let also = self.watches.trigger(Table::Child, path);
                    self.notify(heard.iter().copied(), DELETED, path, acl, any_order);
                    self.notify(also.difference(&heard).copied(), DELETED, path, acl, any_order);
                    self.children_changed(path, above, any_order);
                }
            }
        }
    }

    fn children_changed(&mut self, path: &str, acl: &AclOf, any_order: bool) {
        let parent = match crate::tree::split(path).0 {
            "" => "/",
            parent => parent,
        };
        let heard = self.watches.trigger(Table::Child, parent);
        self.notify(heard, CHILDREN, parent, acl, any_order);
    }

    fn notify(
        &mut self,
        slots: impl IntoIterator<Item = usize>,
        kind: i32,
        path: &str,
        acl: &AclOf,
        any_order: bool,
    ) {
        for slot in slots {
            if self.conns[&slot].who.can(acl, READ) {
                self.event(slot, self.zxid, kind, path, any_order);
            }
        }
    }

    fn event(&mut self, slot: usize, zxid: i64, kind: i32, path: &str, any_order: bool) {
        let pieces = vec![header(-1, zxid, 0), Piece::int(kind), Piece::int(3), Piece::str(path)];
        self.due(slot, format!("event {kind} at {path:?}"), pieces, any_order);
    }

    fn read(&mut self, slot: usize, who: &Who, op: &Op) -> Answer {
        if let Op::MultiRead(parts) = op {
            // Writes only: refused when the first is reached, with what was answered so far.
            let alien = parts.iter().any(|p| p.is_read()) || is_garbled(parts);
            if !parts.is_empty() && !alien {
                return (MARSHALLING, multi_end().to_vec());
            }
        }
        match self.try_read(slot, who, op) {
            Ok(body) => (0, body),
            Err(code) => (code, Vec::new()),
        }
    }

    fn try_read(&mut self, slot: usize, who: &Who, op: &Op) -> Result<Vec<Piece>, i32> {
        match op {
            Op::Ping => Ok(Vec::new()),
            Op::Sync(path) => Ok(vec![Piece::str(path)]),
            Op::Short(_) | Op::NullPath(_) => Err(MARSHALLING),
            Op::Read(code, path, watch) => {
                let body = self.read_node(who, *code, path);
                let table = match code {
                    &EXISTS | &GET_DATA => Table::Data,
                    _ => Table::Child,
                };
                let set = body.is_ok() || (*code == EXISTS && body == Err(NO_NODE));
                if *watch && set {
                    self.watches.add(table, path, slot, Mode::Standard);
                }
                body
            }
            Op::GetAcl(path) => self.acl_of(who, path),
            Op::GetAllChildrenNumber(path) => {
                let node = self.tree.get(path).ok_or(NO_NODE)?;
                allow(who, &node.acl, READ)?;
                Ok(vec![Piece::int(self.tree.descendants(path))])
            }
            Op::GetEphemerals(prefix) => {
                let prefix = prefix.as_deref().filter(|p| !matches!(p.trim(), "" | "/"));
                let mut paths = self.tree.ephemerals(who.session);
                paths.retain(|p| p.starts_with(prefix.unwrap_or("")));
                Ok(Piece::set(paths))
            }
            Op::WhoAmI => Ok(users(who)),
            Op::MultiRead(parts) => {
                if is_mixed(parts) || parts.iter().any(|p| matches!(p, Part::Alien(_))) {
                    return Err(MARSHALLING);
                }
                Ok(self.multi_read(who, parts))
            }
            Op::Watches(code, path, kind) => {
                if !(1..=5).contains(kind) {
                    return Err(MARSHALLING);
                }
                let found = match *code {
                    CHECK_WATCHES => self.watches.has(path, slot, *kind),
                    _ => self.watches.remove(path, slot, *kind),
                };
                if found { Ok(Vec::new()) } else { Err(-121) }
            }
            Op::AddWatch(path, mode) => {
                let mode = match mode {
                    0 => Mode::Persistent,
                    1 => Mode::Recursive,
                    _ => return Err(MARSHALLING),
                };
                self.watch_persistently(slot, path, mode);
                Ok(vec![Piece::int(0)])
            }
            Op::SetWatches(lists) => Ok(self.watch_again(slot, lists, false, self.relative(op))),
            Op::SetWatches2(lists) => Ok(self.watch_again(slot, lists, true, self.relative(op))),
            _ => unreachable!("{op:?} is no read"),
        }
    }

    fn read_node(&self, who: &Who, code: i32, path: &str) -> Result<Vec<Piece>, i32> {
        if code == EXISTS && path.contains('\0') {
            return Err(BAD_ARGUMENTS);
        }
        let node = self.tree.get(path).ok_or(NO_NODE)?;
        allow(who, &node.acl, READ)?;
        let mut body = match code {
            GET_DATA => vec![Piece::buf(node.data.as_deref())],
            GET_CHILDREN | GET_CHILDREN2 => Piece::set(node.children.iter().cloned().collect()),
            _ => Vec::new(),
        };
        if code != GET_CHILDREN {
            node.stat(&mut body);
        }
        Ok(body)
    }

    fn acl_of(&self, who: &Who, path: &str) -> Result<Vec<Piece>, i32> {
        let node = self.tree.get(path).ok_or(NO_NODE)?;
        allow(who, &node.acl, READ | ADMIN)?;
        let mut list = node.acl.list.clone();
        if !who.can(&node.acl, ADMIN) {
            for entry in list.iter_mut().filter(|e| e.scheme.as_deref() == Some("digest")) {
                let user = entry.id.split(':').next().unwrap_or("");
                entry.id = format!("{user}:x");
            }
        }
        let coded = |e: &Entry| {
            let mut out = crate::wire::Out::default();
            put_acl(&mut out, Some(std::slice::from_ref(e)));
            out.0.split_off(4)
        };
        let items: Vec<Vec<u8>> = list.iter().map(coded).collect();
        let mut body = vec![Piece::int(items.len() as i32)];
        if node.acl.scrambled {
            body.push(Piece::AnyOrder { ints: 1, fields: 2, items });
        } else {
            body.extend(items.into_iter().map(Piece::Bytes));
        }
        node.stat(&mut body);
        Ok(body)
    }

    fn multi_read(&mut self, who: &Who, parts: &[Part]) -> Vec<Piece> {
        let mut body = Vec::new();
        for part in parts {
            let (code, path) = match part {
                Part::GetData(path) => (GET_DATA, path),
                Part::GetChildren(path) => (GET_CHILDREN, path),
                _ => unreachable!("checked"),
            };
            match self.read_node(who, code, path) {
                Ok(pieces) => {
                    body.extend(multi_header(code, 0));
                    body.extend(pieces);
                }
                Err(err) => {
                    *self.seen.entry((IN_MULTI_READ, err)).or_default() += 1;
                    body.extend(multi_header(-1, err));
                    body.push(Piece::int(err));
                }
            }
        }
        body.extend(multi_end());
        body
    }

    fn watch_persistently(&mut self, slot: usize, path: &str, mode: Mode) {
        self.watches.add(Table::Data, path, slot, mode);
        if mode == Mode::Persistent {
            self.watches.add(Table::Child, path, slot, mode);
        }
    }

    fn watch_again(&mut self, slot: usize, l: &Lists, two: bool, relative: i64) -> Vec<Piece> {
        for path in &l.data {
            match self.tree.get(path).map(|n| n.mzxid) {
                None => self.event(slot, -1, DELETED, path, false),
                Some(zxid) if zxid > relative => self.event(slot, -1, CHANGED, path, false),
                Some(_) => self.watches.add(Table::Data, path, slot, Mode::Standard),
            }
        }
        for path in &l.exist {
            match self.tree.get(path) {
                Some(_) => self.event(slot, -1, CREATED, path, false),
                None => self.watches.add(Table::Data, path, slot, Mode::Standard),
            }
        }
        for path in &l.child {
            match self.tree.get(path).map(|n| n.pzxid) {
                None => self.event(slot, -1, DELETED, path, false),
                Some(zxid) if zxid > relative => self.event(slot, -1, CHILDREN, path, false),
                Some(_) => self.watches.add(Table::Child, path, slot, Mode::Standard),
            }
        }
        for path in l.persistent.iter().filter(|_| two) {
            self.watch_persistently(slot, path, Mode::Persistent);
        }
        for path in l.recursive.iter().filter(|_| two) {
            self.watch_persistently(slot, path, Mode::Recursive);
        }
        Vec::new()
    }
}

/// The one credential that is above all ACLs.
pub const SUPER: &str = "super:secret";

pub fn digest_id(auth: &str) -> String {
    let user = auth.split(':').next().unwrap_or("");
    let hash = Sha1::digest(auth.as_bytes());
    format!("{user}:{}", base64::engine::general_purpose::STANDARD.encode(hash))
}

pub fn is_write(op: &Op) -> bool {
    matches!(
        op,
        Op::Create(_)
            | Op::Delete(..)
            | Op::SetData(..)
            | Op::SetAcl(..)
            | Op::DeleteContainer(_)
            | Op::Reconfig
            | Op::Multi(_)
            | Op::CloseSession
    )
}

fn allow(who: &Who, acl: &AclOf, wanted: i32) -> Result<(), i32> {
    if who.can(acl, wanted) { Ok(()) } else { Err(NO_AUTH) }
}

fn users(who: &Who) -> Vec<Piece> {
    let coded = |(scheme, id): &(String, String)| {
        let user = match scheme.as_str() {
            "digest" => id.split(':').next().unwrap_or(""),
            _ => id,
        };
        let mut out = crate::wire::Out::default();
        out.str(scheme).str(user);
        out.0
    };
    let items: Vec<Vec<u8>> = who.ids.iter().map(coded).collect();
    vec![Piece::int(items.len() as i32), Piece::AnyOrder { ints: 0, fields: 2, items }]
}

fn body_of(done: Done) -> Vec<Piece> {
    match done {
        Done::Nothing => Vec::new(),
        Done::Path(path) => vec![Piece::str(&path)],
        Done::Stat(stat) => stat,
        Done::Created(path, stat) => {
            let mut body = vec![Piece::str(&path)];
            body.extend(stat);
            body
        }
    }
}

fn multi_header(kind: i32, err: i32) -> [Piece; 3] {
    [Piece::int(kind), Piece::bool(false), Piece::int(err)]
}

fn multi_end() -> [Piece; 3] {
    [Piece::int(-1), Piece::bool(true), Piece::int(-1)]
}

type MultiOutcome = (i32, Vec<Piece>, Vec<Change>, Option<Tree>);

fn multi(mut work: Work<'_>, parts: &[Part], seen: &mut Seen) -> MultiOutcome {
    if is_garbled(parts) {
        return (MARSHALLING, Vec::new(), Vec::new(), None);
    }
    let mut done = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        // A read among the parts is refused whole, but only once the first is reached.
        match work.part(part) {
            Ok(result) => done.push(result),
            Err(MARSHALLING) => return (MARSHALLING, Vec::new(), Vec::new(), None),
            Err(code) => {
                *seen.entry((IN_MULTI, code)).or_default() += 1;
                return (0, failed(at, code, parts.len()), Vec::new(), None);
            }
        }
    }
    let mut body = Vec::new();
    for (kind, done) in done {
        body.extend(multi_header(kind, 0));
        body.extend(body_of(done));
    }
    body.extend(multi_end());
    (0, body, work.changes, Some(work.tree))
}

fn failed(at: usize, code: i32, count: usize) -> Vec<Piece> {
    let mut body = Vec::new();
    for i in 0..count {
        let err = match i.cmp(&at) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => code,
            std::cmp::Ordering::Greater => -2,
        };
        body.extend(multi_header(-1, err));
        body.push(Piece::int(err));
    }
    body.extend(multi_end());
    body
}
