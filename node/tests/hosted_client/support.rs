//! Contents, hosted caches made of the retrieval server alone, and clients of them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use peerdist_node::config::{self, Fallback, OfferVersion};
use peerdist_node::fetch::{Content, FetchConfig, Fetcher, Read, Source, Sources};
use peerdist_node::hosted_client::{HostedClient, HostedClientStatus};
use peerdist_node::store::{Store, StoreConfig};
use peerdist_protocol::content::{
    BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, HashOptions, Hasher, SegmentId,
    ServerSecret, VerifiedBlock,
};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::{Offer, Response, Version};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_tap::Tap;
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here takes long; a loaded machine may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);
pub(crate) const BLOCK: u64 = 65_536;
/// Where offers tell hosted caches to fetch.
pub(crate) const PORT: u16 = 4321;

pub(crate) type Sealed = BTreeMap<(SegmentId, BlockIndex), BlkTail>;

/// A content and both descriptions of it.
pub(crate) struct Sample {
    pub(crate) bytes: Bytes,
    pub(crate) v1: ContentInformation,
    pub(crate) v2: ContentInformation,
}

pub(crate) fn sample(length: usize) -> Sample {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
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
    pub(crate) fn both(&self) -> [ContentInformation; 2] {
        [self.v1.clone(), self.v2.clone()]
    }

    /// Every block of the content as a hosted cache sends it.
    pub(crate) fn sealed(&self, information: &ContentInformation) -> Sealed {
        let mut blocks = BTreeMap::new();
        for segment in information.segments() {
            for index in 0..segment.block_count() {
                let range = segment.block_range(index).unwrap();
                let plain = self.bytes.slice(range.start as usize..range.end as usize);
                let block = VerifiedBlock::verify(plain, &segment.block_check(index).unwrap()).unwrap();
                let sealed =
                    EncryptedBlock::seal(&block, segment.secret(), CryptoAlgoId::Aes128, [index as u8; 16]).unwrap();
                blocks.insert((segment.id(), index), BlkTail::from(&sealed));
            }
        }
        blocks
    }
}

/// What a hosted cache holds.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) blocks: Mutex<Sealed>,
    /// Segments that are not what they are said to be.
    pub(crate) poisoned: BTreeSet<SegmentId>,
    /// It never delivers what it holds.
    pub(crate) stalls: bool,
    /// It says that it is busy, whatever it is asked for.
    pub(crate) is_busy: bool,
    /// It is gone after so many blocks; 0: never.
    pub(crate) dies_after: u64,
    pub(crate) asked: AtomicU64,
    pub(crate) stop: CancellationToken,
}

impl BlockSource for Blocks {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        let blocks = self.blocks.lock().unwrap();
        blocks.range((*segment, 0)..=(*segment, u32::MAX)).map(|((_, index), _)| *index).collect()
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.dies_after > 0 && asked >= self.dies_after {
            self.stop.cancel();
            return pending().await;
        }
        if self.stalls {
            return pending().await;
        }
        if self.is_busy {
            return None;
        }
        let tail = self.blocks.lock().unwrap().get(&(*segment, index))?.clone();
        if !self.poisoned.contains(segment) {
            return Some(tail);
        }
        let mut bytes = tail.bytes.to_vec();
        bytes[100] ^= 1;
        Some(BlkTail { bytes: bytes.into(), ..tail })
    }
}

/// A hosted cache: the retrieval server, and offers that are written down.
pub(crate) struct Cache {
    pub(crate) address: SocketAddr,
    pub(crate) source: Arc<Blocks>,
    pub(crate) server: Server<Blocks>,
    pub(crate) offers: Arc<Mutex<Vec<(SocketAddr, Offer)>>>,
    stop: CancellationToken,
}

impl Cache {
    /// One on an address of the loopback network, at any port where `port` is 0.
    pub(crate) async fn start(ip: u8, port: u16, source: Blocks) -> Self {
        Self::of(
            listener(ip, port).await,
            source,
            ServerLimits::default(),
            Response::Ok,
            Listener::retrieval_and_offers,
        )
    }

    /// One on the first address of the loopback network, and nobody at the same port of the second.
    pub(crate) async fn beside_nobody(source: Blocks) -> (Self, Closed) {
        loop {
            let listener = listener(1, 0).await;
            // Somebody else may have the port there.
            if let Ok(down) = Closed::try_new(2, listener.local_addr().unwrap().port()) {
                let listen = Listener::retrieval_and_offers;
                return (Self::of(listener, source, ServerLimits::default(), Response::Ok, listen), down);
            }
        }
    }

