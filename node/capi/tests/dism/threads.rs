//! Several threads at once.

use std::ffi::c_void;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use peerdist::dism::lifecycle::{DismCloseSession, DismShutdown};
use peerdist::dism::types::{
    DISMAPI_E_BUSY, DISMAPI_E_INVALID_DISM_SESSION, DISMAPI_E_OPEN_SESSION_HANDLES, HRESULT, S_OK,
};

use crate::daemon::{with_daemon, without_daemon};
use crate::windows::{PLAIN, With, enable_with, features, info, initialize, last_message, online};

/// What eight threads get of a function that they call at the same moment.
fn all_at_once(call: fn() -> HRESULT) -> Vec<HRESULT> {
    let start = Barrier::new(8);
    thread::scope(|scope| {
        let call = || {
            start.wait();
            call()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_many_threads_one_initialises_and_one_shuts_down() {
    without_daemon("threads::of_many_threads_one_initialises_and_one_shuts_down", |_| {
        for _ in 0..20 {
            for call in [initialize, || DismShutdown()] {
                let results = all_at_once(call);
                assert_eq!(results.iter().filter(|result| **result == S_OK).count(), 1, "{results:x?}");
                assert!(results.iter().all(|result| *result <= 0), "{results:x?}");
            }
        }
    });
}

#[test]
fn of_many_threads_one_closes_a_session() {
    with_daemon("threads::of_many_threads_one_closes_a_session", |_| {
        static SESSION: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        SESSION.store(online(), Ordering::SeqCst);
        let mut results = all_at_once(|| DismCloseSession(SESSION.load(Ordering::SeqCst)));
        results.sort_unstable();
        assert_eq!(results.pop(), Some(S_OK));
        assert!(results.iter().all(|result| *result == DISMAPI_E_INVALID_DISM_SESSION), "{results:x?}");
        assert_eq!(DismShutdown(), S_OK);
    });
}

#[test]
fn messages_belong_to_threads() {
    with_daemon("threads::messages_belong_to_threads", |_| {
        let session = online();
        let both_failed = Barrier::new(2);
        let fail = |name: &str| {
            assert!(info(session, name).is_err());
            both_failed.wait();
            last_message().unwrap()
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| fail("Telnet"));
            let other = scope.spawn(|| fail("Gopher"));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert!(one.contains("Telnet") && other.contains("Gopher"), "{one}, {other}");
        assert!(last_message().is_err(), "nothing failed on this thread");
    });
}

/// A callback that says when it was called, and stays until it is let go.
struct Gate {
    reached: Sender<()>,
    go_on: Receiver<()>,
}

unsafe extern "C" fn wait_at_the_gate(current: u32, _total: u32, gate: *mut c_void) {
    // SAFETY: the operation was given a gate, which outlives it and which no other thread has.
    let gate = unsafe { &*gate.cast::<Gate>() };
    if current == 0 {
        gate.reached.send(()).unwrap();
        gate.go_on.recv().unwrap();
    }
}

#[test]
fn closing_waits_for_operations_and_new_ones_fail_meanwhile() {
    with_daemon("threads::closing_waits_for_operations_and_new_ones_fail_meanwhile", |_| {
        let session = online();
        let (reached, is_reached) = channel();
        let (let_go, go_on) = channel();
        let closed = AtomicBool::new(false);
        thread::scope(|scope| {
            let operation = scope.spawn(move || {
                let mut gate = Gate { reached, go_on };
                let user_data = (&raw mut gate).cast();
                enable_with(session, "PeerDist", With { progress: Some(wait_at_the_gate), user_data, ..PLAIN })
            });
            is_reached.recv().unwrap();
            let closing = scope.spawn(|| {
                let result = DismCloseSession(session);
                closed.store(true, Ordering::SeqCst);
                result
            });
            // The close call takes effect at some moment from now on.
            while features(session).is_ok() {
                thread::yield_now();
            }
            assert_eq!(features(session).unwrap_err(), DISMAPI_E_INVALID_DISM_SESSION);
            assert_eq!(DismCloseSession(session), DISMAPI_E_INVALID_DISM_SESSION);
            assert_eq!(DismShutdown(), DISMAPI_E_OPEN_SESSION_HANDLES, "it is not closed yet");
            assert!(!closed.load(Ordering::SeqCst), "the operation has not ended");
            let_go.send(()).unwrap();
            assert_eq!(operation.join().unwrap(), S_OK, "what was under way succeeds");
            assert_eq!(closing.join().unwrap(), S_OK);
        });
        assert_eq!(DismShutdown(), S_OK);
    });
}

unsafe extern "C" fn close_own_session(_current: u32, _total: u32, session: *mut c_void) {
    // SAFETY: the operation was given the number of its session.
    let session = unsafe { *session.cast::<u32>() };
    assert_eq!(DismCloseSession(session), DISMAPI_E_BUSY);
    assert!(features(session).is_ok(), "other calls are fine");
}

#[test]
fn a_callback_that_closes_its_own_session_does_not_wait_for_itself() {
    with_daemon("threads::a_callback_that_closes_its_own_session_does_not_wait_for_itself", |_| {
        let mut session = online();
        let user_data = (&raw mut session).cast();
        let with = With { progress: Some(close_own_session), user_data, ..PLAIN };
        assert_eq!(enable_with(session, "PeerDist", with), S_OK);
        assert_eq!(DismCloseSession(session), S_OK);
    });
}

#[test]
fn threads_that_enumerate_and_change_are_in_nobodys_way() {
    with_daemon("threads::threads_that_enumerate_and_change_are_in_nobodys_way", |_| {
        let session = online();
        thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for _ in 0..10 {
                        match thread % 2 {
                            0 => assert_eq!(features(session).unwrap().len(), 2),
                            _ => {
                                assert_eq!(enable_with(session, "SMBHashGeneration", With { all: true, ..PLAIN }), S_OK)
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(DismCloseSession(session), S_OK);
    });
}
