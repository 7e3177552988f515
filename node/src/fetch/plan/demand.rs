//! A plan for blocks that are demanded in any order, many at once. It covers a part of a content, asks about it as one
//! run, and fetches what is demanded and nothing else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use peerdist_protocol::content::{BlockRanges, SegmentId};

use super::near::{Near, State};
use super::{Action, BlockAt, Form, MAX_CACHE_READS, MAX_RUN, Missing, Moment, Plan, PlanConfig, Step};
use crate::fetch::peers::PeerBook;
use crate::fetch::why::Source;

impl Plan {
    /// A plan that fetches what is demanded. `seed` decides between peers that are equally good.
    #[must_use]
    pub fn on_demand(config: PlanConfig, form: Form, seed: u64) -> Self {
        // There is no reader to be ahead of: everything is near.
        let config = PlanConfig { look_ahead: u64::MAX / 2, ..config };
        let mut plan = Self::new(config, form, seed);
        plan.demanded = Some(BTreeMap::new());
        plan.next_run = MAX_RUN;
        plan
    }

    /// Whether blocks are demanded in any order.
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.demanded.is_some()
    }

    /// Somebody waits for a block now.
    pub fn demand(&mut self, now: Moment, at: BlockAt) {
        self.last_read = now;
        let Some(index) = self.layout.index_of(at.segment) else { return };
        if self.runs.is_empty() {
            self.position = self.layout.all().first().map_or(0, |first| first.offset);
        }
        let Some(demanded) = &mut self.demanded else { return };
        if let Entry::Vacant(vacant) = demanded.entry(at) {
            vacant.insert(now);
            self.look_for_again(index, at.block);
        }
    }

    /// Nobody waits for a block any more. What is under way for it goes on.
    pub fn withdraw(&mut self, at: BlockAt) {
        if let Some(demanded) = &mut self.demanded {
            demanded.remove(&at);
        }
    }

    /// The run of blocks from `position` on that is known to be missing.
    pub fn missing_at(&mut self, now: Moment, book: &mut PeerBook, position: u64) -> Option<Missing> {
        let missing = self.missing(now, book, position)?;
        let segment = self.layout.index_at(position).and_then(|index| self.layout.get(index));
        let at = segment.map(|segment| BlockAt { segment: segment.offset, block: segment.block_at(position) });
        let since = at.and_then(|at| self.demanded.as_ref()?.get(&at).copied());
        if let Some((at, since)) = at.zip(since) {
            self.was_in_vain(now, book, at, since, None, missing.reason);
        }
        Some(missing)
    }

    /// Somebody added a block, and it was verified and counted elsewhere: it is to be read from the cache.
    pub fn arrived(&mut self, now: Moment, book: &mut PeerBook, at: BlockAt) {
        let awaited = self.is_awaited(at);
        if let Some(block) = self.block_mut(at) {
            block.state = if awaited { State::Unknown } else { State::Added };
        }
        self.cancel_others(now, book, at);
    }

    /// A block of this many bytes was read from the cache without being planned.
    pub fn read_from_cache(&mut self, at: BlockAt, bytes: u32) {
        self.why.bytes(at.segment, Source::Cache, bytes);
    }

    /// Whether something of a segment is needed that is to be fetched.
    pub(super) fn is_in_need(&self, index: usize) -> bool {
        let Some(near) = self.near.get(&index) else { return false };
        match &self.demanded {
            None => near.needs_any(),
            Some(demanded) => {
                let Some(segment) = self.layout.get(index) else { return false };
                let first = BlockAt { segment: segment.offset, block: 0 };
                let last = BlockAt { segment: segment.offset, block: u32::MAX };
                demanded.range(first..=last).any(|(at, _)| near.state(at.block) == Some(State::Needed))
            }
        }
    }

    /// Starts what can be started for the blocks that are demanded.
    pub(super) fn fetch_demanded(
        &mut self,
        now: Moment,
        book: &mut PeerBook,
        cached: &impl Fn(&SegmentId) -> BlockRanges,
        step: &mut Step,
    ) {
        let demanded: Vec<BlockAt> = self.demanded.iter().flatten().map(|(at, _)| *at).collect();
        let mut view = None;
        for at in demanded {
            let Some(index) = self.layout.index_of(at.segment) else { continue };
            let Some(segment) = self.layout.get(index).cloned() else { continue };
            self.look_again(index, at.block, &segment, cached);
            match self.near.get(&index).and_then(|near: &Near| near.state(at.block)) {
                Some(State::Cached) if self.cache_reads < MAX_CACHE_READS => {
                    self.cache_reads += 1;
                    self.set_state(index, at.block, State::Reading);
                    step.actions.push(Action::Read(at));
                }
                Some(State::Fetching) => self.hedge(now, book, index, at, step),
                Some(State::Needed) if self.has_room() => {
                    // The blocks of a segment come one after the other: they share a look at the book.
                    let (of, mut looked) = match view.take() {
                        Some((of, looked)) if of == index => (of, looked),
                        _ => (index, self.noted_view(now, book, index, &segment)),
                    };
                    if self.start(now, book, index, &segment, at.block, &looked, step) {
                        looked.refresh(now, book);
                    }
                    view = Some((of, looked));
                }
                _ => {}
            }
        }
    }
}
