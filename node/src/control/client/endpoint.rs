//! One control socket: its connections, requests and answers, and what can go wrong with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::control::wire::{ErrorCode, Refusal};

/// Connections that wait to be used again.
const MAX_IDLE: usize = 8;
/// An answer that is not content is read up to this many bytes.
const MAX_ANSWER_SIZE: usize = 64 << 20;

/// Why a control operation failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no daemon at {}", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
    },
    /// The socket's permissions keep the caller out.
    #[error("permission denied at {}", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed for another reason.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke: the daemon went away in the middle.
    #[error("the daemon at {} hung up", path.display())]
    HungUp {
        /// The socket.
        path: PathBuf,
        /// What HTTP says.
        source: hyper::Error,
    },
    /// The daemon refused; whose fault it is, the code says.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The answer is not what this version expects.
    #[error("the daemon at {} answers {status} with something else than expected: is it another version?", path.display())]
    Unexpected {
        /// The socket.
        path: PathBuf,
        /// The answer's status.
        status: StatusCode,
    },
}

/// One socket and its idle connections.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Arc<EndpointInner>);

#[derive(Debug)]
struct EndpointInner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

pub(super) type Connection = SendRequest<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Endpoint {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(EndpointInner { path, idle: Mutex::default() }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let path = self.path().to_owned();
        let stream = UnixStream::connect(&path).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon { path: path.clone() },
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted { path: path.clone() },
            _ => ClientError::Connect { path: path.clone(), source },
        })?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::HungUp { path, source })?;
        // It ends with the sender; what went wrong is told to the request.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !connection.is_closed() {
            idle.push(connection);
        }
    }

    /// Sends a request and returns the answer's head and the connection that its body comes on.
    pub(super) async fn start(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        request.headers_mut().insert(HOST, HeaderValue::from_static("peerdist"));
        // An idle connection may have been closed meanwhile; then hyper gives back the request it did not send.
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.hung_up(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(|error| self.hung_up(error))?;
        Ok((response, connection))
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let (response, connection) = self.start(request).await?;
        let (head, mut body) = response.into_parts();
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(announced.min(MAX_ANSWER_SIZE));
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| self.hung_up(error))?.into_data() else { continue };
            if bytes.len() + data.len() > MAX_ANSWER_SIZE {
                return Err(self.unexpected(head.status));
            }
            bytes.extend_from_slice(&data);
        }
        self.put_back(connection);
        Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
    }

    /// Sends a request whose answer is JSON.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, ClientError> {
        let answer = self.send(request).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.unexpected(answer.status))
    }

    /// Sends a request whose answer has no body worth reading.
    pub(super) async fn tell(&self, request: Request<Full<Bytes>>) -> Result<(), ClientError> {
        let answer = self.send(request).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer)) }
    }

    pub(super) fn refused(&self, answer: &Answer) -> ClientError {
        match serde_json::from_slice::<Refusal>(&answer.body) {
            Ok(refusal) => ClientError::Refused { code: refusal.error, message: refusal.message },
            Err(_) => self.unexpected(answer.status),
        }
    }

    pub(super) fn hung_up(&self, source: hyper::Error) -> ClientError {
        ClientError::HungUp { path: self.path().to_owned(), source }
    }

    pub(super) fn unexpected(&self, status: StatusCode) -> ClientError {
        ClientError::Unexpected { path: self.path().to_owned(), status }
    }
}

pub(super) fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.into()));
    *request.method_mut() = method;
    // Paths are ours; one that is no URI would be refused as "/" is.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}
