//! Contents fetched for real: discovery over loopback multicast, retrieval over TCP, a store on disk.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use peerdist_discovery::{Config, Discovery, Event, Interfaces};
use peerdist_node::fetch::why::PeerNote;
use peerdist_node::fetch::{
    AddDataError, Content, FetchConfig, Fetcher, MissingReason, NextError, Read, Source, Sources,
};
use peerdist_node::store::{SegmentKey, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{
    BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, HashOptions, Hasher, SegmentId,
    ServerSecret, VerifiedBlock,
};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::discovery::{Form, Held};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Server, ServerLimits};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const BLOCK: u64 = 65_536;
/// Nothing here takes long; a loaded machine may.
const PATIENCE: Duration = Duration::from_secs(100);

/// A content and both descriptions of it.
struct Sample {
    bytes: Bytes,
    v1: ContentInformation,
    v2: ContentInformation,
}

fn sample(length: usize) -> Sample {
    sample_with(length, 0x9e37_79b9_7f4a_7c15)
}

fn sample_with(length: usize, mut state: u64) -> Sample {
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(length / 8 + 1).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };
    let mut hasher = Hasher::new(options, &ServerSecret::from_bytes(*b"a secret"));
    hasher.update(&bytes);
    let hashed = hasher.finish().unwrap();
    Sample { bytes: bytes.into(), v1: hashed.v1.unwrap(), v2: hashed.v2.unwrap() }
}

impl Sample {
    fn both(&self) -> [ContentInformation; 2] {
        [self.v1.clone(), self.v2.clone()]
    }
}

/// Every block of a content as a peer would send it.
fn sealed(sample: &Sample, information: &ContentInformation) -> BTreeMap<(SegmentId, BlockIndex), BlkTail> {
    sealed_with(CryptoAlgoId::Aes128, sample, information)
}

fn sealed_with(
    algorithm: CryptoAlgoId,
    sample: &Sample,
    information: &ContentInformation,
) -> BTreeMap<(SegmentId, BlockIndex), BlkTail> {
    let mut blocks = BTreeMap::new();
    for segment in information.segments() {
        for index in 0..segment.block_count() {
            let range = segment.block_range(index).unwrap();
            let plain = sample.bytes.slice(range.start as usize..range.end as usize);
            let block = VerifiedBlock::verify(plain, &segment.block_check(index).unwrap()).unwrap();
            let iv = [index as u8; 16];
            let sealed = EncryptedBlock::seal(&block, segment.secret(), algorithm, iv).unwrap();
            blocks.insert((segment.id(), index), BlkTail::from(&sealed));
        }
    }
    blocks
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Delivers something else, correctly encrypted.
    WrongBytes,
    /// Never answers.
    Stalls,
    /// Is gone after so many blocks.
    DiesAfter(u64),
}

struct Blocks {
    blocks: BTreeMap<(SegmentId, BlockIndex), BlkTail>,
    manner: Manner,
    asked: AtomicU64,
    stop: CancellationToken,
}

impl BlockSource for Blocks {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.blocks.range((*segment, 0)..=(*segment, u32::MAX)).map(|((_, index), _)| *index).collect()
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let tail = self.blocks.get(&(*segment, index))?;
        match self.manner {
            Manner::Honest => {}
            Manner::WrongBytes => {
                let mut bytes = tail.bytes.to_vec();
                bytes[100] ^= 1;
                return Some(BlkTail { bytes: bytes.into(), ..tail.clone() });
            }
            Manner::Stalls => pending().await,
            Manner::DiesAfter(blocks) if asked >= blocks => {
                self.stop.cancel();
                pending().await
            }
            Manner::DiesAfter(_) => {}
        }
        Some(tail.clone())
    }
}

/// Hosts that find each other on the loopback interface, at a UDP port of their own.
struct Lan {
    port: u16,
    _taken: Socket,
    peers: Vec<Peer>,
}

struct Peer {
    source: Arc<Blocks>,
    server: Server<Blocks>,
    address: SocketAddr,
    _discovery: Discovery,
}

