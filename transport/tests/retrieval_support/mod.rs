//! What the tests of retrieval share: a source in memory, a running server, connections and peers written by hand.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::{BlockIndex, BlockRanges, CryptoAlgoId, EncryptedBlock, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, Exchange, PATH};
use peerdist_transport::retrieval::server::{BlockSource, Server, ServerLimits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything a test waits for, unless something is broken.
pub(crate) const FOREVER: Duration = Duration::from_secs(60);
/// A limit that a test lets expire.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) fn id(byte: u8) -> SegmentId {
    SegmentId::from_slice(&[byte; 32]).unwrap()
}

pub(crate) fn tail(byte: u8, size: usize) -> BlkTail {
    let data = vec![byte; size].into();
    BlkTail::from(&EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [byte; 16], data })
}

/// Blocks in memory. A closed gate keeps reads waiting, as a slow disk would.
pub(crate) struct Memory {
    blocks: HashMap<(SegmentId, BlockIndex), BlkTail>,
    pub(crate) gate: Semaphore,
}

impl Memory {
    /// Segment 1 with blocks 0, 1 and 3, segment 2 with block 0.
    pub(crate) fn small() -> Self {
        let blocks = [(1, 0), (1, 1), (1, 3), (2, 0)];
        let blocks = blocks.map(|(segment, index)| ((id(segment), index), tail(index as u8, 65_552)));
        Self { blocks: blocks.into(), gate: Semaphore::new(1) }
    }

    pub(crate) fn gated() -> Self {
        Self { gate: Semaphore::new(0), ..Self::small() }
    }
}

impl BlockSource for Memory {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.blocks.keys().filter(|(id, _)| id == segment).map(|(_, index)| *index).collect()
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        let _open = self.gate.acquire().await.unwrap();
        self.blocks.get(&(*segment, index)).cloned()
    }

    fn age(&self, segment: &SegmentId) -> Option<Duration> {
        (*segment == id(2)).then_some(Duration::from_secs(7))
    }
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server<Memory>,
    pub(crate) source: Arc<Memory>,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(source: Memory, limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = Arc::new(source);
        let server = Server::new(Arc::clone(&source), limits);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task = tokio::spawn(async move {
            serving
                .serve(vec![listener.into()], async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self { address, server, source, stop, task }
    }

    pub(crate) async fn small() -> Self {
        Self::start(Memory::small(), ServerLimits::default()).await
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    /// Waits until the counters are as they have to become.
    pub(crate) async fn until(&self, reached: impl Fn(&peerdist_transport::retrieval::server::ServerCounters) -> bool) {
        timeout(FOREVER, async {
            while !reached(&self.server.counters()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("never reached: {:?}", self.server.counters()));
    }
}

/// A POST with this body, as bytes.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(crate) fn get_block(segment: u8, index: BlockIndex) -> Exchange {
    Exchange::get_block(id(segment), index, CryptoAlgoId::Aes128)
}

/// A connection without an HTTP library.
#[derive(Debug)]
pub(crate) struct Raw<T = TcpStream>(pub(crate) T);

/// An HTTP message as it came: the lines before the body, and the body.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) lines: Vec<String>,
    pub(crate) body: Bytes,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.lines[1..].iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn status(&self) -> u16 {
        self.lines[0].split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(FOREVER, self.0.write_all(bytes)).await.unwrap().unwrap();
    }

    /// One message with Content-Length, or `None` where the connection ends instead.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        let lines = self.receive_head().await?;
        let message = Message { lines, body: Bytes::new() };
        let length = message.header("Content-Length").map_or(0, |value| value.parse().unwrap());
        let mut body = vec![0; length];
        timeout(FOREVER, self.0.read_exact(&mut body)).await.unwrap().ok()?;
        Some(Message { body: body.into(), ..message })
    }

    pub(crate) async fn receive_head(&mut self) -> Option<Vec<String>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(FOREVER, self.0.read_u8()).await.unwrap().ok()?);
        }
        let text = String::from_utf8(head).unwrap();
        Some(text.trim_end().split("\r\n").map(str::to_owned).collect())
    }

    /// Whether the connection ends without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(timeout(FOREVER, self.0.read(&mut [0])).await.unwrap(), Ok(0) | Err(_))
    }
}

/// A peer that does with each connection what it is told, and counts them.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<std::sync::atomic::AtomicUsize>,
    task: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start<F>(serve: impl Fn(usize, Raw) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                serving.spawn(serve(number, Raw(stream)));
            }
        });
        Self { address, connections, task }
    }

    /// A peer that reads a request, sends these bytes and then either waits for the client to close or closes.
    pub(crate) async fn answering(bytes: impl Into<Bytes>, then_close: bool) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, mut raw| {
            let bytes = bytes.clone();
            async move {
                if raw.receive().await.is_none() {
                    return;
                }
                let _ = raw.0.write_all(&bytes).await;
                if !then_close {
                    let _ = raw.0.read_to_end(&mut Vec::new()).await;
                }
            }
        })
        .await
    }

    pub(crate) fn count(&self) -> usize {
        self.connections.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
