//! Serving a router on a unix socket: who calls, how many at once, and an orderly end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::ControlListener;
use super::process::Process;
use crate::api::Uid;

/// A connection may take this long to send the head of a request, the time between two requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The head of a request, and how much of a body is read at once, in bytes.
const BUFFER_SIZE: usize = 128 << 10;
/// Operations at once on one connection of HTTP/2, waiting ones included.
const MAX_OPERATIONS: u32 = 4096;
/// Operations of one connection that were cancelled before they were looked at. Programs cancel many at once; beyond this
/// number the connection ends.
const MAX_CANCELLED: usize = 16 * MAX_OPERATIONS as usize;
/// Bytes in a frame of HTTP/2, and how many may come before they are taken: by one operation and by all of a connection.
/// The connection's bound what one connection takes in memory.
const FRAME_SIZE: u32 = 256 << 10;
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of an answer that wait to be sent.
const SEND_BUFFER: usize = 1 << 20;
/// After a failed accept (no descriptors left) the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections one socket takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// From all users together.
    pub(super) all: usize,
    /// From one user.
    pub(super) per_user: usize,
}

/// The process at the other end, as the kernel says (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) uid: Uid,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // `serve` gives every connection one; nobody is a user without rights here.
        Ok(parts.extensions.get().copied().unwrap_or(Self { uid: NOBODY }))
    }
}

/// A uid that no process has: (uid_t) -1 stands for "none" in the system's interfaces.
const NOBODY: Uid = Uid::MAX;

/// Serves `router` until `stop`, then lets requests finish. Ends when the last connection has.
pub(super) async fn serve(bound: ControlListener, router: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let connections = Connections::default();
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = bound.listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(socket = %bound.path().display(), %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Ok(credentials) = stream.peer_cred() else { continue };
        let caller = Caller { uid: credentials.uid() };
        let Some(place) = connections.enter(caller.uid, limits) else {
            tracing::debug!(socket = %bound.path().display(), uid = caller.uid, "too many connections");
            continue;
        };
        let router = router.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            let process = credentials.pid().and_then(Process::watch);
            tokio::select! {
                () = serve_connection(stream, router.layer(Extension(caller)), stop) => {}
                // A child of it may keep the other end, and ends nothing that was begun.
                () = Process::ended(process.as_ref()) => {}
            }
            drop(place);
        });
    }
    // The name goes before the connections do: callers from now on find no daemon.
    drop(bound);
    tasks.close();
    tasks.wait().await;
}

async fn serve_connection(stream: UnixStream, router: Router, stop: CancellationToken) {
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER_SIZE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_OPERATIONS)
        .max_pending_accept_reset_streams(MAX_CANCELLED)
        .max_frame_size(FRAME_SIZE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(BUFFER_SIZE as u32);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "control connection");
    }
}

/// Counts connections by user.
#[derive(Debug, Clone, Default)]
struct Connections(Arc<Mutex<HashMap<Uid, usize>>>);

impl Connections {
    fn enter(&self, uid: Uid, limits: ConnectionLimits) -> Option<Place> {
        let mut by_user = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = by_user.values().sum();
        let own = by_user.get(&uid).copied().unwrap_or(0);
        if all >= limits.all || own >= limits.per_user {
            return None;
        }
        by_user.insert(uid, own + 1);
        Some(Place { connections: self.clone(), uid })
    }
}

/// One counted connection.
#[derive(Debug)]
struct Place {
    connections: Connections,
    uid: Uid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_user = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_user.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_all_connections() {
        let connections = Connections::default();
        let limits = ConnectionLimits { all: 3, per_user: 2 };
        let first = connections.enter(1, limits).unwrap();
        let second = connections.enter(1, limits).unwrap();
        assert!(connections.enter(1, limits).is_none());
        let third = connections.enter(2, limits).unwrap();
        assert!(connections.enter(3, limits).is_none());
        drop(first);
        assert!(connections.enter(1, limits).is_some());
        drop((second, third));
        assert!(connections.0.lock().unwrap().is_empty());
    }
}