impl Lan {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { port, _taken: socket, peers: Vec::new() }
    }

    fn config(&self, retrieval_port: u16) -> Config {
        Config {
            interfaces: Interfaces::Only(vec!["lo".to_owned()]),
            ipv6: false,
            port: self.port,
            retrieval_port,
            ..Config::default()
        }
    }

    /// Adds a host that holds these blocks.
    async fn add(
        &mut self,
        blocks: BTreeMap<(SegmentId, BlockIndex), BlkTail>,
        all: &ContentInformation,
        manner: Manner,
    ) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let source = Arc::new(Blocks { blocks, manner, asked: AtomicU64::new(0), stop: stop.clone() });
        let server = Server::new(Arc::clone(&source), ServerLimits::default());
        let serving = server.clone();
        tokio::spawn(async move {
            // Dropping the future closes every connection, as a power failure would.
            tokio::select! {
                () = serving.serve(vec![listener.into()], pending()) => {}
                () = stop.cancelled() => {}
            }
        });
        let counts: BTreeMap<SegmentId, u32> = all.segments().iter().map(|s| (s.id(), s.block_count())).collect();
        let held = Arc::clone(&source);
        let lookup = move |id: &SegmentId| {
            let blocks = held.held(id).len();
            (blocks > 0).then(|| Held { blocks, complete: Some(&blocks) == counts.get(id), age: None })
        };
        let (discovery, mut events) = Discovery::start(self.config(address.port()), Arc::new(lookup)).unwrap();
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        self.peers.push(Peer { source, server, address, _discovery: discovery });
    }

    fn asked(&self, peer: usize) -> u64 {
        self.peers[peer].source.asked.load(Ordering::Relaxed)
    }

    /// A host that downloads, with a store in a directory.
    fn fetcher(&self, dir: &TempDir) -> (Fetcher, Store) {
        let store = Store::open(&StoreConfig::new(dir.path().join("store"))).unwrap();
        let held = store.clone();
        let lookup = Arc::new(move |id: &SegmentId| held.availability(id));
        let discovery = Discovery::start(self.config(9), lookup).unwrap();
        let client = Client::new(ClientLimits::default());
        (Fetcher::new(store.clone(), Some(discovery), client, FetchConfig::default()), store)
    }
}

fn alone(dir: &TempDir) -> (Fetcher, Store) {
    let store = Store::open(&StoreConfig::new(dir.path().join("store"))).unwrap();
    let client = Client::new(ClientLimits::default());
    (Fetcher::new(store.clone(), None, client, FetchConfig::default()), store)
}

/// Reads a range as a downloader does, with `origin` for what nobody has, and compares every byte.
async fn read(content: &Content, origin: &Bytes, range: Range<u64>) -> Sources {
    let mut sources = Sources::default();
    let mut position = range.start;
    while position < range.end {
        let next = timeout(PATIENCE, content.next(position)).await.unwrap().unwrap();
        match next {
            Read::Data { range, pieces, source } => {
                let bytes = pieces.concat();
                assert_eq!((range.start, range.end - range.start), (position, bytes.len() as u64));
                assert!(bytes == origin.slice(range.start as usize..range.end as usize), "wrong bytes at {range:?}");
                sources.add(source, bytes.len() as u64);
                position = range.end;
            }
            Read::Missing { range, .. } => {
                assert!(range.start == position && range.end > position);
                let bytes = origin.slice(range.start as usize..range.end as usize);
                let outcome = content.add_data(range.start, bytes).await.unwrap();
                assert_eq!(outcome.verified.iter().map(|v| v.bytes.len() as u64).sum::<u64>(), range.end - position);
                sources.add(Source::Origin, range.end - position);
                position = range.end;
            }
        }
    }
    sources
}

