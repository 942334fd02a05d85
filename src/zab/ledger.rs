//! What a learner holds of its leader's history: on its way to the log, waiting for a COMMIT,
//! waiting to be applied, waiting to be acknowledged.

use std::collections::VecDeque;

use crate::base::{Instant, Ticket, Zxid, limits};
use crate::proto::Entry;

use super::continuity::Continuity;
use super::leading::Progress;
use super::learner_end::LearnerEnd;
use super::learner_seam::{LearnerStorage, LearnerTurn, ToLeader};
use super::log_feed::LogFeed;
use super::tail::Tail;

/// A txn that is not applied yet.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// Of its record; 0 where recovery brought it.
    bytes: usize,
    /// This leader has sent it: it wants an ACK.
    is_proposed: bool,
}

impl Held {
    fn zxid(&self) -> Zxid {
        self.entry.header.zxid
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    progress: Progress,
    /// Ascending, and the first `committed` of them are committed.
    pending: VecDeque<Held>,
    committed: usize,
    uncommitted_bytes: usize,
    /// The most of them.
    pending_bytes: usize,
    /// Up to here txns are applied by the tolerant rules.
    replay_until: Zxid,
    feed: LogFeed,
    is_logging: bool,
    /// The state is an image that goes with the role, unless it gets its name.
    is_over_image: bool,
    /// Proposals that want an ACK once they are durable, in the order they came.
    unacked: VecDeque<Zxid>,
}

impl Ledger {
    /// Begins with what recovery or another role has left; all of it is durable.
    pub fn new(tail: Tail, is_logging: bool, pending_bytes: usize) -> Ledger {
        let (logged, applied) = (tail.logged(), tail.applied());
        let replay_until = tail.replay_until();
        let held = |entry| Held { entry, bytes: 0, is_proposed: false };
        Ledger {
            progress: Progress { logged, durable: logged, committed: applied, applied },
            pending: tail.into_entries().into_iter().map(held).collect(),
            committed: 0,
            uncommitted_bytes: 0,
            pending_bytes,
            replay_until,
            feed: LogFeed::new(logged, is_logging),
            is_logging,
            is_over_image: false,
            unacked: VecDeque::new(),
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What a txn's zxid is to those here. Below the last one there are those that are known.
    pub fn judge(&self, zxid: Zxid) -> Continuity {
        match Continuity::of(self.progress.logged, zxid) {
            Continuity::Back if self.find(zxid).is_some() => Continuity::Duplicate,
            judged => judged,
        }
    }

    /// The leader's next txn, with its entry as it was sent.
    pub fn take(&mut self, entry: Entry, raw: &[u8]) -> Result<(), LearnerEnd> {
        let zxid = entry.header.zxid;
        assert_eq!(self.judge(zxid), Continuity::Next, "only what follows is taken");
        let held = self.uncommitted_bytes.max(self.feed.waiting_bytes());
        if held + raw.len() > self.pending_bytes {
            return Err(LearnerEnd::TooMuchPending);
        }
        self.feed.push(zxid, raw);
        self.progress.logged = zxid;
        if !self.is_logging {
            self.progress.durable = zxid;
        }
        self.uncommitted_bytes += raw.len();
        self.pending.push_back(Held { entry, bytes: raw.len(), is_proposed: true });
        Ok(())
    }

    /// The leader has sent once more what is here.
    pub fn take_again(&mut self, zxid: Zxid) {
        if let Some(held) = self.find(zxid).and_then(|at| self.pending.get_mut(at)) {
            held.is_proposed = true;
        }
    }

    fn find(&self, zxid: Zxid) -> Option<usize> {
        self.pending.binary_search_by_key(&zxid, Held::zxid).ok()
    }

    /// The txn that a COMMIT must name.
    pub fn first_uncommitted(&self) -> Option<&Entry> {
        self.pending.get(self.committed).map(|held| &held.entry)
    }

    /// COMMIT: of the first that is not committed. A leader that names another has lost its way;
    /// one that names none of ours, or the last one again, is only said to have.
    pub fn commit(&mut self, zxid: Zxid) -> Result<(), LearnerEnd> {
        let Some(first) = self.first_uncommitted() else {
            log::warn!("Committing 0x{zxid:x} without seeing txn");
            return Ok(());
        };
        let waits = first.header.zxid;
        if zxid != waits {
            if zxid == self.progress.committed {
                log::warn!("Committing 0x{zxid:x} once more");
                return Ok(());
            }
            return Err(LearnerEnd::CommitMismatch { waits, named: zxid });
        }
        self.commit_first();
        Ok(())
    }

    /// Commits what lies at or below `zxid`.
    pub fn commit_until(&mut self, zxid: Zxid) {
        while self.first_uncommitted().is_some_and(|first| first.header.zxid <= zxid) {
            self.commit_first();
        }
    }

    fn commit_first(&mut self) {
        let held = &self.pending[self.committed];
        self.uncommitted_bytes -= held.bytes;
        self.progress.committed = held.zxid();
        self.committed += 1;
    }

    /// How many txns could be applied now, where the last `hold_back` of the last epoch that are
    /// committed shall wait: nobody has established this leader yet, and a later epoch says of an
    /// earlier one that all of it was committed.
    pub fn applicable(&self, hold_back: usize) -> usize {
        if hold_back == 0 {
            return self.committed;
        }
        let Some(last) = self.committed.checked_sub(1).map(|at| self.pending[at].zxid()) else {
            return 0;
        };
        let is_earlier = |held: &Held| held.zxid().epoch() < last.epoch();
        let earlier = self.pending.partition_point(is_earlier).min(self.committed);
        earlier.max(self.committed.saturating_sub(hold_back))
    }

    /// The next txn to apply, and whether by the tolerant rules. What the log was not handed is
    /// not applied either: a role that ends must not leave the state ahead of it. Over an image
    /// that has no name yet it does no harm, for that goes with the role.
    pub fn next_committed(&mut self, hold_back: usize) -> Option<(Entry, bool)> {
        if self.applicable(hold_back) == 0 {
            return None;
        }
        let is_handed = self.pending[0].zxid() <= self.feed.handed();
        if !is_handed && !self.is_over_image {
            return None;
        }
        let held = self.pending.pop_front()?;
        if self.pending.is_empty() {
            self.pending.shrink_to(limits::KEPT_ENTRIES);
        }
        self.committed -= 1;
        self.progress.applied = held.zxid();
        let is_replay = held.zxid() <= self.replay_until;
        Some((held.entry, is_replay))
    }

    /// From now on the leader waits for an ACK of what it proposes; what it has proposed and not
    /// committed is the first of it.
    pub fn owe_acks(&mut self) {
        let owed = self.pending.iter().skip(self.committed).filter(|held| held.is_proposed);
        self.unacked.extend(owed.map(Held::zxid));
    }

    /// An ACK is due for `zxid` once it is durable.
    pub fn owe_ack(&mut self, zxid: Zxid) {
        self.unacked.push_back(zxid);
    }

    /// ACKs of what is durable, one for each proposal.
    pub fn send_acks(&mut self, turn: &mut LearnerTurn<'_>) {
        while let Some(zxid) = self.unacked.front().copied()
            && zxid <= self.progress.durable
        {
            self.unacked.pop_front();
            turn.send(ToLeader::Ack(zxid));
        }
    }

    pub fn on_durable(&mut self, ticket: Ticket) {
        if let Some(durable) = self.feed.on_durable(ticket) {
            assert!(durable >= self.progress.durable, "what is durable stays so");
            self.progress.durable = durable;
        }
    }

    pub fn flush(&mut self, turn: &mut LearnerTurn<'_>) {
        self.feed.flush(turn);
    }

    /// A command of the storage queue behind all that was handed over.
    pub fn command(
        &mut self,
        turn: &mut LearnerTurn<'_>,
        command: impl FnOnce(Ticket) -> LearnerStorage,
    ) -> Ticket {
        self.feed.command(turn, command)
    }

    /// The history is an image of `zxid` and nothing else. The log may not have what comes behind
    /// it before `release`.
    pub fn begin_behind(&mut self, zxid: Zxid) {
        self.pending.clear();
        self.committed = 0;
        self.uncommitted_bytes = 0;
        // Nothing of it is on the disk before the snapshot has its name.
        let durable = if self.is_logging { Zxid::ZERO } else { zxid };
        self.progress = Progress { logged: zxid, durable, committed: zxid, applied: zxid };
        self.replay_until = Zxid(i64::MAX);
        self.feed.set_end(zxid);
        self.feed.hold();
        self.is_over_image = true;
    }

    /// The log may not have what comes now before `release`.
    pub fn hold(&mut self) {
        self.feed.hold();
    }

    /// The log has what comes up to `kept` already, and takes the rest from here.
    pub fn release(&mut self, kept: Zxid) {
        self.feed.release(kept);
        self.is_over_image = false;
    }

    /// The image was complete when what is committed now had been: from here on txns are exact.
    pub fn end_replay(&mut self) {
        self.replay_until = self.replay_until.min(self.progress.committed);
    }

    pub fn is_drained(&self) -> bool {
        self.feed.is_drained()
    }

    pub fn waiting_zxids(&self) -> Vec<Zxid> {
        self.feed.waiting_zxids()
    }

    pub fn roll(&mut self) {
        self.feed.roll();
    }

    /// The same for another history.
    pub fn renewed(&self, tail: Tail) -> Ledger {
        Ledger::new(tail, self.is_logging, self.pending_bytes)
    }

    pub fn is_logging(&self) -> bool {
        self.is_logging
    }

    /// Whether the disk has been owing an answer for too long.
    pub fn look_at_disk(&self, now: Instant, limit_ms: u64) -> Result<(), LearnerEnd> {
        match self.feed.oldest().map(|since| now.ms_since(since)) {
            Some(ms) if ms >= limit_ms => Err(LearnerEnd::DiskHangs { ms }),
            _ => Ok(()),
        }
    }

    /// Since when the disk has been owing an answer.
    pub fn oldest_command(&self) -> Option<Instant> {
        self.feed.oldest()
    }

    /// Whether there is room for more of what the leader sends. Where the log may have nothing
    /// before NEWLEADER has come, there must be.
    pub fn has_room(&self, hold_back: usize) -> bool {
        let is_abreast = self.feed.waiting_bytes() < limits::LEARNER_WAITING_BYTES
            && self.applicable(hold_back) < limits::LEARNER_BACKLOG_TXNS;
        is_abreast || self.feed.is_held()
    }

    /// The state has txns that the log was not handed.
    pub fn is_ahead_of_log(&self) -> bool {
        self.progress.applied > self.feed.handed()
    }

    /// What stays when the role ends: all that was handed to the log and is not applied.
    pub fn into_tail(mut self) -> Tail {
        let handed = self.feed.handed();
        while self.pending.back().is_some_and(|held| held.zxid() > handed) {
            self.pending.pop_back();
        }
        let entries: VecDeque<Entry> = self.pending.into_iter().map(|held| held.entry).collect();
        Tail::new(self.progress.applied, entries, self.replay_until)
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        let p = &self.progress;
        assert!(p.logged >= p.durable, "durable is a part of what is logged");
        assert!(p.logged >= p.committed, "only what has come is committed");
        assert!(p.committed >= p.applied, "only what is committed is applied");
        assert_eq!(p.logged, self.feed.end(), "the feed ends with the last txn");
        let zxids = || self.pending.iter().map(Held::zxid);
        assert!(zxids().zip(zxids().skip(1)).all(|(a, b)| a < b), "what is pending ascends");
        assert!(zxids().all(|z| z > p.applied && z <= p.logged), "and is not applied");
        let last = self.committed.checked_sub(1).map_or(p.applied, |at| self.pending[at].zxid());
        assert_eq!(last, p.committed, "what is committed is a part of it");
        let open = self.pending.iter().skip(self.committed);
        assert_eq!(open.map(|h| h.bytes).sum::<usize>(), self.uncommitted_bytes, "and counted");
        self.feed.check();
    }
}
