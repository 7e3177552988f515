//! A folder or another HTTP server, with content information for whoever understands it ([MS-PCCRTP] 3.2).
//!
//! | file | what it does |
//! |---|---|
//! | `config`, `counters`, `secret` | what the server is told, what it counts, its key file |
//! | `connections`, `idle`, `body` | connections and bodies, with their limits |
//! | `folder`, `folder_answer`, `conditions`, `ahead` | files: finding, answering, conditional requests, hashing ahead |
//! | `upstream`, `proxy`, `forward` | before another server: requests to it, answering, headers on their way |
//! | `subject`, `fetch` | what of it may be described, fetching that to hash it |
//! | `offered`, `kept`, `jobs` | content information: whether, from where, made in the background |
//!
//! Trouble with content information never fails a request: the answer is identity then.

mod ahead;
mod body;
mod conditions;
mod config;
mod connections;
mod counters;
mod fetch;
mod folder;
mod folder_answer;
mod forward;
mod idle;
mod jobs;
mod kept;
mod offered;
mod proxy;
pub mod secret;
mod subject;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use peerdist_protocol::content::{ContentVersion, ServerSecret};
use peerdist_protocol::http::Ask;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

pub use self::config::{ContentServerConfig, ContentServerLimits, DEFAULT_MINIMUM_SIZE, Source};
pub use self::counters::Counters;

use self::body::{Body, Meter};
use self::counters::LiveCounters;
use self::folder::Folder;
use self::jobs::Jobs;
use self::kept::KeptContent;
use self::upstream::Upstream;

/// Why a content server cannot begin. The remedy is the administrator's.
#[derive(Debug, Error)]
pub enum StartError {
    /// The folder is not there or cannot be read.
    #[error("cannot serve the folder {}", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The upstream URL has another scheme than `http` and `https`, or no host, or a query.
    #[error("the upstream URL {url} is not of the form http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]")]
    UpstreamUrl {
        /// The URL.
        url: String,
    },
    /// The client for upstream requests cannot be made; TLS on this host is what may fail.
    #[error("cannot make requests to the upstream server")]
    Client(#[source] reqwest::Error),
    /// The state directory cannot be used.
    #[error("cannot keep content information in {}", path.display())]
    StateDirectory {
        /// Which directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A content server. Clones are the same server; when the last is dropped, hashing in the background stops.
#[derive(Debug, Clone)]
pub struct ContentServer {
    shared: Arc<Shared>,
    _hashing: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    config: ContentServerConfig,
    secret: ServerSecret,
    content: Content,
    kept: Arc<KeptContent>,
    jobs: Jobs,
    counters: Arc<LiveCounters>,
}

#[derive(Debug)]
enum Content {
    Folder(Arc<Folder>),
    Upstream(Upstream),
}

impl ContentServer {
    /// A content server whose content information follows from `secret`. Call it within a tokio runtime: hashing
    /// ahead, if configured, begins here.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(config: ContentServerConfig, secret: ServerSecret) -> Result<Self, StartError> {
        let content = match &config.source {
            Source::Folder(path) => {
                let folder = Folder::open(path);
                let folder = folder.map_err(|source| StartError::Folder { path: path.clone(), source })?;
                Content::Folder(Arc::new(folder))
            }
            Source::Upstream(url) => Content::Upstream(Upstream::new(url, &config.limits)?),
        };
        let counters = Arc::new(LiveCounters::default());
        let state = config.state_directory.as_deref().map(|path| (path, config.state_size));
        let kept = KeptContent::open(config.memory_size, state, config.versions, &secret, counters.clone());
        let kept = kept.map_err(|source| StartError::StateDirectory {
            path: config.state_directory.clone().unwrap_or_default(),
            source,
        })?;
        let kept = Arc::new(kept);
        let jobs = Jobs::new(kept.clone(), counters.clone(), config.hash_jobs.get());
        let hashing = Arc::new(jobs.closing().clone().drop_guard());
        let shared = Arc::new(Shared { config, secret, content, kept, jobs, counters });
        if let (Content::Folder(folder), true) = (&shared.content, shared.config.hash_ahead) {
            let (held, with, folder) = (shared.jobs.hold(), shared.clone(), folder.clone());
            shared.jobs.spawn(async move {
                ahead::hash_folder(with, folder).await;
                drop(held);
            });
        }
        Ok(Self { shared, _hashing: hashing })
    }

    /// Serves HTTP/1.1 and 1.0 on `listener` until `shutdown` is ready and the requests under way are done or out of
    /// time.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let shared = self.shared.clone();
        let accepted = || self.shared.counters.connections.add(1);
        let answer = move |request, peer| {
            let shared = shared.clone();
            async move { shared.answer(request, peer).await }
        };
        connections::serve(listener, self.shared.config.limits, shutdown, accepted, answer).await;
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters.snapshot()
    }

    /// Waits until nothing is left to be hashed.
    pub async fn wait_idle(&self) {
        self.shared.jobs.wait_idle().await;
    }

    /// Stops hashing and waits until it has ended. Serving goes on with what there is.
    pub async fn stop_hashing(&self) {
        self.shared.jobs.closing().cancel();
        self.shared.jobs.ended().await;
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        self.counters.requests.add(1);
        if request.version() == Version::HTTP_11 && !request.headers().contains_key(HOST) {
            // RFC 9112 3.2.
            return plain_response(StatusCode::BAD_REQUEST, &self.counters);
        }
        match &self.content {
            Content::Folder(folder) => folder_answer::answer(&self, folder, request).await,
            Content::Upstream(upstream) => proxy::answer(&self, upstream, request, peer).await,
        }
    }

    /// Under what the identity answer to this request is counted.
    fn meter(&self, ask: &Ask) -> Meter {
        if *ask != Ask::MissingData {
            return Meter::Identity;
        }
        self.counters.missing_data_requests.add(1);
        Meter::MissingData
    }

    /// Whether content of this length is described at all.
    fn describes(&self, length: u64) -> bool {
        (self.config.minimum_size.max(1)..=self.config.maximum_size).contains(&length)
    }

    fn makes(&self, version: ContentVersion) -> bool {
        match version {
            ContentVersion::V1 => self.config.versions.v1.is_some(),
            ContentVersion::V2 => self.config.versions.v2,
        }
    }
}

/// A response of our own, with the status for a body.
fn plain_response(status: StatusCode, counters: &Arc<LiveCounters>) -> Response<Body> {
    let mut response = Response::new(Body::bytes(format!("{status}\n"), Meter::Identity, counters));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
