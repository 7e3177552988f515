//! Asking for the result of an operation: with a time limit, by polling, and what becomes of the last error.

use std::thread;
use std::time::{Duration, Instant};

use peerdist::abi::*;
use peerdist::kernel::calls::*;
use peerdist::operation::calls::{
    PeerDistGetOverlappedResult, peerdist_GetOverlappedResult, peerdist_GetOverlappedResultEx,
};

use crate::support::*;

/// What is in a DWORD that nothing was written to.
const UNTOUCHED: DWORD = 0xDDDD_DDDD;

/// GetOverlappedResultEx: what it returned, the last error, which was 0 before, and the bytes.
fn result_ex(at: &Overlapped, milliseconds: DWORD) -> (BOOL, DWORD, DWORD) {
    let mut bytes = UNTOUCHED;
    set_last_error(ERROR_SUCCESS);
    // SAFETY: both are valid; which file it is is not looked at.
    let good =
        unsafe { peerdist_GetOverlappedResultEx(INVALID_HANDLE_VALUE, at.raw(), &mut bytes, milliseconds, TRUE) };
    (good, last_error(), bytes)
}

/// A content of 1000 bytes, none of which is there.
fn empty(instance: HANDLE) -> HANDLE {
    publish(instance, b"empty", &bytes(1000));
    readable(instance, 1, &information(instance, b"empty", 1))
}

#[test]
fn a_result_is_waited_for_as_long_as_is_wanted() {
    case("results::a_result_is_waited_for_as_long_as_is_wanted", |world| {
        let instance = startup();
        let content = empty(instance);
        for event in [NULL, event()] {
            let (at, mut buffer) = (Overlapped::new(event), [0; 10]);
            world.daemon().pause();
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            assert_eq!(result_ex(&at, 0), (FALSE, ERROR_IO_INCOMPLETE, UNTOUCHED));
            let began = Instant::now();
            assert_eq!(result_ex(&at, 20), (FALSE, WAIT_TIMEOUT, UNTOUCHED));
            assert!(began.elapsed() >= Duration::from_millis(20));
            thread::scope(|scope| {
                let waiting = [INFINITE, INFINITE - 1].map(|limit| {
                    scope.spawn({
                        let at = &at;
                        move || result_ex(at, limit)
                    })
                });
                world.daemon().go_on();
                for waiting in waiting {
                    assert_eq!(waiting.join().unwrap(), (FALSE, PEERDIST_ERROR_MISSING_DATA, 1000));
                }
            });
            for limit in [0, 1, INFINITE] {
                assert_eq!(result_ex(&at, limit), (FALSE, PEERDIST_ERROR_MISSING_DATA, 1000));
            }
        }
    });
}

