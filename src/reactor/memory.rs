//! What the allocator and the buffers keep of what was let go.

use crate::base::Instant;

/// How long a buffer keeps room that it does not use.
const KEPT_FOR_MS: u64 = 10_000;

/// How much of a buffer is in use at most, from one upkeep to the next: that much room it keeps
/// then. What one rare large answer took goes back; who sends large ones all the time allocates
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Need(usize);

impl Need {
    pub fn note(&mut self, used: usize) {
        self.0 = self.0.max(used);
    }

    /// The most since the last time; from now on it counts anew.
    pub fn take(&mut self) -> usize {
        std::mem::take(&mut self.0)
    }
}

/// When the buffers are looked through, in a turn that comes anyhow.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    last: Instant,
}

impl Upkeep {
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.ms_since(self.last) >= KEPT_FOR_MS;
        if is_due {
            self.last = now;
        }
        is_due
    }
}

/// From here on an allocation is a mapping of its own, which goes back whole. Without a word from
/// us the C library raises that bound to what was let go last, up to 32 MiB; large buffers then lie
/// among small nodes, and a server under load grows for hours.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 128 * 1024;

/// All threads share one heap. What one thread builds another lets go of here: a tree that is read
/// from a snapshot, a log's segment. With a heap for each thread what was let go of waits in one
/// for a thread that never asks again, while another grows.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 1;

/// Once, before there are threads and anything large is allocated.
pub fn keep_memory_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and may be called by any thread at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Gives it back to the system. It takes as long as there is much of it: nothing for a turn in
/// which anybody is served.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_needs_the_most_that_it_held_since_it_was_looked_at() {
        let (mut need, mut upkeep) = (Need::default(), Upkeep::default());
        let at = |ms| Instant::default().plus_ms(ms);
        need.note(7);
        need.note(3);
        assert!(!upkeep.is_due(at(KEPT_FOR_MS - 1)));
        assert!(upkeep.is_due(at(KEPT_FOR_MS)) && !upkeep.is_due(at(KEPT_FOR_MS)));
        assert_eq!((need.take(), need.take()), (7, 0));
    }
}
