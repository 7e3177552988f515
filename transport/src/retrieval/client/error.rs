//! Why an exchange failed, and whose fault it is.

use std::io;

use hyper::StatusCode;
use peerdist_protocol::retrieval::{Rejection, VersionRange};
use thiserror::Error;

pub use crate::excess::Excess;

/// Why an exchange failed. But for [`ExchangeError::Local`] the peer, or the way to it, is at fault.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// This host could not even try: no descriptors, no memory, no route.
    #[error("no connection can be opened here: {0}")]
    Local(#[source] io::Error),
    /// Nobody listens there, or nothing is there.
    #[error("the peer does not accept connections: {0}")]
    Connect(#[source] io::Error),
    /// The peer took longer than it may.
    #[error("the peer took too long: {0}")]
    TimedOut(Wait),
    /// The peer closed the connection, or what it sent is not HTTP.
    #[error("the peer broke off or does not speak HTTP: {0}")]
    Http(#[source] hyper::Error),
    /// The peer refused the request.
    #[error("the peer answered with HTTP status {0}")]
    Status(StatusCode),
    /// The response is larger than any response may be, or made to cost time.
    #[error("the peer's response exceeds {limit} {of}")]
    TooLarge {
        /// The most that a response may have.
        limit: usize,
        /// Of what.
        of: Excess,
    },
    /// The response does not answer the request.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The peer speaks no version that we speak.
    #[error("the peer speaks versions {theirs} alone")]
    Incompatible {
        /// What it says it speaks.
        theirs: VersionRange,
    },
}

/// What was waited for when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Wait {
    /// The connection.
    #[error("no connection")]
    Connect,
    /// The first byte of the response, or the end of its headers.
    #[error("no answer")]
    Answer,
    /// The next piece of the body.
    #[error("the answer stopped")]
    Body,
    /// The end of the exchange.
    #[error("the answer did not end")]
    Exchange,
}

impl ExchangeError {
    /// The kind as a short name, for counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Connect(_) => "connect",
            Self::TimedOut(_) => "timed_out",
            Self::Http(_) => "http",
            Self::Status(_) => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Rejected(_) => "rejected",
            Self::Incompatible { .. } => "incompatible",
        }
    }

    pub(super) fn from_connect(error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
        match error.kind() {
            TimedOut => Self::TimedOut(Wait::Connect),
            ConnectionRefused | ConnectionReset | ConnectionAborted | HostUnreachable => Self::Connect(error),
            _ => Self::Local(error),
        }
    }
}
