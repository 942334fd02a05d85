//! Performing what a turn asked for, in the order of the list.

use std::io::Read;
use std::net::Shutdown;

use crate::base::limits::{BACKLOG_BYTES, PARTIAL_FRAMES_BYTES, WRITES_PER_TURN};
use crate::base::{ConnId, Instant};
use crate::node::{CloseReason, Effect, Effects};

use super::links::{Input, Life, Link};
use super::memory;
use super::peers::Sought;
use super::sends::{Sent, backlog_news, flush};
use super::{Ended, Reactor, Storage};

impl Reactor {
    pub(super) fn perform(&mut self, effects: &mut Effects, storage: &impl Storage, now: Instant) {
        for effect in effects.list.drain(..) {
            match effect {
                Effect::Send { conn, range } => {
                    if let Some(link) = self.links.find(conn)
                        && link.life == Life::Open
                    {
                        self.sends.add(link, range);
                    }
                }
                Effect::Close { conn, after_flush } => self.close(conn, after_flush, now),
                Effect::Established { conn } => {
                    if let Some(link) = self.links.find(conn) {
                        link.is_established = true;
                    }
                }
                Effect::Pause { conn } => {
                    if let Some(link) = self.links.find(conn) {
                        link.is_paused = true;
                    }
                }
                Effect::Resume { conn } => {
                    if let Some(link) = self.links.find(conn) {
                        link.is_paused = false;
                        self.enter_ring(conn.index);
                    }
                }
                Effect::PauseAll => self.is_all_paused = true,
                Effect::ResumeAll => self.is_all_paused = false,
                Effect::Storage(command) => storage.send(command),
                Effect::Chore(command) => storage.send_chore(command),
                Effect::GiveBackMemory => memory::give_back(),
                Effect::Kerberos(ask) => storage.ask_kerberos(ask),
                Effect::Dial { dial, addresses, port, within_ms } => {
                    self.dial(dial, Sought { addresses: &addresses, port, within_ms }, now);
                }
                Effect::DropDial { dial } => self.drop_dial(dial),
                Effect::Move(places) => self.move_to(&places, now),
                Effect::Finished => self.ended = Some(Ended::Finished),
                Effect::Fatal(reason) => self.ended = Some(Ended::Fatal(reason)),
            }
        }
        self.write_peers(&effects.arena, now);
        self.write_dirty(&effects.arena, now);
        self.bound_backlogs(now);
    }

    fn close(&mut self, conn: ConnId, after_flush: bool, now: Instant) {
        let Some(link) = self.links.find(conn) else { return };
        if !after_flush {
            self.end(conn.index, CloseReason::Asked);
            return;
        }
        if link.life == Life::Open {
            link.life = Life::Flushing;
            link.input = Input::Deaf;
            self.sends.mark(link);
            self.closing.add(conn, now);
        }
    }

    fn write_dirty(&mut self, arena: &[u8], now: Instant) {
        let dirty = self.sends.take_dirty();
        self.late.begin();
        for index in &dirty {
            let Some((link, pool)) = self.links.at_with_pool(*index) else { continue };
            link.is_dirty = false;
            // A write is a system call: thousands of receivers take turns. What comes behind
            // something that waits must wait, too.
            if self.writes_left > 0 && link.late.is_none() {
                self.writes_left -= 1;
                let chain = link.sends.take();
                let sent = self.sends.write(link, chain, pool, arena, now);
                self.conclude(*index, sent);
            } else if !self.late.take(link, &self.sends, arena) {
                self.late.keep(link, pool);
                let chain = link.sends.take();
                let sent = self.sends.postpone(link, chain, pool, arena);
                if link.joins_flushable() {
                    self.flushable.push(*index);
                }
                self.conclude(*index, sent);
            }
        }
        self.sends.give_back(dirty);
    }

    /// What turns before had to leave, oldest first, as far as this turn's writes go.
    pub(super) fn write_late(&mut self, now: Instant) {
        while self.writes_left > 0
            && let Some(index) = self.late.next()
        {
            if let Some((link, pool)) = self.links.at_with_pool(index) {
                self.writes_left -= 1;
                let sent = self.late.write(link, pool, now);
                self.conclude(index, sent);
            }
        }
    }

