//! Why an offer failed, and whose fault it is.

use std::io;

use hyper::StatusCode;
use peerdist_protocol::hosted_cache::ResponseError;
use rustls::CertificateError;
use thiserror::Error;

use crate::excess::Excess;

/// Why an offer has no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// The server's name leads to no address. The configuration, or the name service, is at fault.
    #[error("the hosted cache's name cannot be resolved: {0}")]
    Name(#[source] io::Error),
    /// This host could not even try: no descriptors, no memory, no route.
    #[error("no connection to the hosted cache can be opened here: {0}")]
    Local(#[source] io::Error),
    /// Nobody listens there, or nothing is there.
    #[error("the hosted cache does not accept connections: {0}")]
    Unreachable(#[source] io::Error),
    /// There is no TLS connection. The server's certificate, or what is trusted here, is at fault.
    #[error("{fault}: {reason}")]
    Tls {
        /// What went wrong.
        fault: TlsFault,
        /// In which way.
        reason: String,
    },
    /// No answer came until the Request Timer ended ([MS-PCHC] 3.2.2). The server, or the way to it, is at fault.
    #[error("the hosted cache did not answer in time")]
    TimedOut,
    /// The server broke the connection off, or what it sent is not HTTP.
    #[error("the hosted cache broke off or does not speak HTTP: {0}")]
    Http(#[source] hyper::Error),
    /// The server wants to know who asks ([MS-PCHC] 2.1), which we cannot tell. Its administrator has to let everybody
    /// offer, or choose version 2.0.
    #[error("the hosted cache demands authentication ({}), which is not supported", schemes.join(", "))]
    Unauthorized {
        /// The schemes of its WWW-Authenticate, as it writes them.
        schemes: Vec<String>,
    },
    /// The server refused the offer, or has no hosted cache.
    #[error("the hosted cache answered with HTTP status {0}")]
    Status(StatusCode),
    /// What the server sent is no response of this protocol.
    #[error("the hosted cache's answer is no response: {0}")]
    Response(#[from] ResponseError),
    /// What the server sent is larger than any response, or made to cost time.
    #[error("the hosted cache's answer exceeds {limit} {of}")]
    TooLarge {
        /// The most that is read.
        limit: usize,
        /// Of what.
        of: Excess,
    },
}

/// What is wrong with a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TlsFault {
    /// The certificate is not of anybody trusted, or not valid now.
    #[error("the hosted cache's certificate is not trusted")]
    NotTrusted,
    /// The certificate is another host's than the configured one.
    #[error("the hosted cache's certificate is for another name")]
    WrongName,
    /// The two sides have nothing in common, or the server does not speak TLS.
    #[error("no TLS connection to the hosted cache")]
    Other,
}

impl SendError {
    /// The kind as a short name, for counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Local(_) => "local",
            Self::Unreachable(_) => "unreachable",
            Self::Tls { fault: TlsFault::NotTrusted, .. } => "tls_not_trusted",
            Self::Tls { fault: TlsFault::WrongName, .. } => "tls_wrong_name",
            Self::Tls { fault: TlsFault::Other, .. } => "tls",
            Self::TimedOut => "timed_out",
            Self::Http(_) => "http",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Status(_) => "status",
            Self::Response(_) => "response",
            Self::TooLarge { .. } => "too_large",
        }
    }

    pub(super) fn from_connect(error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
        match error.kind() {
            ConnectionRefused | ConnectionReset | ConnectionAborted | HostUnreachable | TimedOut => {
                Self::Unreachable(error)
            }
            _ => Self::Local(error),
        }
    }

    pub(super) fn from_handshake(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let (fault, reason) = match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => (Self::fault_of(reason), reason.to_string()),
            Some(other) => (TlsFault::Other, other.to_string()),
            None => (TlsFault::Other, error.to_string()),
        };
        Self::Tls { fault, reason }
    }

    fn fault_of(reason: &CertificateError) -> TlsFault {
        match reason {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            _ => TlsFault::NotTrusted,
        }
    }
}
