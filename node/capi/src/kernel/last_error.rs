//! The last error of a thread.

use std::cell::Cell;

use crate::abi::{DWORD, ERROR_SUCCESS};

thread_local! {
    static LAST_ERROR: Cell<DWORD> = const { Cell::new(ERROR_SUCCESS) };
}

/// What this thread's last failure set.
#[must_use]
pub fn get() -> DWORD {
    LAST_ERROR.get()
}

/// Sets it, for this thread alone.
pub fn set(error: DWORD) {
    LAST_ERROR.set(error);
}
