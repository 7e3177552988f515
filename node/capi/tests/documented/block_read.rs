//! PeerDistClientBlockRead.

use std::ptr;
use std::time::{Duration, Instant};

use peerdist::abi::*;
use peerdist::peerdist::calls::client::PeerDistClientBlockRead;
use peerdist_protocol::discovery::Probe;

use crate::support::*;

const DEFAULT: DWORD = PEERDIST_READ_TIMEOUT_DEFAULT;
/// A minute, which nothing here waits for unless it is broken.
const LONG: DWORD = 60_000;

#[test]
fn t55_with_a_timeout_of_zero_nobody_is_asked() {
    case_without_daemon("block_read::t55_with_a_timeout_of_zero_nobody_is_asked", |world| {
        let lan = Lan::new();
        world.start_with(&lan.client());
        let peer = world.other("peer", &lan.server());
        let instance = startup();
        for version in [1, 2] {
            let content = bytes(300_000 + version as usize);
            let name = [version as u8];
            publish(instance, &name, &content);
            let described = information(instance, &name, version);
            hold(&world.home.join("peer"), &described, &content);
            let handle = readable(instance, 1, &described);
            let last = content.len() as u64 - 1;

            lan.heard();
            let before = (probes_sent(world.daemon()), requests(&peer));
            for offset in [0, 1, 65_536, last] {
                let (ended, buffer) = read(instance, handle, offset, 1000, 0);
                assert_eq!(ended.error, PEERDIST_ERROR_MISSING_DATA);
                assert_eq!(buffer, [0xEE; 1000]);
            }
            assert_eq!(lan.heard(), Vec::<Vec<u8>>::new());
            assert_eq!((probes_sent(world.daemon()), requests(&peer)), before);

            // With a timeout the same read asks, and gets it.
            let (ended, got) = read(instance, handle, 0, 1000, LONG);
            assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, 0));
            assert_eq!(got, content[..got.len()]);
            let ids = segment_ids(&described);
            let heard = lan.heard();
            let mut probes = heard.iter().map(|datagram| Probe::parse(datagram).unwrap());
            assert!(probes.any(|probe| probe.ids().any(|id| *id == ids[0])), "{heard:?}");
            assert!(probes_sent(world.daemon()) > before.0);

            // Not even a peer that is known is asked.
            let asked = requests(&peer);
            assert!(asked > before.1);
            assert_eq!(read(instance, handle, last, 1, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
            assert_eq!((lan.heard(), requests(&peer)), (Vec::new(), asked));
            let (ended, got) = read(instance, handle, last, 1, LONG);
            assert_eq!((ended.error, got.last()), (ERROR_SUCCESS, content.last()));
            assert!(requests(&peer) > asked);
        }
    });
}

