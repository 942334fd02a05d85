//! A server's disk: records with what they say, snapshots with what they stand for. It is as
//! strict as the log thread, and does what a storage queue tells it in order.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

use crate::base::{Rng, Ticket, Zxid};
use crate::history::{EpochFile, Frame, StorageCommand, frame, record_zxid};
use crate::proto::Entry;
use crate::zab::{LearnerStorage, Place, Probed, Recent, Tail};

use super::Breakage;

pub type History = Rc<Vec<Recent>>;

#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// By zxid, each with the history that it stands for.
    pub snapshots: BTreeMap<Zxid, History>,
    /// Ascending.
    pub log: Vec<Recent>,
    /// From here the log leads up to its end. What lies before was purged, or is not known to
    /// lead up to a snapshot that came from another server.
    pub log_from: Zxid,
    pub accepted: i64,
    pub current: i64,
    pub is_lost: bool,
    /// A finished image that has no name yet.
    pub draft: Option<(Zxid, History)>,
    /// What is told to be cut next cannot be.
    pub refuses: bool,
}

/// A command of the storage queue.
#[derive(Clone)]
pub enum Command {
    Append {
        records: Vec<Recent>,
    },
    Epoch {
        file: EpochFile,
        epoch: i64,
    },
    Truncate {
        zxid: Zxid,
    },
    Install {
        zxid: Zxid,
    },
    CutAbove {
        zxid: Zxid,
        sent: Vec<Zxid>,
    },
    SetLost(bool),
    Config,
    /// A snapshot of this server's own state; what the log has up to it may go.
    Own {
        zxid: Zxid,
        history: History,
        purges: bool,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Append { records } => {
                let zxids: Vec<String> = records.iter().map(|r| format!("{:x}", r.zxid)).collect();
                write!(f, "append {}", zxids.join(" "))
            }
            Command::Epoch { file, epoch } => write!(f, "{file:?} {epoch}"),
            Command::Truncate { zxid } => write!(f, "truncate {zxid:x}"),
            Command::Install { zxid } => write!(f, "install {zxid:x}"),
            Command::CutAbove { zxid, .. } => write!(f, "cut above {zxid:x}"),
            Command::SetLost(is_lost) => write!(f, "lost {is_lost}"),
            Command::Config => f.write_str("config"),
            Command::Own { zxid, purges, .. } => write!(f, "own snapshot {zxid:x} {purges}"),
        }
    }
}

/// What a disk says besides that something is durable.
#[derive(Clone, Copy, Debug)]
pub enum DiskSaid {
    Durable(Ticket),
    CutRefused(Ticket),
    CutAt(Ticket, Zxid),
}

impl Command {
    pub fn of_learner(command: LearnerStorage) -> (Ticket, Command) {
        let ticket = command.ticket();
        let command = match command {
            LearnerStorage::Append { first, last, bytes, txns, .. } => {
                let records = records(&bytes);
                assert_eq!(records.len() as u64, txns, "records are counted");
                let ends = (records.first().map(|r| r.zxid), records.last().map(|r| r.zxid));
                assert_eq!(ends, (Some(first), Some(last)), "and begin and end as it says");
                Command::Append { records }
            }
            LearnerStorage::WriteEpoch { file, epoch, .. } => Command::Epoch { file, epoch },
            LearnerStorage::Truncate { zxid, .. } => Command::Truncate { zxid },
            LearnerStorage::InstallSnapshot { zxid, .. } => Command::Install { zxid },
            LearnerStorage::CutAbove { zxid, sent, .. } => Command::CutAbove { zxid, sent },
            LearnerStorage::MarkLost { .. } => Command::SetLost(true),
            LearnerStorage::ClearLost { .. } => Command::SetLost(false),
            LearnerStorage::WriteConfig { .. } => Command::Config,
        };
        (ticket, command)
    }

    pub fn of_leader(command: &StorageCommand) -> (Ticket, Command) {
        match command {
            StorageCommand::WriteEpoch { ticket, file, epoch } => {
                (*ticket, Command::Epoch { file: *file, epoch: *epoch })
            }
            other => panic!("a leadership writes its epochs, not {other:?}"),
        }
    }
}

