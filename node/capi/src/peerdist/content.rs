//! Contents: the work of the client's asynchronous functions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use peerdist_node::control::client::{ClientError, Pieces, RemoteContent, RemoteRead};
use peerdist_node::control::wire::ErrorCode;
use peerdist_node::fetch::MissingReason;

use super::child::{Child, Lane};
use super::code_on_handle;
use crate::abi::{
    DWORD, ERROR_OPERATION_ABORTED, ERROR_SUCCESS, ERROR_TIMEOUT, PEERDIST_ERROR_INVALIDATED,
    PEERDIST_ERROR_MISSING_DATA, PEERDIST_READ_TIMEOUT_DEFAULT,
};
use crate::daemon::at_once;
use crate::operation::{Buffer, Done, Operation, Outcome};

/// What one request carries at most.
const PIECE: usize = 1 << 20;
/// PEERDIST_READ_TIMEOUT_DEFAULT.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// PEERDIST_CONTENT_HANDLE.
#[derive(Debug)]
pub struct Content {
    pub(super) child: Child,
    pub(super) remote: RemoteContent,
    /// Content information comes in order.
    pub(super) information: Lane,
    /// Held while it is being completed.
    completing: tokio::sync::Mutex<()>,
    /// Stream reads fill their buffers in order.
    pub(super) stream: Lane,
    position: Mutex<Position>,
}

/// Where the next stream read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the beginning, wherever that is.
    Unknown,
    At(u64),
}

/// The time limit of a read.
pub(super) fn timeout_of(milliseconds: DWORD) -> Duration {
    match milliseconds {
        PEERDIST_READ_TIMEOUT_DEFAULT => DEFAULT_TIMEOUT,
        milliseconds => Duration::from_millis(u64::from(milliseconds)),
    }
}

impl Content {
    pub(super) fn new(child: Child, remote: RemoteContent) -> Self {
        let (information, stream) = (Lane::new(&child.instance), Lane::new(&child.instance));
        let completing = tokio::sync::Mutex::default();
        Self { child, remote, information, completing, stream, position: Mutex::new(Position::Unknown) }
    }

    /// PeerDistClientAddContentInformation.
    pub(super) async fn add_content_information(self: Arc<Self>, operation: Arc<Operation>, buffer: Buffer) -> Outcome {
        in_pieces(&operation, buffer, |_, piece| {
            let remote = self.remote.clone();
            async move { remote.add_piece(piece).await }
        })
        .await
    }

    /// PeerDistClientCompleteContentInformation. What has begun goes on where the operation is cancelled: given up halfway
    /// it would leave content information that is neither collected nor complete.
    pub(super) async fn complete_content_information(self: Arc<Self>) -> Outcome {
        let completing = tokio::spawn(async move {
            let _turn = self.completing.lock().await;
            let range = self.remote.complete(Bytes::new()).await?;
            let mut position = self.position();
            if *position == Position::Unknown {
                *position = Position::At(range.start);
            }
            Ok(())
        });
        match completing.await {
            Ok(Ok(())) => Outcome::default(),
            Ok(Err(error)) => Outcome::error(code_on_handle(&error)),
            Err(_) => Outcome::error(PEERDIST_ERROR_INVALIDATED),
        }
    }

    /// PeerDistClientAddData. Bytes with a wrong hash are dropped by the daemon, which is a success of this function.
    pub(super) async fn add_data(self: Arc<Self>, operation: Arc<Operation>, buffer: Buffer, offset: u64) -> Outcome {
        in_pieces(&operation, buffer, |at, piece| {
            let remote = self.remote.clone();
            async move {
                match remote.add_data(offset + at as u64, piece).await {
                    Err(ClientError::Refused { error, .. }) if error.win32() == ERROR_SUCCESS => Ok(()),
                    // What hangs over the end is dropped.
                    Err(ClientError::Refused { error: ErrorCode::OutOfBounds, .. }) if at > 0 => Ok(()),
                    result => result,
                }
            }
        })
        .await
    }

