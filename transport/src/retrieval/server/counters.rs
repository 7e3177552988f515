//! What a server did, by kind and by reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;
use peerdist_protocol::hosted_cache::{OfferError, Version};
use peerdist_protocol::retrieval::MessageError;

use super::connection::Phase;
use super::limits::Full;

/// What a retrieval server did since it was made. All but the first two fields only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// Connections open now.
    pub open_connections: u64,
    /// Answers under way now that carry something.
    pub uploads: u64,
    /// Connections served.
    pub connections: u64,
    /// Connections closed because there were too many in all: at once, or in the middle of a TLS handshake.
    pub connections_over_limit: u64,
    /// Connections closed at once because their source, or its IPv6 subnet, had too many.
    pub connections_over_source_limit: u64,
    /// Times that the system could not give a connection.
    pub accept_errors: u64,
    /// HTTP requests with whole headers.
    pub requests: u64,
    /// MSG_BLK with a block.
    pub blocks: u64,
    /// Bytes of those blocks as they travel, without heads.
    pub block_bytes: u64,
    /// MSG_BLK without a block because it is not held.
    pub not_held: u64,
    /// Empty answers because there were too many uploads.
    pub busy: u64,
    /// MSG_BLKLIST.
    pub block_lists: u64,
    /// MSG_SEGLIST.
    pub segment_lists: u64,
    /// Answers that need no look-up: MSG_NEGO_RESP, and empty ones to requests that ask for nothing.
    pub replies: u64,
    /// Requests for blocks without an answer, by reason ([`MessageError::as_str`]).
    pub discarded: BTreeMap<&'static str, u64>,
    /// Offers answered, by version.
    pub offers: BTreeMap<Version, u64>,
    /// Offers without an answer, by reason ([`OfferError::as_str`]).
    pub offers_discarded: BTreeMap<&'static str, u64>,
    /// Requests refused by HTTP status, discarded ones (400) among them.
    pub refused: BTreeMap<u16, u64>,
    /// Connections to a TLS port that ended before the handshake did: what came is no TLS, the two sides have nothing
    /// in common, or the client does not trust the certificate.
    pub tls_failures: u64,
    /// Connections ended because what came is not HTTP.
    pub bad_http: u64,
    /// Connections that their clients broke off in the middle of a request or an answer.
    pub broken_off: u64,
    /// Connections closed because a time limit was met, by phase: `handshake`, `header`, `body`, `upload`; idle
    /// ones do not count.
    pub timed_out: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<ServerCounters>);

impl Counters {
    pub(super) fn update(&self, change: impl FnOnce(&mut ServerCounters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn snapshot(&self) -> ServerCounters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connection_refused(&self, full: Full) {
        self.update(|counters| match full {
            Full::Connections => counters.connections_over_limit += 1,
            Full::Source => counters.connections_over_source_limit += 1,
        });
    }

    pub(super) fn broken(&self, error: &hyper::Error) {
        self.update(|counters| {
            let counter = if error.is_parse() { &mut counters.bad_http } else { &mut counters.broken_off };
            *counter += 1;
        });
    }

    pub(super) fn discarded(&self, reason: &MessageError) {
        self.update(|counters| *counters.discarded.entry(reason.as_str()).or_default() += 1);
    }

    pub(super) fn offer_discarded(&self, reason: &OfferError) {
        self.update(|counters| *counters.offers_discarded.entry(reason.as_str()).or_default() += 1);
    }

    pub(super) fn refused(&self, status: StatusCode) {
        self.update(|counters| *counters.refused.entry(status.as_u16()).or_default() += 1);
    }

    pub(super) fn timed_out(&self, phase: Phase) {
        if let Some(name) = phase.name() {
            self.update(|counters| *counters.timed_out.entry(name).or_default() += 1);
        }
    }
}
