//! What all contents of a node share: the peer book, the store, the retrieval client, and the events of discovery.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use peerdist_discovery::{Discovery, Event};
use peerdist_protocol::content::{BlockRanges, ContentInformation, ContentVersion, SegmentId};
use peerdist_protocol::discovery::{Form, ProbeKey};
use peerdist_transport::retrieval::client::Client;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::content::Content;
use super::counters::{Counters, FetchCounters};
use super::crowd::Crowd;
use super::drive::{Opening, Shared};
use super::hosted::{HostedCaches, look_after};
use super::work::{Given, Outcome, Work, do_each, read_each};
use crate::fetch::Moment;
use crate::fetch::peers::{PeerBook, PeerSummary};
use crate::fetch::plan::{PlanConfig, ProbeTicket};
use crate::fetch::why::{Explanation, MissingReason, Sources};
use crate::hosted_client::{HostedClient, HostedClientStatus};
use crate::store::{Store, Tag};

/// Closed contents that are remembered for `why`.
const MAX_RECENT: usize = 32;
/// Segments and Probes that are kept of a closed content's story.
const MAX_RECENT_STORIES: usize = 256;
/// Blocks that are verified together.
const MAX_BATCH: usize = 16;
/// So many bytes from the cache are read and verified without another thread.
const MAX_INLINE: u64 = 256 << 10;
/// Probes that ended before the task that sent them learned their key.
const MAX_EARLY: usize = 64;

/// What fetching may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    /// How far ahead of a reader blocks are fetched, in bytes; what a content takes in memory. 8 MiB.
    pub look_ahead: u64,
    /// Exchanges with peers at once for one content. 32.
    pub max_in_flight: usize,
    /// How long a reader waits for a block that peers claim to hold before it is told to go to the origin. 5 s.
    pub patience: std::time::Duration,
    /// How long answers to a Probe are waited for. 300 ms.
    pub probe_timeout: std::time::Duration,
    /// Bytes per content that were added and cannot be verified yet. 4 MiB.
    pub staging: u64,
    /// Threads that decrypt, hash and store blocks; `None`: as many as there are processors.
    pub workers: Option<NonZero<usize>>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        let plan = PlanConfig::default();
        Self {
            look_ahead: plan.look_ahead,
            max_in_flight: plan.max_in_flight,
            patience: plan.patience,
            probe_timeout: plan.probe_timeout,
            staging: 4 << 20,
            workers: None,
        }
    }
}

/// Fetches contents for the whole node. Clones are the same fetcher; its task ends with the last of them.
#[derive(Debug, Clone)]
pub struct Fetcher(Arc<Node>);

impl Fetcher {
    /// A fetcher. Call it within a tokio runtime. Without a store nothing is kept; without discovery everything that
    /// the store does not hold is missing.
    #[must_use]
    pub fn new(
        store: impl Into<Option<Store>>,
        discovery: Option<(Discovery, mpsc::Receiver<Event>)>,
        client: Client,
        config: FetchConfig,
    ) -> Self {
        Self::with_hosted_caches(store, discovery, client, config, None)
    }

    /// A fetcher that asks hosted caches instead of peers, or before them.
    #[must_use]
    pub fn with_hosted_caches(
        store: impl Into<Option<Store>>,
        discovery: Option<(Discovery, mpsc::Receiver<Event>)>,
        client: Client,
        config: FetchConfig,
        hosted: Option<Arc<HostedClient>>,
    ) -> Self {
        let (discovery, events) = discovery.unzip();
        let mut book = PeerBook::new();
        let hosted = hosted.map(|client| {
            let hosts = client.servers().iter().map(|_| book.add_hosted_cache(Moment::ZERO)).collect();
            Arc::new(HostedCaches::new(client, hosts))
        });
        let processors = || std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let workers = config.workers.unwrap_or_else(processors).get();
        let node = Arc::new(Node {
            start: Instant::now(),
            store: store.into(),
            discovery,
            hosted,
            client,
            workers: Arc::new(Semaphore::new(workers)),
            config,
            waiting: Mutex::default(),
            book: Mutex::new(book),
            crowd: Mutex::default(),
            contents: Mutex::default(),
            probes: Mutex::default(),
            recent: Mutex::default(),
            counters: Counters::default(),
            next_content: AtomicU64::new(1),
            listener: Mutex::new(None),
        });
        if let Some(events) = events {
            let listener = tokio::spawn(listen(Arc::downgrade(&node), events));
            *lock(&node.listener) = Some(listener.abort_handle());
        }
        if let Some(hosted) = &node.hosted {
            tokio::spawn(look_after(Arc::downgrade(&node), Arc::clone(hosted)));
        }
        Self(node)
    }