    /// Backlogs whose sockets have room again. At most half of the turn's writes: clients that
    /// take little at a time leave the others theirs.
    pub(super) fn flush_backlogs(&mut self, now: Instant) {
        let mut flushable = std::mem::take(&mut self.flushable);
        let count = flushable.len().min(WRITES_PER_TURN / 2);
        self.writes_left = WRITES_PER_TURN - count;
        for index in flushable.drain(..count) {
            if let Some((link, pool)) = self.links.at_with_pool(index) {
                link.is_flushable = false;
                let sent = flush(link, pool, now);
                self.conclude(index, sent);
            }
        }
        // What became flushable meanwhile comes after what still waits.
        flushable.append(&mut self.flushable);
        self.flushable = flushable;
    }

    pub(super) fn conclude(&mut self, index: u32, sent: Sent) {
        let Some(link) = self.links.at(index) else { return };
        match sent {
            Sent::Fine => {
                if let Some(news) = backlog_news(link) {
                    self.intake.tell(news);
                }
            }
            Sent::Flushed => {
                part(link);
                self.end(index, CloseReason::Asked);
            }
            Sent::Over(reason) => self.end(index, reason),
        }
    }

    fn bound_backlogs(&mut self, now: Instant) {
        while self.links.pool.used_bytes > BACKLOG_BYTES {
            let of_client = |link: &Link| if link.is_peer() { 0 } else { link.backlog.bytes() };
            let Some(index) = self.links.largest(of_client) else { return };
            self.warn_overflow(index, "all unsent bytes together passed their limit", now);
            self.end(index, CloseReason::Overflow);
        }
    }

    pub(super) fn bound_partials(&mut self, now: Instant) {
        while self.links.partial_bytes > PARTIAL_FRAMES_BYTES {
            let Some(index) = self.links.largest(|link| link.partial.capacity()) else { return };
            self.warn_overflow(
                index,
                "all half-received requests together passed their limit",
                now,
            );
            self.end(index, CloseReason::Overflow);
        }
    }

    fn warn_overflow(&mut self, index: u32, what: &str, now: Instant) {
        let Some(peer) = self.links.at(index).map(|link| link.peer) else { return };
        if let Some(permit) = self.drops.permit(now) {
            log::warn!("Closing connection from /{peer}, the largest: {what}{permit}");
        }
    }

    /// Last bytes of connections at an orderly end: what the sockets take without waiting long.
    /// Peers go first, since others may have to elect.
    pub(super) fn flush_at_end(&mut self, ended: &Ended) {
        if *ended != Ended::Finished {
            return;
        }
        self.leave_peers();
        let from = self.clock.read().mono;
        let mut polled = mio::Events::with_capacity(super::POLLED_EVENTS);
        while self.links.unsent_bytes() > 0 || !self.late.is_empty() {
            let now = self.clock.read().mono;
            if now.ms_since(from) >= FINAL_FLUSH_MS {
                return;
            }
            let may_flush = !self.flushable.is_empty() || !self.peers.flushable.is_empty();
            let has_work = may_flush || !self.late.is_empty();
            let wait_ms = if has_work { 0 } else { FINAL_FLUSH_MS / 10 };
            let wait = std::time::Duration::from_millis(wait_ms);
            if self.poll.poll(&mut polled, Some(wait)).is_err() {
                return;
            }
            self.take_readiness(&polled);
            self.flush_peers(now);
            self.flush_backlogs(now);
            self.write_late(now);
            self.links.bury();
        }
    }
}

/// Takes leave so that what was sent arrives: a socket closed over unread input is reset, and a
/// reset discards what the peer has not read yet (a word is often followed by a line's end).
pub(super) fn part(link: &mut Link) {
    let mut unread = [0; 4096];
    for _ in 0..PARTING_READS {
        match link.stream.read(&mut unread) {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    let _ = link.stream.shutdown(Shutdown::Write);
}

/// How long an orderly end waits for clients to take their last replies.
const FINAL_FLUSH_MS: u64 = 1000;

/// Unread input cleared away before a close, in reads of 4 KiB.
const PARTING_READS: usize = 16;
