//! The event with which a caller cancels an operation.

use std::ffi::c_void;

/// Whether the event is set. NULL is an event that never is.
pub(super) fn is_signalled(_event: *mut c_void) -> bool {
    // To come with the table behind HANDLE.
    false
}
