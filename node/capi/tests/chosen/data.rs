//! PeerDistClientAddData and PeerDistClientFlushContent.

use peerdist::abi::*;

use crate::support::*;

/// How a local read of one byte ends.
fn look(instance: HANDLE, handle: HANDLE, offset: usize) -> DWORD {
    read(instance, handle, offset as u64, 1, 0).0.error
}

fn blocks(world: &World) -> u64 {
    block_on(async { world.daemon().admin().cache_stats().await }).unwrap().blocks
}

#[test]
fn t73_the_end_of_a_content_is_out_of_bounds_and_what_hangs_over_it_is_left_out() {
    case("data::t73_the_end_of_a_content_is_out_of_bounds_and_what_hangs_over_it_is_left_out", |_| {
        let (instance, content) = (startup(), bytes(BLOCK + 1000));
        let longer = [content.clone(), vec![7; 5000]].concat();
        for version in [1, 2] {
            let handle = absent(instance, 1, &[b't', version as u8], &content, version);
            for (offset, piece) in
                [(content.len() as u64, &longer[..1]), (content.len() as u64, &[]), (u64::MAX, &longer)]
            {
                assert_eq!(add(instance, handle, offset, piece).error, PEERDIST_ERROR_OUT_OF_BOUNDS);
            }
            let all = Ended { error: ERROR_SUCCESS, bytes: longer.len() as u32, offset: 0 };
            assert_eq!(add(instance, handle, 0, &longer), all);
            let mut got = Vec::new();
            loop {
                let (ended, piece) = read_on(instance, handle, 100_000, 0);
                match ended.error {
                    ERROR_SUCCESS => got.extend_from_slice(&piece),
                    error => break assert_eq!(error, PEERDIST_ERROR_NO_MORE),
                }
            }
            assert!(got == content);
            assert_eq!(add(instance, handle, 5, &[]), Ended { error: ERROR_SUCCESS, bytes: 0, offset: 5 });
        }
    });
}

#[test]
fn t73_what_hangs_over_the_end_is_left_out_of_large_buffers_too() {
    case("data::t73_what_hangs_over_the_end_is_left_out_of_large_buffers_too", |_| {
        let instance = startup();
        // A content of as many bytes as one request carries, and one that ends in the second request.
        for (name, length) in [(b"t73 a", 1 << 20), (b"t73 b", (1 << 20) + 1000)] {
            let content = bytes(length);
            let longer = [content.clone(), vec![7; 2 << 20]].concat();
            let handle = absent(instance, 1, name, &content, 1);
            let all = Ended { error: ERROR_SUCCESS, bytes: longer.len() as u32, offset: 0 };
            assert_eq!(add(instance, handle, 0, &longer), all);
            assert_eq!(read(instance, handle, length as u64 - 1000, 1000, 0).1, content[length - 1000..]);
        }
    });
}

#[test]
fn t74_adding_wrong_bytes_succeeds_and_drops_them() {
    case("data::t74_adding_wrong_bytes_succeeds_and_drops_them", |world| {
        let (instance, content) = (startup(), bytes(3 * BLOCK));
        let handle = absent(instance, 1, b"t74", &content, 1);
        let mut wrong = content.clone();
        wrong[BLOCK] ^= 1;
        let all = Ended { error: ERROR_SUCCESS, bytes: wrong.len() as u32, offset: 0 };
        assert_eq!(add(instance, handle, 0, &wrong), all);
        assert_eq!(blocks(world), 2);
        // What was right there already stays.
        assert_eq!(add(instance, handle, 0, &vec![0; BLOCK]).error, ERROR_SUCCESS);
        assert_eq!(read(instance, handle, 10, 100, 0).1, content[10..110]);
    });
}

#[test]
fn t74_pieces_of_a_block_are_for_their_own_handle_until_the_block_is_whole() {
    case("data::t74_pieces_of_a_block_are_for_their_own_handle_until_the_block_is_whole", |world| {
        let (instance, content) = (startup(), bytes(2 * BLOCK));
        let handle = absent(instance, 1, b"t74", &content, 1);
        let other = readable(instance, 1, &information(instance, b"t74", 1));
        let wrong: Vec<u8> = content[1000..2000].iter().map(|byte| !byte).collect();
        add(instance, handle, 1000, &wrong);
        // Nothing can tell that they are wrong. They are what this program added, and nobody else gets them.
        assert_eq!(read(instance, handle, 1000, 1000, 0).1, wrong);
        assert_eq!((look(instance, other, 1000), blocks(world)), (PEERDIST_ERROR_MISSING_DATA, 0));
        // Now something can.
        add_ranges(instance, handle, &content, &[0..1000, 2000..BLOCK]);
        assert_eq!((look(instance, handle, 1000), blocks(world)), (PEERDIST_ERROR_MISSING_DATA, 0));
        add_ranges(instance, handle, &content, &[0..1500, 1500..BLOCK]);
        assert_eq!(read(instance, other, 1000, 1000, 0).1, content[1000..2000]);
        assert_eq!(blocks(world), 1);
        // They go with their handle.
        add_range(instance, handle, &content, BLOCK..BLOCK + 1000);
        assert_eq!(look(instance, handle, BLOCK), ERROR_SUCCESS);
        assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
        let again = readable(instance, 1, &information(instance, b"t74", 1));
        assert_eq!(look(instance, again, BLOCK), PEERDIST_ERROR_MISSING_DATA);
    });
}

