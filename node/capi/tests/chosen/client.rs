//! Handles of contents, and content information that is none.

use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use peerdist::abi::*;
use peerdist::peerdist::calls::client::PeerDistClientGetInformationByHandle;

use crate::support::*;

const BAD: DWORD = ERROR_INVALID_HANDLE;

fn get_information(instance: HANDLE, content: HANDLE, size: DWORD, out: &mut [BOOL; 2]) -> DWORD {
    // SAFETY: there is room for all sizes that are asked for here.
    unsafe {
        PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, size, out.as_mut_ptr().cast())
    }
}

/// What every function says that takes a content handle.
fn codes(instance: HANDLE, content: HANDLE) -> [DWORD; 8] {
    let event = event();
    let (at, mut buffer, mut out) = (Overlapped::new(event), [0xEE; 10], [7; 2]);
    let piece = [1; 10];
    let codes = [
        add_information(instance, content, &piece, &at),
        complete_information(instance, content, &at),
        add_data(instance, content, &piece, &at),
        block_read(instance, content, &mut buffer, 0, &at),
        stream_read(instance, content, &mut buffer, 0, &at),
        cancel(instance, content, None),
        get_information(instance, content, 4, &mut out),
        close_content(instance, content),
    ];
    assert_eq!((buffer, out, at.internal(), is_set(event)), ([0xEE; 10], [7; 2], 0, false));
    codes
}

#[test]
fn t48_a_content_is_its_own_instances_alone() {
    case("client::t48_a_content_is_its_own_instances_alone", |_| {
        let (own, other) = (startup(), startup());
        let content = cached(own, 1, b"t48", &bytes(1000), 1);
        assert_eq!(codes(other, content), [BAD; 8]);
        // And nothing happened to it.
        assert_eq!(read(own, content, 0, 1000, 0).1, bytes(1000));
        assert_eq!(close_content(own, content), ERROR_SUCCESS);
        assert_eq!(codes(own, content), [BAD; 8]);
    });
}

#[test]
fn t49_handles_of_other_kinds_are_no_contents() {
    case("client::t49_handles_of_other_kinds_are_no_contents", |_| {
        let instance = startup();
        let content = cached(instance, 1, b"t49", &bytes(1000), 1);
        let stream = publish_stream(instance, b"t49-stream", 0).unwrap();
        let opened = open_information(instance, b"t49", 0, 0).unwrap();
        for wrong in [stream, opened, instance, event(), port(), NULL, INVALID_HANDLE_VALUE] {
            assert_eq!(codes(instance, wrong), [BAD; 8]);
        }
        for wrong in [content, opened] {
            let at = Overlapped::new(NULL);
            assert_eq!(add_to_stream(instance, wrong, b"bytes", &at), BAD);
            assert_eq!(complete_stream(instance, wrong, &at), BAD);
            assert_eq!(close_stream(instance, wrong), BAD);
        }
        for wrong in [content, stream] {
            assert_eq!(retrieve(instance, wrong, &mut [0; 10], &Overlapped::new(NULL)), BAD);
            assert_eq!(close_information(instance, wrong), BAD);
        }
        // They work as what they are.
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
    });
}

#[test]
fn t51_content_information_is_taken_in_the_order_of_the_calls() {
    case("client::t51_content_information_is_taken_in_the_order_of_the_calls", |world| {
        let (instance, port) = (startup(), port());
        for version in [1, 2] {
            let described = huge(version, b"the end");
            let content = open_content(instance, 1, port, 51).unwrap();
            world.daemon().pause();
            // Small ones overtake large ones where nobody sees to it.
            let (large, small) = described.split_at(described.len() - 40);
            let operations: Vec<_> = [large].into_iter().chain(small.chunks(2)).chain([&[][..]]).collect();
            let ats: Vec<_> = operations.iter().map(|_| Overlapped::new(NULL)).collect();
            for (piece, at) in operations.iter().zip(&ats) {
                let code = if piece.is_empty() {
                    complete_information(instance, content, at)
                } else {
                    add_information(instance, content, piece, at)
                };
                assert_eq!(code, ERROR_IO_PENDING);
            }
            world.daemon().go_on();
            for at in &ats {
                let packet = take(port, INFINITE).unwrap();
                assert_eq!((packet.error, packet.overlapped), (ERROR_SUCCESS, at.raw()));
            }
            let added = Overlapped::at(FOUR_GIB, event());
            assert_eq!(add_data(instance, content, b"the end", &added), ERROR_IO_PENDING);
            assert_eq!(added.wait().error, ERROR_SUCCESS);
            assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        }
    });
}

