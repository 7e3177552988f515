//! PeerDistClientCancelAsyncOperation, and PeerDistClientCloseContent while operations are pending.

use std::thread;

use peerdist::abi::*;

use crate::support::*;

/// A content of six blocks of which none is here, in a node that would wait for its peers for an hour.
fn waiting(world: &mut World) -> (HANDLE, HANDLE, Vec<u8>) {
    world.start_with(&patient());
    let (instance, content) = (startup(), bytes(6 * BLOCK));
    let handle = absent(instance, 1, b"waiting", &content, 1);
    (instance, handle, content)
}

#[test]
fn t78_one_of_two_reads_is_cancelled_and_the_other_one_goes_on() {
    case_without_daemon("cancel::t78_one_of_two_reads_is_cancelled_and_the_other_one_goes_on", |world| {
        let (instance, handle, content) = waiting(world);
        let events = [event(), event()];
        let start: [&dyn Fn(HANDLE) -> Reading; 2] =
            [&|event| Reading::block(instance, handle, BLOCK as u64, 100, event), &|event| {
                Reading::stream(instance, handle, 100, HOUR, event)
            }];
        for (index, other) in [(0, 1), (1, 0)] {
            let (cancelled, goes_on) = (start[index](events[index]), start[other](events[other]));
            assert!(cancelled.is_pending() && goes_on.is_pending());
            assert_eq!(cancel(instance, handle, Some(&cancelled.at)), ERROR_SUCCESS);
            assert!(is_set(events[index]), "the function returns after the signal");
            cancelled.assert_cancelled();
            assert!(goes_on.is_pending());
            assert!(!is_set(events[other]));
            // Once it is there, the other one is given it.
            let offset = if other == 0 { BLOCK } else { 0 };
            add_range(instance, handle, &content, offset..offset + BLOCK);
            assert!(wait_for(events[other], INFINITE));
            let (ended, piece) = goes_on.wait();
            assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
            assert_eq!(piece, content[offset..offset + piece.len()]);
            cancelled.assert_cancelled();
            let at = Overlapped::new(NULL);
            assert_eq!(flush(instance, 1, NULL, 0, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
        }
    });
}

#[test]
fn t78_the_packet_of_a_cancelled_read_is_there_when_the_function_returns() {
    case_without_daemon("cancel::t78_the_packet_of_a_cancelled_read_is_there_when_the_function_returns", |world| {
        world.start_with(&patient());
        let (instance, port) = (startup(), port());
        publish(instance, b"t78", &bytes(1000));
        let described = information(instance, b"t78", 1);
        let handle = open_content(instance, 1, port, 78).unwrap();
        assert_eq!(describe(instance, handle, &described), ERROR_SUCCESS);
        assert!(take(port, 0).is_some() && take(port, 0).is_some(), "those of the content information");
        let reads = [0, 1, 2].map(|offset| Reading::block(instance, handle, offset, 100, NULL));
        for read in &reads {
            assert_eq!(cancel(instance, handle, Some(&read.at)), ERROR_SUCCESS);
            let packet = take(port, 0).expect("it is posted");
            assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 78));
            assert_eq!((packet.overlapped, take(port, 0)), (read.at.raw(), None));
            read.assert_cancelled();
        }
    });
}

#[test]
fn t79_without_an_overlapped_all_operations_of_a_content_are_cancelled() {
    case_without_daemon("cancel::t79_without_an_overlapped_all_operations_of_a_content_are_cancelled", |world| {
        let (instance, handle, content) = waiting(world);
        let other = readable(instance, 1, &information(instance, b"waiting", 1));
        let kept = Reading::block(instance, other, 0, 100, NULL);
        for _ in 0..3 {
            let reads: Vec<_> = (0..10)
                .map(|index| match index % 3 {
                    0 => Reading::stream(instance, handle, 100, HOUR, event()),
                    _ => Reading::block(instance, handle, index * 20_000, 100, event()),
                })
                .collect();
            assert!(reads.iter().all(Reading::is_pending));
            assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
            reads.iter().for_each(Reading::assert_cancelled);
            assert!(kept.is_pending(), "it is of another content");
        }
        // The handle can be used as before.
        add_range(instance, handle, &content, 0..BLOCK);
        assert_eq!(read(instance, handle, 0, 100, HOUR).1, content[..100]);
        assert_eq!(close_content(instance, other), ERROR_SUCCESS);
    });
}

#[test]
fn t79_every_kind_of_operation_is_cancelled() {
    case("cancel::t79_every_kind_of_operation_is_cancelled", |world| {
        let (instance, content) = (startup(), bytes(1000));
        let handle = absent(instance, 1, b"t79", &content, 1);
        world.daemon().pause();
        let others = [(); 3].map(|()| Overlapped::new(event()));
        let reads = [
            Reading::block(instance, handle, 0, 100, NULL),
            Reading::stream(instance, handle, 100, 0, NULL),
            Reading::stream(instance, handle, 0, 0, NULL),
        ];
        assert_eq!(add_data(instance, handle, &content, &others[0]), ERROR_IO_PENDING);
        assert_eq!(add_information(instance, handle, &content, &others[1]), ERROR_IO_PENDING);
        assert_eq!(complete_information(instance, handle, &others[2]), ERROR_IO_PENDING);
        assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
        reads.iter().for_each(Reading::assert_cancelled);
        for other in &others {
            assert_eq!(other.result(false).expect("it has ended").error, ERROR_OPERATION_ABORTED);
        }
        world.daemon().go_on();
    });
}

