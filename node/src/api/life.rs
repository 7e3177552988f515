//! How long a handle can be used, and what ends the operations on it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Error;

/// The life of a handle.
#[derive(Debug)]
pub(super) struct Life {
    closed: CancellationToken,
    invalidated: CancellationToken,
    unpublished: Option<Arc<CancellationToken>>,
}

impl Life {
    pub(super) fn new(
        closed: CancellationToken,
        invalidated: CancellationToken,
        unpublished: Option<Arc<CancellationToken>>,
    ) -> Self {
        Self { closed, invalidated, unpublished }
    }

    /// Whether an operation may begin.
    pub(super) fn check(&self) -> Result<(), Error> {
        match () {
            () if self.closed.is_cancelled() => Err(Error::InvalidHandle),
            () if self.is_unpublished() || self.invalidated.is_cancelled() => Err(Error::Invalidated),
            () => Ok(()),
        }
    }

    /// Does an operation while the handle lives.
    pub(super) async fn run<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.check()?;
        let unpublished = async {
            match &self.unpublished {
                Some(unpublished) => unpublished.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error::Aborted),
            () = unpublished => Err(Error::Aborted),
            () = self.invalidated.cancelled() => Err(Error::Invalidated),
            result = operation => result,
        }
    }

    /// Ends what is under way.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    fn is_unpublished(&self) -> bool {
        self.unpublished.as_ref().is_some_and(|token| token.is_cancelled())
    }
}
