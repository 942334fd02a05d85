//! A learner's own clients' requests while the leader has them: writes until their txns come back,
//! syncs and sessions until they are answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::{SessionId, Zxid};
use crate::peering::{Packet, Revalidate, Revalidated};

use super::learner_end::LearnerEnd;
use super::learner_seam::{LearnerOutput, LearnerTurn, ToLeader};

#[derive(Debug)]
pub(super) struct Requests<O> {
    /// By session, in the order in which they left: number and origin.
    writes: BTreeMap<SessionId, VecDeque<(i32, O)>>,
    syncs: VecDeque<O>,
    /// Syncs that the leader has answered, and what was committed by then.
    synced: VecDeque<(Zxid, O)>,
    revalidating: BTreeSet<SessionId>,
}

impl<O> Requests<O> {
    pub fn new() -> Requests<O> {
        Requests {
            writes: BTreeMap::new(),
            syncs: VecDeque::new(),
            synced: VecDeque::new(),
            revalidating: BTreeSet::new(),
        }
    }

    pub fn forward(&mut self, session: SessionId, cxid: i32, origin: O) {
        self.writes.entry(session).or_default().push_back((cxid, origin));
    }

    /// Whose a committed txn is: the oldest write of its session, if that is the one. A session
    /// that has moved here may have others under way from where it was.
    pub fn take_write(&mut self, session: SessionId, cxid: i32) -> Option<O> {
        let writes = self.writes.get_mut(&session)?;
        let (oldest, _) = writes.front()?;
        if *oldest != cxid {
            log::warn!("Got cxid 0x{cxid:x} of session 0x{session:x}, expected 0x{oldest:x}");
            return None;
        }
        let (_, origin) = writes.pop_front()?;
        if writes.is_empty() {
            self.writes.remove(&session);
        }
        Some(origin)
    }

    pub fn sync(&mut self, origin: O) {
        self.syncs.push_back(origin);
    }

    /// SYNC: the oldest sync is answered as soon as what is committed now is applied.
    pub fn on_sync(&mut self, committed: Zxid) {
        match self.syncs.pop_front() {
            Some(origin) => self.synced.push_back((committed, origin)),
            None => log::warn!("Not expecting a sync."),
        }
    }

    pub fn next_synced(&mut self, applied: Zxid) -> Option<O> {
        let is_due = self.synced.front().is_some_and(|(committed, _)| *committed <= applied);
        if is_due { self.synced.pop_front().map(|(_, origin)| origin) } else { None }
    }

    pub fn revalidate(&mut self, asked: Revalidate, turn: &mut LearnerTurn<'_>) {
        self.revalidating.insert(asked.session);
        turn.send(ToLeader::Revalidate(asked));
    }

    pub fn on_revalidate(
        &mut self,
        packet: &Packet<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), LearnerEnd> {
        let kind = packet.kind;
        let read = packet.body().and_then(Revalidated::read);
        let said = read.map_err(|error| LearnerEnd::BadPacket { kind, error })?;
        let Revalidated { session, is_valid } = said;
        if self.revalidating.remove(&session) {
            turn.push(LearnerOutput::Revalidated { session, is_valid });
        } else {
            log::warn!("Missing session 0x{session:x} for validation");
        }
        Ok(())
    }

    pub fn check(&self) {
        assert!(self.writes.values().all(|writes| !writes.is_empty()), "a session has writes");
        let mut pairs = self.synced.iter().zip(self.synced.iter().skip(1));
        assert!(pairs.all(|((a, _), (b, _))| a <= b), "syncs are answered in order");
    }
}
