//! Writes on their way out and back: to `prepare`, into the log, to the state, to the clients.

use crate::auth::{Providers, permits_anyone};
use crate::base::{ConnId, Instant, SessionId, Ticket, Xid, Zxid, limits};
use crate::prepare::Requester;
use crate::proto::{DIGEST_VERSION, TxnDigest, TxnHeader, write_reply};
use crate::proto::{
    DecodeError, ErrorCode, EventKind, OpCode, Perms, Request, RequestHeader, Txn, write_event,
};
use crate::serve::{self, ReadContext, WriteReply};
use crate::session::Owner;
use crate::state::{AclList, Mode};
use crate::zab::Proposal;

use super::conns::{Conns, Phase};
use super::seam::{Effect, Effects};
use super::{Node, Origin, ServerRequest, op_name};

impl Node {
    pub(super) fn on_write(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        op: OpCode,
        body: &[u8],
        out: &mut Effects,
    ) {
        let has_room = self.has_log_room() && self.inbox.is_empty();
        let now = self.now.mono;
        let Some(conn) = self.conns.find(id) else { return };
        let request = Request::read(op, &body[8..]);
        self.outstanding.more(conn.pauses, 1);
        // Never stored, not even as an error: there is nothing in it to believe. A multi alone
        // takes its zxid all the same, as in Java.
        if request.is_err() && op != OpCode::Multi {
            conn.order.push_refused(header.xid, header.op, ErrorCode::MarshallingError, now);
            return self.run_ready(id, false, out);
        }
        if !has_room || conn.order.has_unprepared() {
            self.unprepared_bytes += conn.order.push_unprepared(header.xid, header.op, body, now);
            return self.make_runnable(id);
        }
        conn.order.push_write(header.xid, header.op, now);
        self.propose_decoded(Self::origin_of(id, header), request);
    }

    fn propose_decoded(&mut self, origin: Origin, request: Result<Request<'_>, DecodeError>) {
        match request {
            Ok(request) => self.propose(origin, &request),
            Err(_) => self.propose(origin, &Request::BadMulti),
        }
    }

    /// Prepares what waited for room in the log, answers what waited for room in the arena.
    pub(super) fn run_leftovers(&mut self, out: &mut Effects) {
        for _ in 0..self.runnable.len() {
            if !self.has_turn_room(out) {
                return;
            }
            let Some(id) = self.runnable.pop_front() else { return };
            let Some(conn) = self.conns.find(id) else { continue };
            conn.is_runnable = false;
            if matches!(conn.phase, Phase::Closing) {
                continue;
            }
            self.prepare_waiting(id);
            self.run_ready(id, false, out);
        }
    }

    fn prepare_waiting(&mut self, id: ConnId) {
        while self.has_log_room() && self.may_take_up() {
            let Some(conn) = self.conns.find(id) else { return };
            let Some(frame) = conn.order.take_unprepared() else { return };
            self.unprepared_bytes -= frame.len();
            let header = RequestHeader::read(&mut crate::proto::Reader::new(&frame));
            let (Ok(header), Some(body)) = (header, frame.get(8..)) else { return };
            let Some(op) = OpCode::from_number(header.op) else { return };
            self.propose_decoded(Self::origin_of(id, header), Request::read(op, body));
            self.taken_up += 1;
        }
        let is_log_behind = !self.has_log_room();
        let Some(conn) = self.conns.find(id).filter(|conn| conn.order.has_unprepared()) else {
            return;
        };
        conn.is_runnable = true;
        // The log is behind: nothing can be done before a sync ends, and until then the server
        // must be able to sleep.
        let waiting = if is_log_behind { &mut self.starved } else { &mut self.runnable };
        waiting.push_back(id);
    }

    /// Whether this turn may take more of what waited.
    fn may_take_up(&self) -> bool {
        self.taken_up < limits::TAKEN_UP_PER_TURN
    }

    /// The server's own requests, in the order they arose.
    pub(super) fn run_inbox(&mut self) {
        while self.has_log_room() && self.may_take_up() {
            let Some(request) = self.inbox.pop_front() else { return };
            self.taken_up += 1;
            match request {
                // Whoever wanted it has gone while the log was behind.
                ServerRequest::CreateSession { session, conn, .. }
                    if self.conns.peek(conn).is_none_or(|c| matches!(c.phase, Phase::Closing)) =>
                {
                    self.sessions.forget(session);
                }
                ServerRequest::CreateSession { session, timeout_ms, conn } => {
                    let request = Request::CreateSession { timeout_ms };
                    self.propose(Origin::NewSession { session, conn }, &request);
                }
                ServerRequest::CloseSession { session } => {
                    self.propose(Origin::Expiry { session }, &Request::CloseSession);
                }
                ServerRequest::Reap { path } => {
                    let request = Request::DeleteContainer { path: Some(path.into()) };
                    self.propose(Origin::Reaper, &request);
                }
            }
        }
    }