/// What completing says of bytes, which adding takes. Nothing can be read then.
fn refused(instance: HANDLE, content: HANDLE, information: &[u8]) -> DWORD {
    let at = Overlapped::new(NULL);
    assert_eq!(add_information(instance, content, information, &at), ERROR_IO_PENDING);
    assert_eq!(at.wait().error, ERROR_SUCCESS);
    assert_eq!(complete_information(instance, content, &at), ERROR_IO_PENDING);
    let code = at.wait().error;
    assert_eq!(read(instance, content, 0, 10, 0).0.error, PEERDIST_ERROR_NOT_INITIALIZED);
    code
}

#[test]
fn t52_garbage_is_refused_when_it_is_completed() {
    case("client::t52_garbage_is_refused_when_it_is_completed", |_| {
        let instance = startup();
        publish(instance, b"t52", &bytes(1000));
        for version in [1_u8, 2] {
            let good = information(instance, b"t52", version.into());
            let content = open_content(instance, 1, NULL, 0).unwrap();
            let noise = [&[0, version][..], &bytes(1000)].concat();
            let mut changed = good.clone();
            // A hash algorithm that neither version has.
            changed[2..6].fill(0xFF);
            let mut garbage = vec![noise, changed, good.repeat(2), [&good[..], &[0]].concat()];
            if version == 1 {
                // The last hash of a block, and with it the hash over them.
                let mut changed = good.clone();
                *changed.last_mut().unwrap() ^= 1;
                garbage.push(changed);
            }
            garbage.extend((1..good.len()).map(|length| good[..length].to_vec()));
            for garbage in garbage {
                assert_eq!(
                    refused(instance, content, &garbage),
                    PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO,
                    "{garbage:?}"
                );
            }
            // What was refused is forgotten.
            assert_eq!(describe(instance, content, &good), ERROR_SUCCESS);
            assert_eq!(add(instance, content, 0, &bytes(1000)).error, ERROR_SUCCESS);
            assert_eq!(read(instance, content, 0, 1000, 0).1, bytes(1000));
        }
    });
}

#[test]
fn t53_content_information_of_other_versions_is_told_as_such() {
    case("client::t53_content_information_of_other_versions_is_told_as_such", |_| {
        let instance = startup();
        publish(instance, b"t53", &bytes(1000));
        let content = open_content(instance, 1, NULL, 0).unwrap();
        for version in [1, 2] {
            let good = information(instance, b"t53", version);
            for (minor, major) in [(0, 0), (1, 0), (1, 1), (1, 2), (0, 3), (0xFF, 0xFF)] {
                let other = [&[minor, major], &good[2..]].concat();
                for length in [2, 3, other.len()] {
                    let code = refused(instance, content, &other[..length]);
                    assert_eq!(code, PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED, "{major}.{minor} {length}");
                }
            }
        }
        assert_eq!(describe(instance, content, &information(instance, b"t53", 1)), ERROR_SUCCESS);
    });
}

#[test]
fn t84_small_buffers_are_told_and_large_ones_get_four_bytes() {
    case("client::t84_small_buffers_are_told_and_large_ones_get_four_bytes", |_| {
        let instance = startup();
        let content = open_content(instance, 1, NULL, 0).unwrap();
        let mut out = [7; 2];
        for size in 0..4 {
            assert_eq!(get_information(instance, content, size, &mut out), ERROR_INSUFFICIENT_BUFFER);
        }
        // SAFETY: NULL is allowed.
        let code = unsafe {
            PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, 4, ptr::null_mut())
        };
        assert_eq!((code, out), (ERROR_INVALID_PARAMETER, [7; 2]));
        // Also before there is content information.
        for size in [8, 5, 4] {
            assert_eq!(get_information(instance, content, size, &mut out), ERROR_SUCCESS);
            assert_eq!(out, [FALSE, 7]);
            out[0] = 7;
        }
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(get_information(instance, content, 3, &mut out), ERROR_INVALID_HANDLE);
    });
}

