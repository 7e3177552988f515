//! The plan of one content: which peer is asked for which block next, what is read from the cache, and when a block
//! has to come from the origin.
//!
//! Pure: it takes time, events and the peer book as values and answers with [`Action`]s. Whoever drives it calls
//! [`Plan::poll`] after every call that changes something and when the moment of [`Step::wake`] has come.
//!
//! Segments are asked about in *runs* ahead of the reader. A run of version 1 is one segment. A run of version 2 is 16
//! to 128 of them, of which one Probe names up to 16: who holds a named segment is taken to hold its neighbours too
//! until an answer says otherwise. Before the reader is told that a block is missing, its segment was either named
//! itself, or nobody answered for the whole run. Nobody waits for a run twice.
//!
//! A plan serves either one reader that goes forward, or blocks that are demanded in any order: see
//! [`Plan::on_demand`].

mod choice;
mod demand;
mod events;
mod layout;
mod near;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};
use peerdist_protocol::discovery::Form;

pub use events::{Answer, Delivery};
use layout::Layout;
pub use layout::{LayoutError, PlannedSegment};
use near::{Near, Run, State};
use waiting::Waiting;

use super::Moment;
use super::peers::{Basis, HostId, Knowledge, PeerBook};
use super::why::{Explanation, MissingReason, Sources, Why};

/// Segments in the first run of version 2 after a start or a jump; each further one has twice as many.
const FIRST_RUN: usize = 16;
const MAX_RUN: usize = 128;
/// Runs that are asked about before the window reaches them. Silence takes 300 ms to count as an answer, so that the
/// bytes in so many runs bound how fast a content comes from the origin.
const RUNS_AHEAD: usize = 3;
/// Probes of one content under way at once.
const MAX_PROBES: usize = 4;
/// A Probe counts as ended even if nobody says so, this long after answers were waited for long enough.
const PROBE_GRACE: Duration = Duration::from_millis(2200);
/// Hosted caches count as silent after this long, even if nobody says so: one after the other may have been asked.
const MAX_ASK_TIME: Duration = Duration::from_secs(20);
/// How soon the same run may be asked about again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How soon a host may be asked again which blocks it has.
const RELIST_AFTER: Duration = Duration::from_secs(1);
/// A reader that has not read for this long does not cause further Probes.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// With fewer needed blocks than this, blocks are asked for without asking for a list first ([MS-PCCRR] note <10>).
const MIN_BLOCKS_TO_LIST: usize = 4;
/// Blocks read from the cache at once.
const MAX_CACHE_READS: usize = 16;
/// The block that the reader waits for may be asked for a second time after this long.
const MIN_HEDGE_AFTER: Duration = Duration::from_millis(250);
/// What peers are too slow for goes to the origin in pieces of this many bytes.
const SLOW_PIECE: u64 = 1 << 20;

/// What a plan may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanConfig {
    /// How far ahead of the reader blocks are fetched, in bytes; the bound of the memory for blocks. 8 MiB.
    pub look_ahead: u64,
    /// Exchanges with peers at once. 32.
    pub max_in_flight: usize,
    /// How long the reader waits for a block that peers claim to hold ([MS-CCRSO] 6.5.5 recommends 5 s). It is halved
    /// every time it was not enough, and recovers with what peers deliver.
    pub patience: Duration,
    /// How long answers to a Probe are waited for. 300 ms.
    pub probe_timeout: Duration,
    /// Who is asked which segments are held.
    pub finding: Finding,
}

/// Who is asked which segments are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nobody.
    Nobody,
    /// Peers, by Probes that name samples of a run.
    Peers,
    /// Hosted caches, by lists of all segments of a run.
    HostedCaches,
}

impl Finding {
    /// How many segments are named at once.
    fn max_ids(self, form: Form) -> usize {
        match self {
            Self::HostedCaches => MAX_RUN,
            Self::Nobody | Self::Peers => form.max_ids_per_datagram(),
        }
    }
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self {
            look_ahead: 8 << 20,
            max_in_flight: 32,
            patience: Duration::from_secs(5),
            probe_timeout: Duration::from_millis(300),
            finding: Finding::Peers,
        }
    }
}

