//! How operations begin, end and tell of it.

use peerdist::abi::*;

use crate::support::*;

/// The fields of an OVERLAPPED that is not pending.
fn fields(at: &Overlapped) -> (usize, usize, u32, u32, HANDLE) {
    // SAFETY: not pending.
    let overlapped = unsafe { at.raw().read() };
    let OVERLAPPED { Internal, InternalHigh, Offset, OffsetHigh, hEvent } = overlapped;
    (Internal, InternalHigh, Offset, OffsetHigh, hEvent)
}

#[test]
fn t26_a_call_that_fails_at_once_touches_and_signals_nothing() {
    case("completion::t26_a_call_that_fails_at_once_touches_and_signals_nothing", |world| {
        let (instance, port) = (notified(PEERDIST_STATUS_AVAILABLE), port());
        publish(instance, b"t26", &bytes(1000));
        let content = open_content(instance, 1, port, 26).unwrap();
        let stream = publish_stream_to(instance, b"t26-stream", 0, None, port, 26).unwrap();
        let information = open_information_to(instance, b"t26", 0, 0, port, 26).unwrap();
        let piece = [0; 10];
        let mut status = UNTOLD;

        let expect = |what: &str, code: DWORD, call: &mut dyn FnMut(&Overlapped) -> DWORD| {
            for signalled in [false, true] {
                let event = event_of(true, signalled);
                let at = Overlapped::at(1, event);
                // SAFETY: not pending.
                unsafe { ((*at.raw()).Internal, (*at.raw()).InternalHigh) = (0x1234, 0x5678) };
                assert_eq!(call(&at), code, "{what}");
                assert_eq!(fields(&at), (0x1234, 0x5678, 1, 0, event), "{what}");
                assert_eq!(is_set(event), signalled, "{what}");
                assert_eq!(take(port, 0), None, "{what}");
            }
        };
        let bad = ERROR_INVALID_HANDLE;
        let mut buffer = [0xEE; 10];
        for wrong in [NULL, INVALID_HANDLE_VALUE, port, instance] {
            expect("AddContentInformation", bad, &mut |at| add_information(instance, wrong, &piece, at));
            expect("CompleteContentInformation", bad, &mut |at| complete_information(instance, wrong, at));
            expect("AddData", bad, &mut |at| add_data(instance, wrong, &piece, at));
            expect("BlockRead", bad, &mut |at| block_read(instance, wrong, &mut buffer, 0, at));
            expect("StreamRead", bad, &mut |at| stream_read(instance, wrong, &mut buffer, 0, at));
            expect("AddToStream", bad, &mut |at| add_to_stream(instance, wrong, &piece, at));
            expect("CompleteStream", bad, &mut |at| complete_stream(instance, wrong, at));
            expect("Retrieve", bad, &mut |at| retrieve(instance, wrong, &mut buffer, at));
        }
        for wrong in [NULL, INVALID_HANDLE_VALUE, port, content] {
            expect("AddData", bad, &mut |at| add_data(wrong, content, &piece, at));
            expect("BlockRead", bad, &mut |at| block_read(wrong, content, &mut buffer, 0, at));
            expect("AddToStream", bad, &mut |at| add_to_stream(wrong, stream, &piece, at));
            expect("Retrieve", bad, &mut |at| retrieve(wrong, information, &mut buffer, at));
            expect("Flush", bad, &mut |at| flush(wrong, 1, port, 26, at));
            expect("Register", bad, &mut |at| register(wrong, port, 26, at, &mut status));
        }
        // Offset 1 where none may be.
        let bad = ERROR_INVALID_PARAMETER;
        expect("AddContentInformation", bad, &mut |at| add_information(instance, content, &piece, at));
        expect("AddToStream", bad, &mut |at| add_to_stream(instance, stream, &piece, at));
        expect("Retrieve", bad, &mut |at| retrieve(instance, information, &mut buffer, at));
        expect("Flush", bad, &mut |at| flush(instance, 1, port, 26, at));
        world.disable();
        wait_for_status(instance, PEERDIST_STATUS_DISABLED);
        let dead = PEERDIST_ERROR_INVALIDATED;
        expect("AddData", dead, &mut |at| add_data(instance, content, &piece, at));
        expect("BlockRead", dead, &mut |at| block_read(instance, content, &mut buffer, 0, at));
        assert_eq!((buffer, status), ([0xEE; 10], UNTOLD));
    });
}

