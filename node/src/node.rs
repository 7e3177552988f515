//! A node: the store, the fetcher, discovery and the retrieval server, put together and taken down in order.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peerdist_discovery::Discovery;
use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::ClientConfig;
use peerdist_protocol::retrieval::BlkTail;
use peerdist_tap::Tap;
use peerdist_transport::hosted_cache::CertificateError;
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Fallback, Interfaces, Mode};
use crate::fetch::{FetchConfig, Fetcher};
use crate::hosted_client::HostedClient;
use crate::store::{Audience, Limits, Store, StoreConfig, StoreError};

mod hosted_cache;
mod status;

use hosted_cache::Role as HostedCacheRole;

pub use status::NodeStatus;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why a node could not start. The remedies are the administrator's.
#[derive(Debug, Error)]
pub enum StartError {
    /// The cache cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No connection for retrieval can be accepted there.
    #[error("cannot listen for peers on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// None of the configured addresses is of a family that this host has.
    #[error("none of the addresses to listen on is of a family that this host has")]
    NoAddress,
    /// There is no place for a cache of this run alone.
    #[error("no temporary directory for a cache")]
    TemporaryCache(#[source] io::Error),
    /// The hashes of segments that were offered to this hosted cache cannot be kept.
    #[error("the directory of offered segments cannot be used")]
    Offered(#[source] io::Error),
    /// The certificate of this hosted cache, or those that hosted caches are trusted by, cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Discovery cannot begin at all.
    #[error("discovery cannot start")]
    Discovery(#[from] peerdist_discovery::StartError),
}

/// A running node. Clones are the same node; [`Node::stop`] ends it for all.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    started: Instant,
    mode: Mode,
    store: Store,
    tap: Tap,
    fetcher: Fetcher,
    discovery: Option<Discovery>,
    hosted_cache: Option<HostedCacheRole>,
    hosted: Option<Arc<HostedClient>>,
    server: Server<Served>,
    /// Whether peers are served.
    on: Arc<AtomicBool>,
    listeners: Vec<SocketAddr>,
    /// Of content information.
    max_version: u32,
    stop: CancellationToken,
    serving: Mutex<Option<JoinHandle<()>>>,
    /// The cache's directory where it is for this run alone.
    _temporary: Option<TempDir>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("listeners", &self.0.listeners).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts what the configuration's mode asks for: the store, the retrieval server, discovery, the fetcher.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let store = Store::open(&StoreConfig::from(&config.cache))?;
        Self::assemble(config, store, None).await
    }

    /// Starts a node for one command. Where its cache cannot be used, because another command uses it or the disk is
    /// full, a cache for this run alone takes its place: a download does not fail for want of a cache.
    pub async fn start_embedded(config: Config) -> Result<Self, StartError> {
        match Store::open(&StoreConfig::from(&config.cache)) {
            Ok(store) => Self::assemble(config, store, None).await,
            Err(error) => {
                tracing::info!(%error, "using a cache for this run alone");
                let directory = TempDir::with_prefix("peerdist-").map_err(StartError::TemporaryCache)?;
                let store = Store::open(&StoreConfig::new(directory.path().join("cache")))?;
                Self::assemble(config, store, Some(directory)).await
            }
        }
    }

    async fn assemble(config: Config, store: Store, temporary: Option<TempDir>) -> Result<Self, StartError> {
        let mode = config.node.mode;
        let stop = CancellationToken::new();
        let on = Arc::new(AtomicBool::new(true));
        let audience = if mode == Mode::HostedCache { Audience::Branch } else { Audience::Peers };
        let served = Served { store: store.clone(), audience, on: Arc::clone(&on) };
        let tap = Tap::default();
        let client = Client::tapped(client_limits(&config), tap.clone());
        let listeners = if mode.serves_blocks() { listen(&config.node.listen, config.node.port)? } else { Vec::new() };
        let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let (server, listeners, hosted_cache) = if mode == Mode::HostedCache {
            let (role, listeners) = HostedCacheRole::start(&config, &store, &on, listeners, &tap)?;
            let limits = hosted_cache::server_limits(&config);
            let server = Server::tapped(Arc::new(served.clone()), limits, Some(role.offers()), tap.clone());
            (server, listeners, Some(role))
        } else {
            let listeners = listeners.into_iter().map(Listener::retrieval).collect();
            let limits = server_limits(&config.retrieval);
            (Server::tapped(Arc::new(served.clone()), limits, None, tap.clone()), listeners, None)
        };
        let serving = mode.serves_blocks().then(|| {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move { server.serve(listeners, stop.cancelled_owned()).await })
        });
        // The port that is really listened on: it may have been chosen by the system.
        let port = addresses.first().map_or(config.node.port, SocketAddr::port);
        let falls_back = mode == Mode::HostedClient && config.hosted_client.fallback == Fallback::Distributed;
        let discovery = if mode.asks_peers() || falls_back {
            let lookup = Arc::new(move |id: &SegmentId| served.if_on(|store| store.availability(id)));
            Some(Discovery::start(discovery_config(&config, port, &tap), lookup)?)
        } else {
            None
        };
        let hosted = match mode {
            Mode::HostedClient => Some(HostedClient::start(
                &config.hosted_client,
                &config.node.listen,
                port,
                Arc::clone(&on),
                tap.clone(),
            )?),
            _ => None,
        };
        let max_version = hosted.as_ref().map_or(2, |hosted| if hosted.has_lists() { 2 } else { 1 });
        let (discovery, events) = discovery.unzip();
        let fetcher = Fetcher::with_hosted_caches(
            store.clone(),
            discovery.clone().zip(events),
            client,
            fetch_config(&config.fetch),
            hosted.clone(),
        );
        Ok(Self(Arc::new(Inner {
            started: Instant::now(),
            mode,
            store,
            tap,
            fetcher,
            discovery,
            hosted_cache,
            hosted,
            server,
            on,
            listeners: addresses,
            max_version,
            stop,
            serving: Mutex::new(serving),
            _temporary: temporary,
        })))
    }

