//! Clients of the two sockets, for the command line and for programs in Rust.
//!
//! [`AdminClient`] administers, [`Session`] fetches. Both take connections from a small pool; an operation whose future is
//! dropped takes its connection down with it, which cancels it in the daemon.

mod endpoint;
mod features;

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};

use self::endpoint::{Answer, Connection, Endpoint, request};
use super::paths;
use super::wire::{
    self, Cleared, ContentId, Described, Event, NAME_HEADER, NotThere, Opened, PublicStatus, RANGE_HEADER, Reloaded,
    SESSION_HEADER, SOURCE_HEADER, SegmentPage, Token,
};
use crate::config;
use crate::fetch::why::{MissingReason, Source};
use crate::store::{StoreStats, VerifyProgress};

pub use self::endpoint::ClientError;

/// The environment variable that names another admin socket.
pub const ADMIN_SOCKET_VARIABLE: &str = "PEERDIST_ADMIN_SOCKET";
/// The environment variable that names another api socket.
pub const API_SOCKET_VARIABLE: &str = "PEERDIST_SOCKET";
/// A line of the event stream has at most this many bytes.
const MAX_EVENT_SIZE: usize = 64 << 10;

fn socket(variable: &str, default: PathBuf) -> PathBuf {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map_or(default, PathBuf::from)
}

/// A client of the admin socket.
#[derive(Debug, Clone)]
pub struct AdminClient(Endpoint);

impl AdminClient {
    /// A client of the socket that `PEERDIST_ADMIN_SOCKET` names, or else of the default one. Connects when used.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(socket(ADMIN_SOCKET_VARIABLE, config::Control::default().admin_socket))
    }

    /// A client of the socket at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(Endpoint::new(path))
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What the node does.
    pub async fn status(&self) -> Result<serde_json::Value, ClientError> {
        self.0.call(request(Method::GET, paths::STATUS, Bytes::new())).await
    }

    /// How full the cache is.
    pub async fn cache_stats(&self) -> Result<StoreStats, ClientError> {
        self.0.call(request(Method::GET, paths::CACHE, Bytes::new())).await
    }

    /// The segments behind the id `after`, at most `limit` of them.
    pub async fn cache_segments(&self, after: Option<&str>, limit: u32) -> Result<SegmentPage, ClientError> {
        self.0.call(request(Method::GET, &paths::cache_segments(after, limit), Bytes::new())).await
    }

    /// Has every block read and checked.
    pub async fn cache_verify(&self) -> Result<VerifyProgress, ClientError> {
        self.0.call(request(Method::POST, paths::CACHE_VERIFY, Bytes::new())).await
    }

    /// Empties the cache.
    pub async fn cache_clear(&self) -> Result<Cleared, ClientError> {
        self.0.call(request(Method::POST, paths::CACHE_CLEAR, Bytes::new())).await
    }

    /// Where the bytes of recent contents came from, and why.
    pub async fn why(&self) -> Result<serde_json::Value, ClientError> {
        self.0.call(request(Method::GET, paths::WHY, Bytes::new())).await
    }

    /// Counters in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let answer = self.0.send(request(Method::GET, paths::METRICS, Bytes::new())).await?;
        if !answer.status.is_success() {
            return Err(self.0.refused(&answer));
        }
        String::from_utf8(answer.body.into()).map_err(|_| self.0.unexpected(answer.status))
    }

    /// Has the configuration read again. Says what changed, and what needs a restart.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.0.call(request(Method::POST, paths::RELOAD, Bytes::new())).await
    }
}

/// A session on the api socket. It ends, with all its contents, when this is dropped.
#[derive(Debug)]
pub struct Session {
    endpoint: Endpoint,
    token: Token,
    events: Events,
}

/// The open answer that keeps a session alive.
#[derive(Debug)]
struct Events {
    body: Incoming,
    buffer: BytesMut,
    /// The connection lives as long as its sender or its answer.
    _connection: Connection,
}

impl Session {
    /// Opens a session on the socket that `PEERDIST_SOCKET` names, or else on the default one.
    pub async fn from_env() -> Result<Self, ClientError> {
        Self::open(socket(API_SOCKET_VARIABLE, config::Control::default().api_socket)).await
    }

    /// Opens a session on the socket at `path`.
    pub async fn open(path: PathBuf) -> Result<Self, ClientError> {
        let endpoint = Endpoint::new(path);
        let (response, connection) = endpoint.start(request(Method::POST, paths::SESSIONS, Bytes::new())).await?;
        let status = response.status();
        if !status.is_success() {
            let headers = response.headers().clone();
            let limited = http_body_util::Limited::new(response.into_body(), MAX_EVENT_SIZE);
            let body = limited.collect().await.map_err(|_| endpoint.unexpected(status))?.to_bytes();
            return Err(endpoint.refused(&Answer { status, headers, body }));
        }
        let mut events = Events { body: response.into_body(), buffer: BytesMut::new(), _connection: connection };
        match events.next(&endpoint).await? {
            Some(Event::Session { token }) => Ok(Self { endpoint, token, events }),
            _ => Err(endpoint.unexpected(status)),
        }
    }

