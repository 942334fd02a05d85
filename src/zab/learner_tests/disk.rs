//! What a disk says after each command: a model that is as strict as the log thread.

use std::collections::BTreeMap;

use crate::base::Zxid;
use crate::history::{EpochFile, Frame, frame, record_zxid};
use crate::zab::{ConfigPlace, LearnerInput, LearnerStorage};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// By zxid, each with the history that it stands for.
    pub snapshots: BTreeMap<Zxid, Vec<Zxid>>,
    /// Ascending.
    pub log: Vec<Zxid>,
    pub accepted: i64,
    pub current: i64,
    pub is_lost: bool,
    /// Versions of the configurations.
    pub last_seen: Option<i64>,
    pub active: Option<i64>,
    /// A finished image that has no name yet.
    pub draft: Option<(Zxid, Vec<Zxid>)>,
    /// Log files that were begun.
    pub rolls: usize,
}

impl Disk {
    /// Of a server that has logged all of it, of the epoch of its last txn.
    pub fn of(history: &[Zxid]) -> Disk {
        let epoch = history.last().map_or(0, |last| i64::from(last.epoch()));
        Disk {
            snapshots: BTreeMap::from([(Zxid::ZERO, Vec::new())]),
            log: history.to_vec(),
            accepted: epoch,
            current: epoch,
            ..Disk::default()
        }
    }

    /// What a restart would find.
    pub fn history(&self) -> Vec<Zxid> {
        let Some((base, history)) = self.snapshots.last_key_value() else { return Vec::new() };
        let behind = self.log.iter().filter(|zxid| *zxid > base);
        history.iter().chain(behind).copied().collect()
    }

    /// The end of the log, as the log thread knows it.
    fn last(&self) -> Zxid {
        let snapshot = self.snapshots.keys().last().copied().unwrap_or_default();
        self.log.last().copied().unwrap_or_default().max(snapshot)
    }

    pub fn execute(&mut self, command: &LearnerStorage) -> Option<LearnerInput<'static>> {
        match command {
            LearnerStorage::Append { first, last, bytes, roll, txns, .. } => {
                let zxids = records(bytes);
                assert_eq!((zxids[0], zxids[zxids.len() - 1]), (*first, *last));
                assert_eq!(zxids.len() as u64, *txns);
                assert!(*first > self.last(), "records come in order");
                assert!(zxids.windows(2).all(|pair| pair[0] < pair[1]), "and ascend");
                self.log.extend(zxids);
                self.rolls += usize::from(*roll);
            }
            LearnerStorage::WriteEpoch { file: EpochFile::Accepted, epoch, .. } => {
                assert!(*epoch > self.accepted, "accepted epochs rise");
                self.accepted = *epoch;
            }
            LearnerStorage::WriteEpoch { file: EpochFile::Current, epoch, .. } => {
                assert!(*epoch >= self.current, "epochs rise");
                self.current = *epoch;
            }
            LearnerStorage::Truncate { ticket, zxid } => {
                let is_rebuilt = self.snapshots.keys().any(|at| at <= zxid)
                    && (self.log.contains(zxid) || self.snapshots.contains_key(zxid));
                if !is_rebuilt {
                    return Some(LearnerInput::CutRefused(*ticket));
                }
                self.snapshots.retain(|at, _| at <= zxid);
                self.log.retain(|at| at <= zxid);
            }
            LearnerStorage::InstallSnapshot { zxid, .. } => {
                let (drafted, history) = self.draft.take().expect("an image is written first");
                assert_eq!(drafted, *zxid);
                self.snapshots.insert(*zxid, history);
            }
            LearnerStorage::CutAbove { ticket, zxid, sent } => {
                self.snapshots.retain(|at, _| at <= zxid);
                let (below, above): (Vec<Zxid>, Vec<Zxid>) =
                    self.log.iter().copied().partition(|at| at <= zxid);
                let both = above.into_iter().zip(sent.iter().copied());
                let shared: Vec<Zxid> =
                    both.take_while(|(ours, sent)| ours == sent).map(|(ours, _)| ours).collect();
                let kept = shared.last().copied().unwrap_or(*zxid);
                self.log = below.into_iter().chain(shared).collect();
                return Some(LearnerInput::CutAt { ticket: *ticket, kept });
            }
            LearnerStorage::MarkLost { .. } => self.is_lost = true,
            LearnerStorage::ClearLost { .. } => self.is_lost = false,
            LearnerStorage::WriteConfig { config, place, .. } => match place {
                ConfigPlace::LastSeen => self.last_seen = Some(config.version),
                ConfigPlace::Active => self.active = Some(config.version),
            },
        }
        None
    }
}

/// The zxids of whole log records.
pub fn records(mut bytes: &[u8]) -> Vec<Zxid> {
    let mut zxids = Vec::new();
    while !bytes.is_empty() {
        let Frame::Record { entry, bytes: length, .. } = frame(bytes) else {
            panic!("a whole record was handed over")
        };
        zxids.push(record_zxid(entry).expect("a record has a header"));
        bytes = &bytes[length..];
    }
    zxids
}
