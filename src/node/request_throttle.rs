//! Brakes on requests that operators may set: how many are under way at once, how long one may
//! have waited for that, and how many bytes the large ones may have together.

use std::collections::VecDeque;

use crate::base::{ConnId, Instant};
use crate::proto::{ErrorCode, OpCode, Reader, RequestHeader};

use super::Node;
use super::conns::{Pauses, Phase};
use super::seam::{Effect, Effects};

/// Requests that wait until fewer are under way, in the order they came. What one connection can
/// have here is what came in one turn: it is not read meanwhile.
#[derive(Debug, Default)]
pub(super) struct RequestThrottle {
    waiting: VecDeque<Waiting>,
    /// Some of those that wait, whose connections are gone.
    stale: usize,
    /// Bytes of large requests that are under way.
    large_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    conn: ConnId,
    body: Box<[u8]>,
    since: Instant,
}

impl RequestThrottle {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn large_bytes(&self) -> usize {
        self.large_bytes
    }

    /// A connection with so many waiting requests is gone. Nothing can be let go on while a disk
    /// hangs, and connections may come and go meanwhile: what they left must not pile up.
    pub fn abandon(&mut self, count: usize, is_open: impl Fn(ConnId) -> bool) -> u64 {
        self.stale += count;
        if self.stale <= self.waiting.len() / 2 {
            return 0;
        }
        self.waiting.retain(|waiting| is_open(waiting.conn));
        std::mem::take(&mut self.stale) as u64
    }

    /// Large requests have left.
    pub fn release(&mut self, bytes: usize) {
        self.large_bytes -= bytes;
    }
}

impl Node {
    /// Whether a request may be among the large ones, if it is one. What is too much costs the
    /// connection, as in Java.
    pub(super) fn admits_size(&mut self, length: usize) -> bool {
        let limits = &self.settings.config.limits;
        if !is_large(limits.large_request_threshold, length) {
            return true;
        }
        let max = usize::try_from(limits.large_request_max_bytes).unwrap_or(0);
        let fits = self.request_throttle.large_bytes + length <= max;
        if !fits {
            self.metrics.large_requests_rejected.one();
        }
        fits
    }

    /// The request that was just queued on a connection, if any was, counts as large until it is
    /// answered.
    pub(super) fn note_size(&mut self, id: ConnId, length: usize, queued_before: u64) {
        let threshold = self.settings.config.limits.large_request_threshold;
        if is_large(threshold, length)
            && let Some(conn) = self.conns.find(id)
            && conn.order.mark_large(queued_before, length)
        {
            self.request_throttle.large_bytes += length;
        }
    }

    /// Holds a request back where too many are under way: true where it waits now.
    pub(super) fn throttle(&mut self, id: ConnId, body: &[u8], out: &mut Effects) -> bool {
        let max = self.settings.config.limits.request_throttle.max_requests;
        let Some(max) = usize::try_from(max).ok().filter(|max| *max > 0) else { return false };
        if self.request_throttle.is_empty() && self.outstanding.in_process() < max {
            return false;
        }
        let Some(conn) = self.conns.find(id) else { return false };
        conn.throttled += 1;
        if conn.pauses.set(Pauses::THROTTLE) {
            out.push(Effect::Pause { conn: id });
        }
        let waiting = Waiting { conn: id, body: body.into(), since: self.now.mono };
        self.request_throttle.waiting.push_back(waiting);
        true
    }

    /// Lets waiting requests go on, as many as there is room for.
    pub(super) fn run_throttled(&mut self, out: &mut Effects) {
        while self.outstanding.in_process() < self.most_in_process() {
            let Some(waiting) = self.request_throttle.waiting.pop_front() else { return };
            let Some(conn) = self.conns.find(waiting.conn) else {
                // Its connection is gone.
                self.request_throttle.stale -= 1;
                self.metrics.stale_requests_dropped.one();
                continue;
            };
            conn.throttled -= 1;
            if conn.throttled == 0 && conn.pauses.clear(Pauses::THROTTLE) {
                out.push(Effect::Resume { conn: waiting.conn });
            }
            if !matches!(conn.phase, Phase::Closing) {
                self.run_waiting(&waiting, out);
            }
        }
        if !self.request_throttle.is_empty() {
            self.metrics.request_throttle_wait_count.one();
        }
    }

    fn most_in_process(&self) -> usize {
        let max = self.settings.config.limits.request_throttle.max_requests;
        usize::try_from(max).unwrap_or(0)
    }

