//! Hosts that offer and then give nothing, or not in time, with limits that a test can wait for.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use peerdist_protocol::content::{BlockIndex, BlockRanges, CryptoAlgoId, EncryptedBlock, SegmentId};
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, SegmentDescriptor};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::client::ClientLimits;
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::store::StoreConfig;

const RUN_TIME: Duration = Duration::from_millis(300);
/// Nothing here takes long; a loaded machine may.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dropped in this order.
struct Bench {
    cache: HostedCache,
    _directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new(directory.path().join("cache"));
        config.limits.keep_free = 0;
        let store = Store::open(&config).unwrap();
        let client = Client::new(ClientLimits::default());
        let on = Arc::new(AtomicBool::new(true));
        let cache =
            HostedCache::start_with(config::HostedCache::default(), store, client, on, Vec::new(), RUN_TIME).unwrap();
        Self { cache, _directory: directory }
    }

    fn offer(&self, host: SocketAddr, segments: Vec<SegmentDescriptor>) {
        let offer = Offer::Batched(BatchedOffer { port: host.port(), segments });
        assert_eq!(self.cache.take(host, offer), Response::Ok);
    }

    async fn until(&self, what: &str, is_so: impl Fn(&HostedCacheStatus) -> bool) -> HostedCacheStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.cache.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn idle(&self) -> HostedCacheStatus {
        self.until("nothing to be left to do", |status| status.pulling == 0 && self.cache.0.desk().is_empty()).await
    }
}

/// Every so many-th block of every segment.
struct Every(usize);

impl BlockSource for Every {
    fn held(&self, _: &SegmentId) -> BlockRanges {
        (0..512).step_by(self.0).collect()
    }

    async fn read(&self, _: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        let block = EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: vec![1; 1000].into() };
        (index as usize).is_multiple_of(self.0).then(|| BlkTail::from(&block))
    }
}

/// No block of any segment.
struct Nothing;

impl BlockSource for Nothing {
    fn held(&self, _: &SegmentId) -> BlockRanges {
        BlockRanges::default()
    }

    async fn read(&self, _: &SegmentId, _: BlockIndex) -> Option<BlkTail> {
        None
    }
}

async fn listen(host: u8) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn serving(host: u8, source: impl BlockSource) -> SocketAddr {
    let (listener, address) = listen(host).await;
    let server = Server::new(Arc::new(source), ServerLimits::default());
    tokio::spawn(async move { server.serve(vec![Listener::retrieval(listener)], std::future::pending()).await });
    address
}

/// A host whose answers come byte by byte and do not end.
async fn slow_host(host: u8) -> SocketAddr {
    let (listener, address) = listen(host).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n").await;
                while sent.is_ok() {
                    tokio::time::sleep(RUN_TIME / 4).await;
                    sent = stream.write_all(b"x").await;
                }
            });
        }
    });
    address
}

/// A segment with blocks of 1000 bytes.
fn segment(number: u32, blocks: u32) -> SegmentDescriptor {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    SegmentDescriptor {
        block_size: 1000,
        segment_size: 1000 * blocks,
        content_tag: ContentTag::WEBIO,
        hash_algorithm: 1,
        segment_id: SegmentId::from_slice(&id).unwrap(),
    }
}

#[tokio::test]
async fn hosts_whose_answers_do_not_end_hold_no_place_for_long_and_others_come_first() {
    let bench = Bench::new();
    for host in 0..60 {
        let segments = (0..8).map(|number| segment(u32::from(host) * 100 + number, 32)).collect();
        bench.offer(slow_host(host + 10).await, segments);
    }
    bench.until("all places of new hosts to be taken", |status| status.pulling == 48).await;
    let good: Vec<_> = (0..10).map(|number| segment(1000 + number, 40)).collect();
    bench.offer(serving(2, Every(1)).await, good);
    bench.until("the good host's segments", |status| status.pulled_segments == 10).await;
    // After three runs in vain it is over with a host, until its next offer.
    let status = bench.idle().await;
    assert_eq!((status.pulled_blocks, status.pulls_failed["slow"]), (400, 180), "{status:#?}");
}

#[tokio::test]
async fn hosts_without_blocks_are_soon_asked_no_more() {
    let bench = Bench::new();
    let host = serving(2, Nothing).await;
    bench.offer(host, vec![segment(0, 512)]);
    let asked = bench.idle().await.pulls_failed["empty"];
    assert!((16..16 + 8).contains(&asked), "{asked} of 512");
    bench.offer(host, (0..128).map(|number| segment(number, 512)).collect());
    let status = bench.idle().await;
    let asked = status.pulls_failed["empty"];
    assert!((48..100).contains(&asked), "{asked} of 65,536");
    assert!(status.ignored["empty"] >= 120, "{status:#?}");
}

#[tokio::test]
async fn hosts_with_part_of_a_segment_are_asked_for_it_and_little_more() {
    for (step, kept, empty) in [(2, 256, 256), (32, 16, 32)] {
        let bench = Bench::new();
        bench.offer(serving(2, Every(step)).await, vec![segment(0, 512)]);
        let status = bench.idle().await;
        assert_eq!((status.pulled_blocks, status.pulls_failed["empty"]), (kept, empty));
    }
}
