//! A window of a few MiB over the end of a log file, moved along as it is written.
//!
//! Only the thread that writes the file stores into it, so a page fault delays that thread alone.
//! Recovery and old history are read with positional reads, never through a map, whose errors are
//! signals.

use std::fs::File;
use std::io;

use super::fault::Watch;
use memmap2::{MmapMut, MmapOptions};

pub struct Window {
    /// Before the map, so that it goes before it.
    _watch: Watch,
    map: MmapMut,
    from: u64,
}

impl Window {
    /// Copies `bytes` to `offset` of the file, all of it below `allocated`; moves the window where
    /// they lie outside of it.
    pub fn store(
        window: &mut Option<Window>,
        file: &File,
        allocated: u64,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        assert!(offset + bytes.len() as u64 <= allocated, "a store into reserved space");
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let window = match window {
                Some(window) if window.room(at) > 0 => window,
                _ => window.insert(Window::over(file, allocated, at)?),
            };
            let room = window.room(at).min(rest.len());
            let (head, tail) = rest.split_at(room);
            let from = (at - window.from) as usize;
            window.map[from..from + room].copy_from_slice(head);
            at += room as u64;
            rest = tail;
        }
        Ok(())
    }

    fn over(file: &File, allocated: u64, at: u64) -> io::Result<Window> {
        let from = at - at % WINDOW_BYTES;
        let length = (allocated - from).min(WINDOW_BYTES) as usize;
        // SAFETY: the bytes change under the map only through this map: the directory is locked
        // against other servers, the file is new, and it is shortened only after its window is
        // gone. Its space is reserved, so a store finds a block.
        let map = unsafe { MmapOptions::new().offset(from).len(length).map_mut(file)? };
        Ok(Window { _watch: Watch::over(&map), map, from })
    }

    /// Bytes from `at` to the window's end; 0 outside of it.
    fn room(&self, at: u64) -> usize {
        let end = self.from + self.map.len() as u64;
        if at < self.from { 0 } else { end.saturating_sub(at) as usize }
    }
}

/// A multiple of every page size; small, for what is mapped counts as resident once touched.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::tests::TempDir;
    use super::*;

    #[test]
    fn stores_across_window_borders_are_what_a_read_finds() {
        let dir = TempDir::new();
        let path = dir.0.join("mapped");
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path).unwrap();
        let allocated = 2 * WINDOW_BYTES + 5000;
        file.set_len(allocated).unwrap();
        let mut window = None;
        let mut expected = vec![0u8; allocated as usize];
        let places = [(10, 100), (WINDOW_BYTES - 3, 7), (16, 1), (1, 2 * WINDOW_BYTES + 4999)];
        for (n, (offset, length)) in places.into_iter().enumerate() {
            let bytes = vec![n as u8 + 1; length as usize];
            Window::store(&mut window, &file, allocated, offset, &bytes).unwrap();
            expected[offset as usize..(offset + length) as usize].copy_from_slice(&bytes);
            let mut read = vec![0; allocated as usize];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == expected, "after store {n}");
        }
    }
}
