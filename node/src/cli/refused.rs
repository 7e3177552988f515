//! What a user can do about what the daemon's sockets refuse, and about a daemon that is not there.

use std::io::{self, Write as _};

use super::{ExitStatus, Failure};
use crate::control::client::{ADMIN_SOCKET_VARIABLE, API_SOCKET_VARIABLE, ClientError, named_socket};
use crate::control::wire::ErrorCode;

/// Warns that a command goes on without the daemon whose socket the user named in this variable of the environment.
pub(super) fn going_on_without(variable: &str, error: &ClientError) {
    if named_socket(variable).is_some() {
        // Nothing is left to do where standard error is gone.
        let _ = writeln!(io::stderr().lock(), "warning: {error} ({variable}): going on without a daemon");
    }
}

/// What to do where nobody listens on a socket that this variable of the environment may name.
fn start_or_name(variable: &str, socket: &str) -> String {
    match named_socket(variable) {
        Some(_) => format!("{variable} names this socket: start the daemon that listens there, or name another one"),
        None => format!("start peerdistd, or name its {socket} socket in {variable}"),
    }
}

/// Of the admin socket.
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoDaemon { .. } => {
                Self::new(ExitStatus::NoDaemon, error).help(start_or_name(ADMIN_SOCKET_VARIABLE, "admin"))
            }
            ClientError::NotPermitted { .. } => Self::new(ExitStatus::NotPermitted, error)
                .help("the admin socket is for the daemon's own user: try again as that user, or with sudo"),
            ClientError::HungUp { .. }
            | ClientError::Connect { .. }
            | ClientError::Refused { .. }
            | ClientError::Unexpected { .. } => Self::new(ExitStatus::Failure, error),
        }
    }
}

/// Of the api socket.
pub(super) fn by_api(error: ClientError) -> Failure {
    let (status, help) = match &error {
        ClientError::NoDaemon { .. } => {
            let help = start_or_name(API_SOCKET_VARIABLE, "api");
            return Failure::new(ExitStatus::NoDaemon, error).help(help);
        }
        ClientError::HungUp { .. } => (ExitStatus::NoDaemon, "the daemon ended in the middle: try again"),
        ClientError::NotPermitted { .. } => (
            ExitStatus::NotPermitted,
            "`[control] api_mode` of the daemon's configuration says who may use this socket",
        ),
        ClientError::Refused { error: code, .. } => match code {
            ErrorCode::AlreadyExists => (
                ExitStatus::Failure,
                "`peerdist publications` lists what you have published, `peerdist unpublish` takes it back",
            ),
            ErrorCode::NotPublished => {
                (ExitStatus::Failure, "`peerdist publications` lists what you have published; others' is not yours")
            }
            ErrorCode::Cancelled => (ExitStatus::Failure, "it was taken back while it was being published"),
            ErrorCode::Quota => {
                (ExitStatus::Failure, "the limits are `[control] max_…_per_user` of the daemon's configuration")
            }
            ErrorCode::Disabled => (
                ExitStatus::Failure,
                "`peerdist feature enable PeerDist` turns it on, or `[node] enabled` of the daemon's configuration",
            ),
            ErrorCode::Unavailable => (ExitStatus::Failure, "`peerdist watch` tells when it is available"),
            _ => return error.into(),
        },
        ClientError::Connect { .. } | ClientError::Unexpected { .. } => return error.into(),
    };
    Failure::new(status, error).help(help)
}
