//! A client as real ones behave: it pipelines, keeps its session over broken connections, and
//! holds everything it is told against what it knows.

use std::collections::{BTreeSet, VecDeque};

use zkd::base::{ConnId, SessionId, Xid, Zxid};
use zkd::proto::{
    Acl, ConnectRequest, ConnectResponse, ErrorCode, Reader, ReplyHeader, RequestHeader, Splitter,
    Stat, Writer, begin_frame, end_frame, write_multi_header,
};

use super::watches::{Changes, Table, Watches};
use crate::model::Model;
use crate::plan::Op;

/// A request that waits for its reply.
#[derive(Clone, Debug)]
pub struct Outstanding {
    pub xid: i32,
    pub op: Op,
}

/// What a checker found wrong.
pub type Violation = String;

/// What the checkers may ask the world.
pub trait Oracle {
    /// The tree at a zxid; `None` for one that was never proposed.
    fn model_at(&self, zxid: i64) -> Option<&Model>;
    /// What the history has changed that can be watched.
    fn changes(&self) -> &Changes;
    /// A write of this session was acknowledged at this zxid.
    fn on_acknowledged(&mut self, zxid: i64, session: i64, cxid: i32) -> Result<(), Violation>;
    /// A session may be its server's alone, and end without a txn.
    fn has_local_sessions(&self) -> bool {
        false
    }
    fn count(&mut self, what: &'static str);
}

#[derive(Debug, Default)]
pub struct Client {
    pub conn: Option<ConnId>,
    pub session: i64,
    password: [u8; 16],
    is_established: bool,
    /// The session was refused or has come to its end.
    is_over: bool,
    /// What it asks for, where that is not six seconds.
    timeout_ms: Option<i32>,
    /// The newest zxid it was told.
    last_zxid: i64,
    next_xid: i32,
    splitter: Splitter,
    pub outstanding: VecDeque<Outstanding>,
    pub watches: Watches,
    /// It has its session again, and with it watches that its server does not know of.
    has_unset_watches: bool,
}

impl Client {
    pub fn with_timeout(ms: i32) -> Client {
        Client { timeout_ms: Some(ms), ..Client::default() }
    }

    /// The connect request for a new connection.
    pub fn on_connected(&mut self, conn: ConnId, out: &mut Vec<u8>) {
        self.conn = Some(conn);
        self.is_established = false;
        self.is_over = false;
        self.splitter = Splitter::default();
        self.outstanding.clear();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(self.last_zxid),
            timeout_ms: self.timeout_ms.unwrap_or(6000),
            session: SessionId(self.session),
            password: Some(&self.password),
            read_only: Some(false),
        };
        let mark = begin_frame(out);
        request.write(out);
        end_frame(out, mark);
    }