#[test]
fn t80_what_has_ended_or_was_never_there_cannot_be_cancelled() {
    case_without_daemon("cancel::t80_what_has_ended_or_was_never_there_cannot_be_cancelled", |world| {
        let (instance, handle, content) = waiting(world);
        let other = readable(instance, 2, &information(instance, b"waiting", 1));
        let refused = |handle: HANDLE, at: &Overlapped| {
            let internal = at.internal();
            assert_eq!(cancel(instance, handle, Some(at)), PEERDIST_ERROR_OPERATION_NOTFOUND);
            assert_eq!(at.internal(), internal);
        };
        // Never submitted.
        refused(handle, &Overlapped::new(event()));
        // Ended well, badly, and by being cancelled.
        add_range(instance, handle, &content, 0..BLOCK);
        let event = event();
        let good = Reading::block(instance, handle, 0, 100, event);
        let bad = Reading::block(instance, handle, content.len() as u64, 100, NULL);
        assert_eq!((good.wait().1, bad.wait().0.error), (content[..100].to_vec(), PEERDIST_ERROR_NO_MORE));
        let gone = Reading::block(instance, handle, BLOCK as u64, 100, NULL);
        assert_eq!(cancel(instance, handle, Some(&gone.at)), ERROR_SUCCESS);
        for ended in [&good, &bad, &gone] {
            let result = ended.wait();
            refused(handle, &ended.at);
            assert_eq!(ended.wait(), result);
        }
        // Of another content.
        let theirs = Reading::block(instance, other, BLOCK as u64, 100, NULL);
        refused(handle, &theirs.at);
        assert!(theirs.is_pending());
        assert_eq!(cancel(instance, other, Some(&theirs.at)), ERROR_SUCCESS);
        theirs.assert_cancelled();
    });
}

#[test]
fn t83_closing_a_content_cancels_what_is_pending_and_ends_the_handle() {
    case_without_daemon("cancel::t83_closing_a_content_cancels_what_is_pending_and_ends_the_handle", |world| {
        let (instance, handle, content) = waiting(world);
        let other = readable(instance, 2, &information(instance, b"waiting", 1));
        let kept = Reading::block(instance, other, 0, 100, event());
        let events = [(); 6].map(|()| event());
        let reads: Vec<_> = (0..6)
            .map(|index| match index {
                0 | 1 => Reading::stream(instance, handle, 100, HOUR, events[index]),
                _ => Reading::block(instance, handle, index as u64 * 50_000, 100, events[index]),
            })
            .collect();
        assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
        for (read, event) in reads.iter().zip(events) {
            assert_eq!(read.wait().0.error, ERROR_OPERATION_ABORTED);
            assert!(wait_for(event, INFINITE));
            read.assert_cancelled();
        }
        let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(block_read(instance, handle, &mut buffer, 0, &at), ERROR_INVALID_HANDLE);
        assert_eq!(stream_read(instance, handle, &mut buffer, 0, &at), ERROR_INVALID_HANDLE);
        assert_eq!(add_data(instance, handle, &buffer, &at), ERROR_INVALID_HANDLE);
        assert_eq!(add_information(instance, handle, &buffer, &at), ERROR_INVALID_HANDLE);
        assert_eq!(complete_information(instance, handle, &at), ERROR_INVALID_HANDLE);
        assert_eq!(cancel(instance, handle, None), ERROR_INVALID_HANDLE);
        assert_eq!(cancel(instance, handle, Some(&reads[0].at)), ERROR_INVALID_HANDLE);
        assert_eq!(close_content(instance, handle), ERROR_INVALID_HANDLE);
        // Nothing else ended with it.
        assert!(kept.is_pending());
        add_range(instance, other, &content, 0..BLOCK);
        assert_eq!(kept.wait().1, content[..100]);
    });
}

#[test]
fn t83_additions_that_are_pending_are_cancelled_too() {
    case("cancel::t83_additions_that_are_pending_are_cancelled_too", |world| {
        let (instance, content, port) = (startup(), bytes(1000), port());
        let handle = open_content(instance, 1, port, 83).unwrap();
        world.daemon().pause();
        let operations = [(); 3].map(|()| Overlapped::new(NULL));
        assert_eq!(add_data(instance, handle, &content, &operations[0]), ERROR_IO_PENDING);
        assert_eq!(add_information(instance, handle, &content, &operations[1]), ERROR_IO_PENDING);
        assert_eq!(complete_information(instance, handle, &operations[2]), ERROR_IO_PENDING);
        let (closing, closed) = (Carried::new(instance), Carried::new(handle));
        let closing = thread::spawn(move || close_content(closing.get(), closed.get()));
        let mut cancelled = [(); 3].map(|()| {
            let packet = take(port, INFINITE).unwrap();
            assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 83));
            packet.overlapped
        });
        let mut expected = operations.each_ref().map(Overlapped::raw);
        cancelled.sort();
        expected.sort();
        assert_eq!(cancelled, expected);
        world.daemon().go_on();
        assert_eq!(closing.join().unwrap(), ERROR_SUCCESS);
        assert_eq!(take(port, 0), None);
    });
}
