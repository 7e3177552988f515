//! The event with which a caller cancels an operation.

use std::ffi::c_void;

use crate::handle;

/// Whether the event is set; an auto-reset one is not any more afterwards, as after a wait. What is no event never is.
pub(super) fn is_signalled(event: *mut c_void) -> bool {
    handle::event(event).is_some_and(|event| event.take())
}
