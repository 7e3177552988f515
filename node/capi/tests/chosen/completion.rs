//! How operations begin, end and tell of it.

use std::sync::Barrier;
use std::thread;

use peerdist::abi::*;

use crate::support::*;

/// A content of 1000 bytes whose content information is there, and none of whose bytes is.
fn empty(instance: HANDLE) -> HANDLE {
    publish(instance, b"empty", &bytes(1000));
    readable(instance, 1, &information(instance, b"empty", 1))
}

#[test]
fn t30_an_operation_without_event_and_port_is_waited_for() {
    case("completion::t30_an_operation_without_event_and_port_is_waited_for", |world| {
        let instance = startup();
        let content = empty(instance);
        for _ in 0..10 {
            let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
            world.daemon().pause();
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            thread::scope(|scope| {
                let waiting = [(); 2].map(|()| scope.spawn(|| (at.wait(), at.internal() as u32)));
                assert!(!waiting.iter().any(|waiting| waiting.is_finished()));
                world.daemon().go_on();
                for waiting in waiting {
                    let (ended, internal) = waiting.join().unwrap();
                    assert_eq!((ended.error, ended.bytes), (PEERDIST_ERROR_MISSING_DATA, 1000));
                    assert_eq!(internal, 0xC007_0FD4, "the NTSTATUS of it");
                }
            });
            assert_eq!(at.wait().bytes, 1000, "also when it has ended before");
        }
    });
}

#[test]
fn t31_the_result_of_a_pending_operation_is_incomplete() {
    case("completion::t31_the_result_of_a_pending_operation_is_incomplete", |world| {
        let instance = startup();
        let content = empty(instance);
        world.daemon().pause();
        let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        set_last_error(0);
        assert_eq!(at.result(false), None);
        assert_eq!((last_error(), at.internal()), (ERROR_IO_INCOMPLETE, 0x103));
        world.daemon().go_on();
        assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
    });
}

#[test]
fn t33_a_result_can_be_asked_for_twice() {
    case("completion::t33_a_result_can_be_asked_for_twice", |_| {
        let instance = startup();
        let content = empty(instance);
        for (length, ended) in [
            (10, Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: 1000, offset: 3 }),
            (0, Ended { error: ERROR_SUCCESS, bytes: 0, offset: 3 }),
        ] {
            let (at, mut buffer) = (Overlapped::at(3, event()), [0; 10]);
            assert_eq!(block_read(instance, content, &mut buffer[..length], 0, &at), ERROR_IO_PENDING);
            let first = at.wait();
            assert_eq!(first.error, ended.error);
            for wait in [true, false, true] {
                assert_eq!(at.result(wait), Some(first));
            }
            assert_eq!(at.result_of_windows_7(), first);
        }
    });
}

#[test]
fn t34_the_failures_of_two_threads_do_not_mix() {
    case("completion::t34_the_failures_of_two_threads_do_not_mix", |_| {
        let instance = Carried::new(startup());
        let content = Carried::new(empty(instance.get()));
        let both = Barrier::new(2);
        set_last_error(ERROR_NOT_FOUND);
        thread::scope(|scope| {
            // One reads what is missing, the other one behind the end.
            for (offset, code) in [(0, PEERDIST_ERROR_MISSING_DATA), (1000, PEERDIST_ERROR_NO_MORE)] {
                let both = &both;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let (at, mut buffer) = (Overlapped::at(offset, NULL), [0; 10]);
                        let started = block_read(instance.get(), content.get(), &mut buffer, 0, &at);
                        assert_eq!(started, ERROR_IO_PENDING);
                        let ended = at.wait();
                        both.wait();
                        assert_eq!((ended.error, last_error()), (code, code));
                        both.wait();
                    }
                });
            }
        });
        assert_eq!(last_error(), ERROR_NOT_FOUND, "that of a third one");
    });
}

