//! Who fetches for a download: the daemon where one runs, else a node in this process.

use bytes::Bytes;
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::http::ContentVersions;
use thiserror::Error;

use crate::config::{Config, ConfigError};
use crate::control::client::{ClientError, RemoteContent, RemoteRead, Session};
use crate::control::wire::{ErrorCode, MAX_DATA_SIZE};
use crate::fetch::{AddContentInformationError, AddDataError, Content, Explanation, NextError, Read};
use crate::node::{Node, StartError};

/// A node that downloads use.
#[derive(Debug)]
pub enum Backend {
    /// The daemon, over its api socket.
    Daemon(Session),
    /// A node in this process.
    Embedded(Node),
    /// None, because of this: downloads come from the origin as they are.
    Nobody(String),
}

/// Why a node could not do its part. None of these says anything about the content, and the origin has it still.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The daemon refused, or went away.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// No node could be started in this process.
    #[error("no node could be started in this process: {0}")]
    Start(#[from] StartError),
    /// There is no place for a cache.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Content information did not fit to what the content has already.
    #[error(transparent)]
    ContentInformation(#[from] AddContentInformationError),
    /// A read outside of what content information describes.
    #[error(transparent)]
    Next(#[from] NextError),
    /// There is no node.
    #[error("{0}")]
    Nobody(String),
    /// The daemon's explanation could not be read.
    #[error("the daemon's explanation cannot be read: is it another version?")]
    Explanation(#[source] serde_json::Error),
}

impl Backend {
    /// The daemon on the api socket where one listens and takes another session; else a node in this process with a cache
    /// of the user's own, and without one where another process uses that; and then why it is not the daemon.
    pub async fn find() -> (Self, Option<ClientError>) {
        let error = match Session::from_env().await {
            Ok(session) => return (Self::Daemon(session), None),
            Err(error) => error,
        };
        let backend = match Self::embedded().await {
            Ok(node) => Self::Embedded(node),
            Err(error) => Self::Nobody(error.to_string()),
        };
        (backend, Some(error))
    }

    async fn embedded() -> Result<Node, BackendError> {
        Ok(Node::start_embedded(Config::embedded()?).await?)
    }

    /// The versions of content information that the node can use: where hosted caches are spoken to by version 1.0, no
    /// other than 1.
    pub async fn content_versions(&self) -> ContentVersions {
        let max = match self {
            Self::Daemon(session) => session.status().await.map_or(2, |status| status.info.max_version),
            Self::Embedded(node) => node.max_content_information_version(),
            Self::Nobody(_) => 2,
        };
        if max < 2 { ContentVersions::V1 } else { ContentVersions::V1AndV2 }
    }

    /// Opens a content.
    pub async fn open(&self, content_information: ContentInformation) -> Result<Handle, BackendError> {
        Ok(match self {
            Self::Daemon(session) => Handle::Daemon(session.open_content(content_information.emit().into()).await?),
            Self::Embedded(node) => Handle::Embedded(node.fetcher().open(content_information)),
            Self::Nobody(reason) => return Err(BackendError::Nobody(reason.clone())),
        })
    }

    /// Ends the session, or the node.
    pub async fn close(self) {
        if let Self::Embedded(node) = self {
            node.stop().await;
        }
    }
}

/// One open content.
#[derive(Debug)]
pub enum Handle {
    /// Held open by the daemon.
    Daemon(RemoteContent),
    /// Of the node in this process.
    Embedded(Content),
}

impl Handle {
    /// Adds content information of a further part of the content.
    pub async fn add_content_information(
        &mut self,
        content_information: ContentInformation,
    ) -> Result<(), BackendError> {
        match self {
            Self::Daemon(content) => content.add_content_information(content_information.emit().into()).await?,
            Self::Embedded(content) => content.add_content_information(content_information)?,
        }
        Ok(())
    }

    /// The bytes at `position`, or which are missing.
    pub async fn next(&self, position: u64) -> Result<Read, BackendError> {
        Ok(match self {
            Self::Daemon(content) => match content.next(position).await? {
                RemoteRead::Data { range, bytes, source } => Read::Data { range, pieces: vec![bytes], source },
                RemoteRead::Missing { range, reason } => Read::Missing { range, reason },
            },
            Self::Embedded(content) => content.next(position).await?,
        })
    }

    /// Adds whole blocks that came from the origin. `Ok(false)`: its bytes do not have the hash that content information
    /// names.
    pub async fn add_data(&self, offset: u64, bytes: Bytes) -> Result<bool, BackendError> {
        debug_assert!(bytes.len() <= MAX_DATA_SIZE);
        match self {
            Self::Daemon(content) => match content.add_data(offset, bytes).await {
                Err(ClientError::Refused { error: ErrorCode::WrongHash, .. }) => Ok(false),
                result => Ok(result.map(|()| true)?),
            },
            Self::Embedded(content) => match content.add_data(offset, bytes).await {
                Ok(_) => Ok(true),
                Err(AddDataError::WrongHash { .. }) => Ok(false),
            },
        }
    }

    /// Where the bytes came from, and why.
    pub async fn explanation(&self) -> Result<Explanation, BackendError> {
        match self {
            Self::Daemon(content) => serde_json::from_value(content.why().await?).map_err(BackendError::Explanation),
            Self::Embedded(content) => Ok(content.explanation()),
        }
    }
}
