//! Content information of what was published.

use std::ptr;

use peerdist::abi::*;
use peerdist::peerdist::calls::server::{
    PeerDistServerOpenContentInformation, PeerDistServerOpenContentInformationEx,
    PeerDistServerRetrieveContentInformation,
};

use crate::support::*;

#[test]
fn t99_a_range_ends_within_the_content() {
    case("information::t99_a_range_ends_within_the_content", |_| {
        let instance = startup();
        publish(instance, b"t99", &bytes(100_000));
        let to_the_end = information_of_range(instance, b"t99", 40_000, 0);
        assert_eq!(information_of_range(instance, b"t99", 40_000, 60_000), to_the_end);
        for (offset, length) in
            [(0, 100_001), (100_000, 0), (100_000, 1), (99_999, 2), (u64::MAX, 0), (1, u64::MAX - 1)]
        {
            let refused = open_information(instance, b"t99", offset, length);
            assert_eq!(refused, Err(PEERDIST_ERROR_OUT_OF_BOUNDS), "{offset} {length}");
        }
        for (offset, length) in [(1, u64::MAX), (u64::MAX, u64::MAX)] {
            assert_eq!(open_information(instance, b"t99", offset, length), Err(ERROR_INVALID_PARAMETER));
        }
    });
}

#[test]
fn t100_a_range_ends_where_it_ends_for_the_client() {
    case("information::t100_a_range_ends_where_it_ends_for_the_client", |_| {
        let instance = startup();
        publish(instance, b"t100", &bytes(300_000));
        let handle = readable(instance, 1, &information_of_range(instance, b"t100", 100_000, 50_000));
        assert_eq!(read(instance, handle, 150_000, 1, 0).0.error, PEERDIST_ERROR_NO_MORE);
        assert_eq!(read(instance, handle, 149_999, 1, 0).0.error, PEERDIST_ERROR_MISSING_DATA);
    });
}

#[test]
fn t101_retrieval_options_make_sense() {
    case("information::t101_retrieval_options_make_sense", |_| {
        let instance = startup();
        publish(instance, b"t101", &bytes(1000));
        let good = PEERDIST_RETRIEVAL_OPTIONS {
            cbSize: 16,
            dwContentInfoMinVersion: 1,
            dwContentInfoMaxVersion: 2,
            dwReserved: 0,
        };
        for size in [0, 12, 15, 17, DWORD::MAX] {
            let refused = open_information_ex(instance, b"t101", PEERDIST_RETRIEVAL_OPTIONS { cbSize: size, ..good });
            assert_eq!(refused, Err(ERROR_INVALID_PARAMETER), "{size}");
        }
        for (min, max) in [(2, 1), (0, 0), (0, 1), (0, 2), (1, 3), (3, 3), (1, DWORD::MAX)] {
            let wrong =
                PEERDIST_RETRIEVAL_OPTIONS { dwContentInfoMinVersion: min, dwContentInfoMaxVersion: max, ..good };
            assert_eq!(open_information_ex(instance, b"t101", wrong), Err(ERROR_INVALID_PARAMETER), "{min} {max}");
        }
        let reserved = PEERDIST_RETRIEVAL_OPTIONS { dwReserved: 1, ..good };
        assert_eq!(open_information_ex(instance, b"t101", reserved), Err(ERROR_INVALID_PARAMETER));
        let newest = open_information_ex(instance, b"t101", good).unwrap();
        assert_eq!(retrieve_all(instance, newest)[..2], [0, 2], "the newest one that the client can process");
        let plain = open_information(instance, b"t101", 0, 0).unwrap();
        assert_eq!(retrieve_all(instance, plain)[..2], [0, 1], "the one that every client can process");
    });
}

#[test]
fn t101_options_an_identifier_and_room_for_the_handle_are_needed() {
    case("information::t101_options_an_identifier_and_room_for_the_handle_are_needed", |_| {
        let instance = startup();
        publish(instance, b"t101", &bytes(1000));
        let name = b"t101".as_ptr().cast_mut();
        let (none, mut handle) = (ptr::null_mut(), NULL);
        let open = |size, name, port, out| {
            // SAFETY: NULL is looked for.
            unsafe { PeerDistServerOpenContentInformation(instance, size, name, 0, 0, port, 0, out) }
        };
        assert_eq!(open(4, name, NULL, ptr::null_mut()), ERROR_INVALID_PARAMETER);
        assert_eq!(open(4, ptr::null_mut(), NULL, &mut handle), ERROR_INVALID_PARAMETER);
        assert_eq!(open(0, name, NULL, &mut handle), ERROR_INVALID_PARAMETER);
        assert_eq!(open(4, name, instance, &mut handle), ERROR_INVALID_HANDLE);
        // SAFETY: as above.
        let code =
            unsafe { PeerDistServerOpenContentInformationEx(instance, 4, name, 0, 0, none, NULL, 0, &mut handle) };
        assert_eq!((code, handle), (ERROR_INVALID_PARAMETER, NULL));
        assert_eq!(open(4, name, NULL, &mut handle), ERROR_SUCCESS);
        let operation = Overlapped::new(NULL);
        // SAFETY: as above.
        let code =
            unsafe { PeerDistServerRetrieveContentInformation(instance, handle, 1, ptr::null_mut(), operation.raw()) };
        assert_eq!(code, ERROR_INVALID_PARAMETER);
        assert_eq!(retrieve(startup(), handle, &mut [0], &operation), ERROR_INVALID_HANDLE);
        assert_eq!(retrieve(instance, instance, &mut [0], &operation), ERROR_INVALID_HANDLE);
        assert_eq!(close_information(startup(), handle), ERROR_INVALID_HANDLE);
        assert_eq!(close_stream(instance, handle), ERROR_INVALID_HANDLE);
        assert_eq!(close_information(instance, handle), ERROR_SUCCESS);
    });
}

