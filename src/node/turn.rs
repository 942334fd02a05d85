//! One turn: what is taken in which order.

use crate::base::{Instant, Now, limits};
use crate::history::StorageEvent;
use crate::proto::leading_path;
use crate::state::WARM_NODES;

use super::seam::{Effect, Effects, Event};
use super::{Life, Node};

impl Node {
    /// Takes everything that happened and says what to do: storage completions first, since they
    /// free what others wait for; then clients; then timers, so that input which is already here
    /// counts before a timer that it would have stopped.
    pub fn turn(&mut self, now: Now, events: &[Event<'_>], out: &mut Effects) {
        self.notice_stall(now);
        self.now = now;
        self.visits.set(0);
        self.taken_up = 0;
        // What the turn before removed; it was long enough.
        self.state.give_back(limits::NODES_GIVEN_BACK_PER_TURN);
        for event in events {
            if let Event::Storage(event) = event {
                self.on_storage(event, out);
            }
        }
        self.storage_wait.look(now.mono);
        if self.member.is_some() {
            self.hear_peers(events, out);
        }
        self.commit(out);
        // The server's own requests before those who always have more to write.
        self.run_inbox(out);
        for group in events.chunks(WARM_NODES) {
            if group.len() > 1 {
                self.state.warm(group.iter().filter_map(path_of));
            }
            for event in group {
                self.on_event(event, out);
            }
        }
        self.run_throttled(out);
        self.run_leftovers(out);
        self.release_held_back(out);
        self.run_inbox(out);
        self.run_timers(events, out);
        self.run_inbox(out);
        self.flush(out);
        self.upkeep_snapshot(out);
        self.upkeep_watches(out);
        self.finish_if_drained(out);
    }

    /// Peers before clients, and before any timer that they may stop.
    fn hear_peers(&mut self, events: &[Event<'_>], out: &mut Effects) {
        for event in events {
            match event {
                Event::Peer(event) => self.on_peer(event, out),
                Event::Rebuilt(start) => {
                    if let Some(start) = start.take() {
                        self.on_rebuilt(*start, out);
                    }
                }
                _ => {}
            }
        }
        self.run_asked(out);
        self.run_member(out);
    }

    fn on_event(&mut self, event: &Event<'_>, out: &mut Effects) {
        match event {
            Event::Storage(_) | Event::Peer(_) | Event::Rebuilt(_) | Event::InputLeft => {}
            Event::Kerberos(said) => self.on_kerberos(said, out),
            Event::Accepted { conn, peer, secure, subject, .. } => {
                self.count_plain(*peer, *secure);
                self.on_accepted(*conn, *peer, subject.as_deref());
            }
            Event::Frame { conn, body } => self.on_frame(*conn, body, out),
            Event::Closed { conn, reason } => self.on_closed(*conn, *reason, out),
            Event::Backlog { conn, bytes } => self.on_backlog(*conn, *bytes, out),
            Event::Taking { conn } => self.on_taking(*conn),
            Event::Shutdown => self.on_shutdown(out),
        }
    }

    fn on_storage(&mut self, event: &StorageEvent, out: &mut Effects) {
        match event {
            StorageEvent::Durable { ticket, sync_us } => {
                self.metrics.fsynctime.observe(sync_us / 1000);
                self.leading.on_durable(*ticket);
                self.storage_wait.on_durable(*ticket, self.now.mono);
                self.snapshots.on_durable(*ticket, self.now.mono);
                if self.member.is_some() {
                    self.on_member_storage(event, out);
                }
                self.feed_starved();
            }
            StorageEvent::Failed(reason) => out.push(Effect::Fatal(reason.clone())),
            other => {
                if self.member.is_none() {
                    self.on_chore(other, out);
                } else if !self.takes_image_event(other, out) {
                    self.on_member_storage(other, out);
                    self.on_chore(other, out);
                }
            }
        }
    }

    /// What waited is told: a turn that comes far too late must not cost the clients their
    /// sessions, since they could not be heard meanwhile.
    fn notice_stall(&mut self, now: Now) {
        assert!(now.mono >= self.now.mono, "time goes forward");
        let Some(due) = self.last_due else { return };
        let late_ns = now.mono.ns_since(due);
        if late_ns >= STALL_NS {
            log::warn!(
                "This server was held up for {} ms; sessions get that time back",
                late_ns / 1_000_000
            );
            self.sessions.forgive(late_ns);
            self.forgive_locals(late_ns);
        }
        self.last_due = None;
    }

    /// When the next turn is due though nothing may happen; asked after every turn.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        let expiry = self.has_role().then(|| self.sessions.next_expiry()).flatten();
        let expiry = [expiry, self.next_local_expiry()].into_iter().flatten().min();
        // While there are sessions the server looks up now and then, so that a stall shows soon
        // after its beginning and the silence it caused can be told from the clients' own.
        let look_up = expiry.map(|_| self.now.mono.plus_ms(LOOK_UP_MS));
        let storage = self.storage_wait.next_due();
        let peers = self.member.as_ref().and_then(|member| member.next_timeout());
        let dues = [storage, peers, expiry, look_up, self.next_reap(), self.purge_due];
        // Nobody expires and nothing is cleared away on the way to the end.
        let some = if self.is_serving() { &dues[..] } else { &dues[..2] };
        let due = some.iter().flatten().copied().min();
        // What is over is worked off; only what comes later than that is late.
        self.last_due = due.map(|due| due.max(self.now.mono));
        due
    }

    /// The next turn comes without waiting.
    pub fn due_at_once(&mut self, now: Instant) {
        self.last_due = Some(now);
    }

    /// There is work left that needs no event: the next turn must not wait.
    pub fn wants_turn(&self) -> bool {
        !self.runnable.is_empty()
            || !self.inbox.is_empty() && self.has_log_room()
            || self.has_uncommitted_backlog()
            || self.has_throttled_to_run()
            || self.snapshots.wants_turn(self.may_begin_snapshot())
            || self.has_watches_to_sweep
            || self.state.has_buried()
            || self.reaper.is_looking() && self.next_reap().is_some() && self.is_serving()
            || self.member.as_ref().is_some_and(|member| member.wants_turn(self.may_settle()))
    }

    /// Another write may go on its way.
    pub(super) fn has_log_room(&self) -> bool {
        match &self.member {
            None => self.leading.unsynced_bytes() < limits::UNSYNCED_BYTES,
            Some(member) => member.has_room(&self.leading),
        }
    }

    fn on_shutdown(&mut self, out: &mut Effects) {
        if matches!(self.life, Life::Serving) {
            log::info!("Shutting down: no more input is taken, what is in flight is finished");
            self.life = Life::Draining;
            out.push(Effect::PauseAll);
        }
    }

    fn finish_if_drained(&mut self, out: &mut Effects) {
        if matches!(self.life, Life::Draining)
            && !self.leading.is_waiting()
            && self.runnable.is_empty()
            && self.request_throttle.is_empty()
            && self.inbox.is_empty()
        {
            self.life = Life::Finished;
            out.push(Effect::Finished);
        }
    }
}

/// How long the server sleeps at most while it has sessions.
const LOOK_UP_MS: u64 = 500;

/// Lateness below this is scheduling noise and within the expiry's own coarseness.
const STALL_NS: u64 = 500_000_000;

/// The path that an event will look for.
fn path_of<'a>(event: &'a Event<'_>) -> Option<&'a [u8]> {
    match event {
        Event::Frame { body, .. } => leading_path(body),
        _ => None,
    }
}
