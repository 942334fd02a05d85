//! What tests and operators may see of a node without changing it.

use crate::base::Zxid;
use crate::zab::Progress;

use super::throttle::Outstanding;
use super::{Life, Node};

/// A look at one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub progress: Progress,
    pub applied: Zxid,
    pub digest: u64,
    pub sessions: usize,
    pub connections: usize,
    pub node_count: usize,
    pub digest_mismatches: u64,
    /// How long the log disk has not answered, while that is too long.
    pub hanging_sync_ms: Option<u64>,
    pub is_finished: bool,
}

impl Node {
    pub fn view(&self) -> View {
        View {
            progress: self.progress(),
            applied: self.state.last_zxid(),
            digest: self.state.digest(),
            sessions: self.state.session_count(),
            connections: self.conns.count(),
            node_count: self.state.node_count(),
            digest_mismatches: self.metrics.digest_mismatches_count.0,
            hanging_sync_ms: self.hanging_sync_ms(),
            is_finished: self.life == Life::Finished,
        }
    }

    fn progress(&self) -> Progress {
        match &self.member {
            None => self.leading.progress(),
            Some(member) => member.progress(&self.leading),
        }
    }

    /// What must hold between any two turns. Tests call it after each.
    pub fn check(&self) {
        self.state.check();
        self.watches.check();
        self.check_turn();
    }

    /// Nothing was left out between the state and what is to be applied next.
    pub(super) fn check_applied(&self, applied: Zxid) {
        let is = self.state.last_zxid();
        // An epoch begins with no txn.
        let is_beginning = self.member.is_some() && applied.counter() == 0 && is < applied;
        assert!(applied == is || is_beginning, "the state is where the pipeline thinks it is");
    }

    /// The part of it that does not walk every node and every watch: the simulator calls the rest
    /// where the state has moved, and now and then.
    pub fn check_turn(&self) {
        self.leading.check();
        self.member.iter().for_each(|member| member.check());
        if self.member.as_ref().is_none_or(|member| member.is_in_step()) {
            self.check_applied(self.progress().applied);
        }
        assert_eq!(self.unforeseen_digests, 0, "prepare foresaw every digest");
        let mut outstanding = Outstanding::default();
        self.conns.iter().for_each(|conn| outstanding.more(conn.pauses, conn.order.len()));
        assert_eq!(outstanding, self.outstanding, "what is outstanding is counted");
        let large: usize = self.conns.iter().map(|conn| conn.order.large_bytes()).sum();
        assert_eq!(large, self.request_throttle.large_bytes(), "large bytes are counted");
        let unprepared: usize = self.conns.iter().map(|c| c.order.unprepared_bytes()).sum();
        assert_eq!(unprepared, self.unprepared_bytes, "unprepared bytes are counted");
        for (session, conn) in &self.by_session {
            let holder = self.conns.peek(*conn);
            assert!(
                holder.is_some_and(|holder| holder.session == *session),
                "a session's connection knows it"
            );
        }
    }
}