    /// Opens a content.
    #[must_use]
    pub fn open(&self, content_information: ContentInformation) -> Content {
        self.open_named("", content_information)
    }

    /// Opens a content under a name for people to read, such as its URL.
    #[must_use]
    pub fn open_named(&self, name: &str, content_information: ContentInformation) -> Content {
        self.open_tagged(name, Tag::NONE, content_information)
    }

    /// Opens a content whose blocks get a tag in the cache, under which they can be flushed.
    #[must_use]
    pub fn open_tagged(&self, name: &str, tag: Tag, content_information: ContentInformation) -> Content {
        self.0.counters.update(|counters| counters.contents += 1);
        let opening = Opening { id: self.0.next_id(), name: name.to_owned(), tag };
        let shared = Shared::new(Arc::clone(&self.0), opening, content_information);
        self.0.register(&shared);
        Content::start(shared)
    }

    /// How many other hosts were heard asking for any of these segments lately.
    #[must_use]
    pub fn crowd<'a>(&self, segments: impl IntoIterator<Item = &'a SegmentId>) -> usize {
        lock(&self.0.crowd).size(self.0.now(), segments)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> FetchCounters {
        self.0.counters.snapshot()
    }

    /// The hosts that are known, for people to read.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerSummary> {
        self.0.book().summary(self.0.now())
    }

    /// What the hosted client did, where this fetcher has one.
    #[must_use]
    pub fn hosted_client(&self) -> Option<HostedClientStatus> {
        let hosted = self.0.hosted.as_ref()?;
        let (now, book) = (self.0.now(), self.0.book());
        let summaries = hosted.hosts().iter().map(|host| book.summary_of(now, *host)).collect::<Vec<_>>();
        drop(book);
        Some(hosted.client.status(summaries))
    }

    /// The contents that are open, and the last ones that were: what was fetched and why. Of each story the beginning.
    #[must_use]
    pub fn recent(&self) -> Vec<ContentSummary> {
        let open: BTreeMap<u64, Arc<Shared>> =
            lock(&self.0.contents).iter().filter_map(|(id, shared)| Some((*id, shared.upgrade()?))).collect();
        let closed = lock(&self.0.recent).iter().cloned().collect::<Vec<_>>();
        let open = open.values().filter(|shared| !shared.is_area());
        closed.into_iter().chain(open.map(|shared| shared.summary(true))).collect()
    }
}

/// What is remembered of a content.
#[derive(Debug, Clone, Serialize)]
pub struct ContentSummary {
    /// A number that no other content of this node has.
    pub id: u64,
    /// The name it was opened with.
    pub name: String,
    /// The version of its content information.
    pub version: String,
    /// Whether it is still open.
    pub open: bool,
    /// When it was opened, in milliseconds since the node started.
    pub opened_ms: u64,
    /// Bytes by source.
    pub sources: Sources,
    /// Why bytes came from the origin.
    pub origin_reasons: BTreeMap<MissingReason, u64>,
    /// The beginning of the whole story.
    pub explanation: Explanation,
}

impl ContentSummary {
    pub(super) fn shorten(mut self) -> Self {
        self.explanation.segments.truncate(MAX_RECENT_STORIES);
        self.explanation.probes.truncate(MAX_RECENT_STORIES);
        self
    }
}

/// A block that waits for a worker, and who waits for the outcome.
type Waiting = (Work, Given, oneshot::Sender<Outcome>);

