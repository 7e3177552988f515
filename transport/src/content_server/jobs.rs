//! Hashing in the background: bounded, each resource once at a time, and with a way to wait for it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use peerdist_protocol::content::{HashError, Hashed};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::counters::LiveCounters;
use super::kept::{ContentKey, Kept, KeptContent};
use super::upstream::SendError;
use crate::hashing::HashReaderError;

/// How many contents may wait to be hashed; more are hashed when somebody asks for them again.
const MAX_WAITING: usize = 1024;
/// How many failures are remembered.
const MAX_FAILURES: usize = 4096;
/// How long a content that could not be hashed is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Why a content was not hashed.
#[derive(Debug, Error)]
pub(super) enum HashFailure {
    #[error("the content changed meanwhile")]
    Changed,
    #[error("reading the content failed")]
    Read(#[from] io::Error),
    #[error("the content has no content information")]
    Hash(#[from] HashError),
    #[error("the upstream server does not give the content to everybody, or not by ranges: status {0}")]
    Status(StatusCode),
    #[error("the upstream server broke off")]
    Broken(#[from] reqwest::Error),
    #[error("the upstream server does not answer")]
    Upstream(#[from] SendError),
    #[error("the upstream server made no progress within the time limit")]
    Stalled,
    #[error("the content server is closing")]
    Closing,
}

impl From<HashReaderError> for HashFailure {
    fn from(error: HashReaderError) -> Self {
        match error {
            HashReaderError::Read(error) => Self::Read(error),
            HashReaderError::Hash(error) => Self::Hash(error),
        }
    }
}

/// The hashing of contents, in the background of requests.
#[derive(Debug, Clone)]
pub(super) struct Jobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Arc<KeptContent>,
    counters: Arc<LiveCounters>,
    at_once: Semaphore,
    closing: CancellationToken,
    tracker: TaskTracker,
    state: Mutex<State>,
    /// How many jobs wait or run. Changes whenever one ends.
    outstanding: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    resources: HashSet<Arc<[u8]>>,
    failures: HashMap<ContentKey, Instant>,
}

impl Jobs {
    pub(super) fn new(kept: Arc<KeptContent>, counters: Arc<LiveCounters>, at_once: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                kept,
                counters,
                at_once: Semaphore::new(at_once),
                closing: CancellationToken::new(),
                tracker: TaskTracker::new(),
                state: Mutex::default(),
                outstanding: watch::Sender::new(0),
            }),
        }
    }

    /// Starts to hash a content. `false` where that would be of no use now: it failed a short while ago, or too many
    /// wait already. A job of the same resource that is under way counts as this one.
    pub(super) fn start<F>(&self, key: ContentKey, hash: F) -> bool
    where
        F: Future<Output = Result<Hashed, HashFailure>> + Send + 'static,
    {
        {
            let mut state = self.state();
            if self.shared.closing.is_cancelled() || state.has_failed(&key) {
                return false;
            }
            if state.resources.contains(&key.resource) {
                return true;
            }
            if state.resources.len() >= MAX_WAITING {
                return false;
            }
            state.resources.insert(key.resource.clone());
        }
        let outstanding = Outstanding::begin(self);
        let jobs = self.clone();
        self.shared.tracker.spawn(async move {
            jobs.run(&key, hash).await;
            jobs.state().resources.remove(&key.resource);
            drop(outstanding);
        });
        true
    }

    async fn run<F>(&self, key: &ContentKey, hash: F)
    where
        F: Future<Output = Result<Hashed, HashFailure>> + Send + 'static,
    {
        let resource = String::from_utf8_lossy(&key.resource);
        let counters = &self.shared.counters;
        let result = tokio::select! {
            () = self.shared.closing.cancelled() => Err(HashFailure::Closing),
            result = async {
                let Ok(_permit) = self.shared.at_once.acquire().await else { return Err(HashFailure::Closing) };
                counters.hash_jobs_started.add(1);
                self.finish(key, hash.await?).await
            } => result,
        };
        match result {
            Ok(()) => {
                tracing::debug!(%resource, bytes = key.length, "hashed");
                counters.hash_jobs_done.add(1);
            }
            Err(HashFailure::Closing) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::info!(%resource, error, "cannot be hashed");
                counters.hash_jobs_failed.add(1);
                self.state().remember_failure(key);
            }
        }
    }

    async fn finish(&self, key: &ContentKey, hashed: Hashed) -> Result<(), HashFailure> {
        if hashed.length != key.length {
            return Err(HashFailure::Changed);
        }
        let (shared, key) = (self.shared.clone(), key.clone());
        let kept = blocking(move || Kept::from_hashed(hashed).map(|kept| shared.kept.put(&key, kept))).await?;
        kept.ok_or(HashFailure::Changed)
    }

    /// Waits until no job waits or runs.
    pub(super) async fn wait_idle(&self) {
        // The sender lives in `self`.
        let _ = self.shared.outstanding.subscribe().wait_for(|outstanding| *outstanding == 0).await;
    }

    /// Waits until no job of this resource waits or runs.
    pub(super) async fn wait_for(&self, resource: &Arc<[u8]>) {
        let under_way = |_: &usize| self.state().resources.contains(resource);
        let _ = self.shared.outstanding.subscribe().wait_for(|outstanding| !under_way(outstanding)).await;
    }

    /// Something that [`Self::wait_idle`] waits for until it is dropped.
    pub(super) fn hold(&self) -> Outstanding {
        Outstanding::begin(self)
    }

    /// Runs something in the background until it ends or the server closes.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(&self, work: F) {
        let closing = self.shared.closing.clone();
        self.shared.tracker.spawn(async move {
            closing.run_until_cancelled(work).await;
        });
    }

    /// Becomes cancelled when the server closes.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.shared.closing
    }

    /// Waits until everything in the background has ended, after [`Self::closing`] was cancelled.
    pub(super) async fn ended(&self) {
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_failed(&self, key: &ContentKey) -> bool {
        self.failures.get(key).is_some_and(|at| at.elapsed() < AFTER_FAILURE)
    }

    fn remember_failure(&mut self, key: &ContentKey) {
        if self.failures.len() >= MAX_FAILURES {
            self.failures.retain(|_, at| at.elapsed() < AFTER_FAILURE);
        }
        if self.failures.len() < MAX_FAILURES {
            self.failures.insert(key.clone(), Instant::now());
        }
    }
}

/// Counts as outstanding until dropped.
#[derive(Debug)]
pub(super) struct Outstanding(Arc<Shared>);

impl Outstanding {
    fn begin(jobs: &Jobs) -> Self {
        jobs.shared.outstanding.send_modify(|outstanding| *outstanding += 1);
        Self(jobs.shared.clone())
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.send_modify(|outstanding| *outstanding -= 1);
    }
}

/// Runs what blocks where it may. A panic in it arrives as an error.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// A reader that ends with an error when the server closes, so that hashing a large file does not delay that.
#[derive(Debug)]
pub(super) struct Cancellable<R> {
    pub(super) reader: R,
    pub(super) closing: CancellationToken,
}

impl<R: Read> Read for Cancellable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.closing.is_cancelled() {
            return Err(io::Error::other(HashFailure::Closing));
        }
        self.reader.read(buffer)
    }
}
