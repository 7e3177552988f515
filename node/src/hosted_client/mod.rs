//! The hosted client: a node that fetches from the hosted caches of its branch ([MS-CCRSO] 2.8, [MS-PCHC] 3.2), and offers
//! them what it got from elsewhere.
//!
//! | part | what it does |
//! |---|---|
//! | [`Server`] | one hosted cache: where it is, what came of asking it |
//! | [`order`] | which hosted cache a segment belongs to, and which ones stand in |
//! | [`queue`] | what waits to be offered, to whom, and when: pure |
//! | `offerer` | makes the offers |
//! | [`HostedClientStatus`] | what all that came to |
//!
//! Who is asked for which segment and block is decided in [`crate::fetch`].

mod offerer;
pub mod queue;
mod servers;
mod status;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peerdist_protocol::content::{BlockIndex, Segment, SegmentId};
use peerdist_protocol::hosted_cache::Version;
use peerdist_tap::Tap;
use peerdist_transport::hosted_cache::CertificateError;
use tokio_util::sync::CancellationToken;

use offerer::Offerer;
pub use servers::{Server, order};
pub use status::{HostedClientStatus, OffersStatus, ServerState, ServerStatus};

use crate::config::{self, Fallback, ServerName};
use crate::store::Tag;

/// The hosted caches of a node, and its offers to them. Dropping the last clone ends the offers.
#[derive(Debug)]
pub struct HostedClient {
    names: Vec<ServerName>,
    servers: Arc<[Server]>,
    version: Version,
    fallback: Fallback,
    offerer: Offerer,
    on: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl HostedClient {
    /// The hosted caches of a configuration. Offers tell them to fetch from `port` of this host, and are made while `on`
    /// says so, from those addresses in `listen` that are no wildcards, and told to `tap`. Call it within a tokio runtime.
    ///
    /// # Errors
    /// Where the trusted certificates cannot be read.
    pub fn start(
        config: &config::HostedClient,
        listen: &[IpAddr],
        port: u16,
        on: Arc<AtomicBool>,
        tap: Tap,
    ) -> Result<Arc<Self>, CertificateError> {
        let from = listen.iter().copied().filter(|own| !own.is_unspecified()).collect();
        let servers = config.servers.iter().cloned().map(|name| Server::new(name, config.retrieval_port));
        let servers: Arc<[Server]> = servers.collect();
        Ok(Arc::new(Self {
            names: config.servers.clone(),
            version: config.version.0,
            fallback: config.fallback,
            offerer: Offerer::start(config, Arc::clone(&servers), from, port, Arc::clone(&on), tap)?,
            on,
            stop: CancellationToken::new(),
            servers,
        }))
    }

    /// The hosted caches, in the order of the configuration.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The hosted caches for a segment, as positions in [`Self::servers`]: the first that works is asked.
    #[must_use]
    pub fn order(&self, id: &SegmentId) -> Vec<usize> {
        order(&self.names, id)
    }

    /// Whether they can be asked which segments they hold: MSG_GETSEGLIST is not for servers of version 1.0.
    #[must_use]
    pub fn has_lists(&self) -> bool {
        self.version == Version::V2
    }

    /// What is done while none of them can be reached.
    #[must_use]
    pub fn fallback(&self) -> Fallback {
        self.fallback
    }

    /// Whether the node is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Nothing is offered any more, and nobody looks any more whether hosted caches are back.
    pub fn stop(&self) {
        self.offerer.stop();
        self.stop.cancel();
    }

    /// Ends when [`Self::stop`] is called.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// A block that no hosted cache gave is in the store now, verified against a list that proves itself. `held` says how
    /// many such blocks of the segment there are; it is asked where that decides.
    pub fn is_new(&self, segment: &Segment, index: BlockIndex, tag: Tag, held: impl FnOnce() -> u32) {
        self.offerer.is_new(segment, index, tag, held);
    }
}