    /// One that answers INTERESTED to every first offer of version 1.0, over TLS, or whatever the listener is for.
    pub(crate) fn of(
        listener: TcpListener,
        source: Blocks,
        limits: ServerLimits,
        initial: Response,
        listen: impl FnOnce(TcpListener) -> Listener,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let offers = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&offers);
        let answer = move |from: SocketAddr, offer: Offer| {
            let response = if matches!(offer, Offer::Initial(_)) { initial } else { Response::Ok };
            written.lock().unwrap().push((from, offer));
            response
        };
        let stop = source.stop.clone();
        let source = Arc::new(source);
        let server = Server::with_offers(Arc::clone(&source), limits, Arc::new(answer));
        let (serving, stopped, listener) = (server.clone(), stop.clone(), listen(listener));
        tokio::spawn(async move {
            // Dropping the future closes every connection, as a power failure would.
            tokio::select! {
                () = serving.serve(vec![listener], pending()) => {}
                () = stopped.cancelled() => {}
            }
        });
        Self { address, source, server, offers, stop }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.server.counters().requests
    }

    /// The offers so far, as soon as they satisfy `enough`.
    pub(crate) async fn offered(&self, enough: impl Fn(&[(SocketAddr, Offer)]) -> bool) -> Vec<(SocketAddr, Offer)> {
        let all = || self.offers.lock().unwrap().clone();
        until(|| enough(&all())).await;
        all()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits for something that happens elsewhere.
pub(crate) async fn until(mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never happened");
}

pub(crate) async fn listener(ip: u8, port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, ip], port))).await.unwrap()
}

/// Listeners on 127.0.0.1 and 127.0.0.2 at one port, which nobody else has.
pub(crate) async fn pair() -> [TcpListener; 2] {
    loop {
        let first = listener(1, 0).await;
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).await {
            return [first, second];
        }
    }
}

pub(crate) fn plain(listener: TcpListener, source: Blocks) -> Cache {
    Cache::of(listener, source, ServerLimits::default(), Response::Ok, Listener::retrieval_and_offers)
}

/// The section of a client of hosted caches on the loopback network.
pub(crate) fn configured(ips: &[u8], port: u16) -> config::HostedClient {
    config::HostedClient {
        servers: ips.iter().map(|ip| IpAddr::from([127, 0, 0, *ip]).to_string().parse().unwrap()).collect(),
        version: OfferVersion(Version::V2),
        retrieval_port: port,
        http_port: port,
        https_port: port,
        fallback: Fallback::Origin,
        ..config::HostedClient::default()
    }
}

/// A client of hosted caches, without a retrieval server of its own.
pub(crate) struct User {
    pub(crate) fetcher: Fetcher,
    pub(crate) client: Client,
    pub(crate) store: Store,
    /// Whether it offers anything, and looks by itself whether hosted caches are back.
    pub(crate) on: Arc<AtomicBool>,
    _dir: TempDir,
}

impl User {
    pub(crate) fn new(config: &config::HostedClient) -> Self {
        Self::with(config, FetchConfig::default())
    }

    pub(crate) fn with(config: &config::HostedClient, fetch: FetchConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open(&StoreConfig::new(dir.path().join("store"))).unwrap();
        let client = Client::new(ClientLimits { idle_per_peer: 32, ..ClientLimits::default() });
        let on = Arc::new(AtomicBool::new(true));
        let hosted = HostedClient::start(config, &[], PORT, Arc::clone(&on), Tap::default()).unwrap();
        let fetcher = Fetcher::with_hosted_caches(store.clone(), None, client.clone(), fetch, Some(hosted));
        Self { fetcher, client, store, on, _dir: dir }
    }

    /// Reads all of a content, and what nobody has from `sample`.
    pub(crate) async fn read(&self, information: &ContentInformation, sample: &Sample) -> Reading {
        let content = self.fetcher.open(information.clone());
        let (sources, missing) = read(&content, &sample.bytes, 0..sample.bytes.len() as u64).await;
        Reading { sources, missing, content }
    }

    pub(crate) fn status(&self) -> HostedClientStatus {
        self.fetcher.hosted_client().unwrap()
    }

    /// How often a connection to a hosted cache was refused.
    pub(crate) fn refused(&self) -> u64 {
        self.client.counters().failed.get("connect").copied().unwrap_or_default()
    }
}

pub(crate) struct Reading {
    pub(crate) sources: Sources,
    pub(crate) missing: BTreeSet<peerdist_node::fetch::MissingReason>,
    pub(crate) content: Content,
}

/// Reads a range as a downloader does, with `origin` for what nobody has, and compares every byte.
pub(crate) async fn read(
    content: &Content,
    origin: &Bytes,
    range: Range<u64>,
) -> (Sources, BTreeSet<peerdist_node::fetch::MissingReason>) {
    let (mut sources, mut reasons) = (Sources::default(), BTreeSet::new());
    let mut position = range.start;
    while position < range.end {
        let next = timeout(PATIENCE, content.next(position)).await.unwrap().unwrap();
        match next {
            Read::Data { range, pieces, source } => {
                let bytes = pieces.concat();
                assert!(bytes == origin.slice(range.start as usize..range.end as usize), "wrong bytes at {range:?}");
                sources.add(source, bytes.len() as u64);
                position = range.end;
            }
            Read::Missing { range: missing, reason } => {
                assert!(missing.start == position && missing.end > position);
                let end = missing.end.min(range.end);
                let bytes = origin.slice(missing.start as usize..end as usize);
                content.add_data(missing.start, bytes).await.unwrap();
                sources.add(Source::Origin, end - position);
                reasons.insert(reason);
                position = end;
            }
        }
    }
    (sources, reasons)
}

/// Keeps an address of the loopback network where nobody listens, as long as it lives.
pub(crate) struct Closed(Socket);

impl Closed {
    pub(crate) fn new(ip: u8, port: u16) -> Self {
        Self::try_new(ip, port).unwrap()
    }

    /// The same where the port may be somebody else's.
    pub(crate) fn try_new(ip: u8, port: u16) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, ip], port)).into())?;
        Ok(Self(socket))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}
