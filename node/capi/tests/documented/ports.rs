//! Completion ports under operations.

use std::ptr;
use std::thread;

use peerdist::abi::*;
use peerdist::handle;
use peerdist::kernel::calls::*;

use crate::support::*;

/// A published content of 1000 bytes whose content information every content handle may get.
fn published(instance: HANDLE) -> Vec<u8> {
    publish(instance, b"ports", &bytes(1000));
    information(instance, b"ports", 1)
}

/// A content with a port, none of whose bytes is there.
fn empty(instance: HANDLE, described: &[u8], port: HANDLE, key: usize) -> HANDLE {
    let content = open_content(instance, 1, port, key).unwrap();
    assert_eq!(describe(instance, content, described), ERROR_SUCCESS);
    assert!(take(port, 0).is_some() && take(port, 0).is_some(), "those of the content information");
    content
}

fn post(port: HANDLE, bytes: DWORD, key: usize, overlapped: *mut OVERLAPPED) {
    assert_eq!(peerdist_PostQueuedCompletionStatus(port, bytes, key, overlapped), TRUE);
}

#[test]
fn t41_a_port_is_empty_while_its_operation_is_pending() {
    case("ports::t41_a_port_is_empty_while_its_operation_is_pending", |world| {
        let (instance, port) = (startup(), port());
        let content = empty(instance, &published(instance), port, 41);
        world.daemon().pause();
        let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        let (mut size, mut key, mut overlapped) = (77, 77, at.raw());
        set_last_error(0);
        // SAFETY: all are valid.
        let good = unsafe { peerdist_GetQueuedCompletionStatus(port, &mut size, &mut key, &mut overlapped, 0) };
        assert_eq!((good, last_error()), (FALSE, WAIT_TIMEOUT));
        assert!(overlapped.is_null());
        world.daemon().go_on();
        assert_eq!(take(port, INFINITE).unwrap().overlapped, at.raw());
    });
}

#[test]
fn t42_a_port_that_is_closed_ends_its_waits_and_not_its_operations() {
    case("ports::t42_a_port_that_is_closed_ends_its_waits_and_not_its_operations", |world| {
        let instance = startup();
        let described = published(instance);
        for _ in 0..10 {
            let port = port();
            let content = empty(instance, &described, port, 42);
            let object = handle::port(port).unwrap();
            world.daemon().pause();
            let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
            assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
            let carried = Carried::new(port);
            let waiting = thread::spawn(move || {
                let (mut size, mut key, mut overlapped) = (77, 77, ptr::dangling_mut());
                // SAFETY: all are valid.
                let good = unsafe {
                    let port = carried.get();
                    peerdist_GetQueuedCompletionStatus(port, &mut size, &mut key, &mut overlapped, INFINITE)
                };
                (good, last_error(), overlapped.is_null())
            });
            while object.waiting() == 0 {
                thread::yield_now();
            }
            close(port);
            assert_eq!(waiting.join().unwrap(), (FALSE, ERROR_ABANDONED_WAIT_0, true));
            assert_eq!(at.result(false), None);
            world.daemon().go_on();
            assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
            assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        }
    });
}

#[test]
fn t43_what_is_posted_comes_out_as_it_went_in_whatever_is_pending() {
    case("ports::t43_what_is_posted_comes_out_as_it_went_in_whatever_is_pending", |world| {
        let (instance, port) = (startup(), port());
        let content = empty(instance, &published(instance), port, 43);
        world.daemon().pause();
        let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        // The address of a pending operation among them: that ends nothing.
        for overlapped in [ptr::null_mut(), at.raw(), ptr::without_provenance_mut(usize::MAX)] {
            for (size, key) in [(0, 0), (DWORD::MAX, usize::MAX)] {
                post(port, size, key, overlapped);
                let posted = Taken { error: ERROR_SUCCESS, bytes: size, key, overlapped };
                assert_eq!(take(port, 0), Some(posted));
            }
        }
        assert_eq!(at.result(false), None);
        world.daemon().go_on();
        let packet = take(port, INFINITE).unwrap();
        assert_eq!((packet.error, packet.key), (PEERDIST_ERROR_MISSING_DATA, 43));
        assert_eq!(packet.overlapped, at.raw());
    });
}

