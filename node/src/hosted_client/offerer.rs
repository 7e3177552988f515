//! Makes the offers ([MS-PCHC] 3.2.4): one task for each hosted cache, one offer of each at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, Segment};
use peerdist_protocol::hosted_cache::{BatchedOffer, InitialOffer, Offer, Response, SegmentInfo, Version};
use peerdist_tap::Tap;
use peerdist_transport::hosted_cache::{CertificateError, OfferClient, SendError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::queue::{Entry, Failure, Next, Queue, What};
use super::servers::{Server, lock};
use super::status::OffersStatus;
use crate::config;
use crate::fetch::Moment;
use crate::store::Tag;

/// Offers segments to hosted caches. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Offerer {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    servers: Arc<[Server]>,
    client: OfferClient,
    /// Where hosted caches fetch from this host.
    port: u16,
    /// Where offers go.
    offer_port: u16,
    version: Version,
    /// Whether anything is offered.
    on: Arc<AtomicBool>,
    queue: Mutex<Queue>,
    counters: Mutex<Vec<Counters>>,
    /// One for each hosted cache.
    changed: Vec<Notify>,
}

/// What the offers to one hosted cache came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) segments: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// What was wrong with the last offer, and when.
    pub(super) last_error: Option<(String, Instant)>,
}

impl Offerer {
    pub(super) fn start(
        config: &config::HostedClient,
        servers: Arc<[Server]>,
        from: Vec<IpAddr>,
        port: u16,
        on: Arc<AtomicBool>,
        tap: Tap,
    ) -> Result<Self, CertificateError> {
        let version = config.version.0;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            client: OfferClient::tapped(config.trust_file(), from, tap)?,
            port,
            offer_port: match version {
                Version::V1 => config.https_port,
                Version::V2 => config.http_port,
            },
            version,
            on,
            queue: Mutex::new(Queue::new(version, config.servers.clone())),
            counters: Mutex::new(vec![Counters::default(); servers.len()]),
            changed: servers.iter().map(|_| Notify::new()).collect(),
            servers,
        });
        let offer = |server| tokio::spawn(Arc::clone(&shared).offer(server)).abort_handle();
        let tasks = (0..shared.servers.len()).map(offer).collect();
        Ok(Self { shared, tasks })
    }

    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn is_new(&self, segment: &Segment, index: BlockIndex, tag: Tag, held: impl FnOnce() -> u32) {
        if !self.shared.on.load(Ordering::Relaxed) {
            return;
        }
        let changed = lock(&self.shared.queue).is_new(self.shared.now(), segment, index, tag, held);
        self.shared.tell(changed);
    }

    pub(super) fn waiting(&self, server: usize) -> u64 {
        lock(&self.shared.queue).waiting(server) as u64
    }

    /// For how much longer a hosted cache is left alone.
    pub(super) fn rests_for(&self, server: usize) -> Option<Duration> {
        let now = self.shared.now();
        Some(lock(&self.shared.queue).rests_until(now, server)?.saturating_sub(now))
    }

    pub(super) fn counters(&self, server: usize) -> Counters {
        lock(&self.shared.counters).get(server).cloned().unwrap_or_default()
    }

    pub(super) fn status(&self) -> OffersStatus {
        let counts = lock(&self.shared.queue).counts();
        let mut status = OffersStatus {
            dropped: counts.dropped,
            given_up: counts.given_up,
            not_expressible: counts.not_expressible,
            ..OffersStatus::default()
        };
        for server in 0..self.shared.servers.len() {
            let counters = self.counters(server);
            status.waiting += self.waiting(server);
            status.sent += counters.sent;
            status.answered += counters.answered;
            status.segments += counters.segments;
            for (reason, count) in counters.failed {
                *status.failed.entry(reason.to_owned()).or_default() += count;
            }
        }
        status
    }
}