#[test]
fn t76_a_flush_of_an_unknown_tag_succeeds() {
    case("data::t76_a_flush_of_an_unknown_tag_succeeds", |world| {
        let (instance, content) = (startup(), bytes(1000));
        let handle = cached(instance, 1, b"t76", &content, 1);
        for tag in [0, 2, 0xFF] {
            flush_all(instance, tag);
        }
        assert_eq!((look(instance, handle, 0), blocks(world)), (ERROR_SUCCESS, 1));
        flush_all(instance, 1);
        flush_all(instance, 1);
        assert_eq!((look(instance, handle, 0), blocks(world)), (PEERDIST_ERROR_MISSING_DATA, 0));
    });
}

#[test]
fn t76_handles_with_a_flushed_tag_live_on() {
    case("data::t76_handles_with_a_flushed_tag_live_on", |_| {
        let (instance, content) = (startup(), bytes(3 * BLOCK));
        let handle = cached(instance, 1, b"t76", &content, 1);
        let (first, _) = read_on(instance, handle, 1000, 0);
        assert_eq!(first.bytes, 1000);
        // Another instance of this user may flush it.
        flush_all(startup(), 1);
        let rest = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes: 3 * BLOCK as u32 - 1000, offset: 1000 };
        assert_eq!(read_on(instance, handle, 1000, 0).0, rest);
        add_range(instance, handle, &content, BLOCK..2 * BLOCK);
        assert_eq!(read(instance, handle, BLOCK as u64, 100, 0).1, content[BLOCK..BLOCK + 100]);
    });
}

#[test]
fn t76_a_block_belongs_to_the_tag_under_which_it_came_first() {
    case("data::t76_a_block_belongs_to_the_tag_under_which_it_came_first", |_| {
        let (instance, content) = (startup(), bytes(2 * BLOCK));
        let first = cached(instance, 1, b"t76", &content, 1);
        let second = readable(instance, 2, &information(instance, b"t76", 1));
        add_ranges(instance, second, &content, &[0..BLOCK, BLOCK..2 * BLOCK]);
        flush_all(instance, 2);
        for handle in [first, second] {
            assert_eq!(look(instance, handle, 0), ERROR_SUCCESS);
        }
        flush_all(instance, 1);
        for handle in [first, second] {
            assert_eq!(look(instance, handle, 0), PEERDIST_ERROR_MISSING_DATA);
        }
        add_range(instance, second, &content, 0..BLOCK);
        flush_all(instance, 1);
        assert_eq!(look(instance, first, 0), ERROR_SUCCESS);
    });
}

#[test]
fn t76_every_user_has_tags_of_their_own() {
    const NAME: &str = "data::t76_every_user_has_tags_of_their_own";
    case_without_daemon(NAME, |world| {
        let (instance, theirs) = (startup(), bytes(3 * BLOCK));
        if is_other_process() {
            // Ours is not touched by this flush, what was added before it is.
            cached(instance, 1, b"goes", &bytes(1000), 1);
            flush_all(instance, 1);
            cached(instance, 1, b"stays", &theirs, 1);
            return;
        }
        world.start_with("node.mode = \"local\"\n");
        wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
        let ours = cached(instance, 1, b"ours", &bytes(2 * BLOCK), 1);
        if !as_another_user(NAME, world) {
            return;
        }
        assert_eq!(blocks(world), 2 + 3);
        assert_eq!(look(instance, ours, 0), ERROR_SUCCESS);
        flush_all(instance, 1);
        assert_eq!(look(instance, ours, 0), PEERDIST_ERROR_MISSING_DATA);
        let theirs = absent(instance, 2, b"theirs", &theirs, 1);
        assert_eq!(look(instance, theirs, 2 * BLOCK), ERROR_SUCCESS);
        assert_eq!(blocks(world), 3);
    });
}

#[test]
fn t76_the_other_processes_of_a_user_have_the_same_tags() {
    const NAME: &str = "data::t76_the_other_processes_of_a_user_have_the_same_tags";
    case_without_daemon(NAME, |world| {
        if is_other_process() {
            return flush_all(startup(), 1);
        }
        world.start_with("node.mode = \"local\"\n");
        let instance = startup();
        let goes = cached(instance, 1, b"goes", &bytes(1000), 1);
        let stays = cached(instance, 2, b"stays", &bytes(2000), 1);
        in_another_process(NAME, world);
        assert_eq!(look(instance, goes, 0), PEERDIST_ERROR_MISSING_DATA);
        assert_eq!(look(instance, stays, 0), ERROR_SUCCESS);
    });
}