    /// The cache.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where what the node sends and receives can be captured.
    #[must_use]
    pub fn tap(&self) -> &Tap {
        &self.0.tap
    }

    /// What fetches.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.0.fetcher
    }

    /// Where peers may fetch blocks.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.0.listeners
    }

    /// The newest version of content information that is of use: hosted caches of version 1.0 take no offers of segments
    /// of version 2.
    #[must_use]
    pub fn max_content_information_version(&self) -> u32 {
        self.0.max_version
    }

    /// What the node does and did.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus::of(&self.0)
    }

    /// Applies what a configuration may change while the node runs: the cache's limits and the
    /// interfaces.
    ///
    /// # Errors
    /// Where the cache cannot have these limits; it keeps the old ones.
    pub async fn reconfigure(&self, config: &Config) -> Result<(), StoreError> {
        if let Some(discovery) = &self.0.discovery {
            discovery.set_interfaces(interfaces(&config.discovery.interfaces)).await;
        }
        self.0.store.set_limits(Limits::from(&config.cache))
    }

    /// Turns the node off or on: while it is off, Probes find no answer and peers no block, and offers come to nothing.
    /// What fetches is not refused here.
    pub fn set_enabled(&self, on: bool) {
        self.0.on.store(on, Ordering::Relaxed);
        if let Some(role) = &self.0.hosted_cache {
            role.cache.wake();
        }
    }

    /// Stops answering Probes, lets uploads end within their limit, and closes the cache.
    pub async fn stop(&self) {
        if let Some(discovery) = &self.0.discovery {
            discovery.clone().shutdown().await;
        }
        if let Some(hosted) = &self.0.hosted {
            hosted.stop();
        }
        self.0.stop.cancel();
        let serving = self.0.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving {
            // It ends within its own limit; that it panicked was said when it did.
            let _ = serving.await;
        }
        if let Some(role) = &self.0.hosted_cache {
            role.cache.stop().await;
        }
        let store = self.0.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(%error, "the cache could not be closed properly");
        }
    }
}

/// What peers find: the store, while the node is on.
#[derive(Debug, Clone)]
struct Served {
    store: Store,
    audience: Audience,
    on: Arc<AtomicBool>,
}

