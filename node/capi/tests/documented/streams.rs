//! PeerDistClientStreamRead.

use std::ops::Range;

use peerdist::abi::*;

use crate::support::*;

/// A StreamRead that gives bytes from `offset` on. Returns where they end.
fn expect_bytes(instance: HANDLE, handle: HANDLE, max: usize, offset: usize, content: &[u8]) -> usize {
    let (ended, piece) = read_on(instance, handle, max, 0);
    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
    assert!(!piece.is_empty() && piece.len() <= max);
    assert!(content[offset..].starts_with(&piece));
    offset + piece.len()
}

/// StreamReads that give all of a range.
fn expect_range(instance: HANDLE, handle: HANDLE, max: usize, range: Range<usize>, content: &[u8]) {
    let mut offset = range.start;
    while offset < range.end {
        offset = expect_bytes(instance, handle, max, offset, content);
    }
    assert_eq!(offset, range.end);
}

fn expect_missing(instance: HANDLE, handle: HANDLE, max: usize, hole: Range<usize>) {
    let (ended, _) = read_on(instance, handle, max, 0);
    let missing = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: hole.len() as u32, offset: hole.start as u64 };
    assert_eq!(ended, missing);
}

fn expect_end(instance: HANDLE, handle: HANDLE) {
    assert_eq!(read_on(instance, handle, 10, 0).0.error, PEERDIST_ERROR_NO_MORE);
}

#[test]
fn t66_stream_reads_give_the_content_from_its_beginning_to_its_end() {
    case("streams::t66_stream_reads_give_the_content_from_its_beginning_to_its_end", |_| {
        let instance = startup();
        let content = bytes(2_500_001);
        for version in [1, 2] {
            let name = [b't', version as u8];
            cached(instance, 1, &name, &content, version);
            let described = information(instance, &name, version);
            for (max, timeout) in [(10_007, 0), (300_000, 1000), (content.len() + 1, 0), (1 << 20, 0xFFFF_FFFE)] {
                let handle = readable(instance, 2, &described);
                let mut got = Vec::new();
                while got.len() < content.len() {
                    let (ended, piece) = read_on(instance, handle, max, timeout);
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, got.len() as u64));
                    assert!(!piece.is_empty() && piece.len() <= max);
                    got.extend_from_slice(&piece);
                }
                assert!(got == content);
                for _ in 0..2 {
                    assert_eq!(read_on(instance, handle, max, timeout).0.error, PEERDIST_ERROR_NO_MORE);
                }
                assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
            }
        }
    });
}

#[test]
fn t67_a_stream_skips_a_hole_that_it_told_of() {
    case("streams::t67_a_stream_skips_a_hole_that_it_told_of", |_| {
        let instance = startup();
        let content = bytes(6 * BLOCK + 1000);
        let end = content.len();
        for version in [1, 2] {
            let name = [b't', version as u8];
            let handle = absent(instance, 1, &name, &content, version);
            add_ranges(instance, handle, &content, &[BLOCK..2 * BLOCK, 3 * BLOCK..5 * BLOCK]);
            expect_missing(instance, handle, 100, 0..BLOCK);
            expect_range(instance, handle, 20_000, BLOCK..2 * BLOCK, &content);
            expect_missing(instance, handle, 1, 2 * BLOCK..3 * BLOCK);
            // What is delivered in its place is not read any more.
            add_ranges(instance, handle, &content, &[0..BLOCK, 2 * BLOCK..3 * BLOCK]);
            expect_range(instance, handle, 20_000, 3 * BLOCK..5 * BLOCK, &content);
            expect_missing(instance, handle, 1 << 20, 5 * BLOCK..end);
            expect_end(instance, handle);
            expect_end(instance, handle);
            assert_eq!(read(instance, handle, 0, 100, 0).1, content[..100]);
        }
    });
}