/// What all contents share.
pub(super) struct Node {
    start: Instant,
    pub(super) store: Option<Store>,
    pub(super) discovery: Option<Discovery>,
    pub(super) hosted: Option<Arc<HostedCaches>>,
    pub(super) client: Client,
    pub(super) config: FetchConfig,
    workers: Arc<Semaphore>,
    waiting: Mutex<VecDeque<Waiting>>,
    book: Mutex<PeerBook>,
    crowd: Mutex<Crowd>,
    contents: Mutex<HashMap<u64, Weak<Shared>>>,
    probes: Mutex<Probes>,
    recent: Mutex<VecDeque<ContentSummary>>,
    pub(super) counters: Counters,
    next_content: AtomicU64,
    listener: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Probes {
    sent: HashMap<ProbeKey, (u64, ProbeTicket)>,
    /// Ended before they were put into `sent`.
    early: VecDeque<ProbeKey>,
}

impl Node {
    /// A number that no content and no area of this node had before.
    pub(super) fn next_id(&self) -> u64 {
        self.next_content.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn plan_config(&self) -> PlanConfig {
        PlanConfig {
            look_ahead: self.config.look_ahead,
            max_in_flight: self.config.max_in_flight,
            patience: self.config.patience,
            probe_timeout: self.config.probe_timeout,
            finding: self.finding(),
        }
    }

    /// From now on the events of discovery reach a content or an area.
    pub(super) fn register(&self, shared: &Arc<Shared>) {
        lock(&self.contents).insert(shared.id, Arc::downgrade(shared));
    }

    /// The time since the node's start.
    pub(super) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// The time of a moment, for timers.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        self.start + moment
    }

    /// The peer book. Lock a content's state first where both are needed.
    pub(super) fn book(&self) -> MutexGuard<'_, PeerBook> {
        lock(&self.book)
    }

    pub(super) fn cached(&self, id: &SegmentId) -> BlockRanges {
        let held = self.store.as_ref().and_then(|store| store.held(id));
        held.map(|held| held.blocks).unwrap_or_default()
    }

