//! PeerDistClientAddData and PeerDistClientFlushContent: what comes into the cache, and what goes out of it.

use peerdist::abi::*;

use crate::support::*;

/// Blocks in the cache.
fn blocks(world: &World) -> u64 {
    block_on(async { world.daemon().admin().cache_stats().await }).unwrap().blocks
}

/// How a local read of one byte ends.
fn look(instance: HANDLE, handle: HANDLE, offset: usize) -> DWORD {
    read(instance, handle, offset as u64, 1, 0).0.error
}

#[test]
fn t73_data_behind_the_end_of_a_content_is_out_of_bounds() {
    case("data::t73_data_behind_the_end_of_a_content_is_out_of_bounds", |world| {
        let (instance, content) = (startup(), bytes(2 * BLOCK + 1000));
        for version in [1, 2] {
            let handle = absent(instance, 1, &[b't', version as u8], &content, version);
            for offset in [content.len() as u64 + 1, 10_000_000, 1 << 32, 1 << 40] {
                for piece in [&content[..1], &content] {
                    assert_eq!(add(instance, handle, offset, piece).error, PEERDIST_ERROR_OUT_OF_BOUNDS);
                }
            }
            assert_eq!(look(instance, handle, 0), PEERDIST_ERROR_MISSING_DATA);
            add_range(instance, handle, &content, 0..content.len());
            assert_eq!(look(instance, handle, content.len() - 1), ERROR_SUCCESS);
        }
        assert!(blocks(world) > 0);
    });
}

#[test]
fn t74_data_with_wrong_bytes_is_never_served_nor_shared() {
    const NAME: &str = "data::t74_data_with_wrong_bytes_is_never_served_nor_shared";
    case_without_daemon(NAME, |world| {
        let content = bytes(4 * BLOCK);
        let is_missing = |instance: HANDLE, handle: HANDLE, offset: usize| {
            let (ended, buffer) = read(instance, handle, offset as u64, 1000, 0);
            assert_eq!((ended.error, ended.offset), (PEERDIST_ERROR_MISSING_DATA, offset as u64));
            assert_eq!(buffer, [0xEE; 1000]);
            assert_eq!(read(instance, handle, offset as u64, 0, 0).0.bytes, 0);
        };
        let see = |instance: HANDLE, described: &[u8], handle: Option<HANDLE>| {
            let handle = handle.unwrap_or_else(|| readable(instance, 2, described));
            for (offset, is_right) in [(0, true), (BLOCK, false), (2 * BLOCK, true), (3 * BLOCK, false)] {
                if is_right {
                    assert_eq!(read(instance, handle, offset as u64, 1000, 0).1, content[offset..offset + 1000]);
                } else {
                    is_missing(instance, handle, offset);
                }
            }
        };
        if is_other_process() {
            let instance = startup();
            let described = std::fs::read(world.home.join("information")).unwrap();
            return see(instance, &described, None);
        }
        let [serves, asks] = neighbours();
        world.start_with(&serves);
        let instance = startup();
        let handle = absent(instance, 1, b"t74", &content, 1);
        let described = information(instance, b"t74", 1);
        // One bit of the second block, and all of the fourth.
        let mut wrong = content.clone();
        wrong[BLOCK + 777] ^= 1;
        wrong[3 * BLOCK..].fill(0);
        add(instance, handle, 0, &wrong);
        for _ in 0..2 {
            add(instance, handle, 3 * BLOCK as u64, &wrong[3 * BLOCK..]);
        }
        see(instance, &described, Some(handle));
        see(instance, &described, None);
        see(startup(), &described, None);
        std::fs::write(world.home.join("information"), &described).unwrap();
        in_another_process(NAME, world);
        assert_eq!(blocks(world), 2);
        block_on(async {
            let peer = Peer::start(world, &asks, &described).await;
            for right in [0, 2 * BLOCK] {
                let found = peer.find_at_last(right as u64, 1000).await;
                assert!(content[right..].starts_with(&found));
            }
            for wrong in [BLOCK, 3 * BLOCK] {
                assert_eq!(peer.find(wrong as u64, 1000).await, None);
            }
            assert_eq!(world.daemon().admin().status().await.unwrap()["serving"]["blocks"], 2);
        });
        // The right bytes are still welcome.
        add_range(instance, handle, &content, BLOCK..2 * BLOCK);
        assert_eq!(read(instance, handle, BLOCK as u64, 1000, 0).1, content[BLOCK..BLOCK + 1000]);
    });
}

