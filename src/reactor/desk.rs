//! The operators' desk: takes the four-letter words that the reactor cut, and answers them from
//! the node beside it. Long listings go on a portion a turn, and rest while nobody reads them.

use std::collections::VecDeque;

use crate::admin::{
    self, Ask, Conf, ConnView, DirReport, Environment, LeaderReport, Listing, Mode, NetReport,
    NodeReport, Parts, PeerReport, Report, SessionUse, Whitelist, Word,
};
use crate::base::ANNOUNCED_VERSION;
use crate::base::limits::{
    TURN_ARENA_BYTES, WORD_CHUNK_BYTES, WORD_LISTINGS, WORD_MEASURE_MS, WORD_STALL_MS,
};
use crate::base::{ConnId, Instant, Now};
use crate::config::Config;
use crate::history::StorageEvent;
use crate::node::{ConnLook, Effect, Effects, Event, Node, NodeMode};

use super::Turn;

/// A connection whose first bytes are a four-letter word; `stmk` comes with its eight bytes. The
/// rest of that connection's input is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub conn: ConnId,
    pub word: [u8; 4],
    pub argument: Option<[u8; 8]>,
}

/// What the reactor itself knows after a turn's input.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetNews {
    /// Connections that are there.
    pub connections: usize,
    /// Connections turned away since the last turn.
    pub refused: u64,
    /// Connections closed since the last turn because no session came.
    pub sessionless_expired: u64,
    /// TLS handshakes under way, and since the last turn those that failed and those for which
    /// there was no room.
    pub handshakes: usize,
    pub handshakes_failed: u64,
    pub handshakes_exceeded: u64,
    /// When the first of the server's certificates ends, in seconds since 1970.
    pub certificate_not_after: Option<i64>,
}

/// Where clients find the server, by the port's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub plain: Option<u16>,
    pub secure: Option<u16>,
}

/// A node and the desk beside it.
pub struct Attended {
    pub node: Node,
    desk: Desk,
}

impl Attended {
    pub fn new(node: Node, ports: Ports) -> Attended {
        let desk = Desk::new(node.config(), ports);
        Attended { node, desk }
    }
}

impl Turn for Attended {
    fn turn(&mut self, now: Now, events: &[Event<'_>], out: &mut Effects) {
        self.node.turn(now, events, out);
        self.desk.hear(now.mono, events);
    }

    fn attend(&mut self, now: Now, words: &[Asked], news: &NetNews, out: &mut Effects) {
        let metrics = self.node.metrics_mut();
        metrics.connection_rejected.add(news.refused);
        metrics.sessionless_connections_expired.add(news.sessionless_expired);
        metrics.tls_handshake_exceeded.add(news.handshakes_exceeded);
        self.node.count_failed_handshakes(news.handshakes_failed);
        self.desk.take(&mut self.node, now.mono, words, out);
        self.desk.answer(&mut self.node, now, news, out);
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        [self.node.next_timeout(), self.desk.next_timeout()].into_iter().flatten().min()
    }

    fn due_at_once(&mut self, now: Instant) {
        self.node.due_at_once(now);
    }

    fn wants_turn(&self) -> bool {
        self.node.wants_turn() || self.desk.wants_turn()
    }
}

/// A word that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    asked: Asked,
    word: Word,
    since: Instant,
    /// It waits for a measurement of the directories.
    measures: bool,
}

/// A long answer under way.
struct Answer {
    conn: ConnId,
    listing: Listing,
    /// The client does not take what was sent, since then.
    stuck: Option<Instant>,
}

struct Desk {
    whitelist: Whitelist,
    conf: Conf,
    environment: Environment,
    sessionless_ms: u64,
    trace_mask: i64,
    dirs: DirReport,
    is_measuring: bool,
    waiting: VecDeque<Waiting>,
    answers: Vec<Answer>,
    chunk: Vec<u8>,
}

impl Desk {
    fn new(config: &Config, ports: Ports) -> Desk {
        Desk {
            whitelist: Whitelist::of(|word| config.admin.words.permits(word)),
            conf: super::surroundings::conf(config, ports),
            environment: super::surroundings::environment(),
            sessionless_ms: u64::try_from(config.clients.sessionless_timeout_ms).unwrap_or(0),
            trace_mask: DEFAULT_TRACE_MASK,
            dirs: DirReport::default(),
            is_measuring: false,
            waiting: VecDeque::new(),
            answers: Vec::new(),
            chunk: Vec::new(),
        }
    }

