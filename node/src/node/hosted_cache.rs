//! What a hosted cache has beside other nodes: offers, and ports for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use peerdist_protocol::hosted_cache::Version;
use peerdist_tap::Tap;
use peerdist_transport::hosted_cache::{Certificate, Offers};
use peerdist_transport::retrieval::client::Client;
use peerdist_transport::retrieval::server::{Listener, ServerCounters, ServerLimits};
use tokio::net::TcpListener;

use super::{StartError, client_limits, listen};
use crate::config::Config;
use crate::hosted_cache::{HostedCache, HostedCacheStatus, OfferListener};
use crate::store::Store;

/// A hosted cache, and where it takes offers.
pub(super) struct Role {
    pub(super) cache: HostedCache,
    listeners: Vec<OfferListener>,
}

impl Role {
    /// Starts it. With it come all listeners of the node, those for retrieval among them: offers of version 2.0 have
    /// the same port or one of their own.
    pub(super) fn start(
        config: &Config,
        store: &Store,
        on: &Arc<AtomicBool>,
        retrieval: Vec<TcpListener>,
        tap: &Tap,
    ) -> Result<(Self, Vec<Listener>), StartError> {
        let (node, settings) = (&config.node, &config.hosted_cache);
        let mut offers = Vec::new();
        let own = retrieval.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let shares_port = settings.http_port != 0 && settings.http_port == node.port;
        if shares_port {
            offers.extend(retrieval.iter().filter_map(|listener| described(listener, Version::V2)));
        }
        let with_retrieval = if shares_port { Listener::retrieval_and_offers } else { Listener::retrieval };
        let mut listeners: Vec<_> = retrieval.into_iter().map(with_retrieval).collect();
        if settings.http_port != 0 && !shares_port {
            for listener in listen(&node.listen, settings.http_port)? {
                offers.extend(described(&listener, Version::V2));
                listeners.push(Listener::offers(listener));
            }
        }
        if let Some((chain, key)) = settings.certificate_files() {
            let certificate = Certificate::load(chain, key)?;
            for fault in certificate.faults(SystemTime::now()) {
                tracing::warn!(chain = %chain.display(), "{fault}");
            }
            for listener in listen(&node.listen, settings.https_port)? {
                offers.extend(described(&listener, Version::V1));
                listeners.push(Listener::offers_over_tls(listener, certificate.clone()));
            }
        }
        // Its connections are not those of local readers.
        let client = Client::tapped(client_limits(config), tap.clone());
        let cache = HostedCache::start(settings.clone(), store.clone(), client, Arc::clone(on), own);
        Ok((Self { cache: cache.map_err(StartError::Offered)?, listeners: offers }, listeners))
    }

    /// What the server does with offers.
    pub(super) fn offers(&self) -> Offers {
        let cache = self.cache.clone();
        Arc::new(move |from: SocketAddr, offer| cache.take(from, offer))
    }

    pub(super) fn status(&self, server: &ServerCounters) -> HostedCacheStatus {
        HostedCacheStatus {
            listeners: self.listeners.clone(),
            offers_discarded: server.offers_discarded.clone(),
            tls_failures: server.tls_failures,
            ..self.cache.status()
        }
    }
}

fn described(listener: &TcpListener, version: Version) -> Option<OfferListener> {
    Some(OfferListener { address: listener.local_addr().ok()?, version: version.to_string() })
}

/// The limits of its server: those of a peer, with more uploads and connections enough for them.
pub(super) fn server_limits(config: &Config) -> ServerLimits {
    let limits = super::server_limits(&config.retrieval);
    let uploads = config.hosted_cache.max_uploads.get() as usize;
    // One client has a share of them: clients in the field ask for 32 blocks at once.
    let uploads_per_source = (uploads / 8).max(64);
    // Half of them may be busy with something else, or idle.
    let connections = limits.connections.max(uploads.saturating_mul(2));
    ServerLimits { uploads, uploads_per_source, connections, ..limits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosted_cache_has_more_uploads_and_connections_than_a_peer() {
        let limits = server_limits(&Config::default());
        assert_eq!((limits.uploads, limits.uploads_per_source, limits.connections), (1024, 128, 2048));
        assert_eq!(crate::node::server_limits(&Config::default().retrieval).uploads, 64);
    }
}
