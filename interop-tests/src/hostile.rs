//! A peer that promises blocks and does not keep its word.
//!
//! What it says on the wire is well-formed, so that nothing but the blocks themselves can give it away.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use peerdist_protocol::content::{
    BlockIndex, BlockRanges, ContentInformation, CryptoAlgoId, EncryptedBlock, SegmentId, VerifiedBlock,
};
use peerdist_protocol::discovery::{
    Arrival, EndpointAddress, GROUP_V4, Held, MAX_DATAGRAM_SIZE, PORT, ProbeServer, ServerConfig,
};
use peerdist_protocol::retrieval::BlkTail;
use peerdist_transport::retrieval::server::{BlockSource, Server, ServerLimits};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

use crate::lab::Host;

/// What a hostile peer does when it is asked for a block that it announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It sends other bytes, properly encrypted.
    WrongBytes,
    /// It takes the request and says nothing.
    Silence,
    /// It says that it has no such block.
    EmptyPromise,
}

/// A hostile peer on a host of the lab, over IPv4.
pub struct HostilePeer {
    blocks: Arc<Blocks>,
    address: SocketAddr,
    _runtime: Runtime,
}

impl HostilePeer {
    /// Announces all of `content`, whose bytes are `file`, faster than honest peers do.
    ///
    /// # Panics
    /// If the host has no IPv4 address, or `content` does not describe `file`.
    pub fn start(host: &Host, misbehaviour: Misbehaviour, content: &ContentInformation, file: &[u8]) -> Self {
        let own = host.ipv4().expect("the lab has IPv4");
        let blocks = Arc::new(Blocks::corrupted(misbehaviour, content, file));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime starts");
        let (listener, socket) = host.enter(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("the port is free on this host");
            socket.join_multicast_v4(&GROUP_V4, &own).expect("the interface takes part in multicast");
            (TcpListener::bind((own, 0)).expect("the address is the host's"), socket)
        });
        let address = listener.local_addr().expect("it is bound");

        let in_runtime = runtime.enter();
        listener.set_nonblocking(true).and_then(|()| socket.set_nonblocking(true)).expect("sockets can be polled");
        let listener = tokio::net::TcpListener::from_std(listener).expect("sockets can be polled");
        let socket = tokio::net::UdpSocket::from_std(socket).expect("sockets can be polled");
        drop(in_runtime);
        let server = Server::new(Arc::clone(&blocks), ServerLimits::default());
        runtime.spawn(async move { server.serve(vec![listener.into()], std::future::pending()).await });
        runtime.spawn(answer_probes(socket, address, Arc::clone(&blocks)));
        Self { blocks, address, _runtime: runtime }
    }

    /// Where it can be asked for blocks.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked for a block that it announced.
    pub fn times_asked(&self) -> u64 {
        self.blocks.times_asked.load(Ordering::Relaxed)
    }
}

struct Blocks {
    misbehaviour: Misbehaviour,
    tails: HashMap<(SegmentId, BlockIndex), BlkTail>,
    held: HashMap<SegmentId, BlockRanges>,
    times_asked: AtomicU64,
}

impl Blocks {
    fn corrupted(misbehaviour: Misbehaviour, content: &ContentInformation, file: &[u8]) -> Self {
        let mut tails = HashMap::new();
        let mut held = HashMap::new();
        for segment in content.segments() {
            held.insert(segment.id(), BlockRanges::first(segment.block_count()));
            for index in 0..segment.block_count() {
                let range = segment.block_range(index).expect("the segment has this block");
                let [start, end] =
                    [range.start, range.end].map(|offset| usize::try_from(offset).expect("it is in memory"));
                let check = segment.block_check(index).expect("all hashes are listed");
                let plain = Bytes::copy_from_slice(&file[start..end]);
                let block = VerifiedBlock::verify(plain, &check).expect("the content information is the file's");
                let sealed = EncryptedBlock::seal(&block, segment.secret(), CryptoAlgoId::Aes128, [0; 16]);
                let mut sealed = sealed.expect("secrets are long enough");
                let mut data = sealed.data.to_vec();
                data[0] ^= 1;
                sealed.data = data.into();
                tails.insert((segment.id(), index), BlkTail::from(&sealed));
            }
        }
        Self { misbehaviour, tails, held, times_asked: AtomicU64::new(0) }
    }

    fn availability(&self, segment: &SegmentId) -> Option<Held> {
        let blocks = self.held.get(segment)?.len();
        Some(Held { blocks, complete: true, age: None })
    }
}

impl BlockSource for Blocks {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.held.get(segment).copied().unwrap_or_default()
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        let tail = self.tails.get(&(*segment, index))?;
        self.times_asked.fetch_add(1, Ordering::Relaxed);
        match self.misbehaviour {
            Misbehaviour::WrongBytes => Some(tail.clone()),
            Misbehaviour::Silence => std::future::pending().await,
            Misbehaviour::EmptyPromise => None,
        }
    }
}

async fn answer_probes(socket: tokio::net::UdpSocket, own: SocketAddr, blocks: Arc<Blocks>) {
    let address = EndpointAddress::from_random(rand::random());
    let config = ServerConfig { backoff_max: Duration::from_millis(1), ..ServerConfig::new(address, 1, own.port()) };
    let mut machine = ProbeServer::new(config, rand::random());
    let start = Instant::now();
    let mut payload = vec![0; MAX_DATAGRAM_SIZE];
    loop {
        let due = machine.poll_timeout().map(|due| start + due);
        tokio::select! {
            received = socket.recv_from(&mut payload) => {
                let Ok((length, from)) = received else { continue };
                let arrival = Arrival { from, interface_key: 0, local: own.ip(), on_link: true };
                // Whatever is not for us is dropped, as an honest peer does.
                let _ = machine.handle_datagram(start.elapsed(), &arrival, &payload[..length], |id| blocks.availability(id));
            }
            () = async { sleep_until(due.unwrap_or(start)).await }, if due.is_some() => {}
        }
        machine.handle_timeout(start.elapsed(), |id| blocks.availability(id));
        while let Some(reply) = machine.poll_transmit() {
            // A lost answer is an answer lost.
            let _ = socket.send_to(&reply.payload, reply.to).await;
        }
    }
}
