//! Apache's server metrics by their names, in one place for every room that counts.
//!
//! Order and names are those in which a live server lists them; monitoring reads them by name.
//! Some count things that this server does not have (a response cache, Netty buffers): they stay
//! 0, because a dashboard that finds no such key reports a broken server.

use super::limits::METRIC_KEYS;
use super::metrics::{Counter, Summary};

/// One metric as the visitor shows it.
#[derive(Clone, Copy, Debug)]
pub enum Metric<'a> {
    Counter(u64),
    Summary(&'a Summary),
    /// A counter for each key; its name is `<key>_<name>`.
    Counters(&'a Keyed<Counter>),
    /// A summary for each key; its names are `avg_<key>_<name>` and so on.
    Summaries(&'a Keyed<Summary>),
}

/// Metrics by a key that clients or the ensemble choose: bounded, what is beyond is not counted.
#[derive(Clone, Debug)]
pub struct Keyed<M> {
    /// Ascending.
    by_key: Vec<(Box<str>, M)>,
    /// Where the last was found: the next is mostly the same.
    recent: usize,
    fresh: fn() -> M,
}

impl<M> Keyed<M> {
    pub fn new(fresh: fn() -> M) -> Keyed<M> {
        Keyed { by_key: Vec::new(), recent: 0, fresh }
    }

    /// The metric of a key. `None` where no more keys are taken.
    pub fn at(&mut self, key: &str) -> Option<&mut M> {
        let is_recent = self.by_key.get(self.recent).is_some_and(|(known, _)| **known == *key);
        if !is_recent {
            let found = self.by_key.binary_search_by(|(known, _)| (**known).cmp(key));
            self.recent = match found {
                Ok(at) => at,
                Err(_) if self.by_key.len() >= METRIC_KEYS => return None,
                Err(at) => {
                    self.by_key.insert(at, (key.into(), (self.fresh)()));
                    at
                }
            };
        }
        self.by_key.get_mut(self.recent).map(|(_, metric)| metric)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &M)> {
        self.by_key.iter().map(|(key, m)| (&**key, m))
    }

    fn reset(&mut self) {
        self.by_key.iter_mut().for_each(|(_, m)| *m = (self.fresh)());
    }
}

macro_rules! server_metrics {
    (counters { $($counter:ident,)* } counter_sets { $($counter_set:ident,)* }
     basic { $($basic:ident,)* } advanced { $($advanced:ident,)* }
     basic_sets { $($basic_set:ident,)* } advanced_sets { $($advanced_set:ident,)* }) => {
        /// Every counter and summary of Apache 3.9.5.
        #[derive(Clone, Debug)]
        pub struct ServerMetrics {
            $(pub $counter: Counter,)*
            $(pub $counter_set: Keyed<Counter>,)*
            $(pub $basic: Summary,)*
            $(pub $advanced: Summary,)*
            $(pub $basic_set: Keyed<Summary>,)*
            $(pub $advanced_set: Keyed<Summary>,)*
        }

        impl Default for ServerMetrics {
            fn default() -> ServerMetrics {
                ServerMetrics {
                    $($counter: Counter::default(),)*
                    $($counter_set: Keyed::new(Counter::default),)*
                    $($basic: Summary::basic(),)*
                    $($advanced: Summary::advanced(),)*
                    $($basic_set: Keyed::new(Summary::basic),)*
                    $($advanced_set: Keyed::new(Summary::advanced),)*
                }
            }
        }

        impl ServerMetrics {
            /// Shows every metric in Apache's order.
            pub fn visit(&self, show: &mut dyn FnMut(&'static str, Metric<'_>)) {
                $(show(stringify!($counter), Metric::Counter(self.$counter.0));)*
                $(show(stringify!($counter_set), Metric::Counters(&self.$counter_set));)*
                $(show(stringify!($basic), Metric::Summary(&self.$basic));)*
                $(show(stringify!($advanced), Metric::Summary(&self.$advanced));)*
                $(show(stringify!($basic_set), Metric::Summaries(&self.$basic_set));)*
                $(show(stringify!($advanced_set), Metric::Summaries(&self.$advanced_set));)*
            }

            /// An operator's `srst`. Keys stay, as in Apache.
            pub fn reset(&mut self) {
                $(self.$counter = Counter::default();)*
                $(self.$counter_set.reset();)*
                $(self.$basic.reset();)*
                $(self.$advanced.reset();)*
                $(self.$basic_set.reset();)*
                $(self.$advanced_set.reset();)*
            }
        }
    };
}

server_metrics! {
    counters {
        watch_bytes,
        stale_requests_dropped,
        throttled_ops,
        insecure_admin_count,
        connection_rejected,
        sessionless_connections_expired,
        dead_watchers_queued,
        stale_requests,
        connection_drop_count,
        response_packet_cache_hits,
        bytes_received_count,
        add_dead_watcher_stall_time,
        request_throttle_wait_count,
        requests_not_forwarded_to_commit_processor,
        response_packet_cache_misses,
        prep_processor_request_queued,
        stale_replies,
        response_bytes,
        ensemble_auth_fail,
        diff_count,
        connection_revalidate_count,
        quit_leading_due_to_disloyal_voter,
        unrecoverable_error_count,
        unsuccessful_handshake,
        commit_count,
        outstanding_changes_queued,
        request_commit_queued,
        ensemble_auth_skip,
        skip_learner_request_to_next_processor_count,
        proposal_count,
        large_requests_rejected,
        outstanding_changes_removed,
        restore_error_count,
        cnxn_closed_without_zk_server_running,
        looking_count,
        snapshot_rate_limited_count,
        learner_proposal_received_count,
        digest_mismatches_count,
        dead_watchers_cleared,
        ensemble_auth_success,
        learner_commit_received_count,
        snapshot_error_count,
        connection_request_count,
        response_packet_get_children_cache_misses,
        snap_count,
        stale_sessions_expired,
        restore_rate_limited_count,
        response_packet_get_children_cache_hits,
        sync_processor_request_queued,
        tls_handshake_exceeded,
        revalidate_count,
    }
    counter_sets {
        quota_exceeded_error_per_namespace,
    }
    basic {
        socket_closing_time,
        proposal_process_time,
        leader_unavailable_time,
        node_created_watch_count,
        session_queues_drained,
        write_commit_proc_req_queued,
        connection_token_deficit,
        read_commit_proc_req_queued,
        node_deleted_watch_count,
        startup_txns_load_time,
        sync_processor_queue_size,
        follower_sync_time,
        prep_processor_queue_size,
        fsynctime,
        inflight_snap_count,
        reads_issued_from_session_queue,
        restore_time,
        learner_request_processor_queue_size,
        snapshottime,
        unavailable_time,
        startup_txns_loaded,
        reads_after_write_in_session_queue,
        requests_in_session_queue,
        write_commit_proc_issued,
        prep_process_time,
        pending_session_queue_size,
        time_waiting_empty_pool_in_commit_processor_read_ms,
        commit_process_time,
        dbinittime,
        inflight_diff_count,
        netty_queued_buffer_capacity,
        election_time,
        commit_commit_proc_req_queued,
        sync_processor_batch_size,
        node_children_watch_count,
        write_batch_time_in_commit_processor,
        read_commit_proc_issued,
        concurrent_request_processing_in_commit_processor,
        observer_sync_time,
        node_changed_watch_count,
        sync_process_time,
        startup_snap_load_time,
    }
    advanced {
        prep_processor_queue_time_ms,
        jvm_pause_time_ms,
        close_session_prep_time,
        read_commitproc_time_ms,
        updatelatency,
        local_write_committed_time_ms,
        request_throttle_queue_time_ms,
        readlatency,
        quorum_ack_latency,
        om_commit_process_time_ms,
        read_final_proc_time_ms,
        commit_propagation_latency,
        dead_watchers_cleaner_latency,
        write_final_proc_time_ms,
        proposal_ack_creation_latency,
        proposal_latency,
        om_proposal_process_time_ms,
        sync_processor_queue_and_flush_time_ms,
        propagation_latency,
        server_write_committed_time_ms,
        sync_processor_queue_time_ms,
        sync_processor_queue_flush_time_ms,
        write_commitproc_time_ms,
    }
    basic_sets {
        learner_handler_qp_size,
        read_per_namespace,
        write_per_namespace,
    }
    advanced_sets {
        ack_latency,
        learner_handler_qp_time_ms,
    }
}

/// Sizes of client replies or proposals; -1 before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    pub last: i32,
    pub min: i32,
    pub max: i32,
}

impl Default for BufferSizes {
    fn default() -> BufferSizes {
        BufferSizes { last: -1, min: -1, max: -1 }
    }
}

impl BufferSizes {
    pub fn observe(&mut self, bytes: usize) {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        self.last = bytes;
        self.min = if self.min == -1 { bytes } else { self.min.min(bytes) };
        self.max = self.max.max(bytes);
    }
}

/// What `srvr` and `stat` show of the server as a whole, apart from the metrics by name.
#[derive(Clone, Debug)]
pub struct ServerStats {
    /// From a request's arrival to its reply, in milliseconds.
    pub latency_ms: Summary,
    pub packets_received: Counter,
    pub packets_sent: Counter,
    pub client_response_sizes: BufferSizes,
    pub auth_failed: Counter,
    pub non_mtls_remote_conns: Counter,
    pub non_mtls_local_conns: Counter,
}

impl Default for ServerStats {
    fn default() -> ServerStats {
        ServerStats {
            latency_ms: Summary::basic(),
            packets_received: Counter::default(),
            packets_sent: Counter::default(),
            client_response_sizes: BufferSizes::default(),
            auth_failed: Counter::default(),
            non_mtls_remote_conns: Counter::default(),
            non_mtls_local_conns: Counter::default(),
        }
    }
}

impl ServerStats {
    /// An operator's `srst`.
    pub fn reset(&mut self) {
        self.latency_ms.reset();
        self.packets_received = Counter::default();
        self.packets_sent = Counter::default();
        self.client_response_sizes = BufferSizes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_survive_a_reset() {
        let mut metrics = ServerMetrics::default();
        for key in 0..METRIC_KEYS + 5 {
            if let Some(s) = metrics.write_per_namespace.at(&format!("{key:06}")) {
                s.observe(7);
            }
        }
        assert_eq!(metrics.write_per_namespace.iter().count(), METRIC_KEYS);
        metrics.commit_count.add(3);
        metrics.reset();
        assert_eq!(metrics.commit_count, Counter(0));
        let first = metrics.write_per_namespace.iter().next().unwrap();
        assert_eq!((first.0, first.1.count()), ("000000", 0));
    }

    #[test]
    fn sizes_begin_unknown() {
        let mut sizes = BufferSizes::default();
        assert_eq!((sizes.last, sizes.min, sizes.max), (-1, -1, -1));
        sizes.observe(20);
        sizes.observe(16);
        assert_eq!((sizes.last, sizes.min, sizes.max), (16, 16, 20));
    }
}
