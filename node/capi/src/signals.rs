//! Signals are the program's affair.
#![allow(unsafe_code, reason = "changes the signal mask of a thread")]

use std::mem::MaybeUninit;
use std::ptr;

/// Keeps signals away from the calling thread, which is one of ours: handlers of the program run on its own threads, and
/// a write to a daemon that is gone fails without SIGPIPE, which would end the program.
pub(crate) fn keep_away() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call fills what the second one reads, and neither fails with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}