#[test]
fn t56_silent_peers_end_a_read_of_the_default_time() {
    case_without_daemon("block_read::t56_silent_peers_end_a_read_of_the_default_time", |world| {
        let lan = Lan::new();
        let peer = lan.silent_peer();
        world.start_with(&lan.client());
        let instance = startup();
        let content = bytes(300_000);
        publish(instance, b"t56", &content);
        let handles = [1, 2].map(|version| readable(instance, 1, &information(instance, b"t56", version)));
        let began = Instant::now();
        let mut buffer = [[0xEE; 1000]; 2];
        let ats = [(); 2].map(|()| Overlapped::at(100_000, event()));
        for ((handle, at), buffer) in handles.iter().zip(&ats).zip(&mut buffer) {
            assert_eq!(block_read(instance, *handle, buffer, DEFAULT, at), ERROR_IO_PENDING);
        }
        for at in &ats {
            let ended = at.wait();
            assert!([ERROR_TIMEOUT, PEERDIST_ERROR_MISSING_DATA].contains(&ended.error), "{ended:?}");
            assert!(ended.bytes > 0 && ended.offset + u64::from(ended.bytes) <= 300_000, "{ended:?}");
        }
        assert!(peer.was_asked());
        assert_eq!(buffer, [[0xEE; 1000]; 2]);
        // A loaded machine may take its time; the next thing that takes longer is ten seconds or more.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn t57_what_is_cached_is_given_at_once_however_little() {
    case_without_daemon("block_read::t57_what_is_cached_is_given_at_once_however_little", |world| {
        const LITTLE: usize = 10 << 10;
        let lan = Lan::new();
        world.start_with(&lan.patient_client());
        let instance = startup();
        let content = bytes(2 << 20);
        publish(instance, b"t57", &content);
        for version in [1, 2] {
            let described = information(instance, b"t57", version);
            let blocks = blocks(&described);
            let short = |handle, offset: usize| {
                for timeout in [0, DEFAULT, LONG] {
                    let began = Instant::now();
                    let (ended, got) = read(instance, handle, offset as u64, 1 << 20, timeout);
                    let expected = Ended { error: ERROR_SUCCESS, bytes: LITTLE as DWORD, offset: offset as u64 };
                    assert_eq!(ended, expected, "{version} {timeout}");
                    assert_eq!(got, content[offset..][..LITTLE]);
                    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
                }
            };
            // The last ones of a block that is in the cache, and none of the next one.
            let handle = readable(instance, 1, &described);
            let block = blocks[1].start as usize..blocks[1].end as usize;
            assert_eq!(add(instance, handle, blocks[1].start, &content[block.clone()]).error, ERROR_SUCCESS);
            short(handle, block.end - LITTLE);
            short(readable(instance, 2, &described), block.end - LITTLE);
            // A piece of a block that was added.
            let middle = blocks[3].start as usize + 5;
            assert_eq!(add(instance, handle, middle as u64, &content[middle..][..LITTLE]).error, ERROR_SUCCESS);
            short(handle, middle);
        }
        assert_eq!((lan.heard(), probes_sent(world.daemon())), (Vec::new(), 0));
    });
}

#[test]
fn t58_a_read_of_no_bytes_tells_how_many_are_cached_and_asks_nobody() {
    case_without_daemon("block_read::t58_a_read_of_no_bytes_tells_how_many_are_cached_and_asks_nobody", |world| {
        let lan = Lan::new();
        world.start_with(&lan.patient_client());
        let peer = world.other("peer", &lan.server());
        let instance = startup();
        let content = bytes(1 << 20);
        publish(instance, b"t58", &content);
        for version in [1, 2] {
            let described = information(instance, b"t58", version);
            let blocks = blocks(&described);
            hold(&world.home.join("peer"), &described, &content);
            let handle = readable(instance, 1, &described);
            let (third, fourth, last) = (&blocks[2], &blocks[3], &blocks[blocks.len() - 1]);
            for block in [third, fourth, last] {
                let bytes = &content[block.start as usize..block.end as usize];
                assert_eq!(add(instance, handle, block.start, bytes).error, ERROR_SUCCESS);
            }
            for (offset, run) in [
                (0, 0),
                (third.start - 1, 0),
                (third.start, fourth.end - third.start),
                (third.start + 1, fourth.end - third.start - 1),
                (third.end, fourth.end - third.end),
                (fourth.end - 1, 1),
                (fourth.end, 0),
                (last.start, last.end - last.start),
                (last.end - 1, 1),
            ] {
                for timeout in [0, 1, DEFAULT, LONG] {
                    let at = Overlapped::at(offset, event());
                    // SAFETY: `at` stays until the operation has ended.
                    let code =
                        unsafe { PeerDistClientBlockRead(instance, handle, 0, ptr::null_mut(), timeout, at.raw()) };
                    assert_eq!(code, ERROR_IO_PENDING);
                    let expected = Ended { error: ERROR_SUCCESS, bytes: run as DWORD, offset };
                    assert_eq!(at.wait(), expected, "version {version}, {timeout} ms");
                }
            }
        }
        assert_eq!((lan.heard(), probes_sent(world.daemon()), requests(&peer)), (Vec::new(), 0, 0));
    });
}

#[test]
fn t59_bytes_need_a_buffer() {
    case("block_read::t59_bytes_need_a_buffer", |_| {
        let instance = startup();
        let content = cached(instance, 1, b"t59", &bytes(1000), 1);
        for count in [1, 1000, DWORD::MAX] {
            for timeout in [0, DEFAULT] {
                let event = event();
                let at = Overlapped::at(3, event);
                // SAFETY: `at` stays.
                let code =
                    unsafe { PeerDistClientBlockRead(instance, content, count, ptr::null_mut(), timeout, at.raw()) };
                assert_eq!((code, is_set(event), at.internal()), (ERROR_INVALID_PARAMETER, false, 0));
            }
        }
    });
}

#[test]
fn t60_what_is_missing_may_be_more_than_the_buffer_takes() {
    case("block_read::t60_what_is_missing_may_be_more_than_the_buffer_takes", |_| {
        let instance = startup();
        let content = bytes(500_000);
        publish(instance, b"t60", &content);
        for version in [1, 2] {
            let described = information(instance, b"t60", version);
            let handle = readable(instance, 1, &described);
            let block = blocks(&described)[2].clone();
            let bytes = &content[block.start as usize..block.end as usize];
            assert_eq!(add(instance, handle, block.start, bytes).error, ERROR_SUCCESS);
            for timeout in [0, DEFAULT] {
                for offset in [0, 1, block.start - 2, block.end, 499_998] {
                    let (ended, buffer) = read(instance, handle, offset, 1, timeout);
                    let missing = ended.offset..ended.offset + u64::from(ended.bytes);
                    assert_eq!((ended.error, buffer), (PEERDIST_ERROR_MISSING_DATA, vec![0xEE]));
                    assert!(ended.bytes > 1 && missing.end <= 500_000, "{missing:?}");
                    assert!(missing.contains(&offset), "{offset} of {missing:?}");
                    assert!(missing.end <= block.start || missing.start >= block.end, "{missing:?} of {block:?}");
                }
            }
        }
    });
}

#[test]
fn t61_what_was_missing_is_read_once_exactly_that_was_added() {
    case_without_daemon("block_read::t61_what_was_missing_is_read_once_exactly_that_was_added", |world| {
        let lan = Lan::new();
        world.start_with(&lan.patient_client());
        let instance = startup();
        let content = bytes(1_000_000);
        publish(instance, b"t61", &content);
        // Missing at once, and not there in time.
        for (timeout, code) in [(0, PEERDIST_ERROR_MISSING_DATA), (30, ERROR_TIMEOUT)] {
            for version in [1, 2] {
                let described = information(instance, b"t61", version);
                let handle = readable(instance, 1, &described);
                let mut holes = 0;
                for block in blocks(&described).iter().step_by(3) {
                    let bytes = &content[block.start as usize..block.end as usize];
                    assert_eq!(add(instance, handle, block.start, bytes).error, ERROR_SUCCESS);
                }
                let mut position = 0;
                while position < 1_000_000 {
                    let (mut ended, mut got) = read(instance, handle, position, 30_000, timeout);
                    if ended.error != ERROR_SUCCESS {
                        assert_eq!(ended.error, code);
                        let bytes = &content[ended.offset as usize..][..ended.bytes as usize];
                        assert_eq!(add(instance, handle, ended.offset, bytes).error, ERROR_SUCCESS);
                        holes += 1;
                        (ended, got) = read(instance, handle, position, 30_000, timeout);
                    }
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, position), "{version}");
                    assert_eq!(got, content[position as usize..][..got.len()]);
                    position += got.len() as u64;
                }
                assert!(holes >= 3, "{holes} holes");
                let flushed = Overlapped::new(NULL);
                assert_eq!(flush(instance, 1, NULL, 0, &flushed), ERROR_IO_PENDING);
                assert_eq!((flushed.wait().error, close_content(instance, handle)), (ERROR_SUCCESS, ERROR_SUCCESS));
            }
        }
    });
}