#[test]
fn t74_segments_of_version_2_with_wrong_bytes_are_not_served_either() {
    case("data::t74_segments_of_version_2_with_wrong_bytes_are_not_served_either", |world| {
        let (instance, content) = (startup(), bytes(400_000));
        let handle = absent(instance, 1, b"t74", &content, 2);
        let mut wrong = content.clone();
        // No segment is that short.
        wrong.iter_mut().step_by(10_000).for_each(|byte| *byte ^= 0x80);
        add(instance, handle, 0, &wrong);
        for offset in (0..content.len()).step_by(9_999) {
            assert_eq!(look(instance, handle, offset), PEERDIST_ERROR_MISSING_DATA, "{offset}");
        }
        assert_eq!(blocks(world), 0);
        add_range(instance, handle, &content, 0..400_000);
        for offset in (0..content.len()).step_by(9_999) {
            assert_eq!(look(instance, handle, offset), ERROR_SUCCESS, "{offset}");
        }
    });
}

#[test]
fn t75_data_outside_of_a_range_is_readable_once_it_is_described() {
    case("data::t75_data_outside_of_a_range_is_readable_once_it_is_described", |world| {
        let (instance, content) = (startup(), bytes(8 * BLOCK));
        publish(instance, b"t75", &content);
        for version in [1, 2] {
            let described = |range| information_of_slice(instance, b"t75", range, version);
            let (first, other) = (described(0..3 * BLOCK), described(5 * BLOCK..8 * BLOCK));
            let handle = readable(instance, 1, &first);
            add_range(instance, handle, &content, 4 * BLOCK..8 * BLOCK);
            let here = 6 * BLOCK;
            assert_eq!(look(instance, handle, here), PEERDIST_ERROR_NO_MORE);
            assert_eq!(blocks(world), 0, "nothing says that it is right");
            // The content information has to be complete.
            let at = Overlapped::new(NULL);
            assert_eq!(add_information(instance, handle, &other, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            assert_eq!(look(instance, handle, here), PEERDIST_ERROR_NO_MORE);
            assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
            assert_eq!(at.wait().error, ERROR_SUCCESS);
            assert_eq!(read(instance, handle, here as u64, 1000, 0).1, content[here..here + 1000]);
            assert_eq!(look(instance, handle, 0), PEERDIST_ERROR_MISSING_DATA);
            // Verified, it is in the cache, where others find it.
            assert!(blocks(world) > 0);
            let another = readable(instance, 2, &other);
            assert_eq!(read(instance, another, here as u64, 1000, 0).1, content[here..here + 1000]);
            flush_all(instance, 1);
        }
    });
}

#[test]
fn t75_wrong_data_outside_of_a_range_never_becomes_readable() {
    case("data::t75_wrong_data_outside_of_a_range_never_becomes_readable", |world| {
        let (instance, content) = (startup(), bytes(4 * BLOCK));
        publish(instance, b"t75", &content);
        for version in [1, 2] {
            let described = |range| information_of_slice(instance, b"t75", range, version);
            let handle = readable(instance, 1, &described(0..BLOCK));
            let wrong: Vec<u8> = content[2 * BLOCK..].iter().map(|byte| !byte).collect();
            add(instance, handle, 2 * BLOCK as u64, &wrong);
            assert_eq!(describe(instance, handle, &described(3 * BLOCK..4 * BLOCK)), ERROR_SUCCESS);
            assert_eq!(look(instance, handle, 3 * BLOCK + 500), PEERDIST_ERROR_MISSING_DATA);
            assert_eq!(blocks(world), 0);
        }
    });
}

#[test]
fn t76_a_flush_takes_what_was_added_under_its_tag_and_nothing_else() {
    case("data::t76_a_flush_takes_what_was_added_under_its_tag_and_nothing_else", |world| {
        let (instance, content) = (startup(), bytes(5 * BLOCK));
        // Two contents of the first tag.
        let all = [(1, b"a"), (1, b"b"), (2, b"c"), (3, b"d")].map(|(tag, name)| {
            let content: Vec<u8> = content.iter().map(|byte| byte ^ name[0]).collect();
            (tag, cached(instance, tag, name, &content, DWORD::from(tag) % 2 + 1), content)
        });
        let mut flushed = Vec::new();
        for goes in [1, 3] {
            let before = blocks(world);
            flush_all(instance, goes);
            flushed.push(goes);
            assert!(blocks(world) < before);
            for (tag, handle, content) in &all {
                for offset in [0, 2 * BLOCK, content.len() - 1000] {
                    let (ended, piece) = read(instance, *handle, offset as u64, 1000, 0);
                    if flushed.contains(tag) {
                        assert_eq!(ended.error, PEERDIST_ERROR_MISSING_DATA);
                    } else {
                        assert!(content[offset..].starts_with(&piece) && ended.error == ERROR_SUCCESS);
                    }
                }
            }
        }
        flush_all(instance, 2);
        assert_eq!(blocks(world), 0);
    });
}

#[test]
fn t77_the_packet_of_a_flush_goes_to_its_own_port() {
    case("data::t77_the_packet_of_a_flush_goes_to_its_own_port", |_| {
        let (instance, content, of_handle, of_flush) = (startup(), bytes(1000), port(), port());
        publish(instance, b"t77", &content);
        let handle = open_content(instance, 1, of_handle, 1).unwrap();
        let at = Overlapped::new(event());
        let described = information(instance, b"t77", 1);
        assert_eq!(add_information(instance, handle, &described, &at), ERROR_IO_PENDING);
        assert_eq!(at.wait().error, ERROR_SUCCESS);
        assert_eq!(complete_information(instance, handle, &at), ERROR_IO_PENDING);
        assert_eq!(at.wait().error, ERROR_SUCCESS);
        assert_eq!(add_data(instance, handle, &content, &at), ERROR_IO_PENDING);
        assert_eq!(at.wait().error, ERROR_SUCCESS);
        for key in [77, 0, usize::MAX] {
            let at = Overlapped::new(NULL);
            assert_eq!(flush(instance, 1, of_flush, key, &at), ERROR_IO_PENDING);
            let packet = take(of_flush, INFINITE).unwrap();
            assert_eq!((packet.error, packet.key, packet.overlapped), (ERROR_SUCCESS, key, at.raw()));
            assert_eq!((take(of_flush, 0), take(of_handle, 0)), (None, None));
        }
        // Without a port of its own there is no packet at all.
        let at = Overlapped::new(NULL);
        assert_eq!(flush(instance, 1, NULL, 77, &at), ERROR_IO_PENDING);
        assert_eq!(at.wait().error, ERROR_SUCCESS);
        assert_eq!((take(of_flush, 0), take(of_handle, 0)), (None, None));
        // Those of the handle go where they went before.
        let (at, mut buffer) = (Overlapped::new(NULL), [0; 10]);
        assert_eq!(block_read(instance, handle, &mut buffer, 0, &at), ERROR_IO_PENDING);
        let packet = take(of_handle, INFINITE).unwrap();
        assert_eq!((packet.error, packet.key), (PEERDIST_ERROR_MISSING_DATA, 1));
    });
}
