//! A content that the daemon holds open.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};

use super::endpoint::{ClientError, Endpoint};
use super::session::SessionHandle;
use crate::control::paths;
use crate::control::wire::{self, Available, ContentState, Described, HandleId, NotThere, RANGE_HEADER, SOURCE_HEADER};
use crate::fetch::why::{MissingReason, Source};

/// A content that the daemon holds open for a session.
#[derive(Debug, Clone)]
pub struct RemoteContent {
    session: SessionHandle,
    id: HandleId,
    ranges: Vec<Range<u64>>,
}

/// What a read came to.
#[derive(Debug)]
pub enum RemoteRead<D> {
    /// Verified bytes, or such as were added to this content and cannot be verified yet.
    Data {
        /// Which bytes of the content.
        range: Range<u64>,
        /// The bytes.
        bytes: D,
        /// Where they came from.
        source: Source,
    },
    /// Nobody near has these bytes, or they did not come in time ([`MissingReason::TooSlow`]): they are to be fetched
    /// from the origin and added.
    Missing {
        /// Which bytes of the content.
        range: Range<u64>,
        /// Why.
        reason: MissingReason,
    },
}

/// The bytes of a read as they come.
#[derive(Debug)]
pub struct Pieces {
    endpoint: Endpoint,
    body: Incoming,
    left: u64,
}

impl Pieces {
    /// The next bytes; `None` at the end. Fewer bytes than were announced are an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return if self.left == 0 { Ok(None) } else { Err(self.endpoint.unexpected(StatusCode::OK)) };
            };
            let frame = frame.map_err(|error| self.endpoint.hung_up(error))?;
            let Ok(data) = frame.into_data() else { continue };
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or_else(|| self.endpoint.unexpected(StatusCode::OK))?;
            return Ok(Some(data));
        }
    }
}

impl RemoteContent {
    pub(super) fn new(session: SessionHandle, id: HandleId, range: Option<Range<u64>>) -> Self {
        Self { session, id, ranges: range.into_iter().collect() }
    }

    /// What its content information describes, in the order in which it was given.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// PeerDistClientAddContentInformation: a piece of content information, of any size.
    pub async fn add_piece(&self, piece: Bytes) -> Result<(), ClientError> {
        let path = format!("{}?more=true", paths::of_handle(paths::CONTENT_INFORMATION, self.id));
        self.session.tell(Method::POST, &path, piece).await
    }

    /// PeerDistClientCompleteContentInformation, after a last piece that may be empty. Returns what is described now.
    pub async fn complete(&self, last: Bytes) -> Result<Range<u64>, ClientError> {
        let path = paths::of_handle(paths::CONTENT_INFORMATION, self.id);
        let described: Described = self.session.call(Method::POST, &path, last).await?;
        described.range.map(wire::Bytes::range).ok_or_else(|| self.session.endpoint.unexpected(StatusCode::OK))
    }

    /// Adds content information of another part of the same content, whole.
    pub async fn add_content_information(&mut self, content_information: Bytes) -> Result<(), ClientError> {
        let range = self.complete(content_information).await?;
        self.ranges.push(range);
        Ok(())
    }

    /// Reads forward from `position` on, as long as the node has patience. Dropping the future cancels the read.
    pub async fn next(&self, position: u64) -> Result<RemoteRead<Bytes>, ClientError> {
        let path = paths::of_handle(paths::CONTENT_DATA, self.id);
        match self.start_read(&format!("{path}?stream=true&position={position}")).await? {
            RemoteRead::Data { range, mut bytes, source } => {
                let mut all = BytesMut::with_capacity((range.end - range.start) as usize);
                while let Some(piece) = bytes.next().await? {
                    all.extend_from_slice(&piece);
                }
                Ok(RemoteRead::Data { range, bytes: all.freeze(), source })
            }
            RemoteRead::Missing { range, reason } => Ok(RemoteRead::Missing { range, reason }),
        }
    }

