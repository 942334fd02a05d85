//! Files beside the data that are replaced whole before anything is served.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zkd::config::Replacement;

/// Does what is asked in its order; each is true on disk before the next begins.
pub fn replace(files: &[Replacement]) -> io::Result<()> {
    for (path, text) in files {
        let done = match text {
            Some(text) => write(Path::new(path), text),
            None => remove(Path::new(path)),
        };
        done.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    Ok(())
}

/// Under another name first: whoever looks sees the old text or the new one. There may be passwords
/// in it, so nobody else may read it than may read what it stands for.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let half = Path::new(&name);
    remove(half)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // `zoo.cfg.bak` stands for `zoo.cfg`.
    let model = fs::metadata(path).or_else(|_| fs::metadata(path.with_extension("")));
    if let Ok(model) = &model {
        options.mode(model.permissions().mode());
    }
    let mut file = options.open(half)?;
    if let Ok(model) = model {
        file.set_permissions(model.permissions())?;
    }
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(half, path)?;
    sync_folder(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_made_and_removed_in_order() {
        let folder = std::env::temp_dir().join(format!("zkd-files-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        fs::write(path("a"), "old").expect("a file");
        fs::set_permissions(path("a"), fs::Permissions::from_mode(0o600)).expect("its owner");
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let files = [
            (path("a"), text("new")),
            (path("b"), text("first")),
            (path("b"), text("second")),
            (path("a.bak"), text("kept")),
            (path("c"), text("short-lived")),
            (path("c"), None),
            (path("never"), None),
        ];
        replace(&files).expect("a sound folder");
        assert_eq!(fs::read(path("a")).expect("a"), b"new");
        for name in ["a", "a.bak"] {
            let mode = fs::metadata(path(name)).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::read(path("b")).expect("b"), b"second");
        let mut left: Vec<_> =
            fs::read_dir(&folder).expect("it").map(|e| e.expect("a name").file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "a.bak", "b"]);
        let error = replace(&[(path("no/where"), text("x"))]).expect_err("no such folder");
        assert!(error.to_string().contains("no/where"), "{error}");
        fs::remove_dir_all(&folder).expect("ours");
    }
}
