//! A hosted cache and the hosts that make it offers, all on the loopback network.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerdist_node::config::{Config, HostedCache, Mode};
use peerdist_node::hosted_cache::HostedCacheStatus;
use peerdist_node::node::{Node, StartError};
use peerdist_protocol::content::{
    BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, HashOptions, Hasher, Segment, SegmentId,
    ServerSecret, VerifiedBlock,
};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::hosted_cache::{
    BatchedOffer, ContentTag, InitialOffer, Offer, Response, SegmentDescriptor, SegmentInfo, Version,
};
use peerdist_protocol::retrieval::{Answer, BlkTail, Exchange};
use peerdist_transport::hosted_cache::OfferClient;
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

/// Nothing here takes long; a loaded machine may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The hosted cache.
pub(crate) struct Hosted {
    pub(crate) node: Node,
    pub(crate) config: Config,
    pub(crate) directory: TempDir,
}

impl Hosted {
    /// On ports of its own; offers of version 2.0 come to the retrieval port.
    pub(crate) async fn start(change: impl Fn(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = certificate(&directory);
        loop {
            let mut config = Config::default();
            config.node.mode = Mode::HostedCache;
            config.node.listen = vec![Ipv4Addr::LOCALHOST.into()];
            config.node.port = free_port();
            config.cache.dir = directory.path().join("cache");
            config.cache.keep_free = 0;
            config.hosted_cache = HostedCache {
                http_port: config.node.port,
                https_port: free_port(),
                certificate: authority.join("chain.pem"),
                private_key: authority.join("key.pem"),
                ..HostedCache::default()
            };
            change(&mut config);
            match Node::start(config.clone()).await {
                Ok(node) => break Self { node, config, directory },
                // Somebody else got the port meanwhile.
                Err(StartError::Listen { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn restart(&mut self) {
        self.node.stop().await;
        self.node = Node::start(self.config.clone()).await.unwrap();
    }

    pub(crate) fn status(&self) -> HostedCacheStatus {
        self.node.status().hosted_cache.unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.node.listeners()[0]
    }

    /// Waits until the status says something.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&HostedCacheStatus) -> bool) -> HostedCacheStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing waits and nothing is fetched, after something was done: so many things, all together.
    pub(crate) async fn settled(&self, done: u64) -> HostedCacheStatus {
        let sum = |counts: &BTreeMap<&str, u64>| counts.values().sum::<u64>();
        self.until("the hosted cache to be done", |status| {
            let all = status.pulled_blocks + sum(&status.pulls_failed) + sum(&status.ignored);
            all >= done && status.queued == 0 && status.pulling == 0
        })
        .await
    }

    /// A block as a client gets it.
    pub(crate) async fn get(&self, id: SegmentId, index: BlockIndex) -> Option<EncryptedBlock> {
        let exchange = Exchange::get_block(id, index, CryptoAlgoId::Aes128);
        match Client::new(ClientLimits::default()).exchange(self.address(), &exchange).await.unwrap() {
            Answer::Block(block, _) => Some(block),
            Answer::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    /// Makes an offer of version 1.0.
    pub(crate) async fn offer_v1(&self, offer: &Offer) -> Response {
        let client = OfferClient::new(Some(&self.directory.path().join("chain.pem")), Vec::new()).unwrap();
        client.offer("127.0.0.1", self.config.hosted_cache.https_port, offer).await.unwrap()
    }

    pub(crate) async fn initial(&self, port: u16, segment_id: SegmentId) -> Response {
        self.offer_v1(&Offer::Initial(InitialOffer { port, segment_id })).await
    }

    pub(crate) async fn segment_info(&self, port: u16, segment: &Segment) {
        let offer = Offer::SegmentInfo(SegmentInfo::new(port, ContentTag::WININET, segment));
        assert_eq!(self.offer_v1(&offer).await, Response::Ok);
    }

    /// Makes an offer of version 2.0 from an address. `None` where the answer is no response.
    pub(crate) async fn post(&self, from: Ipv4Addr, body: &[u8]) -> (String, Option<Response>) {
        self.send(from, &request(Version::V2, "", body)).await
    }

    /// Sends a request from an address to where offers of version 2.0 are taken.
    pub(crate) async fn send(&self, from: Ipv4Addr, request: &[u8]) -> (String, Option<Response>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(self.address()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answered(&answer)
    }

    /// Sends a request to where offers of version 1.0 are taken, over TLS.
    pub(crate) async fn send_tls(&self, request: Vec<u8>) -> (String, Option<Response>) {
        let chain = self.directory.path().join("chain.pem");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.config.hosted_cache.https_port));
        let exchange = move || {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(chain).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let config = config.with_root_certificates(roots).with_no_client_auth();
            let session = ClientConnection::new(Arc::new(config), address.ip().into()).unwrap();
            let mut stream = StreamOwned::new(session, StdStream::connect(address).unwrap());
            stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(&request).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answered(&answer)
        };
        tokio::task::spawn_blocking(exchange).await.unwrap()
    }

    /// Offers segments in version 2.0, which is always answered with OK.
    pub(crate) async fn offer(&self, host: &Host, segments: &[SegmentDescriptor]) {
        for segments in segments.chunks(128) {
            let offer = Offer::Batched(BatchedOffer { port: host.port(), segments: segments.to_vec() });
            assert_eq!(self.post(host.ip, &offer.emit()).await, ("200".to_owned(), Some(Response::Ok)));
        }
    }
}

/// A POST to the path of a version as old clients send it, with more headers.
pub(crate) fn request(version: Version, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {} HTTP/1.0\r\nContent-Length: {}\r\n{headers}\r\n", version.path(), body.len());
    [head.as_bytes(), body].concat()
}

/// The status of an answer, and the response in it.
fn answered(answer: &[u8]) -> (String, Option<Response>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().to_owned();
    (status, Response::parse(&answer[end..]).ok())
}

/// A self-signed certificate for 127.0.0.1. Returns the folder.
fn certificate(directory: &TempDir) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = directory.path().to_owned();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

fn free_port() -> u16 {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A host that offers what it has.
pub(crate) struct Host {
    pub(crate) ip: Ipv4Addr,
    address: SocketAddr,
    pub(crate) blocks: Blocks,
}

/// What a host serves, and how often it was asked.
#[derive(Clone, Default)]
pub(crate) struct Blocks {
    blocks: Arc<Mutex<BTreeMap<(SegmentId, BlockIndex), BlkTail>>>,
    asked: Arc<AtomicU64>,
    /// How long each answer takes.
    delay: Duration,
}

impl Blocks {
    /// Blocks that are never given.
    pub(crate) fn stalling() -> Self {
        Self::delayed(Duration::MAX)
    }

    /// Blocks of which each is given after so long.
    pub(crate) fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    pub(crate) fn insert(&self, id: SegmentId, index: BlockIndex, tail: BlkTail) {
        self.blocks.lock().unwrap().insert((id, index), tail);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl BlockSource for Blocks {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        let blocks = self.blocks.lock().unwrap();
        blocks.range((*segment, 0)..=(*segment, u32::MAX)).map(|((_, index), _)| *index).collect()
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.blocks.lock().unwrap().get(&(*segment, index)).cloned()
    }
}

impl Host {
    /// The host with this number serves blocks.
    pub(crate) async fn start(number: u8, blocks: Blocks) -> Self {
        let ip = Ipv4Addr::new(127, 0, 0, number);
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(Arc::new(blocks.clone()), ServerLimits::default());
        tokio::spawn(async move { server.serve(vec![Listener::retrieval(listener)], std::future::pending()).await });
        Self { ip, address, blocks }
    }

    /// A host where nobody listens.
    pub(crate) fn gone(number: u8) -> Self {
        let ip = Ipv4Addr::new(127, 0, 0, number);
        Self { ip, address: SocketAddr::new(IpAddr::V4(ip), free_port()), blocks: Blocks::default() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// A content and its descriptions.
pub(crate) struct Sample {
    pub(crate) bytes: Bytes,
    pub(crate) v1: ContentInformation,
    pub(crate) v2: ContentInformation,
}

pub(crate) fn noise(length: usize, mut state: u64) -> Vec<u8> {
    state |= 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(length / 8 + 1).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

pub(crate) fn sample(length: usize, seed: u64) -> Sample {
    sample_with(length, seed, HashAlgorithm::Sha256)
}

pub(crate) fn sample_with(length: usize, seed: u64, algorithm: HashAlgorithm) -> Sample {
    let bytes = noise(length, seed);
    let options = HashOptions { v1: Some(algorithm), v2: true };
    let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("branch"));
    hasher.update(&bytes);
    let hashed = hasher.finish().unwrap();
    Sample { bytes: bytes.into(), v1: hashed.v1.unwrap(), v2: hashed.v2.unwrap() }
}

impl Sample {
    /// A block of a segment of its, encrypted.
    pub(crate) fn sealed(&self, segment: &Segment, index: BlockIndex, algorithm: CryptoAlgoId) -> EncryptedBlock {
        let range = segment.block_range(index).unwrap();
        let plain = self.bytes.slice(range.start as usize..range.end as usize);
        let block = VerifiedBlock::verify(plain, &segment.block_check(index).unwrap()).unwrap();
        EncryptedBlock::seal(&block, segment.secret(), algorithm, [index as u8; 16]).unwrap()
    }

    /// Puts all blocks of a description into what a host serves.
    pub(crate) fn serve(&self, information: &ContentInformation, blocks: &Blocks, algorithm: CryptoAlgoId) {
        for segment in information.segments() {
            for index in 0..segment.block_count() {
                blocks.insert(segment.id(), index, BlkTail::from(&self.sealed(segment, index, algorithm)));
            }
        }
    }
}

/// The descriptors of all segments of content information.
pub(crate) fn descriptors(information: &ContentInformation, tag: ContentTag) -> Vec<SegmentDescriptor> {
    information.segments().iter().map(|segment| SegmentDescriptor::new(segment, tag).unwrap()).collect()
}

/// A block that nobody can open.
pub(crate) fn opaque(length: usize, algorithm: CryptoAlgoId, seed: u64) -> EncryptedBlock {
    let size = if algorithm == CryptoAlgoId::None { length } else { (length / 16 + 1) * 16 };
    // The IV does not travel with plaintext.
    let iv = if algorithm == CryptoAlgoId::None { [0; 16] } else { [seed as u8; 16] };
    EncryptedBlock { algorithm, iv, data: noise(size, seed).into() }
}
