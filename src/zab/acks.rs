//! Who has which proposal on disk, and what may be committed by that: in order, and each only with
//! the quorums that it was proposed under.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::{ServerId, Zxid};
use crate::members::{Acks, Slots};

/// The outstanding proposals of one epoch.
#[derive(Debug)]
pub struct AckTable {
    me: ServerId,
    /// The last committed; at first the beginning of the epoch.
    committed: Zxid,
    /// What comes directly after it.
    outstanding: VecDeque<Outstanding>,
    /// How far this server's own log is on disk.
    durable: Zxid,
}

#[derive(Debug)]
struct Outstanding {
    needs: Arc<Slots>,
    acks: Acks,
}

/// What came of an ACK. All but the first are ignored; none is a fault, since servers of older
/// versions acknowledge what was committed before they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    Counted,
    /// The low half is zero: the second ACK of NEWLEADER, which comes after UPTODATE.
    EpochBegin,
    AlreadyCommitted,
    /// Nothing like this is outstanding.
    Unknown,
    /// It does not vote, or has said so before.
    NoChange,
}

impl AckTable {
    /// Nothing is outstanding, and the next proposal is the first of `epoch`.
    pub fn new(me: ServerId, epoch: u32) -> AckTable {
        let begin = Zxid::new(epoch, 0);
        AckTable { me, committed: begin, outstanding: VecDeque::new(), durable: begin }
    }

    /// A proposal that waits from now on for the quorums of `needs`.
    pub fn propose(&mut self, zxid: Zxid, needs: &Arc<Slots>) {
        assert_eq!(zxid, self.proposed().next(), "proposals are gapless");
        assert!(zxid > self.durable, "nothing is on disk before it was proposed");
        self.outstanding.push_back(Outstanding { needs: needs.clone(), acks: Acks::default() });
    }

    pub fn on_ack(&mut self, server: ServerId, zxid: Zxid) -> Acked {
        if zxid.counter() == 0 {
            return Acked::EpochBegin;
        }
        if zxid <= self.committed {
            return Acked::AlreadyCommitted;
        }
        let Some(index) = self.index(zxid) else { return Acked::Unknown };
        let Outstanding { needs, acks } = &mut self.outstanding[index];
        if needs.add(acks, server) { Acked::Counted } else { Acked::NoChange }
    }

    /// This server's own log is on disk up to `durable`: its own ACKs.
    pub fn on_own_durable(&mut self, durable: Zxid) {
        assert!(durable <= self.proposed(), "nothing is on disk before it was proposed");
        let mut zxid = self.durable.max(self.committed);
        while zxid < durable {
            zxid = zxid.next();
            let index = self.index(zxid).expect("what is not committed is outstanding");
            let Outstanding { needs, acks } = &mut self.outstanding[index];
            needs.add(acks, self.me);
        }
        self.durable = self.durable.max(durable);
    }

    /// The next proposal that has its quorums, in order: it is committed by this.
    pub fn next_commit(&mut self) -> Option<Zxid> {
        let oldest = self.outstanding.front()?;
        if !oldest.needs.are_satisfied(oldest.acks) {
            return None;
        }
        self.outstanding.pop_front();
        self.committed = self.committed.next();
        Some(self.committed)
    }

    /// A learner's link is gone, and with it what it has said: before it comes back it may have
    /// cut its log. What it still has by then it says again.
    pub fn withdraw(&mut self, server: ServerId) {
        assert_ne!(server, self.me, "this server does not leave itself");
        for Outstanding { needs, acks } in &mut self.outstanding {
            let mut ackers = needs.ackers(*acks);
            if ackers.remove(&server) {
                *acks = Acks::default();
                for acker in ackers {
                    needs.add(acks, acker);
                }
            }
        }
    }

    /// The last committed; the beginning of the epoch while none is.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// The last proposed; the beginning of the epoch while none is.
    pub fn proposed(&self) -> Zxid {
        Zxid(self.committed.0 + self.outstanding.len() as i64)
    }

    /// How many proposals wait for their quorum.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    #[cfg(test)]
    pub fn skip_to(&mut self, zxid: Zxid) {
        assert!(self.outstanding.is_empty(), "nothing is skipped that waits");
        (self.committed, self.durable) = (zxid, zxid);
    }

    fn index(&self, zxid: Zxid) -> Option<usize> {
        let index = usize::try_from(zxid.0.checked_sub(self.committed.0)?).ok()?.checked_sub(1)?;
        (index < self.outstanding.len()).then_some(index)
    }

    /// What must hold between any two inputs.
    pub fn check(&self) {
        assert_eq!(self.committed.epoch(), self.proposed().epoch(), "one epoch");
        assert!(self.durable <= self.proposed(), "what is on disk was proposed");
        for (index, Outstanding { needs, acks }) in self.outstanding.iter().enumerate() {
            let zxid = Zxid(self.committed.0 + 1 + index as i64);
            let own = needs.ackers(*acks).contains(&self.me);
            assert!(!own || zxid <= self.durable, "an own ack is on disk");
        }
    }
}

#[cfg(test)]
#[path = "acks_tests.rs"]
mod tests;
