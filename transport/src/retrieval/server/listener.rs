//! Where a server listens, and what is found there.

use std::net::SocketAddr;

use peerdist_protocol::hosted_cache::{self, Version};
use peerdist_protocol::retrieval;
use peerdist_tap::Protocol;
use tokio::net::TcpListener;

use crate::hosted_cache::{Certificate, Offers};

/// A socket that a [`Server`](super::Server) accepts connections on, with the paths that exist there.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: TcpListener,
    pub(super) paths: Paths,
    /// Where it speaks TLS.
    pub(super) certificate: Option<Certificate>,
}

impl Listener {
    /// Retrieval alone.
    #[must_use]
    pub fn retrieval(socket: TcpListener) -> Self {
        Self { socket, paths: Paths { retrieval: true, offers: None }, certificate: None }
    }

    /// Retrieval, and offers of version 2.0.
    #[must_use]
    pub fn retrieval_and_offers(socket: TcpListener) -> Self {
        Self { socket, paths: Paths { retrieval: true, offers: Some(Version::V2) }, certificate: None }
    }

    /// Offers of version 2.0 alone.
    #[must_use]
    pub fn offers(socket: TcpListener) -> Self {
        Self { socket, paths: Paths { retrieval: false, offers: Some(Version::V2) }, certificate: None }
    }

    /// Offers of version 1.0 over TLS.
    #[must_use]
    pub fn offers_over_tls(socket: TcpListener, certificate: Certificate) -> Self {
        let paths = Paths { retrieval: false, offers: Some(Version::V1) };
        Self { socket, paths, certificate: Some(certificate) }
    }
}

/// Retrieval alone.
impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::retrieval(socket)
    }
}

/// The paths that exist at a listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths {
    retrieval: bool,
    offers: Option<Version>,
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub(super) enum Resource<'a> {
    Retrieval,
    Offers(Version, &'a Offers),
}

impl Resource<'_> {
    /// As captures call it.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Retrieval => Protocol::Retrieval,
            Self::Offers(..) => Protocol::HostedCache,
        }
    }

    /// The most bytes of a request's body.
    pub(super) fn max_size(self) -> usize {
        match self {
            Self::Retrieval => retrieval::MAX_REQUEST_SIZE,
            Self::Offers(..) => hosted_cache::MAX_MESSAGE_SIZE,
        }
    }
}

impl Paths {
    pub(super) fn has_retrieval(self) -> bool {
        self.retrieval
    }

    pub(super) fn find<'a>(self, path: &str, offers: Option<&'a Offers>) -> Option<Resource<'a>> {
        if self.retrieval && retrieval::is_path(path) {
            return Some(Resource::Retrieval);
        }
        let version = Version::of_path(path).filter(|version| self.offers == Some(*version))?;
        Some(Resource::Offers(version, offers?))
    }
}

/// Whose connection it is, and what it may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) from: SocketAddr,
    pub(super) paths: Paths,
}

impl Visit {
    pub(super) fn new(from: SocketAddr, paths: Paths) -> Self {
        // A host is known by its IPv4 address on a dual-stack listener, too.
        let from = match from {
            SocketAddr::V6(v6) => v6.ip().to_ipv4_mapped().map_or(from, |ip| (ip, v6.port()).into()),
            SocketAddr::V4(_) => from,
        };
        Self { from, paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_its_ipv4_address_where_it_has_one() {
        let from = |text: &str| Visit::new(text.parse().unwrap(), Paths { retrieval: true, offers: None }).from;
        assert_eq!(from("[::ffff:192.0.2.1]:7").to_string(), "192.0.2.1:7");
        assert_eq!(from("[fe80::1%3]:7").to_string(), "[fe80::1%3]:7");
        assert_eq!(from("192.0.2.1:7").to_string(), "192.0.2.1:7");
    }
}
