//! Does what the plan of one content wants: Probes, exchanges, reads from the cache, timers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use peerdist_protocol::content::{BlockRanges, ContentInformation, CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{Answer as PeerAnswer, Exchange};
use peerdist_transport::retrieval::client::ExchangeError;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::areas::Areas;
use super::known::Known;
use super::node::{ContentSummary, Node, Whom, form_of, lock};
use super::staging::Staging;
use super::work::{Given, Kept, Outcome, Work};
use crate::fetch::Moment;
use crate::fetch::peers::HostId;
use crate::fetch::plan::{Action, Answer, BlockAt, Delivery, FetchId, Finding, Plan, PlannedSegment, ProbeTicket};
use crate::fetch::why::{Explanation, ServerAnswer, Source};
use crate::store::{SegmentKey, Tag, Trust};

/// One open content, as its handle and its tasks share it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    pub(super) id: u64,
    name: String,
    opened: Moment,
    /// Lock `state` first where both are needed.
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) state: Mutex<State>,
    /// Where blocks are read in any order.
    pub(super) areas: Areas,
    /// Whose content it is, for flushing.
    tag: Tag,
    /// New blocks that wait for their segment's list to be proven before a hosted cache is offered them.
    unproven: Mutex<BTreeSet<BlockAt>>,
    /// Something happened that a waiting reader wants to look at.
    pub(super) changed: Notify,
    /// The next alarm is earlier than it was.
    alarm: Notify,
    /// Readers take turns.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What a content is opened with, beside its content information.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) tag: Tag,
}

/// What changes. Held for moments only, never while anything is waited for.
#[derive(Debug)]
pub(super) struct State {
    pub(super) plan: Plan,
    /// Verified blocks that the reader has not passed, by where they begin.
    pub(super) ready: BTreeMap<u64, Ready>,
    pub(super) staging: Staging,
    /// Where the reader waits.
    pub(super) wanted: Option<u64>,
    /// In an area: how many readers wait for each block.
    pub(super) demands: BTreeMap<BlockAt, usize>,
    exchanges: HashMap<FetchId, AbortHandle>,
    alarm_at: Option<Moment>,
    closed: bool,
}

/// A verified block in memory.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) bytes: Bytes,
    pub(super) source: Source,
}

impl Ready {
    /// The bytes that are in a range of the content, of this block that begins at `start`.
    pub(super) fn part(&self, start: u64, range: &Range<u64>) -> Bytes {
        let end = range.end.min(start + self.bytes.len() as u64);
        self.bytes.slice((range.start.max(start) - start) as usize..(end - start) as usize)
    }
}

impl Shared {
    pub(super) fn new(node: Arc<Node>, opening: Opening, information: ContentInformation) -> Arc<Self> {
        let mut plan = Plan::new(node.plan_config(), form_of(information.version()), seed());
        let segments = information.segments().iter().map(PlannedSegment::from).collect();
        if let Err(error) = plan.add_segments(segments) {
            // Parsed content information has no such fault; without segments every read says that nothing is described.
            tracing::error!(%error, "content information contradicts itself");
        }
        Self::of(node, opening, Arc::new(Mutex::new(Known::new(information))), plan)
    }

    /// Readers of a part of this content that go anywhere.
    pub(super) fn area(&self, segments: Vec<PlannedSegment>) -> Arc<Self> {
        let form = lock(&self.state).plan.form();
        let mut plan = Plan::on_demand(self.node.plan_config(), form, seed());
        if let Err(error) = plan.add_segments(segments) {
            tracing::error!(%error, "content information contradicts itself");
        }
        let opening = Opening { id: self.node.next_id(), name: self.name.clone(), tag: self.tag };
        Self::of(Arc::clone(&self.node), opening, Arc::clone(&self.known), plan)
    }

