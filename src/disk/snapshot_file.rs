//! Reads snapshot files.

use std::io;
use std::path::Path;

use crate::history::{
    Compression, Decompressor, SnapshotItem, SnapshotReader, SnapshotTrailers, is_valid_ending,
    is_valid_opening,
};

use super::{Disk, FileId, OpenMode};

/// Java's quick test of a snapshot file, before anything is read of it.
pub fn looks_valid<D: Disk>(disk: &mut D, path: &Path, form: Compression) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Read)?;
    let (mut first, mut last) = ([0; 8], [0; 5]);
    let mut look = || {
        let bytes = disk.len(file)?;
        let read = disk.read_at(file, 0, &mut first)?;
        let opening = is_valid_opening(form, first.get(..read).unwrap_or_default());
        let read = disk.read_at(file, bytes.saturating_sub(5), &mut last)?;
        Ok(opening && is_valid_ending(form, bytes, last.get(..read).unwrap_or_default()))
    };
    let looked = look();
    disk.close(file);
    looked
}

/// Reads a whole snapshot file, giving each item to `each`: its trailers, or why it is none.
pub fn read_snapshot<D: Disk>(
    disk: &mut D,
    path: &Path,
    form: Compression,
    each: &mut dyn FnMut(SnapshotItem<'_>) -> Result<(), String>,
) -> Result<SnapshotTrailers, String> {
    let file = disk.open(path, OpenMode::Read).map_err(|e| e.to_string())?;
    let read = read_open(disk, file, form, each);
    disk.close(file);
    read
}

fn read_open<D: Disk>(
    disk: &mut D,
    file: FileId,
    form: Compression,
    each: &mut dyn FnMut(SnapshotItem<'_>) -> Result<(), String>,
) -> Result<SnapshotTrailers, String> {
    let mut reader = SnapshotReader::file();
    let mut decompressor = Some(Decompressor::new(form));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        match reader.next_item().map_err(|e| e.to_string())? {
            SnapshotItem::End(trailers) => return Ok(trailers),
            SnapshotItem::More => {
                let read = disk.read_at(file, offset, &mut chunk).map_err(|e| e.to_string())?;
                offset += read as u64;
                let bytes = chunk.get(..read).unwrap_or_default();
                match (&mut decompressor, read) {
                    (Some(_), 0) => {
                        let rest = decompressor
                            .take()
                            .map(|d| reader.feed_with(|out| d.finish(out)).map_err(str::to_owned));
                        rest.transpose()?;
                        reader.end_input();
                    }
                    (Some(d), _) => reader.feed_with(|out| d.push(bytes, out))?,
                    // Its end was told before: the reader has asked for more than there is.
                    (None, _) => return Err("it ends too early".to_owned()),
                }
            }
            item => each(item)?,
        }
    }
}

/// What was written to a file is on disk.
pub fn sync_file<D: Disk>(disk: &mut D, path: &Path) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Read)?;
    let synced = disk.sync(file);
    disk.close(file);
    synced
}

/// Whether a snapshot can be read from its first byte to its last seal.
pub fn is_whole<D: Disk>(disk: &mut D, path: &Path, form: Compression) -> bool {
    read_snapshot(disk, path, form, &mut |_| Ok(())).is_ok()
}

const CHUNK_BYTES: usize = 1024 * 1024;