/// Whole log records.
fn records(mut bytes: &[u8]) -> Vec<Recent> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let Frame::Record { entry, bytes: length, .. } = frame(bytes) else {
            panic!("a whole record was handed over")
        };
        let zxid = record_zxid(entry).expect("a record has a header");
        records.push(Recent { zxid, data: Bytes::copy_from_slice(entry) });
        bytes = &bytes[length..];
    }
    records
}

impl Disk {
    pub fn new() -> Disk {
        let nothing = BTreeMap::from([(Zxid::ZERO, History::default())]);
        Disk { snapshots: nothing, ..Disk::default() }
    }

    /// What a restart would find.
    pub fn history(&self) -> Vec<Recent> {
        let (base, history) = self.base();
        let behind = self.log.iter().filter(|record| record.zxid > base);
        history.iter().chain(behind).cloned().collect()
    }

    fn base(&self) -> (Zxid, &History) {
        let (base, history) = self.snapshots.last_key_value().expect("there is always one");
        (*base, history)
    }

    /// Where the history ends, and the highest zxid of anything that is here.
    pub fn last(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |last| last.zxid).max(self.base().0)
    }

    pub fn last_record(&self) -> Option<&Recent> {
        let (base, history) = self.base();
        self.log.last().filter(|last| last.zxid > base).or_else(|| history.last())
    }

    pub fn has(&self, wanted: &Recent) -> bool {
        let (base, history) = self.base();
        let within = if wanted.zxid <= base { &history[..] } else { &self.log[..] };
        within.binary_search_by_key(&wanted.zxid, |r| r.zxid).is_ok_and(|at| within[at] == *wanted)
    }

    /// The state that recovery makes of it, where that ends, and the tail behind it.
    pub fn recover(&self, hold_back: usize) -> (Vec<Recent>, Tail) {
        let (base, history) = self.base();
        let behind: Vec<&Recent> = self.log.iter().filter(|r| r.zxid > base).collect();
        let epoch = behind.last().map_or(0, |last| last.zxid.epoch());
        let of_epoch = behind.iter().rev().take_while(|r| r.zxid.epoch() == epoch).count();
        let (early, held) = behind.split_at(behind.len() - of_epoch.min(hold_back));
        let applied = early.last().map_or(base, |last| last.zxid);
        let state = history.iter().chain(early.iter().copied()).cloned().collect();
        let entries: Vec<Entry> = held.iter().map(|record| entry_of(record)).collect();
        (state, Tail::new(applied, entries, Zxid::ZERO))
    }

    /// Does one command; what there is to say before it is durable.
    pub fn execute(
        &mut self,
        ticket: Ticket,
        command: Command,
        broken: Option<Breakage>,
    ) -> Option<DiskSaid> {
        match command {
            Command::Append { records } => {
                for record in records {
                    assert!(
                        record.zxid > self.last(),
                        "{:x} behind {:x}",
                        record.zxid,
                        self.last()
                    );
                    self.log.push(record);
                }
            }
            Command::Epoch { file, epoch } => self.write_epoch(file, epoch),
            Command::Truncate { .. } | Command::CutAbove { .. }
                if broken == Some(Breakage::CutsNothing) =>
            {
                if let Command::CutAbove { .. } = command {
                    return Some(DiskSaid::CutAt(ticket, self.last()));
                }
            }
            Command::Truncate { zxid } => return self.truncate(ticket, zxid),
            Command::Install { .. } if broken == Some(Breakage::InstallsNothing) => {}
            Command::Install { zxid } => {
                let (drafted, history) = self.draft.take().expect("an image is written first");
                assert_eq!(drafted, zxid, "the image that was written gets its name");
                self.snapshots.insert(zxid, history);
                self.log_from = self.log_from.max(zxid);
            }
            Command::CutAbove { zxid, sent } => {
                return Some(DiskSaid::CutAt(ticket, self.cut_above(zxid, &sent)));
            }
            Command::SetLost(is_lost) => self.is_lost = is_lost,
            Command::Config => {}
            Command::Own { zxid, history, purges } => {
                self.snapshots.insert(zxid, history);
                if purges {
                    self.log.retain(|record| record.zxid > zxid);
                    self.log_from = self.log_from.max(zxid);
                }
            }
        }
        None
    }

    fn write_epoch(&mut self, file: EpochFile, epoch: i64) {
        match file {
            EpochFile::Accepted => {
                assert!(epoch > self.accepted, "accepted epochs rise");
                self.accepted = epoch;
            }
            EpochFile::Current => {
                assert!(epoch >= self.current, "current epochs rise");
                assert!(epoch <= self.accepted, "an epoch is accepted before it is current");
                self.current = epoch;
            }
        }
    }

    fn truncate(&mut self, ticket: Ticket, zxid: Zxid) -> Option<DiskSaid> {
        let has_base = self.snapshots.keys().any(|at| *at <= zxid && *at >= self.log_from);
        let is_here =
            self.log.iter().any(|record| record.zxid == zxid) || self.snapshots.contains_key(&zxid);
        if !has_base || !is_here || std::mem::take(&mut self.refuses) {
            return Some(DiskSaid::CutRefused(ticket));
        }
        self.snapshots.retain(|at, _| *at <= zxid);
        self.log.retain(|record| record.zxid <= zxid);
        None
    }

    fn cut_above(&mut self, zxid: Zxid, sent: &[Zxid]) -> Zxid {
        self.snapshots.retain(|at, _| *at <= zxid);
        let (below, above): (Vec<Recent>, Vec<Recent>) =
            self.log.drain(..).partition(|record| record.zxid <= zxid);
        let both = above.into_iter().zip(sent);
        let shared = both.take_while(|(ours, sent)| ours.zxid == **sent).map(|(ours, _)| ours);
        self.log = below.into_iter().chain(shared).collect();
        self.log.last().map_or(zxid, |last| last.zxid.max(zxid))
    }

    /// The power goes. Of what was handed over a part is there, the last record torn off anywhere.
    pub fn crash(
        &mut self,
        queue: impl Iterator<Item = (Ticket, Command)>,
        rng: &mut Rng,
        broken: Option<Breakage>,
    ) {
        for (ticket, command) in queue {
            match (rng.below(4), command) {
                (0, Command::Append { mut records }) => {
                    records.truncate(rng.below(records.len() as u64) as usize);
                    self.execute(ticket, Command::Append { records }, broken);
                    break;
                }
                (0, _) => break,
                (_, command) => self.execute(ticket, command, broken),
            };
        }
        self.draft = None;
    }

    /// What the log says of a zxid.
    pub fn probe(&self, zxid: Zxid) -> Probed {
        let known = |wanted: &Zxid| *wanted > self.log_from;
        let after = self.log.iter().map(|r| r.zxid).filter(known).find(|known| *known > zxid);
        let at_or_before = (zxid >= self.log_from).then(|| {
            let before = self.log.iter().map(|r| r.zxid).filter(|known| *known <= zxid);
            before.max().unwrap_or(Zxid::ZERO).max(self.log_from)
        });
        Probed { place: Place { at_or_before, after }, bytes_behind: 0, snapshot_bytes: 0 }
    }

    /// Records behind `after`; none where it cannot be known that they lead on from there.
    pub fn read(&self, after: Zxid, bytes: usize) -> Option<(Vec<Recent>, bool)> {
        if after < self.log_from {
            return None;
        }
        let from = self.log.partition_point(|record| record.zxid <= after);
        let mut sum = 0;
        let fits = |record: &&Recent| {
            let is_first = sum == 0;
            sum += record.data.len();
            is_first || sum <= bytes
        };
        let records: Vec<Recent> = self.log[from..].iter().take_while(fits).cloned().collect();
        let is_end = from + records.len() == self.log.len();
        Some((records, is_end))
    }
}

pub fn entry_of(record: &Recent) -> Entry {
    Entry::read(&record.data).expect("a record was made from an entry")
}
