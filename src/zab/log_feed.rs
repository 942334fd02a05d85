//! A learner's records on their way to the log: batched by the turn, no more un-synced at once
//! than recovery may find torn, and the commands that wait for the disk.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Instant, Ticket, Zxid, limits};
use crate::history;

use super::learner_seam::{LearnerOutput, LearnerStorage, LearnerTurn};

/// One command that was handed over and is not yet known durable.
#[derive(Clone, Copy, Debug)]
struct Unsynced {
    ticket: Ticket,
    /// The log's end after it.
    last: Zxid,
    bytes: usize,
    since: Instant,
}

/// A record that is not handed over yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    zxid: Zxid,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct LogFeed {
    /// An observer may be told to keep nothing.
    is_logging: bool,
    /// Records must wait: a snapshot is to have its name before them.
    is_held: bool,
    records: Vec<u8>,
    waiting: VecDeque<Waiting>,
    /// The log's end once everything handed over is done.
    handed: Zxid,
    unsynced: VecDeque<Unsynced>,
    unsynced_bytes: usize,
    roll: bool,
}

impl LogFeed {
    /// Goes on where the log ends. The first append begins a new file, as after every restart.
    pub fn new(end: Zxid, is_logging: bool) -> LogFeed {
        LogFeed {
            is_logging,
            is_held: false,
            records: Vec::new(),
            waiting: VecDeque::new(),
            handed: end,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            roll: true,
        }
    }

    /// One more record, its entry as the leader sent it.
    pub fn push(&mut self, zxid: Zxid, entry: &[u8]) {
        assert!(zxid > self.end(), "records come in order");
        if !self.is_logging {
            self.handed = zxid;
            return;
        }
        let before = self.records.len();
        history::append_framed(&mut self.records, entry);
        self.waiting.push_back(Waiting { zxid, bytes: self.records.len() - before });
    }

    /// Hands over what the log has room for: a part of one turn's records, or all.
    pub fn flush(&mut self, turn: &mut LearnerTurn<'_>) {
        while !self.is_held && !self.waiting.is_empty() {
            let room = limits::UNSYNCED_BYTES.saturating_sub(self.unsynced_bytes);
            let (mut txns, mut bytes) = (0, 0);
            for record in &self.waiting {
                // One that is larger than all there ever is room for goes alone.
                let is_alone = txns == 0 && self.unsynced_bytes == 0;
                if bytes + record.bytes > room && !is_alone {
                    break;
                }
                txns += 1;
                bytes += record.bytes;
            }
            if txns == 0 {
                return;
            }
            self.append(txns, bytes, turn);
        }
    }

    fn append(&mut self, txns: usize, bytes: usize, turn: &mut LearnerTurn<'_>) {
        let first = self.waiting[0].zxid;
        let last = self.waiting[txns - 1].zxid;
        self.waiting.drain(..txns);
        let records = Bytes::copy_from_slice(&self.records[..bytes]);
        self.records.drain(..bytes);
        if self.waiting.is_empty() {
            self.waiting.shrink_to(limits::KEPT_ENTRIES);
            self.records.shrink_to(limits::KEPT_BYTES);
        }
        let ticket = turn.next_ticket();
        self.unsynced.push_back(Unsynced { ticket, last, bytes, since: turn.now });
        self.unsynced_bytes += bytes;
        self.handed = last;
        let roll = std::mem::take(&mut self.roll);
        let txns = txns as u64;
        let append = LearnerStorage::Append { ticket, first, last, bytes: records, roll, txns };
        turn.push(LearnerOutput::Storage(append));
    }

    /// Hands over a command that is no append, behind all that were.
    pub fn command(
        &mut self,
        turn: &mut LearnerTurn<'_>,
        command: impl FnOnce(Ticket) -> LearnerStorage,
    ) -> Ticket {
        let ticket = turn.next_ticket();
        let last = self.handed;
        self.unsynced.push_back(Unsynced { ticket, last, bytes: 0, since: turn.now });
        turn.push(LearnerOutput::Storage(command(ticket)));
        ticket
    }

    /// All commands up to `ticket` are on disk: where the log ends there, if any of them is ours.
    pub fn on_durable(&mut self, ticket: Ticket) -> Option<Zxid> {
        let mut durable = None;
        while let Some(front) = self.unsynced.front().filter(|u| u.ticket <= ticket) {
            durable = Some(front.last);
            self.unsynced_bytes -= front.bytes;
            self.unsynced.pop_front();
        }
        durable.filter(|_| self.is_logging)
    }

    /// The log is about to be told to end at `zxid`, or to begin anew behind a snapshot of it.
    pub fn set_end(&mut self, zxid: Zxid) {
        assert!(self.waiting.is_empty(), "what is cut was handed over");
        self.handed = zxid;
        // What the commands under way leave behind is cut with the rest.
        self.unsynced.iter_mut().for_each(|u| u.last = u.last.min(zxid));
        self.roll = true;
    }

    /// Lets records wait, for the log may not have them before something else is done.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// The log ends with `kept`, of which records wait here too: they are in it already.
    pub fn release(&mut self, kept: Zxid) {
        self.is_held = false;
        if !self.is_logging {
            return;
        }
        let there = self.waiting.iter().take_while(|record| record.zxid <= kept);
        let (count, bytes) = there.fold((0, 0), |(n, sum), r| (n + 1, sum + r.bytes));
        self.waiting.drain(..count);
        self.records.drain(..bytes);
        self.unsynced.iter_mut().for_each(|u| u.last = kept);
        self.handed = kept;
        self.roll = true;
    }

    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// The zxids of the records that wait.
    pub fn waiting_zxids(&self) -> Vec<Zxid> {
        self.waiting.iter().map(|record| record.zxid).collect()
    }

    /// The next append begins a new log file.
    pub fn roll(&mut self) {
        self.roll = true;
    }

    /// The last zxid that was pushed.
    pub fn end(&self) -> Zxid {
        self.waiting.back().map_or(self.handed, |record| record.zxid)
    }

    /// The last zxid that was handed over.
    pub fn handed(&self) -> Zxid {
        self.handed
    }

    pub fn is_drained(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn waiting_bytes(&self) -> usize {
        self.records.len()
    }

    /// Since when the disk has been owing an answer.
    pub fn oldest(&self) -> Option<Instant> {
        self.unsynced.front().map(|unsynced| unsynced.since)
    }

    pub fn check(&self) {
        let bytes: usize = self.waiting.iter().map(|record| record.bytes).sum();
        assert_eq!(bytes, self.records.len(), "every byte belongs to a record");
        let bytes: usize = self.unsynced.iter().map(|unsynced| unsynced.bytes).sum();
        assert_eq!(bytes, self.unsynced_bytes, "unsynced bytes are counted");
        let mut pairs = self.unsynced.iter().zip(self.unsynced.iter().skip(1));
        assert!(pairs.all(|(a, b)| a.ticket < b.ticket), "tickets rise");
        assert!(self.waiting.front().is_none_or(|r| r.zxid > self.handed), "nothing waits twice");
    }
}
