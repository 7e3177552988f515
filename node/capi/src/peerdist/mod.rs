//! The 28 functions of peerdist.h.
//!
//! | module | functions |
//! |---|---|
//! | [`calls`] | what is exported: arguments are checked here, in the order in which errors take precedence |
//! | `instance` | instances: a session with the daemon, the status, its notification |
//! | `child` | what contents, streams and content information have in common |
//! | `content`, `publication` | the work of the asynchronous functions |
//!
//! Of several reasons to refuse a call the first of these is told: a handle that is none (6), an argument that makes no
//! sense (87), a handle that was invalidated (4057), a service that is turned off (1260) or not there (4065).

pub mod calls;
mod child;
mod content;
mod instance;
mod publication;

use peerdist_node::control::client::ClientError;
use peerdist_node::control::wire::ErrorCode;

use crate::abi::{DWORD, PEERDIST_ERROR_INVALIDATED, PEERDIST_ERROR_SERVICE_UNAVAILABLE};

pub use child::Child;
pub use content::Content;
pub use instance::Instance;
pub use publication::{ContentInfo, Stream};

/// The code of an operation on a handle that failed. A daemon that went away took the handle with it.
fn code_on_handle(error: &ClientError) -> DWORD {
    match error {
        ClientError::Refused { error: ErrorCode::NoSession | ErrorCode::NoContent, .. } => PEERDIST_ERROR_INVALIDATED,
        ClientError::Refused { error, .. } => error.win32(),
        _ => PEERDIST_ERROR_INVALIDATED,
    }
}

/// The code of a call that opens something.
fn code_on_opening(error: &ClientError) -> DWORD {
    match error {
        ClientError::Refused { error: ErrorCode::NoSession, .. } => PEERDIST_ERROR_SERVICE_UNAVAILABLE,
        ClientError::Refused { error, .. } => error.win32(),
        _ => PEERDIST_ERROR_SERVICE_UNAVAILABLE,
    }
}