#[test]
fn t67_a_stream_skips_what_did_not_come_in_time() {
    case_without_daemon("streams::t67_a_stream_skips_what_did_not_come_in_time", |world| {
        // Peers are waited for longer than the reads wait.
        world.start_with(&patient());
        let instance = startup();
        let content = bytes(3 * BLOCK);
        let handle = absent(instance, 1, b"t67", &content, 1);
        add_range(instance, handle, &content, BLOCK..2 * BLOCK);
        for (hole, next) in [(0, Some(BLOCK)), (2 * BLOCK as u64, None)] {
            let (ended, _) = read_on(instance, handle, 100, 50);
            assert_eq!(ended, Ended { error: ERROR_TIMEOUT, bytes: BLOCK as u32, offset: hole });
            match next {
                Some(next) => expect_range(instance, handle, BLOCK, next..next + BLOCK, &content),
                None => expect_end(instance, handle),
            }
        }
    });
}

#[test]
fn t68_queued_stream_reads_are_filled_in_the_order_of_their_calls() {
    case("streams::t68_queued_stream_reads_are_filled_in_the_order_of_their_calls", |world| {
        let instance = startup();
        let content = bytes(300_000);
        for version in [1, 2] {
            let handle = cached(instance, 1, &[b't', version as u8], &content, version);
            let mut offset = 0;
            for held_up in [true, false, false, false] {
                if held_up {
                    world.daemon().pause();
                }
                let reads = [1000, 10, 3000].map(|max| (max, Reading::stream(instance, handle, max, 0, event())));
                if held_up {
                    assert!(reads.iter().all(|(_, read)| read.is_pending()));
                    world.daemon().go_on();
                }
                for (max, read) in &reads {
                    let (ended, piece) = read.wait();
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
                    assert!(!piece.is_empty() && piece.len() <= *max);
                    assert!(content[offset..].starts_with(&piece));
                    offset += piece.len();
                }
            }
        }
    });
}

#[test]
fn t69_a_stream_read_takes_no_offset_and_tells_its_own() {
    case("streams::t69_a_stream_read_takes_no_offset_and_tells_its_own", |_| {
        let instance = startup();
        let content = bytes(2 * BLOCK);
        let handle = absent(instance, 1, b"t69", &content, 1);
        add_range(instance, handle, &content, 0..BLOCK);
        let (mut offset, mut buffer) = (0, [0; 100]);
        for wrong in [1, 5000, 3 * BLOCK as u64, 1 << 40, u64::MAX] {
            let at = Overlapped::at(wrong, NULL);
            assert_eq!(stream_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
            let ended = at.wait();
            assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset as u64));
            let end = offset + ended.bytes as usize;
            assert_eq!(buffer[..ended.bytes as usize], content[offset..end]);
            offset = end;
        }
        expect_range(instance, handle, BLOCK, offset..BLOCK, &content);
        // Of a hole, too.
        let at = Overlapped::at(7, NULL);
        assert_eq!(stream_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
        let hole = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: BLOCK as u32, offset: BLOCK as u64 };
        assert_eq!(at.wait(), hole);
        let at = Overlapped::at(7, NULL);
        assert_eq!(stream_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
        assert_eq!(at.wait().error, PEERDIST_ERROR_NO_MORE);
    });
}

#[test]
fn t71_the_stream_of_a_range_begins_and_ends_with_the_range() {
    case("streams::t71_the_stream_of_a_range_begins_and_ends_with_the_range", |_| {
        let instance = startup();
        let content = bytes(600_000);
        publish(instance, b"t71", &content);
        for version in [1, 2] {
            for range in [2 * BLOCK..4 * BLOCK, 100_000..450_000, 5 * BLOCK..600_000, 0..BLOCK] {
                let described = information_of_slice(instance, b"t71", range.clone(), version);
                let tag = version as u8;
                // None of it is here.
                let handle = readable(instance, tag, &described);
                expect_missing(instance, handle, 100, range.clone());
                expect_end(instance, handle);
                // All of it is.
                let handle = readable(instance, tag, &described);
                add_range(instance, handle, &content, range.clone());
                expect_range(instance, handle, 50_000, range.clone(), &content);
                expect_end(instance, handle);
                expect_end(instance, handle);
                let at = Overlapped::new(NULL);
                assert_eq!(flush(instance, tag, NULL, 0, &at), ERROR_IO_PENDING);
                assert_eq!(at.wait().error, ERROR_SUCCESS);
            }
        }
    });
}