/// Every function that starts an operation, on handles that were opened with a port: what it is called, the key of its
/// packet, and the OVERLAPPED of an operation that was started and succeeds.
fn start_each(instance: HANDLE, port: HANDLE, event: HANDLE, mut ended: impl FnMut(&str, usize, &Overlapped)) {
    // What an operation reads stays until that has ended.
    let whole = bytes(1000);
    publish(instance, b"each", &whole);
    let described = information(instance, b"each", 1);
    let content = open_content(instance, 1, port, 101).unwrap();
    let stream = publish_stream_to(instance, b"each-stream", 0, None, port, 102).unwrap();
    let opened = open_information_to(instance, b"each", 0, 0, port, 103).unwrap();
    let mut each = |what: &str, key: usize, start: &mut dyn FnMut(&Overlapped) -> DWORD| {
        let at = Overlapped::new(event);
        assert_eq!(start(&at), ERROR_IO_PENDING, "{what}");
        ended(what, key, &at);
        assert_eq!(at.wait().error, ERROR_SUCCESS, "{what}");
    };
    let mut buffer = [0; 100];
    each("AddContentInformation", 101, &mut |at| add_information(instance, content, &described, at));
    each("CompleteContentInformation", 101, &mut |at| complete_information(instance, content, at));
    each("AddData", 101, &mut |at| add_data(instance, content, &whole, at));
    each("BlockRead", 101, &mut |at| block_read(instance, content, &mut buffer, 0, at));
    each("StreamRead", 101, &mut |at| stream_read(instance, content, &mut buffer, 0, at));
    each("AddToStream", 102, &mut |at| add_to_stream(instance, stream, b"bytes", at));
    each("CompleteStream", 102, &mut |at| complete_stream(instance, stream, at));
    each("Retrieve", 103, &mut |at| retrieve(instance, opened, &mut buffer, at));
    each("Flush", 104, &mut |at| flush(instance, 1, port, 104, at));
    for form in FORMS {
        let (fresh, registration) = (startup(), Registration::new(form, event));
        assert_eq!(registration.submit(fresh, port, 105), ERROR_IO_PENDING);
        ended("Register", 105, &registration.at);
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
    }
}

#[test]
fn t27_with_a_port_alone_one_packet_comes_with_the_key_of_the_open_call() {
    case("completion::t27_with_a_port_alone_one_packet_comes_with_the_key_of_the_open_call", |_| {
        let port = port();
        start_each(startup(), port, NULL, |what, key, at| {
            let packet = take(port, INFINITE).unwrap();
            assert_eq!((packet.error, packet.key, packet.overlapped), (ERROR_SUCCESS, key, at.raw()), "{what}");
            assert_eq!((packet.bytes, take(port, 0)), (at.wait().bytes, None), "{what}");
        });
    });
}

#[test]
fn t28_with_an_event_alone_it_is_set_and_the_key_means_nothing() {
    case("completion::t28_with_an_event_alone_it_is_set_and_the_key_means_nothing", |_| {
        let event = event();
        start_each(startup(), NULL, event, |what, _, at| {
            assert!(wait_for(event, INFINITE));
            assert_eq!(at.result(false).map(|ended| ended.error), Some(ERROR_SUCCESS), "{what}");
        });
    });
}

#[test]
fn t29_of_an_event_and_a_port_the_event_is_used() {
    case("completion::t29_of_an_event_and_a_port_the_event_is_used", |_| {
        let (event, port) = (event(), port());
        start_each(startup(), port, event, |what, _, at| {
            assert!(wait_for(event, INFINITE));
            assert_eq!(at.wait().error, ERROR_SUCCESS, "{what}");
            assert_eq!(take(port, 0), None, "{what}");
        });
    });
}

/// A content of 1000 bytes whose content information is there, and none of whose bytes is.
fn empty(instance: HANDLE, tag: u8, port: HANDLE, key: usize) -> HANDLE {
    // It is published once.
    if let Err(code) = open_information(instance, b"empty", 0, 0).map(|known| close_information(instance, known)) {
        assert_eq!(code, ERROR_NOT_FOUND);
        publish(instance, b"empty", &bytes(1000));
    }
    let content = open_content(instance, tag, port, key).unwrap();
    let at = Overlapped::new(event());
    let described = information(instance, b"empty", 1);
    assert_eq!(add_information(instance, content, &described, &at), ERROR_IO_PENDING);
    assert_eq!(at.wait().error, ERROR_SUCCESS);
    assert_eq!(complete_information(instance, content, &at), ERROR_IO_PENDING);
    assert_eq!(at.wait().error, ERROR_SUCCESS);
    content
}

#[test]
fn t31_there_is_no_result_while_an_operation_is_pending() {
    case("completion::t31_there_is_no_result_while_an_operation_is_pending", |world| {
        let instance = startup();
        let content = empty(instance, 1, NULL, 0);
        world.daemon().pause();
        let (at, mut buffer) = (Overlapped::new(event()), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        for _ in 0..3 {
            assert_eq!(at.result(false), None);
        }
        world.daemon().go_on();
        assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
        assert_eq!(at.result(false).map(|ended| ended.error), Some(PEERDIST_ERROR_MISSING_DATA));
    });
}

#[test]
fn t32_a_failed_operation_tells_its_code_and_its_bytes() {
    case("completion::t32_a_failed_operation_tells_its_code_and_its_bytes", |_| {
        let (instance, port, event) = (startup(), port(), event());
        let missing = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: 1000, offset: 0 };
        let mut buffer = [0xEE; 10];
        for content in [empty(instance, 1, NULL, 0), empty(instance, 2, port, 32)] {
            let at = Overlapped::new(event);
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            assert!(wait_for(event, INFINITE));
            assert_eq!((at.wait(), at.result_of_windows_7()), (missing, missing));
        }
        let content = empty(instance, 3, port, 32);
        let at = Overlapped::new(NULL);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        let packet = take(port, INFINITE).unwrap();
        assert_eq!((packet.error, packet.bytes), (missing.error, missing.bytes));
        assert_eq!((packet.key, packet.overlapped), (32, at.raw()));
        assert_eq!((at.wait(), at.result_of_windows_7()), (missing, missing));
        assert_eq!(buffer, [0xEE; 10]);
    });
}

