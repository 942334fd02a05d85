//! What the clock brings: sessions that fell silent, nodes to reap, old files to purge.

use std::collections::VecDeque;

use crate::base::{Instant, limits};
use crate::history::ChoreCommand;
use crate::proto::EventKind;
use crate::state::ReapLook;

use super::conns::Pauses;
use super::seam::{Effect, Effects, Event};
use super::settings::Settings;
use super::{Life, Node, ServerRequest};

/// Removes childless containers and TTL nodes past their time, at a bounded rate.
#[derive(Debug)]
pub(super) struct Reaper {
    interval_ms: u64,
    /// Between two removals.
    spacing_ms: u64,
    max_never_used_ms: i64,
    next_look: Instant,
    /// The look under way.
    look: Option<ReapLook>,
    next_reap: Instant,
    candidates: VecDeque<String>,
    /// Removals that were asked for and are not applied yet. No look begins before they are, lest
    /// it find the same again.
    in_flight: usize,
}

impl Reaper {
    pub fn new(settings: &Settings, now: Instant) -> Reaper {
        let interval_ms = settings.container_check_interval_ms.max(1);
        Reaper {
            interval_ms,
            spacing_ms: 60_000 / settings.container_max_per_minute.max(1),
            max_never_used_ms: settings.container_max_never_used_ms,
            next_look: now.plus_ms(interval_ms),
            look: None,
            next_reap: now,
            candidates: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// A look goes on turn after turn.
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Nothing while it waits for its removals, whose end is an event.
    fn next_due(&self) -> Option<Instant> {
        match (self.candidates.is_empty(), self.in_flight) {
            (false, _) => Some(self.next_reap),
            (true, 0) => Some(self.next_look),
            (true, _) => None,
        }
    }

    /// A removal was applied.
    pub fn on_reaped(&mut self) {
        self.in_flight -= 1;
    }
}

/// How long an expiry is put off at least while there is more input than one turn takes.
const BUSY_PATIENCE_MS: u64 = 1000;

/// A purge that is due without a role comes that much later.
const PURGE_PUT_OFF_MS: u64 = 10_000;

/// Candidates at which a look ends; the next look finds the rest.
const CANDIDATES_PER_LOOK: usize = 10_000;

impl Node {
    pub(super) fn run_timers(&mut self, events: &[Event<'_>], out: &mut Effects) {
        if !matches!(self.life, Life::Serving) {
            return;
        }
        let has_input_left = events.iter().any(|event| matches!(event, Event::InputLeft));
        let is_busy = has_input_left || !self.runnable.is_empty();
        // What would keep a session may lie in its socket until everybody was read; but those who
        // always have more to say must not keep others alive.
        let patience_ms = if is_busy { self.settings.tick_ms.max(BUSY_PATIENCE_MS) } else { 0 };
        if self.member.is_some() {
            self.expire_locals(patience_ms, out);
        }
        if self.leads() {
            self.expire_sessions(patience_ms);
            self.reap();
        } else if self.has_role() {
            self.part_with_silent(patience_ms, out);
        }
        self.purge(out);
    }

    fn expire_sessions(&mut self, patience_ms: u64) {
        let mut expired = Vec::new();
        let until = Instant(self.now.mono.0.saturating_sub(patience_ms * 1_000_000));
        self.sessions.expired(until, limits::EXPIRIES_PER_TURN, &mut expired);
        for session in expired {
            let timeout_ms = self.state.session_timeout_ms(session).unwrap_or(0);
            log::info!("Expiring session 0x{session:x}, timeout of {timeout_ms}ms exceeded");
            self.metrics.stale_sessions_expired.one();
            self.sessions.set_closing(session);
            self.inbox.push_back(ServerRequest::CloseSession { session });
        }
    }

    /// A learner's leader says which sessions end, and may have one of here elsewhere by now. The
    /// connection that was silent for as long goes all the same, as it does in Java: nobody is at
    /// its other end, and it counts among those of its host.
    fn part_with_silent(&mut self, patience_ms: u64, out: &mut Effects) {
        let mut silent = Vec::new();
        let until = Instant(self.now.mono.0.saturating_sub(patience_ms * 1_000_000));
        self.sessions.expired(until, limits::EXPIRIES_PER_TURN, &mut silent);
        for session in silent {
            self.sessions.forget(session);
            let holder = self.by_session.get(&session).copied();
            let Some(conn) = holder.and_then(|holder| self.conns.find(holder)) else { continue };
            // Who is not read for want of our leader's answers cannot be heard.
            if conn.pauses.has(!Pauses::BACKLOG) {
                self.sessions.track(session, conn.timeout_ms, self.now.mono);
                continue;
            }
            log::info!(
                "Closing {}: nothing came of session 0x{session:x} for {} ms",
                conn.peer,
                conn.timeout_ms
            );
            let conn = conn.id;
            self.close(conn, false, out);
        }
    }

    /// When the reaper has something to do next: nothing while its removals could not go on,
    /// which ends with an event.
    pub(super) fn next_reap(&self) -> Option<Instant> {
        if self.is_reaper_held() || !self.leads() { None } else { self.reaper.next_due() }
    }

    /// While the log is behind nothing is added to what waits for it.
    fn is_reaper_held(&self) -> bool {
        !self.has_log_room() || !self.inbox.is_empty()
    }

    fn reap(&mut self) {
        if self.is_reaper_held() {
            return;
        }
        let now = self.now.mono;
        let reaper = &mut self.reaper;
        let is_idle = reaper.look.is_none() && reaper.candidates.is_empty();
        if is_idle && reaper.in_flight == 0 && now >= reaper.next_look {
            reaper.next_look = now.plus_ms(reaper.interval_ms);
            reaper.next_reap = now;
            reaper.look = Some(ReapLook::new(self.now.wall, reaper.max_never_used_ms));
        }
        if let Some(look) = &mut reaper.look {
            let found = &mut reaper.candidates;
            let is_done = self.state.reap_step(look, limits::REAP_LOOKS_PER_TURN, found);
            if is_done || found.len() >= CANDIDATES_PER_LOOK {
                reaper.look = None;
            }
        }
        // As many as are due since the last, so that a coarse clock does not slow the rate; what a
        // stall held up is not made up for in one turn.
        let reaper = &mut self.reaper;
        if now.ms_since(reaper.next_reap) > limits::REAP_CATCH_UP_MS {
            reaper.next_reap = Instant(now.0 - limits::REAP_CATCH_UP_MS * 1_000_000);
        }
        while now >= self.reaper.next_reap {
            let Some(path) = self.reaper.candidates.pop_front() else { return };
            log::info!("Attempting to delete candidate container: {path}");
            self.inbox.push_back(ServerRequest::Reap { path });
            self.reaper.in_flight += 1;
            self.reaper.next_reap = self.reaper.next_reap.plus_ms(self.reaper.spacing_ms.max(1));
        }
    }

    /// Counts what was told, sends away who watches more than it may, and clears away what gone
    /// connections left.
    pub(super) fn upkeep_watches(&mut self, out: &mut Effects) {
        let metrics = &mut self.metrics;
        self.watches.take_fired(&mut |kind, told| {
            let summary = match kind {
                EventKind::NodeCreated => &mut metrics.node_created_watch_count,
                EventKind::NodeDeleted => &mut metrics.node_deleted_watch_count,
                EventKind::NodeDataChanged => &mut metrics.node_changed_watch_count,
                _ => &mut metrics.node_children_watch_count,
            };
            summary.observe(u64::from(told));
        });
        for conn in self.watches.take_over_limit() {
            log::warn!("Closing a connection that asked for more watches than one may hold");
            self.close(conn, false, out);
        }
        self.has_watches_to_sweep = self.watches.sweep();
    }

    fn purge(&mut self, out: &mut Effects) {
        let Some(due) = self.purge_due else { return };
        if self.now.mono < due {
            return;
        }
        if !self.has_role() {
            // Whoever is brought up may have its history cut: what it goes on from must stay.
            self.purge_due = Some(self.now.mono.plus_ms(PURGE_PUT_OFF_MS));
            return;
        }
        self.purge_due = Some(self.now.mono.plus_ms(self.settings.purge_interval_ms));
        out.push(Effect::Chore(ChoreCommand::Purge { retain: self.settings.purge_retain }));
    }
}