    /// One request becomes one txn: prepared against the state and what is in flight, and put
    /// among this turn's records.
    pub(super) fn propose(&mut self, origin: Origin, request: &Request<'_>) {
        let (session, cxid) = match origin {
            Origin::Client { conn, xid, .. } => {
                (self.conns.find(conn).map_or(SessionId::NONE, |c| c.session), xid.0)
            }
            Origin::NewSession { session, .. } | Origin::Expiry { session } => (session, 0),
            Origin::Reaper => (SessionId::NONE, 0),
        };
        let is_own = !matches!(origin, Origin::Client { .. });
        let zxid = self.leading.next_zxid();
        let session_ok = if is_own { Ok(()) } else { self.sessions.check(session, Owner::Here) };
        let ids = match origin {
            Origin::Client { conn, .. } => self.conns.peek(conn).map(|c| &c.ids),
            _ => None,
        };
        let who = Requester {
            session,
            cxid,
            ids: ids.unwrap_or(&self.own_ids),
            session_ok,
            from_server: is_own,
        };
        let (state, providers) = (&self.state, &self.providers);
        let prepared = self.prepare.prepare(state, providers, &who, zxid, self.now.wall, request);
        if matches!(prepared.txn, Txn::CloseSession { .. }) {
            self.sessions.set_closing(session);
        }
        let header = TxnHeader { session, cxid, zxid, time: self.now.wall };
        let (txn, digest) = (prepared.txn, prepared.digest);
        self.leading.propose(Proposal { header, txn, digest, origin });
    }

