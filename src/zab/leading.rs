//! A leader's pipeline: propose, append, durable, commit. Standalone is this with one voter, whose
//! own disk is the quorum.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Ticket, Zxid, limits};
use crate::history::{self, StorageCommand};
use crate::proto::{Txn, TxnDigest, TxnHeader};

/// The four positions of one server: `logged ≥ durable` and `committed ≥ applied`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub logged: Zxid,
    pub durable: Zxid,
    pub committed: Zxid,
    pub applied: Zxid,
}

/// A txn on its way, with whatever its proposer wants back at commit.
#[derive(Clone, Debug)]
pub struct Proposal<O> {
    pub header: TxnHeader,
    pub txn: Txn,
    pub digest: Option<TxnDigest>,
    pub origin: O,
}

/// One append that was handed over and is not yet known durable.
#[derive(Clone, Copy, Debug)]
struct Unsynced {
    ticket: Ticket,
    last: Zxid,
    bytes: usize,
}

/// The pipeline of one leadership. What waits in it dies with it.
#[derive(Debug)]
pub struct Leading<O> {
    progress: Progress,
    pending: VecDeque<Proposal<O>>,
    /// The records that are not handed over yet, and the first zxid among them.
    batch: Vec<u8>,
    batch_first: Option<Zxid>,
    batch_count: u64,
    roll: bool,
    unsynced: VecDeque<Unsynced>,
    unsynced_bytes: usize,
    /// Appends of which something is not committed: their last zxids and bytes.
    uncommitted: VecDeque<(Zxid, usize)>,
    uncommitted_bytes: usize,
    /// What is durable here is committed by that.
    is_alone: bool,
}

impl<O> Leading<O> {
    /// Takes over where the log ends. The first append begins a new file, as after every restart.
    pub fn new(last_logged: Zxid, applied: Zxid) -> Leading<O> {
        Leading::begin(last_logged, applied, true)
    }

    /// Leads an ensemble from the beginning of its epoch on, when all before it is applied. Who
    /// counts the acknowledgements says what is committed.
    pub fn of_ensemble(begin: Zxid) -> Leading<O> {
        Leading::begin(begin, begin, false)
    }

