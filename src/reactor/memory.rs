//! What the allocator keeps of what was let go.

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
