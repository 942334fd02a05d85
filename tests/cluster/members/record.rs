//! What a run has shown, held against what may be: one history that all members share, what each
//! has promised, and what clients were told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zkd::disk::Recovered;
use zkd::history::{ChoreCommand, EpochFile, Frame, StorageCommand, frame};
use zkd::node::{Effect, Node, NodeMode};
use zkd::proto::{Entry, Txn};

use super::lives::Lives;
use super::plan::Plan;
use super::tap::Word;
use crate::model::Model;
use crate::simulation::{compare, dump};
use crate::world::client::{Oracle, Violation};
use crate::world::watches::Changes;

/// One member, as far as others may rely on it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What its log holds behind its state, or has held since it began.
    log: BTreeSet<i64>,
    applied: i64,
    /// What is on its disk, as the disk itself knows.
    pub(super) synced: i64,
    accepted: i64,
    pub(super) current: i64,
    /// The cuts that are not on the disk yet: the least that is there if one is cut short, and
    /// where the log ends behind it.
    cuts: VecDeque<(i64, i64)>,
    /// It has said to its present leader that it has all that the leader began with.
    pub(super) has_joined: bool,
    pub(super) lives: Lives,
}

/// What a member did, where a run is looked at closely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Says {
        to: Option<usize>,
        word: Word,
    },
    /// Hands something over to its log thread.
    Hands {
        what: &'static str,
        zxid: i64,
    },
    /// Has it on its disk.
    Synced {
        what: &'static str,
        zxid: i64,
    },
}

#[derive(Debug, Default)]
pub struct Record {
    pub counters: BTreeMap<&'static str, u64>,
    /// A running hash of everything that was said and done.
    pub trace: u64,
    /// Every proposal there ever was.
    pub(super) proposals: BTreeMap<i64, Entry>,
    /// What was committed, as far as any member has applied it, and the tree after each txn.
    history: BTreeMap<i64, Model>,
    /// What it has changed, path by path.
    changes: Changes,
    /// The tree's digest after each txn, by whoever came to it first.
    digests: BTreeMap<i64, (u64, usize)>,
    /// The last request of each session that took effect.
    last_cxids: BTreeMap<i64, i32>,
    pub acknowledged: i64,
    /// Who has led in which epoch, and which of them had a quorum.
    pub(super) leaders: BTreeMap<u32, usize>,
    pub(super) established: BTreeSet<u32>,
    /// What the leader of each epoch began with.
    pub(super) beginnings: BTreeMap<u32, i64>,
    /// Votes for somebody else: for whom, with what history, in which round.
    pub(super) seconded: BTreeSet<(i64, i64, i64, i64)>,
    pub(super) members: Vec<Kept>,
    /// Kept for scripts only.
    pub deeds: Option<Vec<(usize, Deed)>>,
    /// Those who come first vote; none where it is not known who does.
    pub voters: usize,
    /// Sessions may end without a txn.
    has_local_sessions: bool,
    /// Members without a leader show all that they have logged.
    shows_logs: bool,
    /// Followers speak for observers behind them.
    pub(super) followers_feed: bool,
    /// Found where nobody could be told at once.
    found: Option<Violation>,
    /// The end of what happened, one line each.
    lines: Vec<String>,
}

