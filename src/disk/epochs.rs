//! The epoch files: what a member has promised and what it is part of.

use log::info;

use crate::base::{Fatal, Zxid};
use crate::history::{EpochFile, epoch_file_name, epoch_text, parse_epoch};

use super::dirs::Dirs;
use super::log_writer::{fatal, unsynced};
use super::settings::StorageSettings;
use super::snapshot_file::sync_file;
use super::{Disk, read_small, replace_small};

/// What the files say; nothing where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochFiles {
    accepted: Option<i64>,
    current: Option<i64>,
}

/// The epochs of a server, whatever of them was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    pub accepted: i64,
    pub current: i64,
}

impl EpochFiles {
    /// Reads both, synced before they are believed.
    pub fn read<D: Disk>(disk: &mut D, dirs: &Dirs) -> Result<EpochFiles, Fatal> {
        let mut read = |which: EpochFile| {
            let path = dirs.snapshots.join(epoch_file_name(which));
            let bytes = read_small(disk, &path).map_err(|e| fatal("read", &path, &e))?;
            let Some(bytes) = bytes else { return Ok(None) };
            sync_file(disk, &path).map_err(|e| unsynced("sync", &path, &e))?;
            let text = format!("{} does not hold a number", path.display());
            parse_epoch(&bytes).map(Some).ok_or(Fatal::DataDir(text))
        };
        Ok(EpochFiles { accepted: read(EpochFile::Accepted)?, current: read(EpochFile::Current)? })
    }

    /// Somebody was part of an epoch here, so there was a history.
    pub fn tell_of_history(&self) -> bool {
        self.current.is_some_and(|current| current > 0)
    }

    /// What they mean to a server whose history ends with `last`. What a lone server finds there
    /// is of no use to it and never wrong.
    pub fn judge(self, settings: &StorageSettings, last: Zxid) -> Result<Epochs, Fatal> {
        let of_last = i64::from(last.epoch());
        if settings.is_alone {
            let accepted = self.accepted.unwrap_or(of_last);
            return Ok(Epochs { accepted, current: self.current.unwrap_or(of_last) });
        }
        // The file is written behind the txns of its epoch, and a crash may come between. Java
        // does not start then. But each txn is logged behind all that its leader had before it, so
        // who has one of an epoch, or an image of it, has all that the epoch began with: that is
        // what the file would say.
        let current = self.current.unwrap_or(of_last).max(of_last);
        // An empty server of Java's that was never told anything has written -1.
        let accepted = self.accepted.unwrap_or(of_last).max(0);
        if accepted < current {
            return Err(Fatal::Unexpected(format!(
                "Unable to run quorum server: The accepted epoch, {accepted:x} is less than the \
                 current epoch, {current:x}"
            )));
        }
        Ok(Epochs { accepted, current })
    }

    /// Writes what the files of a member do not say and its history does.
    pub fn complete<D: Disk>(self, disk: &mut D, dirs: &Dirs, epochs: Epochs) -> Result<(), Fatal> {
        // In this order: the accepted one is never the lesser.
        let files = [
            (EpochFile::Accepted, self.accepted, epochs.accepted),
            (EpochFile::Current, self.current, epochs.current),
        ];
        for (file, found, epoch) in files.into_iter().filter(|(_, found, is)| *found != Some(*is)) {
            let name = epoch_file_name(file);
            match found {
                None => info!(
                    "{name} not found! Creating with a reasonable default of {epoch}. This should \
                     only happen when you are upgrading your installation"
                ),
                Some(found) => info!(
                    "{name} says {found} and the last txn is of epoch {epoch}: the server stopped \
                     before it had written it"
                ),
            }
            replace_small(disk, &dirs.snapshots, name, epoch_text(epoch).as_bytes())
                .map_err(|e| fatal("write", &dirs.snapshots.join(name), &e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::mem_disk::MemDisk;
    use super::*;

    fn member() -> StorageSettings {
        StorageSettings { is_alone: false, ..StorageSettings::new("/data") }
    }

    fn files(accepted: &str, current: &str) -> MemDisk {
        let (disk, dirs) = (MemDisk::default(), Dirs::new(&member()));
        for (file, text) in [(EpochFile::Accepted, accepted), (EpochFile::Current, current)] {
            if !text.is_empty() {
                disk.put(&dirs.snapshots.join(epoch_file_name(file)), text.as_bytes());
            }
        }
        disk
    }

    fn judged(disk: &MemDisk, last: Zxid) -> Result<(i64, i64), Fatal> {
        let read = EpochFiles::read(&mut disk.clone(), &Dirs::new(&member()))?;
        read.judge(&member(), last).map(|epochs| (epochs.accepted, epochs.current))
    }

    #[test]
    fn a_member_starts_after_a_crash_between_a_new_epochs_txns_and_its_file() {
        assert_eq!(judged(&files("5", "4"), Zxid::new(4, 9)), Ok((5, 4)));
        assert_eq!(judged(&files("5", "4"), Zxid::new(5, 1)), Ok((5, 5)));
        assert_eq!(judged(&files("5", "4"), Zxid::new(5, 0)), Ok((5, 5)), "an image of it");
        assert_eq!(judged(&files("", ""), Zxid::new(5, 1)), Ok((5, 5)));
        assert_eq!(judged(&files("-1", "-1"), Zxid::ZERO), Ok((0, 0)));
    }

    #[test]
    fn a_member_that_never_accepted_its_epoch_is_refused_in_apaches_words() {
        let contradictions = [("18", "19", Zxid::new(4, 9)), ("4", "4", Zxid::new(5, 1))];
        for (accepted, current, last) in contradictions {
            let Err(Fatal::Unexpected(text)) = judged(&files(accepted, current), last) else {
                panic!("{accepted} and {current} were believed")
            };
            assert!(text.contains("is less than the current epoch, "), "{text}");
        }
        let text = judged(&files("18", "19"), Zxid::ZERO).unwrap_err().to_string();
        assert!(text.contains("The accepted epoch, 12 is less than the current epoch, 13"));
        let alone = StorageSettings::new("/data");
        let read = EpochFiles::read(&mut files("4", "5"), &Dirs::new(&alone)).unwrap();
        let epochs = read.judge(&alone, Zxid::new(6, 1));
        assert_eq!(epochs, Ok(Epochs { accepted: 4, current: 5 }));
    }

    #[test]
    fn what_the_files_did_not_say_they_say_afterwards() {
        let mut disk = files("7", "");
        let dirs = Dirs::new(&member());
        let read = EpochFiles::read(&mut disk, &dirs).unwrap();
        let epochs = read.judge(&member(), Zxid::new(6, 1)).unwrap();
        read.complete(&mut disk, &dirs, epochs).unwrap();
        let names = [EpochFile::Accepted, EpochFile::Current].map(epoch_file_name);
        let said = names.map(|name| disk.content(&dirs.snapshots.join(name)).unwrap());
        assert_eq!(said, [b"7", b"6"]);
    }
}
