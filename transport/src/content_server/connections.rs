//! Accepting connections and serving requests on them, within limits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;
use super::config::ContentServerLimits;
use super::idle::WriteLimited;

/// A request's head may have this many bytes.
const MAX_HEAD_SIZE: usize = 64 << 10;
/// How long accepting rests after it failed, as it does while the process has no descriptor left.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// Serves until `shutdown` is ready, and then finishes the requests under way as long as the limits allow.
///
/// `accepted` is told of every connection; `answer` never fails.
pub(super) async fn serve<A, F>(
    listener: TcpListener,
    limits: ContentServerLimits,
    shutdown: impl Future<Output = ()>,
    accepted: impl Fn(),
    answer: A,
) where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections.get()));
    let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
    let connections = TaskTracker::new();
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(permit) = permits.clone().acquire_owned().await {
            let (stream, peer) = match listener.accept().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                    continue;
                }
            };
            accepted();
            let (answer, finish, abort) = (answer.clone(), finish.clone(), abort.clone());
            connections.spawn(async move {
                abort.run_until_cancelled(serve_connection(stream, peer, limits, finish, answer)).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = accepting => {}
    }
    drop(listener);
    finish.cancel();
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        abort.cancel();
        connections.wait().await;
    }
}

async fn serve_connection<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    limits: ContentServerLimits,
    finish: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<Body>>,
{
    // A failure costs latency only.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(WriteLimited::new(stream, limits.no_progress));
    let service = service_fn(move |request| {
        let response = answer(request, peer);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_SIZE)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = finish.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}