impl Record {
    pub fn new(plan: &Plan) -> Record {
        Record {
            members: (0..plan.members()).map(|_| Kept::default()).collect(),
            voters: plan.voters,
            has_local_sessions: plan.local_sessions,
            shows_logs: plan.read_only,
            followers_feed: plan.followers_feed,
            ..Record::default()
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    pub fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn mix_effect(&mut self, effect: &Effect, arena: &[u8]) {
        match effect {
            Effect::Send { conn, range } => {
                self.mix(&conn.index.to_be_bytes());
                self.mix(&arena[range.start as usize..range.end as usize]);
            }
            Effect::Storage(StorageCommand::Append { first, bytes, .. }) => {
                self.mix(&first.0.to_be_bytes());
                self.mix(bytes);
            }
            Effect::Chore(ChoreCommand::SnapshotChunk { bytes }) => self.mix(bytes),
            other => self.mix(format!("{other:?}").as_bytes()),
        }
    }

    pub fn note(&mut self, at_ms: u64, text: String) {
        if self.lines.len() >= 4000 {
            self.lines.drain(..2000);
        }
        self.lines.push(format!("{at_ms:>6} {text}"));
    }

    pub fn tail(&self, lines: usize) -> String {
        let from = self.lines.len().saturating_sub(lines);
        self.lines[from..].iter().map(|line| format!("{line}\n")).collect()
    }

    pub(super) fn find(&mut self, violation: Violation) {
        self.found.get_or_insert(violation);
    }

    /// What was found so far.
    pub fn verdict(&mut self) -> Result<(), Violation> {
        self.found.take().map_or(Ok(()), Err)
    }

    pub fn last_committed(&self) -> i64 {
        self.history.last_key_value().map_or(0, |(zxid, _)| *zxid)
    }

    /// Who led last, if it came so far as to say so.
    pub fn last_leader(&self) -> Option<usize> {
        self.leaders.last_key_value().map(|(_, member)| *member)
    }

    pub fn last_model(&self) -> Option<&Model> {
        self.history.last_key_value().map(|(_, model)| model)
    }

    /// The sessions there are, as far as anything is committed.
    pub fn sessions(&self) -> Vec<i64> {
        self.last_model().map(|model| model.sessions.keys().copied().collect()).unwrap_or_default()
    }

    /// A process begins, or begins anew, with what is on its disk.
    pub fn on_recovered(&mut self, member: usize, recovered: &Recovered) {
        let applied = recovered.state.last_zxid().0;
        if self.history.is_empty() {
            self.history.insert(0, Model::fresh(dump(&recovered.state)));
        }
        let kept = &mut self.members[member];
        let (accepted, current) = (recovered.accepted_epoch, recovered.current_epoch);
        if accepted < kept.accepted || current < kept.current {
            let (was, had) = (kept.accepted, kept.current);
            return self.find(format!(
                "epochs: {member} comes back with {accepted}, {current} and had {was}, {had}"
            ));
        }
        if !recovered.is_lost && accepted < current {
            return self.find(format!("epochs: {member} accepted {accepted} below {current}"));
        }
        let last = recovered.last_logged.0;
        let had = kept.cuts.iter().map(|(least, _)| *least).fold(kept.synced, i64::min);
        if last < had && !recovered.is_lost {
            return self.find(format!(
                "positions: {member} comes back with 0x{last:x}; its disk had 0x{had:x}"
            ));
        }
        kept.log = recovered.tail.iter().map(|entry| entry.header.zxid.0).collect();
        kept.cuts.clear();
        (kept.applied, kept.synced) = (applied, last);
        (kept.accepted, kept.current) = (accepted, current);
        for entry in &recovered.tail {
            self.propose(member, entry);
        }
        if applied > self.last_committed() {
            let last = self.last_committed();
            self.find(format!(
                "recovery: {member} takes 0x{applied:x} for committed, and 0x{last:x} is"
            ));
        }
        let digest = recovered.state.digest();
        self.see(member, applied, digest);
    }

    fn propose(&mut self, member: usize, entry: &Entry) {
        let zxid = entry.header.zxid.0;
        match self.proposals.get(&zxid) {
            None => {
                self.proposals.insert(zxid, entry.clone());
            }
            Some(known) if known == entry => {}
            Some(known) => {
                let text = format!(
                    "proposals: 0x{zxid:x} is {:?} at {member} and was {:?}",
                    entry.header, known.header
                );
                self.find(text);
            }
        }
    }

    /// The node hands something over to its log.
    pub fn on_command(&mut self, member: usize, command: &StorageCommand) {
        self.note_deed(member, || {
            let (what, zxid) = name_of(command);
            Deed::Hands { what, zxid }
        });
        match command {
            StorageCommand::Append { bytes, .. } => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let Frame::Record { entry, bytes, .. } = frame(rest) else {
                        panic!("the node appends whole records")
                    };
                    rest = &rest[bytes..];
                    let entry = Entry::read(entry).expect("the node appends entries");
                    self.check_end(member, &entry);
                    self.propose(member, &entry);
                    self.members[member].log.insert(entry.header.zxid.0);
                }
            }
            StorageCommand::Truncate { zxid, .. } => {
                self.count("truncations");
                let kept = &mut self.members[member];
                kept.log.retain(|logged| *logged <= zxid.0);
                kept.cuts.push_back((zxid.0, zxid.0));
            }
            StorageCommand::CutAbove { zxid, sent, .. } => {
                self.count("cuts above an image");
                let sent: BTreeSet<i64> = sent.iter().map(|zxid| zxid.0).collect();
                let kept = &mut self.members[member];
                kept.log.retain(|z| *z <= zxid.0 || sent.contains(z));
                let last = kept.log.last().map_or(zxid.0, |last| zxid.0.max(*last));
                kept.cuts.push_back((zxid.0, last));
            }
            StorageCommand::WriteEpoch { file: EpochFile::Accepted, .. } => {
                self.count("epochs accepted");
            }
            StorageCommand::InstallSnapshot { zxid, .. } => {
                self.count("snapshots installed");
                // Where a state is not looked at before it serves, it goes on from here.
                if self.shows_logs && zxid.0 <= self.last_committed() {
                    self.applied(member, zxid.0);
                }
            }
            _ => {}
        }
    }

