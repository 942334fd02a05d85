//! Requests while the leader has them: of a learner's own clients, writes until their txns come
//! back, syncs and sessions until they are answered; and of observers behind it what the leader
//! answers without a txn.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ConnId, SessionId, Zxid, limits};
use crate::peering::{Packet, Revalidate, Revalidated};

use super::feed::TooMany;
use super::learner_end::LearnerEnd;
use super::learner_seam::{LearnerOutput, LearnerTurn, ToLeader};

/// Who has asked.
#[derive(Debug)]
enum Asker<O> {
    Client(O),
    /// An observer that this server feeds.
    Observer(ConnId),
}

#[derive(Debug)]
pub(super) struct Requests<O> {
    /// By session, in the order in which they left: number and origin.
    writes: BTreeMap<SessionId, VecDeque<(i32, O)>>,
    syncs: VecDeque<Asker<O>>,
    /// Syncs that the leader has answered, and what was committed by then.
    synced: VecDeque<(Zxid, O)>,
    /// By session, in the order in which they were asked for: the leader answers in that.
    revalidating: BTreeMap<SessionId, VecDeque<Asker<()>>>,
    /// How many of those are observers'.
    of_observers: usize,
}

impl<O> Requests<O> {
    pub fn new() -> Requests<O> {
        Requests {
            writes: BTreeMap::new(),
            syncs: VecDeque::new(),
            synced: VecDeque::new(),
            revalidating: BTreeMap::new(),
            of_observers: 0,
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
        self.syncs.push_back(Asker::Client(origin));
    }

    /// The same for an observer.
    pub fn sync_for(&mut self, link: ConnId) -> Result<(), TooMany> {
        self.count_observer()?;
        self.syncs.push_back(Asker::Observer(link));
        Ok(())
    }

    /// Whoever is fed may ask for so much that the leader has enough of this server.
    fn count_observer(&mut self) -> Result<(), TooMany> {
        if self.of_observers >= limits::OBSERVERS_ASKED {
            return Err(TooMany);
        }
        self.of_observers += 1;
        Ok(())
    }

    /// SYNC: the oldest sync is answered as soon as what is committed now is applied; an observer
    /// applies it itself.
    pub fn on_sync(&mut self, committed: Zxid, turn: &mut LearnerTurn<'_>) {
        match self.syncs.pop_front() {
            Some(Asker::Client(origin)) => self.synced.push_back((committed, origin)),
            Some(Asker::Observer(link)) => {
                self.of_observers -= 1;
                turn.push(LearnerOutput::ObserverSynced { link, after: committed });
            }
            None => log::warn!("Not expecting a sync."),
        }
    }

    pub fn next_synced(&mut self, applied: Zxid) -> Option<O> {
        let is_due = self.synced.front().is_some_and(|(committed, _)| *committed <= applied);
        if is_due { self.synced.pop_front().map(|(_, origin)| origin) } else { None }
    }

    pub fn revalidate(&mut self, asked: Revalidate, turn: &mut LearnerTurn<'_>) {
        self.ask_leader(asked, Asker::Client(()), turn);
    }

    /// The same for an observer.
    pub fn revalidate_for(
        &mut self,
        link: ConnId,
        asked: Revalidate,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<(), TooMany> {
        self.count_observer()?;
        self.ask_leader(asked, Asker::Observer(link), turn);
        Ok(())
    }

    fn ask_leader(&mut self, asked: Revalidate, asker: Asker<()>, turn: &mut LearnerTurn<'_>) {
        self.revalidating.entry(asked.session).or_default().push_back(asker);
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
        match self.next_asker(session) {
            Some(Asker::Client(())) => turn.push(LearnerOutput::Revalidated { session, is_valid }),
            Some(Asker::Observer(link)) => {
                self.of_observers -= 1;
                turn.push(LearnerOutput::ObserverRevalidated { link, revalidated: said });
            }
            None => log::warn!("Missing session 0x{session:x} for validation"),
        }
        Ok(())
    }

    fn next_asker(&mut self, session: SessionId) -> Option<Asker<()>> {
        let askers = self.revalidating.get_mut(&session)?;
        let asker = askers.pop_front();
        if askers.is_empty() {
            self.revalidating.remove(&session);
        }
        asker
    }

    pub fn check(&self) {
        assert!(self.writes.values().all(|writes| !writes.is_empty()), "a session has writes");
        assert!(self.revalidating.values().all(|askers| !askers.is_empty()), "or is asked for");
        let mut pairs = self.synced.iter().zip(self.synced.iter().skip(1));
        assert!(pairs.all(|((a, _), (b, _))| a <= b), "syncs are answered in order");
        let syncs = self.syncs.iter().filter(|asker| matches!(asker, Asker::Observer(_)));
        let sessions = self.revalidating.values().flatten();
        let sessions = sessions.filter(|asker| matches!(asker, Asker::Observer(_)));
        assert_eq!(syncs.count() + sessions.count(), self.of_observers, "observers are counted");
    }
}
