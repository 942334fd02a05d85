//! Log lines on their way out: bounded, and nobody who logs ever waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::base::limits::{LOG_LINE_BYTES, LOG_RING_LINES};

/// Lines between those who log and the one thread that writes.
#[derive(Debug, Default)]
pub struct Ring {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: VecDeque<Box<[u8]>>,
    dropped: u64,
}

impl Ring {
    /// Whether the writer must be woken: there was nothing before.
    pub fn push(&self, line: Box<[u8]>) -> bool {
        let mut inner = self.lock();
        if inner.lines.len() >= LOG_RING_LINES {
            inner.dropped += 1;
            return false;
        }
        inner.lines.push_back(line);
        inner.lines.len() == 1
    }

    /// Moves whole lines to `out` as long as it stays within what a pipe takes at once.
    pub fn take(&self, out: &mut Vec<u8>, dropped_line: impl FnOnce(u64) -> Vec<u8>) {
        let mut inner = self.lock();
        while let Some(line) = inner.lines.front()
            && (out.is_empty() || out.len() + line.len() <= LOG_LINE_BYTES)
        {
            out.extend_from_slice(line);
            inner.lines.pop_front();
        }
        if inner.lines.is_empty() && inner.dropped > 0 && out.is_empty() {
            // Told once there is room again, behind the lines that were kept.
            out.extend(dropped_line(std::mem::take(&mut inner.dropped)));
        }
    }

    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.lines.is_empty() && inner.dropped == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(ring: &Ring) -> String {
        let mut out = Vec::new();
        ring.take(&mut out, |n| format!("{n} lost\n").into_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_full_ring_drops_and_says_how_many_once_it_is_empty() {
        let ring = Ring::default();
        assert!(ring.push(Box::from(&b"0\n"[..])));
        for n in 1..LOG_RING_LINES + 7 {
            assert!(!ring.push(format!("{n}\n").into_bytes().into()));
        }
        let mut all = String::new();
        while !ring.is_empty() {
            let piece = take(&ring);
            assert!(piece.len() <= LOG_LINE_BYTES && piece.ends_with('\n'));
            all.push_str(&piece);
        }
        assert_eq!(all.lines().count(), LOG_RING_LINES + 1);
        assert!(all.starts_with("0\n1\n2\n") && all.ends_with("7 lost\n"));
        assert_eq!(take(&ring), "");
    }
}
