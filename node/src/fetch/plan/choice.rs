//! Which peer for which block, and when there is none.

use std::net::SocketAddr;
use std::time::Duration;

use peerdist_protocol::content::{BlockIndex, BlockRanges, SegmentId};

use super::near::{Block, Near, Run, State};
use super::{
    Action, BlockAt, Fetch, FetchId, Finding, Listing, MAX_CACHE_READS, MIN_BLOCKS_TO_LIST, MIN_HEDGE_AFTER, Missing,
    Moment, Plan, PlannedSegment, SLOW_PIECE, Step, mix,
};
use crate::fetch::peers::{Basis, Holding, HostId, Knowledge, OutCause, PeerBook, Standing};
use crate::fetch::why::{MissingReason, PeerNote};

/// Who may hold a segment, as the book says at one moment.
pub(super) struct View {
    candidates: Vec<Candidate>,
}

struct Candidate {
    host: HostId,
    /// `None` where neighbouring segments hint at it.
    holding: Option<Holding>,
    standing: Standing,
    load: Duration,
}

impl View {
    pub(super) fn refresh(&mut self, now: Moment, book: &PeerBook) {
        self.candidates.retain_mut(|candidate| {
            let Some(standing) = book.standing(now, candidate.host) else { return false };
            candidate.standing = standing;
            candidate.load = book.load(candidate.host);
            true
        });
    }

    /// Whether looking at a block can lead to anything but waiting for a host with room.
    fn may_start(&self) -> bool {
        let mut standings = self.candidates.iter().map(|candidate| candidate.standing);
        standings.clone().any(|standing| standing == Standing::Ready)
            || !standings.any(|standing| matches!(standing, Standing::Full | Standing::Busy { .. }))
    }
}

/// What can be done about a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outlook {
    Fetch(HostId, Basis),
    List(HostId),
    /// Hosts that hold it cannot take a request at the moment.
    Later,
    Asking,
    Name,
    Missing(MissingReason),
}

