//! A hosted cache: what it serves without being able to read it, how many offers it takes, and a million segments of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use peerdist_node::store::{StoreConfig, Trust};
use peerdist_protocol::content::{
    AES_IV_SIZE, BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, SegmentId,
};
use peerdist_protocol::hosted_cache::{
    BatchedOffer, ContentTag, MAX_SEGMENT_DESCRIPTORS, Offer, Response, SegmentDescriptor, Version,
};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use tempfile::TempDir;

use crate::memory;
use crate::probing::{million_id, store_config};
use crate::row::Row;
use crate::serving::{against_nginx, fill};
use crate::stage::{Node, wait};
use crate::tools;

/// Offers of [`MAX_SEGMENT_DESCRIPTORS`] segments each.
const OFFERS: u32 = 2_000;
const SEGMENTS: u32 = OFFERS * MAX_SEGMENT_DESCRIPTORS as u32;
/// Connections that bring them.
const CONNECTIONS: u32 = 8;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![serving()];
    rows.extend(offers());
    rows.extend(a_million());
    rows
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Blocks of version 2 that came by an offer.
fn serving() -> Row {
    let files = folder();
    let client = Node::start("1");
    let content = fill(&client, files.path(), "v2");
    let hosted = Node::hosted_cache(folder(), "0");
    let address = hosted.retrieval().parse().expect("an address");
    let port = client.retrieval().parse::<SocketAddr>().expect("an address").port();
    let mut connection = Connection::open(address);
    descriptors(&content).chunks(MAX_SEGMENT_DESCRIPTORS).for_each(|batch| connection.offer(port, batch));
    held(&hosted, content.segments().len() as u64);
    drop(client);
    against_nginx("serving blocks that were offered in version 2.0", &hosted, &content)
}

fn descriptors(content: &ContentInformation) -> Vec<SegmentDescriptor> {
    let segments = content.segments().iter();
    segments.map(|segment| SegmentDescriptor::new(segment, ContentTag::BITS).expect("ids of 32 bytes")).collect()
}

/// Many offers at once, all of whose segments have to be there in the end.
fn offers() -> Vec<Row> {
    let hosted = Node::hosted_cache(folder(), "0,1");
    let address = hosted.retrieval().parse().expect("an address");
    let port = serve_small_blocks();
    let messages: Vec<_> = (0..OFFERS).map(|number| batch(port, number)).collect();
    let began = Instant::now();
    thread::scope(|scope| {
        for share in messages.chunks(messages.len() / CONNECTIONS as usize) {
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                share.iter().for_each(|message| connection.send(message));
            });
        }
    });
    let rate = f64::from(OFFERS) / began.elapsed().as_secs_f64();
    held(&hosted, u64::from(SEGMENTS));
    let all = began.elapsed().as_secs_f64();
    let pulled = f64::from(SEGMENTS) / all;
    vec![
        Row::at_least("offers of 128 segments that a hosted cache takes, none lost", rate, "/s", 2_000.0, 4_000.0),
        Row::at_least("their segments, of 16 bytes, that it has fetched by the end", pulled, "/s", 2_000.0, 10_000.0),
    ]
}

fn batch(port: u16, number: u32) -> Vec<u8> {
    let first = number * MAX_SEGMENT_DESCRIPTORS as u32;
    let segments = (first..first + MAX_SEGMENT_DESCRIPTORS as u32)
        .map(|number| SegmentDescriptor {
            block_size: 16,
            segment_size: 16,
            content_tag: ContentTag::BITS,
            hash_algorithm: 4,
            segment_id: million_id(number),
        })
        .collect();
    Offer::Batched(BatchedOffer { port, segments }).emit()
}

/// One block of 16 bytes for whatever is asked.
struct SmallBlocks(BlkTail);

impl BlockSource for SmallBlocks {
    fn held(&self, _: &SegmentId) -> BlockRanges {
        BlockRanges::first(1)
    }

    async fn read(&self, _: &SegmentId, _: BlockIndex) -> Option<BlkTail> {
        Some(self.0.clone())
    }
}

/// Serves small blocks until the benchmark ends. Returns the port.
fn serve_small_blocks() -> u16 {
    let data = Bytes::from_static(&[0xa5; 32]);
    let block = BlkTail::from(&EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [0; AES_IV_SIZE], data });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            listener.set_nonblocking(true).expect("sockets can be polled");
            let listener = tokio::net::TcpListener::from_std(listener).expect("sockets can be polled");
            let server = Server::new(Arc::new(SmallBlocks(block)), ServerLimits::default());
            server.serve(vec![Listener::retrieval(listener)], std::future::pending()).await;
        });
    });
    port
}

/// Start-up and memory of a hosted cache that holds a million segments which nobody here can read.
fn a_million() -> Vec<Row> {
    let home = folder();
    let dir = home.path().join("cache");
    memory::fill(&StoreConfig { dir, ..store_config(home.path()) }, Trust::Blind);
    let began = Instant::now();
    let hosted = Node::hosted_cache(home, "0,1");
    let seconds = began.elapsed().as_secs_f64();
    held(&hosted, 1_000_000);
    vec![
        Row::at_most("starting a hosted cache of one million segments", seconds, "s", 1.0, 0.3),
        Row::at_most("the same", tools::memory(hosted.id(), "VmRSS"), "MB resident", 150.0, 60.0),
    ]
}

/// Waits until so many blocks are held.
fn held(hosted: &Node, blocks: u64) {
    wait("the hosted cache to hold everything", || (hosted.status()["cache"]["blocks"] == blocks).then_some(()));
}

/// A kept-alive connection that brings offers.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the hosted cache listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn offer(&mut self, port: u16, segments: &[SegmentDescriptor]) {
        self.send(&Offer::Batched(BatchedOffer { port, segments: segments.to_vec() }).emit());
    }

    fn send(&mut self, message: &[u8]) {
        let head =
            format!("POST {} HTTP/1.1\r\nHost: cache\r\nContent-Length: {}\r\n\r\n", Version::V2.path(), message.len());
        self.0.get_mut().write_all(&[head.as_bytes(), message].concat()).expect("the hosted cache reads");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the hosted cache answers");
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).expect("headers end");
        }
        let mut body = [0; 5];
        self.0.read_exact(&mut body).expect("a response has five bytes");
        assert_eq!(Response::parse(&body), Ok(Response::Ok));
    }
}
