//! What a user can do about what the daemon's sockets refuse.

use super::{ExitStatus, Failure};
use crate::control::client::ClientError;
use crate::control::wire::ErrorCode;

/// Of the admin socket.
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoDaemon { .. } => Self::new(ExitStatus::NoDaemon, error)
                .help("start peerdistd, or name its admin socket in PEERDIST_ADMIN_SOCKET"),
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
            (ExitStatus::NoDaemon, "start peerdistd, or name its api socket in PEERDIST_SOCKET")
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
