//! What can go wrong, with the codes of winerror.h.

use peerdist_protocol::content::ParseError;
use thiserror::Error;

/// Why a function of the API failed. [`Self::code`] gives the Win32 code that peerdist.h documents for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The handle was closed, or its instance shut down.
    #[error("the handle was closed")]
    InvalidHandle,
    /// A quota of the user's is used up.
    #[error("{0}")]
    Quota(String),
    /// An argument makes no sense.
    #[error("{0}")]
    InvalidParameter(&'static str),
    /// The operation was cancelled: its handle was closed, its content unpublished, or its instance shut down.
    #[error("the operation was cancelled")]
    Aborted,
    /// The user has no finished publication with this identifier.
    #[error("nothing is published under this identifier")]
    NotFound,
    /// The service was turned off.
    #[error("the service is turned off")]
    Disabled,
    /// The service is not there yet, or on its way out.
    #[error("the service is not ready")]
    ServiceUnavailable,
    /// Content information of a version that nobody handles.
    #[error("{0}")]
    ContentInfoVersionUnsupported(String),
    /// What was added is no content information, or not of the same content as what came before.
    #[error("{0}")]
    CannotParseContentInfo(String),
    /// The position lies outside of what content information describes, or behind the end of content information.
    #[error("there are no more bytes at this position")]
    NoMore,
    /// Content information has to be completed first.
    #[error("the content information was not completed yet")]
    NotInitialized,
    /// The service went away since the handle was opened: it can only be closed.
    #[error("the service went away since the handle was opened")]
    Invalidated,
    /// The user has a publication with this identifier.
    #[error("something is published under this identifier already")]
    AlreadyExists,
    /// The stream, or the content information, was completed before.
    #[error("it was completed before")]
    AlreadyCompleted,
    /// Beyond the end of the content, or not as long as was declared.
    #[error("{0}")]
    OutOfBounds(&'static str),
    /// The node failed.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The Win32 error code.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::InvalidHandle => 6,
            Self::Quota(_) => 8,
            Self::InvalidParameter(_) => 87,
            Self::Aborted => 995,
            Self::NotFound => 1168,
            Self::Disabled => 1260,
            Self::Internal(_) => 1359,
            Self::ContentInfoVersionUnsupported(_) => 4050,
            Self::CannotParseContentInfo(_) => 4051,
            Self::NoMore => 4053,
            Self::NotInitialized => 4054,
            Self::Invalidated => 4057,
            Self::AlreadyExists => 4058,
            Self::AlreadyCompleted => 4060,
            Self::OutOfBounds(_) => 4061,
            Self::ServiceUnavailable => 4065,
        }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Version { .. } => Self::ContentInfoVersionUnsupported(error.to_string()),
            _ => Self::CannotParseContentInfo(error.to_string()),
        }
    }
}
