//! The client of the admin socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;

use super::endpoint::{ClientError, Endpoint, request};
use super::socket;
use crate::config;
use crate::control::paths;
use crate::control::wire::{Cleared, Reloaded, SegmentPage};
use crate::store::{StoreStats, VerifyProgress};

/// The environment variable that names another admin socket.
pub const ADMIN_SOCKET_VARIABLE: &str = "PEERDIST_ADMIN_SOCKET";

/// A client of the admin socket.
#[derive(Debug, Clone)]
pub struct AdminClient(pub(super) Endpoint);

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

    /// Begins a capture of what `query` says, in the words of `GET /v1/capture`.
    pub async fn capture(&self, query: &str) -> Result<CaptureStream, ClientError> {
        let path = format!("{}?{query}", paths::CAPTURE);
        let response = self.0.start(request(Method::GET, &path, Bytes::new())).await?;
        if !response.status().is_success() {
            return Err(self.0.refused(&self.0.collect(response).await?));
        }
        Ok(CaptureStream { endpoint: self.0.clone(), body: response.into_body() })
    }

    /// Has the configuration read again. Says what changed, and what needs a restart.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.0.call(request(Method::POST, paths::RELOAD, Bytes::new())).await
    }
}

/// A capture under way. Dropping it ends the capture.
#[derive(Debug)]
pub struct CaptureStream {
    endpoint: Endpoint,
    body: Incoming,
}

impl CaptureStream {
    /// The next bytes of pcapng; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(bytes) = frame.map_err(|error| self.endpoint.hung_up(error))?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
