//! Handles in the wrong place, and handles that go while an operation uses them.

use std::thread;

use peerdist::abi::*;
use peerdist::kernel::calls::*;

use crate::support::*;

/// A content of 1000 bytes, none of which is there.
fn empty(instance: HANDLE) -> HANDLE {
    publish(instance, b"empty", &bytes(1000));
    readable(instance, 1, &information(instance, b"empty", 1))
}

#[test]
fn the_handles_of_peerdist_are_nothing_to_the_functions_of_windows() {
    case("handles::the_handles_of_peerdist_are_nothing_to_the_functions_of_windows", |_| {
        let instance = startup();
        let content = empty(instance);
        let stream = publish_stream(instance, b"stream", 0).unwrap();
        let opened = open_information(instance, b"empty", 0, 0).unwrap();
        for handle in [instance, content, stream, opened] {
            set_last_error(ERROR_SUCCESS);
            assert_eq!((peerdist_CloseHandle(handle), last_error()), (FALSE, ERROR_INVALID_HANDLE));
            set_last_error(ERROR_SUCCESS);
            assert_eq!((peerdist_WaitForSingleObject(handle, 0), last_error()), (WAIT_FAILED, ERROR_INVALID_HANDLE));
            set_last_error(ERROR_SUCCESS);
            assert_eq!((peerdist_SetEvent(handle), last_error()), (FALSE, ERROR_INVALID_HANDLE));
            assert_eq!((peerdist_event_fd(handle), peerdist_port_fd(handle)), (-1, -1));
        }
        // All of them are still open.
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
        assert_eq!(shutdown(instance), ERROR_SUCCESS);
    });
}

#[test]
fn what_is_no_port_is_no_place_for_packets() {
    case("handles::what_is_no_port_is_no_place_for_packets", |_| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        publish(instance, b"published", &bytes(1000));
        let (closed, at) = (port(), Overlapped::new(NULL));
        close(closed);
        let odd = port().map_addr(|value| value | 1);
        for wrong in [event(), instance, closed, odd, INVALID_HANDLE_VALUE] {
            let bad = ERROR_INVALID_HANDLE;
            assert_eq!(open_content(instance, 1, wrong, 0), Err(bad));
            assert_eq!(publish_stream_to(instance, b"stream", 0, None, wrong, 0), Err(bad));
            assert_eq!(open_information_to(instance, b"published", 0, 0, wrong, 0), Err(bad));
            assert_eq!(flush(instance, 1, wrong, 0, &at), bad);
            for form in FORMS {
                let registration = Registration::new(form, NULL);
                assert_eq!(registration.submit(instance, wrong, 0), bad);
                assert_eq!(registration.status(), UNTOLD);
            }
        }
        assert_eq!(at.internal(), 0);
        // Nothing was opened by that, and no place was taken.
        publish(instance, b"stream", &bytes(1000));
        assert_eq!(Registration::new(Form::Plain, NULL).submit(NULL, NULL, 0), ERROR_INVALID_HANDLE);
        let registration = Registration::new(Form::Plain, NULL);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(unregister(instance), ERROR_SUCCESS);
    });
}

#[test]
fn an_operation_needs_an_overlapped_and_its_event_has_to_be_one() {
    case("handles::an_operation_needs_an_overlapped_and_its_event_has_to_be_one", |_| {
        let instance = startup();
        let (content, closed) = (empty(instance), event());
        close(closed);
        let mut buffer = [0xEE; 10];
        for wrong in [port(), instance, content, closed, INVALID_HANDLE_VALUE] {
            let at = Overlapped::new(wrong);
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_INVALID_HANDLE);
            assert_eq!(complete_information(instance, content, &at), ERROR_INVALID_HANDLE);
            assert_eq!(flush(instance, 1, NULL, 0, &at), ERROR_INVALID_HANDLE);
            let registration = Registration::new(Form::Plain, wrong);
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_INVALID_HANDLE);
            assert_eq!((at.internal(), registration.at.internal()), (0, 0));
        }
        let at = Overlapped::new(NULL);
        for wrong in [NULL.cast(), at.raw().wrapping_byte_add(4)] {
            assert_eq!(block_read_at(instance, content, wrong), ERROR_INVALID_PARAMETER);
        }
        assert_eq!((buffer, at.internal()), ([0xEE; 10], 0));
    });
}

/// A BlockRead of no bytes with whatever pointer.
fn block_read_at(instance: HANDLE, content: HANDLE, at: *mut OVERLAPPED) -> DWORD {
    // SAFETY: NULL and what is misaligned are looked for.
    unsafe { peerdist::peerdist::calls::client::PeerDistClientBlockRead(instance, content, 0, NULL.cast(), 0, at) }
}

#[test]
fn an_event_that_is_closed_meanwhile_is_not_mistaken_for_the_next_one() {
    case("handles::an_event_that_is_closed_meanwhile_is_not_mistaken_for_the_next_one", |world| {
        let instance = startup();
        let content = empty(instance);
        for _ in 0..10 {
            let gone = event();
            let (at, mut buffer) = (Overlapped::new(gone), [0; 10]);
            world.daemon().pause();
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            close(gone);
            // It has the place of the one that is gone.
            let next = event();
            assert_ne!(next, gone);
            world.daemon().go_on();
            assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
            assert!(!is_set(next));
            close(next);
        }
    });
}

#[test]
fn t39_of_two_threads_that_submit_one_overlapped_one_gets_it() {
    case("handles::t39_of_two_threads_that_submit_one_overlapped_one_gets_it", |_| {
        let instances = [(); 2].map(|()| notified(PEERDIST_STATUS_AVAILABLE));
        for _ in 0..200 {
            let (event, mut told) = (event(), [UNTOLD; 2]);
            let at = Overlapped::new(event);
            let mut codes = thread::scope(|scope| {
                let submitting: Vec<_> = instances
                    .iter()
                    .zip(&mut told)
                    .map(|(instance, told)| {
                        let (instance, at) = (Carried::new(*instance), &at);
                        scope.spawn(move || register(instance.get(), NULL, 0, at, told))
                    })
                    .collect();
                submitting.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            codes.sort_unstable();
            assert_eq!(codes, [ERROR_INVALID_PARAMETER, ERROR_IO_PENDING]);
            assert!(!is_set(event));
            for instance in instances {
                assert_eq!(unregister(instance), ERROR_SUCCESS);
            }
            assert!(is_set(event));
            assert_eq!((at.wait().error, told), (ERROR_OPERATION_ABORTED, [UNTOLD; 2]));
            close(event);
        }
    });
}

#[test]
fn the_daemon_forgets_handles_whose_publication_was_taken_back_when_they_are_closed() {
    case("handles::the_daemon_forgets_handles_whose_publication_was_taken_back_when_they_are_closed", |world| {
        let instance = startup();
        publish(instance, b"gone", &bytes(1000));
        let opened = open_information(instance, b"gone", 0, 0).unwrap();
        let held = || world.daemon().status()["api"]["contents"].as_u64();
        assert_eq!(unpublish(instance, b"gone"), ERROR_SUCCESS);
        assert_eq!(held(), Some(1));
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
        assert_eq!(held(), Some(0));
    });
}
