//! Reading: PeerDistClientBlockRead, PeerDistClientStreamRead and their queries.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Error;
use super::ahead::Room;
use super::content::Content;
use crate::fetch::why::{MissingReason, Source};
use crate::fetch::{self, NextError, Read};

/// How a read ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Bytes: at least one, as many as were there at once.
    Data {
        /// Which bytes of the content.
        range: Range<u64>,
        /// The bytes, in pieces.
        pieces: Vec<Bytes>,
        /// Where they came from.
        source: Source,
    },
    /// PEERDIST_ERROR_MISSING_DATA: these bytes are to be fetched elsewhere and added.
    Missing {
        /// Which bytes of the content: from the position on, as far as the same holds.
        range: Range<u64>,
        /// Why.
        reason: MissingReason,
    },
    /// ERROR_TIMEOUT: these bytes did not come in time.
    TimedOut {
        /// Which bytes of the content.
        range: Range<u64>,
    },
}

/// Where a stream of reads is. What a read missed is skipped: the caller delivers it from elsewhere in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamPosition(pub Option<u64>);

impl StreamPosition {
    /// The position after a read that began here and ended so.
    #[must_use]
    pub fn after(self, outcome: &Outcome) -> Self {
        let (Outcome::Data { range, .. } | Outcome::Missing { range, .. } | Outcome::TimedOut { range }) = outcome;
        Self(Some(range.end))
    }
}

impl Content {
    /// PeerDistClientBlockRead: at most `max` bytes from `position` on, as soon as there are any, waiting for peers up to
    /// `timeout`; with a timeout of zero from the local cache alone. Many may wait at once.
    ///
    /// # Errors
    /// [`Error::NoMore`] outside of what is described, [`Error::NotInitialized`], [`Error::InvalidParameter`] where `max`
    /// is zero.
    pub async fn client_block_read(&self, position: u64, max: u64, timeout: Duration) -> Result<Outcome, Error> {
        let content = self.readable(max)?;
        self.life
            .run(async {
                if let Some(read) = self.ahead.next_block(&content, self.room(), position, max).await? {
                    return outcome(Ok(read));
                }
                if timeout.is_zero() {
                    return read_here(&content, position, max).await;
                }
                outcome(content.read_at(position, max, timeout).await)
            })
            .await
    }

    /// PeerDistClientStreamRead of a caller who keeps the position: as [`Self::client_block_read`], and what lies ahead
    /// is fetched meanwhile. One at a time goes on. `None` waits as long as the node has patience.
    pub async fn stream_read_at(&self, position: u64, max: u64, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let content = self.readable(max)?;
        self.life
            .run(async {
                if timeout.is_some_and(|timeout| timeout.is_zero()) {
                    return read_here(&content, position, max).await;
                }
                if let Some(read) = self.ahead.next(&content, self.room(), position, max).await? {
                    return outcome(Ok(read));
                }
                outcome(content.next_within(position, max, timeout).await)
            })
            .await
    }

    /// PeerDistClientStreamRead: the next bytes of the content. What is missing is skipped.
    pub async fn client_stream_read(&self, max: u64, timeout: Duration) -> Result<Outcome, Error> {
        let mut position = self.position.lock().await;
        let at = match position.0 {
            Some(at) => at,
            None => self.fetched()?.first_described(),
        };
        let outcome = self.stream_read_at(at, max, Some(timeout)).await?;
        *position = StreamPosition(Some(at)).after(&outcome);
        Ok(outcome)
    }

    /// A read of zero bytes: how many bytes are in the local cache from `position` on. Asks nobody.
    ///
    /// # Errors
    /// [`Error::NoMore`] outside of what is described, [`Error::NotInitialized`].
    pub async fn query(&self, position: u64) -> Result<u64, Error> {
        let content = self.fetched()?;
        // A large content has many blocks to look up.
        let run = tokio::task::spawn_blocking(move || content.run_here(position));
        self.life
            .run(async { run.await.map_err(|error| Error::Internal(error.to_string()))?.map_err(Error::from) })
            .await
    }

    fn room(&self) -> &Room {
        &self.instance.0.api.0.room
    }

    fn readable(&self, max: u64) -> Result<Arc<fetch::Content>, Error> {
        if max == 0 {
            return Err(Error::InvalidParameter("a read takes at least one byte"));
        }
        self.fetched()
    }
}

async fn read_here(content: &fetch::Content, position: u64, max: u64) -> Result<Outcome, Error> {
    match content.read_here(position, max).await? {
        Some(read) => outcome(Ok(read)),
        None => Ok(Outcome::Missing { range: content.run_missing(position)?, reason: MissingReason::CacheOnly }),
    }
}

fn outcome(read: Result<Read, NextError>) -> Result<Outcome, Error> {
    Ok(match read? {
        Read::Data { range, pieces, source } => Outcome::Data { range, pieces, source },
        Read::Missing { range, reason: MissingReason::TooSlow } => Outcome::TimedOut { range },
        Read::Missing { range, reason } => Outcome::Missing { range, reason },
    })
}

impl From<NextError> for Error {
    fn from(error: NextError) -> Self {
        match error {
            NextError::NotDescribed { .. } => Self::NoMore,
        }
    }
}
