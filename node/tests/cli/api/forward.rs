//! Reading forward over the cache, where what comes next is read ahead.

use std::time::Duration;

use bytes::Bytes;
use peerdist_node::api::{Content, Outcome};

use super::HERE;
use super::in_process::{api, described};
use crate::fixture::content;

/// Several runs of blocks, and a rest.
const LENGTH: usize = 9_000_001;
const DEFAULT: Duration = Duration::from_secs(5);

/// The bytes of a read; `None` where they are not here.
fn bytes_of(outcome: Outcome, position: usize) -> Option<Vec<u8>> {
    let Outcome::Data { range, pieces, .. } = outcome else { return None };
    let bytes = pieces.concat();
    assert_eq!(range, position as u64..(position + bytes.len()) as u64);
    Some(bytes)
}

async fn block(content: &Content, position: usize, max: u64, timeout: Duration) -> Option<Vec<u8>> {
    bytes_of(content.client_block_read(position as u64, max, timeout).await.unwrap(), position)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_forward_gets_every_byte_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path(), "").await;
    let instance = api.startup(1).unwrap();
    let bytes = Bytes::from(content(LENGTH));
    for version in [1, 2] {
        let content = described(&instance, &bytes, version).await;
        content.client_add_data(0, bytes.clone()).await.unwrap();
        for max in [40_000_u64, 65_536, 1 << 20, 3 << 20] {
            for timeout in [HERE, DEFAULT] {
                let (mut blocks, mut stream) = (Vec::new(), Vec::new());
                while blocks.len() < LENGTH {
                    let piece = block(&content, blocks.len(), max, timeout).await.unwrap();
                    assert!(piece.len() as u64 <= max);
                    blocks.extend(piece);
                }
                assert!(blocks == bytes);
                while stream.len() < LENGTH {
                    let read = content.stream_read_at(stream.len() as u64, max, Some(timeout)).await.unwrap();
                    stream.extend(bytes_of(read, stream.len()).unwrap());
                }
                assert!(stream == bytes);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_ahead_does_not_stand_in_for_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path(), "").await;
    let instance = api.startup(1).unwrap();
    // More than is read ahead.
    let bytes = Bytes::from(content(24 << 20));
    let content = described(&instance, &bytes, 1).await;
    content.client_add_data(0, bytes.clone()).await.unwrap();
    let mut position = 0;
    while position < 1 << 20 {
        position += block(&content, position, 65_536, DEFAULT).await.unwrap().len();
    }
    instance.client_flush_content([0; 16]).await.unwrap();
    // What is in memory already may still come, whole and right; then the rest is missing.
    while let Some(piece) = block(&content, position, 65_536, HERE).await {
        assert!(bytes[position..].starts_with(&piece));
        position += piece.len();
        assert!(position < bytes.len(), "nothing was gone");
    }
    let again = content.stream_read_at(position as u64, 1 << 20, Some(DEFAULT)).await.unwrap();
    assert!(matches!(again, Outcome::Missing { range, .. } if range.start == position as u64));
}
