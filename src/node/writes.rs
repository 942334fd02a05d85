//! Writes on their way out and back: to `prepare`, into the log, to the state, to the clients.

use crate::auth::{Providers, permits_anyone};
use crate::base::{ConnId, Instant, SessionId, Ticket, Xid, Zxid, limits};
use crate::prepare::{Prepared, Requester};
use crate::proto::{DIGEST_VERSION, TxnDigest, TxnHeader, write_reply};
use crate::proto::{
    DecodeError, Entry, ErrorCode, EventKind, OpCode, Perms, Request, RequestHeader, Txn,
    write_event,
};
use crate::serve::{self, ReadContext, WriteReply};
use crate::state::{AclList, Mode};
use crate::zab::{Proposal, Ready};

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
        if self.refuse_write(id, header, op, out) {
            return;
        }
        let ends_here = op == OpCode::CloseSession && self.has_local_session(id);
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
        if ends_here && !conn.order.has_unprepared() {
            conn.order.push_read(body, now);
            return self.run_ready(id, false, out);
        }
        if !has_room || conn.order.has_unprepared() {
            self.unprepared_bytes += conn.order.push_unprepared(header.xid, header.op, body, now);
            return self.make_runnable(id);
        }
        conn.order.push_write(header.xid, header.op, now);
        self.submit(Self::origin_of(id, header), op, &body[8..], request, out);
    }

    /// What a member's client asks to be seen takes its turn among its writes.
    pub(super) fn on_sync(
        &mut self,
        id: ConnId,
        header: RequestHeader,
        frame: &[u8],
        out: &mut Effects,
    ) {
        if self.refuse_write(id, header, OpCode::Sync, out) {
            return;
        }
        let has_room = self.has_log_room() && self.inbox.is_empty();
        let now = self.now.mono;
        let Some(conn) = self.conns.find(id) else { return };
        self.outstanding.more(conn.pauses, 1);
        if !has_room || conn.order.has_unprepared() {
            self.unprepared_bytes += conn.order.push_unprepared(header.xid, header.op, frame, now);
            return self.make_runnable(id);
        }
        conn.order.push_write(header.xid, header.op, now);
        let body = &frame[8..];
        let origin = Origin::Sync { conn: id, xid: header.xid, body: body.into() };
        self.begin_sync(origin, body, out);
    }

    /// A write goes to whoever prepares it: this server or its leader.
    pub(super) fn submit(
        &mut self,
        mut origin: Origin,
        op: OpCode,
        body: &[u8],
        request: Result<Request<'_>, DecodeError>,
        out: &mut Effects,
    ) {
        if self.member.is_some() {
            self.prepare_session(&mut origin, request.as_ref().ok(), out);
            if !self.leads() {
                return self.forward(origin, op, body, out);
            }
        }
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
            self.prepare_waiting(id, out);
            self.run_ready(id, false, out);
        }
    }

    fn prepare_waiting(&mut self, id: ConnId, out: &mut Effects) {
        while self.has_log_room() && self.may_take_up() {
            let Some(conn) = self.conns.find(id) else { return };
            let Some(frame) = conn.order.take_unprepared() else { return };
            self.unprepared_bytes -= frame.len();
            let header = RequestHeader::read(&mut crate::proto::Reader::new(&frame));
            let (Ok(header), Some(body)) = (header, frame.get(8..)) else { return };
            let Some(op) = OpCode::from_number(header.op) else { return };
            let origin = Self::origin_of(id, header);
            if op == OpCode::CloseSession && self.has_local_session(id) {
                // None of the writes before it has made it a session of the whole ensemble.
                let Some(conn) = self.conns.find(id) else { return };
                conn.order.take_as_read(frame);
            } else if op == OpCode::Sync {
                let origin = Origin::Sync { conn: id, xid: header.xid, body: body.into() };
                self.begin_sync(origin, body, out);
            } else {
                self.submit(origin, op, body, Request::read(op, body), out);
            }
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
    pub(super) fn run_inbox(&mut self, out: &mut Effects) {
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
                    let origin = Origin::NewSession { session, conn };
                    let body = timeout_ms.to_be_bytes();
                    self.submit(origin, OpCode::CreateSession, &body, Ok(request), out);
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
            Origin::NewSession { session, .. }
            | Origin::Upgrade { session }
            | Origin::Expiry { session } => (session, 0),
            _ => (SessionId::NONE, 0),
        };
        let (session_ok, ephemeral_ok) = match origin {
            Origin::Client { refused, .. } => self.judge_own(session, refused),
            _ => (Ok(()), Ok(())),
        };
        let ids = match origin {
            Origin::Client { conn, .. } => self.conns.peek(conn).map(|c| &c.ids),
            _ => None,
        };
        let who = Requester {
            session,
            cxid,
            ids: ids.unwrap_or(&self.own_ids),
            session_ok,
            ephemeral_ok,
            from_server: !matches!(origin, Origin::Client { .. }),
        };
        let zxid = self.leading.next_zxid();
        let (state, providers) = (&self.state, &self.providers);
        let prepared = self.prepare.prepare(state, providers, &who, zxid, self.now.wall, request);
        self.take_prepared(&who_is(&who), zxid, prepared, origin);
    }

    /// The same for whom another server vouches.
    pub(super) fn propose_as(
        &mut self,
        who: &Requester<'_>,
        origin: Origin,
        request: &Request<'_>,
    ) {
        let zxid = self.leading.next_zxid();
        let (state, providers) = (&self.state, &self.providers);
        let prepared = self.prepare.prepare(state, providers, who, zxid, self.now.wall, request);
        self.take_prepared(&who_is(who), zxid, prepared, origin);
    }

    fn take_prepared(
        &mut self,
        &(session, cxid): &(SessionId, i32),
        zxid: Zxid,
        prepared: Prepared,
        origin: Origin,
    ) {
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
        if self.leading.is_batching() && !self.leading.is_gathering() {
            let (txns, bytes) = self.leading.batch_size();
            let ticket = self.next_ticket();
            if let Some(append) = self.leading.flush(ticket) {
                if self.member.is_some() {
                    self.propose_to_learners(&append);
                }
                out.push(Effect::Storage(append));
            }
            if self.is_log_full(txns, bytes) {
                self.leading.roll();
            }
        }
        if self.member.is_some() {
            self.flush_learned(out);
            self.flush_learners(out);
            self.carry_out(out);
        }
    }

    /// Counts what goes to the log: whether the next append begins a new file.
    pub(super) fn is_log_full(&mut self, txns: u64, bytes: u64) -> bool {
        let limit = self.settings.log_size_limit_bytes;
        self.log_bytes += bytes;
        let is_over = limit > 0 && self.log_bytes >= limit;
        let is_full = self.snapshots.on_append(txns, bytes, &mut self.rng) || is_over;
        if is_full {
            self.log_bytes = 0;
        }
        is_full
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
        if self.member.is_some() {
            self.commit_learned(out);
        }
        for _ in 0..limits::APPLIES_PER_TURN {
            if !self.has_turn_room(out) || self.member.is_some() && !self.answer_own_syncs(out) {
                break;
            }
            // Reads that came before this write must not see it.
            if let Some(Origin::Client { conn, .. }) = self.leading.peek_committed()
                && !self.run_before(*conn, out)
            {
                return;
            }
            let Some(proposal) = self.leading.next_committed() else { return };
            self.apply(&proposal, Mode::Exact, out);
            self.receive_returned(out);
            self.tell_origin(&proposal, out);
        }
        self.want_turn_for_syncs();
    }

    /// Whoever asked for a txn hears of it.
    fn tell_origin(&mut self, proposal: &Proposal<Origin>, out: &mut Effects) {
        match proposal.origin {
            Origin::Client { conn, xid, op, refused } => {
                self.answer_write(conn, xid, op, refused, &proposal.txn, out);
                self.run_ready(conn, false, out);
            }
            Origin::NewSession { session, conn } => {
                if self.conns.peek(conn).is_some_and(|c| c.session == session) {
                    self.establish(conn, out);
                }
            }
            Origin::Reaper => self.reaper.on_reaped(),
            Origin::Upgrade { .. } | Origin::Expiry { .. } | Origin::Elsewhere => {}
            Origin::Sync { .. } | Origin::Returned { .. } => unreachable!("a sync has no txn"),
        }
    }

    /// Applies what the leader has committed, in order, as `commit` does.
    fn commit_learned(&mut self, out: &mut Effects) {
        for _ in 0..limits::APPLIES_PER_TURN {
            if !self.has_turn_room(out) {
                return;
            }
            let conn = match self.next_learned() {
                None => return,
                Some(Ready::Synced(origin)) => conn_of(origin),
                Some(Ready::Txn(committed)) => committed.origin.as_ref().and_then(conn_of),
            };
            if let Some(conn) = conn
                && !self.run_before(conn, out)
            {
                return;
            }
            match self.take_learned() {
                Some(Ready::Synced(origin)) => self.answer_sync(&origin, out),
                Some(Ready::Txn(committed)) => {
                    let Entry { header, txn, digest } = committed.entry;
                    let origin = committed.origin.unwrap_or(Origin::Elsewhere);
                    let proposal = Proposal { header, txn, digest, origin };
                    let mode = if committed.is_replay { Mode::Replay } else { Mode::Exact };
                    self.apply(&proposal, mode, out);
                    self.tell_origin(&proposal, out);
                }
                None => return,
            }
        }
    }

    /// Syncs of a leader's own clients that have come to their turn. False where one has to wait
    /// for room.
    fn answer_own_syncs(&mut self, out: &mut Effects) -> bool {
        while let Some(origin) = self.next_own_sync() {
            if let Some(conn) = conn_of(&origin)
                && !self.run_before(conn, out)
            {
                self.put_back_own_sync(origin);
                return false;
            }
            self.answer_sync(&origin, out);
        }
        true
    }

    fn answer_sync(&mut self, origin: &Origin, out: &mut Effects) {
        match origin {
            Origin::Sync { conn: id, xid, body } => {
                let Some(conn) = self.conns.find(*id) else { return };
                if matches!(conn.phase, Phase::Closing) {
                    return;
                }
                if !conn.order.awaits(*xid) {
                    return self.part_out_of_order(*id, *xid, out);
                }
                let received = conn.order.complete_write(*xid);
                self.request_throttle.release(conn.order.take_released());
                self.outstanding.less(conn.pauses, 1);
                self.answer_read(*id, *xid, OpCode::Sync, body, received, out);
                self.run_ready(*id, false, out);
            }
            Origin::Returned { conn } => self.receive(*conn, out),
            _ => unreachable!("nothing else waits for a sync"),
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

    pub(super) fn apply(&mut self, proposal: &Proposal<Origin>, mode: Mode, out: &mut Effects) {
        let Proposal { header, txn, digest, .. } = proposal;
        self.applied.clear();
        self.state.apply(header, txn, mode, &mut self.applied);
        self.prepare.applied(header.zxid);
        if mode == Mode::Exact && !self.compare_digest(header.zxid, *digest) && self.leads() {
            self.unforeseen_digests += 1;
        }
        self.note_applied(header.time);
        super::namespaces::count_writes(&mut self.metrics, &self.state, &self.applied.changes);
        notify(self, header.zxid, out);
        if let Txn::CloseSession { .. } = txn {
            self.sessions.forget(header.session);
            self.left_writes.remove(&header.session);
            self.note_ended(header.session);
            self.forget_speaker(header.session);
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

    fn answer_write(
        &mut self,
        id: ConnId,
        xid: Xid,
        op: i32,
        refused: Option<ErrorCode>,
        txn: &Txn,
        out: &mut Effects,
    ) {
        let Some(conn) = self.conns.find(id) else { return };
        if matches!(conn.phase, Phase::Closing) {
            return;
        }
        if self.member.is_some() && !conn.order.awaits(xid) {
            return self.part_out_of_order(id, xid, out);
        }
        let received = conn.order.complete_write(xid);
        self.request_throttle.release(conn.order.take_released());
        self.outstanding.less(conn.pauses, 1);
        let reply = WriteReply::of(txn, &self.applied, refused);
        if reply.is_moved {
            return self.close(id, true, out);
        }
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

    /// A leader has answered what a client asked in another order than it was asked. Nobody can
    /// tell that client the truth any more over this connection.
    fn part_out_of_order(&mut self, id: ConnId, xid: Xid, out: &mut Effects) {
        log::error!("The leader has answered request {} of a client out of its turn", xid.0);
        self.close(id, false, out);
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

fn who_is(who: &Requester<'_>) -> (SessionId, i32) {
    (who.session, who.cxid)
}

/// Whose connection a txn or a sync is answered on.
fn conn_of(origin: &Origin) -> Option<ConnId> {
    match origin {
        Origin::Client { conn, .. } | Origin::Sync { conn, .. } => Some(*conn),
        _ => None,
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