    /// It is on the disk now, whether that is told or not.
    pub fn on_synced(&mut self, member: usize, command: &StorageCommand) {
        self.note_deed(member, || {
            let (what, zxid) = name_of(command);
            Deed::Synced { what, zxid }
        });
        let kept = &mut self.members[member];
        match command {
            StorageCommand::Append { last, .. } => kept.synced = kept.synced.max(last.0),
            StorageCommand::InstallSnapshot { zxid, .. } => {
                kept.synced = kept.synced.max(zxid.0);
            }
            StorageCommand::Truncate { .. } | StorageCommand::CutAbove { .. } => {
                let (_, last) = kept.cuts.pop_front().expect("what is done was handed over");
                kept.synced = kept.synced.min(last);
            }
            StorageCommand::WriteEpoch { file, epoch, .. } => {
                let known = match file {
                    EpochFile::Accepted => &mut kept.accepted,
                    EpochFile::Current => &mut kept.current,
                };
                *known = (*known).max(*epoch);
            }
            _ => {}
        }
    }

    /// What the member's state is after a turn.
    pub fn on_turn(&mut self, member: usize, node: &Node) -> Result<(), Violation> {
        let is_established = !matches!(node.mode(), NodeMode::Looking | NodeMode::ReadOnly);
        if node.mode() == NodeMode::ReadOnly {
            self.count("turns of read-only members");
        }
        if self.shows_logs && !is_established {
            // A leader will have it cut to what was committed.
            return self.verdict();
        }
        let view = node.view();
        let applied = view.applied.0;
        if applied != self.members[member].applied {
            self.applied(member, applied);
            self.see(member, applied, view.digest);
        }
        if view.digest_mismatches > 0 {
            self.find(format!("digests: {member} has met {}", view.digest_mismatches));
        }
        self.verdict()
    }

    /// A member's state is there now.
    pub(super) fn applied(&mut self, member: usize, applied: i64) {
        self.go_on(member, applied);
        self.members[member].applied = applied;
    }

    /// Trees at one zxid are alike.
    pub(super) fn see(&mut self, member: usize, zxid: i64, digest: u64) {
        if zxid == 0 || !self.history.contains_key(&zxid) {
            return;
        }
        let (known, first) = *self.digests.entry(zxid).or_insert((digest, member));
        if known != digest {
            self.find(format!(
                "digests: 0x{zxid:x} is {known:x} at {first} and {digest:x} at {member}"
            ));
        }
    }

    /// A member's state has moved. What it applied is the shared history, or goes on from its end.
    fn go_on(&mut self, member: usize, applied: i64) {
        let before = self.members[member].applied;
        let last = self.last_committed();
        let is_beginning = applied as u32 == 0;
        if applied <= last {
            if !is_beginning && !self.history.contains_key(&applied) {
                self.find(format!("history: {member} is at 0x{applied:x}, which is none of it"));
            }
            return;
        }
        let log = &self.members[member].log;
        let mine: Vec<i64> = log.range(before + 1..=applied).copied().collect();
        let shared: Vec<i64> =
            if before < last { self.range(before + 1, last) } else { Vec::new() };
        if !mine.starts_with(&shared) || before > last {
            return self.find(format!(
                "history: {member} went from 0x{before:x} by {mine:x?}; shared are {shared:x?}"
            ));
        }
        let news = &mine[shared.len()..];
        if !is_beginning && news.last() != Some(&applied) {
            return self
                .find(format!("history: {member} is at 0x{applied:x} and has logged {news:x?}"));
        }
        for zxid in news {
            self.commit(*zxid);
        }
    }

    /// A member begins to write an image of its state.
    pub fn on_image(&mut self, member: usize, zxid: i64) {
        let last = self.last_committed();
        if zxid > last && zxid as u32 != 0 {
            self.find(format!(
                "positions: {member} writes an image of 0x{zxid:x} above 0x{last:x}"
            ));
        }
    }