    /// The number of a storage command that is handed over now.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        let ticket = self.tickets.next();
        self.storage_wait.on_command(ticket, self.now.mono);
        ticket
    }

    /// Hands the records of this turn to the log, and those that earlier ones left.
    pub(super) fn flush(&mut self, out: &mut Effects) {
        if !self.leading.is_batching() || self.leading.is_gathering() {
            return;
        }
        let (txns, bytes) = self.leading.batch_size();
        let ticket = self.next_ticket();
        if let Some(append) = self.leading.flush(ticket) {
            out.push(Effect::Storage(append));
        }
        let limit = self.settings.log_size_limit_bytes;
        self.log_bytes += bytes;
        let is_full = limit > 0 && self.log_bytes >= limit;
        if self.snapshots.on_append(txns, bytes, &mut self.rng) || is_full {
            self.log_bytes = 0;
            self.leading.roll();
        }
    }

    /// More may be answered in this turn.
    pub(super) fn has_turn_room(&self, out: &Effects) -> bool {
        out.arena.len() < limits::TURN_ARENA_BYTES && self.visits.get() < limits::TURN_VISITS
    }

    pub(super) fn has_uncommitted_backlog(&self) -> bool {
        let p = self.leading.progress();
        p.applied < p.committed
    }

    /// Applies what is committed, in order: notifications first, then the answer, then the reads
    /// that waited behind it.
    pub(super) fn commit(&mut self, out: &mut Effects) {
        let applied = self.state.last_zxid();
        self.left_writes.retain(|_, zxid| *zxid > applied);
        for _ in 0..limits::APPLIES_PER_TURN {
            if !self.has_turn_room(out) {
                return;
            }
            // Reads that came before this write must not see it.
            if let Some(Origin::Client { conn, .. }) = self.leading.peek_committed()
                && !self.run_before(*conn, out)
            {
                return;
            }
            let Some(proposal) = self.leading.next_committed() else { return };
            self.apply(&proposal, out);
            self.receive_returned(out);
            match proposal.origin {
                Origin::Client { conn, xid, op } => {
                    self.answer_write(conn, xid, op, &proposal.txn, out);
                    self.run_ready(conn, false, out);
                }
                Origin::NewSession { session, conn } => {
                    if self.conns.peek(conn).is_some_and(|c| c.session == session) {
                        self.establish(conn, out);
                    }
                }
                Origin::Reaper => self.reaper.on_reaped(),
                Origin::Expiry { .. } => {}
            }
        }
    }

    /// Answers the reads in front of a connection's next write, whether it drains its replies or
    /// not: its backlog has a bound of its own. False where the arena is full first.
    fn run_before(&mut self, id: ConnId, out: &mut Effects) -> bool {
        self.run_ready(id, true, out);
        self.conns
            .find(id)
            .is_none_or(|conn| matches!(conn.phase, Phase::Closing) || !conn.order.is_ready())
    }

    pub(super) fn apply(&mut self, proposal: &Proposal<Origin>, out: &mut Effects) {
        let Proposal { header, txn, digest, .. } = proposal;
        self.applied.clear();
        self.state.apply(header, txn, Mode::Exact, &mut self.applied);
        self.prepare.applied(header.zxid);
        if !self.compare_digest(header.zxid, *digest) {
            self.unforeseen_digests += 1;
        }
        super::namespaces::count_writes(&mut self.metrics, &self.state, &self.applied.changes);
        notify(self, header.zxid, out);
        if let Txn::CloseSession { .. } = txn {
            self.sessions.forget(header.session);
            let by_client = matches!(proposal.origin, Origin::Client { .. });
            if let Some(&holder) = self.by_session.get(&header.session)
                && !by_client
            {
                self.close(holder, true, out);
            }
        }
    }

    /// Whether the tree is what the writer of the txn foresaw. Never fatal, as in Java.
    pub(super) fn compare_digest(&mut self, zxid: Zxid, digest: Option<TxnDigest>) -> bool {
        let known = digest.filter(|digest| digest.version == DIGEST_VERSION);
        if let Some(digest) = known
            && self.settings.prepare.digest
            && digest.tree != self.state.digest()
        {
            self.metrics.digest_mismatches_count.one();
            if self.warnings.admits(self.now.mono) {
                log::error!("Digests are not matching. Value is Zxid. 0x{zxid:x}");
            }
            return false;
        }
        true
    }

    fn answer_write(&mut self, id: ConnId, xid: Xid, op: i32, txn: &Txn, out: &mut Effects) {
        let Some(conn) = self.conns.find(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        let received = conn.order.complete_write(xid);
        self.request_throttle.release(conn.order.take_released());
        self.outstanding.less(conn.pauses, 1);
        let reply = WriteReply::of(txn, &self.applied);
        let applied = std::mem::take(&mut self.applied);
        // Java names no operation for a txn that is nothing but an error.
        let op = if matches!(txn, Txn::Error { .. }) { 0 } else { op };
        self.reply(id, xid, op, reply.err, received, out, |out| {
            if reply.err == ErrorCode::Ok {
                serve::write_reply_body(txn, &applied, out);
            }
        });
        self.applied = applied;
        if reply.closes {
            self.close(id, true, out);
        }
    }

    /// A whole reply with the present zxid, and what `cons` and `mntr` count of it.
    #[expect(clippy::too_many_arguments, reason = "what a reply consists of")]
    pub(super) fn reply(
        &mut self,
        id: ConnId,
        xid: Xid,
        op: i32,
        err: ErrorCode,
        received: Instant,
        out: &mut Effects,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let zxid = self.state.last_zxid();
        out.send(id, |out| write_reply(out, xid, zxid, err, body));
        self.count_reply(id, xid, op, received);
    }

    pub(super) fn answer_read(
        &mut self,
        id: ConnId,
        xid: Xid,
        op: OpCode,
        body: &[u8],
        received: Instant,
        out: &mut Effects,
    ) {
        let Some(conn) = self.conns.find(id) else { return };
        let reader = serve::Reader { conn: id, session: conn.session, ids: &conn.ids };
        let visits = &self.visits;
        let context = ReadContext { state: &self.state, providers: &self.providers, visits };
        let from = out.arena.len();
        let err = serve::answer(context, &mut self.watches, &reader, xid, op, body, &mut out.arena);
        let to = out.arena.len();
        if err == ErrorCode::Ok {
            super::namespaces::count_read(&mut self.metrics, op, body, &out.arena[from..]);
        }
        out.push_range(id, from..to);
        self.count_reply(id, xid, op.number(), received);
    }

    pub(super) fn count_reply(&mut self, id: ConnId, xid: Xid, op: i32, received: Instant) {
        let now = self.now.mono;
        let latency_ms = now.ms_since(received);
        let zxid = self.state.last_zxid();
        self.stats.latency_ms.observe(latency_ms);
        self.stats.packets_sent.one();
        if let Some(conn) = self.conns.find(id) {
            conn.stats.replies += 1;
            conn.stats.on_reply(op_name(op), xid, zxid, latency_ms, now);
        }
    }
}

/// Turns what the last txn changed into events. Each event is encoded once, however many receive
/// it, and only those who may read the node do.
fn notify(node: &mut Node, zxid: crate::base::Zxid, out: &mut Effects) {
    let (conns, providers) = (&mut node.conns, &node.providers);
    let mut sent = 0;
    let mut last: Option<(EventKind, String, std::ops::Range<usize>)> = None;
    node.watches.fire(&node.applied.changes, &mut |id, kind, path, acl| {
        // Thousands who watch a node that anybody may read are told without a look at each.
        if !permits_anyone(acl, Perms::READ) && !may_see(conns, providers, id, acl) {
            return;
        }
        let range = match &last {
            Some((k, p, range)) if *k == kind && p == path => range.clone(),
            _ => {
                let from = out.arena.len();
                write_event(&mut out.arena, zxid, kind, path);
                let range = from..out.arena.len();
                last = Some((kind, path.to_owned(), range.clone()));
                range
            }
        };
        out.push_range(id, range);
        sent += 1;
        conns.count_event(id);
    });
    node.stats.packets_sent.add(sent);
}

fn may_see(conns: &Conns, providers: &Providers, id: ConnId, acl: &AclList) -> bool {
    // Nobody watches before there is a session, and who closes is forgotten at once.
    conns.peek(id).is_some_and(|conn| providers.permits(acl, Perms::READ, &conn.ids))
}
