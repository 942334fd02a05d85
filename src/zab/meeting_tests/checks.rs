//! What is held against what the machines do: one committed history, one leader an epoch, nothing
//! said before it is on disk.

use std::collections::BTreeMap;

use crate::base::{ServerId, SessionId, Zxid};
use crate::proto::Entry;
use crate::zab::{Ended, LearnerEnd, Parting, Recent, SyncKind};

use super::{Asked, Role, Wanted, World};

/// What is committed, by whomever.
#[derive(Debug, Default)]
pub struct Canon {
    pub txns: Vec<Recent>,
    /// Who established which epoch.
    pub leaders: BTreeMap<u32, ServerId>,
}

impl Canon {
    fn latest_epoch(&self) -> u32 {
        self.leaders.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }
}

/// What has happened, to know that it did.
#[derive(Debug, Default)]
pub struct Counts {
    pub elections: u64,
    pub established: u64,
    pub proposals: u64,
    pub crashes: u64,
    pub diffs: u64,
    pub truncs: u64,
    pub snaps: u64,
    pub reloads: u64,
    pub probes: u64,
    pub log_reads: u64,
    pub writes: u64,
    pub syncs: u64,
    /// By their names.
    pub reasons: BTreeMap<String, u64>,
}

impl Counts {
    pub fn sync_began(&mut self, kind: SyncKind) {
        match kind {
            SyncKind::Diff => self.diffs += 1,
            SyncKind::Trunc => self.truncs += 1,
            SyncKind::Snap => self.snaps += 1,
        }
    }

    pub fn on_end(&mut self, end: &LearnerEnd) {
        self.count(&format!("{end:?}"));
    }

    pub fn on_parting(&mut self, why: Parting) {
        self.count(&format!("{why:?}"));
    }

    pub fn on_ended(&mut self, why: &Ended) {
        self.count(&format!("{why:?}"));
    }

    fn count(&mut self, said: &str) {
        let name: String = said.chars().take_while(|c| c.is_alphanumeric()).collect();
        *self.reasons.entry(name).or_default() += 1;
    }

    pub fn add(&mut self, other: &Counts) {
        self.elections += other.elections;
        self.established += other.established;
        self.proposals += other.proposals;
        self.crashes += other.crashes;
        self.diffs += other.diffs;
        self.truncs += other.truncs;
        self.snaps += other.snaps;
        self.reloads += other.reloads;
        self.probes += other.probes;
        self.log_reads += other.log_reads;
        self.writes += other.writes;
        self.syncs += other.syncs;
        for (name, count) in &other.reasons {
            *self.reasons.entry(name.clone()).or_default() += count;
        }
    }
}

impl World {
    /// What must hold of one server between any two turns.
    pub fn check(&self, index: usize) {
        let machine = &self.machines[index];
        match &machine.role {
            Role::Learning(learner) => learner.role.check(),
            Role::Leading(leader) => leader.leadership.check(),
            _ => {}
        }
        let ascends = machine.state.windows(2).all(|pair| pair[0].zxid < pair[1].zxid);
        assert!(ascends, "a state is a history");
    }

    /// Whatever a disk does, what is committed stays on most of those that count.
    pub fn check_disk(&self, index: usize) {
        let disk = &self.machines[index].disk;
        assert!(disk.accepted >= disk.current, "an epoch is accepted before it is current");
        if let Some(last) = self.canon.txns.last() {
            self.check_majority_has(last);
        }
    }

    fn check_majority_has(&self, txn: &Recent) {
        let with = self.voters_with(|disk| disk.has(txn));
        let is_enough = with.len() >= self.majority();
        assert!(is_enough, "{:x} is committed, and on the disks of {with:?} alone", txn.zxid);
    }