    fn begin(last_logged: Zxid, applied: Zxid, is_alone: bool) -> Leading<O> {
        assert!(applied <= last_logged, "nothing is applied that was not logged");
        let progress =
            Progress { logged: last_logged, durable: last_logged, committed: last_logged, applied };
        Leading {
            progress,
            pending: VecDeque::new(),
            batch: Vec::new(),
            batch_first: None,
            batch_count: 0,
            roll: true,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            is_alone,
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The zxid the next proposal will have. A lone server counts on across its epoch, as Java.
    pub fn next_zxid(&self) -> Zxid {
        Zxid(self.progress.logged.0 + 1)
    }

    /// Appends a txn to the records of the next append.
    pub fn propose(&mut self, proposal: Proposal<O>) {
        let zxid = proposal.header.zxid;
        assert_eq!(zxid, self.next_zxid(), "proposals are gapless");
        let Proposal { header, txn, digest, .. } = &proposal;
        history::append_record(&mut self.batch, header, txn, *digest);
        self.batch_first.get_or_insert(zxid);
        self.batch_count += 1;
        self.progress.logged = zxid;
        self.pending.push_back(proposal);
    }

    /// The next append begins a new log file.
    pub fn roll(&mut self) {
        self.roll = true;
    }

    /// What was gathered as one append; `ticket` numbers it.
    pub fn flush(&mut self, ticket: Ticket) -> Option<StorageCommand> {
        let first = self.batch_first.take()?;
        let last = self.progress.logged;
        let bytes = Bytes::copy_from_slice(&self.batch);
        self.batch.clear();
        self.batch.shrink_to(limits::KEPT_BYTES);
        self.batch_count = 0;
        self.unsynced.push_back(Unsynced { ticket, last, bytes: bytes.len() });
        self.unsynced_bytes += bytes.len();
        self.uncommitted.push_back((last, bytes.len()));
        self.uncommitted_bytes += bytes.len();
        let roll = std::mem::take(&mut self.roll);
        Some(StorageCommand::Append { ticket, first, last, bytes, roll })
    }

    /// How many records wait for `flush`, and their bytes.
    pub fn batch_size(&self) -> (u64, u64) {
        (self.batch_count, self.batch.len() as u64)
    }

    /// Whether records wait for `flush`.
    pub fn is_batching(&self) -> bool {
        self.batch_first.is_some()
    }

    /// Log bytes handed over or about to be, and not yet durable.
    pub fn unsynced_bytes(&self) -> usize {
        self.unsynced_bytes + self.batch.len()
    }

    /// Log bytes handed over or about to be, and not yet committed.
    pub fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes + self.batch.len()
    }

    /// The sync under way covers so many records that those of the next turns had better wait for
    /// its end and share the one behind it: a sync costs the same, whatever it covers. Under few
    /// writes nothing waits.
    pub fn is_gathering(&self) -> bool {
        let Some(under_way) = self.unsynced.front() else { return false };
        under_way.last.0 - self.progress.durable.0 >= limits::GATHERING_RECORDS
            && self.batch.len() < limits::GATHERED_BYTES
    }

    /// Appends are under way.
    pub fn is_waiting(&self) -> bool {
        !self.unsynced.is_empty() || !self.pending.is_empty()
    }

    /// All commands up to `ticket` are on disk: alone, they are committed by that.
    pub fn on_durable(&mut self, ticket: Ticket) {
        while let Some(front) = self.unsynced.front() {
            if front.ticket > ticket {
                break;
            }
            self.progress.durable = front.last;
            self.unsynced_bytes -= front.bytes;
            self.unsynced.pop_front();
        }
        if self.is_alone {
            self.commit(self.progress.durable);
        }
    }

    /// A quorum has everything up to `through`, whether or not this server's own disk has.
    pub fn commit(&mut self, through: Zxid) {
        assert!(through <= self.progress.logged, "only what was proposed is committed");
        self.progress.committed = self.progress.committed.max(through);
        while let Some((last, bytes)) = self.uncommitted.front()
            && *last <= through
        {
            self.uncommitted_bytes -= bytes;
            self.uncommitted.pop_front();
        }
    }

    /// The role ends: what the log was handed and nobody has applied. What was only gathered goes,
    /// since nobody has heard of it.
    pub fn into_logged(self) -> impl Iterator<Item = Proposal<O>> {
        let gathered = self.batch_first.unwrap_or(Zxid(i64::MAX));
        self.pending.into_iter().take_while(move |proposal| proposal.header.zxid < gathered)
    }

    /// Whose the next committed txn is.
    pub fn peek_committed(&self) -> Option<&O> {
        let front = self.pending.front()?;
        (front.header.zxid <= self.progress.committed).then_some(&front.origin)
    }

    /// The next committed txn to apply, in order.
    pub fn next_committed(&mut self) -> Option<Proposal<O>> {
        let zxid = self.pending.front()?.header.zxid;
        if zxid > self.progress.committed {
            return None;
        }
        assert_eq!(zxid.0, self.progress.applied.0 + 1, "commits are applied without a gap");
        self.progress.applied = zxid;
        let next = self.pending.pop_front();
        if self.pending.is_empty() {
            self.pending.shrink_to(limits::KEPT_ENTRIES);
        }
        next
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        let p = &self.progress;
        assert!(p.logged >= p.durable, "durable is a part of what is logged");
        assert!(!self.is_alone || p.durable >= p.committed, "alone, what is durable is committed");
        assert!(p.committed >= p.applied, "only what is committed is applied");
        assert_eq!(
            p.logged.0 - p.applied.0,
            self.pending.len() as i64,
            "pending is what lies between"
        );
        let sum: usize = self.unsynced.iter().map(|u| u.bytes).sum();
        assert_eq!(sum, self.unsynced_bytes, "unsynced bytes are counted");
        let sum: usize = self.uncommitted.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(sum, self.uncommitted_bytes, "uncommitted bytes are counted");
        assert!(
            self.unsynced
                .iter()
                .zip(self.unsynced.iter().skip(1))
                .all(|(a, b)| a.ticket < b.ticket),
            "tickets rise"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SessionId, WallMillis};

    fn propose(leading: &mut Leading<()>, count: i64) {
        for _ in 0..count {
            let zxid = leading.next_zxid();
            let header = TxnHeader { session: SessionId(1), cxid: 0, zxid, time: WallMillis(0) };
            leading.propose(Proposal {
                header,
                txn: Txn::Error { code: 0 },
                digest: None,
                origin: (),
            });
        }
    }

    fn flushed(count: i64) -> Leading<()> {
        let mut leading = Leading::new(Zxid(5), Zxid(5));
        propose(&mut leading, count);
        assert!(!leading.is_gathering(), "no sync is under way");
        assert!(leading.flush(Ticket(1)).is_some());
        leading
    }

    #[test]
    fn behind_a_sync_of_many_records_others_wait_for_its_end() {
        let mut leading = flushed(limits::GATHERING_RECORDS);
        propose(&mut leading, 1);
        assert!(leading.is_gathering());
        leading.on_durable(Ticket(1));
        assert!(leading.is_batching() && !leading.is_gathering());
        leading.check();
    }

    #[test]
    fn behind_a_sync_of_few_records_nothing_waits() {
        let mut leading = flushed(limits::GATHERING_RECORDS - 1);
        propose(&mut leading, limits::GATHERING_RECORDS);
        assert!(!leading.is_gathering());
    }

    #[test]
    fn what_is_gathered_has_a_bound() {
        let mut leading = flushed(limits::GATHERING_RECORDS);
        while leading.batch_size().1 < limits::GATHERED_BYTES as u64 {
            assert!(leading.is_gathering());
            propose(&mut leading, 1);
        }
        assert!(!leading.is_gathering());
    }
}
