//! Publishing through the daemon.

use bytes::Bytes;
use hyper::{Method, StatusCode};

use super::endpoint::ClientError;
use super::session::SessionHandle;
use crate::api::Wanted;
use crate::control::paths;
use crate::control::wire::{
    HandleId, Identifier, InformationOpened, Length, OpenInformation, PublicationLine, Publications, Publish,
    StreamOpened,
};

impl SessionHandle {
    /// PeerDistServerPublishStream. `version` is that of the publication options.
    pub async fn publish(&self, identifier: &[u8], length: u64, version: u32) -> Result<RemoteStream, ClientError> {
        let body = Publish { identifier: Identifier(identifier.to_vec()), length, version };
        let opened: StreamOpened = self.post(paths::STREAMS, &body).await?;
        Ok(RemoteStream { session: self.clone(), id: opened.id })
    }

    /// PeerDistServerUnpublish.
    pub async fn unpublish(&self, identifier: &[u8]) -> Result<(), ClientError> {
        let identifier = Identifier(identifier.to_vec());
        self.tell(Method::DELETE, &paths::of_publication(&identifier), Bytes::new()).await
    }

    /// The user's publications.
    pub async fn publications(&self) -> Result<Vec<PublicationLine>, ClientError> {
        let list: Publications = self.call(Method::GET, paths::PUBLICATIONS, Bytes::new()).await?;
        Ok(list.publications)
    }

    /// PeerDistServerOpenContentInformationEx.
    pub async fn open_information(&self, identifier: &[u8], wanted: &Wanted) -> Result<RemoteInformation, ClientError> {
        let Wanted { offset, length, min_version, max_version } = *wanted;
        let identifier = Identifier(identifier.to_vec());
        let body = OpenInformation { identifier, offset, length, min_version, max_version };
        let opened: InformationOpened = self.post(paths::INFORMATION, &body).await?;
        Ok(RemoteInformation { session: self.clone(), id: opened.id, size: opened.size })
    }
}

/// A stream that the daemon publishes.
#[derive(Debug, Clone)]
pub struct RemoteStream {
    session: SessionHandle,
    id: HandleId,
}

impl RemoteStream {
    /// PeerDistServerPublishAddToStream, at most [`MAX_DATA_SIZE`](crate::control::wire::MAX_DATA_SIZE) bytes. `position`
    /// is how many were added before. Returns how many there are now.
    pub async fn add(&self, position: u64, bytes: Bytes) -> Result<u64, ClientError> {
        let path = format!("{}?position={position}", paths::of_handle(paths::STREAM_DATA, self.id));
        let length: Length = self.session.call(Method::PUT, &path, bytes).await?;
        Ok(length.length)
    }

    /// PeerDistServerPublishCompleteStream. Returns the content's length in bytes.
    pub async fn complete(&self) -> Result<u64, ClientError> {
        let path = paths::of_handle(paths::STREAM_COMPLETE, self.id);
        let length: Length = self.session.call(Method::POST, &path, Bytes::new()).await?;
        Ok(length.length)
    }

    /// PeerDistServerCloseStreamHandle.
    pub async fn close(&self) -> Result<(), ClientError> {
        self.session.tell(Method::DELETE, &paths::of_handle(paths::STREAM, self.id), Bytes::new()).await
    }

    /// [`Self::close`] for a caller who did not hear that the stream is complete: its publication goes even if it is.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        let path = format!("{}?cancel=true", paths::of_handle(paths::STREAM, self.id));
        self.session.tell(Method::DELETE, &path, Bytes::new()).await
    }
}

/// Content information that the daemon holds open.
#[derive(Debug, Clone)]
pub struct RemoteInformation {
    session: SessionHandle,
    id: HandleId,
    size: u64,
}

impl RemoteInformation {
    /// Bytes of content information.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// PeerDistServerRetrieveContentInformation: at most `max` bytes from `offset` on.
    pub async fn retrieve(&self, offset: u64, max: u64) -> Result<Bytes, ClientError> {
        let path = paths::of_handle(paths::INFORMATION_HANDLE, self.id);
        let request = self.session.request(Method::GET, &format!("{path}?offset={offset}&max={max}"), Bytes::new());
        let answer = self.session.endpoint.send(request).await?;
        if answer.status == StatusCode::OK { Ok(answer.body) } else { Err(self.session.endpoint.refused(&answer)) }
    }

    /// PeerDistServerCloseContentInformation.
    pub async fn close(&self) -> Result<(), ClientError> {
        let path = paths::of_handle(paths::INFORMATION_HANDLE, self.id);
        self.session.tell(Method::DELETE, &path, Bytes::new()).await
    }
}
