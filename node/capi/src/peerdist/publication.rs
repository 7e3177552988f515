//! Streams and content information: the work of the server's asynchronous functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peerdist_node::control::client::{RemoteInformation, RemoteStream};

use super::child::{Child, Lane};
use super::code_on_handle;
use super::content::in_pieces;
use crate::abi::{DWORD, ERROR_OPERATION_ABORTED, ERROR_SUCCESS};
use crate::operation::{Buffer, Done, Operation, Outcome};

/// PEERDIST_STREAM_HANDLE.
#[derive(Debug)]
pub struct Stream {
    pub(super) child: Child,
    pub(super) remote: RemoteStream,
    pub(super) lane: Lane,
    /// Bytes that were added so far.
    added: AtomicU64,
}

impl Stream {
    pub(super) fn new(child: Child, remote: RemoteStream) -> Self {
        let lane = Lane::new(&child.instance);
        Self { child, remote, lane, added: AtomicU64::new(0) }
    }

    /// PeerDistServerPublishAddToStream.
    pub(super) async fn add(self: Arc<Self>, operation: Arc<Operation>, buffer: Buffer) -> Outcome {
        in_pieces(&operation, buffer, |_, piece| {
            let stream = Arc::clone(&self);
            async move {
                let position = stream.added.load(Ordering::Relaxed);
                let added = stream.remote.add(position, piece).await?;
                stream.added.store(added, Ordering::Relaxed);
                Ok(())
            }
        })
        .await
    }

    /// PeerDistServerPublishCompleteStream.
    pub(super) async fn complete(self: Arc<Self>) -> Outcome {
        match self.remote.complete().await {
            Ok(_) => Outcome::default(),
            Err(error) => Outcome::error(code_on_handle(&error)),
        }
    }
}

/// PEERDIST_CONTENTINFO_HANDLE.
#[derive(Debug)]
pub struct ContentInfo {
    pub(super) child: Child,
    pub(super) remote: RemoteInformation,
    pub(super) lane: Lane,
    /// Bytes that were retrieved so far.
    retrieved: AtomicU64,
}

impl ContentInfo {
    pub(super) fn new(child: Child, remote: RemoteInformation) -> Self {
        let lane = Lane::new(&child.instance);
        Self { child, remote, lane, retrieved: AtomicU64::new(0) }
    }

    /// PeerDistServerRetrieveContentInformation.
    pub(super) async fn retrieve(self: Arc<Self>, operation: Arc<Operation>, buffer: Buffer) -> Done {
        let offset = self.retrieved.load(Ordering::Relaxed);
        let bytes = match self.remote.retrieve(offset, buffer.len() as u64).await {
            Ok(bytes) => bytes,
            Err(error) => return Outcome::error(code_on_handle(&error)).into(),
        };
        let Some(count) = buffer.fill(&operation, 0, &bytes) else {
            return Outcome::error(ERROR_OPERATION_ABORTED).into();
        };
        let outcome = Outcome { error: ERROR_SUCCESS, bytes: count as DWORD, offset: Some(offset) };
        // One that is cancelled moves nothing.
        Done::and(outcome, move || self.retrieved.store(offset + count as u64, Ordering::Relaxed))
    }
}
