//! What an exchange may take.

use std::time::Duration;

use peerdist_protocol::retrieval::VersionRange;

/// The bounds of a retrieval client. The size of a response is bounded by
/// [`MAX_RESPONSE_SIZE`](peerdist_protocol::retrieval::MAX_RESPONSE_SIZE) beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// The versions that are spoken.
    pub versions: VersionRange,
    /// How long a connection may take to open.
    pub connect_time: Duration,
    /// The Request Timer ([MS-PCCRR] 3.1.2), as the time in which something has to arrive: the response's headers
    /// after the request, then each further piece of its body.
    pub progress_time: Duration,
    /// How long an exchange may take in all, so that a peer that sends a byte now and then ends, too.
    pub exchange_time: Duration,
    /// Idle connections kept for one peer.
    pub idle_per_peer: usize,
    /// Idle connections kept in all.
    pub idle_connections: usize,
    /// How long a connection is kept idle.
    pub idle_time: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            versions: VersionRange::ALL,
            connect_time: Duration::from_secs(2),
            progress_time: Duration::from_secs(2),
            exchange_time: Duration::from_secs(30),
            idle_per_peer: 8,
            idle_connections: 128,
            // A hosted cache has many clients, and each of them some.
            idle_time: Duration::from_secs(10),
        }
    }
}