    fn of(node: Arc<Node>, opening: Opening, known: Arc<Mutex<Known>>, plan: Plan) -> Arc<Self> {
        let state = State {
            plan,
            ready: BTreeMap::new(),
            staging: Staging::new(node.config.staging),
            wanted: None,
            demands: BTreeMap::new(),
            exchanges: HashMap::new(),
            alarm_at: None,
            closed: false,
        };
        Arc::new(Self {
            opened: node.now(),
            node,
            id: opening.id,
            name: opening.name,
            known,
            state: Mutex::new(state),
            areas: Areas::default(),
            tag: opening.tag,
            unproven: Mutex::default(),
            changed: Notify::new(),
            alarm: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Whether this is a part of a content that is read in any order.
    pub(super) fn is_area(&self) -> bool {
        lock(&self.state).plan.is_on_demand()
    }

    /// The whole story so far, that of its areas included.
    pub(super) fn explanation(&self) -> Explanation {
        let mut explanation = lock(&self.state).plan.explain();
        self.areas.explain(&mut explanation);
        explanation.count_from(self.opened);
        explanation
    }

    pub(super) fn summary(&self, open: bool) -> ContentSummary {
        let explanation = self.explanation();
        let summary = ContentSummary {
            id: self.id,
            name: self.name.clone(),
            version: lock(&self.known).version().to_string(),
            open,
            opened_ms: u64::try_from(self.opened.as_millis()).unwrap_or(u64::MAX),
            sources: explanation.sources.clone(),
            origin_reasons: explanation.origin_reasons.clone(),
            explanation,
        };
        summary.shorten()
    }

    /// Ends everything that is under way.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.plan.close(self.node.now(), &mut self.node.book());
        for (_, exchange) in state.exchanges.drain() {
            exchange.abort();
        }
    }

    /// Lets the plan go on, and starts what it wants.
    pub(super) fn step(self: &Arc<Self>, state: &mut State) {
        if state.closed {
            return;
        }
        let now = self.node.now();
        state.plan.set_finding(now, self.node.finding());
        let step = state.plan.poll(now, &mut self.node.book(), |id| self.node.cached(id));
        if let Some(wake) = step.wake
            && state.alarm_at.is_none_or(|alarm| wake < alarm)
        {
            state.alarm_at = Some(wake);
            self.alarm.notify_one();
        }
        for action in step.actions {
            self.start(state, action);
        }
    }

    /// Wakes the plan when its time has come.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let alarm = lock(&self.state).alarm_at;
            let Some(at) = alarm else {
                self.alarm.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(self.node.instant(at).into()) => {
                    let mut state = lock(&self.state);
                    state.alarm_at = None;
                    self.step(&mut state);
                    drop(state);
                    self.changed.notify_waiters();
                }
                () = self.alarm.notified() => {}
            }
        }
    }

    pub(super) fn matched(self: &Arc<Self>, peer: SocketAddr, ids: &[SegmentId]) {
        let mut state = lock(&self.state);
        state.plan.matched(self.node.now(), peer, ids);
        self.step(&mut state);
    }

    /// A hosted cache was asked, since when where that took time. The peer book has been told already.
    pub(super) fn hosted_cache_asked(
        self: &Arc<Self>,
        ticket: ProbeTicket,
        answer: ServerAnswer,
        asked: Option<(HostId, Moment)>,
    ) {
        let mut state = lock(&self.state);
        if let Some((host, since)) = asked {
            state.plan.was_asked(self.node.now(), &mut self.node.book(), ticket, host, since);
        }
        state.plan.hosted_cache_asked(ticket, answer);
        self.step(&mut state);
    }

    /// Something changed that concerns every content.
    pub(super) fn look_again(self: &Arc<Self>) {
        self.step(&mut lock(&self.state));
        self.changed.notify_waiters();
    }

