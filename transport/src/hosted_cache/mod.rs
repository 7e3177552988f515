//! Offers to hosted caches ([MS-PCHC]) over HTTP and TLS.
//!
//! The retrieval server takes offers, on [listeners](crate::retrieval::server::Listener) that have paths for them; what
//! it needs for that is here, and so is the client that sends them.

mod certificate;
mod client;
mod fault;
mod pem;
pub mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

use peerdist_protocol::hosted_cache::{Offer, Response};

pub use self::certificate::Certificate;
pub use self::client::{OfferClient, SendError, TlsFault};
pub use self::fault::{CertificateFault, Which};
pub use self::pem::CertificateError;

/// What answers offers. It gets the TCP source address, as IPv4 where it is that, and has to answer at once from
/// memory: the client waits, fetching comes after ([MS-PCHC] 3.1.5).
///
/// SegmentInformation in an offer is a part of the buffer that its message was read into; copy it to keep it long.
pub type Offers = Arc<dyn Fn(SocketAddr, Offer) -> Response + Send + Sync>;