/// Names a block of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockAt {
    /// Where the segment begins in the content.
    pub segment: u64,
    /// The block in it.
    pub block: BlockIndex,
}

/// Names a Probe of one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeTicket(u64);

/// Names an exchange of one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Ask the LAN, or the hosted caches; [`Plan::probe_ended`] or [`Plan::probe_failed`] follows.
    Probe {
        /// The Probe's name.
        ticket: ProbeTicket,
        /// The ids to name: no more than one datagram holds, or 128 for hosted caches.
        ids: Vec<SegmentId>,
        /// Who is to be asked.
        finding: Finding,
    },
    /// Read a block from the cache; [`Plan::cache_read`] follows.
    Read(BlockAt),
    /// Ask a peer for a block; [`Plan::answered`] follows.
    Fetch {
        /// The exchange's name.
        id: FetchId,
        /// The block.
        at: BlockAt,
        /// Where.
        peer: SocketAddr,
    },
    /// Ask a peer which of these blocks it holds; [`Plan::listed`] follows.
    List {
        /// The exchange's name.
        id: FetchId,
        /// Where the segment begins in the content.
        segment: u64,
        /// The blocks.
        blocks: BlockRanges,
        /// Where.
        peer: SocketAddr,
    },
    /// Nobody waits for this exchange any more. Its answer, if one still comes, is ignored.
    Cancel(FetchId),
}

/// What [`Plan::poll`] wants.
#[derive(Debug, Default)]
#[must_use]
pub struct Step {
    /// What is to be done now.
    pub actions: Vec<Action>,
    /// When to poll again even if nothing happens.
    pub wake: Option<Moment>,
}

/// A part of the content that has to come from the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which bytes: from the position asked for to the end of a block.
    pub range: Range<u64>,
    /// Why the first of its blocks is missing.
    pub reason: MissingReason,
}

#[derive(Debug)]
struct Asked {
    run: u64,
    /// The segments that were named beyond the samples of their run.
    named: Vec<usize>,
    ids: Vec<SegmentId>,
    deadline: Moment,
    story: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Fetch {
    at: BlockAt,
    host: HostId,
    peer: SocketAddr,
    basis: Basis,
    since: Moment,
    hedge: bool,
}

#[derive(Debug, Clone, Copy)]
struct Listing {
    segment: u64,
    host: HostId,
    peer: SocketAddr,
    since: Moment,
}

/// The plan of one content.
#[derive(Debug)]
pub struct Plan {
    config: PlanConfig,
    form: Form,
    seed: u64,
    layout: Layout,
    position: u64,
    /// Whether anybody has read: before that, nothing is done.
    has_reader: bool,
    last_read: Moment,
    waiting: Option<Waiting>,
    /// The blocks that are waited for, and since when; `None` where one reader goes forward.
    demanded: Option<BTreeMap<BlockAt, Moment>>,
    impatience: u32,
    runs: VecDeque<Run>,
    near: BTreeMap<usize, Near>,
    next_run: usize,
    probes: BTreeMap<ProbeTicket, Asked>,
    fetches: BTreeMap<FetchId, Fetch>,
    listings: BTreeMap<FetchId, Listing>,
    cancelled: Vec<FetchId>,
    cache_reads: usize,
    next_id: u64,
    distrusted: BTreeSet<HostId>,
    why: Why,
}

impl Plan {
    /// A plan for a content of the given version. `seed` decides between peers that are equally good.
    #[must_use]
    pub fn new(config: PlanConfig, form: Form, seed: u64) -> Self {
        Self {
            config,
            form,
            seed,
            layout: Layout::default(),
            position: 0,
            has_reader: false,
            last_read: Moment::ZERO,
            waiting: None,
            demanded: None,
            impatience: 0,
            runs: VecDeque::new(),
            near: BTreeMap::new(),
            next_run: FIRST_RUN,
            probes: BTreeMap::new(),
            fetches: BTreeMap::new(),
            listings: BTreeMap::new(),
            cancelled: Vec::new(),
            cache_reads: 0,
            next_id: 0,
            distrusted: BTreeSet::new(),
            why: Why::default(),
        }
    }

