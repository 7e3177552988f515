//! Why an origin gave nothing usable, and whose fault that is.

use std::ops::Range;

use peerdist_protocol::http::{MissingDataFault, ResponseFault};
use reqwest::Url;
use thiserror::Error;

/// Who can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever gave the URL.
    Caller,
    /// The network between, or this host's settings.
    Network,
    /// The origin.
    Origin,
}

/// Why an origin gave nothing usable. No message contains the URL's user and password.
#[derive(Debug, Error)]
pub enum OriginError {
    /// No client can be made on this host; TLS is what may fail.
    #[error("cannot make HTTP requests on this host")]
    Client(#[source] reqwest::Error),
    /// The URL has another scheme than `http` and `https`, or no host.
    #[error("cannot fetch a URL with the scheme \"{scheme}\": it has to be http or https")]
    Url {
        /// The scheme that it has.
        scheme: String,
    },
    /// No connection came about: name, address, port, certificate.
    #[error("no connection to {host}")]
    Connect {
        /// The host of the URL.
        host: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The origin stood still for longer than the limit.
    #[error("the origin made no progress within the time limit")]
    TimedOut,
    /// The connection broke or the response was no HTTP.
    #[error("the transfer from the origin broke off")]
    Broken(#[source] reqwest::Error),
    /// Redirections in a circle, too many of them, or to something that is no web server.
    #[error("the origin's redirections lead nowhere")]
    Redirections(#[source] reqwest::Error),
    /// The origin refuses the request.
    #[error("the origin answered with status {0}")]
    Status(u16),
    /// A 206 with other bytes than those asked for, or without saying with which.
    #[error("the origin sent the range {sent:?} where {asked:?} was asked for")]
    Range {
        /// What was asked for, in content offsets.
        asked: Option<Range<u64>>,
        /// What the response says.
        sent: Option<Range<u64>>,
    },
    /// The body has not as many bytes as its head says.
    #[error("the origin sent {sent} bytes or more where {expected} were announced")]
    Length {
        /// In bytes.
        expected: u64,
        /// In bytes, when the difference showed.
        sent: u64,
    },
    /// A `peerdist` response that cannot be used; asking again without `peerdist` is the remedy.
    #[error("the origin's content information cannot be used")]
    ContentInformation(#[from] ResponseFault),
    /// Content information beyond [`super::OriginLimits::content_information_size`]; the remedy is the same.
    #[error("the origin's content information is longer than {limit} bytes")]
    ContentInformationSize {
        /// The limit in bytes.
        limit: usize,
    },
    /// A response to a request for missing data that cannot be used.
    #[error("the origin's answer for missing data cannot be used")]
    MissingData(#[from] MissingDataFault),
}

impl OriginError {
    /// Whether the same request without `peerdist` may succeed.
    #[must_use]
    pub fn is_about_content_information(&self) -> bool {
        matches!(self, Self::ContentInformation(_) | Self::ContentInformationSize { .. })
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let status = match self {
            Self::Connect { .. } | Self::TimedOut | Self::Broken(_) | Self::Length { .. } => return true,
            Self::Status(status) | Self::MissingData(MissingDataFault::Status(status)) => *status,
            _ => return false,
        };
        matches!(status, 408 | 425 | 429 | 500 | 502..=504)
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Url { .. } | Self::Status(400..=499) => Fault::Caller,
            Self::Client(_) | Self::Connect { .. } | Self::TimedOut | Self::Broken(_) => Fault::Network,
            _ => Fault::Origin,
        }
    }

    pub(super) fn from_request(url: &Url, error: reqwest::Error) -> Self {
        // The URL may hold a password.
        let error = error.without_url();
        if error.is_redirect() || error.is_builder() {
            Self::Redirections(error)
        } else if error.is_connect() {
            Self::Connect { host: url.host_str().unwrap_or_default().to_owned(), source: error }
        } else {
            Self::from_body(error)
        }
    }

    pub(super) fn from_body(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Broken(error.without_url()) }
    }
}
