//! The handshake before a connection's first request.

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::hosted_cache::Certificate;

/// Takes a connection into TLS. `None` where it ends instead.
pub(super) async fn accept<S>(
    shared: &Shared<S>,
    certificate: &Certificate,
    stream: TcpStream,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let handshake = async {
        let config = certificate.server_config().await;
        TlsAcceptor::from(config).accept(stream).await
    };
    let accepted = tokio::select! {
        accepted = timeout(shared.limits.handshake_time, handshake) => accepted,
        () = stop.cancelled() => return None,
    };
    match accepted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            shared.counters.update(|counters| counters.tls_failures += 1);
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            shared.counters.update(|counters| *counters.timed_out.entry("handshake").or_default() += 1);
            None
        }
    }
}