    /// PeerDistClientBlockRead: at most `max` bytes from `position` on, waiting for `timeout`.
    pub async fn block_read(
        &self,
        position: u64,
        max: u64,
        timeout: Duration,
    ) -> Result<RemoteRead<Pieces>, ClientError> {
        let path = paths::of_handle(paths::CONTENT_DATA, self.id);
        let timeout = timeout.as_millis();
        self.start_read(&format!("{path}?position={position}&max={max}&timeout={timeout}")).await
    }

    /// PeerDistClientStreamRead at a position that the caller keeps.
    pub async fn stream_read(
        &self,
        position: u64,
        max: u64,
        timeout: Duration,
    ) -> Result<RemoteRead<Pieces>, ClientError> {
        let path = paths::of_handle(paths::CONTENT_DATA, self.id);
        let timeout = timeout.as_millis();
        self.start_read(&format!("{path}?stream=true&position={position}&max={max}&timeout={timeout}")).await
    }

    /// How many bytes are in the cache from `position` on.
    pub async fn available(&self, position: u64) -> Result<u64, ClientError> {
        let path = paths::of_handle(paths::CONTENT_AVAILABLE, self.id);
        let available: Available =
            self.session.call(Method::GET, &format!("{path}?position={position}"), Bytes::new()).await?;
        Ok(available.bytes)
    }

    /// PeerDistClientAddData: adds bytes that came from the origin, at most [`wire::MAX_DATA_SIZE`] of them.
    pub async fn add_data(&self, offset: u64, bytes: Bytes) -> Result<(), ClientError> {
        let path = paths::of_handle(paths::CONTENT_DATA, self.id);
        self.session.tell(Method::PUT, &format!("{path}?offset={offset}"), bytes).await
    }

    /// PeerDistClientGetInformationByHandle.
    pub async fn state(&self) -> Result<ContentState, ClientError> {
        self.session.call(Method::GET, &paths::of_handle(paths::CONTENT, self.id), Bytes::new()).await
    }

    /// Where the content's bytes came from, and why.
    pub async fn why(&self) -> Result<serde_json::Value, ClientError> {
        self.session.call(Method::GET, &paths::of_handle(paths::CONTENT_WHY, self.id), Bytes::new()).await
    }

    /// PeerDistClientCloseContent: closes the content before its session ends. Reads that wait are cancelled.
    pub async fn close(&self) -> Result<(), ClientError> {
        self.session.tell(Method::DELETE, &paths::of_handle(paths::CONTENT, self.id), Bytes::new()).await
    }

    async fn start_read(&self, path: &str) -> Result<RemoteRead<Pieces>, ClientError> {
        let endpoint = &self.session.endpoint;
        let response = endpoint.start(self.session.request(Method::GET, path, Bytes::new())).await?;
        if response.status() == StatusCode::OK {
            let head = read_head(response.headers());
            let (range, source) = head.ok_or_else(|| endpoint.unexpected(StatusCode::OK))?;
            let left = range.end - range.start;
            let bytes = Pieces { endpoint: endpoint.clone(), body: response.into_body(), left };
            return Ok(RemoteRead::Data { range, bytes, source });
        }
        let answer = endpoint.collect(response).await?;
        match serde_json::from_slice::<NotThere>(&answer.body) {
            Ok(there) => Ok(RemoteRead::Missing { range: there.missing.range(), reason: there.reason }),
            Err(_) => Err(endpoint.refused(&answer)),
        }
    }
}

fn read_head(headers: &HeaderMap) -> Option<(Range<u64>, Source)> {
    let header = |name| headers.get(name)?.to_str().ok();
    let (first, last) = header(RANGE_HEADER)?.split_once('-')?;
    let range = wire::Bytes { first: first.parse().ok()?, last: last.parse().ok()? }.range();
    let source = match header(SOURCE_HEADER)? {
        "cache" => Source::Cache,
        "origin" => Source::Origin,
        other => Source::Peer(other.strip_prefix("peer ")?.parse().ok()?),
    };
    (range.start < range.end).then_some((range, source))
}
