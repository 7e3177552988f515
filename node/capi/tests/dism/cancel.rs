//! Cancelling a change by an event.

use std::ffi::c_void;
use std::sync::Arc;

use peerdist::dism::types::{CANCELLED, DismStateInstalled, DismStateStaged, S_OK};
use peerdist::handle::{self, Object};
use peerdist::kernel::Event;

use crate::daemon::with_daemon;
use crate::windows::{PLAIN, With, disable, disable_with, enable_with, state};

/// The value that C has for a manual-reset event.
fn event(signalled: bool) -> *mut c_void {
    handle::open(Object::Event(Arc::new(Event::new(true, signalled).unwrap())))
}

unsafe extern "C" fn set_event(_current: u32, _total: u32, event: *mut c_void) {
    handle::event(event).unwrap().set();
}

#[test]
fn an_event_that_is_set_already_cancels_and_nothing_is_changed() {
    with_daemon("cancel::an_event_that_is_set_already_cancels_and_nothing_is_changed", |_| {
        let session = crate::windows::online();
        let set = With { cancel: event(true), ..PLAIN };
        assert_eq!(disable_with(session, "PeerDist", set), CANCELLED);
        assert_eq!(state(session, "PeerDist"), DismStateInstalled);
        assert_eq!(disable(session, "PeerDist"), S_OK);
        assert_eq!(enable_with(session, "PeerDist", set), CANCELLED);
        assert_eq!(state(session, "PeerDist"), DismStateStaged);
        let cancel = event(false);
        let by_callback = With { cancel, progress: Some(set_event), user_data: cancel, ..PLAIN };
        assert_eq!(enable_with(session, "PeerDist", by_callback), CANCELLED, "not too late");
        assert_eq!(enable_with(session, "PeerDist", With { cancel: event(false), ..PLAIN }), S_OK);
    });
}