    /// A leader says that a quorum follows: its history is committed by that.
    pub fn on_leader_established(&mut self, index: usize, epoch: u32) {
        self.counts.established += 1;
        let me = self.machines[index].id;
        let history = self.machines[index].state.clone();
        let other = self.canon.leaders.insert(epoch, me);
        assert!(other.is_none_or(|other| other == me), "{other:?} and {me:?} lead epoch {epoch}");
        assert!(other.is_none(), "an epoch is established once");
        let is_there = self.voters_with(|disk| {
            let is_later = disk.current > i64::from(epoch);
            let has_all = history.last().is_none_or(|last| disk.has(last));
            is_later || (disk.current == i64::from(epoch) && has_all)
        });
        let is_enough = is_there.len() >= self.majority();
        assert!(is_enough, "epoch {epoch} is on the disks of {is_there:?} alone");
        let canon = &self.canon.txns;
        let shared = canon.len().min(history.len());
        assert_eq!(canon[..shared], history[..shared], "the leader's history is the committed one");
        if self.canon.latest_epoch() > epoch {
            assert!(history.len() <= canon.len(), "a later leader has all of it");
        } else {
            assert!(history.len() >= canon.len(), "a leader has all that is committed");
            self.canon.txns = history;
        }
        if let Some(last) = self.canon.txns.last().cloned() {
            self.check_majority_has(&last);
        }
    }

    /// A leader commits; its own state ends directly before.
    pub fn on_committed(&mut self, index: usize, epoch: u32, txn: &Recent) {
        let position = self.machines[index].state.len();
        if let Some(known) = self.canon.txns.get(position) {
            assert_eq!(known, txn, "one txn at one place");
        } else {
            assert_eq!(position, self.canon.txns.len(), "nothing is left out");
            assert_eq!(self.canon.latest_epoch(), epoch, "an earlier leader adds nothing");
            self.canon.txns.push(txn.clone());
        }
        self.check_majority_has(txn);
    }

    /// A learner of an established leader has applied one more.
    pub fn check_applied(&self, index: usize) {
        let state = &self.machines[index].state;
        let at = state.len() - 1;
        assert_eq!(self.canon.txns.get(at), state.get(at), "only what is committed is applied");
    }

    pub fn on_learner_established(&mut self, index: usize, epoch: i64) {
        let machine = &self.machines[index];
        assert!(self.canon.leaders.contains_key(&(epoch as u32)), "somebody leads by then");
        assert_eq!(machine.disk.current, epoch, "the epoch is on disk");
        let shared = machine.state.len().min(self.canon.txns.len());
        assert_eq!(machine.state[..], self.canon.txns[..shared], "a state is what is committed");
    }

    /// What is acknowledged is on disk.
    pub fn check_ack(&self, index: usize, zxid: Zxid) {
        let machine = &self.machines[index];
        let disk = &machine.disk;
        if zxid.counter() == 0 {
            assert_eq!(disk.current, i64::from(zxid.epoch()), "NEWLEADER is acknowledged on disk");
        } else {
            assert!(machine.votes, "observers acknowledge no proposal");
            let is_there = disk.log.binary_search_by_key(&zxid, |record| record.zxid).is_ok();
            let is_in_image = disk.snapshots.keys().any(|at| *at >= zxid);
            assert!(is_there || is_in_image, "{zxid:x} is acknowledged and not on disk");
        }
    }

    pub fn ask(&mut self, machine: usize, role: u64, what: Wanted) -> u32 {
        self.asked_ever += 1;
        self.asked.insert(self.asked_ever, Asked { machine, role, what });
        self.asked_ever
    }

    fn answered(&mut self, machine: usize, role: u64, origin: u32) -> Wanted {
        let asked = self.asked.remove(&origin).expect("what was asked is answered once");
        assert_eq!((asked.machine, asked.role), (machine, role), "where it was asked");
        asked.what
    }

    pub fn on_written(&mut self, machine: usize, role: u64, origin: u32, entry: &Entry) {
        self.counts.writes += 1;
        let wanted = self.answered(machine, role, origin);
        let header = entry.header;
        assert_eq!(wanted, Wanted::Write { session: header.session, cxid: header.cxid });
    }

    pub fn on_synced(&mut self, machine: usize, role: u64, origin: u32) {
        self.counts.syncs += 1;
        let Wanted::Sync { committed } = self.answered(machine, role, origin) else {
            panic!("it was a sync")
        };
        let at = self.machines[machine].at;
        assert!(at >= committed, "a sync at {at:x} does not see {committed:x}");
    }

    pub fn on_revalidated(&mut self, machine: usize, role: u64, session: SessionId) {
        let wanted = Wanted::Revalidation { session };
        let is_it = |asked: &Asked| asked.role == role && asked.what == wanted;
        let origin = self.asked.iter().find(|(_, asked)| is_it(asked)).map(|(origin, _)| *origin);
        self.answered(machine, role, origin.expect("it was asked for"));
    }
}
