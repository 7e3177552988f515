//! The hosted cache: takes offers of segments, fetches them from the hosts that made them, and serves the branch
//! ([MS-PCHC] 3.1).
//!
//! An offer is answered at once and from memory; what follows from it waits in a queue for each source, and the sources
//! take turns. Version 1.0 says enough to verify every block, version 2.0 says nothing that would: those segments are
//! kept blind, and what contains poisoning is all in `sources` and `copies`.
//!
//! | module | what it does |
//! |---|---|
//! | `desk` | what an offer leads to: decisions without sockets |
//! | `queue`, `turns` | what waits; whose turn it is |
//! | `sources` | who may offer how much |
//! | `copies` | who gave what is held unproven, and who may complain about it |
//! | `in_flight`, `fetches` | what is being fetched; what follows from how it went |
//! | `offered` | an offered segment: what is wanted of it, and the check of its blocks |
//! | `own` | whether an offer names this host itself |
//! | `known`, `records` | of which segments hashes and secrets are known; these on disk |
//! | `pull` | the task that fetches |
//! | `seldom` | what is logged once a minute, however often it happens |
//! | `status` | what it did |

mod copies;
mod desk;
mod fetches;
mod in_flight;
mod known;
mod offered;
mod own;
mod pull;
mod queue;
mod records;
mod seldom;
mod sources;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use peerdist_protocol::hosted_cache::{Offer, Response};
use peerdist_transport::retrieval::client::Client;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::store::Store;
use desk::{Desk, retrieval_address};
use known::KnownSegments;
use offered::Offered;
use own::Own;
use records::{Outage, Records};
pub use status::{HostedCacheStatus, OfferListener, Offers, TagStatus};

/// Records that wait to be written.
const MAX_UNWRITTEN: usize = 4096;

/// A hosted cache at work. Clones are the same one.
#[derive(Clone)]
pub struct HostedCache(Arc<Inner>);

struct Inner {
    settings: config::HostedCache,
    store: Store,
    client: Client,
    records: Records,
    own: Own,
    desk: Mutex<Desk>,
    /// Whether offers are taken and blocks fetched.
    on: Arc<AtomicBool>,
    /// How long a run waits for its host.
    run_time: Duration,
    /// Runs of blocks that are being fetched.
    pulling: AtomicU64,
    /// No block is fetched before.
    resume_at: Mutex<Option<Moment>>,
    /// Tells the task that fetches that there is something to do.
    wake: Notify,
    unwritten: mpsc::Sender<Offered>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl HostedCache {
    /// Starts to fetch what will be offered, into a store. While `on` is false nothing is fetched, and offers come to
    /// nothing; so do those that name `retrieval`, where this host itself serves. Reads the list of the records in the
    /// store's directory.
    ///
    /// # Errors
    /// Where the directory of the records cannot be used.
    pub fn start(
        settings: config::HostedCache,
        store: Store,
        client: Client,
        on: Arc<AtomicBool>,
        retrieval: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        Self::start_with(settings, store, client, on, retrieval, pull::RUN_TIME)
    }

    fn start_with(
        settings: config::HostedCache,
        store: Store,
        client: Client,
        on: Arc<AtomicBool>,
        retrieval: Vec<SocketAddr>,
        run_time: Duration,
    ) -> io::Result<Self> {
        let records = Records::open(store.dir())?;
        let now = Instant::now();
        let known = KnownSegments::new(records.list()?, now);
        let (unwritten, to_write) = mpsc::channel(MAX_UNWRITTEN);
        let inner = Arc::new(Inner {
            desk: Mutex::new(Desk::new(settings.clone(), store.clone(), known, now)),
            settings,
            store,
            client,
            records,
            own: Own(retrieval),
            on,
            run_time,
            pulling: AtomicU64::new(0),
            resume_at: Mutex::default(),
            wake: Notify::new(),
            unwritten,
            stop: CancellationToken::new(),
            tasks: Mutex::default(),
        });
        inner.tidy(Duration::ZERO);
        let tasks = vec![
            tokio::spawn(pull::pull(Arc::clone(&inner), inner.stop.clone())),
            tokio::spawn(write_records(Arc::clone(&inner), to_write, inner.stop.clone())),
        ];
        *lock(&inner.tasks) = tasks;
        Ok(Self(inner))
    }

    /// Takes an offer from an address. Answers from memory.
    #[must_use]
    pub fn take(&self, from: SocketAddr, offer: Offer) -> Response {
        let refused = if !self.0.on.load(Ordering::Relaxed) {
            Some("disabled")
        } else if self.0.own.includes(retrieval_address(from, &offer)) {
            Some("own")
        } else {
            None
        };
        let (response, record) = self.0.desk().take(from, offer, refused, Instant::now());
        if let Some(record) = record {
            self.0.record(record);
        }
        self.0.wake.notify_one();
        response
    }

    /// Goes on, now that it was turned on.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// What it does and did. Where it listens, and what its server refused, is not known here.
    #[must_use]
    pub fn status(&self) -> HostedCacheStatus {
        let pulling = self.0.pulling.load(Ordering::Relaxed);
        HostedCacheStatus { pulling, ..self.0.desk().status(Instant::now()) }
    }

    /// Stops fetching. Records that wait are written first.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        let tasks = std::mem::take(&mut *lock(&self.0.tasks));
        for task in tasks {
            // That it panicked was said when it did.
            let _ = task.await;
        }
    }
}

impl fmt::Debug for HostedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedCache").field("store", &self.0.store).finish_non_exhaustive()
    }
}

impl Inner {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    fn pause(&self, time: Duration) {
        *lock(&self.resume_at) = Some(Moment::now() + time);
    }

    fn paused_until(&self) -> Option<Moment> {
        let mut resume_at = lock(&self.resume_at);
        *resume_at = resume_at.filter(|at| *at > Moment::now());
        *resume_at
    }

    /// Removes the records of segments that are known for so long and gone. Waits for the disk.
    fn tidy(&self, age: Duration) {
        let Some(then) = Instant::now().checked_sub(age) else { return };
        let gone = self.desk().forget_before(then);
        self.records.remove(&gone);
    }
}

/// Writes records as they come, and those that are left once it is told to stop.
async fn write_records(cache: Arc<Inner>, mut to_write: mpsc::Receiver<Offered>, stop: CancellationToken) {
    let mut outage = Outage::default();
    loop {
        let record = tokio::select! {
            biased;
            record = to_write.recv() => record,
            () = stop.cancelled() => break,
        };
        let Some(record) = record else { break };
        let cache = Arc::clone(&cache);
        // Should it panic, the segment stays in memory.
        let Ok(written) = tokio::task::spawn_blocking(move || cache.write_record(&record)).await else { continue };
        if outage.changes(written.is_ok(), Instant::now()) {
            match written {
                Err(error) => tracing::warn!(%error, "hashes of offered segments cannot be kept"),
                Ok(()) => tracing::info!("hashes of offered segments are kept again"),
            }
        }
    }
}

impl Inner {
    /// Has the record of a segment written.
    fn record(&self, offered: Offered) {
        if let Err(error) = self.unwritten.try_send(offered) {
            // The disk does not keep up: the hashes are used now and not remembered.
            self.desk().recorded(&error.into_inner().id, false);
        }
    }

    fn write_record(&self, offered: &Offered) -> io::Result<()> {
        let written = self.records.write(offered);
        self.desk().recorded(&offered.id, written.is_ok());
        written
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
