//! What an answer over HTTP may have too much of, beside what hyper bounds itself: its headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::{Request, ext};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The most interim (1xx) responses before an answer ([RFC 9110] 15.2). Nothing that we ask calls for any.
pub(crate) const MAX_INTERIM: usize = 16;

/// What an answer has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Excess {
    /// Bytes of its body.
    #[error("bytes")]
    Bytes,
    /// Pieces that its body comes in.
    #[error("pieces")]
    Pieces,
    /// Interim responses before it.
    #[error("interim responses")]
    Interim,
}

/// Counts the interim responses to one request. hyper reads past them without an end.
#[derive(Debug)]
pub(crate) struct Interim(CancellationToken);

impl Interim {
    pub(crate) fn count<B>(request: &mut Request<B>) -> Self {
        let too_many = CancellationToken::new();
        let (seen, cancel) = (Arc::new(AtomicUsize::new(0)), too_many.clone());
        ext::on_informational(request, move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM {
                cancel.cancel();
            }
        });
        Self(too_many)
    }

    /// Waits for the answer; `None` where more than [`MAX_INTERIM`] came before it.
    pub(crate) async fn until<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(answer).await.filter(|_| !self.0.is_cancelled())
    }
}
