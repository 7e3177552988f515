//! Clients of the two sockets, for the command line, the C library and programs in Rust.
//!
//! [`AdminClient`] administers, [`Session`] is the PeerDist API. All operations of a client share one connection; one
//! whose future is dropped is cancelled in the daemon.

mod admin;
mod content;
mod endpoint;
mod features;
mod publication;
mod session;

use std::path::PathBuf;

pub use self::admin::{ADMIN_SOCKET_VARIABLE, AdminClient, CaptureStream};
pub use self::content::{Pieces, RemoteContent, RemoteRead};
pub use self::endpoint::ClientError;
pub use self::publication::{RemoteInformation, RemoteStream};
pub use self::session::{API_SOCKET_VARIABLE, Connection, Events, Session, SessionHandle};

/// The socket that an environment variable names; `None` where it is empty or not set.
#[must_use]
pub fn named_socket(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn socket(variable: &str, default: PathBuf) -> PathBuf {
    named_socket(variable).unwrap_or(default)
}
