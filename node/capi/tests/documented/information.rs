//! Content information of what was published.

use peerdist::abi::*;
use peerdist::peerdist::calls::server::PeerDistServerOpenContentInformationEx;

use crate::support::*;

/// Content information of a range, of one version.
fn of_range(instance: HANDLE, identifier: &[u8], offset: u64, length: u64, version: DWORD) -> Vec<u8> {
    let mut options = PEERDIST_RETRIEVAL_OPTIONS {
        cbSize: 16,
        dwContentInfoMinVersion: version,
        dwContentInfoMaxVersion: version,
        dwReserved: 0,
    };
    let (mut handle, size, name) = (NULL, identifier.len() as u32, identifier.as_ptr().cast_mut());
    // SAFETY: valid.
    let code = unsafe {
        PeerDistServerOpenContentInformationEx(instance, size, name, offset, length, &mut options, NULL, 0, &mut handle)
    };
    assert_eq!(code, ERROR_SUCCESS);
    retrieve_all(instance, handle)
}

#[test]
fn t99_a_range_of_nothing_is_the_whole_content() {
    case("information::t99_a_range_of_nothing_is_the_whole_content", |_| {
        let instance = startup();
        for size in [1, 200_000] {
            let name = size.to_string();
            publish(instance, name.as_bytes(), &bytes(size));
            let whole = information_of_range(instance, name.as_bytes(), 0, 0);
            assert_eq!(information_of_range(instance, name.as_bytes(), 0, size as u64), whole);
            for version in [1, 2] {
                let whole = of_range(instance, name.as_bytes(), 0, 0, version);
                assert_eq!(of_range(instance, name.as_bytes(), 0, size as u64, version), whole);
            }
        }
    });
}

#[test]
fn t100_content_information_is_as_large_as_its_range() {
    case("information::t100_content_information_is_as_large_as_its_range", |_| {
        let (instance, content) = (startup(), bytes(1_000_000));
        publish(instance, b"t100", &content);
        for version in [1, 2] {
            let sizes = [1, 200_000, 500_000, 1_000_000].map(|length| {
                let range = of_range(instance, b"t100", 0, length, version);
                range.len()
            });
            assert!(sizes.is_sorted() && sizes[0] < sizes[3], "{sizes:?}");
        }
    });
}

#[test]
fn t100_a_range_bounds_what_is_read() {
    case("information::t100_a_range_bounds_what_is_read", |_| {
        let (instance, content) = (startup(), bytes(1_000_000));
        publish(instance, b"t100", &content);
        let (offset, length) = (300_001, 400_002);
        for version in [1, 2] {
            let handle = readable(instance, version as u8, &of_range(instance, b"t100", offset, length, version));
            for outside in [0, offset - 1, offset + length + 1, 999_999] {
                assert_eq!(read(instance, handle, outside, 10, 0).0.error, PEERDIST_ERROR_NO_MORE, "{outside}");
            }
            let (missing, _) = read(instance, handle, offset, 10, 0);
            assert_eq!((missing.error, missing.offset), (PEERDIST_ERROR_MISSING_DATA, offset));
            let bytes = &content[offset as usize..][..missing.bytes as usize];
            assert!((1..=length).contains(&u64::from(missing.bytes)));
            assert_eq!(add(instance, handle, offset, bytes).error, ERROR_SUCCESS);
            assert_eq!(read(instance, handle, offset, 10, 0).1, bytes[..10]);
        }
    });
}

#[test]
fn t101_the_version_that_the_client_can_process_is_given() {
    case("information::t101_the_version_that_the_client_can_process_is_given", |_| {
        let instance = startup();
        publish(instance, b"t101", &bytes(1000));
        for version in [1, 2] {
            // [MS-PCCRC] 2.3 and 2.4: the minor number comes first.
            assert_eq!(information(instance, b"t101", version)[..2], [0, version as u8]);
        }
    });
}