    /// The next event, or `None` when the daemon ended the session.
    pub async fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        self.events.next(&self.endpoint).await
    }

    /// Opens a content by its content information.
    pub async fn open_content(&self, content_information: Bytes) -> Result<RemoteContent, ClientError> {
        self.open_named("", content_information).await
    }

    /// Opens a content under a name that the daemon's explanations show, such as its URL.
    pub async fn open_named(&self, name: &str, content_information: Bytes) -> Result<RemoteContent, ClientError> {
        let mut request = with_token(request(Method::POST, paths::CONTENTS, content_information), &self.token);
        if let Ok(value) = HeaderValue::from_str(name) {
            request.headers_mut().insert(NAME_HEADER, value);
        }
        let opened: Opened = self.endpoint.call(request).await?;
        Ok(RemoteContent {
            endpoint: self.endpoint.clone(),
            token: self.token.clone(),
            id: opened.id,
            ranges: vec![opened.range.range()],
        })
    }

    /// What the daemon tells everybody about itself.
    pub async fn status(&self) -> Result<PublicStatus, ClientError> {
        self.endpoint.call(request(Method::GET, paths::STATUS, Bytes::new())).await
    }
}

impl Events {
    async fn next(&mut self, endpoint: &Endpoint) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let event = serde_json::from_slice(&line).map_err(|_| endpoint.unexpected(StatusCode::OK))?;
                return Ok(Some(event));
            }
            if self.buffer.len() > MAX_EVENT_SIZE {
                return Err(endpoint.unexpected(StatusCode::OK));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => frame.data_ref().map(|data| self.buffer.extend_from_slice(data)).unwrap_or_default(),
                Some(Err(error)) => return Err(endpoint.hung_up(error)),
            }
        }
    }
}

fn with_token(mut request: Request<Full<Bytes>>, token: &Token) -> Request<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(token.as_str()) {
        request.headers_mut().insert(SESSION_HEADER, value);
    }
    request
}

/// A content that the daemon holds open for a session.
#[derive(Debug)]
pub struct RemoteContent {
    endpoint: Endpoint,
    token: Token,
    id: ContentId,
    ranges: Vec<Range<u64>>,
}

/// What a read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteRead {
    /// Verified bytes.
    Data {
        /// Which bytes of the content.
        range: Range<u64>,
        /// The bytes.
        bytes: Bytes,
        /// Where they came from.
        source: Source,
    },
    /// Nobody near has these bytes: they are to be fetched from the origin and added.
    Missing {
        /// Which bytes of the content.
        range: Range<u64>,
        /// Why.
        reason: MissingReason,
    },
}

impl RemoteContent {
    /// What its content information describes, in the order in which it was given.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Adds content information of another part of the same content.
    pub async fn add_content_information(&mut self, content_information: Bytes) -> Result<(), ClientError> {
        let path = paths::of_content(paths::CONTENT_INFORMATION, self.id);
        let described: Described = self.endpoint.call(self.request(Method::POST, &path, content_information)).await?;
        self.ranges.push(described.range.range());
        Ok(())
    }

    /// Reads from `position` on: verified bytes, or which are missing. Dropping the future cancels the read.
    pub async fn next(&self, position: u64) -> Result<RemoteRead, ClientError> {
        let path = paths::content_next(self.id, position);
        let answer = self.endpoint.send(self.request(Method::GET, &path, Bytes::new())).await?;
        match answer.status {
            StatusCode::OK => read_data(&answer).ok_or_else(|| self.endpoint.unexpected(answer.status)),
            StatusCode::NOT_FOUND => match serde_json::from_slice::<NotThere>(&answer.body) {
                Ok(not_there) => Ok(RemoteRead::Missing { range: not_there.missing.range(), reason: not_there.reason }),
                Err(_) => Err(self.endpoint.refused(&answer)),
            },
            _ => Err(self.endpoint.refused(&answer)),
        }
    }

    /// Adds bytes that came from the origin, at most [`wire::MAX_DATA_SIZE`] of them.
    pub async fn add_data(&self, offset: u64, bytes: Bytes) -> Result<(), ClientError> {
        let path = paths::content_data(self.id, offset);
        self.endpoint.tell(self.request(Method::PUT, &path, bytes)).await
    }

    /// Where the content's bytes came from, and why.
    pub async fn why(&self) -> Result<serde_json::Value, ClientError> {
        let path = paths::of_content(paths::CONTENT_WHY, self.id);
        self.endpoint.call(self.request(Method::GET, &path, Bytes::new())).await
    }

    /// Closes the content before its session ends. Reads that wait are cancelled.
    pub async fn close(&self) -> Result<(), ClientError> {
        let path = paths::of_content(paths::CONTENT, self.id);
        self.endpoint.tell(self.request(Method::DELETE, &path, Bytes::new())).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        with_token(request(method, path, body), &self.token)
    }
}

fn read_data(answer: &Answer) -> Option<RemoteRead> {
    let header = |name| answer.headers.get(name)?.to_str().ok();
    let (first, last) = header(RANGE_HEADER)?.split_once('-')?;
    let range = wire::Bytes { first: first.parse().ok()?, last: last.parse().ok()? }.range();
    let source = match header(SOURCE_HEADER)? {
        "cache" => Source::Cache,
        "origin" => Source::Origin,
        other => Source::Peer(other.strip_prefix("peer ")?.parse().ok()?),
    };
    let complete = range.end - range.start == answer.body.len() as u64;
    complete.then(|| RemoteRead::Data { range, bytes: answer.body.clone(), source })
}