#[test]
fn t102_the_end_is_told_by_the_completion() {
    case("information::t102_the_end_is_told_by_the_completion", |_| {
        let instance = startup();
        publish(instance, b"t102", &bytes(1000));
        let opened = open_information(instance, b"t102", 0, 0).unwrap();
        let (mut whole, operation) = ([0; 1000], Overlapped::new(NULL));
        // A retrieve of nothing gives nothing, wherever it is.
        assert_eq!(retrieve(instance, opened, &mut [], &operation), ERROR_IO_PENDING);
        assert_eq!(operation.wait(), Ended { error: ERROR_SUCCESS, bytes: 0, offset: 0 });
        assert_eq!(retrieve(instance, opened, &mut whole, &operation), ERROR_IO_PENDING);
        assert_eq!(operation.wait().error, ERROR_SUCCESS);
        for _ in 0..2 {
            assert_eq!(retrieve(instance, opened, &mut whole, &operation), ERROR_IO_PENDING);
            assert_eq!(operation.wait(), Ended { error: PEERDIST_ERROR_NO_MORE, bytes: 0, offset: 0 });
        }
    });
}

#[test]
fn t102_retrieves_that_wait_for_their_turn_go_on_in_their_order() {
    case("information::t102_retrieves_that_wait_for_their_turn_go_on_in_their_order", |world| {
        let instance = startup();
        publish(instance, b"t102", &bytes(500_000));
        let whole = information(instance, b"t102", 1);
        let opened = open_information(instance, b"t102", 0, 0).unwrap();
        world.daemon().pause();
        let mut buffers = vec![[0; 7]; whole.len() / 7 + 2];
        let operations: Vec<_> = buffers.iter().map(|_| Overlapped::new(NULL)).collect();
        for (buffer, operation) in buffers.iter_mut().zip(&operations) {
            assert_eq!(retrieve(instance, opened, buffer, operation), ERROR_IO_PENDING);
        }
        // What is cancelled moves nothing: the next one gets its bytes.
        for cancelled in [0, 3] {
            assert_eq!(server_cancel(instance, b"t102", operations[cancelled].raw()), ERROR_SUCCESS);
        }
        world.daemon().go_on();
        let mut pieces = Vec::new();
        for (number, (operation, buffer)) in operations.iter().zip(&buffers).enumerate() {
            let ended = operation.wait();
            match ended.error {
                ERROR_SUCCESS => {
                    assert_eq!(ended.offset, pieces.len() as u64);
                    pieces.extend_from_slice(&buffer[..ended.bytes as usize]);
                }
                ERROR_OPERATION_ABORTED => assert!([0, 3].contains(&number)),
                error => assert_eq!((error, pieces.len()), (PEERDIST_ERROR_NO_MORE, whole.len())),
            }
        }
        // The two that were cancelled are missing at the end, or one of them was the one behind it.
        pieces.extend(retrieve_all_from(instance, opened, pieces.len()));
        assert_eq!(pieces, whole);
    });
}

/// The rest of the bytes of a content information handle.
fn retrieve_all_from(instance: HANDLE, opened: HANDLE, position: usize) -> Vec<u8> {
    let (mut buffer, operation) = ([0; 100], Overlapped::new(NULL));
    assert_eq!(retrieve(instance, opened, &mut buffer, &operation), ERROR_IO_PENDING);
    let ended = operation.wait();
    if ended.error == PEERDIST_ERROR_NO_MORE {
        return Vec::new();
    }
    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, position as u64));
    buffer[..ended.bytes as usize].to_vec()
}

#[test]
fn t103_cancelling_needs_an_operation_and_sets_the_last_error() {
    case("information::t103_cancelling_needs_an_operation_and_sets_the_last_error", |world| {
        let instance = startup();
        publish(instance, b"t103", &bytes(1000));
        let opened = open_information(instance, b"t103", 0, 0).unwrap();
        world.daemon().pause();
        let (operation, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(retrieve(instance, opened, &mut buffer, &operation), ERROR_IO_PENDING);
        assert_eq!(server_cancel(instance, b"t103", ptr::null_mut()), ERROR_INVALID_PARAMETER);
        assert_eq!(operation.result(false), None, "there is no way to cancel all");
        // Operations of contents are not the server's.
        assert_eq!(cancel(instance, opened, Some(&operation)), ERROR_INVALID_HANDLE);
        set_last_error(0);
        assert_eq!(server_cancel(instance, b"t103", operation.raw()), ERROR_SUCCESS);
        assert_eq!(last_error(), ERROR_OPERATION_ABORTED);
        world.daemon().go_on();
    });
}

#[test]
fn t104_content_information_can_be_closed_whatever_the_status() {
    case("information::t104_content_information_can_be_closed_whatever_the_status", |world| {
        let instance = startup();
        publish(instance, b"t104", &bytes(1000));
        let opened = [0; 3].map(|_| open_information(instance, b"t104", 0, 0).unwrap());
        world.disable();
        wait_for_status(instance, PEERDIST_STATUS_DISABLED);
        assert_eq!(close_information(instance, opened[0]), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened[0]), ERROR_INVALID_HANDLE);
        world.enable();
        wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
        assert_eq!(close_information(instance, opened[1]), ERROR_SUCCESS);
        world.kill();
        wait_for_status(instance, PEERDIST_STATUS_UNAVAILABLE);
        assert_eq!(close_information(instance, opened[2]), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened[2]), ERROR_INVALID_HANDLE);
    });
}