    /// Which vocabulary Probes have to speak: it follows the version of the content information.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Takes in the segments of further content information, all of them or none.
    pub fn add_segments(&mut self, segments: Vec<PlannedSegment>) -> Result<(), LayoutError> {
        if self.layout.add(segments)? {
            self.forget_near();
        }
        Ok(())
    }

    /// The segments known so far, in content order.
    #[must_use]
    pub fn segments(&self) -> &[PlannedSegment] {
        self.layout.all()
    }

    /// The list of a segment's block hashes turned out to be complete and right.
    pub fn set_bound(&mut self, segment: u64) {
        self.layout.set_bound(segment);
    }

    /// The reader has the bytes before `position` and goes on there. Returns whether it jumped, so that what was
    /// fetched ahead is of no use.
    pub fn read_at(&mut self, now: Moment, position: u64) -> bool {
        self.has_reader = true;
        self.last_read = now;
        self.waiting = None;
        self.move_to(position)
    }

    /// What is to be done now. `cached` says which blocks of a segment the cache holds.
    pub fn poll(&mut self, now: Moment, book: &mut PeerBook, cached: impl Fn(&SegmentId) -> BlockRanges) -> Step {
        let mut step = Step::default();
        if !self.has_reader && self.demanded.is_none() {
            return step;
        }
        self.end_overdue_probes(now, book);
        self.leave_slow_hosts(now, book);
        self.look_ahead(&cached);
        self.ask_about_runs(now, book, &mut step);
        match self.demanded {
            None => self.fetch_ahead(now, book, &cached, &mut step),
            Some(_) => self.fetch_demanded(now, book, &cached, &mut step),
        }
        step.actions.extend(self.cancelled.drain(..).map(Action::Cancel));
        step.wake = self.wake(now, book);
        step
    }

    /// Whether blocks are being read or fetched.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.cache_reads > 0 || !self.fetches.is_empty()
    }

