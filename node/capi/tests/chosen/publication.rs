//! Publishing.

use std::fs::OpenOptions;
use std::io::Write;
use std::ptr;
use std::thread;
use std::time::Instant;

use peerdist::abi::*;
use peerdist::peerdist::calls::server::{
    PeerDistServerCancelAsyncOperation, PeerDistServerPublishStream, PeerDistServerUnpublish,
};

use crate::support::*;

#[test]
fn t87_an_identifier_is_taken_from_the_opening_of_its_stream_on() {
    case("publication::t87_an_identifier_is_taken_from_the_opening_of_its_stream_on", |_| {
        let (instance, other) = (startup(), startup());
        let stream = publish_stream(instance, b"t87", 0).unwrap();
        for instance in [instance, other] {
            assert_eq!(publish_stream(instance, b"t87", 0), Err(PEERDIST_ERROR_ALREADY_EXISTS));
        }
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        publish(other, b"t87", &bytes(1000));
    });
}

#[test]
fn t89_identifiers_are_equal_byte_for_byte_only() {
    case("publication::t89_identifiers_are_equal_byte_for_byte_only", |_| {
        let instance = startup();
        let (long, longer) = ([0xFF; 4095], [0xFF; 4096]);
        let names: [&[u8]; 9] =
            [b"t89", b"t8", b"T89", b"t89\0", b"t89\0\0", b"t89\0a", b"\0t89", &long[..], &longer[..]];
        for (index, name) in names.into_iter().enumerate() {
            publish(instance, name, &bytes(1000 + index));
        }
        let described = names.map(|name| information(instance, name, 1));
        for (index, name) in names.into_iter().enumerate() {
            assert!(described[..index].iter().all(|other| *other != described[index]));
            assert_eq!(unpublish(instance, name), ERROR_SUCCESS);
            assert_eq!(open_information(instance, name, 0, 0), Err(ERROR_NOT_FOUND));
            for (left, described) in names.into_iter().zip(&described).skip(index + 1) {
                assert_eq!(information(instance, left, 1), *described);
            }
        }
    });
}

