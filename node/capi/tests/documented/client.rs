//! Opening contents, content information, and what is known of a content.

use std::ptr;

use peerdist::abi::*;
use peerdist::peerdist::calls::client::*;

use crate::support::*;

#[test]
fn t47_a_content_needs_a_tag_and_room_for_its_handle() {
    case("client::t47_a_content_needs_a_tag_and_room_for_its_handle", |_| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        let tag = PEERDIST_CONTENT_TAG { Data: [1; 16] };
        for port in [NULL, port()] {
            let mut content = INVALID_HANDLE_VALUE;
            // SAFETY: all are NULL or valid.
            let codes = unsafe {
                [
                    PeerDistClientOpenContent(instance, ptr::null(), port, 0, &mut content),
                    PeerDistClientOpenContent(instance, &tag, port, 0, ptr::null_mut()),
                    PeerDistClientOpenContent(instance, ptr::null(), port, 0, ptr::null_mut()),
                ]
            };
            assert_eq!((codes, content), ([ERROR_INVALID_PARAMETER; 3], INVALID_HANDLE_VALUE));
            // SAFETY: both are valid.
            let code = unsafe { PeerDistClientOpenContent(instance, &tag, port, 0, &mut content) };
            assert_eq!((code, close_content(instance, content)), (ERROR_SUCCESS, ERROR_SUCCESS));
        }
    });
}

#[test]
fn t50_content_information_in_pieces_of_one_byte_means_the_same() {
    case("client::t50_content_information_in_pieces_of_one_byte_means_the_same", |_| {
        let instance = startup();
        let content = bytes(150_000);
        publish(instance, b"t50", &content);
        for version in [1, 2] {
            for range in [0..150_000, 66_000..140_000] {
                let described = information_of(instance, b"t50", &range, version);
                let whole = readable(instance, 1, &described);
                let pieces = open_content(instance, 1, NULL, 0).unwrap();
                let at = Overlapped::new(event());
                for byte in &described {
                    assert_eq!(add_information(instance, pieces, std::slice::from_ref(byte), &at), ERROR_IO_PENDING);
                    assert_eq!(at.wait().error, ERROR_SUCCESS);
                }
                assert_eq!(complete_information(instance, pieces, &at), ERROR_IO_PENDING);
                assert_eq!(at.wait().error, ERROR_SUCCESS);

                let same = |offset: u64| {
                    let [of_whole, of_pieces] =
                        [whole, pieces].map(|handle| read(instance, handle, offset, 150_000, 0));
                    assert_eq!(of_whole, of_pieces, "{version} {range:?} {offset}");
                    of_whole
                };
                let offsets = [range.start, range.start + 1, 100_000, range.end - 1];
                for offset in offsets {
                    assert_eq!(same(offset).0.error, PEERDIST_ERROR_MISSING_DATA);
                }
                assert_eq!(same(range.end + 1).0.error, PEERDIST_ERROR_NO_MORE);
                // Wrong bytes are known as such, and right ones, too.
                assert_eq!(add(instance, pieces, 0, &bytes(150_001)[..150_000]).error, ERROR_SUCCESS);
                assert_eq!(same(100_000).0.error, PEERDIST_ERROR_MISSING_DATA);
                assert_eq!(add(instance, pieces, 0, &content).error, ERROR_SUCCESS);
                for offset in offsets {
                    let (ended, read) = same(offset);
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset));
                    assert_eq!(read, content[offset as usize..][..read.len()]);
                }
                let flushed = Overlapped::new(NULL);
                assert_eq!(flush(instance, 1, NULL, 0, &flushed), ERROR_IO_PENDING);
                assert_eq!(flushed.wait().error, ERROR_SUCCESS);
                assert_eq!((close_content(instance, whole), close_content(instance, pieces)), (0, 0));
            }
        }
    });
}

#[test]
fn t51_content_information_of_two_calls_is_never_interleaved() {
    case("client::t51_content_information_of_two_calls_is_never_interleaved", |world| {
        let instance = startup();
        for version in [1, 2] {
            // More than one request for each half.
            let described = huge(version, b"the end");
            let (first, second) = described.split_at(described.len() / 2);
            assert!(second.len() > 1 << 20);
            let content = open_content(instance, 1, NULL, 0).unwrap();
            let (one, two) = (Overlapped::new(NULL), Overlapped::new(NULL));
            world.daemon().pause();
            assert_eq!(add_information(instance, content, first, &one), ERROR_IO_PENDING);
            let code = add_information(instance, content, second, &two);
            world.daemon().go_on();
            assert_eq!(one.wait().error, ERROR_SUCCESS);
            if code != ERROR_IO_PENDING {
                assert_eq!(code, ERROR_INVALID_PARAMETER);
                assert_eq!(add_information(instance, content, second, &two), ERROR_IO_PENDING);
            }
            assert_eq!(two.wait().error, ERROR_SUCCESS);
            assert_eq!(complete_information(instance, content, &one), ERROR_IO_PENDING);
            assert_eq!(one.wait().error, ERROR_SUCCESS);
            assert_eq!(add(instance, content, FOUR_GIB, b"the end").error, ERROR_SUCCESS);
            assert_eq!(read(instance, content, FOUR_GIB + 4, 10, 0).1, b"end");
        }
    });
}

#[test]
fn t84_a_handle_tells_whether_many_fetch_the_same() {
    case("client::t84_a_handle_tells_whether_many_fetch_the_same", |_| {
        let instance = startup();
        publish(instance, b"t84", &bytes(1000));
        for version in [1, 2] {
            let content = readable(instance, 1, &information(instance, b"t84", version));
            let mut told: BOOL = 0x7E57;
            let ask = |class, size, told: &mut BOOL| {
                let told = ptr::from_mut(told).cast();
                // SAFETY: there is room for a BOOL.
                unsafe { PeerDistClientGetInformationByHandle(instance, content, class, size, told) }
            };
            for class in [1, 2, -1] {
                assert_eq!(ask(class, 4, &mut told), ERROR_INVALID_PARAMETER);
            }
            for size in [0, 3] {
                assert_ne!(ask(PeerDistClientBasicInfo, size, &mut told), ERROR_SUCCESS);
            }
            assert_eq!(told, 0x7E57);
            assert_eq!(ask(PeerDistClientBasicInfo, 4, &mut told), ERROR_SUCCESS);
            assert_eq!(told, FALSE, "nobody else fetches it");
        }
    });
}