    /// Bytes by source.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        self.why.sources()
    }

    /// Why bytes came from the origin.
    #[must_use]
    pub fn origin_reasons(&self) -> &BTreeMap<MissingReason, u64> {
        self.why.origin_reasons()
    }

    /// The whole story so far.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        self.why.explain(self.layout.all())
    }

    fn move_to(&mut self, position: u64) -> bool {
        if position == self.position {
            return false;
        }
        self.position = position;
        let Some(index) = self.layout.index_at(position) else { return false };
        let known = self.runs.front().zip(self.runs.back());
        if !known.is_none_or(|(first, last)| (first.segments.start..=last.segments.end).contains(&index)) {
            self.forget_near();
            return true;
        }
        while let Some(run) = self.runs.front()
            && run.segments.end <= index
        {
            for behind in run.segments.clone() {
                self.near.remove(&behind);
            }
            self.runs.pop_front();
        }
        false
    }

    fn forget_near(&mut self) {
        self.runs.clear();
        self.near.clear();
        self.probes.clear();
        self.next_run = FIRST_RUN;
        self.waiting = None;
    }

    /// The first byte from the reader on that is neither at nor from the origin.
    fn front(&self) -> u64 {
        let mut front = self.position;
        let Some(first) = self.layout.index_at(front) else { return front };
        for (index, near) in self.near.range(first..) {
            let Some(segment) = self.layout.get(*index) else { break };
            if segment.end() <= front {
                continue;
            }
            if segment.offset > front {
                break;
            }
            for block in segment.block_at(front)..segment.block_count() {
                if !matches!(near.state(block), Some(State::AtOrigin | State::Added)) {
                    return front;
                }
                front = segment.block_range(block).end;
            }
        }
        front
    }

    /// Makes runs until enough of them begin beyond the window.
    fn look_ahead(&mut self, cached: &impl Fn(&SegmentId) -> BlockRanges) {
        let Some(reader) = self.layout.index_at(self.position) else { return };
        loop {
            let window_end = self.front() + self.config.look_ahead;
            let start = self.runs.back().map_or(reader, |run| run.segments.end);
            let is_far = |run: &&Run| self.layout.get(run.segments.start).is_some_and(|s| s.offset >= window_end);
            let far = self.runs.iter().rev().take_while(is_far).count();
            if start >= self.layout.all().len() || far >= RUNS_AHEAD {
                return;
            }
            let adjoins =
                |index: usize| index == reader || self.layout.all()[index - 1].end() == self.layout.all()[index].offset;
            if !self.runs.is_empty() && !adjoins(start) {
                return;
            }
            let most = match self.form {
                Form::V1 => 1,
                Form::V2 => self.next_run,
            };
            let gap = (start + 1..self.layout.all().len()).take(most - 1).find(|index| !adjoins(*index));
            let end = gap.unwrap_or((start + most).min(self.layout.all().len()));
            self.add_run(start..end, cached);
            self.next_run = (self.next_run * 2).min(MAX_RUN);
        }
    }

    fn add_run(&mut self, segments: Range<usize>, cached: &impl Fn(&SegmentId) -> BlockRanges) {
        let id = self.next_id();
        let mut candidates = Vec::new();
        for index in segments.clone() {
            let segment = &self.layout.all()[index];
            let mut near = Near::new(id, segment, &cached(&segment.id));
            for fetch in self.fetches.values().filter(|fetch| fetch.at.segment == segment.offset) {
                if let Some(block) = near.block_mut(fetch.at.block)
                    && block.state == State::Needed
                {
                    block.state = State::Fetching;
                }
            }
            if near.needs_any() {
                candidates.push(index);
            }
            self.near.insert(index, near);
        }
        self.runs.push_back(Run::new(id, segments, &candidates, self.config.finding.max_ids(self.form)));
    }

    /// Somebody else is asked from now on, for what is still needed.
    pub fn set_finding(&mut self, now: Moment, finding: Finding) {
        if self.config.finding == finding {
            return;
        }
        let was_hosted = self.config.finding == Finding::HostedCaches;
        self.config.finding = finding;
        for asked in std::mem::take(&mut self.probes).into_values().filter(|_| was_hosted) {
            self.why.unreachable(now, asked.story);
        }
        for run in &mut self.runs {
            let segments = run.segments.clone();
            let candidates = segments.filter(|index| self.near.get(index).is_some_and(Near::needs_any));
            let candidates: Vec<_> = candidates.collect();
            *run = Run::new(run.id, run.segments.clone(), &candidates, finding.max_ids(self.form));
        }
        for near in self.near.values_mut() {
            near.named = None;
            near.naming = false;
        }
    }

    /// Sends the Probes of runs of which too little is known, in content order.
    fn ask_about_runs(&mut self, now: Moment, book: &PeerBook, step: &mut Step) {
        let idle = self.last_read + IDLE_AFTER <= now;
        if self.config.finding == Finding::Nobody {
            return;
        }
        for at in 0..self.runs.len() {
            let run = &self.runs[at];
            if run.pending.is_some() || run.next_check.is_some_and(|next| next > now || idle) {
                continue;
            }
            self.runs[at].next_check = Some(now + ASK_AGAIN_AFTER);
            let run = &self.runs[at];
            if !run.segments.clone().any(|index| self.is_in_need(index)) {
                continue;
            }
            let ids = run.samples.iter().filter_map(|index| self.layout.get(*index)).map(|segment| segment.id);
            let ids: Vec<_> = ids.filter(|id| book.knowledge(now, id) == Knowledge::Unknown).collect();
            if ids.is_empty() {
                let nobody = self.nobody_holds(now, book, run);
                let run = &mut self.runs[at];
                run.settled = true;
                run.nobody = nobody;
                continue;
            }
            if self.probes.len() >= MAX_PROBES {
                self.runs[at].next_check = None;
                return;
            }
            let (id, segments) = (run.id, run.segments.clone());
            let ticket = self.probe(now, id, segments, Vec::new(), ids, step);
            self.runs[at].pending = Some(ticket);
        }
    }

    fn nobody_holds(&self, now: Moment, book: &PeerBook, run: &Run) -> bool {
        let mut samples = run.samples.iter().filter_map(|index| self.layout.get(*index));
        samples.all(|segment| match book.knowledge(now, &segment.id) {
            // Who is out is not waited for.
            Knowledge::Somebody => book.holders_are_out(now, &segment.id),
            Knowledge::Nobody => true,
            // Silence of the LAN is an answer. Hosted caches are asked until there is one.
            Knowledge::Unknown => self.config.finding != Finding::HostedCaches,
        })
    }

    /// Names a segment and its neighbours in need in a Probe.
    fn ask_by_name(&mut self, now: Moment, first: usize, run: u64, step: &mut Step) {
        if self.probes.len() >= MAX_PROBES {
            return;
        }
        let max_ids = self.config.finding.max_ids(self.form);
        let Some(run) = self.runs.iter().find(|known| known.id == run) else { return };
        let run_id = run.id;
        let mut named = Vec::new();
        for index in first..run.segments.end {
            if named.len() >= max_ids {
                break;
            }
            if !run.is_sample(index)
                && let Some(near) = self.near.get(&index)
                && near.needs_any()
                && near.named.is_none()
            {
                named.push(index);
            }
        }
        for index in &named {
            if let Some(near) = self.near.get_mut(index) {
                near.named = Some(now);
                near.naming = true;
            }
        }
        let ids: Vec<_> = named.iter().filter_map(|index| self.layout.get(*index)).map(|segment| segment.id).collect();
        let Some(last) = named.last() else { return };
        let segments = first..*last + 1;
        self.probe(now, run_id, segments, named, ids, step);
    }

    fn probe(
        &mut self,
        now: Moment,
        run: u64,
        segments: Range<usize>,
        named: Vec<usize>,
        ids: Vec<SegmentId>,
        step: &mut Step,
    ) -> ProbeTicket {
        let ticket = ProbeTicket(self.next_id());
        let all = self.layout.all();
        let story = self.why.asked(now, all[segments.start].offset..all[segments.end - 1].end(), ids.len());
        let finding = self.config.finding;
        step.actions.push(Action::Probe { ticket, ids: ids.clone(), finding });
        let deadline = match finding {
            Finding::HostedCaches => now.saturating_add(MAX_ASK_TIME),
            Finding::Nobody | Finding::Peers => {
                now.saturating_add(self.config.probe_timeout).saturating_add(PROBE_GRACE)
            }
        };
        self.probes.insert(ticket, Asked { run, named, ids, deadline, story });
        ticket
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn wake(&self, now: Moment, book: &PeerBook) -> Option<Moment> {
        let probes = self.probes.values().map(|asked| asked.deadline);
        let waiting = self.waiting.map(|waiting| waiting.since + self.patience());
        let awaited = self.fetches.values().map(|fetch| fetch.at).filter(|at| self.is_awaited(*at));
        let hedge = awaited.filter_map(|at| self.hedge_at(book, at)).min();
        let busy = book.next_busy_end(now);
        let in_need = self.near.keys().any(|index| self.is_in_need(*index)) && self.last_read + IDLE_AFTER > now;
        let (busy, tick) = if in_need { (busy, Some(now + ASK_AGAIN_AFTER)) } else { (None, None) };
        probes.chain(waiting).chain(hedge).chain(busy).chain(tick).filter(|moment| *moment > now).min()
    }
}

/// Decides between equals, the same way every time: the finaliser of splitmix64.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
