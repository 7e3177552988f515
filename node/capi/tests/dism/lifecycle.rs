//! DismInitialize, DismShutdown, sessions, messages and DismDelete.

use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use peerdist::dism::lifecycle::{
    DismCloseSession, DismDelete, DismGetLastErrorMessage, DismInitialize, DismOpenSession, DismShutdown,
};
use peerdist::dism::types::{
    DISM_ONLINE_IMAGE, DISM_SESSION_DEFAULT, DISMAPI_E_DISMAPI_NOT_INITIALIZED, DISMAPI_E_INVALID_DISM_SESSION,
    DISMAPI_E_OPEN_SESSION_HANDLES, E_INVALIDARG, NOT_FOUND, S_OK,
};

use crate::daemon::{with_daemon, without_daemon};
use crate::windows::{
    disable, enable, features, info, initialize, last_message, last_string, online, open, parents, wide,
};

#[test]
fn initialising_twice_fails_and_after_a_shutdown_it_may_be_done_again() {
    without_daemon("lifecycle::initialising_twice_fails_and_after_a_shutdown_it_may_be_done_again", |_| {
        for _ in 0..2 {
            assert_eq!(initialize(), S_OK);
            assert!(initialize() < 0);
            assert!(last_message().unwrap().contains("DismInitialize"));
            assert_eq!(DismShutdown(), S_OK);
        }
    });
}

#[test]
fn nothing_works_before_initialising_and_after_shutting_down() {
    with_daemon("lifecycle::nothing_works_before_initialising_and_after_shutting_down", |_| {
        let nothing_works = || {
            let expected = DISMAPI_E_DISMAPI_NOT_INITIALIZED;
            assert_eq!(DismShutdown(), expected);
            assert_eq!(open(DISM_ONLINE_IMAGE).unwrap_err(), expected);
            assert_eq!(DismCloseSession(1), expected);
            assert_eq!(features(1).unwrap_err(), expected);
            assert_eq!(info(1, "PeerDist").unwrap_err(), expected);
            assert_eq!(parents(1, "PeerDist").unwrap_err(), expected);
            assert_eq!(enable(1, "PeerDist"), expected);
            assert_eq!(disable(1, "PeerDist"), expected);
            assert_eq!(last_message().unwrap_err(), expected);
            assert_eq!(DismDelete(ptr::null_mut()), expected);
        };
        nothing_works();
        let session = online();
        assert_eq!(DismCloseSession(session), S_OK);
        assert_eq!(DismShutdown(), S_OK);
        nothing_works();
    });
}

#[test]
fn a_shutdown_waits_for_no_session_but_refuses() {
    with_daemon("lifecycle::a_shutdown_waits_for_no_session_but_refuses", |_| {
        let session = online();
        assert_eq!(DismShutdown(), DISMAPI_E_OPEN_SESSION_HANDLES);
        assert!(features(session).is_ok(), "it has not shut down");
        assert_eq!(DismCloseSession(session), S_OK);
        assert_eq!(DismShutdown(), S_OK);
    });
}

#[test]
fn a_closed_session_and_one_that_never_was_are_invalid() {
    with_daemon("lifecycle::a_closed_session_and_one_that_never_was_are_invalid", |_| {
        let closed = online();
        assert_eq!(DismCloseSession(closed), S_OK);
        let open = open(DISM_ONLINE_IMAGE).unwrap();
        assert_ne!(open, closed, "numbers are not used again");
        for session in [closed, open + 1, DISM_SESSION_DEFAULT] {
            let expected = DISMAPI_E_INVALID_DISM_SESSION;
            assert_eq!(features(session).unwrap_err(), expected);
            assert_eq!(info(session, "PeerDist").unwrap_err(), expected);
            assert_eq!(parents(session, "PeerDist").unwrap_err(), expected);
            assert_eq!(enable(session, "PeerDist"), expected);
            assert_eq!(disable(session, "PeerDist"), expected);
            assert_eq!(DismCloseSession(session), expected);
        }
    });
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    with_daemon("lifecycle::arguments_that_make_no_sense_are_refused", |_| {
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { DismInitialize(3, ptr::null(), ptr::null()) }, E_INVALIDARG);
        assert_eq!(initialize(), S_OK);
        assert_eq!(open(None).unwrap_err(), E_INVALIDARG);
        let path = wide(DISM_ONLINE_IMAGE);
        // SAFETY: the text outlives the call, and NULL is allowed.
        let result = unsafe { DismOpenSession(path.as_ptr(), ptr::null(), ptr::null(), ptr::null_mut()) };
        assert_eq!(result, E_INVALIDARG);
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { DismGetLastErrorMessage(ptr::null_mut()) }, E_INVALIDARG);
        assert_eq!(DismShutdown(), S_OK, "no session was opened by mistake");
    });
}

#[test]
fn the_message_is_that_of_the_failure_just_before() {
    with_daemon("lifecycle::the_message_is_that_of_the_failure_just_before", |_| {
        let session = online();
        assert_eq!(last_message().unwrap_err(), NOT_FOUND, "nothing failed");
        assert!(info(session, "Telnet").is_err());
        assert!(last_message().unwrap().contains("Telnet"));
        assert!(DismShutdown() < 0 && DismDelete(ptr::null_mut()) < 0);
        assert!(last_message().unwrap().contains("Telnet"), "these keep no message");
        assert!(features(session).is_ok());
        assert_eq!(last_message().unwrap_err(), NOT_FOUND, "the last one succeeded");
    });
}

#[test]
fn dism_delete_takes_what_was_returned_and_nothing_else() {
    with_daemon("lifecycle::dism_delete_takes_what_was_returned_and_nothing_else", |_| {
        let session = online();
        // Arrays are given back by `features`.
        features(session).unwrap();
        let described = info(session, "PeerDist").unwrap();
        assert!(info(session, "Telnet").is_err());
        let message = last_string().unwrap();
        let mut own = 0_u64;
        // SAFETY: a pointer into what the library returned.
        let inside: *mut c_void = unsafe { described.cast::<u8>().add(8) }.cast();
        for foreign in [ptr::null_mut(), (&raw mut own).cast(), inside, ptr::without_provenance_mut(1)] {
            assert_eq!(DismDelete(foreign), E_INVALIDARG);
        }
        for returned in [described.cast(), message.cast()] {
            assert_eq!(DismDelete(returned), S_OK);
            assert_eq!(DismDelete(returned), E_INVALIDARG, "once");
        }
    });
}

#[test]
fn what_was_returned_outlives_its_session() {
    with_daemon("lifecycle::what_was_returned_outlives_its_session", |_: &Path| {
        let session = online();
        let described = info(session, "peerdist").unwrap();
        assert_eq!(DismCloseSession(session), S_OK);
        assert_eq!(DismShutdown(), S_OK);
        // SAFETY: the library returned it, and it was not given back.
        let name = unsafe { described.read_unaligned() }.FeatureName;
        assert_eq!(crate::windows::text(name), "PeerDist");
        assert_eq!(DismDelete(described.cast()), DISMAPI_E_DISMAPI_NOT_INITIALIZED);
        assert_eq!(initialize(), S_OK);
        assert_eq!(DismDelete(described.cast()), S_OK);
    });
}