    /// Those before them are done.
    pub(super) fn has_throttled_to_run(&self) -> bool {
        !self.request_throttle.is_empty() && self.outstanding.in_process() < self.most_in_process()
    }

    fn run_waiting(&mut self, waiting: &Waiting, out: &mut Effects) {
        let Some(header) = RequestHeader::read(&mut Reader::new(&waiting.body)).ok() else {
            return;
        };
        let Some(op) = OpCode::from_number(header.op) else { return };
        let Some(conn) = self.conns.find(waiting.conn) else { return };
        let timeout_ms = u64::try_from(conn.timeout_ms).unwrap_or(0);
        let limits = &self.settings.config.limits.request_throttle;
        let waited_ms = self.now.mono.ms_since(waiting.since);
        let is_stale = limits.stale_latency_check && waited_ms > timeout_ms;
        if is_stale && op != OpCode::CloseSession {
            if limits.drop_stale {
                self.metrics.stale_requests_dropped.one();
                return self.close(waiting.conn, false, out);
            }
            self.metrics.stale_requests.one();
        }
        self.metrics.request_throttle_queue_time_ms.observe(waited_ms);
        let patience_ms = u64::try_from(limits.op_wait_ms).unwrap_or(0);
        let may_refuse = !matches!(op, OpCode::Ping | OpCode::CloseSession);
        if patience_ms > 0 && waited_ms > patience_ms && may_refuse {
            self.metrics.throttled_ops.one();
            conn.order.push_refused(header.xid, header.op, ErrorCode::ThrottledOp, waiting.since);
            self.outstanding.more(conn.pauses, 1);
            return self.run_ready(waiting.conn, false, out);
        }
        self.run_request(waiting.conn, header, op, &waiting.body, out);
    }
}