#[test]
fn t84_two_other_hosts_that_ask_are_a_crowd() {
    case_without_daemon("client::t84_two_other_hosts_that_ask_are_a_crowd", |world| {
        let lan = Lan::new();
        world.start_with(&lan.client());
        let instance = startup();
        publish(instance, b"t84", &bytes(1000));
        publish(instance, b"t84-other", &bytes(1001));
        let mut asked = 0;
        for version in [1, 2] {
            let described = information(instance, b"t84", version);
            let (content, other) = (
                readable(instance, 1, &described),
                readable(instance, 1, &information(instance, b"t84-other", version)),
            );
            let crowd = |content| {
                let mut out = [7; 2];
                assert_eq!(get_information(instance, content, 4, &mut out), ERROR_SUCCESS);
                out[0]
            };
            for (host, expected) in [(2, FALSE), (3, TRUE)] {
                lan.ask([127, 0, version as u8, host].into(), segment_ids(&described)[0]);
                asked += 1;
                let began = Instant::now();
                while world.daemon().status()["fetching"]["overheard"].as_u64() < Some(asked) {
                    assert!(began.elapsed() < LIMIT, "the daemon does not hear");
                    thread::yield_now();
                }
                assert_eq!((crowd(content), crowd(other)), (expected, FALSE));
            }
        }
    });
}

#[test]
fn t85_a_content_is_closed_while_others_read_it() {
    case_without_daemon("client::t85_a_content_is_closed_while_others_read_it", |world| {
        const ROUNDS: usize = 200;
        let lan = Lan::new();
        world.start_with(&lan.patient_client());
        let instance = startup();
        let content = bytes(100_000);
        publish(instance, b"t85", &content);
        let cached = cached(instance, 1, b"t85-cached", &content, 2);
        // What is cached is read at once; what is not waits.
        let informations = [information(instance, b"t85-cached", 2), information(instance, b"t85", 1)];
        let mut aborted = 0;
        for round in 0..ROUNDS {
            let waits = round % 2 == 1;
            let handle = Carried::new(readable(instance, 2, &informations[round % 2]));
            let instance = Carried::new(instance);
            let (begin, reads) = (Barrier::new(3), AtomicUsize::new(0));
            let read_on = || {
                let mut aborted = 0;
                begin.wait();
                loop {
                    let (at, mut buffer) = (Overlapped::at(50_000, NULL), vec![0xEE; 10_000]);
                    let code = block_read(instance.get(), handle.get(), &mut buffer, 60_000, &at);
                    if code == ERROR_INVALID_HANDLE {
                        return aborted;
                    }
                    assert_eq!(code, ERROR_IO_PENDING);
                    reads.fetch_add(1, Ordering::Relaxed);
                    let ended = at.wait();
                    match ended.error {
                        ERROR_SUCCESS if !waits => {
                            let read = ended.bytes as usize;
                            assert_eq!(buffer[..read], content[50_000..][..read]);
                            assert!(read > 0);
                        }
                        ERROR_OPERATION_ABORTED => aborted += 1,
                        other => panic!("{other}"),
                    }
                }
            };
            thread::scope(|scope| {
                let readers = [scope.spawn(read_on), scope.spawn(read_on)];
                let closer = scope.spawn(|| {
                    begin.wait();
                    // Ever later, so that it happens at every stage of a read.
                    let until = if waits { round % 3 } else { round / 2 % 10 };
                    let began = Instant::now();
                    while reads.load(Ordering::Relaxed) < until && began.elapsed() < LIMIT {
                        std::hint::spin_loop();
                    }
                    for _ in 0..round * 100 {
                        std::hint::spin_loop();
                    }
                    close_content(instance.get(), handle.get())
                });
                assert_eq!(closer.join().unwrap(), ERROR_SUCCESS);
                aborted += readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>();
            });
            assert_eq!(close_content(instance.get(), handle.get()), ERROR_INVALID_HANDLE);
        }
        assert!(aborted > ROUNDS / 4, "the race was lost only {aborted} times");
        // The instance and other contents are as they were.
        assert_eq!(read(instance, cached, 0, 1000, 0).0.error, ERROR_SUCCESS);
    });
}
