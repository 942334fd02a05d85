//! `mntr`: every gauge, counter and summary, one `zk_<key>` a line.

use std::fmt::Display;
use std::io::Write;

use crate::base::{Metric, Summary};

use super::report::{NodeReport, PeerReport, QuotaGauges, Report};
use super::text::{Double, rounded};

pub(super) fn write_mntr(report: &Report<'_>, out: &mut Vec<u8>) {
    let mut lines = Lines { out };
    lines.line("version", report.version);
    lines.line("server_state", report.mode.name());
    if let Some(peer) = &report.node.peer {
        lines.line("peer_state", &peer.state);
    }
    gauges(report, &mut lines);
    quotas(&report.node, &mut lines);
    report.metrics.visit(&mut |name, metric| match metric {
        Metric::Counter(count) => lines.line(name, count),
        Metric::Summary(summary) => lines.summary("", name, summary),
        Metric::Counters(set) => {
            set.iter().for_each(|(key, count)| lines.pair(key, name, count.0));
        }
        Metric::Summaries(set) => {
            set.iter().for_each(|(key, summary)| lines.summary(key, name, summary));
        }
    });
}

/// Apache's order is that of a hash table; those of a member stand among the others.
fn gauges(report: &Report<'_>, lines: &mut Lines<'_>) {
    let (node, net, stats) = (&report.node, &report.net, report.stats);
    let no_peer = PeerReport::default();
    let peer = node.peer.as_ref().unwrap_or(&no_peer);
    let leader = peer.leader.as_ref();
    let latency = &stats.latency_ms;
    lines.line("ephemerals_count", node.ephemerals_count);
    lines.line("num_alive_connections", net.connections);
    lines.line("avg_latency", rounded(latency.mean()));
    lines.some("min_proposal_size", leader.map(|l| l.proposal_sizes.min));
    lines.line("outstanding_requests", node.outstanding_requests);
    lines.line("znode_count", node.node_count);
    lines.line("global_sessions", node.global_sessions);
    lines.line("non_mtls_remote_conn_count", stats.non_mtls_remote_conns.0);
    lines.line("last_client_response_size", stats.client_response_sizes.last);
    lines.line("packets_sent", stats.packets_sent.0);
    lines.line("packets_received", stats.packets_received.0);
    lines.some("max_proposal_size", leader.map(|l| l.proposal_sizes.max));
    lines.line("max_client_response_size", stats.client_response_sizes.max);
    lines.some("synced_followers", leader.map(|l| l.synced_followers));
    lines.line("connection_drop_probability", Double(net.connection_drop_probability));
    lines.line("watch_count", node.watches.data_watches + node.watches.child_watches);
    lines.some("synced_non_voting_followers", leader.map(|l| l.synced_non_voting_followers));
    lines.some("synced_observers", leader.map(|l| l.synced_observers));
    lines.line("auth_failed_count", stats.auth_failed.0);
    lines.line("min_latency", latency.min());
    lines.line("max_file_descriptor_count", net.max_files);
    lines.line("approximate_data_size", node.approximate_data_size);
    lines.line("open_file_descriptor_count", net.open_files);
    lines.some("last_proposal_size", leader.map(|l| l.proposal_sizes.last));
    lines.some("pending_syncs", leader.map(|l| l.pending_syncs));
    lines.some("leader_uptime", leader.map(|l| l.uptime_ms));
    lines.line("local_sessions", node.local_sessions);
    lines.line("uptime", node.uptime_ms);
    lines.line("max_latency", latency.max());
    lines.line("outstanding_tls_handshake", net.outstanding_tls_handshakes);
    lines.some("learners", leader.map(|l| l.learners));
    lines.line("min_client_response_size", stats.client_response_sizes.min);
    lines.some("quorum_size", node.peer.as_ref().map(|p| p.quorum_size));
    lines.line("non_mtls_local_conn_count", stats.non_mtls_local_conns.0);
    // Not Apache's, and there only while it matters.
    lines.some("hanging_sync_ms", node.hanging_sync_ms);
    lines.some("tls_certificate_days_left", net.certificate_days_left);
}

fn quotas(node: &NodeReport, lines: &mut Lines<'_>) {
    type Gauge = fn(&QuotaGauges) -> Option<i64>;
    let sets: [(&str, Gauge); 4] = [
        ("quota_bytes_limit_per_namespace", |q| q.bytes_limit),
        ("quota_count_usage_per_namespace", |q| q.count_usage),
        ("quota_count_limit_per_namespace", |q| q.count_limit),
        ("quota_bytes_usage_per_namespace", |q| q.bytes_usage),
    ];
    for (name, gauge) in sets {
        for quota in &node.quotas {
            if let Some(value) = gauge(quota) {
                lines.pair(&quota.namespace, name, value);
            }
        }
    }
}

struct Lines<'a> {
    out: &'a mut Vec<u8>,
}

impl Lines<'_> {
    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.out, "zk_{key}\t{value}");
    }

    fn some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn pair(&mut self, key: &str, name: &str, value: impl Display) {
        let _ = writeln!(self.out, "zk_{key}_{name}\t{value}");
    }

    fn summary(&mut self, key: &str, name: &str, summary: &Summary) {
        let joint = if key.is_empty() { "" } else { "_" };
        let mut line = |what: &str, value: &dyn Display| {
            let _ = writeln!(self.out, "zk_{what}_{key}{joint}{name}\t{value}");
        };
        line("avg", &rounded(summary.mean()));
        line("min", &summary.min());
        line("max", &summary.max());
        line("cnt", &summary.count());
        line("sum", &summary.sum());
        if summary.has_percentiles() {
            line("p50", &summary.percentile(0.5));
            line("p95", &summary.percentile(0.95));
            line("p99", &summary.percentile(0.99));
            line("p999", &summary.percentile(0.999));
        }
    }
}