    /// PeerDistClientBlockRead.
    pub(super) async fn block_read(
        self: Arc<Self>,
        operation: Arc<Operation>,
        buffer: Buffer,
        position: u64,
        timeout: Duration,
    ) -> Outcome {
        if buffer.len() == 0 {
            return self.query(position).await;
        }
        at_once(async {
            let read = self.remote.block_read(position, buffer.len() as u64, timeout).await;
            settle(&operation, buffer, read).await.0
        })
        .await
    }

    /// PeerDistClientStreamRead.
    pub(super) async fn stream_read(
        self: Arc<Self>,
        operation: Arc<Operation>,
        buffer: Buffer,
        timeout: Duration,
    ) -> Done {
        let from = match *self.position() {
            Position::Unknown => 0,
            Position::At(position) => position,
        };
        if buffer.len() == 0 {
            return self.query(from).await.into();
        }
        let read = self.remote.stream_read(from, buffer.len() as u64, timeout).await;
        let (outcome, next) = settle(&operation, buffer, read).await;
        let Some(next) = next else { return outcome.into() };
        // A read that is cancelled moves nothing.
        Done::and(outcome, move || *self.position() = Position::At(next))
    }

    async fn query(&self, position: u64) -> Outcome {
        match self.remote.available(position).await {
            Ok(bytes) => Outcome { error: ERROR_SUCCESS, bytes: capped(bytes), offset: Some(position) },
            Err(error) => Outcome::error(code_on_handle(&error)),
        }
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A length as 32 bits can tell it.
fn capped(length: u64) -> DWORD {
    DWORD::try_from(length).unwrap_or(DWORD::MAX)
}

/// Puts what a read came to into the caller's buffer. Says where the next read of a stream begins.
async fn settle(
    operation: &Operation,
    buffer: Buffer,
    read: Result<RemoteRead<Pieces>, ClientError>,
) -> (Outcome, Option<u64>) {
    let (range, mut pieces) = match read {
        Ok(RemoteRead::Data { range, bytes, .. }) => (range, bytes),
        Ok(RemoteRead::Missing { range, reason }) => {
            let error = if reason == MissingReason::TooSlow { ERROR_TIMEOUT } else { PEERDIST_ERROR_MISSING_DATA };
            let bytes = capped(range.end - range.start);
            // A stream skips what it was told of.
            let next = range.start + u64::from(bytes);
            return (Outcome { error, bytes, offset: Some(range.start) }, Some(next));
        }
        Err(error) => return (Outcome::error(code_on_handle(&error)), None),
    };
    let mut filled = 0;
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => match buffer.fill(operation, filled, &piece) {
                Some(count) => filled += count,
                None => return (Outcome::error(ERROR_OPERATION_ABORTED), None),
            },
            Ok(None) => break,
            Err(error) => return (Outcome::error(code_on_handle(&error)), None),
        }
    }
    let outcome = Outcome { error: ERROR_SUCCESS, bytes: filled as DWORD, offset: Some(range.start) };
    (outcome, Some(range.start + filled as u64))
}

/// Sends the caller's buffer piece by piece.
pub(super) async fn in_pieces<F: Future<Output = Result<(), ClientError>>>(
    operation: &Operation,
    buffer: Buffer,
    mut send: impl FnMut(usize, Bytes) -> F,
) -> Outcome {
    let mut at = 0;
    loop {
        let Some(piece) = buffer.read(operation, at, PIECE) else { return Outcome::error(ERROR_OPERATION_ABORTED) };
        let count = piece.len();
        if let Err(error) = send(at, piece.into()).await {
            return Outcome::error(code_on_handle(&error));
        }
        at += count;
        if at >= buffer.len() {
            break;
        }
    }
    Outcome::bytes(buffer.len() as DWORD)
}

/// What a flush came to.
pub(super) fn flushed(result: Result<u64, ClientError>) -> Outcome {
    match result {
        Ok(_) => Outcome::default(),
        Err(error) => Outcome::error(code_on_handle(&error)),
    }
}