impl Served {
    fn if_on<T>(&self, look: impl FnOnce(&Store) -> Option<T>) -> Option<T> {
        if self.on.load(Ordering::Relaxed) { look(&self.store) } else { None }
    }
}

impl BlockSource for Served {
    fn held(&self, segment: &SegmentId) -> BlockRanges {
        self.if_on(|store| Some(store.blocks_for(segment, self.audience))).unwrap_or_default()
    }

    fn next_held(&self, segment: &SegmentId, after: BlockIndex) -> Option<BlockIndex> {
        self.if_on(|store| store.next_for(segment, after, self.audience))
    }

    async fn read(&self, segment: &SegmentId, index: BlockIndex) -> Option<BlkTail> {
        if !self.on.load(Ordering::Relaxed) {
            return None;
        }
        // A block that cannot be read is as one that is not held; the store counts why.
        self.store.read_for_async(segment, index, self.audience).await.ok().flatten()
    }

    fn age(&self, segment: &SegmentId) -> Option<Duration> {
        self.if_on(|store| store.age_for(segment, self.audience))
    }
}

/// Binds every configured address of a family that this host has.
fn listen(addresses: &[IpAddr], mut port: u16) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for ip in addresses {
        let address = SocketAddr::new(*ip, port);
        match bind(address) {
            Ok(listener) => {
                // With port 0 the first address chooses for all: there is one port in the answers to Probes.
                if let (0, Ok(bound)) = (port, listener.local_addr()) {
                    port = bound.port();
                }
                listeners.push(listener);
            }
            Err(source) if source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {}
            Err(source) => return Err(StartError::Listen { address, source }),
        }
    }
    if listeners.is_empty() { Err(StartError::NoAddress) } else { Ok(listeners) }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // 0.0.0.0 and :: stand side by side.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn server_limits(retrieval: &config::Retrieval) -> ServerLimits {
    ServerLimits {
        connections: retrieval.max_connections.get() as usize,
        connections_per_source: retrieval.max_connections_per_peer.get() as usize,
        uploads: retrieval.max_uploads.get() as usize,
        uploads_per_source: retrieval.max_uploads.get() as usize,
        idle_time: retrieval.idle_timeout,
        header_time: retrieval.request_timeout,
        body_time: retrieval.request_timeout,
        upload_time: retrieval.request_timeout,
        ..ServerLimits::default()
    }
}

fn client_limits(config: &Config) -> ClientLimits {
    let limits = ClientLimits { progress_time: config.fetch.request_timeout, ..ClientLimits::default() };
    match config.node.mode {
        // All blocks come from few hosts.
        Mode::HostedClient => ClientLimits { idle_per_peer: config.fetch.max_in_flight.get() as usize, ..limits },
        _ => limits,
    }
}

fn fetch_config(fetch: &config::Fetch) -> FetchConfig {
    FetchConfig {
        look_ahead: fetch.look_ahead,
        max_in_flight: fetch.max_in_flight.get() as usize,
        patience: fetch.patience,
        probe_timeout: fetch.probe_timeout,
        ..FetchConfig::default()
    }
}

fn discovery_config(config: &Config, retrieval_port: u16, tap: &Tap) -> peerdist_discovery::Config {
    peerdist_discovery::Config {
        interfaces: interfaces(&config.discovery.interfaces),
        ipv4: config.discovery.ipv4,
        ipv6: config.discovery.ipv6,
        port: config.discovery.port,
        retrieval_port,
        // A hosted client has discovery where it falls back to distributed mode, and takes its part there.
        serve: config.node.mode.answers_probes() || config.node.mode == Mode::HostedClient,
        client: Some(ClientConfig { request_timer: config.fetch.probe_timeout, ..ClientConfig::default() }),
        tap: tap.clone(),
        ..peerdist_discovery::Config::default()
    }
}

fn interfaces(configured: &Interfaces) -> peerdist_discovery::Interfaces {
    match configured {
        Interfaces::All => peerdist_discovery::Interfaces::All,
        Interfaces::Only(names) => peerdist_discovery::Interfaces::Only(names.clone()),
    }
}