#[test]
fn t44_good_and_failed_operations_are_taken_at_once() {
    case("ports::t44_good_and_failed_operations_are_taken_at_once", |_| {
        let (instance, port) = (startup(), port());
        let content = empty(instance, &published(instance), port, 44);
        let (good, failed, mut buffer) = (Overlapped::new(NULL), Overlapped::new(NULL), [0; 10]);
        for (at, length) in [(&failed, 10), (&good, 0)] {
            assert_eq!(block_read(instance, content, &mut buffer[..length], 0, at), ERROR_IO_PENDING);
            at.wait();
        }
        let nothing = OVERLAPPED_ENTRY {
            lpCompletionKey: 0,
            lpOverlapped: ptr::null_mut(),
            Internal: 0,
            dwNumberOfBytesTransferred: 77,
        };
        let (mut entries, mut count) = ([nothing; 4], 77);
        // SAFETY: there are four entries.
        let taken =
            unsafe { peerdist_GetQueuedCompletionStatusEx(port, entries.as_mut_ptr(), 4, &mut count, INFINITE, FALSE) };
        assert_eq!((taken, count), (TRUE, 2));
        let told = entries.map(|entry| {
            let code = error_of(status_in(entry.Internal));
            (entry.lpCompletionKey, entry.lpOverlapped, code, entry.dwNumberOfBytesTransferred)
        });
        assert_eq!(told[0], (44, failed.raw(), PEERDIST_ERROR_MISSING_DATA, 1000));
        assert_eq!(told[1], (44, good.raw(), ERROR_SUCCESS, 0));
        assert!(status_in(entries[0].Internal) < 0 && status_in(entries[1].Internal) == 0);
        assert_eq!(told[2].3, 77, "and no more entries than that are written");
    });
}

#[test]
fn t45_contents_that_share_a_port_keep_their_keys_and_the_order() {
    case("ports::t45_contents_that_share_a_port_keep_their_keys_and_the_order", |_| {
        let (instance, port) = (startup(), port());
        let described = published(instance);
        let contents = [1000, 2000].map(|key| (key, empty(instance, &described, port, key)));
        let reads: Vec<_> = (0..50).map(|_| Overlapped::new(NULL)).collect();
        let mut expected = Vec::new();
        for (number, at) in reads.iter().enumerate() {
            let (key, content) = contents[number / 2 % 2];
            assert_eq!(block_read(instance, content, &mut [0; 10], 0, at), ERROR_IO_PENDING);
            at.wait();
            post(port, number as DWORD, number, ptr::null_mut());
            expected.push((PEERDIST_ERROR_MISSING_DATA, 1000, key, at.raw()));
            expected.push((ERROR_SUCCESS, number as DWORD, number, ptr::null_mut()));
        }
        for expected in expected {
            let Taken { error, bytes, key, overlapped } = take(port, 0).unwrap();
            assert_eq!((error, bytes, key, overlapped), expected);
        }
        assert_eq!(take(port, 0), None);
    });
}

#[test]
fn t46_an_event_whose_low_bit_is_set_is_set_and_no_packet_comes() {
    case("ports::t46_an_event_whose_low_bit_is_set_is_set_and_no_packet_comes", |_| {
        let (instance, port, event) = (startup(), port(), event());
        let content = empty(instance, &published(instance), port, 46);
        let silent = event.map_addr(|value| value | 1);
        let (at, mut buffer) = (Overlapped::new(silent), [0; 10]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &at), ERROR_IO_PENDING);
        assert!(wait_for(event, INFINITE));
        assert_eq!(at.wait().error, PEERDIST_ERROR_MISSING_DATA);
        assert_eq!(take(port, 0), None);
        // The operation did not end for want of a packet.
        let heard = Overlapped::new(NULL);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &heard), ERROR_IO_PENDING);
        assert_eq!(take(port, INFINITE).unwrap().overlapped, heard.raw());
        assert_eq!(take(port, 0), None);
    });
}