#[test]
fn t90_a_wrong_length_is_out_of_bounds_and_can_be_mended() {
    case("publication::t90_a_wrong_length_is_out_of_bounds_and_can_be_mended", |_| {
        let instance = startup();
        let stream = publish_stream(instance, b"t90", 10).unwrap();
        assert_eq!(added(instance, stream, &bytes(11)), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(added(instance, stream, &bytes(10)[..9]), ERROR_SUCCESS, "nothing of that was added");
        assert_eq!(completed(instance, stream), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(added(instance, stream, &[1; 2]), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(added(instance, stream, &bytes(10)[9..]), ERROR_SUCCESS);
        assert_eq!(added(instance, stream, &[1]), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
        publish(instance, b"t90-same", &bytes(10));
        assert_eq!(information(instance, b"t90", 1), information(instance, b"t90-same", 1));
    });
}

#[test]
fn t90_nothing_is_added_of_bytes_that_are_too_many() {
    case("publication::t90_nothing_is_added_of_bytes_that_are_too_many", |_| {
        let (instance, content) = (startup(), bytes(5 << 20));
        let stream = publish_stream(instance, b"t90", 5 << 20).unwrap();
        // More than goes to the daemon at once.
        let wrong = vec![1; (5 << 20) + 1];
        assert_eq!(added(instance, stream, &wrong), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(completed(instance, stream), PEERDIST_ERROR_OUT_OF_BOUNDS);
        assert_eq!(added(instance, stream, &content), ERROR_SUCCESS);
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
        publish(instance, b"t90-same", &content);
        assert_eq!(information(instance, b"t90", 1), information(instance, b"t90-same", 1));
    });
}

#[test]
fn t91_nothing_cannot_be_published() {
    case("publication::t91_nothing_cannot_be_published", |_| {
        let instance = startup();
        let stream = publish_stream(instance, b"t91", 0).unwrap();
        assert_eq!(completed(instance, stream), ERROR_INVALID_PARAMETER);
        assert_eq!(added(instance, stream, &[]), ERROR_SUCCESS);
        assert_eq!(completed(instance, stream), ERROR_INVALID_PARAMETER);
        assert_eq!(added(instance, stream, &[1]), ERROR_SUCCESS);
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
    });
}

#[test]
fn t92_options_are_of_version_1_or_2_and_have_no_flags() {
    case("publication::t92_options_are_of_version_1_or_2_and_have_no_flags", |_| {
        let instance = startup();
        for (version, flags) in [(0, 0), (3, 0), (0x0100, 0), (DWORD::MAX, 0), (1, 1), (2, 1), (2, 0x8000_0000)] {
            let options = PEERDIST_PUBLICATION_OPTIONS { dwVersion: version, dwFlags: flags };
            let refused = publish_stream_to(instance, b"t92", 0, Some(options), NULL, 0);
            assert_eq!(refused, Err(ERROR_INVALID_PARAMETER), "{options:?}");
        }
        publish(instance, b"t92", &bytes(1000));
    });
}

#[test]
fn t92_what_is_published_for_version_1_is_described_in_version_1_alone() {
    case("publication::t92_what_is_published_for_version_1_is_described_in_version_1_alone", |_| {
        let instance = startup();
        for (name, version, newest) in [(&b"first"[..], Some(1), 1), (b"second", Some(2), 2), (b"none", None, 2)] {
            let options = version.map(|version| PEERDIST_PUBLICATION_OPTIONS { dwVersion: version, dwFlags: 0 });
            let stream = publish_stream_to(instance, name, 0, options, NULL, 0).unwrap();
            assert_eq!(added(instance, stream, &bytes(1000)), ERROR_SUCCESS);
            assert_eq!(completed(instance, stream), ERROR_SUCCESS);
            let wanted = |min, max| PEERDIST_RETRIEVAL_OPTIONS {
                cbSize: 16,
                dwContentInfoMinVersion: min,
                dwContentInfoMaxVersion: max,
                dwReserved: 0,
            };
            let either = open_information_ex(instance, name, wanted(1, 2)).unwrap();
            assert_eq!(retrieve_all(instance, either)[..2], [0, newest]);
            let second =
                open_information_ex(instance, name, wanted(2, 2)).map(|open| close_information(instance, open));
            let expected = if newest == 2 { Ok(0) } else { Err(PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED) };
            assert_eq!(second, expected);
        }
    });
}

#[test]
fn t92_an_identifier_and_room_for_the_handle_are_needed() {
    case("publication::t92_an_identifier_and_room_for_the_handle_are_needed", |_| {
        let (instance, event) = (startup(), event());
        let (mut name, mut stream) = ([1; 4097], NULL);
        let start = name.as_mut_ptr();
        for (size, start) in [(0, ptr::null_mut()), (5, ptr::null_mut()), (0, start), (4097, start), (u32::MAX, start)]
        {
            // SAFETY: it looks at the size first.
            let codes = unsafe {
                [
                    PeerDistServerPublishStream(instance, size, start, 0, ptr::null(), NULL, 0, &mut stream),
                    PeerDistServerUnpublish(instance, size, start),
                    PeerDistServerCancelAsyncOperation(instance, size, start, Overlapped::new(NULL).raw()),
                ]
            };
            assert_eq!(codes, [ERROR_INVALID_PARAMETER; 3], "{size}");
        }
        let publish = |out, port| {
            // SAFETY: NULL is looked for.
            unsafe { PeerDistServerPublishStream(instance, 3, start, 0, ptr::null(), port, 0, out) }
        };
        assert_eq!(publish(ptr::null_mut(), NULL), ERROR_INVALID_PARAMETER);
        for no_port in [event, instance, INVALID_HANDLE_VALUE] {
            assert_eq!(publish(&mut stream, no_port), ERROR_INVALID_HANDLE);
        }
        assert!(stream.is_null());
        // None of them took the identifier.
        assert_eq!(publish(&mut stream, NULL), ERROR_SUCCESS);
        assert_eq!(add_to_stream(event, stream, &[1], &Overlapped::new(NULL)), ERROR_INVALID_HANDLE);
        assert_eq!(add_to_stream(startup(), stream, &[1], &Overlapped::new(NULL)), ERROR_INVALID_HANDLE);
        assert_eq!(complete_stream(instance, instance, &Overlapped::new(NULL)), ERROR_INVALID_HANDLE);
        assert_eq!(close_stream(startup(), stream), ERROR_INVALID_HANDLE);
        assert_eq!(close_information(instance, stream), ERROR_INVALID_HANDLE);
        assert_eq!(added(instance, stream, &[1]), ERROR_SUCCESS);
    });
}

#[test]
fn t93_what_is_not_complete_is_not_found() {
    case("publication::t93_what_is_not_complete_is_not_found", |_| {
        let instance = startup();
        assert_eq!(open_information(instance, b"t93", 0, 0), Err(ERROR_NOT_FOUND));
        let stream = publish_stream(instance, b"t93", 0).unwrap();
        assert_eq!(added(instance, stream, &[1; 1000]), ERROR_SUCCESS);
        assert_eq!(open_information(instance, b"t93", 0, 0), Err(ERROR_NOT_FOUND));
    });
}

#[test]
fn t95_the_identifier_of_a_cancelled_publication_is_free_again() {
    case("publication::t95_the_identifier_of_a_cancelled_publication_is_free_again", |_| {
        let instance = startup();
        for completing in [false, true] {
            for length in 1..200 {
                let stream = publish_stream(instance, b"t95", 0).unwrap();
                let (adding, completed) = (Overlapped::new(NULL), Overlapped::new(NULL));
                let piece = bytes(length * 50);
                assert_eq!(add_to_stream(instance, stream, &piece, &adding), ERROR_IO_PENDING);
                if completing {
                    assert_eq!(complete_stream(instance, stream, &completed), ERROR_IO_PENDING);
                }
                assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
                adding.wait();
                if completing && completed.wait().error == ERROR_SUCCESS {
                    assert_eq!(unpublish(instance, b"t95"), ERROR_SUCCESS);
                }
            }
        }
        publish(instance, b"t95", &bytes(1000));
    });
}

#[test]
fn t96_a_stream_that_is_complete_takes_no_more() {
    case("publication::t96_a_stream_that_is_complete_takes_no_more", |_| {
        let instance = startup();
        let stream = publish_stream(instance, b"t96", 0).unwrap();
        assert_eq!(added(instance, stream, &[1; 100]), ERROR_SUCCESS);
        // As well when they are waiting for their turn.
        let operations = [0; 4].map(|_| Overlapped::new(NULL));
        assert_eq!(complete_stream(instance, stream, &operations[0]), ERROR_IO_PENDING);
        assert_eq!(add_to_stream(instance, stream, &[2; 100], &operations[1]), ERROR_IO_PENDING);
        assert_eq!(complete_stream(instance, stream, &operations[2]), ERROR_IO_PENDING);
        assert_eq!(add_to_stream(instance, stream, &[], &operations[3]), ERROR_IO_PENDING);
        let ended = operations.map(|operation| operation.wait().error);
        assert_eq!(ended[0], ERROR_SUCCESS);
        assert_eq!(ended[1..], [PEERDIST_ERROR_ALREADY_COMPLETED; 3]);
        assert_eq!(added(instance, stream, &[2; 100]), PEERDIST_ERROR_ALREADY_COMPLETED);
        assert_eq!(completed(instance, stream), PEERDIST_ERROR_ALREADY_COMPLETED);
        publish(instance, b"t96-same", &[1; 100]);
        assert_eq!(information(instance, b"t96", 1), information(instance, b"t96-same", 1));
    });
}

#[test]
fn t97_handles_on_what_was_unpublished_are_invalidated() {
    case("publication::t97_handles_on_what_was_unpublished_are_invalidated", |_| {
        let (instance, other) = (startup(), startup());
        publish(instance, b"t97", &bytes(1000));
        let unfinished = publish_stream(instance, b"unfinished", 0).unwrap();
        let opened = open_information(instance, b"t97", 0, 0).unwrap();
        let foreign = open_information(other, b"t97", 0, 0).unwrap();
        assert_eq!(unpublish(instance, b"t97"), ERROR_SUCCESS);
        assert_eq!(unpublish(instance, b"unfinished"), ERROR_SUCCESS);
        for unknown in [&b"t97"[..], b"unfinished", b"never"] {
            assert_eq!(unpublish(instance, unknown), ERROR_NOT_FOUND);
        }
        let (operation, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(retrieve(instance, opened, &mut buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(add_to_stream(instance, unfinished, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(complete_stream(instance, unfinished, &operation), PEERDIST_ERROR_INVALIDATED);
        // Another session's go on, and what is published anew is another thing.
        assert!(!retrieve_all(other, foreign).is_empty());
        publish(instance, b"unfinished", &bytes(2000));
        assert_eq!(add_to_stream(instance, unfinished, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(close_stream(instance, unfinished), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
        assert!(open_information(instance, b"unfinished", 0, 0).is_ok());
    });
}

#[test]
fn t97_what_is_closed_counts_no_more_whatever_became_of_it() {
    case("publication::t97_what_is_closed_counts_no_more_whatever_became_of_it", |world| {
        let instance = startup();
        for disabled in [false, true] {
            publish(instance, b"t97", &bytes(1000));
            let content = readable(instance, 1, &information(instance, b"t97", 1));
            let opened = open_information(instance, b"t97", 0, 0).unwrap();
            let stream = publish_stream(instance, b"unfinished", 0).unwrap();
            assert_eq!(world.daemon().status()["api"]["contents"], 3);
            if disabled {
                world.disable();
                wait_for_status(instance, PEERDIST_STATUS_DISABLED);
            } else {
                assert_eq!(unpublish(instance, b"t97"), ERROR_SUCCESS);
                assert_eq!(unpublish(instance, b"unfinished"), ERROR_SUCCESS);
            }
            assert_eq!(close_content(instance, content), ERROR_SUCCESS);
            assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert_eq!(world.daemon().status()["api"]["contents"], 0, "{disabled}");
        }
    });
}

#[test]
fn t103_a_cancelled_add_is_in_no_publication() {
    case("publication::t103_a_cancelled_add_is_in_no_publication", |_| {
        let (instance, content) = (startup(), bytes(3 << 20));
        let (first, rest) = content.split_at(1000);
        publish(instance, b"first", first);
        publish(instance, b"both", &content);
        let [alone, both] = [&b"first"[..], b"both"].map(|name| information(instance, name, 1));
        let mut ends = [0; 3];
        for round in 0..60_u32 {
            let stream = publish_stream(instance, b"t103", 0).unwrap();
            assert_eq!(added(instance, stream, first), ERROR_SUCCESS);
            let adding = Overlapped::new(NULL);
            assert_eq!(add_to_stream(instance, stream, rest, &adding), ERROR_IO_PENDING);
            let began = Instant::now();
            while round % 3 > 0 && began.elapsed().as_micros() < u128::from(round * 400) {
                thread::yield_now();
            }
            if round % 10 == 9 {
                adding.wait();
            }
            let code = server_cancel(instance, b"t103", adding.raw());
            let cancelled = adding.result(false).expect("cancelled or over").error;
            assert_eq!(code == ERROR_SUCCESS, cancelled == ERROR_OPERATION_ABORTED);
            let end = match (cancelled, completed(instance, stream)) {
                (ERROR_SUCCESS, ERROR_SUCCESS) => {
                    assert!(information(instance, b"t103", 1) == both);
                    0
                }
                (ERROR_OPERATION_ABORTED, ERROR_SUCCESS) => {
                    assert!(information(instance, b"t103", 1) == alone, "it has bytes of it");
                    1
                }
                // It was on its way: what came of it, nobody knows.
                (ERROR_OPERATION_ABORTED, PEERDIST_ERROR_INVALIDATED) => {
                    assert_eq!(added(instance, stream, rest), PEERDIST_ERROR_INVALIDATED);
                    2
                }
                other => panic!("{other:?}"),
            };
            ends[end] += 1;
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            if end < 2 {
                assert_eq!(unpublish(instance, b"t103"), ERROR_SUCCESS);
            }
        }
        assert!(ends[0] > 0 && ends[2] > 0, "{ends:?}");
    });
}

#[test]
fn t103_what_was_cancelled_while_it_was_completed_can_be_completed() {
    case("publication::t103_what_was_cancelled_while_it_was_completed_can_be_completed", |_| {
        let (instance, content) = (startup(), bytes(1000));
        let mut ends = [0; 2];
        for round in 0..300_u32 {
            let stream = publish_stream(instance, b"t103", 0).unwrap();
            assert_eq!(added(instance, stream, &content), ERROR_SUCCESS);
            let completing = Overlapped::new(NULL);
            assert_eq!(complete_stream(instance, stream, &completing), ERROR_IO_PENDING);
            let began = Instant::now();
            while began.elapsed().as_micros() < u128::from(round % 100 * 20) {
                thread::yield_now();
            }
            if round % 100 == 99 {
                completing.wait();
            }
            let cancelled = server_cancel(instance, b"t103", completing.raw()) == ERROR_SUCCESS;
            let again = completed(instance, stream);
            assert_eq!(again, if cancelled { ERROR_SUCCESS } else { PEERDIST_ERROR_ALREADY_COMPLETED }, "{round}");
            ends[usize::from(cancelled)] += 1;
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert_eq!(unpublish(instance, b"t103"), ERROR_SUCCESS);
        }
        assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
    });
}

#[test]
fn t105_pieces_that_wait_for_their_turn_are_never_reordered() {
    case("publication::t105_pieces_that_wait_for_their_turn_are_never_reordered", |world| {
        let (instance, content, port) = (startup(), bytes(1_500_000), port());
        publish(instance, b"whole", &content);
        for paused in [false, true] {
            let name = [b'p', paused.into()];
            let stream = publish_stream_to(instance, &name, 0, None, port, 105).unwrap();
            if paused {
                world.daemon().pause();
            }
            let mut rest = &content[..];
            let mut operations = Vec::new();
            // Small ones behind large ones, which they could overtake.
            for size in [200_000, 1, 65_537, 10, 3000, 2].into_iter().cycle() {
                let (piece, behind) = rest.split_at(rest.len().min(size));
                operations.push(Overlapped::new(NULL));
                let operation = operations.last().unwrap();
                assert_eq!(add_to_stream(instance, stream, piece, operation), ERROR_IO_PENDING);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            operations.push(Overlapped::new(NULL));
            assert_eq!(complete_stream(instance, stream, operations.last().unwrap()), ERROR_IO_PENDING);
            if paused {
                assert!(operations.iter().all(|operation| operation.result(false).is_none()));
                world.daemon().go_on();
            }
            for operation in &operations {
                let packet = take(port, INFINITE).unwrap();
                assert_eq!((packet.error, packet.overlapped), (ERROR_SUCCESS, operation.raw()));
            }
            for version in [1, 2] {
                assert_eq!(information(instance, &name, version), information(instance, b"whole", version));
            }
        }
    });
}

#[test]
fn publishing_beyond_a_quota_is_told_as_a_want_of_memory() {
    case("publication::publishing_beyond_a_quota_is_told_as_a_want_of_memory", |world| {
        let instance = startup();
        let mut config = OpenOptions::new().append(true).open(world.home.join("peerdist.toml")).unwrap();
        let quotas = "max_publications_per_user = 3\nmax_contents_per_user = 5\nmax_staged_per_user = \"8 KiB\"\n";
        config.write_all(quotas.as_bytes()).unwrap();
        block_on(async { world.daemon().admin().reload().await }).unwrap();

        // Memory: for what is added at a time, and for content information.
        let large = publish_stream(instance, b"large", 0).unwrap();
        assert_eq!(added(instance, large, &[1; 10 << 10]), ERROR_NOT_ENOUGH_MEMORY);
        for piece in bytes(6 << 20).chunks(6 << 10) {
            assert_eq!(added(instance, large, piece), ERROR_SUCCESS);
        }
        assert_eq!(completed(instance, large), ERROR_NOT_ENOUGH_MEMORY);
        assert_eq!(open_information(instance, b"large", 0, 0), Err(ERROR_NOT_FOUND));
        assert_eq!(close_stream(instance, large), ERROR_SUCCESS);
        // Publications.
        for name in [b"1", b"2", b"3"] {
            publish(instance, name, &bytes(100));
        }
        assert_eq!(publish_stream(instance, b"4", 0), Err(ERROR_NOT_ENOUGH_MEMORY));
        assert_eq!(unpublish(instance, b"2"), ERROR_SUCCESS);
        publish(instance, b"4", &bytes(100));
        // Handles.
        let opened = [0; 5].map(|_| open_information(instance, b"1", 0, 0).unwrap());
        assert_eq!(open_information(instance, b"1", 0, 0), Err(ERROR_NOT_ENOUGH_MEMORY));
        assert_eq!(close_information(instance, opened[3]), ERROR_SUCCESS);
        assert!(open_information(instance, b"1", 0, 0).is_ok());
    });
}
