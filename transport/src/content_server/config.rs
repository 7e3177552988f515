//! What a content server is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use peerdist_protocol::content::HashOptions;
use peerdist_protocol::crypto::HashAlgorithm;
use reqwest::Url;

/// Where the content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The files of a folder and of the folders in it, except those whose names begin with a dot (`.well-known` is
    /// served). Symbolic links are followed as long as they stay inside.
    Folder(PathBuf),
    /// Another HTTP server, `http` or `https`; the request's path is appended to the URL's.
    Upstream(Url),
}

/// Content of fewer bytes is not described unless the configuration says otherwise, as with Windows: it would cost more
/// than it saves.
pub const DEFAULT_MINIMUM_SIZE: u64 = 64 << 10;

/// A content server's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentServerConfig {
    /// Where the content comes from.
    pub source: Source,
    /// Where content information is kept across restarts; `None` keeps it in memory alone. The directory holds keys:
    /// it is created with mode 0700.
    pub state_directory: Option<PathBuf>,
    /// How many bytes the state directory may hold.
    pub state_size: u64,
    /// About how many bytes of content information stay in memory; with 0 none does. That of one content may exceed
    /// it, and is alone then.
    pub memory_size: u64,
    /// Which versions of content information are made.
    pub versions: HashOptions,
    /// Content of fewer bytes is not described.
    pub minimum_size: u64,
    /// Content of more bytes is not described.
    pub maximum_size: u64,
    /// Whether a folder is hashed from the start. Otherwise, and before a reverse proxy, a content is hashed once
    /// somebody offers to take content information for it.
    pub hash_ahead: bool,
    /// How many contents are hashed at once.
    pub hash_jobs: NonZeroUsize,
    /// How many threads hash each of them.
    pub hash_threads: NonZeroUsize,
    /// How long the answer to a hash request may wait for the hashing that is under way.
    pub hash_request_wait: Duration,
    /// What connections are granted.
    pub limits: ContentServerLimits,
}

/// What connections are granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentServerLimits {
    /// How many connections are served at once; more wait to be accepted.
    pub connections: NonZeroUsize,
    /// How long a request's head may take to arrive, which is also how long a connection may be idle.
    pub head: Duration,
    /// How long a body may stand still, in either direction, and how long an upstream server may think.
    pub no_progress: Duration,
    /// How long a connection to the upstream server may take to come about.
    pub upstream_connect: Duration,
    /// How long requests may go on after the shutdown was asked for.
    pub drain: Duration,
}

impl Default for ContentServerLimits {
    /// 1024 connections, 30 s for a head, 60 s without progress, 10 s to connect, 10 s to drain.
    fn default() -> Self {
        Self {
            connections: const { NonZeroUsize::new(1024).unwrap() },
            head: Duration::from_secs(30),
            no_progress: Duration::from_secs(60),
            upstream_connect: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

impl ContentServerConfig {
    /// A configuration with the defaults: nothing kept across restarts, up to 1 GiB of state and 64 MiB of memory,
    /// both versions (version 1 with SHA-256), 64 KiB to 64 GiB, hashed upon request, one content at a time on all
    /// cores, five seconds for a hash request.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            state_directory: None,
            state_size: 1 << 30,
            memory_size: 64 << 20,
            versions: HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true },
            minimum_size: DEFAULT_MINIMUM_SIZE,
            maximum_size: 64 << 30,
            hash_ahead: false,
            hash_jobs: NonZeroUsize::MIN,
            hash_threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            hash_request_wait: Duration::from_secs(5),
            limits: ContentServerLimits::default(),
        }
    }
}
