//! What a store into the mapped log does when the file system fails under it: a signal, at any
//! store, that no call returns. It means what a failed sync means: stop, retry nothing.

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::base::Fatal;

/// The windows of this process: the log thread's, the chore thread's, and while one of them moves
/// along the next beside it. What is free has the end 0.
static WINDOWS: [Bounds; MOST_WINDOWS] = [const { Bounds::free() }; MOST_WINDOWS];
static INSTALLED: Once = Once::new();

/// Unit tests map side by side; a server has four at most.
const MOST_WINDOWS: usize = 64;

struct Bounds {
    is_taken: AtomicBool,
    begin: AtomicUsize,
    end: AtomicUsize,
}

impl Bounds {
    const fn free() -> Bounds {
        let (begin, end) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Bounds { is_taken: AtomicBool::new(false), begin, end }
    }

    fn holds(&self, address: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        address < end && address >= self.begin.load(Ordering::Acquire)
    }
}

/// While it lives, a failing store into its window ends the process with the status of a failed
/// sync. It must go before the window is unmapped.
pub(super) struct Watch {
    bounds: &'static Bounds,
}

impl Watch {
    pub(super) fn over(window: &[u8]) -> Watch {
        INSTALLED.call_once(install);
        let free = WINDOWS.iter().find(|bounds| !bounds.is_taken.swap(true, Ordering::AcqRel));
        let bounds = free.expect("a process maps a handful of windows");
        bounds.begin.store(window.as_ptr() as usize, Ordering::Release);
        bounds.end.store(window.as_ptr() as usize + window.len(), Ordering::Release);
        Watch { bounds }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bounds.end.store(0, Ordering::Release);
        self.bounds.is_taken.store(false, Ordering::Release);
    }
}

fn install() {
    // SAFETY: the structure is plain data for which zeros are a valid value, and it is filled in
    // before the kernel reads it; the handler does nothing that a signal handler may not do.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut())
    };
    assert_eq!(installed, 0, "SIGBUS can be handled");
}

extern "C" fn on_bus(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid structure to a handler installed with SA_SIGINFO.
    let at = unsafe { (*info).si_addr() } as usize;
    if !WINDOWS.iter().any(|bounds| bounds.holds(at)) {
        // Somebody else's: as if there were no handler. The faulting store runs into it again.
        // SAFETY: `signal` may be called in a handler.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        return;
    }
    // SAFETY: `write` and `_exit` may be called in a handler; the text is static.
    unsafe {
        libc::write(libc::STDERR_FILENO, WORDS.as_ptr().cast(), WORDS.len());
        libc::_exit(Fatal::SyncFailed(String::new()).exit_status());
    }
}

const WORDS: &str = "cannot write the transaction log: the file system failed under the mapped \
                     file (SIGBUS); nothing written since the last sync is acknowledged\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_watched_while_it_lives_and_no_longer() {
        let (one, two) = (vec![0u8; 4096], vec![0u8; 8192]);
        let known = |address: usize| WINDOWS.iter().any(|bounds| bounds.holds(address));
        let ends = |window: &[u8]| {
            let begin = window.as_ptr() as usize;
            (known(begin), known(begin + window.len() - 1))
        };
        let first = Watch::over(&one);
        let second = Watch::over(&two);
        assert_eq!((ends(&one), ends(&two)), ((true, true), (true, true)));
        drop(first);
        assert_eq!((ends(&one), ends(&two)), ((false, false), (true, true)));
        drop(second);
        assert_eq!(ends(&two), (false, false));
    }
}
