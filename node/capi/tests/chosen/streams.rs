//! PeerDistClientStreamRead: what moves a stream, and what does not.

use std::time::{Duration, Instant};

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t67_pieces_of_blocks_that_were_added_are_read_and_not_told_as_missing() {
    case_without_daemon("streams::t67_pieces_of_blocks_that_were_added_are_read_and_not_told_as_missing", |world| {
        world.start_with(&patient());
        let (instance, content) = (startup(), bytes(2 * BLOCK));
        for (version, timeout) in [(1, 0), (2, 0), (1, 100), (2, 100), (1, HOUR), (2, HOUR)] {
            let name = [b't', version as u8, timeout as u8];
            let handle = absent(instance, 1, &name, &content, version);
            add_ranges(instance, handle, &content, &[1000..1500, 3000..3010]);
            let error = if timeout == 0 { PEERDIST_ERROR_MISSING_DATA } else { ERROR_TIMEOUT };
            for (offset, length) in [(0, 1000), (1000, 500), (1500, 1500), (3000, 10)] {
                let is_hole = [0, 1500].contains(&offset);
                if is_hole && timeout == HOUR {
                    // It waits, and takes what is added as soon as that is there.
                    let waiting = Reading::stream(instance, handle, BLOCK, HOUR, NULL);
                    assert!(waiting.is_pending());
                    add_range(instance, handle, &content, offset..offset + length);
                    let (ended, piece) = waiting.wait();
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
                    assert!(piece.len() >= length && content[offset..].starts_with(&piece));
                    break;
                }
                let (ended, piece) = read_on(instance, handle, BLOCK, timeout);
                assert_eq!((ended.bytes, ended.offset), (length as u32, offset as u64));
                assert_eq!(ended.error, if is_hole { error } else { ERROR_SUCCESS });
                assert!(is_hole || piece == content[offset..offset + length]);
            }
        }
    });
}

#[test]
fn t70_a_query_of_a_stream_moves_nothing() {
    case("streams::t70_a_query_of_a_stream_moves_nothing", |_| {
        let (instance, content) = (startup(), bytes(4 * BLOCK));
        for version in [1, 2] {
            let handle = absent(instance, 1, &[b't', version as u8], &content, version);
            add_ranges(instance, handle, &content, &[0..2 * BLOCK, 3 * BLOCK..4 * BLOCK]);
            let query = |offset: usize, bytes: usize| {
                for timeout in [0, 1000] {
                    let expected = Ended { error: ERROR_SUCCESS, bytes: bytes as u32, offset: offset as u64 };
                    assert_eq!(read_on(instance, handle, 0, timeout).0, expected);
                }
            };
            query(0, 2 * BLOCK);
            let (first, piece) = read_on(instance, handle, 1000, 0);
            assert_eq!((first.error, first.offset, piece), (ERROR_SUCCESS, 0, content[..1000].to_vec()));
            let mut offset = 1000;
            while offset < 2 * BLOCK {
                query(offset, 2 * BLOCK - offset);
                let (ended, piece) = read_on(instance, handle, 50_000, 0);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
                offset += piece.len();
            }
            // In a hole there are no bytes, and it is not skipped.
            query(2 * BLOCK, 0);
            let hole = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: BLOCK as u32, offset: 2 * BLOCK as u64 };
            assert_eq!(read_on(instance, handle, 10, 0).0, hole);
            query(3 * BLOCK, BLOCK);
            while read_on(instance, handle, BLOCK, 0).0.error == ERROR_SUCCESS {}
            for _ in 0..2 {
                assert_eq!(read_on(instance, handle, 0, 0).0.error, PEERDIST_ERROR_NO_MORE);
            }
        }
    });
}

#[test]
fn t70_a_block_read_does_not_move_a_stream() {
    case("streams::t70_a_block_read_does_not_move_a_stream", |_| {
        let (instance, content) = (startup(), bytes(2 * BLOCK));
        let handle = cached(instance, 1, b"t70", &content, 1);
        for offset in [0, 1000, 2000] {
            assert_eq!(read(instance, handle, 70_000, 500, 0).1, content[70_000..70_500]);
            let (ended, piece) = read_on(instance, handle, 1000, 0);
            assert_eq!((ended.error, ended.offset, piece), (0, offset, content[offset as usize..][..1000].to_vec()));
        }
    });
}

