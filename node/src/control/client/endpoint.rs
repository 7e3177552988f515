//! One control socket: its connections, requests and answers, and what can go wrong with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use crate::control::wire::{ErrorCode, Refusal};

/// Bytes in a frame, and how many may come before they are taken: by one operation and by all of a connection.
const FRAME_SIZE: u32 = 256 << 10;
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes of a request that wait to be sent.
const SEND_BUFFER: usize = 1 << 20;
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
    /// The daemon refused; whose fault it is, the error says.
    #[error("{message}")]
    Refused {
        /// For programs.
        error: ErrorCode,
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

/// One socket and the connection to it, which all operations share. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Arc<EndpointInner>);

#[derive(Debug)]
struct EndpointInner {
    path: PathBuf,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

type Connection = SendRequest<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Endpoint {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(EndpointInner { path, connection: tokio::sync::Mutex::default() }))
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
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_frame_size(FRAME_SIZE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // Answers that meet their cancels on the way are no errors, however many there are: the daemon is trusted.
            .max_local_error_reset_streams(None::<usize>)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::HungUp { path, source })?;
        // It ends with the last sender and answer; what went wrong is told to the requests.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The connection, made anew where there is none or the last one broke.
    async fn connection(&self) -> Result<Connection, ClientError> {
        let mut known = self.0.connection.lock().await;
        if let Some(connection) = known.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *known = Some(connection.clone());
        Ok(connection)
    }

    /// Sends a request and returns the head of its answer. Dropping the answer cancels what is left of it.
    pub(super) async fn start(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let mut connection = self.connection().await?;
        connection.send_request(request).await.map_err(|error| self.hung_up(error))
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        self.collect(self.start(request).await?).await
    }

    /// The whole of an answer.
    pub(super) async fn collect(&self, response: Response<Incoming>) -> Result<Answer, ClientError> {
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
        Ok(Answer { status: head.status, body: bytes.freeze() })
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
            Ok(refusal) => ClientError::Refused { error: refusal.error, message: refusal.message },
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
    *request.uri_mut() = format!("http://peerdist{path}").parse().unwrap_or_default();
    request
}
