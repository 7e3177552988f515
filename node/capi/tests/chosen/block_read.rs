//! PeerDistClientBlockRead.

use std::time::{Duration, Instant};

use peerdist::abi::*;

use crate::support::*;

const DEFAULT: DWORD = PEERDIST_READ_TIMEOUT_DEFAULT;
const FIVE_SECONDS: Duration = Duration::from_secs(5);

#[test]
fn t54_before_content_information_is_complete_a_content_is_not_initialized() {
    case("block_read::t54_before_content_information_is_complete_a_content_is_not_initialized", |_| {
        let instance = startup();
        publish(instance, b"t54", &bytes(1000));
        for version in [1, 2] {
            let content = open_content(instance, 1, NULL, 0).unwrap();
            let early = || {
                for timeout in [0, DEFAULT] {
                    for max in [0, 10] {
                        let ended = [read, read_from_the_start].map(|read| read(instance, content, 0, max, timeout).0);
                        assert_eq!(ended.map(|ended| ended.error), [PEERDIST_ERROR_NOT_INITIALIZED; 2]);
                    }
                }
            };
            early();
            let at = Overlapped::new(NULL);
            let described = information(instance, b"t54", version);
            assert_eq!(add_information(instance, content, &described, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            early();
            assert_eq!(complete_information(instance, content, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            assert_eq!(read(instance, content, 0, 10, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
        }
    });
}

#[test]
fn t54_data_may_come_before_what_describes_it() {
    case("block_read::t54_data_may_come_before_what_describes_it", |_| {
        let (instance, whole) = (startup(), bytes(300_000));
        publish(instance, b"t54", &whole);
        for version in [1, 2] {
            let tag = version as u8;
            let content = open_content(instance, tag, NULL, 0).unwrap();
            let half = whole.len() / 2;
            assert_eq!(add(instance, content, half as u64, &whole[half..]).error, ERROR_SUCCESS);
            // What is wrong is found out later, and what lies behind the end is none of it.
            assert_eq!(add(instance, content, whole.len() as u64, &[1; 10]).error, ERROR_SUCCESS);
            assert_eq!(describe(instance, content, &information(instance, b"t54", version)), ERROR_SUCCESS);
            let last = whole.len() - 1000;
            assert_eq!(read(instance, content, last as u64, 2000, 0).1, whole[last..]);
            assert_eq!(read(instance, content, 0, 10, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
            assert_eq!(add(instance, content, 0, &whole[..half]).error, ERROR_SUCCESS);
            assert_eq!(read(instance, content, 0, whole.len(), 0).1, whole);

            let early = open_content(instance, tag + 2, NULL, 0).unwrap();
            flush_all(instance, tag);
            assert_eq!(add(instance, early, 0, &vec![7; whole.len()]).error, ERROR_SUCCESS);
            assert_eq!(describe(instance, early, &information(instance, b"t54", version)), ERROR_SUCCESS);
            assert_eq!(read(instance, early, 0, 10, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
        }
    });
}

/// A StreamRead.
fn read_from_the_start(instance: HANDLE, content: HANDLE, _: u64, max: usize, timeout: DWORD) -> (Ended, Vec<u8>) {
    read_on(instance, content, max, timeout)
}

#[test]
fn t56_where_nobody_answers_data_is_missing_once_the_probe_has_ended() {
    case_without_daemon("block_read::t56_where_nobody_answers_data_is_missing_once_the_probe_has_ended", |world| {
        let lan = Lan::new();
        world.start_with(&lan.client());
        let instance = startup();
        publish(instance, b"t56", &bytes(300_000));
        for version in [1, 2] {
            let handle = readable(instance, 1, &information(instance, b"t56", version));
            let began = Instant::now();
            let (ended, _) = read(instance, handle, 100_000, 10, DEFAULT);
            let elapsed = began.elapsed();
            assert_eq!(ended, Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: 200_000, offset: 100_000 });
            assert!(elapsed >= Duration::from_millis(300) && elapsed < FIVE_SECONDS, "{elapsed:?}");
        }
    });
}

#[test]
fn t56_where_peers_do_not_come_to_a_point_the_default_time_ends() {
    case_without_daemon("block_read::t56_where_peers_do_not_come_to_a_point_the_default_time_ends", |world| {
        let lan = Lan::new();
        let peer = lan.silent_peer();
        // One daemon's peer never sends what it says it has, the other one's Probe is never over.
        let never = "fetch.request_timeout = \"1h\"\n";
        for config in [lan.client() + never, Lan::new().patient_client()] {
            world.kill();
            world.start_with(&config);
            let instance = startup();
            wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
            publish(instance, b"t56", &bytes(300_000));
            let began = Instant::now();
            let reads = [1, 2].map(|version| {
                let handle = readable(instance, 1, &information(instance, b"t56", version));
                [DEFAULT, INFINITE].map(|timeout| {
                    let (at, mut buffer) = (Overlapped::at(100_000, event()), Box::new([0xEE; 10]));
                    assert_eq!(block_read(instance, handle, &mut buffer[..], timeout, &at), ERROR_IO_PENDING);
                    (handle, at, buffer)
                })
            });
            for [(_, default, _), _] in &reads {
                let ended = Ended { error: ERROR_TIMEOUT, bytes: 200_000, offset: 100_000 };
                assert_eq!(default.wait(), ended);
            }
            assert!((FIVE_SECONDS..2 * FIVE_SECONDS).contains(&began.elapsed()), "{:?}", began.elapsed());
            // Nothing special: almost fifty days.
            for [_, (handle, endless, buffer)] in &reads {
                assert_eq!(endless.result(false), None);
                assert_eq!(cancel(instance, *handle, Some(endless)), ERROR_SUCCESS);
                assert_eq!((endless.wait().error, &**buffer), (ERROR_OPERATION_ABORTED, &[0xEE; 10]));
            }
        }
        assert!(peer.was_asked());
    });
}

#[test]
fn t56_a_peer_that_makes_no_progress_is_given_up_before_the_default_time_ends() {
    case_without_daemon(
        "block_read::t56_a_peer_that_makes_no_progress_is_given_up_before_the_default_time_ends",
        |world| {
            let lan = Lan::new();
            let peer = lan.silent_peer();
            world.start_with(&(lan.client() + "fetch.request_timeout = \"200ms\"\n"));
            let instance = startup();
            publish(instance, b"t56", &bytes(300_000));
            for version in [1, 2] {
                let handle = readable(instance, 1, &information(instance, b"t56", version));
                let began = Instant::now();
                let (ended, _) = read(instance, handle, 100_000, 10, DEFAULT);
                assert_eq!((ended.error, ended.offset), (PEERDIST_ERROR_MISSING_DATA, 100_000));
                assert!(ended.bytes > 10);
                assert!(began.elapsed() < FIVE_SECONDS, "{:?}", began.elapsed());
            }
            assert!(peer.was_asked());
        },
    );
}

#[test]
fn t58_outside_of_the_content_there_is_nothing_to_count() {
    case("block_read::t58_outside_of_the_content_there_is_nothing_to_count", |_| {
        let instance = startup();
        for version in [1, 2] {
            let handle = cached(instance, 1, &[version as u8], &bytes(1000), version);
            for max in [0, 10] {
                assert_eq!(read(instance, handle, 999, max, 0).0.bytes, 1);
                for offset in [1000, 1001, FOUR_GIB, u64::MAX >> 1, u64::MAX] {
                    let (ended, _) = read(instance, handle, offset, max, 0);
                    assert_eq!(ended.error, PEERDIST_ERROR_NO_MORE, "{offset}");
                }
            }
        }
    });
}

#[test]
fn t60_what_is_missing_goes_from_the_offset_to_what_is_cached_or_to_the_end() {
    case("block_read::t60_what_is_missing_goes_from_the_offset_to_what_is_cached_or_to_the_end", |_| {
        let instance = startup();
        let content = bytes(500_000);
        publish(instance, b"t60", &content);
        for version in [1, 2] {
            let described = information(instance, b"t60", version);
            let handle = readable(instance, 1, &described);
            let block = blocks(&described)[2].clone();
            let part = |from: u64, end: u64| &content[from as usize..end as usize];
            assert_eq!(add(instance, handle, block.start, part(block.start, block.end)).error, ERROR_SUCCESS);
            // A piece of the next block counts, too.
            let piece = block.end + 100..block.end + 200;
            assert_eq!(add(instance, handle, piece.start, part(piece.start, piece.end)).error, ERROR_SUCCESS);
            for timeout in [0, DEFAULT] {
                for (offset, end) in [
                    (0, block.start),
                    (1, block.start),
                    (block.start - 1, block.start),
                    (block.end, piece.start),
                    (block.end + 7, piece.start),
                    (piece.end, 500_000),
                    (499_999, 500_000),
                ] {
                    let (ended, _) = read(instance, handle, offset, 1, timeout);
                    let missing = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: (end - offset) as u32, offset };
                    assert_eq!(ended, missing, "version {version}, {timeout} ms");
                }
            }
        }
    });
}

#[test]
fn t63_a_missing_range_of_more_than_32_bits_is_cut() {
    case("block_read::t63_a_missing_range_of_more_than_32_bits_is_cut", |_| {
        let instance = startup();
        for version in [1, 2] {
            let handle = readable(instance, 1, &huge(version, &bytes(1000)));
            let missing = |offset| {
                let (ended, _) = read(instance, handle, offset, 1, 0);
                assert_eq!((ended.error, ended.offset), (PEERDIST_ERROR_MISSING_DATA, offset));
                ended.bytes
            };
            assert_eq!([0, 1, 1000].map(missing), [DWORD::MAX; 3]);
            assert_eq!([1001, 1002].map(missing), [DWORD::MAX, DWORD::MAX - 1]);
            assert_eq!(add(instance, handle, FOUR_GIB, &bytes(1000)).error, ERROR_SUCCESS);
            assert_eq!([0, 1, 2].map(missing), [DWORD::MAX, DWORD::MAX, DWORD::MAX - 1]);
        }
    });
}
