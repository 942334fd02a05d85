//! What is read straight from the state, the sessions and the watches.

use crate::base::{ConnId, Instant, SessionId};
use crate::session::Sessions;
use crate::state::{NodeId, NodeRef, State};
use crate::watch::{ConnListing, Listed, PathListing, WatchTable};

use super::listing::{ConnView, ExpiryBuckets, Source, WatchLine};
use super::report::{NodeReport, QuotaGauges, WatchSummary};

/// A node report with everything that state, sessions and watches know. What is left: outstanding
/// requests, uptime, and the peer.
pub fn state_report(state: &State, watches: &WatchTable) -> NodeReport {
    NodeReport {
        quotas: quota_gauges(state),
        digests: state.digest_log().collect(),
        ..state_counts(state, watches)
    }
}

/// Of that, what nothing must be walked for.
pub fn state_counts(state: &State, watches: &WatchTable) -> NodeReport {
    let counts = watches.counts();
    NodeReport {
        last_zxid: state.last_zxid(),
        node_count: state.node_count() as u64,
        ephemerals_count: state.ephemeral_count() as u64,
        approximate_data_size: state.approximate_data_size(),
        watches: WatchSummary {
            connections: counts.connections,
            paths: counts.paths,
            data_watches: counts.data_watches,
            child_watches: counts.child_watches,
        },
        global_sessions: state.session_count() as u64,
        ..NodeReport::default()
    }
}

/// Quotas summed by the first part of the path that they are for, ascending.
pub fn quota_gauges(state: &State) -> Vec<QuotaGauges> {
    const QUOTA: &str = "/zookeeper/quota";
    const LIMITS: &str = "/zookeeper_limits";
    let mut gauges: Vec<QuotaGauges> = Vec::new();
    let Some(top) = state.find(QUOTA) else { return gauges };
    let mut waiting: Vec<NodeRef<'_>> = state.node(top).children().collect();
    while let Some(node) = waiting.pop() {
        if node.child_count() > 0 {
            waiting.extend(node.children());
            continue;
        }
        let path = node.path();
        let limited = path.strip_prefix(QUOTA).and_then(|path| path.strip_suffix(LIMITS));
        let Some(limited) = limited.filter(|path| path.len() > 1) else { continue };
        let Some(quota) = state.quota(limited) else { continue };
        let namespace = limited[1..].split('/').next().unwrap_or_default();
        let at = gauges.iter().position(|g| g.namespace == namespace).unwrap_or_else(|| {
            gauges.push(QuotaGauges { namespace: namespace.to_owned(), ..Default::default() });
            gauges.len() - 1
        });
        let add = |sum: &mut Option<i64>, n: i64| {
            *sum = Some(sum.unwrap_or(0).wrapping_add(n));
        };
        // A hard limit takes the place of a soft one.
        let limit = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let (limits, gauge) = (quota.limits, &mut gauges[at]);
        add(&mut gauge.count_limit, limit(limits.hard_count, limits.count));
        add(&mut gauge.bytes_limit, limit(limits.hard_bytes, limits.bytes));
        add(&mut gauge.count_usage, quota.used_count);
        add(&mut gauge.bytes_usage, quota.used_bytes);
    }
    gauges.sort_unstable_by(|a, b| a.namespace.cmp(&b.namespace));
    gauges
}

/// The parts of a server that listings walk through.
pub struct Parts<'a> {
    pub state: &'a State,
    pub sessions: &'a Sessions,
    /// Those that are this server's alone, where there may be any.
    pub locals: Option<&'a Sessions>,
    /// The others expire elsewhere.
    pub learns: bool,
    pub watches: &'a mut WatchTable,
    pub now: Instant,
    /// The first connection whose index is at least the given one.
    pub next_connection: &'a dyn Fn(u32) -> Option<(u32, ConnView)>,
    /// The session of a connection.
    pub session_of: &'a dyn Fn(ConnId) -> SessionId,
}

impl Source for Parts<'_> {
    fn next_connection(&self, from: u32) -> Option<(u32, ConnView)> {
        (self.next_connection)(from)
    }

    fn expiry_buckets(&self) -> ExpiryBuckets {
        buckets_of(self.sessions, self.now)
    }

    fn local_buckets(&self) -> Option<ExpiryBuckets> {
        self.locals.map(|locals| buckets_of(locals, self.now))
    }

    fn learned_sessions(&self) -> Option<Vec<(SessionId, i32)>> {
        self.learns.then(|| self.state.sessions().collect())
    }

    fn sessions_with_ephemerals(&self) -> Vec<SessionId> {
        self.state.sessions_with_ephemerals().collect()
    }

    fn ephemerals(
        &self,
        session: SessionId,
        from: u32,
        max: usize,
        visit: &mut dyn FnMut(&str),
    ) -> Option<u32> {
        let mut path = String::new();
        let mut ids = self.state.ephemerals_from(session, NodeId::from_index(from));
        for id in ids.by_ref().take(max) {
            path.clear();
            self.state.node(id).write_path(&mut path);
            visit(&path);
        }
        ids.next().map(|id| id.index() as u32)
    }

    fn watched_paths(
        &mut self,
        listing: &mut PathListing,
        max: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool {
        let session_of = self.session_of;
        let mut line = |listed: Listed<'_>| visit(watch_line(listed, session_of));
        self.watches.list_paths(listing, self.state, max, &mut line)
    }

    fn watching_sessions(
        &mut self,
        listing: &mut ConnListing,
        max: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool {
        let session_of = self.session_of;
        let mut line = |listed: Listed<'_>| visit(watch_line(listed, session_of));
        self.watches.list_connections(listing, self.state, max, &mut line)
    }
}

fn buckets_of(sessions: &Sessions, now: Instant) -> ExpiryBuckets {
    sessions.expiry_listing(now).map(|(due_ms, ids)| (due_ms, ids.collect())).collect()
}

fn watch_line<'l>(listed: Listed<'l>, session_of: &dyn Fn(ConnId) -> SessionId) -> WatchLine<'l> {
    match listed {
        Listed::Path(path) => WatchLine::Path(path),
        Listed::Conn(conn) => WatchLine::Session(session_of(conn)),
    }
}
