//! What the allocator keeps of what was let go.

/// Gives it back to the system. It takes as long as there is much of it: nothing for a turn in
/// which anybody is served.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