fn is_large(threshold: Option<i32>, length: usize) -> bool {
    threshold.and_then(|t| usize::try_from(t).ok()).is_some_and(|t| length > t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, Ticket, WallMillis, Zxid};
    use crate::config::Config;
    use crate::history::{StorageCommand, StorageEvent};
    use crate::node::{CloseReason, Event, Start};
    use crate::proto::{Acl, Reader, Writer};
    use crate::state::{State, StateSettings};

    const CONN: ConnId = ConnId { index: 0, generation: 1 };

    /// A node with one session, and what it asked for.
    struct Bench {
        node: Node,
        out: Effects,
        now: Now,
        last: Ticket,
    }

    impl Bench {
        fn new(change: impl FnOnce(&mut Config)) -> Bench {
            let mut config = Config::for_tests();
            change(&mut config);
            let start = Start {
                state: State::new(&StateSettings::default()),
                tail: Vec::new(),
                last_logged: Zxid::ZERO,
                replay_until: Zxid::ZERO,
                wants_snapshot: false,
                mismatches: 0,
                behind: Default::default(),
                accepted_epoch: 0,
                current_epoch: 0,
                is_lost: false,
                snapshot: None,
                directory_kept_ms: u64::MAX,
            };
            let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
            let node = Node::new(&config, start, now, 7).expect("a node");
            let mut bench = Bench { node, out: Effects::default(), now, last: Ticket::default() };
            let peer = "127.0.0.1:9".parse().expect("an address");
            let mut hello = vec![0; 12];
            hello.extend(30_000u32.to_be_bytes());
            hello.extend([0; 8]);
            hello.extend([&16u32.to_be_bytes()[..], &[0; 17]].concat());
            bench.turn(&[
                Event::Accepted { conn: CONN, peer, local: peer, secure: false, subject: None },
                Event::Frame { conn: CONN, body: &hello },
            ]);
            bench.sync();
            bench
        }

        fn turn(&mut self, events: &[Event<'_>]) {
            self.out.clear();
            self.node.turn(self.now, events, &mut self.out);
            self.node.check();
            for effect in &self.out.list {
                if let Effect::Storage(command @ StorageCommand::Append { .. }) = effect {
                    self.last = command.ticket();
                }
            }
        }

        /// Everything handed to the log is on disk; the turn that hears of it.
        fn sync(&mut self) {
            let durable = StorageEvent::Durable { ticket: self.last, sync_us: 1 };
            self.turn(&[Event::Storage(durable)]);
        }

        fn ask(&mut self, frames: &[Vec<u8>]) {
            let events: Vec<_> =
                frames.iter().map(|body| Event::Frame { conn: CONN, body }).collect();
            self.turn(&events);
        }

        /// Xid and error of each reply of the last turn.
        fn replies(&self) -> Vec<(i32, i32)> {
            let mut rest = &self.out.arena[..];
            let mut all = Vec::new();
            while let Some((length, tail)) = rest.split_first_chunk::<4>() {
                let (body, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
                let mut header = Reader::new(body);
                let (xid, _, err) = (header.i32(), header.i64(), header.i32());
                all.push((xid.expect("an xid"), err.expect("a code")));
                rest = tail;
            }
            all
        }

        fn is_closed(&self) -> bool {
            self.out.list.contains(&Effect::Close { conn: CONN, after_flush: false })
        }
    }

    fn create(xid: i32, bytes: usize) -> Vec<u8> {
        let mut body = [xid.to_be_bytes(), 1i32.to_be_bytes()].concat();
        body.put_string(&format!("/n{xid}"));
        body.put_buffer(Some(&vec![7; bytes]));
        body.put_i32(1);
        Acl::open().write(&mut body);
        body.put_i32(0);
        body
    }

    fn ping() -> Vec<u8> {
        [(-2i32).to_be_bytes(), 11i32.to_be_bytes()].concat()
    }

    #[test]
    fn requests_beyond_the_limit_wait_and_are_answered_in_order() {
        let mut bench = Bench::new(|c| c.limits.request_throttle.max_requests = 2);
        bench.ask(&[create(1, 0), create(2, 0), create(3, 0), create(4, 0), ping()]);
        assert_eq!(bench.replies(), [], "nothing is durable, and the ping waits its turn");
        assert!(bench.out.list.contains(&Effect::Pause { conn: CONN }));
        bench.sync();
        assert_eq!(bench.replies(), [(1, 0), (2, 0)]);
        bench.sync();
        assert_eq!(bench.replies(), [(3, 0), (4, 0), (-2, 0)]);
        assert!(bench.out.list.contains(&Effect::Resume { conn: CONN }));
    }

    /// A count takes more than the turn in which it was asked for.
    #[test]
    fn what_waits_for_the_end_of_a_read_needs_no_event() {
        let mut bench = Bench::new(|c| c.limits.request_throttle.max_requests = 1);
        let mut count = [1, OpCode::GetAllChildrenNumber.number()].map(i32::to_be_bytes).concat();
        count.put_string("/zookeeper");
        let mut exists = [2, OpCode::Exists.number()].map(i32::to_be_bytes).concat();
        exists.put_string("/");
        exists.put_bool(false);
        bench.ask(&[count, exists]);
        let mut replies = bench.replies();
        while bench.node.wants_turn() {
            bench.turn(&[]);
            replies.extend(bench.replies());
        }
        assert_eq!(replies, [(1, 0), (2, 0)]);
    }

    #[test]
    fn who_waited_too_long_is_told_so_in_order_and_nothing_is_done() {
        let mut bench = Bench::new(|c| {
            c.limits.request_throttle.max_requests = 1;
            c.limits.request_throttle.op_wait_ms = 50;
        });
        bench.ask(&[create(1, 0), create(2, 0), create(3, 0)]);
        bench.now.mono = bench.now.mono.plus_ms(51);
        bench.sync();
        assert_eq!(bench.replies(), [(1, 0), (2, -127), (3, -127)]);
        assert_eq!(bench.node.metrics().throttled_ops.0, 2);
        assert!(bench.node.state().find("/n2").is_none());
    }

    #[test]
    fn what_gone_connections_asked_for_does_not_pile_up() {
        let mut bench = Bench::new(|c| c.limits.request_throttle.max_requests = 1);
        let (plenty, peer_closed) = (100, CloseReason::PeerClosed);
        bench.ask(&(0..plenty).map(|xid| create(xid, 1000)).collect::<Vec<_>>());
        assert_eq!(bench.node.request_throttle.waiting.len(), 99, "one is under way");
        bench.turn(&[Event::Closed { conn: CONN, reason: peer_closed }]);
        assert_eq!(bench.node.request_throttle.waiting.len(), 0);
        assert_eq!(bench.node.metrics().stale_requests_dropped.0, 99);
    }

    #[test]
    fn large_requests_beyond_their_bytes_cost_the_connection() {
        let mut bench = Bench::new(|c| {
            c.limits.large_request_threshold = Some(1000);
            c.limits.large_request_max_bytes = 5000;
        });
        bench.ask(&[create(1, 3000), create(2, 900)]);
        assert!(!bench.is_closed());
        bench.sync();
        bench.ask(&[create(3, 3000)]);
        assert!(!bench.is_closed(), "what is answered does not count any more");
        bench.ask(&[create(4, 3000)]);
        assert!(bench.is_closed());
        assert_eq!(bench.node.metrics().large_requests_rejected.0, 1);
    }
}