#[test]
fn t62_many_reads_are_outstanding_and_each_tells_its_own_offset() {
    case_without_daemon("block_read::t62_many_reads_are_outstanding_and_each_tells_its_own_offset", |world| {
        const READS: usize = 64;
        let lan = Lan::new();
        world.start_with(&lan.patient_client());
        let (instance, port) = (startup(), port());
        let content = bytes(9 << 20);
        publish(instance, b"t62", &content);
        for version in [1, 2] {
            let described = information(instance, b"t62", version);
            let blocks = blocks(&described);
            let handle = open_content(instance, 1, port, 62).unwrap();
            let at = Overlapped::new(event());
            assert_eq!(add_information(instance, handle, &described, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);

            // They wait, as nothing is there.
            let places: Vec<_> =
                blocks.iter().enumerate().map(|(n, block)| (block.start + n as u64, block)).take(READS).collect();
            assert_eq!(places.len(), READS);
            let mut reads: Vec<_> =
                places.iter().map(|(offset, _)| (Overlapped::at(*offset, NULL), vec![0xEE; 100])).collect();
            for (at, buffer) in &mut reads {
                assert_eq!(block_read(instance, handle, buffer, LONG, at), ERROR_IO_PENDING);
            }
            for (at, _) in &reads {
                assert_eq!((at.internal(), take(port, 0)), (0x103, None));
            }
            // In the order in which they are fed.
            for ((offset, block), (at, buffer)) in places.iter().zip(&reads).rev() {
                let bytes = &content[block.start as usize..block.end as usize];
                let added = Overlapped::at(block.start, event());
                assert_eq!(add_data(instance, handle, bytes, &added), ERROR_IO_PENDING);
                let packet = take(port, INFINITE).unwrap();
                assert_eq!((packet.error, packet.key, packet.overlapped), (ERROR_SUCCESS, 62, at.raw()));
                assert_eq!((packet.bytes, added.wait().error), (100, ERROR_SUCCESS));
                assert_eq!(at.wait().offset, *offset);
                assert_eq!(*buffer, content[*offset as usize..][..100]);
            }
            // All at once, from the cache.
            world.daemon().pause();
            for (n, (at, buffer)) in reads.iter_mut().enumerate() {
                at.set_offset(places[n].0 + 1);
                assert_eq!(block_read(instance, handle, buffer, 0, at), ERROR_IO_PENDING);
            }
            assert_eq!(take(port, 0), None);
            world.daemon().go_on();
            let mut packets: Vec<_> = reads.iter().map(|_| take(port, INFINITE).unwrap().overlapped).collect();
            let mut expected: Vec<_> = reads.iter().map(|(at, _)| at.raw()).collect();
            packets.sort();
            expected.sort();
            assert_eq!((packets, take(port, 0)), (expected, None));
            for ((offset, _), (at, buffer)) in places.iter().zip(&reads) {
                assert_eq!(at.wait(), Ended { error: ERROR_SUCCESS, bytes: 100, offset: offset + 1 });
                assert_eq!(*buffer, content[*offset as usize + 1..][..100]);
            }
        }
    });
}

#[test]
fn t63_offsets_have_64_bits_in_both_directions() {
    case("block_read::t63_offsets_have_64_bits_in_both_directions", |_| {
        let instance = startup();
        let tail = bytes(150_000);
        for version in [1, 2] {
            let handle = readable(instance, 1, &huge(version, &tail));
            let end = FOUR_GIB + 150_000;
            for offset in [FOUR_GIB, FOUR_GIB + 1, FOUR_GIB + 70_000, end - 1] {
                let (ended, _) = read(instance, handle, offset, 1000, 0);
                assert_eq!(ended.error, PEERDIST_ERROR_MISSING_DATA);
                let missing = ended.offset..ended.offset + u64::from(ended.bytes);
                assert!(missing.contains(&offset) && missing.end <= end, "{missing:?}");
            }
            assert_eq!(add(instance, handle, FOUR_GIB, &tail).error, ERROR_SUCCESS);
            // Another handle has what was verified alone.
            let other = readable(instance, 2, &huge(version, &tail));
            for offset in [0_usize, 1, 70_000, 149_999] {
                let at = FOUR_GIB + offset as u64;
                let (ended, got) = read(instance, other, at, 1000, 0);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, at));
                assert_eq!(got, tail[offset..][..got.len()]);
                let (ended, _) = read(instance, other, at, 0, 0);
                assert_eq!(ended, Ended { error: ERROR_SUCCESS, bytes: 150_000 - offset as DWORD, offset: at });
                // Four gigabytes before is another place.
                assert_eq!(read(instance, other, offset as u64, 1000, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
                assert_eq!(read(instance, other, offset as u64, 0, 0).0.bytes, 0);
            }
            // A stream of the end alone begins there, whatever was in its OVERLAPPED.
            let stream = readable(instance, 3, &end_of_huge(version, &tail));
            let (ended, got) = read_on(instance, stream, 1000, 0);
            assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, FOUR_GIB));
            assert_eq!(got, tail[..got.len()]);
            for behind in [end + 1, 2 * FOUR_GIB, 1 << 40, 1 << 63] {
                assert_eq!(read(instance, other, behind, 1000, 0).0.error, PEERDIST_ERROR_NO_MORE);
            }
        }
    });
}