#[test]
fn t72_a_cancelled_stream_read_skips_nothing() {
    case_without_daemon("streams::t72_a_cancelled_stream_read_skips_nothing", |world| {
        world.start_with(&patient());
        let (instance, content) = (startup(), bytes(3 * BLOCK));
        for version in [1, 2] {
            let handle = absent(instance, version as u8, &[b't', version as u8], &content, version);
            add_range(instance, handle, &content, 0..BLOCK);
            let mut offset = 0;
            while offset < BLOCK {
                let (ended, piece) = read_on(instance, handle, BLOCK, HOUR);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
                offset += piece.len();
            }
            // It waits for a hole, and another one and a query behind it for their turn.
            let waiting = Reading::stream(instance, handle, 100, HOUR, NULL);
            let queued = Reading::stream(instance, handle, 100, HOUR, NULL);
            let query = Reading::stream(instance, handle, 0, HOUR, NULL);
            for cancelled in [&queued, &waiting] {
                assert!(query.is_pending());
                assert_eq!(cancel(instance, handle, Some(&cancelled.at)), ERROR_SUCCESS);
                cancelled.assert_cancelled();
            }
            assert_eq!(query.wait().0, Ended { error: ERROR_SUCCESS, bytes: 0, offset: BLOCK as u64 });
            add_range(instance, handle, &content, BLOCK..3 * BLOCK);
            while offset < 3 * BLOCK {
                let (ended, piece) = read_on(instance, handle, BLOCK, HOUR);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
                assert!(content[offset..].starts_with(&piece));
                offset += piece.len();
            }
        }
    });
}

#[test]
fn t72_stream_reads_that_are_cancelled_or_not_give_every_byte_once() {
    case("streams::t72_stream_reads_that_are_cancelled_or_not_give_every_byte_once", |_| {
        let (instance, content) = (startup(), bytes(150_000));
        let handle = cached(instance, 1, b"t72", &content, 1);
        let (mut got, mut rounds, mut cancelled) = (Vec::new(), 0_u64, 0);
        while got.len() < content.len() {
            let read = Reading::stream(instance, handle, 1000, 0, NULL);
            // From at once to a while later, so that every stage of it is met.
            let until = Instant::now() + Duration::from_micros(rounds * 7 % 1000);
            while Instant::now() < until {}
            rounds += 1;
            let code = cancel(instance, handle, Some(&read.at));
            let (ended, piece) = read.wait();
            match ended.error {
                ERROR_OPERATION_ABORTED => {
                    assert_eq!(code, ERROR_SUCCESS);
                    cancelled += 1;
                }
                error => {
                    assert_eq!((error, code), (ERROR_SUCCESS, PEERDIST_ERROR_OPERATION_NOTFOUND));
                    assert_eq!(ended.offset, got.len() as u64);
                    got.extend_from_slice(&piece);
                }
            }
        }
        assert!(got == content);
        assert!(cancelled > 0);
    });
}

#[test]
fn t71_a_stream_begins_where_its_range_does_though_the_completion_was_cancelled() {
    const NAME: &str = "streams::t71_a_stream_begins_where_its_range_does_though_the_completion_was_cancelled";
    case(NAME, |_| {
        let instance = startup();
        publish(instance, b"t71", &bytes(4 * BLOCK));
        let described = information_of_slice(instance, b"t71", 2 * BLOCK..4 * BLOCK, 1);
        let (began, mut seen) = (Instant::now(), 0);
        // It is cancelled sooner and later, until the daemon had completed it a few times all the same.
        for round in 0_u64.. {
            if seen == 5 {
                break;
            }
            assert!(began.elapsed() < LIMIT, "it is never completed before it is cancelled");
            let handle = open_content(instance, 1, NULL, 0).unwrap();
            let at = Overlapped::new(NULL);
            assert_eq!(add_information(instance, handle, &described, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
            let until = Instant::now() + Duration::from_micros(round * 7 % 1500);
            while Instant::now() < until {}
            let was_cancelled = cancel(instance, handle, Some(&at)) == ERROR_SUCCESS;
            assert_eq!(at.wait().error, if was_cancelled { ERROR_OPERATION_ABORTED } else { ERROR_SUCCESS });
            assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
            match at.wait().error {
                PEERDIST_ERROR_ALREADY_COMPLETED => seen += u32::from(was_cancelled),
                error => assert_eq!((error, was_cancelled), (ERROR_SUCCESS, true)),
            }
            let (ended, _) = read_on(instance, handle, 100, 0);
            assert_eq!((ended.error, ended.offset), (PEERDIST_ERROR_MISSING_DATA, 2 * BLOCK as u64));
            assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
        }
    });
}
