//! Contents that content information describes in part.

use std::time::Duration;

use bytes::Bytes;
use peerdist_node::control::wire::ErrorCode;

use super::{Got, HERE, code, describe, got, publish, read};
use crate::daemon::Home;
use crate::fixture::content;

#[tokio::test]
async fn reads_stay_inside_of_the_range() {
    const RANGE: std::ops::Range<u64> = 70_000..170_000;
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(300_000));
    publish(&session, b"name", &bytes).await;
    for version in [1, 2] {
        let open = session.open_content(describe(&session, b"name", version, RANGE).await).await.unwrap();
        assert_eq!(open.ranges(), std::slice::from_ref(&RANGE));
        let wait = Duration::from_millis(1);
        for outside in [0, RANGE.start - 1, RANGE.end, RANGE.end + 1, 299_999, 300_000, u64::MAX] {
            assert_eq!(code(open.block_read(outside, 10, HERE).await), ErrorCode::NoMore, "{outside}");
            assert_eq!(code(open.block_read(outside, 10, wait).await), ErrorCode::NoMore, "{outside}");
            assert_eq!(code(open.stream_read(outside, 10, wait).await), ErrorCode::NoMore, "{outside}");
            assert_eq!(code(open.available(outside).await), ErrorCode::NoMore, "{outside}");
        }
        for inside in [RANGE.start, RANGE.start + 1, RANGE.end - 1] {
            for read in [
                open.block_read(inside, 10, HERE).await,
                open.block_read(inside, 10, wait).await,
                open.stream_read(inside, 10, wait).await,
            ] {
                let Got::Missing(missing, _) = got(read).await.unwrap() else { panic!("nobody has it") };
                assert!(missing.start == inside && missing.end > inside && missing.end <= RANGE.end, "{missing:?}");
            }
            assert_eq!(open.available(inside).await.unwrap(), 0);
        }
        open.add_data(0, bytes.clone()).await.unwrap();
        assert_eq!(read(&open, RANGE).await, bytes[RANGE.start as usize..RANGE.end as usize], "version {version}");
        assert_eq!(open.available(RANGE.start).await.unwrap(), RANGE.end - RANGE.start);
        let last = got(open.stream_read(RANGE.end - 1, 10, wait).await).await.unwrap();
        assert_eq!(last, Got::Data(RANGE.end - 1, bytes.slice(169_999..170_000)));
        session.flush([0; 16]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_added_outside_of_the_range_waits_for_its_description() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(900_000));
    publish(&session, b"name", &bytes).await;
    for version in [1, 2] {
        let mut open = session.open_content(describe(&session, b"name", version, 0..100_000).await).await.unwrap();
        open.add_data(0, bytes.slice(..850_000)).await.unwrap();
        open.add_data(850_000, Bytes::from(vec![0; 50_000])).await.unwrap();
        assert_eq!(code(open.block_read(200_000, 1, HERE).await), ErrorCode::NoMore);
        assert_eq!(read(&open, 0..100_000).await, bytes[..100_000]);
        let before = home.admin().cache_stats().await.unwrap().blocks;
        open.add_content_information(describe(&session, b"name", version, 100_000..900_000).await).await.unwrap();
        let whole_blocks = home.admin().cache_stats().await.unwrap().blocks;
        assert!(whole_blocks > before, "{before} {whole_blocks}");
        assert_eq!(read(&open, 100_000..700_000).await, bytes[100_000..700_000]);
        let last = got(open.block_read(899_999, 1, HERE).await).await.unwrap();
        assert!(matches!(last, Got::Missing(..)), "wrong bytes are given out");
        open.add_data(100_000, bytes.slice(100_000..)).await.unwrap();
        assert_eq!(read(&open, 0..900_000).await, bytes);
        session.flush([0; 16]).await.unwrap();
    }
}

/// Bytes were added where, as it turns out, the content has none.
#[tokio::test]
async fn what_lies_behind_the_end_is_dropped_when_the_end_is_known() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(300_000));
    publish(&session, b"name", &bytes).await;
    for version in [1, 2] {
        let mut open = session.open_content(describe(&session, b"name", version, 70_000..100_000).await).await.unwrap();
        open.add_data(400_000, Bytes::from_static(&[1; 100])).await.unwrap();
        open.add_data(200_000, bytes.slice(200_000..)).await.unwrap();
        let all = describe(&session, b"name", version, 0..300_000).await;
        open.add_content_information(all).await.unwrap();
        assert_eq!(code(open.add_data(400_000, Bytes::from_static(&[1; 100])).await), ErrorCode::OutOfBounds);
        assert_eq!(code(open.add_data(300_000, Bytes::from_static(&[1])).await), ErrorCode::OutOfBounds);
        assert_eq!(read(&open, 270_000..300_000).await, bytes[270_000..]);
        session.flush([0; 16]).await.unwrap();
    }
}

/// What is added may span a part that nothing describes.
#[tokio::test]
async fn both_sides_of_a_gap_are_taken_at_once() {
    let home = Home::new("");
    let _daemon = home.start();
    let session = home.session().await;
    let bytes = Bytes::from(content(900_000));
    publish(&session, b"name", &bytes).await;
    for version in [1, 2] {
        let mut open = session.open_content(describe(&session, b"name", version, 0..100_000).await).await.unwrap();
        open.add_content_information(describe(&session, b"name", version, 700_000..800_000).await).await.unwrap();
        open.add_data(0, bytes.clone()).await.unwrap();
        assert_eq!(read(&open, 0..100_000).await, bytes[..100_000]);
        assert_eq!(read(&open, 700_000..800_000).await, bytes[700_000..800_000]);
        assert_eq!(code(open.block_read(400_000, 1, HERE).await), ErrorCode::NoMore);
        open.add_content_information(describe(&session, b"name", version, 100_000..700_000).await).await.unwrap();
        assert_eq!(read(&open, 0..800_000).await, bytes[..800_000], "version {version}");
        session.flush([0; 16]).await.unwrap();
    }
}
