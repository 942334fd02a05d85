//! How long zkd has kept a directory that it did not make: where nobody asked for purge, old
//! files of another's making are left alone on the first day, however often the server starts.

use log::warn;

use crate::base::WallMillis;

use super::dirs::{Dirs, SINCE_NAME};
use super::settings::StorageSettings;
use super::{Disk, read_small, replace_small};

/// For how many milliseconds the directory has been zkd's: for ever, if it was made by it. The
/// first start on a directory notes the time in it.
pub fn kept_ms<D: Disk>(
    disk: &mut D,
    settings: &StorageSettings,
    is_new: bool,
    now: WallMillis,
) -> u64 {
    let dirs = Dirs::new(settings);
    let path = dirs.logs.join(SINCE_NAME);
    let noted = match read_small(disk, &path) {
        Ok(bytes) => bytes.and_then(|bytes| parse(&bytes)),
        Err(e) => {
            warn!("cannot read {}: {e}", path.display());
            None
        }
    };
    let since = match noted {
        Some(since) if !is_new => since,
        _ => {
            let since = if is_new { MADE_BY_US } else { now.0 };
            let text = format!("{since}\n");
            if let Err(e) = replace_small(disk, &dirs.logs, SINCE_NAME, text.as_bytes()) {
                warn!("cannot write {}: {e}", path.display());
            }
            since
        }
    };
    match since {
        MADE_BY_US => u64::MAX,
        // A clock that was set back says nothing.
        since => u64::try_from(now.0.saturating_sub(since)).unwrap_or(0),
    }
}

fn parse(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.parse().ok()
}

const MADE_BY_US: i64 = 0;

#[cfg(test)]
mod tests {
    use super::super::RealDisk;
    use super::super::tests::TempDir;
    use super::*;

    const NOON: WallMillis = WallMillis(1_800_000_000_000);

    fn at(ms: i64) -> WallMillis {
        WallMillis(NOON.0 + ms)
    }

    #[test]
    fn the_day_of_a_foreign_directory_goes_on_over_restarts() {
        let dir = TempDir::new();
        let settings = StorageSettings::new(&dir.0);
        let logs = Dirs::new(&settings).logs;
        std::fs::create_dir_all(&logs).unwrap();
        let mut disk = RealDisk::new();
        assert_eq!(kept_ms(&mut disk, &settings, false, NOON), 0);
        assert_eq!(kept_ms(&mut disk, &settings, false, at(5000)), 5000);
        assert_eq!(kept_ms(&mut disk, &settings, false, at(9000)), 9000);
        assert_eq!(kept_ms(&mut disk, &settings, false, at(-1)), 0, "the clock was set back");
        std::fs::write(logs.join(SINCE_NAME), "torn").unwrap();
        assert_eq!(kept_ms(&mut disk, &settings, false, at(9000)), 0, "it counts anew");
        assert_eq!(kept_ms(&mut disk, &settings, false, at(9001)), 1);
    }

    #[test]
    fn a_directory_of_our_own_making_stays_our_own() {
        let dir = TempDir::new();
        let settings = StorageSettings::new(&dir.0);
        std::fs::create_dir_all(Dirs::new(&settings).logs).unwrap();
        let mut disk = RealDisk::new();
        assert_eq!(kept_ms(&mut disk, &settings, true, NOON), u64::MAX);
        assert_eq!(kept_ms(&mut disk, &settings, false, at(1)), u64::MAX);
    }
}