#[test]
fn t36_an_event_that_was_set_before_does_not_tell_of_an_end() {
    case("completion::t36_an_event_that_was_set_before_does_not_tell_of_an_end", |world| {
        let (instance, event) = (startup(), event_of(true, true));
        let content = empty(instance, 1, NULL, 0);
        world.daemon().pause();
        let (at, mut buffer) = (Overlapped::new(event), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        assert!(!is_set(event));
        world.daemon().go_on();
        assert!(wait_for(event, INFINITE));
        assert_eq!(at.result(false).map(|ended| ended.error), Some(PEERDIST_ERROR_MISSING_DATA));
        assert!(is_set(event));
    });
}

#[test]
fn t38_an_overlapped_is_used_again_as_soon_as_its_operation_has_ended() {
    case("completion::t38_an_overlapped_is_used_again_as_soon_as_its_operation_has_ended", |_| {
        let (instance, port, event) = (startup(), port(), event());
        let content = bytes(100_000);
        publish(instance, b"t38", &content);
        let whole = information(instance, b"t38", 1);
        for with_port in [true, false] {
            let (port, event) = if with_port { (port, NULL) } else { (NULL, event) };
            let at = Overlapped::new(event);
            let end = || {
                if with_port {
                    assert_eq!(take(port, INFINITE).unwrap().overlapped, at.raw());
                } else {
                    assert!(wait_for(event, INFINITE));
                }
                at.result(false).expect("it has ended")
            };
            // The offset that each completion leaves behind has to go.
            let opened = open_information_to(instance, b"t38", 0, 0, port, 0).unwrap();
            let (mut retrieved, mut piece) = (Vec::new(), [0; 7]);
            while retrieved.len() < whole.len() {
                at.set_offset(0);
                assert_eq!(retrieve(instance, opened, &mut piece, &at), ERROR_IO_PENDING);
                let ended = end();
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, retrieved.len() as u64));
                retrieved.extend_from_slice(&piece[..ended.bytes as usize]);
            }
            assert_eq!(retrieved, whole);
            // And another kind of operation at each turn.
            let handle = open_content(instance, 1, port, 0).unwrap();
            at.set_offset(0);
            assert_eq!(add_information(instance, handle, &whole, &at), ERROR_IO_PENDING);
            assert_eq!(end().error, ERROR_SUCCESS);
            assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
            assert_eq!(end().error, ERROR_SUCCESS);
            for (offset, part) in (0_u64..).step_by(10_000).zip(content.chunks(10_000)) {
                at.set_offset(offset);
                assert_eq!(add_data(instance, handle, part, &at), ERROR_IO_PENDING);
                assert_eq!(end().error, ERROR_SUCCESS);
                let mut buffer = vec![0; 10_000];
                at.set_offset(offset);
                assert_eq!(block_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
                let ended = end();
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset));
                assert_eq!(buffer[..ended.bytes as usize], part[..ended.bytes as usize]);
            }
            assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
            at.set_offset(0);
            assert_eq!(flush(instance, 1, port, 0, &at), ERROR_IO_PENDING);
            assert_eq!(end().error, ERROR_SUCCESS);
        }
    });
}

#[test]
fn t40_reserved_offsets_must_be_zero() {
    case("completion::t40_reserved_offsets_must_be_zero", |_| {
        let instance = startup();
        publish(instance, b"t40", &bytes(1000));
        let described = information(instance, b"t40", 1);
        let content = open_content(instance, 1, NULL, 0).unwrap();
        let stream = publish_stream(instance, b"t40-stream", 0).unwrap();
        let opened = open_information(instance, b"t40", 0, 0).unwrap();
        let (mut buffer, good) = ([0; 100], Overlapped::new(NULL));
        for offset in [1, 1 << 32, u64::MAX] {
            let at = Overlapped::at(offset, NULL);
            assert_eq!(add_information(instance, content, &described, &at), ERROR_INVALID_PARAMETER);
            assert_eq!(flush(instance, 1, NULL, 0, &at), ERROR_INVALID_PARAMETER);
            assert_eq!(add_to_stream(instance, stream, b"bytes", &at), ERROR_INVALID_PARAMETER);
            assert_eq!(complete_stream(instance, stream, &at), ERROR_INVALID_PARAMETER);
            assert_eq!(retrieve(instance, opened, &mut buffer, &at), ERROR_INVALID_PARAMETER);
        }
        // Nothing was done by that.
        assert_eq!(describe(instance, content, &described), ERROR_SUCCESS);
        assert_eq!(add_to_stream(instance, stream, b"bytes", &good), ERROR_IO_PENDING);
        assert_eq!(good.wait().error, ERROR_SUCCESS);
        assert_eq!(retrieve_all(instance, opened), described);
    });
}
