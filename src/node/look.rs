//! What an operator may look at, and the few things he may reset.

use std::net::SocketAddr;

use crate::base::{ConnId, Instant, ServerMetrics, ServerStats, SessionId, WallMillis, Zxid};
use crate::config::Config;
use crate::history::ChoreCommand;
use crate::session::Sessions;
use crate::state::State;
use crate::watch::WatchTable;

use super::conns::{Conn, Conns, Pauses, Phase};
use super::seam::{Effect, Effects};
use super::{Life, Node};

/// One connection as listings show it.
#[derive(Clone, Copy, Debug)]
pub struct ConnLook {
    pub id: ConnId,
    pub peer: SocketAddr,
    pub is_read: bool,
    /// It does not take what is sent to it.
    pub is_backed_up: bool,
    pub queued: u64,
    pub received: u64,
    pub sent: u64,
    /// Absent before the handshake.
    pub session: Option<SessionId>,
    pub timeout_ms: i32,
    pub last_op: &'static str,
    pub established: WallMillis,
    pub last_heard: Instant,
    pub last_cxid: i64,
    pub last_zxid: Zxid,
    pub last_response: Instant,
    pub last_latency_ms: u64,
    pub min_latency_ms: u64,
    pub avg_latency_ms: u64,
    pub max_latency_ms: u64,
}

impl ConnLook {
    fn of(conn: &Conn, sent: u64) -> ConnLook {
        let stats = &conn.stats;
        ConnLook {
            id: conn.id,
            peer: conn.peer,
            is_read: conn.pauses.is_read() && !matches!(conn.phase, Phase::Closing),
            is_backed_up: conn.pauses.has(Pauses::BACKLOG),
            queued: conn.order.len() as u64,
            received: stats.received,
            sent,
            session: (conn.session != SessionId::NONE).then_some(conn.session),
            timeout_ms: conn.timeout_ms,
            last_op: stats.last_op,
            established: stats.established,
            last_heard: stats.last_heard,
            last_cxid: stats.last_cxid,
            last_zxid: stats.last_zxid,
            last_response: stats.last_response,
            last_latency_ms: stats.last_latency_ms,
            min_latency_ms: stats.latency.min(),
            avg_latency_ms: stats.latency.sum() / stats.latency.count().max(1),
            max_latency_ms: stats.latency.max(),
        }
    }
}

/// The connections, for listings.
#[derive(Clone, Copy)]
pub struct ConnsLook<'a>(&'a Conns);

impl ConnsLook<'_> {
    /// The first connection at or behind slot `from`, and its slot.
    pub fn next_connection(self, from: u32) -> Option<(u32, ConnLook)> {
        let (slot, conn) = self.0.next_from(from as usize)?;
        Some((u32::try_from(slot).ok()?, ConnLook::of(conn, self.0.sent(conn))))
    }

    pub fn session_of(self, conn: ConnId) -> SessionId {
        self.0.peek(conn).map_or(SessionId::NONE, |conn| conn.session)
    }
}

/// Everything that a long listing walks through.
pub struct Listed<'a> {
    pub state: &'a State,
    pub sessions: &'a Sessions,
    /// Those that are this server's alone, where there may be any.
    pub locals: Option<&'a Sessions>,
    /// The others expire elsewhere.
    pub learns: bool,
    pub watches: &'a mut WatchTable,
    pub conns: ConnsLook<'a>,
}

impl Node {
    pub fn config(&self) -> &Config {
        &self.settings.config
    }

    /// The replicated state.
    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn watches(&self) -> &WatchTable {
        &self.watches
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How many sessions are this server's alone.
    pub fn local_session_count(&self) -> usize {
        let locals = self.member.as_ref().and_then(|member| member.local_sessions());
        locals.map_or(0, Sessions::len)
    }

    pub fn stats(&self) -> &ServerStats {
        &self.stats
    }

    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// For what other rooms count.
    pub fn metrics_mut(&mut self) -> &mut ServerMetrics {
        &mut self.metrics
    }

    /// Of TLS: who does not come to its end has not shown who he is.
    pub fn count_failed_handshakes(&mut self, count: u64) {
        self.metrics.unsuccessful_handshake.add(count);
        self.stats.auth_failed.add(count);
    }

    pub fn is_serving(&self) -> bool {
        self.life == Life::Serving
    }

    pub fn uptime_ms(&self) -> u64 {
        self.now.mono.ms_since(self.started)
    }

    /// How long the log disk has not answered, while that is too long.
    pub fn hanging_sync_ms(&self) -> Option<u64> {
        self.storage_wait.hanging_ms(self.now.mono)
    }

    pub fn outstanding(&self) -> u64 {
        self.outstanding.total as u64
    }

    pub fn connection_drop_chance(&self) -> f64 {
        self.connect_throttle.drop_chance()
    }

    /// Bytes of both directories as last measured; asks for a new measurement.
    pub fn dir_sizes(&self, out: &mut Effects) -> Option<(u64, u64)> {
        out.push(Effect::Chore(ChoreCommand::MeasureDirs));
        self.dir_sizes
    }

    /// What listings walk through.
    pub fn listed(&mut self) -> Listed<'_> {
        let locals = self.member.as_ref().and_then(|member| member.local_sessions());
        let learns = !self.leads();
        Listed {
            state: &self.state,
            sessions: &self.sessions,
            locals,
            learns,
            watches: &mut self.watches,
            conns: ConnsLook(&self.conns),
        }
    }

    /// An operator asked something on a connection: it counts as a request, and what else it says
    /// does not count. The answer comes from elsewhere.
    pub fn note_word(&mut self, conn: ConnId) {
        self.stats.packets_received.one();
        if let Some(conn) = self.conns.find(conn) {
            conn.stats.received += 1;
            conn.stats.last_heard = self.now.mono;
            conn.alive = self.now.mono;
            conn.phase = Phase::Closing;
        }
    }

    /// `srst`.
    pub fn reset_stats(&mut self) {
        self.stats.reset();
        self.metrics.reset();
        self.reset_proposal_sizes();
    }

    /// `crst`.
    pub fn reset_connection_stats(&mut self) {
        self.conns.reset_stats();
    }
}