#[test]
fn t35_an_auto_reset_event_that_was_consumed_does_not_hold_the_result_up() {
    case("completion::t35_an_auto_reset_event_that_was_consumed_does_not_hold_the_result_up", |_| {
        let (instance, event) = (startup(), event_of(false, false));
        let content = empty(instance);
        let (at, mut buffer) = (Overlapped::new(event), [0; 10]);
        for _ in 0..10 {
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            assert!(wait_for(event, INFINITE));
            assert!(!is_set(event));
            assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
            assert_eq!(at.result_of_windows_7().error, PEERDIST_ERROR_MISSING_DATA);
            // And the other way round: the result does not consume the event.
            at.set_offset(0);
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
            assert!(is_set(event));
            at.set_offset(0);
        }
    });
}

#[test]
fn t36_every_kind_of_event_is_reset_when_an_operation_begins() {
    case("completion::t36_every_kind_of_event_is_reset_when_an_operation_begins", |world| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        let content = empty(instance);
        for manual in [true, false] {
            let event = event_of(manual, true);
            let registration = Registration::new(Form::Plain, event);
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert!(!is_set(event));
            assert_eq!(unregister(instance), ERROR_SUCCESS);
            assert!(is_set(event));

            set(event);
            world.daemon().pause();
            let (at, mut buffer) = (Overlapped::new(event), [0; 10]);
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            assert!(!is_set(event));
            world.daemon().go_on();
            assert!(wait_for(event, INFINITE));
            assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
        }
    });
}

#[test]
fn t39_an_overlapped_that_is_pending_is_refused() {
    case("completion::t39_an_overlapped_that_is_pending_is_refused", |world| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        let content = empty(instance);
        let other = readable(instance, 2, &information(instance, b"empty", 1));
        let stream = publish_stream(instance, b"t39", 0).unwrap();
        let (event, reserved) = (event(), Overlapped::new(NULL));
        assert_eq!(add_to_stream(instance, stream, b"bytes", &reserved), ERROR_IO_PENDING);
        assert_eq!(reserved.wait().error, ERROR_SUCCESS);
        world.daemon().pause();
        let (at, mut buffer, mut unused) = (Overlapped::at(7, event), [0xEE; 10], [0xEE; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        set(event);
        assert_eq!(block_read(instance, content, &mut unused, 0, &at), ERROR_INVALID_PARAMETER);
        assert_eq!(block_read(instance, other, &mut unused, 0, &at), ERROR_INVALID_PARAMETER);
        assert_eq!(add_data(instance, other, b"bytes", &at), ERROR_INVALID_PARAMETER);
        let mut status = UNTOLD;
        assert_eq!(register(instance, NULL, 0, &at, &mut status), ERROR_INVALID_PARAMETER);
        assert!(is_set(event), "the event is left alone");
        assert_eq!(at.result(false), None);
        // An operation that takes no offset, so that this is not why it is refused.
        assert_eq!(complete_stream(instance, stream, &reserved), ERROR_IO_PENDING);
        assert_eq!(add_to_stream(instance, stream, b"bytes", &reserved), ERROR_INVALID_PARAMETER);
        assert_eq!(complete_stream(instance, stream, &reserved), ERROR_INVALID_PARAMETER);
        assert_eq!(flush(instance, 1, NULL, 0, &reserved), ERROR_INVALID_PARAMETER);
        world.daemon().go_on();
        let missing = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: 993, offset: 7 };
        assert_eq!((at.wait(), reserved.wait().error), (missing, ERROR_SUCCESS));
        assert_eq!((unused, status), ([0xEE; 10], UNTOLD));
        // The place for a registration was not taken by the one that was refused.
        let registration = Registration::new(Form::Plain, NULL);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(shutdown(instance), ERROR_SUCCESS);
    });
}

#[test]
fn t40_completing_takes_no_offset_and_registering_any() {
    case("completion::t40_completing_takes_no_offset_and_registering_any", |_| {
        let instance = startup();
        let content = empty(instance);
        for offset in [1, 1 << 32] {
            let at = Overlapped::at(offset, NULL);
            assert_eq!(complete_information(instance, content, &at), ERROR_INVALID_PARAMETER);
            let (at, mut status) = (Overlapped::at(offset, NULL), UNTOLD);
            assert_eq!(register(startup(), NULL, 0, &at, &mut status), ERROR_IO_PENDING);
            let ended = Ended { error: ERROR_SUCCESS, bytes: 0, offset };
            assert_eq!((at.wait(), status), (ended, PEERDIST_STATUS_AVAILABLE));
        }
    });
}
