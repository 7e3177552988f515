//! Streams and content information: the work of the server's asynchronous functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use peerdist_node::control::client::{ClientError, RemoteInformation, RemoteStream};
use peerdist_node::control::wire::ErrorCode;

use super::child::{Child, Lane};
use super::code_on_handle;
use super::content::in_pieces;
use crate::abi::{
    DWORD, ERROR_OPERATION_ABORTED, ERROR_SUCCESS, PEERDIST_ERROR_INVALIDATED, PEERDIST_ERROR_OUT_OF_BOUNDS,
};
use crate::operation::{Buffer, Done, Operation, Outcome};

/// PEERDIST_STREAM_HANDLE.
#[derive(Debug)]
pub struct Stream {
    pub(super) child: Child,
    remote: RemoteStream,
    pub(super) lane: Lane,
    /// As declared; 0 where it may be any.
    length: u64,
    /// Bytes that were added so far.
    added: AtomicU64,
    /// A piece was added in part, or nobody knows how much of it: such a content is not published.
    torn: AtomicBool,
    /// The program was told that it is published.
    completed: AtomicBool,
}

impl Stream {
    pub(super) fn new(child: Child, remote: RemoteStream, length: u64) -> Self {
        let lane = Lane::new(&child.instance);
        let (torn, completed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { child, remote, lane, length, added: AtomicU64::new(0), torn, completed }
    }

    /// PeerDistServerPublishAddToStream.
    pub(super) async fn add(self: Arc<Self>, operation: Arc<Operation>, buffer: Buffer) -> Outcome {
        if self.torn.load(Ordering::Relaxed) {
            return Outcome::error(PEERDIST_ERROR_INVALIDATED);
        }
        let before = self.added.load(Ordering::Relaxed);
        // Before anything is sent: the daemon would take the pieces that still fit.
        if self.length != 0 && before.saturating_add(buffer.len() as u64) > self.length {
            return Outcome::error(PEERDIST_ERROR_OUT_OF_BOUNDS);
        }
        // It stays so where this is cancelled.
        self.torn.store(true, Ordering::Relaxed);
        let outcome = in_pieces(&operation, buffer, |_, piece| {
            let stream = Arc::clone(&self);
            async move {
                let position = stream.added.load(Ordering::Relaxed);
                let added = stream.remote.add(position, piece).await?;
                stream.added.store(added, Ordering::Relaxed);
                Ok(())
            }
        })
        .await;
        let whole = outcome.error == ERROR_SUCCESS || self.added.load(Ordering::Relaxed) == before;
        self.torn.store(!whole, Ordering::Relaxed);
        outcome
    }

    /// PeerDistServerPublishCompleteStream.
    pub(super) async fn complete(self: Arc<Self>) -> Done {
        if self.torn.load(Ordering::Relaxed) {
            return Outcome::error(PEERDIST_ERROR_INVALIDATED).into();
        }
        let told = self.completed.load(Ordering::Relaxed);
        match self.remote.complete().await {
            Ok(_) => {}
            // By an operation that was cancelled here.
            Err(ClientError::Refused { error: ErrorCode::AlreadyCompleted, .. }) if !told => {}
            Err(error) => return Outcome::error(code_on_handle(&error)).into(),
        }
        Done::and(Outcome::default(), move || self.completed.store(true, Ordering::Relaxed))
    }

    /// PeerDistServerCloseStreamHandle. What the program was not told to be published is not.
    pub(super) async fn close(&self) -> Result<(), ClientError> {
        if self.completed.load(Ordering::Relaxed) { self.remote.close().await } else { self.remote.cancel().await }
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
