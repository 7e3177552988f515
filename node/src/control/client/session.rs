//! The client of the api socket: sessions.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::content::RemoteContent;
use super::endpoint::{ClientError, Endpoint, request};
use super::socket;
use crate::api::ContentTag;
use crate::config;
use crate::control::paths;
use crate::control::wire::{Event, Flushed, NAME_HEADER, Opened, PublicStatus, SESSION_HEADER, Token};

/// The environment variable that names another api socket.
pub const API_SOCKET_VARIABLE: &str = "PEERDIST_SOCKET";
/// A line of the event stream has at most this many bytes.
const MAX_EVENT_SIZE: usize = 64 << 10;

/// A connection to the api socket, made when it is used, that sessions share.
#[derive(Debug, Clone)]
pub struct Connection(Endpoint);

impl Connection {
    /// To the socket that `PEERDIST_SOCKET` names, or else to the default one.
    #[must_use]
    pub fn from_env() -> Self {
        Self::to(socket(API_SOCKET_VARIABLE, config::Control::default().api_socket))
    }

    /// To the socket at `path`.
    #[must_use]
    pub fn to(path: PathBuf) -> Self {
        Self(Endpoint::new(path))
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// What the daemon tells everybody about itself.
    pub async fn status(&self) -> Result<PublicStatus, ClientError> {
        self.0.call(request(Method::GET, paths::STATUS, Bytes::new())).await
    }

    /// PeerDistStartup: opens a session.
    pub async fn open_session(&self) -> Result<Session, ClientError> {
        let endpoint = self.0.clone();
        let response = endpoint.start(request(Method::POST, paths::SESSIONS, Bytes::new())).await?;
        let status = response.status();
        if !status.is_success() {
            let answer = endpoint.collect(response).await?;
            return Err(endpoint.refused(&answer));
        }
        let mut events = Events { endpoint: endpoint.clone(), body: response.into_body(), buffer: BytesMut::new() };
        match events.next().await? {
            Some(Event::Session { token }) => Ok(Session { handle: SessionHandle { endpoint, token }, events }),
            _ => Err(endpoint.unexpected(status)),
        }
    }
}

/// A session on the api socket. It ends, with all it has open and published, when this is dropped.
#[derive(Debug)]
pub struct Session {
    handle: SessionHandle,
    events: Events,
}

impl Session {
    /// Opens a session on the socket that `PEERDIST_SOCKET` names, or else on the default one.
    pub async fn from_env() -> Result<Self, ClientError> {
        Connection::from_env().open_session().await
    }

    /// Opens a session on the socket at `path`.
    pub async fn open(path: PathBuf) -> Result<Self, ClientError> {
        Connection::to(path).open_session().await
    }

    /// The next event, or `None` when the daemon ended the session.
    pub async fn next_event(&mut self) -> Result<Option<Event>, ClientError> {
        self.events.next().await
    }

    /// The operations apart from the events. The session ends when the events are dropped.
    #[must_use]
    pub fn split(self) -> (SessionHandle, Events) {
        (self.handle, self.events)
    }
}

impl std::ops::Deref for Session {
    type Target = SessionHandle;

    fn deref(&self) -> &SessionHandle {
        &self.handle
    }
}

/// The operations of a session. Clones are the same.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    pub(super) endpoint: Endpoint,
    token: Token,
}

/// What the daemon tells a session; what keeps it alive.
#[derive(Debug)]
pub struct Events {
    endpoint: Endpoint,
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    /// The next event, or `None` when the daemon ended the session.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let event = serde_json::from_slice(&line).map_err(|_| self.endpoint.unexpected(StatusCode::OK))?;
                return Ok(Some(event));
            }
            if self.buffer.len() > MAX_EVENT_SIZE {
                return Err(self.endpoint.unexpected(StatusCode::OK));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => frame.data_ref().map(|data| self.buffer.extend_from_slice(data)).unwrap_or_default(),
                Some(Err(error)) => return Err(self.endpoint.hung_up(error)),
            }
        }
    }
}

impl SessionHandle {
    /// Opens a content by its content information, whole.
    pub async fn open_content(&self, content_information: Bytes) -> Result<RemoteContent, ClientError> {
        self.open_tagged(ContentTag::default(), "", content_information).await
    }

    /// PeerDistClientOpenContent, with a name that the daemon's explanations show, such as a URL, and with content
    /// information, whole or none yet.
    pub async fn open_tagged(
        &self,
        tag: ContentTag,
        name: &str,
        content_information: Bytes,
    ) -> Result<RemoteContent, ClientError> {
        let path = format!("{}?tag={}", paths::CONTENTS, hex::encode(tag));
        let mut request = self.request(Method::POST, &path, content_information);
        if let Ok(value) = HeaderValue::from_str(name) {
            request.headers_mut().insert(NAME_HEADER, value);
        }
        let opened: Opened = self.endpoint.call(request).await?;
        Ok(RemoteContent::new(self.clone(), opened.id, opened.range.map(|range| range.range())))
    }

    /// Whether both are the same session.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.token == other.token
    }

    /// PeerDistShutdown: ends the session; when this returns, its publications are gone.
    pub async fn end(&self) -> Result<(), ClientError> {
        self.tell(Method::DELETE, paths::SESSIONS, Bytes::new()).await
    }

    /// PeerDistClientFlushContent. Returns how many blocks left the cache.
    pub async fn flush(&self, tag: ContentTag) -> Result<u64, ClientError> {
        let flushed: Flushed = self.call(Method::DELETE, &paths::of_tag(&tag), Bytes::new()).await?;
        Ok(flushed.blocks)
    }

    /// What the daemon tells everybody about itself.
    pub async fn status(&self) -> Result<PublicStatus, ClientError> {
        Connection(self.endpoint.clone()).status().await
    }

    pub(super) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = request(method, path, body);
        if let Ok(value) = HeaderValue::from_str(self.token.as_str()) {
            request.headers_mut().insert(SESSION_HEADER, value);
        }
        request
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<T, ClientError> {
        self.endpoint.call(self.request(method, path, body)).await
    }

    pub(super) async fn tell(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<(), ClientError> {
        self.endpoint.tell(self.request(method, path, body)).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|_| self.endpoint.unexpected(StatusCode::OK))?;
        let mut request = self.request(Method::POST, path, body);
        request.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.endpoint.call(request).await
    }
}