impl Plan {
    /// Starts what can be started in the window, in content order.
    pub(super) fn fetch_ahead(
        &mut self,
        now: Moment,
        book: &mut PeerBook,
        cached: &impl Fn(&SegmentId) -> BlockRanges,
        step: &mut Step,
    ) {
        let window_end = self.front() + self.config.look_ahead;
        let Some(reader) = self.layout.index_at(self.position) else { return };
        let Some(last) = self.near.last_key_value().map(|(index, _)| *index) else { return };
        let head = self.head();
        let mut any_ready = book.any_ready(now);
        for index in reader..=last {
            let Some(segment) = self.layout.get(index).cloned() else { return };
            if segment.offset >= window_end {
                return;
            }
            let mut view = None;
            for block in segment.block_at(self.position)..segment.block_count() {
                if segment.block_range(block).start >= window_end {
                    return;
                }
                let at = BlockAt { segment: segment.offset, block };
                let is_head = head == Some(at);
                if is_head {
                    self.look_again(index, block, &segment, cached);
                }
                match self.near.get(&index).and_then(|near| near.state(block)) {
                    Some(State::Cached) if self.cache_reads < MAX_CACHE_READS => {
                        self.cache_reads += 1;
                        self.set_state(index, block, State::Reading);
                        step.actions.push(Action::Read(at));
                    }
                    Some(State::Fetching) if is_head => self.hedge(now, book, index, at, step),
                    Some(State::Needed) if (any_ready || is_head) && self.has_room() => {
                        let view = view.get_or_insert_with(|| self.noted_view(now, book, index, &segment));
                        if !is_head && !view.may_start() {
                            continue;
                        }
                        if self.start(now, book, index, &segment, block, view, step) {
                            view.refresh(now, book);
                            any_ready = book.any_ready(now);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The run of blocks that are known to be missing from `position` on. They are marked as being at the origin, unless
    /// others may be waiting for them.
    pub(super) fn missing(&mut self, now: Moment, book: &PeerBook, position: u64) -> Option<Missing> {
        let reader = self.layout.index_at(position)?;
        let last = *self.near.last_key_value()?.0;
        let out_of_patience = self.waiting.is_some_and(|waiting| waiting.since + self.patience() <= now);
        let mut end = position;
        let mut first_reason = None;
        for index in reader..=last {
            let Some(segment) = self.layout.get(index).cloned() else { break };
            if segment.offset > end {
                break;
            }
            let view = self.noted_view(now, book, index, &segment);
            for block in segment.block_at(end)..segment.block_count() {
                let Some(near) = self.near.get(&index) else { break };
                let Some(state) = near.state(block) else { break };
                let small = end - position < SLOW_PIECE;
                let is_first = first_reason.is_none();
                let reason = match state {
                    State::Needed => match self.outlook(now, book, index, near, block, &view) {
                        Outlook::Missing(reason) => Some(reason),
                        _ if out_of_patience && small => Some(MissingReason::TooSlow),
                        _ => None,
                    },
                    State::Fetching if out_of_patience && small => {
                        let at = BlockAt { segment: segment.offset, block };
                        (is_first || self.is_overdue(now, at)).then_some(MissingReason::TooSlow)
                    }
                    State::AtOrigin => first_reason,
                    _ => None,
                };
                let Some(reason) = reason else {
                    return first_reason.map(|reason| Missing { range: position..end, reason });
                };
                first_reason.get_or_insert(reason);
                end = segment.block_range(block).end;
                if self.demanded.is_none() {
                    self.set_state(index, block, State::AtOrigin);
                }
                let known_for = book.nobody_since(&segment.id).map(|since| now.saturating_sub(since));
                self.why.missing(
                    segment.offset,
                    reason,
                    known_for.filter(|_| reason == MissingReason::NotInHostedCache),
                );
            }
        }
        first_reason.map(|reason| Missing { range: position..end, reason })
    }

    /// When the block that the reader waits for may be asked for once more.
    pub(super) fn hedge_at(&self, book: &PeerBook, at: BlockAt) -> Option<Moment> {
        if self.fetches.values().any(|fetch| fetch.hedge) {
            return None;
        }
        let newest = self.fetches.values().filter(|fetch| fetch.at == at).max_by_key(|fetch| fetch.since)?;
        // A loaded host is slow for all its requests alike; a second copy would only add to the load.
        let usual = book.latency(newest.host).unwrap_or(Duration::ZERO) * 4;
        Some(newest.since + usual.max(MIN_HEDGE_AFTER))
    }

    /// Whether every request for a block has been under way for longer than the reader's patience.
    fn is_overdue(&self, now: Moment, at: BlockAt) -> bool {
        let mut fetches = self.fetches.values().filter(|fetch| fetch.at == at);
        fetches.all(|fetch| fetch.since + self.patience() <= now)
    }

    pub(super) fn has_room(&self) -> bool {
        self.fetches.len() + self.listings.len() < self.config.max_in_flight
    }

    fn head(&self) -> Option<BlockAt> {
        let segment = self.layout.get(self.layout.index_at(self.position)?)?;
        Some(BlockAt { segment: segment.offset, block: segment.block_at(self.position) })
    }

    pub(super) fn set_state(&mut self, index: usize, block: BlockIndex, state: State) {
        if let Some(block) = self.near.get_mut(&index).and_then(|near| near.block_mut(block)) {
            block.state = state;
        }
    }

    pub(super) fn look_again(
        &mut self,
        index: usize,
        block: BlockIndex,
        segment: &PlannedSegment,
        cached: &impl Fn(&SegmentId) -> BlockRanges,
    ) {
        let Some(known) = self.near.get_mut(&index).and_then(|near| near.block_mut(block)) else { return };
        if known.state == State::Unknown {
            let is_cached = !known.bad_in_cache && cached(&segment.id).contains(block);
            known.state = if is_cached { State::Cached } else { State::Needed };
        }
    }

    /// Does what can be done about a needed block. Returns whether a host got a request.
    #[expect(clippy::too_many_arguments, reason = "the loop's state, spelled out")]
    pub(super) fn start(
        &mut self,
        now: Moment,
        book: &mut PeerBook,
        index: usize,
        segment: &PlannedSegment,
        block: BlockIndex,
        view: &View,
        step: &mut Step,
    ) -> bool {
        let Some(near) = self.near.get(&index) else { return false };
        let at = BlockAt { segment: segment.offset, block };
        let run = near.run;
        match self.outlook(now, book, index, near, block, view) {
            Outlook::Fetch(host, basis) => {
                self.fetch(now, book, index, at, host, basis, false, step);
                true
            }
            Outlook::List(host) => {
                let Some(peer) = book.address(host) else { return false };
                let id = FetchId(self.next_id());
                self.begin(now, book, host, peer);
                self.listings.insert(id, Listing { segment: segment.offset, host, peer, since: now });
                let Some(near) = self.near.get_mut(&index) else { return false };
                near.listing_begins(now, host);
                let blocks = near.needed();
                step.actions.push(Action::List { id, segment: segment.offset, blocks, peer });
                true
            }
            Outlook::Name => {
                self.ask_by_name(now, index, run, step);
                false
            }
            Outlook::Later | Outlook::Asking | Outlook::Missing(_) => false,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the loop's state, spelled out")]
    fn fetch(
        &mut self,
        now: Moment,
        book: &mut PeerBook,
        index: usize,
        at: BlockAt,
        host: HostId,
        basis: Basis,
        hedge: bool,
        step: &mut Step,
    ) {
        let Some(peer) = book.address(host) else { return };
        let id = FetchId(self.next_id());
        self.begin(now, book, host, peer);
        self.fetches.insert(id, Fetch { at, host, peer, basis, since: now, hedge });
        self.set_state(index, at.block, State::Fetching);
        step.actions.push(Action::Fetch { id, at, peer });
    }

    fn begin(&mut self, now: Moment, book: &mut PeerBook, host: HostId, peer: SocketAddr) {
        book.begin(now, host);
        if book.is_hosted_cache(host) {
            self.why.is_hosted_cache(peer);
        }
    }

    /// Asks one more peer for the block that the reader waits for, if the first one takes unusually long.
    pub(super) fn hedge(&mut self, now: Moment, book: &mut PeerBook, index: usize, at: BlockAt, step: &mut Step) {
        let is_time = self.is_awaited(at) && self.hedge_at(book, at).is_some_and(|moment| moment <= now);
        if !is_time || !self.has_room() {
            return;
        }
        let Some(segment) = self.layout.get(index) else { return };
        let mut view = self.view(now, book, index, segment);
        view.candidates.retain(|candidate| !self.fetches.values().any(|f| f.at == at && f.host == candidate.host));
        let Some(near) = self.near.get(&index) else { return };
        if let Outlook::Fetch(host, basis) = self.outlook(now, book, index, near, at.block, &view) {
            self.fetch(now, book, index, at, host, basis, true, step);
        }
    }

    pub(super) fn noted_view(&mut self, now: Moment, book: &PeerBook, index: usize, segment: &PlannedSegment) -> View {
        let view = self.view(now, book, index, segment);
        for candidate in &view.candidates {
            let note = match candidate.standing {
                _ if self.distrusted.contains(&candidate.host) => PeerNote::SkippedForBadHashHere,
                Standing::Out { cause: OutCause::BadHash, .. } => PeerNote::SkippedForBadHash,
                Standing::Out { cause: OutCause::Failures, .. } => PeerNote::SkippedForFailures,
                Standing::Out { cause: OutCause::KeptWaiting, .. } => PeerNote::SkippedForWaiting,
                _ => continue,
            };
            if let Some(peer) = book.address(candidate.host) {
                if book.is_hosted_cache(candidate.host) {
                    self.why.is_hosted_cache(peer);
                }
                self.why.note_once(now, segment.offset, peer, note);
            }
        }
        view
    }

    fn view(&self, now: Moment, book: &PeerBook, index: usize, segment: &PlannedSegment) -> View {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut add = |host, holding| {
            let known = candidates.iter().any(|candidate| candidate.host == host);
            if let Some(standing) = book.standing(now, host)
                && !known
            {
                candidates.push(Candidate { host, holding, standing, load: book.load(host) });
            }
        };
        for (host, holding) in book.holders(now, &segment.id) {
            add(host, Some(holding.clone()));
        }
        let Some(run) = self.run_of(index) else { return View { candidates } };
        // Silence of a host about a segment that was named is an answer.
        let in_run = run.neighbours(index).filter(|_| !run.is_sample(index));
        for neighbour in in_run.filter_map(|neighbour| self.layout.get(neighbour)) {
            for (host, _) in book.holders(now, &neighbour.id) {
                if !book.is_absent(now, &segment.id, host) {
                    add(host, None);
                }
            }
        }
        // Who holds all of what adjoins the run probably holds this, too. That spares the wait for the run's own
        // answers, and makes up for a Probe that was lost.
        // A hosted cache answers at once, and its neighbour in the list may be another's.
        if self.config.finding == Finding::Peers && (run.nobody || !run.settled) {
            let adjoining = run.segments.start.checked_sub(1).into_iter().chain([run.segments.end]);
            for neighbour in adjoining.filter_map(|neighbour| self.layout.get(neighbour)) {
                for (host, holding) in book.holders(now, &neighbour.id) {
                    let mut samples = run.samples.iter().filter_map(|sample| self.layout.get(*sample));
                    if holding.is_all(neighbour.block_count())
                        && !book.is_absent(now, &segment.id, host)
                        && !samples.any(|sample| book.is_absent(now, &sample.id, host))
                    {
                        add(host, None);
                    }
                }
            }
        }
        View { candidates }
    }

    fn outlook(
        &self,
        now: Moment,
        book: &PeerBook,
        index: usize,
        near: &Near,
        block: BlockIndex,
        view: &View,
    ) -> Outlook {
        let Some(known) = near.block(block) else { return Outlook::Later };
        let block_count = u32::try_from(near.blocks.len()).unwrap_or(u32::MAX);
        let (mut best, mut to_list, mut later, mut out) = (None, None, false, false);
        for Candidate { host, holding, standing, load } in &view.candidates {
            if self.distrusted.contains(host) || matches!(standing, Standing::Out { .. }) {
                out = true;
                continue;
            }
            let basis = holding.as_ref().map_or(Some(Basis::Hint), |holding| holding.basis(block, block_count));
            let wants_list = match basis {
                None => near.list_is_stale(now, *host),
                Some(Basis::Perhaps) => !near.was_listed(*host) && near.count(State::Needed) >= MIN_BLOCKS_TO_LIST,
                Some(_) => false,
            };
            if near.is_listing(*host) && basis != Some(Basis::Sure) {
                later = true;
                continue;
            }
            let exhausted = basis.is_none_or(|basis| known.is_exhausted(*host, basis));
            if exhausted && !wants_list {
                continue;
            }
            let tie = mix(self.seed ^ mix(host.number() ^ mix(u64::from(block) ^ mix(index as u64))));
            match (standing, basis) {
                (Standing::Ready, Some(basis)) if !wants_list => {
                    let key = (basis, *load, tie);
                    if best.is_none_or(|(known, _)| key < known) {
                        best = Some((key, *host));
                    }
                }
                (Standing::Ready, basis) => {
                    // A fresh list first, then one that may have grown.
                    let key = (basis.is_none(), *load, tie);
                    if to_list.is_none_or(|(known, _)| key < known) {
                        to_list = Some((key, *host));
                    }
                }
                _ => later = true,
            }
        }
        match (best, to_list) {
            (Some(((basis, ..), host)), _) => return Outlook::Fetch(host, basis),
            (None, Some((_, host))) => return Outlook::List(host),
            (None, None) if later => return Outlook::Later,
            (None, None) => {}
        }
        self.without_candidates(now, book, index, near, known, out)
    }

    /// What to do about a block that no host can be asked for, now or soon.
    fn without_candidates(
        &self,
        now: Moment,
        book: &PeerBook,
        index: usize,
        near: &Near,
        block: &Block,
        out: bool,
    ) -> Outlook {
        if self.config.finding == Finding::Nobody {
            return Outlook::Missing(MissingReason::NoDiscovery);
        }
        let Some(run) = self.run_of(index) else { return Outlook::Asking };
        let is_open = |run: &Run| {
            let mut samples = run.samples.iter().filter_map(|sample| self.layout.get(*sample));
            !run.settled || run.pending.is_some() || samples.any(|s| book.knowledge(now, &s.id) == Knowledge::Unknown)
        };
        if near.naming || (!run.nobody && is_open(run)) {
            return Outlook::Asking;
        }
        if !run.nobody && near.named.is_none() && !run.is_sample(index) {
            return Outlook::Name;
        }
        let is_unasked = || self.layout.get(index).is_some_and(|segment| book.is_unasked(now, &segment.id));
        Outlook::Missing(match () {
            () if self.config.finding == Finding::HostedCaches => match () {
                () if block.failed_somewhere() => MissingReason::HostedCacheFailed,
                () if out || is_unasked() => MissingReason::HostedCachesOut,
                () => MissingReason::NotInHostedCache,
            },
            () if block.failed_somewhere() => MissingReason::PeersFailed,
            () if out => MissingReason::PeersOut,
            () if run.nobody => MissingReason::NobodyAnswered,
            () => MissingReason::NobodyHoldsIt,
        })
    }

    fn run_of(&self, index: usize) -> Option<&Run> {
        self.runs.iter().find(|run| run.segments.contains(&index))
    }
}