    fn range(&self, from: i64, to: i64) -> Vec<i64> {
        self.history.range(from..=to).map(|(zxid, _)| *zxid).collect()
    }

    /// The shared history goes on.
    fn commit(&mut self, zxid: i64) {
        let entry = self.proposals.get(&zxid).expect("what is logged was proposed").clone();
        let mut model = self.last_model().expect("there is a beginning").clone();
        model.apply(&entry);
        self.changes.add(zxid, &model.changes);
        self.history.insert(zxid, model);
        self.count("commits");
        let voters = &self.members[..self.voters];
        let there = voters.iter().filter(|kept| kept.synced >= zxid).count();
        // Nobody knows what is on the disk of who leads from outside.
        let is_known = self.leaders.contains_key(&((zxid >> 32) as u32));
        if is_known && 2 * there <= self.voters && self.voters > 0 {
            self.find(format!("positions: 0x{zxid:x} is committed, and {there} have it on disk"));
        }
        let cxid = entry.header.cxid;
        if is_write(&entry.txn) && cxid > 0 {
            let last = self.last_cxids.entry(entry.header.session.0).or_default();
            if cxid <= *last {
                let last = *last;
                return self.find(format!("session: request {cxid} took effect after {last}"));
            }
            *last = cxid;
        }
    }

    pub(super) fn note_deed(&mut self, member: usize, deed: impl FnOnce() -> Deed) {
        if let Some(deeds) = &mut self.deeds {
            deeds.push((member, deed()));
        }
    }

    /// Whether this member has all that is committed.
    pub fn is_level(&self, member: usize) -> bool {
        let Kept { applied, .. } = self.members[member];
        applied >= self.last_committed()
    }

    pub fn compare(&self, node: &Node) -> Result<(), Violation> {
        let model = self.last_model().ok_or("nothing ever began")?;
        // What a member knows of its ensemble is its own, and no txn.
        compare(node.state(), model, &["/zookeeper/config"])
    }
}

/// Whether it changes something. A multi that failed does not, be it that its session has moved.
fn is_write(txn: &Txn) -> bool {
    match txn {
        Txn::Error { .. } | Txn::CreateSession { .. } | Txn::CloseSession { .. } => false,
        Txn::Multi(parts) => !parts.iter().any(|part| matches!(part, Txn::Error { .. })),
        _ => true,
    }
}

/// What a command is called in scripts, and the zxid or epoch that it names.
fn name_of(command: &StorageCommand) -> (&'static str, i64) {
    match command {
        StorageCommand::Append { last, .. } => ("append", last.0),
        StorageCommand::WriteEpoch { file: EpochFile::Accepted, epoch, .. } => ("accepted", *epoch),
        StorageCommand::WriteEpoch { file: EpochFile::Current, epoch, .. } => ("current", *epoch),
        StorageCommand::Truncate { zxid, .. } => ("truncate", zxid.0),
        StorageCommand::InstallSnapshot { zxid, .. } => ("install", zxid.0),
        StorageCommand::CutAbove { zxid, .. } => ("cut above", zxid.0),
        StorageCommand::MarkLost { .. } => ("mark lost", 0),
        StorageCommand::ClearLost { .. } => ("clear lost", 0),
        StorageCommand::ReplaceFiles { .. } => ("files", 0),
    }
}

impl Oracle for Record {
    fn model_at(&self, zxid: i64) -> Option<&Model> {
        // A leader's history stands at the beginning of its epoch before its first txn.
        let is_known = zxid as u32 == 0 || self.history.contains_key(&zxid);
        let before = self.history.range(..=zxid).next_back().filter(|_| is_known);
        before.map(|(_, model)| model)
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn on_acknowledged(&mut self, zxid: i64, session: i64, cxid: i32) -> Result<(), Violation> {
        if !self.history.contains_key(&zxid) {
            return Err(format!("acknowledged: 0x{zxid:x} is nobody's history"));
        }
        let header = self.proposals[&zxid].header;
        if (header.session.0, header.cxid) != (session, cxid) {
            return Err(format!("acknowledged: 0x{zxid:x} for {cxid} but is {header:?}"));
        }
        self.acknowledged = self.acknowledged.max(zxid);
        Ok(())
    }

    fn has_local_sessions(&self) -> bool {
        self.has_local_sessions
    }

    fn count(&mut self, what: &'static str) {
        Record::count(self, what);
    }
}