    /// Whether it has its session on this connection.
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    /// Whether nothing more comes of this connection.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn ping(&self, out: &mut Vec<u8>) {
        let mark = begin_frame(out);
        RequestHeader { xid: Xid::PING, op: 11 }.write(out);
        end_frame(out, mark);
    }

    pub fn on_disconnected(&mut self) {
        self.conn = None;
        self.is_established = false;
        self.has_unset_watches = false;
        self.watches.on_disconnected();
    }

    /// Before anything else it says what it has watched.
    pub fn catch_up(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.has_unset_watches) {
            self.watches.ask_again(self.last_zxid, out);
        }
    }

    pub fn send(&mut self, op: &Op, out: &mut Vec<u8>) {
        self.catch_up(out);
        self.next_xid += 1;
        let xid = self.next_xid;
        let mark = begin_frame(out);
        RequestHeader { xid: Xid(xid), op: opcode(op) }.write(out);
        write_op(op, out);
        end_frame(out, mark);
        self.outstanding.push_back(Outstanding { xid, op: op.clone() });
    }

    /// Takes what arrived and holds it against the oracle.
    pub fn receive(&mut self, bytes: &[u8], oracle: &mut dyn Oracle) -> Result<(), Violation> {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.push(bytes);
        let result = loop {
            match splitter.next(1 << 24) {
                Err(e) => break Err(format!("the server sent a bad frame: {e:?}")),
                Ok(None) => break Ok(()),
                Ok(Some(frame)) => {
                    let done = if self.is_established {
                        self.on_frame(frame, oracle)
                    } else {
                        self.on_response(frame, oracle)
                    };
                    if done.is_err() {
                        break done;
                    }
                }
            }
        };
        self.splitter = splitter;
        result
    }

    fn on_response(&mut self, frame: &[u8], oracle: &mut dyn Oracle) -> Result<(), Violation> {
        let response = ConnectResponse::read(frame).map_err(|e| format!("handshake: {e:?}"))?;
        if response.session.0 == 0 {
            oracle.count("sessions refused");
            self.session = 0;
            self.watches.clear();
            self.is_over = true;
            return Ok(());
        }
        if self.session != 0 && self.session != response.session.0 {
            return Err("a re-opened session has another id".into());
        }
        oracle.count(if self.session == 0 { "sessions made" } else { "sessions re-opened" });
        self.session = response.session.0;
        self.password = response.password;
        self.is_established = true;
        self.has_unset_watches = !self.watches.is_empty();
        Ok(())
    }

    fn on_frame(&mut self, frame: &[u8], oracle: &mut dyn Oracle) -> Result<(), Violation> {
        let r = &mut Reader::new(frame);
        let header = ReplyHeader::read(r).map_err(|e| format!("reply header: {e:?}"))?;
        if header.xid == Xid::NOTIFICATION {
            return self.on_event(header, r, oracle);
        }
        if header.xid == Xid::PING {
            oracle.count("pings answered");
            return Ok(());
        }
        if header.xid == Xid::SET_WATCHES {
            oracle.count("watches set again");
            self.last_zxid = self.last_zxid.max(header.zxid.0);
            return self.watches.on_set_again(header.zxid.0, oracle);
        }
        let Some(request) = self.outstanding.pop_front() else {
            return Err(format!("order: a reply to nothing: {header:?}"));
        };
        if request.xid != header.xid.0 {
            return Err(format!("order: reply {:?} where {} was due", header.xid, request.xid));
        }
        if header.zxid.0 < self.last_zxid {
            return Err(format!(
                "order: zxid went back: 0x{:x} < 0x{:x}",
                header.zxid, self.last_zxid
            ));
        }
        if self.watches.are_awaited() {
            return Err(format!("order: reply {:?} before its watches are set", header.xid));
        }
        self.watches.check(header.zxid.0, oracle)?;
        self.last_zxid = header.zxid.0;
        oracle.count("replies");
        self.check_reply(&request, header, r, oracle)
    }

    fn check_reply(
        &mut self,
        request: &Outstanding,
        header: ReplyHeader,
        r: &mut Reader<'_>,
        oracle: &mut dyn Oracle,
    ) -> Result<(), Violation> {
        let zxid = header.zxid.0;
        let session = self.session;
        match &request.op {
            Op::Get { path, watch } => {
                let path = path_of(*path);
                let is_there = self.check_read(&path, header, r, oracle, true)?;
                self.note_watch(&path, *watch && is_there, (Table::Data, zxid), true);
            }
            Op::Exists { path, watch } => {
                let path = path_of(*path);
                let is_there = self.check_read(&path, header, r, oracle, false)?;
                self.note_watch(&path, *watch, (Table::Data, zxid), is_there);
            }
            Op::Children { path, watch } => {
                let path = path_of(*path);
                let is_there = check_children(&path, header, r, oracle)?;
                self.note_watch(&path, *watch && is_there, (Table::Child, zxid), true);
            }
            Op::Sync => {}
            op => {
                let is_farewell = *op == Op::CloseSession && header.err == 0;
                if is_farewell && oracle.has_local_sessions() {
                    oracle.count("farewells");
                    self.part();
                    return Ok(());
                }
                // Errors of a write are txns too; only a body that cannot be read has none.
                if header.err != ErrorCode::MarshallingError.number() {
                    oracle.on_acknowledged(zxid, session, request.xid)?;
                    oracle.count("writes acknowledged");
                }
                if is_farewell {
                    self.part();
                }
            }
        }
        Ok(())
    }

    /// Its session is over, and nothing is left of it.
    fn part(&mut self) {
        (self.session, self.is_over) = (0, true);
        self.outstanding.clear();
        self.watches.clear();
    }

    /// The answer equals the tree at the zxid it names.
    fn check_read(
        &mut self,
        path: &str,
        header: ReplyHeader,
        r: &mut Reader<'_>,
        oracle: &mut dyn Oracle,
        with_data: bool,
    ) -> Result<bool, Violation> {
        let zxid = header.zxid.0;
        let model =
            oracle.model_at(zxid).ok_or(format!("history: 0x{zxid:x} was never proposed"))?;
        let node = model.nodes.get(path);
        let expected = if node.is_some() { 0 } else { ErrorCode::NoNode.number() };
        if header.err != expected {
            return Err(format!("read: {path} at 0x{zxid:x}: {} where {expected}", header.err));
        }
        let Some(node) = node else { return Ok(false) };
        if with_data {
            let data = r.buffer().map_err(|e| format!("{e:?}"))?;
            if data != node.data.as_deref() {
                return Err(format!("read: {path} at 0x{zxid:x} has other data"));
            }
        }
        let stat = Stat::read(r).map_err(|e| format!("{e:?}"))?;
        let same = stat.czxid.0 == node.czxid
            && stat.mzxid.0 == node.mzxid
            && stat.pzxid.0 == node.pzxid
            && (stat.ctime, stat.mtime) == (node.ctime, node.mtime)
            && (stat.version, stat.aversion) == (node.version, node.aversion)
            && stat.cversion == node.client_cversion()
            && stat.num_children as usize == node.children.len()
            && stat.data_length as usize == node.data.as_ref().map_or(0, Vec::len)
            && stat.ephemeral_owner == if node.owner > 0 { node.owner } else { 0 };
        if !same {
            return Err(format!("read: {path} at 0x{zxid:x}: {stat:?} for {node:?}"));
        }
        oracle.count("reads checked");
        Ok(true)
    }

    fn note_watch(
        &mut self,
        path: &str,
        is_set: bool,
        (table, zxid): (Table, i64),
        is_there: bool,
    ) {
        if is_set {
            self.watches.note(path, table, zxid, is_there);
        }
    }

    fn on_event(
        &mut self,
        header: ReplyHeader,
        r: &mut Reader<'_>,
        oracle: &mut dyn Oracle,
    ) -> Result<(), Violation> {
        let read = |e| format!("event: {e:?}");
        let (kind, _state) = (r.i32().map_err(read)?, r.i32().map_err(read)?);
        let path = r.string().map_err(read)?.unwrap_or_default();
        oracle.count("events");
        let zxid = header.zxid.0;
        if zxid < self.last_zxid && !self.watches.are_awaited() {
            return Err(format!("order: an event of 0x{zxid:x} after 0x{:x}", self.last_zxid));
        }
        if self.watches.are_awaited() {
            oracle.count("events of what was missed");
        }
        self.watches.on_event((kind, &path), zxid, oracle)
    }
}

