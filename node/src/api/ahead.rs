//! Reading forward over what is in the cache: what comes next is read before it is asked for, in whole blocks, so that
//! none is verified twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::Error;
use crate::fetch::why::Source;
use crate::fetch::{Content, NextError, Read};

/// A reader whose next bytes are here up to this far reads them from the cache alone, without looking for peers.
const ALL_HERE: u64 = 8 << 20;
/// One read gives at most so many bytes.
const MAX_SIZE: u64 = 1 << 20;
/// Blocks in a run: they are hashed side by side. A run takes up to 2 MiB of memory.
const RUN: usize = 16;
/// Runs that are read at once for one reader: so many that all processors verify while one is on its way to the program.
const MAX_RUNS: usize = 8;
/// Runs of all readers at once.
const MAX_RUNS_IN_ALL: usize = 32;
/// What was read ahead is let go of where the reader stands still for so long.
const IDLE: Duration = Duration::from_secs(1);

/// What is read ahead in one content.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    runs: Arc<Mutex<Option<Runs>>>,
    /// Where the last block read ended.
    block: AtomicU64,
}

/// Room for what is read ahead in all contents. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_RUNS_IN_ALL)))
    }
}

/// A reader's way through the cache.
#[derive(Debug)]
struct Runs {
    /// Where the next read begins.
    position: u64,
    /// What was read and not given yet, from the position on, and the room it takes.
    rest: VecDeque<Bytes>,
    room: Option<OwnedSemaphorePermit>,
    /// What is being read behind that.
    runs: VecDeque<Run>,
    /// Where the run after them begins.
    next: u64,
    /// Up to here everything was in the cache when that was looked up.
    here: u64,
    /// How many runs may be read at once: the more the longer the reader goes on.
    most: usize,
    idle: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Run {
    length: u64,
    read: AbortOnDropHandle<Result<Option<Read>, NextError>>,
    room: OwnedSemaphorePermit,
}

impl Ahead {
    /// [`Self::next`] for a block read, if it begins where the one before it ended.
    pub(super) async fn next_block(
        &self,
        content: &Arc<Content>,
        room: &Room,
        position: u64,
        max: u64,
    ) -> Result<Option<Read>, Error> {
        let goes_on = self.block.swap(position.saturating_add(max), Ordering::Relaxed) == position;
        if goes_on { self.next(content, room, position, max).await } else { Ok(None) }
    }

    /// The next bytes, where they and those behind them are in the cache for a good while: at most `max`. Who does not go
    /// on where the last read ended begins anew.
    pub(super) async fn next(
        &self,
        content: &Arc<Content>,
        room: &Room,
        position: u64,
        max: u64,
    ) -> Result<Option<Read>, Error> {
        let mut place = self.runs.lock().await;
        let mut runs = match place.take().filter(|runs| runs.position == position) {
            Some(runs) => runs,
            // What peers delivered to this reader was not in the cache when it was asked for.
            None if content.is_under_way() => return Ok(None),
            None => Runs::new(position),
        };
        runs.idle = None;
        let Some(pieces) = runs.take(content, room, max.min(MAX_SIZE)).await? else { return Ok(None) };
        let range = position..runs.position;
        runs.idle = Some(self.let_go_when_idle());
        *place = Some(runs);
        Ok(Some(Read::Data { range, pieces, source: Source::Cache }))
    }

    fn let_go_when_idle(&self) -> AbortOnDropHandle<()> {
        let runs = Arc::downgrade(&self.runs);
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            let Some(runs) = runs.upgrade() else { return };
            // Where a read has it, it is not idle.
            let idle = runs.try_lock().ok().and_then(|mut runs| runs.take());
            drop(idle);
        }))
    }
}

impl Runs {
    fn new(position: u64) -> Self {
        let (rest, runs) = (VecDeque::new(), VecDeque::new());
        Self { position, rest, room: None, runs, next: position, here: position, most: 1, idle: None }
    }

    /// Takes up to `size` bytes: fewer where the cache turns out to have no more, `None` where it has none.
    async fn take(&mut self, content: &Arc<Content>, room: &Room, size: u64) -> Result<Option<Vec<Bytes>>, Error> {
        let mut pieces = Vec::new();
        let mut left = size;
        while left > 0 {
            self.begin(content, room)?;
            if self.rest.is_empty() && !self.next_run().await? {
                break;
            }
            let Some(mut piece) = self.rest.pop_front() else { break };
            if piece.len() as u64 > left {
                self.rest.push_front(piece.split_off(left as usize));
            }
            left -= piece.len() as u64;
            self.position += piece.len() as u64;
            pieces.push(piece);
        }
        Ok((!pieces.is_empty()).then_some(pieces))
    }

    /// Waits for the next run. Returns whether there is one.
    async fn next_run(&mut self) -> Result<bool, Error> {
        let Some(Run { length, read, room }) = self.runs.pop_front() else { return Ok(false) };
        match read.await.map_err(|error| Error::Internal(error.to_string()))?? {
            Some(Read::Data { range, pieces, source: Source::Cache }) if range.end - range.start == length => {
                self.rest.extend(pieces);
                self.room = Some(room);
                self.most = MAX_RUNS.min(2 * self.most);
                Ok(true)
            }
            // It is gone meanwhile, or was never verified: another kind of read finds out.
            _ => {
                *self = Self::new(self.position);
                Ok(false)
            }
        }
    }

    /// Begins to read runs as long as there are bytes and room for them.
    fn begin(&mut self, content: &Arc<Content>, room: &Room) -> Result<(), NextError> {
        let end = content.described_until(self.position);
        while self.runs.len() < self.most && self.next < end {
            if self.here < end && self.here < self.next + ALL_HERE {
                self.here = content.here_until(self.here, self.next + 2 * ALL_HERE)?;
            }
            if self.here < end && self.here < self.next + ALL_HERE {
                break;
            }
            let Ok(room) = Arc::clone(&room.0).try_acquire_owned() else { break };
            let range = self.next..content.end_of_blocks(self.next, RUN)?.min(end);
            let (content, length) = (Arc::clone(content), range.end - range.start);
            let read = tokio::spawn(async move { content.read_range_here(range).await });
            self.runs.push_back(Run { length, read: AbortOnDropHandle::new(read), room });
            self.next += length;
        }
        Ok(())
    }
}