    pub(super) fn probe_ended(self: &Arc<Self>, ticket: ProbeTicket) {
        let mut state = lock(&self.state);
        state.plan.probe_ended(self.node.now(), &mut self.node.book(), ticket);
        self.step(&mut state);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn probe_failed(self: &Arc<Self>, ticket: ProbeTicket) {
        let mut state = lock(&self.state);
        state.plan.probe_failed(self.node.now(), &self.node.book(), ticket);
        self.step(&mut state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// What has to be known to take a block in; `None` where its hash is not.
    pub(super) fn work_on(&self, known: &Known, at: BlockAt) -> Option<Work> {
        let segment = known.segment(at.segment)?;
        Some(Work {
            store: self.node.store.clone(),
            key: SegmentKey { id: segment.id(), block_count: segment.block_count() },
            index: at.block,
            check: known.check(at)?,
            secret: segment.secret().clone(),
            trust: if known.proven(at.segment) { Trust::Bound } else { Trust::Claimed },
            tag: self.tag,
        })
    }

    /// Where a block is in the content.
    pub(super) fn range_of(&self, at: BlockAt) -> Option<Range<u64>> {
        lock(&self.known).segment(at.segment)?.block_range(at.block)
    }

    /// Counts a verified block that the cache did not take. It is no reason to stop.
    pub(super) fn kept(&self, kept: Kept) {
        if let Kept::No(error) = kept {
            self.node.counters.update(|counters| counters.not_cached += 1);
            tracing::debug!(%error, "a block is not kept");
        }
    }

    /// A verified block came that no hosted cache gave: if the cache took it as new, a hosted cache may want it, unless it
    /// says that it has it and was only too slow. A block that is verified against a partial list waits until the list is
    /// proven.
    pub(super) fn is_new(&self, at: BlockAt, kept: &Kept) {
        let Some(hosted) = self.node.hosted.as_ref().filter(|_| matches!(kept, Kept::Stored)) else { return };
        let known = lock(&self.known);
        if !known.proven(at.segment) {
            drop(known);
            lock(&self.unproven).insert(at);
            return;
        }
        let Some(segment) = known.segment(at.segment).cloned() else { return };
        drop(known);
        let (id, count) = (segment.id(), segment.block_count());
        if self.node.book().is_in_hosted_cache(self.node.now(), &id, at.block, count) {
            return;
        }
        let held = || self.node.store.as_ref().and_then(|store| store.held(&id));
        hosted.client.is_new(&segment, at.block, self.tag, || held().map_or(0, |held| held.bound.len()));
    }

    /// The new blocks of a segment that waited for its list to be proven.
    pub(super) fn take_unproven(&self, segment: u64) -> Vec<BlockAt> {
        let mut unproven = lock(&self.unproven);
        let last = BlockAt { segment, block: u32::MAX };
        let blocks: Vec<_> = unproven.range(BlockAt { segment, block: 0 }..=last).copied().collect();
        unproven.retain(|at| at.segment != segment);
        blocks
    }

    fn start(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Probe { ticket, ids, finding } => {
                let (node, id) = (Arc::clone(&self.node), self.id);
                let whom = match finding {
                    Finding::HostedCaches => Whom::HostedCaches,
                    Finding::Nobody | Finding::Peers => Whom::Peers(state.plan.form()),
                };
                tokio::spawn(async move { node.find(id, ticket, ids, whom).await });
            }
            Action::Read(at) => {
                let work = self.work_on(&lock(&self.known), at);
                tokio::spawn(Arc::clone(self).read(at, work));
            }
            Action::Fetch { id, at, peer } => {
                let work = self.work_on(&lock(&self.known), at);
                let exchange = tokio::spawn(Arc::clone(self).fetch(id, at, peer, work));
                // The task cannot end before this: its end takes the lock that is held here.
                state.exchanges.insert(id, exchange.abort_handle());
            }
            Action::List { id, segment, blocks, peer } => {
                let segment = lock(&self.known).segment(segment).map(|segment| segment.id());
                let exchange = tokio::spawn(Arc::clone(self).list(id, segment, blocks, peer));
                state.exchanges.insert(id, exchange.abort_handle());
            }
            Action::Cancel(id) => {
                if let Some(exchange) = state.exchanges.remove(&id) {
                    exchange.abort();
                }
            }
        }
    }

    async fn read(self: Arc<Self>, at: BlockAt, work: Option<Work>) {
        let outcome = match work {
            Some(work) => self.node.verify(work, Given::Cached).await,
            None => None,
        };
        let bytes = match outcome {
            Some(Outcome::Verified(bytes, kept)) => {
                self.kept(kept);
                Some(bytes)
            }
            Some(Outcome::Wrong) => {
                self.node.counters.update(|counters| counters.bad_cache_records += 1);
                None
            }
            Some(Outcome::Gone) | None => None,
        };
        let mut state = lock(&self.state);
        let delivery = state.plan.cache_read(at, bytes.is_some());
        if let Some(bytes) = &bytes {
            self.node.counters.update(|counters| counters.bytes_from_cache += bytes.len() as u64);
        }
        self.deliver(state, at, delivery, bytes, Source::Cache);
    }

    async fn fetch(self: Arc<Self>, id: FetchId, at: BlockAt, peer: SocketAddr, work: Option<Work>) {
        let (answer, bytes) = match work {
            Some(work) => self.exchange_block(peer, at, work).await,
            None => (Answer::Local, None),
        };
        self.node.counters.answered(answer, bytes.as_ref().map_or(0, Bytes::len));
        self.tell_hosted_cache(peer, answer, bytes.as_ref());
        let mut state = lock(&self.state);
        state.exchanges.remove(&id);
        let delivery = state.plan.answered(self.node.now(), &mut self.node.book(), id, answer);
        self.deliver(state, at, delivery, bytes, Source::Peer(peer));
    }

    fn tell_hosted_cache(&self, peer: SocketAddr, answer: Answer, bytes: Option<&Bytes>) {
        let Some(server) = self.node.hosted.as_ref().and_then(|hosted| hosted.at(peer)) else { return };
        match (answer, bytes) {
            (_, Some(bytes)) => server.delivered(bytes.len()),
            (Answer::TimedOut, None) => server.failed("a block did not come in time".to_owned()),
            (Answer::Unreachable, None) => server.failed(format!("{peer}: no connection, or it broke")),
            (Answer::Refused, None) => server.failed("its answer is none to a request for a block".to_owned()),
            (Answer::BadHash, None) => server.failed("it sent a block with wrong bytes".to_owned()),
            (Answer::Empty, None) => server.answered(),
            (Answer::Block | Answer::Local, None) => {}
        }
    }

    async fn exchange_block(&self, peer: SocketAddr, at: BlockAt, work: Work) -> (Answer, Option<Bytes>) {
        let exchange = Exchange::get_block(work.key.id, work.index, CryptoAlgoId::Aes128);
        let client = &self.node.client;
        let answered = client.exchange_for_verdict(peer, &exchange, client.limits().exchange_time).await;
        let (block, verdict) = match answered {
            Ok((PeerAnswer::Block(block, _), verdict)) => (block, verdict),
            Ok((PeerAnswer::Empty, verdict)) => {
                verdict.say(|| "no block: not held there, or busy".to_owned());
                return (Answer::Empty, None);
            }
            Ok((_, verdict)) => {
                verdict.say(|| "refused: no answer to a request for a block".to_owned());
                return (Answer::Refused, None);
            }
            Err(error) => return (answer_of(&error), None),
        };
        let verified = self.node.verify(work, Given::Encrypted(block)).await;
        verdict.say(|| match &verified {
            Some(Outcome::Verified(..)) => "taken: the block is right".to_owned(),
            Some(Outcome::Wrong) => "refused: the block has another hash".to_owned(),
            Some(Outcome::Gone) | None => "not needed any more".to_owned(),
        });
        match verified {
            Some(Outcome::Verified(bytes, kept)) => {
                if self.node.hosted.as_ref().is_some_and(|hosted| hosted.at(peer).is_none()) {
                    self.is_new(at, &kept);
                }
                self.kept(kept);
                (Answer::Block, Some(bytes))
            }
            Some(Outcome::Wrong) => (Answer::BadHash, None),
            Some(Outcome::Gone) | None => (Answer::Local, None),
        }
    }

    async fn list(self: Arc<Self>, id: FetchId, segment: Option<SegmentId>, blocks: BlockRanges, peer: SocketAddr) {
        let result = match segment {
            Some(segment) => {
                let exchange = Exchange::get_block_list(segment, &blocks);
                match self.node.client.exchange(peer, &exchange).await {
                    Ok(PeerAnswer::BlockList { ranges, .. }) => Ok(ranges),
                    Ok(_) => Err(Answer::Refused),
                    Err(error) => Err(answer_of(&error)),
                }
            }
            None => Err(Answer::Local),
        };
        self.tell_hosted_cache(peer, result.as_ref().map_or_else(|answer| *answer, |_| Answer::Empty), None);
        let mut state = lock(&self.state);
        state.exchanges.remove(&id);
        state.plan.listed(self.node.now(), &mut self.node.book(), id, result);
        self.step(&mut state);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts a block where the reader finds it, and goes on.
    fn deliver(
        self: &Arc<Self>,
        mut state: std::sync::MutexGuard<'_, State>,
        at: BlockAt,
        delivery: Delivery,
        bytes: Option<Bytes>,
        source: Source,
    ) {
        // A reader that waits for another block has nothing to look at.
        let mut tell = true;
        if let Some(bytes) = bytes
            && delivery == Delivery::Wanted
            && let Some(range) = self.range_of(at)
        {
            let demanded = state.demands.contains_key(&at);
            tell = demanded || state.wanted.is_some_and(|wanted| range.contains(&wanted));
            if demanded || !state.plan.is_on_demand() {
                state.ready.insert(range.start, Ready { bytes, source });
            }
        }
        self.step(&mut state);
        drop(state);
        if tell {
            self.changed.notify_waiters();
        }
    }
}

fn seed() -> u64 {
    let mut seed = [0; 8];
    // Without randomness all nodes choose alike, which is no harm.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

fn answer_of(error: &ExchangeError) -> Answer {
    match error {
        ExchangeError::Local(_) => Answer::Local,
        ExchangeError::TimedOut(_) => Answer::TimedOut,
        ExchangeError::Connect(_) | ExchangeError::Http(_) => Answer::Unreachable,
        ExchangeError::Status(_)
        | ExchangeError::TooLarge { .. }
        | ExchangeError::Rejected(_)
        | ExchangeError::Incompatible { .. } => Answer::Refused,
    }
}