impl Drop for Offerer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    fn tell(&self, servers: impl IntoIterator<Item = usize>) {
        servers.into_iter().filter_map(|server| self.changed.get(server)).for_each(Notify::notify_one);
    }

    /// Offers what waits for one hosted cache, for ever.
    async fn offer(self: Arc<Self>, server: usize) {
        let Some(changed) = self.changed.get(server) else { return };
        loop {
            // Something that comes between the look and the wait leaves its notice.
            let next = lock(&self.queue).next(self.now(), server);
            match next {
                Next::Send(entries) => self.send(server, entries).await,
                Next::Wait(None) => changed.notified().await,
                Next::Wait(Some(until)) => {
                    tokio::select! {
                        () = sleep_until(self.start + until) => {}
                        () = changed.notified() => {}
                    }
                }
            }
        }
    }

    async fn send(&self, server: usize, mut entries: Vec<Entry>) {
        let result = match self.version {
            Version::V2 => {
                let described = entries.iter().filter_map(|entry| match &entry.what {
                    What::Described(descriptor) => Some(*descriptor),
                    What::Whole { .. } => None,
                });
                let segments: Vec<_> = described.collect();
                let count = segments.len();
                let offer = Offer::Batched(BatchedOffer { port: self.port, segments });
                self.exchange(server, &offer, count).await.map(drop)
            }
            Version::V1 => self.send_each(server, &mut entries).await,
        };
        let changed = match result {
            Ok(()) => {
                lock(&self.queue).answered(server);
                return;
            }
            Err(failure) => lock(&self.queue).failed(self.now(), server, entries, failure),
        };
        self.tell(changed);
    }

    /// Offers segments by version 1.0, one after the other. What is left in `entries` was not taken.
    async fn send_each(&self, server: usize, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        while let Some(entry) = entries.first() {
            if let What::Whole { segment, tag } = &entry.what {
                let initial = InitialOffer { port: self.port, segment_id: segment.id() };
                let response = self.exchange(server, &Offer::Initial(initial), 1).await?;
                if response == Response::Interested {
                    // Once: whatever the answer, nothing follows it ([MS-PCHC] 3.2.5.2).
                    let info = SegmentInfo::new(self.port, *tag, segment);
                    self.exchange(server, &Offer::SegmentInfo(info), 0).await?;
                }
            }
            entries.remove(0);
        }
        Ok(())
    }

    /// Sends one message of so many segments, and counts what came of it.
    async fn exchange(&self, server: usize, offer: &Offer, segments: usize) -> Result<Response, Failure> {
        let Some(to) = self.servers.get(server) else { return Err(Failure::Lasting) };
        let count = |change: &dyn Fn(&mut Counters)| {
            lock(&self.counters).get_mut(server).map(change);
        };
        count(&|counters| {
            counters.sent += 1;
            counters.segments += segments as u64;
        });
        match self.client.offer(to.name().as_str(), self.offer_port, offer).await {
            Ok(response) => {
                to.took_offer();
                count(&|counters| {
                    counters.answered += 1;
                    counters.last_error = None;
                });
                Ok(response)
            }
            Err(error) => {
                let (failure, text) = (failure_of(&error), text_of(&error));
                to.offer_failed(&text, failure == Failure::Lasting);
                let mut all = lock(&self.counters);
                if let Some(counters) = all.get_mut(server) {
                    *counters.failed.entry(error.as_str()).or_default() += 1;
                    counters.last_error = Some((text, Instant::now()));
                }
                Err(failure)
            }
        }
    }
}

/// Whether trying again later is of any use while nobody does anything about it.
fn failure_of(error: &SendError) -> Failure {
    match error {
        SendError::Unauthorized { .. } | SendError::Tls { .. } | SendError::Status(_) => Failure::Lasting,
        SendError::Name(_)
        | SendError::Local(_)
        | SendError::Unreachable(_)
        | SendError::TimedOut
        | SendError::Http(_)
        | SendError::Response(_)
        | SendError::TooLarge { .. } => Failure::Passing,
    }
}

fn text_of(error: &SendError) -> String {
    match error {
        SendError::Unauthorized { .. } => format!(
            "{error}; its administrator can let everybody offer: Set-BCAuthentication -Mode None (its blocks can be \
             fetched all the same)"
        ),
        SendError::Tls { .. } => format!("{error}; see hosted_client.trust and hosted_client.servers"),
        error => error.to_string(),
    }
}
