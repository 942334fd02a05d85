//! What the allocator keeps of what was let go.

/// From here on an allocation is a mapping of its own, which goes back whole. Without a word from
/// us the C library raises that bound to what was let go last, up to 32 MiB; large buffers then lie
/// among small nodes, and a server under load grows for hours.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 128 * 1024;

/// Once, before anything large is allocated.
pub fn map_what_is_large() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and may be called by any thread at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
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
