//! What a store into the mapped log does when the file system fails under it: a signal, at any
//! store, that no call returns. It means what a failed sync means: stop, retry nothing.

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::Fatal;

static BEGIN: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);
static INSTALLED: Once = Once::new();

/// From now on a failing store between these addresses ends the process with the status of a
/// failed sync. There is one mapped window in a process, that of the log thread.
pub(super) fn watch(window: &[u8]) {
    INSTALLED.call_once(install);
    // An empty range while the two change: a fault in between is nobody's.
    END.store(0, Ordering::Release);
    BEGIN.store(window.as_ptr() as usize, Ordering::Release);
    END.store(window.as_ptr() as usize + window.len(), Ordering::Release);
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
    if at < BEGIN.load(Ordering::Acquire) || at >= END.load(Ordering::Acquire) {
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
