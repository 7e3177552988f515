//! GetLastError, SetLastError, Sleep, GetTickCount64.
#![allow(unsafe_code, non_snake_case, reason = "exported to C under the names of Windows")]

use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::abi::{DWORD, ERROR_INTERNAL_ERROR, INFINITE};
use crate::boundary::guarded;
use crate::kernel::last_error;

/// GetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_GetLastError() -> DWORD {
    guarded(ERROR_INTERNAL_ERROR, last_error::get)
}

/// SetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_SetLastError(error: DWORD) {
    guarded((), || last_error::set(error));
}

/// Sleep. INFINITE is for ever, 0 lets another thread run.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_Sleep(milliseconds: DWORD) {
    guarded((), || match milliseconds {
        0 => thread::yield_now(),
        INFINITE => loop {
            thread::sleep(Duration::MAX);
        },
        _ => thread::sleep(Duration::from_millis(milliseconds.into())),
    });
}

/// GetTickCount64: milliseconds since the system started, its sleep included.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_GetTickCount64() -> u64 {
    guarded(0, || {
        let since_start = clock_gettime(ClockId::Boottime);
        since_start.tv_sec.cast_unsigned() * 1000 + since_start.tv_nsec.cast_unsigned() / 1_000_000
    })
}