#[test]
fn a_success_is_told_by_every_function() {
    case("results::a_success_is_told_by_every_function", |_| {
        let (instance, content) = (startup(), bytes(1000));
        let handle = cached(instance, 1, b"good", &content, 1);
        let (at, mut buffer) = (Overlapped::at(100, NULL), [0; 10]);
        assert_eq!(block_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
        assert_eq!(result_ex(&at, INFINITE), (TRUE, ERROR_SUCCESS, 10));
        assert_eq!(result_ex(&at, 0), (TRUE, ERROR_SUCCESS, 10));
        let good = Ended { error: ERROR_SUCCESS, bytes: 10, offset: 100 };
        assert_eq!((at.wait(), at.result(false), at.result_of_windows_7()), (good, Some(good), good));
        assert_eq!(buffer, content[100..110]);
    });
}

#[test]
fn the_result_of_nothing_is_not_to_be_had() {
    let (at, mut bytes) = (Overlapped::new(NULL), UNTOUCHED);
    let misaligned = at.raw().wrapping_byte_add(1);
    for (overlapped, bytes) in [(NULL.cast(), &raw mut bytes), (misaligned, &raw mut bytes), (at.raw(), NULL.cast())] {
        // SAFETY: NULL and what is misaligned are looked for.
        let calls: [&dyn Fn() -> BOOL; 3] = unsafe {
            [
                &move || PeerDistGetOverlappedResult(overlapped, bytes, TRUE),
                &move || peerdist_GetOverlappedResult(NULL, overlapped, bytes, TRUE),
                &move || peerdist_GetOverlappedResultEx(NULL, overlapped, bytes, INFINITE, FALSE),
            ]
        };
        for call in calls {
            set_last_error(ERROR_SUCCESS);
            assert_eq!((call(), last_error()), (FALSE, ERROR_INVALID_PARAMETER));
        }
    }
    assert_eq!(bytes, UNTOUCHED);
}

#[test]
fn a_program_that_polls_sees_all_of_an_end_at_once() {
    case("results::a_program_that_polls_sees_all_of_an_end_at_once", |_| {
        let (instance, content) = (startup(), bytes(1000));
        let handle = cached(instance, 1, b"polled", &content, 1);
        for offset in 0..300 {
            let (at, mut buffer) = (Overlapped::at(offset, NULL), [0xEE; 10]);
            assert_eq!(block_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
            while at.is_pending() {
                std::hint::spin_loop();
            }
            // The memory is the caller's from here on.
            let start = offset as usize;
            assert_eq!(buffer, content[start..start + 10]);
            assert_eq!(at.result(false), Some(Ended { error: ERROR_SUCCESS, bytes: 10, offset }));
        }
    });
}

#[test]
fn several_operations_are_waited_for_together() {
    case("results::several_operations_are_waited_for_together", |world| {
        let instance = startup();
        let content = empty(instance);
        let events = [event(), event_of(false, true), event()];
        let operations = events.map(|event| (Overlapped::new(event), [0_u8; 10]));
        world.daemon().pause();
        let mut operations = operations;
        for (at, buffer) in &mut operations {
            assert_eq!(block_read(instance, content, buffer, 0, at), ERROR_IO_PENDING);
        }
        // SAFETY: there are three.
        let wait = |all, limit| unsafe { peerdist_WaitForMultipleObjects(3, events.as_ptr(), all, limit) };
        assert_eq!((wait(TRUE, 0), wait(FALSE, 0)), (WAIT_TIMEOUT, WAIT_TIMEOUT));
        world.daemon().go_on();
        assert_eq!(wait(TRUE, INFINITE), WAIT_OBJECT_0);
        for (at, _) in &operations {
            assert_eq!(at.result(false).map(|ended| ended.error), Some(PEERDIST_ERROR_MISSING_DATA));
        }
        assert!(is_set(events[0]) && !is_set(events[1]), "the wait took the one that resets itself");
    });
}

#[test]
fn functions_that_return_their_error_leave_the_last_one_alone() {
    case_without_daemon("results::functions_that_return_their_error_leave_the_last_one_alone", |world| {
        world.start_with(&patient());
        const BEFORE: DWORD = 0x1234_5678;
        set_last_error(BEFORE);
        let leaves = |what: &str, call: &mut dyn FnMut()| {
            call();
            assert_eq!(last_error(), BEFORE, "{what}");
        };
        let instance = startup();
        let (mut content, mut stream, mut opened) = (NULL, NULL, NULL);
        leaves("Startup", &mut || assert_eq!(startup_of(3).0, PEERDIST_ERROR_VERSION_UNSUPPORTED));
        leaves("OpenContent", &mut || content = open_content(instance, 1, NULL, 0).unwrap());
        leaves("PublishStream", &mut || stream = publish_stream(instance, b"last", 0).unwrap());
        leaves("PublishStream", &mut || {
            assert_eq!(publish_stream(instance, b"last", 0), Err(PEERDIST_ERROR_ALREADY_EXISTS));
        });
        let at = Overlapped::new(NULL);
        let ends = |what: &str, start: &mut dyn FnMut() -> DWORD| {
            leaves(what, &mut || assert_eq!(start(), ERROR_IO_PENDING));
            leaves(what, &mut || assert_eq!(at.wait().error, ERROR_SUCCESS));
        };
        ends("AddToStream", &mut || add_to_stream(instance, stream, b"bytes", &at));
        ends("CompleteStream", &mut || complete_stream(instance, stream, &at));
        leaves("OpenContentInformation", &mut || opened = open_information(instance, b"last", 0, 0).unwrap());
        let mut information = [0; 1000];
        ends("Retrieve", &mut || retrieve(instance, opened, &mut information, &at));
        let size = at.wait().bytes as usize;
        ends("AddContentInformation", &mut || add_information(instance, content, &information[..size], &at));
        ends("CompleteContentInformation", &mut || complete_information(instance, content, &at));
        let mut buffer = [0; 10];
        leaves("Cancel", &mut || assert_eq!(cancel(instance, content, Some(&at)), PEERDIST_ERROR_OPERATION_NOTFOUND));

        // Whoever cancels finds 995, as the documentation says.
        assert_eq!(block_read(instance, content, &mut buffer, 3_600_000, &at), ERROR_IO_PENDING);
        leaves("BlockRead", &mut || {});
        assert_eq!((cancel(instance, content, Some(&at)), last_error()), (ERROR_SUCCESS, ERROR_OPERATION_ABORTED));
        set_last_error(BEFORE);
        leaves("CloseContentInformation", &mut || assert_eq!(close_information(instance, opened), ERROR_SUCCESS));
        leaves("CloseContent", &mut || assert_eq!(close_content(instance, content), ERROR_SUCCESS));
        leaves("CloseContent", &mut || assert_eq!(close_content(instance, content), ERROR_INVALID_HANDLE));
        leaves("CloseStream", &mut || assert_eq!(close_stream(instance, stream), ERROR_SUCCESS));
        leaves("Unpublish", &mut || assert_eq!(unpublish(instance, b"last"), ERROR_SUCCESS));
        leaves("Unregister", &mut || assert_eq!(unregister(instance), ERROR_SUCCESS));
        leaves("Shutdown", &mut || assert_eq!(shutdown(instance), ERROR_SUCCESS));
    });
}