#[test]
fn t102_content_information_is_retrieved_piece_by_piece() {
    case("information::t102_content_information_is_retrieved_piece_by_piece", |_| {
        let instance = startup();
        publish(instance, b"t102", &bytes(500_000));
        let whole = information(instance, b"t102", 1);
        let port = port();
        let opened = open_information_to(instance, b"t102", 0, 0, port, 102).unwrap();
        let (mut pieces, operation) = (Vec::new(), Overlapped::new(NULL));
        while pieces.len() < whole.len() {
            let mut buffer = [0xEE; 9];
            operation.set_offset(0);
            assert_eq!(retrieve(instance, opened, &mut buffer[1..8], &operation), ERROR_IO_PENDING);
            let ended = operation.wait();
            assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, pieces.len() as u64));
            assert_eq!(ended.bytes as usize, (whole.len() - pieces.len()).min(7));
            let packet = take(port, 0).unwrap();
            assert_eq!((packet.error, packet.bytes, packet.key), (ERROR_SUCCESS, ended.bytes, 102));
            assert_eq!(packet.overlapped, operation.raw());
            pieces.extend_from_slice(&buffer[1..][..ended.bytes as usize]);
            assert_eq!((buffer[0], buffer[8]), (0xEE, 0xEE));
        }
        assert_eq!(pieces, whole);
        for _ in 0..3 {
            let mut buffer = [0xEE; 7];
            operation.set_offset(0);
            let code = match retrieve(instance, opened, &mut buffer, &operation) {
                ERROR_IO_PENDING => operation.wait().error,
                at_once => at_once,
            };
            assert_eq!((code, buffer), (PEERDIST_ERROR_NO_MORE, [0xEE; 7]));
        }
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
    });
}

#[test]
fn t103_an_operation_of_the_server_is_cancelled_by_its_identifier() {
    case("information::t103_an_operation_of_the_server_is_cancelled_by_its_identifier", |world| {
        let (instance, other) = (startup(), startup());
        publish(instance, b"published", &bytes(1000));
        let opened = open_information(instance, b"published", 0, 0).unwrap();
        let streams = [&b"adding"[..], b"completing"].map(|name| {
            let stream = publish_stream(instance, name, 0).unwrap();
            assert_eq!(added(instance, stream, &[1; 100]), ERROR_SUCCESS);
            stream
        });
        world.daemon().pause();
        let (mut buffer, piece) = ([0xEE; 10], [2; 100]);
        let (adding, completing, retrieving) =
            (Overlapped::new(event()), Overlapped::new(event()), Overlapped::new(event()));
        assert_eq!(add_to_stream(instance, streams[0], &piece, &adding), ERROR_IO_PENDING);
        assert_eq!(complete_stream(instance, streams[1], &completing), ERROR_IO_PENDING);
        assert_eq!(retrieve(instance, opened, &mut buffer, &retrieving), ERROR_IO_PENDING);
        let operations = [(&b"adding"[..], &adding), (b"completing", &completing), (b"published", &retrieving)];
        for (name, at) in operations {
            for wrong in [&b"unknown"[..], &name[1..], b"adding\0"] {
                assert_eq!(server_cancel(instance, wrong, at.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
            }
            assert_eq!(server_cancel(other, name, at.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
            let unknown = Overlapped::new(NULL);
            assert_eq!(server_cancel(instance, name, unknown.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
            assert_eq!(at.result(false), None, "it was not hit");
            // What is told is told before it returns.
            assert_eq!(server_cancel(instance, name, at.raw()), ERROR_SUCCESS);
            assert_eq!(at.result(false).unwrap().error, ERROR_OPERATION_ABORTED);
            assert_eq!(server_cancel(instance, name, at.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
        }
        world.daemon().go_on();
        assert_eq!(buffer, [0xEE; 10]);
        assert!(open_information(instance, b"completing", 0, 0).is_err());
        // What is over is not found either.
        let mut whole = vec![0; 1000];
        let again = Overlapped::new(NULL);
        assert_eq!(retrieve(instance, opened, &mut whole, &again), ERROR_IO_PENDING);
        assert_eq!(again.wait().error, ERROR_SUCCESS);
        assert_eq!(server_cancel(instance, b"published", again.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
    });
}