fn notes(content: &Content) -> Vec<PeerNote> {
    content.explanation().segments.iter().flat_map(|story| &story.notes).map(|noted| noted.note).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_from_one_peer_and_then_from_the_cache() {
    let sample = sample(5_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        lan.add(sealed(&sample, &information), &information, Manner::Honest).await;
        let dir = TempDir::new().unwrap();
        let (fetcher, store) = lan.fetcher(&dir);
        let content = fetcher.open(information.clone());
        let sources = read(&content, &sample.bytes, 0..5_000_000).await;
        assert_eq!(sources.peers, BTreeMap::from([(lan.peers[0].address, 5_000_000)]));
        assert_eq!(content.explanation().sources, sources);
        let probes = content.explanation().probes;
        assert!(probes.iter().flat_map(|probe| &probe.answers).any(|answer| answer.peer == lan.peers[0].address));
        // As it came, and bound: it can be served on.
        for segment in information.segments() {
            assert!(store.availability(&segment.id()).unwrap().complete);
            let tail = &lan.peers[0].source.blocks[&(segment.id(), 0)];
            assert_eq!(store.read(&segment.id(), 0).unwrap().as_ref(), Some(tail));
        }
        // Segment lists are for hosted caches, and versions are never asked for.
        let counters = lan.peers[0].server.counters();
        assert_eq!((counters.segment_lists, counters.replies), (0, 0));
        let asked = lan.asked(0);
        let again = read(&fetcher.open(information), &sample.bytes, 0..5_000_000).await;
        assert_eq!((again.cache, again.all_peers(), again.origin), (5_000_000, 0, 0));
        assert_eq!(lan.asked(0), asked);
        let counters = fetcher.counters();
        assert_eq!((counters.bytes_from_peers, counters.bytes_from_cache), (5_000_000, 5_000_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_came_in_the_clear_is_encrypted_before_it_is_kept() {
    let sample = sample(1_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        lan.add(sealed_with(CryptoAlgoId::None, &sample, &information), &information, Manner::Honest).await;
        let dir = TempDir::new().unwrap();
        let (fetcher, store) = lan.fetcher(&dir);
        let sources = read(&fetcher.open(information.clone()), &sample.bytes, 0..1_000_000).await;
        assert_eq!(sources.all_peers(), 1_000_000);
        for segment in information.segments() {
            for index in 0..segment.block_count() {
                let kept = store.read_bound(&segment.id(), index).unwrap().unwrap();
                assert_eq!(kept.algorithm, CryptoAlgoId::Aes128);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_are_ready_are_read_together() {
    let sample = sample(5_000_000);
    for information in sample.both() {
        let dir = TempDir::new().unwrap();
        let (fetcher, _) = alone(&dir);
        fetcher.open(information.clone()).add_data(0, sample.bytes.clone()).await.unwrap();
        let content = fetcher.open(information);
        // What follows is read ahead.
        content.next(0).await.unwrap();
        timeout(PATIENCE, async {
            while fetcher.counters().bytes_from_cache < 5_000_000 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let Read::Data { range, pieces, source } = content.next(7).await.unwrap() else { panic!() };
        assert_eq!((range.start, source), (7, Source::Cache));
        assert!(pieces.len() > 2 && (1 << 20..(1 << 20) + 131_072).contains(&range.end), "{range:?}");
        assert!(pieces.concat() == sample.bytes[7..range.end as usize]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_share_the_work() {
    let sample = sample(24_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        for _ in 0..2 {
            lan.add(sealed(&sample, &information), &information, Manner::Honest).await;
        }
        let dir = TempDir::new().unwrap();
        let (fetcher, _) = lan.fetcher(&dir);
        let content = fetcher.open(information);
        let peers = || {
            let probes = content.explanation().probes;
            let answers = probes.into_iter().flat_map(|probe| probe.answers);
            answers.map(|answer| answer.peer).collect::<BTreeSet<_>>()
        };
        timeout(PATIENCE, async {
            while peers().len() < 2 {
                // What is fetched meanwhile is not all of it.
                content.next(0).await.unwrap();
            }
        })
        .await
        .unwrap();
        let sources = read(&content, &sample.bytes, 0..24_000_000).await;
        assert_eq!((sources.all_peers(), sources.peers.len()), (24_000_000, 2), "{sources:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_gives_its_part() {
    let sample = sample(8_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        let mut number = 0;
        let (one, two): (BTreeMap<_, _>, BTreeMap<_, _>) =
            sealed(&sample, &information).into_iter().partition(|((id, _), _)| {
                number += 1;
                if information.segments().len() == 1 { number % 2 == 0 } else { id.as_bytes()[0] % 2 == 0 }
            });
        lan.add(one, &information, Manner::Honest).await;
        lan.add(two, &information, Manner::Honest).await;
        let dir = TempDir::new().unwrap();
        let (fetcher, _) = lan.fetcher(&dir);
        let sources = read(&fetcher.open(information), &sample.bytes, 0..8_000_000).await;
        assert!(sources.all_peers() * 100 >= 95 * 8_000_000 && sources.peers.len() == 2, "{sources:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_wrong_bytes_is_not_asked_again() {
    let sample = sample(4_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        lan.add(sealed(&sample, &information), &information, Manner::WrongBytes).await;
        let dir = TempDir::new().unwrap();
        let (fetcher, store) = lan.fetcher(&dir);
        let content = fetcher.open(information.clone());
        let sources = read(&content, &sample.bytes, 0..4_000_000).await;
        assert_eq!((sources.all_peers(), sources.origin), (0, 4_000_000));
        assert!(notes(&content).contains(&PeerNote::BadHash));
        // What was under way when the first one came counts, too; nothing else.
        let asked = lan.asked(0);
        assert!(asked <= 2, "asked {asked} times");
        store.clear().unwrap();
        let content = fetcher.open(information);
        read(&content, &sample.bytes, 0..4_000_000).await;
        assert_eq!(lan.asked(0), asked);
        assert!(notes(&content).contains(&PeerNote::SkippedForBadHash));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stalls_costs_time_only() {
    let sample = sample(4_000_000);
    let information = sample.v2.clone();
    let mut lan = Lan::new();
    lan.add(sealed(&sample, &information), &information, Manner::Stalls).await;
    lan.add(sealed(&sample, &information), &information, Manner::Honest).await;
    let dir = TempDir::new().unwrap();
    let (fetcher, _) = lan.fetcher(&dir);
    let content = fetcher.open(information);
    let sources = read(&content, &sample.bytes, 0..4_000_000).await;
    assert!(
        sources.peers.get(&lan.peers[1].address).is_some_and(|bytes| *bytes * 100 >= 95 * 4_000_000),
        "{sources:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lan_that_stalls_ends_at_the_origin() {
    let sample = sample(1_000_000);
    let information = sample.v1.clone();
    let mut lan = Lan::new();
    lan.add(sealed(&sample, &information), &information, Manner::Stalls).await;
    let dir = TempDir::new().unwrap();
    let (fetcher, _) = lan.fetcher(&dir);
    let content = fetcher.open(information);
    let sources = read(&content, &sample.bytes, 0..1_000_000).await;
    assert_eq!(sources.origin, 1_000_000);
    assert!(notes(&content).contains(&PeerNote::TimedOut));
    let reasons = content.explanation().origin_reasons;
    let failures = [MissingReason::PeersFailed, MissingReason::PeersOut, MissingReason::TooSlow];
    assert!(reasons.keys().all(|reason| failures.contains(reason)), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_dies_in_the_middle_is_replaced_by_the_origin() {
    let sample = sample(6_000_000);
    for information in sample.both() {
        let mut lan = Lan::new();
        lan.add(sealed(&sample, &information), &information, Manner::DiesAfter(20)).await;
        let dir = TempDir::new().unwrap();
        let (fetcher, store) = lan.fetcher(&dir);
        let content = fetcher.open(information.clone());
        let sources = read(&content, &sample.bytes, 0..6_000_000).await;
        assert!(sources.all_peers() >= 10 * 60_000 && sources.origin > 1_000_000, "{sources:?}");
        assert_eq!(sources.all_peers() + sources.origin, 6_000_000);
        for segment in information.segments() {
            assert!(store.availability(&segment.id()).unwrap().complete);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_one_request_to_the_origin() {
    let sample = sample(4_000_000);
    for information in sample.both() {
        let lan = Lan::new();
        let dir = TempDir::new().unwrap();
        let (fetcher, store) = lan.fetcher(&dir);
        let content = fetcher.open_named("http://example/", information.clone());
        let first = timeout(PATIENCE, content.next(5)).await.unwrap().unwrap();
        let Read::Missing { range, reason } = first else { panic!("{first:?}") };
        assert_eq!((range.start, reason), (5, MissingReason::NobodyAnswered));
        assert!(range.end == 4_000_000 || range.end > 1_000_000, "{range:?}");
        let sources = read(&content, &sample.bytes, 0..4_000_000).await;
        assert_eq!(sources.origin, 4_000_000);
        assert_eq!(content.explanation().origin_reasons[&MissingReason::NobodyAnswered], 4_000_000);
        drop(content);
        let recent = fetcher.recent();
        assert_eq!((recent.len(), recent[0].open, &*recent[0].name), (1, false, "http://example/"));
        let segment = &information.segments()[0];
        assert!(store.availability(&segment.id()).unwrap().complete);
        // Fresh IVs: two blocks never begin alike.
        let ivs: Vec<_> = (0..segment.block_count().min(2))
            .map(|index| store.read(&segment.id(), index).unwrap().unwrap().to_encrypted_block().unwrap().iv)
            .collect();
        assert!(ivs.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_have_the_form_of_the_content_information() {
    let sample = sample(1_000_000);
    for (information, expected) in [(&sample.v1, Form::V1), (&sample.v2, Form::V2)] {
        let lan = Lan::new();
        let (_neighbour, mut events) = Discovery::start(lan.config(9), Arc::new(|_: &SegmentId| None)).unwrap();
        let dir = TempDir::new().unwrap();
        let (fetcher, _) = lan.fetcher(&dir);
        let content = fetcher.open(information.clone());
        read(&content, &sample.bytes, 0..1_000_000).await;
        let heard = timeout(PATIENCE, async {
            loop {
                if let Some(Event::Overheard { form, ids, .. }) = events.recv().await {
                    return (form, ids[0]);
                }
            }
        });
        assert_eq!(heard.await.unwrap(), (expected, information.segments()[0].id()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_data_may_come_in_any_pieces_but_not_wrong() {
    let sample = sample(1_000_000);
    let dir = TempDir::new().unwrap();
    let (fetcher, store) = alone(&dir);
    let content = fetcher.open(sample.v1.clone());
    assert_eq!(
        content.next(0).await.unwrap(),
        Read::Missing { range: 0..1_000_000, reason: MissingReason::NoDiscovery }
    );
    let mut verified = 0;
    for start in (0..1_000_000).step_by(99_999) {
        let end = (start + 99_999).min(1_000_000);
        let outcome = content.add_data(start as u64, sample.bytes.slice(start..end)).await.unwrap();
        for block in outcome.verified {
            assert_eq!(block.offset, verified);
            verified += block.bytes.len() as u64;
        }
        assert!(verified <= end as u64 && end as u64 - verified < BLOCK);
    }
    assert_eq!(verified, 1_000_000);
    assert_eq!(content.add_data(1_000_000, Bytes::from_static(b"more")).await.unwrap().ignored, 4);
    // Once more, but wrong in one place.
    store.clear().unwrap();
    let mut wrong = sample.bytes.to_vec();
    wrong[200_000] ^= 1;
    let error = content.add_data(0, wrong.into()).await.unwrap_err();
    assert_eq!(error, AddDataError::WrongHash { range: 3 * BLOCK..4 * BLOCK });
    let held = store.held(&sample.v1.segments()[0].id()).unwrap();
    assert!(!held.blocks.contains(3) && held.blocks.contains(2));
    assert_eq!(fetcher.counters().wrong_origin_blocks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_list_is_claimed_until_it_is_complete() {
    let sample = sample(10 * BLOCK as usize);
    let dir = TempDir::new().unwrap();
    let (fetcher, store) = alone(&dir);
    let part = sample.v1.slice(0..4 * BLOCK).unwrap();
    let id = part.segments()[0].id();
    let content = fetcher.open(part);
    assert_eq!(content.described_until(0), 4 * BLOCK);
    assert_eq!(content.next(4 * BLOCK).await, Err(NextError::NotDescribed { position: 4 * BLOCK }));
    read(&content, &sample.bytes, 0..4 * BLOCK).await;
    assert_eq!(store.held(&id).unwrap().trust, Trust::Claimed);
    assert!(store.availability(&id).is_none(), "announced without proof");
    // Bytes beyond the list are staged: readable here, not stored.
    let beyond = sample.bytes.slice(4 * BLOCK as usize..9 * BLOCK as usize);
    assert_eq!(content.add_data(4 * BLOCK, beyond).await.unwrap().staged, 5 * BLOCK);
    let staged = content.next(4 * BLOCK + 7).await.unwrap();
    let Read::Data { range, pieces, source: Source::Origin } = staged else { panic!("{staged:?}") };
    assert_eq!(
        (range.clone(), pieces.concat().into()),
        (4 * BLOCK + 7..5 * BLOCK, sample.bytes.slice(range.start as usize..range.end as usize))
    );
    assert_eq!(store.held(&id).unwrap().blocks.len(), 4);
    // The last block completes the list, and all of it proves itself.
    let last = sample.bytes.slice(9 * BLOCK as usize..);
    content.add_data(9 * BLOCK, last).await.unwrap();
    timeout(PATIENCE, async {
        while store.availability(&id).is_none_or(|held| !held.complete) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(store.held(&id).unwrap().trust, Trust::Bound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_staged_is_stored_when_its_description_comes() {
    let sample = sample(10 * BLOCK as usize);
    let dir = TempDir::new().unwrap();
    let (fetcher, store) = alone(&dir);
    let content = fetcher.open(sample.v1.slice(0..4 * BLOCK).unwrap());
    let id = sample.v1.segments()[0].id();
    read(&content, &sample.bytes, 0..4 * BLOCK).await;
    let beyond = sample.bytes.slice(4 * BLOCK as usize..9 * BLOCK as usize);
    assert_eq!(content.add_data(4 * BLOCK, beyond).await.unwrap().staged, 5 * BLOCK);
    assert_eq!(content.staged_bytes(), 5 * BLOCK);
    content.add_content_information(sample.v1.clone()).unwrap();
    assert_eq!(content.staged_bytes(), 0);
    timeout(PATIENCE, async {
        while store.availability(&id).is_none_or(|held| held.blocks != 9) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let sources = read(&content, &sample.bytes, 0..10 * BLOCK).await;
    assert_eq!((sources.cache, sources.origin), (9 * BLOCK, BLOCK));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_information_may_come_in_parts_but_not_of_another_content() {
    let sample = sample(3_000_000);
    let other = sample_with(3_000_000, 1);
    let dir = TempDir::new().unwrap();
    let (fetcher, _) = alone(&dir);
    for (whole, foreign) in sample.both().into_iter().zip(other.both()) {
        let content = fetcher.open(whole.slice(0..1_000_000).unwrap());
        assert!(content.add_content_information(foreign).is_err());
        assert_eq!(content.described_until(0), 1_000_000);
        content.add_content_information(whole.slice(1_000_000..3_000_000).unwrap()).unwrap();
        assert_eq!(content.described_until(0), 3_000_000);
        read(&content, &sample.bytes, 0..3_000_000).await;
    }
    let content = fetcher.open(sample.v1.clone());
    assert!(content.add_content_information(sample.v2.clone()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_block_in_the_cache_is_removed_and_fetched() {
    let sample = sample(1_000_000);
    let dir = TempDir::new().unwrap();
    let (fetcher, store) = alone(&dir);
    let segment = &sample.v1.segments()[0];
    let mut blocks = sealed(&sample, &sample.v1);
    let other = blocks[&(segment.id(), 4)].clone();
    blocks.insert((segment.id(), 3), other);
    let key = SegmentKey { id: segment.id(), block_count: segment.block_count() };
    for ((_, index), tail) in &blocks {
        store.append(&key, *index, tail, Trust::Claimed, Tag::NONE).unwrap();
    }
    let content = fetcher.open(sample.v1.clone());
    let sources = read(&content, &sample.bytes, 0..1_000_000).await;
    assert_eq!((sources.cache, sources.origin), (1_000_000 - BLOCK, BLOCK));
    assert_eq!(fetcher.counters().bad_cache_records, 1);
    // Reading proved the others, and the new one replaced the wrong one.
    assert!(store.availability(&segment.id()).unwrap().complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_content_asks_nobody() {
    let sample = sample(4_000_000);
    let mut lan = Lan::new();
    lan.add(sealed(&sample, &sample.v2), &sample.v2, Manner::Stalls).await;
    let dir = TempDir::new().unwrap();
    let (fetcher, _) = lan.fetcher(&dir);
    let content = fetcher.open(sample.v2.clone());
    timeout(PATIENCE, async {
        tokio::select! {
            read = content.next(0) => panic!("{read:?}"),
            () = async { while lan.asked(0) == 0 { tokio::task::yield_now().await } } => {}
        }
    })
    .await
    .unwrap();
    assert!(fetcher.peers()[0].in_flight > 0);
    drop(content);
    assert_eq!(fetcher.peers()[0].in_flight, 0);
    assert!(!fetcher.recent()[0].open);
}

#[tokio::test]
async fn one_thread_is_enough() {
    let sample = sample(2_000_000);
    let mut lan = Lan::new();
    lan.add(sealed(&sample, &sample.v2), &sample.v2, Manner::Honest).await;
    let dir = TempDir::new().unwrap();
    let (fetcher, _) = lan.fetcher(&dir);
    let sources = read(&fetcher.open(sample.v2.clone()), &sample.bytes, 0..2_000_000).await;
    assert_eq!(sources.all_peers(), 2_000_000);
}