    /// What of a turn's events concerns answers that are under way.
    fn hear(&mut self, now: Instant, events: &[Event<'_>]) {
        if self.waiting.is_empty() && self.answers.is_empty() && !self.is_measuring {
            return;
        }
        for event in events {
            match event {
                Event::Storage(StorageEvent::DirSizes { data, log }) => {
                    self.dirs = DirReport { data_bytes: *data, log_bytes: *log };
                    self.is_measuring = false;
                    self.waiting.iter_mut().for_each(|waiting| waiting.measures = false);
                }
                Event::Closed { conn, .. } => {
                    self.answers.retain(|answer| answer.conn != *conn);
                    self.waiting.retain(|waiting| waiting.asked.conn != *conn);
                }
                Event::Backlog { conn, bytes } => {
                    let mut answers = self.answers.iter_mut();
                    if let Some(answer) = answers.find(|answer| answer.conn == *conn) {
                        answer.stuck = (*bytes > 0).then_some(now);
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, node: &mut Node, now: Instant, words: &[Asked], out: &mut Effects) {
        for asked in words {
            node.note_word(asked.conn);
            let Some(word) = Word::from_bytes(asked.word) else { continue };
            let measures = matches!(word, Word::Dirs | Word::Conf) && self.whitelist.allows(word);
            if measures && !self.is_measuring {
                node.dir_sizes(out);
                self.is_measuring = true;
            }
            self.waiting.push_back(Waiting { asked: *asked, word, since: now, measures });
        }
    }

    /// Answers what can be answered now, as far as the turn's room goes.
    fn answer(&mut self, node: &mut Node, now: Now, news: &NetNews, out: &mut Effects) {
        for _ in 0..self.waiting.len() {
            let Some(waiting) = self.waiting.pop_front() else { break };
            let is_late = now.mono.ms_since(waiting.since) >= WORD_MEASURE_MS;
            let has_room = out.arena.len() < TURN_ARENA_BYTES
                && (self.answers.len() < WORD_LISTINGS || !is_long(waiting.word));
            if (waiting.measures && !is_late) || !has_room {
                self.waiting.push_back(waiting);
            } else {
                let net = super::surroundings::net_report(news, now);
                self.begin(&waiting, node, net, out);
            }
        }
        let mut answers = std::mem::take(&mut self.answers);
        answers.retain_mut(|answer| self.go_on(answer, node, now, out));
        self.answers = answers;
    }

    /// What a configuration may have changed since the start.
    fn look_at_members(&mut self, node: &Node) {
        let (Some(quorum), Some(peer)) = (&mut self.conf.quorum, node.peer_look()) else { return };
        quorum.membership = peer.membership;
        quorum.is_observer = peer.is_observer;
        if let Some((election_port, quorum_port)) = peer.ports {
            quorum.election_port = i32::from(election_port);
            quorum.quorum_port = i32::from(quorum_port);
        }
    }

    fn begin(&mut self, waiting: &Waiting, node: &mut Node, net: NetReport, out: &mut Effects) {
        if waiting.word == Word::Conf {
            self.look_at_members(node);
        }
        let report = Report {
            serving: node.is_serving() && node.mode() != NodeMode::Looking,
            mode: match node.mode() {
                NodeMode::Standalone => Mode::Standalone,
                NodeMode::Leader => Mode::Leader,
                NodeMode::Observer => Mode::Observer,
                NodeMode::ReadOnly => Mode::ReadOnly,
                NodeMode::Follower | NodeMode::Looking => Mode::Follower,
            },
            version: ANNOUNCED_VERSION,
            stats: node.stats(),
            metrics: node.metrics(),
            node: node_report(node, waiting.word),
            net: NetReport { connection_drop_probability: node.connection_drop_chance(), ..net },
            dirs: self.dirs,
            conf: &self.conf,
            environment: &self.environment,
            trace_mask: self.trace_mask,
        };
        let conn = waiting.asked.conn;
        let argument = waiting.asked.argument.map(i64::from_be_bytes);
        self.chunk.clear();
        let begun = admin::begin(waiting.word, argument, &self.whitelist, &report, &mut self.chunk);
        out.send(conn, |arena| arena.extend_from_slice(&self.chunk));
        match begun.ask {
            Some(Ask::ResetServer) => node.reset_stats(),
            Some(Ask::ResetConnections) => node.reset_connection_stats(),
            Some(Ask::SetTraceMask(mask)) => self.trace_mask = mask,
            None => {}
        }
        match begun.listing {
            Some(listing) => self.answers.push(Answer { conn, listing, stuck: None }),
            None => out.push(Effect::Close { conn, after_flush: true }),
        }
    }

    /// Writes the next portion of a listing. False when it is over.
    fn go_on(&mut self, answer: &mut Answer, node: &mut Node, now: Now, out: &mut Effects) -> bool {
        let conn = answer.conn;
        if let Some(since) = answer.stuck {
            let is_over = now.mono.ms_since(since) >= WORD_STALL_MS;
            if is_over {
                out.push(Effect::Close { conn, after_flush: false });
            }
            return !is_over;
        }
        if out.arena.len() >= TURN_ARENA_BYTES {
            return true;
        }
        let look = node.listed();
        let sessionless_ms = self.sessionless_ms;
        let next = |from| {
            let (index, conn) = look.conns.next_connection(from)?;
            Some((index, view_of(&conn, sessionless_ms, now.mono)))
        };
        let session_of = |conn| look.conns.session_of(conn);
        let mut parts = Parts {
            state: look.state,
            sessions: look.sessions,
            locals: look.locals,
            learns: look.learns,
            watches: look.watches,
            now: now.mono,
            next_connection: &next,
            session_of: &session_of,
        };
        self.chunk.clear();
        let is_done = answer.listing.next_chunk(&mut parts, now, &mut self.chunk, WORD_CHUNK_BYTES);
        out.send(conn, |arena| arena.extend_from_slice(&self.chunk));
        if is_done {
            out.push(Effect::Close { conn, after_flush: true });
        }
        !is_done
    }

    fn next_timeout(&self) -> Option<Instant> {
        let measured = self.waiting.iter().filter(|waiting| waiting.measures);
        let measured = measured.map(|waiting| waiting.since.plus_ms(WORD_MEASURE_MS));
        let stuck = self.answers.iter().filter_map(|answer| answer.stuck);
        measured.chain(stuck.map(|since| since.plus_ms(WORD_STALL_MS))).min()
    }

    fn wants_turn(&self) -> bool {
        self.answers.iter().any(|answer| answer.stuck.is_none())
            || self.answers.len() < WORD_LISTINGS && self.waiting.iter().any(|w| !w.measures)
    }
}

/// Words whose answers are listings, of which a bounded number is under way.
fn is_long(word: Word) -> bool {
    matches!(word, Word::Cons | Word::Stat | Word::Dump | Word::Wchc | Word::Wchp)
}

/// What a word shows of the node, and no more: some of it must be walked for.
fn node_report(node: &Node, word: Word) -> NodeReport {
    let (state, watches) = (node.state(), node.watches());
    let report = match word {
        Word::Mntr | Word::Hash => admin::state_report(state, watches),
        _ => admin::state_counts(state, watches),
    };
    let peer = match word {
        Word::Mntr | Word::Srvr | Word::Stat => node.peer_look(),
        _ => None,
    };
    let leader = peer.as_ref().and_then(|peer| peer.leader);
    NodeReport {
        // A leader is where its epoch begins before there is a txn in it.
        last_zxid: leader.map_or(report.last_zxid, |leader| leader.begin.max(report.last_zxid)),
        outstanding_requests: node.outstanding(),
        uptime_ms: node.uptime_ms(),
        hanging_sync_ms: node.hanging_sync_ms(),
        peer: peer.map(|peer| PeerReport {
            state: peer.state,
            quorum_size: peer.quorum_size,
            leader: leader.map(|leader| LeaderReport {
                learners: leader.learners,
                synced_followers: leader.synced_followers,
                synced_non_voting_followers: leader.synced_non_voting_followers,
                synced_observers: leader.synced_observers,
                pending_syncs: leader.pending_syncs,
                uptime_ms: leader.uptime_ms,
                proposal_sizes: leader.proposal_sizes,
            }),
        }),
        local_sessions: node.local_session_count() as u64,
        ..report
    }
}

fn view_of(conn: &ConnLook, sessionless_ms: u64, now: Instant) -> ConnView {
    let timeout_ms = u64::try_from(conn.timeout_ms).unwrap_or(0);
    ConnView {
        peer: conn.peer,
        reading: conn.is_read,
        writing: conn.is_backed_up,
        queued: conn.queued,
        received: conn.received,
        sent: conn.sent,
        idle_limit_ms: if conn.session.is_some() { timeout_ms } else { sessionless_ms },
        idle_ms: now.ms_since(conn.last_heard),
        session: conn.session.map(|id| SessionUse {
            id,
            last_op: conn.last_op,
            established: conn.established,
            timeout_ms: conn.timeout_ms,
            last_cxid: conn.last_cxid,
            last_zxid: conn.last_zxid,
            last_response_ms: conn.last_response.as_ms(),
            last_latency_ms: conn.last_latency_ms,
            min_latency_ms: conn.min_latency_ms,
            avg_latency_ms: conn.avg_latency_ms,
            max_latency_ms: conn.max_latency_ms,
        }),
    }
}

/// What a fresh Java server traces.
const DEFAULT_TRACE_MASK: i64 = 306;

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
