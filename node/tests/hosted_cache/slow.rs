//! Hosts that keep the hosted cache waiting, and one among them that has what it offers.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use peerdist_node::hosted_cache::HostedCacheStatus;
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, Response, SegmentDescriptor};
use peerdist_protocol::retrieval::BlkTail;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::descriptor;
use crate::support::{Blocks, Host, Hosted, opaque};

/// A port at all addresses of this host whose answers come byte by byte and do not end.
async fn dripping() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n").await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    sent = stream.write_all(b"x").await;
                }
            });
        }
    });
    port
}

/// A segment that nobody else offers.
fn numbered(number: u32) -> SegmentDescriptor {
    let mut id = [99; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SegmentDescriptor { segment_id: SegmentId::from_slice(&id).unwrap(), ..descriptor(0, 60_000) }
}

/// A host that has these segments.
async fn good(number: u8, segments: &[SegmentDescriptor]) -> Host {
    holding(number, segments, Blocks::default()).await
}

async fn holding(number: u8, segments: &[SegmentDescriptor], blocks: Blocks) -> Host {
    for segment in segments {
        let block = opaque(segment.segment_size as usize, CryptoAlgoId::Aes128, 1);
        blocks.insert(segment.segment_id, 0, BlkTail::from(&block));
    }
    Host::start(number, blocks).await
}

/// Runs that took too long.
fn slow(status: &HostedCacheStatus) -> u64 {
    status.pulls_failed.get("slow").copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_behind_three_hundred_that_never_finish_an_answer_are_fetched_from_soon() {
    let hosted = Hosted::start(|_| {}).await;
    let segments: Vec<_> = (0..30).map(|number| descriptor(number, 1000)).collect();
    let known = good(2, &segments[..15]).await;
    hosted.offer(&known, &segments[..1]).await;
    hosted.until("the first segment", |status| status.pulled_segments == 1).await;

    let port = dripping().await;
    for number in 0..300 {
        let ip = Ipv4Addr::from_bits(0x7f00_0100 + number);
        let segments = (0..8).map(|index| numbered(8 * number + index)).collect();
        let offer = Offer::Batched(BatchedOffer { port, segments });
        assert_eq!(hosted.post(ip, &offer.emit()).await.1, Some(Response::Ok));
    }
    let status = hosted.until("places to be taken", |status| status.pulling >= 48).await;
    assert_eq!(status.pulling, 48);
    // Who delivered before does not wait for anybody.
    hosted.offer(&known, &segments[1..15]).await;
    let status = hosted.until("the known host's segments", |status| status.pulled_segments == 15).await;
    assert!(slow(&status) < 48, "{status:#?}");
    // Who is new waits for a place, which comes within some seconds.
    let new = good(3, &segments[15..]).await;
    hosted.offer(&new, &segments[15..]).await;
    let status = hosted.until("the new host's segments", |status| status.pulled_segments == 30).await;
    assert!(slow(&status) < 120, "{status:#?}");
}

/// Segments fetched that came with a tag.
fn pulled(status: &HostedCacheStatus, tag: ContentTag) -> u64 {
    status.tags.get(tag.name()).map_or(0, |tag| tag.pulled_segments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_whose_every_block_is_right_and_takes_long_do_not_keep_a_quick_one_waiting() {
    const DRIPPING: u32 = 6;
    const EACH: u32 = 30;
    // Few places, so that few hosts hold them all.
    let hosted = Hosted::start(|config| config.hosted_cache.max_pulls = NonZeroU32::new(4).unwrap()).await;
    let tagged = |content_tag, numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|number| SegmentDescriptor { content_tag, ..numbered(number) }).collect()
    };
    // A run of one such block is not slow yet.
    let delay = Duration::from_millis(600);
    let mut dripping = Vec::new();
    for number in 0..DRIPPING {
        let segments = tagged(ContentTag::BITS, number * 1000..number * 1000 + EACH);
        let host = holding(10 + number as u8, &segments, Blocks::delayed(delay)).await;
        hosted.offer(&host, &segments[..1]).await;
        dripping.push((host, segments));
    }
    let segments = tagged(ContentTag::SMB, 10_000..10_128);
    let quick = good(2, &segments).await;
    hosted.offer(&quick, &segments[..1]).await;
    let all_delivered = |status: &HostedCacheStatus| status.pulled_segments == u64::from(DRIPPING) + 1;
    hosted.until("a block of each", all_delivered).await;

    for (host, segments) in &dripping {
        hosted.offer(host, &segments[1..]).await;
    }
    hosted.until("places to be taken", |status| status.pulling == 3).await;
    hosted.offer(&quick, &segments[1..]).await;
    let status = hosted.until("the quick host's segments", |status| pulled(status, ContentTag::SMB) == 128).await;
    let dripped = pulled(&status, ContentTag::BITS);
    assert!(dripped < u64::from(DRIPPING * EACH), "turn by turn: {status:#?}");
    for segment in &segments {
        assert!(hosted.get(segment.segment_id, 0).await.is_some());
    }
    // Who is new has a place as well.
    let segments = tagged(ContentTag::WEBIO, 20_000..20_001);
    hosted.offer(&good(3, &segments).await, &segments).await;
    let status = hosted.until("the new host's segment", |status| pulled(status, ContentTag::WEBIO) == 1).await;
    assert!(pulled(&status, ContentTag::BITS) < u64::from(DRIPPING * EACH), "{status:#?}");
}