    /// Does work on a thread that may wait, so many at once as there are workers. `None` where the runtime shuts down
    /// or the work panicked.
    pub(super) async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = Arc::clone(&self.workers).acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }

    /// Verifies and stores a block on a thread that may wait, together with others that wait for the same. `None` where
    /// the runtime shuts down or the work panicked.
    pub(super) async fn verify(&self, work: Work, given: Given) -> Option<Outcome> {
        let (sender, mut outcome) = oneshot::channel();
        lock(&self.waiting).push_back((work, given, sender));
        loop {
            let permit = tokio::select! {
                biased;
                outcome = &mut outcome => return outcome.ok(),
                permit = Arc::clone(&self.workers).acquire_owned() => permit.ok()?,
            };
            let batch = self.next_batch();
            if batch.is_empty() {
                // Another worker has it.
                drop(permit);
                return outcome.await.ok();
            }
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let (works, senders): (Vec<_>, Vec<_>) =
                    batch.into_iter().map(|(work, given, sender)| ((work, given), sender)).unzip();
                for (outcome, sender) in do_each(works).into_iter().zip(senders) {
                    // Whoever asked may have gone.
                    let _ = sender.send(outcome);
                }
            });
        }
    }

    /// Reads blocks from the cache and verifies them: a few on this thread, because handing them over takes longer than
    /// they do.
    pub(super) async fn read_cached(&self, works: Vec<Work>) -> Vec<Outcome> {
        let bytes: u64 = works.iter().map(|work| u64::from(work.check.length)).sum();
        if bytes <= MAX_INLINE {
            return read_each(works).await;
        }
        let works = works.into_iter().map(|work| (work, Given::Cached)).collect();
        self.work(|| do_each(works)).await.unwrap_or_default()
    }

    /// Takes blocks that wait to be verified, without those that nobody waits for any more.
    fn next_batch(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(_, _, sender)| !sender.is_closed());
        let count = waiting.len().min(MAX_BATCH);
        waiting.drain(..count).collect()
    }

    /// Asks for a content, and sees to it that the content learns of the end.
    pub(super) async fn find(self: &Arc<Self>, content: u64, ticket: ProbeTicket, ids: Vec<SegmentId>, whom: Whom) {
        let form = match (whom, &self.hosted) {
            (Whom::HostedCaches, Some(hosted)) => {
                return self.ask_hosted_caches(hosted, content, ticket, ids).await;
            }
            (Whom::HostedCaches, None) => return self.content(content, |shared| shared.probe_failed(ticket)),
            (Whom::Peers(form), hosted) => {
                if let Some(hosted) = hosted {
                    self.check_hosted_caches(hosted, &ids);
                }
                form
            }
        };
        self.probe(content, ticket, ids, form).await;
    }

    async fn probe(self: &Arc<Self>, content: u64, ticket: ProbeTicket, ids: Vec<SegmentId>, form: Form) {
        let result = match &self.discovery {
            Some(discovery) => discovery.probe(ids, form).await.ok(),
            None => None,
        };
        let ended = match result {
            None => {
                self.counters.update(|counters| counters.probes_failed += 1);
                self.content(content, |shared| shared.probe_failed(ticket));
                return;
            }
            Some(key) => {
                self.counters.update(|counters| counters.probes += 1);
                let mut probes = lock(&self.probes);
                let early = probes.early.iter().position(|early| *early == key);
                match early {
                    Some(at) => {
                        probes.early.remove(at);
                        true
                    }
                    None => {
                        probes.sent.insert(key, (content, ticket));
                        false
                    }
                }
            }
        };
        if ended {
            self.content(content, |shared| shared.probe_ended(ticket));
        }
    }

    /// No events reach a content or an area any more.
    pub(super) fn forget(&self, id: u64) {
        lock(&self.contents).remove(&id);
        lock(&self.probes).sent.retain(|_, (of, _)| *of != id);
    }

    /// A content is closed; its story is kept for a while.
    pub(super) fn remember(&self, summary: ContentSummary) {
        let mut recent = lock(&self.recent);
        if recent.len() >= MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(summary);
    }

    fn happened(&self, event: Event) {
        let now = self.now();
        match event {
            Event::Match { host, peers, segments, .. } => {
                self.counters.update(|counters| counters.matches += 1);
                let ids: Vec<_> = segments.iter().map(|(id, _)| *id).collect();
                self.book().matched(now, &host, &peers, segments);
                let Some(peer) = peers.first() else { return };
                self.all_contents(|shared| shared.matched(*peer, &ids));
            }
            Event::Expired { probe, .. } => {
                let mut probes = lock(&self.probes);
                let Some((content, ticket)) = probes.sent.remove(&probe) else {
                    if probes.early.len() >= MAX_EARLY {
                        probes.early.pop_front();
                    }
                    probes.early.push_back(probe);
                    return;
                };
                drop(probes);
                self.content(content, |shared| shared.probe_ended(ticket));
            }
            Event::Overheard { from, ids, .. } => {
                self.counters.update(|counters| counters.overheard += 1);
                lock(&self.crowd).heard(now, from.ip(), &ids);
                let mut book = self.book();
                ids.iter().for_each(|id| book.overheard(id));
            }
        }
    }

    pub(super) fn content(&self, id: u64, tell: impl FnOnce(&Arc<Shared>)) {
        let shared = lock(&self.contents).get(&id).and_then(Weak::upgrade);
        if let Some(shared) = shared {
            tell(&shared);
        }
    }

    pub(super) fn all_contents(&self, tell: impl Fn(&Arc<Shared>)) {
        let all: Vec<_> = lock(&self.contents).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(tell);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(listener) = lock(&self.listener).take() {
            listener.abort();
        }
    }
}

/// Hands the events of discovery on, as long as anybody is there to take them.
async fn listen(node: Weak<Node>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let Some(node) = node.upgrade() else { return };
        node.happened(event);
    }
}

/// Every critical section leaves its data whole, so a panic elsewhere is no reason to stop.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom to ask for segments.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    Peers(Form),
    HostedCaches,
}

/// The vocabulary of Probes for a content ([MS-PCCRD] 2.2.2).
pub(super) fn form_of(version: ContentVersion) -> Form {
    match version {
        ContentVersion::V1 => Form::V1,
        ContentVersion::V2 => Form::V2,
    }
}