/// The children are those of the tree at the zxid that the answer names. Whether the node is there.
fn check_children(
    path: &str,
    header: ReplyHeader,
    r: &mut Reader<'_>,
    oracle: &mut dyn Oracle,
) -> Result<bool, Violation> {
    let zxid = header.zxid.0;
    let model = oracle.model_at(zxid).ok_or(format!("history: 0x{zxid:x} was never proposed"))?;
    let Some(node) = model.nodes.get(path) else {
        let expected = ErrorCode::NoNode.number();
        let is_so = header.err == expected;
        return is_so.then_some(false).ok_or(format!(
            "read: children of {path} at 0x{zxid:x}: {} where {expected}",
            header.err
        ));
    };
    let read = |e| format!("children: {e:?}");
    let mut found = BTreeSet::new();
    let count = if header.err == 0 { r.i32().map_err(read)? } else { -1 };
    for _ in 0..count {
        found.insert(r.string().map_err(read)?.unwrap_or_default().into_owned());
    }
    if found != node.children || count as usize != found.len() {
        return Err(format!(
            "read: children of {path} at 0x{zxid:x}: {} {found:?} where {:?}",
            header.err, node.children
        ));
    }
    oracle.count("reads checked");
    Ok(true)
}

/// A small tree, deep enough for parents that are missing or full.
pub fn path_of(path: u8) -> String {
    match path {
        0..=7 => format!("/n{path}"),
        8..=15 => format!("/n{}/c{}", path % 4, path),
        16..=21 => format!("/n{}/c{}/d{}", path % 4, 8 + path % 8, path),
        22 => "/zookeeper/quota".to_owned(),
        100.. => format!("/p{path}"),
        _ => "/bad//path".to_owned(),
    }
}

fn opcode(op: &Op) -> i32 {
    match op {
        Op::Create { mode: 4, .. } => 19,
        Op::Create { .. } => 15,
        Op::Delete { .. } => 2,
        Op::Set { .. } => 5,
        Op::Get { .. } => 4,
        Op::Exists { .. } => 3,
        Op::Children { .. } => 8,
        Op::SetAcl { .. } => 7,
        Op::Multi(_) => 14,
        Op::Sync => 9,
        Op::CloseSession => -11,
    }
}

fn write_op(op: &Op, out: &mut Vec<u8>) {
    match op {
        Op::Create { path, mode } => {
            out.put_string(&path_of(*path));
            out.put_buffer(Some(b"new"));
            Acl::write_list(&[Acl::open()], out);
            out.put_i32(*mode);
        }
        Op::Delete { path, version } => {
            out.put_string(&path_of(*path));
            out.put_i32(*version);
        }
        Op::Set { path, bytes, version } => {
            out.put_string(&path_of(*path));
            out.put_buffer(Some(&vec![*path; usize::from(*bytes)]));
            out.put_i32(*version);
        }
        Op::Get { path, watch } | Op::Exists { path, watch } | Op::Children { path, watch } => {
            out.put_string(&path_of(*path));
            out.put_bool(*watch);
        }
        Op::SetAcl { path } => {
            out.put_string(&path_of(*path));
            Acl::write_list(&[Acl::open()], out);
            out.put_i32(-1);
        }
        Op::Multi(ops) => {
            for op in ops {
                // setACL cannot be part of a multi: it is a check there.
                let kind = if matches!(op, Op::SetAcl { .. }) { 13 } else { opcode(op) };
                write_multi_header(out, kind, -1);
                match op {
                    Op::SetAcl { path } => {
                        out.put_string(&path_of(*path));
                        out.put_i32(0);
                    }
                    op => write_op(op, out),
                }
            }
            out.put_i32(-1);
            out.put_bool(true);
            out.put_i32(-1);
        }
        Op::Sync => out.put_string("/"),
        Op::CloseSession => {}
    }
}
